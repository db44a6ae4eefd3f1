//! `GRANT` and `REVOKE` of privileges, now and on objects to come.

use datafusion::sql::sqlparser::ast::{DataType, Ident, ObjectName};
use staffa_catalog::{AccessKey, Acl, ObjectKind, Privileges, RelationKind, Rights, TableName};
use uuid::Uuid;

use super::{AccessEdit, Work, denied};
use crate::authorize::view_columns;
use crate::checks::signature;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{FunctionNamed, GrantAst, GrantObjects, RoleName};
use crate::pg_catalog::facts::{self, DumpedRows};
use crate::pg_catalog::{Function, functions_named};
use crate::resolve::{self, fold};
use crate::statement::query::Scope;
use crate::type_planner::sql_type_of_ast;
use crate::value::type_oid;

/// One object of a GRANT.
struct Target {
    key: AccessKey,
    kind: ObjectKind,
    /// As messages call it.
    name: String,
    /// Names and field ids of a table's columns.
    columns: Vec<(String, i32)>,
    /// Whether it is a view: what messages call it.
    is_view: bool,
}

/// What is asked of every object: whole, and by column.
struct Wanted {
    whole: Privileges,
    columns: Vec<(String, Privileges)>,
    all: bool,
}

pub(super) async fn grant(scope: &Scope<'_>, work: &mut Work<'_>, asked: &GrantAst) -> Result<()> {
    let targets = targets(scope, work, asked).await?;
    let grantees = grantees(work, asked)?;
    if let GrantObjects::AllFunctions(_) = &asked.objects {
        wanted(asked, ObjectKind::Function)?;
    }
    if let Some(by) = &asked.by {
        let by = work.role(by)?;
        if work.authority.owner() != Some(by.id) {
            return Err(Error::unsupported("grantor must be current user"));
        }
    }
    for target in targets {
        let wanted = wanted(asked, target.kind)?;
        apply(work, asked, &target, &wanted, &grantees)?;
    }
    Ok(())
}

fn grantees(work: &Work<'_>, asked: &GrantAst) -> Result<Vec<Option<Uuid>>> {
    let mut grantees = Vec::with_capacity(asked.roles.len());
    for role in &asked.roles {
        let grantee = work.grantee(role)?;
        if grantee.is_none() && asked.option && asked.grants {
            let message = "grant options can only be granted to roles";
            return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
        }
        grantees.push(grantee);
    }
    Ok(grantees)
}

/// The privileges a statement names, as far as such objects have them.
fn wanted(asked: &GrantAst, kind: ObjectKind) -> Result<Wanted> {
    let Some(named) = &asked.privileges else {
        let columns = asked
            .all_columns
            .iter()
            .map(|column| (fold(column), ObjectKind::Column.privileges()));
        let columns: Vec<_> = columns.collect();
        return Ok(Wanted {
            whole: if columns.is_empty() {
                kind.privileges()
            } else {
                Privileges::NONE
            },
            columns,
            all: true,
        });
    };
    let mut wanted = Wanted {
        whole: Privileges::NONE,
        columns: Vec::new(),
        all: false,
    };
    for (name, columns) in named {
        let unknown = || {
            Error::new(
                ErrorKind::SyntaxError,
                format!("unrecognized privilege type \"{name}\""),
            )
        };
        let privilege = Privileges::named(name).ok_or_else(unknown)?;
        let shown = name.to_uppercase();
        if !columns.is_empty() {
            if kind != ObjectKind::Table {
                let message = "column privileges are only valid for relations";
                return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
            }
            if !ObjectKind::Column.privileges().contains(privilege) {
                let message = format!("invalid privilege type {shown} for column");
                return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
            }
            wanted
                .columns
                .extend(columns.iter().map(|column| (fold(column), privilege)));
            continue;
        }
        if !kind.privileges().contains(privilege) {
            let of_relations = ObjectKind::Table.privileges() | ObjectKind::Sequence.privileges();
            let noun = match kind {
                ObjectKind::Table | ObjectKind::Sequence if !of_relations.contains(privilege) => "relation",
                kind => kind.noun(),
            };
            let message = format!("invalid privilege type {shown} for {noun}");
            return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
        }
        wanted.whole = wanted.whole | privilege;
    }
    Ok(wanted)
}

async fn targets(scope: &Scope<'_>, work: &Work<'_>, asked: &GrantAst) -> Result<Vec<Target>> {
    let (context, objects) = (scope.context, &asked.objects);
    let mut targets = Vec::new();
    match objects {
        GrantObjects::Tables(names) | GrantObjects::Sequences(names) => {
            for name in names {
                let (full, kind) = resolve::existing(context, name)?.ok_or_else(|| resolve::missing(context, name))?;
                if matches!(objects, GrantObjects::Sequences(_)) && kind != RelationKind::Sequence {
                    let message = format!("\"{}\" is not a sequence", full.name);
                    return Err(Error::new(ErrorKind::WrongObjectType, message));
                }
                targets.push(relation(work, &full, kind).await?);
            }
        }
        GrantObjects::AllTables(schemas) | GrantObjects::AllSequences(schemas) => {
            for schema in schemas {
                let schema = schema_named(work, schema)?;
                for (name, kind) in context.snapshot.relations(&context.database, &schema) {
                    let is_sequence = kind == RelationKind::Sequence;
                    if is_sequence == matches!(objects, GrantObjects::AllSequences(_)) {
                        let name = TableName::new(&context.database, &schema, name);
                        targets.push(relation(work, &name, kind).await?);
                    }
                }
            }
        }
        GrantObjects::AllFunctions(schemas) => {
            for schema in schemas {
                schema_named(work, schema)?;
            }
        }
        GrantObjects::Schemas(names) => {
            for name in names {
                let schema = schema_named(work, name)?;
                targets.push(Target {
                    key: AccessKey::Schema(context.database.clone(), schema.clone()),
                    kind: ObjectKind::Schema,
                    name: schema,
                    columns: Vec::new(),
                    is_view: false,
                });
            }
        }
        GrantObjects::Databases(names) => {
            for name in names {
                let name = fold(name);
                if !context.snapshot.has_database(&name) {
                    let message = format!("database \"{name}\" does not exist");
                    return Err(Error::new(ErrorKind::UndefinedDatabase, message));
                }
                targets.push(Target {
                    key: AccessKey::Database(name.clone()),
                    kind: ObjectKind::Database,
                    name,
                    columns: Vec::new(),
                    is_view: false,
                });
            }
        }
        GrantObjects::Functions(noun, names) => {
            for named in names {
                let found = function(work, noun, named)?;
                if !asked.grants && found.is_behind_others() {
                    let message = "REVOKE on functions of operators, casts and types is not supported";
                    return Err(Error::unsupported(message));
                }
                targets.push(Target {
                    key: AccessKey::Function(context.database.clone(), found.oid),
                    kind: ObjectKind::Function,
                    name: found.name.to_owned(),
                    columns: Vec::new(),
                    is_view: false,
                });
            }
        }
        GrantObjects::Others(noun, names) => {
            for name in names {
                check_other(work, noun, name)?;
            }
            let done = if asked.grants { "GRANT" } else { "REVOKE" };
            return Err(Error::unsupported(format!("{done} on such objects is not supported")));
        }
        GrantObjects::Future(_) => return Err(Error::internal("objects to come in a GRANT")),
    }
    Ok(targets)
}

/// The function that is meant: one of PostgreSQL's, as there are no others.
fn function(work: &Work<'_>, noun: &str, named: &FunctionNamed) -> Result<&'static Function> {
    if let Some(error) = resolve::missing_schema(work.context, &named.name) {
        return Err(error);
    }
    let parts = resolve::parts(&named.name)?;
    let (name, shown) = (own_name(&parts), resolve::shown(&named.name));
    let all: Vec<&'static Function> = name.into_iter().flat_map(functions_named).collect();
    let noun = if noun == "procedure" { noun } else { "function" };
    let undefined = |message: String| Error::new(ErrorKind::UndefinedFunction, message);
    let found = match (&named.arguments, all.as_slice()) {
        (None, []) => return Err(undefined(format!("could not find a {noun} named \"{shown}\""))),
        (None, [only]) => only,
        (None, _) => {
            let message = format!("{noun} name \"{shown}\" is not unique");
            return Err(Error::new(ErrorKind::AmbiguousFunction, message)
                .with_hint(format!("Specify the argument list to select the {noun} unambiguously.")));
        }
        (Some(arguments), all) => {
            let types = arguments.iter().map(type_number).collect::<Result<Vec<u32>>>()?;
            let found = all.iter().find(|function| function.arguments == types);
            found.ok_or_else(|| undefined(format!("{noun} {shown}({}) does not exist", signature(&types))))?
        }
    };
    if noun == "procedure" && !found.is_procedure() {
        let message = format!("{}({}) is not a procedure", found.name, signature(&found.arguments));
        return Err(Error::new(ErrorKind::WrongObjectType, message));
    }
    Ok(found)
}

/// The last part of a name that leads to PostgreSQL's own objects.
fn own_name(parts: &[String]) -> Option<&str> {
    match parts {
        [name] => Some(name),
        [schema, name] if schema == "pg_catalog" => Some(name),
        _ => None,
    }
}

/// The number of a type, also of one that no column can have.
fn type_number(ty: &DataType) -> Result<u32> {
    if let DataType::Custom(name, modifiers) = ty
        && modifiers.is_empty()
        && let Some(name) = own_name(&resolve::parts(name)?)
        && let Some(found) = facts::types().iter().find(|known| known.name == name)
    {
        return Ok(found.oid);
    }
    sql_type_of_ast(ty).map(|ty| type_oid(&ty))
}

/// A type, domain or language must be there.
fn check_other(work: &Work<'_>, noun: &str, name: &ObjectName) -> Result<()> {
    let parts = resolve::parts(name)?;
    let own = own_name(&parts);
    let is_there = match noun {
        "language" => {
            let rows = DumpedRows::of("pg_language");
            rows.is_some_and(|rows| (0..rows.len()).any(|row| own == Some(rows.text(row, "lanname"))))
        }
        _ => {
            own.is_some_and(|own| facts::types().iter().any(|ty| ty.name == own)) || {
                let name = DataType::Custom(name.clone(), Vec::new());
                own.is_some() && sql_type_of_ast(&name).is_ok()
            }
        }
    };
    let shown = resolve::shown(name);
    match (is_there, noun) {
        (true, "domain") => {
            let message = format!("\"{shown}\" is not a domain");
            Err(Error::new(ErrorKind::WrongObjectType, message))
        }
        (true, _) => Ok(()),
        (false, noun) => {
            if noun != "language"
                && let Some(error) = resolve::missing_schema(work.context, name)
            {
                return Err(error);
            }
            let noun = if noun == "language" { noun } else { "type" };
            let message = format!("{noun} \"{shown}\" does not exist");
            Err(Error::new(ErrorKind::UndefinedObject, message))
        }
    }
}

fn schema_named(work: &Work<'_>, name: &ObjectName) -> Result<String> {
    let context = work.context;
    let schema = match resolve::parts(name)?.as_slice() {
        [schema] => schema.clone(),
        _ => return Err(resolve::improper(name)),
    };
    if !context.snapshot.has_schema(&context.database, &schema) {
        let message = format!("schema \"{schema}\" does not exist");
        return Err(Error::new(ErrorKind::UndefinedSchema, message));
    }
    Ok(schema)
}

async fn relation(work: &Work<'_>, name: &TableName, kind: RelationKind) -> Result<Target> {
    let snapshot = &work.context.snapshot;
    let gone = || {
        Error::new(
            ErrorKind::UndefinedTable,
            format!("relation \"{}\" does not exist", name.name),
        )
    };
    let id = snapshot.relation_id(name).await?.ok_or_else(gone)?;
    let columns = match kind {
        RelationKind::Table => {
            let table = snapshot.table(name).await?.ok_or_else(gone)?;
            let columns = table.schema().columns.iter();
            columns.map(|column| (column.name.clone(), column.field_id)).collect()
        }
        RelationKind::View => {
            let view = snapshot.view(name).await?.ok_or_else(gone)?;
            view_columns(&view).map(|(id, name)| (name.to_owned(), id)).collect()
        }
        RelationKind::Sequence | RelationKind::Index => Vec::new(),
    };
    Ok(Target {
        key: AccessKey::Relation(id),
        kind: kind.object_kind(),
        name: name.name.clone(),
        columns,
        is_view: kind == RelationKind::View,
    })
}

fn apply(
    work: &mut Work<'_>,
    asked: &GrantAst,
    target: &Target,
    wanted: &Wanted,
    grantees: &[Option<Uuid>],
) -> Result<()> {
    let mut rights = work.rights(&target.key);
    let before = rights.clone();
    if !wanted.whole.is_empty() {
        let acl = rights.acl_of(target.kind);
        let (grantor, allowed) = work.authority.grantable(&rights, &acl, wanted.whole);
        if allowed.is_empty() {
            let any = work.authority.held(&rights, target.kind, target.kind.privileges());
            if any.is_empty() {
                return Err(denied(format!(
                    "permission denied for {} {}",
                    noun(target),
                    target.name
                )));
            }
        }
        let what = format!("\"{}\"", target.name);
        warn_of_missing(work, asked, &what, wanted.all, wanted.whole, allowed);
        let owner = rights.owner;
        rights.acl = Some(changed(acl, asked, grantees, grantor, allowed, owner)?);
        // What is taken from the whole is taken from its columns.
        if !asked.grants {
            for acl in rights.columns.values_mut() {
                *acl = changed(acl.clone(), asked, grantees, grantor, allowed, owner)?;
            }
        }
    }
    for (column, privileges) in &wanted.columns {
        let known = target.columns.iter().find(|(name, _)| name == column);
        let (_, id) = known.ok_or_else(|| {
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", target.name);
            Error::new(ErrorKind::UndefinedColumn, message)
        })?;
        let acl = rights.columns.get(id).cloned().unwrap_or_default();
        // Who may grant on the table may on its columns.
        let (on_table, by_table) = work
            .authority
            .grantable(&rights, &rights.acl_of(ObjectKind::Table), *privileges);
        let (on_column, by_column) = work.authority.grantable(&rights, &acl, *privileges);
        let (grantor, allowed) = match by_table == *privileges {
            true => (on_table, by_table),
            false => (on_column, by_column),
        };
        if allowed.is_empty() && !work.authority.may_with_column(&rights, *id, *privileges) {
            return Err(denied(format!(
                "permission denied for {} {}",
                noun(target),
                target.name
            )));
        }
        let what = format!("column \"{column}\" of relation \"{}\"", target.name);
        warn_of_missing(work, asked, &what, wanted.all, *privileges, allowed);
        let acl = changed(acl, asked, grantees, grantor, allowed, rights.owner)?;
        rights.columns.insert(*id, acl);
    }
    rights.columns.retain(|_, acl| !acl.is_empty());
    if rights != before {
        work.set_rights(target.key.clone(), rights);
    }
    Ok(())
}

fn noun(target: &Target) -> &'static str {
    if target.is_view { "view" } else { target.kind.noun() }
}

fn warn_of_missing(
    work: &mut Work<'_>,
    asked: &GrantAst,
    what: &str,
    all: bool,
    wanted: Privileges,
    allowed: Privileges,
) {
    let (done, code) = match asked.grants {
        true => ("were granted", "01007"),
        false => ("could be revoked", "01006"),
    };
    if allowed.is_empty() {
        work.warn(code, format!("no privileges {done} for {what}"));
    } else if !all && allowed != wanted {
        work.warn(code, format!("not all privileges {done} for {what}"));
    }
}

/// The list with what is granted, or without what is taken back.
fn changed(
    mut acl: Acl,
    asked: &GrantAst,
    grantees: &[Option<Uuid>],
    grantor: Uuid,
    privileges: Privileges,
    owner: Uuid,
) -> Result<Acl> {
    for grantee in grantees {
        match asked.grants {
            true => {
                if asked.option && would_circle(&acl, *grantee, grantor, owner) {
                    let message = "grant options cannot be granted back to your own grantor";
                    return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
                }
                let grantable = if asked.option { privileges } else { Privileges::NONE };
                acl.grant(*grantee, grantor, privileges, grantable);
            }
            false => {
                if !acl.revoke(*grantee, grantor, privileges, asked.option, owner, asked.cascade) {
                    let message = "dependent privileges exist";
                    return Err(
                        Error::new(ErrorKind::DependentObjects, message).with_hint("Use CASCADE to revoke them too.")
                    );
                }
            }
        }
    }
    Ok(acl)
}

/// Whether the grantor has its right to grant, directly or not, from the grantee.
fn would_circle(acl: &Acl, grantee: Option<Uuid>, grantor: Uuid, owner: Uuid) -> bool {
    let Some(grantee) = grantee else { return false };
    let mut seen = std::collections::BTreeSet::from([grantor]);
    let mut open = vec![grantor];
    while let Some(next) = open.pop() {
        if next == owner {
            continue;
        }
        if next == grantee {
            return true;
        }
        let givers = acl
            .items()
            .filter(|item| item.grantee == Some(next) && !item.grantable.is_empty());
        open.extend(givers.map(|item| item.grantor).filter(|giver| seen.insert(*giver)));
    }
    false
}

/// `ALTER DEFAULT PRIVILEGES`
pub(super) fn defaults(work: &mut Work<'_>, roles: &[RoleName], schemas: &[Ident], asked: &GrantAst) -> Result<()> {
    let GrantObjects::Future(kind) = asked.objects else {
        return Err(Error::internal("objects in ALTER DEFAULT PRIVILEGES"));
    };
    if !schemas.is_empty() && kind == ObjectKind::Schema {
        let message = "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS";
        return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
    }
    let owners = match roles.is_empty() {
        true => vec![work.own()?],
        false => roles.iter().map(|role| work.role(role)).collect::<Result<_>>()?,
    };
    let grantees = grantees(work, asked)?;
    let wanted = wanted(asked, kind)?;
    if !wanted.columns.is_empty() {
        let message = "default privileges cannot be set for columns";
        return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
    }
    let context = work.context;
    let schemas: Vec<Option<String>> = match schemas.is_empty() {
        true => vec![None],
        false => schemas.iter().map(|schema| Some(fold(schema))).collect(),
    };
    for owner in owners {
        if !work.authority.has_privileges_of(owner.id) {
            return Err(denied("permission denied to change default privileges"));
        }
        for schema in &schemas {
            if let Some(schema) = schema
                && !context.snapshot.has_schema(&context.database, schema)
            {
                let message = format!("schema \"{schema}\" does not exist");
                return Err(Error::new(ErrorKind::UndefinedSchema, message));
            }
            let key = AccessKey::Default(owner.id, context.database.clone(), schema.clone(), kind);
            // For a schema the list holds what is added there; for the database all there is.
            let plain = match schema {
                Some(_) => Acl::default(),
                None => Rights {
                    owner: owner.id,
                    ..Rights::default()
                }
                .acl_of(kind),
            };
            let acl = work.access.default_of(&key).cloned().unwrap_or_else(|| plain.clone());
            let acl = changed(acl, asked, &grantees, owner.id, wanted.whole, owner.id)?;
            let acl = (!acl.says_what(&plain)).then_some(acl);
            work.plan.edits.push(AccessEdit::Default(key, acl));
        }
    }
    Ok(())
}
