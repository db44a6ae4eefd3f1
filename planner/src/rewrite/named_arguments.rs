//! Arguments that are given by their names, in the places PostgreSQL's functions have for them.
//!
//! Before: `make_interval(secs => 1.5, days => 2)`. After: `make_interval(0, 0, 0, 2, 0, 0, 1.5)`.
//!
//! A call that fits no function is left as it was: planning tells that there is no such function.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::argument_names;
use crate::resolve::fold;

/// The functions whose first arguments have defaults, which is 0 for all of them; the last ones can be left out.
const DEFAULT_ZERO: &[&str] = &["make_interval"];

pub(super) fn in_place(name: &str, function: &mut Function) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(());
    };
    let first = list
        .args
        .iter()
        .position(|argument| matches!(argument, FunctionArg::Named { .. }));
    let Some(first) = first else {
        return Ok(());
    };
    let mut given: HashMap<String, FunctionArgExpr> = HashMap::new();
    for argument in &list.args[first..] {
        let FunctionArg::Named { name, arg, .. } = argument else {
            let message = "positional argument cannot follow named argument";
            return Err(Error::new(ErrorKind::SyntaxError, message));
        };
        let name = fold(name);
        if given.insert(name.clone(), arg.clone()).is_some() {
            let message = format!("argument name \"{name}\" used more than once");
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    }
    for places in argument_names(name) {
        if let Some(placed) = placed(name, &places, first, &given) {
            list.args.splice(first.., placed.into_iter().map(FunctionArg::Unnamed));
            return Ok(());
        }
    }
    Ok(())
}

/// Whether a function takes arguments of these names after so many others.
pub(crate) fn fit<'n>(function: &str, first: usize, names: impl Iterator<Item = &'n str> + Clone) -> bool {
    argument_names(function).any(|places| {
        let rest = places.get(first..).unwrap_or_default();
        names.clone().all(|name| rest.contains(&name))
    })
}

/// The named arguments for the places after the first ones; `None` when they do not fit.
fn placed(
    function: &str,
    places: &[&str],
    first: usize,
    given: &HashMap<String, FunctionArgExpr>,
) -> Option<Vec<FunctionArgExpr>> {
    let rest = places.get(first..)?;
    let count = given
        .keys()
        .map(|name| rest.iter().position(|place| place == name).map(|at| at + 1))
        .try_fold(0, |count, needed| Some(needed?.max(count)))?;
    let zero = || {
        let zero = Expr::Value(Value::Number("0".to_owned(), false).into());
        DEFAULT_ZERO.contains(&function).then_some(FunctionArgExpr::Expr(zero))
    };
    let placed = rest
        .iter()
        .take(count)
        .map(|place| given.get(*place).cloned().or_else(zero));
    placed.collect()
}
