//! System relations as tables of a query.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use super::facts::{self, SystemRelation};
use super::rows::{Cell, Rows};
use super::view::CatalogView;
use super::{information, relations};
use crate::error::Result;

/// What the session that asks, and its server, have to show.
pub trait SessionRows: Send + Sync + fmt::Debug {
    /// `pg_settings`
    fn settings(&self) -> Vec<SettingRow>;

    /// `pg_stat_activity`: number, user and database of every session of this server.
    fn sessions(&self) -> Vec<(i32, String, String)>;
}

/// A row of `pg_settings`.
#[derive(Clone, Debug)]
pub struct SettingRow {
    pub name: String,
    pub value: String,
    pub default: String,
    pub description: String,
    /// `bool`, `integer`, `real`, `string`, `enum`
    pub kind: &'static str,
    pub unit: Option<&'static str>,
    /// Whether SET can change it.
    pub can_change: bool,
}

/// A relation of `pg_catalog` or `information_schema`, for one statement.
pub(crate) struct SystemTable {
    pub(crate) relation: &'static SystemRelation,
    view: Arc<CatalogView>,
    session: Option<Arc<dyn SessionRows>>,
    known: Arc<HashSet<String>>,
}

impl SystemTable {
    /// The relation of this name, if PostgreSQL has one.
    pub(crate) fn named(
        schema: &str,
        name: &str,
        view: &Arc<CatalogView>,
        session: Option<&Arc<dyn SessionRows>>,
        state: &SessionState,
    ) -> Option<Self> {
        Some(Self {
            relation: facts::relation(schema, name)?,
            view: Arc::clone(view),
            session: session.cloned(),
            known: known_functions(state),
        })
    }

    /// All rows. What depends on the catalog alone is made once.
    fn batches(&self) -> Result<Vec<RecordBatch>> {
        if let Some(rows) = self.session_rows()? {
            return Ok(vec![rows]);
        }
        // Texts that are written by the search path are the view's.
        let by_path = matches!(self.relation.name, "pg_indexes" | "pg_views");
        let kept = (!by_path).then(|| self.view.image.batches.lock().get(&self.relation.oid).cloned());
        if let Some(kept) = kept.flatten() {
            return Ok(kept);
        }
        let mut batches = Vec::new();
        if self.relation.schema == "information_schema" {
            batches.extend(information::rows(&self.view, self.relation)?);
        } else {
            batches.extend(dumped(self.relation, &self.known)?);
            batches.extend(relations::rows(&self.view, self.relation)?);
        }
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(Arc::clone(&self.relation.arrow)));
        }
        self.view
            .image
            .batches
            .lock()
            .insert(self.relation.oid, batches.clone());
        Ok(batches)
    }

    fn session_rows(&self) -> Result<Option<RecordBatch>> {
        let Some(session) = &self.session else {
            return Ok(None);
        };
        match self.relation.name {
            "pg_settings" => settings(self.relation, session.settings()).map(Some),
            "pg_stat_activity" => activity(self.relation, &self.view, session.sessions()).map(Some),
            _ => Ok(None),
        }
    }
}

/// Dumped rows never change while the server runs.
fn dumped(relation: &'static SystemRelation, known: &HashSet<String>) -> Result<Option<RecordBatch>> {
    static KEPT: Mutex<Vec<(u32, Option<RecordBatch>)>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock();
    if let Some((_, rows)) = kept.iter().find(|(oid, _)| *oid == relation.oid) {
        return Ok(rows.clone());
    }
    let rows = relations::dumped(relation, known)?;
    kept.push((relation.oid, rows.clone()));
    Ok(rows)
}

/// The names of all functions a statement can call.
fn known_functions(state: &SessionState) -> Arc<HashSet<String>> {
    static KNOWN: OnceLock<Arc<HashSet<String>>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let mut known: HashSet<String> = state.scalar_functions().keys().cloned().collect();
        known.extend(state.aggregate_functions().keys().cloned());
        known.extend(state.window_functions().keys().cloned());
        known.extend(crate::function::session_function_names().map(str::to_owned));
        known.extend(crate::rewrite::FUNCTIONS_BY_FORM.iter().map(|name| (*name).to_owned()));
        for refused in crate::rewrite::FUNCTIONS_REFUSED {
            known.remove(*refused);
        }
        Arc::new(known)
    });
    Arc::clone(known)
}

fn settings(relation: &'static SystemRelation, settings: Vec<SettingRow>) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "name",
            "setting",
            "unit",
            "category",
            "short_desc",
            "context",
            "vartype",
            "source",
            "boot_val",
            "reset_val",
            "pending_restart",
        ],
    )?;
    for setting in settings {
        let source = if setting.value == setting.default {
            "default"
        } else {
            "session"
        };
        rows.push([
            setting.name.into(),
            setting.value.into(),
            Cell::text(setting.unit),
            "Client Connection Defaults".into(),
            setting.description.into(),
            if setting.can_change { "user" } else { "internal" }.into(),
            setting.kind.into(),
            source.into(),
            (&setting.default).into(),
            (&setting.default).into(),
            false.into(),
        ]);
    }
    rows.finish()
}

fn activity(
    relation: &'static SystemRelation,
    view: &CatalogView,
    sessions: Vec<(i32, String, String)>,
) -> Result<RecordBatch> {
    let columns = [
        "datid",
        "datname",
        "pid",
        "usesysid",
        "usename",
        "application_name",
        "backend_type",
    ];
    let mut rows = Rows::of(relation, columns)?;
    let image = &view.image;
    for (pid, user, database) in sessions {
        let datid = image
            .databases
            .iter()
            .find(|known| known.name == database)
            .map(|known| known.oid);
        let role = image
            .roles
            .iter()
            .find(|known| known.name == user)
            .map(|known| known.oid);
        rows.push([
            datid.into(),
            database.into(),
            pid.into(),
            role.into(),
            user.into(),
            "".into(),
            "client backend".into(),
        ]);
    }
    rows.finish()
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable")
            .field("relation", &self.relation.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.arrow)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let plan = MemorySourceConfig::try_new_exec(&[self.batches()?], self.schema(), projection.cloned())?;
        Ok(plan)
    }
}
