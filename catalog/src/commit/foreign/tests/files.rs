//! The files that a commit names: looked at once, together, and before others wait for the table.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn rule_4_what_an_expiry_gave_up_does_not_come_back() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    // Written, audited, published: the snapshot is there, on no branch.
    let staged = Foreign::append(&world, &*table(&world, &t).await, 2, 22, true).await;
    let updates = json!([{"action": "add-snapshot", "snapshot": staged.snapshot}]);
    commit(&world, &t, json!([]), updates).await.unwrap();
    let expire = json!([{"action": "remove-snapshots", "snapshot-ids": [22]}]);
    commit(&world, &t, json!([]), expire).await.unwrap();
    // Whoever had read it before picks its file for the branch: in its own manifest, or in a new one.
    let mut picked = Foreign::append(&world, &*table(&world, &t).await, 3, 33, false).await;
    let list = picked.snapshot["manifest-list"].clone();
    picked.snapshot["manifest-list"] = staged.snapshot["manifest-list"].clone();
    let error = commit(&world, &t, json!([]), picked.updates()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "the list: {error}");
    let again = Foreign::append_named(&world, &*table(&world, &t).await, 2, 44, "foreign-22").await;
    let error = commit(&world, &t, json!([]), again.updates()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "the file: {error}");
    picked.snapshot["manifest-list"] = list;
    commit(&world, &t, json!([]), picked.updates()).await.unwrap();
    assert_eq!(row_counts(&world, &t).await, [1, 3]);
}

#[tokio::test]
async fn others_do_not_wait_while_files_are_read() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
    let updates = json!([{"action": "add-snapshot", "snapshot": foreign.snapshot}]);
    let mut theirs = world.begin().await;
    theirs
        .commit_table(&t, TableCommit::parse(json!([]), updates).unwrap())
        .await
        .unwrap();
    let gate = Arc::new(Semaphore::new(0));
    *world.objects.gate.lock() = Some(gate.clone());
    let waited = || world.objects.waited.load(Ordering::Relaxed);
    let commit = tokio::spawn(theirs.commit());
    while waited() == 0 {
        tokio::task::yield_now().await;
    }
    // It reads; a change of the table that reads no list goes by.
    let set = json!([{"action": "set-properties", "updates": {"a": "b"}}]);
    let other = super::commit(&world, &t, json!([]), set);
    tokio::time::timeout(Duration::from_secs(20), other)
        .await
        .unwrap()
        .unwrap();
    *world.objects.gate.lock() = None;
    gate.add_permits(10);
    commit.await.unwrap().unwrap();
    assert_eq!(waited(), 1, "read once");
    assert_eq!(row_counts(&world, &t).await, [1]);
}
