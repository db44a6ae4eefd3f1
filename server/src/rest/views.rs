//! Views. Their SQL is Staffa's, which is PostgreSQL's: other engines see that there is a view, and its columns. Views are
//! made by SQL, where their text is checked.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use staffa::IcebergKind;

use super::error::{Failure, Result};
use super::request::{Json, Parameters, Place, metadata_response};
use super::tables::{Renaming, list_of, rename_of};

pub(super) async fn list(place: Place, parameters: Parameters) -> Result<Response> {
    list_of(&place, &parameters, IcebergKind::View).await
}

pub(super) async fn load(place: Place) -> Result<Response> {
    let metadata = place.catalog.view(place.namespace()?, place.view()).await;
    Ok(metadata_response(
        metadata.map_err(|error| Failure::from(error).of_view())?,
    ))
}

pub(super) async fn exists(place: Place) -> Result<Response> {
    let (schema, view) = (place.namespace()?, place.view());
    let found = place.catalog.metadata_location(schema, view, IcebergKind::View).await;
    found.map_err(|error| Failure::from(error).of_view())?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn remove(place: Place) -> Result<Response> {
    let dropped = place.catalog.drop_view(place.namespace()?, place.view()).await;
    dropped.map_err(|error| Failure::from(error).of_view())?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn rename(place: Place, Json(renaming): Json<Renaming>) -> Result<Response> {
    rename_of(&place, &renaming, IcebergKind::View)
        .await
        .map_err(Failure::of_view)
}
