//! Which files can hold a row that passes a filter: one pruning predicate over all files at once.
//!
//! A partition value says something about the column it was made from, and that is used as further bounds of that column:
//! `day(ts) = 19723` means ts lies between two midnights, `truncate(10, n) = 40` that n is 40 to 49, identity that all values
//! are one, a bucket that no value of another bucket is in the file. Each file is judged by its own partition spec,
//! so this holds across changes of the partitioning. (Iceberg's inclusive projections say the same about the filter.)

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use chrono::{Datelike, NaiveDate};
use datafusion::common::Column;
use datafusion::common::pruning::PruningStatistics;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::scalar::ScalarValue;
use staffa_catalog::{ColumnStatistics, DataFile, LiveFile, PartitionField, Table, Transform, Value};

use super::positions_by_id;
use super::statistics::may_hold_nan;
use crate::error::{Error, Result};
use crate::literal::scalar_of_value;
use crate::write::storage_transform;

/// The files that are left, and how many each kind of knowledge took away.
pub(super) struct Pruned {
    pub files: Vec<Arc<LiveFile>>,
    pub by_partition: usize,
    pub by_statistics: usize,
}

pub(super) fn prune(
    table: &Table,
    schema: &SchemaRef,
    files: &[Arc<LiveFile>],
    predicate: Option<&Arc<dyn PhysicalExpr>>,
) -> Result<Pruned> {
    let all = || Pruned {
        files: files.to_vec(),
        by_partition: 0,
        by_statistics: 0,
    };
    let Some(predicate) = predicate else { return Ok(all()) };
    if files.is_empty() {
        return Ok(all());
    }
    // A predicate that cannot be turned into one over bounds prunes nothing; that is not an error.
    let pruning = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .try_build(Arc::clone(predicate));
    let Ok(pruning) = pruning else { return Ok(all()) };
    if pruning.always_true() {
        return Ok(all());
    }
    let judge = |use_bounds: bool| -> Result<Vec<bool>> {
        let statistics = Files {
            table,
            schema,
            files,
            positions: positions_by_id(table),
            use_bounds,
        };
        pruning.prune(&statistics).map_err(Error::from)
    };
    let by_partitions = judge(false)?;
    let by_all = judge(true)?;
    let mut pruned = Pruned {
        files: Vec::new(),
        by_partition: 0,
        by_statistics: 0,
    };
    for ((file, partition_keeps), all_keep) in files.iter().zip(by_partitions).zip(by_all) {
        match (partition_keeps, all_keep) {
            (false, _) => pruned.by_partition += 1,
            (true, false) => pruned.by_statistics += 1,
            (true, true) => pruned.files.push(Arc::clone(file)),
        }
    }
    Ok(pruned)
}

/// The files as DataFusion's containers.
struct Files<'a> {
    table: &'a Table,
    schema: &'a SchemaRef,
    files: &'a [Arc<LiveFile>],
    positions: HashMap<i32, usize>,
    /// Whether bounds and null counts of columns are looked at, or partition values only.
    use_bounds: bool,
}

impl Files<'_> {
    fn column(&self, column: &Column) -> Option<(i32, &DataType)> {
        let index = self.schema.index_of(&column.name).ok()?;
        let field_id = self.table.schema().columns.get(index)?.field_id;
        debug_assert_eq!(self.positions.get(&field_id), Some(&index));
        Some((field_id, self.schema.field(index).data_type()))
    }

    fn partition_values<'b>(
        &'b self,
        file: &'b DataFile,
        source_id: i32,
    ) -> impl Iterator<Item = (&'b PartitionField, Option<&'b Value>)> {
        let fields = self
            .table
            .partition_specs()
            .get(&file.spec_id)
            .map_or(&[][..], |spec| &spec.fields[..]);
        fields
            .iter()
            .zip(&file.partition)
            .filter(move |(field, _)| field.source_id == source_id && field.transform != Transform::Void)
            .map(|(field, value)| (field, value.as_ref()))
    }

    fn known<'b>(&self, file: &'b DataFile, field_id: i32) -> Option<&'b ColumnStatistics> {
        if !self.use_bounds {
            return None;
        }
        file.columns.iter().find(|known| known.field_id == field_id)
    }

    fn bound(&self, file: &DataFile, field_id: i32, data_type: &DataType, lower: bool) -> Option<ScalarValue> {
        let own = self.known(file, field_id).and_then(|known| {
            if !lower && may_hold_nan(data_type, known.nan_count) {
                return None;
            }
            let value = if lower {
                known.lower.as_ref()
            } else {
                known.upper.as_ref()
            };
            value.and_then(|value| scalar_of_value(value, data_type))
        });
        self.partition_values(file, field_id)
            .filter_map(|(field, value)| {
                let (low, high) = range(field.transform, value?, data_type)?;
                if lower { low } else { high }
            })
            .fold(own, |tightest, next| match tightest {
                None => Some(next),
                Some(known) => {
                    let tighter = if lower { next > known } else { next < known };
                    Some(if tighter { next } else { known })
                }
            })
    }

    fn bounds(&self, column: &Column, lower: bool) -> Option<ArrayRef> {
        let (field_id, data_type) = self.column(column)?;
        let null = ScalarValue::try_new_null(data_type).ok()?;
        let mut any = false;
        let values: Vec<ScalarValue> = self
            .files
            .iter()
            .map(|file| {
                let bound = self.bound(file, field_id, data_type, lower);
                any |= bound.is_some();
                bound.unwrap_or_else(|| null.clone())
            })
            .collect();
        if any {
            ScalarValue::iter_to_array(values).ok()
        } else {
            None
        }
    }
}

impl PruningStatistics for Files<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, true)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, false)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (field_id, _) = self.column(column)?;
        let counts: UInt64Array = self
            .files
            .iter()
            .map(|file| {
                // Every transform gives null for null and for nothing else.
                let mut partition = self.partition_values(file, field_id).map(|(_, value)| value.is_none());
                match partition.next() {
                    Some(true) => Some(file.row_count),
                    Some(false) => Some(0),
                    None => self.known(file, field_id).map(|known| known.null_count),
                }
            })
            .collect();
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts: UInt64Array = self.files.iter().map(|file| Some(file.row_count)).collect();
        Some(Arc::new(counts))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let (field_id, data_type) = self.column(column)?;
        let mut any = false;
        let mut buckets: HashMap<u32, Option<HashSet<i32>>> = HashMap::new();
        let answers: BooleanArray = self
            .files
            .iter()
            .map(|file| {
                let mut answer = None;
                for (field, value) in self.partition_values(file, field_id) {
                    let Some(value) = value else { continue };
                    match (field.transform, value) {
                        (Transform::Identity, value) => {
                            if let Some(scalar) = scalar_of_value(value, data_type) {
                                answer = Some(values.contains(&scalar));
                            }
                        }
                        // In the bucket there may be other values, too; outside of it there is none of these.
                        (Transform::Bucket(count), Value::Int(bucket)) => {
                            let wanted = buckets
                                .entry(count)
                                .or_insert_with(|| buckets_of(values, count, data_type));
                            if wanted.as_ref().is_some_and(|wanted| !wanted.contains(bucket)) {
                                answer = Some(false);
                            }
                        }
                        _ => {}
                    }
                }
                any |= answer.is_some();
                answer
            })
            .collect();
        any.then_some(answers)
    }
}

/// The buckets of these values; `None` when one cannot be placed.
fn buckets_of(values: &HashSet<ScalarValue>, count: u32, data_type: &DataType) -> Option<HashSet<i32>> {
    let transform = storage_transform(Transform::Bucket(count))?;
    let mut buckets = HashSet::with_capacity(values.len());
    for value in values {
        if value.is_null() || &value.data_type() != data_type {
            return None;
        }
        let array = value.to_array().ok()?;
        let bucket = ScalarValue::try_from_array(&transform.apply(&array).ok()?, 0).ok()?;
        match bucket {
            ScalarValue::Int32(Some(bucket)) => buckets.insert(bucket),
            _ => return None,
        };
    }
    Some(buckets)
}

/// The least and greatest value of a column whose transform gives `value`; a side is `None` where it is not known.
#[allow(clippy::type_complexity)]
fn range(
    transform: Transform,
    value: &Value,
    data_type: &DataType,
) -> Option<(Option<ScalarValue>, Option<ScalarValue>)> {
    match transform {
        Transform::Identity => {
            let scalar = scalar_of_value(value, data_type)?;
            Some((Some(scalar.clone()), Some(scalar)))
        }
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => {
            let number = match value {
                Value::Int(number) | Value::Date(number) => *number,
                _ => return None,
            };
            Some((
                instant(transform, number, data_type),
                before(transform, number.checked_add(1)?, data_type),
            ))
        }
        Transform::Truncate(width) => truncated(width, value, data_type),
        Transform::Bucket(_) | Transform::Void => None,
    }
}

const DAY_MICROSECONDS: i64 = 86_400_000_000;
const HOUR_MICROSECONDS: i64 = 3_600_000_000;

/// The first value of the `number`th year, month, day or hour since 1970.
fn instant(transform: Transform, number: i32, data_type: &DataType) -> Option<ScalarValue> {
    let days = match transform {
        Transform::Year => first_day(number.checked_add(1970)?, 1)?,
        Transform::Month => first_day(
            1970 + number.div_euclid(12),
            u32::try_from(number.rem_euclid(12)).ok()? + 1,
        )?,
        Transform::Day => number,
        _ => {
            return match data_type {
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    timestamp(i64::from(number).checked_mul(HOUR_MICROSECONDS)?, data_type)
                }
                _ => None,
            };
        }
    };
    match data_type {
        DataType::Date32 => Some(ScalarValue::Date32(Some(days))),
        _ => timestamp(i64::from(days).checked_mul(DAY_MICROSECONDS)?, data_type),
    }
}

/// The last value before `instant`.
fn before(transform: Transform, number: i32, data_type: &DataType) -> Option<ScalarValue> {
    Some(match instant(transform, number, data_type)? {
        ScalarValue::Date32(Some(days)) => ScalarValue::Date32(Some(days.checked_sub(1)?)),
        ScalarValue::TimestampMicrosecond(Some(at), zone) => {
            ScalarValue::TimestampMicrosecond(Some(at.checked_sub(1)?), zone)
        }
        _ => return None,
    })
}

fn timestamp(microseconds: i64, data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Some(ScalarValue::TimestampMicrosecond(Some(microseconds), zone.clone()))
        }
        _ => None,
    }
}

fn first_day(year: i32, month: u32) -> Option<i32> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?.num_days_from_ce();
    Some(NaiveDate::from_ymd_opt(year, month, 1)?.num_days_from_ce() - epoch)
}

#[allow(clippy::type_complexity)]
fn truncated(width: u32, value: &Value, data_type: &DataType) -> Option<(Option<ScalarValue>, Option<ScalarValue>)> {
    let low = scalar_of_value(value, data_type);
    let last = i64::from(width) - 1;
    let high = match value {
        Value::Int(v) => i32::try_from(i64::from(*v) + last).ok().map(Value::Int),
        Value::Long(v) => v.checked_add(last).map(Value::Long),
        Value::Decimal {
            unscaled,
            precision,
            scale,
        } => unscaled.checked_add(i128::from(last)).map(|unscaled| Value::Decimal {
            unscaled,
            precision: *precision,
            scale: *scale,
        }),
        // Shorter than the width: the value was not cut.
        Value::String(v) if v.chars().count() < width as usize => Some(Value::String(v.clone())),
        Value::String(v) => next_string(v).map(Value::String),
        Value::Binary(v) if v.len() < width as usize => Some(Value::Binary(v.clone())),
        _ => None,
    };
    // `i16` may be left by the last value of the truncated range: then there is no bound on that side.
    Some((low, high.and_then(|high| scalar_of_value(&high, data_type))))
}

/// A string above every string that begins with this one: its last character that can be is increased.
fn next_string(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match u32::from(last) + 1 {
            0xD800 => Some('\u{E000}'),
            code => char::from_u32(code),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> i32 {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
        let days = text
            .parse::<NaiveDate>()
            .expect("a date")
            .signed_duration_since(epoch)
            .num_days();
        i32::try_from(days).expect("in range")
    }

    #[test]
    fn ranges_of_date_transforms() {
        let day = |text: &str| Some(ScalarValue::Date32(Some(date(text))));
        for (transform, number, low, high) in [
            (Transform::Year, 54, "2024-01-01", "2024-12-31"),
            (Transform::Year, -1, "1969-01-01", "1969-12-31"),
            (Transform::Month, 649, "2024-02-01", "2024-02-29"),
            (Transform::Month, -1, "1969-12-01", "1969-12-31"),
            (Transform::Day, 0, "1970-01-01", "1970-01-01"),
        ] {
            let found = range(transform, &Value::Int(number), &DataType::Date32).expect("a range");
            assert_eq!(found, (day(low), day(high)), "{transform} {number}");
        }
    }

    #[test]
    fn ranges_of_timestamp_transforms() {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        let found = range(Transform::Hour, &Value::Int(-1), &data_type).expect("a range");
        let at = |at: i64| Some(ScalarValue::TimestampMicrosecond(Some(at), None));
        assert_eq!(found, (at(-HOUR_MICROSECONDS), at(-1)));
        let found = range(Transform::Day, &Value::Date(1), &data_type).expect("a range");
        assert_eq!(found, (at(DAY_MICROSECONDS), at(2 * DAY_MICROSECONDS - 1)));
    }

    #[test]
    fn ranges_of_truncate() {
        let found = range(Transform::Truncate(10), &Value::Int(-10), &DataType::Int32).expect("a range");
        assert_eq!(
            found,
            (Some(ScalarValue::Int32(Some(-10))), Some(ScalarValue::Int32(Some(-1))))
        );
        let text = |text: &str| Some(ScalarValue::Utf8View(Some(text.to_string())));
        let found = range(Transform::Truncate(2), &Value::String("ab".into()), &DataType::Utf8View).expect("a range");
        assert_eq!(found, (text("ab"), text("ac")));
        let found = range(Transform::Truncate(3), &Value::String("ab".into()), &DataType::Utf8View).expect("a range");
        assert_eq!(found, (text("ab"), text("ab")));
        assert_eq!(next_string("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(next_string("\u{10FFFF}"), None);
        assert_eq!(next_string("\u{D7FF}").as_deref(), Some("\u{E000}"));
    }
}
