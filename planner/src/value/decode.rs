//! From PostgreSQL's bytes to Arrow arrays, one value after the other.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Array, Decimal128Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, StringViewBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    UInt32Builder,
};
use arrow::datatypes::DECIMAL128_MAX_PRECISION;
use datafusion::scalar::ScalarValue;
use staffa_catalog::{SqlType, SystemStorage, SystemType};

mod nested;

use nested::{ArrayBuilder, StructBuilder};

use super::encode::JSONB_VERSION;
use super::{Format, FormatSettings, datetime, interval, invalid_binary, json, number, numeric, short_binary, string};
use crate::error::{Error, ErrorKind, Result};
use crate::json::path::Path;

/// Deepest nesting of arrays and composites in a type.
const DEPTH_MAX: usize = 64;

/// Reads the values of one column into an array of the type `arrow_field` gives.
#[derive(Debug)]
pub struct ColumnDecoder {
    format: Format,
    settings: FormatSettings,
    builder: Builder,
    /// Values since the last `finish`.
    length: usize,
}

#[derive(Debug)]
enum Builder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Number(UInt32Builder, SystemType),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Numeric {
        values: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    Text {
        values: StringViewBuilder,
        rule: TextRule,
        padded: String,
    },
    Bytea(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampTz(TimestampMicrosecondBuilder, Arc<str>),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Array(ArrayBuilder),
    /// An array that is written without braces.
    Vector(ArrayBuilder),
    Struct(StructBuilder),
}

/// What text has to obey besides being UTF-8.
#[derive(Clone, Copy, Debug)]
enum TextRule {
    Any,
    Varchar(u32),
    Char(u32),
    Json,
    Jsonb,
    JsonPath,
    /// `name`
    Name,
    /// `"char"`
    Byte,
}

/// Reads one value.
///
/// The digits of a numeric are never rounded: when a value does not fit the type's scale exactly, the result is a
/// `Decimal128` with the value's own scale. Lengths of `varchar(n)` and `char(n)` are not applied either, as PostgreSQL
/// parameters have no modifiers.
///
/// # Errors
/// As [`ColumnDecoder::append`].
pub fn decode_scalar(
    bytes: Option<&[u8]>,
    ty: &SqlType,
    format: Format,
    settings: &FormatSettings,
) -> Result<ScalarValue> {
    if let (SqlType::Numeric { precision, scale, .. }, Some(bytes)) = (ty, bytes) {
        let number = match format {
            Format::Text => numeric::parse_unrounded(bytes)?,
            Format::Binary => numeric::parse_binary(bytes)?,
        };
        return numeric_scalar(number, *precision, *scale);
    }
    let bare = match ty {
        SqlType::Varchar(_) | SqlType::Char(_) => &SqlType::Varchar(None),
        other => other.plain(),
    };
    let mut decoder = ColumnDecoder::new(bare, format, settings, 1);
    decoder.append(bytes)?;
    ScalarValue::try_from_array(&decoder.finish()?, 0)
        .map_err(|error| Error::internal(format!("a decoded value has no scalar: {error}")))
}

/// The number a text says, with the precision and scale of its digits; `None` when it is not one, or none that fits.
pub(crate) fn numeric_of_text(text: &str) -> Option<ScalarValue> {
    let number = numeric::parse_unrounded(text.as_bytes()).ok()?;
    let scale = u8::try_from(number.scale).ok()?;
    let digits = number
        .coefficient
        .unsigned_abs()
        .checked_ilog10()
        .map_or(1, |place| place + 1);
    let precision = u8::try_from(digits).ok()?.max(scale);
    (precision <= DECIMAL128_MAX_PRECISION)
        .then(|| ScalarValue::Decimal128(Some(number.coefficient), precision, scale as i8))
}

fn numeric_scalar(number: numeric::Decimal, precision: u8, scale: i8) -> Result<ScalarValue> {
    if number.scale <= i32::from(scale)
        && let Ok(value) = numeric::fit(number, precision, scale)
    {
        return Ok(ScalarValue::Decimal128(Some(value), precision, scale));
    }
    // Zeros behind the scale are no digits.
    let mut number = number;
    while number.scale > i32::from(scale) && number.coefficient % 10 == 0 {
        number.coefficient /= 10;
        number.scale -= 1;
    }
    if number.scale <= i32::from(scale)
        && let Ok(value) = numeric::fit(number, precision, scale)
    {
        return Ok(ScalarValue::Decimal128(Some(value), precision, scale));
    }
    let own = i8::try_from(number.scale).ok().filter(|scale| *scale <= 38);
    let own = own.ok_or_else(|| numeric::overflow(38, 38))?;
    let value = numeric::fit(number, 38, own)?;
    Ok(ScalarValue::Decimal128(Some(value), 38, own))
}

impl ColumnDecoder {
    /// A decoder of values of this type, with room for so many.
    pub fn new(ty: &SqlType, format: Format, settings: &FormatSettings, capacity: usize) -> Self {
        Self::nested(ty, format, settings, capacity, 0)
    }

    fn nested(ty: &SqlType, format: Format, settings: &FormatSettings, capacity: usize, depth: usize) -> Self {
        let zone = settings.time_zone.to_string();
        let text = |rule| Builder::Text {
            values: StringViewBuilder::with_capacity(capacity),
            rule,
            padded: String::new(),
        };
        let child = |ty: &SqlType| Self::nested(ty, format, settings, capacity, depth + 1);
        let builder = match ty {
            SqlType::Boolean => Builder::Boolean(BooleanBuilder::with_capacity(capacity)),
            SqlType::SmallInt => Builder::Int16(Int16Builder::with_capacity(capacity)),
            SqlType::Integer => Builder::Int32(Int32Builder::with_capacity(capacity)),
            SqlType::BigInt => Builder::Int64(Int64Builder::with_capacity(capacity)),
            SqlType::Real => Builder::Float32(Float32Builder::with_capacity(capacity)),
            SqlType::Double => Builder::Float64(Float64Builder::with_capacity(capacity)),
            SqlType::Numeric { precision, scale, .. } => Builder::Numeric {
                values: Decimal128Builder::with_capacity(capacity),
                precision: *precision,
                scale: *scale,
            },
            SqlType::Text | SqlType::Unknown | SqlType::Varchar(None) => text(TextRule::Any),
            SqlType::Varchar(Some(limit)) => text(TextRule::Varchar(*limit)),
            SqlType::Char(length) => text(TextRule::Char(*length)),
            SqlType::Json => text(TextRule::Json),
            SqlType::Jsonb => text(TextRule::Jsonb),
            SqlType::System(SystemType::Name) => text(TextRule::Name),
            SqlType::System(SystemType::Char) => text(TextRule::Byte),
            SqlType::System(SystemType::JsonPath) => text(TextRule::JsonPath),
            SqlType::System(ty) => match ty.storage() {
                SystemStorage::Number => Builder::Number(UInt32Builder::with_capacity(capacity), *ty),
                SystemStorage::Text => text(TextRule::Any),
                SystemStorage::SmallInts => {
                    let element = SqlType::SmallInt;
                    Builder::Vector(ArrayBuilder::new(&element, child(&element), &zone))
                }
                SystemStorage::Oids => {
                    let element = SqlType::System(SystemType::Oid);
                    Builder::Vector(ArrayBuilder::new(&element, child(&element), &zone))
                }
            },
            SqlType::Bytea => Builder::Bytea(BinaryViewBuilder::with_capacity(capacity)),
            SqlType::Date => Builder::Date(Date32Builder::with_capacity(capacity)),
            SqlType::Time => Builder::Time(Time64MicrosecondBuilder::with_capacity(capacity)),
            SqlType::Timestamp => Builder::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity)),
            SqlType::TimestampTz => {
                Builder::TimestampTz(TimestampMicrosecondBuilder::with_capacity(capacity), zone.into())
            }
            SqlType::Interval => Builder::Interval(IntervalMonthDayNanoBuilder::with_capacity(capacity)),
            // Rounded when they are stored.
            SqlType::Rounded(plain, _) => return child(plain),
            SqlType::Uuid => Builder::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, 16)),
            // Deeper than any real type: values of it are read as text.
            SqlType::Array(_) | SqlType::Struct(_) if depth > DEPTH_MAX => text(TextRule::Any),
            SqlType::Array(element) => Builder::Array(ArrayBuilder::new(element, child(element), &zone)),
            SqlType::Struct(fields) => {
                let columns = fields.iter().map(|(_, ty)| child(ty)).collect();
                Builder::Struct(StructBuilder::new(fields, columns, &zone))
            }
        };
        Self {
            format,
            settings: settings.clone(),
            builder,
            length: 0,
        }
    }

    /// How many values were appended since the last `finish`.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads one value; `None` is NULL.
    ///
    /// # Errors
    /// PostgreSQL's: `InvalidTextRepresentation`, `InvalidDatetimeFormat`, `InvalidBinaryRepresentation`,
    /// `NumericOutOfRange`, `DatetimeOverflow`, `StringTooLong`, `CharacterNotInRepertoire`. The decoder is not to be
    /// used after one.
    pub fn append(&mut self, bytes: Option<&[u8]>) -> Result<()> {
        match (bytes, self.format) {
            (None, _) => self.append_null(),
            (Some(bytes), Format::Text) => self.append_text(bytes)?,
            (Some(bytes), Format::Binary) => self.append_binary(bytes)?,
        }
        self.length += 1;
        Ok(())
    }

    /// Reads values one after the other: as [`append`](Self::append) for each, but what the type needs is chosen once.
    ///
    /// # Errors
    /// The error of a value, with how many were read before it.
    pub fn append_all<'a>(&mut self, values: impl Iterator<Item = Option<&'a [u8]>>) -> Result<(), (usize, Error)> {
        let settings = &self.settings;
        let before = self.length;
        // The types most data is made of; the others choose for each value.
        let read = match (&mut self.builder, self.format) {
            (Builder::Int32(builder), Format::Text) => each(values, |value| {
                let value = value.map(|text| number::parse_integer(text, "integer", i32::MIN.into(), i32::MAX.into()));
                builder.append_option(value.transpose()?.map(|value| value as i32));
                Ok(())
            }),
            (Builder::Int64(builder), Format::Text) => each(values, |value| {
                let value = value.map(|text| number::parse_integer(text, "bigint", i64::MIN, i64::MAX));
                builder.append_option(value.transpose()?);
                Ok(())
            }),
            (Builder::Float64(builder), Format::Text) => each(values, |value| {
                builder.append_option(value.map(number::parse_double).transpose()?);
                Ok(())
            }),
            (
                Builder::Numeric {
                    values: builder,
                    precision,
                    scale,
                },
                Format::Text,
            ) => each(values, |value| {
                let value = value.map(|text| numeric::parse(text, *precision, *scale));
                builder.append_option(value.transpose()?);
                Ok(())
            }),
            (Builder::Date(builder), Format::Text) => each(values, |value| {
                builder.append_option(value.map(|text| datetime::parse_date(text, settings)).transpose()?);
                Ok(())
            }),
            (Builder::Timestamp(builder), Format::Text) => each(values, |value| {
                builder.append_option(
                    value
                        .map(|text| datetime::parse_timestamp(text, settings))
                        .transpose()?,
                );
                Ok(())
            }),
            (
                Builder::Text {
                    values: builder,
                    rule,
                    padded,
                },
                Format::Text,
            ) => each(values, |value| match value {
                Some(text) => append_string(string::utf8(text)?, *rule, padded, builder),
                None => {
                    builder.append_null();
                    Ok(())
                }
            }),
            _ => {
                return each(values, |value| self.append(value)).map(|_| ());
            }
        };
        self.length = before + read?;
        Ok(())
    }

    fn append_null(&mut self) {
        match &mut self.builder {
            Builder::Boolean(values) => values.append_null(),
            Builder::Int16(values) => values.append_null(),
            Builder::Int32(values) => values.append_null(),
            Builder::Int64(values) => values.append_null(),
            Builder::Float32(values) => values.append_null(),
            Builder::Float64(values) => values.append_null(),
            Builder::Numeric { values, .. } => values.append_null(),
            Builder::Text { values, .. } => values.append_null(),
            Builder::Bytea(values) => values.append_null(),
            Builder::Date(values) => values.append_null(),
            Builder::Time(values) => values.append_null(),
            Builder::Timestamp(values) | Builder::TimestampTz(values, _) => values.append_null(),
            Builder::Interval(values) => values.append_null(),
            Builder::Uuid(values) => values.append_null(),
            Builder::Number(values, _) => values.append_null(),
            Builder::Array(array) | Builder::Vector(array) => array.append_null(),
            Builder::Struct(fields) => fields.append_null(),
        }
    }

    fn append_text(&mut self, text: &[u8]) -> Result<()> {
        match &mut self.builder {
            Builder::Boolean(values) => values.append_value(number::parse_boolean(text)?),
            Builder::Int16(values) => {
                let value = number::parse_integer(text, "smallint", i16::MIN.into(), i16::MAX.into())?;
                values.append_value(value as i16);
            }
            Builder::Int32(values) => {
                let value = number::parse_integer(text, "integer", i32::MIN.into(), i32::MAX.into())?;
                values.append_value(value as i32);
            }
            Builder::Int64(values) => {
                values.append_value(number::parse_integer(text, "bigint", i64::MIN, i64::MAX)?);
            }
            Builder::Float32(values) => values.append_value(number::parse_real(text)?),
            Builder::Float64(values) => values.append_value(number::parse_double(text)?),
            Builder::Numeric {
                values,
                precision,
                scale,
            } => {
                values.append_value(numeric::parse(text, *precision, *scale)?);
            }
            Builder::Text { values, rule, padded } => append_string(string::utf8(text)?, *rule, padded, values)?,
            Builder::Bytea(values) => values.append_value(string::parse_bytea(text)?),
            Builder::Date(values) => values.append_value(datetime::parse_date(text, &self.settings)?),
            Builder::Time(values) => values.append_value(datetime::parse_time(text, &self.settings)?),
            Builder::Timestamp(values) => values.append_value(datetime::parse_timestamp(text, &self.settings)?),
            Builder::TimestampTz(values, _) => {
                values.append_value(datetime::parse_timestamptz(text, &self.settings)?);
            }
            Builder::Interval(values) => values.append_value(interval::parse(text)?),
            Builder::Uuid(values) => append_uuid(&string::parse_uuid(text)?, values)?,
            Builder::Number(values, ty) => values.append_value(object_number(text, *ty, &self.settings)?),
            Builder::Vector(array) => {
                let words: Vec<&[u8]> = text
                    .split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty())
                    .collect();
                array.append_text(&[b"{".as_slice(), &words.join(b",".as_slice()), b"}".as_slice()].concat())?;
            }
            Builder::Array(array) => array.append_text(text)?,
            Builder::Struct(fields) => fields.append_text(text)?,
        }
        Ok(())
    }

    fn append_binary(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.builder {
            Builder::Boolean(values) => values.append_value(exactly::<1>(bytes)?[0] != 0),
            Builder::Int16(values) => values.append_value(i16::from_be_bytes(exactly(bytes)?)),
            Builder::Int32(values) => values.append_value(i32::from_be_bytes(exactly(bytes)?)),
            Builder::Int64(values) => values.append_value(i64::from_be_bytes(exactly(bytes)?)),
            Builder::Float32(values) => values.append_value(f32::from_be_bytes(exactly(bytes)?)),
            Builder::Float64(values) => values.append_value(f64::from_be_bytes(exactly(bytes)?)),
            Builder::Numeric {
                values,
                precision,
                scale,
            } => {
                values.append_value(numeric::fit(numeric::parse_binary(bytes)?, *precision, *scale)?);
            }
            Builder::Text { values, rule, padded } => {
                let bytes = match (*rule, bytes) {
                    (TextRule::Jsonb | TextRule::JsonPath, [JSONB_VERSION, text @ ..]) => text,
                    (TextRule::Jsonb | TextRule::JsonPath, _) => {
                        let version = bytes.first().copied().unwrap_or(0);
                        let name = match rule {
                            TextRule::Jsonb => "jsonb",
                            _ => "jsonpath",
                        };
                        return Err(Error::new(
                            ErrorKind::InvalidBinaryRepresentation,
                            format!("unsupported {name} version number {version}"),
                        ));
                    }
                    (_, bytes) => bytes,
                };
                append_string(string::utf8(bytes)?, *rule, padded, values)?;
            }
            Builder::Bytea(values) => values.append_value(bytes),
            Builder::Date(values) => {
                values.append_value(datetime::date_from_wire(i32::from_be_bytes(exactly(bytes)?))?);
            }
            Builder::Time(values) => {
                values.append_value(datetime::time_from_wire(i64::from_be_bytes(exactly(bytes)?))?);
            }
            Builder::Timestamp(values) | Builder::TimestampTz(values, _) => {
                values.append_value(datetime::timestamp_from_wire(i64::from_be_bytes(exactly(bytes)?))?);
            }
            Builder::Interval(values) => values.append_value(interval::parse_binary(bytes)?),
            Builder::Uuid(values) => append_uuid(&exactly(bytes)?, values)?,
            Builder::Number(values, _) => values.append_value(u32::from_be_bytes(exactly(bytes)?)),
            Builder::Array(array) | Builder::Vector(array) => array.append_binary(bytes)?,
            Builder::Struct(fields) => fields.append_binary(bytes)?,
        }
        Ok(())
    }

    /// The values so far as an array; the decoder is empty again.
    ///
    /// # Errors
    /// `InternalError` only.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        self.length = 0;
        Ok(match &mut self.builder {
            Builder::Boolean(values) => Arc::new(values.finish()),
            Builder::Int16(values) => Arc::new(values.finish()),
            Builder::Int32(values) => Arc::new(values.finish()),
            Builder::Int64(values) => Arc::new(values.finish()),
            Builder::Float32(values) => Arc::new(values.finish()),
            Builder::Float64(values) => Arc::new(values.finish()),
            Builder::Numeric {
                values,
                precision,
                scale,
            } => {
                let array: Decimal128Array = values
                    .finish()
                    .with_precision_and_scale(*precision, *scale)
                    .map_err(broken)?;
                Arc::new(array)
            }
            Builder::Text { values, .. } => Arc::new(values.finish()),
            Builder::Bytea(values) => Arc::new(values.finish()),
            Builder::Date(values) => Arc::new(values.finish()),
            Builder::Time(values) => Arc::new(values.finish()),
            Builder::Timestamp(values) => Arc::new(values.finish()),
            Builder::TimestampTz(values, zone) => Arc::new(values.finish().with_timezone(Arc::clone(zone))),
            Builder::Interval(values) => Arc::new(values.finish()),
            Builder::Uuid(values) => Arc::new(values.finish()),
            Builder::Number(values, _) => Arc::new(values.finish()),
            Builder::Array(array) | Builder::Vector(array) => array.finish()?,
            Builder::Struct(fields) => fields.finish()?,
        })
    }
}

/// Hands values over until one is wrong; gives how many there were.
fn each<'a>(
    values: impl Iterator<Item = Option<&'a [u8]>>,
    mut append: impl FnMut(Option<&'a [u8]>) -> Result<()>,
) -> Result<usize, (usize, Error)> {
    let mut count = 0;
    for value in values {
        append(value).map_err(|error| (count, error))?;
        count += 1;
    }
    Ok(count)
}

/// Bytes an identifier can have.
const NAME_BYTES_MAX: usize = 63;

/// What `char(n)` is filled up with, many at a time.
const BLANKS: &str = "                                                                ";

/// Appends text that obeys the rule. `padded` is room for `char(n)`.
fn append_string(text: &str, rule: TextRule, padded: &mut String, values: &mut StringViewBuilder) -> Result<()> {
    match rule {
        TextRule::Any => values.append_value(text),
        TextRule::Varchar(limit) => values.append_value(string::limit_varchar(text, limit)?),
        TextRule::Char(length) => match string::limit_char(text, length)? {
            (text, 0) => values.append_value(text),
            (text, blanks) => {
                padded.clear();
                padded.push_str(text);
                let mut blanks = blanks;
                while blanks > 0 {
                    let some = blanks.min(BLANKS.len());
                    padded.push_str(&BLANKS[..some]);
                    blanks -= some;
                }
                values.append_value(&padded);
            }
        },
        TextRule::Json => {
            json::check(text)?;
            values.append_value(text);
        }
        TextRule::Jsonb => values.append_value(json::normalise(text)?),
        TextRule::JsonPath => values.append_value(Path::read(text)?.to_string()),
        TextRule::Name => {
            let mut end = text.len().min(NAME_BYTES_MAX);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            values.append_value(&text[..end]);
        }
        // Of a character of several bytes nothing is left that could be shown.
        TextRule::Byte => match text.bytes().next() {
            // Half of a letter of UTF-8, which no text can hold.
            Some(128..) => return Err(Error::unsupported("a \"char\" beyond ASCII is not supported")),
            _ => values.append_value(text.get(..1).unwrap_or_default()),
        },
    }
    Ok(())
}

/// A number, or the number of the object with this name.
fn object_number(text: &[u8], ty: SystemType, settings: &FormatSettings) -> Result<u32> {
    if !ty.is_reg() {
        // As PostgreSQL, which takes -1 for the greatest number.
        let number = number::parse_integer(text, ty.name(), i32::MIN.into(), u32::MAX.into())?;
        return Ok(number as u32);
    }
    let text = string::utf8(text)?;
    match &settings.catalog {
        _ if text == "-" => Ok(0),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(number::parse_integer(text.as_bytes(), "oid", 0, u32::MAX.into())? as u32)
        }
        Some(catalog) => catalog.number(ty, text),
        None => Err(Error::unsupported(format!(
            "names of type {} are not known here",
            ty.name()
        ))),
    }
}

fn append_uuid(uuid: &[u8; 16], values: &mut FixedSizeBinaryBuilder) -> Result<()> {
    values.append_value(uuid).map_err(broken)
}

/// All the bytes, which must be so many.
fn exactly<const LENGTH: usize>(bytes: &[u8]) -> Result<[u8; LENGTH]> {
    match bytes.len() {
        length if length < LENGTH => Err(short_binary()),
        _ => bytes.try_into().map_err(|_| invalid_binary()),
    }
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("decoded values do not form an array: {error}"))
}
