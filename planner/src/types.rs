//! SQL types and the Arrow types that hold their values.
//!
//! What Arrow cannot say (`varchar(10)`, `json`, `uuid`) stands in the field's metadata; what DataFusion yields beyond our
//! own types (unsigned integers, dictionaries, durations, …) maps to the SQL type that can hold all of its values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit,
};
use staffa_catalog::{Digits, FieldIds, Rounding, SqlType, SystemStorage, SystemType, TableSchema};

/// Metadata key of fields whose Arrow type does not tell their SQL type, for example `varchar(10)`, `char(3)`, `json`,
/// `numeric(5,2)`, and of numbers and lists that are a type of the system catalogs, for example `regclass`. Absent for
/// `text`, and for a `numeric` without modifiers that is shown with all its digits.
pub const TYPE_KEY: &str = "staffa.type";
/// Metadata key under which Parquet readers and writers find a column's field id.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";
/// Name of the element field of lists. Behind it and a blank stands what would be the metadata of another field, for example
/// `element numeric(5,2)`: DataFusion keeps the names of elements' fields where it drops their metadata, and lists of fields
/// that differ are of different types.
pub const ELEMENT_NAME: &str = "element";

const EXTENSION_KEY: &str = "ARROW:extension:name";
const EXTENSION_UUID: &str = "arrow.uuid";

/// The Arrow field that holds values of a SQL type. `time_zone` is what `timestamptz` values carry along: the session's.
pub fn arrow_field(name: impl Into<String>, ty: &SqlType, nullable: bool, time_zone: &str) -> Field {
    let field = Field::new(name, data_type(ty, time_zone), nullable);
    match metadata(ty) {
        Some((key, value)) => field.with_metadata(HashMap::from([(key.to_string(), value)])),
        None => field,
    }
}

/// The Arrow type of [`arrow_field`].
pub fn data_type(ty: &SqlType, time_zone: &str) -> DataType {
    match ty {
        SqlType::Boolean => DataType::Boolean,
        SqlType::SmallInt => DataType::Int16,
        SqlType::Integer => DataType::Int32,
        SqlType::BigInt => DataType::Int64,
        SqlType::Real => DataType::Float32,
        SqlType::Double => DataType::Float64,
        SqlType::Numeric { precision, scale, .. } if *precision > DECIMAL128_MAX_PRECISION => {
            DataType::Decimal256(*precision, *scale)
        }
        SqlType::Numeric { precision, scale, .. } => DataType::Decimal128(*precision, *scale),
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json | SqlType::Jsonb | SqlType::Unknown => {
            DataType::Utf8View
        }
        SqlType::System(ty) => match ty.storage() {
            SystemStorage::Number => DataType::UInt32,
            SystemStorage::Text => DataType::Utf8View,
            SystemStorage::SmallInts => data_type(&SqlType::Array(Box::new(SqlType::SmallInt)), time_zone),
            SystemStorage::Oids => {
                let element = SqlType::System(SystemType::Oid);
                data_type(&SqlType::Array(Box::new(element)), time_zone)
            }
        },
        SqlType::Bytea => DataType::BinaryView,
        SqlType::Date => DataType::Date32,
        SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
        SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(time_zone.into())),
        SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        SqlType::Rounded(plain, _) => data_type(plain, time_zone),
        SqlType::Uuid => DataType::FixedSizeBinary(16),
        SqlType::Array(element) => DataType::List(Arc::new(element_field(element, time_zone))),
        SqlType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|(name, ty)| arrow_field(name, ty, true, time_zone))
                .collect(),
        ),
    }
}

/// The field of the elements of arrays.
pub(crate) fn element_field(ty: &SqlType, time_zone: &str) -> Field {
    let name = match metadata(ty) {
        Some((TYPE_KEY, told)) => format!("{ELEMENT_NAME} {told}"),
        _ => ELEMENT_NAME.to_string(),
    };
    Field::new(name, data_type(ty, time_zone), true)
}

/// The SQL type of the elements that an array's element field is of.
pub(crate) fn element_type(field: &Field) -> SqlType {
    let told = field
        .name()
        .strip_prefix(ELEMENT_NAME)
        .and_then(|rest| rest.strip_prefix(' '));
    match told {
        Some(told) => {
            let metadata = HashMap::from([(TYPE_KEY.to_string(), told.to_string())]);
            sql_type(&field.clone().with_metadata(metadata))
        }
        None => sql_type(field),
    }
}

/// The SQL type of a field's values; defined for every Arrow type.
pub fn sql_type(field: &Field) -> SqlType {
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => field
            .metadata()
            .get(TYPE_KEY)
            .and_then(|text| text_type(text))
            // A cast keeps what the values were before.
            .filter(|ty| data_type(ty, "UTC") == DataType::Utf8View)
            .unwrap_or(SqlType::Text),
        DataType::List(element) if text_element(field, element).is_some() => match text_element(field, element) {
            Some(ty) => SqlType::Array(Box::new(ty)),
            None => sql_type_of(field.data_type()),
        },
        // Object numbers, and `int2vector`, which is a list.
        DataType::UInt32 | DataType::List(_) => field
            .metadata()
            .get(TYPE_KEY)
            .and_then(|name| SystemType::named(name))
            .filter(|ty| match ty.storage() {
                SystemStorage::Number => field.data_type() == &DataType::UInt32,
                SystemStorage::Text => false,
                SystemStorage::SmallInts | SystemStorage::Oids => matches!(field.data_type(), DataType::List(_)),
            })
            .map_or_else(|| sql_type_of(field.data_type()), SqlType::System),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => SqlType::Numeric {
            precision: *precision,
            scale: *scale,
            digits: field
                .metadata()
                .get(TYPE_KEY)
                .and_then(|text| digits_of(text, *precision, *scale))
                .unwrap_or(Digits::All),
        },
        DataType::Time64(_) | DataType::Timestamp(..) | DataType::Interval(_) => {
            let plain = sql_type_of(field.data_type());
            match field
                .metadata()
                .get(TYPE_KEY)
                .and_then(|text| rounding_of(text, &plain))
            {
                Some(rounding) => SqlType::Rounded(Box::new(plain), rounding),
                None => plain,
            }
        }
        DataType::Dictionary(_, value) => sql_type(&field.clone().with_data_type(value.as_ref().clone())),
        DataType::RunEndEncoded(_, value) => sql_type(&field.clone().with_data_type(value.data_type().clone())),
        other => sql_type_of(other),
    }
}

/// The type of the elements, where the field of the array says it: its own elements' field cannot, of arrays that are made of
/// columns.
fn text_element(field: &Field, element: &Field) -> Option<SqlType> {
    let ty = match field.metadata().get(TYPE_KEY)?.strip_suffix("[]")? {
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        named => SqlType::System(SystemType::named(named).filter(|ty| ty.storage() == SystemStorage::Text)?),
    };
    matches!(
        element.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
    .then_some(ty)
}

/// The field of an array that is made of such values.
pub(crate) fn with_element_type(list: Field, element: &Field) -> Field {
    match sql_type(element) {
        SqlType::System(ty) if ty.storage() == SystemStorage::Text => of_elements(list, ty.name()),
        ty @ (SqlType::Json | SqlType::Jsonb) => of_elements(list, &ty.to_string()),
        _ => list,
    }
}

fn of_elements(list: Field, name: &str) -> Field {
    let mut metadata = list.metadata().clone();
    metadata.insert(TYPE_KEY.to_string(), format!("{name}[]"));
    list.with_metadata(metadata)
}

/// The SQL type of a bare Arrow type, when there is no field to ask for more.
pub fn sql_type_of(data_type: &DataType) -> SqlType {
    match data_type {
        DataType::Null => SqlType::Unknown,
        DataType::Boolean => SqlType::Boolean,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => SqlType::SmallInt,
        DataType::UInt16 | DataType::Int32 => SqlType::Integer,
        DataType::Int64 => SqlType::BigInt,
        // Nothing but object numbers has this type.
        DataType::UInt32 => SqlType::System(SystemType::Oid),
        DataType::UInt64 => SqlType::Numeric {
            precision: 20,
            scale: 0,
            digits: Digits::All,
        },
        DataType::Float16 | DataType::Float32 => SqlType::Real,
        DataType::Float64 => SqlType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => SqlType::Numeric {
            precision: *precision,
            scale: *scale,
            digits: Digits::All,
        },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Text,
        // Nothing but uuid yields this width.
        DataType::FixedSizeBinary(16) => SqlType::Uuid,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            SqlType::Bytea
        }
        DataType::Date32 => SqlType::Date,
        DataType::Date64 | DataType::Timestamp(_, None) => SqlType::Timestamp,
        DataType::Timestamp(_, Some(_)) => SqlType::TimestampTz,
        DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
        DataType::Duration(_) | DataType::Interval(_) => SqlType::Interval,
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => SqlType::Array(Box::new(element_type(element))),
        DataType::Struct(fields) => SqlType::Struct(
            fields
                .iter()
                .map(|field| (field.name().clone(), sql_type(field)))
                .collect(),
        ),
        // No SQL type of ours: shown as text.
        DataType::Map(_, _) | DataType::Union(_, _) => SqlType::Text,
        DataType::Dictionary(_, value) => sql_type_of(value),
        DataType::RunEndEncoded(_, value) => sql_type(value),
    }
}

/// Whether it is the type of `x::numeric`.
pub(crate) fn is_bare_numeric(field: &Field) -> bool {
    let ty = sql_type(field);
    matches!(
        ty,
        SqlType::Numeric {
            digits: Digits::Among(..),
            ..
        }
    )
}

/// The Arrow schema of a table, with field ids at every level. `time_zone` as for [`arrow_field`].
pub fn table_arrow_schema(schema: &TableSchema, time_zone: &str) -> SchemaRef {
    let fields: Vec<Field> = schema
        .columns
        .iter()
        .map(|column| {
            let field = arrow_field(&column.name, &column.ty, column.nullable, time_zone);
            with_field_ids(field, column.field_id, &column.children)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Puts the field id of a field and of those below it into the metadata.
fn with_field_ids(field: Field, id: i32, children: &[FieldIds]) -> Field {
    let child = |field: &FieldRef, ids: Option<&FieldIds>| match ids {
        Some(ids) => Arc::new(with_field_ids(field.as_ref().clone(), ids.id, &ids.children)),
        None => Arc::clone(field),
    };
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(child(element, children.first())),
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .enumerate()
                .map(|(at, field)| child(field, children.get(at)))
                .collect(),
        ),
        other => other.clone(),
    };
    let mut metadata = field.metadata().clone();
    metadata.insert(FIELD_ID_KEY.to_string(), id.to_string());
    if data_type == DataType::FixedSizeBinary(16) {
        // Elements of arrays do not say so yet.
        metadata.insert(EXTENSION_KEY.to_string(), EXTENSION_UUID.to_string());
    }
    field.with_data_type(data_type).with_metadata(metadata)
}

fn metadata(ty: &SqlType) -> Option<(&'static str, String)> {
    let text = match ty {
        SqlType::Varchar(None) => "varchar".to_string(),
        SqlType::Varchar(Some(length)) => format!("varchar({length})"),
        SqlType::Char(length) => format!("char({length})"),
        SqlType::Json => "json".to_string(),
        SqlType::Jsonb => "jsonb".to_string(),
        SqlType::Unknown => "unknown".to_string(),
        SqlType::System(ty) => ty.name().to_string(),
        SqlType::Numeric {
            precision,
            scale,
            digits,
        } => match digits {
            Digits::Declared => format!("numeric({precision},{scale})"),
            Digits::All => return None,
            Digits::Among(numbers, whole) => format!("{AMONG}{numbers} {whole}"),
            Digits::Mixed(numbers, whole) => format!("{MIXED}{numbers} {whole}"),
            Digits::Variance(least) => format!("{VARIANCE}{least}"),
            Digits::Quotient(least) => format!("{QUOTIENT}{least}"),
            Digits::Root(least) => format!("{ROOT}{least}"),
            Digits::Power(least) => format!("{POWER}{least}"),
            Digits::SquareRoot(least) => format!("{SQUARE_ROOT}{least}"),
            Digits::Logarithm(least) => format!("{LOGARITHM}{least}"),
            Digits::CommonLogarithm(least) => format!("{COMMON_LOGARITHM}{least}"),
        },
        SqlType::Rounded(plain, rounding) => format!("{plain} modified by {}", rounding.modifier(plain)),
        SqlType::Uuid => return Some((EXTENSION_KEY, EXTENSION_UUID.to_string())),
        _ => return None,
    };
    Some((TYPE_KEY, text))
}

const AMONG: &str = "numeric among ";
const MIXED: &str = "numeric mixed ";
const VARIANCE: &str = "numeric variance from ";
const QUOTIENT: &str = "numeric quotient from ";
const ROOT: &str = "numeric root from ";
const POWER: &str = "numeric power from ";
const SQUARE_ROOT: &str = "numeric square root from ";
const LOGARITHM: &str = "numeric logarithm from ";
const COMMON_LOGARITHM: &str = "numeric common logarithm from ";

/// Reads what [`metadata`] wrote of a numeric. Casts keep the metadata of what they cast, so the modifiers may be another
/// type's.
fn digits_of(text: &str, precision: u8, scale: i8) -> Option<Digits> {
    if text == format!("numeric({precision},{scale})") {
        return Some(Digits::Declared);
    }
    let after = |prefix: &str| text.strip_prefix(prefix)?.parse::<u8>().ok();
    let masks = |prefix: &str| {
        let (numbers, whole) = text.strip_prefix(prefix)?.split_once(' ')?;
        Some((numbers.parse::<u64>().ok()?, whole.parse::<u64>().ok()?))
    };
    masks(AMONG)
        .map(|(numbers, whole)| Digits::Among(numbers, whole))
        .or(masks(MIXED).map(|(numbers, whole)| Digits::Mixed(numbers, whole)))
        .or(after(QUOTIENT).map(Digits::Quotient))
        .or(after(VARIANCE).map(Digits::Variance))
        .or(after(ROOT).map(Digits::Root))
        .or(after(POWER).map(Digits::Power))
        .or(after(SQUARE_ROOT).map(Digits::SquareRoot))
        .or(after(LOGARITHM).map(Digits::Logarithm))
        .or(after(COMMON_LOGARITHM).map(Digits::CommonLogarithm))
}

/// Reads what [`metadata`] wrote of a type of times; `None` for another type, which the value was cast from.
fn rounding_of(text: &str, plain: &SqlType) -> Option<Rounding> {
    let modifier = text.strip_prefix(&plain.to_string())?.strip_prefix(" modified by ")?;
    Rounding::of_modifier(modifier.parse().ok()?, plain)
}

/// Reads what [`metadata`] wrote of a text; `None` for anything else, which then is plain text.
fn text_type(text: &str) -> Option<SqlType> {
    let length = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')')?.parse::<u32>().ok();
    match text {
        "varchar" => Some(SqlType::Varchar(None)),
        "json" => Some(SqlType::Json),
        "jsonb" => Some(SqlType::Jsonb),
        "unknown" => Some(SqlType::Unknown),
        _ => length("varchar(")
            .map(|length| SqlType::Varchar(Some(length)))
            .or(length("char(").map(SqlType::Char))
            .or(SystemType::named(text).map(SqlType::System)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use staffa_catalog::Column;

    #[test]
    fn every_sql_type_survives_the_way_through_arrow() {
        let types = [
            SqlType::Boolean,
            SqlType::SmallInt,
            SqlType::Integer,
            SqlType::BigInt,
            SqlType::Real,
            SqlType::Double,
            SqlType::numeric(15, 2),
            SqlType::Text,
            SqlType::Varchar(None),
            SqlType::Varchar(Some(10)),
            SqlType::Char(3),
            SqlType::Bytea,
            SqlType::Date,
            SqlType::Time,
            SqlType::Rounded(
                Box::new(SqlType::TimestampTz),
                Rounding {
                    digits: Some(3),
                    fields: None,
                },
            ),
            SqlType::Timestamp,
            SqlType::TimestampTz,
            SqlType::Interval,
            SqlType::Uuid,
            SqlType::Json,
            SqlType::Jsonb,
            SqlType::Unknown,
            SqlType::System(SystemType::Oid),
            SqlType::System(SystemType::RegClass),
            SqlType::System(SystemType::Char),
            SqlType::System(SystemType::Int2Vector),
            SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Varchar(Some(4)))))),
            SqlType::Struct(vec![("a".into(), SqlType::Uuid), ("b".into(), SqlType::Json)]),
        ];
        for ty in types {
            assert_eq!(sql_type(&arrow_field("x", &ty, true, "UTC")), ty);
        }
    }

    #[test]
    fn unsigned_and_encoded_types_have_a_sql_type_that_holds_them() {
        assert_eq!(
            sql_type_of(&DataType::UInt64),
            SqlType::Numeric {
                precision: 20,
                scale: 0,
                digits: Digits::All,
            }
        );
        assert_eq!(sql_type_of(&DataType::UInt32), SqlType::System(SystemType::Oid));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(sql_type_of(&dictionary), SqlType::Text);
        assert_eq!(
            sql_type_of(&DataType::Duration(TimeUnit::Nanosecond)),
            SqlType::Interval
        );
    }

    #[test]
    fn field_ids_stand_at_every_level() {
        let column = Column {
            field_id: 7,
            name: "points".into(),
            ty: SqlType::Array(Box::new(SqlType::Struct(vec![("x".into(), SqlType::Integer)]))),
            nullable: true,
            comment: None,
            default: None,
            children: vec![FieldIds {
                id: 8,
                children: vec![FieldIds {
                    id: 9,
                    children: vec![],
                }],
            }],
        };
        let schema = table_arrow_schema(
            &TableSchema {
                schema_id: 0,
                columns: vec![column],
            },
            "UTC",
        );
        let id = |field: &Field| field.metadata().get(FIELD_ID_KEY).cloned();
        let list = schema.field(0);
        assert_eq!(id(list).as_deref(), Some("7"));
        let DataType::List(element) = list.data_type() else {
            panic!("a list")
        };
        assert_eq!(id(element).as_deref(), Some("8"));
        let DataType::Struct(fields) = element.data_type() else {
            panic!("a struct")
        };
        assert_eq!(id(&fields[0]).as_deref(), Some("9"));
    }
}
