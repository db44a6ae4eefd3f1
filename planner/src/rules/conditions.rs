//! Conditions in window functions, and those that aggregates order by, computed before them.
//!
//! ```text
//! before  Window(sum(x) over (order by b <> 0 and a / b > 2), t)
//! after   Projection(t.*, sum, Window(sum(x) over (order by c) as sum, Projection(t.*, b <> 0 and a / b > 2 as c, t)))
//! ```
//!
//! A projection can compute them so that one side protects the other (`lazy.rs`), a window function cannot. And an order by
//! `abs(a) > 2` DataFusion makes, but does not find there then.
//!
//! Must not fire on what is a column already, and need not on comparisons of columns and constants.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::logical_expr::logical_plan::{Aggregate, Projection, Window};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use crate::operators::is_comparison;

/// What the columns are called, before their number.
const COMPUTED: &str = "\u{1}condition";

pub(super) fn compute_before(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) => before_window(window),
        LogicalPlan::Aggregate(aggregate) => before_aggregate(aggregate),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn before_window(window: Window) -> DataFusionResult<Transformed<LogicalPlan>> {
    let mut found = Found::default();
    let names = window.schema.fields().iter().skip(window.input.schema().fields().len());
    let functions = window.window_expr.iter().zip(names);
    let functions: Vec<Expr> = functions
        .map(|(function, field)| match function.clone().unalias() {
            Expr::WindowFunction(mut function) => {
                let params = &mut function.params;
                for read in params.args.iter_mut().chain(params.filter.as_deref_mut()) {
                    found.take_out(read, chains_alone)?;
                }
                let keys = params.order_by.iter_mut().map(|key| &mut key.expr);
                for key in params.partition_by.iter_mut().chain(keys) {
                    found.take_out(key, conditions)?;
                }
                Ok(Expr::WindowFunction(function).alias(field.name()))
            }
            other => Ok(other),
        })
        .collect::<DataFusionResult<_>>()?;
    if found.0.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let above = Window::try_new(functions, found.computed_over(window.input)?)?;
    let shown = window.schema.columns().into_iter().map(Expr::Column).collect();
    let shown = Projection::try_new(shown, Arc::new(LogicalPlan::Window(above)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(shown)))
}

fn before_aggregate(aggregate: Aggregate) -> DataFusionResult<Transformed<LogicalPlan>> {
    let mut found = Found::default();
    let fields = aggregate.schema.fields();
    let names = fields.iter().skip(fields.len() - aggregate.aggr_expr.len());
    let functions = aggregate.aggr_expr.iter().zip(names);
    let functions: Vec<Expr> = functions
        .map(|(function, field)| match function.clone().unalias() {
            Expr::AggregateFunction(mut function) => {
                for key in &mut function.params.order_by {
                    found.take_out(&mut key.expr, conditions)?;
                }
                // Of DISTINCT values it can only order by one of them.
                for argument in &mut function.params.args {
                    found.replace_known(argument);
                }
                Ok(Expr::AggregateFunction(function).alias(field.name()))
            }
            other => Ok(other),
        })
        .collect::<DataFusionResult<_>>()?;
    if found.0.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let input = found.computed_over(aggregate.input)?;
    let above = Aggregate::try_new(input, aggregate.group_expr, functions)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(above)))
}

/// What is to be computed before.
#[derive(Default)]
struct Found(Vec<Expr>);

impl Found {
    /// Puts a column in the place of an expression that has such an operator in it.
    fn take_out(&mut self, expression: &mut Expr, is_one: fn(Operator) -> bool) -> DataFusionResult<()> {
        let concerned = expression.exists(|inner| match inner {
            Expr::BinaryExpr(BinaryExpr { op, .. }) if is_one(*op) => may_fail(inner),
            _ => Ok(false),
        })?;
        if concerned {
            if !self.0.contains(expression) {
                self.0.push(expression.clone());
            }
            self.replace_known(expression);
        }
        Ok(())
    }

    fn replace_known(&self, expression: &mut Expr) {
        if let Some(index) = self.0.iter().position(|known| known == expression) {
            *expression = Expr::Column(Column::new_unqualified(name_of(index)));
        }
    }

    /// The rows with what was found as further columns.
    fn computed_over(self, input: Arc<LogicalPlan>) -> DataFusionResult<Arc<LogicalPlan>> {
        let given = input.schema().columns().into_iter().map(Expr::Column);
        let computed = self.0.into_iter().enumerate();
        let computed = computed.map(|(index, expression)| expression.alias(name_of(index)));
        let projection = Projection::try_new(given.chain(computed).collect(), input)?;
        Ok(Arc::new(LogicalPlan::Projection(projection)))
    }
}

fn name_of(index: usize) -> String {
    format!("{COMPUTED}{index}")
}

fn chains_alone(op: Operator) -> bool {
    matches!(op, Operator::And | Operator::Or)
}

fn conditions(op: Operator) -> bool {
    chains_alone(op) || is_comparison(op)
}

fn may_fail(expression: &Expr) -> DataFusionResult<bool> {
    expression.exists(|inner| {
        Ok(match inner {
            Expr::BinaryExpr(BinaryExpr { op, .. }) => !conditions(*op),
            Expr::ScalarFunction(_) | Expr::Cast(_) => true,
            _ => false,
        })
    })
}
