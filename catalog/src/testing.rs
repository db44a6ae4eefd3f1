//! What the tests of this crate share: a catalog in a temporary directory, definitions, and doubles that record and fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{ColumnStatistics, DataFile, DeleteContent};
use crate::name::TableName;
use crate::objects::{MemoryObjects, Objects};
use crate::schema::{ColumnDefinition, TableDefinition};
use crate::txn::Transaction;
use crate::types::SqlType;
use crate::value::Value;

/// A catalog with database `d` and schema `public`, over recorded objects in memory.
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) objects: Arc<RecordingObjects>,
    /// The catalog database's URL.
    pub(crate) database: String,
    _directory: TempDir,
}

/// Where tests make their catalogs; unset: in files. A `postgres://` URL without a query.
pub(crate) const POSTGRES: &str = "STAFFA_TEST_POSTGRES";

impl World {
    pub(crate) async fn new() -> World {
        let directory = TempDir::new().unwrap();
        let objects = Arc::new(RecordingObjects::default());
        let database = match postgres() {
            Some(url) => schema_of_its_own(&url).await,
            None => format!("sqlite:{}", directory.path().join("catalog.db").display()),
        };
        let catalog = open(&database, objects.clone()).await;
        let world = World {
            catalog,
            objects,
            database,
            _directory: directory,
        };
        let mut txn = world.begin().await;
        txn.create_database("d").await.unwrap();
        txn.commit().await.unwrap();
        world
    }

    pub(crate) async fn begin(&self) -> Transaction {
        self.catalog
            .begin(self.catalog.snapshot().await.unwrap())
            .await
            .unwrap()
    }

    /// A second server on the same database and objects.
    pub(crate) async fn second(&self) -> Catalog {
        open(&self.database, self.objects.clone()).await
    }

    pub(crate) async fn create_table(&self, table: &str) -> TableName {
        let mut txn = self.begin().await;
        txn.create_table(definition(table)).await.unwrap();
        txn.commit().await.unwrap();
        name(table)
    }

    /// Row counts of the table's files, sorted: each test file has its own, so this tells which are there.
    pub(crate) async fn rows(&self, table: &TableName) -> Vec<u64> {
        let snapshot = self.catalog.snapshot().await.unwrap();
        let table = snapshot.table(table).await.unwrap().unwrap();
        let mut rows: Vec<u64> = table.files().await.unwrap().iter().map(|file| file.row_count).collect();
        assert_eq!(table.row_count(), Some(rows.iter().sum()));
        rows.sort();
        rows
    }

    /// Statements run on the catalog database by another program.
    pub(crate) async fn foreign_sql(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self.database.strip_prefix("sqlite:") {
            Some(path) => {
                let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
            }
            None => {
                let mut connection = PgConnection::connect(&self.database).await?;
                sqlx::raw_sql(sql).execute(&mut connection).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn foreign_number(&self, sql: &'static str) -> i64 {
        match self.database.strip_prefix("sqlite:") {
            Some(path) => {
                let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
            None => {
                let mut connection = PgConnection::connect(&self.database).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
        }
    }
}

/// The text a statement gives that another program runs on the catalog database.
pub(crate) async fn foreign_text(database: &str, sql: &'static str) -> String {
    match database.strip_prefix("sqlite:") {
        Some(path) => {
            let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
        None => {
            let mut connection = PgConnection::connect(database).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }
}

/// As if all servers had been silent for a while.
pub(crate) async fn silence(database: &str) {
    let sql = "update staffa_server set heartbeat_ms=heartbeat_ms-100000";
    match database.strip_prefix("sqlite:") {
        Some(path) => {
            let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
        None => {
            let mut connection = PgConnection::connect(database).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }
}

/// The PostgreSQL that tests use, if they do.
pub(crate) fn postgres() -> Option<String> {
    std::env::var(POSTGRES).ok()
}

/// The URL of a new, empty schema.
pub(crate) async fn schema_of_its_own(url: &str) -> String {
    let name = format!("w{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(url).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("create schema {name}"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
    format!("{url}?options=-csearch_path%3D{name}")
}

async fn open(database: &str, objects: Arc<RecordingObjects>) -> Catalog {
    Catalog::open(database, "memory://warehouse", objects).await.unwrap()
}

pub(crate) fn name(table: &str) -> TableName {
    TableName::new("d", "public", table)
}

pub(crate) fn column(name: &str, ty: SqlType) -> ColumnDefinition {
    ColumnDefinition {
        name: name.to_owned(),
        ty,
        nullable: true,
        comment: None,
        default: None,
    }
}

/// `(id integer, text varchar(5))`
pub(crate) fn definition(table: &str) -> TableDefinition {
    TableDefinition {
        name: name(table),
        columns: vec![
            column("id", SqlType::Integer),
            column("text", SqlType::Varchar(Some(5))),
        ],
        partition_by: Vec::new(),
        sorted_by: Vec::new(),
        constraints: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        properties: BTreeMap::new(),
        materialized: None,
        location: None,
    }
}

/// Stores and appends one file of `rows` rows to a table of [`definition`]; gives the file's location.
pub(crate) async fn append(
    txn: &mut Transaction,
    objects: &RecordingObjects,
    table: &TableName,
    rows: u64,
) -> Result<String> {
    let target = txn.begin_write(table).await?;
    let location = format!("{}{rows}.parquet", target.data_prefix);
    objects.put(&location, Bytes::from_static(b"PAR1")).await?;
    let file = DataFile {
        location: location.clone(),
        size_bytes: 4,
        row_count: rows,
        spec_id: target.table.default_spec().spec_id,
        partition: Vec::new(),
        columns: vec![ColumnStatistics {
            field_id: 1,
            size_bytes: 1,
            value_count: rows,
            null_count: 0,
            nan_count: None,
            lower: Some(Value::Int(1)),
            upper: Some(Value::Int(9)),
            bounds_exact: true,
        }],
        sort_order_id: None,
        split_offsets: vec![4],
    };
    txn.append(table, vec![file])?;
    Ok(location)
}

type Hook = Box<dyn Fn(&str) -> Option<Error> + Send + Sync>;

/// Objects in memory that can be made to fail, and that call back when something is stored.
#[derive(Default)]
pub(crate) struct RecordingObjects {
    inner: MemoryObjects,
    before_put: Mutex<Option<Hook>>,
    /// Reads of manifest lists wait for this, if it is there.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
    /// How many reads have waited.
    pub(crate) waited: AtomicUsize,
    /// Whether nothing can be deleted.
    pub(crate) keeps_all: AtomicBool,
    pub(crate) put_locations: Mutex<Vec<String>>,
}

impl std::fmt::Debug for RecordingObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordingObjects")
    }
}

impl RecordingObjects {
    pub(crate) fn before_put(&self, hook: impl Fn(&str) -> Option<Error> + Send + Sync + 'static) {
        *self.before_put.lock() = Some(Box::new(hook));
    }

    pub(crate) fn no_hook(&self) {
        *self.before_put.lock() = None;
    }

    pub(crate) async fn all(&self) -> Vec<String> {
        self.inner.list("memory://warehouse").await.unwrap()
    }
}

pub(crate) fn injected() -> Error {
    Error::new(ErrorKind::DiskFull, "injected")
}

#[async_trait]
impl Objects for RecordingObjects {
    async fn get(&self, location: &str) -> Result<Bytes> {
        let gate = self.gate.lock().clone();
        if let Some(gate) = gate.filter(|_| location.contains("/snap-")) {
            self.waited.fetch_add(1, Ordering::Relaxed);
            let _passed = gate.acquire().await;
        }
        self.inner.get(location).await
    }

    async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        // Others go first, so that an order that is only luck does not hold.
        tokio::task::yield_now().await;
        if let Some(error) = self.before_put.lock().as_ref().and_then(|hook| hook(location)) {
            return Err(error);
        }
        self.inner.put(location, bytes).await?;
        self.put_locations.lock().push(location.to_owned());
        Ok(())
    }

    async fn delete(&self, location: &str) -> Result<()> {
        match self.keeps_all.load(Ordering::Relaxed) {
            true => Err(injected()),
            false => self.inner.delete(location).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.list(prefix).await
    }

    fn encode_deletes(&self, data_file: &str, rows: &RoaringTreemap, vector: bool) -> Result<(Bytes, DeleteContent)> {
        self.inner.encode_deletes(data_file, rows, vector)
    }

    async fn decode_deletes(&self, bytes: Bytes, content: &DeleteContent, data_file: &str) -> Result<RoaringTreemap> {
        self.inner.decode_deletes(bytes, content, data_file).await
    }
}

/// Local files, without the fsyncs of a real store.
#[derive(Debug)]
pub(crate) struct LocalObjects;

fn local_path(location: &str) -> &str {
    location.strip_prefix("file://").unwrap()
}

fn local_failure(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "local file").with_source(error)
}

#[async_trait]
impl Objects for LocalObjects {
    async fn get(&self, location: &str) -> Result<Bytes> {
        std::fs::read(local_path(location))
            .map(Bytes::from)
            .map_err(local_failure)
    }

    async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        std::fs::create_dir_all(std::path::Path::new(local_path(location)).parent().unwrap()).map_err(local_failure)?;
        std::fs::write(local_path(location), bytes).map_err(local_failure)
    }

    async fn delete(&self, location: &str) -> Result<()> {
        match std::fs::remove_file(local_path(location)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(local_failure(error)),
            _ => Ok(()),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let Ok(entries) = std::fs::read_dir(local_path(prefix)) else {
            return Ok(Vec::new());
        };
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        Ok(files.map(|path| format!("file://{}", path.display())).collect())
    }

    fn encode_deletes(&self, _: &str, _: &RoaringTreemap, _: bool) -> Result<(Bytes, DeleteContent)> {
        Err(Error::internal("no Parquet here"))
    }

    async fn decode_deletes(&self, _: Bytes, _: &DeleteContent, _: &str) -> Result<RoaringTreemap> {
        Err(Error::internal("no Parquet here"))
    }
}
