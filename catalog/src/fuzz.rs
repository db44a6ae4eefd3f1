//! What fuzzers feed: bytes of others on their way in. Not for programs.

use crate::iceberg::{Metadata, read_list, read_manifest};

/// Reads a table: its metadata file, its manifest list, and one manifest in the place of each that the list names.
pub fn table(metadata: &[u8], list: &[u8], manifest: &[u8]) {
    const LOCATION: &str = "file:///fuzz";
    let Ok(metadata) = Metadata::parse(LOCATION, metadata) else {
        return;
    };
    // Each may refuse; none may panic.
    let _ = metadata.schema(LOCATION);
    let _ = metadata.indexes(LOCATION);
    let _ = metadata.constraints(LOCATION);
    let _ = metadata.materialized(LOCATION);
    let _ = metadata.partition_specs();
    let _ = metadata.sort_order();
    let _ = metadata.check_writable();
    let _ = metadata.to_json();
    for named in read_list(&metadata, LOCATION, list).unwrap_or_default() {
        let _ = named.info();
        let _ = read_manifest(&named, manifest);
    }
}
