//! Names to relations, against one pinned snapshot.
//!
//! Reading a table's metadata is asynchronous and DataFusion's name resolution is not, so the relations a query may
//! mean are loaded first (`load`), and planning then looks them up (`resolve/provider.rs`). A name that is a CTE in one
//! place and a table in another is loaded too; scoping is DataFusion's.

pub(crate) mod function;
mod independent;
pub(crate) mod populate;
mod provider;
pub(crate) mod sequence;
pub(crate) mod version;

use std::collections::HashMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::Fields;
use datafusion::common::TableReference;
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source, source_as_provider};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, SetExpr, Values, Visitor, VisitorMut};
use staffa_catalog::{AccessKey, Privileges, RelationKind, Table, TableName, Uuid, View, is_temporary_schema};

pub(crate) use self::provider::Provider;
use crate::authorize::{Readable, denied};
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::facts;
use crate::pg_catalog::provider::SystemTable;
use crate::pg_catalog::statistics::StatisticsTable;
use crate::policy;
use crate::statement::change::TARGET;
use crate::statement::origin;
use crate::statement::query::{self, Scope};
use crate::statement::upsert::PROPOSED;
use crate::table_provider::{SecuredTable, StaffaTable, open_file};
use crate::walk::{Visit, VisitMut};

/// Schemas that the catalog does not hold.
const SYSTEM_SCHEMAS: &[&str] = &["pg_catalog", "information_schema", "staffa"];
/// Views inside views; PostgreSQL's own limit is its stack.
const VIEW_DEPTH_MAX: usize = 32;

/// Folds an identifier as PostgreSQL does: lower case unless quoted.
pub(crate) fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

/// The folded parts of a name.
pub(crate) fn parts(name: &ObjectName) -> Result<Vec<String>> {
    let mut folded = Vec::with_capacity(name.0.len());
    for part in &name.0 {
        match part.as_ident() {
            Some(ident) => folded.push(fold(ident)),
            None => return Err(Error::new(ErrorKind::InvalidName, format!("invalid name \"{name}\""))),
        }
    }
    Ok(folded)
}

/// As the user wrote the name, for messages: parts joined by points, without quotes.
pub(crate) fn shown(name: &ObjectName) -> String {
    parts(name).map_or_else(|_| name.to_string(), |parts| parts.join("."))
}

/// The name an existing relation goes by: the first of the search path that has it.
pub(crate) fn existing(context: &PlanContext, name: &ObjectName) -> Result<Option<(TableName, RelationKind)>> {
    for candidate in candidates(context, &parts(name)?)? {
        if let Some(kind) = context.snapshot.relation(&candidate) {
            return Ok(Some((candidate, kind)));
        }
    }
    Ok(None)
}

/// The name a new relation gets: in the schema it names, else in the first schema of the search path that exists.
pub(crate) fn creatable(context: &PlanContext, name: &ObjectName) -> Result<TableName> {
    let full = match parts(name)?.as_slice() {
        [table] => match context.current_schema() {
            Some(schema) => TableName::new(&context.database, schema, table),
            None => {
                return Err(
                    Error::new(ErrorKind::UndefinedSchema, "no schema has been selected to create in")
                        .with_hint("Name the schema, or put an existing one into search_path."),
                );
            }
        },
        [schema, table] => TableName::new(&context.database, schema_of(context, schema)?, table),
        [database, schema, table] => TableName::new(database, schema_of(context, schema)?, table),
        _ => return Err(improper(name)),
    };
    if context.is_temporary(&full.schema) && full.database == context.database {
        // It is made with the first table in it.
        return Ok(full);
    }
    if full.schema == "pg_catalog" || full.schema == "information_schema" {
        let message = format!("permission denied to create \"{}.{}\"", full.schema, full.name);
        return Err(Error::new(ErrorKind::InsufficientPrivilege, message)
            .with_detail("System catalog modifications are currently disallowed."));
    }
    if !context.snapshot.has_database(&full.database) {
        return Err(other_database(&parts(name)?));
    }
    if !context.snapshot.has_schema(&full.database, &full.schema) {
        let message = format!("schema \"{}\" does not exist", full.schema);
        return Err(Error::new(ErrorKind::UndefinedSchema, message));
    }
    match context.may_in_schema(&full.database, &full.schema, Privileges::CREATE) {
        true => Ok(full),
        false => Err(denied("schema", &full.schema)),
    }
}

fn schema_of(context: &PlanContext, schema: &str) -> Result<String> {
    context.schema_named(schema).ok_or_else(|| {
        let message = "cannot create relations in temporary schemas of other sessions";
        Error::new(ErrorKind::InvalidTableDefinition, message)
    })
}

/// The name a new temporary relation gets.
pub(crate) fn creatable_temporary(context: &PlanContext, name: &ObjectName) -> Result<TableName> {
    let wrong = || {
        let message = "cannot create temporary relation in non-temporary schema";
        Err(Error::new(ErrorKind::InvalidTableDefinition, message))
    };
    let Some(own) = &context.temporary_schema else {
        return Err(Error::unsupported("temporary tables are not supported here"));
    };
    if !context.may_with_database(&context.database, Privileges::TEMPORARY) {
        let message = format!(
            "permission denied to create temporary tables in database \"{}\"",
            context.database
        );
        return Err(Error::new(ErrorKind::InsufficientPrivilege, message));
    }
    match parts(name)?.as_slice() {
        [table] => Ok(TableName::new(&context.database, own, table)),
        [schema, table] if context.schema_named(schema).as_ref() == Some(own) => {
            Ok(TableName::new(&context.database, own, table))
        }
        [database, schema, table]
            if *database == context.database && context.schema_named(schema).as_ref() == Some(own) =>
        {
            Ok(TableName::new(database, own, table))
        }
        [_, _] | [_, _, _] => wrong(),
        _ => Err(improper(name)),
    }
}

/// The table that a command names; views and missing names are errors.
pub(crate) async fn table(context: &PlanContext, name: &ObjectName) -> Result<Arc<Table>> {
    let found = table_named(context, name).await?;
    found.ok_or_else(|| missing(context, name))
}

/// The table of this name, if there is something of the name.
async fn table_named(context: &PlanContext, name: &ObjectName) -> Result<Option<Arc<Table>>> {
    match existing(context, name)? {
        Some((full, RelationKind::Table)) => Ok(context.snapshot.table(&full).await?),
        Some((full, RelationKind::Index)) => Err(Error::new(
            ErrorKind::WrongObjectType,
            format!("\"{}\" is an index", full.name),
        )),
        Some((full, _)) => Err(Error::new(
            ErrorKind::WrongObjectType,
            format!("\"{}\" is not a table", full.name),
        )),
        None => Ok(None),
    }
}

/// The table whose rows a statement changes: what it does to them is `verb`.
pub(crate) async fn changed_table(scope: &Scope<'_>, name: &ObjectName, verb: &str) -> Result<Arc<Table>> {
    let found = existing(scope.context, name).map_err(|error| at_name(error, name, scope.text))?;
    match found {
        Some((_, RelationKind::View)) => {
            let message = format!("cannot {verb} view \"{}\"", shown(name));
            Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message).with_detail("Views are not updatable."))
        }
        Some((full, RelationKind::Sequence)) => {
            let message = format!("cannot change sequence \"{}\"", full.name);
            Err(Error::new(ErrorKind::WrongObjectType, message))
        }
        _ => {
            let found = table_named(scope.context, name).await?;
            found.ok_or_else(|| undefined_relation(name, scope.text))
        }
    }
}

/// What a command says of a relation that is not there. Only queries and changes of rows tell the place.
pub(crate) fn missing(context: &PlanContext, name: &ObjectName) -> Error {
    if let Some(error) = missing_schema(context, name).or_else(|| system_catalog(name)) {
        return error;
    }
    let message = format!("relation \"{}\" does not exist", shown(name));
    Error::new(ErrorKind::UndefinedTable, message)
}

/// What is told where a command's `IF EXISTS` forgives that there is no such relation.
pub(crate) fn skipped(name: &ObjectName) -> String {
    format!("relation \"{}\" does not exist, skipping", last(name))
}

/// The name without schema and database.
fn last(name: &ObjectName) -> String {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.map(fold).unwrap_or_default()
}

/// What DROP says of a name of which there is nothing: a notice where `IF EXISTS` forgives it.
pub(crate) fn nothing_to_drop(
    context: &PlanContext,
    name: &ObjectName,
    (noun, kind): (&str, ErrorKind),
    if_exists: bool,
) -> Result<String> {
    if let Some(error) = system_catalog(name) {
        return Err(error);
    }
    let error = missing_schema(context, name).unwrap_or_else(|| {
        let message = format!("{noun} \"{}\" does not exist", last(name));
        Error::new(kind, message)
    });
    match if_exists {
        true => Ok(format!("{}, skipping", error.message())),
        false => Err(error),
    }
}

/// The error where a name begins with a schema that is not there.
pub(crate) fn missing_schema(context: &PlanContext, name: &ObjectName) -> Option<Error> {
    let (database, schema) = match parts(name).ok()?.as_slice() {
        [schema, _] => (context.database.clone(), schema.clone()),
        [database, schema, _] => (database.clone(), schema.clone()),
        _ => return None,
    };
    // Schemas of temporary tables come with the first of them.
    let schema = context
        .schema_named(&schema)
        .filter(|full| !context.is_temporary(full))?;
    let is_there = SYSTEM_SCHEMAS.contains(&schema.as_str()) || context.snapshot.has_schema(&database, &schema);
    (!is_there).then(|| {
        let message = format!("schema \"{schema}\" does not exist");
        Error::new(ErrorKind::UndefinedSchema, message)
    })
}

/// The error where a name is that of a relation of PostgreSQL's own schemas, which no command changes.
fn system_catalog(name: &ObjectName) -> Option<Error> {
    let parts = parts(name).ok()?;
    let (schema, relation) = match parts.as_slice() {
        [relation] => ("pg_catalog", relation),
        [.., schema, relation] => (schema.as_str(), relation),
        [] => return None,
    };
    facts::relation(schema, relation)?;
    let message = format!("permission denied: \"{relation}\" is a system catalog");
    Some(Error::new(ErrorKind::InsufficientPrivilege, message))
}

/// A name begins with a database that is not there: PostgreSQL does not look for it.
fn other_database(parts: &[String]) -> Error {
    let name = parts.join(".");
    Error::unsupported(format!("cross-database references are not implemented: \"{name}\""))
}

/// `relation "x" does not exist`, with its position.
pub(crate) fn undefined_relation(name: &ObjectName, text: &str) -> Error {
    let error = Error::new(
        ErrorKind::UndefinedTable,
        format!("relation \"{}\" does not exist", shown(name)),
    );
    match name_position(name, text) {
        Some(position) => error.with_position(position),
        None => error,
    }
}

pub(crate) fn name_position(name: &ObjectName, text: &str) -> Option<usize> {
    let ident = name.0.first()?.as_ident()?;
    crate::parse::position_of(text, ident.span.start)
}

/// The error at a name.
pub(crate) fn at_name(error: Error, name: &ObjectName, text: &str) -> Error {
    match name_position(name, text) {
        Some(position) => error.with_position(position),
        None => error,
    }
}

/// `improper qualified name (too many dotted names): a.b.c.d`
pub(crate) fn improper(name: &ObjectName) -> Error {
    let message = format!("improper qualified name (too many dotted names): {}", shown(name));
    Error::new(ErrorKind::SyntaxError, message)
}

/// Where a name may be found: nothing is in a schema that the role may not use.
fn candidates(context: &PlanContext, parts: &[String]) -> Result<Vec<TableName>> {
    let found = named_candidates(context, parts)?;
    let may_use = |name: &TableName| context.may_in_schema(&name.database, &name.schema, Privileges::USAGE);
    if parts.len() == 1 {
        return Ok(found.into_iter().filter(may_use).collect());
    }
    for name in &found {
        if context.snapshot.has_schema(&name.database, &name.schema) && !may_use(name) {
            return Err(denied("schema", &name.schema));
        }
    }
    Ok(found)
}

fn named_candidates(context: &PlanContext, parts: &[String]) -> Result<Vec<TableName>> {
    Ok(match parts {
        [table] => context
            .lookup_path()
            .into_iter()
            .map(|schema| TableName::new(&context.database, schema, table))
            .collect(),
        [schema, table] => {
            let schema = context.schema_named(schema).into_iter();
            schema
                .map(|schema| TableName::new(&context.database, schema, table))
                .collect()
        }
        [database, ..] if parts.len() == 3 && !context.snapshot.has_database(database) => {
            return Err(other_database(parts));
        }
        [database, schema, table] => {
            let schema = context.schema_named(schema).into_iter();
            schema.map(|schema| TableName::new(database, schema, table)).collect()
        }
        _ => {
            let message = format!("improper qualified name (too many dotted names): {}", parts.join("."));
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    })
}

/// The relations of a query, loaded.
#[derive(Default)]
pub(crate) struct Relations {
    pub(crate) sources: HashMap<TableReference, Arc<dyn TableSource>>,
}

impl Relations {
    /// Names of the columns of a relation, if it was found.
    pub(crate) fn columns(&self, name: &ObjectName) -> Option<Vec<String>> {
        let fields = self.fields(name)?;
        Some(fields.iter().map(|field| field.name().clone()).collect())
    }

    /// The name of the table that was found.
    pub(crate) fn table_called(&self, name: &ObjectName) -> Option<String> {
        let reference = datafusion::sql::planner::object_name_to_table_reference(name.clone(), true).ok()?;
        let provider = source_as_provider(self.sources.get(&reference)?).ok()?;
        let table = provider.downcast_ref::<StaffaTable>()?;
        Some(table.table().name().name.clone())
    }

    /// The columns of a relation, if it was found.
    pub(crate) fn fields(&self, name: &ObjectName) -> Option<Fields> {
        let reference = datafusion::sql::planner::object_name_to_table_reference(name.clone(), true).ok()?;
        Some(self.sources.get(&reference)?.schema().fields().clone())
    }
}

/// Loads every relation the query names, views planned down to their tables.
pub(crate) fn load<'a>(
    scope: &'a Scope<'a>,
    query: &'a Query,
) -> Pin<Box<dyn Future<Output = Result<Relations>> + Send + 'a>> {
    Box::pin(async move {
        let mut relations = Relations::default();
        for name in names_of(query) {
            if name.0.len() > 3 {
                return Err(at_name(improper(&name), &name, scope.text));
            }
            let reference = datafusion::sql::planner::object_name_to_table_reference(name.clone(), true)?;
            if relations.sources.contains_key(&reference) {
                continue;
            }
            if let Some(source) = source(scope, &name).await? {
                relations.sources.insert(reference, source);
            }
        }
        Ok(relations)
    })
}

async fn source(scope: &Scope<'_>, name: &ObjectName) -> Result<Option<Arc<dyn TableSource>>> {
    let context = scope.context;
    if let (Some(target), [part]) = (&scope.target, name.0.as_slice())
        && part.as_ident().is_some_and(|ident| ident.value == TARGET)
    {
        return Ok(Some(Arc::clone(target)));
    }
    if let (Some(proposed), [part]) = (&scope.proposed, name.0.as_slice())
        && part.as_ident().is_some_and(|ident| ident.value == PROPOSED)
    {
        return Ok(Some(Arc::clone(proposed)));
    }
    if let [part] = name.0.as_slice()
        && let Some(ident) = part.as_ident()
        && let Some((_, returned)) = scope.returned.iter().find(|(name, _)| *name == ident.value)
    {
        return Ok(Some(Arc::clone(returned)));
    }
    if let [part] = name.0.as_slice()
        && let Some(ident) = part.as_ident().filter(|ident| ident.quote_style == Some('\''))
    {
        let provider = open_file(context, &ident.value).await?;
        return Ok(Some(provider_as_source(provider)));
    }
    let candidates = candidates(context, &parts(name)?).map_err(|error| at_name(error, name, scope.text))?;
    for candidate in candidates {
        if let Some(provider) = relation(scope, &candidate).await? {
            return Ok(Some(provider_as_source(provider)));
        }
    }
    Ok(None)
}

async fn relation(scope: &Scope<'_>, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
    let context = scope.context;
    if matches!(name.schema.as_str(), "pg_catalog" | "information_schema") {
        return system_table(context, name);
    }
    match context.snapshot.relation(name) {
        None if name.schema == "staffa" => {
            // What others do is for superusers.
            if name.name == "audit" && !context.authority.is_superuser() {
                return Err(denied("view", &name.name));
            }
            let system = context.system_tables.as_ref();
            Ok(system.and_then(|system| system.table(&name.schema, &name.name)))
        }
        None => Ok(None),
        Some(RelationKind::Table) => match context.snapshot.table(name).await? {
            Some(table) => {
                let opened = StaffaTable::open(context, table).await?;
                Ok(Some(policy::secured(scope, opened).await?))
            }
            None => Ok(None),
        },
        Some(RelationKind::Index) => {
            let message = format!("\"{}\" is an index", name.name);
            Err(Error::new(ErrorKind::WrongObjectType, message))
        }
        Some(RelationKind::Sequence) => match context.snapshot.sequence(name)? {
            Some(sequence) => {
                context.check_relation(sequence.id, RelationKind::Sequence, &name.name, Privileges::SELECT)?;
                Ok(Some(sequence::rows(context, &sequence)?))
            }
            None => Ok(None),
        },
        Some(RelationKind::View) => match context.snapshot.view(name).await? {
            Some(view) => {
                let readable = Readable::of_view(context, &view)?;
                Ok(Some(expand(scope, &view, readable).await?))
            }
            None => Ok(None),
        },
    }
}

/// A relation of PostgreSQL's own schemas. Statements that name one have loaded the catalog.
fn system_table(context: &PlanContext, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
    // Others are not looked at.
    if name.database != context.database {
        return Ok(None);
    }
    let Some(system) = &context.system_tables else {
        return Ok(None);
    };
    let (view, session) = (context.catalog_view(), system.session());
    let Some(table) = SystemTable::named(&name.schema, &name.name, view, session.as_ref(), &context.session) else {
        return Ok(None);
    };
    if table.is_hidden() && !context.authority.is_superuser() {
        let what = if table.relation.kind == "v" { "view" } else { "table" };
        return Err(denied(what, &name.name));
    }
    // What a session shows is another thing each time.
    context.momentary.set();
    if let Some(statistics) = StatisticsTable::of(table.relation, context) {
        return Ok(Some(Arc::new(statistics)));
    }
    Ok(Some(Arc::new(table)))
}

/// Plans a view's query with its owner's rights, and gives its columns the view's names.
async fn expand(scope: &Scope<'_>, view: &View, readable: Option<Readable>) -> Result<Arc<dyn TableProvider>> {
    let plan = stored_query(scope, &view.name, view.uuid, "view", &view.sql, &view.search_path).await?;
    let plan = origin::of_view(renamed(plan, view)?, view.uuid)?;
    if let Some(readable) = readable {
        return Ok(Arc::new(SecuredTable::of_view(scope.context, view, plan, readable)));
    }
    Ok(Arc::new(ViewTable::new(plan, Some(view.sql.clone()))))
}

/// Plans the query that a view, of either kind, keeps, with its own search path and its owner's rights.
pub(crate) async fn stored_query(
    scope: &Scope<'_>,
    name: &TableName,
    uuid: Uuid,
    noun: &str,
    sql: &str,
    search_path: &[String],
) -> Result<LogicalPlan> {
    if scope.views.contains(name) {
        let message = format!("infinite recursion detected in rules for relation \"{}\"", name.name);
        return Err(Error::new(ErrorKind::InvalidObjectDefinition, message));
    }
    if scope.views.len() >= VIEW_DEPTH_MAX {
        return Err(
            Error::new(ErrorKind::StatementTooComplex, "views are nested too deeply")
                .with_detail(format!("The limit is {VIEW_DEPTH_MAX} views inside each other.")),
        );
    }
    let mut context = scope.context.clone();
    context.search_path = search_path.to_vec();
    context.database.clone_from(&name.database);
    let access = context.snapshot.access();
    let owner = access.rights(&AccessKey::Relation(uuid)).owner;
    context.authority = Arc::new(access.authority_with_id(owner, &context.database));
    if !is_temporary_schema(&name.schema) {
        context.temporary_schema = None;
    }
    let mut views = scope.views.clone();
    views.push(name.clone());
    let inner = Scope {
        context: &context,
        text: sql,
        views,
        policies: scope.policies.clone(),
        locks_rows: scope.locks_rows,
        target: None,
        proposed: None,
        returned: Vec::new(),
        with: None,
        overriding: Default::default(),
        stored_in: None,
    };
    let broken = |error: Error| {
        // A position would point into the view's text, which the user has not sent.
        let mut told = Error::new(error.kind(), error.message());
        let place = format!("The error is in the definition of {noun} \"{}\".", name.name);
        told = told.with_detail(match error.detail() {
            Some(detail) => format!("{detail} {place}"),
            None => place,
        });
        match error.hint() {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    };
    let statement = crate::parse::parse_one(sql, 0).map_err(broken)?;
    let crate::parse::Ast::Query(body) = statement.ast else {
        return Err(Error::new(
            ErrorKind::DataCorrupted,
            format!("{noun} \"{}\" is not a query", name.name),
        ));
    };
    query::logical(&inner, *body, &[], &[]).await.map_err(broken)
}

/// Whether a kept query still gives as many columns as when it was kept.
pub(crate) fn check_columns(plan: &LogicalPlan, name: &TableName, noun: &str, count: usize) -> Result<()> {
    if plan.schema().fields().len() >= count {
        return Ok(());
    }
    let message = format!("{noun} \"{}\" does not fit its tables any more", name.name);
    Err(Error::new(ErrorKind::InvalidObjectDefinition, message).with_hint(format!("Create the {noun} again.")))
}

/// The view's columns by the names and in the number it was created with: a `*` does not grow later.
fn renamed(plan: LogicalPlan, view: &View) -> Result<LogicalPlan> {
    check_columns(&plan, &view.name, "view", view.columns.len())?;
    let columns = plan.schema().columns();
    let named = columns
        .into_iter()
        .zip(&view.columns)
        .map(|(column, (name, _))| Expr::Column(column).alias(name));
    Ok(LogicalPlanBuilder::from(plan).project(named)?.build()?)
}

/// The names of relations outside the query: those that a CTE hides are none of them.
pub(crate) fn outer_names(query: &Query) -> Vec<ObjectName> {
    let mut found = Vec::new();
    add_outer_names(query, &[], &mut found);
    found
}

fn add_outer_names(query: &Query, hidden: &[String], found: &mut Vec<ObjectName>) {
    let mut hidden = hidden.to_vec();
    let mut query = query.clone();
    if let Some(with) = query.with.take() {
        let names = with.cte_tables.iter().map(|cte| fold(&cte.alias.name));
        if with.recursive {
            hidden.extend(names.clone());
        }
        for (cte, name) in with.cte_tables.iter().zip(names) {
            add_outer_names(&cte.query, &hidden, found);
            hidden.push(name);
        }
    }
    struct Names<'a> {
        hidden: &'a [String],
        found: &'a mut Vec<ObjectName>,
    }
    impl VisitorMut for Names<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, inner: &mut Query) -> ControlFlow<()> {
            if inner.with.is_some() {
                add_outer_names(inner, self.hidden, self.found);
                // They are known now.
                inner.with = None;
                *inner.body = SetExpr::Values(Values {
                    explicit_row: false,
                    value_keyword: false,
                    rows: Vec::new(),
                });
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
            let is_hidden = match relation.0.as_slice() {
                [part] => part.as_ident().is_some_and(|part| self.hidden.contains(&fold(part))),
                _ => false,
            };
            if !is_hidden {
                self.found.push(relation.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(&mut query, &mut Names { hidden: &hidden, found });
}

/// Every name in a place of a relation, CTE names among them.
pub(crate) fn names_of(query: &Query) -> Vec<ObjectName> {
    #[derive(Default)]
    struct Names(Vec<ObjectName>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            self.0.push(relation.clone());
            ControlFlow::Continue(())
        }
    }
    let mut names = Names::default();
    let _ = query.visit(&mut names);
    names.0
}
