//! Roles, owners and grants.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Transaction, check_name};
use crate::access::{AccessEntry, AccessKey, Acl, MaskingPolicy, OPEN_SCHEMA, ObjectKind, Rights, Role, Security};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TableName;
use crate::snapshot::RelationKind;

impl Transaction {
    /// Whose the objects are that are made from now on.
    pub fn act_as(&mut self, owner: Uuid) {
        self.owner = owner;
    }

    /// CREATE ROLE
    pub fn create_role(&mut self, role: Role) -> Result<()> {
        check_name(&role.name)?;
        if self.snapshot().access().role(&role.name).is_some() {
            return Err(Error::duplicate_role(&role.name));
        }
        self.put(AccessKey::Role(role.name.clone()), Some(AccessEntry::Role(role)));
        Ok(())
    }

    /// ALTER ROLE, also its name; memberships are its own.
    pub fn alter_role(&mut self, before: &str, role: Role) -> Result<()> {
        if before != role.name {
            check_name(&role.name)?;
            if self.snapshot().access().role(&role.name).is_some() {
                return Err(Error::duplicate_role(&role.name));
            }
            self.put(AccessKey::Role(before.to_owned()), None);
        }
        self.put(AccessKey::Role(role.name.clone()), Some(AccessEntry::Role(role)));
        Ok(())
    }

    /// DROP ROLE: it must own nothing and be named in no grant. Nobody is a member of it any more.
    pub fn drop_role(&mut self, name: &str) -> Result<()> {
        let snapshot = self.snapshot();
        let access = snapshot.access();
        let role = access.role(name).ok_or_else(|| Error::undefined_role(name))?;
        if role.is_first() {
            return Err(Error::new(
                ErrorKind::DependentObjects,
                format!(
                    "cannot drop role {} because it is required by the database system",
                    role.name
                ),
            ));
        }
        for member in access.roles().filter(|member| member.member_of.contains_key(&role.id)) {
            let mut member = member.clone();
            member.member_of.remove(&role.id);
            self.alter_role(&member.name.clone(), member)?;
        }
        self.put(AccessKey::Role(name.to_owned()), None);
        Ok(())
    }

    /// Sets the owner of an object and what is granted on it.
    pub fn set_rights(&mut self, key: AccessKey, rights: Rights) {
        let is_open = matches!(&key, AccessKey::Schema(_, schema) if schema == OPEN_SCHEMA);
        let says_nothing = rights == Rights::default() && !is_open;
        self.put(key, (!says_nothing).then_some(AccessEntry::Rights(rights)));
    }

    /// Sets what is granted on objects that a role will make; `None`: as if nothing had been said.
    pub fn set_default(&mut self, key: AccessKey, acl: Option<Acl>) {
        self.put(key, acl.map(AccessEntry::Default));
    }

    /// Sets the row policies and masks of a table.
    pub fn set_security(&mut self, table: Uuid, security: Security) {
        let entry = (!security.is_empty()).then_some(AccessEntry::Security(security));
        self.put(AccessKey::Security(table), entry);
    }

    /// Sets what sessions of all roles begin with in a database; `""`: in all of them.
    pub fn set_settings(&mut self, database: &str, settings: BTreeMap<String, String>) {
        let entry = (!settings.is_empty()).then_some(AccessEntry::Settings(settings));
        self.put(AccessKey::Settings(database.to_owned()), entry);
    }

    /// Sets a masking policy; `None`: there is none any more.
    pub fn set_mask(&mut self, database: &str, name: &str, mask: Option<MaskingPolicy>) -> Result<()> {
        check_name(name)?;
        let key = AccessKey::Mask(database.to_owned(), name.to_owned());
        self.put(key, mask.map(AccessEntry::Mask));
        Ok(())
    }

    fn put(&mut self, key: AccessKey, entry: Option<AccessEntry>) {
        let was_there = self.base.access().csn_of(&key).is_some();
        let access = &mut self.change().access;
        match entry.is_some() || was_there {
            true => {
                access.insert(key, entry);
            }
            false => {
                access.remove(&key);
            }
        }
    }

    /// Notes whose a new relation is.
    pub(super) fn own_relation(&mut self, name: &TableName, uuid: Uuid, kind: ObjectKind) {
        let snapshot = self.snapshot();
        let (database, schema) = (&name.database, Some(name.schema.as_str()));
        let rights = snapshot.access().of_new(self.owner, database, schema, kind);
        self.set_rights(AccessKey::Relation(uuid), rights);
    }

    /// Notes whose a new schema is. The schema that everybody may use is the database's owner's.
    pub(super) fn own_schema(&mut self, database: &str, schema: &str) {
        let snapshot = self.snapshot();
        let rights = snapshot.access().of_new(self.owner, database, None, ObjectKind::Schema);
        self.set_rights(AccessKey::Schema(database.to_owned(), schema.to_owned()), rights);
    }

    pub(super) fn own_database(&mut self, database: &str) {
        let rights = Rights {
            owner: self.owner,
            ..Rights::default()
        };
        self.set_rights(AccessKey::Database(database.to_owned()), rights);
    }

    /// Forgets whose an object was that is dropped.
    pub(super) fn disown(&mut self, key: AccessKey) {
        if self.snapshot().access().csn_of(&key).is_some() {
            self.put(key, None);
        }
    }

    /// Moves what is known of a schema to another name.
    pub(super) fn move_schema_rights(&mut self, database: &str, from: &str, to: &str) {
        let key = |schema: &str| AccessKey::Schema(database.to_owned(), schema.to_owned());
        let rights = self.snapshot().access().rights(&key(from));
        self.set_rights(key(to), rights);
    }

    /// The UUID of a relation, by which its rights are known.
    pub async fn relation_id(&self, name: &TableName) -> Result<Option<Uuid>> {
        self.snapshot().relation_id(name).await
    }

    pub(super) async fn disown_relation(&mut self, name: &TableName) -> Result<()> {
        if let Some(id) = self.relation_id(name).await? {
            self.disown(AccessKey::Relation(id));
            self.disown(AccessKey::Security(id));
        }
        Ok(())
    }
}

impl RelationKind {
    /// The kind of the privileges on such a relation.
    pub fn object_kind(self) -> ObjectKind {
        match self {
            RelationKind::Table | RelationKind::View | RelationKind::Index => ObjectKind::Table,
            RelationKind::Sequence => ObjectKind::Sequence,
        }
    }
}
