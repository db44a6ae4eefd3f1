//! What all handles and transactions of one open catalog share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::commit::group::Groups;
use crate::database::{Database, TxnOutcome};
use crate::error::Result;
use crate::journal::Pointers;
use crate::loader::Loader;
use crate::name::TableName;
use crate::snapshot::CatalogSnapshot;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) loader: Arc<Loader>,
    /// Where new tables live, without a slash at its end.
    warehouse: String,
    /// The newest state this process has seen.
    head: tokio::sync::Mutex<Option<Head>>,
    /// Commits of this process to one table take turns: whoever would lose the swap waits instead.
    turns: Mutex<HashMap<TableName, Weak<tokio::sync::Mutex<()>>>>,
    /// Appends that wait for each other.
    pub(crate) groups: Groups,
    /// Every state that somebody may still hold.
    pinned: Mutex<Vec<Weak<CatalogSnapshot>>>,
    /// How many open transactions of this process have deleted rows of a data file, by its table's uuid and its location.
    row_changers: Mutex<HashMap<Uuid, HashMap<String, usize>>>,
    /// How far the journal of pointers was looked through for what can be forgotten.
    pub(crate) forgotten_csn: AtomicU64,
    /// Transactions that are given up and not cleaned up after, with the table locations they wrote below.
    unfinished: Mutex<HashMap<Uuid, Vec<String>>>,
}

/// An open transaction that deleted rows of a table. Compaction keeps off their files while there is one: the positions of
/// those rows would be others after it.
#[derive(Debug)]
pub(crate) struct RowChanger {
    shared: Arc<Shared>,
    table: Uuid,
    files: HashSet<String>,
}

impl RowChanger {
    /// Notes that rows of a data file are deleted.
    pub(crate) fn note(&mut self, location: &str) {
        if self.files.insert(location.to_owned()) {
            let mut changers = self.shared.row_changers.lock();
            let files = changers.entry(self.table).or_default();
            *files.entry(location.to_owned()).or_default() += 1;
        }
    }
}

impl Drop for RowChanger {
    fn drop(&mut self) {
        let mut changers = self.shared.row_changers.lock();
        let Some(files) = changers.get_mut(&self.table) else {
            return;
        };
        for location in &self.files {
            if let Some(count) = files.get_mut(location) {
                *count -= 1;
                if *count == 0 {
                    files.remove(location);
                }
            }
        }
        if files.is_empty() {
            changers.remove(&self.table);
        }
    }
}

#[derive(Debug)]
struct Head {
    /// [`Database::change_token`] from before the state was read: what came in between is seen next time.
    token: i64,
    /// When the token was asked for.
    seen_at: Instant,
    snapshot: Arc<CatalogSnapshot>,
}

impl Shared {
    pub(crate) fn new(database: Arc<dyn Database>, loader: Arc<Loader>, warehouse: &str) -> Shared {
        Shared {
            database,
            loader,
            warehouse: warehouse.trim_end_matches('/').to_owned(),
            head: tokio::sync::Mutex::new(None),
            turns: Mutex::default(),
            groups: Groups::default(),
            pinned: Mutex::default(),
            row_changers: Mutex::default(),
            forgotten_csn: AtomicU64::new(0),
            unfinished: Mutex::default(),
        }
    }

    /// The directory new tables live in, without a slash at its end.
    pub(crate) fn warehouse(&self) -> &str {
        &self.warehouse
    }

    /// What notes the files of which a transaction deletes rows, until it is dropped.
    pub(crate) fn row_changer(self: &Arc<Self>, table: Uuid) -> RowChanger {
        RowChanger {
            shared: self.clone(),
            table,
            files: HashSet::new(),
        }
    }

    /// Whether an open transaction has deleted rows of one of the files.
    pub(crate) fn has_row_changers<'a>(&self, table: Uuid, mut files: impl Iterator<Item = &'a String>) -> bool {
        let changers = self.row_changers.lock();
        let changed = changers.get(&table);
        changed.is_some_and(|changed| files.any(|file| changed.contains_key(file)))
    }

    /// The newest committed state. The same value as last time when nothing changed.
    pub(crate) async fn head(&self) -> Result<Arc<CatalogSnapshot>> {
        let asked_at = Instant::now();
        let mut head = self.head.lock().await;
        // Whoever was asked for after us, while we waited, has seen all that we must see.
        if let Some(head) = head.as_ref().filter(|head| head.seen_at >= asked_at) {
            return Ok(head.snapshot.clone());
        }
        let seen_at = Instant::now();
        let token = self.database.change_token().await?;
        if let Some(head) = head.as_mut().filter(|head| head.token == token) {
            head.seen_at = seen_at;
            return Ok(head.snapshot.clone());
        }
        let last = head.as_ref().map(|head| head.snapshot.clone());
        let state = self.database.pointers(last.as_ref().map(|last| last.csn())).await?;
        let pointers = match &last {
            Some(last) => last.pointers().advanced(state)?,
            None => Pointers::default().advanced(state)?,
        };
        let snapshot = match last {
            // A heartbeat or an intent changes the file but not the catalog.
            Some(last) if *last.pointers() == pointers => last,
            _ => {
                let snapshot = Arc::new(CatalogSnapshot::committed(pointers, self.loader.clone()));
                let mut pinned = self.pinned.lock();
                pinned.retain(|state| state.strong_count() > 0);
                pinned.push(Arc::downgrade(&snapshot));
                snapshot
            }
        };
        *head = Some(Head {
            token,
            seen_at,
            snapshot: snapshot.clone(),
        });
        Ok(snapshot)
    }

    /// Says that this server is alive, and what it may look at: what it holds, or else what is newest.
    pub(crate) async fn heartbeat(&self) -> Result<()> {
        let head = self.head().await?;
        let oldest = self.oldest_pinned_csn().unwrap_or(head.csn());
        if !self.database.heartbeat(oldest).await? {
            tracing::error!(
                "this server was silent for so long that others thought it dead: what is older than now fails"
            );
            self.loader.give_up_before(self.head().await?.csn());
        }
        Ok(())
    }

    /// The oldest state that this process still uses.
    pub(crate) fn oldest_pinned_csn(&self) -> Option<u64> {
        self.pinned
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .map(|state| state.csn())
            .min()
    }

    /// Waits for this process's turn at each of the tables, which must be sorted: the order is what prevents deadlock.
    pub(crate) async fn take_turns(&self, names: &[TableName]) -> Vec<OwnedMutexGuard<()>> {
        debug_assert!(names.is_sorted());
        let turns: Vec<_> = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| turn.strong_count() > 0);
            let mut turn = |name: &TableName| {
                let slot = turns.entry(name.clone()).or_default();
                slot.upgrade().unwrap_or_else(|| {
                    let fresh = Arc::default();
                    *slot = Arc::downgrade(&fresh);
                    fresh
                })
            };
            names.iter().map(&mut turn).collect()
        };
        let mut guards = Vec::with_capacity(turns.len());
        for turn in turns {
            guards.push(turn.lock_owned().await);
        }
        guards
    }

    /// The directory of a new table or view. The uuid makes it one that no other ever had.
    pub(crate) fn new_location(&self, name: &TableName, uuid: Uuid) -> String {
        let plain = |text: &str| -> String {
            let keep = |char: char| {
                if char.is_ascii_alphanumeric() || "_-".contains(char) {
                    char
                } else {
                    '_'
                }
            };
            text.chars().take(64).map(keep).collect()
        };
        let [database, schema, table] = [&name.database, &name.schema, &name.name].map(|part| plain(part));
        format!("{}/{database}/{schema}/{table}-{}", self.warehouse, uuid.simple())
    }

    /// Whether the directory was made by [`Shared::new_location`] for this very table, so that all below it is its own.
    pub(crate) fn owns_location(&self, location: &str, uuid: Uuid) -> bool {
        location
            .strip_prefix(&self.warehouse)
            .is_some_and(|rest| rest.starts_with('/'))
            && location.ends_with(&format!("-{}", uuid.simple()))
    }

    /// Whether the directory looks like one that was made by [`Shared::new_location`], for whichever table.
    pub(crate) fn is_made_location(&self, location: &str) -> bool {
        let is_below = location
            .strip_prefix(&self.warehouse)
            .is_some_and(|rest| rest.starts_with('/'));
        let id = location.rsplit_once('-').map_or("", |(_, id)| id);
        is_below && id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// Gives a transaction up for good, then deletes its objects; the locations deleted. What cannot be done now is tried
    /// again later, by recovery when this server is gone. Nothing is deleted unless the transaction is known to be aborted.
    pub(crate) async fn give_up(&self, txn_id: Uuid, table_locations: &[String]) -> Result<Vec<String>> {
        let result = self.try_to_give_up(txn_id, table_locations).await;
        match &result {
            Ok((_, true)) => {}
            _ => self.clean_up_later(txn_id, table_locations),
        }
        result.map(|(deleted, _)| deleted)
    }

    /// Has a transaction that was not committed given up at the next heartbeat.
    pub(crate) fn clean_up_later(&self, txn_id: Uuid, table_locations: &[String]) {
        self.unfinished.lock().insert(txn_id, table_locations.to_vec());
    }

    /// What could not be done before.
    pub(crate) async fn clean_up_again(&self) {
        let unfinished = std::mem::take(&mut *self.unfinished.lock());
        for (txn_id, table_locations) in unfinished {
            match self.give_up(txn_id, &table_locations).await {
                Ok(deleted) => tracing::info!(%txn_id, objects = deleted.len(), "cleaned up after a transaction, late"),
                Err(error) => tracing::warn!(%txn_id, %error, "still cannot clean up after a transaction"),
            }
        }
    }

    /// The locations deleted, and whether nothing is left to do.
    async fn try_to_give_up(&self, txn_id: Uuid, table_locations: &[String]) -> Result<(Vec<String>, bool)> {
        match self.database.abort(txn_id).await? {
            TxnOutcome::Aborted => {}
            outcome => {
                tracing::warn!(%txn_id, ?outcome, "transaction to give up is not aborted; its objects stay");
                return Ok((Vec::new(), true));
            }
        }
        let mut deleted = Vec::new();
        let mut complete = true;
        for location in table_locations {
            for directory in [data_directory(location, txn_id), format!("{location}/metadata")] {
                match self.objects_of(txn_id, &directory).await {
                    Ok(objects) => {
                        for object in objects {
                            match self.loader.objects().delete(&object).await {
                                Ok(()) => deleted.push(object),
                                Err(error) => {
                                    tracing::warn!(%txn_id, object, %error, "cannot delete a leftover");
                                    complete = false;
                                }
                            }
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%txn_id, directory, %error, "cannot list leftovers");
                        complete = false;
                    }
                }
            }
        }
        if complete {
            self.database.cleaned(txn_id).await?;
        }
        Ok((deleted, complete))
    }

    /// The objects below a directory that carry the transaction's id in their name.
    pub(crate) async fn objects_of(&self, txn_id: Uuid, directory: &str) -> Result<Vec<String>> {
        let id = txn_id.to_string();
        let mut objects = self.loader.objects().list(directory).await?;
        objects.retain(|object| object.rsplit('/').next().is_some_and(|file| file.contains(&id)));
        Ok(objects)
    }
}

/// Where a transaction's data files of one table are. The hash spreads the keys of an object store.
pub(crate) fn data_directory(table_location: &str, txn_id: Uuid) -> String {
    format!("{table_location}/data/{}", spread(txn_id))
}

/// Four hex digits of an FNV-1a hash of the transaction's id.
pub(crate) fn spread(txn_id: Uuid) -> String {
    let fnv = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = txn_id.as_bytes().iter().fold(0x811c_9dc5_u32, fnv);
    format!("{:04x}", (hash >> 16) ^ (hash & 0xffff))
}
