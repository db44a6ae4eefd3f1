//! Groups of appends: all of them are there, each hears its own outcome, and a group takes one number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use crate::alter::TableChange;
use crate::error::ErrorKind;
use crate::file::DataFile;
use crate::testing::{World, append, injected};
use crate::txn::Transaction;

const WRITERS: u64 = 40;

async fn appends(world: &World, table: &crate::name::TableName) -> Vec<Transaction> {
    let mut txns = Vec::new();
    for rows in 1..=WRITERS {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, table, rows).await.unwrap();
        txns.push(txn);
    }
    txns
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_that_wait_share_a_commit() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let before = world.catalog.snapshot().await.unwrap().csn();
    let txns = appends(&world, &table).await;
    let committed = join_all(txns.into_iter().map(|txn| tokio::spawn(txn.commit()))).await;
    let numbers: BTreeSet<u64> = committed.into_iter().map(|csn| csn.unwrap().unwrap()).collect();
    let expected: Vec<u64> = (1..=WRITERS).collect();
    assert_eq!(world.rows(&table).await, expected);
    // Each number is a commit; there are fewer than writers, and none is missing.
    assert!(numbers.len() < WRITERS as usize / 2, "{numbers:?}");
    assert_eq!(numbers.first(), Some(&(before + 1)));
    assert_eq!(numbers.last(), Some(&(before + numbers.len() as u64)));
    // Three objects each: a manifest, a list, the metadata.
    let put = world.objects.put_locations.lock().len();
    assert_eq!(put, 1 + WRITERS as usize + 3 * numbers.len());
    assert_eq!(world.catalog.recover().await.unwrap(), 0);
}

#[tokio::test]
async fn who_does_not_fit_fails_alone() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut early = Vec::new();
    for rows in 1..=3 {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, &table, rows).await.unwrap();
        early.push(txn);
    }
    let mut drop_column = world.begin().await;
    let change = TableChange::DropColumn { field_id: 1 };
    drop_column.alter_table(&table, &[change], false).await.unwrap();
    drop_column.commit().await.unwrap();
    let mut late = Vec::new();
    for rows in 4..=6 {
        let mut txn = world.begin().await;
        let target = txn.begin_write(&table).await.unwrap();
        let file = DataFile {
            location: format!("{}{rows}.parquet", target.data_prefix),
            size_bytes: 4,
            row_count: rows,
            spec_id: target.table.default_spec().spec_id,
            partition: Vec::new(),
            columns: Vec::new(),
            sort_order_id: None,
            split_offsets: Vec::new(),
        };
        txn.append(&table, vec![file]).unwrap();
        late.push(txn);
    }
    let outcomes = join_all(early.into_iter().chain(late).map(Transaction::commit)).await;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match index {
            0..3 => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict),
            _ => assert!(outcome.is_ok(), "{outcome:?}"),
        }
    }
    assert_eq!(world.rows(&table).await, [4, 5, 6]);
}

#[tokio::test]
async fn a_group_that_cannot_be_stored_is_tried_one_by_one() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let txns = appends(&world, &table).await;
    // The first list fails, and of the later ones two of three: whoever is alone with one of those fails. The first group
    // may have one member only.
    let lists = Arc::new(AtomicUsize::new(0));
    world.objects.before_put(move |location| {
        let is_list = location.contains("/snap-");
        (is_list && lists.fetch_add(1, Ordering::Relaxed) % 3 != 1).then(injected)
    });
    let outcomes = join_all(txns.into_iter().map(Transaction::commit)).await;
    world.objects.no_hook();
    let mut expected = Vec::new();
    for (rows, outcome) in (1..).zip(outcomes) {
        match outcome {
            Ok(_) => expected.push(rows),
            Err(error) => assert_eq!(error.kind(), ErrorKind::DiskFull),
        }
    }
    assert!(!expected.is_empty() && expected.len() < WRITERS as usize);
    assert_eq!(world.rows(&table).await, expected);
    // Nothing is left of those that failed: neither data nor metadata.
    let stored = world.objects.all().await;
    let data = stored.iter().filter(|object| object.ends_with(".parquet")).count();
    let lists = stored.iter().filter(|object| object.contains("/snap-")).count();
    assert_eq!(data, expected.len());
    // One list each, or one for several where a later group had luck.
    assert!((1..=expected.len()).contains(&lists), "{lists} lists");
}

/// The group's objects can neither be used nor deleted: whoever commits alone knows of them.
#[tokio::test]
async fn what_a_group_could_not_delete_is_garbage() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txns = Vec::new();
    for rows in 1..=2 {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, &table, rows).await.unwrap();
        txns.push(txn);
    }
    let objects = world.objects.clone();
    // The metadata of groups has no number of an attempt in its name; that of commits on their own has.
    world.objects.before_put(move |location| {
        let fails = location.ends_with(".metadata.json") && !location.contains(".r");
        objects.keeps_all.fetch_or(fails, Ordering::Relaxed);
        fails.then(injected)
    });
    for outcome in join_all(txns.into_iter().map(Transaction::commit)).await {
        outcome.unwrap();
    }
    world.objects.no_hook();
    let now_ms = chrono::Utc::now().timestamp_millis();
    let dead = world.catalog.dead_objects(now_ms, true).await.unwrap().objects;
    let is_dead = |location: &String| dead.iter().any(|object| object.path == *location);
    let lists: Vec<String> = world.objects.all().await;
    let lists: Vec<&String> = lists.iter().filter(|object| object.contains("/snap-")).collect();
    let live = lists.iter().filter(|list| !is_dead(list)).count();
    assert_eq!(live, 2, "one for each commit: {lists:?}, {dead:?}");
    assert!(lists.len() > 2, "{lists:?}");
}
