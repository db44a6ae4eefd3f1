//! Whether a table that another engine has changed can still be read as before: by older files, and by what only Staffa
//! knows of its columns.

use std::collections::{HashMap, HashSet};

use ::iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, Schema, SchemaRef, Transform, Type};

use super::metadata::Metadata;
use crate::error::{Error, ErrorKind, Result};
use crate::rule::ColumnDefault;

/// As in SQL, where it is PostgreSQL's number.
const COLUMNS_MAX: usize = 1600;

/// Checks a step from one version to the next. Fails with `InvalidDefinition` or `Unsupported`.
pub(super) fn check(current: &Metadata, next: &Metadata) -> Result<()> {
    let (old, new) = (current.inner.current_schema(), next.inner.current_schema());
    // A schema that is only added now may be the current one after the next commit.
    let is_new = |schema: &&SchemaRef| current.inner.schema_by_id(schema.schema_id()) != Some(*schema);
    for schema in next.inner.schemas_iter().filter(is_new) {
        check_fields(current, old, schema)?;
        check_columns(schema, Some(old.as_ref()))?;
        next.columns_of(schema)?;
    }
    if old != new {
        check_fields(current, old, new)?;
        check_partitioning(old, next)?;
        check_rules(current, old, new)?;
    }
    // Types and properties that Staffa cannot read are refused before they are stored.
    next.schema(next.location())?;
    next.partition_specs()?;
    Ok(())
}

/// Whether SQL can name the columns of a schema and write rows of it. `old` is the schema it comes after.
pub(super) fn check_columns(schema: &Schema, old: Option<&Schema>) -> Result<()> {
    if schema.as_struct().fields().len() > COLUMNS_MAX {
        return Err(Error::invalid(format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    for (id, field) in schema.field_id_to_fields() {
        if field.name.is_empty() || field.name.contains('\0') {
            return Err(Error::invalid(format!(
                "a column cannot have the name \"{}\"",
                field.name.escape_debug()
            )));
        }
        let before = old.and_then(|old| old.field_by_id(*id));
        let was_there = before.is_some_and(|before| before.write_default == field.write_default);
        if field.write_default.is_some() && !was_there {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "a default value of column \"{}\" for new rows is not supported here",
                    field.name
                ),
            )
            .with_hint("Use ALTER TABLE … ALTER COLUMN … SET DEFAULT of Staffa's SQL."));
        }
    }
    Ok(())
}

/// Field ids mean what they meant, and old values can be read as the new types.
fn check_fields(current: &Metadata, old: &SchemaRef, new: &Schema) -> Result<()> {
    // A column that comes back is what it was last.
    let mut schemas: Vec<&SchemaRef> = current.inner.schemas_iter().collect();
    schemas.sort_by_key(|schema| schema.schema_id());
    let mut known: HashMap<i32, &NestedField> = HashMap::new();
    for schema in schemas.into_iter().chain([old]) {
        let fields = schema.field_id_to_fields().iter();
        known.extend(fields.map(|(id, field)| (*id, &**field)));
    }
    for (id, field) in new.field_id_to_fields() {
        match known.get(id) {
            Some(before) => check_type(before, field)?,
            None if *id <= current.last_column_id() => {
                return Err(Error::invalid(format!(
                    "field id {id} of column \"{}\" is not a new one",
                    field.name
                )));
            }
            None => {}
        }
    }
    // Also rows that no branch has any more: they may be the table's again.
    match current.inner.snapshots().next() {
        Some(_) => check_required(old, new.as_struct().fields(), true),
        None => Ok(()),
    }
}

/// What must have a value has one in the rows that are there: it had to before, whatever it was in the meantime, or it is
/// part of something that is new as a whole.
fn check_required(old: &Schema, fields: &[NestedFieldRef], is_parent_old: bool) -> Result<()> {
    for field in fields {
        let before = old.field_by_id(field.id);
        match before {
            Some(before) if field.required && !before.required => {
                return Err(Error::invalid(format!(
                    "column \"{}\" cannot be made required here: its rows may be null",
                    field.name
                ))
                .with_hint("ALTER TABLE … SET NOT NULL looks at them."));
            }
            None if field.required && is_parent_old => {
                return Err(Error::invalid(format!(
                    "new column \"{}\" is required, but the table has rows without it",
                    field.name
                )));
            }
            _ => {}
        }
        let inner = match &*field.field_type {
            Type::Struct(inner) => inner.fields(),
            Type::List(list) => std::slice::from_ref(&list.element_field),
            Type::Map(_) | Type::Primitive(_) => continue,
        };
        check_required(old, inner, before.is_some())?;
    }
    Ok(())
}

fn check_type(before: &NestedField, after: &NestedField) -> Result<()> {
    let fits = match (&*before.field_type, &*after.field_type) {
        (Type::Primitive(before), Type::Primitive(after)) => is_promotion(before, after),
        (Type::Struct(_), Type::Struct(_)) => true,
        // What is inside has an id of its own, which must stay the same one.
        (Type::List(before), Type::List(after)) => before.element_field.id == after.element_field.id,
        (Type::Map(before), Type::Map(after)) => {
            before.key_field.id == after.key_field.id && before.value_field.id == after.value_field.id
        }
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "column \"{}\" of type {} cannot become {}",
            after.name, before.field_type, after.field_type
        ))),
    }
}

/// The files of a partition spec, of an old one too, are listed by its values: they need its columns, and types in which the
/// values are what they were.
fn check_partitioning(old: &Schema, next: &Metadata) -> Result<()> {
    let new = next.inner.current_schema();
    let fields = next.inner.partition_specs_iter().flat_map(|spec| spec.fields());
    for field in fields.filter(|field| field.transform != Transform::Void) {
        let Some(before) = old.field_by_id(field.source_id) else {
            continue;
        };
        let value = |source: &NestedField| field.transform.result_type(&source.field_type).ok();
        let after = new.field_by_id(field.source_id);
        if after.is_none_or(|after| value(after) != value(before)) {
            let what = if after.is_none() { "go" } else { "change its type" };
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "column \"{}\" cannot {what}: the table is or was partitioned by it",
                    before.name
                ),
            )
            .with_detail("Files written under a partition spec need its columns."));
        }
    }
    Ok(())
}

/// Iceberg's type promotions of version 2.
fn is_promotion(before: &PrimitiveType, after: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    match (before, after) {
        (P::Int, P::Long) | (P::Float, P::Double) => true,
        (
            P::Decimal { precision, scale },
            P::Decimal {
                precision: wider,
                scale: same,
            },
        ) => precision <= wider && scale == same,
        (before, after) => before == after,
    }
}

/// Constraints, indexes and generated columns name columns in SQL text: those must stay what they are called.
fn check_rules(current: &Metadata, old: &Schema, new: &Schema) -> Result<()> {
    let names = |schema: &Schema| -> HashSet<(i32, String)> {
        let fields = schema.as_struct().fields().iter();
        fields.map(|field| (field.id, field.name.clone())).collect()
    };
    let after = names(new);
    let gone: Vec<String> = names(old).difference(&after).map(|(_, name)| name.clone()).collect();
    let Some(first) = gone.first() else { return Ok(()) };
    let in_the_way = |column: &str, what: String| {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("column \"{column}\" cannot go or be renamed here"),
        )
        .with_detail(format!("{what} needs it."))
        .with_hint("Use ALTER TABLE of Staffa's SQL."))
    };
    for constraint in current.constraints(current.location())? {
        if let Some(column) = constraint.columns().iter().find(|column| gone.contains(column)) {
            return in_the_way(column, format!("Constraint \"{}\"", constraint.name));
        }
    }
    for index in current.indexes(current.location())? {
        if let Some(column) = index.columns().find(|column| gone.contains(column)) {
            return in_the_way(column, format!("Index \"{}\"", index.name));
        }
    }
    let schema = current.schema(current.location())?;
    let generated = |default: &Option<ColumnDefault>| matches!(default, Some(ColumnDefault::Generated(_)));
    match schema.columns.iter().find(|column| generated(&column.default)) {
        Some(column) => in_the_way(first, format!("Generated column \"{}\"", column.name)),
        None => Ok(()),
    }
}
