//! Bounds and counts of a written file, from the statistics of its row groups. NaNs are counted as batches pass, because
//! Parquet's statistics leave them out and do not say so.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use datafusion::scalar::ScalarValue;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::ColumnBounds;
use super::schema::Leaf;
use crate::error::{Error, Result};

/// Leaf columns that get bounds: Iceberg's own default of `write.metadata.metrics.max-inferred-column-defaults`.
const COLUMNS_MAX: usize = 100;

/// NaNs seen so far, of each leaf column that can have any.
pub(super) struct NanCounts {
    counts: Vec<Option<(Vec<usize>, u64)>>,
}

impl NanCounts {
    pub(super) fn new(leaves: &[Leaf]) -> Self {
        let count = |leaf: &Leaf| leaf.data_type.is_floating().then(|| (leaf.path.clone(), 0));
        Self {
            counts: leaves.iter().take(COLUMNS_MAX).map(count).collect(),
        }
    }

    pub(super) fn add(&mut self, rows: &RecordBatch) {
        for (path, count) in self.counts.iter_mut().flatten() {
            let top = rows.column(path[0]);
            let column = path[1..]
                .iter()
                .fold(top, |column, index| column.as_struct().column(*index));
            *count += nans(column);
        }
    }
}

fn nans(column: &ArrayRef) -> u64 {
    let count = match column.data_type() {
        DataType::Float32 => column
            .as_primitive::<Float32Type>()
            .iter()
            .flatten()
            .filter(|v| v.is_nan())
            .count(),
        DataType::Float64 => column
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .filter(|v| v.is_nan())
            .count(),
        _ => 0,
    };
    count as u64
}

pub(super) fn column_bounds(leaves: &[Leaf], footer: &ParquetMetaData, nans: &NanCounts) -> Result<Vec<ColumnBounds>> {
    let with_nans = leaves.iter().zip(&nans.counts);
    with_nans
        .map(|(leaf, nans)| leaf_bounds(leaf, footer, nans.as_ref().map(|(_, count)| *count)))
        .collect()
}

fn leaf_bounds(leaf: &Leaf, footer: &ParquetMetaData, nan_count: Option<u64>) -> Result<ColumnBounds> {
    let mut bounds = ColumnBounds {
        field_id: leaf.field_id,
        size_bytes: 0,
        value_count: 0,
        null_count: 0,
        nan_count,
        lower: None,
        upper: None,
        bounds_exact: true,
    };
    // One row group with values but no statistics makes the bounds unknown.
    let mut known = true;
    for group in footer.row_groups() {
        let chunk = group.column(leaf.parquet_column);
        bounds.size_bytes += chunk.compressed_size() as u64;
        bounds.value_count += chunk.num_values() as u64;
        let statistics = chunk.statistics();
        let nulls = statistics
            .and_then(Statistics::null_count_opt)
            .ok_or_else(|| Error::internal("the encoder wrote no null count"))?;
        bounds.null_count += nulls;
        let Some(statistics) = statistics.filter(|s| s.min_bytes_opt().is_some() && s.max_bytes_opt().is_some()) else {
            known &= nulls == chunk.num_values() as u64 || nan_count.is_some();
            continue;
        };
        bounds.bounds_exact &= statistics.min_is_exact() && statistics.max_is_exact();
        let (low, high) = (
            scalar(statistics, &leaf.data_type, true)?,
            scalar(statistics, &leaf.data_type, false)?,
        );
        bounds.lower = Some(extreme(bounds.lower.take(), low, std::cmp::Ordering::Less));
        bounds.upper = Some(extreme(bounds.upper.take(), high, std::cmp::Ordering::Greater));
    }
    if !known || bounds.lower.is_none() {
        (bounds.lower, bounds.upper, bounds.bounds_exact) = (None, None, false);
    }
    Ok(bounds)
}

fn extreme(known: Option<ScalarValue>, new: ScalarValue, wanted: std::cmp::Ordering) -> ScalarValue {
    match known {
        Some(known) if new.partial_cmp(&known) != Some(wanted) => known,
        _ => new,
    }
}

/// A row group's minimum or maximum in the type of the column; texts as `Utf8`, binaries as `Binary`.
fn scalar(statistics: &Statistics, data_type: &DataType, lowest: bool) -> Result<ScalarValue> {
    macro_rules! pick {
        ($values:expr) => {
            if lowest {
                $values.min_opt()
            } else {
                $values.max_opt()
            }
        };
    }
    let bytes = || {
        if lowest {
            statistics.min_bytes_opt()
        } else {
            statistics.max_bytes_opt()
        }
    };
    let value = match (statistics, data_type) {
        (Statistics::Boolean(v), DataType::Boolean) => pick!(v).map(|v| ScalarValue::Boolean(Some(*v))),
        (Statistics::Int32(v), DataType::Int32) => pick!(v).map(|v| ScalarValue::Int32(Some(*v))),
        (Statistics::Int32(v), DataType::Date32) => pick!(v).map(|v| ScalarValue::Date32(Some(*v))),
        (Statistics::Int32(v), DataType::Decimal128(precision, scale)) => {
            pick!(v).map(|v| ScalarValue::Decimal128(Some(i128::from(*v)), *precision, *scale))
        }
        (Statistics::Int64(v), DataType::Int64) => pick!(v).map(|v| ScalarValue::Int64(Some(*v))),
        (Statistics::Int64(v), DataType::Decimal128(precision, scale)) => {
            pick!(v).map(|v| ScalarValue::Decimal128(Some(i128::from(*v)), *precision, *scale))
        }
        (Statistics::Int64(v), DataType::Time64(TimeUnit::Microsecond)) => {
            pick!(v).map(|v| ScalarValue::Time64Microsecond(Some(*v)))
        }
        (Statistics::Int64(v), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            pick!(v).map(|v| ScalarValue::TimestampMicrosecond(Some(*v), zone.clone()))
        }
        (Statistics::Float(v), DataType::Float32) => pick!(v).map(|v| ScalarValue::Float32(Some(*v))),
        (Statistics::Double(v), DataType::Float64) => pick!(v).map(|v| ScalarValue::Float64(Some(*v))),
        (Statistics::FixedLenByteArray(_), DataType::Decimal128(precision, scale)) => bytes()
            .and_then(signed_big_endian)
            .map(|v| ScalarValue::Decimal128(Some(v), *precision, *scale)),
        (Statistics::FixedLenByteArray(_), DataType::FixedSizeBinary(length)) => {
            bytes().map(|v| ScalarValue::FixedSizeBinary(*length, Some(v.to_vec())))
        }
        (Statistics::ByteArray(_), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => bytes()
            .and_then(|v| std::str::from_utf8(v).ok())
            .map(|v| ScalarValue::Utf8(Some(v.to_owned()))),
        (Statistics::ByteArray(_), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            bytes().map(|v| ScalarValue::Binary(Some(v.to_vec())))
        }
        _ => None,
    };
    value.ok_or_else(|| Error::internal(format!("the encoder's statistics do not fit type {data_type}")))
}

fn signed_big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first()? & 0x80 == 0 { 0x00 } else { 0xff };
    let mut wide = [sign; 16];
    let start = wide.len().checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}
