//! `INSERT`: the source's columns in the table's order, each in its column's type.
//!
//! Before: `insert into t (b, a) values ('2024-01-01', 1)`. After: `select cast(column2 as integer) as a,
//! cast(column1 as date) as b, null as c from (values …)`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    self, Ident, Insert, OnConflict, OnInsert, Query, SetExpr, TableObject, TableWithJoins,
};
use datafusion::sql::sqlparser::parser::Parser;
use staffa_catalog::{
    Column, ColumnDefault, Digits, IdentityKind, Privileges, RelationKind, SqlType, SystemStorage, Table,
};

use crate::authorize::Mentioned;
use crate::checks;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::function::next_number;
use crate::generic::Generic;
use crate::resolve::{self, Relations};
use crate::rewrite::parameter_index;
use crate::statement::change::{self, Target, target_relation, template};
use crate::statement::copy::positions;
use crate::statement::query::{self, Overriding, Scope};
use crate::statement::{InsertPlan, Plan, QueryPlan, guarded, materialized, returning, upsert};
use crate::stored;
use crate::types::{arrow_field, sql_type};
use crate::walk;

/// Rows whose values are looked at before planning; those behind them are found out when they are stored.
const CHECKED_ROWS: usize = 1000;

pub(crate) async fn insert(scope: &Scope<'_>, insert: &Insert, declared: &[Option<SqlType>]) -> Result<Plan> {
    refuse(insert)?;
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT into a table function is not supported"));
    };
    check_view_width(scope, name, insert).await?;
    let table = resolve::changed_table(scope, name, "insert into").await?;
    materialized::check_changeable(&table, "insert into")?;
    let column_name = |name| column_name(&table, name).map_err(|error| resolve::at_name(error, name, scope.text));
    let listed = insert.columns.iter().map(column_name).collect::<Result<Vec<_>>>()?;
    let targets = positions(&table, &listed).map_err(|error| at_column(error, &listed, scope.text))?;
    scope
        .context
        .check_columns(&table, targets.iter().copied(), Privileges::INSERT)?;
    if insert.overwrite {
        scope.context.check_table(&table, Privileges::DELETE)?;
    }
    let mut source = source(scope, insert, &table, &listed, &targets, declared).await?;
    let (alias, qualified) = called(insert, name)?;
    let returned = Mentioned::default().add_list(insert.returning.as_deref());
    scope.context.check_mentioned(&table, &alias, &returned)?;
    let guard = scope.context.guard(&table)?;
    if insert.overwrite && guard.as_ref().is_some_and(|guard| guard.rows) {
        let message = "INSERT OVERWRITE is not supported with row-level security";
        return Err(Error::unsupported(message).with_hint("Use DELETE and INSERT."));
    }
    if let Some(conflict) = on_conflict(insert)? {
        let keys = upsert::arbiters(&table, conflict, scope.text)?;
        if !keys.is_empty() {
            let target = Target::of(scope, table, alias, qualified).await?;
            let source = guarded::inserted(scope, &target.table, target.guard.as_ref(), source, true).await?;
            let list = insert.returning.as_deref();
            let change = upsert::upsert(scope, target, source, keys, conflict, list).await?;
            return Ok(Plan::Change(change));
        }
    }
    let reads = returned.reads(&table, &alias);
    source = guarded::inserted(scope, &table, guard.as_ref(), source, reads).await?;
    let returning = match &insert.returning {
        None => None,
        Some(items) => {
            let list = returning::List {
                items,
                table: &table,
                alias: &alias,
                from: vec![TableWithJoins {
                    relation: target_relation(&alias)?,
                    joins: Vec::new(),
                }],
                qualified: qualified.as_deref(),
                guard: guard.as_ref(),
            };
            Some(returning::finish(scope, list, &mut source).await?)
        }
    };
    Ok(Plan::Insert(InsertPlan {
        overwrite: insert.overwrite,
        table,
        source,
        returning,
    }))
}

/// More values than a view has columns are the first mistake; that it takes none is the next.
async fn check_view_width(scope: &Scope<'_>, name: &ast::ObjectName, insert: &Insert) -> Result<()> {
    let context = scope.context;
    let (Some((full, RelationKind::View)), Some(body)) = (resolve::existing(context, name)?, &insert.source) else {
        return Ok(());
    };
    let view = context.snapshot.view(&full).await?;
    let width = match insert.columns.len() {
        0 => view.map_or(0, |view| view.columns.len()),
        listed => listed,
    };
    match checks::outputs_of(&body.body).get(width) {
        Some(output) => Err(checks::at(too_many_expressions(), *output, scope.text)),
        None => Ok(()),
    }
}

fn on_conflict(insert: &Insert) -> Result<Option<&OnConflict>> {
    match &insert.on {
        None => Ok(None),
        Some(OnInsert::OnConflict(conflict)) => Ok(Some(conflict)),
        Some(_) => Err(Error::unsupported("ON DUPLICATE KEY UPDATE is not supported").with_hint("Use ON CONFLICT.")),
    }
}

/// What the statement calls its table; and its name as written, when it has parts and no alias.
fn called(insert: &Insert, name: &ast::ObjectName) -> Result<(Ident, Option<Vec<String>>)> {
    let last = name.0.last().and_then(ast::ObjectNamePart::as_ident);
    match (&insert.table_alias, last) {
        (Some(given), _) => Ok((given.alias.clone(), None)),
        (None, Some(last)) if name.0.len() > 1 => Ok((last.clone(), Some(resolve::parts(name)?))),
        (None, Some(last)) => Ok((last.clone(), None)),
        (None, None) => Err(Error::new(ErrorKind::InvalidName, "invalid table name")),
    }
}

/// The rows to insert.
async fn source(
    scope: &Scope<'_>,
    insert: &Insert,
    table: &Table,
    listed: &[Ident],
    targets: &[usize],
    declared: &[Option<SqlType>],
) -> Result<QueryPlan> {
    stored::load_catalog(scope.context, table).await?;
    let Some(body) = &insert.source else {
        let source = LogicalPlanBuilder::empty(true).build()?;
        return Ok(QueryPlan {
            logical: with_defaults(scope.context, table, &[], source)?,
            parameters: Vec::new(),
            columns: Vec::new(),
            generic: Generic::default(),
        });
    };
    let outputs = checks::outputs_of(&body.body);
    if outputs.len() > targets.len() {
        return Err(checks::at(too_many_expressions(), outputs[targets.len()], scope.text));
    }
    let given = match body.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => Some(outputs.len()).filter(|_| outputs.iter().all(Option::is_some)),
    };
    if let Some(target) = given.filter(|given| *given > 0).and_then(|given| listed.get(given)) {
        return Err(checks::at_ident(too_few_expressions(), target, scope.text));
    }
    let mut body = with_default_values(scope.context, table, targets, body, scope.overriding)?;
    check_values(scope, table, targets, &body)?;
    let declared = declared_by_columns(table, targets, &body, declared);
    let values = is_values(&body);
    if let Some(typed) = typed_by_columns(table, targets, &body) {
        body = *typed;
    }
    with_row_of_subqueries(&mut body)?;
    scope.put_with(&mut body);
    let storing = Scope {
        stored_in: Some(table),
        ..scope.copied()
    };
    let source = query::plan(&storing, &body, &declared).await?;
    let places = |index: usize, error| checks::at(error, outputs.get(index).copied().flatten(), scope.text);
    assigned(scope, table, targets, listed.is_empty(), source, values, &places)
}

/// The table's columns from a plan of some of them, in their types: the others get their defaults. What the plan has behind
/// those comes behind them, too.
pub fn with_defaults(
    context: &PlanContext,
    table: &Table,
    positions: &[usize],
    rows: LogicalPlan,
) -> Result<LogicalPlan> {
    let given = rows.schema().columns();
    let columns = table.schema().columns.iter().enumerate();
    let values = columns.map(|(index, column)| {
        let value = match positions.iter().position(|position| *position == index) {
            Some(source) => Expr::Column(given[source].clone()),
            None => stored::missing_value(context, column)?,
        };
        Ok(value.alias(&column.name))
    });
    let others = given.iter().skip(positions.len()).cloned();
    let values = values.chain(others.map(|column| Ok(Expr::Column(column))));
    let values = values.collect::<Result<Vec<_>>>()?;
    let plan = LogicalPlanBuilder::from(rows).project(values)?.build()?;
    Ok(crate::rules::analyse(context, plan)?)
}

/// VALUES with every DEFAULT replaced by what it stands for; a generated column takes nothing else.
fn with_default_values(
    context: &PlanContext,
    table: &Table,
    targets: &[usize],
    body: &Query,
    overriding: Overriding,
) -> Result<Query> {
    let mut body = body.clone();
    let columns = &table.schema().columns;
    let SetExpr::Values(values) = body.body.as_mut() else {
        return Ok(body);
    };
    for row in &mut values.rows {
        if row.content.len() > targets.len() {
            return Err(too_many_expressions());
        }
        for (value, target) in row.content.iter_mut().zip(targets) {
            if overriding == Overriding::User && is_identity(&columns[*target]) && is_default(value) {
                // The column gets its own number: this one would be lost.
                *value = stored::syntax("null")?;
            } else if is_default(value) {
                *value = default_syntax(context, &columns[*target])?;
            } else {
                check_may_be_given(&columns[*target], overriding)?;
            }
        }
    }
    Ok(body)
}

/// `VALUES ((SELECT …), 1)` as `SELECT (SELECT …), 1`: DataFusion computes VALUES before any subquery has run.
fn with_row_of_subqueries(body: &mut Query) -> Result<()> {
    let SetExpr::Values(values) = body.body.as_ref() else {
        return Ok(());
    };
    let [row] = values.rows.as_slice() else {
        return Ok(());
    };
    if !row.content.iter().any(has_subquery) {
        return Ok(());
    }
    let items = row.content.iter().cloned().map(ast::SelectItem::UnnamedExpr).collect();
    let mut select = template()?;
    let parts = change::body(&mut select)?;
    parts.projection = items;
    parts.from.clear();
    body.body = select.body;
    Ok(())
}

pub(super) fn has_subquery(value: &ast::Expr) -> bool {
    let found = walk::expressions(value, |inner| match inner {
        ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Whether it is the word `DEFAULT`.
pub(super) fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// The values of the first rows, as far as they show their types themselves.
fn check_values(scope: &Scope<'_>, table: &Table, targets: &[usize], body: &Query) -> Result<()> {
    let SetExpr::Values(values) = body.body.as_ref() else {
        return Ok(());
    };
    let relations = Relations::default();
    let mut assignments = checks::Assignments::new(scope.context, &relations, scope.text, "VALUES")?;
    for row in values.rows.iter().take(CHECKED_ROWS) {
        for (value, target) in row.content.iter().zip(targets) {
            assignments.check(value, &table.schema().columns[*target])?;
        }
    }
    Ok(())
}

fn too_many_expressions() -> Error {
    Error::new(
        ErrorKind::SyntaxError,
        "INSERT has more expressions than target columns",
    )
}

fn too_few_expressions() -> Error {
    Error::new(
        ErrorKind::SyntaxError,
        "INSERT has more target columns than expressions",
    )
}

pub(super) fn check_may_be_given(column: &Column, overriding: Overriding) -> Result<()> {
    let name = &column.name;
    let (detail, hint) = match &column.default {
        Some(ColumnDefault::Generated(_)) => (format!("Column \"{name}\" is a generated column."), None),
        Some(ColumnDefault::Identity(identity))
            if identity.kind == IdentityKind::Always && overriding == Overriding::None =>
        {
            (
                format!("Column \"{name}\" is an identity column defined as GENERATED ALWAYS."),
                Some("Use OVERRIDING SYSTEM VALUE to override."),
            )
        }
        _ => return Ok(()),
    };
    let message = format!("cannot insert a non-DEFAULT value into column \"{name}\"");
    let error = Error::new(ErrorKind::GeneratedAlways, message).with_detail(detail);
    Err(match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}

pub(super) fn default_syntax(context: &PlanContext, column: &Column) -> Result<ast::Expr> {
    match &column.default {
        Some(ColumnDefault::Expression(text)) => stored::syntax(text),
        Some(ColumnDefault::Identity(identity)) => {
            stored::syntax(&next_number(&context.snapshot, identity, &column.ty)?)
        }
        _ => stored::syntax("null"),
    }
}

fn refuse(insert: &Insert) -> Result<()> {
    for (present, what) in [
        (
            insert.or.is_some() || insert.ignore || insert.replace_into,
            "INSERT OR …",
        ),
        (
            insert.partitioned.is_some() || !insert.after_columns.is_empty(),
            "PARTITION in INSERT",
        ),
        (!insert.assignments.is_empty(), "INSERT … SET"),
        (insert.insert_alias.is_some(), "an alias of the row in INSERT"),
        (insert.output.is_some(), "OUTPUT"),
        (insert.priority.is_some(), "a priority in INSERT"),
        (
            insert.settings.is_some() || insert.format_clause.is_some(),
            "SETTINGS and FORMAT in INSERT",
        ),
        (insert.has_table_keyword && !insert.overwrite, "INSERT INTO TABLE"),
        (!insert.into && !insert.overwrite, "INSERT without INTO"),
        (
            insert.on.is_some() && insert.overwrite,
            "ON CONFLICT of INSERT OVERWRITE",
        ),
    ] {
        if present {
            return Err(Error::unsupported(format!("{what} is not supported")));
        }
    }
    Ok(())
}

fn column_name(table: &Table, name: &ast::ObjectName) -> Result<Ident> {
    let first = name.0.first().and_then(|part| part.as_ident());
    let first = first.ok_or_else(|| Error::new(ErrorKind::InvalidName, "invalid column name"))?;
    if name.0.len() == 1 {
        return Ok(first.clone());
    }
    let column = resolve::fold(first);
    Err(match table.schema().column(&column) {
        Some(_) => Error::unsupported("a subfield as the target of INSERT is not supported"),
        None => {
            let relation = &table.name().name;
            let message = format!("column \"{column}\" of relation \"{relation}\" does not exist");
            Error::new(ErrorKind::UndefinedColumn, message)
        }
    })
}

fn at_column(error: Error, listed: &[Ident], text: &str) -> Error {
    let Some(name) = error.message().split('"').nth(1) else {
        return error;
    };
    let position = listed
        .iter()
        .rfind(|ident| resolve::fold(ident) == name)
        .and_then(|ident| crate::parse::position_of(text, ident.span.start));
    match position {
        Some(position) => error.with_position(position),
        None => error,
    }
}

fn is_values(body: &Query) -> bool {
    matches!(body.body.as_ref(), SetExpr::Values(_))
}

/// A `$n` that stands alone in VALUES gets its column's type.
fn declared_by_columns(
    table: &Table,
    targets: &[usize],
    body: &Query,
    declared: &[Option<SqlType>],
) -> Vec<Option<SqlType>> {
    let mut types = declared.to_vec();
    let SetExpr::Values(values) = body.body.as_ref() else {
        return types;
    };
    for row in &values.rows {
        for (expression, target) in row.content.iter().zip(targets) {
            let Some(index) = parameter_index(expression).filter(|index| *index < crate::rewrite::PARAMETERS_MAX)
            else {
                continue;
            };
            if types.len() <= index {
                types.resize(index + 1, None);
            }
            if matches!(types[index], None | Some(SqlType::Unknown)) {
                types[index] = Some(match &table.schema().columns[*target].ty {
                    // The length is checked when the row is stored, with the column's own message.
                    SqlType::Varchar(_) | SqlType::Char(_) => SqlType::Text,
                    // As the numbers of other rows are, which are not declared so.
                    SqlType::Numeric { precision, scale, .. } => SqlType::Numeric {
                        precision: *precision,
                        scale: *scale,
                        digits: Digits::All,
                    },
                    other => other.plain().clone(),
                });
            }
        }
    }
    types
}

/// VALUES with every value of a column cast to the column's type, where strings and others stand together: PostgreSQL
/// gives each value its type from the column, not from the other rows.
fn typed_by_columns(table: &Table, targets: &[usize], body: &Query) -> Option<Box<Query>> {
    let SetExpr::Values(values) = body.body.as_ref() else {
        return None;
    };
    let is_string = |value: &ast::Expr| matches!(value, ast::Expr::Value(value) if matches!(value.value, ast::Value::SingleQuotedString(_)));
    let is_null = |value: &ast::Expr| matches!(value, ast::Expr::Value(value) if value.value == ast::Value::Null);
    let mixed: Vec<(usize, ast::DataType)> = targets
        .iter()
        .enumerate()
        .filter(|(index, _)| {
            let cells = || values.rows.iter().filter_map(|row| row.content.get(*index));
            cells().any(is_string) && cells().any(|cell| !is_string(cell) && !is_null(cell))
        })
        .filter_map(|(index, target)| Some((index, cast_type(&table.schema().columns[*target].ty)?)))
        .collect();
    if mixed.is_empty() {
        return None;
    }
    let mut typed = Box::new(body.clone());
    if let SetExpr::Values(values) = typed.body.as_mut() {
        for row in &mut values.rows {
            for (index, data_type) in &mixed {
                if let Some(cell) = row.content.get_mut(*index) {
                    *cell = ast::Expr::Cast {
                        kind: ast::CastKind::Cast,
                        expr: Box::new(cell.clone()),
                        data_type: data_type.clone(),
                        array: false,
                        format: None,
                    };
                }
            }
        }
    }
    Some(typed)
}

/// The name of a type without its modifiers, whose meaning on storing is another than in a cast.
fn cast_type(ty: &SqlType) -> Option<ast::DataType> {
    let name = match ty {
        SqlType::Varchar(_) | SqlType::Char(_) => "text".to_string(),
        SqlType::Numeric { .. } => "numeric".to_string(),
        SqlType::Struct(_) | SqlType::Unknown => return None,
        other => other.plain().to_string(),
    };
    let mut parser = Parser::new(&crate::parse::DIALECT).try_with_sql(&name).ok()?;
    parser.parse_data_type().ok()
}

/// Orders and casts the source's columns for the table.
fn assigned(
    scope: &Scope<'_>,
    table: &Table,
    targets: &[usize],
    all_columns: bool,
    source: QueryPlan,
    values: bool,
    placed: &dyn Fn(usize, Error) -> Error,
) -> Result<QueryPlan> {
    let (context, overriding) = (scope.context, scope.overriding);
    let given = source.logical.schema().columns();
    if given.len() > targets.len() {
        return Err(too_many_expressions());
    }
    if given.len() < targets.len() && !all_columns {
        return Err(too_few_expressions());
    }
    if !values {
        for target in targets.iter().take(given.len()) {
            check_may_be_given(&table.schema().columns[*target], overriding)?;
        }
    }
    let by_target: HashMap<usize, usize> = targets
        .iter()
        .take(given.len())
        .enumerate()
        .map(|(source, target)| (*target, source))
        .collect();
    let literal = literal_columns(&source.logical);
    let mut projected = Vec::with_capacity(table.schema().columns.len());
    for (index, column) in table.schema().columns.iter().enumerate() {
        let field = Arc::new(arrow_field(&column.name, &column.ty, true, &context.time_zone));
        let expression = match by_target.get(&index) {
            None => stored::missing_value(context, column)?,
            Some(from) => {
                let actual = source.logical.schema().field(*from);
                let untyped = values || literal.get(*from).copied().unwrap_or(false);
                check_assignable(&column.name, &column.ty, actual, untyped).map_err(|error| placed(*from, error))?;
                if overriding == Overriding::User && is_identity(column) {
                    projected.push(stored::missing_value(context, column)?.alias(&column.name));
                    continue;
                }
                Expr::Cast(Cast::new_from_field(
                    Box::new(Expr::Column(given[*from].clone())),
                    field,
                ))
            }
        };
        projected.push(expression.alias(&column.name));
    }
    let plan = LogicalPlanBuilder::from(source.logical).project(projected)?.build()?;
    let logical = crate::rules::analyse(context, plan)?;
    Ok(QueryPlan {
        logical,
        parameters: source.parameters,
        columns: Vec::new(),
        generic: Generic::default(),
    })
}

pub(super) fn is_identity(column: &Column) -> bool {
    matches!(&column.default, Some(ColumnDefault::Identity(identity)) if identity.kind != IdentityKind::Serial)
}

/// The source of CREATE TABLE AS: names and types as the table gets them.
pub(crate) fn as_stored(
    context: &PlanContext,
    plan: LogicalPlan,
    columns: &[(String, SqlType)],
) -> Result<LogicalPlan> {
    let given = plan.schema().columns();
    let projected: Vec<Expr> = given
        .into_iter()
        .zip(columns)
        .map(|(column, (name, ty))| {
            let field = Arc::new(arrow_field(name, ty, true, &context.time_zone));
            Expr::Cast(Cast::new_from_field(Box::new(Expr::Column(column)), field)).alias(name)
        })
        .collect();
    let plan = LogicalPlanBuilder::from(plan).project(projected)?.build()?;
    Ok(crate::rules::analyse(context, plan)?)
}

/// Columns that are a literal in the query's own select list: `'2024-01-01'` there has no type yet.
pub(crate) fn literal_columns(plan: &LogicalPlan) -> Vec<bool> {
    fn is_literal(expression: &Expr) -> bool {
        match expression {
            Expr::Literal(..) => true,
            Expr::Alias(alias) => is_literal(&alias.expr),
            _ => false,
        }
    }
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().map(is_literal).collect(),
        _ => Vec::new(),
    }
}

/// PostgreSQL casts on assignment only between types that belong together.
pub(crate) fn check_assignable(
    name: &str,
    ty: &SqlType,
    actual: &arrow::datatypes::Field,
    untyped: bool,
) -> Result<()> {
    if actual.data_type() == &DataType::Null {
        return Ok(());
    }
    let from = sql_type(actual);
    let assignable = match (family(&from), family(ty)) {
        (a, b) if a == b => true,
        (_, Family::Text) => !matches!(family(&from), Family::Bytes),
        (Family::Text, _) => untyped,
        (Family::Date, Family::Timestamp) | (Family::Timestamp, Family::Date | Family::Time) => true,
        (Family::Interval, Family::Time) | (Family::Time, Family::Interval) => true,
        _ => false,
    };
    if assignable {
        return Ok(());
    }
    let (ty, from) = (checks::type_called(ty), checks::type_called(&from));
    let message = format!("column \"{name}\" is of type {ty} but expression is of type {from}");
    Err(Error::new(ErrorKind::DatatypeMismatch, message).with_hint("You will need to rewrite or cast the expression."))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Boolean,
    Number,
    Text,
    Json,
    Bytes,
    Date,
    Time,
    Timestamp,
    Interval,
    Uuid,
    Array,
    Struct,
}

fn family(ty: &SqlType) -> Family {
    match ty {
        SqlType::Boolean => Family::Boolean,
        SqlType::SmallInt
        | SqlType::Integer
        | SqlType::BigInt
        | SqlType::Real
        | SqlType::Double
        | SqlType::Numeric { .. } => Family::Number,
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Unknown => Family::Text,
        SqlType::Json | SqlType::Jsonb => Family::Json,
        SqlType::System(ty) => match ty.storage() {
            SystemStorage::Number => Family::Number,
            SystemStorage::Text => Family::Text,
            SystemStorage::SmallInts | SystemStorage::Oids => Family::Array,
        },
        SqlType::Bytea => Family::Bytes,
        SqlType::Date => Family::Date,
        SqlType::Time => Family::Time,
        SqlType::Timestamp | SqlType::TimestampTz => Family::Timestamp,
        SqlType::Interval => Family::Interval,
        SqlType::Rounded(plain, _) => family(plain),
        SqlType::Uuid => Family::Uuid,
        SqlType::Array(_) => Family::Array,
        SqlType::Struct(_) => Family::Struct,
    }
}
