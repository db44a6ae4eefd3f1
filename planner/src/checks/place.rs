//! Where in the text an expression begins, as PostgreSQL counts.

use datafusion::sql::sqlparser::ast::{CastKind, Expr, Ident, Spanned};
use datafusion::sql::sqlparser::tokenizer::Location;

use crate::error::Error;
use crate::parse::{position_of, position_of_next, position_of_previous, positions_of_words};

#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    text: &'a str,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The error at a name.
    pub(super) fn at(&self, error: Error, ident: &Ident) -> Error {
        positioned(error, position_of(self.text, ident.span.start))
    }

    pub(super) fn at_location(&self, error: Error, location: Location) -> Error {
        positioned(error, position_of(self.text, location))
    }

    /// The error at what follows a name.
    pub(super) fn behind(&self, error: Error, ident: &Ident) -> Error {
        let start = position_of(self.text, ident.span.start);
        positioned(error, start.and_then(|start| position_of_next(self.text, start)))
    }

    /// The error at the last of these words, each of which follows the one before, the first a name.
    pub(super) fn following(&self, error: Error, ident: &Ident, words: &[&str]) -> Error {
        let mut found = position_of(self.text, ident.span.start);
        for word in words {
            let places = positions_of_words(self.text, &[word]);
            found = found.and_then(|start| places.into_iter().find(|position| *position > start));
        }
        positioned(error, found)
    }

    /// The error at an expression.
    pub(super) fn put(&self, error: Error, expression: Option<&Expr>) -> Error {
        positioned(error, expression.and_then(|expression| self.of(expression)))
    }

    /// The error at the operator that follows an expression.
    pub(super) fn after(&self, error: Error, left: &Expr, words: &[&str]) -> Error {
        positioned(error, self.position_after(left, words))
    }

    fn position_after(&self, left: &Expr, words: &[&str]) -> Option<usize> {
        // The span of `a::b` ends with `a`.
        let mut casts = 0;
        let mut inner = left;
        while let Expr::Cast {
            kind: CastKind::DoubleColon,
            expr,
            ..
        } = inner
        {
            inner = expr;
            casts += 1;
        }
        let start = position_of(self.text, left.span().end)?;
        let skipped = if words.contains(&"::") { casts } else { 0 };
        let words = positions_of_words(self.text, words).into_iter();
        words.filter(|position| *position >= start).nth(skipped)
    }

    /// The error at the type that an expression is cast to: behind `::`, or behind AS.
    pub(super) fn at_type(&self, error: Error, expression: &Expr, word: &str) -> Error {
        let found = self.position_after(expression, &[word]);
        positioned(error, found.and_then(|position| position_of_next(self.text, position)))
    }

    /// The error at the word or operator that stands before an expression.
    pub(super) fn before(&self, error: Error, expression: &Expr, words: &[&str]) -> Error {
        let start = position_of(self.text, expression.span().start);
        positioned(error, start.and_then(|start| self.last_before(start, words)))
    }

    /// The error at what stands before the last of these words.
    pub(super) fn before_last(&self, error: Error, word: &str) -> Error {
        let last = positions_of_words(self.text, &[word]).pop();
        positioned(error, last.and_then(|last| position_of_previous(self.text, last)))
    }

    fn last_before(&self, start: usize, words: &[&str]) -> Option<usize> {
        let mut words = positions_of_words(self.text, words).into_iter().rev();
        words.find(|position| *position < start)
    }

    pub(super) fn of(&self, expression: &Expr) -> Option<usize> {
        let start = |location: Location| position_of(self.text, location);
        match expression {
            Expr::Nested(inner) => self.of(inner),
            Expr::Cast {
                kind: CastKind::DoubleColon,
                expr,
                ..
            } => self.of(expr),
            Expr::Cast { expr, .. } if matches!(expr.as_ref(), Expr::Value(_)) => self.of(expr),
            Expr::Cast { expr, .. } => self.last_before(start(expr.span().start)?, &["cast"]),
            Expr::BinaryOp { left, .. }
            | Expr::InList { expr: left, .. }
            | Expr::Like { expr: left, .. }
            | Expr::ILike { expr: left, .. }
            | Expr::Between { expr: left, .. }
            | Expr::IsNull(left)
            | Expr::IsNotNull(left) => self.of(left),
            Expr::Case { case_token, .. } => start(case_token.0.span.start),
            Expr::UnaryOp { op, expr } => {
                let word = op.to_string().to_lowercase();
                self.last_before(self.of(expr)?, &[&word])
            }
            Expr::Subquery(query) => self.last_before(start(query.span().start)?, &["("]),
            Expr::Tuple(parts) => self.last_before(self.of(parts.first()?)?, &["("]),
            Expr::Array(array) => self.last_before(self.of(array.elem.first()?)?, &["array"]),
            Expr::TypedString(typed) => start(typed.value.span.start),
            Expr::Interval(interval) => self.of(&interval.value),
            other => start(other.span().start),
        }
    }
}

fn positioned(error: Error, position: Option<usize>) -> Error {
    match position {
        Some(position) => error.with_position(position),
        None => error,
    }
}
