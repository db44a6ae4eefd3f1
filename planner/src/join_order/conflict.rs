//! Which joins may change places: the tables of CD-C, and what follows from them for one join.

use super::graph::{JoinGraph, Kind, Operator};
use super::set::Set;

/// Where one of the first is, all of the second must be.
pub(super) type Rule = (Set, Set);

/// What must be on the two sides of a join together, and the rules that say what else, from those below it.
pub(super) fn rules_of(graph: &JoinGraph, operator: &Operator, needed: Set) -> (Set, Vec<Rule>) {
    let mut rules: Vec<Rule> = Vec::new();
    for below in &graph.operators {
        let inputs = below.left.or(below.right);
        // What of its other side a join below cannot be without: what its condition reads, if that says it.
        let of_side = |side: Set| match below.read(graph).and(side) {
            read if read.is_empty() => side,
            read => read,
        };
        // Below on the left, the two could also be `(1 b 3) a 2`: that is the same for all kinds, as each leaves the columns of
        // its left side as they are.
        if inputs.is_within(operator.left) {
            if !associative(graph, below, operator, below.right) {
                rules.push((below.right, of_side(below.left)));
            }
        } else if inputs.is_within(operator.right) {
            if !associative(graph, operator, below, below.left) {
                rules.push((below.left, of_side(below.right)));
            }
            if !right_commutes(operator.kind, below.kind) {
                rules.push((below.right, of_side(below.left)));
            }
        }
    }
    with_certain(needed, rules)
}

/// Rules whose first part is needed anyway become part of what is needed.
fn with_certain(mut needed: Set, mut rules: Vec<Rule>) -> (Set, Vec<Rule>) {
    loop {
        let before = needed;
        for (some, all) in &rules {
            if some.meets(needed) {
                needed = needed.or(*all);
            }
        }
        rules.retain(|(_, all)| !all.is_within(needed));
        if needed == before {
            return (needed, rules);
        }
    }
}

/// Whether `(1 a 2) b 3` is `1 a (2 b 3)`; `middle` is 2.
fn associative(graph: &JoinGraph, a: &Operator, b: &Operator, middle: Set) -> bool {
    match (a.kind, b.kind) {
        (Kind::Inner, _) => true,
        // Rows that `a` filled with nulls must be nothing to `b`.
        (Kind::Left, Kind::Left) => b.rejects_nulls_of(graph, middle),
        _ => false,
    }
}

/// Whether `1 a (2 b 3)` is `2 b (1 a 3)`, `a` reading 1 and 3.
fn right_commutes(a: Kind, b: Kind) -> bool {
    a == Kind::Inner && b == Kind::Inner
}
