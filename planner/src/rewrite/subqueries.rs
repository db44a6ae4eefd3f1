//! Names of their own for expressions that hold subqueries, casts or parentheses.
//!
//! DataFusion calls `(select …)` by the name of its column and every `x in (select …)` `IN`, and takes expressions of one name
//! for one: of `unnest((select a)), unnest((select b))` both would give the first one's rows, and
//! `group by x in (select 1), x in (select 2)` is refused.
//!
//! Before: `unnest((select a))`, `unnest((select b))`. After: `unnest((select a))`, `unnest(staffa_numbered((select b), 1))`, a
//! number for every other text: what is written alike stays alike. `rules/subqueries.rs` takes the numbers out again.
//!
//! Names leave casts out, too: `sum(a)`, `sum(a::numeric)` become `sum(a)`, `sum(staffa_numbered(a::numeric, 1))`. And parentheses:
//! of `a - b - c`, `a - (b - c)` the second becomes `a - staffa_numbered((b - c), 1)`.
//!
//! Must not fire elsewhere in a first attempt: names that collide are rare, and they are an error there. One call of `unnest`
//! alone collides with nothing.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, TableFactor, Value,
    Visitor, VisitorMut,
};

use super::literals::is_wrapped as is_literal;
use super::{call, taken};
use crate::function::NUMBERED;
use crate::resolve::{fold, shown};
use crate::walk::{Visit, VisitMut};

/// Numbers the subqueries and casts in arguments of `unnest`, or, with `everywhere`, all subqueries and all casts in arguments.
pub(super) fn number(query: &mut Query, everywhere: bool) {
    let mut unnests = Unnests(0);
    let _ = Visit::visit(&*query, &mut unnests);
    if !everywhere && unnests.0 < 2 {
        return;
    }
    let mut numbers = Numbers {
        everywhere,
        unnesting: 0,
        calls: 0,
        texts: HashMap::new(),
    };
    let _ = query.visit(&mut numbers);
}

/// How many arrays are taken apart.
struct Unnests(usize);

impl Visitor for Unnests {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::UNNEST { array_exprs, .. } = factor {
            self.0 += array_exprs.len();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        self.0 += usize::from(is_unnest(expression));
        ControlFlow::Continue(())
    }
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
        let mut plain = expression.clone();
        let _ = VisitMut::visit(&mut plain, &mut Plain);
        *self.texts.entry(plain.to_string()).or_insert(next)
    }

    /// The first of all needs no number.
    fn wrap_subquery(&mut self, expression: &mut Expr) {
        match self.number(expression) {
            0 => {}
            number => wrap(expression, number),
        }
    }
}

/// Has `cast(A as int)` and `a::int` one text.
struct Plain;

impl VisitorMut for Plain {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let fold_part = |ident: &mut Ident| *ident = Ident::with_quote('"', fold(ident));
        match expression {
            Expr::Cast { kind, .. } => *kind = CastKind::Cast,
            Expr::Identifier(ident) => fold_part(ident),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(fold_part),
            _ => {}
        }
        ControlFlow::Continue(())
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
            Expr::Cast { .. } if self.calls + self.unnesting > 0 && !is_literal(expression) => {
                let number = self.number(expression) + 1;
                wrap(expression, number);
            }
            Expr::BinaryOp { left, op, right } if self.everywhere => {
                for (side, is_right) in [(left, false), (right, true)] {
                    if needs_parentheses(side, op, is_right) {
                        let number = self.number(side) + 1;
                        wrap(side, number);
                    }
                }
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

/// Whether an operand's parentheses say what its operator belongs to.
fn needs_parentheses(operand: &Expr, around: &BinaryOperator, is_right: bool) -> bool {
    let Expr::Nested(inner) = operand else { return false };
    match inner.as_ref() {
        Expr::BinaryOp { op, .. } => match rank(op).cmp(&rank(around)) {
            Ordering::Less => true,
            Ordering::Equal => is_right && !matches!(op, BinaryOperator::And | BinaryOperator::Or),
            Ordering::Greater => false,
        },
        Expr::Nested(_) => needs_parentheses(inner, around, is_right),
        _ => false,
    }
}

/// Operators of a higher rank come first.
fn rank(op: &BinaryOperator) -> u8 {
    match op {
        BinaryOperator::Or => 0,
        BinaryOperator::And => 1,
        BinaryOperator::Eq
        | BinaryOperator::NotEq
        | BinaryOperator::Lt
        | BinaryOperator::LtEq
        | BinaryOperator::Gt
        | BinaryOperator::GtEq => 2,
        BinaryOperator::Plus | BinaryOperator::Minus => 4,
        BinaryOperator::Multiply | BinaryOperator::Divide | BinaryOperator::Modulo => 5,
        _ => 3,
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
