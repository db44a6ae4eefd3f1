//! OpenTelemetry traces: spans of connections, of their statements and of what these do, sent by OTLP over HTTP as JSON.
//!
//! A statement is a part of the span that its client names in a comment (`engine/src/trace.rs`), or of its connection's. What nobody takes in
//! time is dropped: no query waits for a collector, and no memory is kept for one that is away.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Value, json};
use staffa::{StatementTrace, Warehouse};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::cli::Failure;
use crate::log::redact::redact;

/// Spans that wait to be sent.
const WAITING_MAX: usize = 8192;

/// Spans of one request.
const BATCH_MAX: usize = 2048;

/// Time between two requests, in which spans gather.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last spans may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a span is to others.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

/// Takes spans and sends them.
pub struct Traces {
    spans: mpsc::Sender<Value>,
    /// The span of each connection, by the number of its session.
    connections: Mutex<HashMap<i32, Ids>>,
    dropped: AtomicU64,
    stop: CancellationToken,
    sending: TaskTracker,
}

/// Hexadecimal digits.
#[derive(Clone, Debug)]
struct Ids {
    trace: String,
    span: String,
}

impl Ids {
    fn random() -> Self {
        Self {
            trace: format!("{:032x}", rand::random::<u128>().max(1)),
            span: span_id(),
        }
    }
}

fn span_id() -> String {
    format!("{:016x}", rand::random::<u64>().max(1))
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces")
    }
}

impl Traces {
    /// Traces the statements of a warehouse from now on; to be called on the runtime that is to send.
    ///
    /// # Errors
    /// No client can be made.
    pub(crate) fn start(collector: &Url, warehouse: &Warehouse) -> Result<Arc<Self>, Failure> {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::new(format!("cannot send traces: {error}")))?;
        let (spans, receiver) = mpsc::channel(WAITING_MAX);
        let traces = Arc::new(Self {
            spans,
            connections: Mutex::default(),
            dropped: AtomicU64::new(0),
            stop: CancellationToken::new(),
            sending: TaskTracker::new(),
        });
        let observer = Arc::clone(&traces);
        warehouse.trace_statements(move |statement| observer.statement(&statement));
        traces
            .sending
            .spawn(send(client, places_spans(collector), receiver, Arc::clone(&traces)));
        traces.sending.close();
        Ok(traces)
    }

    /// Sends what is left, for a moment.
    pub(crate) async fn finish(&self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(FAREWELL, self.sending.wait()).await;
    }

    /// A client has logged in; its span ends when what is given is dropped.
    pub(crate) fn connection(self: &Arc<Self>, session: &staffa::Session, client: SocketAddr) -> Connection {
        let ids = Ids::random();
        self.connections.lock().insert(session.backend_pid(), ids.clone());
        Connection {
            traces: Arc::clone(self),
            pid: session.backend_pid(),
            ids,
            started: SystemTime::now(),
            attributes: vec![
                text("user.name", session.user()),
                text("db.namespace", session.database()),
                text("client.address", &client.ip().to_string()),
                number("client.port", u64::from(client.port())),
                number("staffa.pid", session.backend_pid().unsigned_abs().into()),
            ],
        }
    }

    fn statement(&self, statement: &StatementTrace) {
        let connection = self.connections.lock().get(&statement.pid).cloned();
        let parent = match (&statement.parent, &connection) {
            (Some(parent), _) if !parent.sampled => return,
            (Some(parent), _) => Ids {
                trace: parent.trace_id.clone(),
                span: parent.span_id.clone(),
            },
            (None, Some(connection)) => connection.clone(),
            // A session inside this process: nobody's connection.
            (None, None) => return,
        };
        let own = Ids {
            trace: parent.trace.clone(),
            span: span_id(),
        };
        let shape = redact(&statement.text);
        let operation = shape.split(' ').next().unwrap_or_default().to_uppercase();
        let mut attributes = vec![
            text("db.system.name", "staffa"),
            text("db.namespace", &statement.database),
            text("db.operation.name", &operation),
            text("db.query.text", &shape),
            text("user.name", &statement.user),
            number("db.response.returned_rows", statement.rows),
            number("staffa.pid", statement.pid.unsigned_abs().into()),
            number("staffa.files_read", statement.files_read),
            number("staffa.bytes_read", statement.bytes_read),
            number("staffa.spilled_bytes", statement.spilled_bytes),
            number("staffa.memory_bytes_max", statement.memory_bytes_max),
        ];
        attributes.extend(statement.error_code.map(|code| text("db.response.status_code", code)));
        let began = statement.stages.iter().map(|stage| stage.started).min();
        let started = began.map_or(statement.started, |began| began.min(statement.started));
        let mut span = made(
            &own,
            Some(&parent.span),
            &operation,
            SERVER,
            (started, statement.ended),
            &attributes,
        );
        if statement.error.is_some() {
            // Messages tell values; whoever may read them finds them in staffa.queries.
            span["status"] = json!({ "code": 2 });
        }
        if let (Some(_), Some(connection)) = (&statement.parent, &connection) {
            span["links"] = json!([{ "traceId": connection.trace, "spanId": connection.span }]);
        }
        self.put(span);
        for stage in &statement.stages {
            let part = Ids {
                trace: own.trace.clone(),
                span: span_id(),
            };
            let times = (stage.started, stage.ended);
            self.put(made(&part, Some(&own.span), stage.stage.name(), INTERNAL, times, &[]));
        }
    }

    fn put(&self, span: Value) {
        if self.spans.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The span of a connection that is open.
pub(crate) struct Connection {
    traces: Arc<Traces>,
    pid: i32,
    ids: Ids,
    started: SystemTime,
    attributes: Vec<Value>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.traces.connections.lock().remove(&self.pid);
        let times = (self.started, SystemTime::now());
        let span = made(&self.ids, None, "connection", SERVER, times, &self.attributes);
        self.traces.put(span);
    }
}

/// A span as OTLP writes it.
fn made(
    ids: &Ids,
    parent: Option<&str>,
    name: &str,
    kind: u8,
    (started, ended): (SystemTime, SystemTime),
    attributes: &[Value],
) -> Value {
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_nanos().to_string()
    };
    json!({
        "traceId": ids.trace,
        "spanId": ids.span,
        "parentSpanId": parent.unwrap_or_default(),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(started),
        "endTimeUnixNano": nanoseconds(ended),
        "attributes": attributes,
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are texts in OTLP's JSON.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

/// Where a collector takes spans: at its usual place, unless the URL names another.
fn places_spans(collector: &Url) -> Url {
    let mut url = collector.clone();
    if matches!(url.path(), "" | "/") {
        url.set_path("/v1/traces");
    }
    url
}

/// Sends what comes until the server stops.
async fn send(client: reqwest::Client, url: Url, mut spans: mpsc::Receiver<Value>, traces: Arc<Traces>) {
    let mut works = true;
    loop {
        let mut batch = Vec::new();
        let stops = tokio::select! {
            biased;
            count = spans.recv_many(&mut batch, BATCH_MAX) => count == 0,
            () = traces.stop.cancelled() => true,
        };
        if stops && batch.is_empty() {
            return;
        }
        let count = batch.len();
        let sent = post(&client, &url, batch).await;
        match (&sent, works) {
            (Ok(()), false) => tracing::info!("the collector takes traces again"),
            (Err(error), true) => tracing::warn!(error, spans = count, "the collector takes no traces"),
            (Err(error), false) => tracing::debug!(error, spans = count, "the collector takes no traces"),
            (Ok(()), true) => {}
        }
        works = sent.is_ok();
        let dropped = traces.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(
                spans = dropped,
                "traces came faster than they could be sent: spans were dropped"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = traces.stop.cancelled() => {}
        }
    }
}

async fn post(client: &reqwest::Client, url: &Url, spans: Vec<Value>) -> Result<(), String> {
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", "staffa"),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ] },
        "scopeSpans": [{ "scope": { "name": "staffa" }, "spans": spans }],
    }] });
    let request = client
        .post(url.clone())
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body.to_string());
    // The URL may have a password in it.
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}
