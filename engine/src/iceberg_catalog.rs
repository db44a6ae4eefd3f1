//! The warehouse as other engines see it: an Iceberg catalog of namespaces, tables and views, each by its metadata.
//!
//! They read and write the files themselves. What they commit goes through the same committer as statements of SQL do: it is
//! refused when it does not fit what the table is by then, and others see all of it or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use staffa_catalog::{
    CatalogSnapshot, RelationKind, TableCommit, TableCreation, TableName, Transaction, is_temporary_schema,
};
use staffa_planner::{Error, ErrorKind, Result};

use crate::warehouse::Warehouse;

/// One database of a warehouse, as an Iceberg catalog. Schemas are its namespaces, of one level.
#[derive(Clone, Debug)]
pub struct IcebergCatalog {
    warehouse: Warehouse,
    database: String,
}

/// A table's or view's metadata.
#[derive(Clone, Debug)]
pub struct IcebergMetadata {
    /// The file it is in; `None` while nothing was made.
    pub location: Option<String>,
    /// Its content, JSON.
    pub json: Vec<u8>,
}

/// What an engine wants to be done to one table: a `CommitTableRequest` of Iceberg's REST protocol.
#[derive(Clone, Debug)]
pub struct IcebergCommit {
    pub schema: String,
    pub table: String,
    /// A list of requirements, JSON.
    pub requirements: Value,
    /// A list of updates, JSON.
    pub updates: Value,
}

/// What became of a schema's properties.
#[derive(Clone, Debug, Default)]
pub struct ChangedProperties {
    pub updated: Vec<String>,
    pub removed: Vec<String>,
    /// They were to be removed, but there were none.
    pub missing: Vec<String>,
}

/// What lists of names are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcebergKind {
    Table,
    View,
}

impl Warehouse {
    /// A database as an Iceberg catalog.
    ///
    /// # Errors
    /// There is no such database.
    pub async fn iceberg_catalog(&self, database: &str) -> Result<IcebergCatalog> {
        match self.catalog().snapshot().await?.has_database(database) {
            true => Ok(IcebergCatalog {
                warehouse: self.clone(),
                database: database.to_owned(),
            }),
            false => Err(Error::new(
                ErrorKind::UndefinedDatabase,
                format!("database \"{database}\" does not exist"),
            )),
        }
    }
}

impl IcebergCatalog {
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The names of all schemas, sorted.
    pub async fn schemas(&self) -> Result<Vec<String>> {
        Ok(self.snapshot().await?.schemas(&self.database))
    }

    /// # Errors
    /// There is no such schema.
    pub async fn check_schema(&self, schema: &str) -> Result<()> {
        self.snapshot_with(schema).await.map(drop)
    }

    pub async fn schema_properties(&self, schema: &str) -> Result<BTreeMap<String, String>> {
        self.check_schema(schema).await?;
        Ok(self
            .warehouse
            .catalog()
            .schema_properties(&self.database, schema)
            .await?)
    }

    pub async fn create_schema(&self, schema: &str, properties: BTreeMap<String, String>) -> Result<()> {
        // As in SQL: names of PostgreSQL's own schemas, and of those of temporary tables.
        if schema.starts_with("pg_") || schema == "information_schema" {
            return Err(Error::new(
                ErrorKind::InvalidName,
                format!("schema name \"{schema}\" is reserved"),
            ));
        }
        let mut transaction = self.begin().await?;
        transaction.create_schema(&self.database, schema).await?;
        let properties = properties.into_iter().map(|(key, value)| (key, Some(value)));
        transaction.set_schema_properties(&self.database, schema, properties.collect())?;
        self.commit_all(transaction).await
    }

    /// Drops a schema that is empty.
    pub async fn drop_schema(&self, schema: &str) -> Result<()> {
        self.check_schema(schema).await?;
        let mut transaction = self.begin().await?;
        transaction.drop_schema(&self.database, schema, false).await?;
        self.commit_all(transaction).await
    }

    pub async fn change_schema_properties(
        &self,
        schema: &str,
        updates: BTreeMap<String, String>,
        removals: Vec<String>,
    ) -> Result<ChangedProperties> {
        let before = self.schema_properties(schema).await?;
        let mut changed = ChangedProperties::default();
        let mut changes = BTreeMap::new();
        for key in removals {
            match before.contains_key(&key) {
                true => changed.removed.push(key.clone()),
                false => changed.missing.push(key.clone()),
            }
            changes.insert(key, None);
        }
        for (key, value) in updates {
            changed.updated.push(key.clone());
            changes.insert(key, Some(value));
        }
        let mut transaction = self.begin().await?;
        changes.retain(|key, value| value.is_some() || before.contains_key(key));
        transaction.set_schema_properties(&self.database, schema, changes)?;
        self.commit_all(transaction).await?;
        Ok(changed)
    }

    /// The names of a schema's tables or views, sorted.
    pub async fn names(&self, schema: &str, kind: IcebergKind) -> Result<Vec<String>> {
        let wanted = match kind {
            IcebergKind::Table => RelationKind::Table,
            IcebergKind::View => RelationKind::View,
        };
        let snapshot = self.snapshot_with(schema).await?;
        let relations = snapshot.relations(&self.database, schema).into_iter();
        Ok(relations
            .filter(|(_, kind)| *kind == wanted)
            .map(|(name, _)| name)
            .collect())
    }

    /// Where a table's or view's metadata is now.
    ///
    /// # Errors
    /// There is no such table or view.
    pub async fn metadata_location(&self, schema: &str, name: &str, kind: IcebergKind) -> Result<String> {
        let wanted = match kind {
            IcebergKind::Table => RelationKind::Table,
            IcebergKind::View => RelationKind::View,
        };
        let snapshot = self.snapshot_with(schema).await?;
        let full = self.name(schema, name);
        let found = snapshot.relation(&full) == Some(wanted);
        let location = snapshot.metadata_location(&full).filter(|_| found);
        location.map(str::to_owned).ok_or_else(|| undefined(name))
    }

    /// A table; with `referenced_only` without the snapshots that no branch or tag names.
    pub async fn table(&self, schema: &str, name: &str, referenced_only: bool) -> Result<IcebergMetadata> {
        let snapshot = self.snapshot_with(schema).await?;
        let table = snapshot.table(&self.name(schema, name)).await?;
        let table = table.ok_or_else(|| undefined(name))?;
        Ok(IcebergMetadata {
            location: Some(table.metadata_location().to_owned()),
            json: table.metadata_json(referenced_only)?,
        })
    }

    /// Makes a table as a `CreateTableRequest` defines it, or gives what it would be (`stage-create`).
    pub async fn create_table(&self, schema: &str, request: Value) -> Result<IcebergMetadata> {
        self.check_schema(schema).await?;
        let creation = TableCreation::parse(request)?;
        let name = self.name(schema, &creation.name);
        let mut transaction = self.begin().await?;
        if creation.stage_create {
            return Ok(IcebergMetadata {
                location: None,
                json: transaction.stage_table(&name, &creation).await?,
            });
        }
        transaction.create_table_as(&name, &creation).await?;
        self.commit_all(transaction).await?;
        self.table(schema, &creation.name, false).await
    }

    /// Makes all changes, or none.
    ///
    /// # Errors
    /// `SerializationFailure` when something required does not hold (any more): load the tables again and retry.
    /// `TransactionResolutionUnknown` when nobody can say whether it happened.
    pub async fn commit(&self, changes: Vec<IcebergCommit>) -> Result<()> {
        let mut transaction = self.begin().await?;
        for change in changes {
            let commit = TableCommit::parse(change.requirements, change.updates)?;
            let name = self.name(&change.schema, &change.table);
            if !self.has_schema(&transaction.snapshot(), &change.schema) {
                return Err(undefined_schema(&change.schema));
            }
            transaction.commit_table(&name, commit).await?;
        }
        self.commit_all(transaction).await
    }

    /// Drops a table. With `purge` its files go after the time that every dropped table has; else they stay.
    pub async fn drop_table(&self, schema: &str, name: &str, purge: bool) -> Result<()> {
        self.metadata_location(schema, name, IcebergKind::Table).await?;
        let mut transaction = self.begin().await?;
        let name = self.name(schema, name);
        match purge {
            true => transaction.drop_table(&name).await?,
            false => transaction.drop_table_keeping_files(&name).await?,
        }
        self.commit_all(transaction).await
    }

    /// Takes a table in whose metadata file is there already.
    pub async fn register_table(&self, schema: &str, name: &str, metadata_location: &str) -> Result<IcebergMetadata> {
        self.check_schema(schema).await?;
        let mut transaction = self.begin().await?;
        transaction
            .register_table(&self.name(schema, name), metadata_location)
            .await?;
        self.commit_all(transaction).await?;
        self.table(schema, name, false).await
    }

    /// Gives a table or view another name, also in another schema.
    pub async fn rename(&self, kind: IcebergKind, from: (&str, &str), to: (&str, &str)) -> Result<()> {
        self.metadata_location(from.0, from.1, kind).await?;
        self.check_schema(to.0).await?;
        let mut transaction = self.begin().await?;
        transaction
            .rename(&self.name(from.0, from.1), &self.name(to.0, to.1))
            .await?;
        self.commit_all(transaction).await
    }

    pub async fn view(&self, schema: &str, name: &str) -> Result<IcebergMetadata> {
        let snapshot = self.snapshot_with(schema).await?;
        let found = snapshot.view_metadata(&self.name(schema, name)).await?;
        let (location, bytes) = found.ok_or_else(|| undefined(name))?;
        // Whoever wrote it: what is passed on is JSON.
        serde_json::from_slice::<Value>(&bytes).map_err(|error| {
            Error::new(
                ErrorKind::DataCorrupted,
                format!("view metadata in \"{location}\" cannot be read"),
            )
            .with_detail(error.to_string())
        })?;
        Ok(IcebergMetadata {
            location: Some(location),
            json: bytes.to_vec(),
        })
    }

    pub async fn drop_view(&self, schema: &str, name: &str) -> Result<()> {
        self.metadata_location(schema, name, IcebergKind::View).await?;
        let mut transaction = self.begin().await?;
        transaction.drop_view(&self.name(schema, name)).await?;
        self.commit_all(transaction).await
    }

    fn name(&self, schema: &str, name: &str) -> TableName {
        TableName::new(&self.database, schema, name)
    }

    async fn snapshot(&self) -> Result<Arc<CatalogSnapshot>> {
        Ok(self.warehouse.catalog().snapshot().await?)
    }

    async fn snapshot_with(&self, schema: &str) -> Result<Arc<CatalogSnapshot>> {
        let snapshot = self.snapshot().await?;
        match self.has_schema(&snapshot, schema) {
            true => Ok(snapshot),
            false => Err(undefined_schema(schema)),
        }
    }

    /// Temporary tables are their session's alone.
    fn has_schema(&self, snapshot: &CatalogSnapshot, schema: &str) -> bool {
        snapshot.has_schema(&self.database, schema) && !is_temporary_schema(schema)
    }

    async fn begin(&self) -> Result<Transaction> {
        Ok(self.warehouse.catalog().begin(self.snapshot().await?).await?)
    }

    async fn commit_all(&self, transaction: Transaction) -> Result<()> {
        transaction.commit().await?;
        self.warehouse.committed();
        Ok(())
    }
}

fn undefined_schema(schema: &str) -> Error {
    Error::new(
        ErrorKind::UndefinedSchema,
        format!("schema \"{schema}\" does not exist"),
    )
}

fn undefined(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
}
