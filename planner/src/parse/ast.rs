//! The syntax trees of statements. Names are as written; folding to lower case happens when they are resolved.

use datafusion::sql::sqlparser::ast::{
    Assignment, ColumnDef, DataType, Delete, Expr, Ident, IndexColumn, Insert, ObjectName, Query, SelectItem,
    TableConstraint, TableFactor, TableVersion, Update, With,
};

use super::ParsedStatement;
use super::access::{AccessAst, RoleName};
use crate::explain::ExplainFormat;
use crate::statement::lock::LockMode;
use crate::statement::query::Overriding;
use crate::statement::{CursorOptions, DiscardTarget, Movement, SavepointAction, TransactionModes};

#[derive(Clone, Debug)]
pub(crate) enum Ast {
    Query(Box<Query>),
    Insert(Box<Insert>),
    /// `INSERT … OVERRIDING … VALUE …`
    Overriding(Box<Insert>, Overriding),
    Update(Box<Update>),
    Delete(Box<Delete>),
    Merge(Box<MergeAst>),
    /// `WITH …` before one of the four
    With(Box<With>, Box<Ast>),
    CreateTable(Box<CreateTableAst>),
    CreateView(Box<CreateViewAst>),
    CreateSequence(Box<CreateSequenceAst>),
    AlterSequence(Box<AlterSequenceAst>),
    CreateIndex(Box<CreateIndexAst>),
    DropIndexes {
        names: Vec<ObjectName>,
        concurrently: bool,
        if_exists: bool,
        cascade: bool,
    },
    Reindex {
        what: ReindexAst,
        concurrently: bool,
    },
    CreateSchema {
        /// `None`: as its owner.
        name: Option<ObjectName>,
        /// `AUTHORIZATION`
        owner: Option<RoleName>,
        if_not_exists: bool,
    },
    CreateDatabase {
        name: Ident,
        template: Option<String>,
        encoding: Option<String>,
    },
    /// `REFRESH MATERIALIZED VIEW`
    Refresh {
        name: ObjectName,
        concurrently: bool,
        with_data: bool,
    },
    Drop {
        kind: DropKind,
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    DropAbsent(Box<DropAbsentAst>),
    Truncate {
        names: Vec<ObjectName>,
        /// `RESTART IDENTITY`
        restart: bool,
        cascade: bool,
    },
    Lock {
        names: Vec<ObjectName>,
        mode: LockMode,
    },
    /// Roles, owners and grants.
    Access(Box<AccessAst>),
    AlterTable(Box<AlterTableAst>),
    History(Box<HistoryAst>),
    Upkeep(UpkeepAst),
    /// `ALTER TABLE | VIEW | SEQUENCE | INDEX … RENAME TO | SET SCHEMA`
    RenameRelation {
        what: Altered,
        name: ObjectName,
        if_exists: bool,
        to: NewName,
    },
    /// `ALTER VIEW … RENAME COLUMN`
    RenameViewColumn {
        view: ObjectName,
        if_exists: bool,
        from: Ident,
        to: Ident,
    },
    RenameSchema {
        name: ObjectName,
        to: Ident,
    },
    CommentConstraint {
        name: Ident,
        table: ObjectName,
        text: Option<String>,
    },
    DropDatabase {
        name: Ident,
        if_exists: bool,
    },
    Comment {
        object: ObjectName,
        on: Commented,
        text: Option<String>,
    },
    Copy {
        from: bool,
        source: CopySource,
        options: Vec<CopyOptionAst>,
        stdio: bool,
    },
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    Show {
        name: Option<String>,
    },
    Reset {
        name: Option<String>,
    },
    Discard(DiscardTarget),
    Begin {
        modes: TransactionModes,
        tag: &'static str,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`
    Savepoint {
        action: SavepointAction,
        name: Ident,
    },
    SetTransaction {
        modes: TransactionModes,
        session: bool,
    },
    Prepare {
        name: Ident,
        types: Vec<DataType>,
        statement: Box<ParsedStatement>,
    },
    Execute {
        name: Ident,
        arguments: Vec<Expr>,
    },
    Deallocate {
        name: Option<Ident>,
    },
    Declare(Box<DeclareAst>),
    /// `FETCH`, `MOVE`
    Fetch {
        name: Ident,
        movement: Movement,
        moves: bool,
    },
    /// `CLOSE`; `None` is `ALL`.
    CloseCursor {
        name: Option<Ident>,
    },
    Explain(Box<ExplainAst>),
    /// Accepted, but not done.
    Undone {
        tag: &'static str,
        warning: &'static str,
    },
    /// Nothing to do here; answered with the tag.
    Nothing {
        tag: &'static str,
    },
    /// Known, but not supported: `what` names it for the message.
    Unsupported {
        what: String,
        tag: &'static str,
        hint: Option<&'static str>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropKind {
    Table,
    View,
    MaterializedView,
    Sequence,
    Schema,
}

/// What ALTER calls the relation it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Altered {
    Table,
    View,
    MaterializedView,
    Sequence,
    Index,
}

/// What COMMENT is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commented {
    /// A table or view.
    Relation,
    Column,
    Index,
}

#[derive(Clone, Debug)]
pub(crate) struct CreateIndexAst {
    pub name: Option<Ident>,
    pub table: ObjectName,
    pub unique: bool,
    pub concurrently: bool,
    pub if_not_exists: bool,
    pub method: Option<String>,
    pub keys: Vec<IndexColumn>,
    pub included: Vec<Ident>,
    /// `NULLS NOT DISTINCT`
    pub nulls_are_equal: bool,
    pub parameters: Vec<(String, String)>,
    pub predicate: Option<Expr>,
}

/// Whose indexes REINDEX is about.
#[derive(Clone, Debug)]
pub(crate) enum ReindexAst {
    Index(ObjectName),
    Table(ObjectName),
    Schema(Ident),
    Database(Ident),
}

#[derive(Clone, Debug)]
pub(crate) struct CreateSequenceAst {
    pub name: ObjectName,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub options: Vec<SequenceOption>,
}

#[derive(Clone, Debug)]
pub(crate) struct AlterSequenceAst {
    pub name: ObjectName,
    pub if_exists: bool,
    pub options: Vec<SequenceOption>,
}

/// `None` of a limit is `NO MINVALUE`, of RESTART without a number, of OWNED BY `NONE`.
#[derive(Clone, Debug)]
pub(crate) enum SequenceOption {
    As(DataType),
    Increment(i64),
    MinValue(Option<i64>),
    MaxValue(Option<i64>),
    Start(i64),
    Restart(Option<i64>),
    Cache(i64),
    Cycle(bool),
    OwnedBy(Option<ObjectName>),
}

/// DROP of an object of a kind there is none of.
#[derive(Clone, Debug)]
pub(crate) struct DropAbsentAst {
    pub tag: &'static str,
    /// What messages call it.
    pub noun: &'static str,
    pub if_exists: bool,
    pub name: ObjectName,
    /// The types of a function's arguments, where they are given.
    pub arguments: Option<Vec<DataType>>,
    /// What a trigger or a rule is of.
    pub table: Option<ObjectName>,
}

#[derive(Clone, Debug)]
pub(crate) struct DeclareAst {
    pub name: Ident,
    pub options: CursorOptions,
    pub query: Box<Query>,
}

#[derive(Clone, Debug)]
pub(crate) struct MergeAst {
    pub target: TableFactor,
    pub source: TableFactor,
    pub on: Expr,
    pub clauses: Vec<MergeClause>,
    pub returning: Option<Vec<SelectItem>>,
}

#[derive(Clone, Debug)]
pub(crate) struct MergeClause {
    pub rows: MergeRows,
    pub condition: Option<Expr>,
    pub action: MergeAction,
}

/// Which rows of the join a clause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeRows {
    Matched,
    NotMatchedByTarget,
    NotMatchedBySource,
}

#[derive(Clone, Debug)]
pub(crate) enum MergeAction {
    Nothing,
    Delete,
    Update(Vec<Assignment>),
    /// `None`: `DEFAULT VALUES`.
    Insert {
        columns: Vec<ObjectName>,
        overriding: Overriding,
        values: Option<Vec<Expr>>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct CreateTableAst {
    pub name: ObjectName,
    pub temporary: bool,
    pub unlogged: bool,
    pub on_commit: Option<OnCommit>,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDef>,
    /// Names alone, as CREATE TABLE AS may give.
    pub column_names: Vec<Ident>,
    pub constraints: Vec<TableConstraint>,
    pub like: Option<LikeAst>,
    pub partition_by: Vec<PartitionTerm>,
    pub sorted_by: Vec<SortTerm>,
    pub comment: Option<String>,
    pub properties: Vec<(String, String)>,
    pub query: Option<Box<Query>>,
    pub with_data: bool,
    /// `CREATE MATERIALIZED VIEW`: the query as written.
    pub materialized: Option<String>,
}

/// What becomes of a temporary table when a transaction commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCommit {
    PreserveRows,
    DeleteRows,
    Drop,
}

/// `LIKE table INCLUDING … EXCLUDING …`
#[derive(Clone, Debug)]
pub(crate) struct LikeAst {
    pub name: ObjectName,
    /// In their order: whether to include, and what.
    pub options: Vec<(bool, &'static str)>,
}

/// `column`, `day(column)`, `bucket(16, column)`.
#[derive(Clone, Debug)]
pub(crate) struct PartitionTerm {
    /// Lower-case name of the transform; `None` is identity.
    pub transform: Option<String>,
    pub number: Option<u32>,
    pub column: Ident,
}

#[derive(Clone, Debug)]
pub(crate) struct SortTerm {
    pub column: Ident,
    pub descending: bool,
    pub nulls_first: Option<bool>,
}

#[derive(Clone, Debug)]
pub(crate) struct AlterTableAst {
    pub what: Altered,
    pub name: ObjectName,
    pub if_exists: bool,
    pub actions: Vec<AlterAst>,
}

/// One action of ALTER TABLE. A path is a column, or a field of a struct inside it.
#[derive(Clone, Debug)]
pub(crate) enum AlterAst {
    AddColumn {
        /// The struct that gets a field; empty: the table itself.
        parent: Vec<Ident>,
        column: Box<ColumnDef>,
        if_not_exists: bool,
    },
    DropColumn {
        path: Vec<Ident>,
        if_exists: bool,
        cascade: bool,
    },
    RenameColumn {
        path: Vec<Ident>,
        name: Ident,
    },
    SetType {
        path: Vec<Ident>,
        ty: DataType,
        collates: bool,
        using: Option<Expr>,
    },
    SetDefault {
        path: Vec<Ident>,
        default: Option<Expr>,
    },
    SetNotNull {
        path: Vec<Ident>,
        not_null: bool,
    },
    AddConstraint(Box<TableConstraint>),
    CommentConstraint {
        name: Ident,
        text: Option<String>,
    },
    DropConstraint {
        name: Ident,
        if_exists: bool,
    },
    SetLogged(bool),
    SetProperties(Vec<(String, String)>),
    ResetProperties(Vec<String>),
    SetPartitioning(Vec<PartitionTerm>),
    SetSorting(Vec<SortTerm>),
}

/// A statement that changes no rows, only how they are stored.
#[derive(Clone, Debug)]
pub(crate) enum UpkeepAst {
    Vacuum {
        /// None: all.
        tables: Vec<AnalyzedTable>,
        full: bool,
        analyze: bool,
    },
    Analyze {
        tables: Vec<AnalyzedTable>,
        verbose: bool,
    },
    Optimize {
        table: ObjectName,
        condition: Option<Box<Expr>>,
    },
}

/// A table of VACUUM or ANALYZE.
#[derive(Clone, Debug)]
pub(crate) struct AnalyzedTable {
    pub name: ObjectName,
    pub columns: Vec<Ident>,
}

/// A statement about older states of tables.
#[derive(Clone, Debug)]
pub(crate) enum HistoryAst {
    /// `ROLLBACK TABLE`
    RollBack { table: ObjectName, to: TableVersion },
    /// `ALTER TABLE … CREATE | REPLACE | DROP BRANCH | TAG`
    Ref {
        table: ObjectName,
        if_exists: bool,
        change: RefAst,
    },
    /// `CREATE TABLE … CLONE`
    Clone {
        name: ObjectName,
        if_not_exists: bool,
        source: ObjectName,
        at: Option<TableVersion>,
    },
    /// `UNDROP TABLE`
    Undrop { name: ObjectName },
}

#[derive(Clone, Debug)]
pub(crate) enum RefAst {
    Set {
        /// Else a tag.
        branch: bool,
        name: String,
        /// Whether there may be none of the name yet.
        creates: bool,
        /// Whether there may be one of the name.
        replaces: bool,
        if_not_exists: bool,
        at: Option<TableVersion>,
        max_ref_age_ms: Option<i64>,
        max_snapshot_age_ms: Option<i64>,
        min_snapshots_to_keep: Option<i32>,
    },
    Drop {
        branch: bool,
        name: String,
        if_exists: bool,
    },
}

/// Where a relation goes.
#[derive(Clone, Debug)]
pub(crate) enum NewName {
    Name(Ident),
    Schema(Ident),
}

#[derive(Clone, Debug)]
pub(crate) struct CreateViewAst {
    pub name: ObjectName,
    pub temporary: bool,
    pub replace: bool,
    pub columns: Vec<ViewColumn>,
    pub comment: Option<String>,
    pub query: Box<Query>,
    /// The query as written.
    pub sql: String,
}

#[derive(Clone, Debug)]
pub(crate) struct ViewColumn {
    pub name: Ident,
}

/// An option of COPY: its name and what follows.
#[derive(Clone, Debug)]
pub(crate) struct CopyOptionAst {
    pub name: String,
    pub values: Vec<String>,
    /// Characters from the start of the statement, counted from 1.
    pub position: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum CopySource {
    Table { name: ObjectName, columns: Vec<Ident> },
    Query(Box<Query>),
}

#[derive(Clone, Debug)]
pub(crate) struct ExplainAst {
    pub statement: Ast,
    pub analyze: bool,
    pub verbose: bool,
    pub costs: bool,
    pub timing: bool,
    pub summary: Option<bool>,
    pub format: ExplainFormat,
}
