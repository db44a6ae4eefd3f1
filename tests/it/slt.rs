//! `tests/sql/**/*.slt` through three doors: the simple protocol, the extended protocol and the embedded engine.
//!
//! The expectations are PostgreSQL's (`scripts/slt_bless.py`). A file runs in a database of its own, and every record of
//! it runs even when one before it failed, so that one run shows all differences. `STAFFA_SLT=substring` picks files.
//!
//! `skipif pending` marks what PostgreSQL answers and Staffa does not yet; `STAFFA_SLT_PENDING=1` runs those too, and those
//! that pass may lose their mark. The three integer types count as one in the types of columns: a literal is `bigint` here.

mod embedded;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sqllogictest::{ColumnType, DB, DBOutput, Runner};

use crate::support::{Server, package};
use crate::wire::{Reply, Wire};

/// A column's type as one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter(char);

impl ColumnType for Letter {
    fn from_char(value: char) -> Option<Self> {
        Some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

/// The letters of `scripts/slt_bless.py`; `?` is any other type.
fn letter(oid: u32) -> Letter {
    Letter(match oid {
        16 => 'B',
        21 => 'S',
        23 => 'I',
        20 => 'L',
        700 => 'F',
        701 => 'D',
        1700 => 'N',
        25 | 19 => 'T',
        // Types of the system catalogs: numbers, numbers shown by name, bytes, vectors.
        26 => 'O',
        24 | 2202 | 2205 | 2206 | 4089 | 4096 => 'R',
        18 => 'c',
        22 | 30 => 'v',
        1043 => 'V',
        1042 => 'C',
        17 => 'Y',
        1082 => 'd',
        1083 => 't',
        1114 => 's',
        1184 => 'z',
        1186 => 'i',
        2950 => 'u',
        114 => 'j',
        3802 => 'J',
        2249 => 'r',
        1000 | 1005 | 1007 | 1016 | 1021 | 1022 | 1231 | 1009 | 1015 | 1014 | 1001 | 1182 | 1183 | 1115 | 1185
        | 1187 | 2951 | 199 | 3807 | 1002 | 1003 | 1028 | 2210 | 2211 => 'A',
        _ => '?',
    })
}

/// A row as one line.
fn line(values: &[Option<Vec<u8>>]) -> Vec<String> {
    let value = |value: &Option<Vec<u8>>| match value {
        None => "NULL".to_owned(),
        Some(bytes) if bytes.is_empty() => "(empty)".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes)
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\r', "\\r")
            .replace('\t', "\\t"),
    };
    vec![values.iter().map(value).collect::<Vec<_>>().join("|")]
}

/// An error as the expectations have it: `SQLSTATE: message`, from the engine only the message.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

type Output = Result<DBOutput<Letter>, Failure>;

/// Over the wire.
struct WireDoor {
    wire: Wire,
    extended: bool,
}

impl DB for WireDoor {
    type Error = Failure;
    type ColumnType = Letter;

    fn run(&mut self, sql: &str) -> Output {
        let reply = if self.extended {
            self.wire.extended(sql, &[])
        } else {
            self.wire.simple(sql)
        };
        if let Some(error) = &reply.error {
            note_foreign_words(sql, &format!("{error:?}"));
        }
        wire_output(reply)
    }
}

/// What the libraries below say of themselves, and no user should read.
const FOREIGN: &[&str] = &[
    "datafusion",
    "DataFusion",
    "arrow",
    "Arrow",
    "sqlparser",
    "Utf8",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Float32",
    "Float64",
    "Decimal128",
    "Decimal256",
    "Date32",
    "Time64",
    "LargeList",
    "LogicalPlan",
    "RecordBatch",
    "ScalarValue",
    "ScalarUDF",
    "AggregateUDF",
    "nternal error",
    "not yet implemented",
    "his feature",
    "hysical plan",
    "ogical plan",
    "ogical expression",
    "chema error",
    "arser error",
    "panicked",
    "ptimizer rule",
];

/// Errors that say such words, with their statements.
static FOREIGN_WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note_foreign_words(sql: &str, error: &str) {
    if FOREIGN.iter().any(|word| error.contains(word) && !sql.contains(word)) {
        FOREIGN_WORDS.lock().unwrap().push(format!("{sql}\n  {error}"));
    }
}

fn wire_output(reply: Reply) -> Output {
    if let Some(error) = &reply.error {
        return Err(Failure(error.to_string()));
    }
    if reply.columns.is_empty() && reply.rows.is_empty() {
        let count = reply.tags.first().and_then(|tag| tag.rsplit(' ').next()?.parse().ok());
        return Ok(DBOutput::StatementComplete(count.unwrap_or(0)));
    }
    let types = reply.columns.iter().map(|(_, oid)| letter(*oid as u32)).collect();
    Ok(DBOutput::Rows {
        types,
        rows: reply.rows.iter().map(|row| line(row)).collect(),
    })
}

#[test]
fn simple_protocol() {
    wire_door("simple", false);
}

#[test]
fn extended_protocol() {
    wire_door("extended", true);
}

fn wire_door(door: &str, extended: bool) {
    let wanted = std::env::var("STAFFA_SLT").unwrap_or_default();
    over_the_wire(&Server::start(), door, extended, &|name| name.contains(&wanted));
}

/// Through one protocol of a server, the files whose names are wanted.
pub fn over_the_wire(server: &Server, door: &str, extended: bool, wanted: &dyn Fn(&str) -> bool) {
    let address = server.address();
    let make = |database: &str| {
        let mut wire = Wire::connect(address, "admin", database).unwrap();
        wire.simple("set timezone to 'UTC'");
        WireDoor { wire, extended }
    };
    let create = |database: &str| {
        assert_eq!(
            server.connect().simple(&format!("create database {database}")).code(),
            ""
        )
    };
    run_files(door, wanted, create, make);
}

/// Runs every file and fails with all differences.
fn run_files<D: DB<ColumnType = Letter> + Send>(
    door: &str,
    wanted: &dyn Fn(&str) -> bool,
    create: impl Fn(&str),
    make: impl Fn(&str) -> D,
) {
    let root = package().join("sql");
    let mut failures = BTreeMap::new();
    let (mut files, mut records) = (0, 0);
    for path in slt_files(&root) {
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .with_extension("")
            .to_string_lossy()
            .into_owned();
        if !wanted(&name) {
            continue;
        }
        let database = format!("slt_{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        create(&database);
        let mut runner = Runner::new(|| async { Ok(make(&database)) });
        runner.add_label("staffa");
        runner.add_label(door);
        if std::env::var_os("STAFFA_SLT_PENDING").is_none() {
            runner.add_label("pending");
        }
        runner.with_column_validator(|actual, expected| {
            let same = |(actual, expected): (&Letter, &Letter)| {
                expected.0 == '?' || actual == expected || "SIL".contains(actual.0) && "SIL".contains(expected.0)
            };
            actual.len() == expected.len() && actual.iter().zip(expected).all(same)
        });
        runner.with_validator(|_, actual, expected| {
            let trimmed = |line: &str| line.trim_end().to_owned();
            actual
                .iter()
                .map(|row| trimmed(&row[0]))
                .eq(expected.iter().map(|line| trimmed(line)))
        });
        files += 1;
        for record in sqllogictest::parse_with_name::<Letter>(&script(&path, door), name.as_str()).unwrap() {
            records += 1;
            if let Err(error) = runner.run(record) {
                failures
                    .entry(name.clone())
                    .or_insert_with(Vec::new)
                    .push(error.to_string());
            }
        }
    }
    let count: usize = failures.values().map(Vec::len).sum();
    for (name, errors) in &failures {
        println!("--- {name}: {} differences\n{}", errors.len(), errors.join("\n"));
    }
    let foreign = std::mem::take(&mut *FOREIGN_WORDS.lock().unwrap());
    assert!(foreign.is_empty(), "libraries speak to users:\n{}", foreign.join("\n"));
    assert!(files > 0, "no file is wanted");
    assert_eq!(
        count,
        0,
        "{count} differences in {} of {files} files ({records} records), door {door}",
        failures.len()
    );
    println!("{door}: {records} records in {files} files");
}

/// The file; without SQLSTATEs for the engine, which knows kinds of errors and leaves their codes to the server.
fn script(path: &Path, door: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    if door != "embedded" {
        return text;
    }
    let without_state = |line: &str| {
        let Some((kind, state)) = line.split_once(" error ") else {
            return line.to_owned();
        };
        if kind != "statement" && kind != "query" {
            return line.to_owned();
        }
        match state.split_once(": ") {
            Some((_, message)) => format!("{kind} error {message}"),
            None => format!("{kind} error"),
        }
    };
    text.lines().map(without_state).collect::<Vec<_>>().join("\n") + "\n"
}

fn slt_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(slt_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
    found.sort();
    found
}
