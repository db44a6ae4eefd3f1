//! CREATE, ALTER and DROP SEQUENCE, and the sequences that come with columns.

use staffa_catalog::{ColumnDefault, ErrorKind as CatalogErrorKind, Sequence, SequenceType, TableChange, TableName};
use staffa_planner::{Error, ErrorKind, Result, SequenceChange, sequence_name};

use crate::command::create::skip_existing;
use crate::command::drop::tell_missing;
use crate::session::Session;

pub(crate) async fn create(
    session: &mut Session,
    name: &TableName,
    sequence: &Sequence,
    if_not_exists: bool,
) -> Result<()> {
    session.prepare_temporary(name).await?;
    let result = session.transaction().await?.create_sequence(name, sequence);
    let kind = CatalogErrorKind::DuplicateTable;
    skip_existing(session, result, kind, if_not_exists, "relation", &name.name)?;
    Ok(())
}

pub(crate) async fn alter(session: &mut Session, name: &TableName, change: &SequenceChange) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let sequence = snapshot.sequence(name)?.ok_or_else(|| {
        let message = format!("relation \"{}\" does not exist", name.name);
        Error::new(ErrorKind::UndefinedTable, message)
    })?;
    let state = session.warehouse.sequences().state(&sequence).await?;
    let altered = change.apply(&sequence, state)?;
    Ok(session.transaction().await?.alter_sequence(name, &altered).await?)
}

/// `defaults` are those that go with them, by table and field id.
pub(crate) async fn drop(
    session: &mut Session,
    names: &[TableName],
    missing: &[String],
    defaults: &[(TableName, i32)],
) -> Result<()> {
    tell_missing(session, "sequence", missing);
    let transaction = session.transaction().await?;
    for (table, field_id) in defaults {
        let change = TableChange::SetDefault {
            field_id: *field_id,
            default: None,
        };
        transaction.alter_table(table, &[change], false).await?;
    }
    for name in names {
        transaction.drop_sequence(name).await?;
    }
    Ok(())
}

/// Renames a relation. `defaults` are texts that name it, as they are to be.
pub(crate) async fn rename(
    session: &mut Session,
    from: &TableName,
    to: &TableName,
    defaults: &[(TableName, i32, String)],
) -> Result<()> {
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

/// Makes the sequences of columns that have none under a name yet.
pub(crate) async fn of_columns(session: &mut Session, table: &TableName) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let Some(found) = snapshot.table(table).await? else {
        return Ok(());
    };
    for column in &found.schema().columns {
        let (Some(ColumnDefault::Identity(identity)), Some(ty)) = (&column.default, SequenceType::of(&column.ty))
        else {
            continue;
        };
        let transaction = session.transaction().await?;
        let snapshot = transaction.snapshot();
        if snapshot.sequence_with_id(identity.id)?.is_some() {
            continue;
        }
        let named = |name: &str| TableName::new(&table.database, &table.schema, name);
        let taken = |name: &str| snapshot.relation(&named(name)).is_some();
        let name = named(&sequence_name(&table.name, &column.name, taken));
        let sequence = Sequence::of_column(identity, ty, found.uuid(), column.field_id);
        transaction.create_sequence(&name, &sequence)?;
    }
    Ok(())
}
