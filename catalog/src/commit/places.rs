//! New tables whose directory or id somebody else chose, and those that come back: neither may be another table's.
//!
//! Whoever cleans up below a table's directory must not meet files of another, and what goes with a table goes by its id.
//! Rules, each with a test in `foreign/tests/registered.rs`:
//! 1. They are looked at on the state the swap replaces; the swap sees that no table has come since, under any name.
//! 2. A directory that Staffa made for a table is that table's. So the ids of most tables need not be read.

use std::collections::HashSet;

use futures::stream::{self, StreamExt};
use uuid::Uuid;

use super::{Attempt, Commit};
use crate::error::{Error, Result};
use crate::journal::Pointers;
use crate::name::TableName;
use crate::objects::{directory_of, is_same_or_below};
use crate::snapshot::{CatalogSnapshot, RelationKind};
use crate::txn::{RelationState, TableDelta};

/// How many tables are read at once.
const READS_MAX: usize = 16;

/// The first relation that has its files in the directory, below it, or around it; those that `skips` names do not count.
pub(crate) fn check_free(pointers: &Pointers, location: &str, skips: impl Fn(&TableName) -> bool) -> Result<()> {
    for (name, pointer) in pointers.all().filter(|(name, _)| !skips(name)) {
        let place = directory_of(&pointer.location);
        let has_files = has_files(pointer.kind);
        if has_files && (is_same_or_below(place, location) || is_same_or_below(location, place)) {
            return Err(taken(&name, location, place));
        }
    }
    Ok(())
}

fn has_files(kind: RelationKind) -> bool {
    matches!(kind, RelationKind::Table | RelationKind::View)
}

fn taken(name: &TableName, location: &str, place: &str) -> Error {
    Error::invalid(format!("location \"{location}\" is taken")).with_detail(format!("{name} has its files in {place}."))
}

impl Commit {
    /// Checks a new table, unless all of it is Staffa's own choice.
    pub(super) async fn check_place(
        &self,
        attempt: &mut Attempt,
        head: &CatalogSnapshot,
        name: &TableName,
        state: &TableDelta,
    ) -> Result<()> {
        let metadata = state.version.metadata();
        let (location, uuid) = (metadata.location(), metadata.uuid());
        let is_foreign = state.is_registered || state.foreign.is_some() || state.revived.is_some();
        if state.origin.is_some() || !is_foreign && self.shared.owns_location(location, uuid) {
            return Ok(());
        }
        let is_changed = |other: &TableName| self.changes.relations.contains_key(other);
        check_free(head.pointers(), location, is_changed)?;
        for (other, delta) in &self.changes.relations {
            let Some(RelationState::Table(delta)) = delta.now.as_ref().filter(|_| other != name) else {
                continue;
            };
            let place = delta.version.metadata().location();
            if is_same_or_below(place, location) || is_same_or_below(location, place) {
                return Err(taken(other, location, place));
            }
            if delta.version.metadata().uuid() == uuid {
                return Err(known(other, uuid));
            }
        }
        if is_foreign {
            self.check_id(head, location, uuid).await?;
        }
        // A table that was staged is on the garbage list until it is made.
        if state.is_registered || state.foreign.is_some() {
            attempt.claimed.push(format!("{location}/"));
        }
        let places = head.pointers().all();
        let places = places.filter(|(_, pointer)| has_files(pointer.kind));
        attempt.known_places = Some(
            places
                .map(|(_, pointer)| directory_of(&pointer.location).to_owned())
                .collect(),
        );
        Ok(())
    }

    /// Whether no other table has the id.
    async fn check_id(&self, head: &CatalogSnapshot, location: &str, uuid: Uuid) -> Result<()> {
        if self.shared.is_made_location(location) && !self.shared.owns_location(location, uuid) {
            return Err(Error::invalid(format!("location \"{location}\" is not the table's"))
                .with_detail(format!("It was made for another table; this one has the id {uuid}.")));
        }
        let mut unread = Vec::new();
        for (name, pointer) in head.pointers().all() {
            let place = directory_of(&pointer.location);
            let may_have_it = !self.shared.is_made_location(place) || self.shared.owns_location(place, uuid);
            if pointer.kind == RelationKind::Table && may_have_it && !self.changes.relations.contains_key(&name) {
                unread.push((name, pointer.location.clone()));
            }
        }
        let loader = &self.shared.loader;
        let reads = unread.into_iter().map(|(name, metadata)| async move {
            match loader.table_version(&metadata).await {
                Ok(version) => (version.metadata().uuid() == uuid).then_some(name),
                Err(error) => {
                    tracing::debug!(table = %name, %error, "cannot tell the id of a table");
                    None
                }
            }
        });
        let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS_MAX);
        while let Some(found) = reads.next().await {
            if let Some(other) = found {
                return Err(known(&other, uuid));
            }
        }
        Ok(())
    }
}

fn known(name: &TableName, uuid: Uuid) -> Error {
    Error::invalid(format!("table id {uuid} is taken")).with_detail(format!("It is that of {name}."))
}

/// What a swap finds: whether every directory of a table or view is one of those that were looked at.
pub(crate) fn are_known(known: &HashSet<String>, locations: &[String]) -> bool {
    locations.iter().all(|location| known.contains(directory_of(location)))
}
