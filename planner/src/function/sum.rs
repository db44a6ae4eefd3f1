//! `sum` of numerics whose total may have more than 38 digits: it fails then, where DataFusion's wraps around. Totals that
//! surely have fewer stay DataFusion's. And `sum` of floats, which fails where finite ones would make infinity.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::{sum, sum_checked};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Float64Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use super::math::numeric_overflow;
use crate::error::{Error, ErrorKind, Result};

/// For `Decimal128` and `Float64`, without DISTINCT, and not over a window's moving frame.
pub(crate) fn checked_sum() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(AggregateUDF::from(CheckedSum { signature }))
    });
    Arc::clone(&FUNCTION)
}

/// Stands for a total that is too large, and for all that it is added to. No numeric has so many digits.
const TOO_LARGE: i128 = i128::MAX;
/// 38 nines.
const LARGEST: u128 = 10_u128.pow(DECIMAL128_MAX_PRECISION as u32) - 1;

fn add(total: &mut i128, value: i128) {
    *total = match total.checked_add(value) {
        Some(sum) if *total != TOO_LARGE && value != TOO_LARGE => sum,
        _ => TOO_LARGE,
    };
}

/// Stands for a total of floats that is too large: a NaN that no computation gives.
const OVERFLOWN: u64 = 0x7ff8_dead_beef_0001;

fn add_float(total: &mut f64, value: f64) {
    let sum = *total + value;
    if sum.is_finite() {
        *total = sum;
        return;
    }
    let is_overflown =
        total.to_bits() == OVERFLOWN || value.to_bits() == OVERFLOWN || total.is_finite() && value.is_finite();
    *total = if is_overflown { f64::from_bits(OVERFLOWN) } else { sum };
}

fn check_float(total: f64) -> Result<()> {
    match total.to_bits() == OVERFLOWN {
        true => Err(Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow")),
        false => Ok(()),
    }
}

fn check(total: i128) -> Result<()> {
    match total.unsigned_abs() > LARGEST {
        true => Err(numeric_overflow()),
        false => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    signature: Signature,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        sum_udaf().return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        if args.return_field.data_type() == &DataType::Float64 {
            return Ok(Box::new(FloatTotal(None)));
        }
        Ok(Box::new(Total {
            ty: args.return_field.data_type().clone(),
            sum: None,
        }))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        let ty = args.return_field.data_type();
        if ty == &DataType::Float64 {
            let sums = PrimitiveGroupsAccumulator::<Float64Type, _>::new(ty, add_float).with_starting_value(-0.0);
            return Ok(Box::new(Totals(sums)));
        }
        let sums = PrimitiveGroupsAccumulator::<Decimal128Type, _>::new(ty, add);
        Ok(Box::new(Totals(sums)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct Total {
    ty: DataType,
    sum: Option<i128>,
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let values = values[0].as_primitive::<Decimal128Type>();
        let Some(more) = sum_checked(values).map_err(|_| numeric_overflow())? else {
            return Ok(());
        };
        let sum = self.sum.unwrap_or(0).checked_add(more).ok_or_else(numeric_overflow)?;
        self.sum = Some(sum);
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.sum.map_or(Ok(()), check)?;
        ScalarValue::new_primitive::<Decimal128Type>(self.sum, &self.ty)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.update_batch(states)
    }
}

#[derive(Debug)]
struct FloatTotal(Option<f64>);

impl Accumulator for FloatTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let values = values[0].as_primitive::<Float64Type>();
        let Some(mut more) = sum(values) else { return Ok(()) };
        // Those of a vector are added to 0.
        if more == 0.0
            && values
                .iter()
                .flatten()
                .all(|value| value == 0.0 && value.is_sign_negative())
        {
            more = -0.0;
        }
        let total = self.0.get_or_insert(-0.0);
        let is_overflown = |total: f64| total.is_finite() && values.iter().flatten().all(f64::is_finite);
        match (*total + more).is_finite() {
            true => *total += more,
            false if is_overflown(*total) => *total = f64::from_bits(OVERFLOWN),
            false => add_float(total, more),
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.0.map_or(Ok(()), check_float)?;
        Ok(ScalarValue::Float64(self.0))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.update_batch(states)
    }
}

/// The totals of all groups.
struct Totals<A>(A);

impl<A: GroupsAccumulator> GroupsAccumulator for Totals<A> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> DataFusionResult<()> {
        self.0.update_batch(values, groups, filter, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let totals = self.0.evaluate(emit_to)?;
        // What is under a NULL is zero, positive or negative.
        match totals.as_primitive_opt::<Float64Type>() {
            Some(floats) => floats.values().iter().try_for_each(|total| check_float(*total))?,
            None => {
                let totals = totals.as_primitive::<Decimal128Type>();
                totals.values().iter().try_for_each(|total| check(*total))?;
            }
        }
        Ok(totals)
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> DataFusionResult<()> {
        self.0.merge_batch(values, groups, count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        self.0.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_stays_so() {
        let largest = LARGEST as i128;
        let sum_of = |values: &[i128]| {
            let mut total = 0;
            values.iter().for_each(|value| add(&mut total, *value));
            check(total).ok().map(|()| total)
        };
        assert_eq!(sum_of(&[largest, -1]), Some(largest - 1));
        assert_eq!(sum_of(&[largest, 1]), None);
        assert_eq!(sum_of(&[largest, 1, -2]), Some(largest - 1));
        assert_eq!(sum_of(&[largest, largest, -largest, -largest]), None);
        assert_eq!(sum_of(&[-largest, -largest, 5]), None);
        assert_eq!(sum_of(&[TOO_LARGE, -largest]), None);
    }

    #[test]
    fn floats_overflow_once() {
        let sum_of = |values: &[f64]| {
            let mut total = 0.0;
            values.iter().for_each(|value| add_float(&mut total, *value));
            check_float(total).ok().map(|()| total)
        };
        assert_eq!(sum_of(&[f64::MAX, 1.0]), Some(f64::MAX));
        assert_eq!(sum_of(&[f64::MAX, f64::MAX]), None);
        assert_eq!(sum_of(&[f64::MAX, f64::MAX, f64::NEG_INFINITY]), None);
        assert_eq!(sum_of(&[f64::MAX, f64::INFINITY, f64::MAX]), Some(f64::INFINITY));
        assert!(sum_of(&[f64::INFINITY, f64::NEG_INFINITY]).is_some_and(f64::is_nan));
    }
}
