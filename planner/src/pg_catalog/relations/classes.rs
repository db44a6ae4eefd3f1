//! What `pg_class`, `pg_attribute` and `pg_type` show of tables, views and their columns.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;

use super::{GLOBAL_TABLESPACE, TABLE_METHOD, dimensions, width};
use crate::error::Result;
use crate::pg_catalog::facts::{self, DumpedRows, SystemRelation};
use crate::pg_catalog::image::{CATALOG_SCHEMA, Relation};
use crate::pg_catalog::index::DEFAULT_COLLATION;
use crate::pg_catalog::part::{KeyKind, Kind};
use crate::pg_catalog::policies;
use crate::pg_catalog::rows::{Cell, Rows};
use crate::pg_catalog::view::CatalogView;
use crate::pg_catalog::{FIRST_ROLE, is_hidden};
use crate::value::type_modifier;

pub(super) fn classes(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(
        relation,
        [
            "oid",
            "relname",
            "relnamespace",
            "reltype",
            "relowner",
            "relam",
            "relfilenode",
            "reltablespace",
            "reltuples",
            "relhasindex",
            "relisshared",
            "relpersistence",
            "relkind",
            "relnatts",
            "relchecks",
            "relhasrules",
            "relhastriggers",
            "relispopulated",
            "relreplident",
            "reloptions",
            "relacl",
            "relrowsecurity",
            "relforcerowsecurity",
        ],
    )?;
    for system in facts::relations() {
        let is_table = system.kind == "r";
        let (first, shown) = (&roles.first().name, !is_hidden(system.name));
        rows.push([
            system.oid.into(),
            system.name.into(),
            image.schema_oid(system.schema).unwrap_or_default().into(),
            system.row_type.into(),
            FIRST_ROLE.into(),
            if is_table { TABLE_METHOD } else { 0 }.into(),
            if is_table { system.oid } else { 0 }.into(),
            if system.is_shared { GLOBAL_TABLESPACE } else { 0 }.into(),
            Cell::Real(-1.0),
            false.into(),
            system.is_shared.into(),
            "p".into(),
            system.kind.into(),
            width(system.columns.len()).into(),
            Cell::Small(0),
            (!is_table).into(),
            false.into(),
            true.into(),
            "n".into(),
            Cell::Null,
            // Everybody may look, at the roles' passwords only superusers.
            [
                Some(format!("{first}=arwdDxt/{first}")),
                shown.then(|| format!("=r/{first}")),
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .into(),
            false.into(),
            false.into(),
        ]);
    }
    // PostgreSQL keeps foreign keys by triggers on both sides, and psql looks for keys where there are some.
    let linked: HashSet<u32> = image
        .keys()
        .filter_map(|(relation, key)| Some([relation.oid, image.referred(key)?.0.oid]))
        .flatten()
        .collect();
    for relation in &image.relations {
        let rights = roles.of_relation(relation);
        let owner = roles.owner(&rights);
        let security = policies::security_of(view, relation);
        let persistence = match (relation.is_temporary, relation.is_unlogged) {
            (true, _) => "t",
            (false, true) => "u",
            (false, false) => "p",
        };
        let is_table = matches!(relation.kind, Kind::Table | Kind::MaterializedView { .. });
        let is_view = matches!(relation.kind, Kind::View { .. });
        let has_rules = matches!(relation.kind, Kind::View { .. } | Kind::MaterializedView { .. });
        let is_empty_view = matches!(
            relation.kind,
            Kind::MaterializedView {
                is_populated: false,
                ..
            }
        );
        let checks = relation
            .constraints
            .iter()
            .filter(|key| matches!(key.kind, KeyKind::Check(_)));
        rows.push([
            relation.oid.into(),
            (&relation.name).into(),
            relation.schema.oid.into(),
            relation.row_type.into(),
            owner.oid.into(),
            if is_table { TABLE_METHOD } else { 0 }.into(),
            if is_view { 0 } else { relation.oid }.into(),
            Cell::Oid(0),
            Cell::Real(estimate(relation)),
            (!relation.indexes.is_empty()).into(),
            false.into(),
            persistence.into(),
            relation.letter().into(),
            width(relation.columns.len()).into(),
            width(checks.count()).into(),
            has_rules.into(),
            linked.contains(&relation.oid).into(),
            (!is_empty_view).into(),
            if is_table { "d" } else { "n" }.into(),
            Cell::Null,
            rights.acl.as_ref().map(|acl| roles.texts(acl)).into(),
            security.is_some_and(|security| security.enabled).into(),
            security.is_some_and(|security| security.forced).into(),
        ]);
        for index in &relation.indexes {
            let parameters = index.parameters.iter();
            let parameters: Vec<String> = parameters.map(|(name, value)| format!("{name}={value}")).collect();
            rows.push([
                index.oid.into(),
                (&index.name).into(),
                relation.schema.oid.into(),
                Cell::Oid(0),
                owner.oid.into(),
                index.method.oid.into(),
                index.oid.into(),
                Cell::Oid(0),
                Cell::Real(estimate(relation)),
                false.into(),
                false.into(),
                persistence.into(),
                "i".into(),
                width(index.columns.len()).into(),
                Cell::Small(0),
                false.into(),
                false.into(),
                true.into(),
                "n".into(),
                match parameters.is_empty() {
                    true => Cell::Null,
                    false => Cell::Texts(parameters),
                },
                Cell::Null,
                false.into(),
                false.into(),
            ]);
        }
    }
    rows.finish()
}

/// `reltuples`: how many rows there were at the last commit.
fn estimate(relation: &Relation) -> f32 {
    match (&relation.kind, relation.row_count) {
        (Kind::Sequence { .. }, _) => 1.0,
        (Kind::View { .. }, _) | (_, None) => -1.0,
        (_, Some(rows)) => rows as f32,
    }
}

/// What is known of a type by its number, for a column of it.
struct Physical {
    length: i16,
    by_value: bool,
    align: &'static str,
    storage: &'static str,
    collation: u32,
}

fn physical(oid: u32) -> Physical {
    match facts::type_with_oid(oid) {
        Some(ty) => Physical {
            length: ty.length,
            by_value: ty.by_value,
            align: ty.align,
            storage: ty.storage,
            collation: ty.collation,
        },
        None => Physical {
            length: -1,
            by_value: false,
            align: "d",
            storage: "x",
            collation: 0,
        },
    }
}

pub(super) fn attributes(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(
        relation,
        [
            "attrelid",
            "attname",
            "atttypid",
            "attstattarget",
            "attlen",
            "attnum",
            "attndims",
            "attcacheoff",
            "atttypmod",
            "attbyval",
            "attalign",
            "attstorage",
            "attcompression",
            "attnotnull",
            "atthasdef",
            "attidentity",
            "attgenerated",
            "attislocal",
            "attcollation",
            "attacl",
        ],
    )?;
    for system in facts::relations() {
        for (number, column) in (1_i16..).zip(&system.columns) {
            let physical = physical(column.declared);
            rows.push([
                system.oid.into(),
                column.name.into(),
                column.declared.into(),
                Cell::Int(-1),
                physical.length.into(),
                number.into(),
                dimensions(&column.ty).into(),
                Cell::Int(-1),
                // A domain's own modifier is not its columns'.
                if facts::type_with_oid(column.declared).is_some_and(|ty| ty.schema == CATALOG_SCHEMA) {
                    column.modifier
                } else {
                    -1
                }
                .into(),
                physical.by_value.into(),
                physical.align.into(),
                physical.storage.into(),
                "".into(),
                column.not_null.into(),
                false.into(),
                "".into(),
                "".into(),
                true.into(),
                column.collation.into(),
                Cell::Null,
            ]);
        }
    }
    for relation in &image.relations {
        let rights = roles.of_relation(relation);
        let by_number: HashMap<i16, Vec<String>> = rights
            .columns
            .iter()
            .filter_map(|(id, acl)| Some((*relation.column_numbers.get(id)?, roles.texts(acl))))
            .collect();
        for column in &relation.columns {
            let physical = physical(column.type_oid);
            let is_generated = column.default.as_ref().is_some_and(|default| default.is_generated);
            rows.push([
                relation.oid.into(),
                (&column.name).into(),
                column.type_oid.into(),
                Cell::Int(-1),
                physical.length.into(),
                column.number.into(),
                dimensions(&column.ty).into(),
                Cell::Int(-1),
                type_modifier(&column.ty).into(),
                physical.by_value.into(),
                physical.align.into(),
                physical.storage.into(),
                "".into(),
                column.not_null.into(),
                column.default.is_some().into(),
                column.identity.into(),
                if is_generated { "s" } else { "" }.into(),
                true.into(),
                if physical.collation == 0 { 0 } else { DEFAULT_COLLATION }.into(),
                by_number.get(&column.number).cloned().into(),
            ]);
        }
        for index in &relation.indexes {
            for (number, column) in (1_i16..).zip(&index.columns) {
                let (ty, modifier, dimensions) = column.kept(index.method);
                let physical = physical(ty);
                rows.push([
                    index.oid.into(),
                    (&column.name).into(),
                    ty.into(),
                    Cell::Int(-1),
                    physical.length.into(),
                    number.into(),
                    dimensions.into(),
                    Cell::Int(-1),
                    modifier.into(),
                    physical.by_value.into(),
                    physical.align.into(),
                    physical.storage.into(),
                    "".into(),
                    false.into(),
                    false.into(),
                    "".into(),
                    "".into(),
                    true.into(),
                    column.collation.into(),
                    Cell::Null,
                ]);
            }
        }
    }
    rows.finish()
}

/// The types of rows of tables and views, and those of their arrays.
pub(super) fn row_types(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(
        relation,
        [
            "oid",
            "typname",
            "typnamespace",
            "typowner",
            "typlen",
            "typtype",
            "typcategory",
            "typisdefined",
            "typdelim",
            "typrelid",
            "typsubscript",
            "typelem",
            "typarray",
            "typinput",
            "typoutput",
            "typreceive",
            "typsend",
            "typanalyze",
            "typalign",
            "typstorage",
            "typtypmod",
        ],
    )?;
    let base = DumpedRows::of("pg_type");
    let of = |name: &str, column: &str| {
        let rows = base.as_ref()?;
        let row = (0..rows.len()).find(|row| rows.text(*row, "typname") == name)?;
        Some(rows.number(row, column))
    };
    let functions = [
        "typsubscript",
        "typinput",
        "typoutput",
        "typreceive",
        "typsend",
        "typanalyze",
    ];
    let record = functions.map(|column| of("record", column).unwrap_or_default());
    let array = functions.map(|column| of("_record", column).unwrap_or_default());
    for relation in image.relations.iter().filter(|relation| relation.row_type != 0) {
        let rights = roles.of_relation(relation);
        let owner = roles.owner(&rights);
        let mut push = |oid: u32, name: String, is_array: bool| {
            let functions = if is_array { array } else { record };
            let flag = |array: &'static str, row: &'static str| Cell::Text(if is_array { array } else { row });
            rows.push([
                oid.into(),
                name.into(),
                relation.schema.oid.into(),
                owner.oid.into(),
                Cell::Small(-1),
                flag("b", "c"),
                flag("A", "C"),
                true.into(),
                ",".into(),
                if is_array { 0 } else { relation.oid }.into(),
                functions[0].into(),
                if is_array { relation.row_type } else { 0 }.into(),
                if is_array { 0 } else { relation.array_type }.into(),
                functions[1].into(),
                functions[2].into(),
                functions[3].into(),
                functions[4].into(),
                functions[5].into(),
                "d".into(),
                "x".into(),
                Cell::Int(-1),
            ]);
        };
        push(relation.row_type, relation.name.clone(), false);
        push(relation.array_type, format!("_{}", relation.name), true);
    }
    rows.finish()
}
