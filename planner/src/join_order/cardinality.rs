//! How many rows the joins of some inputs give, in whatever order: only the set counts.
//!
//! Inner joins: the product of the inputs, divided for each class of equal columns by the values of all but one of its columns. The one
//! that is left out is the one with the fewest values, of several the one of the largest table: it refers to the others. So
//! `a = b = c` counts twice, not three times. An input is not charged with more than it has rows: the columns of a key of two hang together.
//!
//! Left, semi and anti joins multiply their left side: by the matches of a row, or by the share of rows that have one.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Condition, Edge, JoinGraph, Kind};
use super::set::Set;
use crate::estimate::{Estimate, share_passing};

/// Columns of nearly as few values as the one with the fewest.
const AS_FEW: f64 = 1.5;

/// What an anti join leaves at least: that every row has a match is never certain.
const UNMATCHED_SHARE_MIN: f64 = 0.05;

pub(crate) struct Rows<'a> {
    graph: &'a JoinGraph,
    leaves: &'a [Arc<Estimate>],
    /// The classes with more than one column.
    classes: Vec<Vec<usize>>,
    /// Conditions of inner joins that are no keys: what they read, and what passes.
    filters: Vec<(Set, f64)>,
    known: HashMap<Set, f64>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(graph: &'a JoinGraph, leaves: &'a [Arc<Estimate>]) -> Self {
        let mut classes: HashMap<usize, Vec<usize>> = HashMap::new();
        for (column, class) in graph.classes.iter().enumerate() {
            classes.entry(*class).or_default().push(column);
        }
        let mut classes: Vec<Vec<usize>> = classes.into_values().filter(|class| class.len() > 1).collect();
        classes.sort_unstable();
        let columns: Vec<_> = (0..graph.fields.len())
            .map(|column| graph.estimate_of(leaves, column).clone())
            .collect();
        let conditions = graph
            .edges
            .iter()
            .filter(|edge| edge.kind == Kind::Inner)
            .flat_map(|edge| &edge.conditions);
        let filters = conditions.filter_map(|condition| match condition {
            Condition::Filter(filter) => Some((graph.leaves_of(condition), share_passing(filter, &columns))),
            Condition::Equal(..) => None,
        });
        Self {
            filters: filters.collect(),
            graph,
            leaves,
            classes,
            known: HashMap::new(),
        }
    }

    /// Rows of the joins of a set: at least one.
    pub(crate) fn of(&mut self, set: Set) -> f64 {
        if let Some(rows) = self.known.get(&set) {
            return *rows;
        }
        let rows = self.made(set).max(1.0);
        self.known.insert(set, rows);
        rows
    }

    fn made(&mut self, set: Set) -> f64 {
        let graph = self.graph;
        let applied = |edge: &&Edge| edge.kind != Kind::Inner && edge.left.or(edge.right).is_within(set);
        let applied: Vec<&Edge> = graph.edges.iter().filter(applied).collect();
        // What is inside the right side of another is counted there.
        let is_outermost = |edge: &&&Edge| !applied.iter().any(|other| edge.left.is_within(other.right_all));
        let outermost: Vec<&Edge> = applied.iter().filter(is_outermost).copied().collect();
        let right = outermost
            .iter()
            .fold(Set::default(), |all, edge| all.or(edge.right_all));
        let mut rows = self.inner(set.without(right));
        for edge in outermost {
            let matched = self.of(edge.right_all.and(set));
            rows *= self.kept(edge, matched);
        }
        rows
    }

    fn inner(&self, set: Set) -> f64 {
        let mut rows: f64 = set.members().map(|leaf| self.leaves[leaf].rows.max(1.0)).product();
        let mut charged: HashMap<usize, f64> = HashMap::new();
        for class in &self.classes {
            let mut members: Vec<usize> = class
                .iter()
                .copied()
                .filter(|column| self.graph.leaf_of(*column).is_within(set))
                .collect();
            let estimate = |column: usize| self.graph.estimate_of(self.leaves, column);
            let fewest = members
                .iter()
                .map(|column| estimate(*column).values)
                .fold(f64::INFINITY, f64::min);
            let refers = members
                .iter()
                .enumerate()
                .filter(|(_, column)| estimate(**column).values <= fewest * AS_FEW)
                .max_by(|(_, a), (_, b)| estimate(**a).relation_rows.total_cmp(&estimate(**b).relation_rows))
                .map(|(place, _)| place);
            if members.len() < 2 {
                continue;
            }
            rows *= members
                .iter()
                .map(|column| 1.0 - estimate(*column).nulls)
                .product::<f64>();
            if let Some(place) = refers {
                members.swap_remove(place);
            }
            for column in members {
                let (leaf, _) = self.graph.origins[column];
                let estimate = estimate(column);
                let sum = charged.entry(leaf).or_insert(1.0);
                let most = estimate.relation_rows.max(estimate.values).max(*sum);
                *sum = (*sum * estimate.values.max(1.0)).min(most);
            }
        }
        rows /= charged.into_values().product::<f64>();
        let inside = self.filters.iter().filter(|(read, _)| read.is_within(set));
        rows * inside.map(|(_, share)| share).product::<f64>()
    }

    /// How many rows come out for each of the left side, where the right one has so many.
    fn kept(&self, edge: &Edge, right_rows: f64) -> f64 {
        let (mut left_values, mut right_values, mut left_rows) = (1.0_f64, 1.0_f64, 1.0_f64);
        let mut others = 1.0;
        for condition in &edge.conditions {
            match condition {
                Condition::Equal(one, other) => {
                    let is_left = self.graph.leaf_of(*one).is_within(edge.right_all);
                    let (left, right) = if is_left { (*other, *one) } else { (*one, *other) };
                    let left = self.graph.estimate_of(self.leaves, left);
                    left_values *= left.values;
                    left_rows = left_rows.max(left.relation_rows);
                    right_values *= self.graph.estimate_of(self.leaves, right).values;
                }
                Condition::Filter(filter) => {
                    let columns: Vec<_> = (0..self.graph.fields.len())
                        .map(|column| self.graph.estimate_of(self.leaves, column).clone())
                        .collect();
                    others *= share_passing(filter, &columns);
                }
            }
        }
        let left_values = left_values.min(left_rows).max(1.0);
        let present = right_values.min(right_rows).max(1.0);
        let found = (present / left_values).min(1.0);
        let matches = right_rows / present * others;
        let share = found * matches.min(1.0);
        match edge.kind {
            Kind::Inner | Kind::Left => (found * matches).max(1.0),
            Kind::Semi => share,
            Kind::Anti => (1.0 - share).max(UNMATCHED_SHARE_MIN),
        }
    }
}
