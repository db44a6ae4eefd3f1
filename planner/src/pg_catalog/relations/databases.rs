//! Databases and schemas.

use arrow::array::RecordBatch;
use staffa_catalog::TEMPLATE_DATABASES;

use super::{DEFAULT_TABLESPACE, ENCODING};
use crate::error::Result;
use crate::pg_catalog::FIRST_ROLE;
use crate::pg_catalog::facts::SystemRelation;
use crate::pg_catalog::rows::{Cell, Rows};
use crate::pg_catalog::view::{CatalogView, all_schemas};

pub(super) fn namespaces(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
        rows.push([oid.into(), name.into(), FIRST_ROLE.into(), acl.into()]);
    }
    rows.finish()
}

pub(super) fn databases(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
