//! The operator under the writer of UPDATE, DELETE and MERGE: it notes which rows of the table go, by address, and lets
//! the new rows through.
//!
//! ```text
//! UPDATE, DELETE   file, position, new row          each address once: a row that several others match is changed once
//! MERGE            file, position, action, new row  an address twice is an error
//! INSERT           file, position, action, number, new row    in the order of the numbers, in one partition: a key
//!                  twice is left out or an error
//! ```
//!
//! All partitions share one note. It is complete when all of them have ended.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int8Type, Int32Type, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use crate::error::{Error, ErrorKind, Result};
use crate::gather::GatheredRows;
use crate::operator::{only_child, streaming};
use crate::statement::{ChangeKind, ConflictKeys};
use crate::write::{RowRules, check_row_rules};

/// What MERGE does with a row.
pub(crate) mod action {
    pub(crate) const NOTHING: i8 = 0;
    pub(crate) const INSERT: i8 = 1;
    pub(crate) const UPDATE: i8 = 2;
    pub(crate) const DELETE: i8 = 3;
}

/// What a running UPDATE, DELETE or MERGE has done so far.
#[derive(Debug, Default)]
pub struct RowChanges {
    done: Mutex<Done>,
}

#[derive(Debug, Default)]
struct Done {
    gone: BTreeMap<i32, RoaringTreemap>,
    rows: u64,
}

impl RowChanges {
    /// The rows that go, by the number of their file, and how many rows the statement touched.
    pub fn take(&self) -> (BTreeMap<i32, RoaringTreemap>, u64) {
        let Done { gone, rows } = std::mem::take(&mut *self.done.lock());
        (gone, rows)
    }
}

/// Where the number of a row of INSERT … ON CONFLICT is.
pub(crate) const ORDER_INDEX: usize = 3;

/// What is to be done with rows.
#[derive(Clone, Debug)]
pub(crate) struct What {
    pub(crate) kind: ChangeKind,
    /// Whether somebody wants the rows that DELETE takes away.
    pub(crate) emits_deleted: bool,
    /// Where the rows go that MERGE takes away, if somebody wants them: they are not new rows, which are checked and written.
    pub(crate) deleted: Option<Arc<GatheredRows>>,
    /// The checks of new rows: of those that stay only.
    pub(crate) rules: Option<RowRules>,
    /// Of INSERT … ON CONFLICT.
    pub(crate) keys: Option<ConflictKeys>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RowChangesExec {
    input: Arc<dyn ExecutionPlan>,
    what: What,
    changes: Arc<RowChanges>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl RowChangesExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, what: What, changes: Arc<RowChanges>) -> Result<Self> {
        let fields = input.schema();
        let row: Vec<usize> = (what.kind.leading_columns()..fields.fields().len()).collect();
        let schema = Arc::new(fields.project(&row)?);
        Ok(Self {
            properties: streaming(&input, &schema),
            input,
            what,
            changes,
            schema,
        })
    }
}

impl DisplayAs for RowChangesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowChangesExec")
    }
}

impl ExecutionPlan for RowChangesExec {
    fn name(&self) -> &str {
        "RowChangesExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = only_child(children)?;
        Ok(Arc::new(Self::new(
            input,
            self.what.clone(),
            Arc::clone(&self.changes),
        )?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let what = self.what.clone();
        let (changes, schema) = (Arc::clone(&self.changes), Arc::clone(&self.schema));
        let mut inserted = match &what.keys {
            Some(keys) => Some(InsertedKeys::new(keys, &schema, &context)?),
            None => None,
        };
        let rows = input.map(move |batch| {
            let batch = batch?;
            let row: Vec<usize> = (what.kind.leading_columns()..batch.num_columns()).collect();
            let new = batch.project(&row)?.with_schema(Arc::clone(&schema))?;
            let kept = match (what.kind, &mut inserted) {
                (ChangeKind::Upsert, Some(inserted)) => upsert(&changes, &batch, &new, inserted)?,
                (ChangeKind::Merge | ChangeKind::Upsert, _) => merge(&changes, &batch)?,
                (ChangeKind::Update, _) => claim(&changes, &batch, true)?,
                (ChangeKind::Delete, _) => claim(&changes, &batch, what.emits_deleted)?,
            };
            if let Some(deleted) = &what.deleted {
                deleted.add(
                    partition,
                    &filter_record_batch(&new, &deleted_by_merge(&batch)?)?,
                    &context,
                )?;
            }
            let batch = filter_record_batch(&new, &kept)?;
            match &what.rules {
                Some(rules) => Ok(check_first_columns(rules, &batch)?),
                None => Ok(batch),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// The checks of a row that columns of other relations follow.
fn check_first_columns(rules: &RowRules, batch: &RecordBatch) -> Result<RecordBatch> {
    let own: Vec<usize> = (0..rules.column_count()).collect();
    if own.len() == batch.num_columns() {
        return check_row_rules(rules, batch);
    }
    let checked = check_row_rules(rules, &batch.project(&own)?)?;
    let others = batch.columns().iter().skip(own.len());
    let columns = checked.columns().iter().chain(others).cloned().collect();
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The addresses of a batch: a negative file number never occurs, and no address is null but in MERGE.
fn addresses(batch: &RecordBatch) -> Result<impl Fn(usize) -> Option<(i32, u64)>> {
    let wrong = || Error::internal("rows without addresses");
    let files = batch
        .column(0)
        .as_primitive_opt::<Int32Type>()
        .ok_or_else(wrong)?
        .clone();
    let positions = batch
        .column(1)
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(wrong)?
        .clone();
    Ok(move |row| match files.is_null(row) || positions.is_null(row) {
        true => None,
        false => Some((files.value(row), u64::try_from(positions.value(row)).ok()?)),
    })
}

/// Notes rows that go. Those that were not noted before are kept, if any are to be.
fn claim(changes: &RowChanges, batch: &RecordBatch, keeps: bool) -> Result<BooleanArray> {
    let address = addresses(batch)?;
    let mut done = changes.done.lock();
    let mut kept = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let (file, position) = address(row).ok_or_else(|| Error::internal("a row without an address"))?;
        let is_new = done.gone.entry(file).or_default().insert(position);
        done.rows += u64::from(is_new);
        kept.push(is_new && keeps);
    }
    Ok(BooleanArray::from(kept))
}

/// What MERGE and INSERT … ON CONFLICT do with each row.
fn actions(batch: &RecordBatch) -> Result<&PrimitiveArray<Int8Type>> {
    let actions = batch.column(2).as_primitive_opt::<Int8Type>();
    actions.ok_or_else(|| Error::internal("rows without actions"))
}

fn deleted_by_merge(batch: &RecordBatch) -> Result<BooleanArray> {
    let actions = actions(batch)?.iter();
    Ok(actions.map(|action| Some(action == Some(action::DELETE))).collect())
}

/// Does what the action of each row says; keeps those that are inserted or updated.
fn merge(changes: &RowChanges, batch: &RecordBatch) -> Result<BooleanArray> {
    let address = addresses(batch)?;
    let actions = actions(batch)?;
    let mut done = changes.done.lock();
    let mut kept = Vec::with_capacity(batch.num_rows());
    for (row, action) in actions.iter().enumerate() {
        let action = action.unwrap_or(action::NOTHING);
        if matches!(action, action::UPDATE | action::DELETE) {
            let (file, position) = address(row).ok_or_else(|| Error::internal("a row without an address"))?;
            if !done.gone.entry(file).or_default().insert(position) {
                let message = "MERGE command cannot affect row a second time";
                return Err(Error::new(ErrorKind::CardinalityViolation, message)
                    .with_hint("Ensure that not more than one source row matches any one target row."));
            }
        }
        done.rows += u64::from(action != action::NOTHING);
        kept.push(matches!(action, action::INSERT | action::UPDATE));
    }
    Ok(BooleanArray::from(kept))
}

/// Does what the action of each row of INSERT … ON CONFLICT says; a key is inserted once.
fn upsert(
    changes: &RowChanges,
    batch: &RecordBatch,
    new: &RecordBatch,
    inserted: &mut InsertedKeys,
) -> Result<BooleanArray> {
    let address = addresses(batch)?;
    let actions = actions(batch)?;
    let keys = inserted.keys_of(new)?;
    let mut done = changes.done.lock();
    let mut kept = Vec::with_capacity(batch.num_rows());
    for (row, action) in actions.iter().enumerate() {
        let keeps = match action.unwrap_or(action::NOTHING) {
            action::INSERT => match inserted.add(&keys, row)? {
                true => true,
                false if inserted.updates => return Err(affected_twice()),
                false => false,
            },
            action::UPDATE => {
                let (file, position) = address(row).ok_or_else(|| Error::internal("a row without an address"))?;
                if !done.gone.entry(file).or_default().insert(position) {
                    return Err(affected_twice());
                }
                true
            }
            _ => false,
        };
        done.rows += u64::from(keeps);
        kept.push(keeps);
    }
    Ok(BooleanArray::from(kept))
}

fn affected_twice() -> Error {
    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
    Error::new(ErrorKind::CardinalityViolation, message).with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}

/// The keys of the rows a statement has inserted so far.
struct InsertedKeys {
    updates: bool,
    keys: Vec<InsertedKey>,
    memory: MemoryReservation,
}

struct InsertedKey {
    columns: Vec<usize>,
    converter: RowConverter,
    seen: HashSet<OwnedRow>,
}

impl InsertedKeys {
    fn new(keys: &ConflictKeys, schema: &SchemaRef, context: &TaskContext) -> DataFusionResult<Self> {
        let key = |columns: &Vec<usize>| {
            let fields = columns
                .iter()
                .map(|index| SortField::new(schema.field(*index).data_type().clone()));
            Ok(InsertedKey {
                columns: columns.clone(),
                converter: RowConverter::new(fields.collect())?,
                seen: HashSet::new(),
            })
        };
        Ok(Self {
            updates: keys.updates,
            keys: keys.columns.iter().map(key).collect::<DataFusionResult<_>>()?,
            memory: MemoryConsumer::new("ON CONFLICT").register(context.memory_pool()),
        })
    }

    /// The keys of all rows of a batch: `None` where one has a NULL, which equals nothing.
    fn keys_of(&self, batch: &RecordBatch) -> Result<Vec<Vec<Option<OwnedRow>>>> {
        let mut all = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let columns: Vec<_> = key
                .columns
                .iter()
                .map(|index| Arc::clone(batch.column(*index)))
                .collect();
            let rows = key.converter.convert_columns(&columns)?;
            let whole = |row: usize| columns.iter().all(|column| column.is_valid(row));
            all.push(
                (0..batch.num_rows())
                    .map(|row| whole(row).then(|| rows.row(row).owned()))
                    .collect(),
            );
        }
        Ok(all)
    }

    /// Notes a row that is inserted; `false` when one of its keys was inserted before, and nothing is noted.
    fn add(&mut self, keys: &[Vec<Option<OwnedRow>>], row: usize) -> Result<bool> {
        let mut both = self.keys.iter().zip(keys);
        if both.any(|(known, keys)| keys[row].as_ref().is_some_and(|key| known.seen.contains(key))) {
            return Ok(false);
        }
        for (known, keys) in self.keys.iter_mut().zip(keys) {
            if let Some(key) = &keys[row] {
                self.memory.try_grow(size_of::<OwnedRow>() + key.as_ref().len())?;
                known.seen.insert(key.clone());
            }
        }
        Ok(true)
    }
}
