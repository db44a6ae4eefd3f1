//! DROP of what Staffa has none of: there is nothing to drop, and PostgreSQL's words say so.

use crate::error::{Error, ErrorKind, Result};
use crate::parse::DropAbsentAst;
use crate::pg_catalog::{facts, is_function_of_postgres};
use crate::resolve::{self, parts, shown};
use crate::statement::Plan;
use crate::statement::query::Scope;
use crate::type_planner::sql_type_of_ast;

pub(crate) fn drop(scope: &Scope<'_>, asked: &DropAbsentAst) -> Result<Plan> {
    let absent = |kind: ErrorKind, what: String, skipped: String| match asked.if_exists {
        true => Ok(Plan::Skipped {
            notice: format!("{skipped} does not exist, skipping"),
        }),
        false => Err(Error::new(kind, format!("{what} does not exist"))),
    };
    let name = shown(&asked.name);
    if let Some(table) = &asked.table {
        let relation = format!("relation \"{}\"", shown(table));
        if resolve::existing(scope.context, table)?.is_none() {
            return absent(ErrorKind::UndefinedTable, relation.clone(), relation);
        }
        let said = if asked.noun == "rule" { "relation" } else { "table" };
        let what = format!("{} \"{name}\" for {said} \"{}\"", asked.noun, shown(table));
        let skipped = format!("{} \"{name}\" for {relation}", asked.noun);
        return absent(ErrorKind::UndefinedObject, what, skipped);
    }
    let last = parts(&asked.name)?.pop().unwrap_or_default();
    let is_there = match asked.noun {
        "function" | "procedure" | "aggregate" | "routine" => is_function_of_postgres(&last),
        "type" => {
            facts::types().iter().any(|ty| ty.name == last) || resolve::existing(scope.context, &asked.name)?.is_some()
        }
        _ => false,
    };
    if is_there {
        return Err(Error::unsupported(format!("{} is not supported", asked.tag)));
    }
    match (&asked.arguments, asked.noun) {
        (Some(arguments), noun) => {
            let types = arguments.iter().map(sql_type_of_ast).collect::<Result<Vec<_>>>()?;
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let what = format!("{noun} {name}({})", types.join(", "));
            absent(ErrorKind::UndefinedFunction, what.clone(), what)
        }
        (None, noun @ ("function" | "procedure" | "aggregate" | "routine")) => match asked.if_exists {
            true => absent(ErrorKind::UndefinedFunction, String::new(), format!("{noun} {name}()")),
            false => {
                let message = format!("could not find a {noun} named \"{name}\"");
                Err(Error::new(ErrorKind::UndefinedFunction, message))
            }
        },
        (None, "foreign table") => {
            let what = format!("foreign table \"{name}\"");
            absent(ErrorKind::UndefinedTable, what.clone(), what)
        }
        (None, "collation") => {
            let what = format!("collation \"{name}\" for encoding \"UTF8\"");
            absent(ErrorKind::UndefinedObject, what, format!("collation \"{name}\""))
        }
        (None, noun) => {
            let what = format!("{noun} \"{name}\"");
            absent(ErrorKind::UndefinedObject, what.clone(), what)
        }
    }
}
