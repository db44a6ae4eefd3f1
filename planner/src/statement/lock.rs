//! `LOCK TABLE`. Nobody waits for anybody here: a transaction that wants a table for itself hangs on all rows of it, so that its
//! commit fails where others changed the table meanwhile.

use datafusion::sql::sqlparser::ast::ObjectName;
use staffa_catalog::{Privileges, RelationKind};

use crate::authorize::denied;
use crate::error::{Error, ErrorKind, Result};
use crate::resolve;
use crate::statement::Plan;
use crate::statement::query::Scope;

/// What a lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// Others may do all but take the table away: every snapshot has that.
    Read,
    /// Others may change rows, too.
    Write,
    /// The same for those who change more than rows.
    Change,
    /// Others may change no rows.
    Alone,
}

impl LockMode {
    /// One of these will do.
    fn privileges(self) -> &'static [Privileges] {
        match self {
            LockMode::Read => &[Privileges::SELECT],
            LockMode::Write => &[
                Privileges::INSERT,
                Privileges::UPDATE,
                Privileges::DELETE,
                Privileges::TRUNCATE,
            ],
            LockMode::Change | LockMode::Alone => &[Privileges::UPDATE, Privileges::DELETE, Privileges::TRUNCATE],
        }
    }
}

pub(crate) async fn lock(scope: &Scope<'_>, names: &[ObjectName], mode: LockMode) -> Result<Plan> {
    let context = scope.context;
    let mut tables = Vec::new();
    for name in names {
        match resolve::existing(context, name)? {
            Some((_, RelationKind::View)) if mode != LockMode::Alone => {}
            Some((_, RelationKind::View)) => {
                return Err(Error::unsupported("LOCK TABLE of a view in this mode is not supported")
                    .with_hint("Lock the tables that it reads."));
            }
            Some((full, RelationKind::Sequence)) => {
                let message = format!("cannot lock relation \"{}\"", full.name);
                return Err(Error::new(ErrorKind::WrongObjectType, message)
                    .with_detail("This operation is not supported for sequences."));
            }
            _ => {
                let table = resolve::table(context, name).await?;
                let may = |privilege: &Privileges| context.check_table(&table, *privilege).is_ok();
                if !mode.privileges().iter().any(may) {
                    return Err(denied("table", &table.name().name));
                }
                tables.push(table);
            }
        }
    }
    if mode != LockMode::Alone {
        tables.clear();
    }
    Ok(Plan::Lock { tables })
}
