//! Roles and memberships.

use std::collections::BTreeMap;

use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Ident;
use staffa_catalog::{AccessKey, Membership, RelationKind, Role, SqlType, TableName, quote_identifier};
use uuid::Uuid;

use super::{AccessEdit, Work, denied, undefined_role};
use crate::checks::signature;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{Password, RoleName, RoleOption, SettingChange};
use crate::pg_catalog::function;
use crate::resolve::fold;
use crate::scram;
use crate::settings::is_for_superusers;
use crate::statement::dependents::short_name;
use crate::value::{ByteaOutput, DateOrder, Format, FormatSettings, decode_scalar};

/// Dependents a message names.
const NAMED_MAX: usize = 100;

pub(super) fn create(work: &mut Work<'_>, name: &RoleName, options: &[RoleOption], user: bool) -> Result<()> {
    let name = new_name(name)?;
    let asks = |wanted: fn(&RoleOption) -> bool| options.iter().any(wanted);
    let own = work.own()?;
    if !own.superuser {
        let refused = [
            (
                asks(|option| matches!(option, RoleOption::Superuser(true))),
                "must be superuser to create superusers",
            ),
            (
                asks(|option| matches!(option, RoleOption::Replication(true))),
                "must be superuser to create replication users",
            ),
            (
                asks(|option| matches!(option, RoleOption::BypassRls(true))),
                "must be superuser to create bypassrls users",
            ),
            (!own.createrole, "permission denied to create role"),
        ];
        if let Some((_, message)) = refused.into_iter().find(|(is, _)| *is) {
            return Err(denied(message));
        }
    }
    if work.access.role(&name).is_some() {
        let message = format!("role \"{name}\" already exists");
        return Err(Error::new(ErrorKind::DuplicateObject, message));
    }
    let mut role = Role::new(&name);
    role.login = user;
    set_options(work, &mut role, options)?;
    let id = role.id;
    for option in options {
        if let RoleOption::MemberOf(groups) = option {
            for group in groups {
                let group = work.role(group)?;
                check_may_admit(work, &own, &group)?;
                let grantor = own.id;
                role.member_of.insert(group.id, Membership { grantor, admin: false });
            }
        }
    }
    let member_of: Vec<Uuid> = role.member_of.keys().copied().collect();
    work.plan.edits.push(AccessEdit::CreateRole(role.clone()));
    work.roles.insert(id, role);
    for option in options {
        let RoleOption::Members(members, admin) = option else {
            continue;
        };
        for member in members {
            let mut member = work.role(member)?;
            let groups = member_of.iter().copied();
            check_may_be_member(&member)?;
            if member.id == id
                || groups
                    .into_iter()
                    .any(|group| work.access.roles_of(group, false).contains(&member.id))
            {
                let message = format!("role \"{name}\" is a member of role \"{}\"", member.name);
                return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
            }
            let membership = Membership {
                grantor: own.id,
                admin: *admin,
            };
            member.member_of.insert(id, membership);
            work.set_role(member.name.clone(), member);
        }
    }
    Ok(())
}

pub(super) fn alter(work: &mut Work<'_>, name: &RoleName, options: &[RoleOption]) -> Result<()> {
    let mut role = work.role(name)?;
    let own = work.own()?;
    let asks = |wanted: fn(&RoleOption) -> bool| options.iter().any(wanted);
    if !own.superuser {
        let only_password =
            options.iter().all(|option| matches!(option, RoleOption::Password(_))) && !options.is_empty();
        let refused = [
            (
                role.superuser || asks(|option| matches!(option, RoleOption::Superuser(_))),
                "must be superuser to alter superuser roles or change superuser attribute",
            ),
            (
                role.replication || asks(|option| matches!(option, RoleOption::Replication(_))),
                "must be superuser to alter replication roles or change replication attribute",
            ),
            (
                asks(|option| matches!(option, RoleOption::BypassRls(_))),
                "must be superuser to change bypassrls attribute",
            ),
            (
                !(own.createrole || (only_password && role.id == own.id)),
                "permission denied",
            ),
        ];
        if let Some((_, message)) = refused.into_iter().find(|(is, _)| *is) {
            return Err(denied(message));
        }
    }
    if role.is_first() && asks(|option| matches!(option, RoleOption::Superuser(false))) {
        let message = "the first role must stay a superuser";
        return Err(Error::unsupported(message).with_detail("What no other role owns is its own."));
    }
    set_options(work, &mut role, options)?;
    work.set_role(role.name.clone(), role);
    Ok(())
}

fn set_options(work: &mut Work<'_>, role: &mut Role, options: &[RoleOption]) -> Result<()> {
    for option in options {
        match option {
            RoleOption::Superuser(is) => role.superuser = *is,
            RoleOption::Inherit(is) => role.inherit = *is,
            RoleOption::CreateRole(is) => role.createrole = *is,
            RoleOption::CreateDb(is) => role.createdb = *is,
            RoleOption::Login(is) => role.login = *is,
            RoleOption::Replication(is) => role.replication = *is,
            RoleOption::BypassRls(is) => role.bypassrls = *is,
            RoleOption::ConnectionLimit(limit) => {
                let valid = i32::try_from(*limit).ok().filter(|limit| *limit >= -1);
                role.connection_limit = valid.ok_or_else(|| {
                    let message = format!("invalid connection limit: {limit}");
                    Error::new(ErrorKind::InvalidParameterValue, message)
                })?;
            }
            RoleOption::Password(password) => role.verifier = verifier(work, &role.name, password.as_ref())?,
            RoleOption::ValidUntil(text) => role.valid_until = Some(moment(work, text)?),
            RoleOption::MemberOf(_) | RoleOption::Members(..) => {}
        }
    }
    Ok(())
}

/// A `timestamptz` in microseconds since 1970 UTC.
fn moment(work: &Work<'_>, text: &str) -> Result<i64> {
    let settings = FormatSettings::new(&work.context.time_zone, DateOrder::Mdy, ByteaOutput::Hex, 1)?;
    let value = decode_scalar(Some(text.as_bytes()), &SqlType::TimestampTz, Format::Text, &settings)?;
    match value {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Ok(micros),
        _ => Err(Error::internal("a moment of another type")),
    }
}

/// What is kept of a password.
fn verifier(work: &mut Work<'_>, role: &str, password: Option<&Password>) -> Result<Option<String>> {
    let Some(Password(password)) = password else {
        return Ok(None);
    };
    if password.is_empty() {
        work.notice("empty string is not a valid password, clearing password".to_owned());
        return Ok(None);
    }
    if scram::is_verifier(password) {
        return Ok(Some(password.clone()));
    }
    let is_md5 = password
        .strip_prefix("md5")
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|it| it.is_ascii_hexdigit()));
    if is_md5 {
        return Err(Error::unsupported("MD5 passwords are not supported")
            .with_hint("Give the password itself, or its SCRAM-SHA-256 verifier."));
    }
    check_password(work.context.password_min_length, role, password)?;
    Ok(Some(scram::scram_verifier(password)))
}

/// The rules of PostgreSQL's `passwordcheck`, where passwords must have some length.
fn check_password(min_length: usize, role: &str, password: &str) -> Result<()> {
    let wrong = |message: &str| Err(Error::new(ErrorKind::InvalidParameterValue, message));
    if min_length == 0 {
        return Ok(());
    }
    if password.chars().count() < min_length {
        return wrong("password is too short");
    }
    if password.contains(role) {
        return wrong("password must not contain user name");
    }
    if password.chars().all(char::is_alphabetic) || !password.chars().any(char::is_alphabetic) {
        return wrong("password must contain both letters and nonletters");
    }
    Ok(())
}

/// A name that a role may get.
fn new_name(name: &RoleName) -> Result<String> {
    let reserved = |name: &str| Error::new(ErrorKind::ReservedName, format!("role name \"{name}\" is reserved"));
    match name {
        RoleName::Public => Err(reserved("public")),
        RoleName::CurrentUser | RoleName::SessionUser => {
            let message = "CURRENT_USER or SESSION_USER cannot be used as a role name here";
            Err(Error::new(ErrorKind::ReservedName, message))
        }
        RoleName::Named(name) if name == "public" || name == "none" => Err(reserved(name)),
        RoleName::Named(name) if name.starts_with("pg_") => {
            Err(reserved(name).with_detail("Role names starting with \"pg_\" are reserved."))
        }
        RoleName::Named(name) => Ok(name.clone()),
    }
}

pub(super) fn rename(work: &mut Work<'_>, name: &RoleName, to: &RoleName) -> Result<()> {
    let mut role = work.role(name)?;
    let is_session = role.name == work.context.session_user || role.name == work.context.login_user;
    if is_session || role.name == work.context.user {
        let who = if is_session { "session" } else { "current" };
        return Err(Error::unsupported(format!("{who} user cannot be renamed")));
    }
    let to = new_name(to)?;
    if work.access.role(&to).is_some() {
        let message = format!("role \"{to}\" already exists");
        return Err(Error::new(ErrorKind::DuplicateObject, message));
    }
    let own = work.own()?;
    if role.superuser && !own.superuser {
        return Err(denied("must be superuser to rename superusers"));
    }
    if !own.superuser && !own.createrole {
        return Err(denied("permission denied to rename role"));
    }
    if role.is_first() {
        return Err(Error::unsupported("the first role cannot be renamed"));
    }
    let before = std::mem::replace(&mut role.name, to);
    work.set_role(before, role);
    Ok(())
}

pub(super) fn setting(
    work: &mut Work<'_>,
    role: Option<&RoleName>,
    database: Option<&Ident>,
    change: &SettingChange,
) -> Result<()> {
    let database = database.map(fold).unwrap_or_default();
    if !database.is_empty() && !work.context.snapshot.has_database(&database) {
        let message = format!("database \"{database}\" does not exist");
        return Err(Error::new(ErrorKind::UndefinedDatabase, message));
    }
    let own = work.own()?;
    let Some(role) = role else {
        let owner = work.access.rights(&AccessKey::Database(database.clone()));
        return match (database.as_str(), own.superuser) {
            ("", false) => Err(denied("must be superuser to alter settings globally")),
            (name, false) if !work.authority.owns(&owner) => Err(denied(format!("must be owner of database {name}"))),
            _ => {
                let mut settings = work.access.settings(&database).cloned().unwrap_or_default();
                change_settings(work, &own, &mut settings, change)?;
                work.plan.edits.push(AccessEdit::Settings { database, settings });
                Ok(())
            }
        };
    };
    let mut role = work.role(role)?;
    if role.superuser && !own.superuser {
        return Err(denied("must be superuser to alter superusers"));
    }
    if !own.superuser && !own.createrole && role.id != own.id {
        return Err(denied("permission denied"));
    }
    let settings = role.settings.entry(database.clone()).or_default();
    change_settings(work, &own, settings, change)?;
    if settings.is_empty() {
        role.settings.remove(&database);
    }
    work.set_role(role.name.clone(), role);
    Ok(())
}

fn change_settings(
    work: &mut Work<'_>,
    own: &Role,
    settings: &mut BTreeMap<String, String>,
    change: &SettingChange,
) -> Result<()> {
    match change {
        SettingChange::Set(name, _) | SettingChange::Reset(Some(name))
            if !own.superuser && is_for_superusers(&name.to_lowercase()) =>
        {
            return Err(denied(format!("permission denied to set parameter \"{name}\"")));
        }
        SettingChange::Set(name, Some(value)) => {
            settings.insert(name.clone(), value.clone());
            work.plan.setting = Some((name.clone(), value.clone()));
        }
        SettingChange::Set(name, None) | SettingChange::Reset(Some(name)) => {
            settings.remove(name);
        }
        // As in PostgreSQL, what it may not take away stays.
        SettingChange::Reset(None) => {
            settings.retain(|name, _| !own.superuser && is_for_superusers(&name.to_lowercase()));
        }
    }
    Ok(())
}

pub(super) fn comment(work: &mut Work<'_>, name: &RoleName, text: Option<String>) -> Result<()> {
    let mut role = work.role(name)?;
    let own = work.own()?;
    if role.superuser && !own.superuser {
        return Err(denied("must be superuser to comment on superuser role"));
    }
    if !own.superuser && !own.createrole {
        return Err(denied("must have CREATEROLE privilege"));
    }
    role.comment = text.filter(|text| !text.is_empty());
    work.set_role(role.name.clone(), role);
    Ok(())
}

pub(super) async fn drop(work: &mut Work<'_>, names: &[RoleName], if_exists: bool) -> Result<()> {
    let own = work.own()?;
    if !own.superuser && !own.createrole {
        return Err(denied("permission denied to drop role"));
    }
    for name in names {
        let RoleName::Named(name) = name else {
            let message = "cannot use special role specifier in DROP ROLE";
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        };
        let Some(role) = work.access.role(name) else {
            if !if_exists {
                return Err(undefined_role(name));
            }
            work.notice(format!("role \"{name}\" does not exist, skipping"));
            continue;
        };
        let in_use = |message: &str| Err(Error::new(ErrorKind::ObjectInUse, message));
        if role.name == work.context.user {
            return in_use("current user cannot be dropped");
        }
        if role.name == work.context.session_user || role.name == work.context.login_user {
            return in_use("session user cannot be dropped");
        }
        if role.superuser && !own.superuser {
            return Err(denied("must be superuser to drop superusers"));
        }
        let dependents = dependents(work, role.id).await?;
        if !dependents.is_empty() {
            let message = format!("role \"{name}\" cannot be dropped because some objects depend on it");
            return Err(Error::new(ErrorKind::DependentObjects, message).with_detail(dependents.join("\n")));
        }
        work.plan.edits.push(AccessEdit::DropRole(name.clone()));
    }
    Ok(())
}

/// What a role owns or is granted, as PostgreSQL lists it.
async fn dependents(work: &Work<'_>, role: Uuid) -> Result<Vec<String>> {
    let named: Vec<_> = work
        .access
        .all_rights()
        .filter(|(_, rights)| rights.names(role))
        .collect();
    let mut found = Vec::new();
    let mut relations = None;
    for (key, rights) in named.into_iter().take(NAMED_MAX) {
        let object = match key {
            AccessKey::Relation(id) => {
                let known = match &relations {
                    Some(known) => known,
                    None => relations.insert(relations_by_id(work).await?),
                };
                match known.iter().find(|(known, ..)| known == id) {
                    Some((_, name, kind)) if name.database == work.context.database => {
                        format!("{} {}", noun(*kind), short_name(work.context, name))
                    }
                    Some((_, name, _)) => format!("1 object in database {}", name.database),
                    // Of a relation that another program took away.
                    None => continue,
                }
            }
            AccessKey::Schema(_, schema) => format!("schema {}", quote_identifier(schema)),
            AccessKey::Database(database) => format!("database {}", quote_identifier(database)),
            AccessKey::Function(database, number) => match function(*number) {
                Some(known) if *database == work.context.database => {
                    format!(
                        "function {}({})",
                        quote_identifier(known.name),
                        signature(&known.arguments)
                    )
                }
                _ => format!("1 object in database {database}"),
            },
            AccessKey::Role(_)
            | AccessKey::Default(..)
            | AccessKey::Security(_)
            | AccessKey::Mask(..)
            | AccessKey::Settings(_) => continue,
        };
        found.push(match rights.owner == role {
            true => format!("owner of {object}"),
            false => format!("privileges for {object}"),
        });
    }
    for (table, security) in work.access.all_security().filter(|(_, security)| security.names(role)) {
        let relations = match &relations {
            Some(known) => known,
            None => relations.insert(relations_by_id(work).await?),
        };
        let Some((_, name, _)) = relations.iter().find(|(known, ..)| *known == table) else {
            continue;
        };
        let policies = security
            .policies
            .iter()
            .filter(|(_, policy)| policy.roles.contains(&role));
        let policies = policies.map(|(policy, _)| format!("policy {policy}"));
        let masks = security.masks.iter().filter(|mask| mask.role == Some(role));
        let masks = masks.map(|mask| format!("masking policy {}", mask.policy));
        let table = quote_identifier(&name.name);
        found.extend(
            policies
                .chain(masks)
                .map(|what| format!("target of {what} on table {table}")),
        );
    }
    for (key, acl) in work.access.defaults() {
        let AccessKey::Default(of, _, schema, kind) = key else {
            continue;
        };
        if *of == role || acl.names(role) {
            let place = schema
                .as_ref()
                .map_or(String::new(), |schema| format!(" in schema {schema}"));
            let of = work.name_of(*of);
            found.push(format!(
                "default privileges on new {}s belonging to role {of}{place}",
                kind.noun()
            ));
        }
    }
    Ok(found)
}

fn noun(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "table",
        RelationKind::View => "view",
        RelationKind::Sequence => "sequence",
        RelationKind::Index => "index",
    }
}

/// All relations of all databases, with their ids.
pub(super) async fn relations_by_id(work: &Work<'_>) -> Result<Vec<(Uuid, TableName, RelationKind)>> {
    let snapshot = &work.context.snapshot;
    let mut found = Vec::new();
    for database in snapshot.databases() {
        for schema in snapshot.schemas(&database) {
            for (name, kind) in snapshot.relations(&database, &schema) {
                let name = TableName::new(&database, &schema, name);
                let id = match kind {
                    RelationKind::Table => snapshot.glimpsed_table(&name).await?.map(|table| table.uuid()),
                    RelationKind::View => snapshot.glimpsed_view(&name).await?.map(|view| view.uuid),
                    RelationKind::Sequence => snapshot.sequence(&name)?.map(|sequence| sequence.id),
                    // Its table's.
                    RelationKind::Index => None,
                };
                found.extend(id.map(|id| (id, name, kind)));
            }
        }
    }
    Ok(found)
}

/// Whether the role may make others members of the group.
fn check_may_admit(work: &Work<'_>, own: &Role, group: &Role) -> Result<()> {
    if group.is_database_owner() {
        let message = format!("role \"{}\" cannot have explicit members", group.name);
        return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
    }
    if own.superuser {
        return Ok(());
    }
    if group.superuser {
        return Err(denied("must be superuser to alter superusers"));
    }
    if !own.createrole && !work.access.is_admin(own, group.id) {
        return Err(denied(format!("must have admin option on role \"{}\"", group.name)));
    }
    Ok(())
}

/// Whether the role may become a member of others.
fn check_may_be_member(member: &Role) -> Result<()> {
    match member.is_database_owner() {
        false => Ok(()),
        true => {
            let message = format!("role \"{}\" cannot be a member of any role", member.name);
            Err(Error::new(ErrorKind::InvalidGrantOperation, message))
        }
    }
}

pub(super) fn membership(
    work: &mut Work<'_>,
    grants: bool,
    admin: bool,
    roles: &[RoleName],
    members: &[RoleName],
    by: Option<&RoleName>,
) -> Result<()> {
    let own = work.own()?;
    let grantor = match by {
        None => own.id,
        Some(by) => work.role(by)?.id,
    };
    if grantor != own.id && !own.superuser {
        return Err(denied("must be superuser to set grantor"));
    }
    for group in roles {
        let group = work.role(group)?;
        check_may_admit(work, &own, &group)?;
        for member in members {
            let mut member = work.role(member)?;
            check_may_be_member(&member)?;
            let known = member.member_of.get(&group.id).copied();
            match (grants, known) {
                (true, Some(known)) if known.admin || !admin => {
                    work.notice(format!(
                        "role \"{}\" is already a member of role \"{}\"",
                        member.name, group.name
                    ));
                    continue;
                }
                (true, known) => {
                    if is_below(work, group.id, member.id) {
                        let message = format!("role \"{}\" is a member of role \"{}\"", group.name, member.name);
                        return Err(Error::new(ErrorKind::InvalidGrantOperation, message));
                    }
                    let grantor = known.map_or(grantor, |known| known.grantor);
                    member.member_of.insert(group.id, Membership { grantor, admin });
                }
                (false, None) => {
                    work.warn(
                        "01000",
                        format!("role \"{}\" is not a member of role \"{}\"", member.name, group.name),
                    );
                    continue;
                }
                (false, Some(known)) if admin => {
                    member.member_of.insert(group.id, Membership { admin: false, ..known });
                }
                (false, Some(_)) => {
                    member.member_of.remove(&group.id);
                }
            }
            work.set_role(member.name.clone(), member);
        }
    }
    Ok(())
}

/// Whether a role is another one, or its member.
fn is_below(work: &Work<'_>, role: Uuid, of: Uuid) -> bool {
    let mut seen = std::collections::BTreeSet::from([role]);
    let mut open = vec![role];
    while let Some(next) = open.pop() {
        if next == of {
            return true;
        }
        let role = work.roles.get(&next).or_else(|| work.access.role_with_id(next));
        let groups = role.into_iter().flat_map(|role| role.member_of.keys().copied());
        open.extend(groups.filter(|group| seen.insert(*group)));
    }
    false
}
