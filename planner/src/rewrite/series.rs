//! `unnest` and `generate_series` in FROM.
//!
//! | before | after |
//! |---|---|
//! | `generate_series(1, 3) i` | `generate_series(1, 3) as i (i)` |
//! | `generate_series(t.a, now(), '1 day') d` | `unnest(staffa_series(t.a, now(), '1 day')) as d (d)` |
//! | `unnest(x, y) with ordinality as t (a, b, n)` | `unnest(x, y, staffa_ordinals(x, y)) as t (a, b, n)` |
//!
//! Between integer literals it stays DataFusion's table function, which does not hold all values in memory; that counts in
//! `bigint`, so `generate_series(1, 3) i` becomes `(select value::integer from generate_series(1, 3) …) as i (i)`.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    UnaryOperator, Value,
};

use super::call;
use super::names::MARKER;
use crate::function::{MATCHES, ORDINALS, SERIES, SUBSCRIPTS};
use crate::resolve::shown;
use crate::stored;

/// Whether WITH ORDINALITY after this function is understood.
pub(super) fn can_count(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args, .. } => args.is_some() && is_counted(name),
        TableFactor::Function { name, .. } => is_counted(name),
        TableFactor::UNNEST { .. } => true,
        _ => false,
    }
}

fn is_counted(function: &ObjectName) -> bool {
    let name = shown(function);
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    matches!(
        name,
        "generate_series"
            | "unnest"
            | "pg_partition_ancestors"
            | "regexp_matches"
            | "regexp_split_to_table"
            | "string_to_table"
    )
}

pub(super) fn table_function(factor: &mut TableFactor, is_scalar: impl Fn(&str) -> bool) {
    let (function, arguments, ordinality, alias) = match &*factor {
        TableFactor::Table {
            name,
            args: Some(args),
            with_ordinality,
            alias,
            ..
        } => (shown(name), plain(&args.args), *with_ordinality, alias.clone()),
        TableFactor::Function {
            name,
            args,
            with_ordinality,
            alias,
            ..
        } => (shown(name), plain(args), *with_ordinality, alias.clone()),
        TableFactor::UNNEST {
            array_exprs,
            with_ordinality,
            alias,
            ..
        } => (
            "unnest".to_string(),
            Some(array_exprs.clone()),
            *with_ordinality,
            alias.clone(),
        ),
        _ => return,
    };
    let Some(arguments) = arguments else {
        return;
    };
    let mut arrays = match function.as_str() {
        "generate_series" | "range" if !ordinality && arguments.iter().all(is_integer) => {
            let mut alias = alias;
            if alias.as_ref().is_some_and(|alias| alias.name.value == COUNTED) {
                return;
            }
            name_columns(&mut alias, &function, 1, false);
            if arguments.iter().all(is_small)
                && let Some(subquery) = counted(factor)
            {
                *factor = subquery;
            }
            if let TableFactor::Table { alias: place, .. }
            | TableFactor::Function { alias: place, .. }
            | TableFactor::Derived { alias: place, .. } = factor
            {
                *place = alias;
            }
            return;
        }
        "generate_series" => vec![call(SERIES, arguments)],
        "regexp_matches" => vec![call(MATCHES, arguments)],
        "regexp_split_to_table" => vec![call("regexp_split_to_array", arguments)],
        "string_to_table" => vec![call("string_to_array", arguments)],
        "generate_subscripts" => vec![call(SUBSCRIPTS, arguments)],
        "pg_partition_ancestors" => vec![call("staffa_partition_ancestors", arguments)],
        // Any other function that gives one value: one row.
        name if is_scalar(name) => vec![call("make_array", vec![call(name, arguments)])],
        "unnest" => arguments,
        _ => return,
    };
    let mut alias = alias;
    let column = if function == "pg_partition_ancestors" {
        "relid"
    } else {
        &function
    };
    if alias.is_none() && column != function {
        alias = Some(named(&function, column));
    }
    name_columns(&mut alias, &function, arrays.len(), ordinality);
    if ordinality {
        arrays.push(call(ORDINALS, arrays.clone()));
    }
    *factor = TableFactor::UNNEST {
        alias,
        array_exprs: arrays,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
}

/// A function's one column goes by the alias, else by the function's name; the numbers are called `ordinality`.
fn name_columns(alias: &mut Option<TableAlias>, function: &str, width: usize, ordinality: bool) {
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(function),
        columns: Vec::new(),
        at: None,
    });
    let column = |name: Ident| TableAliasColumnDef { name, data_type: None };
    if width == 1 && alias.columns.is_empty() {
        alias.columns.push(column(alias.name.clone()));
    }
    for index in alias.columns.len()..width {
        let name = match index {
            0 => function.to_string(),
            _ => format!("{function}{MARKER}{index}"),
        };
        alias.columns.push(column(Ident::with_quote('"', name)));
    }
    if ordinality && alias.columns.len() == width {
        alias.columns.push(column(Ident::new("ordinality")));
    }
}

/// `function (column)`
fn named(function: &str, column: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: Ident::new(function),
        columns: vec![TableAliasColumnDef {
            name: Ident::new(column),
            data_type: None,
        }],
        at: None,
    }
}

fn plain(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let plain = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
        _ => None,
    });
    plain.collect()
}

/// What the table function is called inside the subquery that makes its numbers `integer`. No text has this character.
const COUNTED: &str = "\u{1}counted";

/// `(select value::integer from <the function>)`
fn counted(function: &TableFactor) -> Option<TableFactor> {
    let text = format!("select value::integer from generate_series(1, 1) as \"{COUNTED}\" (value)");
    let mut query = stored::body_of(&text).ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let TableFactor::Table { args: place, .. } = &mut select.from.first_mut()?.relation else {
        return None;
    };
    let (TableFactor::Table { args: Some(given), .. }, Some(place)) = (function, place) else {
        return None;
    };
    *place = given.clone();
    Some(TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: None,
        sample: None,
    })
}

fn is_small(argument: &Expr) -> bool {
    match argument {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.parse::<i32>().is_ok()),
        Expr::UnaryOp { expr, .. } => is_small(expr),
        _ => false,
    }
}

fn is_integer(argument: &Expr) -> bool {
    match argument {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.parse::<i64>().is_ok()),
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => is_integer(expr),
        _ => false,
    }
}
