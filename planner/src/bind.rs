//! Parameter values into a plan.

use std::collections::HashMap;

use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use crate::error::{Error, ErrorKind, Result};
use crate::statement::QueryPlan;
use crate::types::data_type;

/// The query's plan with `$1`, `$2`, … replaced by `values`, in that order.
///
/// A value of another type than the parameter's is converted when nothing is lost by it.
///
/// Errors: too few or too many values (`ProtocolViolation`), a value that does not fit its parameter exactly.
pub fn bind(query: &QueryPlan, values: &[ScalarValue]) -> Result<LogicalPlan> {
    Values::of(query, values)?.put_into(query.logical.clone())
}

/// Values of a query's parameters, converted.
pub(crate) struct Values {
    pub(crate) list: Vec<ScalarValue>,
    /// Whether each has the type of its parameter: a numeric may have more digits.
    pub(crate) are_of_their_types: bool,
}

impl Values {
    /// Errors: as of [`bind`].
    pub(crate) fn of(query: &QueryPlan, values: &[ScalarValue]) -> Result<Self> {
        if values.len() != query.parameters.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"\" requires {}",
                values.len(),
                query.parameters.len()
            );
            return Err(Error::new(ErrorKind::ProtocolViolation, message));
        }
        let mut converted = Self {
            list: Vec::with_capacity(values.len()),
            are_of_their_types: true,
        };
        for (value, ty) in values.iter().zip(&query.parameters) {
            let (value, is_of_its_type) = exactly(value, ty)?;
            converted.are_of_their_types &= is_of_its_type;
            converted.list.push(value);
        }
        Ok(converted)
    }

    /// Whether one of them is so large that its copies are felt.
    pub(crate) fn are_large(&self) -> bool {
        const LARGE_BYTES: usize = 64 << 10;
        self.list.iter().any(|value| value.size() > LARGE_BYTES)
    }

    /// The plan with the values in the places of the parameters.
    pub(crate) fn put_into(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.list.is_empty() {
            return Ok(plan);
        }
        // Names are looked up without the dollar sign.
        let named = |(index, value): (usize, &ScalarValue)| {
            let value = ScalarAndMetadata::from(value.clone());
            ((index + 1).to_string(), value)
        };
        let by_number: HashMap<_, _> = self.list.iter().enumerate().map(named).collect();
        Ok(plan.replace_params_with_values(&ParamValues::Map(by_number))?)
    }
}

/// The value in the parameter's type, unchanged in what it says, and whether it could be.
fn exactly(value: &ScalarValue, ty: &SqlType) -> Result<(ScalarValue, bool)> {
    let zone = match value {
        ScalarValue::TimestampMicrosecond(_, Some(zone)) => zone.to_string(),
        _ => "UTC".to_string(),
    };
    let wanted = data_type(ty, &zone);
    if value.data_type() == wanted {
        return Ok((value.clone(), true));
    }
    if value.is_null() {
        return Ok((ScalarValue::try_new_null(&wanted)?, true));
    }
    let cast = value.cast_to(&wanted)?;
    let back = cast.cast_to(&value.data_type())?;
    if back == *value {
        return Ok((cast, true));
    }
    // A numeric with more digits after the point than its parameter's type keeps them: comparisons are made in a common
    // type, which is found again after binding.
    if matches!((value, ty), (ScalarValue::Decimal128(..), SqlType::Numeric { .. })) {
        return Ok((value.clone(), false));
    }
    let message = format!("a parameter's value does not fit type {ty} exactly");
    Err(Error::new(ErrorKind::NumericOutOfRange, message)
        .with_hint("Cast the parameter in the statement: $1::numeric(…)."))
}
