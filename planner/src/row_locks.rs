//! `SELECT … FOR UPDATE` and `FOR SHARE`: who locks rows must be one who may change them, as in PostgreSQL. The rows of a view are its
//! owner's to lock.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    LockClause, ObjectName, Query, SetExpr, TableAlias, TableFactor, TableWithJoins, Values, VisitorMut,
};
use staffa_catalog::{Privileges, RelationKind};

use crate::context::PlanContext;
use crate::error::Result;
use crate::resolve::{self, fold};
use crate::walk::VisitMut;

/// Fails for a query with rows of relations that the role may not change.
pub(crate) async fn check(context: &PlanContext, query: &Query) -> Result<()> {
    let mut locked = Vec::new();
    add_locked(query, &[], &mut locked);
    for name in locked {
        match resolve::existing(context, &name)? {
            Some((_, RelationKind::Table)) => {
                let table = resolve::table(context, &name).await?;
                context.check_columns(&table, [], Privileges::UPDATE)?;
            }
            Some((found, kind)) => {
                if let Some(id) = context.snapshot.relation_id(&found).await? {
                    context.check_relation(id, kind, &found.name, Privileges::UPDATE)?;
                }
            }
            // What is not there is found missing where it is read.
            None => {}
        }
    }
    Ok(())
}

/// The relations whose rows a query locks, but for CTEs, whose names hide others.
fn add_locked(query: &Query, hidden: &[String], found: &mut Vec<ObjectName>) {
    let mut hidden = hidden.to_vec();
    let mut query = query.clone();
    if let Some(with) = query.with.take() {
        let names = with.cte_tables.iter().map(|cte| fold(&cte.alias.name));
        if with.recursive {
            hidden.extend(names.clone());
        }
        for (cte, name) in with.cte_tables.iter().zip(names) {
            add_locked(&cte.query, &hidden, found);
            hidden.push(name);
        }
    }
    let Query { body, locks, .. } = &mut query;
    if let SetExpr::Select(select) = body.as_mut() {
        for lock in locks.iter() {
            for table in &mut select.from {
                add_joined(table, lock, &hidden, found);
            }
        }
    }
    struct Inner<'a> {
        hidden: &'a [String],
        found: &'a mut Vec<ObjectName>,
    }
    impl VisitorMut for Inner<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, inner: &mut Query) -> ControlFlow<()> {
            add_locked(inner, self.hidden, self.found);
            // What is in it is known now.
            inner.with = None;
            *inner.body = SetExpr::Values(Values {
                explicit_row: false,
                value_keyword: false,
                rows: Vec::new(),
            });
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(&mut query.body, &mut Inner { hidden: &hidden, found });
}

fn add_joined(table: &mut TableWithJoins, lock: &LockClause, hidden: &[String], found: &mut Vec<ObjectName>) {
    add_factor(&mut table.relation, lock, hidden, found);
    for join in &mut table.joins {
        add_factor(&mut join.relation, lock, hidden, found);
    }
}

fn add_factor(factor: &mut TableFactor, lock: &LockClause, hidden: &[String], found: &mut Vec<ObjectName>) {
    match factor {
        TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } => {
            let own = name.0.last().and_then(|part| part.as_ident()).map(fold);
            let is_hidden = name.0.len() == 1 && own.as_ref().is_some_and(|own| hidden.contains(own));
            if !is_hidden && is_meant(lock, alias.as_ref(), own) {
                found.push(name.clone());
            }
        }
        TableFactor::NestedJoin { table_with_joins, .. } => add_joined(table_with_joins, lock, hidden, found),
        // All tables of it are locked, whatever it says itself. It is looked at once, with the other queries inside.
        TableFactor::Derived { subquery, alias, .. } if is_meant(lock, alias.as_ref(), None) => {
            subquery.locks = vec![LockClause {
                of: None,
                ..lock.clone()
            }];
        }
        _ => {}
    }
}

/// Whether a lock is one of a table with this alias, or of this name.
fn is_meant(lock: &LockClause, alias: Option<&TableAlias>, name: Option<String>) -> bool {
    let Some(of) = &lock.of else { return true };
    let of = of.0.last().and_then(|part| part.as_ident()).map(fold);
    of == alias.map(|alias| fold(&alias.name)).or(name)
}
