//! CREATE, ALTER and DROP SEQUENCE, and the sequences that come with columns.

use staffa_catalog::{
    Column, ColumnDefault, ErrorKind as CatalogErrorKind, Identity, Sequence, SequenceType, Table, TableChange,
    TableName, Uuid,
};
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
    // What others take from here on is the commit's to find out.
    let state = session.warehouse.sequences().settled_state(&sequence).await?;
    let altered = change.apply(&sequence, state)?;
    let went_on_from = altered.goes_on.then_some(state);
    let transaction = session.transaction().await?;
    Ok(transaction
        .alter_sequence(name, &altered.sequence, went_on_from)
        .await?)
}

/// `defaults` are those that go with them, by table and field id.
pub(crate) async fn drop(
    session: &mut Session,
    names: &[TableName],
    missing: &[String],
    defaults: &[(TableName, i32)],
) -> Result<()> {
    tell_missing(session, missing);
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

/// Makes the sequences of columns that have none under a name yet.
pub(crate) async fn of_columns(session: &mut Session, table: &TableName) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let Some(found) = snapshot.table(table).await? else {
        return Ok(());
    };
    for (column, identity, ty) in counting_columns(&found) {
        if snapshot.sequence_with_id(identity.id)?.is_none() {
            let sequence = Sequence::of_column(identity, ty, found.uuid(), column.field_id);
            create_for(session, table, &column.name, &sequence).await?;
        }
    }
    Ok(())
}

/// Gives the columns of a clone sequences of their own, which go on from where those of the table it was made from are.
pub(crate) async fn of_clone(session: &mut Session, table: &TableName) -> Result<()> {
    let snapshot = session.transactions_snapshot().await?;
    let Some(found) = snapshot.table(table).await? else {
        return Ok(());
    };
    for (column, identity, ty) in counting_columns(&found) {
        let as_column = Sequence::of_column(identity, ty, found.uuid(), column.field_id);
        let source = match snapshot.sequence_with_id(identity.id)? {
            Some((_, sequence)) => sequence,
            // The table was made before sequences of columns had names.
            None => as_column.clone(),
        };
        let state = session.warehouse.sequences().state(&source).await?;
        let (last, is_called) = source.last_value(state);
        let own = Identity {
            id: Uuid::new_v4(),
            ..identity.clone()
        };
        let sequence = Sequence {
            id: own.id,
            owner: as_column.owner,
            ..source.going_on_from(last, is_called)
        };
        let change = TableChange::SetDefault {
            field_id: column.field_id,
            default: Some(ColumnDefault::Identity(own)),
        };
        session
            .transaction()
            .await?
            .alter_table(table, &[change], false)
            .await?;
        create_for(session, table, &column.name, &sequence).await?;
    }
    Ok(())
}

/// The columns that take their numbers from a sequence of their own.
fn counting_columns(table: &Table) -> Vec<(&Column, &Identity, SequenceType)> {
    let columns = table.schema().columns.iter();
    columns
        .filter_map(|column| match &column.default {
            Some(ColumnDefault::Identity(identity)) => Some((column, identity, SequenceType::of(&column.ty)?)),
            _ => None,
        })
        .collect()
}

/// Makes the sequence of a column, under the first name that is free.
async fn create_for(session: &mut Session, table: &TableName, column: &str, sequence: &Sequence) -> Result<()> {
    let transaction = session.transaction().await?;
    let snapshot = transaction.snapshot();
    let named = |name: &str| TableName::new(&table.database, &table.schema, name);
    let taken = |name: &str| snapshot.relation(&named(name)).is_some();
    let name = named(&sequence_name(&table.name, column, taken));
    Ok(transaction.create_sequence(&name, sequence)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::session::SessionOptions;
    use crate::warehouse::Warehouse;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_like_one_without_a_named_sequence_does_not_take_its_numbers() {
        let folder = tempfile::TempDir::new().unwrap();
        let warehouse = Warehouse::open(Config::new(folder.path())).await.unwrap();
        let mut session = warehouse.session(SessionOptions::default()).await.unwrap();
        session.execute("create table a (id serial)", &[]).await.unwrap();
        // As tables were before their sequences had names.
        let catalog = warehouse.catalog();
        let mut transaction = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
        let named = |name: &str| TableName::new("staffa", "public", name);
        transaction.drop_sequence(&named("a_id_seq")).await.unwrap();
        transaction.commit().await.unwrap();
        let like = "create table b (like a including defaults)";
        session.execute(like, &[]).await.unwrap();

        let snapshot = catalog.snapshot().await.unwrap();
        let mut ids = Vec::new();
        for name in ["a", "b"] {
            let table = snapshot.table(&named(name)).await.unwrap().unwrap();
            let columns = counting_columns(&table);
            let (_, identity, _) = columns.first().unwrap();
            ids.push((
                identity.id,
                snapshot
                    .sequence_with_id(identity.id)
                    .unwrap()
                    .map(|(name, _)| name.name),
            ));
        }
        assert_ne!(ids[0].0, ids[1].0);
        assert_eq!(ids[0].1, None);
        assert_eq!(ids[1].1.as_deref(), Some("b_id_seq"));
    }
}
