//! Sums, averages and variances of floats over the moving frames of windows.
//!
//! DataFusion takes out again what leaves a frame: after a large value has left, nothing is left of the small ones. These are
//! computed anew from the values in the frame, row after row and with PostgreSQL's formulas (`float8_accum`).

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature};
use datafusion::scalar::ScalarValue;

use super::aggregate::NumberAggregate;
use crate::error::{Error, ErrorKind, Result};

/// The aggregate of `double precision` that a window function calls.
pub(crate) fn over_moving_frames(kind: NumberAggregate) -> Arc<AggregateUDF> {
    let native = kind.native();
    Arc::new(AggregateUDF::from(Moving { kind, native }))
}

/// DataFusion's, but for frames that move.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Moving {
    kind: NumberAggregate,
    native: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Moving {
    fn name(&self) -> &str {
        self.native.name()
    }

    fn signature(&self) -> &Signature {
        self.native.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.native.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.native.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        self.native.accumulator(args)
    }

    fn create_sliding_accumulator(&self, _args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        Ok(Box::new(Frame {
            kind: self.kind,
            values: VecDeque::new(),
        }))
    }

    fn default_value(&self, ty: &DataType) -> DataFusionResult<ScalarValue> {
        self.native.default_value(ty)
    }
}

/// The values in the frame.
#[derive(Debug)]
struct Frame {
    kind: NumberAggregate,
    values: VecDeque<f64>,
}

impl Frame {
    fn computed(&self) -> Result<Option<f64>> {
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        let has_squares = matches!(self.kind, NumberAggregate::Variance { .. });
        for &value in &self.values {
            count += 1.0;
            sum += value;
            if has_squares && count > 1.0 {
                let off: f64 = value * count - sum;
                squares += off * off / (count * (count - 1.0));
            }
        }
        let is_finite = self.values.iter().all(|value| value.is_finite());
        if is_finite && !(sum.is_finite() && squares.is_finite()) {
            return Err(Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow"));
        }
        if !is_finite && has_squares {
            squares = f64::NAN;
        }
        Ok(match self.kind {
            _ if self.values.is_empty() => None,
            NumberAggregate::Sum => Some(sum),
            NumberAggregate::Average => Some(sum / count),
            NumberAggregate::Variance { sample, root } => {
                let divisor = if sample { count - 1.0 } else { count };
                let variance = (divisor > 0.0).then(|| squares / divisor);
                variance.map(|variance| if root { variance.sqrt() } else { variance })
            }
        })
    }
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let values = floats(values)?;
        self.values
            .extend(values.as_primitive::<Float64Type>().iter().flatten());
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let values = floats(values)?;
        let leaving = values.len() - values.null_count();
        self.values.drain(..leaving.min(self.values.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Float64(self.computed()?))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Err(Error::internal("a frame is not computed in parts").into())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> DataFusionResult<()> {
        Err(Error::internal("a frame is not computed in parts").into())
    }
}

fn floats(values: &[ArrayRef]) -> Result<&ArrayRef> {
    match values {
        [values] if values.data_type() == &DataType::Float64 => Ok(values),
        _ => Err(Error::internal("a moving frame of other than floats")),
    }
}
