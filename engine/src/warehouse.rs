//! The warehouse: catalog, stores, memory and threads behind one cheap handle.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use staffa_catalog::{Catalog, CatalogDatabase, ErrorKind as CatalogErrorKind};
use staffa_planner::{Error, ErrorKind, LoginRuleRow, Result, Room, base_session_state, operators_state};
use staffa_storage::{ParquetScan, StoreOptions, Stores, WriteOptions};

use crate::access;
use crate::activity::Activity;
use crate::advisory::AdvisoryLocks;
use crate::audit::{Audit, Event};
use crate::backup;
use crate::config::{Config, Maintenance};
use crate::cpu::{CpuRuntime, Lanes};
use crate::memory::meter::Meter;
use crate::memory::pool::QueryPool;
use crate::memory::spill_place::SpillPlace;
use crate::memory::watchdog;
use crate::objects::StoreObjects;
use crate::pg_catalog::Images;
use crate::plans::Plans;
use crate::queue::Queue;
use crate::register::Register;
use crate::results::{MemoryWithResults, Results};
use crate::sequences::Sequences;
use crate::session::{Session, SessionOptions};
use crate::settings::Settings;
use crate::trace::{Observer, StatementTrace};
use crate::upkeep::{Records, Upkeep};

/// The database and the role that exist from the first start.
pub const DEFAULT_DATABASE: &str = "staffa";
/// Where clients connect that are told of no database.
const MAINTENANCE_DATABASE: &str = "postgres";
/// See [`DEFAULT_DATABASE`].
pub const DEFAULT_ROLE: &str = staffa_catalog::FIRST_ROLE;

/// Threads that plan. Planning takes milliseconds, and cannot be interrupted: so many let a short statement pass some very long ones.
const PLANNING_THREADS: usize = 4;

/// Queries named in an out-of-memory error, largest first.
const MEMORY_CONSUMERS_NAMED: usize = 3;

/// An open warehouse. Cheap to clone; all clones are the same warehouse.
#[derive(Clone)]
pub struct Warehouse {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    catalog: Catalog,
    stores: Stores,
    scan: Arc<ParquetScan>,
    /// DataFusion's state with our functions and rules, cloned per statement with the session's settings.
    base: Arc<SessionState>,
    operators: Arc<SessionState>,
    plans: Plans,
    results: Arc<Results>,
    planning: CpuRuntime,
    lanes: Lanes,
    write_options: WriteOptions,
    memory_limit_bytes: u64,
    /// Where its temporary files are.
    _spill_place: SpillPlace,
    memory_ceiling_bytes: u64,
    next_backend: AtomicI32,
    sequences: Arc<Sequences>,
    images: Arc<Images>,
    activity: Arc<Activity>,
    register: Arc<Register>,
    queue: Arc<Queue>,
    /// What all sessions begin with.
    settings: Settings,
    locks: Arc<AdvisoryLocks>,
    maintenance: Maintenance,
    password_min_length: usize,
    audit: Option<Arc<Audit>>,
    /// Who shows the rules of logins, where there are some.
    login_rules: OnceLock<LoginRules>,
    /// Set when the rest is there: it holds on to that, weakly.
    upkeep: OnceLock<Upkeep>,
}

/// Gives the rules of logins as they are now.
struct LoginRules(Box<dyn Fn() -> Vec<LoginRuleRow> + Send + Sync>);

impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warehouse").finish_non_exhaustive()
    }
}

impl Warehouse {
    /// Opens the warehouse in a folder, making it when it is new, and clears away what dead transactions left.
    ///
    /// # Errors
    /// The folder cannot be made or written, the catalog is damaged or of a newer version.
    pub async fn open(config: Config) -> Result<Self> {
        let data_dir = make_dir(&config.data_dir)?;
        backup::check_restored(&data_dir)?;
        let spill_dir = make_dir(&config.spill_dir.clone().unwrap_or_else(|| data_dir.join("spill")))?;
        let (catalog, stores, _) = open_catalog(&config, &data_dir).await?;
        let left = catalog.recover().await?;
        if left > 0 {
            tracing::info!(
                transactions = left,
                "cleared away unfinished transactions of an earlier run"
            );
        }
        make_database(&catalog).await?;
        let threads = config
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
        let scan = ParquetScan::new(stores.clone());
        let spill_place = SpillPlace::take(&spill_dir)?;
        let (runtime, results) = runtime_env(&config, &stores, &scan, spill_place.directory())?;
        let base = Arc::new(base_session_state(runtime, staffa_planner::session_config(threads)));
        let meter = Arc::new(Meter::new(config.memory_ceiling()));
        let room: Arc<dyn Room> = Arc::clone(&meter) as _;
        let inner = Inner {
            scan: Arc::new(scan),
            operators: Arc::new(operators_state(&base)),
            plans: Plans::new(),
            results,
            base,
            planning: CpuRuntime::start("staffa-plan", PLANNING_THREADS, Arc::clone(&room))?,
            lanes: Lanes::start(threads, &room)?,
            write_options: WriteOptions {
                target_file_bytes: config.target_file_bytes,
                ..WriteOptions::default()
            },
            memory_limit_bytes: config.memory_limit_bytes,
            _spill_place: spill_place,
            memory_ceiling_bytes: config.memory_ceiling(),
            next_backend: AtomicI32::new(1),
            sequences: Arc::new(Sequences::new(catalog.clone(), tokio::runtime::Handle::current())),
            images: Arc::new(Images::new(catalog.clone(), tokio::runtime::Handle::current())),
            activity: Arc::default(),
            register: Arc::new(Register::new(Arc::clone(&meter))),
            queue: Arc::new(Queue::new(config.running_max)),
            settings: initial_settings(&config)?,
            locks: Arc::default(),
            password_min_length: config.password_min_length,
            audit: config.audit.clone().map(Audit::open).transpose()?,
            login_rules: OnceLock::new(),
            maintenance: config.maintenance.clone().unwrap_or_default(),
            upkeep: OnceLock::new(),
            catalog,
            stores,
        };
        let inner = Arc::new(inner);
        let upkeep = Upkeep::start(&Arc::downgrade(&inner), config.maintenance.as_ref(), room)?;
        watchdog::start(Arc::downgrade(&inner), meter)?;
        if inner.upkeep.set(upkeep).is_err() {
            return Err(Error::internal("upkeep was started twice"));
        }
        Ok(Self { inner })
    }

    /// A new session: one user's settings and transaction.
    ///
    /// # Errors
    /// The database does not exist; a setting is unknown or its value is not allowed.
    pub async fn session(&self, options: SessionOptions) -> Result<Session> {
        Session::start(self.clone(), options).await
    }

    /// The SCRAM-SHA-256 verifier of a role, in PostgreSQL's format; `None` when the role has none, does not exist, or its password
    /// is good no more.
    pub async fn verifier(&self, role: &str) -> Result<Option<String>> {
        let snapshot = self.inner.catalog.snapshot().await?;
        let role = snapshot.access().role(role).filter(|role| !access::is_expired(role));
        Ok(role.and_then(|role| role.verifier.clone()))
    }

    /// The names of the roles that a role is a member of, its own among them; none when there is no such role.
    pub async fn groups_of(&self, role: &str) -> Result<Vec<String>> {
        let snapshot = self.inner.catalog.snapshot().await?;
        let access = snapshot.access();
        let Some(role) = access.role(role) else {
            return Ok(Vec::new());
        };
        let groups = access.roles_of(role.id, false).into_iter();
        Ok(groups
            .filter_map(|id| Some(access.role_with_id(id)?.name.clone()))
            .collect())
    }

    /// Says who shows the rules of logins; once.
    pub fn show_login_rules(&self, rules: impl Fn() -> Vec<LoginRuleRow> + Send + Sync + 'static) {
        let _ = self.inner.login_rules.set(LoginRules(Box::new(rules)));
    }

    pub(crate) fn login_rules(&self) -> Vec<LoginRuleRow> {
        self.inner
            .login_rules
            .get()
            .map(|rules| (rules.0)())
            .unwrap_or_default()
    }

    /// Says who is told of each statement of a session that has ended; once. It is called where statements end, and must not wait.
    pub fn trace_statements(&self, observer: impl Fn(StatementTrace) + Send + Sync + 'static) {
        self.inner.register.observe(Observer(Box::new(observer)));
    }

    /// Notes a login, or why it was refused, in the audit log.
    pub fn audit_login(&self, user: &str, database: &str, client: SocketAddr, refused: Option<&str>) {
        let Some(audit) = self.audit().filter(|audit| audit.classes().login) else {
            return;
        };
        let event = Event::new("login", user, database, Some(client)).with("ok", refused.is_none());
        match refused {
            None => event,
            Some(why) => event.with("error", why),
        }
        .write(audit);
    }

    /// How long new passwords must be.
    pub(crate) fn password_min_length(&self) -> usize {
        self.inner.password_min_length
    }

    pub(crate) fn audit(&self) -> Option<&Arc<Audit>> {
        self.inner.audit.as_ref()
    }

    /// Stores the verifier of a role's password.
    ///
    /// # Errors
    /// There is no such role.
    pub async fn set_verifier(&self, role: &str, verifier: &str) -> Result<()> {
        let snapshot = self.inner.catalog.snapshot().await?;
        let mut changed = access::role_of(&snapshot, role)?.clone();
        changed.verifier = Some(verifier.to_owned());
        let mut transaction = self.inner.catalog.begin(snapshot).await?;
        transaction.alter_role(role, changed)?;
        transaction.commit().await?;
        Ok(())
    }

    /// The names of all roles.
    pub async fn roles(&self) -> Result<Vec<String>> {
        let snapshot = self.inner.catalog.snapshot().await?;
        Ok(snapshot.access().roles().map(|role| role.name.clone()).collect())
    }

    /// Whether a role may log in: now, if it proves who it is.
    pub async fn may_log_in(&self, role: &str) -> Result<bool> {
        let snapshot = self.inner.catalog.snapshot().await?;
        let role = snapshot.access().role(role);
        Ok(role.is_some_and(|role| role.login && !access::is_expired(role)))
    }

    /// Whether a role may do everything, and may log in.
    pub async fn is_superuser(&self, role: &str) -> Result<bool> {
        let snapshot = self.inner.catalog.snapshot().await?;
        let role = snapshot.access().role(role);
        Ok(role.is_some_and(|role| role.superuser && role.login && !access::is_expired(role)))
    }

    /// Stops the background work. Open sessions may go on.
    pub async fn close(&self) {
        if let Some(upkeep) = self.inner.upkeep.get() {
            upkeep.stop();
        }
    }

    /// Tells the background work that there may be something to do.
    pub(crate) fn committed(&self) {
        if let Some(upkeep) = self.inner.upkeep.get() {
            upkeep.committed();
        }
    }

    pub(crate) fn maintenance(&self) -> &Maintenance {
        &self.inner.maintenance
    }

    /// What upkeep did.
    pub(crate) fn records(&self) -> Arc<Records> {
        let upkeep = self.inner.upkeep.get();
        upkeep.map(|upkeep| Arc::clone(upkeep.records())).unwrap_or_default()
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The system catalogs.
    pub(crate) fn images(&self) -> &Arc<Images> {
        &self.inner.images
    }

    /// Who gives the numbers of identity columns.
    pub(crate) fn sequences(&self) -> Arc<Sequences> {
        Arc::clone(&self.inner.sequences)
    }

    pub(crate) fn stores(&self) -> &Stores {
        &self.inner.stores
    }

    pub(crate) fn scan(&self) -> &Arc<ParquetScan> {
        &self.inner.scan
    }

    /// See [`PlanContext::operators`](staffa_planner::PlanContext::operators).
    pub(crate) fn operators(&self) -> &Arc<SessionState> {
        &self.inner.operators
    }

    /// Plans that sessions share.
    pub(crate) fn plans(&self) -> &Plans {
        &self.inner.plans
    }

    /// Answers that sessions share.
    pub(crate) fn results(&self) -> &Arc<Results> {
        &self.inner.results
    }

    pub(crate) fn base(&self) -> &Arc<SessionState> {
        &self.inner.base
    }

    /// Where statements are planned.
    pub(crate) fn planning(&self) -> &CpuRuntime {
        &self.inner.planning
    }

    /// Where operators of queries run.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    /// Where operators run that are not known to be short.
    pub(crate) fn cpu(&self) -> &CpuRuntime {
        self.inner.lanes.long()
    }

    /// Where operators run: those that are surely done soon apart from the others.
    pub(crate) fn cpu_of(&self, is_short: bool) -> &CpuRuntime {
        self.inner.lanes.of(is_short)
    }

    pub(crate) fn write_options(&self) -> &WriteOptions {
        &self.inner.write_options
    }

    /// Bytes of memory that queries may hold together.
    pub fn memory_limit_bytes(&self) -> u64 {
        self.inner.memory_limit_bytes
    }

    /// Bytes of memory that the process may hold before its largest statement is ended.
    pub(crate) fn memory_ceiling_bytes(&self) -> u64 {
        self.inner.memory_ceiling_bytes
    }

    /// Who is connected.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.inner.activity
    }

    /// What runs and ran.
    pub(crate) fn register(&self) -> &Arc<Register> {
        &self.inner.register
    }

    /// Who runs and who waits.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.inner.queue
    }

    /// What all sessions begin with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn locks(&self) -> &Arc<AdvisoryLocks> {
        &self.inner.locks
    }

    pub(crate) fn next_backend(&self) -> i32 {
        self.inner.next_backend.fetch_add(1, Ordering::Relaxed)
    }
}

impl Inner {
    pub(crate) fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// Whether statements that have ended work on.
    pub(crate) fn lingers(&self) -> bool {
        self.planning.lingers() || self.lanes.linger()
    }

    /// Gives back memory that only makes queries faster.
    pub(crate) fn release_caches(&self, bytes: u64) {
        self.results.release();
        self.scan.release_memory(bytes);
    }
}

/// The catalog of a warehouse, the stores of its files, and where new tables go.
pub(crate) async fn open_catalog(config: &Config, data_dir: &Path) -> Result<(Catalog, Stores, String)> {
    let url = catalog_url(config, data_dir);
    let database = CatalogDatabase::open(&url).await?;
    let warehouse = warehouse_location(config, &database, &url, data_dir).await?;
    if let Some(path) = warehouse.strip_prefix("file://") {
        make_dir(Path::new(path))?;
    }
    let stores = open_stores(config, data_dir, &warehouse)?;
    let catalog = Catalog::over(
        database,
        &warehouse,
        Arc::new(StoreObjects(stores.clone())),
        metadata_cache_bytes(config),
    )?;
    Ok((catalog, stores, warehouse))
}

/// The URL of the catalog database.
pub(crate) fn catalog_url(config: &Config, data_dir: &Path) -> String {
    match &config.catalog {
        Some(url) => url.reveal().to_owned(),
        None => format!("sqlite:{}", data_dir.join("catalog.db").display()),
    }
}

/// Where the tables of a warehouse of its own are.
pub(crate) fn own_warehouse(config: &Config, data_dir: &Path) -> String {
    let own = || format!("file://{}", data_dir.join("warehouse").display());
    let wanted = config.warehouse.as_deref();
    wanted.map_or_else(own, |location| location.trim_end_matches('/').to_owned())
}

/// What each of the caches of metadata may hold at most (footers, deleted rows, samples, statistics, metadata of tables, manifests): on a
/// large machine they need less than that.
fn metadata_cache_bytes(config: &Config) -> u64 {
    const SHARE: u64 = 64;
    config.memory_limit_bytes / SHARE
}

/// The stores of a warehouse's files: nothing else of the data directory is theirs.
pub(crate) fn open_stores(config: &Config, data_dir: &Path, warehouse: &str) -> Result<Stores> {
    // Tables that were made before the warehouse was elsewhere stay where they are.
    let mut local_roots: Vec<PathBuf> = Some(data_dir.join("warehouse"))
        .filter(|own| own.is_dir())
        .into_iter()
        .collect();
    let mut remote_roots = Vec::new();
    match warehouse.strip_prefix("file://") {
        Some(path) => local_roots.push(Path::new(path).to_path_buf()),
        None => remote_roots.push(warehouse.to_owned()),
    }
    local_roots.extend(config.allowed_paths.iter().cloned());
    Ok(Stores::new(StoreOptions {
        local_roots,
        private_paths: private_paths(config, data_dir),
        remote_roots,
        s3: config.s3.clone(),
        range_cache_bytes: config.range_cache_bytes,
        chunk_cache_bytes: config.column_cache_bytes.unwrap_or(config.memory_limit_bytes / 2),
        metadata_cache_bytes: Some(metadata_cache_bytes(config)),
        io: Some(tokio::runtime::Handle::current()),
    })?)
}

/// What is the server's own, also where the warehouse is around it.
fn private_paths(config: &Config, data_dir: &Path) -> Vec<PathBuf> {
    let spill = config.spill_dir.clone().unwrap_or_else(|| data_dir.join("spill"));
    let audit = config.audit.as_ref().map(|audit| audit.directory.clone());
    let mut paths: Vec<PathBuf> = [spill].into_iter().chain(audit).collect();
    if let Some(path) = catalog_url(config, data_dir).strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//").split('?').next().unwrap_or_default();
        // SQLite's own files stand beside it.
        paths.extend(["", "-wal", "-shm", "-journal"].map(|end| PathBuf::from(format!("{path}{end}"))));
    }
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    paths.into_iter().map(absolute).collect()
}

/// The settings of nobody in particular.
fn initial_settings(config: &Config) -> Result<Settings> {
    let mut settings = Settings::new("", false);
    for (name, value) in &config.settings {
        settings.set_default(name, value)?;
    }
    Ok(settings)
}

/// Where new tables go. Servers that share a catalog must find each other's files, so all of them use one place.
async fn warehouse_location(
    config: &Config,
    database: &CatalogDatabase,
    catalog_url: &str,
    data_dir: &Path,
) -> Result<String> {
    let own = own_warehouse(config, data_dir);
    let location = match catalog_url.starts_with("postgres") {
        true => {
            let wanted = config.warehouse.as_ref().map(|_| own.as_str());
            database.shared_warehouse(wanted, &own).await?
        }
        false => own,
    };
    if location.starts_with("s3://") && config.s3.is_none() {
        return Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("the catalog keeps its tables in {location}, and access to S3 is not set up"),
        )
        .with_hint("Name it as the warehouse, with the settings of S3."));
    }
    Ok(location)
}

impl From<Arc<Inner>> for Warehouse {
    fn from(inner: Arc<Inner>) -> Self {
        Self { inner }
    }
}

/// The first start makes the database everybody connects to, and the one where PostgreSQL's tools look what databases there are.
async fn make_database(catalog: &Catalog) -> Result<()> {
    let snapshot = catalog.snapshot().await?;
    if snapshot.has_database(DEFAULT_DATABASE) || !snapshot.databases().is_empty() {
        return Ok(());
    }
    let mut transaction = catalog.begin(snapshot).await?;
    transaction.create_database(DEFAULT_DATABASE).await?;
    transaction.create_database(MAINTENANCE_DATABASE).await?;
    match transaction.commit().await {
        // Another server that shares the catalog started at the same moment.
        Err(error) if error.kind() == CatalogErrorKind::DuplicateDatabase => Ok(()),
        result => Ok(result.map(|_| ())?),
    }
}

/// What operators run with, and the answers that share its memory.
fn runtime_env(
    config: &Config,
    stores: &Stores,
    scan: &ParquetScan,
    spill_dir: &Path,
) -> Result<(Arc<RuntimeEnv>, Arc<Results>)> {
    let memory = usize::try_from(config.memory_limit_bytes).unwrap_or(usize::MAX);
    let named = std::num::NonZeroUsize::new(MEMORY_CONSUMERS_NAMED).expect("the constant is not zero");
    let queries = Arc::new(TrackConsumersPool::new(QueryPool::new(memory), named));
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill_dir.to_path_buf()]))
        .with_max_temp_directory_size(config.spill_limit_bytes);
    let shared = scan.share_memory(queries, config.memory_limit_bytes);
    let results = Results::new(shared, config.memory_limit_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(MemoryWithResults::new(&results)))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(stores.registry())
        .build_arc()?;
    Ok((runtime, results))
}

/// Makes a folder when it is missing, checks that it can be written, and gives its absolute path.
pub(crate) fn make_dir(path: &Path) -> Result<PathBuf> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::IoError,
            format!("could not use directory \"{}\": {error}", path.display()),
        )
    };
    std::fs::create_dir_all(path).map_err(failed)?;
    let path = path.canonicalize().map_err(failed)?;
    let probe = path.join(format!(".staffa-probe-{}", uuid::Uuid::now_v7()));
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(failed)?;
    Ok(path)
}
