//! The rows of roles and grants.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Connection, Need, SqlDatabase, head_csn, signed, unsigned};
use crate::access::{AccessChange, AccessEntry, AccessKey, AccessRow, FIRST_ROLE, Role};
use crate::error::Result;

/// What changed after a number, or all.
pub(super) async fn rows(txn: &mut dyn Connection, since: Option<u64>) -> Result<Vec<AccessRow>> {
    let found = match since {
        None => {
            let all = "select object, definition, csn from staffa_access where definition is not null";
            txn.rows(all, &[]).await?
        }
        Some(since) => {
            let changed = "select object, definition, csn from staffa_access where csn > $1";
            txn.rows(changed, &[signed(since)?.into()]).await?
        }
    };
    let row = |row: &super::Row| {
        Ok(AccessRow {
            object: row.text(0)?,
            definition: row.optional_text(1)?,
            csn: unsigned(row.number(2)?)?,
        })
    };
    found.iter().map(row).collect()
}

/// Changes rows, under the number of the commit. `false`: one is not what it must be.
pub(super) async fn change(txn: &mut dyn Connection, changes: &[AccessChange], csn: i64) -> Result<bool> {
    for AccessChange { object, from, to } in changes {
        let object = object.as_str().into();
        let changed = match (from, to) {
            (None, None) => 1,
            (None, Some(to)) => {
                let made = "insert into staffa_access(object, definition, csn) values ($1, $2, $3)
                            on conflict(object) do update set definition=excluded.definition, csn=excluded.csn
                            where staffa_access.definition is null";
                txn.execute(made, &[object, to.as_str().into(), csn.into()]).await?
            }
            (Some(from), Some(to)) => {
                let moved = "update staffa_access set definition=$2, csn=$3
                             where object=$1 and csn=$4 and definition is not null";
                let arguments = [object, to.as_str().into(), csn.into(), signed(*from)?.into()];
                txn.execute(moved, &arguments).await?
            }
            (Some(from), None) => {
                let gone = "update staffa_access set definition=null, csn=$2
                            where object=$1 and csn=$3 and definition is not null";
                txn.execute(gone, &[object, csn.into(), signed(*from)?.into()]).await?
            }
        };
        if changed != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sees to it that there is a first role. A catalog from before there were grants has the verifiers of roles that all may do
/// everything: that stays so.
pub(super) async fn prepare(database: &SqlDatabase) -> Result<()> {
    let mut reader = database.backend.connection(Need::Read).await?;
    let some = "select 1 from staffa_access limit 1";
    if !reader.rows(some, &[]).await?.is_empty() {
        return Ok(());
    }
    drop(reader);
    let mut txn = database.begin(Need::Durable).await?;
    let csn = signed(head_csn(&mut *txn).await?)?;
    let before = txn.rows("select name, verifier from staffa_role", &[]).await?;
    let mut roles = vec![Role::all_mighty(Uuid::nil(), FIRST_ROLE, None)];
    for row in &before {
        let (name, verifier) = (row.text(0)?, Some(row.text(1)?));
        match name == FIRST_ROLE {
            true => roles[0].verifier = verifier,
            false => roles.push(Role::all_mighty(Uuid::new_v4(), &name, verifier)),
        }
    }
    let mut rows = BTreeSet::new();
    for role in roles {
        rows.insert((
            AccessKey::Role(role.name.clone()).print()?,
            AccessEntry::Role(role).print()?,
        ));
    }
    // Servers that start at the same time do it in the same order, and one of them first.
    for (object, definition) in rows {
        txn.execute(
            "insert into staffa_access(object, definition, csn) values ($1, $2, $3) on conflict(object) do nothing",
            &[object.as_str().into(), definition.as_str().into(), csn.into()],
        )
        .await?;
    }
    txn.execute("delete from staffa_role", &[]).await?;
    txn.commit().await
}
