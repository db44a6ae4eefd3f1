//! What happens to a plan between name resolution and the optimiser.
//!
//! Order: what SELECT's shape means first: recursive terms, set operations, the order of what lists are made of, then subqueries, as the expressions made for them
//! are coerced like any other; what has to match next, before anything is coerced; JSON next, which coercion would take for text; comparisons of dates with midnights next, because
//! the types there decide what is coerced; operators DataFusion has no coercion for next; then numbers, with type coercion as they go;
//! then DataFusion's analyzer, whose type coercion puts the other casts in; then ours, which makes all casts and all
//! arithmetic PostgreSQL's. They run again when parameters have been bound, and find nothing to do where nothing changed.

mod arithmetic;
mod casts;
mod characters;
mod conditions;
mod dates;
mod decided;
mod elements;
mod estimates;
mod frames;
mod groups;
mod intervals;
mod json;
mod literals;
mod matching;
pub(crate) mod numbers;
mod patterns;
mod recursion;
mod set_operations;
mod sort_keys;
mod sorted_inputs;
mod subqueries;
mod values;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

pub(crate) use self::dates::date_as_timestamp;
use crate::context::PlanContext;
use crate::supervision;

/// Settles the types of a plan.
pub(crate) fn analyse(context: &PlanContext, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let state = &context.session;
    let plan = set_operations::count_duplicates(plan)?;
    let plan = sorted_inputs::keep_order(plan)?;
    let plan = elements::united(plan)?;
    let plan = values::compute_subqueries(plan)?;
    let plan = subqueries::join(plan)?;
    let plan = matching::settle(plan)?;
    let plan = literals::fold(context, plan)?;
    let plan = json::resolve(plan)?;
    let plan = dates::compare(context, plan)?;
    let plan = intervals::by_length(context, plan)?;
    let plan = frames::by_groups(plan)?;
    let coerced = |plan| {
        let options = state.config_options();
        state.analyzer().execute_and_check(plan, options, |_, _| {})
    };
    let plan = numbers::settle(plan)?;
    let plan = coerced(plan)?;
    let plan = decided::leave_out(plan)?;
    let plan = casts::as_postgres(context, plan)?;
    let plan = set_operations::renewed(plan)?;
    let plan = arithmetic::check(plan)?;
    let plan = recursion::same_types(plan)?;
    let plan = sort_keys::settle(plan)?;
    let plan = elements::unnested(plan)?;
    let plan = conditions::compute_before(plan)?;
    let plan = estimates::opaque(plan)?;
    let plan = patterns::settle(plan)?;
    characters::trim_literals(plan)
}

/// Rewrites every expression of one node, innermost first, with the schema its columns come from. Names stay.
fn map_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> DataFusionResult<Transformed<Expr>>,
) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = columns_below(&plan)?;
    let transformed = map_whole(plan, |expression| {
        expression.transform_up(|inner| {
            supervision::check()?;
            rewrite(inner, &schema)
        })
    })?;
    // A node above one that changed must learn of the new type, too; the others come out as they were.
    transformed.map_data(LogicalPlan::recompute_schema)
}

/// The columns that the expressions of a node are over.
fn columns_below(plan: &LogicalPlan) -> DataFusionResult<DFSchema> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = plan {
        let source = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&source);
    }
    Ok(schema)
}

/// Rewrites the expressions of one node, each as a whole. Names stay; the node's schema is as it was.
fn map_whole(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr) -> DataFusionResult<Transformed<Expr>>,
) -> DataFusionResult<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        supervision::check()?;
        let name = names.save(&expression);
        Ok(rewrite(expression)?.update_data(|rewritten| name.restore(rewritten)))
    })
}
