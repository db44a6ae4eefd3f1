//! What the protocol says in passing and clients rely on.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::Server;
use crate::wire::{
    self, GSSENC_REQUEST, PROTOCOL_3_0, SSL_REQUEST, Wire, bind, describe, error_fields, execute, flush, frame, parse,
    query, reply, startup, sync, untagged,
};

const PROTOCOL_3_2: i32 = PROTOCOL_3_0 + 2;
const LOGIN: [(&str, &str); 2] = [("user", "admin"), ("database", "staffa")];

#[test]
fn startup_says_what_drivers_read() {
    let mut server = Server::start();
    let (wire, _) = Wire::login(server.address(), PROTOCOL_3_0, &LOGIN).unwrap();
    let value = |name: &str| {
        wire.parameters
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    };
    for (name, expected) in [
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("session_authorization", "admin"),
        ("default_transaction_read_only", "off"),
        ("in_hot_standby", "off"),
        ("application_name", ""),
    ] {
        assert_eq!(value(name), Some(expected), "{name}");
    }
    assert!(
        value("server_version").unwrap().starts_with("15"),
        "{:?}",
        value("server_version")
    );
    assert!(value("TimeZone").is_some() && value("is_superuser").is_some());
    assert_eq!(wire.status, b'I');
    let (_, secret) = wire.key.clone().unwrap();
    assert_eq!(secret.len(), 4, "protocol 3.0 has keys of 4 bytes");

    // Settings may come with the login.
    let settings = [
        ("user", "admin"),
        ("database", "staffa"),
        ("TimeZone", "Asia/Tokyo"),
        ("application_name", "x"),
    ];
    let (mut tokyo, _) = Wire::login(server.address(), PROTOCOL_3_0, &settings).unwrap();
    assert_eq!(tokyo.simple("show timezone").value(), "Asia/Tokyo");
    let options = [
        ("user", "admin"),
        ("database", "staffa"),
        ("options", "-c statement_timeout=5s -c application_name=a\\ b"),
    ];
    let (mut with_options, _) = Wire::login(server.address(), PROTOCOL_3_0, &options).unwrap();
    assert_eq!(with_options.simple("show statement_timeout").value(), "5s");
    assert_eq!(with_options.simple("show application_name").value(), "a b");

    // The database defaults to the role's name, which is none here.
    let error = Wire::login(server.address(), PROTOCOL_3_0, &[("user", "admin")]).unwrap_err();
    assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", "3D000"));
    assert_eq!(error.message, "database \"admin\" does not exist");
    server.assert_well();
}

#[test]
fn protocol_versions_are_negotiated() {
    let server = Server::start();
    // 3.2 is spoken: a longer key, nothing to negotiate.
    let (wire, messages) = Wire::login(server.address(), PROTOCOL_3_2, &LOGIN).unwrap();
    assert!(messages.iter().all(|message| message.tag != b'v'));
    assert!(wire.key.unwrap().1.len() > 4);
    // A later minor version and options nobody knows: told so, then served.
    let parameters = [
        ("user", "admin"),
        ("database", "staffa"),
        ("_pq_.nope", "1"),
        ("_pq_.other", "2"),
    ];
    let (mut wire, messages) = Wire::login(server.address(), PROTOCOL_3_0 + 9, &parameters).unwrap();
    let negotiate = messages
        .iter()
        .find(|message| message.tag == b'v')
        .expect("NegotiateProtocolVersion");
    assert_eq!(negotiate.body[4..8], 2i32.to_be_bytes(), "two options unknown");
    assert!(negotiate.body[8..].starts_with(b"_pq_.nope\0_pq_.other\0"));
    assert_eq!(wire.simple("select 1").value(), "1");
    let (_, messages) = Wire::login(server.address(), PROTOCOL_3_0, &parameters).unwrap();
    assert!(
        messages.iter().any(|message| message.tag == b'v'),
        "options are reported in 3.0 too"
    );
}

#[test]
fn encryption_requests_without_tls() {
    let server = Server::start();
    let mut wire = Wire::open(server.address());
    wire.send(&untagged(&GSSENC_REQUEST.to_be_bytes()));
    assert_eq!(wire.read_bytes(1), b"N");
    wire.send(&untagged(&SSL_REQUEST.to_be_bytes()));
    assert_eq!(wire.read_bytes(1), b"N");
    wire.send(&startup(PROTOCOL_3_0, &LOGIN));
    assert_eq!(wire.until_ready().last().unwrap().tag, b'Z');
    assert_eq!(wire.simple("select 1").value(), "1");
}

#[test]
fn simple_queries() {
    let mut server = Server::start();
    let mut wire = server.connect();
    let reply = wire.simple("select 1 as a; select 'x' as b, null::int; ");
    assert_eq!(reply.shape(), "TDCTDCZ");
    assert_eq!(reply.tags, ["SELECT 1", "SELECT 1"]);
    assert_eq!(wire.simple("").shape(), "IZ");
    assert_eq!(wire.simple("create table t (a int)").tags, ["CREATE TABLE"]);
    assert_eq!(wire.simple("insert into t values (1), (2)").tags, ["INSERT 0 2"]);

    // Several statements are one transaction: the first two leave nothing behind.
    let reply = wire.simple("insert into t values (3); create table u (a int); select nope; select 1");
    assert_eq!((reply.shape().as_str(), reply.code()), ("CCEZ", "42703"));
    assert_eq!(wire.simple("select count(*) from t").value(), "2");
    assert_eq!(wire.simple("select * from u").code(), "42P01");
    let reply =
        wire.simple("insert into t values (3); begin; insert into t values (4); commit; insert into t values (5)");
    assert_eq!(
        reply.tags,
        ["INSERT 0 1", "BEGIN", "INSERT 0 1", "COMMIT", "INSERT 0 1"]
    );
    assert_eq!(wire.simple("select count(*) from t").value(), "5");

    // The transaction's state is in every ReadyForQuery.
    wire.simple("begin");
    assert_eq!(wire.status, b'T');
    assert_eq!(wire.simple("select 1/0").code(), "22012");
    assert_eq!(wire.status, b'E');
    let reply = wire.simple("select 1");
    assert_eq!(reply.code(), "25P02");
    assert_eq!(
        reply.error.unwrap().message,
        "current transaction is aborted, commands ignored until end of transaction block"
    );
    assert_eq!(wire.simple("commit").tags, ["ROLLBACK"]);
    assert_eq!(wire.status, b'I');

    // Notices and changed settings come on their own.
    assert!(wire.simple("drop table if exists nope").shape().starts_with("NC"));
    assert_eq!(wire.simple("set timezone to 'Asia/Tokyo'").shape(), "CSZ");
    assert!(
        wire.simple("commit").shape().contains('N'),
        "a warning: no transaction is in progress"
    );

    // The position counts characters and points at the word.
    let error = wire.simple("select 'ä', nope from t").error.unwrap();
    assert_eq!((error.code.as_str(), error.position), ("42703", Some(13)));
    let error = wire.simple("select 1; selec 2").error.unwrap();
    assert_eq!((error.code.as_str(), error.position), ("42601", Some(11)));
    server.assert_well();
}

#[test]
fn extended_queries() {
    let mut server = Server::start();
    let mut wire = server.connect();
    let reply_of = |wire: &mut Wire, parts: &[Vec<u8>]| {
        wire.send(&parts.concat());
        reply(wire.until_ready())
    };

    // Describe of a statement: parameters, then columns or NoData.
    let answer = reply_of(
        &mut wire,
        &[
            parse("s", "select abs($1::int) as n, $2 as t", &[]),
            describe(b'S', "s"),
            sync(),
        ],
    );
    assert_eq!(answer.shape(), "1tTZ");
    assert_eq!(
        answer.messages[1].body,
        [&2i16.to_be_bytes()[..], &23i32.to_be_bytes(), &25i32.to_be_bytes()].concat()
    );
    assert_eq!(answer.columns, [("n".to_owned(), 23), ("t".to_owned(), 25)]);
    let answer = reply_of(
        &mut wire,
        &[
            parse("", "create table t (a int, b text)", &[]),
            describe(b'S', ""),
            sync(),
        ],
    );
    assert_eq!(answer.shape(), "1tnZ");

    // Binary and text, chosen one by one; one format for all; none.
    let binary_seven = 7i32.to_be_bytes();
    let values: [Option<&[u8]>; 2] = [Some(&binary_seven), Some(b"x")];
    let answer = reply_of(
        &mut wire,
        &[bind("", "s", &[1, 0], &values, &[1, 0]), execute("", 0), sync()],
    );
    assert_eq!(answer.rows, [[Some(7i32.to_be_bytes().to_vec()), Some(b"x".to_vec())]]);
    let answer = reply_of(
        &mut wire,
        &[bind("", "s", &[0], &[Some(b"7"), None], &[1]), execute("", 0), sync()],
    );
    assert_eq!(answer.rows, [[Some(7i32.to_be_bytes().to_vec()), None]]);

    // Flush answers without Sync.
    wire.send(&[parse("f", "select 1", &[]), flush()].concat());
    assert_eq!(wire.message().unwrap().tag, b'1');
    wire.send(&sync());
    wire.until_ready();

    // A portal gives its rows in pieces.
    let series = "select i from generate_series(1, 5) as g(i) order by i";
    let answer = reply_of(
        &mut wire,
        &[
            parse("", series, &[]),
            bind("p", "", &[], &[], &[]),
            execute("p", 2),
            execute("p", 2),
            execute("p", 2),
            execute("p", 2),
            sync(),
        ],
    );
    assert_eq!(answer.shape(), "12DDsDDsDCCZ");
    assert_eq!(answer.tags, ["SELECT 1", "SELECT 0"]);
    // It ends with its transaction.
    assert_eq!(reply_of(&mut wire, &[execute("p", 1), sync()]).code(), "34000");
    wire.simple("begin");
    let answer = reply_of(
        &mut wire,
        &[
            parse("", series, &[]),
            bind("p", "", &[], &[], &[]),
            execute("p", 1),
            sync(),
        ],
    );
    assert_eq!(answer.shape(), "12DsZ");
    assert_eq!(reply_of(&mut wire, &[execute("p", 0), sync()]).shape(), "DDDDCZ");
    wire.simple("commit");
    assert_eq!(reply_of(&mut wire, &[execute("p", 1), sync()]).code(), "34000");

    // Everything up to Sync is one transaction.
    wire.simple("create table t (a int, b text)");
    let insert = |value: &[u8]| {
        [
            parse("", "insert into t values ($1, 'x')", &[]),
            bind("", "", &[], &[Some(value)], &[]),
            execute("", 0),
        ]
        .concat()
    };
    let answer = reply_of(
        &mut wire,
        &[insert(b"1"), insert(b"2"), insert(b"zwei"), insert(b"4"), sync()],
    );
    assert_eq!((answer.shape().as_str(), answer.code()), ("12C12C1EZ", "22P02"));
    assert_eq!(wire.simple("select count(*) from t").value(), "0");
    assert_eq!(
        reply_of(&mut wire, &[insert(b"1"), insert(b"2"), sync()]).shape(),
        "12C12CZ"
    );
    assert_eq!(wire.simple("select count(*) from t").value(), "2");

    // After an error everything up to Sync is skipped.
    let answer = reply_of(
        &mut wire,
        &[
            parse("", "selec", &[]),
            parse("ok", "select 1", &[]),
            describe(b'S', "ok"),
            sync(),
        ],
    );
    assert_eq!(answer.shape(), "EZ");
    assert_eq!(reply_of(&mut wire, &[describe(b'S', "ok"), sync()]).code(), "26000");

    // Names: taken, closed, shared with SQL's PREPARE, forgotten by DISCARD ALL.
    assert_eq!(
        reply_of(&mut wire, &[parse("s", "select 1", &[]), sync()]).code(),
        "42P05"
    );
    assert_eq!(
        reply_of(
            &mut wire,
            &[wire::close(b'S', "s"), parse("s", "select 2", &[]), sync()]
        )
        .shape(),
        "31Z"
    );
    assert_eq!(wire.simple("execute s").value(), "2");
    wire.simple("prepare q as select 3");
    assert_eq!(
        reply_of(&mut wire, &[bind("", "q", &[], &[], &[]), execute("", 0), sync()]).value(),
        "3"
    );
    assert_eq!(wire.simple("discard all").tags, ["DISCARD ALL"]);
    assert_eq!(
        reply_of(&mut wire, &[bind("", "q", &[], &[], &[]), sync()]).code(),
        "26000"
    );

    // An empty query, and a failed transaction.
    assert_eq!(wire.extended("", &[]).shape(), "12nIZ");
    wire.simple("begin");
    wire.extended("select nope", &[]);
    assert_eq!(
        (wire.status, wire.extended("select 1", &[]).code().to_owned()),
        (b'E', "25P02".to_owned())
    );
    assert_eq!(wire.extended("rollback", &[]).tags, ["ROLLBACK"]);

    // Prepared statements are planned again after DDL; a changed row type is refused.
    wire.simple("create table r (a int)");
    reply_of(
        &mut wire,
        &[
            parse("star", "select * from r", &[]),
            parse("one", "select a from r", &[]),
            sync(),
        ],
    );
    wire.simple("drop table r; create table r (a int, b int); insert into r values (1, 2)");
    assert_eq!(
        reply_of(&mut wire, &[bind("", "one", &[], &[], &[]), execute("", 0), sync()]).value(),
        "1"
    );
    let answer = reply_of(&mut wire, &[bind("", "star", &[], &[], &[]), execute("", 0), sync()]);
    assert_eq!(answer.code(), "0A000");
    assert_eq!(answer.error.unwrap().message, "cached plan must not change result type");
    server.assert_well();
}

#[test]
fn copy_keeps_the_rules_of_the_table() {
    let mut server = Server::start();
    let mut wire = server.connect();
    let table = "create table d (id int default 7, b text default 'x', twice int generated always as (id * 2) stored,
                 check (id < 100))";
    assert_eq!(wire.simple(table).code(), "");
    let mut copy_in = |sql: &str, data: &[u8]| {
        wire.send(&query(sql));
        if let Some(first) = wire.message()
            && first.tag == b'G'
        {
            wire.send(&[frame(b'd', data), frame(b'c', b"")].concat());
            return reply(wire.until_ready());
        }
        reply(wire.until_ready())
    };
    assert_eq!(copy_in("copy d (b) from stdin", b"one\n").tags, ["COPY 1"]);
    assert_eq!(copy_in("copy d from stdin", b"5\tfive\n").tags, ["COPY 1"]);
    assert_eq!(copy_in("copy d (id) from stdin", b"100\n").code(), "23514");
    // An error in place of the invitation to send data.
    assert!(copy_in("copy d (twice) from stdin", b"").tags.is_empty());
    let rows = wire.simple("select * from d order by id").text();
    let rows: Vec<String> = rows
        .into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("|"))
        .collect();
    assert_eq!(rows, ["5|five|10", "7|one|14"]);
    server.assert_well();
}

#[test]
fn copy_in_both_protocols() {
    let mut server = Server::start();
    let mut wire = server.connect();
    wire.simple("create table t (a int, b text)");
    let copy_in = |wire: &mut Wire, sql: &str, parts: &[Vec<u8>]| {
        wire.send(&query(sql));
        let first = wire.message().unwrap();
        assert_eq!(first.tag, b'G', "{}", error_fields(&first.body));
        wire.send(&parts.concat());
        reply(wire.until_ready())
    };
    let (done, fail) = (frame(b'c', b""), frame(b'f', b"changed my mind\0"));
    let data = |bytes: &[u8]| frame(b'd', bytes);

    let answer = copy_in(
        &mut wire,
        "copy t from stdin",
        &[data(b"1\to"), data(b"ne\n2\t\\N\n"), flush(), sync(), done.clone()],
    );
    assert_eq!(answer.tags, ["COPY 2"]);
    let answer = copy_in(
        &mut wire,
        "copy t from stdin (format csv, header)",
        &[data(b"a,b\n3,\"x, \"\"y\"\"\"\n4,\n"), done.clone()],
    );
    assert_eq!(answer.tags, ["COPY 2"]);
    let answer = copy_in(&mut wire, "copy t from stdin", &[data(b"9\tnine\n"), fail]);
    assert_eq!((answer.code(), wire.status), ("57014", b'I'));
    assert_eq!(answer.error.unwrap().message, "COPY from stdin failed: changed my mind");
    let answer = copy_in(
        &mut wire,
        "copy t from stdin",
        &[data(b"x\tnine\n"), data(b"8\teight\n"), done.clone()],
    );
    assert_eq!(answer.code(), "22P02");
    let answer = copy_in(&mut wire, "copy t from stdin", &[data(b"1\ttoo\tmany\n"), done.clone()]);
    assert_eq!(answer.code(), "22P04");
    let answer = copy_in(&mut wire, "copy t from stdin", &[data(b"1\n"), done.clone()]);
    assert_eq!(answer.code(), "22P04");
    let answer = copy_in(
        &mut wire,
        "copy t from stdin (format binary)",
        &[data(b"garbage that is long enough"), done.clone()],
    );
    assert_eq!(answer.code(), "22P04");
    let answer = copy_in(&mut wire, "copy t from stdin", &[query("select 1")]);
    assert_eq!(answer.code(), "08P01", "a query in the middle of a COPY");
    // What still flies in after a failed COPY is not taken for a message of its own.
    let mut wire = server.connect();

    let answer = wire.simple("copy (select * from t order by a) to stdout");
    let text: Vec<u8> = answer
        .messages
        .iter()
        .filter(|m| m.tag == b'd')
        .flat_map(|m| m.body.clone())
        .collect();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "1\tone\n2\t\\N\n3\tx, \"y\"\n4\t\\N\n"
    );
    assert_eq!(answer.tags, ["COPY 4"]);
    let answer = wire.simple("copy t (b) to stdout (format csv, header, force_quote *)");
    assert_eq!(answer.tags, ["COPY 4"]);
    let answer = wire.simple("copy (select 1 where false) to stdout (format binary)");
    let bytes: Vec<u8> = answer
        .messages
        .iter()
        .filter(|m| m.tag == b'd')
        .flat_map(|m| m.body.clone())
        .collect();
    assert_eq!(
        bytes, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff",
        "a header and a trailer, and no rows"
    );
    assert_eq!(wire.simple("copy (select 1/0) to stdout").code(), "22012");

    // In the extended protocol (ADBC, ConnectorX), both ways.
    let answer = wire.extended("copy (select 1 as a) to stdout", &[]);
    assert_eq!(answer.shape(), "12nHdcCZ");
    wire.send(
        &[
            parse("", "copy t from stdin", &[]),
            bind("", "", &[], &[], &[]),
            execute("", 0),
            flush(),
        ]
        .concat(),
    );
    assert_eq!(
        [
            wire.message().unwrap().tag,
            wire.message().unwrap().tag,
            wire.message().unwrap().tag
        ],
        *b"12G"
    );
    wire.send(&[data(b"5\tfive\n"), done.clone(), sync()].concat());
    assert_eq!(reply(wire.until_ready()).tags, ["COPY 1"]);
    assert_eq!(wire.simple("select count(*) from t").value(), "5");

    // A client that leaves in the middle leaves nothing.
    wire.send(&query("copy t from stdin"));
    assert_eq!(wire.message().unwrap().tag, b'G');
    wire.send(&data(b"6\tsix\n"));
    drop(wire);
    sleep(Duration::from_millis(200));
    assert_eq!(server.connect().simple("select count(*) from t").value(), "5");
    server.assert_well();
}

#[test]
fn too_many_connections_are_told_so() {
    let mut server = Server::start_with(&["--auth", "trust", "--max-connections", "3"], &[]);
    let open: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
    let error = Wire::connect(server.address(), "admin", "staffa").unwrap_err();
    assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", "53300"));
    assert_eq!(error.message, "sorry, too many clients already");
    drop(open);
    let begun = Instant::now();
    while Wire::connect(server.address(), "admin", "staffa").is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "places are not given back");
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_millis(100));
    server.assert_well();
}

#[test]
fn idle_sessions_end_when_asked() {
    let mut server = Server::start();
    let mut wire = server.connect();
    wire.simple("set idle_in_transaction_session_timeout = '200ms'");
    wire.simple("begin");
    let error = error_fields(&wire.message().unwrap().body);
    assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", "25P03"));
    assert!(wire.closes());
    let mut wire = server.connect();
    wire.simple("set idle_session_timeout = '200ms'");
    let error = error_fields(&wire.message().unwrap().body);
    assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", "57P05"));
    assert!(wire.closes());
    server.assert_well();
}

#[test]
fn a_login_must_come_in_time() {
    let server = Server::start_with(&["--auth", "trust", "--login-timeout", "1s"], &[]);
    let begun = Instant::now();
    let mut wire = Wire::open(server.address());
    wire.send(&[0, 0]);
    assert!(wire.closes());
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(700) && took < Duration::from_secs(10),
        "{took:?}"
    );
}

#[test]
fn shutdown_lets_statements_finish() {
    let mut server = Server::start();
    let mut idle = server.connect();
    let mut busy = server.connect();
    busy.send(&query("select pg_sleep(1), 'done'"));
    sleep(Duration::from_millis(300));
    let status = server.terminate(Duration::from_secs(30)).expect("the server ends");
    assert!(status.success(), "{status}: {}", server.log());
    let error = error_fields(&idle.message().unwrap().body);
    assert_eq!((error.severity.as_str(), error.code.as_str()), ("FATAL", "57P01"));
    let messages = busy.until_ready();
    assert!(
        messages.iter().any(|m| m.tag == b'D' && m.body.ends_with(b"done")),
        "{messages:?}"
    );
}

/// Numbers as PostgreSQL sends them, for drivers that look up names and nullability by them.
#[test]
fn columns_tell_what_relation_they_are_of() {
    let server = Server::start();
    let (mut wire, _) = Wire::login(server.address(), PROTOCOL_3_0, &LOGIN).unwrap();
    for statement in [
        "create table t (gone int, a int, b text, c char(5))",
        "alter table t drop column gone",
        "create view v as select b, a from t",
        "create temp table own (x int)",
    ] {
        let reply = wire.simple(statement);
        assert!(reply.error.is_none(), "{statement}: {:?}", reply.error);
    }
    const NONE: (char, i16) = (' ', 0);
    let cases: &[(&str, &[(char, i16)])] = &[
        ("select * from t", &[('t', 2), ('t', 3), ('t', 4)]),
        ("select a + 1, b as x, c from t", &[NONE, ('t', 3), ('t', 4)]),
        ("select * from v", &[('v', 1), ('v', 2)]),
        ("select a from (select b, a from v) x", &[('v', 2)]),
        ("select b, count(*) from t group by b", &[('t', 3), NONE]),
        ("select distinct b from t", &[('t', 3)]),
        ("select distinct on (a) a, b from t order by a", &[('t', 2), ('t', 3)]),
        ("select b from t union select b from t", &[NONE]),
        ("select t.a, u.b from t join t u using (a)", &[('t', 2), ('t', 3)]),
        ("with q as (select a from t) select a from q", &[('t', 2)]),
        (
            "select (select a from t), a::bigint, a from t group by a",
            &[NONE, NONE, ('t', 2)],
        ),
        ("select b, sum(a) over () from t order by 1 limit 3", &[('t', 3), NONE]),
        ("select x from own", &[('o', 1)]),
        ("select relname, oid from pg_class limit 1", &[('p', 2), ('p', 1)]),
        ("values (1)", &[NONE]),
        (
            "insert into t values (1, 'x', 'y') returning b, a + 1, a",
            &[('t', 3), NONE, ('t', 2)],
        ),
    ];
    let number = |wire: &mut Wire, name: &str| wire.simple(&format!("select '{name}'::regclass::oid")).value();
    let known = ["t", "v", "own", "pg_class"].map(|name| {
        let number: u32 = number(&mut wire, name).parse().unwrap();
        (name.chars().next().unwrap(), number)
    });
    for (sql, expected) in cases {
        let expected: Vec<(u32, i16)> = expected
            .iter()
            .map(|(letter, column)| {
                let relation = known.iter().find(|(known, _)| known == letter);
                (relation.map_or(0, |(_, number)| *number), *column)
            })
            .collect();
        assert_eq!(wire.simple(sql).origins, expected, "{sql}");
        assert_eq!(wire.extended(sql, &[]).origins, expected, "{sql}, extended");
    }
    // Also before anybody looked at the catalogs, and inside the transaction that makes a table.
    wire.simple("begin; create table u (a int, b int)");
    let within = wire.simple("select b from u").origins;
    wire.simple("commit");
    assert_eq!(wire.simple("select b from u").origins, within);
    let committed: u32 = number(&mut wire, "u").parse().unwrap();
    assert_eq!(within, [(committed, 2)]);
}

#[test]
fn show_spells_settings_as_postgres_does() {
    let server = Server::start();
    let (mut wire, _) = Wire::login(server.address(), PROTOCOL_3_0, &LOGIN).unwrap();
    for (asked, name) in [
        ("timezone", "TimeZone"),
        ("time zone", "TimeZone"),
        ("DATESTYLE", "DateStyle"),
        ("intervalstyle", "IntervalStyle"),
        ("Search_Path", "search_path"),
        ("transaction isolation level", "transaction_isolation"),
    ] {
        assert_eq!(wire.simple(&format!("show {asked}")).columns[0].0, name, "{asked}");
    }
}
