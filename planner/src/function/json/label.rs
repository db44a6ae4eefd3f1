//! What has the value of its argument, but another type; the order of `jsonb`; scalars of `jsonb` as numbers.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewBuilder, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use staffa_catalog::SqlType;

use super::call::Call;
use super::{Form, Gives, Param};
use crate::error::{Error, ErrorKind, Result};
use crate::json::{Node, number, order};
use crate::value::json::normalise;

pub(super) const FUNCTIONS: &[Form] = &[
    Form::new("staffa_as_json", &[Param::Any], Gives::Json, same),
    Form::new("staffa_as_jsonb", &[Param::Any], Gives::Jsonb, same),
    Form::new("staffa_as_text", &[Param::Any], Gives::Text, same),
    // What has not been checked is read as it comes in.
    Form::new("staffa_read_json", &[Param::Json], Gives::Json, same),
    Form::new("staffa_read_jsonb", &[Param::Jsonb], Gives::Jsonb, same),
    Form::new("staffa_json_to_jsonb", &[Param::Json], Gives::Jsonb, |call| {
        call.each_text(|row| Ok(Some(Cow::Owned(normalise(call.text(0, row)?)?))))
    }),
];

static AS_JSON: Form = Form::new("staffa_as_json", &[Param::Any], Gives::Json, same);
static AS_JSONB: Form = Form::new("staffa_as_jsonb", &[Param::Any], Gives::Jsonb, same);
static AS_TEXT: Form = Form::new("staffa_as_text", &[Param::Any], Gives::Text, same);
static ORDER: Form = Form::new("staffa_jsonb_order", &[Param::Jsonb], Gives::Bytes, ordered);
static ORDER_TEXT: Form = Form::new("staffa_jsonb_order_text", &[Param::Jsonb], Gives::Text, ordered_text);
static SCALAR: Form = Form::new("staffa_jsonb_scalar", &[Param::Jsonb, Param::Text], Gives::Text, scalar);

/// The expression, which is known to be `json`, `jsonb` or text.
pub(crate) fn as_type(value: Expr, ty: &SqlType) -> Expr {
    let form = match ty {
        SqlType::Json => &AS_JSON,
        SqlType::Jsonb => &AS_JSONB,
        _ => &AS_TEXT,
    };
    form.call(vec![value])
}

/// Bytes that compare as the `jsonb` values do.
pub(crate) fn order_key(value: Expr) -> Expr {
    ORDER.call(vec![value])
}

/// The same as text, for frames of windows, which take no bytes.
pub(crate) fn order_text(value: Expr) -> Expr {
    ORDER_TEXT.call(vec![value])
}

/// The text of a number or Boolean in a `jsonb`, to be read as this type.
pub(crate) fn scalar_of(value: Expr, target: &str) -> Expr {
    let target = Expr::Literal(
        datafusion::scalar::ScalarValue::Utf8View(Some(target.to_string())),
        None,
    );
    SCALAR.call(vec![value, target])
}

pub(super) fn same(call: &Call<'_>) -> Result<ArrayRef> {
    match call.arrays.first() {
        Some(array) if array.data_type() == &DataType::Null => Ok(Arc::new(StringViewArray::new_null(array.len()))),
        Some(array) => Ok(Arc::clone(array)),
        None => Err(Error::internal("a function lacks its argument")),
    }
}

fn ordered(call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = BinaryViewBuilder::with_capacity(call.rows);
    for text in call.texts(0)? {
        match text {
            Some(text) => builder.append_value(order::key(&Node::parse(text)?)),
            None => builder.append_null(),
        }
    }
    debug_assert_eq!(call.arrays[0].len(), call.rows, "one argument has every row");
    Ok(Arc::new(builder.finish()))
}

fn ordered_text(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_text(|row| {
        let key = order::key(&call.node(0, row)?);
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        let digits = key.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        Ok(Some(Cow::Owned(digits.collect())))
    })
}

fn scalar(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_text(|row| {
        let target = call.text(1, row)?;
        let node = Node::parse(call.text(0, row)?)?;
        let text = match (&node, target) {
            (Node::Boolean(value), "boolean") => if *value { "true" } else { "false" }.to_string(),
            (Node::Number(digits), "smallint" | "integer" | "bigint") => {
                let number = number::rounded(digits)
                    .filter(|number| match target {
                        "smallint" => i16::try_from(*number).is_ok(),
                        "integer" => i32::try_from(*number).is_ok(),
                        _ => true,
                    })
                    .ok_or_else(|| out_of_range(target))?;
                number.to_string()
            }
            (Node::Number(digits), target) if target != "boolean" => digits.to_string(),
            _ => {
                let kind = match node.kind_name() {
                    "number" => "numeric",
                    kind => kind,
                };
                let message = format!("cannot cast jsonb {kind} to type {target}");
                return Err(Error::new(ErrorKind::InvalidParameterValue, message));
            }
        };
        Ok(Some(Cow::Owned(text)))
    })
}

fn out_of_range(target: &str) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("{target} out of range"))
}
