//! A function of DataFusion's that says nothing of orders, and may ask for memory before it computes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::bounded::{self, Length};

#[derive(Debug)]
pub(super) struct Wrapped {
    inner: Arc<ScalarUDF>,
    /// Of results that are asked for.
    length: Option<Length>,
}

impl Wrapped {
    pub(super) fn unordered(inner: Arc<ScalarUDF>) -> Self {
        Self { inner, length: None }
    }

    pub(super) fn asking(inner: Arc<ScalarUDF>, length: Length) -> Self {
        let length = Some(length);
        Self { inner, length }
    }
}

// A name means one function.
impl PartialEq for Wrapped {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Wrapped {}

impl Hash for Wrapped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Wrapped {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        match self.length {
            // It would put DataFusion's own in this one's place.
            Some(_) => Ok(ExprSimplifyResult::Original(args)),
            None => self.inner.simplify(args, info),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let _asked = self.length.map(|length| bounded::asked(length, &args)).transpose()?;
        self.inner.invoke_with_args(args)
    }
}
