//! Which objects are dead. Never deletes them: the engine's upkeep does, and then says so.
//!
//! A path is on the garbage list since a commit that no longer needs it. It is dead when its time has come, when nobody can
//! look at a state from before that commit any more, and when no clone has it among its files: what clones need is found
//! by reading their metadata, each time something below the table they were made from would go.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::database::Share;
use crate::error::Result;
use crate::shared::Shared;
use crate::table::TableVersion;

/// How long the files of a dropped table stay, so that a drop can be taken back.
pub(crate) const DROPPED_TABLE_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
/// How long a metadata file that fell off its table's log stays, for readers of other processes.
pub(crate) const OLD_METADATA_KEPT_MS: i64 = 24 * 3600 * 1000;

/// Something that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadObject {
    /// An object's location; when it ends in `/`, everything below it.
    pub path: String,
    /// Objects below the path that clones need still. While there are any, the path stays on the list.
    pub except: Arc<HashSet<String>>,
}

impl DeadObject {
    /// Whether everything below the path is dead, not one object.
    pub fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }

    /// Whether the path may go off the list when what is dead of it is deleted.
    pub fn is_all(&self) -> bool {
        self.except.is_empty()
    }
}

/// What is dead at `now_ms`: its time has come, no session of this process and no open transaction of any can still
/// see it, no clone needs it, and no table lives below it (one that was registered again).
pub(crate) async fn dead_objects(shared: &Shared, now_ms: i64) -> Result<Vec<DeadObject>> {
    // Before the clones are looked up: one that is made from now on comes from a state that has nothing of these.
    let oldest_txn = shared.database.oldest_base_csn().await?;
    let oldest_used = oldest_txn
        .into_iter()
        .chain(shared.oldest_pinned_csn())
        .min()
        .unwrap_or(u64::MAX);
    let rows = shared.database.garbage(now_ms).await?;
    let mut dead: Vec<String> = rows
        .into_iter()
        .filter(|row| row.after_csn <= oldest_used)
        .map(|row| row.path)
        .collect();
    if dead.is_empty() {
        return Ok(Vec::new());
    }
    let mut clones = Clones::new(shared.database.shares().await?);
    let mut found = Vec::with_capacity(dead.len());
    for path in dead.drain(..) {
        let needed = clones.needed_below(shared, &path).await?;
        if path.ends_with('/') || !needed.contains(&path) {
            let below = needed.iter().filter(|object| object.starts_with(&path)).cloned();
            found.push(DeadObject {
                except: Arc::new(below.collect()),
                path,
            });
        }
    }
    Ok(found)
}

/// The objects of a table that its clones need.
pub(crate) async fn needed_by_clones(shared: &Shared, table_location: &str) -> Result<Arc<HashSet<String>>> {
    let mut clones = Clones::new(shared.database.shares().await?);
    clones.needed_below(shared, &format!("{table_location}/")).await
}

/// What clones need, by the table they were made from; read when first asked for.
struct Clones {
    shares: Vec<Share>,
    needed: BTreeMap<String, Arc<HashSet<String>>>,
}

impl Clones {
    fn new(shares: Vec<Share>) -> Clones {
        Clones {
            shares,
            needed: BTreeMap::new(),
        }
    }

    async fn needed_below(&mut self, shared: &Shared, path: &str) -> Result<Arc<HashSet<String>>> {
        let owner = self.shares.iter().map(|share| &share.owner_location).find(|owner| {
            path.strip_prefix(owner.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        });
        let Some(owner) = owner.cloned() else {
            return Ok(Arc::default());
        };
        if let Some(known) = self.needed.get(&owner) {
            return Ok(known.clone());
        }
        let mut needed = HashSet::new();
        for share in self.shares.iter().filter(|share| share.owner_location == owner) {
            // Also of a clone that was dropped: it may come back while its own files are there.
            if let Some(location) = shared.database.last_metadata(&share.table_location).await? {
                let version = shared.loader.table_version(&location).await?;
                needed.extend(reachable(shared, &version, None).await?);
            }
        }
        let prefix = format!("{owner}/");
        needed.retain(|object| object.starts_with(&prefix));
        let needed = Arc::new(needed);
        self.needed.insert(owner, needed.clone());
        Ok(needed)
    }
}

/// Every object that snapshots of a table lead to: manifest lists, manifests, data and delete files. `only`: of these
/// snapshots; else of all.
pub(crate) async fn reachable(
    shared: &Shared,
    version: &TableVersion,
    only: Option<&HashSet<i64>>,
) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for snapshot in version.metadata().history()?.snapshots {
        if only.is_some_and(|only| !only.contains(&snapshot.id)) {
            continue;
        }
        found.insert(snapshot.manifest_list.clone());
        let manifests = shared
            .loader
            .manifest_list(version.metadata(), &snapshot.manifest_list)
            .await?;
        for manifest in manifests.iter() {
            // Manifests are shared by many snapshots: the first one that has it reads it.
            if !found.insert(manifest.location().to_owned()) || !manifest.has_live_files() {
                continue;
            }
            let content = shared.loader.manifest(manifest).await?;
            found.extend(content.data.iter().map(|file| file.location.clone()));
            found.extend(content.deletes.iter().map(|file| file.location.clone()));
        }
    }
    Ok(found)
}
