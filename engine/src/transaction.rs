//! Transactions of a session: implicit ones around single statements and pipelines, blocks from BEGIN to COMMIT.
//!
//! ```text
//!            begin_implicit            BEGIN
//!   None ──────────────────▶ Implicit ───────▶ Block ──fail──▶ Failed
//!    ▲  end_implicit: commit    │                │  ▲            │
//!    │                          │         COMMIT │  └ROLLBACK TO─┤ COMMIT, ROLLBACK
//!    └──────────────────────────┴────────────────┴───────────────┘
//! ```
//!
//! The catalog's transaction opens with the first statement that needs a snapshot, and every later statement of the
//! transaction reads from that one, overlaid with the transaction's own changes. Where READ COMMITTED is asked for, the
//! snapshot is renewed for each statement of a block until one changes or locks something: from then on it stays, so that the
//! COMMIT finds out whether others changed the same. A serializable transaction that changes something also notes what it
//! reads: at its COMMIT that must still be so.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use staffa_catalog::{CatalogSnapshot, Table, Transaction};
use staffa_planner::{
    Error, ErrorKind, ParsedStatement, ReadLog, Result, StatementClass, TransactionClass, TransactionModes,
};

use crate::outcome::{CommandTag, Notice, Outcome, TransactionStatus};
use crate::rerun::Ran;
use crate::session::Session;
use crate::settings::Settings;
use crate::trace::Stage;

/// Savepoints one transaction may have: a client cannot fill the memory with them.
const SAVEPOINTS_MAX: usize = 10_000;

/// Where a session stands.
#[derive(Default)]
pub(crate) struct Transactions {
    block: Block,
    open: Option<Open>,
    /// The settings to go back to on ROLLBACK, as they were when the transaction began.
    saved: Option<Settings>,
    /// For implicit transactions.
    pub(crate) ran: Ran,
    /// Oldest first. A name may be there twice: the newer one hides the other.
    savepoints: Vec<Savepoint>,
    /// Whether the running statement locks the rows it reads: nobody else may have changed them when the transaction commits.
    pub(crate) locks_rows: bool,
}

/// A place in a block to go back to.
struct Savepoint {
    name: String,
    /// `None`: the catalog's transaction was not open yet, so there was nothing to undo.
    changes: Option<staffa_catalog::Savepoint>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    None,
    Implicit,
    /// The statements of one message: to most of them it is a block.
    OfMessage,
    /// From BEGIN to COMMIT.
    Explicit,
    Failed,
}

struct Open {
    transaction: Transaction,
    /// What it was before its first change.
    begun: staffa_catalog::Savepoint,
    started: DateTime<Utc>,
    /// Numbers the data files of all its statements: a name is used once.
    files: Arc<AtomicU64>,
    /// Of a serializable one: what it has read. Of others: what it has read to lock it.
    reads: Arc<ReadLog>,
}

impl Open {
    async fn commit(mut self) -> Result<()> {
        for (name, uuid, reading) in self.reads.tables() {
            self.transaction.rely_on_reads(&name, uuid, reading).await?;
        }
        self.transaction.commit().await?;
        Ok(())
    }
}

impl Transactions {
    pub(crate) fn status(&self) -> TransactionStatus {
        match self.block {
            Block::None | Block::Implicit | Block::OfMessage => TransactionStatus::Idle,
            Block::Explicit => TransactionStatus::InTransaction,
            Block::Failed => TransactionStatus::Failed,
        }
    }

    /// In a failed block only its end is allowed, and the way back to a savepoint.
    pub(crate) fn check_allowed(&self, class: StatementClass) -> Result<()> {
        let ends = matches!(
            class,
            StatementClass::Transaction(
                TransactionClass::Commit | TransactionClass::Rollback | TransactionClass::RollbackTo
            )
        );
        if self.block == Block::Failed && !ends {
            return Err(Error::new(
                ErrorKind::InFailedTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    pub(crate) fn has_changes(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.transaction.is_read_only())
    }

    /// The open transaction, if there is one.
    pub(crate) fn open_transaction(&mut self) -> Option<&mut Transaction> {
        self.open.as_mut().map(|open| &mut open.transaction)
    }

    /// The open transaction, which is over with it.
    pub(crate) fn take_open(&mut self) -> Option<Transaction> {
        self.open.take().map(|open| open.transaction)
    }

    /// How many savepoints there are.
    pub(crate) fn savepoint_count(&self) -> usize {
        self.savepoints.len()
    }

    pub(crate) fn started(&self) -> Option<DateTime<Utc>> {
        self.open.as_ref().map(|open| open.started)
    }
}

impl Session {
    /// The transaction state as clients are told.
    pub fn status(&self) -> TransactionStatus {
        self.transactions.status()
    }

    /// Makes the statements until [`end_implicit`](Self::end_implicit) one transaction, unless a block is open.
    pub fn begin_implicit(&mut self) {
        self.take_over_settings();
        if self.transactions.block == Block::None {
            self.transactions.block = Block::Implicit;
            self.transactions.saved = Some(self.settings.clone());
            self.transactions.ran = Ran::Nothing;
            self.begin_with_defaults(&["isolation"]);
        }
    }

    /// The same for several statements that came together: what needs a block runs among them, too.
    pub fn begin_implicit_block(&mut self) {
        self.begin_implicit();
        if self.transactions.block == Block::Implicit {
            self.transactions.block = Block::OfMessage;
        }
    }

    /// Whether a statement is one of several that are done or undone together.
    pub(crate) fn is_in_block(&self) -> bool {
        !matches!(self.transactions.block, Block::None | Block::Implicit)
    }

    /// The modes of a new transaction are the session's defaults.
    fn begin_with_defaults(&mut self, names: &[&str]) {
        for name in names {
            let (default, own) = (format!("default_transaction_{name}"), format!("transaction_{name}"));
            let value = self.settings.get(&default).map(str::to_owned);
            if value.as_deref() == self.settings.get(&own) {
                continue;
            }
            if let Err(error) = self.settings.set(&own, value.as_deref(), true) {
                tracing::warn!(%error, name, "a default of transactions is none of their settings");
            }
        }
    }

    /// Commits the implicit transaction; does nothing inside a block.
    pub async fn end_implicit(&mut self) -> Result<()> {
        match self.transactions.block {
            Block::Implicit | Block::OfMessage => self.commit_implicit(true).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Commits the implicit transaction of a statement that nobody has heard of yet. What it gives is to be told instead:
    /// the statement may have been run again. Of a query, whose rows are still to come, the transaction stays open.
    pub async fn end_untold(&mut self, outcome: Outcome) -> Result<Outcome> {
        match self.transactions.block {
            Block::Implicit | Block::OfMessage if outcome.is_complete() => {
                Ok(self.commit_implicit(false).await?.unwrap_or(outcome))
            }
            _ => Ok(outcome),
        }
    }

    /// What follows a statement's error: the implicit transaction is rolled back, a block fails.
    pub async fn fail(&mut self) {
        self.note_failed(None, "the statement failed");
        match self.transactions.block {
            Block::None | Block::Failed => {}
            Block::Implicit | Block::OfMessage => self.abandon_transaction().await,
            // What was done before the savepoint may be wanted still.
            Block::Explicit if !self.transactions.savepoints.is_empty() => {
                let level = self.transactions.savepoints.len();
                self.portals.roll_back_to(level);
                self.actions.locks.end_level(level);
                self.actions.take_settings();
                self.transactions.block = Block::Failed;
            }
            Block::Explicit => {
                let saved = self.transactions.saved.take();
                self.abandon_transaction().await;
                self.transactions.block = Block::Failed;
                self.transactions.saved = saved;
            }
        }
    }

    pub(crate) fn begin_block(&mut self, words: &str, modes: TransactionModes) -> Result<CommandTag> {
        match self.transactions.block {
            Block::Explicit | Block::Failed => {
                self.notices
                    .push(Notice::warning("25001", "there is already a transaction in progress"));
            }
            Block::None | Block::Implicit | Block::OfMessage => {
                if self.transactions.block == Block::None {
                    self.transactions.saved = Some(self.settings.clone());
                }
                self.transactions.block = Block::Explicit;
                self.begin_with_defaults(&["isolation", "read_only"]);
            }
        }
        self.set_transaction(modes)?;
        Ok(CommandTag::plain(words))
    }

    /// `SET TRANSACTION`: modes of this transaction only.
    pub(crate) fn set_transaction(&mut self, modes: TransactionModes) -> Result<()> {
        self.settings_epoch += 1;
        if !self.is_in_block() {
            self.notices.push(Notice::warning(
                "25P01",
                "SET TRANSACTION can only be used in transaction blocks",
            ));
            return Ok(());
        }
        if let Some(isolation) = modes.isolation {
            self.set_isolation(Some(isolation.name()))?;
        }
        if let Some(read_only) = modes.read_only {
            if !read_only && self.transactions.open.is_some() && self.settings.read_only() {
                let message = "transaction read-write mode must be set before any query";
                return Err(Error::new(ErrorKind::ActiveTransaction, message));
            }
            self.settings.set(
                "transaction_read_only",
                Some(if read_only { "on" } else { "off" }),
                true,
            )?;
        }
        Ok(())
    }

    /// The isolation level of this transaction; `None` is the session's default.
    pub(crate) fn set_isolation(&mut self, level: Option<&str>) -> Result<()> {
        let mut settings = self.settings.clone();
        let default = self.settings.get("default_transaction_isolation").map(str::to_owned);
        settings.set("transaction_isolation", level.or(default.as_deref()), true)?;
        let changes = settings.get("transaction_isolation") != self.settings.get("transaction_isolation");
        let refused = match (&self.transactions.open, self.transactions.savepoints.is_empty()) {
            (Some(_), _) => Some("SET TRANSACTION ISOLATION LEVEL must be called before any query"),
            (None, false) => Some("SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction"),
            (None, true) => None,
        };
        if let Some(message) = refused.filter(|_| changes) {
            return Err(Error::new(ErrorKind::ActiveTransaction, message));
        }
        self.settings = settings;
        Ok(())
    }

    /// Where statements note what they read, if the transaction must know at its end.
    pub(crate) fn reads(&self) -> Option<Arc<ReadLog>> {
        let is_serializable = self.settings.get("transaction_isolation") == Some("serializable");
        let notes = is_serializable || self.transactions.locks_rows;
        let open = self.transactions.open.as_ref().filter(|_| notes);
        open.map(|open| Arc::clone(&open.reads))
    }

    /// Notes that a statement hangs on all rows of a table.
    pub(crate) fn note_all_read(&self, table: &Table) {
        if let Some(reads) = self.reads() {
            reads.all(table);
        }
    }

    /// LOCK TABLE: what the transaction commits holds only if nobody else changed the tables since.
    pub(crate) async fn lock_tables(&mut self, tables: &[Arc<Table>]) -> Result<()> {
        self.require_block("LOCK TABLE")?;
        self.transactions_snapshot().await?;
        self.transactions.locks_rows = true;
        tables.iter().for_each(|table| self.note_all_read(table));
        Ok(())
    }

    /// `SET SESSION CHARACTERISTICS AS TRANSACTION`: modes of later transactions.
    pub(crate) fn set_characteristics(&mut self, modes: TransactionModes) -> Result<()> {
        self.settings_epoch += 1;
        if let Some(isolation) = modes.isolation {
            self.settings
                .set("default_transaction_isolation", Some(isolation.name()), false)?;
        }
        if let Some(read_only) = modes.read_only {
            let value = if read_only { "on" } else { "off" };
            self.settings.set("default_transaction_read_only", Some(value), false)?;
        }
        Ok(())
    }

    /// COMMIT. A failed block is rolled back, and its tag says so.
    pub(crate) async fn commit_block(&mut self, chain: bool) -> Result<CommandTag> {
        let block = self.transactions.block;
        let modes = self.chained_modes(chain, block, "COMMIT")?;
        let words = match block {
            Block::Explicit => {
                self.commit_open().await?;
                "COMMIT"
            }
            Block::Failed => {
                self.roll_back_settings();
                self.abandon_transaction().await;
                "ROLLBACK"
            }
            Block::None | Block::Implicit | Block::OfMessage => {
                self.notices
                    .push(Notice::warning("25P01", "there is no transaction in progress"));
                self.commit_open().await?;
                "COMMIT"
            }
        };
        self.begin_chained(modes, words)
    }

    /// ROLLBACK.
    pub(crate) async fn roll_back_block(&mut self, chain: bool) -> Result<CommandTag> {
        let block = self.transactions.block;
        let modes = self.chained_modes(chain, block, "ROLLBACK")?;
        if !matches!(block, Block::Explicit | Block::Failed) {
            self.notices
                .push(Notice::warning("25P01", "there is no transaction in progress"));
        }
        self.abandon_transaction().await;
        self.begin_chained(modes, "ROLLBACK")
    }

    /// The modes that `AND CHAIN` hands to the next transaction.
    fn chained_modes(&self, chain: bool, block: Block, words: &str) -> Result<Option<Vec<(&'static str, String)>>> {
        if !chain {
            return Ok(None);
        }
        if !matches!(block, Block::Explicit | Block::Failed) {
            let message = format!("{words} AND CHAIN can only be used in transaction blocks");
            return Err(Error::new(ErrorKind::NoActiveTransaction, message));
        }
        let names = ["transaction_isolation", "transaction_read_only"];
        Ok(Some(
            names
                .into_iter()
                .filter_map(|name| Some((name, self.settings.get(name)?.to_owned())))
                .collect(),
        ))
    }

    fn begin_chained(&mut self, modes: Option<Vec<(&'static str, String)>>, words: &str) -> Result<CommandTag> {
        if let Some(modes) = modes {
            self.begin_block(words, TransactionModes::default())?;
            for (name, value) in modes {
                self.settings.set(name, Some(&value), true)?;
            }
        }
        Ok(CommandTag::plain(words))
    }

    /// At READ COMMITTED a statement that begins in a block sees what others have committed.
    pub(crate) async fn renew_snapshot(&mut self, statement: &ParsedStatement) -> Result<()> {
        let level = self.settings.get("transaction_isolation");
        let keeps =
            !self.is_in_block() || !pins(statement) || !matches!(level, Some("read committed" | "read uncommitted"));
        if keeps || self.transactions.has_changes() {
            return Ok(());
        }
        if let Some(open) = self.transactions.open.as_mut().filter(|open| open.reads.is_empty()) {
            let state = self.warehouse.catalog().snapshot().await?;
            open.transaction.move_to(state);
        }
        Ok(())
    }

    /// The state a statement sees. One that touches no table pins nothing: BEGIN and SET come before the snapshot.
    pub(crate) async fn snapshot_for(&mut self, statement: &ParsedStatement) -> Result<Arc<CatalogSnapshot>> {
        match &self.transactions.open {
            Some(open) => Ok(open.transaction.snapshot()),
            None if pins(statement) => Ok(self.transaction().await?.snapshot()),
            None => Ok(self.warehouse.catalog().snapshot().await?),
        }
    }

    /// The open transaction, opened now if there is none.
    pub(crate) async fn transaction(&mut self) -> Result<&mut Transaction> {
        if self.transactions.open.is_none() {
            let catalog = self.warehouse.catalog();
            let snapshot = catalog.snapshot().await?;
            let role = snapshot.access().role(self.current_user()).map(|role| role.id);
            let mut transaction = catalog.begin(snapshot).await?;
            transaction.act_as(role.unwrap_or_default());
            self.transactions.open = Some(Open {
                begun: transaction.savepoint(),
                transaction,
                started: Utc::now(),
                files: Arc::default(),
                reads: Arc::default(),
            });
        }
        let open = self.transactions.open.as_mut().expect("it has just been opened");
        Ok(&mut open.transaction)
    }

    /// Numbers the open transaction's data files.
    pub(crate) fn file_counter(&self) -> Arc<AtomicU64> {
        self.transactions
            .open
            .as_ref()
            .map(|open| Arc::clone(&open.files))
            .unwrap_or_default()
    }

    /// `SAVEPOINT`
    pub(crate) fn savepoint(&mut self, name: &str) -> Result<()> {
        self.check_in_block("SAVEPOINT")?;
        if self.transactions.savepoints.len() >= SAVEPOINTS_MAX {
            let message = format!("too many savepoints: a transaction may have {SAVEPOINTS_MAX}");
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, message)
                .with_hint("RELEASE those that are no longer needed."));
        }
        let open = self.transactions.open.as_ref();
        self.transactions.savepoints.push(Savepoint {
            name: name.to_owned(),
            changes: open.map(|open| open.transaction.savepoint()),
            settings: self.settings.clone(),
        });
        Ok(())
    }

    /// `RELEASE`: this savepoint and those after it are forgotten, what was done since stays.
    pub(crate) fn release_savepoint(&mut self, name: &str) -> Result<()> {
        self.check_in_block("RELEASE SAVEPOINT")?;
        let index = self.savepoint_index(name)?;
        self.transactions.savepoints.truncate(index);
        self.portals.release_to(index);
        self.actions.locks.release_to(index);
        Ok(())
    }

    /// `ROLLBACK TO`: what was done since the savepoint is undone, also after an error. The snapshot stays.
    pub(crate) fn roll_back_to_savepoint(&mut self, name: &str) -> Result<()> {
        self.check_in_block("ROLLBACK TO SAVEPOINT")?;
        let index = self.savepoint_index(name)?;
        self.portals.roll_back_to(index + 1);
        self.actions.locks.end_level(index + 1);
        self.actions.take_settings();
        let transactions = &mut self.transactions;
        transactions.savepoints.truncate(index + 1);
        let savepoint = &transactions.savepoints[index];
        if let Some(open) = &mut transactions.open {
            let changes = savepoint.changes.as_ref().unwrap_or(&open.begun);
            open.transaction.restore(changes.clone());
        }
        self.settings = savepoint.settings.clone();
        self.settings_epoch += 1;
        transactions.block = Block::Explicit;
        Ok(())
    }

    /// Savepoints are those of a block that BEGIN began.
    fn check_in_block(&self, statement: &str) -> Result<()> {
        match self.transactions.block {
            Block::Explicit | Block::Failed => Ok(()),
            _ => Err(only_in_block(statement)),
        }
    }

    /// What would be over as soon as it is done is an error.
    pub(crate) fn require_block(&self, statement: &str) -> Result<()> {
        match self.is_in_block() {
            true => Ok(()),
            false => Err(only_in_block(statement)),
        }
    }

    fn savepoint_index(&self, name: &str) -> Result<usize> {
        let found = self
            .transactions
            .savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name);
        found.ok_or_else(|| {
            let message = format!("savepoint \"{name}\" does not exist");
            Error::new(ErrorKind::UndefinedSavepoint, message)
        })
    }

    /// Commits what is open. On an error nothing of it is visible, and the transaction is over all the same.
    pub(crate) async fn commit_open(&mut self) -> Result<()> {
        if let Err(error) = self.hold_cursors().await {
            self.abandon_transaction().await;
            return Err(error);
        }
        if let Err(error) = self.run_on_commit().await {
            self.abandon_transaction().await;
            return Err(error.into());
        }
        let open = self.transactions.open.take();
        self.transactions.block = Block::None;
        self.transactions.savepoints.clear();
        let result = match open {
            Some(open) if !open.transaction.is_read_only() => {
                let started = SystemTime::now();
                let committed = open.commit().await;
                self.note_stage(Stage::Commit, started);
                self.warehouse.committed();
                committed
            }
            _ => Ok(()),
        };
        match result {
            Ok(()) => self.transactions.saved = None,
            Err(_) => self.roll_back_settings(),
        }
        self.end_settings();
        result
    }

    /// Rolls back whatever is open. Its files are deleted; those that cannot be now are found again at the next start.
    pub(crate) async fn abandon_transaction(&mut self) {
        self.portals.end_transaction();
        self.actions.take_settings();
        self.transactions.block = Block::None;
        self.transactions.savepoints.clear();
        if let Some(open) = self.transactions.open.take()
            && let Err(error) = open.transaction.rollback().await
        {
            tracing::warn!(%error, "could not clear away a rolled back transaction; the next start will");
        }
        self.roll_back_settings();
        self.end_settings();
    }

    fn roll_back_settings(&mut self) {
        if let Some(saved) = self.transactions.saved.take() {
            self.settings = saved;
            // Never back to an earlier number: a plan of the statements undone must not look current.
            self.settings_epoch += 1;
        }
    }

    /// What was the transaction's alone is over.
    fn end_settings(&mut self) {
        self.actions.locks.end_level(0);
        if self.settings.end_transaction() {
            self.settings_epoch += 1;
        }
    }
}

/// Whether a statement reads tables.
fn pins(statement: &ParsedStatement) -> bool {
    !matches!(
        statement.class(),
        StatementClass::Transaction(_) | StatementClass::Utility
    )
}

fn only_in_block(statement: &str) -> Error {
    let message = format!("{statement} can only be used in transaction blocks");
    Error::new(ErrorKind::NoActiveTransaction, message)
}
