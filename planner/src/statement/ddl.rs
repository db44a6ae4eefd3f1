//! Tables, views, schemas, databases: definitions checked before the catalog sees them.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query};
use staffa_catalog::{
    ColumnDefinition, RelationKind, SqlType, TEMPLATE_DATABASES, TableDefinition, TableName, Transform,
    is_temporary_schema,
};

use crate::checks;
use crate::context::{PlanContext, TEMPORARY};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{Commented, CreateTableAst, CreateViewAst, DropKind, OnCommit, PartitionTerm, RoleName, SortTerm};
use crate::resolve::{self, fold, parts};
use crate::statement::query::{self, Scope};
use crate::statement::{Plan, access, constraint, identity, index, like, materialized, origin, stars, storage, with};
use crate::type_planner::sql_type_of_ast;

/// The property of a temporary table that says what becomes of it when a transaction commits.
pub const ON_COMMIT: &str = "temporary.on-commit";
/// Its rows go.
pub const ON_COMMIT_DELETE: &str = "delete rows";
/// It goes.
pub const ON_COMMIT_DROP: &str = "drop";

/// The property that remembers `UNLOGGED`. Rows are as safe as any other table's: it is for those who ask the catalogs.
pub(crate) const PERSISTENCE: &str = "postgres.persistence";
pub(crate) const UNLOGGED: &str = "unlogged";

/// PostgreSQL's limit.
const COLUMNS_MAX: usize = 1600;

pub(crate) async fn create_table(
    scope: &Scope<'_>,
    create: &CreateTableAst,
    declared: &[Option<SqlType>],
) -> Result<Plan> {
    let name = match create.temporary {
        true => resolve::creatable_temporary(scope.context, &create.name)?,
        false => resolve::creatable(scope.context, &create.name).map_err(|error| match error.kind() {
            ErrorKind::UndefinedSchema | ErrorKind::FeatureNotSupported => {
                resolve::at_name(error, &create.name, scope.text)
            }
            _ => error,
        })?,
    };
    let on_commit = on_commit(scope.context, &name, create.on_commit)?;
    let own = on_commit.into_iter();
    let own = own.chain(create.unlogged.then(|| (PERSISTENCE.to_owned(), UNLOGGED.to_owned())));
    let (given_properties, notice) = storage::take(&storage::without_oids(&create.properties)?)?;
    if let Some(like) = &create.like {
        let mut definition = like::definition(scope, &name, like).await?;
        if !create.partition_by.is_empty() {
            definition.partition_by = partitions(&create.partition_by, &definition.columns)?;
        }
        if !create.sorted_by.is_empty() {
            definition.sorted_by = sort(&create.sorted_by, &definition.columns)?;
        }
        definition.comment.clone_from(&create.comment);
        definition.properties.extend(properties(&given_properties)?);
        definition.properties.extend(own);
        return Ok(Plan::CreateTable {
            definition,
            if_not_exists: create.if_not_exists,
            notice,
        });
    }
    let mut properties = properties(&given_properties)?;
    properties.extend(own);
    let mut given = Vec::new();
    let mut materialized = None;
    let (mut columns, source) = match &create.query {
        None => {
            let mut columns = Vec::with_capacity(create.columns.len());
            for defined in &create.columns {
                let is_serial = identity::serial(&defined.data_type).is_some();
                if !is_serial {
                    sql_type_of_ast(&defined.data_type)
                        .map_err(|error| checks::behind(error, &defined.name, scope.text))?;
                }
                checks::column_options(&name.name, defined, is_serial, scope.text)?;
                let (column, constraints) = constraint::column(scope.context, defined)?;
                columns.push(column);
                given.extend(constraints);
            }
            check_columns(&columns)?;
            let (defined, constraints) = (&create.columns, &create.constraints);
            checks::definition(scope.context, &name.name, &columns, defined, constraints, scope.text)?;
            given.extend_from_slice(&create.constraints);
            (columns, None)
        }
        Some(body) => {
            if !create.columns.is_empty() {
                let message = "CREATE TABLE AS takes column names, not column definitions";
                return Err(Error::new(ErrorKind::SyntaxError, message));
            }
            materialized = materialized::kept_query(scope, create, body)?;
            with::refuse(body, "CREATE TABLE AS")?;
            let source = query::plan(scope, body, declared).await?;
            if materialized.is_some() && !source.parameters.is_empty() {
                let message = "materialized views may not be defined using bound parameters";
                return Err(Error::unsupported(message));
            }
            let names = create.column_names.iter().map(fold).collect::<Vec<_>>();
            if names.len() > source.columns.len() {
                return Err(Error::new(
                    ErrorKind::SyntaxError,
                    "too many column names were specified",
                ));
            }
            let columns = source
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| ColumnDefinition {
                    name: names.get(index).cloned().unwrap_or_else(|| column.name.clone()),
                    ty: storable(&column.ty),
                    nullable: true,
                    comment: None,
                    default: None,
                })
                .collect();
            (columns, Some(source))
        }
    };
    check_columns(&columns)?;
    let mut constraints = Vec::new();
    constraint::add(scope.context, &name, &mut columns, &mut constraints, &given)?;
    constraint::check_referenced(scope.context, &given).await?;
    constraint::check_values(scope.context, &name, &mut columns)?;
    let definition = TableDefinition {
        partition_by: partitions(&create.partition_by, &columns)?,
        sorted_by: sort(&create.sorted_by, &columns)?,
        name,
        columns,
        constraints,
        indexes: Vec::new(),
        comment: create.comment.clone(),
        properties,
        materialized,
        location: None,
    };
    Ok(match source {
        None => Plan::CreateTable {
            definition,
            if_not_exists: create.if_not_exists,
            notice,
        },
        Some(mut source) => {
            // The rows as the table will hold them: every column cast to what it is stored as.
            let types: Vec<(String, SqlType)> = definition
                .columns
                .iter()
                .map(|column| (column.name.clone(), column.ty.clone()))
                .collect();
            source.logical = crate::statement::dml::as_stored(scope.context, source.logical, &types)?;
            Plan::CreateTableAs {
                definition,
                source,
                if_not_exists: create.if_not_exists,
                with_data: create.with_data,
                notice,
            }
        }
    })
}

/// What becomes of a temporary table at the end of a transaction, as a property of the table.
fn on_commit(context: &PlanContext, name: &TableName, given: Option<OnCommit>) -> Result<Option<(String, String)>> {
    let Some(given) = given else { return Ok(None) };
    if !context.is_temporary(&name.schema) {
        let message = "ON COMMIT can only be used on temporary tables";
        return Err(Error::new(ErrorKind::InvalidTableDefinition, message));
    }
    let value = match given {
        OnCommit::PreserveRows => return Ok(None),
        OnCommit::DeleteRows => ON_COMMIT_DELETE,
        OnCommit::Drop => ON_COMMIT_DROP,
    };
    Ok(Some((ON_COMMIT.to_owned(), value.to_owned())))
}

/// Most digits of a stored numeric.
const PRECISION_MAX: u8 = 38;

/// A bare NULL or untyped literal becomes text, as in PostgreSQL.
fn storable(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Unknown => SqlType::Text,
        SqlType::Numeric {
            precision,
            scale,
            digits,
        } if *precision > PRECISION_MAX => {
            // What is computed in 256 bits is stored in 128: the digits before the point come first, ten behind it at least.
            let whole = precision.saturating_sub(scale.unsigned_abs());
            let room = i8::try_from(PRECISION_MAX.saturating_sub(whole)).unwrap_or(0);
            SqlType::Numeric {
                precision: PRECISION_MAX,
                scale: (*scale).min(room.max(10)),
                digits: *digits,
            }
        }
        SqlType::Array(element) => SqlType::Array(Box::new(storable(element))),
        SqlType::Struct(fields) => {
            SqlType::Struct(fields.iter().map(|(name, ty)| (name.clone(), storable(ty))).collect())
        }
        other => other.clone(),
    }
}

fn check_columns(columns: &[ColumnDefinition]) -> Result<()> {
    if columns.len() > COLUMNS_MAX {
        let message = format!("tables can have at most {COLUMNS_MAX} columns");
        return Err(Error::new(ErrorKind::ProgramLimitExceeded, message));
    }
    let mut seen = std::collections::HashSet::new();
    for column in columns {
        if !seen.insert(column.name.as_str()) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
    }
    Ok(())
}

/// Table properties: dotted names as Iceberg has them; the catalog's own are not to be set.
pub(super) fn properties(given: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let mut properties = BTreeMap::new();
    for (name, value) in given {
        // Spark's name, and Trino's that needs no quotes.
        let name = match name.as_str() {
            "format_version" => "format-version",
            name => name,
        };
        if (!name.contains('.') && name != "format-version") || name.starts_with("staffa.") {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("unrecognized parameter \"{name}\""),
            )
            .with_hint("Table properties have dotted names, for example \"write.target-file-size-bytes\"; the other is format_version."));
        }
        if properties.insert(name.to_owned(), value.clone()).is_some() {
            let message = format!("parameter \"{name}\" specified more than once");
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
    }
    Ok(properties)
}

pub(super) fn partitions(terms: &[PartitionTerm], columns: &[ColumnDefinition]) -> Result<Vec<(String, Transform)>> {
    terms.iter().map(|term| partition(term, columns)).collect()
}

fn partition(term: &PartitionTerm, columns: &[ColumnDefinition]) -> Result<(String, Transform)> {
    let column = named(&term.column, columns, "partition key")?;
    let invalid = |message: String| Err(Error::new(ErrorKind::InvalidTableDefinition, message));
    let wrong_type = |transform: &str| {
        invalid(format!(
            "cannot partition column \"{}\" of type {} by {transform}",
            column.name, column.ty
        ))
    };
    let Some(transform) = &term.transform else {
        return match column.ty.plain() {
            SqlType::Array(_) | SqlType::Struct(_) => wrong_type("its value"),
            SqlType::Interval => wrong_type("its value"),
            _ => Ok((column.name.clone(), Transform::Identity)),
        };
    };
    let timestamp = matches!(column.ty.plain(), SqlType::Timestamp | SqlType::TimestampTz);
    let dated = timestamp || column.ty == SqlType::Date;
    let transform = match (transform.as_str(), term.number) {
        ("identity", None) => {
            return partition(
                &PartitionTerm {
                    transform: None,
                    ..term.clone()
                },
                columns,
            );
        }
        ("year" | "years", None) if dated => Transform::Year,
        ("month" | "months", None) if dated => Transform::Month,
        ("day" | "days" | "date", None) if dated => Transform::Day,
        ("hour" | "hours", None) if timestamp => Transform::Hour,
        ("year" | "years" | "month" | "months" | "day" | "days" | "date" | "hour" | "hours", None) => {
            return wrong_type(transform);
        }
        ("bucket", Some(count)) if count > 0 => match column.ty.plain() {
            SqlType::Boolean
            | SqlType::Real
            | SqlType::Double
            | SqlType::Interval
            | SqlType::Array(_)
            | SqlType::Struct(_) => return wrong_type("bucket"),
            _ => Transform::Bucket(count),
        },
        ("truncate", Some(width)) if width > 0 => match column.ty.plain() {
            SqlType::SmallInt
            | SqlType::Integer
            | SqlType::BigInt
            | SqlType::Numeric { .. }
            | SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Bytea => Transform::Truncate(width),
            _ => return wrong_type("truncate"),
        },
        ("bucket" | "truncate", _) => {
            return invalid(format!(
                "{transform} needs a number above 0, for example {transform}(16, {})",
                column.name
            ));
        }
        (_, Some(_)) => return invalid(format!("partition transform {transform} takes no number")),
        _ => {
            return Err(Error::new(
                ErrorKind::UndefinedFunction,
                format!("partition transform {transform} does not exist"),
            )
            .with_hint("Transforms are year, month, day, hour, bucket, truncate and identity."));
        }
    };
    Ok((column.name.clone(), transform))
}

pub(super) fn sort(terms: &[SortTerm], columns: &[ColumnDefinition]) -> Result<Vec<(String, bool, bool)>> {
    terms
        .iter()
        .map(|term| {
            let column = named(&term.column, columns, "sort key")?;
            if matches!(
                column.ty.plain(),
                SqlType::Array(_) | SqlType::Struct(_) | SqlType::Interval
            ) {
                let message = format!("cannot sort by column \"{}\" of type {}", column.name, column.ty);
                return Err(Error::new(ErrorKind::InvalidTableDefinition, message));
            }
            // PostgreSQL's order: nulls are larger than everything.
            Ok((
                column.name.clone(),
                term.descending,
                term.nulls_first.unwrap_or(term.descending),
            ))
        })
        .collect()
}

fn named<'a>(ident: &Ident, columns: &'a [ColumnDefinition], role: &str) -> Result<&'a ColumnDefinition> {
    let name = fold(ident);
    columns.iter().find(|column| column.name == name).ok_or_else(|| {
        Error::new(
            ErrorKind::UndefinedColumn,
            format!("column \"{name}\" named in {role} does not exist"),
        )
    })
}

pub(crate) async fn create_view(scope: &Scope<'_>, create: &CreateViewAst) -> Result<Plan> {
    let reads_temporary = reads_temporary(scope.context, &create.query);
    let name = match create.temporary || (reads_temporary && create.name.0.len() == 1) {
        true => resolve::creatable_temporary(scope.context, &create.name)?,
        false => resolve::creatable(scope.context, &create.name)?,
    };
    if reads_temporary && !scope.context.is_temporary(&name.schema) {
        let message = "cannot create temporary relation in non-temporary schema";
        return Err(Error::new(ErrorKind::InvalidTableDefinition, message));
    }
    let inner = Scope {
        views: vec![name.clone()],
        ..Scope::new(scope.context, scope.text)
    };
    if with::in_query(&create.query) {
        let message = "views must not contain data-modifying statements in WITH";
        return Err(Error::unsupported(message));
    }
    let query = query::plan(&inner, &create.query, &[]).await?;
    if !query.parameters.is_empty() {
        return Err(Error::new(ErrorKind::UndefinedParameter, "there is no parameter $1"));
    }
    if create.columns.len() > query.columns.len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(Error::new(ErrorKind::SyntaxError, message));
    }
    let columns: Vec<(String, SqlType)> = query
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let name = create
                .columns
                .get(index)
                .map_or_else(|| column.name.clone(), |given| fold(&given.name));
            (name, storable(&column.ty))
        })
        .collect();
    for (index, (name, _)) in columns.iter().enumerate() {
        if columns[..index].iter().any(|(other, _)| other == name) {
            return Err(Error::new(
                ErrorKind::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
    }
    if create.replace {
        check_replaced(scope.context, &name, &columns).await?;
    }
    let spelled = stars::spelled_out(&inner, &create.sql).await?;
    Ok(Plan::CreateView {
        sql: spelled.unwrap_or_else(|| create.sql.clone()),
        columns,
        reads: origin::reads(&query.logical),
        search_path: match scope.context.is_temporary(&name.schema) {
            true => scope.context.lookup_path(),
            false => lasting_path(scope.context),
        },
        name,
        replace: create.replace,
        comment: create.comment.clone(),
    })
}

/// What reads the view goes on working: its columns stay, and others may follow.
async fn check_replaced(context: &PlanContext, name: &TableName, columns: &[(String, SqlType)]) -> Result<()> {
    let Some(old) = context.snapshot.view(name).await? else {
        return Ok(());
    };
    context.check_owner(name, false).await?;
    let wrong = |message: String| Err(Error::new(ErrorKind::InvalidTableDefinition, message));
    if columns.len() < old.columns.len() {
        return wrong("cannot drop columns from view".to_owned());
    }
    for ((old, old_type), (new, new_type)) in old.columns.iter().zip(columns) {
        if old != new {
            let message = format!("cannot change name of view column \"{old}\" to \"{new}\"");
            return Err(Error::new(ErrorKind::InvalidTableDefinition, message)
                .with_hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        // The digits of what is computed are no part of the type that was declared.
        let same = match (old_type, new_type) {
            (SqlType::Numeric { .. }, SqlType::Numeric { .. }) => true,
            _ => old_type == new_type,
        };
        if !same {
            return wrong(format!(
                "cannot change data type of view column \"{old}\" from {old_type} to {new_type}"
            ));
        }
    }
    Ok(())
}

/// Whether a query names a relation of this session alone.
pub(super) fn reads_temporary(context: &PlanContext, query: &Query) -> bool {
    let names = resolve::outer_names(query);
    let mut found = names
        .iter()
        .filter_map(|name| resolve::existing(context, name).ok().flatten());
    found.any(|(relation, _)| context.is_temporary(&relation.schema))
}

/// Where names are looked up, but for what goes with the session.
pub(super) fn lasting_path(context: &PlanContext) -> Vec<String> {
    let path = context.lookup_path().into_iter();
    path.filter(|schema| !context.is_temporary(schema)).collect()
}

pub(crate) fn create_schema(
    context: &PlanContext,
    name: Option<&ObjectName>,
    owner: Option<&RoleName>,
    if_not_exists: bool,
) -> Result<Plan> {
    let owner = owner.map(|role| access::schema_owner(context, role)).transpose()?;
    let (database, schema) = match (name, &owner) {
        (Some(name), _) => schema_name(context, name)?,
        (None, Some(owner)) => (context.database.clone(), owner.name.clone()),
        (None, None) => return Err(Error::internal("a schema without a name")),
    };
    check_schema_name(&schema)?;
    Ok(Plan::CreateSchema {
        database,
        schema,
        owner: owner.map(|role| role.id),
        if_not_exists,
    })
}

pub(super) fn check_schema_name(schema: &str) -> Result<()> {
    if schema.starts_with("pg_") || schema == "information_schema" {
        let message = format!("unacceptable schema name \"{schema}\"");
        return Err(Error::new(ErrorKind::ReservedName, message)
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    Ok(())
}

/// All databases begin empty, as both templates are, and have one encoding.
pub(crate) fn create_database(
    context: &PlanContext,
    name: &Ident,
    template: Option<&str>,
    encoding: Option<&str>,
) -> Result<Plan> {
    if let Some(template) = template.filter(|name| !TEMPLATE_DATABASES.contains(name)) {
        return Err(match context.snapshot.has_database(template) {
            true => Error::unsupported("a copy of a database is not supported")
                .with_hint("CREATE SCHEMA in the new database, and CREATE TABLE ... CLONE its tables."),
            false => {
                let message = format!("template database \"{template}\" does not exist");
                Error::new(ErrorKind::UndefinedDatabase, message)
            }
        });
    }
    if let Some(encoding) = encoding {
        let known: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
        if !["utf8", "unicode"].contains(&known.to_ascii_lowercase().as_str()) {
            let message = format!("databases of encoding {encoding} are not supported");
            return Err(Error::unsupported(message).with_hint("UTF8 is the only one."));
        }
    }
    Ok(Plan::CreateDatabase {
        name: fold(name),
        if_not_exists: false,
    })
}

pub(crate) fn drop_database(context: &PlanContext, name: &Ident, if_exists: bool) -> Result<Plan> {
    let name = fold(name);
    if name == context.database {
        return Err(Error::new(
            ErrorKind::ObjectInUse,
            "cannot drop the currently open database",
        ));
    }
    Ok(Plan::DropDatabase { name, if_exists })
}

pub(crate) async fn drop(
    scope: &Scope<'_>,
    kind: DropKind,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<Plan> {
    let context = scope.context;
    if kind == DropKind::Schema {
        let schemas = names
            .iter()
            .map(|name| schema_name(context, name))
            .collect::<Result<Vec<_>>>()?;
        return Ok(Plan::DropSchemas {
            schemas,
            if_exists,
            cascade,
        });
    }
    let wanted = match kind {
        DropKind::View => "view",
        DropKind::MaterializedView => materialized::NOUN,
        _ => "table",
    };
    let mut found: Vec<TableName> = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match resolve::existing(context, name)? {
            Some((full, kind)) => {
                let actual = materialized::noun(context, &full, kind).await?;
                if actual != wanted {
                    let message = format!("\"{}\" is not a {wanted}", full.name);
                    let hint = format!("Use DROP {} to remove a {actual}.", actual.to_uppercase());
                    return Err(Error::new(ErrorKind::WrongObjectType, message).with_hint(hint));
                }
                if !found.contains(&full) {
                    found.push(full);
                }
            }
            None => {
                let what = (wanted, ErrorKind::UndefinedTable);
                missing.push(resolve::nothing_to_drop(context, name, what, if_exists)?);
            }
        }
    }
    Ok(match kind {
        DropKind::View => Plan::DropViews {
            names: found,
            missing,
            cascade,
        },
        _ => Plan::DropTables {
            names: found,
            missing,
            cascade,
        },
    })
}

pub(crate) async fn comment(
    scope: &Scope<'_>,
    object: &ObjectName,
    on: Commented,
    text: Option<String>,
) -> Result<Plan> {
    // An empty comment removes it.
    let text = text.filter(|text| !text.is_empty());
    if on == Commented::Index {
        return index::comment(scope, object, text).await;
    }
    let mut relation = object.clone();
    let column = if on == Commented::Column {
        let last = relation.0.pop().and_then(|part| part.as_ident().map(fold));
        if relation.0.is_empty() {
            return Err(Error::new(ErrorKind::SyntaxError, "column name must be qualified"));
        }
        last
    } else {
        None
    };
    let Some((full, kind)) = resolve::existing(scope.context, &relation)? else {
        return Err(resolve::missing(scope.context, &relation));
    };
    if kind == RelationKind::Index {
        let message = format!("\"{}\" is not a table", full.name);
        return Err(Error::new(ErrorKind::WrongObjectType, message));
    }
    if let Some(column) = &column {
        let known = match kind {
            RelationKind::Table => scope
                .context
                .snapshot
                .table(&full)
                .await?
                .is_some_and(|table| table.schema().column(column).is_some()),
            RelationKind::View => {
                let view = scope.context.snapshot.view(&full).await?;
                view.is_some_and(|view| view.columns.iter().any(|(name, _)| name == column))
            }
            // Those of indexes are refused above.
            RelationKind::Sequence | RelationKind::Index => {
                let message = format!("cannot set comment on relation \"{}\"", full.name);
                return Err(Error::new(ErrorKind::WrongObjectType, message)
                    .with_detail("This operation is not supported for sequences."));
            }
        };
        if !known {
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", full.name);
            return Err(Error::new(ErrorKind::UndefinedColumn, message));
        }
    }
    Ok(Plan::Comment {
        table: full,
        column,
        text,
    })
}

/// Schemas of temporary tables come and go with their sessions.
fn own_schema(schema: &str) -> Result<String> {
    match schema == TEMPORARY || is_temporary_schema(schema) {
        false => Ok(schema.to_owned()),
        true => {
            let message = format!("permission denied for schema \"{schema}\"");
            Err(Error::new(ErrorKind::InsufficientPrivilege, message))
        }
    }
}

pub(super) fn schema_name(context: &PlanContext, name: &ObjectName) -> Result<(String, String)> {
    match parts(name)?.as_slice() {
        [schema] => Ok((context.database.clone(), own_schema(schema)?)),
        [database, schema] => Ok((database.clone(), own_schema(schema)?)),
        _ => Err(resolve::improper(name)),
    }
}
