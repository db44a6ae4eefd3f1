//! Names of their own for expressions that hold subqueries or casts.
//!
//! DataFusion calls `(select …)` by the name of its column and every `x in (select …)` `IN`, and takes expressions of one name
//! for one: of `unnest((select a)), unnest((select b))` both would give the first one's rows, and
//! `group by x in (select 1), x in (select 2)` is refused.
//!
//! Before: `unnest((select a))`, `unnest((select b))`. After: `unnest((select a))`, `unnest(staffa_numbered((select b), 1))`, a
//! number for every other text: what is written alike stays alike. `rules/subqueries.rs` takes the numbers out again.
//!
//! Names leave casts out, too: `sum(a)`, `sum(a::numeric)` become `sum(a)`, `sum(staffa_numbered(a::numeric, 1))`.
//!
//! Must not fire elsewhere in a first attempt: names that collide are rare, and they are an error there.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, TableFactor, Value, VisitMut, VisitorMut,
};

use super::literals::is_wrapped as is_literal;
use super::{call, taken};
use crate::function::NUMBERED;
use crate::resolve::shown;

/// Numbers the subqueries in arguments of `unnest`, or, with `everywhere`, all, and all casts in arguments.
pub(super) fn number(query: &mut Query, everywhere: bool) {
    let mut numbers = Numbers {
        everywhere,
        unnesting: 0,
        calls: 0,
        texts: HashMap::new(),
    };
    let _ = query.visit(&mut numbers);
}

struct Numbers {
    everywhere: bool,
    /// Calls of `unnest` around the place under way.
    unnesting: usize,
    /// Calls of any function around it.
    calls: usize,
    texts: HashMap<String, usize>,
}

impl Numbers {
    fn number(&mut self, expression: &Expr) -> usize {
        let next = self.texts.len();
        *self.texts.entry(expression.to_string()).or_insert(next)
    }

    /// The first of all needs no number.
    fn wrap_subquery(&mut self, expression: &mut Expr) {
        match self.number(expression) {
            0 => {}
            number => wrap(expression, number),
        }
    }
}

fn wrap(expression: &mut Expr, number: usize) {
    let number = Expr::Value(Value::Number(number.to_string(), false).into());
    *expression = call(NUMBERED, vec![taken(expression), number]);
}

impl VisitorMut for Numbers {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.unnesting += usize::from(matches!(factor, TableFactor::UNNEST { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.unnesting -= usize::from(matches!(factor, TableFactor::UNNEST { .. }));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        self.unnesting += usize::from(is_unnest(expression));
        self.calls += usize::from(matches!(expression, Expr::Function(_)));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        self.unnesting -= usize::from(is_unnest(expression));
        self.calls -= usize::from(matches!(expression, Expr::Function(_)));
        if !self.everywhere && self.unnesting == 0 {
            return ControlFlow::Continue(());
        }
        match expression {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => self.wrap_subquery(expression),
            Expr::Cast { .. } if self.everywhere && self.calls > 0 && !is_literal(expression) => {
                let number = self.number(expression) + 1;
                wrap(expression, number);
            }
            // The subquery itself stands where only one may stand.
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if is_numbered_subquery(right) => {
                unwrap(right);
                self.wrap_subquery(expression);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_unnest(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(function) if shown(&function.name) == "unnest")
}

fn is_numbered_subquery(expression: &Expr) -> bool {
    matches!(expression, Expr::Subquery(_)) || matches!(inside(expression), Some(Expr::Subquery(_)))
}

/// What was numbered.
fn inside(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Function(function) if shown(&function.name) == NUMBERED => match &function.args {
            FunctionArguments::List(list) => match list.args.first() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))) => Some(inner),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn unwrap(expression: &mut Expr) {
    if let Some(inner) = inside(expression) {
        *expression = inner.clone();
    }
}
