//! The same commit twice: a client that got no answer in time sends it again, perhaps while the first is under way.

use super::*;
use crate::txn::Transaction;

async fn asked(world: &World, name: &TableName, requirements: &Value, updates: &Value) -> Transaction {
    let mut txn = world.begin().await;
    let change = TableCommit::parse(requirements.clone(), updates.clone()).unwrap();
    txn.commit_table(name, change).await.unwrap();
    txn
}

#[tokio::test]
async fn a_commit_that_is_under_way_already_happens_once() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
    let required = json!([foreign.requirement]);
    let first = asked(&world, &t, &required, &foreign.updates()).await;
    let second = asked(&world, &t, &required, &foreign.updates()).await;
    let third = asked(&world, &t, &required, &foreign.updates()).await;
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    // Others may have gone on from it.
    add(&world, &t, 3).await;
    third.commit().await.unwrap();
    assert_eq!(row_counts(&world, &t).await, [1, 2, 3]);
}

#[tokio::test]
async fn so_does_one_that_requires_nothing() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
    let first = asked(&world, &t, &json!([]), &foreign.updates()).await;
    let second = asked(&world, &t, &json!([]), &foreign.updates()).await;
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(row_counts(&world, &t).await, [1, 2]);
}

#[tokio::test]
async fn a_table_that_is_being_made_already_is_made_once() {
    let world = World::new().await;
    let staged = {
        let txn = world.begin().await;
        let creation = TableCreation::parse(creation()).unwrap();
        let json = txn.stage_table(&name("n"), &creation).await.unwrap();
        serde_json::from_slice::<Value>(&json).unwrap()
    };
    let (create, updates) = (json!([{"type": "assert-create"}]), made_by(&staged, &[]));
    let first = asked(&world, &name("n"), &create, &updates).await;
    let second = asked(&world, &name("n"), &create, &updates).await;
    // Another server, which does not wait for its turn here.
    let other = world.second().await;
    let mut third = other.begin(other.snapshot().await.unwrap()).await.unwrap();
    let change = TableCommit::parse(create.clone(), updates.clone()).unwrap();
    third.commit_table(&name("n"), change).await.unwrap();
    let (first, second, third) = tokio::join!(first.commit(), second.commit(), third.commit());
    for made in [first, second, third] {
        made.unwrap();
    }
    let made = table(&world, &name("n")).await;
    assert_eq!(json!(made.uuid()), staged["table-uuid"]);
    assert!(world.objects.all().await.contains(&made.metadata_location().to_owned()));
    assert_eq!(world.objects.all().await.len(), 1, "nothing of the others is left");

    // Another table of the name is none of theirs.
    let other = {
        let txn = world.begin().await;
        let creation = TableCreation::parse(creation()).unwrap();
        let json = txn.stage_table(&name("m"), &creation).await.unwrap();
        serde_json::from_slice::<Value>(&json).unwrap()
    };
    let late = asked(&world, &name("m"), &create, &made_by(&other, &[])).await;
    world.create_table("m").await;
    let error = late.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DuplicateTable, "{error}");
}
