//! `pg_stats` and `pg_statistic`: what ANALYZE found out about columns, from the files of statistics of the tables.
//!
//! Values of rows are in them. So a role finds those of columns that it may read, and none of a table of which policies or masks hide
//! something from it; and a table's own policies do not hide them from those whom PostgreSQL lets see them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use bytes::BytesMut;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use staffa_catalog::{Column, RelationKind, SqlType, Table, TableName};
use staffa_storage::ColumnSummary;

use super::facts::SystemRelation;
use super::rows::{Cell, Rows};
use crate::authorize::Readable;
use crate::context::PlanContext;
use crate::error::{Error, Result};
use crate::table_provider::table_summary;
use crate::value::{ByteaOutput, ColumnEncoder, DateOrder, Format, FormatSettings};

/// Numbers of kinds of statistics, in the order in which they take slots.
const COMMON_VALUES: i16 = 1;
const HISTOGRAM: i16 = 2;
const CORRELATION: i16 = 3;

/// The relation, for one statement.
pub(crate) struct StatisticsTable {
    relation: &'static SystemRelation,
    context: PlanContext,
}

impl StatisticsTable {
    /// If a relation is one of them.
    pub(crate) fn of(relation: &'static SystemRelation, context: &PlanContext) -> Option<Self> {
        matches!(relation.name, "pg_stats" | "pg_statistic").then(|| {
            let mut context = context.clone();
            // Also in a view, whose owner may see more, it is what the user may see.
            let asker = context.snapshot.access().authority(&context.user, &context.database);
            context.authority = Arc::new(asker);
            Self { relation, context }
        })
    }

    async fn rows(&self) -> Result<RecordBatch> {
        let described = self.described().await?;
        match self.relation.name {
            "pg_stats" => shown(self.relation, &described),
            _ => stored(self.relation, &described, &self.context),
        }
    }

    /// Every column that the role may know of.
    async fn described(&self) -> Result<Vec<Described>> {
        let context = &self.context;
        let settings = FormatSettings::new(&context.time_zone, DateOrder::Mdy, ByteaOutput::Hex, 1)?;
        let mut described = Vec::new();
        for schema in context.snapshot.schemas(&context.database) {
            for (name, kind) in context.snapshot.relations(&context.database, &schema) {
                if kind != RelationKind::Table {
                    continue;
                }
                let name = TableName::new(&context.database, &schema, name);
                // One that is damaged has no statistics.
                let Ok(Some(table)) = context.snapshot.table(&name).await else {
                    continue;
                };
                if !matches!(context.guard(&table), Ok(None)) {
                    continue;
                }
                let readable = Readable::of(context, &table);
                let Some(summary) = table_summary(&context.scan, &table).await else {
                    continue;
                };
                for (place, column) in table.schema().columns.iter().enumerate() {
                    if readable.as_ref().is_some_and(|readable| !readable.has(place)) {
                        continue;
                    }
                    if let Some(summary) = summary.column(column.field_id) {
                        described.push(Described::of(&table, column, summary, &settings)?);
                    }
                }
            }
        }
        Ok(described)
    }
}

/// What is said of a column.
struct Described {
    table: TableName,
    name: String,
    number: i16,
    null_share: f32,
    width: i32,
    distinct: f32,
    common: Option<(String, Vec<f32>)>,
    bounds: Option<String>,
    correlation: Option<f32>,
}

impl Described {
    fn of(table: &Table, column: &Column, known: &ColumnSummary, settings: &FormatSettings) -> Result<Self> {
        let (common, shares) = known.common();
        let shares: Vec<f32> = shares.iter().map(|share| *share as f32).collect();
        // Values of these have no order in PostgreSQL.
        let is_ordered = !matches!(column.ty.plain(), SqlType::Json);
        let listed = |values: &ArrayRef| match is_ordered && !values.is_empty() {
            true => text_of_list(values, &column.ty, settings).map(Some),
            false => Ok(None),
        };
        let number = table.column_numbers().get(&column.field_id).copied();
        let valid = known.rows() as f64 * (1.0 - known.null_share());
        let null_share = known.null_share();
        let distinct = match known.distinct() {
            // Each row has its own, or as good as.
            distinct if distinct >= 0.98 * valid && distinct > 0.0 => null_share - 1.0,
            distinct if known.is_scaled() => -distinct / known.rows().max(1) as f64,
            distinct => distinct.round(),
        };
        Ok(Self {
            table: table.name().clone(),
            name: column.name.clone(),
            number: number.unwrap_or_default(),
            null_share: null_share as f32,
            width: known.width().round() as i32,
            distinct: if is_ordered { distinct as f32 } else { 0.0 },
            common: listed(common)?.map(|values| (values, shares)),
            bounds: listed(known.bounds())?,
            correlation: known.correlation().filter(|_| is_ordered).map(|it| it as f32),
        })
    }
}

/// Values as PostgreSQL prints an array of them.
fn text_of_list(values: &ArrayRef, ty: &SqlType, settings: &FormatSettings) -> Result<String> {
    let element = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let list: ArrayRef = Arc::new(ListArray::try_new(element, offsets, Arc::clone(values), None)?);
    let field = Field::new("values", list.data_type().clone(), true);
    let encoder = ColumnEncoder::new(&field, &SqlType::Array(Box::new(ty.clone())), Format::Text, settings)?;
    let mut text = BytesMut::new();
    encoder.column(&list)?.write(0, &mut text)?;
    String::from_utf8(text.to_vec()).map_err(|_| Error::internal("an array whose text is none"))
}

fn shown(relation: &'static SystemRelation, described: &[Described]) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "schemaname",
            "tablename",
            "attname",
            "inherited",
            "null_frac",
            "avg_width",
            "n_distinct",
            "most_common_vals",
            "most_common_freqs",
            "histogram_bounds",
            "correlation",
        ],
    )?;
    for column in described {
        rows.push([
            (&column.table.schema).into(),
            (&column.table.name).into(),
            (&column.name).into(),
            false.into(),
            Cell::Real(column.null_share),
            column.width.into(),
            Cell::Real(column.distinct),
            column.common.as_ref().map(|(values, _)| values).into(),
            shares(column),
            column.bounds.as_ref().into(),
            column.correlation.map_or(Cell::Null, Cell::Real),
        ]);
    }
    rows.finish()
}

fn stored(relation: &'static SystemRelation, described: &[Described], context: &PlanContext) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "starelid",
            "staattnum",
            "stainherit",
            "stanullfrac",
            "stawidth",
            "stadistinct",
            "stakind1",
            "stakind2",
            "stakind3",
            "stanumbers1",
            "stanumbers2",
            "stanumbers3",
            "stavalues1",
            "stavalues2",
        ],
    )?;
    let view = context.catalog_view();
    for column in described {
        let found = view
            .as_ref()
            .and_then(|view| view.image.relation_named(&column.table.schema, &column.table.name));
        let Some(relation) = found else { continue };
        let common = column.common.as_ref();
        let common = common.map(|(values, _)| (COMMON_VALUES, shares(column), values.into()));
        let bounds = column.bounds.as_ref();
        let bounds = bounds.map(|bounds| (HISTOGRAM, Cell::Null, bounds.into()));
        let correlation = column.correlation.map(|it| vec![it]);
        let correlation = correlation.map(|it| (CORRELATION, Cell::Reals(it), Cell::Null));
        let mut slots = common.into_iter().chain(bounds).chain(correlation);
        let mut slot = || slots.next().unwrap_or((0, Cell::Null, Cell::Null));
        let ((kind1, numbers1, values1), (kind2, numbers2, values2), (kind3, numbers3, _)) = (slot(), slot(), slot());
        rows.push([
            relation.oid.into(),
            column.number.into(),
            false.into(),
            Cell::Real(column.null_share),
            column.width.into(),
            Cell::Real(column.distinct),
            kind1.into(),
            kind2.into(),
            kind3.into(),
            numbers1,
            numbers2,
            numbers3,
            values1,
            values2,
        ]);
    }
    rows.finish()
}

fn shares(column: &Described) -> Cell<'static> {
    let shares = column.common.as_ref().map(|(_, shares)| shares.clone());
    shares.map_or(Cell::Null, Cell::Reals)
}

impl fmt::Debug for StatisticsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatisticsTable")
            .field("relation", &self.relation.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for StatisticsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.arrow)
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
        let rows = vec![self.rows().await?];
        let plan = MemorySourceConfig::try_new_exec(&[rows], self.schema(), projection.cloned())?;
        Ok(plan)
    }
}
