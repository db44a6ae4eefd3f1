//! Group commit: appends to one table that wait at the same time become one snapshot and one catalog transaction.
//!
//! Most commits are of this kind, and one after the other each would wait for its own writes to reach the disk. Here they
//! queue per table while an earlier group is stored; nobody is held up by a lock. Each client hears of its commit when the
//! whole group is durable. Members share one fate in the database: their transactions' rows change in the same SQL
//! transaction, so an outcome that is not known can be looked up for each.
//!
//! The group is an attempt to be fast and nothing else: when it fails for any known reason, its members go on one by one,
//! and each gets the error that is its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::table::{TableWork, check_rebase};
use super::{Commit, Current, RETRY_PAUSE_MAX_MS, RETRY_TIME_MAX, discard, put_all};
use crate::database::{NewGarbage, PointerChange, Swap, SwapOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::file::DataFile;
use crate::name::TableName;
use crate::shared::Shared;
use crate::snapshot::RelationKind;
use crate::table::TableVersion;
use crate::txn::{BaseRelation, FileChanges, RelationDelta, RelationState, TableDelta};

/// So many become one snapshot at most: those who are told of it wait for all of it.
const MEMBERS_MAX: usize = 256;

/// The appends that wait, by table. A table is there as long as somebody commits its groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    waiting: Mutex<HashMap<TableName, Vec<Member>>>,
}

/// One append that waits.
struct Member {
    commit: Commit,
    answer: oneshot::Sender<Answer>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Member").field(&self.commit.txn_id).finish()
    }
}

/// What became of a member. It gets its commit back when there is something left to do.
enum Answer {
    Committed(u64),
    Failed(Commit, Error),
    Alone(Commit),
}

/// Commits an append with those that come at the same time. `Err`: the commit is given back, with its error when it was
/// tried.
pub(super) async fn run(commit: Commit) -> Result<u64, (Commit, Option<Error>)> {
    let shared = commit.shared.clone();
    let Some(name) = appended(&commit).map(|(name, _)| name.clone()) else {
        return Err((commit, None));
    };
    // Kept to look its outcome up, should the group be stopped.
    let spare = commit.clone();
    let (answer, answered) = oneshot::channel();
    let is_first = {
        let mut waiting = shared.groups.waiting.lock();
        let is_first = !waiting.contains_key(&name);
        waiting.entry(name.clone()).or_default().push(Member { commit, answer });
        is_first
    };
    if is_first {
        tokio::spawn(lead(shared, name));
    }
    match answered.await {
        Ok(Answer::Committed(csn)) => Ok(csn),
        Ok(Answer::Failed(commit, error)) => Err((commit, Some(error))),
        Ok(Answer::Alone(commit)) => Err((commit, None)),
        Err(stopped) => Err((
            spare,
            Some(Error::outcome_unknown(
                Error::internal("a group of commits was stopped").with_source(stopped),
            )),
        )),
    }
}

/// Whether the commit may be one of a group.
pub(super) fn is_append(commit: &Commit) -> bool {
    appended(commit).is_some()
}

/// The one table that the commit appends to, if that is all it does.
fn appended(commit: &Commit) -> Option<(&TableName, &TableDelta)> {
    let changes = &commit.changes;
    if commit.may_have_strays
        || !commit.reads.is_empty()
        || !changes.databases.is_empty()
        || !changes.schemas.is_empty()
        || !changes.schema_properties.is_empty()
        || !changes.access.is_empty()
    {
        return None;
    }
    let mut relations = changes.relations.iter();
    let (Some((name, delta)), None) = (relations.next(), relations.next()) else {
        return None;
    };
    let Some(RelationState::Table(table)) = &delta.now else {
        return None;
    };
    // By name, so that whoever adds to them comes by here.
    let TableDelta {
        version: _,
        origin,
        changes,
        rows_checked,
        keys,
        files:
            FileChanges {
                added,
                removed,
                deleted,
                replaces,
            },
        owners,
        revived,
        is_registered,
        foreign,
    } = table;
    let is_plain = origin.as_ref() == Some(name)
        && changes.is_empty()
        && !rows_checked
        && keys.is_empty()
        && !added.is_empty()
        && removed.is_empty()
        && deleted.is_empty()
        && !replaces
        && owners.is_empty()
        && revived.is_none()
        && !is_registered
        && foreign.is_none();
    is_plain.then_some((name, table))
}

/// Commits groups of one table until nobody waits.
async fn lead(shared: Arc<Shared>, name: TableName) {
    // Should this panic, those who come later must find another leader.
    let mut leader = Leader {
        shared: shared.clone(),
        name: name.clone(),
        is_done: false,
    };
    loop {
        // Other kinds of commits to the table take turns with the groups.
        let _turn = shared.take_turns(std::slice::from_ref(&name)).await;
        let members = {
            let mut waiting = shared.groups.waiting.lock();
            let Some(queue) = waiting.get_mut(&name) else { return };
            if queue.is_empty() {
                waiting.remove(&name);
                leader.is_done = true;
                return;
            }
            let count = queue.len().min(MEMBERS_MAX);
            queue.drain(..count).collect()
        };
        commit_together(&shared, &name, members).await;
    }
}

struct Leader {
    shared: Arc<Shared>,
    name: TableName,
    is_done: bool,
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.is_done {
            // Those who wait are told by their channels that nobody works for them any more.
            self.shared.groups.waiting.lock().remove(&self.name);
        }
    }
}

/// Commits a group, and answers all its members.
async fn commit_together(shared: &Shared, name: &TableName, mut members: Vec<Member>) {
    let give_up_at = Instant::now() + RETRY_TIME_MAX;
    let mut garbage = Vec::new();
    let mut work: Option<TableWork> = None;
    for number in 0.. {
        let (head, fitting) = match fitting(shared, name, members, &garbage).await {
            Ok(fitting) => fitting,
            Err(members) => return send_alone(members, &garbage),
        };
        let Some(first) = fitting.first().map(|member| member.commit.txn_id) else {
            return;
        };
        let work = match &mut work {
            // Others may be members now: the manifest that lists all files is another.
            Some(work) if work.txn_id() == first => {
                work.forget_added();
                work
            }
            work => work.insert(TableWork::new(first, 0)),
        };
        members = fitting;
        match attempt(shared, name, &head, &members, work, number, &mut garbage).await {
            Ok(SwapOutcome::Committed(csn)) => {
                return members.into_iter().for_each(|member| {
                    // Who does not listen any more finds its commit done all the same.
                    let _ = member.answer.send(Answer::Committed(csn));
                });
            }
            Ok(SwapOutcome::Moved) if Instant::now() < give_up_at => {
                let pause_ms = rand::rng().random_range(1..=RETRY_PAUSE_MAX_MS.min(10 << number.min(8)));
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            Ok(SwapOutcome::Moved) => return send_alone(members, &garbage),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                let error = Arc::new(error);
                return members.into_iter().for_each(|Member { commit, answer }| {
                    let _ = answer.send(Answer::Failed(commit, Error::shared(error.clone())));
                });
            }
            Err(error) => {
                tracing::debug!(table = %name, members = members.len(), %error, "a group of commits failed");
                return send_alone(members, &garbage);
            }
        }
    }
}

/// The table as it is now and the members whose files can be added to it; the others are sent away to find out for
/// themselves. `Err`: nobody knows what the table is.
async fn fitting(
    shared: &Shared,
    name: &TableName,
    members: Vec<Member>,
    garbage: &[NewGarbage],
) -> Result<(Arc<TableVersion>, Vec<Member>), Vec<Member>> {
    let Ok(head) = shared.head().await else {
        return Err(members);
    };
    let mut version = None;
    let mut fitting = Vec::with_capacity(members.len());
    let mut others = Vec::new();
    for member in members {
        let Some((_, table)) = appended(&member.commit) else {
            others.push(member);
            continue;
        };
        let delta = member.commit.changes.relations.get(name);
        let current = match delta {
            Some(delta) => member.commit.current(name, delta, head.pointers().get(name)).await,
            None => Ok(None),
        };
        match (base_of(delta), current) {
            (Some(base), Ok(Some(Current::Table { version: now, .. })))
                if check_rebase(&name.name, base, &now, table).is_ok() =>
            {
                version = Some(now);
                fitting.push(member);
            }
            _ => others.push(member),
        }
    }
    send_alone(others, garbage);
    match version {
        Some(version) => Ok((version, fitting)),
        None => Err(fitting),
    }
}

fn base_of(delta: Option<&RelationDelta>) -> Option<&TableVersion> {
    match delta?.base.as_ref()? {
        BaseRelation::Table(base) => Some(base),
        BaseRelation::View | BaseRelation::Sequence(_) | BaseRelation::Index(_) => None,
    }
}

/// Stores the next version of the table with the files of all, and swaps. What it stored is deleted again unless it is,
/// or may be, needed.
async fn attempt(
    shared: &Shared,
    name: &TableName,
    head: &Arc<TableVersion>,
    members: &[Member],
    work: &mut TableWork,
    number: u32,
    garbage: &mut Vec<NewGarbage>,
) -> Result<SwapOutcome> {
    let tables = members.iter().filter_map(|member| appended(&member.commit));
    let added: Vec<Arc<DataFile>> = tables
        .flat_map(|(_, table)| table.files.added.iter().cloned())
        .collect();
    let delta = TableDelta::appending(name.clone(), head.clone(), added);
    let next = work.next_version(shared, &delta, Some(head), number).await?;
    let swap = Swap {
        txn_ids: members.iter().map(|member| member.commit.txn_id).collect(),
        pointers: vec![PointerChange {
            name: name.clone(),
            kind: RelationKind::Table,
            from: Some(head.metadata_location().to_owned()),
            to: Some(next.version.metadata_location().to_owned()),
        }],
        garbage: next.garbage.into_iter().chain(garbage.iter().cloned()).collect(),
        ..Swap::default()
    };
    let swapped = match put_all(shared, &next.objects).await {
        Ok(()) => shared.database.swap(&swap).await,
        Err(error) => Err(error),
    };
    match &swapped {
        Ok(SwapOutcome::Committed(_)) => shared.loader.keep_table_version(Arc::new(next.version)).await,
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {}
        _ => garbage.extend(discard(shared, &next.objects, |_| false).await),
    }
    swapped
}

/// With what the group could not delete: whoever commits puts it on the list of garbage, and those who fail find what has
/// their id. Naming an object twice does no harm.
fn send_alone(members: Vec<Member>, garbage: &[NewGarbage]) {
    for Member { mut commit, answer } in members {
        commit.garbage.extend_from_slice(garbage);
        let _ = answer.send(Answer::Alone(commit));
    }
}

#[cfg(test)]
mod tests;
