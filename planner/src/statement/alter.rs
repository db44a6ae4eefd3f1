//! `ALTER TABLE`: names of columns to field ids, and what must be true of the rows that are there.
//!
//! Actions are resolved one by one when the statement runs, each against the table as the one before left it: `ADD COLUMN
//! b int, ALTER COLUMN b SET NOT NULL` finds its column.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr as Value, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, TableConstraint};
use staffa_catalog::{
    Column, ColumnDefault, ColumnDefinition, ConstraintKind, FieldIds, IdentityKind, RelationKind, SqlType, Table,
    TableChange, TableName, is_widening, quote_identifier,
};

use crate::checks;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{AlterAst, AlterTableAst, Altered, NewName};
use crate::resolve::{self, Relations, fold};
use crate::statement::change::TARGET;
use crate::statement::ddl::{PERSISTENCE, UNLOGGED};
use crate::statement::query::Scope;
use crate::statement::{Plan, constraint, ddl, dml, identity, index, materialized, sequence, storage};
use crate::stored::{self, Role};
use crate::table_provider::StaffaTable;
use crate::type_planner::sql_type_of_ast;

/// One action of `ALTER TABLE`.
#[derive(Clone, Debug)]
pub struct AlterAction(AlterAst);

impl AlterAction {
    /// The table that a foreign key names which it adds.
    pub(crate) fn referenced(&self, context: &PlanContext) -> Result<Option<TableName>> {
        match &self.0 {
            AlterAst::AddConstraint(constraint) => match &**constraint {
                TableConstraint::ForeignKey(key) => Ok(resolve::existing(context, &key.foreign_table)?.map(|it| it.0)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

/// The SQLSTATE of a notice that has none.
const NO_CODE: &str = "00000";

/// What an action does to a table as it is now.
#[derive(Debug, Default)]
pub struct AlterStep {
    pub changes: Vec<TableChange>,
    pub checks: Vec<RowCheck>,
    /// Whether rows that are there are written anew, and how.
    pub rewrite: Option<Rewrite>,
    /// Told, with its SQLSTATE, when `IF EXISTS` or `IF NOT EXISTS` had nothing to do, and of parameters that have no effect.
    pub notice: Option<(&'static str, String)>,
    /// What becomes of a column that views may read.
    pub column: Option<ColumnStep>,
}

/// A column that goes, changes its type or gets another name.
#[derive(Debug)]
pub enum ColumnStep {
    Dropped { number: i16, name: String, cascade: bool },
    Retyped { number: i16, name: String },
    Renamed { from: String, to: String },
}

/// Rows that must not be there, or the action fails with `error`.
#[derive(Debug)]
pub struct RowCheck {
    /// A condition in SQL on the table's columns; `None`: any row.
    pub condition: Option<String>,
    pub error: Error,
}

pub(crate) async fn alter_table(scope: &Scope<'_>, alter: &AlterTableAst) -> Result<Plan> {
    let wanted = wanted(alter.what).unwrap_or("table");
    let table = match resolve::existing(scope.context, &alter.name)? {
        Some((full, RelationKind::Table)) => scope.context.snapshot.table(&full).await?,
        Some((full, kind)) => {
            let noun = materialized::noun(scope.context, &full, kind).await?;
            let action = alter.actions.first().filter(|_| alter.what == Altered::Table);
            return Err(match action {
                Some(action) => not_for(&full, noun, action),
                None => wrong_type(&full, wanted),
            });
        }
        None => None,
    };
    let Some(table) = table else {
        return missing(scope, &alter.name, alter.if_exists);
    };
    if alter.what == Altered::MaterializedView && table.materialized().is_none() {
        return Err(wrong_type(table.name(), wanted));
    }
    materialized::check_alterable(&table, &alter.actions)?;
    for action in &alter.actions {
        match action {
            AlterAst::AddColumn { column, .. } => {
                let is_serial = identity::serial(&column.data_type).is_some();
                checks::column_options(&table.name().name, column, is_serial, scope.text)?;
                if !is_serial {
                    sql_type_of_ast(&column.data_type)
                        .map_err(|error| checks::behind(error, &column.name, scope.text))?;
                }
            }
            AlterAst::AddConstraint(constraint) => {
                constraint::check_referenced(scope.context, std::slice::from_ref(constraint.as_ref())).await?;
            }
            _ => {}
        }
    }
    Ok(Plan::AlterTable {
        actions: split(scope.context, &alter.actions)?,
        table: table.name().clone(),
    })
}

/// An action that only tables know.
fn not_for(relation: &TableName, noun: &str, action: &AlterAst) -> Error {
    let action = match action {
        AlterAst::AddColumn { .. } => "ADD COLUMN",
        AlterAst::DropColumn { .. } => "DROP COLUMN",
        AlterAst::RenameColumn { .. } => "RENAME COLUMN",
        AlterAst::SetType { .. } => "ALTER COLUMN ... SET DATA TYPE",
        AlterAst::SetNotNull { not_null: true, .. } => "ALTER COLUMN ... SET NOT NULL",
        AlterAst::SetNotNull { .. } => "ALTER COLUMN ... DROP NOT NULL",
        AlterAst::SetDefault { .. } => "ALTER COLUMN ... SET DEFAULT",
        AlterAst::AddConstraint(_) => "ADD CONSTRAINT",
        AlterAst::DropConstraint { .. } => "DROP CONSTRAINT",
        AlterAst::SetLogged(true) => "SET LOGGED",
        AlterAst::SetLogged(false) => "SET UNLOGGED",
        AlterAst::SetProperties(_) => "SET",
        AlterAst::ResetProperties(_) => "RESET",
        AlterAst::SetPartitioning(_) => "SET PARTITIONED BY",
        AlterAst::SetSorting(_) => "SET SORTED BY",
        AlterAst::CommentConstraint { .. } => "COMMENT ON CONSTRAINT",
    };
    let message = format!(
        "ALTER action {action} cannot be performed on relation \"{}\"",
        relation.name
    );
    let plural = if noun == "index" {
        "indexes".to_string()
    } else {
        format!("{noun}s")
    };
    Error::new(ErrorKind::WrongObjectType, message)
        .with_detail(format!("This operation is not supported for {plural}."))
}

/// What the relation must be; `None`: ALTER TABLE renames all of them, but not the other way round.
pub(super) fn wanted(what: Altered) -> Option<&'static str> {
    match what {
        Altered::Table | Altered::Index => None,
        Altered::View => Some("view"),
        Altered::MaterializedView => Some(materialized::NOUN),
        Altered::Sequence => Some("sequence"),
    }
}

/// `COMMENT ON CONSTRAINT`; an empty comment removes it.
pub(crate) fn comment_constraint(
    scope: &Scope<'_>,
    name: &Ident,
    table: &ObjectName,
    text: Option<String>,
) -> Result<Plan> {
    match resolve::existing(scope.context, table)? {
        Some((table, RelationKind::Table)) => Ok(Plan::AlterTable {
            actions: vec![AlterAction(AlterAst::CommentConstraint {
                name: name.clone(),
                text: text.filter(|text| !text.is_empty()),
            })],
            table,
        }),
        Some((other, _)) => Err(wrong_type(&other, "table")),
        None => Err(resolve::missing(scope.context, table)),
    }
}

fn comment_on(table: &Table, name: &Ident, text: Option<&String>) -> Result<AlterStep> {
    let name = fold(name);
    let mut constraints = table.constraints().to_vec();
    let Some(constraint) = constraints.iter_mut().find(|constraint| constraint.name == name) else {
        let message = format!(
            "constraint \"{name}\" for table \"{}\" does not exist",
            table.name().name
        );
        return Err(Error::new(ErrorKind::UndefinedObject, message));
    };
    constraint.comment = text.cloned();
    Ok(changed(TableChange::SetConstraints(constraints)))
}

/// A column's constraints become actions of their own, after it is there.
fn split(context: &PlanContext, actions: &[AlterAst]) -> Result<Vec<AlterAction>> {
    let mut all = Vec::with_capacity(actions.len());
    for action in actions {
        all.push(AlterAction(action.clone()));
        if let AlterAst::AddColumn {
            parent,
            column,
            if_not_exists,
        } = action
        {
            let (_, constraints) = constraint::column(context, column)?;
            if !parent.is_empty() && !constraints.is_empty() {
                return Err(Error::unsupported(
                    "constraints on a field of a struct are not supported",
                ));
            }
            if *if_not_exists && !constraints.is_empty() {
                let message = "constraints in ADD COLUMN IF NOT EXISTS are not supported";
                return Err(Error::unsupported(message).with_hint("Add them with ADD CONSTRAINT."));
            }
            all.extend(
                constraints
                    .into_iter()
                    .map(|c| AlterAction(AlterAst::AddConstraint(Box::new(c)))),
            );
        }
    }
    Ok(all)
}

pub(crate) async fn rename_relation(
    scope: &Scope<'_>,
    what: Altered,
    name: &ObjectName,
    if_exists: bool,
    to: &NewName,
) -> Result<Plan> {
    let Some((from, kind)) = resolve::existing(scope.context, name)? else {
        return missing(scope, name, if_exists);
    };
    // PostgreSQL lets ALTER TABLE and ALTER INDEX rename all of them, but not the others.
    if let Some(wanted) = wanted(what)
        && materialized::noun(scope.context, &from, kind).await? != wanted
    {
        return Err(wrong_type(&from, wanted));
    }
    if kind == RelationKind::Index {
        return match to {
            NewName::Name(name) => index::rename(scope.context, &from, fold(name)).await,
            NewName::Schema(_) => {
                let message = format!("cannot change schema of index \"{}\"", from.name);
                Err(Error::new(ErrorKind::WrongObjectType, message)
                    .with_hint("Change the schema of the table instead."))
            }
        };
    }
    let to = match to {
        NewName::Name(name) => TableName::new(&from.database, &from.schema, fold(name)),
        NewName::Schema(schema) => {
            let schema = fold(schema);
            if scope.context.is_temporary(&from.schema) || scope.context.schema_named(&schema).as_ref() != Some(&schema)
            {
                return Err(Error::unsupported(
                    "cannot move objects into or out of temporary schemas",
                ));
            }
            check_schema(scope.context, &from.database, &schema)?;
            TableName::new(&from.database, schema, &from.name)
        }
    };
    let mut defaults = Vec::new();
    if kind == RelationKind::Sequence {
        check_own_schema(scope.context, &from, &to)?;
        let (old, new) = (sequence::stored_name(&from), sequence::stored_name(&to));
        for used in sequence::uses(scope.context, &from).await? {
            if let Some(text) = used.text {
                defaults.push((used.table, used.field_id, text.replace(&old, &new)));
            }
        }
    }
    Ok(Plan::RenameRelation { from, to, defaults })
}

pub(crate) async fn rename_view_column(
    scope: &Scope<'_>,
    name: &ObjectName,
    if_exists: bool,
    from: &Ident,
    to: &Ident,
) -> Result<Plan> {
    let Some((view, kind)) = resolve::existing(scope.context, name)? else {
        return missing(scope, name, if_exists);
    };
    if materialized::noun(scope.context, &view, kind).await? != "view" {
        return Err(wrong_type(&view, "view"));
    }
    let Some(view) = scope.context.snapshot.view(&view).await? else {
        return missing(scope, name, if_exists);
    };
    let (from, to) = (fold(from), fold(to));
    let has = |name: &str| view.columns.iter().any(|(column, _)| column == name);
    if !has(&from) {
        let message = format!("column \"{from}\" does not exist");
        return Err(Error::new(ErrorKind::UndefinedColumn, message));
    }
    if has(&to) {
        let message = format!("column \"{to}\" of relation \"{}\" already exists", view.name.name);
        return Err(Error::new(ErrorKind::DuplicateColumn, message));
    }
    Ok(Plan::RenameViewColumn { view, from, to })
}

/// The sequence of a column stays in its table's schema.
fn check_own_schema(context: &PlanContext, from: &TableName, to: &TableName) -> Result<()> {
    let owned = context
        .snapshot
        .sequence(from)?
        .is_some_and(|sequence| sequence.owner.is_some());
    match owned && from.schema != to.schema {
        false => Ok(()),
        true => Err(Error::unsupported("cannot move an owned sequence into another schema")),
    }
}

pub(crate) fn rename_schema(context: &PlanContext, name: &ObjectName, to: &Ident) -> Result<Plan> {
    let (database, from) = ddl::schema_name(context, name)?;
    check_schema(context, &database, &from)?;
    let to = fold(to);
    ddl::check_schema_name(&to)?;
    Ok(Plan::RenameSchema { database, from, to })
}

fn check_schema(context: &PlanContext, database: &str, schema: &str) -> Result<()> {
    if context.snapshot.has_schema(database, schema) {
        return Ok(());
    }
    let message = format!("schema \"{schema}\" does not exist");
    Err(Error::new(ErrorKind::UndefinedSchema, message))
}

fn missing(scope: &Scope<'_>, name: &ObjectName, if_exists: bool) -> Result<Plan> {
    if if_exists {
        return Ok(Plan::Skipped {
            notice: resolve::skipped(name),
        });
    }
    Err(resolve::missing(scope.context, name))
}

pub(super) fn wrong_type(name: &TableName, wanted: &str) -> Error {
    Error::new(
        ErrorKind::WrongObjectType,
        format!("\"{}\" is not a {wanted}", name.name),
    )
}

impl AlterAction {
    /// What the action does to the table as the transaction sees it now.
    ///
    /// # Errors
    /// A column that is not there or is there already; a definition that is wrong; a form that is not supported.
    pub fn step(&self, context: &PlanContext, table: &Table) -> Result<AlterStep> {
        match &self.0 {
            AlterAst::AddColumn {
                parent,
                column,
                if_not_exists,
            } => add_column(
                context,
                table,
                parent,
                constraint::column(context, column)?.0,
                *if_not_exists,
            ),
            AlterAst::DropColumn {
                path,
                if_exists,
                cascade,
            } => match find(table, path) {
                Some(found) => drop_column(table, path, &found, *cascade),
                None if *if_exists => {
                    let error = undefined(table, path);
                    Ok(AlterStep {
                        notice: Some((NO_CODE, format!("{}, skipping", error.message()))),
                        ..AlterStep::default()
                    })
                }
                None => Err(undefined(table, path)),
            },
            AlterAst::RenameColumn { path, name } => {
                let found = find(table, path).ok_or_else(|| {
                    // PostgreSQL names the relation in all actions but this one.
                    let message = format!("column \"{}\" does not exist", joined(path));
                    Error::new(ErrorKind::UndefinedColumn, message)
                })?;
                let name = fold(name);
                if found.siblings.contains(&name) {
                    return Err(duplicate(table, &name));
                }
                rename_column(table, path, &found, name)
            }
            AlterAst::SetType { collates: true, .. } => {
                Err(Error::unsupported("COLLATE in ALTER COLUMN … TYPE is not supported"))
            }
            AlterAst::SetType { path, ty, using, .. } => {
                set_type(context, table, path, sql_type_of_ast(ty)?, using.as_ref())
            }
            AlterAst::SetNotNull { path, not_null } => set_not_null(table, path, *not_null),
            AlterAst::SetLogged(is_logged) => Ok(match is_logged {
                true => with_properties(BTreeMap::new(), BTreeSet::from([PERSISTENCE.to_owned()])),
                false => {
                    let set = [(PERSISTENCE.to_owned(), UNLOGGED.to_owned())];
                    with_properties(BTreeMap::from(set), BTreeSet::new())
                }
            }),
            AlterAst::SetProperties(given) => {
                let (given, notice) = storage::take(given)?;
                let set = ddl::properties(&given)?;
                Ok(AlterStep {
                    notice: notice.map(|notice| (NO_CODE, notice)),
                    ..with_properties(set, BTreeSet::new())
                })
            }
            AlterAst::ResetProperties(names) => {
                let names = storage::without(names)?;
                let given: Vec<_> = names.into_iter().map(|name| (name, String::new())).collect();
                let removed = ddl::properties(&given)?.into_keys().collect();
                Ok(with_properties(BTreeMap::new(), removed))
            }
            AlterAst::SetPartitioning(terms) => {
                let terms = ddl::partitions(terms, &definitions(table))?;
                Ok(changed(TableChange::SetPartitioning(terms)))
            }
            AlterAst::SetSorting(terms) => {
                let keys = ddl::sort(terms, &definitions(table))?;
                Ok(changed(TableChange::SetSortOrder(keys)))
            }
            AlterAst::SetDefault { path, default } => set_default(context, table, path, default.as_ref()),
            AlterAst::AddConstraint(given) => add_constraint(context, table, given),
            AlterAst::CommentConstraint { name, text } => comment_on(table, name, text.as_ref()),
            AlterAst::DropConstraint { name, if_exists } => match constraint::without(table.constraints(), name) {
                Some(kept) => Ok(changed(TableChange::SetConstraints(kept))),
                None => {
                    let message = format!(
                        "constraint \"{}\" of relation \"{}\" does not exist",
                        fold(name),
                        table.name().name
                    );
                    if !if_exists {
                        return Err(Error::new(ErrorKind::UndefinedObject, message));
                    }
                    Ok(AlterStep {
                        notice: Some((NO_CODE, format!("{message}, skipping"))),
                        ..AlterStep::default()
                    })
                }
            },
        }
    }
}

fn changed(change: TableChange) -> AlterStep {
    AlterStep {
        changes: vec![change],
        ..AlterStep::default()
    }
}

/// Storage parameters may be all there was.
fn with_properties(set: BTreeMap<String, String>, removed: BTreeSet<String>) -> AlterStep {
    match set.is_empty() && removed.is_empty() {
        true => AlterStep::default(),
        false => changed(TableChange::SetProperties { set, removed }),
    }
}

fn add_column(
    context: &PlanContext,
    table: &Table,
    parent: &[Ident],
    column: ColumnDefinition,
    if_not_exists: bool,
) -> Result<AlterStep> {
    let (parent, siblings) = match parent {
        [] => (None, names_of(&table.schema().columns)),
        path => {
            let found = find(table, path).ok_or_else(|| undefined(table, path))?;
            if !column.nullable || column.default.is_some() {
                let message = "NOT NULL and DEFAULT for a field of a struct are not supported";
                return Err(Error::unsupported(message));
            }
            (Some(found.id), found.fields)
        }
    };
    if siblings.contains(&column.name) {
        let error = duplicate(table, &column.name);
        if !if_not_exists {
            return Err(error);
        }
        return Ok(AlterStep {
            notice: Some(("42701", format!("{}, skipping", error.message()))),
            ..AlterStep::default()
        });
    }
    let mut columns = definitions(table);
    columns.push(column);
    constraint::check_values(context, table.name(), &mut columns)?;
    let column = columns
        .pop()
        .ok_or_else(|| Error::internal("a column that was added is gone"))?;
    let null = |default: &ColumnDefault| matches!(default, ColumnDefault::Expression(text) if text.eq_ignore_ascii_case("null"));
    // Format version 2 has no place for the value of the rows that are there, and none has one for what differs by row.
    let rewrite = match &column.default {
        Some(default) if !null(default) => Some(Rewrite::default()),
        _ => None,
    };
    let check = (rewrite.is_none() && !column.nullable).then(|| RowCheck {
        condition: None,
        error: null_values(table, &column.name),
    });
    Ok(AlterStep {
        changes: vec![TableChange::AddColumn { parent, column }],
        checks: Vec::from_iter(check),
        rewrite,
        notice: None,
        column: None,
    })
}

/// A wider type is a matter of reading; any other needs the rows written anew.
fn set_type(
    context: &PlanContext,
    table: &Table,
    path: &[Ident],
    ty: SqlType,
    using: Option<&Expr>,
) -> Result<AlterStep> {
    let found = find(table, path).ok_or_else(|| undefined(table, path))?;
    let column = table.schema().column_by_id(found.id);
    let retyped = column.zip(table.column_numbers().get(&found.id).copied());
    let retyped = retyped.map(|(column, number)| ColumnStep::Retyped {
        number,
        name: column.name.clone(),
    });
    let column = match column {
        Some(column) if using.is_some() || !is_widening(&column.ty, &ty) => column,
        None if using.is_some() => {
            let message = "USING for a field of a struct is not supported";
            return Err(Error::unsupported(message));
        }
        _ => {
            return Ok(AlterStep {
                column: retyped,
                ..changed(TableChange::SetType { field_id: found.id, ty })
            });
        }
    };
    let name = &column.name;
    if let Some(other) = computed_from(table, name)? {
        let message = "cannot alter type of a column used by a generated column";
        return Err(Error::unsupported(message)
            .with_detail(format!("Column \"{name}\" is used by generated column \"{other}\".")));
    }
    match &column.default {
        Some(ColumnDefault::Expression(text)) => {
            let typed = format!("({text})::{}", column.ty);
            stored::default_value(context, name, &ty, &typed).map_err(|error| match error.kind() {
                ErrorKind::DatatypeMismatch => Error::new(
                    error.kind(),
                    format!("default for column \"{name}\" cannot be cast automatically to type {ty}"),
                ),
                _ => error,
            })?;
        }
        Some(ColumnDefault::Generated(_)) if using.is_some() => {
            let message = "cannot specify USING when altering type of generated column";
            return Err(Error::new(ErrorKind::InvalidColumnDefinition, message)
                .with_detail(format!("Column \"{name}\" is a generated column.")));
        }
        // The sequence knows its column by the field id.
        Some(ColumnDefault::Identity(_)) => {
            let message = format!(
                "changing column \"{name}\" from type {} to {ty} is not supported",
                column.ty
            );
            return Err(Error::unsupported(message).with_detail("The column has a sequence."));
        }
        Some(ColumnDefault::Generated(_)) | None => {}
    }
    Ok(AlterStep {
        changes: vec![TableChange::ReplaceColumn {
            field_id: found.id,
            ty: ty.clone(),
        }],
        rewrite: Some(Rewrite {
            retyped: Some(Retyped {
                column: name.clone(),
                ty,
                using: using.map(Expr::to_string),
            }),
        }),
        column: retyped,
        ..AlterStep::default()
    })
}

/// How rows become those of the changed table: columns keep their values, but for one that gets another type; new ones get
/// their defaults, and generated ones are computed.
#[derive(Debug, Default)]
pub struct Rewrite {
    retyped: Option<Retyped>,
}

#[derive(Debug)]
struct Retyped {
    column: String,
    ty: SqlType,
    /// The expression of `USING`, over the old row.
    using: Option<String>,
}

impl Rewrite {
    /// The rows of the table before the change, for [`rewritten_rows`] after it.
    ///
    /// # Errors
    /// An expression that is wrong, or that no cast makes a value of the new type.
    pub async fn rows(&self, context: &PlanContext, table: &Arc<Table>) -> Result<LogicalPlan> {
        stored::load_catalog(context, table).await?;
        let provider = StaffaTable::open(context, Arc::clone(table)).await?;
        let rows = LogicalPlanBuilder::scan(TARGET, provider_as_source(Arc::new(provider)), None)?;
        let schema = rows.schema().clone();
        let columns = table.schema().columns.iter().zip(schema.columns());
        let values = columns.filter_map(|(column, given)| {
            let value = match (&self.retyped, &column.default) {
                (_, Some(ColumnDefault::Generated(_))) => return None,
                (Some(retyped), _) if retyped.column == column.name => retyped.value(context, table, &schema),
                _ => Ok(Value::Column(given)),
            };
            Some(value.map(|value| value.alias(&column.name)))
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        Ok(rows.project(values)?.build()?)
    }
}

impl Retyped {
    fn value(&self, context: &PlanContext, table: &Table, schema: &DFSchema) -> Result<Value> {
        let quoted = quote_identifier(&self.column);
        let (columns, relation) = (&table.schema().columns, &table.name().name);
        let text = self.using.as_ref().unwrap_or(&quoted);
        let value = stored::over_row(context, Role::Transform, text, relation, columns)?;
        let cast = stored::assigned(context, Role::Transform, &self.column, &self.ty, value, schema);
        cast.map_err(|error| match (error.kind(), &self.using) {
            (ErrorKind::DatatypeMismatch, None) => {
                let message = format!(
                    "column \"{}\" cannot be cast automatically to type {}",
                    self.column, self.ty
                );
                let hint = format!("You might need to specify \"USING {quoted}::{}\".", self.ty);
                Error::new(error.kind(), message).with_hint(hint)
            }
            (ErrorKind::DatatypeMismatch, Some(_)) => {
                let message = format!(
                    "result of USING clause for column \"{}\" cannot be cast automatically to type {}",
                    self.column, self.ty
                );
                Error::new(error.kind(), message).with_hint("You might need to add an explicit cast.")
            }
            _ => error,
        })
    }
}

/// What [`Rewrite::rows`] gave, as rows of the changed table.
pub fn rewritten_rows(context: &PlanContext, table: &Table, rows: LogicalPlan) -> Result<LogicalPlan> {
    let columns = &table.schema().columns;
    let fields = rows.schema().fields().iter();
    let positions = fields
        .map(|field| {
            let position = columns.iter().position(|column| column.name == *field.name());
            position.ok_or_else(|| Error::internal("a column of rows that are written anew is gone"))
        })
        .collect::<Result<Vec<_>>>()?;
    dml::with_defaults(context, table, &positions, rows)
}

/// Constraints and indexes about a column go with it; a value that is computed from it stands in the way.
fn drop_column(table: &Table, path: &[Ident], found: &Found, cascade: bool) -> Result<AlterStep> {
    let mut dropped = None;
    let mut changes = vec![TableChange::DropColumn { field_id: found.id }];
    if let [ident] = path {
        let name = fold(ident);
        if let Some(other) = computed_from(table, &name)? {
            let relation = &table.name().name;
            let message = format!("cannot drop column {name} of table {relation} because other objects depend on it");
            return Err(Error::new(ErrorKind::DependentObjects, message)
                .with_detail(format!(
                    "column {other} of table {relation} depends on column {name} of table {relation}"
                ))
                .with_hint("Drop the generated column first."));
        }
        let kept = constraint::without_column(table.constraints(), &name);
        if kept.len() < table.constraints().len() {
            changes.push(TableChange::SetConstraints(kept));
        }
        let kept = index::without_column(table.indexes(), &name);
        if kept.len() < table.indexes().len() {
            changes.push(TableChange::SetIndexes(kept));
        }
        dropped = table.column_numbers().get(&found.id).map(|number| ColumnStep::Dropped {
            number: *number,
            name,
            cascade,
        });
    }
    Ok(AlterStep {
        changes,
        column: dropped,
        ..AlterStep::default()
    })
}

/// The first generated column whose value uses this one.
fn computed_from(table: &Table, name: &str) -> Result<Option<String>> {
    for column in &table.schema().columns {
        if let Some(ColumnDefault::Generated(text)) = &column.default
            && column.name != name
            && !stored::columns_named(&stored::syntax(text)?, &[name.to_owned()]).is_empty()
        {
            return Ok(Some(column.name.clone()));
        }
    }
    Ok(None)
}

/// Expressions that name the column name it by its new name.
fn rename_column(table: &Table, path: &[Ident], found: &Found, name: String) -> Result<AlterStep> {
    let mut changes = Vec::new();
    let mut renamed = None;
    if let [ident] = path {
        let old = fold(ident);
        for column in &table.schema().columns {
            if let Some(ColumnDefault::Generated(text)) = &column.default {
                let text = stored::with_column_renamed(text, &old, &name)?;
                changes.push(TableChange::SetDefault {
                    field_id: column.field_id,
                    default: Some(ColumnDefault::Generated(text)),
                });
            }
        }
        let constraints = constraint::with_column_renamed(table.constraints(), &old, &name)?;
        if constraints != table.constraints() {
            changes.push(TableChange::SetConstraints(constraints));
        }
        let indexes = index::with_column_renamed(table.indexes(), &old, &name)?;
        if indexes != table.indexes() {
            changes.push(TableChange::SetIndexes(indexes));
        }
        renamed = Some(ColumnStep::Renamed {
            from: old,
            to: name.clone(),
        });
    }
    changes.push(TableChange::RenameColumn {
        field_id: found.id,
        name,
    });
    Ok(AlterStep {
        changes,
        column: renamed,
        ..AlterStep::default()
    })
}

fn set_default(context: &PlanContext, table: &Table, path: &[Ident], default: Option<&Expr>) -> Result<AlterStep> {
    let found = find(table, path).ok_or_else(|| undefined(table, path))?;
    let column = table
        .schema()
        .column_by_id(found.id)
        .ok_or_else(|| Error::unsupported("DEFAULT for a field of a struct is not supported"))?;
    if let Some(ColumnDefault::Generated(_)) = column.default {
        let message = format!(
            "column \"{}\" of relation \"{}\" is a generated column",
            column.name,
            table.name().name
        );
        return Err(Error::new(ErrorKind::SyntaxError, message));
    }
    if let Some(ColumnDefault::Identity(identity)) = &column.default
        && identity.kind != IdentityKind::Serial
    {
        let message = format!(
            "column \"{}\" of relation \"{}\" is an identity column",
            column.name,
            table.name().name
        );
        return Err(Error::new(ErrorKind::SyntaxError, message));
    }
    if let Some(value @ Expr::Value(_)) = default {
        let relations = Relations::default();
        let checked = checks::Assignments::new(context, &relations, "", "DEFAULT expressions")?;
        // PostgreSQL names no place here.
        let told = |error: Error| Error::new(error.kind(), error.message());
        checked.check_literal(value, column).map_err(told)?;
    }
    let default = default
        .map(|default| resolve::sequence::stored_text(context, default))
        .transpose()?;
    if let Some(text) = &default {
        stored::default_value(context, &column.name, &column.ty, text)?;
    }
    Ok(changed(TableChange::SetDefault {
        field_id: found.id,
        default: default.map(ColumnDefault::Expression),
    }))
}

fn add_constraint(context: &PlanContext, table: &Table, given: &TableConstraint) -> Result<AlterStep> {
    let mut columns = definitions(table);
    let mut constraints = table.constraints().to_vec();
    constraint::add(
        context,
        table.name(),
        &mut columns,
        &mut constraints,
        std::slice::from_ref(given),
    )?;
    let Some(added) = constraints.last() else {
        return Err(Error::internal("a constraint was not added"));
    };
    let mut changes = Vec::new();
    let relation = &table.name().name;
    let checks = match &added.kind {
        ConstraintKind::Check { expression, .. } => vec![RowCheck {
            condition: Some(format!("not ({expression})")),
            error: Error::new(
                ErrorKind::CheckViolation,
                format!(
                    "check constraint \"{}\" of relation \"{relation}\" is violated by some row",
                    added.name
                ),
            ),
        }],
        ConstraintKind::PrimaryKey { columns: key } => {
            let newly: Vec<&Column> = table
                .schema()
                .columns
                .iter()
                .filter(|column| column.nullable && key.contains(&column.name))
                .collect();
            changes.extend(newly.iter().map(|column| TableChange::SetNullable {
                field_id: column.field_id,
                nullable: false,
            }));
            let nulls = |column: &&Column| RowCheck {
                condition: Some(format!("{} is null", quote_identifier(&column.name))),
                error: null_values(table, &column.name),
            };
            newly.iter().map(nulls).collect()
        }
        ConstraintKind::Unique { .. } | ConstraintKind::ForeignKey { .. } => Vec::new(),
    };
    changes.push(TableChange::SetConstraints(constraints));
    Ok(AlterStep {
        changes,
        checks,
        ..AlterStep::default()
    })
}

fn set_not_null(table: &Table, path: &[Ident], not_null: bool) -> Result<AlterStep> {
    let found = find(table, path).ok_or_else(|| undefined(table, path))?;
    let [ident] = path else {
        return Err(Error::unsupported("NOT NULL for a field of a struct is not supported"));
    };
    let name = fold(ident);
    if !not_null {
        check_may_be_null(table, &name)?;
    }
    Ok(AlterStep {
        changes: vec![TableChange::SetNullable {
            field_id: found.id,
            nullable: !not_null,
        }],
        checks: Vec::from_iter(not_null.then(|| RowCheck {
            condition: Some(format!("{} is null", quote_identifier(&name))),
            error: null_values(table, &name),
        })),
        ..AlterStep::default()
    })
}

/// Identity columns and those of a primary key stay NOT NULL.
fn check_may_be_null(table: &Table, name: &str) -> Result<()> {
    let default = table.schema().column(name).and_then(|column| column.default.as_ref());
    if matches!(default, Some(ColumnDefault::Identity(identity)) if identity.kind != IdentityKind::Serial) {
        let message = format!(
            "column \"{name}\" of relation \"{}\" is an identity column",
            table.name().name
        );
        return Err(Error::new(ErrorKind::SyntaxError, message));
    }
    let in_key = |kind: &ConstraintKind| matches!(kind, ConstraintKind::PrimaryKey { columns } if columns.iter().any(|column| column == name));
    if table.constraints().iter().any(|constraint| in_key(&constraint.kind)) {
        let message = format!("column \"{name}\" is in a primary key");
        return Err(Error::new(ErrorKind::InvalidTableDefinition, message));
    }
    Ok(())
}

fn null_values(table: &Table, column: &str) -> Error {
    let message = format!(
        "column \"{column}\" of relation \"{}\" contains null values",
        table.name().name
    );
    Error::new(ErrorKind::NotNullViolation, message)
}

/// A column or a field inside one.
struct Found {
    id: i32,
    /// Names beside it.
    siblings: Vec<String>,
    /// Names inside it.
    fields: Vec<String>,
}

fn find(table: &Table, path: &[Ident]) -> Option<Found> {
    let (first, rest) = path.split_first()?;
    let columns = &table.schema().columns;
    let column = table.schema().column(&fold(first))?;
    let (mut ty, mut ids, mut id) = (&column.ty, column.children.as_slice(), column.field_id);
    let mut siblings = names_of(columns);
    for ident in rest {
        let (fields, below) = struct_of(ty, ids)?;
        let index = fields.iter().position(|(name, _)| *name == fold(ident))?;
        siblings = fields.iter().map(|(name, _)| name.clone()).collect();
        let field = below.get(index)?;
        (ty, ids, id) = (&fields[index].1, field.children.as_slice(), field.id);
    }
    let fields = struct_of(ty, ids).map(|(fields, _)| fields.iter().map(|(name, _)| name.clone()).collect());
    Some(Found {
        id,
        siblings,
        fields: fields.unwrap_or_default(),
    })
}

/// The fields of a struct, or of the structs in an array.
fn struct_of<'a>(ty: &'a SqlType, ids: &'a [FieldIds]) -> Option<(&'a [(String, SqlType)], &'a [FieldIds])> {
    match ty {
        SqlType::Struct(fields) => Some((fields, ids)),
        SqlType::Array(element) => struct_of(element, &ids.first()?.children),
        _ => None,
    }
}

fn names_of(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

fn definitions(table: &Table) -> Vec<ColumnDefinition> {
    let columns = table.schema().columns.iter();
    columns
        .map(|column| ColumnDefinition {
            name: column.name.clone(),
            ty: column.ty.clone(),
            nullable: column.nullable,
            comment: None,
            default: column.default.clone(),
        })
        .collect()
}

fn joined(path: &[Ident]) -> String {
    path.iter().map(fold).collect::<Vec<_>>().join(".")
}

fn undefined(table: &Table, path: &[Ident]) -> Error {
    let message = format!(
        "column \"{}\" of relation \"{}\" does not exist",
        joined(path),
        table.name().name
    );
    Error::new(ErrorKind::UndefinedColumn, message)
}

fn duplicate(table: &Table, column: &str) -> Error {
    let message = format!(
        "column \"{column}\" of relation \"{}\" already exists",
        table.name().name
    );
    Error::new(ErrorKind::DuplicateColumn, message)
}
