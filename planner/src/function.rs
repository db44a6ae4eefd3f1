//! The functions Staffa adds to DataFusion's: one list, by family.
//!
//! A function about the session (`current_user`, `now()`) carries the session's facts in itself. It gets them when its name
//! is resolved, so that its type is right, and again just before the plan is optimised (`with_session_facts`), so that a
//! prepared plan sees the facts of the execution.

mod cast;
mod session;
mod sleep;
mod text;
mod text_cast;
mod type_of;
mod uuid;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::async_udf::AsyncScalarUDF;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};

pub(crate) use self::cast::{to_integer, to_integer_target};
pub(crate) use self::session::SessionFacts;
use self::session::SessionFunction;
pub(crate) use self::text::padded;
pub(crate) use self::text_cast::TextCasts;
use crate::context::PlanContext;
use crate::error::Result;

/// Puts the functions of every session into the state. Those of DataFusion with the same name are replaced.
pub(crate) fn register(state: &mut SessionState) {
    let functions: Vec<Arc<ScalarUDF>> = vec![
        Arc::new(ScalarUDF::from(text::Limited::varchar())),
        Arc::new(ScalarUDF::from(text::Limited::char())),
        Arc::new(ScalarUDF::from(type_of::TypeOf::new())),
        Arc::new(ScalarUDF::from(uuid::RandomUuid::new())),
        Arc::new(AsyncScalarUDF::new(Arc::new(sleep::Sleep::new())).into_scalar_udf()),
    ];
    for function in functions {
        let name = function.name().to_string();
        let registered = state.register_udf(function);
        debug_assert!(registered.is_ok(), "a session state takes every function, {name} too");
    }
}

/// The function of this name that answers from the session's facts, if there is one.
pub(crate) fn session_function(name: &str, facts: &Arc<SessionFacts>) -> Option<Arc<ScalarUDF>> {
    SessionFunction::named(name, facts).map(|function| Arc::new(ScalarUDF::from(function)))
}

/// All names of such functions, for suggestions.
pub(crate) fn session_function_names() -> impl Iterator<Item = &'static str> {
    session::names()
}

/// The plan with every session function carrying the context's facts.
pub(crate) fn with_session_facts(context: &PlanContext, plan: LogicalPlan) -> Result<LogicalPlan> {
    let facts = Arc::new(SessionFacts::of(context));
    let plan = plan
        .transform_up_with_subqueries(|node| {
            node.map_expressions(|expression| expression.transform_up(|inner| Ok(renewed(inner, &facts))))
        })
        .data()?;
    Ok(plan)
}

fn renewed(expression: Expr, facts: &Arc<SessionFacts>) -> Transformed<Expr> {
    match expression {
        Expr::ScalarFunction(function) => match function.func.inner().downcast_ref::<SessionFunction>() {
            Some(known) => {
                let func = Arc::new(ScalarUDF::from(known.with_facts(facts)));
                Transformed::yes(Expr::ScalarFunction(ScalarFunction {
                    func,
                    args: function.args,
                }))
            }
            None => Transformed::no(Expr::ScalarFunction(function)),
        },
        other => Transformed::no(other),
    }
}
