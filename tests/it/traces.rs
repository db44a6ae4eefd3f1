//! OpenTelemetry traces, as a collector gets them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Server;
use crate::wire::Wire;

const PATIENCE: Duration = Duration::from_secs(30);

/// Takes whatever is sent, and gives the spans.
struct Collector {
    url: String,
    requests: Receiver<(String, Value)>,
    spans: Vec<Value>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, requests) = channel();
        spawn(move || {
            for socket in listener.incoming() {
                let mut reader = BufReader::new(socket.expect("a socket"));
                // A client may keep its connection for the next request.
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
                    let length = head
                        .lines()
                        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    let Some(length) = length else {
                        break;
                    };
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).expect("the body");
                    let body = serde_json::from_slice(&body).expect("JSON");
                    let first = head.lines().next().unwrap_or_default().to_owned();
                    if sender.send((first, body)).is_err() {
                        return;
                    }
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    reader.get_mut().write_all(answer.as_bytes()).expect("answered");
                }
            }
        });
        Self {
            url,
            requests,
            spans: Vec::new(),
        }
    }

    /// Waits for a span, and takes it.
    fn span(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(index) = self.spans.iter().position(&is_it) {
                return self.spans.remove(index);
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let received = self.requests.recv_timeout(left);
            let (line, body) = received.unwrap_or_else(|_| panic!("no span of {what} among {:#?}", self.spans));
            assert_eq!(line, "POST /v1/traces HTTP/1.1");
            let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
            self.spans.extend(spans.as_array().expect("spans").iter().cloned());
        }
    }

    /// The span of a statement of this shape.
    fn statement(&mut self, shape: &str) -> Value {
        self.span(shape, |span| attribute(span, "db.query.text") == shape)
    }

    /// The names of the parts of a span, in the order of time.
    fn parts(&mut self, of: &Value, wanted: &[&str]) {
        let mut parts: Vec<Value> = (wanted.iter())
            .map(|name| {
                self.span(name, |span| {
                    span["name"] == *name && span["parentSpanId"] == of["spanId"]
                })
            })
            .collect();
        parts.sort_by_key(|part| time(part, "startTimeUnixNano"));
        for part in &parts {
            assert_eq!(part["traceId"], of["traceId"]);
            assert!(
                time(part, "startTimeUnixNano") >= time(of, "startTimeUnixNano"),
                "{part} {of}"
            );
            assert!(
                time(part, "endTimeUnixNano") <= time(of, "endTimeUnixNano"),
                "{part} {of}"
            );
        }
        let names: Vec<&str> = parts.iter().filter_map(|part| part["name"].as_str()).collect();
        assert_eq!(names, wanted);
    }
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a str {
    let all = span["attributes"].as_array().expect("attributes");
    let found = all.iter().find(|attribute| attribute["key"] == key);
    found.map_or("", |attribute| {
        let value = &attribute["value"];
        value["stringValue"]
            .as_str()
            .or(value["intValue"].as_str())
            .unwrap_or("")
    })
}

fn time(span: &Value, name: &str) -> u128 {
    span[name].as_str().expect("a time").parse().expect("nanoseconds")
}

#[test]
fn a_collector_gets_connections_and_their_statements() {
    let mut collector = Collector::start();
    let flags = ["--auth", "trust", "--maintenance=false", "--traces", &collector.url];
    let mut server = Server::start_with(&flags, &[]);
    let mut wire = server.connect();
    let mut run = |sql: &str, code: &str| assert_eq!(wire.simple(sql).code(), code, "{sql}");
    run(
        "create table t as select i as a from generate_series(1, 10) as s (i)",
        "",
    );
    run("select a from t where a > 7", "");
    run("select 'a secret' as s, 1 / (a - 1) from t", "22012");
    let client = "/*db_driver='d',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/";
    run(&format!("insert into t values (11) {client}"), "");
    run(
        &format!("insert into t values (12, 'x') {}", client.replace("-01'", "-00'")),
        "42601",
    );
    assert_eq!(wire.extended("delete from t where a = 1", &[]).code(), "");
    let pid = wire.key.clone().expect("a key").0.to_string();
    drop(wire);

    let connection = collector.span("connection", |span| {
        span["name"] == "connection" && attribute(span, "staffa.pid") == pid
    });
    let query = collector.statement("select a from t where a > ?");
    assert_eq!(query["name"], "SELECT");
    assert_eq!(
        (&query["traceId"], &query["parentSpanId"]),
        (&connection["traceId"], &connection["spanId"])
    );
    assert_eq!(attribute(&query, "db.response.returned_rows"), "3");
    assert_eq!(attribute(&query, "user.name"), "admin");
    collector.parts(&query, &["parse", "plan", "execute"]);

    let failed = collector.span("the error", |span| {
        attribute(span, "db.response.status_code") == "22012"
    });
    assert_eq!(failed["status"]["code"], 2);
    assert!(!failed.to_string().contains("a secret"), "{failed}");

    // A part of the client's own trace.
    let insert = collector.span("insert", |span| span["name"] == "INSERT");
    assert_eq!(insert["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(insert["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(insert["links"][0]["spanId"], connection["spanId"]);
    collector.parts(&insert, &["parse", "plan", "execute", "commit"]);

    let delete = collector.statement("delete from t where a = ?");
    collector.parts(&delete, &["parse", "plan", "execute"]);
    // Of what the client does not keep there is nothing.
    assert!(
        collector
            .spans
            .iter()
            .all(|span| attribute(span, "db.response.status_code") != "42601")
    );
    server.assert_well();
}

#[test]
fn a_collector_that_is_away_holds_nobody_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let mut server = Server::start_with(&["--auth", "trust", "--traces", &url], &[]);
    let mut wire: Wire = server.connect();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(wire.simple("select 1").code(), "");
    }
    assert!(begun.elapsed() < PATIENCE);
    while !server.log().contains("the collector takes no traces") {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
    }
    server.assert_well();
}
