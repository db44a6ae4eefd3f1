//! From the changes of a transaction to one swap of pointers.
//!
//! Durability rules, each with a test in `commit/tests.rs`:
//! 1. Every object a pointer will lead to is durable before the pointer moves.
//! 2. All pointers of a transaction move in one SQL transaction, or none does.
//! 3. An append is put on top of what is there when the pointer moves; nothing another transaction committed is lost.
//! 4. When the swap fails in an unknown way its outcome is looked up; no object is deleted before it is known.
//! 5. A transaction that fails leaves no object behind; one that crashes leaves only objects that recovery finds.

#[cfg(test)]
mod alter_tests;
mod deletes;
pub(crate) mod foreign;
pub(crate) mod group;
mod keys;
pub(crate) mod places;
pub(crate) mod reads;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use futures::stream::{self, StreamExt};
use rand::Rng;
use tokio::time::Instant;
use uuid::Uuid;

use crate::access::{AccessChange, AccessEntry, AccessKey};
use crate::database::{NewGarbage, Pointer, PointerChange, Share, Swap, SwapOutcome, TxnOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::garbage::{DROPPED_TABLE_KEPT_MS, OLD_COUNTER_KEPT_MS, counter_garbage};
use crate::iceberg::{Encoded, write_view};
use crate::name::TableName;
use crate::sequence::{CounterEnd, Sequence};
use crate::shared::{Shared, data_directory};
use crate::snapshot::{CatalogSnapshot, RelationKind};
use crate::table::TableVersion;
use crate::temporary::is_temporary_schema;
use crate::txn::{BaseRelation, Changes, RelationDelta, RelationState, SequenceDelta, TableDelta, ViewDelta};

pub use reads::Reading;
use reads::Reads;
use table::{TableWork, metadata_path};

/// How long a commit goes on trying to get its turn.
const RETRY_TIME_MAX: Duration = Duration::from_secs(60);
const RETRY_PAUSE_MAX_MS: u64 = 500;
/// How long the outcome of a commit whose answer was lost is looked for.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 60 });
const LOOKUP_PAUSE: Duration = Duration::from_millis(250);
/// How many objects are stored at once.
const PUTS_MAX: usize = 32;

/// A transaction on its way to be committed.
#[derive(Clone)]
pub(crate) struct Commit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) txn_id: Uuid,
    pub(crate) base: Arc<CatalogSnapshot>,
    pub(crate) changes: Arc<Changes>,
    /// The table locations the catalog database knows of.
    pub(crate) registered: BTreeSet<String>,
    pub(crate) may_have_strays: bool,
    /// Objects of lost attempts that could not be deleted.
    pub(crate) garbage: Vec<NewGarbage>,
    /// What must be as it was when it was read.
    pub(crate) reads: Reads,
}

/// Attempts after one in a group have numbers from here on: their objects have names of their own.
const FIRST_ATTEMPT_AFTER_GROUP: u32 = 1000;

/// What one attempt stores and swaps, made on one head state.
#[derive(Default)]
struct Attempt {
    objects: Vec<Encoded>,
    pointers: Vec<PointerChange>,
    access: Vec<AccessChange>,
    garbage: Vec<NewGarbage>,
    versions: Vec<TableVersion>,
    shares: Vec<Share>,
    revived: Vec<String>,
    released: Vec<String>,
    ended: Vec<CounterEnd>,
    claimed: Vec<String>,
    known_places: Option<HashSet<String>>,
}

/// Commits, or leaves no trace. Gives the commit's sequence number.
pub(crate) async fn run(mut commit: Commit) -> Result<u64> {
    if let Err(error) = commit.register().await {
        return commit.settle(error).await;
    }
    let mut first_attempt = 0;
    if group::is_append(&commit) {
        commit = match group::run(commit).await {
            Ok(csn) => return Ok(csn),
            Err((commit, Some(error))) => return commit.settle(error).await,
            Err((commit, None)) => commit,
        };
        first_attempt = FIRST_ATTEMPT_AFTER_GROUP;
    }
    match commit.try_to_commit(first_attempt).await {
        Ok(csn) => Ok(csn),
        Err(error) => commit.settle(error).await,
    }
}

impl Commit {
    async fn try_to_commit(&self, first_attempt: u32) -> Result<u64> {
        // Of what was read, too: nothing must change it between the check and the swap.
        let names: BTreeSet<&TableName> = self.changes.relations.keys().chain(self.reads.keys()).collect();
        let names: Vec<TableName> = names.into_iter().cloned().collect();
        let mut work = self.surveyed(first_attempt).await?;
        let _turns = self.shared.take_turns(&names).await;
        let mut garbage = self.strays().await?;
        garbage.extend(self.garbage.iter().cloned());
        let give_up_at = Instant::now() + RETRY_TIME_MAX;
        for number in first_attempt.. {
            let head = self.shared.head().await?;
            let mut attempt = self.attempt(number, &head, &mut work).await?;
            put_all(&self.shared, &attempt.objects).await?;
            attempt.garbage.append(&mut garbage.clone());
            let versions = std::mem::take(&mut attempt.versions);
            let swapped = match self.shared.database.swap(&self.swap(&attempt)).await {
                // The next attempt sees whose it is.
                Err(error) if error.kind() == ErrorKind::DuplicateTable && self.may_be_made() => SwapOutcome::Moved,
                swapped => swapped?,
            };
            match swapped {
                SwapOutcome::Committed(csn) => {
                    for version in versions {
                        self.shared.loader.keep_table_version(Arc::new(version)).await;
                    }
                    return Ok(csn);
                }
                SwapOutcome::Moved => {
                    let keeps = |object: &str| work.values().any(|work| work.keeps(object));
                    garbage.extend(discard(&self.shared, &attempt.objects, keeps).await);
                    if Instant::now() > give_up_at {
                        break;
                    }
                    let pause_ms =
                        rand::rng().random_range(1..=RETRY_PAUSE_MAX_MS.min(10 << (number - first_attempt).min(8)));
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                }
            }
        }
        Err(Error::conflict(
            "Other transactions kept committing to the same tables first.",
        ))
    }

    /// The work on tables that forget snapshots or that another engine changes, with what it needs to know read before it is
    /// this commit's turn.
    async fn surveyed(&self, first_attempt: u32) -> Result<BTreeMap<TableName, TableWork>> {
        let mut all = BTreeMap::new();
        for (name, delta) in &self.changes.relations {
            let Some(RelationState::Table(state)) = &delta.now else {
                continue;
            };
            let origin = state.origin.as_ref();
            let base = origin.and_then(|origin| self.changes.relations.get(origin)?.base.as_ref());
            let Some(BaseRelation::Table(base)) = base else {
                continue;
            };
            let mut work = TableWork::new(self.txn_id, first_attempt);
            if let Some(commit) = &state.foreign {
                work.look(&self.shared, base, commit).await;
            }
            if state.expires() {
                work.survey(&self.shared, base.metadata()).await?;
            }
            if state.expires() || state.foreign.is_some() {
                all.insert(name.clone(), work);
            }
        }
        Ok(all)
    }

    /// Notes every place this commit will write below, before it writes.
    async fn register(&mut self) -> Result<()> {
        let mut locations = BTreeSet::new();
        for (name, delta) in &self.changes.relations {
            match &delta.now {
                Some(RelationState::Table(delta)) => {
                    locations.insert(delta.version.metadata().location().to_owned());
                }
                Some(RelationState::View(delta)) => {
                    locations.insert(self.view_location(name, delta).await?);
                }
                Some(RelationState::Sequence(_) | RelationState::Index(_)) | None => {}
            }
        }
        let again = !self.registered.is_empty();
        // The row is where the outcome is looked up: it must be there also when nothing is written.
        let is_known = again && locations.is_subset(&self.registered);
        self.registered.extend(locations);
        if is_known && !self.shared.database.may_lose_notes() {
            return Ok(());
        }
        let locations: Vec<String> = self.registered.iter().cloned().collect();
        self.shared
            .database
            .register(self.txn_id, self.base.csn(), &locations, again)
            .await?;
        Ok(())
    }

    async fn view_location(&self, name: &TableName, delta: &ViewDelta) -> Result<String> {
        match self.base.pointers().get(name) {
            Some(Pointer {
                kind: RelationKind::View,
                location,
            }) => {
                let stored = self.shared.loader.view(name, location).await?;
                Ok(match stored.metadata.uuid() == delta.uuid {
                    true => stored.metadata.location().to_owned(),
                    false => delta.location.clone(),
                })
            }
            _ => Ok(delta.location.clone()),
        }
    }

    /// Data files this transaction wrote and then gave up (a failed statement, a dropped table).
    async fn strays(&self) -> Result<Vec<NewGarbage>> {
        if !self.may_have_strays {
            return Ok(Vec::new());
        }
        let mut kept = BTreeSet::new();
        for delta in self.changes.relations.values() {
            if let Some(RelationState::Table(delta)) = &delta.now {
                kept.extend(delta.files.added.iter().map(|file| file.location.clone()));
            }
        }
        let mut strays = Vec::new();
        for location in &self.registered {
            let files = self
                .shared
                .objects_of(self.txn_id, &data_directory(location, self.txn_id))
                .await?;
            strays.extend(files.into_iter().filter(|file| !kept.contains(file)));
        }
        Ok(strays
            .into_iter()
            .map(|path| NewGarbage { path, not_before_ms: 0 })
            .collect())
    }

    async fn attempt(
        &self,
        number: u32,
        head: &CatalogSnapshot,
        work: &mut BTreeMap<TableName, TableWork>,
    ) -> Result<Attempt> {
        let mut attempt = Attempt::default();
        for (name, delta) in &self.changes.relations {
            let pointer = head.pointers().get(name);
            if let Some(location) = self.made_before(delta, pointer).await? {
                attempt.move_pointer(name, Some(location.clone()), location);
                continue;
            }
            let current = self.current(name, delta, pointer).await?;
            match &delta.now {
                Some(RelationState::View(state)) => self.next_view(&mut attempt, number, name, state, current).await?,
                Some(RelationState::Sequence(state)) => self.next_sequence(&mut attempt, name, state, current)?,
                Some(RelationState::Index(pointer)) => self.next_index(&mut attempt, name, pointer, current)?,
                Some(RelationState::Table(state)) if state.origin.as_ref() == Some(name) => {
                    let current = current.ok_or_else(|| Error::internal(format!("table {name} is gone")))?;
                    self.next_table(&mut attempt, number, name, state, Some(current), work)
                        .await?;
                }
                Some(RelationState::Table(state)) => {
                    self.check_place(&mut attempt, head, name, state).await?;
                    self.leave(&mut attempt, name, current)?;
                    let onto = match &state.origin {
                        None => None,
                        Some(origin) => self.origin(origin, head).await?,
                    };
                    self.next_table(&mut attempt, number, name, state, onto, work).await?;
                }
                None => self.leave(&mut attempt, name, current)?,
            }
        }
        self.check_reads(&mut attempt, head).await?;
        attempt.access = self.access_changes(head)?;
        // A name must be free before something else gets it; and all lock in one order.
        attempt
            .pointers
            .sort_by(|a, b| (a.from.is_none(), &a.name).cmp(&(b.from.is_none(), &b.name)));
        Ok(attempt)
    }

    /// Where a table is that has another engine's commit already: it was sent a second time while the first was under way.
    async fn made_before(&self, delta: &RelationDelta, pointer: Option<&Pointer>) -> Result<Option<String>> {
        let Some(RelationState::Table(TableDelta {
            foreign: Some(commit), ..
        })) = &delta.now
        else {
            return Ok(None);
        };
        let Some(pointer) = pointer.filter(|pointer| pointer.kind == RelationKind::Table) else {
            return Ok(None);
        };
        let version = self.shared.loader.table_version(&pointer.location).await?;
        let is_made = version.metadata().has_commit(commit);
        Ok(is_made.then(|| pointer.location.clone()))
    }

    /// Whether a table of the same name may have been made by the very commit that makes one here.
    fn may_be_made(&self) -> bool {
        self.changes.relations.values().any(|delta| match &delta.now {
            Some(RelationState::Table(state)) => state.origin.is_none() && state.foreign.is_some(),
            _ => false,
        })
    }

    /// The changes of roles and grants. What another transaction changed first is not overwritten.
    fn access_changes(&self, head: &CatalogSnapshot) -> Result<Vec<AccessChange>> {
        let mut changes = Vec::with_capacity(self.changes.access.len());
        for (key, entry) in &self.changes.access {
            let (base, now) = (self.base.access().csn_of(key), head.access().csn_of(key));
            if base != now {
                return Err(match (base, key, entry) {
                    (None, AccessKey::Role(name), Some(_)) => Error::duplicate_role(name),
                    _ => Error::conflict("Another transaction changed the same role or the same grants first."),
                });
            }
            changes.push(AccessChange {
                object: key.print()?,
                from: now,
                to: entry.as_ref().map(AccessEntry::print).transpose()?,
            });
        }
        Ok(changes)
    }

    /// Whether what was read is as it was; and the swap sees that it still is.
    async fn check_reads(&self, attempt: &mut Attempt, head: &CatalogSnapshot) -> Result<()> {
        for (name, read) in &self.reads {
            let Some(pointer) = head.pointers().get(name).filter(|it| it.kind == RelationKind::Table) else {
                return Err(reads::conflict(name, "it was dropped"));
            };
            if pointer.location != read.base.metadata_location() {
                let version = self.shared.loader.table_version(&pointer.location).await?;
                reads::check(&self.shared.loader, name, read, &version).await?;
            }
            let moved = |change: &PointerChange| change.from.is_some() && change.name == *name;
            if !attempt.pointers.iter().any(moved) {
                let location = pointer.location.clone();
                attempt.move_pointer(name, Some(location.clone()), location);
            }
        }
        Ok(())
    }

    /// Takes a name off what it stands for: a table that has another name now, or one that is dropped.
    fn leave(&self, attempt: &mut Attempt, name: &TableName, current: Option<Current>) -> Result<()> {
        let is_moved = self.changes.relations.values().any(|delta| match &delta.now {
            Some(RelationState::Table(state)) => state.origin.as_ref() == Some(name),
            _ => false,
        });
        match current {
            Some(Current::Table { location, .. }) if is_moved => attempt.pointers.push(PointerChange {
                name: name.clone(),
                kind: RelationKind::Table,
                from: Some(location),
                to: None,
            }),
            current => {
                if let Some(Current::Sequence { location }) = &current {
                    self.leave_counter(attempt, location, kept_ms(name))?;
                }
                let keeps_files = self.changes.kept_files.contains(name);
                attempt.drop_relation(&self.shared, name, current, keeps_files);
            }
        }
        Ok(())
    }

    /// The table under the name it has in the base.
    async fn origin(&self, name: &TableName, head: &CatalogSnapshot) -> Result<Option<Current>> {
        let delta = self.changes.relations.get(name);
        let delta = delta.ok_or_else(|| Error::internal(format!("table {name} was renamed without a trace")))?;
        self.current(name, delta, head.pointers().get(name)).await
    }

    /// Puts what was done to a table on top of what it is now, or makes it.
    async fn next_table(
        &self,
        attempt: &mut Attempt,
        number: u32,
        name: &TableName,
        state: &TableDelta,
        onto: Option<Current>,
        work: &mut BTreeMap<TableName, TableWork>,
    ) -> Result<()> {
        let mut from = None;
        let mut head = None;
        if let Some(origin) = &state.origin {
            let base = self.changes.relations.get(origin).and_then(|delta| delta.base.as_ref());
            let (Some(BaseRelation::Table(base)), Some(Current::Table { version, location })) = (base, onto) else {
                return Err(Error::internal(format!("table {origin} is gone")));
            };
            if state.foreign.is_none() {
                table::check_rebase(&name.name, base, &version, state)?;
                keys::check(&self.shared.loader, base, &version, state).await?;
            }
            from = (origin == name).then(|| location.clone());
            if state.is_unchanged() {
                if from.is_none() {
                    attempt.move_pointer(name, from, location);
                }
                return Ok(());
            }
            head = Some(version);
        }
        if let Some(revived) = &state.revived {
            attempt.revived.push(revived.garbage.clone());
            if state.is_unchanged() {
                let to = revived.version.metadata_location().to_owned();
                attempt.move_pointer(name, None, to);
                return Ok(());
            }
            head = Some(revived.version.clone());
        }
        if state.is_registered {
            attempt.move_pointer(name, None, state.version.metadata_location().to_owned());
            return Ok(());
        }
        if state.expires() {
            // Readers of what a clone forgets may need files of the table it was made from.
            let location = state.version.metadata().location();
            let shares = self.shared.database.shares().await?.into_iter();
            let own = shares.filter(|share| share.table_location == location);
            attempt.released.extend(own.map(|share| share.owner_location));
        }
        let owners = state.owners.iter();
        attempt.shares.extend(owners.map(|owner| Share {
            table_location: state.version.metadata().location().to_owned(),
            owner_location: owner.clone(),
        }));
        let uuid = state.version.metadata().uuid();
        if state.files.replaces && self.shared.has_row_changers(uuid, state.files.removed.keys()) {
            return Err(Error::conflict("A transaction that deletes rows of the files is open."));
        }
        let work = work
            .entry(name.clone())
            .or_insert_with(|| TableWork::new(self.txn_id, number));
        let next = work.next_version(&self.shared, state, head.as_deref(), number).await?;
        attempt.move_pointer(name, from, next.version.metadata_location().to_owned());
        attempt.objects.extend(next.objects);
        attempt.garbage.extend(next.garbage);
        attempt.versions.push(next.version);
        Ok(())
    }

    /// What is there now of the relation the transaction changes, if it is still the same one.
    async fn current(
        &self,
        name: &TableName,
        delta: &RelationDelta,
        pointer: Option<&Pointer>,
    ) -> Result<Option<Current>> {
        match (&delta.base, pointer) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::duplicate_relation(&name.name)),
            (Some(_), None) => Err(Error::conflict(format!(
                "Relation \"{}\" was dropped by another transaction.",
                name.name
            ))),
            (
                Some(BaseRelation::Table(base)),
                Some(Pointer {
                    kind: RelationKind::Table,
                    location,
                }),
            ) => {
                let version = self.shared.loader.table_version(location).await?;
                if version.metadata().uuid() != base.metadata().uuid() {
                    return Err(Error::conflict(format!(
                        "Table \"{}\" was dropped and made again by another transaction.",
                        name.name
                    )));
                }
                Ok(Some(Current::Table {
                    version,
                    location: location.clone(),
                }))
            }
            (
                Some(BaseRelation::View),
                Some(Pointer {
                    kind: RelationKind::View,
                    location,
                }),
            ) => Ok(Some(Current::View {
                location: location.clone(),
            })),
            (
                Some(BaseRelation::Sequence(base)),
                Some(Pointer {
                    kind: RelationKind::Sequence,
                    location,
                }),
            ) if base == location => Ok(Some(Current::Sequence {
                location: location.clone(),
            })),
            (
                Some(BaseRelation::Index(base)),
                Some(Pointer {
                    kind: RelationKind::Index,
                    location,
                }),
            ) if base == location => Ok(Some(Current::Index {
                location: location.clone(),
            })),
            (Some(_), Some(_)) => Err(Error::conflict(format!(
                "Relation \"{}\" was replaced by another transaction.",
                name.name
            ))),
        }
    }

    async fn next_view(
        &self,
        attempt: &mut Attempt,
        number: u32,
        name: &TableName,
        state: &ViewDelta,
        current: Option<Current>,
    ) -> Result<()> {
        let previous = match &current {
            Some(Current::View { location }) => {
                Some((location.clone(), self.shared.loader.view(name, location).await?))
            }
            _ => None,
        };
        if let Some(Current::Table { .. } | Current::Sequence { .. } | Current::Index { .. }) = current {
            self.leave(attempt, name, current)?;
        }
        let old = previous.as_ref().map(|(_, stored)| &stored.metadata);
        // A view may have got the name of another.
        let old = old.filter(|metadata| metadata.uuid() == state.uuid);
        let now_ms = Utc::now().timestamp_millis();
        let (metadata, bytes) = write_view(&state.definition, old, state.uuid, &state.location, now_ms)?;
        let from = previous.map(|(location, _)| location);
        let location = metadata_path(metadata.location(), from.as_deref(), self.txn_id, number);
        attempt.objects.push(Encoded {
            location: location.clone(),
            bytes: Bytes::from(bytes),
        });
        if let Some(old) = &from {
            attempt.garbage.push(NewGarbage {
                path: old.clone(),
                not_before_ms: now_ms + DROPPED_TABLE_KEPT_MS,
            });
        }
        attempt.pointers.push(PointerChange {
            name: name.clone(),
            kind: RelationKind::View,
            from,
            to: Some(location),
        });
        Ok(())
    }

    fn next_sequence(
        &self,
        attempt: &mut Attempt,
        name: &TableName,
        state: &SequenceDelta,
        current: Option<Current>,
    ) -> Result<()> {
        let from = match current {
            Some(Current::Sequence { location }) => Some(location),
            other => {
                self.leave(attempt, name, other)?;
                None
            }
        };
        attempt.ended.extend(state.ends.clone());
        if from.as_ref() == Some(&state.pointer) {
            return Ok(());
        }
        if let Some(from) = &from {
            self.leave_counter(attempt, from, OLD_COUNTER_KEPT_MS)?;
        }
        attempt.pointers.push(PointerChange {
            name: name.clone(),
            kind: RelationKind::Sequence,
            from,
            to: Some(state.pointer.clone()),
        });
        Ok(())
    }

    fn next_index(
        &self,
        attempt: &mut Attempt,
        name: &TableName,
        pointer: &str,
        current: Option<Current>,
    ) -> Result<()> {
        let from = match current {
            Some(Current::Index { location }) => Some(location),
            other => {
                self.leave(attempt, name, other)?;
                None
            }
        };
        if from.as_deref() != Some(pointer) {
            attempt.pointers.push(PointerChange {
                name: name.clone(),
                kind: RelationKind::Index,
                from,
                to: Some(pointer.to_owned()),
            });
        }
        Ok(())
    }

    /// The counter of a sequence that goes, or has another now, becomes garbage, unless a sequence of another name has it.
    fn leave_counter(&self, attempt: &mut Attempt, pointer: &str, kept_ms: i64) -> Result<()> {
        let sequence = Sequence::parse(pointer)?;
        for delta in self.changes.relations.values() {
            if let Some(RelationState::Sequence(state)) = &delta.now
                && Sequence::parse(&state.pointer)?.counter == sequence.counter
            {
                return Ok(());
            }
        }
        // As long as the table can come back, it can.
        let table = sequence.owner.map(|owner| owner.table);
        let is_kept = self.changes.kept_files.iter().any(|name| {
            let base = self.changes.relations.get(name).and_then(|delta| delta.base.as_ref());
            matches!(base, Some(BaseRelation::Table(base)) if Some(base.metadata().uuid()) == table)
        });
        attempt.garbage.push(NewGarbage {
            path: counter_garbage(sequence.counter),
            not_before_ms: match is_kept {
                true => i64::MAX,
                false => Utc::now().timestamp_millis() + kept_ms,
            },
        });
        Ok(())
    }

    fn swap(&self, attempt: &Attempt) -> Swap {
        let with = |wanted: bool, changes: &BTreeMap<String, bool>| {
            changes
                .iter()
                .filter(|(_, exists)| **exists == wanted)
                .map(|(name, _)| name.clone())
                .collect()
        };
        let schemas = |wanted: bool| {
            let changes = self.changes.schemas.iter();
            changes
                .filter(|(_, exists)| **exists == wanted)
                .map(|(name, _)| name.clone())
                .collect()
        };
        Swap {
            txn_ids: vec![self.txn_id],
            create_databases: with(true, &self.changes.databases),
            drop_databases: with(false, &self.changes.databases),
            create_schemas: schemas(true),
            drop_schemas: schemas(false),
            renamed_schemas: self.changes.renamed_schemas.clone(),
            schema_properties: self.changes.schema_properties.clone(),
            pointers: attempt.pointers.clone(),
            access: attempt.access.clone(),
            garbage: attempt.garbage.clone(),
            shares: attempt.shares.clone(),
            revived: attempt.revived.clone(),
            released: attempt.released.clone(),
            ended: attempt.ended.clone(),
            claimed: attempt.claimed.clone(),
            known_places: attempt.known_places.clone(),
        }
    }

    /// After a failure: finds out whether the commit happened all the same, and cleans up only if it did not.
    async fn settle(&self, error: Error) -> Result<u64> {
        let give_up_at = Instant::now() + LOOKUP_TIME_MAX;
        let may_be_committed = error.kind() == ErrorKind::OutcomeUnknown;
        loop {
            match self.outcome().await {
                Ok(TxnOutcome::Committed(csn)) => {
                    tracing::warn!(txn_id = %self.txn_id, %error, "the commit succeeded although its answer was lost");
                    return Ok(csn);
                }
                Ok(TxnOutcome::Open | TxnOutcome::Aborted) => break,
                Err(_) if !may_be_committed => {
                    let locations: Vec<String> = self.registered.iter().cloned().collect();
                    self.shared.clean_up_later(self.txn_id, &locations);
                    return Err(error);
                }
                Err(lookup) if Instant::now() > give_up_at => {
                    return Err(Error::outcome_unknown(error)
                        .with_detail(format!("transaction {}: looking it up failed: {lookup}", self.txn_id)));
                }
                Err(lookup) => {
                    tracing::warn!(txn_id = %self.txn_id, error = %lookup, "cannot look up what became of a commit yet");
                    tokio::time::sleep(LOOKUP_PAUSE).await;
                }
            }
        }
        let locations: Vec<String> = self.registered.iter().cloned().collect();
        if let Err(cleanup) = self.shared.give_up(self.txn_id, &locations).await {
            tracing::warn!(txn_id = %self.txn_id, error = %cleanup, "cannot clean up after a failed commit");
        }
        match may_be_committed {
            // Now it is known.
            true => Err(Error::new(ErrorKind::Io, "the commit failed")
                .with_detail(error.detail().unwrap_or_default())
                .with_source(error)),
            false => Err(error),
        }
    }

    /// What became of the transaction. A swap of which only the answer was lost may still be under way: aborting waits
    /// for its end and, if it was not committed, keeps it from being so.
    async fn outcome(&self) -> Result<TxnOutcome> {
        match self.shared.database.outcome(self.txn_id).await? {
            TxnOutcome::Open => self.shared.database.abort(self.txn_id).await,
            outcome => Ok(outcome),
        }
    }
}

/// The relation that is there when an attempt is made.
enum Current {
    Table {
        version: Arc<TableVersion>,
        location: String,
    },
    View {
        location: String,
    },
    Sequence {
        location: String,
    },
    Index {
        location: String,
    },
}

impl Attempt {
    /// Removes the pointer; the table's directory dies with it when it is the table's own.
    fn drop_relation(&mut self, shared: &Shared, name: &TableName, current: Option<Current>, keeps_files: bool) {
        let (kind, from) = match current {
            None => return,
            Some(Current::View { location }) => {
                // A view is one small file: it goes like the files of a table.
                self.garbage.push(dies_later(name, location.clone()));
                (RelationKind::View, location)
            }
            Some(Current::Sequence { location }) => (RelationKind::Sequence, location),
            Some(Current::Index { location }) => (RelationKind::Index, location),
            Some(Current::Table { version, location }) => {
                let metadata = version.metadata();
                if shared.owns_location(metadata.location(), metadata.uuid()) {
                    let mut directory = dies_later(name, format!("{}/", metadata.location()));
                    if keeps_files {
                        // It can be brought back as long as nobody purges it.
                        directory.not_before_ms = i64::MAX;
                    }
                    self.garbage.push(directory);
                } else {
                    tracing::info!(table = %name, "the files of a dropped table stay: its directory was given by a user");
                }
                (RelationKind::Table, location)
            }
        };
        self.pointers.push(PointerChange {
            name: name.clone(),
            kind,
            from: Some(from),
            to: None,
        });
    }

    fn move_pointer(&mut self, name: &TableName, from: Option<String>, to: String) {
        self.pointers.push(PointerChange {
            name: name.clone(),
            kind: RelationKind::Table,
            from,
            to: Some(to),
        });
    }
}

fn dies_later(name: &TableName, path: String) -> NewGarbage {
    NewGarbage {
        path,
        not_before_ms: Utc::now().timestamp_millis() + kept_ms(name),
    }
}

/// What was dropped stays for a while; temporary tables do not.
fn kept_ms(name: &TableName) -> i64 {
    match is_temporary_schema(&name.schema) {
        true => 0,
        false => DROPPED_TABLE_KEPT_MS,
    }
}

/// Deletes what a losing attempt stored, except what the next one uses again; what cannot be deleted now becomes garbage
/// of the commit. An engine that is pointed at a folder must not find a metadata file that never was.
async fn discard(shared: &Shared, objects: &[Encoded], keeps: impl Fn(&str) -> bool) -> Vec<NewGarbage> {
    let mut garbage = Vec::new();
    for object in objects.iter().filter(|object| !keeps(&object.location)) {
        if let Err(error) = shared.loader.objects().delete(&object.location).await {
            tracing::warn!(object = object.location, %error, "cannot delete an object of a lost attempt");
            garbage.push(NewGarbage {
                path: object.location.clone(),
                not_before_ms: 0,
            });
        }
    }
    garbage
}

/// Stores all objects at once; when one fails, the others are waited for, so that none comes after the cleanup.
async fn put_all(shared: &Shared, objects: &[Encoded]) -> Result<()> {
    let store = shared.loader.objects();
    let puts: Vec<_> = objects
        .iter()
        .map(|object| {
            let (store, location, bytes) = (store.clone(), object.location.clone(), object.bytes.clone());
            async move { store.put(&location, bytes).await }
        })
        .collect();
    let results: Vec<Result<()>> = stream::iter(puts).buffer_unordered(PUTS_MAX).collect().await;
    results.into_iter().collect()
}
