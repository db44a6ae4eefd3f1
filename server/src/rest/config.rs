//! `GET /v1/config`: which database the client is in, and which endpoints there are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use staffa::DEFAULT_DATABASE;

use super::Shared;
use super::error::Result;
use super::request::{Parameters, value_response};

/// What clients may rely on.
const ENDPOINTS: [&str; 21] = [
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "DELETE /v1/{prefix}/namespaces/{namespace}",
    "POST /v1/{prefix}/namespaces/{namespace}/properties",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/namespaces/{namespace}/register",
    "POST /v1/{prefix}/tables/rename",
    "POST /v1/{prefix}/transactions/commit",
    "GET /v1/{prefix}/namespaces/{namespace}/views",
    "GET /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/views/rename",
];

/// The warehouse a client names is a database; every later request has it in its path.
pub(super) async fn config(State(shared): State<Arc<Shared>>, parameters: Parameters) -> Result<Response> {
    let wanted = parameters.get("warehouse").filter(|name| !name.is_empty());
    let catalog = shared
        .warehouse
        .iceberg_catalog(wanted.unwrap_or(DEFAULT_DATABASE))
        .await?;
    Ok(value_response(&json!({
        "defaults": {},
        "overrides": {"prefix": path_part(catalog.database())},
        "endpoints": ENDPOINTS,
    })))
}

/// A name as one part of a path: clients put it there as it is.
fn path_part(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    let encode = |byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_name_is_one_part_of_a_path() {
        assert_eq!(super::path_part("staffa"), "staffa");
        assert_eq!(super::path_part("a/b ü."), "a%2Fb%20%C3%BC%2E");
    }
}
