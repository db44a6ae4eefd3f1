//! Maps have no SQL type; they are shown as the text of a JSON object.

use arrow::array::{Array, MapArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use bytes::BytesMut;
use staffa_catalog::SqlType;

use super::{ColumnEncoder, EncodedColumn};
use crate::error::Result;
use crate::types::sql_type;
use crate::value::{Format, FormatSettings, json};

/// The entries of a map array with what writes them.
#[derive(Debug)]
pub(super) struct MapCells {
    offsets: OffsetBuffer<i32>,
    keys: Entries,
    values: Entries,
}

#[derive(Debug)]
struct Entries {
    encoder: ColumnEncoder,
    array: arrow::array::ArrayRef,
    /// Shown without quotes: numbers and Booleans.
    bare: bool,
}

impl MapCells {
    pub(super) fn new(array: &MapArray, settings: &FormatSettings) -> Result<Self> {
        let entries = |array: &arrow::array::ArrayRef| -> Result<Entries> {
            let ty = sql_type(&Field::new("entry", array.data_type().clone(), true));
            let encoder = ColumnEncoder::new(
                &Field::new("entry", array.data_type().clone(), true),
                &ty,
                Format::Text,
                settings,
            )?;
            let bare = matches!(
                ty,
                SqlType::SmallInt | SqlType::Integer | SqlType::BigInt | SqlType::Numeric { .. } | SqlType::Boolean
            );
            Ok(Entries {
                encoder,
                array: array.clone(),
                bare,
            })
        };
        Ok(Self {
            offsets: array.offsets().clone(),
            keys: entries(array.keys())?,
            values: entries(array.values())?,
        })
    }

    pub(super) fn write(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let keys = self.keys.encoder.column(&self.keys.array)?;
        let values = self.values.encoder.column(&self.values.array)?;
        let mut text = String::from("{");
        for (at, index) in (self.offsets[row] as usize..self.offsets[row + 1] as usize).enumerate() {
            if at > 0 {
                text.push_str(", ");
            }
            write_entry(&keys, index, false, &mut text)?;
            text.push_str(": ");
            write_entry(&values, index, self.values.bare, &mut text)?;
        }
        text.push('}');
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn write_entry(column: &EncodedColumn<'_>, index: usize, bare: bool, out: &mut String) -> Result<()> {
    let mut bytes = BytesMut::new();
    if !column.write(index, &mut bytes)? {
        out.push_str("null");
        return Ok(());
    }
    let text = String::from_utf8_lossy(&bytes);
    match (bare, &*text) {
        (true, "t") => out.push_str("true"),
        (true, "f") => out.push_str("false"),
        (true, text) => out.push_str(text),
        (false, text) => json::write_string(text, out),
    }
    Ok(())
}
