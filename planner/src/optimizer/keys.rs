//! What declared keys (and what is grouped by) let the optimiser leave out:
//!
//! * a left join whose right side has at most one row for each of the left, when nothing reads a column of it: the dimensions
//!   of a wide view that a query does not ask for;
//! * a DISTINCT, or a GROUP BY without aggregates, over columns that have a key among them.
//!
//! PRIMARY KEY, UNIQUE and unique indexes are not enforced: that they hold is the promise of whoever declared them.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Join, LogicalPlan, Operator, Projection, SubqueryAlias, TableScan,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::table_provider::StaffaTable;

#[derive(Debug)]
pub(super) struct DeclaredKeys;

impl OptimizerRule for DeclaredKeys {
    fn name(&self) -> &str {
        "declared_keys"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        without_needless(plan, None)
    }
}

/// The columns of a plan that are read from above; `None`: all of them.
type Read = Option<HashSet<Column>>;

/// The plan without joins and groupings that change nothing of what is read.
fn without_needless(plan: LogicalPlan, read: Read) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => {
            let (plan, ungrouped) = match plan {
                LogicalPlan::Aggregate(aggregate) if groups_single_rows(&aggregate) => {
                    let projected = Projection::try_new(aggregate.group_expr, aggregate.input)?;
                    (LogicalPlan::Projection(projected), true)
                }
                plan => (plan, false),
            };
            let read = columns_read(&plan);
            let mut below = below(plan, read)?;
            below.transformed |= ungrouped;
            Ok(below)
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            let read = together(read, columns_read(&plan));
            below(plan, read)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let read = read.map(|read| renamed(&alias, &read));
            below(LogicalPlan::SubqueryAlias(alias), read)
        }
        LogicalPlan::Join(join) if read.as_ref().is_some_and(|read| is_needless(&join, read)) => {
            let mut left = without_needless(Arc::unwrap_or_clone(join.left), read)?;
            left.transformed = true;
            Ok(left)
        }
        LogicalPlan::Join(_) => {
            let read = together(read, columns_read(&plan));
            below(plan, read)
        }
        plan => below(plan, None),
    }
}

/// The same in what the plan reads from.
fn below(plan: LogicalPlan, read: Read) -> Result<Transformed<LogicalPlan>> {
    let changed = plan.map_children(|child| without_needless(child, read.clone()))?;
    match changed.transformed {
        true => changed.map_data(LogicalPlan::recompute_schema),
        false => Ok(changed),
    }
}

/// The columns its own expressions read.
fn columns_read(plan: &LogicalPlan) -> Read {
    let mut read = HashSet::new();
    for expression in plan.expressions() {
        // What a subquery reads from outside is not among its columns.
        let has_subquery = |inner: &Expr| {
            let is_one = matches!(
                inner,
                Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
            );
            Ok(is_one)
        };
        if expression.exists(has_subquery).unwrap_or(true) {
            return None;
        }
        read.extend(expression.column_refs().into_iter().cloned());
    }
    Some(read)
}

fn together(one: Read, other: Read) -> Read {
    let mut all = one?;
    all.extend(other?);
    Some(all)
}

/// What is read of an alias, by the names its input has.
fn renamed(alias: &SubqueryAlias, read: &HashSet<Column>) -> HashSet<Column> {
    let index = read
        .iter()
        .filter_map(|column| alias.schema.maybe_index_of_column(column));
    index
        .map(|index| alias.input.schema().qualified_field(index).into())
        .collect()
}

/// Whether each row of the left comes out once, whatever the right side has, and nothing is read of that.
fn is_needless(join: &Join, read: &HashSet<Column>) -> bool {
    let mut keys: Vec<&Column> = join.on.iter().filter_map(|(_, right)| right.try_as_col()).collect();
    keys.extend(join.filter.iter().flat_map(settled));
    join.join_type == JoinType::Left
        && join.null_equality == NullEquality::NullEqualsNothing
        && !read.iter().any(|column| join.right.schema().has_column(column))
        && is_unique(&join.right, &keys, Nulls::NeverMatch)
}

/// Whether every group is one row, and the groups are all that is asked for.
fn groups_single_rows(aggregate: &Aggregate) -> bool {
    let keys: Option<Vec<&Column>> = aggregate.group_expr.iter().map(Expr::try_as_col).collect();
    aggregate.aggr_expr.is_empty()
        && keys.is_some_and(|keys| !keys.is_empty() && is_unique(&aggregate.input, &keys, Nulls::AreOneValue))
}

/// What two nulls in a column are: UNIQUE allows any number of them.
#[derive(Clone, Copy, PartialEq)]
enum Nulls {
    NeverMatch,
    AreOneValue,
}

/// The columns a condition allows one value each.
fn settled(condition: &Expr) -> Vec<&Column> {
    split_conjunction(condition)
        .into_iter()
        .filter_map(equal_to_literal)
        .collect()
}

fn equal_to_literal(condition: &Expr) -> Option<&Column> {
    match condition {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(column)) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

/// Whether no two rows of the plan are equal in these columns of it.
fn is_unique(plan: &LogicalPlan, columns: &[&Column], nulls: Nulls) -> bool {
    let places: HashSet<usize> = columns
        .iter()
        .filter_map(|column| plan.schema().maybe_index_of_column(column))
        .collect();
    match plan {
        LogicalPlan::TableScan(scan) => has_key(scan, &places, nulls),
        LogicalPlan::Filter(filter) => {
            let columns: Vec<&Column> = columns.iter().copied().chain(settled(&filter.predicate)).collect();
            is_unique(&filter.input, &columns, nulls)
        }
        LogicalPlan::Sort(sort) => is_unique(&sort.input, columns, nulls),
        LogicalPlan::Limit(limit) => is_unique(&limit.input, columns, nulls),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = alias.input.schema();
            let own: Vec<Column> = places
                .iter()
                .map(|place| input.qualified_field(*place).into())
                .collect();
            is_unique(&alias.input, &own.iter().collect::<Vec<_>>(), nulls)
        }
        LogicalPlan::Projection(projection) => {
            let expressions = places.iter().filter_map(|place| projection.expr.get(*place));
            let own: Vec<&Column> = expressions
                .filter_map(|expression| plain(expression).try_as_col())
                .collect();
            is_unique(&projection.input, &own, nulls)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let has_sets = aggregate
                .group_expr
                .iter()
                .any(|key| matches!(key, Expr::GroupingSet(_)));
            !has_sets && (0..aggregate.group_expr.len()).all(|place| places.contains(&place))
        }
        _ => false,
    }
}

fn plain(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => plain(&alias.expr),
        expression => expression,
    }
}

/// Whether the columns at these places of the scan have a declared key among them.
fn has_key(scan: &TableScan, places: &HashSet<usize>, nulls: Nulls) -> bool {
    let Ok(provider) = source_as_provider(&scan.source) else {
        return false;
    };
    let Some(table) = provider.downcast_ref::<StaffaTable>() else {
        return false;
    };
    // A key of today says nothing of what was there before it was declared.
    if !table.is_current() {
        return false;
    }
    let fields = scan.projected_schema.fields();
    let settled: HashSet<&str> = scan.filters.iter().flat_map(settled).map(Column::name).collect();
    let is_among = |name: &String| {
        let named = places.iter().filter_map(|place| fields.get(*place));
        let mut named = named.filter(|field| field.name() == name);
        settled.contains(name.as_str()) || named.any(|field| nulls == Nulls::NeverMatch || !field.is_nullable())
    };
    table
        .table()
        .declared_keys()
        .any(|(_, columns)| columns.iter().all(is_among))
}
