//! Column names as PostgreSQL gives them (`FigureColname` in its parse_target.c).
//!
//! Before: `select count(*), a + 1, a, a from t`. After: `select count(*) as count, a + 1 as "?column?", a, a as "a·3"`,
//! where `·` is a character no name can hold; what follows it makes the name distinct and is never shown.
//!
//! DataFusion demands distinct names in a projection. Whether `*` collides with another column is not known before
//! names are resolved, so the first attempt marks only what surely collides and a second one all that may. A name must
//! not be given either where HAVING or an expression of ORDER BY uses it as a column: DataFusion would take the alias.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, TrimWhereField, Visitor, VisitorMut,
};

use crate::resolve::fold;
use crate::type_planner::sql_type_of_ast;
use crate::walk::{Visit, VisitMut};

/// Separates a name from what makes it distinct. PostgreSQL allows it in quoted names, nobody uses it.
pub(crate) const MARKER: char = '\u{1}';

/// The name without what makes it distinct.
pub(crate) fn strip_marker(name: &str) -> &str {
    name.split(MARKER).next().unwrap_or(name)
}

pub(super) fn query(query: &mut Query, distinct_names: bool) {
    struct Names {
        distinct_names: bool,
    }
    impl VisitorMut for Names {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let order_by = query.order_by.clone();
            body(&mut query.body, order_by.as_ref(), self.distinct_names);
            ControlFlow::Continue(())
        }
        // A column of the query around has its own name there, which DataFusion does not see.
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Derived {
                lateral: true,
                subquery,
                ..
            } = factor
                && let SetExpr::Select(select) = subquery.body.as_mut()
            {
                name_columns(&mut select.projection);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Names { distinct_names });
}

fn name_columns(projection: &mut [SelectItem]) {
    for item in projection {
        if let SelectItem::UnnamedExpr(expression @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) = item {
            let alias = Ident::with_quote('"', output_name(expression));
            let expr = expression.clone();
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

fn body(body: &mut SetExpr, order_by: Option<&OrderBy>, distinct_names: bool) {
    let SetExpr::Select(select) = body else {
        return sides(body, order_by, distinct_names);
    };
    self::select(select, order_by, distinct_names, false);
}

/// The SELECTs of a set operation, which DataFusion compares column by column, by their names alone.
fn sides(body: &mut SetExpr, order_by: Option<&OrderBy>, distinct_names: bool) {
    // A chain of UNION ALL leans left: walk it without recursion on that side.
    let mut next = body;
    loop {
        match next {
            SetExpr::Select(select) => return self::select(select, order_by, distinct_names, true),
            SetExpr::SetOperation { left, right, .. } => {
                sides(right, None, distinct_names);
                next = left;
            }
            _ => return,
        }
    }
}

fn select(select: &mut Select, order_by: Option<&OrderBy>, distinct_names: bool, is_side: bool) {
    let reserved = reserved(select, order_by);
    let wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut used = HashSet::new();
    for (index, item) in select.projection.iter_mut().enumerate() {
        let marked = |name: &str| Ident::with_quote('"', format!("{name}{MARKER}{index}"));
        match item {
            SelectItem::UnnamedExpr(expression) => {
                let name = output_name(expression);
                let column = matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                // `t.a, u.a` are distinct to DataFusion, `a, a` are not.
                let key = match expression {
                    Expr::CompoundIdentifier(parts) if !distinct_names && !is_side => {
                        parts.iter().map(fold).collect::<Vec<_>>().join(".")
                    }
                    _ => name.clone(),
                };
                let collides = !used.insert(key) || (distinct_names && wildcard);
                if column && !collides {
                    continue;
                }
                let alias = if collides || (!column && reserved.contains(&name)) {
                    marked(&name)
                } else {
                    Ident::with_quote('"', name)
                };
                let expr = expression.clone();
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = fold(alias);
                if !used.insert(name.clone()) || (distinct_names && wildcard) {
                    *alias = marked(&name);
                }
            }
            _ => {}
        }
    }
}

/// Columns that HAVING, QUALIFY and the expressions of ORDER BY use by a bare name.
fn reserved(select: &Select, order_by: Option<&OrderBy>) -> HashSet<String> {
    struct Bare(HashSet<String>);
    impl Visitor for Bare {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if let Expr::Identifier(ident) = expression {
                self.0.insert(fold(ident));
            }
            ControlFlow::Continue(())
        }
    }
    let mut bare = Bare(HashSet::new());
    for expression in select.having.iter().chain(&select.qualify) {
        let _ = expression.visit(&mut bare);
    }
    if let Some(OrderBy {
        kind: OrderByKind::Expressions(keys),
        ..
    }) = order_by
    {
        for key in keys.iter().filter(|key| !matches!(key.expr, Expr::Identifier(_))) {
            let _ = key.expr.visit(&mut bare);
        }
    }
    bare.0
}

/// The name PostgreSQL gives to a column without an alias.
pub(crate) fn output_name(expression: &Expr) -> String {
    named(expression).map_or_else(|| "?column?".to_string(), |(name, _)| name)
}

/// A name, and whether it comes from a column or function (strong) rather than from a type or keyword.
fn named(expression: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_string(), true));
    let weak = |name: &str| Some((name.to_string(), false));
    match expression {
        Expr::Identifier(ident) => Some((fold(ident), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| (fold(ident), true)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some(fold(ident)),
                _ => None,
            });
            field.map(|field| (field, true)).or_else(|| named(root))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => named(inner),
        Expr::Function(function) => function.name.0.last()?.as_ident().map(|ident| (fold(ident), true)),
        Expr::Cast { expr, data_type, .. } => match named(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_name(data_type), false)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Expr::BinaryOp {
            op: BinaryOperator::Overlaps,
            ..
        } => strong("overlaps"),
        Expr::Interval(_) => weak("interval"),
        Expr::Case { else_result, .. } => match else_result.as_ref().and_then(|result| named(result)) {
            Some((name, true)) => Some((name, true)),
            _ => weak("case"),
        },
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Array(_) => strong("array"),
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Tuple(_) => strong("row"),
        Expr::Subquery(query) => first_column(&query.body),
        _ => None,
    }
}

fn first_column(body: &SetExpr) -> Option<(String, bool)> {
    match body {
        SetExpr::Select(select) => match select.projection.first()? {
            // A column's name is a column's, also where nothing names it.
            SelectItem::UnnamedExpr(expression) => Some((output_name(expression), true)),
            SelectItem::ExprWithAlias { alias, .. } => Some((strip_marker(&fold(alias)).to_string(), true)),
            _ => None,
        },
        SetExpr::Query(query) => first_column(&query.body),
        SetExpr::SetOperation { left, .. } => first_column(left),
        SetExpr::Values(_) => Some(("column1".to_string(), true)),
        _ => None,
    }
}

/// PostgreSQL's internal name of a type, which is what a cast without a column is called.
fn type_name(data_type: &DataType) -> String {
    use staffa_catalog::SqlType;
    let name = match sql_type_of_ast(data_type).map(|ty| ty.plain().clone()) {
        Ok(SqlType::Boolean) => "bool",
        Ok(SqlType::SmallInt) => "int2",
        Ok(SqlType::Integer) => "int4",
        Ok(SqlType::BigInt) => "int8",
        Ok(SqlType::Real) => "float4",
        Ok(SqlType::Double) => "float8",
        Ok(SqlType::Numeric { .. }) => "numeric",
        Ok(SqlType::Text) => "text",
        Ok(SqlType::Varchar(_)) => "varchar",
        Ok(SqlType::Char(_)) => "bpchar",
        Ok(SqlType::Bytea) => "bytea",
        Ok(SqlType::Date) => "date",
        Ok(SqlType::Time) => "time",
        Ok(SqlType::Timestamp) => "timestamp",
        Ok(SqlType::TimestampTz) => "timestamptz",
        Ok(SqlType::Interval) => "interval",
        Ok(SqlType::Uuid) => "uuid",
        Ok(SqlType::Json) => "json",
        Ok(SqlType::Jsonb) => "jsonb",
        Ok(SqlType::System(ty)) => ty.name().trim_matches('"'),
        Ok(SqlType::Array(_)) => match data_type {
            DataType::Array(element) => {
                use datafusion::sql::sqlparser::ast::ArrayElemTypeDef as Element;
                return match element {
                    Element::SquareBracket(inner, _) | Element::AngleBracket(inner) | Element::Parenthesis(inner) => {
                        type_name(inner)
                    }
                    Element::None => "array".to_string(),
                };
            }
            _ => "array",
        },
        _ => return data_type.to_string().to_lowercase(),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    /// Names as `select …` of PostgreSQL 15 prints them.
    #[test]
    fn names_of_postgres() {
        for (text, expected) in [
            ("count(*)", "count"),
            ("a + 1", "?column?"),
            ("1", "?column?"),
            ("'x'::text", "text"),
            ("1::int", "int4"),
            ("T.A::int", "a"),
            ("\"A\"", "A"),
            ("case when a then 1 else 2 end", "case"),
            ("case when a then 1 else b end", "b"),
            ("coalesce(a, 1)", "coalesce"),
            ("extract(year from d)", "extract"),
            ("substring(a from 1 for 2)", "substring"),
            ("substr(a, 1, 2)", "substr"),
            ("trim(a)", "btrim"),
            ("date '2024-01-01'", "date"),
            ("interval '1 day'", "interval"),
            ("array[1, 2]", "array"),
            ("exists (select 1)", "exists"),
            ("(select max(x) from t)", "max"),
            ("case when a then 1 else (select -1) end", "?column?"),
            ("(select null::boolean)::int", "bool"),
            ("now() at time zone 'UTC'", "timezone"),
            ("current_date", "current_date"),
            ("a is null", "?column?"),
        ] {
            let mut parser = Parser::new(&crate::parse::DIALECT).try_with_sql(text).expect("tokens");
            let expression = parser.parse_expr().expect("an expression");
            assert_eq!(output_name(&expression), expected, "{text}");
        }
    }

    #[test]
    fn duplicates_are_marked_and_stripped() {
        let mut parser = Parser::new(&crate::parse::DIALECT)
            .try_with_sql("select a, a, count(*), count(*) from t")
            .expect("tokens");
        let mut parsed = parser.parse_query().expect("a query");
        query(&mut parsed, false);
        let text = parsed.to_string();
        assert!(text.contains(&format!("a AS \"a{MARKER}1\"")), "{text}");
        assert!(text.contains("count(*) AS \"count\""), "{text}");
        assert_eq!(strip_marker(&format!("count{MARKER}3")), "count");
    }
}
