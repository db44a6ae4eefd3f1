//! Older states of tables in FROM: `t FOR SYSTEM_TIME AS OF …`, `t AT (SNAPSHOT => …)` and their like.
//!
//! ```text
//! from s.t for version as of 'x' join s.t      from s.t version as of 0 join s.t      `take`: the clause, before rewriting
//!                                              from "\1v0" as t join s.t              `name`: after it, for DataFusion
//! ```
//!
//! The clause's value is computed while the statement is planned: the files of a scan, and so its columns, hang on it. A
//! value that can be another next time makes the plan one that is not kept (`PlanContext::momentary`).

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::physical_plan::collect;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, TableVersion, TimezoneInfo, Visitor, VisitorMut,
};
use staffa_catalog::{Privileges, RelationKind, SqlType, Table, TableVersionSpec};

use super::{Relations, fold, shown, undefined_relation};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{Ast, parse_one};
use crate::policy;
use crate::rewrite::parameter_index;
use crate::statement::query::{self, Scope};
use crate::table_provider::StaffaTable;
use crate::walk::{Visit, VisitMut};

/// What the name of an older state begins with. No text has this character.
const MARK: &str = "\u{1}v";

/// A clause that was taken out of a query.
pub(crate) struct Asked {
    kind: Kind,
    value: Expr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A snapshot's id, or the name of a branch or tag.
    Version,
    Timestamp,
    /// Seconds from now; not more than 0.
    Offset,
    BeforeVersion,
    BeforeTimestamp,
    BeforeOffset,
}

/// Takes the clauses out of a query, leaving their numbers.
pub(crate) fn take(query: &mut Query) -> Result<Vec<Asked>> {
    struct Take(Vec<Asked>);
    impl VisitorMut for Take {
        type Break = Error;
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
            if let TableFactor::Table {
                version: version @ Some(_),
                ..
            } = factor
                && let Some(given) = version.take()
            {
                match asked(given) {
                    Ok(asked) => self.0.push(asked),
                    Err(error) => return ControlFlow::Break(error),
                }
                let number = Ident::with_quote('"', marker(self.0.len() - 1));
                *version = Some(TableVersion::VersionAsOf(Expr::Identifier(number)));
            }
            ControlFlow::Continue(())
        }
    }
    let mut take = Take(Vec::new());
    match query.visit(&mut take) {
        ControlFlow::Continue(()) => Ok(take.0),
        ControlFlow::Break(error) => Err(error),
    }
}

fn asked(version: TableVersion) -> Result<Asked> {
    let unknown = |what: &str| {
        Err(Error::new(
            ErrorKind::SyntaxError,
            format!("{what} does not say which state of a table is meant"),
        )
        .with_hint("Write AT (TIMESTAMP => …), AT (SNAPSHOT => …), AT (VERSION => …) or AT (OFFSET => …)."))
    };
    match version {
        TableVersion::ForSystemTimeAsOf(value) | TableVersion::TimestampAsOf(value) => Ok(Asked {
            kind: Kind::Timestamp,
            value,
        }),
        TableVersion::VersionAsOf(value) => Ok(Asked {
            kind: Kind::Version,
            value,
        }),
        TableVersion::Function(Expr::Function(function)) => {
            let before = shown(&function.name) == "before";
            let FunctionArguments::List(list) = function.args else {
                return unknown("AT");
            };
            let mut arguments = list.args;
            let (
                Some(FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(value),
                    ..
                }),
                true,
            ) = (arguments.pop(), arguments.is_empty())
            else {
                return unknown("AT");
            };
            let kind = match (fold(&name).as_str(), before) {
                ("timestamp", false) => Kind::Timestamp,
                ("timestamp", true) => Kind::BeforeTimestamp,
                ("snapshot" | "version", false) => Kind::Version,
                ("snapshot" | "version", true) => Kind::BeforeVersion,
                ("offset", false) => Kind::Offset,
                ("offset", true) => Kind::BeforeOffset,
                ("statement" | "stream", _) => {
                    return Err(Error::unsupported(format!(
                        "{} in AT and BEFORE is not supported",
                        name.value
                    )));
                }
                (other, _) => return unknown(other),
            };
            Ok(Asked { kind, value })
        }
        other => Err(Error::unsupported(format!("\"{other}\" is not supported"))),
    }
}

/// The state a clause of another statement asks for; `None` when it hangs on a parameter.
pub(crate) async fn spec_of(scope: &Scope<'_>, version: &TableVersion) -> Result<Option<TableVersionSpec>> {
    spec(scope, &asked(version.clone())?).await
}

/// Whether it is a number that [`take`] left.
pub(crate) fn is_taken(version: &TableVersion) -> bool {
    taken(version).is_some()
}

/// The name of the relation that stands for a clause [`take`] took.
pub(crate) fn relation_of(version: &TableVersion) -> Option<ObjectName> {
    taken(version).map(relation)
}

fn taken(version: &TableVersion) -> Option<usize> {
    match version {
        TableVersion::VersionAsOf(Expr::Identifier(ident)) => ident.value.strip_prefix(MARK)?.parse().ok(),
        _ => None,
    }
}

fn relation(number: usize) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', marker(number)))])
}

/// The types the clauses give to parameters.
pub(crate) fn parameters(asked: &[Asked]) -> Vec<Option<SqlType>> {
    let mut types = Vec::new();
    for asked in asked {
        if let Some(index) = parameter_index(&asked.value)
            && index < crate::rewrite::PARAMETERS_MAX
        {
            if types.len() <= index {
                types.resize(index + 1, None);
            }
            types[index] = Some(match asked.kind {
                Kind::Version | Kind::BeforeVersion => SqlType::Text,
                Kind::Timestamp | Kind::BeforeTimestamp => SqlType::TimestampTz,
                Kind::Offset | Kind::BeforeOffset => SqlType::Double,
            });
        }
    }
    types
}

/// Gives every table with a number from [`take`] a name of its own. Gives those names, with the tables'.
pub(crate) fn name(query: &mut Query) -> Vec<(usize, ObjectName)> {
    struct Name(Vec<(usize, ObjectName)>);
    impl VisitorMut for Name {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table {
                name,
                alias,
                version: version @ Some(_),
                ..
            } = factor
                && let Some(version) = version.take()
                && let Some(number) = taken(&version)
            {
                let marked = relation(number);
                let table = std::mem::replace(name, marked);
                if let (None, Some(last)) = (&alias, table.0.last().and_then(ObjectNamePart::as_ident)) {
                    *alias = Some(TableAlias {
                        explicit: true,
                        name: last.clone(),
                        columns: Vec::new(),
                        at: None,
                    });
                }
                self.0.push((number, table));
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Name(Vec::new());
    let named = query.visit(&mut names);
    debug_assert!(named.is_continue(), "nothing there breaks off");
    names.0
}

fn marker(number: usize) -> String {
    format!("{MARK}{number}")
}

/// Loads the older states a query asks for.
pub(crate) async fn load(
    scope: &Scope<'_>,
    asked: &[Asked],
    names: &[(usize, ObjectName)],
    relations: &mut Relations,
) -> Result<()> {
    for (number, name) in names {
        let asked = asked.get(*number);
        let asked = asked.ok_or_else(|| Error::internal("a version of a table without its clause"))?;
        let (table, is_present) = open(scope, asked, name).await?;
        let opened = StaffaTable::open_version(scope.context, table, is_present).await?;
        let provider = policy::secured(scope, opened).await?;
        let reference = TableReference::bare(marker(*number));
        relations.sources.insert(reference, provider_as_source(provider));
    }
    Ok(())
}

/// The state of the table, and whether it is the present one for now only.
async fn open(scope: &Scope<'_>, asked: &Asked, name: &ObjectName) -> Result<(Arc<Table>, bool)> {
    let table = match super::existing(scope.context, name)? {
        Some((full, RelationKind::View)) => {
            let message = format!("view \"{}\" has no older states", full.name);
            return Err(Error::new(ErrorKind::WrongObjectType, message)
                .with_hint("Put the clause behind the tables in a query of your own."));
        }
        Some((full, RelationKind::Table)) => scope.context.snapshot.table(&full).await?,
        Some((full, RelationKind::Index)) => {
            let message = format!("\"{}\" is not a table", full.name);
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        }
        Some((full, RelationKind::Sequence)) => {
            let message = format!("sequence \"{}\" has no older states", full.name);
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        }
        None => None,
    };
    let table = table.ok_or_else(|| undefined_relation(name, scope.text))?;
    // What states there are is for those who may read some of it.
    scope.context.check_columns(&table, [], Privileges::SELECT)?;
    match spec(scope, asked).await? {
        Some(version) => Ok((table.at(&version)?, table.is_present(&version)?)),
        // The values of parameters are not there yet: planned for its columns only.
        None => Ok((table, true)),
    }
}

/// `None` when it hangs on a parameter that has no value yet.
async fn spec(scope: &Scope<'_>, asked: &Asked) -> Result<Option<TableVersionSpec>> {
    if !matches!(asked.value, Expr::Value(_)) || hangs_on_parameter(&asked.value) {
        scope.context.momentary.set();
    }
    let value = match asked.kind {
        Kind::Timestamp | Kind::BeforeTimestamp => cast(
            asked.value.clone(),
            DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        ),
        Kind::Offset | Kind::BeforeOffset => cast(asked.value.clone(), DataType::DoublePrecision),
        Kind::Version | Kind::BeforeVersion => asked.value.clone(),
    };
    let Some(value) = evaluate(scope, value).await? else {
        return Ok(None);
    };
    if value.is_null() {
        let message = "the state of a table that is asked for must not be null";
        return Err(Error::new(ErrorKind::NullValueNotAllowed, message));
    }
    version_of(scope, asked.kind, &value).map(Some)
}

/// A state named by one value alone.
pub(super) enum Point {
    /// It hangs on a parameter that has no value yet.
    Unknown,
    /// NULL
    Null,
    /// An id, the name of a branch or tag, or a point in time.
    Given(TableVersionSpec),
}

pub(super) async fn point(scope: &Scope<'_>, value: Expr) -> Result<Point> {
    if !matches!(value, Expr::Value(_)) || hangs_on_parameter(&value) {
        scope.context.momentary.set();
    }
    let Some(value) = evaluate(scope, value).await? else {
        return Ok(Point::Unknown);
    };
    match value {
        value if value.is_null() => Ok(Point::Null),
        ScalarValue::TimestampMicrosecond(Some(time), Some(_)) => Ok(Point::Given(TableVersionSpec::At(time))),
        other => version_of(scope, Kind::Version, &other).map(Point::Given),
    }
}

fn version_of(scope: &Scope<'_>, kind: Kind, value: &ScalarValue) -> Result<TableVersionSpec> {
    Ok(match kind {
        Kind::Timestamp => TableVersionSpec::At(micros(value)?),
        Kind::BeforeTimestamp => TableVersionSpec::Before(micros(value)?),
        Kind::Offset => TableVersionSpec::At(offset(scope, value)?),
        Kind::BeforeOffset => TableVersionSpec::Before(offset(scope, value)?),
        Kind::Version | Kind::BeforeVersion => match (id_or_name(value)?, kind) {
            (Ok(id), Kind::Version) => TableVersionSpec::Snapshot(id),
            (Ok(id), _) => TableVersionSpec::BeforeSnapshot(id),
            (Err(name), Kind::Version) => TableVersionSpec::Ref(name),
            (Err(_), _) => {
                let message = "BEFORE takes a snapshot's id, not the name of a branch or tag";
                return Err(Error::new(ErrorKind::InvalidParameterValue, message));
            }
        },
    })
}

fn micros(value: &ScalarValue) -> Result<i64> {
    match value {
        ScalarValue::TimestampMicrosecond(Some(time), _) => Ok(*time),
        _ => Err(Error::internal("a point in time of another type")),
    }
}

fn offset(scope: &Scope<'_>, value: &ScalarValue) -> Result<i64> {
    match value {
        ScalarValue::Float64(Some(seconds)) if *seconds <= 0.0 && *seconds > -1e12 => {
            #[expect(clippy::cast_possible_truncation, reason = "in range, as was just seen")]
            let micros = (seconds * 1e6) as i64;
            Ok(scope.context.statement_time.timestamp_micros() + micros)
        }
        _ => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            "OFFSET must be a number of seconds that is not positive",
        )),
    }
}

/// An id, or else a name. Text of digits alone is an id: a driver may send every parameter as text.
fn id_or_name(value: &ScalarValue) -> Result<Result<i64, String>> {
    let text = match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            text.clone()
        }
        ScalarValue::Int16(_) | ScalarValue::Int32(_) | ScalarValue::Int64(_) => value.to_string(),
        ScalarValue::Decimal128(Some(digits), _, 0) => digits.to_string(),
        _ => {
            let message = "a version of a table is a snapshot's id or the name of a branch or tag";
            return Err(Error::new(ErrorKind::DatatypeMismatch, message));
        }
    };
    Ok(text.trim().parse::<i64>().map_err(|_| text))
}

fn cast(value: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Nested(Box::new(value))),
        data_type,
        array: false,
        format: None,
    }
}

/// The value of an expression that refers to no column; `None` when it has parameters whose values are not known.
pub(super) async fn evaluate(scope: &Scope<'_>, value: Expr) -> Result<Option<ScalarValue>> {
    let context = scope.context;
    let values = context.arguments.as_deref();
    if values.is_none() && hangs_on_parameter(&value) {
        return Ok(None);
    }
    let values = values.unwrap_or_default();
    let declared: Vec<Option<SqlType>> = values.iter().map(|value| Some(type_of(value))).collect();
    let query = select(value)?;
    let plan = Box::pin(query::plan(scope, &query, &declared)).await?;
    let logical = crate::bind(&plan, values)?;
    let physical = crate::physical(context, logical).await?;
    let rows = collect(physical, context.task_context()).await?;
    match rows.iter().find(|batch| batch.num_rows() > 0) {
        Some(batch) => Ok(Some(ScalarValue::try_from_array(batch.column(0), 0)?)),
        None => Err(Error::internal("an expression without a value")),
    }
}

pub(super) fn hangs_on_parameter(value: &Expr) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match parameter_index(expression) {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        }
    }
    value.visit(&mut Find).is_break()
}

fn type_of(value: &ScalarValue) -> SqlType {
    crate::types::sql_type(&arrow::datatypes::Field::new("", value.data_type(), true))
}

/// `SELECT` of one expression.
fn select(value: Expr) -> Result<Query> {
    let Ast::Query(mut query) = parse_one("select 1", 0)?.ast else {
        return Err(Error::internal("a query that is none"));
    };
    match query.body.as_mut() {
        SetExpr::Select(body) => {
            let body: &mut Select = body;
            body.projection = vec![SelectItem::UnnamedExpr(value)];
        }
        _ => return Err(Error::internal("a query without a select list")),
    }
    Ok(*query)
}
