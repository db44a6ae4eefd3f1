//! Whether a value may be a key of a join's build side: what a scan of the other side asks before it reads the row's other columns.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use crate::keys::{mixed, with_number_type};

/// Bits of the range for each key, up to which a bit for each number of the range is taken: exact, one access, and as
/// long as that is mostly in the processor's cache faster than anything else.
const BITS_A_KEY_MAX: u64 = 1024;

/// And never more than 8 MiB of them.
const BITS_MAX: u64 = 1 << 26;

/// Numbers, and maybe some that are not among them.
#[derive(Debug)]
pub(crate) struct KeySet {
    members: Members,
}

#[derive(Debug)]
enum Members {
    /// A bit for each number from `least` on.
    Bits { least: i64, bits: Vec<u64> },
    /// A split block Bloom filter with 16 bits a key (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007; salts as in
    /// the specification of Parquet): about one of 500 others passes.
    Blocks(Vec<[u32; 8]>),
}

const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// A number's block of so many, and its bit in each word of it.
fn bits_of(number: i64, blocks: usize) -> (usize, [u32; 8]) {
    let hash = mixed(number);
    let block = ((hash >> 32) * blocks as u64) >> 32;
    let low = hash as u32;
    (
        usize::try_from(block).unwrap_or(0),
        SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27)),
    )
}

impl KeySet {
    /// Bytes it takes for so many keys at most.
    pub(crate) fn bytes_max(keys: usize) -> usize {
        (keys as u64 * BITS_A_KEY_MAX / 8).min(BITS_MAX / 8) as usize + keys * 2 + size_of::<[u32; 8]>()
    }

    /// `least` and `greatest` of the keys.
    pub(crate) fn new(keys: impl ExactSizeIterator<Item = i64>, least: i64, greatest: i64) -> Self {
        let count = keys.len() as u64;
        let range = greatest.wrapping_sub(least).cast_unsigned().saturating_add(1);
        let members = if range <= (count * BITS_A_KEY_MAX).min(BITS_MAX) {
            let mut bits = vec![0_u64; usize::try_from(range.div_ceil(64)).unwrap_or(0)];
            for key in keys {
                let at = key.wrapping_sub(least).cast_unsigned();
                if let Some(word) = bits.get_mut((at / 64) as usize) {
                    *word |= 1 << (at % 64);
                }
            }
            Members::Bits { least, bits }
        } else {
            let mut blocks = vec![[0_u32; 8]; (count as usize * 16).div_ceil(256).max(1)];
            for key in keys {
                let (block, bits) = bits_of(key, blocks.len());
                blocks[block].iter_mut().zip(bits).for_each(|(word, bit)| *word |= bit);
            }
            Members::Blocks(blocks)
        };
        Self { members }
    }

    pub(crate) fn of<T: ArrowPrimitiveType>(&self, array: &ArrayRef) -> BooleanBuffer
    where
        T::Native: Into<i64>,
    {
        let values = array.as_primitive::<T>().values();
        match &self.members {
            Members::Bits { least, bits } => BooleanBuffer::collect_bool(values.len(), |row| {
                let value: i64 = values[row].into();
                let at = value.wrapping_sub(*least).cast_unsigned();
                usize::try_from(at / 64)
                    .ok()
                    .and_then(|word| bits.get(word))
                    .is_some_and(|word| word >> (at % 64) & 1 == 1)
            }),
            Members::Blocks(blocks) => BooleanBuffer::collect_bool(values.len(), |row| {
                let (block, bits) = bits_of(values[row].into(), blocks.len());
                blocks[block].iter().zip(bits).all(|(word, bit)| word & bit != 0)
            }),
        }
    }
}

/// Whether a value may be in a set. False for null, which equals no key.
#[derive(Debug)]
pub(crate) struct InKeySet {
    value: Arc<dyn PhysicalExpr>,
    set: Arc<KeySet>,
}

impl InKeySet {
    pub(crate) fn new(value: Arc<dyn PhysicalExpr>, set: Arc<KeySet>) -> Self {
        Self { value, set }
    }
}

impl fmt::Display for InKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IN (keys)", self.value)
    }
}

impl PartialEq for InKeySet {
    fn eq(&self, other: &Self) -> bool {
        self.value.eq(&other.value) && Arc::ptr_eq(&self.set, &other.set)
    }
}

impl Eq for InKeySet {}

impl Hash for InKeySet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
        Arc::as_ptr(&self.set).hash(state);
    }
}

impl PhysicalExpr for InKeySet {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.value.evaluate(batch)?.into_array(batch.num_rows())?;
        macro_rules! ask {
            ($type:ty) => {
                self.set.of::<$type>(&array)
            };
        }
        let data_type = array.data_type();
        let found = with_number_type!(
            data_type,
            ask,
            return internal_err!("{data_type} is no type of whole numbers")
        );
        let found = match array.nulls() {
            Some(nulls) => &found & nulls.inner(),
            None => found,
        };
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(found, None))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.value]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let Ok([value]) = <[_; 1]>::try_from(children) else {
            return internal_err!("a value is asked for in a set of keys");
        };
        Ok(Arc::new(Self::new(value, Arc::clone(&self.set))))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt_sql(f)?;
        write!(f, " IN (keys)")
    }
}
