//! Conditions of a scan, answered on chunks.
//!
//! A condition on one column is answered without its values where that is cheaper: a comparison of integers on the block's
//! offsets, and what the block's least and greatest value decide not even there; any other condition once for every value the
//! chunk may have, if these are few. The rest is answered on rows, of the columns it names, that passed what came before.
//!
//! Conditions that joins and sorts make while they run (dynamic filters) are a help, not a duty: one that lets most rows pass
//! is left out, and looked at again now and then.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;

use super::bounds::{comparison, comparison_or_null, implied};
use crate::chunk::{BLOCK_ROWS, Chunk, Domain, Selected, domain_values, scalar_as_integer, truths};
use crate::error::{Error, Result};
use crate::parameter::is_parameter;

/// Whether a condition can be asked of rows that another one would have kept from it: it never fails.
pub(super) fn never_fails(condition: &Arc<dyn PhysicalExpr>) -> bool {
    let expr = condition.as_ref();
    let is_harmless = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        use Operator as O;
        matches!(
            binary.op(),
            O::Eq
                | O::NotEq
                | O::Lt
                | O::LtEq
                | O::Gt
                | O::GtEq
                | O::And
                | O::Or
                | O::IsDistinctFrom
                | O::IsNotDistinctFrom
        )
    } else {
        expr.is::<Column>()
            || expr.is::<Literal>()
            || expr.is::<InListExpr>()
            || expr.is::<IsNullExpr>()
            || expr.is::<IsNotNullExpr>()
            || expr.is::<NotExpr>()
            || expr.is::<LikeExpr>()
            || is_parameter(condition)
            // What makes them are joins and sorts, of their own keys.
            || expr.is::<DynamicFilterPhysicalExpr>()
    };
    is_harmless && (expr.is::<DynamicFilterPhysicalExpr>() || condition.children().into_iter().all(never_fails))
}

#[derive(Debug)]
struct Comparison {
    operator: Operator,
    literal: ScalarValue,
    null_passes: bool,
}

impl Comparison {
    fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let or_null = comparison_or_null(expr);
        let null_passes = or_null.is_some();
        let (_, operator, literal) = or_null.or_else(|| comparison(expr))?;
        Some(Self {
            operator,
            literal: literal.clone(),
            null_passes,
        })
    }
}

/// A condition over columns of a file, ready for any of its row groups.
#[derive(Debug)]
pub(super) struct Condition {
    /// Over `schema`.
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// The places of the schema's columns in the file.
    columns: Vec<usize>,
    /// What it compares the only column with.
    comparison: Option<Comparison>,
    /// For one that may be left out: whether it was of use.
    usefulness: Option<Arc<Usefulness>>,
}

impl Condition {
    /// `expr` is over the file's schema.
    pub(super) fn new(
        expr: &Arc<dyn PhysicalExpr>,
        file: &Schema,
        usefulness: Option<&Arc<Usefulness>>,
    ) -> DfResult<Self> {
        let mut columns: Vec<usize> = collect_columns(expr).iter().map(Column::index).collect();
        columns.sort_unstable();
        columns.dedup();
        let expr = over_columns(expr, &columns)?;
        Ok(Self {
            schema: schema_of(file, &columns),
            comparison: Comparison::of(&expr),
            columns,
            expr,
            usefulness: usefulness.cloned(),
        })
    }

    pub(super) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// What its answer is without any row, if that is known.
    pub(super) fn constant(&self) -> Option<bool> {
        let literal = self.expr.downcast_ref::<Literal>()?;
        Some(matches!(literal.value(), ScalarValue::Boolean(Some(true))))
    }

    fn ask(&self, columns: Vec<ArrayRef>, rows: usize) -> DfResult<BooleanBuffer> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        // Domains have a null, whatever the file says of its column.
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let answers = self.expr.evaluate(&batch)?.into_array(rows)?;
        let answers = answers
            .as_boolean_opt()
            .ok_or_else(|| Error::internal("a condition is not true or false"))?;
        Ok(truths(answers))
    }
}

/// The columns of a file, all of which may be null.
fn schema_of(file: &Schema, columns: &[usize]) -> SchemaRef {
    let field = |column: &usize| Arc::new(Field::clone(file.field(*column)).with_nullable(true));
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// An expression over a file's columns as one over some of them.
pub(super) fn over_columns(expr: &Arc<dyn PhysicalExpr>, columns: &[usize]) -> DfResult<Arc<dyn PhysicalExpr>> {
    Arc::clone(expr)
        .transform(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            let place = columns.iter().position(|index| *index == column.index());
            let place = place.ok_or_else(|| Error::internal("an expression has a column that is not read"))?;
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), place)) as _))
        })
        .data()
}

/// A condition on the chunks of a row group.
pub(super) struct Test {
    condition: Arc<Condition>,
    chunks: Vec<Arc<Chunk>>,
    by: By,
}

enum By {
    /// The values between these.
    Range(RangeInclusive<i64>),
    /// All but this.
    OtherThan(i64),
    /// By place in the chunk's domain.
    Domain {
        passes: Vec<bool>,
        least: i64,
        null_passes: bool,
    },
    Rows,
}

impl Test {
    /// `chunks` are those of the condition's columns.
    pub(super) fn new(condition: &Arc<Condition>, chunks: Vec<Arc<Chunk>>) -> DfResult<Self> {
        let by = match chunks.as_slice() {
            [chunk] => match by_integers(condition, chunk) {
                Some(by) => by,
                None => by_domain(condition, chunk)?,
            },
            _ => By::Rows,
        };
        Ok(Self {
            condition: Arc::clone(condition),
            chunks,
            by,
        })
    }

    /// What it costs a row, roughly: cheap ones go first.
    pub(super) fn cost(&self) -> usize {
        match self.by {
            By::Range(_) | By::OtherThan(_) => 0,
            By::Domain { .. } => 1,
            By::Rows => 1 + self.chunks.len() + if self.condition.usefulness.is_some() { 100 } else { 0 },
        }
    }

    /// Whether it mostly sees from a block's bounds that no row passes.
    pub(super) fn is_of_bounds(&self) -> bool {
        matches!(self.by, By::Range(_))
    }

    /// Those of a block's selected rows that pass.
    pub(super) fn select(&self, block: usize, block_rows: usize, before: &Selected) -> DfResult<Selected> {
        let count_before = before.count(block_rows);
        if count_before == 0 {
            return Ok(Selected::None);
        }
        let Some(usefulness) = &self.condition.usefulness else {
            return self.answer(block, block_rows, before);
        };
        // The others cost next to nothing.
        let is_dear = matches!(self.by, By::Rows);
        if is_dear && !usefulness.is_worth_asking() {
            return Ok(before.clone());
        }
        let after = self.answer(block, block_rows, before)?;
        let count_after = after.count(block_rows);
        if is_dear {
            usefulness.note(count_before, count_after);
        }
        // Picking almost all rows one by one costs more than what comes after would.
        match count_after * 10 > count_before * 9 {
            true => Ok(before.clone()),
            false => Ok(after),
        }
    }

    fn answer(&self, block: usize, block_rows: usize, before: &Selected) -> DfResult<Selected> {
        let chunk = self.chunks.first();
        let answer = match (&self.by, chunk) {
            (By::Range(range), Some(chunk)) => chunk.select_range(block, range),
            (By::OtherThan(value), Some(chunk)) => chunk.select_other_than(block, *value),
            (
                By::Domain {
                    passes,
                    least,
                    null_passes,
                },
                Some(chunk),
            ) => Some(chunk.select_in_domain(block, passes, *least, *null_passes)),
            _ => None,
        };
        match answer {
            Some(answer) => Ok(before.and(&answer)),
            None => self.answer_rows(block, block_rows, before),
        }
    }

    fn answer_rows(&self, block: usize, block_rows: usize, before: &Selected) -> DfResult<Selected> {
        let read = |rows: Option<&[u32]>| -> Result<Vec<ArrayRef>> {
            self.chunks.iter().map(|chunk| chunk.read(block, rows)).collect()
        };
        match before {
            Selected::Some(rows) if rows.count_set_bits() * 2 < block_rows => {
                let picked: Vec<u32> = rows.set_indices_u32().collect();
                let passed = self.condition.ask(read(Some(&picked))?, picked.len())?;
                let mut rows = arrow::array::BooleanBufferBuilder::new(block_rows);
                rows.append_n(block_rows, false);
                for row in passed.set_indices() {
                    rows.set_bit(picked[row] as usize, true);
                }
                Ok(Selected::of(rows.finish()))
            }
            _ => {
                let passed = self.condition.ask(read(None)?, block_rows)?;
                Ok(before.and(&Selected::of(passed)))
            }
        }
    }
}

fn by_integers(condition: &Condition, chunk: &Chunk) -> Option<By> {
    let Comparison {
        operator,
        literal,
        null_passes,
    } = condition.comparison.as_ref()?;
    if !chunk.is_integers() || (*null_passes && chunk.has_nulls()) {
        return None;
    }
    if let ScalarValue::Decimal128(Some(value), _, _) = literal
        && i64::try_from(*value).is_err()
    {
        return None;
    }
    let value = scalar_as_integer(literal, chunk.data_type())?;
    // An empty range where there is no number beyond.
    let none = || RangeInclusive::new(1, 0);
    Some(By::Range(match operator {
        Operator::Eq => value..=value,
        Operator::NotEq => return Some(By::OtherThan(value)),
        Operator::Lt => value.checked_sub(1).map_or_else(none, |last| i64::MIN..=last),
        Operator::LtEq => i64::MIN..=value,
        Operator::Gt => value.checked_add(1).map_or_else(none, |first| first..=i64::MAX),
        Operator::GtEq => value..=i64::MAX,
        _ => return None,
    }))
}

fn by_domain(condition: &Condition, chunk: &Chunk) -> DfResult<By> {
    let Some(domain) = chunk.domain() else {
        return Ok(By::Rows);
    };
    // Those that change while the scan runs are asked of the whole domain again and again.
    if let Domain::Texts(texts) = domain
        && condition.usefulness.is_some()
        && texts.len() > BLOCK_ROWS
    {
        return Ok(By::Rows);
    }
    let values = domain_values(&domain, chunk.data_type())?;
    let rows = values.len();
    let answers = condition.ask(vec![values], rows)?;
    Ok(By::Domain {
        passes: answers.iter().collect(),
        least: match domain {
            Domain::Integers(range) => *range.start(),
            Domain::Texts(_) => 0,
        },
        null_passes: rows > 0 && answers.value(rows - 1),
    })
}

/// How many rows a dynamic filter was asked of, and how many passed.
#[derive(Debug, Default)]
pub(super) struct Usefulness {
    asked: AtomicU64,
    passed: AtomicU64,
    left_out: AtomicU64,
}

/// Rows that are looked at before a filter is judged.
const ROWS_TO_JUDGE: u64 = 32 << 10;

/// A filter that is left out is tried again after so many blocks.
const BLOCKS_LEFT_OUT: u64 = 64;

impl Usefulness {
    fn note(&self, asked: usize, passed: usize) {
        self.asked.fetch_add(asked as u64, Ordering::Relaxed);
        self.passed.fetch_add(passed as u64, Ordering::Relaxed);
    }

    fn is_worth_asking(&self) -> bool {
        let (asked, passed) = (self.asked.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed));
        if asked < ROWS_TO_JUDGE || passed * 10 < asked * 6 {
            return true;
        }
        self.left_out.fetch_add(1, Ordering::Relaxed) % BLOCKS_LEFT_OUT == BLOCKS_LEFT_OUT - 1
    }
}

/// The type of a scan's conditions and what they are about, for a filter that changes while the scan runs.
pub(super) struct Dynamic {
    filter: Arc<dyn PhysicalExpr>,
    usefulness: Arc<Usefulness>,
    /// The state the conditions were made of.
    generation: u64,
}

impl Dynamic {
    pub(super) fn new(filter: &Arc<dyn PhysicalExpr>, usefulness: &Arc<Usefulness>) -> Self {
        Self {
            filter: Arc::clone(filter),
            usefulness: Arc::clone(usefulness),
            generation: 0,
        }
    }

    pub(super) fn has_changed(&self) -> bool {
        self.filter.snapshot_generation() != self.generation
    }

    /// Whether it leaves out anything by now.
    pub(super) fn says_something(&self) -> bool {
        let Some(filter) = self.filter.downcast_ref::<DynamicFilterPhysicalExpr>() else {
            return true;
        };
        filter.current().is_ok_and(|current| !current.is::<Literal>())
    }

    /// Its conditions now.
    pub(super) fn conditions(&mut self, file: &Schema) -> DfResult<Vec<Arc<Condition>>> {
        self.generation = self.filter.snapshot_generation();
        let current = match self.filter.downcast_ref::<DynamicFilterPhysicalExpr>() {
            Some(filter) => filter.current()?,
            None => Arc::clone(&self.filter),
        };
        let parts = datafusion::physical_expr::split_conjunction(&current);
        let mut conditions = Vec::new();
        for part in parts {
            for condition in implied(part).iter().chain([part]) {
                conditions.push(Arc::new(Condition::new(condition, file, Some(&self.usefulness))?));
            }
        }
        Ok(conditions)
    }
}
