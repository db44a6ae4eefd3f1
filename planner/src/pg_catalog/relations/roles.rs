//! Roles, their settings and members, and what is granted on functions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use staffa_catalog::{AccessKey, ObjectKind, Role};

use crate::error::{Error, Result};
use crate::pg_catalog::facts::SystemRelation;
use crate::pg_catalog::rows::{Cell, Rows};
use crate::pg_catalog::view::CatalogView;

pub(super) fn roles(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
fn settings_of(role: &Role) -> Option<Vec<String>> {
    role.settings.get("").map(settings_shown)
}

fn settings_shown(settings: &BTreeMap<String, String>) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Those of roles, and those of all of them, with 0 for what is not one.
pub(super) fn settings(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn users(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn groups(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(relation, ["groname", "grosysid", "grolist"])?;
    for (named, role) in view.roles.known().filter(|(_, role)| !role.login) {
        let members = view.roles.known();
        let members = members.filter(|(_, member)| member.member_of.contains_key(&role.id));
        let members: Vec<u32> = members.map(|(named, _)| named.oid).collect();
        rows.push([(&named.name).into(), named.oid.into(), Cell::Oids(members)]);
    }
    rows.finish()
}

pub(super) fn memberships(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn default_grants(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

/// The rows of `pg_proc` with what is granted on functions; `None`: as they are, where nothing was granted or revoked.
pub(in crate::pg_catalog) fn with_grants(
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
