//! Who it is: a role and its password (OAuth client credentials) give a token that is good for an hour, and every other
//! request needs one.
//!
//! Tokens are random, kept in memory only, and end when the role's password changes. A server that was started anew knows
//! none: clients ask for another. With `--auth trust` nobody needs one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde_json::json;
use staffa::Warehouse;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::form_urlencoded;

use super::Shared;
use super::error::{Failure, Result};
use super::request::{json_response, read_body};
use crate::auth::scram::{Doubles, is_password};
use crate::auth::{AuthMode, is_role};

const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
const TOKEN_BYTES: usize = 32;
/// So many are remembered at once; beyond it the one that ends first goes.
const TOKENS_MAX: usize = 10_000;
/// Passwords that are checked at the same time: each takes some milliseconds of a core, and anybody may ask.
const CHECKS_MAX: usize = 2;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Who may come in.
pub(super) struct Authority {
    mode: AuthMode,
    tokens: Mutex<HashMap<String, Grant>>,
    doubles: Doubles,
    checks: Semaphore,
}

/// What a token stands for.
#[derive(Clone)]
struct Grant {
    role: String,
    /// As it was when the token was given; another one ends it.
    verifier: Option<String>,
    ends_at: Instant,
}

impl Authority {
    pub(super) fn new(mode: AuthMode) -> Self {
        Self {
            mode,
            tokens: Mutex::default(),
            doubles: Doubles::new(),
            checks: Semaphore::new(CHECKS_MAX),
        }
    }

    /// A token for a role that has proved itself.
    fn grant(&self, role: String, verifier: Option<String>) -> Result<String> {
        let mut bytes = [0; TOKEN_BYTES];
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(|error| Failure::internal(format!("the system gives no random numbers: {error}")))?;
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let now = Instant::now();
        let grant = Grant {
            role,
            verifier,
            ends_at: now + TOKEN_LIFETIME,
        };
        let mut tokens = self.tokens.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, grant| grant.ends_at > now);
        }
        if tokens.len() >= TOKENS_MAX
            && let Some(first) = tokens.iter().min_by_key(|(_, grant)| grant.ends_at)
        {
            let first = first.0.clone();
            tokens.remove(&first);
        }
        tokens.insert(token.clone(), grant);
        Ok(token)
    }

    /// The grant behind a token that is still good.
    async fn find(&self, warehouse: &Warehouse, token: &str) -> Result<Option<Grant>> {
        let found = self.tokens.lock().get(token).cloned();
        let Some(grant) = found.filter(|grant| grant.ends_at > Instant::now()) else {
            return Ok(None);
        };
        let verifier = warehouse.verifier(&grant.role).await?;
        Ok((verifier == grant.verifier).then_some(grant))
    }

    /// Whether the secret is the role's; its verifier if it is.
    async fn check(&self, warehouse: &Warehouse, role: &str, secret: &str) -> Result<Option<Option<String>>> {
        if self.mode == AuthMode::Trust {
            let verifier = warehouse.verifier(role).await?;
            return Ok(is_role(warehouse, role).await?.then_some(verifier));
        }
        let verifier = warehouse.verifier(role).await?;
        let permit = self.checks.acquire().await;
        let fits = tokio::task::block_in_place(|| is_password(role, secret, verifier.as_deref(), &self.doubles));
        drop(permit);
        Ok(fits.then_some(verifier))
    }
}

/// `POST /v1/oauth/tokens`
pub(super) async fn tokens(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let basic = basic_credentials(request.headers());
    let body = match read_body(request).await {
        Ok(body) => body,
        Err(failure) => return failure.into_response(),
    };
    let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let refused = match answer(&shared, &form, basic).await {
        Ok(Ok(token)) => return token_response(token),
        Ok(Err(refused)) => refused,
        Err(failure) => return failure.into_response(),
    };
    let status = match refused {
        Refused::Client => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    let (error, description) = refused.words();
    let body = json!({"error": error, "error_description": description});
    json_response(status, body.to_string())
}

/// Why there is no token (RFC 6749, section 5.2).
enum Refused {
    Client,
    Grant,
    GrantType,
    Request,
}

impl Refused {
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Client => ("invalid_client", "no such role, or another password"),
            Self::Grant => ("invalid_grant", "the token is not (or no longer) good"),
            Self::GrantType => (
                "unsupported_grant_type",
                "client_credentials and token-exchange are supported",
            ),
            Self::Request => ("invalid_request", "client_id and client_secret are needed"),
        }
    }
}

async fn answer(
    shared: &Shared,
    form: &HashMap<String, String>,
    basic: Option<(String, String)>,
) -> Result<std::result::Result<String, Refused>> {
    let authority = &shared.auth;
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        Some(TOKEN_EXCHANGE) => {
            let token = form.get("subject_token").map_or("", String::as_str);
            let grant = authority.find(&shared.warehouse, token).await?;
            return match grant {
                Some(grant) => authority.grant(grant.role, grant.verifier).map(Ok),
                None => Ok(Err(Refused::Grant)),
            };
        }
        _ => return Ok(Err(Refused::GrantType)),
    }
    let sent = form.get("client_id").cloned().zip(form.get("client_secret").cloned());
    let Some((role, secret)) = sent.or(basic) else {
        return Ok(Err(Refused::Request));
    };
    match authority.check(&shared.warehouse, &role, &secret).await? {
        Some(verifier) => authority.grant(role, verifier).map(Ok),
        None => {
            tracing::info!(role = %role.escape_debug(), "a client of the REST catalog was refused");
            Ok(Err(Refused::Client))
        }
    }
}

/// Client credentials in the header, each part as in a form (RFC 6749, section 2.3.1).
fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn token_response(token: String) -> Response {
    let body = json!({
        "access_token": token,
        "token_type": "bearer",
        "issued_token_type": ACCESS_TOKEN,
        "expires_in": TOKEN_LIFETIME.as_secs(),
        "scope": "catalog",
    });
    let mut response = json_response(StatusCode::OK, body.to_string());
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}

/// Lets only those through who have a token. All roles may do the same, so who it is goes to the log only.
pub(super) async fn require(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Result<Response> {
    if shared.auth.mode == AuthMode::Trust {
        // Whatever is in the header: pyiceberg sends one also when it was given no token.
        return Ok(next.run(request).await);
    }
    let token = match request.headers().get(header::AUTHORIZATION) {
        None => {
            return Err(Failure::not_authorized(
                "A bearer token is needed: ask /v1/oauth/tokens",
            ));
        }
        Some(header) => bearer(header).ok_or_else(|| Failure::not_authorized("The token is not a bearer token"))?,
    };
    let grant = shared.auth.find(&shared.warehouse, token).await?;
    let grant = grant.ok_or_else(|| Failure::not_authorized("The token is not (or no longer) good"))?;
    tracing::debug!(role = grant.role, method = %request.method(), path = request.uri().path(), "REST catalog");
    Ok(next.run(request).await)
}

fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_the_oldest_go() {
        let authority = Authority::new(AuthMode::Scram);
        let tokens: Vec<String> = (0..TOKENS_MAX + 2)
            .map(|_| authority.grant("ann".to_owned(), None).expect("a token"))
            .collect();
        let kept = authority.tokens.lock();
        assert_eq!(kept.len(), TOKENS_MAX);
        assert!(tokens.iter().rev().take(2).all(|token| kept.contains_key(token)));
    }

    #[test]
    fn credentials_in_headers() {
        let basic = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(text).expect("a header"));
            basic_credentials(&headers)
        };
        assert_eq!(basic("Basic YTpiOmM="), Some(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(basic("Basic !"), None);
        assert_eq!(basic("Bearer YTpi"), None);
        assert_eq!(bearer(&HeaderValue::from_static("bearer  x ")), Some("x"));
        assert_eq!(bearer(&HeaderValue::from_static("x")), None);
    }
}
