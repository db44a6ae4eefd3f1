//! The views of `pg_catalog` in which names stand for numbers: `pg_tables`, `pg_views`, `pg_indexes` and their like.

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::pg_catalog::facts::{self, SystemRelation};
use crate::pg_catalog::image::Image;
use crate::pg_catalog::part::Kind;
use crate::pg_catalog::policies;
use crate::pg_catalog::rows::{Cell, Rows};
use crate::pg_catalog::view::CatalogView;
use crate::value::type_oid;

pub(super) fn tables(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn views(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn materialized_views(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn index_names(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn sequence_names(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn table_statistics(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
