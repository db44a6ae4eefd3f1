//! Staffa as a library: a SQL warehouse inside your process.
//!
//! A [`Warehouse`] is a folder: a catalog, and tables as Parquet files under Apache Iceberg metadata, which other engines
//! can read at any time. A [`Session`] runs SQL on it, in PostgreSQL's dialect, and gives Arrow record batches.
//!
//! ```no_run
//! # async fn example() -> staffa::Result<()> {
//! use staffa::{Config, SessionOptions, Warehouse};
//!
//! let warehouse = Warehouse::open(Config::new("./warehouse")).await?;
//! let mut session = warehouse.session(SessionOptions::default()).await?;
//! session.execute("create table if not exists t (id bigint not null, name text)", &[]).await?;
//! session.execute("insert into t values (1, 'one'), (2, 'two')", &[]).await?;
//!
//! let mut rows = session.query("select count(*), max(name) from t where id > $1", &[0i64.into()]).await?;
//! while let Some(batch) = rows.next().await {
//!     println!("{:?}", batch?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embedded.rs` loads a Parquet file and queries it.
//!
//! The server is a front of this crate: what it does beyond it is sockets, logins and the wire protocol.

mod access;
mod actions;
mod activity;
mod advisory;
mod audit;
mod backup;
mod caches;
mod cancel;
mod command;
mod config;
mod copy;
mod copy_stream;
mod cpu;
mod doctor;
#[doc(hidden)]
pub mod fuzz;
mod iceberg_catalog;
mod limits;
mod masks;
mod memory;
mod metrics;
mod objects;
mod outcome;
mod pg_catalog;
mod plans;
mod portal;
mod queries;
mod queue;
mod random;
mod register;
mod rerun;
mod results;
mod run;
mod sequences;
mod session;
mod settings;
mod stream;
mod temporary;
mod trace;
mod transaction;
mod upkeep;
mod warehouse;

pub use audit::{AuditClasses, AuditConfig};
pub use backup::{BackupInfo, BackupOutcome, backup, backups, prune_backups, restore, verify_backup};
pub use cancel::Canceller;
pub use config::{Config, Maintenance, default_memory_limit};
pub use copy_stream::{CopyIn, CopyOut};
pub use datafusion::scalar::ScalarValue;
pub use doctor::{DoctorOptions, DoctorReport, Finding, Severity as FindingSeverity, doctor};
pub use iceberg_catalog::{ChangedProperties, IcebergCatalog, IcebergCommit, IcebergKind, IcebergMetadata};
pub use memory::machine::machine_memory_bytes;
pub use memory::meter::give_memory_back_by;
pub use metrics::{CacheMetrics, Metrics};
pub use outcome::{CommandTag, Notice, Outcome, Severity, TransactionStatus};
pub use portal::Portal;
pub use register::Totals;
pub use session::{Prepared, Session, SessionOptions};
pub use settings::Settings;
pub use staffa_catalog::shown_database as shown_catalog;
pub use staffa_planner::value::{ColumnDecoder, ColumnEncoder, Format, FormatSettings, decode_scalar};
pub use staffa_planner::value::{sql_type_of_oid, type_length, type_modifier, type_oid};
pub use staffa_planner::{
    ClientCertificate, ColumnOrigin, Encryption, Error, ErrorKind, LoginRuleRow, OutputColumn, ParsedStatement, Result,
    SqlType, StatementClass, TransactionClass, scram_verifier,
};
pub use staffa_storage::{S3Options, Secret};
pub use stream::RowStream;
pub use trace::{Stage, StageTrace, StatementTrace, TraceParent};
pub use warehouse::{DEFAULT_DATABASE, DEFAULT_ROLE, Warehouse};

/// Whether this thread decodes a file just now. A panic is about the file then, is caught, and becomes an error that names it: a
/// panic hook may keep silent.
pub fn is_decoding() -> bool {
    staffa_catalog::is_decoding() || staffa_storage::is_decoding()
}
