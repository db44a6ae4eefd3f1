//! `ORDER BY ALL` by the positions of the columns.
//!
//! Before: `select region, sum(qty) from sales group by all order by all desc`. After: `… order by 1 desc, 2 desc`.
//!
//! Must not fire where `*` stands for columns of a table: DataFusion, which knows them, orders by their names.

use std::ops::ControlFlow;

use crate::walk::VisitMut;
use datafusion::sql::sqlparser::ast::{
    Expr, OrderBy, OrderByExpr, OrderByKind, Query, SelectItem, SetExpr, Value, VisitorMut,
};

pub(super) fn by_position(query: &mut Query) {
    struct ByPosition;
    impl VisitorMut for ByPosition {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if let Some(order_by) = &mut query.order_by
                && let Some(width) = width(&query.body)
            {
                number(order_by, width);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut ByPosition);
}

fn number(order_by: &mut OrderBy, width: usize) {
    let OrderByKind::All(options) = order_by.kind else {
        return;
    };
    let key = |position: usize| OrderByExpr {
        expr: Expr::Value(Value::Number(position.to_string(), false).into()),
        options,
        with_fill: None,
    };
    order_by.kind = OrderByKind::Expressions((1..=width).map(key).collect());
}

/// How many columns a query has, where its text tells.
pub(super) fn width(body: &SetExpr) -> Option<usize> {
    // A chain of UNION ALL leans left: it is walked without recursion.
    let mut next = body;
    loop {
        match next {
            SetExpr::SetOperation { left, .. } => next = left,
            SetExpr::Query(query) => next = &query.body,
            SetExpr::Values(values) => return Some(values.rows.first()?.content.len()),
            SetExpr::Select(select) => {
                let counted =
                    |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
                let items = &select.projection;
                return (!items.is_empty() && items.iter().all(counted)).then_some(items.len());
            }
            _ => return None,
        }
    }
}
