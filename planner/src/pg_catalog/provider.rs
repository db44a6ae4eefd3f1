//! System relations as tables of a query.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{SchemaRef, i256};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use staffa_catalog::SqlType;

use super::facts::{self, DumpedRows, SystemRelation};
use super::rows::{Cell, Rows};
use super::view::CatalogView;
use super::{information, relations};
use crate::error::{Error, Result};
use crate::statement::CursorOptions;
use crate::value::type_oid;

/// What the session that asks, and its server, have to show.
pub trait SessionRows: Send + Sync + fmt::Debug {
    /// `pg_settings`
    fn settings(&self) -> Vec<SettingRow>;

    /// `pg_cursors`
    fn cursors(&self) -> Vec<CursorRow>;

    /// `pg_prepared_statements`
    fn statements(&self) -> Vec<StatementRow>;

    /// `pg_hba_file_rules`: who may log in from where, and how.
    fn login_rules(&self) -> Vec<LoginRuleRow>;

    /// `pg_stat_activity`: every session of this server.
    fn sessions(&self) -> Vec<SessionRow>;
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
    /// Whether only superusers can.
    pub for_superusers: bool,
}

/// A row of `pg_hba_file_rules`: a rule, or what is wrong with a line.
#[derive(Clone, Debug, Default)]
pub struct LoginRuleRow {
    pub line: i32,
    pub kind: Option<String>,
    pub databases: Option<Vec<String>>,
    pub users: Option<Vec<String>>,
    pub address: Option<String>,
    pub netmask: Option<String>,
    pub method: Option<String>,
    pub options: Option<Vec<String>>,
    pub error: Option<String>,
}

/// A row of `pg_prepared_statements`.
#[derive(Clone, Debug)]
pub struct StatementRow {
    pub name: String,
    pub statement: String,
    pub since: DateTime<Utc>,
    pub parameters: Vec<SqlType>,
    /// By PREPARE, not by a client's protocol.
    pub by_sql: bool,
}

/// A row of `pg_stat_activity`. Times are microseconds since 1970.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub pid: i32,
    pub user: String,
    pub database: String,
    pub application_name: String,
    pub client_address: Option<String>,
    pub client_port: Option<i32>,
    pub encryption: Option<Encryption>,
    pub backend_start: i64,
    pub xact_start: Option<i64>,
    pub query_start: Option<i64>,
    pub state_change: i64,
    pub state: &'static str,
    /// What it waits for, by type and name.
    pub wait: Option<(&'static str, &'static str)>,
    pub query_id: Option<i64>,
    pub query: String,
}

/// How a connection is encrypted, in OpenSSL's words.
#[derive(Clone, Debug)]
pub struct Encryption {
    pub version: String,
    pub cipher: String,
    pub bits: i32,
    /// What the client has proved to have.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate, its names as PostgreSQL writes them.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    pub subject: String,
    /// `None`: longer than certificates may have it.
    pub serial: Option<i256>,
    pub issuer: String,
}

/// A row of `pg_cursors`.
#[derive(Clone, Debug)]
pub struct CursorRow {
    pub name: String,
    pub statement: String,
    pub options: CursorOptions,
    pub created: DateTime<Utc>,
}

/// A relation of `pg_catalog` or `information_schema`, for one statement.
pub(crate) struct SystemTable {
    pub(crate) relation: &'static SystemRelation,
    /// `None` where the rows are PostgreSQL's own, or the session's.
    view: Option<Arc<CatalogView>>,
    session: Option<Arc<dyn SessionRows>>,
    known: Arc<HashSet<String>>,
}

impl SystemTable {
    /// The relation of this name, if PostgreSQL has one.
    pub(crate) fn named(
        schema: &str,
        name: &str,
        view: Option<Arc<CatalogView>>,
        session: Option<&Arc<dyn SessionRows>>,
        state: &SessionState,
    ) -> Option<Self> {
        Some(Self {
            relation: facts::relation(schema, name)?,
            view,
            session: session.cloned(),
            known: known_functions(state),
        })
    }

    /// Whether only superusers may look.
    pub(crate) fn is_hidden(&self) -> bool {
        super::is_hidden(self.relation.name)
    }

    /// All rows. What depends on the catalog alone is made once.
    fn batches(&self) -> Result<Vec<RecordBatch>> {
        if let Some(rows) = self.session_rows()? {
            return Ok(vec![rows]);
        }
        if !needs_catalog(self.relation) {
            let rows = dumped(self.relation, &self.known)?;
            return Ok(vec![rows.unwrap_or_else(|| self.no_rows())]);
        }
        let view = self.view()?;
        // Texts that are written by the search path are the view's.
        let by_path = matches!(self.relation.name, "pg_indexes" | "pg_matviews" | "pg_views" | "views");
        let (relation, user) = (self.relation.oid, view.user().oid);
        let kept = (!by_path).then(|| view.image.kept(relation, user));
        if let Some(kept) = kept.flatten() {
            return Ok(kept);
        }
        let mut batches = Vec::new();
        if self.relation.name == "pg_proc"
            && let Some(rows) = dumped(self.relation, &self.known)?
        {
            return Ok(vec![
                relations::with_grants(view, self.relation, &rows)?.unwrap_or(rows),
            ]);
        }
        if self.relation.schema == "information_schema" {
            batches.extend(information::rows(view, self.relation)?);
        } else {
            batches.extend(dumped(self.relation, &self.known)?);
            batches.extend(relations::rows(view, self.relation)?);
        }
        if batches.is_empty() {
            batches.push(self.no_rows());
        }
        // Roles come and go without a new state of the catalog.
        if !by_path && !relations::OF_ROLES.contains(&self.relation.name) {
            view.image.keep(relation, user, &batches);
        }
        Ok(batches)
    }

    fn view(&self) -> Result<&CatalogView> {
        let view = self.view.as_deref();
        view.ok_or_else(|| Error::internal(format!("{} was read without the catalog", self.relation.name)))
    }

    fn no_rows(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(&self.relation.arrow))
    }

    fn session_rows(&self) -> Result<Option<RecordBatch>> {
        let Some(session) = &self.session else {
            return Ok(None);
        };
        match self.relation.name {
            "pg_settings" => settings(self.relation, session.settings()).map(Some),
            "pg_prepared_statements" => statements(self.relation, session.statements()).map(Some),
            "pg_cursors" => cursors(self.relation, session.cursors()).map(Some),
            "pg_hba_file_rules" => login_rules(self.relation, session.login_rules()).map(Some),
            "pg_stat_activity" => activity(self.relation, self.view()?, session.sessions()).map(Some),
            "pg_stat_ssl" => encryption(self.relation, self.view()?, session.sessions()).map(Some),
            _ => Ok(None),
        }
    }
}

/// Whether a relation shows what is in the database, or names objects.
pub(crate) fn needs_catalog(relation: &SystemRelation) -> bool {
    let names = |ty: &SqlType| matches!(ty, SqlType::System(ty) if ty.is_reg());
    relation.schema == "information_schema"
        || matches!(relation.name, "pg_stat_activity" | "pg_stat_ssl" | "pg_statistic")
        || relations::OF_OBJECTS.contains(&relation.name)
        || relations::OF_ROLES.contains(&relation.name)
        || relation.columns.iter().any(|column| names(&column.ty))
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
pub(crate) fn known_functions(state: &SessionState) -> Arc<HashSet<String>> {
    static KNOWN: OnceLock<Arc<HashSet<String>>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let mut known: HashSet<String> = state.scalar_functions().keys().cloned().collect();
        known.extend(state.aggregate_functions().keys().cloned());
        known.extend(state.window_functions().keys().cloned());
        known.extend(crate::function::session_function_names().map(str::to_owned));
        let by_form = [
            crate::rewrite::FUNCTIONS_BY_FORM,
            crate::rewrite::JSON_FUNCTIONS_BY_FORM,
        ];
        known.extend(by_form.into_iter().flatten().map(|name| (*name).to_owned()));
        Arc::new(known)
    });
    Arc::clone(known)
}

fn login_rules(relation: &'static SystemRelation, rules: Vec<LoginRuleRow>) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "line_number",
            "type",
            "database",
            "user_name",
            "address",
            "netmask",
            "auth_method",
            "options",
            "error",
        ],
    )?;
    for rule in &rules {
        let list = |names: &Option<Vec<String>>| names.clone().map_or(Cell::Null, Cell::Texts);
        rows.push([
            rule.line.into(),
            Cell::text(rule.kind.as_deref()),
            list(&rule.databases),
            list(&rule.users),
            Cell::text(rule.address.as_deref()),
            Cell::text(rule.netmask.as_deref()),
            Cell::text(rule.method.as_deref()),
            list(&rule.options),
            Cell::text(rule.error.as_deref()),
        ]);
    }
    rows.finish()
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
            "extra_desc",
            "context",
            "vartype",
            "source",
            "min_val",
            "max_val",
            "enumvals",
            "boot_val",
            "reset_val",
            "pending_restart",
        ],
    )?;
    let known = setting_facts();
    for setting in settings {
        let row = known.and_then(|(rows, places)| Some((rows, *places.get(&*setting.name)?)));
        // What PostgreSQL says of a setting of its own.
        let fact = |column: &str| {
            let (rows, row) = row?;
            Some(rows.text(row, column)).filter(|text| *text != "\\N")
        };
        let said = |column: &str| fact(column).map(facts::unescaped);
        let words = fact("enumvals").map(|words| words.trim_matches(['{', '}']).split(','));
        let source = if setting.value == setting.default {
            "default"
        } else {
            "session"
        };
        rows.push([
            (&setting.name).into(),
            setting.value.into(),
            if row.is_some() { fact("unit") } else { setting.unit }.into(),
            fact("category").unwrap_or("Customized Options").into(),
            said("short_desc").unwrap_or(setting.description).into(),
            said("extra_desc").into(),
            fact("context")
                .unwrap_or(match (setting.can_change, setting.for_superusers) {
                    (false, _) => "internal",
                    (true, true) => "superuser",
                    (true, false) => "user",
                })
                .into(),
            fact("vartype").unwrap_or(setting.kind).into(),
            source.into(),
            fact("min_val").into(),
            fact("max_val").into(),
            words
                .map(|words| Cell::Texts(words.map(str::to_owned).collect()))
                .unwrap_or(Cell::Null),
            if row.is_some() {
                fact("boot_val").into()
            } else {
                (&setting.default).into()
            },
            (&setting.default).into(),
            false.into(),
        ]);
    }
    rows.finish()
}

/// What PostgreSQL says of its settings, and the row of each.
fn setting_facts() -> Option<&'static (DumpedRows, HashMap<&'static str, usize>)> {
    static FACTS: LazyLock<Option<(DumpedRows, HashMap<&'static str, usize>)>> = LazyLock::new(|| {
        let rows = DumpedRows::of("pg_settings")?;
        let places = (0..rows.len()).map(|row| (rows.text(row, "name"), row)).collect();
        Some((rows, places))
    });
    FACTS.as_ref()
}

fn statements(relation: &'static SystemRelation, statements: Vec<StatementRow>) -> Result<RecordBatch> {
    let columns = ["name", "statement", "prepare_time", "parameter_types", "from_sql"];
    let mut rows = Rows::of(relation, columns)?;
    for statement in statements {
        rows.push([
            statement.name.into(),
            statement.statement.into(),
            Cell::Time(statement.since.timestamp_micros()),
            Cell::Oids(statement.parameters.iter().map(type_oid).collect()),
            statement.by_sql.into(),
        ]);
    }
    rows.finish()
}

fn cursors(relation: &'static SystemRelation, cursors: Vec<CursorRow>) -> Result<RecordBatch> {
    let columns = [
        "name",
        "statement",
        "is_holdable",
        "is_binary",
        "is_scrollable",
        "creation_time",
    ];
    let mut rows = Rows::of(relation, columns)?;
    for cursor in cursors {
        rows.push([
            cursor.name.into(),
            cursor.statement.into(),
            cursor.options.hold.into(),
            cursor.options.binary.into(),
            cursor.options.scroll.into(),
            Cell::Time(cursor.created.timestamp_micros()),
        ]);
    }
    rows.finish()
}

fn activity(relation: &'static SystemRelation, view: &CatalogView, sessions: Vec<SessionRow>) -> Result<RecordBatch> {
    let columns = [
        "datid",
        "datname",
        "pid",
        "usesysid",
        "usename",
        "application_name",
        "client_addr",
        "client_port",
        "backend_start",
        "xact_start",
        "query_start",
        "state_change",
        "wait_event_type",
        "wait_event",
        "state",
        "query_id",
        "query",
        "backend_type",
    ];
    let mut rows = Rows::of(relation, columns)?;
    let image = &view.image;
    for session in sessions {
        let datid = image
            .databases
            .iter()
            .find(|known| known.name == session.database)
            .map(|known| known.oid);
        let role = view.roles.named(&session.user).map(|known| known.oid);
        let shown = view.roles.access.may_watch(&view.roles.user.name, &session.user);
        let wait = session.wait.filter(|_| shown);
        rows.push([
            datid.into(),
            session.database.into(),
            session.pid.into(),
            role.into(),
            session.user.into(),
            session.application_name.into(),
            session.client_address.filter(|_| shown).into(),
            session.client_port.filter(|_| shown).into(),
            if shown {
                Cell::Time(session.backend_start)
            } else {
                Cell::Null
            },
            session.xact_start.filter(|_| shown).map_or(Cell::Null, Cell::Time),
            session.query_start.filter(|_| shown).map_or(Cell::Null, Cell::Time),
            if shown {
                Cell::Time(session.state_change)
            } else {
                Cell::Null
            },
            wait.map(|(kind, _)| kind).into(),
            wait.map(|(_, event)| event).into(),
            shown.then_some(session.state).into(),
            session.query_id.filter(|_| shown).map_or(Cell::Null, Cell::Big),
            if shown {
                session.query
            } else {
                "<insufficient privilege>".to_owned()
            }
            .into(),
            "client backend".into(),
        ]);
    }
    rows.finish()
}

/// Of connections. What those of others are like only who may watch them sees.
fn encryption(relation: &'static SystemRelation, view: &CatalogView, sessions: Vec<SessionRow>) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "pid",
            "ssl",
            "version",
            "cipher",
            "bits",
            "client_dn",
            "client_serial",
            "issuer_dn",
        ],
    )?;
    for session in sessions.iter().filter(|session| session.client_port.is_some()) {
        let shown = view.roles.access.may_watch(&view.roles.user.name, &session.user);
        let encryption = session.encryption.as_ref().filter(|_| shown);
        let client = encryption.and_then(|it| it.client.as_ref());
        rows.push([
            session.pid.into(),
            shown.then_some(encryption.is_some()).into(),
            encryption.map(|it| &it.version).into(),
            encryption.map(|it| &it.cipher).into(),
            encryption.map(|it| it.bits).into(),
            client.map(|it| &it.subject).into(),
            client.and_then(|it| it.serial).into(),
            client.map(|it| &it.issuer).into(),
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
