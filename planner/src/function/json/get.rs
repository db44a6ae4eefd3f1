//! `->`, `->>`, `#>`, `#>>` and `json_extract_path`: values found by walking over the text.
//!
//! `j -> 'a' -> 'b' ->> 'c'` is one call `staffa_json_text(j, 'a', 'b', 'c')`, so the text is walked over once. Values that stand
//! in the text as they are asked for are not copied: the result's views point into the column they were found in.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use super::call::Call;
use super::{Form, Gives, JsonFunction, Param};
use crate::error::Result;
use crate::json::scan::{Step, as_text, walk};

pub(super) const FUNCTIONS: &[Form] = &[
    VALUE,
    TEXT,
    PATH_VALUE,
    PATH_TEXT,
    Form::new("json_extract_path", &[Param::Json, Param::Text], Gives::Json, |call| {
        by_steps(call, false)
    })
    .repeating(1),
    Form::new(
        "jsonb_extract_path",
        &[Param::Jsonb, Param::Text],
        Gives::Jsonb,
        |call| by_steps(call, false),
    )
    .repeating(1),
    Form::new(
        "json_extract_path_text",
        &[Param::Json, Param::Text],
        Gives::Text,
        |call| by_steps(call, true),
    )
    .repeating(1),
    Form::new(
        "jsonb_extract_path_text",
        &[Param::Jsonb, Param::Text],
        Gives::Text,
        |call| by_steps(call, true),
    )
    .repeating(1),
];

/// `->`, steps after each other
const VALUE: Form = Form::new(
    "staffa_json_value",
    &[Param::Either, Param::Step],
    Gives::Same,
    |call| by_steps(call, false),
)
.repeating(2);
/// `->>`
const TEXT: Form = Form::new("staffa_json_text", &[Param::Either, Param::Step], Gives::Text, |call| {
    by_steps(call, true)
})
.repeating(2);
/// `#>`
const PATH_VALUE: Form = Form::new(
    "staffa_json_path_value",
    &[Param::Either, Param::Texts],
    Gives::Same,
    |call| by_path(call, false),
);
/// `#>>`
const PATH_TEXT: Form = Form::new(
    "staffa_json_path_text",
    &[Param::Either, Param::Texts],
    Gives::Text,
    |call| by_path(call, true),
);

static VALUE_FORM: Form = VALUE;
static TEXT_FORM: Form = TEXT;
static PATH_VALUE_FORM: Form = PATH_VALUE;
static PATH_TEXT_FORM: Form = PATH_TEXT;

/// `value -> step`, and `value ->> step` with `text`. One walk where the value is itself such a step by constants.
pub(crate) fn got(value: Expr, step: Expr, text: bool) -> Expr {
    let form = if text { &TEXT_FORM } else { &VALUE_FORM };
    let mut args = match value {
        Expr::ScalarFunction(inner) if is_literal(&step) && fuses(&inner) => inner.args,
        value => vec![value],
    };
    args.push(step);
    form.call(args)
}

fn fuses(inner: &datafusion::logical_expr::expr::ScalarFunction) -> bool {
    let is_value = inner
        .func
        .inner()
        .downcast_ref::<JsonFunction>()
        .is_some_and(|function| function.form.name == VALUE.name);
    is_value && inner.args.iter().skip(1).all(is_literal)
}

fn is_literal(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(value, _) if !value.is_null())
}

/// `value #> path`, `value #>> path`
pub(crate) fn extract(value: Expr, path: Expr, text: bool) -> Expr {
    let form = if text { &PATH_TEXT_FORM } else { &PATH_VALUE_FORM };
    form.call(vec![value, path])
}

/// A step that is the same for all rows, kept.
enum Constant {
    Text(String),
    Number(i64),
    /// NULL leads nowhere.
    Null,
}

fn by_steps(call: &Call<'_>, text: bool) -> Result<ArrayRef> {
    let named = call.form.params.get(1) == Some(&Param::Text);
    let jsonb = !call.is_json(0);
    let fixed = (1..call.len()).all(|place| call.is_constant(place));
    if !fixed {
        return each_row(call, text, |row| {
            let mut path = Vec::with_capacity(call.len() - 1);
            for place in 1..call.len() {
                if call.is_null(place, row) {
                    return Ok(None);
                }
                path.push(match call.arrays[place].data_type() {
                    DataType::Int32 => numbered(call.integer(place, row)?, jsonb),
                    _ => texted(call.text(place, row)?, named),
                });
            }
            Ok(Some(path))
        });
    }
    let mut constants = Vec::with_capacity(call.len() - 1);
    for place in 1..call.len() {
        constants.push(match ScalarValue::try_from_array(&call.arrays[place], 0)? {
            ScalarValue::Int32(Some(number)) => Constant::Number(i64::from(number)),
            ScalarValue::Utf8View(Some(text)) => Constant::Text(text),
            _ => Constant::Null,
        });
    }
    let path: Option<Vec<Step<'_>>> = constants
        .iter()
        .map(|constant| match constant {
            Constant::Text(text) => Some(texted(text, named)),
            Constant::Number(number) => Some(numbered(*number, jsonb)),
            Constant::Null => None,
        })
        .collect();
    match path {
        Some(path) => found(call, text, &path),
        None => Ok(Arc::new(StringViewArray::new_null(call.rows))),
    }
}

fn texted(text: &str, named: bool) -> Step<'_> {
    match named {
        true => Step::Name(text),
        false => Step::Key(text),
    }
}

fn numbered<'a>(number: i64, jsonb: bool) -> Step<'a> {
    match jsonb {
        true => Step::Place(number),
        false => Step::Index(number),
    }
}

fn by_path(call: &Call<'_>, text: bool) -> Result<ArrayRef> {
    if call.is_constant(1) && !call.is_null(1, 0) {
        let names = call.strings(1, 0)?;
        let path: Option<Vec<Step<'_>>> = names.into_iter().map(|name| name.map(Step::Name)).collect();
        return match path {
            Some(path) => found(call, text, &path),
            None => Ok(Arc::new(StringViewArray::new_null(call.rows))),
        };
    }
    each_row(call, text, |row| {
        if call.is_null(1, row) {
            return Ok(None);
        }
        let names = call.strings(1, row)?;
        Ok(names.into_iter().map(|name| name.map(Step::Name)).collect())
    })
}

fn each_row<'c>(
    call: &'c Call<'_>,
    text: bool,
    path: impl Fn(usize) -> Result<Option<Vec<Step<'c>>>>,
) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        let value = match call.is_null(0, row) {
            true => None,
            false => match path(row)? {
                Some(path) => walk(call.text(0, row)?, &path)?,
                None => None,
            },
        };
        match value {
            None => builder.append_null(),
            Some(value) if text => builder.append_option(as_text(value)?),
            Some(value) => builder.append_value(value),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// The values at the end of one path, for all rows.
fn found(call: &Call<'_>, text: bool, path: &[Step<'_>]) -> Result<ArrayRef> {
    let documents = call.texts(0)?;
    let mut builder = StringViewBuilder::with_capacity(call.rows);
    // The result shares the column's buffers.
    let blocks: Vec<u32> = documents
        .data_buffers()
        .iter()
        .map(|buffer| builder.append_block(buffer.clone()))
        .collect();
    for row in 0..call.rows {
        let at = call.at(0, row);
        if documents.is_null(at) {
            builder.append_null();
            continue;
        }
        let document = documents.value(at);
        let value = match walk(document, path)? {
            None => None,
            Some(value) if text => as_text(value)?,
            Some(value) => Some(Cow::Borrowed(value)),
        };
        match value {
            None => builder.append_null(),
            Some(Cow::Owned(value)) => builder.append_value(value),
            Some(Cow::Borrowed(value)) => match place(documents, at, document, value, &blocks) {
                Some((block, offset, length)) => builder.try_append_view(block, offset, length)?,
                None => builder.append_value(value),
            },
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Bytes up to which a view holds the text itself.
const INLINE_MAX: usize = 12;

/// Where in the column's buffers a part of a document stands.
fn place(
    documents: &StringViewArray,
    row: usize,
    document: &str,
    value: &str,
    blocks: &[u32],
) -> Option<(u32, u32, u32)> {
    if value.len() <= INLINE_MAX || document.len() <= INLINE_MAX {
        return None;
    }
    let inside = (value.as_ptr() as usize).checked_sub(document.as_ptr() as usize)?;
    let view = arrow::array::ByteView::from(*documents.views().get(row)?);
    let block = *blocks.get(usize::try_from(view.buffer_index).ok()?)?;
    let offset = view.offset.checked_add(u32::try_from(inside).ok()?)?;
    Some((block, offset, u32::try_from(value.len()).ok()?))
}
