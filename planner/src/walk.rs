//! Walking a syntax tree.
//!
//! sqlparser's walk is generic over the visitor, and each kind of visitor makes the compiler write the walk of every node of
//! the grammar once more: some 1,300 functions. There are dozens of visitors here, and they were most of this crate's
//! machine code and of the time its builds take. Through these traits all of them share one walk, which calls them behind a `dyn`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visitor, VisitorMut,
};

/// [`ast::Visit`] with one walk for all visitors.
pub(crate) trait Visit {
    fn visit<V: Visitor>(&self, visitor: &mut V) -> ControlFlow<V::Break>;
}

/// [`ast::VisitMut`] with one walk for all visitors.
pub(crate) trait VisitMut {
    fn visit<V: VisitorMut>(&mut self, visitor: &mut V) -> ControlFlow<V::Break>;
}

impl<T: ast::Visit + ?Sized> Visit for T {
    fn visit<V: Visitor>(&self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut called = Called { visitor, found: None };
        let _ = ast::Visit::visit(self, &mut Any(&mut called));
        called.found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

impl<T: ast::VisitMut + ?Sized> VisitMut for T {
    fn visit<V: VisitorMut>(&mut self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut called = Called { visitor, found: None };
        let _ = ast::VisitMut::visit(self, &mut AnyMut(&mut called));
        called.found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

/// [`ast::visit_expressions`] with one walk for all closures: an expression comes before those in it.
pub(crate) fn expressions<T: Visit, B>(tree: &T, look: impl FnMut(&Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    struct Each<F>(F);

    impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Each<F> {
        type Break = B;

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<B> {
            self.0(expression)
        }
    }
    tree.visit(&mut Each(look))
}

/// [`ast::visit_expressions_mut`] with one walk for all closures: an expression comes after those in it.
pub(crate) fn expressions_mut<T: VisitMut, B>(
    tree: &mut T,
    change: impl FnMut(&mut Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    struct Each<F>(F);

    impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for Each<F> {
        type Break = B;

        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<B> {
            self.0(expression)
        }
    }
    tree.visit(&mut Each(change))
}

/// A visitor, and what it broke off with.
struct Called<'a, V, B> {
    visitor: &'a mut V,
    found: Option<B>,
}

impl<V, B> Called<'_, V, B> {
    fn keep(&mut self, flow: ControlFlow<B>) -> ControlFlow<()> {
        flow.map_break(|found| self.found = Some(found))
    }
}

/// The hooks of a visitor as a trait without types of its own, the visitor that calls them, and their forwarding.
macro_rules! erased {
    ($hooks:ident, $any:ident, $visitor:ident, $($reference:tt)+) => {
        erased! { @each $hooks $any $visitor [$($reference)+]
            pre_visit_query Query, post_visit_query Query,
            pre_visit_select Select, post_visit_select Select,
            pre_visit_relation ObjectName, post_visit_relation ObjectName,
            pre_visit_table_factor TableFactor, post_visit_table_factor TableFactor,
            pre_visit_expr Expr, post_visit_expr Expr,
            pre_visit_statement Statement, post_visit_statement Statement,
            pre_visit_value ValueWithSpan, post_visit_value ValueWithSpan
        }
    };
    (@each $hooks:ident $any:ident $visitor:ident $reference:tt $($hook:ident $node:ident),+) => {
        trait $hooks {
            $(erased! { @declared $hook $node $reference })+
        }

        struct $any<'a>(&'a mut dyn $hooks);

        impl $visitor for $any<'_> {
            type Break = ();

            $(erased! { @called $hook $node $reference })+
        }

        impl<V: $visitor> $hooks for Called<'_, V, V::Break> {
            $(erased! { @forwarded $hook $node $reference })+
        }
    };
    (@declared $hook:ident $node:ident [$($reference:tt)+]) => {
        fn $hook(&mut self, node: $($reference)+ $node) -> ControlFlow<()>;
    };
    (@called $hook:ident $node:ident [$($reference:tt)+]) => {
        fn $hook(&mut self, node: $($reference)+ $node) -> ControlFlow<()> {
            self.0.$hook(node)
        }
    };
    (@forwarded $hook:ident $node:ident [$($reference:tt)+]) => {
        fn $hook(&mut self, node: $($reference)+ $node) -> ControlFlow<()> {
            let flow = self.visitor.$hook(node);
            self.keep(flow)
        }
    };
}

erased!(Hooks, Any, Visitor, &);
erased!(HooksMut, AnyMut, VisitorMut, &mut);
