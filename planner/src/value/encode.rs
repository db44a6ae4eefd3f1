//! From Arrow arrays to PostgreSQL's bytes: what a column needs is chosen once, values are written straight into the
//! output buffer.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Field, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt32Type,
};
use bytes::{BufMut, BytesMut};
use staffa_catalog::{Digits, SqlType, SystemStorage, SystemType};

use super::oid::{innermost, type_oid};
use super::{Format, FormatSettings, array, datetime, interval, number, numeric, string};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{element_type, sql_type};

mod cells;
mod map;

use cells::{Cells, Offsets};

/// Writes the values of one result column. Made once per column from its Arrow type, SQL type and format.
#[derive(Clone, Debug)]
pub struct ColumnEncoder {
    /// Arrays of another type are cast to this one first.
    target: DataType,
    ty: SqlType,
    format: Format,
    settings: FormatSettings,
    /// Encoders of an array's element or a composite's fields.
    children: Vec<ColumnEncoder>,
}

/// One array of a column, ready to be written row by row.
#[derive(Debug)]
pub struct EncodedColumn<'a> {
    encoder: &'a ColumnEncoder,
    nulls: Option<NullBuffer>,
    cells: Cells<'a>,
}

impl ColumnEncoder {
    /// An encoder for arrays of the field's type, which are shown as `ty`.
    ///
    /// # Errors
    /// `FeatureNotSupported` when the Arrow type has no representation.
    pub fn new(field: &Field, ty: &SqlType, format: Format, settings: &FormatSettings) -> Result<Self> {
        let ty = ty.plain();
        let target = target_type(field.data_type(), ty)?;
        let child = |field: &Field, ty: &SqlType| ColumnEncoder::new(field, ty, format, settings);
        let children = match (&target, ty) {
            (DataType::Struct(fields), SqlType::Struct(types)) if fields.len() == types.len() => fields
                .iter()
                .zip(types)
                .map(|(field, (_, ty))| child(field, ty))
                .collect::<Result<_>>()?,
            (DataType::Struct(fields), _) => fields
                .iter()
                .map(|field| child(field, &sql_type(field)))
                .collect::<Result<_>>()?,
            (list, ty) => match (list_element(list), ty) {
                (Some(element), SqlType::Array(ty)) => vec![child(element, ty)?],
                (Some(element), _) => vec![child(element, &element_type(element))?],
                (None, _) => Vec::new(),
            },
        };
        Ok(Self {
            target,
            ty: ty.clone(),
            format,
            settings: settings.clone(),
            children,
        })
    }

    /// Prepares an array of the column.
    ///
    /// # Errors
    /// `NumericOutOfRange` when values do not fit the SQL type the column was announced as.
    pub fn column<'a>(&'a self, array: &ArrayRef) -> Result<EncodedColumn<'a>> {
        let array = if *array.data_type() == self.target {
            ArrayRef::clone(array)
        } else {
            // Without `safe`, which would turn what does not fit into NULL.
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            cast_with_options(array, &self.target, &options).map_err(|error| {
                Error::new(
                    ErrorKind::NumericOutOfRange,
                    format!("value out of range for type {}", self.ty),
                )
                .with_detail(error.to_string())
            })?
        };
        let cells = self.cells(&array)?;
        Ok(EncodedColumn {
            encoder: self,
            nulls: array.logical_nulls(),
            cells,
        })
    }

    /// Which digits of a numeric are shown.
    fn digits(&self) -> Digits {
        match self.ty {
            SqlType::Numeric { digits, .. } => digits,
            _ => Digits::All,
        }
    }

    fn cells<'a>(&'a self, array: &ArrayRef) -> Result<Cells<'a>> {
        let child = |at: usize, array: &ArrayRef| -> Result<EncodedColumn<'a>> {
            let encoder = self
                .children
                .get(at)
                .ok_or_else(|| Error::internal("an encoder of a nested type has no child"))?;
            encoder.column(array)
        };
        Ok(match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Boolean(array.as_boolean().clone()),
            DataType::Int16 => Cells::Int16(array.as_primitive::<Int16Type>().clone()),
            DataType::Int32 => Cells::Int32(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Cells::Int64(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt32 => Cells::UInt32(array.as_primitive::<UInt32Type>().clone()),
            DataType::Float32 => Cells::Float32(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Cells::Float64(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(_, scale) => {
                Cells::Decimal128(array.as_primitive::<Decimal128Type>().clone(), *scale, self.digits())
            }
            DataType::Decimal256(_, scale) => {
                Cells::Decimal256(array.as_primitive::<Decimal256Type>().clone(), *scale, self.digits())
            }
            DataType::Utf8 => Cells::Utf8(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Cells::LargeUtf8(array.as_string::<i64>().clone()),
            DataType::Utf8View => Cells::Utf8View(array.as_string_view().clone()),
            DataType::Binary => Cells::Binary(array.as_binary::<i32>().clone()),
            DataType::LargeBinary => Cells::LargeBinary(array.as_binary::<i64>().clone()),
            DataType::BinaryView => Cells::BinaryView(array.as_binary_view().clone()),
            DataType::FixedSizeBinary(_) => Cells::FixedSizeBinary(array.as_fixed_size_binary().clone()),
            DataType::Date32 => Cells::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Time64(_) => Cells::Time(array.as_primitive::<Time64MicrosecondType>().clone()),
            DataType::Timestamp(_, _) => Cells::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone()),
            DataType::Interval(_) => Cells::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone()),
            DataType::Duration(_) => Cells::Duration(array.as_primitive::<DurationMicrosecondType>().clone()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Cells::List(
                    Offsets::Small(list.offsets().clone()),
                    Box::new(child(0, list.values())?),
                )
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                Cells::List(
                    Offsets::Large(list.offsets().clone()),
                    Box::new(child(0, list.values())?),
                )
            }
            DataType::FixedSizeList(_, length) => {
                let list = array.as_fixed_size_list();
                let length = usize::try_from(*length).unwrap_or(0);
                Cells::List(Offsets::Fixed(length), Box::new(child(0, list.values())?))
            }
            DataType::Struct(_) => {
                let fields = array.as_struct();
                let columns = fields
                    .columns()
                    .iter()
                    .enumerate()
                    .map(|(at, column)| child(at, column))
                    .collect::<Result<_>>()?;
                Cells::Struct(columns)
            }
            DataType::Map(_, _) => Cells::Map(map::MapCells::new(array.as_map(), &self.settings)?),
            other => return Err(unsupported(other)),
        })
    }
}

impl EncodedColumn<'_> {
    /// Appends the bytes of a row's value, without a length before them. False when it is NULL; then nothing is written.
    ///
    /// # Errors
    /// When the value has no such representation, for example a ragged array in binary.
    pub fn write(&self, row: usize, out: &mut BytesMut) -> Result<bool> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(false);
        }
        match self.encoder.format {
            Format::Text => self.write_text(row, out)?,
            Format::Binary => self.write_binary(row, out)?,
        }
        Ok(!matches!(self.cells, Cells::Null))
    }

    fn write_text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let settings = &self.encoder.settings;
        match &self.cells {
            Cells::Null => {}
            Cells::Boolean(cells) => out.put_u8(if cells.value(row) { b't' } else { b'f' }),
            Cells::Int16(cells) => number::write_integer(i64::from(cells.value(row)), out),
            Cells::Int32(cells) => number::write_integer(i64::from(cells.value(row)), out),
            Cells::Int64(cells) => number::write_integer(cells.value(row), out),
            Cells::UInt32(cells) => self.write_number(cells.value(row), out),
            Cells::Float32(cells) => number::write_real(cells.value(row), settings.extra_float_digits, out),
            Cells::Float64(cells) => number::write_double(cells.value(row), settings.extra_float_digits, out),
            Cells::Decimal128(cells, scale, shown) => numeric::write(cells.value(row), *scale, *shown, out),
            Cells::Decimal256(cells, scale, shown) => numeric::write_wide(cells.value(row), *scale, *shown, out),
            Cells::Utf8(cells) => out.extend_from_slice(cells.value(row).as_bytes()),
            Cells::LargeUtf8(cells) => out.extend_from_slice(cells.value(row).as_bytes()),
            Cells::Utf8View(cells) => out.extend_from_slice(cells.value(row).as_bytes()),
            Cells::Binary(cells) => string::write_bytea(cells.value(row), settings.bytea_output, out),
            Cells::LargeBinary(cells) => string::write_bytea(cells.value(row), settings.bytea_output, out),
            Cells::BinaryView(cells) => string::write_bytea(cells.value(row), settings.bytea_output, out),
            Cells::FixedSizeBinary(cells) => match self.encoder.ty {
                SqlType::Uuid => string::write_uuid(cells.value(row), out),
                _ => string::write_bytea(cells.value(row), settings.bytea_output, out),
            },
            Cells::Date(cells) => datetime::write_date(cells.value(row), out),
            Cells::Time(cells) => datetime::write_time(cells.value(row), out),
            Cells::Timestamp(cells) => match self.encoder.ty {
                SqlType::TimestampTz => datetime::write_timestamptz(cells.value(row), &settings.time_zone, out),
                _ => datetime::write_timestamp(cells.value(row), out),
            },
            Cells::Interval(cells) => interval::write(cells.value(row), out),
            Cells::Duration(cells) => interval::write(interval::from_micros(cells.value(row)), out),
            // A vector: its numbers, without braces.
            Cells::List(offsets, element) if matches!(self.encoder.ty, SqlType::System(_)) => {
                for (at, index) in offsets.range(row).enumerate() {
                    if at > 0 {
                        out.put_u8(b' ');
                    }
                    element.write(index, out)?;
                }
            }
            Cells::List(offsets, element) => {
                out.put_u8(b'{');
                let inner_array = matches!(element.cells, Cells::List(_, _));
                for (at, index) in offsets.range(row).enumerate() {
                    if at > 0 {
                        out.put_u8(b',');
                    }
                    let start = out.len();
                    if !element.write(index, out)? {
                        out.extend_from_slice(b"NULL");
                    } else if !inner_array {
                        array::quote_element(start, out);
                    }
                }
                out.put_u8(b'}');
            }
            Cells::Struct(columns) => {
                let whole = out.len();
                out.put_u8(b'(');
                for (at, column) in columns.iter().enumerate() {
                    if at > 0 {
                        out.put_u8(b',');
                    }
                    let start = out.len();
                    if column.write(row, out)? {
                        array::quote_field(start, out);
                    }
                    // The quotes of a row within a row are doubled at each level.
                    if out.len() - whole > ROW_TEXT_MAX {
                        return Err(Error::new(ErrorKind::ProgramLimitExceeded, "text of a row is too long"));
                    }
                }
                out.put_u8(b')');
            }
            Cells::Map(cells) => cells.write(row, out)?,
        }
        Ok(())
    }

    fn write_binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        match &self.cells {
            Cells::Boolean(cells) => out.put_u8(u8::from(cells.value(row))),
            Cells::Int16(cells) => out.put_i16(cells.value(row)),
            Cells::Int32(cells) => out.put_i32(cells.value(row)),
            Cells::Int64(cells) => out.put_i64(cells.value(row)),
            Cells::UInt32(cells) => out.put_u32(cells.value(row)),
            Cells::Float32(cells) => out.put_f32(cells.value(row)),
            Cells::Float64(cells) => out.put_f64(cells.value(row)),
            Cells::Decimal128(cells, scale, shown) => numeric::write_binary(cells.value(row), *scale, *shown, out),
            Cells::Decimal256(cells, scale, shown) => {
                numeric::write_wide_binary(cells.value(row), *scale, *shown, out);
            }
            Cells::Utf8(_) | Cells::LargeUtf8(_) | Cells::Utf8View(_) => {
                if matches!(self.encoder.ty, SqlType::Jsonb | SqlType::System(SystemType::JsonPath)) {
                    out.put_u8(JSONB_VERSION);
                }
                let before = out.len();
                self.write_text(row, out)?;
                // One byte always: zero when it is empty.
                if self.encoder.ty == SqlType::System(SystemType::Char) && out.len() == before {
                    out.put_u8(0);
                }
            }
            Cells::Binary(cells) => out.extend_from_slice(cells.value(row)),
            Cells::LargeBinary(cells) => out.extend_from_slice(cells.value(row)),
            Cells::BinaryView(cells) => out.extend_from_slice(cells.value(row)),
            Cells::FixedSizeBinary(cells) => out.extend_from_slice(cells.value(row)),
            Cells::Date(cells) => out.put_i32(datetime::date_to_wire(cells.value(row))),
            Cells::Time(cells) => out.put_i64(cells.value(row)),
            Cells::Timestamp(cells) => out.put_i64(datetime::timestamp_to_wire(cells.value(row))),
            Cells::Interval(cells) => interval::write_binary(cells.value(row), out),
            Cells::Duration(cells) => interval::write_binary(interval::from_micros(cells.value(row)), out),
            Cells::List(_, _) => self.write_array_binary(row, out)?,
            Cells::Struct(columns) => {
                out.put_u32(columns.len() as u32);
                for column in columns {
                    out.put_u32(type_oid(&column.encoder.ty));
                    column.write_with_length(row, out)?;
                }
            }
            Cells::Null | Cells::Map(_) => self.write_text(row, out)?,
        }
        Ok(())
    }

    /// An object's number, or the name of the object where the type is one of names.
    fn write_number(&self, number: u32, out: &mut BytesMut) {
        let names = self.encoder.settings.catalog.as_ref();
        match (self.encoder.ty.clone(), names) {
            (SqlType::System(ty), Some(names)) if ty.is_reg() => {
                out.extend_from_slice(names.shown(ty, number).as_bytes())
            }
            (SqlType::System(ty), None) if ty.is_reg() && number == 0 => out.put_u8(b'-'),
            _ => number::write_integer(i64::from(number), out),
        }
    }

    /// `array_send`: count of dimensions, whether there are NULLs, element type, length and lower bound of each
    /// dimension, then the elements.
    fn write_array_binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let mut lengths = Vec::new();
        let mut leaf = self;
        // All inner arrays at one depth, as rows of that depth's column.
        let mut rows = vec![row];
        while let Cells::List(offsets, element) = &leaf.cells {
            let length = offsets.range(rows.first().copied().unwrap_or(row)).len();
            let mut inner = Vec::with_capacity(rows.len() * length);
            for &row in &rows {
                let null = leaf.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                if null || offsets.range(row).len() != length {
                    return Err(
                        Error::unsupported("arrays of different lengths inside an array have no binary form")
                            .with_hint("Ask for the text format."),
                    );
                }
                inner.extend(offsets.range(row));
            }
            lengths.push(length);
            rows = inner;
            leaf = element;
            if rows.is_empty() {
                break;
            }
        }
        let element_type = type_oid(match &self.encoder.ty {
            SqlType::Array(_) => innermost(&self.encoder.ty),
            _ => &leaf.encoder.ty,
        });
        let is_null = |row: &usize| {
            matches!(leaf.cells, Cells::Null) || leaf.nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row))
        };
        // An empty array has no dimensions.
        if rows.is_empty() {
            lengths.clear();
        }
        out.put_u32(lengths.len() as u32);
        out.put_u32(u32::from(rows.iter().any(is_null)));
        out.put_u32(element_type);
        // Vectors count from 0.
        let first = u32::from(!matches!(self.encoder.ty, SqlType::System(_)));
        for length in lengths {
            out.put_u32(length as u32);
            out.put_u32(first);
        }
        for row in rows {
            leaf.write_with_length(row, out)?;
        }
        Ok(())
    }

    /// A value with its length before it; -1 for NULL.
    fn write_with_length(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        out.put_i32(-1);
        if self.write(row, out)? {
            let length = i32::try_from(out.len() - start - 4)
                .map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "value is too large to send"))?;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

/// Bytes of a composite value's text.
const ROW_TEXT_MAX: usize = 1 << 28;

/// The version `jsonb_send` puts before the text.
pub(super) const JSONB_VERSION: u8 = 1;

fn list_element(list: &DataType) -> Option<&Field> {
    match list {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => Some(element),
        _ => None,
    }
}

/// The Arrow type values of `ty` are written from: the array's own where a writer exists, else one to cast to.
fn target_type(own: &DataType, ty: &SqlType) -> Result<DataType> {
    let target = match (own, ty) {
        (DataType::Null, _) => DataType::Null,
        (DataType::Dictionary(_, value), _) => target_type(value, ty)?,
        (DataType::RunEndEncoded(_, value), _) => target_type(value.data_type(), ty)?,
        (DataType::ListView(element), _) => DataType::List(element.clone()),
        (DataType::LargeListView(element), _) => DataType::LargeList(element.clone()),
        (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _), _) => own.clone(),
        (DataType::Struct(_) | DataType::Map(_, _), _) => own.clone(),
        (DataType::Union(_, _), _) => return Err(unsupported(own)),
        (_, SqlType::System(ty)) if ty.storage() == SystemStorage::Number => DataType::UInt32,
        (_, SqlType::Boolean) => DataType::Boolean,
        (_, SqlType::SmallInt) => DataType::Int16,
        (_, SqlType::Integer) => DataType::Int32,
        (_, SqlType::BigInt) => DataType::Int64,
        (_, SqlType::Real) => DataType::Float32,
        (_, SqlType::Double) => DataType::Float64,
        (DataType::Decimal128(_, _) | DataType::Decimal256(_, _), SqlType::Numeric { .. }) => own.clone(),
        (DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale), SqlType::Numeric { .. }) => {
            DataType::Decimal128(*precision, *scale)
        }
        (_, SqlType::Numeric { precision, scale, .. }) => DataType::Decimal128((*precision).clamp(1, 38), *scale),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _) if is_text(ty) => own.clone(),
        (_, ty) if is_text(ty) => DataType::Utf8View,
        (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
            SqlType::Bytea,
        ) => own.clone(),
        (_, SqlType::Bytea) => DataType::BinaryView,
        (_, SqlType::Date) => DataType::Date32,
        (_, SqlType::Time) => DataType::Time64(TimeUnit::Microsecond),
        // Without a change of zone: a moment stays the same moment.
        (DataType::Timestamp(_, zone), SqlType::Timestamp | SqlType::TimestampTz) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        (_, SqlType::Timestamp | SqlType::TimestampTz) => DataType::Timestamp(TimeUnit::Microsecond, None),
        (DataType::Duration(_), SqlType::Interval) => DataType::Duration(TimeUnit::Microsecond),
        (_, SqlType::Interval) => DataType::Interval(IntervalUnit::MonthDayNano),
        (_, SqlType::Uuid) => DataType::FixedSizeBinary(16),
        (_, _) => return Err(unsupported(own)),
    };
    Ok(target)
}

fn is_text(ty: &SqlType) -> bool {
    if let SqlType::System(ty) = ty {
        return ty.storage() == SystemStorage::Text;
    }
    matches!(
        ty,
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json | SqlType::Jsonb | SqlType::Unknown
    )
}

fn unsupported(data_type: &DataType) -> Error {
    Error::unsupported(format!("values of the internal type {data_type} cannot be sent"))
        .with_hint("Cast the column to text.")
}
