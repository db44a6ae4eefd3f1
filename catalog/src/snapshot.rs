//! One immutable state of all databases, schemas, tables and views, pinned by a session.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::access::Access;
use crate::error::Result;
use crate::index::IndexOwner;
use crate::journal::Pointers;
use crate::loader::Loader;
use crate::name::TableName;
use crate::schema::View;
use crate::sequence::Sequence;
use crate::table::Table;
use crate::temporary::is_temporary_schema;
use crate::txn::FileChanges;

/// What a name in a schema stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A sequence.
    Sequence,
    /// An index, which its table defines.
    Index,
}

/// One state of the whole catalog. Holding it pins it: nothing it needs is deleted.
pub struct CatalogSnapshot {
    pointers: Pointers,
    loader: Arc<Loader>,
    /// What the open transaction this state belongs to has made or changed.
    own: BTreeMap<TableName, OwnRelation>,
    /// The committed state below a transaction's own, kept pinned.
    base: Option<Arc<CatalogSnapshot>>,
    /// Tables handed out, so that all users of this state share one.
    tables: Mutex<HashMap<TableName, Arc<Table>>>,
}

/// A relation as its own transaction sees it.
#[derive(Clone, Debug)]
pub(crate) enum OwnRelation {
    Table(Arc<Table>),
    View(Arc<View>),
}

impl fmt::Debug for CatalogSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogSnapshot")
            .field("csn", &self.csn())
            .field("own", &self.own.keys())
            .finish_non_exhaustive()
    }
}

impl CatalogSnapshot {
    pub(crate) fn committed(pointers: Pointers, loader: Arc<Loader>) -> CatalogSnapshot {
        CatalogSnapshot {
            pointers,
            loader,
            own: BTreeMap::new(),
            base: None,
            tables: Mutex::default(),
        }
    }

    /// The state of a transaction: `pointers` are the base's with its changes, `own` the relations behind them.
    pub(crate) fn of_transaction(
        base: Arc<CatalogSnapshot>,
        pointers: Pointers,
        own: BTreeMap<TableName, OwnRelation>,
    ) -> CatalogSnapshot {
        CatalogSnapshot {
            pointers,
            loader: base.loader.clone(),
            own,
            base: Some(base),
            tables: Mutex::default(),
        }
    }

    pub(crate) fn loader(&self) -> &Arc<Loader> {
        &self.loader
    }

    pub(crate) fn pointers(&self) -> &Pointers {
        &self.pointers
    }

    /// Whether it is a transaction's own state, with changes that are in no sequence number.
    pub fn is_of_transaction(&self) -> bool {
        self.base.is_some()
    }

    /// The commit sequence number of this state; of its base, if it is a transaction's.
    pub fn csn(&self) -> u64 {
        self.pointers.csn()
    }

    /// Roles and grants.
    pub fn access(&self) -> &Access {
        self.pointers.access()
    }

    /// All databases, sorted.
    pub fn databases(&self) -> Vec<String> {
        self.pointers.databases().cloned().collect()
    }

    /// Whether the database exists.
    pub fn has_database(&self, database: &str) -> bool {
        self.pointers.has_database(database)
    }

    /// The schemas of a database, sorted; none when there is no such database. Without those of temporary tables.
    pub fn schemas(&self, database: &str) -> Vec<String> {
        let all = self.pointers.schemas(database);
        all.filter(|schema| !is_temporary_schema(schema)).cloned().collect()
    }

    /// The schemas of temporary tables, of all sessions.
    pub(crate) fn temporary_schemas(&self, database: &str) -> Vec<String> {
        let all = self.pointers.schemas(database);
        all.filter(|schema| is_temporary_schema(schema)).cloned().collect()
    }

    /// Whether the schema exists.
    pub fn has_schema(&self, database: &str, schema: &str) -> bool {
        self.pointers.relations(database, schema).is_some()
    }

    /// The tables and views of a schema, sorted by name; none when there is no such schema.
    pub fn relations(&self, database: &str, schema: &str) -> Vec<(String, RelationKind)> {
        let relations = self.pointers.relations(database, schema);
        relations
            .into_iter()
            .flat_map(|all| all.iter())
            .map(|(name, pointer)| (name.clone(), pointer.kind))
            .collect()
    }

    /// What the name stands for, if anything.
    pub fn relation(&self, name: &TableName) -> Option<RelationKind> {
        self.pointers.get(name).map(|pointer| pointer.kind)
    }

    /// The metadata file of a committed table or view; another one when anything about it has changed.
    pub fn metadata_location(&self, name: &TableName) -> Option<&str> {
        self.pointers.get(name).map(|pointer| pointer.location.as_str())
    }

    /// The table of this name; `None` when there is none (also when the name is a view's).
    pub async fn table(&self, name: &TableName) -> Result<Option<Arc<Table>>> {
        if let Some(OwnRelation::Table(table)) = self.own.get(name) {
            return Ok(Some(table.clone()));
        }
        self.loader.check_held(self.csn())?;
        let Some(pointer) = self
            .pointers
            .get(name)
            .filter(|pointer| pointer.kind == RelationKind::Table)
        else {
            return Ok(None);
        };
        // What a transaction has not touched is its base's.
        let state = self.base.as_deref().unwrap_or(self);
        if let Some(table) = state.loaded_table(name) {
            return Ok(Some(table));
        }
        let version = self.loader.table_version(&pointer.location).await?;
        let table = Arc::new(Table::new(
            name.clone(),
            version,
            FileChanges::default(),
            self.loader.clone(),
        ));
        Ok(Some(state.tables.lock().entry(name.clone()).or_insert(table).clone()))
    }

    /// The table, for who looks at many tables once: neither this state nor a cache keeps it.
    pub async fn glimpsed_table(&self, name: &TableName) -> Result<Option<Arc<Table>>> {
        if let Some(OwnRelation::Table(table)) = self.own.get(name) {
            return Ok(Some(table.clone()));
        }
        let Some(location) = self.location_of(name, RelationKind::Table) else {
            return Ok(None);
        };
        let version = self.loader.glimpsed_table_version(location).await?;
        let table = Table::new(name.clone(), version, FileChanges::default(), self.loader.clone());
        Ok(Some(Arc::new(table)))
    }

    /// The view, in the same way; it may go by a name it had before.
    pub async fn glimpsed_view(&self, name: &TableName) -> Result<Option<Arc<View>>> {
        if let Some(OwnRelation::View(view)) = self.own.get(name) {
            return Ok(Some(view.clone()));
        }
        let Some(location) = self.location_of(name, RelationKind::View) else {
            return Ok(None);
        };
        Ok(Some(self.loader.glimpsed_view(name, location).await?.view.clone()))
    }

    fn location_of(&self, name: &TableName, kind: RelationKind) -> Option<&str> {
        let pointer = self.pointers.get(name).filter(|pointer| pointer.kind == kind);
        pointer.map(|pointer| pointer.location.as_str())
    }

    /// The table, if [`CatalogSnapshot::table`] has given it out before.
    pub(crate) fn loaded_table(&self, name: &TableName) -> Option<Arc<Table>> {
        self.tables.lock().get(name).cloned()
    }

    /// The sequence of this name; `None` when there is none (also when the name is another relation's).
    pub fn sequence(&self, name: &TableName) -> Result<Option<Sequence>> {
        match self.pointers.get(name) {
            Some(pointer) if pointer.kind == RelationKind::Sequence => Sequence::parse(&pointer.location).map(Some),
            _ => Ok(None),
        }
    }

    /// The UUID of a relation, by which its rights are known; those on an index are its table's.
    pub async fn relation_id(&self, name: &TableName) -> Result<Option<Uuid>> {
        Ok(match self.relation(name) {
            Some(RelationKind::Index) | None => None,
            Some(RelationKind::Table) => self.table(name).await?.map(|table| table.uuid()),
            Some(RelationKind::View) => self.view(name).await?.map(|view| view.uuid),
            Some(RelationKind::Sequence) => self.sequence(name)?.map(|sequence| sequence.id),
        })
    }

    /// The sequence with this id, whatever its name.
    pub fn sequence_with_id(&self, id: Uuid) -> Result<Option<(TableName, Sequence)>> {
        let Some(name) = self.pointers.sequence(id) else {
            return Ok(None);
        };
        let sequence = self.sequence(name)?.filter(|sequence| sequence.id == id);
        Ok(sequence.map(|sequence| (name.clone(), sequence)))
    }

    /// The table that has the index of this name; `None` when there is no such index.
    pub async fn table_of_index(&self, name: &TableName) -> Result<Option<Arc<Table>>> {
        let Some(pointer) = self.location_of(name, RelationKind::Index) else {
            return Ok(None);
        };
        let owner = IndexOwner::parse(pointer)?;
        let is_owner = |table: &Arc<Table>| table.uuid() == owner.table;
        if let Some(table) = self.table(&name.sibling(&owner.relation)).await?.filter(is_owner) {
            return Ok(Some(table));
        }
        // It is called otherwise now.
        for (other, kind) in self.relations(&name.database, &name.schema) {
            if kind == RelationKind::Table
                && let Some(table) = self.glimpsed_table(&name.sibling(&other)).await?.filter(is_owner)
            {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    /// The sequences of a schema, sorted by name.
    pub fn sequences(&self, database: &str, schema: &str) -> Result<Vec<(String, Sequence)>> {
        self.sequences_where(database, schema, |_| true)
    }

    /// The sequences that go with a table of the schema.
    pub fn sequences_of(&self, database: &str, schema: &str, table: Uuid) -> Result<Vec<(String, Sequence)>> {
        let text = table.to_string();
        let mut all = self.sequences_where(database, schema, |pointer| pointer.contains(&text))?;
        all.retain(|(_, sequence)| sequence.owner.is_some_and(|owner| owner.table == table));
        Ok(all)
    }

    fn sequences_where(
        &self,
        database: &str,
        schema: &str,
        may_be: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Sequence)>> {
        let relations = self.pointers.relations(database, schema).into_iter();
        relations
            .flat_map(|all| all.iter())
            .filter(|(_, pointer)| pointer.kind == RelationKind::Sequence && may_be(&pointer.location))
            .map(|(name, pointer)| Ok((name.clone(), Sequence::parse(&pointer.location)?)))
            .collect()
    }

    /// Where the metadata of a committed view is, and what it says, as JSON; also of a view whose SQL is another engine's.
    pub async fn view_metadata(&self, name: &TableName) -> Result<Option<(String, Bytes)>> {
        let pointer = self.pointers.get(name);
        let Some(pointer) = pointer.filter(|pointer| pointer.kind == RelationKind::View) else {
            return Ok(None);
        };
        let bytes = self.loader.objects().get(&pointer.location).await?;
        Ok(Some((pointer.location.clone(), bytes)))
    }

    /// The view of this name; `None` when there is none (also when the name is a table's).
    pub async fn view(&self, name: &TableName) -> Result<Option<Arc<View>>> {
        if let Some(OwnRelation::View(view)) = self.own.get(name) {
            return Ok(Some(view.clone()));
        }
        match self
            .pointers
            .get(name)
            .filter(|pointer| pointer.kind == RelationKind::View)
        {
            Some(pointer) => Ok(Some(self.loader.view(name, &pointer.location).await?.view.clone())),
            None => Ok(None),
        }
    }
}
