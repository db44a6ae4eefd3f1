//! TPC-H at scale 0.01, made by `staffa demo`: 22 queries against DuckDB's stored answers.
//!
//! `scripts/tpch_answers.py` writes the answers from files of another generator program; when two values are the same is
//! said in `scripts/tpch.py`, and `same` here is that rule again.

use std::fs;

use tempfile::TempDir;

use crate::support::{Server, package};
use crate::wire::Reply;

const RELATIVE: f64 = 1e-9;
const ABSOLUTE: f64 = 1e-6;
/// What scale 0.01 puts in place of Q11's fraction: 0.0001 / 0.01.
const Q11_FRACTION: &str = "0.01";

#[test]
fn answers_equal_duckdbs() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let arguments = [
        "demo",
        "--scale",
        "0.01",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let mut server = Server::try_start(folder.path(), &arguments.map(str::to_owned), &[])
        .unwrap_or_else(|log| panic!("the demo did not start:\n{log}"));
    let mut wire = server.connect();
    let mut wrong = Vec::new();
    for number in 1..=22 {
        let name = format!("q{number:02}");
        let sql = fs::read_to_string(package().join(format!("tpch/queries/{name}.sql"))).unwrap();
        let sql = sql.replace("{q11_fraction}", Q11_FRACTION);
        let answer = fs::read_to_string(package().join(format!("tpch/answers/{name}.csv"))).unwrap();
        let mut wanted = parse_csv(&answer);
        let header = wanted.remove(0);
        for (door, reply) in [("simple", wire.simple(&sql)), ("extended", wire.extended(&sql, &[]))] {
            if let Some(difference) = difference(&header, &wanted, &reply) {
                wrong.push(format!("{name} {door}: {difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.assert_well();
}

#[test]
fn rules_of_equality() {
    assert!(same("NULL", "NULL") && !same("NULL", "0"));
    assert!(same("1.50", "1.5") && same("3.0000000001", "3") && !same("3.01", "3.02"));
    assert!(!same("12345678901", "12345678902"), "whole numbers are equal or not");
    assert!(!same("abc", "abd") && !same("1995-03-05", "1995-03-06"));
    assert_eq!(parse_csv("a,b\n\"x, \"\"y\"\"\",\n"), [["a", "b"], ["x, \"y\"", ""]]);
}

fn difference(header: &[String], wanted: &[Vec<String>], reply: &Reply) -> Option<String> {
    if let Some(error) = &reply.error {
        return Some(error.to_string());
    }
    if reply.columns.iter().map(|(name, _)| name).ne(header) {
        return Some(format!("columns {:?}, {header:?} expected", reply.columns));
    }
    if reply.rows.len() != wanted.len() {
        return Some(format!("{} rows, {} expected", reply.rows.len(), wanted.len()));
    }
    for (number, (got, wanted)) in reply.text().iter().zip(wanted).enumerate() {
        for (got, wanted) in got.iter().zip(wanted) {
            let got = got.as_deref().map_or("NULL", |value| value.trim_end_matches(' '));
            if !same(got, wanted) {
                return Some(format!("row {}: {got}, {wanted} expected", number + 1));
            }
        }
    }
    None
}

fn same(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    if !a.contains(['.', 'e']) && !b.contains(['.', 'e']) {
        return false;
    }
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= RELATIVE * a.abs().max(b.abs()) + ABSOLUTE,
        _ => false,
    }
}

/// CSV with quotes and line feeds, as Python writes it.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(character),
        }
    }
    rows
}
