//! The Iceberg encoding: metadata files, manifests, manifest lists and views, as bytes in and bytes out.
//!
//! The only module that names the `iceberg` and `apache_avro` crates, and of that crate only its `spec` part. Its writers want a file;
//! they get one in memory, and the bytes go through our own durable store.

mod compatible;
mod creation;
mod definition;
mod evolve;
mod foreign;
mod history;
mod manifest;
mod metadata;
mod relocate;
mod types;
mod value;
mod view;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};

pub use creation::TableCreation;
pub(crate) use creation::created_by;
pub(crate) use definition::create_metadata;
pub use foreign::TableCommit;
pub(crate) use manifest::{
    Encoded, ManifestContent, ManifestFile, merge_manifest, read_list, read_manifest, write_delete_manifest,
    write_list, write_manifest,
};
pub(crate) use metadata::{Metadata, NewSnapshot, SnapshotChanges};
pub use relocate::{NewSizes, relocate_manifest, relocate_metadata};
pub(crate) use view::{ViewMetadata, read_view, write_view};

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread decodes metadata just now: a panic is about a file then, and will be an error that names it.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Runs a decoder of the crate on bytes that anybody may have written. Its Avro and JSON decoders are not proved free
/// of panics; one must end the query, not the server.
pub(crate) fn decode<T>(location: &str, decoder: impl FnOnce() -> Result<T>) -> Result<T> {
    let around = DECODING.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decoder));
    DECODING.set(around);
    decoded.unwrap_or_else(|_| Err(corrupt(location, "the decoder stopped at an unexpected value")))
}

pub(crate) fn corrupt(location: &str, detail: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("table metadata in \"{location}\" cannot be read"),
    )
    .with_detail(detail.to_string())
}

/// An encoder refused what we gave it: our fault, never the user's.
fn encode_failed(what: &str, error: ::iceberg::Error) -> Error {
    Error::internal(format!("cannot encode {what}")).with_detail(error.to_string())
}
