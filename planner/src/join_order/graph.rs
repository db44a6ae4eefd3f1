//! Joins that hang together as a hypergraph: inputs, and the edges that may be between sets of them.
//!
//! An inner join makes an edge of each of its conditions; a left, semi or anti join is one edge with all of them. Which inputs must be
//! on which side of an edge, and which others must then be there, too, are the conflict rules of CD-C (Moerkotte, Fender, Eich:
//! "On the Correct and Complete Enumeration of the Core Search Space", SIGMOD 2013): they allow exactly what gives the same rows.
//!
//! Columns that inner joins make equal are a class. If `a = b` and `b = c`, there is an edge `a = c` as well, which may be used
//! instead.
//!
//! What is no part of such a graph is an input of it: full joins, mark joins, `NOT IN`, joins on `IS NOT DISTINCT FROM` or on conditions
//! that are another thing each time, and whatever is no join.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use staffa_execution::HashJoin;

use super::conflict::{Rule, rules_of};
use super::set::{SET_MAX, Set};
use crate::estimate::{ColumnEstimate, Estimate, bare};

/// Inputs, edges, and what comes out.
#[derive(Debug)]
pub(crate) struct JoinGraph {
    pub(crate) leaves: Vec<Arc<dyn ExecutionPlan>>,
    /// The joins as they were written: those below come before those above.
    pub(crate) operators: Vec<Operator>,
    pub(super) edges: Vec<Edge>,
    /// Columns of all leaves, one after the other: a column is known by its place here.
    pub(super) fields: Vec<FieldRef>,
    /// The leaf of each column, and its place in it.
    pub(super) origins: Vec<(usize, usize)>,
    /// The columns that come out.
    pub(crate) output: Vec<usize>,
    /// For each column the class of those it is equal to.
    pub(super) classes: Vec<usize>,
}

/// What becomes of the rows of the left side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
    Semi,
    Anti,
}

/// A join as it was written, its sides exchanged if it was one of the right.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(super) kind: Kind,
    pub(super) left: Set,
    pub(super) right: Set,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// These columns are equal.
    Equal(usize, usize),
    /// An expression over the graph's columns.
    Filter(Arc<dyn PhysicalExpr>),
}

#[derive(Debug)]
pub(super) struct Edge {
    pub(super) kind: Kind,
    /// What must be on each side.
    pub(super) left: Set,
    pub(super) right: Set,
    pub(super) rules: Vec<Rule>,
    pub(super) conditions: Vec<Condition>,
    /// Whether another edge says the same, or it says nothing.
    pub(super) is_optional: bool,
    /// All leaves on the right of the join it comes from.
    pub(super) right_all: Set,
}

/// Whether it is a join of any kind.
pub(crate) fn is_join(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<HashJoinExec>()
        || plan.is::<HashJoin>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<SortMergeJoinExec>()
}

impl JoinGraph {
    /// The graph of a join and of those that hang together with it. Without operators if it stays where it is.
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut graph = Self {
            leaves: Vec::new(),
            operators: Vec::new(),
            edges: Vec::new(),
            fields: Vec::new(),
            origins: Vec::new(),
            output: Vec::new(),
            classes: Vec::new(),
        };
        graph.output = match leaf_count(plan) {
            0..=SET_MAX => graph.add(plan).1,
            _ => graph.add_leaf(plan).1,
        };
        graph.classes = graph.equal_columns();
        graph.add_edges();
        graph
    }

    pub(crate) fn all(&self) -> Set {
        Set::first(self.leaves.len())
    }

    /// What is known of a column.
    pub(crate) fn estimate_of<'a>(&self, leaves: &'a [Arc<Estimate>], column: usize) -> &'a ColumnEstimate {
        let (leaf, place) = self.origins[column];
        &leaves[leaf].columns[place]
    }

    pub(super) fn leaf_of(&self, column: usize) -> Set {
        Set::one(self.origins[column].0)
    }

    /// The leaves whose columns an expression reads.
    pub(super) fn leaves_of(&self, condition: &Condition) -> Set {
        match condition {
            Condition::Equal(one, other) => self.leaf_of(*one).or(self.leaf_of(*other)),
            Condition::Filter(expr) => {
                let columns = collect_columns(expr);
                let leaves = columns.iter().map(|column| self.leaf_of(column.index()));
                leaves.fold(Set::default(), Set::or)
            }
        }
    }

    /// Adds a plan; gives its leaves and columns.
    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) -> (Set, Vec<usize>) {
        if let Some(projection) = column_projection(plan) {
            let (leaves, columns) = self.add(projection.input());
            let places = projection.expr().iter().filter_map(|output| {
                let column = output.expr.downcast_ref::<Column>()?;
                columns.get(column.index()).copied()
            });
            return (leaves, places.collect());
        }
        let Some(join) = Movable::of(plan) else {
            return self.add_leaf(plan);
        };
        let [left, right] = join.inputs;
        let (left, left_columns) = self.add(left);
        let (right, right_columns) = self.add(right);
        let mut conditions: Vec<Condition> = join
            .keys
            .iter()
            .map(|(one, other)| Condition::Equal(left_columns[*one], right_columns[*other]))
            .collect();
        if let Some(filter) = join.filter {
            let filter = over_graph(filter, &left_columns, &right_columns);
            conditions.extend(split_conjunction(&filter).into_iter().cloned().map(Condition::Filter));
        }
        let (kind, is_swapped) = kind_of(join.join_type);
        let columns = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => left_columns,
            JoinType::RightSemi | JoinType::RightAnti => right_columns,
            _ => left_columns.into_iter().chain(right_columns).collect(),
        };
        let columns = match join.projection {
            Some(places) => places.iter().map(|place| columns[*place]).collect(),
            None => columns,
        };
        let (one, other) = if is_swapped { (right, left) } else { (left, right) };
        self.operators.push(Operator {
            kind,
            left: one,
            right: other,
            conditions,
        });
        (left.or(right), columns)
    }

    fn add_leaf(&mut self, plan: &Arc<dyn ExecutionPlan>) -> (Set, Vec<usize>) {
        let (leaf, first) = (self.leaves.len(), self.fields.len());
        let schema = plan.schema();
        self.leaves.push(Arc::clone(plan));
        self.fields.extend(schema.fields().iter().cloned());
        self.origins
            .extend((0..schema.fields().len()).map(|place| (leaf, place)));
        (Set::one(leaf), (first..self.fields.len()).collect())
    }

    /// Classes of columns by the keys of inner joins.
    fn equal_columns(&self) -> Vec<usize> {
        let mut classes = Classes::new(self.fields.len());
        for operator in self.operators.iter().filter(|operator| operator.kind == Kind::Inner) {
            for condition in &operator.conditions {
                if let Condition::Equal(one, other) = condition {
                    classes.unite(*one, *other);
                }
            }
        }
        (0..self.fields.len()).map(|column| classes.of(column)).collect()
    }

    fn add_edges(&mut self) {
        let mut edges = Vec::new();
        for operator in &self.operators {
            if operator.kind != Kind::Inner {
                edges.push(self.edge(operator, operator.conditions.clone(), false));
            } else if operator.conditions.is_empty() {
                // Two sides that nothing connects may be put together as they were.
                edges.push(Edge {
                    left: operator.left,
                    right: operator.right,
                    ..self.edge(operator, Vec::new(), true)
                });
            } else {
                let each = operator.conditions.iter();
                edges.extend(each.map(|condition| self.edge(operator, vec![condition.clone()], false)));
            }
        }
        for (one, other) in self.implied() {
            let (left, right) = (self.leaf_of(one), self.leaf_of(other));
            let meet = |operator: &&Operator| {
                operator.kind == Kind::Inner
                    && (left.is_within(operator.left) && right.is_within(operator.right)
                        || left.is_within(operator.right) && right.is_within(operator.left))
            };
            if let Some(operator) = self.operators.iter().find(meet) {
                edges.push(self.edge(operator, vec![Condition::Equal(one, other)], true));
            }
        }
        self.edges = edges;
    }

    fn edge(&self, operator: &Operator, conditions: Vec<Condition>, is_optional: bool) -> Edge {
        let read = conditions.iter().map(|condition| self.leaves_of(condition));
        let mut needed = read.fold(Set::default(), Set::or);
        for side in [operator.left, operator.right] {
            // A condition that does not read both sides stays where they come together.
            if !needed.meets(side) {
                needed = needed.or(side);
            }
        }
        let (needed, rules) = rules_of(self, operator, needed);
        Edge {
            kind: operator.kind,
            left: needed.and(operator.left),
            right: needed.and(operator.right),
            rules,
            conditions,
            is_optional,
            right_all: operator.right,
        }
    }

    /// Pairs of columns that are equal although no join says so.
    fn implied(&self) -> Vec<(usize, usize)> {
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut said = Vec::new();
        for operator in self.operators.iter().filter(|operator| operator.kind == Kind::Inner) {
            for condition in &operator.conditions {
                if let Condition::Equal(one, other) = condition {
                    said.extend([(*one, *other), (*other, *one)]);
                    for column in [*one, *other] {
                        let class = members.entry(self.classes[column]).or_default();
                        if !class.contains(&column) {
                            class.push(column);
                        }
                    }
                }
            }
        }
        let mut pairs = Vec::new();
        for class in members.values() {
            for (place, one) in class.iter().enumerate() {
                let others = class[place + 1..].iter();
                let others = others.filter(|other| self.leaf_of(*one) != self.leaf_of(**other));
                pairs.extend(others.map(|other| (*one, *other)).filter(|pair| !said.contains(pair)));
            }
        }
        pairs.sort_unstable();
        pairs
    }
}

impl Operator {
    /// Whether it lets no row through that has only nulls in the columns of these leaves: by a key, as nulls are not equal.
    pub(super) fn rejects_nulls_of(&self, graph: &JoinGraph, leaves: Set) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Equal(one, other) => [one, other]
                .iter()
                .any(|column| graph.leaf_of(**column).is_within(leaves)),
            Condition::Filter(_) => false,
        })
    }

    /// The leaves its conditions read.
    pub(super) fn read(&self, graph: &JoinGraph) -> Set {
        let read = self.conditions.iter().map(|condition| graph.leaves_of(condition));
        read.fold(Set::default(), Set::or)
    }
}

/// Columns united to classes.
pub(super) struct Classes(Vec<usize>);

impl Classes {
    pub(super) fn new(columns: usize) -> Self {
        Self((0..columns).collect())
    }

    pub(super) fn of(&self, column: usize) -> usize {
        let mut column = column;
        while self.0[column] != column {
            column = self.0[column];
        }
        column
    }

    /// False when they were one already.
    pub(super) fn unite(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
        one != other
    }
}

/// A projection that only chooses among the columns of joins, and names them.
pub(super) fn column_projection(plan: &Arc<dyn ExecutionPlan>) -> Option<&ProjectionExec> {
    let projection = bare(plan).downcast_ref::<ProjectionExec>()?;
    let input = projection.input();
    let is_plain = projection.expr().iter().all(|output| output.expr.is::<Column>());
    (is_plain && (Movable::of(input).is_some() || column_projection(input).is_some())).then_some(projection)
}

/// A join that may change its place.
pub(super) struct Movable<'a> {
    inputs: [&'a Arc<dyn ExecutionPlan>; 2],
    join_type: JoinType,
    keys: Vec<(usize, usize)>,
    filter: Option<&'a JoinFilter>,
    projection: Option<&'a [usize]>,
}

impl<'a> Movable<'a> {
    pub(super) fn of(plan: &'a Arc<dyn ExecutionPlan>) -> Option<Self> {
        let plan = bare(plan);
        let ours = plan.downcast_ref().map(HashJoin::stock);
        let join = if let Some(join) = ours.or(plan.downcast_ref::<HashJoinExec>()) {
            let place = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().map(Column::index);
            let keys: Option<Vec<_>> = join
                .on()
                .iter()
                .map(|(one, other)| place(one).zip(place(other)))
                .collect();
            let is_plain =
                join.null_equality() == NullEquality::NullEqualsNothing && !join.null_aware && join.fetch().is_none();
            Self {
                inputs: [join.left(), join.right()],
                join_type: *join.join_type(),
                keys: keys.filter(|_| is_plain)?,
                filter: join.filter(),
                projection: join.projection.as_deref(),
            }
        } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            Self {
                inputs: [join.left(), join.right()],
                join_type: *join.join_type(),
                keys: Vec::new(),
                filter: join.filter(),
                projection: join.projection().as_deref(),
            }
        } else {
            let join = plan.downcast_ref::<CrossJoinExec>()?;
            Self {
                inputs: [join.left(), join.right()],
                join_type: JoinType::Inner,
                keys: Vec::new(),
                filter: None,
                projection: None,
            }
        };
        let moves = !matches!(
            join.join_type,
            JoinType::Full | JoinType::LeftMark | JoinType::RightMark
        );
        let is_settled = join.filter.is_none_or(|filter| !is_volatile(filter.expression()));
        (moves && is_settled).then_some(join)
    }
}

fn leaf_count(plan: &Arc<dyn ExecutionPlan>) -> usize {
    if let Some(projection) = column_projection(plan) {
        return leaf_count(projection.input());
    }
    match Movable::of(plan) {
        Some(join) => join.inputs.into_iter().map(leaf_count).sum(),
        None => 1,
    }
}

/// What it does with the rows of which side: whether that is the right one.
fn kind_of(join_type: JoinType) -> (Kind, bool) {
    match join_type {
        JoinType::Left => (Kind::Left, false),
        JoinType::Right => (Kind::Left, true),
        JoinType::LeftSemi => (Kind::Semi, false),
        JoinType::RightSemi => (Kind::Semi, true),
        JoinType::LeftAnti => (Kind::Anti, false),
        JoinType::RightAnti => (Kind::Anti, true),
        JoinType::Inner | JoinType::Full | JoinType::LeftMark | JoinType::RightMark => (Kind::Inner, false),
    }
}

/// The condition of a join over the columns of the graph.
fn over_graph(filter: &JoinFilter, left: &[usize], right: &[usize]) -> Arc<dyn PhysicalExpr> {
    let places: Vec<usize> = filter
        .column_indices()
        .iter()
        .map(|column| match column.side {
            JoinSide::Left => left[column.index],
            JoinSide::Right | JoinSide::None => right[column.index],
        })
        .collect();
    with_columns(filter.expression(), |place| places[place])
}

/// An expression whose columns are at other places.
pub(super) fn with_columns(expr: &Arc<dyn PhysicalExpr>, place: impl Fn(usize) -> usize) -> Arc<dyn PhysicalExpr> {
    let moved = Arc::clone(expr).transform(|expr| {
        Ok(match expr.downcast_ref::<Column>() {
            Some(column) => {
                let moved = Column::new(column.name(), place(column.index()));
                Transformed::yes(Arc::new(moved) as Arc<dyn PhysicalExpr>)
            }
            None => Transformed::no(expr),
        })
    });
    // Nothing in it fails.
    moved.data().unwrap_or_else(|_| Arc::clone(expr))
}
