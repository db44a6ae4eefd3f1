//! `information_schema`, as PostgreSQL 15's views of these names show it (section 37 of its manual).

use std::collections::HashSet;

use arrow::array::RecordBatch;
use staffa_catalog::{Acl, ObjectKind, Privileges, Rights, SequenceType, SqlType, Uuid};

use super::facts::{self, SystemRelation};
use super::image::{Image, Relation};
use super::part::{Column, Key, KeyKind, Kind};
use super::rows::{Cell, Rows};
use super::view::{CatalogView, all_schemas};
use crate::error::Result;
use crate::value::{sql_type_of_oid, type_modifier};

/// `character_octet_length` of texts without a limit.
const OCTETS_MAX: i32 = 1 << 30;

/// The rows of a relation; `None` when it has none here.
pub(super) fn rows(view: &CatalogView, relation: &'static SystemRelation) -> Result<Option<RecordBatch>> {
    let image = &*view.image;
    Ok(Some(match relation.name {
        "information_schema_catalog_name" => {
            let mut rows = Rows::of(relation, ["catalog_name"])?;
            rows.push([(&image.database.name).into()]);
            rows.finish()?
        }
        "schemata" => schemata(view, relation)?,
        "tables" => tables(view, relation)?,
        "columns" => columns(view, relation)?,
        "views" => views(view, relation)?,
        "sequences" => sequences(image, relation)?,
        "table_constraints" => table_constraints(image, relation)?,
        "key_column_usage" => key_column_usage(image, relation)?,
        "constraint_column_usage" => constraint_column_usage(image, relation)?,
        "constraint_table_usage" => constraint_table_usage(image, relation)?,
        "referential_constraints" => referential_constraints(image, relation)?,
        "check_constraints" => check_constraints(view, relation)?,
        "character_sets" => character_sets(image, relation)?,
        "enabled_roles" => {
            let mut rows = Rows::of(relation, ["role_name"])?;
            for (named, role) in view.roles.known() {
                if view.roles.authority.has_privileges_of(role.id) {
                    rows.push([(&named.name).into()]);
                }
            }
            rows.finish()?
        }
        "applicable_roles" | "administrable_role_authorizations" => memberships(view, relation)?,
        "table_privileges" | "role_table_grants" => table_privileges(view, relation)?,
        "column_privileges" | "role_column_grants" => column_privileges(view, relation)?,
        "usage_privileges" | "role_usage_grants" => usage_privileges(view, relation)?,
        _ => return Ok(None),
    }))
}

/// The relations that are tables for the standard: no sequences.
fn table_like(image: &Image) -> impl Iterator<Item = &Relation> {
    let all = image.relations.iter();
    all.filter(|relation| matches!(relation.kind, Kind::Table | Kind::View { .. }))
}

/// Those of them that the role that asks owns, or may do something with.
fn own_tables(view: &CatalogView) -> impl Iterator<Item = &Relation> {
    let roles = &view.roles;
    table_like(&view.image).filter(move |relation| {
        let rights = roles.of_relation(relation);
        let authority = &roles.authority;
        let any = ObjectKind::Table.privileges();
        let mut columns = rights.columns.keys();
        authority.owns(&rights)
            || !authority.held(&rights, ObjectKind::Table, any).is_empty()
            || columns.any(|id| {
                let privileges = Privileges::ALL.iter().map(|(privilege, ..)| *privilege);
                let mut privileges =
                    privileges.filter(|privilege| ObjectKind::Column.privileges().contains(*privilege));
                privileges.any(|privilege| authority.may_with_column(&rights, *id, privilege))
            })
    })
}

fn yes_or_no(flag: bool) -> Cell<'static> {
    Cell::Text(if flag { "YES" } else { "NO" })
}

fn schemata(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(relation, ["catalog_name", "schema_name", "schema_owner"])?;
    for (oid, name) in all_schemas(image) {
        let rights = match image.schemas.iter().any(|schema| schema.oid == oid) {
            true => roles.of_schema(&image.database.name, &name),
            false => Rights::default(),
        };
        // Those whose owner one may be.
        if roles.authority.owns(&rights) {
            let owner = &roles.owner(&rights).name;
            rows.push([(&image.database.name).into(), name.into(), owner.into()]);
        }
    }
    rows.finish()
}

fn tables(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let image = &*view.image;
    let columns = [
        "table_catalog",
        "table_schema",
        "table_name",
        "table_type",
        "is_insertable_into",
        "is_typed",
    ];
    let mut rows = Rows::of(relation, columns)?;
    for relation in own_tables(view) {
        let is_table = matches!(relation.kind, Kind::Table);
        let ty = match (is_table, relation.is_temporary) {
            (true, true) => "LOCAL TEMPORARY",
            (true, false) => "BASE TABLE",
            (false, _) => "VIEW",
        };
        rows.push([
            (&image.database.name).into(),
            (&relation.schema.name).into(),
            (&relation.name).into(),
            ty.into(),
            yes_or_no(is_table),
            yes_or_no(false),
        ]);
    }
    for system in facts::relations() {
        rows.push([
            (&image.database.name).into(),
            system.schema.into(),
            system.name.into(),
            if system.kind == "r" { "BASE TABLE" } else { "VIEW" }.into(),
            yes_or_no(false),
            yes_or_no(false),
        ]);
    }
    rows.finish()
}

/// What the standard says of a type by its name and modifier.
struct Described {
    data_type: String,
    /// Schema and name of the type.
    udt: (&'static str, String),
    length: Option<i32>,
    octets: Option<i32>,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    datetime: Option<i32>,
    /// The fields of an interval.
    interval: Option<String>,
}

/// `oid` is the type's number, `modifier` as in `pg_attribute`.
fn described(oid: u32, modifier: i32) -> Described {
    let facts = facts::type_with_oid(oid);
    let is_array = facts.is_some_and(|facts| facts.is_array);
    let name = facts.map_or("record", |facts| facts.name);
    let data_type = match oid {
        _ if is_array => "ARRAY",
        16 => "boolean",
        18 => "\"char\"",
        20 => "bigint",
        21 => "smallint",
        23 => "integer",
        700 => "real",
        701 => "double precision",
        1042 => "character",
        1043 => "character varying",
        1083 => "time without time zone",
        1114 => "timestamp without time zone",
        1184 => "timestamp with time zone",
        2249 => "USER-DEFINED",
        _ => name,
    };
    let number = |bits, radix, scale| (Some(bits), Some(radix), scale);
    let (precision, radix, scale) = match oid {
        21 => number(16, 2, Some(0)),
        23 => number(32, 2, Some(0)),
        20 => number(64, 2, Some(0)),
        700 => number(24, 2, None),
        701 => number(53, 2, None),
        1700 if modifier >= 4 => {
            let bits = modifier - 4;
            number((bits >> 16) & 0xffff, 10, Some(bits & 0xffff))
        }
        1700 => (None, Some(10), None),
        _ => (None, None, None),
    };
    let length = matches!(oid, 1042 | 1043)
        .then(|| modifier - 4)
        .filter(|length| *length >= 0);
    let octets = match (oid, length) {
        // Four bytes a character.
        (_, Some(length)) => Some(length.saturating_mul(4)),
        (25 | 1042 | 1043, None) => Some(OCTETS_MAX),
        _ => None,
    };
    let rounding = sql_type_of_oid(oid, modifier).and_then(|ty| match ty {
        SqlType::Rounded(_, rounding) => Some(rounding),
        _ => None,
    });
    let datetime = match oid {
        1082 => Some(0),
        1083 | 1114 | 1184 | 1186 => Some(rounding.and_then(|rounding| rounding.digits).map_or(6, i32::from)),
        _ => None,
    };
    let fields = rounding.and_then(|rounding| rounding.fields);
    Described {
        data_type: data_type.to_owned(),
        udt: ("pg_catalog", name.to_owned()),
        length,
        octets,
        precision,
        radix,
        scale,
        datetime,
        interval: fields.map(|fields| fields.to_string().to_uppercase()),
    }
}

fn columns(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let image = &*view.image;
    let mut rows = Rows::of(
        relation,
        [
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "ordinal_position",
            "column_default",
            "is_nullable",
            "data_type",
            "character_maximum_length",
            "character_octet_length",
            "numeric_precision",
            "numeric_precision_radix",
            "numeric_scale",
            "datetime_precision",
            "interval_type",
            "domain_catalog",
            "domain_schema",
            "domain_name",
            "udt_catalog",
            "udt_schema",
            "udt_name",
            "dtd_identifier",
            "is_self_referencing",
            "is_identity",
            "identity_generation",
            "identity_start",
            "identity_increment",
            "identity_maximum",
            "identity_minimum",
            "identity_cycle",
            "is_generated",
            "generation_expression",
            "is_updatable",
        ],
    )?;
    let database = || Cell::from(&image.database.name);
    for relation in own_tables(view) {
        for column in &relation.columns {
            let ty = described(column.type_oid, type_modifier(&column.ty));
            let default = column.default.as_ref();
            let generated = default.filter(|default| default.is_generated);
            let identity = Identity::of(image, relation, column);
            rows.push([
                database(),
                (&relation.schema.name).into(),
                (&relation.name).into(),
                (&column.name).into(),
                Cell::Int(column.number.into()),
                default
                    .filter(|default| !default.is_generated)
                    .and_then(|_| image.default_of(column))
                    .into(),
                yes_or_no(!column.not_null),
                ty.data_type.into(),
                ty.length.into(),
                ty.octets.into(),
                ty.precision.into(),
                ty.radix.into(),
                ty.scale.into(),
                ty.datetime.into(),
                ty.interval.into(),
                Cell::Null,
                Cell::Null,
                Cell::Null,
                database(),
                ty.udt.0.into(),
                ty.udt.1.into(),
                Cell::Owned(column.number.to_string()),
                yes_or_no(false),
                yes_or_no(!column.identity.is_empty()),
                Cell::text(identity.generation),
                identity.start.into(),
                identity.increment.into(),
                identity.maximum.into(),
                identity.minimum.into(),
                yes_or_no(identity.cycle),
                if generated.is_some() { "ALWAYS" } else { "NEVER" }.into(),
                generated.and_then(|_| image.default_of(column)).into(),
                yes_or_no(matches!(relation.kind, Kind::Table)),
            ]);
        }
    }
    for system in facts::relations() {
        for (number, column) in (1_i32..).zip(&system.columns) {
            let domain = facts::type_with_oid(column.declared).filter(|ty| ty.schema != super::image::CATALOG_SCHEMA);
            let ty = described(crate::value::type_oid(&column.ty), column.modifier);
            rows.push([
                database(),
                system.schema.into(),
                system.name.into(),
                column.name.into(),
                number.into(),
                Cell::Null,
                yes_or_no(!column.not_null),
                ty.data_type.into(),
                ty.length.into(),
                ty.octets.into(),
                ty.precision.into(),
                ty.radix.into(),
                ty.scale.into(),
                ty.datetime.into(),
                ty.interval.into(),
                if domain.is_some() { database() } else { Cell::Null },
                if domain.is_some() {
                    system.schema.into()
                } else {
                    Cell::Null
                },
                domain.map(|domain| domain.name).into(),
                database(),
                ty.udt.0.into(),
                ty.udt.1.into(),
                Cell::Owned(number.to_string()),
                yes_or_no(false),
                yes_or_no(false),
                Cell::Null,
                Cell::Null,
                Cell::Null,
                Cell::Null,
                Cell::Null,
                yes_or_no(false),
                "NEVER".into(),
                Cell::Null,
                yes_or_no(false),
            ]);
        }
    }
    rows.finish()
}

/// What the standard says of an identity column.
#[derive(Default)]
struct Identity {
    generation: Option<&'static str>,
    start: Option<String>,
    increment: Option<String>,
    maximum: Option<String>,
    minimum: Option<String>,
    cycle: bool,
}

impl Identity {
    fn of(image: &Image, relation: &Relation, column: &Column) -> Self {
        let generation = match column.identity {
            "a" => "ALWAYS",
            "d" => "BY DEFAULT",
            _ => return Self::default(),
        };
        let sequence = image.sequence_of(relation, column.number).map(|(_, sequence)| sequence);
        let number = |number: fn(&staffa_catalog::Sequence) -> i64| sequence.map(|found| number(found).to_string());
        Self {
            generation: Some(generation),
            start: number(|sequence| sequence.start),
            increment: number(|sequence| sequence.increment),
            maximum: number(|sequence| sequence.max),
            minimum: number(|sequence| sequence.min),
            cycle: sequence.is_some_and(|sequence| sequence.cycle),
        }
    }
}

fn views(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let image = &*view.image;
    let mut rows = Rows::of(
        relation,
        [
            "table_catalog",
            "table_schema",
            "table_name",
            "view_definition",
            "check_option",
            "is_updatable",
            "is_insertable_into",
            "is_trigger_updatable",
            "is_trigger_deletable",
            "is_trigger_insertable_into",
        ],
    )?;
    let no = || yes_or_no(false);
    for relation in own_tables(view) {
        if let Kind::View { .. } = &relation.kind {
            rows.push([
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&relation.name).into(),
                view.view_definition(relation.oid, false).into(),
                "NONE".into(),
                no(),
                no(),
                no(),
                no(),
                no(),
            ]);
        }
    }
    for system in facts::relations().iter().filter(|system| system.kind == "v") {
        rows.push([
            (&image.database.name).into(),
            system.schema.into(),
            system.name.into(),
            Cell::Null,
            "NONE".into(),
            no(),
            no(),
            no(),
            no(),
            no(),
        ]);
    }
    rows.finish()
}

fn sequences(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "sequence_catalog",
            "sequence_schema",
            "sequence_name",
            "data_type",
            "numeric_precision",
            "numeric_precision_radix",
            "numeric_scale",
            "start_value",
            "minimum_value",
            "maximum_value",
            "increment",
            "cycle_option",
        ],
    )?;
    for relation in &image.relations {
        let Kind::Sequence(sequence) = &relation.kind else {
            continue;
        };
        // The sequences of identity columns are the columns' own.
        if sequence.owner.is_some_and(|owner| owner.is_identity) {
            continue;
        }
        let bits = match sequence.ty {
            SequenceType::SmallInt => 16,
            SequenceType::Integer => 32,
            SequenceType::BigInt => 64,
        };
        let ty: SqlType = sequence.ty.sql_type();
        rows.push([
            (&image.database.name).into(),
            (&relation.schema.name).into(),
            (&relation.name).into(),
            ty.to_string().into(),
            Cell::Int(bits),
            Cell::Int(2),
            Cell::Int(0),
            sequence.start.to_string().into(),
            sequence.min.to_string().into(),
            sequence.max.to_string().into(),
            sequence.increment.to_string().into(),
            yes_or_no(sequence.cycle),
        ]);
    }
    rows.finish()
}

fn table_constraints(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
            "is_deferrable",
            "initially_deferred",
            "enforced",
            "nulls_distinct",
        ],
    )?;
    for (relation, key) in image.keys() {
        let ty = match key.kind {
            KeyKind::Check(_) => "CHECK",
            KeyKind::Primary => "PRIMARY KEY",
            KeyKind::Unique => "UNIQUE",
            KeyKind::Foreign { .. } => "FOREIGN KEY",
        };
        let distinct = if matches!(key.kind, KeyKind::Unique) {
            yes_or_no(true)
        } else {
            Cell::Null
        };
        rows.push([
            (&image.database.name).into(),
            (&relation.schema.name).into(),
            (&key.name).into(),
            (&image.database.name).into(),
            (&relation.schema.name).into(),
            (&relation.name).into(),
            ty.into(),
            yes_or_no(false),
            yes_or_no(false),
            // As PostgreSQL says of every constraint; the manual says which are.
            yes_or_no(true),
            distinct,
        ]);
    }
    // PostgreSQL shows NOT NULL as a check with a name nobody gave.
    for relation in &image.relations {
        for column in relation
            .columns
            .iter()
            .filter(|column| column.not_null && matches!(relation.kind, Kind::Table))
        {
            rows.push([
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                not_null_name(relation, column).into(),
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&relation.name).into(),
                "CHECK".into(),
                yes_or_no(false),
                yes_or_no(false),
                yes_or_no(true),
                Cell::Null,
            ]);
        }
    }
    rows.finish()
}

fn not_null_name(relation: &Relation, column: &Column) -> String {
    format!("{}_{}_{}_not_null", relation.schema.oid, relation.oid, column.number)
}

fn key_column_usage(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "ordinal_position",
            "position_in_unique_constraint",
        ],
    )?;
    for (relation, key) in image.keys().filter(|(_, key)| !matches!(key.kind, KeyKind::Check(_))) {
        for (at, number) in (1_i32..).zip(&key.columns) {
            let Some(column) = relation.column(*number) else {
                continue;
            };
            rows.push([
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&key.name).into(),
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&relation.name).into(),
                (&column.name).into(),
                at.into(),
                place_in_unique(image, key, at).into(),
            ]);
        }
    }
    rows.finish()
}

/// Where the column that the `at`th one of a foreign key refers to stands in the key it belongs to.
fn place_in_unique(image: &Image, key: &Key, at: i32) -> Option<i32> {
    let (relation, columns) = image.referred(key)?;
    let wanted = columns.get(usize::try_from(at - 1).ok()?)?;
    let unique = referenced(relation, &columns)?;
    (1..)
        .zip(&unique.columns)
        .find(|(_, number)| *number == wanted)
        .map(|(place, _)| place)
}

/// The key of these columns, which a foreign key refers to.
fn referenced<'a>(relation: &'a Relation, columns: &[i16]) -> Option<&'a Key> {
    let mut keys = relation.constraints.iter();
    keys.find(|key| {
        let same = key.columns.len() == columns.len() && columns.iter().all(|number| key.columns.contains(number));
        key.kind.has_index() && same
    })
}

fn constraint_column_usage(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
    )?;
    for (relation, key) in image.keys() {
        let used = match &key.kind {
            KeyKind::Foreign { .. } => image.referred(key),
            _ => Some((relation, key.columns.clone())),
        };
        let Some((table, numbers)) = used else {
            continue;
        };
        for column in numbers.iter().filter_map(|number| table.column(*number)) {
            rows.push([
                (&image.database.name).into(),
                (&table.schema.name).into(),
                (&table.name).into(),
                (&column.name).into(),
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&key.name).into(),
            ]);
        }
    }
    rows.finish()
}

fn constraint_table_usage(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
    )?;
    for (relation, key) in image.keys() {
        let table = match &key.kind {
            KeyKind::Foreign { .. } => image.referred(key).map(|(table, _)| table),
            KeyKind::Check(_) => None,
            _ => Some(relation),
        };
        if let Some(table) = table {
            rows.push([
                (&image.database.name).into(),
                (&table.schema.name).into(),
                (&table.name).into(),
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&key.name).into(),
            ]);
        }
    }
    rows.finish()
}

fn referential_constraints(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "unique_constraint_catalog",
            "unique_constraint_schema",
            "unique_constraint_name",
            "match_option",
            "update_rule",
            "delete_rule",
        ],
    )?;
    for (relation, key) in image.keys() {
        if !matches!(key.kind, KeyKind::Foreign { .. }) {
            continue;
        }
        let (restricts_update, restricts_delete) = key.kind.restricts();
        let rule = |restricts: bool| Cell::Text(if restricts { "RESTRICT" } else { "NO ACTION" });
        let referred = image.referred(key);
        let unique = referred
            .as_ref()
            .and_then(|(table, columns)| referenced(table, columns));
        let table = referred.as_ref().map(|(table, _)| *table).filter(|_| unique.is_some());
        rows.push([
            (&image.database.name).into(),
            (&relation.schema.name).into(),
            (&key.name).into(),
            table.map(|_| &image.database.name).into(),
            table.map(|table| &table.schema.name).into(),
            unique.map(|unique| &unique.name).into(),
            "NONE".into(),
            rule(restricts_update),
            rule(restricts_delete),
        ]);
    }
    rows.finish()
}

fn check_constraints(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let image = &*view.image;
    let mut rows = Rows::of(
        relation,
        [
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "check_clause",
        ],
    )?;
    for (relation, key) in image.keys() {
        if let KeyKind::Check(_) = &key.kind {
            let definition = view.constraint_definition(key.oid, false).unwrap_or_default();
            rows.push([
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&key.name).into(),
                definition.trim_start_matches("CHECK ").to_owned().into(),
            ]);
        }
    }
    for relation in &image.relations {
        for column in relation
            .columns
            .iter()
            .filter(|column| column.not_null && matches!(relation.kind, Kind::Table))
        {
            rows.push([
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                not_null_name(relation, column).into(),
                format!("{} IS NOT NULL", column.name).into(),
            ]);
        }
    }
    rows.finish()
}

fn character_sets(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "character_set_name",
            "character_repertoire",
            "form_of_use",
            "default_collate_catalog",
            "default_collate_schema",
            "default_collate_name",
        ],
    )?;
    rows.push([
        "UTF8".into(),
        "UCS".into(),
        "UTF8".into(),
        (&image.database.name).into(),
        "pg_catalog".into(),
        "default".into(),
    ]);
    rows.finish()
}

/// The memberships of the role that asks, also those that come with another.
fn memberships(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let roles = &view.roles;
    let mut rows = Rows::of(relation, ["grantee", "role_name", "is_grantable"])?;
    let own = roles.access.role(&roles.user.name);
    let with_own = own
        .map(|role| roles.access.roles_of(role.id, false))
        .unwrap_or_default();
    for (named, role) in roles.known().filter(|(_, role)| with_own.contains(&role.id)) {
        for (group, membership) in &role.member_of {
            let only_admin = relation.name == "administrable_role_authorizations";
            if let (Some(group), true) = (roles.with_id(*group), membership.admin || !only_admin) {
                let (grantee, group) = ((&named.name).into(), (&group.name).into());
                rows.push([grantee, group, yes_or_no(membership.admin)]);
            }
        }
    }
    rows.finish()
}

/// One privilege that somebody has.
struct Granted<'a> {
    grantor: &'a str,
    grantee: &'a str,
    privilege: &'static str,
    is_grantable: bool,
}

/// Each privilege of a list that the role that asks may see: one that it, or a role it has the privileges of, gave or has. `all`: also
/// those that everybody has.
fn granted<'a>(view: &'a CatalogView, rights: &Rights, acl: &Acl, all: bool) -> Vec<Granted<'a>> {
    let roles = &*view.roles;
    let is_own = |id: Uuid| roles.authority.has_privileges_of(id);
    let mut found = Vec::new();
    for item in acl.items() {
        let Some(grantor) = roles.with_id(item.grantor) else {
            continue;
        };
        let (grantee, shown) = match item.grantee {
            None => ("PUBLIC", all || is_own(item.grantor)),
            Some(id) => match roles.with_id(id) {
                Some(grantee) => (grantee.name.as_str(), is_own(id) || is_own(item.grantor)),
                None => continue,
            },
        };
        if !shown {
            continue;
        }
        for (privilege, _, name) in Privileges::ALL {
            if item.privileges.contains(privilege) {
                found.push(Granted {
                    grantor: &grantor.name,
                    grantee,
                    privilege: name,
                    is_grantable: item.grantable.contains(privilege) || item.grantee == Some(rights.owner),
                });
            }
        }
    }
    found
}

fn table_privileges(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let image = &*view.image;
    let mut rows = Rows::of(
        relation,
        [
            "grantor",
            "grantee",
            "table_catalog",
            "table_schema",
            "table_name",
            "privilege_type",
            "is_grantable",
            "with_hierarchy",
        ],
    )?;
    let all = relation.name == "table_privileges";
    for relation in table_like(image) {
        let rights = view.roles.of_relation(relation);
        for granted in granted(view, &rights, &rights.acl_of(ObjectKind::Table), all) {
            rows.push([
                granted.grantor.into(),
                granted.grantee.into(),
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&relation.name).into(),
                granted.privilege.into(),
                yes_or_no(granted.is_grantable),
                yes_or_no(granted.privilege == "SELECT"),
            ]);
        }
    }
    rows.finish()
}

/// A privilege on a table is one on each of its columns.
fn column_privileges(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let image = &*view.image;
    let mut rows = Rows::of(
        relation,
        [
            "grantor",
            "grantee",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "privilege_type",
            "is_grantable",
        ],
    )?;
    let all = relation.name == "column_privileges";
    let of_columns = ["SELECT", "INSERT", "UPDATE", "REFERENCES"];
    for relation in table_like(image) {
        let rights = view.roles.of_relation(relation);
        let on_table = granted(view, &rights, &rights.acl_of(ObjectKind::Table), all);
        for column in &relation.columns {
            let mut ids = relation.column_numbers.iter();
            let id = ids.find(|(_, number)| **number == column.number).map(|(id, _)| *id);
            let on_column = id.and_then(|id| rights.columns.get(&id));
            let on_column = on_column
                .map(|acl| granted(view, &rights, acl, all))
                .unwrap_or_default();
            let mut seen = HashSet::new();
            for granted in on_table.iter().chain(&on_column) {
                let is_new = seen.insert((granted.grantor, granted.grantee, granted.privilege));
                if !is_new || !of_columns.contains(&granted.privilege) {
                    continue;
                }
                rows.push([
                    granted.grantor.into(),
                    granted.grantee.into(),
                    (&image.database.name).into(),
                    (&relation.schema.name).into(),
                    (&relation.name).into(),
                    (&column.name).into(),
                    granted.privilege.into(),
                    yes_or_no(granted.is_grantable),
                ]);
            }
        }
    }
    rows.finish()
}

/// The USAGE of sequences.
fn usage_privileges(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let image = &*view.image;
    let mut rows = Rows::of(
        relation,
        [
            "grantor",
            "grantee",
            "object_catalog",
            "object_schema",
            "object_name",
            "object_type",
            "privilege_type",
            "is_grantable",
        ],
    )?;
    let all = relation.name == "usage_privileges";
    for relation in image.relations.iter().filter(|it| matches!(it.kind, Kind::Sequence(_))) {
        let rights = view.roles.of_relation(relation);
        let usages = granted(view, &rights, &rights.acl_of(ObjectKind::Sequence), all);
        for granted in usages.iter().filter(|granted| granted.privilege == "USAGE") {
            rows.push([
                granted.grantor.into(),
                granted.grantee.into(),
                (&image.database.name).into(),
                (&relation.schema.name).into(),
                (&relation.name).into(),
                "SEQUENCE".into(),
                "USAGE".into(),
                yes_or_no(granted.is_grantable),
            ]);
        }
    }
    rows.finish()
}
