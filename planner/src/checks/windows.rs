//! Windows: their names, and the frames they may have.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, NamedWindowDefinition, NamedWindowExpr,
    Select, UnaryOperator, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::signatures::{self, BIGINT, INTERVAL, UNKNOWN, can_assign, type_name};
use super::{Checker, Type};
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::fold;

/// A window of the clause WINDOW.
#[derive(Debug)]
pub(super) struct Named {
    name: String,
    orders: usize,
}

impl Checker<'_> {
    /// Notes the windows that calls can name.
    pub(super) fn windows(&mut self, select: &Select) -> Result<()> {
        for NamedWindowDefinition(ident, definition) in &select.named_window {
            let name = fold(ident);
            let windows = &self.level().windows;
            if windows.iter().any(|window| window.name == name) {
                let message = format!("window \"{name}\" is already defined");
                let error = Error::new(ErrorKind::WindowingError, message);
                return Err(self.places.following(error, ident, &["("]));
            }
            let orders = match definition {
                NamedWindowExpr::WindowSpec(spec) => spec.order_by.len(),
                NamedWindowExpr::NamedWindow(_) => 0,
            };
            self.level().windows.push(Named { name, orders });
        }
        Ok(())
    }

    /// What stands in OVER behind a function.
    pub(super) fn over(&mut self, function: &Function, ident: &Ident) -> Result<()> {
        if function.over.is_some() && fold(ident) == "nth_value" && !has_positive_second(function) {
            let message = "argument of nth_value must be greater than zero";
            return Err(Error::new(ErrorKind::InvalidArgumentForNthValue, message));
        }
        match &function.over {
            Some(WindowType::NamedWindow(name)) => self.named_window(name).map(|_| ()),
            Some(WindowType::WindowSpec(spec)) => {
                let outside = self.clause.replace("window definitions");
                let checked = self.specification(spec, ident);
                self.clause = outside;
                checked
            }
            None => Ok(()),
        }
    }

    /// The window a name means.
    fn named_window(&mut self, ident: &Ident) -> Result<&Named> {
        let name = fold(ident);
        let places = self.places;
        let mut windows = self.level().windows.iter();
        windows.find(|window| window.name == name).ok_or_else(|| {
            let message = format!("window \"{name}\" does not exist");
            places.at(Error::new(ErrorKind::UndefinedObject, message), ident)
        })
    }

    fn specification(&mut self, spec: &WindowSpec, ident: &Ident) -> Result<()> {
        let at_window = |this: &Self, kind, message: String| {
            let error = Error::new(kind, message);
            Err(this.places.following(error, ident, &["over", "("]))
        };
        let mut orders = spec.order_by.len();
        if let Some(name) = &spec.window_name {
            let window = self.named_window(name)?;
            let what = match (spec.partition_by.is_empty(), orders == 0) {
                (false, _) => Some("PARTITION BY"),
                (true, false) if window.orders > 0 => Some("ORDER BY"),
                _ => None,
            };
            orders += window.orders;
            if let Some(what) = what {
                let message = format!("cannot override {what} clause of window \"{}\"", fold(name));
                return at_window(self, ErrorKind::WindowingError, message);
            }
        }
        for key in &spec.partition_by {
            self.expression(key)?;
        }
        let mut ordered_by = None;
        for key in &spec.order_by {
            ordered_by = self.expression(&key.expr)?;
        }
        let Some(frame) = &spec.window_frame else {
            return Ok(());
        };
        self.frame_shape(frame, ident)?;
        let has_offset = frame_offsets(frame).next().is_some();
        if frame.units == WindowFrameUnits::Range && has_offset && orders != 1 {
            let message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
            return at_window(self, ErrorKind::WindowingError, message.to_string());
        }
        if frame.units == WindowFrameUnits::Groups && orders == 0 {
            let message = "GROUPS mode requires an ORDER BY clause";
            return at_window(self, ErrorKind::WindowingError, message.to_string());
        }
        for offset in frame_offsets(frame) {
            self.offset(frame.units, offset, ordered_by)?;
        }
        Ok(())
    }

    fn frame_shape(&self, frame: &WindowFrame, ident: &Ident) -> Result<()> {
        let start_is_unbounded = matches!(frame.start_bound, WindowFrameBound::Preceding(None));
        let (message, nth) = match (&frame.start_bound, &frame.end_bound) {
            (WindowFrameBound::Following(None), _) => ("frame start cannot be UNBOUNDED FOLLOWING", 1),
            (_, Some(WindowFrameBound::Preceding(None))) => (
                "frame end cannot be UNBOUNDED PRECEDING",
                1 + usize::from(start_is_unbounded),
            ),
            (WindowFrameBound::CurrentRow, Some(WindowFrameBound::Preceding(Some(end)))) => {
                let message = "frame starting from current row cannot have preceding rows";
                return Err(self
                    .places
                    .put(Error::new(ErrorKind::WindowingError, message), Some(end)));
            }
            (WindowFrameBound::Following(_), Some(WindowFrameBound::Preceding(Some(end)))) => {
                let message = "frame starting from following row cannot have preceding rows";
                return Err(self
                    .places
                    .put(Error::new(ErrorKind::WindowingError, message), Some(end)));
            }
            (WindowFrameBound::Following(_), Some(WindowFrameBound::CurrentRow)) => {
                let error = Error::new(
                    ErrorKind::WindowingError,
                    "frame starting from following row cannot have preceding rows",
                );
                return Err(self.places.following(error, ident, &["over", "current"]));
            }
            _ => return Ok(()),
        };
        let words = ["over", "unbounded", "unbounded"];
        let error = Error::new(ErrorKind::WindowingError, message);
        Err(self.places.following(error, ident, &words[..=nth]))
    }

    /// A number of rows or groups, or what is added to the key.
    fn offset(&mut self, units: WindowFrameUnits, offset: &Expr, ordered_by: Type) -> Result<()> {
        // sqlparser takes every literal for an interval.
        let (offset, ty) = match offset {
            Expr::Interval(interval) if units != WindowFrameUnits::Range => (interval.value.as_ref(), Some(UNKNOWN)),
            other => (other, self.expression(other)?),
        };
        if units != WindowFrameUnits::Range {
            return match ty {
                Some(UNKNOWN) => self.literal(offset, BIGINT),
                Some(ty) if !can_assign(ty, BIGINT) => {
                    let name = if units == WindowFrameUnits::Rows {
                        "ROWS"
                    } else {
                        "GROUPS"
                    };
                    let message = format!("argument of {name} must be type bigint, not type {}", type_name(ty));
                    Err(self
                        .places
                        .put(Error::new(ErrorKind::DatatypeMismatch, message), Some(offset)))
                }
                _ => Ok(()),
            };
        }
        match ordered_by.map(signatures::preferred) {
            // A literal is one of the key's type.
            Some(key) if signatures::is_number(key) => match offset {
                Expr::Interval(interval) if interval.leading_field.is_none() => self.readable(&interval.value, key),
                _ => Ok(()),
            },
            Some(key) if !signatures::is_number(key) && !signatures::is_of_time(key) && key != INTERVAL => {
                let message = format!(
                    "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}",
                    type_name(key)
                );
                Err(self.places.put(Error::unsupported(message), Some(offset)))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the second argument may be a number above zero.
fn has_positive_second(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else {
        return true;
    };
    let is_zero = |value: &Expr| matches!(value, Expr::Value(value) if value.value.to_string().parse() == Ok(0));
    match list.args.get(1) {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) => match value {
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => !matches!(expr.as_ref(), Expr::Value(_)),
            value => !is_zero(value),
        },
        _ => true,
    }
}

fn frame_offsets(frame: &WindowFrame) -> impl Iterator<Item = &Expr> {
    let bounds = [Some(&frame.start_bound), frame.end_bound.as_ref()];
    bounds.into_iter().flatten().filter_map(|bound| match bound {
        WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset)) => Some(offset.as_ref()),
        _ => None,
    })
}
