//! `pg_sleep(seconds)`: waits without holding a thread; cancelling the statement ends it.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use async_trait::async_trait;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::async_udf::AsyncScalarUDFImpl;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::Error;
use crate::function::actions::void;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sleep {
    signature: Signature,
}

impl Sleep {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::exact(vec![DataType::Float64], Volatility::Volatile),
        }
    }
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(void(self.name()))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(Error::unsupported("pg_sleep() in this place is not supported").into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let seconds: Vec<Option<f64>> = match args.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Float64(seconds))) => vec![*seconds; args.number_rows],
            Some(ColumnarValue::Array(seconds)) => seconds.as_primitive::<Float64Type>().iter().collect(),
            _ => return Err(Error::internal("pg_sleep() takes a number of seconds").into()),
        };
        for seconds in seconds.into_iter().flatten() {
            // Nothing for negative numbers and NaN, as in PostgreSQL; what no duration can hold is as good as for ever.
            if seconds > 0.0 {
                tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).await;
            }
        }
        let text = ScalarValue::Utf8View(Some(String::new()));
        Ok(ColumnarValue::Array(text.to_array_of_size(args.number_rows)?))
    }
}
