//! Whether another transaction may have added rows of the keys a transaction relied on to be new.
//!
//! Nothing is read for it: the files both have added tell by their bounds. What they do not tell counts as a conflict.

use std::collections::HashSet;
use std::sync::Arc;

use super::reads::Steps;
use crate::error::{Error, Result};
use crate::file::{ColumnStatistics, DataFile, LiveFile};
use crate::loader::Loader;
use crate::table::TableVersion;
use crate::txn::TableDelta;
use crate::value::Value;

pub(super) async fn check(
    loader: &Arc<Loader>,
    base: &TableVersion,
    head: &TableVersion,
    delta: &TableDelta,
) -> Result<()> {
    if delta.keys.is_empty() || base.metadata_location() == head.metadata_location() {
        return Ok(());
    }
    if let Some(seen) = base.metadata().snapshot_id()
        && !head.metadata().descends_from(seen)
    {
        // Rows deleted before then are there again, in files that are no news.
        return Err(Error::conflict("The table was rolled back by another transaction."));
    }
    if !may_share_any(delta, &base.files(loader).await?, &head.files(loader).await?) {
        return Ok(());
    }
    // What compaction wrote again is no news.
    if let Some(steps) = Steps::between(base, head)? {
        let mut is_shared = false;
        for step in steps.changes {
            let (before, after) = step.files(loader, base, head).await?;
            is_shared |= may_share_any(delta, &before, &after);
        }
        if !is_shared {
            return Ok(());
        }
    }
    Err(Error::conflict(
        "Another transaction added rows that may have the keys of rows to insert.",
    ))
}

/// Whether a file that came may have a row of one of the keys of the rows to insert.
fn may_share_any(delta: &TableDelta, before: &[Arc<LiveFile>], after: &[Arc<LiveFile>]) -> bool {
    let known: HashSet<&str> = before.iter().map(|file| file.location.as_str()).collect();
    let mut came = after.iter().filter(|file| !known.contains(file.location.as_str()));
    came.any(|theirs| {
        let mut added = delta.files.added.iter();
        added.any(|ours| delta.keys.iter().any(|key| may_share(key, ours, theirs)))
    })
}

/// Whether two files may have a row of one key each.
fn may_share(key: &[i32], ours: &DataFile, theirs: &DataFile) -> bool {
    let column = |file: &DataFile, id: i32| file.columns.iter().find(|column| column.field_id == id).cloned();
    key.iter().all(|id| match (column(ours, *id), column(theirs, *id)) {
        (Some(ours), Some(theirs)) => may_overlap(&ours, &theirs),
        _ => true,
    })
}

/// Whether two columns may have a value in common; NULL equals nothing.
fn may_overlap(ours: &ColumnStatistics, theirs: &ColumnStatistics) -> bool {
    let is_null = |column: &ColumnStatistics| column.value_count > 0 && column.null_count == column.value_count;
    if is_null(ours) || is_null(theirs) {
        return false;
    }
    // Bounds leave NaN out.
    let has_nan = |column: &ColumnStatistics| match column.lower {
        Some(Value::Float(_) | Value::Double(_)) => column.nan_count != Some(0),
        _ => false,
    };
    if has_nan(ours) || has_nan(theirs) {
        return true;
    }
    let is_below = |upper: &Option<Value>, lower: &Option<Value>| match (upper, lower) {
        (Some(upper), Some(lower)) => upper.compare(lower).is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    };
    !(is_below(&ours.upper, &theirs.lower) || is_below(&theirs.upper, &ours.lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(lower: Option<Value>, upper: Option<Value>, null_count: u64) -> ColumnStatistics {
        ColumnStatistics {
            field_id: 1,
            size_bytes: 0,
            value_count: 2,
            null_count,
            nan_count: None,
            lower,
            upper,
            bounds_exact: true,
        }
    }

    #[test]
    fn only_bounds_that_tell_let_two_columns_pass() {
        let ints = |lower, upper| column(Some(Value::Int(lower)), Some(Value::Int(upper)), 0);
        assert!(!may_overlap(&ints(1, 2), &ints(3, 4)));
        assert!(!may_overlap(&ints(3, 4), &ints(1, 2)));
        assert!(may_overlap(&ints(1, 3), &ints(3, 4)));
        assert!(may_overlap(&ints(1, 2), &column(None, None, 0)));
        assert!(!may_overlap(&ints(1, 2), &column(None, None, 2)));
        // Of another type since the column was widened: not compared.
        let long = column(Some(Value::Long(7)), Some(Value::Long(8)), 0);
        assert!(may_overlap(&ints(1, 2), &long));
        let float = |lower, upper| column(Some(Value::Double(lower)), Some(Value::Double(upper)), 0);
        assert!(may_overlap(&float(1.0, 2.0), &float(3.0, 4.0)));
    }
}
