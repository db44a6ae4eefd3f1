//! What a transaction has changed so far. Savepoints are clones of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringTreemap;
use uuid::Uuid;

use crate::access::{AccessEntry, AccessKey};
use crate::alter::TableChange;
use crate::file::{DataFile, LiveFile};
use crate::iceberg::TableCommit;
use crate::name::TableName;
use crate::schema::ViewDefinition;
use crate::sequence::CounterEnd;
use crate::table::TableVersion;

/// Everything a transaction has changed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// `true`: created; `false`: dropped.
    pub(crate) databases: BTreeMap<String, bool>,
    pub(crate) schemas: BTreeMap<(String, String), bool>,
    /// Database, name before and after, in the order it was done.
    pub(crate) renamed_schemas: Vec<(String, String, String)>,
    pub(crate) relations: BTreeMap<TableName, RelationDelta>,
    /// Properties of schemas, by database and schema; `None`: it goes.
    pub(crate) schema_properties: BTreeMap<(String, String), BTreeMap<String, Option<String>>>,
    /// Roles and grants as they are to be; `None`: gone.
    pub(crate) access: BTreeMap<AccessKey, Option<AccessEntry>>,
    /// Dropped tables whose files stay for good.
    pub(crate) kept_files: BTreeSet<TableName>,
}

/// What a transaction did to one name.
#[derive(Clone, Debug)]
pub(crate) struct RelationDelta {
    /// What the name stood for in the base.
    pub(crate) base: Option<BaseRelation>,
    /// What it stands for now; `None`: nothing.
    pub(crate) now: Option<RelationState>,
}

/// A committed relation that a transaction changes or drops.
#[derive(Clone, Debug)]
pub(crate) enum BaseRelation {
    Table(Arc<TableVersion>),
    View,
    /// As it was.
    Sequence(String),
    /// As it was.
    Index(String),
}

/// A relation a transaction has made or changed.
#[derive(Clone, Debug)]
pub(crate) enum RelationState {
    Table(TableDelta),
    View(ViewDelta),
    Sequence(SequenceDelta),
    /// The name of an index: what its pointer is to be.
    Index(String),
}

/// A sequence a transaction has made or changed.
#[derive(Clone, Debug)]
pub(crate) struct SequenceDelta {
    /// What its pointer is to be.
    pub(crate) pointer: String,
    /// The committed counter that its own goes on from.
    pub(crate) ends: Option<CounterEnd>,
}

/// A table a transaction has made or changed.
#[derive(Clone, Debug)]
pub(crate) struct TableDelta {
    /// The version the transaction sees: its own for a new table, else the base's with the changes.
    pub(crate) version: Arc<TableVersion>,
    /// The name the table has in the base; `None` for a new table.
    pub(crate) origin: Option<TableName>,
    /// Changes of the definition of a table that is not new.
    pub(crate) changes: Vec<TableChange>,
    /// Whether one of them was allowed after a look at the rows: then others must not have changed rows meanwhile.
    pub(crate) rows_checked: bool,
    /// Field ids of keys that the added rows must be alone to have.
    pub(crate) keys: BTreeSet<Vec<i32>>,
    pub(crate) files: FileChanges,
    /// Of a new table: other tables whose files it has.
    pub(crate) owners: BTreeSet<String>,
    /// Of a new table: that it was dropped before.
    pub(crate) revived: Option<Revived>,
    /// Of a new table: that its metadata file is there already and stays as it is.
    pub(crate) is_registered: bool,
    /// What another engine asks for; nothing else is done to the table then.
    pub(crate) foreign: Option<Arc<TableCommit>>,
}

/// A dropped table that comes back.
#[derive(Clone, Debug)]
pub(crate) struct Revived {
    /// The entry of the garbage list that must go.
    pub(crate) garbage: String,
    /// As it was dropped.
    pub(crate) version: Arc<TableVersion>,
}

/// What a transaction did to the rows of one table.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileChanges {
    pub(crate) added: Vec<Arc<DataFile>>,
    /// Committed files whose rows are all deleted, as they were when that was done; by location.
    pub(crate) removed: BTreeMap<String, Arc<LiveFile>>,
    /// Whether the added files hold the rows of the removed ones, and nothing else was done.
    pub(crate) replaces: bool,
    /// Rows deleted in files that stay, committed ones and own ones; by location.
    pub(crate) deleted: BTreeMap<String, DeletedRows>,
}

/// Rows a transaction deleted in one file. Every one of them was there before.
#[derive(Clone, Debug)]
pub(crate) struct DeletedRows {
    /// The file as it was when the first of them was deleted.
    pub(crate) file: Arc<LiveFile>,
    pub(crate) rows: Arc<RoaringTreemap>,
}

impl FileChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && !self.has_deletes()
    }

    pub(crate) fn has_deletes(&self) -> bool {
        !self.removed.is_empty() || !self.deleted.is_empty()
    }

    fn is_own(&self, location: &str) -> bool {
        self.added.iter().any(|file| file.location == location)
    }

    /// The files a reader of the transaction sees when these are the committed ones.
    pub(crate) fn over(&self, committed: &[Arc<LiveFile>]) -> Vec<Arc<LiveFile>> {
        let kept = committed
            .iter()
            .filter(|file| !self.removed.contains_key(&file.location))
            .cloned();
        let own = self
            .added
            .iter()
            .map(|file| Arc::new(LiveFile::whole(file.clone(), i64::MAX)));
        kept.chain(own)
            .map(|file| match self.deleted.get(&file.location) {
                None => file,
                Some(deleted) => Arc::new(LiveFile {
                    own_deletes: Some(deleted.rows.clone()),
                    ..LiveFile::clone(&file)
                }),
            })
            .collect()
    }

    /// Deletes rows that were there, of a file as a reader of the transaction sees it.
    pub(crate) fn delete_rows(&mut self, file: &Arc<LiveFile>, rows: &RoaringTreemap) {
        let deleted = self
            .deleted
            .entry(file.location.clone())
            .or_insert_with(|| DeletedRows {
                file: file.clone(),
                rows: Arc::default(),
            });
        *Arc::make_mut(&mut deleted.rows) |= rows;
    }

    /// Takes what is known of columns that are not there any more out of the added files.
    pub(crate) fn forget_columns(&mut self, is_there: impl Fn(i32) -> bool) {
        for file in &mut self.added {
            if !file.columns.iter().all(|column| is_there(column.field_id)) {
                Arc::make_mut(file).columns.retain(|column| is_there(column.field_id));
            }
        }
    }

    /// Deletes all rows that are left of a file. Gives whether it was the transaction's own, which nothing needs then.
    pub(crate) fn remove(&mut self, file: &Arc<LiveFile>) -> bool {
        self.deleted.remove(&file.location);
        let is_own = self.is_own(&file.location);
        match is_own {
            true => self.added.retain(|added| added.location != file.location),
            false => {
                self.removed.insert(file.location.clone(), file.clone());
            }
        }
        is_own
    }
}

impl TableDelta {
    /// Nothing but new files for a committed table.
    pub(crate) fn appending(name: TableName, version: Arc<TableVersion>, added: Vec<Arc<DataFile>>) -> TableDelta {
        TableDelta {
            version,
            origin: Some(name),
            changes: Vec::new(),
            rows_checked: false,
            keys: BTreeSet::new(),
            files: FileChanges {
                added,
                ..FileChanges::default()
            },
            owners: BTreeSet::new(),
            revived: None,
            is_registered: false,
            foreign: None,
        }
    }

    /// A new table.
    pub(crate) fn new(version: Arc<TableVersion>) -> TableDelta {
        TableDelta {
            version,
            origin: None,
            changes: Vec::new(),
            rows_checked: false,
            keys: BTreeSet::new(),
            files: FileChanges::default(),
            owners: BTreeSet::new(),
            revived: None,
            is_registered: false,
            foreign: None,
        }
    }

    /// Whether snapshots go.
    pub(crate) fn expires(&self) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| matches!(change, TableChange::ExpireSnapshots(_)))
            || self.foreign.as_ref().is_some_and(|commit| commit.expires())
    }

    /// The older snapshot whose rows are the table's again.
    pub(crate) fn rolled_back_to(&self) -> Option<i64> {
        self.changes.iter().rev().find_map(|change| match change {
            TableChange::RollBack { snapshot_id } => Some(*snapshot_id),
            _ => None,
        })
    }

    /// Whether at most its name is another.
    pub(crate) fn is_unchanged(&self) -> bool {
        (self.origin.is_some() || self.revived.is_some())
            && self.changes.is_empty()
            && self.files.is_empty()
            && self.foreign.is_none()
    }
}

/// A view a transaction has made or replaced.
#[derive(Clone, Debug)]
pub(crate) struct ViewDelta {
    pub(crate) definition: ViewDefinition,
    pub(crate) uuid: Uuid,
    /// Used when the base has another view of the name or none; else the view stays where it is.
    pub(crate) location: String,
}

/// Creating what was dropped, or dropping what was created, leaves nothing to do.
pub(super) fn set_existence<K: Ord>(changes: &mut BTreeMap<K, bool>, key: K, exists: bool) {
    match changes.get(&key) {
        Some(before) if *before != exists => {
            changes.remove(&key);
        }
        _ => {
            changes.insert(key, exists);
        }
    }
}
