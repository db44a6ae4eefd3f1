//! The one codec of values: PostgreSQL's text and binary representations to and from Arrow arrays.
//!
//! The wire protocol, COPY and casts from text all go through it, so a value looks the same at every door. Text is what
//! PostgreSQL 15 prints and reads; binary is what its send and receive functions exchange (big-endian, timestamps in
//! microseconds from 2000-01-01, numerics in base 10000).
//!
//! ```text
//! encode.rs   Arrow array -> bytes, chosen once per column     decode.rs   bytes -> Arrow array
//! number.rs, numeric.rs, datetime/*.rs, interval.rs, string.rs, array.rs, json.rs   one family of types each
//! oid.rs      PostgreSQL's type OIDs, lengths and modifiers
//! ```

use std::sync::Arc;

use chrono::Utc;

use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::CatalogView;

pub(crate) mod array;
pub(crate) mod datetime;
mod decode;
mod encode;
mod encoding;
pub(crate) mod interval;
pub(crate) mod json;
mod number;
pub(crate) mod numeric;
mod oid;
mod string;
#[cfg(test)]
mod tests;

pub use datetime::Zone;
pub(crate) use decode::numeric_of_text;
pub use decode::{ColumnDecoder, decode_scalar};
pub use encode::{ColumnEncoder, EncodedColumn};
pub(crate) use encoding::{ENCODINGS, Encoding, encoding_number};
pub use oid::{array_oid, sql_type_of_oid, type_length, type_modifier, type_oid};
pub(crate) use string::{escaped_bytes, hex_bytes};

/// Which of PostgreSQL's two representations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Text,
    Binary,
}

/// How `1/2/2024` is read (the second part of DateStyle); output is always ISO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DateOrder {
    /// Month, day, year.
    #[default]
    Mdy,
    /// Day, month, year.
    Dmy,
    /// Year, month, day.
    Ymd,
}

/// How `bytea` is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteaOutput {
    /// `\x01ff`
    #[default]
    Hex,
    /// Printable bytes as they are, others as `\001`.
    Escape,
}

/// The settings of a session that decide how values are printed and read.
#[derive(Clone, Debug)]
pub struct FormatSettings {
    /// Zone in which `timestamptz` is printed, and read when the text names none.
    pub time_zone: Zone,
    /// Order of day, month and year on input.
    pub date_order: DateOrder,
    /// Output of `bytea`.
    pub bytea_output: ByteaOutput,
    /// Above 0: the shortest text that reads back as the same float; else 15 (6 for `real`) digits plus this.
    pub extra_float_digits: i32,
    /// What the input words `now` and `today` mean: microseconds since 1970-01-01 UTC.
    pub now: i64,
    /// The names of objects, for `regclass` and its like.
    pub catalog: Option<Arc<CatalogView>>,
}

impl FormatSettings {
    /// Settings with this zone: a name of the tz database or an offset such as `+05:30`. The clock is read for `now`.
    ///
    /// # Errors
    /// `InvalidParameterValue` when there is no such zone.
    pub fn new(
        time_zone: &str,
        date_order: DateOrder,
        bytea_output: ByteaOutput,
        extra_float_digits: i32,
    ) -> Result<Self> {
        let zone = Zone::parse(time_zone).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidParameterValue,
                format!("time zone \"{time_zone}\" not recognized"),
            )
        })?;
        let now = Utc::now().timestamp_micros();
        Ok(Self {
            time_zone: zone,
            date_order,
            bytea_output,
            extra_float_digits,
            now,
            catalog: None,
        })
    }

    /// The same with the names of objects.
    pub fn with_catalog(mut self, catalog: Option<Arc<CatalogView>>) -> Self {
        self.catalog = catalog;
        self
    }

    /// The same with another time for `now`: microseconds since 1970-01-01 UTC.
    pub fn with_now(mut self, now: i64) -> Self {
        self.now = now;
        self
    }
}

impl Default for FormatSettings {
    /// PostgreSQL's defaults in UTC.
    fn default() -> Self {
        Self {
            time_zone: Zone::utc(),
            date_order: DateOrder::default(),
            bytea_output: ByteaOutput::default(),
            extra_float_digits: 1,
            now: Utc::now().timestamp_micros(),
            catalog: None,
        }
    }
}

/// `invalid input syntax for type integer: "x"` (22P02).
fn invalid_text(type_name: &str, input: &[u8]) -> Error {
    let input = String::from_utf8_lossy(input);
    Error::new(
        ErrorKind::InvalidTextRepresentation,
        format!("invalid input syntax for type {type_name}: \"{input}\""),
    )
}

/// A binary value that is not of its type's shape (22P03).
fn invalid_binary() -> Error {
    Error::new(ErrorKind::InvalidBinaryRepresentation, "incorrect binary data format")
}

/// Too few bytes for the type in a binary value (08P01).
fn short_binary() -> Error {
    Error::new(ErrorKind::ProtocolViolation, "insufficient data left in message")
}
