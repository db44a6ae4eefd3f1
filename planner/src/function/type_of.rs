//! `pg_typeof(any)`: the name of the type, without its modifiers.

use arrow::datatypes::{DataType, Field};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::Error;
use crate::types::sql_type;

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
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let Some(field) = args.arg_fields.first() else {
            return Err(Error::internal("pg_typeof() takes one argument").into());
        };
        Ok(ColumnarValue::Scalar(name_of(field)))
    }

    /// A column is of its type in the plan: rows of a scan do not say which texts are `jsonb`, or `character varying`.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        Ok(match args.first().map(|argument| argument.to_field(info.schema())) {
            Some(Ok((_, field))) => ExprSimplifyResult::Simplified(Expr::Literal(name_of(&field), None)),
            _ => ExprSimplifyResult::Original(args),
        })
    }
}

fn name_of(field: &Field) -> ScalarValue {
    let name = sql_type(field).to_string();
    // `numeric(10,2)` is `numeric`, `character varying(3)[]` is `character varying[]`.
    let plain = match (name.find('('), name.rfind(')')) {
        (Some(open), Some(close)) if !name.starts_with("struct") => {
            format!("{}{}", &name[..open], &name[close + 1..])
        }
        _ => name,
    };
    ScalarValue::Utf8View(Some(plain))
}
