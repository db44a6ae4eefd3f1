//! Queries in WITH that are computed in a way that is not for the optimiser to choose.
//!
//! Before: `WITH r AS (SELECT random() AS x) …`. After: `WITH r AS (SELECT * FROM (SELECT random() AS x) AS "␁once 7") …`.
//! DataFusion puts a copy of the query in the place of each `r`; by that name they are known to be one query still, and not two that
//! were written alike (`shared/find.rs`).
//!
//! The rows that correlated subqueries are computed for are such a plan, too, where they may be others the second time
//! (`rules/subqueries.rs`).
//!
//! Must not fire on recursive ones, which DataFusion knows by their UNION: a recursion is known by its own name.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Cte, CteAsMaterialized, Ident, ObjectName, Query, SetExpr, SetOperator, TableAlias, TableFactor, TableWithJoins,
    Visitor, VisitorMut,
};

use super::MARKER;
use super::joins::{query_of, select_all};
use crate::context::PlanContext;
use crate::resolve::fold;
use crate::stored::has_volatile;
use crate::walk::{Visit, VisitMut};

const ONCE: &str = "once ";
const APART: &str = "apart";
const NOT: &str = "not";

/// Numbers are never given twice: the text of a view has some of its own.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// How a query in WITH is to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Materialized {
    /// Once, as it gives other rows each time. The number is the query's own.
    Once(u64),
    /// `AS MATERIALIZED`
    Apart,
    /// `AS NOT MATERIALIZED`
    Not,
}

impl Materialized {
    fn once() -> Self {
        Self::Once(NUMBERS.fetch_add(1, Ordering::Relaxed))
    }

    fn name(self) -> String {
        match self {
            Self::Once(number) => format!("{MARKER}{ONCE}{number}"),
            Self::Apart => format!("{MARKER}{APART}"),
            Self::Not => format!("{MARKER}{NOT}"),
        }
    }

    /// What the name of a relation in a plan says, if it is one of these.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name.strip_prefix(MARKER)? {
            APART => Some(Self::Apart),
            NOT => Some(Self::Not),
            once => Some(Self::Once(once.strip_prefix(ONCE)?.parse().ok()?)),
        }
    }

    fn wanted(context: &PlanContext, cte: &Cte) -> Option<Self> {
        match cte.materialized {
            _ if has_volatile(context, &cte.query) => Some(Self::once()),
            Some(CteAsMaterialized::Materialized) => Some(Self::Apart),
            Some(CteAsMaterialized::NotMaterialized) => Some(Self::Not),
            None => None,
        }
    }
}

/// Gives these queries their names.
pub(super) fn mark(context: &PlanContext, query: &mut Query) {
    struct Marks<'a>(&'a PlanContext);
    impl VisitorMut for Marks<'_> {
        type Break = ();
        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let Some(with) = &mut query.with else {
                return ControlFlow::Continue(());
            };
            for cte in &mut with.cte_tables {
                if with.recursive && is_recursive(cte) {
                    continue;
                }
                if let Some(materialized) = Materialized::wanted(self.0, cte) {
                    named(cte, materialized);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Marks(context));
}

/// Whether it is a UNION that reads itself.
fn is_recursive(cte: &Cte) -> bool {
    struct Reads(String);
    impl Visitor for Reads {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let only = match relation.0.as_slice() {
                [part] => part.as_ident(),
                _ => None,
            };
            match only.is_some_and(|ident| fold(ident) == self.0) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    let is_union = matches!(
        cte.query.body.as_ref(),
        SetExpr::SetOperation {
            op: SetOperator::Union,
            ..
        }
    );
    is_union && Visit::visit(cte.query.as_ref(), &mut Reads(fold(&cte.alias.name))).is_break()
}

fn named(cte: &mut Cte, materialized: Materialized) {
    let nothing = TableWithJoins {
        relation: TableFactor::Derived {
            lateral: false,
            subquery: Box::new(Query::clone(&cte.query)),
            alias: Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', materialized.name()),
                columns: Vec::new(),
                at: None,
            }),
            sample: None,
        },
        joins: Vec::new(),
    };
    *cte.query = query_of(select_all(nothing));
}

/// The plan of a view for one more place that names it: what its text computes once is computed once there.
pub(crate) fn numbered_anew(plan: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    let mut has_any = false;
    plan.apply_with_subqueries(|node| {
        has_any |= once_in(node).is_some();
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !has_any {
        return Ok(None);
    }
    let mut numbers: Vec<(u64, Materialized)> = Vec::new();
    let renamed = plan.clone().transform_up_with_subqueries(|node| {
        let (Some(number), LogicalPlan::SubqueryAlias(alias)) = (once_in(&node), &node) else {
            return Ok(Transformed::no(node));
        };
        if once_in(&alias.input).is_some() {
            return Ok(Transformed::no(node));
        }
        let known = numbers.iter().find(|(old, _)| *old == number).map(|(_, new)| *new);
        let new = known.unwrap_or_else(|| {
            let new = Materialized::once();
            numbers.push((number, new));
            new
        });
        // Its columns are still known by the first name.
        let input = LogicalPlanBuilder::from(LogicalPlan::clone(&alias.input));
        let input = input.alias(TableReference::bare(new.name()))?;
        Ok(Transformed::yes(input.alias(alias.alias.clone())?.build()?))
    });
    renamed.data().map(Some)
}

/// A plan that is computed once, however many copies of it there are, under the names it has.
pub(crate) fn once(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let short = |at: usize| format!("c{at}");
    let named = schema.columns().into_iter().enumerate();
    let named: Vec<Expr> = named
        .map(|(at, column)| Expr::Column(column).alias(short(at)))
        .collect();
    let as_before = schema.iter().enumerate();
    let as_before: Vec<Expr> = as_before
        .map(|(at, (qualifier, field))| {
            let column = Expr::Column(Column::from_name(short(at)));
            column.alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    LogicalPlanBuilder::from(plan)
        .project(named)?
        .alias(TableReference::bare(Materialized::once().name()))?
        .project(as_before)?
        .build()
}

fn once_in(node: &LogicalPlan) -> Option<u64> {
    match node {
        LogicalPlan::SubqueryAlias(alias) => match Materialized::of(alias.alias.table())? {
            Materialized::Once(number) => Some(number),
            _ => None,
        },
        _ => None,
    }
}
