//! Which objects are dead. Never deletes them: the engine's upkeep does, and then says so.
//!
//! A path is on the garbage list since a commit that no longer needs it. It is dead when its time has come, when nobody can
//! look at a state from before that commit any more, and when no clone has it among its files: what clones need is found
//! by reading their metadata, each time something below the table they were made from would go.
//!
//! Counters of sequences are on the list, too. They are rows, which go here and now.
//!
//! A table's directory goes in steps, and a server may die between them: before the first object of it goes, nothing can
//! bring the table back any more, and its metadata is not asked again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt, TryStreamExt};

use uuid::Uuid;

use crate::database::Share;
use crate::error::{Error, Result};
use crate::iceberg::{ManifestFile, Metadata};
use crate::shared::Shared;
use crate::table::TableVersion;

/// How long the files of a dropped table stay, so that a drop can be taken back.
pub(crate) const DROPPED_TABLE_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
/// A dropped table comes back only while this much time is left to it: nobody can be deleting its files by then.
pub(crate) const UNDROP_MARGIN_MS: i64 = 10 * 60 * 1000;
/// After how long garbage is looked at again that could not go because clones need it.
const RETRY_MS: i64 = 3600 * 1000;
/// How long a metadata file that fell off its table's log stays, for readers of other programs: they read it right after
/// the pointer.
pub(crate) const OLD_METADATA_KEPT_MS: i64 = 10 * 60 * 1000;
/// How long a snapshot's files stay at least after its commit, for readers of other programs.
pub(crate) const EXPIRED_KEPT_MS: i64 = 10 * 60 * 1000;
/// How long a counter stays after another one goes on from it.
pub(crate) const OLD_COUNTER_KEPT_MS: i64 = 10 * 60 * 1000;
/// How long the directory of a table stays that another engine began to make and did not commit: as long as other files that
/// nothing leads to.
pub(crate) const STAGED_KEPT_MS: i64 = 3 * 24 * 3600 * 1000;
/// How long a new counter stays whose sequence nobody commits, at least: it was made in a transaction.
pub(crate) const NEW_COUNTER_KEPT_MS: i64 = 24 * 3600 * 1000;
/// Before a counter on the garbage list, where others have the beginning of a location.
const COUNTER: &str = "staffa-counter:";
/// How often in turn some of the journal of pointers is looked through; each is a transaction.
const VERSION_ROUNDS_MAX: usize = 20;
/// How many objects are read at once.
const READS_MAX: usize = 16;

/// Something that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadObject {
    /// An object's location; when it ends in `/`, everything below it.
    pub path: String,
    /// Objects below the path that clones need still. While there are any, the path stays on the list, to be looked at
    /// again in an hour.
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

/// Digits of an id in the name of a directory.
const SIMPLE_UUID_LENGTH: usize = 32;

/// The entry of a sequence's counter on the garbage list.
pub(crate) fn counter_garbage(counter: Uuid) -> String {
    format!("{COUNTER}{counter}")
}

/// The counter that an entry of the garbage list is about, if it is about one.
pub(crate) fn counter_in_garbage(path: &str) -> Option<&str> {
    path.strip_prefix(COUNTER)
}

/// The table or view whose own directory an entry of the garbage list is.
pub(crate) fn owner_of_directory(path: &str) -> Option<Uuid> {
    let (_, id) = path.strip_suffix('/')?.rsplit_once('-')?;
    Uuid::try_parse(id).ok().filter(|_| id.len() == SIMPLE_UUID_LENGTH)
}

/// What was found to be dead.
#[derive(Debug, Default)]
pub struct DeadObjects {
    /// The objects and directories.
    pub objects: Vec<DeadObject>,
    /// Why others were left alone; the first reason of several.
    pub failed: Option<Error>,
}

/// What is dead at `now_ms`: its time has come, no session of this process and no open transaction of any can still
/// see it, no clone needs it, and no table lives below it (one that was registered again). What was put off not long ago
/// is looked at only if that is asked for.
pub(crate) async fn dead_objects(shared: &Shared, now_ms: i64, put_off_too: bool) -> Result<DeadObjects> {
    // Before the clones are looked up: one that is made from now on comes from a state that has nothing of these.
    let oldest_used = oldest_used(shared).await?;
    let tried_before_ms = if put_off_too { i64::MAX } else { now_ms - RETRY_MS };
    let rows = shared.database.garbage(now_ms, tried_before_ms).await?;
    let unseen = rows.into_iter().filter(|row| row.after_csn <= oldest_used);
    let (counters, paths): (Vec<String>, Vec<String>) = unseen
        .map(|row| row.path)
        .partition(|path| counter_in_garbage(path).is_some());
    if !counters.is_empty() {
        shared.database.forget_counters(&counters).await?;
    }
    let (directories, objects): (Vec<String>, Vec<String>) = paths.into_iter().partition(|path| path.ends_with('/'));
    let mut found = DeadObjects::default();
    if directories.is_empty() && objects.is_empty() {
        return Ok(found);
    }
    let directories = match directories.is_empty() {
        true => directories,
        false => shared.database.try_garbage(&directories, now_ms).await?,
    };
    let mut clones = Clones::new(shared.database.shares().await?);
    let mut put_off = Vec::new();
    for path in directories.into_iter().chain(objects) {
        let needed = match clones.needed_below(shared, &path).await {
            Ok(needed) => needed,
            Err(error) => {
                tracing::warn!(path, %error, "cannot find out whether a clone needs a dead object");
                found.failed.get_or_insert(error);
                put_off.push(path);
                continue;
            }
        };
        if path.ends_with('/') || !needed.contains(&path) {
            let below = needed.iter().filter(|object| object.starts_with(&path)).cloned();
            found.objects.push(DeadObject {
                except: Arc::new(below.collect()),
                path,
            });
        } else {
            put_off.push(path);
        }
    }
    if !put_off.is_empty() {
        shared.database.try_garbage(&put_off, now_ms).await?;
    }
    Ok(found)
}

/// The oldest state that anybody may look at.
async fn oldest_used(shared: &Shared) -> Result<u64> {
    // What is newest is held, too: it must not be older than need be.
    shared.head().await?;
    let oldest_txn = shared.database.oldest_base_csn().await?;
    let oldest = oldest_txn.into_iter().chain(shared.oldest_pinned_csn()).min();
    Ok(oldest.unwrap_or(u64::MAX))
}

/// Forgets what names stood for before states that anybody may look at. Goes through the journal from where it was the last
/// time; what has to stay now may go when it comes around again.
pub(crate) async fn forget_versions(shared: &Shared) -> Result<()> {
    let before_csn = oldest_used(shared).await?.min(i64::MAX as u64);
    for _ in 0..VERSION_ROUNDS_MAX {
        let after_csn = shared.forgotten_csn.load(Ordering::Relaxed);
        let next = shared.database.forget_versions(after_csn, before_csn).await?;
        shared.forgotten_csn.store(next.unwrap_or(0), Ordering::Relaxed);
        if next.is_none() {
            break;
        }
    }
    Ok(())
}

/// What clones need, by the table they were made from; read when first asked for.
struct Clones {
    shares: Vec<Share>,
    /// By owner; the error where they cannot be read.
    needed: BTreeMap<String, Result<Arc<HashSet<String>>, Arc<Error>>>,
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
            return known.clone().map_err(Error::shared);
        }
        let clones = self.shares.iter().filter(|share| share.owner_location == owner);
        let clones: BTreeSet<&String> = clones.map(|share| &share.table_location).collect();
        let needed = needed_of_owner(shared, &owner, &clones).await;
        let needed = needed.map(Arc::new).map_err(Arc::new);
        self.needed.insert(owner, needed.clone());
        needed.map_err(Error::shared)
    }
}

/// What clones need of the table they were made from.
async fn needed_of_owner(shared: &Shared, owner: &str, clones: &BTreeSet<&String>) -> Result<HashSet<String>> {
    let mut needed = HashSet::new();
    for clone in clones {
        // Also of a clone that was dropped: it may come back while its own files are there.
        if let Some(location) = shared.database.last_metadata(clone).await? {
            let version = shared.loader.table_version(&location).await?;
            needed.extend(reachable(shared, version.metadata(), |_| true).await?);
        }
    }
    let prefix = format!("{owner}/");
    needed.retain(|object| object.starts_with(&prefix));
    Ok(needed)
}

/// Every object that snapshots of a table lead to: manifest lists, manifests, data and delete files.
pub(crate) async fn reachable(
    shared: &Shared,
    metadata: &Metadata,
    wanted: impl Fn(i64) -> bool,
) -> Result<HashSet<String>> {
    Survey::default().reachable(shared, metadata, wanted).await
}

/// What lists and manifests say that were read. They never change, so a later look at the table reads only what is new.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The manifests of each list.
    lists: HashMap<String, Vec<Arc<str>>>,
    /// The files of each manifest.
    files: HashMap<Arc<str>, Vec<String>>,
}

impl Survey {
    /// See [`reachable`].
    pub(crate) async fn reachable(
        &mut self,
        shared: &Shared,
        metadata: &Metadata,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<HashSet<String>> {
        let snapshots = metadata.history()?.snapshots.into_iter();
        let lists = snapshots.filter(|snapshot| wanted(snapshot.id));
        let lists: Vec<String> = lists.map(|snapshot| snapshot.manifest_list).collect();
        let unread = self.read_lists(shared, metadata, &lists).await?;
        self.read_manifests(shared, unread).await?;
        let mut found = HashSet::new();
        for list in lists {
            for manifest in self.lists.get(&list).into_iter().flatten() {
                if found.insert(manifest.to_string()) {
                    found.extend(self.files.get(manifest).into_iter().flatten().cloned());
                }
            }
            found.insert(list);
        }
        Ok(found)
    }

    /// The manifests that were not read before.
    async fn read_lists(
        &mut self,
        shared: &Shared,
        metadata: &Metadata,
        lists: &[String],
    ) -> Result<HashMap<Arc<str>, ManifestFile>> {
        let unread: Vec<String> = lists
            .iter()
            .filter(|list| !self.lists.contains_key(*list))
            .cloned()
            .collect();
        let reads = unread.into_iter().map(|list| async move {
            let named = shared.loader.manifest_list(metadata, &list).await?;
            Ok::<_, Error>((list, named))
        });
        let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS_MAX);
        let mut manifests: HashMap<Arc<str>, ManifestFile> = HashMap::new();
        while let Some((list, named)) = reads.try_next().await? {
            let mut locations = Vec::with_capacity(named.len());
            for manifest in named {
                let known = self
                    .files
                    .get_key_value(manifest.location())
                    .map(|(location, _)| location);
                let known = known.or_else(|| {
                    manifests
                        .get_key_value(manifest.location())
                        .map(|(location, _)| location)
                });
                match known.cloned() {
                    Some(location) => locations.push(location),
                    None => {
                        let location: Arc<str> = manifest.location().into();
                        manifests.insert(location.clone(), manifest);
                        locations.push(location);
                    }
                }
            }
            self.lists.insert(list, locations);
        }
        Ok(manifests)
    }

    async fn read_manifests(&mut self, shared: &Shared, manifests: HashMap<Arc<str>, ManifestFile>) -> Result<()> {
        let reads = manifests.into_iter().map(|(location, manifest)| async move {
            if !manifest.has_live_files() {
                return Ok((location, Vec::new()));
            }
            let content = shared.loader.manifest(&manifest).await?;
            let data = content.data.iter().map(|file| file.location.clone());
            let deletes = content.deletes.iter().map(|file| file.location.clone());
            Ok::<_, Error>((location, data.chain(deletes).collect()))
        });
        let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS_MAX);
        while let Some((location, files)) = reads.try_next().await? {
            self.files.insert(location, files);
        }
        Ok(())
    }
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
    let waiting = shared.database.garbage(i64::MAX, i64::MAX).await?;
    needed.extend(waiting.into_iter().map(|row| row.path));
    Ok(needed)
}
