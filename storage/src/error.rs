//! What can go wrong below a table: a kind to act on, the object it happened to, a message for people.

use std::error::Error as StdError;
use std::fmt::{Display, Formatter};
use std::io;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object, bucket or directory does not exist.
    NotFound,
    /// The location is outside what this process may touch.
    Forbidden,
    /// No space left on the device, or a quota is used up.
    DiskFull,
    /// Any other failure of a disk, a network or an object store.
    Io,
    /// The bytes of a file are not what its format says.
    CorruptFile,
    /// A valid request or file that this crate cannot serve.
    Unsupported,
    /// A memory limit was reached.
    OutOfMemory,
    /// A broken promise inside this crate or of its caller.
    Internal,
}

/// An error with the location it is about. Cheap to clone: waiters for one fetch share one error.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    path: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            path: None,
            source: None,
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::CorruptFile, message)
    }

    /// Names the object the error is about, unless one closer to the cause did already. A store names objects without
    /// itself: then the whole location says more.
    pub(crate) fn at(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        if self.path.as_ref().is_none_or(|inner| path.ends_with(inner.as_str())) {
            self.path = Some(path);
        }
        self
    }

    fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What happened, for code.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, for people: short, lower-case, without the location.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The location it happened to, if one is known.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The error of this crate inside another error, however deeply DataFusion, Parquet or object_store wrapped it.
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
        chain(error).find_map(|e| e.downcast_ref::<Error>().or_else(|| shared(e)))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: \"{path}\"", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let (kind, message) = match error.kind() {
            io::ErrorKind::NotFound => (ErrorKind::NotFound, "file does not exist".to_string()),
            io::ErrorKind::PermissionDenied => (ErrorKind::Forbidden, "permission denied".to_string()),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                (ErrorKind::DiskFull, "no space left on device".to_string())
            }
            io::ErrorKind::OutOfMemory => (ErrorKind::OutOfMemory, "out of memory".to_string()),
            _ => (ErrorKind::Io, format!("input/output error ({error})")),
        };
        Self::new(kind, message).with_source(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        if let Some(found) = Self::find_in(&error) {
            return found.clone();
        }
        // The operating system's reason says more than the store's wrapper around it, except where the store has a
        // kind of its own.
        let path = match &error {
            object_store::Error::NotFound { path, .. }
            | object_store::Error::AlreadyExists { path, .. }
            | object_store::Error::PermissionDenied { path, .. }
            | object_store::Error::Unauthenticated { path, .. } => Some(path.clone()),
            _ => None,
        };
        let (kind, message) = match &error {
            // Unlike a missing object, no caller expects this one.
            object_store::Error::NotFound { .. } | object_store::Error::Generic { .. } if lacks_bucket(&error) => {
                (ErrorKind::Io, "the bucket does not exist".to_string())
            }
            object_store::Error::NotFound { .. } => (ErrorKind::NotFound, "object does not exist".to_string()),
            object_store::Error::AlreadyExists { .. } => (ErrorKind::Io, "object already exists".to_string()),
            error if is_denied(error) => {
                // The server's credentials, not the user's: nothing the user may or may not do.
                let message = "the object store denied access: its credentials are wrong or lack a right";
                (ErrorKind::Io, message.to_string())
            }
            object_store::Error::InvalidPath { .. } => (ErrorKind::Forbidden, "invalid object path".to_string()),
            object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => (
                ErrorKind::Unsupported,
                format!("the object store cannot do this ({error})"),
            ),
            _ => match chain(&error).find_map(|e| e.downcast_ref::<io::Error>()) {
                Some(io) => {
                    let found = Error::from(io::Error::from(io.kind()));
                    let message = match found.kind {
                        ErrorKind::Io => format!("input/output error ({io})"),
                        _ => found.message,
                    };
                    (found.kind, message)
                }
                None => (ErrorKind::Io, format!("object store failed ({error})")),
            },
        };
        let mut converted = Self::new(kind, message);
        converted.path = path;
        converted.with_source(error)
    }
}

impl From<ParquetError> for Error {
    fn from(error: ParquetError) -> Self {
        if let Some(found) = Self::find_in(&error) {
            return found.clone();
        }
        let store = chain(&error).find_map(|e| e.downcast_ref::<object_store::Error>());
        if let Some(store) = store {
            let kind = match store {
                object_store::Error::NotFound { .. } => ErrorKind::NotFound,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                    ErrorKind::Forbidden
                }
                _ => ErrorKind::Io,
            };
            let message = format!("could not read file ({store})");
            return Self::new(kind, message).with_source(error);
        }
        let message = match &error {
            ParquetError::NYI(text) => return Self::unsupported(format!("parquet feature not supported: {text}")),
            ParquetError::General(text) | ParquetError::EOF(text) | ParquetError::ArrowError(text) => text.clone(),
            other => other.to_string(),
        };
        Self::new(ErrorKind::CorruptFile, format!("invalid parquet file ({message})")).with_source(error)
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        if let Some(found) = Self::find_in(&error) {
            return found.clone();
        }
        let converted = match &error {
            // Parquet's reader of whole batches says so what it finds wrong with a file.
            ArrowError::ParquetError(message) => Self::corrupt(format!("invalid parquet file ({message})")),
            _ => Self::internal(format!("could not convert a column ({error})")),
        };
        converted.with_source(error)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        if let Some(found) = Self::find_in(&error) {
            return found.clone();
        }
        let kind = match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => ErrorKind::OutOfMemory,
            DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
            DataFusionError::ParquetError(_) => ErrorKind::CorruptFile,
            _ => ErrorKind::Internal,
        };
        let message = match kind {
            ErrorKind::OutOfMemory => "out of memory".to_string(),
            _ => error.strip_backtrace(),
        };
        Self::new(kind, message).with_source(error)
    }
}

/// Wrapped so that the layers above find it again with [`Error::find_in`].
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// For the places where a trait wants object_store's error.
impl From<Error> for object_store::Error {
    fn from(error: Error) -> Self {
        let path = error.path.clone().unwrap_or_default();
        match error.kind {
            ErrorKind::NotFound => object_store::Error::NotFound {
                path,
                source: Box::new(error),
            },
            ErrorKind::Forbidden => object_store::Error::PermissionDenied {
                path,
                source: Box::new(error),
            },
            ErrorKind::Io if chain(&error).any(already_exists) => object_store::Error::AlreadyExists {
                path,
                source: Box::new(error),
            },
            _ => object_store::Error::Generic {
                store: "local",
                source: Box::new(error),
            },
        }
    }
}

/// For the places where a trait wants Parquet's error.
impl From<Error> for ParquetError {
    fn from(error: Error) -> Self {
        ParquetError::External(Box::new(error))
    }
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The words of S3 and of Google, which answer 404 for both; object_store keeps them in its text only.
fn lacks_bucket(error: &object_store::Error) -> bool {
    chain(error).any(|e| {
        let text = e.to_string();
        text.contains("<Code>NoSuchBucket</Code>") || text.contains("The specified bucket does not exist")
    })
}

/// What refused to list objects is a general error, which tells the status in words alone.
fn is_denied(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => true,
        object_store::Error::Generic { .. } => chain(error).any(|e| {
            let text = e.to_string();
            ["401", "403"]
                .iter()
                .any(|status| text.contains(&format!("status code: {status} ")))
        }),
        _ => false,
    }
}

fn already_exists(error: &(dyn StdError + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::AlreadyExists)
}

/// `Arc<Error>` is what shared fetches and shared plans wrap an error in.
fn shared<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    if let Some(arc) = error.downcast_ref::<Arc<Error>>() {
        return Some(arc);
    }
    match error.downcast_ref::<Arc<DataFusionError>>() {
        Some(arc) => Error::find_in(arc.as_ref()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_again_through_every_wrapper() {
        let error = || Error::new(ErrorKind::DiskFull, "no space left on device").at("/x");
        let wrapped = DataFusionError::from(error()).context("while writing");
        assert_eq!(Error::find_in(&wrapped).map(Error::kind), Some(ErrorKind::DiskFull));
        let wrapped = DataFusionError::Shared(Arc::new(DataFusionError::from(error())));
        assert_eq!(Error::find_in(&wrapped).map(Error::kind), Some(ErrorKind::DiskFull));
        let wrapped = DataFusionError::ParquetError(Box::new(ParquetError::from(error())));
        assert_eq!(Error::find_in(&wrapped).map(Error::kind), Some(ErrorKind::DiskFull));
        let wrapped = DataFusionError::ObjectStore(Box::new(object_store::Error::from(error())));
        assert_eq!(Error::from(wrapped).path(), Some("/x"));
    }

    #[test]
    fn a_full_disk_is_not_any_io_error() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        assert_eq!(Error::from(full).kind(), ErrorKind::DiskFull);
        let quota = io::Error::from_raw_os_error(libc::EDQUOT);
        assert_eq!(Error::from(quota).kind(), ErrorKind::DiskFull);
        let inside = object_store::Error::Generic {
            store: "x",
            source: Box::new(io::Error::from_raw_os_error(libc::ENOSPC)),
        };
        assert_eq!(Error::from(inside).kind(), ErrorKind::DiskFull);
        assert_eq!(
            Error::from(io::Error::from_raw_os_error(libc::EIO)).kind(),
            ErrorKind::Io
        );
    }
}
