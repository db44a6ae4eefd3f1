//! Plain checks run before every pointer swap: what must be true of a table's next version.
//!
//! A violation is a bug of ours; the commit fails and the table stays as it was.

use crate::error::{Error, Result};
use crate::iceberg::Metadata;

/// Checks the step from the version the pointer has now to the one it is about to get.
pub(crate) fn check_step(
    current: &Metadata,
    next: &Metadata,
    adds_snapshot: bool,
    rolled_back_to: Option<i64>,
) -> Result<()> {
    let facts = [
        ("the table keeps its uuid", next.uuid() == current.uuid()),
        ("the table keeps its location", next.location() == current.location()),
        (
            "the clock does not go back",
            next.last_updated_ms() >= current.last_updated_ms(),
        ),
        (
            "field ids are never given out twice",
            next.last_column_id() >= current.last_column_id(),
        ),
        (
            "a snapshot takes exactly one sequence number",
            next.next_sequence_number() == current.next_sequence_number() + i64::from(adds_snapshot),
        ),
        (
            "the new snapshot follows the current one",
            if adds_snapshot {
                next.parent_snapshot_id() == current.snapshot_id() && next.snapshot_id() != current.snapshot_id()
            } else {
                next.snapshot_id() == rolled_back_to.or(current.snapshot_id())
            },
        ),
    ];
    match facts.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((fact, _)) => Err(Error::internal("a commit would break a table").with_detail(format!("Not so: {fact}."))),
    }
}

/// The same for a step another engine asks for: what must hold whatever its updates say.
pub(crate) fn check_foreign_step(current: &Metadata, next: &Metadata) -> Result<()> {
    let facts = [
        ("the table keeps its uuid", next.uuid() == current.uuid()),
        ("the table keeps its location", next.location() == current.location()),
        (
            "field ids are never given out twice",
            next.last_column_id() >= current.last_column_id(),
        ),
        (
            "sequence numbers do not go back",
            next.next_sequence_number() >= current.next_sequence_number(),
        ),
    ];
    match facts.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((fact, _)) => Err(Error::internal("a commit would break a table").with_detail(format!("Not so: {fact}."))),
    }
}
