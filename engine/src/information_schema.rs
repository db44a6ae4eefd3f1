//! `information_schema` as ordinary tables, computed from one snapshot of the catalog.
//!
//! Relations and columns are those of PostgreSQL 15's view of the same name (section 37 of its manual); columns that have
//! nothing to say here are left out rather than filled with guesses. Only the connected database is shown, as there.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use staffa_catalog::{
    CatalogSnapshot, ColumnDefault, IdentityKind, RelationKind, Sequence, SqlType, TableName, quote_identifier,
};
use staffa_planner::{Error, Result, SystemTables};

use crate::upkeep::{MaintenanceTable, Records};

/// The relations, for one statement.
pub(crate) struct InformationSchema {
    snapshot: Arc<CatalogSnapshot>,
    database: String,
    owner: String,
    temporary: Option<String>,
    /// What upkeep did, and the time zone it is shown in.
    maintenance: Option<(Arc<Records>, String)>,
}

impl InformationSchema {
    pub(crate) fn new(snapshot: Arc<CatalogSnapshot>, database: &str, owner: &str) -> Self {
        Self {
            snapshot,
            database: database.to_owned(),
            owner: owner.to_owned(),
            temporary: None,
            maintenance: None,
        }
    }

    /// With the session's temporary tables, which are in this schema.
    pub(crate) fn with_temporary(mut self, schema: &str) -> Self {
        let exists = self.snapshot.has_schema(&self.database, schema);
        self.temporary = exists.then(|| schema.to_owned());
        self
    }

    /// With `staffa.maintenance`.
    pub(crate) fn with_maintenance(mut self, records: Arc<Records>, time_zone: &str) -> Self {
        self.maintenance = Some((records, time_zone.to_owned()));
        self
    }
}

impl fmt::Debug for InformationSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InformationSchema")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl SystemTables for InformationSchema {
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        if (schema, name) == ("staffa", "maintenance") {
            let (records, time_zone) = self.maintenance.as_ref()?;
            let table = MaintenanceTable::new(Arc::clone(records), &self.database, time_zone);
            return Some(Arc::new(table));
        }
        let relation = Relation::named(schema, name)?;
        let rows = Rows {
            snapshot: Arc::clone(&self.snapshot),
            database: self.database.clone(),
            owner: self.owner.clone(),
            temporary: self.temporary.clone(),
        };
        Some(Arc::new(SystemTable {
            relation,
            schema: relation.schema(),
            rows,
        }))
    }
}

#[derive(Clone, Copy, Debug)]
enum Relation {
    Schemata,
    Tables,
    Columns,
    Views,
    Sequences,
}

impl Relation {
    fn named(schema: &str, name: &str) -> Option<Self> {
        match (schema, name) {
            ("information_schema", "schemata") => Some(Self::Schemata),
            ("information_schema", "tables") => Some(Self::Tables),
            ("information_schema", "columns") => Some(Self::Columns),
            ("information_schema", "views") => Some(Self::Views),
            ("information_schema", "sequences") => Some(Self::Sequences),
            _ => None,
        }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Schemata => &["catalog_name", "schema_name", "schema_owner"],
            Self::Tables => &[
                "table_catalog",
                "table_schema",
                "table_name",
                "table_type",
                "is_insertable_into",
            ],
            Self::Columns => &[
                "table_catalog",
                "table_schema",
                "table_name",
                "column_name",
                "ordinal_position",
                "column_default",
                "is_nullable",
                "data_type",
                "character_maximum_length",
                "numeric_precision",
                "numeric_scale",
                "udt_name",
            ],
            Self::Sequences => &[
                "sequence_catalog",
                "sequence_schema",
                "sequence_name",
                "data_type",
                "numeric_precision",
                "numeric_precision_radix",
                "numeric_scale",
                "start_value",
                "minimum_value",
                "maximum_value",
                "increment",
                "cycle_option",
            ],
            Self::Views => &["table_catalog", "table_schema", "table_name", "view_definition"],
        }
    }

    fn schema(self) -> SchemaRef {
        let field = |name: &&str| {
            let number = matches!(
                *name,
                "ordinal_position"
                    | "character_maximum_length"
                    | "numeric_precision"
                    | "numeric_precision_radix"
                    | "numeric_scale"
            );
            Field::new(*name, if number { DataType::Int32 } else { DataType::Utf8View }, true)
        };
        Arc::new(Schema::new(self.columns().iter().map(field).collect::<Vec<_>>()))
    }
}

/// One cell: text or a number, by its column.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Text(String),
    Number(i32),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

struct Rows {
    snapshot: Arc<CatalogSnapshot>,
    database: String,
    owner: String,
    temporary: Option<String>,
}

impl Rows {
    async fn of(&self, relation: Relation) -> Result<Vec<Vec<Cell>>> {
        let mut rows = Vec::new();
        let database: Cell = self.database.as_str().into();
        let schemas = self.snapshot.schemas(&self.database).into_iter();
        for schema in schemas.chain(self.temporary.clone()) {
            let schema_cell: Cell = schema.as_str().into();
            if matches!(relation, Relation::Schemata) {
                rows.push(vec![database.clone(), schema_cell, self.owner.as_str().into()]);
                continue;
            }
            for (name, kind) in self.snapshot.relations(&self.database, &schema) {
                let prefix = vec![database.clone(), schema_cell.clone(), name.as_str().into()];
                let full = TableName {
                    database: self.database.clone(),
                    schema: schema.clone(),
                    name,
                };
                match relation {
                    Relation::Tables => {
                        let (ty, insertable) = match kind {
                            RelationKind::Table if Some(&schema) == self.temporary.as_ref() => {
                                ("LOCAL TEMPORARY", "YES")
                            }
                            RelationKind::Table => ("BASE TABLE", "YES"),
                            RelationKind::View => ("VIEW", "NO"),
                            RelationKind::Sequence => continue,
                        };
                        rows.push([prefix, vec![ty.into(), insertable.into()]].concat());
                    }
                    Relation::Columns => {
                        for column in self.columns_of(&full, kind).await? {
                            rows.push([prefix.clone(), column].concat());
                        }
                    }
                    Relation::Views if kind == RelationKind::View => {
                        if let Some(view) = self.snapshot.view(&full).await? {
                            rows.push([prefix, vec![view.sql.as_str().into()]].concat());
                        }
                    }
                    Relation::Sequences => {
                        // The sequences of identity columns are the columns' own.
                        let sequence = self.snapshot.sequence(&full)?;
                        let shown = |sequence: &Sequence| !sequence.owner.is_some_and(|owner| owner.is_identity);
                        if let Some(sequence) = sequence.filter(shown) {
                            rows.push([prefix, sequence_cells(&sequence)].concat());
                        }
                    }
                    Relation::Views | Relation::Schemata => {}
                }
            }
        }
        Ok(rows)
    }

    async fn columns_of(&self, name: &TableName, kind: RelationKind) -> Result<Vec<Vec<Cell>>> {
        let columns: Vec<(String, SqlType, bool, Cell)> = match kind {
            RelationKind::Table => match self.snapshot.table(name).await? {
                Some(table) => {
                    let columns = &table.schema().columns;
                    columns
                        .iter()
                        .map(|column| {
                            let default = match &column.default {
                                Some(ColumnDefault::Expression(text)) => text.as_str().into(),
                                Some(ColumnDefault::Identity(identity)) if identity.kind == IdentityKind::Serial => {
                                    match self.snapshot.sequence_with_id(identity.id)? {
                                        Some((sequence, _)) => next_value(&sequence),
                                        None => Cell::Null,
                                    }
                                }
                                _ => Cell::Null,
                            };
                            Ok((column.name.clone(), column.ty.clone(), column.nullable, default))
                        })
                        .collect::<Result<_>>()?
                }
                None => Vec::new(),
            },
            RelationKind::View => match self.snapshot.view(name).await? {
                Some(view) => view
                    .columns
                    .iter()
                    .map(|(name, ty)| (name.clone(), ty.clone(), true, Cell::Null))
                    .collect(),
                None => Vec::new(),
            },
            RelationKind::Sequence => Vec::new(),
        };
        let row = |(index, (name, ty, nullable, default)): (usize, &(String, SqlType, bool, Cell))| {
            let (length, precision, scale) = modifiers(ty);
            vec![
                name.as_str().into(),
                i32::try_from(index + 1).map_or(Cell::Null, Cell::Number),
                default.clone(),
                if *nullable { "YES" } else { "NO" }.into(),
                type_name(ty).as_str().into(),
                length,
                precision,
                scale,
                udt_name(ty).as_str().into(),
            ]
        };
        Ok(columns.iter().enumerate().map(row).collect())
    }
}

/// The default of a column that takes its numbers from a sequence.
fn next_value(sequence: &TableName) -> Cell {
    let parts = [&sequence.schema, &sequence.name].map(|part| quote_identifier(part));
    Cell::Text(format!("nextval('{}'::regclass)", parts.join(".").replace('\'', "''")))
}

fn sequence_cells(sequence: &Sequence) -> Vec<Cell> {
    let ty = sequence.ty.sql_type();
    let (_, precision, scale) = modifiers(&ty);
    let number = |number: i64| Cell::Text(number.to_string());
    vec![
        type_name(&ty).as_str().into(),
        precision,
        Cell::Number(2),
        scale,
        number(sequence.start),
        number(sequence.min),
        number(sequence.max),
        number(sequence.increment),
        if sequence.cycle { "YES" } else { "NO" }.into(),
    ]
}

/// As `information_schema.columns.data_type`: no modifiers; all arrays are `ARRAY`.
fn type_name(ty: &SqlType) -> String {
    match ty {
        SqlType::Numeric { .. } => "numeric".to_owned(),
        SqlType::Varchar(_) => "character varying".to_owned(),
        SqlType::Char(_) => "character".to_owned(),
        SqlType::Array(_) => "ARRAY".to_owned(),
        SqlType::Struct(_) => "USER-DEFINED".to_owned(),
        other => other.to_string(),
    }
}

/// PostgreSQL's internal name of the type.
fn udt_name(ty: &SqlType) -> String {
    let name = match ty {
        SqlType::Boolean => "bool",
        SqlType::SmallInt => "int2",
        SqlType::Integer => "int4",
        SqlType::BigInt => "int8",
        SqlType::Real => "float4",
        SqlType::Double => "float8",
        SqlType::Numeric { .. } => "numeric",
        SqlType::Varchar(_) => "varchar",
        SqlType::Char(_) => "bpchar",
        SqlType::Time => "time",
        SqlType::Timestamp => "timestamp",
        SqlType::TimestampTz => "timestamptz",
        SqlType::Struct(_) => "record",
        SqlType::Array(element) => return format!("_{}", udt_name(element)),
        other => return other.to_string(),
    };
    name.to_owned()
}

/// Length in characters, precision (in bits for binary numbers, as PostgreSQL says) and scale.
fn modifiers(ty: &SqlType) -> (Cell, Cell, Cell) {
    let number = |precision| (Cell::Null, Cell::Number(precision), Cell::Number(0));
    match ty {
        SqlType::SmallInt => number(16),
        SqlType::Integer => number(32),
        SqlType::BigInt => number(64),
        SqlType::Real => (Cell::Null, Cell::Number(24), Cell::Null),
        SqlType::Double => (Cell::Null, Cell::Number(53), Cell::Null),
        SqlType::Numeric { precision, scale } => (
            Cell::Null,
            Cell::Number(i32::from(*precision)),
            Cell::Number(i32::from(*scale)),
        ),
        SqlType::Varchar(Some(length)) | SqlType::Char(length) => (
            i32::try_from(*length).map_or(Cell::Null, Cell::Number),
            Cell::Null,
            Cell::Null,
        ),
        _ => (Cell::Null, Cell::Null, Cell::Null),
    }
}

struct SystemTable {
    relation: Relation,
    schema: SchemaRef,
    rows: Rows,
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable")
            .field("relation", &self.relation)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let rows = self
            .rows
            .of(self.relation)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let batch = batch(&self.schema, &rows).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let plan = MemorySourceConfig::try_new_exec(&[vec![batch]], self.schema(), projection.cloned())?;
        Ok(plan)
    }
}

fn batch(schema: &SchemaRef, rows: &[Vec<Cell>]) -> Result<RecordBatch> {
    let column = |(index, field): (usize, &Arc<Field>)| -> ArrayRef {
        let cells = rows.iter().map(|row| &row[index]);
        match field.data_type() {
            DataType::Int32 => Arc::new(Int32Array::from_iter(cells.map(|cell| match cell {
                Cell::Number(number) => Some(*number),
                _ => None,
            }))),
            _ => Arc::new(StringViewArray::from_iter(cells.map(|cell| match cell {
                Cell::Text(text) => Some(text.as_str()),
                _ => None,
            }))),
        }
    };
    let arrays = schema.fields().iter().enumerate().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), arrays).map_err(|error| Error::internal(error.to_string()))
}
