//! `array(query)` as a subquery with an aggregate.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, ExprSchema, Result as DataFusionResult};
use datafusion::functions_nested::expr_fn::array_slice;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, FetchType, LogicalPlan, LogicalPlanBuilder, SkipType, Subquery, lit,
};
use datafusion::scalar::ScalarValue;

use super::VALUE;
use super::scope::subquery;
use crate::function::{array_agg, typed};
use crate::types::sql_type;

/// `array(query)`: its values in its order; none is an empty array, not null.
pub(super) fn array_of(rows: &Subquery) -> DataFusionResult<Expr> {
    let query = rows.subquery.as_ref();
    if let Some(list) = whole_list(query)? {
        return filled(list);
    }
    let column = |plan: &LogicalPlan| Expr::Column(Column::from(plan.schema().qualified_field(0)));
    // The order is that of a Sort on top, below a projection that drops columns used for sorting alone, or below a Limit.
    let (input, value, order) = match query {
        LogicalPlan::Sort(sort) => (sort.input.as_ref(), column(&sort.input), sort.expr.clone()),
        LogicalPlan::Projection(projection) => match (projection.input.as_ref(), projection.expr.as_slice()) {
            (LogicalPlan::Sort(sort), [value]) => (sort.input.as_ref(), value.clone().unalias(), sort.expr.clone()),
            _ => (query, column(query), Vec::new()),
        },
        LogicalPlan::Limit(limit) => match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => (query, column(query), sort.expr.clone()),
            LogicalPlan::Projection(projection) => match (projection.input.as_ref(), projection.expr.as_slice()) {
                (LogicalPlan::Sort(sort), [value]) => {
                    // The limit goes below the projection: the values to sort by are still there.
                    let mut below = limit.clone();
                    below.input = Arc::new(LogicalPlan::Sort(sort.clone()));
                    return aggregated(LogicalPlan::Limit(below), value.clone().unalias(), sort.expr.clone());
                }
                _ => (query, column(query), Vec::new()),
            },
            _ => (query, column(query), Vec::new()),
        },
        _ => (query, column(query), Vec::new()),
    };
    aggregated(input.clone(), value, order)
}

fn aggregated(input: LogicalPlan, value: Expr, order: Vec<Sort>) -> DataFusionResult<Expr> {
    let list = array_agg().call(vec![value]);
    let list = match order.is_empty() {
        true => list,
        false => list.order_by(order).build()?,
    };
    let plan = LogicalPlanBuilder::from(input).aggregate(Vec::<Expr>::new(), [list.alias(VALUE)])?;
    filled(plan.build()?)
}

/// `array(select unnest(list))`, also with a LIMIT: the list, whose order stays what it is.
fn whole_list(query: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    if let LogicalPlan::Limit(limit) = query {
        let (SkipType::Literal(0), FetchType::Literal(Some(most))) = (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Ok(None);
        };
        let Some(whole) = whole_list(&limit.input)? else {
            return Ok(None);
        };
        let most = lit(i64::try_from(most).unwrap_or(i64::MAX));
        let first = array_slice(Expr::Column(Column::from_name(VALUE)), lit(1_i64), most, None);
        let plan = LogicalPlanBuilder::from(whole).project([first.alias(VALUE)])?;
        return plan.build().map(Some);
    }
    let LogicalPlan::Projection(shown) = query else {
        return Ok(None);
    };
    let LogicalPlan::Unnest(unnest) = shown.input.as_ref() else {
        return Ok(None);
    };
    let LogicalPlan::Projection(lists) = unnest.input.as_ref() else {
        return Ok(None);
    };
    let ([value], [(_, unnested)], [list]) = (
        shown.expr.as_slice(),
        unnest.list_type_columns.as_slice(),
        lists.expr.as_slice(),
    ) else {
        return Ok(None);
    };
    let is_shown = value.clone().unalias_nested().data == Expr::Column(unnested.output_column.clone());
    let is_flat = matches!(lists.schema.field(0).data_type(),
        DataType::List(element) if !matches!(element.data_type(), DataType::List(_)));
    let is_alone = matches!(lists.input.as_ref(), LogicalPlan::EmptyRelation(one) if one.produce_one_row);
    if !(is_shown && is_flat && is_alone && unnested.depth == 1) {
        return Ok(None);
    }
    let plan = LogicalPlanBuilder::from(lists.input.as_ref().clone()).project([list
        .clone()
        .unalias_nested()
        .data
        .alias(VALUE)])?;
    plan.build().map(Some)
}

/// The array that is the one column of a query; an empty one where it is NULL.
fn filled(plan: LogicalPlan) -> DataFusionResult<Expr> {
    let list = Column::from_name(VALUE);
    let field = Arc::clone(plan.schema().field_from_column(&list)?);
    let empty = ScalarValue::new_default(field.data_type())?;
    let mut list = datafusion::functions::expr_fn::coalesce(vec![Expr::Column(list), lit(empty)]);
    if !field.metadata().is_empty() {
        list = typed(list, sql_type(&field));
    }
    let plan = LogicalPlanBuilder::from(plan).project([list.alias(VALUE)])?.build()?;
    Ok(Expr::ScalarSubquery(subquery(plan)))
}
