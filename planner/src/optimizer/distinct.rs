//! Arguments that count once are grouped first.
//!
//! ```text
//! before  Aggregate(key; count(distinct x), sum(a), count(b))
//! after   Project(key, n, s, c; Aggregate(key; count(x) as n, sum(s) as s, sum(c) as c;
//!             Aggregate(key, x; sum(a) as s, count(b) as c)))
//! ```
//!
//! In the place of DataFusion's rule of that name, which knows no counts beside them, and gives sums another type: a sum of
//! numerics has more digits than its argument.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Cast, Expr, ExprSchemable, LogicalPlan, Projection, lit, when,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Of more, the first grouping would hold far more than the values that count once.
const OTHERS_MAX: usize = 8;

const ARGUMENT: &str = "staffa distinct";

#[derive(Debug)]
pub(super) struct DistinctFirst;

impl OptimizerRule for DistinctFirst {
    fn name(&self) -> &str {
        "single_distinct_aggregation_to_group_by"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else {
            return Ok(Transformed::no(plan));
        };
        match Calls::of(&aggregate) {
            Some(calls) => divided(&aggregate, calls).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
        }
    }
}

/// The calls of an aggregate.
struct Calls<'a> {
    calls: Vec<Call<'a>>,
    /// What counts once: the same in all that have DISTINCT.
    argument: &'a Expr,
}

struct Call<'a> {
    call: &'a AggregateFunction,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Distinct,
    Count,
    /// What it makes of its own results is the result of all rows.
    OfItself,
}

impl<'a> Calls<'a> {
    /// None where the aggregate stays as it is.
    fn of(aggregate: &'a Aggregate) -> Option<Self> {
        if matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_))) {
            return None;
        }
        let calls = aggregate.aggr_expr.iter().map(Call::of);
        let calls = calls.collect::<Option<Vec<_>>>()?;
        let (distinct, others): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.kind == Kind::Distinct);
        let argument = distinct.first()?.call.params.args.first()?;
        let is_one = distinct
            .iter()
            .all(|call| call.call.params.args.first() == Some(argument));
        (is_one && others.len() <= OTHERS_MAX).then_some(Self { calls, argument })
    }
}

impl<'a> Call<'a> {
    fn of(expr: &'a Expr) -> Option<Self> {
        let call = match expr {
            Expr::Alias(named) => return Self::of(&named.expr),
            Expr::AggregateFunction(call) => call,
            _ => return None,
        };
        let params = &call.params;
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return None;
        }
        let kind = match call.func.name() {
            _ if params.distinct && params.args.len() == 1 && params.filter.is_none() => Kind::Distinct,
            _ if params.distinct => return None,
            "count" => Kind::Count,
            "sum" | "min" | "max" => Kind::OfItself,
            _ => return None,
        };
        Some(Self { call, kind })
    }
}

fn divided(aggregate: &Aggregate, calls: Calls<'_>) -> Result<LogicalPlan> {
    let key = |(place, key): (usize, &Expr)| match key {
        Expr::Column(column) => (key.clone(), Expr::Column(column.clone())),
        _ => {
            let name = format!("staffa key {place}");
            (key.clone().alias(&name), column(name))
        }
    };
    let (mut first_keys, keys): (Vec<Expr>, Vec<Expr>) = aggregate.group_expr.iter().enumerate().map(key).unzip();
    first_keys.push(calls.argument.clone().alias(ARGUMENT));

    let name = |place: usize| format!("staffa part {place}");
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for (place, Call { call, kind }) in calls.calls.iter().enumerate() {
        let of_groups = match kind {
            Kind::Distinct => plain(&call.func, column(ARGUMENT)),
            Kind::Count | Kind::OfItself => {
                first.push(Expr::AggregateFunction((*call).clone()).alias(name(place)));
                let function = match kind {
                    Kind::Count => sum_udaf(),
                    _ => Arc::clone(&call.func),
                };
                plain(&function, column(name(place)))
            }
        };
        last.push(of_groups.alias(name(place)));
    }
    let first = Aggregate::try_new(Arc::clone(&aggregate.input), first_keys, first)?;
    let last = Aggregate::try_new(Arc::new(LogicalPlan::Aggregate(first)), keys.clone(), last)?;

    // As the aggregate was: its names, its types, and no null for a count.
    let computed = calls.calls.iter().enumerate().map(|(place, call)| match call.kind {
        Kind::Count => {
            let count = column(name(place));
            when(count.clone().is_not_null(), count).otherwise(lit(0_i64))
        }
        Kind::Distinct | Kind::OfItself => Ok(column(name(place))),
    });
    let all = keys.into_iter().map(Ok).chain(computed);
    let outputs = all.zip(aggregate.schema.iter()).map(|(output, (qualifier, field))| {
        let output = typed(output?, field.data_type(), &last)?;
        Ok(match &output {
            Expr::Column(column) if column.relation.as_ref() == qualifier && column.name == *field.name() => output,
            _ => output.alias_qualified(qualifier.cloned(), field.name()),
        })
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    Projection::try_new(outputs, Arc::new(LogicalPlan::Aggregate(last))).map(LogicalPlan::Projection)
}

fn typed(output: Expr, data_type: &DataType, input: &Aggregate) -> Result<Expr> {
    Ok(match output.get_type(&input.schema)? == *data_type {
        true => output,
        false => Expr::Cast(Cast::new(Box::new(output), data_type.clone())),
    })
}

fn column(name: impl Into<String>) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn plain(function: &Arc<AggregateUDF>, argument: Expr) -> Expr {
    let params = AggregateFunctionParams {
        args: vec![argument],
        distinct: false,
        filter: None,
        order_by: Vec::new(),
        null_treatment: None,
    };
    Expr::AggregateFunction(AggregateFunction {
        func: Arc::clone(function),
        params,
    })
}
