//! How long outcomes can be looked up, who counts as dead, and what is cleaned up when it could not be at once.

use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::database::{self, Swap, SwapOutcome, TxnOutcome};
use crate::error::ErrorKind;
use crate::objects::Objects;
use crate::testing::{World, append};

/// The id of a transaction that began two days ago.
fn old_id() -> Uuid {
    let seconds = chrono::Utc::now().timestamp() - 2 * 86_400;
    Uuid::new_v7(uuid::Timestamp::from_unix(
        uuid::NoContext,
        u64::try_from(seconds).unwrap(),
        0,
    ))
}

#[tokio::test]
async fn the_outcome_of_a_long_transaction_is_kept_from_its_end_on() {
    let world = World::new().await;
    let database = database::open(&world.database, Uuid::new_v4()).await.unwrap();
    let location = ["memory://warehouse/t".to_owned()];
    let [committed, aborted] = [old_id(), old_id()];
    for id in [committed, aborted] {
        database.register(id, 0, &location, false).await.unwrap();
    }
    world
        .foreign_sql("update staffa_txn set started_ms=1, heartbeat_ms=1")
        .await
        .unwrap();
    let swap = Swap {
        txn_ids: vec![committed],
        ..Swap::default()
    };
    let SwapOutcome::Committed(csn) = database.swap(&swap).await.unwrap() else {
        panic!("nothing was moved");
    };
    assert_eq!(database.abort(aborted).await.unwrap(), TxnOutcome::Aborted);
    database.cleaned(aborted).await.unwrap();
    database.leftovers(false).await.unwrap();
    assert_eq!(database.outcome(committed).await.unwrap(), TxnOutcome::Committed(csn));
    let rows = world
        .foreign_number("select count(*) from staffa_txn where state<>0")
        .await;
    // With the one that made the world.
    assert!(rows >= 2, "{rows}");
}

#[tokio::test]
async fn a_transaction_of_which_nothing_is_known_any_more_cannot_commit() {
    let world = World::new().await;
    let database = database::open(&world.database, Uuid::new_v4()).await.unwrap();
    let location = ["memory://warehouse/t".to_owned()];
    let old = old_id();
    database.register(old, 0, &location, false).await.unwrap();
    database.register(old, 0, &location, true).await.unwrap();
    // Others gave it up, and forgot it a day later.
    world.foreign_sql("delete from staffa_txn").await.unwrap();
    let refused = database.register(old, 0, &location, true).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(world.foreign_number("select count(*) from staffa_txn").await, 0);
    // A young one can only have lost its note.
    database.register(Uuid::now_v7(), 0, &location, true).await.unwrap();
}

/// PostgreSQL forgets who is alive when it is restarted: a server that starts then must not end what others do.
#[tokio::test]
async fn a_first_look_spares_who_was_there_a_moment_ago() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    let file = append(&mut txn, &world.objects, &table, 1).await.unwrap();
    // Of another server, whose lock nobody holds.
    world
        .foreign_sql(
            "insert into staffa_server(server_id, heartbeat_ms, oldest_csn)
             select '01890000-0000-7000-8000-000000000000', max(heartbeat_ms), 0 from staffa_server;
             update staffa_txn set server_id='01890000-0000-7000-8000-000000000000' where state=0",
        )
        .await
        .unwrap();
    std::mem::forget(txn);
    let late = world.second().await;
    assert_eq!(late.recover().await.unwrap(), 0);
    assert!(world.objects.get(&file).await.is_ok());
    crate::testing::silence(&world.database).await;
    assert_eq!(late.recover().await.unwrap(), 1);
    assert!(world.objects.get(&file).await.is_err());
}

#[tokio::test]
async fn what_could_not_be_cleaned_up_is_tried_again() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    let file = append(&mut txn, &world.objects, &table, 1).await.unwrap();
    world.objects.keeps_all.store(true, Ordering::Relaxed);
    assert!(txn.rollback().await.unwrap().is_empty());
    let shared = &world.catalog.shared;
    shared.clean_up_again().await;
    assert!(world.objects.get(&file).await.is_ok());
    world.objects.keeps_all.store(false, Ordering::Relaxed);
    shared.clean_up_again().await;
    assert!(world.objects.get(&file).await.is_err());
    let notes = world.foreign_number("select count(*) from staffa_txn_table").await;
    assert_eq!(notes, 0);
}

#[tokio::test]
async fn a_server_that_was_thought_dead_is_told() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let (mut reads, mut writes) = (world.begin().await, world.begin().await);
    append(&mut writes, &world.objects, &table, 1).await.unwrap();
    // It lives on as long as it is known.
    world.catalog.shared.heartbeat().await.unwrap();
    assert!(reads.snapshot().table(&table).await.unwrap().is_some());
    // Others went on meanwhile.
    world
        .foreign_sql("delete from staffa_server; update staffa_head set csn=csn+1")
        .await
        .unwrap();
    world.catalog.shared.heartbeat().await.unwrap();
    let conflict = |error: Option<crate::error::Error>| error.map(|error| error.kind()) == Some(ErrorKind::Conflict);
    assert!(conflict(reads.snapshot().table(&table).await.err()));
    assert!(conflict(append(&mut reads, &world.objects, &table, 2).await.err()));
    assert!(conflict(writes.commit().await.err()));
    // What begins now is as before.
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 3).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(world.rows(&table).await, [3]);
    world.catalog.shared.heartbeat().await.unwrap();
    world.rows(&table).await;
}
