//! Values of partitions and bounds to Iceberg's and back (spec sections "Binary single-value serialization" and, for the
//! length of bounds, "Metrics").

use ::iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType};

use super::encode_failed;
use crate::error::{Error, Result};
use crate::value::Value;

/// The longest string (characters) or binary (bytes) bound that is stored: Iceberg's default metrics mode
/// `truncate(16)`.
const BOUND_LENGTH_MAX: usize = 16;

pub(super) fn may_be_truncated(bound: &Value) -> bool {
    match bound {
        Value::String(text) => text.chars().count() >= BOUND_LENGTH_MAX,
        Value::Binary(bytes) => bytes.len() >= BOUND_LENGTH_MAX,
        _ => false,
    }
}

/// Iceberg's bounds are never NaN.
pub(super) fn is_a_number(bound: &Value) -> bool {
    match bound {
        Value::Float(number) => !number.is_nan(),
        Value::Double(number) => !number.is_nan(),
        _ => true,
    }
}

/// A prefix is at most the whole.
pub(super) fn truncate_lower(bound: &Value) -> Value {
    match bound {
        Value::String(text) => Value::String(text.chars().take(BOUND_LENGTH_MAX).collect()),
        Value::Binary(bytes) => Value::Binary(bytes.iter().take(BOUND_LENGTH_MAX).copied().collect()),
        other => other.clone(),
    }
}

/// A prefix whose last character (or byte) that can be is counted up by one is above the whole; `None` when none can.
pub(super) fn truncate_upper(bound: &Value) -> Option<Value> {
    match bound {
        Value::String(text) if text.chars().count() > BOUND_LENGTH_MAX => {
            let mut prefix: Vec<char> = text.chars().take(BOUND_LENGTH_MAX).collect();
            while let Some(last) = prefix.pop() {
                if let Some(next) = next_char(last) {
                    prefix.push(next);
                    return Some(Value::String(prefix.into_iter().collect()));
                }
            }
            None
        }
        Value::Binary(bytes) if bytes.len() > BOUND_LENGTH_MAX => {
            let mut prefix = bytes[..BOUND_LENGTH_MAX].to_vec();
            while let Some(last) = prefix.pop() {
                if let Some(next) = last.checked_add(1) {
                    prefix.push(next);
                    return Some(Value::Binary(prefix));
                }
            }
            None
        }
        other => Some(other.clone()),
    }
}

/// The next Unicode scalar value, over the gap of the surrogates.
fn next_char(char: char) -> Option<char> {
    match char {
        '\u{d7ff}' => Some('\u{e000}'),
        other => char::from_u32(u32::from(other) + 1),
    }
}

/// The value as one of type `ty`; int and float may widen, nothing else changes.
pub(super) fn datum(value: &Value, ty: &PrimitiveType) -> Result<Datum> {
    let mismatch = || Error::internal(format!("value {value:?} does not fit Iceberg type {ty}"));
    let bytes: Vec<u8> = match (value, ty) {
        (Value::Boolean(value), PrimitiveType::Boolean) => vec![u8::from(*value)],
        (Value::Int(value), PrimitiveType::Int | PrimitiveType::Date) | (Value::Date(value), PrimitiveType::Date) => {
            value.to_le_bytes().to_vec()
        }
        (Value::Int(value), PrimitiveType::Long) => i64::from(*value).to_le_bytes().to_vec(),
        (Value::Long(value), PrimitiveType::Long)
        | (Value::Time(value), PrimitiveType::Time)
        | (Value::Timestamp(value), PrimitiveType::Timestamp)
        | (Value::TimestampTz(value), PrimitiveType::Timestamptz) => value.to_le_bytes().to_vec(),
        (Value::Float(value), PrimitiveType::Float) => value.to_le_bytes().to_vec(),
        (Value::Float(value), PrimitiveType::Double) => f64::from(*value).to_le_bytes().to_vec(),
        (Value::Double(value), PrimitiveType::Double) => value.to_le_bytes().to_vec(),
        (
            Value::Decimal { unscaled, scale, .. },
            PrimitiveType::Decimal {
                precision,
                scale: wanted,
            },
        ) => {
            // `precision` is at most 38, so the power fits.
            let limit = 10_i128.checked_pow(*precision).ok_or_else(mismatch)?;
            let same_scale = u32::try_from(*scale).is_ok_and(|scale| scale == *wanted);
            if !same_scale || unscaled.unsigned_abs() >= limit.unsigned_abs() {
                return Err(mismatch());
            }
            minimal_big_endian(*unscaled)
        }
        (Value::String(value), PrimitiveType::String) => value.clone().into_bytes(),
        (Value::Uuid(value), PrimitiveType::Uuid) => value.to_vec(),
        (Value::Binary(value), PrimitiveType::Binary) => value.clone(),
        (Value::Binary(value), PrimitiveType::Fixed(length)) if value.len() as u64 == *length => value.clone(),
        _ => return Err(mismatch()),
    };
    Datum::try_from_bytes(&bytes, ty.clone()).map_err(|error| encode_failed("a value", error))
}

/// Two's complement, most significant byte first, as few bytes as hold the value.
fn minimal_big_endian(number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0x00 };
    let mut start = 0;
    while start < 15 && bytes[start] == sign && (bytes[start + 1] & 0x80) == (sign & 0x80) {
        start += 1;
    }
    bytes[start..].to_vec()
}

/// `None` when the literal cannot be one of the type.
pub(super) fn value(ty: &PrimitiveType, literal: &PrimitiveLiteral) -> Option<Value> {
    Some(match (ty, literal) {
        (PrimitiveType::Boolean, PrimitiveLiteral::Boolean(value)) => Value::Boolean(*value),
        (PrimitiveType::Int, PrimitiveLiteral::Int(value)) => Value::Int(*value),
        (PrimitiveType::Long, PrimitiveLiteral::Int(value)) => Value::Long(i64::from(*value)),
        (PrimitiveType::Long, PrimitiveLiteral::Long(value)) => Value::Long(*value),
        (PrimitiveType::Float, PrimitiveLiteral::Float(value)) => Value::Float(value.0),
        (PrimitiveType::Double, PrimitiveLiteral::Float(value)) => Value::Double(f64::from(value.0)),
        (PrimitiveType::Double, PrimitiveLiteral::Double(value)) => Value::Double(value.0),
        (PrimitiveType::Decimal { precision, scale }, PrimitiveLiteral::Int128(unscaled)) => Value::Decimal {
            unscaled: *unscaled,
            precision: u8::try_from(*precision).ok()?,
            scale: i8::try_from(*scale).ok()?,
        },
        (PrimitiveType::Date, PrimitiveLiteral::Int(value)) => Value::Date(*value),
        (PrimitiveType::Time, PrimitiveLiteral::Long(value)) => Value::Time(*value),
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(value)) => Value::Timestamp(*value),
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(value)) => Value::TimestampTz(*value),
        (PrimitiveType::String, PrimitiveLiteral::String(value)) => Value::String(value.clone()),
        (PrimitiveType::Uuid, PrimitiveLiteral::UInt128(value)) => Value::Uuid(value.to_be_bytes()),
        (PrimitiveType::Fixed(_) | PrimitiveType::Binary, PrimitiveLiteral::Binary(value)) => {
            Value::Binary(value.clone())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_bounds_are_cut_upwards() {
        let long = "abcdefghijklmnopq";
        assert_eq!(
            truncate_lower(&Value::String(long.into())),
            Value::String("abcdefghijklmnop".into())
        );
        assert_eq!(
            truncate_upper(&Value::String(long.into())),
            Some(Value::String("abcdefghijklmnoq".into()))
        );
        // The last character cannot be counted up, so the one before is.
        let top = format!("a{}", "\u{10ffff}".repeat(16));
        assert_eq!(truncate_upper(&Value::String(top)), Some(Value::String("b".into())));
        assert_eq!(truncate_upper(&Value::String("\u{10ffff}".repeat(17))), None);
        let before_gap = format!("{}\u{d7ff}z", "a".repeat(15));
        assert_eq!(
            truncate_upper(&Value::String(before_gap)),
            Some(Value::String(format!("{}\u{e000}", "a".repeat(15))))
        );
        assert_eq!(truncate_upper(&Value::Binary(vec![0xff; 17])), None);
        let mut bytes = vec![1; 15];
        bytes.extend([0xff, 0xff]);
        let mut cut = vec![1; 14];
        cut.push(2);
        assert_eq!(truncate_upper(&Value::Binary(bytes)), Some(Value::Binary(cut)));
        // Short bounds stay as they are.
        assert_eq!(
            truncate_upper(&Value::String("abc".into())),
            Some(Value::String("abc".into()))
        );
    }

    #[test]
    fn decimals_take_as_few_bytes_as_hold_them() {
        // Java: BigInteger.toByteArray
        for (number, bytes) in [
            (0, vec![0x00]),
            (127, vec![0x7f]),
            (128, vec![0x00, 0x80]),
            (-1, vec![0xff]),
            (-128, vec![0x80]),
            (-129, vec![0xff, 0x7f]),
            (1_000_000, vec![0x0f, 0x42, 0x40]),
        ] {
            assert_eq!(minimal_big_endian(number), bytes, "{number}");
        }
    }

    #[test]
    fn a_decimal_that_is_too_long_is_refused() {
        let ty = PrimitiveType::Decimal { precision: 4, scale: 2 };
        let value = |unscaled, scale| Value::Decimal {
            unscaled,
            precision: 4,
            scale,
        };
        assert!(datum(&value(9999, 2), &ty).is_ok());
        assert!(datum(&value(-10_000, 2), &ty).is_err());
        assert!(datum(&value(1, 3), &ty).is_err());
    }
}
