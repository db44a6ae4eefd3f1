//! Copies of a whole warehouse, taken while others write, and warehouses made of them.
//!
//! A place for backups holds any number of them:
//!
//! ```text
//! objects/…               files of tables, by their paths in the warehouse; backups share them, as their names are never used again
//! backups/ID/catalog.db   the catalog as of one commit: a SQLite file, whatever the catalog's database is
//! backups/ID/manifest     the list of the objects with sizes and checksums, and the catalog's (`backup/manifest.rs`)
//! ```
//!
//! 1. The backup is noted like a server that looks at the newest state: nothing that state needs is deleted while it runs.
//! 2. The catalog's rows are copied in one transaction. Every table is as of the commit that it sees.
//! 3. Objects are copied that no earlier backup has, and hashed on the way.
//! 4. The manifest comes last, durably: without it there is no backup. (`a_killed_backup_is_none`)
//!
//! A restore writes into an empty directory, checks every byte against the manifest, and gives metadata the locations that hold
//! there. As long as it runs a file says so, and nothing opens the directory. (`a_killed_restore_does_not_open`)

mod manifest;
mod restore;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::Utc;
use futures::stream::{self, StreamExt, TryStreamExt};
use staffa_catalog::{Examination, Export, ObjectRole, Relocation};
use staffa_planner::{Error, ErrorKind, Result};
use staffa_storage::{ErrorKind as StorageErrorKind, ObjectDigest, StoreOptions, Stores};

use crate::config::Config;
use crate::warehouse::{catalog_url, make_dir, open_catalog};
use manifest::{Entry, Header, Manifest};
pub use restore::restore;
pub(crate) use restore::{UNFINISHED, check_restored};

/// Objects that are copied at a time.
const COPIES_MAX: usize = 8;
/// Begins the names of files of ours in the data directory that only a killed process leaves.
pub(crate) const SCRATCH: &str = ".staffa-";

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its name: when it was made, and of which commit it is.
    pub id: String,
    /// The commit sequence number.
    pub csn: u64,
    /// Where the warehouse was.
    pub warehouse: String,
    /// The version of Staffa that made it.
    pub made_by: String,
    /// Tables and views.
    pub relations: u64,
    /// Objects, without the catalog.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a backup did.
#[derive(Clone, Debug)]
pub struct BackupOutcome {
    /// The backup.
    pub info: BackupInfo,
    /// The objects that no earlier backup had.
    pub copied_objects: u64,
    /// Their bytes.
    pub copied_bytes: u64,
}

/// A place for backups.
#[derive(Clone)]
struct Place {
    stores: Stores,
    /// Without a slash at its end.
    location: String,
}

impl Place {
    /// `location` is `file:///…`, `s3://…`, …; nothing else can be reached.
    fn open(config: &Config, location: &str) -> Result<Place> {
        let location = location.trim_end_matches('/').to_owned();
        let (local_roots, remote_roots) = match location.strip_prefix("file://") {
            Some(path) => (vec![PathBuf::from(path)], Vec::new()),
            None => (Vec::new(), vec![location.clone()]),
        };
        let stores = Stores::new(StoreOptions {
            local_roots,
            private_paths: Vec::new(),
            remote_roots,
            s3: config.s3.clone(),
            range_cache_bytes: 0,
            chunk_cache_bytes: 0,
            metadata_cache_bytes: None,
            io: Some(tokio::runtime::Handle::current()),
        })?;
        Ok(Place { stores, location })
    }

    fn object(&self, path: &str) -> String {
        format!("{}/objects/{path}", self.location)
    }

    fn catalog(&self, id: &str) -> String {
        format!("{}/backups/{id}/catalog.db", self.location)
    }

    fn manifest(&self, id: &str) -> String {
        format!("{}/backups/{id}/manifest", self.location)
    }

    /// The complete backups, the oldest first.
    async fn ids(&self) -> Result<Vec<String>> {
        let prefix = format!("{}/backups/", self.location);
        let found = self.stores.list(prefix.trim_end_matches('/')).await?;
        let id = |location: &String| Some(location.strip_prefix(&prefix)?.strip_suffix("/manifest")?.to_owned());
        let mut ids: Vec<String> = found.iter().filter_map(id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    async fn read(&self, id: &str) -> Result<Manifest> {
        let location = self.manifest(id);
        let bytes = self.stores.get(&location).await?;
        Manifest::parse(&location, &bytes)
    }

    /// One that is asked for, or the newest.
    async fn find(&self, id: Option<&str>) -> Result<Manifest> {
        let ids = self.ids().await?;
        let found = match id {
            Some(id) => ids.iter().find(|known| *known == id),
            None => ids.last(),
        };
        match (found, id) {
            (Some(id), _) => self.read(id).await,
            (None, Some(id)) => Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("there is no complete backup \"{id}\" in {}", self.location),
            )
            .with_hint(format!("There are: {}.", ids.join(", ")))),
            (None, None) => Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("there is no complete backup in {}", self.location),
            )),
        }
    }
}

/// Backs up a warehouse, which may be open and written to, into a place that may have earlier backups of it.
///
/// # Errors
/// The warehouse cannot be read; an object of it is missing or not what the catalog says; the place cannot be written, lies
/// inside the warehouse, or has backups of another one.
pub async fn backup(config: &Config, place: &str) -> Result<BackupOutcome> {
    check_restored(&config.data_dir)?;
    // Nothing is made where there is no warehouse.
    let data_dir = std::path::absolute(&config.data_dir).map_err(|error| io_error(&config.data_dir, &error))?;
    Examination::of(&catalog_url(config, &data_dir)).await?;
    let data_dir = make_dir(&data_dir)?;
    let (catalog, stores, warehouse) = open_catalog(config, &data_dir).await?;
    check_outside(place, &data_dir, &warehouse)?;
    let place = Place::open(config, place)?;
    let known = known_objects(&place, &warehouse).await?;

    let scratch = Scratch(data_dir.join(format!("{SCRATCH}backup-{}.db", uuid::Uuid::now_v7())));
    let export = catalog.export(&scratch.0).await?;
    let csn = export.snapshot().csn();
    let id = format!("{}-{csn}", Utc::now().format("%Y%m%dT%H%M%S%.3fZ"));
    let relocation = Relocation::new(&warehouse, &warehouse);
    let (relations, wanted) = wanted_objects(&export, &relocation).await?;

    let copies = wanted.into_iter().map(|(path, wanted)| {
        let (stores, place, known) = (&stores, &place, known.get(&path));
        async move { store(stores, place, path, wanted, known).await }
    });
    let mut copies = stream::iter(copies.collect::<Vec<_>>()).buffer_unordered(COPIES_MAX);
    let (mut objects, mut copied_objects, mut copied_bytes) = (Vec::new(), 0, 0);
    while let Some(stored) = copies.try_next().await? {
        let Some((entry, is_new)) = stored else { continue };
        if is_new {
            copied_objects += 1;
            copied_bytes += entry.size_bytes;
        }
        objects.push(entry);
    }
    objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    export.check_held().await?;

    let bytes = std::fs::read(&scratch.0).map_err(|error| io_error(&scratch.0, &error))?;
    let catalog_digest = ObjectDigest::of(&bytes);
    place.stores.put(&place.catalog(&id), Bytes::from(bytes)).await?;
    let manifest = Manifest {
        header: Header::new(id.clone(), csn, warehouse, relations, &catalog_digest),
        objects,
    };
    place.stores.put(&place.manifest(&id), manifest.print()?).await?;
    Ok(BackupOutcome {
        info: manifest.info(),
        copied_objects,
        copied_bytes,
    })
}

/// The complete backups in a place, the oldest first.
///
/// # Errors
/// The place or a manifest in it cannot be read.
pub async fn backups(config: &Config, place: &str) -> Result<Vec<BackupInfo>> {
    let place = Place::open(config, place)?;
    let mut found = Vec::new();
    for id in place.ids().await? {
        found.push(place.read(&id).await?.info());
    }
    Ok(found)
}

/// Deletes all but the newest `keep` backups, and the objects that only they had; gives the deleted ones. Nobody else may back up
/// into the place meanwhile: it may count on what goes.
///
/// # Errors
/// The place cannot be read or written. What is left is in order; objects may be left that no backup has.
pub async fn prune_backups(config: &Config, place: &str, keep: usize) -> Result<Vec<BackupInfo>> {
    let place = Place::open(config, place)?;
    let ids = place.ids().await?;
    let (old, kept) = ids.split_at(ids.len().saturating_sub(keep.max(1)));
    let mut needed = HashSet::new();
    for id in kept {
        needed.extend(place.read(id).await?.objects.into_iter().map(|entry| entry.path));
    }
    let (mut deleted, mut unneeded) = (Vec::new(), BTreeSet::new());
    for id in old {
        let manifest = place.read(id).await?;
        deleted.push(manifest.info());
        let paths = manifest.objects.into_iter().map(|entry| entry.path);
        unneeded.extend(
            paths
                .filter(|path| !needed.contains(path))
                .map(|path| place.object(&path)),
        );
    }
    // The manifests first: from here on they are no backups.
    let manifests: Vec<String> = old.iter().map(|id| place.manifest(id)).collect();
    let catalogs = old.iter().map(|id| place.catalog(id));
    let rest: Vec<String> = catalogs.chain(unneeded).collect();
    for paths in [manifests, rest] {
        for result in place.stores.delete_all(&paths).await {
            match result {
                Err(error) if error.kind() != StorageErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(deleted)
}

/// Reads a backup whole, the newest if none is named; and what is wrong with it.
///
/// # Errors
/// There is no such backup, or its manifest is damaged.
pub async fn verify_backup(config: &Config, place: &str, id: Option<&str>) -> Result<(BackupInfo, Vec<String>)> {
    let place = Place::open(config, place)?;
    let manifest = place.find(id).await?;
    let catalog = (place.catalog(&manifest.header.id), manifest.header.catalog());
    let objects = manifest.objects.iter();
    let objects = objects.map(|entry| (place.object(&entry.path), entry.digest()));
    let checks = std::iter::once(catalog).chain(objects).map(|(location, expected)| {
        let stores = &place.stores;
        async move {
            match stores.digest(&location).await {
                Ok(found) if found == expected => None,
                Ok(found) => Some(difference(&location, &expected, &found)),
                Err(error) => Some(error.to_string()),
            }
        }
    });
    let problems = stream::iter(checks.collect::<Vec<_>>()).buffered(COPIES_MAX);
    let problems: Vec<Option<String>> = problems.collect().await;
    Ok((manifest.info(), problems.into_iter().flatten().collect()))
}

fn difference(location: &str, expected: &ObjectDigest, found: &ObjectDigest) -> String {
    match expected.size_bytes == found.size_bytes {
        true => format!("the content is not what was backed up: \"{location}\""),
        false => format!(
            "{} bytes instead of {}: \"{location}\"",
            found.size_bytes, expected.size_bytes
        ),
    }
}

/// An object of the warehouse.
struct Wanted {
    location: String,
    role: ObjectRole,
    size_bytes: Option<u64>,
}

/// How many tables and views there are, and all they need, by path in the backup.
async fn wanted_objects(export: &Export, relocation: &Relocation) -> Result<(u64, BTreeMap<String, Wanted>)> {
    let mut wanted = BTreeMap::new();
    let relations = export.snapshot().stored_relations();
    for (name, _, _) in &relations {
        let inventory = export.snapshot().inventory(name, &mut |_, error| Err(error)).await?;
        for (location, item) in inventory {
            let path = relocation.path(&location);
            let path = path.ok_or_else(|| Error::internal(format!("\"{location}\" is no location")))?;
            let (role, size_bytes) = (item.role, item.size_bytes);
            let item = Wanted {
                location,
                role,
                size_bytes,
            };
            wanted.insert(path, item);
        }
    }
    Ok((relations.len() as u64, wanted))
}

/// What is in the place already, by path.
async fn known_objects(place: &Place, warehouse: &str) -> Result<HashMap<String, Entry>> {
    let mut known = HashMap::new();
    for id in place.ids().await? {
        let manifest = place.read(&id).await?;
        if manifest.header.warehouse != warehouse {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("{} has backups of another warehouse", place.location),
            )
            .with_detail(format!(
                "They are of {}; this is {warehouse}.",
                manifest.header.warehouse
            ))
            .with_hint("Give each warehouse a place of its own for its backups."));
        }
        known.extend(manifest.objects.into_iter().map(|entry| (entry.path.clone(), entry)));
    }
    Ok(known)
}

/// Sees to it that an object is in the place, and tells whether it is new there. `None`: statistics that are gone, which nobody needs.
async fn store(
    stores: &Stores,
    place: &Place,
    path: String,
    wanted: Wanted,
    known: Option<&Entry>,
) -> Result<Option<(Entry, bool)>> {
    let target = place.object(&path);
    if let Some(known) = known
        && wanted.size_bytes.is_none_or(|size| size == known.size_bytes)
        && place
            .stores
            .size(&target)
            .await
            .is_ok_and(|size| size == known.size_bytes)
    {
        return Ok(Some((known.clone(), false)));
    }
    let digest = match place.stores.copy_from(stores, &wanted.location, &target).await {
        Err(error) if wanted.role == ObjectRole::Statistics && error.kind() == StorageErrorKind::NotFound => {
            return Ok(None);
        }
        copied => copied?,
    };
    if let Some(size) = wanted.size_bytes.filter(|size| *size != digest.size_bytes) {
        return Err(Error::new(
            ErrorKind::DataCorrupted,
            format!("a file of the warehouse is damaged: \"{}\"", wanted.location),
        )
        .with_detail(format!("It has {} bytes instead of {size}.", digest.size_bytes))
        .with_hint("staffa doctor --deep lists all damage."));
    }
    Ok(Some((Entry::new(path, wanted.role, &digest), true)))
}

/// A backup inside of what it backs up would go with it, and be taken for leftovers there.
fn check_outside(place: &str, data_dir: &Path, warehouse: &str) -> Result<()> {
    let inside = |place: &Path, directory: &Path| place.starts_with(directory) || directory.starts_with(place);
    let is_inside = match (place.strip_prefix("file://"), warehouse.strip_prefix("file://")) {
        (Some(place), warehouse) => {
            let place = make_dir(Path::new(place))?;
            inside(&place, data_dir) || warehouse.is_some_and(|warehouse| inside(&place, Path::new(warehouse)))
        }
        (None, _) => inside(Path::new(place), Path::new(warehouse)),
    };
    match is_inside {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("{place} is no place for a backup: the warehouse is in it, or it is in the warehouse"),
        )),
    }
}

/// A file that is removed in the end, with what SQLite puts beside it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = self.0.as_os_str().to_owned();
            name.push(suffix);
            // Where it is not removed, doctor finds it.
            let _ = std::fs::remove_file(name);
        }
    }
}

fn io_error(path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::IoError,
        format!("could not use \"{}\": {error}", path.display()),
    )
}
