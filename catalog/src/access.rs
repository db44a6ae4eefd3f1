//! Roles and grants: who there is, who owns what, and the one question "may this role do that".
//!
//! ```text
//! staffa_access    object -> definition, csn      changed by commits, like pointers; a null definition is one that is gone
//! ```
//!
//! What has no row belongs to the first role, and nothing of it was granted. Relations are known by their UUIDs, columns by
//! their field ids and roles by ids of their own, so that nothing here changes when one of them is called otherwise. An id
//! that no role has any more gives nobody anything: ids are not used twice.

mod acl;
mod predefined;
mod role;
mod security;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::name::TEMPLATE_DATABASES;

pub use acl::{Acl, AclItem, ObjectKind, Privileges, Rights};
pub use role::{FIRST_ROLE, Membership, Role};
pub use security::{AttachedMask, MaskingPolicy, Policy, PolicyCommand, PolicyCondition, Security};

/// The schema every database has from its beginning: everybody may use it.
pub(crate) const OPEN_SCHEMA: &str = "public";

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessKey {
    /// A role, by its name.
    Role(String),
    /// A database, by its name.
    Database(String),
    /// A schema, by the names of its database and its own.
    Schema(String, String),
    /// A table, view or sequence, by its UUID.
    Relation(Uuid),
    /// What is granted on objects that a role will make: the role, the database, the schema if it is for one, and of what kind.
    Default(Uuid, String, Option<String>, ObjectKind),
    /// The row policies and masks of a table, by its UUID.
    Security(Uuid),
    /// A masking policy, by the names of its database and its own.
    Mask(String, String),
    /// A function of PostgreSQL in a database, by its number.
    Function(String, u32),
    /// What sessions of all roles begin with in a database, by its name; of none: in all of them.
    Settings(String),
}

impl AccessKey {
    pub(crate) fn print(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal("cannot encode the name of an object").with_source(error))
    }
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessEntry {
    Role(Role),
    Rights(Rights),
    Default(Acl),
    Security(Security),
    Mask(MaskingPolicy),
    Settings(BTreeMap<String, String>),
}

impl AccessEntry {
    pub(crate) fn print(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal("cannot encode roles and grants").with_source(error))
    }
}

/// A row with the number of the commit that made it so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    csn: u64,
    entry: Arc<AccessEntry>,
}

/// A row as the database has it.
#[derive(Debug)]
pub(crate) struct AccessRow {
    pub(crate) object: String,
    /// `None`: gone.
    pub(crate) definition: Option<String>,
    pub(crate) csn: u64,
}

/// A row that a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessChange {
    pub(crate) object: String,
    /// The number of the commit that made what must be there now; `None`: there must be nothing.
    pub(crate) from: Option<u64>,
    /// What it becomes; `None`: it goes.
    pub(crate) to: Option<String>,
}

/// All roles and grants in one state of the catalog. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    kept: Arc<BTreeMap<AccessKey, Kept>>,
    /// The names of roles by their ids.
    names: Arc<BTreeMap<Uuid, String>>,
}

impl Access {
    /// The state after what a database says has changed.
    pub(crate) fn advanced(&self, rows: Vec<AccessRow>, complete: bool) -> Result<Access> {
        if rows.is_empty() && !complete {
            return Ok(self.clone());
        }
        let mut kept = match complete {
            true => BTreeMap::new(),
            false => (*self.kept).clone(),
        };
        for row in rows {
            let unreadable = |error: serde_json::Error| {
                Error::new(ErrorKind::Corrupt, "roles and grants cannot be read").with_source(error)
            };
            let key: AccessKey = serde_json::from_str(&row.object).map_err(unreadable)?;
            match row.definition {
                None => {
                    kept.remove(&key);
                }
                Some(text) => {
                    let entry = Arc::new(serde_json::from_str(&text).map_err(unreadable)?);
                    kept.insert(key, Kept { csn: row.csn, entry });
                }
            }
        }
        Ok(Access::of(kept))
    }

    /// The state with a transaction's changes.
    pub(crate) fn with(&self, changes: &BTreeMap<AccessKey, Option<AccessEntry>>) -> Access {
        if changes.is_empty() {
            return self.clone();
        }
        let mut kept = (*self.kept).clone();
        for (key, entry) in changes {
            match entry {
                Some(entry) => {
                    let entry = Arc::new(entry.clone());
                    kept.insert(key.clone(), Kept { csn: u64::MAX, entry });
                }
                None => {
                    kept.remove(key);
                }
            }
        }
        Access::of(kept)
    }

    fn of(mut kept: BTreeMap<AccessKey, Kept>) -> Access {
        for role in predefined::roles() {
            let key = AccessKey::Role(role.name.clone());
            kept.entry(key).or_insert_with(|| Kept {
                csn: 0,
                entry: Arc::new(AccessEntry::Role(role)),
            });
        }
        let roles = kept.values().filter_map(|kept| match &*kept.entry {
            AccessEntry::Role(role) => Some((role.id, role.name.clone())),
            _ => None,
        });
        Access {
            names: Arc::new(roles.collect()),
            kept: Arc::new(kept),
        }
    }

    /// The number of the commit that made a row what it is.
    pub(crate) fn csn_of(&self, key: &AccessKey) -> Option<u64> {
        self.kept.get(key).map(|kept| kept.csn)
    }

    fn entry(&self, key: &AccessKey) -> Option<&AccessEntry> {
        self.kept.get(key).map(|kept| &*kept.entry)
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        match self.entry(&AccessKey::Role(name.to_owned()))? {
            AccessEntry::Role(role) => Some(role),
            _ => None,
        }
    }

    /// The role with this id.
    pub fn role_with_id(&self, id: Uuid) -> Option<&Role> {
        self.role(self.names.get(&id)?)
    }

    /// All roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.kept.values().filter_map(|kept| match &*kept.entry {
            AccessEntry::Role(role) => Some(role),
            _ => None,
        })
    }

    /// Who owns an object, and what is granted on it.
    pub fn rights(&self, key: &AccessKey) -> Rights {
        match (self.entry(key), key) {
            (Some(AccessEntry::Rights(rights)), _) => rights.clone(),
            (_, AccessKey::Schema(_, schema)) if schema == OPEN_SCHEMA => {
                Rights::of_open_schema(predefined::DATABASE_OWNER)
            }
            (_, AccessKey::Database(database)) if TEMPLATE_DATABASES.contains(&database.as_str()) => {
                Rights::of_template()
            }
            _ => Rights::default(),
        }
    }

    /// Everything that has a row of its own, but roles and what objects will get.
    pub fn all_rights(&self) -> impl Iterator<Item = (&AccessKey, &Rights)> {
        self.kept.iter().filter_map(|(key, kept)| match &*kept.entry {
            AccessEntry::Rights(rights) => Some((key, rights)),
            _ => None,
        })
    }

    /// The functions of a database on which anything was granted or revoked, by their numbers.
    pub fn functions(&self, database: &str) -> impl Iterator<Item = (u32, &Rights)> {
        let key = |number| AccessKey::Function(database.to_owned(), number);
        let kept = self.kept.range(key(0)..=key(u32::MAX));
        kept.filter_map(|(key, kept)| match (key, &*kept.entry) {
            (AccessKey::Function(_, number), AccessEntry::Rights(rights)) => Some((*number, rights)),
            _ => None,
        })
    }

    /// What sessions of all roles begin with in a database; `""`: in all of them.
    pub fn settings(&self, database: &str) -> Option<&BTreeMap<String, String>> {
        match self.entry(&AccessKey::Settings(database.to_owned()))? {
            AccessEntry::Settings(settings) => Some(settings),
            _ => None,
        }
    }

    /// What is granted on objects that roles will make.
    pub fn defaults(&self) -> impl Iterator<Item = (&AccessKey, &Acl)> {
        self.kept.iter().filter_map(|(key, kept)| match &*kept.entry {
            AccessEntry::Default(acl) => Some((key, acl)),
            _ => None,
        })
    }

    /// What one of those rows says.
    pub fn default_of(&self, key: &AccessKey) -> Option<&Acl> {
        match self.entry(key)? {
            AccessEntry::Default(acl) => Some(acl),
            _ => None,
        }
    }

    /// The row policies and masks of a table, if it has any.
    pub fn security(&self, table: Uuid) -> Option<&Security> {
        match self.entry(&AccessKey::Security(table))? {
            AccessEntry::Security(security) => Some(security),
            _ => None,
        }
    }

    /// All tables that have row policies or masks.
    pub fn all_security(&self) -> impl Iterator<Item = (Uuid, &Security)> {
        self.kept.iter().filter_map(|(key, kept)| match (key, &*kept.entry) {
            (AccessKey::Security(table), AccessEntry::Security(security)) => Some((*table, security)),
            _ => None,
        })
    }

    /// The masking policy of this name.
    pub fn mask(&self, database: &str, name: &str) -> Option<&MaskingPolicy> {
        match self.entry(&AccessKey::Mask(database.to_owned(), name.to_owned()))? {
            AccessEntry::Mask(mask) => Some(mask),
            _ => None,
        }
    }

    /// The masking policies of a database, by name.
    pub fn masks<'a>(&'a self, database: &'a str) -> impl Iterator<Item = (&'a str, &'a MaskingPolicy)> {
        self.kept
            .iter()
            .filter_map(move |(key, kept)| match (key, &*kept.entry) {
                (AccessKey::Mask(of, name), AccessEntry::Mask(mask)) if of == database => Some((name.as_str(), mask)),
                _ => None,
            })
    }

    /// What a new object of a role begins with. A schema's own defaults add to those of the database.
    pub(crate) fn of_new(&self, owner: Uuid, database: &str, schema: Option<&str>, kind: ObjectKind) -> Rights {
        let given = |schema: Option<&str>| {
            let key = AccessKey::Default(owner, database.to_owned(), schema.map(str::to_owned), kind);
            self.default_of(&key)
        };
        let (wide, narrow) = (given(None), schema.and_then(|schema| given(Some(schema))));
        let acl = (wide.is_some() || narrow.is_some()).then(|| {
            let mut acl = wide.cloned().unwrap_or_else(|| Acl::default_of(kind, owner));
            for item in narrow.iter().flat_map(|acl| acl.items()) {
                acl.grant(item.grantee, item.grantor, item.privileges, item.grantable);
            }
            acl
        });
        Rights {
            owner,
            acl: acl.filter(|acl| *acl != Acl::default_of(kind, owner)),
            columns: BTreeMap::new(),
        }
    }

    /// The roles whose members a role is, itself among them; `inherited`: only those whose privileges it has without SET ROLE.
    pub fn roles_of(&self, id: Uuid, inherited: bool) -> BTreeSet<Uuid> {
        let mut found = BTreeSet::from([id]);
        let mut open = vec![id];
        while let Some(member) = open.pop() {
            let Some(role) = self.role_with_id(member) else {
                continue;
            };
            if inherited && !role.inherit {
                continue;
            }
            open.extend(role.member_of.keys().copied().filter(|group| found.insert(*group)));
        }
        found
    }

    /// What a role may do in a database. One that is not there any more may do what everybody may.
    pub fn authority(&self, name: &str, database: &str) -> Authority {
        self.authority_of(self.role(name), Some(database))
    }

    /// The same by its id.
    pub fn authority_with_id(&self, id: Uuid, database: &str) -> Authority {
        self.authority_of(self.role_with_id(id), Some(database))
    }

    fn authority_of(&self, role: Option<&Role>, database: Option<&str>) -> Authority {
        let mut authority = self.own_authority_of(role);
        let owner = database.map(|database| self.rights(&AccessKey::Database(database.to_owned())).owner);
        if owner.is_some_and(|owner| authority.roles.contains(&owner)) {
            authority.roles.insert(predefined::DATABASE_OWNER);
        }
        authority
    }

    /// The same in no database.
    fn own_authority_of(&self, role: Option<&Role>) -> Authority {
        match role {
            Some(role) => Authority {
                id: Some(role.id),
                is_superuser: role.superuser,
                bypasses_policies: role.superuser || role.bypassrls,
                roles: match role.superuser {
                    true => BTreeSet::from([role.id]),
                    false => self.roles_of(role.id, true),
                },
            },
            None => Authority::default(),
        }
    }

    /// Whether a role may see what another one's sessions do.
    pub fn may_watch(&self, watcher: &str, watched: &str) -> bool {
        self.has_privileges_of_one(watcher, [watched, predefined::READ_ALL_STATS])
    }

    /// Whether a role may stop what another one's sessions do.
    pub fn may_signal(&self, role: &str, signalled: &str) -> bool {
        let is_superuser = |name| self.role(name).is_some_and(|role| role.superuser);
        let may = self.has_privileges_of_one(role, [signalled, predefined::SIGNAL_BACKEND]);
        may && (is_superuser(role) || !is_superuser(signalled))
    }

    fn has_privileges_of_one(&self, role: &str, others: [&str; 2]) -> bool {
        let authority = self.authority_of(self.role(role), None);
        let mut others = others.into_iter().filter_map(|name| self.role(name));
        authority.is_superuser() || others.any(|other| authority.has_privileges_of(other.id))
    }

    /// Whether a role may SET ROLE to another.
    pub fn is_member(&self, member: &Role, of: Uuid) -> bool {
        member.superuser || self.roles_of(member.id, false).contains(&of)
    }

    /// Whether a role may make others members of another.
    pub fn is_admin(&self, member: &Role, of: Uuid) -> bool {
        let by_grant = |id: &Uuid| {
            let role = self.role_with_id(*id);
            role.is_some_and(|role| role.member_of.get(&of).is_some_and(|membership| membership.admin))
        };
        member.superuser || self.roles_of(member.id, false).iter().any(by_grant)
    }
}

/// What a role may do, in one state of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// `None`: nobody any more.
    id: Option<Uuid>,
    is_superuser: bool,
    /// `BYPASSRLS`
    bypasses_policies: bool,
    /// Whose privileges it has: its own, and those it inherits.
    roles: BTreeSet<Uuid>,
}

impl Authority {
    /// Who may do everything: the warehouse's own work.
    pub fn of_warehouse() -> Authority {
        Authority {
            id: Some(Uuid::nil()),
            is_superuser: true,
            bypasses_policies: true,
            roles: BTreeSet::new(),
        }
    }

    /// Whether nothing is refused.
    pub fn is_superuser(&self) -> bool {
        self.is_superuser
    }

    /// Whether no row policy is for it.
    pub fn bypasses_policies(&self) -> bool {
        self.bypasses_policies
    }

    /// Whose objects it makes.
    pub fn owner(&self) -> Option<Uuid> {
        self.id
    }

    /// Whether it may do what the owner may.
    pub fn owns(&self, rights: &Rights) -> bool {
        self.is_superuser || self.roles.contains(&rights.owner)
    }

    /// Whether it has the privileges of a role.
    pub fn has_privileges_of(&self, role: Uuid) -> bool {
        self.is_superuser || self.roles.contains(&role)
    }

    /// Those of the privileges it has on an object as a whole.
    pub fn held(&self, rights: &Rights, kind: ObjectKind, wanted: Privileges) -> Privileges {
        if self.is_superuser {
            return wanted;
        }
        let default;
        let acl = match &rights.acl {
            Some(acl) => acl,
            None => {
                default = Acl::default_of(kind, rights.owner);
                &default
            }
        };
        acl.held_by(|role| self.roles.contains(&role)) & wanted
    }

    /// Whether it has a privilege on an object as a whole.
    pub fn may(&self, rights: &Rights, kind: ObjectKind, privilege: Privileges) -> bool {
        self.held(rights, kind, privilege) == privilege
    }

    /// Whether it has a privilege on a column, by its field id: on the table or on it.
    pub fn may_with_column(&self, rights: &Rights, column: i32, privilege: Privileges) -> bool {
        let on_table = self.held(rights, ObjectKind::Table, privilege);
        let on_column = rights.columns.get(&column).map_or(Privileges::NONE, |acl| {
            acl.held_by(|role| self.roles.contains(&role)) & privilege
        });
        on_table | on_column == privilege
    }

    /// The privileges it may grant others on an object, with the role that it grants them as: the owner, or one of its own
    /// that has most of them.
    pub fn grantable(&self, rights: &Rights, acl: &Acl, wanted: Privileges) -> (Uuid, Privileges) {
        if self.owns(rights) {
            return (rights.owner, wanted);
        }
        let own = self.id.unwrap_or_default();
        let mut best = (own, acl.grantable_by(own) & wanted);
        for role in &self.roles {
            let granted = acl.grantable_by(*role) & wanted;
            if granted.count() > best.1.count() {
                best = (*role, granted);
            }
        }
        best
    }
}
