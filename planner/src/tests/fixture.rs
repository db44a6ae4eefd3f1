//! A warehouse small enough for a unit test: catalog, stores, one session's context.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Utc};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use staffa_catalog::{Catalog, CatalogSnapshot, DataFile, MemoryObjects, TableName, ViewDefinition};
use staffa_storage::{FileWriter, ParquetScan, StoreOptions, Stores, WriteOptions};

use crate::error::{Error, Result};
use crate::{
    Momentary, Plan, PlanContext, QueryPlan, ScanReport, ScanReports, base_session_state, bind, data_file,
    operators_state, parse, physical, plan, session_config, write_plan, write_spec,
};

/// A moment whose spelling the tests know.
pub(super) const NOW: &str = "2024-02-29T12:34:56.789012Z";

pub(super) struct Fixture {
    catalog: Catalog,
    stores: Stores,
    scan: Arc<ParquetScan>,
    state: Arc<SessionState>,
    operators: Arc<SessionState>,
    pub reports: Arc<ScanReports>,
    pub search_path: Vec<String>,
    pub allow_files: bool,
    pub time_zone: String,
    pub directory: tempfile::TempDir,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().canonicalize().expect("the directory exists");
        let stores = Stores::new(StoreOptions {
            local_roots: vec![root.clone()],
            ..StoreOptions::default()
        })
        .expect("stores");
        let database = format!("sqlite:{}", root.join("catalog.db").display());
        let warehouse = format!("file://{}", root.display());
        let objects = Arc::new(MemoryObjects::new());
        let catalog = Catalog::open(&database, &warehouse, objects).await.expect("a catalog");
        let runtime = Arc::new(RuntimeEnvBuilder::new().build().expect("a runtime environment"));
        let state = Arc::new(base_session_state(runtime, session_config(2)));
        let fixture = Self {
            catalog,
            scan: Arc::new(ParquetScan::new(stores.clone())),
            stores,
            operators: Arc::new(operators_state(&state)),
            state,
            reports: Arc::default(),
            search_path: vec!["$user".to_string(), "public".to_string()],
            allow_files: false,
            time_zone: "UTC".to_string(),
            directory,
        };
        let snapshot = fixture.snapshot().await;
        if !snapshot.has_database("staffa") {
            let mut transaction = fixture.catalog.begin(snapshot).await.expect("a transaction");
            transaction.create_database("staffa").await.expect("the database");
            transaction.commit().await.expect("a commit");
        }
        fixture
    }

    pub(super) async fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.catalog.snapshot().await.expect("a snapshot")
    }

    pub(super) async fn context(&self) -> PlanContext {
        let now: DateTime<Utc> = NOW.parse().expect("a moment");
        PlanContext {
            snapshot: self.snapshot().await,
            database: "staffa".to_string(),
            search_path: self.search_path.clone(),
            user: "admin".to_string(),
            session_user: "admin".to_string(),
            login_user: "admin".to_string(),
            authority: Arc::new(staffa_catalog::Authority::of_warehouse()),
            password_min_length: 0,
            time_zone: self.time_zone.clone(),
            backend_pid: 42,
            session: Arc::clone(&self.state),
            operators: Arc::clone(&self.operators),
            scan: Arc::clone(&self.scan),
            settings: Arc::new(BTreeMap::from([("work_mem".to_string(), "4MB".to_string())])),
            actions: None,
            statement_time: now,
            transaction_time: now,
            runtime: None,
            reports: Some(Arc::clone(&self.reports)),
            reads: None,
            system_tables: None,
            catalog: Arc::default(),
            arguments: None,
            momentary: Momentary::default(),
            temporary_schema: None,
            sequences: None,
            allow_files: self.allow_files,
        }
    }

    pub(super) async fn plan(&self, sql: &str) -> Result<Plan> {
        let statements = parse(sql)?;
        assert_eq!(statements.len(), 1, "{sql}");
        plan(&self.context().await, &statements[0], &[]).await
    }

    pub(super) async fn error(&self, sql: &str) -> Error {
        match self.plan(sql).await {
            Err(error) => error,
            Ok(Plan::Query(query)) => match self.run(&query, &[]).await {
                Err(error) => error,
                Ok(rows) => panic!("{sql} gives {rows:?}"),
            },
            Ok(other) => panic!("{sql} is planned as {other:?}"),
        }
    }

    pub(super) async fn query(&self, sql: &str) -> QueryPlan {
        match self.plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")) {
            Plan::Query(query) => query,
            other => panic!("{sql} is planned as {other:?}"),
        }
    }

    pub(super) async fn physical(&self, sql: &str) -> Arc<dyn ExecutionPlan> {
        let query = self.query(sql).await;
        let logical = bind(&query, &[]).expect("no parameters");
        physical(&self.context().await, logical)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// What the last scan of the query's reported.
    pub(super) async fn report(&self, sql: &str) -> ScanReport {
        let before = self.reports.all().len();
        self.physical(sql).await;
        let reports = self.reports.all().split_off(before);
        reports
            .into_iter()
            .next_back()
            .unwrap_or_else(|| panic!("{sql} scans nothing"))
    }

    /// Rows as texts, columns joined by `|`.
    pub(super) async fn rows(&self, sql: &str) -> Vec<String> {
        let query = self.query(sql).await;
        self.run(&query, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub(super) async fn run(&self, query: &QueryPlan, parameters: &[ScalarValue]) -> Result<Vec<String>> {
        let context = self.context().await;
        let plan = physical(&context, bind(query, parameters)?).await?;
        let batches = collect(plan, context.task_context()).await?;
        Ok(texts(&batches))
    }

    /// Runs a statement that changes something.
    pub(super) async fn change(&self, sql: &str) {
        let planned = self.plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut transaction = self.catalog.begin(self.snapshot().await).await.expect("a transaction");
        match planned {
            Plan::CreateTable { definition, .. } => {
                transaction.create_table(definition).await.expect("a table");
            }
            Plan::CreateView {
                name,
                sql,
                columns,
                search_path,
                replace,
                comment,
                reads,
            } => {
                let definition = ViewDefinition {
                    name,
                    sql,
                    columns,
                    search_path,
                    comment,
                    reads,
                    column_comments: BTreeMap::new(),
                };
                transaction.create_view(definition, replace).await.expect("a view");
            }
            Plan::CreateSchema { database, schema, .. } => {
                transaction.create_schema(&database, &schema).await.expect("a schema");
            }
            Plan::Insert(insert) => {
                let name = insert.table.name().clone();
                let target = transaction.begin_write(&name).await.expect("a target");
                let rows = bind(&insert.source, &[]).expect("no parameters");
                let files = self
                    .write(&target.table, &target.data_prefix, rows)
                    .await
                    .unwrap_or_else(|error| {
                        panic!("{sql}: {error}");
                    });
                transaction.append(&name, files).expect("files");
            }
            other => panic!("{sql} is planned as {other:?}"),
        }
        transaction.commit().await.expect("a commit");
    }

    /// Writes the rows of an INSERT, without a commit.
    pub(super) async fn write(
        &self,
        table: &staffa_catalog::Table,
        prefix: &str,
        rows: datafusion::logical_expr::LogicalPlan,
    ) -> Result<Vec<DataFile>> {
        let context = self.context().await;
        let plan = write_plan(&context, table, rows, None).await?;
        let spec = Arc::new(write_spec(table, prefix, WriteOptions::default())?);
        let counter = Arc::new(AtomicU64::new(0));
        let mut files = Vec::new();
        for partition in 0..plan.output_partitioning().partition_count() {
            let mut writer = FileWriter::new(self.stores.clone(), Arc::clone(&spec), Arc::clone(&counter), None)?;
            let mut stream = plan.execute(partition, context.task_context())?;
            while let Some(batch) = stream.next().await {
                writer.write(batch?).await?;
            }
            for written in writer.finish().await? {
                files.push(data_file(table, written)?);
            }
        }
        Ok(files)
    }

    /// Lists files that do not exist: enough for planning.
    pub(super) async fn append(&self, table: &str, files: Vec<DataFile>) {
        let name = TableName::new("staffa", "public", table);
        let mut transaction = self.catalog.begin(self.snapshot().await).await.expect("a transaction");
        transaction.begin_write(&name).await.expect("a target");
        transaction.append(&name, files).expect("files");
        transaction.commit().await.expect("a commit");
    }
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("a printable column"))
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}
