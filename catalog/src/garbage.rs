//! Which objects are dead. Never deletes them: the engine's upkeep does, and then says so.

use crate::error::Result;
use crate::shared::Shared;

/// How long the files of a dropped table stay, so that a drop can be taken back.
pub(crate) const DROPPED_TABLE_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
/// How long a metadata file that fell off its table's log stays, for readers of other processes.
pub(crate) const OLD_METADATA_KEPT_MS: i64 = 24 * 3600 * 1000;

/// Something that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadObject {
    /// An object's location; when it ends in `/`, everything below it.
    pub path: String,
}

impl DeadObject {
    /// Whether everything below the path is dead, not one object.
    pub fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }
}

/// What is dead at `now_ms`: its time has come, no session of this process and no open transaction of any can still
/// see it, and no table lives below it (one that was registered again).
pub(crate) async fn dead_objects(shared: &Shared, now_ms: i64) -> Result<Vec<DeadObject>> {
    let oldest_txn = shared.database.oldest_base_csn().await?;
    let oldest_used = oldest_txn
        .into_iter()
        .chain(shared.oldest_pinned_csn())
        .min()
        .unwrap_or(u64::MAX);
    let rows = shared.database.garbage(now_ms).await?;
    let dead = rows.into_iter().filter(|row| row.after_csn <= oldest_used);
    Ok(dead.map(|row| DeadObject { path: row.path }).collect())
}
