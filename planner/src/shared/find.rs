//! Finds what a plan computes more than once.
//!
//! DataFusion puts the plan of a query in WITH in the place of each of its names. Before it is optimised, these are equal, and
//! so are views and subqueries in FROM that were written twice.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DataFusionResult, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SubqueryAlias};

use super::table::{SharedTable, source_of};
use crate::error::Result;
use crate::generic::some_expression;
use crate::identity::is_volatile;
use crate::rewrite::Materialized;

/// A plan with its parts taken out.
pub(super) struct Found {
    /// Each before those that read it.
    pub(super) parts: Vec<FoundPart>,
    pub(super) main: LogicalPlan,
}

pub(super) struct FoundPart {
    /// With the parts it reads itself taken out.
    pub(super) plan: LogicalPlan,
    /// As it was in the plan.
    pub(super) original: Arc<LogicalPlan>,
    pub(super) must: Must,
}

/// Whether a part has to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    /// If it is cheaper.
    No,
    /// `AS MATERIALIZED`: nothing is handed down into it.
    BeApart,
    /// Its rows are others each time they are computed.
    BeOne,
}

/// A plan that may be a part.
struct Candidate {
    hash: u64,
    said: Option<Materialized>,
    plan: Arc<LogicalPlan>,
    must: Must,
    uses: usize,
    /// Its number, once it was taken out.
    number: Option<usize>,
}

/// The plan with parts taken out of it, all but those that are to be computed where they stand.
pub(super) fn parts_of(plan: LogicalPlan, inline: &[Arc<LogicalPlan>]) -> Result<Found> {
    let mut finder = Finder {
        inline,
        candidates: Vec::new(),
        parts: Vec::new(),
    };
    finder.count(&plan)?;
    finder.candidates.retain(|candidate| match candidate.must {
        Must::BeApart => true,
        Must::No | Must::BeOne => candidate.uses > 1,
    });
    let main = match finder.candidates.is_empty() {
        true => plan,
        false => finder.taken_out(plan)?,
    };
    Ok(Found {
        parts: finder.parts,
        main,
    })
}

struct Finder<'a> {
    inline: &'a [Arc<LogicalPlan>],
    candidates: Vec<Candidate>,
    parts: Vec<FoundPart>,
}

impl Finder<'_> {
    fn count(&mut self, plan: &LogicalPlan) -> DataFusionResult<()> {
        plan.apply_with_subqueries(|node| {
            let is_seen = match node {
                // Its other term is computed again and again.
                LogicalPlan::RecursiveQuery(query) => {
                    self.count(&query.static_term)?;
                    true
                }
                LogicalPlan::SubqueryAlias(alias) => self.is_another_use(alias)?,
                _ => false,
            };
            Ok(match is_seen {
                true => TreeNodeRecursion::Jump,
                false => TreeNodeRecursion::Continue,
            })
        })?;
        Ok(())
    }

    /// Whether it is a candidate that was met before; if it is one and was not, it is noted.
    fn is_another_use(&mut self, alias: &SubqueryAlias) -> DataFusionResult<bool> {
        if let Some(place) = self.place_of(alias) {
            self.candidates[place].uses += 1;
            return Ok(true);
        }
        if let Some(must) = self.may_be_part(alias)? {
            self.candidates.push(Candidate {
                hash: hash_of(&alias.input),
                said: Materialized::of(alias.alias.table()),
                plan: Arc::clone(&alias.input),
                must,
                uses: 1,
                number: None,
            });
        }
        Ok(false)
    }

    fn place_of(&self, alias: &SubqueryAlias) -> Option<usize> {
        if self.candidates.is_empty() {
            return None;
        }
        let said = Materialized::of(alias.alias.table());
        let hash = hash_of(&alias.input);
        let is_it = |known: &Candidate| known.hash == hash && known.said == said && same(&known.plan, &alias.input);
        self.candidates.iter().position(is_it)
    }

    fn may_be_part(&self, alias: &SubqueryAlias) -> DataFusionResult<Option<Must>> {
        let plan = &alias.input;
        let said = Materialized::of(alias.alias.table());
        if matches!(plan.as_ref(), LogicalPlan::SubqueryAlias(_)) || is_marked(plan) || said == Some(Materialized::Not)
        {
            return Ok(None);
        }
        if said.is_none() && !is_work(plan)? {
            return Ok(None);
        }
        let changes = some_expression(plan, |_, expression| is_volatile(expression))?;
        let must = match (changes, said) {
            (_, Some(Materialized::Once(_))) => Must::BeOne,
            (true, _) if matches!(plan.as_ref(), LogicalPlan::RecursiveQuery(_)) => Must::BeOne,
            (true, _) => return Ok(None),
            (false, Some(Materialized::Apart)) => Must::BeApart,
            (false, _) => Must::No,
        };
        let fits = must == Must::BeOne || !is_sorted(plan);
        let is_wanted = must != Must::No || !self.inline.iter().any(|other| same(other, plan));
        Ok((fits && is_wanted && !names_outer_columns(plan)?).then_some(must))
    }

    fn taken_out(&mut self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        plan.transform_down_with_subqueries(|node| match node {
            LogicalPlan::RecursiveQuery(mut query) => {
                query.static_term = Arc::new(self.taken_out(Arc::unwrap_or_clone(query.static_term))?);
                let node = LogicalPlan::RecursiveQuery(query);
                Ok(Transformed::new(node, true, TreeNodeRecursion::Jump))
            }
            LogicalPlan::SubqueryAlias(alias) => match self.place_of(&alias) {
                Some(place) => {
                    let node = self.read(place, &alias)?;
                    Ok(Transformed::new(node, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(LogicalPlan::SubqueryAlias(alias))),
            },
            node => Ok(Transformed::no(node)),
        })
        .data()
    }

    /// A reader of a candidate, which becomes a part with the first of them.
    fn read(&mut self, place: usize, alias: &SubqueryAlias) -> DataFusionResult<LogicalPlan> {
        let number = match self.candidates[place].number {
            Some(number) => number,
            None => {
                let plan = self.taken_out(LogicalPlan::clone(&alias.input))?;
                let number = self.parts.len();
                self.parts.push(FoundPart {
                    plan,
                    original: Arc::clone(&alias.input),
                    must: self.candidates[place].must,
                });
                self.candidates[place].number = Some(number);
                number
            }
        };
        let schema = Arc::new(alias.input.schema().as_arrow().clone());
        let table = SharedTable::new(number, schema, is_sorted(&alias.input) || is_limited(&alias.input));
        let name = table.name();
        let scan = LogicalPlanBuilder::scan(TableReference::bare(name), source_of(table), None)?;
        scan.alias(alias.alias.clone())?.build()
    }
}

fn hash_of(plan: &LogicalPlan) -> u64 {
    let mut hasher = DefaultHasher::new();
    plan.hash(&mut hasher);
    hasher.finish()
}

/// Whether two plans give the same rows. What scans read is no part of the plan's own equality.
fn same(one: &Arc<LogicalPlan>, other: &Arc<LogicalPlan>) -> bool {
    Arc::ptr_eq(one, other) || one == other && reads_the_same(one, other)
}

fn reads_the_same(one: &LogicalPlan, other: &LogicalPlan) -> bool {
    let sources = |plan: &LogicalPlan| {
        let mut sources = Vec::new();
        let walked = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                sources.push(source_as_provider(&scan.source)?);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        walked.ok().map(|_| sources)
    };
    match (sources(one), sources(other)) {
        (Some(one), Some(other)) => {
            let mut pairs = one.iter().zip(&other);
            one.len() == other.len() && pairs.all(|(one, other)| Arc::ptr_eq(one, other))
        }
        _ => false,
    }
}

/// Whether what it does is worth keeping: more than reading and computing row by row.
fn is_work(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(
            node,
            LogicalPlan::Join(_)
                | LogicalPlan::Aggregate(_)
                | LogicalPlan::Distinct(_)
                | LogicalPlan::Window(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::RecursiveQuery(_)
                | LogicalPlan::Unnest(_)
        );
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// Whether it is a query in WITH that says how it is to be computed, under the names of its columns.
fn is_marked(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_marked(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => Materialized::of(alias.alias.table()).is_some() || is_marked(&alias.input),
        _ => false,
    }
}

/// Whether its rows come in an order, and all of them.
fn is_sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(sort) => sort.fetch.is_none(),
        LogicalPlan::Projection(projection) => is_sorted(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_sorted(&alias.input),
        _ => false,
    }
}

/// Whether it gives a few rows, which may be the first ones of an order.
fn is_limited(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Limit(_) => true,
        LogicalPlan::Sort(sort) => sort.fetch.is_some(),
        LogicalPlan::Projection(projection) => is_limited(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_limited(&alias.input),
        _ => false,
    }
}

/// Whether it hangs on rows of a query around it.
fn names_outer_columns(plan: &LogicalPlan) -> DataFusionResult<bool> {
    if !plan.all_out_ref_exprs().is_empty() {
        return Ok(true);
    }
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        let is_known = |outer: &Expr| match outer {
            Expr::OuterReferenceColumn(_, column) => inputs.iter().any(|input| input.schema().has_column(column)),
            _ => false,
        };
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                let subquery = match inner {
                    Expr::ScalarSubquery(subquery) => subquery,
                    Expr::Exists(exists) => &exists.subquery,
                    Expr::InSubquery(within) => &within.subquery,
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                found |= !subquery.outer_ref_columns.iter().all(is_known);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
