//! Whether a server that shares a SQLite catalog is alive: it holds a lock on a file beside the database.
//!
//! The kernel lets go of the lock however the process ends, so a restart after kill -9 need not wait for a heartbeat.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// Held while the server lives.
#[derive(Debug)]
pub(super) struct ServerLock {
    // The lock goes when the file is closed. The file stays, so that recovery knows at once that the server is gone,
    // and then removes it.
    _file: File,
}

impl ServerLock {
    pub(super) fn acquire(database: &Path, server_id: Uuid) -> Result<ServerLock> {
        let path = lock_path(database, server_id);
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Io, "cannot lock the catalog's directory")
                .with_detail(format!("{}: {error}", path.display()))
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(ServerLock { _file: file })
    }
}

/// `Some(true)`: its lock is held. `Some(false)`: nobody holds it. `None`: there is no lock file.
pub(super) fn is_held(database: &Path, server_id: Uuid) -> Option<bool> {
    let file = OpenOptions::new()
        .append(true)
        .open(lock_path(database, server_id))
        .ok()?;
    match file.try_lock() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Removes the lock file of a dead server.
pub(super) fn remove(database: &Path, server_id: Uuid) {
    let _ = std::fs::remove_file(lock_path(database, server_id));
}

fn lock_path(database: &Path, server_id: Uuid) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(format!("-server-{server_id}.lock"));
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_as_long_as_its_server_lives() {
        let directory = tempfile::TempDir::new().unwrap();
        let (database, id) = (directory.path().join("catalog.db"), Uuid::new_v4());
        assert_eq!(is_held(&database, id), None);
        let lock = ServerLock::acquire(&database, id).unwrap();
        assert_eq!(is_held(&database, id), Some(true));
        drop(lock);
        assert_eq!(is_held(&database, id), Some(false));
        remove(&database, id);
        assert_eq!(is_held(&database, id), None);
    }
}
