//! TRUNCATE: all files of the tables go, and none is read. Rows that another transaction adds meanwhile stay; a serializable
//! one fails then.

use staffa_catalog::{Column, ColumnDefault, Identity, TableChange, TableName, Uuid};
use staffa_planner::{Error, ErrorKind, Result};

use crate::outcome::Notice;
use crate::session::Session;

pub(crate) async fn truncate(
    session: &mut Session,
    tables: &[TableName],
    restart: bool,
    notices: &[String],
) -> Result<()> {
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
        session.note_all_read(&table);
        let transaction = session.transaction().await?;
        transaction.remove_files(name, &files).await?;
        if restart {
            // With counters of their own they begin anew, and not when the transaction is rolled back.
            for (sequence, before) in snapshot.sequences_of(&name.database, &name.schema, table.uuid())? {
                let sequence = TableName::new(&name.database, &name.schema, sequence);
                let restarted = before.going_on_from(before.start, false);
                transaction.alter_sequence(&sequence, &restarted, None).await?;
            }
            let mut changes: Vec<TableChange> = Vec::new();
            for column in &table.schema().columns {
                // The table was made before sequences of columns had names.
                if let Some(ColumnDefault::Identity(identity)) = &column.default
                    && snapshot.sequence_with_id(identity.id)?.is_none()
                {
                    changes.push(restarted(column, identity));
                }
            }
            transaction.alter_table(name, &changes, false).await?;
        }
    }
    Ok(())
}

fn restarted(column: &Column, identity: &Identity) -> TableChange {
    TableChange::SetDefault {
        field_id: column.field_id,
        default: Some(ColumnDefault::Identity(Identity {
            id: Uuid::new_v4(),
            ..identity.clone()
        })),
    }
}
