//! AND and OR one side of which fails only where it has to be known.
//!
//! PostgreSQL looks at the right side of `b <> 0 AND a / b > 2` for the rows that pass the left one, and people rely on it. (In WHERE it
//! takes what costs less first, so the other way round does, too.) DataFusion computes both sides for all rows of a batch
//! unless the left one leaves few. So, once nothing moves any more:
//!
//! ```text
//! Filter(b <> 0 AND a / b > 2)     -> Filter(Lazy(b <> 0 AND a / b > 2))
//! ```
//!
//! `Lazy` computes as ever, for all rows at once. Only when that fails it goes from one side to the other, with the rows the first
//! one leaves open: a condition that does not fail costs nothing more.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder};
use datafusion::physical_plan::projection::ProjectionExec;

/// Makes what projections and aggregates compute lazy. The first of all rules: scans take projections in later.
#[derive(Debug)]
pub(crate) struct LazyOutputs;

impl PhysicalOptimizerRule for LazyOutputs {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(with_lazy_outputs).data()
    }

    fn name(&self) -> &str {
        "LazyOutputs"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Makes the conditions of filters and joins lazy. The last of all rules: others look into conditions.
#[derive(Debug)]
pub(crate) struct LazyConditions;

impl PhysicalOptimizerRule for LazyConditions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(with_lazy_conditions).data()
    }

    fn name(&self) -> &str {
        "LazyConditions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn with_lazy_outputs(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let mut changed = false;
    let mut lazy = |expr: &Arc<dyn PhysicalExpr>| {
        let expr = lazy(expr)?;
        changed |= expr.transformed;
        Ok(expr.data)
    };
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let outputs = projection.expr().iter().map(|output| {
            let expr = lazy(&output.expr)?;
            let alias = output.alias.clone();
            Ok(ProjectionExpr { expr, alias })
        });
        let outputs: Vec<ProjectionExpr> = outputs.collect::<Result<_>>()?;
        if changed {
            let input = Arc::clone(projection.input());
            let projection = ProjectionExec::try_new_with_schema_metadata(outputs, input, &plan.schema())?;
            return Ok(Transformed::yes(Arc::new(projection)));
        }
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let functions = aggregate.aggr_expr().iter().map(|function| {
            let parts = function.all_expressions();
            let arguments: Vec<_> = parts.args.iter().map(&mut lazy).collect::<Result<_>>()?;
            let function = function.with_new_expressions(arguments, parts.order_by_exprs);
            function
                .map(Arc::new)
                .ok_or_else(|| DataFusionError::Internal("an aggregate lost an argument".to_owned()))
        });
        let functions: Vec<_> = functions.collect::<Result<_>>()?;
        let filters = aggregate.filter_expr().iter();
        let filters: Vec<_> = filters
            .map(|filter| filter.as_ref().map(&mut lazy).transpose())
            .collect::<Result<_>>()?;
        if changed {
            let (group_by, input) = (aggregate.group_expr().clone(), Arc::clone(aggregate.input()));
            let made = AggregateExec::try_new(
                *aggregate.mode(),
                group_by,
                functions,
                filters,
                input,
                aggregate.input_schema(),
            )?;
            return Ok(Transformed::yes(Arc::new(
                made.with_limit_options(aggregate.limit_options()),
            )));
        }
    }
    Ok(Transformed::no(plan))
}

fn with_lazy_conditions(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let predicate = lazy(filter.predicate())?;
        if predicate.transformed {
            let filter = FilterExecBuilder::from(filter).with_predicate(predicate.data).build()?;
            return Ok(Transformed::yes(Arc::new(filter)));
        }
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        let condition = lazy(filter.expression())?;
        if condition.transformed {
            let (columns, schema) = (filter.column_indices().to_vec(), Arc::clone(filter.schema()));
            let filter = JoinFilter::new(condition.data, columns, schema);
            let join = HashJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
            return Ok(Transformed::yes(Arc::new(join)));
        }
    }
    Ok(Transformed::no(plan))
}

fn lazy(expr: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Arc::clone(expr).transform_up(|expr| {
        let wanted = expr
            .downcast_ref::<BinaryExpr>()
            .is_some_and(|binary| matches!(binary.op(), Operator::And | Operator::Or) && may_fail(binary.right()));
        Ok(match wanted {
            true => Transformed::yes(Arc::new(LazyExpr { inner: expr })),
            false => Transformed::no(expr),
        })
    })
}

/// Comparisons of columns and constants do not.
fn may_fail(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let cannot = expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
        use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
        matches!(
            binary.op(),
            Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom | And | Or
        )
    }) || expr.downcast_ref::<Column>().is_some()
        || expr.downcast_ref::<Literal>().is_some()
        || expr.downcast_ref::<NotExpr>().is_some()
        || expr.downcast_ref::<IsNullExpr>().is_some()
        || expr.downcast_ref::<IsNotNullExpr>().is_some()
        || expr.downcast_ref::<InListExpr>().is_some()
        || expr.downcast_ref::<LikeExpr>().is_some()
        || expr.downcast_ref::<LazyExpr>().is_some();
    !cannot || expr.children().into_iter().any(may_fail)
}

/// A [`BinaryExpr`] of AND or OR.
#[derive(Debug)]
struct LazyExpr {
    inner: Arc<dyn PhysicalExpr>,
}

impl LazyExpr {
    /// Left to right; where the left side fails by itself, right to left.
    fn one_by_one(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let binary = self.inner.downcast_ref::<BinaryExpr>();
        let binary =
            binary.ok_or_else(|| DataFusionError::Internal("a lazy expression of something else".to_owned()))?;
        let (left, right, op) = (binary.left(), binary.right(), *binary.op());
        in_order(op, left, right, batch).or_else(|error| in_order(op, right, left, batch).map_err(|_| error))
    }
}

/// The second side is computed only for the rows that the first one leaves open.
fn in_order(
    op: Operator,
    first: &Arc<dyn PhysicalExpr>,
    second: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
) -> Result<ColumnarValue> {
    let rows = batch.num_rows();
    let first = first.evaluate(batch)?.into_array(rows)?;
    let first = first.as_boolean();
    let decides = op == Operator::Or;
    let open = BooleanBuffer::collect_bool(rows, |row| first.is_null(row) || first.value(row) != decides);
    let open = BooleanArray::new(open, None);
    let second = second.evaluate_selection(batch, &open)?.into_array(rows)?;
    let both = match decides {
        true => or_kleene(first, second.as_boolean()),
        false => and_kleene(first, second.as_boolean()),
    };
    Ok(ColumnarValue::Array(Arc::new(both?)))
}

impl PhysicalExpr for LazyExpr {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.inner.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        // What really fails, fails again, with the error of the side that comes first.
        self.inner.evaluate(batch).or_else(|_| self.one_by_one(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.inner.children()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = Arc::clone(&self.inner).with_new_children(children)?;
        Ok(Arc::new(Self { inner }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for LazyExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl PartialEq for LazyExpr {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for LazyExpr {}

impl Hash for LazyExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
