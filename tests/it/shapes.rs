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
