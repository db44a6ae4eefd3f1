//! Ordered-set aggregates that pick a value: `percentile_disc(f) within group (order by x)` and `mode()`; and `percentile_cont(f)`,
//! which is a value between two (DataFusion's is that but for a millionth of what they differ by).
//!
//! All values of a group are kept, as PostgreSQL keeps them; NULLs are left out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, concat, is_not_null, sort_to_indices};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_plan::expressions::Literal;
use datafusion::scalar::ScalarValue;

use super::native::no_such_call;
use crate::error::{Error, ErrorKind, Result};

pub(super) fn functions() -> impl Iterator<Item = AggregateUDF> {
    [Kind::PercentileCont, Kind::PercentileDisc, Kind::Mode]
        .into_iter()
        .map(|kind| {
            let signature = Signature::user_defined(Volatility::Immutable);
            AggregateUDF::from(Picked { kind, signature })
        })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    PercentileCont,
    PercentileDisc,
    Mode,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Picked {
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Picked {
    fn name(&self) -> &str {
        match self.kind {
            Kind::PercentileCont => "percentile_cont",
            Kind::PercentileDisc => "percentile_disc",
            Kind::Mode => "mode",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The ordered value comes first, then what stands in the parentheses.
    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match (self.kind, types) {
            (Kind::PercentileCont, [value, fraction])
                if [value, fraction]
                    .iter()
                    .all(|ty| ty.is_numeric() || **ty == DataType::Null) =>
            {
                Ok(vec![DataType::Float64, DataType::Float64])
            }
            (Kind::PercentileDisc, [value, fraction]) if fraction.is_numeric() => {
                Ok(vec![value.clone(), DataType::Float64])
            }
            (Kind::Mode, [value]) => Ok(vec![value.clone()]),
            _ => Err(no_such_call(self.name(), types).into()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        match types.first() {
            Some(value) => Ok(value.clone()),
            None => Err(no_such_call(self.name(), types).into()),
        }
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(Error::unsupported("DISTINCT in an ordered-set aggregate is not supported").into());
        }
        let descending = args.order_bys.first().is_some_and(|key| key.options.descending);
        let pick = match self.kind {
            Kind::Mode => Pick::Mode,
            Kind::PercentileCont => Pick::Between(fraction(&args, "percentile_cont")?),
            Kind::PercentileDisc => Pick::Share(fraction(&args, "percentile_disc")?),
        };
        let Some(value) = args.expr_fields.first() else {
            return Err(Error::internal("an ordered value is checked").into());
        };
        Ok(Box::new(Values {
            pick,
            descending,
            data_type: value.data_type().clone(),
            batches: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let Some(value) = args.input_fields.first() else {
            return Err(Error::internal("an ordered value is checked").into());
        };
        let list = DataType::List(element(value.data_type()));
        Ok(vec![Arc::new(Field::new(format!("{}[values]", args.name), list, true))])
    }
}

fn element(ty: &DataType) -> FieldRef {
    Arc::new(Field::new("item", ty.clone(), true))
}

/// The fraction is one for all groups: a constant from 0 to 1.
fn fraction(args: &AccumulatorArgs<'_>, name: &str) -> Result<Option<f64>> {
    let constant = args
        .exprs
        .get(1)
        .and_then(|expression| expression.downcast_ref::<Literal>());
    let Some(constant) = constant else {
        let message = format!("{name}() with a fraction that is not a constant is not supported");
        return Err(Error::unsupported(message));
    };
    let ScalarValue::Float64(fraction) = constant.value().cast_to(&DataType::Float64)? else {
        return Err(Error::internal("a fraction is a number"));
    };
    match fraction {
        Some(fraction) if !(0.0..=1.0).contains(&fraction) => Err(Error::new(
            ErrorKind::NumericOutOfRange,
            format!("percentile value {fraction} is not between 0 and 1"),
        )),
        fraction => Ok(fraction),
    }
}

#[derive(Debug)]
enum Pick {
    /// Between the two values that are nearest to this share of the ordered values.
    Between(Option<f64>),
    /// The value at this share of the ordered values; NULL for none.
    Share(Option<f64>),
    /// The most frequent value, the first of several.
    Mode,
}

#[derive(Debug)]
struct Values {
    pick: Pick,
    descending: bool,
    data_type: DataType,
    batches: Vec<ArrayRef>,
}

impl Values {
    fn all(&self) -> Result<ArrayRef> {
        if self.batches.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.data_type));
        }
        let batches: Vec<&dyn Array> = self.batches.iter().map(AsRef::as_ref).collect();
        Ok(concat(&batches)?)
    }

    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let kept = if values.null_count() == 0 {
            Arc::clone(values)
        } else {
            arrow::compute::filter(values, &is_not_null(values)?)?
        };
        if !kept.is_empty() {
            self.batches.push(kept);
        }
        Ok(())
    }

    fn picked(&self) -> Result<ScalarValue> {
        let values = self.all()?;
        let options = SortOptions {
            descending: self.descending,
            nulls_first: false,
        };
        let order = sort_to_indices(&values, Some(options), None)?;
        let count = order.len();
        let position = match self.pick {
            _ if count == 0 => None,
            Pick::Between(share) => {
                return Ok(ScalarValue::Float64(
                    share.map(|share| between(&values, order.values(), share)),
                ));
            }
            Pick::Share(share) => share.map(|share| ((share * count as f64).ceil() as usize).clamp(1, count) - 1),
            Pick::Mode => Some(longest_run(&values, order.values())?),
        };
        match position {
            Some(position) => Ok(ScalarValue::try_from_array(&values, order.value(position) as usize)?),
            None => Ok(ScalarValue::try_new_null(&self.data_type)?),
        }
    }
}

/// `float8_lerp`
fn between(values: &ArrayRef, order: &[u32], share: f64) -> f64 {
    let value = |at: f64| values.as_primitive::<Float64Type>().value(order[at as usize] as usize);
    let at = share * (order.len() - 1) as f64;
    let (low, high) = (value(at.floor()), value(at.ceil()));
    if at.floor() == at.ceil() {
        return low;
    }
    low + (at - at.floor()) * (high - low)
}

/// Where the longest run of equal values begins.
fn longest_run(values: &ArrayRef, order: &[u32]) -> Result<usize> {
    let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
    let rows = converter.convert_columns(&[Arc::clone(values)])?;
    let (mut best, mut best_length, mut start) = (0, 0, 0);
    for at in 0..order.len() {
        if rows.row(order[at] as usize) != rows.row(order[start] as usize) {
            start = at;
        }
        if at - start + 1 > best_length {
            (best, best_length) = (start, at - start + 1);
        }
    }
    Ok(best)
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        match values.first() {
            Some(values) => Ok(self.add(values)?),
            None => Ok(()),
        }
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(self.picked()?)
    }

    fn size(&self) -> usize {
        let values: usize = self.batches.iter().map(|batch| batch.get_array_memory_size()).sum();
        size_of_val(self) + values
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let values = self.all()?;
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        let list = ListArray::try_new(element(&self.data_type), offsets, values, None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let Some(states) = states.first() else { return Ok(()) };
        for values in states.as_list::<i32>().iter().flatten() {
            self.add(&values)?;
        }
        Ok(())
    }
}
