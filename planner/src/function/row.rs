//! `row(…)`: DataFusion's `struct`, but that its JSON stays JSON.

use std::sync::Arc;

use arrow::array::StructArray;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use staffa_catalog::SqlType;

use crate::error::Error;
use crate::types::sql_type;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    signature: Signature,
    aliases: Vec<String>,
}

impl Row {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
            aliases: vec!["row".to_owned()],
        }
    }
}

impl ScalarUDFImpl for Row {
    fn name(&self) -> &str {
        "struct"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Err(Error::internal("a row is asked for its field").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let field = |(at, given): (usize, &FieldRef)| {
            let field = Field::new(format!("c{at}"), given.data_type().clone(), true);
            match sql_type(given) {
                SqlType::Json | SqlType::Jsonb => field.with_metadata(given.metadata().clone()),
                _ => field,
            }
        };
        let fields: Fields = args.arg_fields.iter().enumerate().map(field).collect();
        Ok(Arc::new(Field::new(self.name(), DataType::Struct(fields), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let DataType::Struct(fields) = args.return_type() else {
            return Err(Error::internal("a row is a struct").into());
        };
        let fields = fields.clone();
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(
            fields, columns, None,
        )?)))
    }
}
