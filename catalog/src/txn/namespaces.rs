//! Databases and schemas.

use super::changes::set_existence;
use super::{FIRST_SCHEMA, Transaction, check_name};
use crate::access::AccessKey;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{TEMPLATE_DATABASES, TableName};
use crate::snapshot::RelationKind;

impl Transaction {
    /// CREATE DATABASE, with an empty schema `public`.
    pub async fn create_database(&mut self, database: &str) -> Result<()> {
        check_name(database)?;
        if self.snapshot().has_database(database) || TEMPLATE_DATABASES.contains(&database) {
            return Err(Error::duplicate_database(database));
        }
        let changes = self.change();
        set_existence(&mut changes.databases, database.to_owned(), true);
        set_existence(
            &mut changes.schemas,
            (database.to_owned(), FIRST_SCHEMA.to_owned()),
            true,
        );
        self.own_database(database);
        Ok(())
    }

    /// DROP DATABASE. Without `cascade` every schema must be empty of tables and views.
    pub async fn drop_database(&mut self, database: &str, cascade: bool) -> Result<()> {
        let snapshot = self.snapshot();
        if !snapshot.has_database(database) {
            return Err(match TEMPLATE_DATABASES.contains(&database) {
                true => Error::new(ErrorKind::WrongObjectType, "cannot drop a template database"),
                false => Error::undefined_database(database),
            });
        }
        for schema in snapshot.schemas(database) {
            if !cascade && !snapshot.relations(database, &schema).is_empty() {
                return Err(has_dependents(
                    "database",
                    database,
                    &format!("schema {schema} is not empty"),
                ));
            }
            self.drop_schema(database, &schema, cascade).await?;
        }
        for schema in snapshot.temporary_schemas(database) {
            self.drop_schema(database, &schema, true).await?;
        }
        set_existence(&mut self.change().databases, database.to_owned(), false);
        for (mask, _) in snapshot.access().masks(database) {
            self.disown(AccessKey::Mask(database.to_owned(), mask.to_owned()));
        }
        for (number, _) in snapshot.access().functions(database) {
            self.disown(AccessKey::Function(database.to_owned(), number));
        }
        self.disown(AccessKey::Settings(database.to_owned()));
        self.disown(AccessKey::Database(database.to_owned()));
        Ok(())
    }

    /// CREATE SCHEMA
    pub async fn create_schema(&mut self, database: &str, schema: &str) -> Result<()> {
        check_name(schema)?;
        let snapshot = self.snapshot();
        if !snapshot.has_database(database) {
            return Err(Error::undefined_database(database));
        }
        if snapshot.has_schema(database, schema) {
            return Err(Error::duplicate_schema(schema));
        }
        set_existence(
            &mut self.change().schemas,
            (database.to_owned(), schema.to_owned()),
            true,
        );
        self.own_schema(database, schema);
        Ok(())
    }

    /// DROP SCHEMA. Without `cascade` it must be empty.
    pub async fn drop_schema(&mut self, database: &str, schema: &str, cascade: bool) -> Result<()> {
        let snapshot = self.snapshot();
        if !snapshot.has_schema(database, schema) {
            return Err(Error::undefined_schema(schema));
        }
        let relations = snapshot.relations(database, schema);
        if let (false, Some((first, _))) = (cascade, relations.first()) {
            return Err(has_dependents("schema", schema, &format!("{first} is in it")));
        }
        for (name, _) in relations {
            let name = TableName::new(database, schema, name);
            // A sequence goes with its table, and so does the name of an index.
            if self.snapshot().relation(&name).is_some() {
                self.drop_relation(&name).await?;
            }
        }
        set_existence(
            &mut self.change().schemas,
            (database.to_owned(), schema.to_owned()),
            false,
        );
        self.disown(AccessKey::Schema(database.to_owned(), schema.to_owned()));
        Ok(())
    }

    /// ALTER SCHEMA … RENAME: everything in it moves to a schema of another name.
    pub async fn rename_schema(&mut self, database: &str, from: &str, to: &str) -> Result<()> {
        let snapshot = self.snapshot();
        if !snapshot.has_schema(database, from) {
            return Err(Error::undefined_schema(from));
        }
        self.create_schema(database, to).await?;
        self.move_schema_rights(database, from, to);
        let properties = self.shared.database.schema_properties(database, from).await?;
        let properties = properties.into_iter().map(|(key, value)| (key, Some(value)));
        self.set_schema_properties(database, to, properties.collect())?;
        for (name, _) in snapshot.relations(database, from) {
            let (old, new) = (
                TableName::new(database, from, &name),
                TableName::new(database, to, &name),
            );
            // A sequence goes with its table, and so does the name of an index.
            let kind = self.snapshot().relation(&old);
            if kind.is_some_and(|kind| kind != RelationKind::Index) {
                self.rename(&old, &new).await?;
            }
        }
        let renamed = (database.to_owned(), from.to_owned(), to.to_owned());
        self.change().renamed_schemas.push(renamed);
        self.drop_schema(database, from, false).await
    }
}

fn has_dependents(what: &str, name: &str, detail: &str) -> Error {
    Error::new(
        ErrorKind::DependentObjects,
        format!(
            "cannot drop {what} {} because other objects depend on it",
            crate::name::quote_identifier(name)
        ),
    )
    .with_detail(detail)
    .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}
