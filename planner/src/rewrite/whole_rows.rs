//! Whole rows as arguments of functions of JSON.
//!
//! Before: `select row_to_json(t), json_agg(q) from t, (select a, b from u) q`. After: `select staffa_row('x', t.x, 'y', t.y),
//! json_agg(staffa_row('a', q.a, 'b', q.b)) …`.
//!
//! Must not fire where a column has the table's name: PostgreSQL takes the column then.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, OrderBy, OrderByKind, Query, Select, Value,
    Visit, VisitMut, Visitor, VisitorMut,
};

use super::call;
use crate::resolve::{fold, shown};

/// What a row becomes.
pub(super) const ROW: &str = "staffa_row";
const ROW_PRETTY: &str = "staffa_row_pretty";

/// Functions that take a row among their arguments.
const TAKING: &[&str] = &[
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_agg",
    "jsonb_agg",
    "json_build_array",
    "jsonb_build_array",
    "json_build_object",
    "jsonb_build_object",
    "json_object_agg",
    "jsonb_object_agg",
];

/// The columns of the tables of one FROM, by the name the table goes by.
pub(super) type Rows = HashMap<String, Vec<String>>;

/// Whether a function of JSON is given a bare name.
pub(super) fn any(query: &Query) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Function(function) if takes(function) && names(function).next().is_some() => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(query, &mut Find).is_break()
}

fn takes(function: &Function) -> bool {
    TAKING.contains(&shown(&function.name).as_str())
}

fn names(function: &Function) -> impl Iterator<Item = &Ident> {
    let arguments = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    arguments.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) => Some(ident),
        _ => None,
    })
}

/// Puts the columns of a row in the place of its name.
pub(super) fn put(select: &mut Select, order_by: Option<&mut OrderBy>, rows: &Rows) {
    if rows.is_empty() {
        return;
    }
    let mut put = Put(rows);
    let _ = VisitMut::visit(&mut select.projection, &mut put);
    let _ = VisitMut::visit(&mut select.having, &mut put);
    if let Some(OrderBy {
        kind: OrderByKind::Expressions(keys),
        ..
    }) = order_by
    {
        let _ = VisitMut::visit(keys, &mut put);
    }
}

struct Put<'a>(&'a Rows);

impl VisitorMut for Put<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expression else {
            return ControlFlow::Continue(());
        };
        if !takes(function) {
            return ControlFlow::Continue(());
        }
        if shown(&function.name) == "row_to_json" {
            if let Some(row) = self.printed(function) {
                *expression = row;
            }
            return ControlFlow::Continue(());
        }
        let FunctionArguments::List(list) = &mut function.args else {
            return ControlFlow::Continue(());
        };
        for argument in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) = argument
                && let Some(row) = self.row(ident, ROW)
            {
                *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(row));
            }
        }
        ControlFlow::Continue(())
    }
}

impl Put<'_> {
    /// `row_to_json(t)`, `row_to_json(t, true)`
    fn printed(&self, function: &Function) -> Option<Expr> {
        let FunctionArguments::List(list) = &function.args else {
            return None;
        };
        let plain = |argument: &FunctionArg| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
            _ => None,
        };
        let arguments: Vec<Expr> = list.args.iter().map(plain).collect::<Option<_>>()?;
        match arguments.as_slice() {
            [Expr::Identifier(ident)] => self.row(ident, ROW),
            [Expr::Identifier(ident), Expr::Value(value)] => match &value.value {
                Value::Boolean(true) => self.row(ident, ROW_PRETTY),
                Value::Boolean(false) => self.row(ident, ROW),
                _ => None,
            },
            _ => None,
        }
    }

    fn row(&self, table: &Ident, function: &str) -> Option<Expr> {
        let columns = self.0.get(&fold(table))?;
        let pairs = columns.iter().flat_map(|column| {
            let name = Expr::Value(Value::SingleQuotedString(column.clone()).into());
            let value = Expr::CompoundIdentifier(vec![table.clone(), Ident::with_quote('"', column.clone())]);
            [name, value]
        });
        Some(call(function, pairs.collect()))
    }
}
