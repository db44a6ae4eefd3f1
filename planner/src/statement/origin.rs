//! The columns of relations that a result shows unchanged: clients look up by them whether they can be null, and what they
//! belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::logical_plan::{Aggregate, Projection, TableScan};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder};
use staffa_catalog::{Table, Uuid, ViewRead};

use crate::context::PlanContext;
use crate::error::Result;
use crate::pg_catalog::provider::SystemTable;
use crate::rewrite::MARKER;
use crate::statement::QueryPlan;
use crate::statement::query::unaliased;
use crate::table_provider::{SecuredTable, StaffaTable};

/// A column of a relation, by the numbers `pg_catalog` knows them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnOrigin {
    pub relation: u32,
    pub column: i16,
}

/// Tells where the columns of a query are from.
pub(crate) async fn find(context: &PlanContext, query: &mut QueryPlan) {
    let found = of_columns(&query.logical);
    let mut objects: Vec<String> = found.iter().flatten().filter_map(|(object, _)| object.key()).collect();
    objects.sort_unstable();
    objects.dedup();
    let mut numbers = HashMap::new();
    if !objects.is_empty()
        && let Some(system) = &context.system_tables
        // A query need not fail for it: without a number a column is one that nothing is known of.
        && let Ok(known) = system.numbers(&objects).await
    {
        numbers.extend(objects.into_iter().zip(known));
    }
    for (column, origin) in query.columns.iter_mut().zip(found) {
        column.origin = origin.and_then(|(object, number)| {
            let relation = match &object {
                Object::Numbered(relation) => Some(*relation),
                Object::Relation(_) => object.key().and_then(|key| numbers.get(&key).copied()),
            };
            relation.map(|relation| ColumnOrigin {
                relation,
                column: number,
            })
        });
    }
}

/// The number of a table, where there is one to be had.
pub(crate) async fn number(context: &PlanContext, table: &Table) -> Option<u32> {
    let key = Object::Relation(table.uuid()).key()?;
    let numbers = context.system_tables.as_ref()?.numbers(&[key]).await.ok()?;
    numbers.first().copied()
}

/// What a view is called inside the queries that read it: its columns are its own, not those of the tables it reads.
const VIEW: &str = "view/";

/// A view's plan, known as one.
pub(crate) fn of_view(plan: LogicalPlan, view: Uuid) -> Result<LogicalPlan> {
    let alias = TableReference::bare(format!("{MARKER}{VIEW}{view}"));
    Ok(LogicalPlanBuilder::from(plan).alias(alias)?.build()?)
}

/// The relations a query reads, and the columns of them that it names. What a view in it reads is that view's.
pub(crate) fn reads(plan: &LogicalPlan) -> Vec<ViewRead> {
    let mut found = Reads::default();
    found.add(plan, &[]);
    let reads = found.0.into_iter();
    reads
        .map(|(relation, columns)| ViewRead {
            relation,
            columns: columns.into_iter().collect(),
        })
        .collect()
}

#[derive(Default)]
struct Reads(BTreeMap<Uuid, BTreeSet<i16>>);

impl Reads {
    /// `around` are the inputs of the plans that this one is a subquery of, the innermost last.
    fn add(&mut self, plan: &LogicalPlan, around: &[&LogicalPlan]) {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => {
                if let Some(view) = view(alias.alias.table()) {
                    self.0.entry(view).or_default();
                    return;
                }
            }
            LogicalPlan::TableScan(scan) => self.note(of_scan(scan).into_iter().flatten(), false),
            _ => {}
        }
        let inputs = plan.inputs();
        let mut scope = around.to_vec();
        scope.extend(&inputs);
        for expression in plan.expressions() {
            let _ = expression.apply(|part| {
                match part {
                    Expr::Column(column) => self.name(column, &inputs),
                    Expr::OuterReferenceColumn(_, column) => self.name(column, around),
                    Expr::ScalarSubquery(inner) => self.add(&inner.subquery, &scope),
                    Expr::Exists(exists) => self.add(&exists.subquery.subquery, &scope),
                    Expr::InSubquery(within) => self.add(&within.subquery.subquery, &scope),
                    Expr::SetComparison(compared) => self.add(&compared.subquery.subquery, &scope),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        for input in inputs {
            self.add(input, &scope);
        }
    }

    /// A column of the innermost of these plans that has it.
    fn name(&mut self, column: &Column, plans: &[&LogicalPlan]) {
        let found = plans.iter().rev().find_map(|plan| {
            let index = plan.schema().maybe_index_of_column(column)?;
            Some(of_columns(plan).get(index).cloned().flatten())
        });
        self.note(found.flatten(), true);
    }

    fn note(&mut self, origins: impl IntoIterator<Item = (Object, i16)>, is_named: bool) {
        for (object, number) in origins {
            if let Object::Relation(relation) = object {
                let columns = self.0.entry(relation).or_default();
                if is_named {
                    columns.insert(number);
                }
            }
        }
    }
}

#[derive(Clone)]
enum Object {
    /// One of PostgreSQL's own.
    Numbered(u32),
    Relation(Uuid),
}

impl Object {
    /// The name its number is kept by.
    fn key(&self) -> Option<String> {
        match self {
            Object::Numbered(_) => None,
            Object::Relation(id) => Some(format!("relation/{id}")),
        }
    }
}

type Origin = Option<(Object, i16)>;

fn of_columns(plan: &LogicalPlan) -> Vec<Origin> {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Projection(Projection { expr, input, .. }) => of_expressions(expr, input),
        LogicalPlan::Filter(filter) => of_columns(&filter.input),
        LogicalPlan::Sort(sort) => of_columns(&sort.input),
        LogicalPlan::Limit(limit) => of_columns(&limit.input),
        LogicalPlan::Subquery(lateral) => of_columns(&lateral.subquery),
        LogicalPlan::SubqueryAlias(alias) => match view(alias.alias.table()) {
            Some(view) => (1..)
                .take(alias.schema.fields().len())
                .map(|number| Some((Object::Relation(view), number)))
                .collect(),
            None => of_columns(&alias.input),
        },
        LogicalPlan::Distinct(Distinct::All(input)) => of_columns(input),
        LogicalPlan::Distinct(Distinct::On(on)) => of_expressions(&on.select_expr, &on.input),
        LogicalPlan::Aggregate(aggregate) => of_groups(aggregate),
        LogicalPlan::Window(window) => padded(of_columns(&window.input), plan),
        LogicalPlan::Join(join) => {
            let mut both = of_columns(&join.left);
            both.extend(of_columns(&join.right));
            match both.len() == join.schema.fields().len() {
                true => both,
                false => padded(Vec::new(), plan),
            }
        }
        other => padded(Vec::new(), other),
    }
}

/// As many as the plan has columns.
fn padded(mut origins: Vec<Origin>, plan: &LogicalPlan) -> Vec<Origin> {
    origins.resize(plan.schema().fields().len(), None);
    origins
}

fn view(alias: &str) -> Option<Uuid> {
    let id = alias.strip_prefix(MARKER)?.strip_prefix(VIEW)?;
    Uuid::try_parse(id).ok()
}

fn of_scan(scan: &TableScan) -> Vec<Origin> {
    let all = columns_of_table(scan).unwrap_or_default();
    let at = |index: usize| all.get(index).cloned().flatten();
    match &scan.projection {
        Some(projection) => projection.iter().map(|index| at(*index)).collect(),
        None => (0..scan.projected_schema.fields().len()).map(at).collect(),
    }
}

fn columns_of_table(scan: &TableScan) -> Option<Vec<Origin>> {
    let provider = source_as_provider(&scan.source).ok()?;
    let plain = provider.downcast_ref::<StaffaTable>().map(StaffaTable::table);
    let secured = || provider.downcast_ref::<SecuredTable>().and_then(SecuredTable::table);
    if let Some(table) = plain.or_else(secured) {
        let numbers = table.column_numbers();
        let id = table.uuid();
        let columns = table.schema().columns.iter().map(|column| {
            let number = numbers.get(&column.field_id)?;
            Some((Object::Relation(id), *number))
        });
        return Some(columns.collect());
    }
    let table = provider.downcast_ref::<SystemTable>()?;
    let columns = (1..).take(scan.source.schema().fields().len());
    let object = Object::Numbered(table.relation.oid);
    Some(columns.map(|number| Some((object.clone(), number))).collect())
}

fn of_expressions(expressions: &[Expr], input: &LogicalPlan) -> Vec<Origin> {
    let below = of_columns(input);
    let origins = expressions.iter().map(|expression| {
        let Expr::Column(column) = unaliased(expression) else {
            return None;
        };
        let index = input.schema().maybe_index_of_column(column)?;
        below.get(index).cloned().flatten()
    });
    origins.collect()
}

fn of_groups(aggregate: &Aggregate) -> Vec<Origin> {
    let keys = grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
    let keys: Vec<Expr> = keys.into_iter().cloned().collect();
    let mut origins = of_expressions(&keys, &aggregate.input);
    origins.resize(aggregate.schema.fields().len(), None);
    origins
}
