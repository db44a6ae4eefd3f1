//! Values that are known when a plan runs: what stands for `$1` in operators that are kept for many runs, one at a time.
//!
//! Operators ask for the value of this run whenever they compute with it. A scan is made anew for each run with the value itself
//! ([`renewed`](crate::renewed)), so that files, row groups and blocks are left out by it.

use std::fmt::{self, Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::scalar::ScalarValue;
use parking_lot::RwLock;

use crate::error::Error;

/// The values of one run at a time. Clones are one.
#[derive(Clone, Default)]
pub struct RunValues(Arc<RwLock<Vec<ScalarValue>>>);

impl RunValues {
    /// From now on these are the values.
    pub fn set(&self, values: Vec<ScalarValue>) {
        *self.0.write() = values;
    }
}

/// One of the values, as a function without arguments. It has no value before its plan runs.
#[derive(Clone)]
pub struct Parameter {
    values: RunValues,
    place: usize,
    data_type: DataType,
    signature: Signature,
}

impl Parameter {
    /// The value at this place.
    pub fn new(values: &RunValues, place: usize, data_type: DataType) -> Self {
        Self {
            values: values.clone(),
            place,
            data_type,
            // It is the same throughout a run; the plan must not be made with it.
            signature: Signature::nullary(Volatility::Stable),
        }
    }

    fn value(&self) -> DfResult<ScalarValue> {
        let value = self.values.0.read().get(self.place).cloned();
        Ok(value.ok_or_else(|| Error::internal("a parameter has no value before its plan runs"))?)
    }

    fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<&Self> {
        let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
        call.fun().inner().downcast_ref::<Self>()
    }
}

/// Whether it is a value of the run.
pub(crate) fn is_parameter(expr: &Arc<dyn PhysicalExpr>) -> bool {
    Parameter::of(expr).is_some()
}

/// Whether a value of the run is in it: it says nothing before.
pub fn has_parameter(expr: &Arc<dyn PhysicalExpr>) -> bool {
    is_parameter(expr) || expr.children().into_iter().any(has_parameter)
}

/// The expression with the values of the run that begins.
pub(crate) fn settled(expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|inner| {
        Ok(match Parameter::of(&inner) {
            Some(parameter) => Transformed::yes(Arc::new(Literal::new(parameter.value()?)) as _),
            None => Transformed::no(inner),
        })
    })
    .data()
}

impl ScalarUDFImpl for Parameter {
    fn name(&self) -> &str {
        "parameter"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value()?))
    }
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.values.0, &other.values.0) && self.place == other.place
    }
}

impl Eq for Parameter {}

impl Hash for Parameter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.values.0).hash(state);
        self.place.hash(state);
    }
}

/// Values are nobody's but the client's.
impl Debug for Parameter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({})", self.place)
    }
}

impl Debug for RunValues {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunValues").finish_non_exhaustive()
    }
}
