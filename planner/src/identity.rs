//! What a query's answer hangs on, beside the values of its parameters and the settings: what it computes, and of which versions of
//! which tables.
//!
//! Two queries of one identity have one answer. A query has none that hangs on anything else: a moment, a session, chance, what the server
//! knows of itself, files that are no table's, policies and masks, and rights to some columns only, which are checked when it is planned.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use staffa_catalog::Uuid;

use crate::error::Result;
use crate::generic::some_expression;
use crate::statement::QueryPlan;
use crate::table_provider::StaffaTable;

/// See the module.
#[derive(Debug)]
pub struct QueryIdentity {
    hash: u64,
    plan: LogicalPlan,
    /// In the order of the plan.
    tables: Vec<TableState>,
}

/// A version of a table: its definition and its rows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TableState {
    table: Uuid,
    metadata: String,
    snapshot: Option<i64>,
}

impl QueryIdentity {
    fn of(query: &QueryPlan) -> Result<Option<Self>> {
        if query.is_of_session()? || some_expression(&query.logical, |_, expression| is_volatile(expression))? {
            return Ok(None);
        }
        let (mut tables, mut others) = (Vec::new(), false);
        query.logical.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let provider = source_as_provider(&scan.source)?;
                match provider
                    .downcast_ref::<StaffaTable>()
                    .filter(|table| table.is_for_all())
                {
                    Some(table) => {
                        let table = table.table();
                        tables.push(TableState {
                            table: table.uuid(),
                            metadata: table.metadata_location().to_owned(),
                            snapshot: table.snapshot_id(),
                        });
                    }
                    None => others = true,
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if others || tables.is_empty() {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        query.logical.hash(&mut hasher);
        tables.hash(&mut hasher);
        Ok(Some(Self {
            hash: hasher.finish(),
            plan: query.logical.clone(),
            tables,
        }))
    }
}

pub(crate) fn is_volatile(expression: &Expr) -> bool {
    match expression {
        Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Volatile,
        Expr::AggregateFunction(call) => call.func.signature().volatility == Volatility::Volatile,
        Expr::ScalarVariable(..) => true,
        _ => false,
    }
}

impl PartialEq for QueryIdentity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.hash == other.hash && self.tables == other.tables && self.plan == other.plan
    }
}

impl Eq for QueryIdentity {}

impl Hash for QueryIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl QueryPlan {
    /// What its answer hangs on; `None` where that cannot be told.
    ///
    /// Errors: of DataFusion's walk through the plan.
    pub fn identity(&self) -> Result<Option<Arc<QueryIdentity>>> {
        let known = self.generic.known_identity();
        if let Some(identity) = known.get() {
            return Ok(identity.clone());
        }
        let identity = QueryIdentity::of(self)?.map(Arc::new);
        Ok(known.get_or_init(|| identity).clone())
    }
}
