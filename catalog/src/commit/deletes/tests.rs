use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::error::ErrorKind;
use crate::file::LiveFile;
use crate::name::TableName;
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
    let [delete] = file.deletes.as_slice() else {
        panic!("{} delete files", file.deletes.len());
    };
    assert_eq!(delete.data_file(), Some(file.location.as_str()));
    assert_eq!(delete.row_count, file.deleted_count());
    use crate::objects::Objects;
    let bytes = world.objects.get(&delete.location).await.unwrap();
    let rows = world.objects.decode_deletes(bytes, &file.location).await.unwrap();
    rows.into_iter().collect()
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
    txn.remove_files(&table, &[ten.clone()]).await.unwrap();
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
