use super::*;
use crate::error::ErrorKind;

fn error(sql: &str) -> Error {
    parse(sql).expect_err(sql)
}

#[test]
fn a_message_is_split_and_each_statement_keeps_its_place() {
    let statements = parse(" select 1; ;\n select ';' -- ; \n ; begin ;").expect("fine");
    let found: Vec<(&str, usize)> = statements.iter().map(|s| (s.text.as_str(), s.offset)).collect();
    assert_eq!(found, [("select 1", 1), ("select ';'", 14), ("begin", 34)]);
    assert!(parse(" ; /* nothing */ ;").expect("fine").is_empty());
}

/// Messages and positions as PostgreSQL 15 gives them.
#[test]
fn syntax_errors_in_postgres_words() {
    for (sql, message, position) in [
        ("selct 1", "syntax error at or near \"selct\"", 1),
        ("select 1 +", "syntax error at end of input", 11),
        ("select * from", "syntax error at end of input", 14),
        ("select 1; drop tabel t", "syntax error at or near \"tabel\"", 16),
        ("create table t (a int", "syntax error at end of input", 22),
        ("select 'abc", "unterminated quoted string at or near \"'abc\"", 8),
        ("begin foo", "syntax error at or near \"foo\"", 7),
        ("set x", "syntax error at end of input", 6),
        ("select ä from t where )", "syntax error at or near \")\"", 23),
        ("insert into t", "syntax error at end of input", 14),
    ] {
        let error = error(sql);
        assert_eq!(error.kind(), ErrorKind::SyntaxError, "{sql}");
        assert_eq!((error.message(), error.position()), (message, Some(position)), "{sql}");
    }
}

#[test]
fn errors_name_the_command_and_not_the_tag() {
    for (sql, command) in [
        ("insert into t values (1)", "INSERT"),
        ("create table t as select 1", "CREATE TABLE AS"),
        ("copy t from stdin", "COPY FROM"),
        ("explain analyze insert into t values (1)", "INSERT"),
        ("drop table t", "DROP TABLE"),
    ] {
        assert_eq!(parse(sql).expect(sql)[0].command(), command, "{sql}");
    }
}

#[test]
fn classes_and_tags() {
    use StatementClass::{Ddl, Query, Transaction, Utility, Write};
    for (sql, class, tag) in [
        ("select 1", Query, "SELECT"),
        ("(select 1) union all select 2", Query, "SELECT"),
        ("values (1)", Query, "SELECT"),
        ("with a as (select 1) select * from a", Query, "SELECT"),
        ("insert into t values (1)", Write, "INSERT 0"),
        ("copy t from stdin", Write, "COPY"),
        ("copy t to stdout", Query, "COPY"),
        ("create table t (a int)", Ddl, "CREATE TABLE"),
        ("create table t as select 1 as a", Ddl, "SELECT"),
        ("create or replace view v as select 1 as a", Ddl, "CREATE VIEW"),
        ("drop table if exists a, b cascade", Ddl, "DROP TABLE"),
        ("comment on table t is $$it's$$", Ddl, "COMMENT"),
        (
            "begin isolation level repeatable read, read only",
            Transaction(TransactionClass::Begin),
            "BEGIN",
        ),
        (
            "start transaction read write",
            Transaction(TransactionClass::Begin),
            "START TRANSACTION",
        ),
        ("end", Transaction(TransactionClass::Commit), "COMMIT"),
        ("abort", Transaction(TransactionClass::Rollback), "ROLLBACK"),
        ("set transaction read only", Transaction(TransactionClass::Modes), "SET"),
        ("set search_path to a, \"B c\"", Utility, "SET"),
        ("show transaction isolation level", Utility, "SHOW"),
        ("discard all", Utility, "DISCARD ALL"),
        ("unlisten *", Utility, "UNLISTEN"),
        ("explain analyze insert into t values (1)", Write, "EXPLAIN"),
        ("explain (analyze, format json) select 1", Query, "EXPLAIN"),
        ("update t set a = 1", Write, "UPDATE"),
        ("delete from t", Write, "DELETE"),
        (
            "merge into t using u on true when matched then do nothing",
            Write,
            "MERGE",
        ),
        ("deallocate all", Utility, "DEALLOCATE ALL"),
    ] {
        let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(statements.len(), 1, "{sql}");
        assert_eq!((statements[0].class(), statements[0].tag()), (class, tag), "{sql}");
    }
}

#[test]
fn settings_are_read_as_text() {
    for (sql, expected) in [
        (
            "set search_path to a, \"B c\", public",
            ("search_path", Some("a, \"B c\", public"), false),
        ),
        ("set search_path = 'A'", ("search_path", Some("\"A\""), false)),
        (
            "set local statement_timeout = -1",
            ("statement_timeout", Some("-1"), true),
        ),
        (
            "set session datestyle to ISO, mdy",
            ("datestyle", Some("iso, mdy"), false),
        ),
        (
            "set time zone 'Europe/Berlin'",
            ("timezone", Some("Europe/Berlin"), false),
        ),
        ("set extra_float_digits = 3", ("extra_float_digits", Some("3"), false)),
        ("set my.own to default", ("my.own", None, false)),
        ("set names 'utf8'", ("client_encoding", Some("utf8"), false)),
    ] {
        let parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let Ast::Set { name, value, local } = &parsed[0].ast else {
            panic!("{sql} is a SET")
        };
        assert_eq!((name.as_str(), value.as_deref(), *local), expected, "{sql}");
    }
}

#[test]
fn layouts_of_tables() {
    let sql = "create table if not exists s.t (a int not null comment 'x', ts timestamp) \
               partition by (day(ts), bucket(16, a), truncate(a, 10)) sorted by (a desc nulls last, ts) comment 'c' \
               with (\"write.x\" = '1')";
    let parsed = parse(sql).expect("fine");
    let Ast::CreateTable(create) = &parsed[0].ast else {
        panic!("a table")
    };
    let terms: Vec<(Option<&str>, Option<u32>, &str)> = create
        .partition_by
        .iter()
        .map(|term| (term.transform.as_deref(), term.number, term.column.value.as_str()))
        .collect();
    assert_eq!(
        terms,
        [
            (Some("day"), None, "ts"),
            (Some("bucket"), Some(16), "a"),
            (Some("truncate"), Some(10), "a")
        ]
    );
    let sort: Vec<(&str, bool, Option<bool>)> = create
        .sorted_by
        .iter()
        .map(|term| (term.column.value.as_str(), term.descending, term.nulls_first))
        .collect();
    assert_eq!(sort, [("a", true, Some(false)), ("ts", false, None)]);
    assert_eq!(create.comment.as_deref(), Some("c"));
    assert_eq!(create.properties, [("write.x".to_string(), "1".to_string())]);
    let parsed = parse("create table t (a, b) partition by (a) as select 1, 2 with no data").expect("fine");
    let Ast::CreateTable(create) = &parsed[0].ast else {
        panic!("a table")
    };
    assert!(!create.with_data && create.query.is_some() && create.column_names.len() == 2);
}

#[test]
fn texts_that_would_exhaust_the_stack_are_refused() {
    let deep = format!("select {}1{}", "(".repeat(5000), ")".repeat(5000));
    let flat = format!("select 1{}", "+1".repeat(100_000));
    let ors = format!("select 1 where a = 1{}", " or a = 1".repeat(50_000));
    let unions = format!("select 1{}", " union all select 1".repeat(20_000));
    let nots = format!("select {} true", "not ".repeat(50_000));
    let minus = format!("select {} 1", "- ".repeat(50_000));
    let cases = format!(
        "select {}1{}",
        "case when true then ".repeat(20_000),
        " end".repeat(20_000)
    );
    let subscripts = format!("select a{}", "[1]".repeat(50_000));
    let casts = format!("select 1{}", "::int".repeat(50_000));
    for sql in [deep, flat, ors, unions, nots, minus, cases, subscripts, casts] {
        assert_eq!(error(&sql).kind(), ErrorKind::StatementTooComplex, "{}…", &sql[..40]);
    }
    // What tools really send goes through.
    let list = format!("select 1 where a in (1{})", ",1".repeat(20_000));
    parse(&list).expect("a long list");
    let rows = format!("insert into t values (1, 'a'){}", ", (1, 'a')".repeat(20_000));
    parse(&rows).expect("many rows");
}

/// Planning takes twice as long with each query in an expression of another.
#[test]
fn queries_in_expressions_are_not_many_levels_deep() {
    let nested =
        |open: &str, close: &str, times: usize| format!("{}select 1{}", open.repeat(times), close.repeat(times));
    for (open, close) in [
        ("select (", ")"),
        ("select 1 where exists (", ")"),
        ("select 1 where 1 in (", ")"),
        ("select extract(year from (", "))"),
        ("select * from f((", "))"),
        ("select * from t join u on a = (", ")"),
        ("select array(", ")"),
        ("select 1 is distinct from (", ")"),
        ("select (select 1 union ", ")"),
    ] {
        let kind = error(&nested(open, close, 20)).kind();
        assert_eq!(kind, ErrorKind::StatementTooComplex, "{open}");
        parse(&nested(open, close, 5)).unwrap_or_else(|error| panic!("{open}: {error}"));
    }
    // Those in FROM, and branches of UNION, are no matter.
    for (open, close) in [
        ("select * from (", ") s"),
        ("select * from t join (", ") s on true"),
        ("(select 1) union (", ")"),
    ] {
        parse(&nested(open, close, 20)).unwrap_or_else(|error| panic!("{open}: {error}"));
    }
}

#[test]
fn every_prefix_of_a_statement_is_an_error_or_fine_but_no_panic() {
    let sql = "create table if not exists s.t (a numeric(10,2) not null, b varchar(3)[]) partition by (bucket(16, a)) as \
               select \"x\", 'y', $1::int, case when a then b end, $tag$z$tag$, e'\\n' from t where a = any(array[1]) -- c";
    for (at, _) in sql.char_indices() {
        let _ = parse(&sql[..at]);
    }
}

/// Parsing is asked for on threads with ordinary stacks (2 MiB, as those of tests).
#[test]
fn texts_just_within_the_limits_parse_on_a_small_stack() {
    let parentheses = format!("select {}1{}", "(".repeat(99), ")".repeat(99));
    let subqueries = format!("{}select 1{}", "select * from (".repeat(99), ") s".repeat(99));
    let scalar = format!("{}select 1{}", "select (".repeat(99), ")".repeat(99));
    let calls = format!("select {}1{}", "abs(".repeat(99), ")".repeat(99));
    let cases = format!("select {}1{}", "case when true then ".repeat(99), " end".repeat(99));
    let sum = format!("select 1{}", "+1".repeat(999));
    let unions = format!("select 1{}", " union all select 1".repeat(999));
    for sql in [parentheses, subqueries, scalar, calls, cases, sum, unions] {
        if let Err(error) = parse(&sql) {
            // sqlparser may count deeper than the parentheses; a clear refusal is right, too.
            assert_eq!(error.kind(), ErrorKind::StatementTooComplex, "{}…: {error}", &sql[..40]);
        }
    }
}
