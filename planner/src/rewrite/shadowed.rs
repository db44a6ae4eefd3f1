//! Names in WITH that a WITH further out has, too.
//!
//! Before: `with r as (…) select * from (with r as (…) select * from r) q`. After: `… (with "r·1" as (…) select * from "r·1" as r) q`,
//! where `·` is a character no name can hold. DataFusion has one WITH for all of them and refuses the second name.
//!
//! What a query of a plain WITH names is what was there before: `with r as (select * from r)` reads the `r` further out.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, TableAlias, TableFactor, VisitorMut};

use super::names::MARKER;
use crate::resolve::fold;
use crate::walk::VisitMut;

pub(super) fn rename(query: &mut Query) {
    let _ = query.visit(&mut Rename::default());
}

#[derive(Default)]
struct Rename {
    /// The queries around the place that have a WITH, outermost first.
    around: Vec<Around>,
    renamed: usize,
}

struct Around {
    query: *const Query,
    recursive: bool,
    names: Vec<Name>,
    /// How many of the names mean these queries at the place.
    visible: usize,
}

struct Name {
    given: String,
    /// What it is called now.
    other: Option<String>,
    query: *const Query,
}

impl Rename {
    fn meant(&self, given: &str) -> Option<&Name> {
        let visible = |around: &'_ Around| around.visible.min(around.names.len());
        self.around.iter().rev().find_map(|around| {
            let names = around.names[..visible(around)].iter();
            names.rev().find(|name| name.given == given)
        })
    }

    /// The query's place among those of the innermost WITH.
    fn place(&self, query: &Query) -> Option<usize> {
        let around = self.around.last()?;
        around.names.iter().position(|name| std::ptr::eq(name.query, query))
    }
}

impl VisitorMut for Rename {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(place) = self.place(query)
            && let Some(around) = self.around.last_mut()
        {
            around.visible = if around.recursive { place + 1 } else { place };
        }
        let place: *const Query = query;
        let Some(with) = &mut query.with else {
            return ControlFlow::Continue(());
        };
        let mut names = Vec::with_capacity(with.cte_tables.len());
        for cte in &mut with.cte_tables {
            let given = fold(&cte.alias.name);
            let other = self.meant(&given).is_some().then(|| {
                self.renamed += 1;
                format!("{given}{MARKER}{}", self.renamed)
            });
            if let Some(other) = &other {
                let mut ident = Ident::with_quote('"', other);
                ident.span = cte.alias.name.span;
                cte.alias.name = ident;
            }
            let query: *const Query = &raw const *cte.query;
            names.push(Name { given, other, query });
        }
        self.around.push(Around {
            query: place,
            recursive: with.recursive,
            names,
            visible: 0,
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self
            .around
            .last()
            .is_some_and(|around| std::ptr::eq(around.query, query))
        {
            self.around.pop();
        }
        if let Some(place) = self.place(query)
            && let Some(around) = self.around.last_mut()
        {
            around.visible = place + 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } = factor
            && let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident()
            && let Some(other) = self.meant(&fold(ident)).and_then(|meant| meant.other.clone())
        {
            let called = ident.clone();
            let mut ident = Ident::with_quote('"', other);
            ident.span = called.span;
            *name = ObjectName::from(vec![ident]);
            alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: called,
                columns: Vec::new(),
                at: None,
            });
        }
        ControlFlow::Continue(())
    }
}
