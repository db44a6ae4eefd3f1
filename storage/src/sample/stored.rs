//! A sample as statistics keep it (`summary.rs`): a small Parquet file of its own, with the table's field ids.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::RowSample;
use crate::decoding::decoding;
use crate::error::{Error, Result};
use crate::field_ids::{field_id, without_field_ids};
use crate::summary::SummaryBuilder;

/// In the schema's metadata: rows of the table.
const ROWS_TOTAL: &str = "staffa.row-count";

/// What says that it has more rows is not ours.
const ROWS_MAX: i64 = 1 << 16;

impl RowSample {
    /// What [`decode`](Self::decode) reads. `table` are the table's columns.
    ///
    /// # Errors
    /// `Internal`.
    pub fn encode(&self, table: &SchemaRef) -> Result<Bytes> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, place) in table.fields().iter().zip(&self.places) {
            let column = place.map(|place| self.rows.column(place));
            if let Some(column) = column.filter(|column| column.data_type() == field.data_type())
                && SummaryBuilder::knows(field.data_type())
            {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
        let metadata = HashMap::from([(ROWS_TOTAL.to_owned(), self.rows_total.to_string())]);
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
        if !columns.is_empty() {
            writer.write(&RecordBatch::try_new(schema, columns)?)?;
        }
        Ok(writer.into_inner()?.into())
    }

    /// The sample of a table that has these columns now. A column that was not sampled, or as another type, is not in it.
    ///
    /// # Errors
    /// `CorruptFile`.
    pub fn decode(bytes: &Bytes, table: &SchemaRef) -> Result<Self> {
        let reader = decoding(|| ParquetRecordBatchReaderBuilder::try_new(bytes.clone()))??;
        let own = Arc::clone(reader.schema());
        let rows_total = own.metadata().get(ROWS_TOTAL).and_then(|rows| rows.parse().ok());
        let rows_total = rows_total.filter(|_| reader.metadata().file_metadata().num_rows() <= ROWS_MAX);
        let rows_total = rows_total.ok_or_else(|| Error::corrupt("a sample does not say of how many rows it is"))?;

        let mut places = vec![None; table.fields().len()];
        let mut columns = Vec::new();
        for (place, field) in own.fields().iter().enumerate() {
            let mut of_table = table.fields().iter();
            let same = of_table.position(|known| field_id(known).is_some() && field_id(known) == field_id(field));
            if let Some(slot) = same
                && table.field(slot).data_type() == field.data_type()
                && places[slot].is_none()
            {
                places[slot] = Some(columns.len());
                columns.push(place);
            }
        }
        let mask = ProjectionMask::roots(reader.parquet_schema(), columns.clone());
        let mut batches = decoding(|| reader.with_projection(mask).build())??;
        let batches = decoding(|| batches.by_ref().collect::<Result<Vec<_>, _>>())??;
        let schema = without_field_ids(&own.project(&columns)?);
        let schema = Arc::new(Schema::new(schema.fields().clone()));
        let plain = batches.into_iter().map(|batch| {
            let batch = batch.columns().to_vec();
            RecordBatch::try_new(Arc::clone(&schema), batch)
        });
        let rows = concat_batches(&schema, &plain.collect::<Result<Vec<_>, _>>()?)?;
        Ok(Self {
            distinct: (0..rows.num_columns()).map(|_| OnceLock::new()).collect(),
            rows,
            places,
            rows_total,
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, StringViewArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::error::ErrorKind;
    use crate::field_ids::FIELD_ID_KEY;

    fn table(columns: &[(&str, DataType, i32)]) -> SchemaRef {
        let field = |(name, data_type, id): &(&str, DataType, i32)| {
            let id = HashMap::from([(FIELD_ID_KEY.to_owned(), id.to_string())]);
            Field::new(*name, data_type.clone(), true).with_metadata(id)
        };
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }

    fn sample(table: &SchemaRef) -> RowSample {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "c"]));
        RowSample {
            rows: RecordBatch::try_new(without_field_ids(table), vec![numbers, texts]).expect("rows"),
            places: vec![Some(0), Some(1)],
            rows_total: 300,
            distinct: Vec::new(),
        }
    }

    #[test]
    fn columns_are_found_by_their_ids() {
        let then = table(&[("a", DataType::Int32, 1), ("t", DataType::Utf8View, 2)]);
        let taken = sample(&then);
        let bytes = taken.encode(&then).expect("bytes");
        let same = RowSample::decode(&bytes, &then).expect("a sample");
        assert_eq!((same.rows(), same.rows_total), (taken.rows(), 300));

        // One is new, one has moved and has another name, one has another type.
        let now = table(&[
            ("new", DataType::Int32, 3),
            ("text", DataType::Utf8View, 2),
            ("a", DataType::Int64, 1),
        ]);
        let other = RowSample::decode(&bytes, &now).expect("a sample");
        assert_eq!(other.places, [None, Some(0), None]);
        assert_eq!(other.rows().column(0), taken.rows().column(1));
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let table = table(&[("a", DataType::Int32, 1), ("t", DataType::Utf8View, 2)]);
        let bytes = sample(&table).encode(&table).expect("bytes");
        let kinds = (0..bytes.len()).filter_map(|end| RowSample::decode(&bytes.slice(..end), &table).err());
        let kinds: Vec<_> = kinds.map(|error| error.kind()).collect();
        assert_eq!(kinds, vec![ErrorKind::CorruptFile; bytes.len()]);
    }
}
