//! The types that literals were read as, and how the tree that is planned learns of them.
//!
//! Before: `greatest('{1,2}', a)` of an array, `abs('1')`. After: `greatest(cast('{1,2}' as int4[]), a)`, `abs(cast('1' as float8))`.
//! Before: `coalesce(date, timestamptz)`. After: both cast to `timestamptz`. So are the values of a column of VALUES.
//!
//! Literals are known by their places in the text, which rewriting leaves as they were. Texts stay as they are.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Query, SetExpr, Spanned, Value, ValueWithSpan, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use staffa_catalog::SqlType;

use super::signatures::{element, is_text};
use crate::pg_catalog::facts;
use crate::rewrite::owned_aggregates;
use crate::value::sql_type_of_oid;
use crate::walk::VisitMut;

#[derive(Debug, Default)]
pub(crate) struct Readings {
    types: HashMap<Location, u32>,
    /// The types that `coalesce`, `greatest`, `least` and CASE bring their values to, where DataFusion would choose another.
    choices: HashMap<Location, u32>,
    /// The same for columns of VALUES, by the places of their first cells.
    columns: HashMap<Location, u32>,
    /// The aggregates that belong to a query around theirs, each with the place of that one's SELECT.
    owners: HashMap<Location, Location>,
}

/// `real`, `double precision`, `timestamp`, `timestamptz`
const CHOSEN: [u32; 4] = [700, 701, 1114, 1184];

impl Readings {
    /// Notes that a literal is of this type.
    pub(super) fn note(&mut self, literal: &ValueWithSpan, ty: u32) {
        if is_bare(&literal.value) && !is_text(ty) {
            self.insert(literal, ty);
        }
    }

    /// Notes that a NULL is of this type.
    pub(super) fn note_null(&mut self, literal: &ValueWithSpan, ty: u32) {
        if literal.value == Value::Null {
            self.insert(literal, ty);
        }
    }

    fn insert(&mut self, literal: &ValueWithSpan, ty: u32) {
        let place = literal.span.start;
        let is_ours = sql_type_of_oid(ty, -1).is_some_and(|ty| !matches!(ty, SqlType::System(_) | SqlType::Unknown));
        if place.line > 0 && is_ours {
            self.types.entry(place).or_insert(ty);
        }
    }

    /// Notes that the values of the choice that begins there are of different types, and become this one.
    pub(super) fn note_choice(&mut self, place: Location, ty: u32) {
        if place.line > 0 && CHOSEN.contains(&ty) {
            self.choices.entry(place).or_insert(ty);
        }
    }

    /// Notes that the values of the column of VALUES that begins with this one become this type.
    pub(super) fn note_column(&mut self, first: &Expr, ty: u32) {
        let place = first.span().start;
        if place.line > 0 && CHOSEN.contains(&ty) {
            self.columns.entry(place).or_insert(ty);
        }
    }

    /// Notes that an aggregate belongs to the query around whose SELECT stands there.
    pub(super) fn note_owner(&mut self, aggregate: &Ident, select: Location) {
        let place = aggregate.span.start;
        if place.line > 0 && select.line > 0 {
            self.owners.insert(place, select);
        }
    }

    /// Gives the literals and choices of a query their types, and its aggregates to the queries they belong to.
    pub(crate) fn apply(&self, query: &mut Query) {
        struct Typing<'a>(&'a Readings);
        impl VisitorMut for Typing<'_> {
            type Break = ();
            fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
                if let SetExpr::Values(values) = query.body.as_mut()
                    && let Some(first) = values.rows.first()
                {
                    let ty = |cell: &Expr| self.0.columns.get(&cell.span().start).copied();
                    let types: Vec<Option<u32>> = first.content.iter().map(ty).collect();
                    for row in &mut values.rows {
                        for (cell, ty) in row.content.iter_mut().zip(&types) {
                            if let Some(ty) = *ty {
                                bring(cell, ty);
                            }
                        }
                    }
                }
                ControlFlow::Continue(())
            }

            fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
                match expression {
                    Expr::Value(literal) if is_bare(&literal.value) || literal.value == Value::Null => {
                        if let Some(ty) = self.0.types.get(&literal.span.start).copied() {
                            bring(expression, ty);
                        }
                    }
                    Expr::Function(function) => {
                        let ident = function.name.0.last().and_then(|part| part.as_ident());
                        if let Some(ty) = ident.and_then(|ident| self.0.choices.get(&ident.span.start).copied())
                            && let FunctionArguments::List(list) = &mut function.args
                        {
                            for argument in &mut list.args {
                                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument {
                                    bring(value, ty);
                                }
                            }
                        }
                    }
                    Expr::Case {
                        case_token,
                        conditions,
                        else_result,
                        ..
                    } => {
                        if let Some(ty) = self.0.choices.get(&case_token.0.span.start).copied() {
                            let results = conditions.iter_mut().map(|branch| &mut branch.result);
                            results
                                .chain(else_result.as_deref_mut())
                                .for_each(|value| bring(value, ty));
                        }
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            }
        }
        if !(self.types.is_empty() && self.choices.is_empty() && self.columns.is_empty()) {
            let _ = query.visit(&mut Typing(self));
        }
        owned_aggregates::lift(query, &self.owners);
    }
}

/// Casts an expression, unless there is no such type here.
fn bring(expression: &mut Expr, ty: u32) {
    if let Some(data_type) = named(ty) {
        let inner = std::mem::replace(expression, Expr::Value(Value::Null.into()));
        *expression = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(inner),
            data_type,
            array: false,
            format: None,
        };
    }
}

/// Whether it is a literal without a type.
pub(super) fn is_bare(value: &Value) -> bool {
    matches!(
        value,
        Value::SingleQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::DollarQuotedString(_)
    )
}

/// The name of a type, as a cast has it.
fn named(ty: u32) -> Option<DataType> {
    if let Some(element) = element(ty) {
        let element = Box::new(named(element)?);
        return Some(DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)));
    }
    let name = Ident::with_quote('"', facts::type_with_oid(ty)?.name);
    Some(DataType::Custom(ObjectName::from(vec![name]), Vec::new()))
}
