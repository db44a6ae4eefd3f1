//! Rows taken from many batches.
//!
//! Texts are copied together: views of them would hold the buffers of every batch that a row comes from.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, GenericByteArray, GenericByteViewArray,
    GenericByteViewBuilder, MAX_INLINE_VIEW_LEN, StringViewArray, make_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{
    ArrowNativeType, ByteArrayType, ByteViewType, DataType, LargeBinaryType, LargeUtf8Type, SchemaRef, i256,
};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::internal_err;
use datafusion::error::Result;

/// A row: the number of its batch, and of it within.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    pub(crate) batch: u32,
    pub(crate) row: u32,
}

impl Row {
    fn places(self) -> (usize, usize) {
        (self.batch as usize, self.row as usize)
    }
}

/// The columns of batches, from which rows are taken.
pub(crate) struct Columns(Vec<Column>);

struct Column {
    data_type: DataType,
    values: Values,
    /// None where no batch has nulls.
    nulls: Option<Vec<Option<NullBuffer>>>,
}

enum Values {
    Bytes1(Vec<ScalarBuffer<i8>>),
    Bytes2(Vec<ScalarBuffer<i16>>),
    Bytes4(Vec<ScalarBuffer<i32>>),
    Bytes8(Vec<ScalarBuffer<i64>>),
    Bytes16(Vec<ScalarBuffer<i128>>),
    Bytes32(Vec<ScalarBuffer<i256>>),
    Texts(Vec<StringViewArray>),
    Binaries(Vec<BinaryViewArray>),
    Others(Vec<ArrayRef>),
}

impl Columns {
    /// Of batches of this schema.
    pub(crate) fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Self {
        let columns = schema.fields().iter().enumerate();
        let columns = columns.map(|(index, field)| {
            let arrays: Vec<ArrayRef> = batches.iter().map(|batch| Arc::clone(batch.column(index))).collect();
            Column::new(field.data_type(), arrays)
        });
        Self(columns.collect())
    }

    /// The lengths of a row's texts.
    pub(crate) fn text_bytes(&self, row: Row) -> usize {
        let (batch, row) = row.places();
        let bytes = self.0.iter().map(|column| match &column.values {
            Values::Texts(arrays) => length(arrays[batch].views()[row]),
            Values::Binaries(arrays) => length(arrays[batch].views()[row]),
            _ => 0,
        });
        bytes.sum()
    }

    /// Rows of the first columns, as many as this schema has.
    pub(crate) fn take(&self, schema: &SchemaRef, rows: &[Row]) -> Result<RecordBatch> {
        self.made(schema, rows, |index| self.0[index].take(rows))
    }

    /// The same, of texts that stay where they are.
    pub(crate) fn share(&self, schema: &SchemaRef, rows: &[Row]) -> Result<RecordBatch> {
        self.made(schema, rows, |index| self.look_at(index, rows))
    }

    fn made(
        &self,
        schema: &SchemaRef,
        rows: &[Row],
        column: impl FnMut(usize) -> Result<ArrayRef>,
    ) -> Result<RecordBatch> {
        let columns = (0..schema.fields().len()).map(column);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            columns.collect::<Result<_>>()?,
            &options,
        )?)
    }

    /// Rows of one column, to look at: its texts are not copied.
    pub(crate) fn look_at(&self, index: usize, rows: &[Row]) -> Result<ArrayRef> {
        match &self.0[index].values {
            Values::Texts(arrays) => interleaved(arrays.iter().map(|array| array as _), rows),
            Values::Binaries(arrays) => interleaved(arrays.iter().map(|array| array as _), rows),
            _ => self.0[index].take(rows),
        }
    }
}

/// How much a batch's rows are without what they share with other batches.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let bytes = batch
        .columns()
        .iter()
        .map(|array| match array.data_type().primitive_width() {
            Some(width) => width * array.len(),
            None => match lengths(array) {
                Some(lengths) => size_of::<u128>() * array.len() + lengths.sum::<usize>(),
                None => {
                    let slice = array.to_data().get_slice_memory_size();
                    slice.unwrap_or_else(|_| array.get_array_memory_size())
                }
            },
        });
    bytes.sum()
}

impl Column {
    fn new(data_type: &DataType, arrays: Vec<ArrayRef>) -> Self {
        let nulls = arrays.iter().any(|array| array.null_count() > 0);
        let nulls = nulls.then(|| arrays.iter().map(|array| array.nulls().cloned()).collect());
        let values = match (data_type, data_type.primitive_width()) {
            // Their values need not lie where whole numbers as wide must.
            (DataType::Interval(_), _) => Values::Others(arrays),
            (_, Some(1)) => Values::Bytes1(buffers(&arrays)),
            (_, Some(2)) => Values::Bytes2(buffers(&arrays)),
            (_, Some(4)) => Values::Bytes4(buffers(&arrays)),
            (_, Some(8)) => Values::Bytes8(buffers(&arrays)),
            (_, Some(16)) => Values::Bytes16(buffers(&arrays)),
            (_, Some(32)) => Values::Bytes32(buffers(&arrays)),
            (DataType::Utf8View, _) => {
                Values::Texts(arrays.iter().map(|array| array.as_string_view().clone()).collect())
            }
            (DataType::BinaryView, _) => {
                Values::Binaries(arrays.iter().map(|array| array.as_binary_view().clone()).collect())
            }
            _ => Values::Others(arrays),
        };
        Self {
            data_type: data_type.clone(),
            values,
            nulls,
        }
    }

    fn take(&self, rows: &[Row]) -> Result<ArrayRef> {
        match &self.values {
            Values::Bytes1(buffers) => self.numbers(buffers, rows),
            Values::Bytes2(buffers) => self.numbers(buffers, rows),
            Values::Bytes4(buffers) => self.numbers(buffers, rows),
            Values::Bytes8(buffers) => self.numbers(buffers, rows),
            Values::Bytes16(buffers) => self.numbers(buffers, rows),
            Values::Bytes32(buffers) => self.numbers(buffers, rows),
            Values::Texts(arrays) => match copied::<LargeUtf8Type, _>(arrays, rows, self.nulls(rows))? {
                Some(texts) => Ok(Arc::new(StringViewArray::from(&texts))),
                None => Ok(Arc::new(short(arrays, rows))),
            },
            Values::Binaries(arrays) => match copied::<LargeBinaryType, _>(arrays, rows, self.nulls(rows))? {
                Some(bytes) => Ok(Arc::new(BinaryViewArray::from(&bytes))),
                None => Ok(Arc::new(short(arrays, rows))),
            },
            Values::Others(arrays) => interleaved(arrays.iter().map(AsRef::as_ref), rows),
        }
    }

    fn numbers<T: ArrowNativeType>(&self, buffers: &[ScalarBuffer<T>], rows: &[Row]) -> Result<ArrayRef> {
        let values = rows.iter().map(|row| {
            let (batch, row) = row.places();
            buffers[batch][row]
        });
        let values: ScalarBuffer<T> = values.collect::<Vec<T>>().into();
        let data = ArrayData::builder(self.data_type.clone())
            .len(rows.len())
            .add_buffer(values.into_inner())
            .nulls(self.nulls(rows))
            .build()?;
        Ok(make_array(data))
    }

    fn nulls(&self, rows: &[Row]) -> Option<NullBuffer> {
        let nulls = self.nulls.as_ref()?;
        let is_valid = |row: usize| {
            let (batch, row) = rows[row].places();
            nulls[batch].as_ref().is_none_or(|nulls| nulls.is_valid(row))
        };
        Some(NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), is_valid)))
    }
}

fn interleaved<'a>(arrays: impl Iterator<Item = &'a dyn Array>, rows: &[Row]) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = arrays.collect();
    if arrays.is_empty() {
        return internal_err!("rows of no batches");
    }
    let places: Vec<_> = rows.iter().map(|row| row.places()).collect();
    Ok(interleave(&arrays, &places)?)
}

/// Texts copied together; none where all are short enough to be views without a buffer. Reads of memory do not wait for each other: views first, then what they
/// point to.
fn copied<T, V>(
    arrays: &[GenericByteViewArray<V>],
    rows: &[Row],
    nulls: Option<NullBuffer>,
) -> Result<Option<GenericByteArray<T>>>
where
    T: ByteArrayType<Offset = i64>,
    V: ByteViewType,
{
    let length_of = |row: &Row| {
        let (batch, row) = row.places();
        match arrays[batch].is_null(row) {
            true => 0,
            false => length(arrays[batch].views()[row]),
        }
    };
    let lengths: Vec<usize> = rows.iter().map(length_of).collect();
    if lengths.iter().all(|length| *length <= MAX_INLINE_VIEW_LEN as usize) {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(lengths.iter().sum());
    for (row, length) in rows.iter().zip(&lengths) {
        let (batch, row) = row.places();
        if *length > 0 {
            bytes.extend_from_slice(arrays[batch].value(row).as_ref());
        }
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Some(GenericByteArray::try_new(offsets, bytes.into(), nulls)?))
}

fn short<V: ByteViewType>(arrays: &[GenericByteViewArray<V>], rows: &[Row]) -> GenericByteViewArray<V> {
    let mut builder = GenericByteViewBuilder::<V>::with_capacity(rows.len());
    for row in rows {
        let (batch, row) = row.places();
        match &arrays[batch] {
            array if array.is_valid(row) => builder.append_value(array.value(row)),
            _ => builder.append_null(),
        }
    }
    builder.finish()
}

/// The values of arrays whose values have all this width.
fn buffers<T: ArrowNativeType>(arrays: &[ArrayRef]) -> Vec<ScalarBuffer<T>> {
    let values = arrays.iter().map(|array| {
        let data = array.to_data();
        ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
    });
    values.collect()
}

/// Of views.
fn lengths(array: &ArrayRef) -> Option<impl Iterator<Item = usize>> {
    let views = match array.data_type() {
        DataType::Utf8View => array.as_string_view().views(),
        DataType::BinaryView => array.as_binary_view().views(),
        _ => return None,
    };
    Some(views.iter().copied().map(length))
}

/// The first four bytes of a view.
fn length(view: u128) -> usize {
    view as u32 as usize
}
