//! Tables: made, loaded, listed, renamed, registered and dropped. What changes them is in `commit.rs`.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use staffa::IcebergKind;

use super::error::{Failure, Result};
use super::request::{Json, Parameters, Place, metadata_response, page_response, schema_of};

/// `TableIdentifier`
#[derive(Debug, Deserialize)]
pub(super) struct Identifier {
    pub(super) namespace: Vec<String>,
    pub(super) name: String,
}

impl Identifier {
    pub(super) fn schema(&self) -> Result<&str> {
        schema_of(&self.namespace)
    }
}

pub(super) async fn list(place: Place, parameters: Parameters) -> Result<Response> {
    list_of(&place, &parameters, IcebergKind::Table).await
}

/// `ListTablesResponse`, which that of views looks like.
pub(super) async fn list_of(place: &Place, parameters: &Parameters, kind: IcebergKind) -> Result<Response> {
    let schema = place.namespace()?;
    let (names, next) = parameters.page(place.catalog.names(schema, kind).await?)?;
    let identifiers: Vec<Value> = names
        .into_iter()
        .map(|name| json!({"namespace": [schema], "name": name}))
        .collect();
    Ok(page_response(json!({"identifiers": identifiers}), next))
}

pub(super) async fn create(place: Place, Json(request): Json<Value>) -> Result<Response> {
    let metadata = place.catalog.create_table(place.namespace()?, request).await?;
    Ok(metadata_response(metadata))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Registration {
    name: String,
    metadata_location: String,
    #[serde(default)]
    overwrite: bool,
}

pub(super) async fn register(place: Place, Json(registration): Json<Registration>) -> Result<Response> {
    let schema = place.namespace()?;
    if registration.overwrite {
        return Err(Failure::unsupported(
            "A table cannot be registered over another: drop that one first",
        ));
    }
    let Registration {
        name,
        metadata_location,
        ..
    } = registration;
    let metadata = place.catalog.register_table(schema, &name, &metadata_location).await?;
    Ok(metadata_response(metadata))
}

/// A version of a table is known by its metadata file: a client that has it need not read it again.
pub(super) async fn load(place: Place, parameters: Parameters, headers: HeaderMap) -> Result<Response> {
    let (schema, table) = (place.namespace()?, place.table());
    let referenced_only = match parameters.get("snapshots") {
        None | Some("" | "all") => false,
        Some("refs") => true,
        Some(_) => return Err(Failure::bad_request("snapshots must be \"all\" or \"refs\"")),
    };
    let location = place
        .catalog
        .metadata_location(schema, table, IcebergKind::Table)
        .await?;
    if is_known(&headers, &tag(&location, referenced_only)) {
        let tag = tag(&location, referenced_only);
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let metadata = place.catalog.table(schema, table, referenced_only).await?;
    let tag = metadata
        .location
        .as_deref()
        .and_then(|location| HeaderValue::from_str(&tag(location, referenced_only)).ok());
    let mut response = metadata_response(metadata);
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn tag(location: &str, referenced_only: bool) -> String {
    let mode = if referenced_only { "r" } else { "a" };
    format!("\"{mode}{}\"", URL_SAFE_NO_PAD.encode(location))
}

/// Whether the client has this version; tags are in a list, and may be marked as weak.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).into_iter();
    let mut tags = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    tags.any(|known| known.trim().trim_start_matches("W/") == tag)
}

pub(super) async fn exists(place: Place) -> Result<Response> {
    let (schema, table) = (place.namespace()?, place.table());
    place
        .catalog
        .metadata_location(schema, table, IcebergKind::Table)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn remove(place: Place, parameters: Parameters) -> Result<Response> {
    let purge = match parameters.get("purgeRequested") {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("true") => true,
        Some(text) if text.is_empty() || text.eq_ignore_ascii_case("false") => false,
        Some(_) => return Err(Failure::bad_request("purgeRequested must be true or false")),
    };
    place
        .catalog
        .drop_table(place.namespace()?, place.table(), purge)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct Renaming {
    source: Identifier,
    destination: Identifier,
}

pub(super) async fn rename(place: Place, Json(renaming): Json<Renaming>) -> Result<Response> {
    rename_of(&place, &renaming, IcebergKind::Table).await
}

pub(super) async fn rename_of(place: &Place, renaming: &Renaming, kind: IcebergKind) -> Result<Response> {
    let Renaming { source, destination } = renaming;
    let from = (source.schema()?, source.name.as_str());
    let to = (destination.schema()?, destination.name.as_str());
    place.catalog.rename(kind, from, to).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Reports of scans and commits are taken and not kept.
pub(super) async fn metrics(place: Place, Json(report): Json<Value>) -> Result<Response> {
    let (schema, table) = (place.namespace()?, place.table());
    place
        .catalog
        .metadata_location(schema, table, IcebergKind::Table)
        .await?;
    match report.is_object() {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Failure::bad_request("A report is an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_a_version_is_told_so() {
        let ours = tag("file:///t/metadata/00001-x.metadata.json", false);
        let known = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(text).expect("a header"));
            is_known(&headers, &ours)
        };
        assert!(known(&ours));
        assert!(known(&format!("\"other\", W/{ours}")));
        assert!(!known("\"other\""));
        assert!(!known(&tag("file:///t/metadata/00001-x.metadata.json", true)));
        assert!(!is_known(&HeaderMap::new(), &ours));
    }
}
