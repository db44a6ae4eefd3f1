//! Commits: to one table, or to several at once.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use staffa::IcebergCommit;

use super::error::{Failure, Result};
use super::request::{Json, Place, metadata_response};
use super::tables::Identifier;

/// `CommitTableRequest`
#[derive(Deserialize)]
pub(super) struct Change {
    #[serde(default)]
    identifier: Option<Identifier>,
    requirements: Value,
    updates: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Changes {
    table_changes: Vec<Change>,
}

pub(super) async fn one_table(place: Place, Json(change): Json<Change>) -> Result<Response> {
    let (schema, table) = (place.namespace()?, place.table());
    let commit = IcebergCommit {
        schema: schema.to_owned(),
        table: table.to_owned(),
        requirements: change.requirements,
        updates: change.updates,
    };
    commit_all(&place, vec![commit]).await?;
    // It has happened: whatever goes wrong from here on, the client must not think otherwise.
    let metadata = place.catalog.table(schema, table, false).await;
    let metadata = metadata.map_err(|error| {
        Failure::outcome_unknown(format!(
            "The commit is made, but the table cannot be read: {}",
            error.message()
        ))
    })?;
    Ok(metadata_response(metadata))
}

pub(super) async fn many_tables(place: Place, Json(changes): Json<Changes>) -> Result<Response> {
    let mut commits = Vec::with_capacity(changes.table_changes.len());
    for change in changes.table_changes {
        let identifier = change
            .identifier
            .ok_or_else(|| Failure::bad_request("A change of a table lacks the table's identifier"))?;
        commits.push(IcebergCommit {
            schema: identifier.schema()?.to_owned(),
            table: identifier.name,
            requirements: change.requirements,
            updates: change.updates,
        });
    }
    commit_all(&place, commits).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn commit_all(place: &Place, commits: Vec<IcebergCommit>) -> Result<()> {
    let committed = place.catalog.commit(commits).await;
    committed.map_err(|error| Failure::from(error).of_commit())
}
