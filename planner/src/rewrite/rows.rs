//! Comparisons of rows, column by column, as SQL:2016 8.2 and 8.4 define them.
//!
//! | before | after |
//! |---|---|
//! | `(a, b) = (c, d)` | `a = c and b = d` |
//! | `(a, b) < (c, d)` | `a < c or (a = c and b < d)` |
//! | `(a, b) is null`, `(a, b) is not null` | `a is null and b is null`, `a is not null and b is not null` |
//! | `(a, b) in ((1, 2), (3, 4))` | `a = 1 and b = 2 or a = 3 and b = 4` |
//! | `where (a, b) in (select x, y …)` | `where exists (select 1 from (select x, y …) r (r1, r2) where a = r1 and b = r2)` |
//! | `(a, b) in (select x, y …)` elsewhere | that EXISTS, but unknown when a comparison is unknown and none is true |
//! | `(a, b) < (select x, y …)` | `(select a < r1 or (a = r1 and b < r2) from (select x, y …) r (r1, r2))` |
//! | `(a, b) = any (…)`, `(a, b) <> all (…)` | `(a, b) in (…)`, `(a, b) not in (…)` |
//! | `(a, b) < all (select x, y …)` | of the comparisons with all rows: false if one is, else unknown if one is, else true |
//!
//! DataFusion makes structs of rows and finds two of them equal where both have a null. Must not fire on columns whose type is
//! a struct: PostgreSQL compares these as DataFusion does.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select,
    SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, UnaryOperator, Value,
};

use super::names::MARKER;
use crate::error::{Error, ErrorKind, Result};
use crate::stored;

/// `(a, b) IN (subquery)` a statement may have where it is not asked for by WHERE itself. Nested ones double each time.
const LOOKUPS_MAX: usize = 64;
/// Columns that may be compared: rows within rows are written out again and again.
const COMPARED_MAX: usize = 100_000;
/// Columns of a row, as in PostgreSQL; and of one that is ordered, whose comparison is as deep as the row is wide.
const WIDTH_MAX: usize = 1664;
const ORDERED_WIDTH_MAX: usize = 100;

/// What the comparisons of a statement have cost.
#[derive(Default)]
pub(super) struct Written {
    lookups: usize,
    compared: usize,
}

impl Written {
    fn compared(&mut self, columns: usize) -> Result<()> {
        self.compared = self.compared.saturating_add(columns);
        match columns <= WIDTH_MAX && self.compared <= COMPARED_MAX {
            true => Ok(()),
            false => Err(too_complex("the statement compares too many columns of rows")),
        }
    }

    /// A row of so many columns is compared with those of a subquery.
    fn looked_up(&mut self, columns: usize) -> Result<()> {
        self.lookups += 1;
        match self.lookups <= LOOKUPS_MAX {
            true => self.compared(columns),
            false => Err(too_complex("the statement compares rows with too many subqueries")),
        }
    }
}

fn too_complex(message: &str) -> Error {
    Error::new(ErrorKind::StatementTooComplex, message)
}

/// Rewrites one expression; those inside it come later.
pub(super) fn comparison(expression: &mut Expr, written: &mut Written) -> Result<()> {
    if let Some(found) = beside_subquery(expression, written)? {
        *expression = found;
        return Ok(());
    }
    match expression {
        Expr::BinaryOp { left, op, right } => {
            let Some((left, right)) = pair(left, right)? else {
                return Ok(());
            };
            written.compared(left.len())?;
            if let Some(compared) = compared(op, &left, &right)? {
                *expression = compared;
            }
        }
        Expr::IsDistinctFrom(left, right) => {
            if let Some((left, right)) = pair(left, right)? {
                written.compared(left.len())?;
                *expression = any(each(&left, &right, Expr::IsDistinctFrom));
            }
        }
        Expr::IsNotDistinctFrom(left, right) => {
            if let Some((left, right)) = pair(left, right)? {
                written.compared(left.len())?;
                *expression = all(each(&left, &right, Expr::IsNotDistinctFrom));
            }
        }
        Expr::IsNull(row) => {
            if let Some(columns) = columns(row) {
                written.compared(columns.len())?;
                *expression = all(columns.iter().map(|column| Expr::IsNull(Box::new(column.clone()))));
            }
        }
        Expr::IsNotNull(row) => {
            if let Some(columns) = columns(row) {
                written.compared(columns.len())?;
                *expression = all(columns.iter().map(|column| Expr::IsNotNull(Box::new(column.clone()))));
            }
        }
        Expr::InList { expr, list, negated } => {
            let Some(row) = columns(expr) else { return Ok(()) };
            let mut found = Vec::with_capacity(list.len());
            for other in list.iter() {
                let other = columns(other).ok_or_else(|| Error::unsupported("comparing a row with a value"))?;
                check_width(row.len(), other.len())?;
                written.compared(row.len())?;
                found.push(equal(&row, &other));
            }
            *expression = negate(any(found), *negated);
        }
        Expr::InSubquery {
            expr,
            subquery,
            negated,
        } => {
            let Some(row) = columns(expr) else { return Ok(()) };
            written.looked_up(row.len())?;
            let found = |condition: &dyn Fn(Expr) -> Expr| among(&row, subquery, condition);
            *expression = decided(found(&|equal| equal)?, found(&is_unknown)?, !*negated);
        }
        _ => {}
    }
    Ok(())
}

/// The comparison of a row with the one row of a subquery, or with all of its rows.
fn beside_subquery(expression: &Expr, written: &mut Written) -> Result<Option<Expr>> {
    let (left, op, right, quantifier) = match expression {
        Expr::BinaryOp { left, op, right } => (left, op, right, None),
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => (left, compare_op, right, Some(true)),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => (left, compare_op, right, Some(false)),
        _ => return Ok(None),
    };
    let Some((row, subquery)) = columns(left).zip(subquery(right)) else {
        return Ok(None);
    };
    if let (BinaryOperator::Eq, Some(true)) | (BinaryOperator::NotEq, Some(false)) = (op, quantifier) {
        let mut found = Expr::InSubquery {
            expr: left.clone(),
            subquery: Box::new(subquery.clone()),
            negated: *op == BinaryOperator::NotEq,
        };
        comparison(&mut found, written)?;
        return Ok(Some(found));
    }
    written.looked_up(row.len())?;
    let (mut query, names) = with_names(subquery, row.len())?;
    let Some(compared) = compared(op, &row, &names)? else {
        return Ok(None);
    };
    let is_one_so = |condition: Expr| super::call("bool_or", vec![condition]);
    let found = match quantifier {
        None => compared,
        Some(wanted) => {
            let decides = negate(compared.clone(), !wanted);
            decided(is_one_so(decides), is_one_so(is_unknown(compared)), wanted)
        }
    };
    select_of(&mut query)?.projection = vec![SelectItem::UnnamedExpr(found)];
    Ok(Some(Expr::Subquery(Box::new(query))))
}

fn subquery(expression: &Expr) -> Option<&Query> {
    match expression {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery(inner),
        _ => None,
    }
}

/// `result` where something decides it, unknown where something is not known, else the opposite.
fn decided(decides: Expr, unknown: Expr, result: bool) -> Expr {
    let truth = |truth: bool| Expr::Value(Value::Boolean(truth).into());
    let when = |condition: Expr, result: Expr| CaseWhen { condition, result };
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![
            when(decides, truth(result)),
            when(unknown, Expr::Value(Value::Null.into())),
        ],
        else_result: Some(Box::new(truth(!result))),
    }
}

fn is_unknown(condition: Expr) -> Expr {
    Expr::IsNull(Box::new(Expr::Nested(Box::new(condition))))
}

/// `(a, b) in (subquery)` that WHERE asks for by itself: unknown is as good as false there.
pub(super) fn condition(select: &mut Select) -> Result<()> {
    match &mut select.selection {
        Some(selection) => required(selection),
        None => Ok(()),
    }
}

fn required(condition: &mut Expr) -> Result<()> {
    match condition {
        Expr::Nested(inner) => required(inner),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            required(left)?;
            required(right)
        }
        Expr::InSubquery {
            expr,
            subquery,
            negated: false,
        } => {
            if let Some(row) = columns(expr) {
                *condition = among(&row, subquery, &|equal| equal)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The columns of `(a, b)` or `row(a, b)`.
fn columns(expression: &Expr) -> Option<Vec<Expr>> {
    match expression {
        Expr::Tuple(columns) => Some(columns.clone()),
        Expr::Function(Function {
            name,
            args: FunctionArguments::List(list),
            ..
        }) if crate::resolve::shown(name) == "row" => {
            let column = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(column)) => Some(column.clone()),
                _ => None,
            };
            list.args.iter().map(column).collect()
        }
        _ => None,
    }
}

type Rows = (Vec<Expr>, Vec<Expr>);

fn pair(left: &Expr, right: &Expr) -> Result<Option<Rows>> {
    let Some((left, right)) = columns(left).zip(columns(right)) else {
        return Ok(None);
    };
    check_width(left.len(), right.len())?;
    Ok((!left.is_empty()).then_some((left, right)))
}

fn check_width(left: usize, right: usize) -> Result<()> {
    match left == right {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::SyntaxError,
            "unequal number of entries in row expressions",
        )),
    }
}

fn compared(op: &BinaryOperator, left: &[Expr], right: &[Expr]) -> Result<Option<Expr>> {
    let is_ordered = !matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq);
    if is_ordered && left.len() > ORDERED_WIDTH_MAX {
        return Err(too_complex("rows of so many columns cannot be ordered"));
    }
    Ok(Some(match op {
        BinaryOperator::Eq => equal(left, right),
        BinaryOperator::NotEq => any(each(left, right, |left, right| {
            binary(left, BinaryOperator::NotEq, right)
        })),
        BinaryOperator::Lt | BinaryOperator::LtEq => ordered(left, right, &BinaryOperator::Lt, op),
        BinaryOperator::Gt | BinaryOperator::GtEq => ordered(left, right, &BinaryOperator::Gt, op),
        _ => return Ok(None),
    }))
}

/// The first columns that differ decide by `strict`; the last ones by `last`.
fn ordered(left: &[Expr], right: &[Expr], strict: &BinaryOperator, last: &BinaryOperator) -> Expr {
    let pairs: Vec<(&Expr, &Expr)> = left.iter().zip(right).collect();
    let compare = |(left, right): (&Expr, &Expr), op: &BinaryOperator| {
        binary(Box::new(left.clone()), op.clone(), Box::new(right.clone()))
    };
    let mut pairs = pairs.into_iter().rev();
    let Some(end) = pairs.next() else {
        return Expr::Value(Value::Null.into());
    };
    pairs.fold(compare(end, last), |rest, pair| {
        let same = binary(
            Box::new(compare(pair, &BinaryOperator::Eq)),
            BinaryOperator::And,
            Box::new(rest),
        );
        binary(Box::new(compare(pair, strict)), BinaryOperator::Or, Box::new(same))
    })
}

fn equal(left: &[Expr], right: &[Expr]) -> Expr {
    all(each(left, right, |left, right| binary(left, BinaryOperator::Eq, right)))
}

fn each(left: &[Expr], right: &[Expr], compare: impl Fn(Box<Expr>, Box<Expr>) -> Expr) -> Vec<Expr> {
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| compare(Box::new(left.clone()), Box::new(right.clone())))
        .collect()
}

fn binary(left: Box<Expr>, op: BinaryOperator, right: Box<Expr>) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }))
}

fn all(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    joined(conditions.into_iter().collect(), &BinaryOperator::And, true)
}

fn any(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    joined(conditions.into_iter().collect(), &BinaryOperator::Or, false)
}

/// A tree, not a chain: lists can be long.
fn joined(mut conditions: Vec<Expr>, op: &BinaryOperator, none: bool) -> Expr {
    while conditions.len() > 1 {
        let mut next = Vec::with_capacity(conditions.len().div_ceil(2));
        let mut rest = conditions.into_iter();
        while let Some(left) = rest.next() {
            next.push(match rest.next() {
                Some(right) => binary(Box::new(left), op.clone(), Box::new(right)),
                None => left,
            });
        }
        conditions = next;
    }
    conditions.pop().unwrap_or(Expr::Value(Value::Boolean(none).into()))
}

fn negate(condition: Expr, negated: bool) -> Expr {
    match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(Expr::Nested(Box::new(condition))),
        },
        false => condition,
    }
}

/// Whether the subquery has a row for which the condition on "is equal to this one" holds.
fn among(row: &[Expr], subquery: &Query, condition: &dyn Fn(Expr) -> Expr) -> Result<Expr> {
    let (mut query, names) = with_names(subquery, row.len())?;
    select_of(&mut query)?.selection = Some(condition(equal(row, &names)));
    Ok(Expr::Exists {
        subquery: Box::new(query),
        negated: false,
    })
}

/// `select 1 from (subquery) r (r1, r2)`, and the columns' names.
fn with_names(subquery: &Query, width: usize) -> Result<(Query, Vec<Expr>)> {
    check_columns(&subquery.body, width)?;
    let mut query = stored::body_of("select 1 from (select 1) as r")?;
    let names: Vec<Ident> = (1..=width)
        .map(|number| Ident::with_quote('"', format!("{MARKER}row{number}")))
        .collect();
    for tables in &mut select_of(&mut query)?.from {
        if let TableFactor::Derived {
            subquery: place, alias, ..
        } = &mut tables.relation
        {
            **place = subquery.clone();
            *alias = Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', format!("{MARKER}row")),
                columns: names
                    .iter()
                    .map(|name| TableAliasColumnDef {
                        name: name.clone(),
                        data_type: None,
                    })
                    .collect(),
                at: None,
            });
        }
    }
    Ok((query, names.into_iter().map(Expr::Identifier).collect()))
}

fn select_of(query: &mut Query) -> Result<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        _ => Err(Error::internal("a query without SELECT")),
    }
}

fn check_columns(body: &SetExpr, wanted: usize) -> Result<()> {
    let found = match body {
        SetExpr::Select(select) => {
            let listed =
                |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            // How many `*` stands for has been looked at (`checks/forms.rs`).
            if !select.projection.iter().all(listed) {
                return Ok(());
            }
            select.projection.len()
        }
        SetExpr::Query(query) => return check_columns(&query.body, wanted),
        SetExpr::SetOperation { left, .. } => return check_columns(left, wanted),
        SetExpr::Values(values) => values.rows.first().map_or(0, |row| row.content.len()),
        _ => return Err(Error::unsupported("this subquery of several columns is not supported")),
    };
    let wrong = |how: &str| Error::new(ErrorKind::SyntaxError, format!("subquery has too {how} columns"));
    match found.cmp(&wanted) {
        std::cmp::Ordering::Less => Err(wrong("few")),
        std::cmp::Ordering::Greater => Err(wrong("many")),
        std::cmp::Ordering::Equal => Ok(()),
    }
}
