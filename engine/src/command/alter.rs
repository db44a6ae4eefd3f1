//! ALTER TABLE, VIEW and SCHEMA.
//!
//! Every action sees the table as the action before left it. When one fails, the whole statement is undone with its
//! transaction or savepoint, as after any error.

use std::sync::Arc;

use staffa_catalog::{ColumnDefault, TableChange, TableName, quote_identifier};
use staffa_planner::{AlterAction, Error, ErrorKind, Plan, Result, RowCheck};

use crate::cancel::StatementGuard;
use crate::command::sequence;
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
        let table = snapshot.table(name).await?.ok_or_else(|| {
            let message = format!("relation \"{}\" does not exist", name.name);
            Error::new(ErrorKind::UndefinedTable, message)
        })?;
        let context = session.context(Arc::clone(&snapshot));
        let step = action.step(&context, &table)?;
        if let Some(notice) = step.notice {
            session.notices.push(Notice::remark("00000", notice));
        }
        let checked = !step.checks.is_empty();
        for check in step.checks {
            check_rows(session, name, check, guard).await?;
        }
        session
            .transaction()
            .await?
            .alter_table(name, &step.changes, checked)
            .await?;
        if step.changes.iter().any(adds_sequence) {
            sequence::of_columns(session, name).await?;
        }
    }
    Ok(())
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
