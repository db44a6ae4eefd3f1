//! The syntax tree of a query, made ready for DataFusion: what it would ignore is refused, what it names otherwise is
//! named as PostgreSQL names it, and a few forms it lacks are put into ones it has.

pub(crate) mod all_fields;
mod catalog;
mod distinct_order;
mod forms;
mod hypothetical;
pub(crate) mod joins;
mod json;
mod literals;
mod materialized;
pub(crate) mod named_arguments;
pub(crate) mod names;
mod order_all;
pub(crate) mod owned_aggregates;
mod patterns;
mod refuse;
mod rows;
mod series;
mod shadowed;
mod subqueries;
mod ties;
mod values;
mod whole_rows;

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, UnaryOperator, Value, VisitorMut,
};
use staffa_catalog::SqlType;

pub(crate) use self::catalog::asks as asks_catalog;
pub(crate) use self::forms::{SECONDS, called_type};
pub(crate) use self::hypothetical::HYPOTHETICAL;
pub(crate) use self::json::FUNCTIONS as JSON_FUNCTIONS_BY_FORM;
pub(crate) use self::json::{gives_record, undefined_columns};
pub(crate) use self::literals::LITERAL_TYPE;
pub(crate) use self::materialized::{Materialized, numbered_anew, once};
pub(crate) use self::names::{MARKER, strip_marker};
use crate::authorize::check_calls;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::function::ARRAY_OF_ROWS;
use crate::function::json::parameter_type as json_parameter;
use crate::resolve::sequence;
use crate::type_planner::sql_type_of_ast;
use crate::walk::VisitMut;

/// Functions that are put into another form before DataFusion sees them.
pub(crate) const FUNCTIONS_BY_FORM: &[&str] = &[
    "age",
    "array_lower",
    "array_upper",
    "every",
    "generate_series",
    "generate_subscripts",
    "grouping",
    "localtime",
    "localtimestamp",
    "make_timestamptz",
    "min_scale",
    "mod",
    "pg_get_keywords",
    "pg_partition_ancestors",
    "regexp_matches",
    "regexp_split_to_table",
    "scale",
    "string_to_table",
    "timeofday",
    "timezone",
    "unnest",
    "variance",
];

/// Makes a query ready. With `distinct_names` every column that could collide with another one gets a marked name;
/// without, only those that surely do (see `names.rs`).
///
/// Returns the types its text gives to parameters: `$1::int`, `LIMIT $1`.
pub(crate) fn query(context: &PlanContext, query: &mut Query, distinct_names: bool) -> Result<Vec<Option<SqlType>>> {
    all_fields::of_tables(query);
    all_fields::of_calls(query);
    fill_exists(query);
    shadowed::rename(query);
    check_calls(context, query)?;
    refuse::query(query)?;
    order_all::by_position(query);
    distinct_order::by_position(query);
    json::values_by_alias(query);
    names::query(query, distinct_names);
    let mut rewriter = Rewriter::new(context);
    rewriter.numbered = catalog::numbered(query);
    // Tables first: a column of the select list may name its schema (`select s.t.a from s.t`).
    let named = query.visit(&mut Tables {
        qualified: &mut rewriter.qualified,
    });
    debug_assert!(named.is_continue(), "nothing there breaks off");
    match query.visit(&mut rewriter) {
        ControlFlow::Continue(()) => {
            subqueries::number(query, distinct_names);
            materialized::mark(context, query);
            Ok(rewriter.parameters)
        }
        ControlFlow::Break(error) => Err(error),
    }
}

/// `exists (select from t)` counts rows, which need no columns.
fn fill_exists(query: &mut Query) {
    struct Fill;
    impl VisitorMut for Fill {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::Exists { subquery, .. } = expression
                && let SetExpr::Select(select) = subquery.body.as_mut()
                && select.projection.is_empty()
            {
                let one = Expr::Value(Value::Number("1".to_string(), false).into());
                select.projection.push(SelectItem::UnnamedExpr(one));
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Fill);
}

/// The same for an expression that stands alone (`EXECUTE p (1 + 1)`).
pub(crate) fn expression(context: &PlanContext, expression: &mut Expr) -> Result<()> {
    check_calls(context, expression)?;
    refuse::expression(expression)?;
    let mut rewriter = Rewriter::new(context);
    match expression.visit(&mut rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    context: &'a PlanContext,
    parameters: Vec<Option<SqlType>>,
    rows_written: rows::Written,
    /// Tables named with a schema: from the folded name (`s.t`) to the alias they go by (`t`).
    qualified: HashMap<Vec<String>, Ident>,
    /// The numbers of system relations by the names they go by.
    numbered: HashMap<String, u32>,
}

impl<'a> Rewriter<'a> {
    fn new(context: &'a PlanContext) -> Self {
        Self {
            context,
            parameters: Vec::new(),
            rows_written: rows::Written::default(),
            qualified: HashMap::new(),
            numbered: HashMap::new(),
        }
    }
}

impl Rewriter<'_> {
    fn parameter(&mut self, expression: &Expr, ty: SqlType) {
        if let Some(index) = parameter_index(expression)
            && index < PARAMETERS_MAX
        {
            if self.parameters.len() <= index {
                self.parameters.resize(index + 1, None);
            }
            self.parameters[index].get_or_insert(ty);
        }
    }

    /// `s.t.a` of a table `s.t` is `t.a`.
    fn unqualified(&self, parts: &mut Vec<Ident>) {
        for length in (2..parts.len()).rev() {
            let prefix: Vec<String> = parts[..length].iter().map(crate::resolve::fold).collect();
            if let Some(alias) = self.qualified.get(&prefix) {
                let mut alias = alias.clone();
                alias.span = parts[0].span;
                parts.splice(..length, [alias]);
                return;
            }
        }
    }

    fn function(&mut self, function: &mut Function) -> Result<()> {
        let parts = crate::resolve::parts(&function.name)?;
        if let Some(name) = parts.last() {
            named_arguments::in_place(name, function)?;
        }
        if let (Some(name), FunctionArguments::List(list)) = (parts.last(), &function.args) {
            for (place, argument) in list.args.iter().enumerate() {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument
                    && parameter_index(argument).is_some()
                    && let Some(ty) = json_parameter(name, place)
                {
                    self.parameter(argument, ty);
                }
            }
        }
        match parts.as_slice() {
            [_] => sequence::check_call(self.context, function),
            [schema, name] if schema == "pg_catalog" => {
                let mut ident = Ident::new(name.clone());
                ident.span = function
                    .name
                    .0
                    .last()
                    .and_then(ObjectNamePart::as_ident)
                    .map_or(ident.span, |i| i.span);
                function.name = ObjectName(vec![ObjectNamePart::Identifier(ident)]);
                sequence::check_call(self.context, function)
            }
            [schema, _] if !self.context.snapshot.has_schema(&self.context.database, schema) => Err(Error::new(
                ErrorKind::UndefinedSchema,
                format!("schema \"{schema}\" does not exist"),
            )),
            _ => Err(crate::error::undefined_function(&parts.join("."))),
        }
    }
}

/// Parameters a statement can have; the wire counts them in 16 bits.
pub(crate) const PARAMETERS_MAX: usize = 65_535;

/// The number of a `$n`, from 0.
pub(crate) fn parameter_index(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        Expr::Nested(inner) => parameter_index(inner),
        _ => None,
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        values::of_one_type(&mut query.body);
        if query.fetch.is_some() {
            // What PostgreSQL has of it is a LIMIT by now.
            return ControlFlow::Break(Error::new(ErrorKind::SyntaxError, "syntax error at or near \"FETCH\""));
        }
        if let Err(error) = ties::query(query) {
            return ControlFlow::Break(error);
        }
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            let (limit, offset) = (limit.clone(), offset.as_ref().map(|offset| offset.value.clone()));
            for expression in limit.iter().chain(&offset) {
                self.parameter(expression, SqlType::BigInt);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let Some(Distinct::On(keys)) = &mut select.distinct
            && let Err(error) = resolve_ordinals(keys, &select.projection)
        {
            return ControlFlow::Break(error);
        }
        if let Err(error) = resolve_grouping_positions(&mut select.group_by, &select.projection) {
            return ControlFlow::Break(error);
        }
        if let Err(error) = rows::condition(select) {
            return ControlFlow::Break(error);
        }
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && let Ok(parts) = crate::resolve::parts(name)
                && let Some(alias) = self.qualified.get(&parts)
            {
                *name = ObjectName(vec![ObjectNamePart::Identifier(alias.clone())]);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let Err(error) = json::table_function(factor) {
            return ControlFlow::Break(error);
        }
        catalog::table_function(factor);
        let state = &self.context.session;
        series::table_function(factor, |name| {
            state.scalar_functions().contains_key(name) && !state.table_functions().contains_key(name)
        });
        if let TableFactor::Table {
            name,
            args: args @ Some(_),
            ..
        } = factor
            && crate::resolve::shown(name) == "read_parquet"
            && let Some(given) = args.take()
        {
            if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = given.args.as_slice()
                && let Value::SingleQuotedString(path) = &value.value
            {
                let ident = Ident::with_quote('\'', path.clone());
                *name = ObjectName(vec![ObjectNamePart::Identifier(ident)]);
                return ControlFlow::Continue(());
            }
            let message = "read_parquet takes one argument: the location of a file, as a string literal";
            return ControlFlow::Break(Error::new(ErrorKind::InvalidParameterValue, message));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        patterns::overlaps(expression);
        if let Err(error) = rows::comparison(expression, &mut self.rows_written) {
            return ControlFlow::Break(error);
        }
        if all_fields::row_of(expression).is_some() {
            return ControlFlow::Break(all_fields::unsupported());
        }
        json::member(expression);
        catalog::field(expression);
        catalog::array_comparison(expression);
        catalog::number_of_relation(expression, &self.numbered);
        if let Expr::Function(function) = expression
            && let Some(rows) = catalog::row_function(function)
        {
            *expression = rows;
        }
        match expression {
            Expr::Function(function) => {
                if let Err(error) = self.function(function) {
                    return ControlFlow::Break(error);
                }
                // `array(select …)`
                if let FunctionArguments::Subquery(query) = &mut function.args
                    && crate::resolve::shown(&function.name) == "array"
                {
                    let rows = Expr::Subquery(query.clone());
                    *expression = call(ARRAY_OF_ROWS, vec![rows]);
                }
            }
            Expr::CompoundIdentifier(parts) if parts.len() > 2 => self.unqualified(parts),
            // Reserved words that PostgreSQL takes for functions, which sqlparser knows only with parentheses.
            Expr::Identifier(ident) if ident.quote_style.is_none() => {
                let name = ident.value.to_lowercase();
                if KEYWORD_FUNCTIONS.contains(&name.as_str()) {
                    *expression = call(&name, Vec::new());
                } else if let Some(time) = forms::local_time(&name) {
                    *expression = time;
                }
            }
            Expr::BinaryOp { left, op, right } => {
                // Of two values without a type `||` makes a text.
                if *op == BinaryOperator::StringConcat && parameter_index(left).and(parameter_index(right)).is_some() {
                    self.parameter(left, SqlType::Text);
                    self.parameter(right, SqlType::Text);
                }
                // Of JSON by a path, and by several keys.
                if matches!(
                    op,
                    BinaryOperator::HashArrow
                        | BinaryOperator::HashLongArrow
                        | BinaryOperator::HashMinus
                        | BinaryOperator::QuestionPipe
                        | BinaryOperator::QuestionAnd
                ) {
                    self.parameter(right, SqlType::Array(Box::new(SqlType::Text)));
                }
                if let Err(error) = catalog::named_operator(op) {
                    return ControlFlow::Break(error);
                }
            }
            Expr::Like {
                pattern, escape_char, ..
            }
            | Expr::ILike {
                pattern, escape_char, ..
            } => forms::plain_pattern(pattern, escape_char),
            Expr::Interval(interval) => match forms::plain_interval(interval) {
                Ok(Some(rounding)) => return flow(forms::round(expression, &SqlType::Interval, rounding)),
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(error),
            },
            Expr::Cast { expr, data_type, .. } if parameter_index(expr).is_some() => match sql_type_of_ast(data_type) {
                Ok(ty) => {
                    let operand = (**expr).clone();
                    self.parameter(&operand, catalog::parameter_type(ty));
                }
                Err(error) => return ControlFlow::Break(error),
            },
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        literals::query(query);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        literals::select(select);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        literals::table_factor(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        literals::wrap(expression);
        patterns::expression(expression);
        forms::text_function(expression);
        match expression {
            Expr::Value(value) => {
                if let Value::UnicodeStringLiteral(text) = &mut value.value {
                    if text.contains('\0') {
                        let error = Error::new(ErrorKind::SyntaxError, "invalid Unicode escape value");
                        return ControlFlow::Break(error);
                    }
                    value.value = Value::SingleQuotedString(std::mem::take(text));
                }
            }
            Expr::CompoundFieldAccess { access_chain, .. } => access_chain.iter_mut().for_each(forms::fill_bounds),
            // In an array DataFusion knows neither outer columns nor queries in WITH.
            Expr::Array(array) => *expression = call("make_array", std::mem::take(&mut array.elem)),
            Expr::AtTimeZone { timestamp, time_zone } => {
                let (timestamp, time_zone) = (taken(timestamp), taken(time_zone));
                *expression = call("timezone", vec![time_zone, timestamp]);
            }
            Expr::Function(function) => match forms::function(function) {
                Ok(Some(other)) => *expression = other,
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(error),
            },
            // DataFusion would put the sign before the literal's first part only.
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } if matches!(expr.as_ref(), Expr::Interval(_)) => {
                *expression = forms::negated_interval(taken(expr));
            }
            Expr::UnaryOp { op, expr } => {
                if let Some(name) = forms::unary(*op) {
                    *expression = call(name, vec![taken(expr)]);
                }
            }
            Expr::Collate { expr, .. } => {
                let inner = std::mem::replace(expr.as_mut(), Expr::Value(Value::Null.into()));
                *expression = inner;
            }
            Expr::Cast { expr, data_type, .. } if forms::is_exact_float(expr, data_type) => {
                // By way of numeric, `1e15::float8` would lose its last digit.
                if let Expr::Value(value) = expr.as_mut()
                    && let Value::Number(digits, _) = &value.value
                {
                    value.value = Value::SingleQuotedString(digits.clone());
                }
            }
            Expr::TypedString(typed) => {
                if let Ok(SqlType::Rounded(plain, rounding)) = sql_type_of_ast(&typed.data_type) {
                    return flow(forms::round(expression, &plain, rounding));
                }
            }
            // `x::varchar(3)` cuts and `x::char(3)` pads, which no Arrow cast does.
            Expr::Cast { data_type, .. } => {
                let function = match sql_type_of_ast(data_type) {
                    Ok(SqlType::Varchar(Some(length))) => Some(("staffa_varchar", length)),
                    Ok(SqlType::Char(length)) => Some(("staffa_char", length)),
                    Ok(SqlType::Rounded(plain, rounding)) => {
                        return flow(forms::round(expression, &plain, rounding));
                    }
                    Ok(_) => None,
                    Err(error) => return ControlFlow::Break(error),
                };
                if let Some((name, length)) = function {
                    *data_type = DataType::Text;
                    let cast = std::mem::replace(expression, Expr::Value(Value::Null.into()));
                    *expression = call(
                        name,
                        vec![cast, Expr::Value(Value::Number(length.to_string(), false).into())],
                    );
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// The expression, with NULL left in its place.
fn taken(expression: &mut Expr) -> Expr {
    std::mem::replace(expression, Expr::Value(Value::Null.into()))
}

/// `distinct on (1)` is about the first column of the output.
fn resolve_ordinals(keys: &mut [Expr], projection: &[SelectItem]) -> Result<()> {
    keys.iter_mut()
        .try_for_each(|key| at_position(key, projection, "SELECT DISTINCT ON"))
}

/// So is `rollup (1)`.
fn resolve_grouping_positions(group_by: &mut GroupByExpr, projection: &[SelectItem]) -> Result<()> {
    let GroupByExpr::Expressions(keys, _) = group_by else {
        return Ok(());
    };
    let sets = keys.iter_mut().filter_map(|key| match key {
        Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => Some(sets),
        _ => None,
    });
    sets.flatten()
        .flatten()
        .try_for_each(|key| at_position(key, projection, "GROUP BY"))
}

/// Puts a column of the output in the place of its number.
fn at_position(key: &mut Expr, projection: &[SelectItem], clause: &str) -> Result<()> {
    let Expr::Value(value) = &*key else { return Ok(()) };
    let Value::Number(digits, _) = &value.value else {
        return Ok(());
    };
    let index = digits.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| projection.get(index)) {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => *key = expr.clone(),
        Some(_) => {
            let message = format!("a position behind * in {clause} is not supported");
            return Err(Error::unsupported(message));
        }
        None => {
            let message = format!("{clause} position {digits} is not in select list");
            return Err(Error::new(ErrorKind::InvalidColumnReference, message));
        }
    }
    Ok(())
}

/// Functions that are called without parentheses.
const KEYWORD_FUNCTIONS: &[&str] = &[
    "current_schema",
    "current_role",
    "current_catalog",
    "session_user",
    "current_user",
];

/// Gives a table named with its schema the alias PostgreSQL gives it: its last name.
struct Tables<'a> {
    qualified: &'a mut HashMap<Vec<String>, Ident>,
}

impl VisitorMut for Tables<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            alias: alias @ None,
            args: None,
            ..
        } = factor
            && name.0.len() > 1
            && let Some(last) = name.0.last().and_then(ObjectNamePart::as_ident)
            && let Ok(parts) = crate::resolve::parts(name)
        {
            let last = last.clone();
            self.qualified.insert(parts.clone(), last.clone());
            // `database.schema.table` also answers to `schema.table`.
            if parts.len() == 3 {
                self.qualified.insert(parts[1..].to_vec(), last.clone());
            }
            *alias = Some(TableAlias {
                explicit: true,
                name: last,
                columns: Vec::new(),
                at: None,
            });
        }
        ControlFlow::Continue(())
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
