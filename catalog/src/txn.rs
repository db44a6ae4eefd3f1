//! An open transaction: what it has changed, and the state it sees.
//!
//! Nothing of Iceberg is written before the commit except data files. Before the first of those, the transaction is
//! registered in the catalog database, so that whatever a crash leaves can be found.

mod access;
mod changes;
mod foreign;
mod indexes;
mod namespaces;
mod rows;
mod sequences;
mod tables;
mod views;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::commit::reads::Reads;
use crate::commit::{self, Commit};
use crate::database::Pointer;
use crate::error::{Error, ErrorKind, Result};
use crate::name::TableName;
use crate::shared::{RowChanger, Shared};
use crate::snapshot::{CatalogSnapshot, OwnRelation, RelationKind};
use crate::table::{Table, TableVersion};

use views::view;

pub(crate) use changes::{
    BaseRelation, Changes, DeletedRows, FileChanges, RelationDelta, RelationState, SequenceDelta, TableDelta, ViewDelta,
};

/// The schema every new database has.
const FIRST_SCHEMA: &str = crate::access::OPEN_SCHEMA;
/// The columns for names in the catalog database, in characters.
const NAME_LENGTH_MAX: usize = 255;

/// Where the data files of one transaction for one table go.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    /// The table as the transaction sees it.
    pub table: Arc<Table>,
    /// The beginning of every data file's location: append `<n>.parquet`, with an `n` not used before.
    pub data_prefix: String,
}

/// A point inside a transaction that can be gone back to.
#[derive(Clone, Debug)]
pub struct Savepoint {
    changes: Arc<Changes>,
}

/// An open transaction. It has one owner; dropping it rolls it back in the background.
#[derive(Debug)]
pub struct Transaction {
    id: Uuid,
    shared: Arc<Shared>,
    base: Arc<CatalogSnapshot>,
    changes: Arc<Changes>,
    /// The state with the changes, made when first asked for after a change.
    seen: Mutex<Option<Arc<CatalogSnapshot>>>,
    /// The table locations the catalog database knows this transaction writes below.
    registered: BTreeSet<String>,
    /// Whether data files may exist that are no longer among the changes.
    may_have_strays: bool,
    /// Whether commit or rollback has taken over.
    is_finished: bool,
    /// The tables whose rows it deletes.
    row_changers: HashMap<Uuid, RowChanger>,
    /// What must be at the commit as it was when it was read.
    reads: Reads,
    /// Whose the objects are that it makes.
    owner: Uuid,
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>, base: Arc<CatalogSnapshot>) -> Transaction {
        Transaction {
            id: Uuid::now_v7(),
            shared,
            base,
            changes: Arc::default(),
            seen: Mutex::new(None),
            registered: BTreeSet::new(),
            may_have_strays: false,
            is_finished: false,
            row_changers: HashMap::new(),
            reads: Reads::new(),
            owner: Uuid::nil(),
        }
    }

    /// The transaction's id, part of the name of every object it makes.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The committed state the transaction began from.
    pub fn base(&self) -> &Arc<CatalogSnapshot> {
        &self.base
    }

    /// Goes on from a later state, if nothing hangs on the one it began from: nothing was changed, written or noted as read.
    pub fn move_to(&mut self, state: Arc<CatalogSnapshot>) {
        if self.is_read_only() && self.registered.is_empty() && self.row_changers.is_empty() && self.reads.is_empty() {
            self.base = state;
        }
    }

    /// The base with the transaction's own changes: what its next statement reads.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        if self.is_read_only() {
            return self.base.clone();
        }
        self.seen.lock().get_or_insert_with(|| Arc::new(self.overlay())).clone()
    }

    /// Whether nothing was changed so far. A transaction that only called [`Transaction::begin_write`] is read-only.
    pub fn is_read_only(&self) -> bool {
        let changes = &self.changes;
        changes.databases.is_empty()
            && changes.schemas.is_empty()
            && changes.relations.is_empty()
            && changes.schema_properties.is_empty()
            && changes.access.is_empty()
    }

    /// The tables and views changed so far, sorted.
    pub fn changed_tables(&self) -> Vec<TableName> {
        self.changes.relations.keys().cloned().collect()
    }

    /// Remembers the changes made so far. Cheap.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            changes: self.changes.clone(),
        }
    }

    /// Goes back to the changes a savepoint of this transaction remembers. Data files added since are deleted at the
    /// transaction's end.
    pub fn restore(&mut self, savepoint: Savepoint) {
        // Also when the changes are the same: a statement may have failed between writing a file and adding it.
        self.may_have_strays = true;
        self.changes = savepoint.changes;
        *self.seen.lock() = None;
    }

    /// Makes all changes visible and durable at once. Gives the commit's sequence number, or the base's when there was
    /// nothing to do.
    ///
    /// Appends are put on top of what others committed meanwhile. Fails with `Conflict` when that is impossible, with a
    /// `Duplicate…` kind when somebody made something of the same name first; nothing is changed then, and the
    /// transaction's objects are deleted. Runs on even when the caller stops waiting.
    pub async fn commit(mut self) -> Result<u64> {
        if self.is_read_only() {
            let csn = self.base.csn();
            self.rollback().await?;
            return Ok(csn);
        }
        if let Err(error) = self.shared.loader.check_held(self.base.csn()) {
            self.rollback().await?;
            return Err(error);
        }
        self.is_finished = true;
        let row_changers = std::mem::take(&mut self.row_changers);
        let commit = Commit {
            shared: self.shared.clone(),
            txn_id: self.id,
            base: self.base.clone(),
            changes: self.changes.clone(),
            registered: std::mem::take(&mut self.registered),
            may_have_strays: self.may_have_strays,
            garbage: Vec::new(),
            reads: std::mem::take(&mut self.reads),
        };
        let running = async move {
            let result = commit::run(commit).await;
            drop(row_changers);
            result
        };
        tokio::spawn(running).await.map_err(|error| {
            Error::internal("the commit was stopped; its outcome is unknown")
                .with_detail(format!("transaction {}", self.id))
                .with_hint("Look whether the change is there before you repeat it.")
                .with_source(error)
        })?
    }

    /// Gives everything up. Gives the locations of the objects that were deleted; what could not be deleted is left to
    /// recovery.
    pub async fn rollback(mut self) -> Result<Vec<String>> {
        self.is_finished = true;
        if self.registered.is_empty() {
            return Ok(Vec::new());
        }
        let locations: Vec<String> = std::mem::take(&mut self.registered).into_iter().collect();
        self.shared.give_up(self.id, &locations).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.is_finished || self.registered.is_empty() {
            return;
        }
        // Without a runtime the process is ending; recovery cleans up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, id) = (self.shared.clone(), self.id);
            let locations: Vec<String> = std::mem::take(&mut self.registered).into_iter().collect();
            runtime.spawn(async move {
                if let Err(error) = shared.give_up(id, &locations).await {
                    tracing::warn!(txn_id = %id, %error, "cannot clean up after an abandoned transaction");
                }
            });
        }
    }
}

impl Transaction {
    fn change(&mut self) -> &mut Changes {
        *self.seen.lock() = None;
        Arc::make_mut(&mut self.changes)
    }

    /// The base's pointers with the changes, and the relations behind the changed ones.
    fn overlay(&self) -> CatalogSnapshot {
        let mut pointers = self.base.pointers().clone();
        let mut own = BTreeMap::new();
        for (name, delta) in &self.changes.relations {
            let kind = match &delta.now {
                None => None,
                Some(RelationState::Table(delta)) => {
                    let (version, files) = (delta.version.clone(), delta.files.clone());
                    let table = Table::new(name.clone(), version, files, self.shared.loader.clone());
                    own.insert(name.clone(), OwnRelation::Table(Arc::new(table)));
                    Some(RelationKind::Table)
                }
                Some(RelationState::View(delta)) => {
                    own.insert(
                        name.clone(),
                        OwnRelation::View(Arc::new(view(&delta.definition, delta.uuid))),
                    );
                    Some(RelationKind::View)
                }
                Some(RelationState::Sequence(_)) => Some(RelationKind::Sequence),
                Some(RelationState::Index(_)) => Some(RelationKind::Index),
            };
            let location = match &delta.now {
                Some(RelationState::Sequence(delta)) => delta.pointer.clone(),
                Some(RelationState::Index(pointer)) => pointer.clone(),
                _ => String::new(),
            };
            pointers.set(name, kind.map(|kind| Pointer { kind, location }));
        }
        for ((database, schema), exists) in &self.changes.schemas {
            match exists {
                true => pointers.insert_schema(database, schema),
                false => pointers.remove_schema(database, schema),
            }
        }
        for (database, exists) in &self.changes.databases {
            match exists {
                true => pointers.insert_database(database),
                false => pointers.remove_database(database),
            }
        }
        pointers.set_access(self.base.access().with(&self.changes.access));
        CatalogSnapshot::of_transaction(self.base.clone(), pointers, own)
    }

    fn check_new_relation(&self, name: &TableName) -> Result<()> {
        check_name(&name.name)?;
        let snapshot = self.snapshot();
        if !snapshot.has_database(&name.database) {
            return Err(Error::undefined_database(&name.database));
        }
        if !snapshot.has_schema(&name.database, &name.schema) {
            return Err(Error::undefined_schema(&name.schema));
        }
        Ok(())
    }

    /// The table as the transaction sees it.
    async fn table(&self, name: &TableName) -> Result<Arc<Table>> {
        let snapshot = self.snapshot();
        match snapshot.table(name).await? {
            Some(table) => Ok(table),
            None if snapshot.relation(name).is_some() => Err(wrong_type(name, "table", "It is a view.")),
            None => Err(Error::undefined_relation(&name.name)),
        }
    }

    fn delta_of(&self, name: &TableName) -> Option<&TableDelta> {
        match self.changes.relations.get(name)?.now.as_ref()? {
            RelationState::Table(delta) => Some(delta),
            RelationState::View(_) | RelationState::Sequence(_) | RelationState::Index(_) => None,
        }
    }

    /// The delta of a table, begun on its base's `version` if there is none.
    fn table_delta(&mut self, name: &TableName, version: Arc<TableVersion>) -> Result<&mut TableDelta> {
        let fresh = || RelationDelta {
            base: Some(BaseRelation::Table(version.clone())),
            now: Some(RelationState::Table(TableDelta {
                origin: Some(name.clone()),
                ..TableDelta::new(version)
            })),
        };
        let delta = self.change().relations.entry(name.clone()).or_insert_with(fresh);
        match &mut delta.now {
            Some(RelationState::Table(delta)) => Ok(delta),
            _ => Err(Error::undefined_relation(&name.name)),
        }
    }

    /// Sets what a name stands for; what it stood for in the base must be noted already if there was anything.
    fn set_state(&mut self, name: &TableName, now: Option<RelationState>) {
        let relations = &mut self.change().relations;
        let delta = relations
            .entry(name.clone())
            .or_insert(RelationDelta { base: None, now: None });
        delta.now = now;
        if delta.base.is_none() && delta.now.is_none() {
            relations.remove(name);
        }
    }

    async fn note_base(&mut self, name: &TableName) -> Result<()> {
        if self.changes.relations.contains_key(name) {
            return Ok(());
        }
        let base = match self.base.relation(name) {
            None => return Ok(()),
            Some(RelationKind::View) => BaseRelation::View,
            Some(RelationKind::Sequence) => {
                let pointer = self.base.metadata_location(name).unwrap_or_default();
                BaseRelation::Sequence(pointer.to_owned())
            }
            Some(RelationKind::Index) => {
                let pointer = self.base.metadata_location(name).unwrap_or_default();
                BaseRelation::Index(pointer.to_owned())
            }
            Some(RelationKind::Table) => BaseRelation::Table(self.table(name).await?.version().clone()),
        };
        self.change().relations.insert(
            name.clone(),
            RelationDelta {
                base: Some(base),
                now: None,
            },
        );
        Ok(())
    }

    /// Drops a relation, and what was granted on it.
    async fn drop_relation(&mut self, name: &TableName) -> Result<()> {
        self.disown_relation(name).await?;
        self.take_off(name).await
    }

    /// Takes a relation off its name.
    async fn take_off(&mut self, name: &TableName) -> Result<()> {
        if self.snapshot().relation(name) == Some(RelationKind::Table) {
            let table = self.table(name).await?;
            self.drop_owned_sequences(name, table.uuid(), |_| true).await?;
            self.drop_index_names(name, table.uuid(), table.indexes()).await?;
        }
        self.note_base(name).await?;
        // Files written for the table by this transaction have no place any more.
        self.may_have_strays = true;
        self.set_state(name, None);
        Ok(())
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("zero-length identifier"));
    }
    if name.contains('\0') {
        return Err(Error::invalid("identifier contains a null character"));
    }
    if name.chars().count() > NAME_LENGTH_MAX {
        return Err(Error::invalid(format!(
            "identifier is longer than {NAME_LENGTH_MAX} characters"
        )));
    }
    Ok(())
}

fn wrong_type(name: &TableName, wanted: &str, hint: &str) -> Error {
    Error::new(
        ErrorKind::WrongObjectType,
        format!("\"{}\" is not a {wanted}", name.name),
    )
    .with_hint(hint)
}
