//! DataFusion's functions of numbers without what they say of orders.
//!
//! `order by abs(a - b)`: asked whether that is sorted as its argument is, they look at the bounds of the argument, which no
//! function of ours tells, and fail. The plan then is taken for one that sorts by something else.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

const NAMES: &[&str] = &[
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cosh", "exp", "ln", "log", "log10",
    "log2", "power", "radians", "signum", "sinh", "sqrt", "tanh",
];

/// The functions that take the place of DataFusion's in this state.
pub(super) fn functions(state: &SessionState) -> Vec<ScalarUDF> {
    let known = NAMES.iter().filter_map(|name| state.scalar_functions().get(*name));
    known
        .map(|inner| {
            ScalarUDF::from(Unordered {
                inner: Arc::clone(inner),
            })
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Unordered {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Unordered {
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
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}
