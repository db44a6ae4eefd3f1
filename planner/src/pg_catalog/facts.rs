//! What PostgreSQL 15 knows of itself: its relations, types, functions, operators. `scripts/pg_facts.py` writes the files.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use staffa_catalog::{Digits, SqlType};

use crate::error::{Error, Result};
use crate::types::arrow_field;
use crate::value::{ColumnDecoder, Format, FormatSettings, sql_type_of_oid};

/// A relation of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub(crate) struct SystemRelation {
    pub(crate) oid: u32,
    pub(crate) schema: &'static str,
    pub(crate) name: &'static str,
    /// `relkind`
    pub(crate) kind: &'static str,
    pub(crate) row_type: u32,
    pub(crate) has_index: bool,
    pub(crate) is_shared: bool,
    pub(crate) columns: Vec<SystemColumn>,
    pub(crate) arrow: SchemaRef,
}

/// A column of a [`SystemRelation`].
#[derive(Debug)]
pub(crate) struct SystemColumn {
    pub(crate) name: &'static str,
    /// The type it was declared with: a domain, maybe.
    pub(crate) declared: u32,
    pub(crate) ty: SqlType,
    pub(crate) modifier: i32,
    pub(crate) not_null: bool,
    pub(crate) collation: u32,
}

/// A row of `pg_type`.
#[derive(Debug)]
pub(crate) struct TypeFacts {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    pub(crate) schema: u32,
    pub(crate) length: i16,
    pub(crate) by_value: bool,
    /// The type of its elements, if it is an array; of a vector, too.
    pub(crate) element: u32,
    /// The type of its arrays.
    pub(crate) array: u32,
    pub(crate) align: &'static str,
    pub(crate) storage: &'static str,
    pub(crate) collation: u32,
    /// Whether it is an array, and no vector.
    pub(crate) is_array: bool,
}

/// What columns of numerics hold here: counts of bytes, and numbers of certificates, which have up to 49 digits.
const WHOLE_NUMBER: SqlType = SqlType::Numeric {
    precision: 49,
    scale: 0,
    digits: Digits::All,
};

static RELATIONS: LazyLock<Vec<SystemRelation>> = LazyLock::new(|| read_relations(include_str!("data/relations.tsv")));
static RELATIONS_BY_NAME: LazyLock<HashMap<(&str, &str), usize>> = LazyLock::new(|| {
    let named = RELATIONS.iter().enumerate();
    named
        .map(|(at, relation)| ((relation.schema, relation.name), at))
        .collect()
});
static TYPES: LazyLock<Vec<TypeFacts>> = LazyLock::new(read_types);
static TYPES_BY_OID: LazyLock<HashMap<u32, usize>> =
    LazyLock::new(|| TYPES.iter().enumerate().map(|(at, ty)| (ty.oid, at)).collect());

/// All of them, by OID.
pub(crate) fn relations() -> &'static [SystemRelation] {
    &RELATIONS
}

pub(crate) fn relation(schema: &str, name: &str) -> Option<&'static SystemRelation> {
    let at = RELATIONS_BY_NAME.get(&(schema, name))?;
    RELATIONS.get(*at)
}

/// PostgreSQL's own types.
pub(crate) fn types() -> &'static [TypeFacts] {
    &TYPES
}

pub(crate) fn type_with_oid(oid: u32) -> Option<&'static TypeFacts> {
    TYPES.get(*TYPES_BY_OID.get(&oid)?)
}

/// Word, category, whether it can be a label without AS, and the words for both.
pub(crate) fn keywords() -> impl Iterator<Item = [&'static str; 5]> {
    let lines = include_str!("data/keywords.tsv").lines();
    lines.filter_map(|line| {
        let mut parts = line.split('\t');
        Some([
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
        ])
    })
}

/// The dumped rows of a relation.
pub(crate) struct DumpedRows {
    /// What every row has the same.
    constants: Vec<(&'static str, &'static str)>,
    columns: Vec<&'static str>,
    rows: Vec<Vec<&'static str>>,
}

impl DumpedRows {
    pub(crate) fn of(relation: &str) -> Option<Self> {
        let mut lines = dumped(relation)?.lines();
        let constants = lines.next()?.split('\t').filter_map(|part| part.split_once('='));
        Some(Self {
            constants: constants.collect(),
            columns: lines.next()?.split('\t').collect(),
            rows: lines.map(|line| line.split('\t').collect()).collect(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Only the rows that fulfil it.
    pub(crate) fn retain(&mut self, keep: impl Fn(&DumpedRows, usize) -> bool) {
        let kept: Vec<bool> = (0..self.len()).map(|row| keep(self, row)).collect();
        let mut kept = kept.into_iter();
        self.rows.retain(|_| kept.next().unwrap_or(false));
    }

    /// A value as COPY writes it; empty when there is no such column.
    pub(crate) fn text(&self, row: usize, column: &str) -> &'static str {
        if let Some((_, value)) = self.constants.iter().find(|(name, _)| *name == column) {
            return value;
        }
        let at = self.columns.iter().position(|name| *name == column);
        at.and_then(|at| self.rows.get(row)?.get(at).copied())
            .unwrap_or_default()
    }

    pub(crate) fn number(&self, row: usize, column: &str) -> u32 {
        self.text(row, column).parse().unwrap_or_default()
    }

    /// Object numbers with blanks between them, or in braces.
    pub(crate) fn numbers(&self, row: usize, column: &str) -> Vec<u32> {
        let text = self.text(row, column);
        let parts = text.split([' ', ',', '{', '}']).filter(|part| !part.is_empty());
        parts.filter_map(|part| part.parse().ok()).collect()
    }

    /// The rows as the relation's columns.
    pub(crate) fn batch(&self, relation: &SystemRelation) -> Result<RecordBatch> {
        let settings = FormatSettings::default();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(relation.columns.len());
        for column in &relation.columns {
            // OIDs stand for what `reg*` columns name.
            let mut decoder = ColumnDecoder::new(&column.ty, Format::Text, &settings, self.len());
            for row in 0..self.len() {
                let text = self.text(row, column.name);
                match text {
                    "\\N" => decoder.append(None)?,
                    text if text.contains('\\') => decoder.append(Some(unescaped(text).as_bytes()))?,
                    text => decoder.append(Some(text.as_bytes()))?,
                }
            }
            arrays.push(decoder.finish()?);
        }
        RecordBatch::try_new(Arc::clone(&relation.arrow), arrays)
            .map_err(|error| Error::internal(format!("the facts of {}: {error}", relation.name)))
    }
}

/// COPY's backslashes undone.
pub(crate) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    plain
}

fn dumped(relation: &str) -> Option<&'static str> {
    Some(match relation {
        "pg_aggregate" => include_str!("data/pg_aggregate.tsv"),
        "pg_am" => include_str!("data/pg_am.tsv"),
        "pg_cast" => include_str!("data/pg_cast.tsv"),
        "pg_collation" => include_str!("data/pg_collation.tsv"),
        "pg_description" => include_str!("data/pg_description.tsv"),
        "pg_language" => include_str!("data/pg_language.tsv"),
        "pg_namespace" => include_str!("data/pg_namespace.tsv"),
        "pg_opclass" => include_str!("data/pg_opclass.tsv"),
        "pg_operator" => include_str!("data/pg_operator.tsv"),
        "pg_opfamily" => include_str!("data/pg_opfamily.tsv"),
        "pg_proc" => include_str!("data/pg_proc.tsv"),
        "pg_settings" => include_str!("data/pg_settings.tsv"),
        "pg_range" => include_str!("data/pg_range.tsv"),
        "pg_tablespace" => include_str!("data/pg_tablespace.tsv"),
        "pg_type" => include_str!("data/pg_type.tsv"),
        _ => return None,
    })
}

fn read_relations(text: &'static str) -> Vec<SystemRelation> {
    let mut relations: Vec<SystemRelation> = Vec::new();
    for line in text.lines() {
        let parts: Vec<&'static str> = line.split('\t').collect();
        let number = |at: usize| {
            parts
                .get(at)
                .and_then(|part| part.parse::<u32>().ok())
                .unwrap_or_default()
        };
        let word = |at: usize| parts.get(at).copied().unwrap_or_default();
        if !word(0).is_empty() {
            relations.push(SystemRelation {
                oid: number(0),
                schema: word(1),
                name: word(2),
                kind: word(3),
                row_type: number(4),
                has_index: word(5) == "t",
                is_shared: word(6) == "t",
                columns: Vec::new(),
                arrow: Arc::new(Schema::empty()),
            });
        } else if let Some(relation) = relations.last_mut() {
            let modifier = word(4).parse().unwrap_or(-1);
            relation.columns.push(SystemColumn {
                name: word(1),
                declared: number(2),
                // A few statistics have types nobody else has.
                ty: match sql_type_of_oid(number(3), modifier) {
                    Some(SqlType::Numeric { .. }) => WHOLE_NUMBER,
                    ty => ty.unwrap_or(SqlType::Text),
                },
                modifier,
                not_null: word(5) == "t",
                collation: number(6),
            });
        }
    }
    for relation in &mut relations {
        let fields = relation.columns.iter();
        let fields: Vec<Field> = fields
            .map(|column| arrow_field(column.name, &column.ty, true, "UTC"))
            .collect();
        relation.arrow = Arc::new(Schema::new(fields));
    }
    relations
}

fn read_types() -> Vec<TypeFacts> {
    let Some(rows) = DumpedRows::of("pg_type") else {
        return Vec::new();
    };
    (0..rows.len())
        .map(|row| TypeFacts {
            oid: rows.number(row, "oid"),
            name: rows.text(row, "typname"),
            schema: rows.number(row, "typnamespace"),
            length: rows.text(row, "typlen").parse().unwrap_or(-1),
            by_value: rows.text(row, "typbyval") == "t",
            element: rows.number(row, "typelem"),
            array: rows.number(row, "typarray"),
            align: rows.text(row, "typalign"),
            storage: rows.text(row, "typstorage"),
            collation: rows.number(row, "typcollation"),
            is_array: rows.text(row, "typcategory") == "A"
                && rows.number(row, "typelem") != 0
                && rows.text(row, "typlen") == "-1"
                && !rows.text(row, "typname").ends_with("vector"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_fits_its_relation() {
        // Of settings there are PostgreSQL's words only; the values are the session's.
        let filled = |relation: &&SystemRelation| relation.schema == "pg_catalog" && relation.name != "pg_settings";
        for relation in relations().iter().filter(filled) {
            if let Some(rows) = DumpedRows::of(relation.name) {
                let batch = rows
                    .batch(relation)
                    .unwrap_or_else(|error| panic!("{}: {error}", relation.name));
                assert!(
                    batch.num_rows() > 0 && batch.num_rows() == rows.len(),
                    "{}",
                    relation.name
                );
            }
        }
    }

    #[test]
    fn every_function_of_json_has_a_row() {
        let rows = DumpedRows::of("pg_proc").expect("its file");
        let shown: Vec<&str> = (0..rows.len()).map(|row| rows.text(row, "proname")).collect();
        let by_form = crate::rewrite::JSON_FUNCTIONS_BY_FORM.iter().copied();
        for name in crate::function::json::names().chain(by_form) {
            assert!(shown.contains(&name), "{name}");
        }
    }

    /// As `src/include/catalog` of PostgreSQL has them.
    #[test]
    fn numbers_of_postgres() {
        assert_eq!(
            relation("pg_catalog", "pg_class").map(|relation| relation.oid),
            Some(1259)
        );
        assert_eq!(
            type_with_oid(1007).map(|ty| (ty.name, ty.element, ty.is_array)),
            Some(("_int4", 23, true))
        );
        assert_eq!(
            type_with_oid(22).map(|ty| (ty.name, ty.is_array)),
            Some(("int2vector", false))
        );
        assert_eq!(keywords().count(), 460);
    }
}
