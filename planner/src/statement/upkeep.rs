//! `VACUUM`, `ANALYZE`, `OPTIMIZE`, resolved; and the rows of a compaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, SetExpr};
use staffa_catalog::{LiveFile, RelationKind, Table, TableName};
use staffa_storage::SummaryBuilder;

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{AnalyzedTable, Ast, UpkeepAst, parse_one};
use crate::resolve;
use crate::statement::Plan;
use crate::statement::query::{self, Scope};
use crate::table_provider::{StaffaTable, files_that_may_match};
use crate::types::table_arrow_schema;

pub(crate) async fn plan(scope: &Scope<'_>, asked: &UpkeepAst) -> Result<Plan> {
    match asked {
        UpkeepAst::Vacuum { tables, full, analyze } => {
            let (mut own, mut skipped) = (Vec::new(), Vec::new());
            for name in names(scope, tables, *analyze).await? {
                match scope.context.check_owner(&name, false).await {
                    Ok(()) => own.push(name),
                    Err(error) if error.kind() == ErrorKind::InsufficientPrivilege => skipped.push(name),
                    Err(error) => return Err(error),
                }
            }
            Ok(Plan::Vacuum {
                tables: own,
                skipped,
                full: *full,
                analyze: *analyze,
            })
        }
        UpkeepAst::Analyze { tables, verbose } => Ok(Plan::Analyze {
            tables: names(scope, tables, true).await?,
            verbose: *verbose,
        }),
        UpkeepAst::Optimize { table, condition } => {
            let found = resolve::table(scope.context, table).await?;
            scope.context.check_owner(found.name(), false).await?;
            let only = match condition {
                None => None,
                Some(condition) => Some(matching(scope, &found, table, condition).await?),
            };
            Ok(Plan::Optimize {
                table: found.name().clone(),
                only,
            })
        }
    }
}

/// ANALYZE: takes the samples that estimates are made from. Gives the tables that were left out because they are others'.
///
/// Errors: of reading the tables.
pub async fn analyze(context: &PlanContext, tables: &[TableName]) -> Result<Vec<TableName>> {
    let mut skipped = Vec::new();
    for name in tables {
        let Some(table) = context.snapshot.table(name).await? else {
            continue;
        };
        if context.check_owner(name, false).await.is_err() {
            skipped.push(name.clone());
            continue;
        }
        StaffaTable::open(context, table).await?.analyze().await?;
    }
    Ok(skipped)
}

/// The tables, all of the database when none is named. With `columns` those that are named must be there.
async fn names(scope: &Scope<'_>, tables: &[AnalyzedTable], columns: bool) -> Result<Vec<TableName>> {
    let context = scope.context;
    let mut found = Vec::new();
    if tables.is_empty() {
        for schema in context.snapshot.schemas(&context.database) {
            let relations = context.snapshot.relations(&context.database, &schema).into_iter();
            let tables = relations.filter(|(_, kind)| *kind == RelationKind::Table);
            found.extend(tables.map(|(name, _)| TableName::new(&context.database, &schema, name)));
        }
        return Ok(found);
    }
    for asked in tables {
        let table = resolve::table(context, &asked.name).await?;
        if !asked.columns.is_empty() && !columns {
            let message = "ANALYZE option must be specified when a column list is provided";
            return Err(Error::unsupported(message));
        }
        for column in &asked.columns {
            let column = resolve::fold(column);
            if table.schema().column(&column).is_none() {
                let relation = &table.name().name;
                let message = format!("column \"{column}\" of relation \"{relation}\" does not exist");
                return Err(Error::new(ErrorKind::UndefinedColumn, message));
            }
        }
        found.push(table.name().clone());
    }
    Ok(found)
}

/// The files that may hold a row for which the condition is true, by what is known of them without reading them.
async fn matching(scope: &Scope<'_>, table: &Table, name: &ObjectName, condition: &Expr) -> Result<BTreeSet<String>> {
    let Ast::Query(mut select) = parse_one("select 1 from t", 0)?.ast else {
        return Err(Error::internal("a query that is none"));
    };
    let SetExpr::Select(body) = select.body.as_mut() else {
        return Err(Error::internal("a query without a select list"));
    };
    body.selection = Some(condition.clone());
    if let Some(datafusion::sql::sqlparser::ast::TableFactor::Table { name: read, .. }) =
        body.from.first_mut().map(|from| &mut from.relation)
    {
        *read = name.clone();
    }
    let planned = query::plan(scope, &select, &[]).await?;
    if !planned.parameters.is_empty() {
        return Err(Error::unsupported("parameters in OPTIMIZE are not supported"));
    }
    let logical = crate::function::with_session_facts(scope.context, planned.logical)?;
    let mut conditions: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    logical.apply(|node| {
        if let LogicalPlan::Filter(filter) = node {
            let schema: &DFSchema = filter.input.schema();
            let session = &scope.context.session;
            conditions.push(session.create_physical_expr(filter.predicate.clone(), schema)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let [condition] = conditions.as_slice() else {
        let message = "the condition of OPTIMIZE must be over the columns of the table";
        return Err(Error::unsupported(message));
    };
    let schema = table_arrow_schema(table.schema(), &scope.context.time_zone);
    let files = table.files().await?;
    let matching = files_that_may_match(table, &schema, &files, condition)?;
    Ok(matching.iter().map(|file| file.location.clone()).collect())
}

/// The operators that give the rows of some files of a table as they are stored, without those that are deleted, sorted
/// by the table's sort order. `tasks` of them run at once.
pub async fn compaction_plan(
    context: &PlanContext,
    table: &Arc<Table>,
    files: &[Arc<LiveFile>],
    tasks: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut context = context.clone();
    context.set_tasks(tasks.max(1));
    let provider = StaffaTable::of_files(&context, Arc::clone(table), files.to_vec());
    let rows = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(provider)), None)?.build()?;
    crate::write::sorted(table, crate::physical(&context, rows).await?)
}

/// The columns that statistics are about, by field id: those with values of plain types.
pub fn summarised_columns(table: &Table) -> impl Iterator<Item = i32> {
    let stored = table_arrow_schema(table.schema(), "UTC");
    let columns = table.schema().columns.iter().enumerate();
    columns
        .filter(move |(place, _)| SummaryBuilder::knows(stored.field(*place).data_type()))
        .map(|(_, column)| column.field_id)
}

/// What gives the rows of some files of a table for its statistics, and the columns that come.
pub struct SummaryPlan {
    pub operators: Arc<dyn ExecutionPlan>,
    /// With field ids.
    pub schema: SchemaRef,
}

/// The operators that give the rows of files of a table, with the columns that statistics are about. `tasks` of them run at once.
pub async fn summary_plan(
    context: &PlanContext,
    table: &Arc<Table>,
    files: &[Arc<LiveFile>],
    tasks: usize,
) -> Result<SummaryPlan> {
    let mut context = context.clone();
    context.set_tasks(tasks.max(1));
    let stored = table_arrow_schema(table.schema(), &context.time_zone);
    let known = |place: &usize| SummaryBuilder::knows(stored.field(*place).data_type());
    let places: Vec<usize> = (0..stored.fields().len()).filter(known).collect();
    let schema = Arc::new(stored.project(&places)?);
    let provider = StaffaTable::of_files(&context, Arc::clone(table), files.to_vec());
    let rows = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(provider)), Some(places))?.build()?;
    Ok(SummaryPlan {
        operators: crate::physical(&context, rows).await?,
        schema,
    })
}
