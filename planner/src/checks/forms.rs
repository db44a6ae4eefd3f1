//! Calls that grammar writes in forms of its own, subscripts and comparisons with all elements.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Subscript,
};

use super::expression::{NO_FUNCTION, signature};
use super::signatures::{self, BOOLEAN, Choice, INTEGER, TEXT, UNKNOWN, type_name};
use super::{Checker, Type};
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::fold;

/// Operators that compare rows.
const COMPARISONS: &[&str] = &["=", "<>", "<", "<=", ">", ">="];
const JSONB: u32 = 3802;
const NAME: u32 = 19;

/// Whether it is written as a row of values.
pub(super) fn is_row(expression: &Expr) -> bool {
    match expression {
        Expr::Tuple(_) => true,
        Expr::Function(function) => {
            matches!(function.name.0.as_slice(), [name] if name.as_ident().is_some_and(|name| fold(name) == "row"))
        }
        _ => false,
    }
}

/// `a` and `b` of `(a, b)` and `row(a, b)`.
pub(super) fn parts_of_row(expression: &Expr) -> Option<Vec<&Expr>> {
    match expression {
        Expr::Tuple(parts) => Some(parts.iter().collect()),
        Expr::Function(Function {
            args: FunctionArguments::List(list),
            ..
        }) if is_row(expression) => {
            let part = |argument| match argument {
                &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref part)) => Some(part),
                _ => None,
            };
            list.args.iter().map(part).collect()
        }
        _ => None,
    }
}

fn subquery(expression: &Expr) -> Option<&Query> {
    match expression {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery(inner),
        _ => None,
    }
}

impl Checker<'_> {
    /// A call that grammar makes: of a function, with the words it begins with.
    pub(super) fn form(&mut self, name: &str, arguments: &[&Expr], words: &[&str]) -> Result<Type> {
        let mut types = Vec::with_capacity(arguments.len());
        for argument in arguments {
            types.push(self.expression(argument)?);
        }
        let Some(types) = types.into_iter().collect::<Option<Vec<u32>>>() else {
            return Ok(None);
        };
        // Of these grammar knows nothing.
        let schema = if matches!(name, "ceil" | "floor" | "substr") {
            ""
        } else {
            "pg_catalog."
        };
        let shown = || format!("{schema}{name}({})", signature(&types));
        let error = match signatures::function(name, &types) {
            Choice::One {
                arguments: taken,
                result,
            } => {
                for ((argument, ty), taken) in arguments.iter().zip(&types).zip(taken) {
                    if *ty == UNKNOWN {
                        self.literal(argument, taken)?;
                    }
                }
                return Ok(result);
            }
            Choice::Cast => return Ok(None),
            Choice::None => {
                let message = format!("function {} does not exist", shown());
                Error::new(ErrorKind::UndefinedFunction, message).with_hint(NO_FUNCTION)
            }
            Choice::Several => signatures::several_functions(&shown()),
        };
        let first = arguments.iter().min_by_key(|argument| self.places.of(argument));
        Err(match first {
            Some(first) => self.places.before(error, first, words),
            None => error,
        })
    }

    /// `timestamp at time zone zone`
    pub(super) fn at_time_zone(&mut self, timestamp: &Expr, zone: &Expr) -> Result<Type> {
        self.form_behind("timezone", &[zone, timestamp], timestamp, &["at"])
    }

    /// `value similar to pattern`
    pub(super) fn similar(&mut self, value: &Expr, pattern: &Expr) -> Result<Type> {
        let (words, ty) = (["similar", "not"], self.expression(value)?);
        let escaped = self.form_behind("similar_to_escape", &[pattern], value, &words)?;
        self.operator("~", (value, ty), (pattern, escaped), &words)
    }

    /// A call that grammar makes of words behind an expression.
    fn form_behind(&mut self, name: &str, arguments: &[&Expr], left: &Expr, words: &[&str]) -> Result<Type> {
        let placed = |this: &Self, error: Error| match error.position() {
            None => this.places.after(error, left, words),
            Some(_) => error,
        };
        self.form(name, arguments, &[]).map_err(|error| placed(self, error))
    }

    /// Operators between rows: they are compared column by column.
    pub(super) fn of_rows(&mut self, name: &str, left: &Expr, right: &Expr, words: &[&str]) -> Result<Type> {
        let at_operator = |this: &Self, error: Error| this.places.after(error, left, words);
        if !COMPARISONS.contains(&name)
            && let (Expr::Tuple(all), Expr::Tuple(others)) = (left, right)
        {
            // OVERLAPS is a word between rows.
            if let ("overlaps", [start, end], [other_start, other_end]) =
                (name.to_lowercase().as_str(), all.as_slice(), others.as_slice())
            {
                return self.form_behind("overlaps", &[start, end, other_start, other_end], left, &["overlaps"]);
            }
            self.expression(left)?;
            self.expression(right)?;
            return Ok(None);
        }
        if let (Some(parts), Some(query)) = (parts_of_row(left), subquery(right)) {
            self.row_beside_subquery(name, &parts, query, left, words)?;
            return Ok(Some(BOOLEAN));
        }
        match (left, right) {
            (Expr::Tuple(all), Expr::Tuple(others)) => {
                let mut sides = Vec::with_capacity(all.len());
                for part in all.iter().chain(others) {
                    sides.push(self.expression(part)?);
                }
                if all.len() != others.len() {
                    let message = "unequal number of entries in row expressions";
                    return Err(at_operator(self, Error::new(ErrorKind::SyntaxError, message)));
                }
                let (types, other_types) = sides.split_at(all.len());
                let pairs = all.iter().zip(types).zip(others.iter().zip(other_types));
                for ((part, ty), (other, other_ty)) in pairs {
                    self.operator(name, (part, *ty), (other, *other_ty), &[])
                        .map_err(|error| match error.position() {
                            None => at_operator(self, error),
                            Some(_) => error,
                        })?;
                }
                Ok(Some(BOOLEAN))
            }
            _ => {
                let sides = [left, right].map(|side| (is_row(side), side));
                let mut names = Vec::with_capacity(sides.len());
                for (is_row, side) in sides {
                    let ty = self.expression(side)?.filter(|ty| *ty != UNKNOWN);
                    names.push(if is_row {
                        Some("record".to_string())
                    } else {
                        ty.map(type_name)
                    });
                }
                match names.as_slice() {
                    [Some(left_name), Some(right_name)] if left_name != right_name => {
                        let message = format!("operator does not exist: {left_name} {name} {right_name}");
                        let error = Error::new(ErrorKind::UndefinedFunction, message);
                        Err(at_operator(self, error.with_hint(super::expression::NO_OPERATOR)))
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    /// Each part of a row, or the one value, beside the column of a subquery it is compared with.
    pub(super) fn row_beside_subquery(
        &mut self,
        name: &str,
        parts: &[&Expr],
        query: &Query,
        left: &Expr,
        words: &[&str],
    ) -> Result<()> {
        let mut row = Vec::with_capacity(parts.len());
        for part in parts {
            row.push((*part, self.expression(part)?));
        }
        let Some(columns) = self.query(query, true)? else {
            return Ok(());
        };
        self.check_width(&columns, row.len(), left, words)?;
        for (value, (_, other)) in row.into_iter().zip(columns) {
            let other = other.map(|other| if other == UNKNOWN { TEXT } else { other });
            self.operator(name, value, (left, other), words)?;
        }
        Ok(())
    }

    /// A subquery has as many columns as the row beside it.
    fn check_width(
        &self,
        columns: &[(Option<String>, Type)],
        wanted: usize,
        left: &Expr,
        words: &[&str],
    ) -> Result<()> {
        if columns.len() == wanted {
            return Ok(());
        }
        let count = if columns.len() > wanted { "many" } else { "few" };
        let error = Error::new(ErrorKind::SyntaxError, format!("subquery has too {count} columns"));
        Err(self.places.after(error, left, words))
    }

    /// `array[1]`, `array[1:2]`, `jsonb['key']`
    pub(super) fn subscript(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Type> {
        let Some(ty) = self.expression(root)? else {
            return Ok(None);
        };
        let (mut has_slice, mut has_index) = (false, false);
        for access in chain {
            match access {
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    has_index = true;
                    if self.expression(index)? == Some(UNKNOWN) && signatures::element(ty).is_some() {
                        self.literal(index, INTEGER)?;
                    }
                }
                AccessExpr::Subscript(Subscript::Slice {
                    lower_bound,
                    upper_bound,
                    ..
                }) => {
                    (has_slice, has_index) = (true, true);
                    for bound in [lower_bound, upper_bound].into_iter().flatten() {
                        self.expression(bound)?;
                    }
                }
                AccessExpr::Dot(Expr::Identifier(field)) if !has_index => {
                    let message = format!(
                        "column notation .{} applied to type {}, which is not a composite type",
                        fold(field),
                        type_name(ty)
                    );
                    let error = Error::new(ErrorKind::WrongObjectType, message);
                    return Err(self.places.put(error, Some(root)));
                }
                AccessExpr::Dot(_) => return Ok(None),
            }
        }
        match (signatures::element(ty), ty) {
            (Some(_), _) if has_slice => Ok(Some(ty)),
            (Some(element), _) => Ok(Some(element)),
            (None, JSONB) => Ok(Some(JSONB)),
            (None, NAME) => Ok(None),
            (None, _) => {
                let message = format!(
                    "cannot subscript type {} because it does not support subscripting",
                    type_name(ty)
                );
                let error = Error::new(ErrorKind::DatatypeMismatch, message);
                Err(self.places.put(error, Some(root)))
            }
        }
    }

    /// `value = any (array)`
    pub(super) fn quantified(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Type> {
        let name = match op {
            BinaryOperator::NotEq => "<>".to_string(),
            other => other.to_string(),
        };
        let is_custom = matches!(
            op,
            BinaryOperator::Custom(_) | BinaryOperator::PGCustomBinaryOperator(_)
        );
        if let (Some(parts), Some(query)) = (parts_of_row(left), subquery(right)) {
            self.row_beside_subquery(&name, &parts, query, left, &[&name, "!="])?;
            return Ok(Some(BOOLEAN));
        }
        let value = self.expression(left)?;
        if let Some(query) = subquery(right) {
            let Some(columns) = self.query(query, true)? else {
                return Ok(Some(BOOLEAN));
            };
            let words = [name.as_str(), "!="];
            self.check_width(&columns, 1, left, &words)?;
            if let ([(_, item)], false) = (columns.as_slice(), is_custom) {
                let item = item.map(|item| if item == UNKNOWN { TEXT } else { item });
                self.operator(&name, (left, value), (right, item), &words)?;
            }
            return Ok(Some(BOOLEAN));
        }
        let (Some(value), Some(list), false) = (value, self.expression(right)?, is_custom) else {
            return Ok(Some(BOOLEAN));
        };
        let item = match list {
            UNKNOWN => UNKNOWN,
            list => match signatures::element(list) {
                Some(item) => item,
                None => {
                    let message = "op ANY/ALL (array) requires array on right side";
                    let error = Error::new(ErrorKind::WrongObjectType, message);
                    return Err(self.places.after(error, left, &[&name]));
                }
            },
        };
        match signatures::binary(&name, value, item) {
            Choice::One { arguments, .. } => {
                if value == UNKNOWN {
                    self.literal(left, arguments[0])?;
                }
                if list == UNKNOWN
                    && let Some(wanted) = signatures::array_of(arguments[1])
                {
                    self.literal(right, wanted)?;
                }
                Ok(Some(BOOLEAN))
            }
            Choice::Several | Choice::Cast => Ok(Some(BOOLEAN)),
            Choice::None => {
                let message = format!(
                    "operator does not exist: {} {name} {}",
                    type_name(value),
                    type_name(item)
                );
                let error = Error::new(ErrorKind::UndefinedFunction, message).with_hint(super::expression::NO_OPERATOR);
                Err(self.places.after(error, left, &[&name]))
            }
        }
    }

    /// `expression collate "C"`
    pub(super) fn collated(&mut self, expression: &Expr) -> Result<Type> {
        match self.expression(expression)? {
            Some(ty) if ty != UNKNOWN && !signatures::has_collation(ty) => {
                let message = format!("collations are not supported by type {}", type_name(ty));
                let error = Error::new(ErrorKind::DatatypeMismatch, message);
                Err(self.places.after(error, expression, &["collate"]))
            }
            Some(UNKNOWN) => Ok(Some(TEXT)),
            ty => Ok(ty),
        }
    }
}
