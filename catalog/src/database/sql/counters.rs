//! Counters of sequences: rows that move at once, for good, whatever becomes of the transaction that asks.
//!
//! A counter that has ended, because a commit put another in its place, has `-1 - taken` where others have `taken`.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

use super::Connection;
use super::statements::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::sequence::{CounterEnd, Sequence, SequenceState};

/// Steps that are the caller's from now on; `None` when the counter has ended.
pub(super) async fn take(
    connection: &mut dyn Connection,
    counter: Uuid,
    first: i64,
    count: i64,
) -> Result<Option<SequenceState>> {
    let rows = connection
        .rows(
            "insert into staffa_sequence(id, taken) values ($1, $2)
             on conflict(id) do update set taken=staffa_sequence.taken+$3
             where staffa_sequence.taken>=0 and staffa_sequence.taken<=$4
             returning taken, origin",
            &[
                counter.to_string().as_str().into(),
                first.checked_add(count).ok_or_else(used_up)?.into(),
                count.into(),
                (i64::MAX - count).into(),
            ],
        )
        .await?;
    if rows.is_empty() && !has_ended(connection, counter).await? {
        return Err(used_up());
    }
    let before = |row: &Row| {
        let after = state(row)?;
        Ok(SequenceState {
            taken: after.taken - count,
            ..after
        })
    };
    rows.first().map(before).transpose()
}

async fn has_ended(connection: &mut dyn Connection, counter: Uuid) -> Result<bool> {
    let sql = "select 1 from staffa_sequence where id=$1 and taken<0";
    let rows = connection.rows(sql, &[counter.to_string().as_str().into()]).await?;
    Ok(!rows.is_empty())
}

fn used_up() -> Error {
    Error::new(ErrorKind::Unsupported, "a sequence cannot count beyond 2^63 steps")
        .with_hint("ALTER SEQUENCE … RESTART begins to count again.")
}

/// How far a counter is, or was when it ended; `None`: nobody has asked it.
pub(super) async fn read(connection: &mut dyn Connection, counter: Uuid) -> Result<Option<SequenceState>> {
    let rows = connection
        .rows(
            "select taken, origin from staffa_sequence where id=$1",
            &[counter.to_string().as_str().into()],
        )
        .await?;
    rows.first().map(state).transpose()
}

/// Sets a counter. Tells whether it could be: one that has ended cannot.
pub(super) async fn set(connection: &mut dyn Connection, counter: Uuid, state: SequenceState) -> Result<bool> {
    let set = connection
        .execute(
            "insert into staffa_sequence(id, taken, origin) values ($1, $2, $3)
             on conflict(id) do update set taken=excluded.taken, origin=excluded.origin
             where staffa_sequence.taken>=0",
            &[
                counter.to_string().as_str().into(),
                state.taken.into(),
                state.origin.into(),
            ],
        )
        .await?;
    Ok(set == 1)
}

/// Takes steps back that nobody was given, if they are the last that were taken.
pub(super) async fn give_back(
    connection: &mut dyn Connection,
    counter: Uuid,
    unused: SequenceState,
    end: i64,
) -> Result<()> {
    connection
        .execute(
            "update staffa_sequence set taken=$2 where id=$1 and taken=$3 and origin is not distinct from $4",
            &[
                counter.to_string().as_str().into(),
                unused.taken.into(),
                end.into(),
                unused.origin.into(),
            ],
        )
        .await?;
    Ok(())
}

/// Ends a counter. When more of it was taken than the one after it goes on from, that begins where this one ends.
pub(super) async fn end(connection: &mut dyn Connection, end: &CounterEnd) -> Result<()> {
    let counter = end.before.counter.to_string();
    let rows = connection
        .rows(
            "insert into staffa_sequence(id, taken) values ($1, $2)
             on conflict(id) do update set taken=-1-staffa_sequence.taken where staffa_sequence.taken>=0
             returning taken, origin",
            &[counter.as_str().into(), (-1 - end.before.first_step()).into()],
        )
        .await?;
    let last = rows.first().map(state).transpose()?;
    let last = last.ok_or_else(|| Error::conflict("The sequence was altered by another transaction."))?;
    if last == end.state {
        return Ok(());
    }
    let (origin, is_called) = end.before.last_value(last);
    let is_untouched = !end.is_exact
        && connection
            .execute(
                "insert into staffa_sequence(id, taken, origin) values ($1, $2, $3) on conflict do nothing",
                &[
                    end.next.to_string().as_str().into(),
                    i64::from(is_called).into(),
                    origin.into(),
                ],
            )
            .await?
            == 1;
    match is_untouched {
        true => Ok(()),
        // The transaction has used numbers that others have got since.
        false => Err(Error::conflict(
            "Others took numbers from the sequence that the transaction altered.",
        )),
    }
}

/// Forgets those of the counters that no sequence has.
pub(super) async fn forget(connection: &mut dyn Connection, counters: &BTreeSet<&str>) -> Result<()> {
    let sql = "select metadata_location from iceberg_tables where iceberg_type='SEQ'";
    let rows = connection.rows(sql, &[]).await?;
    let pointers = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>>>()?;
    let used: HashSet<&str> = pointers
        .iter()
        .filter_map(|pointer| Sequence::counter_in(pointer))
        .collect();
    for counter in counters.iter().filter(|counter| !used.contains(*counter)) {
        connection
            .execute("delete from staffa_sequence where id=$1", &[(*counter).into()])
            .await?;
    }
    Ok(())
}

fn state(row: &Row) -> Result<SequenceState> {
    let taken = row.number(0)?;
    Ok(SequenceState {
        taken: if taken < 0 { -1 - taken } else { taken },
        origin: row.optional_number(1)?,
    })
}
