//! `json` and `jsonb` where DataFusion sees texts.
//!
//! | before | after |
//! |---|---|
//! | `a = b`, `a < '{}'`, `a in (…)` of `jsonb` | the same of `staffa_jsonb_order(a)`, bytes that compare as the values do |
//! | `order by j`, `distinct on (j)`, `over (partition by j)` | by `staffa_jsonb_order(j)` |
//! | `group by j`, `distinct` | by `staffa_jsonb_order(j)`, each group showing its first value |
//! | `j::text`, `j::json`, `j::jsonb`, `j::integer` | labels, a reading, the scalar's text cast |
//! | `case … then j`, `coalesce(j, '{}')` | `staffa_as_jsonb(…)`: the type they forget |
//!
//! `json` has no equality and no order: comparing it is an error (42883), as are calls with another type than a function takes.
//! Runs before coercion, which would take JSON for text. What it makes has other types or names: a second run finds nothing to do.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{InList, Placeholder, ScalarFunction, Sort, WindowFunctionDefinition};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::when;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Distinct, Expr, LogicalPlan, Operator, Projection, Union};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{SqlType, SystemType};

use super::groups::{self, Keyed};
use super::map_expressions;
use crate::error::{Error, ErrorKind, undefined_function};
use crate::function::json::{
    as_type, call, is_json_function, is_noted, mistyped, noted, order_key, order_text, scalar_of,
};
use crate::operators::is_comparison;
use crate::operators::json::{ELEMENT, is_json, is_text, type_of, undefined_operator};
use crate::statement::dml::literal_columns;
use crate::types::sql_type;
use crate::value::json;

pub(super) fn resolve(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    if !concerns(&plan)? {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|plan| {
        let plan = map_expressions(plan, expression)?;
        let changed = plan.transformed;
        let mut plan = node(plan.data)?;
        plan.transformed |= changed;
        Ok(plan)
    })
    .data()
}

/// Whether JSON comes in anywhere: most plans have none, and need no look at their types.
fn concerns(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= node.inputs().is_empty() && node.schema().fields().iter().any(|field| is_json(&sql_type(field)));
        if let LogicalPlan::TableScan(scan) = node {
            found |= scan
                .source
                .schema()
                .fields()
                .iter()
                .any(|field| is_json(&sql_type(field)));
        }
        if !found {
            node.apply_expressions(|expression| {
                expression.apply(|inner| {
                    found |= makes_json(inner);
                    Ok(stop_at(found))
                })
            })?;
        }
        Ok(stop_at(found))
    })?;
    Ok(found)
}

fn stop_at(found: bool) -> TreeNodeRecursion {
    match found {
        true => TreeNodeRecursion::Stop,
        false => TreeNodeRecursion::Continue,
    }
}

/// Whether an expression is JSON, or a function of JSON, by itself.
fn makes_json(expression: &Expr) -> bool {
    match expression {
        Expr::Cast(cast) => is_json(&sql_type(&cast.field)),
        Expr::TryCast(cast) => is_json(&sql_type(&cast.field)),
        Expr::Literal(_, Some(_)) => is_json(&type_of(expression, &DFSchema::empty())),
        Expr::Placeholder(Placeholder { field: Some(field), .. }) | Expr::OuterReferenceColumn(field, _) => {
            is_json(&sql_type(field))
        }
        Expr::ScalarFunction(function) => is_json_function(function),
        _ => false,
    }
}

fn expression(expression: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    Ok(match expression {
        Expr::Cast(cast) => self::cast(cast, schema)?,
        Expr::Case(_) => passing(expression, schema)?,
        Expr::ScalarFunction(function) => called(function, schema)?,
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let types = (type_of(&left, schema), type_of(&right, schema));
            if !is_json(&types.0) && !is_json(&types.1) {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            check_comparable(&types.0, &op, &types.1)?;
            let (left, right) = (Box::new(order_key(*left)), Box::new(order_key(*right)));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::InList(InList { expr, list, negated }) if is_json(&type_of(&expr, schema)) => {
            let ty = type_of(&expr, schema);
            for item in &list {
                check_comparable(&ty, &Operator::Eq, &type_of(item, schema))?;
            }
            Transformed::yes(Expr::InList(InList {
                expr: Box::new(order_key(*expr)),
                list: list.into_iter().map(order_key).collect(),
                negated,
            }))
        }
        Expr::Between(between) if is_json(&type_of(&between.expr, schema)) => {
            let ty = type_of(&between.expr, schema);
            for bound in [&between.low, &between.high] {
                check_comparable(&ty, &Operator::GtEq, &type_of(bound, schema))?;
            }
            Transformed::yes(Expr::Between(Between {
                expr: Box::new(order_key(*between.expr)),
                negated: between.negated,
                low: Box::new(order_key(*between.low)),
                high: Box::new(order_key(*between.high)),
            }))
        }
        Expr::InSubquery(mut search) if is_json(&type_of(&search.expr, schema)) => {
            let ty = type_of(&search.expr, schema);
            let column = search.subquery.subquery.schema().columns().into_iter().next();
            let column = column.ok_or_else(|| Error::internal("a subquery without columns"))?;
            let column = Expr::Column(column);
            check_comparable(&ty, &Operator::Eq, &type_of(&column, search.subquery.subquery.schema()))?;
            let keys = Projection::try_new(vec![order_key(column)], Arc::clone(&search.subquery.subquery))?;
            search.subquery.subquery = Arc::new(LogicalPlan::Projection(keys));
            search.expr = Box::new(order_key(*search.expr));
            Transformed::yes(Expr::InSubquery(search))
        }
        Expr::AggregateFunction(mut aggregate) => {
            let mut changed = sort_keys(&mut aggregate.params.order_by, schema)?;
            let json = |argument: &Expr| is_json(&type_of(argument, schema));
            if let Some(argument) = aggregate.params.args.first_mut()
                && json(argument)
            {
                let ty = type_of(argument, schema);
                let name = aggregate.func.name();
                if matches!(name, "min" | "max" | "sum" | "avg" | "mode") {
                    return Err(undefined_function(&format!("{name}({ty})")).into());
                }
                if aggregate.params.distinct {
                    check_equality(&ty)?;
                }
                if aggregate.params.distinct && name == "count" {
                    changed |= wrap(argument, schema)?;
                }
            }
            Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
        }
        Expr::WindowFunction(mut window) => {
            let mut changed = false;
            for key in &mut window.params.order_by {
                changed |= sort_key(key, schema, order_text)?;
            }
            for key in &mut window.params.partition_by {
                changed |= wrap(key, schema)?;
            }
            if let (WindowFunctionDefinition::AggregateUDF(function), Some(argument)) =
                (&window.fun, window.params.args.first())
                && matches!(function.name(), "min" | "max")
                && is_json(&type_of(argument, schema))
            {
                let name = format!("{}({})", function.name(), type_of(argument, schema));
                return Err(undefined_function(&name).into());
            }
            Transformed::new_transformed(Expr::WindowFunction(window), changed)
        }
        other => Transformed::no(other),
    })
}

/// `jsonb` compares with `jsonb`; a literal becomes one.
fn check_comparable(left: &SqlType, op: &Operator, right: &SqlType) -> Result<(), Error> {
    let fits = |ty: &SqlType| matches!(ty, SqlType::Jsonb | SqlType::Unknown);
    match fits(left) && fits(right) {
        true => Ok(()),
        false => Err(undefined_operator(left, op, right)),
    }
}

fn check_equality(ty: &SqlType) -> Result<(), Error> {
    match ty {
        SqlType::Json => Err(no_operator("an equality operator")),
        _ => Ok(()),
    }
}

fn no_operator(what: &str) -> Error {
    let message = format!("could not identify {what} for type json");
    Error::new(ErrorKind::UndefinedFunction, message)
}

/// Makes a key by which rows are told apart one that compares as the values do.
fn wrap(key: &mut Expr, schema: &DFSchema) -> Result<bool, Error> {
    let ty = type_of(key, schema);
    check_equality(&ty)?;
    if ty != SqlType::Jsonb {
        return Ok(false);
    }
    let inner = std::mem::replace(key, Expr::Literal(ScalarValue::Null, None));
    *key = order_key(inner);
    Ok(true)
}

fn sort_keys(keys: &mut [Sort], schema: &DFSchema) -> Result<bool, Error> {
    let mut changed = false;
    for key in keys {
        changed |= sort_key(key, schema, order_key)?;
    }
    Ok(changed)
}

fn sort_key(key: &mut Sort, schema: &DFSchema, ordered: fn(Expr) -> Expr) -> Result<bool, Error> {
    match type_of(&key.expr, schema) {
        SqlType::Json => {
            let hint = "Use an explicit ordering operator or modify the query.";
            Err(no_operator("an ordering operator").with_hint(hint))
        }
        SqlType::Jsonb => {
            let inner = std::mem::replace(&mut key.expr, Expr::Literal(ScalarValue::Null, None));
            key.expr = ordered(inner);
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn cast(Cast { expr, field }: Cast, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let (from, to) = (type_of(&expr, schema), sql_type(&field));
    let refused = || {
        let (from, to) = (plain_name(&from), plain_name(&to));
        Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {from} to {to}"))
    };
    Ok(Transformed::yes(match (&from, &to) {
        (SqlType::Jsonb, SqlType::Json) => as_type(*expr, &SqlType::Json),
        (SqlType::Json, SqlType::Jsonb) => call("staffa_json_to_jsonb", vec![*expr])?,
        (SqlType::Json, SqlType::Json) | (SqlType::Jsonb, SqlType::Jsonb) => *expr,
        (SqlType::Json | SqlType::Jsonb, _) if is_text(field.data_type()) => {
            let text = as_type(*expr, &SqlType::Text);
            match (&to, field.data_type()) {
                (SqlType::Text, DataType::Utf8View) => text,
                _ => Expr::Cast(Cast::new_from_field(Box::new(text), field)),
            }
        }
        (
            SqlType::Jsonb,
            SqlType::Boolean
            | SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Real
            | SqlType::Double
            | SqlType::Numeric { .. },
        ) => Expr::Cast(Cast::new_from_field(
            Box::new(scalar_of(*expr, &plain_name(&to))),
            field,
        )),
        (SqlType::Json | SqlType::Jsonb, _) => return Err(refused().into()),
        (SqlType::Unknown | SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_), _)
        | (SqlType::System(SystemType::Name), _) => {
            return Ok(Transformed::no(Expr::Cast(Cast { expr, field })));
        }
        (_, SqlType::Json | SqlType::Jsonb) => return Err(refused().into()),
        _ => return Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
    }))
}

fn plain_name(ty: &SqlType) -> String {
    match ty {
        SqlType::Numeric { .. } => "numeric".to_string(),
        other => other.to_string(),
    }
}

fn called(function: ScalarFunction, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    if LABELS.contains(&function.func.name()) {
        // One label is enough.
        let doubled = matches!(function.args.first(),
            Some(Expr::ScalarFunction(inner)) if inner.func.name() == function.func.name());
        return Ok(match (doubled, function) {
            (true, ScalarFunction { args, func }) => match args.into_iter().next() {
                Some(inner) => Transformed::yes(inner),
                None => Transformed::no(Expr::ScalarFunction(ScalarFunction { args: Vec::new(), func })),
            },
            (false, function) => Transformed::no(Expr::ScalarFunction(function)),
        });
    }
    if matches!(function.func.name(), "coalesce" | "nullif" | ELEMENT) {
        return passing(Expr::ScalarFunction(function), schema);
    }
    if !is_json_function(&function) || is_noted(&function) {
        return Ok(Transformed::no(Expr::ScalarFunction(function)));
    }
    let types: Vec<(SqlType, bool)> = function
        .args
        .iter()
        .map(|argument| {
            let ty = type_of(argument, schema);
            let literal = ty == SqlType::Unknown;
            (ty, literal)
        })
        .collect();
    if let Some(error) = mistyped(&function, &types) {
        return Err(error.into());
    }
    let types = types.into_iter().map(|(ty, _)| ty).collect();
    Ok(match noted(&function, types) {
        Some(noted) => Transformed::yes(Expr::ScalarFunction(noted)),
        None => Transformed::no(Expr::ScalarFunction(function)),
    })
}

const LABELS: &[&str] = &["staffa_as_json", "staffa_as_jsonb", "staffa_as_text"];

/// CASE and `coalesce`: a branch that is a literal becomes JSON as the others are, and the whole has its type.
fn passing(mut expression: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let ty = type_of(&expression, schema);
    if !is_json(&ty) {
        return Ok(Transformed::no(expression));
    }
    match &mut expression {
        Expr::Case(case) => {
            for (_, then) in &mut case.when_then_expr {
                branch(then, &ty)?;
            }
            if let Some(otherwise) = &mut case.else_expr {
                branch(otherwise, &ty)?;
            }
        }
        Expr::ScalarFunction(function) => {
            if function.func.name() == ELEMENT {
                return Ok(Transformed::yes(as_type(expression, &ty)));
            }
            if function.func.name() == "nullif" {
                let types: Vec<SqlType> = function.args.iter().map(|argument| type_of(argument, schema)).collect();
                let ([left, right], [value, other]) = (types.as_slice(), function.args.as_slice()) else {
                    return Ok(Transformed::no(expression));
                };
                check_comparable(left, &Operator::Eq, right)?;
                return Ok(Transformed::yes(null_if(value, other, &ty)?));
            }
            for argument in &mut function.args {
                branch(argument, &ty)?;
            }
        }
        _ => {}
    }
    Ok(Transformed::yes(as_type(expression, &ty)))
}

/// `nullif` by the order of `jsonb`: NULL where the values are equal, however they are written.
fn null_if(value: &Expr, other: &Expr, ty: &SqlType) -> DataFusionResult<Expr> {
    let equal = order_key(value.clone()).eq(order_key(other.clone()));
    let null = Expr::Literal(ScalarValue::Utf8View(None), None);
    let mut value = value.clone();
    branch(&mut value, ty)?;
    Ok(as_type(when(equal, null).otherwise(value)?, ty))
}

fn branch(branch: &mut Expr, ty: &SqlType) -> Result<(), Error> {
    if let Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), None) = branch {
        let text = match ty {
            SqlType::Jsonb => json::normalise(text)?,
            _ => {
                json::check(text)?;
                std::mem::take(text)
            }
        };
        *branch = Expr::Literal(ScalarValue::Utf8View(Some(text)), None);
    }
    Ok(())
}

const GROUPS: Keyed = Keyed {
    ty: SqlType::Jsonb,
    key: order_key,
    shown: |first| as_type(first, &SqlType::Jsonb),
};

/// What is not an expression: keys of sorts, groups and joins.
fn node(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    Ok(match plan {
        LogicalPlan::Sort(mut sort) => {
            let changed = sort_keys(&mut sort.expr, sort.input.schema())?;
            Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
        }
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            for (left, right) in &mut join.on {
                let types = (type_of(left, join.left.schema()), type_of(right, join.right.schema()));
                check_equality(&types.0)?;
                check_equality(&types.1)?;
                // A literal of a set operation has no type but the other side's.
                if types.0 == SqlType::Jsonb || types.1 == SqlType::Jsonb {
                    for side in [left, right] {
                        let inner = std::mem::replace(side, Expr::Literal(ScalarValue::Null, None));
                        *side = order_key(inner);
                    }
                    changed = true;
                }
            }
            Transformed::new_transformed(LogicalPlan::Join(join), changed)
        }
        LogicalPlan::Distinct(Distinct::On(mut on)) => {
            let schema = merge_schema(&[on.input.as_ref()]);
            let mut changed = false;
            for key in &mut on.on_expr {
                changed |= wrap(key, &schema)?;
            }
            if let Some(keys) = &mut on.sort_expr {
                changed |= sort_keys(keys, &schema)?;
            }
            Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(on)), changed)
        }
        LogicalPlan::Distinct(Distinct::All(ref input)) => {
            let mut types = input.schema().fields().iter().map(|field| sql_type(field));
            types.try_for_each(|ty| check_equality(&ty))?;
            groups::by_keys(plan, &GROUPS)?
        }
        LogicalPlan::Union(union) => united(union)?,
        LogicalPlan::Aggregate(ref aggregate) => {
            let schema = aggregate.input.schema();
            let mut types = aggregate.group_expr.iter().map(|key| type_of(key, schema));
            types.try_for_each(|ty| check_equality(&ty))?;
            groups::by_keys(plan, &GROUPS)?
        }
        other => Transformed::no(other),
    })
}

/// UNION of JSON and literals, which are read as the others are.
fn united(mut union: Union) -> DataFusionResult<Transformed<LogicalPlan>> {
    let width = union.schema.fields().len();
    let type_at = |input: &LogicalPlan, at: usize| {
        let fields = input.schema().fields();
        fields.get(at).map_or(SqlType::Unknown, |field| sql_type(field))
    };
    let wanted: Vec<Option<SqlType>> = (0..width)
        .map(|at| union.inputs.iter().map(|input| type_at(input, at)).find(is_json))
        .collect();
    if wanted.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let mut changed = false;
    for input in &mut union.inputs {
        let literals = literal_columns(input);
        let mut columns: Vec<Expr> = Vec::with_capacity(width);
        let mut reads = false;
        for (at, wanted) in wanted.iter().enumerate() {
            let Some((qualifier, field)) = input.schema().iter().nth(at) else {
                return Ok(Transformed::no(LogicalPlan::Union(union)));
            };
            let column = Expr::Column(Column::from((qualifier, field)));
            let is = sql_type(field);
            let untyped = literals.get(at).copied().unwrap_or(false) || is == SqlType::Unknown;
            columns.push(match wanted {
                Some(wanted) if &is != wanted && untyped => {
                    reads = true;
                    let function = match wanted {
                        SqlType::Json => "staffa_read_json",
                        _ => "staffa_read_jsonb",
                    };
                    call(function, vec![column])?.alias_qualified(qualifier.cloned(), field.name())
                }
                Some(wanted) if &is != wanted => {
                    let message = format!("UNION types {wanted} and {is} cannot be matched");
                    return Err(Error::new(ErrorKind::DatatypeMismatch, message).into());
                }
                _ => column,
            });
        }
        if reads {
            let projection = Projection::try_new(columns, Arc::clone(input))?;
            *input = Arc::new(LogicalPlan::Projection(projection));
            changed = true;
        }
    }
    match changed {
        true => {
            let union = Union::try_new_with_loose_types(union.inputs)?;
            Ok(Transformed::yes(LogicalPlan::Union(union)))
        }
        false => Ok(Transformed::no(LogicalPlan::Union(union))),
    }
}
