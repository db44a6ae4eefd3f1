//! Who it is: a role and its password (OAuth client credentials) give a token that is good for an hour, and every other
//! request needs one.
//!
//! A token says itself whose it is and until when, under a keyed hash whose key is what the catalog keeps of the role's
//! password. So nothing is remembered; a token is good on all servers of a catalog, also when they were started anew, and
//! ends when the password changes. Whoever reads the catalog database can make tokens, as he can change any table there.
//!
//! With `--auth trust` nobody needs one. Then nothing but its address protects the server, which every web page that a user
//! of the machine looks at can send requests to: what comes from a browser is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::uri::Authority as HostAndPort;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde_json::json;
use staffa::Warehouse;
use tokio::sync::Semaphore;
use url::form_urlencoded;

use super::error::{Failure, Result};
use super::request::{is_json, json_response, read_body};
use super::{Peer, Shared};
use crate::auth::rules::{Caller, Demand};
use crate::auth::scram::{Doubles, is_equal, is_password, keyed_hash};
use crate::auth::throttle::Throttle;
use crate::auth::{AuthMode, NO_CERTIFICATE, cut_name, is_made_out_to, is_role, wrong_certificate};

const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// Tells two tokens of one role and second apart.
const NONCE_BYTES: usize = 16;
/// Seconds since 1970.
const TIME_BYTES: usize = 8;
/// The largest form that is read of a client that nobody knows yet.
const FORM_BYTES_MAX: usize = 64 << 10;
/// Passwords that are checked at the same time: each takes some milliseconds of a core, and anybody may ask.
const CHECKS_MAX: usize = 2;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Who may come in.
pub(super) struct Authority {
    mode: AuthMode,
    doubles: Doubles,
    throttle: Throttle,
    checks: Semaphore,
}

/// A role that has proved itself, and what the catalog keeps of its password.
struct Grant {
    role: String,
    verifier: Option<String>,
}

impl Authority {
    pub(super) fn new(mode: AuthMode) -> Self {
        Self {
            mode,
            doubles: Doubles::new(),
            throttle: Throttle::default(),
            checks: Semaphore::new(CHECKS_MAX),
        }
    }

    /// A token for a role that has proved itself.
    fn token(&self, grant: &Grant) -> Result<String> {
        let mut nonce = [0; NONCE_BYTES];
        OsRng
            .try_fill_bytes(&mut nonce)
            .map_err(|error| Failure::internal(format!("the system gives no random numbers: {error}")))?;
        let token = Token {
            ends_at_s: now_s() + TOKEN_LIFETIME.as_secs(),
            nonce,
            role: grant.role.clone(),
        };
        Ok(token.print(grant.verifier.as_deref().unwrap_or_default()))
    }

    /// The grant behind a token that is still good.
    async fn find(&self, warehouse: &Warehouse, text: &str) -> Result<Option<Grant>> {
        let Some((token, hash)) = Token::parse(text) else {
            return Ok(None);
        };
        let verifier = warehouse.verifier(&token.role).await?;
        // A role without a password has no tokens, except where nobody needs one.
        let key = match (&verifier, self.mode) {
            (Some(verifier), _) => verifier.as_str(),
            (None, AuthMode::Trust) => "",
            (None, AuthMode::Scram) => return Ok(None),
        };
        let is_good = is_equal(&hash, &token.hash(key)) && now_s() < token.ends_at_s;
        Ok(is_good.then_some(Grant {
            role: token.role,
            verifier,
        }))
    }

    /// The grant of a role whose secret this is.
    async fn check(&self, warehouse: &Warehouse, credentials: &Credentials) -> Result<Option<Grant>> {
        let Credentials { role, secret } = credentials;
        let verifier = warehouse.verifier(role).await?;
        let fits = match self.mode {
            AuthMode::Trust => is_role(warehouse, role).await?,
            AuthMode::Scram => {
                let _permit = self.checks.acquire().await;
                tokio::task::block_in_place(|| is_password(role, secret, verifier.as_deref(), &self.doubles))
            }
        };
        Ok(fits.then(|| Grant {
            role: role.clone(),
            verifier,
        }))
    }

    /// A token for the first credentials that are good.
    async fn login(&self, shared: &Shared, peer: Option<&Peer>, offered: &[Credentials]) -> Result<Answer> {
        let role = offered.first().map(|credentials| credentials.role.as_str());
        let address = peer.map(|peer| peer.address.ip());
        let wait = self.throttle.wait(role.unwrap_or_default(), address);
        tokio::time::sleep(wait.ok_or_else(|| Failure::unavailable("There were too many failed logins of this role"))?)
            .await;
        for credentials in offered {
            // Before the password: who is not to come from there does not learn whether it is right.
            if let Some(why) = refused_by_rules(shared, peer, &credentials.role).await? {
                return Ok(Err(Refused::Client(Some(why))));
            }
            if let Some(grant) = self.check(&shared.warehouse, credentials).await? {
                self.throttle.succeeded(&grant.role, address);
                return match refused_as_role(shared, &grant.role).await? {
                    Some(why) => Ok(Err(Refused::Client(Some(why)))),
                    None => self.token(&grant).map(Ok),
                };
            }
        }
        if let Some(role) = role {
            self.throttle.failed(role, address);
            tracing::info!(role = %role.escape_debug(), "a client of the REST catalog was refused");
        }
        Ok(Err(Refused::Client(None)))
    }
}

/// What a token says. Its text is these bytes and their hash, each in base64.
struct Token {
    ends_at_s: u64,
    nonce: [u8; NONCE_BYTES],
    role: String,
}

impl Token {
    fn print(&self, key: &str) -> String {
        let [said, hash] = [self.bytes(), self.hash(key)].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        format!("{said}.{hash}")
    }

    /// A token as it was sent, with the hash that it came with.
    fn parse(text: &str) -> Option<(Token, Vec<u8>)> {
        let (said, hash) = text.split_once('.')?;
        let (said, hash) = (URL_SAFE_NO_PAD.decode(said).ok()?, URL_SAFE_NO_PAD.decode(hash).ok()?);
        let (time, rest) = said.split_first_chunk::<TIME_BYTES>()?;
        let (nonce, role) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let token = Token {
            ends_at_s: u64::from_be_bytes(*time),
            nonce: *nonce,
            role: String::from_utf8(role.to_vec()).ok()?,
        };
        Some((token, hash))
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.ends_at_s.to_be_bytes()[..], &self.nonce, self.role.as_bytes()].concat()
    }

    fn hash(&self, key: &str) -> Vec<u8> {
        keyed_hash(key, &[&b"Staffa REST token "[..], &self.bytes()].concat())
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A role and what it says is its password.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Credentials {
    role: String,
    secret: String,
}

/// A token, or why there is none.
type Answer = std::result::Result<String, Refused>;

/// `POST /v1/oauth/tokens`
pub(super) async fn tokens(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let basic = basic_credentials(request.headers());
    let peer = request.extensions().get::<Peer>().cloned();
    let body = match read_body(request, FORM_BYTES_MAX).await {
        Ok(body) => body,
        Err(failure) => return failure.into_response(),
    };
    let form = Form::parse(&body);
    let role = form
        .client_id
        .clone()
        .or_else(|| basic.first().map(|offered| offered.role.clone()));
    let answer = answer(&shared, peer.as_ref(), form, &basic).await;
    if let (Some(role), Some(peer), Ok(answer)) = (role, peer, &answer) {
        let refused = answer.as_ref().err().map(|refused| refused.words().1);
        shared.warehouse.audit_login(&role, "", peer.address, refused);
    }
    let refused = match answer {
        Ok(Ok(token)) => return token_response(token),
        Ok(Err(refused)) => refused,
        Err(failure) => return failure.into_response(),
    };
    let status = match refused {
        Refused::Client(_) => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    let (error, description) = refused.words();
    let body = json!({"error": error, "error_description": description});
    json_response(status, body.to_string())
}

/// What is looked at of a form.
#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    subject_token: Option<String>,
}

impl Form {
    fn parse(body: &[u8]) -> Form {
        let mut form = Form::default();
        for (key, value) in form_urlencoded::parse(body) {
            let field = match &*key {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_secret" => &mut form.client_secret,
                "subject_token" => &mut form.subject_token,
                _ => continue,
            };
            *field = Some(value.into_owned());
        }
        form.client_id = form.client_id.map(cut_name);
        form
    }
}

/// Why there is no token (RFC 6749, section 5.2).
enum Refused {
    /// With the reason, where the client has proved who it is.
    Client(Option<String>),
    Grant(Option<String>),
    GrantType,
    Request,
}

impl Refused {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Client(why) => (
                "invalid_client",
                why.as_deref().unwrap_or("no such role, or another password"),
            ),
            Self::Grant(why) => (
                "invalid_grant",
                why.as_deref().unwrap_or("the token is not (or no longer) good"),
            ),
            Self::GrantType => (
                "unsupported_grant_type",
                "client_credentials and token-exchange are supported",
            ),
            Self::Request => ("invalid_request", "client_id and client_secret are needed"),
        }
    }
}

async fn answer(shared: &Shared, peer: Option<&Peer>, form: Form, basic: &[Credentials]) -> Result<Answer> {
    let authority = &shared.auth;
    match form.grant_type.as_deref() {
        Some("client_credentials") => match form.client_id.zip(form.client_secret) {
            Some((role, secret)) => authority.login(shared, peer, &[Credentials { role, secret }]).await,
            None if basic.is_empty() => Ok(Err(Refused::Request)),
            None => authority.login(shared, peer, basic).await,
        },
        Some(TOKEN_EXCHANGE) => {
            let token = form.subject_token.unwrap_or_default();
            match authority.find(&shared.warehouse, &token).await? {
                Some(grant) => match refused(shared, peer, &grant.role).await? {
                    Some(why) => Ok(Err(Refused::Grant(Some(why)))),
                    None => authority.token(&grant).map(Ok),
                },
                None if basic.is_empty() => Ok(Err(Refused::Grant(None))),
                // Iceberg's Java library exchanges a token that has ended, and says who it is beside it.
                None => authority.login(shared, peer, basic).await,
            }
        }
        _ => Ok(Err(Refused::GrantType)),
    }
}

/// Client credentials in the header: as they are there, and with each part read as of a form (RFC 6749, section 2.3.1).
/// Some clients write them one way, some the other.
fn basic_credentials(headers: &HeaderMap) -> Vec<Credentials> {
    let Some((id, secret)) = basic_parts(headers) else {
        return Vec::new();
    };
    let (plain_id, plain_secret) = (cut_name(from_form(&id)), from_form(&secret));
    let mut offered = vec![Credentials {
        role: cut_name(id),
        secret,
    }];
    let plain = Credentials {
        role: plain_id,
        secret: plain_secret,
    };
    if !offered.contains(&plain) {
        offered.push(plain);
    }
    offered
}

fn basic_parts(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// The value that a text of a form stands for; of one that is none, itself.
fn from_form(text: &str) -> String {
    let form = format!("x={text}");
    let mut parts = form_urlencoded::parse(form.as_bytes());
    match (parts.next(), parts.next()) {
        (Some((_, value)), None) => value.into_owned(),
        _ => text.to_owned(),
    }
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

/// Lets only superusers through who have a token.
pub(super) async fn require(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Result<Response> {
    if shared.auth.mode == AuthMode::Trust {
        refuse_browsers(&request)?;
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
    let peer = request.extensions().get::<Peer>();
    if let Some(why) = refused(&shared, peer, &grant.role).await? {
        if let Some(peer) = peer {
            shared.warehouse.audit_login(&grant.role, "", peer.address, Some(&why));
        }
        return Err(Failure::forbidden(why));
    }
    tracing::debug!(role = grant.role, method = %request.method(), path = request.uri().path(), "REST catalog");
    Ok(next.run(request).await)
}

/// Why a role that has proved itself is not let in, if it is not.
async fn refused(shared: &Shared, peer: Option<&Peer>, role: &str) -> Result<Option<String>> {
    match refused_as_role(shared, role).await? {
        Some(why) => Ok(Some(why)),
        None => refused_by_rules(shared, peer, role).await,
    }
}

/// What tables consist of tells their rows, and commits here name no privilege that could be asked for: superusers only.
async fn refused_as_role(shared: &Shared, role: &str) -> Result<Option<String>> {
    if shared.auth.mode == AuthMode::Trust {
        return Ok(None);
    }
    if !shared.warehouse.may_log_in(role).await? {
        return Ok(Some(format!("role \"{role}\" is not permitted to log in")));
    }
    let is_superuser = shared.warehouse.is_superuser(role).await?;
    Ok((!is_superuser).then(|| "The REST catalog is for superusers only".to_owned()))
}

/// The rules of logins are for the REST catalog, too: those that are for all databases.
async fn refused_by_rules(shared: &Shared, peer: Option<&Peer>, role: &str) -> Result<Option<String>> {
    let (Some(rules), Some(peer), AuthMode::Scram) = (&shared.rules, peer, shared.auth.mode) else {
        return Ok(None);
    };
    let groups = shared.warehouse.groups_of(role).await?;
    let caller = Caller {
        peer: peer.address.ip(),
        local: peer.local.map(|local| local.ip()),
        encrypted: peer.encrypted,
        database: "",
        user: role,
        groups: &groups,
    };
    let certificate = peer.certificate.as_deref();
    let proved = rules.proof(&caller).and_then(|proof| match proof.certificate {
        Demand::Verified | Demand::OfUser if certificate.is_none() => Err(NO_CERTIFICATE.to_owned()),
        Demand::OfUser if !is_made_out_to(certificate, role) => Err(wrong_certificate(role)),
        _ => Ok(()),
    });
    Ok(proved.err())
}

/// Requests that a web page makes its reader's browser send: they say where they come from, or are of the kinds that need
/// no leave of ours, or go to a name of the page's own that leads here.
fn refuse_browsers(request: &Request) -> Result<()> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) {
        return Err(Failure::forbidden(
            "Web pages are not let in where nobody needs a password",
        ));
    }
    if !headers.get_all(header::HOST).iter().all(is_this_machine) {
        return Err(Failure::forbidden(
            "Where nobody needs a password, the host of the catalog's URL must be localhost or a loopback address",
        ));
    }
    match request.method() == Method::POST && !is_json(headers) {
        true => Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "BadRequestException",
            "The type of the request's body must be application/json",
        )),
        false => Ok(()),
    }
}

fn is_this_machine(host: &HeaderValue) -> bool {
    let host = host.to_str().ok().and_then(|host| host.parse::<HostAndPort>().ok());
    host.is_some_and(|host| {
        let name = host.host();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    })
}

fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use staffa::scram_verifier;

    #[test]
    fn a_token_is_its_roles_until_its_time_and_under_its_key() {
        let authority = Authority::new(AuthMode::Scram);
        let grant = Grant {
            role: "änn".to_owned(),
            verifier: Some(scram_verifier("a")),
        };
        let key = grant.verifier.clone().unwrap_or_default();
        let text = authority.token(&grant).expect("a token");
        assert_ne!(text, authority.token(&grant).expect("another"));
        let (token, hash) = Token::parse(&text).expect("a token");
        assert_eq!(token.role, "änn");
        assert!((now_s() + 3590..=now_s() + 3600).contains(&token.ends_at_s));
        assert_eq!(token.hash(&key), hash);
        // The same password again has another salt.
        assert_ne!(token.hash(&scram_verifier("a")), hash);
        let longer = Token {
            ends_at_s: token.ends_at_s + 1,
            ..token
        };
        assert_ne!(longer.hash(&key), hash);
        for bad in ["", ".", "x", "x.y", &text[1..], &text.replace('.', "")] {
            assert!(
                Token::parse(bad).is_none_or(|(token, hash)| token.hash(&key) != hash),
                "{bad}"
            );
        }
    }

    #[test]
    fn credentials_in_headers() {
        let basic = |text: &str| {
            let mut headers = HeaderMap::new();
            let text = format!("Basic {}", STANDARD.encode(text));
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&text).expect("a header"));
            let offered = basic_credentials(&headers).into_iter();
            offered.map(|it| (it.role, it.secret)).collect::<Vec<_>>()
        };
        let pairs = |all: &[(&str, &str)]| {
            let all = all
                .iter()
                .map(|(role, secret)| ((*role).to_owned(), (*secret).to_owned()));
            all.collect::<Vec<_>>()
        };
        assert_eq!(basic("a:b:c"), pairs(&[("a", "b:c")]));
        assert_eq!(basic("a:b%2Bc+d"), pairs(&[("a", "b%2Bc+d"), ("a", "b+c d")]));
        assert_eq!(basic("a:b&c=d"), pairs(&[("a", "b&c=d")]));
        assert!(basic("a").is_empty());
        assert!(basic_credentials(&HeaderMap::new()).is_empty());
        assert_eq!(bearer(&HeaderValue::from_static("bearer  x ")), Some("x"));
        assert_eq!(bearer(&HeaderValue::from_static("x")), None);
    }

    #[test]
    fn this_machine_has_few_names() {
        let is_ours = |host: &'static str| is_this_machine(&HeaderValue::from_static(host));
        for host in [
            "localhost",
            "LocalHost:8181",
            "127.0.0.1",
            "127.0.0.1:8181",
            "[::1]:8181",
        ] {
            assert!(is_ours(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com:8181",
            "10.0.0.1",
            "[::2]",
            "a b",
        ] {
            assert!(!is_ours(host), "{host}");
        }
    }
}
