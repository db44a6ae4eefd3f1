//! Commits of another engine, made by hand: what they must hold to, and that nothing of anybody is lost.

mod columns;
mod files;
mod registered;
mod repeated;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use roaring::RoaringTreemap;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::file::DataFile;
use crate::iceberg::{TableCommit, TableCreation, write_list, write_manifest};
use crate::name::TableName;
use crate::objects::Objects;
use crate::table::Table;
use crate::testing::{World, append, name};

async fn table(world: &World, name: &TableName) -> Arc<Table> {
    let snapshot = world.catalog.snapshot().await.unwrap();
    snapshot.table(name).await.unwrap().unwrap()
}

async fn add(world: &World, name: &TableName, rows: u64) {
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, name, rows).await.unwrap();
    txn.commit().await.unwrap();
}

async fn commit(world: &World, name: &TableName, requirements: Value, updates: Value) -> Result<u64> {
    let mut txn = world.begin().await;
    txn.commit_table(name, TableCommit::parse(requirements, updates)?)
        .await?;
    txn.commit().await
}

/// What another engine does to append one file: it stores file, manifest and list, and sends the snapshot.
struct Foreign {
    id: i64,
    snapshot: Value,
    requirement: Value,
}

impl Foreign {
    /// On the table as it is now; `replaces` leaves out what was there.
    async fn append(world: &World, table: &Table, rows: u64, id: i64, replaces: bool) -> Foreign {
        Foreign::append_at(world, table, rows, id, replaces, table.location()).await
    }

    async fn append_at(world: &World, table: &Table, rows: u64, id: i64, replaces: bool, place: &str) -> Foreign {
        let file = format!("{place}/data/foreign-{id}.parquet");
        Foreign::append_file(world, table, rows, id, replaces, file).await
    }

    /// A file of the table's that has a name already.
    async fn append_named(world: &World, table: &Table, rows: u64, id: i64, file: &str) -> Foreign {
        let file = format!("{}/data/{file}.parquet", table.location());
        Foreign::append_file(world, table, rows, id, false, file).await
    }

    async fn append_file(world: &World, table: &Table, rows: u64, id: i64, replaces: bool, file: String) -> Foreign {
        let metadata = table.version().metadata();
        let file = DataFile {
            location: file,
            size_bytes: 4,
            row_count: rows,
            spec_id: 0,
            partition: Vec::new(),
            columns: Vec::new(),
            sort_order_id: None,
            split_offsets: Vec::new(),
        };
        let location = format!("{}/metadata/foreign-{id}-m0.avro", table.location());
        let (manifest, encoded) = write_manifest(metadata, 0, id, &[Arc::new(file)], location)
            .await
            .unwrap();
        world.objects.put(&encoded.location, encoded.bytes).await.unwrap();
        let mut all = vec![manifest];
        if !replaces {
            let manifests = table.version().manifests(&table_loader(world)).await.unwrap();
            all.extend(manifests.iter().cloned());
        }
        let list = format!("{}/metadata/snap-{id}-foreign.avro", table.location());
        let encoded = write_list(metadata, id, &all, list.clone()).await.unwrap().object;
        world.objects.put(&encoded.location, encoded.bytes).await.unwrap();
        let mut snapshot = json!({
            "snapshot-id": id,
            "sequence-number": metadata.next_sequence_number(),
            "timestamp-ms": Utc::now().timestamp_millis(),
            "manifest-list": list,
            "summary": {"operation": "append", "total-records": "0"},
            "schema-id": 0,
        });
        if let Some(parent) = table.snapshot_id() {
            snapshot["parent-snapshot-id"] = json!(parent);
        }
        Foreign {
            id,
            snapshot,
            requirement: json!({"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": table.snapshot_id()}),
        }
    }

    fn updates(&self) -> Value {
        json!([
            {"action": "add-snapshot", "snapshot": self.snapshot},
            {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": self.id},
        ])
    }
}

fn table_loader(world: &World) -> crate::loader::Loader {
    crate::loader::Loader::new(world.objects.clone())
}

async fn row_counts(world: &World, name: &TableName) -> Vec<u64> {
    let files = table(world, name).await.files().await.unwrap();
    let mut rows: Vec<u64> = files.iter().map(|file| file.row_count).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn an_append_of_another_engine_is_a_commit_like_any_other() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    // Ours began before theirs, and commits after it.
    let mut ours = world.begin().await;
    append(&mut ours, &world.objects, &t, 2).await.unwrap();
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 3, 33, false).await;
    let before = world.catalog.snapshot().await.unwrap().csn();
    let csn = commit(&world, &t, json!([foreign.requirement]), foreign.updates())
        .await
        .unwrap();
    assert!(csn > before, "it has a number of its own");
    assert_eq!(row_counts(&world, &t).await, [1, 3]);
    ours.commit().await.unwrap();
    assert_eq!(row_counts(&world, &t).await, [1, 2, 3]);
    // Another server sees it, too.
    let second = world.second().await;
    let snapshot = second.snapshot().await.unwrap();
    let files = snapshot.table(&t).await.unwrap().unwrap().files().await.unwrap();
    assert_eq!(files.len(), 3);
}

#[tokio::test]
async fn rule_1_what_is_required_holds_on_the_version_that_is_replaced() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
    let mut theirs = world.begin().await;
    let change = TableCommit::parse(json!([foreign.requirement]), foreign.updates()).unwrap();
    theirs.commit_table(&t, change).await.unwrap();
    // It held when it was looked at first; then somebody was faster.
    add(&world, &t, 3).await;
    let objects = world.objects.all().await;
    let error = theirs.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(row_counts(&world, &t).await, [1, 3]);
    assert_eq!(world.objects.all().await, objects, "nothing of it is left");

    // What requires nothing of the rows goes on top.
    let mut theirs = world.begin().await;
    let updates = json!([{"action": "set-properties", "updates": {"a": "b"}}]);
    let required = json!([{"type": "assert-table-uuid", "uuid": table(&world, &t).await.uuid()}]);
    let change = TableCommit::parse(required, updates).unwrap();
    theirs.commit_table(&t, change).await.unwrap();
    add(&world, &t, 4).await;
    theirs.commit().await.unwrap();
    assert_eq!(row_counts(&world, &t).await, [1, 3, 4]);
    assert_eq!(table(&world, &t).await.properties()["a"], "b");
}

#[tokio::test]
async fn a_snapshot_beside_the_branch_is_refused_whatever_is_required() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let stale = table(&world, &t).await;
    let foreign = Foreign::append(&world, &stale, 2, 22, false).await;
    add(&world, &t, 3).await;
    let error = commit(&world, &t, json!([]), foreign.updates()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "its sequence number is old: {error}");
    let mut foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 44, false).await;
    foreign.snapshot["parent-snapshot-id"] = json!(stale.snapshot_id());
    let error = commit(&world, &t, json!([]), foreign.updates()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "its parent is: {error}");
    assert_eq!(row_counts(&world, &t).await, [1, 3]);
}

#[tokio::test]
async fn rules_2_and_3_files_are_the_tables_own_and_can_be_read() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let now = table(&world, &t).await;
    let refused = async |foreign: Foreign, what: &str| {
        let error = commit(&world, &t, json!([]), foreign.updates()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidDefinition, "{what}: {error}");
    };
    let elsewhere = Foreign::append_at(&world, &now, 2, 22, false, "memory://warehouse/other").await;
    refused(elsewhere, "a data file elsewhere").await;
    let up = Foreign::append_at(&world, &now, 2, 23, false, &format!("{}/data/../../x", now.location())).await;
    refused(up, "a data file a step up").await;
    let mut missing = Foreign::append(&world, &now, 2, 24, false).await;
    missing.snapshot["manifest-list"] = json!(format!("{}/metadata/none.avro", now.location()));
    refused(missing, "no list").await;
    let gone = Foreign::append(&world, &now, 2, 25, false).await;
    let manifest = format!("{}/metadata/foreign-25-m0.avro", now.location());
    world.objects.delete(&manifest).await.unwrap();
    refused(gone, "no manifest").await;
    let garbled = Foreign::append(&world, &now, 2, 26, false).await;
    let manifest = format!("{}/metadata/foreign-26-m0.avro", now.location());
    world
        .objects
        .put(&manifest, Bytes::from_static(b"Obj\x01garbage"))
        .await
        .unwrap();
    refused(garbled, "no Avro").await;
    assert_eq!(row_counts(&world, &t).await, [1]);

    // A clone's files are another table's, and stay so when another engine writes to it.
    let mut txn = world.begin().await;
    txn.clone_table(&name("c"), &t, None).await.unwrap();
    txn.commit().await.unwrap();
    let clone = table(&world, &name("c")).await;
    let foreign = Foreign::append(&world, &clone, 2, 27, false).await;
    commit(&world, &name("c"), json!([]), foreign.updates()).await.unwrap();
    assert_eq!(row_counts(&world, &name("c")).await, [1, 2]);
}

#[tokio::test]
async fn rows_that_both_change_are_a_conflict() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 5).await;
    let mut ours = world.begin().await;
    let files = ours.snapshot().table(&t).await.unwrap().unwrap().files().await.unwrap();
    let rows = RoaringTreemap::from_iter([1]);
    ours.delete_rows(&t, vec![(files[0].clone(), rows)]).await.unwrap();
    // They write the file again without some rows: copy on write.
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 4, 22, true).await;
    commit(&world, &t, json!([foreign.requirement]), foreign.updates())
        .await
        .unwrap();
    let error = ours.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(row_counts(&world, &t).await, [4]);
}

#[tokio::test]
async fn rule_5_snapshots_that_go_leave_garbage() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let old = table(&world, &t).await.snapshot_id().unwrap();
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, true).await;
    commit(&world, &t, json!([]), foreign.updates()).await.unwrap();
    let current = json!([{"action": "remove-snapshots", "snapshot-ids": [22]}]);
    let error = commit(&world, &t, json!([]), current).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidDefinition, "{error}");
    let expire = json!([{"action": "remove-snapshots", "snapshot-ids": [old]}]);
    commit(&world, &t, json!([]), expire).await.unwrap();
    let later = Utc::now().timestamp_millis() + 86_400_000;
    let dead = world.catalog.dead_objects(later, true).await.unwrap().objects;
    let is_dead = |part: &str| dead.iter().any(|object| object.path.contains(part));
    assert!(is_dead("1.parquet"), "{dead:?}");
    assert!(is_dead(&format!("snap-{old}-")), "{dead:?}");
    assert!(!is_dead("foreign-22"), "{dead:?}");
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_happens_once() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let foreign = Foreign::append(&world, &*table(&world, &t).await, 2, 22, false).await;
    for _ in 0..2 {
        commit(&world, &t, json!([foreign.requirement]), foreign.updates())
            .await
            .unwrap();
    }
    add(&world, &t, 3).await;
    commit(&world, &t, json!([foreign.requirement]), foreign.updates())
        .await
        .unwrap();
    assert_eq!(row_counts(&world, &t).await, [1, 2, 3]);
}

fn creation() -> Value {
    let schema = json!({"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "id", "type": "int", "required": false}]});
    json!({"name": "n", "schema": schema})
}

/// What a client sends to make a table that was staged.
fn made_by(metadata: &Value, rest: &[Value]) -> Value {
    let mut updates = vec![
        json!({"action": "assign-uuid", "uuid": metadata["table-uuid"]}),
        json!({"action": "upgrade-format-version", "format-version": 2}),
        json!({"action": "add-schema", "schema": metadata["schemas"][0]}),
        json!({"action": "set-current-schema", "schema-id": -1}),
        json!({"action": "add-spec", "spec": metadata["partition-specs"][0]}),
        json!({"action": "set-default-spec", "spec-id": -1}),
        json!({"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}}),
        json!({"action": "set-default-sort-order", "sort-order-id": -1}),
        json!({"action": "set-location", "location": metadata["location"]}),
    ];
    updates.extend(rest.iter().cloned());
    Value::Array(updates)
}

#[tokio::test]
async fn a_staged_table_keeps_its_ids_and_is_made_once() {
    let world = World::new().await;
    let mut request = creation();
    request["partition-spec"] =
        json!({"spec-id": 0, "fields": [{"source-id": 1, "field-id": 1000, "name": "b", "transform": "bucket[4]"}]});
    let staged = TableCreation::parse(request).unwrap();
    let txn = world.begin().await;
    let metadata: Value = serde_json::from_slice(&txn.stage_table(&name("n"), &staged).await.unwrap()).unwrap();
    drop(txn);
    assert!(world.catalog.snapshot().await.unwrap().relation(&name("n")).is_none());
    let create = json!([{"type": "assert-create"}]);
    for _ in 0..2 {
        commit(&world, &name("n"), create.clone(), made_by(&metadata, &[]))
            .await
            .unwrap();
    }
    let made = table(&world, &name("n")).await;
    assert_eq!(json!(made.uuid()), metadata["table-uuid"]);
    assert_eq!(json!(made.location()), metadata["location"]);
    assert!(world.catalog.owns_directory(&made));
    assert_eq!(
        (made.default_spec().spec_id, made.default_spec().fields[0].field_id),
        (0, 1000)
    );

    let other: Value = {
        let txn = world.begin().await;
        let staged = TableCreation::parse(creation()).unwrap();
        serde_json::from_slice(&txn.stage_table(&name("m"), &staged).await.unwrap()).unwrap()
    };
    let error = commit(&world, &name("n"), create.clone(), made_by(&other, &[]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "there is one of that name: {error}");
    let mut here = other.clone();
    here["location"] = metadata["location"].clone();
    let error = commit(&world, &name("m"), create, made_by(&here, &[]))
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::InvalidDefinition,
        "the place is taken: {error}"
    );
}

#[tokio::test]
async fn a_dropped_table_whose_files_stay_comes_back_either_way() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let location = table(&world, &t).await.metadata_location().to_owned();
    let drop_it = async || {
        let mut txn = world.begin().await;
        txn.drop_table_keeping_files(&t).await.unwrap();
        txn.commit().await.unwrap();
    };
    drop_it().await;
    let in_a_year = Utc::now().timestamp_millis() + 365 * 86_400_000;
    let dead = world.catalog.dead_objects(in_a_year, true).await.unwrap().objects;
    assert!(dead.is_empty(), "{dead:?}");
    let mut txn = world.begin().await;
    txn.undrop_table(&t).await.unwrap();
    txn.commit().await.unwrap();
    drop_it().await;
    let mut txn = world.begin().await;
    txn.register_table(&name("again"), &location).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(row_counts(&world, &name("again")).await, [1]);
    add(&world, &name("again"), 2).await;
    assert_eq!(row_counts(&world, &name("again")).await, [1, 2]);
    let register = async |location: &str| -> Result<()> {
        let mut txn = world.begin().await;
        txn.register_table(&name("third"), location).await
    };
    let taken = register(&location).await.map_err(|error: Error| error.kind());
    assert_eq!(taken, Err(ErrorKind::InvalidDefinition), "a directory is one table's");
    let missing = register("memory://warehouse/x/metadata/00000-x.metadata.json").await;
    assert_eq!(missing.map_err(|error| error.kind()), Err(ErrorKind::InvalidDefinition));
}

#[tokio::test]
async fn columns_keep_their_meaning() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let id = |ty: &str, required: bool| json!({"id": 1, "name": "id", "type": ty, "required": required});
    let text = json!({"id": 2, "name": "text", "type": "string", "required": false});
    let change = |fields: Value| {
        json!([
            {"action": "add-schema", "schema": {"type": "struct", "schema-id": 1, "fields": fields}},
            {"action": "set-current-schema", "schema-id": -1},
        ])
    };
    let new = |id: i32, required: bool| json!({"id": id, "name": "new", "type": "long", "required": required});
    for (what, fields) in [
        ("another type", json!([id("string", false), text])),
        ("a narrower type", json!([id("boolean", false), text])),
        ("required", json!([id("int", true), text])),
        ("a new required column", json!([id("int", false), text, new(3, true)])),
        (
            "a map",
            json!([id("int", false), text, {"id": 3, "name": "m", "required": false, "type": {"type": "map", "key-id": 4, "key": "string", "value-id": 5, "value": "int", "value-required": false}}]),
        ),
    ] {
        let error = commit(&world, &t, json!([]), change(fields)).await.unwrap_err();
        let refused = matches!(error.kind(), ErrorKind::InvalidDefinition | ErrorKind::Unsupported);
        assert!(refused, "{what}: {error}");
    }
    commit(&world, &t, json!([]), change(json!([id("long", false), new(3, false)])))
        .await
        .unwrap();
    let schema = table(&world, &t).await.schema().clone();
    assert_eq!(schema.columns.len(), 2);
    let error = commit(&world, &t, json!([]), change(json!([id("long", false), new(2, false)]))).await;
    assert!(error.is_err(), "an id that was in use means something else");
    // Type names of ours stay with the columns they are about.
    let error = commit(
        &world,
        &t,
        json!([]),
        json!([{"action": "set-properties", "updates": {"staffa.column-types": "{}"}}]),
    );
    assert_eq!(error.await.unwrap_err().kind(), ErrorKind::InvalidDefinition);
}

#[tokio::test]
async fn properties_of_schemas_are_kept() {
    let world = World::new().await;
    let set = async |schema: &str, key: &str, value: Option<&str>| -> Result<u64> {
        let mut txn = world.begin().await;
        let change = BTreeMap::from([(key.to_owned(), value.map(str::to_owned))]);
        txn.set_schema_properties("d", schema, change)?;
        txn.commit().await
    };
    set("public", "a", Some("1")).await.unwrap();
    set("public", "b", Some("2")).await.unwrap();
    set("public", "a", None).await.unwrap();
    assert_eq!(
        set("public", "exists", None).await.unwrap_err().kind(),
        ErrorKind::InvalidDefinition
    );
    assert_eq!(
        set("nope", "a", None).await.unwrap_err().kind(),
        ErrorKind::UndefinedSchema
    );
    let mut txn = world.begin().await;
    txn.rename_schema("d", "public", "renamed").await.unwrap();
    txn.commit().await.unwrap();
    let kept = world.catalog.schema_properties("d", "renamed").await.unwrap();
    assert_eq!(kept, BTreeMap::from([("b".to_owned(), "2".to_owned())]));
    assert!(world.catalog.schema_properties("d", "public").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_staged_and_never_committed_goes() {
    let world = World::new().await;
    let stage = async |table: &str| -> Value {
        let staged = TableCreation::parse(creation()).unwrap();
        let metadata = world.begin().await.stage_table(&name(table), &staged).await.unwrap();
        serde_json::from_slice(&metadata).unwrap()
    };
    let (made, given_up) = (stage("n").await, stage("m").await);
    for metadata in [&made, &given_up] {
        let file = format!("{}/data/a.parquet", metadata["location"].as_str().unwrap());
        world.objects.put(&file, Bytes::from_static(b"PAR1")).await.unwrap();
    }
    commit(
        &world,
        &name("n"),
        json!([{"type": "assert-create"}]),
        made_by(&made, &[]),
    )
    .await
    .unwrap();
    let dead_in = async |days: i64| {
        let at = Utc::now().timestamp_millis() + days * 86_400_000;
        let dead = world.catalog.dead_objects(at, true).await.unwrap().objects;
        dead.into_iter().map(|dead| dead.path).collect::<Vec<_>>()
    };
    let listed = "select count(*) from staffa_gc where path like '%/'";
    assert_eq!(world.foreign_number(listed).await, 1);
    assert!(dead_in(2).await.is_empty());
    let directory = format!("{}/", given_up["location"].as_str().unwrap());
    assert_eq!(dead_in(4).await, [directory]);
}
