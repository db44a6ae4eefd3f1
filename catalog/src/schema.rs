//! Columns, field ids, partition specs and sort orders of a table, and the definition a new table is made from.
//!
//! Columns are known by field id; names are for people. A file written before a rename is still read right.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::index::Index;
use crate::name::TableName;
use crate::rule::{ColumnDefault, Constraint, MaterializedQuery};
use crate::types::SqlType;

/// One version of a table's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The id inside the table.
    pub schema_id: i32,
    /// The columns in their order.
    pub columns: Vec<Column>,
}

impl TableSchema {
    /// The column of exactly this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The top-level column with this field id.
    pub fn column_by_id(&self, field_id: i32) -> Option<&Column> {
        self.columns.iter().find(|column| column.field_id == field_id)
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The id that stays when the column is renamed or moved.
    pub field_id: i32,
    /// The name, exact.
    pub name: String,
    /// The SQL type with its modifiers.
    pub ty: SqlType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// `COMMENT ON COLUMN`
    pub comment: Option<String>,
    /// What it gets when a statement gives it no value; `None`: NULL.
    pub default: Option<ColumnDefault>,
    /// The field ids below this column: for an array one entry, its element; for a struct one entry a field, in the
    /// order of the type; else none.
    pub children: Vec<FieldIds>,
}

/// The field id of an array's element or of a struct's field, with those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldIds {
    /// The field id.
    pub id: i32,
    /// As [`Column::children`].
    pub children: Vec<FieldIds>,
}

/// How a partition value is made from a column's value (Iceberg spec, "Partition Transforms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// The value itself.
    Identity,
    /// Murmur3 hash of the value, modulo this number of buckets.
    Bucket(u32),
    /// The value cut to this width: characters, bytes, or a multiple for numbers.
    Truncate(u32),
    /// Years since 1970.
    Year,
    /// Months since 1970-01.
    Month,
    /// Days since 1970-01-01.
    Day,
    /// Hours since 1970-01-01 00:00.
    Hour,
    /// Always null: a field that was removed from the spec.
    Void,
}

impl fmt::Display for Transform {
    /// The name as the Iceberg spec writes it, for example `bucket[16]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transform::Identity => f.write_str("identity"),
            Transform::Bucket(buckets) => write!(f, "bucket[{buckets}]"),
            Transform::Truncate(width) => write!(f, "truncate[{width}]"),
            Transform::Year => f.write_str("year"),
            Transform::Month => f.write_str("month"),
            Transform::Day => f.write_str("day"),
            Transform::Hour => f.write_str("hour"),
            Transform::Void => f.write_str("void"),
        }
    }
}

/// One field of a partition spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionField {
    /// The column the value is made from.
    pub source_id: i32,
    /// The field's own id, from 1000.
    pub field_id: i32,
    /// The field's name, for example `ts_day`.
    pub name: String,
    /// How the value is made.
    pub transform: Transform,
}

/// How the rows of a table are divided into files. No fields means unpartitioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// The id inside the table.
    pub spec_id: i32,
    /// The fields in their order; a file's partition tuple has one value for each.
    pub fields: Vec<PartitionField>,
}

/// One key of a sort order, on the column's own value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortField {
    /// The column.
    pub source_id: i32,
    /// `DESC`
    pub descending: bool,
    /// `NULLS FIRST`
    pub nulls_first: bool,
}

/// What CREATE TABLE gives. Field ids are assigned by the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDefinition {
    /// The table's name.
    pub name: TableName,
    /// The columns in their order.
    pub columns: Vec<ColumnDefinition>,
    /// Column and transform of each partition field.
    pub partition_by: Vec<(String, Transform)>,
    /// Column, descending, nulls first.
    pub sorted_by: Vec<(String, bool, bool)>,
    /// CHECK constraints and keys.
    pub constraints: Vec<Constraint>,
    /// Indexes.
    pub indexes: Vec<Index>,
    /// `COMMENT ON TABLE`
    pub comment: Option<String>,
    /// Table properties; keys beginning with `staffa.` are the catalog's own.
    pub properties: BTreeMap<String, String>,
    /// Of a materialized view: its query.
    pub materialized: Option<MaterializedQuery>,
    /// Where the table lives; `None` puts it into the warehouse.
    pub location: Option<String>,
}

/// One column of a new table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// The name, exact.
    pub name: String,
    /// The SQL type.
    pub ty: SqlType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// `COMMENT ON COLUMN`
    pub comment: Option<String>,
    /// What it gets when a statement gives it no value; `None`: NULL.
    pub default: Option<ColumnDefault>,
}

/// What CREATE VIEW gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewDefinition {
    /// The view's name.
    pub name: TableName,
    /// The query, in Staffa's dialect.
    pub sql: String,
    /// Name and type of each output column.
    pub columns: Vec<(String, SqlType)>,
    /// The schemas unqualified names of `sql` are looked up in.
    pub search_path: Vec<String>,
    /// `COMMENT ON VIEW`
    pub comment: Option<String>,
    /// What its query reads.
    pub reads: Vec<ViewRead>,
    /// `COMMENT ON COLUMN`, by the column's name.
    pub column_comments: BTreeMap<String, String>,
}

/// A relation that a view reads. Renames change nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRead {
    pub relation: Uuid,
    /// The numbers of the columns the query names.
    pub columns: Vec<i16>,
}

/// A stored view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The id that stays with the view through renames and changes.
    pub uuid: Uuid,
    /// The view's name.
    pub name: TableName,
    /// The query, in Staffa's dialect.
    pub sql: String,
    /// Name and type of each output column.
    pub columns: Vec<(String, SqlType)>,
    /// The schemas unqualified names of `sql` are looked up in.
    pub search_path: Vec<String>,
    /// `COMMENT ON VIEW`
    pub comment: Option<String>,
    /// What its query reads; nothing is known of a view that another engine or an older version made.
    pub reads: Vec<ViewRead>,
    /// `COMMENT ON COLUMN`, by the column's name.
    pub column_comments: BTreeMap<String, String>,
}
