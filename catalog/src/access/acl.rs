//! Lists of grants, as PostgreSQL keeps them: who gave whom what, and what of it may be passed on.

use std::collections::BTreeMap;
use std::ops::{BitAnd, BitOr, Not};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Some privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Privileges(u16);

impl Privileges {
    /// None of them.
    pub const NONE: Privileges = Privileges(0);
    /// `INSERT`
    pub const INSERT: Privileges = Privileges(1);
    /// `SELECT`
    pub const SELECT: Privileges = Privileges(1 << 1);
    /// `UPDATE`
    pub const UPDATE: Privileges = Privileges(1 << 2);
    /// `DELETE`
    pub const DELETE: Privileges = Privileges(1 << 3);
    /// `TRUNCATE`
    pub const TRUNCATE: Privileges = Privileges(1 << 4);
    /// `REFERENCES`
    pub const REFERENCES: Privileges = Privileges(1 << 5);
    /// `TRIGGER`
    pub const TRIGGER: Privileges = Privileges(1 << 6);
    /// `EXECUTE`
    pub const EXECUTE: Privileges = Privileges(1 << 7);
    /// `USAGE`
    pub const USAGE: Privileges = Privileges(1 << 8);
    /// `CREATE`
    pub const CREATE: Privileges = Privileges(1 << 9);
    /// `TEMPORARY`
    pub const TEMPORARY: Privileges = Privileges(1 << 10);
    /// `CONNECT`
    pub const CONNECT: Privileges = Privileges(1 << 11);

    /// Each with its letter in an `aclitem` and its name, in the order of the letters there.
    pub const ALL: [(Privileges, char, &'static str); 12] = [
        (Privileges::INSERT, 'a', "INSERT"),
        (Privileges::SELECT, 'r', "SELECT"),
        (Privileges::UPDATE, 'w', "UPDATE"),
        (Privileges::DELETE, 'd', "DELETE"),
        (Privileges::TRUNCATE, 'D', "TRUNCATE"),
        (Privileges::REFERENCES, 'x', "REFERENCES"),
        (Privileges::TRIGGER, 't', "TRIGGER"),
        (Privileges::EXECUTE, 'X', "EXECUTE"),
        (Privileges::USAGE, 'U', "USAGE"),
        (Privileges::CREATE, 'C', "CREATE"),
        (Privileges::TEMPORARY, 'T', "TEMPORARY"),
        (Privileges::CONNECT, 'c', "CONNECT"),
    ];

    /// The privilege of this name, in lower case; `temp` is another name of one.
    pub fn named(name: &str) -> Option<Privileges> {
        if name == "temp" {
            return Some(Privileges::TEMPORARY);
        }
        let mut all = Privileges::ALL.iter();
        let found = all.find(|(_, _, known)| known.eq_ignore_ascii_case(name))?;
        Some(found.0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether these are all among them.
    pub fn contains(self, others: Privileges) -> bool {
        self & others == others
    }

    pub(super) fn count(self) -> u32 {
        self.0.count_ones()
    }
}

impl BitOr for Privileges {
    type Output = Privileges;
    fn bitor(self, other: Privileges) -> Privileges {
        Privileges(self.0 | other.0)
    }
}

impl BitAnd for Privileges {
    type Output = Privileges;
    fn bitand(self, other: Privileges) -> Privileges {
        Privileges(self.0 & other.0)
    }
}

impl Not for Privileges {
    type Output = Privileges;
    fn not(self) -> Privileges {
        Privileges(!self.0)
    }
}

/// What kind of object privileges are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// Tables and views.
    Table,
    /// Columns of tables and views.
    Column,
    /// Sequences.
    Sequence,
    /// Schemas.
    Schema,
    /// Databases.
    Database,
    /// Functions.
    Function,
    /// Types.
    Type,
}

impl ObjectKind {
    /// The privileges there are on such an object.
    pub fn privileges(self) -> Privileges {
        use Privileges as P;
        match self {
            ObjectKind::Table => {
                P::INSERT | P::SELECT | P::UPDATE | P::DELETE | P::TRUNCATE | P::REFERENCES | P::TRIGGER
            }
            ObjectKind::Column => P::INSERT | P::SELECT | P::UPDATE | P::REFERENCES,
            ObjectKind::Sequence => P::USAGE | P::SELECT | P::UPDATE,
            ObjectKind::Schema => P::USAGE | P::CREATE,
            ObjectKind::Database => P::CREATE | P::TEMPORARY | P::CONNECT,
            ObjectKind::Function => P::EXECUTE,
            ObjectKind::Type => P::USAGE,
        }
    }

    /// What messages call it.
    pub fn noun(self) -> &'static str {
        match self {
            ObjectKind::Table => "table",
            ObjectKind::Column => "column",
            ObjectKind::Sequence => "sequence",
            ObjectKind::Schema => "schema",
            ObjectKind::Database => "database",
            ObjectKind::Function => "function",
            ObjectKind::Type => "type",
        }
    }

    /// What everybody may do with such an object when nothing else is said.
    fn open_to_all(self) -> Privileges {
        match self {
            ObjectKind::Database => Privileges::TEMPORARY | Privileges::CONNECT,
            ObjectKind::Function => Privileges::EXECUTE,
            ObjectKind::Type => Privileges::USAGE,
            _ => Privileges::NONE,
        }
    }
}

/// What one role gave another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AclItem {
    /// `None`: everybody, PUBLIC.
    pub grantee: Option<Uuid>,
    /// Who gave it.
    pub grantor: Uuid,
    /// What was given.
    pub privileges: Privileges,
    /// What of it may be given on.
    pub grantable: Privileges,
}

/// All grants on one object, in the order they were first made in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acl(Vec<AclItem>);

impl Acl {
    /// What holds when nothing was granted or revoked.
    pub fn default_of(kind: ObjectKind, owner: Uuid) -> Acl {
        let mut acl = Acl::default();
        if kind != ObjectKind::Column {
            acl.grant(None, owner, kind.open_to_all(), Privileges::NONE);
            acl.grant(Some(owner), owner, kind.privileges(), Privileges::NONE);
        }
        acl
    }

    /// Each grant.
    pub fn items(&self) -> impl Iterator<Item = &AclItem> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What those roles and everybody may do.
    pub(super) fn held_by(&self, is_one: impl Fn(Uuid) -> bool) -> Privileges {
        let items = self.0.iter().filter(|item| item.grantee.is_none_or(&is_one));
        items.fold(Privileges::NONE, |held, item| held | item.privileges)
    }

    /// What a role, itself, may give on.
    pub(super) fn grantable_by(&self, role: Uuid) -> Privileges {
        let items = self.0.iter().filter(|item| item.grantee == Some(role));
        items.fold(Privileges::NONE, |held, item| held | item.grantable)
    }

    /// Adds a grant.
    pub fn grant(&mut self, grantee: Option<Uuid>, grantor: Uuid, privileges: Privileges, grantable: Privileges) {
        if privileges.is_empty() {
            return;
        }
        match self
            .0
            .iter_mut()
            .find(|item| item.grantee == grantee && item.grantor == grantor)
        {
            Some(item) => {
                item.privileges = item.privileges | privileges;
                item.grantable = item.grantable | grantable;
            }
            None => self.0.push(AclItem {
                grantee,
                grantor,
                privileges,
                grantable,
            }),
        }
    }

    /// Takes back what a role gave, or only that it may be given on. What was given on by that goes too; without `cascade` that
    /// is refused, and nothing is changed: `false`.
    #[must_use]
    pub fn revoke(
        &mut self,
        grantee: Option<Uuid>,
        grantor: Uuid,
        privileges: Privileges,
        option_only: bool,
        owner: Uuid,
        cascade: bool,
    ) -> bool {
        let mut after = self.clone();
        for item in &mut after.0 {
            if item.grantee == grantee && item.grantor == grantor {
                item.grantable = item.grantable & !privileges;
                if !option_only {
                    item.privileges = item.privileges & !privileges;
                }
            }
        }
        // The owner may always give on; others only what some grant still lets them.
        loop {
            let without: Vec<(usize, Privileges)> = after
                .0
                .iter()
                .enumerate()
                .filter(|(_, item)| item.grantor != owner)
                .map(|(at, item)| (at, item.privileges & !after.grantable_by(item.grantor)))
                .filter(|(_, lost)| !lost.is_empty())
                .collect();
            if without.is_empty() {
                break;
            }
            if !cascade {
                return false;
            }
            for (at, lost) in without {
                let item = &mut after.0[at];
                item.privileges = item.privileges & !lost;
                item.grantable = item.grantable & !lost;
            }
        }
        after.0.retain(|item| !item.privileges.is_empty());
        *self = after;
        true
    }

    /// The list after a role's place is taken by another: as the owner, as one who was given something and as one who gave it.
    pub fn replaced(&self, from: Uuid, to: Uuid) -> Acl {
        let new = |id: Uuid| if id == from { to } else { id };
        let mut acl = Acl::default();
        for item in &self.0 {
            acl.grant(
                item.grantee.map(new),
                new(item.grantor),
                item.privileges,
                item.grantable,
            );
        }
        acl
    }

    /// Forgets what a role was given, and what it gave.
    pub fn without(&self, role: Uuid, owner: Uuid) -> Acl {
        let mut acl = self.clone();
        acl.0.retain(|item| item.grantee != Some(role) && item.grantor != role);
        // What others could give on only because of that goes as well.
        let _ = acl.revoke(None, role, Privileges::NONE, false, owner, true);
        acl
    }

    /// Whether two lists say the same, in whatever order.
    pub fn says_what(&self, other: &Acl) -> bool {
        let has = |list: &Acl, item: &AclItem| list.0.contains(item);
        self.0.len() == other.0.len() && self.0.iter().all(|item| has(other, item))
    }

    /// Whether a role is named in it.
    pub fn names(&self, role: Uuid) -> bool {
        self.0
            .iter()
            .any(|item| item.grantee == Some(role) || item.grantor == role)
    }
}

/// Who owns an object, and what was granted on it. The nil UUID is the first role's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Whose it is.
    pub owner: Uuid,
    /// `None`: nothing was granted or revoked.
    pub acl: Option<Acl>,
    /// Grants on columns, by field id.
    pub columns: BTreeMap<i32, Acl>,
}

impl Rights {
    /// A database that others are made like: of the first role, and nobody makes anything in it.
    pub(super) fn of_template() -> Rights {
        let owner = Uuid::nil();
        let mut acl = Acl::default();
        acl.grant(None, owner, Privileges::CONNECT, Privileges::NONE);
        acl.grant(Some(owner), owner, ObjectKind::Database.privileges(), Privileges::NONE);
        Rights {
            owner,
            acl: Some(acl),
            columns: BTreeMap::new(),
        }
    }

    /// The schema that everybody may use.
    pub(super) fn of_open_schema(owner: Uuid) -> Rights {
        let mut acl = Acl::default_of(ObjectKind::Schema, owner);
        acl.grant(None, owner, Privileges::USAGE, Privileges::NONE);
        Rights {
            owner,
            acl: Some(acl),
            columns: BTreeMap::new(),
        }
    }

    /// The grants on the object, also when none was made.
    pub fn acl_of(&self, kind: ObjectKind) -> Acl {
        self.acl.clone().unwrap_or_else(|| Acl::default_of(kind, self.owner))
    }

    /// The same for another owner, who takes the place of this one in the grants.
    pub fn owned_by(&self, owner: Uuid) -> Rights {
        Rights {
            owner,
            acl: self.acl.as_ref().map(|acl| acl.replaced(self.owner, owner)),
            columns: self
                .columns
                .iter()
                .map(|(column, acl)| (*column, acl.replaced(self.owner, owner)))
                .collect(),
        }
    }

    /// Whether a role owns it or is named in its grants.
    pub fn names(&self, role: Uuid) -> bool {
        let mut lists = self.acl.iter().chain(self.columns.values());
        self.owner == role || lists.any(|acl| acl.names(role))
    }
}
