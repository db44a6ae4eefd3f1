//! What can be seen of a data directory from outside: who may read it, whether there is room, what was left in it.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access, statvfs};

use super::{Finding, Severity};
use crate::backup::{SCRATCH, UNFINISHED};
use crate::config::Config;

/// A disk with less room than this, and than a twentieth of it, is nearly full.
const ROOM_MIN_BYTES: u64 = 1 << 30;
/// Files of processes that run are younger.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(24 * 3600);

/// What there is to say.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let data_dir = config.data_dir.as_path();
    let shown = data_dir.display().to_string();
    if !data_dir.is_dir() {
        let advice = "name the data directory with --data";
        return vec![Finding::new(
            Severity::Error,
            MISSING,
            shown,
            "there is no such directory",
            advice,
        )];
    }
    let mut findings = Vec::new();
    if data_dir.join(UNFINISHED).exists() {
        findings.push(Finding::new(
            Severity::Error,
            UNFINISHED_RESTORE,
            shown,
            "a backup is being restored into it, or the restore was interrupted",
            "delete the directory and restore again",
        ));
        return findings;
    }
    let catalog = data_dir.join("catalog.db");
    for path in [data_dir, catalog.as_path()] {
        if path.exists() && access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
            findings.push(Finding::new(
                Severity::Error,
                "no-permission",
                path.display().to_string(),
                "this user may not read and write it",
                "run it as the user of the server, or change the owner",
            ));
        }
    }
    if let Ok(metadata) = catalog.metadata()
        && others_may(&metadata, 0o002)
    {
        findings.push(Finding::new(
            Severity::Warning,
            "writable-by-all",
            catalog.display().to_string(),
            "every user of this machine may write it",
            "chmod o-w",
        ));
    } else if [Some(data_dir), catalog.exists().then_some(&catalog)]
        .into_iter()
        .flatten()
        .all(|path| path.metadata().is_ok_and(|metadata| others_may(&metadata, 0o004)))
        && catalog.exists()
    {
        findings.push(Finding::new(
            Severity::Note,
            "readable-by-all",
            catalog.display().to_string(),
            "every user of this machine may read it: it holds the verifiers of passwords",
            "chmod o-rwx the data directory",
        ));
    }
    findings.extend(room(data_dir));
    if let Some(spill) = &config.spill_dir {
        findings.extend(room(spill));
    }
    for path in leftovers(data_dir) {
        findings.push(Finding::new(
            Severity::Note,
            "leftover",
            path.display().to_string(),
            "a process that was killed left it",
            "--repair removes it",
        ));
    }
    findings
}

const MISSING: &str = "no-directory";
const UNFINISHED_RESTORE: &str = "unfinished-restore";

/// Whether it is worth looking further.
pub(super) fn is_usable(findings: &[Finding]) -> bool {
    let ends = |finding: &&Finding| [MISSING, UNFINISHED_RESTORE].contains(&finding.code);
    !findings.iter().any(|finding| ends(&finding))
}

/// Removes what was left.
pub(super) fn remove_leftovers(data_dir: &Path) {
    for path in leftovers(data_dir) {
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "cannot remove what a killed process left");
        }
    }
}

/// Old temporary files of ours in the data directory, and what queries spilled.
fn leftovers(data_dir: &Path) -> Vec<PathBuf> {
    let entries = |directory: &Path| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_ours = |name: &str| name.starts_with(SCRATCH);
    let own = entries(data_dir).filter(|entry| is_ours(&entry.file_name().to_string_lossy()));
    let spilled =
        entries(&data_dir.join("spill")).filter(|entry| entry.file_name().to_string_lossy().starts_with("datafusion-"));
    let is_old = |path: &PathBuf| {
        let changed = path.metadata().and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| {
            SystemTime::now()
                .duration_since(changed)
                .is_ok_and(|age| age > LEFTOVER_AGE_MIN)
        })
    };
    own.chain(spilled).map(|entry| entry.path()).filter(is_old).collect()
}

fn others_may(metadata: &Metadata, bits: u32) -> bool {
    metadata.permissions().mode() & bits != 0
}

fn room(directory: &Path) -> Option<Finding> {
    let disk = statvfs(directory).ok()?;
    let (free, all) = (
        disk.f_bavail.saturating_mul(disk.f_frsize),
        disk.f_blocks.saturating_mul(disk.f_frsize),
    );
    (free < ROOM_MIN_BYTES.min(all / 20)).then(|| {
        Finding::new(
            Severity::Warning,
            "disk-nearly-full",
            directory.display().to_string(),
            format!("{} MiB are free on its disk", free >> 20),
            "make room before commits fail: VACUUM, or a larger disk",
        )
    })
}
