//! With how many digits after the point the numerics of a plan are shown.
//!
//! PostgreSQL keeps that number with every value: `case when a then 1 else 2.50 end` shows `1` or `2.50`. Arrow has one scale
//! for a whole column, so what a value is shown with is derived from the expression that yields it, as far as it is the same
//! for all its values: `1.50 + 1` has two digits, a quotient those PostgreSQL's division gives. Where values differ, the
//! fewest digits one of them can have are shown that leave out no other digit than zero ([`Digits::Among`]).
//!
//! Types do not tell (a column of `numeric(10,2)` and `1.50 * 2` have one Arrow type), and metadata of fields does not
//! outlive functions: the whole plan is looked at. It has been analysed, so casts that only bring two operands to one type
//! are known by their plain target field.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Cast, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, WindowFunctionDefinition,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{Digits, SqlType};

use crate::function::{FROM_TEXT, NUMERIC_DEVIATION, NUMERIC_DIVIDE, NUMERIC_VARIANCE, PLAIN, TO_NUMBER};
use crate::types::{TYPE_KEY, sql_type};

/// Deeper expressions are not looked into: they are chains of sums that a program wrote.
const DEPTH_MAX: usize = 400;

/// The type of an expression over these inputs, as it is shown.
pub(crate) fn shown_type(expression: &Expr, schema: &DFSchema, inputs: &Inputs) -> Option<SqlType> {
    let (_, field) = expression.to_field(schema).ok()?;
    let ty = sql_type(&field);
    if !has_numeric(&ty) {
        return Some(ty);
    }
    let shown = Walk { schema, inputs }.of(expression, 0);
    Some(with_digits(ty, shown))
}

/// The types of a plan's columns, as they are shown.
pub(crate) fn column_types(plan: &LogicalPlan) -> Vec<SqlType> {
    let types: Vec<SqlType> = plan.schema().fields().iter().map(|field| sql_type(field)).collect();
    if !types.iter().any(has_numeric) {
        return types;
    }
    let columns = columns(plan).into_iter();
    types
        .into_iter()
        .zip(columns)
        .map(|(ty, shown)| with_digits(ty, shown))
        .collect()
}

/// What is known of the columns a plan's expressions read.
pub(crate) struct Inputs(Vec<(DFSchemaRef, Vec<Shown>)>);

impl Inputs {
    pub(crate) fn of(plan: &LogicalPlan) -> Self {
        let inputs = plan.inputs().into_iter();
        Self(
            inputs
                .map(|input| (Arc::clone(input.schema()), columns(input)))
                .collect(),
        )
    }
}

/// How values are shown, apart from their scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shown {
    /// The numbers of digits values can have, as in [`Digits::Among`].
    numbers: u64,
    /// Literals up to 63 among them, which have none.
    whole: u64,
    rule: Rule,
    declared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Plain,
    Mixed,
    Quotient,
    Variance,
    Root,
    Power,
    SquareRoot,
    Logarithm,
    CommonLogarithm,
}

impl Shown {
    /// This many digits.
    fn exactly(digits: u8) -> Self {
        Self {
            numbers: 1 << digits.min(63),
            ..Self::ANY
        }
    }

    /// NULL, which agrees with everything.
    const ANY: Self = Self {
        numbers: 0,
        whole: 0,
        rule: Rule::Plain,
        declared: false,
    };

    /// Literals as numbers like others.
    fn flat(self) -> u64 {
        self.numbers | u64::from(self.whole != 0)
    }

    fn least(self) -> u8 {
        match self.flat() {
            0 => 0,
            numbers => numbers.trailing_zeros() as u8,
        }
    }

    /// Of a sum of such values, which has the digits of the one that has most.
    fn summed(self) -> Self {
        match self.rule {
            Rule::Plain if self.flat() != 0 && self.numbers != u64::MAX => Self {
                numbers: 1 << (63 - self.flat().leading_zeros()),
                ..Self::ANY
            },
            _ => self.computed(),
        }
    }

    fn ruled(self, rule: Rule) -> Self {
        Self {
            rule,
            ..self.computed()
        }
    }

    fn computed(self) -> Self {
        Self {
            declared: false,
            ..self
        }
    }

    /// Of values that come from one or the other.
    fn or(self, other: Self) -> Self {
        if self == Self::ANY || self == other {
            return other;
        }
        if other == Self::ANY {
            return self;
        }
        let (numbers, rule) = match (self.rule, other.rule) {
            (left, right) if left == right => (self.numbers | other.numbers, left),
            (Rule::Plain | Rule::Mixed, Rule::Quotient) => (self.numbers, Rule::Mixed),
            (Rule::Quotient, Rule::Plain | Rule::Mixed) => (other.numbers, Rule::Mixed),
            (Rule::Mixed, Rule::Plain) | (Rule::Plain, Rule::Mixed) => (self.numbers | other.numbers, Rule::Mixed),
            _ => (self.numbers | other.numbers, Rule::Plain),
        };
        Self {
            numbers,
            whole: self.whole | other.whole,
            rule,
            declared: false,
        }
    }

    /// Of a sum; `product`: of a product.
    fn with(self, other: Self, product: bool) -> Self {
        let mut numbers = 0_u64;
        for (left, right) in pairs(self.flat().max(1), other.flat().max(1)) {
            let digits = if product { left + right } else { left.max(right) };
            numbers |= 1 << digits.min(63);
        }
        let rule = match (self.rule, other.rule) {
            (Rule::Plain, Rule::Plain) => Rule::Plain,
            (Rule::Variance | Rule::Root, Rule::Plain) | (Rule::Plain, Rule::Variance | Rule::Root) => Rule::Variance,
            _ => Rule::Quotient,
        };
        Self {
            numbers,
            whole: 0,
            rule,
            declared: false,
        }
    }
}

/// All pairs of a bit of one mask and a bit of the other.
fn pairs(left: u64, right: u64) -> impl Iterator<Item = (u32, u32)> {
    let bits = |mask: u64| (0..u64::BITS).filter(move |bit| mask >> bit & 1 == 1);
    bits(left).flat_map(move |left| bits(right).map(move |right| (left, right)))
}

fn has_numeric(ty: &SqlType) -> bool {
    match ty {
        SqlType::Numeric { .. } => true,
        SqlType::Array(element) => has_numeric(element),
        _ => false,
    }
}

fn with_digits(ty: SqlType, shown: Shown) -> SqlType {
    match ty {
        SqlType::Numeric { precision, scale, .. } => {
            let all = u8::try_from(scale).unwrap_or(0);
            let digits = match shown.rule {
                _ if shown.declared => Digits::Declared,
                Rule::Quotient => Digits::Quotient(shown.least().min(all)),
                Rule::Mixed => Digits::Mixed(shown.numbers, shown.whole),
                Rule::Variance => Digits::Variance(shown.least().min(all)),
                Rule::Root => Digits::Root(shown.least().min(all)),
                Rule::Power => Digits::Power(shown.least().min(all)),
                Rule::SquareRoot => Digits::SquareRoot(shown.least().min(all)),
                Rule::Logarithm => Digits::Logarithm(shown.least().min(all)),
                Rule::CommonLogarithm => Digits::CommonLogarithm(shown.least().min(all)),
                Rule::Plain if shown == Shown::ANY || shown.least() >= all => Digits::All,
                Rule::Plain => Digits::Among(shown.numbers, shown.whole),
            };
            SqlType::Numeric {
                precision,
                scale,
                digits,
            }
        }
        SqlType::Array(element) => SqlType::Array(Box::new(with_digits(*element, shown))),
        other => other,
    }
}

/// What a field alone tells.
fn of_type(ty: &SqlType) -> Shown {
    match ty {
        SqlType::Numeric { scale, digits, .. } => {
            let all = u8::try_from(*scale).unwrap_or(0);
            match *digits {
                Digits::Declared => Shown {
                    declared: true,
                    ..Shown::exactly(all)
                },
                Digits::All => Shown::exactly(all),
                Digits::Among(numbers, whole) => Shown {
                    numbers,
                    whole,
                    ..Shown::ANY
                },
                Digits::Mixed(numbers, whole) => Shown {
                    numbers,
                    whole,
                    rule: Rule::Mixed,
                    declared: false,
                },
                Digits::Quotient(least) => Shown::exactly(least).ruled(Rule::Quotient),
                Digits::Variance(least) => Shown::exactly(least).ruled(Rule::Variance),
                Digits::Root(least) => Shown::exactly(least).ruled(Rule::Root),
                Digits::Power(least) => Shown::exactly(least).ruled(Rule::Power),
                Digits::SquareRoot(least) => Shown::exactly(least).ruled(Rule::SquareRoot),
                Digits::Logarithm(least) => Shown::exactly(least).ruled(Rule::Logarithm),
                Digits::CommonLogarithm(least) => Shown::exactly(least).ruled(Rule::CommonLogarithm),
            }
        }
        SqlType::Array(element) => of_type(element),
        SqlType::Unknown => Shown::ANY,
        // Whole numbers, and what is no number.
        _ => Shown::exactly(0),
    }
}

fn of_fields(schema: &DFSchema) -> Vec<Shown> {
    schema.fields().iter().map(|field| of_type(&sql_type(field))).collect()
}

fn columns(plan: &LogicalPlan) -> Vec<Shown> {
    let schema = plan.schema();
    let is_numeric = |field: &Arc<arrow::datatypes::Field>| has_numeric(&sql_type(field));
    if !schema.fields().iter().any(is_numeric) {
        return of_fields(schema);
    }
    let found = match plan {
        LogicalPlan::Projection(projection) => each(plan, projection.expr.iter()),
        LogicalPlan::Filter(filter) => columns(&filter.input),
        LogicalPlan::Sort(sort) => columns(&sort.input),
        LogicalPlan::Limit(limit) => columns(&limit.input),
        LogicalPlan::Repartition(repartition) => columns(&repartition.input),
        LogicalPlan::SubqueryAlias(alias) => columns(&alias.input),
        LogicalPlan::Distinct(Distinct::All(input)) => columns(input),
        LogicalPlan::Distinct(Distinct::On(on)) => each(plan, on.select_expr.iter()),
        LogicalPlan::Aggregate(aggregate) => of_aggregate(plan, aggregate),
        LogicalPlan::Window(window) => {
            let mut found = columns(&window.input);
            found.extend(each(plan, window.window_expr.iter()));
            found
        }
        LogicalPlan::Join(join) => {
            let mut found = columns(&join.left);
            found.extend(columns(&join.right));
            found
        }
        LogicalPlan::Union(union) => alternatives(union.inputs.iter().map(|input| columns(input))),
        LogicalPlan::Values(values) => alternatives(values.values.iter().map(|row| each(plan, row.iter()))),
        LogicalPlan::RecursiveQuery(query) => columns(&query.static_term),
        LogicalPlan::Unnest(unnest) => {
            let below = columns(&unnest.input);
            let column = |index: &usize| below.get(*index).copied().unwrap_or(Shown::ANY);
            unnest.dependency_indices.iter().map(column).collect()
        }
        _ => Vec::new(),
    };
    // Semi joins have the columns of one side only; what else is not known here shows all its digits.
    match found.len() == schema.fields().len() {
        true => found,
        false => of_fields(schema),
    }
}

fn each<'a>(plan: &LogicalPlan, expressions: impl Iterator<Item = &'a Expr>) -> Vec<Shown> {
    let inputs = Inputs::of(plan);
    let schema = datafusion::logical_expr::utils::merge_schema(&plan.inputs());
    let walk = Walk {
        schema: &schema,
        inputs: &inputs,
    };
    expressions.map(|expression| walk.of(expression, 0)).collect()
}

fn of_aggregate(plan: &LogicalPlan, aggregate: &Aggregate) -> Vec<Shown> {
    let Ok(keys) = grouping_set_to_exprlist(&aggregate.group_expr) else {
        return Vec::new();
    };
    let mut found = each(plan, keys.into_iter());
    // The number of the grouping set.
    if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
        found.push(Shown::exactly(0));
    }
    found.extend(each(plan, aggregate.aggr_expr.iter()));
    found
}

fn alternatives(rows: impl Iterator<Item = Vec<Shown>>) -> Vec<Shown> {
    let or = |left: Vec<Shown>, right: Vec<Shown>| left.into_iter().zip(right).map(|(a, b)| a.or(b)).collect();
    rows.reduce(or).unwrap_or_default()
}

struct Walk<'a> {
    schema: &'a DFSchema,
    inputs: &'a Inputs,
}

impl Walk<'_> {
    fn of(&self, expression: &Expr, depth: usize) -> Shown {
        if depth > DEPTH_MAX {
            return self.of_field(expression);
        }
        let of = |inner: &Expr| self.of(inner, depth + 1);
        let any_of = |inner: &mut dyn Iterator<Item = &Expr>| inner.map(of).reduce(Shown::or).unwrap_or(Shown::ANY);
        match expression {
            Expr::Alias(alias) => of(&alias.expr),
            Expr::Column(column) => {
                let mut inputs = self.inputs.0.iter();
                let found =
                    inputs.find_map(|(schema, shown)| shown.get(schema.maybe_index_of_column(column)?).copied());
                found.unwrap_or_else(|| self.of_field(expression))
            }
            Expr::Literal(value, _) => of_literal(value),
            Expr::Cast(Cast { expr, field }) => {
                let list = match field.data_type() {
                    DataType::List(element) => Some(element.data_type()),
                    _ => None,
                };
                if let (
                    Some(element),
                    Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _),
                ) = (list, expr.as_ref())
                    && element.is_decimal()
                {
                    return of_array(text, of_type(&sql_type(field)));
                }
                if !list.unwrap_or(field.data_type()).is_decimal() {
                    return self.of_field(expression);
                }
                let target = of_type(&sql_type(field));
                if target.declared {
                    return target;
                }
                let is_number = expr.get_type(self.schema).is_ok_and(|ty| match ty {
                    DataType::List(element) => element.data_type().is_decimal() || element.data_type().is_integer(),
                    ty => ty.is_decimal() || ty.is_integer(),
                });
                match is_number {
                    true => of(expr).computed(),
                    false if field.metadata().contains_key(TYPE_KEY) => target,
                    false => Shown {
                        numbers: u64::MAX,
                        ..Shown::ANY
                    },
                }
            }
            Expr::Negative(inner) => of(inner).computed(),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::Plus | Operator::Minus | Operator::Modulo => of(left).with(of(right), false),
                Operator::Multiply => of(left).with(of(right), true),
                _ => self.of_field(expression),
            },
            Expr::Case(case) => {
                let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
                any_of(&mut results.chain(case.else_expr.iter().map(AsRef::as_ref)))
            }
            Expr::ScalarSubquery(subquery) => columns(&subquery.subquery).first().copied().unwrap_or(Shown::ANY),
            Expr::Unnest(unnest) => of(&unnest.expr),
            Expr::AggregateFunction(function) => {
                self.of_aggregate(function.func.name(), &function.params.args, expression, depth)
            }
            Expr::WindowFunction(function) => {
                let name = match &function.fun {
                    WindowFunctionDefinition::AggregateUDF(function) => function.name(),
                    WindowFunctionDefinition::WindowUDF(function) => function.name(),
                };
                self.of_aggregate(name, &function.params.args, expression, depth)
            }
            Expr::ScalarFunction(function) => match (function.func.name(), function.args.as_slice()) {
                (FROM_TEXT, [Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _)])
                    if expression.get_type(self.schema).is_ok_and(|ty| holds_decimals(&ty)) =>
                {
                    of_array(text, self.of_field(expression))
                }
                (NUMERIC_DIVIDE, [left, right, ..]) => of(left).with(of(right), false).ruled(Rule::Quotient),
                (NUMERIC_VARIANCE, [_, _, squares]) => of(squares).ruled(Rule::Variance),
                (NUMERIC_DEVIATION, [_, _, squares]) => of(squares).ruled(Rule::Root),
                ("power" | "pow", [base, exponent]) if self.is_whole(exponent) => {
                    of(base).with(Shown::exactly(16), false)
                }
                ("power" | "pow", [base, exponent]) => of(base).with(of(exponent), false).ruled(Rule::Power),
                ("exp", [number]) => of(number).ruled(Rule::Power),
                ("sqrt", [number]) => of(number).ruled(Rule::SquareRoot),
                ("ln", [number]) => of(number).ruled(Rule::Logarithm),
                ("log" | "log10", [number]) => of(number).ruled(Rule::CommonLogarithm),
                ("log", [base, number]) => of(base).with(of(number), false).ruled(Rule::CommonLogarithm),
                (TO_NUMBER | "trim_scale", _) => Shown {
                    numbers: u64::MAX,
                    ..Shown::ANY
                },
                ("mod" | "gcd" | "lcm", [left, right]) => of(left).with(of(right), false),
                (PLAIN, [inner, ..]) => of(inner),
                ("abs" | "negate" | "staffa_single_row" | "array_element", [inner, ..]) => of(inner).computed(),
                ("nullif", [inner, _]) => of(inner),
                ("array_append" | "array_prepend" | "array_cat", args) => any_of(&mut args.iter()),
                ("array_replace", [array, _, other]) => of(array).or(of(other)),
                ("array_remove" | "array_slice" | "trim_array", [array, ..]) => of(array),
                ("coalesce" | "nvl" | "ifnull" | "greatest" | "least" | "make_array", args) => any_of(&mut args.iter()),
                _ => self.of_field(expression),
            },
            _ => self.of_field(expression),
        }
    }

    fn of_aggregate(&self, name: &str, args: &[Expr], expression: &Expr, depth: usize) -> Shown {
        match (name, args) {
            ("sum", [first, ..]) => self.of(first, depth + 1).summed(),
            (
                "min" | "max" | "first_value" | "last_value" | "nth_value" | "array_agg" | "mode" | "percentile_disc",
                [first, ..],
            ) => self.of(first, depth + 1).computed(),
            ("lag" | "lead", [value, rest @ ..]) => {
                let value = self.of(value, depth + 1).computed();
                rest.get(1)
                    .map_or(value, |default| value.or(self.of(default, depth + 1).computed()))
            }
            _ => self.of_field(expression),
        }
    }

    /// Whether all values of a number are whole.
    fn is_whole(&self, number: &Expr) -> bool {
        match number {
            Expr::Literal(ScalarValue::Decimal128(Some(value), _, scale), _) => {
                let one = u32::try_from(*scale).ok().and_then(|scale| 10_i128.checked_pow(scale));
                one.is_none_or(|one| value % one == 0)
            }
            Expr::Cast(Cast { expr, .. }) => self.is_whole(expr),
            other => match other.get_type(self.schema) {
                Ok(DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => scale <= 0,
                Ok(ty) => ty.is_integer(),
                Err(_) => false,
            },
        }
    }

    fn of_field(&self, expression: &Expr) -> Shown {
        match expression.to_field(self.schema) {
            Ok((_, field)) => of_type(&sql_type(&field)),
            Err(_) => Shown::exactly(0),
        }
    }
}

fn holds_decimals(array: &DataType) -> bool {
    matches!(array, DataType::List(element) if element.data_type().is_decimal() || holds_decimals(element.data_type()))
}

/// Of the literal of an array of this type.
fn of_array(text: &str, declared: Shown) -> Shown {
    if declared.declared {
        return declared;
    }
    let elements = text
        .split(['{', '}', ','])
        .map(|element| element.trim_matches([' ', '"']));
    let numbers = elements.filter(|element| element.contains(|letter: char| letter.is_ascii_digit()));
    let digits = |element: &str| element.split_once('.').map_or(0, |(_, behind)| behind.len());
    Shown {
        numbers: numbers.fold(0, |mask, element| mask | 1 << digits(element).min(63)),
        ..Shown::ANY
    }
}

fn of_literal(value: &ScalarValue) -> Shown {
    if value.is_null() {
        return Shown::ANY;
    }
    match value {
        ScalarValue::Decimal128(Some(value), _, 0) => of_whole(*value),
        ScalarValue::Int16(Some(value)) => of_whole(i128::from(*value)),
        ScalarValue::Int32(Some(value)) => of_whole(i128::from(*value)),
        ScalarValue::Int64(Some(value)) => of_whole(i128::from(*value)),
        other => match other.data_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
                Shown::exactly(u8::try_from(scale).unwrap_or(0))
            }
            _ => Shown::exactly(0),
        },
    }
}

fn of_whole(value: i128) -> Shown {
    match u32::try_from(value).ok().and_then(|value| 1_u64.checked_shl(value)) {
        Some(whole) => Shown { whole, ..Shown::ANY },
        None => Shown::exactly(0),
    }
}
