//! What belongs to relations: defaults, constraints, indexes, comments, sequences and rules.

use arrow::array::RecordBatch;

use super::{PG_CLASS, PG_CONSTRAINT, width};
use crate::error::Result;
use crate::pg_catalog::facts::SystemRelation;
use crate::pg_catalog::image::Image;
use crate::pg_catalog::index::{IndexColumn, Text};
use crate::pg_catalog::part::{KeyKind, Kind};
use crate::pg_catalog::rows::{Cell, Rows};
use crate::value::type_oid;

pub(super) fn defaults(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn constraints(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn indexes(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn comments(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn sequences(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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

pub(super) fn rules(image: &Image, relation: &'static SystemRelation) -> Result<RecordBatch> {
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
