//! Who a session is: what its role may do at login, `SET ROLE`, and statements about roles and grants.

use chrono::Utc;
use staffa_catalog::{
    Access, AccessKey, CatalogSnapshot, ObjectKind, Privileges, RelationKind, Role, TEMPLATE_DATABASES,
};
use staffa_planner::{AccessEdit, AccessPlan, Error, ErrorKind, Result};

use crate::outcome::Notice;
use crate::session::Session;
use crate::settings::{Settings, checked};

/// The role of this name, as a client says it is.
pub(crate) fn role_of<'a>(snapshot: &'a CatalogSnapshot, name: &str) -> Result<&'a Role> {
    snapshot.access().role(name).ok_or_else(|| {
        let message = format!("role \"{name}\" does not exist");
        Error::new(ErrorKind::InvalidAuthorization, message)
    })
}

/// Whether the password of a role is good no more.
pub(crate) fn is_expired(role: &Role) -> bool {
    role.valid_until
        .is_some_and(|until| until <= Utc::now().timestamp_micros())
}

/// Whether there is such a database, and it is one to connect to.
pub(crate) fn check_database(snapshot: &CatalogSnapshot, name: &str) -> Result<()> {
    if snapshot.has_database(name) {
        return Ok(());
    }
    Err(match TEMPLATE_DATABASES.contains(&name) {
        true => Error::new(
            ErrorKind::ObjectNotInPrerequisiteState,
            format!("database \"{name}\" is not currently accepting connections"),
        ),
        false => Error::new(
            ErrorKind::UndefinedDatabase,
            format!("database \"{name}\" does not exist"),
        ),
    })
}

/// Whether the role may log in.
pub(crate) fn check_login(role: &Role) -> Result<()> {
    if role.login {
        return Ok(());
    }
    let message = format!("role \"{}\" is not permitted to log in", role.name);
    Err(Error::new(ErrorKind::InvalidAuthorization, message))
}

/// How many sessions the role may have; `None`: as many as it likes.
pub(crate) fn session_limit(role: &Role) -> Option<usize> {
    let limit = usize::try_from(role.connection_limit).ok();
    limit.filter(|_| !role.superuser)
}

/// Whether the role may use the database.
pub(crate) fn check_connect(snapshot: &CatalogSnapshot, role: &Role, database: &str) -> Result<()> {
    let access = snapshot.access();
    let rights = access.rights(&AccessKey::Database(database.to_owned()));
    let authority = access.authority(&role.name, database);
    if authority.may(&rights, ObjectKind::Database, Privileges::CONNECT) {
        return Ok(());
    }
    let message = format!("permission denied for database \"{database}\"");
    Err(Error::new(ErrorKind::InsufficientPrivilege, message).with_detail("User does not have CONNECT privilege."))
}

/// `ALTER ROLE … SET`, `ALTER DATABASE … SET`: those of the role go before those of all, those for the database before those for every
/// one. One that is good no more is left out.
pub(crate) fn apply_settings(
    settings: &mut Settings,
    access: &Access,
    role: &Role,
    database: &str,
    notices: &mut Vec<Notice>,
) {
    let of_all = |database: &str| access.settings(database).into_iter().flatten();
    let of_role = |database: &str| role.settings.get(database).into_iter().flatten();
    let all = of_all("")
        .chain(of_all(database))
        .chain(of_role(""))
        .chain(of_role(database));
    for (name, value) in all {
        if let Err(error) = settings.set_default(name, value) {
            notices.push(Notice::warning("22023", error.message()));
        }
    }
}

/// Does what was worked out.
pub(crate) async fn change(session: &mut Session, asked: &AccessPlan) -> Result<()> {
    if let Some((name, value)) = &asked.setting {
        checked(name, value)?;
    }
    for (is_warning, code, text) in &asked.notices {
        session.notices.push(match is_warning {
            true => Notice::warning(code, text.as_str()),
            false => Notice::remark(code, text.as_str()),
        });
    }
    for edit in &asked.edits {
        check_changeable(session, edit).await?;
        let transaction = session.transaction().await?;
        match edit.clone() {
            AccessEdit::CreateRole(role) => transaction.create_role(role)?,
            AccessEdit::AlterRole { before, role } => transaction.alter_role(&before, role)?,
            AccessEdit::DropRole(name) => transaction.drop_role(&name)?,
            AccessEdit::Rights(key, rights) => transaction.set_rights(key, rights),
            AccessEdit::Default(key, acl) => transaction.set_default(key, acl),
            AccessEdit::Security(table, security) => transaction.set_security(table, security),
            AccessEdit::Mask { database, name, mask } => transaction.set_mask(&database, &name, mask)?,
            AccessEdit::Settings { database, settings } => transaction.set_settings(&database, settings),
            AccessEdit::DropRelation(name) => match transaction.snapshot().relation(&name) {
                Some(RelationKind::Table) => transaction.drop_table(&name).await?,
                Some(RelationKind::View) => transaction.drop_view(&name).await?,
                Some(RelationKind::Sequence) => transaction.drop_sequence(&name).await?,
                // It went with its table, or goes with it.
                Some(RelationKind::Index) | None => {}
            },
            AccessEdit::DropSchema { database, schema } => transaction.drop_schema(&database, &schema, true).await?,
        }
    }
    Ok(())
}

/// PostgreSQL's own roles stay as they are.
async fn check_changeable(session: &mut Session, edit: &AccessEdit) -> Result<()> {
    let (AccessEdit::AlterRole { before: name, .. } | AccessEdit::DropRole(name)) = edit else {
        return Ok(());
    };
    let snapshot = session.transactions_snapshot().await?;
    let role = snapshot.access().role(name);
    if role.and_then(|role| role.number_of_postgres()).is_none() {
        return Ok(());
    }
    Err(match edit {
        AccessEdit::DropRole(_) => {
            let message = format!("cannot drop role {name} because it is required by the database system");
            Error::new(ErrorKind::DependentObjects, message)
        }
        _ => Error::new(ErrorKind::ReservedName, format!("role name \"{name}\" is reserved"))
            .with_detail("Cannot alter reserved roles."),
    })
}

impl Session {
    /// What `session_user` answers.
    pub(crate) fn session_user(&self) -> &str {
        self.settings.get("session_authorization").unwrap_or(&self.user)
    }

    /// What `current_user` answers: the role whose rights statements have.
    pub(crate) fn current_user(&self) -> &str {
        match self.settings.get("role") {
            None | Some("none") => self.session_user(),
            Some(role) => role,
        }
    }

    /// `SET ROLE`, `SET SESSION AUTHORIZATION` to a role that is allowed; without one, back to what it was.
    pub(crate) fn set_identity(&mut self, session: bool, role: Option<&str>, superuser: bool, local: bool) {
        if local && !self.is_in_block() {
            let message = "SET LOCAL can only be used in transaction blocks";
            self.notices.push(Notice::warning("25P01", message));
            return;
        }
        self.settings_epoch += 1;
        if session {
            let name = role.unwrap_or(&self.user).to_owned();
            self.settings.set_identity("session_authorization", &name, local);
        }
        let current = role.filter(|_| !session).unwrap_or("none");
        self.settings.set_identity("role", current, local);
        let shown = if superuser { "on" } else { "off" };
        self.settings.set_identity("is_superuser", shown, local);
    }

    /// What the open transaction makes from now on is the current role's.
    pub(crate) async fn own_what_is_made(&mut self) -> Result<()> {
        let user = self.current_user().to_owned();
        let transaction = self.transaction().await?;
        let role = transaction.snapshot().access().role(&user).map(|role| role.id);
        let Some(role) = role else {
            let message = format!("role \"{user}\" does not exist");
            return Err(Error::new(ErrorKind::InsufficientPrivilege, message));
        };
        transaction.act_as(role);
        Ok(())
    }
}
