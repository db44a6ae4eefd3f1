//! Old snapshots, clones and compaction: what becomes garbage when, and what never does.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::Catalog;
use crate::alter::TableChange;
use crate::database;
use crate::database::faults::Faults;
use crate::error::ErrorKind;
use crate::file::LiveFile;
use crate::garbage::DeadObject;
use crate::history::{Expirable, TableVersionSpec};
use crate::name::TableName;
use crate::objects::Objects;
use crate::sequence::{Sequence, SequenceOwner, SequenceState, SequenceType};
use crate::statistics::{NewStatistics, StatisticsBlob};
use crate::table::Table;
use crate::testing::{RecordingObjects, World, append, name};
use crate::txn::Transaction;

const DAY_MS: i64 = 86_400_000;

async fn table(world: &World, name: &TableName) -> Arc<Table> {
    world
        .catalog
        .snapshot()
        .await
        .unwrap()
        .table(name)
        .await
        .unwrap()
        .unwrap()
}

/// One commit with one file of so many rows.
async fn add(world: &World, name: &TableName, rows: u64) -> String {
    let mut txn = world.begin().await;
    let location = append(&mut txn, &world.objects, name, rows).await.unwrap();
    txn.commit().await.unwrap();
    location
}

async fn remove(world: &World, name: &TableName, rows: u64) {
    let files = table(world, name).await.files().await.unwrap();
    let gone: Vec<Arc<LiveFile>> = files.iter().filter(|file| file.row_count == rows).cloned().collect();
    let mut txn = world.begin().await;
    txn.remove_files(name, &gone).await.unwrap();
    txn.commit().await.unwrap();
}

/// Forgets all snapshots but the newest, as if a month had passed.
async fn expire_all(world: &World, name: &TableName) {
    let current = table(world, name).await;
    let in_a_month = chrono::Utc::now().timestamp_millis() + 30 * DAY_MS;
    let mut old = current.expirable(in_a_month, 1000).unwrap();
    // 20 are kept whatever their age; here all go.
    let all: BTreeSet<i64> = current.snapshots().unwrap().iter().map(|it| it.id).collect();
    old.snapshots = all
        .into_iter()
        .filter(|id| Some(*id) != current.snapshot_id())
        .collect();
    let mut txn = world.begin().await;
    txn.expire(name, old).await.unwrap();
    txn.commit().await.unwrap();
}

async fn dead_in(world: &World, days: i64) -> Vec<DeadObject> {
    let at = chrono::Utc::now().timestamp_millis() + days * DAY_MS;
    let dead = world.catalog.dead_objects(at, true).await.unwrap();
    assert!(dead.failed.is_none(), "{:?}", dead.failed);
    dead.objects
}

fn names(dead: &[DeadObject], location: &str) -> bool {
    dead.iter().any(|object| object.path == location)
}

#[tokio::test]
async fn files_of_forgotten_snapshots_die_when_nobody_looks_at_them() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    let (one, two) = (add(&world, &t, 1).await, add(&world, &t, 2).await);
    let reader = world.catalog.snapshot().await.unwrap();
    remove(&world, &t, 1).await;
    expire_all(&world, &t).await;
    assert_eq!(table(&world, &t).await.snapshots().unwrap().len(), 1);
    assert!(dead_in(&world, 1).await.is_empty(), "a reader of this process");
    // It reads on, also what is forgotten now.
    let old = reader.table(&t).await.unwrap().unwrap();
    let first = old.snapshots().unwrap()[0].id;
    let then = old.at(&TableVersionSpec::Snapshot(first)).unwrap();
    assert_eq!(then.files().await.unwrap().len(), 1);
    drop((old, then, reader));
    let dead = dead_in(&world, 1).await;
    assert!(names(&dead, &one), "{dead:?}");
    assert!(!names(&dead, &two), "{dead:?}");
    // Three manifest lists of old snapshots, and at least the manifest that only they had.
    assert_eq!(dead.iter().filter(|object| object.path.contains("/snap-")).count(), 2);
    assert!(
        !names(&dead_in(&world, 0).await, &one),
        "other programs have ten minutes"
    );
    let needed = world.catalog.needed_objects(&*table(&world, &t).await).await.unwrap();
    assert!(
        needed.contains(&two) && needed.contains(&one),
        "what is on the list is no orphan"
    );
}

/// An expiry may have much to read. The table's writers do not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_do_not_wait_for_an_expiry_that_reads() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    let one = add(&world, &t, 1).await;
    remove(&world, &t, 1).await;
    add(&world, &t, 2).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *world.objects.gate.lock() = Some(gate.clone());
    let waited = || world.objects.waited.load(std::sync::atomic::Ordering::Relaxed);
    let writer = async {
        while waited() == 0 {
            tokio::task::yield_now().await;
        }
        let added = tokio::time::timeout(std::time::Duration::from_secs(10), add(&world, &t, 3)).await;
        gate.add_permits(1000);
        added.expect("a writer waits for an expiry");
    };
    tokio::join!(expire_all(&world, &t), writer);
    // What came meanwhile stays; what only forgotten snapshots had goes.
    assert_eq!(world.rows(&t).await, [2, 3]);
    let dead = dead_in(&world, 1).await;
    assert!(names(&dead, &one), "{dead:?}");
    assert_eq!(dead.iter().filter(|object| object.path.contains("/snap-")).count(), 2);
}

#[tokio::test]
async fn what_another_server_looks_at_stays() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    let one = add(&world, &t, 1).await;
    let other = world.second().await;
    remove(&world, &t, 1).await;
    expire_all(&world, &t).await;
    assert!(dead_in(&world, 1).await.is_empty());
    other.shared.heartbeat().await.unwrap();
    assert!(names(&dead_in(&world, 1).await, &one));
    // A transaction that began there keeps what it began from.
    let txn = other.begin(other.snapshot().await.unwrap()).await.unwrap();
    let two = add(&world, &t, 2).await;
    remove(&world, &t, 2).await;
    expire_all(&world, &t).await;
    other.shared.heartbeat().await.unwrap();
    assert!(!names(&dead_in(&world, 1).await, &two));
    txn.rollback().await.unwrap();
    other.shared.heartbeat().await.unwrap();
    assert!(names(&dead_in(&world, 1).await, &two));
}

#[tokio::test]
async fn no_file_that_a_clone_needs_dies() {
    let world = World::new().await;
    let (t, c, d) = (world.create_table("t").await, name("c"), name("d"));
    let (one, two) = (add(&world, &t, 1).await, add(&world, &t, 2).await);
    for (from, to) in [(&t, &c), (&c, &d)] {
        let mut txn = world.begin().await;
        txn.clone_table(to, from, None).await.unwrap();
        txn.commit().await.unwrap();
    }
    let three = add(&world, &d, 3).await;
    assert_eq!(world.rows(&c).await, [1, 2]);
    assert_eq!(world.rows(&d).await, [1, 2, 3]);
    // The table itself forgets a file, then goes as a whole.
    remove(&world, &t, 1).await;
    expire_all(&world, &t).await;
    assert!(!names(&dead_in(&world, 1).await, &one));
    let mut txn = world.begin().await;
    txn.drop_table(&t).await.unwrap();
    txn.commit().await.unwrap();
    let dead = dead_in(&world, 8).await;
    let directory = dead.iter().find(|object| object.is_directory()).unwrap();
    assert!(directory.except.contains(&one) && directory.except.contains(&two));
    assert!(!directory.is_all() && !directory.except.contains(&three));
    // The last that needs a file is the clone of the clone.
    let mut txn = world.begin().await;
    txn.drop_table(&c).await.unwrap();
    txn.commit().await.unwrap();
    remove(&world, &d, 1).await;
    expire_all(&world, &d).await;
    let dead = dead_in(&world, 6).await;
    assert!(!names(&dead, &one), "the dropped clone can come back");
    let dead = dead_in(&world, 8).await;
    let paths: Vec<String> = dead
        .iter()
        .filter(|object| object.is_all())
        .map(|object| object.path.clone())
        .collect();
    assert!(paths.iter().any(|path| path.contains("/c-")), "{paths:?}");
    world.catalog.forget(&paths).await.unwrap();
    let dead = dead_in(&world, 8).await;
    let directory = dead.iter().find(|object| object.is_directory()).unwrap();
    assert!(!directory.except.contains(&one) && directory.except.contains(&two));
    assert_eq!(world.rows(&d).await, [2, 3]);
}

/// A transaction that has put one file in the place of those with so many rows.
async fn replacing(world: &World, name: &TableName, rows: &[u64]) -> Transaction {
    let mut txn = world.begin().await;
    let files = table(world, name).await.files().await.unwrap();
    let old: Vec<_> = files
        .iter()
        .filter(|file| rows.contains(&file.row_count))
        .cloned()
        .collect();
    let mut other = world.begin().await;
    let count = old.iter().map(|file| file.row_count).sum();
    let made = append(&mut other, &world.objects, name, count).await.unwrap();
    let seen = other.snapshot().table(name).await.unwrap().unwrap();
    let files = seen.files().await.unwrap();
    let new = files.iter().find(|file| file.location == made).unwrap();
    let new = crate::file::DataFile::clone(&new.data);
    std::mem::forget(other);
    txn.replace_files(name, &old, vec![new]).await.unwrap();
    txn
}

#[tokio::test]
async fn compaction_is_no_change_of_rows() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    for rows in 1..=4 {
        add(&world, &t, rows).await;
    }
    let first = table(&world, &t).await.snapshots().unwrap()[0].id;
    let checked = [TableChange::SetComment {
        field_id: None,
        comment: Some("after a look at the rows".to_owned()),
    }];
    let back = [TableChange::RollBack { snapshot_id: first }];
    let begun = async || {
        let (mut alter, mut insert, mut rollback) = (world.begin().await, world.begin().await, world.begin().await);
        alter.alter_table(&t, &checked, true).await.unwrap();
        append(&mut insert, &world.objects, &t, 20).await.unwrap();
        insert.rely_on_keys(&t, [vec![1]]).await.unwrap();
        rollback.alter_table(&t, &back, false).await.unwrap();
        (alter, insert, rollback)
    };
    let (alter, insert, rollback) = begun().await;
    replacing(&world, &t, &[1, 2]).await.commit().await.unwrap();
    alter.commit().await.unwrap();
    replacing(&world, &t, &[3]).await.commit().await.unwrap();
    insert.commit().await.unwrap();
    assert_eq!(world.rows(&t).await, [4, 6, 20]);
    assert_eq!(rollback.commit().await.unwrap_err().kind(), ErrorKind::Conflict);

    // Rows that came before or after it are.
    let (_, insert, rollback) = begun().await;
    replacing(&world, &t, &[6]).await.commit().await.unwrap();
    rollback.commit().await.unwrap();
    assert_eq!(insert.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    add(&world, &t, 5).await;
    let (_, insert, rollback) = begun().await;
    add(&world, &t, 6).await;
    replacing(&world, &t, &[5, 6]).await.commit().await.unwrap();
    for loser in [insert, rollback] {
        assert_eq!(loser.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn compaction_loses_against_everybody_else() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    for rows in 1..=3 {
        add(&world, &t, rows).await;
    }
    let replace = async |world: &World, rows: [u64; 2]| replacing(world, &t, &rows).await;
    // Appends and deletes of other files do not matter.
    let txn = replace(&world, [1, 2]).await;
    add(&world, &t, 50).await;
    remove(&world, &t, 50).await;
    txn.commit().await.unwrap();
    assert_eq!(world.rows(&t).await, [3, 3]);
    let last = table(&world, &t).await.snapshots().unwrap().pop().unwrap();
    assert_eq!(last.operation, "replace");
    // One of its own files gone, or about to go.
    for rows in [7, 9] {
        add(&world, &t, rows).await;
    }
    let txn = replace(&world, [7, 9]).await;
    remove(&world, &t, 9).await;
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    add(&world, &t, 9).await;
    let mut changer = world.begin().await;
    let files = table(&world, &t).await.files().await.unwrap();
    let seven: Vec<_> = files.iter().filter(|file| file.row_count == 7).cloned().collect();
    changer.remove_files(&t, &seven).await.unwrap();
    let txn = replace(&world, [7, 9]).await;
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    // Files of which it has deleted nothing can be written again meanwhile, also when it said that of a file.
    let three: Vec<_> = files.iter().filter(|file| file.row_count == 3).cloned().collect();
    let nothing = three.into_iter().map(|file| (file, roaring::RoaringTreemap::new()));
    changer.delete_rows(&t, nothing.collect()).await.unwrap();
    replace(&world, [3, 9]).await.commit().await.unwrap();
    assert_eq!(world.rows(&t).await, [7, 15]);
    changer.commit().await.unwrap();
    assert_eq!(world.rows(&t).await, [15]);
}

#[tokio::test]
async fn a_rollback_and_a_name_need_the_table_as_it_was() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    add(&world, &t, 2).await;
    let first = table(&world, &t).await.snapshots().unwrap()[0].id;
    let mut rollback = world.begin().await;
    let back = TableChange::RollBack { snapshot_id: first };
    rollback
        .alter_table(&t, std::slice::from_ref(&back), false)
        .await
        .unwrap();
    add(&world, &t, 3).await;
    assert_eq!(rollback.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut appender = world.begin().await;
    append(&mut appender, &world.objects, &t, 4).await.unwrap();
    let mut rollback = world.begin().await;
    rollback.alter_table(&t, &[back], false).await.unwrap();
    rollback.commit().await.unwrap();
    assert_eq!(world.rows(&t).await, [1]);
    appender.commit().await.unwrap();
    assert_eq!(world.rows(&t).await, [1, 4]);
}

/// Deletes what is dead, as upkeep does; with `forgets`, takes it off the list.
async fn collect(catalog: &Catalog, objects: &RecordingObjects, days: i64, forgets: bool) -> Vec<DeadObject> {
    let at = chrono::Utc::now().timestamp_millis() + days * DAY_MS;
    let dead = catalog.dead_objects(at, true).await.unwrap();
    assert!(dead.failed.is_none(), "{:?}", dead.failed);
    for object in &dead.objects {
        let paths = match object.is_directory() {
            true => objects.list(&object.path).await.unwrap(),
            false => vec![object.path.clone()],
        };
        for path in paths.iter().filter(|path| !object.except.contains(*path)) {
            objects.delete(path).await.unwrap();
        }
    }
    let gone = dead.objects.iter().filter(|object| object.is_all());
    let gone: Vec<String> = gone.map(|object| object.path.clone()).collect();
    if forgets {
        catalog.forget(&gone).await.unwrap();
    }
    dead.objects
}

async fn clone(world: &World, from: &TableName, to: &TableName) {
    let mut txn = world.begin().await;
    txn.clone_table(to, from, None).await.unwrap();
    txn.commit().await.unwrap();
}

async fn drop_table(world: &World, table: &TableName) {
    let mut txn = world.begin().await;
    txn.drop_table(table).await.unwrap();
    txn.commit().await.unwrap();
}

/// `d` is a clone of `c`, which is one of `t`. `c` goes while `d` needs a file of it.
#[tokio::test]
async fn a_clone_in_the_middle_that_is_gone_stops_nobody() {
    let world = World::new().await;
    let (t, c, d) = (world.create_table("t").await, name("c"), name("d"));
    add(&world, &t, 1).await;
    clone(&world, &t, &c).await;
    let two = add(&world, &c, 2).await;
    clone(&world, &c, &d).await;
    drop_table(&world, &c).await;
    let dead = collect(&world.catalog, &world.objects, 8, true).await;
    assert!(dead.iter().any(|object| object.except.contains(&two)), "{dead:?}");
    // Another server has nothing of `c` in its caches.
    let other = world.second().await;
    let last = add(&world, &t, 3).await;
    remove(&world, &t, 3).await;
    expire_all(&world, &t).await;
    // What each server reads must not be older than the expiry.
    world.catalog.shared.heartbeat().await.unwrap();
    other.shared.heartbeat().await.unwrap();
    let dead = collect(&other, &world.objects, 8, true).await;
    assert!(names(&dead, &last), "{dead:?}");
    assert_eq!(world.rows(&d).await, [1, 2]);
    assert_eq!(world.rows(&t).await, [1]);
}

#[tokio::test]
async fn a_crash_while_a_clone_is_deleted_stops_nobody() {
    let world = World::new().await;
    let (t, c) = (world.create_table("t").await, name("c"));
    let one = add(&world, &t, 1).await;
    clone(&world, &t, &c).await;
    drop_table(&world, &c).await;
    remove(&world, &t, 1).await;
    expire_all(&world, &t).await;
    // Killed before it could say what it has deleted.
    collect(&world.catalog, &world.objects, 8, false).await;
    let other = world.second().await;
    world.catalog.shared.heartbeat().await.unwrap();
    let dead = collect(&other, &world.objects, 8, true).await;
    assert!(names(&dead, &one), "{dead:?}");
    assert!(collect(&other, &world.objects, 8, true).await.is_empty());
}

#[tokio::test]
async fn a_table_whose_deletion_has_begun_does_not_come_back() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    drop_table(&world, &t).await;
    let mut early = world.begin().await;
    early.undrop_table(&t).await.unwrap();
    // A server whose clock is far ahead.
    dead_in(&world, 8).await;
    assert_eq!(early.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut late = world.begin().await;
    assert_eq!(
        late.undrop_table(&t).await.unwrap_err().kind(),
        ErrorKind::UndefinedTable
    );
}

#[tokio::test]
async fn a_table_comes_back_only_with_time_to_spare() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    drop_table(&world, &t).await;
    let mut txn = world.begin().await;
    txn.undrop_table(&t).await.unwrap();
    // The week is over before the COMMIT.
    world.foreign_sql("update staffa_gc set not_before_ms=1").await.unwrap();
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(
        world
            .catalog
            .snapshot()
            .await
            .unwrap()
            .table(&t)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn what_clones_need_is_not_looked_at_all_the_time() {
    let world = World::new().await;
    let (t, c) = (world.create_table("t").await, name("c"));
    let one = add(&world, &t, 1).await;
    clone(&world, &t, &c).await;
    remove(&world, &t, 1).await;
    expire_all(&world, &t).await;
    add(&world, &c, 2).await;
    drop_table(&world, &t).await;
    let at = chrono::Utc::now().timestamp_millis() + 8 * DAY_MS;
    let hour = 3_600_000;
    for (at, put_off_too, is_seen) in [
        (at, false, true),
        (at + hour / 2, false, false),
        (at + hour / 2, true, true),
        (at + 2 * hour, false, true),
    ] {
        let dead = world.catalog.dead_objects(at, put_off_too).await.unwrap().objects;
        let directory = dead.iter().find(|object| object.is_directory());
        assert_eq!(directory.is_some(), is_seen, "{dead:?}");
        assert!(directory.is_none_or(|directory| directory.except.contains(&one)));
        assert!(!names(&dead, &one), "{dead:?}");
    }
}

/// A clone whose metadata cannot be read keeps what it may need, and nothing else.
#[tokio::test]
async fn a_damaged_clone_holds_up_its_own_files_only() {
    let world = World::new().await;
    let (t, c, u) = (world.create_table("t").await, name("c"), world.create_table("u").await);
    add(&world, &t, 1).await;
    clone(&world, &t, &c).await;
    let metadata = table(&world, &c).await.metadata_location().to_owned();
    let [of_t, of_u] = [add(&world, &t, 2).await, add(&world, &u, 3).await];
    for (table, rows) in [(&t, 2), (&u, 3)] {
        remove(&world, table, rows).await;
        expire_all(&world, table).await;
    }
    world.objects.delete(&metadata).await.unwrap();
    let other = world.second().await;
    world.catalog.shared.heartbeat().await.unwrap();
    let at = chrono::Utc::now().timestamp_millis() + DAY_MS;
    let dead = other.dead_objects(at, true).await.unwrap();
    assert!(names(&dead.objects, &of_u) && !names(&dead.objects, &of_t), "{dead:?}");
    assert!(dead.failed.is_some());
}

#[tokio::test]
async fn a_rollback_keeps_how_long_main_is_kept() {
    use crate::history::RefRetention;
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    add(&world, &t, 2).await;
    let first = table(&world, &t).await.snapshots().unwrap()[0].id;
    let mut main = table(&world, &t).await.named_ref("main").unwrap();
    main.retention = RefRetention::Branch {
        max_ref_age_ms: None,
        max_snapshot_age_ms: Some(7),
        min_snapshots_to_keep: Some(3),
    };
    for change in [
        TableChange::SetRef(main.clone()),
        TableChange::RollBack { snapshot_id: first },
    ] {
        let mut txn = world.begin().await;
        txn.alter_table(&t, &[change], false).await.unwrap();
        txn.commit().await.unwrap();
    }
    let now = table(&world, &t).await.named_ref("main").unwrap();
    assert_eq!((now.snapshot_id, now.retention), (first, main.retention));
}

/// Other programs make tables whose first rows are on a branch.
#[tokio::test]
async fn a_branch_of_a_table_without_rows_is_kept() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let location = table(&world, &t).await.metadata_location().to_owned();
    let mut json: serde_json::Value = serde_json::from_slice(&world.objects.get(&location).await.unwrap()).unwrap();
    let main = json["refs"].as_object_mut().unwrap().remove("main").unwrap();
    json["refs"]["audit"] = main;
    json["current-snapshot-id"] = serde_json::json!(null);
    let metadata = crate::iceberg::Metadata::parse(&location, json.to_string().as_bytes()).unwrap();
    assert_eq!(metadata.snapshot_id(), None);
    assert_eq!(metadata.refs().unwrap().len(), 1);
    let in_a_year = chrono::Utc::now().timestamp_millis() + 365 * DAY_MS;
    let old = metadata
        .history()
        .unwrap()
        .expirable(&metadata.properties(), in_a_year, 100);
    assert!(old.unwrap().is_empty());
}

/// A key that was there once, found to be new, and there again by a rollback.
#[tokio::test]
async fn a_rollback_brings_keys_back() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let first = table(&world, &t).await.snapshot_id().unwrap();
    let files = table(&world, &t).await.files().await.unwrap();
    let mut txn = world.begin().await;
    let rows: roaring::RoaringTreemap = [0].into_iter().collect();
    txn.delete_rows(&t, vec![(files[0].clone(), rows)]).await.unwrap();
    txn.commit().await.unwrap();

    let mut insert = world.begin().await;
    append(&mut insert, &world.objects, &t, 2).await.unwrap();
    insert.rely_on_keys(&t, [vec![1]]).await.unwrap();
    let mut rollback = world.begin().await;
    let back = TableChange::RollBack { snapshot_id: first };
    rollback.alter_table(&t, &[back], false).await.unwrap();
    rollback.commit().await.unwrap();
    assert_eq!(insert.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.rows(&t).await, [1]);
}

fn counting(increment: i64) -> Sequence {
    Sequence {
        id: Uuid::new_v4(),
        counter: Uuid::new_v4(),
        ty: SequenceType::BigInt,
        start: 1,
        increment,
        min: 1,
        max: i64::MAX,
        cache: 1,
        cycle: false,
        origin: 1,
        is_called: false,
        owner: None,
    }
}

/// The sequence after `ALTER SEQUENCE … INCREMENT`, with how far it was.
async fn faster(world: &World, sequence: &Sequence) -> (Sequence, SequenceState) {
    let state = world.catalog.sequence_state(sequence).await.unwrap();
    let (last, is_called) = sequence.last_value(state);
    let faster = Sequence {
        increment: sequence.increment * 10,
        ..sequence.going_on_from(last, is_called)
    };
    (faster, state)
}

async fn next(world: &World, sequence: &Sequence) -> Option<i64> {
    let state = world.catalog.take_numbers(sequence, 1).await.unwrap()?;
    sequence.number(state.origin, state.taken)
}

#[tokio::test]
async fn no_number_comes_twice_from_a_sequence_that_is_altered() {
    let world = World::new().await;
    let (s, first) = (name("s"), counting(1));
    let mut txn = world.begin().await;
    txn.create_sequence(&s, &first).unwrap();
    txn.commit().await.unwrap();
    assert_eq!(next(&world, &first).await, Some(1));

    // Others take numbers until the commit.
    let (second, state) = faster(&world, &first).await;
    let mut txn = world.begin().await;
    txn.alter_sequence(&s, &second, Some(state)).await.unwrap();
    assert_eq!(next(&world, &first).await, Some(2));
    txn.commit().await.unwrap();
    assert_eq!(next(&world, &first).await, None, "it has ended");
    assert!(!world.catalog.set_sequence(&first, 77, true).await.unwrap());
    assert_eq!(next(&world, &second).await, Some(12));

    // The transaction has used its own.
    let (third, state) = faster(&world, &second).await;
    let mut txn = world.begin().await;
    txn.alter_sequence(&s, &third, Some(state)).await.unwrap();
    assert_eq!(next(&world, &third).await, Some(112));
    assert_eq!(next(&world, &second).await, Some(22));
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(next(&world, &second).await, Some(32));

    // Altered twice, renamed in between; nobody else came.
    let (third, state) = faster(&world, &second).await;
    let mut txn = world.begin().await;
    txn.alter_sequence(&s, &third, Some(state)).await.unwrap();
    txn.rename(&s, &name("r")).await.unwrap();
    let (fourth, state) = faster(&world, &third).await;
    txn.alter_sequence(&name("r"), &fourth, Some(state)).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(next(&world, &second).await, None);
    assert_eq!(next(&world, &fourth).await, Some(1032));
    // What was taken and not given goes back, unless somebody came after.
    let taken = world.catalog.take_numbers(&fourth, 10).await.unwrap().unwrap();
    let unused = SequenceState {
        taken: taken.taken + 1,
        ..taken
    };
    world
        .catalog
        .give_back(&fourth, unused, taken.taken + 10)
        .await
        .unwrap();
    assert_eq!(next(&world, &fourth).await, Some(3032));
    world
        .catalog
        .give_back(&fourth, unused, taken.taken + 10)
        .await
        .unwrap();
    assert_eq!(next(&world, &fourth).await, Some(4032));
}

#[tokio::test]
async fn counters_go_when_nothing_can_ask_them_any_more() {
    let world = World::new().await;
    let counters = || world.foreign_number("select count(*) from staffa_sequence");
    let t = world.create_table("t").await;
    let owned = Sequence {
        owner: Some(SequenceOwner {
            table: table(&world, &t).await.uuid(),
            column: 1,
            is_identity: false,
        }),
        ..counting(1)
    };
    let (s, owned_name, free) = (name("s"), name("t_id_seq"), counting(1));
    let mut txn = world.begin().await;
    txn.create_sequence(&owned_name, &owned).unwrap();
    txn.create_sequence(&s, &free).unwrap();
    txn.commit().await.unwrap();
    next(&world, &owned).await;
    next(&world, &free).await;
    let (altered, state) = faster(&world, &free).await;
    let mut txn = world.begin().await;
    txn.alter_sequence(&s, &altered, Some(state)).await.unwrap();
    txn.rename(&owned_name, &name("other")).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(next(&world, &altered).await, Some(11));
    assert_eq!(counters().await, 3);
    dead_in(&world, 0).await;
    assert_eq!(counters().await, 3);
    dead_in(&world, 1).await;
    assert_eq!(counters().await, 2);

    let mut txn = world.begin().await;
    txn.drop_sequence(&s).await.unwrap();
    txn.commit().await.unwrap();
    // Back before its time has come.
    drop_table(&world, &t).await;
    let gone = world.catalog.snapshot().await.unwrap();
    assert!(gone.sequence_with_id(owned.id).unwrap().is_none());
    drop(gone);
    let mut txn = world.begin().await;
    txn.undrop_table(&t).await.unwrap();
    txn.commit().await.unwrap();
    dead_in(&world, 1).await;
    assert_eq!(counters().await, 2);
    dead_in(&world, 8).await;
    assert_eq!(counters().await, 1);
    let back = world.catalog.snapshot().await.unwrap();
    let (found, sequence) = back.sequence_with_id(owned.id).unwrap().unwrap();
    assert_eq!((&found, &sequence), (&name("other"), &owned));
    assert_eq!(next(&world, &sequence).await, Some(2));
    drop(back);
    drop_table(&world, &t).await;
    dead_in(&world, 8).await;
    assert_eq!(counters().await, 0);
}

#[tokio::test]
async fn a_counter_that_is_used_up_says_so() {
    let world = World::new().await;
    let sequence = counting(1);
    let mut txn = world.begin().await;
    txn.create_sequence(&name("s"), &sequence).unwrap();
    txn.commit().await.unwrap();
    let taken = world.catalog.take_numbers(&sequence, i64::MAX).await.unwrap();
    assert_eq!(taken.map(|state| state.taken), Some(0));
    let (altered, state) = faster(&world, &sequence).await;
    for sequence in [&sequence, &altered] {
        let error = world.catalog.take_numbers(sequence, i64::MAX).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let mut txn = world.begin().await;
    txn.alter_sequence(&name("s"), &altered, Some(state)).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(
        world.catalog.take_numbers(&sequence, 1).await.unwrap(),
        None,
        "it has ended"
    );
}

#[tokio::test]
async fn nobody_waits_while_much_garbage_is_listed() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    for rows in 1..=30 {
        add(&world, &t, rows).await;
        remove(&world, &t, rows).await;
    }
    let faults = Arc::new(Faults::default());
    let server = database::open_faulty(&world.database, Uuid::new_v4(), faults.clone());
    let server = Catalog::with_database(server.await.unwrap(), "memory://warehouse", world.objects.clone());
    let reader = world.catalog.snapshot().await.unwrap();
    let current = server.snapshot().await.unwrap().table(&t).await.unwrap().unwrap();
    let ids = current.snapshots().unwrap().into_iter().map(|snapshot| snapshot.id);
    let old = Expirable {
        snapshots: ids.filter(|id| Some(*id) != current.snapshot_id()).collect(),
        ..Expirable::default()
    };
    let mut txn = server.begin(server.snapshot().await.unwrap()).await.unwrap();
    txn.expire(&t, old).await.unwrap();
    let listed = world.foreign_number("select count(*) from staffa_gc").await;
    txn.commit().await.unwrap();
    let statements = faults.after_number();
    let listed = world.foreign_number("select count(*) from staffa_gc").await - listed;
    assert!(
        listed > 100 && statements <= 3,
        "{listed} paths, {statements} statements"
    );

    // They die with this commit's number, as others do.
    drop(current);
    assert!(!dead_in(&world, 1).await.iter().any(|dead| dead.path.contains("/snap-")));
    drop(reader);
    server.shared.heartbeat().await.unwrap();
    let dead: Vec<String> = dead_in(&world, 1).await.into_iter().map(|dead| dead.path).collect();
    assert!(dead.len() as i64 >= listed, "{} of {listed}", dead.len());
    assert_eq!(world.foreign_number("select count(*) from staffa_gc_commit").await, 1);
    world.catalog.forget(&dead).await.unwrap();
    assert_eq!(world.foreign_number("select count(*) from staffa_gc_commit").await, 0);
}

#[tokio::test]
async fn counters_of_sequences_that_nobody_committed_go() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    let counters = || world.foreign_number("select count(*) from staffa_sequence");
    let (kept, given_up, set, set_and_given_up) = (counting(1), counting(1), counting(1), counting(1));
    let mut open = world.begin().await;
    open.create_sequence(&name("kept"), &kept).unwrap();
    open.create_sequence(&name("set"), &set).unwrap();
    next(&world, &kept).await;
    assert!(world.catalog.set_sequence(&set, 7, true).await.unwrap());
    let mut other = world.begin().await;
    other.create_sequence(&name("given_up"), &given_up).unwrap();
    next(&world, &given_up).await;
    assert!(world.catalog.set_sequence(&set_and_given_up, 7, true).await.unwrap());
    other.rollback().await.unwrap();
    // What a transaction may commit that is open for days stays.
    add(&world, &t, 1).await;
    dead_in(&world, 3).await;
    assert_eq!(counters().await, 4);
    open.commit().await.unwrap();
    dead_in(&world, 0).await;
    assert_eq!(counters().await, 4);
    dead_in(&world, 2).await;
    assert_eq!(counters().await, 2);
    assert_eq!(next(&world, &kept).await, Some(2));
    assert_eq!(next(&world, &set).await, Some(8));
    assert_eq!(
        world
            .foreign_number("select count(*) from staffa_gc where path like 'staffa-counter%'")
            .await,
        0
    );

    // Those of columns of tables that are older than named sequences have no name ever.
    let unnamed = Sequence {
        owner: Some(SequenceOwner {
            table: Uuid::nil(),
            column: 0,
            is_identity: true,
        }),
        ..counting(1)
    };
    next(&world, &unnamed).await;
    dead_in(&world, 30).await;
    assert_eq!(next(&world, &unnamed).await, Some(2));
}

#[tokio::test]
async fn the_journal_keeps_only_what_can_be_asked_for() {
    let world = World::new().await;
    let versions = || world.foreign_number("select count(*) from staffa_version");
    let dropped = world.create_table("dropped").await;
    let owned = Sequence {
        owner: Some(SequenceOwner {
            table: table(&world, &dropped).await.uuid(),
            column: 1,
            is_identity: false,
        }),
        ..counting(1)
    };
    let mut txn = world.begin().await;
    txn.create_sequence(&name("dropped_id_seq"), &owned).unwrap();
    txn.commit().await.unwrap();
    next(&world, &owned).await;
    let (t, c) = (world.create_table("t").await, name("c"));
    clone(&world, &t, &c).await;
    for rows in 1..=5 {
        for table in [&dropped, &t, &c] {
            add(&world, table, rows).await;
        }
    }
    drop_table(&world, &dropped).await;
    drop_table(&world, &c).await;
    // Its name is another table's, twice.
    for rows in [1, 2] {
        world.create_table("dropped").await;
        add(&world, &dropped, rows).await;
        add(&world, &dropped, rows).await;
        let mut txn = world.begin().await;
        txn.rename(&dropped, &name(&format!("other{rows}"))).await.unwrap();
        txn.commit().await.unwrap();
    }
    let before = versions().await;
    let reader = world.begin().await;
    add(&world, &t, 6).await;
    for _ in 0..2 {
        crate::garbage::forget_versions(&world.catalog.shared).await.unwrap();
    }
    // The newest of six names; the table and its drop, the sequence, the clone.
    let left = versions().await;
    assert!(left <= 10 && before > 25, "{left} of {before}");
    reader.rollback().await.unwrap();

    // Dropped tables are what they were.
    let mut txn = world.begin().await;
    txn.undrop_table(&dropped).await.unwrap();
    txn.undrop_table(&c).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(world.rows(&dropped).await, [1, 2, 3, 4, 5]);
    assert_eq!(world.rows(&c).await, [1, 2, 3, 4, 5]);
    let back = world.catalog.snapshot().await.unwrap();
    let (found, sequence) = back.sequence_with_id(owned.id).unwrap().unwrap();
    assert_eq!((found, sequence), (name("dropped_id_seq"), owned.clone()));
    assert_eq!(next(&world, &owned).await, Some(2));

    // When they cannot come back any more their rows go.
    drop(back);
    for table in [&dropped, &c] {
        drop_table(&world, table).await;
    }
    let dead: Vec<String> = dead_in(&world, 9).await.into_iter().map(|dead| dead.path).collect();
    world.catalog.forget(&dead).await.unwrap();
    crate::garbage::forget_versions(&world.catalog.shared).await.unwrap();
    let newest = world
        .foreign_number("select count(distinct table_name) from staffa_version")
        .await;
    assert_eq!(versions().await, newest);
    // A server that comes now sees what others see.
    let second = world.second().await;
    let pointers = |catalog: Catalog| async move { catalog.snapshot().await.unwrap().pointers().clone() };
    assert_eq!(pointers(second).await, pointers(world.catalog.clone()).await);
}

/// Statistics of the newest snapshot, in a file that is one of the table's.
async fn set_statistics(world: &World, name: &TableName) -> String {
    let mut txn = world.begin().await;
    let snapshot_id = table(world, name).await.snapshot_id().unwrap();
    let new = NewStatistics {
        snapshot_id,
        bytes: "statistics".into(),
        footer_bytes: 3,
        blobs: vec![StatisticsBlob {
            kind: "apache-datasketches-theta-v1".to_owned(),
            fields: vec![1],
            snapshot_id,
            sequence_number: 1,
            properties: [("ndv".to_owned(), "7".to_owned())].into(),
        }],
    };
    txn.set_statistics(name, new).await.unwrap();
    txn.commit().await.unwrap();
    let set = table(world, name).await.statistics().unwrap();
    assert_eq!(
        (set.snapshot_id, set.size_bytes, set.blobs[0].properties["ndv"].as_str()),
        (snapshot_id, 10, "7")
    );
    assert_eq!(&world.objects.get(&set.location).await.unwrap()[..], b"statistics");
    set.location
}

#[tokio::test]
async fn statistics_go_with_their_snapshots() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let replaced = set_statistics(&world, &t).await;
    let first = set_statistics(&world, &t).await;
    assert!(
        names(&dead_in(&world, 1).await, &replaced),
        "one file for each snapshot"
    );
    add(&world, &t, 2).await;
    assert_eq!(
        table(&world, &t).await.statistics().unwrap().location,
        first,
        "of the snapshot before"
    );
    // The only ones there are outlive their snapshot.
    expire_all(&world, &t).await;
    let kept = table(&world, &t).await.statistics().unwrap();
    assert_eq!(
        (&kept.location, Some(kept.snapshot_id)),
        (&first, table(&world, &t).await.snapshot_id())
    );
    assert!(!names(&dead_in(&world, 1).await, &first));
    add(&world, &t, 3).await;
    let second = set_statistics(&world, &t).await;
    let needed = world.catalog.needed_objects(&*table(&world, &t).await).await.unwrap();
    assert!(needed.contains(&first) && needed.contains(&second));
    expire_all(&world, &t).await;
    let dead = dead_in(&world, 1).await;
    assert!(names(&dead, &first) && !names(&dead, &second));
    assert_eq!(table(&world, &t).await.statistics().unwrap().location, second);
}

#[tokio::test]
async fn statistics_of_a_transaction_that_is_given_up_are_deleted() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let old = table(&world, &t).await.snapshot_id().unwrap();
    let mut txn = world.begin().await;
    let new = NewStatistics {
        snapshot_id: old,
        bytes: "statistics".into(),
        footer_bytes: 3,
        blobs: Vec::new(),
    };
    txn.set_statistics(&t, new).await.unwrap();
    // Meanwhile the snapshot goes.
    add(&world, &t, 2).await;
    expire_all(&world, &t).await;
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    let directory = format!("{}/metadata", table(&world, &t).await.location());
    let left = world.objects.list(&directory).await.unwrap();
    assert!(!left.iter().any(|object| object.ends_with(".stats")), "{left:?}");
}
