//! Conversion of one column between the types a session works with and the types Iceberg stores. What Arrow's cast does
//! right is left to it; the rest is here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType};

use crate::error::{Error, ErrorKind, Result};
use crate::interval;

/// The column in another type. A value that does not fit is an error, never null.
///
/// # Errors
/// [`ErrorKind::CorruptFile`] when a value does not fit or Arrow has no such cast.
pub(crate) fn convert_leaf(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match (column.data_type(), to) {
        (from, to) if from == to => Ok(Arc::clone(column)),
        (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Utf8) => {
            let values = column.as_primitive::<IntervalMonthDayNanoType>();
            let texts: StringArray = values.iter().map(|v| v.map(interval::format)).collect();
            Ok(Arc::new(texts))
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::Interval(IntervalUnit::MonthDayNano)) => {
            let texts = convert_leaf(column, &DataType::Utf8)?;
            let parse = |text: Option<&str>| text.map(interval::parse).transpose();
            let values = texts
                .as_string::<i32>()
                .iter()
                .map(parse)
                .collect::<Result<IntervalMonthDayNanoArray>>()?;
            Ok(Arc::new(values))
        }
        // The same instants under another zone's name. Arrow's cast would shift a column that has no zone by the zone's
        // offset; Iceberg's two timestamp types never turn into one another, so only a foreign file can ask for that.
        (
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)),
        ) => {
            let values = column.as_primitive::<TimestampMicrosecondType>().clone();
            Ok(Arc::new(values.with_timezone(Arc::clone(zone))))
        }
        (from, to) => {
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            cast_with_options(column.as_ref(), to, &options).map_err(|error| {
                Error::new(
                    ErrorKind::CorruptFile,
                    format!("a value of type {from} cannot be read as {to} ({error})"),
                )
            })
        }
    }
}
