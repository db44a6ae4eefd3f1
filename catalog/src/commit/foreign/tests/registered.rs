//! Tables whose metadata another engine wrote, all of it: what it says of others counts for nothing.

use futures::future::join_all;

use super::*;
use crate::txn::Transaction;

const PLACE: &str = "memory://warehouse/elsewhere";

/// The metadata of an empty table at [`PLACE`].
async fn metadata(world: &World) -> Value {
    let mut request = creation();
    request["location"] = json!(PLACE);
    let txn = world.begin().await;
    let staged = TableCreation::parse(request).unwrap();
    let json = txn.stage_table(&name("r"), &staged).await.unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// Stores metadata, and registers the table as `r`.
async fn register(world: &World, location: &str, metadata: &Value) -> Result<u64> {
    let bytes = Bytes::from(serde_json::to_vec(metadata).unwrap());
    world.objects.put(location, bytes).await.unwrap();
    let mut txn = world.begin().await;
    txn.register_table(&name("r"), location).await?;
    txn.commit().await
}

#[tokio::test]
async fn its_log_names_only_its_own_files_for_deletion() {
    let world = World::new().await;
    let victim = world.create_table("victim").await;
    add(&world, &victim, 1).await;
    let victim = table(&world, &victim).await;
    let mut metadata = metadata(&world).await;
    let at = metadata["last-updated-ms"].clone();
    let own = format!("{PLACE}/metadata/00000-old.metadata.json");
    let log = [
        victim.metadata_location().to_owned(),
        format!("{}/data/", victim.location()),
        format!("{PLACE}/../staffa/catalog.db"),
        format!("{PLACE}/data/"),
        format!("staffa-counter:{}", uuid::Uuid::new_v4()),
        own.clone(),
    ];
    let log: Vec<Value> = log
        .iter()
        .map(|file| json!({"metadata-file": file, "timestamp-ms": at}))
        .collect();
    metadata["metadata-log"] = json!(log);
    metadata["properties"]["write.metadata.previous-versions-max"] = json!("1");
    let first = format!("{PLACE}/metadata/00001-a.metadata.json");
    register(&world, &first, &metadata).await.unwrap();
    let set = json!([{"action": "set-properties", "updates": {"a": "b"}}]);
    commit(&world, &name("r"), json!([]), set).await.unwrap();
    add(&world, &name("r"), 2).await;
    let in_a_year = Utc::now().timestamp_millis() + 365 * 86_400_000;
    let dead = world.catalog.dead_objects(in_a_year, true).await.unwrap().objects;
    let mut dead: Vec<&str> = dead.iter().map(|object| object.path.as_str()).collect();
    dead.sort();
    assert_eq!(dead, [own.as_str(), first.as_str()]);
}

#[tokio::test]
async fn it_is_one_that_can_be_changed_here() {
    let world = World::new().await;
    let good = metadata(&world).await;
    let location = format!("{PLACE}/metadata/00000-a.metadata.json");
    let now_ms = Utc::now().timestamp_millis();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut other = good.clone();
        change(&mut other);
        other
    };
    let refs = json!({"main": {"snapshot-id": 7, "type": "tag"}});
    let snapshot = json!({"snapshot-id": 7, "sequence-number": 1, "timestamp-ms": now_ms, "schema-id": 0,
        "manifest-list": format!("{PLACE}/metadata/snap-7.avro"), "summary": {"operation": "append"}});
    for (what, number, metadata) in [
        ("a step up", 1, good.clone()),
        (
            "a time far ahead",
            2,
            with(&|it| it["last-updated-ms"] = json!(i64::MAX - 1)),
        ),
        (
            "no more column ids",
            3,
            with(&|it| it["last-column-id"] = json!(i32::MAX)),
        ),
        (
            "no more numbers",
            4,
            with(&|it| it["last-sequence-number"] = json!(i64::MAX)),
        ),
        (
            "main a tag",
            5,
            with(&|it| {
                it["snapshots"] = json!([snapshot]);
                it["refs"] = refs.clone();
                it["current-snapshot-id"] = json!(7);
                it["last-sequence-number"] = json!(1);
            }),
        ),
    ] {
        let place = match number {
            1 => format!("{PLACE}/../elsewhere/metadata/00000-a.metadata.json"),
            number => format!("{PLACE}/metadata/0000{number}-a.metadata.json"),
        };
        let error = register(&world, &place, &metadata).await.map_err(|error| error.kind());
        assert_eq!(error, Err(ErrorKind::InvalidDefinition), "{what}");
    }
    register(&world, &location, &good).await.unwrap();
    add(&world, &name("r"), 1).await;
}

#[tokio::test]
async fn commits_are_held_to_the_same() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let current = table(&world, &t).await.snapshot_id();
    let refused = async |updates: Value, what: &str| {
        let error = commit(&world, &t, json!([]), updates)
            .await
            .map_err(|error| error.kind());
        assert_eq!(error, Err(ErrorKind::InvalidDefinition), "{what}");
    };
    let tag = json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "tag", "snapshot-id": current}]);
    refused(tag, "main a tag").await;
    let now_ms = Utc::now().timestamp_millis();
    for time_ms in [now_ms + 3_600_000, i64::MAX, -1] {
        let mut foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
        foreign.snapshot["timestamp-ms"] = json!(time_ms);
        refused(foreign.updates(), "another time").await;
    }
    let mut foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
    foreign.snapshot["sequence-number"] = json!(1_000_000);
    refused(foreign.updates(), "a number that is not the next").await;
    let far = json!({"id": i32::MAX, "name": "far", "type": "int", "required": false});
    let id = json!({"id": 1, "name": "id", "type": "int", "required": false});
    let schema = json!({"type": "struct", "schema-id": 1, "fields": [id, far]});
    refused(json!([{"action": "add-schema", "schema": schema}]), "the last id").await;
    // A clock that is a little ahead is fine.
    let mut foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
    foreign.snapshot["timestamp-ms"] = json!(now_ms + 30_000);
    commit(&world, &t, json!([]), foreign.updates()).await.unwrap();
    add(&world, &t, 3).await;
    assert_eq!(row_counts(&world, &t).await, [1, 2, 3]);
}

/// What a client sends to make a table with this id at this place.
fn made_with(metadata: &Value, id: Value, location: &str) -> Value {
    let mut wanted = metadata.clone();
    wanted["table-uuid"] = id;
    wanted["location"] = json!(location);
    made_by(&wanted, &[])
}

#[tokio::test]
async fn its_id_and_its_place_are_no_other_tables() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let there = table(&world, &t).await;
    let id = json!(there.uuid());
    let refused = |result: Result<u64>, what: &str| {
        let kind = result.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::InvalidDefinition), "{what}");
    };
    // A copy of a table that is still there.
    let mut copy = metadata(&world).await;
    copy["table-uuid"] = id.clone();
    let location = format!("{PLACE}/metadata/00000-a.metadata.json");
    refused(register(&world, &location, &copy).await, "the id of a table");
    let create = json!([{"type": "assert-create"}]);
    let updates = made_with(&copy, id.clone(), "memory://warehouse/third");
    refused(
        commit(&world, &name("r"), create.clone(), updates).await,
        "made with the id of a table",
    );
    // Also under another name by now.
    let mut txn = world.begin().await;
    txn.rename(&t, &name("renamed")).await.unwrap();
    txn.commit().await.unwrap();
    refused(register(&world, &location, &copy).await, "the id of a renamed table");
    let mut txn = world.begin().await;
    txn.drop_table(&name("renamed")).await.unwrap();
    txn.commit().await.unwrap();
    register(&world, &location, &copy).await.unwrap();
    let mut txn = world.begin().await;
    txn.undrop_table(&name("renamed")).await.unwrap();
    refused(txn.commit().await, "brought back beside its copy");
    // The place that Staffa made for one table is not another's, also when that one is gone.
    let updates = made_with(&copy, json!(uuid::Uuid::new_v4()), there.location());
    refused(
        commit(&world, &name("s"), create.clone(), updates).await,
        "a place of another table",
    );
    // A table that was registered counts as much as one that was made here.
    let updates = made_with(&copy, id, "memory://warehouse/third");
    refused(
        commit(&world, &name("s"), create, updates).await,
        "the id of a registered table",
    );
}

#[tokio::test]
async fn two_at_a_time_do_not_get_one_place() {
    let world = World::new().await;
    let good = metadata(&world).await;
    let location = format!("{PLACE}/metadata/00000-a.metadata.json");
    let bytes = Bytes::from(serde_json::to_vec(&good).unwrap());
    world.objects.put(&location, bytes).await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..4 {
        let catalog = world.second().await;
        let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
        let other = TableName::new("d", "public", format!("r{number}"));
        txn.register_table(&other, &location).await.unwrap();
        waiting.push(txn);
    }
    let mut made = 0;
    for committed in join_all(waiting.into_iter().map(Transaction::commit)).await {
        match committed {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidDefinition, "{error}"),
        }
    }
    assert_eq!(made, 1);
    // By SQL, too.
    let mut txn = world.begin().await;
    let mut definition = crate::testing::definition("s");
    definition.location = Some(format!("{PLACE}/inside"));
    txn.create_table(definition).await.unwrap();
    let error = txn.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidDefinition, "{error}");
}

#[tokio::test]
async fn a_dropped_table_comes_back_until_its_deletion_begins() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let location = table(&world, &t).await.metadata_location().to_owned();
    let drop_it = async |name: &TableName| {
        let mut txn = world.begin().await;
        txn.drop_table(name).await.unwrap();
        txn.commit().await.unwrap();
    };
    let again = async || -> Result<u64> {
        let mut txn = world.begin().await;
        txn.register_table(&name("again"), &location).await?;
        txn.commit().await
    };
    drop_it(&t).await;
    again().await.unwrap();
    let in_a_year = Utc::now().timestamp_millis() + 365 * 86_400_000;
    let dead = async || world.catalog.dead_objects(in_a_year, true).await.unwrap().objects;
    assert!(dead().await.is_empty());
    assert_eq!(row_counts(&world, &name("again")).await, [1]);
    drop_it(&name("again")).await;
    assert_eq!(dead().await.len(), 1);
    assert_eq!(again().await.map_err(|error| error.kind()), Err(ErrorKind::Conflict));
}
