//! Functions and operators that make a new `jsonb` of one: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`.

use std::borrow::Cow;

use arrow::array::ArrayRef;

use super::call::Call;
use super::{Form, Gives, Param};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Node;
use crate::json::change::{Change, Side, changed, concatenated, without_index, without_keys};

const SET: &[Param] = &[Param::Jsonb, Param::Texts, Param::Jsonb, Param::Boolean];
const SET_LAX: &[Param] = &[Param::Jsonb, Param::Texts, Param::Jsonb, Param::Boolean, Param::Text];

pub(super) const FUNCTIONS: &[Form] = &[
    Form::new("jsonb_concat", &[Param::Jsonb, Param::Jsonb], Gives::Jsonb, |call| {
        call.each_node(|row| Ok(concatenated(call.node(0, row)?, call.node(1, row)?)))
    }),
    Form::new(
        "staffa_jsonb_delete_key",
        &[Param::Jsonb, Param::Text],
        Gives::Jsonb,
        |call| call.each_node(|row| without_keys(call.node(0, row)?, &[call.text(1, row)?])),
    ),
    Form::new(
        "staffa_jsonb_delete_keys",
        &[Param::Jsonb, Param::Texts],
        Gives::Jsonb,
        |call| {
            call.each_node(|row| {
                let keys: Vec<&str> = call.strings(1, row)?.into_iter().flatten().collect();
                without_keys(call.node(0, row)?, &keys)
            })
        },
    ),
    Form::new(
        "staffa_jsonb_delete_index",
        &[Param::Jsonb, Param::Integer],
        Gives::Jsonb,
        |call| call.each_node(|row| without_index(call.node(0, row)?, call.integer(1, row)?)),
    ),
    Form::new(
        "jsonb_delete_path",
        &[Param::Jsonb, Param::Texts],
        Gives::Jsonb,
        |call| call.each_node(|row| changed(call.node(0, row)?, &call.strings(1, row)?, Change::Delete)),
    ),
    Form::new("jsonb_set", SET, Gives::Jsonb, |call| {
        call.each_node(|row| set(call, row))
    })
    .requires(3),
    Form::new("jsonb_insert", SET, Gives::Jsonb, insert).requires(3),
    Form::new("jsonb_set_lax", SET_LAX, Gives::Jsonb, set_lax).requires(3),
];

fn set<'c>(call: &'c Call<'_>, row: usize) -> Result<Node<'c>> {
    let change = Change::Set(call.node(2, row)?, call.flag(3, row, true)?);
    changed(call.node(0, row)?, &call.strings(1, row)?, change)
}

fn insert(call: &Call<'_>) -> Result<ArrayRef> {
    call.each_node(|row| {
        let side = match call.flag(3, row, false)? {
            true => Side::After,
            false => Side::Before,
        };
        let change = Change::Insert(call.node(2, row)?, side);
        changed(call.node(0, row)?, &call.strings(1, row)?, change)
    })
}

/// `jsonb_set`, with a choice of what NULL as the new value means.
fn set_lax(call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = arrow::array::StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        builder.append_option(set_lax_row(call, row)?);
    }
    Ok(std::sync::Arc::new(builder.finish()))
}

fn set_lax_row<'c>(call: &'c Call<'_>, row: usize) -> Result<Option<Cow<'c, str>>> {
    let missing = |place: usize| place < call.len() && call.is_null(place, row);
    if [0, 1, 3].into_iter().any(missing) {
        return Ok(None);
    }
    let treatment = match call.len() {
        5 if missing(4) => "",
        5 => call.text(4, row)?,
        _ => "use_json_null",
    };
    // Of no consequence where there is a new value.
    if missing(2)
        && !matches!(
            treatment,
            "raise_exception" | "use_json_null" | "delete_key" | "return_target"
        )
    {
        let message =
            "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"";
        return Err(Error::new(ErrorKind::InvalidParameterValue, message));
    }
    let node = match (missing(2), treatment) {
        (false, _) => set(call, row)?,
        (true, "return_target") => return Ok(Some(Cow::Borrowed(call.text(0, row)?))),
        (true, "use_json_null") => {
            let change = Change::Set(Node::Null, call.flag(3, row, true)?);
            changed(call.node(0, row)?, &call.strings(1, row)?, change)?
        }
        (true, "delete_key") => changed(call.node(0, row)?, &call.strings(1, row)?, Change::Delete)?,
        (true, _) => {
            return Err(Error::new(ErrorKind::NullValueNotAllowed, "JSON value must not be null")
                .with_detail("Exception was raised because null_value_treatment is \"raise_exception\".")
                .with_hint(
                    "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.",
                ));
        }
    };
    Ok(Some(Cow::Owned(node.text())))
}
