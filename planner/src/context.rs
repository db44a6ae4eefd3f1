//! Everything planning one statement needs, handed in by the session.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;
use staffa_catalog::{Authority, CatalogSnapshot, Privileges, is_temporary_schema};
use staffa_storage::ParquetScan;

use crate::error::Result;
use crate::function::{Sequences, SessionActions};
use crate::pg_catalog::{CatalogView, Image, Roles, SessionRows};
use crate::reads::ReadLog;
use crate::scan_report::ScanReports;
use crate::type_planner::PostgresTypes;
use crate::{function, guard, optimizer};

/// What statements call the schema of their session's temporary tables.
pub(crate) const TEMPORARY: &str = "pg_temp";

/// The facts of one statement of one session. Cheap to make: everything big in it is shared.
#[derive(Clone)]
pub struct PlanContext {
    /// The state of all tables the statement sees.
    pub snapshot: Arc<CatalogSnapshot>,
    /// The database the client is connected to.
    pub database: String,
    /// Schemas searched for an unqualified name, in order; `pg_catalog` comes before them unless it is listed.
    /// `"$user"` stands for the user's name.
    pub search_path: Vec<String>,
    pub user: String,
    /// What `SET SESSION AUTHORIZATION` says, at first the role that logged in.
    pub session_user: String,
    /// The role that logged in, whatever it called itself since.
    pub login_user: String,
    /// What the statement may do: what the user may, inside a view what its owner may.
    pub authority: Arc<Authority>,
    /// How long new passwords must be; 0: as they like.
    pub password_min_length: usize,
    /// Name of the session's time zone, as `SHOW timezone` prints it.
    pub time_zone: String,
    /// What `pg_backend_pid()` answers.
    pub backend_pid: i32,
    /// Where names of functions and types are looked up.
    pub session: Arc<SessionState>,
    /// What makes operators of a plan; a clone of it is the statement's own.
    pub operators: Arc<SessionState>,
    pub scan: Arc<ParquetScan>,
    /// Values of all settings by lower-case name, for `current_setting()`.
    pub settings: Arc<BTreeMap<String, String>>,
    /// `statement_timestamp()`
    pub statement_time: DateTime<Utc>,
    /// `now()`
    pub transaction_time: DateTime<Utc>,
    /// What operators run with, where it is the statement's own: its memory and its temporary files.
    pub runtime: Option<Arc<RuntimeEnv>>,
    /// Where scans report what they read and what they could leave out, when somebody wants to know.
    pub reports: Option<Arc<ScanReports>>,
    /// Where scans note what they read, when the transaction must know at its end.
    pub reads: Option<Arc<ReadLog>>,
    /// `pg_catalog` and `information_schema`, when the caller has them.
    pub system_tables: Option<Arc<dyn SystemTables>>,
    /// The values of the parameters, when they are known: a plan may hang on them.
    pub arguments: Option<Arc<[ScalarValue]>>,
    /// Whether the plan is for this moment only.
    pub momentary: Momentary,
    /// The schema of the session's temporary tables, which need not exist yet.
    pub temporary_schema: Option<String>,
    /// Who gives the numbers of identity columns.
    pub sequences: Option<Arc<dyn Sequences>>,
    /// What functions can do to the session.
    pub actions: Option<Arc<dyn SessionActions>>,
    /// Whether `FROM 'file.parquet'` and `read_parquet('…')` may open files: true for an embedded session only.
    pub allow_files: bool,
    /// The system catalogs, once the statement has asked for them.
    pub catalog: Arc<OnceLock<(Arc<Image>, Arc<Roles>)>>,
}

/// Set when a plan hangs on something that can be another next time, such as `t FOR SYSTEM_TIME AS OF now()`, or on the
/// values of its parameters. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Momentary(Arc<AtomicBool>);

impl Momentary {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a plan made with it must be made again for every run.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What relations are made of that are in no schema of the catalog: `pg_catalog`, `information_schema`, and those of `staffa`.
#[async_trait]
pub trait SystemTables: Send + Sync + fmt::Debug {
    /// The objects of the database, in the state the statement sees.
    async fn image(&self) -> Result<Arc<Image>>;

    /// The roles, and who asks.
    async fn roles(&self) -> Result<Arc<Roles>>;

    /// The numbers of objects of users, by the names their numbers are kept by.
    async fn numbers(&self, objects: &[String]) -> Result<Vec<u32>>;

    /// What is the session's.
    fn session(&self) -> Option<Arc<dyn SessionRows>>;

    /// A relation of the schema `staffa`, if there is one of that name.
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>>;
}

/// The state in which every statement's names are looked up: functions, types and rules. Made once per warehouse.
pub fn base_session_state(runtime: Arc<RuntimeEnv>, config: SessionConfig) -> SessionState {
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_type_planner(Arc::new(PostgresTypes::new("UTC")))
        .with_optimizer_rules(optimizer::rules())
        .with_physical_optimizer_rules(guard::physical_optimizer_rules())
        .build();
    function::register(&mut state);
    state
}

/// The state that makes operators of every statement's plan, which is cloned for each: without the hundreds of functions, as a plan has
/// its own in it. One is looked up by a rule, for DISTINCT ON.
pub fn operators_state(base: &SessionState) -> SessionState {
    SessionStateBuilder::new()
        .with_config(base.config().clone())
        .with_runtime_env(Arc::clone(base.runtime_env()))
        .with_aggregate_functions(vec![first_value_udaf()])
        .with_optimizer_rules(optimizer::rules())
        .with_physical_optimizer_rules(guard::physical_optimizer_rules())
        .build()
}

impl PlanContext {
    /// Runs the statement in this many tasks.
    pub fn set_tasks(&mut self, tasks: usize) {
        let options = Arc::make_mut(&mut self.operators).config_mut().options_mut();
        options.execution.target_partitions = tasks;
    }

    /// What operators run with. The functions they call are in them: none is looked up by its name.
    pub fn task_context(&self) -> Arc<TaskContext> {
        let state = &self.operators;
        Arc::new(TaskContext::new(
            None,
            state.session_id().to_owned(),
            state.config().clone(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(self.runtime.as_ref().unwrap_or(state.runtime_env())),
        ))
    }

    /// Gets the system catalogs ready for what answers from them.
    pub async fn load_catalog(&self) -> Result<()> {
        // Roles change without a commit; and a plan that is kept would keep the whole image with it.
        self.momentary.set();
        if let (None, Some(system)) = (self.catalog.get(), &self.system_tables) {
            let loaded = (system.image().await?, system.roles().await?);
            self.catalog.get_or_init(|| loaded);
        }
        Ok(())
    }

    /// The system catalogs by the search path, when they were loaded.
    pub fn catalog_view(&self) -> Option<Arc<CatalogView>> {
        let (image, roles) = self.catalog.get()?;
        let view = CatalogView::new(Arc::clone(image), Arc::clone(roles), self.lookup_path());
        Some(Arc::new(view))
    }

    /// The schemas an unqualified name is looked up in, in order: temporary tables hide others, then `pg_catalog`, then the
    /// search path, unless it names these itself.
    pub(crate) fn lookup_path(&self) -> Vec<String> {
        let mut path: Vec<String> = Vec::with_capacity(self.search_path.len() + 2);
        let is_listed = |name: &str| self.search_path.iter().any(|schema| schema == name);
        if !is_listed(TEMPORARY) {
            path.extend(self.temporary_schema.clone());
        }
        if !is_listed("pg_catalog") {
            path.push("pg_catalog".to_string());
        }
        for schema in &self.search_path {
            match schema.as_str() {
                "$user" => path.push(self.user.clone()),
                TEMPORARY => path.extend(self.temporary_schema.clone()),
                _ => path.push(schema.clone()),
            }
        }
        path
    }

    /// A schema as statements name it: `pg_temp` is the session's own, and those of others are not there.
    pub(crate) fn schema_named(&self, schema: &str) -> Option<String> {
        match &self.temporary_schema {
            Some(own) if schema == TEMPORARY || schema == own => Some(own.clone()),
            _ if schema == TEMPORARY || is_temporary_schema(schema) => None,
            _ => Some(schema.to_owned()),
        }
    }

    /// Whether it is the schema of the session's temporary tables.
    pub(crate) fn is_temporary(&self, schema: &str) -> bool {
        self.temporary_schema.as_deref() == Some(schema)
    }

    /// The schema new objects go to: the first of the search path that exists.
    pub(crate) fn current_schema(&self) -> Option<String> {
        self.lookup_path().into_iter().find(|schema| {
            schema != "pg_catalog"
                && !is_temporary_schema(schema)
                && self.snapshot.has_schema(&self.database, schema)
                && self.may_in_schema(&self.database, schema, Privileges::USAGE)
        })
    }
}

impl fmt::Debug for PlanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanContext")
            .field("database", &self.database)
            .field("search_path", &self.search_path)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
