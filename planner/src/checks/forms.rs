//! Calls that grammar writes in forms of its own, subscripts and comparisons with all elements.

use datafusion::sql::sqlparser::ast::{AccessExpr, BinaryOperator, Expr, Subscript};

use super::expression::{NO_FUNCTION, signature};
use super::signatures::{self, BOOLEAN, Choice, TEXT, UNKNOWN, type_name};
use super::{Checker, Type};
use crate::error::{Error, ErrorKind, Result};

const JSONB: u32 = 3802;
const NAME: u32 = 19;

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
        let schema = if matches!(name, "ceil" | "floor") {
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

    /// `array[1]`, `array[1:2]`, `jsonb['key']`
    pub(super) fn subscript(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Type> {
        let Some(ty) = self.expression(root)? else {
            return Ok(None);
        };
        let mut has_slice = false;
        for access in chain {
            match access {
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    self.expression(index)?;
                }
                AccessExpr::Subscript(Subscript::Slice {
                    lower_bound,
                    upper_bound,
                    ..
                }) => {
                    has_slice = true;
                    for bound in [lower_bound, upper_bound].into_iter().flatten() {
                        self.expression(bound)?;
                    }
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
        let value = self.expression(left)?;
        if let Expr::Subquery(query) = right {
            self.query(query, true)?;
            return Ok(Some(BOOLEAN));
        }
        let (Some(value), Some(list)) = (value, self.expression(right)?) else {
            return Ok(Some(BOOLEAN));
        };
        let name = match op {
            BinaryOperator::NotEq => "<>".to_string(),
            BinaryOperator::Custom(_) | BinaryOperator::PGCustomBinaryOperator(_) => return Ok(Some(BOOLEAN)),
            other => other.to_string(),
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
