//! Whose objects are: `ALTER … OWNER TO`, `REASSIGN OWNED`, `DROP OWNED`.

use staffa_catalog::{AccessKey, ObjectKind, Privileges, RelationKind, Rights, Role, TableName};

use super::role::relations_by_id;
use super::{AccessEdit, Work, denied};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{Owned, RoleName};
use crate::resolve::{self, fold, parts};
use crate::statement::query::Scope;
use crate::statement::{alter, materialized};

pub(super) async fn change(
    scope: &Scope<'_>,
    work: &mut Work<'_>,
    object: &Owned,
    if_exists: bool,
    to: &RoleName,
) -> Result<()> {
    let context = scope.context;
    let new = work.role(to)?;
    match object {
        Owned::Relation(name, what) => {
            let Some((full, kind)) = resolve::existing(context, name)? else {
                if !if_exists {
                    return Err(resolve::missing(scope.context, name));
                }
                work.notice(resolve::skipped(name));
                return Ok(());
            };
            if let Some(wanted) = alter::wanted(*what)
                && materialized::noun(context, &full, kind).await? != wanted
            {
                return Err(alter::wrong_type(&full, wanted));
            }
            if kind == RelationKind::Index {
                let message = format!("cannot change owner of index \"{}\"", full.name);
                return Err(Error::new(ErrorKind::WrongObjectType, message)
                    .with_hint("Change the ownership of the index's table instead."));
            }
            relation(work, &full, kind, &new).await
        }
        Owned::Schema(name) => {
            let [schema] = parts(name)?.try_into().map_err(|_| resolve::improper(name))?;
            if !context.snapshot.has_schema(&context.database, &schema) {
                let message = format!("schema \"{schema}\" does not exist");
                return Err(Error::new(ErrorKind::UndefinedSchema, message));
            }
            let key = AccessKey::Schema(context.database.clone(), schema.clone());
            check_owner(work, &key, ObjectKind::Schema.noun(), &schema)?;
            check_may_become(work, &new)?;
            check_may_create_in_database(work)?;
            give(work, key, &new);
            Ok(())
        }
        Owned::Database(name) => {
            let name = fold(name);
            if !context.snapshot.has_database(&name) {
                let message = format!("database \"{name}\" does not exist");
                return Err(Error::new(ErrorKind::UndefinedDatabase, message));
            }
            let key = AccessKey::Database(name.clone());
            check_owner(work, &key, ObjectKind::Database.noun(), &name)?;
            check_may_become(work, &new)?;
            let own = work.own()?;
            if !own.superuser && !own.createdb {
                return Err(denied("permission denied to change owner of database"));
            }
            give(work, key, &new);
            Ok(())
        }
    }
}

async fn relation(work: &mut Work<'_>, name: &TableName, kind: RelationKind, new: &Role) -> Result<()> {
    let snapshot = &work.context.snapshot;
    let Some(id) = snapshot.relation_id(name).await? else {
        return Err(Error::internal("a relation without an id"));
    };
    let key = AccessKey::Relation(id);
    let noun = match kind {
        RelationKind::Table => "table",
        RelationKind::View => "view",
        RelationKind::Sequence => "sequence",
        RelationKind::Index => "index",
    };
    if kind == RelationKind::Sequence
        && snapshot
            .sequence(name)?
            .is_some_and(|sequence| sequence.owner.is_some())
        && work.rights(&key).owner != new.id
    {
        return Err(
            Error::unsupported("cannot change owner of sequence \"{}\"".replace("{}", &name.name))
                .with_detail(format!("Sequence \"{}\" is linked to a table.", name.name)),
        );
    }
    check_owner(work, &key, noun, &name.name)?;
    if work.rights(&key).owner == new.id {
        return Ok(());
    }
    check_may_become(work, new)?;
    if !work.authority.is_superuser() {
        // The new owner must be able to have made it where it is.
        let schema = AccessKey::Schema(name.database.clone(), name.schema.clone());
        let may = work.access.authority_with_id(new.id, &work.context.database);
        if !may.may(&work.access.rights(&schema), ObjectKind::Schema, Privileges::CREATE) {
            return Err(denied(format!("permission denied for schema {}", name.schema)));
        }
    }
    give(work, key, new);
    // The sequences of its columns go with it.
    if kind == RelationKind::Table {
        for (_, sequence) in snapshot.sequences_of(&name.database, &name.schema, id)? {
            give(work, AccessKey::Relation(sequence.id), new);
        }
    }
    Ok(())
}

fn give(work: &mut Work<'_>, key: AccessKey, new: &Role) {
    let rights = work.rights(&key).owned_by(new.id);
    work.set_rights(key, rights);
}

fn check_owner(work: &Work<'_>, key: &AccessKey, noun: &str, name: &str) -> Result<()> {
    match work.authority.owns(&work.rights(key)) {
        true => Ok(()),
        false => Err(denied(format!("must be owner of {noun} {name}"))),
    }
}

pub(super) fn check_may_become(work: &Work<'_>, new: &Role) -> Result<()> {
    match work.access.is_member(&work.own()?, new.id) {
        true => Ok(()),
        false => Err(denied(format!("must be member of role \"{}\"", new.name))),
    }
}

fn check_may_create_in_database(work: &Work<'_>) -> Result<()> {
    let database = &work.context.database;
    let rights = work.access.rights(&AccessKey::Database(database.clone()));
    match work.authority.may(&rights, ObjectKind::Database, Privileges::CREATE) {
        true => Ok(()),
        false => Err(denied(format!("permission denied for database {database}"))),
    }
}

/// Whether the role may dispose of what these roles own.
fn owned_roles(work: &Work<'_>, roles: &[RoleName], what: &str) -> Result<Vec<Role>> {
    let roles = roles.iter().map(|role| work.role(role)).collect::<Result<Vec<_>>>()?;
    for role in &roles {
        if !work.authority.has_privileges_of(role.id) {
            return Err(denied(format!("permission denied to {what} objects")));
        }
        if role.is_first() {
            let message = format!(
                "cannot {what} objects owned by role {} because they are required by the database system",
                role.name
            );
            return Err(Error::new(ErrorKind::DependentObjects, message));
        }
    }
    Ok(roles)
}

pub(super) fn reassign(work: &mut Work<'_>, roles: &[RoleName], to: &RoleName) -> Result<()> {
    let from = owned_roles(work, roles, "reassign")?;
    let to = work.role(to)?;
    if !work.authority.has_privileges_of(to.id) {
        return Err(denied("permission denied to reassign objects"));
    }
    let owned: Vec<(AccessKey, Rights)> = work
        .access
        .all_rights()
        .filter(|(_, rights)| from.iter().any(|role| role.id == rights.owner))
        .map(|(key, rights)| (key.clone(), rights.clone()))
        .collect();
    for (key, rights) in owned {
        work.set_rights(key, rights.owned_by(to.id));
    }
    Ok(())
}

/// Drops what roles own in this database, and forgets what they were granted in it.
pub(super) async fn drop(work: &mut Work<'_>, roles: &[RoleName], cascade: bool) -> Result<()> {
    let roles = owned_roles(work, roles, "drop")?;
    let context = work.context;
    let relations = relations_by_id(work).await?;
    let is_one = |owner| roles.iter().any(|role| role.id == owner);
    let all: Vec<(AccessKey, Rights)> = work
        .access
        .all_rights()
        .map(|(key, rights)| (key.clone(), rights.clone()))
        .collect();
    let mut schemas = Vec::new();
    for (key, rights) in all {
        if is_one(rights.owner) {
            match &key {
                AccessKey::Relation(id) => {
                    let known = relations.iter().find(|(known, ..)| known == id);
                    if let Some((_, name, _)) = known.filter(|(_, name, _)| name.database == context.database) {
                        work.plan.edits.push(AccessEdit::DropRelation(name.clone()));
                    }
                }
                AccessKey::Schema(database, schema) if *database == context.database => schemas.push(schema.clone()),
                // Databases are nobody's to drop this way.
                _ => {}
            }
            continue;
        }
        let is_here = match &key {
            AccessKey::Relation(id) => {
                let known = relations.iter().find(|(known, ..)| known == id);
                known.is_none_or(|(_, name, _)| name.database == context.database)
            }
            AccessKey::Schema(database, _) | AccessKey::Database(database) | AccessKey::Function(database, _) => {
                *database == context.database
            }
            AccessKey::Role(_)
            | AccessKey::Default(..)
            | AccessKey::Security(_)
            | AccessKey::Mask(..)
            | AccessKey::Settings(_) => false,
        };
        if !is_here || !roles.iter().any(|role| rights.names(role.id)) {
            continue;
        }
        let mut without = rights;
        for role in &roles {
            without.acl = without.acl.map(|acl| acl.without(role.id, without.owner));
            for acl in without.columns.values_mut() {
                *acl = acl.without(role.id, without.owner);
            }
        }
        without.columns.retain(|_, acl| !acl.is_empty());
        work.set_rights(key, without);
    }
    for (table, security) in work.access.all_security() {
        let here = relations
            .iter()
            .find(|(known, name, _)| *known == table && name.database == context.database);
        if here.is_none() || !roles.iter().any(|role| security.names(role.id)) {
            continue;
        }
        let mut without = security.clone();
        without.policies.retain(|_, policy| {
            let bound_all = policy.roles.is_empty();
            policy.roles.retain(|role| !is_one(*role));
            // One for nobody any more must not become one for everybody.
            bound_all || !policy.roles.is_empty()
        });
        without.masks.retain(|mask| !mask.role.is_some_and(is_one));
        work.plan.edits.push(AccessEdit::Security(table, without));
    }
    for schema in schemas {
        let others = context
            .snapshot
            .relations(&context.database, &schema)
            .into_iter()
            .any(|(name, _)| {
                let full = TableName::new(&context.database, &schema, name);
                let dropped = work.plan.edits.iter();
                !dropped
                    .into_iter()
                    .any(|edit| matches!(edit, AccessEdit::DropRelation(name) if *name == full))
            });
        if others && !cascade {
            let message = "cannot drop desired object(s) because other objects depend on them";
            return Err(Error::new(ErrorKind::DependentObjects, message)
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        let database = context.database.clone();
        work.plan.edits.push(AccessEdit::DropSchema { database, schema });
    }
    let defaults: Vec<_> = work
        .access
        .defaults()
        .map(|(key, acl)| (key.clone(), acl.clone()))
        .collect();
    for (key, acl) in defaults {
        let AccessKey::Default(of, database, ..) = &key else {
            continue;
        };
        if *database != context.database {
            continue;
        }
        let (of, before) = (*of, acl.clone());
        let after = match is_one(of) {
            true => None,
            false => Some(roles.iter().fold(acl, |acl, role| acl.without(role.id, of))),
        };
        if after.as_ref() != Some(&before) {
            work.plan.edits.push(AccessEdit::Default(key, after));
        }
    }
    Ok(())
}
