//! One server for each data directory.
//!
//! The catalog itself lets several processes in, and `staffa sql --data` beside a running server is welcome. Two servers on
//! one directory are refused all the same: it is nearly always the same one started twice, and each would take the memory
//! limit for itself and answer on a port of its own with settings of its own.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::cli::Failure;

const NAME: &str = "server.lock";

/// Held by the system for as long as the file is open: it goes with the process, however that ends.
pub(super) struct DirectoryLock {
    _file: Option<File>,
}

impl DirectoryLock {
    /// # Errors
    /// Another server has it, or the file cannot be made.
    pub(super) fn take(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(NAME);
        let failed = |error: std::io::Error| Failure::new(format!("cannot use {}: {error}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                let owner = match owner.trim() {
                    "" => String::new(),
                    pid => format!(" (process {pid})"),
                };
                return Err(Failure::new(format!(
                    "another server{owner} is serving the data directory {}",
                    directory.display()
                ))
                .with_hint("stop it, or choose another directory with --data"));
            }
            // Some network file systems have no locks. The catalog keeps its own order there or fails by itself.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "cannot lock the data directory: a second server on it would not be noticed");
                return Ok(Self { _file: None });
            }
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(failed)?;
        Ok(Self { _file: Some(file) })
    }
}

#[cfg(test)]
mod tests {
    use super::DirectoryLock;

    #[test]
    fn the_second_server_is_told_about_the_first() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let first = DirectoryLock::take(directory.path()).expect("free");
        let failure = DirectoryLock::take(directory.path()).err().expect("taken").to_string();
        assert!(
            failure.contains(&format!("another server (process {})", std::process::id())),
            "{failure}"
        );
        drop(first);
        assert!(DirectoryLock::take(directory.path()).is_ok());
    }
}
