//! The numbers of objects, for clients that ask for objects by numbers.
//!
//! Those of committed objects are rows of `staffa_object`, the same for ever and on all servers. Temporary objects and those of
//! open transactions get numbers from the same counter that are noted nowhere; an object that is committed keeps the number
//! this server gave it before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::LazyLock;

use moka::sync::Cache;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::statements::Argument;
use super::{Connection, Need, SqlDatabase, counters};
use crate::error::{Error, ErrorKind, Result};

/// The counter the numbers come from.
const COUNTER: Uuid = Uuid::from_u128(0x7374_6166_6661_6f62_6a65_6374_0000_0001);
/// The first number of an object that is not PostgreSQL's own.
const NUMBER_FIRST: i64 = 16_385;
/// Numbers that are remembered; others are read again.
const KNOWN_MAX: u64 = 200_000;
/// Numbers of temporary and uncommitted objects that are remembered.
const PASSING_MAX: u64 = 100_000;
/// How many numbers are taken ahead for such objects.
const TAKEN_AHEAD: i64 = 256;
/// How many objects one statement names.
const NAMES_MAX: usize = 64;

static FIND: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<String> = (1..=NAMES_MAX).map(|at| format!("${at}")).collect();
    format!(
        "select name, number from staffa_object where name in ({})",
        names.join(", ")
    )
});
static INSERT: LazyLock<String> = LazyLock::new(|| {
    let rows: Vec<String> = (0..NAMES_MAX)
        .map(|at| format!("(${}, ${})", 2 * at + 1, 2 * at + 2))
        .collect();
    let rows = rows.join(", ");
    format!("insert into staffa_object(name, number) values {rows} on conflict(name) do nothing")
});

/// What this server knows of numbers.
pub(super) struct Numbers {
    /// Of rows, which stay. Not of schemas: their rows move with their names.
    known: Cache<String, u32>,
    passing: Cache<String, u32>,
    /// Taken, and not given yet.
    ahead: Mutex<Range<i64>>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            known: Cache::new(KNOWN_MAX),
            passing: Cache::new(PASSING_MAX),
            ahead: Mutex::new(0..0),
        }
    }
}

/// The name of a schema's row.
pub(super) fn schema_row(database: &str, schema: &str) -> String {
    format!("schema/{database}/{schema}")
}

fn may_move(object: &str) -> bool {
    object.starts_with("schema/")
}

impl SqlDatabase {
    /// See [`Database::object_numbers`](crate::database::Database::object_numbers).
    pub(super) async fn lasting_numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        let mut found = self.found_numbers(objects).await?;
        let mut new: Vec<&String> = objects.iter().filter(|object| !found.contains_key(*object)).collect();
        if !new.is_empty() {
            // Servers that do this at the same time lock the rows in one order.
            new.sort_unstable();
            new.dedup();
            self.give_numbers(&new).await?;
            // What another server gave a number at the same time keeps that.
            found = self.found_numbers(objects).await?;
        }
        in_order(objects, &found)
    }

    /// See [`Database::passing_numbers`](crate::database::Database::passing_numbers).
    pub(super) async fn numbers_for_now(&self, objects: &[String]) -> Result<Vec<u32>> {
        // What has a row by now may have got another number in it, from another server.
        let remembered = |object: &String| {
            let number = self
                .numbers
                .known
                .get(object)
                .or_else(|| self.numbers.passing.get(object));
            Some((object.clone(), number?))
        };
        let mut found: HashMap<String, u32> = objects.iter().filter_map(remembered).collect();
        let others = objects.iter().filter(|object| !found.contains_key(*object));
        let others: Vec<String> = others.cloned().collect();
        found.extend(self.found_numbers(&others).await?);
        for object in others {
            if let Entry::Vacant(free) = found.entry(object) {
                let number = self.next_number().await?;
                self.numbers.passing.insert(free.key().clone(), number);
                free.insert(number);
            }
        }
        in_order(objects, &found)
    }

    /// The numbers that objects have.
    async fn found_numbers(&self, objects: &[String]) -> Result<HashMap<String, u32>> {
        let known = |object: &String| Some((object.clone(), self.numbers.known.get(object)?));
        let mut found: HashMap<String, u32> = objects.iter().filter_map(known).collect();
        let others: Vec<&String> = objects.iter().filter(|object| !found.contains_key(*object)).collect();
        if others.is_empty() {
            return Ok(found);
        }
        let mut connection = self.backend.connection(Need::Read).await?;
        for names in others.chunks(NAMES_MAX) {
            // Naming one twice does no harm.
            let last = names.last().map_or("", |name| name.as_str());
            let names = names.iter().map(|name| name.as_str()).chain(std::iter::repeat(last));
            let arguments: Vec<Argument<'_>> = names.take(NAMES_MAX).map(Argument::from).collect();
            for row in connection.rows(&FIND, &arguments).await? {
                let (name, number) = (row.text(0)?, number(row.number(1)?)?);
                if !may_move(&name) {
                    self.numbers.known.insert(name.clone(), number);
                }
                found.insert(name, number);
            }
        }
        Ok(found)
    }

    async fn give_numbers(&self, objects: &[&String]) -> Result<()> {
        let given: Vec<Option<u32>> = objects.iter().map(|object| self.numbers.passing.get(*object)).collect();
        let new = given.iter().filter(|number| number.is_none()).count();
        let count = i64::try_from(new).map_err(|_| Error::internal("too many objects"))?;
        let mut txn = self.begin(Need::Durable).await?;
        let mut next = match count {
            0 => 0,
            _ => taken(&mut *txn, count).await?,
        };
        let mut rows = Vec::with_capacity(objects.len());
        for (object, given) in objects.iter().zip(given) {
            let number = given.map_or(NUMBER_FIRST + next, i64::from);
            next += i64::from(given.is_none());
            rows.push((object.as_str(), number));
        }
        for rows in rows.chunks(NAMES_MAX) {
            let last = rows.last().copied().unwrap_or_default();
            let rows = rows.iter().copied().chain(std::iter::repeat(last)).take(NAMES_MAX);
            let arguments: Vec<Argument<'_>> = rows.flat_map(|(name, number)| [name.into(), number.into()]).collect();
            txn.execute(&INSERT, &arguments).await?;
        }
        txn.commit().await
    }

    /// A number for an object that passes.
    async fn next_number(&self) -> Result<u32> {
        let mut ahead = self.numbers.ahead.lock().await;
        if ahead.is_empty() {
            let mut txn = self.begin(Need::Durable).await?;
            let first = taken(&mut *txn, TAKEN_AHEAD).await?;
            txn.commit().await?;
            *ahead = first..first + TAKEN_AHEAD;
        }
        let next = ahead
            .next()
            .ok_or_else(|| Error::internal("numbers that were taken are gone"))?;
        number(NUMBER_FIRST + next)
    }

    /// Forgets the numbers of tables and views that are gone, by their ids.
    pub(super) async fn forget_numbers(&self, gone: &[Uuid]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut connection = self.backend.connection(Need::Read).await?;
        let all = "select name from staffa_object where name like 'relation/%'";
        let rows = connection.rows(all, &[]).await?;
        drop(connection);
        let mut names = Vec::new();
        for row in rows {
            let name = row.text(0)?;
            let id = name.strip_prefix("relation/").and_then(|rest| rest.split('/').next());
            if id
                .and_then(|id| Uuid::try_parse(id).ok())
                .is_some_and(|id| gone.contains(&id))
            {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        names.sort_unstable();
        let mut txn = self.begin(Need::Note).await?;
        for name in &names {
            txn.execute("delete from staffa_object where name=$1", &[name.as_str().into()])
                .await?;
        }
        txn.commit().await?;
        for name in &names {
            self.numbers.known.invalidate(name);
        }
        Ok(())
    }
}

/// The first of numbers that are the caller's, counted from 0.
async fn taken(connection: &mut dyn Connection, count: i64) -> Result<i64> {
    let before = counters::take(connection, COUNTER, 0, count).await?;
    let before = before.ok_or_else(|| Error::internal("the counter of objects has ended"))?;
    Ok(before.taken)
}

fn number(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::new(ErrorKind::Corrupt, "the number of an object is out of range"))
}

fn in_order(objects: &[String], found: &HashMap<String, u32>) -> Result<Vec<u32>> {
    let numbers = objects.iter().map(|object| found.get(object).copied());
    let numbers: Option<Vec<u32>> = numbers.collect();
    numbers.ok_or_else(|| Error::internal("an object got no number"))
}

/// Moves the numbers of schemas that are called otherwise now, and forgets those of schemas that are gone.
pub(super) async fn move_schemas(
    txn: &mut dyn Connection,
    renamed: &[(String, String, String)],
    dropped: &[(String, String)],
) -> Result<()> {
    for (database, from, to) in renamed {
        forget_schema(txn, database, to).await?;
        let rows = [schema_row(database, from), schema_row(database, to)];
        let [from, to] = &rows;
        txn.execute(
            "update staffa_object set name=$2 where name=$1",
            &[from.as_str().into(), to.as_str().into()],
        )
        .await?;
    }
    for (database, schema) in dropped {
        forget_schema(txn, database, schema).await?;
    }
    Ok(())
}

async fn forget_schema(txn: &mut dyn Connection, database: &str, schema: &str) -> Result<()> {
    let row = schema_row(database, schema);
    txn.execute("delete from staffa_object where name=$1", &[row.as_str().into()])
        .await?;
    Ok(())
}
