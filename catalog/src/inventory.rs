//! Every object that a state of the catalog leads to, and what it is.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file::DeleteContent;
use crate::iceberg::{ManifestFile, Metadata};
use crate::loader::Loader;
use crate::name::TableName;
use crate::snapshot::{CatalogSnapshot, RelationKind};
use crate::temporary::is_temporary_schema;

/// How many objects are read at once.
const READS_MAX: usize = 16;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectRole {
    /// The metadata file of a table or view.
    Metadata,
    /// A list of manifests.
    List,
    /// A manifest.
    Manifest,
    /// Rows, or values of rows that are deleted: Parquet.
    Data,
    /// Positions of rows that are deleted, by data file: Parquet.
    Positions,
    /// Deletion vectors: Puffin.
    Vectors,
    /// Statistics of a table or of its partitions.
    Statistics,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryItem {
    /// What it is.
    pub role: ObjectRole,
    /// Its size, where the metadata says it.
    pub size_bytes: Option<u64>,
    /// Its rows, of a Parquet file.
    pub row_count: Option<u64>,
    /// Where deletion vectors are in it: offset and length.
    pub vectors: Vec<(u64, u64)>,
}

/// Objects by location.
pub type Inventory = BTreeMap<String, InventoryItem>;

impl CatalogSnapshot {
    /// The committed tables and views, without temporary ones: name and metadata file.
    pub fn stored_relations(&self) -> Vec<(TableName, RelationKind, String)> {
        let stored = self.pointers().all().filter(|(name, pointer)| {
            matches!(pointer.kind, RelationKind::Table | RelationKind::View) && !is_temporary_schema(&name.schema)
        });
        stored
            .map(|(name, pointer)| (name, pointer.kind, pointer.location.clone()))
            .collect()
    }

    /// Every object that a table or view needs, in all of its snapshots. Where one cannot be read, `failed` is told its location
    /// and says whether to go on without it and what it leads to.
    pub async fn inventory(
        &self,
        name: &TableName,
        failed: &mut (dyn FnMut(&str, Error) -> Result<()> + Send),
    ) -> Result<Inventory> {
        let mut found = Inventory::new();
        let Some((location, kind)) = self.metadata_location(name).zip(self.relation(name)) else {
            return Ok(found);
        };
        add(&mut found, location, ObjectRole::Metadata, None, None);
        if kind == RelationKind::View {
            // Also one of another engine: only its place is asked for.
            if let Err(error) = self.loader().objects().get(location).await {
                failed(location, error)?;
            }
            return Ok(found);
        }
        match self.loader().glimpsed_table_version(location).await {
            Ok(version) => files(self.loader(), version.metadata(), &mut found, failed).await?,
            Err(error) => failed(location, error)?,
        }
        Ok(found)
    }
}

async fn files(
    loader: &Loader,
    metadata: &Metadata,
    found: &mut Inventory,
    failed: &mut (dyn FnMut(&str, Error) -> Result<()> + Send),
) -> Result<()> {
    for location in metadata.statistics_files() {
        add(found, &location, ObjectRole::Statistics, None, None);
    }
    let lists: Vec<String> = metadata
        .history()?
        .snapshots
        .into_iter()
        .map(|it| it.manifest_list)
        .collect();
    let reads = lists.into_iter().map(|list| async move {
        let named = loader.manifest_list(metadata, &list).await;
        Ok::<_, Error>((list, named))
    });
    let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(READS_MAX);
    let mut manifests: BTreeMap<String, ManifestFile> = BTreeMap::new();
    while let Some((list, named)) = reads.try_next().await? {
        add(found, &list, ObjectRole::List, None, None);
        match named {
            Ok(named) => manifests.extend(named.into_iter().map(|it| (it.location().to_owned(), it))),
            Err(error) => failed(&list, error)?,
        }
    }
    let reads = manifests.into_values().map(|manifest| async move {
        // One without live files is read as well: it must be readable, for the other engines.
        let content = loader.manifest(&manifest).await;
        Ok::<_, Error>((manifest, content))
    });
    let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(READS_MAX);
    while let Some((manifest, content)) = reads.try_next().await? {
        let (location, size) = (manifest.location(), manifest.length_bytes());
        add(found, location, ObjectRole::Manifest, Some(size), None);
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                failed(location, error)?;
                continue;
            }
        };
        for file in content.data.iter().map(|file| &file.data) {
            let (size, rows) = (Some(file.size_bytes), Some(file.row_count));
            add(found, &file.location, ObjectRole::Data, size, rows);
        }
        for file in &content.deletes {
            let role = match file.content {
                DeleteContent::Positions { .. } => ObjectRole::Positions,
                DeleteContent::Vector { .. } => ObjectRole::Vectors,
                DeleteContent::Equality { .. } => ObjectRole::Data,
            };
            let rows = (role != ObjectRole::Vectors).then_some(file.row_count);
            let item = add(found, &file.location, role, Some(file.size_bytes), rows);
            if let DeleteContent::Vector { offset, length, .. } = file.content {
                item.vectors.push((offset, length));
            }
        }
    }
    Ok(())
}

fn add<'a>(
    found: &'a mut Inventory,
    location: &str,
    role: ObjectRole,
    size_bytes: Option<u64>,
    row_count: Option<u64>,
) -> &'a mut InventoryItem {
    found.entry(location.to_owned()).or_insert_with(|| InventoryItem {
        role,
        size_bytes,
        row_count,
        vectors: Vec::new(),
    })
}
