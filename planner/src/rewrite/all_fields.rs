//! `(…).*`: all fields of a row in a select list.
//!
//! | before | after |
//! |---|---|
//! | `select (jsonb_each(j)).* from t` | `select unnest(staffa_jsonb_each_key(j)) as key, … as value from t` |
//! | `select (t).* from t` | `select t.* from t` |
//!
//! The lexer has made a field's name of the star (`parse/tokens.rs`): sqlparser takes one behind names only. Must not fire anywhere
//! else: PostgreSQL allows no other place either, but in rows and calls. Tables' come first, before their names become rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableWithJoins,
    VisitorMut, WildcardAdditionalOptions,
};

use super::json;
use super::whole_rows::{factors, name_of};
use crate::error::Error;
use crate::parse::ALL_FIELDS;
use crate::resolve::fold;
use crate::walk::VisitMut;

/// `(t).*`
pub(crate) fn of_tables(query: &mut Query) {
    let _ = query.visit(&mut Expand(table));
}

/// `(jsonb_each(j)).*`
pub(super) fn of_calls(query: &mut Query) {
    let _ = query.visit(&mut Expand(call));
}

/// Puts others in the place of such terms of select lists, where it knows them.
struct Expand(fn(&[TableWithJoins], &Expr) -> Option<Vec<SelectItem>>);

impl VisitorMut for Expand {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let from = &select.from;
        let fields = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(value) => self.0(from, row_of(value)?),
            _ => None,
        };
        if select.projection.iter().any(|item| fields(item).is_some()) {
            let items = std::mem::take(&mut select.projection);
            let items = items
                .into_iter()
                .map(|item| fields(&item).unwrap_or_else(|| vec![item]));
            select.projection = items.flatten().collect();
        }
        ControlFlow::Continue(())
    }
}

/// The row all of whose fields are asked for.
pub(crate) fn row_of(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.as_slice() {
            [AccessExpr::Dot(Expr::Identifier(field))] if field.value == ALL_FIELDS => Some(root),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn unsupported() -> Error {
    Error::unsupported("row expansion via \"*\" is not supported here")
}

fn table(from: &[TableWithJoins], row: &Expr) -> Option<Vec<SelectItem>> {
    let Expr::Nested(inner) = row else { return None };
    let Expr::Identifier(table) = inner.as_ref() else {
        return None;
    };
    let name = fold(table);
    let mut factors = from.iter().flat_map(factors);
    factors.find(|factor| name_of(factor).as_ref() == Some(&name))?;
    Some(vec![SelectItem::QualifiedWildcard(
        SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![table.clone()])),
        WildcardAdditionalOptions::default(),
    )])
}

fn call(_: &[TableWithJoins], row: &Expr) -> Option<Vec<SelectItem>> {
    let columns = json::all_members(row)?;
    let column = |(expr, alias)| SelectItem::ExprWithAlias { expr, alias };
    Some(columns.into_iter().map(column).collect())
}
