//! Transactions that say what they read: who must give way, and who need not.

use std::sync::Arc;

use super::Reading;
use crate::alter::TableChange;
use crate::error::{ErrorKind, Result};
use crate::file::LiveFile;
use crate::name::TableName;
use crate::testing::{World, append};
use crate::txn::Transaction;

/// Whoever read the files with these numbers of rows.
#[derive(Debug)]
struct Sizes(&'static [u64]);

impl Reading for Sizes {
    fn may_concern(&self, files: &[Arc<LiveFile>]) -> bool {
        files.iter().any(|file| self.0.contains(&file.row_count))
    }
}

async fn read(txn: &mut Transaction, table: &TableName, sizes: &'static [u64]) {
    let uuid = txn.snapshot().table(table).await.unwrap().unwrap().uuid();
    txn.rely_on_reads(table, uuid, Arc::new(Sizes(sizes))).await.unwrap();
}

/// Two tables with a file of one row each.
async fn world() -> (World, TableName, TableName) {
    let world = World::new().await;
    let (a, b) = (world.create_table("a").await, world.create_table("b").await);
    for table in [&a, &b] {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, table, 1).await.unwrap();
        txn.commit().await.unwrap();
    }
    (world, a, b)
}

async fn live(txn: &Transaction, table: &TableName) -> Vec<Arc<LiveFile>> {
    let table = txn.snapshot().table(table).await.unwrap().unwrap();
    table.files().await.unwrap().to_vec()
}

fn refused(result: Result<u64>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        error.message(),
        "could not serialize access due to read/write dependencies among transactions"
    );
}

/// Each reads both tables and adds to the other's: under snapshots alone both would commit.
#[tokio::test]
async fn of_two_that_read_what_the_other_writes_one_commits() {
    let (world, a, b) = world().await;
    let mut txns = Vec::new();
    for (written, rows) in [(&a, 2), (&b, 3)] {
        let mut txn = world.begin().await;
        for table in [&a, &b] {
            read(&mut txn, table, &[1, 2, 3]).await;
        }
        append(&mut txn, &world.objects, written, rows).await.unwrap();
        txns.push(txn);
    }
    let second = txns.pop().unwrap();
    txns.pop().unwrap().commit().await.unwrap();
    refused(second.commit().await);
    assert_eq!(world.rows(&b).await, [1]);
}

/// The same all at once, from two servers: the check and the swap are one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_they_race_at_most_one_commits() {
    let (world, a, b) = world().await;
    let other = world.second().await;
    for round in 0..20 {
        let mut txns = Vec::new();
        for (catalog, read_from, written, rows) in
            [(&world.catalog, &a, &b, 100 + round), (&other, &b, &a, 200 + round)]
        {
            let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
            let uuid = txn.snapshot().table(read_from).await.unwrap().unwrap().uuid();
            txn.rely_on_reads(read_from, uuid, Arc::new(Everything)).await.unwrap();
            append(&mut txn, &world.objects, written, rows).await.unwrap();
            txns.push(txn);
        }
        let mut committed = 0;
        let commits: Vec<_> = txns.into_iter().map(|txn| tokio::spawn(txn.commit())).collect();
        for commit in commits {
            match commit.await.unwrap() {
                Ok(_) => committed += 1,
                result => refused(result),
            }
        }
        assert_eq!(committed, 1, "round {round}");
    }
}

#[derive(Debug)]
struct Everything;

impl Reading for Everything {
    fn may_concern(&self, files: &[Arc<LiveFile>]) -> bool {
        !files.is_empty()
    }
}

#[tokio::test]
async fn what_was_not_read_may_change() {
    let (world, a, b) = world().await;
    let mut txn = world.begin().await;
    read(&mut txn, &a, &[1]).await;
    append(&mut txn, &world.objects, &b, 2).await.unwrap();
    // Other rows, and what is not rows.
    let mut other = world.begin().await;
    append(&mut other, &world.objects, &a, 5).await.unwrap();
    other.commit().await.unwrap();
    let mut other = world.begin().await;
    other.set_comment(&a, None, Some("of others".to_owned())).await.unwrap();
    other.commit().await.unwrap();
    txn.commit().await.unwrap();

    // Deleted rows, dropped tables and other columns are changes of what was read.
    for change in 0..3 {
        let mut txn = world.begin().await;
        read(&mut txn, &a, &[1]).await;
        append(&mut txn, &world.objects, &b, 3).await.unwrap();
        let mut other = world.begin().await;
        match change {
            0 => {
                let file = live(&other, &a).await.into_iter().find(|file| file.row_count == 1);
                other.remove_files(&a, &[file.unwrap()]).await.unwrap();
            }
            1 => {
                let drop = TableChange::DropColumn { field_id: 2 };
                other.alter_table(&a, &[drop], false).await.unwrap();
            }
            _ => other.drop_table(&a).await.unwrap(),
        }
        other.commit().await.unwrap();
        refused(txn.commit().await);
    }
    // Whoever changes nothing has read one state.
    let mut reader = world.begin().await;
    read(&mut reader, &b, &[1, 2]).await;
    let mut other = world.begin().await;
    other.drop_table(&b).await.unwrap();
    other.commit().await.unwrap();
    reader.commit().await.unwrap();
}

#[tokio::test]
async fn compaction_changes_nothing_that_was_read() {
    let (world, a, b) = world().await;
    let compact = async |into: u64| {
        let mut txn = world.begin().await;
        let old = live(&txn, &a).await;
        let mut scratch = world.begin().await;
        append(&mut scratch, &world.objects, &a, into).await.unwrap();
        let new = live(&scratch, &a).await.pop().unwrap();
        std::mem::forget(scratch);
        txn.replace_files(&a, &old, vec![crate::file::DataFile::clone(&new.data)])
            .await
            .unwrap();
        txn.commit().await.unwrap();
    };
    let add = async |rows: u64| {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, &a, rows).await.unwrap();
        txn.commit().await.unwrap();
    };
    let mut txn = world.begin().await;
    read(&mut txn, &a, &[1, 11]).await;
    append(&mut txn, &world.objects, &b, 2).await.unwrap();
    compact(11).await;
    add(5).await;
    compact(16).await;
    txn.commit().await.unwrap();

    let mut txn = world.begin().await;
    read(&mut txn, &a, &[16, 7]).await;
    append(&mut txn, &world.objects, &b, 3).await.unwrap();
    add(7).await;
    compact(23).await;
    refused(txn.commit().await);
}

/// The snapshot the transaction began from may be forgotten before its commit.
#[tokio::test]
async fn an_expired_base_is_compared_all_the_same() {
    let (world, a, b) = world().await;
    for (added, is_read) in [(5, false), (7, true)] {
        let mut txn = world.begin().await;
        read(&mut txn, &a, &[1, 7, 11, 16]).await;
        append(&mut txn, &world.objects, &b, 2).await.unwrap();
        let base = txn.snapshot().table(&a).await.unwrap().unwrap().snapshot_id().unwrap();
        // A compaction, so that snapshots are looked at one by one.
        let mut compaction = world.begin().await;
        let old = live(&compaction, &a).await;
        let mut scratch = world.begin().await;
        let into = old.iter().map(|file| file.row_count).sum::<u64>() + 10;
        append(&mut scratch, &world.objects, &a, into).await.unwrap();
        let new = live(&scratch, &a).await.pop().unwrap();
        std::mem::forget(scratch);
        let new = vec![crate::file::DataFile::clone(&new.data)];
        compaction.replace_files(&a, &old, new).await.unwrap();
        compaction.commit().await.unwrap();
        let mut other = world.begin().await;
        append(&mut other, &world.objects, &a, added).await.unwrap();
        other.commit().await.unwrap();
        let mut expiry = world.begin().await;
        let change = TableChange::ExpireSnapshots([base].into());
        expiry.alter_table(&a, &[change], false).await.unwrap();
        expiry.commit().await.unwrap();
        match is_read {
            true => refused(txn.commit().await),
            false => drop(txn.commit().await.unwrap()),
        }
    }
}

/// A table has its own name in the base, whatever the transaction calls it; one of its own making has none.
#[tokio::test]
async fn tables_are_known_by_what_they_are() {
    let (world, a, b) = world().await;
    let mut txn = world.begin().await;
    let renamed = crate::testing::name("renamed");
    txn.rename(&a, &renamed).await.unwrap();
    let own = txn.create_table(crate::testing::definition("own")).await.unwrap();
    read(&mut txn, &renamed, &[1, 5]).await;
    txn.rely_on_reads(own.name(), own.uuid(), Arc::new(Everything))
        .await
        .unwrap();
    let mut other = world.begin().await;
    append(&mut other, &world.objects, &a, 5).await.unwrap();
    other.commit().await.unwrap();
    refused(txn.commit().await);
    assert_eq!(world.rows(&b).await, [1]);
}
