//! Plans that would be too large to work with are refused before anything walks them.
//!
//! A short text can ask for a huge plan: names of `WITH` and views that are read twice by the next one double it each time. The
//! parts that are alike are shared when the plan is made, so it is small in memory, and counting them is quick: each is looked
//! at once. All that comes later would look at every one of its copies; and making the plan looks at those of names of `WITH`, so
//! these are counted on the syntax tree, before.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visitor};

use crate::error::{Error, ErrorKind, Result};
use crate::resolve::fold;
use crate::walk::Visit;

/// Nodes of one statement's plan, those of its subqueries with them. Five thousand `SELECT`s in one `UNION` have fewer.
const NODES_MAX: u64 = 20_000;
/// Joins: those that stand inside each other become one chain, as deep as there are joins.
const JOINS_MAX: u64 = 1_000;
/// Nodes on each other. Everything that walks a plan and runs it goes as deep.
const DEPTH_MAX: u64 = 5_000;

pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    let size = Size::of(plan, &mut HashMap::new())?;
    let exceeded = [
        (size.nodes, NODES_MAX, "operations"),
        (size.joins, JOINS_MAX, "joins"),
        (size.depth, DEPTH_MAX, "operations on each other"),
    ];
    match exceeded.into_iter().find(|(has, most, _)| has > most) {
        None => Ok(()),
        Some((_, most, what)) => Err(too_large(most, what)),
    }
}

fn too_large(most: u64, what: &str) -> Error {
    Error::new(ErrorKind::StatementTooComplex, "statement is too complex")
        .with_detail(format!(
            "With each use of its views and names of WITH it has more than {most} {what}."
        ))
        .with_hint("Store what is used several times in a temporary table.")
}

/// The same for what a query's own names of `WITH` make of it, before there is a plan.
pub(crate) fn check_names(query: &Query) -> Result<()> {
    let mut uses = Uses::default();
    let _ = query.visit(&mut uses);
    match uses.whole > NODES_MAX {
        true => Err(too_large(NODES_MAX, "operations")),
        false => Ok(()),
    }
}

/// Counts the relations and queries of a query, those of a name of `WITH` wherever it is used.
#[derive(Default)]
struct Uses {
    /// The queries that the visitor is in, outermost first.
    open: Vec<Open>,
    whole: u64,
}

struct Open {
    /// Its names of `WITH`. Their queries are the first in it.
    names: Vec<String>,
    /// What the names stand for whose queries were seen.
    known: HashMap<String, u64>,
    uses: u64,
}

impl Visitor for Uses {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables);
        self.open.push(Open {
            names: names.map(|cte| fold(&cte.alias.name)).collect(),
            known: HashMap::new(),
            uses: 1,
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        let uses = self.open.pop().map_or(0, |query| query.uses);
        match self.open.last_mut() {
            None => self.whole = uses,
            Some(around) => match around.names.get(around.known.len()) {
                Some(name) => drop(around.known.insert(name.clone(), uses)),
                None => around.uses = around.uses.saturating_add(uses),
            },
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = match &relation.0[..] {
            [part] => part.as_ident().map(fold).unwrap_or_default(),
            _ => String::new(),
        };
        let uses = self.open.iter().rev().find_map(|query| query.known.get(&name));
        let uses = uses.copied().unwrap_or(1);
        if let Some(query) = self.open.last_mut() {
            query.uses = query.uses.saturating_add(uses);
        }
        ControlFlow::Continue(())
    }
}

/// How much of a plan there is, shared parts as often as they are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    nodes: u64,
    joins: u64,
    depth: u64,
}

impl Size {
    fn of(plan: &LogicalPlan, known: &mut HashMap<*const LogicalPlan, Size>) -> DataFusionResult<Self> {
        if let Some(size) = known.get(&std::ptr::from_ref(plan)) {
            return Ok(*size);
        }
        let mut size = Size {
            nodes: 1,
            joins: u64::from(matches!(plan, LogicalPlan::Join(_))),
            depth: 0,
        };
        for input in plan.inputs() {
            size.add(Self::of(input, known)?);
        }
        plan.apply_subqueries(|subquery| {
            // The node it comes in is made for this call: what it holds stays where it is.
            for input in subquery.inputs() {
                size.add(Self::of(input, known)?);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        size.depth += 1;
        known.insert(std::ptr::from_ref(plan), size);
        Ok(size)
    }

    fn add(&mut self, input: Size) {
        self.nodes = self.nodes.saturating_add(input.nodes);
        self.joins = self.joins.saturating_add(input.joins);
        self.depth = self.depth.max(input.depth);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::LogicalPlanBuilder;

    use super::*;

    #[test]
    fn shared_parts_count_as_often_as_they_are_used() {
        let mut plan = LogicalPlanBuilder::empty(true).build().expect("a row");
        for _ in 0..4 {
            let builder = LogicalPlanBuilder::from(plan.clone()).cross_join(plan);
            plan = builder.and_then(LogicalPlanBuilder::build).expect("a join");
        }
        let size = Size::of(&plan, &mut HashMap::new()).expect("counted");
        assert_eq!((size.joins, size.depth), (15, 5));
        assert_eq!(size.nodes, 31);
        assert!(check(&plan).is_ok());
        for _ in 0..60 {
            let builder = LogicalPlanBuilder::from(plan.clone()).cross_join(plan);
            plan = builder.and_then(LogicalPlanBuilder::build).expect("a join");
        }
        let error = check(&plan).expect_err("2^64 joins");
        assert_eq!(error.kind(), ErrorKind::StatementTooComplex);
    }
}
