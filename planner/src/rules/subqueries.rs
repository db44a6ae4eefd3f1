//! Subqueries that DataFusion has no plan for, or a wrong one, as joins.
//!
//! | what | becomes |
//! |---|---|
//! | `x > all (q)`, `x <> any (q)` … | comparisons with `q`'s least or greatest value and its counts (`compare.rs`) |
//! | `from t, lateral (q)` | a projection over `t` where `q` goes row by row, else a join with `q` computed for all rows of `t` at once (`push.rs`) |
//! | `exists (q)`, `x in (q)` in a select list, ORDER BY, an aggregate's argument, under NOT or CASE | a join that marks the rows |
//! | `(select …)` that reads outer columns otherwise than by an equality below an aggregate | an outer join, with a check that there is one row |
//! | `array(q)` | a subquery with `array_agg` in `q`'s order |
//! | those in the condition of an outer join | values in the rows of the side they read, else of the pairs that fulfil it (`outer.rs`) |
//!
//! The outer rows are read twice: for what subqueries find, and to be joined with that. Where they may be others the second time
//! (LIMIT, windows, `random()`), they are computed once. A subquery with `random()` in it is computed for every row, even for two
//! that are the same.
//!
//! Must not fire where DataFusion does well: subqueries that read nothing outside, a condition of WHERE that is EXISTS or IN
//! with plain filters on outer columns, `(select max(x) from t where t.k = outer.k)`. Its joins for these are better than ours.
//!
//! Runs first, on the plan as it was written: all types are settled after it.

mod aggregates;
mod array;
mod compare;
mod outer;
mod push;
mod recursion;
mod scope;
mod suited;

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, ExprSchema, JoinType, NullEquality, Result as DataFusionResult};
use datafusion::functions_aggregate::expr_fn::{count, first_value};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Distinct, DistinctOn, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};

use self::array::array_of;
use self::push::{Carrier, is_volatile, one_row, repeatable, row_by_row};
use self::scope::{free, free_of, lateral_side, subquery, subquery_of, with_lateral_sides};
use self::suited::{good_condition, good_scalar, good_under_or, has_ours, is_ours, is_ours_in};
use crate::error::{Error, ErrorKind};
use crate::function::{decided, is_array_of_rows, is_numbered, nullable, single_row, without_number};
use crate::rewrite::once;

/// Makes joins of the subqueries named above.
pub(super) fn join(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        let lateral = matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expression| {
            any |= expression.exists(|inner| Ok(subquery_of(inner).is_some() || is_numbered(inner)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        any |= lateral;
        Ok(if any {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    if !any {
        return Ok(plan);
    }
    let plan = with_lateral_sides(without_numbers(plan)?)?;
    let mut subqueries = Subqueries::default();
    subqueries.plan(plan)
}

/// Expressions with subqueries and casts, without what told them apart while names were made of them (`rewrite/subqueries.rs`).
fn without_numbers(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let around = aggregates::around(&node)?;
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|inner| match inner {
                Expr::ScalarFunction(_) => match without_number(inner) {
                    bare @ Expr::ScalarFunction(_) => match &around {
                        Some(schema) => aggregates::with_values(bare, schema),
                        None => Ok(Transformed::no(bare)),
                    },
                    bare => Ok(Transformed::yes(bare)),
                },
                _ => Ok(Transformed::no(inner)),
            })?;
            Ok(rewritten.update_data(|rewritten| name.restore(rewritten)))
        })
    })
    .data()
}

fn unsupported() -> DataFusionError {
    Error::unsupported("this kind of correlated subquery is not supported")
        .with_hint("Write it as a join, or aggregate in the subquery.")
        .into()
}

/// The column of a subquery of ours. No query can name it: what is read of the rows below may have any other name.
const VALUE: &str = "\u{1}value";

#[derive(Default)]
struct Subqueries {
    names: usize,
    /// How many subqueries were taken out of expressions.
    taken: usize,
    /// Whether it is in the recursive part of a query, which is computed again and again.
    recurses: bool,
}

/// IN is looked up more than once in its subquery, whose own subqueries are copied with it: nested ones grow by powers. A
/// statement that needs more than this is refused before planning it takes minutes.
const SUBQUERIES_MAX: usize = 500;

/// A node's input with what its subqueries need joined to it.
struct Joined {
    /// The input without that: what subqueries read is in it.
    base: LogicalPlan,
    plan: LogicalPlan,
    /// The number of each row, where a subquery is to be computed for every row apart.
    number: Option<Column>,
}

impl Joined {
    fn of(input: LogicalPlan) -> Self {
        Self {
            base: input.clone(),
            plan: input,
            number: None,
        }
    }

    /// The columns that a query reads; it reads the number of a row if it gives other rows each time.
    fn read_by(&self, query: &LogicalPlan) -> DataFusionResult<HashSet<Column>> {
        let mut reads = free(query)?;
        if !reads.is_empty() && is_volatile(query)? {
            reads.extend(self.number.clone());
        }
        Ok(reads)
    }

    /// Puts a value into a column of its own.
    fn add(&mut self, value: Expr, name: &str) -> DataFusionResult<()> {
        let with = |plan: &LogicalPlan| {
            let columns = plan.schema().columns().into_iter().map(Expr::Column);
            let columns: Vec<Expr> = columns.chain([value.clone().alias(name)]).collect();
            LogicalPlanBuilder::from(plan.clone()).project(columns)?.build()
        };
        self.plan = with(&self.plan)?;
        let own = value
            .column_refs()
            .iter()
            .all(|column| self.base.schema().has_column(column));
        self.base = if own { with(&self.base)? } else { self.plan.clone() };
        Ok(())
    }
}

impl Subqueries {
    /// A name no query can hold and no other column here has.
    fn fresh(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{}{what}{}", crate::rewrite::MARKER, self.names)
    }

    /// The whole plan with joins of its subqueries.
    fn plan(&mut self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        plan.transform_down_with_subqueries(|node| self.node(node)).data()
    }

    /// The plan with joins of its subqueries, computed once for all who read it.
    fn once(&mut self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        // What is computed once would be so in every step.
        if self.recurses || !free(&plan)?.is_empty() {
            return Err(unsupported());
        }
        once(self.plan(plan)?)
    }

    fn node(&mut self, node: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
        if let LogicalPlan::RecursiveQuery(mut query) = node {
            query.static_term = Arc::new(self.plan(Arc::unwrap_or_clone(query.static_term))?);
            let around = std::mem::replace(&mut self.recurses, true);
            query.recursive_term = Arc::new(self.plan(Arc::unwrap_or_clone(query.recursive_term))?);
            self.recurses = around;
            let node = LogicalPlan::RecursiveQuery(query);
            return Ok(Transformed::new(node, true, TreeNodeRecursion::Jump));
        }
        let node = without_idle_side(node)?;
        if let LogicalPlan::Join(join) = &node
            && let Some(joined) = self.lateral(join)?
        {
            return Ok(Transformed::yes(joined));
        }
        let node = self.without_comparisons(node)?;
        if !has_ours(&node.data)? {
            return Ok(node);
        }
        self.extracted(node.data).map(Transformed::yes)
    }

    /// `> ALL` and its like, and `array(…)`, as plainer subqueries.
    fn without_comparisons(&mut self, node: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_down(|inner| match inner {
                Expr::SetComparison(comparison) => Ok(Transformed::yes(compare::plain(comparison)?)),
                Expr::ScalarFunction(function) if is_array_of_rows(&function) => match function.args.as_slice() {
                    [Expr::ScalarSubquery(rows)] => Ok(Transformed::yes(array_of(rows)?)),
                    _ => Err(unsupported()),
                },
                Expr::ScalarSubquery(subquery) => {
                    check_aggregates(&subquery.subquery)?;
                    or_null(subquery)
                }
                Expr::Exists(Exists { ref subquery, .. }) => {
                    check_aggregates(&subquery.subquery)?;
                    Ok(Transformed::no(inner))
                }
                Expr::InSubquery(InSubquery { ref subquery, .. }) => {
                    check_aggregates(&subquery.subquery)?;
                    Ok(Transformed::no(inner))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(rewritten.update_data(|rewritten| name.restore(rewritten)))
        })
    }

    /// The node with its subqueries' values in columns of its input.
    fn extracted(&mut self, node: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        // A condition of an inner join is one above it.
        if let LogicalPlan::Join(mut join) = node {
            let Some(filter) = join.filter.take() else {
                return Err(unsupported());
            };
            if join.join_type != JoinType::Inner {
                return self.outer_join(join, filter);
            }
            let filter = Filter::try_new(filter, Arc::new(LogicalPlan::Join(join)))?;
            return self.extracted(LogicalPlan::Filter(filter));
        }
        let schema = Arc::clone(node.schema());
        let node = with_sorted_by(node)?;
        let [input] = node.inputs()[..] else {
            return Err(unsupported());
        };
        let mut joined = self.joined(input, &node.expressions())?;
        let names = NamePreserver::new(&node);
        let mut expressions = Vec::new();
        for expression in node.expressions() {
            let name = names.save(&expression);
            let rewritten = match &node {
                LogicalPlan::Filter(_) => self.condition(expression, false, &mut joined)?,
                _ => self.replaced(expression, |inner| is_ours_in(&node, inner), &mut joined)?,
            };
            expressions.push(name.restore(rewritten));
        }
        let passes_on = matches!(
            node,
            LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Window(_)
        );
        let plan = match node {
            LogicalPlan::Distinct(Distinct::On(on)) => distinct_on(&on, expressions, joined.plan)?,
            node => node.with_new_exprs(expressions, vec![joined.plan])?,
        };
        if passes_on {
            let columns = schema.columns().into_iter().map(Expr::Column).collect();
            return Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?));
        }
        Ok(plan)
    }

    /// The input of expressions whose subqueries are to be joined to it.
    fn joined(&mut self, input: &LogicalPlan, expressions: &[Expr]) -> DataFusionResult<Joined> {
        let mut pushed = Vec::new();
        for expression in expressions {
            expression.apply(|inner| {
                if let Some(subquery) = subquery_of(inner)
                    && is_pushed(inner, &subquery.subquery)?
                {
                    pushed.push(Arc::clone(&subquery.subquery));
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        for query in &pushed {
            if is_volatile(query)? {
                let (input, number) = self.once_numbered(input)?;
                return Ok(Joined {
                    number: Some(number),
                    ..Joined::of(input)
                });
            }
        }
        for query in &pushed {
            if !repeatable(input, reads_float(&free(query)?, input))? {
                return self.once(input.clone()).map(Joined::of);
            }
        }
        Ok(Joined::of(input.clone()))
    }

    /// A condition of WHERE: what DataFusion joins well stays. It must be the same that `has_ours` finds good: a node with
    /// nothing taken out of it would come here again without end.
    fn condition(&mut self, expression: Expr, under_or: bool, joined: &mut Joined) -> DataFusionResult<Expr> {
        if let Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::And | Operator::Or),
            right,
        }) = expression
        {
            let under_or = under_or || op == Operator::Or;
            return Ok(Expr::BinaryExpr(BinaryExpr {
                left: Box::new(self.condition(*left, under_or, joined)?),
                op,
                right: Box::new(self.condition(*right, under_or, joined)?),
            }));
        }
        let good = match under_or {
            true => good_under_or(&expression)?,
            false => good_condition(&expression)?,
        };
        if good {
            return Ok(expression);
        }
        self.replaced(expression, is_ours, joined)
    }

    /// The expression with a column for each subquery that is ours.
    fn replaced(
        &mut self,
        expression: Expr,
        ours: impl Fn(&Expr) -> DataFusionResult<bool> + Copy,
        joined: &mut Joined,
    ) -> DataFusionResult<Expr> {
        expression
            .transform_down(|inner| {
                if !ours(&inner)? {
                    return Ok(Transformed::no(inner));
                }
                self.taken += 1;
                if self.taken > SUBQUERIES_MAX {
                    let message = "the statement has too many subqueries, or they are nested too deeply";
                    return Err(Error::new(ErrorKind::StatementTooComplex, message).into());
                }
                let value = match inner {
                    Expr::Exists(Exists { subquery, negated }) => {
                        let found = self.exists(&subquery.subquery, joined)?;
                        if negated { !found } else { found }
                    }
                    Expr::InSubquery(InSubquery {
                        expr,
                        subquery,
                        negated,
                    }) => {
                        let expr = self.replaced(*expr, ours, joined)?;
                        self.is_in(expr, &subquery.subquery, negated, joined)?
                    }
                    Expr::ScalarSubquery(subquery) => self.scalar(&subquery.subquery, joined)?,
                    _ => return Err(unsupported()),
                };
                Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
            })
            .data()
    }

    /// Whether a subquery has rows, as a column of the joined plan.
    fn exists(&mut self, query: &LogicalPlan, joined: &mut Joined) -> DataFusionResult<Expr> {
        let reads = joined.read_by(query)?;
        if reads.is_empty() {
            return any_row(query.clone());
        }
        if let Some((conditions, rest)) = filters_of(query)? {
            return self.marked(conditions, rest, joined);
        }
        let carrier = self.carrier(&joined.base, &reads)?;
        let found = self.push(query, &carrier)?;
        let (mark, rows) = (self.fresh("found"), self.fresh("rows"));
        let keys: Vec<Expr> = carrier.key_columns().collect();
        // Not DISTINCT: the optimiser drops that where it believes, wrongly after a join and another grouping, that keys are
        // unique.
        let found = LogicalPlanBuilder::from(found)
            .aggregate(keys, [count(lit(1_i64)).alias(rows)])?
            .project(carrier.key_columns().chain([lit(true).alias(&mark)]))?
            .build()?;
        self.looked_up(joined, &carrier, found)?;
        Ok(Expr::Column(Column::from_name(mark)).is_not_null())
    }

    /// A join that adds to every row whether one of `rest` fulfils the conditions with it.
    fn marked(&mut self, conditions: Vec<Expr>, rest: LogicalPlan, joined: &mut Joined) -> DataFusionResult<Expr> {
        // Other names: the query within may use those of the query around.
        let alias = self.fresh("q");
        let mut named = Vec::new();
        let mut places = Vec::new();
        for column in rest.schema().columns() {
            let name = self.fresh("c");
            named.push(Expr::Column(column.clone()).alias(&name));
            places.push((column, Column::new(Some(alias.as_str()), name)));
        }
        let right = LogicalPlanBuilder::from(rest)
            .project(named)?
            .alias(alias.as_str())?
            .build()?;
        let condition = conjunction(conditions).unwrap_or_else(|| lit(true));
        let condition = condition
            .transform_down(|inner| {
                Ok(match inner {
                    Expr::Column(column) => match places.iter().find(|(given, _)| *given == column) {
                        Some((_, place)) => Transformed::yes(Expr::Column(place.clone())),
                        None => Transformed::no(Expr::Column(column)),
                    },
                    Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                    other => Transformed::no(other),
                })
            })
            .data()?;
        joined.plan = LogicalPlanBuilder::from(joined.plan.clone())
            .join_on(right, JoinType::LeftMark, [condition])?
            .build()?;
        Ok(Expr::Column(Column::new(Some(alias.as_str()), "mark")))
    }

    /// `x in (query)`: true where it is found; else unknown where `x` or a value of the query is null; else false.
    fn is_in(
        &mut self,
        value: Expr,
        query: &LogicalPlan,
        negated: bool,
        joined: &mut Joined,
    ) -> DataFusionResult<Expr> {
        let name = self.fresh("x");
        let changes = value.is_volatile();
        joined.add(value, &name)?;
        if changes && !free(query)?.is_empty() {
            joined.plan = self.once(joined.plan.clone())?;
            joined.base = joined.plan.clone();
        }
        let value = Column::from_name(&name);
        let field = Arc::clone(joined.plan.schema().field_from_column(&value)?);
        let outer = Expr::OuterReferenceColumn(field, value.clone());
        let listed = Expr::Column(Column::from(query.schema().qualified_field(0)));
        let with = |condition: Expr| LogicalPlanBuilder::from(query.clone()).filter(condition)?.build();
        let found = self.exists(&with(outer.clone().eq(listed.clone()))?, joined)?;
        let unknown = if free(query)?.is_empty() {
            let null_listed = self.exists(&with(listed.is_null())?, joined)?;
            let any = self.exists(query, joined)?;
            null_listed.or(Expr::Column(value).is_null().and(any))
        } else {
            self.exists(&with(outer.eq(listed).is_null())?, joined)?
        };
        let listed = decided(found, unknown);
        Ok(if negated { !listed } else { listed })
    }

    /// The one value of a subquery.
    fn scalar(&mut self, query: &LogicalPlan, joined: &mut Joined) -> DataFusionResult<Expr> {
        let carrier = self.carrier(&joined.base, &joined.read_by(query)?)?;
        let pushed = self.push(query, &carrier)?;
        let value = Expr::Column(Column::from(query.schema().qualified_field(0)));
        let name = self.fresh("v");
        let keys: Vec<Expr> = carrier.key_columns().collect();
        if one_row(query) {
            let found = LogicalPlanBuilder::from(pushed)
                .project(keys.into_iter().chain([value.alias(&name)]))?
                .build()?;
            self.looked_up(joined, &carrier, found)?;
            return Ok(Expr::Column(Column::from_name(name)));
        }
        let rows = self.fresh("rows");
        let found = LogicalPlanBuilder::from(pushed)
            .aggregate(
                keys,
                [
                    first_value(value, Vec::new()).alias(&name),
                    count(lit(1_i64)).alias(&rows),
                ],
            )?
            .build()?;
        self.looked_up(joined, &carrier, found)?;
        Ok(single_row(
            Expr::Column(Column::from_name(name)),
            Expr::Column(Column::from_name(rows)),
        ))
    }

    /// Joins to every row what was found for its key, if anything was.
    fn looked_up(&mut self, joined: &mut Joined, carrier: &Carrier, found: LogicalPlan) -> DataFusionResult<()> {
        joined.plan = looked_up(joined.plan.clone(), carrier, found, JoinType::Left, None)?;
        Ok(())
    }

    /// The distinct values of those columns of a plan that a subquery reads.
    fn carrier(&mut self, plan: &LogicalPlan, reads: &HashSet<Column>) -> DataFusionResult<Carrier> {
        let mut keys = Vec::new();
        let mut named = Vec::new();
        for column in plan.schema().columns() {
            // A reference may name a column without its table.
            for outer in reads.iter().filter(|outer| {
                **outer == column || outer.relation.is_none() && outer.name == column.name && !reads.contains(&column)
            }) {
                let name = self.fresh("k");
                named.push(Expr::Column(column.clone()).alias(&name));
                keys.push((outer.clone(), Column::from_name(name)));
            }
        }
        if keys.is_empty() {
            return Err(unsupported());
        }
        let plan = LogicalPlanBuilder::from(plan.clone())
            .project(named)?
            .distinct()?
            .build()?;
        Ok(Carrier::new(plan, keys))
    }

    /// A join whose right side reads the left one, as one that does not; `None` where DataFusion does it well.
    fn lateral(&mut self, join: &Join) -> DataFusionResult<Option<LogicalPlan>> {
        let Some(right) = lateral_side(join) else {
            return Ok(None);
        };
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return Err(unsupported());
        }
        let mut reads = free(&right)?;
        reads.retain(|column| join.left.schema().has_column(column));
        let on = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        let condition = conjunction(on.chain(join.filter.clone()));
        let always = condition.as_ref().is_none_or(|condition| *condition == lit(true));
        if always && good_scalar(&right)? {
            return Ok(None);
        }
        if join.join_type == JoinType::Inner && row_by_row(&right)? {
            return self.row_by_row(join, &right, condition).map(Some);
        }
        let left = if is_volatile(&right)? {
            let (left, number) = self.once_numbered(&join.left)?;
            reads.insert(number);
            left
        } else if repeatable(&join.left, reads_float(&reads, &join.left))? {
            join.left.as_ref().clone()
        } else {
            self.once(join.left.as_ref().clone())?
        };
        let carrier = self.carrier(&left, &reads)?;
        let found = self.push(&right, &carrier)?;
        let joined = looked_up(left, &carrier, found, join.join_type, condition)?;
        let columns = join.schema.columns().into_iter().map(Expr::Column).collect();
        Ok(Some(LogicalPlan::Projection(Projection::try_new(
            columns,
            Arc::new(joined),
        )?)))
    }

    fn row_by_row(
        &mut self,
        join: &Join,
        right: &LogicalPlan,
        condition: Option<Expr>,
    ) -> DataFusionResult<LogicalPlan> {
        let mut keys = Vec::new();
        let mut named = Vec::new();
        for column in join.left.schema().columns() {
            let name = self.fresh("k");
            named.push(Expr::Column(column.clone()).alias(&name));
            keys.push((column, Column::from_name(name)));
        }
        let plan = LogicalPlanBuilder::from(join.left.as_ref().clone())
            .project(named)?
            .build()?;
        let carrier = Carrier::new(plan, keys);
        let pushed = self.push(right, &carrier)?;
        let left = carrier
            .keys
            .iter()
            .map(|(outer, key)| Expr::Column(key.clone()).alias_qualified(outer.relation.clone(), &outer.name));
        let right = right.schema().columns().into_iter().map(Expr::Column);
        let expressions: Vec<Expr> = left.chain(right).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(expressions, Arc::new(pushed))?);
        match condition {
            Some(condition) => LogicalPlanBuilder::from(plan).filter(condition)?.build(),
            None => Ok(plan),
        }
    }
}

fn looked_up(
    left: LogicalPlan,
    carrier: &Carrier,
    found: LogicalPlan,
    join_type: JoinType,
    condition: Option<Expr>,
) -> DataFusionResult<LogicalPlan> {
    let (outer, keys): (Vec<Column>, Vec<Column>) = carrier.keys.iter().cloned().unzip();
    LogicalPlanBuilder::from(left)
        .join_detailed(found, join_type, (outer, keys), condition, NullEquality::NullEqualsNull)?
        .build()
}

/// A sort by subqueries that read columns which are not selected, over these, too.
fn with_sorted_by(node: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let LogicalPlan::Sort(sort) = &node else {
        return Ok(node);
    };
    let LogicalPlan::Projection(selected) = sort.input.as_ref() else {
        return Ok(node);
    };
    let mut reads = HashSet::new();
    for key in &sort.expr {
        reads.extend(free_of(&key.expr, &node)?);
    }
    let below = selected.input.schema().columns().into_iter();
    let missing: Vec<Expr> = below
        .filter(|column| reads.contains(column))
        .map(Expr::Column)
        .collect();
    if missing.is_empty() {
        return Ok(node);
    }
    let columns = selected.expr.iter().cloned().chain(missing).collect();
    let selected = Projection::try_new(columns, Arc::clone(&selected.input))?;
    let mut sort = sort.clone();
    sort.input = Arc::new(LogicalPlan::Projection(selected));
    Ok(LogicalPlan::Sort(sort))
}

/// A join with a lateral side that reads nothing of the other, as a plain one.
fn without_idle_side(node: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let LogicalPlan::Join(mut join) = node else {
        return Ok(node);
    };
    if let Some(side) = lateral_side(&join) {
        let reads = free(&side)?;
        if !reads.iter().any(|column| join.left.schema().has_column(column)) {
            join.right = Arc::new(side);
        }
    }
    Ok(LogicalPlan::Join(join))
}

/// Whether a subquery is computed for the distinct values of what it reads, and these are joined with what was found.
fn is_pushed(expression: &Expr, query: &LogicalPlan) -> DataFusionResult<bool> {
    if free(query)?.is_empty() {
        return Ok(false);
    }
    Ok(!matches!(expression, Expr::Exists(_)) || filters_of(query)?.is_none())
}

/// Whether one of the columns that a subquery reads of a plan is a float.
fn reads_float(reads: &HashSet<Column>, plan: &LogicalPlan) -> bool {
    let fields = reads
        .iter()
        .filter_map(|column| plan.schema().field_from_column(column).ok());
    fields.into_iter().any(|field| field.data_type().is_floating())
}

/// Whether a query that reads nothing outside has a row.
fn any_row(query: LogicalPlan) -> DataFusionResult<Expr> {
    let counted = LogicalPlanBuilder::from(query)
        .limit(0, Some(1))?
        .aggregate(Vec::<Expr>::new(), [count(lit(1_i64)).alias(VALUE)])?
        .project([Expr::Column(Column::from_name(VALUE)).gt(lit(0_i64)).alias(VALUE)])?
        .build()?;
    Ok(Expr::ScalarSubquery(subquery(counted)))
}

/// An aggregate of nothing but outer columns is one of the query around, in PostgreSQL.
fn check_aggregates(query: &LogicalPlan) -> DataFusionResult<()> {
    query.apply(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            let outer = |call: &&Expr| call.contains_outer() && call.column_refs().is_empty();
            if aggregate.aggr_expr.iter().any(|call| outer(&call)) {
                let message = "an aggregate of columns of the query around a subquery is not supported";
                return Err(Error::unsupported(message).into());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// A scalar subquery whose value may be null where it has no row. DataFusion takes the column's word for it that it is not.
fn or_null(subquery: Subquery) -> DataFusionResult<Transformed<Expr>> {
    let field = subquery.subquery.schema().qualified_field(0);
    if field.1.is_nullable() || has_one_row(&subquery.subquery) || subquery.subquery.schema().fields().len() != 1 {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let value = nullable(Expr::Column(Column::from(field))).alias_qualified(field.0.cloned(), field.1.name());
    let plan = Projection::try_new(vec![value], Arc::clone(&subquery.subquery))?;
    let subquery = subquery.with_plan(Arc::new(LogicalPlan::Projection(plan)));
    Ok(Transformed::yes(Expr::ScalarSubquery(subquery)))
}

fn has_one_row(query: &LogicalPlan) -> bool {
    match query {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(nothing) => nothing.produce_one_row,
        _ => false,
    }
}

/// DISTINCT ON of other expressions, in the order `LogicalPlan::expressions` gives them, and another input.
fn distinct_on(on: &DistinctOn, expressions: Vec<Expr>, input: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut rest = expressions.into_iter();
    let on_expr: Vec<Expr> = rest.by_ref().take(on.on_expr.len()).collect();
    let select_expr: Vec<Expr> = rest.by_ref().take(on.select_expr.len()).collect();
    let sorts = on.sort_expr.as_ref().map(|sorts| {
        let with_key = |(sort, key): (&Sort, Expr)| sort.with_expr(key);
        sorts.iter().zip(rest).map(with_key).collect()
    });
    let distinct = DistinctOn::try_new(on_expr, select_expr, sorts, Arc::new(input))?;
    Ok(LogicalPlan::Distinct(Distinct::On(distinct)))
}

/// A subquery of EXISTS as its conditions on outer columns and the rest, if that is all it is. Columns do not matter.
fn filters_of(query: &LogicalPlan) -> DataFusionResult<Option<(Vec<Expr>, LogicalPlan)>> {
    match query {
        LogicalPlan::Projection(projection) => filters_of(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => filters_of(&alias.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => filters_of(&sort.input),
        LogicalPlan::Distinct(distinct) => filters_of(distinct.input()),
        LogicalPlan::Filter(filter) if free(&filter.input)?.is_empty() && !is_volatile(query)? => {
            let mut outside = Vec::new();
            let mut own = Vec::new();
            for part in split_conjunction(&filter.predicate) {
                if free_of(part, query)?.is_empty() {
                    own.push(part.clone());
                } else if part.exists(|inner| Ok(subquery_of(inner).is_some()))? {
                    return Ok(None);
                } else {
                    outside.push(part.clone());
                }
            }
            let rest = filter.input.as_ref().clone();
            let rest = match conjunction(own) {
                Some(own) => LogicalPlan::Filter(Filter::try_new(own, Arc::new(rest))?),
                None => rest,
            };
            Ok(Some((outside, rest)))
        }
        _ => Ok(None),
    }
}
