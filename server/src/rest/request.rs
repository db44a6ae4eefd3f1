//! What requests consist of: names in the path, pages, and a body of JSON. Nothing here trusts any of it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::BytesMut;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use staffa::{IcebergCatalog, IcebergMetadata};

use super::Shared;
use super::error::{Failure, Result};

/// The largest body that is read: metadata of a very wide table has some MiB.
const BODY_BYTES_MAX: usize = 16 << 20;
/// So much more is taken from the client and thrown away, so that it gets to read why it was refused.
const BODY_BYTES_DISCARDED_MAX: usize = 256 << 20;
/// How long a client may take to send a body.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// Entries of a page when the client does not say how many.
const PAGE_SIZE: usize = 1000;

/// Between levels of a namespace.
const LEVELS: char = '\u{1f}';

/// The names in the path of a request, and the database they are in.
pub(super) struct Place {
    pub(super) catalog: IcebergCatalog,
    names: HashMap<String, String>,
}

impl Place {
    /// The schema: a namespace of one level.
    pub(super) fn namespace(&self) -> Result<&str> {
        let namespace = self.name("namespace");
        match namespace.contains(LEVELS) || namespace.is_empty() {
            true => Err(Failure::no_such_namespace(namespace)),
            false => Ok(namespace),
        }
    }

    pub(super) fn table(&self) -> &str {
        self.name("table")
    }

    pub(super) fn view(&self) -> &str {
        self.name("view")
    }

    fn name(&self, part: &str) -> &str {
        self.names.get(part).map_or("", String::as_str)
    }
}

impl FromRequestParts<Arc<Shared>> for Place {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, shared).await;
        let Path(names) = path.map_err(|_| Failure::bad_request("The path of the request is not UTF-8"))?;
        let prefix = names.get("prefix").map_or("", String::as_str);
        Ok(Self {
            catalog: shared.warehouse.iceberg_catalog(prefix).await?,
            names,
        })
    }
}

/// The parameters behind the question mark.
pub(super) struct Parameters(HashMap<String, String>);

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A page of names in their order, and the token of the next one. A client that asks for none gets all of them.
    pub(super) fn page(&self, names: Vec<String>) -> Result<(Vec<String>, Option<String>)> {
        let (token, size) = (self.get("pageToken"), self.get("pageSize"));
        if token.is_none() && size.is_none() {
            return Ok((names, None));
        }
        let size = match size {
            None => PAGE_SIZE,
            Some(text) => {
                let size = text.parse().ok().filter(|size| *size > 0);
                size.ok_or_else(|| Failure::bad_request("pageSize must be a whole number above 0"))?
            }
        };
        let after = match token {
            None | Some("") => None,
            Some(token) => Some(last_name(token)?),
        };
        let mut rest = names
            .into_iter()
            .filter(|name| after.as_ref().is_none_or(|after| name > after));
        let page: Vec<String> = rest.by_ref().take(size).collect();
        let next = rest.next().and(page.last()).map(|last| URL_SAFE_NO_PAD.encode(last));
        Ok((page, next))
    }
}

/// A token is the last name of the page before it: names that come and go meanwhile change nothing else.
fn last_name(token: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Failure::bad_request("pageToken is not one that this server gave"))
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Query::<HashMap<String, String>>::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(_) => Err(Failure::bad_request("The parameters of the request cannot be read")),
        }
    }
}

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let body = read_body(request, BODY_BYTES_MAX).await?;
        // The parser gives up at a depth of 128.
        let value = serde_json::from_slice(&body)
            .map_err(|error| Failure::bad_request(format!("The body of the request cannot be read: {error}")))?;
        Ok(Self(value))
    }
}

/// The whole body, within bounds of size and time.
pub(super) async fn read_body(request: Request, bytes_max: usize) -> Result<BytesMut> {
    if is_encoded(request.headers()) {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "BadRequestException",
            "Compressed bodies are not supported",
        ));
    }
    let reading = collect(request.into_body(), bytes_max);
    match tokio::time::timeout(BODY_TIME_MAX, reading).await {
        Ok(read) => read,
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            "BadRequestException",
            "The body of the request did not come in time",
        )),
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_some_and(|encoding| encoding.as_bytes() != b"identity")
}

/// Whether a body is said to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn collect(body: Body, bytes_max: usize) -> impl Future<Output = Result<BytesMut>> {
    let mut parts = body.into_data_stream();
    async move {
        let mut body = BytesMut::new();
        let mut length = 0;
        while let Some(part) = parts.next().await {
            let part = part.map_err(|_| Failure::bad_request("The body of the request is incomplete"))?;
            length += part.len();
            if length <= bytes_max {
                body.extend_from_slice(&part);
            } else if length <= BODY_BYTES_DISCARDED_MAX {
                body = BytesMut::new();
            } else {
                break;
            }
        }
        match length <= bytes_max {
            true => Ok(body),
            false => Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "BadRequestException",
                format!("The body of the request has more than {} KiB", bytes_max >> 10),
            )),
        }
    }
}

/// Where a namespace is named in a body.
pub(super) fn schema_of(namespace: &[String]) -> Result<&str> {
    match namespace {
        [schema] if !schema.contains(LEVELS) => Ok(schema),
        _ => Err(Failure::no_such_namespace(&namespace.join("."))),
    }
}

pub(super) fn json_response(status: StatusCode, body: impl Into<Body>) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body.into()).into_response()
}

pub(super) fn value_response(value: &Value) -> Response {
    json_response(StatusCode::OK, value.to_string())
}

/// One page of a list. The token is left out when there is no other: not every client takes a null for it.
pub(super) fn page_response(mut value: Value, next: Option<String>) -> Response {
    if let (Some(next), Some(fields)) = (next, value.as_object_mut()) {
        fields.insert("next-page-token".to_owned(), Value::from(next));
    }
    value_response(&value)
}

/// `LoadTableResult`, `CommitTableResponse` or `LoadViewResult`. The metadata is JSON already and goes out as it is.
pub(super) fn metadata_response(metadata: IcebergMetadata) -> Response {
    let mut body = Vec::with_capacity(metadata.json.len() + 256);
    body.push(b'{');
    if let Some(location) = metadata.location {
        body.extend_from_slice(format!("\"metadata-location\":{},", Value::from(location)).as_bytes());
    }
    body.extend_from_slice(b"\"metadata\":");
    body.extend_from_slice(&metadata.json);
    body.extend_from_slice(b",\"config\":{}}");
    json_response(StatusCode::OK, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(parameters: &[(&str, &str)], names: &[&str]) -> Result<(Vec<String>, Option<String>)> {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Parameters(parameters.collect()).page(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn pages_follow_each_other() {
        let names = ["a", "b", "z", "ü"];
        assert_eq!(
            page(&[], &names).expect("all"),
            (names.map(str::to_owned).to_vec(), None)
        );
        let mut token = String::new();
        let mut seen = Vec::new();
        loop {
            let (some, next) = page(&[("pageToken", &token), ("pageSize", "3")], &names).expect("a page");
            seen.extend(some);
            match next {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(seen, names);
        assert_eq!(
            page(&[("pageToken", ""), ("pageSize", "4")], &names).expect("all").1,
            None
        );
        assert!(page(&[("pageSize", "0")], &names).is_err());
        assert!(page(&[("pageToken", "!")], &names).is_err());
    }

    #[test]
    fn namespaces_have_one_level() {
        let names = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<String>>();
        assert_eq!(schema_of(&names(&["a.b"])).expect("one"), "a.b");
        assert!(schema_of(&names(&["a", "b"])).is_err());
        assert!(schema_of(&names(&["a\u{1f}b"])).is_err());
        assert!(schema_of(&[]).is_err());
    }
}
