//! Roles and grants: `CREATE | ALTER | DROP ROLE`, `GRANT`, `REVOKE`, owners, `SET ROLE`.

use datafusion::sql::sqlparser::ast::{DataType, Ident, ObjectName};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Altered, Ast};
use super::cursor::Cursor;
use super::policy::PolicyAst;
use super::settings::{setting, setting_name};
use super::statement::unsupported;
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::fold;

/// A statement about roles, owners and grants.
#[derive(Clone, Debug)]
pub(crate) enum AccessAst {
    CreateRole {
        name: RoleName,
        options: Vec<RoleOption>,
        /// The word of the statement: a USER may log in.
        user: bool,
    },
    AlterRole {
        name: RoleName,
        options: Vec<RoleOption>,
    },
    RenameRole {
        name: RoleName,
        to: RoleName,
    },
    RoleSetting {
        /// `None`: ALL
        role: Option<RoleName>,
        database: Option<Ident>,
        change: SettingChange,
    },
    /// Of all roles in a database.
    DatabaseSetting {
        database: Ident,
        change: SettingChange,
    },
    DropRoles {
        names: Vec<RoleName>,
        if_exists: bool,
    },
    CommentOnRole {
        name: RoleName,
        text: Option<String>,
    },
    /// `GRANT role TO role`, `REVOKE role FROM role`
    Membership {
        grants: bool,
        /// `WITH ADMIN OPTION`, `ADMIN OPTION FOR`
        admin: bool,
        roles: Vec<RoleName>,
        members: Vec<RoleName>,
        by: Option<RoleName>,
    },
    Grant(GrantAst),
    /// `ALTER DEFAULT PRIVILEGES`
    Defaults {
        roles: Vec<RoleName>,
        schemas: Vec<Ident>,
        grant: GrantAst,
    },
    Owner {
        object: Owned,
        if_exists: bool,
        to: RoleName,
    },
    ReassignOwned {
        roles: Vec<RoleName>,
        to: RoleName,
    },
    DropOwned {
        roles: Vec<RoleName>,
        cascade: bool,
    },
    /// Row policies and masks.
    Policy(PolicyAst),
    /// `SET ROLE`; `None`: NONE
    SetRole {
        role: Option<RoleName>,
        local: bool,
    },
    /// `SET SESSION AUTHORIZATION`; `None`: DEFAULT
    SetAuthorization {
        role: Option<RoleName>,
        local: bool,
    },
    ResetRole,
    ResetAuthorization,
}

/// A role as statements name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoleName {
    Named(String),
    CurrentUser,
    SessionUser,
    Public,
}

#[derive(Clone, Debug)]
pub(crate) enum RoleOption {
    Superuser(bool),
    Inherit(bool),
    CreateRole(bool),
    CreateDb(bool),
    Login(bool),
    Replication(bool),
    BypassRls(bool),
    ConnectionLimit(i64),
    /// `None`: NULL
    Password(Option<Password>),
    ValidUntil(String),
    /// `IN ROLE`
    MemberOf(Vec<RoleName>),
    /// `ROLE`, `USER`; with `true`: `ADMIN`
    Members(Vec<RoleName>, bool),
}

/// A password, which is printed nowhere.
#[derive(Clone)]
pub(crate) struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

#[derive(Clone, Debug)]
pub(crate) enum SettingChange {
    /// `None`: DEFAULT
    Set(String, Option<String>),
    /// `None`: ALL
    Reset(Option<String>),
}

/// `GRANT`, `REVOKE` of privileges.
#[derive(Clone, Debug)]
pub(crate) struct GrantAst {
    pub grants: bool,
    /// `WITH GRANT OPTION`, `GRANT OPTION FOR`
    pub option: bool,
    /// `None`: ALL
    pub privileges: Option<Vec<(String, Vec<Ident>)>>,
    /// Columns of ALL.
    pub all_columns: Vec<Ident>,
    pub objects: GrantObjects,
    pub roles: Vec<RoleName>,
    pub by: Option<RoleName>,
    pub cascade: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum GrantObjects {
    Tables(Vec<ObjectName>),
    Sequences(Vec<ObjectName>),
    Schemas(Vec<ObjectName>),
    Databases(Vec<Ident>),
    AllTables(Vec<ObjectName>),
    AllSequences(Vec<ObjectName>),
    /// Of schemas, in which there are none: functions are PostgreSQL's own.
    AllFunctions(Vec<ObjectName>),
    /// By the word of the statement: `function`, `procedure` or `routine`.
    Functions(&'static str, Vec<FunctionNamed>),
    /// By the word of the statement: `type`, `domain` or `language`.
    Others(&'static str, Vec<ObjectName>),
    /// In ALTER DEFAULT PRIVILEGES: the kind alone.
    Future(staffa_catalog::ObjectKind),
}

/// A function by its name, and the types of what it takes.
#[derive(Clone, Debug)]
pub(crate) struct FunctionNamed {
    pub name: ObjectName,
    /// `None`: there is only one of the name.
    pub arguments: Option<Vec<DataType>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Owned {
    /// With the word of the statement.
    Relation(ObjectName, Altered),
    Schema(ObjectName),
    Database(Ident),
}

impl AccessAst {
    pub(super) fn tag(&self) -> &'static str {
        match self {
            AccessAst::CreateRole { .. } => "CREATE ROLE",
            AccessAst::AlterRole { .. } | AccessAst::RenameRole { .. } | AccessAst::RoleSetting { .. } => "ALTER ROLE",
            AccessAst::DatabaseSetting { .. } => "ALTER DATABASE",
            AccessAst::Policy(asked) => asked.tag(),
            AccessAst::DropRoles { .. } => "DROP ROLE",
            AccessAst::CommentOnRole { .. } => "COMMENT",
            AccessAst::Membership { grants: true, .. } => "GRANT ROLE",
            AccessAst::Membership { .. } => "REVOKE ROLE",
            AccessAst::Grant(GrantAst { grants: true, .. }) => "GRANT",
            AccessAst::Grant(_) => "REVOKE",
            AccessAst::Defaults { .. } => "ALTER DEFAULT PRIVILEGES",
            AccessAst::Owner { object, .. } => match object {
                Owned::Relation(_, Altered::Table) => "ALTER TABLE",
                Owned::Relation(_, Altered::View) => "ALTER VIEW",
                Owned::Relation(_, Altered::Sequence) => "ALTER SEQUENCE",
                Owned::Relation(_, Altered::MaterializedView) => "ALTER MATERIALIZED VIEW",
                Owned::Relation(_, Altered::Index) => "ALTER INDEX",
                Owned::Schema(_) => "ALTER SCHEMA",
                Owned::Database(_) => "ALTER DATABASE",
            },
            AccessAst::ReassignOwned { .. } => "REASSIGN OWNED",
            AccessAst::DropOwned { .. } => "DROP OWNED",
            AccessAst::SetRole { .. } | AccessAst::SetAuthorization { .. } => "SET",
            AccessAst::ResetRole | AccessAst::ResetAuthorization => "RESET",
        }
    }

    /// Whether it changes nothing but the session.
    pub(super) fn is_of_session(&self) -> bool {
        matches!(
            self,
            AccessAst::SetRole { .. }
                | AccessAst::SetAuthorization { .. }
                | AccessAst::ResetRole
                | AccessAst::ResetAuthorization
        )
    }

    pub(super) fn has_password(&self) -> bool {
        let (AccessAst::CreateRole { options, .. } | AccessAst::AlterRole { options, .. }) = self else {
            return false;
        };
        options.iter().any(|option| matches!(option, RoleOption::Password(_)))
    }
}

/// After CREATE ROLE, USER or GROUP.
pub(super) fn create_role(cursor: &mut Cursor<'_>, user: bool) -> Result<Ast> {
    let name = role(cursor)?;
    let _ = cursor.take_word("with");
    let options = options(cursor, true)?;
    access(AccessAst::CreateRole { name, options, user })
}

/// After ALTER ROLE, USER or GROUP.
pub(super) fn alter_role(cursor: &mut Cursor<'_>, is_group: bool) -> Result<Ast> {
    let all = cursor.is_word("all")
        && (cursor.is_word_at(1, "set") || cursor.is_word_at(1, "reset") || cursor.is_word_at(1, "in"));
    let name = match all {
        true => {
            cursor.next();
            None
        }
        false => Some(role(cursor)?),
    };
    let database = match cursor.take_words(&["in", "database"]) {
        true => Some(cursor.identifier()?),
        false => None,
    };
    if let Some(change) = setting_change(cursor)? {
        return access(AccessAst::RoleSetting {
            role: name,
            database,
            change,
        });
    }
    let (Some(name), None) = (name, database) else {
        return Err(cursor.unexpected());
    };
    if cursor.take_words(&["rename", "to"]) {
        let to = role(cursor)?;
        return access(AccessAst::RenameRole { name, to });
    }
    if is_group && (cursor.is_words(&["add", "user"]) || cursor.is_words(&["drop", "user"])) {
        let grants = cursor.word()? == "add";
        cursor.next();
        return access(AccessAst::Membership {
            grants,
            admin: false,
            roles: vec![name],
            members: roles(cursor)?,
            by: None,
        });
    }
    let _ = cursor.take_word("with");
    let options = options(cursor, false)?;
    access(AccessAst::AlterRole { name, options })
}

/// `SET …` or `RESET …`, if it is one.
fn setting_change(cursor: &mut Cursor<'_>) -> Result<Option<SettingChange>> {
    Ok(if cursor.take_word("set") {
        let (setting, value) = setting(cursor)?;
        Some(SettingChange::Set(setting, value))
    } else if cursor.take_word("reset") {
        let all = cursor.take_word("all");
        let setting = (!all).then(|| setting_name(cursor)).transpose()?;
        Some(SettingChange::Reset(setting))
    } else {
        None
    })
}

/// After ALTER DATABASE; `None`: it is about something else.
pub(super) fn alter_database(cursor: &mut Cursor<'_>) -> Result<Option<Ast>> {
    let name = cursor.identifier()?;
    if cursor.take_words(&["owner", "to"]) {
        return owner(cursor, Owned::Database(name), false).map(Some);
    }
    // A tablespace is no setting.
    if cursor.is_words(&["set", "tablespace"]) {
        return Ok(None);
    }
    let change = setting_change(cursor)?;
    let asked = change.map(|change| AccessAst::DatabaseSetting { database: name, change });
    asked.map(access).transpose()
}

/// After DROP ROLE, USER or GROUP.
pub(super) fn drop_roles(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let if_exists = cursor.take_words(&["if", "exists"]);
    let names = roles(cursor)?;
    access(AccessAst::DropRoles { names, if_exists })
}

/// After COMMENT ON ROLE.
pub(super) fn comment(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = role(cursor)?;
    cursor.expect_word("is")?;
    let text = match cursor.take_word("null") {
        true => None,
        false => Some(cursor.string()?),
    };
    access(AccessAst::CommentOnRole { name, text })
}

/// After GRANT.
pub(super) fn grant(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if is_membership(cursor) {
        let granted = roles(cursor)?;
        cursor.expect_word("to")?;
        let members = roles(cursor)?;
        let admin = cursor.take_words(&["with", "admin", "option"]);
        return access(AccessAst::Membership {
            grants: true,
            admin,
            roles: granted,
            members,
            by: granted_by(cursor)?,
        });
    }
    match privileges(cursor, true, false)? {
        Some(grant) => access(AccessAst::Grant(grant)),
        None => Ok(unsupported(cursor, "GRANT on such objects", "GRANT")),
    }
}

/// After REVOKE.
pub(super) fn revoke(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let admin = cursor.take_words(&["admin", "option", "for"]);
    if admin || is_membership(cursor) {
        let granted = roles(cursor)?;
        cursor.expect_word("from")?;
        let members = roles(cursor)?;
        let by = granted_by(cursor)?;
        cascade(cursor);
        return access(AccessAst::Membership {
            grants: false,
            admin,
            roles: granted,
            members,
            by,
        });
    }
    match privileges(cursor, false, false)? {
        Some(grant) => access(AccessAst::Grant(grant)),
        None => Ok(unsupported(cursor, "REVOKE on such objects", "REVOKE")),
    }
}

/// After ALTER DEFAULT PRIVILEGES.
pub(super) fn defaults(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let (mut of, mut schemas) = (Vec::new(), Vec::new());
    loop {
        if cursor.take_words(&["for", "role"]) || cursor.take_words(&["for", "user"]) {
            of = roles(cursor)?;
        } else if cursor.take_words(&["in", "schema"]) {
            schemas.push(cursor.identifier()?);
            while cursor.take_token(&Token::Comma) {
                schemas.push(cursor.identifier()?);
            }
        } else {
            break;
        }
    }
    let grants = cursor.take_word("grant");
    if !grants {
        cursor.expect_word("revoke")?;
    }
    match privileges(cursor, grants, true)? {
        Some(grant) => access(AccessAst::Defaults {
            roles: of,
            schemas,
            grant,
        }),
        None => Ok(unsupported(
            cursor,
            "ALTER DEFAULT PRIVILEGES for such objects",
            "ALTER DEFAULT PRIVILEGES",
        )),
    }
}

/// After `OWNER TO`.
pub(super) fn owner(cursor: &mut Cursor<'_>, object: Owned, if_exists: bool) -> Result<Ast> {
    let to = role(cursor)?;
    access(AccessAst::Owner { object, if_exists, to })
}

/// After REASSIGN OWNED.
pub(super) fn reassign(cursor: &mut Cursor<'_>) -> Result<Ast> {
    cursor.expect_word("by")?;
    let from = roles(cursor)?;
    cursor.expect_word("to")?;
    let to = role(cursor)?;
    access(AccessAst::ReassignOwned { roles: from, to })
}

/// After DROP OWNED.
pub(super) fn drop_owned(cursor: &mut Cursor<'_>) -> Result<Ast> {
    cursor.expect_word("by")?;
    let roles = roles(cursor)?;
    let cascade = cascade(cursor);
    access(AccessAst::DropOwned { roles, cascade })
}

/// After SET [LOCAL] ROLE.
pub(super) fn set_role(cursor: &mut Cursor<'_>, local: bool) -> Result<Ast> {
    let role = match cursor.take_word("none") {
        true => None,
        false => Some(role_or_text(cursor)?),
    };
    access(AccessAst::SetRole { role, local })
}

/// After SET [LOCAL] SESSION AUTHORIZATION.
pub(super) fn set_authorization(cursor: &mut Cursor<'_>, local: bool) -> Result<Ast> {
    let role = match cursor.take_word("default") {
        true => None,
        false => Some(role_or_text(cursor)?),
    };
    access(AccessAst::SetAuthorization { role, local })
}

fn role_or_text(cursor: &mut Cursor<'_>) -> Result<RoleName> {
    match cursor.peek() {
        Some(Token::Word(_)) => Ok(RoleName::Named(fold(&cursor.identifier()?))),
        _ => Ok(RoleName::Named(cursor.string()?)),
    }
}

pub(super) fn access(ast: AccessAst) -> Result<Ast> {
    Ok(Ast::Access(Box::new(ast)))
}

pub(super) fn role(cursor: &mut Cursor<'_>) -> Result<RoleName> {
    // `GROUP name` is an old way to write a name.
    let _ = cursor.take_word("group");
    let ident = cursor.label()?;
    if ident.quote_style.is_some() {
        return Ok(RoleName::Named(ident.value));
    }
    let name = fold(&ident);
    match name.as_str() {
        "current_user" | "current_role" => Ok(RoleName::CurrentUser),
        "session_user" => Ok(RoleName::SessionUser),
        "public" => Ok(RoleName::Public),
        "none" => {
            let message = "role name \"none\" is reserved";
            Err(Error::new(ErrorKind::ReservedName, message))
        }
        _ => Ok(RoleName::Named(name)),
    }
}

pub(super) fn roles(cursor: &mut Cursor<'_>) -> Result<Vec<RoleName>> {
    let mut names = vec![role(cursor)?];
    while cursor.take_token(&Token::Comma) {
        names.push(role(cursor)?);
    }
    Ok(names)
}

fn granted_by(cursor: &mut Cursor<'_>) -> Result<Option<RoleName>> {
    match cursor.take_words(&["granted", "by"]) {
        true => role(cursor).map(Some),
        false => Ok(None),
    }
}

fn cascade(cursor: &mut Cursor<'_>) -> bool {
    let cascade = cursor.take_word("cascade");
    if !cascade {
        let _ = cursor.take_word("restrict");
    }
    cascade
}

/// Whether roles are granted and not privileges: no ON comes.
fn is_membership(cursor: &Cursor<'_>) -> bool {
    cursor.ahead_of("on", &["to", "from"]).is_none() && !cursor.is_word("on")
}

fn options(cursor: &mut Cursor<'_>, creates: bool) -> Result<Vec<RoleOption>> {
    let mut options = Vec::new();
    while !cursor.is_end() {
        let position = cursor.position();
        let word = cursor.word()?;
        let option = match word.as_str() {
            "superuser" => RoleOption::Superuser(true),
            "nosuperuser" => RoleOption::Superuser(false),
            "inherit" => RoleOption::Inherit(true),
            "noinherit" => RoleOption::Inherit(false),
            "createrole" => RoleOption::CreateRole(true),
            "nocreaterole" => RoleOption::CreateRole(false),
            "createdb" => RoleOption::CreateDb(true),
            "nocreatedb" => RoleOption::CreateDb(false),
            "login" => RoleOption::Login(true),
            "nologin" => RoleOption::Login(false),
            "replication" => RoleOption::Replication(true),
            "noreplication" => RoleOption::Replication(false),
            "bypassrls" => RoleOption::BypassRls(true),
            "nobypassrls" => RoleOption::BypassRls(false),
            "connection" => {
                cursor.expect_word("limit")?;
                RoleOption::ConnectionLimit(number(cursor)?)
            }
            "encrypted" => {
                cursor.expect_word("password")?;
                RoleOption::Password(Some(Password(cursor.string()?)))
            }
            "unencrypted" => {
                let message = "UNENCRYPTED PASSWORD is no longer supported";
                return Err(Error::new(ErrorKind::FeatureNotSupported, message)
                    .with_hint("Remove UNENCRYPTED to store the password in encrypted form instead.")
                    .with_position(position));
            }
            "password" => match cursor.take_word("null") {
                true => RoleOption::Password(None),
                false => RoleOption::Password(Some(Password(cursor.string()?))),
            },
            "valid" => {
                cursor.expect_word("until")?;
                RoleOption::ValidUntil(cursor.string()?)
            }
            "in" if creates && (cursor.take_word("role") || cursor.take_word("group")) => {
                RoleOption::MemberOf(roles(cursor)?)
            }
            "role" | "user" if creates => RoleOption::Members(roles(cursor)?, false),
            "admin" if creates => RoleOption::Members(roles(cursor)?, true),
            // It has had no meaning for long.
            "sysid" if creates => {
                number(cursor)?;
                continue;
            }
            other => {
                let message = format!("unrecognized role option \"{other}\"");
                return Err(Error::new(ErrorKind::SyntaxError, message).with_position(position));
            }
        };
        if options.iter().any(|known| same_option(known, &option)) {
            let message = "conflicting or redundant options";
            return Err(Error::new(ErrorKind::SyntaxError, message).with_position(position));
        }
        options.push(option);
    }
    Ok(options)
}

fn same_option(one: &RoleOption, other: &RoleOption) -> bool {
    match (one, other) {
        (RoleOption::Members(_, one), RoleOption::Members(_, other)) => one == other,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn number(cursor: &mut Cursor<'_>) -> Result<i64> {
    let negative = cursor.take_token(&Token::Minus);
    match cursor.peek() {
        Some(Token::Number(digits, false)) => {
            let value: i64 = digits.parse().map_err(|_| cursor.unexpected())?;
            cursor.next();
            Ok(if negative { -value } else { value })
        }
        _ => Err(cursor.unexpected()),
    }
}

/// Privileges, objects and roles; `None` for kinds of objects there are none of.
fn privileges(cursor: &mut Cursor<'_>, grants: bool, defaults: bool) -> Result<Option<GrantAst>> {
    let option_for = !grants && cursor.take_words(&["grant", "option", "for"]);
    let mut all_columns = Vec::new();
    let named = if cursor.take_word("all") {
        let _ = cursor.take_word("privileges");
        if cursor.peek() == Some(&Token::LParen) {
            all_columns = cursor.identifiers_in_parentheses()?;
        }
        None
    } else {
        let mut named = Vec::new();
        loop {
            let privilege = fold(&cursor.label()?);
            let columns = match cursor.peek() {
                Some(Token::LParen) => cursor.identifiers_in_parentheses()?,
                _ => Vec::new(),
            };
            named.push((privilege, columns));
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        Some(named)
    };
    cursor.expect_word("on")?;
    let objects = match defaults {
        true => future(cursor),
        false => objects(cursor)?,
    };
    let Some(objects) = objects else { return Ok(None) };
    cursor.expect_word(if grants { "to" } else { "from" })?;
    let roles = roles(cursor)?;
    let option = option_for || (grants && cursor.take_words(&["with", "grant", "option"]));
    let by = granted_by(cursor)?;
    let cascade = !grants && cascade(cursor);
    Ok(Some(GrantAst {
        grants,
        option,
        privileges: named,
        all_columns,
        objects,
        roles,
        by,
        cascade,
    }))
}

fn future(cursor: &mut Cursor<'_>) -> Option<GrantObjects> {
    use staffa_catalog::ObjectKind::{Function, Schema, Sequence, Table, Type};
    let kinds = [
        ("tables", Table),
        ("sequences", Sequence),
        ("schemas", Schema),
        ("functions", Function),
        ("routines", Function),
        ("types", Type),
    ];
    let found = kinds.into_iter().find(|(word, _)| cursor.take_word(word));
    found.map(|(_, kind)| GrantObjects::Future(kind))
}

fn objects(cursor: &mut Cursor<'_>) -> Result<Option<GrantObjects>> {
    const OTHERS: [&str; 5] = ["foreign", "large", "parameter", "tablespace", "all"];
    if cursor.take_words(&["all", "tables", "in", "schema"]) {
        return Ok(Some(GrantObjects::AllTables(cursor.object_names()?)));
    }
    if cursor.take_words(&["all", "sequences", "in", "schema"]) {
        return Ok(Some(GrantObjects::AllSequences(cursor.object_names()?)));
    }
    for word in ["functions", "procedures", "routines"] {
        if cursor.take_words(&["all", word, "in", "schema"]) {
            return Ok(Some(GrantObjects::AllFunctions(cursor.object_names()?)));
        }
    }
    // Such words are names, too, when nothing but the role follows.
    let is_kind = |cursor: &Cursor<'_>, word: &str| {
        cursor.is_word(word)
            && matches!(cursor.peek_at(1), Some(Token::Word(_)))
            && !cursor.is_word_at(1, "to")
            && !cursor.is_word_at(1, "from")
    };
    for (word, make) in [
        ("table", GrantObjects::Tables as fn(Vec<ObjectName>) -> GrantObjects),
        ("sequence", GrantObjects::Sequences),
        ("schema", GrantObjects::Schemas),
    ] {
        if is_kind(cursor, word) {
            cursor.next();
            return Ok(Some(make(cursor.object_names()?)));
        }
    }
    if is_kind(cursor, "database") {
        cursor.next();
        let mut names = vec![cursor.identifier()?];
        while cursor.take_token(&Token::Comma) {
            names.push(cursor.identifier()?);
        }
        return Ok(Some(GrantObjects::Databases(names)));
    }
    for word in ["function", "procedure", "routine"] {
        if is_kind(cursor, word) {
            cursor.next();
            let mut named = vec![function(cursor)?];
            while cursor.take_token(&Token::Comma) {
                named.push(function(cursor)?);
            }
            return Ok(Some(GrantObjects::Functions(word, named)));
        }
    }
    for word in ["type", "domain", "language"] {
        if is_kind(cursor, word) {
            cursor.next();
            return Ok(Some(GrantObjects::Others(word, cursor.object_names()?)));
        }
    }
    if OTHERS.iter().any(|word| is_kind(cursor, word)) {
        return Ok(None);
    }
    Ok(Some(GrantObjects::Tables(cursor.object_names()?)))
}

fn function(cursor: &mut Cursor<'_>) -> Result<FunctionNamed> {
    let name = cursor.object_name()?;
    let arguments = match cursor.peek() {
        Some(Token::LParen) => Some(cursor.types_in_parentheses()?),
        _ => None,
    };
    Ok(FunctionNamed { name, arguments })
}
