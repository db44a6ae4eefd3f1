//! Aggregates of a subquery that belong to a query around it: all columns they name are that one's.
//!
//! Before: `select (select u.b + sum(t.a) from u) from t`. After:
//! `select staffa_aggregated((select u.b + (select sum(t.a) as "·0") from u), 0, sum(t.a)) from t`, where `·` is a character no name
//! can hold, and the number that of the first value. So both queries are planned with types that are right;
//! `rules/subqueries/aggregates.rs` puts the value in the place of the innermost subquery.
//!
//! Must not fire on an aggregate without columns, or with one of its own query: these are of the rows they stand beside.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, OrderByKind, Query, SelectItem, SetExpr, Value, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use super::names::{MARKER, output_name};
use super::{call, taken};
use crate::function::AGGREGATED;
use crate::walk::VisitMut;

/// Gives aggregates, by the places of their names, to the queries with these places of SELECT.
pub(crate) fn lift(query: &mut Query, owners: &HashMap<Location, Location>) {
    if !owners.is_empty() {
        let _ = query.visit(&mut Lift { owners, lifted: 0 });
    }
}

/// The number of the value that the column of this name stands for.
pub(crate) fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix(MARKER)?.parse().ok()
}

struct Lift<'a> {
    owners: &'a HashMap<Location, Location>,
    /// How many values there are so far.
    lifted: usize,
}

impl VisitorMut for Lift<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_mut() else {
            return ControlFlow::Continue(());
        };
        let place = select.select_token.0.span.start;
        if !self.owners.values().any(|owner| *owner == place) {
            return ControlFlow::Continue(());
        }
        let mut own = Own {
            owners: self.owners,
            place,
            depth: 0,
            lifted: self.lifted,
            found: Vec::new(),
        };
        for item in &mut select.projection {
            let name = match item {
                SelectItem::UnnamedExpr(expression) => output_name(expression),
                _ => String::new(),
            };
            let _ = item.visit(&mut own);
            // It is called by what it was.
            if let SelectItem::UnnamedExpr(expression) = item
                && is_aggregated(expression)
            {
                let alias = Ident::with_quote('"', name);
                let expr = taken(expression);
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        for condition in select.having.iter_mut().chain(select.qualify.as_mut()) {
            let _ = condition.visit(&mut own);
        }
        if let Some(order) = &mut query.order_by
            && let OrderByKind::Expressions(keys) = &mut order.kind
        {
            for key in keys {
                let _ = key.expr.visit(&mut own);
            }
        }
        self.lifted = own.lifted;
        ControlFlow::Continue(())
    }
}

/// Puts the aggregates of one query beside the outermost subqueries they stand in.
struct Own<'a> {
    owners: &'a HashMap<Location, Location>,
    place: Location,
    /// How many subqueries are around the place.
    depth: usize,
    /// How many values there are before those of the outermost one.
    lifted: usize,
    /// The aggregates of the outermost one.
    found: Vec<Expr>,
}

impl VisitorMut for Own<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        self.depth += usize::from(is_subquery(expression));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if is_subquery(expression) {
            self.depth -= 1;
            if self.depth == 0 && !self.found.is_empty() {
                let first = Expr::Value(Value::Number(self.lifted.to_string(), false).into());
                self.lifted += self.found.len();
                let mut arguments = vec![taken(expression), first];
                arguments.append(&mut self.found);
                *expression = call(AGGREGATED, arguments);
            }
            return ControlFlow::Continue(());
        }
        if let Expr::Function(Function { name, .. }) = &*expression
            && let Some(ident) = name.0.last().and_then(|part| part.as_ident())
            && self.owners.get(&ident.span.start) == Some(&self.place)
            && self.depth > 0
        {
            let known = self.found.iter().position(|found| found == expression);
            let number = self.lifted + known.unwrap_or(self.found.len());
            if known.is_none() {
                self.found.push(expression.clone());
            }
            if let Some(value) = value(taken(expression), number) {
                *expression = value;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether it is an expression with a subquery that nothing may come between.
fn is_subquery(expression: &Expr) -> bool {
    match expression {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => true,
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => is_subquery(right),
        Expr::Nested(inner) => is_subquery(inner),
        Expr::Function(function) => matches!(function.args, FunctionArguments::Subquery(_)),
        _ => false,
    }
}

fn is_aggregated(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(function) if crate::resolve::shown(&function.name) == AGGREGATED)
}

/// `(select aggregate as "·number")`
fn value(aggregate: Expr, number: usize) -> Option<Expr> {
    let mut query = crate::stored::body_of("select 1").ok()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let alias = Ident::with_quote('"', format!("{MARKER}{number}"));
        select.projection = vec![SelectItem::ExprWithAlias { expr: aggregate, alias }];
    }
    Some(Expr::Subquery(Box::new(query)))
}
