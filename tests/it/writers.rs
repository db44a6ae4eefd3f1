//! Several writers of one table: who loses, who does not, and that nothing is lost.

use std::sync::Mutex;
use std::thread;

use crate::support::Server;
use crate::wire::Wire;

const WRITERS: usize = 8;

fn run(wire: &mut Wire, sql: &str) {
    let reply = wire.simple(sql);
    assert!(reply.error.is_none(), "{sql}: {}", reply.error.unwrap());
}

fn all_at_once(server: &Server, write: impl Fn(usize, &mut Wire) + Sync) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (mut wire, write) = (server.connect(), &write);
            scope.spawn(move || write(writer, &mut wire));
        }
    });
}

#[test]
fn writers_of_different_rows_never_fail_and_of_one_row_run_again() {
    let mut server = Server::start();
    let mut wire = server.connect();
    run(&mut wire, "create table t (id int, n int)");
    run(
        &mut wire,
        "insert into t select i, 0 from generate_series(0, 79) as g(i)",
    );
    all_at_once(&server, |writer, wire| {
        let sql = format!("update t set n = n + 1 where id % {WRITERS} = {writer}");
        let reply = wire.simple(&sql);
        assert!(reply.error.is_none(), "{}", reply.error.unwrap());
        assert_eq!(reply.tags, ["UPDATE 10"]);
    });
    let state = "select count(*) || '|' || min(n) || '|' || max(n) || '|' || sum(n) from t";
    assert_eq!(wire.simple(state).value(), "80|1|1|80");
    // The same row: each one runs again until it comes after the others.
    all_at_once(&server, |_, wire| run(wire, "update t set n = n + 1 where id = 0"));
    assert_eq!(
        wire.simple(state).value(),
        format!("80|1|{}|{}", 1 + WRITERS, 80 + WRITERS)
    );
    server.assert_well();
}

#[test]
fn a_statement_that_runs_again_returns_what_it_did_at_last() {
    let mut server = Server::start();
    let mut wire = server.connect();
    run(&mut wire, "create table t (id int, n int)");
    run(&mut wire, "insert into t values (0, 0)");
    let seen = Mutex::new(Vec::new());
    all_at_once(&server, |_, wire| {
        let reply = wire.simple("update t set n = n + 1 returning n");
        assert!(reply.error.is_none(), "{}", reply.error.unwrap());
        seen.lock().unwrap().push(reply.value().parse::<usize>().unwrap());
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=WRITERS).collect::<Vec<_>>());
    server.assert_well();
}

#[test]
fn rows_are_moved_once_whoever_moves_them() {
    const MOVED: usize = 3;
    let mut server = Server::start();
    let mut wire = server.connect();
    run(&mut wire, "create table waiting (id int)");
    run(&mut wire, "create table done (id int)");
    let rows = WRITERS * MOVED;
    run(
        &mut wire,
        &format!("insert into waiting select g from generate_series(1, {rows}) as g"),
    );
    let sql = "with d as (delete from waiting where id = (select min(id) from waiting) returning id), \
               i as (insert into done select id from d returning id) select id from i";
    let seen = Mutex::new(Vec::new());
    all_at_once(&server, |_, wire| {
        for _ in 0..MOVED {
            let reply = wire.simple(sql);
            assert!(reply.error.is_none(), "{}", reply.error.unwrap());
            assert_eq!(reply.tags, ["SELECT 1"]);
            seen.lock().unwrap().push(reply.value().parse::<usize>().unwrap());
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=rows).collect::<Vec<_>>());
    let state = "select (select count(*) from waiting) || '|' || count(distinct id) || '|' || count(*) from done";
    assert_eq!(wire.simple(state).value(), format!("0|{rows}|{rows}"));
    server.assert_well();
}

#[test]
fn in_a_transaction_block_the_second_to_commit_loses() {
    let mut server = Server::start();
    let (mut first, mut second) = (server.connect(), server.connect());
    run(&mut first, "create table t (id int, n int)");
    run(&mut first, "create table u (id int, n int)");
    for table in ["t", "u"] {
        run(
            &mut first,
            &format!("insert into {table} select i, 10 from generate_series(1, 9) as g(i)"),
        );
    }
    for (mine, theirs, outcome) in [
        (
            "update t set n = n + 1 where id = 1",
            "update t set n = n - 1 where id = 2",
            "",
        ),
        (
            "update t set n = n + 1 where id = 3",
            "delete from t where id in (3, 4)",
            "40001",
        ),
        ("delete from t where id = 5", "delete from t", "40001"),
        ("delete from t where id = 6", "insert into t values (100, 10)", ""),
    ] {
        for wire in [&mut first, &mut second] {
            run(wire, "begin");
            run(wire, "update u set n = n + 1 where false");
        }
        run(&mut first, mine);
        // With a change that cannot collide: it comes and goes with the other.
        run(&mut second, &format!("insert into u values (1000, {})", outcome.len()));
        run(&mut second, theirs);
        run(&mut first, "commit");
        assert_eq!(second.simple("commit").code(), outcome, "{mine}; {theirs}");
    }
    let state = "select count(*) || '|' || sum(n) from t";
    for wire in [&mut first, &mut second] {
        assert_eq!(wire.simple(state).value(), "8|81");
        assert_eq!(
            wire.simple("select count(*) || '|' || max(n) from u where id = 1000")
                .value(),
            "2|0"
        );
    }
    server.assert_well();
}

#[test]
fn one_key_is_inserted_once_whoever_writes() {
    let mut server = Server::start();
    let mut wire = server.connect();
    run(&mut wire, "create table t (k int primary key, n int)");
    all_at_once(&server, |writer, wire| {
        for _ in 0..3 {
            let sql = format!(
                "insert into t values (0, 1), ({}, 1) on conflict (k) do update set n = t.n + 1",
                writer + 1
            );
            run(wire, &sql);
        }
        run(wire, "insert into t values (100, 1) on conflict do nothing");
    });
    let state = "select string_agg(k || ':' || n, ' ' order by k) from t";
    let others: Vec<String> = (1..=WRITERS).map(|writer| format!("{writer}:3")).collect();
    let expected = format!("0:{} {} 100:1", 3 * WRITERS, others.join(" "));
    assert_eq!(wire.simple(state).value(), expected);

    // In blocks the second to commit loses when it has inserted the same key, and only then.
    let mut second = server.connect();
    for (theirs, outcome) in [(200, "40001"), (300, "")] {
        for wire in [&mut wire, &mut second] {
            run(wire, "begin");
        }
        run(&mut wire, "insert into t values (200, 1) on conflict do nothing");
        run(
            &mut second,
            &format!("insert into t values ({theirs}, 1) on conflict do nothing"),
        );
        run(&mut wire, "commit");
        assert_eq!(second.simple("commit").code(), outcome);
    }
    assert_eq!(wire.simple("select count(*) from t where k = 200").value(), "1");
    server.assert_well();
}
