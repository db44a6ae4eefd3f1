//! Images of the system catalogs: made once for each state and shared by the statements that ask.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use parking_lot::Mutex;
use staffa_catalog::{Catalog, CatalogSnapshot};
use staffa_planner::{
    CursorRow, Error, Image, ImageFacts, ObjectNumbers, Result, SessionRow, SessionRows, SettingRow, StatementRow,
    SystemTables,
};
use tokio::runtime::Handle;

use crate::activity::Activity;
use crate::session::Statements;
use crate::settings::Settings;
use crate::upkeep::{MaintenanceTable, Records};

/// Images that are kept: one for each database, role and session with temporary tables that asks now.
const IMAGES_MAX: usize = 16;

/// The images of one warehouse.
#[derive(Debug)]
pub(crate) struct Images {
    catalog: Catalog,
    /// Where the catalog database is spoken to; statements are planned elsewhere.
    runtime: Handle,
    /// Newest last. Held for a look-up or an insertion only.
    kept: Mutex<Vec<(Key, Arc<Image>)>>,
}

/// What an image is of.
#[derive(Clone, Debug)]
struct Key {
    state: State,
    database: String,
    user: String,
    temporary_schema: Option<String>,
}

#[derive(Clone, Debug)]
enum State {
    /// A committed one, by its number.
    Committed(u64),
    /// A transaction's own, which has no number.
    Own(Weak<CatalogSnapshot>),
}

impl Key {
    fn is_of(&self, other: &Key) -> bool {
        let same = match (&self.state, &other.state) {
            (State::Committed(number), State::Committed(other)) => number == other,
            (State::Own(state), State::Own(other)) => state.ptr_eq(other) && state.strong_count() > 0,
            _ => false,
        };
        same && self.database == other.database
            && self.user == other.user
            && self.temporary_schema == other.temporary_schema
    }
}

impl Images {
    pub(crate) fn new(catalog: Catalog, runtime: Handle) -> Self {
        Self {
            catalog,
            runtime,
            kept: Mutex::default(),
        }
    }

    async fn image(self: Arc<Self>, snapshot: Arc<CatalogSnapshot>, key: Key) -> Result<Arc<Image>> {
        let kept = self
            .kept
            .lock()
            .iter()
            .find(|(known, _)| known.is_of(&key))
            .map(|(_, image)| Arc::clone(image));
        if let Some(image) = kept {
            return Ok(image);
        }
        let roles = self.catalog.roles().await?;
        let first_role = self.catalog.first_role(&key.user).await?;
        let facts = ImageFacts {
            snapshot: &snapshot,
            database: &key.database,
            user: &key.user,
            roles: &roles,
            first_role: &first_role,
            temporary_schema: key.temporary_schema.as_deref(),
        };
        let image = Arc::new(Image::of(facts, &Numbers(&self.catalog)).await?);
        for relation in image.unreadable() {
            tracing::warn!(
                relation,
                "a relation cannot be read: the system catalogs show it without columns"
            );
        }
        let mut kept = self.kept.lock();
        kept.retain(|(known, _)| {
            // An older state of the same is not asked for again, but by transactions that still see it.
            known.database != key.database || known.user != key.user || known.temporary_schema != key.temporary_schema
        });
        if kept.len() >= IMAGES_MAX {
            kept.remove(0);
        }
        kept.push((key, Arc::clone(&image)));
        Ok(image)
    }
}

struct Numbers<'a>(&'a Catalog);

#[async_trait]
impl ObjectNumbers for Numbers<'_> {
    async fn numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        Ok(self.0.object_numbers(objects).await?)
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
    pub(crate) settings: Settings,
    pub(crate) cursors: Vec<CursorRow>,
    pub(crate) statements: Arc<Mutex<Statements>>,
    pub(crate) activity: Arc<Activity>,
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
        let snapshot = Arc::clone(&self.snapshot);
        let state = match snapshot.is_of_transaction() {
            true => State::Own(Arc::downgrade(&snapshot)),
            false => State::Committed(snapshot.csn()),
        };
        let key = Key {
            state,
            database: self.database.clone(),
            user: self.user.clone(),
            temporary_schema: snapshot
                .has_schema(&self.database, &self.temporary_schema)
                .then(|| self.temporary_schema.clone()),
        };
        let image = Arc::clone(&self.images).image(snapshot, key);
        let image = self.images.runtime.spawn(image).await;
        image.map_err(|error| Error::internal(format!("reading the system catalogs was stopped: {error}")))?
    }

    fn session(&self) -> Option<Arc<dyn SessionRows>> {
        Some(Arc::new(Facts {
            settings: self.settings.clone(),
            cursors: self.cursors.clone(),
            statements: Arc::clone(&self.statements),
            activity: Arc::clone(&self.activity),
        }))
    }

    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        if (schema, name) == ("staffa", "maintenance") {
            let records = Arc::clone(&self.records);
            let table = MaintenanceTable::new(records, &self.database, self.settings.time_zone());
            return Some(Arc::new(table));
        }
        None
    }
}

struct Facts {
    settings: Settings,
    cursors: Vec<CursorRow>,
    statements: Arc<Mutex<Statements>>,
    activity: Arc<Activity>,
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

    fn sessions(&self) -> Vec<SessionRow> {
        self.activity.rows()
    }
}
