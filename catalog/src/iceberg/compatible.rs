//! Whether a table that another engine has changed can still be read as before: by older files, and by what only Staffa
//! knows of its columns.

use std::collections::{HashMap, HashSet};

use ::iceberg::spec::{NestedField, PrimitiveType, Schema, SchemaRef, Type};

use super::metadata::Metadata;
use crate::error::{Error, ErrorKind, Result};
use crate::rule::ColumnDefault;

/// Checks a step from one version to the next. Fails with `InvalidDefinition` or `Unsupported`.
pub(super) fn check(current: &Metadata, next: &Metadata) -> Result<()> {
    let (old, new) = (current.inner.current_schema(), next.inner.current_schema());
    if old != new {
        check_fields(current, old, new)?;
        check_rules(current, old, new)?;
    }
    // Types and properties that Staffa cannot read are refused before they are stored.
    next.schema(next.location())?;
    next.partition_specs()?;
    Ok(())
}

/// Field ids mean what they meant, and old values can be read as the new types.
fn check_fields(current: &Metadata, old: &SchemaRef, new: &Schema) -> Result<()> {
    let has_rows = current.snapshot_id().is_some();
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
            Some(before) => check_step(before, field, has_rows)?,
            None if *id <= current.last_column_id() => {
                return Err(Error::invalid(format!(
                    "field id {id} of column \"{}\" is not a new one",
                    field.name
                )));
            }
            None if field.required && has_rows && new.as_struct().field_by_id(*id).is_some() => {
                return Err(Error::invalid(format!(
                    "new column \"{}\" is required, but the table has rows without it",
                    field.name
                )));
            }
            None => {}
        }
    }
    Ok(())
}

fn check_step(before: &NestedField, after: &NestedField, has_rows: bool) -> Result<()> {
    if after.required && !before.required && has_rows {
        return Err(Error::invalid(format!(
            "column \"{}\" cannot be made required here: its rows may be null",
            after.name
        ))
        .with_hint("ALTER TABLE … SET NOT NULL looks at them."));
    }
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

/// Constraints and generated columns name columns in SQL text: those must stay what they are called.
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
    let schema = current.schema(current.location())?;
    let generated = |default: &Option<ColumnDefault>| matches!(default, Some(ColumnDefault::Generated(_)));
    match schema.columns.iter().find(|column| generated(&column.default)) {
        Some(column) => in_the_way(first, format!("Generated column \"{}\"", column.name)),
        None => Ok(()),
    }
}
