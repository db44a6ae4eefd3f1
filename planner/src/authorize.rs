//! Whether the role a statement runs as may do what it asks: the questions, and PostgreSQL's words for a no.
//!
//! * Names are found only in schemas the role may use, and made only where it may create (`resolve.rs`).
//! * A table's rows go through [`StaffaTable`](crate::table_provider::StaffaTable), which knows the columns the role may read
//!   ([`Readable`]) and refuses a scan of others. What a view names is read as the view's owner.
//! * UPDATE, DELETE and MERGE read whole rows whatever is asked: what of them the *statement* reads is found in its text
//!   ([`Mentioned`]).
//! * Functions are looked for in the text of every query and expression before it is planned ([`check_calls`]).
//! * Commands are checked by [`check`] when they are planned. What is not named there is refused to all but superusers.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::logical_expr::Expr as Logical;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr, TableFactor,
    TrimWhereField, Visitor,
};
use staffa_catalog::{
    AccessKey, ConstraintKind, ObjectKind, Privileges, RelationKind, Rights, Table, TableName, View,
    is_temporary_schema,
};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::{Function, function, is_function_of_postgres};
use crate::resolve::fold;
use crate::statement::{ExplainTarget, Plan};
use crate::walk::Visit;

/// `permission denied for table t`
pub(crate) fn denied(what: &str, name: &str) -> Error {
    let message = format!("permission denied for {what} {name}");
    Error::new(ErrorKind::InsufficientPrivilege, message)
}

fn not_owner(what: &str, name: &str) -> Error {
    let message = format!("must be owner of {what} {name}");
    Error::new(ErrorKind::InsufficientPrivilege, message)
}

fn noun(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "table",
        RelationKind::View => "view",
        RelationKind::Sequence => "sequence",
        RelationKind::Index => "index",
    }
}

impl PlanContext {
    fn rights(&self, key: &AccessKey) -> Rights {
        self.snapshot.access().rights(key)
    }

    fn rights_of_table(&self, table: &Table) -> Rights {
        self.rights(&AccessKey::Relation(table.uuid()))
    }

    /// Whether the role has a privilege on a schema.
    pub(crate) fn may_in_schema(&self, database: &str, schema: &str, privilege: Privileges) -> bool {
        if self.authority.is_superuser() || self.is_temporary(schema) {
            return true;
        }
        // Those of others hold what is theirs alone.
        if is_temporary_schema(schema) {
            return false;
        }
        if matches!(schema, "pg_catalog" | "information_schema") {
            return privilege == Privileges::USAGE;
        }
        if database != self.database && !self.may_with_database(database, Privileges::CONNECT) {
            return false;
        }
        let key = AccessKey::Schema(database.to_owned(), schema.to_owned());
        self.authority.may(&self.rights(&key), ObjectKind::Schema, privilege)
    }

    /// Whether the role has a privilege on a database.
    pub(crate) fn may_with_database(&self, database: &str, privilege: Privileges) -> bool {
        let rights = || self.rights(&AccessKey::Database(database.to_owned()));
        self.authority.is_superuser() || self.authority.may(&rights(), ObjectKind::Database, privilege)
    }

    /// The role must have the privilege on the table as a whole.
    pub(crate) fn check_table(&self, table: &Table, privilege: Privileges) -> Result<()> {
        let may = || {
            self.authority
                .may(&self.rights_of_table(table), ObjectKind::Table, privilege)
        };
        match self.authority.is_superuser() || may() {
            true => Ok(()),
            false => Err(denied("table", &table.name().name)),
        }
    }

    /// The role must have the privilege on the table, or on each of the columns; on one of them, where none is named.
    pub(crate) fn check_columns(
        &self,
        table: &Table,
        columns: impl IntoIterator<Item = usize>,
        privilege: Privileges,
    ) -> Result<()> {
        if self.authority.is_superuser() {
            return Ok(());
        }
        let rights = self.rights_of_table(table);
        let known = &table.schema().columns;
        let may = |index: usize| {
            let column = known.get(index);
            column.is_some_and(|column| self.authority.may_with_column(&rights, column.field_id, privilege))
        };
        let mut columns = columns.into_iter().peekable();
        let allowed = match columns.peek() {
            Some(_) => columns.all(may),
            None => (0..known.len()).any(may),
        };
        match allowed {
            true => Ok(()),
            false => Err(denied("table", &table.name().name)),
        }
    }

    /// What a statement says of its target's columns must be the role's to read.
    pub(crate) fn check_mentioned(&self, table: &Table, alias: &Ident, mentioned: &Mentioned) -> Result<()> {
        let columns = mentioned.columns(table, alias);
        match columns.is_empty() {
            true => Ok(()),
            false => self.check_columns(table, columns, Privileges::SELECT),
        }
    }

    /// The role must have a privilege on a view or sequence, by its id.
    pub(crate) fn check_relation(
        &self,
        id: staffa_catalog::Uuid,
        kind: RelationKind,
        name: &str,
        privilege: Privileges,
    ) -> Result<()> {
        let may = || {
            self.authority
                .may(&self.rights(&AccessKey::Relation(id)), kind.object_kind(), privilege)
        };
        match self.authority.is_superuser() || may() {
            true => Ok(()),
            false => Err(denied(noun(kind), name)),
        }
    }

    /// The role must own the relation; with `or_schema`, its schema will do.
    pub(crate) async fn check_owner(&self, name: &TableName, or_schema: bool) -> Result<()> {
        let schema = AccessKey::Schema(name.database.clone(), name.schema.clone());
        if or_schema && self.authority.owns(&self.rights(&schema)) {
            return Ok(());
        }
        let (Some(kind), Some(id)) = (self.snapshot.relation(name), self.snapshot.relation_id(name).await?) else {
            let message = format!("relation \"{}\" does not exist", name.name);
            return Err(Error::new(ErrorKind::UndefinedTable, message));
        };
        match self.authority.owns(&self.rights(&AccessKey::Relation(id))) {
            true => Ok(()),
            false => Err(not_owner(noun(kind), &name.name)),
        }
    }

    fn check_owner_of_schema(&self, database: &str, schema: &str) -> Result<()> {
        let key = AccessKey::Schema(database.to_owned(), schema.to_owned());
        match self.authority.owns(&self.rights(&key)) {
            true => Ok(()),
            false => Err(not_owner("schema", schema)),
        }
    }

    fn check_superuser(&self, message: &str) -> Result<()> {
        match self.authority.is_superuser() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::InsufficientPrivilege, message)),
        }
    }
}

/// The columns of a view with the numbers that their grants are kept by: new ones only come behind them.
pub(crate) fn view_columns(view: &View) -> impl Iterator<Item = (i32, &str)> {
    (1..).zip(view.columns.iter().map(|(name, _)| name.as_str()))
}

/// The columns of a table that a role may read, when it may not read all.
#[derive(Clone, Debug)]
pub(crate) struct Readable {
    noun: &'static str,
    table: String,
    columns: HashSet<usize>,
}

impl Readable {
    /// `None`: all of them.
    pub(crate) fn of(context: &PlanContext, table: &Table) -> Option<Readable> {
        if context.authority.is_superuser() {
            return None;
        }
        let rights = context.rights_of_table(table);
        if context.authority.may(&rights, ObjectKind::Table, Privileges::SELECT) {
            return None;
        }
        let may = |id| context.authority.may_with_column(&rights, id, Privileges::SELECT);
        let columns = table.schema().columns.iter().enumerate();
        Some(Readable {
            noun: "table",
            table: table.name().name.clone(),
            columns: columns
                .filter(|(_, column)| may(column.field_id))
                .map(|(index, _)| index)
                .collect(),
        })
    }

    /// Whether a column is among them.
    pub(crate) fn has(&self, place: usize) -> bool {
        self.columns.contains(&place)
    }

    /// The same of a view, whose columns are read: none of them is an error.
    pub(crate) fn of_view(context: &PlanContext, view: &View) -> Result<Option<Readable>> {
        let rights = context.rights(&AccessKey::Relation(view.uuid));
        if context.authority.may(&rights, ObjectKind::Table, Privileges::SELECT) {
            return Ok(None);
        }
        let may = |id| context.authority.may_with_column(&rights, id, Privileges::SELECT);
        let columns: HashSet<usize> = view_columns(view)
            .enumerate()
            .filter(|(_, (id, _))| may(*id))
            .map(|(index, _)| index)
            .collect();
        let table = view.name.name.clone();
        match columns.is_empty() {
            true => Err(denied("view", &table)),
            false => Ok(Some(Readable {
                noun: "view",
                table,
                columns,
            })),
        }
    }

    /// Whether a scan of these columns, `None` for all of `width`, with these filters, is one it may do.
    pub(crate) fn check(
        &self,
        projection: Option<&Vec<usize>>,
        filters: &[Logical],
        width: usize,
        index_of: impl Fn(&str) -> Option<usize>,
    ) -> Result<()> {
        let read = match projection {
            Some(projection) => projection.iter().all(|index| self.columns.contains(index)),
            None => (0..width).all(|index| self.columns.contains(&index)),
        };
        let mut filtered = filters.iter().flat_map(Logical::column_refs);
        let tested = filtered.all(|column| index_of(&column.name).is_some_and(|index| self.columns.contains(&index)));
        // Also how many rows there are is told to none who may read no column.
        match read && tested && !self.columns.is_empty() {
            true => Ok(()),
            false => Err(denied(self.noun, &self.table)),
        }
    }
}

/// The names that parts of a statement say: at least those of the columns they read.
#[derive(Debug, Default)]
pub(crate) struct Mentioned {
    /// Alone, as a column or a whole row is.
    alone: HashSet<String>,
    /// In a name of more parts.
    qualified: HashSet<String>,
    /// Whether a star may stand for the target's columns.
    all: bool,
}

impl Mentioned {
    pub(crate) fn add(mut self, part: &impl Visit) -> Self {
        let _ = part.visit(&mut self);
        self
    }

    pub(crate) fn add_list(mut self, items: Option<&[SelectItem]>) -> Self {
        for item in items.unwrap_or_default() {
            self.note_item(item, true);
            self = self.add(item);
        }
        self
    }

    fn note_item(&mut self, item: &SelectItem, is_own: bool) {
        self.all |= match item {
            SelectItem::Wildcard(_) => is_own,
            SelectItem::QualifiedWildcard(..) => true,
            _ => false,
        };
    }

    fn note_select(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => select.projection.iter().for_each(|item| self.note_item(item, false)),
            SetExpr::SetOperation { left, right, .. } => {
                self.note_select(left);
                self.note_select(right);
            }
            _ => {}
        }
    }

    /// Whether a column of the target is read.
    pub(crate) fn reads(&self, table: &Table, alias: &Ident) -> bool {
        !self.columns(table, alias).is_empty()
    }

    /// The positions of the target's columns among them.
    fn columns(&self, table: &Table, alias: &Ident) -> Vec<usize> {
        let all = self.all || self.alone.contains(&fold(alias));
        let is_named = |name: &String| all || self.alone.contains(name) || self.qualified.contains(name);
        let columns = table.schema().columns.iter().enumerate();
        columns
            .filter(|(_, column)| is_named(&column.name))
            .map(|(index, _)| index)
            .collect()
    }
}

impl Visitor for Mentioned {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.note_select(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => {
                self.alone.insert(fold(ident));
            }
            Expr::CompoundIdentifier(parts) => self.qualified.extend(parts.iter().map(fold)),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => self.all = true,
            Expr::Function(function) => {
                if let FunctionArguments::List(list) = &function.args {
                    let star = |argument: &FunctionArg| {
                        let (FunctionArg::Unnamed(given)
                        | FunctionArg::Named { arg: given, .. }
                        | FunctionArg::ExprNamed { arg: given, .. }) = argument;
                        matches!(given, FunctionArgExpr::QualifiedWildcard(_))
                    };
                    self.all |= list.args.iter().any(star);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The functions a statement calls must be the role's to call. Inside a view, a policy or a default, too, that is the role that asks,
/// not the owner. Where several functions have a name, one that takes as many arguments is enough to refuse the call.
pub(crate) fn check_calls(context: &PlanContext, part: &impl Visit) -> Result<()> {
    let access = context.snapshot.access();
    let mut limited = access.functions(&context.database).peekable();
    if limited.peek().is_none() {
        return Ok(());
    }
    let role = access.authority(&context.user, &context.database);
    let is_refused = |rights: &Rights| !role.may(rights, ObjectKind::Function, Privileges::EXECUTE);
    let refused = limited.filter(|(_, rights)| is_refused(rights));
    let refused: Vec<&'static Function> = refused.filter_map(|(number, _)| function(number)).collect();
    if refused.is_empty() {
        return Ok(());
    }
    match part.visit(&mut Calls { context, refused }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => Err(denied("function", &name)),
    }
}

/// Finds a call of a function that is refused.
struct Calls<'a> {
    context: &'a PlanContext,
    refused: Vec<&'static Function>,
}

impl Calls<'_> {
    fn call(&self, name: &str, count: usize) -> ControlFlow<String> {
        let is_meant = |function: &&'static Function| {
            let same = function.name == name || self.is_alias(name, function.name);
            same && function.takes(count)
        };
        match self.refused.iter().copied().find(is_meant) {
            Some(function) => ControlFlow::Break(function.name.to_owned()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Whether a name that PostgreSQL does not have stands for the same code.
    fn is_alias(&self, name: &str, of: &str) -> bool {
        let state = &self.context.session;
        let same = |called: Option<&str>, known: Option<&str>| called.is_some() && called == known;
        let (scalar, aggregate, window) = (
            state.scalar_functions(),
            state.aggregate_functions(),
            state.window_functions(),
        );
        !is_function_of_postgres(name)
            && (same(scalar.get(name).map(|it| it.name()), scalar.get(of).map(|it| it.name()))
                || same(
                    aggregate.get(name).map(|it| it.name()),
                    aggregate.get(of).map(|it| it.name()),
                )
                || same(window.get(name).map(|it| it.name()), window.get(of).map(|it| it.name())))
    }

    fn named(&self, name: &ObjectName, count: usize) -> ControlFlow<String> {
        match name.0.last().and_then(|part| part.as_ident()) {
            Some(last) => self.call(&fold(last), count),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Calls<'_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Function(function) => match &function.args {
                FunctionArguments::List(list) => {
                    let ordered = function.within_group.len();
                    self.named(&function.name, list.args.len() + ordered)
                }
                FunctionArguments::Subquery(_) => self.named(&function.name, 1),
                // Words such as CURRENT_USER call nothing.
                FunctionArguments::None => ControlFlow::Continue(()),
            },
            Expr::Extract { .. } => self.call("extract", 2),
            Expr::Ceil { .. } => self.call("ceil", 1),
            Expr::Floor { .. } => self.call("floor", 1),
            Expr::Position { .. } => self.call("position", 2),
            Expr::AtTimeZone { .. } => self.call("timezone", 2),
            Expr::Substring {
                substring_from,
                substring_for,
                ..
            } => {
                let given = usize::from(substring_from.is_some()) + usize::from(substring_for.is_some());
                self.call("substring", 1 + given)
            }
            Expr::Overlay { overlay_for, .. } => self.call("overlay", 3 + usize::from(overlay_for.is_some())),
            Expr::Trim {
                trim_where,
                trim_what,
                trim_characters,
                ..
            } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    Some(TrimWhereField::Both) | None => "btrim",
                };
                let characters = trim_what.is_some() || trim_characters.is_some();
                self.call(name, 1 + usize::from(characters))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        match factor {
            TableFactor::Table {
                name, args: Some(args), ..
            } => self.named(name, args.args.len()),
            TableFactor::Function { name, args, .. } => self.named(name, args.len()),
            TableFactor::UNNEST { array_exprs, .. } => self.call("unnest", array_exprs.len()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether the role may do what a plan does, beyond what was checked when its names were resolved: reading, making relations,
/// INSERT, UPDATE, DELETE, MERGE and COPY.
pub(crate) async fn check(context: &PlanContext, plan: &Plan) -> Result<()> {
    if context.authority.is_superuser() {
        return Ok(());
    }
    let database = |privilege| match context.may_with_database(&context.database, privilege) {
        true => Ok(()),
        false => Err(denied("database", &context.database)),
    };
    match plan {
        // Checked where they read and write.
        Plan::Query(_)
        | Plan::Lock { .. }
        | Plan::Insert(_)
        | Plan::Change(_)
        | Plan::With(_)
        | Plan::CopyIn { .. }
        | Plan::CopyOut { .. } => Ok(()),
        // Checked before anything is told of the table's states.
        Plan::ChangeHistory { .. } | Plan::CloneTable { .. } | Plan::Optimize { .. } => Ok(()),
        Plan::CreateTableAs { .. } | Plan::CreateSequence { .. } => Ok(()),
        Plan::CreateTable { definition, .. } => {
            for constraint in &definition.constraints {
                if let ConstraintKind::ForeignKey {
                    table: (database, schema, name),
                    ..
                } = &constraint.kind
                {
                    check_reference(context, &TableName::new(database, schema, name)).await?;
                }
            }
            Ok(())
        }
        Plan::Explain { target, .. } => match target {
            ExplainTarget::Query(_)
            | ExplainTarget::Insert(_)
            | ExplainTarget::Change(_)
            | ExplainTarget::CreateTableAs { .. } => Ok(()),
        },
        Plan::CreateView { name, replace, .. } => match *replace && context.snapshot.relation(name).is_some() {
            true => context.check_owner(name, false).await,
            false => Ok(()),
        },
        Plan::DropTables { names, .. } | Plan::DropViews { names, .. } | Plan::DropSequences { names, .. } => {
            for name in names {
                context.check_owner(name, true).await?;
            }
            Ok(())
        }
        Plan::AlterSequence { name, .. } => context.check_owner(name, false).await,
        Plan::AlterIndexes { changes, .. } => {
            for (table, _) in changes {
                context.check_owner(table, false).await?;
            }
            Ok(())
        }
        Plan::Refresh { table, .. } => context.check_owner(table, false).await,
        Plan::AlterTable { table, actions } => {
            context.check_owner(table, false).await?;
            if let Some(table) = context.snapshot.table(table).await? {
                context.check_unmasked(&table)?;
            }
            for action in actions {
                if let Some(referenced) = action.referenced(context)? {
                    check_reference(context, &referenced).await?;
                }
            }
            Ok(())
        }
        Plan::Comment { table, .. } => context.check_owner(table, false).await,
        Plan::Truncate { tables, .. } => {
            for name in tables {
                if let Some(table) = context.snapshot.table(name).await? {
                    context.check_table(&table, Privileges::TRUNCATE)?;
                }
            }
            Ok(())
        }
        Plan::RenameRelation { from, to, .. } => {
            context.check_owner(from, false).await?;
            match context.may_in_schema(&to.database, &to.schema, Privileges::CREATE) {
                true => Ok(()),
                false => Err(denied("schema", &to.schema)),
            }
        }
        Plan::CreateSchema { .. } => database(Privileges::CREATE),
        Plan::DropSchemas { schemas, .. } => {
            let mut schemas = schemas.iter();
            schemas.try_for_each(
                |(database, schema)| match context.snapshot.has_schema(database, schema) {
                    true => context.check_owner_of_schema(database, schema),
                    false => Ok(()),
                },
            )
        }
        Plan::RenameViewColumn { view, .. } => context.check_owner(&view.name, false).await,
        Plan::RenameSchema { database: of, from, .. } => {
            context.check_owner_of_schema(of, from)?;
            database(Privileges::CREATE)
        }
        Plan::CreateDatabase { .. } => {
            let role = context.snapshot.access().role(&context.user);
            match role.is_some_and(|role| role.createdb) {
                true => Ok(()),
                false => context.check_superuser("permission denied to create database"),
            }
        }
        Plan::DropDatabase { name, .. } => {
            let rights = context.rights(&AccessKey::Database(name.clone()));
            match !context.snapshot.has_database(name) || context.authority.owns(&rights) {
                true => Ok(()),
                false => Err(not_owner("database", name)),
            }
        }
        // Whose it was is forgotten with its drop.
        Plan::UndropTable { .. } => context.check_superuser("must be superuser to bring back a dropped table"),
        // Worked out with its own checks.
        Plan::Access(_) | Plan::SetIdentity { .. } => Ok(()),
        Plan::Declare { source, .. } => Box::pin(check(context, source)).await,
        // What they run is planned, and checked, by itself.
        Plan::Prepare { .. } | Plan::Execute { .. } | Plan::Deallocate { .. } => Ok(()),
        // The session's own.
        Plan::Skipped { .. }
        | Plan::Set { .. }
        | Plan::Show { .. }
        | Plan::Reset { .. }
        | Plan::Discard(_)
        | Plan::Begin(_)
        | Plan::Commit { .. }
        | Plan::Rollback { .. }
        | Plan::Savepoint { .. }
        | Plan::SetTransaction { .. }
        | Plan::Fetch { .. }
        | Plan::CloseCursor { .. }
        | Plan::Undone { .. }
        // Tables of others are left out.
        | Plan::Analyze { .. }
        | Plan::Vacuum { .. }
        | Plan::Nothing { .. } => Ok(()),
    }
}

/// A table that a foreign key names must be the role's to refer to.
async fn check_reference(context: &PlanContext, name: &TableName) -> Result<()> {
    match context.snapshot.table(name).await? {
        Some(table) => context.check_table(&table, Privileges::REFERENCES),
        None => Ok(()),
    }
}
