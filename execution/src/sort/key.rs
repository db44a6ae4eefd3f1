//! Sort keys as whole numbers (normalised keys: Graefe, "Implementing Sorting in Database Systems", 2006, 3.1).
//!
//! What the values of a key column are between is known before the first is made: a number becomes its distance from the least, in as many bits as
//! the greatest distance has; a text the bytes after those that all have in common. Bits of all columns stand in one number, the first
//! column's highest, so that rows compare as these numbers do. What has no room in it is the [`rest`](Layout::rest): only where two numbers are
//! equal it is looked at.
//!
//! ```text
//! order by day, price desc      days 8000 … 10556, prices 90000 … 10494950: 12 + 24 bits
//! order by comment              16 bytes after the common ones; then the next
//! ```

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExprRef, PhysicalSortExpr};

/// A key, or the beginning of one.
pub(crate) trait Key: Copy + Default + Ord + Send + Sync + 'static {
    /// With so many bits after it.
    fn with(self, code: u128, bits: u32) -> Self;
    /// With zeros for the last bits.
    fn without_last(self, bits: u32) -> Self;
}

impl Key for u64 {
    fn with(self, code: u128, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | code as u64
    }

    fn without_last(self, bits: u32) -> Self {
        self & u64::MAX.checked_shl(bits).unwrap_or(0)
    }
}

impl Key for u128 {
    fn with(self, code: u128, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | code
    }

    fn without_last(self, bits: u32) -> Self {
        self & u128::MAX.checked_shl(bits).unwrap_or(0)
    }
}

/// What rows are sorted by.
#[derive(Debug)]
pub(crate) struct SortKeys {
    pub(crate) columns: Arc<[KeyColumn]>,
    computed: Vec<Computed>,
    /// The input's columns, and the computed ones.
    pub(crate) schema: SchemaRef,
}

#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    index: usize,
    kind: Kind,
    descending: bool,
    nulls_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Number,
    Bytes,
}

#[derive(Debug)]
enum Computed {
    Value(PhysicalExprRef),
    /// As bytes that compare as the values do.
    Encoded(PhysicalExprRef, RowConverter),
}

impl SortKeys {
    pub(crate) fn new(ordering: &LexOrdering, schema: &Schema) -> Result<Self> {
        let (mut columns, mut computed) = (Vec::new(), Vec::new());
        let mut fields = schema.fields().to_vec();
        for PhysicalSortExpr { expr, options } in ordering {
            let data_type = expr.data_type(schema)?;
            let place = fields.len();
            let mut with_field = |data_type| fields.push(Arc::new(Field::new("", data_type, true)));
            let (index, kind) = match (kind(&data_type), expr.downcast_ref::<Column>()) {
                (Some(kind), Some(column)) => (column.index(), Some(kind)),
                (Some(kind), None) => {
                    with_field(data_type);
                    computed.push(Computed::Value(Arc::clone(expr)));
                    (place, Some(kind))
                }
                (None, _) => {
                    with_field(DataType::BinaryView);
                    let field = SortField::new_with_options(data_type, *options);
                    computed.push(Computed::Encoded(Arc::clone(expr), RowConverter::new(vec![field])?));
                    (place, None)
                }
            };
            columns.push(KeyColumn {
                index,
                kind: kind.unwrap_or(Kind::Bytes),
                // Encoded values have their direction, and their nulls, in them.
                descending: kind.is_some() && options.descending,
                nulls_first: options.nulls_first,
            });
        }
        Ok(Self {
            columns: columns.into(),
            computed,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The batch's columns, and the computed ones.
    pub(crate) fn with_computed(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.computed.is_empty() {
            return Ok(batch);
        }
        let mut columns = batch.columns().to_vec();
        for computed in &self.computed {
            let values = |expr: &PhysicalExprRef| expr.evaluate(&batch)?.into_array(batch.num_rows());
            columns.push(match computed {
                Computed::Value(expr) => values(expr)?,
                Computed::Encoded(expr, converter) => {
                    let rows = converter.convert_columns(&[values(expr)?])?;
                    cast(&rows.try_into_binary()?, &DataType::BinaryView)?
                }
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Whether keys of these types always have room in 64 bits.
    pub(crate) fn are_narrow(&self) -> bool {
        let bits = self.columns.iter().map(|column| match column.kind {
            Kind::Number => {
                1 + 8 * self
                    .schema
                    .field(column.index)
                    .data_type()
                    .primitive_width()
                    .unwrap_or(1)
            }
            Kind::Bytes => 128,
        });
        bits.sum::<usize>() <= 64
    }
}

fn kind(data_type: &DataType) -> Option<Kind> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Duration, Float32, Float64,
        Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 | Date32
        | Date64 | Time32(_) | Time64(_) | Timestamp(..) | Duration(_) | Decimal32(..) | Decimal64(..)
        | Decimal128(..) => Some(Kind::Number),
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => Some(Kind::Bytes),
        _ => None,
    }
}

/// Calls a generic function with the type of an array of numbers.
macro_rules! with_numbers {
    ($array:expr, $function:ident($($argument:expr),*)) => {
        match $array.data_type() {
            DataType::Int8 => $function::<Int8Type>($($argument),*),
            DataType::Int16 => $function::<Int16Type>($($argument),*),
            DataType::Int32 => $function::<Int32Type>($($argument),*),
            DataType::Int64 => $function::<Int64Type>($($argument),*),
            DataType::UInt8 => $function::<UInt8Type>($($argument),*),
            DataType::UInt16 => $function::<UInt16Type>($($argument),*),
            DataType::UInt32 => $function::<UInt32Type>($($argument),*),
            DataType::UInt64 => $function::<UInt64Type>($($argument),*),
            DataType::Float32 => $function::<Float32Type>($($argument),*),
            DataType::Float64 => $function::<Float64Type>($($argument),*),
            DataType::Date32 => $function::<Date32Type>($($argument),*),
            DataType::Date64 => $function::<Date64Type>($($argument),*),
            DataType::Time32(TimeUnit::Second) => $function::<Time32SecondType>($($argument),*),
            DataType::Time32(_) => $function::<Time32MillisecondType>($($argument),*),
            DataType::Time64(TimeUnit::Nanosecond) => $function::<Time64NanosecondType>($($argument),*),
            DataType::Time64(_) => $function::<Time64MicrosecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Second, _) => $function::<TimestampSecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $function::<TimestampMillisecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $function::<TimestampMicrosecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $function::<TimestampNanosecondType>($($argument),*),
            DataType::Duration(TimeUnit::Second) => $function::<DurationSecondType>($($argument),*),
            DataType::Duration(TimeUnit::Millisecond) => $function::<DurationMillisecondType>($($argument),*),
            DataType::Duration(TimeUnit::Microsecond) => $function::<DurationMicrosecondType>($($argument),*),
            DataType::Duration(TimeUnit::Nanosecond) => $function::<DurationNanosecondType>($($argument),*),
            DataType::Decimal32(..) => $function::<Decimal32Type>($($argument),*),
            DataType::Decimal64(..) => $function::<Decimal64Type>($($argument),*),
            DataType::Decimal128(..) => $function::<Decimal128Type>($($argument),*),
            other => return internal_err!("{other} is no number to sort by"),
        }
    };
}

/// A value as a whole number that compares as it does.
trait Whole: Copy {
    fn whole(self) -> i128;
}

macro_rules! whole {
    ($($native:ty),*) => { $(impl Whole for $native {
        fn whole(self) -> i128 {
            i128::from(self)
        }
    })* };
}

whole!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

/// Floating-point numbers in IEEE 754's total order, as `total_cmp` has it.
macro_rules! whole_float {
    ($($native:ty),*) => { $(impl Whole for $native {
        fn whole(self) -> i128 {
            let bits = self.to_bits().cast_signed();
            let sign = (bits >> (size_of::<$native>() * 8 - 1)).cast_unsigned();
            i128::from(bits ^ (sign >> 1).cast_signed())
        }
    })* };
}

whole_float!(f32, f64);

/// What the values of a key column are between.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    has_nulls: bool,
    values: Option<Between>,
}

#[derive(Clone, Debug)]
enum Between {
    Numbers { least: i128, greatest: i128 },
    Bytes { shared: Vec<u8>, longest: usize },
}

/// Of all key columns.
#[derive(Clone, Debug)]
pub(crate) struct Extents(Vec<Extent>);

impl Extents {
    pub(crate) fn new(columns: &[KeyColumn]) -> Self {
        let nothing = Extent {
            has_nulls: false,
            values: None,
        };
        Self(vec![nothing; columns.len()])
    }

    /// Of a batch's rows, too.
    pub(crate) fn add(&mut self, keys: &[KeyColumn], batch: &RecordBatch) -> Result<()> {
        self.add_from(0, keys, |index| Ok(Arc::clone(batch.column(index))))
    }

    /// The same from one key on.
    fn add_from(&mut self, first: usize, keys: &[KeyColumn], column: impl Fn(usize) -> Result<ArrayRef>) -> Result<()> {
        for (extent, key) in self.0.iter_mut().zip(keys).skip(first) {
            let array = &column(key.index)?;
            extent.has_nulls |= array.null_count() > 0;
            if array.null_count() == array.len() {
                continue;
            }
            let values = match key.kind {
                Kind::Number => numbers_between(array)?,
                Kind::Bytes => {
                    let views = views(array)?;
                    let mut between = None;
                    for value in views.iter().flatten() {
                        widen_to(&mut between, value);
                    }
                    between
                }
            };
            extent.widen(values);
        }
        Ok(())
    }

    /// Of another's rows, too.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (extent, other) in self.0.iter_mut().zip(&other.0) {
            extent.has_nulls |= other.has_nulls;
            extent.widen(other.values.clone());
        }
    }
}

impl Extent {
    fn widen(&mut self, values: Option<Between>) {
        let Some(values) = values else {
            return;
        };
        match (&mut self.values, values) {
            (
                Some(Between::Numbers { least, greatest }),
                Between::Numbers {
                    least: other_least,
                    greatest: other_greatest,
                },
            ) => {
                *least = other_least.min(*least);
                *greatest = other_greatest.max(*greatest);
            }
            (
                Some(Between::Bytes { shared, longest }),
                Between::Bytes {
                    shared: other_shared,
                    longest: other_longest,
                },
            ) => {
                shared.truncate(common(shared, &other_shared));
                *longest = other_longest.max(*longest);
            }
            (mine, values) => *mine = Some(values),
        }
    }
}

fn widen_to(between: &mut Option<Between>, value: &[u8]) {
    match between {
        Some(Between::Bytes { shared, longest }) => {
            if !value.starts_with(shared) {
                shared.truncate(common(shared, value));
            }
            *longest = value.len().max(*longest);
        }
        _ => {
            *between = Some(Between::Bytes {
                shared: value.to_vec(),
                longest: value.len(),
            });
        }
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn numbers_between(array: &ArrayRef) -> Result<Option<Between>> {
    fn between<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<Option<Between>>
    where
        T::Native: Whole,
    {
        let array = array.as_primitive::<T>();
        let extremes = |extremes: Option<(i128, i128)>, value: T::Native| {
            let value = value.whole();
            Some(extremes.map_or((value, value), |(least, greatest)| {
                (least.min(value), greatest.max(value))
            }))
        };
        let extremes = match array.null_count() {
            0 => array.values().iter().copied().fold(None, extremes),
            _ => array.iter().flatten().fold(None, extremes),
        };
        Ok(extremes.map(|(least, greatest)| Between::Numbers { least, greatest }))
    }
    if array.data_type() == &DataType::Boolean {
        return Ok(Some(Between::Numbers { least: 0, greatest: 1 }));
    }
    with_numbers!(array, between(array))
}

/// Any texts or bytes as views of bytes; cheap where they are views.
fn views(array: &ArrayRef) -> Result<BinaryViewArray> {
    Ok(match array.data_type() {
        DataType::Utf8View => array.as_string_view().clone().to_binary_view(),
        DataType::BinaryView => array.as_binary_view().clone(),
        _ => cast(&cast(array, &bytes_type(array.data_type()))?, &DataType::BinaryView)?
            .as_binary_view()
            .clone(),
    })
}

fn bytes_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 => DataType::Binary,
        DataType::LargeUtf8 => DataType::LargeBinary,
        other => other.clone(),
    }
}

/// How keys are made of what lies between the extents.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) columns: Arc<[KeyColumn]>,
    extents: Arc<Extents>,
    /// What the number has, the highest first.
    parts: Vec<Part>,
    /// What it has no room for.
    rest: Vec<Part>,
}

/// Some bits of a key.
#[derive(Clone, Debug)]
struct Part {
    /// Which key column.
    column: usize,
    bits: Bits,
}

#[derive(Clone, Debug)]
enum Bits {
    /// Whether it is null.
    Null,
    /// So many bits of its distance, above so many.
    Distance { bits: u32, below: u32 },
    /// The bytes from here to there; zeros after its end.
    Bytes { from: usize, to: usize },
    /// How many bytes it has.
    Length { bits: u32 },
}

impl Layout {
    /// For keys of so many bits, as wide as they are.
    pub(crate) fn new(columns: Arc<[KeyColumn]>, extents: Extents, bits_max: u32) -> Self {
        let mut all = Vec::new();
        for (column, extent) in extents.0.iter().enumerate() {
            let mut push = |bits| all.push(Part { column, bits });
            if extent.has_nulls {
                push(Bits::Null);
            }
            match &extent.values {
                None => {}
                Some(Between::Numbers { least, greatest }) => {
                    let distance = greatest.wrapping_sub(*least).cast_unsigned();
                    let bits = u128::BITS - distance.leading_zeros();
                    push(Bits::Distance { bits, below: 0 });
                }
                Some(Between::Bytes { shared, longest }) => {
                    let (from, to) = (shared.len(), *longest);
                    push(Bits::Bytes { from, to });
                    // One that ends may go on with zeros in another.
                    let bits = usize::BITS - longest.leading_zeros();
                    push(Bits::Length { bits });
                }
            }
        }
        Self {
            columns,
            extents: Arc::new(extents),
            parts: Vec::new(),
            rest: all,
        }
        .next(bits_max)
    }

    /// The layout of keys that go on where these end.
    pub(crate) fn further(&self, bits_max: u32) -> Self {
        self.clone().next(bits_max)
    }

    /// The same for rows whose keys are equal, by their own extents.
    pub(crate) fn after(&self, extents: Extents, bits_max: u32) -> Self {
        let whole = Self::new(Arc::clone(&self.columns), extents, 0);
        let Some(first) = self.rest.first() else {
            return whole;
        };
        // Columns before are equal. What is left of the first is found again, but for bytes that were equal.
        let mut rest: Vec<Part> = whole
            .rest
            .into_iter()
            .filter(|part| part.column >= first.column)
            .collect();
        for part in &mut rest {
            if let (Bits::Bytes { from, to }, Bits::Bytes { from: equal, .. }) = (&mut part.bits, &first.bits)
                && part.column == first.column
            {
                *from = (*from).max(*equal).min(*to);
            }
        }
        Self { rest, ..whole }.next(bits_max)
    }

    fn next(self, bits_max: u32) -> Self {
        let (mut parts, mut left) = (Vec::new(), bits_max);
        let mut rest = self.rest.into_iter();
        let mut remaining = Vec::new();
        for Part { column, bits } in rest.by_ref() {
            let (taken, remains) = bits.split(left);
            left -= taken.as_ref().map_or(0, Bits::width);
            parts.extend(taken.map(|bits| Part { column, bits }));
            if let Some(bits) = remains {
                remaining.push(Part { column, bits });
                break;
            }
        }
        remaining.extend(rest);
        Self {
            parts,
            rest: remaining,
            ..self
        }
    }

    /// Whether rows with equal keys are equal.
    pub(crate) fn is_exact(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bits keys have.
    pub(crate) fn width(&self) -> u32 {
        self.parts.iter().map(|part| part.bits.width()).sum()
    }

    /// The keys of so many rows, whose columns are asked for.
    pub(crate) fn keys<K: Key>(&self, rows: usize, column: impl Fn(usize) -> Result<ArrayRef>) -> Result<Vec<K>> {
        let mut keys = vec![K::default(); rows];
        let mut of_column: Option<(usize, ArrayRef)> = None;
        let mut of_bytes: Option<(usize, BinaryViewArray)> = None;
        for part in &self.parts {
            let key = &self.columns[part.column];
            let array = match of_column {
                Some((index, array)) if index == key.index => array,
                _ => column(key.index)?,
            };
            let width = part.bits.width();
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
            if let Bits::Bytes { .. } | Bits::Length { .. } = part.bits
                && of_bytes.as_ref().is_none_or(|(column, _)| *column != part.column)
            {
                of_bytes = Some((part.column, views(&array)?));
            }
            match (&part.bits, &self.extents.0[part.column].values, &of_bytes) {
                (Bits::Null, ..) => {
                    for (row, key_of_row) in keys.iter_mut().enumerate() {
                        let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
                        *key_of_row = key_of_row.with(u128::from(is_null != key.nulls_first), width);
                    }
                }
                (Bits::Distance { bits, below }, Some(Between::Numbers { least, greatest }), _) => {
                    let from = if key.descending { *greatest } else { *least };
                    if array.data_type() == &DataType::Boolean {
                        let values = array.as_boolean().values();
                        for (row, key_of_row) in keys.iter_mut().enumerate() {
                            let code = i128::from(values.value(row)).abs_diff(from);
                            *key_of_row = key_of_row.with(bits_of(code, *bits, *below), width);
                        }
                    } else {
                        with_numbers!(array, put_distances(&array, &mut keys, from, (*bits, *below)))?;
                    }
                    // What stands in the place of nulls is any number.
                    for (row, key_of_row) in keys.iter_mut().enumerate().filter(|_| nulls.is_some()) {
                        if array.is_null(row) {
                            *key_of_row = key_of_row.without_last(width);
                        }
                    }
                }
                (Bits::Bytes { .. } | Bits::Length { .. }, _, Some((_, views))) => {
                    for (row, key_of_row) in keys.iter_mut().enumerate() {
                        let code = match &part.bits {
                            _ if nulls.is_some_and(|nulls| nulls.is_null(row)) => 0,
                            Bits::Bytes { from, .. } => bytes_code(views.value(row), *from, width, key.descending),
                            _ => length_code(views.value(row), width, key.descending),
                        };
                        *key_of_row = key_of_row.with(code, width);
                    }
                }
                _ => return internal_err!("a sort key without its extent"),
            }
            of_column = Some((key.index, array));
        }
        Ok(keys)
    }

    /// What decides between rows whose keys are equal.
    pub(crate) fn compare_rest(&self, a: (&[ArrayRef], usize), b: (&[ArrayRef], usize)) -> Result<Ordering> {
        for part in &self.rest {
            let column = &self.columns[part.column];
            let ordering = match &part.bits {
                // All of it is to come, and can be compared as it is.
                Bits::Bytes { from, .. } => {
                    let (a, b) = (bytes_at(&a.0[column.index], a.1)?, bytes_at(&b.0[column.index], b.1)?);
                    let ordering = a
                        .get(*from..)
                        .unwrap_or_default()
                        .cmp(b.get(*from..).unwrap_or_default());
                    if column.descending {
                        ordering.reverse()
                    } else {
                        ordering
                    }
                }
                _ => self.code(part, a.0, a.1)?.cmp(&self.code(part, b.0, b.1)?),
            };
            if ordering != Ordering::Equal {
                return Ok(ordering);
            }
        }
        Ok(Ordering::Equal)
    }

    fn code(&self, part: &Part, columns: &[ArrayRef], row: usize) -> Result<u128> {
        let key = &self.columns[part.column];
        let array = &columns[key.index];
        let is_null = array.is_null(row);
        if let Bits::Null = part.bits {
            return Ok(u128::from(is_null != key.nulls_first));
        }
        if is_null {
            return Ok(0);
        }
        Ok(match (&part.bits, &self.extents.0[part.column].values) {
            (Bits::Distance { bits, below }, Some(Between::Numbers { least, greatest })) => {
                let from = if key.descending { *greatest } else { *least };
                bits_of(number_at(array, row)?.abs_diff(from), *bits, *below)
            }
            (Bits::Bytes { from, .. }, _) => {
                bytes_code(bytes_at(array, row)?, *from, part.bits.width(), key.descending)
            }
            (Bits::Length { bits }, _) => length_code(bytes_at(array, row)?, *bits, key.descending),
            _ => return internal_err!("a sort key without its extent"),
        })
    }

    /// What some of the rows with equal keys are between, in what is left of them.
    pub(crate) fn add_rest(&self, extents: &mut Extents, column: impl Fn(usize) -> Result<ArrayRef>) -> Result<()> {
        let first = self.rest.first().map_or(self.columns.len(), |part| part.column);
        extents.add_from(first, &self.columns, column)
    }
}

impl Bits {
    fn width(&self) -> u32 {
        match self {
            Bits::Null => 1,
            Bits::Distance { bits, .. } | Bits::Length { bits } => *bits,
            // Of a part that was taken, which is short.
            Bits::Bytes { from, to } => u32::try_from(to - from).unwrap_or(u32::MAX).saturating_mul(8),
        }
    }

    /// As much of it as so many bits have room for, and what remains.
    fn split(self, room: u32) -> (Option<Self>, Option<Self>) {
        if self.width() <= room {
            return (Some(self), None);
        }
        match self {
            Bits::Distance { bits, below } if room > 0 => {
                let taken = Bits::Distance {
                    bits: room,
                    below: below + bits - room,
                };
                let remains = Bits::Distance {
                    bits: bits - room,
                    below,
                };
                (Some(taken), Some(remains))
            }
            Bits::Bytes { from, to } if room >= 8 => {
                let middle = from + (room / 8) as usize;
                (
                    Some(Bits::Bytes { from, to: middle }),
                    Some(Bits::Bytes { from: middle, to }),
                )
            }
            other => (None, Some(other)),
        }
    }
}

fn put_distances<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    keys: &mut [impl Key],
    from: i128,
    (bits, below): (u32, u32),
) -> Result<()>
where
    T::Native: Whole,
{
    let values = array.as_primitive::<T>().values();
    for (key, value) in keys.iter_mut().zip(values.iter()) {
        *key = key.with(bits_of(value.whole().abs_diff(from), bits, below), bits);
    }
    Ok(())
}

fn bits_of(code: u128, bits: u32, below: u32) -> u128 {
    code.checked_shr(below).unwrap_or(0) & mask(bits)
}

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shr(u128::BITS - bits).unwrap_or(0)
}

/// Bytes from there on as a number of so many bits, zeros after their end.
fn bytes_code(value: &[u8], from: usize, bits: u32, descending: bool) -> u128 {
    let value = value.get(from..).unwrap_or_default();
    let bytes = (bits / 8) as usize;
    let code = match value.first_chunk::<16>() {
        Some(first) => u128::from_be_bytes(*first),
        None => {
            let mut first = [0; 16];
            first[..value.len()].copy_from_slice(value);
            u128::from_be_bytes(first)
        }
    };
    let code = code.checked_shr(u128::BITS - 8 * bytes as u32).unwrap_or(0);
    if descending { !code & mask(bits) } else { code }
}

fn length_code(value: &[u8], bits: u32, descending: bool) -> u128 {
    let code = value.len() as u128;
    if descending { !code & mask(bits) } else { code }
}

fn number_at(array: &ArrayRef, row: usize) -> Result<i128> {
    fn number<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> Result<i128>
    where
        T::Native: Whole,
    {
        Ok(array.as_primitive::<T>().value(row).whole())
    }
    if array.data_type() == &DataType::Boolean {
        return Ok(i128::from(array.as_boolean().value(row)));
    }
    with_numbers!(array, number(array, row))
}

fn bytes_at(array: &ArrayRef, row: usize) -> Result<&[u8]> {
    Ok(match array.data_type() {
        _ if array.is_null(row) => &[],
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        DataType::BinaryView => array.as_binary_view().value(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).as_bytes(),
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        other => return internal_err!("{other} has no bytes to sort by"),
    })
}
