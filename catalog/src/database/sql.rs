//! The catalog's statements, one text for every database: numbered parameters, `on conflict`, no dialect's functions.
//!
//! What differs is behind [`Backend`] and [`Connection`]: how connections are made and kept, how a commit takes its
//! sequence number, how one sees that a server is gone.

mod access;
mod counters;
mod garbage;
mod objects;
pub(super) mod statements;
mod swap;
mod versions;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use chrono::Utc;
use parking_lot::Mutex;
use uuid::Uuid;

use self::statements::{Argument, Row, Statements};
use super::{Database, Dropped, GarbageRow, Leftover, Pointer, PointerState, Share, Swap, SwapOutcome, TxnOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::garbage::{NEW_COUNTER_KEPT_MS, counter_garbage, counter_in_garbage, owner_of_directory};
use crate::name::TableName;
use crate::sequence::SequenceState;
use crate::snapshot::RelationKind;

/// A server without a sign of life that was silent for this long is dead.
const SERVER_SILENCE_MAX_MS: i64 = 90_000;
/// How long a server that may have lost its sign of life must be silent before its first look finds it dead: two of its
/// heartbeats.
const FIRST_LOOK_SILENCE_MS: i64 = 60_000;
/// How long the outcome of a transaction can be looked up after its end.
const OUTCOME_KEPT_MS: i64 = 24 * 3600 * 1000;

/// What a connection is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// One moment of everything, read only.
    Read,
    /// Intents and notes: losing the last of them with the power costs a cleanup, never data.
    Note,
    /// What must survive loss of power.
    Durable,
}

/// One kind of database.
#[async_trait]
pub(super) trait Backend: Send + Sync + fmt::Debug {
    /// A connection of one's own until it is dropped.
    async fn connection(&self, need: Need) -> Result<Box<dyn Connection>>;

    /// See [`Database::may_lose_notes`].
    fn may_lose_notes(&self) -> bool;

    /// See [`Database::change_token`].
    async fn change_token(&self) -> Result<i64>;

    /// A connection that shows other servers that this one is alive.
    async fn sign_of_life(&self) -> Result<Box<dyn Statements + '_>>;

    /// Whether another server shows that it is alive; `None` when that cannot be seen.
    async fn is_held(&self, server_id: Uuid) -> Result<Option<bool>>;

    /// Whether a server may lose its sign of life and live: until its next heartbeat.
    fn may_lose_sign(&self) -> bool;

    /// Removes what a dead server's sign of life left.
    fn forget_server(&self, server_id: Uuid);

    /// Ends all connections and the sign of life, and waits for that: a file is complete then.
    async fn close(self: Box<Self>);
}

/// A connection; dropping it in a transaction rolls back.
#[async_trait]
pub(super) trait Connection: Statements {
    async fn begin(&mut self) -> Result<()>;

    /// After an error of kind `OutcomeUnknown` the transaction may be committed; after any other it is not.
    async fn commit(&mut self) -> Result<()>;

    /// Ends the transaction without its changes. What fails here fails the next user, who gets another connection.
    async fn rollback(&mut self);

    /// Begins a swap: from here on the changes of pointers belong to one number. Swaps that make or drop names take
    /// turns, so that what they checked stays true.
    async fn begin_swap(&mut self, changes_names: bool) -> Result<()>;

    /// The statement that finds a pointer that is what it must be, and has it stay so until the end.
    fn keep_pointer(&self) -> &'static str {
        "select 1 from iceberg_tables
         where catalog_name=$1 and table_namespace=$2 and table_name=$3 and metadata_location=$4"
    }

    /// The number of the swap. Nothing changes a pointer after this.
    async fn take_number(&mut self) -> Result<i64>;

    /// Whether an error means that the statements may succeed when they are run again.
    fn is_transient(&self, error: &Error) -> bool;
}

/// A catalog in a SQL database.
pub(crate) struct SqlDatabase {
    backend: Box<dyn Backend>,
    server_id: Uuid,
    /// Servers that showed no sign of life when last looked at.
    silent: Mutex<HashSet<Uuid>>,
    numbers: objects::Numbers,
}

impl fmt::Debug for SqlDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlDatabase")
            .field("backend", &self.backend)
            .field("server_id", &self.server_id)
            .finish()
    }
}

impl SqlDatabase {
    pub(super) async fn new(backend: Box<dyn Backend>, server_id: Uuid) -> Result<SqlDatabase> {
        let database = SqlDatabase {
            backend,
            server_id,
            silent: Mutex::default(),
            numbers: objects::Numbers::default(),
        };
        access::prepare(&database).await?;
        // From here on nothing that is there now is deleted under this server's readers.
        let csn = head_csn(&mut *database.backend.connection(Need::Read).await?).await?;
        database.heartbeat(csn).await?;
        Ok(database)
    }

    /// Begun, for one user.
    async fn begin(&self, need: Need) -> Result<Box<dyn Connection>> {
        let mut connection = self.backend.connection(need).await?;
        connection.begin().await?;
        Ok(connection)
    }

    async fn is_alive(&self, server_id: Uuid, heartbeat_ms: Option<i64>, now_ms: i64) -> Result<bool> {
        if server_id == self.server_id {
            return Ok(true);
        }
        let held = self.backend.is_held(server_id).await?;
        Ok(held.unwrap_or_else(|| heartbeat_ms.is_some_and(|heartbeat| now_ms - heartbeat < SERVER_SILENCE_MAX_MS)))
    }

    /// The servers that are gone. One without a sign of life is when the look before saw none either; a living server may
    /// have lost its connection for a moment. At the first look one that cannot lose it is, and one that has been silent.
    async fn dead_servers(&self, first_look: bool) -> Result<Vec<(String, Option<Uuid>)>> {
        let now_ms = Utc::now().timestamp_millis();
        let rows = self
            .backend
            .connection(Need::Read)
            .await?
            .rows(
                "select t.server_id, max(s.heartbeat_ms)
                 from (select server_id from staffa_txn union select server_id from staffa_server) t
                 left join staffa_server s on s.server_id=t.server_id group by t.server_id",
                &[],
            )
            .await?;
        let mut dead = Vec::new();
        let mut silent = HashSet::new();
        for row in rows {
            let text = row.text(0)?;
            let id = Uuid::try_parse(&text).ok();
            if let Some(id) = id {
                if self.is_alive(id, row.optional_number(1)?, now_ms).await? {
                    continue;
                }
                silent.insert(id);
                let was_silent = match first_look {
                    true => !self.backend.may_lose_sign() || is_old(row.optional_number(1)?, now_ms),
                    false => self.silent.lock().contains(&id),
                };
                if !was_silent {
                    continue;
                }
            }
            dead.push((text, id));
        }
        *self.silent.lock() = silent;
        Ok(dead)
    }
}

#[async_trait]
impl Database for SqlDatabase {
    async fn change_token(&self) -> Result<i64> {
        self.backend.change_token().await
    }

    async fn pointers(&self, since: Option<u64>) -> Result<PointerState> {
        let mut txn = self.begin(Need::Read).await?;
        let state = pointer_state(&mut *txn, since).await?;
        txn.commit().await?;
        Ok(state)
    }

    async fn export(&self, path: &Path) -> Result<PointerState> {
        let mut txn = self.begin(Need::Read).await?;
        let state = pointer_state(&mut *txn, None).await?;
        super::export(&mut *txn, state.csn, path).await?;
        txn.commit().await?;
        Ok(state)
    }

    fn may_lose_notes(&self) -> bool {
        self.backend.may_lose_notes()
    }

    async fn register(&self, txn_id: Uuid, base_csn: u64, table_locations: &[String], again: bool) -> Result<()> {
        let mut txn = self.begin(Need::Note).await?;
        let id = txn_id.to_string();
        let now_ms = Utc::now().timestamp_millis();
        let made = txn
            .execute(
                "insert into staffa_txn(txn_id, server_id, kind, base_csn, started_ms, heartbeat_ms, state)
                 values ($1, $2, 0, $3, $4, $4, 0) on conflict(txn_id) do nothing",
                &[
                    id.as_str().into(),
                    self.server_id.to_string().as_str().into(),
                    signed(base_csn)?.into(),
                    now_ms.into(),
                ],
            )
            .await?;
        // Its files may be deleted since. A younger one can only have lost its note, with the power.
        if again && made == 1 && begun_ms(txn_id).is_none_or(|begun| now_ms - begun > OUTCOME_KEPT_MS) {
            txn.rollback().await;
            return Err(given_up());
        }
        for location in table_locations {
            txn.execute(
                "insert into staffa_txn_table(txn_id, table_location) values ($1, $2) on conflict do nothing",
                &[id.as_str().into(), location.as_str().into()],
            )
            .await?;
        }
        txn.commit().await
    }

    async fn swap(&self, swap: &Swap) -> Result<SwapOutcome> {
        // Dropped on every path that does not commit: it rolls back.
        let mut txn = self.begin(Need::Durable).await?;
        match swap::run(&mut *txn, swap).await {
            Ok(Some(csn)) => match txn.commit().await {
                Ok(()) => Ok(SwapOutcome::Committed(unsigned(csn)?)),
                Err(error) if txn.is_transient(&error) => Ok(SwapOutcome::Moved),
                Err(error) => Err(error),
            },
            Ok(None) => {
                txn.rollback().await;
                Ok(SwapOutcome::Moved)
            }
            Err(error) => {
                txn.rollback().await;
                match txn.is_transient(&error) {
                    true => {
                        tracing::debug!(%error, "a swap gave way to another");
                        Ok(SwapOutcome::Moved)
                    }
                    false => Err(error),
                }
            }
        }
    }

    async fn outcome(&self, txn_id: Uuid) -> Result<TxnOutcome> {
        let mut connection = self.backend.connection(Need::Read).await?;
        outcome(&mut *connection, txn_id).await
    }

    async fn abort(&self, txn_id: Uuid) -> Result<TxnOutcome> {
        // Durably: objects are deleted next, and after a crash nobody may commit them. A swap that is under way, of
        // which only the answer was lost, holds the row: this waits for its end.
        let mut txn = self.begin(Need::Durable).await?;
        txn.execute(
            "update staffa_txn set state=2, heartbeat_ms=$2 where txn_id=$1 and state=0",
            &[txn_id.to_string().as_str().into(), Utc::now().timestamp_millis().into()],
        )
        .await?;
        let outcome = outcome(&mut *txn, txn_id).await?;
        txn.commit().await?;
        Ok(outcome)
    }

    async fn cleaned(&self, txn_id: Uuid) -> Result<()> {
        let mut connection = self.backend.connection(Need::Note).await?;
        connection
            .execute(
                "delete from staffa_txn_table where txn_id=$1",
                &[txn_id.to_string().as_str().into()],
            )
            .await?;
        Ok(())
    }

    async fn heartbeat(&self, oldest_csn: u64) -> Result<bool> {
        let mut connection = self.backend.sign_of_life().await?;
        let server_id = self.server_id.to_string();
        let arguments: [Argument<'_>; 3] = [
            server_id.as_str().into(),
            Utc::now().timestamp_millis().into(),
            signed(oldest_csn)?.into(),
        ];
        let known = "update staffa_server set heartbeat_ms=$2, oldest_csn=$3 where server_id=$1";
        if connection.execute(known, &arguments).await? == 1 {
            return Ok(true);
        }
        let new = "insert into staffa_server(server_id, heartbeat_ms, oldest_csn) values ($1, $2, $3)
                   on conflict(server_id) do update set heartbeat_ms=excluded.heartbeat_ms, oldest_csn=excluded.oldest_csn";
        connection.execute(new, &arguments).await?;
        Ok(false)
    }

    async fn leftovers(&self, first_look: bool) -> Result<Vec<Leftover>> {
        let dead = self.dead_servers(first_look).await?;
        let mut txn = self.begin(Need::Note).await?;
        let mut found = Vec::new();
        for (server, server_id) in dead {
            let open = txn
                .rows(
                    "select txn_id from staffa_txn t where server_id=$1 and (state=0
                     or (state=2 and exists (select 1 from staffa_txn_table l where l.txn_id=t.txn_id)))",
                    &[server.as_str().into()],
                )
                .await?;
            if open.is_empty() {
                txn.execute(
                    "delete from staffa_server where server_id=$1",
                    &[server.as_str().into()],
                )
                .await?;
                if let Some(id) = server_id {
                    self.backend.forget_server(id);
                }
            }
            for row in open {
                let id = row.text(0)?;
                let locations = txn
                    .rows(
                        "select table_location from staffa_txn_table where txn_id=$1",
                        &[id.as_str().into()],
                    )
                    .await?;
                if let Ok(txn_id) = Uuid::try_parse(&id) {
                    found.push(Leftover {
                        txn_id,
                        table_locations: locations.iter().map(|row| row.text(0)).collect::<Result<_>>()?,
                    });
                }
            }
        }
        txn.execute(
            "delete from staffa_txn where state<>0 and heartbeat_ms<$1
             and not exists (select 1 from staffa_txn_table l where l.txn_id=staffa_txn.txn_id)",
            &[(Utc::now().timestamp_millis() - OUTCOME_KEPT_MS).into()],
        )
        .await?;
        txn.commit().await?;
        Ok(found)
    }

    async fn garbage(&self, now_ms: i64, tried_before_ms: i64) -> Result<Vec<GarbageRow>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection
            .rows(
                "select g.path, coalesce(c.csn, g.after_csn) from staffa_gc g
                 left join staffa_gc_commit c on c.batch=-g.after_csn
                 where g.not_before_ms<=$1 and (g.tried_ms is null or g.tried_ms<=$2) and not exists (
                   select 1 from iceberg_tables t where substr(t.metadata_location, 1, length(g.path))=g.path)",
                &[now_ms.into(), tried_before_ms.into()],
            )
            .await?;
        let found = rows.iter().map(|row| {
            Ok(GarbageRow {
                path: row.text(0)?,
                after_csn: unsigned(row.number(1)?)?,
            })
        });
        let mut found = found.collect::<Result<Vec<_>>>()?;
        // Here: databases have their own ideas of the order of texts.
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    async fn garbage_below(&self, prefix: &str) -> Result<HashSet<String>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection
            .rows(
                "select path from staffa_gc where substr(path, 1, length($1))=$1",
                &[prefix.into()],
            )
            .await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    async fn try_garbage(&self, paths: &[String], now_ms: i64) -> Result<Vec<String>> {
        let mut txn = self.begin(Need::Durable).await?;
        let mut tried = Vec::with_capacity(paths.len());
        // Whoever locks several rows of the list does it in one order: that of their bytes.
        let mut paths: Vec<&String> = paths.iter().collect();
        paths.sort_unstable();
        for path in paths {
            let there = txn
                .execute(
                    "update staffa_gc set tried_ms=$2 where path=$1 and not_before_ms<=$2",
                    &[path.as_str().into(), now_ms.into()],
                )
                .await?;
            if there == 0 {
                continue;
            }
            tried.push(path.clone());
            if let Some(table_location) = path.strip_suffix('/') {
                txn.execute(
                    "delete from staffa_share where table_location=$1",
                    &[table_location.into()],
                )
                .await?;
            }
        }
        txn.commit().await?;
        Ok(tried)
    }

    async fn oldest_base_csn(&self) -> Result<Option<u64>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        // A server that is gone is forgotten by recovery; until then its word stands.
        let rows = connection
            .rows(
                "select min(csn) from (select base_csn as csn from staffa_txn where state=0
                 union all select oldest_csn from staffa_server where server_id<>$1) used",
                &[self.server_id.to_string().as_str().into()],
            )
            .await?;
        let csn = rows.first().map(|row| row.optional_number(0)).transpose()?.flatten();
        csn.map(unsigned).transpose()
    }

    async fn oldest_started_ms(&self) -> Result<Option<i64>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection
            .rows("select min(started_ms) from staffa_txn where state=0", &[])
            .await?;
        match rows.first() {
            Some(row) => row.optional_number(0),
            None => Ok(None),
        }
    }

    async fn shares(&self) -> Result<Vec<Share>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection
            .rows("select table_location, owner_location from staffa_share", &[])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Share {
                    table_location: row.text(0)?,
                    owner_location: row.text(1)?,
                })
            })
            .collect()
    }

    async fn last_metadata(&self, table_location: &str) -> Result<Option<String>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection
            .rows(
                "select metadata_location from staffa_version where substr(metadata_location, 1, length($1))=$1
                 order by csn desc limit 1",
                &[format!("{table_location}/").as_str().into()],
            )
            .await?;
        rows.first().map(|row| row.text(0)).transpose()
    }

    async fn dropped(&self, name: &TableName, not_before_ms: i64) -> Result<Option<Dropped>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        // The last metadata of the table must be of this name: it may have been renamed before it was dropped.
        let rows = connection
            .rows(
                "select v.metadata_location, g.path from staffa_gc g
                 join staffa_version v on substr(v.metadata_location, 1, length(g.path))=g.path
                 where g.path like '%/' and g.not_before_ms>$4 and g.tried_ms is null
                   and v.catalog_name=$1 and v.table_namespace=$2 and v.table_name=$3
                   and not exists (select 1 from staffa_version w where w.csn>v.csn
                     and substr(w.metadata_location, 1, length(g.path))=g.path)
                 order by v.csn desc limit 1",
                &[
                    name.database.as_str().into(),
                    name.schema.as_str().into(),
                    name.name.as_str().into(),
                    not_before_ms.into(),
                ],
            )
            .await?;
        rows.first()
            .map(|row| {
                Ok(Dropped {
                    metadata_location: row.text(0)?,
                    garbage: row.text(1)?,
                })
            })
            .transpose()
    }

    async fn forget_garbage(&self, paths: &[String]) -> Result<()> {
        let gone: Vec<Uuid> = paths.iter().filter_map(|path| owner_of_directory(path)).collect();
        let mut txn = self.begin(Need::Note).await?;
        take_off(&mut *txn, paths).await?;
        txn.commit().await?;
        // The connection goes back: there may be only one that writes.
        drop(txn);
        self.forget_numbers(&gone).await
    }

    async fn dropped_sequences(&self, table_location: &str, table: Uuid) -> Result<Vec<(TableName, String)>> {
        let mut txn = self.begin(Need::Read).await?;
        let dropped = txn
            .rows(
                "select min(w.csn) from staffa_version w join (
                   select csn, catalog_name, table_namespace, table_name from staffa_version
                   where substr(metadata_location, 1, length($1))=$1 order by csn desc limit 1) v
                 on w.catalog_name=v.catalog_name and w.table_namespace=v.table_namespace
                   and w.table_name=v.table_name and w.csn>v.csn",
                &[format!("{table_location}/").as_str().into()],
            )
            .await?;
        let dropped = dropped.first().map(|row| row.optional_number(0)).transpose()?.flatten();
        let rows = match dropped {
            None => Vec::new(),
            // What came to the name next, or that it was free, came with the same commit.
            Some(csn) => {
                txn.rows(
                    "select v.catalog_name, v.table_namespace, v.table_name, v.metadata_location from staffa_version v
                     where v.csn<$1 and v.metadata_location like $2
                       and $1=(select min(w.csn) from staffa_version w where w.catalog_name=v.catalog_name
                         and w.table_namespace=v.table_namespace and w.table_name=v.table_name and w.csn>v.csn)
                     order by v.table_name",
                    &[csn.into(), format!("%\"table\":\"{table}\"%").as_str().into()],
                )
                .await?
            }
        };
        txn.commit().await?;
        let named = |row: &Row| {
            let name = TableName {
                database: row.text(0)?,
                schema: row.text(1)?,
                name: row.text(2)?,
            };
            Ok((name, row.text(3)?))
        };
        rows.iter().map(named).collect()
    }

    async fn forget_versions(&self, after_csn: u64, before_csn: u64) -> Result<Option<u64>> {
        let mut reader = self.begin(Need::Read).await?;
        let (found, next) = versions::find(&mut *reader, after_csn, before_csn).await?;
        reader.commit().await?;
        drop(reader);
        if !found.is_empty() {
            let mut txn = self.begin(Need::Note).await?;
            versions::forget(&mut *txn, &found).await?;
            txn.commit().await?;
        }
        Ok(next)
    }

    async fn note_garbage(&self, path: &str, not_before_ms: i64) -> Result<()> {
        let mut connection = self.backend.connection(Need::Note).await?;
        garbage::note(&mut *connection, path, not_before_ms).await
    }

    async fn take_numbers(
        &self,
        counter: Uuid,
        first: i64,
        count: i64,
        is_named: bool,
    ) -> Result<Option<SequenceState>> {
        let mut txn = self.begin(Need::Durable).await?;
        let state = counters::take(&mut *txn, counter, first, count).await?;
        let untouched = SequenceState {
            origin: None,
            taken: first,
        };
        if is_named && state == Some(untouched) {
            garbage::note(&mut *txn, &counter_garbage(counter), new_counter_until()).await?;
        }
        txn.commit().await?;
        Ok(state)
    }

    async fn counter(&self, counter: Uuid) -> Result<Option<SequenceState>> {
        counters::read(&mut *self.backend.connection(Need::Read).await?, counter).await
    }

    async fn set_counter(&self, counter: Uuid, state: SequenceState, is_named: bool) -> Result<bool> {
        let mut txn = self.begin(Need::Durable).await?;
        let is_new = counters::read(&mut *txn, counter).await?.is_none();
        let is_set = counters::set(&mut *txn, counter, state).await?;
        if is_named && is_new {
            garbage::note(&mut *txn, &counter_garbage(counter), new_counter_until()).await?;
        }
        txn.commit().await?;
        Ok(is_set)
    }

    async fn give_back(&self, counter: Uuid, unused: SequenceState, end: i64) -> Result<()> {
        // Losing this with the power leaves a gap.
        counters::give_back(&mut *self.backend.connection(Need::Note).await?, counter, unused, end).await
    }

    async fn forget_counters(&self, paths: &[String]) -> Result<()> {
        let mut txn = self.begin(Need::Note).await?;
        let counters: BTreeSet<&str> = paths.iter().filter_map(|path| counter_in_garbage(path)).collect();
        counters::forget(&mut *txn, &counters).await?;
        take_off(&mut *txn, paths).await?;
        txn.commit().await
    }

    async fn object_numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        self.lasting_numbers(objects).await
    }

    async fn passing_numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        self.numbers_for_now(objects).await
    }

    fn server_id(&self) -> Uuid {
        self.server_id
    }

    async fn servers(&self) -> Result<Vec<Uuid>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection.rows("select server_id from staffa_server", &[]).await?;
        let texts = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>>>()?;
        let known = texts.iter().filter_map(|text| Uuid::try_parse(text).ok());
        Ok(known.chain([self.server_id]).collect())
    }

    async fn schema_properties(&self, database: &str, schema: &str) -> Result<BTreeMap<String, String>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection
            .rows(
                "select property_key, property_value from iceberg_namespace_properties
                 where catalog_name=$1 and namespace=$2 and property_key<>'exists'",
                &[database.into(), schema.into()],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
    }

    async fn setting(&self, name: &str) -> Result<Option<String>> {
        let mut connection = self.backend.connection(Need::Read).await?;
        let rows = connection
            .rows("select value from staffa_setting where name=$1", &[name.into()])
            .await?;
        rows.first().map(|row| row.text(0)).transpose()
    }

    async fn first_setting(&self, name: &str, value: &str) -> Result<()> {
        let mut connection = self.backend.connection(Need::Durable).await?;
        connection
            .execute(
                "insert into staffa_setting(name, value) values ($1, $2) on conflict(name) do nothing",
                &[name.into(), value.into()],
            )
            .await?;
        Ok(())
    }
}

fn new_counter_until() -> i64 {
    Utc::now().timestamp_millis() + NEW_COUNTER_KEPT_MS
}

/// Takes paths off the garbage list, in the order in which everybody locks them.
async fn take_off(txn: &mut dyn Connection, paths: &[String]) -> Result<()> {
    let paths: BTreeSet<&String> = paths.iter().collect();
    for path in paths {
        txn.execute("delete from staffa_gc where path=$1", &[path.as_str().into()])
            .await?;
    }
    garbage::forget_batches(txn).await
}

/// A transaction that others gave up.
fn given_up() -> Error {
    Error::conflict("The transaction was given up because its server was thought to be dead.")
}

/// When a transaction began, in milliseconds since 1970 UTC: its id tells.
fn begun_ms(txn_id: Uuid) -> Option<i64> {
    let (seconds, nanoseconds) = txn_id.get_timestamp()?.to_unix();
    i64::try_from(seconds * 1000 + u64::from(nanoseconds / 1_000_000)).ok()
}

/// Whether a heartbeat was so long ago that its server has missed one since.
fn is_old(heartbeat_ms: Option<i64>, now_ms: i64) -> bool {
    heartbeat_ms.is_none_or(|heartbeat| now_ms - heartbeat > FIRST_LOOK_SILENCE_MS)
}

/// The pointers as a transaction sees them: what changed after `since`, or all.
pub(super) async fn pointer_state(txn: &mut dyn Connection, since: Option<u64>) -> Result<PointerState> {
    let csn = head_csn(txn).await?;
    // A number above the head's means the database was replaced by an older one: start again.
    let since = since.filter(|since| *since <= csn);

    let mut databases = BTreeSet::new();
    for row in txn.rows("select name from staffa_database", &[]).await? {
        databases.insert(row.text(0)?);
    }
    // Namespaces of other programs' tables count even if nobody made them.
    let namespaces = "select catalog_name, namespace from iceberg_namespace_properties
                      union select catalog_name, table_namespace from iceberg_tables";
    let mut schemas = BTreeSet::new();
    for row in txn.rows(namespaces, &[]).await? {
        schemas.insert((row.text(0)?, row.text(1)?));
    }
    databases.extend(schemas.iter().map(|(database, _)| database.clone()));

    let rows = match since {
        None => {
            txn.rows(
                "select catalog_name, table_namespace, table_name, metadata_location, iceberg_type from iceberg_tables",
                &[],
            )
            .await?
        }
        Some(since) => {
            txn.rows(
                "select v.catalog_name, v.table_namespace, v.table_name, t.metadata_location, t.iceberg_type
                 from (select distinct catalog_name, table_namespace, table_name from staffa_version where csn > $1) v
                 left join iceberg_tables t on t.catalog_name=v.catalog_name
                   and t.table_namespace=v.table_namespace and t.table_name=v.table_name",
                &[signed(since)?.into()],
            )
            .await?
        }
    };
    let changes = rows.iter().map(pointer_of).collect::<Result<_>>()?;
    let access = access::rows(txn, since).await?;
    Ok(PointerState {
        csn,
        complete: since.is_none(),
        databases: databases.into_iter().collect(),
        schemas: schemas.into_iter().collect(),
        changes,
        access,
    })
}

fn pointer_of(row: &Row) -> Result<(TableName, Option<Pointer>)> {
    let name = TableName {
        database: row.text(0)?,
        schema: row.text(1)?,
        name: row.text(2)?,
    };
    let kind = match row.optional_text(4)?.as_deref() {
        Some("VIEW") => RelationKind::View,
        Some("SEQ") => RelationKind::Sequence,
        Some("INDEX") => RelationKind::Index,
        _ => RelationKind::Table,
    };
    let location = row.optional_text(3)?;
    Ok((name, location.map(|location| Pointer { kind, location })))
}

async fn outcome(connection: &mut dyn Connection, txn_id: Uuid) -> Result<TxnOutcome> {
    let rows = connection
        .rows(
            "select state, commit_csn from staffa_txn where txn_id=$1",
            &[txn_id.to_string().as_str().into()],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(TxnOutcome::Aborted);
    };
    match (row.number(0)?, row.optional_number(1)?) {
        (0, _) => Ok(TxnOutcome::Open),
        (1, Some(csn)) => Ok(TxnOutcome::Committed(unsigned(csn)?)),
        (1, None) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("transaction {txn_id} has no commit number"),
        )),
        _ => Ok(TxnOutcome::Aborted),
    }
}

pub(super) async fn head_csn(connection: &mut dyn Connection) -> Result<u64> {
    let rows = connection.rows("select csn from staffa_head", &[]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the catalog database has no head"))?;
    unsigned(row.number(0)?)
}

pub(super) fn signed(csn: u64) -> Result<i64> {
    i64::try_from(csn).map_err(|_| Error::internal("a commit sequence number is out of range"))
}

fn unsigned(csn: i64) -> Result<u64> {
    u64::try_from(csn).map_err(|_| {
        Error::new(
            ErrorKind::Corrupt,
            "the catalog database holds a negative commit sequence number",
        )
    })
}
