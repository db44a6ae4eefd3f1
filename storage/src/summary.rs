//! What a table's columns are like, and the Puffin file that keeps it: a theta sketch of each column, which other engines read
//! (`apache-datasketches-theta-v1`), one blob of our own with counts, common values and bounds of all of them
//! (`staffa-distributions-v1`), and one with a sample of rows (`staffa-row-sample-v1`, `sample.rs`).
//!
//! Sketches and counts are of all rows; common values and bounds of 30,000 rows, as PostgreSQL's, one picked at random out of each stretch of
//! the same length. A summary of more rows is made from the one before and those rows alone.

mod distribution;
mod theta;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, concat, filter, is_not_null, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::scalar::ScalarValue;
use moka::future::Cache;
use serde_json::{Value, json};

use self::distribution::{Points, TARGET, known_points};
use self::theta::ThetaSketch;
pub use self::values::number;
use crate::cache::weight;
use crate::error::{Error, Result};
use crate::field_ids::FIELD_ID_KEY;
use crate::puffin::{self, PuffinBlob};
use crate::sample::RowSample;
use crate::source::ParquetScan;

/// Rows that are picked: PostgreSQL's 300 for each of its targets.
const PICKED_ROWS: u64 = 300 * TARGET as u64;

/// Longer values are neither common ones nor bounds, as in PostgreSQL.
const VALUE_BYTES_MAX: usize = 1024;

/// Memory of all summaries that are kept.
const KEPT_BYTES_MAX: u64 = 64 << 20;

const SKETCH_BLOB: &str = "apache-datasketches-theta-v1";
const DISTRIBUTIONS_BLOB: &str = "staffa-distributions-v1";
const SAMPLE_BLOB: &str = "staffa-row-sample-v1";
/// The property of a sketch with what it says.
const DISTINCT: &str = "ndv";

/// What a table's columns are like.
#[derive(Clone, Debug)]
pub struct TableSummary {
    /// Rows that were looked at.
    pub rows: u64,
    /// Those among them that were picked by the one who made it.
    pub picked: usize,
    columns: BTreeMap<i32, Arc<ColumnSummary>>,
    /// As [`RowSample::encode`] gives it.
    sample: Option<Bytes>,
}

/// What a column is like.
#[derive(Clone, Debug)]
pub struct ColumnSummary {
    /// Of values as bytes.
    kind: String,
    rows: u64,
    nulls: u64,
    /// Of all values together, as PostgreSQL stores them.
    bytes: u64,
    sketch: ThetaSketch,
    distinct: f64,
    distribution: Distribution,
}

/// Common values, and bounds between which the others lie in equal numbers.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    common: ArrayRef,
    /// The share of rows each common value has.
    shares: Vec<f64>,
    bounds: ArrayRef,
    correlation: Option<f64>,
}

/// A file of statistics.
#[derive(Debug)]
pub struct StatisticsFile {
    /// The file.
    pub bytes: Bytes,
    /// Of its footer.
    pub footer_bytes: u64,
    /// What is in it, for the table's metadata: the sketches. Other blobs it does not name, as pyiceberg refuses kinds it does not know.
    pub blobs: Vec<PuffinBlob>,
}

impl TableSummary {
    /// What is known of a column, by its field id.
    pub fn column(&self, field_id: i32) -> Option<&Arc<ColumnSummary>> {
        self.columns.get(&field_id)
    }

    /// The file that keeps it.
    ///
    /// # Errors
    /// `Internal` beyond 4 GiB.
    pub fn encode(&self, snapshot_id: i64, sequence_number: i64) -> Result<StatisticsFile> {
        let blob = |kind: &str, fields, properties| PuffinBlob {
            kind: kind.to_owned(),
            fields,
            snapshot_id,
            sequence_number,
            properties,
        };
        let mut blobs = Vec::new();
        for (id, column) in &self.columns {
            let properties = BTreeMap::from([(DISTINCT.to_owned(), format!("{:.0}", column.sketch.estimate()))]);
            blobs.push((blob(SKETCH_BLOB, vec![*id], properties), column.sketch.to_bytes()));
        }
        let columns: Vec<Value> = self.columns.iter().map(|(id, column)| column.to_json(*id)).collect();
        let content = json!({"row-count": self.rows, "columns": columns}).to_string();
        let ids: Vec<i32> = self.columns.keys().copied().collect();
        blobs.push((
            blob(DISTRIBUTIONS_BLOB, ids.clone(), BTreeMap::new()),
            content.into_bytes(),
        ));
        if let Some(sample) = &self.sample {
            blobs.push((blob(SAMPLE_BLOB, ids, BTreeMap::new()), sample.to_vec()));
        }
        let file = puffin::encode(&blobs)?;
        Ok(StatisticsFile {
            bytes: file.bytes,
            footer_bytes: file.footer_bytes,
            blobs: blobs
                .into_iter()
                .map(|(blob, _)| blob)
                .filter(|blob| blob.kind == SKETCH_BLOB)
                .collect(),
        })
    }

    /// What a file keeps of the columns of this schema, which have field ids. `None` for a file of another engine.
    ///
    /// # Errors
    /// `CorruptFile` when it is damaged.
    pub fn decode(file: &[u8], schema: &SchemaRef) -> Result<Option<Self>> {
        let wrong = || Error::corrupt("a file of statistics does not hold what its footer says");
        let blobs = puffin::decode(file)?;
        let Some((_, content)) = blobs.iter().find(|(blob, _)| blob.kind == DISTRIBUTIONS_BLOB) else {
            return Ok(None);
        };
        let content: Value = serde_json::from_slice(content).map_err(|_| wrong())?;
        let rows = content["row-count"].as_u64().ok_or_else(wrong)?;
        let mut columns = BTreeMap::new();
        for field in schema.fields() {
            let id = field_id(field).ok_or_else(wrong)?;
            let described = content["columns"].as_array().into_iter().flatten();
            let described = described.into_iter().find(|column| column["id"] == id);
            let sketch = blobs
                .iter()
                .find(|(blob, _)| blob.kind == SKETCH_BLOB && blob.fields == [id]);
            let (Some(described), Some((_, sketch))) = (described, sketch) else {
                continue;
            };
            // Of a column that has another type now the values are others, and their hashes, too.
            let kind = values::kind(field.data_type());
            if kind.as_deref() != described["type"].as_str() {
                continue;
            }
            let sketch = ThetaSketch::from_bytes(sketch)?;
            let column = ColumnSummary::from_json(described, rows, sketch, field.data_type());
            columns.insert(id, Arc::new(column.ok_or_else(wrong)?));
        }
        let sample = blobs.iter().find(|(blob, _)| blob.kind == SAMPLE_BLOB);
        Ok(Some(Self {
            rows,
            picked: 0,
            columns,
            sample: sample.map(|(_, sample)| Bytes::copy_from_slice(sample)),
        }))
    }

    /// With a sample of the table's rows, as [`RowSample::encode`] gives it.
    pub fn with_sample(self, sample: Bytes) -> Self {
        Self {
            sample: Some(sample),
            ..self
        }
    }

    /// The sample of a table that has these columns now; none of statistics that have none, or a damaged one.
    pub fn sample(&self, table: &SchemaRef) -> Option<RowSample> {
        let sample = RowSample::decode(self.sample.as_ref()?, table);
        if let Err(error) = &sample {
            tracing::warn!(%error, "the sample of a file of statistics cannot be read");
        }
        sample.ok()
    }
}

impl ColumnSummary {
    /// The share of nulls.
    pub fn null_share(&self) -> f64 {
        self.nulls as f64 / (self.rows.max(1)) as f64
    }

    /// Rows that were looked at.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Different values there were, about.
    pub fn distinct(&self) -> f64 {
        self.distinct
    }

    /// The same of the table when it has so many rows: where most rows have a value of their own, more rows have more of them.
    pub fn distinct_in(&self, rows: u64) -> f64 {
        let now = match self.is_scaled() {
            true => self.distinct * rows as f64 / self.rows.max(1) as f64,
            false => self.distinct,
        };
        now.max(1.0)
    }

    /// Whether the number of different values grows with that of rows: PostgreSQL's rule for negative `n_distinct`.
    pub fn is_scaled(&self) -> bool {
        self.distinct > 0.1 * self.rows as f64
    }

    /// The mean length of values, in the bytes PostgreSQL has them in.
    pub fn width(&self) -> f64 {
        self.bytes as f64 / (self.rows - self.nulls).max(1) as f64
    }

    /// The most common values, and the share of rows each has.
    pub fn common(&self) -> (&ArrayRef, &[f64]) {
        (&self.distribution.common, &self.distribution.shares)
    }

    /// Between these there are as many of the other values.
    pub fn bounds(&self) -> &ArrayRef {
        &self.distribution.bounds
    }

    /// How the order of values hangs together with that of rows: 1 where it is the same.
    pub fn correlation(&self) -> Option<f64> {
        self.distribution.correlation
    }

    /// The share of rows that have this value; `None` of another type.
    pub fn equal_share(&self, value: &ScalarValue) -> Option<f64> {
        let value = self.own(value)?;
        if value.is_null(0) {
            return Some(0.0);
        }
        let Distribution { common, shares, .. } = &self.distribution;
        let compare = make_comparator(common, &value, SortOptions::default()).ok()?;
        if let Some(place) = (0..common.len()).find(|place| compare(*place, 0).is_eq()) {
            return shares.get(place).copied();
        }
        let others = self.distinct - common.len() as f64;
        // All there were are listed: it is one that came later, or that was not picked.
        let others_share = self.others_share();
        Some(match others >= 1.0 {
            true => others_share / others,
            false => others_share.max(0.5 / self.rows.max(1) as f64),
        })
    }

    /// The share of rows with values up to this one, itself too or not; `None` of another type.
    pub fn share_up_to(&self, value: &ScalarValue, inclusive: bool) -> Option<f64> {
        let value = self.own(value)?;
        let Distribution {
            common, shares, bounds, ..
        } = &self.distribution;
        let plain = SortOptions::default();
        let is_below = |order: std::cmp::Ordering| order.is_lt() || inclusive && order.is_eq();
        let compare = make_comparator(common, &value, plain).ok()?;
        let below = (0..common.len()).filter(|place| is_below(compare(*place, 0)));
        let below: f64 = below.filter_map(|place| shares.get(place)).sum();
        let compare = make_comparator(bounds, &value, plain).ok()?;
        let count = (0..bounds.len()).filter(|place| is_below(compare(*place, 0))).count();
        let others = match count {
            0 => 0.0,
            all if all == bounds.len() => 1.0,
            some => {
                // Within a space values lie evenly, as far as they are numbers.
                let number = |values: &ArrayRef, place| {
                    let value = ScalarValue::try_from_array(values, place).ok()?;
                    number(&value)
                };
                let ends = number(bounds, some - 1)
                    .zip(number(bounds, some))
                    .zip(number(&value, 0));
                let inside = match ends {
                    Some(((least, largest), value)) if largest > least => (value - least) / (largest - least),
                    _ => 0.5,
                };
                ((some - 1) as f64 + inside.clamp(0.0, 1.0)) / (bounds.len() - 1) as f64
            }
        };
        match bounds.len() + common.len() {
            0 => None,
            _ => Some((below + others * self.others_share()).clamp(0.0, 1.0)),
        }
    }

    /// The share of rows with values that are not listed.
    fn others_share(&self) -> f64 {
        let listed: f64 = self.distribution.shares.iter().sum();
        (1.0 - listed - self.null_share()).max(0.0)
    }

    /// The value as one of the column's.
    fn own(&self, value: &ScalarValue) -> Option<ArrayRef> {
        let value = value.cast_to(self.distribution.common.data_type()).ok()?;
        value.to_array().ok()
    }

    fn to_json(&self, id: i32) -> Value {
        let Distribution {
            common,
            shares,
            bounds,
            correlation,
        } = &self.distribution;
        let hex = |values: &ArrayRef, place| values::to_bytes(values, place).map(|bytes| hex(&bytes));
        let common = shares
            .iter()
            .enumerate()
            .map(|(place, share)| json!([hex(common, place), share]));
        let bounds = (0..bounds.len()).map(|place| json!(hex(bounds, place)));
        json!({
            "id": id,
            "type": self.kind,
            "nulls": self.nulls,
            "bytes": self.bytes,
            "correlation": correlation,
            "common": common.collect::<Vec<_>>(),
            "bounds": bounds.collect::<Vec<_>>(),
        })
    }

    fn from_json(column: &Value, rows: u64, sketch: ThetaSketch, data_type: &DataType) -> Option<Self> {
        let (mut common, mut shares, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
        for value in column["common"].as_array()? {
            common.push(unhex(value[0].as_str()?)?);
            shares.push(value[1].as_f64()?);
        }
        for value in column["bounds"].as_array()? {
            bounds.push(unhex(value.as_str()?)?);
        }
        let nulls = column["nulls"].as_u64().filter(|nulls| *nulls <= rows)?;
        Some(Self {
            kind: column["type"].as_str()?.to_owned(),
            rows,
            nulls,
            bytes: column["bytes"].as_u64()?,
            distinct: sketch.estimate().min((rows - nulls) as f64),
            sketch,
            distribution: Distribution {
                common: values::from_bytes(data_type, &common)?,
                shares,
                bounds: values::from_bytes(data_type, &bounds)?,
                correlation: column["correlation"].as_f64(),
            },
        })
    }

    /// The same column with more rows.
    fn grown(&self, picked: &Picked, sample: &ArrayRef, rows_added: u64) -> Result<Self> {
        let mut sketch = self.sketch.clone();
        sketch.unite(&picked.sketch);
        let (rows, nulls) = (self.rows + rows_added, self.nulls + picked.nulls);
        let unit = rows_added as f64 / sample.len().max(1) as f64;
        let before = self.rows as f64;
        let (known, worth) = known_points(&self.distribution, before, self.null_share(), unit.max(1.0))?;
        let values = valid(sample)?;
        let points = Points {
            picked: values.len(),
            values: concat(&[&values, &known])?,
            known: worth,
            sampled: sample.len() as f64 + before / unit.max(1.0),
            rows: rows as f64,
            null_share: nulls as f64 / rows.max(1) as f64,
            distinct: sketch.estimate(),
        };
        let mut distribution = points.distribution()?;
        distribution.correlation = self.distribution.correlation;
        Ok(Self {
            kind: self.kind.clone(),
            rows,
            nulls,
            bytes: self.bytes + picked.bytes,
            distinct: sketch.estimate().min((rows - nulls) as f64),
            sketch,
            distribution,
        })
    }
}

/// Collects a summary from the rows of a scan, or of a part of it.
pub struct SummaryBuilder {
    schema: SchemaRef,
    columns: Vec<Picked>,
    rows: u64,
    sample: Vec<RecordBatch>,
    sample_bytes: usize,
    /// Rows of each stretch one of which is picked.
    stretch: u64,
    stretch_start: u64,
    next: u64,
    random: u64,
    memory: MemoryReservation,
}

/// Of a column, what is counted of all rows.
struct Picked {
    sketch: ThetaSketch,
    nulls: u64,
    bytes: u64,
}

impl SummaryBuilder {
    /// Whether values of a column can be summed up.
    pub fn knows(data_type: &DataType) -> bool {
        values::kind(data_type).is_some()
    }

    /// For rows of these columns, which have field ids and types that it knows, and come in a number of `rows_expected` all together.
    pub fn new(schema: SchemaRef, rows_expected: u64, memory: &Arc<dyn MemoryPool>) -> Self {
        let columns = schema.fields().iter().map(|_| Picked {
            sketch: ThetaSketch::new(),
            nulls: 0,
            bytes: 0,
        });
        Self {
            columns: columns.collect(),
            schema,
            rows: 0,
            sample: Vec::new(),
            sample_bytes: 0,
            stretch: rows_expected.div_ceil(PICKED_ROWS).max(1),
            stretch_start: 0,
            next: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            memory: MemoryConsumer::new("Analyze").register(memory),
        }
    }

    /// Takes rows.
    ///
    /// # Errors
    /// When memory is short.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for (column, picked) in batch.columns().iter().zip(&mut self.columns) {
            picked.nulls += column.null_count() as u64;
            picked.bytes += values::width(column);
            values::for_each(column, |value| picked.sketch.add(value));
        }
        let end = self.rows + batch.num_rows() as u64;
        let mut rows = Vec::new();
        while self.next < end {
            // Inside a batch, which has fewer than 2^32 rows.
            rows.push((self.next - self.rows) as u32);
            self.stretch_start += self.stretch;
            self.next = self.stretch_start + self.random() % self.stretch;
        }
        self.rows = end;
        if !rows.is_empty() {
            let picked = take_record_batch(batch, &UInt32Array::from(rows))?;
            let columns = picked.columns().iter().map(crate::sample::compact).collect();
            let picked = RecordBatch::try_new(picked.schema(), columns)?;
            self.sample_bytes += picked.get_array_memory_size();
            self.sample.push(picked);
        }
        let sketches: usize = self.columns.iter().map(|column| column.sketch.weight()).sum();
        Ok(self.memory.try_resize(self.sample_bytes + sketches)?)
    }

    /// The summary of what all parts have seen, on top of what was known of other rows.
    ///
    /// # Errors
    /// When memory is short.
    pub fn finish(parts: Vec<Self>, before: Option<&TableSummary>) -> Result<Option<TableSummary>> {
        let mut parts = parts.into_iter();
        let Some(mut all) = parts.next() else {
            return Ok(None);
        };
        // Held until it is made.
        let mut memory = vec![all.memory.take()];
        for part in parts {
            for (column, other) in all.columns.iter_mut().zip(&part.columns) {
                column.sketch.unite(&other.sketch);
                column.nulls += other.nulls;
                column.bytes += other.bytes;
            }
            all.rows += part.rows;
            all.sample.extend(part.sample);
            memory.push(part.memory);
        }
        let before_rows = before.map_or(0, |before| before.rows);
        let mut columns = BTreeMap::new();
        for (place, (field, picked)) in all.schema.fields().iter().zip(&all.columns).enumerate() {
            let (Some(id), Some(kind)) = (field_id(field), values::kind(field.data_type())) else {
                continue;
            };
            let sampled: Vec<&dyn Array> = all.sample.iter().map(|batch| batch.column(place).as_ref()).collect();
            let sample = match sampled.is_empty() {
                true => arrow::array::new_empty_array(field.data_type()),
                false => concat(&sampled)?,
            };
            let column = match before {
                None => picked.summary(kind, all.rows, &sample)?,
                Some(before) => match before.column(id) {
                    Some(column) => column.grown(picked, &sample, all.rows)?,
                    // Nothing is known of the rows before: another time.
                    None => continue,
                },
            };
            columns.insert(id, Arc::new(column));
        }
        Ok(Some(TableSummary {
            rows: before_rows + all.rows,
            picked: all.sample.iter().map(RecordBatch::num_rows).sum(),
            columns,
            sample: None,
        }))
    }

    /// Xorshift: what is picked needs no better.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Picked {
    fn summary(&self, kind: String, rows: u64, sample: &ArrayRef) -> Result<ColumnSummary> {
        let distinct = self.sketch.estimate().min((rows - self.nulls) as f64);
        let values = valid(sample)?;
        let points = Points {
            picked: values.len(),
            values,
            known: Vec::new(),
            sampled: sample.len() as f64,
            rows: rows as f64,
            null_share: self.nulls as f64 / rows.max(1) as f64,
            distinct,
        };
        Ok(ColumnSummary {
            kind,
            rows,
            nulls: self.nulls,
            bytes: self.bytes,
            sketch: self.sketch.clone(),
            distinct,
            distribution: points.distribution()?,
        })
    }
}

/// The values that are not null, and not too long.
fn valid(sample: &ArrayRef) -> Result<ArrayRef> {
    use arrow::array::{AsArray, BooleanArray};
    let is_short: BooleanArray = match sample.data_type() {
        DataType::Utf8View => {
            let texts = sample.as_string_view().iter();
            texts
                .map(|text| Some(text.is_some_and(|text| text.len() <= VALUE_BYTES_MAX)))
                .collect()
        }
        DataType::BinaryView => {
            let texts = sample.as_binary_view().iter();
            texts
                .map(|text| Some(text.is_some_and(|text| text.len() <= VALUE_BYTES_MAX)))
                .collect()
        }
        _ => is_not_null(sample)?,
    };
    Ok(filter(sample, &is_short)?)
}

fn field_id(field: &arrow::datatypes::Field) -> Option<i32> {
    field.metadata().get(FIELD_ID_KEY)?.parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    digits.map(byte).collect()
}

/// Summaries by the location of their file.
pub(crate) struct Summaries(Cache<String, Option<Arc<TableSummary>>>);

impl Summaries {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let bytes_max = KEPT_BYTES_MAX.min(bytes_max);
        let weigh = |key: &String, summary: &Option<Arc<TableSummary>>| {
            let bytes: usize = summary
                .iter()
                .flat_map(|summary| summary.columns.values())
                .map(|it| it.weight())
                .sum();
            let sample = summary.as_ref().and_then(|summary| summary.sample.as_ref());
            weight(key.len() + bytes + sample.map_or(0, Bytes::len))
        };
        Self(Cache::builder().max_capacity(bytes_max).weigher(weigh).build())
    }
}

impl ColumnSummary {
    fn weight(&self) -> usize {
        let Distribution { common, bounds, .. } = &self.distribution;
        common.get_array_memory_size() + bounds.get_array_memory_size() + self.sketch.weight()
    }
}

impl ParquetScan {
    /// What the file of statistics at this location says of the columns of a table, which `key` names besides. `None`
    /// when it is another engine's, or cannot be read: estimates are made without it then.
    pub async fn summary(&self, location: &str, schema: &SchemaRef, key: &str) -> Option<Arc<TableSummary>> {
        let read = async {
            // A store that does not answer is asked again the next time.
            let bytes = self.stores().get(location).await?;
            let decoded = TableSummary::decode(&bytes, schema);
            if let Err(error) = &decoded {
                tracing::warn!(location, %error, "a file of statistics cannot be read");
            }
            Ok::<_, Error>(decoded.ok().flatten().map(Arc::new))
        };
        let kept = self.summaries().0.try_get_with(format!("{key} {location}"), read);
        kept.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests;
