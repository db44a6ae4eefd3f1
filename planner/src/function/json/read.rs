//! What a value is and what is in it: kinds, lengths, keys, elements, members, `@>`, `?`, `jsonb_pretty`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field};

use super::call::Call;
use super::label::same;
use super::{Form, Gives, Param};
use crate::error::{Error, ErrorKind, Result};
use crate::json::contains::{contains, has};
use crate::json::literal::array_literal;
use crate::json::scan::{Kind, Step, as_text, child, count, elements, kind, members};
use crate::json::{change, node::Node};
use crate::types::ELEMENT_NAME;
use crate::value::json::write_string;

const JSON: &[Param] = &[Param::Json];
const JSONB: &[Param] = &[Param::Jsonb];
const TWO: &[Param] = &[Param::Jsonb, Param::Jsonb];

pub(super) const FUNCTIONS: &[Form] = &[
    Form::new("json_typeof", JSON, Gives::Text, type_name),
    Form::new("jsonb_typeof", JSONB, Gives::Text, type_name),
    Form::new("json_array_length", JSON, Gives::Integer, length),
    Form::new("jsonb_array_length", JSONB, Gives::Integer, length),
    Form::new("jsonb_pretty", JSONB, Gives::Text, pretty),
    Form::new("json_strip_nulls", JSON, Gives::Json, strip_json),
    Form::new("jsonb_strip_nulls", JSONB, Gives::Jsonb, |call| {
        call.each_node(|row| Ok(change::without_nulls(call.node(0, row)?)))
    }),
    Form::new("jsonb_contains", TWO, Gives::Boolean, |call| {
        call.each_truth(|row| Ok(Some(contains(&call.node(0, row)?, &call.node(1, row)?))))
    }),
    Form::new("jsonb_contained", TWO, Gives::Boolean, |call| {
        call.each_truth(|row| Ok(Some(contains(&call.node(1, row)?, &call.node(0, row)?))))
    }),
    Form::new("jsonb_exists", &[Param::Jsonb, Param::Text], Gives::Boolean, exists),
    Form::new(
        "jsonb_exists_any",
        &[Param::Jsonb, Param::Texts],
        Gives::Boolean,
        |call| exists_of(call, |value, texts| texts.iter().flatten().any(|text| has(value, text))),
    ),
    Form::new(
        "jsonb_exists_all",
        &[Param::Jsonb, Param::Texts],
        Gives::Boolean,
        |call| exists_of(call, |value, texts| texts.iter().flatten().all(|text| has(value, text))),
    ),
    Form::new(
        "staffa_json_array_literal",
        &[Param::Either, Param::Boolean],
        Gives::Text,
        |call| {
            call.each_text(|row| {
                let literal = array_literal(&call.node(0, row)?, call.flag(1, row, false)?)?;
                Ok(literal.map(Cow::Owned))
            })
        },
    ),
    Form::new("staffa_json_array_elements", JSON, Gives::Rows, |call| {
        array_elements(call, false)
    }),
    Form::new("staffa_jsonb_array_elements", JSONB, Gives::Rows, |call| {
        array_elements(call, false)
    }),
    Form::new("staffa_json_array_elements_text", JSON, Gives::Rows, |call| {
        array_elements(call, true)
    }),
    Form::new("staffa_jsonb_array_elements_text", JSONB, Gives::Rows, |call| {
        array_elements(call, true)
    }),
    Form::new("staffa_json_record", JSON, Gives::Json, record),
    Form::new("staffa_jsonb_record", JSONB, Gives::Jsonb, record),
    Form::new("staffa_json_to_recordset", JSON, Gives::Rows, records),
    Form::new("staffa_jsonb_to_recordset", JSONB, Gives::Rows, records),
    Form::new("staffa_json_populate_recordset", JSON, Gives::Rows, records),
    Form::new("staffa_jsonb_populate_recordset", JSONB, Gives::Rows, records),
    Form::new("staffa_json_object_keys", JSON, Gives::Rows, |call| {
        parts(call, Part::Key)
    }),
    Form::new("staffa_jsonb_object_keys", JSONB, Gives::Rows, |call| {
        parts(call, Part::Key)
    }),
    Form::new("staffa_json_each_key", JSON, Gives::Rows, |call| parts(call, Part::Key)),
    Form::new("staffa_jsonb_each_key", JSONB, Gives::Rows, |call| {
        parts(call, Part::Key)
    }),
    Form::new("staffa_json_each", JSON, Gives::Rows, |call| parts(call, Part::Value)),
    Form::new("staffa_jsonb_each", JSONB, Gives::Rows, |call| parts(call, Part::Value)),
    Form::new("staffa_json_each_text", JSON, Gives::Rows, |call| {
        parts(call, Part::Text)
    }),
    Form::new("staffa_jsonb_each_text", JSONB, Gives::Rows, |call| {
        parts(call, Part::Text)
    }),
];

fn type_name(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_text(|row| {
        let name = match kind(call.text(0, row)?)? {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Null => "null",
        };
        Ok(Some(Cow::Borrowed(name)))
    })
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn length(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_integer(|row| {
        let text = call.text(0, row)?;
        match kind(text)? {
            Kind::Array => Ok(i32::try_from(count(text)?).ok()),
            Kind::Object => Err(invalid("cannot get array length of a non-array")),
            _ => Err(invalid("cannot get array length of a scalar")),
        }
    })
}

fn pretty(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_text(|row| {
        let mut out = String::new();
        call.node(0, row)?.write_pretty(0, &mut out);
        Ok(Some(Cow::Owned(out)))
    })
}

/// `json` keeps its numbers and the order of its members.
fn strip_json(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_text(|row| {
        let mut out = String::new();
        stripped(call.text(0, row)?, &mut out)?;
        Ok(Some(Cow::Owned(out)))
    })
}

fn stripped(text: &str, out: &mut String) -> Result<()> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    match kind(text)? {
        Kind::Object => {
            out.push('{');
            let mut first = true;
            for member in members(text)? {
                let (key, value) = member?;
                if kind(value)? == Kind::Null {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                write_string(&key.text()?, out);
                out.push(':');
                stripped(value, out)?;
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (at, element) in elements(text)?.enumerate() {
                if at > 0 {
                    out.push(',');
                }
                stripped(element?, out)?;
            }
            out.push(']');
        }
        Kind::String => write_string(&as_text(text)?.unwrap_or_default(), out),
        _ => out.push_str(text),
    }
    Ok(())
}

/// `j ? 'key'`: an object's member is looked for without a tree.
fn exists(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_truth(|row| {
        let (text, wanted) = (call.text(0, row)?, call.text(1, row)?);
        Ok(Some(match kind(text)? {
            Kind::Object => child(text, Step::Key(wanted))?.is_some(),
            Kind::Array | Kind::String => has(&Node::parse(text)?, wanted),
            _ => false,
        }))
    })
}

fn exists_of(call: &Call<'_>, holds: impl Fn(&Node<'_>, &[Option<&str>]) -> bool) -> Result<ArrayRef> {
    call.each_truth(|row| Ok(Some(holds(&call.node(0, row)?, &call.strings(1, row)?))))
}

type Rows = ListBuilder<StringViewBuilder>;

pub(super) fn rows() -> Rows {
    ListBuilder::new(StringViewBuilder::new()).with_field(Field::new(ELEMENT_NAME, DataType::Utf8View, true))
}

/// What the function is called in messages.
fn shown<'a>(call: &Call<'a>) -> &'a str {
    call.form.name.strip_prefix("staffa_").unwrap_or(call.form.name)
}

fn each_list(call: &Call<'_>, append: impl Fn(&str, &mut StringViewBuilder) -> Result<()>) -> Result<ArrayRef> {
    let mut lists = rows();
    for row in 0..call.rows {
        if call.any_null(row) {
            lists.append_null();
            continue;
        }
        append(call.text(0, row)?, lists.values())?;
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn array_elements(call: &Call<'_>, text: bool) -> Result<ArrayRef> {
    let jsonb = !shown(call).starts_with("json_");
    each_list(call, |value, out| {
        let kind = kind(value)?;
        if kind != Kind::Array {
            return Err(invalid(match (jsonb, kind) {
                (true, Kind::Object) => "cannot extract elements from an object".to_string(),
                (true, _) => "cannot extract elements from a scalar".to_string(),
                (false, Kind::Object) => format!("cannot call {} on a non-array", shown(call)),
                (false, _) => format!("cannot call {} on a scalar", shown(call)),
            }));
        }
        for element in elements(value)? {
            let element = element?;
            match text {
                true => out.append_option(as_text(element)?),
                false => out.append_value(element),
            }
        }
        Ok(())
    })
}

/// An object, as it is: anything else has no columns.
fn record(call: &Call<'_>) -> Result<ArrayRef> {
    for row in (0..call.rows).filter(|row| !call.any_null(*row)) {
        let what = match kind(call.text(0, row)?)? {
            Kind::Object => continue,
            Kind::Array => "an array",
            _ => "a scalar",
        };
        return Err(invalid(format!("cannot call populate_composite on {what}")));
    }
    same(call)
}

/// The elements of an array all of which are objects.
fn records(call: &Call<'_>) -> Result<ArrayRef> {
    let name = shown(call);
    each_list(call, |value, out| {
        match (name.starts_with("jsonb"), kind(value)?) {
            (_, Kind::Array) => {}
            (true, _) => return Err(invalid(format!("cannot call {name} on a non-array"))),
            (false, Kind::Object) => return Err(invalid(format!("cannot call {name} on an object"))),
            (false, _) => return Err(invalid(format!("cannot call {name} on a scalar"))),
        }
        for element in elements(value)? {
            let element = element?;
            if kind(element)? != Kind::Object {
                return Err(invalid(format!("argument of {name} must be an array of objects")));
            }
            out.append_value(element);
        }
        Ok(())
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Key,
    Value,
    Text,
}

fn parts(call: &Call<'_>, part: Part) -> Result<ArrayRef> {
    let name = shown(call);
    each_list(call, |value, out| {
        let kind = kind(value)?;
        if kind != Kind::Object {
            return Err(invalid(no_object(name, kind)));
        }
        for member in members(value)? {
            let (key, value) = member?;
            match part {
                Part::Key => out.append_value(key.text()?),
                Part::Value => out.append_value(value),
                Part::Text => out.append_option(as_text(value)?),
            }
        }
        Ok(())
    })
}

fn no_object(name: &str, kind: Kind) -> String {
    let name = name.trim_end_matches("_key");
    let array = kind == Kind::Array;
    match (name.ends_with("object_keys"), name.starts_with("jsonb"), array) {
        (true, _, true) => format!("cannot call {name} on an array"),
        (true, _, false) => format!("cannot call {name} on a scalar"),
        (false, true, _) => format!("cannot call {name} on a non-object"),
        (false, false, true) => "cannot deconstruct an array as an object".to_string(),
        (false, false, false) => "cannot deconstruct a scalar".to_string(),
    }
}
