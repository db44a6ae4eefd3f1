//! The warehouse: catalog, stores, memory and threads behind one cheap handle.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use staffa_catalog::{Catalog, CatalogDatabase, ErrorKind as CatalogErrorKind};
use staffa_planner::{Error, ErrorKind, LoginRuleRow, Result, base_session_state, operators_state};
use staffa_storage::{ParquetScan, StoreOptions, Stores, WriteOptions};

use crate::access;
use crate::activity::Activity;
use crate::advisory::AdvisoryLocks;
use crate::audit::{Audit, Event};
use crate::config::{Config, Maintenance};
use crate::cpu::CpuRuntime;
use crate::memory::watchdog;
use crate::objects::StoreObjects;
use crate::pg_catalog::Images;
use crate::plans::Plans;
use crate::queue::Queue;
use crate::register::Register;
use crate::sequences::Sequences;
use crate::session::{Session, SessionOptions};
use crate::settings::Settings;
use crate::upkeep::{Records, Upkeep};

/// The database and the role that exist from the first start.
pub const DEFAULT_DATABASE: &str = "staffa";
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
    planning: CpuRuntime,
    cpu: CpuRuntime,
    write_options: WriteOptions,
    memory_limit_bytes: u64,
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
        let spill_dir = make_dir(&config.spill_dir.clone().unwrap_or_else(|| data_dir.join("spill")))?;
        let catalog_url = match &config.catalog {
            Some(url) => url.reveal().to_owned(),
            None => format!("sqlite:{}", data_dir.join("catalog.db").display()),
        };
        let database = CatalogDatabase::open(&catalog_url).await?;
        let warehouse = warehouse_location(&config, &database, &catalog_url, &data_dir).await?;
        let mut local_roots = vec![data_dir.clone()];
        let mut remote_roots = Vec::new();
        match warehouse.strip_prefix("file://") {
            Some(path) => local_roots.push(make_dir(Path::new(path))?),
            None => remote_roots.push(warehouse.clone()),
        }
        local_roots.extend(config.allowed_paths.iter().cloned());
        let stores = Stores::new(StoreOptions {
            local_roots,
            remote_roots,
            s3: config.s3.clone(),
            range_cache_bytes: config.range_cache_bytes,
            chunk_cache_bytes: config.column_cache_bytes.unwrap_or(config.memory_limit_bytes / 2),
            io: Some(tokio::runtime::Handle::current()),
        })?;
        let catalog = Catalog::over(database, &warehouse, Arc::new(StoreObjects(stores.clone())))?;
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
        let runtime = runtime_env(&config, &stores, &scan, &spill_dir)?;
        let base = Arc::new(base_session_state(runtime, staffa_planner::session_config(threads)));
        let inner = Inner {
            scan: Arc::new(scan),
            operators: Arc::new(operators_state(&base)),
            plans: Plans::new(),
            base,
            planning: CpuRuntime::start("staffa-plan", PLANNING_THREADS)?,
            cpu: CpuRuntime::start("staffa-cpu", threads)?,
            write_options: WriteOptions {
                target_file_bytes: config.target_file_bytes,
                ..WriteOptions::default()
            },
            memory_limit_bytes: config.memory_limit_bytes,
            memory_ceiling_bytes: config.memory_ceiling(),
            next_backend: AtomicI32::new(1),
            sequences: Arc::new(Sequences::new(catalog.clone(), tokio::runtime::Handle::current())),
            images: Arc::new(Images::new(catalog.clone(), tokio::runtime::Handle::current())),
            activity: Arc::default(),
            register: Arc::default(),
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
        let upkeep = Upkeep::start(&Arc::downgrade(&inner), config.maintenance.as_ref())?;
        watchdog::start(Arc::downgrade(&inner), config.memory_ceiling())?;
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

    pub(crate) fn base(&self) -> &Arc<SessionState> {
        &self.inner.base
    }

    /// Where statements are planned.
    pub(crate) fn planning(&self) -> &CpuRuntime {
        &self.inner.planning
    }

    /// Where operators run.
    pub(crate) fn cpu(&self) -> &CpuRuntime {
        &self.inner.cpu
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

    /// Gives back memory that only makes queries faster.
    pub(crate) fn release_caches(&self, bytes: u64) {
        self.scan.release_memory(bytes);
    }
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
    let wanted = config
        .warehouse
        .as_deref()
        .map(|location| location.trim_end_matches('/'));
    let own = format!("file://{}", data_dir.join("warehouse").display());
    let location = match catalog_url.starts_with("postgres") {
        true => database.shared_warehouse(wanted, &own).await?,
        false => wanted.unwrap_or(&own).to_owned(),
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

/// The first start makes the database everybody connects to.
async fn make_database(catalog: &Catalog) -> Result<()> {
    let snapshot = catalog.snapshot().await?;
    if snapshot.has_database(DEFAULT_DATABASE) || !snapshot.databases().is_empty() {
        return Ok(());
    }
    let mut transaction = catalog.begin(snapshot).await?;
    transaction.create_database(DEFAULT_DATABASE).await?;
    match transaction.commit().await {
        // Another server that shares the catalog started at the same moment.
        Err(error) if error.kind() == CatalogErrorKind::DuplicateDatabase => Ok(()),
        result => Ok(result.map(|_| ())?),
    }
}

fn runtime_env(config: &Config, stores: &Stores, scan: &ParquetScan, spill_dir: &Path) -> Result<Arc<RuntimeEnv>> {
    let memory = usize::try_from(config.memory_limit_bytes).unwrap_or(usize::MAX);
    let named = std::num::NonZeroUsize::new(MEMORY_CONSUMERS_NAMED).expect("the constant is not zero");
    let queries = Arc::new(TrackConsumersPool::new(FairSpillPool::new(memory), named));
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill_dir.to_path_buf()]))
        .with_max_temp_directory_size(config.spill_limit_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(scan.share_memory(queries, config.memory_limit_bytes))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(stores.registry())
        .build_arc()?;
    Ok(runtime)
}

/// Makes a folder when it is missing, checks that it can be written, and gives its absolute path.
fn make_dir(path: &Path) -> Result<std::path::PathBuf> {
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
