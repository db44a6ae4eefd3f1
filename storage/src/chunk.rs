//! A column of one row group, decoded and kept compact: what the cache of chunks holds (`cache.rs`).
//!
//! A chunk is a row of blocks of [`BLOCK_ROWS`] rows, each of which can be read on its own:
//!
//! * integers, dates, times and decimals that fit 64 bits as offsets from the block's least value, in 8, 16, 32 or 64 bits
//!   (`chunk/integers.rs`); with the greatest value that is the block's zone map, too;
//! * texts of which few are distinct as codes into one dictionary, the file's or one that is made while they are read;
//! * everything else as the Arrow array that the Parquet reader gave.
//!
//! Filters are answered on offsets and codes; only rows that are wanted become Arrow arrays again ([`Gather`]).

mod gather;
mod integers;

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayBuilder, ArrayData, ArrayRef, AsArray, BooleanArray, StringArray, StringDictionaryBuilder,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Int32Type, UInt32Type};

use crate::error::{Error, Result};

pub(crate) use gather::{Gather, compact, compact_type};
use integers::{IntegerBlock, values_as_integers};
pub(crate) use integers::{array_of_integers, is_integer_like, scalar_as_integer};

/// Rows of a block. The last one of a chunk may have fewer.
pub(crate) const BLOCK_ROWS: usize = 8192;

/// A dictionary with more entries than this share of the rows, or more bytes of text than processors have near, is not worth its
/// indirection.
const DICTIONARY_SHARE: usize = 4;
const DICTIONARY_BYTES_MAX: usize = 16 << 20;

/// Rows after which a dictionary that is being made is looked at for the first time.
const ROWS_TRIED: usize = 1024;

/// Rows of a block for which a condition is true.
#[derive(Debug, Clone)]
pub(crate) enum Selected {
    None,
    All,
    Some(BooleanBuffer),
}

impl Selected {
    pub(crate) fn of(rows: BooleanBuffer) -> Self {
        match rows.count_set_bits() {
            0 => Self::None,
            count if count == rows.len() => Self::All,
            _ => Self::Some(rows),
        }
    }

    /// The rows of both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, rows) | (rows, Self::All) => rows.clone(),
            (Self::Some(a), Self::Some(b)) => Self::of(a & b),
        }
    }

    /// How many of the block's rows.
    pub(crate) fn count(&self, block_rows: usize) -> usize {
        match self {
            Self::None => 0,
            Self::All => block_rows,
            Self::Some(rows) => rows.count_set_bits(),
        }
    }
}

/// A decoded column of a row group.
#[derive(Debug)]
pub(crate) struct Chunk {
    data_type: DataType,
    rows: usize,
    data: Data,
    bytes: usize,
    /// When it was asked for last, by the cache's count.
    used: AtomicU64,
}

#[derive(Debug)]
enum Data {
    Integers(Vec<IntegerBlock>),
    Dictionary {
        /// The texts, in the chunk's type.
        values: ArrayRef,
        codes: Codes,
        nulls: Option<NullBuffer>,
    },
    Plain(Vec<ArrayRef>),
}

#[derive(Debug)]
enum Codes {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

/// The values a chunk may have, when they are few: a condition on them alone is asked once for each.
pub(crate) enum Domain<'a> {
    Texts(&'a ArrayRef),
    Integers(RangeInclusive<i64>),
}

impl Chunk {
    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Memory that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn block_rows(&self, block: usize) -> usize {
        BLOCK_ROWS.min(self.rows - block * BLOCK_ROWS)
    }

    /// The chunk's values as integers, when it keeps them so.
    pub(crate) fn is_integers(&self) -> bool {
        matches!(self.data, Data::Integers(_))
    }

    /// Whether a value is null.
    pub(crate) fn has_nulls(&self) -> bool {
        match &self.data {
            Data::Integers(blocks) => blocks.iter().any(IntegerBlock::has_nulls),
            Data::Dictionary { nulls, .. } => nulls.as_ref().is_some_and(|nulls| nulls.null_count() > 0),
            Data::Plain(blocks) => blocks.iter().any(|block| block.null_count() > 0),
        }
    }

    /// The rows of a block whose values, as integers, are in a range; none that is null.
    pub(crate) fn select_range(&self, block: usize, range: &RangeInclusive<i64>) -> Option<Selected> {
        match &self.data {
            Data::Integers(blocks) => Some(blocks[block].select_range(range)),
            _ => None,
        }
    }

    /// The rows of a block that are not null and have another value.
    pub(crate) fn select_other_than(&self, block: usize, value: i64) -> Option<Selected> {
        match &self.data {
            Data::Integers(blocks) => Some(blocks[block].select_other_than(value)),
            _ => None,
        }
    }

    /// The distinct values, or those between the least and the greatest, if that are not many more.
    pub(crate) fn domain(&self) -> Option<Domain<'_>> {
        match &self.data {
            Data::Dictionary { values, .. } => Some(Domain::Texts(values)),
            Data::Integers(blocks) => {
                let least = blocks.iter().filter_map(IntegerBlock::least).min()?;
                let greatest = blocks.iter().filter_map(IntegerBlock::greatest).max()?;
                let span = greatest.checked_sub(least)?;
                let few = usize::try_from(span).is_ok_and(|span| span < self.rows / DICTIONARY_SHARE);
                few.then_some(Domain::Integers(least..=greatest))
            }
            Data::Plain(_) => None,
        }
    }

    /// The rows of a block whose place in the domain passes, and nulls if these pass.
    pub(crate) fn select_in_domain(&self, block: usize, passes: &[bool], least: i64, null_passes: bool) -> Selected {
        let rows = self.block_rows(block);
        let (selected, nulls) = match &self.data {
            Data::Integers(blocks) => return blocks[block].select_in_domain(passes, least, null_passes),
            Data::Plain(_) => return Selected::All,
            Data::Dictionary { codes, nulls, .. } => {
                let start = block * BLOCK_ROWS;
                let range = start..start + rows;
                let selected = match codes {
                    Codes::U8(codes) => select_codes(&codes[range], passes),
                    Codes::U16(codes) => select_codes(&codes[range], passes),
                    Codes::U32(codes) => select_codes(&codes[range], passes),
                };
                (selected, nulls.as_ref().map(|nulls| nulls.slice(start, rows)))
            }
        };
        Selected::of(with_nulls(selected, nulls.as_ref(), null_passes))
    }

    /// A block as an Arrow array: all rows, or those that are named.
    pub(crate) fn read(self: &Arc<Self>, block: usize, rows: Option<&[u32]>) -> Result<ArrayRef> {
        let mut gather = Gather::new(self, &self.data_type);
        gather.add(block, rows)?;
        gather.finish()
    }
}

/// Nulls pass or not, whatever was found for the values that stand in their places.
fn with_nulls(selected: BooleanBuffer, nulls: Option<&NullBuffer>, null_passes: bool) -> BooleanBuffer {
    match nulls {
        None => selected,
        Some(nulls) if null_passes => &selected | &!nulls.inner(),
        Some(nulls) => &selected & nulls.inner(),
    }
}

fn select_codes<C: Copy + Into<u32>>(codes: &[C], passes: &[bool]) -> BooleanBuffer {
    bits_of(codes, |code| passes[code.into() as usize])
}

/// A bit for each value. First a byte for each, of which compilers make vector instructions; then the bits of eight of them at a time, by a product that
/// brings bit 0 of byte n to bit 56 + n.
fn bits_of<T: Copy>(values: &[T], passes: impl Fn(T) -> bool) -> BooleanBuffer {
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let word = |values: &[T]| {
        let mut bytes = [0; 64];
        for (byte, value) in bytes.iter_mut().zip(values) {
            *byte = u8::from(passes(*value));
        }
        let (eights, _) = bytes.as_chunks::<8>();
        let bits = eights
            .iter()
            .map(|eight| u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56);
        bits.enumerate()
            .fold(0, |word, (place, bits)| word | bits << (8 * place))
    };
    let (whole, rest) = values.as_chunks::<64>();
    let mut words: Vec<u64> = whole.iter().map(|values| word(values)).collect();
    if !rest.is_empty() {
        words.push(word(rest));
    }
    BooleanBuffer::new(words.into(), 0, values.len())
}

/// Takes the blocks of a chunk as the Parquet reader gives them.
pub(crate) struct ChunkBuilder {
    data_type: DataType,
    /// Of the whole chunk.
    rows: usize,
    /// So far.
    pushed: usize,
    building: Building,
    /// Of texts that came without a dictionary, for as long as one may be worth it.
    distinct: Option<Distinct>,
}

enum Building {
    Integers(Vec<IntegerBlock>),
    Dictionary {
        values: ArrayRef,
        codes: Vec<u32>,
        nulls: Vec<Option<NullBuffer>>,
    },
    Plain(Vec<ArrayRef>),
}

impl ChunkBuilder {
    /// For a chunk of `rows` rows; `data_type` is the type that readers of the chunk see.
    pub(crate) fn new(data_type: &DataType, rows: usize) -> Self {
        let building = match is_integer_like(data_type) {
            true => Building::Integers(Vec::with_capacity(rows.div_ceil(BLOCK_ROWS))),
            false => Building::Plain(Vec::with_capacity(rows.div_ceil(BLOCK_ROWS))),
        };
        Self {
            data_type: data_type.clone(),
            rows,
            pushed: 0,
            building,
            distinct: (*data_type == DataType::Utf8View).then(Distinct::default),
        }
    }

    /// The next block: [`BLOCK_ROWS`] rows unless it is the last. Its type may be another one than the chunk's: a dictionary of
    /// texts, or a narrower decimal.
    ///
    /// # Errors
    /// The values cannot be those of the chunk's type, or a block before this one was short.
    pub(crate) fn push(&mut self, block: ArrayRef) -> Result<()> {
        if !self.pushed.is_multiple_of(BLOCK_ROWS) || block.len() > BLOCK_ROWS {
            // The reader stops early where pages have fewer rows than they say.
            return Err(Error::corrupt(
                "invalid parquet file (rows are missing within a column)",
            ));
        }
        self.pushed += block.len();
        if let Some(dictionary) = block.as_dictionary_opt::<Int32Type>() {
            self.distinct = None;
            let first = matches!(&self.building, Building::Plain(blocks) if blocks.is_empty());
            if first && self.is_worth_keeping(dictionary.values()) {
                self.building = Building::Dictionary {
                    values: Arc::clone(dictionary.values()),
                    codes: Vec::with_capacity(self.rows),
                    nulls: Vec::new(),
                };
            }
            if let Building::Dictionary { values, codes, nulls } = &mut self.building
                && same_texts(values, dictionary.values())
            {
                codes.extend(dictionary.keys().values().iter().map(|key| *key as u32));
                nulls.push(dictionary.keys().nulls().cloned());
                return Ok(());
            }
        }
        if let Building::Integers(blocks) = &mut self.building
            && let Some(values) = values_as_integers(&block)
        {
            blocks.push(IntegerBlock::new(&values, block.nulls()));
            return Ok(());
        }
        // Pages have other rows than blocks.
        let block = compact(cast(&block, &self.data_type)?);
        if let Some(distinct) = &mut self.distinct
            && !(distinct.add(&block)? && distinct.is_worth_keeping(self.pushed, self.rows))
        {
            self.distinct = None;
        }
        self.make_plain()?.push(block);
        Ok(())
    }

    /// The blocks so far as Arrow arrays.
    fn make_plain(&mut self) -> Result<&mut Vec<ArrayRef>> {
        if !matches!(self.building, Building::Plain(_)) {
            let building = std::mem::replace(&mut self.building, Building::Plain(Vec::new()));
            let (data, rows) = encoded(building, &self.data_type)?;
            let chunk = Arc::new(Chunk::new(self.data_type.clone(), rows, data));
            let blocks = (0..rows.div_ceil(BLOCK_ROWS)).map(|block| chunk.read(block, None));
            self.building = Building::Plain(blocks.collect::<Result<_>>()?);
        }
        match &mut self.building {
            Building::Plain(blocks) => Ok(blocks),
            _ => Err(Error::internal("a chunk is not plain")),
        }
    }

    fn is_worth_keeping(&self, values: &ArrayRef) -> bool {
        values.len() <= self.rows / DICTIONARY_SHARE
            && values.null_count() == 0
            && values.get_buffer_memory_size() <= DICTIONARY_BYTES_MAX
    }

    /// # Errors
    /// The blocks do not have the rows of the chunk.
    pub(crate) fn finish(self) -> Result<Chunk> {
        let building = match self.distinct.filter(|_| self.pushed > 0) {
            Some(distinct) => distinct.finish(),
            None => self.building,
        };
        let (data, rows) = encoded(building, &self.data_type)?;
        if rows != self.rows {
            let message = format!("invalid parquet file ({rows} rows in a column of {})", self.rows);
            return Err(Error::corrupt(message));
        }
        Ok(Chunk::new(self.data_type, rows, data))
    }
}

/// A dictionary that is being made.
#[derive(Default)]
struct Distinct {
    texts: StringDictionaryBuilder<UInt32Type>,
    count: usize,
    bytes: usize,
}

impl Distinct {
    /// Takes a block. False when there are too many bytes for a dictionary, or hardly two alike among the first.
    fn add(&mut self, block: &ArrayRef) -> Result<bool> {
        for text in block.as_string_view() {
            if self.texts.len() == ROWS_TRIED && self.count * 10 >= ROWS_TRIED * 9 {
                return Ok(false);
            }
            let Some(text) = text else {
                self.texts.append_null();
                continue;
            };
            let code = self.texts.append(text)?;
            if code as usize == self.count {
                self.count += 1;
                self.bytes += text.len();
                if self.bytes > DICTIONARY_BYTES_MAX {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Where nearly each row has a text of its own it need not be tried for long.
    fn is_worth_keeping(&self, pushed: usize, rows: usize) -> bool {
        self.count <= rows / DICTIONARY_SHARE && self.count * 10 < pushed * 9
    }

    fn finish(mut self) -> Building {
        let (codes, values) = self.texts.finish().into_parts();
        let (_, codes, nulls) = codes.into_parts();
        Building::Dictionary {
            values,
            codes: codes.to_vec(),
            nulls: vec![nulls],
        }
    }
}

/// The encoded blocks and the number of their rows.
fn encoded(building: Building, data_type: &DataType) -> Result<(Data, usize)> {
    match building {
        Building::Integers(blocks) => {
            let rows = blocks.iter().map(IntegerBlock::rows).sum();
            Ok((Data::Integers(blocks), rows))
        }
        Building::Plain(blocks) => {
            let rows = blocks.iter().map(|block| block.len()).sum();
            Ok((Data::Plain(blocks), rows))
        }
        Building::Dictionary { values, codes, nulls } => {
            let rows = codes.len();
            let nulls = all_nulls(nulls, rows);
            let codes = match values.len() {
                0..=0x100 => Codes::U8(codes.into_iter().map(|code| code as u8).collect()),
                0x101..=0x1_0000 => Codes::U16(codes.into_iter().map(|code| code as u16).collect()),
                _ => Codes::U32(codes),
            };
            let values = match values.is_empty() {
                // Nulls only: their codes need a text to point to.
                true => cast(&StringArray::from(vec![""]), data_type)?,
                false => cast(&values, data_type)?,
            };
            Ok((Data::Dictionary { values, codes, nulls }, rows))
        }
    }
}

fn all_nulls(blocks: Vec<Option<NullBuffer>>, rows: usize) -> Option<NullBuffer> {
    if blocks.iter().all(Option::is_none) {
        return None;
    }
    let mut valid = arrow::array::BooleanBufferBuilder::new(rows);
    for (block, nulls) in blocks.iter().enumerate() {
        match nulls {
            Some(nulls) => valid.append_buffer(nulls.inner()),
            None => valid.append_n(BLOCK_ROWS.min(rows - block * BLOCK_ROWS), true),
        }
    }
    Some(NullBuffer::new(valid.finish()))
}

/// Whether it is the same dictionary: the reader gives all blocks of a chunk that it did not have to build anew the same one.
fn same_texts(a: &ArrayRef, b: &ArrayRef) -> bool {
    Arc::ptr_eq(a, b) || a.to_data().ptr_eq(&b.to_data())
}

impl Chunk {
    fn new(data_type: DataType, rows: usize, data: Data) -> Self {
        let bytes = match &data {
            Data::Integers(blocks) => blocks.iter().map(IntegerBlock::bytes).sum(),
            Data::Dictionary { values, codes, nulls } => {
                let width = match codes {
                    Codes::U8(_) => 1,
                    Codes::U16(_) => 2,
                    Codes::U32(_) => 4,
                };
                let nulls = nulls.as_ref().map_or(0, |nulls| nulls.buffer().capacity());
                rows * width + nulls + buffer_bytes(std::slice::from_ref(values))
            }
            Data::Plain(blocks) => buffer_bytes(blocks),
        };
        Self {
            data_type,
            rows,
            data,
            bytes: bytes + size_of::<Self>(),
            used: AtomicU64::new(0),
        }
    }
}

/// The memory of arrays that share buffers.
fn buffer_bytes(arrays: &[ArrayRef]) -> usize {
    fn add(data: &ArrayData, seen: &mut HashSet<*const u8>) -> usize {
        let nulls = data.nulls().map(|nulls| nulls.buffer());
        let mut own = 0;
        for buffer in data.buffers().iter().chain(nulls) {
            // The allocation, wherever in it the buffer begins.
            if seen.insert(buffer.data_ptr().as_ptr().cast_const()) {
                own += buffer.capacity();
            }
        }
        own + data.child_data().iter().map(|child| add(child, seen)).sum::<usize>()
    }
    let mut seen = HashSet::new();
    arrays
        .iter()
        .map(|array| size_of::<ArrayData>() + add(&array.to_data(), &mut seen))
        .sum()
}

/// Which of a condition's answers are true: nulls are not.
pub(crate) fn truths(answers: &BooleanArray) -> BooleanBuffer {
    match answers.nulls() {
        None => answers.values().clone(),
        Some(nulls) => answers.values() & nulls.inner(),
    }
}

/// The texts of a domain with a null after them, for conditions to be asked of.
pub(crate) fn domain_values(domain: &Domain<'_>, data_type: &DataType) -> Result<ArrayRef> {
    let null = arrow::array::new_null_array(data_type, 1);
    Ok(match domain {
        Domain::Texts(values) => concat(&[values.as_ref(), null.as_ref()])?,
        Domain::Integers(range) => {
            let values = array_of_integers(data_type, range.clone())?;
            concat(&[values.as_ref(), null.as_ref()])?
        }
    })
}

#[cfg(test)]
mod tests;
