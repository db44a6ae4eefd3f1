//! The work table of a recursive query whose rows belong to outer rows.
//!
//! Before: a scan of the rows the step before gave. After: the same rows with the keys of the outer rows they are of.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, Result as DataFusionResult, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::logical_plan::{RecursiveQuery, TableScan};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use super::push::Carrier;
use super::unsupported;

#[derive(Clone)]
pub(super) struct WorkTable {
    name: String,
    /// The scan as the query has it.
    given: TableScan,
    /// The columns of the keys in the table, in the carrier's order.
    keys: Vec<FieldRef>,
}

impl WorkTable {
    /// The one table that the recursive term of a query reads its own rows from.
    pub(super) fn of(query: &RecursiveQuery, carrier: &Carrier) -> DataFusionResult<Self> {
        let mut scans = Vec::new();
        let mut all = 0;
        query.recursive_term.apply(|node| {
            scans.extend(scan_of(node, &query.name).cloned());
            Ok(TreeNodeRecursion::Continue)
        })?;
        query.recursive_term.apply_with_subqueries(|node| {
            all += usize::from(scan_of(node, &query.name).is_some());
            Ok(TreeNodeRecursion::Continue)
        })?;
        let (1, Some(given)) = (all, scans.pop()) else {
            return Err(unsupported());
        };
        let schema = carrier.plan.schema();
        let keys = carrier.keys.iter().map(|(_, key)| {
            let field = schema.field_from_column(key)?.as_ref().clone();
            Ok(Arc::new(field.with_nullable(true)))
        });
        Ok(Self {
            name: query.name.clone(),
            given,
            keys: keys.collect::<DataFusionResult<_>>()?,
        })
    }

    pub(super) fn is_in(&self, plan: &LogicalPlan) -> bool {
        plan.exists(|node| Ok(scan_of(node, &self.name).is_some()))
            .unwrap_or(false)
    }

    /// The table's rows, with the keys as the carrier calls them.
    pub(super) fn with_keys(&self, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let given = self.given.source.schema();
        let fields: Vec<FieldRef> = given.fields().iter().chain(&self.keys).cloned().collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, given.metadata().clone()));
        let source = provider_as_source(Arc::new(CteWorkTable::new(&self.name, schema)));
        let table = self.given.table_name.clone();
        let scan = LogicalPlanBuilder::scan(table.clone(), source, None)?.build()?;
        let column = |field: &Field| Expr::Column(Column::new(Some(table.clone()), field.name()));
        let own = given.fields().iter().map(|field| column(field));
        let keys = self.keys.iter().zip(&carrier.keys);
        let keys = keys.map(|(field, (_, key))| column(field).alias_qualified(None::<TableReference>, &key.name));
        LogicalPlanBuilder::from(scan).project(own.chain(keys))?.build()
    }
}

/// A scan of the work table of the recursive query of that name. A query inside may have the same name: its table hides the other.
fn scan_of<'a>(node: &'a LogicalPlan, name: &str) -> Option<&'a TableScan> {
    let LogicalPlan::TableScan(scan) = node else {
        return None;
    };
    let provider = source_as_provider(&scan.source).ok()?;
    let table = provider.downcast_ref::<CteWorkTable>()?;
    (table.name() == name).then_some(scan)
}
