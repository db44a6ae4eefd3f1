//! What a table was before: its snapshots, the names some of them have, and which one a reader asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, SecondsFormat};

use crate::error::{Error, ErrorKind, Result};
use crate::name::quote_identifier;

/// One committed state of a table's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: i64,
    /// The snapshot it was made from.
    pub parent_id: Option<i64>,
    /// Its place in the table's own count of commits.
    pub sequence_number: i64,
    /// When it was committed, in milliseconds since 1970 UTC.
    pub committed_ms: i64,
    /// `append`, `replace`, `overwrite` or `delete`.
    pub operation: String,
    /// Where the list of its manifests is.
    pub manifest_list: String,
    /// The columns of then.
    pub schema_id: Option<i32>,
    /// What the writer noted: counts of files and rows, for example.
    pub summary: BTreeMap<String, String>,
}

/// A moment at which a snapshot became the table's current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The moment, in milliseconds since 1970 UTC.
    pub made_current_ms: i64,
    /// The snapshot.
    pub snapshot_id: i64,
}

/// A name for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRef {
    /// The name.
    pub name: String,
    /// The snapshot; of a branch the newest one.
    pub snapshot_id: i64,
    /// How long it holds.
    pub retention: RefRetention,
}

/// Whether a name moves, and how long it keeps snapshots from expiring. What is `None` is the table's property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefRetention {
    /// A branch: writers move it.
    Branch {
        /// How long the name itself stays.
        max_ref_age_ms: Option<i64>,
        /// How long its snapshots stay.
        max_snapshot_age_ms: Option<i64>,
        /// How many of them stay however old they are.
        min_snapshots_to_keep: Option<i32>,
    },
    /// A tag: always the same snapshot.
    Tag {
        /// How long the name itself stays.
        max_ref_age_ms: Option<i64>,
    },
}

impl SnapshotRef {
    /// Whether it is a branch.
    pub fn is_branch(&self) -> bool {
        matches!(self.retention, RefRetention::Branch { .. })
    }
}

/// Which state of a table is asked for. Times are in microseconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableVersionSpec {
    /// A snapshot.
    Snapshot(i64),
    /// The snapshot before this one.
    BeforeSnapshot(i64),
    /// What a branch or tag names.
    Ref(String),
    /// What was current at a time.
    At(i64),
    /// What was current just before a time.
    Before(i64),
}

/// A snapshot found, and whether the columns of its time go with it: a branch has the table's present ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) snapshot_id: i64,
    pub(crate) own_schema: bool,
}

/// What of a table's history may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expirable {
    /// Snapshots.
    pub snapshots: BTreeSet<i64>,
    /// Branches and tags that are too old.
    pub refs: BTreeSet<String>,
    /// When the next of what stays may go, if nothing but time goes by, in milliseconds since 1970 UTC. It may be too early:
    /// then this says the next time again.
    pub next_ms: Option<i64>,
}

impl Expirable {
    /// Whether nothing may go.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.refs.is_empty()
    }
}

const MAIN: &str = "main";
const MAX_SNAPSHOT_AGE: &str = "history.expire.max-snapshot-age-ms";
const MIN_SNAPSHOTS: &str = "history.expire.min-snapshots-to-keep";
const MAX_REF_AGE: &str = "history.expire.max-ref-age-ms";
/// Five days, as in Iceberg.
const MAX_SNAPSHOT_AGE_MS: i64 = 5 * 24 * 3600 * 1000;
/// Iceberg keeps one: too few for a table that was last changed a week ago.
const MIN_SNAPSHOTS_KEPT: i64 = 20;

fn number(properties: &BTreeMap<String, String>, key: &str, default: i64) -> Result<i64> {
    match properties.get(key) {
        None => Ok(default),
        Some(text) => text.trim().parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
            Error::invalid(format!("table property {key} must be a number that is not negative"))
                .with_detail(format!("It is \"{text}\"."))
        }),
    }
}

/// Everything a table remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Oldest first.
    pub(crate) snapshots: Vec<SnapshotInfo>,
    /// Oldest first.
    pub(crate) log: Vec<HistoryEntry>,
    /// By name.
    pub(crate) refs: Vec<SnapshotRef>,
}

impl History {
    pub(crate) fn snapshot(&self, id: i64) -> Option<&SnapshotInfo> {
        self.snapshots.iter().find(|snapshot| snapshot.id == id)
    }

    /// The snapshot a reader means. `table` is for messages.
    pub(crate) fn find(&self, table: &str, spec: &TableVersionSpec) -> Result<Found> {
        let found = |snapshot_id, own_schema| {
            Ok(Found {
                snapshot_id,
                own_schema,
            })
        };
        match spec {
            TableVersionSpec::Snapshot(id) => match self.snapshot(*id) {
                Some(_) => found(*id, true),
                None => Err(self.unknown(table, *id)),
            },
            TableVersionSpec::BeforeSnapshot(id) => {
                let snapshot = self.snapshot(*id).ok_or_else(|| self.unknown(table, *id))?;
                let parent = snapshot.parent_id.filter(|parent| self.snapshot(*parent).is_some());
                match parent {
                    Some(parent) => found(parent, true),
                    None => Err(self.missing(format!("table {} has no snapshot before {id}", quote_identifier(table)))),
                }
            }
            TableVersionSpec::Ref(name) => match self.refs.iter().find(|given| given.name == *name) {
                Some(given) => found(given.snapshot_id, !given.is_branch()),
                None => Err(self.unknown_ref(table, name)),
            },
            TableVersionSpec::At(time) => self.as_of(table, *time, |entry| entry <= *time),
            TableVersionSpec::Before(time) => self.as_of(table, *time, |entry| entry < *time),
        }
    }

    fn as_of(&self, table: &str, time_us: i64, is_in: impl Fn(i64) -> bool) -> Result<Found> {
        let entry = self
            .log
            .iter()
            .rev()
            .find(|entry| is_in(entry.made_current_ms.saturating_mul(1000)));
        match entry.filter(|entry| self.snapshot(entry.snapshot_id).is_some()) {
            Some(entry) => Ok(Found {
                snapshot_id: entry.snapshot_id,
                own_schema: true,
            }),
            None => Err(self.missing(format!(
                "table {} has no snapshot as of {}",
                quote_identifier(table),
                shown(time_us)
            ))),
        }
    }

    /// What the table's properties and the names of snapshots no longer keep at `now_ms`. Of a branch's snapshots not more
    /// than `snapshots_max` stay, whatever their age.
    pub(crate) fn expirable(
        &self,
        properties: &BTreeMap<String, String>,
        now_ms: i64,
        snapshots_max: usize,
    ) -> Result<Expirable> {
        let max_age_ms = number(properties, MAX_SNAPSHOT_AGE, MAX_SNAPSHOT_AGE_MS)?;
        let min_kept = number(properties, MIN_SNAPSHOTS, MIN_SNAPSHOTS_KEPT)?;
        let max_ref_age_ms = number(properties, MAX_REF_AGE, i64::MAX)?;
        let by_id: HashMap<i64, &SnapshotInfo> = self.snapshots.iter().map(|it| (it.id, it)).collect();
        let born_ms = |id: i64| by_id.get(&id).map_or(now_ms, |it| it.committed_ms);
        // Whether it is not older than that yet; it will be.
        let mut next_ms: Option<i64> = None;
        let mut is_young = |id: i64, max_age_ms: i64| {
            let old_at_ms = born_ms(id).saturating_add(max_age_ms).saturating_add(1);
            let is_young = old_at_ms > now_ms;
            if is_young && old_at_ms < i64::MAX {
                next_ms = Some(next_ms.map_or(old_at_ms, |next| next.min(old_at_ms)));
            }
            is_young
        };
        let mut kept = HashSet::new();
        let mut on_branch = HashSet::new();
        let mut expirable = Expirable::default();
        for given in &self.refs {
            let (own_ref_age_ms, own_age_ms, own_min) = match given.retention {
                RefRetention::Branch {
                    max_ref_age_ms,
                    max_snapshot_age_ms,
                    min_snapshots_to_keep,
                } => (max_ref_age_ms, max_snapshot_age_ms, min_snapshots_to_keep),
                RefRetention::Tag { max_ref_age_ms } => (max_ref_age_ms, None, None),
            };
            if given.name != MAIN && !is_young(given.snapshot_id, own_ref_age_ms.unwrap_or(max_ref_age_ms)) {
                expirable.refs.insert(given.name.clone());
                continue;
            }
            kept.insert(given.snapshot_id);
            if !given.is_branch() {
                continue;
            }
            let min_kept = usize::try_from(own_min.map_or(min_kept, i64::from)).unwrap_or(1);
            let max_age_ms = own_age_ms.unwrap_or(max_age_ms);
            let mut next = Some(given.snapshot_id);
            let mut seen = HashSet::new();
            while let Some(snapshot) = next.and_then(|id| by_id.get(&id)).filter(|it| seen.insert(it.id)) {
                let number = seen.len();
                if number <= min_kept || (number <= snapshots_max && is_young(snapshot.id, max_age_ms)) {
                    kept.insert(snapshot.id);
                }
                on_branch.insert(snapshot.id);
                next = snapshot.parent_id;
            }
        }
        for snapshot in &self.snapshots {
            // What was rolled back stays for a while, so that the rollback can be taken back.
            let is_kept = kept.contains(&snapshot.id);
            if !is_kept && (on_branch.contains(&snapshot.id) || !is_young(snapshot.id, max_age_ms)) {
                expirable.snapshots.insert(snapshot.id);
            }
        }
        expirable.next_ms = next_ms;
        Ok(expirable)
    }

    fn unknown(&self, table: &str, id: i64) -> Error {
        let table = quote_identifier(table);
        self.missing(format!("table {table} has no snapshot {id}"))
    }

    pub(crate) fn unknown_ref(&self, table: &str, name: &str) -> Error {
        let names: Vec<String> = self.refs.iter().map(|given| quote_identifier(&given.name)).collect();
        let error = Error::new(
            ErrorKind::UndefinedVersion,
            format!(
                "table {} has no branch or tag {}",
                quote_identifier(table),
                quote_identifier(name)
            ),
        );
        match names.is_empty() {
            true => error.with_detail("It has none."),
            false => error.with_detail(format!("It has: {}.", names.join(", "))),
        }
    }

    /// An error that says what there is.
    fn missing(&self, message: String) -> Error {
        let detail = match (self.snapshots.first(), self.snapshots.last()) {
            (Some(first), Some(last)) => format!(
                "There are {} snapshots, from {} of {} to {} of {}.",
                self.snapshots.len(),
                first.id,
                shown(first.committed_ms.saturating_mul(1000)),
                last.id,
                shown(last.committed_ms.saturating_mul(1000))
            ),
            _ => "No rows were ever committed to it.".to_owned(),
        };
        Error::new(ErrorKind::UndefinedVersion, message)
            .with_detail(detail)
            .with_hint("Older snapshots expire as the table's history.expire properties say.")
    }
}

/// A time as messages show it.
fn shown(time_us: i64) -> String {
    match DateTime::from_timestamp_micros(time_us) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{time_us} microseconds after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let snapshot = |id, parent_id, committed_ms| SnapshotInfo {
            id,
            parent_id,
            sequence_number: id,
            committed_ms,
            operation: "append".to_owned(),
            manifest_list: String::new(),
            schema_id: Some(0),
            summary: BTreeMap::new(),
        };
        History {
            snapshots: vec![
                snapshot(1, None, 1000),
                snapshot(2, Some(1), 2000),
                snapshot(3, Some(2), 3000),
            ],
            // 3 was taken back at 4000.
            log: [(1000, 1), (2000, 2), (3000, 3), (4000, 2)]
                .map(|(made_current_ms, snapshot_id)| HistoryEntry {
                    made_current_ms,
                    snapshot_id,
                })
                .to_vec(),
            refs: vec![SnapshotRef {
                name: "release".to_owned(),
                snapshot_id: 1,
                retention: RefRetention::Tag { max_ref_age_ms: None },
            }],
        }
    }

    #[test]
    fn names_ages_and_numbers_keep_snapshots() {
        let set = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let mut history = history();
        // 3 is on no branch.
        history.refs.push(SnapshotRef {
            name: MAIN.to_owned(),
            snapshot_id: 2,
            retention: RefRetention::Branch {
                max_ref_age_ms: None,
                max_snapshot_age_ms: None,
                min_snapshots_to_keep: None,
            },
        });
        let expired = |history: &History, properties: &[(&str, &str)], now_ms, max| {
            let found = history.expirable(&set(properties), now_ms, max).unwrap();
            (
                found.snapshots.into_iter().collect::<Vec<_>>(),
                found.refs.into_iter().collect::<Vec<_>>(),
            )
        };
        let next = |history: &History, properties: &[(&str, &str)], now_ms| {
            history.expirable(&set(properties), now_ms, 100).unwrap().next_ms
        };
        let none: (Vec<i64>, Vec<String>) = (Vec::new(), Vec::new());
        let week = 7 * 24 * 3600 * 1000;
        assert_eq!(expired(&history, &[], 5000, 100), none);
        assert_eq!(expired(&history, &[], week, 100), (vec![3], Vec::new()));
        // 1 has a name.
        let one = [(MIN_SNAPSHOTS, "1")];
        assert_eq!(expired(&history, &one, week, 100), (vec![3], Vec::new()));
        let aged = [(MIN_SNAPSHOTS, "1"), (MAX_REF_AGE, "10000")];
        assert_eq!(
            expired(&history, &aged, week, 100),
            (vec![1, 3], vec!["release".to_owned()])
        );
        // Time alone takes first what was rolled back; what the least number keeps, it never takes.
        let day = 24 * 3600 * 1000;
        assert_eq!(next(&history, &[], 5000), Some(3000 + 5 * day + 1));
        assert_eq!(next(&history, &[], week), None);
        assert_eq!(next(&history, &aged, 5000), Some(1000 + 10000 + 1));
        history.refs.remove(0);
        assert_eq!(next(&history, &one, 5000), Some(1000 + 5 * day + 1));
        assert_eq!(expired(&history, &one, 1000 + 5 * day, 100), none);
        assert_eq!(expired(&history, &one, 1000 + 5 * day + 1, 100), (vec![1], Vec::new()));
        assert_eq!(expired(&history, &one, 5000, 1), (vec![1], Vec::new()));
        assert!(history.expirable(&set(&[(MIN_SNAPSHOTS, "many")]), 0, 1).is_err());
    }

    #[test]
    fn the_snapshot_that_was_current_is_found() {
        let find = |spec| {
            let found = history().find("t", &spec);
            found.map(|found| found.snapshot_id).map_err(|error| error.to_string())
        };
        assert_eq!(find(TableVersionSpec::At(2_999_999)), Ok(2));
        assert_eq!(find(TableVersionSpec::At(3_000_000)), Ok(3));
        assert_eq!(find(TableVersionSpec::Before(3_000_000)), Ok(2));
        assert_eq!(find(TableVersionSpec::At(9_000_000)), Ok(2));
        assert_eq!(find(TableVersionSpec::Snapshot(3)), Ok(3));
        assert_eq!(find(TableVersionSpec::BeforeSnapshot(3)), Ok(2));
        assert_eq!(find(TableVersionSpec::Ref("release".to_owned())), Ok(1));
        for missing in [
            TableVersionSpec::At(999_999),
            TableVersionSpec::Before(1_000_000),
            TableVersionSpec::Snapshot(4),
            TableVersionSpec::BeforeSnapshot(1),
            TableVersionSpec::Ref("other".to_owned()),
        ] {
            assert!(find(missing.clone()).is_err(), "{missing:?}");
        }
    }
}
