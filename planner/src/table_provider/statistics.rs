//! What the catalog knows of a file, as DataFusion's statistics.
//!
//! Row and null counts are exact in a file without row-level deletes. A bound is exact only when it is a value of the
//! column, and no row-level delete can have taken that away; DataFusion answers `min()` and `max()` from exact ones. NaN is larger than every number in SQL and outside the bounds
//! of Iceberg, so a float column has an upper bound only where it is known to hold no NaN.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{DataFile, LiveFile, Table, Transform};

use super::positions_by_id;
use crate::literal::scalar_of_value;

/// Statistics of one file, in the order of the table's columns.
pub(super) fn of_file(table: &Table, schema: &Schema, file: &LiveFile) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(to_usize(file.row_count));
    statistics.total_byte_size = Precision::Inexact(to_usize(file.size_bytes));
    let positions = positions_by_id(table);
    for known in &file.columns {
        let Some(index) = positions.get(&known.field_id) else {
            continue;
        };
        let data_type = schema.field(*index).data_type();
        // A leaf inside a list or struct has another id than the column, so this is the column itself.
        let column = &mut statistics.column_statistics[*index];
        column.null_count = Precision::Exact(to_usize(known.null_count));
        let precision = |value: Option<ScalarValue>| match value {
            Some(value) if known.bounds_exact => Precision::Exact(value),
            Some(value) => Precision::Inexact(value),
            None => Precision::Absent,
        };
        let bound =
            |value: &Option<staffa_catalog::Value>| value.as_ref().and_then(|value| scalar_of_value(value, data_type));
        column.min_value = precision(bound(&known.lower));
        column.max_value = if may_hold_nan(data_type, known.nan_count) {
            Precision::Absent
        } else {
            precision(bound(&known.upper))
        };
        if may_hold_nan(data_type, known.nan_count) {
            // The least value is a NaN if all are.
            column.min_value = column.min_value.clone().to_inexact();
        }
    }
    if file.has_deletes() {
        statistics = statistics.to_inexact();
        statistics.num_rows = Precision::Inexact(to_usize(file.row_count - file.deleted_count()));
    }
    statistics
}

/// Statistics of all files together.
pub(super) fn of_files(table: &Table, schema: &Schema, files: &[std::sync::Arc<LiveFile>]) -> Statistics {
    let mut total = Statistics::new_unknown(schema);
    let rows: u64 = files.iter().map(|file| file.row_count - file.deleted_count()).sum();
    let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    total.num_rows = match files.iter().any(|file| file.has_deletes()) {
        true => Precision::Inexact(to_usize(rows)),
        false => Precision::Exact(to_usize(rows)),
    };
    total.total_byte_size = Precision::Inexact(to_usize(bytes));
    let mut columns: Option<Vec<ColumnStatistics>> = None;
    for file in files {
        let next = of_file(table, schema, file).column_statistics;
        columns = Some(match columns {
            None => next,
            Some(known) => known.into_iter().zip(next).map(|(a, b)| merge(a, &b)).collect(),
        });
    }
    if let Some(columns) = columns {
        total.column_statistics = columns;
    }
    total
}

fn merge(mut a: ColumnStatistics, b: &ColumnStatistics) -> ColumnStatistics {
    a.null_count = a.null_count.add(&b.null_count);
    a.min_value = a.min_value.min(&b.min_value);
    a.max_value = a.max_value.max(&b.max_value);
    a
}

/// Identity partition values: the one value a column has in a file, for files that do not store the column.
pub(super) fn constants(table: &Table, schema: &Schema, file: &DataFile) -> HashMap<i32, ScalarValue> {
    let mut constants = HashMap::new();
    let Some(spec) = table.partition_specs().get(&file.spec_id) else {
        return constants;
    };
    let positions = positions_by_id(table);
    for (field, value) in spec.fields.iter().zip(&file.partition) {
        if field.transform != Transform::Identity {
            continue;
        }
        let Some(index) = positions.get(&field.source_id) else {
            continue;
        };
        let data_type = schema.field(*index).data_type();
        let scalar = match value {
            Some(value) => scalar_of_value(value, data_type),
            None => ScalarValue::try_new_null(data_type).ok(),
        };
        if let Some(scalar) = scalar {
            constants.insert(field.source_id, scalar);
        }
    }
    constants
}

pub(super) fn may_hold_nan(data_type: &DataType, nan_count: Option<u64>) -> bool {
    data_type.is_floating() && nan_count != Some(0)
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
