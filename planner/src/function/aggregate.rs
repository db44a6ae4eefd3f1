//! `sum`, `avg`, `variance` and `stddev` as they are called; what computes them is decided when their arguments have types
//! (`rules/numbers.rs`), and DataFusion's.
//!
//! DataFusion's functions of these names would cast integers to floats, and coercion cannot be told otherwise. These take
//! numbers as they are. None is left in a plan that is run.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::Result as DataFusionResult;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::native::no_such_call;
use crate::error::Error;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NumberAggregate {
    Sum,
    Average,
    Variance { sample: bool, root: bool },
}

impl NumberAggregate {
    /// What a function of ours is; `None` for another one.
    pub(crate) fn of(function: &AggregateUDF) -> Option<Self> {
        let called = function.inner().downcast_ref::<Called>()?;
        Some(called.kind)
    }

    /// DataFusion's function of the same name.
    pub(crate) fn native(self) -> Arc<AggregateUDF> {
        match self {
            Self::Sum => sum_udaf(),
            Self::Average => avg_udaf(),
            Self::Variance {
                sample: true,
                root: false,
            } => var_samp_udaf(),
            Self::Variance {
                sample: false,
                root: false,
            } => var_pop_udaf(),
            Self::Variance {
                sample: true,
                root: true,
            } => stddev_udaf(),
            Self::Variance {
                sample: false,
                root: true,
            } => stddev_pop_udaf(),
        }
    }
}

pub(super) fn functions() -> impl Iterator<Item = AggregateUDF> {
    let variance = |sample, root| NumberAggregate::Variance { sample, root };
    [
        NumberAggregate::Sum,
        NumberAggregate::Average,
        variance(true, false),
        variance(false, false),
        variance(true, true),
        variance(false, true),
    ]
    .into_iter()
    .map(|kind| {
        AggregateUDF::from(Called {
            kind,
            native: kind.native(),
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Called {
    kind: NumberAggregate,
    native: Arc<AggregateUDF>,
    signature: Signature,
}

impl AggregateUDFImpl for Called {
    fn name(&self) -> &str {
        self.native.name()
    }

    fn aliases(&self) -> &[String] {
        self.native.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let [ty] = types else {
            return Err(no_such_call(self.name(), types).into());
        };
        let spans = !matches!(self.kind, NumberAggregate::Variance { .. });
        Ok(vec![match ty {
            ty if ty.is_decimal() || ty.is_integer() => ty.clone(),
            DataType::Float32 | DataType::Float64 => ty.clone(),
            DataType::Float16 | DataType::Null => DataType::Float64,
            DataType::Interval(_) | DataType::Duration(_) if spans => DataType::Interval(IntervalUnit::MonthDayNano),
            _ => return Err(no_such_call(self.name(), types).into()),
        }])
    }

    /// Of the right kind; precision and scale are settled with the function.
    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        let exact = |ty: &DataType| ty.is_decimal() || ty.is_integer();
        Ok(match (self.kind, types) {
            (_, [ty @ DataType::Interval(_)]) => ty.clone(),
            (NumberAggregate::Sum, [DataType::Float32]) => DataType::Float32,
            (NumberAggregate::Sum, [DataType::Int64 | DataType::UInt64]) => DataType::Decimal128(29, 0),
            (NumberAggregate::Sum, [ty]) if ty.is_integer() => DataType::Int64,
            (NumberAggregate::Sum, [ty]) => self.native.return_type(std::slice::from_ref(ty))?,
            // Few digits behind the point: products of these have a type before it is settled.
            (_, [ty]) if exact(ty) => DataType::Decimal128(38, 4),
            _ => DataType::Float64,
        })
    }

    fn default_value(&self, ty: &DataType) -> DataFusionResult<ScalarValue> {
        self.native.default_value(ty)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        Err(Error::internal(format!("{} is replaced when its types are known", self.name())).into())
    }
}
