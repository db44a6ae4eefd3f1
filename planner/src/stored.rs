//! Expressions a table keeps as SQL text: defaults, generated columns, CHECK constraints, indexes.
//!
//! They are planned anew at every write, over the columns of the row, so they mean what their text means now.

mod constraint;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column as DataFusionColumn, DFSchema, TableReference};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Ident, Query, SelectItem, SetExpr, Visitor, VisitorMut};
use staffa_catalog::{Column, ColumnDefault, ConstraintKind, SqlType, Table, quote_identifier};

use self::constraint::ConstraintCheck;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::function::{is_volatile_session_function, next_number, with_session_facts};
use crate::lazy::lazy;
use crate::parse::{Ast, parse_one};
use crate::physical::statement_state;
use crate::resolve::{Relations, fold};
use crate::rewrite;
use crate::rules;
use crate::rules::numbers::computed_by;
use crate::statement::dml::check_assignable;
use crate::statement::query::{self, Scope};
use crate::types::arrow_field;
use crate::walk::{Visit, VisitMut};
use crate::write::{ColumnCheck, SHOWN_COLUMNS_MAX, copy_place};

/// What a stored expression is for; its name in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Default,
    Generated,
    Check,
    IndexExpression,
    IndexPredicate,
    /// What a masking policy shows.
    Mask,
    /// What `ALTER COLUMN … TYPE` makes of the values that are there.
    Transform,
}

impl Role {
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Role::Default => "DEFAULT expression",
            Role::Generated => "column generation expression",
            Role::Check => "check constraint",
            Role::IndexExpression => "index expression",
            Role::IndexPredicate => "index predicate",
            Role::Mask => "masking policy",
            Role::Transform => "transform expression",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Role::Default => "DEFAULT expressions",
            Role::Generated => "column generation expressions",
            Role::Check => "check constraints",
            Role::IndexExpression => "index expressions",
            Role::IndexPredicate => "index predicates",
            Role::Mask => "masking policies",
            Role::Transform => "transform expressions",
        }
    }
}

/// Gets the system catalogs ready, if an expression of the table answers from them.
pub(crate) async fn load_catalog(context: &PlanContext, table: &Table) -> Result<()> {
    let values = table
        .schema()
        .columns
        .iter()
        .filter_map(|column| match &column.default {
            Some(ColumnDefault::Expression(text) | ColumnDefault::Generated(text)) => Some(text),
            Some(ColumnDefault::Identity(_)) | None => None,
        });
    let checks = table
        .constraints()
        .iter()
        .filter_map(|constraint| match &constraint.kind {
            ConstraintKind::Check { expression, .. } => Some(expression),
            _ => None,
        });
    for text in values.chain(checks) {
        let mut expression = syntax(text)?;
        // Only then are names of sequences without a cast to `regclass`. What is wrong is said where the value is needed.
        if rewrite::expression(context, &mut expression).is_ok() && rewrite::asks_catalog(context, &expression) {
            return context.load_catalog().await;
        }
    }
    Ok(())
}

/// The value of a column in a row that gives it none, in the column's type. A generated column is null until
/// [`with_generated`] fills it.
pub(crate) fn missing_value(context: &PlanContext, column: &Column) -> Result<Expr> {
    match &column.default {
        Some(ColumnDefault::Expression(text)) => default_value(context, &column.name, &column.ty, text),
        Some(ColumnDefault::Identity(identity)) => default_value(
            context,
            &column.name,
            &column.ty,
            &next_number(&context.snapshot, identity, &column.ty)?,
        ),
        Some(ColumnDefault::Generated(_)) | None => {
            let field = arrow_field(&column.name, &column.ty, true, &context.time_zone);
            Ok(Expr::Literal(ScalarValue::try_new_null(field.data_type())?, None))
        }
    }
}

/// A DEFAULT expression, cast to its column's type.
pub(crate) fn default_value(context: &PlanContext, column: &str, ty: &SqlType, text: &str) -> Result<Expr> {
    let expression = plan(context, Role::Default, text, "", &[])?;
    assigned(context, Role::Default, column, ty, expression, &DFSchema::empty())
}

/// A condition or a generated value over the columns of a row, which are found by their names alone.
pub(crate) fn over_row(
    context: &PlanContext,
    role: Role,
    text: &str,
    relation: &str,
    columns: &[Column],
) -> Result<Expr> {
    let (names, columns): (Vec<_>, Vec<_>) = columns
        .iter()
        .map(|c| (c.name.clone(), (c.name.clone(), c.ty.clone())))
        .unzip();
    let text = text_of(&syntax(text)?, None, &names);
    plan(context, role, &text, relation, &columns)
}

/// The expression cast to its column's type, as an assignment casts.
pub(crate) fn assigned(
    context: &PlanContext,
    role: Role,
    column: &str,
    ty: &SqlType,
    expression: Expr,
    schema: &DFSchema,
) -> Result<Expr> {
    let (_, actual) = expression.to_field(schema)?;
    let untyped = matches!(expression, Expr::Literal(..));
    check_assignable(column, ty, &actual, untyped).map_err(|error| {
        let message = error.message().replace(
            "but expression",
            match role {
                Role::Default => "but default expression",
                _ => "but expression",
            },
        );
        Error::new(error.kind(), message).with_hint("You will need to rewrite or cast the expression.")
    })?;
    let field = Arc::new(arrow_field(column, ty, true, &context.time_zone));
    Ok(Expr::Cast(Cast::new_from_field(Box::new(expression), field)))
}

/// Plans a text over columns of a relation; with no columns, over nothing.
pub(crate) fn plan(
    context: &PlanContext,
    role: Role,
    text: &str,
    relation: &str,
    columns: &[(String, SqlType)],
) -> Result<Expr> {
    let from = match columns {
        [] => String::new(),
        _ => format!(" from {}", quote_identifier(relation)),
    };
    let sql = format!("select ({text}){from}");
    // A position would count from the start of a text the user has not sent.
    let told = |error: Error| {
        let kind = error.kind();
        if role == Role::Default && kind == ErrorKind::UndefinedColumn {
            return Error::unsupported("cannot use column reference in DEFAULT expression");
        }
        let told = Error::new(kind, error.message());
        match error.hint() {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    };
    let body = body_of(&sql).map_err(told)?;
    if has_subquery(&body) {
        let message = format!("cannot use subquery in {}", role.singular());
        return Err(Error::unsupported(message));
    }
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, ty)| arrow_field(name, ty, true, &context.time_zone))
        .collect();
    let mut relations = Relations::default();
    relations.sources.insert(
        TableReference::bare(relation),
        provider_as_source(Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))))),
    );
    let scope = Scope::new(context, &sql);
    let logical = query::over(&scope, &body, relations).map_err(told)?;
    let not_allowed = |kind, what: &str| {
        let message = format!("{what} functions are not allowed in {}", role.plural());
        Err(Error::new(kind, message))
    };
    let LogicalPlan::Projection(projection) = logical else {
        return not_allowed(ErrorKind::FeatureNotSupported, "set-returning");
    };
    match computed_by(projection.input.as_ref()) {
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => {}
        LogicalPlan::Aggregate(_) => return not_allowed(ErrorKind::GroupingError, "aggregate"),
        LogicalPlan::Window(_) => return not_allowed(ErrorKind::WindowingError, "window"),
        _ => return not_allowed(ErrorKind::FeatureNotSupported, "set-returning"),
    }
    let Some(expression) = projection.expr.first() else {
        return Err(Error::internal("an expression without a value"));
    };
    unqualified(expression.clone().unalias_nested().data)
}

/// Columns by their names alone: the row has one of each.
pub(crate) fn unqualified(expression: Expr) -> Result<Expr> {
    let bare = expression.transform(|expression| match expression {
        Expr::Column(column) if column.relation.is_some() => Ok(Transformed::yes(Expr::Column(
            DataFusionColumn::new_unqualified(column.name),
        ))),
        other => Ok(Transformed::no(other)),
    });
    Ok(bare.data()?)
}

pub(crate) fn body_of(sql: &str) -> Result<Query> {
    match parse_one(sql, 0)?.ast {
        Ast::Query(body) => Ok(*body),
        _ => Err(Error::internal("an expression that is a statement")),
    }
}

/// The syntax tree of a stored expression.
pub(crate) fn syntax(text: &str) -> Result<ast::Expr> {
    let body = body_of(&format!("select ({text})"))?;
    match *body.body {
        SetExpr::Select(select) => match select.projection.into_iter().next() {
            Some(SelectItem::UnnamedExpr(expression)) => Ok(expression),
            _ => Err(Error::internal("an expression with a name")),
        },
        _ => Err(Error::internal("an expression that is a set operation")),
    }
}

/// The text of an expression that names a table's columns without the table, which may get another name or be the
/// pattern of another table. Texts stored before may have the name of a table that is called otherwise now: they have no
/// `relation`, and what is no column is one.
pub(crate) fn text_of(expression: &ast::Expr, relation: Option<&str>, columns: &[String]) -> String {
    struct Strip<'a>(Option<&'a str>, &'a [String]);
    impl Strip<'_> {
        fn is_relation(&self, name: &String) -> bool {
            match self.0 {
                Some(relation) => name == relation,
                None => !self.1.contains(name),
            }
        }
    }
    impl VisitorMut for Strip<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
            if let ast::Expr::CompoundIdentifier(parts) = expression
                && let [first, second, ..] = parts.as_slice()
                && self.is_relation(&fold(first))
                && self.1.contains(&fold(second))
            {
                parts.remove(0);
                if let [only] = parts.as_slice() {
                    *expression = ast::Expr::Identifier(only.clone());
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut expression = expression.clone();
    let _ = VisitMut::visit(&mut expression, &mut Strip(relation, columns));
    expression.to_string()
}

/// Whether its value depends on more than its columns: the clock, a setting, chance.
pub(crate) fn depends_on_session(expression: &Expr) -> bool {
    let found = expression.exists(|expression| match expression {
        Expr::ScalarFunction(call) => Ok(call.func.signature().volatility != Volatility::Immutable),
        _ => Ok(false),
    });
    found.unwrap_or(true)
}

/// Whether an expression calls a function, also in a subquery, that gives another value each time.
pub(crate) fn has_volatile(context: &PlanContext, expression: &impl Visit) -> bool {
    struct Calls<'a>(&'a PlanContext);
    impl Visitor for Calls<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
            let ast::Expr::Function(call) = expression else {
                return ControlFlow::Continue(());
            };
            let name = call.name.0.last().and_then(|part| part.as_ident()).map(fold);
            let is_volatile = |name: &String| {
                let known = self.0.session.scalar_functions().get(name);
                let is_one = known.is_some_and(|known| known.signature().volatility == Volatility::Volatile);
                is_one || is_volatile_session_function(name)
            };
            match name.as_ref().is_some_and(is_volatile) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    expression.visit(&mut Calls(context)).is_break()
}

fn has_subquery(body: &Query) -> bool {
    struct Subqueries(usize);
    impl Visitor for Subqueries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }
    let mut found = Subqueries(0);
    let _ = body.visit(&mut found);
    found.0 > 1
}

/// Which of the columns an expression names, in their order.
pub(crate) fn columns_named(expression: &ast::Expr, columns: &[String]) -> Vec<String> {
    struct Names(Vec<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
            match expression {
                ast::Expr::Identifier(ident) => self.0.push(fold(ident)),
                ast::Expr::CompoundIdentifier(parts) => self.0.extend(parts.iter().map(fold)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(Vec::new());
    let _ = expression.visit(&mut names);
    columns
        .iter()
        .filter(|column| names.0.contains(column))
        .cloned()
        .collect()
}

/// The text of an expression after a column was renamed.
pub(crate) fn with_column_renamed(text: &str, from: &str, to: &str) -> Result<String> {
    struct Rename<'a> {
        from: &'a str,
        to: Ident,
    }
    impl VisitorMut for Rename<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
            match expression {
                ast::Expr::Identifier(ident) if fold(ident) == self.from => *ident = self.to.clone(),
                ast::Expr::CompoundIdentifier(parts) => {
                    // `c.field` or `table.c`
                    for part in parts.iter_mut().take(2).filter(|part| fold(part) == self.from) {
                        *part = self.to.clone();
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut expression = syntax(text)?;
    let to = Ident::with_quote('"', to);
    let _ = VisitMut::visit(&mut expression, &mut Rename { from, to });
    Ok(match expression {
        ast::Expr::Nested(inner) => inner.to_string(),
        other => other.to_string(),
    })
}

pub(crate) fn has_generated(table: &Table) -> bool {
    let is_generated = |column: &Column| matches!(column.default, Some(ColumnDefault::Generated(_)));
    table.schema().columns.iter().any(is_generated)
}

/// A plan of a table's rows with its generated columns filled in.
pub(crate) fn with_generated(context: &PlanContext, table: &Table, rows: LogicalPlan) -> Result<LogicalPlan> {
    if !has_generated(table) {
        return Ok(rows);
    }
    let columns = &table.schema().columns;
    let schema = Arc::clone(rows.schema());
    let values = columns.iter().map(|column| match &column.default {
        Some(ColumnDefault::Generated(text)) => {
            let value = over_row(context, Role::Generated, text, &table.name().name, columns)?;
            let value = assigned(context, Role::Generated, &column.name, &column.ty, value, &schema)?;
            let check = ColumnCheck::new(&table.name().name.as_str().into(), column).taking_nulls();
            let value = match check.is_needed() {
                true => ScalarUDF::from(check).call(vec![value]),
                false => value,
            };
            Ok(value.alias(&column.name))
        }
        _ => Ok(Expr::Column(DataFusionColumn::new_unqualified(&column.name))),
    });
    let values = values
        .chain(after_row(&schema, columns).map(Ok))
        .collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlanBuilder::from(rows).project(values)?.build()?)
}

/// A plan of the rows of a table with generated columns that fails at a NULL in a column which takes none: they are looked for
/// when the whole row is known, because the error shows it.
pub(crate) fn without_nulls(context: &PlanContext, table: &Table, rows: LogicalPlan) -> Result<LogicalPlan> {
    let columns = &table.schema().columns;
    if !has_generated(table) || columns.iter().all(|column| column.nullable) {
        return Ok(rows);
    }
    let relation: Arc<str> = table.name().name.as_str().into();
    let bare = |column: &Column| Expr::Column(DataFusionColumn::new_unqualified(&column.name));
    let shows = columns.len() <= SHOWN_COLUMNS_MAX && context.may_show_rows(table);
    let place = copy_place(rows.schema());
    let checked = |column: &Column| {
        if column.nullable {
            return bare(column);
        }
        let check = ColumnCheck::of_nulls(&relation, column).with_place(place.is_some());
        let row = columns.iter().filter(|_| shows).map(bare);
        let arguments = std::iter::once(bare(column)).chain(place.clone()).chain(row);
        ScalarUDF::from(check).call(arguments.collect()).alias(&column.name)
    };
    let others: Vec<Expr> = after_row(rows.schema(), columns).collect();
    let values: Vec<Expr> = columns.iter().map(checked).chain(others).collect();
    Ok(LogicalPlanBuilder::from(rows).project(values)?.build()?)
}

/// The columns behind those of the table's row, which are other relations'.
fn after_row<'a>(schema: &'a DFSchema, columns: &[Column]) -> impl Iterator<Item = Expr> + 'a {
    let all = schema.columns().into_iter();
    all.skip(columns.len()).map(Expr::Column)
}

/// A plan of a table's rows that fails at a row which breaks a CHECK constraint.
pub(crate) fn with_checks(context: &PlanContext, table: &Table, rows: LogicalPlan) -> Result<LogicalPlan> {
    let columns = &table.schema().columns;
    let mut checks: Vec<_> = table
        .constraints()
        .iter()
        .filter_map(|constraint| match &constraint.kind {
            ConstraintKind::Check { expression, .. } => Some((&constraint.name, expression)),
            _ => None,
        })
        .collect();
    let Some(first) = columns.first().filter(|_| !checks.is_empty()) else {
        return Ok(rows);
    };
    // PostgreSQL checks them in the order of their names.
    checks.sort();
    let bare = |column: &Column| Expr::Column(DataFusionColumn::new_unqualified(&column.name));
    let shows = context.may_show_rows(table);
    let place = copy_place(rows.schema());
    let mut checked = bare(first);
    for (name, text) in checks {
        let condition = over_row(context, Role::Check, text, &table.name().name, columns)?;
        let check = ConstraintCheck::new(&table.name().name, name, place.is_some());
        let row = columns.iter().filter(|_| shows).map(bare);
        let arguments = [checked, condition].into_iter().chain(place.clone()).chain(row);
        checked = ScalarUDF::from(check).call(arguments.collect());
    }
    let others: Vec<Expr> = after_row(rows.schema(), columns).collect();
    let values = std::iter::once(checked.alias(&first.name)).chain(columns.iter().skip(1).map(bare));
    let values = values.chain(others);
    Ok(LogicalPlanBuilder::from(rows).project(values)?.build()?)
}

/// Operators of a table's rows, with generated columns filled in and CHECK constraints checked: for rows whose plan has
/// more columns than the table's until an operator of ours takes them off.
pub(crate) fn over_operators(
    context: &PlanContext,
    table: &Table,
    rows: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scan = provider_as_source(Arc::new(EmptyTable::new(rows.schema())));
    let plan = LogicalPlanBuilder::scan("\u{1}row", scan, None)?.build()?;
    let plan = without_nulls(context, table, with_generated(context, table, plan)?)?;
    let plan = with_checks(context, table, plan)?;
    if matches!(plan, LogicalPlan::TableScan(_)) {
        return Ok(rows);
    }
    let plan = with_session_facts(context, rules::analyse(context, plan)?)?;
    projected(&statement_state(context), &plan, rows)
}

fn projected(state: &SessionState, plan: &LogicalPlan, rows: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let projection = match plan {
        LogicalPlan::TableScan(_) => return Ok(rows),
        LogicalPlan::Projection(projection) => projection,
        _ => return Err(Error::internal("the rules of a table are more than projections")),
    };
    let rows = projected(state, &projection.input, rows)?;
    let mut values = Vec::with_capacity(projection.expr.len());
    for (expression, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let value = state.create_physical_expr(expression.clone(), projection.input.schema())?;
        // No rule of the optimiser comes here.
        values.push((lazy(&value)?.data, field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(values, rows)?))
}
