//! Casts as PostgreSQL makes them.
//!
//! | before | Arrow would | after |
//! |---|---|---|
//! | `cast(1.5 as integer)` | cut it to 1 | `staffa_integer(1.5)`, which rounds to 2 |
//! | `cast('2024-1-5' as date)` | refuse it | `staffa_from_text('2024-1-5')`, the codec of the wire and of COPY |
//! | `cast(date as timestamp(ns))` | overflow after 2262 | `cast(date as timestamp(µs))` |
//! | `cast(tz as timestamp)` | keep the time of UTC | `to_local_timestamp(tz)`, by the session's clock |
//! | `cast('infinity'::date as timestamp)` in a result | fail | `to_local_timestamp(…)`, which knows infinity |
//! | `cast(c as text)` of a `char(n)` or `varchar` in a result | leave it what it was, with its blanks | `staffa_as(c)` |
//! | `cast(ts as text)` | put a `T` into it | `staffa_to_text(ts)`, the same codec |
//! | `to_jsonb(a / b)` | show all digits the column has | `to_jsonb(staffa_as(a / b))`, which knows those it is shown with |
//! | `cast(interval as time)`, of an `oid`, a `"char"`, a float as `real` | refuse it, or make another value | a function of `function/between.rs` |
//! | `cast(a as integer[])` of a `numeric[]` | cut its elements | `staffa_each(a)`, which casts each as above |
//! | `cast(oid as regclass)` | leave it out | `staffa_as(oid)`, so that its text is the name |
//!
//! Must not fire between types Arrow casts alike. In conditions dates stay casts, through which bounds of files are seen. The results are functions, not casts: a second run finds
//! nothing to do.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use staffa_catalog::{SqlType, SystemStorage, SystemType};

use super::map_expressions;
use crate::context::PlanContext;
use crate::function::json::is_json_function;
use crate::function::{
    TextCasts, cast_between, crosses_zone, local_cast, of_each, padded, to_integer, to_integer_target, typed,
};
use crate::shown::{Inputs, shown_type};
use crate::types::{arrow_field, element_type, sql_type};

pub(super) fn as_postgres(context: &PlanContext, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let texts = Arc::new(TextCasts::of(context)?);
    plan.transform_up_with_subqueries(|plan| {
        let inputs = prints_numerics(&plan)?.then(|| Inputs::of(&plan));
        let shows = matches!(
            plan,
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)
        );
        map_expressions(plan, |inner, schema| {
            cast(inner, schema, &texts, inputs.as_ref(), shows)
        })
    })
    .data()
}

/// Whether it casts numerics to text or puts them into JSON: what they look like hangs on where they come from.
fn prints_numerics(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    let mut schema = None;
    plan.apply_expressions(|expression| {
        expression.apply(|inner| {
            let printed = match inner {
                Expr::Cast(Cast { expr, field }) if is_text(field.data_type()) => std::slice::from_ref(expr.as_ref()),
                Expr::ScalarFunction(call) if is_json_function(call) => call.args.as_slice(),
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            let schema = schema.get_or_insert_with(|| merge_schema(&plan.inputs()));
            let is_value = |value: &Expr| value.get_type(schema).is_ok_and(|ty| !is_text(&ty));
            found |= printed.iter().any(is_value);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn cast(
    expression: Expr,
    schema: &DFSchema,
    texts: &Arc<TextCasts>,
    inputs: Option<&Inputs>,
    shows: bool,
) -> DataFusionResult<Transformed<Expr>> {
    if let Some(ty) = chosen_type(&expression, schema) {
        return Ok(Transformed::yes(texts.renamed(expression, ty)));
    }
    if let Expr::Negative(value) = &expression
        && shows
        && let Ok((_, given)) = value.to_field(schema)
        && let SqlType::Rounded(plain, _) = sql_type(&given)
    {
        return Ok(Transformed::yes(Expr::Negative(Box::new(typed(
            value.as_ref().clone(),
            *plain,
        )))));
    }
    let Expr::Cast(Cast { expr, field }) = expression else {
        if let Expr::ScalarFunction(call) = expression {
            return Ok(match call.func.name() {
                "concat" | "concat_ws" | "array_to_string" => with_letters(call),
                "octet_length" => with_blanks(call, schema),
                _ => in_json(Expr::ScalarFunction(call), schema, texts, inputs),
            });
        }
        return Ok(in_json(expression, schema, texts, inputs));
    };
    // An expression whose type is not known here (it has been refused elsewhere, then) stays as it is.
    let Ok((_, from)) = expr.to_field(schema) else {
        return Ok(Transformed::no(Expr::Cast(Cast { expr, field })));
    };
    // DataFusion compares a date with a timestamp in nanoseconds, which end in 2262; no type of ours has them.
    if let DataType::Timestamp(TimeUnit::Nanosecond, zone) = field.data_type() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        if from.data_type() == &micros {
            return Ok(Transformed::yes(*expr));
        }
        let field = Arc::new(field.as_ref().clone().with_data_type(micros));
        return Ok(Transformed::yes(Expr::Cast(Cast { expr, field })));
    }
    if to_integer_target(from.data_type(), field.data_type()) {
        return Ok(Transformed::yes(to_integer(*expr, field.data_type().clone())));
    }
    if crosses_zone(from.data_type(), field.data_type()) {
        return Ok(Transformed::yes(local_cast(*expr, field.data_type().clone())));
    }
    if shows && knows_infinity(from.data_type(), field.data_type()) {
        return Ok(Transformed::yes(local_cast(*expr, field.data_type().clone())));
    }
    if from.data_type() == field.data_type() && sql_type(&field) == SqlType::Text {
        match sql_type(&from) {
            SqlType::Char(_) | SqlType::Varchar(_) | SqlType::System(SystemType::Name | SystemType::Char) if shows => {
                return Ok(Transformed::yes(texts.renamed(*expr, SqlType::Text)));
            }
            _ => {}
        }
    }
    if let (DataType::List(given), DataType::List(wanted)) = (from.data_type(), field.data_type()) {
        let shown = inputs.and_then(|inputs| shown_type(&expr, schema, inputs));
        let shown = shown.unwrap_or_else(|| sql_type(&from));
        return Ok(match each_cast(&shown, given, wanted, texts)? {
            Some((element, computed)) => Transformed::yes(of_each(*expr, element, computed, field)),
            None => Transformed::no(Expr::Cast(Cast { expr, field })),
        });
    }
    // Bounds of files are seen through Arrow's cast, whose last digit may be another.
    if !shows && from.data_type().is_decimal() && field.data_type().is_floating() {
        return Ok(Transformed::no(Expr::Cast(Cast { expr, field })));
    }
    let expr = match cast_between(*expr, &from, &field) {
        Ok(made) => {
            let ty = sql_type(&field);
            return Ok(Transformed::yes(match ty {
                SqlType::System(named) if named != SystemType::Oid => texts.renamed(made, ty),
                SqlType::Numeric { .. } => texts.renamed(made, ty),
                _ => made,
            }));
        }
        Err(expr) => Box::new(expr),
    };
    if renames_number(&from, &field) {
        return Ok(Transformed::yes(texts.renamed(*expr, sql_type(&field))));
    }
    // The first letter of an empty `char(n)` is a blank.
    let expr = match (sql_type(&from), sql_type(&field)) {
        (SqlType::Char(length), SqlType::System(SystemType::Char)) => Box::new(padded(*expr, length)),
        _ => expr,
    };
    if reads_text(&from, &field) {
        let read = texts.read(*expr, sql_type(&field));
        // Arrays may call their elements otherwise.
        let is_list = matches!(field.data_type(), DataType::List(_));
        let is_exact = !is_list || read.get_type(schema).is_ok_and(|ty| ty == *field.data_type());
        return Ok(Transformed::yes(match is_exact {
            true => read,
            false => Expr::Cast(Cast::new_from_field(Box::new(read), field)),
        }));
    }
    if prints_text(&from, &field) {
        let shown = inputs.and_then(|inputs| shown_type(&expr, schema, inputs));
        let printed = texts.print(*expr, shown.unwrap_or_else(|| sql_type(&from)));
        return Ok(Transformed::yes(match sql_type(&field) {
            SqlType::Text | SqlType::Unknown => printed,
            ty => texts.renamed(printed, ty),
        }));
    }
    Ok(Transformed::no(Expr::Cast(Cast { expr, field })))
}

/// The column that stands for an element, and its cast, where that is not Arrow's.
fn each_cast(
    list: &SqlType,
    given: &Field,
    wanted: &Field,
    texts: &Arc<TextCasts>,
) -> DataFusionResult<Option<(Field, Expr)>> {
    // Of another time zone nothing but the label differs.
    let as_field =
        |ty: &SqlType, field: &Field| arrow_field("element", ty, true, "UTC").with_data_type(field.data_type().clone());
    let given = match list {
        SqlType::Array(element) => as_field(element, given),
        _ => as_field(&element_type(given), given),
    };
    let wanted = as_field(&element_type(wanted), wanted);
    let schema = DFSchema::try_from(Schema::new(vec![given.clone()]))?;
    let element = Box::new(Expr::Column(Column::from_name(given.name())));
    let computed = cast(
        Expr::Cast(Cast::new_from_field(element, Arc::new(wanted))),
        &schema,
        texts,
        None,
        true,
    )?;
    Ok(computed.transformed.then_some((given, computed.data)))
}

/// `concat(b)` has the letter of a truth value, `b::text` its word.
fn with_letters(mut call: ScalarFunction) -> Transformed<Expr> {
    call.args = call.args.into_iter().map(TextCasts::letter).collect();
    Transformed::yes(Expr::ScalarFunction(call))
}

/// The bytes of a `char(n)` are those with its blanks.
fn with_blanks(mut call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let given = call.args.first().and_then(|text| text.to_field(schema).ok());
    let changed = match given.map(|(_, field)| sql_type(&field)) {
        Some(SqlType::Char(length)) => {
            call.args[0] = typed(padded(std::mem::take(&mut call.args[0]), length), SqlType::Text);
            true
        }
        _ => false,
    };
    Transformed::new_transformed(Expr::ScalarFunction(call), changed)
}

/// A call of a JSON function whose numerics know with which digits they are shown.
fn in_json(expression: Expr, schema: &DFSchema, texts: &Arc<TextCasts>, inputs: Option<&Inputs>) -> Transformed<Expr> {
    let (Expr::ScalarFunction(call), Some(inputs)) = (&expression, inputs) else {
        return Transformed::no(expression);
    };
    if !is_json_function(call) {
        return Transformed::no(expression);
    }
    let mut call = call.clone();
    let mut changed = false;
    for arg in &mut call.args {
        let Ok((_, field)) = arg.to_field(schema) else {
            continue;
        };
        if let SqlType::System(ty) = sql_type(&field)
            && ty.is_reg()
        {
            *arg = texts.print(std::mem::take(arg), SqlType::System(ty));
            changed = true;
            continue;
        }
        if !field.data_type().is_decimal() {
            continue;
        }
        if let Some(shown) = shown_type(arg, schema, inputs).filter(|shown| *shown != sql_type(&field)) {
            *arg = texts.renamed(std::mem::take(arg), shown);
            changed = true;
        }
    }
    match changed {
        true => Transformed::yes(Expr::ScalarFunction(call)),
        false => Transformed::no(expression),
    }
}

/// The type of the catalogs that CASE, `coalesce` and `nullif` choose values of: DataFusion does not keep it.
fn chosen_type(expression: &Expr, schema: &DFSchema) -> Option<SqlType> {
    let values: Vec<&Expr> = match expression {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, result)| result.as_ref());
            results.chain(case.else_expr.as_deref()).collect()
        }
        Expr::ScalarFunction(function) => match function.func.name() {
            "coalesce" => function.args.iter().collect(),
            "nullif" => function.args.first().into_iter().collect(),
            _ => return None,
        },
        _ => return None,
    };
    let mut found = None;
    // Literals take the type of the others.
    for value in values.into_iter().filter(|value| !is_literal(value)) {
        let (_, field) = value.to_field(schema).ok()?;
        let ty = sql_type(&field);
        let of_catalog = match &ty {
            SqlType::Array(element) => matches!(**element, SqlType::System(ty) if ty.storage() == SystemStorage::Text),
            ty => matches!(ty, SqlType::System(_)),
        };
        if !of_catalog || found.as_ref().is_some_and(|known| *known != ty) {
            return None;
        }
        found = Some(ty);
    }
    let (_, own) = expression.to_field(schema).ok()?;
    found.filter(|ty| sql_type(&own) != *ty)
}

/// Also a NULL that was cast to what the others are.
fn is_literal(value: &Expr) -> bool {
    match value {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => matches!(&*cast.expr, Expr::Literal(value, _) if value.is_null()),
        _ => false,
    }
}

/// Between dates and timestamps, whose infinities Arrow takes for days and moments.
fn knows_infinity(from: &DataType, to: &DataType) -> bool {
    matches!(
        (from, to),
        (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, _))
            | (
                DataType::Timestamp(TimeUnit::Microsecond, _),
                DataType::Date32 | DataType::Time64(_)
            )
            | (
                DataType::Timestamp(TimeUnit::Microsecond, None),
                DataType::Timestamp(TimeUnit::Microsecond, Some(_))
            )
            | (
                DataType::Timestamp(TimeUnit::Microsecond, Some(_)),
                DataType::Timestamp(TimeUnit::Microsecond, None)
            )
    )
}

/// Between numbers of objects, which look different in text.
fn renames_number(from: &FieldRef, to: &FieldRef) -> bool {
    let same = from.data_type() == &DataType::UInt32 && to.data_type() == &DataType::UInt32;
    same && sql_type(from) != sql_type(to)
}

fn reads_text(from: &FieldRef, to: &FieldRef) -> bool {
    is_text(from.data_type())
        && match sql_type(to) {
            SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Unknown => false,
            SqlType::System(SystemType::Char | SystemType::Name | SystemType::JsonPath) => {
                sql_type(from) != sql_type(to)
            }
            SqlType::Json | SqlType::Jsonb => !matches!(sql_type(from), SqlType::Json | SqlType::Jsonb),
            _ => !is_text(to.data_type()),
        }
}

fn prints_text(from: &FieldRef, to: &FieldRef) -> bool {
    is_text(to.data_type()) && !is_text(from.data_type()) && from.data_type() != &DataType::Null
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}
