//! How many rows an operator will give: the one place that guesses, for the order of joins and for EXPLAIN.
//!
//! * Of a scan: the rows of its files. Conditions on it are asked of the rows of the table's sample, as they are, whatever they
//!   say and however they hang together; those on one column of its statistics, which are of all rows (`estimate/known.rs`); without
//!   either from bounds and counts (`estimate/condition.rs`).
//! * Of joins: all that hang together at once, so that it is the same number in whatever order they stand
//!   (`join_order/cardinality.rs`).
//! * Of a grouping: the different values of its keys.
//!
//! A wrong guess makes a query slower, nothing else. Guesses are numbers of at least one row where that matters: what is thought
//! to be empty makes everything around it look free.

mod condition;
mod known;
mod sampled;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ColumnStatistics, ExecutionPlan};
use staffa_execution::{Aggregate, Exchange, Filter};
use staffa_storage::{ColumnSummary, SampledTable, number};

pub(crate) use self::condition::share_passing;
use self::sampled::Sampled;
use self::value::integers_between;
use crate::build_side::BuildSideExec;
use crate::guard::GuardExec;
use crate::join_order::{JoinGraph, Rows, is_join};
use crate::shared::{SharedExec, SharedReadExec};
use crate::yielding::SmallBatchesExec;

/// Rows of what says nothing of them: a function, a table of another system.
const UNKNOWN_ROWS: f64 = 1000.0;

/// What is known of an operator's rows.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    pub(crate) rows: f64,
    pub(crate) columns: Vec<ColumnEstimate>,
    /// Of one table's rows: those of its sample that are among them.
    sampled: Option<Sampled>,
}

#[derive(Clone, Debug)]
pub(crate) struct ColumnEstimate {
    /// How many different values it may have, not counting what conditions on other columns take away: two columns that are
    /// joined have the values of the larger of them, and of these each row finds its own.
    pub(crate) values: f64,
    /// The share of nulls.
    pub(crate) nulls: f64,
    /// Rows of the relation it comes from, before any condition.
    pub(crate) relation_rows: f64,
    /// The least and the largest, of numbers and times.
    bounds: Option<(f64, f64)>,
    /// How the values of the table are distributed that it comes from.
    summary: Option<Arc<ColumnSummary>>,
}

impl ColumnEstimate {
    fn unknown(rows: f64) -> Self {
        Self {
            values: rows.max(1.0),
            nulls: 0.0,
            relation_rows: rows.max(1.0),
            bounds: None,
            summary: None,
        }
    }
}

impl Estimate {
    pub(crate) fn unknown(rows: f64, schema: &Schema) -> Self {
        Self {
            rows,
            columns: vec![ColumnEstimate::unknown(rows); schema.fields().len()],
            sampled: None,
        }
    }

    /// The same, of so many rows at most.
    fn limited(&self, rows: f64) -> Self {
        Self {
            rows: self.rows.min(rows),
            ..self.clone()
        }
    }
}

/// Estimates of the operators of a plan, each made once.
#[derive(Default)]
pub(crate) struct Estimator {
    /// By the operator's address, which is its own as long as it is held.
    known: HashMap<usize, (Arc<dyn ExecutionPlan>, Arc<Estimate>)>,
}

impl Estimator {
    pub(crate) fn of(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Arc<Estimate> {
        let address = Arc::as_ptr(plan).cast::<()>() as usize;
        if let Some((_, estimate)) = self.known.get(&address) {
            return Arc::clone(estimate);
        }
        let estimate = Arc::new(self.made(plan));
        self.known.insert(address, (Arc::clone(plan), Arc::clone(&estimate)));
        estimate
    }

    fn made(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Estimate {
        let estimate = if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
            of_scan(plan, scan)
        } else if let Some((part, columns)) = plan.downcast_ref().and_then(SharedReadExec::estimate) {
            projected(part, columns.iter().map(|place| Some(*place)))
        } else if let Some(shared) = plan.downcast_ref::<SharedExec>() {
            Estimate::clone(&self.of(shared.main()))
        } else if let Some(filter) = plan.downcast_ref().or_else(|| plan.downcast_ref().map(Filter::stock)) {
            let input = self.of(filter.input());
            let passing = of_filter(&input, filter);
            match filter.projection() {
                Some(places) => projected(&passing, places.iter().map(|place| Some(*place))),
                None => passing,
            }
        } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            let input = self.of(projection.input());
            projected(&input, projection.expr().iter().map(plain_column))
        } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
            let input = self.of(aggregate.input());
            of_aggregate(&input, aggregate)
        } else if let Some(aggregate) = plan.downcast_ref::<Aggregate>() {
            let input = self.of(aggregate.input());
            of_aggregate(&input, aggregate.stock())
        } else if is_join(plan.as_ref()) {
            self.of_joins(plan)
        } else {
            self.of_other(plan)
        };
        match plan.fetch() {
            Some(fetch) => estimate.limited(fetch as f64),
            None => estimate,
        }
    }

    fn of_joins(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Estimate {
        let graph = JoinGraph::of(plan);
        if graph.operators.is_empty() {
            return self.of_single_join(plan);
        }
        let leaves: Vec<Arc<Estimate>> = graph.leaves.iter().map(|leaf| self.of(leaf)).collect();
        let rows = Rows::new(&graph, &leaves).of(graph.all());
        let columns = graph
            .output
            .iter()
            .map(|column| graph.estimate_of(&leaves, *column).clone());
        Estimate {
            rows,
            columns: columns.collect(),
            sampled: None,
        }
    }

    /// A join of a kind that stays where it is.
    fn of_single_join(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Estimate {
        let inputs: Vec<Arc<Estimate>> = plan.children().into_iter().map(|child| self.of(child)).collect();
        let rows = inputs.iter().map(|input| input.rows).fold(0.0, f64::max);
        let schema = plan.schema();
        let mut columns: Vec<ColumnEstimate> = inputs.iter().flat_map(|input| input.columns.clone()).collect();
        // All columns of both sides, and perhaps a mark; of others it is not known which they are.
        if !matches!(schema.fields().len().checked_sub(columns.len()), Some(0 | 1)) {
            return Estimate::unknown(rows, &schema);
        }
        columns.resize(schema.fields().len(), ColumnEstimate::unknown(rows));
        Estimate {
            rows,
            columns,
            sampled: None,
        }
    }

    fn of_other(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Estimate {
        let schema = plan.schema();
        let children = plan.children();
        let Some(first) = children.first() else {
            return of_leaf(plan);
        };
        let input = self.of(first);
        if plan.is::<UnionExec>() {
            let rows = children.iter().map(|child| self.of(child).rows).sum();
            return Estimate {
                rows,
                columns: input.columns.clone(),
                sampled: None,
            };
        }
        if children.len() > 1 && !plan.is::<ScalarSubqueryExec>() {
            let rows = children.iter().map(|child| self.of(child).rows).fold(0.0, f64::max);
            return Estimate::unknown(rows, &schema);
        }
        let input = match plan.downcast_ref::<GlobalLimitExec>() {
            Some(limit) => input.limited((input.rows - limit.skip() as f64).max(0.0)),
            None => Estimate::clone(&input),
        };
        if schema.fields().len() == input.columns.len() {
            return input;
        }
        // A window adds columns after those of its input; what else there is, is not known.
        let mut columns = input.columns;
        columns.resize(schema.fields().len(), ColumnEstimate::unknown(input.rows));
        Estimate {
            rows: input.rows,
            columns,
            sampled: None,
        }
    }
}

/// The operator whose rows these are, below what only hands them on.
pub(crate) fn bare(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    let hands_on = plan.is::<CooperativeExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<Exchange>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<GuardExec>()
        || plan.is::<BuildSideExec>()
        || plan.is::<SmallBatchesExec>();
    match plan.children()[..] {
        [input] if hands_on && plan.fetch().is_none() => bare(input),
        _ => plan,
    }
}

/// The rows that a leaf looks at, whatever its own filter says of them.
pub(crate) fn rows_read(leaf: &Arc<dyn ExecutionPlan>) -> f64 {
    of_leaf(leaf).rows
}

fn of_leaf(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    let schema = plan.schema();
    let Ok(known) = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()) else {
        return Estimate::unknown(UNKNOWN_ROWS, &schema);
    };
    let rows = known.num_rows.get_value().map_or(UNKNOWN_ROWS, |rows| *rows as f64);
    let fields = schema.fields().iter().enumerate();
    let columns = fields.map(|(place, field)| match known.column_statistics.get(place) {
        Some(known) => of_column(known, field.data_type(), rows),
        None => ColumnEstimate::unknown(rows),
    });
    Estimate {
        rows,
        columns: columns.collect(),
        sampled: None,
    }
}

fn of_column(known: &ColumnStatistics, data_type: &DataType, rows: f64) -> ColumnEstimate {
    let bound = |value: &datafusion::common::stats::Precision<_>| value.get_value().and_then(number);
    let bounds = bound(&known.min_value).zip(bound(&known.max_value));
    let values = match known.distinct_count.get_value() {
        Some(values) => *values as f64,
        None => bounds
            .and_then(|bounds| integers_between(data_type, bounds))
            .unwrap_or(rows),
    };
    let nulls = known.null_count.get_value().map_or(0.0, |nulls| *nulls as f64);
    ColumnEstimate {
        values: values.min(rows).max(1.0),
        nulls: if rows > 0.0 { (nulls / rows).min(1.0) } else { 0.0 },
        relation_rows: rows.max(1.0),
        bounds,
        summary: None,
    }
}

/// The rows of the files, those that the scan's own filter lets through.
fn of_scan(plan: &Arc<dyn ExecutionPlan>, scan: &DataSourceExec) -> Estimate {
    let mut estimate = of_leaf(plan);
    let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>() else {
        return estimate;
    };
    let Some(table) = SampledTable::of(plan.as_ref()) else {
        return estimate;
    };
    let file_rows = estimate.rows;
    let output: Vec<Option<usize>> = match config.file_source.projection() {
        Some(projection) => projection.as_ref().iter().map(plain_column).collect(),
        None => (0..estimate.columns.len()).map(Some).collect(),
    };
    for (column, place) in estimate.columns.iter_mut().zip(&output) {
        // Files may be left out; the values are the table's.
        column.relation_rows = (table.rows as f64).max(1.0);
        if let Some(known) = place.and_then(|place| table.summary(place)) {
            column.values = known.distinct_in(table.rows);
            column.nulls = known.null_share();
            column.summary = Some(Arc::clone(known));
        } else if let Some(place) = place.and_then(|place| table.sample.place(place)) {
            let sampled = table.sample.distinct_count(place);
            // What is bounded by the files' least and largest is known better than what is guessed.
            column.values = match column.values < file_rows {
                true => column.values.min(sampled),
                false => sampled,
            };
        }
    }
    let mut sampled = Sampled::new(table.clone());
    if let Some(filter) = config.file_source.filter() {
        sampled.restrict(&filter);
    }
    estimate.rows = sampled.rows().min(file_rows);
    estimate.columns = sampled.columns(estimate.columns, &output);
    estimate.sampled = Some(sampled.seen_as(&output));
    estimate
}

fn of_filter(input: &Estimate, filter: &FilterExec) -> Estimate {
    let mut passing = input.clone();
    match &mut passing.sampled {
        Some(sampled) => {
            sampled.restrict(filter.predicate());
            passing.rows = sampled.rows().min(input.rows);
            let all: Vec<Option<usize>> = (0..input.columns.len()).map(Some).collect();
            passing.columns = sampled.columns(passing.columns, &all);
        }
        None => passing.rows *= share_passing(filter.predicate(), &input.columns),
    }
    passing
}

/// The column of its input that an output is, if it is one.
fn plain_column(output: &ProjectionExpr) -> Option<usize> {
    output.expr.downcast_ref::<Column>().map(Column::index)
}

fn projected(input: &Estimate, places: impl Iterator<Item = Option<usize>>) -> Estimate {
    let places: Vec<Option<usize>> = places.collect();
    let columns = places.iter().map(|place| {
        let column = place.and_then(|place| input.columns.get(place));
        column.cloned().unwrap_or_else(|| ColumnEstimate::unknown(input.rows))
    });
    Estimate {
        rows: input.rows,
        columns: columns.collect(),
        sampled: input.sampled.as_ref().map(|sampled| sampled.seen_as(&places)),
    }
}

fn of_aggregate(input: &Estimate, aggregate: &AggregateExec) -> Estimate {
    let keys = aggregate.group_expr();
    let known: Vec<ColumnEstimate> = keys
        .expr()
        .iter()
        .map(|(key, _)| {
            let column = key.downcast_ref::<Column>().map(Column::index);
            let column = column.and_then(|place| input.columns.get(place));
            column.cloned().unwrap_or_else(|| ColumnEstimate::unknown(input.rows))
        })
        .collect();
    let rows = match known.is_empty() {
        true => 1.0,
        false => (groups(&known) * keys.groups().len().max(1) as f64).min(input.rows),
    };
    let mut columns: Vec<ColumnEstimate> = known
        .into_iter()
        .map(|key| ColumnEstimate {
            values: key.values.min(rows.max(1.0)),
            relation_rows: rows.max(1.0),
            // Of groups each value is there once.
            summary: None,
            ..key
        })
        .collect();
    columns.resize(aggregate.schema().fields().len(), ColumnEstimate::unknown(rows));
    Estimate {
        rows,
        columns,
        sampled: None,
    }
}

/// How many groups keys make: few come in all combinations, so each further key counts less.
fn groups(keys: &[ColumnEstimate]) -> f64 {
    let mut values: Vec<f64> = keys.iter().map(|key| key.values).collect();
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    let weighed = values
        .iter()
        .zip(0_i32..)
        .map(|(values, place)| values.powf(0.5_f64.powi(place)));
    weighed.product()
}
