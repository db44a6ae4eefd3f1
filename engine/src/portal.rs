//! Portals of a session: what Bind and DECLARE make, and Execute, FETCH and MOVE read from. They share their names.
//!
//! A portal belongs to the transaction it was made in, and to the savepoint it came after. One that was declared WITH HOLD
//! reads all its rows when its transaction commits, and stays.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use staffa_planner::value::Format;
use staffa_planner::{CursorOptions, CursorRow, Error, ErrorKind, Movement, OutputColumn, Result};
use tokio::sync::Mutex;

mod scan;
mod store;

pub(crate) use self::scan::Scan;
use self::scan::Way;
use crate::cancel::StatementGuard;
use crate::outcome::Outcome;
use crate::register::Sent;
use crate::session::{Prepared, Session, changed_plan, same_columns};
use crate::stream::RowStream;

/// Portals one session may have: each can hold a running query.
const PORTALS_MAX: usize = 1_000;

/// A statement with its parameters, about to run, running or done.
pub struct Portal {
    text: String,
    /// `None`: it was declared as a cursor.
    statement: Option<Arc<Prepared>>,
    /// What its rows are; `None` when it gives none.
    columns: Option<Arc<[OutputColumn]>>,
    formats: Vec<Format>,
    options: CursorOptions,
    created: DateTime<Utc>,
    /// How many savepoints there were; `None`: it has outlived its transaction.
    level: Option<usize>,
    state: State,
}

enum State {
    /// The empty statement.
    Empty,
    New(Arc<Prepared>, Vec<ScalarValue>),
    Rows(Rows),
    /// What gives no rows runs once.
    Done,
}

/// What running a portal's statement gave.
pub(crate) enum Started {
    Rows(Rows),
    Other(Outcome),
}

/// Rows of a portal, which whoever reads them shares with it.
#[derive(Clone)]
pub(crate) struct Rows {
    scan: Arc<Mutex<Scan>>,
    /// A stream that has all of the portal's but its rows.
    pattern: Arc<Pattern>,
}

/// What streams of a portal's rows have alike.
pub(crate) struct Pattern {
    pub(crate) columns: Arc<[OutputColumn]>,
    pub(crate) schema: arrow::datatypes::SchemaRef,
    pub(crate) words: &'static str,
    pub(crate) binary: bool,
    pub(crate) catalog: Option<Arc<staffa_planner::CatalogView>>,
    /// What all of these streams gave.
    pub(crate) sent: Arc<Sent>,
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portal")
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

impl Portal {
    /// The statement that Execute runs. `None` of an empty one, and of a cursor.
    pub fn statement(&self) -> Option<&Arc<Prepared>> {
        self.statement.as_ref()
    }

    /// Whether it is one of a text without a statement.
    pub fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    /// The columns of its rows; `None` when it gives none.
    pub fn columns(&self) -> Option<&[OutputColumn]> {
        self.columns.as_deref()
    }

    /// One for each column.
    pub fn formats(&self) -> &[Format] {
        &self.formats
    }
}

/// The portals of one session by name; the empty name is the unnamed portal.
#[derive(Default)]
pub(crate) struct Portals {
    by_name: BTreeMap<String, Portal>,
}

impl Portals {
    /// The unnamed portal takes the place of the one before; a named one must be new.
    fn add(&mut self, name: String, portal: Portal) -> Result<()> {
        if !name.is_empty() && self.by_name.contains_key(&name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(Error::new(ErrorKind::DuplicateCursor, message));
        }
        if self.by_name.len() >= PORTALS_MAX {
            let message = format!("too many portals: a session may have {PORTALS_MAX}");
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, message)
                .with_hint("Close portals that are no longer needed, or end the transaction."));
        }
        self.by_name.insert(name, portal);
        Ok(())
    }

    fn cursor(&self, name: &str) -> Result<&Portal> {
        let undefined = || Error::new(ErrorKind::UndefinedCursor, format!("cursor \"{name}\" does not exist"));
        self.by_name.get(name).ok_or_else(undefined)
    }

    /// The end of a transaction: only what outlived an earlier one stays.
    pub(crate) fn end_transaction(&mut self) {
        self.by_name.retain(|_, portal| portal.level.is_none());
    }

    /// `ROLLBACK TO`, or a failure in what followed the last savepoint: those go that came after this many savepoints.
    pub(crate) fn roll_back_to(&mut self, level: usize) {
        self.by_name
            .retain(|_, portal| portal.level.is_none_or(|made| made < level));
    }

    /// `RELEASE`: there are only so many savepoints now.
    pub(crate) fn release_to(&mut self, level: usize) {
        for made in self.by_name.values_mut().filter_map(|portal| portal.level.as_mut()) {
            *made = level.min(*made);
        }
    }

    /// `CLOSE ALL`
    pub(crate) fn clear(&mut self) {
        self.by_name.clear();
    }

    /// The rows of `pg_cursors`.
    pub(crate) fn rows(&self) -> Vec<CursorRow> {
        let row = |(name, portal): (&String, &Portal)| CursorRow {
            name: name.clone(),
            statement: portal.text.clone(),
            options: portal.options,
            created: portal.created,
        };
        self.by_name.iter().map(row).collect()
    }
}

/// Rows of a portal on their way to a reader.
pub(crate) struct PortalRows {
    scan: Arc<Mutex<Scan>>,
    reader: u64,
    way: Way,
}

impl PortalRows {
    /// Boxed: rows of a FETCH, read through a portal, are rows of a portal that come from rows of a portal.
    pub(crate) fn next(&mut self) -> BoxFuture<'_, Option<Result<RecordBatch>>> {
        Box::pin(async {
            let mut scan = self.scan.lock().await;
            scan.read(self.reader, &mut self.way).await.transpose()
        })
    }
}

impl Session {
    /// Makes a portal of a prepared statement; `None` is an empty one. `formats` has one entry for each column.
    ///
    /// # Errors
    /// Of planning, when the tables are others than when it was prepared; a portal of this name.
    pub async fn bind(
        &mut self,
        name: String,
        statement: Option<Arc<Prepared>>,
        parameters: Vec<ScalarValue>,
        formats: Vec<Format>,
    ) -> Result<()> {
        // It ends with this transaction, also when nothing is run in it.
        self.begin_implicit();
        if let Some(prepared) = &statement {
            self.renew_plan(prepared, &parameters).await?;
        }
        let portal = Portal {
            text: statement
                .as_ref()
                .map(|prepared| prepared.statement().text.clone())
                .unwrap_or_default(),
            columns: statement.as_ref().and_then(|prepared| self.columns_of(prepared)),
            formats,
            options: CursorOptions::default(),
            created: Utc::now(),
            level: Some(self.transactions.savepoint_count()),
            state: match &statement {
                Some(prepared) => State::New(Arc::clone(prepared), parameters),
                None => State::Empty,
            },
            statement,
        };
        self.portals.add(name, portal)
    }

    /// The portal of this name.
    pub fn portal(&self, name: &str) -> Result<&Portal> {
        self.portals.by_name.get(name).ok_or_else(|| undefined_portal(name))
    }

    /// Ends a portal and the query behind it; one that is not there is fine.
    pub fn close_portal(&mut self, name: &str) -> bool {
        self.portals.by_name.remove(name).is_some()
    }

    /// Runs a portal, or goes on with its rows: at most so many. `None`: it is empty.
    ///
    /// When as many rows have come as were asked for, nobody knows yet whether more follow.
    pub async fn run_portal(&mut self, name: &str, rows_max: Option<u64>) -> Result<Option<Outcome>> {
        self.take_over_settings();
        let portal = self
            .portals
            .by_name
            .get_mut(name)
            .ok_or_else(|| undefined_portal(name))?;
        let (rows, guard) = match std::mem::replace(&mut portal.state, State::Done) {
            State::Empty => {
                portal.state = State::Empty;
                return Ok(None);
            }
            State::Rows(rows) => {
                portal.state = State::Rows(rows.clone());
                (rows, Some(self.start_statement()?))
            }
            State::New(statement, parameters) => {
                self.begin_implicit();
                let outcome = self.run(&statement, parameters).await;
                match self.started(name, &statement, outcome)? {
                    Started::Rows(rows) => (rows, None),
                    Started::Other(outcome) => return Ok(Some(outcome)),
                }
            }
            State::Done => return Err(cannot_run(name)),
        };
        let stream = self.stream_of(
            &rows,
            rows.pattern.words,
            Movement::Forward(None),
            rows_max,
            name,
            guard,
        );
        stream.await.map(|rows| Some(Outcome::Rows(rows)))
    }

    /// What a portal's statement gave when it was run: its rows are the portal's from now on.
    pub(crate) fn started(&mut self, name: &str, statement: &Prepared, outcome: Result<Outcome>) -> Result<Started> {
        let offset = statement.statement().offset;
        match outcome.map_err(|error| error.shifted(offset))? {
            Outcome::Rows(stream) => {
                // What an EXECUTE or FETCH names may have become another one since Bind.
                let expected = self
                    .portals
                    .by_name
                    .get(name)
                    .and_then(|portal| portal.columns.as_deref());
                if expected.is_some_and(|expected| !same_columns(expected, stream.columns())) {
                    return Err(changed_plan());
                }
                Ok(Started::Rows(self.share_rows(name, stream, CursorOptions::default())))
            }
            outcome => Ok(Started::Other(outcome)),
        }
    }

    /// The statement of a portal that Bind made and nobody has run, if it gives rows: whoever takes it runs it.
    pub(crate) fn take_unstarted(&mut self, name: &str) -> Option<(Arc<Prepared>, Vec<ScalarValue>)> {
        let portal = self.portals.by_name.get_mut(name)?;
        portal.columns.as_ref()?;
        match std::mem::replace(&mut portal.state, State::Done) {
            State::New(statement, parameters) => Some((statement, parameters)),
            other => {
                portal.state = other;
                None
            }
        }
    }

    /// Leaves rows with the portal of this name, if it is still there, for whoever reads them.
    fn share_rows(&mut self, name: &str, stream: RowStream, options: CursorOptions) -> Rows {
        let pattern = Arc::new(stream.pattern(options.binary));
        let scan = match options.scroll {
            true => {
                let runtime = self.warehouse.base().runtime_env();
                Scan::kept(stream, self.warehouse.cpu().clone(), runtime)
            }
            false => Scan::passing(stream),
        };
        let rows = Rows {
            scan: Arc::new(Mutex::new(scan)),
            pattern,
        };
        if let Some(portal) = self.portals.by_name.get_mut(name) {
            portal.state = State::Rows(rows.clone());
        }
        rows
    }

    /// A stream of rows from where `movement` leads.
    async fn stream_of(
        &self,
        rows: &Rows,
        words: &'static str,
        movement: Movement,
        rows_max: Option<u64>,
        name: &str,
        guard: Option<StatementGuard>,
    ) -> Result<RowStream> {
        let mut scan = rows.scan.lock().await;
        if scan.has_failed() {
            return Err(cannot_run(name));
        }
        let reader = scan.begin(guard.as_ref()).await?;
        let way = match rows_max {
            Some(_) => Way::forward(rows_max),
            None => scan.approach(movement).await?,
        };
        drop(scan);
        let rows_of = PortalRows {
            scan: Arc::clone(&rows.scan),
            reader,
            way,
        };
        let guard = guard.or_else(|| self.canceller().current());
        let guard = guard.map_or_else(|| self.start_statement(), Ok)?;
        Ok(RowStream::of_portal(
            &rows.pattern,
            words,
            rows_of,
            guard,
            self.canceller(),
        ))
    }

    /// `DECLARE`: the query starts when its first row is asked for.
    pub(crate) fn declare(
        &mut self,
        name: &str,
        text: String,
        options: CursorOptions,
        stream: RowStream,
    ) -> Result<()> {
        let columns = stream.pattern(options.binary).columns;
        let portal = Portal {
            text,
            statement: None,
            // BINARY is what a simple query's FETCH gives; here it is Bind that says.
            formats: vec![Format::Text; columns.len()],
            columns: Some(columns),
            options,
            created: Utc::now(),
            level: Some(self.transactions.savepoint_count()),
            state: State::Done,
        };
        self.portals.add(name.to_owned(), portal)?;
        self.share_rows(name, stream, options);
        Ok(())
    }

    /// Whether DECLARE can have this name.
    pub(crate) fn check_new_cursor(&self, name: &str) -> Result<()> {
        match self.portals.by_name.contains_key(name) {
            true => {
                let message = format!("cursor \"{name}\" already exists");
                Err(Error::new(ErrorKind::DuplicateCursor, message))
            }
            false => Ok(()),
        }
    }

    /// The columns of a cursor's rows, if there is one of this name.
    pub(crate) fn cursor_columns(&self, name: &str) -> Option<Arc<[OutputColumn]>> {
        self.portals.by_name.get(name)?.columns.clone()
    }

    /// `FETCH`
    pub(crate) async fn fetch(&mut self, name: &str, movement: Movement, guard: StatementGuard) -> Result<RowStream> {
        let rows = self.rows_of_cursor(name)?;
        let stream = self.stream_of(&rows, "FETCH", movement, None, name, Some(guard.clone()));
        guard.run(stream).await
    }

    /// `MOVE`
    pub(crate) async fn move_cursor(&mut self, name: &str, movement: Movement, guard: StatementGuard) -> Result<u64> {
        let rows = self.rows_of_cursor(name)?;
        let moved = async {
            let mut scan = rows.scan.lock().await;
            if scan.has_failed() {
                return Err(cannot_run(name));
            }
            scan.begin(Some(&guard)).await?;
            scan.travel(movement).await
        };
        guard.run(moved).await
    }

    fn rows_of_cursor(&self, name: &str) -> Result<Rows> {
        match &self.portals.cursor(name)?.state {
            State::Rows(rows) => Ok(rows.clone()),
            _ => Err(cannot_run(name)),
        }
    }

    /// `CLOSE`
    pub(crate) fn close_cursor(&mut self, name: &str) -> Result<()> {
        self.portals.cursor(name)?;
        self.close_portal(name);
        Ok(())
    }

    /// Before a commit: cursors WITH HOLD read what is still to come, all others are closed.
    pub(crate) async fn hold_cursors(&mut self) -> Result<()> {
        let held = self
            .portals
            .by_name
            .values()
            .any(|portal| portal.level.is_some() && portal.options.hold);
        self.take_over_settings();
        if held {
            let guard = self.start_statement()?;
            guard.run(self.read_held(&guard)).await?;
        }
        for portal in self.portals.by_name.values_mut().filter(|portal| portal.options.hold) {
            portal.level = None;
        }
        self.portals.end_transaction();
        Ok(())
    }

    async fn read_held(&self, guard: &StatementGuard) -> Result<()> {
        let runtime = self.warehouse.base().runtime_env();
        for portal in self.portals.by_name.values() {
            if let (true, Some(_), State::Rows(rows)) = (portal.options.hold, portal.level, &portal.state) {
                let mut scan = rows.scan.lock().await;
                if !scan.has_failed() {
                    scan.hold(guard, self.warehouse.cpu(), runtime).await?;
                }
            }
        }
        Ok(())
    }
}

fn undefined_portal(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedCursor, format!("portal \"{name}\" does not exist"))
}

fn cannot_run(name: &str) -> Error {
    let message = format!("portal \"{name}\" cannot be run");
    Error::new(ErrorKind::ObjectNotInPrerequisiteState, message)
}
