//! The clauses behind the select list: ORDER BY, GROUP BY, DISTINCT, LIMIT and OFFSET.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, Ident, LimitClause, OrderByKind, Query, Select, SelectItem, UnaryOperator,
    Value, Visitor,
};

use super::scope::{Columns, Level};
use super::signatures::{self, BIGINT, UNKNOWN, can_assign, type_name};
use super::{Checker, Type};
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::fold;
use crate::walk::{self, Visit};

/// One column of the select list.
pub(super) struct Output<'e> {
    name: Option<String>,
    /// `None` for what `*` stands for.
    expression: Option<&'e Expr>,
    /// The relation of a column that `*` stands for, where it is known.
    relation: Option<String>,
}

impl<'e> Output<'e> {
    /// The columns of one term.
    pub(super) fn of(item: &'e SelectItem, columns: &[(Option<String>, Type)], level: Option<&Level>) -> Vec<Self> {
        let expression = match item {
            SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
                Some(expression)
            }
            _ => None,
        };
        let relations = match (item, level) {
            (SelectItem::Wildcard(_), Some(level)) if level.merged.is_empty() => level.aliases(),
            _ => Vec::new(),
        };
        // Columns that are left out of it leave nothing known.
        let is_whole = relations.len() == columns.len();
        let output = |(at, (name, _)): (usize, &(Option<String>, Type))| Output {
            name: name.clone(),
            expression,
            relation: relations.get(at).filter(|_| is_whole).cloned(),
        };
        columns.iter().enumerate().map(output).collect()
    }

    fn text(&self) -> Option<String> {
        self.expression.map(text_of).or_else(|| self.name.clone())
    }
}

/// What a key means: a column of the select list, or a value of its own, by its text.
enum Key {
    Output(usize),
    Value(String),
}

impl Checker<'_> {
    /// `outputs`: the columns of the select list, if all are known.
    pub(super) fn keys(
        &mut self,
        select: &Select,
        query: Option<&Query>,
        outputs: Option<&[Output<'_>]>,
    ) -> Result<()> {
        let mut order = Vec::new();
        for key in query.map(order_keys).unwrap_or_default() {
            order.push((key, self.key("ORDER BY", key, outputs)?));
        }
        if let GroupByExpr::Expressions(keys, _) = &select.group_by {
            for key in keys {
                let found = self.key("GROUP BY", key, outputs)?;
                self.check_group(&found, outputs)?;
            }
        }
        match (&select.distinct, outputs) {
            (Some(Distinct::On(keys)), _) => {
                let mut found = Vec::new();
                for key in keys {
                    found.push((key, self.key("DISTINCT ON", key, outputs)?));
                }
                self.check_distinct_on(&found, &order, outputs)
            }
            (Some(Distinct::Distinct), Some(outputs)) => self.check_distinct(&order, outputs),
            _ => Ok(()),
        }
    }

    /// The keys of a set operation: only columns of the result.
    pub(super) fn keys_of_set(&mut self, query: &Query, columns: &Columns) -> Result<()> {
        let Some(columns) = columns else {
            return Ok(());
        };
        let outputs: Vec<Output<'_>> = columns
            .iter()
            .map(|(name, _)| Output {
                name: name.clone(),
                expression: None,
                relation: None,
            })
            .collect();
        let all_named = columns.iter().all(|(name, _)| name.is_some());
        for key in order_keys(query) {
            let error = match (self.constant("ORDER BY", key, Some(&outputs))?, key) {
                (Some(_), _) => continue,
                (None, Expr::Identifier(ident)) => {
                    let name = fold(ident);
                    if !all_named || outputs.iter().any(|output| output.name.as_ref() == Some(&name)) {
                        continue;
                    }
                    Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"))
                }
                (None, Expr::CompoundIdentifier(parts)) => match parts.first() {
                    Some(table) => {
                        let message = format!("missing FROM-clause entry for table \"{}\"", fold(table));
                        Error::new(ErrorKind::UndefinedTable, message)
                    }
                    None => continue,
                },
                _ => Error::unsupported("invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                    .with_detail("Only result column names can be used, not expressions or functions.")
                    .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause."),
            };
            return Err(self.places.put(error, Some(key)));
        }
        Ok(())
    }

    /// LIMIT and OFFSET: a number that hangs on no row.
    pub(super) fn limits(&mut self, query: &Query) -> Result<()> {
        let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause else {
            return Ok(());
        };
        let counts = [
            ("OFFSET", offset.as_ref().map(|offset| &offset.value)),
            ("LIMIT", limit.as_ref()),
        ];
        for (clause, count) in counts {
            let Some(count) = count else { continue };
            self.clause = Some(clause);
            let ty = self.expression(count);
            self.clause = None;
            match ty? {
                Some(UNKNOWN) => self.literal(count, BIGINT)?,
                Some(ty) if !can_assign(ty, BIGINT) => {
                    let message = format!("argument of {clause} must be type bigint, not type {}", type_name(ty));
                    return Err(self
                        .places
                        .put(Error::new(ErrorKind::DatatypeMismatch, message), Some(count)));
                }
                Some(_) if is_too_large(count) => {
                    return Err(Error::new(ErrorKind::NumericOutOfRange, "bigint out of range"));
                }
                _ => {}
            }
            // One of a query around is the same for all rows.
            let is_own = |column: &Ident| self.levels.last().is_some_and(|level| level.knows(&fold(column)));
            if let Some(column) = first_column(count).filter(is_own) {
                let message = format!("argument of {clause} must not contain variables");
                return Err(self
                    .places
                    .at(Error::new(ErrorKind::InvalidColumnReference, message), &column));
            }
        }
        Ok(())
    }

    fn key(&mut self, clause: &'static str, key: &Expr, outputs: Option<&[Output<'_>]>) -> Result<Key> {
        if let Some(position) = self.constant(clause, key, outputs)? {
            return Ok(Key::Output(position));
        }
        if let Expr::Identifier(ident) = key {
            let name = fold(ident);
            // GROUP BY prefers the columns of FROM.
            let is_column = clause == "GROUP BY"
                && self.levels.last().is_some_and(|level| {
                    let mut relations = level.relations.iter();
                    relations.any(|relation| !matches!(relation.named(&name), Ok(types) if types.is_empty()))
                });
            let Some(outputs) = outputs.filter(|_| !is_column) else {
                // Where the select list is not known, the name may be one of it.
                return match outputs {
                    Some(_) => self.value(clause, key),
                    None => Ok(Key::Value(text_of(key))),
                };
            };
            let named = |output: &Output<'_>| output.name.as_ref() == Some(&name);
            if let Some(first) = outputs.iter().position(named) {
                let first_tables = self.tables_of(&outputs[first]);
                let differs = |output: &Output<'_>| {
                    named(output)
                        && (output.text() != outputs[first].text() || differ(&self.tables_of(output), &first_tables))
                };
                if outputs.iter().any(differs) {
                    let error = Error::new(ErrorKind::AmbiguousColumn, format!("{clause} \"{name}\" is ambiguous"));
                    return Err(self.places.at(error, ident));
                }
                return Ok(Key::Output(first));
            }
        }
        self.value(clause, key)
    }

    /// The relations of the columns in an output, one after the other; `None` for what is not known.
    fn tables_of(&self, output: &Output<'_>) -> Vec<Option<String>> {
        let Some(expression) = output.expression else {
            return vec![output.relation.clone()];
        };
        let mut tables = Vec::new();
        let _ = walk::expressions(expression, |inner| {
            match inner {
                Expr::Identifier(ident) => {
                    tables.push(self.levels.last().and_then(|level| level.only_alias(&fold(ident))))
                }
                Expr::CompoundIdentifier(parts) => tables.push(parts.iter().rev().nth(1).map(fold)),
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        tables
    }

    fn value(&mut self, clause: &'static str, key: &Expr) -> Result<Key> {
        self.clause = Some(clause).filter(|clause| *clause == "GROUP BY");
        let checked = self.expression(key);
        self.clause = None;
        checked?;
        Ok(Key::Value(text_of(key)))
    }

    /// The column of the select list a number stands for; other constants are no keys.
    fn constant(&self, clause: &str, key: &Expr, outputs: Option<&[Output<'_>]>) -> Result<Option<usize>> {
        let (value, sign) = match key {
            Expr::Value(value) => (value, 1),
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => match expr.as_ref() {
                Expr::Value(value) => (value, -1),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let position = match &value.value {
            Value::Placeholder(_) => return Ok(None),
            Value::Number(digits, _) => digits.parse::<i64>().ok(),
            _ => None,
        };
        let error = match (position.map(|position| sign * position), outputs) {
            (None, _) => Error::new(ErrorKind::SyntaxError, format!("non-integer constant in {clause}")),
            (Some(position), Some(outputs)) if position < 1 || position > outputs.len() as i64 => {
                let message = format!("{clause} position {position} is not in select list");
                Error::new(ErrorKind::InvalidColumnReference, message)
            }
            (Some(position), _) => return Ok(Some(usize::try_from(position - 1).unwrap_or_default())),
        };
        Err(self.places.put(error, Some(key)))
    }

    fn check_group(&self, key: &Key, outputs: Option<&[Output<'_>]>) -> Result<()> {
        let Key::Output(at) = key else {
            return Ok(());
        };
        let expression = outputs.and_then(|outputs| outputs.get(*at)?.expression);
        match expression.and_then(|expression| computed(expression, "GROUP BY")) {
            Some((error, ident)) if error.kind() != ErrorKind::FeatureNotSupported => {
                Err(self.places.at(error, &ident))
            }
            _ => Ok(()),
        }
    }

    fn check_distinct(&self, order: &[(&Expr, Key)], outputs: &[Output<'_>]) -> Result<()> {
        let texts: Vec<Option<String>> = outputs.iter().map(Output::text).collect();
        if texts.iter().any(Option::is_none) {
            return Ok(());
        }
        let is_missing =
            |key: &Key| matches!(key, Key::Value(text) if !texts.iter().flatten().any(|known| known == text));
        match order.iter().find(|(_, key)| is_missing(key)) {
            Some((key, _)) => {
                let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                Err(self
                    .places
                    .put(Error::new(ErrorKind::InvalidColumnReference, message), Some(key)))
            }
            None => Ok(()),
        }
    }

    /// Rows are taken in order, so the first keys of ORDER BY are those of DISTINCT ON.
    fn check_distinct_on(
        &self,
        keys: &[(&Expr, Key)],
        order: &[(&Expr, Key)],
        outputs: Option<&[Output<'_>]>,
    ) -> Result<()> {
        let text = |key: &Key| match key {
            Key::Value(text) => Some(text.clone()),
            Key::Output(at) => outputs.and_then(|outputs| outputs.get(*at)?.text()),
        };
        let wanted: Option<Vec<String>> = keys.iter().map(|(_, key)| text(key)).collect();
        let sorted: Option<Vec<String>> = order.iter().map(|(_, key)| text(key)).collect();
        let (Some(wanted), Some(sorted)) = (wanted, sorted) else {
            return Ok(());
        };
        let skipped = sorted.iter().position(|key| !wanted.contains(key));
        let Some(skipped) = skipped else { return Ok(()) };
        let (before, behind) = sorted.split_at(skipped);
        let late = wanted
            .iter()
            .position(|key| behind.contains(key) && !before.contains(key));
        let wrong = late.or_else(|| wanted.iter().position(|key| !sorted.contains(key)));
        match wrong.and_then(|at| keys.get(at)) {
            Some((key, _)) => {
                let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
                Err(self
                    .places
                    .put(Error::new(ErrorKind::InvalidColumnReference, message), Some(key)))
            }
            None => Ok(()),
        }
    }
}

/// Whether two lists surely name different relations.
fn differ(left: &[Option<String>], right: &[Option<String>]) -> bool {
    let mut pairs = left.iter().zip(right);
    pairs.any(|pair| matches!(pair, (Some(left), Some(right)) if left != right))
}

pub(super) fn order_keys(query: &Query) -> Vec<&Expr> {
    match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.iter().map(|key| &key.expr).collect(),
        _ => Vec::new(),
    }
}

/// The first call of the expression itself (not of a query in it) that fulfils a condition.
pub(super) fn find_call(part: &impl Visit, is_wanted: impl Fn(&Function, &str) -> bool) -> Option<Ident> {
    struct Find<F> {
        is_wanted: F,
        depth: usize,
    }
    impl<F: Fn(&Function, &str) -> bool> Visitor for Find<F> {
        type Break = Ident;
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Ident> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Ident> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Ident> {
            match expression {
                Expr::Function(function) if self.depth == 0 => {
                    let ident = function.name.0.last().and_then(|part| part.as_ident());
                    match ident.filter(|ident| (self.is_wanted)(function, &fold(ident))) {
                        Some(ident) => ControlFlow::Break(ident.clone()),
                        None => ControlFlow::Continue(()),
                    }
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match part.visit(&mut Find { is_wanted, depth: 0 }) {
        ControlFlow::Break(ident) => Some(ident),
        ControlFlow::Continue(()) => None,
    }
}

/// The aggregate, window function or function of rows in what must be computed row by row, and what is said of it.
pub(super) fn computed(part: &impl Visit, clause: &str) -> Option<(Error, Ident)> {
    let said = |kind, what: &str| Error::new(kind, format!("{what} functions are not allowed in {clause}"));
    let find = |is_wanted: fn(&Function, &str) -> bool| find_call(part, is_wanted);
    if let Some(call) = find(|function, name| function.over.is_none() && signatures::is_of_kind(name, "a")) {
        return Some((said(ErrorKind::GroupingError, "aggregate"), call));
    }
    if let Some(call) = find(|function, _| function.over.is_some()) {
        return Some((said(ErrorKind::WindowingError, "window"), call));
    }
    let call = find(|_, name| signatures::returns_set(name))?;
    Some((said(ErrorKind::FeatureNotSupported, "set-returning"), call))
}

/// The first name of a column in the expression itself.
pub(super) fn first_column(expression: &Expr) -> Option<Ident> {
    struct Find(usize);
    impl Visitor for Find {
        type Break = Ident;
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Ident> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Ident> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Ident> {
            match expression {
                Expr::Identifier(ident) if self.0 == 0 && !super::scope::is_call(ident) => {
                    ControlFlow::Break(ident.clone())
                }
                Expr::CompoundIdentifier(parts) if self.0 == 0 => parts
                    .first()
                    .cloned()
                    .map_or(ControlFlow::Continue(()), ControlFlow::Break),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match expression.visit(&mut Find(0)) {
        ControlFlow::Break(ident) => Some(ident),
        ControlFlow::Continue(()) => None,
    }
}

fn is_too_large(count: &Expr) -> bool {
    match count {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => {
                digits.parse::<i64>().is_err() && digits.parse::<f64>().is_ok_and(|number| number >= i64::MAX as f64)
            }
            _ => false,
        },
        _ => false,
    }
}

/// An expression's text without the tables before its columns: two that are written so are taken for the same.
pub(super) fn text_of(expression: &Expr) -> String {
    let mut bare = match expression {
        Expr::Nested(inner) => inner.as_ref().clone(),
        other => other.clone(),
    };
    let _ = walk::expressions_mut(&mut bare, |inner| {
        if let Expr::CompoundIdentifier(parts) = inner
            && let Some(last) = parts.last()
        {
            *inner = Expr::Identifier(last.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    bare.to_string().to_lowercase()
}
