//! Rows with the columns of a table, from JSON.
//!
//! Before: `from jsonb_populate_recordset(null::t, j) as x`. After: `from staffa_jsonb_populate_recordset(j) as x (a integer, b text)`,
//! which is `jsonb_to_recordset` but for its messages.
//!
//! The first argument gives the columns; values of it, which would stand in for members that are not there, are refused.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::pin::Pin;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, TableAlias,
    TableAliasColumnDef, TableFactor, Value, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use staffa_catalog::SqlType;

use super::{fold, shown, source};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::DIALECT;
use crate::statement::query::Scope;
use crate::types::sql_type;
use crate::walk::{Visit, VisitMut};

const FUNCTIONS: &[&str] = &[
    "json_populate_record",
    "json_populate_recordset",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
];

type Columns = Vec<(String, SqlType)>;

/// Puts the columns of the tables to the calls in FROM.
pub(crate) async fn name_columns(scope: &Scope<'_>, query: &mut Query) -> Result<()> {
    let mut wanted = Wanted(Vec::new());
    if let ControlFlow::Break(error) = Visit::visit(&*query, &mut wanted) {
        return Err(error);
    }
    if wanted.0.is_empty() {
        return Ok(());
    }
    let tables = columns_of(scope, wanted.0).await?;
    match VisitMut::visit(query, &mut Put(&tables)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The columns of the tables, by name. A view's query may have such calls itself.
fn columns_of<'a>(
    scope: &'a Scope<'a>,
    names: Vec<ObjectName>,
) -> Pin<Box<dyn Future<Output = Result<HashMap<String, Columns>>> + Send + 'a>> {
    Box::pin(async move {
        let mut tables = HashMap::new();
        for name in names {
            let Some(table) = source(scope, &name).await? else {
                let message = format!("type \"{}\" does not exist", shown(&name));
                return Err(Error::new(ErrorKind::UndefinedObject, message));
            };
            let schema = table.schema();
            let fields = schema.fields().iter();
            let columns: Columns = fields.map(|field| (field.name().clone(), sql_type(field))).collect();
            tables.insert(name.to_string(), columns);
        }
        Ok(tables)
    })
}

/// A call: the function, the table, the JSON.
fn call(factor: &TableFactor) -> Result<Option<(String, ObjectName, FunctionArg)>> {
    let (name, arguments) = match factor {
        TableFactor::Table {
            name, args: Some(args), ..
        } => (name, &args.args),
        TableFactor::Function { name, args, .. } => (name, args),
        _ => return Ok(None),
    };
    let name = shown(name);
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    if !FUNCTIONS.contains(&name) {
        return Ok(None);
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(base)), json] = arguments.as_slice() else {
        return Err(crate::error::undefined_function(name));
    };
    match table_of(base) {
        Some(table) => Ok(Some((name.to_string(), table.clone(), json.clone()))),
        None => Err(Error::unsupported(format!(
            "{name}() is supported with NULL of a table's type only: null::t"
        ))),
    }
}

fn table_of(base: &Expr) -> Option<&ObjectName> {
    match base {
        Expr::Nested(inner) => table_of(inner),
        Expr::Cast {
            expr,
            data_type: DataType::Custom(name, modifiers),
            ..
        } if modifiers.is_empty() => match expr.as_ref() {
            Expr::Value(value) if value.value == Value::Null => Some(name),
            _ => None,
        },
        _ => None,
    }
}

struct Wanted(Vec<ObjectName>);

impl Visitor for Wanted {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        match call(factor) {
            Ok(call) => {
                self.0.extend(call.map(|(_, table, _)| table));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

struct Put<'a>(&'a HashMap<String, Columns>);

impl VisitorMut for Put<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match self.put(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Put<'_> {
    fn put(&self, factor: &mut TableFactor) -> Result<()> {
        let Some((function, table, json)) = call(factor)? else {
            return Ok(());
        };
        let columns = self.0.get(&table.to_string()).map(Vec::as_slice).unwrap_or_default();
        let (TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. }) = &mut *factor else {
            return Ok(());
        };
        let mut alias = alias.take().unwrap_or_else(|| TableAlias {
            explicit: true,
            name: Ident::new(&function),
            columns: Vec::new(),
            at: None,
        });
        let given = std::mem::take(&mut alias.columns);
        for (at, (name, ty)) in columns.iter().enumerate() {
            let name = match given.get(at) {
                Some(column) => column.name.clone(),
                None => Ident::with_quote('"', name),
            };
            alias.columns.push(TableAliasColumnDef {
                name,
                data_type: Some(named(ty)?),
            });
        }
        if given.len() > columns.len() {
            let message = format!(
                "table \"{}\" has {} columns available but {} columns specified",
                fold(&alias.name),
                columns.len(),
                given.len()
            );
            return Err(Error::new(ErrorKind::InvalidColumnReference, message));
        }
        *factor = TableFactor::Function {
            lateral: true,
            name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(format!(
                "staffa_{function}"
            )))]),
            args: vec![json],
            with_ordinality: false,
            alias: Some(alias),
        };
        Ok(())
    }
}

/// A type as the syntax tree has it.
fn named(ty: &SqlType) -> Result<DataType> {
    let parsed = Parser::new(&DIALECT)
        .try_with_sql(&ty.to_string())
        .and_then(|mut parser| parser.parse_data_type());
    parsed.map_err(|_| Error::unsupported(format!("a column of type {ty} from JSON is not supported")))
}
