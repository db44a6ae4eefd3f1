//! Answers that are kept: computed once for all who ask at a time, and never held up by whoever asked first.

use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::Server;
use crate::wire::{Wire, bind, cancel_request, execute, parse, query, sync};

/// Pairs of rows, none of which passes: seconds of work for a debug build, and one row.
const SLOW: &str = "select count(*) from numbers a, numbers b where a.n * b.n % 7 = 7";

fn server() -> Server {
    let server = Server::start();
    let mut wire = server.connect();
    wire.simple("create table numbers as select n from generate_series(1, 4000) as g(n)");
    server
}

/// How many queries were computed.
fn misses(wire: &mut Wire) -> u64 {
    let reply = wire.simple("select misses from staffa.cache where name = 'results'");
    reply.value().parse().unwrap()
}

#[test]
fn many_who_ask_the_same_share_one_answer() {
    let server = server();
    let mut wire = server.connect();
    let before = misses(&mut wire);
    scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(server.connect().simple(SLOW).value(), "0"));
        }
    });
    assert_eq!(misses(&mut wire), before + 1);
    wire.simple("insert into numbers values (0)");
    assert_eq!(wire.simple(SLOW).value(), "0");
    assert_eq!(misses(&mut wire), before + 2);
}

#[test]
fn who_waits_goes_on_when_the_first_is_cancelled() {
    let server = server();
    let mut first = server.connect();
    let (pid, secret) = first.key.clone().unwrap();
    first.send(&query(SLOW));
    let mut watch = server.connect();
    let running = |wire: &mut Wire| {
        let sql = "select count(*) from staffa.queries where state = 'running' and query like 'select count(*) from numbers%'";
        wire.simple(sql).value()
    };
    wait_until(|| running(&mut watch) == "1");
    scope(|scope| {
        let second = scope.spawn(|| server.connect().simple(SLOW).value());
        wait_until(|| running(&mut watch) == "2");
        let mut other = Wire::open(server.address());
        other.send(&cancel_request(pid, &secret));
        assert_eq!(second.join().unwrap(), "0");
    });
}

#[test]
fn a_client_that_does_not_read_on_holds_nobody_up() {
    let server = server();
    server
        .connect()
        .simple("create table wide as select n, repeat('x', 100) as s from generate_series(1, 60000) as g(n)");
    let sql = "select n, s from wide";
    let mut slow = server.connect();
    slow.simple("begin");
    slow.send(&parse("", sql, &[]));
    slow.send(&bind("", "", &[], &[], &[]));
    slow.send(&execute("", 1));
    slow.send(&sync());
    slow.until_ready();
    // In the block its portal stays open, with most of its rows.
    let begun = Instant::now();
    assert_eq!(server.connect().simple(sql).text().len(), 60_000);
    assert!(begun.elapsed() < Duration::from_secs(60));
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}
