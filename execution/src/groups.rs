//! From the keys of rows to the numbers of their groups.
//!
//! A key is one number of 64 or 128 bits: its columns beside each other, each with as many bits as its type has. Where that is too much for the
//! smaller table, or for any, a column has bits for the numbers that came so far; and one for nulls only once a null came. When more are needed,
//! the keys are written anew ([`Groups::widen`]). Texts are numbered first. Equal numbers are equal keys, and nothing else has to be hashed or compared.
//!
//! Of texts that come as codes of a dictionary only those of the dictionary are numbered. Where all columns of a key come so and
//! the dictionaries are small, a group is found by its codes alone ([`ByCodes`]).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, DictionaryArray, PrimitiveArray,
    UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};
use datafusion::common::internal_err;
use datafusion::error::Result;

use crate::keys::{are_numbers, numbers, with_number_type};
use crate::numbering::{Dense, Key, NarrowTable, UNKNOWN, WideTable, mask};
use crate::texts::Texts;

/// A dictionary that is larger than so many times a batch is not numbered for it: of those that come with many batches, a place for each text
/// costs little beside their rows.
const DICTIONARY_SHARE: usize = 64;

/// Bits of a text's number.
const TEXT_BITS: u32 = 32;

/// Where columns have bits for what came, they have so many times eight: numbers that grow with the rows ask for more only a few times.
const BITS_STEP: u32 = 8;

/// So many keys are written anew at once.
const KEYS_WIDENED: usize = 8192;

/// The groups there are. Their numbers are in the order of their first rows.
pub(crate) struct Groups {
    columns: Vec<Column>,
    table: Table,
    by_codes: Option<ByCodes>,
}

impl Groups {
    /// For key columns of these types, of which some may be null; none where they are of other types.
    pub(crate) fn new(columns: &[(DataType, bool)]) -> Option<Self> {
        let columns = columns.iter().map(|(ty, nullable)| Column::new(ty, *nullable));
        let columns = columns.collect::<Option<Vec<Column>>>()?;
        if columns.is_empty() {
            return None;
        }
        let needed: Vec<Place> = columns
            .iter()
            .map(|column| column.needed(&Numbers::default()))
            .collect();
        Some(Self {
            table: Table::for_columns(&columns, &needed)?,
            columns,
            by_codes: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes() + self.columns.iter().map(|column| column.texts.bytes()).sum::<usize>()
    }

    /// The groups of a batch's rows, new ones among them. False when its keys are not for this table, or `room` is refused to it: no group was
    /// added then.
    pub(crate) fn add(
        &mut self,
        arrays: &[ArrayRef],
        groups: &mut Vec<usize>,
        room: &mut dyn FnMut(usize) -> bool,
    ) -> Result<bool> {
        let Some(codes) = Codes::of(arrays) else {
            return self.add_keys(arrays, groups, room);
        };
        let known = self.by_codes.take().filter(|known| known.is_of(&codes));
        let mut by_codes = known.unwrap_or_else(|| ByCodes::new(&codes));
        let cells = codes.cells();
        let first = by_codes.first_unknown(&cells);
        if !first.is_empty() {
            let rows = UInt32Array::from(first.clone());
            let keys = arrays.iter().map(|array| take(array, &rows, None));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            if !self.add_keys(&keys, groups, room)? {
                return Ok(false);
            }
            by_codes.learn(&cells, &first, groups);
        }
        by_codes.find(&cells, groups);
        self.by_codes = Some(by_codes);
        Ok(true)
    }

    fn add_keys(
        &mut self,
        arrays: &[ArrayRef],
        groups: &mut Vec<usize>,
        room: &mut dyn FnMut(usize) -> bool,
    ) -> Result<bool> {
        let mut numbers = Vec::with_capacity(arrays.len());
        for (column, array) in self.columns.iter_mut().zip(arrays) {
            match column.numbers(array)? {
                Some(of_column) => numbers.push(of_column),
                None => return Ok(false),
            }
        }
        let rows = arrays.first().map_or(0, |array| array.len());
        let is_ready = match self.has_places(&numbers) {
            true => {
                let growth = self.table.growth_bytes(rows);
                growth == 0 || room(growth)
            }
            false => self.widen(&numbers, rows, room),
        };
        if is_ready {
            self.table.add(&numbers, groups);
        }
        Ok(is_ready)
    }

    /// Whether all of these have a place in the table's keys.
    fn has_places(&self, numbers: &[Numbers]) -> bool {
        let columns = self.columns.iter().zip(&self.table.places);
        let mut columns = columns.zip(numbers);
        columns.all(|((column, place), numbers)| match place.bits == column.bits_max {
            // Nobody has to look at the numbers.
            true => place.null_bits >= numbers.null_bits(),
            false => place.has_room(column.needed(numbers)),
        })
    }

    /// Writes all keys anew, with the same numbers, and places for these of so many more rows. False if that is too much.
    fn widen(&mut self, numbers: &[Numbers], rows: usize, room: &mut dyn FnMut(usize) -> bool) -> bool {
        let keys = self.len();
        let chunks = || {
            let starts = (0..keys).step_by(KEYS_WIDENED);
            starts.map(|start| start..keys.min(start + KEYS_WIDENED))
        };
        let needed = |numbers: &[Numbers]| -> Vec<Place> {
            let columns = self.columns.iter().zip(numbers);
            columns.map(|(column, numbers)| column.needed(numbers)).collect()
        };
        let needed = chunks().fold(needed(numbers), |all, chunk| {
            let chunk = needed(&self.table.numbers(chunk));
            all.into_iter().zip(chunk).map(|(all, chunk)| all.with(chunk)).collect()
        });
        let Some(mut table) = Table::for_columns(&self.columns, &needed) else {
            return false;
        };
        if !room(table.growth_bytes(keys + rows) + keys * size_of::<u128>()) {
            return false;
        }
        for chunk in chunks() {
            table.add(&self.table.numbers(chunk), &mut Vec::new());
        }
        self.table = table;
        true
    }

    /// The key columns of all groups, which are forgotten.
    pub(crate) fn take(&mut self) -> Result<Vec<ArrayRef>> {
        let columns = self.columns.iter_mut().zip(self.table.take());
        columns.map(|(column, numbers)| column.take(numbers)).collect()
    }
}

/// Keys of columns in their places, and their numbers.
struct Table {
    places: Vec<Place>,
    keys: Width,
}

enum Width {
    /// One column of texts, whose numbers have no gaps.
    Dense(Dense),
    Narrow(NarrowTable),
    Wide(WideTable),
}

/// The same of each width.
macro_rules! with_table {
    ($keys:expr, $table:ident => $then:expr) => {
        match $keys {
            Width::Dense($table) => $then,
            Width::Narrow($table) => $then,
            Width::Wide($table) => $then,
        }
    };
}

impl Table {
    /// With places for what is needed, and for all that the columns' types may need if that makes keys no larger. None where keys are too large.
    fn for_columns(columns: &[Column], needed: &[Place]) -> Option<Self> {
        let all = || columns.iter().zip(needed);
        let whole = all().map(|(column, needed)| Place {
            bits: column.bits_max,
            ..*needed
        });
        let least = all().map(|(column, needed)| Place {
            bits: needed.bits.next_multiple_of(BITS_STEP).min(column.bits_max),
            ..*needed
        });
        let candidates: [Vec<Place>; 2] = [whole.collect(), least.collect()];
        let bits_of = |places: &[Place]| -> u32 { places.iter().map(|place| place.bits + place.null_bits).sum() };
        let mut widths = [u64::BITS, u128::BITS].into_iter();
        let places = widths.find_map(|bits| candidates.iter().find(|places| bits_of(places) <= bits))?;
        let keys = match columns {
            [column] if column.data_type == DataType::Utf8View => Width::Dense(Dense::default()),
            _ if bits_of(places) <= u64::BITS => Width::Narrow(NarrowTable::default()),
            _ => Width::Wide(WideTable::default()),
        };
        Some(Self {
            places: places.clone(),
            keys,
        })
    }

    fn len(&self) -> usize {
        with_table!(&self.keys, table => table.keys().len())
    }

    fn bytes(&self) -> usize {
        with_table!(&self.keys, table => table.bytes())
    }

    /// Memory that it takes when it has to grow for so many more rows.
    fn growth_bytes(&self, rows: usize) -> usize {
        match &self.keys {
            // What texts take is far more, and known only when they are there.
            Width::Dense(_) => 0,
            Width::Narrow(table) => table.growth_bytes(rows),
            Width::Wide(table) => table.growth_bytes(rows),
        }
    }

    fn add(&mut self, numbers: &[Numbers], groups: &mut Vec<usize>) {
        with_table!(&mut self.keys, table => table.add(&packed(&self.places, numbers), groups));
    }

    /// What the columns have in some of the keys.
    fn numbers(&self, keys: Range<usize>) -> Vec<Numbers> {
        with_table!(&self.keys, table => unpacked(&self.places, table.keys()[keys].to_vec()))
    }

    /// What they have in all keys, which are forgotten.
    fn take(&mut self) -> Vec<Numbers> {
        with_table!(&mut self.keys, table => unpacked(&self.places, std::mem::take(table).into_keys()))
    }
}

/// Groups that codes may lead to without a look at what they stand for.
const CELLS_MAX: usize = 4096;

/// Key columns that are all codes of small dictionaries, without nulls.
struct Codes<'a> {
    columns: Vec<(&'a ArrayRef, &'a [u32])>,
}

impl<'a> Codes<'a> {
    fn of(arrays: &'a [ArrayRef]) -> Option<Self> {
        let codes = |array: &'a ArrayRef| {
            let array = array.as_dictionary_opt::<UInt32Type>()?;
            let keys = array.keys();
            (keys.null_count() == 0).then(|| (array.values(), keys.values().as_ref()))
        };
        let rows = arrays.first()?.len();
        let columns = arrays.iter().map(codes).collect::<Option<Vec<_>>>()?;
        let codes = Self { columns };
        // Where there are as many as rows, each row has its own.
        (codes.cell_count()? < CELLS_MAX.min(rows)).then_some(codes)
    }

    fn cell_count(&self) -> Option<usize> {
        let mut columns = self.columns.iter();
        columns.try_fold(1, |cells: usize, (values, _)| cells.checked_mul(values.len()))
    }

    /// A number for each combination of codes.
    fn cells(&self) -> Vec<u32> {
        let mut columns = self.columns.iter();
        let mut cells = columns.next().map_or_else(Vec::new, |(_, codes)| codes.to_vec());
        for (values, codes) in columns {
            let count = values.len() as u32;
            for (cell, code) in cells.iter_mut().zip(*codes) {
                *cell = *cell * count + code;
            }
        }
        cells
    }
}

/// The groups of dictionaries' codes, for as long as batches come with the same dictionaries.
struct ByCodes {
    dictionaries: Vec<ArrayRef>,
    groups: Vec<usize>,
}

impl ByCodes {
    fn new(codes: &Codes<'_>) -> Self {
        Self {
            dictionaries: codes.columns.iter().map(|(values, _)| Arc::clone(values)).collect(),
            groups: vec![UNKNOWN; codes.cell_count().unwrap_or(0)],
        }
    }

    fn is_of(&self, codes: &Codes<'_>) -> bool {
        let mut pairs = self.dictionaries.iter().zip(&codes.columns);
        pairs.all(|(known, (values, _))| Arc::ptr_eq(known, values))
    }

    /// The first row of each cell without a group, which [`Self::learn`] must be told of.
    fn first_unknown(&mut self, cells: &[u32]) -> Vec<u32> {
        const ASKED: usize = UNKNOWN - 1;
        let mut first = Vec::new();
        for (row, cell) in (0..).zip(cells) {
            let group = &mut self.groups[*cell as usize];
            if *group == UNKNOWN {
                *group = ASKED;
                first.push(row);
            }
        }
        first
    }

    fn learn(&mut self, cells: &[u32], rows: &[u32], groups: &[usize]) {
        for (row, group) in rows.iter().zip(groups) {
            self.groups[cells[*row as usize] as usize] = *group;
        }
    }

    fn find(&self, cells: &[u32], groups: &mut Vec<usize>) {
        groups.clear();
        groups.extend(cells.iter().map(|cell| self.groups[*cell as usize]));
    }
}

/// A column's values as numbers, of nulls zero.
#[derive(Default)]
struct Numbers {
    numbers: Vec<u64>,
    /// Where there is any.
    nulls: Option<NullBuffer>,
}

impl Numbers {
    fn null_bits(&self) -> u32 {
        u32::from(self.nulls.is_some())
    }
}

/// The bits of a key that are a column's.
#[derive(Clone, Copy)]
struct Place {
    bits: u32,
    /// Whether its numbers may be less than zero.
    is_signed: bool,
    /// One that says whether it is null, or none.
    null_bits: u32,
}

impl Place {
    fn has_room(self, needed: Self) -> bool {
        self.bits >= needed.bits && self.null_bits >= needed.null_bits
    }

    fn with(self, other: Self) -> Self {
        Self {
            bits: self.bits.max(other.bits),
            null_bits: self.null_bits.max(other.null_bits),
            ..self
        }
    }
}

fn packed<K: Key>(places: &[Place], numbers: &[Numbers]) -> Vec<K> {
    let rows = numbers.first().map_or(0, |of_column| of_column.numbers.len());
    let mut keys = vec![K::default(); rows];
    for (place, of_column) in places.iter().zip(numbers) {
        let mask = mask(place.bits);
        for (key, number) in keys.iter_mut().zip(&of_column.numbers) {
            *key = key.with(number & mask, place.bits);
        }
        match &of_column.nulls {
            _ if place.null_bits == 0 => {}
            None => keys.iter_mut().for_each(|key| *key = key.with(0, 1)),
            Some(nulls) => {
                for (key, valid) in keys.iter_mut().zip(nulls) {
                    *key = key.with(u64::from(!valid), 1);
                }
            }
        }
    }
    keys
}

fn unpacked<K: Key>(places: &[Place], mut keys: Vec<K>) -> Vec<Numbers> {
    let mut unpacked = Vec::with_capacity(places.len());
    for place in places.iter().rev() {
        let mut last = |bits| -> Vec<u64> {
            let numbers = keys.iter_mut().map(|key| {
                let (number, rest) = key.without(bits);
                *key = rest;
                number
            });
            numbers.collect()
        };
        let nulls = (place.null_bits > 0).then(|| last(1));
        let nulls = nulls.map(|nulls| NullBuffer::from_iter(nulls.into_iter().map(|null| null == 0)));
        let mut numbers = last(place.bits);
        if place.is_signed {
            let unused = u64::BITS - place.bits;
            for number in &mut numbers {
                *number = ((*number << unused).cast_signed() >> unused).cast_unsigned();
            }
        }
        unpacked.push(Numbers {
            numbers,
            nulls: nulls.filter(|nulls| nulls.null_count() > 0),
        });
    }
    unpacked.reverse();
    unpacked
}

/// A column of keys.
struct Column {
    data_type: DataType,
    is_nullable: bool,
    is_signed: bool,
    /// That its numbers may need.
    bits_max: u32,
    texts: Texts,
    /// The numbers of the last dictionary's texts, of those that came.
    dictionary: Option<(ArrayRef, Vec<u64>)>,
}

impl Column {
    fn new(data_type: &DataType, is_nullable: bool) -> Option<Self> {
        let (bits_max, is_signed) = match data_type {
            DataType::Utf8View => (TEXT_BITS, false),
            DataType::Boolean => (1, false),
            // Those that are larger are not grouped here.
            DataType::Decimal128(..) => (u64::BITS, true),
            number if are_numbers(number) => {
                let bits = u32::try_from(number.primitive_width()? * 8).ok()?;
                (bits, !number.is_unsigned_integer())
            }
            _ => return None,
        };
        Some(Self {
            data_type: data_type.clone(),
            is_nullable,
            is_signed,
            bits_max,
            texts: Texts::default(),
            dictionary: None,
        })
    }

    /// The place that such numbers need.
    fn needed(&self, numbers: &Numbers) -> Place {
        let used = numbers.numbers.iter().fold(0, |used, number| {
            let number = number.cast_signed();
            used | (number ^ (number >> (i64::BITS - 1)))
        });
        let bits = u64::BITS - used.leading_zeros() + u32::from(self.is_signed);
        Place {
            bits: bits.min(self.bits_max),
            is_signed: self.is_signed,
            null_bits: numbers.null_bits(),
        }
    }

    /// The rows' values as numbers; none where they are no longer few enough, or too large.
    fn numbers(&mut self, array: &ArrayRef) -> Result<Option<Numbers>> {
        let is_text = matches!(array.data_type(), DataType::Utf8View | DataType::Dictionary(..));
        if is_text != (self.data_type == DataType::Utf8View) {
            return internal_err!("keys of a group changed their type");
        }
        if let Some(coded) = array.as_dictionary_opt::<UInt32Type>() {
            return self.numbers_of_codes(coded);
        }
        let found = match array.data_type() {
            DataType::Utf8View => self.texts.numbers(array.as_string_view()),
            DataType::Boolean => {
                let values = array.as_boolean().values();
                Some(values.iter().map(u64::from).collect())
            }
            DataType::Decimal128(..) => numbers_of_decimals(array.as_primitive()),
            _ => Some(numbers(array)?.into_iter().map(i64::cast_unsigned).collect()),
        };
        Ok(found.and_then(|found| self.with_nulls(found, array.nulls())))
    }

    /// Of a dictionary's texts only those are numbered that come.
    fn numbers_of_codes(&mut self, coded: &DictionaryArray<UInt32Type>) -> Result<Option<Numbers>> {
        const UNASKED: u64 = u64::MAX;
        const ASKED: u64 = u64::MAX - 1;
        let values = coded.values();
        let codes = coded.keys().values();
        if values.len() == codes.len() && codes.iter().zip(0..).all(|(code, row)| *code == row) {
            return self.numbers(values);
        }
        if values.len() > coded.len() * DICTIONARY_SHARE {
            return self.numbers(&take(values, coded.keys(), None)?);
        }
        let known = self.dictionary.take().filter(|(known, _)| Arc::ptr_eq(known, values));
        let (_, mut numbers) = known.unwrap_or_else(|| (Arc::clone(values), vec![UNASKED; values.len()]));
        let mut new = Vec::new();
        for code in codes.iter() {
            if let Some(number) = numbers.get_mut(*code as usize).filter(|number| **number == UNASKED) {
                *number = ASKED;
                new.push(*code);
            }
        }
        if !new.is_empty() {
            let new = UInt32Array::from(new);
            let Some(found) = self.texts.numbers(take(values, &new, None)?.as_string_view()) else {
                return Ok(None);
            };
            for (code, number) in new.values().iter().zip(found) {
                numbers[*code as usize] = number;
            }
        }
        // The code of a null may be any.
        let number = |code: &u32| numbers.get(*code as usize).copied().unwrap_or(0);
        let found: Vec<u64> = codes.iter().map(number).collect();
        self.dictionary = Some((Arc::clone(values), numbers));
        Ok(self.with_nulls(found, coded.nulls()))
    }

    /// All nulls are one key. None where the plan knew of none.
    fn with_nulls(&self, mut numbers: Vec<u64>, nulls: Option<&NullBuffer>) -> Option<Numbers> {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        if let Some(nulls) = nulls {
            for (number, valid) in numbers.iter_mut().zip(nulls) {
                *number = if valid { *number } else { 0 };
            }
        }
        let nulls = nulls.cloned();
        (nulls.is_none() || self.is_nullable).then_some(Numbers { numbers, nulls })
    }

    fn take(&mut self, numbers: Numbers) -> Result<ArrayRef> {
        let Numbers { numbers, nulls } = numbers;
        fn typed<T: ArrowPrimitiveType>(
            numbers: &[u64],
            nulls: Option<NullBuffer>,
            data_type: &DataType,
        ) -> Result<ArrayRef>
        where
            T::Native: TryFrom<i64>,
        {
            // Of a null there is any.
            let native = |number: &u64| T::Native::try_from(number.cast_signed()).unwrap_or_default();
            let values: Vec<T::Native> = numbers.iter().map(native).collect();
            let array = PrimitiveArray::<T>::try_new(values.into(), nulls)?;
            Ok(Arc::new(array.with_data_type(data_type.clone())))
        }
        macro_rules! typed {
            ($type:ty) => {
                typed::<$type>(&numbers, nulls, &self.data_type)
            };
        }
        match &self.data_type {
            DataType::Utf8View => self.texts.take(&numbers, nulls),
            DataType::Boolean => {
                let values = numbers.iter().map(|number| *number != 0).collect();
                Ok(Arc::new(BooleanArray::new(values, nulls)))
            }
            DataType::Decimal128(..) => typed!(Decimal128Type),
            number => with_number_type!(number, typed, internal_err!("{number} is no type of keys")),
        }
    }
}

/// None if one of them has more than 64 bits.
fn numbers_of_decimals(decimals: &Decimal128Array) -> Option<Vec<u64>> {
    // What is where a null is says nothing.
    let is_null = |row| decimals.is_null(row);
    let numbers = decimals.values().iter().enumerate().map(|(row, value)| {
        let number = i64::try_from(*value).ok();
        let number = number.or_else(|| is_null(row).then_some(0));
        number.map(i64::cast_unsigned)
    });
    numbers.collect()
}
