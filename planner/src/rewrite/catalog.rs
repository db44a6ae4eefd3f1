//! What clients write when they ask the system catalogs.
//!
//! | before | after |
//! |---|---|
//! | `a operator(pg_catalog.~) b` | `a ~ b` |
//! | `from pg_catalog.unnest(x) u` | `from unnest(x) u` |
//! | `generate_subscripts(x, 1)` | `unnest(staffa_subscripts(x, 1))` |
//! | `(information_schema._pg_expandarray(x)).n` | `unnest(staffa_subscripts(x, 1))` counted from 1 |
//! | `information_schema._pg_expandarray(x)` | `unnest(staffa_expanded(x))`, an array of composites |
//! | `(x).n` | `get_field(x, 'n')` |
//! | `pg_partition_ancestors(x)` | `unnest(staffa_partition_ancestors(x))` |
//! | `x = any (a)`, `x < all (a)` | `staffa_any_eq(x, a)`, `staffa_all_lt(x, a)`, which hold `x` and `a` once |
//! | `t.tableoid` of a system relation `t` | its number |

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Query, TableFactor, Value, Visitor,
};
use staffa_catalog::{SqlType, SystemType};

use super::{call, taken};
use crate::context::PlanContext;
use crate::error::{Error, Result};
use crate::function::quantified::quantified;
use crate::function::{EXPANDED, SUBSCRIPTS, TYPE_OF, is_catalog_function};
use crate::pg_catalog::facts;
use crate::pg_catalog::provider::needs_catalog;
use crate::resolve::{fold, parts};
use crate::type_planner::sql_type_of_ast;
use crate::walk::Visit;

/// Whether a statement may need the system catalogs: it names one of their relations, calls a function about them, or casts
/// to a type that is shown by name.
pub(crate) fn asks(context: &PlanContext, query: &impl Visit) -> bool {
    struct Asks {
        path: Vec<String>,
    }
    impl Visitor for Asks {
        type Break = ();

        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            let Ok(parts) = parts(name) else {
                return ControlFlow::Continue(());
            };
            flow(match parts.as_slice() {
                // What hides it costs a look in vain.
                [name] => {
                    let mut found = self.path.iter().filter_map(|schema| facts::relation(schema, name));
                    found.any(needs_catalog)
                }
                [.., schema, name] => facts::relation(schema, name).is_some_and(needs_catalog),
                [] => false,
            })
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            flow(match expression {
                Expr::Function(function) => {
                    let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
                    name.is_some_and(|name| {
                        is_catalog_function(&name) || matches!(name.as_str(), "pg_partition_ancestors" | TYPE_OF)
                    })
                }
                Expr::Cast { data_type, .. } => names_object(data_type),
                Expr::TypedString(typed) => names_object(&typed.data_type),
                _ => false,
            })
        }
    }
    let path = context.lookup_path();
    query.visit(&mut Asks { path }).is_break()
}

fn flow(asks: bool) -> ControlFlow<()> {
    if asks {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

fn names_object(data_type: &DataType) -> bool {
    fn is_reg(ty: &SqlType) -> bool {
        match ty {
            SqlType::System(ty) => ty.is_reg(),
            SqlType::Array(element) => is_reg(element),
            _ => false,
        }
    }
    // A name that needs one of these looks like this; others are not worth reading.
    matches!(
        data_type,
        DataType::Regclass | DataType::Custom(..) | DataType::Array(_)
    ) && sql_type_of_ast(data_type).is_ok_and(|ty| is_reg(&ty))
}

/// The type a cast gives to a parameter: names of objects are looked up when the statement runs.
pub(super) fn parameter_type(ty: SqlType) -> SqlType {
    match ty {
        SqlType::System(ty) if ty.is_reg() => SqlType::Text,
        SqlType::System(SystemType::Name | SystemType::Char) => SqlType::Text,
        other => other,
    }
}

/// The operator `OPERATOR(schema.x)` means.
pub(super) fn named_operator(op: &mut BinaryOperator) -> Result<()> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else {
        return Ok(());
    };
    let symbol = match parts.as_slice() {
        [symbol] => symbol.as_str(),
        [schema, symbol] if schema.eq_ignore_ascii_case("pg_catalog") => symbol.as_str(),
        _ => return Err(no_operator(&parts.join("."))),
    };
    *op = match symbol {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "&&" => BinaryOperator::PGOverlap,
        "@>" => BinaryOperator::AtArrow,
        "<@" => BinaryOperator::ArrowAt,
        "&" => BinaryOperator::BitwiseAnd,
        "|" => BinaryOperator::BitwiseOr,
        other => return Err(no_operator(other)),
    };
    Ok(())
}

fn no_operator(symbol: &str) -> Error {
    Error::unsupported(format!("OPERATOR({symbol}) is not supported"))
}

/// Takes `pg_catalog.` off a function in FROM.
pub(super) fn table_function(factor: &mut TableFactor) {
    let (TableFactor::Table {
        name, args: Some(_), ..
    }
    | TableFactor::Function { name, .. }) = factor
    else {
        return;
    };
    if let [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(_)] = name.0.as_slice()
        && fold(schema) == "pg_catalog"
    {
        name.0.remove(0);
    }
}

/// `(x).n`
pub(super) fn field(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else {
        return;
    };
    let ([AccessExpr::Dot(Expr::Identifier(field))], Expr::Nested(inner)) = (access_chain.as_slice(), root.as_mut())
    else {
        return;
    };
    let name = fold(field);
    if let Expr::Function(function) = inner.as_mut()
        && let Some(array) = expanded(function)
    {
        *expression = match name.as_str() {
            "x" => call("unnest", vec![array]),
            "n" => {
                let one = Expr::Value(Value::Number("1".to_string(), false).into());
                call("unnest", vec![call(SUBSCRIPTS, vec![array, one.clone(), one])])
            }
            _ => return,
        };
        return;
    }
    let name = Expr::Value(Value::SingleQuotedString(name).into());
    *expression = call("get_field", vec![taken(inner), name]);
}

/// The array that `_pg_expandarray` is called with.
fn expanded(function: &mut Function) -> Option<Expr> {
    let name = parts(&function.name).ok()?;
    if name.last()? != "_pg_expandarray" {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else {
        return None;
    };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => Some(taken(array)),
        _ => None,
    }
}

/// Functions that give rows, in a select list.
pub(super) fn row_function(function: &mut Function) -> Option<Expr> {
    let name = parts(&function.name).ok()?;
    let name = match name.as_slice() {
        [name] => name,
        [schema, name] if schema == "information_schema" || schema == "pg_catalog" => name,
        _ => return None,
    };
    match name.as_str() {
        "_pg_expandarray" => expanded(function).map(|array| call("unnest", vec![call(EXPANDED, vec![array])])),
        "pg_partition_ancestors" => Some(call("unnest", vec![renamed(function, "staffa_partition_ancestors")])),
        "generate_subscripts" => Some(call("unnest", vec![renamed(function, SUBSCRIPTS)])),
        _ => None,
    }
}

/// `x = any (array)`; with a query in place of the array it is DataFusion's.
pub(super) fn array_comparison(expression: &mut Expr) {
    let (left, compare_op, right, of_all) = match expression {
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => (left, compare_op, right, false),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => (left, compare_op, right, true),
        _ => return,
    };
    if matches!(right.as_ref(), Expr::Subquery(_)) {
        return;
    }
    if let Some(name) = quantified(compare_op, of_all) {
        *expression = call(name, vec![taken(left), taken(right)]);
    }
}

fn renamed(function: &Function, name: &str) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    Expr::Function(function)
}

/// System relations of a statement by the names they go by.
pub(super) fn numbered(query: &Query) -> HashMap<String, u32> {
    struct Numbered(HashMap<String, u32>);
    impl Visitor for Numbered {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } = factor
                && let Ok(parts) = parts(name)
            {
                let relation = match parts.as_slice() {
                    [name] => facts::relation("pg_catalog", name),
                    [.., schema, name] => facts::relation(schema, name),
                    [] => None,
                };
                if let (Some(relation), Some(name)) = (relation, parts.last()) {
                    let known = alias.as_ref().map_or_else(|| name.clone(), |alias| fold(&alias.name));
                    self.0.insert(known, relation.oid);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut numbered = Numbered(HashMap::new());
    let _ = query.visit(&mut numbered);
    numbered.0
}

/// `t.tableoid`
pub(super) fn number_of_relation(expression: &mut Expr, numbered: &HashMap<String, u32>) {
    if let Expr::CompoundIdentifier(parts) = &*expression
        && let [table, column] = parts.as_slice()
        && fold(column) == "tableoid"
        && let Some(number) = numbered.get(&fold(table))
    {
        let oid = DataType::Custom(
            ObjectName(vec![ObjectNamePart::Identifier(Ident::new("oid"))]),
            Vec::new(),
        );
        let number = Expr::Value(Value::Number(number.to_string(), false).into());
        *expression = super::forms::cast(number, oid);
    }
}
