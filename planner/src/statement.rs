//! What a statement asks for, with its names resolved: the answer of `plan()`.
//!
//! Commands carry plain data for the engine to act on; queries carry an analysed logical plan, whose types are final.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use staffa_catalog::{
    LiveFile, Sequence, SqlType, Table, TableChange, TableDefinition, TableName, TableVersionSpec, Uuid, View, ViewRead,
};

use crate::copy_options::CopyOptions;
use crate::explain::ExplainOptions;
use crate::generic::Generic;
use crate::parse::ParsedStatement;
pub use crate::statement::access::{AccessEdit, AccessPlan};
use crate::statement::alter::AlterAction;
use crate::statement::index::IndexChange;
pub use crate::statement::origin::ColumnOrigin;
use crate::statement::returning::Returning;
use crate::statement::sequence::SequenceChange;
use crate::statement::with::WithPlan;

pub(crate) mod absent;
pub(crate) mod access;
pub(crate) mod alter;
pub(crate) mod change;
pub(crate) mod constraint;
pub(crate) mod copy;
pub(crate) mod cursor;
pub(crate) mod ddl;
pub(crate) mod dependents;
pub(crate) mod dml;
pub(crate) mod explain;
mod guarded;
pub(crate) mod history;
mod identity;
pub(crate) mod index;
mod like;
pub(crate) mod lock;
pub(crate) mod materialized;
pub(crate) mod merge;
pub(crate) mod origin;
pub(crate) mod prepare;
pub(crate) mod query;
pub(crate) mod returning;
pub(crate) mod sequence;
pub(crate) mod set;
mod stars;
mod storage;
pub(crate) mod transaction;
pub(crate) mod truncate;
pub(crate) mod upkeep;
pub(crate) mod upsert;
pub(crate) mod with;

/// One statement, ready to run.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Rows to compute and send.
    Query(QueryPlan),
    /// `EXPLAIN`: describe, and with `analyze` also run, the target.
    Explain {
        target: ExplainTarget,
        options: ExplainOptions,
    },
    /// `INSERT`
    Insert(InsertPlan),
    /// `UPDATE`, `DELETE`, `MERGE`
    Change(ChangePlan),
    /// INSERT, UPDATE and DELETE in `WITH`, and what stands behind it.
    With(WithPlan),
    /// `CREATE TABLE … AS`
    CreateTableAs {
        definition: TableDefinition,
        source: QueryPlan,
        if_not_exists: bool,
        with_data: bool,
        notice: Option<String>,
    },
    /// Roles, owners and grants.
    Access(AccessPlan),
    /// `SET ROLE`, or with `session` `SET SESSION AUTHORIZATION`. The role is allowed.
    SetIdentity {
        session: bool,
        role: Option<String>,
        /// Whether the session can do everything then.
        superuser: bool,
        local: bool,
    },
    /// `CREATE TABLE`: `notice` is about parameters that have no effect.
    CreateTable {
        definition: TableDefinition,
        if_not_exists: bool,
        notice: Option<String>,
    },
    /// `CREATE [OR REPLACE] VIEW`: `sql` is the text of the query, `columns` what it yields.
    CreateView {
        name: TableName,
        sql: String,
        columns: Vec<(String, SqlType)>,
        search_path: Vec<String>,
        replace: bool,
        comment: Option<String>,
        reads: Vec<ViewRead>,
    },
    /// `DROP TABLE a, b`, `DROP MATERIALIZED VIEW a, b`. `missing` is told of names that were not found and `IF EXISTS` forgives.
    DropTables {
        names: Vec<TableName>,
        missing: Vec<String>,
        cascade: bool,
    },
    /// `REFRESH MATERIALIZED VIEW`: these rows, without parameters, in the place of those that are there; `None`: no rows.
    Refresh {
        table: TableName,
        source: Option<QueryPlan>,
        was_populated: bool,
    },
    /// `DROP VIEW a, b`
    DropViews {
        names: Vec<TableName>,
        missing: Vec<String>,
        cascade: bool,
    },
    /// `CREATE SEQUENCE`
    CreateSequence {
        name: TableName,
        sequence: Sequence,
        if_not_exists: bool,
    },
    /// `ALTER SEQUENCE` but for its name.
    AlterSequence { name: TableName, change: SequenceChange },
    /// `DROP SEQUENCE a, b`; CASCADE takes these defaults away, by table and field id.
    DropSequences {
        names: Vec<TableName>,
        missing: Vec<String>,
        defaults: Vec<(TableName, i32)>,
    },
    /// `CREATE SCHEMA`
    CreateSchema {
        database: String,
        schema: String,
        /// Whose it is, when it is another's.
        owner: Option<Uuid>,
        if_not_exists: bool,
    },
    /// `DROP SCHEMA a, b`; pairs of database and schema.
    DropSchemas {
        schemas: Vec<(String, String)>,
        if_exists: bool,
        cascade: bool,
    },
    /// `CREATE DATABASE`
    CreateDatabase { name: String, if_not_exists: bool },
    /// `DROP DATABASE`
    DropDatabase { name: String, if_exists: bool },
    /// `TRUNCATE a, b`: all rows of these tables go. `notices` are about tables that CASCADE added.
    Truncate {
        tables: Vec<TableName>,
        /// Whether identity columns begin anew.
        restart: bool,
        notices: Vec<String>,
    },
    /// `LOCK TABLE`: the tables that others may not change meanwhile.
    Lock { tables: Vec<Arc<Table>> },
    /// `ALTER TABLE` but for its name: the actions are resolved when they run, each after the one before.
    AlterTable {
        table: TableName,
        actions: Vec<AlterAction>,
    },
    /// `CREATE INDEX`, `ALTER INDEX … RENAME TO`, `DROP INDEX`, `REINDEX`, `COMMENT ON INDEX`: the changes are resolved when they
    /// run. `alone` names a statement that must be its own transaction.
    AlterIndexes {
        changes: Vec<(TableName, IndexChange)>,
        missing: Vec<String>,
        alone: Option<&'static str>,
    },
    /// `ROLLBACK TABLE`; `ALTER TABLE … CREATE | REPLACE | DROP BRANCH | TAG`
    ChangeHistory { table: TableName, change: TableChange },
    /// `CREATE TABLE … CLONE`: of the newest state when there is no version.
    CloneTable {
        name: TableName,
        if_not_exists: bool,
        source: TableName,
        version: Option<TableVersionSpec>,
        /// Whether that is what is newest, by a time or a name that may mean another state later.
        of_present: bool,
    },
    /// `VACUUM`
    Vacuum {
        tables: Vec<TableName>,
        /// Those that are others'.
        skipped: Vec<TableName>,
        /// Files are written again, too.
        full: bool,
        /// What ANALYZE does, too.
        analyze: bool,
    },
    /// `ANALYZE`
    Analyze {
        tables: Vec<TableName>,
        /// Whether it says what it does.
        verbose: bool,
    },
    /// `OPTIMIZE`
    Optimize {
        table: TableName,
        /// The locations of the files it is about; `None`: all.
        only: Option<BTreeSet<String>>,
    },
    /// `UNDROP TABLE`
    UndropTable { name: TableName },
    /// `ALTER TABLE | VIEW … RENAME TO | SET SCHEMA`
    RenameRelation {
        from: TableName,
        to: TableName,
        /// Defaults that name what is a sequence, as they are to be: table, field id, text.
        defaults: Vec<(TableName, i32, String)>,
    },
    /// `ALTER VIEW … RENAME COLUMN`
    RenameViewColumn { view: Arc<View>, from: String, to: String },
    /// `ALTER SCHEMA … RENAME TO`
    RenameSchema { database: String, from: String, to: String },
    /// `IF EXISTS` of something that does not: a notice.
    Skipped { notice: String },
    /// `COMMENT ON TABLE t | COLUMN t.c IS '…' | NULL`
    Comment {
        table: TableName,
        column: Option<String>,
        text: Option<String>,
    },
    /// `COPY t (a, b) FROM STDIN`: `columns` are the positions in the table of the incoming columns, in their order.
    CopyIn {
        table: Arc<Table>,
        columns: Vec<usize>,
        options: CopyOptions,
    },
    /// `COPY … TO STDOUT`
    CopyOut { query: QueryPlan, options: CopyOptions },
    /// `SET name = value`; `None` is `DEFAULT`. The value is the text a setting's own parser reads.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    /// `SHOW name`; `None` is `ALL`.
    Show { name: Option<String> },
    /// `RESET name`; `None` is `ALL`.
    Reset { name: Option<String> },
    /// `DISCARD`
    Discard(DiscardTarget),
    /// `BEGIN`, `START TRANSACTION`
    Begin(TransactionModes),
    /// `COMMIT`, `END`
    Commit { chain: bool },
    /// `ROLLBACK`, `ABORT`
    Rollback { chain: bool },
    /// `SAVEPOINT name`, `RELEASE name`, `ROLLBACK TO name`
    Savepoint { action: SavepointAction, name: String },
    /// `SET TRANSACTION …`, or for the whole session `SET SESSION CHARACTERISTICS AS TRANSACTION …`.
    SetTransaction { modes: TransactionModes, session: bool },
    /// `PREPARE name (types) AS statement`
    Prepare {
        name: String,
        types: Vec<SqlType>,
        statement: Box<ParsedStatement>,
    },
    /// `EXECUTE name (arguments)`
    Execute {
        name: String,
        arguments: Vec<ScalarValue>,
        /// Where each stands in the text.
        places: Vec<Option<usize>>,
    },
    /// `DEALLOCATE name`; `None` is `ALL`.
    Deallocate { name: Option<String> },
    /// `DECLARE name CURSOR FOR …`: `source` gives rows.
    Declare {
        name: String,
        options: CursorOptions,
        source: Box<Plan>,
    },
    /// `FETCH`, or with `moves` `MOVE`. What its rows are, the cursor tells when it runs.
    Fetch {
        name: String,
        movement: Movement,
        moves: bool,
    },
    /// `CLOSE name`; `None` is `ALL`.
    CloseCursor { name: Option<String> },
    /// LISTEN, NOTIFY: accepted with a warning that nothing comes of it.
    Undone { warning: &'static str },
    /// Statements of connection pools that have nothing to do here (`UNLISTEN *`); answered with this tag.
    Nothing { tag: &'static str },
}

/// A query whose names and types are settled.
///
/// It is bound to the snapshot, user, search path and time zone of the context it was planned with: plan again when
/// one of them changes. The clock, `current_setting()` and the other facts of a session are put in by `physical()`.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// The analysed plan. Field names may carry a marker that makes duplicates distinct: use `columns` for names.
    pub logical: LogicalPlan,
    /// Types of `$1`, `$2`, …: declared, else inferred, else text.
    pub parameters: Vec<SqlType>,
    /// What the query yields.
    pub columns: Vec<OutputColumn>,
    /// What its runs keep for each other.
    pub generic: Generic,
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputColumn {
    /// As PostgreSQL names it (`?column?`, `count`, `case`); not unique.
    pub name: String,
    pub ty: SqlType,
    /// The column of a relation it shows unchanged.
    pub origin: Option<ColumnOrigin>,
}

/// `INSERT`: rows for a table.
#[derive(Clone, Debug)]
pub struct InsertPlan {
    pub table: Arc<Table>,
    /// `INSERT OVERWRITE`: the partitions that get rows have no others afterwards; a table without partitions is one.
    pub overwrite: bool,
    /// One column per column of the table, in its order, cast to its type; columns not named are NULL.
    pub source: QueryPlan,
    /// `RETURNING`: takes the same parameters as `source`.
    pub returning: Option<Returning>,
}

/// `UPDATE`, `DELETE`, `MERGE`, `INSERT … ON CONFLICT`: rows of a table that go, and rows that come.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    pub kind: ChangeKind,
    /// Of [`ChangeKind::Upsert`].
    pub keys: Option<ConflictKeys>,
    /// All rows go, and `source` need not run.
    pub everything: bool,
    pub table: Arc<Table>,
    /// The files of the table, in the order of the numbers in the rows' addresses.
    pub files: Arc<Vec<Arc<LiveFile>>>,
    /// Addresses of rows, for MERGE and INSERT what to do with each, for INSERT the row's number, and except for DELETE the new row in the order and types of the
    /// table's columns. With `returning` DELETE has the row too, and columns of other relations follow.
    pub source: QueryPlan,
    /// `RETURNING`: takes the same parameters as `source`.
    pub returning: Option<Returning>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Update,
    Delete,
    Merge,
    /// `INSERT … ON CONFLICT`
    Upsert,
}

/// The keys of `INSERT … ON CONFLICT`.
#[derive(Clone, Debug)]
pub struct ConflictKeys {
    /// The columns of each, by position in the table.
    pub columns: Vec<Vec<usize>>,
    /// Whether a row that is there is updated; else nothing is done.
    pub updates: bool,
}

impl ChangeKind {
    /// The columns of a change's source before the new row.
    pub(crate) fn leading_columns(self) -> usize {
        match self {
            ChangeKind::Update | ChangeKind::Delete => 2,
            ChangeKind::Merge => 3,
            ChangeKind::Upsert => 4,
        }
    }

    /// As EXPLAIN shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ChangeKind::Update => "Update",
            ChangeKind::Delete => "Delete",
            ChangeKind::Merge => "Merge",
            ChangeKind::Upsert => "Insert",
        }
    }
}

/// What `EXPLAIN` explains.
#[derive(Clone, Debug)]
pub enum ExplainTarget {
    Query(Box<QueryPlan>),
    Insert(Box<InsertPlan>),
    Change(Box<ChangePlan>),
    CreateTableAs {
        definition: Box<TableDefinition>,
        source: Box<QueryPlan>,
    },
}

/// What `DISCARD` drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardTarget {
    All,
    Plans,
    Temporary,
    Sequences,
}

/// What DECLARE says of a cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CursorOptions {
    /// Values are sent in their binary form.
    pub binary: bool,
    /// Whether FETCH may go backward.
    pub scroll: bool,
    /// It outlives its transaction.
    pub hold: bool,
}

/// Where FETCH and MOVE go; `None` is ALL. A negative count turns the direction round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    Forward(Option<i64>),
    Backward(Option<i64>),
    /// To the row of this number; negative ones count from the end.
    Absolute(i64),
    Relative(i64),
}

/// What to do with a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavepointAction {
    /// `SAVEPOINT`
    Begin,
    /// `RELEASE`: forget it and those made after it; their changes stay.
    Release,
    /// `ROLLBACK TO`: undo what came after it; it stays.
    RollBack,
}

/// Isolation as asked for: a snapshot over all tables for each statement, or for the transaction. READ UNCOMMITTED is READ COMMITTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// Modes of `BEGIN` and `SET TRANSACTION`; `None` where the statement says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    pub isolation: Option<IsolationLevel>,
    pub read_only: Option<bool>,
}

impl IsolationLevel {
    /// The name `SHOW transaction_isolation` prints.
    pub fn name(self) -> &'static str {
        match self {
            IsolationLevel::ReadUncommitted => "read uncommitted",
            IsolationLevel::ReadCommitted => "read committed",
            IsolationLevel::RepeatableRead => "repeatable read",
            IsolationLevel::Serializable => "serializable",
        }
    }
}

/// Settings whose names have capitals; all others are in lower case.
fn spelled(setting: &str) -> &str {
    let known = ["DateStyle", "IntervalStyle", "TimeZone"];
    known
        .into_iter()
        .find(|name| name.eq_ignore_ascii_case(setting))
        .unwrap_or(setting)
}

impl Plan {
    /// The columns of the rows the statement sends to a client; `None` when it sends none (what Describe answers).
    pub fn columns(&self) -> Option<Vec<OutputColumn>> {
        let text = |name: &str| OutputColumn {
            name: name.to_string(),
            ty: SqlType::Text,
            origin: None,
        };
        match self {
            Plan::Query(query) => Some(query.columns.clone()),
            Plan::Insert(InsertPlan { returning, .. }) | Plan::Change(ChangePlan { returning, .. }) => {
                returning.as_ref().map(|returning| returning.query.columns.clone())
            }
            Plan::With(with) => with.main.columns(),
            Plan::Explain { options, .. } => Some(crate::explain::explain_columns(options.format)),
            Plan::Show { name: Some(name) } => Some(vec![text(spelled(name))]),
            Plan::Show { name: None } => Some(vec![text("name"), text("setting"), text("description")]),
            _ => None,
        }
    }

    /// Types of the parameters; empty for statements that take none.
    pub fn parameters(&self) -> &[SqlType] {
        match self {
            Plan::Query(query) | Plan::CreateTableAs { source: query, .. } | Plan::CopyOut { query, .. } => {
                &query.parameters
            }
            Plan::Insert(insert) => &insert.source.parameters,
            Plan::Change(change) => &change.source.parameters,
            Plan::With(with) => &with.parameters,
            Plan::Declare { source, .. } => source.parameters(),
            Plan::Explain { target, .. } => match target {
                ExplainTarget::Query(query) => &query.parameters,
                ExplainTarget::Insert(insert) => &insert.source.parameters,
                ExplainTarget::Change(change) => &change.source.parameters,
                ExplainTarget::CreateTableAs { source, .. } => &source.parameters,
            },
            _ => &[],
        }
    }
}
