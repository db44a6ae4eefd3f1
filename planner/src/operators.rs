//! Operators and `extract` as PostgreSQL resolves them, where DataFusion has no such operator or another meaning.
//!
//! | text | plan |
//! |---|---|
//! | `u = '0000…'` with a `uuid`, `i > '1 day'` | the literal cast to the type of the other side |
//! | `interval * number`, `interval / number` | `interval_multiply`, `interval_divide` |
//! | `date - date` | an `integer` |
//! | `date + integer` | a `date` |
//! | `timestamp - timestamp` | `timestamp_difference`: days and time, not a count of nanoseconds |
//! | `timestamptz > date` | the date is a midnight of the session's zone |
//! | `a && b`, `s ^@ t` | `array_has_any`, `starts_with` |
//! | `j -> 'a'` and the like | `operators/json.rs` |

pub(crate) mod json;

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_SCALE, DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::functions::string::expr_fn::starts_with;
use datafusion::functions_nested::expr_fn::array_has_any;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, GetFieldAccess, Operator, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;
use staffa_catalog::SqlType;

use crate::function::{date_at_time, extract, interval_over, interval_times, timestamp_difference};
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
            Kind::Comparison => in_one_zone(left, &left_type, right, &right_type),
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
            other => other,
        };
        Ok(PlannerResult::Original(RawFieldAccessExpr { expr, field_access }))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(extract(args)))
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
            BinaryOperator::PGOverlap | BinaryOperator::PGStartsWith => Kind::Named,
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
    Ok(match op {
        BinaryOperator::Multiply if interval(left_type) && right_type.is_numeric() => interval_times(left, right),
        BinaryOperator::Multiply if interval(right_type) && left_type.is_numeric() => interval_times(right, left),
        BinaryOperator::Divide if interval(left_type) && right_type.is_numeric() => interval_over(left, right),
        BinaryOperator::Minus if date(left_type) && date(right_type) => {
            let days = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::Minus, Box::new(right)));
            let field = Arc::new(Field::new("", DataType::Int32, true));
            Expr::Cast(Cast::new_from_field(Box::new(days), field))
        }
        BinaryOperator::Plus if date(left_type) && right_type.is_integer() => date_after(left, Operator::Plus, right),
        BinaryOperator::Minus if date(left_type) && right_type.is_integer() => date_after(left, Operator::Minus, right),
        BinaryOperator::Plus if date(left_type) && interval(right_type) => date_as_timestamp(left) + right,
        BinaryOperator::Plus if interval(left_type) && date(right_type) => left + date_as_timestamp(right),
        BinaryOperator::Minus if date(left_type) && interval(right_type) => date_as_timestamp(left) - right,
        BinaryOperator::Plus if left_type.is_integer() && date(right_type) => date_after(right, Operator::Plus, left),
        BinaryOperator::Minus
            if timestamp(left_type) && (timestamp(right_type) || date(right_type))
                || date(left_type) && timestamp(right_type) =>
        {
            timestamp_difference(left, right)
        }
        BinaryOperator::Plus if date(left_type) && time(right_type) => date_at_time(left, right),
        BinaryOperator::Plus if time(left_type) && date(right_type) => date_at_time(right, left),
        BinaryOperator::PGOverlap if matches!((left_type, right_type), (DataType::List(_), DataType::List(_))) => {
            array_has_any(left, right)
        }
        BinaryOperator::PGStartsWith => starts_with(left, right),
        op => return Err(RawBinaryExpr { op, left, right }),
    })
}

/// A date and some days: days are counted as numbers.
fn date_after(date: Expr, op: Operator, days: Expr) -> Expr {
    let cast = |expression: Expr, ty: DataType| {
        let field = Arc::new(Field::new("", ty, true));
        Expr::Cast(Cast::new_from_field(Box::new(expression), field))
    };
    let number = Expr::BinaryExpr(BinaryExpr::new(
        Box::new(cast(date, DataType::Int32)),
        op,
        Box::new(cast(days, DataType::Int32)),
    ));
    cast(number, DataType::Date32)
}
