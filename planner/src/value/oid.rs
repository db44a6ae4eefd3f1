//! PostgreSQL's fixed OIDs of types, their lengths and their modifiers (`src/include/catalog/pg_type.dat`).

use staffa_catalog::{Digits, Rounding, SqlType, SystemStorage, SystemType};

use crate::type_planner::BARE_NUMERIC;

/// The OID of a type; `text` for a value of unknown type, `record` for a composite.
pub fn type_oid(ty: &SqlType) -> u32 {
    match ty {
        SqlType::Array(_) => array_oid(innermost(ty)),
        scalar => oids(scalar).0,
    }
}

/// The OID of the array type whose elements are of this type. An array of arrays has the same type as an array.
pub fn array_oid(element: &SqlType) -> u32 {
    oids(innermost(element)).1
}

/// The modifier of a type as RowDescription and `pg_attribute.atttypmod` carry it; -1 for none.
pub fn type_modifier(ty: &SqlType) -> i32 {
    match ty {
        SqlType::Varchar(Some(length)) | SqlType::Char(length) => i32::try_from(*length)
            .ok()
            .and_then(|length| length.checked_add(4))
            .unwrap_or(-1),
        SqlType::Numeric {
            precision,
            scale,
            digits: Digits::Declared,
        } => ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + MODIFIER_OFFSET,
        SqlType::Rounded(plain, rounding) => rounding.modifier(plain),
        SqlType::Array(_) => type_modifier(innermost(ty)),
        _ => -1,
    }
}

/// Bytes of a value inside PostgreSQL (`pg_type.typlen`); -1 for a variable length.
pub fn type_length(ty: &SqlType) -> i16 {
    match ty {
        SqlType::Boolean => 1,
        SqlType::SmallInt => 2,
        SqlType::Integer | SqlType::Real | SqlType::Date => 4,
        SqlType::BigInt | SqlType::Double | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => 8,
        SqlType::Interval | SqlType::Uuid => 16,
        SqlType::Rounded(plain, _) => type_length(plain),
        SqlType::System(SystemType::Char) => 1,
        SqlType::System(SystemType::Name) => 64,
        SqlType::System(SystemType::Lsn) => 8,
        SqlType::System(SystemType::AclItem) => 12,
        SqlType::System(ty) if ty.storage() == SystemStorage::Number => 4,
        _ => -1,
    }
}

/// The type with this OID and modifier; `None` for one we do not have. A bare `bpchar` is
/// `text`.
pub fn sql_type_of_oid(oid: u32, modifier: i32) -> Option<SqlType> {
    let length = || u32::try_from(modifier.checked_sub(MODIFIER_OFFSET)?).ok();
    let rounded = |plain: SqlType| match Rounding::of_modifier(modifier, &plain) {
        Some(rounding) => SqlType::Rounded(Box::new(plain), rounding),
        None => plain,
    };
    let ty = match oid {
        16 => SqlType::Boolean,
        17 => SqlType::Bytea,
        20 => SqlType::BigInt,
        21 => SqlType::SmallInt,
        23 => SqlType::Integer,
        25 => SqlType::Text,
        114 => SqlType::Json,
        700 => SqlType::Real,
        701 => SqlType::Double,
        705 => SqlType::Unknown,
        1042 => length().map_or(SqlType::Text, SqlType::Char),
        1043 => SqlType::Varchar(length()),
        1082 => SqlType::Date,
        1083 => rounded(SqlType::Time),
        1114 => rounded(SqlType::Timestamp),
        1184 => rounded(SqlType::TimestampTz),
        1186 => rounded(SqlType::Interval),
        1700 => numeric_of_modifier(modifier),
        2950 => SqlType::Uuid,
        3802 => SqlType::Jsonb,
        other if SystemType::with_oid(other).is_some() => return SystemType::with_oid(other).map(SqlType::System),
        array => {
            return Some(SqlType::Array(Box::new(sql_type_of_oid(
                element_oid(array)?,
                modifier,
            )?)));
        }
    };
    Some(ty)
}

/// What every modifier of a string or a numeric is raised by (`VARHDRSZ`).
const MODIFIER_OFFSET: i32 = 4;

fn numeric_of_modifier(modifier: i32) -> SqlType {
    let bare = BARE_NUMERIC;
    if modifier < MODIFIER_OFFSET {
        return bare;
    }
    let bits = modifier - MODIFIER_OFFSET;
    match (u8::try_from((bits >> 16) & 0xffff), i8::try_from(bits & 0x7ff)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale as u8 <= precision => SqlType::numeric(precision, scale),
        _ => bare,
    }
}

/// The type of the values themselves in an array, or in an array of arrays.
pub(super) fn innermost(ty: &SqlType) -> &SqlType {
    match ty {
        SqlType::Array(element) => innermost(element),
        other => other,
    }
}

/// OIDs of a type that is no array, and of its array.
fn oids(ty: &SqlType) -> (u32, u32) {
    match ty {
        SqlType::Boolean => (16, 1000),
        SqlType::SmallInt => (21, 1005),
        SqlType::Integer => (23, 1007),
        SqlType::BigInt => (20, 1016),
        SqlType::Real => (700, 1021),
        SqlType::Double => (701, 1022),
        SqlType::Numeric { .. } => (1700, 1231),
        SqlType::Text | SqlType::Unknown => (25, 1009),
        SqlType::Varchar(_) => (1043, 1015),
        SqlType::Char(_) => (1042, 1014),
        SqlType::Bytea => (17, 1001),
        SqlType::Date => (1082, 1182),
        SqlType::Time => (1083, 1183),
        SqlType::Timestamp => (1114, 1115),
        SqlType::TimestampTz => (1184, 1185),
        SqlType::Interval => (1186, 1187),
        SqlType::Rounded(plain, _) => oids(plain),
        SqlType::Uuid => (2950, 2951),
        SqlType::Json => (114, 199),
        SqlType::Jsonb => (3802, 3807),
        SqlType::System(ty) => (ty.oid(), ty.array_oid()),
        // `record`; an array never comes here.
        SqlType::Struct(_) | SqlType::Array(_) => (2249, 2287),
    }
}

fn element_oid(array: u32) -> Option<u32> {
    Some(match array {
        1000 => 16,
        1001 => 17,
        1005 => 21,
        1007 => 23,
        1009 => 25,
        1014 => 1042,
        1015 => 1043,
        1016 => 20,
        1021 => 700,
        1022 => 701,
        199 => 114,
        1115 => 1114,
        1182 => 1082,
        1183 => 1083,
        1185 => 1184,
        1187 => 1186,
        1231 => 1700,
        2951 => 2950,
        3807 => 3802,
        other => return SystemType::with_array_oid(other).map(SystemType::oid),
    })
}
