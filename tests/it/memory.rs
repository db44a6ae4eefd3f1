//! Rows that a statement keeps count for its memory: all of them, and each once.

use crate::support::Server;

fn limited() -> Server {
    Server::start_with(
        &["--auth", "trust", "--maintenance=false", "--memory-limit", "256MB"],
        &[],
    )
}

#[test]
fn what_returning_computes_counts() {
    let mut server = limited();
    let mut wire = server.connect();
    wire.simple("create table t (a int)");
    // 1 GB.
    for sql in [
        "insert into t select g from generate_series(1, 10000) as s (g) returning repeat('x', 100000)",
        "with i as (insert into t select g from generate_series(1, 10000) as s (g) returning repeat('x', 100000) as x) \
         select count(*) from i",
    ] {
        let reply = wire.simple(sql);
        assert!(reply.error.is_some(), "{sql}");
        assert_eq!(reply.code(), "53200", "{sql}: {:?}", reply.error);
    }
    let reply = wire.simple("insert into t values (1) returning repeat('x', 10)");
    assert_eq!(reply.value(), "xxxxxxxxxx");
    server.assert_well();
}

#[test]
fn rows_that_come_one_by_one_count_once() {
    let mut server = limited();
    let mut wire = server.connect();
    for sql in [
        "create sequence s",
        "create table t as select g as a from generate_series(1, 10000) as s (g)",
        "create table u (a int, n bigint, c bigint)",
    ] {
        assert!(wire.simple(sql).error.is_none());
    }
    for (sql, count) in [
        (
            "with r as (select a, nextval('s') as n, currval('s') as c from t) \
             select count(*) from r x join r y on x.a = y.a where x.n = y.c",
            "10000",
        ),
        (
            "with i as (insert into u select a, nextval('s'), currval('s') from t returning *) \
             select count(*) from i where n = c",
            "10000",
        ),
    ] {
        let reply = wire.simple(sql);
        assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
        assert_eq!(reply.value(), count, "{sql}");
    }
    server.assert_well();
}
