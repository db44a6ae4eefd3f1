//! Aggregates over pairs of floats (`corr`, `covar_pop`, `regr_slope`, …): the sums of PostgreSQL's `float8_regr_accum`, with
//! its overflows and what it makes of infinity. DataFusion's know neither.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::math::is_number;
use super::native::no_such_call;
use crate::error::{Error, ErrorKind, Result};

/// What is made of the sums; `None` is NULL.
type Finish = fn(&Sums) -> Option<f64>;

const FUNCTIONS: &[(&str, Finish)] = &[
    ("corr", |sums| {
        let varies = sums.xx != 0.0 && sums.yy != 0.0;
        varies.then(|| sums.xy / (sums.xx * sums.yy).sqrt())
    }),
    ("covar_pop", |sums| Some(sums.xy / sums.count)),
    ("covar_samp", |sums| {
        (sums.count > 1.0).then(|| sums.xy / (sums.count - 1.0))
    }),
    ("regr_avgx", |sums| Some(sums.x / sums.count)),
    ("regr_avgy", |sums| Some(sums.y / sums.count)),
    ("regr_intercept", |sums| {
        (sums.xx != 0.0).then(|| (sums.y - sums.x * sums.xy / sums.xx) / sums.count)
    }),
    ("regr_r2", |sums| match (sums.xx == 0.0, sums.yy == 0.0) {
        (true, _) => None,
        (_, true) => Some(1.0),
        _ => Some((sums.xy * sums.xy) / (sums.xx * sums.yy)),
    }),
    ("regr_slope", |sums| (sums.xx != 0.0).then(|| sums.xy / sums.xx)),
    ("regr_sxx", |sums| Some(sums.xx)),
    ("regr_sxy", |sums| Some(sums.xy)),
    ("regr_syy", |sums| Some(sums.yy)),
];

pub(super) fn functions() -> impl Iterator<Item = AggregateUDF> {
    FUNCTIONS.iter().map(|(name, _)| {
        AggregateUDF::from(OfPairs {
            name,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfPairs {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for OfPairs {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match types {
            [y, x] if is_number(y) && is_number(x) => Ok(vec![DataType::Float64; 2]),
            _ => Err(no_such_call(self.name, types).into()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, _args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let field = |name: &str| Arc::new(Field::new(format!("{} {name}", self.name), DataType::Float64, true));
        Ok(["count", "x", "xx", "y", "yy", "xy"].map(field).to_vec())
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let found = FUNCTIONS.iter().find(|(name, _)| *name == self.name);
        let (_, finish) = found.ok_or_else(|| Error::internal("a function of pairs has a name"))?;
        Ok(Box::new(Pairs {
            finish: *finish,
            sums: Sums::default(),
        }))
    }
}

/// Of so many pairs: their sums, and the sums of squares and products of what they differ from their averages by.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    x: f64,
    xx: f64,
    y: f64,
    yy: f64,
    xy: f64,
}

fn overflow() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow")
}

impl Sums {
    fn add(&mut self, x: f64, y: f64) -> Result<()> {
        let before = *self;
        self.count += 1.0;
        self.x += x;
        self.y += y;
        if before.count == 0.0 {
            // Infinity and NaN differ from every average by NaN.
            if !x.is_finite() {
                (self.xx, self.xy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (self.yy, self.xy) = (f64::NAN, f64::NAN);
            }
            return Ok(());
        }
        let (by_x, by_y) = (x * self.count - self.x, y * self.count - self.y);
        let scale = 1.0 / (self.count * before.count);
        self.xx += by_x * by_x * scale;
        self.yy += by_y * by_y * scale;
        self.xy += by_x * by_y * scale;
        let was_finite = |sum: f64, value: f64| !sum.is_infinite() && !value.is_infinite();
        let (finite_x, finite_y) = (was_finite(before.x, x), was_finite(before.y, y));
        if (self.x.is_infinite() || self.xx.is_infinite()) && finite_x
            || (self.y.is_infinite() || self.yy.is_infinite()) && finite_y
            || self.xy.is_infinite() && finite_x && finite_y
        {
            return Err(overflow());
        }
        for sum in [&mut self.xx, &mut self.yy, &mut self.xy] {
            if sum.is_infinite() {
                *sum = f64::NAN;
            }
        }
        Ok(())
    }

    /// `float8_regr_combine`
    fn combined(self, other: Self) -> Result<Self> {
        if self.count == 0.0 || other.count == 0.0 {
            return Ok(if self.count == 0.0 { other } else { self });
        }
        let count = self.count + other.count;
        let by_x = self.x / self.count - other.x / other.count;
        let by_y = self.y / self.count - other.y / other.count;
        let weight = self.count * other.count;
        let combined = Self {
            count,
            x: self.x + other.x,
            xx: self.xx + other.xx + weight * by_x * by_x / count,
            y: self.y + other.y,
            yy: self.yy + other.yy + weight * by_y * by_y / count,
            xy: self.xy + other.xy + weight * by_x * by_y / count,
        };
        let parts = |sums: &Self| [sums.x, sums.xx, sums.y, sums.yy, sums.xy];
        let was_infinite = parts(&self).into_iter().chain(parts(&other)).any(f64::is_infinite);
        if !was_infinite && parts(&combined).into_iter().any(f64::is_infinite) {
            return Err(overflow());
        }
        Ok(combined)
    }
}

#[derive(Debug)]
struct Pairs {
    finish: Finish,
    sums: Sums,
}

impl Accumulator for Pairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let (y, x) = (
            values[0].as_primitive::<Float64Type>(),
            values[1].as_primitive::<Float64Type>(),
        );
        for row in 0..y.len() {
            if y.is_valid(row) && x.is_valid(row) {
                self.sums.add(x.value(row), y.value(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let value = match self.sums.count > 0.0 {
            true => (self.finish)(&self.sums),
            false => None,
        };
        // One NaN: of two that differ in their sign one would be less than all numbers.
        Ok(ScalarValue::Float64(
            value.map(|value| if value.is_nan() { f64::NAN } else { value }),
        ))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let Sums {
            count,
            x,
            xx,
            y,
            yy,
            xy,
        } = self.sums;
        Ok([count, x, xx, y, yy, xy]
            .map(|part| ScalarValue::Float64(Some(part)))
            .to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let parts: Vec<_> = states.iter().map(|part| part.as_primitive::<Float64Type>()).collect();
        for row in 0..parts[0].len() {
            let part = |at: usize| parts[at].value(row);
            let other = Sums {
                count: part(0),
                x: part(1),
                xx: part(2),
                y: part(3),
                yy: part(4),
                xy: part(5),
            };
            self.sums = self.sums.combined(other)?;
        }
        Ok(())
    }
}
