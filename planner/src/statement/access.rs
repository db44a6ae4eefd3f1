//! Statements about roles, owners and grants: what they change, worked out on the statement's own state of the catalog.
//!
//! Who may do what, and what messages say, is PostgreSQL 15's.

mod grant;
mod mask;
mod owner;
mod policy;
mod role;

use std::collections::BTreeMap;

use staffa_catalog::{Access, AccessKey, Acl, Authority, MaskingPolicy, Rights, Role, Security, TableName};
use uuid::Uuid;

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{AccessAst, RoleName};
use crate::statement::Plan;
use crate::statement::query::Scope;

/// What a statement changes in roles, owners and grants.
#[derive(Clone, Debug, Default)]
pub struct AccessPlan {
    pub edits: Vec<AccessEdit>,
    /// SQLSTATE and text, of NOTICE or WARNING.
    pub notices: Vec<(bool, &'static str, String)>,
    /// A setting whose value must be a good one.
    pub setting: Option<(String, String)>,
}

/// One change.
#[derive(Clone, Debug)]
pub enum AccessEdit {
    CreateRole(Role),
    AlterRole {
        before: String,
        role: Role,
    },
    DropRole(String),
    Rights(AccessKey, Rights),
    Default(AccessKey, Option<Acl>),
    Security(Uuid, Security),
    Mask {
        database: String,
        name: String,
        /// `None`: it goes.
        mask: Option<MaskingPolicy>,
    },
    /// Of all roles, in a database; `""`: in all of them.
    Settings {
        database: String,
        settings: BTreeMap<String, String>,
    },
    DropRelation(TableName),
    DropSchema {
        database: String,
        schema: String,
    },
}

pub(crate) async fn plan(scope: &Scope<'_>, asked: &AccessAst) -> Result<Plan> {
    let mut work = Work::new(scope.context);
    match asked {
        AccessAst::CreateRole { name, options, user } => role::create(&mut work, name, options, *user)?,
        AccessAst::AlterRole { name, options } => role::alter(&mut work, name, options)?,
        AccessAst::RenameRole { name, to } => role::rename(&mut work, name, to)?,
        AccessAst::RoleSetting { role, database, change } => {
            role::setting(&mut work, role.as_ref(), database.as_ref(), change)?;
        }
        AccessAst::DatabaseSetting { database, change } => role::setting(&mut work, None, Some(database), change)?,
        AccessAst::DropRoles { names, if_exists } => role::drop(&mut work, names, *if_exists).await?,
        AccessAst::CommentOnRole { name, text } => role::comment(&mut work, name, text.clone())?,
        AccessAst::Membership {
            grants,
            admin,
            roles,
            members,
            by,
        } => role::membership(&mut work, *grants, *admin, roles, members, by.as_ref())?,
        AccessAst::Grant(asked) => grant::grant(scope, &mut work, asked).await?,
        AccessAst::Defaults { roles, schemas, grant } => grant::defaults(&mut work, roles, schemas, grant)?,
        AccessAst::Owner { object, if_exists, to } => owner::change(scope, &mut work, object, *if_exists, to).await?,
        AccessAst::ReassignOwned { roles, to } => owner::reassign(&mut work, roles, to)?,
        AccessAst::DropOwned { roles, cascade } => owner::drop(&mut work, roles, *cascade).await?,
        AccessAst::Policy(asked) => return policy::plan(scope, work, asked).await,
        AccessAst::SetRole { role, local } => return set_role(&work, role.as_ref(), *local),
        AccessAst::SetAuthorization { role, local } => return set_authorization(&work, role.as_ref(), *local),
        AccessAst::ResetRole => return set_role(&work, None, false),
        AccessAst::ResetAuthorization => return set_authorization(&work, None, false),
    }
    Ok(Plan::Access(work.plan))
}

/// The role that `CREATE SCHEMA … AUTHORIZATION` names: one that the role which asks may become.
pub(crate) fn schema_owner(context: &PlanContext, name: &RoleName) -> Result<Role> {
    let work = Work::new(context);
    let owner = work.role(name)?;
    owner::check_may_become(&work, &owner)?;
    Ok(owner)
}

/// A statement's changes as far as they are worked out.
struct Work<'a> {
    context: &'a PlanContext,
    access: &'a Access,
    authority: Authority,
    rights: BTreeMap<AccessKey, Rights>,
    /// Roles as they are to be, by id.
    roles: BTreeMap<Uuid, Role>,
    plan: AccessPlan,
}

impl<'a> Work<'a> {
    fn new(context: &'a PlanContext) -> Self {
        let access = context.snapshot.access();
        Self {
            context,
            access,
            authority: access.authority(&context.user, &context.database),
            rights: BTreeMap::new(),
            roles: BTreeMap::new(),
            plan: AccessPlan::default(),
        }
    }

    /// The role that asks.
    fn own(&self) -> Result<Role> {
        self.named(&self.context.user)
    }

    fn named(&self, name: &str) -> Result<Role> {
        let role = self.access.role(name).ok_or_else(|| undefined_role(name))?;
        Ok(self.roles.get(&role.id).unwrap_or(role).clone())
    }

    /// The role a statement names; PUBLIC is none.
    fn role(&self, name: &RoleName) -> Result<Role> {
        match name {
            RoleName::Named(name) => self.named(name),
            RoleName::CurrentUser => self.named(&self.context.user),
            RoleName::SessionUser => self.named(&self.context.session_user),
            RoleName::Public => Err(undefined_role("public")),
        }
    }

    /// A grantee; `None` is PUBLIC.
    fn grantee(&self, name: &RoleName) -> Result<Option<Uuid>> {
        match name {
            RoleName::Public => Ok(None),
            name => self.role(name).map(|role| Some(role.id)),
        }
    }

    fn rights(&self, key: &AccessKey) -> Rights {
        match self.rights.get(key) {
            Some(rights) => rights.clone(),
            None => self.access.rights(key),
        }
    }

    fn set_rights(&mut self, key: AccessKey, rights: Rights) {
        self.rights.insert(key.clone(), rights.clone());
        self.plan.edits.push(AccessEdit::Rights(key, rights));
    }

    fn set_role(&mut self, before: String, role: Role) {
        self.roles.insert(role.id, role.clone());
        self.plan.edits.push(AccessEdit::AlterRole { before, role });
    }

    fn notice(&mut self, text: String) {
        self.plan.notices.push((false, "00000", text));
    }

    fn warn(&mut self, code: &'static str, text: String) {
        self.plan.notices.push((true, code, text));
    }

    fn name_of(&self, id: Uuid) -> String {
        let role = self.roles.get(&id).or_else(|| self.access.role_with_id(id));
        role.map_or_else(|| id.to_string(), |role| role.name.clone())
    }
}

fn set_role(work: &Work<'_>, role: Option<&RoleName>, local: bool) -> Result<Plan> {
    let session = work.access.role(&work.context.session_user);
    let role = role.map(|name| work.role(name).map_err(invalid)).transpose()?;
    if let Some(role) = &role
        && !session.is_some_and(|session| work.access.is_member(session, role.id))
    {
        return Err(denied(format!("permission denied to set role \"{}\"", role.name)));
    }
    Ok(Plan::SetIdentity {
        session: false,
        superuser: role.as_ref().or(session).is_some_and(|role| role.superuser),
        role: role.map(|role| role.name),
        local,
    })
}

fn set_authorization(work: &Work<'_>, role: Option<&RoleName>, local: bool) -> Result<Plan> {
    let login = work.access.role(&work.context.login_user);
    let role = role.map(|name| work.role(name).map_err(invalid)).transpose()?;
    if let Some(role) = &role
        && !login.is_some_and(|login| login.superuser || login.id == role.id)
    {
        return Err(denied("permission denied to set session authorization"));
    }
    Ok(Plan::SetIdentity {
        session: true,
        superuser: role.as_ref().or(login).is_some_and(|role| role.superuser),
        role: role.map(|role| role.name),
        local,
    })
}

/// As the value of a setting, a role that is not there is a wrong value.
fn invalid(error: Error) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, error.message())
}

pub(crate) fn undefined_role(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedObject, format!("role \"{name}\" does not exist"))
}

pub(crate) fn denied(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InsufficientPrivilege, message)
}
