//! Temporary tables: real tables in a schema of the session's own, which no list shows and which goes with the session.

use staffa_catalog::{RelationKind, TableName, is_temporary_schema};
use staffa_planner::{ON_COMMIT, ON_COMMIT_DELETE, ON_COMMIT_DROP, Result};

use crate::session::Session;
use crate::warehouse::Warehouse;

/// What a session has of temporary tables.
#[derive(Debug)]
pub(crate) struct Temporary {
    /// The schema they are in.
    schema: String,
    /// Whether its schema may exist.
    any: bool,
    /// Whether a table may ask for something to be done at COMMIT.
    on_commit: bool,
}

impl Temporary {
    pub(crate) fn of_session(warehouse: &Warehouse, backend_pid: i32) -> Self {
        let number = u64::try_from(backend_pid).unwrap_or_default();
        Self {
            schema: warehouse.catalog().temporary_schema(number),
            any: false,
            on_commit: false,
        }
    }
}

impl Session {
    /// Whether it may have temporary tables.
    pub(crate) fn has_temporary(&self) -> bool {
        self.temporary.any
    }

    /// The schema of the session's temporary tables.
    pub(crate) fn temporary_schema(&self) -> &str {
        &self.temporary.schema
    }

    /// Makes the schema for a relation that is to be temporary, if it is.
    pub(crate) async fn prepare_temporary(&mut self, name: &TableName) -> Result<()> {
        if !is_temporary_schema(&name.schema) {
            return Ok(());
        }
        self.temporary.any = true;
        let transaction = self.transaction().await?;
        if !transaction.snapshot().has_schema(&name.database, &name.schema) {
            transaction.create_schema(&name.database, &name.schema).await?;
        }
        Ok(())
    }

    /// Notes what a new table wants to be done at COMMIT.
    pub(crate) fn note_on_commit(&mut self, properties: &std::collections::BTreeMap<String, String>) {
        self.temporary.on_commit |= properties.contains_key(ON_COMMIT);
    }

    /// Does what temporary tables were declared to do at COMMIT.
    pub(crate) async fn run_on_commit(&mut self) -> staffa_catalog::Result<()> {
        let schema = self.temporary_schema().to_owned();
        let database = self.database.clone();
        let Some(transaction) = self.transactions.open_transaction() else {
            return Ok(());
        };
        if !self.temporary.on_commit || transaction.is_read_only() {
            return Ok(());
        }
        let snapshot = transaction.snapshot();
        for (name, kind) in snapshot.relations(&database, &schema) {
            if kind != RelationKind::Table {
                continue;
            }
            let name = TableName::new(&database, &schema, name);
            let Some(table) = snapshot.table(&name).await? else {
                continue;
            };
            match table.properties().get(ON_COMMIT).map(String::as_str) {
                Some(ON_COMMIT_DELETE) => {
                    let files = table.files().await?;
                    if !files.is_empty() {
                        transaction.begin_write(&name).await?;
                        transaction.remove_files(&name, &files).await?;
                    }
                }
                Some(ON_COMMIT_DROP) => transaction.drop_table(&name).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `DISCARD TEMP`
    pub(crate) async fn discard_temporary(&mut self) -> Result<()> {
        let schema = self.temporary_schema().to_owned();
        let database = self.database.clone();
        let transaction = self.transaction().await?;
        if transaction.snapshot().has_schema(&database, &schema) {
            transaction.drop_schema(&database, &schema, true).await?;
        }
        Ok(())
    }
}

impl Drop for Session {
    /// The tables go in the background; if the process ends first, the next one drops them.
    fn drop(&mut self) {
        if !self.temporary.any {
            return;
        }
        let (catalog, schema) = (self.warehouse.catalog().clone(), self.temporary_schema().to_owned());
        let database = std::mem::take(&mut self.database);
        let open = self.transactions.take_open();
        self.warehouse.sequences().runtime().spawn(async move {
            // It may be what made the schema.
            drop(open);
            if let Err(error) = catalog.drop_temporary_schema(&database, &schema).await {
                tracing::warn!(%error, schema, "cannot drop temporary tables; the next start will");
            }
        });
    }
}
