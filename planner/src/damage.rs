//! Which files a damaged scan read: the decoder that finds a broken page does not know its file.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, ErrorKind};

/// Files named in one message.
const FILES_NAMED_MAX: usize = 5;

/// Adds the files the plan reads to an error about damaged data that names none.
pub fn name_files(error: Error, plan: &Arc<dyn ExecutionPlan>) -> Error {
    let found = error.detail().map(|detail| format!("{detail}. ")).unwrap_or_default();
    let named = error.message().contains(".parquet") || found.contains(".parquet");
    if error.kind() != ErrorKind::DataCorrupted || named {
        return error;
    }
    let mut files = Vec::new();
    let visited = plan.apply(|node| {
        let scan = node.downcast_ref::<DataSourceExec>();
        if let Some(config) = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>()) {
            let group = config.file_groups.iter().flat_map(|group| group.files());
            files.extend(group.map(|file| format!("/{}", file.object_meta.location)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    files.sort();
    files.dedup();
    if visited.is_err() || files.is_empty() {
        return error;
    }
    let more = if files.len() > FILES_NAMED_MAX { ", …" } else { "" };
    files.truncate(FILES_NAMED_MAX);
    let list = files.join(", ");
    error.with_detail(format!("{found}It is one of the files that were read: {list}{more}"))
}
