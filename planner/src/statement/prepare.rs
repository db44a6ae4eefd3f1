//! `PREPARE`, `EXECUTE`.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Cast, ColumnarValue, Expr as LogicalExpr, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident};
use staffa_catalog::SqlType;

use crate::checks;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ParsedStatement;
use crate::resolve::{Provider, Relations, at_name, fold};
use crate::rewrite;
use crate::statement::Plan;
use crate::statement::dml::{check_assignable, has_subquery};
use crate::statement::query::Scope;
use crate::type_planner::{BARE_NUMERIC, sql_type_of_ast};
use crate::types::{arrow_field, sql_type};

pub(crate) fn prepare(
    scope: &Scope<'_>,
    name: &Ident,
    types: &[DataType],
    statement: &ParsedStatement,
) -> Result<Plan> {
    let located = |error: Error, ty: &DataType| match ty {
        DataType::Custom(name, _) => at_name(error, name, scope.text),
        _ => error,
    };
    let types = types.iter().map(|ty| {
        let named = sql_type_of_ast(ty).map_err(|error| located(error, ty))?;
        Ok(without_modifier(named))
    });
    let types = types.collect::<Result<Vec<_>>>()?;
    Ok(Plan::Prepare {
        name: fold(name),
        types,
        statement: Box::new(statement.clone()),
    })
}

/// Types of parameters have no modifiers, whatever is written.
fn without_modifier(ty: SqlType) -> SqlType {
    match ty {
        SqlType::Numeric { .. } => BARE_NUMERIC,
        SqlType::Varchar(_) => SqlType::Varchar(None),
        // Without a length, `char` is `text` here.
        SqlType::Char(_) => SqlType::Text,
        other => other.plain().clone(),
    }
}

/// The arguments are evaluated here: they may not refer to any table.
pub(crate) async fn execute(scope: &Scope<'_>, name: &Ident, arguments: &[Expr]) -> Result<Plan> {
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        if rewrite::asks_catalog(scope.context, argument) {
            scope.context.load_catalog().await?;
        }
        values.push(evaluate(scope, argument.clone())?);
    }
    Ok(Plan::Execute {
        name: fold(name),
        arguments: values,
        places: arguments
            .iter()
            .map(|argument| checks::position(argument, scope.text))
            .collect(),
    })
}

/// The argument of a number, counted from 1, of `EXECUTE` as a value of the parameter's type: as an assignment casts, and a
/// text is read as `'…'::type` is.
///
/// # Errors
/// `DatatypeMismatch` where no assignment casts so, and what reading a text or casting may end with.
pub fn argument(context: &PlanContext, number: usize, value: ScalarValue, ty: &SqlType) -> Result<ScalarValue> {
    if value.is_null() {
        return Ok(value);
    }
    let field = Field::new("", value.data_type(), true);
    let from = sql_type(&field);
    if from == *ty || matches!(ty, SqlType::Unknown) {
        return Ok(value);
    }
    check_assignable("", ty, &field, true).map_err(|error| {
        let message = format!("parameter ${number} of type {from} cannot be coerced to the expected type {ty}");
        Error::new(error.kind(), message).with_hint("You will need to rewrite or cast the expression.")
    })?;
    let field = Arc::new(arrow_field("", ty, true, &context.time_zone));
    let cast = Cast::new_from_field(Box::new(LogicalExpr::Literal(value, None)), field);
    constant(context, LogicalExpr::Cast(cast), Error::from)
}

fn evaluate(scope: &Scope<'_>, mut expression: Expr) -> Result<ScalarValue> {
    let context = scope.context;
    if has_subquery(&expression) {
        return Err(Error::unsupported("cannot use subquery in EXECUTE parameter"));
    }
    rewrite::expression(context, &mut expression)?;
    let provider = Provider::new(context, Relations::default());
    let options = ParserOptions::from(&context.session.config_options().sql_parser);
    let planner = SqlToRel::new_with_options(&provider, options);
    let located = |error| Error::from_planning(error, scope.text);
    let expression = planner
        .sql_to_expr(expression, &DFSchema::empty(), &mut PlannerContext::new())
        .map_err(&located)?;
    expression.apply(|inner| {
        Err(DataFusionError::from(match inner {
            LogicalExpr::AggregateFunction(_) => Error::new(
                ErrorKind::GroupingError,
                "aggregate functions are not allowed in EXECUTE parameters",
            ),
            LogicalExpr::WindowFunction(_) => Error::new(
                ErrorKind::WindowingError,
                "window functions are not allowed in EXECUTE parameters",
            ),
            LogicalExpr::Unnest(_) => {
                Error::unsupported("set-returning functions are not allowed in EXECUTE parameters")
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        }))
    })?;
    constant(context, expression, located)
}

fn constant(
    context: &PlanContext,
    expression: LogicalExpr,
    located: impl Fn(DataFusionError) -> Error,
) -> Result<ScalarValue> {
    // As the one column of a plan, so that types and session functions are settled as in a query.
    let plan = LogicalPlanBuilder::empty(true)
        .project([expression.alias("value")])?
        .build()
        .map_err(&located)?;
    if let Some(parameter) = plan.get_parameter_names()?.into_iter().next() {
        let message = format!("there is no parameter {parameter}");
        return Err(Error::new(ErrorKind::UndefinedParameter, message));
    }
    let plan = crate::rules::analyse(context, plan).map_err(&located)?;
    let plan = crate::function::with_session_facts(context, plan)?;
    let expression = plan
        .expressions()
        .into_iter()
        .next()
        .ok_or_else(|| Error::internal("a projection of nothing"))?;
    let simplify = SimplifyContext::builder()
        .with_config_options(Arc::clone(context.session.config_options()))
        .with_query_execution_start_time(Some(context.transaction_time))
        .build();
    let expression = ExprSimplifier::new(simplify).simplify(expression)?;
    let physical = context.session.create_physical_expr(expression, &DFSchema::empty())?;
    let batch = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    match physical.evaluate(&batch)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => Ok(ScalarValue::try_from_array(&array, 0)?),
    }
}
