//! The catalog's own listener: sockets, limits, and the end.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use staffa::{Result, Warehouse};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Authority;
use super::error::Failure;
use super::socket::PatientSocket;
use super::{Peer, RestOptions, Shared, router};
use crate::auth::certificate::Certificate;
use crate::listen::{ACCEPT_RETRY, check_trust, take_address};
use crate::tls::Tls;

/// How long a client may take for a TLS handshake or the head of a request; a connection that is kept alive ends after it.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a client may take nothing of its answer.
const WRITE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long an answer may take. A commit that takes longer goes on, and its client cannot know how it ends.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Longer than a commit tries to get its turn and looks its outcome up.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(300);

/// A catalog that listens already; [`run`](RestServer::run) serves.
pub(crate) struct RestServer {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    options: RestOptions,
    shared: Arc<Shared>,
}

/// Takes the addresses.
///
/// # Errors
/// An address cannot be taken; `trust` on an address that others can reach.
pub(crate) fn bind(warehouse: Warehouse, options: RestOptions) -> Result<RestServer> {
    check_trust(options.auth, &options.listen)?;
    let mut listeners = Vec::with_capacity(options.listen.len());
    let mut addresses = Vec::with_capacity(options.listen.len());
    for address in &options.listen {
        let (listener, address) = take_address(*address, "--rest")?;
        listeners.push(listener);
        addresses.push(address);
    }
    let shared = Arc::new(Shared {
        warehouse,
        auth: Authority::new(options.auth),
        rules: options.rules.clone(),
    });
    Ok(RestServer {
        listeners,
        addresses,
        options,
        shared,
    })
}

impl RestServer {
    /// Where clients find it.
    pub(crate) fn urls(&self) -> Vec<String> {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        let urls = self.addresses.iter().map(|address| format!("{scheme}://{address}"));
        urls.collect()
    }

    /// Serves until `shutdown` is cancelled. Requests that run then get the grace, and nobody new comes in.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        let abandoned = CancellationToken::new();
        let permits = self.options.max_connections.min(Semaphore::MAX_PERMITS);
        let server = Arc::new(Serving {
            router: router(self.shared),
            tls: self.options.tls,
            permits: Arc::new(Semaphore::new(permits)),
            shutdown: shutdown.clone(),
            abandoned: abandoned.clone(),
        });
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&server), connections.clone()));
        }
        accepting.close();
        shutdown.cancelled().await;
        accepting.wait().await;
        connections.close();
        let grace = self.options.shutdown_grace;
        if tokio::time::timeout(grace, connections.wait()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "dropping requests to the REST catalog that do not end"
            );
            abandoned.cancel();
            connections.wait().await;
        }
    }
}

/// What connections need.
struct Serving {
    router: axum::Router,
    tls: Option<Arc<Tls>>,
    /// One a connection. Without one clients wait in the kernel's queue.
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    abandoned: CancellationToken,
}

async fn accept(listener: TcpListener, server: Arc<Serving>, connections: TaskTracker) {
    loop {
        let next = async {
            let permit = Arc::clone(&server.permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = server.shutdown.cancelled() => return,
            next = next => next,
        };
        match (accepted, permit) {
            (Ok((socket, address)), Ok(permit)) => {
                connections.spawn(serve_socket(socket, address, Arc::clone(&server), permit));
            }
            (Err(error), _) => {
                tracing::warn!(%error, "could not accept a connection to the REST catalog");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
            // The semaphore is never closed.
            (Ok(_), Err(_)) => return,
        }
    }
}

async fn serve_socket(socket: TcpStream, address: SocketAddr, server: Arc<Serving>, permit: OwnedSemaphorePermit) {
    let mut peer = Peer {
        address,
        local: socket.local_addr().ok(),
        encrypted: server.tls.is_some(),
        certificate: None,
    };
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let socket = PatientSocket::new(socket, WRITE_TIME_MAX);
    match &server.tls {
        None => serve(socket, peer, &server).await,
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls.http());
            let handshake = tokio::time::timeout(HEAD_TIME_MAX, acceptor.accept(socket));
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                // Nothing was asked yet.
                () = server.shutdown.cancelled() => return,
            };
            match shaken {
                Ok(Ok(stream)) => {
                    let shown = stream.get_ref().1.peer_certificates();
                    peer.certificate = shown.and_then(Certificate::of).map(Arc::new);
                    serve(stream, peer, &server).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake with the REST catalog failed"),
                Err(_) => tracing::debug!("a TLS handshake with the REST catalog took too long"),
            }
        }
    }
    drop(permit);
}

async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, peer: Peer, server: &Serving) {
    let router = TowerToHyperService::new(server.router.clone());
    let has_asked = AtomicBool::new(false);
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        has_asked.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection to the REST catalog ended");
                }
                return;
            }
            () = server.shutdown.cancelled(), if !is_stopping => {
                // A client that has not asked for anything may never do.
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = server.abandoned.cancelled() => return,
        }
    }
}

/// Around every request: it ends in time, and a panic ends it alone.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let is_commit = may_commit(request.method(), request.uri().path());
    let limit = if is_commit { COMMIT_TIME_MAX } else { ANSWER_TIME_MAX };
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let failure = match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => return response,
        Ok(Err(_)) => Failure::internal("The request ended in an error of the server"),
        Err(_) if is_commit => Failure::outcome_unknown("The commit takes too long; it may still happen"),
        Err(_) => Failure::unavailable("The request takes too long"),
    };
    match is_commit {
        true => failure.of_commit().into_response(),
        false => failure.into_response(),
    }
}

/// Whether the request may change the catalog: it may go on when nobody waits for it any more.
fn may_commit(method: &Method, path: &str) -> bool {
    let is_metrics = || matches!(path.split('/').collect::<Vec<_>>()[..], [.., "tables", _, "metrics"]);
    match *method {
        Method::POST => path != "/v1/oauth/tokens" && !is_metrics(),
        Method::DELETE => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_the_catalog_is_a_commit() {
        let tables = "/v1/staffa/namespaces/n/tables";
        for (method, path, wanted) in [
            (Method::POST, tables.to_owned(), true),
            (Method::POST, format!("{tables}/t"), true),
            (Method::POST, format!("{tables}/metrics"), true),
            (Method::POST, format!("{tables}/t/metrics"), false),
            (Method::POST, "/v1/staffa/namespaces/n/register".to_owned(), true),
            (Method::POST, "/v1/staffa/transactions/commit".to_owned(), true),
            (Method::POST, "/v1/oauth/tokens".to_owned(), false),
            (Method::DELETE, format!("{tables}/t"), true),
            (Method::GET, format!("{tables}/t"), false),
        ] {
            assert_eq!(may_commit(&method, &path), wanted, "{method} {path}");
        }
    }
}
