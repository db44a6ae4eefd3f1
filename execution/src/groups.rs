//! From the keys of rows to the numbers of their groups.
//!
//! A key is one number of 64 or 128 bits: its columns beside each other, each with as many bits as its type has, and one more
//! where it may be null. Texts are numbered first. Equal numbers are equal keys, and nothing else has to be hashed or compared.
//!
//! Of texts that come as codes of a dictionary only those of the dictionary are numbered. Where all columns of a key come so and
//! the dictionaries are small, a group is found by its codes alone ([`ByCodes`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, PrimitiveArray, StringViewBuilder, UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};
use datafusion::common::hash_utils::RandomState;
use datafusion::common::internal_err;
use datafusion::error::Result;

use crate::keys::{are_numbers, numbers, with_number_type};

/// Texts of more than 12 bytes are boxed, each for itself: good for names of things, not for millions of them.
pub(crate) const LONG_TEXTS_MAX: usize = 10_000;

/// Texts up to so long are wholly in their views.
const SHORT_TEXT_BYTES: u32 = 12;

/// Bits of a text's number.
const TEXT_BITS: u32 = 32;

/// A key.
pub(crate) trait Key: Copy + Default + PartialEq + Send {
    /// With a number of so many bits after it.
    fn with(self, number: u64, bits: u32) -> Self;
    /// The last number put into it, and what was there before.
    fn without(self, bits: u32) -> (u64, Self);
    fn hash(self) -> u64;
}

/// Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits are a slot's place.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

fn mask(bits: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
}

impl Key for u64 {
    fn with(self, number: u64, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | number
    }

    fn without(self, bits: u32) -> (u64, Self) {
        (self & mask(bits), self.checked_shr(bits).unwrap_or(0))
    }

    fn hash(self) -> u64 {
        (self ^ (self >> 32)).wrapping_mul(SPREAD)
    }
}

impl Key for u128 {
    fn with(self, number: u64, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | u128::from(number)
    }

    fn without(self, bits: u32) -> (u64, Self) {
        (self as u64 & mask(bits), self >> bits)
    }

    fn hash(self) -> u64 {
        let high = ((self >> 64) as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        Key::hash(self as u64 ^ high ^ (high >> 29))
    }
}

/// The groups there are. Their numbers are in the order of their first rows.
pub(crate) struct Groups {
    columns: Vec<Column>,
    table: Width,
    by_codes: Option<ByCodes>,
}

enum Width {
    Narrow(Table<u64>),
    Wide(Table<u128>),
}

impl Groups {
    /// For key columns of these types, of which some may be null; none where they are too wide or of other types.
    pub(crate) fn new(columns: &[(DataType, bool)]) -> Option<Self> {
        let columns = columns.iter().map(|(ty, nullable)| Column::new(ty, *nullable));
        let columns = columns.collect::<Option<Vec<Column>>>()?;
        let bits: u32 = columns
            .iter()
            .map(|column| column.bits + u32::from(column.nullable))
            .sum();
        let table = match bits {
            0 => return None,
            1..=64 => Width::Narrow(Table::default()),
            65..=128 => Width::Wide(Table::default()),
            _ => return None,
        };
        Some(Self {
            columns,
            table,
            by_codes: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        match &self.table {
            Width::Narrow(table) => table.keys.len(),
            Width::Wide(table) => table.keys.len(),
        }
    }

    /// Memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        let table = match &self.table {
            Width::Narrow(table) => table.bytes(),
            Width::Wide(table) => table.bytes(),
        };
        table + self.columns.iter().map(|column| column.texts.bytes()).sum::<usize>()
    }

    /// Memory that a table takes which has to grow for so many more rows.
    pub(crate) fn growth_bytes(&self, rows: usize) -> usize {
        match &self.table {
            Width::Narrow(table) => table.growth_bytes(rows),
            Width::Wide(table) => table.growth_bytes(rows),
        }
    }

    /// The groups of a batch's rows, new ones among them. False when its keys are not for this table: no group was added then.
    pub(crate) fn add(&mut self, arrays: &[ArrayRef], groups: &mut Vec<usize>) -> Result<bool> {
        let Some(codes) = Codes::of(arrays) else {
            return self.add_keys(arrays, groups);
        };
        let known = self.by_codes.take().filter(|known| known.is_of(&codes));
        let mut by_codes = known.unwrap_or_else(|| ByCodes::new(&codes));
        let cells = codes.cells();
        let first = by_codes.first_unknown(&cells);
        if !first.is_empty() {
            let rows = UInt32Array::from(first.clone());
            let keys = arrays.iter().map(|array| take(array, &rows, None));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            if !self.add_keys(&keys, groups)? {
                return Ok(false);
            }
            by_codes.learn(&cells, &first, groups);
        }
        by_codes.find(&cells, groups);
        self.by_codes = Some(by_codes);
        Ok(true)
    }

    fn add_keys(&mut self, arrays: &[ArrayRef], groups: &mut Vec<usize>) -> Result<bool> {
        let mut numbers = Vec::with_capacity(arrays.len());
        for (column, array) in self.columns.iter_mut().zip(arrays) {
            match column.numbers(array)? {
                Some(of_column) => numbers.push((of_column, column.bits)),
                None => return Ok(false),
            }
            if column.nullable {
                numbers.push((nulls(array), 1));
            }
        }
        match &mut self.table {
            Width::Narrow(table) => table.add(&packed(numbers), groups),
            Width::Wide(table) => table.add(&packed(numbers), groups),
        }
        Ok(true)
    }

    /// The key columns of all groups, which are forgotten.
    pub(crate) fn take(&mut self) -> Result<Vec<ArrayRef>> {
        match &mut self.table {
            Width::Narrow(table) => unpacked(&self.columns, std::mem::take(table).keys),
            Width::Wide(table) => unpacked(&self.columns, std::mem::take(table).keys),
        }
    }
}

/// Groups that codes may lead to without a look at what they stand for.
const CELLS_MAX: usize = 4096;

/// A place where no group is known.
const UNKNOWN: usize = usize::MAX;

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

fn packed<K: Key>(columns: Vec<(Vec<u64>, u32)>) -> Vec<K> {
    let rows = columns.first().map_or(0, |(numbers, _)| numbers.len());
    let mut keys = vec![K::default(); rows];
    for (numbers, bits) in columns {
        for (key, number) in keys.iter_mut().zip(numbers) {
            *key = key.with(number, bits);
        }
    }
    keys
}

fn unpacked<K: Key>(columns: &[Column], mut keys: Vec<K>) -> Result<Vec<ArrayRef>> {
    let mut arrays = Vec::with_capacity(columns.len());
    for column in columns.iter().rev() {
        let mut last = |bits| -> Vec<u64> {
            let numbers = keys.iter_mut().map(|key| {
                let (number, rest) = key.without(bits);
                *key = rest;
                number
            });
            numbers.collect()
        };
        let nulls = column.nullable.then(|| last(1));
        let nulls = nulls.map(|nulls| NullBuffer::from_iter(nulls.into_iter().map(|null| null == 0)));
        let numbers = last(column.bits);
        arrays.push(column.array(&numbers, nulls.filter(|nulls| nulls.null_count() > 0))?);
    }
    arrays.reverse();
    Ok(arrays)
}

/// One for each row that is null.
fn nulls(array: &ArrayRef) -> Vec<u64> {
    match array.nulls() {
        Some(nulls) => nulls.iter().map(|valid| u64::from(!valid)).collect(),
        None => vec![0; array.len()],
    }
}

/// A column of keys.
struct Column {
    data_type: DataType,
    /// Of its numbers, without the one that says of a row that it is null.
    bits: u32,
    nullable: bool,
    texts: Texts,
    /// The numbers of the last dictionary's texts.
    dictionary: Option<(ArrayRef, Vec<u64>)>,
}

impl Column {
    fn new(data_type: &DataType, nullable: bool) -> Option<Self> {
        let bits = match data_type {
            DataType::Utf8View => TEXT_BITS,
            number if are_numbers(number) => u32::try_from(number.primitive_width()? * 8).ok()?,
            _ => return None,
        };
        Some(Self {
            data_type: data_type.clone(),
            bits,
            nullable,
            texts: Texts::default(),
            dictionary: None,
        })
    }

    /// The rows' values as numbers of the column's bits; none where they are no longer few enough.
    fn numbers(&mut self, array: &ArrayRef) -> Result<Option<Vec<u64>>> {
        let is_text = matches!(array.data_type(), DataType::Utf8View | DataType::Dictionary(..));
        if is_text != (self.data_type == DataType::Utf8View) {
            return internal_err!("keys of a group changed their type");
        }
        if let Some(coded) = array.as_dictionary_opt::<UInt32Type>() {
            return self.numbers_of_codes(coded);
        }
        let mut found: Vec<u64> = match array.as_string_view_opt() {
            Some(texts) => match self.texts.numbers(texts) {
                Some(numbers) => numbers,
                None => return Ok(None),
            },
            None => {
                let mask = mask(self.bits);
                let numbers = numbers(array)?.into_iter();
                numbers.map(|number| number.cast_unsigned() & mask).collect()
            }
        };
        Ok(self.settle_nulls(&mut found, array.nulls()).then_some(found))
    }

    fn numbers_of_codes(&mut self, coded: &DictionaryArray<UInt32Type>) -> Result<Option<Vec<u64>>> {
        let values = coded.values();
        if values.len() > coded.len() {
            // Most of them are not wanted.
            return self.numbers(&take(values, coded.keys(), None)?);
        }
        let known = self.dictionary.take().filter(|(known, _)| Arc::ptr_eq(known, values));
        let numbers = match known {
            Some((_, numbers)) => Some(numbers),
            None => self.texts.numbers(values.as_string_view()),
        };
        let Some(numbers) = numbers else {
            return Ok(None);
        };
        let codes = coded.keys().values().iter();
        let mut found: Vec<u64> = codes
            .map(|code| numbers.get(*code as usize).copied().unwrap_or(0))
            .collect();
        self.dictionary = Some((Arc::clone(values), numbers));
        Ok(self.settle_nulls(&mut found, coded.nulls()).then_some(found))
    }

    /// All nulls are one key. False where the plan knew of none.
    fn settle_nulls(&self, found: &mut [u64], nulls: Option<&NullBuffer>) -> bool {
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
            return true;
        };
        for (number, valid) in found.iter_mut().zip(nulls) {
            *number = if valid { *number } else { 0 };
        }
        self.nullable
    }

    fn array(&self, numbers: &[u64], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        if self.data_type == DataType::Utf8View {
            return self.texts.array(numbers, nulls.as_ref());
        }
        fn typed<T: ArrowPrimitiveType>(
            numbers: &[u64],
            bits: u32,
            nulls: Option<NullBuffer>,
            data_type: &DataType,
        ) -> Result<ArrayRef>
        where
            T::Native: TryFrom<i64>,
        {
            let is_signed = !data_type.is_unsigned_integer();
            let unused = u64::BITS - bits;
            let native = |number: &u64| {
                let number = number.cast_signed();
                let number = if is_signed {
                    (number << unused) >> unused
                } else {
                    number
                };
                // Of a null there is any.
                T::Native::try_from(number).unwrap_or_default()
            };
            let values: Vec<T::Native> = numbers.iter().map(native).collect();
            let array = PrimitiveArray::<T>::try_new(values.into(), nulls)?;
            Ok(Arc::new(array.with_data_type(data_type.clone())))
        }
        macro_rules! typed {
            ($type:ty) => {
                typed::<$type>(numbers, self.bits, nulls, &self.data_type)
            };
        }
        with_number_type!(
            &self.data_type,
            typed,
            internal_err!("{} is no type of whole numbers", self.data_type)
        )
    }
}

/// Numbers of texts: short ones are even, long ones odd.
#[derive(Default)]
struct Texts {
    /// By their views.
    short: Table<u128>,
    long: HashMap<Arc<str>, u32, RandomState>,
    long_texts: Vec<Arc<str>>,
    long_bytes: usize,
}

impl Texts {
    fn bytes(&self) -> usize {
        self.short.bytes() + self.long_bytes + self.long.capacity() * (size_of::<Arc<str>>() + size_of::<u64>())
    }

    fn numbers(&mut self, texts: &arrow::array::StringViewArray) -> Option<Vec<u64>> {
        let views = texts.views();
        let is_short = |view: &u128| (*view as u32) <= SHORT_TEXT_BYTES;
        let mut places = Vec::new();
        if views.iter().all(is_short) {
            self.short.add(views, &mut places);
            return Some(places.into_iter().map(|place| place as u64 * 2).collect());
        }
        let short: Vec<u128> = views.iter().copied().filter(is_short).collect();
        self.short.add(&short, &mut places);
        let mut places = places.into_iter();
        let mut numbers = Vec::with_capacity(views.len());
        for (row, view) in views.iter().enumerate() {
            let number = match is_short(view) {
                true => places.next().unwrap_or_default() as u64 * 2,
                // What a null's view leads to is nobody's.
                false if texts.is_null(row) => 0,
                false => self.long(texts.value(row))? * 2 + 1,
            };
            numbers.push(number);
        }
        Some(numbers)
    }

    fn long(&mut self, text: &str) -> Option<u64> {
        if let Some(number) = self.long.get(text) {
            return Some(u64::from(*number));
        }
        let number = u32::try_from(self.long_texts.len()).ok()?;
        if self.long_texts.len() == LONG_TEXTS_MAX {
            return None;
        }
        let text: Arc<str> = Arc::from(text);
        self.long_bytes += text.len();
        self.long_texts.push(Arc::clone(&text));
        match self.long.entry(text) {
            Entry::Occupied(found) => Some(u64::from(*found.get())),
            Entry::Vacant(entry) => Some(u64::from(*entry.insert(number))),
        }
    }

    fn array(&self, numbers: &[u64], nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
        let mut texts = StringViewBuilder::with_capacity(numbers.len());
        for (row, number) in numbers.iter().enumerate() {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                texts.append_null();
                continue;
            }
            let place = (*number / 2) as usize;
            if *number % 2 == 1 {
                texts.append_value(&self.long_texts[place]);
                continue;
            }
            let view = self.short.keys[place].to_le_bytes();
            let bytes = &view[4..4 + usize::from(view[0])];
            match std::str::from_utf8(bytes) {
                Ok(text) => texts.append_value(text),
                Err(_) => return internal_err!("a text of a group is not UTF-8"),
            }
        }
        Ok(Arc::new(texts.finish()))
    }
}

/// Open addressing with linear probing, at most three quarters full. Keys are numbered as they come.
#[derive(Default)]
struct Table<K> {
    /// A power of two of them, or none.
    slots: Vec<Slot<K>>,
    keys: Vec<K>,
}

#[derive(Clone, Copy, Default)]
struct Slot<K> {
    key: K,
    /// The key's number plus one; zero is none.
    number: u32,
}

impl<K: Key> Table<K> {
    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<K>>() + self.keys.capacity() * size_of::<K>()
    }

    fn add(&mut self, keys: &[K], numbers: &mut Vec<usize>) {
        if self.is_full(keys.len()) {
            self.grow(keys.len());
        }
        let shift = self.shift();
        // First the keys that are where they are looked for: these reads do not wait for each other.
        numbers.clear();
        numbers.extend(keys.iter().map(|key| {
            let slot = &self.slots[place(*key, shift)];
            match slot.number != 0 && slot.key == *key {
                true => slot.number as usize - 1,
                false => UNKNOWN,
            }
        }));
        for (key, number) in keys.iter().zip(numbers.iter_mut()) {
            if *number == UNKNOWN {
                *number = self.find_or_insert(*key, shift);
            }
        }
    }

    fn is_full(&self, more: usize) -> bool {
        (self.keys.len() + more) * 4 > self.slots.len() * 3
    }

    fn slots_for(&self, more: usize) -> usize {
        ((self.keys.len() + more) * 3 / 2).next_power_of_two().max(2)
    }

    fn growth_bytes(&self, more: usize) -> usize {
        match self.is_full(more) {
            true => self.slots_for(more) * size_of::<Slot<K>>(),
            false => 0,
        }
    }

    fn find_or_insert(&mut self, key: K, shift: u32) -> usize {
        let last = self.slots.len() - 1;
        let mut at = place(key, shift);
        loop {
            let slot = &mut self.slots[at];
            if slot.number == 0 {
                self.keys.push(key);
                *slot = Slot {
                    key,
                    number: self.keys.len() as u32,
                };
                return self.keys.len() - 1;
            }
            if slot.key == key {
                return slot.number as usize - 1;
            }
            at = (at + 1) & last;
        }
    }

    fn shift(&self) -> u32 {
        u64::BITS - self.slots.len().trailing_zeros()
    }

    /// Makes room for so many more keys.
    fn grow(&mut self, more: usize) {
        let slots = self.slots_for(more);
        // All is made anew from the keys: the old ones need not stay beside the new.
        self.slots = Vec::new();
        self.slots.resize(slots, Slot::default());
        let (shift, last) = (self.shift(), slots - 1);
        for (number, key) in self.keys.iter().enumerate() {
            let mut at = place(*key, shift);
            while self.slots[at].number != 0 {
                at = (at + 1) & last;
            }
            self.slots[at] = Slot {
                key: *key,
                number: number as u32 + 1,
            };
        }
    }
}

fn place<K: Key>(key: K, shift: u32) -> usize {
    usize::try_from(key.hash() >> shift).unwrap_or(0)
}
