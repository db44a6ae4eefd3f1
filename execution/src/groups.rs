//! From the keys of rows to the numbers of their groups.
//!
//! A key is one number of 64 or 128 bits: its columns beside each other, each with as many bits as its type has, and one more
//! where it may be null. Texts are numbered first. Equal numbers are equal keys, and nothing else has to be hashed or compared.
//!
//! Of texts that come as codes of a dictionary only those of the dictionary are numbered. Where all columns of a key come so and
//! the dictionaries are small, a group is found by its codes alone ([`ByCodes`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, PrimitiveArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
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

/// The groups there are. Their numbers are in the order of their first rows.
pub(crate) struct Groups {
    columns: Vec<Column>,
    table: Width,
    by_codes: Option<ByCodes>,
}

enum Width {
    /// One column of texts, whose numbers have no gaps.
    Dense(Dense),
    Narrow(NarrowTable),
    Wide(WideTable),
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
        let is_text = |column: &Column| column.data_type == DataType::Utf8View;
        let table = match bits {
            0 => return None,
            _ if columns.len() == 1 && columns.iter().all(is_text) => Width::Dense(Dense::default()),
            1..=64 => Width::Narrow(NarrowTable::default()),
            65..=128 => Width::Wide(WideTable::default()),
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
            Width::Dense(table) => table.keys().len(),
            Width::Narrow(table) => table.keys().len(),
            Width::Wide(table) => table.keys().len(),
        }
    }

    /// Memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        let table = match &self.table {
            Width::Dense(table) => table.bytes(),
            Width::Narrow(table) => table.bytes(),
            Width::Wide(table) => table.bytes(),
        };
        table + self.columns.iter().map(|column| column.texts.bytes()).sum::<usize>()
    }

    /// Memory that a table takes which has to grow for so many more rows.
    pub(crate) fn growth_bytes(&self, rows: usize) -> usize {
        match &self.table {
            // What texts take is far more, and known only when they are there.
            Width::Dense(_) => 0,
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
            Width::Dense(table) => table.add(&packed(numbers), groups),
            Width::Narrow(table) => table.add(&packed(numbers), groups),
            Width::Wide(table) => table.add(&packed(numbers), groups),
        }
        Ok(true)
    }

    /// The key columns of all groups, which are forgotten.
    pub(crate) fn take(&mut self) -> Result<Vec<ArrayRef>> {
        match &mut self.table {
            Width::Dense(table) => unpacked(&mut self.columns, std::mem::take(table).into_keys()),
            Width::Narrow(table) => unpacked(&mut self.columns, std::mem::take(table).into_keys()),
            Width::Wide(table) => unpacked(&mut self.columns, std::mem::take(table).into_keys()),
        }
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

fn unpacked<K: Key>(columns: &mut [Column], mut keys: Vec<K>) -> Result<Vec<ArrayRef>> {
    let mut arrays = Vec::with_capacity(columns.len());
    for column in columns.iter_mut().rev() {
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
        arrays.push(column.take(&numbers, nulls.filter(|nulls| nulls.null_count() > 0))?);
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
    /// The numbers of the last dictionary's texts, of those that came.
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

    /// Of a dictionary's texts only those are numbered that come.
    fn numbers_of_codes(&mut self, coded: &DictionaryArray<UInt32Type>) -> Result<Option<Vec<u64>>> {
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
        let mut found: Vec<u64> = codes.iter().map(number).collect();
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

    fn take(&mut self, numbers: &[u64], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        if self.data_type == DataType::Utf8View {
            return self.texts.take(numbers, nulls);
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
