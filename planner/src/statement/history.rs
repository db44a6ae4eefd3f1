//! Statements about older states of tables, resolved: `ROLLBACK TABLE`, branches and tags, `CLONE`, `UNDROP`.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;
use staffa_catalog::{Privileges, RefRetention, SnapshotRef, Table, TableChange, TableName, TableVersionSpec};

use crate::error::{Error, ErrorKind, Result};
use crate::parse::{HistoryAst, RefAst};
use crate::resolve::{self, version};
use crate::statement::Plan;
use crate::statement::query::Scope;

/// The branch every writer moves.
const MAIN: &str = "main";

pub(crate) async fn plan(scope: &Scope<'_>, asked: &HistoryAst) -> Result<Plan> {
    match asked {
        HistoryAst::RollBack { table, to } => {
            let table = resolve::table(scope.context, table).await?;
            // Before it is said which states there are.
            scope.context.check_owner(table.name(), false).await?;
            let snapshot_id = match version::spec_of(scope, to).await? {
                Some(version) => table.snapshot_of(&version)?,
                None => return Err(without_value()),
            };
            Ok(Plan::ChangeHistory {
                table: table.name().clone(),
                change: TableChange::RollBack { snapshot_id },
            })
        }
        HistoryAst::Ref {
            table,
            if_exists,
            change,
        } => {
            let Some(table) = existing_table(scope, table, *if_exists).await? else {
                return Ok(Plan::Skipped {
                    notice: resolve::skipped(table),
                });
            };
            scope.context.check_owner(table.name(), false).await?;
            change_ref(scope, &table, change).await
        }
        HistoryAst::Clone {
            name,
            if_not_exists,
            source,
            at,
        } => {
            let source = resolve::table(scope.context, source).await?;
            if source.materialized().is_some() {
                let message = format!("\"{}\" is not a table", source.name().name);
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
            scope.context.check_table(&source, Privileges::SELECT)?;
            scope.context.check_unguarded(&source)?;
            let (version, of_present) = match at {
                None => (None, true),
                Some(at) => match version::spec_of(scope, at).await? {
                    Some(version) => {
                        let snapshot = TableVersionSpec::Snapshot(source.snapshot_of(&version)?);
                        (Some(snapshot), source.is_present(&version)?)
                    }
                    None => return Err(without_value()),
                },
            };
            Ok(Plan::CloneTable {
                name: resolve::creatable(scope.context, name)?,
                if_not_exists: *if_not_exists,
                source: source.name().clone(),
                version,
                of_present,
            })
        }
        HistoryAst::Undrop { name } => Ok(Plan::UndropTable {
            name: resolve::creatable(scope.context, name)?,
        }),
    }
}

fn without_value() -> Error {
    Error::unsupported("parameters in this statement are not supported")
}

async fn existing_table(scope: &Scope<'_>, name: &ObjectName, if_exists: bool) -> Result<Option<Arc<Table>>> {
    match resolve::existing(scope.context, name)? {
        None if if_exists => Ok(None),
        _ => resolve::table(scope.context, name).await.map(Some),
    }
}

async fn change_ref(scope: &Scope<'_>, table: &Table, change: &RefAst) -> Result<Plan> {
    let history = |change| {
        Ok(Plan::ChangeHistory {
            table: table.name().clone(),
            change,
        })
    };
    match change {
        RefAst::Drop {
            branch,
            name,
            if_exists,
        } => {
            if name == MAIN {
                return Err(Error::new(
                    ErrorKind::DependentObjects,
                    "cannot drop branch main because it is the table itself",
                ));
            }
            match existing_ref(table, name)? {
                None if *if_exists => Ok(Plan::Skipped {
                    notice: format!("{} \"{name}\" does not exist, skipping", word(*branch)),
                }),
                None => Err(table
                    .named_ref(name)
                    .map_or_else(Error::from, |_| Error::internal("a lost name"))),
                Some(given) if given.is_branch() != *branch => Err(other_kind(&given)),
                Some(_) => history(TableChange::DropRef { name: name.clone() }),
            }
        }
        RefAst::Set {
            branch,
            name,
            creates,
            replaces,
            if_not_exists,
            at,
            max_ref_age_ms,
            max_snapshot_age_ms,
            min_snapshots_to_keep,
        } => {
            if name == MAIN {
                return Err(Error::new(ErrorKind::ReservedName, "branch main is the table itself")
                    .with_hint("ROLLBACK TABLE gives a table the rows of an older snapshot."));
            }
            match existing_ref(table, name)? {
                Some(_) if *if_not_exists => {
                    return Ok(Plan::Skipped {
                        notice: format!("{} \"{name}\" already exists, skipping", word(*branch)),
                    });
                }
                Some(given) if given.is_branch() != *branch => return Err(other_kind(&given)),
                Some(_) if !replaces => {
                    let message = format!("{} \"{name}\" already exists", word(*branch));
                    return Err(Error::new(ErrorKind::DuplicateObject, message));
                }
                None if !creates => {
                    return Err(table
                        .named_ref(name)
                        .map_or_else(Error::from, |_| Error::internal("a lost name")));
                }
                _ => {}
            }
            let snapshot_id = match at {
                Some(at) => match version::spec_of(scope, at).await? {
                    Some(version) => table.snapshot_of(&version)?,
                    None => return Err(without_value()),
                },
                None => table.snapshot_id().ok_or_else(|| no_snapshot(table))?,
            };
            history(TableChange::SetRef(SnapshotRef {
                name: name.clone(),
                snapshot_id,
                retention: match branch {
                    true => RefRetention::Branch {
                        max_ref_age_ms: *max_ref_age_ms,
                        max_snapshot_age_ms: *max_snapshot_age_ms,
                        min_snapshots_to_keep: *min_snapshots_to_keep,
                    },
                    false => RefRetention::Tag {
                        max_ref_age_ms: *max_ref_age_ms,
                    },
                },
            }))
        }
    }
}

fn existing_ref(table: &Table, name: &str) -> Result<Option<SnapshotRef>> {
    Ok(table.refs()?.into_iter().find(|given| given.name == name))
}

fn word(branch: bool) -> &'static str {
    if branch { "branch" } else { "tag" }
}

fn other_kind(given: &SnapshotRef) -> Error {
    let message = format!("\"{}\" is a {}", given.name, word(given.is_branch()));
    Error::new(ErrorKind::WrongObjectType, message)
}

fn no_snapshot(table: &Table) -> Error {
    let TableName { name, .. } = table.name();
    Error::new(
        ErrorKind::ObjectNotInPrerequisiteState,
        format!("table \"{name}\" has no snapshot that could be named"),
    )
    .with_detail("No rows were ever committed to it.")
}
