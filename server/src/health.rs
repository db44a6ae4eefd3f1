//! `/livez`, `/readyz` and `/metrics`, for machines that watch the server: on an address of their own, and by a thread of their own, so that
//! they answer whatever queries do to the others.
//!
//! They tell counts and nothing of anybody's data, and ask nobody who it is.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use staffa::{Error, ErrorKind, Metrics, Result, Warehouse};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::listen::ACCEPT_RETRY;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for the head of a request, and be silent between two.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// How often the server asks itself whether it could run a statement.
const PERIOD: Duration = Duration::from_secs(1);

/// How long the catalog may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server's own threads have stopped working when nobody has asked for this long.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is told.
struct Shared {
    warehouse: Warehouse,
    started: f64,
    condition: Mutex<Condition>,
}

/// What the server found when it asked itself last.
struct Condition {
    at: Instant,
    /// Why it cannot run statements.
    trouble: Option<String>,
}

/// Listeners that are there already; [`start`](Health::start) serves.
pub(crate) struct Health {
    listeners: Vec<std::net::TcpListener>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

/// Takes the addresses.
///
/// # Errors
/// One cannot be taken.
pub(crate) fn bind(warehouse: Warehouse, addresses: &[SocketAddr]) -> Result<Health> {
    let mut health = Health {
        listeners: Vec::with_capacity(addresses.len()),
        addresses: Vec::with_capacity(addresses.len()),
        shared: Arc::new(Shared {
            warehouse,
            started: seconds_since_1970(),
            condition: Mutex::new(Condition {
                at: Instant::now(),
                trouble: Some("the server is starting".to_owned()),
            }),
        }),
    };
    for address in addresses {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::IoError, format!("could not listen on {address}: {error}"))
                .with_hint("Choose an address of this machine with --health.")
        };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        health.addresses.push(listener.local_addr().map_err(failed)?);
        health.listeners.push(listener);
    }
    Ok(health)
}

fn seconds_since_1970() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0.0, |since| since.as_secs_f64())
}

impl Health {
    /// Where clients find it.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|address| format!("http://{address}"))
            .collect()
    }

    /// Serves on a thread of its own, until the process ends; a server that stops is not ready any more, and still alive. To be called
    /// on the server's runtime, which is what is watched.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(self, stop: CancellationToken) -> Result<()> {
        if self.listeners.is_empty() {
            return Ok(());
        }
        tokio::spawn(watch(Arc::clone(&self.shared), stop));
        let failed = |error: std::io::Error| Error::internal(format!("could not start a thread: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (listeners, shared) = (self.listeners, self.shared);
        std::thread::Builder::new()
            .name("staffa-health".to_owned())
            .spawn(move || runtime.block_on(serve(listeners, shared)))
            .map_err(failed)?;
        Ok(())
    }
}

/// Asks the catalog again and again, as statements do.
async fn watch(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let trouble = match tokio::time::timeout(PATIENCE, shared.warehouse.check()).await {
            _ if stop.is_cancelled() => Some("the server is stopping".to_owned()),
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("the catalog does not answer: {}", error.message())),
            Err(_) => Some("the catalog does not answer in time".to_owned()),
        };
        *shared.condition.lock() = Condition {
            at: Instant::now(),
            trouble,
        };
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
        }
    }
}

async fn serve(listeners: Vec<std::net::TcpListener>, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = listeners.into_iter().filter_map(|listener| {
        let listener = TcpListener::from_std(listener);
        let listener = listener.inspect_err(|error| tracing::error!(%error, "the health address is not served"));
        Some(accept(listener.ok()?, router.clone(), Arc::clone(&permits)))
    });
    futures::future::join_all(accepting).await;
}

async fn accept(listener: TcpListener, router: Router, permits: Arc<Semaphore>) {
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((socket, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve_socket(socket, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to the health address");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_socket(socket: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the health address ended");
    }
}

/// Whether the process should live: its threads work.
async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    match shared.condition.lock().at.elapsed() {
        silence if silence > SILENCE_MAX => {
            let text = format!("the server's threads have been busy for {} s\n", silence.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        _ => "ok\n".into_response(),
    }
}

/// Whether clients should be sent here.
async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let condition = shared.condition.lock();
    match &condition.trouble {
        None if condition.at.elapsed() <= PATIENCE * 2 => "ok\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the server does not answer itself\n").into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let ready = shared.condition.lock().trouble.is_none();
    let text = print(&shared.warehouse.metrics(), shared.started, ready);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

/// The metrics in Prometheus' text format. docs/limits.md lists them.
fn print(metrics: &Metrics, started: f64, ready: bool) -> String {
    let mut out = String::new();
    let mut put = |name: &str, kind: &str, help: &str, samples: &[(&str, f64)]| {
        // Writing to a text cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let total = &metrics.statements;
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    put(
        "staffa_build_info",
        "gauge",
        "The version of the server.",
        &[(version, 1.0)],
    );
    put(
        "staffa_ready",
        "gauge",
        "Whether it runs statements.",
        &[("", f64::from(u8::from(ready)))],
    );
    put(
        "staffa_sessions",
        "gauge",
        "Sessions that are open.",
        &[("", metrics.sessions as f64)],
    );
    let running = "Statements that read or write tables and run.";
    put(
        "staffa_statements_running",
        "gauge",
        running,
        &[("", metrics.running as f64)],
    );
    let queued = "Statements that wait to run.";
    put(
        "staffa_statements_queued",
        "gauge",
        queued,
        &[("", metrics.queued as f64)],
    );
    put(
        "staffa_statements_total",
        "counter",
        "Statements that have ended.",
        &[
            ("{outcome=\"finished\"}", total.finished as f64),
            ("{outcome=\"failed\"}", (total.failed - total.cancelled) as f64),
            ("{outcome=\"cancelled\"}", total.cancelled as f64),
        ],
    );
    let counters = [
        (
            "staffa_statement_seconds_total",
            "Time that statements ran.",
            total.seconds,
        ),
        (
            "staffa_statement_queue_seconds_total",
            "Time that statements waited to run.",
            total.queued_seconds,
        ),
        (
            "staffa_statement_rows_total",
            "Rows that statements gave or changed.",
            total.rows as f64,
        ),
        (
            "staffa_files_read_total",
            "Data files that statements read.",
            total.files_read as f64,
        ),
        (
            "staffa_read_bytes_total",
            "Bytes of data files that were read.",
            total.bytes_read as f64,
        ),
        (
            "staffa_spilled_bytes_total",
            "Bytes written to temporary files.",
            total.spilled_bytes as f64,
        ),
    ];
    for (name, help, value) in counters {
        put(name, "counter", help, &[("", value)]);
    }
    let mut gauges = vec![
        ("staffa_spill_bytes", "Bytes of temporary files.", metrics.spill_bytes),
        (
            "staffa_memory_held_bytes",
            "Memory that operators hold.",
            metrics.memory_held_bytes,
        ),
        (
            "staffa_memory_limit_bytes",
            "Memory that operators may hold.",
            metrics.memory_limit_bytes,
        ),
        (
            "staffa_memory_ceiling_bytes",
            "Memory that the process may hold.",
            metrics.memory_ceiling_bytes,
        ),
    ];
    let resident = metrics.memory_resident_bytes;
    gauges.extend(resident.map(|bytes| {
        (
            "staffa_memory_resident_bytes",
            "Memory of the process without files.",
            bytes,
        )
    }));
    let files = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|files| files.count() as u64);
    gauges.extend(files.map(|count| ("process_open_fds", "Open file descriptors.", count)));
    for (name, help, value) in gauges {
        put(name, "gauge", help, &[("", value as f64)]);
    }
    let started_help = "When the server started, in seconds since 1970.";
    put("process_start_time_seconds", "gauge", started_help, &[("", started)]);
    let labels: Vec<String> = metrics
        .caches
        .iter()
        .map(|cache| format!("{{cache=\"{}\"}}", cache.name))
        .collect();
    let caches = || labels.iter().map(String::as_str).zip(&metrics.caches);
    let hits: Vec<_> = caches().map(|(label, cache)| (label, cache.hits as f64)).collect();
    put(
        "staffa_cache_hits_total",
        "counter",
        "What was found in a cache.",
        &hits,
    );
    let misses: Vec<_> = caches().map(|(label, cache)| (label, cache.misses as f64)).collect();
    put("staffa_cache_misses_total", "counter", "What was not.", &misses);
    let bytes: Vec<_> = caches()
        .filter_map(|(label, cache)| Some((label, cache.bytes? as f64)))
        .collect();
    put("staffa_cache_bytes", "gauge", "Bytes in a cache.", &bytes);
    out
}
