//! JSON made of other values: `to_json`, `json_build_object`, and what `json_agg` and its like become (`rewrite/json.rs`).

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, StringViewArray};
use arrow::datatypes::DataType;

use staffa_catalog::SqlType;

use super::call::Call;
use super::print::{COMPACT, PRETTY, SPACED, argument, keys};
use super::{Form, Gives, Param};
use crate::error::{Error, ErrorKind, Result};
use crate::value::json::{normalise, write_string};

const ANY: &[Param] = &[Param::Any];
const TEXTS: &[Param] = &[Param::Texts, Param::Texts];

/// Before an item that `json_agg` begins a new line for. No JSON begins with it.
const STRUCTURED: char = '\u{1}';

pub(super) const FUNCTIONS: &[Form] = &[
    Form::new("to_json", ANY, Gives::Json, |call| values(call, COMPACT, false)),
    Form::new("to_jsonb", ANY, Gives::Jsonb, |call| values(call, COMPACT, true)),
    Form::new("array_to_json", &[Param::Any, Param::Boolean], Gives::Json, structured).requires(1),
    Form::new("row_to_json", &[Param::Any, Param::Boolean], Gives::Json, structured).requires(1),
    Form::new("json_build_object", ANY, Gives::Json, |call| object_of(call, false)).repeating(0),
    Form::new("jsonb_build_object", ANY, Gives::Jsonb, |call| object_of(call, true)).repeating(0),
    Form::new("json_build_array", ANY, Gives::Json, |call| array_of(call, false)).repeating(0),
    Form::new("jsonb_build_array", ANY, Gives::Jsonb, |call| array_of(call, true)).repeating(0),
    Form::new("json_object", TEXTS, Gives::Json, |call| object_of_texts(call, false)).requires(1),
    Form::new("jsonb_object", TEXTS, Gives::Jsonb, |call| object_of_texts(call, true)).requires(1),
    Form::new("staffa_json_spaced", ANY, Gives::Json, |call| {
        values(call, SPACED, false)
    }),
    Form::new("staffa_json_item", ANY, Gives::Text, item),
    Form::new("staffa_json_row_item", ANY, Gives::Text, |call| {
        let texts = argument(call, 0, COMPACT)?;
        rows(call, |row| {
            let at = call.at(0, row);
            Ok(match texts.is_null(at) {
                true => Cow::Borrowed("null"),
                false => Cow::Owned(format!("{STRUCTURED}{}", texts.value(at))),
            })
        })
    }),
    Form::new("staffa_row", ANY, Gives::Json, |call| row_of(call, COMPACT)).repeating(2),
    Form::new("staffa_row_pretty", ANY, Gives::Json, |call| row_of(call, PRETTY)).repeating(2),
    Form::new("staffa_json_member", &[Param::Any, Param::Any], Gives::Text, member),
    Form::new("staffa_json_list", ANY, Gives::Json, |call| {
        joined(call, ["[", ", ", "]"], false)
    }),
    Form::new("staffa_jsonb_list", ANY, Gives::Jsonb, |call| {
        joined(call, ["[", ", ", "]"], true)
    }),
    Form::new("staffa_json_members", ANY, Gives::Json, |call| {
        joined(call, ["{ ", ", ", " }"], false)
    }),
    Form::new("staffa_jsonb_members", ANY, Gives::Jsonb, |call| {
        joined(call, ["{ ", ", ", " }"], true)
    }),
];

fn finished<'a>(text: String, jsonb: bool) -> Result<Cow<'a, str>> {
    Ok(Cow::Owned(if jsonb { normalise(&text)? } else { text }))
}

fn value_at(texts: &LargeStringArray, at: usize) -> &str {
    if texts.is_null(at) { "null" } else { texts.value(at) }
}

fn values(call: &Call<'_>, separator: &str, jsonb: bool) -> Result<ArrayRef> {
    let texts = argument(call, 0, separator)?;
    call.each_text(|row| finished(texts.value(call.at(0, row)).to_string(), jsonb).map(Some))
}

/// `array_to_json`, `row_to_json`; with a second argument each element stands on a line.
fn structured(call: &Call<'_>) -> Result<ArrayRef> {
    let nested = match call.form.name {
        "array_to_json" => matches!(call.arrays[0].data_type(), DataType::List(_) | DataType::Null),
        _ => matches!(call.arrays[0].data_type(), DataType::Struct(_) | DataType::Null),
    };
    if !nested {
        return Err(super::super::native::no_such_call(
            call.form.name,
            &[call.arrays[0].data_type().clone()],
        ));
    }
    let (plain, pretty) = (argument(call, 0, COMPACT)?, argument(call, 0, PRETTY)?);
    call.each_text(|row| {
        let texts = match call.flag(1, row, false)? {
            true => &pretty,
            false => &plain,
        };
        Ok(Some(Cow::Owned(texts.value(call.at(0, row)).to_string())))
    })
}

fn is_scalar(call: &Call<'_>, place: usize) -> bool {
    let json = call
        .fields
        .get(place)
        .is_some_and(|field| matches!(crate::types::sql_type(field), SqlType::Json | SqlType::Jsonb));
    !json && !matches!(call.arrays[place].data_type(), DataType::List(_) | DataType::Struct(_))
}

fn not_scalar() -> Error {
    Error::new(
        ErrorKind::InvalidParameterValue,
        "key value must be scalar, not array, composite, or json",
    )
}

fn object_of(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef> {
    if !call.len().is_multiple_of(2) {
        let message = "argument list must have even number of elements";
        let hint = format!(
            "The arguments of {}() must consist of alternating keys and values.",
            call.form.name
        );
        return Err(Error::new(ErrorKind::InvalidParameterValue, message).with_hint(hint));
    }
    let mut columns = Vec::with_capacity(call.len());
    for place in 0..call.len() {
        if place % 2 == 0 && !is_scalar(call, place) {
            return Err(not_scalar());
        }
        columns.push(match place % 2 {
            0 => keys(call, place)?,
            _ => argument(call, place, COMPACT)?,
        });
    }
    rows(call, |row| {
        let mut out = String::from("{");
        for (pair, columns) in columns.chunks_exact(2).enumerate() {
            let (key, value) = (call.at(pair * 2, row), call.at(pair * 2 + 1, row));
            if columns[0].is_null(key) {
                return Err(null_key(pair * 2 + 1, jsonb));
            }
            if pair > 0 {
                out.push_str(", ");
            }
            write_string(columns[0].value(key), &mut out);
            out.push_str(" : ");
            out.push_str(value_at(&columns[1], value));
        }
        out.push('}');
        finished(out, jsonb)
    })
}

/// A row: names and values in turns.
fn row_of(call: &Call<'_>, separator: &str) -> Result<ArrayRef> {
    let mut columns = Vec::with_capacity(call.len());
    for place in 0..call.len() {
        columns.push(match place % 2 {
            0 => keys(call, place)?,
            _ => argument(call, place, COMPACT)?,
        });
    }
    rows(call, |row| {
        let mut out = String::from("{");
        for (pair, columns) in columns.chunks_exact(2).enumerate() {
            if pair > 0 {
                out.push_str(separator);
            }
            write_string(columns[0].value(call.at(pair * 2, row)), &mut out);
            out.push(':');
            out.push_str(value_at(&columns[1], call.at(pair * 2 + 1, row)));
        }
        out.push('}');
        Ok(Cow::Owned(out))
    })
}

fn null_key(argument: usize, jsonb: bool) -> Error {
    match jsonb {
        true => Error::new(
            ErrorKind::InvalidParameterValue,
            format!("argument {argument}: key must not be null"),
        ),
        false => Error::new(
            ErrorKind::InvalidParameterValue,
            format!("argument {argument} cannot be null"),
        )
        .with_hint("Object keys should be text."),
    }
}

fn array_of(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef> {
    let columns = (0..call.len())
        .map(|place| argument(call, place, COMPACT))
        .collect::<Result<Vec<_>>>()?;
    rows(call, |row| {
        let mut out = String::from("[");
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            out.push_str(value_at(column, call.at(place, row)));
        }
        out.push(']');
        finished(out, jsonb)
    })
}

/// A column without NULLs.
fn rows<'r>(call: &Call<'_>, compute: impl Fn(usize) -> Result<Cow<'r, str>>) -> Result<ArrayRef> {
    let texts = (0..call.rows).map(|row| compute(row).map(Some));
    Ok(std::sync::Arc::new(texts.collect::<Result<StringViewArray>>()?))
}

fn object_of_texts(call: &Call<'_>, jsonb: bool) -> Result<ArrayRef> {
    let wrong = |message: &str| Error::new(ErrorKind::ArraySubscriptError, message);
    call.each_text(|row| {
        let first = call.strings(0, row)?;
        let pairs: Vec<(Option<&str>, Option<&str>)> = match call.len() {
            1 if first.len() % 2 != 0 => return Err(wrong("array must have even number of elements")),
            1 => first.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
            _ => {
                let second = call.strings(1, row)?;
                if first.len() != second.len() {
                    return Err(wrong("mismatched array dimensions"));
                }
                first.into_iter().zip(second).collect()
            }
        };
        let mut out = String::from("{");
        for (at, (key, value)) in pairs.into_iter().enumerate() {
            let key =
                key.ok_or_else(|| Error::new(ErrorKind::NullValueNotAllowed, "null value not allowed for object key"))?;
            if at > 0 {
                out.push_str(", ");
            }
            write_string(key, &mut out);
            out.push_str(" : ");
            match value {
                Some(value) => write_string(value, &mut out),
                None => out.push_str("null"),
            }
        }
        out.push('}');
        finished(out, jsonb).map(Some)
    })
}

/// One value that an aggregate gathers.
fn item(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = argument(call, 0, COMPACT)?;
    let lines = matches!(call.arrays[0].data_type(), DataType::List(_) | DataType::Struct(_));
    rows(call, |row| {
        let at = call.at(0, row);
        Ok(match lines && !texts.is_null(at) {
            true => Cow::Owned(format!("{STRUCTURED}{}", texts.value(at))),
            false => Cow::Owned(value_at(&texts, at).to_string()),
        })
    })
}

/// One member that an aggregate gathers.
fn member(call: &Call<'_>) -> Result<ArrayRef> {
    if !is_scalar(call, 0) {
        return Err(not_scalar());
    }
    let (names, values) = (keys(call, 0)?, argument(call, 1, COMPACT)?);
    rows(call, |row| {
        let key = call.at(0, row);
        if names.is_null(key) {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                "field name must not be null",
            ));
        }
        let mut out = String::new();
        write_string(names.value(key), &mut out);
        out.push_str(" : ");
        out.push_str(value_at(&values, call.at(1, row)));
        Ok(Cow::Owned(out))
    })
}

/// What was gathered, as one text: what stands before, between and behind.
fn joined(call: &Call<'_>, marks: [&str; 3], jsonb: bool) -> Result<ArrayRef> {
    let array = &call.arrays[0];
    if array.data_type() == &DataType::Null {
        return Ok(std::sync::Arc::new(StringViewArray::new_null(call.rows)));
    }
    let lists = array
        .as_list_opt::<i32>()
        .ok_or_else(|| super::super::native::wrong_type(array))?;
    call.each_text(|row| {
        let values = lists.value(call.at(0, row));
        let values = values
            .as_string_view_opt()
            .ok_or_else(|| super::super::native::wrong_type(&values))?;
        let mut out = String::from(marks[0]);
        for (at, value) in values.iter().flatten().enumerate() {
            if at > 0 {
                out.push_str(marks[1]);
            }
            match value.strip_prefix(STRUCTURED) {
                Some(value) => {
                    if at > 0 {
                        out.push_str("\n ");
                    }
                    out.push_str(value);
                }
                None => out.push_str(value),
            }
        }
        out.push_str(marks[2]);
        finished(out, jsonb).map(Some)
    })
}
