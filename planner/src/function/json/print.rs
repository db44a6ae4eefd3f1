//! Any column as JSON texts, as `to_json` prints them: moments with a `T`, numbers bare, JSON as it is, the rest as strings.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder};
use arrow::datatypes::{DataType, Field};
use bytes::BytesMut;
use staffa_catalog::SqlType;

use super::call::Call;
use crate::error::{Error, Result};
use crate::types::{element_type, sql_type};
use crate::value::json::write_string;
use crate::value::{ByteaOutput, ColumnEncoder, DateOrder, Format, FormatSettings};

/// What stands between elements and members: nothing but the comma; a new line; a blank.
pub(super) const COMPACT: &str = ",";
pub(super) const PRETTY: &str = ",\n ";
pub(super) const SPACED: &str = ", ";

/// The JSON of an argument, row by row; NULL where it is NULL. The separator is that of the outermost elements.
pub(super) fn argument(call: &Call<'_>, place: usize, separator: &str) -> Result<LargeStringArray> {
    let settings = settings(call)?;
    let field = call
        .fields
        .get(place)
        .ok_or_else(|| Error::internal("an argument has a field"))?;
    texts(&call.arrays[place], field, &sql_type(field), &settings, separator)
}

/// An argument as the keys of objects: its text.
pub(super) fn keys(call: &Call<'_>, place: usize) -> Result<LargeStringArray> {
    let settings = settings(call)?;
    let field = call
        .fields
        .get(place)
        .ok_or_else(|| Error::internal("an argument has a field"))?;
    let ty = sql_type(field);
    let plain = plain(&call.arrays[place], field, &ty, &settings)?;
    Ok(match Form::of(&ty) {
        Form::Moment => {
            let is_zoned = *ty.plain() == SqlType::TimestampTz;
            plain.iter().map(|text| text.map(|text| xsd(text, is_zoned))).collect()
        }
        _ => plain,
    })
}

fn settings(call: &Call<'_>) -> Result<FormatSettings> {
    FormatSettings::new(
        call.time_zone.unwrap_or("UTC"),
        DateOrder::default(),
        ByteaOutput::default(),
        1,
    )
}

fn texts(
    array: &ArrayRef,
    field: &Field,
    ty: &SqlType,
    settings: &FormatSettings,
    separator: &str,
) -> Result<LargeStringArray> {
    match array.data_type() {
        DataType::List(element) => return lists(array, element, settings, separator),
        DataType::Struct(_) => return structs(array, settings, separator),
        _ => {}
    }
    let plain = plain(array, field, ty, settings)?;
    let form = Form::of(ty);
    if form == Form::Bare {
        return Ok(plain);
    }
    let mut builder = LargeStringBuilder::with_capacity(plain.len(), plain.values().len() + plain.len() * 2);
    let mut out = String::new();
    for text in &plain {
        let Some(text) = text else {
            builder.append_null();
            continue;
        };
        out.clear();
        match form {
            // Not every number is one of JSON: NaN, Infinity.
            Form::Number if text.ends_with(|c: char| c.is_ascii_digit()) => out.push_str(text),
            Form::Moment => write_string(&xsd(text, *ty.plain() == SqlType::TimestampTz), &mut out),
            _ => write_string(text, &mut out),
        }
        builder.append_value(&out);
    }
    Ok(builder.finish())
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Is JSON already.
    Bare,
    Number,
    Moment,
    Text,
}

impl Form {
    fn of(ty: &SqlType) -> Self {
        match ty.plain() {
            SqlType::Boolean | SqlType::Json | SqlType::Jsonb => Form::Bare,
            SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Real
            | SqlType::Double
            | SqlType::Numeric { .. } => Form::Number,
            SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz => Form::Moment,
            _ => Form::Text,
        }
    }
}

/// `2024-01-02 03:04:05+00` as `2024-01-02T03:04:05+00:00`
fn xsd(text: &str, zoned: bool) -> String {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.to_string();
    }
    let (moment, era) = match text.strip_suffix(" BC") {
        Some(moment) => (moment, " BC"),
        None => (text, ""),
    };
    let mut out = moment.replacen(' ', "T", 1);
    let hours_only = out.rfind(['+', '-']).is_some_and(|sign| out.len() - sign == 3);
    if zoned && hours_only {
        out.push_str(":00");
    }
    out.push_str(era);
    out
}

/// The values' own texts.
fn plain(array: &ArrayRef, field: &Field, ty: &SqlType, settings: &FormatSettings) -> Result<LargeStringArray> {
    if let Some(values) = array.as_boolean_opt() {
        let words = values
            .iter()
            .map(|value| value.map(|value| if value { "true" } else { "false" }));
        return Ok(words.collect());
    }
    let encoder = ColumnEncoder::new(field, ty, Format::Text, settings)?;
    let column = encoder.column(array)?;
    let mut builder = LargeStringBuilder::new();
    let mut bytes = BytesMut::new();
    for row in 0..array.len() {
        bytes.clear();
        match column.write(row, &mut bytes)? {
            true => {
                let text = std::str::from_utf8(&bytes).map_err(|_| Error::internal("a text form is UTF-8"))?;
                builder.append_value(text);
            }
            false => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

fn lists(array: &ArrayRef, element: &Field, settings: &FormatSettings, separator: &str) -> Result<LargeStringArray> {
    let lists = array.as_list::<i32>();
    let inner = texts(lists.values(), element, &element_type(element), settings, COMPACT)?;
    let offsets = lists.value_offsets();
    let mut builder = LargeStringBuilder::new();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            builder.append_null();
            continue;
        }
        let write = |text: &str, builder: &mut LargeStringBuilder| {
            builder
                .write_str(text)
                .map_err(|_| Error::internal("a builder takes texts"))
        };
        write("[", &mut builder)?;
        for (at, index) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
            if at > 0 {
                write(separator, &mut builder)?;
            }
            write(
                if inner.is_null(index) {
                    "null"
                } else {
                    inner.value(index)
                },
                &mut builder,
            )?;
        }
        write("]", &mut builder)?;
        builder.append_value("");
    }
    Ok(builder.finish())
}

fn structs(array: &ArrayRef, settings: &FormatSettings, separator: &str) -> Result<LargeStringArray> {
    let structs = array.as_struct();
    let mut names = Vec::with_capacity(structs.num_columns());
    let mut columns = Vec::with_capacity(structs.num_columns());
    for (at, (field, column)) in structs.fields().iter().zip(structs.columns()).enumerate() {
        let mut name = String::new();
        // The fields of `row(1, 2)` have no names of their own.
        match field
            .name()
            .strip_prefix('c')
            .and_then(|digits| digits.parse::<usize>().ok())
        {
            Some(number) if number == at => write_string(&format!("f{}", at + 1), &mut name),
            _ => write_string(crate::rewrite::strip_marker(field.name()), &mut name),
        }
        names.push(name);
        columns.push(texts(column, field, &sql_type(field), settings, COMPACT)?);
    }
    let mut builder = LargeStringBuilder::new();
    let mut out = String::new();
    for row in 0..structs.len() {
        if structs.is_null(row) {
            builder.append_null();
            continue;
        }
        out.clear();
        out.push('{');
        for (at, (name, column)) in names.iter().zip(&columns).enumerate() {
            if at > 0 {
                out.push_str(separator);
            }
            out.push_str(name);
            out.push(':');
            out.push_str(if column.is_null(row) { "null" } else { column.value(row) });
        }
        out.push('}');
        builder.append_value(&out);
    }
    Ok(builder.finish())
}
