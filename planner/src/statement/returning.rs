//! `RETURNING`: a query over the rows a statement has written or deleted, as they are stored.
//!
//! ```text
//! update t set a = 1 from u where … returning t.a, u.b
//!
//! while it runs, the statement gathers       new row of t, and of u what the list names (here b)
//! the list is planned as                     select t.a, u.b from t, u
//! and becomes, with its FROM replaced,       select t.a, u.b from (gathered rows)
//! ```
//!
//! The rows are gathered in memory: a client sees the first when the statement has done all it does, as in PostgreSQL.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, TableReference};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr as Logical, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, TableWithJoins};
use staffa_catalog::{SqlType, Table};

use crate::bind::bind;
use crate::checks;
use crate::context::PlanContext;
use crate::error::{Error, Result};
use crate::generic::Generic;
use crate::policy::Guard;
use crate::resolve::fold;
use crate::statement::QueryPlan;
use crate::statement::change::{body, template};
use crate::statement::origin::{self, ColumnOrigin};
use crate::statement::query::{self, Scope};
use crate::types::arrow_field;

/// The name the gathered rows are read under.
const GATHERED: &str = "\u{1}gathered";

/// What a statement gives back of the rows it touched.
#[derive(Clone, Debug)]
pub struct Returning {
    /// Over a relation of no rows that stands for the gathered ones.
    pub query: QueryPlan,
    /// The columns of the gathered rows: the table's, then those of other relations.
    gathered: SchemaRef,
}

/// A RETURNING list and what its names can mean.
pub(super) struct List<'a> {
    pub(super) items: &'a [SelectItem],
    pub(super) table: &'a Arc<Table>,
    /// What the statement calls the table.
    pub(super) alias: &'a Ident,
    /// The table as a relation of FROM, and the other relations of the statement.
    pub(super) from: Vec<TableWithJoins>,
    /// How the table may be written in front of its columns beside `alias`.
    pub(super) qualified: Option<&'a [String]>,
    /// What of the table the role is not shown.
    pub(super) guard: Option<&'a Guard>,
}

/// A planned list, before the statement's own plan is made.
pub(super) struct Planned {
    query: QueryPlan,
    /// Columns of other relations that the list names.
    others: Vec<Column>,
}

impl Planned {
    /// The columns the statement must gather beside the table's own.
    pub(super) fn others(&self) -> Vec<Expr> {
        let quoted = |name: &str| Ident::with_quote('"', name);
        let written = |column: &Column| match &column.relation {
            Some(relation) => {
                let names = [
                    relation.catalog(),
                    relation.schema(),
                    Some(relation.table()),
                    Some(&column.name),
                ];
                Expr::CompoundIdentifier(names.into_iter().flatten().map(quoted).collect())
            }
            None => Expr::Identifier(quoted(&column.name)),
        };
        self.others.iter().map(written).collect()
    }
}

/// Plans the list over the statement's relations, to learn its types and what it names.
pub(super) async fn plan(scope: &Scope<'_>, list: List<'_>, declared: &[Option<SqlType>]) -> Result<Planned> {
    let context = scope.context;
    checks::row_by_row(list.items, "RETURNING", scope.text)?;
    let mut select = template()?;
    let parts = body(&mut select)?;
    parts.projection = list.items.to_vec();
    parts.from = list.from;
    if let Some(qualified) = list.qualified {
        super::change::unqualify(&mut select, qualified, list.alias);
    }
    scope.put_with(&mut select);
    let scope = Scope {
        target: Some(provider_as_source(Arc::new(EmptyTable::new(stored_schema(
            context, list.table,
        ))))),
        ..scope.copied()
    };
    let mut query = query::plan(&scope, &select, declared).await?;
    let LogicalPlan::Projection(projection) = &query.logical else {
        return Err(Error::unsupported("this kind of RETURNING list is not supported"));
    };
    let alias = fold(list.alias);
    let is_own = |column: &Column| {
        let relation = column.relation.as_ref();
        relation.is_some_and(|relation| relation.table() == alias && relation.schema().is_none())
    };
    let mut others = Vec::new();
    for column in columns_of(projection)? {
        if !is_own(&column) && !others.contains(&column) {
            others.push(column);
        }
    }
    let columns = &list.table.schema().columns;
    let relation = origin::number(context, list.table).await;
    let numbers = list.table.column_numbers();
    for (shown, expression) in query.columns.iter_mut().zip(&projection.expr) {
        if let Some(relation) = relation
            && let Logical::Column(column) = bare(expression)
            && is_own(column)
            && let Some(known) = columns.iter().find(|known| known.name == column.name)
            && let Some(number) = numbers.get(&known.field_id)
        {
            shown.origin = Some(ColumnOrigin {
                relation,
                column: *number,
            });
        }
    }
    Ok(Planned { query, others })
}

fn bare(expression: &Logical) -> &Logical {
    match expression {
        Logical::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// Every column of the projection's input that it or a subquery in it names.
fn columns_of(projection: &Projection) -> Result<Vec<Column>> {
    let input = projection.input.schema();
    let mut found = Vec::new();
    for expression in &projection.expr {
        expression.apply(|expression| {
            match expression {
                Logical::Column(column) => found.push(column.clone()),
                Logical::ScalarSubquery(subquery)
                | Logical::Exists(datafusion::logical_expr::expr::Exists { subquery, .. })
                | Logical::InSubquery(datafusion::logical_expr::expr::InSubquery { subquery, .. }) => {
                    for outer in &subquery.outer_ref_columns {
                        outer.apply(|inner| {
                            if let Logical::OuterReferenceColumn(_, column) = inner {
                                found.push(column.clone());
                            }
                            Ok(TreeNodeRecursion::Continue)
                        })?;
                    }
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    found.retain(|column| input.has_column(column));
    Ok(found)
}

/// The finished list of a statement whose source is planned; its parameters and those of the source become the same.
pub(super) async fn finish(scope: &Scope<'_>, list: List<'_>, source: &mut QueryPlan) -> Result<Returning> {
    let declared: Vec<_> = source.parameters.iter().cloned().map(Some).collect();
    let (table, alias, guard) = (list.table, list.alias, list.guard);
    let returning = over_gathered(scope.context, table, alias, guard, plan(scope, list, &declared).await?)?;
    source.parameters.clone_from(&returning.query.parameters);
    Ok(returning)
}

/// The list over gathered rows instead of the statement's relations.
fn over_gathered(
    context: &PlanContext,
    table: &Table,
    alias: &Ident,
    guard: Option<&Guard>,
    planned: Planned,
) -> Result<Returning> {
    let Planned { query, others } = planned;
    let LogicalPlan::Projection(projection) = &query.logical else {
        return Err(Error::internal("a RETURNING list without a projection"));
    };
    let own = stored_schema(context, table);
    let mut fields: Vec<Arc<Field>> = own.fields().iter().cloned().collect();
    let mut names: Vec<Column> = fields
        .iter()
        .map(|field| Column::new(Some(TableReference::bare(fold(alias))), field.name()))
        .collect();
    for (number, column) in others.into_iter().enumerate() {
        let field = projection.input.schema().field_from_column(&column)?;
        let field = field.as_ref().clone().with_name(other_name(number)).with_nullable(true);
        fields.push(Arc::new(field));
        names.push(column);
    }
    let gathered: SchemaRef = Arc::new(Schema::new(fields));
    let source = provider_as_source(Arc::new(EmptyTable::new(Arc::clone(&gathered))));
    let rows = LogicalPlanBuilder::scan(GATHERED, source, None)?;
    let rows = rows.build()?;
    let given = match guard {
        Some(guard) => guard.shown_columns(context, table, &rows)?,
        None => rows.schema().columns().into_iter().map(Logical::Column).collect(),
    };
    let renamed = given
        .into_iter()
        .zip(names)
        .map(|(from, to)| from.alias_qualified(to.relation, to.name));
    let rows = LogicalPlanBuilder::from(rows).project(renamed)?.build()?;
    let logical = Projection::try_new(projection.expr.clone(), Arc::new(rows))?;
    let query = QueryPlan {
        logical: LogicalPlan::Projection(logical),
        generic: Generic::default(),
        ..query
    };
    Ok(Returning { query, gathered })
}

/// The name of a gathered column of another relation.
pub(super) fn other_name(number: usize) -> String {
    format!("\u{1}other{number}")
}

/// The table's columns as its rows have them when they are written.
fn stored_schema(context: &PlanContext, table: &Table) -> SchemaRef {
    let columns = table.schema().columns.iter();
    let fields: Vec<Field> = columns
        .map(|column| arrow_field(&column.name, &column.ty, true, &context.time_zone))
        .collect();
    Arc::new(Schema::new(fields))
}

impl Returning {
    /// The list's plan over the rows that were gathered. `shown`: as a client sees its values.
    pub fn over(&self, values: &[ScalarValue], rows: Vec<RecordBatch>, shown: bool) -> Result<LogicalPlan> {
        let rows = rows
            .into_iter()
            .map(|batch| self.fitted(&batch))
            .collect::<Result<_>>()?;
        let table = MemTable::try_new(Arc::clone(&self.gathered), vec![rows])?;
        let source = provider_as_source(Arc::new(table));
        let plan = match shown {
            true => bind(&query::shown(self.query.clone())?, values)?,
            false => bind(&self.query, values)?,
        };
        let replaced = plan.transform_up(|node| match node {
            LogicalPlan::TableScan(mut scan) if scan.table_name.table() == GATHERED => {
                scan.source = Arc::clone(&source);
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(replaced.data()?)
    }

    /// Rows under the names of this plan. Types differ by field ids inside structs at most.
    fn fitted(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.gathered.fields())
            .map(|(column, field)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => cast(column, field.data_type()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.gathered), columns)?)
    }
}
