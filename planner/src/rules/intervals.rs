//! Intervals compare by their length: a month counts 30 days, a day 24 hours.
//!
//! | before | DataFusion would | after |
//! |---|---|---|
//! | `i = interval '30 days'` | compare months, days and time one by one | `interval_length(i) = interval_length('30 days')` |
//! | `i in (…)`, `i between …` | the same, or refuse a literal | the same on lengths |
//! | `order by i`, also of windows, `join … using (i)` | the same | by `interval_length(i)` |
//! | `group by i`, `distinct` | the same | by `interval_length(i)`, each group showing its first value |
//! | `max(i)`, `min(i)` | the same | `first_value(i order by interval_length(i))` |
//!
//! And literals of IN and BETWEEN take the type of what they are compared with where DataFusion finds none (`uuid`,
//! `interval`). Binary operators with literals have been settled while the text was planned (`operators.rs`).
//!
//! Must run before type coercion, which refuses some of these. Lengths are numbers, so a second run finds nothing to do.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, InList, Sort as SortKey};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Sort, WindowFunctionDefinition};

use super::groups::{self, Keyed};
use super::map_expressions;
use staffa_catalog::SqlType;

use crate::context::PlanContext;
use crate::error::Error;
use crate::function::interval_length;
use crate::operators::{is_comparison, takes_literals, typed_literal};

pub(super) fn by_length(context: &PlanContext, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let zone = &context.time_zone;
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Sort(sort) => sorted(sort, zone),
        plan => {
            let plan = map_expressions(plan, |expression, schema| rewrite(expression, schema, zone))?;
            let changed = plan.transformed;
            let mut plan = groups::by_keys(joined(plan.data), &GROUPS)?;
            plan.transformed |= changed;
            Ok(plan)
        }
    })
    .data()
}

const GROUPS: Keyed = Keyed {
    ty: SqlType::Interval,
    key: interval_length,
    shown: |first| first,
};

/// Intervals that joins go by.
fn joined(plan: LogicalPlan) -> LogicalPlan {
    let LogicalPlan::Join(mut join) = plan else {
        return plan;
    };
    for (left, right) in &mut join.on {
        if is_interval(left, join.left.schema()) && is_interval(right, join.right.schema()) {
            *left = interval_length(std::mem::take(left));
            *right = interval_length(std::mem::take(right));
        }
    }
    LogicalPlan::Join(join)
}

fn sorted(sort: Sort, zone: &str) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = merge_schema(&[&sort.input]);
    let transformed = map_expressions(LogicalPlan::Sort(sort), |expression, schema| {
        rewrite(expression, schema, zone)
    })?;
    transformed.transform_data(|plan| {
        let LogicalPlan::Sort(mut sort) = plan else {
            return Ok(Transformed::no(plan));
        };
        let mut changed = false;
        for key in &mut sort.expr {
            changed |= by_length_key(key, &schema);
        }
        Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
    })
}

fn by_length_key(key: &mut SortKey, schema: &DFSchema) -> bool {
    let interval = is_interval(&key.expr, schema);
    if interval {
        let inner = std::mem::replace(
            &mut key.expr,
            Expr::Literal(datafusion::scalar::ScalarValue::Null, None),
        );
        key.expr = interval_length(inner);
    }
    interval
}

fn rewrite(expression: Expr, schema: &DFSchema, zone: &str) -> DataFusionResult<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let intervals = is_interval(&left, schema) || is_interval(&right, schema);
            let (left, right) = if intervals {
                (Box::new(interval_length(*left)), Box::new(interval_length(*right)))
            } else {
                (left, right)
            };
            let compared = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Ok(Transformed::new_transformed(compared, intervals))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let Some(ty) = expr.get_type(schema).ok().filter(takes_literals) else {
                return Ok(Transformed::no(Expr::InList(InList { expr, list, negated })));
            };
            let interval = matches!(ty, DataType::Interval(_));
            let list = list.into_iter().map(|item| typed_literal(item, &ty, zone));
            let list: Vec<Expr> = if interval {
                list.map(interval_length).collect()
            } else {
                list.collect()
            };
            let expr = if interval {
                Box::new(interval_length(*expr))
            } else {
                expr
            };
            Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let Some(ty) = expr.get_type(schema).ok().filter(takes_literals) else {
                return Ok(Transformed::no(Expr::Between(Between {
                    expr,
                    negated,
                    low,
                    high,
                })));
            };
            let interval = matches!(ty, DataType::Interval(_));
            let bound = |bound: Expr| {
                let bound = typed_literal(bound, &ty, zone);
                Box::new(if interval { interval_length(bound) } else { bound })
            };
            let (low, high) = (bound(*low), bound(*high));
            let expr = if interval {
                Box::new(interval_length(*expr))
            } else {
                expr
            };
            Ok(Transformed::yes(Expr::Between(Between {
                expr,
                negated,
                low,
                high,
            })))
        }
        Expr::AggregateFunction(function) if matches!(function.func.name(), "max" | "min") => extreme(function, schema),
        // Distinct lengths are what is counted.
        Expr::AggregateFunction(mut function)
            if function.func.name() == "count"
                && function.params.distinct
                && function.params.args.iter().any(|arg| is_interval(arg, schema)) =>
        {
            for argument in &mut function.params.args {
                if is_interval(argument, schema) {
                    *argument = interval_length(argument.clone());
                }
            }
            Ok(Transformed::yes(Expr::AggregateFunction(function)))
        }
        Expr::WindowFunction(function)
            if matches!(&function.fun, WindowFunctionDefinition::AggregateUDF(udf) if matches!(udf.name(), "max" | "min"))
                && function.params.args.first().is_some_and(|arg| is_interval(arg, schema)) =>
        {
            Err(Error::unsupported("max() and min() of intervals as window functions are not supported").into())
        }
        Expr::WindowFunction(mut function) => {
            let mut changed = false;
            for key in &mut function.params.order_by {
                changed |= by_length_key(key, schema);
            }
            for key in &mut function.params.partition_by {
                if is_interval(key, schema) {
                    *key = interval_length(std::mem::take(key));
                    changed = true;
                }
            }
            Ok(Transformed::new_transformed(Expr::WindowFunction(function), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn extreme(function: AggregateFunction, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let [argument] = function.params.args.as_slice() else {
        return Ok(Transformed::no(Expr::AggregateFunction(function)));
    };
    if !is_interval(argument, schema) {
        return Ok(Transformed::no(Expr::AggregateFunction(function)));
    }
    let largest = function.func.name() == "max";
    let key = interval_length(argument.clone()).sort(!largest, false);
    Ok(Transformed::yes(Expr::AggregateFunction(AggregateFunction {
        func: first_value_udaf(),
        params: AggregateFunctionParams {
            args: vec![argument.clone()],
            distinct: false,
            filter: function.params.filter.clone(),
            order_by: vec![key],
            null_treatment: None,
        },
    })))
}

fn is_interval(expression: &Expr, schema: &DFSchema) -> bool {
    matches!(expression.get_type(schema), Ok(DataType::Interval(_)))
}
