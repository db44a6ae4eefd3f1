//! Images of the system catalogs: made once for each state and shared by the statements that ask.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use parking_lot::Mutex;
use staffa_catalog::{Access, Catalog, CatalogSnapshot};
use staffa_planner::{
    CursorRow, Error, Image, ImageFacts, LoginRuleRow, ObjectNumbers, Parts, Result, Roles, SessionRow, SessionRows,
    SettingRow, StatementRow, SystemTables,
};
use staffa_storage::ParquetScan;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::activity::Activity;
use crate::audit::AuditTable;
use crate::caches::CacheTable;
use crate::masks::MasksTable;
use crate::queries::QueriesTable;
use crate::register::Register;
use crate::session::Statements;
use crate::settings::Settings;
use crate::upkeep::{MaintenanceTable, Records};
use crate::warehouse::Warehouse;

/// Images that are kept: one for each state and database that is asked about now, and for each session with temporary tables.
const IMAGES_MAX: usize = 16;

/// The images of one warehouse.
#[derive(Debug)]
pub(crate) struct Images {
    database: CatalogTables,
    parts: Parts,
    /// Used last at the end. Held for a look-up or an insertion only.
    kept: Mutex<Vec<Kept>>,
}

/// An image that is there, or that somebody makes while others wait for it.
#[derive(Debug)]
struct Kept {
    key: Key,
    image: Arc<OnceCell<Arc<Image>>>,
}

/// What an image is of.
#[derive(Clone, Debug)]
struct Key {
    /// A state nobody holds is not asked about again.
    snapshot: Weak<CatalogSnapshot>,
    /// Its number; a transaction's own has none.
    csn: Option<u64>,
    database: String,
    temporary_schema: Option<String>,
}

impl Key {
    fn is_of(&self, other: &Key) -> bool {
        let same = match (self.csn, other.csn) {
            (Some(number), Some(other)) => number == other,
            (None, None) => self.snapshot.ptr_eq(&other.snapshot),
            _ => false,
        };
        same && self.database == other.database && self.temporary_schema == other.temporary_schema
    }
}

impl Images {
    pub(crate) fn new(catalog: Catalog, runtime: Handle) -> Self {
        Self {
            database: CatalogTables { catalog, runtime },
            parts: Parts::default(),
            kept: Mutex::default(),
        }
    }

    /// The image of a state: made once, however many ask at the same time.
    async fn image(&self, snapshot: &CatalogSnapshot, key: Key) -> Result<Arc<Image>> {
        let (database, temporary_schema) = (key.database.clone(), key.temporary_schema.clone());
        // Most of a new image is in an old one: those that go stay until it is made.
        let (place, _old) = self.place(key);
        let make = || async {
            let facts = ImageFacts {
                snapshot,
                database: &database,
                temporary_schema: temporary_schema.as_deref(),
            };
            let image = Image::of(facts, &self.parts, &self.database).await?;
            for relation in image.unreadable() {
                tracing::warn!(
                    relation,
                    "a relation cannot be read: the system catalogs show it without columns"
                );
            }
            Ok::<_, Error>(Arc::new(image))
        };
        place.get_or_try_init(make).await.cloned()
    }

    /// Where the image is, or will be, and those that make room for it.
    fn place(&self, key: Key) -> (Arc<OnceCell<Arc<Image>>>, Vec<Kept>) {
        let mut all = self.kept.lock();
        if let Some(at) = all.iter().position(|kept| kept.key.is_of(&key)) {
            let found = Kept { key, ..all.remove(at) };
            let image = Arc::clone(&found.image);
            all.push(found);
            return (image, Vec::new());
        }
        let (mut kept, mut old): (Vec<Kept>, Vec<Kept>) =
            all.drain(..).partition(|kept| kept.key.snapshot.strong_count() > 0);
        if kept.len() >= IMAGES_MAX {
            old.push(kept.remove(0));
        }
        let image = Arc::default();
        kept.push(Kept {
            key,
            image: Arc::clone(&image),
        });
        *all = kept;
        (image, old)
    }
}

/// The catalog database, which is spoken to on the runtime it was opened on; statements are planned elsewhere.
#[derive(Debug)]
struct CatalogTables {
    catalog: Catalog,
    runtime: Handle,
}

impl CatalogTables {
    async fn ask<T, W>(&self, work: impl FnOnce(Catalog) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let answer = self.runtime.spawn(work(self.catalog.clone())).await;
        answer.map_err(|error| Error::internal(format!("reading the system catalogs was stopped: {error}")))?
    }

    async fn roles(&self, user: &str, database: &str, access: &Access) -> Result<Roles> {
        Roles::of(user, database, access, self).await
    }
}

#[async_trait]
impl ObjectNumbers for CatalogTables {
    async fn numbers(&self, objects: &[String], last: bool) -> Result<Vec<u32>> {
        let objects = objects.to_vec();
        self.ask(move |catalog| async move {
            Ok(match last {
                true => catalog.object_numbers(&objects).await?,
                false => catalog.passing_numbers(&objects).await?,
            })
        })
        .await
    }
}

/// The system catalogs for one statement.
pub(crate) struct SystemCatalog {
    pub(crate) images: Arc<Images>,
    pub(crate) snapshot: Arc<CatalogSnapshot>,
    pub(crate) database: String,
    pub(crate) user: String,
    /// The schema of the session's temporary tables, which need not exist.
    pub(crate) temporary_schema: String,
    /// What upkeep did.
    pub(crate) records: Arc<Records>,
    /// Who has the caches.
    pub(crate) scan: Arc<ParquetScan>,
    pub(crate) settings: Settings,
    pub(crate) cursors: Vec<CursorRow>,
    pub(crate) statements: Arc<Mutex<Statements>>,
    pub(crate) activity: Arc<Activity>,
    /// What runs and ran.
    pub(crate) register: Arc<Register>,
    pub(crate) warehouse: Warehouse,
}

impl fmt::Debug for SystemCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemCatalog")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SystemTables for SystemCatalog {
    async fn image(&self) -> Result<Arc<Image>> {
        let snapshot = &self.snapshot;
        let key = Key {
            snapshot: Arc::downgrade(snapshot),
            csn: (!snapshot.is_of_transaction()).then(|| snapshot.csn()),
            database: self.database.clone(),
            temporary_schema: snapshot
                .has_schema(&self.database, &self.temporary_schema)
                .then(|| self.temporary_schema.clone()),
        };
        self.images.image(snapshot, key).await
    }

    async fn roles(&self) -> Result<Arc<Roles>> {
        let access = self.snapshot.access();
        let roles = self.images.database.roles(&self.user, &self.database, access).await;
        roles.map(Arc::new)
    }

    /// Looking them up writes nothing: an object that has no number yet keeps the one it gets here.
    async fn numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        self.images.database.numbers(objects, false).await
    }

    fn session(&self) -> Option<Arc<dyn SessionRows>> {
        Some(Arc::new(Facts {
            settings: self.settings.clone(),
            cursors: self.cursors.clone(),
            statements: Arc::clone(&self.statements),
            activity: Arc::clone(&self.activity),
            warehouse: self.warehouse.clone(),
        }))
    }

    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        if (schema, name) == ("staffa", "maintenance") {
            let records = Arc::clone(&self.records);
            let table = MaintenanceTable::new(records, &self.database, self.settings.time_zone());
            return Some(Arc::new(table));
        }
        if (schema, name) == ("staffa", "queries") {
            let (access, zone) = (self.snapshot.access().clone(), self.settings.time_zone());
            return Some(Arc::new(QueriesTable::new(
                Arc::clone(&self.register),
                access,
                &self.user,
                zone,
            )));
        }
        if (schema, name) == ("staffa", "audit") {
            let audit = self.warehouse.audit().cloned();
            return Some(Arc::new(AuditTable::new(audit, self.settings.time_zone())));
        }
        if (schema, name) == ("staffa", "masking_policies") {
            let masks = MasksTable::new(&self.snapshot, &self.database, &self.user);
            return Some(Arc::new(masks));
        }
        if (schema, name) == ("staffa", "cache") {
            return Some(Arc::new(CacheTable::new(
                Arc::clone(&self.scan),
                Arc::clone(self.warehouse.results()),
            )));
        }
        None
    }
}

struct Facts {
    settings: Settings,
    cursors: Vec<CursorRow>,
    statements: Arc<Mutex<Statements>>,
    activity: Arc<Activity>,
    warehouse: Warehouse,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").finish_non_exhaustive()
    }
}

impl SessionRows for Facts {
    fn cursors(&self) -> Vec<CursorRow> {
        self.cursors.clone()
    }

    fn statements(&self) -> Vec<StatementRow> {
        self.statements.lock().rows()
    }

    fn settings(&self) -> Vec<SettingRow> {
        self.settings.rows()
    }

    fn login_rules(&self) -> Vec<LoginRuleRow> {
        self.warehouse.login_rules()
    }

    fn sessions(&self) -> Vec<SessionRow> {
        self.activity.rows()
    }
}
