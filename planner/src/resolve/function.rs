//! Functions of schema `staffa` in FROM that say what a table consists of: `staffa.snapshots('t')` and its like.
//!
//! Like older states of tables they are taken out of the query before DataFusion sees it, and put in as relations of
//! names no text can hold. Their arguments are computed while the statement is planned.

mod changes;
mod rows;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, VisitorMut,
};
use staffa_catalog::{Privileges, Table};

use super::{Relations, parts, version};
use crate::error::{Error, ErrorKind, Result, undefined_function};
use crate::parse::parse_one;
use crate::statement::query::Scope;
use crate::walk::VisitMut;

/// The schema of the functions.
const SCHEMA: &str = "staffa";
/// What the name of a call begins with. No text has this character.
const MARK: &str = "\u{1}f";

/// A call that was taken out of a query.
pub(crate) struct Call {
    function: Function,
    arguments: Vec<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Snapshots,
    History,
    Refs,
    Files,
    Manifests,
    Partitions,
    TableChanges,
}

impl Function {
    fn named(name: &str) -> Option<Function> {
        Some(match name {
            "snapshots" => Function::Snapshots,
            "history" => Function::History,
            "refs" => Function::Refs,
            "files" => Function::Files,
            "manifests" => Function::Manifests,
            "partitions" => Function::Partitions,
            "table_changes" => Function::TableChanges,
            _ => return None,
        })
    }
}

/// Takes the calls out of a query.
pub(crate) fn take(query: &mut Query) -> Result<Vec<Call>> {
    struct Take(Vec<Call>);
    impl VisitorMut for Take {
        type Break = Error;
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
            match call(factor, self.0.len()) {
                Ok(call) => {
                    self.0.extend(call);
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            }
        }
    }
    let mut take = Take(Vec::new());
    match query.visit(&mut take) {
        ControlFlow::Continue(()) => Ok(take.0),
        ControlFlow::Break(error) => Err(error),
    }
}

fn call(factor: &mut TableFactor, number: usize) -> Result<Option<Call>> {
    let TableFactor::Table {
        name,
        alias,
        args: args @ Some(_),
        ..
    } = factor
    else {
        return Ok(None);
    };
    let called = parts(name)?;
    let [schema, function] = called.as_slice() else {
        return Ok(None);
    };
    if schema != SCHEMA {
        return Ok(None);
    }
    let wanted = Function::named(function).ok_or_else(|| undefined_function(&called.join(".")))?;
    let mut arguments = Vec::new();
    for argument in args.take().map(|args| args.args).unwrap_or_default() {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => arguments.push(value),
            _ => return Err(undefined_function(&called.join("."))),
        }
    }
    let fits = match wanted {
        Function::TableChanges => matches!(arguments.len(), 2 | 3),
        _ => arguments.len() == 1,
    };
    if !fits {
        let message = format!("function staffa.{function} takes other arguments");
        let hint = match wanted {
            Function::TableChanges => "Write staffa.table_changes('table', from [, to]).".to_owned(),
            _ => format!("Write staffa.{function}('table')."),
        };
        return Err(Error::new(ErrorKind::UndefinedFunction, message).with_hint(hint));
    }
    let marked = Ident::with_quote('"', marker(number));
    *name = ObjectName(vec![ObjectNamePart::Identifier(marked)]);
    alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(function.clone()),
        columns: Vec::new(),
        at: None,
    });
    Ok(Some(Call {
        function: wanted,
        arguments,
    }))
}

fn marker(number: usize) -> String {
    format!("{MARK}{number}")
}

/// Makes the relations of the calls.
pub(crate) async fn load(scope: &Scope<'_>, calls: Vec<Call>, relations: &mut Relations) -> Result<()> {
    for (number, call) in calls.into_iter().enumerate() {
        let source = source(scope, call).await?;
        relations.sources.insert(TableReference::bare(marker(number)), source);
    }
    Ok(())
}

async fn source(scope: &Scope<'_>, call: Call) -> Result<Arc<dyn TableSource>> {
    let mut arguments = call.arguments.into_iter();
    let Some(name) = arguments.next() else {
        return Err(Error::internal("a call without a table"));
    };
    let table = table(scope, name).await?;
    let zone = &scope.context.time_zone;
    let provider = match call.function {
        Function::Snapshots => rows::snapshots(&table, zone)?,
        Function::History => rows::history(&table, zone)?,
        Function::Refs => rows::refs(&table, zone)?,
        Function::Files => rows::files(&table, zone).await?,
        Function::Manifests => rows::manifests(&table, zone).await?,
        Function::Partitions => rows::partitions(&table, zone).await?,
        Function::TableChanges => {
            let from = arguments.next();
            let from = from.ok_or_else(|| Error::internal("a call without a beginning"))?;
            let from = version::point(scope, from).await?;
            let to = match arguments.next() {
                Some(to) => version::point(scope, to).await?,
                None => version::Point::Null,
            };
            return changes::source(scope.context, &table, from, to).await;
        }
    };
    Ok(provider_as_source(provider))
}

/// The table an argument names, as its text would in FROM.
async fn table(scope: &Scope<'_>, name: Expr) -> Result<Arc<Table>> {
    let wrong = || {
        let message = "the name of a table is expected, as a string";
        Error::new(ErrorKind::InvalidParameterValue, message)
    };
    if version::hangs_on_parameter(&name) {
        scope.context.momentary.set();
    }
    let text = match version::evaluate(scope, name).await? {
        Some(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => text,
        None => {
            return Err(Error::unsupported(
                "the name of a table as a parameter is not supported here",
            ));
        }
        Some(_) => return Err(wrong()),
    };
    let statement =
        parse_one(&format!("table {text}"), 0).map_err(|_| wrong().with_detail(format!("It is \"{text}\".")))?;
    let crate::parse::Ast::Query(query) = &statement.ast else {
        return Err(wrong());
    };
    let mut names = super::names_of(query);
    let (Some(name), true) = (names.pop(), names.is_empty()) else {
        return Err(wrong());
    };
    let table = super::table(scope.context, &name).await?;
    // What it consists of tells values of all its columns.
    scope.context.check_table(&table, Privileges::SELECT)?;
    scope.context.check_unguarded(&table)?;
    Ok(table)
}
