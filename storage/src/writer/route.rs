//! Which rows of a batch belong to which partition.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use datafusion::scalar::ScalarValue;

use super::WriteSpec;
use crate::error::Result;
use crate::transform::Transform;

/// The encoded partition values: equal bytes, equal partition.
pub(super) type PartitionKey = Arc<[u8]>;

pub(super) struct Router {
    partition: Vec<(usize, Transform)>,
    /// `None` for a table without partitions.
    converter: Option<RowConverter>,
}

impl Router {
    pub(super) fn new(spec: &WriteSpec) -> Result<Self> {
        let mut fields = Vec::with_capacity(spec.partition.len());
        for (column, transform) in &spec.partition {
            fields.push(SortField::new(
                transform.result_type(spec.schema.field(*column).data_type())?,
            ));
        }
        let converter = if fields.is_empty() {
            None
        } else {
            Some(RowConverter::new(fields)?)
        };
        Ok(Self {
            partition: spec.partition.clone(),
            converter,
        })
    }

    /// The batch cut into one batch per partition, rows in their order, partitions in the order of their first row.
    pub(super) fn route(&self, batch: &RecordBatch) -> Result<Vec<(PartitionKey, Vec<ScalarValue>, RecordBatch)>> {
        let Some(converter) = &self.converter else {
            return Ok(vec![(Arc::from([]), Vec::new(), batch.clone())]);
        };
        let transform = |(column, transform): &(usize, Transform)| transform.apply(batch.column(*column));
        let values: Vec<ArrayRef> = self.partition.iter().map(transform).collect::<Result<_>>()?;
        let keys = converter.convert_columns(&values)?;

        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        let mut last: Option<(&[u8], usize)> = None;
        let rows: Vec<arrow::row::Row<'_>> = keys.iter().collect();
        for (row, key) in rows.iter().enumerate() {
            let key = key.data();
            let group = match last {
                // Neighbours often belong together.
                Some((same, group)) if same == key => group,
                _ => *known.entry(key).or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                }),
            };
            last = Some((key, group));
            groups[group].push(row as u32);
        }

        let mut routed = Vec::with_capacity(groups.len());
        for indices in groups {
            let first = indices[0] as usize;
            let key = Arc::from(rows[first].data());
            let partition = values
                .iter()
                .map(|v| Ok(ScalarValue::try_from_array(v, first)?))
                .collect::<Result<Vec<_>>>()?;
            let contiguous = indices.len() == indices[indices.len() - 1] as usize - first + 1;
            let rows = match contiguous {
                true => batch.slice(first, indices.len()),
                false => take_record_batch(batch, &UInt32Array::from(indices))?,
            };
            routed.push((key, partition, rows));
        }
        Ok(routed)
    }
}
