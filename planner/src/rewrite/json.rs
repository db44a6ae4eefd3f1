//! Functions of JSON that give rows, and those that gather them.
//!
//! | before | after |
//! |---|---|
//! | `select jsonb_array_elements(j)` | `select staffa_as_jsonb(unnest(staffa_jsonb_array_elements(j)))` |
//! | `from t, jsonb_each(t.j) as e(k, v)` | `from t, lateral (select unnest(staffa_jsonb_each_key(t.j)) as key, …) as e(k, v)` |
//! | `from jsonb_to_record(j) as r(a int)` | `from lateral (select cast(staffa_jsonb_record(j) ->> 'a' as int) as a) as r` |
//! | `from c, aclexplode(c.relacl) a` | `from c, lateral (select unnest(staffa_aclexplode(c.relacl)) as grantor, …) a` |
//! | `(jsonb_each(j)).key` | `unnest(staffa_jsonb_each_key(j))` |
//! | `select jsonb_each(j)` | `select named_struct('key', unnest(staffa_jsonb_each_key(j)), 'value', …)` |
//! | `json_agg(x order by y)` | `staffa_json_list(array_agg(staffa_json_item(x) order by y))` |
//! | `jsonb_object_agg(k, v)` | `staffa_jsonb_members(array_agg(staffa_json_member(k, v)))` |
//! | `select e ->> 'a' from jsonb_array_elements(j) e` | `select e.value ->> 'a' …`: the one column of a function goes by its alias, too |

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderByExpr, OrderByKind,
    OrderByOptions, Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins,
    Value, Visitor, VisitorMut,
};
use staffa_catalog::SqlType;

use super::forms::cast;
use super::whole_rows::{factors, hide_fields, show_fields};
use super::{call, taken};
use crate::error::{Error, ErrorKind, Result};
use crate::function::ORDINALS;
use crate::resolve::{fold, shown};
use crate::stored;
use crate::type_planner::sql_type_of_ast;
use crate::walk::{Visit, VisitMut};

/// PostgreSQL's functions that are put into another form here.
pub(crate) const FUNCTIONS: &[&str] = &[
    "aclexplode",
    "json_agg",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_agg",
    "json_object_keys",
    "json_populate_record",
    "json_populate_recordset",
    "json_to_record",
    "json_to_recordset",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_agg",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
];

/// What a function of rows gives.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    /// One column called `value`.
    Elements,
    /// One column called as the function is.
    Keys,
    /// `key` and `value`
    Members,
    /// `grantor`, `grantee`, `privilege_type` and `is_grantable`
    Grants,
    /// What the column definitions say, from one object or from an array of them.
    Record(bool),
}

/// The function, and which JSON type its values have, if any.
fn rows_of(name: &str) -> Option<(Rows, &'static str)> {
    if name == "aclexplode" {
        return Some((Rows::Grants, ""));
    }
    let label = match name {
        name if name.ends_with("_text") || name.ends_with("_keys") => "",
        name if name.starts_with("jsonb_") => "staffa_as_jsonb",
        _ => "staffa_as_json",
    };
    let plain = name.strip_prefix("jsonb_").or(name.strip_prefix("json_"))?;
    let rows = match plain {
        "array_elements" | "array_elements_text" => Rows::Elements,
        "object_keys" => Rows::Keys,
        "path_query" if name == "jsonb_path_query" => Rows::Keys,
        "each" | "each_text" => Rows::Members,
        "to_record" | "populate_record" => Rows::Record(false),
        "to_recordset" | "populate_recordset" => Rows::Record(true),
        _ => return None,
    };
    Some((rows, label))
}

/// Whether this is a function in FROM that this file understands, with WITH ORDINALITY or column definitions.
pub(super) fn is_function(factor: &TableFactor) -> bool {
    function_name(factor).is_some_and(|name| rows_of(&name).is_some())
}

/// Whether it takes a list of columns with their types.
pub(super) fn is_record(factor: &TableFactor) -> bool {
    function_name(factor).is_some_and(|name| matches!(rows_of(&name), Some((Rows::Record(_), _))))
}

fn function_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table {
            name, args: Some(_), ..
        }
        | TableFactor::Function { name, .. } => {
            let name = shown(name);
            let plain = name.strip_prefix("pg_catalog.").unwrap_or(&name);
            // Its columns have been named (`resolve/populate.rs`).
            let populates = plain.strip_prefix("staffa_").filter(|name| name.contains("_populate_"));
            Some(populates.unwrap_or(plain).to_string())
        }
        _ => None,
    }
}

/// A function of rows in FROM as the subquery it is.
pub(super) fn table_function(factor: &mut TableFactor) -> Result<()> {
    let Some(name) = function_name(factor) else {
        return Ok(());
    };
    let Some((rows, label)) = rows_of(&name) else {
        return Ok(());
    };
    let (arguments, ordinality, alias) = match &*factor {
        TableFactor::Table {
            args: Some(args),
            with_ordinality,
            alias,
            ..
        } => (&args.args, *with_ordinality, alias.clone()),
        TableFactor::Function {
            args,
            with_ordinality,
            alias,
            ..
        } => (args, *with_ordinality, alias.clone()),
        _ => return Ok(()),
    };
    let arguments = plain(arguments).ok_or_else(|| crate::error::undefined_function(&name))?;
    let mut alias = alias.unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::new(&name),
        columns: Vec::new(),
        at: None,
    });
    let mut columns = match rows {
        Rows::Record(set) => {
            if ordinality {
                return Err(Error::unsupported(format!(
                    "WITH ORDINALITY after {name}() is not supported"
                )));
            }
            record(&name, set, arguments.clone(), &mut alias)?
        }
        _ => unnested(&name, rows, label, &arguments, &alias.name),
    };
    if ordinality {
        let numbers = call(ORDINALS, vec![call(&internal(&name), arguments)]);
        columns.push((call("unnest", vec![numbers]), Ident::new("ordinality")));
    }
    if alias.columns.len() > columns.len() {
        let message = format!(
            "table \"{}\" has {} columns available but {} columns specified",
            fold(&alias.name),
            columns.len(),
            alias.columns.len()
        );
        return Err(Error::new(ErrorKind::InvalidColumnReference, message));
    }
    for (column, given) in columns.iter_mut().zip(&alias.columns) {
        column.1 = given.name.clone();
    }
    alias.columns = Vec::new();
    *factor = TableFactor::Derived {
        lateral: true,
        subquery: Box::new(selected(columns)?),
        alias: Some(alias),
        sample: None,
    };
    Ok(())
}

fn internal(name: &str) -> String {
    format!("staffa_{name}")
}

fn labelled(label: &str, value: Expr) -> Expr {
    match label {
        "" => value,
        label => call(label, vec![value]),
    }
}

fn unnested(name: &str, rows: Rows, label: &str, arguments: &[Expr], alias: &Ident) -> Vec<(Expr, Ident)> {
    let unnest = |function: &str| call("unnest", vec![call(function, arguments.to_vec())]);
    let value = labelled(label, unnest(&internal(name)));
    match rows {
        Rows::Keys => vec![(value, alias.clone())],
        Rows::Members => {
            let keys = format!("{}_key", internal(name.trim_end_matches("_text")));
            vec![(unnest(&keys), Ident::new("key")), (value, Ident::new("value"))]
        }
        Rows::Grants => {
            let part = |part: &str| unnest(&format!("{}_{part}", internal(name)));
            let is_grantable = cast(part("grantable"), DataType::Boolean);
            vec![
                (value, Ident::new("grantor")),
                (part("grantee"), Ident::new("grantee")),
                (part("privilege"), Ident::new("privilege_type")),
                (is_grantable, Ident::new("is_grantable")),
            ]
        }
        _ => vec![(value, Ident::new("value"))],
    }
}

/// Whether the columns of what the function gives are those of its alias.
pub(crate) fn gives_record(name: &str) -> bool {
    matches!(
        name,
        "json_to_record" | "jsonb_to_record" | "json_to_recordset" | "jsonb_to_recordset"
    )
}

pub(crate) fn undefined_columns() -> Error {
    let message = "a column definition list is required for functions returning \"record\"";
    Error::new(ErrorKind::SyntaxError, message)
}

/// The columns of a record, or of each element of an array of records.
fn record(name: &str, set: bool, arguments: Vec<Expr>, alias: &mut TableAlias) -> Result<Vec<(Expr, Ident)>> {
    let typed = alias.columns.iter().all(|column| column.data_type.is_some());
    if alias.columns.is_empty() || !typed {
        return Err(undefined_columns());
    }
    let [argument]: [Expr; 1] = arguments
        .try_into()
        .map_err(|_| crate::error::undefined_function(name))?;
    let (object, label) = match name.starts_with("jsonb_") {
        true => ("staffa_jsonb_record", "staffa_as_jsonb"),
        false => ("staffa_json_record", "staffa_as_json"),
    };
    let value = match set {
        false => call(object, vec![argument]),
        true => labelled(label, call("unnest", vec![call(&internal(name), vec![argument])])),
    };
    let columns = std::mem::take(&mut alias.columns);
    columns
        .into_iter()
        .map(|TableAliasColumnDef { name, data_type }| {
            let data_type = data_type.ok_or_else(|| Error::internal("a column of a record has a type"))?;
            Ok((field(&value, &name, data_type)?, name))
        })
        .collect()
}

/// `cast(value ->> 'name' as type)`; of an array its text is made first.
fn field(value: &Expr, name: &Ident, data_type: DataType) -> Result<Expr> {
    let ty = sql_type_of_ast(&data_type)?;
    let op = match &ty {
        SqlType::Json | SqlType::Jsonb | SqlType::Array(_) => BinaryOperator::Arrow,
        SqlType::Struct(_) => {
            let message = format!("column \"{}\" of a record from JSON cannot be a struct", fold(name));
            return Err(Error::unsupported(message));
        }
        _ => BinaryOperator::LongArrow,
    };
    let key = Expr::Value(Value::SingleQuotedString(fold(name)).into());
    let found = Expr::BinaryOp {
        left: Box::new(value.clone()),
        op,
        right: Box::new(key),
    };
    let found = Expr::Nested(Box::new(found));
    let SqlType::Array(element) = ty else {
        return Ok(cast(found, data_type));
    };
    let of_json = matches!(innermost(&element), SqlType::Json | SqlType::Jsonb);
    let of_json = Expr::Value(Value::Boolean(of_json).into());
    Ok(cast(call("staffa_json_array_literal", vec![found, of_json]), data_type))
}

fn innermost(ty: &SqlType) -> &SqlType {
    match ty {
        SqlType::Array(element) => innermost(element),
        other => other,
    }
}

/// `select …`
fn selected(columns: Vec<(Expr, Ident)>) -> Result<Query> {
    let mut query = stored::body_of("select 1")?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("a query without SELECT"));
    };
    select.projection = columns
        .into_iter()
        .map(|(expr, alias)| SelectItem::ExprWithAlias { expr, alias })
        .collect();
    Ok(query)
}

fn plain(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let plain = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
        _ => None,
    });
    plain.collect()
}

/// A function of rows in a select list, or an aggregate, as what it is here.
pub(super) fn function(name: &str, function: &mut Function) -> Result<Option<Expr>> {
    if let Some((rows, label)) = rows_of(name) {
        return match rows {
            Rows::Elements | Rows::Keys => {
                let mut inner = function.clone();
                inner.name = named(&internal(name));
                let unnested = call("unnest", vec![Expr::Function(inner)]);
                Ok(Some(labelled(label, unnested)))
            }
            Rows::Members | Rows::Grants => {
                let FunctionArguments::List(list) = &function.args else {
                    return Ok(None);
                };
                let arguments = plain(&list.args).ok_or_else(|| crate::error::undefined_function(name))?;
                let columns = unnested(name, rows, label, &arguments, &Ident::new(name));
                let text = |name: Ident| Expr::Value(Value::SingleQuotedString(name.value).into());
                let fields = columns.into_iter().flat_map(|(value, name)| [text(name), value]);
                Ok(Some(call("named_struct", fields.collect())))
            }
            Rows::Record(_) if !name.contains("_populate_") => {
                let hint = "Provide a non-null record argument, or call the function in the FROM clause using a column \
                            definition list.";
                let message = format!("could not determine row type for result of {name}");
                Err(Error::unsupported(message).with_hint(hint))
            }
            _ => Err(Error::unsupported(format!("{name}() outside of FROM is not supported"))),
        };
    }
    let jsonb = name.starts_with("jsonb");
    match name {
        "json_populate_record" | "jsonb_populate_record" | "json_populate_recordset" | "jsonb_populate_recordset" => {
            Err(Error::unsupported(format!("{name}() outside of FROM is not supported")))
        }
        // `t.*` is no row yet where types of parameters are asked for first.
        "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg" if has_wildcard(function) => Ok(None),
        "json_agg" | "jsonb_agg" => gathered(function, jsonb).map(Some),
        "json_object_agg" | "jsonb_object_agg" => members(function, jsonb).map(Some),
        _ => Ok(None),
    }
}

/// The name of a call that stands where another one did.
fn in_place_of(before: &ObjectName, name: &str) -> ObjectName {
    let mut ident = Ident::new(name);
    if let Some(before) = before.0.last().and_then(ObjectNamePart::as_ident) {
        ident.span = before.span;
    }
    ObjectName::from(vec![ident])
}

fn named(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

fn has_wildcard(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else {
        return false;
    };
    let mut arguments = list.args.iter();
    arguments.any(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_))))
}

/// The arguments of a call, to be changed in place.
fn arguments(function: &mut Function) -> Vec<&mut Expr> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Vec::new();
    };
    list.args
        .iter_mut()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect()
}

fn gathered(function: &Function, jsonb: bool) -> Result<Expr> {
    let undefined = || crate::error::undefined_function(&shown(&function.name));
    let mut inner = function.clone();
    inner.name = in_place_of(&function.name, "array_agg");
    let mut given = arguments(&mut inner);
    let [value] = given.as_mut_slice() else {
        return Err(undefined());
    };
    let plain = value.clone();
    let item = if super::whole_rows::is_row(&plain) {
        "staffa_json_row_item"
    } else {
        "staffa_json_item"
    };
    **value = call(item, vec![taken(value)]);
    if let FunctionArguments::List(list) = &mut inner.args
        && list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
    {
        // Which values are equal is not a question of how they are written.
        if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.args.first_mut() {
            *value = plain.clone();
        }
        if list.clauses.is_empty() {
            list.clauses
                .push(FunctionArgumentClause::OrderBy(vec![ascending(plain)]));
        }
        let list = if jsonb { "to_jsonb" } else { "staffa_json_spaced" };
        return Ok(call(list, vec![Expr::Function(inner)]));
    }
    let list = if jsonb { "staffa_jsonb_list" } else { "staffa_json_list" };
    Ok(call(list, vec![Expr::Function(inner)]))
}

fn ascending(expr: Expr) -> OrderByExpr {
    OrderByExpr {
        expr,
        options: OrderByOptions {
            asc: None,
            nulls_first: None,
        },
        with_fill: None,
    }
}

fn members(function: &mut Function, jsonb: bool) -> Result<Expr> {
    let name = shown(&function.name);
    let mut inner = function.clone();
    inner.name = in_place_of(&function.name, "array_agg");
    let FunctionArguments::List(list) = &mut inner.args else {
        return Err(crate::error::undefined_function(&name));
    };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(key)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
    ] = list.args.as_mut_slice()
    else {
        return Err(crate::error::undefined_function(&name));
    };
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        return Err(Error::unsupported(format!("DISTINCT in {name}() is not supported")));
    }
    let member = call("staffa_json_member", vec![taken(key), taken(value)]);
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(member))];
    let list = if jsonb {
        "staffa_jsonb_members"
    } else {
        "staffa_json_members"
    };
    Ok(call(list, vec![Expr::Function(inner)]))
}

/// The JSON type an expression surely has, by its text.
pub(super) fn json_type(expression: &Expr) -> Option<DataType> {
    match expression {
        Expr::Nested(inner) => json_type(inner),
        Expr::Cast { data_type, .. } => match sql_type_of_ast(data_type).ok()? {
            SqlType::Json | SqlType::Jsonb => Some(data_type.clone()),
            _ => None,
        },
        Expr::TypedString(typed) => match sql_type_of_ast(&typed.data_type).ok()? {
            SqlType::Json | SqlType::Jsonb => Some(typed.data_type.clone()),
            _ => None,
        },
        Expr::Function(function) => match shown(&function.name).as_str() {
            "to_jsonb" | "jsonb_agg" | "jsonb_object_agg" | "jsonb_build_object" | "jsonb_build_array"
            | "jsonb_object" | "jsonb_set" => Some(DataType::JSONB),
            "to_json" | "json_agg" | "json_object_agg" | "row_to_json" | "json_build_object" | "json_build_array"
            | "json_object" => Some(DataType::JSON),
            _ => None,
        },
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.as_slice() {
                [SelectItem::UnnamedExpr(only) | SelectItem::ExprWithAlias { expr: only, .. }] => json_type(only),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// `(jsonb_each(j)).key`
pub(super) fn member(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = &*expression else {
        return;
    };
    if let ([AccessExpr::Dot(Expr::Identifier(field))], Some((name, arguments))) =
        (access_chain.as_slice(), members_of(root))
        && let Some((rows, label)) = rows_of(&name)
    {
        let columns = unnested(&name, rows, label, &arguments, field);
        let found = columns.into_iter().find(|(_, column)| column.value == fold(field));
        if let Some((value, _)) = found {
            *expression = value;
        }
    }
}

/// `(jsonb_each(j)).*`
pub(super) fn all_members(root: &Expr) -> Option<Vec<(Expr, Ident)>> {
    let (name, arguments) = members_of(root)?;
    let (rows, label) = rows_of(&name)?;
    Some(unnested(&name, rows, label, &arguments, &Ident::new(&name)))
}

/// A call of `jsonb_each`, `aclexplode` or their like in brackets.
fn members_of(root: &Expr) -> Option<(String, Vec<Expr>)> {
    let Expr::Nested(inner) = root else { return None };
    let Expr::Function(function) = inner.as_ref() else {
        return None;
    };
    let name = shown(&function.name);
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match rows_of(&name) {
        Some((Rows::Members | Rows::Grants, _)) => Some((name, plain(&list.args)?)),
        _ => None,
    }
}

/// Where the alias of a function of one column stands for its value, the column is put.
pub(super) fn values_by_alias(query: &mut Query) {
    struct Any;
    impl Visitor for Any {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match alias_of_value(factor) {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        }
    }
    if Visit::visit(&*query, &mut Any).is_break() {
        let _ = VisitMut::visit(query, &mut ByAlias::default());
    }
}

/// The alias of a function of one column, and the function's arguments.
fn alias_of_value(factor: &TableFactor) -> Option<(String, &[FunctionArg])> {
    let (alias, arguments) = match factor {
        TableFactor::Table {
            alias: Some(alias),
            args: Some(args),
            ..
        } => (alias, args.args.as_slice()),
        TableFactor::Function {
            alias: Some(alias),
            args,
            ..
        } => (alias, args.as_slice()),
        _ => return None,
    };
    let renamed = alias
        .columns
        .first()
        .is_some_and(|column| fold(&column.name) != "value");
    let one_column = matches!(rows_of(&function_name(factor)?), Some((Rows::Elements, _)));
    (one_column && !renamed).then(|| (fold(&alias.name), arguments))
}

struct ColumnNames(HashSet<String>);

impl Visitor for ColumnNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expression {
            self.0.extend(parts.last().map(fold));
        }
        ControlFlow::Continue(())
    }
}

/// The aliases of one FROM that stand for values.
#[derive(Default)]
struct Level(HashSet<String>);

impl Level {
    fn of(from: &[TableWithJoins]) -> Self {
        let values: Vec<_> = from.iter().flat_map(factors).filter_map(alias_of_value).collect();
        // Columns that arguments of the functions use may be meant elsewhere, too.
        let mut columns = ColumnNames(HashSet::new());
        for argument in values.iter().flat_map(|(_, arguments)| *arguments) {
            let _ = Visit::visit(argument, &mut columns);
        }
        let names = values.into_iter().map(|(alias, _)| alias);
        Level(names.filter(|alias| !columns.0.contains(alias)).collect())
    }
}

#[derive(Default)]
struct ByAlias {
    /// Of each query around, whether it is one SELECT: the names of UNION's belong to none of them.
    single: Vec<bool>,
    /// One for each query around, one for each SELECT; that of a query is its SELECT's, after it.
    levels: Vec<Level>,
    /// Those that a subquery of FROM does not see.
    parked: Vec<Vec<Level>>,
}

impl ByAlias {
    fn is_value(&self, ident: &Ident) -> bool {
        let name = fold(ident);
        self.levels.iter().any(|level| level.0.contains(&name))
    }
}

impl VisitorMut for ByAlias {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // ORDER BY knows the names of the output first.
        if let (Some(order), SetExpr::Select(select)) = (&mut query.order_by, query.body.as_ref())
            && let OrderByKind::Expressions(keys) = &mut order.kind
        {
            for key in keys {
                if let Expr::Identifier(ident) = &key.expr
                    && let Some(position) = select.projection.iter().position(
                        |item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == fold(ident)),
                    )
                {
                    key.expr = Expr::Value(Value::Number((position + 1).to_string(), false).into());
                }
            }
        }
        self.levels.push(Level::default());
        self.single.push(matches!(query.body.as_ref(), SetExpr::Select(_)));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.levels.pop();
        self.single.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.levels.push(Level::of(&select.from));
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
                && self.is_value(ident)
            {
                let alias = ident.clone();
                let expr = Expr::Identifier(ident.clone());
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<()> {
        // ORDER BY comes next.
        if let (Some(level), Some(around), Some(true)) = (self.levels.pop(), self.levels.last_mut(), self.single.last())
        {
            *around = level;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            let seen = self.levels.len().saturating_sub(2);
            self.parked.push(self.levels.split_off(seen));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.levels.extend(self.parked.pop().unwrap_or_default());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expression
            && self.is_value(ident)
        {
            *expression = Expr::CompoundIdentifier(vec![ident.clone(), Ident::new("value")]);
        }
        hide_fields(expression);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        show_fields(expression);
        ControlFlow::Continue(())
    }
}
