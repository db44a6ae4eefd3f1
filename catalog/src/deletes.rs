//! Which delete files are about which data files (spec section "Scan Planning").
//!
//! 1. A deletion vector is about the data file it names, unless that is newer. Where there is one, position deletes do not
//!    count: the vector repeats them.
//! 2. A position delete file is about the data files of its partition that are not newer than it, or about the one it names.
//! 3. An equality delete file is about older data files of its partition; one of an unpartitioned spec about all.

use std::collections::HashMap;
use std::sync::Arc;

use crate::file::{DeleteContent, DeleteFile, LiveFile};
use crate::iceberg::ManifestContent;
use crate::value::Value;

/// All data files of the manifests, each with the deletes that are about it.
pub(crate) fn with_deletes(parts: &[Arc<ManifestContent>], unpartitioned: impl Fn(i32) -> bool) -> Vec<Arc<LiveFile>> {
    let mut files = Vec::with_capacity(parts.iter().map(|part| part.data.len()).sum());
    let index = Index::new(parts, unpartitioned);
    for file in parts.iter().flat_map(|part| &part.data) {
        let deletes = match index.is_empty() {
            true => Vec::new(),
            false => index.of(file),
        };
        files.push(match deletes.is_empty() {
            true => file.clone(),
            false => Arc::new(LiveFile {
                deletes,
                ..LiveFile::clone(file)
            }),
        });
    }
    files
}

/// Delete files by what finds them.
#[derive(Default)]
struct Index<'a> {
    by_file: HashMap<&'a str, Vec<&'a Arc<DeleteFile>>>,
    /// By spec, and the partition's values as text: they have no hash of their own.
    by_partition: HashMap<(i32, String), Vec<&'a Arc<DeleteFile>>>,
    of_all: Vec<&'a Arc<DeleteFile>>,
}

impl<'a> Index<'a> {
    fn new(parts: &'a [Arc<ManifestContent>], unpartitioned: impl Fn(i32) -> bool) -> Self {
        let mut index = Index::default();
        for file in parts.iter().flat_map(|part| &part.deletes) {
            let is_equality = matches!(file.content, DeleteContent::Equality { .. });
            match file.data_file() {
                Some(data_file) => index.by_file.entry(data_file).or_default().push(file),
                None if is_equality && unpartitioned(file.spec_id) => index.of_all.push(file),
                None => {
                    let key = partition_key(file.spec_id, &file.partition);
                    index.by_partition.entry(key).or_default().push(file);
                }
            }
        }
        index
    }

    fn is_empty(&self) -> bool {
        self.by_file.is_empty() && self.by_partition.is_empty() && self.of_all.is_empty()
    }

    fn of(&self, file: &LiveFile) -> Vec<Arc<DeleteFile>> {
        let named = self.by_file.get(file.location.as_str()).into_iter().flatten();
        let in_partition = match self.by_partition.is_empty() {
            true => None,
            false => self.by_partition.get(&partition_key(file.spec_id, &file.partition)),
        };
        let mut found: Vec<Arc<DeleteFile>> = named
            .chain(in_partition.into_iter().flatten())
            .chain(&self.of_all)
            .filter(|delete| is_about(delete, file.sequence_number))
            .map(|delete| Arc::clone(delete))
            .collect();
        if found
            .iter()
            .any(|delete| matches!(delete.content, DeleteContent::Vector { .. }))
        {
            found.retain(|delete| !matches!(delete.content, DeleteContent::Positions { .. }));
        }
        found
    }
}

fn is_about(delete: &DeleteFile, data_sequence_number: i64) -> bool {
    match delete.content {
        DeleteContent::Equality { .. } => data_sequence_number < delete.sequence_number,
        _ => data_sequence_number <= delete.sequence_number,
    }
}

fn partition_key(spec_id: i32, partition: &[Option<Value>]) -> (i32, String) {
    (spec_id, format!("{partition:?}"))
}
