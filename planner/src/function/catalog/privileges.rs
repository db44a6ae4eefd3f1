//! `has_table_privilege` and its like: the same answers that statements get.

use staffa_catalog::{AccessKey, Authority, ObjectKind, Privileges, Rights};

use super::answers::{oid, text};
use super::{Answer, Asked};
use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::policies::security_of;
use crate::pg_catalog::roles::kind_of;
use crate::pg_catalog::{Relation, function, is_hidden};

const GRANT_OPTION: &str = " WITH GRANT OPTION";

/// The privileges a text lists, each with whether it may be granted on: one that is held is enough.
fn listed(text: &str, known: Privileges, others: &[&str]) -> Result<Vec<(Privileges, bool)>> {
    let mut wanted = Vec::new();
    for word in text.split(',').map(str::trim) {
        let upper = word.to_uppercase();
        let (bare, option) = match upper.strip_suffix(GRANT_OPTION) {
            Some(bare) => (bare, true),
            None => (upper.as_str(), false),
        };
        let privilege = Privileges::named(&bare.to_lowercase()).filter(|it| known.contains(*it));
        match privilege {
            Some(privilege) => wanted.push((privilege, option)),
            // What has no meaning any more nobody has.
            None if others.contains(&bare) => {}
            None => {
                let message = format!("unrecognized privilege type: \"{word}\"");
                return Err(Error::new(ErrorKind::InvalidParameterValue, message));
            }
        }
    }
    Ok(wanted)
}

/// What the role may do that the question is about; the one that asks, when it names none.
fn authority(asked: &Asked<'_>, grantee: Option<u32>) -> Result<Authority> {
    let roles = &asked.catalog.roles;
    match grantee {
        None => Ok(roles.authority.clone()),
        // PUBLIC
        Some(0) => Ok(Authority::default()),
        Some(oid) => match roles.role(oid) {
            Some(role) => Ok(roles.access.authority(&role.name, &asked.catalog.image.database.name)),
            None => Err(Error::new(
                ErrorKind::UndefinedObject,
                format!("role with OID {oid} does not exist"),
            )),
        },
    }
}

fn holds(authority: &Authority, rights: &Rights, kind: ObjectKind, wanted: &[(Privileges, bool)]) -> bool {
    let acl = rights.acl_of(kind);
    wanted.iter().any(|(privilege, option)| match option {
        true => authority.grantable(rights, &acl, *privilege).1 == *privilege,
        false => authority.may(rights, kind, *privilege),
    })
}

/// A relation of users, or one of the system, which everybody may read.
enum Found<'a> {
    Own(&'a Relation),
    System { hidden: bool },
}

fn relation<'a>(asked: &'a Asked<'_>, number: u32) -> Option<Found<'a>> {
    if let Some(relation) = asked.catalog.image.relation(number) {
        return Some(Found::Own(relation));
    }
    let (_, name) = asked.catalog.relation_parts(number)?;
    Some(Found::System {
        hidden: is_hidden(&name),
    })
}

fn on_relation(asked: &Asked<'_>, grantee: Option<u32>, given: &[Answer], columns_too: bool) -> Result<Answer> {
    let known = ObjectKind::Table.privileges() | ObjectKind::Sequence.privileges();
    let wanted = listed(text(given, 1), known, &["RULE"])?;
    let authority = authority(asked, grantee)?;
    Ok(match relation(asked, oid(given, 0)) {
        None => Answer::Null,
        Some(Found::System { hidden }) => system(&authority, &wanted, hidden),
        Some(Found::Own(relation)) => {
            let rights = asked.catalog.roles.of_relation(relation);
            let column = |id: &i32| on_column_of(&authority, &rights, *id, &wanted);
            let mut columns = relation.column_numbers.keys();
            Answer::Bool(holds(&authority, &rights, kind_of(relation), &wanted) || (columns_too && columns.any(column)))
        }
    })
}

fn system(authority: &Authority, wanted: &[(Privileges, bool)], hidden: bool) -> Answer {
    let reads = wanted.contains(&(Privileges::SELECT, false)) && !hidden;
    Answer::Bool(authority.is_superuser() || reads)
}

fn on_column_of(authority: &Authority, rights: &Rights, id: i32, wanted: &[(Privileges, bool)]) -> bool {
    let acl = rights.columns.get(&id).cloned().unwrap_or_default();
    wanted.iter().any(|(privilege, option)| match option {
        true => authority.grantable(rights, &acl, *privilege).1 == *privilege,
        false => authority.may_with_column(rights, id, *privilege),
    })
}

/// `row_security_active`: whether row policies bind who asks.
pub(super) fn row_security(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let relation = match relation(asked, oid(given, 0)) {
        None => return Ok(Answer::Null),
        Some(Found::System { .. }) => return Ok(Answer::Bool(false)),
        Some(Found::Own(relation)) => relation,
    };
    let roles = &asked.catalog.roles;
    let owns = roles.authority.owns(&roles.of_relation(relation));
    let security = security_of(asked.catalog, relation);
    let binds = security.is_some_and(|security| security.enabled && (!owns || security.forced));
    Ok(Answer::Bool(binds && !roles.authority.bypasses_policies()))
}

pub(super) fn relation_privilege(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_relation(asked, None, given, false)
}

pub(super) fn relation_privilege_of(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_relation(asked, Some(oid(given, 0)), &given[1..], false)
}

pub(super) fn any_column_privilege(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_relation(asked, None, given, true)
}

pub(super) fn any_column_privilege_of(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_relation(asked, Some(oid(given, 0)), &given[1..], true)
}

fn on_column(asked: &Asked<'_>, grantee: Option<u32>, given: &[Answer]) -> Result<Answer> {
    let wanted = listed(text(given, 2), ObjectKind::Column.privileges(), &[])?;
    let authority = authority(asked, grantee)?;
    let relation = match relation(asked, oid(given, 0)) {
        None => return Ok(Answer::Null),
        Some(Found::System { hidden }) => return Ok(system(&authority, &wanted, hidden)),
        Some(Found::Own(relation)) => relation,
    };
    let found = relation.columns.iter().find(|column| match given.get(1) {
        Some(Answer::Int(number)) => i32::from(column.number) == *number,
        Some(Answer::Text(name)) => column.name == *name,
        _ => false,
    });
    let Some(column) = found else {
        return match given.get(1) {
            Some(Answer::Text(name)) => {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
                Err(Error::new(ErrorKind::UndefinedColumn, message))
            }
            _ => Ok(Answer::Null),
        };
    };
    let rights = asked.catalog.roles.of_relation(relation);
    if holds(&authority, &rights, kind_of(relation), &wanted) {
        return Ok(Answer::Bool(true));
    }
    let mut ids = relation.column_numbers.iter();
    let id = ids.find(|(_, number)| **number == column.number).map(|(id, _)| *id);
    Ok(Answer::Bool(
        id.is_some_and(|id| on_column_of(&authority, &rights, id, &wanted)),
    ))
}

pub(super) fn column_privilege(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_column(asked, None, given)
}

pub(super) fn column_privilege_of(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_column(asked, Some(oid(given, 0)), &given[1..])
}

fn on_schema(asked: &Asked<'_>, grantee: Option<u32>, given: &[Answer]) -> Result<Answer> {
    let wanted = listed(text(given, 1), ObjectKind::Schema.privileges(), &[])?;
    let authority = authority(asked, grantee)?;
    let image = &asked.catalog.image;
    let number = oid(given, 0);
    let Some(name) = image.schema(number) else {
        return Ok(Answer::Null);
    };
    if !image.schemas.iter().any(|schema| schema.oid == number) {
        let uses = wanted.contains(&(Privileges::USAGE, false));
        return Ok(Answer::Bool(authority.is_superuser() || uses));
    }
    let rights = asked.catalog.roles.of_schema(&image.database.name, &name);
    Ok(Answer::Bool(holds(&authority, &rights, ObjectKind::Schema, &wanted)))
}

pub(super) fn schema_privilege(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_schema(asked, None, given)
}

pub(super) fn schema_privilege_of(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_schema(asked, Some(oid(given, 0)), &given[1..])
}

fn on_database(asked: &Asked<'_>, grantee: Option<u32>, given: &[Answer]) -> Result<Answer> {
    let wanted = listed(text(given, 1), ObjectKind::Database.privileges(), &[])?;
    let authority = authority(asked, grantee)?;
    let mut databases = asked.catalog.image.databases.iter();
    let found = match given.first() {
        Some(Answer::Text(name)) => {
            let found = databases.find(|database| database.name == *name);
            Some(found.ok_or_else(|| {
                let message = format!("database \"{name}\" does not exist");
                Error::new(ErrorKind::UndefinedDatabase, message)
            })?)
        }
        _ => databases.find(|database| database.oid == oid(given, 0)),
    };
    let Some(database) = found else {
        return Ok(Answer::Null);
    };
    let rights = asked.catalog.roles.of_database(&database.name);
    Ok(Answer::Bool(holds(&authority, &rights, ObjectKind::Database, &wanted)))
}

pub(super) fn database_privilege(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_database(asked, None, given)
}

pub(super) fn database_privilege_of(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_database(asked, Some(oid(given, 0)), &given[1..])
}

fn on_function(asked: &Asked<'_>, grantee: Option<u32>, given: &[Answer]) -> Result<Answer> {
    let wanted = listed(text(given, 1), ObjectKind::Function.privileges(), &[])?;
    let authority = authority(asked, grantee)?;
    let number = oid(given, 0);
    if function(number).is_none() {
        return Ok(Answer::Null);
    }
    let key = AccessKey::Function(asked.catalog.image.database.name.clone(), number);
    let rights = asked.catalog.roles.access.rights(&key);
    Ok(Answer::Bool(holds(&authority, &rights, ObjectKind::Function, &wanted)))
}

pub(super) fn function_privilege(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_function(asked, None, given)
}

pub(super) fn function_privilege_of(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_function(asked, Some(oid(given, 0)), &given[1..])
}

/// On types and languages, of which all are PostgreSQL's own: everybody may use them.
pub(super) fn open_to_all(given: &[Answer]) -> Result<Answer> {
    let wanted = listed(text(given, given.len() - 1), Privileges::USAGE, &[])?;
    Ok(Answer::Bool(wanted.iter().any(|(_, option)| !option)))
}

pub(super) fn tablespace_privilege(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    listed(text(given, given.len() - 1), Privileges::CREATE, &[])?;
    Ok(Answer::Bool(asked.catalog.roles.authority.is_superuser()))
}

fn on_role(asked: &Asked<'_>, member: Option<u32>, given: &[Answer]) -> Result<Answer> {
    let roles = &asked.catalog.roles;
    let gone = |oid: u32| {
        let message = format!("role with OID {oid} does not exist");
        Error::new(ErrorKind::UndefinedObject, message)
    };
    let member = match member {
        Some(number) => roles.role(number).ok_or_else(|| gone(number))?,
        None => match roles.access.role(&roles.user.name) {
            Some(role) => role,
            None => return Ok(Answer::Bool(false)),
        },
    };
    let group = roles.role(oid(given, 0)).ok_or_else(|| gone(oid(given, 0)))?;
    let mut found = false;
    for word in text(given, 1).split(',').map(str::trim) {
        let upper = word.to_uppercase();
        found |= match upper.as_str() {
            "MEMBER" => roles.access.is_member(member, group.id),
            "USAGE" => roles
                .access
                .authority(&member.name, &asked.catalog.image.database.name)
                .has_privileges_of(group.id),
            "MEMBER WITH ADMIN OPTION"
            | "MEMBER WITH GRANT OPTION"
            | "USAGE WITH ADMIN OPTION"
            | "USAGE WITH GRANT OPTION" => roles.access.is_admin(member, group.id),
            _ => {
                let message = format!("unrecognized privilege type: \"{word}\"");
                return Err(Error::new(ErrorKind::InvalidParameterValue, message));
            }
        };
    }
    Ok(Answer::Bool(found))
}

pub(super) fn has_role(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_role(asked, None, given)
}

pub(super) fn has_role_of(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    on_role(asked, Some(oid(given, 0)), &given[1..])
}
