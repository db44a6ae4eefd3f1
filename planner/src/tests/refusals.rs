//! What is refused, in PostgreSQL's words where it has some, with the position.

use super::fixture::Fixture;
use crate::error::ErrorKind;

#[tokio::test]
async fn errors_have_the_words_and_place_of_postgres() {
    let fixture = Fixture::new().await;
    fixture.change("create table t (a int, b text, d date)").await;
    fixture.change("create view v as select a from t").await;
    use ErrorKind::*;
    for (sql, kind, message, position) in [
        (
            "select * from nosuch",
            UndefinedTable,
            "relation \"nosuch\" does not exist",
            Some(15),
        ),
        (
            "select * from s.nosuch",
            UndefinedTable,
            "relation \"s.nosuch\" does not exist",
            Some(15),
        ),
        (
            "select nosuch from t",
            UndefinedColumn,
            "column \"nosuch\" does not exist",
            Some(8),
        ),
        (
            "select t.nosuch from t",
            UndefinedColumn,
            "column t.nosuch does not exist",
            Some(8),
        ),
        (
            "select x.a from t",
            UndefinedTable,
            "missing FROM-clause entry for table \"x\"",
            Some(8),
        ),
        (
            "select nosuch(1)",
            UndefinedFunction,
            "function nosuch(integer) does not exist",
            Some(8),
        ),
        (
            "select a from t, t as u",
            AmbiguousColumn,
            "column reference \"a\" is ambiguous",
            Some(8),
        ),
        ("select 1 / 0", DivisionByZero, "division by zero", None),
        (
            "select 'x'::int",
            InvalidTextRepresentation,
            "invalid input syntax for type integer: \"x\"",
            Some(8),
        ),
        (
            "select a::nosuch from t",
            UndefinedObject,
            "type \"nosuch\" does not exist",
            Some(11),
        ),
        (
            "select a, count(*) from t",
            GroupingError,
            "column \"t.a\" must appear in the GROUP BY clause or be used in an aggregate function",
            Some(8),
        ),
        (
            "insert into t (a, nosuch) values (1, 2)",
            UndefinedColumn,
            "column \"nosuch\" of relation \"t\" does not exist",
            Some(19),
        ),
        (
            "insert into t (a, a) values (1, 2)",
            DuplicateColumn,
            "column \"a\" specified more than once",
            Some(19),
        ),
        (
            "insert into t values (1, 'x', '2024-01-01', 4)",
            SyntaxError,
            "INSERT has more expressions than target columns",
            Some(45),
        ),
        (
            "insert into t (a, b) values (1)",
            SyntaxError,
            "INSERT has more target columns than expressions",
            Some(19),
        ),
        (
            "insert into t (a) select b from t",
            DatatypeMismatch,
            "column \"a\" is of type integer but expression is of type text",
            Some(26),
        ),
        (
            "drop table nosuch",
            UndefinedTable,
            "table \"nosuch\" does not exist",
            None,
        ),
        ("drop view t", WrongObjectType, "\"t\" is not a view", None),
        ("drop table v", WrongObjectType, "\"v\" is not a table", None),
        (
            "create table u (a int, a text)",
            DuplicateColumn,
            "column \"a\" specified more than once",
            None,
        ),
        (
            "create table nosuch.u (a int)",
            UndefinedSchema,
            "schema \"nosuch\" does not exist",
            Some(14),
        ),
        (
            "create table u (a text) partition by (day(a))",
            InvalidTableDefinition,
            "cannot partition column \"a\" of type text by day",
            None,
        ),
        (
            "create table u (a int) partition by (b)",
            UndefinedColumn,
            "column \"b\" named in partition key does not exist",
            None,
        ),
        (
            "create table u (a int) partition by range (a)",
            FeatureNotSupported,
            "PARTITION BY RANGE, LIST and HASH is not supported",
            None,
        ),
        (
            "copy t from '/etc/passwd'",
            InsufficientPrivilege,
            "permission denied to COPY FROM a file",
            None,
        ),
        ("copy v to stdout", WrongObjectType, "cannot copy from view \"v\"", None),
        (
            "comment on column t.z is 'x'",
            UndefinedColumn,
            "column \"z\" of relation \"t\" does not exist",
            None,
        ),
        (
            "set datafusion.runtime.memory_limit = '1T'",
            UndefinedObject,
            "unrecognized configuration parameter \"datafusion.runtime.memory_limit\"",
            None,
        ),
        (
            "select * from 'x.parquet'",
            InsufficientPrivilege,
            "permission denied to read files",
            None,
        ),
    ] {
        let error = fixture.error(sql).await;
        assert_eq!(
            (error.kind(), error.message(), error.position()),
            (kind, message, position),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn what_would_be_ignored_is_refused() {
    let fixture = Fixture::new().await;
    fixture.change("create table t (a int, b text, ts timestamp)").await;
    for sql in [
        "select * from t tablesample system (10)",
        "select * from (select 1 as x) as s(x int)",
        "select x'1f' from t",
        "select b collate \"de_DE\" from t",
        "select * from (with x as (insert into t values (1) returning a) select * from x) as y",
        "delete from t where current of c",
        "update t set a = 1 where current of c",
        "create table u (a int) tablespace x",
        "create function f() returns int as $$ select 1 $$ language sql",
        "copy t from stdin where a > 1",
        "explain (buffers) select 1",
        "do $$ begin end $$",
    ] {
        let error = match crate::parse(sql) {
            Err(error) => error,
            Ok(_) => fixture.error(sql).await,
        };
        assert_eq!(error.kind(), ErrorKind::FeatureNotSupported, "{sql}: {error}");
    }
}
