//! What a transaction has changed so far. Savepoints are clones of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::alter::TableChange;
use crate::file::DataFile;
use crate::name::TableName;
use crate::schema::ViewDefinition;
use crate::table::TableVersion;

/// Everything a transaction has changed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// `true`: created; `false`: dropped.
    pub(crate) databases: BTreeMap<String, bool>,
    pub(crate) schemas: BTreeMap<(String, String), bool>,
    pub(crate) relations: BTreeMap<TableName, RelationDelta>,
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
}

/// A relation a transaction has made or changed.
#[derive(Clone, Debug)]
pub(crate) enum RelationState {
    Table(TableDelta),
    View(ViewDelta),
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
    pub(crate) added: Vec<Arc<DataFile>>,
}

impl TableDelta {
    /// Whether at most its name is another.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.origin.is_some() && self.changes.is_empty() && self.added.is_empty()
    }
}

/// A view a transaction has made or replaced.
#[derive(Clone, Debug)]
pub(crate) struct ViewDelta {
    pub(crate) definition: ViewDefinition,
    /// Used when the base has no view of the name; else the view keeps its own.
    pub(crate) uuid: Uuid,
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
