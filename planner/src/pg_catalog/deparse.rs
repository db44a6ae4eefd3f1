//! Views and CHECK constraints as PostgreSQL writes them: `pg_get_viewdef`, `pg_get_constraintdef`.
//!
//! PostgreSQL prints what it understood, not what was written: columns with their relations, the casts between types. What
//! is printed here is what that takes for the forms below; a text with any other form stays as it was given.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, JoinConstraint, JoinOperator, LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    UnaryOperator, Value, ValueWithSpan,
};
use staffa_catalog::{SqlType, quote_identifier};

use super::image::Relation;
use super::part::Kind;
use super::view::CatalogView;
use crate::parse::{Ast, parse_one};
use crate::resolve::{fold, shown};
use crate::stored;
use crate::type_planner::sql_type_of_ast;
use crate::value::{type_modifier, type_oid};

const BOOL: u32 = 16;
const BIGINT: u32 = 20;
const SMALLINT: u32 = 21;
const INTEGER: u32 = 23;
const TEXT: u32 = 25;
const REAL: u32 = 700;
const DOUBLE: u32 = 701;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const NUMERIC: u32 = 1700;
/// Of a text without a type yet.
const UNKNOWN: u32 = 705;

/// The query of a view; `None` when it has a form that is not known here.
pub(super) fn view(catalog: &CatalogView, view: &Relation, pretty: bool) -> Option<String> {
    let Kind::View { sql, .. } = &view.kind else {
        return None;
    };
    let Ast::Query(query) = parse_one(sql, 0).ok()?.ast else {
        return None;
    };
    let mut printer = Printer {
        catalog,
        pretty,
        relations: Vec::new(),
        named: true,
    };
    printer.query(&query, view).map(|text| format!("{text};"))
}

/// The condition of a CHECK constraint, with its parentheses.
pub(super) fn check(catalog: &CatalogView, table: &Relation, condition: &str, pretty: bool) -> Option<String> {
    over_row(catalog, table, condition, pretty).map(|printed| format!("({printed})"))
}

/// A condition over the columns of a table.
pub(super) fn over_row(catalog: &CatalogView, table: &Relation, condition: &str, pretty: bool) -> Option<String> {
    let printer = Printer {
        catalog,
        pretty,
        relations: vec![(table.name.clone(), table)],
        named: false,
    };
    let printed = printer.expression(&stored::syntax(condition).ok()?)?;
    (printed.ty == BOOL).then_some(printed.text)
}

struct Printer<'a> {
    catalog: &'a CatalogView,
    /// Without the parentheses that precedence makes needless.
    pretty: bool,
    /// What is read, by the names it has in the query.
    relations: Vec<(String, &'a Relation)>,
    /// Whether columns are written with their relations.
    named: bool,
}

/// An expression, its type and what it is at its top.
#[derive(Clone, Debug)]
struct Printed {
    text: String,
    ty: u32,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A column, a literal, a call
    Simple,
    Sum,
    Product,
    Or,
    Other,
}

impl Printed {
    fn simple(text: String, ty: u32) -> Self {
        let form = Form::Simple;
        Self { text, ty, form }
    }

    fn is_number(&self) -> bool {
        matches!(self.ty, SMALLINT | INTEGER | BIGINT | NUMERIC | REAL | DOUBLE)
    }

    fn is_whole(&self) -> bool {
        matches!(self.ty, SMALLINT | INTEGER | BIGINT)
    }
}

fn quoted(name: &str) -> String {
    quote_identifier(name).to_string()
}

fn literal(text: &str, ty: &str) -> String {
    format!("'{}'::{ty}", text.replace('\'', "''"))
}

impl<'a> Printer<'a> {
    fn query(&mut self, query: &Query, view: &Relation) -> Option<String> {
        let plain = query.with.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty()
            && query.for_clause.is_none()
            && query.pipe_operators.is_empty();
        let SetExpr::Select(select) = &*query.body else {
            return None;
        };
        if !plain {
            return None;
        }
        let mut text = self.select(select, view)?;
        if let Some(order) = &query.order_by {
            let (OrderByKind::Expressions(terms), None) = (&order.kind, &order.interpolate) else {
                return None;
            };
            let terms = terms.iter().map(|term| {
                // A name may be one of the view's own columns.
                let Expr::CompoundIdentifier(_) = &term.expr else {
                    return None;
                };
                if term.options.nulls_first.is_some() || term.with_fill.is_some() {
                    return None;
                }
                let column = self.expression(&term.expr)?.text;
                Some(match term.options.asc {
                    Some(false) => format!("{column} DESC"),
                    _ => column,
                })
            });
            text.push_str(&format!(
                "\n  ORDER BY {}",
                terms.collect::<Option<Vec<_>>>()?.join(", ")
            ));
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset {
                limit: Some(limit),
                offset: None,
                limit_by,
            }) if limit_by.is_empty() => {
                let limit = self.expression(limit)?;
                // PostgreSQL computes with `bigint` here.
                (limit.ty == INTEGER && limit.form == Form::Simple).then_some(())?;
                text.push_str(&format!("\n LIMIT {}", limit.text));
            }
            Some(_) => return None,
        }
        Some(text)
    }

    fn select(&mut self, select: &Select, view: &Relation) -> Option<String> {
        let plain = select.distinct.is_none()
            && select.top.is_none()
            && select.into.is_none()
            && select.lateral_views.is_empty()
            && select.prewhere.is_none()
            && select.cluster_by.is_empty()
            && select.distribute_by.is_empty()
            && select.sort_by.is_empty()
            && select.named_window.is_empty()
            && select.qualify.is_none()
            && select.connect_by.is_empty();
        if !plain {
            return None;
        }
        let mut sources = Vec::with_capacity(select.from.len());
        for source in &select.from {
            let mut text = self.relation(&source.relation, view)?;
            for join in &source.joins {
                let other = self.relation(&join.relation, view)?;
                let (word, on) = match &join.join_operator {
                    JoinOperator::Join(on) | JoinOperator::Inner(on) => ("JOIN", Some(on)),
                    JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => ("LEFT JOIN", Some(on)),
                    JoinOperator::Right(on) | JoinOperator::RightOuter(on) => ("RIGHT JOIN", Some(on)),
                    JoinOperator::FullOuter(on) => ("FULL JOIN", Some(on)),
                    JoinOperator::CrossJoin(JoinConstraint::None) => ("CROSS JOIN", None),
                    _ => return None,
                };
                let on = match on {
                    Some(JoinConstraint::On(on)) => {
                        let on = self.condition(on)?;
                        if self.pretty {
                            format!(" ON {on}")
                        } else {
                            format!(" ON ({on})")
                        }
                    }
                    Some(_) => return None,
                    None => String::new(),
                };
                text = format!("{text}\n     {word} {other}{on}");
                if !self.pretty {
                    text = format!("({text})");
                }
            }
            sources.push(text);
        }
        if select.projection.len() != view.columns.len() {
            return None;
        }
        let items = select.projection.iter().zip(&view.columns).map(|(item, column)| {
            let (SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }) = item
            else {
                return None;
            };
            let printed = self.expression(expression)?;
            let own = match self.cast_away(expression, &printed) {
                Expr::Identifier(name) => Some(fold(name)),
                Expr::CompoundIdentifier(parts) => parts.last().map(fold),
                _ => None,
            };
            let text = match printed.ty {
                UNKNOWN => literal(&printed.text, "text"),
                _ => printed.text,
            };
            Some(match own {
                Some(own) if own == column.name => text,
                _ => format!("{text} AS {}", quoted(&column.name)),
            })
        });
        let mut text = format!(" SELECT {}", items.collect::<Option<Vec<_>>>()?.join(",\n    "));
        if !sources.is_empty() {
            text.push_str(&format!("\n   FROM {}", sources.join(",\n    ")));
        }
        if let Some(condition) = &select.selection {
            text.push_str(&format!("\n  WHERE {}", self.condition(condition)?));
        }
        match &select.group_by {
            GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => {
                let keys = keys.iter().map(|key| match key {
                    Expr::CompoundIdentifier(_) | Expr::Identifier(_) => Some(self.expression(key)?.text),
                    _ => None,
                });
                let keys = keys.collect::<Option<Vec<_>>>()?;
                if !keys.is_empty() {
                    text.push_str(&format!("\n  GROUP BY {}", keys.join(", ")));
                }
            }
            _ => return None,
        }
        if let Some(condition) = &select.having {
            text.push_str(&format!("\n HAVING {}", self.condition(condition)?));
        }
        Some(text)
    }

    /// A relation that the view reads.
    fn relation(&mut self, factor: &TableFactor, view: &Relation) -> Option<String> {
        let TableFactor::Table {
            name,
            alias,
            args: None,
            version: None,
            sample: None,
            with_ordinality: false,
            ..
        } = factor
        else {
            return None;
        };
        let parts: Vec<String> = name
            .0
            .iter()
            .map(|part| part.as_ident().map(fold))
            .collect::<Option<_>>()?;
        let (own, schema) = match parts.as_slice() {
            [name] => (name, None),
            [schema, name] => (name, Some(schema)),
            _ => return None,
        };
        let Kind::View { reads, .. } = &view.kind else {
            return None;
        };
        let read = reads.iter().filter_map(|read| self.known(read.relation));
        let mut found = read
            .filter(|relation| relation.name == *own && schema.is_none_or(|schema| relation.schema.name == *schema));
        let (Some(relation), None) = (found.next(), found.next()) else {
            return None;
        };
        let shown = self.catalog.relation_name(relation.oid)?;
        let called = match alias {
            Some(alias) if alias.columns.is_empty() => fold(&alias.name),
            Some(_) => return None,
            None => relation.name.clone(),
        };
        let text = match called == relation.name {
            true => shown,
            false => format!("{shown} {}", quoted(&called)),
        };
        self.relations.push((called, relation));
        Some(text)
    }

    fn condition(&self, expression: &Expr) -> Option<String> {
        let printed = self.expression(expression)?;
        (printed.ty == BOOL).then_some(printed.text)
    }

    fn column(&self, relation: Option<&Ident>, name: &Ident) -> Option<Printed> {
        let name = fold(name);
        let mut found = self.relations.iter().filter_map(|(called, known)| {
            let named = relation.is_none_or(|relation| fold(relation) == *called);
            let column = known.columns.iter().find(|column| named && column.name == name)?;
            Some((called, column))
        });
        let (Some((called, column)), None) = (found.next(), found.next()) else {
            return None;
        };
        let text = match self.named {
            true => format!("{}.{}", quoted(called), quoted(&name)),
            false => quoted(&name),
        };
        Some(Printed::simple(text, column.type_oid))
    }

    fn expression(&self, expression: &Expr) -> Option<Printed> {
        match expression {
            Expr::Identifier(name) => self.column(None, name),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => self.column(Some(relation), name),
                _ => None,
            },
            Expr::Nested(inner) => self.expression(inner),
            Expr::Value(ValueWithSpan { value, .. }) => value_of(value),
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => {
                let Expr::Value(ValueWithSpan {
                    value: value @ Value::Number(..),
                    ..
                }) = &**expr
                else {
                    return None;
                };
                let number = value_of(value)?;
                let ty = if number.ty == INTEGER { "integer" } else { "numeric" };
                (number.ty != BIGINT).then(|| Printed::simple(literal(&format!("-{}", number.text), ty), number.ty))
            }
            Expr::IsNull(inner) => self.tested(inner, "IS NULL"),
            Expr::IsNotNull(inner) => self.tested(inner, "IS NOT NULL"),
            Expr::BinaryOp {
                left,
                op: op @ (BinaryOperator::And | BinaryOperator::Or),
                right,
            } => self.connected(op, left, right),
            Expr::BinaryOp { left, op, right } => self.operation(op, self.expression(left)?, self.expression(right)?),
            Expr::Between {
                expr,
                negated: false,
                low,
                high,
            } => {
                let value = self.expression(expr)?;
                let low = self.operation(&BinaryOperator::GtEq, value.clone(), self.expression(low)?)?;
                let high = self.operation(&BinaryOperator::LtEq, value, self.expression(high)?)?;
                Some(self.all_of("AND", &[low, high]))
            }
            Expr::InList {
                expr,
                list,
                negated: false,
            } => self.listed(expr, list),
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => {
                let operator = if *negated { "!~~" } else { "~~" };
                self.matched(operator, self.expression(expr)?, self.expression(pattern)?)
            }
            Expr::Function(function) if matches!(function.args, FunctionArguments::None) => {
                let name = shown(&function.name).to_uppercase();
                let known = ["CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"];
                known.contains(&name.as_str()).then(|| Printed::simple(name, TEXT))
            }
            Expr::Function(_) => self.call(expression),
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => self.converted(self.expression(expr)?, &sql_type_of_ast(data_type).ok()?),
            _ => None,
        }
    }

    /// What is printed of a cast to the type its operand has.
    fn cast_away<'e>(&self, expression: &'e Expr, printed: &Printed) -> &'e Expr {
        match expression {
            Expr::Cast { expr, .. } if self.expression(expr).is_some_and(|inner| inner.text == printed.text) => {
                self.cast_away(expr, printed)
            }
            other => other,
        }
    }

    /// A cast that is written.
    fn converted(&self, value: Printed, ty: &SqlType) -> Option<Printed> {
        let (oid, name) = (type_oid(ty), ty.to_string());
        let is_plain = !matches!(ty, SqlType::System(_) | SqlType::Struct(_) | SqlType::Array(_));
        if !is_plain || type_modifier(ty) != -1 {
            return None;
        }
        match value.ty {
            UNKNOWN => match oid {
                TEXT | VARCHAR => Some(Printed::simple(literal(&value.text, &name), oid)),
                DATE if is_date(&value.text) => Some(Printed::simple(literal(&value.text, &name), oid)),
                _ => None,
            },
            BPCHAR => None,
            same if same == oid => Some(value),
            _ => Some(self.cast(value, oid, &name)),
        }
    }

    fn tested(&self, inner: &Expr, test: &str) -> Option<Printed> {
        let inner = self.operand(self.expression(inner).filter(|inner| inner.ty != UNKNOWN)?);
        Some(self.top(format!("{inner} {test}"), BOOL, Form::Other))
    }

    /// The text of an operator's result, as an operand of others where they are all in parentheses.
    fn top(&self, text: String, ty: u32, form: Form) -> Printed {
        match self.pretty {
            true => Printed { text, ty, form },
            false => Printed::simple(format!("({text})"), ty),
        }
    }

    fn operand(&self, printed: Printed) -> String {
        match printed.form {
            Form::Simple => printed.text,
            _ => format!("({})", printed.text),
        }
    }

    fn connected(&self, op: &BinaryOperator, left: &Expr, right: &Expr) -> Option<Printed> {
        fn flat<'e>(op: &BinaryOperator, expression: &'e Expr, parts: &mut Vec<&'e Expr>) {
            match expression {
                Expr::BinaryOp { left, op: inner, right } if inner == op => {
                    flat(op, left, parts);
                    parts.push(right);
                }
                Expr::Nested(inner) => flat(op, inner, parts),
                other => parts.push(other),
            }
        }
        let mut parts = Vec::new();
        // As PostgreSQL's parser does: what stands on the right in parentheses stays together.
        flat(op, left, &mut parts);
        parts.push(right);
        let parts = parts
            .into_iter()
            .map(|part| self.expression(part).filter(|part| part.ty == BOOL));
        let word = if *op == BinaryOperator::And { "AND" } else { "OR" };
        Some(self.all_of(word, &parts.collect::<Option<Vec<_>>>()?))
    }

    fn all_of(&self, word: &str, parts: &[Printed]) -> Printed {
        let shown = parts.iter().map(|part| match part.form {
            Form::Or if word == "AND" => format!("({})", part.text),
            _ => part.text.clone(),
        });
        let text = shown.collect::<Vec<_>>().join(&format!(" {word} "));
        self.top(text, BOOL, if word == "OR" { Form::Or } else { Form::Other })
    }

    fn operation(&self, op: &BinaryOperator, left: Printed, right: Printed) -> Option<Printed> {
        let (left, right, ty) = self.alike(left, right)?;
        match op {
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => {
                let text = format!("{} {op} {}", self.operand(left), self.operand(right));
                Some(self.top(text, BOOL, Form::Other))
            }
            BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply | BinaryOperator::Divide
                if left.is_number() && right.is_number() =>
            {
                let form = match op {
                    BinaryOperator::Plus | BinaryOperator::Minus => Form::Sum,
                    _ => Form::Product,
                };
                // The same precedence needs no parentheses on the left, a higher one on neither side.
                let bare = |side: &Printed, is_left: bool| {
                    side.form == Form::Product && form == Form::Sum || is_left && side.form == form
                };
                let left = if bare(&left, true) {
                    left.text
                } else {
                    self.operand(left)
                };
                let right = if bare(&right, false) {
                    right.text
                } else {
                    self.operand(right)
                };
                Some(self.top(format!("{left} {op} {right}"), ty, form))
            }
            _ => None,
        }
    }

    fn matched(&self, operator: &str, left: Printed, right: Printed) -> Option<Printed> {
        let (left, right, ty) = self.alike(left, right)?;
        let text = format!("{} {operator} {}", self.operand(left), self.operand(right));
        (ty == TEXT).then(|| self.top(text, BOOL, Form::Other))
    }

    /// The two sides with the casts that make them one type, or types that PostgreSQL has an operator for.
    fn alike(&self, left: Printed, right: Printed) -> Option<(Printed, Printed, u32)> {
        let is_float = |side: &Printed| matches!(side.ty, REAL | DOUBLE);
        if left.is_whole() && right.is_whole() {
            let ty = [BIGINT, INTEGER]
                .into_iter()
                .find(|ty| [left.ty, right.ty].contains(ty));
            return Some((left, right, ty.unwrap_or(SMALLINT)));
        }
        if left.is_number() && right.is_number() {
            let (target, name) = match is_float(&left) || is_float(&right) {
                true => (DOUBLE, "double precision"),
                false => (NUMERIC, "numeric"),
            };
            let ty = if left.ty == right.ty { left.ty } else { target };
            let cast = |side: Printed| match is_float(&side) || side.ty == target {
                true => side,
                false => self.cast(side, target, name),
            };
            return Some((cast(left), cast(right), ty));
        }
        let as_text = |side: Printed| match side.ty {
            UNKNOWN => Printed::simple(literal(&side.text, "text"), TEXT),
            VARCHAR => self.cast(side, TEXT, "text"),
            _ => side,
        };
        match (left.ty, right.ty) {
            (TEXT | VARCHAR, TEXT | VARCHAR | UNKNOWN) | (UNKNOWN, TEXT | VARCHAR) => {
                Some((as_text(left), as_text(right), TEXT))
            }
            (BPCHAR, UNKNOWN) => {
                let literal = Printed::simple(literal(&right.text, "bpchar"), BPCHAR);
                Some((left, literal, BPCHAR))
            }
            (DATE, UNKNOWN) if is_date(&right.text) => {
                let literal = Printed::simple(literal(&right.text, "date"), DATE);
                Some((left, literal, DATE))
            }
            (one, other) if one == other && one != UNKNOWN => Some((left, right, one)),
            _ => None,
        }
    }

    fn cast(&self, printed: Printed, ty: u32, name: &str) -> Printed {
        let text = match self.pretty && printed.form == Form::Simple {
            true => format!("{}::{name}", printed.text),
            false => format!("({})::{name}", printed.text),
        };
        Printed::simple(text, ty)
    }

    /// `x IN (1, 2)`, of whole numbers and texts.
    fn listed(&self, value: &Expr, list: &[Expr]) -> Option<Printed> {
        let value = self.expression(value)?;
        let items = list
            .iter()
            .map(|item| self.expression(item))
            .collect::<Option<Vec<_>>>()?;
        if items.len() < 2 {
            return None;
        }
        let items = items.into_iter().map(|item| match (value.ty, item.ty) {
            (INTEGER, INTEGER) => Some(item.text),
            (TEXT, UNKNOWN) => Some(literal(&item.text, "text")),
            (VARCHAR, UNKNOWN) => Some(literal(&item.text, "character varying")),
            (BPCHAR, UNKNOWN) => Some(literal(&item.text, "bpchar")),
            _ => None,
        });
        let array = format!("ARRAY[{}]", items.collect::<Option<Vec<_>>>()?.join(", "));
        let text = match (value.ty, self.pretty) {
            (VARCHAR, true) => format!("{}::text = ANY ({array}::text[])", self.operand(value)),
            (VARCHAR, false) => format!("({})::text = ANY (({array})::text[])", value.text),
            _ => format!("{} = ANY ({array})", self.operand(value)),
        };
        Some(self.top(text, BOOL, Form::Other))
    }

    /// An aggregate, or a function of text.
    fn call(&self, expression: &Expr) -> Option<Printed> {
        let Expr::Function(call) = expression else {
            return None;
        };
        let FunctionArguments::List(list) = &call.args else {
            return None;
        };
        let plain = call.over.is_none()
            && call.filter.is_none()
            && call.null_treatment.is_none()
            && call.within_group.is_empty()
            && list.clauses.is_empty();
        let ([name], [FunctionArg::Unnamed(argument)], true) = (call.name.0.as_slice(), list.args.as_slice(), plain)
        else {
            return None;
        };
        let name = fold(name.as_ident()?);
        let distinct = match list.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) => "DISTINCT ",
            _ => "",
        };
        let argument = match argument {
            FunctionArgExpr::Wildcard if name == "count" => {
                return Some(Printed::simple("count(*)".to_owned(), BIGINT));
            }
            FunctionArgExpr::Expr(argument) => self.expression(argument).filter(|argument| argument.ty != UNKNOWN)?,
            _ => return None,
        };
        let (argument, ty) = match (name.as_str(), argument.ty) {
            ("count", _) => (argument, BIGINT),
            ("sum", SMALLINT | INTEGER) => (argument, BIGINT),
            ("sum", BIGINT | NUMERIC) | ("avg", SMALLINT | INTEGER | BIGINT | NUMERIC) => (argument, NUMERIC),
            ("sum", ty @ (REAL | DOUBLE)) => (argument, ty),
            ("avg", REAL | DOUBLE) => (argument, DOUBLE),
            ("min" | "max", VARCHAR) | ("lower" | "upper", VARCHAR) => (self.cast(argument, TEXT, "text"), TEXT),
            ("min" | "max", ty) => (argument, ty),
            ("lower" | "upper", TEXT) => (argument, TEXT),
            _ => return None,
        };
        // What stands alone in parentheses has none of its own.
        let text = format!("{name}({distinct}{})", argument.text);
        Some(Printed::simple(text, ty))
    }

    fn known(&self, id: staffa_catalog::Uuid) -> Option<&'a Relation> {
        self.catalog.image.with_uuid(id)
    }
}

/// A literal as it is printed: a text without quotes, until its type is known.
fn value_of(value: &Value) -> Option<Printed> {
    Some(match value {
        Value::Number(digits, false) => match digits.parse::<i64>() {
            Ok(number) if i32::try_from(number).is_ok() => Printed::simple(number.to_string(), INTEGER),
            Ok(number) => Printed::simple(literal(&number.to_string(), "bigint"), BIGINT),
            Err(_) => {
                let (whole, after) = digits.split_once('.')?;
                let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                (is_plain(whole) && is_plain(after)).then_some(())?;
                Printed::simple(digits.clone(), NUMERIC)
            }
        },
        Value::SingleQuotedString(text) => Printed::simple(text.clone(), UNKNOWN),
        Value::Boolean(value) => Printed::simple(value.to_string(), BOOL),
        _ => return None,
    })
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}
