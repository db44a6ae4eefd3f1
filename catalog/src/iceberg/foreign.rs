//! What other engines ask of a table, in the words of Iceberg's REST protocol: requirements that must hold, and updates
//! that are put on the metadata in their order.
//!
//! An engine may be wrong or out of date. What its updates would break is refused here, before anything is stored: rows of
//! other commits are never lost by a snapshot that does not follow the branch, columns keep meaning what they meant, and
//! what only Staffa knows of a table stays right. What lies in the files is checked in `commit/foreign.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};

use ::iceberg::spec::{MAIN_BRANCH, Snapshot, SnapshotReference, TableMetadataBuilder};
use ::iceberg::{TableRequirement, TableUpdate};
use chrono::Utc;
use serde_json::Value;
use uuid::Uuid;

use super::compatible;
use super::definition::refused;
use super::metadata::{Metadata, built};
use crate::error::{Error, ErrorKind, Result};
use crate::history::RefRetention;

/// Table properties that are Staffa's own.
pub(super) const RESERVED: &str = "staffa.";

/// How far the clock of an engine may be ahead: as much as Iceberg's libraries let times go back.
const CLOCK_DIFFERENCE_MAX_MS: i64 = 60_000;
/// The largest numbers an engine may bring a table to. What is left is enough for all who come after.
const ID_MAX: i64 = 1 << 30;
const NUMBER_MAX: i64 = 1 << 62;

/// What another engine asks to be done to one table.
#[derive(Clone, Debug)]
pub struct TableCommit {
    requirements: Vec<TableRequirement>,
    pub(super) updates: Vec<TableUpdate>,
    /// The updates as they were sent: ids that the crate would give anew are in there.
    pub(super) sent: Vec<Value>,
}

impl TableCommit {
    /// Reads `requirements` and `updates` of a `CommitTableRequest`.
    ///
    /// # Errors
    /// `InvalidDefinition` when they are not what the protocol knows.
    pub fn parse(requirements: Value, updates: Value) -> Result<TableCommit> {
        let Value::Array(sent) = updates else {
            return Err(Error::invalid("the updates of a commit must be a list"));
        };
        let updates = sent
            .iter()
            .map(|update| serde_json::from_value(update.clone()).map_err(|error| unreadable("an update", &error)))
            .collect::<Result<Vec<TableUpdate>>>()?;
        let requirements =
            serde_json::from_value(requirements).map_err(|error| unreadable("the requirements", &error))?;
        Ok(TableCommit {
            requirements,
            updates,
            sent,
        })
    }

    /// Whether it makes a table.
    pub fn creates(&self) -> bool {
        self.requirements.contains(&TableRequirement::NotExist)
    }

    /// Whether all it requires can be so of a table that is not there yet. Fails with `Conflict` when it cannot.
    pub(crate) fn check_new(&self) -> Result<()> {
        for requirement in &self.requirements {
            requirement.check(None).map_err(|error| unmet(&error))?;
        }
        Ok(())
    }

    /// The uuid it gives a new table.
    pub(crate) fn uuid(&self) -> Option<Uuid> {
        self.updates.iter().find_map(|update| match update {
            TableUpdate::AssignUuid { uuid } => Some(*uuid),
            _ => None,
        })
    }

    /// Where it wants a new table to be.
    pub(crate) fn location(&self) -> Option<&str> {
        self.updates.iter().find_map(|update| match update {
            TableUpdate::SetLocation { location } => Some(location.trim_end_matches('/')),
            _ => None,
        })
    }

    /// The snapshots it adds, with their lists of manifests.
    pub(crate) fn added(&self) -> impl Iterator<Item = (i64, &str)> {
        self.added_snapshots()
            .map(|snapshot| (snapshot.snapshot_id(), snapshot.manifest_list()))
    }

    /// Whether snapshots go.
    pub(crate) fn expires(&self) -> bool {
        let mut updates = self.updates.iter();
        updates.any(|update| matches!(update, TableUpdate::RemoveSnapshots { .. }))
    }

    /// Statistics files it names.
    pub(crate) fn statistics(&self) -> impl Iterator<Item = &str> {
        self.updates.iter().filter_map(|update| match update {
            TableUpdate::SetStatistics { statistics } => Some(statistics.statistics_path.as_str()),
            TableUpdate::SetPartitionStatistics { partition_statistics } => {
                Some(partition_statistics.statistics_path.as_str())
            }
            _ => None,
        })
    }

    fn added_snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.updates.iter().filter_map(|update| match update {
            TableUpdate::AddSnapshot { snapshot } => Some(snapshot),
            _ => None,
        })
    }
}

impl Metadata {
    /// Whether the table may be changed as asked. Fails with `Conflict` when a requirement does not hold.
    pub(crate) fn check_requirements(&self, commit: &TableCommit) -> Result<()> {
        for requirement in &commit.requirements {
            requirement.check(Some(&*self.inner)).map_err(|error| unmet(&error))?;
        }
        Ok(())
    }

    /// Whether the commit has been made already: its answer was lost, and the client sends it again. Ids of snapshots are
    /// given out once.
    pub(crate) fn has_commit(&self, commit: &TableCommit) -> bool {
        let mut added = commit.added().peekable();
        let is_new_table = commit.creates() && commit.uuid() == Some(self.uuid());
        if added.peek().is_none() {
            return is_new_table;
        }
        (is_new_table || !commit.creates())
            && added.all(|(id, list)| {
                let snapshot = self.inner.snapshot_by_id(id);
                snapshot.is_some_and(|snapshot| snapshot.manifest_list() == list)
            })
    }

    /// The next version: all updates, in order. `location` is the file this version is stored in. Also gives the metadata
    /// files that fell off the log.
    ///
    /// Fails with `Conflict` when the client may try again on the newest version, else with `InvalidDefinition` or
    /// `Unsupported`.
    pub(crate) fn updated(&self, location: Option<&str>, commit: &TableCommit) -> Result<(Metadata, Vec<String>)> {
        let mut state = State::of(self)?;
        let builder = apply(self.builder(location)?, &commit.updates, &mut state)?;
        state.check_refs()?;
        let (next, expired) = built(builder)?;
        compatible::check(self, &next)?;
        next.check_numbers()?;
        Ok((next, expired))
    }

    /// Whether there are numbers left: ids of columns and partition fields, of snapshots in their order, of rows.
    pub(super) fn check_numbers(&self) -> Result<()> {
        let inner = &self.inner;
        let numbers = [
            ("column id", i64::from(inner.last_column_id()), ID_MAX),
            ("partition field id", i64::from(inner.last_partition_id()), ID_MAX),
            ("sequence number", inner.last_sequence_number(), NUMBER_MAX),
            (
                "row id",
                i64::try_from(inner.next_row_id()).unwrap_or(i64::MAX),
                NUMBER_MAX,
            ),
        ];
        match numbers.into_iter().find(|(_, number, max)| number > max) {
            None => Ok(()),
            Some((what, number, _)) => Err(Error::invalid(format!(
                "{what} {number} is too large: others could not follow"
            ))),
        }
    }

    /// Whether a table that comes from elsewhere can be changed here: what commits are held to when they are made.
    pub(crate) fn check_registered(&self) -> Result<()> {
        self.check_numbers()?;
        compatible::check_columns(self.inner.current_schema(), None)?;
        check_time("the table's last change", self.last_updated_ms())?;
        for snapshot in self.inner.snapshots() {
            check_time(&format!("snapshot {}", snapshot.snapshot_id()), snapshot.timestamp_ms())?;
        }
        for given in self.refs()? {
            if given.name == MAIN_BRANCH && matches!(given.retention, RefRetention::Tag { .. }) {
                return Err(main_is_no_tag());
            }
        }
        Ok(())
    }
}

fn check_main(name: &str, reference: &SnapshotReference) -> Result<()> {
    match name == MAIN_BRANCH && !reference.is_branch() {
        true => Err(main_is_no_tag()),
        false => Ok(()),
    }
}

/// Nothing could be added to the table any more.
fn main_is_no_tag() -> Error {
    Error::invalid(format!("\"{MAIN_BRANCH}\" is a branch and cannot be a tag"))
}

/// Clocks differ a little. What comes after a time that lies far ahead would be refused by every engine.
fn check_time(what: &str, time_ms: i64) -> Result<()> {
    let now_ms = Utc::now().timestamp_millis();
    match (0..=now_ms + CLOCK_DIFFERENCE_MAX_MS).contains(&time_ms) {
        true => Ok(()),
        false => Err(
            Error::invalid(format!("{what} has the time {time_ms} ms, which is not now or before"))
                .with_detail(format!("The clock of the server is at {now_ms} ms.")),
        ),
    }
}

/// Puts the updates on a builder, each only if it is allowed.
pub(super) fn apply(
    mut builder: TableMetadataBuilder,
    updates: &[TableUpdate],
    state: &mut State,
) -> Result<TableMetadataBuilder> {
    for update in updates {
        if state.allows(update)? {
            builder = update.clone().apply(builder).map_err(refused)?;
        }
    }
    Ok(builder)
}

/// What the updates so far have made of a table, as far as the next ones depend on it.
pub(super) struct State {
    uuid: Uuid,
    location: String,
    properties: HashMap<String, String>,
    last_sequence_number: i64,
    /// Snapshots with their schema.
    snapshots: HashMap<i64, Option<i32>>,
    /// Snapshots of this commit with their parents.
    added: HashMap<i64, Option<i64>>,
    refs: BTreeMap<String, i64>,
}

impl State {
    pub(super) fn of(metadata: &Metadata) -> Result<State> {
        let inner = &metadata.inner;
        let refs = metadata.refs()?.into_iter();
        Ok(State {
            uuid: inner.uuid(),
            location: inner.location().to_owned(),
            properties: inner.properties().clone(),
            last_sequence_number: inner.last_sequence_number(),
            snapshots: inner
                .snapshots()
                .map(|snapshot| (snapshot.snapshot_id(), snapshot.schema_id()))
                .collect(),
            added: HashMap::new(),
            refs: refs.map(|given| (given.name, given.snapshot_id)).collect(),
        })
    }

    /// Whether the update has anything to do; an error when it must not be done.
    fn allows(&mut self, update: &TableUpdate) -> Result<bool> {
        match update {
            TableUpdate::AssignUuid { uuid } if *uuid != self.uuid => Err(Error::invalid("a table keeps its uuid")),
            TableUpdate::SetLocation { location } if location.trim_end_matches('/') != self.location => {
                Err(unsupported("moving a table to another location"))
            }
            TableUpdate::AssignUuid { .. } | TableUpdate::SetLocation { .. } => Ok(false),
            TableUpdate::SetProperties { updates } => {
                let own = |(key, value): &(&String, &String)| {
                    key.starts_with(RESERVED) && self.properties.get(*key) != Some(*value)
                };
                match updates.iter().find(own) {
                    Some((key, _)) => Err(reserved(key)),
                    None => Ok(!updates.is_empty()),
                }
            }
            TableUpdate::RemoveProperties { removals } => match removals.iter().find(|key| key.starts_with(RESERVED)) {
                Some(key) => Err(reserved(key)),
                None => Ok(!removals.is_empty()),
            },
            TableUpdate::AddSnapshot { snapshot } => self.add(snapshot),
            TableUpdate::SetSnapshotRef { ref_name, reference } => {
                check_main(ref_name, reference)?;
                self.set_ref(ref_name, reference.snapshot_id)
            }
            TableUpdate::RemoveSnapshotRef { ref_name } => {
                self.refs.remove(ref_name);
                Ok(true)
            }
            TableUpdate::RemoveSnapshots { snapshot_ids } => {
                self.snapshots.retain(|id, _| !snapshot_ids.contains(id));
                Ok(!snapshot_ids.is_empty())
            }
            TableUpdate::RemoveSchemas { schema_ids } => {
                let mut used = self.snapshots.values().flatten();
                match used.find(|id| schema_ids.contains(id)) {
                    Some(id) => Err(Error::invalid(format!("schema {id} is that of a snapshot"))),
                    None => Ok(true),
                }
            }
            // Which files are still of a spec only a look into all manifests would tell.
            TableUpdate::RemovePartitionSpecs { .. } => Err(unsupported("removing partition specs")),
            TableUpdate::AddEncryptionKey { .. } | TableUpdate::RemoveEncryptionKey { .. } => {
                Err(unsupported("encryption of tables"))
            }
            TableUpdate::UpgradeFormatVersion { .. }
            | TableUpdate::AddSchema { .. }
            | TableUpdate::SetCurrentSchema { .. }
            | TableUpdate::AddSpec { .. }
            | TableUpdate::SetDefaultSpec { .. }
            | TableUpdate::AddSortOrder { .. }
            | TableUpdate::SetDefaultSortOrder { .. }
            | TableUpdate::SetStatistics { .. }
            | TableUpdate::RemoveStatistics { .. }
            | TableUpdate::SetPartitionStatistics { .. }
            | TableUpdate::RemovePartitionStatistics { .. } => Ok(true),
        }
    }

    fn add(&mut self, snapshot: &Snapshot) -> Result<bool> {
        let id = snapshot.snapshot_id();
        if self.snapshots.contains_key(&id) {
            return Err(Error::invalid(format!("the table has a snapshot {id} already")));
        }
        // Whoever read an older version must read the newest and try again.
        if snapshot.sequence_number() <= self.last_sequence_number {
            return Err(conflict(format!(
                "Snapshot {id} has the sequence number {}, the table is at {}.",
                snapshot.sequence_number(),
                self.last_sequence_number
            )));
        }
        if snapshot.sequence_number() > self.last_sequence_number.saturating_add(1) {
            return Err(Error::invalid(format!(
                "snapshot {id} has the sequence number {}, the next one is {}",
                snapshot.sequence_number(),
                self.last_sequence_number.saturating_add(1)
            )));
        }
        check_time(&format!("snapshot {id}"), snapshot.timestamp_ms())?;
        self.last_sequence_number = snapshot.sequence_number();
        self.snapshots.insert(id, snapshot.schema_id());
        self.added.insert(id, snapshot.parent_snapshot_id());
        Ok(true)
    }

    /// A new snapshot of a branch must follow what the branch is: else it would take rows of others away, which a client that
    /// states no requirement would not notice.
    fn set_ref(&mut self, name: &str, id: i64) -> Result<bool> {
        if let (Some(current), true) = (self.refs.get(name), self.added.contains_key(&id)) {
            let mut below = Some(id);
            let mut seen = HashSet::new();
            while let Some(parent) = below.filter(|id| seen.insert(*id)).and_then(|id| self.added.get(&id)) {
                below = *parent;
                if below == Some(*current) {
                    break;
                }
            }
            if below != Some(*current) {
                return Err(conflict(format!(
                    "Snapshot {id} does not follow snapshot {current}, which \"{name}\" is at."
                )));
            }
        }
        self.refs.insert(name.to_owned(), id);
        Ok(true)
    }

    pub(super) fn check_refs(&self) -> Result<()> {
        let mut refs = self.refs.iter();
        match refs.find(|(_, id)| !self.snapshots.contains_key(id)) {
            None => Ok(()),
            Some((name, id)) => Err(Error::invalid(format!("snapshot {id} cannot go: \"{name}\" is at it"))),
        }
    }
}

pub(super) fn reserved(key: &str) -> Error {
    Error::invalid(format!("table property \"{key}\" is reserved"))
        .with_detail("It belongs to Staffa, which changes it by SQL only.")
}

pub(super) fn unreadable(what: &str, error: &serde_json::Error) -> Error {
    Error::invalid(format!("{what} of the request cannot be read")).with_detail(error.to_string())
}

fn unmet(error: &::iceberg::Error) -> Error {
    Error::new(ErrorKind::Conflict, error.message().to_owned())
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is not supported"))
}

fn conflict(detail: String) -> Error {
    Error::new(ErrorKind::Conflict, "the table was changed by another commit").with_detail(detail)
}
