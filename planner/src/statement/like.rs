//! `CREATE TABLE … (LIKE other)`: what of another table a new one starts with.
//!
//! Names, types and NOT NULL always; the rest is asked for, as in PostgreSQL. `INCLUDING STORAGE` takes over what belongs to
//! files: partitioning, sort order and table properties.

use std::collections::BTreeMap;

use staffa_catalog::{
    CatalogSnapshot, ColumnDefault, ColumnDefinition, Constraint, ConstraintKind, Identity, IdentityKind, Privileges,
    RelationKind, Table, TableDefinition, TableName, Transform,
};

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::parse::LikeAst;
use crate::resolve;
use crate::statement::index;
use crate::statement::query::Scope;
use crate::statement::sequence::stored_name;

/// What the other table gives; the name is the new table's.
pub(super) async fn definition(scope: &Scope<'_>, name: &TableName, like: &LikeAst) -> Result<TableDefinition> {
    let context = scope.context;
    let other = match resolve::existing(context, &like.name)? {
        Some((full, RelationKind::Table)) => context.snapshot.table(&full).await?,
        Some((full, RelationKind::Sequence | RelationKind::Index)) => {
            let message = format!("relation \"{}\" is invalid in LIKE clause", full.name);
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        }
        Some((full, RelationKind::View)) => {
            return Err(
                Error::unsupported(format!("LIKE of view \"{}\" is not supported", full.name))
                    .with_hint("Use CREATE TABLE … AS SELECT … WITH NO DATA."),
            );
        }
        None => None,
    };
    let other = other.ok_or_else(|| resolve::undefined_relation(&like.name, scope.text))?;
    context.check_table(&other, Privileges::SELECT)?;
    let includes = |what: &str| {
        let said = like.options.iter().rfind(|(_, kind)| *kind == what || *kind == "all");
        said.is_some_and(|(including, _)| *including)
    };
    let wanted = |default: &ColumnDefault| match default {
        ColumnDefault::Expression(_) => includes("defaults"),
        ColumnDefault::Generated(_) => includes("generated"),
        ColumnDefault::Identity(identity) if identity.kind == IdentityKind::Serial => includes("defaults"),
        ColumnDefault::Identity(_) => includes("identity"),
    };
    let mut columns = Vec::new();
    for column in &other.schema().columns {
        let default = column.default.clone().filter(wanted);
        columns.push(ColumnDefinition {
            name: column.name.clone(),
            ty: column.ty.clone(),
            nullable: column.nullable,
            comment: column.comment.clone().filter(|_| includes("comments")),
            default: default
                .map(|default| own_sequence(&context.snapshot, default))
                .transpose()?,
        });
    }
    let mut definition = TableDefinition {
        name: name.clone(),
        columns,
        partition_by: Vec::new(),
        sorted_by: Vec::new(),
        constraints: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        properties: BTreeMap::new(),
        materialized: None,
        location: None,
    };
    for constraint in other.constraints() {
        let taken = match constraint.kind {
            ConstraintKind::Check { .. } => includes("constraints"),
            ConstraintKind::PrimaryKey { .. } | ConstraintKind::Unique { .. } => includes("indexes"),
            ConstraintKind::ForeignKey { .. } => false,
        };
        if taken {
            let mut named = own_name(constraint, &other, name);
            named.comment = named.comment.filter(|_| includes("comments"));
            definition.constraints.push(named);
        }
    }
    if includes("indexes") {
        definition.indexes = index::for_copy(context, &other, name, includes("comments"));
    }
    if includes("storage") {
        layout(&other, &mut definition)?;
    }
    Ok(definition)
}

/// Identity columns count for themselves. The default of `serial` is the same sequence's: the other table's, which is not the
/// new one's to restart or drop.
fn own_sequence(snapshot: &CatalogSnapshot, default: ColumnDefault) -> Result<ColumnDefault> {
    let ColumnDefault::Identity(identity) = default else {
        return Ok(default);
    };
    if identity.kind != IdentityKind::Serial {
        let id = Uuid::new_v4();
        return Ok(ColumnDefault::Identity(Identity { id, ..identity }));
    }
    Ok(match snapshot.sequence_with_id(identity.id)? {
        Some((name, _)) => ColumnDefault::Expression(format!("nextval({})", stored_name(&name))),
        // The table was made before sequences of columns had names: there is none to share, and it must not become the new
        // table's.
        None => ColumnDefault::Identity(Identity {
            id: Uuid::new_v4(),
            ..identity
        }),
    })
}

/// Keys get the new table's name where they had the old one's; the name of a CHECK stays.
fn own_name(constraint: &Constraint, other: &Table, name: &TableName) -> Constraint {
    let mut constraint = constraint.clone();
    if let ConstraintKind::Check { .. } = constraint.kind {
        return constraint;
    }
    let rest = constraint.name.strip_prefix(other.name().name.as_str());
    if let Some(rest) = rest.filter(|rest| rest.starts_with('_')) {
        constraint.name = format!("{}{rest}", name.name);
    }
    constraint
}

fn layout(other: &Table, definition: &mut TableDefinition) -> Result<()> {
    let column = |id: i32| {
        let found = other.schema().column_by_id(id).map(|column| column.name.clone());
        found.ok_or_else(|| {
            let message = format!("table {} is laid out by a column it does not have", other.name());
            Error::new(ErrorKind::DataCorrupted, message)
        })
    };
    let fields = other.default_spec().fields.iter();
    for field in fields.filter(|field| field.transform != Transform::Void) {
        definition
            .partition_by
            .push((column(field.source_id)?, field.transform));
    }
    for key in other.sort_order().1 {
        definition
            .sorted_by
            .push((column(key.source_id)?, key.descending, key.nulls_first));
    }
    // The comment is a property in Iceberg, and the catalog's own belong to the columns' ids.
    let own = |name: &str| name == "comment" || name.starts_with("staffa.");
    let properties = other.properties().iter().filter(|(name, _)| !own(name));
    definition.properties = properties.map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(())
}
