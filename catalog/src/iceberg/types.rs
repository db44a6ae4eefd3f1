//! SQL types and columns to Iceberg's and back.
//!
//! Iceberg cannot say smallint, varchar(n), char(n), json, jsonb, interval and timestamp(n). Such a leaf is stored as its plain
//! relative, and its SQL type is kept in the property [`COLUMN_TYPES`] by field id. Where another engine has changed
//! the leaf's stored type since, the property's entry is ignored.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::iceberg::spec::{ListType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type};

use crate::error::{Error, ErrorKind, Result};
use crate::rule::ColumnDefault;
use crate::schema::{Column, FieldIds, TableSchema};
use crate::types::{SqlType, SystemStorage};

/// The table and view property that holds SQL types Iceberg cannot say: JSON, field id to [`SqlType`].
pub(super) const COLUMN_TYPES: &str = "staffa.column-types";

/// SQL types of leaves by field id.
pub(super) type Overrides = BTreeMap<i32, SqlType>;

/// Hands out field ids while a type is built.
#[derive(Default)]
pub(super) struct FieldIdCounter(i32);

impl FieldIdCounter {
    /// Goes on after the highest id in use.
    pub(super) fn after(last: i32) -> Self {
        FieldIdCounter(last)
    }

    pub(super) fn next(&mut self) -> i32 {
        self.0 += 1;
        self.0
    }
}

/// The Iceberg type a SQL type is stored as.
pub(super) fn to_iceberg(column: &str, ty: &SqlType, ids: &mut FieldIdCounter) -> Result<Type> {
    Ok(match ty {
        SqlType::Array(element) => {
            let id = ids.next();
            let element = to_iceberg(column, element, ids)?;
            Type::List(ListType::new(Arc::new(NestedField::list_element(id, element, false))))
        }
        SqlType::Struct(fields) => {
            if fields.is_empty() {
                return Err(Error::invalid(format!(
                    "column \"{column}\" is a struct without fields"
                )));
            }
            let mut nested: Vec<NestedFieldRef> = Vec::with_capacity(fields.len());
            for (name, ty) in fields {
                if nested.iter().any(|field| field.name == *name) {
                    return Err(Error::duplicate_column(name));
                }
                let id = ids.next();
                nested.push(Arc::new(NestedField::optional(id, name, to_iceberg(column, ty, ids)?)));
            }
            Type::Struct(StructType::new(nested))
        }
        leaf => Type::Primitive(leaf_to_iceberg(column, leaf)?),
    })
}

fn leaf_to_iceberg(column: &str, ty: &SqlType) -> Result<PrimitiveType> {
    Ok(match ty {
        SqlType::Boolean => PrimitiveType::Boolean,
        SqlType::SmallInt | SqlType::Integer => PrimitiveType::Int,
        SqlType::BigInt => PrimitiveType::Long,
        SqlType::Real => PrimitiveType::Float,
        SqlType::Double => PrimitiveType::Double,
        SqlType::Numeric { precision, scale, .. } => {
            let (precision, scale) = (*precision, *scale);
            if !(1..=38).contains(&precision) {
                return Err(
                    Error::invalid(format!("numeric precision {precision} must be between 1 and 38"))
                        .with_detail(format!("column \"{column}\" has type {ty}")),
                );
            }
            let fitting = u32::try_from(scale).ok().filter(|scale| *scale <= u32::from(precision));
            let Some(scale) = fitting else {
                return Err(Error::invalid(format!(
                    "numeric scale {scale} must be between 0 and precision {precision}"
                ))
                .with_detail(format!("column \"{column}\" has type {ty}")));
            };
            PrimitiveType::Decimal {
                precision: precision.into(),
                scale,
            }
        }
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Interval | SqlType::Json | SqlType::Jsonb => {
            PrimitiveType::String
        }
        SqlType::Bytea => PrimitiveType::Binary,
        SqlType::Date => PrimitiveType::Date,
        SqlType::Time => PrimitiveType::Time,
        SqlType::Timestamp => PrimitiveType::Timestamp,
        SqlType::TimestampTz => PrimitiveType::Timestamptz,
        SqlType::Rounded(plain, _) => leaf_to_iceberg(column, plain)?,
        SqlType::Uuid => PrimitiveType::Uuid,
        SqlType::System(ty) if ty.storage() == SystemStorage::Text => PrimitiveType::String,
        SqlType::System(_) => {
            return Err(unsupported(column, &format!("type {ty}")).with_hint("Cast it to bigint or text."));
        }
        SqlType::Unknown => {
            return Err(Error::invalid(format!("column \"{column}\" has pseudo-type unknown"))
                .with_hint("Give the column a type, for example with a cast."));
        }
        SqlType::Array(_) | SqlType::Struct(_) => {
            return Err(Error::internal(format!("column \"{column}\": {ty} is not a leaf")));
        }
    })
}

/// The SQL type an Iceberg leaf has when nothing else is known.
fn leaf_from_iceberg(column: &str, ty: &PrimitiveType) -> Result<SqlType> {
    Ok(match ty {
        PrimitiveType::Boolean => SqlType::Boolean,
        PrimitiveType::Int => SqlType::Integer,
        PrimitiveType::Long => SqlType::BigInt,
        PrimitiveType::Float => SqlType::Real,
        PrimitiveType::Double => SqlType::Double,
        PrimitiveType::Decimal { precision, scale } => match (u8::try_from(*precision), i8::try_from(*scale)) {
            (Ok(precision @ 1..=38), Ok(scale)) => SqlType::numeric(precision, scale),
            _ => return Err(unsupported(column, &format!("type {ty}"))),
        },
        PrimitiveType::Date => SqlType::Date,
        PrimitiveType::Time => SqlType::Time,
        PrimitiveType::Timestamp => SqlType::Timestamp,
        PrimitiveType::Timestamptz => SqlType::TimestampTz,
        PrimitiveType::String => SqlType::Text,
        PrimitiveType::Uuid => SqlType::Uuid,
        PrimitiveType::Fixed(_) | PrimitiveType::Binary => SqlType::Bytea,
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => {
            return Err(unsupported(column, &format!("nanosecond type {ty}")));
        }
    })
}

fn unsupported(column: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("column \"{column}\" has {what}, which is not supported"),
    )
}

/// Notes the leaves of `ty`, stored as `stored` under field id `id`, whose SQL type Iceberg cannot say.
pub(super) fn collect_overrides(id: i32, stored: &Type, ty: &SqlType, overrides: &mut Overrides) {
    match (stored, ty) {
        (Type::List(list), SqlType::Array(element)) => {
            let field = &list.element_field;
            collect_overrides(field.id, &field.field_type, element, overrides);
        }
        (Type::Struct(stored), SqlType::Struct(fields)) => {
            for (field, (_, ty)) in stored.fields().iter().zip(fields) {
                collect_overrides(field.id, &field.field_type, ty, overrides);
            }
        }
        (Type::Primitive(stored), leaf) if leaf_from_iceberg("", stored).ok().as_ref() != Some(leaf) => {
            overrides.insert(id, leaf.clone());
        }
        _ => {}
    }
}

/// The columns of an Iceberg schema.
pub(super) fn to_columns(
    schema: &Schema,
    overrides: &Overrides,
    defaults: &BTreeMap<i32, ColumnDefault>,
) -> Result<TableSchema> {
    let column = |field: &NestedFieldRef| {
        if field.initial_default.is_some() {
            return Err(unsupported(&field.name, "an initial default value"));
        }
        let (ty, children) = from_iceberg(&field.name, field.id, &field.field_type, overrides)?;
        Ok(Column {
            field_id: field.id,
            name: field.name.clone(),
            ty,
            nullable: !field.required,
            comment: field.doc.clone(),
            default: defaults.get(&field.id).cloned(),
            children,
        })
    };
    let columns = schema.as_struct().fields().iter().map(column).collect::<Result<_>>()?;
    Ok(TableSchema {
        schema_id: schema.schema_id(),
        columns,
    })
}

pub(super) fn from_iceberg(
    column: &str,
    id: i32,
    ty: &Type,
    overrides: &Overrides,
) -> Result<(SqlType, Vec<FieldIds>)> {
    match ty {
        Type::Primitive(primitive) => {
            let fits = |ty: &&SqlType| leaf_to_iceberg(column, ty).is_ok_and(|stored| stored == *primitive);
            let ty = match overrides.get(&id).filter(fits) {
                Some(ty) => ty.clone(),
                None => leaf_from_iceberg(column, primitive)?,
            };
            Ok((ty, Vec::new()))
        }
        Type::List(list) => {
            let field = &list.element_field;
            let (element, children) = from_iceberg(column, field.id, &field.field_type, overrides)?;
            Ok((
                SqlType::Array(Box::new(element)),
                vec![FieldIds { id: field.id, children }],
            ))
        }
        Type::Struct(fields) => {
            let mut types = Vec::new();
            let mut ids = Vec::new();
            for field in fields.fields() {
                if field.initial_default.is_some() {
                    return Err(unsupported(column, "a field with an initial default value"));
                }
                let (ty, children) = from_iceberg(column, field.id, &field.field_type, overrides)?;
                types.push((field.name.clone(), ty));
                ids.push(FieldIds { id: field.id, children });
            }
            Ok((SqlType::Struct(types), ids))
        }
        Type::Map(_) => Err(unsupported(column, "a map type")),
    }
}

/// Reads the property [`COLUMN_TYPES`].
pub(super) fn parse_overrides(location: &str, text: Option<&String>) -> Result<Overrides> {
    match text {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| super::corrupt(location, format!("property \"{COLUMN_TYPES}\": {error}"))),
        None => Ok(Overrides::new()),
    }
}

/// Writes the property [`COLUMN_TYPES`]; `None` when there is nothing to say.
pub(super) fn print_overrides(overrides: &Overrides) -> Result<Option<String>> {
    if overrides.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(overrides)
        .map(Some)
        .map_err(|error| Error::internal("cannot encode column types").with_source(error))
}
