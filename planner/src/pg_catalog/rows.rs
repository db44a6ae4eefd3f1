//! Rows of a system relation, written column by column; columns nobody gives are empty.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Decimal256Builder, Float32Builder, Int16Builder, Int32Builder,
    Int64Builder, ListBuilder, RecordBatch, StringViewBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    new_null_array,
};
use arrow::datatypes::{DataType, FieldRef, i256};

use super::facts::SystemRelation;
use crate::error::{Error, Result};

/// One cell.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Small(i16),
    Int(i32),
    Big(i64),
    Real(f32),
    /// Of a numeric, which is whole in system relations.
    Whole(i256),
    Oid(u32),
    /// Microseconds since 1970
    Time(i64),
    Text(&'a str),
    Owned(String),
    Smalls(Vec<i16>),
    Oids(Vec<u32>),
    Texts(Vec<String>),
    Reals(Vec<f32>),
}

impl<'a> Cell<'a> {
    pub(crate) fn text(text: Option<&'a str>) -> Self {
        text.map_or(Cell::Null, Cell::Text)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Cell::Text(text)
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(text: &'a String) -> Self {
        Cell::Text(text)
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Cell::Owned(text)
    }
}

impl From<bool> for Cell<'_> {
    fn from(flag: bool) -> Self {
        Cell::Bool(flag)
    }
}

impl From<u32> for Cell<'_> {
    fn from(oid: u32) -> Self {
        Cell::Oid(oid)
    }
}

impl From<i16> for Cell<'_> {
    fn from(number: i16) -> Self {
        Cell::Small(number)
    }
}

impl From<i32> for Cell<'_> {
    fn from(number: i32) -> Self {
        Cell::Int(number)
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Cell::Big(number)
    }
}

impl From<i256> for Cell<'_> {
    fn from(number: i256) -> Self {
        Cell::Whole(number)
    }
}

impl From<Vec<String>> for Cell<'_> {
    fn from(texts: Vec<String>) -> Self {
        Cell::Texts(texts)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

/// Rows under way. `WIDTH` columns are given, the others get what is empty for their type.
pub(crate) struct Rows<const WIDTH: usize> {
    relation: &'static SystemRelation,
    places: [usize; WIDTH],
    columns: [Column; WIDTH],
    count: usize,
}

enum Column {
    Bool(BooleanBuilder),
    Small(Int16Builder),
    Int(Int32Builder),
    Big(Int64Builder),
    Real(Float32Builder),
    Whole(Decimal256Builder),
    Oid(UInt32Builder),
    Text(StringViewBuilder),
    Smalls(ListBuilder<Int16Builder>),
    Oids(ListBuilder<UInt32Builder>),
    Texts(ListBuilder<StringViewBuilder>),
    Reals(ListBuilder<Float32Builder>),
    Time(TimestampMicrosecondBuilder),
}

impl<const WIDTH: usize> Rows<WIDTH> {
    /// Rows that give these columns.
    pub(crate) fn of(relation: &'static SystemRelation, names: [&str; WIDTH]) -> Result<Self> {
        let mut places = [0; WIDTH];
        for (place, name) in places.iter_mut().zip(names) {
            let found = relation.columns.iter().position(|column| column.name == name);
            *place = found.ok_or_else(|| Error::internal(format!("{} has no column {name}", relation.name)))?;
        }
        let mut columns = Vec::with_capacity(WIDTH);
        for place in places {
            columns.push(Column::of(relation.arrow.field(place).data_type())?);
        }
        let columns: [Column; WIDTH] = columns
            .try_into()
            .map_err(|_| Error::internal("as many columns as names"))?;
        Ok(Self {
            relation,
            places,
            columns,
            count: 0,
        })
    }

    pub(crate) fn push(&mut self, cells: [Cell<'_>; WIDTH]) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.count += 1;
    }

    pub(crate) fn finish(mut self) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.relation.columns.len());
        for (at, field) in self.relation.arrow.fields().iter().enumerate() {
            arrays.push(match self.places.iter().position(|place| *place == at) {
                Some(given) => self.columns[given].finish(),
                None => empty(field, self.relation.columns[at].not_null, self.count)?,
            });
        }
        RecordBatch::try_new(Arc::clone(&self.relation.arrow), arrays)
            .map_err(|error| Error::internal(format!("the rows of {}: {error}", self.relation.name)))
    }
}

/// A column nobody gave.
fn empty(field: &FieldRef, not_null: bool, count: usize) -> Result<ArrayRef> {
    let ty = field.data_type();
    if !not_null {
        return Ok(new_null_array(ty, count));
    }
    let mut column = Column::of(ty)?;
    for _ in 0..count {
        column.push(match ty {
            DataType::Boolean => Cell::Bool(false),
            DataType::Int16 => Cell::Small(0),
            DataType::Int32 => Cell::Int(0),
            DataType::Int64 => Cell::Big(0),
            DataType::Float32 => Cell::Real(0.0),
            DataType::UInt32 => Cell::Oid(0),
            DataType::Utf8View => Cell::Text(""),
            _ => Cell::Null,
        });
    }
    Ok(column.finish())
}

impl Column {
    fn of(ty: &DataType) -> Result<Self> {
        Ok(match ty {
            DataType::Boolean => Column::Bool(BooleanBuilder::new()),
            DataType::Int16 => Column::Small(Int16Builder::new()),
            DataType::Int32 => Column::Int(Int32Builder::new()),
            DataType::Int64 => Column::Big(Int64Builder::new()),
            DataType::Float32 => Column::Real(Float32Builder::new()),
            DataType::Decimal256(_, _) => Column::Whole(Decimal256Builder::new().with_data_type(ty.clone())),
            DataType::UInt32 => Column::Oid(UInt32Builder::new()),
            DataType::Utf8View => Column::Text(StringViewBuilder::new()),
            DataType::Timestamp(_, _) => Column::Time(TimestampMicrosecondBuilder::new().with_data_type(ty.clone())),
            DataType::List(element) => match element.data_type() {
                DataType::Int16 => {
                    Column::Smalls(ListBuilder::new(Int16Builder::new()).with_field(Arc::clone(element)))
                }
                DataType::UInt32 => {
                    Column::Oids(ListBuilder::new(UInt32Builder::new()).with_field(Arc::clone(element)))
                }
                DataType::Float32 => {
                    Column::Reals(ListBuilder::new(Float32Builder::new()).with_field(Arc::clone(element)))
                }
                DataType::Utf8View => {
                    Column::Texts(ListBuilder::new(StringViewBuilder::new()).with_field(Arc::clone(element)))
                }
                other => return Err(Error::internal(format!("system relations have no arrays of {other}"))),
            },
            other => return Err(Error::internal(format!("system relations have no {other}"))),
        })
    }

    fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Column::Bool(column), Cell::Bool(flag)) => column.append_value(flag),
            (Column::Small(column), Cell::Small(number)) => column.append_value(number),
            (Column::Int(column), Cell::Int(number)) => column.append_value(number),
            (Column::Int(column), Cell::Small(number)) => column.append_value(number.into()),
            (Column::Big(column), Cell::Big(number)) => column.append_value(number),
            (Column::Real(column), Cell::Real(number)) => column.append_value(number),
            (Column::Whole(column), Cell::Whole(number)) => column.append_value(number),
            (Column::Oid(column), Cell::Oid(oid)) => column.append_value(oid),
            (Column::Time(column), Cell::Time(time)) => column.append_value(time),
            (Column::Text(column), Cell::Text(text)) => column.append_value(text),
            (Column::Text(column), Cell::Owned(text)) => column.append_value(text),
            (Column::Smalls(column), Cell::Smalls(numbers)) => column.append_value(numbers.into_iter().map(Some)),
            (Column::Texts(column), Cell::Texts(texts)) => column.append_value(texts.into_iter().map(Some)),
            (Column::Reals(column), Cell::Reals(numbers)) => column.append_value(numbers.into_iter().map(Some)),
            (Column::Oids(column), Cell::Oids(oids)) => column.append_value(oids.into_iter().map(Some)),
            (column, cell) => {
                debug_assert!(
                    matches!(cell, Cell::Null),
                    "a cell of another type than its column: {cell:?}"
                );
                column.push_null();
            }
        }
    }

    fn push_null(&mut self) {
        match self {
            Column::Bool(column) => column.append_null(),
            Column::Small(column) => column.append_null(),
            Column::Int(column) => column.append_null(),
            Column::Big(column) => column.append_null(),
            Column::Real(column) => column.append_null(),
            Column::Whole(column) => column.append_null(),
            Column::Oid(column) => column.append_null(),
            Column::Text(column) => column.append_null(),
            Column::Smalls(column) => column.append_null(),
            Column::Oids(column) => column.append_null(),
            Column::Texts(column) => column.append_null(),
            Column::Reals(column) => column.append_null(),
            Column::Time(column) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Bool(column) => ArrayBuilder::finish(column),
            Column::Small(column) => ArrayBuilder::finish(column),
            Column::Int(column) => ArrayBuilder::finish(column),
            Column::Big(column) => ArrayBuilder::finish(column),
            Column::Real(column) => ArrayBuilder::finish(column),
            Column::Whole(column) => ArrayBuilder::finish(column),
            Column::Oid(column) => ArrayBuilder::finish(column),
            Column::Text(column) => ArrayBuilder::finish(column),
            Column::Smalls(column) => ArrayBuilder::finish(column),
            Column::Oids(column) => ArrayBuilder::finish(column),
            Column::Texts(column) => ArrayBuilder::finish(column),
            Column::Reals(column) => ArrayBuilder::finish(column),
            Column::Time(column) => ArrayBuilder::finish(column),
        }
    }
}
