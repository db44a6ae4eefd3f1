//! `pg_typeof(any)`: the type, without its modifiers.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::metadata::FieldMetadata;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{SqlType, SystemType};

use crate::error::Error;
use crate::types::{arrow_field, sql_type};
use crate::value::type_oid;

/// Its name: what it yields is shown by name, which the catalogs know.
pub(crate) const TYPE_OF: &str = "pg_typeof";

/// The OID of the type of NULL.
const UNKNOWN: u32 = 705;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TypeOf {
    signature: Signature,
}

impl TypeOf {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Stable),
        }
    }
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        TYPE_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::UInt32)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(yielded()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let Some(field) = args.arg_fields.first() else {
            return Err(Error::internal("pg_typeof() takes one argument").into());
        };
        Ok(ColumnarValue::Scalar(number_of(field)))
    }

    /// A column is of its type in the plan: rows of a scan do not say which texts are `jsonb`, or `character varying`.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        Ok(match args.first().map(|argument| argument.to_field(info.schema())) {
            Some(Ok((_, field))) => {
                let metadata = FieldMetadata::from(&yielded());
                ExprSimplifyResult::Simplified(Expr::Literal(number_of(&field), Some(metadata)))
            }
            _ => ExprSimplifyResult::Original(args),
        })
    }
}

fn yielded() -> Field {
    arrow_field(TYPE_OF, &SqlType::System(SystemType::RegType), true, "UTC")
}

fn number_of(field: &Field) -> ScalarValue {
    ScalarValue::UInt32(Some(match sql_type(field) {
        // What clients are told is `text`.
        SqlType::Unknown => UNKNOWN,
        ty => type_oid(&ty),
    }))
}
