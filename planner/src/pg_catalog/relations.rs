//! The relations of `pg_catalog` that show the objects of a database, and those that show PostgreSQL's own.

mod classes;
mod databases;
mod dependencies;
mod dumped;
mod parts;
mod roles;
mod shown;

use arrow::array::RecordBatch;
use staffa_catalog::SqlType;

use self::classes::{attributes, classes, row_types};
use self::databases::{databases, namespaces};
use self::dependencies::dependencies;
pub(super) use self::dumped::{dumped, referred_functions};
use self::parts::{comments, constraints, defaults, indexes, rules, sequences};
pub(super) use self::roles::with_grants;
use self::roles::{default_grants, groups, memberships, roles, settings, users};
use self::shown::{index_names, materialized_views, sequence_names, table_statistics, tables, views};
use super::facts::SystemRelation;
use super::policies;
use super::view::CatalogView;
use crate::error::Result;

// The numbers of the catalogs that others refer to.
const PG_TYPE: u32 = 1247;
const PG_CLASS: u32 = 1259;
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

fn width(count: usize) -> i16 {
    i16::try_from(count).unwrap_or(i16::MAX)
}

pub(super) fn dimensions(ty: &SqlType) -> i32 {
    match ty {
        SqlType::Array(element) => 1 + dimensions(element),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pg_catalog::facts;
    use crate::pg_catalog::image::Image;
    use crate::pg_catalog::roles::Roles;

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
