//! TRUNCATE: all files of the tables go, and none is read. Rows that another transaction adds meanwhile stay.

use staffa_catalog::TableName;
use staffa_planner::{Error, ErrorKind, Result};

use crate::outcome::Notice;
use crate::session::Session;

pub(crate) async fn truncate(session: &mut Session, tables: &[TableName], notices: &[String]) -> Result<()> {
    for notice in notices {
        session.notices.push(Notice::remark("00000", notice.clone()));
    }
    for name in tables {
        let snapshot = session.transactions_snapshot().await?;
        let table = snapshot.table(name).await?.ok_or_else(|| {
            let message = format!("relation \"{}\" does not exist", name.name);
            Error::new(ErrorKind::UndefinedTable, message)
        })?;
        let files = table.files().await?;
        session.transaction().await?.remove_files(name, &files).await?;
    }
    Ok(())
}
