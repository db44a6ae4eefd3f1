//! One operator, as it is shown.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use super::ExplainOptions;
use crate::estimate::Estimator;
use crate::guard::GuardExec;
use crate::rewrite::MARKER;
use crate::scan_report::ScanReport;

/// Longest expression shown without VERBOSE, in characters.
const DETAIL_CHARACTERS_MAX: usize = 200;

pub(super) struct Node {
    pub name: String,
    /// The table of a scan or a write.
    pub relation: Option<String>,
    /// What the operator does: its expressions.
    pub detail: Option<String>,
    pub estimated_rows: usize,
    /// The estimate is a count.
    pub exact: bool,
    pub estimated_bytes: Option<usize>,
    pub actual_rows: Option<usize>,
    pub actual_nanoseconds: Option<usize>,
    /// Further numbers with ANALYZE: name and value.
    pub counters: Vec<(&'static str, usize)>,
    pub scan: Option<ScanReport>,
    pub children: Vec<Node>,
}

/// What is known and guessed of the operators of a plan.
#[derive(Default)]
pub(super) struct Estimates {
    known: StatisticsContext,
    guessed: Estimator,
}

impl Node {
    /// `reports` are the scans' that no node has taken yet; the tree below adds to the memory of `estimates`.
    pub(super) fn of(
        plan: &Arc<dyn ExecutionPlan>,
        reports: &mut Vec<ScanReport>,
        estimates: &mut Estimates,
        options: &ExplainOptions,
    ) -> Self {
        if let Some(guard) = plan.downcast_ref::<GuardExec>() {
            // It does nothing to the rows.
            return Self::of(guard.input(), reports, estimates, options);
        }
        let scan = scan_of(plan.as_ref(), reports);
        let known = estimates.known.compute(plan.as_ref(), &StatisticsArgs::new()).ok();
        let rows_known = known.as_ref().and_then(|known| match known.num_rows {
            Precision::Exact(rows) => Some(rows),
            Precision::Inexact(_) | Precision::Absent => None,
        });
        let rows_guessed = estimates.guessed.of(plan).rows.round() as usize;
        let metrics = if options.analyze { plan.metrics() } else { None };
        Self {
            name: shown_name(plan.name()).to_string(),
            relation: scan.as_ref().map(|scan| scan.table.to_string()),
            detail: detail(plan.as_ref(), options.verbose),
            estimated_rows: rows_known.unwrap_or(rows_guessed),
            exact: rows_known.is_some(),
            estimated_bytes: known.and_then(|known| known.total_byte_size.get_value().copied()),
            actual_rows: metrics.as_ref().and_then(MetricsSet::output_rows),
            actual_nanoseconds: metrics.as_ref().and_then(MetricsSet::elapsed_compute),
            counters: metrics.as_ref().map(counters).unwrap_or_default(),
            scan,
            children: plan
                .children()
                .into_iter()
                .map(|child| Node::of(child, reports, estimates, options))
                .collect(),
        }
    }

    /// The node of a statement that takes the rows of another.
    pub(super) fn above(name: &str, relation: &str, child: Node) -> Self {
        Self {
            name: name.to_string(),
            relation: Some(relation.to_string()),
            detail: None,
            estimated_rows: child.estimated_rows,
            exact: child.exact,
            estimated_bytes: child.estimated_bytes,
            actual_rows: None,
            actual_nanoseconds: None,
            counters: Vec::new(),
            scan: None,
            children: vec![child],
        }
    }

    /// Rows that pass through this operator and those below it: the unit of cost.
    pub(super) fn cost(&self) -> usize {
        let below: usize = self.children.iter().map(Node::cost).fold(0, usize::saturating_add);
        below.saturating_add(self.estimated_rows)
    }
}

/// The report of this scan: the one of the table whose directory its files lie in.
fn scan_of(plan: &dyn ExecutionPlan, reports: &mut Vec<ScanReport>) -> Option<ScanReport> {
    let source = (plan as &dyn std::any::Any).downcast_ref::<DataSourceExec>()?;
    let config = source.data_source().downcast_ref::<FileScanConfig>()?;
    let files = config
        .file_groups
        .iter()
        .map(|group| group.files().len())
        .sum::<usize>();
    let first = config
        .file_groups
        .iter()
        .find_map(|group| group.files().first())?
        .object_meta
        .location
        .to_string();
    let of_table = |report: &ScanReport| !report.directory.is_empty() && first.starts_with(&report.directory);
    // Large files are shared between groups, so the counts may differ; then the table alone decides.
    let index = reports
        .iter()
        .position(|report| of_table(report) && report.files_read == files)
        .or_else(|| reports.iter().position(of_table))?;
    Some(reports.remove(index))
}

fn shown_name(name: &str) -> &str {
    match name {
        "DataSourceExec" => "Scan",
        "ProjectionExec" => "Project",
        "FilterExec" => "Filter",
        "AggregateExec" => "Aggregate",
        "SortExec" => "Sort",
        "SortPreservingMergeExec" => "Gather Merge",
        "CoalescePartitionsExec" => "Gather",
        "RepartitionExec" => "Exchange",
        "CoalesceBatchesExec" => "Coalesce",
        "HashJoinExec" => "Hash Join",
        "SortMergeJoinExec" => "Merge Join",
        "NestedLoopJoinExec" => "Nested Loop",
        "CrossJoinExec" => "Cross Join",
        "PiecewiseMergeJoinExec" => "Range Join",
        "GlobalLimitExec" | "LocalLimitExec" => "Limit",
        "UnionExec" | "InterleaveExec" => "Append",
        "WindowAggExec" | "BoundedWindowAggExec" => "WindowAgg",
        "RecursiveQueryExec" => "Recursive Union",
        "WorkTableExec" => "WorkTable Scan",
        "PlaceholderRowExec" => "Result",
        "EmptyExec" => "Empty",
        "UnnestExec" => "Unnest",
        "AsyncFuncExec" => "Async Function",
        "CooperativeExec" | "SmallBatchesExec" => "Yield",
        "ScalarSubqueryExec" => "Subquery",
        "SharedReadExec" => "Shared Scan",
        other => other.strip_suffix("Exec").unwrap_or(other),
    }
}

/// The operator's own words without its name, and for scans without the list of files.
fn detail(plan: &dyn ExecutionPlan, verbose: bool) -> Option<String> {
    let line = displayable(plan).one_line().to_string();
    let line = line.trim_end();
    let (_, rest) = line.split_once(": ")?;
    let text = if plan.name() == "DataSourceExec" {
        let from = rest.find("projection=").or_else(|| rest.find("predicate="))?;
        let text = &rest[from..];
        let end = [", file_type=", ", pruning_predicate=", ", required_guarantees="]
            .into_iter()
            .filter_map(|part| text.find(part))
            .min()
            .unwrap_or(text.len());
        let predicate = text.find("predicate=").filter(|at| *at > end);
        match predicate {
            Some(at) => {
                let tail = &text[at..];
                let stop = [", pruning_predicate=", ", required_guarantees="]
                    .into_iter()
                    .filter_map(|part| tail.find(part))
                    .min()
                    .unwrap_or(tail.len());
                format!("{}, {}", &text[..end], &tail[..stop])
            }
            None => text[..end].to_string(),
        }
    } else {
        rest.to_string()
    };
    let text = without_markers(&text);
    match text.char_indices().nth(DETAIL_CHARACTERS_MAX) {
        Some((at, _)) if !verbose => Some(format!("{}…", &text[..at])),
        _ => Some(text),
    }
}

/// Names without what makes them distinct.
fn without_markers(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut marked = false;
    for c in text.chars() {
        marked = c == MARKER || (marked && c.is_ascii_digit());
        if !marked {
            clean.push(c);
        }
    }
    clean
}

fn counters(metrics: &MetricsSet) -> Vec<(&'static str, usize)> {
    let metrics = metrics.aggregate_by_name();
    let mut found = Vec::new();
    for (name, shown) in [
        ("bytes_scanned", "Bytes Scanned"),
        ("bytes_from_cache", "Bytes from Cache"),
        ("chunks_from_cache", "Columns from Cache"),
        ("chunks_decoded", "Columns Decoded"),
        ("row_groups_pruned_statistics", "Row Groups Pruned"),
        ("page_index_rows_pruned", "Rows Pruned by Page Index"),
        ("pushdown_rows_pruned", "Rows Pruned by Filter"),
        ("spilled_bytes", "Spilled Bytes"),
        ("spill_count", "Spills"),
    ] {
        let value = metrics
            .iter()
            .find(|metric| metric.value().name() == name)
            .map(|metric| pruned_or_value(metric.value()))
            .unwrap_or(0);
        if value > 0 {
            found.push((shown, value));
        }
    }
    found
}

/// Pruning metrics hold two numbers; the one shown is how many were pruned.
fn pruned_or_value(value: &datafusion::physical_plan::metrics::MetricValue) -> usize {
    use datafusion::physical_plan::metrics::MetricValue;
    match value {
        MetricValue::PruningMetrics { pruning_metrics, .. } => pruning_metrics.pruned(),
        other => other.as_usize(),
    }
}
