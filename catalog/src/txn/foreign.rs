//! What other engines do in a transaction: tables by their metadata, not by SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use uuid::Uuid;

use super::{RelationState, TableDelta, Transaction};
use crate::access::ObjectKind;
use crate::commit::foreign::{Looked, check_all_files, check_files};
use crate::commit::places::check_free;
use crate::error::{Error, ErrorKind, Result};
use crate::garbage::STAGED_KEPT_MS;
use crate::iceberg::{Metadata, TableCommit, TableCreation, created_by};
use crate::name::{TableName, quote_identifier};
use crate::objects::{is_inside, is_plain_path, is_same_or_below};
use crate::snapshot::RelationKind;
use crate::table::TableVersion;

/// The columns of the catalog database for keys and values of properties, in characters.
const PROPERTY_KEY_MAX: usize = 255;
const PROPERTY_VALUE_MAX: usize = 1000;
/// The key that says a schema exists.
const EXISTS: &str = "exists";

impl Transaction {
    /// The first metadata of a table as another engine wants it, as JSON. Nothing is made: a later commit does that. Without
    /// one, what the engine stores in the table's directory goes in three days.
    pub async fn stage_table(&self, name: &TableName, creation: &TableCreation) -> Result<Vec<u8>> {
        let metadata = self.new_metadata(name, creation)?;
        self.check_allowed(&metadata).await?;
        if self.shared.owns_location(metadata.location(), metadata.uuid()) {
            let directory = format!("{}/", metadata.location());
            let not_before_ms = Utc::now().timestamp_millis() + STAGED_KEPT_MS;
            self.shared.database.note_garbage(&directory, not_before_ms).await?;
        }
        metadata.to_json()
    }

    /// Makes a table as another engine defines it.
    pub async fn create_table_as(&mut self, name: &TableName, creation: &TableCreation) -> Result<()> {
        let metadata = self.new_metadata(name, creation)?;
        self.check_allowed(&metadata).await?;
        let uuid = metadata.uuid();
        let version = Arc::new(TableVersion::new(String::new(), metadata, 0)?);
        self.set_state(name, Some(RelationState::Table(TableDelta::new(version))));
        self.own_relation(name, uuid, ObjectKind::Table);
        Ok(())
    }

    /// What another engine asks to be done to a table, or a table it makes. Its data is in files already; the commit looks
    /// at them. A commit that was made before is nothing to do: its answer was lost.
    ///
    /// # Errors
    /// `Conflict` when a requirement does not hold; `UndefinedTable`; `InvalidDefinition` and `Unsupported` for what cannot
    /// be done.
    pub async fn commit_table(&mut self, name: &TableName, commit: TableCommit) -> Result<()> {
        if self.changes.relations.contains_key(name) {
            return Err(Error::invalid(format!(
                "table {} is named twice",
                quote_identifier(&name.name)
            )));
        }
        if self.snapshot().relation(name) == Some(RelationKind::Table) {
            let version = self.table(name).await?.version().clone();
            let metadata = version.metadata();
            if metadata.has_commit(&commit) {
                return Ok(());
            }
            // Again at the commit; what is wrong already is said before anything is noted down.
            metadata.check_requirements(&commit)?;
            metadata.updated(Some(version.metadata_location()), &commit)?;
            self.table_delta(name, version)?.foreign = Some(Arc::new(commit));
            return Ok(());
        }
        if !commit.creates() {
            return Err(Error::undefined_relation(&name.name));
        }
        self.create_by(name, commit).await
    }

    /// A table that is made by a commit.
    async fn create_by(&mut self, name: &TableName, commit: TableCommit) -> Result<()> {
        self.check_new_table(name)?;
        commit.check_new()?;
        let uuid = commit.uuid().unwrap_or_else(Uuid::new_v4);
        let location = match commit.location() {
            Some(location) => location.to_owned(),
            None => self.shared.new_location(name, uuid),
        };
        self.check_location(&location)?;
        let metadata = created_by(&commit, uuid, &location)?;
        self.check_allowed(&metadata).await?;
        check_files(&self.shared, None, &metadata, &commit, &mut Looked::default()).await?;
        let delta = TableDelta {
            foreign: Some(Arc::new(commit)),
            ..TableDelta::new(Arc::new(TableVersion::new(String::new(), metadata, 0)?))
        };
        self.set_state(name, Some(RelationState::Table(delta)));
        self.own_relation(name, uuid, ObjectKind::Table);
        Ok(())
    }

    /// Takes a table in whose metadata file is there already. Its files stay where they are.
    pub async fn register_table(&mut self, name: &TableName, metadata_location: &str) -> Result<()> {
        self.check_new_table(name)?;
        let stored = self.shared.loader.table_version(metadata_location).await;
        let version = stored.map_err(|error| match error.kind() {
            ErrorKind::MissingObject | ErrorKind::Forbidden | ErrorKind::Corrupt => {
                Error::invalid(format!("metadata \"{metadata_location}\" cannot be read"))
                    .with_detail(error.to_string())
            }
            _ => error,
        })?;
        version.metadata().check_registered()?;
        let location = version.metadata().location().to_owned();
        self.check_location(&location)?;
        if !is_inside(&location, metadata_location) {
            return Err(Error::invalid("the metadata file is not in the table's directory")
                .with_detail(format!("It says the table is in {location}.")));
        }
        check_all_files(&self.shared, &version).await?;
        let delta = TableDelta {
            is_registered: true,
            ..TableDelta::new(version.clone())
        };
        self.set_state(name, Some(RelationState::Table(delta)));
        self.own_relation(name, version.metadata().uuid(), ObjectKind::Table);
        // Of a table that was dropped before, and its files kept.
        self.restore_sequences(name, version.metadata()).await
    }

    /// Takes a table out of the catalog; its files stay for good, and it can be brought back.
    pub async fn drop_table_keeping_files(&mut self, name: &TableName) -> Result<()> {
        self.drop_table(name).await?;
        self.change().kept_files.insert(name.clone());
        Ok(())
    }

    /// Sets properties of a schema, or removes them.
    pub fn set_schema_properties(
        &mut self,
        database: &str,
        schema: &str,
        properties: BTreeMap<String, Option<String>>,
    ) -> Result<()> {
        if !self.snapshot().has_schema(database, schema) {
            return Err(Error::undefined_schema(schema));
        }
        for (key, value) in &properties {
            let is_long = key.chars().count() > PROPERTY_KEY_MAX
                || value
                    .as_ref()
                    .is_some_and(|value| value.chars().count() > PROPERTY_VALUE_MAX);
            let has_null = key.contains('\0') || value.as_ref().is_some_and(|value| value.contains('\0'));
            if key.is_empty() || key == EXISTS || is_long || has_null {
                return Err(Error::invalid(format!("property \"{}\" cannot be stored", key.escape_debug()))
                    .with_detail(format!(
                        "A key has 1 to {PROPERTY_KEY_MAX} characters and is not \"{EXISTS}\", a value has at most {PROPERTY_VALUE_MAX}."
                    )));
            }
        }
        if !properties.is_empty() {
            let place = (database.to_owned(), schema.to_owned());
            self.change()
                .schema_properties
                .entry(place)
                .or_default()
                .extend(properties);
        }
        Ok(())
    }

    fn new_metadata(&self, name: &TableName, creation: &TableCreation) -> Result<Metadata> {
        self.check_new_table(name)?;
        let uuid = Uuid::now_v7();
        let location = match &creation.location {
            Some(location) => location.trim_end_matches('/').to_owned(),
            None => self.shared.new_location(name, uuid),
        };
        self.check_location(&location)?;
        let metadata = creation.metadata(uuid, &location)?;
        TableVersion::new(String::new(), metadata.clone(), 0)?;
        Ok(metadata)
    }

    fn check_new_table(&self, name: &TableName) -> Result<()> {
        self.check_new_relation(name)?;
        match self.snapshot().relation(name) {
            Some(_) => Err(Error::duplicate_relation(&name.name)),
            None => Ok(()),
        }
    }

    /// Whether files may be below the location at all: said before anything is noted down.
    async fn check_allowed(&self, metadata: &Metadata) -> Result<()> {
        if self.shared.owns_location(metadata.location(), metadata.uuid()) {
            return Ok(());
        }
        let place = format!("{}/metadata", metadata.location());
        self.shared.loader.objects().list(&place).await.map(drop)
    }

    /// A table has a directory of its own: whoever cleans up below it must not meet files of another.
    fn check_location(&self, location: &str) -> Result<()> {
        // One spelling of each place: `file://localhost/a` would be another name of `file:///a`.
        let path = match location.split_once("://") {
            Some(("file", path)) => path.strip_prefix('/'),
            Some((scheme, path)) if !scheme.eq_ignore_ascii_case("file") => Some(path),
            _ => None,
        };
        if !path.is_some_and(is_plain_path) {
            return Err(Error::invalid(format!(
                "table location \"{}\" is not a location",
                location.escape_debug()
            ))
            .with_hint("Write it as a URL, for example s3://bucket/folder."));
        }
        // Places are taken as they are written. Who decodes them would find a step up, or a directory more.
        let written = location.to_ascii_lowercase();
        if ["%2e", "%2f", "%5c"].iter().any(|encoded| written.contains(encoded)) {
            return Err(Error::invalid(format!(
                "table location \"{}\" has percent-encoded dots or slashes",
                location.escape_debug()
            )));
        }
        if is_same_or_below(location, self.shared.warehouse()) {
            return Err(Error::invalid(
                "a table cannot have the whole warehouse as its directory",
            ));
        }
        // Again at the commit.
        check_free(self.base.pointers(), location, |_| false)
    }
}
