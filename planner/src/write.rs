//! What stands between rows and a table's files: the checks of PostgreSQL, the table's order, and the nouns of the two
//! crates below, each put into the other's words.

mod check;

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use roaring::RoaringTreemap;
use staffa_catalog::{
    ColumnDefault, ColumnStatistics, Constraint, ConstraintKind, DataFile, LiveFile, Table, Transform,
};
use staffa_execution::Sort;
use staffa_storage::{WriteOptions, WriteSpec, WrittenFile};

pub(crate) use self::check::ColumnCheck;
pub(crate) use self::check::{at_place, row_of, shown as shown_row};
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::gather::{GatherExec, GatheredRows};
use crate::literal::value_of_scalar;
use crate::physical::physical;
use crate::row_changes::{ORDER_INDEX, RowChanges, RowChangesExec, What};
use crate::statement::{ChangeKind, ChangePlan};
use crate::stored::{has_generated, load_catalog, over_operators, with_checks, with_generated, without_nulls};
use crate::table_provider::{StaffaTable, without_covered_files};
use crate::types::table_arrow_schema;

/// A table property; see [`rewrite_share`].
const REWRITE_SHARE: &str = "write.delete.rewrite-share";
const REWRITE_SHARE_DEFAULT: f64 = 0.3;

/// The column behind a table's own that says where in the data of a COPY a row stands: a line's number, and the line.
const COPY_PLACE: &str = "\u{1}place";

/// See [`COPY_PLACE`].
pub fn copy_place_field() -> FieldRef {
    Arc::new(Field::new(COPY_PLACE, DataType::Utf8View, true))
}

pub(crate) fn copy_place(schema: &DFSchema) -> Option<Expr> {
    let is_place = |column: &Column| column.name == COPY_PLACE;
    schema
        .columns()
        .into_iter()
        .next_back()
        .filter(is_place)
        .map(Expr::Column)
}

/// Whether a row can be refused whose values are all of their columns' types.
pub fn refuses_rows(table: &Table) -> bool {
    let is_check = |constraint: &Constraint| matches!(constraint.kind, ConstraintKind::Check { .. });
    table.schema().columns.iter().any(|column| !column.nullable) || table.constraints().iter().any(is_check)
}

/// The checks a table makes on its rows: NOT NULL, lengths, digits.
#[derive(Clone, Debug)]
pub struct RowRules {
    columns: Vec<ColumnCheck>,
    /// Whether messages may show the row that is refused.
    shows: bool,
}

impl RowRules {
    pub fn new(table: &Table) -> Self {
        let relation: Arc<str> = table.name().name.as_str().into();
        let columns = table
            .schema()
            .columns
            .iter()
            .map(|column| match column.default {
                // Checked when it has been computed.
                Some(ColumnDefault::Generated(_)) => ColumnCheck::nothing(&relation, column),
                // See `without_nulls`.
                _ if has_generated(table) => ColumnCheck::new(&relation, column).taking_nulls(),
                _ => ColumnCheck::new(&relation, column),
            })
            .collect();
        Self { columns, shows: true }
    }

    fn showing(self, shows: bool) -> Self {
        Self { shows, ..self }
    }

    pub(crate) fn column_count(&self) -> usize {
        self.columns.len()
    }
}

/// Checks a batch of rows for a table, in the table's column order and types, and takes the blanks off `char(n)`.
///
/// Errors: `NotNullViolation`, `StringTooLong`, `NumericOutOfRange`.
pub fn check_row_rules(rules: &RowRules, batch: &RecordBatch) -> Result<RecordBatch> {
    if rules.columns.len() != batch.num_columns() {
        return Err(Error::internal(format!(
            "{} columns for {} rules",
            batch.num_columns(),
            rules.columns.len()
        )));
    }
    let columns = rules
        .columns
        .iter()
        .zip(batch.columns())
        .map(|(check, column)| check.apply(column, rules.shows.then_some(batch)))
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The operators whose rows a writer takes as they are: checked, and each partition sorted by the table's sort order.
///
/// `plan` yields the table's columns in order and type (`InsertPlan::source`, after `bind`). `gathered` gets the rows as
/// they are written.
pub async fn write_plan(
    context: &PlanContext,
    table: &Table,
    plan: LogicalPlan,
    gathered: Option<&Arc<GatheredRows>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    load_catalog(context, table).await?;
    let plan = stored_rows(context, table, plan)?;
    let plan = without_place(plan)?;
    let rows = gathering(table, physical(context, plan).await?, gathered)?;
    sorted(table, rows)
}

/// Tables of more columns do not show the row that a column of theirs refuses.
pub(crate) const SHOWN_COLUMNS_MAX: usize = 100;

/// The rows of a COPY that have passed are the table's alone.
fn without_place(plan: LogicalPlan) -> Result<LogicalPlan> {
    if copy_place(plan.schema()).is_none() {
        return Ok(plan);
    }
    let mut columns = plan.schema().columns();
    columns.pop();
    Ok(LogicalPlanBuilder::from(plan)
        .project(columns.into_iter().map(Expr::Column))?
        .build()?)
}

/// Rows as they are stored: checked, generated columns computed.
pub(crate) fn stored_rows(context: &PlanContext, table: &Table, plan: LogicalPlan) -> Result<LogicalPlan> {
    let rules = RowRules::new(table);
    let place = copy_place(plan.schema());
    let mut given = plan.schema().columns();
    if place.is_some() {
        given.pop();
    }
    if given.len() != rules.columns.len() {
        return Err(Error::internal(format!(
            "{} columns for table {}",
            given.len(),
            table.name()
        )));
    }
    // The whole row is for the detail of an error: of a wide table it would make the plan too large.
    let shows = given.len() <= SHOWN_COLUMNS_MAX && context.may_show_rows(table);
    let row = given.iter().filter(|_| shows);
    let row: Vec<Expr> = row.cloned().map(Expr::Column).collect();
    let checked = given
        .into_iter()
        .zip(rules.columns)
        .zip(&table.schema().columns)
        .map(|((column, check), target)| {
            let expression = Expr::Column(column);
            if check.is_needed() {
                let check = check.with_place(place.is_some());
                let arguments = std::iter::once(expression)
                    .chain(place.clone())
                    .chain(row.iter().cloned());
                ScalarUDF::from(check).call(arguments.collect()).alias(&target.name)
            } else {
                expression.alias(&target.name)
            }
        });
    let plan = LogicalPlanBuilder::from(plan)
        .project(checked.chain(place.clone()))?
        .build()?;
    let plan = with_generated(context, table, plan)?;
    let plan = without_nulls(context, table, plan)?;
    with_checks(context, table, plan)
}

/// An UPDATE, DELETE or MERGE about to run.
#[derive(Debug)]
pub struct ChangeOperators {
    /// The new rows, for a writer; of DELETE they are not to be written.
    pub rows: Arc<dyn ExecutionPlan>,
    /// Where the rows that go are noted.
    pub changes: Arc<RowChanges>,
    /// Numbers of files all of whose rows go, and which are not read for it.
    pub covered: Vec<usize>,
    /// Where the rows for RETURNING are.
    pub gathered: Option<Arc<GatheredRows>>,
}

/// The operators of an UPDATE, DELETE or MERGE.
///
/// `plan` is the plan's source after `bind`.
pub async fn change_plan(context: &PlanContext, change: &ChangePlan, plan: LogicalPlan) -> Result<ChangeOperators> {
    load_catalog(context, &change.table).await?;
    let changes = Arc::new(RowChanges::default());
    let (plan, covered) = match (change.kind, &change.returning) {
        (ChangeKind::Delete, None) => without_covered_files(context, plan)?,
        _ => (plan, Vec::new()),
    };
    let rules = match change.kind {
        ChangeKind::Delete => None,
        _ => Some(RowRules::new(&change.table).showing(context.may_show_rows(&change.table))),
    };
    let rows = match change.kind {
        ChangeKind::Upsert => in_order(physical(context, plan).await?)?,
        _ => physical(context, plan).await?,
    };
    let gathered = change.returning.as_ref().map(|_| Arc::<GatheredRows>::default());
    let what = What {
        kind: change.kind,
        emits_deleted: gathered.is_some(),
        deleted: gathered.clone().filter(|_| change.kind == ChangeKind::Merge),
        rules,
        keys: change.keys.clone(),
    };
    let noting = RowChangesExec::new(rows, what, Arc::clone(&changes))?;
    let noted: Arc<dyn ExecutionPlan> = Arc::new(noting);
    let gather = |rows| gathering(&change.table, rows, gathered.as_ref());
    let rows = match change.kind {
        ChangeKind::Delete => gather(noted)?,
        _ => {
            let rows = over_operators(context, &change.table, noted)?;
            sorted(&change.table, gather(rows)?)?
        }
    };
    Ok(ChangeOperators {
        rows,
        changes,
        covered,
        gathered,
    })
}

/// The operators that read what is left of files after deletes, for a writer that puts the rows into new ones.
pub async fn rewrite_plan(
    context: &PlanContext,
    table: &Arc<Table>,
    files: &[(Arc<LiveFile>, RoaringTreemap)],
) -> Result<Arc<dyn ExecutionPlan>> {
    let files = files.iter().map(|(file, deleted)| {
        let mut rows = deleted.clone();
        if let Some(own) = &file.own_deletes {
            rows |= own.as_ref();
        }
        Arc::new(LiveFile {
            own_deletes: Some(Arc::new(rows)),
            ..LiveFile::clone(file)
        })
    });
    let rows = StaffaTable::of_files(context, Arc::clone(table), files.collect());
    let source = provider_as_source(Arc::new(rows));
    let plan = LogicalPlanBuilder::scan("\u{1}rest", source, None)?.build()?;
    sorted(table, physical(context, plan).await?)
}

/// The share of its rows that a file may have deleted before what is left of it is written again.
///
/// Errors: the table's property is not a number.
pub fn rewrite_share(table: &Table) -> Result<f64> {
    let Some(text) = table.properties().get(REWRITE_SHARE) else {
        return Ok(REWRITE_SHARE_DEFAULT);
    };
    match text.parse::<f64>() {
        Ok(share) if share >= 0.0 => Ok(share),
        _ => {
            let message = format!("invalid value for table property \"{REWRITE_SHARE}\": \"{text}\"");
            Err(Error::new(ErrorKind::InvalidParameterValue, message).with_hint("It is a share, such as 0.3."))
        }
    }
}

/// The rows of INSERT … ON CONFLICT in one partition, by their numbers.
fn in_order(rows: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let name = rows.schema().field(ORDER_INDEX).name().clone();
    let key = PhysicalSortExpr::new_default(Arc::new(PhysicalColumn::new(&name, ORDER_INDEX)));
    let ordering = LexOrdering::new([key]).ok_or_else(|| Error::internal("an order of nothing"))?;
    sorting(SortExec::new(ordering, Arc::new(CoalescePartitionsExec::new(rows))))
}

/// Our sort where it can do what DataFusion's would.
fn sorting(sort: SortExec) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(match Sort::instead_of(&sort)? {
        Some(sort) => Arc::new(sort),
        None => Arc::new(sort),
    })
}

/// Rows that are kept on their way, when somebody wants them.
fn gathering(
    table: &Table,
    rows: Arc<dyn ExecutionPlan>,
    gathered: Option<&Arc<GatheredRows>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(match gathered {
        None => rows,
        Some(gathered) => Arc::new(GatherExec::new(
            rows,
            table.schema().columns.len(),
            Arc::clone(gathered),
        )?),
    })
}

pub(crate) fn sorted(table: &Table, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let keys: Vec<PhysicalSortExpr> = sort_columns(table)
        .into_iter()
        .map(|(index, descending, nulls_first)| {
            let column = PhysicalColumn::new(&table.schema().columns[index].name, index);
            PhysicalSortExpr::new(
                Arc::new(column),
                SortOptions {
                    descending,
                    nulls_first,
                },
            )
        })
        .collect();
    match LexOrdering::new(keys) {
        Some(ordering) => sorting(SortExec::new(ordering, input).with_preserve_partitioning(true)),
        None => Ok(input),
    }
}

/// What the writer of a table needs. `data_prefix` is from the catalog's `begin_write`.
pub fn write_spec(table: &Table, data_prefix: &str, mut options: WriteOptions) -> Result<WriteSpec> {
    options.target_file_bytes = target_file_bytes(table, options.target_file_bytes);
    let mut partition = Vec::new();
    for field in &table.default_spec().fields {
        let index = column_index(table, field.source_id)?;
        match storage_transform(field.transform) {
            Some(transform) => partition.push((index, transform)),
            None => {
                return Err(Error::unsupported(
                    "writing to a partition field that was removed is not supported",
                ));
            }
        }
    }
    Ok(WriteSpec {
        schema: table_arrow_schema(table.schema(), "UTC"),
        partition,
        sort: sort_columns(table),
        data_prefix: data_prefix.to_string(),
        options,
    })
}

/// The size a table's files are made for: its own property, as Iceberg's engines name it, or the default.
pub fn target_file_bytes(table: &Table, default: u64) -> u64 {
    let own = table.properties().get("write.target-file-size-bytes");
    let own = own.and_then(|text| text.trim().parse().ok());
    own.filter(|bytes| *bytes > 0).unwrap_or(default)
}

/// A written file as the catalog lists it.
pub fn data_file(table: &Table, written: WrittenFile) -> Result<DataFile> {
    let spec = table.default_spec();
    let mut partition = Vec::with_capacity(written.partition.len());
    for scalar in &written.partition {
        let value = value_of_scalar(scalar);
        if value.is_none() && !scalar.is_null() {
            return Err(Error::internal(format!(
                "a partition value of type {}",
                scalar.data_type()
            )));
        }
        partition.push(value);
    }
    let columns = written
        .columns
        .into_iter()
        .map(|bounds| ColumnStatistics {
            field_id: bounds.field_id,
            size_bytes: bounds.size_bytes,
            value_count: bounds.value_count,
            null_count: bounds.null_count,
            nan_count: bounds.nan_count,
            lower: bounds.lower.as_ref().and_then(value_of_scalar),
            upper: bounds.upper.as_ref().and_then(value_of_scalar),
            bounds_exact: bounds.bounds_exact,
        })
        .collect();
    Ok(DataFile {
        location: written.location,
        size_bytes: written.size_bytes,
        row_count: written.row_count,
        spec_id: spec.spec_id,
        partition,
        columns,
        sort_order_id: written.sorted.then_some(table.sort_order().0),
        split_offsets: written.split_offsets,
    })
}

/// The catalog's transform in storage's words; `None` for a removed partition field.
pub(crate) fn storage_transform(transform: Transform) -> Option<staffa_storage::Transform> {
    Some(match transform {
        Transform::Identity => staffa_storage::Transform::Identity,
        Transform::Bucket(count) => staffa_storage::Transform::Bucket(count),
        Transform::Truncate(width) => staffa_storage::Transform::Truncate(width),
        Transform::Year => staffa_storage::Transform::Year,
        Transform::Month => staffa_storage::Transform::Month,
        Transform::Day => staffa_storage::Transform::Day,
        Transform::Hour => staffa_storage::Transform::Hour,
        Transform::Void => return None,
    })
}

/// Sort keys by column position. A key on a column that is gone ends the order: what follows it means nothing alone.
fn sort_columns(table: &Table) -> Vec<(usize, bool, bool)> {
    let (_, fields) = table.sort_order();
    fields
        .iter()
        .map_while(|field| {
            let index = table
                .schema()
                .columns
                .iter()
                .position(|column| column.field_id == field.source_id)?;
            Some((index, field.descending, field.nulls_first))
        })
        .collect()
}

fn column_index(table: &Table, field_id: i32) -> Result<usize> {
    table
        .schema()
        .columns
        .iter()
        .position(|column| column.field_id == field_id)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::DataCorrupted,
                format!("table {} is partitioned by a column it does not have", table.name()),
            )
        })
}
