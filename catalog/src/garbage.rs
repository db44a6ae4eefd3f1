//! Which objects are dead. Never deletes them: the engine's upkeep does, and then says so.
//!
//! A path is on the garbage list since a commit that no longer needs it. It is dead when its time has come, when nobody can
//! look at a state from before that commit any more, and when no clone has it among its files: what clones need is found
//! by reading their metadata, each time something below the table they were made from would go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::database::Share;
use crate::error::Result;
use crate::iceberg::{ManifestFile, Metadata};
use crate::shared::Shared;
use crate::table::TableVersion;

/// How long the files of a dropped table stay, so that a drop can be taken back.
pub(crate) const DROPPED_TABLE_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
/// How long a metadata file that fell off its table's log stays, for readers of other programs: they read it right after
/// the pointer.
pub(crate) const OLD_METADATA_KEPT_MS: i64 = 10 * 60 * 1000;
/// How long a snapshot's files stay at least after its commit, for readers of other programs.
pub(crate) const EXPIRED_KEPT_MS: i64 = 10 * 60 * 1000;
/// How many objects are read at once.
const READS_MAX: usize = 16;

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
    // What is newest is held, too: it must not be older than need be.
    shared.head().await?;
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
                needed.extend(reachable(shared, version.metadata(), |_| true).await?);
            }
        }
        let prefix = format!("{owner}/");
        needed.retain(|object| object.starts_with(&prefix));
        let needed = Arc::new(needed);
        self.needed.insert(owner, needed.clone());
        Ok(needed)
    }
}

/// Every object that snapshots of a table lead to: manifest lists, manifests, data and delete files.
pub(crate) async fn reachable(
    shared: &Shared,
    metadata: &Metadata,
    wanted: impl Fn(i64) -> bool,
) -> Result<HashSet<String>> {
    let snapshots = metadata.history()?.snapshots;
    let lists: Vec<String> = snapshots
        .into_iter()
        .filter(|snapshot| wanted(snapshot.id))
        .map(|snapshot| snapshot.manifest_list)
        .collect();
    let mut manifests: HashMap<String, ManifestFile> = HashMap::new();
    let reads: Vec<_> = lists
        .iter()
        .map(|list| async move { shared.loader.manifest_list(metadata, list).await })
        .collect();
    let mut reads = stream::iter(reads).buffer_unordered(READS_MAX);
    while let Some(named) = reads.try_next().await? {
        manifests.extend(
            named
                .into_iter()
                .map(|manifest| (manifest.location().to_owned(), manifest)),
        );
    }
    drop(reads);
    let reads: Vec<_> = manifests
        .values()
        .filter(|manifest| manifest.has_live_files())
        .map(|manifest| async move { shared.loader.manifest(manifest).await })
        .collect();
    let mut reads = stream::iter(reads).buffer_unordered(READS_MAX);
    let mut found = HashSet::new();
    while let Some(content) = reads.try_next().await? {
        found.extend(content.data.iter().map(|file| file.location.clone()));
        found.extend(content.deletes.iter().map(|file| file.location.clone()));
    }
    drop(reads);
    found.extend(lists);
    found.extend(manifests.into_keys());
    Ok(found)
}

/// Every object a table needs, with its metadata files and what its clones have of it. What is on the garbage list counts
/// too: it has its own time.
pub(crate) async fn needed_objects(shared: &Shared, version: &TableVersion) -> Result<HashSet<String>> {
    let metadata = version.metadata();
    let mut needed = reachable(shared, metadata, |_| true).await?;
    needed.insert(version.metadata_location().to_owned());
    needed.extend(metadata.other_files());
    let mut clones = Clones::new(shared.database.shares().await?);
    let below = format!("{}/", metadata.location());
    needed.extend(clones.needed_below(shared, &below).await?.iter().cloned());
    let waiting = shared.database.garbage(i64::MAX).await?;
    needed.extend(waiting.into_iter().map(|row| row.path));
    Ok(needed)
}
