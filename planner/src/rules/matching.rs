//! Types that stand side by side have to match, and have PostgreSQL's common type.
//!
//! | before | DataFusion would | after |
//! |---|---|---|
//! | `d = 1`, `t < 2.5` of a date, a text | compare days since 1970, or texts | error 42883 |
//! | `coalesce(d, 1)`, CASE, `greatest`, `array[…]`, UNION of such | the same | error 42804 |
//! | `t::real` of a timestamp | give microseconds | error 42846 |
//! | `nullif(i, n)` of an `integer` and a `bigint` | yield a `bigint` | an `integer` |
//! | `case when 1 then …`, `1 and true` | take numbers for conditions | error 42804 |
//! | `r = 0.1`, `r * i` of a `real` | compute with 32 bits | the same in 64 bits |
//! | `f between 0.1 and n`, `f in (0.1, n)`, `case f when 0.1` of a float | compare numerics, which hold no large float | compare `double precision` |
//! | `array[[1, 2]]::text[]` | make texts of the rows | cast the elements |
//! | `s << i` of a `smallint` and an `integer` | yield an `integer` | a `smallint`: the lower half of 32 bits |
//! | `coalesce(r, 0.1)` of a `real` | yield a `numeric` | a `real` |
//! | `coalesce(v, w)` of a `varchar` or `name` | forget the type | `staffa_typed(coalesce(v, w))`, in results |
//! | `greatest(i, j)` of intervals, `jsonb` or arrays | compare them part by part, as texts, NULLs first | `case when i is null …`, which compares as operators do |
//!
//! Literals without a type and parameters match everything. Must run before anything is coerced; matching types stay as
//! they are, so a second run finds nothing to do.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{Case, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Projection};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{SqlType, SystemStorage, SystemType};

use super::map_expressions;
use crate::error::{Error, ErrorKind, Result};
use crate::function::{compared_arrays, is_typed, texts_of, typed};
use crate::operators::is_comparison;
use crate::operators::json::type_of;
use crate::type_planner::BARE_NUMERIC;
use crate::types::{arrow_field, data_type, sql_type};

pub(super) fn settle(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        match &node {
            LogicalPlan::Union(union) => {
                let inputs: Vec<&LogicalPlan> = union.inputs.iter().map(AsRef::as_ref).collect();
                columns_match(&inputs)?;
            }
            LogicalPlan::RecursiveQuery(query) => terms_match(query)?,
            _ => {}
        }
        let shows = matches!(
            node,
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)
        );
        map_expressions(node, |expression, schema| Ok(settled(expression, schema, shows)?))
    })
    .data()
}

fn settled(expression: Expr, schema: &DFSchema, shows: bool) -> Result<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(binary) => operands(binary, schema),
        Expr::Not(ref inner) => {
            is_condition("NOT", inner, schema)?;
            Ok(Transformed::no(expression))
        }
        Expr::InList(list) => listed(list, schema),
        Expr::InSubquery(found) => among(found, schema),
        Expr::Between(mut between) => {
            let sides = [&between.expr, &between.low, &between.high];
            let types = sides.map(|side| known_type(side, schema));
            let [value, low, high] = &types;
            comparable(value, Operator::GtEq, low)?;
            comparable(value, Operator::LtEq, high)?;
            if matches!(value, Some(SqlType::Array(_))) {
                return array_between(between);
            }
            let mut sides = [&mut *between.expr, &mut *between.low, &mut *between.high];
            let changed = in_doubles(&types, &mut sides);
            Ok(Transformed::new_transformed(Expr::Between(between), changed))
        }
        Expr::Case(case) => choice(case, schema, shows),
        Expr::Cast(cast) => {
            let cast = of_all_dimensions(cast, schema);
            castable(&cast.data, schema)?;
            Ok(cast.update_data(Expr::Cast))
        }
        Expr::ScalarFunction(call) => called(call, schema, shows),
        other => Ok(Transformed::no(other)),
    }
}

/// `a in (b, c)`. Of values that hang on no column PostgreSQL makes an array, whose elements are of one type.
fn listed(mut list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let value = known_type(&list.expr, schema);
    let mut types: Vec<_> = list.list.iter().map(|item| known_type(item, schema)).collect();
    for item in &types {
        comparable(&value, Operator::Eq, item)?;
    }
    let mut items: Vec<&mut Expr> = list.list.iter_mut().collect();
    let mut changed = false;
    if items.len() > 1 && !items.iter().any(|item| item.any_column_refs()) {
        let all: Vec<_> = std::iter::once(value.clone()).chain(types.iter().cloned()).collect();
        let common = common_type("IN", &all)?;
        if common == Some(SqlType::Real) && brought(&common, &types, &mut items) {
            changed = true;
            types
                .iter_mut()
                .filter(|ty| ty.is_some())
                .for_each(|ty| ty.clone_from(&common));
        }
    }
    types.push(value);
    items.push(&mut list.expr);
    changed |= in_doubles(&types, &mut items);
    Ok(Transformed::new_transformed(Expr::InList(list), changed))
}

/// `a in (select b from t)`
fn among(mut found: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let plan = Arc::clone(&found.subquery.subquery);
    let Some((qualifier, field)) = plan.schema().iter().next() else {
        return Ok(Transformed::no(Expr::InSubquery(found)));
    };
    let mut column = Expr::Column(Column::from((qualifier, field)));
    let types = [known_type(&found.expr, schema), known_type(&column, plan.schema())];
    let changed = in_doubles(&types, &mut [&mut found.expr, &mut column]);
    if !matches!(column, Expr::Column(_)) {
        let column = column.alias_qualified(qualifier.cloned(), field.name());
        let plan = Projection::try_new(vec![column], Arc::clone(&plan))?;
        found.subquery.subquery = Arc::new(LogicalPlan::Projection(plan));
    }
    Ok(Transformed::new_transformed(Expr::InSubquery(found), changed))
}

/// `a between b and c` of arrays, which compare by functions.
fn array_between(between: Between) -> Result<Transformed<Expr>> {
    let Between {
        expr,
        negated,
        low,
        high,
    } = between;
    if expr.is_volatile() {
        return Err(Error::unsupported("BETWEEN of volatile arrays is not supported"));
    }
    let from = compared_arrays(expr.as_ref().clone(), Operator::GtEq, *low);
    let within = from.and(compared_arrays(*expr, Operator::LtEq, *high));
    Ok(Transformed::yes(if negated {
        Expr::Not(Box::new(within))
    } else {
        within
    }))
}

/// The type of an expression; `None` where the text does not tell one, or where it matches in ways of its own.
fn known_type(expression: &Expr, schema: &DFSchema) -> Option<SqlType> {
    match expression {
        Expr::Placeholder(_) => return None,
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::Null, _) => return None,
        Expr::Alias(alias) => return known_type(&alias.expr, schema),
        // Its field tells of what was cast, too. Of a bare NULL coercion makes a text.
        Expr::Cast(cast) => {
            let is_null = matches!(cast.expr.as_ref(), Expr::Literal(value, _) if value.is_null());
            let told = |ty: &SqlType| *ty != SqlType::Unknown && !(is_null && *ty == SqlType::Text);
            return Some(sql_type(&cast.field)).filter(told);
        }
        _ => {}
    }
    let field = match expression {
        // Its field has nothing but the type, and a name that takes long to write: chains are long.
        Expr::BinaryExpr(_) => Arc::new(Field::new("", expression.get_type(schema).ok()?, true)),
        _ => expression.to_field(schema).ok()?.1,
    };
    match sql_type(&field) {
        SqlType::Unknown => None,
        // A choice of JSON forgets that it is, and so does what is found in one.
        SqlType::Text | SqlType::Jsonb if matches!(expression, Expr::Case(_) | Expr::ScalarFunction(_)) => {
            Some(type_of(expression, schema)).filter(|ty| *ty != SqlType::Unknown)
        }
        ty => Some(ty),
    }
}

/// PostgreSQL's categories of types, within which they match. Types that are none here match in ways of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Category {
    Number,
    Text,
    Boolean,
    /// Those of days.
    Day,
    Time,
    Interval,
    Bytea,
    Uuid,
    Json,
    Jsonb,
}

impl Category {
    fn of(ty: &SqlType) -> Option<Self> {
        Some(match ty {
            SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Real
            | SqlType::Double
            | SqlType::Numeric { .. } => Self::Number,
            SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) => Self::Text,
            SqlType::Boolean => Self::Boolean,
            SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz => Self::Day,
            SqlType::Time => Self::Time,
            SqlType::Interval => Self::Interval,
            SqlType::Rounded(plain, _) => return Self::of(plain),
            SqlType::Bytea => Self::Bytea,
            SqlType::Uuid => Self::Uuid,
            SqlType::Json => Self::Json,
            SqlType::Jsonb => Self::Jsonb,
            SqlType::System(ty) => match ty.storage() {
                SystemStorage::Number => Self::Number,
                SystemStorage::Text => Self::Text,
                SystemStorage::SmallInts | SystemStorage::Oids => return None,
            },
            SqlType::Array(_) | SqlType::Struct(_) | SqlType::Unknown => return None,
        })
    }
}

fn comparable(left: &Option<SqlType>, op: Operator, right: &Option<SqlType>) -> Result<()> {
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(());
    };
    let matches = match (Category::of(left), Category::of(right)) {
        (Some(Category::Json), _) | (_, Some(Category::Json)) => false,
        (Some(left), Some(right)) => {
            left == right
                || matches!(
                    (left, right),
                    (Category::Time, Category::Interval) | (Category::Interval, Category::Time)
                )
        }
        (None, Some(_)) | (Some(_), None) => false,
        (None, None) => true,
    };
    if matches {
        return Ok(());
    }
    let (left, right) = (named(left), named(right));
    let message = match op {
        Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => format!("operator does not exist: {left} = {right}"),
        op => format!("operator does not exist: {left} {op} {right}"),
    };
    Err(Error::new(ErrorKind::UndefinedFunction, message)
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts."))
}

/// The name of a type without its modifiers.
fn named(ty: &SqlType) -> String {
    let text = ty.plain().to_string();
    match ty {
        SqlType::Array(_) | SqlType::Struct(_) => text,
        _ => text.split('(').next().unwrap_or(&text).to_string(),
    }
}

/// A cast of an array is one of its elements, however many dimensions it has: PostgreSQL has one type for all of them.
fn of_all_dimensions(cast: Cast, schema: &DFSchema) -> Transformed<Cast> {
    fn inside(ty: &SqlType) -> Option<&SqlType> {
        match ty {
            SqlType::Array(element) => Some(element),
            _ => None,
        }
    }
    let target = sql_type(&cast.field);
    let given = known_type(&cast.expr, schema);
    let (Some(mut given), Some(mut element)) = (given.as_ref().and_then(inside), inside(&target)) else {
        return Transformed::no(cast);
    };
    let mut whole = target.clone();
    while let Some(inner) = inside(given) {
        given = inner;
        match inside(element) {
            Some(inner) => element = inner,
            None => whole = SqlType::Array(Box::new(whole)),
        }
    }
    if whole == target {
        return Transformed::no(cast);
    }
    let field = arrow_field("", &whole, true, "UTC");
    Transformed::yes(Cast::new_from_field(cast.expr, Arc::new(field)))
}

/// Whether PostgreSQL has a cast; Arrow has more.
fn castable(cast: &Cast, schema: &DFSchema) -> Result<()> {
    // A difference of two dates is a number already.
    if matches!(cast.expr.as_ref(), Expr::BinaryExpr(_)) {
        return Ok(());
    }
    let (Some(from), to) = (known_type(&cast.expr, schema), sql_type(&cast.field)) else {
        return Ok(());
    };
    if is_castable(&from, &to) {
        return Ok(());
    }
    let message = format!("cannot cast type {} to {}", named(&from), named(&to));
    Err(Error::new(ErrorKind::CannotCoerce, message))
}

fn is_castable(from: &SqlType, to: &SqlType) -> bool {
    match (from, to) {
        (SqlType::Array(from), SqlType::Array(to)) => return is_castable(from, to),
        (SqlType::Array(_), SqlType::System(SystemType::Char)) => return false,
        (SqlType::Array(_), to) => return !matches!(Category::of(to), Some(to) if to != Category::Text),
        _ => {}
    }
    let is_letter = |ty: &SqlType| matches!(ty, SqlType::System(SystemType::Char));
    let (Some(of_from), Some(of_to)) = (Category::of(from), Category::of(to)) else {
        return !matches!((Category::of(from), to), (Some(from), SqlType::Array(_)) if from != Category::Text);
    };
    // Letters are a category of their own.
    if is_letter(from) || is_letter(to) {
        return (of_from, of_to) == (Category::Text, Category::Text)
            || matches!((from, to), (SqlType::Integer, _) | (_, SqlType::Integer));
    }
    match (of_from, of_to) {
        (from, to) if from == to => true,
        (Category::Text, _) | (_, Category::Text) => true,
        (Category::Number, Category::Boolean) => from == &SqlType::Integer,
        (Category::Boolean, Category::Number) => to == &SqlType::Integer,
        (Category::Day, Category::Time) => from != &SqlType::Date,
        (Category::Time, Category::Interval) | (Category::Interval, Category::Time) => true,
        // `time + interval` and `time - time` are computed so; those that a statement asks for are refused before (`checks`).
        (Category::Time, Category::Number) => to == &SqlType::BigInt,
        (Category::Number, Category::Interval) => from == &SqlType::BigInt,
        (Category::Json, Category::Jsonb) | (Category::Jsonb, Category::Json) => true,
        (Category::Jsonb, Category::Number | Category::Boolean) => true,
        _ => false,
    }
}

fn operands(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = binary;
    match op {
        Operator::And | Operator::Or => {
            let name = if op == Operator::And { "AND" } else { "OR" };
            is_condition(name, &left, schema)?;
            is_condition(name, &right, schema)?;
        }
        op if is_comparison(op) => {
            let (of_left, of_right) = (known_type(&left, schema), known_type(&right, schema));
            comparable(&of_left, op, &of_right)?;
            return Ok(in_double(*left, of_left, op, *right, of_right));
        }
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide => {
            // The right side first: it is short in the long chains, which lean left.
            let of_right = known_type(&right, schema);
            if of_right
                .as_ref()
                .is_some_and(|ty| Category::of(ty) == Some(Category::Number))
            {
                let of_left = known_type(&left, schema);
                return Ok(in_double(*left, of_left, op, *right, of_right));
            }
        }
        // The optimiser takes it for 0, also where the value is NULL.
        Operator::BitwiseXor if left == right && !left.is_volatile() => {
            let nothing = BinaryExpr::new(left.clone(), Operator::Minus, right);
            return Ok(Transformed::yes(Expr::BinaryExpr(nothing)));
        }
        Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight => {
            let types = (known_type(&left, schema), known_type(&right, schema));
            let by = |to| cast(*right.clone(), to);
            let right = match types {
                // What the processor makes of it: it shifts 32 bits, and looks at five of the count.
                (Some(SqlType::SmallInt), Some(SqlType::SmallInt | SqlType::Integer)) => {
                    return Ok(Transformed::yes(shifted_smallint(*left, op, *right)));
                }
                (Some(SqlType::BigInt), Some(SqlType::SmallInt | SqlType::Integer)) => by(DataType::Int64),
                _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            };
            return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
                left,
                op,
                Box::new(right),
            ))));
        }
        _ => {}
    }
    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// In 32 bits, as a processor shifts, of which the lower half is kept.
fn shifted_smallint(left: Expr, op: Operator, right: Expr) -> Expr {
    let shifted = |value: Expr, op, by: Expr| Expr::BinaryExpr(BinaryExpr::new(Box::new(value), op, Box::new(by)));
    let half = || Expr::Literal(ScalarValue::Int32(Some(16)), None);
    let whole = shifted(cast(left, DataType::Int32), op, cast(right, DataType::Int32));
    let kept = shifted(whole, Operator::BitwiseShiftLeft, half());
    cast(shifted(kept, Operator::BitwiseShiftRight, half()), DataType::Int16)
}

/// A `real` beside any other number is a `double precision`, and so is the other one.
fn in_double(
    left: Expr,
    of_left: Option<SqlType>,
    op: Operator,
    right: Expr,
    of_right: Option<SqlType>,
) -> Transformed<Expr> {
    let is_other = |ty: &SqlType| Category::of(ty) == Some(Category::Number) && *ty != SqlType::Real;
    let mixed = match (&of_left, &of_right) {
        (Some(SqlType::Real), Some(other)) | (Some(other), Some(SqlType::Real)) => is_other(other),
        // Where NULL is a value DataFusion would compare them as numerics.
        (Some(SqlType::Double), Some(SqlType::Numeric { .. }))
        | (Some(SqlType::Numeric { .. }), Some(SqlType::Double)) => is_comparison(op),
        _ => false,
    };
    let double = |operand| match mixed {
        true => cast(operand, DataType::Float64),
        false => operand,
    };
    let binary = BinaryExpr::new(Box::new(double(left)), op, Box::new(double(right)));
    Transformed::new_transformed(Expr::BinaryExpr(binary), mixed)
}

/// The same of several that are compared with one: DataFusion would make numerics of them.
fn in_doubles(types: &[Option<SqlType>], values: &mut [&mut Expr]) -> bool {
    let is_number = |ty: &&SqlType| Category::of(ty) == Some(Category::Number);
    let numbers: Vec<&SqlType> = types.iter().flatten().filter(is_number).collect();
    let has_float = numbers.iter().any(|ty| matches!(ty, SqlType::Real | SqlType::Double));
    if !has_float || numbers.windows(2).all(|pair| pair[0] == pair[1]) {
        return false;
    }
    for (value, ty) in values.iter_mut().zip(types) {
        if ty.as_ref().is_some_and(|ty| is_number(&ty) && *ty != SqlType::Double) {
            **value = cast(std::mem::take(*value), DataType::Float64);
        }
    }
    true
}

fn cast(expression: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new_from_field(
        Box::new(expression),
        Arc::new(Field::new("", to, true)),
    ))
}

/// Whether something may stand where a condition has to. Only what can have another type is asked: long chains of conditions have none.
fn is_condition(of: &str, expression: &Expr, schema: &DFSchema) -> Result<()> {
    if !matches!(
        expression,
        Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Cast(_)
            | Expr::ScalarFunction(_)
            | Expr::Case(_)
            | Expr::Negative(_)
    ) {
        return Ok(());
    }
    match known_type(expression, schema) {
        None | Some(SqlType::Boolean) => Ok(()),
        Some(other) => {
            let message = format!("argument of {of} must be type boolean, not type {}", named(&other));
            Err(Error::new(ErrorKind::DatatypeMismatch, message))
        }
    }
}

/// `select_common_type`; `None` where nothing tells a type.
fn common_type(context: &str, types: &[Option<SqlType>]) -> Result<Option<SqlType>> {
    let mut common: Option<&SqlType> = None;
    for ty in types.iter().flatten() {
        let Some(known) = common else {
            common = Some(ty);
            continue;
        };
        let mismatch = || {
            let message = format!("{context} types {} and {} cannot be matched", named(known), named(ty));
            Error::new(ErrorKind::DatatypeMismatch, message)
        };
        match (Category::of(known), Category::of(ty)) {
            (Some(left), Some(right)) if left != right => return Err(mismatch()),
            (Some(_), None) | (None, Some(_)) => return Err(mismatch()),
            _ => {}
        }
        if rank(ty) > rank(known) {
            common = Some(ty);
        }
    }
    Ok(common.cloned())
}

/// Types are cast by themselves to those of their category that have a higher rank.
fn rank(ty: &SqlType) -> u8 {
    match ty.plain() {
        SqlType::Array(element) => rank(element),
        SqlType::SmallInt | SqlType::Date => 1,
        SqlType::Integer | SqlType::Timestamp => 2,
        SqlType::BigInt | SqlType::TimestampTz => 3,
        SqlType::Numeric { .. } | SqlType::System(SystemType::Oid) => 4,
        SqlType::Real => 5,
        SqlType::Double => 6,
        _ => 0,
    }
}

/// The text type of a choice that is not `text`: DataFusion does not keep it.
fn common_text(types: &[Option<SqlType>]) -> Option<SqlType> {
    let mut common: Option<SqlType> = None;
    for ty in types.iter().flatten() {
        common = Some(match (common, ty) {
            (None, ty) => ty.clone(),
            (Some(known), ty) if &known == ty => known,
            (Some(SqlType::Varchar(_) | SqlType::Char(_)), SqlType::System(SystemType::Name)) => ty.clone(),
            (Some(SqlType::Varchar(_)), _) => SqlType::Varchar(None),
            (Some(SqlType::System(SystemType::Name)), _) => SqlType::System(SystemType::Name),
            _ => return None,
        });
    }
    let is_kept = |ty: &SqlType| {
        matches!(
            ty,
            SqlType::Varchar(_) | SqlType::Char(_) | SqlType::System(SystemType::Name | SystemType::Char)
        )
    };
    // A literal has no modifier, nor then has the whole; and there is no `char` without one.
    let common = match types.contains(&None) {
        true => common.and_then(|ty| match ty {
            SqlType::Varchar(_) => Some(SqlType::Varchar(None)),
            SqlType::Char(_) => None,
            other => Some(other),
        }),
        false => common,
    };
    common.filter(is_kept)
}

/// The expression as a value of this text type.
fn as_text_type(expression: Expr, ty: Option<SqlType>) -> Transformed<Expr> {
    match ty {
        Some(ty) => Transformed::yes(typed(expression, ty)),
        None => Transformed::no(expression),
    }
}

/// Brings the values of a choice to one type where DataFusion would find another one.
fn brought(common: &Option<SqlType>, types: &[Option<SqlType>], values: &mut [&mut Expr]) -> bool {
    let mut changed = false;
    if let Some(common @ SqlType::Array(_)) = common {
        for (value, ty) in values.iter_mut().zip(types) {
            if ty.as_ref().is_some_and(|ty| rank(ty) < rank(common)) {
                **value = typed_as(std::mem::take(*value), common);
                changed = true;
            }
        }
        return changed;
    }
    let Some(common @ (SqlType::Real | SqlType::Double | SqlType::System(SystemType::Oid))) = common else {
        return false;
    };
    for (value, ty) in values.iter_mut().zip(types) {
        if ty.as_ref().is_some_and(|ty| ty != common) {
            **value = cast(std::mem::take(*value), data_type(common, "UTC"));
            changed = true;
        }
    }
    changed
}

/// The same for dates and timestamps in an array, for which DataFusion finds no type with a zone.
fn days_brought(
    common: &Option<SqlType>,
    types: &[Option<SqlType>],
    values: &mut [&mut Expr],
    schema: &DFSchema,
) -> bool {
    let Some(common @ (SqlType::Timestamp | SqlType::TimestampTz)) = common.as_ref().map(SqlType::plain) else {
        return false;
    };
    let is_common = |ty: &Option<SqlType>| ty.as_ref().is_some_and(|ty| ty.plain() == common);
    let target = types.iter().position(is_common);
    let Some(target) = target.and_then(|at| values[at].get_type(schema).ok()) else {
        return false;
    };
    let mut changed = false;
    for (value, ty) in values.iter_mut().zip(types) {
        if ty.is_some() && !is_common(ty) {
            **value = cast(std::mem::take(*value), target.clone());
            changed = true;
        }
    }
    changed
}

fn choice(mut case: Case, schema: &DFSchema, shows: bool) -> Result<Transformed<Expr>> {
    let mut changed = false;
    match &mut case.expr {
        Some(value) => {
            let whens = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
            let mut compared: Vec<&mut Expr> = std::iter::once(value.as_mut()).chain(whens).collect();
            let types: Vec<_> = compared.iter().map(|side| known_type(side, schema)).collect();
            for when in &types[1..] {
                comparable(&types[0], Operator::Eq, when)?;
            }
            changed |= in_doubles(&types, &mut compared);
        }
        None => {
            for (when, _) in &case.when_then_expr {
                is_condition("CASE/WHEN", when, schema)?;
            }
        }
    }
    let results = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
    // PostgreSQL asks the ELSE first.
    let mut values: Vec<&mut Expr> = case.else_expr.as_deref_mut().into_iter().chain(results).collect();
    let mut types: Vec<Option<SqlType>> = values.iter().map(|value| known_type(value, schema)).collect();
    changed |= brought(&common_type("CASE", &types)?, &types, &mut values);
    if case.else_expr.is_none() {
        // NULL, as if it were written.
        types.push(None);
    }
    let mut named = as_text_type(Expr::Case(case), common_text(&types).filter(|_| shows));
    named.transformed |= changed;
    Ok(named)
}

fn called(mut call: ScalarFunction, schema: &DFSchema, shows: bool) -> Result<Transformed<Expr>> {
    let context = match call.func.name() {
        "coalesce" => "COALESCE",
        "greatest" => "GREATEST",
        "least" => "LEAST",
        "make_array" => "ARRAY",
        "nullif" => return null_if(call, schema, shows),
        "array_to_string" => return Ok(of_texts(call, schema)),
        _ => return Ok(once_typed(Expr::ScalarFunction(call))),
    };
    let mut values: Vec<&mut Expr> = call.args.iter_mut().collect();
    let types: Vec<Option<SqlType>> = values.iter().map(|value| known_type(value, schema)).collect();
    let common = common_type(context, &types)?;
    let mut changed = brought(&common, &types, &mut values);
    if context == "ARRAY" {
        changed |= days_brought(&common, &types, &mut values, schema);
    }
    if matches!(context, "GREATEST" | "LEAST") {
        match common.as_ref() {
            Some(SqlType::Json) => {
                let message = "could not identify a comparison function for type json";
                return Err(Error::new(ErrorKind::UndefinedFunction, message));
            }
            Some(ty) if matches!(ty.plain(), SqlType::Interval | SqlType::Jsonb | SqlType::Array(_)) => {
                return Ok(Transformed::yes(by_comparisons(call, ty)?));
            }
            _ => {}
        }
    }
    let kept = common_text(&types).filter(|_| shows && context != "ARRAY");
    let mut named = as_text_type(Expr::ScalarFunction(call), kept);
    named.transformed |= changed;
    Ok(named)
}

/// `array_to_string` prints elements; not all have a cast that DataFusion would make for it.
fn of_texts(mut call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let list = call.args.first().and_then(|array| array.get_type(schema).ok());
    let texts = list.as_ref().and_then(texts_of);
    let changed = texts.is_some() && texts != list;
    if let (Some(array), Some(texts), true) = (call.args.first_mut(), texts, changed) {
        *array = cast(std::mem::take(array), texts);
    }
    Transformed::new_transformed(Expr::ScalarFunction(call), changed)
}

/// `nullif` is of its first argument's type; DataFusion brings both to one.
fn null_if(call: ScalarFunction, schema: &DFSchema, shows: bool) -> Result<Transformed<Expr>> {
    let [left, right] = call.args.as_slice() else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let (of_left, of_right) = (known_type(left, schema), known_type(right, schema));
    comparable(&of_left, Operator::Eq, &of_right)?;
    if let (None, Some(ty @ SqlType::System(SystemType::Name | SystemType::Char)), false) =
        (&of_left, &of_right, matches!(left, Expr::Placeholder(_)))
    {
        let args = vec![typed_as(left.clone(), ty), right.clone()];
        let call = Expr::ScalarFunction(ScalarFunction { func: call.func, args });
        let mut named = as_text_type(call, Some(ty.clone()).filter(|_| shows));
        named.transformed = true;
        return Ok(named);
    }
    if let Some(SqlType::System(SystemType::Name | SystemType::Char)) = &of_left {
        return Ok(as_text_type(Expr::ScalarFunction(call), of_left.filter(|_| shows)));
    }
    let (Some(own), Some(other)) = (of_left, of_right) else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let differ = match Category::of(&own) {
        Some(Category::Number | Category::Day) => rank(&own) != rank(&other),
        // They compare by their length.
        Some(Category::Interval) => true,
        _ => false,
    };
    if !differ || left.is_volatile() {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    }
    // Operators that compare two types keep the first one; others are of the type both are cast to.
    let kept = match (rank(&own), rank(&other)) {
        (1..=3, 4) => BARE_NUMERIC,
        (1..=4, 5 | 6) => SqlType::Double,
        _ => own.clone(),
    };
    let kept = if matches!(Category::of(&own), Some(Category::Day | Category::Interval)) {
        own.clone()
    } else {
        kept
    };
    let value = match kept == own {
        true => left.clone(),
        false => typed_as(left.clone(), &kept),
    };
    let equal = BinaryExpr::new(Box::new(left.clone()), Operator::Eq, Box::new(right.clone()));
    let equal = operands(equal, schema)?.data;
    let null = Expr::Literal(ScalarValue::Null, None);
    let case = Case::new(None, vec![(Box::new(equal), Box::new(null))], Some(Box::new(value)));
    Ok(Transformed::yes(Expr::Case(case)))
}

/// `cast(expression as ty)`
fn typed_as(expression: Expr, ty: &SqlType) -> Expr {
    let field = arrow_field("", ty, true, "UTC");
    Expr::Cast(Cast::new_from_field(Box::new(expression), Arc::new(field)))
}

/// What has its type already has got it once more in a second run.
fn once_typed(expression: Expr) -> Transformed<Expr> {
    if is_typed(&expression)
        && let Expr::ScalarFunction(call) = &expression
        && let [inner] = call.args.as_slice()
        && is_typed(inner)
    {
        return Transformed::yes(inner.clone());
    }
    Transformed::no(expression)
}

/// The greatest or least of values by the operators that compare them.
fn by_comparisons(call: ScalarFunction, ty: &SqlType) -> Result<Expr> {
    if call.args.iter().any(Expr::is_volatile) {
        let message = format!("{} of volatile values of type {ty} is not supported", call.func.name());
        return Err(Error::unsupported(message));
    }
    let op = if call.func.name() == "least" {
        Operator::LtEq
    } else {
        Operator::GtEq
    };
    let typed = |value: Expr| match value {
        Expr::Literal(..) => typed_as(value, ty),
        other => other,
    };
    let chosen = call.args.into_iter().map(typed).reduce(|best, next| {
        let stays = match ty {
            SqlType::Array(_) => compared_arrays(best.clone(), op, next.clone()),
            _ => Expr::BinaryExpr(BinaryExpr::new(Box::new(best.clone()), op, Box::new(next.clone()))),
        };
        let case = Case::new(
            None,
            vec![
                (Box::new(next.clone().is_null()), Box::new(best.clone())),
                (Box::new(best.clone().is_null()), Box::new(next.clone())),
                (Box::new(stays), Box::new(best)),
            ],
            Some(Box::new(next)),
        );
        Expr::Case(case)
    });
    chosen.ok_or_else(|| Error::internal("the greatest of nothing"))
}

/// The types of a query's columns, as far as they are known.
fn column_types(plan: &LogicalPlan) -> Vec<Option<SqlType>> {
    if let LogicalPlan::Projection(projection) = plan {
        let schema = projection.input.schema();
        return projection
            .expr
            .iter()
            .map(|column| known_type(column, schema))
            .collect();
    }
    let known = |field: &Arc<Field>| Some(sql_type(field)).filter(|ty| *ty != SqlType::Unknown);
    plan.schema().fields().iter().map(known).collect()
}

fn columns_match(inputs: &[&LogicalPlan]) -> Result<()> {
    let inputs: Vec<_> = inputs.iter().map(|input| column_types(input)).collect();
    let width = inputs.first().map_or(0, Vec::len);
    for column in 0..width {
        let types: Vec<_> = inputs
            .iter()
            .map(|types| types.get(column).cloned().flatten())
            .collect();
        common_type("UNION", &types)?;
    }
    Ok(())
}

/// A recursive term cannot give a column a type of more values than its first term has.
fn terms_match(query: &RecursiveQuery) -> Result<()> {
    let (first, following) = (column_types(&query.static_term), column_types(&query.recursive_term));
    for (number, (own, other)) in first.into_iter().zip(following).enumerate() {
        let (Some(own), Some(other)) = (own, other) else {
            continue;
        };
        let common = match rank(&other) > rank(&own) {
            true => &other,
            false => &own,
        };
        common_type("UNION", &[Some(own.clone()), Some(other.clone())])?;
        if common != &own {
            let message = format!(
                "recursive query \"{}\" column {} has type {} in non-recursive term but type {} overall",
                query.name,
                number + 1,
                named(&own),
                named(common)
            );
            return Err(Error::new(ErrorKind::DatatypeMismatch, message)
                .with_hint("Cast the output of the non-recursive term to the correct type."));
        }
    }
    Ok(())
}
