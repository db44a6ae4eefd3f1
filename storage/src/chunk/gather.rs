//! From chunks back to Arrow arrays: rows of several blocks, one after the other.
//!
//! Readers that can do with less are given less: decimals in 64 bits, texts as codes of a dictionary ([`compact_type`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBufferBuilder, DictionaryArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::*;

use super::integers::{AsInteger, primitive, with_integer_type};
use super::{BLOCK_ROWS, Chunk, Codes, Data};
use crate::error::{Error, Result};

/// The type in which values of a chunk can be had without being widened.
pub(crate) fn compact_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Decimal128(precision, scale) if *precision <= DECIMAL64_MAX_PRECISION => {
            Some(DataType::Decimal64(*precision, *scale))
        }
        DataType::Utf8View => {
            let codes = Box::new(DataType::UInt32);
            Some(DataType::Dictionary(codes, Box::new(DataType::Utf8View)))
        }
        _ => None,
    }
}

/// Collects rows of one chunk.
pub(crate) struct Gather {
    chunk: Arc<Chunk>,
    /// Of the arrays: the chunk's, or its compact one.
    data_type: DataType,
    kind: Box<dyn Kind>,
}

impl Gather {
    pub(crate) fn new(chunk: &Arc<Chunk>, data_type: &DataType) -> Self {
        let kind: Box<dyn Kind> = match &chunk.data {
            Data::Integers(_) => with_integer_type!(
                data_type,
                T => Box::new(Integers::<T> { values: Vec::new(), nulls: Validity::default() }),
                _ => Box::new(Pieces::default())
            ),
            Data::Dictionary { .. } => Box::new(Coded::default()),
            Data::Plain(_) => Box::new(Pieces::default()),
        };
        Self {
            chunk: Arc::clone(chunk),
            data_type: data_type.clone(),
            kind,
        }
    }

    /// All rows of a block, or those that are named, in that order.
    ///
    /// # Errors
    /// Arrow refuses to take them.
    pub(crate) fn add(&mut self, block: usize, rows: Option<&[u32]>) -> Result<()> {
        self.kind.add(&self.chunk, block, rows)
    }

    /// What was added since the last call.
    ///
    /// # Errors
    /// Arrow refuses to make one array of them.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        self.kind.finish(&self.chunk, &self.data_type)
    }
}

trait Kind: Send + Sync {
    fn add(&mut self, chunk: &Chunk, block: usize, rows: Option<&[u32]>) -> Result<()>;
    fn finish(&mut self, chunk: &Chunk, data_type: &DataType) -> Result<ArrayRef>;
}

struct Integers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: Validity,
}

impl<T: ArrowPrimitiveType<Native: AsInteger>> Kind for Integers<T> {
    fn add(&mut self, chunk: &Chunk, block: usize, rows: Option<&[u32]>) -> Result<()> {
        let Data::Integers(blocks) = &chunk.data else {
            return Err(Error::internal("a chunk changed its form"));
        };
        let block = &blocks[block];
        if self.values.capacity() == 0 {
            self.values.reserve(BLOCK_ROWS);
        }
        block.append_to(rows, &mut self.values);
        self.nulls.add(block.rows(), block.nulls(), rows);
        Ok(())
    }

    fn finish(&mut self, _: &Chunk, data_type: &DataType) -> Result<ArrayRef> {
        let values = std::mem::take(&mut self.values);
        Ok(primitive::<T>(values, self.nulls.finish(), data_type))
    }
}

/// Places in the dictionary.
#[derive(Default)]
struct Coded {
    codes: Vec<u32>,
    nulls: Validity,
}

impl Kind for Coded {
    fn add(&mut self, chunk: &Chunk, block: usize, rows: Option<&[u32]>) -> Result<()> {
        let Data::Dictionary { codes, nulls, .. } = &chunk.data else {
            return Err(Error::internal("a chunk changed its form"));
        };
        let start = block * BLOCK_ROWS;
        let block_rows = chunk.block_rows(block);
        let range = start..start + block_rows;
        match codes {
            Codes::U8(codes) => append_codes(&codes[range], rows, &mut self.codes),
            Codes::U16(codes) => append_codes(&codes[range], rows, &mut self.codes),
            Codes::U32(codes) => append_codes(&codes[range], rows, &mut self.codes),
        }
        let nulls = nulls.as_ref().map(|nulls| nulls.slice(start, block_rows));
        self.nulls.add(block_rows, nulls.as_ref(), rows);
        Ok(())
    }

    fn finish(&mut self, chunk: &Chunk, data_type: &DataType) -> Result<ArrayRef> {
        let Data::Dictionary { values, .. } = &chunk.data else {
            return Err(Error::internal("a chunk changed its form"));
        };
        let codes = UInt32Array::new(std::mem::take(&mut self.codes).into(), self.nulls.finish());
        Ok(match data_type {
            DataType::Dictionary(..) => Arc::new(DictionaryArray::try_new(codes, Arc::clone(values))?),
            _ => take(values, &codes, None)?,
        })
    }
}

fn append_codes<C: Copy + Into<u32>>(codes: &[C], rows: Option<&[u32]>, all: &mut Vec<u32>) {
    match rows {
        None => all.extend(codes.iter().map(|code| (*code).into())),
        Some(rows) => all.extend(rows.iter().map(|row| codes[*row as usize].into())),
    }
}

#[derive(Default)]
struct Pieces {
    pieces: Vec<ArrayRef>,
}

impl Kind for Pieces {
    fn add(&mut self, chunk: &Chunk, block: usize, rows: Option<&[u32]>) -> Result<()> {
        let Data::Plain(blocks) = &chunk.data else {
            return Err(Error::internal("a chunk changed its form"));
        };
        let block = &blocks[block];
        self.pieces.push(match rows {
            None => Arc::clone(block),
            Some(rows) => take(block, &UInt32Array::from(rows.to_vec()), None)?,
        });
        Ok(())
    }

    fn finish(&mut self, chunk: &Chunk, data_type: &DataType) -> Result<ArrayRef> {
        let mut pieces = std::mem::take(&mut self.pieces);
        let array = match pieces.len() {
            0 => arrow::array::new_empty_array(&chunk.data_type),
            1 => pieces.remove(0),
            _ => {
                let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
                concat(&pieces)?
            }
        };
        match data_type {
            // Nobody knows which texts are alike: each row has its own.
            DataType::Dictionary(..) => {
                let codes = UInt32Array::new((0..array.len() as u32).collect(), array.nulls().cloned());
                Ok(Arc::new(DictionaryArray::try_new(codes, array)?))
            }
            own if own == array.data_type() => Ok(array),
            other => Ok(cast(&array, other)?),
        }
    }
}

/// Texts that use little of the buffers they point into, copied out of these: operators that keep rows count whole buffers.
pub(crate) fn compact(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => {
            let views = array.as_string_view();
            match is_sparse(views.total_buffer_bytes_used(), views.data_buffers()) {
                true => Arc::new(views.gc()),
                false => array,
            }
        }
        DataType::BinaryView => {
            let views = array.as_binary_view();
            match is_sparse(views.total_buffer_bytes_used(), views.data_buffers()) {
                true => Arc::new(views.gc()),
                false => array,
            }
        }
        _ => array,
    }
}

fn is_sparse(used: usize, buffers: &[arrow::buffer::Buffer]) -> bool {
    used < buffers.iter().map(arrow::buffer::Buffer::len).sum::<usize>() / 2
}

/// The nulls of the rows so far, if there are any.
#[derive(Default)]
struct Validity {
    rows: usize,
    valid: Option<BooleanBufferBuilder>,
}

impl Validity {
    fn add(&mut self, block_rows: usize, nulls: Option<&NullBuffer>, rows: Option<&[u32]>) {
        let count = rows.map_or(block_rows, <[u32]>::len);
        if nulls.is_some() && self.valid.is_none() {
            let mut valid = BooleanBufferBuilder::new(self.rows + count);
            valid.append_n(self.rows, true);
            self.valid = Some(valid);
        }
        self.rows += count;
        let Some(valid) = &mut self.valid else {
            return;
        };
        match (nulls, rows) {
            (None, _) => valid.append_n(count, true),
            (Some(nulls), None) => valid.append_buffer(nulls.inner()),
            (Some(nulls), Some(rows)) => {
                for row in rows {
                    valid.append(nulls.is_valid(*row as usize));
                }
            }
        }
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        self.rows = 0;
        self.valid.take().map(|mut valid| NullBuffer::new(valid.finish()))
    }
}
