//! ALTER TABLE, and CREATE, ALTER and DROP INDEX.
//!
//! Every action sees the table as the action before left it. When one fails, the whole statement is undone with its
//! transaction or savepoint, as after any error.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use staffa_catalog::{
    CatalogSnapshot, ColumnDefault, Table, TableChange, TableName, View, ViewDefinition, quote_identifier,
};
use staffa_planner::{
    AlterAction, ColumnStep, Dropped, Error, ErrorKind, IndexChange, Plan, PlanContext, Renamed, Result, RowCheck,
    column_policies, column_readers, described, following, rewritten_rows,
};

use crate::cancel::StatementGuard;
use crate::command::drop::{drop_dependents, tell_missing};
use crate::command::{insert, sequence};
use crate::outcome::Notice;
use crate::session::Session;

pub(crate) async fn alter_table(
    session: &mut Session,
    name: &TableName,
    actions: &[AlterAction],
    guard: &StatementGuard,
) -> Result<()> {
    for action in actions {
        let snapshot = session.transactions_snapshot().await?;
        let table = existing_table(&snapshot, name).await?;
        let context = session.context(Arc::clone(&snapshot));
        let step = action.step(&context, &table)?;
        if let Some((code, notice)) = step.notice {
            session.notices.push(Notice::remark(code, notice));
        }
        let following = match &step.column {
            Some(ColumnStep::Dropped {
                number,
                name: column,
                cascade,
            }) => {
                let dropped = Dropped::Column {
                    table: name.clone(),
                    number: *number,
                    name: column.clone(),
                };
                drop_policies(session, &context, &table, &dropped, column, *cascade).await?;
                drop_dependents(session, &[dropped], *cascade).await?;
                Vec::new()
            }
            Some(ColumnStep::Renamed { from, to }) => {
                let renamed = Renamed::Column {
                    relation: table.name(),
                    columns: table
                        .schema()
                        .columns
                        .iter()
                        .map(|column| column.name.as_str())
                        .collect(),
                    from: from.clone(),
                    to: to.clone(),
                };
                following(&context, &renamed).await?
            }
            Some(ColumnStep::Retyped { .. }) | None => Vec::new(),
        };
        let readers = (context.clone(), Arc::clone(&table));
        let rows = match step.rewrite {
            Some(rewrite) => {
                let work = async move { rewrite.rows(&context, &table).await };
                Some(guard.run(session.warehouse.planning().run(work)).await?)
            }
            None => None,
        };
        if let Some(ColumnStep::Retyped { number, name }) = &step.column {
            check_unread(&readers.0, &readers.1, *number, name).await?;
            check_unguarded(&readers.0, &readers.1, name)?;
        }
        let checked = !step.checks.is_empty() || rows.is_some();
        for check in step.checks {
            check_rows(session, name, check, guard).await?;
        }
        session
            .transaction()
            .await?
            .alter_table(name, &step.changes, checked)
            .await?;
        put_views(session, following).await?;
        if step.changes.iter().any(adds_sequence) {
            sequence::of_columns(session, name).await?;
        }
        if let Some(rows) = rows {
            rewrite(session, name, rows, guard).await?;
        }
    }
    Ok(())
}

/// Row policies that read a column go with it when the statement says CASCADE; masks are never dropped along.
async fn drop_policies(
    session: &mut Session,
    context: &PlanContext,
    table: &Table,
    dropped: &Dropped,
    column: &str,
    cascade: bool,
) -> Result<()> {
    let found = column_policies(&context.snapshot, table, column);
    let name = &table.name().name;
    let what = described(context, dropped);
    let refused = |detail: String, hint: &str| {
        let message = format!("cannot drop {what} because other objects depend on it");
        let error = Error::new(ErrorKind::DependentObjects, message);
        Err(error.with_detail(detail).with_hint(hint))
    };
    if let Some(mask) = found.masks.first() {
        let detail = format!("masking policy {mask} depends on {what}");
        return refused(detail, "Use DETACH MASKING POLICY first.");
    }
    if found.policies.is_empty() {
        return Ok(());
    }
    if !cascade {
        let line = |policy: &String| format!("policy {policy} on table {name} depends on {what}");
        let lines: Vec<String> = found.policies.iter().map(line).collect();
        return refused(
            lines.join("\n"),
            "Use DROP ... CASCADE to drop the dependent objects too.",
        );
    }
    let mut security = context
        .snapshot
        .access()
        .security(table.uuid())
        .cloned()
        .unwrap_or_default();
    for policy in &found.policies {
        security.policies.remove(policy);
        let notice = format!("drop cascades to policy {policy} on table {name}");
        session.notices.push(Notice::remark("00000", notice));
    }
    session.transaction().await?.set_security(table.uuid(), security);
    Ok(())
}

/// Row policies and masks keep the types of what they read.
fn check_unguarded(context: &PlanContext, table: &Table, column: &str) -> Result<()> {
    let found = column_policies(&context.snapshot, table, column);
    let refused = |by: &str, what: String| {
        let error = Error::unsupported(format!("cannot alter type of a column used {by}"));
        Err(error.with_detail(format!("{what} depends on column \"{column}\"")))
    };
    if let Some(policy) = found.policies.first() {
        let what = format!("policy {policy} on table {}", table.name().name);
        return refused("in a policy definition", what);
    }
    match found.masks.first() {
        Some(mask) => refused("by a masking policy", format!("masking policy {mask}")),
        None => Ok(()),
    }
}

/// Views keep the types of what they read.
async fn check_unread(context: &PlanContext, table: &Table, number: i16, column: &str) -> Result<()> {
    let readers = column_readers(context, table, number).await?;
    let Some(reader) = readers.first() else {
        return Ok(());
    };
    let error = Error::unsupported("cannot alter type of a column used by a view or rule");
    Err(error.with_detail(format!("{reader} depends on column \"{column}\"")))
}

/// Renames a relation. `defaults` are texts that name it, as they are to be; views that read it go on reading it.
pub(crate) async fn rename_relation(
    session: &mut Session,
    from: &TableName,
    to: &TableName,
    defaults: &[(TableName, i32, String)],
) -> Result<()> {
    follow(session, BTreeMap::from([(from.clone(), to.clone())])).await?;
    let transaction = session.transaction().await?;
    transaction.rename(from, to).await?;
    for (table, field_id, text) in defaults {
        let change = TableChange::SetDefault {
            field_id: *field_id,
            default: Some(ColumnDefault::Expression(text.clone())),
        };
        transaction.alter_table(table, &[change], false).await?;
    }
    Ok(())
}

/// Renames a column of a view; views that read it go on reading it.
pub(crate) async fn rename_view_column(session: &mut Session, view: &View, from: &str, to: &str) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let context = session.context(snapshot);
    let renamed = Renamed::Column {
        relation: &view.name,
        columns: view.columns.iter().map(|(column, _)| column.as_str()).collect(),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let readers = following(&context, &renamed).await?;
    let new_name = |name: &String| match name == from {
        true => to.to_owned(),
        false => name.clone(),
    };
    let columns = view.columns.iter().map(|(name, ty)| (new_name(name), ty.clone()));
    let comments = view
        .column_comments
        .iter()
        .map(|(name, text)| (new_name(name), text.clone()));
    let definition = ViewDefinition {
        name: view.name.clone(),
        sql: view.sql.clone(),
        columns: columns.collect(),
        search_path: view.search_path.clone(),
        comment: view.comment.clone(),
        reads: view.reads.clone(),
        column_comments: comments.collect(),
    };
    session.transaction().await?.create_view(definition, true).await?;
    put_views(session, readers).await
}

pub(crate) async fn rename_schema(session: &mut Session, database: &str, from: &str, to: &str) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let inside = snapshot.relations(database, from).into_iter();
    let moved = inside.map(|(name, _)| {
        let within = |schema: &str| TableName::new(database, schema, &name);
        (within(from), within(to))
    });
    follow(session, moved.collect()).await?;
    Ok(session.transaction().await?.rename_schema(database, from, to).await?)
}

/// Lets views read relations under the names that they are about to get.
async fn follow(session: &mut Session, renamed: BTreeMap<TableName, TableName>) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let context = session.context(snapshot);
    let views = following(&context, &Renamed::Relations(renamed)).await?;
    put_views(session, views).await
}

async fn put_views(session: &mut Session, views: Vec<ViewDefinition>) -> Result<()> {
    for view in views {
        session.transaction().await?.create_view(view, true).await?;
    }
    Ok(())
}

pub(crate) async fn alter_indexes(
    session: &mut Session,
    changes: &[(TableName, IndexChange)],
    missing: &[String],
) -> Result<()> {
    tell_missing(session, missing);
    for (name, change) in changes {
        let snapshot = session.transactions_snapshot().await?;
        let table = existing_table(&snapshot, name).await?;
        let step = change.step(&session.context(snapshot), &table)?;
        if let Some(existing) = step.existing {
            session.notices.push(Notice::remark("42P07", existing));
        }
        if let Some(indexes) = step.indexes {
            let change = TableChange::SetIndexes(indexes);
            session.transaction().await?.alter_table(name, &[change], false).await?;
        }
        if let Some(warning) = step.warning {
            session.notices.push(Notice::warning("01000", warning));
        }
    }
    Ok(())
}

/// Writes the rows anew, as the changed table has them.
async fn rewrite(session: &mut Session, name: &TableName, rows: LogicalPlan, guard: &StatementGuard) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let table = existing_table(&snapshot, name).await?;
    let context = session.context(snapshot);
    let rows = rewritten_rows(&context, &table, rows)?;
    insert::replace(session, name, rows, guard).await.map_err(of_old_row)?;
    Ok(())
}

/// What is wrong with a row, in PostgreSQL's words for one that was there before.
fn of_old_row(error: Error) -> Error {
    let message = match error.kind() {
        ErrorKind::NotNullViolation => {
            let column = error.message().strip_prefix("null value in column ");
            let column = column.and_then(|rest| rest.strip_suffix(" violates not-null constraint"));
            column.map(|column| format!("column {column} contains null values"))
        }
        ErrorKind::CheckViolation => {
            let names = error.message().strip_prefix("new row for relation ");
            let names = names.and_then(|rest| rest.split_once(" violates check constraint "));
            names.map(|(relation, check)| {
                format!("check constraint {check} of relation {relation} is violated by some row")
            })
        }
        _ => None,
    };
    match message {
        Some(message) => Error::new(error.kind(), message),
        None => error,
    }
}

async fn existing_table(snapshot: &CatalogSnapshot, name: &TableName) -> Result<Arc<Table>> {
    snapshot.table(name).await?.ok_or_else(|| {
        let message = format!("relation \"{}\" does not exist", name.name);
        Error::new(ErrorKind::UndefinedTable, message)
    })
}

fn adds_sequence(change: &TableChange) -> bool {
    matches!(change, TableChange::AddColumn { column, .. } if matches!(column.default, Some(ColumnDefault::Identity(_))))
}

/// Looks for a row that must not be there.
async fn check_rows(session: &mut Session, name: &TableName, check: RowCheck, guard: &StatementGuard) -> Result<()> {
    let relation = [&name.database, &name.schema, &name.name]
        .map(|part| quote_identifier(part))
        .join(".");
    let condition = check.condition.map(|condition| format!(" where {condition}"));
    let sql = format!("select 1 from {relation}{} limit 1", condition.unwrap_or_default());
    let snapshot = session.transactions_snapshot().await?;
    let context = session.context(snapshot);
    let work = async move {
        let statement = staffa_planner::parse(&sql)?.pop();
        let statement = statement.ok_or_else(|| Error::internal("a check of rows is empty"))?;
        match staffa_planner::plan(&context, &statement, &[]).await? {
            Plan::Query(query) => Ok(query),
            _ => Err(Error::internal("a check of rows is not a query")),
        }
    };
    let query = guard.run(session.warehouse.planning().run(work)).await?;
    let mut rows = session.start_query(&query, &[], guard.clone()).await?;
    while let Some(batch) = rows.next().await {
        if batch?.num_rows() > 0 {
            return Err(check.error);
        }
    }
    Ok(())
}
