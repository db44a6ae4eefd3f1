//! Statements of any shape: deep ones, wide ones, long ones, up to a megabyte. Each is answered or refused in time, and the server lives.

use std::time::{Duration, Instant};

use crate::support::Server;

/// The promise is about a second; a debug build on a busy machine gets more.
const TIME_MAX: Duration = Duration::from_secs(50);

/// Bytes of the longest text.
const TEXT_BYTES: usize = 1_000_000;

/// What refuses a shape: too deep, too much, too many columns, too many parameters of a function, no memory for it.
const REFUSALS: [&str; 5] = ["54001", "54000", "54011", "54023", "53200"];

/// `head`, then `part` again and again, then `tail`: about a megabyte.
fn long(head: &str, part: &str, tail: &str) -> String {
    [head, &part.repeat(TEXT_BYTES / part.len()), tail].concat()
}

/// `open` and `close` around `core`, so many times.
fn nested(times: usize, open: &str, core: &str, close: &str) -> String {
    [&open.repeat(times), core, &close.repeat(times)].concat()
}

fn joined(count: usize, between: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(between)
}

fn shapes() -> Vec<(&'static str, String)> {
    let select = |text: String| format!("select {text}");
    vec![
        ("parentheses", select(nested(400_000, "(", "1", ")"))),
        ("a few parentheses", select(nested(90, "(", "1", ")"))),
        ("sum", long("select 1", "+1", "")),
        ("a sum that may be", select(joined(100, "+", |_| "1".to_owned()))),
        ("or", long("select 1 where true", " or true", "")),
        ("and", long("select 1 where a = 1", " and a = 1", "")),
        (
            "an or that may be",
            format!(
                "select 1 from generate_series(1, 2) a where {}",
                joined(300, " or ", |i| format!("a = {i}"))
            ),
        ),
        ("not", long("select ", "not ", "true")),
        ("minus", long("select ", "- ", "1")),
        ("case", select(nested(40_000, "case when true then ", "1", " end"))),
        (
            "case that may be",
            select(nested(40, "case when true then ", "1", " end")),
        ),
        ("when", long("select case 1 ", "when 2 then 3 ", "end")),
        ("calls", select(nested(150_000, "abs(", "1", ")"))),
        ("calls that may be", select(nested(90, "abs(", "1", ")"))),
        ("scalar subqueries", nested(80_000, "(select ", "1", ")")),
        (
            "scalar subqueries that may be",
            select(nested(10, "(select ", "1", ")")),
        ),
        (
            "subqueries in FROM",
            nested(30_000, "select * from (", "select 1 as a", ") x"),
        ),
        (
            "subqueries in FROM that may be",
            nested(60, "select * from (", "select 1 as a", ") x"),
        ),
        (
            "locks in FROM that may be",
            nested(40, "select * from (", "select 1 as a", ") x for update"),
        ),
        (
            "exists",
            format!("select {}", nested(40_000, "exists (select 1 where ", "true", ")")),
        ),
        ("union", long("select 1", " union all select 1", "")),
        ("except", long("select 1", " except select 2", "")),
        (
            "list of IN",
            format!("select 1 where 1 in ({})", joined(20_000, ",", |i| i.to_string())),
        ),
        (
            "rows of VALUES",
            format!(
                "select count(*) from (values {}) x",
                joined(5_000, ",", |i| format!("({i},'a')"))
            ),
        ),
        ("columns", select(joined(100_000, ",", |i| i.to_string()))),
        ("columns that may be", select(joined(1_600, ",", |i| i.to_string()))),
        (
            "relations",
            format!(
                "select count(*) from {}",
                joined(20_000, ",", |i| format!("pg_class c{i}"))
            ),
        ),
        (
            "joins",
            format!(
                "select count(*) from pg_am a {}",
                joined(10_000, " ", |i| format!("join pg_am b{i} on true"))
            ),
        ),
        (
            "CTEs",
            format!(
                "with a0 as (select 1 as x), {} select * from a20000",
                joined(20_000, ",", |i| format!("a{} as (select x from a{i})", i + 1))
            ),
        ),
        ("casts", long("select 1", "::int", "")),
        ("texts", long("select 'a'", "||'a'", "")),
        ("members of JSON", long("select '{}'::jsonb", "->'a'", "")),
        ("subscripts", long("select (array[1])", "[1]", "")),
        ("arrays in arrays", select(nested(300_000, "array[", "1", "]"))),
        ("rows in rows", select(nested(150_000, "row(", "1", ")"))),
        ("a long name", format!("select 1 as {}", "x".repeat(TEXT_BYTES))),
        ("a long text", format!("select length('{}')", "x".repeat(TEXT_BYTES))),
        (
            "comments in comments",
            format!("select 1 {}", nested(300_000, "/*", "", "*/")),
        ),
        ("parts of a name", long("select a", ".a", "")),
        (
            "arguments",
            format!("select greatest({})", joined(100_000, ",", |i| i.to_string())),
        ),
        (
            "elements",
            format!("select 3 = any(array[{}])", joined(20_000, ",", |i| i.to_string())),
        ),
        ("pattern of LIKE", long("select 'a' like '", "%a", "'")),
        ("pattern of ILIKE", long("select 'a' ilike '", "%a", "'")),
        ("regular expression", long("select 'a' ~ '", "a|", "'")),
        ("SIMILAR TO", long("select 'a' similar to '", "%a", "'")),
        ("number", long("select ", "9", "")),
        ("JSON", long("select '", "[", "'::jsonb")),
        ("jsonpath", long("select jsonb_path_query('{}', '$", ".a", "')")),
        ("array", long("select '", "{", "'::int[]")),
        ("words", long("select ", "a ", "")),
        ("quotes without an end", long("select ", "'a' ", "'")),
        ("between", long("select 1 between 0", " and 1 between 0", " and 1")),
    ]
}

#[test]
fn every_shape_is_answered_or_refused() {
    let mut server = Server::start();
    let mut wrong = Vec::new();
    for (name, sql) in shapes() {
        let begun = Instant::now();
        let mut wire = server.connect();
        wire.simple(&format!("set statement_timeout = {}", TIME_MAX.as_millis()));
        let reply = wire.simple(&sql);
        let took = begun.elapsed();
        println!(
            "{name}: {:?} {} after {took:?}",
            reply.error.as_ref().map(|error| &error.message),
            reply.code()
        );
        // A name or a value that is not there is an answer too; what is not is an error of ours.
        let is_answer =
            !reply.code().starts_with("XX") && !reply.code().starts_with("57") || REFUSALS.contains(&reply.code());
        if !is_answer || took > TIME_MAX {
            wrong.push(format!("{name}: {} after {took:?}", reply.code()));
        }
        server.assert_well();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each view is small, and the last one as deep as all of them.
#[test]
fn views_over_views_end_somewhere() {
    let mut server = Server::start();
    let mut wire = server.connect();
    assert_eq!(wire.simple("create view v0 as select 1 as a").code(), "");
    let mut deepest = 0;
    for i in 1..150 {
        let reply = wire.simple(&format!("create view v{i} as select a from v{} where a > 0", i - 1));
        if !reply.code().is_empty() {
            assert!(REFUSALS.contains(&reply.code()), "{:?}", reply.error);
            break;
        }
        deepest = i;
    }
    let reply = wire.simple(&format!("select * from v{deepest}"));
    assert!(
        reply.code().is_empty() || REFUSALS.contains(&reply.code()),
        "{:?}",
        reply.error
    );
    server.assert_well();
}

/// Short texts that ask for huge plans: each name of WITH, and each view, reads the one before twice.
#[test]
fn names_that_double_each_other_are_refused_at_once() {
    let mut server = Server::start();
    let mut wire = server.connect();
    assert_eq!(wire.simple("create table t (a int)").code(), "");
    let doubling = |steps: usize, step: &dyn Fn(usize) -> String| {
        let names = joined(steps, ", ", |i| format!("a{} as ({})", i + 1, step(i)));
        format!("with a0 as (select a as x from t), {names} select * from a{steps}")
    };
    let nested = joined(12, ", ", |i| {
        format!("(select 1 from {}) x{i}", joined(900, ",", |j| format!("t c{j}")))
    });
    let statements = [
        doubling(30, &|i| format!("select l.x from a{i} l, a{i} r")),
        doubling(60, &|i| format!("select x from a{i} union all select x from a{i}")),
        doubling(40, &|i| {
            format!("select (select max(x) from a{i}) + (select min(x) from a{i}) as x")
        }),
        doubling(12, &|i| format!("select l.x from a{i} l join a{i} r on l.x = r.x")),
        format!("select count(*) from {nested}"),
    ];
    for sql in statements {
        let begun = Instant::now();
        let reply = wire.simple(&sql);
        assert_eq!(reply.code(), "54001", "{sql}: {:?}", reply.error);
        assert!(begun.elapsed() < TIME_MAX, "{sql} took {:?}", begun.elapsed());
    }
    assert_eq!(wire.simple("create view v0 as select a from t").code(), "");
    let mut refused = false;
    for i in 1..20 {
        let reply = wire.simple(&format!("create view v{i} as select l.a from v{0} l, v{0} r", i - 1));
        refused |= reply.code() == "54001";
        assert!(["", "54001", "42P01"].contains(&reply.code()), "{:?}", reply.error);
    }
    assert!(refused, "views of 2^19 joins");
    server.assert_well();
}

/// Planning is a long computation; one that nobody waits for gives its thread back, and others go on being planned.
#[test]
fn planning_ends_with_its_statement() {
    let mut server = Server::start();
    let sql = format!(
        "select {} from generate_series(1, 2) a",
        joined(300, "+", |_| "a".to_owned())
    );
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (mut wire, sql) = (server.connect(), sql.clone());
            std::thread::spawn(move || {
                assert_eq!(wire.simple("set statement_timeout = 300").code(), "");
                wire.simple(&sql).code().to_owned()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), "57014");
    }
    let begun = Instant::now();
    assert_eq!(server.connect().simple("select 1 + 1").value(), "2");
    println!("planned after {:?}", begun.elapsed());
    assert!(
        begun.elapsed() < TIME_MAX / 2,
        "planning is held up: {:?}",
        begun.elapsed()
    );
    server.assert_well();
}
