//! Operators that are kept for the next runs of a short query, whose planning would take longer than its run.
//!
//! ```text
//! once        kept plan -> its parameters become values of the run -> operators, up to where filters of joins and sorts are made
//! each run    values in -> scans made anew with them, nothing counted, nothing collected yet -> those filters, our own operators
//! ```
//!
//! They serve one run at a time: whoever comes meanwhile gets others. What does not hang on columns is computed once for a run, as
//! `$1 % 7` of `region = $1 % 7`: the condition compares with a value, and the scan can leave files and blocks out by it.
//! Only queries that read few files and rows have them. Nothing is decided by values here, which costs long ones more than it saves.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarUDF, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use datafusion::scalar::ScalarValue;
use staffa_storage::{Parameter, RunValues, is_renewable, renewed};

use crate::context::PlanContext;
use crate::error::Result;
use crate::guard::{self, GuardExec};
use crate::physical::{has_estimates, make_own, statement_state};
use crate::scan_report::{ScanReport, ScanReports};
use crate::table_provider::{StaffaTable, WantsSamples};

/// Queries that read more than this are planned with their values.
const ROWS_MAX: u64 = 1_000_000;
const FILES_MAX: usize = 16;

/// One task reads so many rows before a second one would have begun.
const ROWS_OF_A_TASK: u64 = 100_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Template {
    operators: Arc<dyn ExecutionPlan>,
    parameters: Parameters,
    options: Arc<ConfigOptions>,
    /// What its scans read, before values are known.
    reports: Vec<ScanReport>,
}

/// What a run's values are computed from.
#[derive(Debug)]
struct Parameters {
    /// `$1`, `$2`, … in their types.
    given: Vec<FieldRef>,
    /// Over a row of what is given.
    computed: Vec<Arc<dyn PhysicalExpr>>,
    values: RunValues,
}

impl Template {
    /// `plan` is optimised for all values. `None`: the query is not one of those.
    pub(crate) async fn make(context: &PlanContext, plan: &LogicalPlan, given: Vec<FieldRef>) -> Result<Option<Self>> {
        let Some(rows) = rows_to_read(plan)? else {
            return Ok(None);
        };
        let values = RunValues::default();
        let mut found = Found {
            given: DFSchema::try_from(Schema::new(given.clone()))?,
            computed: Vec::new(),
            values: values.clone(),
        };
        let plan = found.replace_in(plan.clone())?;

        let reports = Arc::new(ScanReports::default());
        let mut state = statement_state(context);
        let config = state.config_mut();
        config.set_extension(Arc::clone(&reports));
        if has_estimates(&plan)? {
            config.set_extension(Arc::new(WantsSamples));
        }
        if rows <= ROWS_OF_A_TASK {
            config.options_mut().execution.target_partitions = 1;
        }
        let computed = found
            .computed
            .iter()
            .map(|expression| state.create_physical_expr(over_given(expression.clone())?, &found.given))
            .collect::<DataFusionResult<_>>()?;
        let state = SessionStateBuilder::new_from_existing(state)
            .with_physical_optimizer_rules(guard::rules_without_values())
            .build();
        // What cannot be planned without its values is planned with them, and if that cannot be, it says so.
        let Ok(operators) = state.query_planner().create_physical_plan(&plan, &state).await else {
            return Ok(None);
        };
        Ok(runs_again(&operators).then(|| Self {
            operators,
            parameters: Parameters {
                given,
                computed,
                values,
            },
            options: Arc::clone(state.config_options()),
            reports: reports.all(),
        }))
    }

    /// The operators of the next run. `None`: it has to be planned with its values.
    pub(crate) fn begin(
        &self,
        values: &[ScalarValue],
        reports: Option<&ScanReports>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if !self.parameters.set(values) {
            return Ok(None);
        }
        if let Some(reports) = reports {
            for report in &self.reports {
                reports.push(report.clone())?;
            }
        }
        let mut plan = again(&self.operators)?;
        for rule in guard::rules_of_each_run() {
            plan = rule.optimize(plan, &self.options)?;
        }
        make_own(plan).map(Some)
    }
}

impl Parameters {
    /// False when a value is of another type, or something that is computed from them fails: not for certain in this run.
    fn set(&self, values: &[ScalarValue]) -> bool {
        let of_their_types = values.iter().zip(&self.given);
        let are_of_their_types = values.len() == self.given.len()
            && of_their_types
                .into_iter()
                .all(|(value, field)| value.data_type() == *field.data_type());
        are_of_their_types
            && self.compute(values).is_ok_and(|computed| {
                self.values.set(computed);
                true
            })
    }

    fn compute(&self, values: &[ScalarValue]) -> DataFusionResult<Vec<ScalarValue>> {
        let columns = values
            .iter()
            .map(ScalarValue::to_array)
            .collect::<DataFusionResult<Vec<_>>>()?;
        let schema = Arc::new(Schema::new(self.given.clone()));
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(schema, columns, &one)?;
        let value = |expression: &Arc<dyn PhysicalExpr>| match expression.evaluate(&row)? {
            ColumnarValue::Scalar(value) => Ok(value),
            ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0),
        };
        self.computed.iter().map(value).collect()
    }
}

/// What a plan computes from its parameters alone.
struct Found {
    given: DFSchema,
    computed: Vec<Expr>,
    values: RunValues,
}

impl Found {
    fn replace_in(&mut self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        if self.given.fields().is_empty() {
            return Ok(plan);
        }
        let replaced = plan.transform_up(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let name = names.save(&expression);
                let replaced = expression.transform_down(|inner| match is_of_values(&inner)? {
                    true => Ok(Transformed::new(self.value_of(inner)?, true, TreeNodeRecursion::Jump)),
                    false => Ok(Transformed::no(inner)),
                })?;
                Ok(replaced.update_data(|expression| name.restore(expression)))
            })
        });
        replaced.data()
    }

    fn value_of(&mut self, expression: Expr) -> DataFusionResult<Expr> {
        let data_type = over_given(expression.clone())?.get_type(&self.given)?;
        let known = self.computed.iter().position(|known| *known == expression);
        let place = known.unwrap_or_else(|| {
            self.computed.push(expression);
            self.computed.len() - 1
        });
        let parameter = Parameter::new(&self.values, place, data_type);
        let function = Arc::new(ScalarUDF::new_from_impl(parameter));
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, Vec::new())))
    }
}

/// Whether parameters are all it hangs on.
fn is_of_values(expression: &Expr) -> DataFusionResult<bool> {
    let (mut has_parameters, mut is_fixed) = (false, true);
    expression.apply(|inner| {
        match inner {
            Expr::Placeholder(_) => has_parameters = true,
            Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::Negative(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::Case(_) => {}
            Expr::ScalarFunction(call) => is_fixed &= call.func.signature().volatility == Volatility::Immutable,
            _ => is_fixed = false,
        }
        Ok(match is_fixed {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    })?;
    Ok(has_parameters && is_fixed)
}

/// With columns in the place of the parameters.
fn over_given(expression: Expr) -> DataFusionResult<Expr> {
    expression
        .transform_up(|inner| {
            Ok(match inner {
                Expr::Placeholder(Placeholder { id, .. }) => {
                    Transformed::yes(Expr::Column(Column::new_unqualified(id)))
                }
                other => Transformed::no(other),
            })
        })
        .data()
}

/// `$1`, `$2`, … as columns of these types.
pub(crate) fn parameter_fields(types: impl Iterator<Item = DataType>) -> Vec<FieldRef> {
    let field = |(index, data_type)| Arc::new(Field::new(format!("${}", index + 1), data_type, true));
    types.enumerate().map(field).collect()
}

/// The rows that a query reads of tables at most. `None`: it reads more than a short one, something else, or in a way that is not done
/// twice by the same operators.
fn rows_to_read(plan: &LogicalPlan) -> Result<Option<u64>> {
    let (mut rows, mut files, mut others) = (0_u64, 0, false);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source)?;
                match provider.downcast_ref::<StaffaTable>() {
                    Some(table) => {
                        rows = rows.saturating_add(table.row_count());
                        files += table.files().len();
                    }
                    None => others = true,
                }
            }
            LogicalPlan::RecursiveQuery(_) | LogicalPlan::Extension(_) | LogicalPlan::Subquery(_) => others = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((!others && rows <= ROWS_MAX && files <= FILES_MAX).then_some(rows))
}

/// Whether all operators can be made anew for another run.
fn runs_again(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_known = match plan.children().is_empty() {
        true => is_renewable(plan) || plan.is::<EmptyExec>() || plan.is::<PlaceholderRowExec>(),
        false => {
            plan.is::<FilterExec>()
                || plan.is::<ProjectionExec>()
                // The filter that one of least and greatest values makes stays what it became.
                || plan.is::<AggregateExec>() && plan.dynamic_expressions_produced().is_empty()
                || plan.is::<SortExec>()
                || plan.is::<SortPreservingMergeExec>()
                || plan.is::<CoalescePartitionsExec>()
                || plan.is::<RepartitionExec>()
                || plan.is::<HashJoinExec>()
                || plan.is::<CrossJoinExec>()
                || plan.is::<NestedLoopJoinExec>()
                || plan.is::<GlobalLimitExec>()
                || plan.is::<LocalLimitExec>()
                || plan.is::<UnionExec>()
                || plan.is::<CooperativeExec>()
                || plan.is::<WindowAggExec>()
                || plan.is::<BoundedWindowAggExec>()
                || plan.is::<GuardExec>()
        }
    };
    is_known && plan.children().into_iter().all(runs_again)
}

/// The operators for another run. What is known of their rows stays true.
fn again(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(scan) = renewed(plan)? {
        return Ok(scan);
    }
    let children = plan.children().into_iter().map(again).collect::<Result<Vec<_>>>()?;
    let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    let plan = match children.is_empty() {
        true => Arc::clone(plan),
        false => Arc::clone(plan).replace_children(children, keep)?,
    };
    Ok(plan.reset_state()?)
}
