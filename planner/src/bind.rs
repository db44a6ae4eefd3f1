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
    if values.len() != query.parameters.len() {
        let message = format!(
            "bind message supplies {} parameters, but prepared statement \"\" requires {}",
            values.len(),
            query.parameters.len()
        );
        return Err(Error::new(ErrorKind::ProtocolViolation, message));
    }
    if values.is_empty() {
        return Ok(query.logical.clone());
    }
    let mut converted: HashMap<String, ScalarAndMetadata> = HashMap::with_capacity(values.len());
    for (index, (value, ty)) in values.iter().zip(&query.parameters).enumerate() {
        // `replace_params_with_values` looks names up without the dollar sign.
        converted.insert((index + 1).to_string(), exactly(value, ty)?.into());
    }
    Ok(query
        .logical
        .clone()
        .replace_params_with_values(&ParamValues::Map(converted))?)
}

/// The value in the parameter's type, unchanged in what it says.
fn exactly(value: &ScalarValue, ty: &SqlType) -> Result<ScalarValue> {
    let zone = match value {
        ScalarValue::TimestampMicrosecond(_, Some(zone)) => zone.to_string(),
        _ => "UTC".to_string(),
    };
    let wanted = data_type(ty, &zone);
    if value.data_type() == wanted {
        return Ok(value.clone());
    }
    if value.is_null() {
        return Ok(ScalarValue::try_new_null(&wanted)?);
    }
    let cast = value.cast_to(&wanted)?;
    let back = cast.cast_to(&value.data_type())?;
    if back == *value {
        return Ok(cast);
    }
    // A numeric with more digits after the point than its parameter's type keeps them: comparisons are made in a common
    // type, which is found again after binding.
    if matches!((value, ty), (ScalarValue::Decimal128(..), SqlType::Numeric { .. })) {
        return Ok(value.clone());
    }
    let message = format!("a parameter's value does not fit type {ty} exactly");
    Err(Error::new(ErrorKind::NumericOutOfRange, message)
        .with_hint("Cast the parameter in the statement: $1::numeric(…)."))
}
