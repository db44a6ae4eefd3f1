//! A role: what it is called, what it may do by itself, and whose member it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name that the role which is there from the first start has then. It has the nil UUID for ever.
pub const FIRST_ROLE: &str = "admin";

/// A role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The role's for ever.
    pub id: Uuid,
    /// What it is called now.
    pub name: String,
    /// `SUPERUSER`: nothing is refused.
    pub superuser: bool,
    /// `INHERIT`: it has the privileges of the roles it is a member of.
    pub inherit: bool,
    /// `CREATEROLE`
    pub createrole: bool,
    /// `CREATEDB`
    pub createdb: bool,
    /// `LOGIN`
    pub login: bool,
    /// `REPLICATION`
    pub replication: bool,
    /// `BYPASSRLS`
    pub bypassrls: bool,
    /// `CONNECTION LIMIT`; -1: none.
    pub connection_limit: i32,
    /// The SCRAM-SHA-256 verifier of its password.
    pub verifier: Option<String>,
    /// `VALID UNTIL`, in microseconds since 1970 UTC; the extremes are the infinities.
    pub valid_until: Option<i64>,
    /// `ALTER ROLE … [IN DATABASE …] SET`: by database, of which the empty name is every one, and setting.
    pub settings: BTreeMap<String, BTreeMap<String, String>>,
    /// `COMMENT ON ROLE`
    pub comment: Option<String>,
    /// The roles it is a member of.
    pub member_of: BTreeMap<Uuid, Membership>,
}

/// How a role is a member of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Who made it one.
    pub grantor: Uuid,
    /// `WITH ADMIN OPTION`: it may make others members.
    pub admin: bool,
}

impl Role {
    /// A role as `CREATE ROLE` makes it when nothing else is said.
    pub fn new(name: &str) -> Role {
        Role {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            superuser: false,
            inherit: true,
            createrole: false,
            createdb: false,
            login: false,
            replication: false,
            bypassrls: false,
            connection_limit: -1,
            verifier: None,
            valid_until: None,
            settings: BTreeMap::new(),
            comment: None,
            member_of: BTreeMap::new(),
        }
    }

    /// A role that may do everything, as every role could before there were grants.
    pub(crate) fn all_mighty(id: Uuid, name: &str, verifier: Option<String>) -> Role {
        Role {
            id,
            superuser: true,
            createrole: true,
            createdb: true,
            login: true,
            replication: true,
            bypassrls: true,
            verifier,
            ..Role::new(name)
        }
    }

    /// Whether it is the role that is there from the first start.
    pub fn is_first(&self) -> bool {
        self.id.is_nil()
    }
}

impl fmt::Debug for Role {
    /// Without the verifier: what is printed may be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
