//! From a location's text to a place, and whether that place is allowed. The check is made on what the file system says
//! the path means, after symlinks, and again by the stores themselves on every operation.

use std::io;
use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::path::Path;

use super::remote::Scheme;
use crate::error::{Error, ErrorKind, Result};

/// A location taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// An absolute path without `..`, not yet resolved.
    Local(PathBuf),
    /// An object of a bucket.
    Remote { scheme: Scheme, bucket: String, key: Path },
}

impl Location {
    pub(super) fn parse(location: &str) -> Result<Self> {
        let refused = |why: &str| Err(Error::new(ErrorKind::Forbidden, why).at(location.escape_debug().to_string()));
        if location.chars().any(|c| c.is_control()) {
            return refused("location contains a control character");
        }
        if location.starts_with('/') {
            return Self::local(location);
        }
        let Some((scheme, rest)) = location.split_once(':') else {
            return refused("location must be absolute");
        };
        if scheme.eq_ignore_ascii_case("file") {
            // `file:///a`, `file:/a` (Hadoop's spelling) and `file://localhost/a`; any other host is another machine.
            let path = match rest.strip_prefix("//") {
                Some(rest) => rest
                    .strip_prefix("localhost")
                    .filter(|p| p.starts_with('/'))
                    .unwrap_or(rest),
                None => rest,
            };
            if !path.starts_with('/') {
                return refused("location must be an absolute path of this machine");
            }
            return Self::local(path);
        }
        let Some(rest) = rest.strip_prefix("//") else {
            return refused("location must be absolute");
        };
        let Some(scheme) = Scheme::parse(scheme) else {
            return Err(Error::unsupported("unknown scheme of a location").at(location));
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // A bucket is a host name part: no port, no user, no query may hide in it.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return refused("invalid bucket name in a location");
        }
        match Path::parse(key.trim_end_matches('/')) {
            Ok(key) => Ok(Self::Remote {
                scheme,
                bucket: bucket.to_owned(),
                key,
            }),
            Err(_) => refused("invalid object path"),
        }
    }

    fn local(path: &str) -> Result<Self> {
        let path = FsPath::new(path);
        if path.components().any(|c| c == Component::ParentDir) {
            let refused = Error::new(ErrorKind::Forbidden, "location must not contain \"..\"");
            return Err(refused.at(path.display().to_string()));
        }
        Ok(Self::Local(path.components().collect()))
    }
}

/// The allow-list. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    /// Resolved directories.
    local: Arc<[PathBuf]>,
    /// What is not allowed below them, resolved.
    private: Arc<[PathBuf]>,
    remote: Arc<[(Scheme, String, Path)]>,
}

impl Roots {
    pub(super) fn new(local: &[PathBuf], private: &[PathBuf], remote: &[String]) -> Result<Self> {
        let resolve =
            |root: &PathBuf| std::fs::canonicalize(root).map_err(|e| Error::from(e).at(root.display().to_string()));
        let bucket = |root: &String| match Location::parse(root)? {
            Location::Remote { scheme, bucket, key } => Ok((scheme, bucket, key)),
            Location::Local(_) => Err(Error::unsupported("not a remote location").at(root.as_str())),
        };
        Ok(Self {
            local: local.iter().map(resolve).collect::<Result<_>>()?,
            private: private
                .iter()
                .map(|path| Ok(real_path(path)?.0))
                .collect::<Result<_>>()?,
            remote: remote.iter().map(bucket).collect::<Result<_>>()?,
        })
    }

    /// The real path behind an absolute path whose last parts may not exist yet, if it lies below a root.
    pub(super) fn check_local(&self, path: &FsPath) -> Result<PathBuf> {
        let (real, is_below_file) = real_path(path)?;
        // The innermost directory that says something decides.
        let depth = |roots: &[PathBuf]| {
            let around = roots.iter().filter(|root| real.starts_with(root));
            around.map(|root| root.components().count()).max()
        };
        let allowed = depth(&self.local);
        if allowed.is_none() || depth(&self.private) > allowed {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "location is outside the allowed directories",
            ));
        }
        match is_below_file {
            true => Err(Error::new(ErrorKind::NotFound, "file does not exist")),
            false => Ok(real),
        }
    }

    pub(super) fn check_remote(&self, scheme: Scheme, bucket: &str, key: &Path) -> Result<()> {
        let below = |root: &(Scheme, String, Path)| root.0 == scheme && root.1 == bucket && key.prefix_matches(&root.2);
        if self.remote.iter().any(below) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Forbidden,
            "location is outside the allowed buckets",
        ))
    }

    pub(super) fn has_bucket(&self, scheme: Scheme, bucket: &str) -> bool {
        self.remote.iter().any(|root| root.0 == scheme && root.1 == bucket)
    }

    /// True for the directories an empty-directory sweep must stop at.
    pub(super) fn is_root(&self, path: &FsPath) -> bool {
        self.local.iter().any(|root| root == path)
    }
}

/// The path of object_store for an absolute, resolved path.
pub(super) fn object_path(path: &FsPath) -> Result<Path> {
    let shown = || path.display().to_string();
    let text = path
        .to_str()
        .ok_or_else(|| Error::unsupported("file name is not UTF-8").at(shown()))?;
    Path::parse(text).map_err(|_| Error::new(ErrorKind::Forbidden, "invalid object path").at(shown()))
}

/// Resolves the longest part of the path that exists; the rest is appended as it is. Tells, too, whether a file has the name of a
/// directory on the way.
fn real_path(path: &FsPath) -> Result<(PathBuf, bool)> {
    let mut missing = Vec::new();
    let mut existing = path;
    let mut is_below_file = false;
    loop {
        match std::fs::canonicalize(existing) {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok((real, is_below_file));
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                is_below_file |= e.kind() == io::ErrorKind::NotADirectory;
                // A link that leads nowhere exists; what would be written through it may lie anywhere.
                match existing.symlink_metadata() {
                    Ok(found) if found.file_type().is_symlink() => {
                        return Err(Error::new(ErrorKind::Forbidden, "location is a dangling symbolic link"));
                    }
                    // Another writer has just made it: resolve it again.
                    Ok(_) => continue,
                    Err(_) => {}
                }
                let (Some(parent), Some(Component::Normal(name))) =
                    (existing.parent(), existing.components().next_back())
                else {
                    return Err(Error::new(ErrorKind::Forbidden, "location cannot be resolved"));
                };
                missing.push(name);
                existing = parent;
            }
            Err(e) => return Err(Error::from(e)),
        }
    }
}
