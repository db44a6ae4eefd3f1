//! Local files that stay: `LocalFileSystem` of object_store 0.13 for reading, and writes of our own, because that one
//! never calls fsync.
//!
//! 1. Bytes go to a new file beside the target, named `<target>.<uuid>.part`: a listing shows it, so the leftover of a
//!    crash is found with the other files of its transaction. (`a_crash_leaves_a_visible_part`)
//! 2. The part is fsynced before it gets its name: a name never shows bytes that a power cut could take back.
//! 3. It is renamed onto the target (or linked, when the target must not exist yet). Nobody sees half a file.
//! 4. The target's directory is fsynced, and the parent of every directory on the way that this process has not yet
//!    fsynced since it was made. Only then the call returns. (`syncs_the_file_before_its_name_and_the_directories_after`)
//! 5. When an fsync fails, the call fails and the file is removed: the kernel may have dropped the dirty pages and would
//!    answer the next fsync with success. (`a_failed_fsync_fails_the_put_and_removes_the_file`)
//! 6. Directories that deleting leaves empty are removed, never a root. A removed directory is unknown again for rule 4.
//!
//! Every operation checks its path against the allow-list again, after symlinks: DataFusion reaches this store by URL.

use std::collections::HashSet;
use std::fmt::{Debug, Display, Formatter};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode, UploadPart,
};
use parking_lot::Mutex;
use uuid::Uuid;

use super::location::Roots;
use crate::error::{Error, Result};

/// Attempts to open a part whose directory another task removes as empty at the same moment.
const OPEN_ATTEMPTS_MAX: usize = 8;

/// Directories remembered as durable; beyond it the memory is emptied, which costs fsyncs only.
const KNOWN_DIRECTORIES_MAX: usize = 65_536;

/// The local file system below the allowed roots; a write that returned survives a power cut.
pub(super) struct DurableLocal {
    reader: LocalFileSystem,
    disk: Arc<Disk>,
}

impl DurableLocal {
    pub(super) fn new(roots: Roots) -> Self {
        Self {
            reader: LocalFileSystem::new(),
            disk: Arc::new(Disk::new(roots, Arc::new(Kernel))),
        }
    }

    #[cfg(test)]
    fn with_sync(roots: Roots, sync: Arc<dyn Sync>) -> Self {
        Self {
            reader: LocalFileSystem::new(),
            disk: Arc::new(Disk::new(roots, sync)),
        }
    }

    /// Runs file operations where they may block.
    async fn run<T: Send + 'static>(
        &self,
        location: &Path,
        work: impl FnOnce(&Disk) -> Result<T> + Send + 'static,
    ) -> object_store::Result<T> {
        run(&self.disk, location, work).await
    }
}

impl Debug for DurableLocal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableLocal").field("roots", &self.disk.roots).finish()
    }
}

impl Display for DurableLocal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("file:///")
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let create = match opts.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => {
                return Err(Error::unsupported("conditional update of a local file")
                    .at(shown(location))
                    .into());
            }
        };
        let target = fs_path(location);
        self.run(location, move |disk| {
            let target = disk.roots.check_local(&target)?;
            let mut part = disk.open_part(&target)?;
            payload.iter().try_for_each(|bytes| part.file.write_all(bytes))?;
            disk.publish(part, create)
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let target = fs_path(location);
        let part = self
            .run(location, move |disk| {
                let target = disk.roots.check_local(&target)?;
                disk.open_part(&target)
            })
            .await?;
        Ok(Box::new(Upload {
            disk: Arc::clone(&self.disk),
            location: location.clone(),
            part: Some(Arc::new(part)),
            offset: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.disk.check(location)?;
        self.reader.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.disk.check(location)?;
        self.reader.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let disk = Arc::clone(&self.disk);
        locations
            .map(move |location| {
                let disk = Arc::clone(&disk);
                async move {
                    let location = location?;
                    let target = fs_path(&location);
                    run(&disk, &location, move |disk| disk.delete(&target)).await?;
                    Ok(location)
                }
            })
            .buffered(8)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.disk.check(&prefix.cloned().unwrap_or_default()) {
            Ok(()) => self.reader.list(prefix),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.disk.check(&prefix.cloned().unwrap_or_default())?;
        self.reader.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let create = options.mode == CopyMode::Create;
        let (source, target) = (fs_path(from), fs_path(to));
        self.run(to, move |disk| {
            let source = disk.roots.check_local(&source)?;
            let target = disk.roots.check_local(&target)?;
            let mut from = File::open(&source)?;
            let mut part = disk.open_part(&target)?;
            io::copy(&mut from, &mut part.file)?;
            disk.publish(part, create)
        })
        .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        let create = options.target_mode == RenameTargetMode::Create;
        let (source, target) = (fs_path(from), fs_path(to));
        self.run(to, move |disk| {
            let source = disk.roots.check_local(&source)?;
            let target = disk.roots.check_local(&target)?;
            disk.sync.file(&File::open(&source)?, &source)?;
            disk.make_directories(&target)?;
            give_name(&source, &target, create)?;
            disk.sync_name(&target)?;
            if let Some(parent) = source.parent() {
                disk.sync.directory(parent)?;
            }
            Ok(())
        })
        .await
    }
}

/// An upload in parts: written at their offsets into one part file, published at the end. Dropped, it leaves nothing.
#[derive(Debug)]
struct Upload {
    disk: Arc<Disk>,
    location: Path,
    part: Option<Arc<Part>>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let mut offset = self.offset;
        self.offset += data.content_length() as u64;
        let disk = Arc::clone(&self.disk);
        let (part, location) = (self.part.clone(), self.location.clone());
        async move {
            run(&disk, &location, move |_| {
                let part = part.ok_or_else(finished)?;
                for bytes in &data {
                    part.file.write_all_at(bytes, offset)?;
                    offset += bytes.len() as u64;
                }
                Ok(())
            })
            .await
        }
        .boxed()
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        // Parts still being written hold the file; the caller has awaited them all.
        let part = self.part.take().and_then(Arc::into_inner);
        run(&self.disk, &self.location, move |disk| {
            disk.publish(part.ok_or_else(finished)?, false)
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.part = None;
        Ok(())
    }
}

fn finished() -> Error {
    Error::internal("upload is finished already, or parts of it still run")
}

/// A file on its way to its name. Dropped, it is removed.
#[derive(Debug)]
struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is found by its transaction's name later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What makes bytes durable; tests put a recorder here.
trait Sync: Debug + Send + std::marker::Sync {
    fn file(&self, file: &File, path: &FsPath) -> io::Result<()>;
    fn directory(&self, path: &FsPath) -> io::Result<()>;
}

#[derive(Debug)]
struct Kernel;

impl Sync for Kernel {
    fn file(&self, file: &File, _path: &FsPath) -> io::Result<()> {
        file.sync_all()
    }

    fn directory(&self, path: &FsPath) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct Disk {
    roots: Roots,
    sync: Arc<dyn Sync>,
    /// Directories whose own entry in their parent is known to be durable. Held while a directory is made or removed, so
    /// that nobody trusts one that was just made anew.
    known: Mutex<HashSet<PathBuf>>,
}

impl Disk {
    fn new(roots: Roots, sync: Arc<dyn Sync>) -> Self {
        Self {
            roots,
            sync,
            known: Mutex::default(),
        }
    }

    fn check(&self, location: &Path) -> object_store::Result<()> {
        self.roots
            .check_local(&fs_path(location))
            .map_err(|e| e.at(shown(location)))?;
        Ok(())
    }

    fn open_part(&self, target: &FsPath) -> Result<Part> {
        let mut name = target
            .file_name()
            .ok_or_else(|| Error::internal("a file needs a name"))?
            .to_owned();
        name.push(format!(".{}.part", Uuid::new_v4().simple()));
        let path = target.with_file_name(name);
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.make_directories(target)?;
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Part {
                        file,
                        path,
                        target: target.to_owned(),
                        published: false,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempts < OPEN_ATTEMPTS_MAX => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Rules 2 to 5.
    fn publish(&self, mut part: Part, create: bool) -> Result<()> {
        self.sync.file(&part.file, &part.path)?;
        give_name(&part.path, &part.target, create)?;
        part.published = true;
        if let Err(e) = self.sync_name(&part.target) {
            let _ = std::fs::remove_file(&part.target);
            return Err(e);
        }
        Ok(())
    }

    fn make_directories(&self, target: &FsPath) -> Result<()> {
        let Some(parent) = target.parent() else { return Ok(()) };
        if parent.is_dir() {
            return Ok(());
        }
        let missing: Vec<&FsPath> = parent.ancestors().take_while(|dir| !dir.is_dir()).collect();
        let mut known = self.known.lock();
        for dir in missing.into_iter().rev() {
            match std::fs::create_dir(dir) {
                Ok(()) => {
                    known.remove(dir);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                // Swept as empty between two steps: the caller tries again.
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Rule 4: the name itself, then each directory on the way that is not known yet.
    fn sync_name(&self, target: &FsPath) -> Result<()> {
        let Some(parent) = target.parent() else { return Ok(()) };
        self.sync.directory(parent)?;
        for dir in parent.ancestors() {
            if self.roots.is_root(dir) || self.known.lock().contains(dir) {
                break;
            }
            let Some(above) = dir.parent() else { break };
            self.sync.directory(above)?;
            let mut known = self.known.lock();
            if known.len() >= KNOWN_DIRECTORIES_MAX {
                known.clear();
            }
            // Removed meanwhile: the next one to make it must sync it.
            if dir.is_dir() {
                known.insert(dir.to_owned());
            }
        }
        Ok(())
    }

    fn delete(&self, target: &FsPath) -> Result<()> {
        let target = self.roots.check_local(target)?;
        std::fs::remove_file(&target)?;
        for dir in target.ancestors().skip(1) {
            let mut known = self.known.lock();
            if self.roots.is_root(dir) || std::fs::remove_dir(dir).is_err() {
                break;
            }
            known.remove(dir);
        }
        Ok(())
    }
}

fn give_name(from: &FsPath, to: &FsPath, create: bool) -> io::Result<()> {
    if create {
        std::fs::hard_link(from, to)?;
        return std::fs::remove_file(from);
    }
    std::fs::rename(from, to)
}

async fn run<T: Send + 'static>(
    disk: &Arc<Disk>,
    location: &Path,
    work: impl FnOnce(&Disk) -> Result<T> + Send + 'static,
) -> object_store::Result<T> {
    let disk = Arc::clone(disk);
    let done = tokio::task::spawn_blocking(move || work(&disk))
        .await
        .map_err(|source| object_store::Error::JoinError { source })?;
    Ok(done.map_err(|e| e.at(shown(location)))?)
}

/// Paths of this store are absolute paths without their first slash.
fn fs_path(location: &Path) -> PathBuf {
    FsPath::new("/").join(location.as_ref())
}

fn shown(location: &Path) -> String {
    format!("/{location}")
}

#[cfg(test)]
mod tests;
