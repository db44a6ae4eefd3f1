//! Where this process keeps its temporary files: a directory of its own, which goes with it. One that was killed leaves its directory
//! behind, and the next to come deletes it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use staffa_planner::{Error, ErrorKind, Result};

/// How directories of processes are called that hold their lock.
const PREFIX: &str = "temporary-";

/// The file in it that the process has locked: the system lets go of it however the process ends.
const LOCK: &str = "lock";

/// See the module. Dropping it deletes the directory.
#[derive(Debug)]
pub(crate) struct SpillPlace {
    directory: PathBuf,
    _lock: File,
}

impl SpillPlace {
    /// A new directory below this one, which may be that of other processes, too.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn take(parent: &Path) -> Result<Self> {
        sweep(parent);
        let failed = |error: io::Error| {
            let message = format!("could not use directory \"{}\": {error}", parent.display());
            Error::new(ErrorKind::IoError, message)
        };
        // Under another name until its lock is held: nobody may take it for one that was left.
        let id = uuid::Uuid::now_v7();
        let made = parent.join(format!(".{PREFIX}{id}"));
        std::fs::create_dir(&made).map_err(failed)?;
        let lock = File::create(made.join(LOCK)).map_err(failed)?;
        if let Err(error) = lock.try_lock() {
            // Some network file systems have no locks: others then leave all directories alone.
            tracing::warn!(%error, "temporary files cannot be locked, and stay when the process is killed");
        }
        let directory = parent.join(format!("{PREFIX}{id}"));
        std::fs::rename(&made, &directory).map_err(failed)?;
        Ok(Self { directory, _lock: lock })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for SpillPlace {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, "temporary files were left behind");
        }
    }
}

/// Deletes what processes left behind that are gone. What cannot be deleted now is for the next one.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    let names_one = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(PREFIX);
    for directory in entries.flatten().filter(names_one).map(|entry| entry.path()) {
        let left = match File::open(directory.join(LOCK)).map(|lock| lock.try_lock()) {
            Ok(Ok(())) => true,
            Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => false,
            // Somebody was killed while he deleted it.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if left && std::fs::remove_dir_all(&directory).is_ok() {
            tracing::info!(directory = %directory.display(), "deleted temporary files that another process left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_deleted() {
        let parent = tempfile::tempdir().expect("a folder");
        let entries = || std::fs::read_dir(parent.path()).expect("a folder").count();
        let killed = parent.path().join("temporary-0");
        std::fs::create_dir_all(killed.join("datafusion-1")).expect("a folder");
        std::fs::write(killed.join(LOCK), "").expect("a file");
        std::fs::write(parent.path().join("mine.txt"), "").expect("a file");
        let lives = SpillPlace::take(parent.path()).expect("a place");
        std::fs::write(lives.directory().join("rows"), "1").expect("a file");
        assert_eq!(entries(), 2);
        // The directory of one that lives stays.
        let other = SpillPlace::take(parent.path()).expect("a place");
        assert!(lives.directory().join("rows").exists());
        drop((lives, other));
        assert_eq!(entries(), 1);
    }
}
