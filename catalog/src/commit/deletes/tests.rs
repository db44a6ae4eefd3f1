use std::collections::BTreeSet;
use std::sync::Arc;

use ::iceberg::spec::{FormatVersion, Manifest, ManifestContentType, ManifestList};
use chrono::Utc;
use roaring::RoaringTreemap;
use serde_json::json;

use crate::alter::TableChange;
use crate::error::{Error, ErrorKind};
use crate::file::{DeleteContent, DeleteFile, LiveFile};
use crate::iceberg::{TableCommit, write_delete_manifest, write_list};
use crate::name::TableName;
use crate::objects::Objects;
use crate::testing::{World, append};
use crate::txn::Transaction;

/// A world with a table of one file of ten rows.
async fn ten_rows() -> (World, TableName) {
    let world = World::new().await;
    let table = world.create_table("t").await;
    add(&world, &table, 10).await;
    (world, table)
}

async fn add(world: &World, table: &TableName, rows: u64) {
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, table, rows).await.unwrap();
    txn.commit().await.unwrap();
}

async fn delete(txn: &mut Transaction, table: &TableName, rows: &[u64]) {
    let file = files(txn, table).await[0].clone();
    let rows: RoaringTreemap = rows.iter().copied().collect();
    txn.delete_rows(table, vec![(file, rows)]).await.unwrap();
}

async fn files(txn: &Transaction, table: &TableName) -> Arc<Vec<Arc<LiveFile>>> {
    let table = txn.snapshot().table(table).await.unwrap().unwrap();
    table.files().await.unwrap()
}

/// The rows deleted in the table's first file, as a new reader finds them.
async fn deleted(world: &World, table: &TableName) -> Vec<u64> {
    let txn = world.begin().await;
    let file = files(&txn, table).await[0].clone();
    deleted_of(world, &file).await
}

/// The rows one delete file names.
async fn deleted_of(world: &World, file: &LiveFile) -> Vec<u64> {
    let [delete] = file.deletes.as_slice() else {
        panic!("{} delete files", file.deletes.len());
    };
    assert_eq!(delete.data_file(), Some(file.location.as_str()));
    assert_eq!(delete.row_count, file.deleted_count());
    let bytes = world.objects.get(&delete.location).await.unwrap();
    let rows = world
        .objects
        .decode_deletes(bytes, &delete.content, &file.location)
        .await;
    rows.unwrap().into_iter().collect()
}

#[tokio::test]
async fn rows_are_deleted_once_committed() {
    let (world, table) = ten_rows().await;
    let mut txn = world.begin().await;
    delete(&mut txn, &table, &[1, 2]).await;
    delete(&mut txn, &table, &[5]).await;
    let seen = files(&txn, &table).await;
    assert_eq!(seen[0].own_deletes.as_ref().map(|rows| rows.len()), Some(3));
    let other = world.begin().await;
    assert!(!files(&other, &table).await[0].has_deletes());
    txn.commit().await.unwrap();
    assert_eq!(deleted(&world, &table).await, [1, 2, 5]);
    assert!(!files(&other, &table).await[0].has_deletes());
    // Nothing in the metadata says how many rows there are.
    let table = world.begin().await.snapshot().table(&table).await.unwrap().unwrap();
    assert_eq!(table.row_count(), None);
}

#[tokio::test]
async fn different_rows_of_one_file_merge() {
    let (world, table) = ten_rows().await;
    let (mut first, mut second) = (world.begin().await, world.begin().await);
    delete(&mut first, &table, &[1, 2]).await;
    delete(&mut second, &table, &[7]).await;
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(deleted(&world, &table).await, [1, 2, 7]);
    // One more, with a file appended meanwhile.
    let mut third = world.begin().await;
    delete(&mut third, &table, &[9]).await;
    add(&world, &table, 3).await;
    third.commit().await.unwrap();
    let txn = world.begin().await;
    let mut counts: Vec<(u64, u64)> = Vec::new();
    for file in files(&txn, &table).await.iter() {
        counts.push((file.row_count, file.deleted_count()));
    }
    counts.sort();
    assert_eq!(counts, [(3, 0), (10, 4)]);
}

#[tokio::test]
async fn one_row_is_deleted_by_one_only() {
    let (world, table) = ten_rows().await;
    let (mut first, mut second, mut third) = (world.begin().await, world.begin().await, world.begin().await);
    delete(&mut first, &table, &[1, 2]).await;
    delete(&mut second, &table, &[2, 3]).await;
    let file = files(&third, &table).await[0].clone();
    third.remove_files(&table, &[file]).await.unwrap();
    first.commit().await.unwrap();
    for loser in [second, third] {
        let error = loser.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(deleted(&world, &table).await, [1, 2]);
    // The loser's objects are gone.
    let all = world.objects.all().await;
    assert_eq!(
        all.iter().filter(|location| location.contains("-d0-")).count(),
        1,
        "{all:?}"
    );
}

#[tokio::test]
async fn files_are_removed_whole() {
    let (world, table) = ten_rows().await;
    let mut txn = world.begin().await;
    delete(&mut txn, &table, &[1]).await;
    txn.commit().await.unwrap();
    add(&world, &table, 3).await;
    let mut txn = world.begin().await;
    let all = files(&txn, &table).await;
    let ten = all.iter().find(|file| file.row_count == 10).unwrap().clone();
    txn.remove_files(&table, std::slice::from_ref(&ten)).await.unwrap();
    append(&mut txn, &world.objects, &table, 5).await.unwrap();
    let own = files(&txn, &table).await;
    let own = own.iter().find(|file| file.row_count == 5).unwrap().clone();
    assert_eq!(files(&txn, &table).await.len(), 2);
    txn.remove_files(&table, &[own]).await.unwrap();
    assert_eq!(files(&txn, &table).await.len(), 1);
    let mut late = world.begin().await;
    late.delete_rows(&table, vec![(ten, RoaringTreemap::from_iter([8]))])
        .await
        .unwrap();
    txn.commit().await.unwrap();
    assert_eq!(world.rows(&table).await, [3]);
    assert_eq!(late.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    // The file of the transaction itself that had no use in the end is garbage of the commit.
    let dead = world.catalog.dead_objects(i64::MAX, true).await.unwrap().objects;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].path.ends_with("5.parquet"));
    // A removed file is named in the manifest of the snapshot that removed it, and in no later one.
    add(&world, &table, 4).await;
    assert_eq!(world.rows(&table).await, [3, 4]);
}

#[tokio::test]
async fn own_rows_can_be_deleted_before_the_commit() {
    let (world, table) = ten_rows().await;
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 4).await.unwrap();
    let own = files(&txn, &table).await[1].clone();
    txn.delete_rows(&table, vec![(own, RoaringTreemap::from_iter([0]))])
        .await
        .unwrap();
    let savepoint = txn.savepoint();
    delete(&mut txn, &table, &[3]).await;
    txn.restore(savepoint);
    txn.commit().await.unwrap();
    let txn = world.begin().await;
    let mut counts: Vec<(u64, u64)> = Vec::new();
    for file in files(&txn, &table).await.iter() {
        counts.push((file.row_count, file.deleted_count()));
    }
    counts.sort();
    assert_eq!(counts, [(4, 1), (10, 0)]);
}

/// Rows and first row id of each data file, from the manifests as they are stored.
async fn row_ids(world: &World, table: &TableName) -> Vec<(u64, Option<i64>)> {
    let txn = world.begin().await;
    let table = txn.snapshot().table(table).await.unwrap().unwrap();
    let list = world
        .objects
        .get(table.version().metadata().manifest_list().unwrap())
        .await;
    let list = ManifestList::parse_with_version(&list.unwrap(), FormatVersion::V3).unwrap();
    let mut ids = Vec::new();
    for manifest in list
        .entries()
        .iter()
        .filter(|manifest| manifest.content == ManifestContentType::Data)
    {
        let mut next = manifest.first_row_id.map(|id| i64::try_from(id).unwrap());
        let bytes = world.objects.get(&manifest.manifest_path).await.unwrap();
        for entry in Manifest::parse_avro(&bytes)
            .unwrap()
            .entries()
            .iter()
            .filter(|entry| entry.is_alive())
        {
            let file = entry.data_file();
            ids.push((file.record_count(), file.first_row_id().or(next)));
            if file.first_row_id().is_none() {
                next = next.map(|next| next + i64::try_from(file.record_count()).unwrap());
            }
        }
    }
    ids.sort_unstable();
    ids
}

async fn raise(world: &World, table: &TableName, version: &str) -> Result<(), Error> {
    let mut txn = world.begin().await;
    let change = TableChange::SetProperties {
        set: [("format-version".to_owned(), version.to_owned())].into(),
        removed: BTreeSet::new(),
    };
    txn.alter_table(table, &[change], false).await?;
    txn.commit().await.map(|_| ())
}

#[tokio::test]
async fn format_version_3_has_deletion_vectors_and_row_ids() {
    let (world, table) = ten_rows().await;
    let mut txn = world.begin().await;
    delete(&mut txn, &table, &[1, 2]).await;
    txn.commit().await.unwrap();
    let mut late = world.begin().await;
    delete(&mut late, &table, &[4]).await;
    raise(&world, &table, "3").await.unwrap();
    for (version, wrong) in [("2", "cannot go back"), ("4", "not supported"), ("x", "not supported")] {
        let error = raise(&world, &table, version).await.unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
    // The vector takes over what the position deletes of the old version say.
    late.commit().await.unwrap();
    assert_eq!(deleted(&world, &table).await, [1, 2, 4]);
    assert_eq!(row_ids(&world, &table).await, [(10, Some(0))]);

    // A file keeps its ids when its manifest is rewritten, and new ones come after them.
    add(&world, &table, 3).await;
    add(&world, &table, 5).await;
    let before = row_ids(&world, &table).await;
    assert_eq!(before.iter().map(|(_, id)| id.is_some()).collect::<Vec<_>>(), [true; 3]);
    let mut txn = world.begin().await;
    let all = files(&txn, &table).await;
    let three = all.iter().find(|file| file.row_count == 3).unwrap().clone();
    txn.remove_files(&table, &[three]).await.unwrap();
    let ten = all.iter().find(|file| file.row_count == 10).unwrap().clone();
    assert!(matches!(ten.deletes[0].content, DeleteContent::Vector { .. }));
    txn.delete_rows(&table, vec![(ten, RoaringTreemap::from_iter([9]))])
        .await
        .unwrap();
    txn.commit().await.unwrap();
    let after = row_ids(&world, &table).await;
    let kept: Vec<_> = before.into_iter().filter(|(rows, _)| *rows != 3).collect();
    assert_eq!(after, kept);
    let txn = world.begin().await;
    let ten = files(&txn, &table)
        .await
        .iter()
        .find(|file| file.row_count == 10)
        .unwrap()
        .clone();
    assert_eq!((ten.deletes.len(), ten.deleted_count()), (1, 4));
}

/// What Iceberg's Java library does in one commit: deletion vectors of several data files, all in one Puffin file.
async fn delete_as_java_does(world: &World, name: &TableName, rows: &[(Arc<LiveFile>, &[u64])]) {
    let table = world.begin().await.snapshot().table(name).await.unwrap().unwrap();
    let metadata = table.version().metadata();
    let (puffin, id) = (format!("{}/data/shared.puffin", table.location()), 77);
    let (mut bytes, mut vectors) = (Vec::new(), Vec::new());
    for (file, rows) in rows {
        let rows: RoaringTreemap = rows.iter().copied().collect();
        let (encoded, content) = world.objects.encode_deletes(&file.location, &rows, true).unwrap();
        let DeleteContent::Vector { data_file, length, .. } = content else {
            panic!("no vector");
        };
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(&encoded);
        vectors.push(DeleteFile {
            location: puffin.clone(),
            size_bytes: 0,
            row_count: rows.len(),
            spec_id: file.spec_id,
            partition: file.partition.clone(),
            sequence_number: 0,
            content: DeleteContent::Vector {
                data_file,
                offset,
                length,
            },
        });
    }
    vectors
        .iter_mut()
        .for_each(|vector| vector.size_bytes = bytes.len() as u64);
    world.objects.put(&puffin, bytes.into()).await.unwrap();
    let manifest = format!("{}/metadata/java-m0.avro", table.location());
    let (manifest, encoded) = write_delete_manifest(metadata, 0, id, &vectors, manifest)
        .await
        .unwrap();
    world.objects.put(&encoded.location, encoded.bytes).await.unwrap();
    let mut all = vec![manifest];
    let loader = crate::loader::Loader::new(world.objects.clone());
    all.extend(table.version().manifests(&loader).await.unwrap().iter().cloned());
    let list = format!("{}/metadata/snap-{id}-java.avro", table.location());
    let written = write_list(metadata, id, &all, list.clone()).await.unwrap();
    world.objects.put(&list, written.object.bytes).await.unwrap();
    let (first_row_id, added_rows) = written.row_ids.unwrap();
    let snapshot = json!({
        "snapshot-id": id,
        "parent-snapshot-id": table.snapshot_id(),
        "sequence-number": metadata.next_sequence_number(),
        "timestamp-ms": Utc::now().timestamp_millis(),
        "manifest-list": list,
        "summary": {"operation": "delete"},
        "schema-id": 0,
        "first-row-id": first_row_id,
        "added-rows": added_rows,
    });
    let updates = json!([
        {"action": "add-snapshot", "snapshot": snapshot},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id},
    ]);
    let mut txn = world.begin().await;
    let commit = TableCommit::parse(json!([]), updates).unwrap();
    txn.commit_table(name, commit).await.unwrap();
    txn.commit().await.unwrap();
}

/// Rows of each file of the table, and how many of them are deleted; sorted.
async fn counts(world: &World, table: &TableName) -> Vec<(u64, u64)> {
    let files = files(&world.begin().await, table).await;
    let mut counts: Vec<_> = files
        .iter()
        .map(|file| (file.row_count, file.deleted_count()))
        .collect();
    counts.sort();
    counts
}

#[tokio::test]
async fn deletion_vectors_in_one_file_go_one_by_one() {
    let (world, table) = ten_rows().await;
    for rows in [5, 7] {
        add(&world, &table, rows).await;
    }
    raise(&world, &table, "3").await.unwrap();
    let file = async |rows| {
        let all = files(&world.begin().await, &table).await;
        all.iter().find(|file| file.row_count == rows).unwrap().clone()
    };
    let vectors: [(Arc<LiveFile>, &[u64]); 3] = [
        (file(5).await, &[0, 1]),
        (file(7).await, &[6]),
        (file(10).await, &[1, 2, 3]),
    ];
    delete_as_java_does(&world, &table, &vectors).await;
    assert_eq!(counts(&world, &table).await, [(5, 2), (7, 1), (10, 3)]);

    // A row more of one file: the others' rows stay deleted.
    let mut txn = world.begin().await;
    let rows = vec![(file(10).await, RoaringTreemap::from_iter([9]))];
    txn.delete_rows(&table, rows).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(counts(&world, &table).await, [(5, 2), (7, 1), (10, 4)]);
    // And when compaction writes one of them again.
    let mut txn = world.begin().await;
    txn.begin_write(&table).await.unwrap();
    txn.replace_files(&table, &[file(5).await], Vec::new()).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(counts(&world, &table).await, [(7, 1), (10, 4)]);
    let seven = file(7).await;
    assert_eq!(deleted_of(&world, &seven).await, [6]);
}
