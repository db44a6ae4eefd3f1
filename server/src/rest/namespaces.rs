//! Namespaces: the schemas of a database.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::error::{Failure, Result};
use super::request::{Json, Parameters, Place, page_response, value_response};

/// Where a namespace's tables go is Staffa's to say: what it would not follow it does not store.
const LOCATION: &str = "location";

pub(super) async fn list(place: Place, parameters: Parameters) -> Result<Response> {
    if let Some(parent) = parameters.get("parent").filter(|parent| !parent.is_empty()) {
        place.catalog.check_schema(parent).await?;
        // A schema has no schemas in it.
        return Ok(value_response(&json!({"namespaces": []})));
    }
    let (schemas, next) = parameters.page(place.catalog.schemas().await?)?;
    let namespaces: Vec<[String; 1]> = schemas.into_iter().map(|schema| [schema]).collect();
    Ok(page_response(json!({"namespaces": namespaces}), next))
}

#[derive(Deserialize)]
pub(super) struct Creation {
    namespace: Vec<String>,
    #[serde(default)]
    properties: Option<BTreeMap<String, String>>,
}

pub(super) async fn create(place: Place, Json(creation): Json<Creation>) -> Result<Response> {
    let [schema] = &creation.namespace[..] else {
        return Err(Failure::unsupported("Namespaces have one level"));
    };
    let properties = creation.properties.unwrap_or_default();
    check(&properties)?;
    place.catalog.create_schema(schema, properties.clone()).await?;
    Ok(value_response(
        &json!({"namespace": creation.namespace, "properties": properties}),
    ))
}

pub(super) async fn load(place: Place) -> Result<Response> {
    let schema = place.namespace()?;
    let properties = place.catalog.schema_properties(schema).await?;
    Ok(value_response(
        &json!({"namespace": [schema], "properties": properties}),
    ))
}

pub(super) async fn exists(place: Place) -> Result<Response> {
    place.catalog.check_schema(place.namespace()?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn remove(place: Place) -> Result<Response> {
    place.catalog.drop_schema(place.namespace()?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct PropertyChanges {
    #[serde(default)]
    removals: Option<Vec<String>>,
    #[serde(default)]
    updates: Option<BTreeMap<String, String>>,
}

pub(super) async fn change_properties(place: Place, Json(changes): Json<PropertyChanges>) -> Result<Response> {
    let schema = place.namespace()?;
    let removals = changes.removals.unwrap_or_default();
    let updates = changes.updates.unwrap_or_default();
    check(&updates)?;
    if let Some(key) = removals.iter().find(|key| updates.contains_key(*key)) {
        return Err(Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "UnprocessableEntityException",
            format!("Property \"{key}\" is to be set and to be removed"),
        ));
    }
    let changed = place
        .catalog
        .change_schema_properties(schema, updates, removals)
        .await?;
    Ok(value_response(&json!({
        "updated": changed.updated,
        "removed": changed.removed,
        "missing": changed.missing,
    })))
}

fn check(properties: &BTreeMap<String, String>) -> Result<()> {
    match properties.contains_key(LOCATION) {
        true => Err(Failure::bad_request(
            "Locations of namespaces are not supported: give each table a location, or none",
        )),
        false => Ok(()),
    }
}
