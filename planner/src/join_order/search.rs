//! The cheapest order: all of them by DPhyp (Moerkotte, Neumann: "Dynamic Programming Strikes Back", SIGMOD 2008), which looks at
//! each pair of connected sets once; where these are too many, what looks best at each step (Fegaras' GOO).

use std::collections::HashMap;
use std::sync::Arc;

use super::cardinality::Rows;
use super::graph::{Condition, Edge, JoinGraph, Kind};
use super::set::Set;
use super::width::Widths;
use crate::estimate::Estimate;

/// Pairs of sets that are looked at, and sets that are tried for them, before it is left to the greedy search.
const PAIRS_MAX: usize = 4_000;
const TRIES_MAX: usize = 40_000;

/// What a row costs: to put it into a hash table, to look it up there, to make it; and to compare a pair where there is no key.
pub(crate) const BUILD_COST: f64 = 4.0;
pub(crate) const PROBE_COST: f64 = 1.0;
pub(crate) const OUTPUT_COST: f64 = 1.0;
pub(crate) const PAIR_COST: f64 = 0.2;

/// What eight bytes of a row cost besides: to copy them beside a hash table, to take them from there for a row that comes out, and to take them from the row that looked
/// it up, whose neighbours come out, too.
const BUILT_WORD_COST: f64 = 0.75;
const FAR_WORD_COST: f64 = 0.3;
const NEAR_WORD_COST: f64 = 0.1;

/// The joins of a set of inputs: the best known so far.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) cost: f64,
    /// The two sides, the first of which is built.
    pub(super) sides: Option<(Set, Set)>,
}

pub(super) struct Search<'a> {
    graph: &'a JoinGraph,
    rows: Rows<'a>,
    widths: Widths,
    best: HashMap<Set, Joined>,
    pairs: usize,
    tries: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(graph: &'a JoinGraph, leaves: &'a [Arc<Estimate>]) -> Self {
        let mut search = Self {
            graph,
            rows: Rows::new(graph, leaves),
            widths: Widths::new(graph),
            best: HashMap::new(),
            pairs: 0,
            tries: 0,
        };
        search.only_leaves();
        search
    }

    /// What the joins cost as they were written; `None` if that is not understood.
    pub(super) fn written(&mut self) -> Option<f64> {
        self.only_leaves();
        for operator in &self.graph.operators {
            self.offer(operator.left, operator.right)?;
        }
        Some(self.best.get(&self.graph.all())?.cost)
    }

    /// What they cost in the best order that was found.
    pub(super) fn best(&mut self) -> Option<f64> {
        self.only_leaves();
        if self.all_pairs().is_none() {
            self.greedy();
        }
        Some(self.best.get(&self.graph.all())?.cost)
    }

    /// The joins of a set in that order.
    pub(super) fn joined(&self, set: Set) -> Option<&Joined> {
        self.best.get(&set)
    }

    /// Rows of a set's joins.
    pub(super) fn rows_of(&mut self, set: Set) -> f64 {
        self.rows.of(set)
    }

    pub(super) fn only_leaves(&mut self) {
        let leaf = |leaf| {
            let nothing = Joined { cost: 0.0, sides: None };
            (Set::one(leaf), nothing)
        };
        self.best = (0..self.graph.leaves.len()).map(leaf).collect();
    }

    /// Notes the join of two sets, if it can be, and if it is better than what was known. The cost of it.
    fn offer(&mut self, one: Set, other: Set) -> Option<f64> {
        let edges = edges_between(self.graph, one, other)?;
        let below = self.best.get(&one)?.cost + self.best.get(&other)?.cost;
        let mut conditions = edges.iter().flat_map(|edge| &edge.conditions);
        let has_key = conditions.any(|condition| matches!(condition, Condition::Equal(..)));
        let (here, sides) = [(one, other), (other, one)]
            .map(|(build, probe)| (self.cost_of(build, probe, has_key), (build, probe)))
            .into_iter()
            .min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        let set = one.or(other);
        let cost = below + here;
        let better = self.best.get(&set).is_none_or(|known| cost < known.cost);
        if better {
            self.best.insert(
                set,
                Joined {
                    cost,
                    sides: Some(sides),
                },
            );
        }
        Some(cost)
    }

    /// What this join costs.
    fn cost_of(&mut self, build: Set, probe: Set, has_key: bool) -> f64 {
        let set = build.or(probe);
        let (build_rows, probe_rows, rows) = (self.rows.of(build), self.rows.of(probe), self.rows.of(set));
        let found = match has_key {
            true => BUILD_COST * build_rows + PROBE_COST * probe_rows,
            false => PROBE_COST * (build_rows + probe_rows) + PAIR_COST * build_rows * probe_rows,
        };
        let built = BUILT_WORD_COST * self.widths.of(build, build) * build_rows;
        let row =
            OUTPUT_COST + FAR_WORD_COST * self.widths.of(build, set) + NEAR_WORD_COST * self.widths.of(probe, set);
        found + built + row * rows
    }

    /// `None` when there are too many.
    fn all_pairs(&mut self) -> Option<()> {
        for leaf in (0..self.graph.leaves.len()).rev() {
            let start = Set::one(leaf);
            self.pairs_of(start)?;
            self.grow(start, start.up_to())?;
        }
        Some(())
    }

    /// Larger connected sets, with neighbours that are not excluded.
    fn grow(&mut self, set: Set, excluded: Set) -> Option<()> {
        let neighbours = self.neighbours(set, excluded);
        for more in neighbours.subsets() {
            self.count_try()?;
            if self.best.contains_key(&set.or(more)) {
                self.pairs_of(set.or(more))?;
            }
        }
        for more in neighbours.subsets() {
            self.count_try()?;
            self.grow(set.or(more), excluded.or(neighbours))?;
        }
        Some(())
    }

    /// The sets that may be joined with this one, of leaves after its first.
    fn pairs_of(&mut self, set: Set) -> Option<()> {
        let excluded = set.or(set.lowest().up_to());
        let neighbours = self.neighbours(set, excluded);
        for leaf in neighbours.members().rev() {
            let other = Set::one(leaf);
            if self.are_connected(set, other) {
                self.pair(set, other)?;
            }
            self.grow_other(set, other, excluded.or(other.up_to().and(neighbours)))?;
        }
        Some(())
    }

    fn grow_other(&mut self, set: Set, other: Set, excluded: Set) -> Option<()> {
        let neighbours = self.neighbours(other, excluded.or(set));
        for more in neighbours.subsets() {
            self.count_try()?;
            let larger = other.or(more);
            if self.best.contains_key(&larger) && self.are_connected(set, larger) {
                self.pair(set, larger)?;
            }
        }
        for more in neighbours.subsets() {
            self.count_try()?;
            self.grow_other(set, other.or(more), excluded.or(neighbours))?;
        }
        Some(())
    }

    fn pair(&mut self, one: Set, other: Set) -> Option<()> {
        self.pairs += 1;
        self.offer(one, other);
        (self.pairs <= PAIRS_MAX).then_some(())
    }

    fn count_try(&mut self) -> Option<()> {
        self.tries += 1;
        (self.tries <= TRIES_MAX).then_some(())
    }

    fn are_connected(&self, one: Set, other: Set) -> bool {
        let between = |(left, right): (Set, Set)| left.is_within(one) && right.is_within(other);
        self.graph.edges.iter().any(|edge| {
            let sides = (edge.left, edge.right);
            between(sides) || between((sides.1, sides.0))
        })
    }

    /// One leaf of each set that an edge leads to.
    fn neighbours(&self, set: Set, excluded: Set) -> Set {
        let outside = set.or(excluded);
        let mut found = Set::default();
        for edge in &self.graph.edges {
            for (near, far) in [(edge.left, edge.right), (edge.right, edge.left)] {
                if near.is_within(set) && !far.meets(outside) {
                    found = found.or(far.lowest());
                }
            }
        }
        found
    }

    /// Joins the two sets with the fewest rows, again and again; those that nothing connects only when there is nothing else.
    pub(super) fn greedy(&mut self) {
        let mut sets: Vec<Set> = (0..self.graph.leaves.len()).map(Set::one).collect();
        while sets.len() > 1 {
            let mut found: Option<(bool, f64, usize, usize)> = None;
            for one in 0..sets.len() {
                for other in one + 1..sets.len() {
                    let Some(edges) = edges_between(self.graph, sets[one], sets[other]) else {
                        continue;
                    };
                    let is_cross = edges.iter().all(|edge| edge.conditions.is_empty());
                    let rows = self.rows.of(sets[one].or(sets[other]));
                    let next = (is_cross, rows, one, other);
                    if found.is_none_or(|known| (next.0, next.1) < (known.0, known.1)) {
                        found = Some(next);
                    }
                }
            }
            let Some((_, _, one, other)) = found else {
                return;
            };
            let joined = sets[one].or(sets[other]);
            self.offer(sets[one], sets[other]);
            sets.swap_remove(other);
            sets[one] = joined;
        }
    }
}

/// The edges that the join of two sets is made of; `None` if they cannot be joined: something would have to be there that is not,
/// or nothing connects them.
pub(super) fn edges_between(graph: &JoinGraph, one: Set, other: Set) -> Option<Vec<&Edge>> {
    let set = one.or(other);
    let mut found: Vec<&Edge> = Vec::new();
    for edge in &graph.edges {
        let needed = edge.left.or(edge.right);
        if !needed.is_within(set) || needed.is_within(one) || needed.is_within(other) {
            continue;
        }
        if applies(edge, one, other) {
            found.push(edge);
        } else if !edge.is_optional {
            return None;
        }
    }
    if let Some(outer) = found.iter().position(|edge| edge.kind != Kind::Inner) {
        let edge = found[outer];
        // The rows that it leaves out, or fills up, no other condition may have to see.
        let is_alone = found
            .iter()
            .all(|other| other.is_optional || std::ptr::eq(*other, edge));
        return is_alone.then(|| vec![edge]);
    }
    (!found.is_empty()).then_some(found)
}

fn applies(edge: &Edge, one: Set, other: Set) -> bool {
    let set = one.or(other);
    let are_sides = |left: Set, right: Set| {
        let only_right = matches!(edge.kind, Kind::Semi | Kind::Anti);
        edge.left.is_within(left) && edge.right.is_within(right) && (!only_right || right.is_within(edge.right_all))
    };
    let follows = edge
        .rules
        .iter()
        .all(|(some, all)| !some.meets(set) || all.is_within(set));
    follows && (are_sides(one, other) || are_sides(other, one))
}
