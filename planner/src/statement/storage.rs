//! PostgreSQL's storage parameters: `WITH (fillfactor = 100)`, `SET (autovacuum_enabled = off)`.
//!
//! Tools write them for every table. They steer heap pages and their vacuum, which Staffa has not: they are checked as
//! PostgreSQL checks them, and forgotten with a notice. `toast.` stands before those of a table's TOAST table.

use crate::error::{Error, ErrorKind, Result};

#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Integer(i64, i64),
    Real(f64, f64),
    Choice(&'static [&'static str]),
}

struct Parameter {
    name: &'static str,
    kind: Kind,
    /// Whether a TOAST table has it, too.
    toast: bool,
}

const ANY: i64 = i32::MAX as i64;

/// Those of tables, with PostgreSQL's bounds (its `reloptions.c`).
#[rustfmt::skip]
const PARAMETERS: &[Parameter] = &[
    parameter("autovacuum_analyze_scale_factor", Kind::Real(0.0, 100.0), false),
    parameter("autovacuum_analyze_threshold", Kind::Integer(0, ANY), false),
    parameter("autovacuum_enabled", Kind::Boolean, true),
    parameter("autovacuum_freeze_max_age", Kind::Integer(100_000, 2_000_000_000), true),
    parameter("autovacuum_freeze_min_age", Kind::Integer(0, 1_000_000_000), true),
    parameter("autovacuum_freeze_table_age", Kind::Integer(0, 2_000_000_000), true),
    parameter("autovacuum_multixact_freeze_max_age", Kind::Integer(10_000, 2_000_000_000), true),
    parameter("autovacuum_multixact_freeze_min_age", Kind::Integer(0, 1_000_000_000), true),
    parameter("autovacuum_multixact_freeze_table_age", Kind::Integer(0, 2_000_000_000), true),
    parameter("autovacuum_vacuum_cost_delay", Kind::Real(0.0, 100.0), true),
    parameter("autovacuum_vacuum_cost_limit", Kind::Integer(1, 10_000), true),
    parameter("autovacuum_vacuum_insert_scale_factor", Kind::Real(0.0, 100.0), true),
    parameter("autovacuum_vacuum_insert_threshold", Kind::Integer(-1, ANY), true),
    parameter("autovacuum_vacuum_scale_factor", Kind::Real(0.0, 100.0), true),
    parameter("autovacuum_vacuum_threshold", Kind::Integer(0, ANY), true),
    parameter("fillfactor", Kind::Integer(10, 100), false),
    parameter("log_autovacuum_min_duration", Kind::Integer(-1, ANY), true),
    parameter("parallel_workers", Kind::Integer(0, 1024), false),
    parameter("toast_tuple_target", Kind::Integer(128, 8160), false),
    parameter("user_catalog_table", Kind::Boolean, false),
    parameter("vacuum_index_cleanup", Kind::Choice(&["on", "off", "auto", "true", "false", "yes", "no", "1", "0"]), true),
    parameter("vacuum_truncate", Kind::Boolean, true),
];

/// Those of indexes, by kind.
#[rustfmt::skip]
const INDEX_PARAMETERS: &[(&str, Parameter)] = &[
    ("btree", parameter("fillfactor", Kind::Integer(10, 100), false)),
    ("btree", parameter("deduplicate_items", Kind::Boolean, false)),
    ("btree", parameter("vacuum_cleanup_index_scale_factor", Kind::Real(0.0, 1e10), false)),
    ("hash", parameter("fillfactor", Kind::Integer(10, 100), false)),
    ("gist", parameter("fillfactor", Kind::Integer(10, 100), false)),
    ("gist", parameter("buffering", Kind::Choice(&["on", "off", "auto"]), false)),
    ("spgist", parameter("fillfactor", Kind::Integer(10, 100), false)),
    ("gin", parameter("fastupdate", Kind::Boolean, false)),
    ("gin", parameter("gin_pending_list_limit", Kind::Integer(64, ANY), false)),
    ("brin", parameter("pages_per_range", Kind::Integer(1, 131_072), false)),
    ("brin", parameter("autosummarize", Kind::Boolean, false)),
];

const fn parameter(name: &'static str, kind: Kind, toast: bool) -> Parameter {
    Parameter { name, kind, toast }
}

/// Takes the storage parameters out of a list of properties, and tells what the client is to hear of them.
pub(super) fn take(given: &[(String, String)]) -> Result<(Vec<(String, String)>, Option<String>)> {
    let mut properties = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in given {
        let Some(parameter) = named(name)? else {
            properties.push((name.clone(), value.clone()));
            continue;
        };
        if names.contains(&name.as_str()) {
            let message = format!("parameter \"{name}\" specified more than once");
            return Err(invalid(message));
        }
        check(parameter, value)?;
        names.push(name);
    }
    Ok((properties, notice(&names)))
}

/// Whether an index of this kind can have these parameters.
pub(super) fn check_index(method: &str, given: &[(String, String)]) -> Result<()> {
    for (at, (name, value)) in given.iter().enumerate() {
        if given[..at].iter().any(|(before, _)| before == name) {
            return Err(invalid(format!("parameter \"{name}\" specified more than once")));
        }
        let mut known = INDEX_PARAMETERS.iter().filter(|(of, _)| *of == method);
        match known.find(|(_, parameter)| parameter.name == name) {
            Some((_, parameter)) => check(parameter, value)?,
            None => return Err(invalid(format!("unrecognized parameter \"{name}\""))),
        }
    }
    Ok(())
}

/// The names of a RESET that are not storage parameters.
pub(super) fn without(names: &[String]) -> Result<Vec<String>> {
    let mut properties = Vec::new();
    for name in names {
        if named(name)?.is_none() {
            properties.push(name.clone());
        }
    }
    Ok(properties)
}

/// `oids = false` is what every table is, and says nothing; `oids` is none any more.
pub(super) fn without_oids(given: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let mut rest = Vec::with_capacity(given.len());
    for (name, value) in given {
        if name != "oids" {
            rest.push((name.clone(), value.clone()));
        } else if boolean("oids", value)? {
            return Err(Error::unsupported("tables declared WITH OIDS are not supported"));
        }
    }
    Ok(rest)
}

fn named(name: &str) -> Result<Option<&'static Parameter>> {
    let find = |name: &str| PARAMETERS.iter().find(|parameter| parameter.name == name);
    match name.strip_prefix("toast.") {
        None => Ok(find(name)),
        Some(of_toast) => match find(of_toast).filter(|parameter| parameter.toast) {
            Some(parameter) => Ok(Some(parameter)),
            None => Err(invalid(format!("unrecognized parameter \"{of_toast}\""))),
        },
    }
}

fn notice(names: &[&str]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.as_slice() {
        [] => None,
        [name] => Some(format!("storage parameter {name} has no effect")),
        names => Some(format!("storage parameters {} have no effect", names.join(", "))),
    }
}

fn check(parameter: &Parameter, value: &str) -> Result<()> {
    let name = parameter.name;
    match parameter.kind {
        Kind::Boolean => boolean(name, value).map(|_| ()),
        Kind::Integer(least, greatest) => {
            // PostgreSQL reads `70.5`, too, and rounds it.
            let number = value.trim().parse::<f64>().ok().map(f64::round_ties_even);
            let number = number.filter(|number| number.abs() <= ANY as f64);
            let Some(number) = number else {
                return Err(invalid(format!("invalid value for integer option \"{name}\": {value}")));
            };
            match (least as f64..=greatest as f64).contains(&number) {
                true => Ok(()),
                false => Err(out_of_bounds(name, value, &least.to_string(), &greatest.to_string())),
            }
        }
        Kind::Real(least, greatest) => {
            let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            let Some(number) = number else {
                let message = format!("invalid value for floating point option \"{name}\": {value}");
                return Err(invalid(message));
            };
            match (least..=greatest).contains(&number) {
                true => Ok(()),
                false => Err(out_of_bounds(
                    name,
                    value,
                    &format!("{least:.6}"),
                    &format!("{greatest:.6}"),
                )),
            }
        }
        Kind::Choice(words) => match words.iter().any(|word| word.eq_ignore_ascii_case(value)) {
            true => Ok(()),
            false => {
                let message = format!("invalid value for enum option \"{name}\": {value}");
                Err(invalid(message).with_detail("Valid values are \"on\", \"off\", and \"auto\"."))
            }
        },
    }
}

/// Words may be cut short where they stay unique, as PostgreSQL takes them.
fn boolean(name: &str, value: &str) -> Result<bool> {
    let word = value.to_ascii_lowercase();
    let begins = |full: &str, least: usize| word.len() >= least && full.starts_with(word.as_str());
    if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" {
        return Ok(true);
    }
    if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        return Ok(false);
    }
    Err(invalid(format!("invalid value for boolean option \"{name}\": {value}")))
}

fn out_of_bounds(name: &str, value: &str, least: &str, greatest: &str) -> Error {
    invalid(format!("value {value} out of bounds for option \"{name}\""))
        .with_detail(format!("Valid values are between \"{least}\" and \"{greatest}\"."))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}
