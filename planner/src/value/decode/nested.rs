//! Arrays and composites: their elements and fields go through decoders of their own.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{FieldRef, Fields};
use staffa_catalog::SqlType;

use super::{Builder, ColumnDecoder, broken};
use crate::error::{Error, ErrorKind, Result};
use crate::function::rounded;
use crate::types::{arrow_field, element_field};
use crate::value::oid::{innermost, type_oid};
use crate::value::{array, invalid_binary, short_binary};

#[derive(Debug)]
pub(super) struct ArrayBuilder {
    element: Box<ColumnDecoder>,
    field: FieldRef,
    ty: SqlType,
    element_oid: u32,
    /// How many arrays are inside each other, this one included.
    dimensions: usize,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

#[derive(Debug)]
pub(super) struct StructBuilder {
    columns: Vec<ColumnDecoder>,
    fields: Fields,
    valid: Vec<bool>,
}

impl ArrayBuilder {
    pub(super) fn new(element: &SqlType, decoder: ColumnDecoder, zone: &str) -> Self {
        Self {
            element: Box::new(decoder),
            field: Arc::new(element_field(element, zone)),
            ty: element.clone(),
            element_oid: type_oid(innermost(element)),
            dimensions: 1 + dimensions(element),
            offsets: vec![0],
            valid: Vec::new(),
        }
    }

    pub(super) fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.valid.push(false);
    }

    pub(super) fn append_text(&mut self, text: &[u8]) -> Result<()> {
        for element in array::split_array(text, self.dimensions > 1)? {
            self.element.append(element.as_deref())?;
        }
        self.close()
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        let mut values = self.element.finish()?;
        if let SqlType::Rounded(plain, rounding) = &self.ty {
            values = rounded(&values, plain, *rounding)?;
        }
        let offsets = OffsetBuffer::new(offsets.into());
        Ok(Arc::new(
            ListArray::try_new(Arc::clone(&self.field), offsets, values, Some(valid)).map_err(broken)?,
        ))
    }

    /// Ends a row's array behind the elements appended.
    fn close(&mut self) -> Result<()> {
        let end = i32::try_from(self.element.len())
            .map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "too many array elements in one batch"))?;
        self.offsets.push(end);
        self.valid.push(true);
        Ok(())
    }

    pub(super) fn append_binary(&mut self, bytes: &[u8]) -> Result<()> {
        let mut input = Input(bytes);
        let count = input.int()?;
        let flags = input.int()?;
        let element_oid = input.int()? as u32;
        if !(0..=6).contains(&count) {
            return Err(Error::new(
                ErrorKind::InvalidBinaryRepresentation,
                format!("invalid number of dimensions: {count}"),
            ));
        }
        if !matches!(flags, 0 | 1) {
            return Err(Error::new(
                ErrorKind::InvalidBinaryRepresentation,
                "invalid array flags",
            ));
        }
        if element_oid != self.element_oid && !(is_text_oid(element_oid) && is_text_oid(self.element_oid)) {
            return Err(Error::new(
                ErrorKind::DatatypeMismatch,
                format!(
                    "binary data has array element type {element_oid} instead of expected {}",
                    self.element_oid
                ),
            ));
        }
        let mut lengths = Vec::new();
        for _ in 0..count {
            let length = input.int()?;
            input.int()?;
            lengths.push(usize::try_from(length).map_err(|_| invalid_binary())?);
        }
        if count == 0 {
            return if input.0.is_empty() {
                self.close()
            } else {
                Err(invalid_binary())
            };
        }
        if lengths.len() != self.dimensions {
            return Err(
                Error::new(ErrorKind::DatatypeMismatch, "wrong number of array dimensions").with_detail(format!(
                    "The value has {} dimensions, the type has {}.",
                    lengths.len(),
                    self.dimensions
                )),
            );
        }
        self.append_elements(&lengths, &mut input)?;
        if input.0.is_empty() {
            Ok(())
        } else {
            Err(invalid_binary())
        }
    }

    fn append_elements(&mut self, lengths: &[usize], input: &mut Input<'_>) -> Result<()> {
        let Some((&length, inner)) = lengths.split_first() else {
            return Err(invalid_binary());
        };
        for _ in 0..length {
            match &mut self.element.builder {
                Builder::Array(array) if !inner.is_empty() => {
                    // Each inner array costs at least its elements' lengths in the message, unless it is empty.
                    if inner.contains(&0) {
                        return Err(invalid_binary());
                    }
                    array.append_elements(inner, input)?;
                    self.element.length += 1;
                }
                _ => {
                    let value = input.value()?;
                    self.element.append(value)?;
                }
            }
        }
        self.close()
    }
}

impl StructBuilder {
    pub(super) fn new(fields: &[(String, SqlType)], columns: Vec<ColumnDecoder>, zone: &str) -> Self {
        let fields = fields
            .iter()
            .map(|(name, ty)| arrow_field(name, ty, true, zone))
            .collect();
        Self {
            columns,
            fields,
            valid: Vec::new(),
        }
    }

    pub(super) fn append_null(&mut self) {
        for column in &mut self.columns {
            column.append_null();
            column.length += 1;
        }
        self.valid.push(false);
    }

    pub(super) fn append_text(&mut self, text: &[u8]) -> Result<()> {
        let values = array::split_record(text, self.columns.len())?;
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.append(value.as_deref())?;
        }
        self.valid.push(true);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let valid = std::mem::take(&mut self.valid);
        let length = valid.len();
        let columns = self
            .columns
            .iter_mut()
            .map(ColumnDecoder::finish)
            .collect::<Result<Vec<_>>>()?;
        let valid = Some(NullBuffer::from(valid));
        let fields = self.fields.clone();
        Ok(Arc::new(
            StructArray::try_new_with_length(fields, columns, valid, length).map_err(broken)?,
        ))
    }

    pub(super) fn append_binary(&mut self, bytes: &[u8]) -> Result<()> {
        let mut input = Input(bytes);
        let count = input.int()?;
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(Error::new(
                ErrorKind::DatatypeMismatch,
                format!("wrong number of columns: {count}, expected {}", self.columns.len()),
            ));
        }
        for column in &mut self.columns {
            input.int()?;
            column.append(input.value()?)?;
        }
        self.valid.push(true);
        if input.0.is_empty() {
            Ok(())
        } else {
            Err(invalid_binary())
        }
    }
}

/// Bytes of a binary value not read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn int(&mut self) -> Result<i32> {
        let (head, rest) = self.0.split_first_chunk::<4>().ok_or_else(short_binary)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*head))
    }

    /// A value with its length before it.
    fn value(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| short_binary())?;
        let (value, rest) = self.0.split_at_checked(length).ok_or_else(short_binary)?;
        self.0 = rest;
        Ok(Some(value))
    }
}

fn dimensions(ty: &SqlType) -> usize {
    match ty {
        SqlType::Array(element) => 1 + dimensions(element),
        _ => 0,
    }
}

/// text, varchar and bpchar elements are the same bytes.
fn is_text_oid(oid: u32) -> bool {
    matches!(oid, 25 | 1042 | 1043 | 19)
}
