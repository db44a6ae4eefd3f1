//! The functions Staffa adds to DataFusion's: one list, by family.
//!
//! A function about the session (`current_user`, `now()`) carries the session's facts in itself. It gets them when its name
//! is resolved, so that its type is right, and again just before the plan is optimised (`with_session_facts`), so that a
//! prepared plan sees the facts of the execution.

mod actions;
mod aggregate;
mod arithmetic;
mod array_agg;
mod arrays;
mod between;
mod bounded;
mod by_type;
mod bytes;
mod cast;
mod catalog;
pub(crate) mod coalesce;
mod datetime;
mod degrees;
mod each;
mod encode;
mod format;
pub(crate) mod json;
mod keywords;
mod letters;
mod math;
mod moving;
mod native;
mod ordered;
mod padding;
mod pairs;
mod powers;
pub(crate) mod quantified;
mod quotient;
mod regex;
mod rounded;
mod rounding;
mod row;
mod sequence;
mod series;
mod session;
mod sleep;
mod string;
mod string_agg;
mod subquery;
mod subscripts;
mod sum;
mod text;
mod text_cast;
mod type_of;
mod unordered;
mod uuid;
mod weighed;
mod wrapped;

use std::any::Any;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::async_udf::AsyncScalarUDF;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, ScalarUDFImpl};

pub use self::actions::{AdvisoryKey, AdvisoryLock, SessionActions};
pub(crate) use self::aggregate::NumberAggregate;
pub(crate) use self::arithmetic::{checked, is_checked, negated, plus_constant, type_of_first};
pub(crate) use self::array_agg::array_agg;
pub(crate) use self::arrays::{compared_arrays, concatenated, contained, dimensions_of, overlapping, texts_of};
pub(crate) use self::between::cast_between;
pub(crate) use self::bytes::{joined as joined_bytes, like as like_bytes};
pub(crate) use self::cast::{to_integer, to_integer_target};
use self::catalog::CatalogFunction;
pub(crate) use self::catalog::is_catalog_function;
use self::datetime::extract::Extract;
pub(crate) use self::datetime::zones::{crosses_zone, day_of_moment, local_cast};
use self::datetime::{calendar, overlaps, span, trunc};
pub(crate) use self::each::of_each;
pub(crate) use self::format::TO_NUMBER;
pub(crate) use self::moving::over_moving_frames;
pub(crate) use self::quotient::{
    NUMERIC_DEVIATION, NUMERIC_DIVIDE, NUMERIC_VARIANCE, numeric_average, numeric_quotient, numeric_variance,
};
pub(crate) use self::regex::{MATCHES, PATTERN, SUBSTRING};
pub(crate) use self::rounded::{ROUNDED, rounded};
pub(crate) use self::series::{ORDINALS, SERIES};
use self::session::SessionFunction;
pub(crate) use self::session::{SequenceCalls, SessionFacts, is_volatile as is_volatile_session_function};
pub(crate) use self::string::like as like_text;
pub(crate) use self::subquery::{
    AGGREGATED, ARRAY_OF_ROWS, AS_TEXT, NUMBERED, PLAIN, aggregated, decided, is_array_of_rows, is_numbered, is_typed,
    nullable, plain, single_row, stands_for_subquery, typed, without_number,
};
pub(crate) use self::subscripts::{EXPANDED, SUBSCRIPTS};
pub(crate) use self::sum::checked_sum;
pub(crate) use self::text::padded;
pub(crate) use self::text_cast::{FROM_TEXT, TO_TEXT, TextCasts};
pub(crate) use self::type_of::TYPE_OF;
use crate::context::PlanContext;
use crate::error::Result;

/// Puts the functions of every session into the state. Those of DataFusion with the same name are replaced.
pub(crate) fn register(state: &mut SessionState) {
    let mut functions: Vec<Arc<ScalarUDF>> = vec![
        Arc::new(ScalarUDF::from(text::Limited::varchar())),
        Arc::new(ScalarUDF::from(text::Limited::char())),
        Arc::new(ScalarUDF::from(rounded::Rounded::new())),
        Arc::new(ScalarUDF::from(row::Row::new())),
        Arc::new(ScalarUDF::from(type_of::TypeOf::new())),
        Arc::new(ScalarUDF::from(uuid::RandomUuid::new())),
        Arc::new(ScalarUDF::from(subquery::ArrayOfRows::new())),
        Arc::new(ScalarUDF::from(subquery::Same::plain())),
        Arc::new(ScalarUDF::from(subquery::Typed::as_text())),
        Arc::new(ScalarUDF::from(subquery::Same::numbered())),
        Arc::new(ScalarUDF::from(subquery::Same::aggregated())),
        Arc::new(ScalarUDF::from(series::Series::new())),
        Arc::new(ScalarUDF::from(series::Ordinals::new())),
        Arc::new(ScalarUDF::from(coalesce::Coalesce::new())),
        Arc::new(ScalarUDF::from(subscripts::Subscripts::new(false))),
        Arc::new(ScalarUDF::from(subscripts::Subscripts::new(true))),
        Arc::new(AsyncScalarUDF::new(Arc::new(sleep::Sleep::new())).into_scalar_udf()),
        Arc::new(ScalarUDF::from(Extract::new(true))),
        Arc::new(ScalarUDF::from(Extract::new(false))),
    ];
    // First, as some of them have a variant of ours.
    functions.extend(unordered::functions(state).into_iter().map(Arc::new));
    functions.extend(bounded::functions(state).into_iter().map(Arc::new));
    let families = [
        arrays::FUNCTIONS,
        calendar::FUNCTIONS,
        span::FUNCTIONS,
        trunc::FUNCTIONS,
        math::FUNCTIONS,
        degrees::FUNCTIONS,
        bytes::FUNCTIONS,
        encode::FUNCTIONS,
        format::FUNCTIONS,
        padding::FUNCTIONS,
        string::FUNCTIONS,
        letters::FUNCTIONS,
        overlaps::FUNCTIONS,
        regex::FUNCTIONS,
    ];
    functions.extend(families.into_iter().flatten().map(|shape| Arc::new(shape.udf())));
    let by_type = by_type::functions(state, &functions);
    functions.extend(by_type.into_iter().map(Arc::new));
    functions.extend(rounding::functions().map(Arc::new));
    functions.extend(quantified::functions().map(Arc::new));
    functions.extend(json::functions().map(Arc::new));
    let aggregates = ordered::functions()
        .chain(aggregate::functions())
        .chain(pairs::functions())
        .map(Arc::new)
        .chain([array_agg(), string_agg::string_agg()]);
    for aggregate in aggregates {
        let name = aggregate.name().to_string();
        let registered = state.register_udaf(aggregate);
        debug_assert!(registered.is_ok(), "a session state takes every aggregate, {name} too");
    }
    state.register_udtf("pg_get_keywords", Arc::new(keywords::Keywords));
    for function in functions {
        let name = function.name().to_string();
        let registered = state.register_udf(function);
        debug_assert!(registered.is_ok(), "a session state takes every function, {name} too");
    }
}

/// `extract(field from value)`
pub(crate) fn extract(args: Vec<Expr>) -> Expr {
    Extract::call(args)
}

/// How long an interval is, for comparisons.
pub(crate) fn interval_length(interval: Expr) -> Expr {
    span::LENGTH.call(vec![interval])
}

/// `interval * factor`
pub(crate) fn interval_times(interval: Expr, factor: Expr) -> Expr {
    span::TIMES.call(vec![interval, factor])
}

/// `interval / divisor`
pub(crate) fn interval_over(interval: Expr, divisor: Expr) -> Expr {
    span::OVER.call(vec![interval, divisor])
}

/// `timestamp - timestamp`
pub(crate) fn timestamp_difference(left: Expr, right: Expr) -> Expr {
    span::DIFFERENCE.call(vec![left, right])
}

/// `timestamp + interval`, or minus it.
pub(crate) fn moved_timestamp(is_later: bool, timestamp: Expr, interval: Expr) -> Expr {
    let shape = if is_later { span::LATER } else { span::EARLIER };
    shape.call(vec![timestamp, interval])
}

pub use self::sequence::Sequences;
pub(crate) use self::sequence::next_number;

/// `date + days`
pub(crate) fn date_after(date: Expr, days: Expr) -> Expr {
    calendar::DATE_AFTER.call(vec![date, days])
}

/// A date's midnight, to compare it with timestamps.
pub(crate) fn midnight(date: Expr) -> Expr {
    calendar::MIDNIGHT.call(vec![date])
}

/// `date - days`
pub(crate) fn date_before(date: Expr, days: Expr) -> Expr {
    calendar::DATE_BEFORE.call(vec![date, days])
}

/// `date - date`
pub(crate) fn date_difference(left: Expr, right: Expr) -> Expr {
    calendar::DATE_DIFFERENCE.call(vec![left, right])
}

/// `date + time`
pub(crate) fn date_at_time(date: Expr, time: Expr) -> Expr {
    calendar::DATE_TIME.call(vec![date, time])
}

/// The function of this name that answers from the session's facts, if there is one.
pub(crate) fn session_function(name: &str, facts: &Arc<SessionFacts>) -> Option<Arc<ScalarUDF>> {
    if let Some(function) = datetime::zones::zone_function(name, facts.time_zone()) {
        return Some(Arc::new(function));
    }
    if let Some(function) = CatalogFunction::named(name, facts) {
        return Some(Arc::new(ScalarUDF::from(function)));
    }
    if let Some(function) = actions::waiting(name, facts) {
        return Some(Arc::new(function));
    }
    SessionFunction::named(name, facts).map(|function| Arc::new(ScalarUDF::from(function)))
}

/// Whether a plan calls functions that answer from the catalog.
pub(crate) fn asks_catalog(plan: &LogicalPlan) -> Result<bool> {
    let mut asks = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            asks |= expression.exists(|inner| {
                let Expr::ScalarFunction(call) = inner else {
                    return Ok(false);
                };
                let function = call.func.inner();
                let catalog = function.downcast_ref::<CatalogFunction>();
                Ok(catalog.is_some_and(CatalogFunction::needs_catalog) || text_cast::names_objects(function.as_ref()))
            })?;
            Ok(if asks {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        })?;
        Ok(if asks {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(asks)
}

/// All names of such functions, for suggestions.
pub(crate) fn session_function_names() -> impl Iterator<Item = &'static str> {
    session::names().chain(actions::waiting_names()).chain(catalog::names())
}

/// The plan with every session function carrying the context's facts, and every cast of this moment its time.
pub(crate) fn with_session_facts(context: &PlanContext, plan: LogicalPlan) -> Result<LogicalPlan> {
    let facts = Arc::new(SessionFacts::of(context));
    let casts = TextCasts::of(context)?;
    let plan = plan
        .transform_up_with_subqueries(|node| {
            node.map_expressions(|expression| expression.transform_up(|inner| Ok(renewed(inner, &facts, &casts))))
        })
        .data()?;
    Ok(plan)
}

/// Whether it is a call of a function that answers from the facts of a session, a moment or the catalog.
pub(crate) fn is_of_session(expression: &Expr) -> bool {
    let Expr::ScalarFunction(function) = expression else {
        return false;
    };
    let inner = function.func.inner();
    inner.is::<SessionFunction>()
        || inner.is::<CatalogFunction>()
        || inner.is::<AsyncScalarUDF>()
        || text_cast::is_of_moment(inner.as_ref())
}

fn renewed(expression: Expr, facts: &Arc<SessionFacts>, casts: &TextCasts) -> Transformed<Expr> {
    let Expr::ScalarFunction(function) = expression else {
        return Transformed::no(expression);
    };
    let inner = function.func.inner();
    let renewed = if let Some(known) = inner.downcast_ref::<SessionFunction>() {
        Some(ScalarUDF::from(known.with_facts(facts)))
    } else if let Some(known) = inner.downcast_ref::<CatalogFunction>() {
        Some(ScalarUDF::from(known.with_facts(facts)))
    } else {
        waiting(inner.as_ref(), facts).or_else(|| casts.renewed(&function))
    };
    match renewed {
        Some(renewed) => Transformed::yes(Expr::ScalarFunction(ScalarFunction {
            func: Arc::new(renewed),
            args: function.args,
        })),
        None => Transformed::no(Expr::ScalarFunction(function)),
    }
}

/// One that waits for a lock is known by its name alone.
fn waiting(function: &dyn ScalarUDFImpl, facts: &SessionFacts) -> Option<ScalarUDF> {
    (function as &dyn Any).downcast_ref::<AsyncScalarUDF>()?;
    actions::waiting(function.name(), facts)
}
