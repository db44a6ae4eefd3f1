//! DataFusion's functions of numbers without what they say of orders.
//!
//! `order by abs(a - b)`: asked whether that is sorted as its argument is, they look at the bounds of the argument, which no
//! function of ours tells, and fail. The plan then is taken for one that sorts by something else.

use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::ScalarUDF;

use super::wrapped::Wrapped;

const NAMES: &[&str] = &[
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cosh", "exp", "ln", "log", "log10",
    "log2", "power", "radians", "signum", "sinh", "sqrt", "tanh",
];

/// The functions that take the place of DataFusion's in this state.
pub(super) fn functions(state: &SessionState) -> Vec<ScalarUDF> {
    let known = NAMES.iter().filter_map(|name| state.scalar_functions().get(*name));
    known
        .map(|inner| ScalarUDF::from(Wrapped::unordered(Arc::clone(inner))))
        .collect()
}
