//! TPC-H at scale 0.01, made by `staffa demo`: 22 queries against DuckDB's stored answers.
//!
//! `scripts/tpch_answers.py` writes the answers from files of another generator program; when two values are the same is
//! said in `scripts/tpch.py`, and `same` here is that rule again.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::isolation::Random;
use crate::support::{Server, package};
use crate::wire::{Reply, Wire};

const RELATIVE: f64 = 1e-9;
const ABSOLUTE: f64 = 1e-6;
/// What scale 0.01 puts in place of Q11's fraction: 0.0001 / 0.01.
const Q11_FRACTION: &str = "0.01";

#[test]
fn answers_equal_duckdbs() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut server = demo(folder.path(), &data);
    let mut wire = server.connect();
    let mut wrong = Vec::new();
    for number in 1..=22 {
        let (sql, wanted) = query(number);
        let (header, wanted) = wanted.split_first().unwrap();
        for (door, reply) in [("simple", wire.simple(&sql)), ("extended", wire.extended(&sql, &[]))] {
            if let Some(difference) = difference(header, wanted, &reply) {
                wrong.push(format!("q{number:02} {door}: {difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.assert_well();
}

/// The order in which the tables of FROM are written must not matter.
#[test]
fn shuffled_lists_of_tables_cost_the_same() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut server = demo(folder.path(), &data);
    let mut wire = server.connect();
    wire.simple("analyze");
    let mut random = Random(7);
    let mut wrong = wrong_estimates(&mut wire);
    for number in 1..=22 {
        let (sql, wanted) = query(number);
        let (header, wanted) = wanted.split_first().unwrap();
        let mut costs = Vec::new();
        for _ in 0..4 {
            let sql = with_shuffled_lists(&sql, &mut random);
            if let Some(difference) = difference(header, wanted, &wire.simple(&sql)) {
                wrong.push(format!("{sql}\n{difference}"));
            }
            costs.push(cost(&wire.simple(&format!("explain (format json) {sql}"))));
        }
        let (least, most) = costs.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), cost| {
            (least.min(*cost), most.max(*cost))
        });
        // What is shown counts rows that come out; what is minimised counts tables that are built, too, and leaves orders within a
        // tenth as they are.
        if most > 1.2 * least {
            wrong.push(format!("q{number:02}: costs {costs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.assert_well();
}

/// Conditions on one column of which statistics of all rows make EXPLAIN expect another number of rows than there are.
fn wrong_estimates(wire: &mut Wire) -> Vec<String> {
    let mut wrong = Vec::new();
    for rows in [
        "lineitem where l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01'",
        "lineitem where l_shipdate > date '1998-09-02'",
        "lineitem where l_quantity < 24",
        "lineitem where l_discount between 0.05 and 0.07",
        "lineitem where l_returnflag = 'R'",
        "lineitem where l_shipmode in ('MAIL', 'SHIP')",
        "orders where o_orderdate < date '1995-03-15'",
        "orders where o_orderpriority <> '1-URGENT'",
        "orders where o_orderkey <= 6000",
        "part where p_size = 15",
    ] {
        let text = wire
            .simple(&format!("explain (format json) select * from {rows}"))
            .text();
        let json = text[0][0].as_deref().unwrap();
        let (_, expected) = json.split_once("\"Plan Rows\": ").unwrap();
        let end = expected.find(|c: char| !c.is_ascii_digit()).unwrap();
        let expected: f64 = expected[..end].parse().unwrap();
        let text = wire.simple(&format!("select count(*) from {rows}")).text();
        let there: f64 = text[0][0].as_deref().unwrap().parse().unwrap();
        if expected > there * 1.2 || there > expected * 1.2 {
            wrong.push(format!("{rows}: {expected} rows expected, {there} there"));
        }
    }
    wrong
}

/// The text with the items of every plain list after FROM in a random order.
fn with_shuffled_lists(sql: &str, random: &mut Random) -> String {
    let mut shuffled = String::new();
    let mut rest = sql;
    while let Some(start) = rest.find("from ").map(|at| at + "from ".len()) {
        let (before, list) = rest.split_at(start);
        shuffled.push_str(before);
        let end = ["\n", " where", ")"].iter().filter_map(|end| list.find(end)).min();
        let (list, after) = list.split_at(end.unwrap_or(list.len()));
        let mut items: Vec<&str> = list.split(',').map(str::trim).collect();
        let is_plain = |item: &&str| item.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ' ');
        if items.iter().all(is_plain) {
            for left in (1..items.len()).rev() {
                items.swap(left, random.below(left as u64 + 1) as usize);
            }
        }
        shuffled.push_str(&items.join(", "));
        rest = after;
    }
    shuffled + rest
}

/// The cost of the whole plan: each operator's is with what is below it.
fn cost(plan: &Reply) -> f64 {
    let text = plan.text();
    let json = text[0][0].as_deref().unwrap();
    let costs = json.split("\"Total Cost\": ").skip(1);
    let digits = |cost: &str| cost.find(|c: char| !c.is_ascii_digit()).unwrap();
    let costs = costs.map(|cost| cost[..digits(cost)].parse().unwrap());
    costs.fold(0.0, f64::max)
}

/// A query's text, and its answer with a header.
fn query(number: usize) -> (String, Vec<Vec<String>>) {
    let name = format!("q{number:02}");
    let sql = fs::read_to_string(package().join(format!("tpch/queries/{name}.sql"))).unwrap();
    let answer = fs::read_to_string(package().join(format!("tpch/answers/{name}.csv"))).unwrap();
    (sql.replace("{q11_fraction}", Q11_FRACTION), parse_csv(&answer))
}

fn demo(folder: &Path, data: &Path) -> Server {
    let arguments = [
        "demo",
        "--scale",
        "0.01",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    Server::try_start(folder, &arguments.map(str::to_owned), &[])
        .unwrap_or_else(|log| panic!("the demo did not start:\n{log}"))
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
