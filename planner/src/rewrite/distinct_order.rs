//! `SELECT DISTINCT` in the order of something it selects, by that column's position.
//!
//! Before: `select distinct lower(name) from t order by lower(name) desc`. After: `… order by 1 desc`.
//!
//! DataFusion looks for the columns of the key (`name`) among those that are selected, and finds none.
//!
//! Must not fire behind a `*`, whose columns would have to be counted.

use std::ops::ControlFlow;

use crate::walk::VisitMut;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, VisitorMut,
};

pub(super) fn by_position(query: &mut Query) {
    struct ByPosition;
    impl VisitorMut for ByPosition {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if let SetExpr::Select(select) = query.body.as_ref()
                && matches!(select.distinct, Some(Distinct::Distinct))
                && let Some(order_by) = &mut query.order_by
                && let OrderByKind::Expressions(keys) = &mut order_by.kind
            {
                for key in keys {
                    if let Some(position) = position(select, &key.expr) {
                        key.expr = Expr::Value(Value::Number(position.to_string(), false).into());
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut ByPosition);
}

/// The place of a computed key among what is selected, counted from one. Names and numbers are found as they are.
fn position(select: &Select, key: &Expr) -> Option<usize> {
    if matches!(key, Expr::Identifier(_) | Expr::Value(_)) {
        return None;
    }
    let selected = select.projection.iter().map_while(|item| match item {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => Some(expression),
        _ => None,
    });
    selected
        .zip(1..)
        .find_map(|(expression, at)| (expression == key).then_some(at))
}
