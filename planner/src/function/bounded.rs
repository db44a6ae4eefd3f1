//! DataFusion's functions of texts that may give far more than they are given, with memory asked for before they are computed.
//!
//! Operators give them rows in pieces where much comes of a row (`growing.rs`), but one row may be gigabytes, and constants are computed
//! while planning: `replace(repeat('x', 10000000), 'x', repeat('y', 1000))`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::native::bytes_given;
use super::wrapped::Wrapped;
use crate::supervision::Asked;

/// Bytes of a result by the arguments of one row.
pub(super) type Length = fn(&[&str]) -> u64;

const FUNCTIONS: &[(&str, Length)] = &[
    ("concat", sum),
    ("concat_ws", sum),
    ("replace", replaced),
    ("translate", translated),
    ("string_to_array", split),
];

/// A result is made, and copied where the column of results grows.
const COPIES: u64 = 3;

/// Of each element of an array, besides its text.
const ELEMENT_BYTES: u64 = 16;

/// A character may become one of four bytes.
const LETTER_BYTES_MAX: u64 = 4;

fn sum(texts: &[&str]) -> u64 {
    // `concat_ws` puts the first between all others.
    let (first, count) = (texts.first().map_or(0, |text| text.len()), texts.len() as u64);
    let all: usize = texts.iter().map(|text| text.len()).sum();
    all as u64 + first as u64 * count
}

fn replaced(texts: &[&str]) -> u64 {
    let [text, old, new] = texts else { return sum(texts) };
    if old.is_empty() {
        return text.len() as u64;
    }
    let found = text.matches(old).count() as u64;
    text.len() as u64 + found * new.len() as u64
}

fn translated(texts: &[&str]) -> u64 {
    texts.first().map_or(0, |text| text.len() as u64 * LETTER_BYTES_MAX)
}

fn split(texts: &[&str]) -> u64 {
    let Some(text) = texts.first() else { return 0 };
    let elements = match texts.get(1) {
        Some(separator) if !separator.is_empty() => text.matches(separator).count() as u64 + 1,
        _ => text.len() as u64,
    };
    text.len() as u64 + elements * ELEMENT_BYTES
}

/// The functions that take the place of DataFusion's in this state.
pub(super) fn functions(state: &SessionState) -> Vec<ScalarUDF> {
    let known = FUNCTIONS.iter().filter_map(|(name, length)| {
        let inner = Arc::clone(state.scalar_functions().get(*name)?);
        Some(Wrapped::asking(inner, *length))
    });
    known.map(ScalarUDF::from).collect()
}

/// Nobody minds so much, however it grows.
const ORDINARY_BYTES: u64 = 8 << 20;

/// Memory for all results; those of short texts are not counted.
pub(super) fn asked(length: Length, args: &ScalarFunctionArgs) -> DataFusionResult<Asked> {
    Ok(Asked::for_bytes(
        bytes_of_results(length, args)?.saturating_mul(COPIES),
    )?)
}

fn bytes_of_results(length: Length, args: &ScalarFunctionArgs) -> DataFusionResult<u64> {
    let given = bytes_given(args);
    // At most one text, the third, is put into another one for each byte of it; elements take less.
    let times = match args.args.get(2) {
        Some(ColumnarValue::Scalar(value)) => value.try_as_str().flatten().map_or(0, str::len) as u64,
        Some(ColumnarValue::Array(_)) => given,
        None => 0,
    };
    if given.saturating_mul(times.max(ELEMENT_BYTES) + 1) <= ORDINARY_BYTES {
        return Ok(given);
    }
    let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_constant { 1 } else { args.number_rows };
    let mut columns: Vec<(StringViewArray, bool)> = Vec::with_capacity(args.args.len());
    for arg in &args.args {
        let (values, is_constant): (ArrayRef, bool) = match arg {
            ColumnarValue::Array(values) => (Arc::clone(values), false),
            ColumnarValue::Scalar(value) => (value.to_array_of_size(1)?, true),
        };
        let Ok(texts) = cast(&values, &DataType::Utf8View) else {
            return Ok(given);
        };
        columns.push((texts.as_string_view().clone(), is_constant));
    }
    let mut bytes = 0_u64;
    for row in 0..rows {
        let texts = columns.iter().map(|(texts, is_constant)| {
            let place = if *is_constant { 0 } else { row };
            if texts.is_null(place) { "" } else { texts.value(place) }
        });
        bytes = bytes.saturating_add(length(&texts.collect::<Vec<_>>()));
    }
    Ok(bytes)
}
