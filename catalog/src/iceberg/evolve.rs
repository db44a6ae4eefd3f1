//! The next definition of a table: changes put on its metadata, all at once.
//!
//! Changes are made in order on a draft. Field ids are given out above the highest the table ever had, so the same
//! changes on the same definition always give the same ids: a commit that is tried again relies on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::iceberg::spec::{
    FormatVersion, ListType, NestedField, NestedFieldRef, Schema, SortOrder, StructType, TableMetadata,
    TableMetadataBuilder, Transform as IcebergTransform, Type, UnboundPartitionSpec,
};

use super::definition::{FORMAT_VERSION_KEY, format_version, partition_spec, refused, sort_order};
use super::history::history_change;
use super::metadata::{COMMENT_KEY, Metadata};
use super::types::{
    COLUMN_TYPES, FieldIdCounter, Overrides, collect_overrides, from_iceberg, parse_overrides, print_overrides,
    to_iceberg,
};
use crate::alter::{TableChange, is_widening};
use crate::error::{Error, ErrorKind, Result};
use crate::index::INDEXES_KEY;
use crate::rule::{
    CONSTRAINTS_KEY, ColumnDefault, DEFAULTS_KEY, MATERIALIZED_KEY, MaterializedQuery, parse_defaults,
    parse_materialized, print_constraints, print_defaults, print_indexes, print_materialized,
};
use crate::schema::ColumnDefinition;
use crate::types::SqlType;

/// A definition on its way to be changed.
struct Draft<'a> {
    base: &'a Metadata,
    fields: Vec<NestedFieldRef>,
    ids: FieldIdCounter,
    overrides: Overrides,
    defaults: BTreeMap<i32, ColumnDefault>,
    set: HashMap<String, String>,
    removed: Vec<String>,
    partitioning: Option<UnboundPartitionSpec>,
    sorting: Option<SortOrder>,
    version: FormatVersion,
}

impl Metadata {
    /// This metadata with the format version that the changes raise it to, if they do, for what is written in the same
    /// commit.
    pub(crate) fn raised(&self, changes: &[TableChange]) -> Result<Option<Metadata>> {
        let raises = |change: &TableChange| matches!(change, TableChange::SetProperties { set, .. } if set.contains_key(FORMAT_VERSION_KEY));
        if !changes.iter().any(raises) {
            return Ok(None);
        }
        let version = Draft::new(self, changes)?.version;
        let builder = TableMetadata::clone(&self.inner).into_builder(None);
        let built = builder
            .upgrade_format_version(version)
            .and_then(TableMetadataBuilder::build);
        Ok(Some(Metadata::of(Arc::new(built.map_err(refused)?.metadata))))
    }

    /// Puts the changes into a builder that begins from this metadata.
    pub(super) fn apply(
        &self,
        mut builder: TableMetadataBuilder,
        changes: &[TableChange],
    ) -> Result<TableMetadataBuilder> {
        if changes.is_empty() {
            return Ok(builder);
        }
        let draft = Draft::new(self, changes)?;
        builder = builder.upgrade_format_version(draft.version).map_err(refused)?;
        if draft.fields != self.inner.current_schema().as_struct().fields() {
            builder = builder.add_current_schema(draft.schema()?).map_err(refused)?;
        }
        if let Some(spec) = draft.partitioning {
            builder = builder.add_default_partition_spec(spec).map_err(refused)?;
        }
        if let Some(order) = draft.sorting {
            let last_added = -1;
            builder = builder.add_sort_order(order).map_err(refused)?;
            builder = builder.set_default_sort_order(last_added).map_err(refused)?;
        }
        if !draft.set.is_empty() {
            builder = builder.set_properties(draft.set).map_err(refused)?;
        }
        if !draft.removed.is_empty() {
            builder = builder.remove_properties(&draft.removed).map_err(refused)?;
        }
        changes
            .iter()
            .try_fold(builder, |builder, change| history_change(self, builder, change))
    }
}

fn raised_version(now: FormatVersion, text: &str) -> Result<FormatVersion> {
    let wanted = format_version(text)?;
    match wanted < now {
        true => Err(Error::invalid(format!(
            "the format version of a table cannot go back from {} to {text}",
            now as u8
        ))
        .with_hint("Copy its rows to a new table.")),
        false => Ok(wanted),
    }
}

impl<'a> Draft<'a> {
    fn new(base: &'a Metadata, changes: &[TableChange]) -> Result<Self> {
        let properties = base.inner.properties();
        let mut draft = Draft {
            base,
            fields: base.inner.current_schema().as_struct().fields().to_vec(),
            ids: FieldIdCounter::after(base.last_column_id()),
            overrides: parse_overrides(base.location(), properties.get(COLUMN_TYPES))?,
            defaults: parse_defaults(base.location(), properties.get(DEFAULTS_KEY))?,
            set: HashMap::new(),
            removed: Vec::new(),
            partitioning: None,
            sorting: None,
            version: base.inner.format_version(),
        };
        let (overrides, defaults) = (draft.overrides.clone(), draft.defaults.clone());
        for change in changes {
            draft.change(change)?;
        }
        if draft.overrides != overrides {
            draft.put_property(COLUMN_TYPES, print_overrides(&draft.overrides)?);
        }
        if draft.defaults != defaults {
            draft.put_property(DEFAULTS_KEY, print_defaults(&draft.defaults)?);
        }
        Ok(draft)
    }

    fn change(&mut self, change: &TableChange) -> Result<()> {
        match change {
            TableChange::AddColumn { parent, column } => self.add(*parent, column),
            TableChange::DropColumn { field_id } => self.drop(*field_id),
            TableChange::RenameColumn { field_id, name } => self.rename(*field_id, name),
            TableChange::SetType { field_id, ty } => self.set_type(*field_id, ty),
            TableChange::ReplaceColumn { field_id, ty } => self.replace(*field_id, ty),
            TableChange::SetNullable { field_id, nullable } => self.edit(*field_id, |fields, index| {
                Arc::make_mut(&mut fields[index]).required = !nullable;
                Ok(())
            }),
            TableChange::SetComment {
                field_id: Some(id),
                comment,
            } => self.edit(*id, |fields, index| {
                Arc::make_mut(&mut fields[index]).doc = comment.clone();
                Ok(())
            }),
            TableChange::SetComment {
                field_id: None,
                comment,
            } => {
                self.put_property(COMMENT_KEY, comment.clone());
                Ok(())
            }
            TableChange::SetDefault { field_id, default } => {
                match default {
                    Some(default) => self.defaults.insert(*field_id, default.clone()),
                    None => self.defaults.remove(field_id),
                };
                Ok(())
            }
            TableChange::SetConstraints(constraints) => {
                self.put_property(CONSTRAINTS_KEY, print_constraints(constraints)?);
                Ok(())
            }
            TableChange::SetIndexes(indexes) => {
                self.put_property(INDEXES_KEY, print_indexes(indexes)?);
                Ok(())
            }
            TableChange::SetPopulated(is_populated) => {
                let text = self.base.inner.properties().get(MATERIALIZED_KEY);
                let Some(query) = parse_materialized(self.base.location(), text)? else {
                    return Err(Error::internal("a table that is no materialized view is populated"));
                };
                let query = MaterializedQuery {
                    is_populated: *is_populated,
                    ..query
                };
                self.put_property(MATERIALIZED_KEY, print_materialized(Some(&query))?);
                Ok(())
            }
            TableChange::SetProperties { set, removed } => {
                for name in set.keys().chain(removed) {
                    if name.starts_with("staffa.") {
                        return Err(Error::invalid(format!("table property \"{name}\" is reserved")));
                    }
                }
                if removed.contains(FORMAT_VERSION_KEY) {
                    return Err(Error::invalid("the format version of a table cannot be reset"));
                }
                for (name, value) in set {
                    match name == FORMAT_VERSION_KEY {
                        true => self.version = raised_version(self.version, value)?,
                        false => self.set_property(name, value.clone()),
                    }
                }
                removed.iter().for_each(|name| self.remove_property(name));
                Ok(())
            }
            TableChange::SetPartitioning(terms) => {
                self.partitioning = Some(partition_spec(terms, &self.schema()?)?);
                Ok(())
            }
            TableChange::SetSortOrder(keys) => {
                self.sorting = Some(sort_order(keys, &self.schema()?)?);
                Ok(())
            }
            // No part of the definition.
            TableChange::RollBack { .. }
            | TableChange::SetRef(_)
            | TableChange::DropRef { .. }
            | TableChange::ExpireSnapshots(_)
            | TableChange::SetStatistics(_) => Ok(()),
        }
    }

    fn add(&mut self, parent: Option<i32>, column: &ColumnDefinition) -> Result<()> {
        if column.name.is_empty() {
            return Err(Error::invalid("zero-length column name"));
        }
        let id = self.ids.next();
        let ty = to_iceberg(&column.name, &column.ty, &mut self.ids)?;
        collect_overrides(id, &ty, &column.ty, &mut self.overrides);
        let mut field = NestedField::new(id, &column.name, ty, !column.nullable);
        field.doc = column.comment.clone();
        if let Some(default) = &column.default {
            self.defaults.insert(id, default.clone());
        }
        let field = Arc::new(field);
        let Some(parent) = parent else {
            if self.fields.iter().any(|other| other.name == column.name) {
                return Err(exists(&column.name));
            }
            self.fields.push(field);
            return Ok(());
        };
        self.edit(parent, |fields, index| {
            let stored = Arc::make_mut(&mut fields[index]);
            let mut inner = struct_fields(&stored.field_type).ok_or_else(|| {
                Error::new(
                    ErrorKind::WrongObjectType,
                    format!("column \"{}\" is not a struct", stored.name),
                )
            })?;
            if inner.iter().any(|other| other.name == column.name) {
                return Err(exists(&column.name));
            }
            inner.push(field.clone());
            *stored.field_type = with_struct_fields(&stored.field_type, inner);
            Ok(())
        })
    }

    fn drop(&mut self, field_id: i32) -> Result<()> {
        self.check_free(field_id, "drop", true)?;
        self.defaults.remove(&field_id);
        self.edit(field_id, |fields, index| {
            if fields.len() == 1 {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("cannot drop \"{}\": it is the only column", fields[index].name),
                ));
            }
            fields.remove(index);
            Ok(())
        })
    }

    fn rename(&mut self, field_id: i32, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("zero-length column name"));
        }
        self.edit(field_id, |fields, index| {
            if fields.iter().any(|other| other.name == name) {
                return Err(exists(name));
            }
            name.clone_into(&mut Arc::make_mut(&mut fields[index]).name);
            Ok(())
        })
    }

    fn set_type(&mut self, field_id: i32, ty: &SqlType) -> Result<()> {
        let (mut stored, mut name) = (None, String::new());
        self.edit(field_id, |fields, index| {
            stored = Some((*fields[index].field_type).clone());
            fields[index].name.clone_into(&mut name);
            Ok(())
        })?;
        let stored = stored.ok_or_else(|| Error::internal("a column without a type"))?;
        let (now, _) = from_iceberg(&name, field_id, &stored, &self.overrides)?;
        if now == *ty {
            return Ok(());
        }
        if !is_widening(&now, ty) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("changing column \"{name}\" from type {now} to {ty} is not supported"),
            )
            .with_detail("The type of a field of a struct can only become a wider one of its family."));
        }
        let wider = to_iceberg(&name, ty, &mut FieldIdCounter::default())?;
        if wider != stored {
            self.check_free(field_id, "change the type of", false)?;
        }
        self.overrides.remove(&field_id);
        collect_overrides(field_id, &wider, ty, &mut self.overrides);
        self.edit(field_id, |fields, index| {
            *Arc::make_mut(&mut fields[index]).field_type = wider.clone();
            Ok(())
        })
    }

    /// As Iceberg wants it: a field id has one type in all versions of the table.
    fn replace(&mut self, field_id: i32, ty: &SqlType) -> Result<()> {
        self.check_free(field_id, "change the type of", true)?;
        let (id, ids, overrides) = (self.ids.next(), &mut self.ids, &mut self.overrides);
        let Some(field) = self.fields.iter_mut().find(|field| field.id == field_id) else {
            return Err(Error::conflict("A column was dropped by another transaction."));
        };
        let stored = to_iceberg(&field.name, ty, ids)?;
        overrides.remove(&field_id);
        collect_overrides(id, &stored, ty, overrides);
        let mut replacing = NestedField::new(id, &field.name, stored, field.required);
        replacing.doc.clone_from(&field.doc);
        *field = Arc::new(replacing);
        if let Some(default) = self.defaults.remove(&field_id) {
            self.defaults.insert(id, default);
        }
        Ok(())
    }

    /// Refuses what would leave files whose partition values nobody can read, or, when the field id `goes`, an order nobody
    /// can follow.
    fn check_free(&self, field_id: i32, verb: &str, goes: bool) -> Result<()> {
        let metadata = &self.base.inner;
        let name = metadata
            .current_schema()
            .field_by_id(field_id)
            .map_or("?", |field| &field.name);
        let in_the_way = |what: &str, hint: &str| {
            let message = format!("cannot {verb} column \"{name}\" because the table {what} it");
            Err(Error::new(ErrorKind::DependentObjects, message).with_hint(hint))
        };
        let below = self.ids_below(field_id);
        let sources = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        let mut live = sources.filter(|field| field.transform != IcebergTransform::Void);
        if live.any(|field| below.contains(&field.source_id)) {
            return in_the_way(
                "is or was partitioned by",
                "Files written under a partition spec need its columns. Copy the table with CREATE TABLE … AS.",
            );
        }
        let order = self.sorting.as_ref().unwrap_or(metadata.default_sort_order());
        if goes && order.fields.iter().any(|field| below.contains(&field.source_id)) {
            return in_the_way(
                "is sorted by",
                "Change the order first: ALTER TABLE … SET SORTED BY (…).",
            );
        }
        Ok(())
    }

    /// The field and all fields inside it.
    fn ids_below(&self, field_id: i32) -> Vec<i32> {
        fn walk(field: &NestedField, ids: &mut Vec<i32>) {
            ids.push(field.id);
            match &*field.field_type {
                Type::Struct(inner) => inner.fields().iter().for_each(|field| walk(field, ids)),
                Type::List(list) => walk(&list.element_field, ids),
                _ => {}
            }
        }
        let mut ids = Vec::new();
        if let Some(field) = self.base.inner.current_schema().field_by_id(field_id) {
            walk(field, &mut ids);
        }
        ids
    }

    fn put_property(&mut self, name: &str, value: Option<String>) {
        match value {
            Some(value) => self.set_property(name, value),
            None => self.remove_property(name),
        }
    }

    fn set_property(&mut self, name: &str, value: String) {
        self.removed.retain(|removed| removed != name);
        self.set.insert(name.to_owned(), value);
    }

    fn remove_property(&mut self, name: &str) {
        self.set.remove(name);
        if !self.removed.iter().any(|removed| removed == name) {
            self.removed.push(name.to_owned());
        }
    }

    fn schema(&self) -> Result<Schema> {
        let identifiers = self.base.inner.current_schema().identifier_field_ids();
        Schema::builder()
            .with_fields(self.fields.clone())
            .with_identifier_field_ids(identifiers)
            .build()
            .map_err(refused)
    }

    fn edit(
        &mut self,
        field_id: i32,
        mut edit: impl FnMut(&mut Vec<NestedFieldRef>, usize) -> Result<()>,
    ) -> Result<()> {
        match edit_fields(&mut self.fields, field_id, &mut edit)? {
            true => Ok(()),
            false => Err(Error::conflict("A column was dropped by another transaction.")),
        }
    }
}

type Edit<'e> = &'e mut dyn FnMut(&mut Vec<NestedFieldRef>, usize) -> Result<()>;

/// Runs `edit` on the list of fields that has the field, with its place in it; `false` when no list has it.
fn edit_fields(fields: &mut Vec<NestedFieldRef>, field_id: i32, edit: Edit<'_>) -> Result<bool> {
    if let Some(index) = fields.iter().position(|field| field.id == field_id) {
        edit(fields, index)?;
        return Ok(true);
    }
    for field in fields {
        let Some(mut inner) = struct_fields(&field.field_type) else {
            continue;
        };
        if edit_fields(&mut inner, field_id, edit)? {
            let field = Arc::make_mut(field);
            *field.field_type = with_struct_fields(&field.field_type, inner);
            return Ok(true);
        }
    }
    Ok(false)
}

/// The fields of a struct, or of the structs in a list.
fn struct_fields(ty: &Type) -> Option<Vec<NestedFieldRef>> {
    match ty {
        Type::Struct(inner) => Some(inner.fields().to_vec()),
        Type::List(list) => struct_fields(&list.element_field.field_type),
        _ => None,
    }
}

fn with_struct_fields(ty: &Type, fields: Vec<NestedFieldRef>) -> Type {
    match ty {
        Type::List(list) => {
            let mut element = NestedField::clone(&list.element_field);
            *element.field_type = with_struct_fields(&element.field_type, fields);
            Type::List(ListType::new(Arc::new(element)))
        }
        _ => Type::Struct(StructType::new(fields)),
    }
}

fn exists(name: &str) -> Error {
    Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" already exists"))
}
