//! `pg_depend`

use arrow::array::RecordBatch;

use super::{PG_ATTRDEF, PG_CLASS, PG_CONSTRAINT, PG_NAMESPACE, PG_REWRITE, PG_TYPE};
use crate::error::Result;
use crate::pg_catalog::facts::SystemRelation;
use crate::pg_catalog::image::Image;
use crate::pg_catalog::part::Kind;
use crate::pg_catalog::rows::{Cell, Rows};

/// What goes when something else goes: columns with tables, sequences with columns, views with what they read, and all with its
/// schema.
pub(super) fn dependencies(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
