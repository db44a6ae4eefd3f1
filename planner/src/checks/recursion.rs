//! Where a query in WITH RECURSIVE may name itself.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, Function, Ident, JoinOperator, LimitClause, ObjectNamePart, Query, Select, SetExpr, SetOperator,
    TableAlias, TableFactor, Visitor,
};

use super::clauses::order_keys;
use super::place::Places;
use super::signatures::{self, TEXT, UNKNOWN, type_name};
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::fold;
use crate::walk::Visit;

/// Finds what PostgreSQL allows in no recursive query: another one may never end.
pub(super) fn check(cte: &Cte, places: &Places<'_>) -> Result<()> {
    let name = fold(&cte.alias.name);
    if references(&*cte.query, &name).is_empty() {
        return Ok(());
    }
    let wrong = |message: String, at: &Ident| Err(places.at(Error::new(ErrorKind::InvalidRecursion, message), at));
    let shape = || {
        let message =
            format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term");
        wrong(message, &cte.alias.name)
    };
    let SetExpr::SetOperation {
        op: SetOperator::Union,
        left,
        right,
        ..
    } = cte.query.body.as_ref()
    else {
        return shape();
    };
    if let Some(at) = references(left.as_ref(), &name).first() {
        let message = format!("recursive reference to query \"{name}\" must not appear within its non-recursive term");
        return wrong(message, at);
    }
    let (limit, offset) = match &cte.query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        _ => (None, None),
    };
    let clauses = [
        ("ORDER BY", order_keys(&cte.query).first().copied()),
        ("OFFSET", offset),
        ("LIMIT", limit),
    ];
    if let Some((clause, Some(place))) = clauses.iter().find(|(_, place)| place.is_some()) {
        let error = Error::unsupported(format!("{clause} in a recursive query is not implemented"));
        return Err(places.put(error, Some(place)));
    }
    let found = references(right.as_ref(), &name);
    let (Some(first), Some(last)) = (found.first(), found.last()) else {
        return Ok(());
    };
    let outside = match right.as_ref() {
        SetExpr::Select(select) if in_subquery(select, &name) => Some(("a subquery", last)),
        SetExpr::Select(select) if in_outer_join(select, &name) => Some(("an outer join", first)),
        _ => None,
    };
    if let Some((what, at)) = outside {
        let message = format!("recursive reference to query \"{name}\" must not appear within {what}");
        return wrong(message, at);
    }
    if let Some(second) = found.get(1) {
        return wrong(
            format!("recursive reference to query \"{name}\" must not appear more than once"),
            second,
        );
    }
    match aggregate_beside(right, &name) {
        Some(call) => {
            let message = "aggregate functions are not allowed in a recursive query's recursive term";
            wrong(message.to_string(), &call)
        }
        None => Ok(()),
    }
}

/// The rows that follow the first ones have their types.
pub(super) fn check_column(alias: &TableAlias, number: usize, begun: u32, overall: u32) -> Result<()> {
    let begun = if begun == UNKNOWN { TEXT } else { begun };
    if begun == overall {
        return Ok(());
    }
    let message = format!(
        "recursive query \"{}\" column {number} has type {} in non-recursive term but type {} overall",
        fold(&alias.name),
        type_name(begun),
        type_name(overall)
    );
    Err(Error::new(ErrorKind::DatatypeMismatch, message)
        .with_hint("Cast the output of the non-recursive term to the correct type."))
}

/// Tells where a name means the recursive query: a WITH further in may have given it to another one.
struct Named<'a> {
    name: &'a str,
    /// Of each query around the place under way: whether the name means something else in it.
    hidden: Vec<bool>,
    /// Queries of the innermost WITH that still see what its own query's surroundings see.
    before: Vec<*const Query>,
}

impl<'a> Named<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            hidden: Vec::new(),
            before: Vec::new(),
        }
    }

    fn enter(&mut self, query: &Query) {
        let sees_around = self.before.iter().any(|before| std::ptr::eq(*before, query));
        let mut around = self.hidden.iter().rev().skip(usize::from(sees_around));
        let mut hidden = around.next().copied().unwrap_or(false);
        if let Some(with) = &query.with
            && let Some(at) = with
                .cte_tables
                .iter()
                .position(|cte| fold(&cte.alias.name) == self.name)
        {
            hidden = true;
            if !with.recursive {
                let first = with.cte_tables.iter().take(at + 1);
                self.before.extend(first.map(|cte| &raw const *cte.query));
            }
        }
        self.hidden.push(hidden);
    }

    fn leave(&mut self) {
        self.hidden.pop();
    }

    /// The name, where the table is the recursive query.
    fn by<'t>(&self, factor: &'t TableFactor) -> Option<&'t Ident> {
        let TableFactor::Table { name, args: None, .. } = factor else {
            return None;
        };
        let [part] = name.0.as_slice() else { return None };
        let ident = part.as_ident().filter(|ident| fold(ident) == self.name)?;
        (!self.hidden.last().copied().unwrap_or(false)).then_some(ident)
    }
}

/// Where relations of this name stand.
fn references(part: &impl Visit, name: &str) -> Vec<Ident> {
    struct Find<'a> {
        named: Named<'a>,
        found: Vec<Ident>,
    }
    impl Visitor for Find<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.named.enter(query);
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.named.leave();
            ControlFlow::Continue(())
        }

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.found.extend(self.named.by(factor).cloned());
            ControlFlow::Continue(())
        }
    }
    let mut find = Find {
        named: Named::new(name),
        found: Vec::new(),
    };
    let _ = part.visit(&mut find);
    find.found
}

/// Whether it is named in a subquery of an expression; subqueries in FROM may.
fn in_subquery(select: &Select, name: &str) -> bool {
    let in_items = select.projection.iter().any(|item| !references(item, name).is_empty());
    let conditions = select.selection.iter().chain(select.having.iter());
    in_items
        || conditions
            .into_iter()
            .any(|condition| !references(condition, name).is_empty())
}

fn in_outer_join(select: &Select, name: &str) -> bool {
    select.from.iter().any(|table| {
        let mut before = !references(&table.relation, name).is_empty();
        table.joins.iter().any(|join| {
            let here = !references(&join.relation, name).is_empty();
            let is_wrong = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => here,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => before,
                JoinOperator::FullOuter(_) => here || before,
                _ => false,
            };
            before |= here;
            is_wrong
        })
    })
}

/// An aggregate of a SELECT that reads this name: of no rows it would make one, for ever.
fn aggregate_beside(part: &SetExpr, name: &str) -> Option<Ident> {
    /// What each SELECT around the place under way has.
    #[derive(Default)]
    struct Level {
        names_it: bool,
        call: Option<Ident>,
    }
    struct Find<'a> {
        named: Named<'a>,
        levels: Vec<Level>,
    }
    impl Visitor for Find<'_> {
        type Break = Ident;

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Ident> {
            self.named.enter(query);
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Ident> {
            self.named.leave();
            ControlFlow::Continue(())
        }

        fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<Ident> {
            self.levels.push(Level::default());
            ControlFlow::Continue(())
        }

        fn post_visit_select(&mut self, _: &Select) -> ControlFlow<Ident> {
            match self.levels.pop() {
                Some(Level {
                    names_it: true,
                    call: Some(call),
                }) => ControlFlow::Break(call),
                _ => ControlFlow::Continue(()),
            }
        }

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Ident> {
            if let Some(level) = self.levels.last_mut() {
                level.names_it |= self.named.by(factor).is_some();
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Ident> {
            if let Expr::Function(Function { name, over: None, .. }) = expression
                && let Some(ident) = name.0.last().and_then(ObjectNamePart::as_ident)
                && signatures::is_of_kind(&fold(ident), "a")
                && let Some(level) = self.levels.last_mut()
            {
                level.call.get_or_insert_with(|| ident.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut find = Find {
        named: Named::new(name),
        levels: Vec::new(),
    };
    part.visit(&mut find).break_value()
}
