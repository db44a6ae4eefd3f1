//! The catalog: names, schemas, versions and commits of the warehouse's tables.
//!
//! Tables are Apache Iceberg tables (format version 2). Which metadata file a table has is a row in a SQL database that
//! pyiceberg's `SqlCatalog` and Java's `JdbcCatalog` share with us. A journal filled by triggers gives every change of
//! those rows, also theirs, a *commit sequence number*.
//!
//! A [`CatalogSnapshot`] is everything as of one number: immutable, shared by pointer, pinned by whoever holds it. A
//! [`Transaction`] begins from one, sees it with its own changes, and commits like this:
//!
//! 1. data files are stored by the writer, durably, under names that carry the transaction's id;
//! 2. the commit reads what the tables are now, and puts its changes on top, in memory;
//! 3. manifests, manifest lists and metadata files are stored, all at once, durably;
//! 4. one SQL transaction moves the pointers of all touched tables and takes the next number, or finds that somebody
//!    was faster, and then 2 is done again.
//!
//! An outcome that is not known is looked up, never guessed. `commit.rs` lists the rules and where each is tested.
//! This crate knows no SQL text of users, no Parquet bytes and no DataFusion.

mod access;
mod alter;
mod catalog;
mod commit;
mod database;
mod deletes;
mod error;
mod examination;
mod file;
#[doc(hidden)]
pub mod fuzz;
mod garbage;
mod history;
mod iceberg;
mod index;
mod invariants;
mod inventory;
mod journal;
mod loader;
mod name;
mod objects;
mod relocation;
mod rounding;
mod rule;
mod schema;
mod sequence;
mod shared;
mod snapshot;
mod statistics;
mod table;
mod temporary;
#[cfg(test)]
mod testing;
mod txn;
mod types;
mod value;

pub use crate::iceberg::{NewSizes, TableCommit, TableCreation, is_decoding, relocate_manifest, relocate_metadata};
pub use access::{
    Access, AccessKey, Acl, AclItem, AttachedMask, Authority, FIRST_ROLE, MaskingPolicy, Membership, ObjectKind,
    Policy, PolicyCommand, PolicyCondition, Privileges, Rights, Role, Security,
};
pub use alter::{TableChange, is_widening};
pub use catalog::{Catalog, CatalogDatabase, Export};
pub use commit::Reading;
pub use database::shown_database;
pub use error::{Error, ErrorKind, Result};
pub use examination::Examination;
pub use file::{ColumnStatistics, DataFile, DeleteContent, DeleteFile, LiveFile, ManifestInfo};
pub use garbage::{DeadObject, DeadObjects};
pub use history::{Expirable, HistoryEntry, RefRetention, SnapshotInfo, SnapshotRef, TableVersionSpec};
pub use index::{Index, IndexExpression, IndexKey, IndexTerm};
pub use inventory::{Inventory, InventoryItem, ObjectRole};
pub use name::{TEMPLATE_DATABASES, TableName, quote_identifier};
pub use objects::{MemoryObjects, Objects};
pub use relocation::Relocation;
pub use rounding::{IntervalFields, Rounding};
pub use rule::{ColumnDefault, Constraint, ConstraintKind, Identity, IdentityKind, MaterializedQuery};
pub use schema::{
    Column, ColumnDefinition, FieldIds, PartitionField, PartitionSpec, SortField, TableDefinition, TableSchema,
    Transform, View, ViewDefinition, ViewRead,
};
pub use sequence::{Sequence, SequenceOwner, SequenceState, SequenceType};
pub use snapshot::{CatalogSnapshot, RelationKind};
pub use statistics::{NewStatistics, StatisticsBlob, TableStatistics};
pub use table::Table;
pub use temporary::is_temporary_schema;
pub use txn::{Savepoint, Transaction, WriteTarget};
pub use types::{Digits, SqlType, SystemStorage, SystemType};
pub use uuid::Uuid;
pub use value::Value;
