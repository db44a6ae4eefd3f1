//! The warehouse as an Iceberg REST catalog, for engines that read and write the tables themselves: pyiceberg, DuckDB,
//! Spark, Trino. The norm is Apache Iceberg's `rest-catalog-open-api.yaml`; docs/rest.md says what of it is there.
//!
//! ```text
//! listen, socket  limits, the end              auth        who it is: OAuth client credentials, bearer tokens
//! request         names, pages, JSON bodies    error       what went wrong, in the protocol's words
//! config          what there is                namespaces, tables, commit, views
//! ```
//!
//! Nothing here knows what a commit is: requirements and updates go to the engine as they came.

mod auth;
mod commit;
mod config;
mod error;
mod listen;
mod namespaces;
mod request;
mod socket;
mod tables;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use staffa::Warehouse;

use crate::auth::AuthMode;
use crate::auth::certificate::Certificate;
use crate::auth::rules::Rules;
use crate::tls::Tls;

pub(crate) use listen::bind;

/// How the catalog listens and whom it lets in.
#[derive(Clone, Debug)]
pub(crate) struct RestOptions {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) auth: AuthMode,
    /// Who may come from where, when it needs a password.
    pub(crate) rules: Option<Arc<Rules>>,
    /// With it, clients speak HTTPS only.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) max_connections: usize,
    pub(crate) shutdown_grace: Duration,
}

/// What all requests share.
pub(crate) struct Shared {
    warehouse: Warehouse,
    auth: auth::Authority,
    rules: Option<Arc<Rules>>,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
struct Peer {
    address: SocketAddr,
    local: Option<SocketAddr>,
    encrypted: bool,
    certificate: Option<Arc<Certificate>>,
}

/// Every route. `GET /v1/config` lists them for clients, see [`config`].
fn router(shared: Arc<Shared>) -> Router {
    let catalog = Router::new()
        .route("/v1/config", get(config::config))
        .route(
            "/v1/{prefix}/namespaces",
            get(namespaces::list).post(namespaces::create),
        )
        .route(
            "/v1/{prefix}/namespaces/{namespace}",
            get(namespaces::load)
                .head(namespaces::exists)
                .delete(namespaces::remove),
        )
        .route(
            "/v1/{prefix}/namespaces/{namespace}/properties",
            post(namespaces::change_properties),
        )
        .route(
            "/v1/{prefix}/namespaces/{namespace}/tables",
            get(tables::list).post(tables::create),
        )
        .route("/v1/{prefix}/namespaces/{namespace}/register", post(tables::register))
        .route(
            "/v1/{prefix}/namespaces/{namespace}/tables/{table}",
            get(tables::load)
                .head(tables::exists)
                .post(commit::one_table)
                .delete(tables::remove),
        )
        .route(
            "/v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
            post(tables::metrics),
        )
        .route("/v1/{prefix}/tables/rename", post(tables::rename))
        .route("/v1/{prefix}/transactions/commit", post(commit::many_tables))
        .route("/v1/{prefix}/namespaces/{namespace}/views", get(views::list))
        .route(
            "/v1/{prefix}/namespaces/{namespace}/views/{view}",
            get(views::load).head(views::exists).delete(views::remove),
        )
        .route("/v1/{prefix}/views/rename", post(views::rename))
        .layer(from_fn_with_state(Arc::clone(&shared), auth::require));
    Router::new()
        .route("/v1/oauth/tokens", post(auth::tokens))
        .merge(catalog)
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(axum::middleware::from_fn(listen::guard))
        .with_state(shared)
}
