//! Numbers have PostgreSQL's types and digits: quotients, averages and variances of numerics and integers, sums.
//!
//! | before | DataFusion would | after |
//! |---|---|---|
//! | `1.0 / 3` | keep four digits more than the dividend's | `staffa_divide(1.0, 3)` |
//! | `avg(n)` of integers, numerics | yield a float, or a few digits | `staffa_divide(sum(n), count(n))` above the aggregate |
//! | `stddev(n)`, `variance(n)` of these | yield a float | `staffa_deviation(count(n), sum(n), sum(n * n))` above it |
//! | `sum(b)` of `bigint`, of long numerics | wrap around | `sum(cast(b as numeric))`, a sum that is checked |
//! | `sum(r)` of `real` | yield a `double precision` | `cast(sum(r) as real)` above it |
//! | `q * n`, `q + n`, `q > n` with a quotient of many digits | overflow at 38 digits | the same in 256 bits |
//! | `x::numeric` | round to the digits of a column of that type | keep those of `x` |
//! | `count(distinct f)` of floats | count -0 beside 0 | `count(distinct f + 0)` |
//!
//! Types hang on what these become, so this is done while types are coerced: one expression after the other, innermost
//! first, is coerced by DataFusion and then looked at here. DataFusion's own coercion comes after it and finds nothing to do.
//! Functions `avg`, `sum` and so on are ours until then (`function/aggregate.rs`), because DataFusion's would have cast their
//! arguments to floats; what is left are its own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRewriter};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::functions::expr_fn::sqrt;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Case, WindowFunction};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Projection, Values, Window,
    WindowFunctionDefinition,
};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion::scalar::ScalarValue;

use super::{columns_below, map_whole};
use crate::error::Error;
use crate::function::{
    NumberAggregate, checked, checked_sum, interval_over, numeric_average, numeric_quotient, numeric_variance,
    over_moving_frames,
};
use crate::operators::is_comparison;
use crate::types::is_bare_numeric;

/// Scale from which a numeric is taken for a quotient, whose digits should not cost others their place.
const MANY_DIGITS: i8 = 18;
/// Most digits behind the point of a product.
const PRODUCT_SCALE_MAX: i32 = 60;

pub(super) fn settle(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(node).data()
}

fn node(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = columns_below(&plan)?;
    let transformed = map_whole(plan, |expression| {
        expression.rewrite(&mut Settle {
            schema: &schema,
            coercion: TypeCoercionRewriter::new(&schema),
        })
    })?;
    transformed
        .map_data(|plan| TypeCoercionRewriter::new(&schema).coerce_plan(plan))?
        .map_data(LogicalPlan::recompute_schema)?
        .transform_data(|plan| match plan {
            LogicalPlan::Aggregate(aggregate) => above_aggregate(aggregate, &schema),
            LogicalPlan::Window(window) => above_window(window, &schema),
            LogicalPlan::Values(values) => of_one_type(values),
            other => Ok(Transformed::no(other)),
        })
}

/// VALUES whose cells have other types now than its columns: the rows are brought to one type again.
fn of_one_type(values: Values) -> DataFusionResult<Transformed<LogicalPlan>> {
    let nothing = DFSchema::empty();
    let fits = |cell: &Expr, field: &FieldRef| match cell.get_type(&nothing) {
        Ok(ty) => &ty == field.data_type() && !is_cut(cell, &nothing) || ty == DataType::Null,
        // A parameter that has no type yet.
        Err(_) => true,
    };
    let fields = values.schema.fields();
    let unchanged = |row: &Vec<Expr>| row.iter().zip(fields).all(|(cell, field)| fits(cell, field));
    if values.values.iter().all(unchanged) {
        return Ok(Transformed::no(LogicalPlan::Values(values)));
    }
    let whole = |cell: Expr| match is_cut(&cell, &nothing) {
        true => uncast(cell),
        false => cell,
    };
    let rows = values.values.into_iter();
    let rows = rows.map(|row| row.into_iter().map(whole).collect()).collect();
    let retyped = united(rows)?;
    // Rules give columns names of their own.
    let named = values.schema.iter().zip(retyped.schema.fields());
    let named = named.map(|((qualifier, field), new)| {
        let new = new.as_ref().clone().with_name(field.name());
        (qualifier.cloned(), Arc::new(new))
    });
    let schema = DFSchema::new_with_metadata(named.collect(), values.schema.metadata().clone())?;
    Ok(Transformed::yes(LogicalPlan::Values(Values {
        schema: Arc::new(schema),
        values: retyped.values,
    })))
}

/// The rows, each column of one type. What is said of cells beside their types is kept where it is said of a whole column.
fn united(mut rows: Vec<Vec<Expr>>) -> DataFusionResult<Values> {
    let nothing = DFSchema::empty();
    let mut fields = Vec::with_capacity(rows.first().map_or(0, Vec::len));
    for column in 0..fields.capacity() {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let cells: Vec<FieldRef> = cells
            .map(|cell| Ok(cell.to_field(&nothing)?.1))
            .collect::<DataFusionResult<_>>()?;
        let mut common = DataType::Null;
        for cell in &cells {
            common = match (&common, cell.data_type()) {
                (_, DataType::Null) => continue,
                (DataType::Null, ty) => ty.clone(),
                (known, ty) => type_union_resolution(&[known.clone(), ty.clone()])
                    .ok_or_else(|| Error::internal(format!("VALUES of {known} and {ty}")))?,
            };
        }
        let is_nullable = cells.iter().any(|cell| cell.is_nullable());
        let mut field = Field::new(format!("column{}", column + 1), common, is_nullable);
        if let Some((first, others)) = cells.split_first()
            && others.iter().all(|other| other.metadata() == first.metadata())
        {
            field.set_metadata(first.metadata().clone());
        }
        fields.push(field);
    }
    for row in &mut rows {
        for (cell, field) in row.iter_mut().zip(&fields) {
            *cell = match std::mem::take(cell) {
                Expr::Literal(ScalarValue::Null, said) => {
                    Expr::Literal(ScalarValue::try_from(field.data_type())?, said)
                }
                other => other.cast_to(field.data_type(), &nothing)?,
            };
        }
    }
    let schema = DFSchema::from_unqualified_fields(fields.into(), HashMap::new())?;
    Ok(Values {
        schema: Arc::new(schema),
        values: rows,
    })
}

/// A numeric of a subquery without the cast that brought it to the type of a column of VALUES: it may get more digits yet.
/// DataFusion puts that cast into the subquery.
pub(super) fn own_digits(cell: Expr) -> DataFusionResult<Expr> {
    let cell = without_cast(cell, &DFSchema::empty());
    let Expr::ScalarSubquery(mut subquery) = cell else {
        return Ok(cell);
    };
    if let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() {
        let schema = projection.input.schema();
        let columns = projection.expr.iter().cloned();
        let columns = columns.map(|column| without_cast(column, schema)).collect();
        let own = Projection::try_new(columns, Arc::clone(&projection.input))?;
        subquery.subquery = Arc::new(LogicalPlan::Projection(own));
    }
    Ok(Expr::ScalarSubquery(subquery))
}

/// A numeric without a cast to another one that nobody wrote.
fn without_cast(value: Expr, schema: &DFSchema) -> Expr {
    match value {
        Expr::Cast(Cast { expr, field })
            if field.data_type().is_decimal()
                && field.metadata().is_empty()
                && expr.get_type(schema).is_ok_and(|ty| ty.is_decimal()) =>
        {
            *expr
        }
        other => other,
    }
}

fn uncast(cell: Expr) -> Expr {
    match cell {
        // What changed in a cell has kept its name.
        Expr::Alias(alias) => uncast(*alias.expr),
        Expr::Cast(cast) => *cast.expr,
        other => other,
    }
}

/// Whether the cast that brought a cell to its column's first type costs a quotient digits it has now.
fn is_cut(cell: &Expr, schema: &DFSchema) -> bool {
    let Expr::Cast(Cast { expr, field }) = unnamed(cell) else {
        return false;
    };
    // Only casts that somebody wrote say what they declare.
    if !field.data_type().is_decimal() || !field.metadata().is_empty() {
        return false;
    }
    let own = expr.get_type(schema).ok();
    let own = own.filter(DataType::is_decimal).as_ref().and_then(Digits::of);
    let cut = |(own, column): (Digits, Digits)| own.scale > column.scale;
    own.zip(Digits::of(field.data_type())).is_some_and(cut)
}

struct Settle<'a> {
    schema: &'a DFSchema,
    coercion: TypeCoercionRewriter<'a>,
}

impl TreeNodeRewriter for Settle<'_> {
    type Node = Expr;

    fn f_down(&mut self, expression: Expr) -> DataFusionResult<Transformed<Expr>> {
        self.coercion.f_down(expression)
    }

    fn f_up(&mut self, expression: Expr) -> DataFusionResult<Transformed<Expr>> {
        let widened = match expression {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Divide,
                right,
            }) => divided(*left, *right, self.schema),
            other => widened(other, self.schema),
        };
        let coerced = widened.transform_data(|expression| self.coercion.f_up(expression))?;
        coerced.transform_data(|expression| self.number(expression))
    }
}

impl Settle<'_> {
    fn number(&self, expression: Expr) -> DataFusionResult<Transformed<Expr>> {
        match expression {
            Expr::Cast(cast) => Ok(bare_cast(cast, self.schema)),
            Expr::AggregateFunction(call) => without_minus_zero(call, self.schema),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Aggregates with DISTINCT tell the floats -0 and 0 apart, which are equal: of -0 a sum with 0 makes 0.
fn without_minus_zero(mut call: AggregateFunction, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let params = &mut call.params;
    let ty = match (params.args.as_slice(), params.distinct) {
        ([value], true) => value.get_type(schema).ok(),
        _ => None,
    };
    let zero = match ty {
        Some(DataType::Float32) => ScalarValue::Float32(Some(0.0)),
        Some(DataType::Float64) => ScalarValue::Float64(Some(0.0)),
        _ => return Ok(Transformed::no(Expr::AggregateFunction(call))),
    };
    let zero = Expr::Literal(zero, None);
    let value = params.args[0].clone();
    if matches!(&value, Expr::ScalarFunction(sum) if sum.args.last() == Some(&zero)) {
        return Ok(Transformed::no(Expr::AggregateFunction(call)));
    }
    let sum = checked(Operator::Plus, value.clone(), zero)?;
    for key in params.order_by.iter_mut().filter(|key| key.expr == value) {
        key.expr = sum.clone();
    }
    params.args[0] = sum;
    Ok(Transformed::yes(Expr::AggregateFunction(call)))
}

/// A quotient of numerics, or of a numeric and an integer; before DataFusion would bring them to one scale.
fn divided(left: Expr, right: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let original = |left, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::Divide, Box::new(right)));
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return Transformed::no(original(left, right));
    };
    if !left_type.is_decimal() && !right_type.is_decimal() {
        return Transformed::no(original(left, right));
    }
    let other = if left_type.is_decimal() {
        &left_type
    } else {
        &right_type
    };
    let as_numeric = |ty: &DataType| match ty {
        ty if ty.is_decimal() => Some(ty.clone()),
        DataType::Null => Some(other.clone()),
        ty => whole_number(ty),
    };
    let (Some(left_numeric), Some(right_numeric)) = (as_numeric(&left_type), as_numeric(&right_type)) else {
        return Transformed::no(original(left, right));
    };
    let cast_to = |operand, from: &DataType, to| match from.is_decimal() {
        true => operand,
        false => cast(operand, to),
    };
    Transformed::yes(numeric_quotient(
        cast_to(left, &left_type, left_numeric),
        cast_to(right, &right_type, right_numeric),
    ))
}

/// `x::numeric` keeps the digits a number has. (A text is read with those of a column of that type.)
fn bare_cast(cast: Cast, schema: &DFSchema) -> Transformed<Expr> {
    let unchanged = |cast| Transformed::no(Expr::Cast(cast));
    if !is_bare_numeric(&cast.field) {
        return unchanged(cast);
    }
    let own = match cast.expr.get_type(schema) {
        Ok(ty) if ty.is_decimal() => Some(ty),
        Ok(ty) => whole_number(&ty),
        Err(_) => None,
    };
    match own {
        Some(own) if &own != cast.field.data_type() => {
            let field = Arc::new(cast.field.as_ref().clone().with_data_type(own));
            Transformed::yes(Expr::Cast(Cast::new_from_field(cast.expr, field)))
        }
        _ => unchanged(cast),
    }
}

/// The numeric that holds all integers of a type.
fn whole_number(ty: &DataType) -> Option<DataType> {
    Some(match ty {
        DataType::Int8 | DataType::UInt8 => DataType::Decimal128(3, 0),
        DataType::Int16 | DataType::UInt16 => DataType::Decimal128(5, 0),
        DataType::Int32 | DataType::UInt32 => DataType::Decimal128(10, 0),
        DataType::Int64 => DataType::Decimal128(19, 0),
        DataType::UInt64 => DataType::Decimal128(20, 0),
        _ => return None,
    })
}

/// Operands of an operator as `Decimal256` where 38 digits may be too few for its result because one of them is a quotient.
pub(crate) fn widened(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expression else {
        return Transformed::no(expression);
    };
    let types = match op {
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Modulo => types_of(&left, &right, schema),
        op if is_comparison(op) => types_of(&left, &right, schema),
        _ => None,
    };
    let Some((left_kind, right_kind)) = types else {
        return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    };
    let product = op == Operator::Multiply;
    let (whole, scale) = match product {
        true => (left_kind.whole + right_kind.whole, left_kind.scale + right_kind.scale),
        false => (
            left_kind.whole.max(right_kind.whole),
            left_kind.scale.max(right_kind.scale),
        ),
    };
    // Too many digits even for 256 bits: the longer operand gives some.
    let surplus = if product { (scale - PRODUCT_SCALE_MAX).max(0) } else { 0 };
    let needed = match (left_kind.wide, right_kind.wide) {
        (true, true) => surplus > 0,
        (false, false) => whole + scale > i32::from(DECIMAL128_MAX_PRECISION) && scale >= i32::from(MANY_DIGITS),
        _ => true,
    };
    if !needed {
        return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    let (left_cut, right_cut) = match left_kind.scale >= right_kind.scale {
        true => (surplus, 0),
        false => (0, surplus),
    };
    Transformed::yes(Expr::BinaryExpr(BinaryExpr {
        left: Box::new(left_kind.widened(*left, left_cut)),
        op,
        right: Box::new(right_kind.widened(*right, right_cut)),
    }))
}

/// A numeric's digits before and behind the point, and whether it has 256 bits.
struct Digits {
    whole: i32,
    scale: i32,
    wide: bool,
}

impl Digits {
    fn of(ty: &DataType) -> Option<Self> {
        let exact = match ty {
            ty if ty.is_decimal() => ty.clone(),
            ty => whole_number(ty)?,
        };
        match exact {
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => Some(Self {
                whole: i32::from(precision) - i32::from(scale),
                scale: i32::from(scale),
                wide: matches!(exact, DataType::Decimal256(..)),
            }),
            _ => None,
        }
    }

    /// The expression with 256 bits and so many digits fewer.
    fn widened(&self, expression: Expr, cut: i32) -> Expr {
        let scale = (self.scale - cut).max(0);
        let precision = (self.whole + scale).clamp(1, i32::from(DECIMAL256_MAX_PRECISION));
        cast(expression, DataType::Decimal256(precision as u8, scale as i8))
    }
}

fn types_of(left: &Expr, right: &Expr, schema: &DFSchema) -> Option<(Digits, Digits)> {
    // The right side first: it is short in the long chains, which lean left.
    let right = right.get_type(schema).ok()?;
    let right_digits = Digits::of(&right)?;
    let left = left.get_type(schema).ok()?;
    let numeric = left.is_decimal() || right.is_decimal();
    numeric.then_some((Digits::of(&left)?, right_digits))
}

fn cast(expression: Expr, ty: DataType) -> Expr {
    let field: FieldRef = Arc::new(Field::new("", ty, true));
    Expr::Cast(Cast::new_from_field(Box::new(expression), field))
}

/// Aggregates that are computed from others, and what is computed above them.
fn above_aggregate(aggregate: Aggregate, schema: &DFSchema) -> DataFusionResult<Transformed<LogicalPlan>> {
    let is_ours =
        |expression: &Expr| called(expression).is_some_and(|(function, _)| NumberAggregate::of(function).is_some());
    if !aggregate.aggr_expr.iter().any(is_ours) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let mut parts = Parts::default();
    let mut results = Vec::with_capacity(aggregate.aggr_expr.len());
    for expression in &aggregate.aggr_expr {
        results.push(parts.of(expression, schema)?);
    }
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    // DataFusion finds the number of the grouping set in the aggregate itself, where `grouping()` asks for it.
    let set = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]).then(|| keys - 1);
    let below = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr, parts.named())?;
    let own = |at: usize| Expr::Column(Column::from(below.schema.qualified_field(at)));
    let names = aggregate.schema.iter();
    let columns = names
        .enumerate()
        .filter(|(at, _)| Some(*at) != set)
        .map(|(at, (qualifier, field))| match at.checked_sub(keys) {
            None => own(at),
            Some(at) => results[at]
                .over(&|part| own(keys + part))
                .alias_qualified(qualifier.cloned(), field.name()),
        })
        .collect();
    let above = Projection::try_new(columns, Arc::new(LogicalPlan::Aggregate(below.clone())))?;
    Ok(Transformed::yes(LogicalPlan::Projection(above)))
}

/// What computes a projection's input: below the projection that was put above an aggregate or a window here.
pub(crate) fn computed_by(input: &LogicalPlan) -> &LogicalPlan {
    match input {
        LogicalPlan::Projection(above) => match above.input.as_ref() {
            below @ (LogicalPlan::Aggregate(_) | LogicalPlan::Window(_))
                if below
                    .schema()
                    .fields()
                    .iter()
                    .any(|field| field.name().starts_with(PART)) =>
            {
                below
            }
            _ => input,
        },
        other => other,
    }
}

fn above_window(window: Window, schema: &DFSchema) -> DataFusionResult<Transformed<LogicalPlan>> {
    let is_ours =
        |expression: &Expr| called(expression).is_some_and(|(function, _)| NumberAggregate::of(function).is_some());
    if !window.window_expr.iter().any(is_ours) {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let mut parts = Parts::default();
    let mut results = Vec::with_capacity(window.window_expr.len());
    for expression in &window.window_expr {
        results.push(parts.of(expression, schema)?);
    }
    let given = window.input.schema().fields().len();
    let below = Window::try_new(parts.named(), Arc::clone(&window.input))?;
    let own = |at: usize| Expr::Column(Column::from(below.schema.qualified_field(at)));
    let columns = window
        .schema
        .iter()
        .enumerate()
        .map(|(at, (qualifier, field))| match at.checked_sub(given) {
            None => own(at),
            Some(at) => results[at]
                .over(&|part| own(given + part))
                .alias_qualified(qualifier.cloned(), field.name()),
        })
        .collect();
    let above = Projection::try_new(columns, Arc::new(LogicalPlan::Window(below.clone())))?;
    Ok(Transformed::yes(LogicalPlan::Projection(above)))
}

/// The aggregate function an expression calls, and its arguments.
fn called(expression: &Expr) -> Option<(&AggregateUDF, &[Expr])> {
    match expression {
        Expr::Alias(alias) => called(&alias.expr),
        Expr::AggregateFunction(function) => Some((&function.func, &function.params.args)),
        Expr::WindowFunction(function) => match &function.fun {
            WindowFunctionDefinition::AggregateUDF(udaf) => Some((udaf, &function.params.args)),
            WindowFunctionDefinition::WindowUDF(_) => None,
        },
        _ => None,
    }
}

/// The same call of another function with another argument.
fn calling(expression: &Expr, function: Arc<AggregateUDF>, argument: Expr) -> Expr {
    match expression {
        Expr::Alias(alias) => calling(&alias.expr, function, argument),
        Expr::AggregateFunction(call) => {
            let mut params = call.params.clone();
            params.args = vec![argument];
            // None of these asks for an order.
            params.order_by = Vec::new();
            Expr::AggregateFunction(AggregateFunction { func: function, params })
        }
        Expr::WindowFunction(call) => {
            let mut params = call.params.clone();
            params.args = vec![argument];
            Expr::WindowFunction(Box::new(WindowFunction {
                fun: WindowFunctionDefinition::AggregateUDF(function),
                params,
            }))
        }
        other => other.clone(),
    }
}

/// The aggregate over those of its rows for which a condition holds.
fn filtered(aggregate: Expr, condition: Expr) -> Expr {
    match aggregate {
        Expr::Alias(alias) => filtered(*alias.expr, condition),
        Expr::AggregateFunction(mut call) => {
            call.params.filter = Some(Box::new(match call.params.filter {
                Some(own) => own.and(condition),
                None => condition,
            }));
            Expr::AggregateFunction(call)
        }
        other => other,
    }
}

/// How many values an aggregate has. Where none is NULL these are all rows, which `count(*)` counts once for all.
fn counting(expression: &Expr, argument: &Expr, schema: &DFSchema) -> Expr {
    let is_distinct = match unnamed(expression) {
        Expr::AggregateFunction(call) => call.params.distinct,
        Expr::WindowFunction(call) => call.params.distinct,
        _ => true,
    };
    let of_rows = !is_distinct && argument.nullable(schema).is_ok_and(|nullable| !nullable);
    let argument = match of_rows {
        true => Expr::Literal(COUNT_STAR_EXPANSION, None),
        false => argument.clone(),
    };
    calling(expression, count_udaf(), argument)
}

fn unnamed(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unnamed(&alias.expr),
        other => other,
    }
}

fn is_distinct(expression: &Expr) -> bool {
    matches!(unnamed(expression), Expr::AggregateFunction(call) if call.params.distinct)
}

/// DataFusion's own aggregates, each once, and whether the query itself asks for it.
#[derive(Default)]
struct Parts {
    native: Vec<(Expr, bool)>,
}

/// How an aggregate's value comes from parts, which are known by their places.
enum Computed {
    Itself(usize),
    Real(usize),
    /// The root of a float.
    Root(usize),
    Average {
        sum: usize,
        count: usize,
        whole: u8,
        integer: bool,
    },
    Interval {
        sum: usize,
        count: usize,
    },
    Variance {
        count: usize,
        sum: usize,
        squares: Squares,
        sample: bool,
        root: bool,
    },
}

/// The sum of squares.
#[derive(Clone, Copy)]
enum Squares {
    Sum(usize),
    /// Of distinct numbers: of those from 0 up, and of those below, as a number and its opposite have one square.
    Distinct(usize, usize),
}

impl Squares {
    fn over(self, part: &dyn Fn(usize) -> Expr) -> Expr {
        match self {
            Squares::Sum(at) => part(at),
            Squares::Distinct(above, below) => {
                let (above, below) = (part(above), part(below));
                let both = BinaryExpr::new(Box::new(above.clone()), Operator::Plus, Box::new(below.clone()));
                let case = Case::new(
                    None,
                    vec![
                        (Box::new(above.clone().is_null()), Box::new(below.clone())),
                        (Box::new(below.is_null()), Box::new(above)),
                    ],
                    Some(Box::new(Expr::BinaryExpr(both))),
                );
                Expr::Case(case)
            }
        }
    }
}

impl Computed {
    fn over(&self, part: &dyn Fn(usize) -> Expr) -> Expr {
        match *self {
            Computed::Itself(at) => part(at),
            Computed::Real(at) => cast(part(at), DataType::Float32),
            Computed::Root(at) => sqrt(part(at)),
            Computed::Average {
                sum,
                count,
                whole,
                integer,
            } => {
                let sum = match integer {
                    true => cast(part(sum), DataType::Decimal128(WHOLE_SUM, 0)),
                    false => part(sum),
                };
                let count = cast(part(count), DataType::Decimal128(19, 0));
                numeric_average(sum, count, whole)
            }
            Computed::Interval { sum, count } => interval_over(part(sum), cast(part(count), DataType::Float64)),
            Computed::Variance {
                count,
                sum,
                squares,
                sample,
                root,
            } => numeric_variance(part(count), part(sum), squares.over(part), sample, root),
        }
    }
}

impl Parts {
    fn of(&mut self, expression: &Expr, schema: &DFSchema) -> DataFusionResult<Computed> {
        let ours =
            called(expression).and_then(|(function, args)| Some((NumberAggregate::of(function)?, args.first()?)));
        let Some((function, argument)) = ours else {
            return Ok(Computed::Itself(self.asked(expression)));
        };
        let ty = argument.get_type(schema)?;
        let exact = match &ty {
            ty if ty.is_decimal() => Some(ty.clone()),
            ty => whole_number(ty),
        };
        let call = |function, argument| calling(expression, function, argument);
        let is_window = matches!(unnamed(expression), Expr::WindowFunction(_));
        Ok(match (function, exact) {
            (function, None) if is_window && ty == DataType::Float64 => {
                Computed::Itself(self.place(call(over_moving_frames(function), argument.clone())))
            }
            (NumberAggregate::Sum, _) if ty == DataType::Float32 => {
                let argument = cast(argument.clone(), DataType::Float64);
                let sum = match is_window {
                    true => call(over_moving_frames(function), argument),
                    false => total(expression, &argument, &DataType::Float64),
                };
                Computed::Real(self.place(sum))
            }
            (NumberAggregate::Sum, _) => Computed::Itself(self.place(total(expression, argument, &ty))),
            (NumberAggregate::Average, None) if matches!(ty, DataType::Interval(_)) => Computed::Interval {
                sum: self.place(call(sum_udaf(), argument.clone())),
                count: self.place(counting(expression, argument, schema)),
            },
            (NumberAggregate::Average, Some(exact)) => Computed::Average {
                sum: self.place(total(expression, argument, &ty)),
                count: self.place(counting(expression, argument, schema)),
                whole: whole_digits(&exact),
                integer: ty.is_integer(),
            },
            (NumberAggregate::Variance { sample, root }, Some(exact)) => {
                let number = factor(argument, &exact);
                let square = Expr::BinaryExpr(BinaryExpr::new(
                    Box::new(number.clone()),
                    Operator::Multiply,
                    Box::new(number.clone()),
                ));
                Computed::Variance {
                    count: self.place(counting(expression, argument, schema)),
                    sum: self.place(call(sum_udaf(), number.clone())),
                    squares: self.squares(expression, &number, square),
                    sample,
                    root,
                }
            }
            // DataFusion has distinct values for variances alone.
            (NumberAggregate::Variance { sample, root: true }, None) if is_distinct(expression) => {
                let variance = NumberAggregate::Variance { sample, root: false };
                Computed::Root(self.place(call(variance.native(), argument.clone())))
            }
            (function, None) => Computed::Itself(self.place(call(function.native(), argument.clone()))),
        })
    }

    fn squares(&mut self, expression: &Expr, number: &Expr, square: Expr) -> Squares {
        let sum = calling(expression, sum_udaf(), square);
        if !is_distinct(expression) {
            return Squares::Sum(self.place(sum));
        }
        let zero = || {
            cast(
                Expr::Literal(ScalarValue::Int32(Some(0)), None),
                DataType::Decimal128(1, 0),
            )
        };
        let mut of = |op| {
            let side = BinaryExpr::new(Box::new(number.clone()), op, Box::new(zero()));
            self.place(filtered(sum.clone(), Expr::BinaryExpr(side)))
        };
        Squares::Distinct(of(Operator::GtEq), of(Operator::Lt))
    }

    /// The place of an aggregate of the query, which keeps its name.
    fn asked(&mut self, native: &Expr) -> usize {
        let found = self
            .native
            .iter()
            .position(|(known, asked)| known == native || !asked && unnamed(known) == unnamed(native));
        let at = found.unwrap_or(self.native.len());
        match self.native.get_mut(at) {
            Some(known) => *known = (native.clone(), true),
            None => self.native.push((native.clone(), true)),
        }
        at
    }

    fn place(&mut self, native: Expr) -> usize {
        let found = self
            .native
            .iter()
            .position(|(known, _)| unnamed(known) == unnamed(&native));
        found.unwrap_or_else(|| {
            self.native.push((native, false));
            self.native.len() - 1
        })
    }

    /// The aggregates to compute. Names leave casts out, so two sums of one column could have the same: each gets its own.
    fn named(self) -> Vec<Expr> {
        let own = |(at, (native, asked)): (usize, (Expr, bool))| match asked {
            true => native,
            false => native.alias(format!("{PART}{at}")),
        };
        self.native.into_iter().enumerate().map(own).collect()
    }
}

/// What the names of parts begin with that the query does not ask for.
const PART: &str = "staffa part ";

/// Digits of sums of integers: those of `bigint` are numerics, the others are `bigint`.
const WHOLE_SUM: u8 = 29;

/// The sum that does not wrap around: of `bigint` as the numeric that holds all of them; of numerics with many digits checked,
/// or in 256 bits where it is of quotients, whose many digits leave little room, or not a plain aggregate. (Sums of smaller
/// integers are made in 64 bits, which no table fills.) Of floats the one that sees an overflow.
fn total(expression: &Expr, argument: &Expr, ty: &DataType) -> Expr {
    let is_plain = || matches!(unnamed(expression), Expr::AggregateFunction(call) if !call.params.distinct);
    match ty {
        DataType::Int64 | DataType::UInt64 => {
            let whole = whole_number(ty).unwrap_or(DataType::Decimal128(20, 0));
            calling(expression, sum_udaf(), cast(argument.clone(), whole))
        }
        DataType::Decimal128(precision, scale) if *precision + SUM_DIGITS > DECIMAL128_MAX_PRECISION => {
            if is_plain() && *scale < MANY_DIGITS {
                return calling(expression, checked_sum(), argument.clone());
            }
            let wide = DataType::Decimal256(precision + SUM_DIGITS, *scale);
            calling(expression, sum_udaf(), cast(argument.clone(), wide))
        }
        DataType::Float64 if is_plain() => calling(expression, checked_sum(), argument.clone()),
        _ => calling(expression, sum_udaf(), argument.clone()),
    }
}

/// By how many digits DataFusion widens a sum.
const SUM_DIGITS: u8 = 10;

/// Most digits behind the point of what is squared.
const SQUARED_SCALE: i8 = 20;

/// A number in a type whose square can be summed up.
fn factor(argument: &Expr, exact: &DataType) -> Expr {
    let (precision, scale) = match exact {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        _ => (DECIMAL128_MAX_PRECISION, 0),
    };
    // Squares of quotients need room for their sum.
    let (precision, scale) = match scale > SQUARED_SCALE {
        true => (precision - (scale - SQUARED_SCALE) as u8, SQUARED_SCALE),
        false => (precision, scale),
    };
    let fits = u16::from(precision) * 2 + 1 + u16::from(SUM_DIGITS) <= u16::from(DECIMAL128_MAX_PRECISION);
    let ty = match fits {
        true => DataType::Decimal128(precision, scale),
        false => DataType::Decimal256(precision, scale),
    };
    cast(argument.clone(), ty)
}

/// Digits before the point.
fn whole_digits(ty: &DataType) -> u8 {
    match ty {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            precision.saturating_sub(scale.unsigned_abs())
        }
        _ => DECIMAL128_MAX_PRECISION,
    }
}
