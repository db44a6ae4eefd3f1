//! The rows of VALUES, brought to one type a column where only their text tells it: DataFusion wants the metadata of all cells
//! to be the same.
//!
//! | written | after |
//! |---|---|
//! | `('{}'::json), ('1')`, `('a'::name), (null)`, `(date '2024-01-01'), ('2024-01-02')` | the literals are of that type |
//! | `('x'::varchar(3)), ('y')` | all are `varchar`, of any length |
//! | `(1.5), ('2.5')`, `(t.a), (1)`, `(1::numeric(10,2)), (2)`, `('x'::varchar(3)), (upper('y'))` | `staffa_plain(t.a)`, which says less of its origin |

use datafusion::sql::sqlparser::ast::{DataType, Expr, Parens, SetExpr, Value};
use staffa_catalog::SqlType;

use super::forms::cast;
use super::literals::is_wrapped;
use super::{call, json, taken};
use crate::function::PLAIN;
use crate::type_planner::sql_type_of_ast;

pub(super) fn of_one_type(body: &mut SetExpr) {
    let SetExpr::Values(values) = body else { return };
    let several = values.rows.len() > 1;
    if several {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        for column in 0..width {
            same_type(&mut values.rows, column);
            literals_beside_decimals(&mut values.rows, column);
        }
    }
    for cell in values.rows.iter_mut().flat_map(|row| &mut row.content) {
        let is_plain = match &*cell {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
            Expr::Subquery(_) => several,
            // A cast of a `varchar` to `text` still tells of the `varchar`.
            _ => several && matches!(declared(cell), Some(SqlType::Numeric { .. } | SqlType::Text)),
        };
        if is_plain {
            *cell = call(PLAIN, vec![taken(cell)]);
        }
    }
}

fn same_type(rows: &mut [Parens<Vec<Expr>>], column: usize) {
    let cells = || rows.iter().filter_map(|row| row.content.get(column));
    let (only, to): (fn(&Expr) -> bool, _) = if let Some(ty) = cells()
        .find_map(json::json_type)
        .or_else(|| cells().find_map(system_type))
        .or_else(|| only_type(cells()))
    {
        (is_untyped, ty)
    } else if cells().any(is_varchar) && cells().all(|cell| is_varchar(cell) || is_untyped(cell)) {
        let mut types = cells().map(declared);
        let first = types.next();
        if types.all(|ty| Some(ty) == first) {
            return;
        }
        (|_| true, DataType::Varchar(None))
    } else {
        (is_varchar, DataType::Text)
    };
    for cell in rows.iter_mut().filter_map(|row| row.content.get_mut(column)) {
        if only(cell) {
            *cell = cast(taken(cell), to.clone());
        }
    }
}

/// `(1.5), ('2.5')`: the text will be read as a numeric, which says so.
fn literals_beside_decimals(rows: &mut [Parens<Vec<Expr>>], column: usize) {
    let is_decimal = |cell: &Expr| match cell {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.contains(['.', 'e', 'E'])),
        _ => false,
    };
    if !rows.iter().filter_map(|row| row.content.get(column)).any(is_decimal) {
        return;
    }
    for cell in rows.iter_mut().filter_map(|row| row.content.get_mut(column)) {
        if is_untyped(cell) && *cell != Expr::Value(Value::Null.into()) {
            *cell = call(PLAIN, vec![taken(cell)]);
        }
    }
}

/// A literal that is of the type of what it stands with.
fn is_untyped(cell: &Expr) -> bool {
    matches!(cell, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_) | Value::Null))
}

fn is_varchar(cell: &Expr) -> bool {
    matches!(declared(cell), Some(SqlType::Varchar(_)))
}

/// The type of all cells but literals, where it is written behind their values. (Texts are brought together otherwise.)
fn only_type<'a>(cells: impl Iterator<Item = &'a Expr>) -> Option<DataType> {
    let mut only: Option<&DataType> = None;
    for cell in cells.filter(|cell| !is_untyped(cell)) {
        let ty = written(cell)?;
        if is_wrapped(cell) || only.is_some_and(|known| known != ty) {
            return None;
        }
        only = Some(ty);
    }
    let texts = |ty: &&DataType| matches!(sql_type_of_ast(ty), Ok(SqlType::Text | SqlType::Varchar(_)));
    only.filter(|ty| !texts(ty)).cloned()
}

/// The type of the system catalogs that is written behind the value.
fn system_type(cell: &Expr) -> Option<DataType> {
    matches!(declared(cell)?, SqlType::System(_)).then(|| written(cell).cloned())?
}

fn declared(cell: &Expr) -> Option<SqlType> {
    sql_type_of_ast(written(cell)?).ok()
}

fn written(cell: &Expr) -> Option<&DataType> {
    match cell {
        Expr::Nested(inner) => written(inner),
        Expr::Cast { data_type, .. } => Some(data_type),
        Expr::TypedString(typed) => Some(&typed.data_type),
        _ => None,
    }
}
