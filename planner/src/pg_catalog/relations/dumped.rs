//! PostgreSQL's own objects, as far as there are such here.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::pg_catalog::facts::{DumpedRows, SystemRelation};

/// The dumped rows of a relation, of functions those that statements can call.
pub(in crate::pg_catalog) fn dumped(
    relation: &'static SystemRelation,
    known: &HashSet<String>,
) -> Result<Option<RecordBatch>> {
    // These are made of the image.
    if relation.name == "pg_namespace" {
        return Ok(None);
    }
    let Some(mut rows) = DumpedRows::of(relation.name) else {
        return Ok(None);
    };
    match relation.name {
        "pg_proc" => {
            let referred = referred_functions();
            rows.retain(|rows, row| {
                known.contains(rows.text(row, "proname")) || referred.contains(&rows.number(row, "oid"))
            });
        }
        "pg_aggregate" => {
            let functions = DumpedRows::of("pg_proc");
            let functions = functions.as_ref();
            let names: HashMap<u32, &str> = functions
                .map(|rows| {
                    (0..rows.len())
                        .map(|row| (rows.number(row, "oid"), rows.text(row, "proname")))
                        .collect()
                })
                .unwrap_or_default();
            rows.retain(|rows, row| {
                names
                    .get(&rows.number(row, "aggfnoid"))
                    .is_some_and(|name| known.contains(*name))
            });
        }
        _ => {}
    }
    rows.batch(relation).map(Some)
}

/// The functions that types, operators and casts name.
pub(in crate::pg_catalog) fn referred_functions() -> HashSet<u32> {
    let mut referred = HashSet::new();
    let places: &[(&str, &[&str])] = &[
        (
            "pg_type",
            &[
                "typinput",
                "typoutput",
                "typreceive",
                "typsend",
                "typmodin",
                "typmodout",
                "typanalyze",
                "typsubscript",
            ],
        ),
        ("pg_operator", &["oprcode"]),
        ("pg_cast", &["castfunc"]),
        ("pg_am", &["amhandler"]),
        ("pg_language", &["lanvalidator"]),
    ];
    for (relation, columns) in places {
        if let Some(rows) = DumpedRows::of(relation) {
            for row in 0..rows.len() {
                referred.extend(columns.iter().map(|column| rows.number(row, column)));
            }
        }
    }
    referred
}
