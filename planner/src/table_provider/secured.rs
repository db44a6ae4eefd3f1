//! A table behind its row policies and masks, or a view of which a role may read some columns.
//!
//! ```text
//! SELECT … FROM t WHERE f(a)                                 what the query's operators see is a leaf
//!   Filter f(a)
//!     SecuredScan t                 <- its own plan:  masks( policies( rows of t ) ), planned when the query's operators are
//! ```
//!
//! That leaf is the barrier: no operator, condition or expression of the query comes below it, and nothing comes out but rows
//! that are shown. Conditions that cannot fail and tell nothing (comparisons of columns with values) are handed in, because files can be left
//! out by them. Statistics, files and what was left out are not told.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column as PhysicalColumn};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use staffa_catalog::{Table, View};

use crate::authorize::Readable;
use crate::context::PlanContext;
use crate::error::Error;
use crate::operator::streaming;
use crate::physical::physical;
use crate::reads::ReadLog;
use crate::scan_report::{ScanReport, ScanReports};

/// What of a table is shown.
#[derive(Debug)]
pub(crate) struct SecuredTable {
    context: PlanContext,
    /// As EXPLAIN shows it.
    name: String,
    /// `None`: of a view.
    table: Option<Arc<Table>>,
    /// The rows that are shown, with what is shown of them.
    rows: LogicalPlan,
    schema: SchemaRef,
    /// Columns that are not what the table has.
    masked: Vec<String>,
    /// `None`: all columns may be read.
    readable: Option<Readable>,
}

impl SecuredTable {
    pub(crate) fn new(
        context: &PlanContext,
        table: &Arc<Table>,
        rows: LogicalPlan,
        masked: Vec<String>,
        readable: Option<Readable>,
    ) -> Self {
        Self {
            table: Some(Arc::clone(table)),
            masked,
            readable,
            ..Self::over(context, &table.name().name, rows)
        }
    }

    /// A view.
    pub(crate) fn of_view(context: &PlanContext, view: &View, rows: LogicalPlan, readable: Readable) -> Self {
        Self {
            // Whatever they are: nothing is known of them here.
            masked: view.columns.iter().map(|(name, _)| name.clone()).collect(),
            readable: Some(readable),
            ..Self::over(context, &view.name.name, rows)
        }
    }

    fn over(context: &PlanContext, name: &str, rows: LogicalPlan) -> Self {
        // The plan is of this run: policies may ask for the session's settings.
        context.momentary.set();
        let fields = rows.schema().fields().clone();
        Self {
            context: context.clone(),
            name: name.to_owned(),
            table: None,
            schema: Arc::new(arrow::datatypes::Schema::new(fields)),
            rows,
            masked: Vec::new(),
            readable: None,
        }
    }

    /// `None`: it is a view.
    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        self.table.as_ref()
    }

    /// Whether a condition may be computed for rows that are hidden.
    fn is_harmless(&self, condition: &Expr) -> bool {
        let is_value = |expression: &Expr| match expression {
            Expr::Column(column) => !self.masked.contains(&column.name),
            Expr::Literal(..) | Expr::Placeholder(_) => true,
            _ => false,
        };
        match condition {
            Expr::BinaryExpr(binary) => match binary.op {
                Operator::And | Operator::Or => self.is_harmless(&binary.left) && self.is_harmless(&binary.right),
                Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                    is_value(&binary.left) && is_value(&binary.right)
                }
                _ => false,
            },
            Expr::Not(inner) => self.is_harmless(inner),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => is_value(inner),
            Expr::Between(between) => is_value(&between.expr) && is_value(&between.low) && is_value(&between.high),
            Expr::InList(list) => is_value(&list.expr) && list.list.iter().all(is_value),
            _ => false,
        }
    }
}

#[async_trait]
impl TableProvider for SecuredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match self.is_harmless(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if let Some(readable) = &self.readable {
            let index_of = |name: &str| self.schema.index_of(name).ok();
            readable.check(projection, filters, self.schema.fields().len(), index_of)?;
        }
        let mut rows = LogicalPlanBuilder::from(self.rows.clone());
        for filter in filters {
            if !self.is_harmless(filter) {
                return Err(Error::internal("a condition below a row policy").into());
            }
            rows = rows.filter(filter.clone())?;
        }
        let columns = self.rows.schema().columns();
        let wanted: Vec<Expr> = match projection {
            Some(projection) => projection.iter().map(|index| named(&columns[*index])).collect(),
            None => columns.iter().map(named).collect(),
        };
        let rows = rows.project(wanted)?.build()?;
        let mut context = self.context.clone();
        context.set_tasks(state.config().target_partitions());
        context.reads = state.config().get_extension::<ReadLog>();
        context.reports = state.config().get_extension::<ScanReports>().map(|_| Arc::default());
        let rows = physical(&context, rows).await?;
        if let (Some(reports), Some(own)) = (state.config().get_extension::<ScanReports>(), &context.reports) {
            for report in own.all() {
                reports.push(without_what_was_left_out(report))?;
            }
        }
        let wanted = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => Arc::clone(&self.schema),
        };
        Ok(Arc::new(SecuredScanExec::new(self.name.clone(), typed(rows, &wanted)?)))
    }
}

/// The rows in the types that were promised: a numeric that is the same in all rows is computed with its own digits.
fn typed(rows: Arc<dyn ExecutionPlan>, wanted: &SchemaRef) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let given = rows.schema();
    let mut is_other = false;
    let columns = given.fields().iter().zip(wanted.fields()).enumerate();
    let columns: Vec<(Arc<dyn PhysicalExpr>, String)> = columns
        .map(|(index, (given, wanted))| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(given.name(), index));
            let typed = match given.data_type() == wanted.data_type() {
                true => column,
                false => {
                    is_other = true;
                    Arc::new(CastExpr::new(column, wanted.data_type().clone(), None))
                }
            };
            (typed, given.name().clone())
        })
        .collect();
    match is_other {
        true => Ok(Arc::new(ProjectionExec::try_new(columns, rows)?)),
        false => Ok(rows),
    }
}

fn named(column: &Column) -> Expr {
    Expr::Column(column.clone()).alias(&column.name)
}

/// What was read counts, as if it had been everything: which files could be left out tells what is in them.
fn without_what_was_left_out(report: ScanReport) -> ScanReport {
    ScanReport {
        files_read: report.files_total,
        bytes_read: report.bytes_total,
        pruned_by_partition: 0,
        pruned_by_statistics: 0,
        directory: String::new(),
        ..report
    }
}

/// The rows of a table that are shown. It has no children: what is below it is its own.
#[derive(Debug)]
struct SecuredScanExec {
    table: String,
    rows: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl SecuredScanExec {
    fn new(table: String, rows: Arc<dyn ExecutionPlan>) -> Self {
        let properties = streaming(&rows, &rows.schema());
        Self {
            table,
            rows,
            properties,
        }
    }
}

impl DisplayAs for SecuredScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecuredScanExec: table={}", self.table)
    }
}

impl ExecutionPlan for SecuredScanExec {
    fn name(&self) -> &str {
        "SecuredScanExec"
    }

    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// Still required, although it is deprecated for callers.
    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let rows = reset_plan_states(Arc::clone(&self.rows))?;
        Ok(Arc::new(Self::new(self.table.clone(), rows)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        self.rows.execute(partition, context)
    }
}
