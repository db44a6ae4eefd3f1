//! One client's session: its settings, its transaction, its prepared statements.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use chrono::{DateTime, Utc};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;
use staffa_catalog::{CatalogSnapshot, Uuid};
use staffa_planner::value::FormatSettings;
use staffa_planner::{
    Encryption, Error, ErrorKind, Momentary, OutputColumn, ParsedStatement, Plan, PlanContext, Result, SqlType,
    StatementClass, StatementRow, mentions_moment,
};

use crate::access;
use crate::actions::Actions;
use crate::activity::Connected;
use crate::advisory::LockOwner;
use crate::cancel::{Canceller, StatementGuard};
use crate::outcome::{CommandTag, Notice, Outcome, Severity};
use crate::pg_catalog::SystemCatalog;
use crate::plans::PlanKey;
use crate::portal::Portals;
use crate::queue::{Asked, Place};
use crate::register::{End, Running, Whose};
use crate::sequences::SessionSequences;
use crate::settings::Settings;
use crate::stream::RowStream;
use crate::temporary::Temporary;
use crate::trace::{Noted, Stage, StageTrace, StatementTrace, TraceParent};
use crate::transaction::Transactions;
use crate::warehouse::{DEFAULT_DATABASE, DEFAULT_ROLE, Warehouse};

/// Statements one session may keep prepared: a client cannot fill the memory with them.
const PREPARED_STATEMENTS_MAX: usize = 10_000;

/// Who connects, and to what.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The database; it must exist.
    pub database: String,
    /// The role.
    pub user: String,
    /// Settings asked for at login, such as `TimeZone`.
    pub settings: Vec<(String, String)>,
    /// Whether `FROM 'file.parquet'` may read files in [`Config::allowed_paths`](crate::Config::allowed_paths).
    pub allow_files: bool,
    /// Where the client is, for `pg_stat_activity`.
    pub client: Option<SocketAddr>,
    /// How the connection to it is encrypted, for `pg_stat_ssl`.
    pub encryption: Option<Encryption>,
    /// Whether it is the login of a client: the role must be one that may log in, here and now. Not asked of a program that has
    /// the warehouse in its own process.
    pub login: bool,
}

impl Default for SessionOptions {
    /// As an embedded program wants it: database `staffa`, role `admin`, files readable.
    fn default() -> Self {
        Self {
            database: DEFAULT_DATABASE.to_owned(),
            user: DEFAULT_ROLE.to_owned(),
            settings: Vec::new(),
            allow_files: true,
            client: None,
            encryption: None,
            login: false,
        }
    }
}

/// A session. One statement runs at a time; a [`RowStream`] it gave may still be read while the next one runs.
pub struct Session {
    pub(crate) warehouse: Warehouse,
    pub(crate) database: String,
    /// The role that logged in.
    pub(crate) user: String,
    pub(crate) settings: Settings,
    /// Counts changes of settings: a plan made before one is made again.
    pub(crate) settings_epoch: u64,
    pub(crate) transactions: Transactions,
    pub(crate) notices: Vec<Notice>,
    pub(crate) sequences: Arc<SessionSequences>,
    pub(crate) temporary: Temporary,
    pub(crate) portals: Portals,
    allow_files: bool,
    backend_pid: i32,
    client: Option<SocketAddr>,
    connected: Connected,
    /// The statement that runs.
    pub(crate) running: Option<Arc<Running>>,
    /// Its right to run, where it needs one.
    place: Option<Place>,
    pub(crate) actions: Arc<Actions>,
    /// Shared with statements that show them. Locked for a look-up or a change only.
    statements: Arc<Mutex<Statements>>,
    canceller: Canceller,
    reported: Vec<(&'static str, String)>,
    /// When the last text was parsed, where somebody traces statements.
    parsed: Mutex<Option<(SystemTime, SystemTime)>>,
    /// What the last statement was a part of.
    traced_in: Option<TraceParent>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("database", &self.database)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A statement with its types settled, ready to run many times.
#[derive(Debug)]
pub struct Prepared {
    statement: ParsedStatement,
    declared: Vec<Option<SqlType>>,
    parameters: Vec<SqlType>,
    columns: Option<Arc<[OutputColumn]>>,
    /// Whose rows it gives, when they are not its own.
    gives_rows_of: Option<RowsOf>,
    plan: Mutex<Option<CachedPlan>>,
}

/// The prepared statements of a session by name.
#[derive(Default)]
pub(crate) struct Statements {
    by_name: BTreeMap<String, Stored>,
}

/// A prepared statement under its name.
struct Stored {
    prepared: Arc<Prepared>,
    /// The text of its PREPARE; a client's Parse has none.
    by: Option<String>,
    since: DateTime<Utc>,
}

impl Statements {
    /// The rows of `pg_prepared_statements`.
    pub(crate) fn rows(&self) -> Vec<StatementRow> {
        let named = self.by_name.iter().filter(|(name, _)| !name.is_empty());
        let row = |(name, stored): (&String, &Stored)| StatementRow {
            name: name.clone(),
            statement: match &stored.by {
                Some(text) => text.clone(),
                None => stored.prepared.statement.public_text().to_owned(),
            },
            since: stored.since,
            parameters: stored.prepared.parameters.clone(),
            by_sql: stored.by.is_some(),
        };
        named.map(row).collect()
    }
}

/// What a statement names whose rows it gives.
#[derive(Clone, Debug)]
enum RowsOf {
    /// `EXECUTE`
    Statement(String),
    /// `FETCH`
    Cursor(String),
}

/// A plan and what it was made for.
#[derive(Clone, Debug)]
struct CachedPlan {
    version: PlanVersion,
    plan: Arc<Plan>,
}

/// What a plan depends on beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlanVersion {
    csn: u64,
    settings_epoch: u64,
    /// Whose rights it was made with.
    role: Option<Uuid>,
}

impl Prepared {
    /// The types of `$1`, `$2`, …
    pub fn parameters(&self) -> &[SqlType] {
        &self.parameters
    }

    /// The columns of the rows it gives; `None` when it gives none. Those of an EXECUTE and a FETCH are in what these name: see
    /// [`Session::columns_of`].
    pub fn columns(&self) -> Option<&[OutputColumn]> {
        self.columns.as_deref()
    }

    /// The types its client declared for its parameters.
    pub(crate) fn declared(&self) -> &[Option<SqlType>] {
        &self.declared
    }

    /// Its text and syntax.
    pub fn statement(&self) -> &ParsedStatement {
        &self.statement
    }
}

impl Session {
    pub(crate) async fn start(warehouse: Warehouse, options: SessionOptions) -> Result<Self> {
        let snapshot = warehouse.catalog().snapshot().await?;
        let role = access::role_of(&snapshot, &options.user)?;
        if options.login {
            access::check_login(role)?;
        }
        let backend_pid = warehouse.next_backend();
        let canceller = Canceller::default();
        let activity = warehouse.activity();
        let connected = activity.connected(
            backend_pid,
            &options.user,
            &options.database,
            options.client,
            options.encryption,
            canceller.clone(),
            access::session_limit(role).filter(|_| options.login),
        )?;
        access::check_database(&snapshot, &options.database)?;
        if options.login {
            access::check_connect(&snapshot, role, &options.database)?;
        }
        let mut settings = warehouse.settings().for_user(&options.user, role.superuser);
        let mut notices = Vec::new();
        access::apply_settings(&mut settings, snapshot.access(), role, &options.database, &mut notices);
        for (name, value) in &options.settings {
            settings.check_may_set(name)?;
            settings.set_default(name, value)?;
        }
        let locks = LockOwner::new(Arc::clone(warehouse.locks()), &options.database, backend_pid);
        let actions = Actions::new(Arc::clone(activity), backend_pid, locks, settings.clone());
        Ok(Self {
            actions: Arc::new(actions),
            sequences: Arc::new(SessionSequences::new(warehouse.sequences())),
            temporary: Temporary::of_session(&warehouse, backend_pid),
            portals: Portals::default(),
            warehouse,
            database: options.database,
            user: options.user,
            settings,
            settings_epoch: 0,
            transactions: Transactions::default(),
            notices,
            allow_files: options.allow_files,
            backend_pid,
            client: options.client,
            connected,
            running: None,
            place: None,
            statements: Arc::default(),
            canceller,
            reported: Vec::new(),
            parsed: Mutex::new(None),
            traced_in: None,
        })
    }

    /// Runs one statement and gives its rows. Statements that give none (DDL, INSERT) run too and give an error after;
    /// use [`execute`](Self::execute) for them.
    ///
    /// Outside a transaction block the statement is its own transaction.
    pub async fn query(&mut self, sql: &str, parameters: &[ScalarValue]) -> Result<RowStream> {
        match self.run_text(sql, parameters).await? {
            Outcome::Rows(rows) => Ok(rows),
            _ => Err(Error::new(ErrorKind::WrongObjectType, "the statement gives no rows")
                .with_hint("Use Session::execute for statements that give no rows.")),
        }
    }

    /// Runs one statement to its end; rows it gives are counted and dropped.
    pub async fn execute(&mut self, sql: &str, parameters: &[ScalarValue]) -> Result<CommandTag> {
        match self.run_text(sql, parameters).await? {
            Outcome::Done(tag) => Ok(tag),
            Outcome::Rows(mut rows) => {
                let mut count = 0;
                while let Some(batch) = rows.next().await {
                    match batch {
                        Ok(batch) => count += batch.num_rows() as u64,
                        Err(error) => {
                            self.fail().await;
                            return Err(error);
                        }
                    }
                }
                Ok(rows.tag(count))
            }
            Outcome::CopyIn(copy) => {
                copy.abort(self, "no data source").await;
                Err(Error::unsupported(
                    "COPY FROM STDIN needs Session::run or Session::append",
                ))
            }
            Outcome::CopyOut(_) => Err(Error::unsupported("COPY TO STDOUT needs Session::run")),
        }
    }

    async fn run_text(&mut self, sql: &str, parameters: &[ScalarValue]) -> Result<Outcome> {
        let mut statements = self.parse(sql)?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return Err(Error::new(ErrorKind::SyntaxError, "exactly one statement is expected"));
        };
        self.begin_implicit();
        let declared: Vec<Option<SqlType>> = parameters.iter().map(parameter_type).collect();
        let outcome = async {
            let prepared = self.prepare(statement, &declared).await?;
            self.run(&prepared, parameters.to_vec()).await
        }
        .await;
        let outcome = match outcome {
            // The data of a COPY is still to come: its transaction ends with it.
            Ok(outcome @ Outcome::CopyIn(_)) => return Ok(outcome),
            Ok(outcome) => match self.end_untold(outcome).await {
                Ok(outcome) => self.end_implicit().await.map(|()| outcome),
                Err(error) => Err(error),
            },
            Err(error) => {
                self.note_failed(None, error.message());
                self.fail().await;
                Err(error)
            }
        };
        match &outcome {
            // It has ended when its rows are read, or nobody wants more of them.
            Ok(Outcome::Rows(rows)) if rows.is_counted() => {
                if let Some(running) = self.running.take() {
                    running.leave();
                }
            }
            Ok(Outcome::Done(tag)) => self.note_done(tag.rows().unwrap_or_default()),
            Ok(_) => {}
            Err(error) => self.note_failed(None, error.message()),
        }
        self.note_waiting();
        outcome
    }

    /// Splits a text into its statements; empty ones are left out.
    pub fn parse(&self, sql: &str) -> Result<Vec<ParsedStatement>> {
        let started = SystemTime::now();
        let parsed = staffa_planner::parse(sql)?;
        if self.warehouse.register().is_observed() {
            *self.parsed.lock() = Some((started, SystemTime::now()));
        }
        Ok(parsed)
    }

    /// Settles a statement's types. `declared` are the types of the parameters that the client named; the others are
    /// inferred.
    pub async fn prepare(&mut self, statement: ParsedStatement, declared: &[Option<SqlType>]) -> Result<Arc<Prepared>> {
        self.transactions.check_allowed(statement.class())?;
        let cut = statement.cut_names().iter();
        self.notices
            .extend(cut.map(|message| Notice::remark("42622", message.clone())));
        let rounded = statement.rounded_types().iter();
        self.notices
            .extend(rounded.map(|message| Notice::warning("22023", message.clone())));
        if statement.needs_block() {
            self.require_block(statement.command())?;
        }
        self.take_over_settings();
        self.note_begin(&statement, true)?;
        self.renew_snapshot(&statement).await?;
        let guard = self.start_statement()?;
        let planning = SystemTime::now();
        let begun = Instant::now();
        let planned = guard.run(self.plan(&statement, declared, None)).await;
        self.note_stage(Stage::Plan, planning);
        if let Some(running) = &self.running {
            running.planned_in(begun.elapsed());
        }
        let (version, plan) = planned.inspect_err(|error| self.audit(&statement, Err(error)))?;
        Ok(Arc::new(Prepared {
            parameters: plan.parameters().to_vec(),
            columns: plan.columns().map(Arc::from),
            gives_rows_of: match &*plan {
                Plan::Execute { name, .. } => Some(RowsOf::Statement(name.clone())),
                Plan::Fetch { name, moves: false, .. } => Some(RowsOf::Cursor(name.clone())),
                _ => None,
            },
            statement,
            declared: declared.to_vec(),
            plan: Mutex::new(version.map(|version| CachedPlan { version, plan })),
        }))
    }

    /// The plan of a prepared statement for the state as it is now: the one it has, or a new one.
    pub(crate) async fn plan_of(&mut self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<Arc<Plan>> {
        let snapshot = self.snapshot_for(&prepared.statement).await?;
        let version = self.plan_version(&snapshot);
        let cached = prepared.plan.lock().clone();
        if let Some(cached) = cached
            && version == Some(cached.version)
        {
            return Ok(cached.plan);
        }
        let (version, plan) = self
            .plan(&prepared.statement, &prepared.declared, Some(parameters))
            .await?;
        if !same_row_type(prepared.columns(), plan.columns().as_deref()) {
            return Err(changed_plan());
        }
        if let Some(version) = version {
            *prepared.plan.lock() = Some(CachedPlan {
                version,
                plan: Arc::clone(&plan),
            });
        }
        Ok(plan)
    }

    /// Makes a kept plan again if it is not of the state as it is now.
    pub(crate) async fn renew_plan(&mut self, prepared: &Prepared, parameters: &[ScalarValue]) -> Result<()> {
        let known = prepared.plan.lock().as_ref().map(|kept| kept.version);
        let class = prepared.statement.class();
        if known.is_none() || matches!(class, StatementClass::Transaction(_) | StatementClass::Utility) {
            return Ok(());
        }
        let snapshot = self.snapshot_for(&prepared.statement).await?;
        if self.plan_version(&snapshot) != known {
            let offset = prepared.statement.offset;
            let guard = self.start_statement()?;
            let plan = guard.run(self.plan_of(prepared, parameters)).await;
            plan.map_err(|error| error.shifted(offset))?;
        }
        Ok(())
    }

    async fn plan(
        &mut self,
        statement: &ParsedStatement,
        declared: &[Option<SqlType>],
        parameters: Option<&[ScalarValue]>,
    ) -> Result<(Option<PlanVersion>, Arc<Plan>)> {
        let snapshot = self.snapshot_for(statement).await?;
        let version = self.plan_version(&snapshot);
        let key = version.and_then(|version| self.plan_key(statement, declared, version));
        if let Some(plan) = key.as_ref().and_then(|key| self.warehouse.plans().get(key)) {
            return Ok((version, plan));
        }
        let mut context = self.context(snapshot);
        context.arguments = parameters.map(Arc::from);
        let momentary = context.momentary.clone();
        let statement = statement.clone();
        let declared = declared.to_vec();
        let work = async move { staffa_planner::plan(&context, &statement, &declared).await };
        let plan = Arc::new(self.warehouse.planning().run(work).await?);
        if momentary.is_set() {
            return Ok((None, plan));
        }
        if let Some(key) = key {
            self.warehouse.plans().keep(key, &plan)?;
        }
        Ok((version, plan))
    }

    /// What a query's plan is found by; `None` where it must be the session's own.
    fn plan_key(
        &self,
        statement: &ParsedStatement,
        declared: &[Option<SqlType>],
        version: PlanVersion,
    ) -> Option<PlanKey> {
        let is_own = statement.class() != StatementClass::Query
            || self.has_temporary()
            || self.allow_files
            || mentions_moment(&statement.text);
        (!is_own).then(|| PlanKey {
            text: statement.text.clone(),
            declared: declared.to_vec(),
            csn: version.csn,
            database: self.database.clone(),
            user: self.current_user().to_owned(),
            role: version.role,
            settings: self.settings.to_map(),
        })
    }

    /// `None` when the plan must not be kept: the transaction's own changes are in no sequence number.
    fn plan_version(&self, snapshot: &CatalogSnapshot) -> Option<PlanVersion> {
        (!self.transactions.has_changes()).then(|| PlanVersion {
            csn: snapshot.csn(),
            settings_epoch: self.settings_epoch,
            role: snapshot.access().role(self.current_user()).map(|role| role.id),
        })
    }

    /// The facts of a statement that starts now.
    pub(crate) fn context(&self, snapshot: Arc<CatalogSnapshot>) -> PlanContext {
        let user = self.current_user().to_owned();
        let authority = Arc::new(snapshot.access().authority(&user, &self.database));
        self.actions.act_as(snapshot.access(), &user);
        let system_tables = SystemCatalog {
            images: Arc::clone(self.warehouse.images()),
            snapshot: Arc::clone(&snapshot),
            database: self.database.clone(),
            user: user.clone(),
            temporary_schema: self.temporary_schema().to_owned(),
            records: self.warehouse.records(),
            scan: Arc::clone(self.warehouse.scan()),
            settings: self.settings.clone(),
            cursors: self.portals.rows(),
            statements: Arc::clone(&self.statements),
            activity: Arc::clone(self.warehouse.activity()),
            register: Arc::clone(self.warehouse.register()),
            warehouse: self.warehouse.clone(),
        };
        PlanContext {
            snapshot,
            database: self.database.clone(),
            search_path: self.settings.search_path(&user),
            session_user: self.session_user().to_owned(),
            login_user: self.user.clone(),
            authority,
            user,
            password_min_length: self.warehouse.password_min_length(),
            time_zone: self.settings.time_zone().to_owned(),
            backend_pid: self.backend_pid,
            session: Arc::clone(self.warehouse.base()),
            operators: Arc::clone(self.warehouse.operators()),
            scan: Arc::clone(self.warehouse.scan()),
            settings: self.settings.to_map(),
            statement_time: Utc::now(),
            transaction_time: self.transactions.started().unwrap_or_else(Utc::now),
            runtime: self.running.as_ref().map(|running| Arc::clone(&running.runtime)),
            reports: self.running.as_ref().map(|running| Arc::clone(&running.reports)),
            reads: self.reads(),
            system_tables: Some(Arc::new(system_tables)),
            arguments: None,
            momentary: Momentary::default(),
            temporary_schema: Some(self.temporary_schema().to_owned()),
            sequences: Some(Arc::clone(&self.sequences) as _),
            actions: Some(Arc::clone(&self.actions) as _),
            allow_files: self.allow_files,
            catalog: Arc::default(),
        }
    }

    /// The memory of the statement that runs.
    pub(crate) fn memory_pool(&self) -> Arc<dyn MemoryPool> {
        let runtime = self.running.as_ref().map(|running| &running.runtime);
        let runtime = runtime.unwrap_or(self.warehouse.base().runtime_env());
        Arc::clone(&runtime.memory_pool)
    }

    /// Where the client is.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.client
    }

    pub(crate) fn start_statement(&self) -> Result<StatementGuard> {
        self.actions.begin(&self.settings, self.transactions.savepoint_count());
        // The time it took to plan is part of the statement's; the time until somebody runs it is not.
        let planned = self.running.as_ref().map(|running| running.planned());
        let timeout = self.settings.limits().time;
        let timeout = timeout.map(|timeout| timeout.saturating_sub(planned.unwrap_or_default()));
        self.canceller
            .start_statement(timeout.map(|timeout| tokio::time::Instant::now() + timeout))
    }

    /// What `set_config()` did is the session's from now on.
    pub(crate) fn take_over_settings(&mut self) {
        if let Some(settings) = self.actions.take_settings() {
            self.settings = settings;
            self.settings_epoch += 1;
        }
    }

    /// A statement begins, for others to see; `only_planned`: it is not run yet. What ran before has ended.
    pub(crate) fn note_begin(&mut self, statement: &ParsedStatement, only_planned: bool) -> Result<()> {
        let text = statement.public_text();
        self.connected.runs(text, self.transactions.started());
        if !only_planned && self.running.as_ref().is_some_and(|running| running.goes_on(text)) {
            return Ok(());
        }
        self.note_end(End::Finished(None));
        let whose = Whose {
            pid: self.backend_pid,
            user: self.user.clone(),
            database: self.database.clone(),
            canceller: self.canceller.clone(),
        };
        let (register, server) = (self.warehouse.register(), self.warehouse.base().runtime_env());
        let limits = self.settings.limits();
        let noted = register.is_observed().then(|| {
            let found = TraceParent::find(&statement.text);
            self.traced_in = found.or_else(|| TraceParent::find(&statement.after));
            Noted::new(self.traced_in.clone(), self.parsed.lock().take())
        });
        self.running = Some(register.begin(whose, text, limits, server, only_planned, noted)?);
        Ok(())
    }

    /// A part of the statement that runs is over, for whoever traces it.
    pub(crate) fn note_stage(&self, stage: Stage, started: SystemTime) {
        let register = self.warehouse.register();
        match &self.running {
            Some(running) => running.note_stage(stage, started),
            // Of statements that have ended: the Sync of the extended protocol.
            None if stage == Stage::Commit && register.is_observed() => {
                let ended = SystemTime::now();
                register.tell(StatementTrace {
                    pid: self.backend_pid,
                    user: self.user.clone(),
                    database: self.database.clone(),
                    text: "COMMIT".to_owned(),
                    started,
                    ended,
                    stages: vec![StageTrace { stage, started, ended }],
                    rows: 0,
                    files_read: 0,
                    bytes_read: 0,
                    spilled_bytes: 0,
                    memory_bytes_max: 0,
                    error_code: None,
                    error: None,
                    parent: self.traced_in.clone(),
                });
            }
            None => {}
        }
    }

    /// The statement that runs is done: it gave or changed so many rows.
    pub fn note_done(&mut self, rows: u64) {
        self.note_end(End::Finished(Some(rows)));
    }

    /// The statement that runs has failed with this message, and SQLSTATE where the caller knows one.
    pub fn note_failed(&mut self, code: Option<&'static str>, message: &str) {
        self.note_end(End::Failed(code, message));
    }

    fn note_end(&mut self, end: End<'_>) {
        if let Some(running) = self.running.take() {
            running.end(end);
        }
    }

    /// Waits until the statement may run.
    ///
    /// # Errors
    /// It waited too long, or too many wait already.
    pub(crate) async fn wait_for_place(&mut self, guard: &StatementGuard) -> Result<()> {
        let Some(running) = self.running.clone().filter(|_| self.place.is_none()) else {
            return Ok(());
        };
        let limits = &running.limits;
        let places_of_role = limits.running.and_then(|most| usize::try_from(most).ok());
        let waiting_max = usize::try_from(limits.queued).unwrap_or(usize::MAX);
        let mut waiting = match self.warehouse.queue().ask(&self.user, places_of_role, waiting_max)? {
            Asked::Runs(place) => {
                self.place = Some(place);
                return Ok(());
            }
            Asked::Waits(waiting) => waiting,
        };
        running.waits();
        self.connected.waits_for(Some(("Extension", "StatementQueue")));
        let patience = async {
            match limits.queue_time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
            Err(Error::new(
                ErrorKind::QueryCanceled,
                "canceling statement due to queue timeout",
            ))
        };
        let waited = guard.run(async {
            tokio::select! {
                biased;
                place = waiting.place() => place,
                error = patience => error,
            }
        });
        self.place = Some(waited.await?);
        self.connected.waits_for(None);
        running.runs();
        Ok(())
    }

    /// Notes that nothing runs any more, and the client may say what comes next.
    pub fn note_waiting(&mut self) {
        self.take_over_settings();
        self.note_end(End::Finished(None));
        self.canceller.rest();
        self.place = None;
        let name = self.settings.get("application_name").unwrap_or_default();
        self.connected.waits(self.status(), name);
    }

    /// Keeps a prepared statement under a name; the empty name may be replaced, others not.
    pub fn store_statement(&mut self, name: String, prepared: Arc<Prepared>) -> Result<()> {
        self.store(name, prepared, None)
    }

    /// The same; `by` is the text of the PREPARE that asks for it.
    pub(crate) fn store(&mut self, name: String, prepared: Arc<Prepared>, by: Option<String>) -> Result<()> {
        if !name.is_empty() && self.statements.lock().by_name.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(ErrorKind::DuplicatePreparedStatement, message));
        }
        if self.statements.lock().by_name.len() >= PREPARED_STATEMENTS_MAX {
            let message = format!("too many prepared statements: a session may have {PREPARED_STATEMENTS_MAX}");
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, message)
                .with_hint("DEALLOCATE those that are no longer needed."));
        }
        let since = Utc::now();
        self.statements
            .lock()
            .by_name
            .insert(name, Stored { prepared, by, since });
        Ok(())
    }

    /// The prepared statement of this name.
    pub fn statement(&self, name: &str) -> Option<Arc<Prepared>> {
        self.statements
            .lock()
            .by_name
            .get(name)
            .map(|stored| Arc::clone(&stored.prepared))
    }

    /// The columns of the rows a prepared statement gives: its own, or those of what an EXECUTE or FETCH names, if that is
    /// there now.
    pub fn columns_of(&self, prepared: &Prepared) -> Option<Arc<[OutputColumn]>> {
        match &prepared.gives_rows_of {
            Some(RowsOf::Statement(name)) => self.statements.lock().by_name.get(name)?.prepared.columns.clone(),
            Some(RowsOf::Cursor(name)) => self.cursor_columns(name),
            None => prepared.columns.clone(),
        }
    }

    /// Forgets a prepared statement; a name that is not there is fine.
    pub fn close_statement(&mut self, name: &str) -> bool {
        self.statements.lock().by_name.remove(name).is_some()
    }

    /// Forgets all prepared statements.
    pub fn close_all_statements(&mut self) {
        self.statements.lock().by_name.clear();
    }

    /// Stops what this session runs, from anywhere.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// What `pg_backend_pid()` answers, and CancelRequest names.
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// The session's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The connected database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The role that logged in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How values are printed and read.
    pub fn format_settings(&self) -> Result<FormatSettings> {
        self.settings.format()
    }

    /// Settings to report to the client that changed since the last call; at first all of them.
    pub fn take_changed_parameters(&mut self) -> Vec<(&'static str, String)> {
        self.take_over_settings();
        let now = self.settings.reported();
        let changed = now
            .iter()
            .filter(|parameter| !self.reported.contains(parameter))
            .cloned()
            .collect();
        self.reported = now;
        changed
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.extend(self.actions.take_notices());
        let mut notices = std::mem::take(&mut self.notices);
        match self.settings.get("client_min_messages") {
            Some("error") => notices.retain(|notice| notice.severity == Severity::Info),
            Some("warning") => notices.retain(|notice| notice.severity != Severity::Notice),
            _ => {}
        }
        notices
    }

    /// Ends the session; an open transaction is rolled back.
    pub async fn close(mut self) {
        self.note_end(End::Failed(None, "the session ended"));
        self.place = None;
        self.abandon_transaction().await;
    }
}

fn same_row_type(before: Option<&[OutputColumn]>, now: Option<&[OutputColumn]>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => same_columns(before, now),
        (before, now) => before.is_none() && now.is_none(),
    }
}

/// PostgreSQL's error for a statement whose rows would be others than its client was told.
pub(crate) fn changed_plan() -> Error {
    Error::new(ErrorKind::CachedPlanChanged, "cached plan must not change result type")
}

/// Whether rows of these columns look alike to a client.
pub(crate) fn same_columns(before: &[OutputColumn], now: &[OutputColumn]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| a.name == b.name && a.ty == b.ty)
}

/// The type an embedded caller's value has; `None` for NULL, whose type is inferred.
fn parameter_type(value: &ScalarValue) -> Option<SqlType> {
    let field = arrow::datatypes::Field::new("", value.data_type(), true);
    match staffa_planner::types::sql_type(&field) {
        SqlType::Unknown => None,
        ty => Some(ty),
    }
}
