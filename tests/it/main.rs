//! Tests of the whole program: a real server on a free port, real clients, real files.
//!
//! ```text
//! slt.rs          tests/sql/**.slt through the simple protocol, the extended protocol and the embedded engine
//! tpch.rs         22 queries against stored answers
//! protocol.rs     malformed messages, hostile sessions, and the protocol's fine print
//! backup.rs       backups under load, restores elsewhere, kills on the way; doctor; catalogs of older versions
//! bad_input.rs    what users and machines get wrong: passwords, folders, files, disks
//! cancel.rs       cancelling and timeouts in every phase; a reader that does not read
//! durability.rs   the order of fsyncs, and kill -9
//! clients.rs      psycopg and JDBC beside a real PostgreSQL
//! judges.rs       pyiceberg and DuckDB read what was written
//! roles.rs        logins, and each statement with and without each privilege
//! secrets.rs      what row policies hide and masks replace does not come out, by any statement
//! rest.rs         pyiceberg and DuckDB read and write through the REST catalog; its protocol
//! results.rs      answers that are kept: who shares them, and who waits
//! limits.rs       limits of roles and servers, the queue, memory that runs out, health, guesses at passwords
//! maintenance.rs  background upkeep, and a kill in the middle of it
//! memory.rs       rows that statements keep, and the limit
//! s3.rs           tables on S3: a stand-in store that also fails
//! isolation.rs    random transactions of many writers, checked for snapshot isolation, or for being serializable
//! shared_catalog.rs  several servers on one catalog in PostgreSQL (postgres.rs)
//! shared_upkeep.rs  the same, merging and deleting at once (s3.rs has it in a bucket, too)
//! sequences.rs    numbers among many clients and servers; temporary tables of sessions and servers that are gone
//! shapes.rs       deep, wide and long statements
//! full_disk.rs    a file system without space;  sick_disk.rs   one that fails
//! fuzz.rs         mutations of small files and texts through everything that reads them
//! hostile.rs      random malformed sessions and damaged files; random queries that must agree with themselves
//! writers.rs      several writers of one table, in and outside transaction blocks
//! torture.rs      secrets and heavy queries, by Python (tests/torture)
//! traces.rs       OpenTelemetry traces, as a collector gets them
//! support.rs      starting servers and tools;  wire.rs   a small protocol client that can also misbehave
//! ```
//!
//! The Python tools come from `scripts/setup`; a test that misses them fails and says so.
#![allow(clippy::unwrap_used)] // a test that cannot go on should stop where it is

mod backup;
mod bad_input;
mod cancel;
mod clients;
mod durability;
mod full_disk;
mod fuzz;
mod hostile;
mod isolation;
mod judges;
mod limits;
mod maintenance;
mod memory;
mod postgres;
mod protocol;
mod rest;
mod results;
mod roles;
mod s3;
mod secrets;
mod sequences;
mod shapes;
mod shared_catalog;
mod shared_upkeep;
mod sick_disk;
mod slt;
mod support;
mod torture;
mod tpch;
mod traces;
mod wire;
mod writers;
