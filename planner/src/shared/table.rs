//! A shared part as its readers' plans see it: a table, whose columns and conditions are handed down as far as all readers agree.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::datasource::{TableProvider, TableType, provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableScan, TableSource,
};
use datafusion::physical_plan::ExecutionPlan;

use super::Parts;
use super::operator::SharedReadExec;
use crate::error::Result;

/// What stands in a plan for a part that is computed elsewhere.
#[derive(Debug)]
pub(super) struct SharedTable {
    pub(super) number: usize,
    schema: SchemaRef,
    /// Its rows are wanted in the order they come in.
    in_order: bool,
}

impl SharedTable {
    pub(super) fn new(number: usize, schema: SchemaRef, in_order: bool) -> Self {
        Self {
            number,
            schema,
            in_order,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("shared {}", self.number)
    }
}

/// The part a scan reads.
pub(super) fn read_by(scan: &TableScan) -> Option<usize> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<SharedTable>().map(|table| table.number)
}

#[async_trait]
impl TableProvider for SharedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    /// They are noted, and asked once more of what comes: other readers may want other rows.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let parts = session.config().get_extension::<Parts>();
        let Some(part) = parts.as_ref().and_then(|parts| parts.0.get(self.number)) else {
            let message = format!("the shared part {} is not in the plan", self.number);
            return Err(DataFusionError::Internal(message));
        };
        let columns = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let partitions = match self.in_order {
            true => 1,
            false => session.config().target_partitions(),
        };
        let schema = Arc::new(self.schema.project(&columns)?);
        let read = SharedReadExec::new(Arc::clone(part), columns, schema, partitions);
        Ok(Arc::new(read))
    }
}

/// What the readers of a part want of it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    columns: Vec<usize>,
    /// The conditions of each reader; `None`: one of them wants all rows.
    conditions: Option<Vec<Expr>>,
    readers: usize,
}

impl Wanted {
    /// What all these plans want of a part.
    pub(super) fn of(number: usize, plans: &[&LogicalPlan], schema: &SchemaRef) -> Result<Self> {
        let mut wanted = Self {
            conditions: Some(Vec::new()),
            ..Self::default()
        };
        for plan in plans {
            plan.apply_with_subqueries(|node| {
                if let LogicalPlan::TableScan(scan) = node
                    && read_by(scan) == Some(number)
                {
                    wanted.add(scan, schema);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        wanted.columns.sort_unstable();
        wanted.columns.dedup();
        if wanted.columns.is_empty() {
            wanted.columns.push(0);
        }
        Ok(wanted)
    }

    fn add(&mut self, scan: &TableScan, schema: &SchemaRef) {
        self.readers += 1;
        match &scan.projection {
            Some(columns) => self.columns.extend(columns),
            None => self.columns.extend(0..schema.fields().len()),
        }
        let filters = scan.filters.iter().filter(|filter| is_of_columns(filter));
        match (conjunction(filters.cloned()), &mut self.conditions) {
            (Some(condition), Some(conditions)) if !conditions.contains(&condition) => conditions.push(condition),
            (Some(_), _) => {}
            (None, _) => self.conditions = None,
        }
    }

    /// The part without what nobody wants. Columns are found by their places, which are those of the table.
    pub(super) fn narrowed(&self, part: LogicalPlan, takes_conditions: bool) -> Result<LogicalPlan> {
        let columns: Vec<Column> = part.schema().iter().map(Column::from).collect();
        let mut builder = LogicalPlanBuilder::from(part);
        let conditions = self.conditions.clone().filter(|_| takes_conditions);
        if let Some(condition) = conditions.and_then(disjunction) {
            let of_part = condition.transform_up(|inner| {
                let Expr::Column(column) = &inner else {
                    return Ok(Transformed::no(inner));
                };
                let found = columns.iter().find(|own| own.name == column.name);
                let own = found.ok_or_else(|| DataFusionError::Internal(format!("no column {column}")))?;
                Ok(Transformed::yes(Expr::Column(own.clone())))
            });
            builder = builder.filter(of_part.data()?)?;
        }
        if self.columns.len() < columns.len() {
            let kept = self.columns.iter().filter_map(|place| columns.get(*place));
            builder = builder.project(kept.cloned().map(Expr::Column))?;
        }
        Ok(builder.build()?)
    }

    /// The plan with its readers over those columns alone that the part has now.
    pub(super) fn rebased(&self, plan: LogicalPlan, number: usize, schema: &SchemaRef) -> Result<LogicalPlan> {
        let rebased = plan.transform_down_with_subqueries(|node| {
            let LogicalPlan::TableScan(mut scan) = node else {
                return Ok(Transformed::no(node));
            };
            let provider = source_as_provider(&scan.source)?;
            let Some(table) = provider
                .downcast_ref::<SharedTable>()
                .filter(|table| table.number == number)
            else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            let narrow = SharedTable::new(number, Arc::clone(schema), table.in_order);
            scan.source = source_of(narrow);
            scan.projection = scan.projection.map(|columns| {
                let places = columns.iter();
                places
                    .filter_map(|column| self.columns.binary_search(column).ok())
                    .collect()
            });
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        });
        Ok(rebased.data()?)
    }
}

pub(super) fn source_of(table: SharedTable) -> Arc<dyn TableSource> {
    provider_as_source(Arc::new(table))
}

/// Whether it can be asked below: of a row's columns, and nothing else.
fn is_of_columns(filter: &Expr) -> bool {
    let mut is_so = true;
    let walked = filter.apply(|inner| {
        is_so &= !matches!(
            inner,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)
        );
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && is_so && !filter.is_volatile()
}
