//! A subquery computed for many outer rows at once ("Unnesting Arbitrary Queries", Neumann and Kemper, BTW 2015).
//!
//! Before: a plan that reads columns of one outer row. After: a plan with those columns in it, whose result holds the rows
//! the first would give for each of the outer rows. The outer rows (the carrier) are joined in at the bottom, and every
//! operator above keeps them apart: groups by them, partitions by them.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result as DataFusionResult};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::logical_plan::{
    Aggregate, Distinct, Limit, Projection, RecursiveQuery, Sort, Union, Window,
};
use datafusion::logical_expr::utils::{enumerate_grouping_sets, grouping_set_to_exprlist, merge_schema};
use datafusion::logical_expr::{
    Expr, Filter, GroupingSet, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder, Operator, SubqueryAlias, Unnest,
    Values, binary_expr, lit,
};
use datafusion::scalar::ScalarValue;

use super::recursion::WorkTable;
use super::scope::{Places, bound, free, free_of, lateral_side, moved};
use super::{Subqueries, unsupported, without_idle_side};
use crate::function::stands_for_subquery;
use crate::generic::some_expression;
use crate::identity;

/// The outer rows, and the columns by which the query knows them: each with the carrier's own, which no query can name.
#[derive(Clone)]
pub(super) struct Carrier {
    pub plan: LogicalPlan,
    pub keys: Vec<(Column, Column)>,
    /// Inside the recursive term of a query, the table that brings the keys along.
    pub work_table: Option<WorkTable>,
}

impl Carrier {
    pub(super) fn new(plan: LogicalPlan, keys: Vec<(Column, Column)>) -> Self {
        Self {
            plan,
            keys,
            work_table: None,
        }
    }

    /// Whether the rows of a plan depend on the outer row.
    fn concerns(&self, plan: &LogicalPlan) -> DataFusionResult<bool> {
        let reads = free(plan)?;
        Ok(self.keys.iter().any(|(outer, _)| reads.contains(outer)) || self.works_in(plan))
    }

    fn works_in(&self, plan: &LogicalPlan) -> bool {
        self.work_table
            .as_ref()
            .is_some_and(|work_table| work_table.is_in(plan))
    }

    fn places(&self) -> Places {
        self.keys.iter().cloned().collect()
    }

    pub(super) fn key_columns(&self) -> impl Iterator<Item = Expr> + '_ {
        self.keys.iter().map(|(_, key)| Expr::Column(key.clone()))
    }
}

/// Whether a plan gives its rows for every outer row apart, also where two outer rows are the same: the outer rows
/// themselves can be the carrier then, and need not be made distinct and joined back.
pub(super) fn row_by_row(plan: &LogicalPlan) -> DataFusionResult<bool> {
    if free(plan)?.is_empty() {
        return Ok(true);
    }
    match plan {
        LogicalPlan::Projection(projection) => row_by_row(&projection.input),
        LogicalPlan::Filter(filter) => row_by_row(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => row_by_row(&alias.input),
        LogicalPlan::Unnest(unnest) => row_by_row(&unnest.input),
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner && lateral_side(join).is_none() => {
            let (left, right) = (free(&join.left)?.is_empty(), free(&join.right)?.is_empty());
            Ok((left || right) && row_by_row(&join.left)? && row_by_row(&join.right)?)
        }
        _ => Ok(false),
    }
}

impl Subqueries {
    /// The plan's columns and the carrier's keys, for every row of the carrier.
    pub(super) fn push(&mut self, plan: &LogicalPlan, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        if !carrier.concerns(plan)? {
            return crossed(carrier, plan);
        }
        match plan {
            LogicalPlan::TableScan(_) => match &carrier.work_table {
                Some(work_table) => work_table.with_keys(carrier),
                None => Err(unsupported()),
            },
            // Each would have to know that there are no further rows to come.
            LogicalPlan::Aggregate(_) | LogicalPlan::Limit(_) if carrier.works_in(plan) => Err(unsupported()),
            LogicalPlan::Projection(projection) => {
                let input = self.push(&projection.input, carrier)?;
                self.project(projection, input, carrier)
            }
            LogicalPlan::Filter(filter) => {
                let input = self.push(&filter.input, carrier)?;
                let predicate = here(&filter.predicate, carrier, &filter.input, &input)?;
                Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
            }
            LogicalPlan::SubqueryAlias(alias) => self.push_alias(alias, carrier),
            LogicalPlan::Subquery(subquery) => self.push(&subquery.subquery, carrier),
            LogicalPlan::Unnest(unnest) => self.push_unnest(unnest, carrier),
            // The order of a subquery's rows is nothing anyone sees; where it counts there is a Limit above.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.push(&sort.input, carrier),
            LogicalPlan::Limit(limit) => self.push_limit(limit, carrier),
            LogicalPlan::Distinct(distinct) => self.push_distinct(distinct, carrier),
            LogicalPlan::Aggregate(aggregate) => self.push_aggregate(aggregate, carrier),
            LogicalPlan::Window(window) => self.push_window(window, carrier),
            LogicalPlan::Join(join) if lateral_side(join).is_some() => self.push_lateral(join, carrier),
            LogicalPlan::Join(join) => self.push_join(join, carrier),
            LogicalPlan::Union(union) => self.push_union(union, carrier),
            LogicalPlan::Values(values) => self.push_values(values, carrier),
            LogicalPlan::RecursiveQuery(query) => self.push_recursion(query, carrier),
            _ => Err(unsupported()),
        }
    }

    fn project(
        &mut self,
        projection: &Projection,
        input: LogicalPlan,
        carrier: &Carrier,
    ) -> DataFusionResult<LogicalPlan> {
        let mut expressions = Vec::with_capacity(projection.expr.len() + carrier.keys.len());
        for (expression, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
            let moved = here(expression, carrier, &projection.input, &input)?;
            expressions.push(if &moved == expression {
                moved
            } else {
                moved.unalias().alias_qualified(qualifier.cloned(), field.name())
            });
        }
        expressions.extend(carrier.key_columns());
        Ok(LogicalPlan::Projection(Projection::try_new(
            expressions,
            Arc::new(input),
        )?))
    }

    /// An alias would name the keys too: a projection names only what the alias named before.
    fn push_alias(&mut self, alias: &SubqueryAlias, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let input = self.push(&alias.input, carrier)?;
        let named = alias.input.schema().columns().into_iter().zip(alias.schema.iter());
        let named = named
            .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()));
        let expressions: Vec<Expr> = named.chain(carrier.key_columns()).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(
            expressions,
            Arc::new(input),
        )?))
    }

    fn push_unnest(&mut self, unnest: &Unnest, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let input = self.push(&unnest.input, carrier)?;
        LogicalPlanBuilder::from(input)
            .unnest_columns_with_options(unnest.exec_columns.clone(), unnest.options.clone())?
            .build()
    }

    /// `limit n offset m` takes rows m + 1 to m + n of every outer row, counted in the order asked for.
    fn push_limit(&mut self, limit: &Limit, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        // These complain of what is negative.
        limit.get_skip_type()?;
        limit.get_fetch_type()?;
        let (projection, sort) = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => (None, Some(sort)),
            LogicalPlan::Projection(projection) => match projection.input.as_ref() {
                LogicalPlan::Sort(sort) => (Some(projection), Some(sort)),
                _ => (None, None),
            },
            _ => (None, None),
        };
        let base = sort.map_or(&limit.input, |sort: &Sort| &sort.input);
        let input = self.push(base, carrier)?;
        let mut order = Vec::new();
        for key in sort.map_or(&[][..], |sort| &sort.expr) {
            order.push(key.with_expr(here(&key.expr, carrier, base, &input)?));
        }
        let (numbered, number) = self.numbered(input, carrier.key_columns().collect(), order)?;
        let skip = match &limit.skip {
            Some(skip) => coalesce(vec![here(skip, carrier, base, &numbered)?, lit(0_i64)]),
            None => lit(0_i64),
        };
        let mut within = number.clone().gt(skip.clone());
        if let Some(fetch) = &limit.fetch {
            let fetch = here(fetch, carrier, base, &numbered)?;
            // Not `number <= skip + fetch`: a limit may be as large as numbers get.
            within = within.and(fetch.clone().is_null().or((number - skip).lt_eq(fetch)));
        }
        let chosen = LogicalPlanBuilder::from(numbered).filter(within)?.build()?;
        match projection {
            Some(projection) => self.project(projection, chosen, carrier),
            None => with_keys(chosen, base.schema(), carrier),
        }
    }

    /// The plan with a further column: the number of the row among those of the same partition.
    pub(super) fn numbered(
        &mut self,
        plan: LogicalPlan,
        partition_by: Vec<Expr>,
        order_by: Vec<SortExpr>,
    ) -> DataFusionResult<(LogicalPlan, Expr)> {
        let (plan, number) = self.with_numbers(plan, partition_by, order_by)?;
        // Rows are counted without sign; limits have one.
        let signed = arrow::datatypes::DataType::Int64;
        Ok((plan, datafusion::logical_expr::cast(Expr::Column(number), signed)))
    }

    fn with_numbers(
        &mut self,
        plan: LogicalPlan,
        partition_by: Vec<Expr>,
        order_by: Vec<SortExpr>,
    ) -> DataFusionResult<(LogicalPlan, Column)> {
        let mut number = WindowFunction::new(row_number_udwf(), Vec::new());
        if !order_by.is_empty() {
            number.params.window_frame = datafusion::logical_expr::WindowFrame::new(Some(false));
        }
        number.params.partition_by = partition_by;
        number.params.order_by = order_by;
        let name = self.fresh("n");
        let number = Expr::WindowFunction(Box::new(number)).alias(&name);
        let plan = LogicalPlanBuilder::from(plan).window([number])?.build()?;
        Ok((plan, Column::from_name(name)))
    }

    /// The plan computed once, however often it is read, with a column that tells its rows apart.
    pub(super) fn once_numbered(&mut self, plan: &LogicalPlan) -> DataFusionResult<(LogicalPlan, Column)> {
        let (plan, number) = self.with_numbers(plan.clone(), Vec::new(), Vec::new())?;
        Ok((self.once(plan)?, number))
    }

    fn push_distinct(&mut self, distinct: &Distinct, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let input = self.push(distinct.input(), carrier)?;
        let Distinct::On(on) = distinct else {
            return LogicalPlanBuilder::from(input).distinct()?.build();
        };
        let keys: Vec<Expr> = carrier.key_columns().collect();
        let mut on_expr = keys.clone();
        for expression in &on.on_expr {
            on_expr.push(here(expression, carrier, &on.input, &input)?);
        }
        let mut select = Vec::new();
        for (expression, (qualifier, field)) in on.select_expr.iter().zip(on.schema.iter()) {
            let moved = here(expression, carrier, &on.input, &input)?;
            select.push(moved.unalias().alias_qualified(qualifier.cloned(), field.name()));
        }
        select.extend(keys.iter().cloned());
        let mut sort = keys.into_iter().map(|key| key.sort(true, false)).collect::<Vec<_>>();
        for key in on.sort_expr.iter().flatten() {
            sort.push(key.with_expr(here(&key.expr, carrier, &on.input, &input)?));
        }
        let sort = on.sort_expr.is_some().then_some(sort);
        LogicalPlanBuilder::from(input)
            .distinct_on(on_expr, select, sort)?
            .build()
    }

    /// Groups by the keys, too. Without GROUP BY there is a row even for an outer row that finds nothing: the carrier is
    /// joined once more from outside, and what comes from no row is left out by the aggregates' filters.
    fn push_aggregate(&mut self, aggregate: &Aggregate, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        if let [Expr::GroupingSet(_)] = aggregate.group_expr[..] {
            return self.push_grouping_sets(aggregate, carrier);
        }
        let mut input = self.push(&aggregate.input, carrier)?;
        let mut found = None;
        if aggregate.group_expr.is_empty() {
            let (marked, mark) = self.marked_back(carrier, input)?;
            (input, found) = (marked, Some(mark));
        }
        let mut groups: Vec<Expr> = carrier.key_columns().collect();
        let mut places = Vec::with_capacity(aggregate.schema.fields().len());
        for expression in &aggregate.group_expr {
            let moved = here(expression, carrier, &aggregate.input, &input)?;
            // A column of the outer row is a key already.
            let known = groups.iter().position(|group| *group == moved);
            places.push(known.unwrap_or(groups.len()));
            if known.is_none() {
                groups.push(moved);
            }
        }
        places.extend((0..aggregate.aggr_expr.len()).map(|at| groups.len() + at));
        let mut aggregates = Vec::new();
        for expression in &aggregate.aggr_expr {
            let moved = here(expression, carrier, &aggregate.input, &input)?;
            aggregates.push(match &found {
                Some(found) => filtered(moved, found)?,
                None => moved,
            });
        }
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, aggregates)?);
        let columns = grouped.schema().columns();
        let named = places
            .iter()
            .zip(aggregate.schema.iter())
            .filter_map(|(at, (qualifier, field))| {
                let column = Expr::Column(columns.get(*at)?.clone());
                Some(column.alias_qualified(qualifier.cloned(), field.name()))
            });
        let expressions: Vec<Expr> = named.chain(carrier.key_columns()).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(
            expressions,
            Arc::new(grouped),
        )?))
    }

    /// Every set has the keys. A set of nothing else has a row for every outer row, as an aggregate without GROUP BY; where the outer
    /// row finds nothing, the others have none.
    fn push_grouping_sets(&mut self, aggregate: &Aggregate, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let given: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?
            .into_iter()
            .cloned()
            .collect();
        // In columns of their own: a key may be one of them, and is null in some of the sets then.
        let mut input = self.push(&aggregate.input, carrier)?;
        let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let mut places = Vec::with_capacity(given.len());
        for expression in &given {
            let name = self.fresh("g");
            columns.push(here(expression, carrier, &aggregate.input, &input)?.alias(&name));
            places.push(Expr::Column(Column::from_name(name)));
        }
        let place = |expression: &Expr| {
            let at = given.iter().position(|known| known == expression);
            at.map_or_else(|| expression.clone(), |at| places[at].clone())
        };
        input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
        let keys: Vec<Expr> = carrier.key_columns().collect();
        let mut sets = sets_of(&keys, &aggregate.group_expr)?;
        for set in &mut sets {
            *set = set.iter().map(place).collect();
        }
        let mut found = None;
        let mut own_rows = None;
        if sets.iter().any(|set| set.len() == keys.len()) {
            let (marked, mark) = self.marked_back(carrier, input)?;
            let name = self.fresh("some");
            let columns = marked.schema().columns().into_iter().map(Expr::Column);
            let columns: Vec<Expr> = columns.chain([mark.clone().alias(&name)]).collect();
            input = LogicalPlanBuilder::from(marked).project(columns)?.build()?;
            let some = Expr::Column(Column::from_name(name));
            for set in sets.iter_mut().filter(|set| set.len() > keys.len()) {
                set.push(some.clone());
            }
            // It is null in the sets without it.
            own_rows = Some(binary_expr(some, Operator::IsDistinctFrom, lit(false)));
            found = Some(mark);
        }
        let mut aggregates = Vec::new();
        for expression in &aggregate.aggr_expr {
            aggregates.push(match (of_grouping(expression, place), &found) {
                (Some(grouping), _) => grouping,
                (None, Some(found)) => filtered(here(expression, carrier, &aggregate.input, &input)?, found)?,
                (None, None) => here(expression, carrier, &aggregate.input, &input)?,
            });
        }
        let sets = vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))];
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), sets, aggregates)?);
        let schema = grouped.schema().columns();
        let (_, calls) = schema.split_at(schema.len() - aggregate.aggr_expr.len());
        // Nothing but `grouping()` knows the number of the set a row is of.
        let id = Expr::Column(Column::from_name(Aggregate::INTERNAL_GROUPING_ID));
        let columns = places.into_iter().chain([id.clone()]);
        let columns = columns.chain(calls.iter().cloned().map(Expr::Column));
        let named = columns.zip(aggregate.schema.iter()).filter(|(column, _)| *column != id);
        let named = named.map(|(column, (qualifier, field))| column.alias_qualified(qualifier.cloned(), field.name()));
        let expressions: Vec<Expr> = named.chain(keys).collect();
        let mut rows = LogicalPlanBuilder::from(grouped);
        if let Some(own_rows) = own_rows {
            rows = rows.filter(own_rows)?;
        }
        rows.project(expressions)?.build()
    }

    /// What was found for the carrier's rows, with a row for each that nothing was found for, and what tells the others.
    fn marked_back(&mut self, carrier: &Carrier, found: LogicalPlan) -> DataFusionResult<(LogicalPlan, Expr)> {
        let name = self.fresh("found");
        let columns = found.schema().columns().into_iter().map(Expr::Column);
        let marked: Vec<Expr> = columns.chain([lit(true).alias(&name)]).collect();
        let marked = LogicalPlanBuilder::from(found).project(marked)?.build()?;
        let marked = self.joined_back(carrier, marked, JoinType::Left)?;
        Ok((marked, Expr::Column(Column::from_name(name)).is_not_null()))
    }

    fn push_window(&mut self, window: &Window, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let input = self.push(&window.input, carrier)?;
        let keys: Vec<Expr> = carrier.key_columns().collect();
        let names = window.schema.iter().skip(window.input.schema().fields().len());
        let mut expressions = Vec::new();
        for (expression, (_, field)) in window.window_expr.iter().zip(names) {
            let moved = here(expression, carrier, &window.input, &input)?;
            let Expr::WindowFunction(mut function) = moved.unalias() else {
                return Err(unsupported());
            };
            function.params.partition_by.extend(keys.iter().cloned());
            expressions.push(Expr::WindowFunction(function).alias(field.name()));
        }
        let plan = LogicalPlanBuilder::from(input).window(expressions)?.build()?;
        with_keys(plan, &window.schema, carrier)
    }

    fn push_join(&mut self, join: &Join, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let (left_reads, right_reads) = (carrier.concerns(&join.left)?, carrier.concerns(&join.right)?);
        let keeps_left = matches!(
            join.join_type,
            JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark
        );
        let keeps_right = matches!(join.join_type, JoinType::Inner | JoinType::Right);
        let copy = self.copied(carrier)?;
        let (left, right, matched) = if keeps_left && !right_reads {
            (self.push(&join.left, carrier)?, join.right.as_ref().clone(), None)
        } else if keeps_right && !left_reads {
            (join.left.as_ref().clone(), self.push(&join.right, carrier)?, None)
        } else if keeps_right {
            let pairs = copy.key_columns().zip(carrier.key_columns()).collect();
            (
                self.push(&join.left, &copy)?,
                self.push(&join.right, carrier)?,
                Some(pairs),
            )
        } else if keeps_left || join.join_type == JoinType::Full {
            let pairs: Vec<_> = carrier.key_columns().zip(copy.key_columns()).collect();
            (
                self.push(&join.left, carrier)?,
                self.push(&join.right, &copy)?,
                Some(pairs),
            )
        } else {
            return Err(unsupported());
        };
        let mut given = join.left.schema().as_ref().clone();
        given.merge(join.right.schema());
        let now = merge_schema(&[&left, &right]);
        let place = |expression: &Expr| bound(expression.clone(), &carrier.places(), &given, &now);
        let mut filter = join.filter.as_ref().map(place).transpose()?;
        let mut on = join.on.clone();
        let mut null_equality = join.null_equality;
        if let Some(pairs) = matched {
            if join.null_aware {
                return Err(unsupported());
            }
            // Keys match where both are null; the join's own columns do not.
            if null_equality == NullEquality::NullEqualsNothing {
                let own = on.drain(..).map(|(left, right)| left.eq(right));
                filter = own.chain(filter).reduce(Expr::and);
                null_equality = NullEquality::NullEqualsNull;
            }
            on.extend(pairs);
        }
        let joined = LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            filter,
            join.join_type,
            JoinConstraint::On,
            null_equality,
            join.null_aware,
        )?);
        if join.join_type != JoinType::Full {
            return with_keys(joined, &join.schema, carrier);
        }
        // A row of the right side alone has its keys in the copy.
        let columns = join.schema.columns().into_iter().map(Expr::Column);
        let keys = carrier.keys.iter().zip(copy.key_columns());
        let keys = keys.map(|((_, key), copied)| coalesce(vec![Expr::Column(key.clone()), copied]).alias(&key.name));
        let expressions: Vec<Expr> = columns.chain(keys).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(
            expressions,
            Arc::new(joined),
        )?))
    }

    /// What a side reads of the outer rows stands in the rows of the other side, once these have the keys: the join is one of a
    /// single query then.
    fn push_lateral(&mut self, join: &Join, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let left = self.push(&join.left, carrier)?;
        let mut places = carrier.places();
        places.retain(|outer, _| !join.left.schema().has_column(outer));
        let right = moved(join.right.as_ref().clone(), &places, left.schema())?;
        let now = merge_schema(&[&left, &right]);
        let mut given = join.left.schema().as_ref().clone();
        given.merge(join.right.schema());
        let place = |expression: &Expr| bound(expression.clone(), &carrier.places(), &given, &now);
        let filter = join.filter.as_ref().map(place).transpose()?;
        let pushed = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on.clone(),
            filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        let pushed = without_idle_side(LogicalPlan::Join(pushed))?;
        let joined = match &pushed {
            LogicalPlan::Join(join) => self.lateral(join)?.unwrap_or(pushed),
            _ => pushed,
        };
        with_keys(joined, &join.schema, carrier)
    }

    fn push_union(&mut self, union: &Union, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let pushed = self.push(input, carrier)?;
            inputs.push(Arc::new(with_keys(pushed, input.schema(), carrier)?));
        }
        let united = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let named = united.schema().columns().into_iter().zip(union.schema.iter());
        let named = named
            .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()));
        let expressions: Vec<Expr> = named.chain(carrier.key_columns()).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(
            expressions,
            Arc::new(united),
        )?))
    }

    /// The rows of all outer rows go through the work table together, each with its keys.
    fn push_recursion(&mut self, query: &RecursiveQuery, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        if carrier.works_in(&query.recursive_term) {
            return Err(unsupported());
        }
        let first = self.push(&query.static_term, carrier)?;
        let first = with_keys(first, query.static_term.schema(), carrier)?;
        let within = Carrier {
            work_table: Some(WorkTable::of(query, carrier)?),
            ..carrier.clone()
        };
        let following = self.push(&query.recursive_term, &within)?;
        let following = with_keys(following, query.recursive_term.schema(), carrier)?;
        let recursive = RecursiveQuery::try_new(
            query.name.clone(),
            Arc::new(first),
            Arc::new(following),
            query.is_distinct,
        )?;
        Ok(LogicalPlan::RecursiveQuery(recursive))
    }

    /// `values (a), (b)` with outer columns: a row each, put together.
    fn push_values(&mut self, values: &Values, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
        let nothing = Arc::new(LogicalPlanBuilder::empty(true).build()?);
        let mut rows = Vec::with_capacity(values.values.len());
        for row in &values.values {
            let named = row.iter().zip(values.schema.iter());
            let named = named
                .map(|(value, (_, field))| value.clone().alias(field.name()))
                .collect();
            let row = LogicalPlan::Projection(Projection::try_new(named, Arc::clone(&nothing))?);
            rows.push(Arc::new(with_keys(self.push(&row, carrier)?, row.schema(), carrier)?));
        }
        match rows.len() {
            1 => Ok(rows.remove(0).as_ref().clone()),
            _ => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(rows)?)),
        }
    }

    /// The carrier's rows joined with what was found for them.
    fn joined_back(
        &mut self,
        carrier: &Carrier,
        found: LogicalPlan,
        join_type: JoinType,
    ) -> DataFusionResult<LogicalPlan> {
        let copy = self.copied(carrier)?;
        let keys = |carrier: &Carrier| carrier.keys.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>();
        // The copy stands on the outside, so that what is found keeps its names; its own keys go by the first ones' names.
        let joined = LogicalPlanBuilder::from(copy.plan.clone())
            .join_detailed(
                found.clone(),
                join_type,
                (keys(&copy), keys(carrier)),
                None,
                NullEquality::NullEqualsNull,
            )?
            .build()?;
        let own: Vec<Column> = keys(carrier);
        let columns = found
            .schema()
            .columns()
            .into_iter()
            .filter(|column| !own.contains(column));
        let mut expressions: Vec<Expr> = columns.map(Expr::Column).collect();
        for ((_, copied), (_, key)) in copy.keys.iter().zip(&carrier.keys) {
            expressions.push(Expr::Column(copied.clone()).alias(&key.name));
        }
        LogicalPlanBuilder::from(joined).project(expressions)?.build()
    }

    /// The same rows under other names, to be joined with themselves.
    fn copied(&mut self, carrier: &Carrier) -> DataFusionResult<Carrier> {
        let mut keys = Vec::with_capacity(carrier.keys.len());
        let mut expressions = Vec::with_capacity(carrier.keys.len());
        for (outer, key) in &carrier.keys {
            let name = self.fresh("k");
            expressions.push(Expr::Column(key.clone()).alias(&name));
            keys.push((outer.clone(), Column::from_name(name)));
        }
        let plan = LogicalPlanBuilder::from(carrier.plan.clone())
            .project(expressions)?
            .build()?;
        let work_table = carrier.work_table.clone();
        Ok(Carrier { plan, keys, work_table })
    }
}

/// An expression of a node over `given` as one over `now`, where the keys stand.
fn here(expression: &Expr, carrier: &Carrier, given: &LogicalPlan, now: &LogicalPlan) -> DataFusionResult<Expr> {
    bound(expression.clone(), &carrier.places(), given.schema(), now.schema())
}

/// Only these columns of a plan, and the keys.
fn with_keys(plan: LogicalPlan, columns: &DFSchema, carrier: &Carrier) -> DataFusionResult<LogicalPlan> {
    let columns = columns.columns().into_iter().map(Expr::Column);
    let expressions: Vec<Expr> = columns.chain(carrier.key_columns()).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(
        expressions,
        Arc::new(plan),
    )?))
}

/// Every row of the carrier with every row of a plan that does not depend on it.
fn crossed(carrier: &Carrier, plan: &LogicalPlan) -> DataFusionResult<LogicalPlan> {
    match plan {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Ok(carrier.plan.clone()),
        _ => LogicalPlanBuilder::from(carrier.plan.clone())
            .cross_join(plan.clone())?
            .build(),
    }
}

/// The sets of a GROUP BY that has some, each with these keys in front.
fn sets_of(keys: &[Expr], group_by: &[Expr]) -> DataFusionResult<Vec<Vec<Expr>>> {
    let with_keys = keys.iter().chain(group_by).cloned().collect();
    match enumerate_grouping_sets(with_keys)?.pop() {
        Some(Expr::GroupingSet(GroupingSet::GroupingSets(sets))) => Ok(sets),
        _ => Err(unsupported()),
    }
}

/// `grouping(…)` of what is grouped by in other places.
fn of_grouping(aggregate: &Expr, place: impl Fn(&Expr) -> Expr) -> Option<Expr> {
    let (call, alias) = match aggregate {
        Expr::Alias(alias) => (alias.expr.as_ref(), Some(&alias.name)),
        call => (call, None),
    };
    match call {
        Expr::AggregateFunction(call) if call.func.name() == "grouping" => {
            let mut call = call.clone();
            call.params.args = call.params.args.iter().map(place).collect();
            let call = Expr::AggregateFunction(call);
            Some(match alias {
                Some(alias) => call.alias(alias),
                None => call,
            })
        }
        _ => None,
    }
}

/// The aggregate of only those rows for which a condition holds.
fn filtered(aggregate: Expr, condition: &Expr) -> DataFusionResult<Expr> {
    match aggregate {
        Expr::Alias(mut alias) => {
            *alias.expr = filtered(*alias.expr, condition)?;
            Ok(Expr::Alias(alias))
        }
        Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
            let filter = match params.filter {
                Some(filter) => condition.clone().and(*filter),
                None => condition.clone(),
            };
            params.filter = Some(Box::new(filter));
            Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
        }
        _ => Err(unsupported()),
    }
}

/// Whether every run of a plan gives the same rows: what is computed twice is joined with itself. With `floats` it is a
/// float that is compared, whose sum may differ in the last digit.
pub(super) fn repeatable(plan: &LogicalPlan, floats: bool) -> DataFusionResult<bool> {
    let mut repeatable = !is_volatile(plan)?;
    plan.apply_with_subqueries(|node| {
        let chance = match node {
            LogicalPlan::Limit(_) | LogicalPlan::Distinct(Distinct::On(_)) | LogicalPlan::Window(_) => true,
            LogicalPlan::Sort(sort) => sort.fetch.is_some(),
            LogicalPlan::Aggregate(aggregate) => floats || aggregate.aggr_expr.iter().any(depends_on_order),
            _ => false,
        };
        if chance {
            repeatable = false;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(repeatable)
}

/// Whether it gives other rows each time it is computed, by functions in it.
pub(super) fn is_volatile(plan: &LogicalPlan) -> DataFusionResult<bool> {
    Ok(some_expression(plan, |_, expression| {
        identity::is_volatile(expression) && !stands_for_subquery(expression)
    })?)
}

/// Aggregates whose result depends on the order in which rows arrive.
fn depends_on_order(aggregate: &Expr) -> bool {
    match aggregate {
        Expr::Alias(alias) => depends_on_order(&alias.expr),
        Expr::AggregateFunction(AggregateFunction { func, .. }) => !matches!(
            func.name(),
            "count" | "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "sum" | "avg"
        ),
        _ => true,
    }
}

/// No row limit, and nothing read from outside: `limit` and `offset` of one row.
pub(super) fn one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Projection(projection) => one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => one_row(&alias.input),
        LogicalPlan::Filter(filter) => one_row(&filter.input),
        LogicalPlan::Limit(limit) => {
            let one = Expr::Literal(ScalarValue::Int64(Some(1)), None);
            limit.fetch.as_deref() == Some(&one) || one_row(&limit.input)
        }
        LogicalPlan::Sort(sort) => one_row(&sort.input),
        _ => false,
    }
}

/// Whether an expression of a node reads anything of the query around.
pub(super) fn reads_outside(expressions: &[Expr], node: &LogicalPlan) -> DataFusionResult<bool> {
    for expression in expressions {
        if !free_of(expression, node)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
