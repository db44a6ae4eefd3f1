//! The relations of `pg_catalog` that show the objects of a database, and those that show PostgreSQL's own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use staffa_catalog::{AccessKey, ObjectKind, Role, SqlType, TEMPLATE_DATABASES};

use super::facts::{self, DumpedRows, SystemRelation};
use super::image::{CATALOG_SCHEMA, Image, Relation};
use super::index::{DEFAULT_COLLATION, IndexColumn, Text};
use super::part::{KeyKind, Kind};
use super::policies;
use super::rows::{Cell, Rows};
use super::view::{CatalogView, all_schemas};
use crate::error::{Error, Result};
use crate::value::{type_modifier, type_oid};

// The numbers of the catalogs that others refer to.
pub(super) const PG_TYPE: u32 = 1247;
pub(super) const PG_CLASS: u32 = 1259;
const PG_ATTRDEF: u32 = 2604;
const PG_CONSTRAINT: u32 = 2606;
const PG_NAMESPACE: u32 = 2615;
const PG_REWRITE: u32 = 2618;
/// `pg_default`
const DEFAULT_TABLESPACE: u32 = 1663;
/// `pg_global`
const GLOBAL_TABLESPACE: u32 = 1664;
/// `heap`
const TABLE_METHOD: u32 = 2;
/// UTF8
const ENCODING: i32 = 6;

/// The relations that show what is in a database.
pub(super) const OF_OBJECTS: &[&str] = &[
    "pg_attrdef",
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_database",
    "pg_depend",
    "pg_description",
    "pg_index",
    "pg_indexes",
    "pg_matviews",
    "pg_policies",
    "pg_policy",
    "pg_namespace",
    "pg_rewrite",
    "pg_sequence",
    "pg_sequences",
    "pg_stat_all_tables",
    "pg_stat_user_tables",
    "pg_tables",
    "pg_type",
    "pg_views",
];
/// Those that show roles.
pub(super) const OF_ROLES: &[&str] = &[
    "administrable_role_authorizations",
    "applicable_roles",
    "column_privileges",
    "enabled_roles",
    "pg_auth_members",
    "pg_authid",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_group",
    "pg_roles",
    "pg_shadow",
    "pg_user",
    "role_column_grants",
    "role_usage_grants",
    "usage_privileges",
];
/// Those that only superusers see.
pub(super) const HIDDEN: &[&str] = &["pg_authid", "pg_hba_file_rules", "pg_shadow", "pg_statistic"];

/// The rows of a relation about what is in this database; `None` when it is of another kind or has none.
pub(super) fn rows(view: &CatalogView, relation: &'static SystemRelation) -> Result<Option<RecordBatch>> {
    let image = &*view.image;
    Ok(Some(match relation.name {
        "pg_class" => classes(view, relation)?,
        "pg_attribute" => attributes(view, relation)?,
        "pg_type" => row_types(view, relation)?,
        "pg_namespace" => namespaces(view, relation)?,
        "pg_database" => databases(view, relation)?,
        "pg_authid" | "pg_roles" => roles(view, relation)?,
        "pg_user" | "pg_shadow" => users(view, relation)?,
        "pg_group" => groups(view, relation)?,
        "pg_auth_members" => memberships(view, relation)?,
        "pg_db_role_setting" => settings(view, relation)?,
        "pg_default_acl" => default_grants(view, relation)?,
        "pg_attrdef" => defaults(image, relation)?,
        "pg_constraint" => constraints(image, relation)?,
        "pg_index" => indexes(image, relation)?,
        "pg_description" => comments(image, relation)?,
        "pg_sequence" => sequences(image, relation)?,
        "pg_rewrite" => rules(image, relation)?,
        "pg_depend" => dependencies(image, relation)?,
        "pg_policy" => policies::rows(view, relation)?,
        "pg_policies" => policies::shown_rows(view, relation)?,
        "pg_tables" => tables(view, relation)?,
        "pg_views" => views(view, relation)?,
        "pg_matviews" => materialized_views(view, relation)?,
        "pg_indexes" => index_names(view, relation)?,
        "pg_sequences" => sequence_names(view, relation)?,
        "pg_stat_user_tables" | "pg_stat_all_tables" => table_statistics(image, relation)?,
        _ => return Ok(None),
    }))
}

fn classes(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
        let (first, shown) = (&roles.first().name, !super::is_hidden(system.name));
        rows.push([
            system.oid.into(),
            system.name.into(),
            image.schema_oid(system.schema).unwrap_or_default().into(),
            system.row_type.into(),
            super::FIRST_ROLE.into(),
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

fn width(count: usize) -> i16 {
    i16::try_from(count).unwrap_or(i16::MAX)
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

pub(super) fn dimensions(ty: &SqlType) -> i32 {
    match ty {
        SqlType::Array(element) => 1 + dimensions(element),
        _ => 0,
    }
}

fn attributes(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
fn row_types(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

fn namespaces(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(relation, ["oid", "nspname", "nspowner", "nspacl"])?;
    for (oid, name) in all_schemas(image) {
        let is_own = image.schemas.iter().any(|schema| schema.oid == oid);
        if is_own {
            let rights = roles.of_schema(&image.database.name, &name);
            let acl = rights.acl.as_ref().map(|acl| roles.texts(acl));
            rows.push([oid.into(), name.into(), roles.owner(&rights).oid.into(), acl.into()]);
            continue;
        }
        let first = &roles.first().name;
        let acl = (name != "pg_toast").then(|| vec![format!("{first}=UC/{first}"), format!("=U/{first}")]);
        rows.push([oid.into(), name.into(), super::FIRST_ROLE.into(), acl.into()]);
    }
    rows.finish()
}

fn databases(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(
        relation,
        [
            "oid",
            "datname",
            "datdba",
            "encoding",
            "datlocprovider",
            "datistemplate",
            "datallowconn",
            "datconnlimit",
            "datminmxid",
            "dattablespace",
            "datcollate",
            "datctype",
            "datacl",
        ],
    )?;
    for database in &image.databases {
        let rights = roles.of_database(&database.name);
        let is_template = TEMPLATE_DATABASES.contains(&database.name.as_str());
        rows.push([
            database.oid.into(),
            (&database.name).into(),
            roles.owner(&rights).oid.into(),
            ENCODING.into(),
            "c".into(),
            is_template.into(),
            (!is_template).into(),
            Cell::Int(-1),
            // The first there is.
            Cell::Oid(1),
            DEFAULT_TABLESPACE.into(),
            // Texts are ordered by code point.
            "C.UTF-8".into(),
            "C.UTF-8".into(),
            rights.acl.as_ref().map(|acl| roles.texts(acl)).into(),
        ]);
    }
    rows.finish()
}

fn roles(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "oid",
            "rolname",
            "rolsuper",
            "rolinherit",
            "rolcreaterole",
            "rolcreatedb",
            "rolcanlogin",
            "rolreplication",
            "rolconnlimit",
            "rolbypassrls",
            "rolpassword",
            "rolvaliduntil",
        ],
    )?;
    let hides = relation.name == "pg_roles";
    for (named, role) in view.roles.known() {
        rows.push([
            named.oid.into(),
            (&named.name).into(),
            role.superuser.into(),
            role.inherit.into(),
            role.createrole.into(),
            role.createdb.into(),
            role.login.into(),
            role.replication.into(),
            role.connection_limit.into(),
            role.bypassrls.into(),
            password(role, hides),
            role.valid_until.map_or(Cell::Null, Cell::Time),
        ]);
    }
    let rows = rows.finish()?;
    match hides {
        // The view shows settings, too.
        true => with_column(
            relation,
            &rows,
            "rolconfig",
            view.roles.known().map(|(_, role)| settings_of(role)),
        ),
        false => Ok(rows),
    }
}

/// The rows with another column: lists of texts.
fn with_column(
    relation: &'static SystemRelation,
    rows: &RecordBatch,
    name: &str,
    texts: impl Iterator<Item = Option<Vec<String>>>,
) -> Result<RecordBatch> {
    let mut column = Rows::of(relation, [name])?;
    for texts in texts {
        column.push([texts.into()]);
    }
    let column = column.finish()?;
    let schema = rows.schema();
    let places = 0..schema.fields().len();
    let columns = places.map(|place| match schema.field(place).name() == name {
        true => Arc::clone(column.column(place)),
        false => Arc::clone(rows.column(place)),
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect())
        .map_err(|error| Error::internal(format!("{name} of {}: {error}", relation.name)))
}

fn password(role: &Role, hides: bool) -> Cell<'_> {
    match hides {
        true => "********".into(),
        false => Cell::text(role.verifier.as_deref()),
    }
}

/// The settings of a role for all databases, as `rolconfig` shows them.
pub(super) fn settings_of(role: &Role) -> Option<Vec<String>> {
    role.settings.get("").map(settings_shown)
}

fn settings_shown(settings: &BTreeMap<String, String>) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Those of roles, and those of all of them, with 0 for what is not one.
fn settings(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(relation, ["setdatabase", "setrole", "setconfig"])?;
    let everywhere = [(0, "")].into_iter();
    let databases = view
        .image
        .databases
        .iter()
        .map(|known| (known.oid, known.name.as_str()));
    for (database, name) in everywhere.chain(databases) {
        if let Some(settings) = view.roles.access.settings(name) {
            rows.push([database.into(), 0_u32.into(), settings_shown(settings).into()]);
        }
        for (named, role) in view.roles.known() {
            if let Some(settings) = role.settings.get(name) {
                rows.push([database.into(), named.oid.into(), settings_shown(settings).into()]);
            }
        }
    }
    rows.finish()
}

fn users(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let columns = [
        "usename",
        "usesysid",
        "usecreatedb",
        "usesuper",
        "userepl",
        "usebypassrls",
        "passwd",
        "valuntil",
        "useconfig",
    ];
    let mut rows = Rows::of(relation, columns)?;
    let hides = relation.name == "pg_user";
    for (named, role) in view.roles.known().filter(|(_, role)| role.login) {
        rows.push([
            (&named.name).into(),
            named.oid.into(),
            role.createdb.into(),
            role.superuser.into(),
            role.replication.into(),
            role.bypassrls.into(),
            password(role, hides),
            role.valid_until.map_or(Cell::Null, Cell::Time),
            settings_of(role).into(),
        ]);
    }
    rows.finish()
}

fn groups(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(relation, ["groname", "grosysid", "grolist"])?;
    for (named, role) in view.roles.known().filter(|(_, role)| !role.login) {
        let members = view.roles.known();
        let members = members.filter(|(_, member)| member.member_of.contains_key(&role.id));
        let members: Vec<u32> = members.map(|(named, _)| named.oid).collect();
        rows.push([(&named.name).into(), named.oid.into(), Cell::Oids(members)]);
    }
    rows.finish()
}

fn memberships(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let roles = &view.roles;
    let mut rows = Rows::of(relation, ["roleid", "member", "grantor", "admin_option"])?;
    for (named, role) in roles.known() {
        for (group, membership) in &role.member_of {
            let Some(group) = roles.with_id(*group) else { continue };
            let grantor = roles.with_id(membership.grantor).unwrap_or_else(|| roles.first());
            rows.push([
                group.oid.into(),
                named.oid.into(),
                grantor.oid.into(),
                membership.admin.into(),
            ]);
        }
    }
    rows.finish()
}

fn default_grants(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(
        relation,
        ["oid", "defaclrole", "defaclnamespace", "defaclobjtype", "defaclacl"],
    )?;
    for (number, (key, acl)) in (1_u32..).zip(roles.access.defaults()) {
        let AccessKey::Default(role, database, schema, kind) = key else {
            continue;
        };
        let (Some(role), true) = (roles.with_id(*role), *database == image.database.name) else {
            continue;
        };
        let schema = match schema {
            Some(schema) => image.schema_oid(schema).unwrap_or_default(),
            None => 0,
        };
        let letter = match kind {
            ObjectKind::Sequence => "S",
            ObjectKind::Schema => "n",
            ObjectKind::Function => "f",
            ObjectKind::Type => "T",
            _ => "r",
        };
        rows.push([
            number.into(),
            role.oid.into(),
            schema.into(),
            letter.into(),
            roles.texts(acl).into(),
        ]);
    }
    rows.finish()
}

fn defaults(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(relation, ["oid", "adrelid", "adnum", "adbin"])?;
    for relation in &image.relations {
        for column in &relation.columns {
            if let (Some(default), Some(text)) = (&column.default, image.default_of(column)) {
                rows.push([
                    default.oid.into(),
                    relation.oid.into(),
                    column.number.into(),
                    text.into(),
                ]);
            }
        }
    }
    rows.finish()
}

fn constraints(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "oid",
            "conname",
            "connamespace",
            "contype",
            "convalidated",
            "conrelid",
            "conindid",
            "confrelid",
            "confupdtype",
            "confdeltype",
            "confmatchtype",
            "conislocal",
            "connoinherit",
            "conkey",
            "confkey",
            "conbin",
        ],
    )?;
    for (relation, key) in image.keys() {
        let referred = image.referred(key);
        let is_foreign = matches!(key.kind, KeyKind::Foreign { .. });
        let (restricts_update, restricts_delete) = key.kind.restricts();
        let action = |letter: &'static str| Cell::Text(if is_foreign { letter } else { " " });
        // A foreign key goes by the index of the key it names.
        let index = match &referred {
            Some((other, columns)) => {
                let mut keys = other.constraints.iter();
                keys.find(|key| key.kind.has_index() && key.columns == *columns)
            }
            None => key.kind.has_index().then_some(key),
        };
        let (other, other_columns) = match referred {
            Some((other, columns)) => (other.oid, Cell::Smalls(columns)),
            None if is_foreign => (0, Cell::Smalls(Vec::new())),
            None => (0, Cell::Null),
        };
        rows.push([
            key.oid.into(),
            (&key.name).into(),
            relation.schema.oid.into(),
            key.kind.letter().into(),
            true.into(),
            relation.oid.into(),
            index.map_or(0, |key| key.index).into(),
            other.into(),
            action(if restricts_update { "r" } else { "a" }),
            action(if restricts_delete { "r" } else { "a" }),
            action("s"),
            true.into(),
            (!matches!(key.kind, KeyKind::Check(_))).into(),
            Cell::Smalls(key.columns.clone()),
            other_columns,
            match &key.kind {
                KeyKind::Check(expression) => Cell::Text(expression),
                _ => Cell::Null,
            },
        ]);
    }
    rows.finish()
}

fn indexes(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "indexrelid",
            "indrelid",
            "indnatts",
            "indnkeyatts",
            "indisunique",
            "indnullsnotdistinct",
            "indisprimary",
            "indimmediate",
            "indisvalid",
            "indisready",
            "indislive",
            "indkey",
            "indcollation",
            "indclass",
            "indoption",
            "indexprs",
            "indpred",
        ],
    )?;
    for (relation, index) in image.indexes() {
        let of_keys = |part: fn(&IndexColumn) -> u32| Cell::Oids(index.keys().iter().map(part).collect());
        rows.push([
            index.oid.into(),
            relation.oid.into(),
            width(index.columns.len()).into(),
            width(index.key_count).into(),
            index.is_unique.into(),
            index.nulls_are_equal.into(),
            index.is_primary.into(),
            true.into(),
            true.into(),
            true.into(),
            true.into(),
            Cell::Smalls(index.columns.iter().map(|column| column.number).collect()),
            of_keys(|key| key.collation),
            of_keys(|key| key.class),
            Cell::Smalls(index.keys().iter().map(|key| key.option).collect()),
            index.expressions().into(),
            index.predicate.as_ref().map(Text::in_parentheses).into(),
        ]);
    }
    rows.finish()
}

fn comments(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(relation, ["objoid", "classoid", "objsubid", "description"])?;
    for relation in &image.relations {
        if let Some(comment) = &relation.comment {
            rows.push([relation.oid.into(), PG_CLASS.into(), Cell::Int(0), comment.into()]);
        }
        for column in &relation.columns {
            if let Some(comment) = &column.comment {
                let number = Cell::Int(column.number.into());
                rows.push([relation.oid.into(), PG_CLASS.into(), number, comment.into()]);
            }
        }
        for key in &relation.constraints {
            if let Some(comment) = &key.comment {
                rows.push([key.oid.into(), PG_CONSTRAINT.into(), Cell::Int(0), comment.into()]);
            }
        }
        for index in &relation.indexes {
            if let Some(comment) = &index.comment {
                rows.push([index.oid.into(), PG_CLASS.into(), Cell::Int(0), comment.into()]);
            }
        }
    }
    rows.finish()
}

fn sequences(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let columns = [
        "seqrelid",
        "seqtypid",
        "seqstart",
        "seqincrement",
        "seqmax",
        "seqmin",
        "seqcache",
        "seqcycle",
    ];
    let mut rows = Rows::of(relation, columns)?;
    for relation in &image.relations {
        if let Kind::Sequence(sequence) = &relation.kind {
            rows.push([
                relation.oid.into(),
                type_oid(&sequence.ty.sql_type()).into(),
                sequence.start.into(),
                sequence.increment.into(),
                sequence.max.into(),
                sequence.min.into(),
                sequence.cache.max(1).into(),
                sequence.cycle.into(),
            ]);
        }
    }
    rows.finish()
}

fn rules(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "oid",
            "rulename",
            "ev_class",
            "ev_type",
            "ev_enabled",
            "is_instead",
            "ev_qual",
            "ev_action",
        ],
    )?;
    for relation in &image.relations {
        if let Kind::View { sql, rule, .. } | Kind::MaterializedView { sql, rule, .. } = &relation.kind {
            rows.push([
                (*rule).into(),
                "_RETURN".into(),
                relation.oid.into(),
                "1".into(),
                "O".into(),
                true.into(),
                "<>".into(),
                sql.into(),
            ]);
        }
    }
    rows.finish()
}

/// What goes when something else goes: columns with tables, sequences with columns, views with what they read, and all with its
/// schema.
fn dependencies(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let columns = [
        "classid",
        "objid",
        "objsubid",
        "refclassid",
        "refobjid",
        "refobjsubid",
        "deptype",
    ];
    let mut rows = Rows::of(relation, columns)?;
    let mut depend = |object: (u32, u32), on: (u32, u32, i32), how: &'static str| {
        rows.push([
            object.0.into(),
            object.1.into(),
            Cell::Int(0),
            on.0.into(),
            on.1.into(),
            on.2.into(),
            how.into(),
        ]);
    };
    for relation in &image.relations {
        let own = (PG_CLASS, relation.oid, 0);
        if relation.row_type != 0 {
            depend((PG_TYPE, relation.row_type), own, "i");
        }
        depend((PG_CLASS, relation.oid), (PG_NAMESPACE, relation.schema.oid, 0), "n");
        for column in &relation.columns {
            if let Some(default) = &column.default {
                depend(
                    (PG_ATTRDEF, default.oid),
                    (PG_CLASS, relation.oid, column.number.into()),
                    "a",
                );
            }
        }
        for key in &relation.constraints {
            for number in &key.columns {
                depend(
                    (PG_CONSTRAINT, key.oid),
                    (PG_CLASS, relation.oid, i32::from(*number)),
                    "a",
                );
            }
            if let Some((other, columns)) = image.referred(key) {
                for number in columns {
                    depend((PG_CONSTRAINT, key.oid), (PG_CLASS, other.oid, i32::from(number)), "n");
                }
            }
        }
        for index in &relation.indexes {
            let named = index.columns_named();
            match index.constraint {
                Some(key) => depend((PG_CLASS, index.oid), (PG_CONSTRAINT, key, 0), "i"),
                None if named.is_empty() => depend((PG_CLASS, index.oid), own, "a"),
                None => {
                    for number in named {
                        depend((PG_CLASS, index.oid), (PG_CLASS, relation.oid, i32::from(number)), "a");
                    }
                }
            }
        }
        match &relation.kind {
            Kind::View { rule, reads, .. } => {
                // The rule of a view names the view, too.
                depend((PG_REWRITE, *rule), own, "n");
                depend((PG_REWRITE, *rule), own, "i");
                for read in reads {
                    let Some(other) = image.with_uuid(read.relation) else {
                        continue;
                    };
                    if read.columns.is_empty() {
                        depend((PG_REWRITE, *rule), (PG_CLASS, other.oid, 0), "n");
                    }
                    for number in &read.columns {
                        depend((PG_REWRITE, *rule), (PG_CLASS, other.oid, i32::from(*number)), "n");
                    }
                }
            }
            Kind::MaterializedView { rule, .. } => depend((PG_REWRITE, *rule), own, "i"),
            Kind::Sequence(sequence) => {
                if let Some((table, column)) = image.owner_of(sequence) {
                    let is_identity = sequence.owner.is_some_and(|owner| owner.is_identity);
                    let how = if is_identity { "i" } else { "a" };
                    depend((PG_CLASS, relation.oid), (PG_CLASS, table, i32::from(column)), how);
                }
            }
            Kind::Table => {}
        }
    }
    rows.finish()
}

fn tables(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(
        relation,
        ["schemaname", "tablename", "tableowner", "hasindexes", "rowsecurity"],
    )?;
    let first = view.roles.first();
    for system in facts::relations().iter().filter(|system| system.kind == "r") {
        rows.push([
            system.schema.into(),
            system.name.into(),
            (&first.name).into(),
            system.has_index.into(),
            false.into(),
        ]);
    }
    for relation in image
        .relations
        .iter()
        .filter(|relation| matches!(relation.kind, Kind::Table))
    {
        let indexed = !relation.indexes.is_empty();
        rows.push([
            (&relation.schema.name).into(),
            (&relation.name).into(),
            (&roles.owner(&roles.of_relation(relation)).name).into(),
            indexed.into(),
            policies::security_of(view, relation)
                .is_some_and(|security| security.enabled)
                .into(),
        ]);
    }
    rows.finish()
}

fn views(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(relation, ["schemaname", "viewname", "viewowner", "definition"])?;
    let first = view.roles.first();
    for system in facts::relations().iter().filter(|system| system.kind == "v") {
        rows.push([
            system.schema.into(),
            system.name.into(),
            (&first.name).into(),
            Cell::Null,
        ]);
    }
    for relation in image
        .relations
        .iter()
        .filter(|relation| matches!(relation.kind, Kind::View { .. }))
    {
        rows.push([
            (&relation.schema.name).into(),
            (&relation.name).into(),
            (&roles.owner(&roles.of_relation(relation)).name).into(),
            view.view_definition(relation.oid, false).into(),
        ]);
    }
    rows.finish()
}

fn materialized_views(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let columns = [
        "schemaname",
        "matviewname",
        "matviewowner",
        "hasindexes",
        "ispopulated",
        "definition",
    ];
    let mut rows = Rows::of(relation, columns)?;
    let roles = &view.roles;
    for relation in &view.image.relations {
        if let Kind::MaterializedView { is_populated, .. } = relation.kind {
            rows.push([
                (&relation.schema.name).into(),
                (&relation.name).into(),
                (&roles.owner(&roles.of_relation(relation)).name).into(),
                (!relation.indexes.is_empty()).into(),
                is_populated.into(),
                view.view_definition(relation.oid, false).into(),
            ]);
        }
    }
    rows.finish()
}

fn index_names(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(relation, ["schemaname", "tablename", "indexname", "indexdef"])?;
    for (relation, index) in view.image.indexes() {
        rows.push([
            (&relation.schema.name).into(),
            (&relation.name).into(),
            (&index.name).into(),
            view.index_definition(index.oid, 0, false).into(),
        ]);
    }
    rows.finish()
}

fn sequence_names(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let (image, roles) = (&*view.image, &view.roles);
    let mut rows = Rows::of(
        relation,
        [
            "schemaname",
            "sequencename",
            "sequenceowner",
            "data_type",
            "start_value",
            "min_value",
            "max_value",
            "increment_by",
            "cycle",
            "cache_size",
        ],
    )?;
    for relation in &image.relations {
        if let Kind::Sequence(sequence) = &relation.kind {
            rows.push([
                (&relation.schema.name).into(),
                (&relation.name).into(),
                (&roles.owner(&roles.of_relation(relation)).name).into(),
                type_oid(&sequence.ty.sql_type()).into(),
                sequence.start.into(),
                sequence.min.into(),
                sequence.max.into(),
                sequence.increment.into(),
                sequence.cycle.into(),
                sequence.cache.max(1).into(),
            ]);
        }
    }
    rows.finish()
}

fn table_statistics(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(relation, ["relid", "schemaname", "relname", "n_live_tup"])?;
    for relation in image
        .relations
        .iter()
        .filter(|relation| matches!(relation.kind, Kind::Table | Kind::MaterializedView { .. }))
    {
        let live = relation.row_count.and_then(|rows| i64::try_from(rows).ok());
        rows.push([
            relation.oid.into(),
            (&relation.schema.name).into(),
            (&relation.name).into(),
            live.into(),
        ]);
    }
    rows.finish()
}

/// The dumped rows of a relation, of functions those that statements can call.
pub(super) fn dumped(relation: &'static SystemRelation, known: &HashSet<String>) -> Result<Option<RecordBatch>> {
    // These are made of the image.
    if relation.name == "pg_namespace" {
        return Ok(None);
    }
    let Some(mut rows) = DumpedRows::of(relation.name) else {
        return Ok(None);
    };
    match relation.name {
        "pg_proc" => {
            let referred = referred_functions();
            rows.retain(|rows, row| {
                known.contains(rows.text(row, "proname")) || referred.contains(&rows.number(row, "oid"))
            });
        }
        "pg_aggregate" => {
            let functions = DumpedRows::of("pg_proc");
            let functions = functions.as_ref();
            let names: HashMap<u32, &str> = functions
                .map(|rows| {
                    (0..rows.len())
                        .map(|row| (rows.number(row, "oid"), rows.text(row, "proname")))
                        .collect()
                })
                .unwrap_or_default();
            rows.retain(|rows, row| {
                names
                    .get(&rows.number(row, "aggfnoid"))
                    .is_some_and(|name| known.contains(*name))
            });
        }
        _ => {}
    }
    rows.batch(relation).map(Some)
}

/// The rows of `pg_proc` with what is granted on functions; `None`: as they are, where nothing was granted or revoked.
pub(super) fn with_grants(
    view: &CatalogView,
    relation: &'static SystemRelation,
    known: &RecordBatch,
) -> Result<Option<RecordBatch>> {
    let functions = view.roles.access.functions(&view.image.database.name);
    let granted: HashMap<u32, Vec<String>> = functions
        .filter_map(|(number, rights)| Some((number, view.roles.texts(rights.acl.as_ref()?))))
        .collect();
    if granted.is_empty() {
        return Ok(None);
    }
    let numbers = known.column_by_name("oid");
    let numbers = numbers.ok_or_else(|| Error::internal("pg_proc has other columns"))?;
    let numbers = numbers.as_primitive::<UInt32Type>().values().iter();
    let lists = numbers.map(|number| granted.get(number).cloned());
    with_column(relation, known, "proacl", lists).map(Some)
}

/// The functions that types, operators and casts name.
pub(super) fn referred_functions() -> HashSet<u32> {
    let mut referred = HashSet::new();
    let places: &[(&str, &[&str])] = &[
        (
            "pg_type",
            &[
                "typinput",
                "typoutput",
                "typreceive",
                "typsend",
                "typmodin",
                "typmodout",
                "typanalyze",
                "typsubscript",
            ],
        ),
        ("pg_operator", &["oprcode"]),
        ("pg_cast", &["castfunc"]),
        ("pg_am", &["amhandler"]),
        ("pg_language", &["lanvalidator"]),
    ];
    for (relation, columns) in places {
        if let Some(rows) = DumpedRows::of(relation) {
            for row in 0..rows.len() {
                referred.extend(columns.iter().map(|column| rows.number(row, column)));
            }
        }
    }
    referred
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::roles::Roles;
    use super::*;

    /// Others are read without loading the catalog.
    #[test]
    fn relations_that_show_objects_are_listed() {
        let view = CatalogView::new(Arc::new(Image::default()), Arc::new(Roles::default()), Vec::new());
        for relation in facts::relations().iter().filter(|known| known.schema == "pg_catalog") {
            let listed = OF_OBJECTS.contains(&relation.name) || OF_ROLES.contains(&relation.name);
            let rows = rows(&view, relation).unwrap_or_else(|error| panic!("{}: {error}", relation.name));
            assert_eq!(rows.is_some(), listed, "{}", relation.name);
        }
    }
}
