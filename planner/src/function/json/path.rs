//! Functions and operators of jsonpath: `jsonb_path_query`, `jsonb_path_exists`, `@?`, `@@`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringViewBuilder};

use super::call::Call;
use super::read::rows;
use super::{Form, Gives, Param};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Node;
use crate::json::path::Path;

/// The value, the path, variables, and whether errors of the data are passed over.
const PARAMS: &[Param] = &[Param::Jsonb, Param::Path, Param::Jsonb, Param::Boolean];
const OPERATOR: &[Param] = &[Param::Jsonb, Param::Path];

pub(super) const FUNCTIONS: &[Form] = &[
    Form::new("staffa_jsonb_path_query", PARAMS, Gives::Rows, query).requires(2),
    Form::new("jsonb_path_query_array", PARAMS, Gives::Jsonb, |call| {
        texts(call, |found| Some(Node::Array(found)))
    })
    .requires(2),
    Form::new("jsonb_path_query_first", PARAMS, Gives::Jsonb, |call| {
        texts(call, |found| found.into_iter().next())
    })
    .requires(2),
    Form::new("jsonb_path_exists", PARAMS, Gives::Boolean, |call| {
        truths(call, call_is_silent, |path, value, variables, silent| {
            path.exists(value, variables, silent)
        })
    })
    .requires(2),
    Form::new("jsonb_path_match", PARAMS, Gives::Boolean, |call| {
        truths(call, call_is_silent, |path, value, variables, silent| {
            path.matches(value, variables, silent)
        })
    })
    .requires(2),
    Form::new("jsonb_path_exists_opr", OPERATOR, Gives::Boolean, |call| {
        truths(
            call,
            |_, _| Ok(true),
            |path, value, variables, silent| path.exists(value, variables, silent),
        )
    }),
    Form::new("jsonb_path_match_opr", OPERATOR, Gives::Boolean, |call| {
        truths(
            call,
            |_, _| Ok(true),
            |path, value, variables, silent| path.matches(value, variables, silent),
        )
    }),
];

fn call_is_silent(call: &Call<'_>, row: usize) -> Result<bool> {
    call.flag(3, row, false)
}

/// The path of a row: read once where it is a constant.
fn path_of(call: &Call<'_>, constant: &Option<Arc<Path>>, row: usize) -> Result<Arc<Path>> {
    match constant {
        Some(path) => Ok(Arc::clone(path)),
        None => Ok(Arc::new(Path::read(call.text(1, row)?)?)),
    }
}

fn constant_path(call: &Call<'_>) -> Result<Option<Arc<Path>>> {
    match call.is_constant(1) && !call.is_null(1, 0) {
        true => Ok(Some(Arc::new(Path::read(call.text(1, 0)?)?))),
        false => Ok(None),
    }
}

fn variables<'c>(call: &'c Call<'_>, row: usize) -> Result<Node<'c>> {
    if call.len() < 3 {
        return Ok(Node::Object(Vec::new()));
    }
    match call.node(2, row)? {
        object @ Node::Object(_) => Ok(object),
        _ => Err(
            Error::new(ErrorKind::InvalidParameterValue, "\"vars\" argument is not an object")
                .with_detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."),
        ),
    }
}

fn query(call: &Call<'_>) -> Result<ArrayRef> {
    let constant = constant_path(call)?;
    let mut lists = rows();
    for row in 0..call.rows {
        if call.any_null(row) {
            lists.append_null();
            continue;
        }
        let path = path_of(call, &constant, row)?;
        let (value, variables) = (call.node(0, row)?, variables(call, row)?);
        for found in path.query(&value, &variables, call_is_silent(call, row)?)? {
            lists.values().append_value(found.text());
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn texts(call: &Call<'_>, of: impl Fn(Vec<Node<'_>>) -> Option<Node<'_>>) -> Result<ArrayRef> {
    let constant = constant_path(call)?;
    let mut builder = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if call.any_null(row) {
            builder.append_null();
            continue;
        }
        let path = path_of(call, &constant, row)?;
        let (value, variables) = (call.node(0, row)?, variables(call, row)?);
        let found = path.query(&value, &variables, call_is_silent(call, row)?)?;
        let text: Option<Cow<'_, str>> = of(found).map(|node| Cow::Owned(node.text()));
        builder.append_option(text);
    }
    Ok(Arc::new(builder.finish()))
}

fn truths(
    call: &Call<'_>,
    silent: impl Fn(&Call<'_>, usize) -> Result<bool>,
    of: impl Fn(&Path, &Node<'_>, &Node<'_>, bool) -> Result<Option<bool>>,
) -> Result<ArrayRef> {
    let constant = constant_path(call)?;
    let mut truths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if call.any_null(row) {
            truths.push(None);
            continue;
        }
        let path = path_of(call, &constant, row)?;
        let (value, variables) = (call.node(0, row)?, variables(call, row)?);
        truths.push(of(&path, &value, &variables, silent(call, row)?)?);
    }
    Ok(Arc::new(BooleanArray::from(truths)))
}
