//! Roles and grants as the system catalogs show them: by numbers, and as texts of `aclitem`.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use staffa_catalog::{Access, AccessKey, Acl, Authority, ObjectKind, Privileges, Rights, Role};
use uuid::Uuid;

use super::image::{FIRST_ROLE, Named, ObjectNumbers, Relation};
use super::part::Kind;
use crate::error::Result;

/// All roles and grants in one state of the catalog, and the role that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    pub(crate) all: Vec<Named>,
    by_id: HashMap<Uuid, usize>,
    pub(crate) access: Access,
    pub(crate) user: Named,
    pub(crate) authority: Authority,
}

impl Hash for Roles {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.all.hash(state);
        self.user.hash(state);
    }
}

impl Roles {
    /// Those of a state, asked for by `user` in a database.
    pub async fn of(user: &str, database: &str, access: &Access, numbers: &dyn ObjectNumbers) -> Result<Roles> {
        let known: Vec<&Role> = access.roles().collect();
        let keys: Vec<String> = known.iter().map(|role| format!("role/{}", role.id)).collect();
        let numbers = numbers.numbers(&keys, true).await?;
        let named = known.iter().zip(numbers).map(|(role, number)| Named {
            oid: match role.is_first() {
                true => FIRST_ROLE,
                false => role.number_of_postgres().unwrap_or(number),
            },
            name: role.name.clone(),
        });
        let all: Vec<Named> = named.collect();
        let own = all.iter().find(|role| role.name == user).cloned();
        Ok(Roles {
            user: own.unwrap_or_else(|| Named {
                oid: 0,
                name: user.to_owned(),
            }),
            by_id: known.iter().enumerate().map(|(at, role)| (role.id, at)).collect(),
            authority: access.authority(user, database),
            access: access.clone(),
            all,
        })
    }

    pub(crate) fn with_oid(&self, oid: u32) -> Option<&Named> {
        self.all.iter().find(|role| role.oid == oid)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Named> {
        self.all.iter().find(|role| role.name == name)
    }

    pub(crate) fn with_id(&self, id: Uuid) -> Option<&Named> {
        self.all.get(*self.by_id.get(&id)?)
    }

    /// Who owns PostgreSQL's own objects, and what nobody else does.
    pub(crate) fn first(&self) -> &Named {
        self.with_oid(FIRST_ROLE).unwrap_or(&self.user)
    }

    /// Each role with its number.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&Named, &Role)> {
        self.all.iter().zip(self.access.roles())
    }

    /// The role of this number.
    pub(crate) fn role(&self, oid: u32) -> Option<&Role> {
        self.access.role(&self.with_oid(oid)?.name)
    }

    pub(crate) fn owner(&self, rights: &Rights) -> &Named {
        self.with_id(rights.owner).unwrap_or_else(|| self.first())
    }

    pub(crate) fn of_relation(&self, relation: &Relation) -> Rights {
        match relation_id(relation) {
            Some(id) => self.access.rights(&AccessKey::Relation(id)),
            None => Rights::default(),
        }
    }

    pub(crate) fn of_schema(&self, database: &str, schema: &str) -> Rights {
        self.access
            .rights(&AccessKey::Schema(database.to_owned(), schema.to_owned()))
    }

    pub(crate) fn of_database(&self, database: &str) -> Rights {
        self.access.rights(&AccessKey::Database(database.to_owned()))
    }

    /// A list of grants as an array of `aclitem`.
    pub(crate) fn texts(&self, acl: &Acl) -> Vec<String> {
        let text = |item: &staffa_catalog::AclItem| {
            let grantee = match item.grantee {
                None => String::new(),
                Some(id) => quoted(&self.with_id(id)?.name),
            };
            let grantor = quoted(&self.with_id(item.grantor)?.name);
            let mut letters = String::new();
            for (privilege, letter, _) in Privileges::ALL {
                if item.privileges.contains(privilege) {
                    letters.push(letter);
                    letters.extend(item.grantable.contains(privilege).then_some('*'));
                }
            }
            Some(format!("{grantee}={letters}/{grantor}"))
        };
        // Grants of roles that are gone are nobody's.
        acl.items().filter_map(text).collect()
    }
}

/// The id by which a relation's rights are known.
fn relation_id(relation: &Relation) -> Option<Uuid> {
    match &relation.kind {
        Kind::Sequence(sequence) => Some(sequence.id),
        Kind::Table | Kind::View { .. } | Kind::MaterializedView { .. } => relation.uuid,
    }
}

/// The kind of the privileges on a relation.
pub(crate) fn kind_of(relation: &Relation) -> ObjectKind {
    match relation.kind {
        Kind::Sequence(_) => ObjectKind::Sequence,
        Kind::Table | Kind::View { .. } | Kind::MaterializedView { .. } => ObjectKind::Table,
    }
}

/// A role in the text of an `aclitem`.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    match name.chars().all(plain) && !name.is_empty() {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
