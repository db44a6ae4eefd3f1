//! Sums of one column and constants are one sum.
//!
//! ```text
//! before  Aggregate(sum(x), sum(x + 1), sum(x - 2))
//! after   Project(sum, sum + 1 * count, sum + -2 * count; Aggregate(sum(x) as sum, count(x) as count))
//! ```
//!
//! Only where the types say that no `x + 1` can be too large, which would be an error.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Projection, lit,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::function::plus_constant;

#[derive(Debug)]
pub(super) struct ShiftedSums;

impl OptimizerRule for ShiftedSums {
    fn name(&self) -> &str {
        "shifted_sums"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else {
            return Ok(Transformed::no(plan));
        };
        match united(&aggregate)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
        }
    }
}

/// `sum(column + constant)`
struct Shifted<'a> {
    column: &'a Expr,
    constant: i64,
}

fn united(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let input = aggregate.input.schema();
    let shifted = aggregate.aggr_expr.iter().map(|call| shifted(call, input));
    let shifted: Vec<Option<Shifted<'_>>> = shifted.collect::<Result<_>>()?;
    let mut columns: Vec<&Expr> = Vec::new();
    for sum in shifted.iter().flatten() {
        let mut alike = shifted.iter().flatten().filter(|other| other.column == sum.column);
        let is_worth_it = sum.constant != 0 && alike.nth(1).is_some();
        if is_worth_it && !columns.contains(&sum.column) {
            columns.push(sum.column);
        }
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let place = |sum: &Option<Shifted<'_>>| {
        let sum = sum.as_ref()?;
        let place = columns.iter().position(|column| *column == sum.column)?;
        Some((place, sum.constant))
    };

    let mut below = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let wide = Expr::Cast(Cast::new(Box::new((*column).clone()), DataType::Int64));
        below.push(call(sum_udaf(), wide).alias(format!("{SUM}{place}")));
        below.push(call(count_udaf(), (*column).clone()).alias(format!("{COUNT}{place}")));
    }
    let others = aggregate.aggr_expr.iter().zip(&shifted);
    let others = others.filter(|(_, sum)| place(sum).is_none());
    below.extend(others.map(|(call, _)| call.clone()));
    let below = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), below)?;

    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let own = |(qualifier, field)| Expr::Column(Column::from((qualifier, field)));
    let mut above: Vec<Expr> = aggregate.schema.iter().take(keys).map(own).collect();
    for ((qualifier, field), sum) in aggregate.schema.iter().skip(keys).zip(&shifted) {
        let Some((place, constant)) = place(sum) else {
            above.push(own((qualifier, field)));
            continue;
        };
        let part = |name| Expr::Column(Column::new_unqualified(format!("{name}{place}")));
        let times = |left, op, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
        let shift = times(lit(constant), Operator::Multiply, part(COUNT));
        let total = match constant {
            0 => part(SUM),
            _ => times(part(SUM), Operator::Plus, shift),
        };
        above.push(total.alias_qualified(qualifier.cloned(), field.name()));
    }
    let above = Projection::try_new(above, Arc::new(LogicalPlan::Aggregate(below)))?;
    Ok(Some(LogicalPlan::Projection(above)))
}

const SUM: &str = "staffa sum ";
const COUNT: &str = "staffa count ";

fn call(function: Arc<datafusion::logical_expr::AggregateUDF>, argument: Expr) -> Expr {
    let call = AggregateFunction::new_udf(function, vec![argument], false, None, Vec::new(), None);
    Expr::AggregateFunction(call)
}

/// A sum in 64 bits of a column of fewer, to which a constant is added that leaves it within the type of the addition.
fn shifted<'a>(aggregate: &'a Expr, schema: &DFSchema) -> Result<Option<Shifted<'a>>> {
    let call = match aggregate {
        Expr::AggregateFunction(call) => call,
        Expr::Alias(alias) => return shifted(&alias.expr, schema),
        _ => return Ok(None),
    };
    let params = &call.params;
    let is_plain = !params.distinct && params.filter.is_none() && params.order_by.is_empty();
    let ([argument], true) = (params.args.as_slice(), is_plain && call.func == sum_udaf()) else {
        return Ok(None);
    };
    if aggregate.get_type(schema)? != DataType::Int64 {
        return Ok(None);
    }
    let argument = unwidened(argument, schema)?;
    let (operand, constant) = plus_constant(argument).unwrap_or((argument, 0));
    let column = unwidened(operand, schema)?;
    let (Some(values), Some(fitting)) = (range(&column.get_type(schema)?), range(&argument.get_type(schema)?)) else {
        return Ok(None);
    };
    let fits = |value: &i64| {
        let sum = value.checked_add(constant);
        sum.is_some_and(|sum| fitting.contains(&sum))
    };
    let is_shifted = matches!(column, Expr::Column(_)) && fits(values.start()) && fits(values.end());
    Ok(is_shifted.then_some(Shifted { column, constant }))
}

/// A whole number before it was cast to a wider type.
fn unwidened<'a>(expression: &'a Expr, schema: &DFSchema) -> Result<&'a Expr> {
    let Expr::Cast(cast) = expression else {
        return Ok(expression);
    };
    let inner = range(&cast.expr.get_type(schema)?);
    match inner.zip(range(cast.field.data_type())) {
        Some((inner, outer)) if outer.contains(inner.start()) && outer.contains(inner.end()) => {
            unwidened(&cast.expr, schema)
        }
        _ => Ok(expression),
    }
}

fn range(data_type: &DataType) -> Option<RangeInclusive<i64>> {
    Some(match data_type {
        DataType::Int16 => i16::MIN.into()..=i16::MAX.into(),
        DataType::Int32 => i32::MIN.into()..=i32::MAX.into(),
        DataType::Int64 => i64::MIN..=i64::MAX,
        _ => return None,
    })
}
