//! Operators and `extract` as PostgreSQL resolves them, where DataFusion has no such operator or another meaning.
//!
//! | text | plan |
//! |---|---|
//! | `u = '0000…'` with a `uuid`, `i > '1 day'` | the literal cast to the type of the other side |
//! | `interval * number`, `interval / number` | `interval_multiply`, `interval_divide` |
//! | `date - date` | `date_mi(date, date)`, an `integer` |
//! | `date + integer` | `date_after(date, integer)`: infinity stays, and what is no date is refused |
//! | `timestamp + time` | the time cast to an `interval` |
//! | `timestamp - timestamp` | `timestamp_difference`: days and time, not a count of nanoseconds |
//! | `timestamptz > date` | the date is a midnight of the session's zone |
//! | `float = numeric` | the `numeric` cast to `double precision` |
//! | `a || b`, `a @> b`, `a && b`, `a < b` of arrays | `array_cat`, `arraycontains`, `arrayoverlap`, `array_lt` |
//! | `a[-1]`, `a[0:2]` | `a[0]`, which is NULL, and `a[1:2]`: DataFusion counts negative ones from the end |
//! | `a[1]` of a `varchar(3)[]`, `json[]` | `staffa_typed(a[1])`: DataFusion calls it text |
//! | `s ^@ t` | `starts_with` |
//! | `(array_agg(x))[n]` | `array_element(array_agg(x), n)` |
//! | `j -> 'a'` and the like | `operators/json.rs` |

pub(crate) mod json;

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_SCALE, DataType, Field, IntervalUnit, TimeUnit};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::functions::core::expr_fn::greatest;
use datafusion::functions::string::expr_fn::starts_with;
use datafusion::functions_nested::expr_fn::array_element;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, GetFieldAccess, Operator, lit, when};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;
use staffa_catalog::{Digits, SqlType};

use crate::function::{
    compared_arrays, concatenated, contained, date_after, date_at_time, date_before, date_difference, dimensions_of,
    extract, interval_over, interval_times, joined_bytes, like_bytes, overlapping, timestamp_difference, typed,
};
use crate::rules::{date_as_timestamp, numbers};
use crate::type_planner::BARE_NUMERIC;
use crate::types::{arrow_field, sql_type, sql_type_of};

#[derive(Debug)]
pub(crate) struct PostgresOperators {
    time_zone: String,
}

impl PostgresOperators {
    pub(crate) fn new(time_zone: &str) -> Self {
        Self {
            time_zone: time_zone.to_string(),
        }
    }
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = match json::concerns(&op) {
            true => match json::planned(&op, left, right, schema)? {
                Ok(planned) => return Ok(PlannerResult::Planned(planned)),
                Err(operands) => operands,
            },
            false => (left, right),
        };
        let kind = Kind::of(&op);
        let types = match kind {
            // Types of whole conditions are not needed, and finding them would take long.
            Kind::Other => None,
            _ => right.get_type(schema).ok().zip(left.get_type(schema).ok()),
        };
        let Some((right_type, left_type)) = types else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        };
        let zone = &self.time_zone;
        let (left, right) = match kind {
            Kind::Comparison => {
                let (left_object, right_object) = (object_type(&left, schema), object_type(&right, schema));
                (
                    typed_literal(named_object(left, right_object, zone), &right_type, zone),
                    typed_literal(named_object(right, left_object, zone), &left_type, zone),
                )
            }
            Kind::Arithmetic => (operand(left, &right_type, zone), operand(right, &left_type, zone)),
            _ => (left, right),
        };
        let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        };
        let (left, right) = match kind {
            Kind::Comparison => {
                let (left, right) = in_one_zone(left, &left_type, right, &right_type);
                as_doubles(left, &left_type, right, &right_type)
            }
            _ => (left, right),
        };
        // A product is typed here already, which 38 digits may be too few for.
        if matches!(op, BinaryOperator::Multiply)
            && let (DataType::Decimal128(_, left_scale), DataType::Decimal128(_, right_scale)) =
                (&left_type, &right_type)
            && left_scale.saturating_add(*right_scale) > DECIMAL128_MAX_SCALE
        {
            let product = BinaryExpr::new(Box::new(left), Operator::Multiply, Box::new(right));
            return Ok(PlannerResult::Planned(
                numbers::widened(Expr::BinaryExpr(product), schema).data,
            ));
        }
        Ok(match planned(op, left, &left_type, right, &right_type) {
            Ok(planned) => PlannerResult::Planned(planned),
            Err(original) => PlannerResult::Original(original),
        })
    }

    /// Vectors count from 0, arrays from 1; jsonb by its own rules.
    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { expr, field_access } = match json::subscripted(expr, schema)? {
            Ok(planned) => return Ok(PlannerResult::Planned(planned)),
            Err(original) => original,
        };
        let is_vector = expr.to_field(schema).is_ok_and(|(_, field)| {
            matches!(field.data_type(), DataType::List(_)) && matches!(sql_type(&field), SqlType::System(_))
        });
        let field_access = match field_access {
            GetFieldAccess::ListIndex { key } if is_vector => GetFieldAccess::ListIndex {
                key: Box::new(*key + lit(1_i32)),
            },
            // DataFusion makes `nth_value` of it, which wants its number to be a literal `bigint`.
            GetFieldAccess::ListIndex { key } if matches!(expr, Expr::AggregateFunction(_)) => {
                return Ok(PlannerResult::Planned(array_element(expr, *key)));
            }
            GetFieldAccess::ListIndex { key } => {
                let key = match whole_literal(&key) {
                    Some(1..) => *key,
                    Some(_) => lit(0_i64),
                    None => greatest(vec![*key, lit(0_i64)]),
                };
                if let Some(ty) = told_element(&expr, schema) {
                    return Ok(PlannerResult::Planned(typed(array_element(expr, key), ty)));
                }
                GetFieldAccess::ListIndex { key: Box::new(key) }
            }
            GetFieldAccess::ListRange { start, stop, stride } => {
                let (start, stop) = within_bounds(*start, *stop)?;
                GetFieldAccess::ListRange {
                    start: Box::new(start),
                    stop: Box::new(stop),
                    stride,
                }
            }
            other => other,
        };
        Ok(PlannerResult::Original(RawFieldAccessExpr { expr, field_access }))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(extract(args)))
    }
}

/// The type of an array's elements where their Arrow type alone does not tell it.
fn told_element(array: &Expr, schema: &DFSchema) -> Option<SqlType> {
    let (_, field) = array.to_field(schema).ok()?;
    match sql_type(&field) {
        SqlType::Array(element) => match *element {
            SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json | SqlType::Jsonb | SqlType::Rounded(..) => {
                Some(*element)
            }
            SqlType::Numeric {
                digits: Digits::Declared,
                ..
            } => Some(*element),
            _ => None,
        },
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Comparison,
    Arithmetic,
    /// An operator of arrays or texts that DataFusion does not know.
    Named,
    Other,
}

impl Kind {
    fn of(op: &BinaryOperator) -> Self {
        match op {
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => Kind::Comparison,
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => Kind::Arithmetic,
            BinaryOperator::PGOverlap
            | BinaryOperator::PGLikeMatch
            | BinaryOperator::PGNotLikeMatch
            | BinaryOperator::PGStartsWith
            | BinaryOperator::StringConcat
            | BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt => Kind::Named,
            _ => Kind::Other,
        }
    }
}

pub(crate) fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// Whether DataFusion needs help to compare a literal with values of this type.
pub(crate) fn takes_literals(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::FixedSizeBinary(16)
            | DataType::Interval(_)
            | DataType::List(_)
            | DataType::Boolean
            | DataType::Time64(_)
            | DataType::BinaryView
            | DataType::UInt32
    )
}

/// A string literal compared with another type is read as a value of that type.
pub(crate) fn typed_literal(expression: Expr, other: &DataType, zone: &str) -> Expr {
    if takes_literals(other) && is_text_literal(&expression) {
        return cast_to(expression, other, zone);
    }
    expression
}

/// The same for arithmetic: the literal takes the type of the other operand.
fn operand(expression: Expr, other: &DataType, zone: &str) -> Expr {
    if !is_text_literal(&expression) {
        return expression;
    }
    match other {
        ty if ty.is_decimal() => {
            let field = Arc::new(arrow_field("", &BARE_NUMERIC, true, zone));
            Expr::Cast(Cast::new_from_field(Box::new(expression), field))
        }
        ty if ty.is_numeric() || ty.is_temporal() => cast_to(expression, other, zone),
        _ => expression,
    }
}

/// The type of the catalogs that an expression has, if it is one of names.
fn object_type(expression: &Expr, schema: &DFSchema) -> Option<SqlType> {
    let (_, field) = expression.to_field(schema).ok()?;
    match sql_type(&field) {
        SqlType::System(ty) if ty.is_reg() => Some(SqlType::System(ty)),
        _ => None,
    }
}

/// A literal compared with an object is the name of one.
fn named_object(expression: Expr, ty: Option<SqlType>, zone: &str) -> Expr {
    match ty {
        Some(ty) if is_text_literal(&expression) => {
            let field = Arc::new(arrow_field("", &ty, true, zone));
            Expr::Cast(Cast::new_from_field(Box::new(expression), field))
        }
        _ => expression,
    }
}

fn is_text_literal(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Literal(ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)), _)
    )
}

fn cast_to(expression: Expr, ty: &DataType, zone: &str) -> Expr {
    let field = Arc::new(arrow_field("", &sql_type_of(ty), true, zone));
    Expr::Cast(Cast::new_from_field(Box::new(expression), field))
}

/// A date or a timestamp compared with a `timestamptz` is a time of the session's zone.
fn in_one_zone(left: Expr, left_type: &DataType, right: Expr, right_type: &DataType) -> (Expr, Expr) {
    let zoned = |ty: &DataType| matches!(ty, DataType::Timestamp(_, Some(_)));
    let plain = |ty: &DataType| matches!(ty, DataType::Date32 | DataType::Timestamp(_, None));
    let cast = |expression: Expr, ty: &DataType| {
        let field = Arc::new(Field::new("", ty.clone(), true));
        Expr::Cast(Cast::new_from_field(Box::new(expression), field))
    };
    if zoned(left_type) && plain(right_type) {
        return (left, cast(right, left_type));
    }
    if zoned(right_type) && plain(left_type) {
        return (cast(left, right_type), right);
    }
    (left, right)
}

/// A `numeric` compared with a float is one: the other way round, digits of the float would count that nobody wrote.
fn as_doubles(left: Expr, left_type: &DataType, right: Expr, right_type: &DataType) -> (Expr, Expr) {
    let double = |expression: Expr| {
        let field = Arc::new(Field::new("", DataType::Float64, true));
        Expr::Cast(Cast::new_from_field(Box::new(expression), field))
    };
    if left_type.is_floating() && right_type.is_decimal() {
        return (left, double(right));
    }
    if right_type.is_floating() && left_type.is_decimal() {
        return (double(left), right);
    }
    (left, right)
}

/// The operators that are functions here; others come back as they were. Operands are moved, not copied: chains are long.
fn planned(
    op: BinaryOperator,
    left: Expr,
    left_type: &DataType,
    right: Expr,
    right_type: &DataType,
) -> Result<Expr, RawBinaryExpr> {
    let interval = |ty: &DataType| matches!(ty, DataType::Interval(_));
    let timestamp = |ty: &DataType| matches!(ty, DataType::Timestamp(..));
    let date = |ty: &DataType| ty == &DataType::Date32;
    let time = |ty: &DataType| ty == &DataType::Time64(TimeUnit::Microsecond);
    // What `+` adds to a timestamp is an interval, what `*` multiplies one by a number, and a date is taken from a date.
    let unknown = |ty: &DataType| ty == &DataType::Null;
    let null = |value: ScalarValue| Expr::Literal(value, None);
    Ok(match op {
        BinaryOperator::Plus if timestamp(left_type) && unknown(right_type) => {
            left + null(ScalarValue::IntervalMonthDayNano(None))
        }
        BinaryOperator::Plus if unknown(left_type) && timestamp(right_type) => {
            null(ScalarValue::IntervalMonthDayNano(None)) + right
        }
        BinaryOperator::Multiply if interval(left_type) && unknown(right_type) => {
            interval_times(left, null(ScalarValue::Float64(None)))
        }
        BinaryOperator::Multiply if unknown(left_type) && interval(right_type) => {
            interval_times(right, null(ScalarValue::Float64(None)))
        }
        BinaryOperator::Minus if date(left_type) && unknown(right_type) => {
            let none = null(ScalarValue::Date32(None));
            return planned(BinaryOperator::Minus, left, left_type, none, &DataType::Date32);
        }
        BinaryOperator::Minus if unknown(left_type) && date(right_type) => {
            let none = null(ScalarValue::Date32(None));
            return planned(BinaryOperator::Minus, none, &DataType::Date32, right, right_type);
        }
        BinaryOperator::Multiply if interval(left_type) && right_type.is_numeric() => interval_times(left, right),
        BinaryOperator::Multiply if interval(right_type) && left_type.is_numeric() => interval_times(right, left),
        BinaryOperator::Divide if interval(left_type) && right_type.is_numeric() => interval_over(left, right),
        BinaryOperator::Minus if date(left_type) && date(right_type) => date_difference(left, right),
        BinaryOperator::Plus if date(left_type) && right_type.is_integer() => date_after(left, right),
        BinaryOperator::Minus if date(left_type) && right_type.is_integer() => date_before(left, right),
        BinaryOperator::Plus if date(left_type) && interval(right_type) => date_as_timestamp(left) + right,
        BinaryOperator::Plus if interval(left_type) && date(right_type) => left + date_as_timestamp(right),
        BinaryOperator::Minus if date(left_type) && interval(right_type) => date_as_timestamp(left) - right,
        BinaryOperator::Plus if timestamp(left_type) && time(right_type) => left + as_interval(right),
        BinaryOperator::Minus if timestamp(left_type) && time(right_type) => left - as_interval(right),
        BinaryOperator::Plus if time(left_type) && timestamp(right_type) => as_interval(left) + right,
        BinaryOperator::Plus if left_type.is_integer() && date(right_type) => date_after(right, left),
        BinaryOperator::Minus
            if timestamp(left_type) && (timestamp(right_type) || date(right_type))
                || date(left_type) && timestamp(right_type) =>
        {
            timestamp_difference(left, right)
        }
        BinaryOperator::Plus if date(left_type) && time(right_type) => date_at_time(left, right),
        BinaryOperator::Plus if time(left_type) && date(right_type) => date_at_time(right, left),
        BinaryOperator::Lt if are_arrays(left_type, right_type) => compared_arrays(left, Operator::Lt, right),
        BinaryOperator::LtEq if are_arrays(left_type, right_type) => compared_arrays(left, Operator::LtEq, right),
        BinaryOperator::Gt if are_arrays(left_type, right_type) => compared_arrays(left, Operator::Gt, right),
        BinaryOperator::GtEq if are_arrays(left_type, right_type) => compared_arrays(left, Operator::GtEq, right),
        BinaryOperator::PGOverlap if are_arrays(left_type, right_type) => overlapping(left, right),
        BinaryOperator::AtArrow if are_arrays(left_type, right_type) => contained(left, right),
        BinaryOperator::ArrowAt if are_arrays(left_type, right_type) => contained(right, left),
        BinaryOperator::StringConcat if are_bytes(left_type, right_type, &left, &right) => joined_bytes(left, right),
        BinaryOperator::StringConcat if is_array(left_type) || is_array(right_type) => {
            let (left, left_type) = beside_array(left, left_type, right_type);
            let (right, right_type) = beside_array(right, right_type, &left_type);
            match dimensions_of(&left_type).abs_diff(dimensions_of(&right_type)) {
                0 | 1 => concatenated(left, &left_type, right, &right_type),
                _ => return Err(RawBinaryExpr { op, left, right }),
            }
        }
        BinaryOperator::PGStartsWith => starts_with(left, right),
        // DataFusion has it for texts only.
        BinaryOperator::PGLikeMatch | BinaryOperator::PGNotLikeMatch
            if are_bytes(left_type, right_type, &left, &right) =>
        {
            match op {
                BinaryOperator::PGLikeMatch => like_bytes(left, right),
                _ => Expr::Not(Box::new(like_bytes(left, right))),
            }
        }
        op => return Err(RawBinaryExpr { op, left, right }),
    })
}

/// A time of day as what has passed since midnight.
fn as_interval(time: Expr) -> Expr {
    let field = Arc::new(Field::new("", DataType::Interval(IntervalUnit::MonthDayNano), true));
    Expr::Cast(Cast::new_from_field(Box::new(time), field))
}

/// Bytes, one of which may be a literal that has no type.
fn are_bytes(left_type: &DataType, right_type: &DataType, left: &Expr, right: &Expr) -> bool {
    let is_bytes = |ty: &DataType| matches!(ty, DataType::Binary | DataType::BinaryView);
    let is_untyped = |value: &Expr| matches!(value, Expr::Literal(ScalarValue::Null, _)) || is_text_literal(value);
    is_bytes(left_type) && (is_bytes(right_type) || is_untyped(right)) || is_bytes(right_type) && is_untyped(left)
}

fn is_array(ty: &DataType) -> bool {
    matches!(ty, DataType::List(_))
}

/// Arrays, one of which may be a literal that has no type.
fn are_arrays(left: &DataType, right: &DataType) -> bool {
    let may_be = |ty: &DataType| is_array(ty) || ty == &DataType::Null;
    (is_array(left) || is_array(right)) && may_be(left) && may_be(right)
}

/// A literal without a type beside an array is an array.
fn beside_array(expression: Expr, ty: &DataType, other: &DataType) -> (Expr, DataType) {
    let is_untyped = matches!(expression, Expr::Literal(ScalarValue::Null, _)) || is_text_literal(&expression);
    match is_array(other) && is_untyped {
        true => {
            let field = Arc::new(Field::new("", other.clone(), true));
            (
                Expr::Cast(Cast::new_from_field(Box::new(expression), field)),
                other.clone(),
            )
        }
        false => (expression, ty.clone()),
    }
}

/// The value of a literal that is a whole number.
fn whole_literal(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        Expr::Literal(ScalarValue::Int32(value), _) => value.map(i64::from),
        Expr::Cast(cast) => whole_literal(&cast.expr),
        Expr::Negative(inner) => whole_literal(inner).map(|value| -value),
        _ => None,
    }
}

/// Bounds of a slice that DataFusion takes for what PostgreSQL does: none is negative.
fn within_bounds(start: Expr, stop: Expr) -> DataFusionResult<(Expr, Expr)> {
    let below = |bound: &Expr| match whole_literal(bound) {
        Some(value) => lit(value < 1),
        None => bound.clone().lt(lit(1_i64)),
    };
    let start_below = below(&start);
    // From the second to the first element there is none.
    let stop_below = below(&stop);
    let first = when(stop_below.clone(), lit(2_i64))
        .when(start_below, lit(1_i64))
        .otherwise(start)?;
    Ok((first, when(stop_below, lit(1_i64)).otherwise(stop)?))
}
