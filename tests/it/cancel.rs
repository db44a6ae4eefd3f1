//! Cancelling, timeouts and clients that go away, in every phase of a statement; and clients that do not read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep, spawn};
use std::time::{Duration, Instant};

use crate::support::Server;
use crate::wire::{Wire, bind, cancel_request, error_fields, execute, parse, query, reply, sync};

/// The promise is 250 ms; a debug build on a busy machine gets more.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Operators look for a stop between batches; a nested loop's batch takes seconds in a debug build.
const SETTLE_LIMIT: Duration = Duration::from_secs(40);

/// Statements that would run for minutes, by what they do when they are stopped.
const LONG: [(&str, &str); 9] = [
    ("sleep", "select pg_sleep(600)"),
    (
        "streaming rows",
        "select i, i * 2 from generate_series(1, 10000000000) as g(i)",
    ),
    (
        "aggregate",
        "select count(*), sum(i % 7) from generate_series(1, 10000000000) as g(i)",
    ),
    (
        "group by",
        "select i % 1000, count(*) from generate_series(1, 10000000000) as g(i) group by 1",
    ),
    (
        "nested loop",
        "select count(*) from generate_series(1, 1000000) a(i), generate_series(1, 1000000) b(j) where i::bigint * j % 7 = 3",
    ),
    (
        "hash join",
        "select count(*) from generate_series(1, 10000000000) a(i) join generate_series(1, 1000) b(j) on i % 1000 = j",
    ),
    (
        "recursion",
        "with recursive r(i) as (select 1::bigint union all select i + 1 from r) select max(i) from r",
    ),
    (
        "window",
        "select max(s) from (select sum(i) over (order by i) as s from generate_series(1, 10000000000) as g(i)) x",
    ),
    (
        "insert",
        "insert into sink select i from generate_series(1, 10000000000) as g(i)",
    ),
];

#[test]
fn cancel_requests_stop_every_kind_of_work() {
    let mut server = Server::start();
    server.connect().simple("create table sink (i bigint)");
    for (name, sql) in LONG {
        for extended in [false, true] {
            let mut wire = server.connect();
            let (pid, secret) = wire.key.clone().unwrap();
            if extended {
                wire.send(&[parse("", sql, &[]), bind("", "", &[], &[], &[]), execute("", 0), sync()].concat());
            } else {
                wire.send(&query(sql));
            }
            let address = server.address();
            let cancelled = spawn(move || {
                sleep(Duration::from_millis(400));
                let begun = Instant::now();
                let mut other = Wire::open(address);
                other.send(&cancel_request(pid, &secret));
                assert!(other.closes());
                begun
            });
            let answer = reply_without_rows(&mut wire);
            let took = cancelled.join().unwrap().elapsed();
            assert_eq!(answer.0, "57014", "{name}");
            assert_eq!(answer.1, "canceling statement due to user request", "{name}");
            assert!(took < STOP_LIMIT, "{name} stopped after {took:?}");
            assert_eq!(wire.simple("select 1").value(), "1", "the session goes on after {name}");
        }
    }
    assert_eq!(server.connect().simple("select count(*) from sink").value(), "0");
    settles(&server);
    server.assert_well();
}

#[test]
fn a_wrong_secret_cancels_nothing() {
    let server = Server::start();
    let mut wire = server.connect();
    let (pid, mut secret) = wire.key.clone().unwrap();
    secret[0] ^= 1;
    wire.send(&query("select pg_sleep(1), 'slept'"));
    sleep(Duration::from_millis(200));
    let mut other = Wire::open(server.address());
    other.send(&cancel_request(pid, &secret));
    assert!(other.closes());
    let answer = reply(wire.until_ready());
    assert_eq!(answer.text()[0][1].as_deref(), Some("slept"), "{:?}", answer.error);
}

#[test]
fn statement_timeout_covers_every_phase() {
    let mut server = Server::start();
    server.connect().simple("create table sink (i bigint)");
    for (name, sql) in LONG {
        let mut wire = server.connect();
        wire.simple("set statement_timeout = '300ms'");
        let begun = Instant::now();
        wire.send(&query(sql));
        let (code, message) = reply_without_rows(&mut wire);
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("57014", "canceling statement due to statement timeout"),
            "{name}"
        );
        assert!(
            begun.elapsed() < STOP_LIMIT,
            "{name} stopped after {:?}",
            begun.elapsed()
        );
        // The processors may still be busy with what was stopped, and this too must end in time.
        while wire.simple("reset statement_timeout").code() == "57014" {
            assert!(begun.elapsed() < SETTLE_LIMIT, "after {name} nothing else runs");
        }
        assert_eq!(wire.simple("select pg_sleep(0.4) is null").code(), "", "{name}");
    }
    server.assert_well();
}

/// An update that always loses is run again; all its runs together have one statement's time, and one cancel ends them.
#[test]
fn a_statement_that_runs_again_has_the_time_of_one() {
    let mut server = Server::start();
    let mut wire = server.connect();
    for sql in ["create table t (id int, n bigint)", "insert into t values (0, 0)"] {
        assert_eq!(wire.simple(sql).code(), "");
    }
    let slow = "update t set n = n + 1 where id = 0 and pg_sleep(0.4) is not null";
    let done = AtomicBool::new(false);
    scope(|threads| {
        let mut quick = server.connect();
        let done = &done;
        threads.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(quick.simple("update t set n = n + 1 where id = 0").code(), "");
            }
        });
        wire.simple("set statement_timeout = '1500ms'");
        let begun = Instant::now();
        let reply = wire.simple(slow);
        assert_eq!(reply.code(), "57014", "after {:?}", begun.elapsed());
        assert!(begun.elapsed() < STOP_LIMIT, "stopped after {:?}", begun.elapsed());

        wire.simple("set statement_timeout = 0");
        let (pid, secret) = wire.key.clone().unwrap();
        wire.send(&query(slow));
        sleep(Duration::from_millis(2500));
        let mut other = Wire::open(server.address());
        other.send(&cancel_request(pid, &secret));
        assert!(other.closes());
        let cancelled = Instant::now();
        assert_eq!(reply_without_rows(&mut wire).0, "57014");
        assert!(
            cancelled.elapsed() < STOP_LIMIT,
            "stopped after {:?}",
            cancelled.elapsed()
        );
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(wire.simple("select 1").value(), "1");
    server.assert_well();
}

#[test]
fn a_client_that_leaves_stops_its_work() {
    let mut server = Server::start();
    server.connect().simple("create table sink (i bigint)");
    for (_, sql) in LONG {
        let mut wire = server.connect();
        wire.send(&query(sql));
        sleep(Duration::from_millis(200));
        drop(wire);
    }
    settles(&server);
    server.assert_well();
}

#[test]
fn a_slow_reader_costs_little_memory() {
    let mut server = Server::start();
    server.assert_well();
    let idle = server.resident();
    let sql = "select i, repeat('x', 500) from generate_series(1, 50000000) as g(i)";
    let mut readers = Vec::new();
    for extended in [false, true] {
        let mut wire = server.connect();
        if extended {
            wire.send(&[parse("", sql, &[]), bind("", "", &[], &[], &[]), execute("", 0), sync()].concat());
        } else {
            wire.send(&query(sql));
        }
        readers.push(wire.into_stream());
    }
    let mut most = 0;
    for _ in 0..30 {
        sleep(Duration::from_millis(100));
        most = most.max(server.resident());
    }
    let grown = most.saturating_sub(idle) >> 20;
    assert!(
        grown < 300,
        "{grown} MiB more than idle with two readers that do not read"
    );
    drop(readers);
    settles(&server);
    server.assert_well();
}

#[test]
fn few_rows_stand_before_the_error_of_a_cancelled_statement() {
    // What the client's own system takes, what the server's may hold, and what the server has at hand.
    const BYTES_MAX: usize = 2 << 20;
    let server = Server::start();
    let mut wire = server.connect();
    wire.bound_receive_buffer(64 << 10);
    wire.send(&query(
        "select i, repeat('x', 500) from generate_series(1, 50000000) as g(i)",
    ));
    // By then nothing fits anywhere any more.
    sleep(Duration::from_secs(2));
    let (pid, secret) = wire.key.clone().unwrap();
    let mut other = Wire::open(server.address());
    other.send(&cancel_request(pid, &secret));
    assert!(other.closes());
    let messages = wire.until_ready();
    let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
    assert_eq!(reply(messages).code(), "57014");
    assert!(bytes < BYTES_MAX, "{bytes} bytes came before the error");
}

/// SQLSTATE and message of the error that ends a statement, however many rows came before it.
fn reply_without_rows(wire: &mut Wire) -> (String, String) {
    let mut answer = (String::new(), String::new());
    while let Some(message) = wire.message() {
        match message.tag {
            b'E' => {
                let error = error_fields(&message.body);
                answer = (error.code, error.message);
            }
            b'Z' => break,
            _ => {}
        }
    }
    answer
}

/// Waits until the server uses next to no processor time.
fn settles(server: &Server) {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .filter_map(|f| f.parse().ok())
            .collect();
        fields[10] + fields[11] // utime and stime, after the state letter fell out
    };
    let begun = Instant::now();
    loop {
        let before = ticks();
        sleep(Duration::from_millis(500));
        if ticks() - before <= 5 {
            return;
        }
        assert!(begun.elapsed() < SETTLE_LIMIT, "work goes on that nobody waits for");
    }
}
