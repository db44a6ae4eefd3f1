//! REFRESH MATERIALIZED VIEW.

use staffa_catalog::{TableChange, TableName};
use staffa_planner::{QueryPlan, Result, bind};

use crate::cancel::StatementGuard;
use crate::command::{insert, truncate};
use crate::session::Session;

/// Puts the query's rows in the place of those that are there; without a query nothing, and nobody may read it then.
pub(crate) async fn refresh(
    session: &mut Session,
    name: &TableName,
    source: Option<&QueryPlan>,
    was_populated: bool,
    guard: &StatementGuard,
) -> Result<()> {
    match source {
        Some(source) => {
            let rows = bind(source, &[])?;
            insert::replace(session, name, rows, guard).await?;
        }
        None => truncate::truncate(session, std::slice::from_ref(name), false, &[]).await?,
    }
    let is_populated = source.is_some();
    if is_populated != was_populated {
        let change = TableChange::SetPopulated(is_populated);
        session.transaction().await?.alter_table(name, &[change], false).await?;
    }
    Ok(())
}
