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

/// The build side of a nested-loop join that does not fit runs twice, and gives each row once, or none.
#[test]
fn nested_loop_joins_larger_than_memory() {
    let mut server = limited();
    let mut wire = server.connect();
    let build = "(select repeat('x', 1000) || i as t from generate_series(1, 300000) as s (i)) a";
    let probe = "(select j from generate_series(1, 20000) as s (j) where j <= 3 or j > 100000) b";
    for (join, count) in [("join", "900000"), ("left join", "900000"), ("full join", "900000")] {
        let sql = format!("select count(*) from {build} {join} {probe} on length(a.t) > b.j");
        let reply = wire.simple(&sql);
        match &reply.error {
            None => assert_eq!(reply.value(), count, "{sql}"),
            Some(error) => assert_eq!(error.code, "53200", "{sql}: {error}"),
        }
    }
    server.assert_well();
}

/// What windows and arrays keep counts.
#[test]
fn windows_and_arrays_count() {
    let mut server = limited();
    let mut wire = server.connect();
    for sql in [
        "select max(length(m)) from (select max(t) over (partition by i % 2 order by i rows between unbounded preceding and \
         unbounded following) as m from (select i, repeat('x', 500) || i as t from generate_series(1, 1000000) as s (i)) x) y",
        "select cardinality(array_agg(repeat('x', 1000) || i)) from generate_series(1, 1000000) as s (i)",
        "select max(cardinality(a)) from (select array_agg(repeat('x', 1000) || i) as a from generate_series(1, 1000000) as s (i) \
         group by i % 3) x",
    ] {
        assert_eq!(wire.simple(sql).code(), "53200", "{sql}");
    }
    let small = "select cardinality(array_agg(repeat('x', 1000) || i)) from generate_series(1, 1000) as s (i)";
    assert_eq!(wire.simple(small).value(), "1000");
    server.assert_well();
}

/// Rows of a megabyte go through an exchange and a filter some at a time: of a batch they would be gigabytes.
#[test]
fn wide_rows_go_some_at_a_time() {
    let mut server = limited();
    let mut wire = server.connect();
    let wide = "(select repeat('x', 1000000) || i as x, i from generate_series(1, 1000) as s (i) offset 1) w";
    for (sql, value) in [
        (format!("select max(length(x)) from {wide}"), "1000004"),
        (format!("select count(*) from {wide} where x like '%0'"), "100"),
    ] {
        let reply = wire.simple(&sql);
        assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
        assert_eq!(reply.value(), value, "{sql}");
    }
    server.assert_well();
}

/// What is far larger than what it is made of is there for some rows at a time: of a batch it would be gigabytes.
#[test]
fn what_grows_is_computed_in_pieces() {
    let mut server = limited();
    let mut wire = server.connect();
    wire.simple("create table texts as select repeat('x', 300) || i as t, i from generate_series(1, 60) as s (i)");
    for (sql, value) in [
        ("select max(length(repeat(t, 100000) || i)) from texts", "30200002"),
        (
            "select count(*) from (select repeat(t, 100000) || 'x' as r from texts) x where length(r) > 30100001",
            "51",
        ),
        ("select count(*) from texts where repeat(t, 100000) || t > 'x'", "60"),
        ("select max(length(rpad(t, 10000000 + i, t))) from texts", "10000060"),
        (
            "select max(length(replace(t, 'x', rpad('', i * 5000)))) from texts",
            "90000002",
        ),
    ] {
        assert_eq!(wire.simple(sql).value(), value, "{sql}");
    }
    server.assert_well();
}
