//! Sums and counts of groups, in 64 bits.
//!
//! The bound of a batch's numbers times its rows says how far from zero a total may come. For as long as no total can leave 64 bits,
//! numbers are added up without a check. When one could, all totals go to DataFusion's accumulator, which knows what follows
//! from large numbers, and begin anew at zero. So do the rows of a batch whose numbers do not fit. Mostly none does, and that accumulator has
//! nothing to do.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Literal};

use crate::decimal::{Numbers, Program, Value, Values};

/// Of so few groups each has several totals: the next row need not wait for the one before.
const FEW_GROUPS: usize = 64;
const LANES: usize = 4;

/// The totals of one function.
pub(crate) struct Totals {
    counted: Counted,
    /// Of a partial result.
    data_type: DataType,
    totals: Vec<i64>,
    /// Groups of which a number was added up; `None`: all.
    seen: Option<Vec<bool>>,
    /// No total is further from zero.
    bound: i64,
    /// Since the totals were zero.
    rows: usize,
    /// Whether DataFusion's accumulator has a part of it.
    is_shared: bool,
    /// Whether that has all that comes.
    is_over: bool,
}

enum Counted {
    Rows,
    /// Those that are not null.
    Values(PhysicalExprRef),
    /// A program's step is added up.
    Sum(usize),
}

impl Totals {
    /// For a function that adds up its arguments, or what others have added up; these come from `program`.
    pub(crate) fn of(
        function: &AggregateFunctionExpr,
        arguments: &[PhysicalExprRef],
        is_partial: bool,
        schema: &Schema,
        program: &mut Program,
    ) -> Result<Option<Self>> {
        let states = function.state_fields()?;
        let ([argument], [state]) = (arguments, states.as_slice()) else {
            return Ok(None);
        };
        if function.is_distinct() || !is_own(state.data_type()) || !is_own(function.field().data_type()) {
            return Ok(None);
        }
        let counted = match function.fun().name() {
            "count" if is_partial => {
                let is_row = match argument.downcast_ref::<Literal>() {
                    Some(literal) => !literal.value().is_null(),
                    None => !argument.nullable(schema)?,
                };
                match is_row {
                    true => Counted::Rows,
                    false => Counted::Values(Arc::clone(argument)),
                }
            }
            "sum" | "count" => {
                let data_type = argument.data_type(schema)?;
                let is_alike = match (&data_type, state.data_type()) {
                    (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
                    (argument, state) => argument == state,
                };
                if !is_alike {
                    return Ok(None);
                }
                let tree = program.add(argument, schema)?;
                Counted::Sum(match tree {
                    Some(step) => step,
                    None => program.add_leaf(&uncast(argument, schema)?),
                })
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            counted,
            data_type: state.data_type().clone(),
            totals: Vec::new(),
            seen: None,
            bound: 0,
            rows: 0,
            is_shared: false,
            is_over: false,
        }))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<i64>() + self.seen.as_ref().map_or(0, Vec::capacity)
    }

    /// What is asked of the batch besides numbers.
    pub(crate) fn counted_values(&self) -> Option<&PhysicalExprRef> {
        match &self.counted {
            Counted::Values(values) => Some(values),
            _ => None,
        }
    }

    /// Adds the rows of a batch, whose groups are among so many. False when the accumulator has to take them.
    pub(crate) fn add(
        &mut self,
        values: &mut Values<'_>,
        of_rows: &[usize],
        groups: usize,
        accumulator: &mut dyn GroupsAccumulator,
    ) -> Result<bool> {
        let before = self.totals.len();
        let step = match &self.counted {
            Counted::Sum(step) => *step,
            Counted::Rows => {
                self.totals.resize(groups, 0);
                add_up(&mut self.totals, of_rows, |_| 1);
                return Ok(true);
            }
            Counted::Values(counted) => {
                let counted = counted.evaluate(values.batch)?.into_array(of_rows.len())?;
                let nulls = counted.logical_nulls();
                self.totals.resize(groups, 0);
                match nulls {
                    None => add_up(&mut self.totals, of_rows, |_| 1),
                    Some(nulls) => add_up(&mut self.totals, of_rows, |row| i64::from(nulls.is_valid(row))),
                }
                return Ok(true);
            }
        };
        if self.is_over {
            return Ok(false);
        }
        let added = values.of(step)?.and_then(|value| {
            let added = value.bound.checked_mul(i64::try_from(of_rows.len()).ok()?)?;
            Some((value, added))
        });
        let Some((value, added)) = added else {
            self.leave_out(accumulator)?;
            return Ok(false);
        };
        self.bound = match self.bound.checked_add(added) {
            Some(bound) => bound,
            None => {
                self.flush(groups, accumulator)?;
                if self.is_over {
                    return Ok(false);
                }
                added
            }
        };
        self.rows += of_rows.len();
        self.totals.resize(groups, 0);
        self.take_note(&value, of_rows, before);
        match (value.numbers, value.nulls) {
            (Numbers::Rows(numbers), None) => add_up(&mut self.totals, of_rows, |row| numbers[row]),
            (Numbers::Constant(number), None) => add_up(&mut self.totals, of_rows, |_| number),
            (Numbers::Rows(numbers), Some(nulls)) => {
                add_up(&mut self.totals, of_rows, |row| match nulls.is_valid(row) {
                    true => numbers[row],
                    false => 0,
                })
            }
            (Numbers::Constant(number), Some(nulls)) => {
                add_up(&mut self.totals, of_rows, |row| i64::from(nulls.is_valid(row)) * number);
            }
        }
        Ok(true)
    }

    /// Of which groups a number is among these.
    fn take_note(&mut self, value: &Value, of_rows: &[usize], before: usize) {
        if value.nulls.is_some() {
            self.seen.get_or_insert_with(|| vec![true; before]);
        }
        let Some(seen) = &mut self.seen else {
            return;
        };
        seen.resize(self.totals.len(), false);
        for (row, group) in of_rows.iter().enumerate() {
            seen[*group] |= value.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        }
    }

    /// Hands the totals to the accumulator, which has to hear of all groups: they begin anew.
    fn flush(&mut self, groups: usize, accumulator: &mut dyn GroupsAccumulator) -> Result<()> {
        self.make_room(groups);
        let partial = self.array(&self.data_type.clone())?;
        accumulator.merge_batch(&[partial], &(0..groups).collect::<Vec<_>>(), groups)?;
        self.is_shared = true;
        // Where they grow too fast for 64 bits nothing is won.
        self.is_over = self.rows < groups;
        match self.is_over {
            true => self.seen = None,
            false => self.totals = vec![0; groups],
        }
        (self.rows, self.bound) = (0, 0);
        Ok(())
    }

    /// Rows go to the accumulator. It has to hear of the groups before them: it takes those it does not know for groups of these rows.
    fn leave_out(&mut self, accumulator: &mut dyn GroupsAccumulator) -> Result<()> {
        let groups = self.totals.len();
        if self.rows > 0 {
            self.flush(groups, accumulator)?;
        }
        self.is_shared = true;
        if !self.is_over {
            // There may be groups none of whose numbers comes here.
            self.seen.get_or_insert_with(|| vec![true; groups]);
        }
        Ok(())
    }

    /// For groups none of whose numbers is here.
    fn make_room(&mut self, groups: usize) {
        let before = self.totals.len();
        if before < groups {
            self.seen
                .get_or_insert_with(|| vec![true; before])
                .resize(groups, false);
            self.totals.resize(groups, 0);
        }
    }

    /// The totals of all groups, which are forgotten; none if the accumulator has them.
    pub(crate) fn take(
        &mut self,
        groups: usize,
        data_type: &DataType,
        accumulator: &mut dyn GroupsAccumulator,
    ) -> Result<Option<ArrayRef>> {
        if !self.is_shared {
            return self.array(data_type).map(Some);
        }
        if !self.is_over {
            self.flush(groups, accumulator)?;
        }
        Ok(None)
    }

    fn array(&mut self, data_type: &DataType) -> Result<ArrayRef> {
        let totals = std::mem::take(&mut self.totals);
        let nulls = self.seen.as_deref().map(NullBuffer::from);
        Ok(match data_type {
            DataType::Int64 => Arc::new(Int64Array::try_new(totals.into(), nulls)?),
            DataType::Decimal128(precision, scale) => {
                let totals: Vec<i128> = totals.into_iter().map(i128::from).collect();
                let totals = Decimal128Array::try_new(totals.into(), nulls)?;
                Arc::new(totals.with_precision_and_scale(*precision, *scale)?)
            }
            other => return internal_err!("{other} is no type of totals"),
        })
    }
}

fn is_own(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::Decimal128(..))
}

/// Whole numbers before they were widened.
fn uncast(argument: &PhysicalExprRef, schema: &Schema) -> Result<PhysicalExprRef> {
    let Some(cast) = argument.downcast_ref::<CastExpr>() else {
        return Ok(Arc::clone(argument));
    };
    let digits = match cast.expr().data_type(schema)? {
        DataType::Int16 => 5,
        DataType::Int32 => 10,
        DataType::Int64 => 19,
        _ => return Ok(Arc::clone(argument)),
    };
    Ok(match cast.cast_type() {
        DataType::Int64 => Arc::clone(cast.expr()),
        DataType::Decimal128(precision, 0) if *precision >= digits => Arc::clone(cast.expr()),
        _ => Arc::clone(argument),
    })
}

/// Adds each row's number to the total of its group.
fn add_up(totals: &mut [i64], of_rows: &[usize], number: impl Fn(usize) -> i64) {
    let one_by_one = |totals: &mut [i64], from: usize| {
        for (row, group) in of_rows.iter().enumerate().skip(from) {
            totals[*group] = totals[*group].wrapping_add(number(row));
        }
    };
    if totals.len() > FEW_GROUPS || of_rows.len() < FEW_GROUPS * LANES {
        return one_by_one(totals, 0);
    }
    let mut lanes = [[0_i64; FEW_GROUPS]; LANES];
    for (chunk, groups) in of_rows.chunks_exact(LANES).enumerate() {
        for (lane, group) in groups.iter().enumerate() {
            let total = &mut lanes[lane][group % FEW_GROUPS];
            *total = total.wrapping_add(number(chunk * LANES + lane));
        }
    }
    one_by_one(totals, of_rows.len() / LANES * LANES);
    for lane in lanes {
        for (total, more) in totals.iter_mut().zip(lane) {
            *total = total.wrapping_add(more);
        }
    }
}
