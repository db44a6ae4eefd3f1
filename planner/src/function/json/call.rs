//! The arguments of one call: columns of equal length, constants with one row.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use super::{Form, Param};
use crate::error::{Error, Result};
use crate::json::Node;
use crate::types::{arrow_field, sql_type};
use crate::value::json;

pub(in crate::function) struct Call<'a> {
    pub arrays: Vec<ArrayRef>,
    pub fields: Vec<FieldRef>,
    pub rows: usize,
    pub form: &'a Form,
    /// The session's zone, in which moments are printed.
    pub time_zone: Option<&'a str>,
    constant: Vec<bool>,
}

impl<'a> Call<'a> {
    /// Computes a call: once where all arguments are constants, else for every row.
    pub(super) fn evaluate(form: &'a Form, given: &[SqlType], args: &'a ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fields = fields(given, args);
        let constant: Vec<bool> = args
            .args
            .iter()
            .map(|arg| matches!(arg, ColumnarValue::Scalar(_)))
            .collect();
        let scalar = constant.iter().all(|constant| *constant);
        let mut arrays = Vec::with_capacity(args.args.len());
        for (place, arg) in args.args.iter().enumerate() {
            let array = match arg {
                ColumnarValue::Array(array) => Arc::clone(array),
                ColumnarValue::Scalar(value) => value.to_array_of_size(1)?,
            };
            let ty = fields.get(place).map_or(SqlType::Text, |field| sql_type(field));
            arrays.push(typed(array, form.parameter(place), &ty)?);
        }
        let call = Call {
            arrays,
            fields,
            rows: if scalar { 1 } else { args.number_rows },
            form,
            time_zone: args.config_options.execution.time_zone.as_deref(),
            constant,
        };
        let result = (form.compute)(&call)?;
        match scalar {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }

    pub(super) fn at(&self, place: usize, row: usize) -> usize {
        if self.constant[place] { 0 } else { row }
    }

    pub(super) fn is_constant(&self, place: usize) -> bool {
        self.constant[place]
    }

    pub(super) fn len(&self) -> usize {
        self.arrays.len()
    }

    /// Whether the argument is `json`, not `jsonb`.
    pub(super) fn is_json(&self, place: usize) -> bool {
        self.fields
            .get(place)
            .is_some_and(|field| sql_type(field) == SqlType::Json)
    }

    pub(super) fn is_null(&self, place: usize, row: usize) -> bool {
        let array = &self.arrays[place];
        array.data_type() == &DataType::Null || array.is_null(self.at(place, row))
    }

    pub(super) fn any_null(&self, row: usize) -> bool {
        (0..self.arrays.len()).any(|place| self.is_null(place, row))
    }

    pub(super) fn texts(&self, place: usize) -> Result<&StringViewArray> {
        let array = self.array(place)?;
        array
            .as_string_view_opt()
            .ok_or_else(|| super::super::native::wrong_type(array))
    }

    fn array(&self, place: usize) -> Result<&ArrayRef> {
        self.arrays
            .get(place)
            .ok_or_else(|| Error::internal("a function lacks an argument"))
    }

    /// The text of a row; the caller has looked for NULLs.
    pub(super) fn text(&self, place: usize, row: usize) -> Result<&str> {
        Ok(self.texts(place)?.value(self.at(place, row)))
    }

    pub(super) fn node(&self, place: usize, row: usize) -> Result<Node<'_>> {
        Node::parse(self.text(place, row)?)
    }

    pub(super) fn integer(&self, place: usize, row: usize) -> Result<i64> {
        let array = self.array(place)?;
        let numbers = array
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(|| super::super::native::wrong_type(array))?;
        Ok(i64::from(numbers.value(self.at(place, row))))
    }

    /// A Boolean that may be left out.
    pub(super) fn flag(&self, place: usize, row: usize, default: bool) -> Result<bool> {
        let Some(array) = self.arrays.get(place) else {
            return Ok(default);
        };
        let flags = array
            .as_boolean_opt()
            .ok_or_else(|| super::super::native::wrong_type(array))?;
        Ok(flags.value(self.at(place, row)))
    }

    fn lists(&self, place: usize) -> Result<&ListArray> {
        let array = self.array(place)?;
        array
            .as_list_opt::<i32>()
            .ok_or_else(|| super::super::native::wrong_type(array))
    }

    /// The elements of a `text[]`.
    pub(super) fn strings(&self, place: usize, row: usize) -> Result<Vec<Option<&str>>> {
        let lists = self.lists(place)?;
        let at = self.at(place, row);
        let offsets = lists.value_offsets();
        let values = lists
            .values()
            .as_string_view_opt()
            .ok_or_else(|| super::super::native::wrong_type(lists.values()))?;
        let range = offsets[at] as usize..offsets[at + 1] as usize;
        Ok(range
            .map(|index| values.is_valid(index).then(|| values.value(index)))
            .collect())
    }

    /// A column of texts, computed where no argument is NULL.
    pub(super) fn each_text<'r>(&self, compute: impl Fn(usize) -> Result<Option<Cow<'r, str>>>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        for row in 0..self.rows {
            match self.any_null(row) {
                true => builder.append_null(),
                false => builder.append_option(compute(row)?),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A column of values that are computed as trees.
    pub(super) fn each_node<'r>(&self, compute: impl Fn(usize) -> Result<Node<'r>>) -> Result<ArrayRef> {
        self.each_text(|row| Ok(Some(Cow::Owned(compute(row)?.text()))))
    }

    pub(super) fn each_truth(&self, compute: impl Fn(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
        let truths = (0..self.rows).map(|row| match self.any_null(row) {
            true => Ok(None),
            false => compute(row),
        });
        Ok(Arc::new(truths.collect::<Result<BooleanArray>>()?))
    }

    pub(super) fn each_integer(&self, compute: impl Fn(usize) -> Result<Option<i32>>) -> Result<ArrayRef> {
        let numbers = (0..self.rows).map(|row| match self.any_null(row) {
            true => Ok(None),
            false => compute(row),
        });
        Ok(Arc::new(numbers.collect::<Result<Int32Array>>()?))
    }
}

/// The fields of the arguments: JSON where the analysis has found it to be.
fn fields(given: &[SqlType], args: &ScalarFunctionArgs) -> Vec<FieldRef> {
    let fields = args.arg_fields.iter().enumerate();
    fields
        .map(|(place, field)| match given.get(place) {
            Some(ty @ (SqlType::Json | SqlType::Jsonb)) => Arc::new(arrow_field(field.name(), ty, true, "UTC")),
            _ => Arc::clone(field),
        })
        .collect()
}

/// A text that is to be JSON and has not been checked is read: a literal, or a parameter.
fn typed(array: ArrayRef, wanted: Option<Param>, is: &SqlType) -> Result<ArrayRef> {
    let read: fn(&str) -> Result<Option<String>> = match (wanted, is) {
        (Some(Param::Jsonb | Param::Either), SqlType::Jsonb) | (Some(Param::Json | Param::Either), SqlType::Json) => {
            return Ok(array);
        }
        (Some(Param::Jsonb | Param::Either), _) => |text| json::normalise(text).map(Some),
        (Some(Param::Json), SqlType::Jsonb) => return Ok(array),
        (Some(Param::Json), _) => |text| json::check(text).map(|()| None),
        _ => return Ok(array),
    };
    let Some(texts) = array.as_string_view_opt() else {
        return Ok(array);
    };
    let mut builder = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        match text {
            None => builder.append_null(),
            Some(text) => match read(text)? {
                Some(changed) => builder.append_value(changed),
                None => builder.append_value(text),
            },
        }
    }
    Ok(Arc::new(builder.finish()))
}
