//! More than a hundred malformed messages and sessions, each answered as `tests/protocol/malformed.expected` says.
//!
//! The file was written from PostgreSQL 15 (`STAFFA_MALFORMED_WRITE=HOST:PORT cargo test malformed_oracle -- --ignored`,
//! role `admin` and database `staffa` must exist there, trust) and then changed by hand where we are stricter or clearer; a
//! comment above those lines says why. An outcome is the list of answers: `E` with severity and SQLSTATE, other messages by their letter,
//! `closed` when the server hung up. After every case the server must still serve others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Shutdown, SocketAddr};

use crate::support::{Server, package};
use crate::wire::{
    self, CANCEL_REQUEST, GSSENC_REQUEST, PROTOCOL_3_0, SSL_REQUEST, Wire, error_fields, frame, frame_of_length, text,
    untagged,
};

/// What a case sends, and when.
enum Case {
    /// Bytes in place of a startup packet.
    Startup(Vec<u8>),
    /// Bytes after login; a Sync and a query that must still work follow.
    Session(Vec<u8>),
    /// Bytes after login that promise more than comes: the client then stops sending.
    Cut(Vec<u8>),
}

#[test]
fn every_malformed_message_has_its_answer() {
    let mut server = Server::start();
    let path = package().join("protocol/malformed.expected");
    let expected: BTreeMap<String, String> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.rsplit_once(": ").unwrap())
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect();
    let cases = cases();
    assert!(cases.len() >= 100, "only {} cases", cases.len());
    let mut wrong = String::new();
    for (name, case) in &cases {
        let outcome = run(server.address(), case);
        let wanted = expected
            .get(*name)
            .unwrap_or_else(|| panic!("{name} is not in {}", path.display()));
        if outcome != *wanted {
            writeln!(wrong, "{name}: {outcome}   expected {wanted}").unwrap();
        }
    }
    server.assert_well();
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
#[ignore = "writes the expectations from a PostgreSQL server"]
fn malformed_oracle() {
    let address: SocketAddr = std::env::var("STAFFA_MALFORMED_WRITE")
        .expect("HOST:PORT")
        .parse()
        .unwrap();
    let lines: String = cases()
        .iter()
        .map(|(name, case)| format!("{name}: {}\n", run(address, case)))
        .collect();
    fs::write(package().join("protocol/malformed.expected"), lines).unwrap();
}

fn run(address: SocketAddr, case: &Case) -> String {
    match case {
        Case::Startup(bytes) => {
            let mut wire = Wire::open(address);
            wire.send_lossy(bytes);
            let stream = wire.into_stream();
            let _ = stream.shutdown(Shutdown::Write);
            raw_outcome(stream)
        }
        Case::Session(bytes) => {
            let mut wire = Wire::connect(address, "admin", "staffa").unwrap();
            wire.send_lossy(bytes);
            wire.send_lossy(&wire::sync());
            wire.send_lossy(&wire::query("select 'probe'"));
            outcome(&mut wire)
        }
        Case::Cut(bytes) => {
            let mut wire = Wire::connect(address, "admin", "staffa").unwrap();
            wire.send_lossy(bytes);
            let stream = wire.into_stream();
            let _ = stream.shutdown(Shutdown::Write);
            raw_outcome(stream)
        }
    }
}

/// The answers up to the probe's, or to the end of the connection.
fn outcome(wire: &mut Wire) -> String {
    let mut words: Vec<String> = Vec::new();
    while let Some(message) = wire.message() {
        if message.tag == b'D' && message.body.ends_with(b"probe") {
            words.pop(); // the probe's RowDescription
            return words.join(" ");
        }
        words.push(word(message.tag, &message.body));
    }
    words.push("closed".to_owned());
    words.join(" ")
}

/// Everything the server says before it hangs up; a byte without a length (the answer to SSLRequest) stands for itself.
fn raw_outcome(mut stream: std::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset instead of an orderly end is still an end.
    let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
    let (mut words, mut rest) = (Vec::new(), &bytes[..]);
    while let [tag, after @ ..] = rest {
        match after {
            _ if *tag == b'N' && !matches!(after, [0, ..]) => {
                words.push("N".to_owned());
                rest = after;
            }
            [a, b, c, d, ..] => {
                let length = i32::from_be_bytes([*a, *b, *c, *d]) as usize;
                let end = (1 + length).min(rest.len());
                words.push(word(*tag, &rest[5.min(end)..end]));
                rest = &rest[end..];
            }
            _ => {
                words.push((*tag as char).to_string());
                rest = after;
            }
        }
    }
    // A login that worked says much that other tests look at.
    let mut short: Vec<String> = Vec::new();
    for word in words {
        if word != "S" || short.last().is_none_or(|last| last != "S") {
            short.push(word);
        }
    }
    short.push("closed".to_owned());
    short.join(" ")
}

fn word(tag: u8, body: &[u8]) -> String {
    if tag != b'E' {
        return (tag as char).to_string();
    }
    let fields = error_fields(body);
    if fields.code.is_empty() {
        // The form of protocol 2, which PostgreSQL still speaks to clients of that age.
        return "E-of-protocol-2".to_owned();
    }
    assert!(!fields.message.is_empty(), "an error without a message: {body:?}");
    format!("{}-{}", fields.severity, fields.code)
}

fn cases() -> Vec<(&'static str, Case)> {
    let mut cases = startup_cases();
    cases.extend(length_cases());
    cases.extend(query_cases());
    cases.extend(extended_cases());
    cases.extend(session_cases());
    cases
}

fn startup_cases() -> Vec<(&'static str, Case)> {
    let login = |parameters: &[(&str, &str)]| wire::startup(PROTOCOL_3_0, parameters);
    let user = [("user", "admin"), ("database", "staffa")];
    let raw = |length: i32, body: &[u8]| [&length.to_be_bytes()[..], body].concat();
    let special = |code: i32| untagged(&code.to_be_bytes());
    let version = PROTOCOL_3_0.to_be_bytes();
    [
        ("startup: nothing", vec![]),
        ("startup: one byte", vec![0]),
        ("startup: half a length", vec![0, 0]),
        ("startup: length 0", raw(0, b"")),
        ("startup: length 3", raw(3, b"")),
        ("startup: length 4 and no version", raw(4, b"")),
        ("startup: length 7", raw(7, &[0, 3, 0])),
        ("startup: negative length", raw(-1, &version)),
        ("startup: largest length", raw(i32::MAX, &version)),
        ("startup: 10001 bytes promised", raw(10_001, &version)),
        (
            "startup: 20000 bytes",
            login(&[("user", "admin"), ("application_name", &"x".repeat(20_000))]),
        ),
        ("startup: cut short", login(&user)[..20].to_vec()),
        ("startup: version 1.0", wire::startup(1 << 16, &user)),
        ("startup: version 2.0", wire::startup(2 << 16, &user)),
        ("startup: version 4.0", wire::startup(4 << 16, &user)),
        ("startup: version of garbage", wire::startup(0x7f7f_7f7f, &user)),
        (
            "startup: no terminator",
            untagged(&[&version[..], b"user\0admin\0"].concat()),
        ),
        (
            "startup: name without value",
            untagged(&[&version[..], b"user\0"].concat()),
        ),
        (
            "startup: bytes after the terminator",
            untagged(&[&version[..], b"user\0admin\0\0junk"].concat()),
        ),
        ("startup: no parameters", login(&[])),
        ("startup: no user", login(&[("database", "staffa")])),
        ("startup: empty user", login(&[("user", "")])),
        (
            "startup: no such database",
            login(&[("user", "admin"), ("database", "nope")]),
        ),
        (
            "startup: no such setting",
            login(&[("user", "admin"), ("database", "staffa"), ("nope", "1")]),
        ),
        (
            "startup: wrong value of a setting",
            login(&[("user", "admin"), ("database", "staffa"), ("TimeZone", "Nope")]),
        ),
        (
            "startup: options with no such setting",
            login(&[("user", "admin"), ("database", "staffa"), ("options", "-c nope=1")]),
        ),
        (
            "startup: user is not UTF-8",
            untagged(&[&version[..], b"user\0\xff\xfe\0\0"].concat()),
        ),
        ("startup: HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("startup: SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("startup: a query before it", wire::query("select 1")),
        ("startup: a password before it", frame(b'p', &text("secret"))),
        (
            "startup: random bytes",
            (0..200u8).map(|i| i.wrapping_mul(151) ^ 0x5a).collect(),
        ),
        ("startup: zeros", vec![0; 4096]),
        ("startup: SSLRequest, then nothing", special(SSL_REQUEST)),
        (
            "startup: SSLRequest with bytes behind it",
            [special(SSL_REQUEST), login(&user)].concat(),
        ),
        (
            "startup: SSLRequest with a length too large",
            raw(12, &[&SSL_REQUEST.to_be_bytes()[..], b"\0\0\0\0"].concat()),
        ),
        ("startup: GSSENCRequest, then nothing", special(GSSENC_REQUEST)),
        ("startup: CancelRequest without a key", special(CANCEL_REQUEST)),
        (
            "startup: CancelRequest with half a key",
            untagged(&[&CANCEL_REQUEST.to_be_bytes()[..], b"\0\0"].concat()),
        ),
        (
            "startup: CancelRequest for nobody",
            wire::cancel_request(123_456, &[1, 2, 3, 4]),
        ),
        (
            "startup: CancelRequest with a long key",
            wire::cancel_request(123_456, &[7; 300]),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| (name, Case::Startup(bytes)))
    .collect()
}

/// Lengths that lie, for every type of message.
fn length_cases() -> Vec<(&'static str, Case)> {
    let mut cases = Vec::new();
    const SHORT: [&str; 14] = [
        "length 3: Q",
        "length 3: P",
        "length 3: B",
        "length 3: D",
        "length 3: E",
        "length 3: C",
        "length 3: S",
        "length 3: H",
        "length 3: F",
        "length 3: d",
        "length 3: c",
        "length 3: f",
        "length 3: X",
        "length 3: p",
    ];
    for name in SHORT {
        cases.push((name, Case::Session(frame_of_length(name.as_bytes()[10], 3, b""))));
    }
    const NEGATIVE: [&str; 5] = [
        "negative length: Q",
        "negative length: P",
        "negative length: B",
        "negative length: S",
        "negative length: X",
    ];
    for name in NEGATIVE {
        cases.push((name, Case::Session(frame_of_length(name.as_bytes()[17], -5, b""))));
    }
    const LARGEST: [&str; 8] = [
        "largest length: Q",
        "largest length: P",
        "largest length: B",
        "largest length: d",
        "largest length: S",
        "largest length: E",
        "largest length: D",
        "largest length: p",
    ];
    for name in LARGEST {
        cases.push((
            name,
            Case::Cut(frame_of_length(name.as_bytes()[16], i32::MAX, b"select 1\0")),
        ));
    }
    cases.push(("cut in a query", Case::Cut(frame_of_length(b'Q', 100, b"select 1"))));
    cases.push((
        "cut in a Bind",
        Case::Cut(wire::bind("", "", &[], &[Some(b"x")], &[])[..8].to_vec()),
    ));
    cases.push(("cut after a type", Case::Cut(vec![b'Q'])));
    cases.push(("cut in a length", Case::Cut(vec![b'Q', 0, 0])));
    cases.push(("end of the connection", Case::Cut(vec![])));
    cases
}

fn query_cases() -> Vec<(&'static str, Case)> {
    [
        ("query: empty body", frame(b'Q', b"")),
        ("query: no terminator", frame(b'Q', b"select 1")),
        ("query: bytes after the terminator", frame(b'Q', b"select 1\0junk\0")),
        ("query: not UTF-8", frame(b'Q', b"select '\xff\xfe'\0")),
        ("query: overlong UTF-8", frame(b'Q', b"select '\xc0\x80'\0")),
        ("query: surrogate", frame(b'Q', b"select '\xed\xa0\x80'\0")),
        ("query: empty", wire::query("")),
        ("query: blanks", wire::query(" \n\t ; ; ")),
        ("query: only a comment", wire::query("-- nothing")),
        ("query: unterminated comment", wire::query("/* nothing")),
        ("query: unterminated string", wire::query("select 'x")),
        ("query: unterminated dollar string", wire::query("select $a$x")),
        ("query: control characters", wire::query("select \x01\x02\x03")),
        (
            "query: stops at the first error",
            wire::query("select 1; select nope; select 2"),
        ),
        (
            "query: deep parentheses",
            wire::query(&format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000))),
        ),
        (
            "query: long sum",
            wire::query(&format!("select 1{}", "+1".repeat(100_000))),
        ),
        (
            "query: deep NOT",
            wire::query(&format!("select {} true", "not ".repeat(50_000))),
        ),
        (
            "query: deep CASE",
            wire::query(&format!(
                "select {}1{}",
                "case when true then ".repeat(5_000),
                " end".repeat(5_000)
            )),
        ),
        (
            "query: deep subqueries",
            wire::query(&format!("select {}1{}", "(select ".repeat(3_000), ")".repeat(3_000))),
        ),
        (
            "query: deep arrays",
            wire::query(&format!("select {}1{}", "array[".repeat(5_000), "]".repeat(5_000))),
        ),
        (
            "query: many unions",
            wire::query(&format!("select 1{}", " union all select 1".repeat(20_000))),
        ),
        (
            "query: deep minus",
            wire::query(&format!("select {}1", "- ".repeat(50_000))),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| (name, Case::Session(bytes)))
    .collect()
}

fn extended_cases() -> Vec<(&'static str, Case)> {
    let one = || wire::parse("", "select $1::int", &[]);
    let raw_bind = |rest: &[u8]| frame(b'B', &[b"\0\0", rest].concat());
    let then = |parts: &[Vec<u8>]| parts.concat();
    [
        ("parse: empty body", frame(b'P', b"")),
        ("parse: only a name", frame(b'P', b"name\0")),
        ("parse: no count", frame(b'P', b"\0select 1\0")),
        ("parse: half a count", frame(b'P', b"\0select 1\0\0")),
        (
            "parse: 32767 types and none there",
            frame(b'P', b"\0select 1\0\x7f\xff"),
        ),
        ("parse: -1 types", frame(b'P', b"\0select 1\0\xff\xff")),
        ("parse: trailing bytes", frame(b'P', b"\0select 1\0\0\0junk")),
        ("parse: not UTF-8", frame(b'P', b"\0select '\xff'\0\0\0")),
        ("parse: unknown type", wire::parse("", "select $1", &[999_999])),
        ("parse: two statements", wire::parse("", "select 1; select 2", &[])),
        (
            "parse: name taken",
            then(&[wire::parse("s", "select 1", &[]), wire::parse("s", "select 2", &[])]),
        ),
        ("parse: syntax error", wire::parse("", "selec 1", &[])),
        ("parse: parameter $0", wire::parse("", "select $0", &[])),
        (
            "parse: parameter $99999999999",
            wire::parse("", "select $99999999999", &[]),
        ),
        ("bind: empty body", then(&[one(), frame(b'B', b"")])),
        ("bind: no such statement", wire::bind("", "nope", &[], &[], &[])),
        ("bind: only names", then(&[one(), raw_bind(b"")])),
        ("bind: -1 formats", then(&[one(), raw_bind(b"\xff\xff")])),
        (
            "bind: 32767 formats and none there",
            then(&[one(), raw_bind(b"\x7f\xff")]),
        ),
        ("bind: -1 values", then(&[one(), raw_bind(b"\0\0\xff\xff")])),
        (
            "bind: 32767 values and none there",
            then(&[one(), raw_bind(b"\0\0\x7f\xff")]),
        ),
        (
            "bind: value of length -2",
            then(&[one(), raw_bind(b"\0\0\0\x01\xff\xff\xff\xfe\0\0")]),
        ),
        (
            "bind: value longer than the message",
            then(&[one(), raw_bind(b"\0\0\0\x01\x7f\xff\xff\xff5\0\0")]),
        ),
        (
            "bind: no result formats",
            then(&[one(), raw_bind(b"\0\0\0\x01\0\0\0\x015")]),
        ),
        (
            "bind: -1 result formats",
            then(&[one(), raw_bind(b"\0\0\0\x01\0\0\0\x015\xff\xff")]),
        ),
        (
            "bind: trailing bytes",
            then(&[one(), raw_bind(b"\0\0\0\x01\0\0\0\x015\0\0junk")]),
        ),
        (
            "bind: too few values",
            then(&[one(), wire::bind("", "", &[], &[], &[])]),
        ),
        (
            "bind: too many values",
            then(&[one(), wire::bind("", "", &[], &[Some(b"1"), Some(b"2")], &[])]),
        ),
        (
            "bind: two formats for one value",
            then(&[one(), wire::bind("", "", &[0, 0], &[Some(b"1")], &[])]),
        ),
        (
            "bind: format 7",
            then(&[one(), wire::bind("", "", &[7], &[Some(b"1")], &[])]),
        ),
        (
            "bind: format -1",
            then(&[one(), wire::bind("", "", &[-1], &[Some(b"1")], &[])]),
        ),
        (
            "bind: result format 7",
            then(&[
                one(),
                wire::bind("", "", &[], &[Some(b"1")], &[7]),
                wire::execute("", 0),
            ]),
        ),
        (
            "bind: two result formats for one column",
            then(&[
                one(),
                wire::bind("", "", &[], &[Some(b"1")], &[0, 0]),
                wire::execute("", 0),
            ]),
        ),
        (
            "bind: text that is no integer",
            then(&[one(), wire::bind("", "", &[], &[Some(b"x")], &[])]),
        ),
        (
            "bind: binary integer of 3 bytes",
            then(&[one(), wire::bind("", "", &[1], &[Some(b"abc")], &[])]),
        ),
        (
            "bind: binary integer of 0 bytes",
            then(&[one(), wire::bind("", "", &[1], &[Some(b"")], &[])]),
        ),
        (
            "bind: text that is not UTF-8",
            then(&[
                wire::parse("", "select $1::text", &[]),
                wire::bind("", "", &[], &[Some(b"\xff")], &[]),
            ]),
        ),
        (
            "bind: text with a zero byte",
            then(&[
                wire::parse("", "select $1::text", &[]),
                wire::bind("", "", &[], &[Some(b"a\0b")], &[]),
            ]),
        ),
        (
            "bind: binary numeric of garbage",
            then(&[
                wire::parse("", "select $1::numeric", &[]),
                wire::bind("", "", &[1], &[Some(b"\xff\xff\xff\xff\xff\xff\xff\xff")], &[]),
            ]),
        ),
        (
            "bind: binary array of garbage",
            then(&[
                wire::parse("", "select $1::int[]", &[]),
                wire::bind("", "", &[1], &[Some(b"\x7f\xff\xff\xff\0\0\0\0\0\0\0\x17")], &[]),
            ]),
        ),
        (
            "bind: binary array of 2 billion",
            then(&[
                wire::parse("", "select $1::int[]", &[]),
                wire::bind(
                    "",
                    "",
                    &[1],
                    &[Some(b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01")],
                    &[],
                ),
            ]),
        ),
        (
            "bind: uuid of 15 bytes",
            then(&[
                wire::parse("", "select $1::uuid", &[]),
                wire::bind("", "", &[1], &[Some(&[1; 15])], &[]),
            ]),
        ),
        (
            "bind: boolean of 2 bytes",
            then(&[
                wire::parse("", "select $1::bool", &[]),
                wire::bind("", "", &[1], &[Some(&[1, 1])], &[]),
            ]),
        ),
        ("describe: empty body", frame(b'D', b"")),
        ("describe: only a kind", frame(b'D', b"S")),
        ("describe: kind X", wire::describe(b'X', "")),
        ("describe: no such statement", wire::describe(b'S', "nope")),
        ("describe: no such portal", wire::describe(b'P', "nope")),
        ("describe: no terminator", frame(b'D', b"Sname")),
        ("execute: empty body", frame(b'E', b"")),
        ("execute: no row count", frame(b'E', b"\0")),
        ("execute: half a row count", frame(b'E', b"\0\0\0")),
        ("execute: no such portal", wire::execute("nope", 0)),
        ("execute: unnamed portal before Bind", wire::execute("", 0)),
        (
            "execute: -1 rows",
            then(&[
                wire::parse("", "select 1", &[]),
                wire::bind("", "", &[], &[], &[]),
                wire::execute("", -1),
            ]),
        ),
        (
            "execute: 2147483647 rows",
            then(&[
                wire::parse("", "select 1", &[]),
                wire::bind("", "", &[], &[], &[]),
                wire::execute("", i32::MAX),
            ]),
        ),
        (
            "execute: twice",
            then(&[
                wire::parse("", "select 1", &[]),
                wire::bind("", "", &[], &[], &[]),
                wire::execute("", 0),
                wire::execute("", 0),
            ]),
        ),
        ("close: empty body", frame(b'C', b"")),
        ("close: kind X", wire::close(b'X', "")),
        ("close: no such statement", wire::close(b'S', "nope")),
        ("close: no such portal", wire::close(b'P', "nope")),
        ("sync: with a body", frame(b'S', b"junk")),
        ("flush: with a body", frame(b'H', b"junk")),
        (
            "skips to Sync after an error",
            then(&[
                wire::parse("", "selec", &[]),
                wire::parse("x", "select 1", &[]),
                wire::execute("", 0),
            ]),
        ),
        (
            "a query while skipping to Sync",
            then(&[wire::parse("", "selec", &[]), wire::query("select 2")]),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| (name, Case::Session(bytes)))
    .collect()
}

fn session_cases() -> Vec<(&'static str, Case)> {
    [
        ("unknown message: 0", frame(0, b"")),
        ("unknown message: 255", frame(255, b"")),
        ("unknown message: A", frame(b'A', b"x")),
        ("unknown message: Z of the server", frame(b'Z', b"I")),
        ("unknown message: R of the server", frame(b'R', &[0; 4])),
        ("unknown message: lower q", frame(b'q', &text("select 1"))),
        ("password after login", frame(b'p', &text("secret"))),
        ("CopyData outside COPY", frame(b'd', b"1\tx\n")),
        ("CopyDone outside COPY", frame(b'c', b"")),
        ("CopyFail outside COPY", frame(b'f', &text("no"))),
        ("CopyFail without terminator outside COPY", frame(b'f', b"no")),
        ("FunctionCall", frame(b'F', &[0, 0, 0x05, 0x14, 0, 0, 0, 0, 0, 0])),
        ("FunctionCall: empty body", frame(b'F', b"")),
        (
            "startup packet after login",
            wire::startup(PROTOCOL_3_0, &[("user", "admin")]),
        ),
        ("SSLRequest after login", untagged(&SSL_REQUEST.to_be_bytes())),
        ("Terminate with a body", frame(b'X', b"junk")),
        ("Terminate", frame(b'X', b"")),
        ("zeros after login", vec![0; 64]),
        ("0xff after login", vec![0xff; 64]),
    ]
    .into_iter()
    .map(|(name, bytes)| (name, Case::Session(bytes)))
    .collect()
}
