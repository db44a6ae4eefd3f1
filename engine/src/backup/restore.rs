//! A warehouse made of a backup.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use staffa_catalog::{CatalogDatabase, NewSizes, ObjectRole, Relocation, relocate_manifest, relocate_metadata};
use staffa_planner::{Error, ErrorKind, Result};
use staffa_storage::{ObjectDigest, Stores, relocate_deletion_vectors, relocate_position_deletes};

use super::manifest::{Entry, Manifest};
use super::{BackupInfo, COPIES_MAX, Place, SCRATCH, Scratch, difference, io_error};
use crate::config::Config;
use crate::warehouse::{catalog_url, make_dir, open_stores, own_warehouse};

/// As long as this is in a data directory, it is not complete.
pub(crate) const UNFINISHED: &str = "restore.unfinished";

/// Fails for a directory that a restore has not finished.
pub(crate) fn check_restored(data_dir: &Path) -> Result<()> {
    match data_dir.join(UNFINISHED).exists() {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::ObjectNotInPrerequisiteState,
            format!(
                "\"{}\" is no warehouse yet: a backup is being restored into it, or the restore was interrupted",
                data_dir.display()
            ),
        )
        .with_hint("Delete the directory and restore again.")),
    }
}

/// Makes a warehouse of a backup, the newest if none is named. The data directory must be empty, and so must be the place of the
/// tables and the catalog database that the settings name.
///
/// # Errors
/// There is no such backup, or it is damaged; something is there already.
pub async fn restore(config: &Config, place: &str, id: Option<&str>) -> Result<BackupInfo> {
    let place = Place::open(config, place)?;
    let manifest = place.find(id).await?;
    check_empty(&config.data_dir)?;
    let data_dir = make_dir(&config.data_dir)?;
    let unfinished = data_dir.join(UNFINISHED);
    let begun = File::create(&unfinished).and_then(|file| file.sync_all());
    begun
        .and_then(|()| sync(&data_dir))
        .map_err(|error| io_error(&unfinished, &error))?;

    let warehouse = own_warehouse(config, &data_dir);
    if let Some(path) = warehouse.strip_prefix("file://") {
        make_dir(Path::new(path))?;
    }
    let stores = open_stores(config, &data_dir, &warehouse)?;
    if !warehouse.starts_with(&format!("file://{}/", data_dir.display())) && !stores.list(&warehouse).await?.is_empty()
    {
        return Err(not_empty(&warehouse));
    }
    let relocation = Arc::new(Relocation::new(&manifest.header.warehouse, &warehouse));
    objects(&place, &manifest, &stores, &warehouse, &relocation).await?;

    let exported = Scratch(data_dir.join(format!("{SCRATCH}restore.db")));
    let header = &manifest.header;
    let location = place.catalog(&header.id);
    // Stores of tables' files do not reach the data directory itself.
    let beside = Place::open(config, &format!("file://{}", path_text(&data_dir)?))?;
    let copied = beside
        .stores
        .copy_from(&place.stores, &location, &path_text(&exported.0)?)
        .await?;
    if copied != header.catalog() {
        return Err(damaged(&difference(&location, &header.catalog(), &copied)));
    }
    CatalogDatabase::import(&exported.0, &catalog_url(config, &data_dir), &relocation).await?;
    drop(exported);
    let done = std::fs::remove_file(&unfinished).and_then(|()| sync(&data_dir));
    done.map_err(|error| io_error(&unfinished, &error))?;
    Ok(manifest.info())
}

/// Copies what holds no locations, and then writes the rest anew: what is named first, for who names it knows its size.
async fn objects(
    place: &Place,
    manifest: &Manifest,
    stores: &Stores,
    warehouse: &str,
    relocation: &Arc<Relocation>,
) -> Result<()> {
    let came_in = |entry: &Entry| Relocation::came_in(&entry.path);
    let moves = !relocation.is_in_place() || manifest.objects.iter().any(came_in);
    let mut sizes = Arc::new(NewSizes::new());
    for stage in STAGES {
        let stage: Vec<&Entry> = manifest
            .objects
            .iter()
            .filter(|entry| stage.contains(&entry.role))
            .collect();
        let works = stage.into_iter().map(|entry| {
            let (from, to) = (place.object(&entry.path), format!("{warehouse}/{}", entry.path));
            let (relocation, sizes) = (Arc::clone(relocation), Arc::clone(&sizes));
            async move {
                if !moves || !names_files(entry.role) {
                    let copied = stores.copy_from(&place.stores, &from, &to).await?;
                    return match copied == entry.digest() {
                        true => Ok((to, copied.size_bytes)),
                        false => Err(damaged(&difference(&from, &entry.digest(), &copied))),
                    };
                }
                let bytes = place.stores.get(&from).await?;
                let found = ObjectDigest::of(&bytes);
                if found != entry.digest() {
                    return Err(damaged(&difference(&from, &entry.digest(), &found)));
                }
                let (role, location) = (entry.role, to.clone());
                let work = move || relocated(role, &location, bytes, &relocation, &sizes);
                let moved = tokio::task::spawn_blocking(work).await;
                let moved = moved.map_err(|error| Error::internal(format!("rewriting was stopped ({error})")))??;
                let size = moved.len() as u64;
                stores.put(&to, moved).await?;
                Ok((to, size))
            }
        });
        let works = stream::iter(works.collect::<Vec<_>>()).buffer_unordered(COPIES_MAX);
        let done: Vec<(String, u64)> = works.try_collect().await?;
        Arc::make_mut(&mut sizes).extend(done);
    }
    Ok(())
}

/// Whoever names a file comes after it.
const STAGES: [&[ObjectRole]; 4] = [
    &[
        ObjectRole::Data,
        ObjectRole::Positions,
        ObjectRole::Vectors,
        ObjectRole::Statistics,
    ],
    &[ObjectRole::Manifest],
    &[ObjectRole::List],
    &[ObjectRole::Metadata],
];

fn names_files(role: ObjectRole) -> bool {
    !matches!(role, ObjectRole::Data | ObjectRole::Statistics)
}

fn relocated(
    role: ObjectRole,
    location: &str,
    bytes: Bytes,
    relocation: &Relocation,
    sizes: &NewSizes,
) -> Result<Bytes> {
    let moved = |before: &str| relocation.location(before);
    Ok(match role {
        ObjectRole::Metadata => relocate_metadata(location, &bytes, relocation)?.into(),
        ObjectRole::List | ObjectRole::Manifest => relocate_manifest(location, &bytes, relocation, sizes)?.into(),
        ObjectRole::Positions => relocate_position_deletes(bytes, &moved)?,
        ObjectRole::Vectors => relocate_deletion_vectors(&bytes, &moved)?,
        ObjectRole::Data | ObjectRole::Statistics => bytes,
    })
}

fn check_empty(data_dir: &Path) -> Result<()> {
    match std::fs::read_dir(data_dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                check_restored(data_dir)?;
                Err(not_empty(&data_dir.display().to_string()))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(data_dir, &error)),
    }
}

fn not_empty(place: &str) -> Error {
    Error::new(
        ErrorKind::ObjectNotInPrerequisiteState,
        format!("cannot restore into \"{place}\": it is not empty"),
    )
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("the backup is damaged: {what}"))
        .with_hint("staffa backup --verify lists all damage; restore another backup with --backup.")
}

fn path_text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| io_error(path, &std::io::Error::other("the name is not UTF-8")))
}

fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}
