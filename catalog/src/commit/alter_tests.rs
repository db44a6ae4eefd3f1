//! Changed definitions and names: what they keep, what commits around them find.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::alter::TableChange;
use crate::error::ErrorKind;
use crate::history::{RefRetention, SnapshotRef};
use crate::objects::Objects;
use crate::schema::Transform;
use crate::testing::{World, append, column, definition, name};
use crate::types::SqlType;

fn add(name: &str) -> TableChange {
    TableChange::AddColumn {
        parent: None,
        column: column(name, SqlType::SmallInt),
    }
}

fn comment(text: &str) -> TableChange {
    TableChange::SetComment {
        field_id: None,
        comment: Some(text.to_owned()),
    }
}

/// Names, ids and types of the table's columns.
async fn columns(world: &World, table: &str) -> Vec<(String, i32, String)> {
    let snapshot = world.catalog.snapshot().await.unwrap();
    let table = snapshot.table(&name(table)).await.unwrap().unwrap();
    let columns = table.schema().columns.iter();
    columns
        .map(|column| (column.name.clone(), column.field_id, column.ty.to_string()))
        .collect()
}

fn shown(columns: &[(String, i32, String)]) -> Vec<String> {
    columns
        .iter()
        .map(|(name, id, ty)| format!("{name} {id} {ty}"))
        .collect()
}

#[tokio::test]
async fn field_ids_stay_with_their_data_and_are_never_used_again() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 3).await.unwrap();
    txn.commit().await.unwrap();

    let mut txn = world.begin().await;
    let changes = [
        add("small"),
        TableChange::DropColumn { field_id: 1 },
        TableChange::RenameColumn {
            field_id: 2,
            name: "id".to_owned(),
        },
        TableChange::SetType {
            field_id: 2,
            ty: SqlType::Varchar(Some(9)),
        },
    ];
    txn.alter_table(&table, &changes, false).await.unwrap();
    txn.alter_table(&table, &[add("text")], false).await.unwrap();
    let seen = txn.snapshot().table(&table).await.unwrap().unwrap();
    assert_eq!(seen.schema().columns.len(), 3);
    assert_eq!(seen.files().await.unwrap().len(), 1);
    append(&mut txn, &world.objects, &table, 4).await.unwrap_err();
    txn.commit().await.unwrap();

    let wanted = ["id 2 character varying(9)", "small 3 smallint", "text 4 smallint"];
    assert_eq!(shown(&columns(&world, "t").await), wanted);
    assert_eq!(world.rows(&table).await, [3]);

    // Without the highest id among the columns, the next one is still new.
    let mut txn = world.begin().await;
    txn.alter_table(&table, &[TableChange::DropColumn { field_id: 4 }], false)
        .await
        .unwrap();
    txn.commit().await.unwrap();
    let mut txn = world.begin().await;
    txn.alter_table(&table, &[add("text")], false).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(columns(&world, "t").await[2].1, 5);
}

#[tokio::test]
async fn what_files_need_cannot_be_dropped_or_changed() {
    let world = World::new().await;
    let table = name("t");
    let mut txn = world.begin().await;
    let mut parts = definition("t");
    parts.partition_by = vec![("id".to_owned(), Transform::Bucket(4))];
    parts.sorted_by = vec![("text".to_owned(), false, false)];
    txn.create_table(parts).await.unwrap();
    txn.commit().await.unwrap();

    let mut txn = world.begin().await;
    let kinds = [
        (TableChange::DropColumn { field_id: 1 }, ErrorKind::DependentObjects),
        (TableChange::DropColumn { field_id: 2 }, ErrorKind::DependentObjects),
        (
            TableChange::SetType {
                field_id: 1,
                ty: SqlType::BigInt,
            },
            ErrorKind::DependentObjects,
        ),
        (
            TableChange::SetType {
                field_id: 2,
                ty: SqlType::Varchar(Some(4)),
            },
            ErrorKind::Unsupported,
        ),
        (
            TableChange::SetProperties {
                set: BTreeMap::from([("staffa.x".to_owned(), "1".to_owned())]),
                removed: BTreeSet::new(),
            },
            ErrorKind::InvalidDefinition,
        ),
        (
            TableChange::SetPartitioning(vec![("nope".to_owned(), Transform::Identity)]),
            ErrorKind::UndefinedColumn,
        ),
    ];
    for (change, kind) in kinds {
        let error = txn.alter_table(&table, std::slice::from_ref(&change), false).await;
        assert_eq!(error.unwrap_err().kind(), kind, "{change:?}");
    }
    // Another layout for new files; the old spec stays for the old ones.
    let changes = [
        TableChange::SetPartitioning(vec![("text".to_owned(), Transform::Truncate(2))]),
        TableChange::SetSortOrder(vec![("id".to_owned(), true, true)]),
        TableChange::DropColumn { field_id: 2 },
    ];
    txn.alter_table(&table, &changes[..2], false).await.unwrap();
    let error = txn.alter_table(&table, &changes[2..], false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DependentObjects);
    txn.commit().await.unwrap();
    let snapshot = world.catalog.snapshot().await.unwrap();
    let table = snapshot.table(&table).await.unwrap().unwrap();
    assert_eq!(table.partition_specs().len(), 2);
    assert_eq!(table.default_spec().fields[0].transform, Transform::Truncate(2));
    let (id, keys) = table.sort_order();
    assert_eq!((id, keys[0].source_id, keys[0].descending), (2, 1, true));
}

#[tokio::test]
async fn commits_around_a_change_follow_the_matrix() {
    let world = World::new().await;
    let table = world.create_table("t").await;

    // An append goes on top of a change that leaves its columns, and a change on top of an append.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut second, &world.objects, &table, 1).await.unwrap();
    first.alter_table(&table, &[add("a")], false).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut first, &world.objects, &table, 2).await.unwrap();
    second.alter_table(&table, &[add("b")], false).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(world.rows(&table).await, [1, 2]);
    assert_eq!(columns(&world, "t").await.len(), 4);

    // Rows that were looked at must be all there are.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut first, &world.objects, &table, 3).await.unwrap();
    let not_null = TableChange::SetNullable {
        field_id: 1,
        nullable: false,
    };
    second
        .alter_table(&table, std::slice::from_ref(&not_null), true)
        .await
        .unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());

    // Rows of before a rule may break it.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut second, &world.objects, &table, 4).await.unwrap();
    first.alter_table(&table, &[not_null], true).await.unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());

    // Both give out the next id.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    first.alter_table(&table, &[add("c")], false).await.unwrap();
    second.alter_table(&table, &[add("d")], false).await.unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());

    // Comments and properties have no ids.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    first.alter_table(&table, &[add("e")], false).await.unwrap();
    second.alter_table(&table, &[comment("kept")], false).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();

    // The column is gone that a file has statistics of.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut second, &world.objects, &table, 5).await.unwrap();
    first
        .alter_table(&table, &[TableChange::DropColumn { field_id: 1 }], false)
        .await
        .unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());
    assert_eq!(world.rows(&table).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_renamed_table_is_the_same_table() {
    let world = World::new().await;
    let (t, u) = (world.create_table("t").await, name("u"));
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &t, 1).await.unwrap();
    txn.commit().await.unwrap();
    let before = world
        .catalog
        .snapshot()
        .await
        .unwrap()
        .table(&t)
        .await
        .unwrap()
        .unwrap();

    // Others append meanwhile; the transaction itself appends before and after.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut second, &world.objects, &t, 2).await.unwrap();
    second.rename(&t, &u).await.unwrap();
    append(&mut second, &world.objects, &u, 3).await.unwrap();
    assert!(second.snapshot().relation(&t).is_none());
    append(&mut first, &world.objects, &t, 4).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(world.rows(&u).await, [1, 2, 3, 4]);
    let snapshot = world.catalog.snapshot().await.unwrap();
    assert!(snapshot.relation(&t).is_none());
    let after = snapshot.table(&u).await.unwrap().unwrap();
    assert_eq!((after.uuid(), after.location()), (before.uuid(), before.location()));
    assert!(
        world
            .catalog
            .dead_objects(i64::MAX, true)
            .await
            .unwrap()
            .objects
            .is_empty()
    );

    // A rename alone writes nothing; one back and forth changes nothing.
    let stored = world.objects.all().await.len();
    let mut txn = world.begin().await;
    txn.rename(&u, &t).await.unwrap();
    txn.commit().await.unwrap();
    let mut txn = world.begin().await;
    txn.rename(&t, &u).await.unwrap();
    txn.rename(&u, &t).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(world.objects.all().await.len(), stored);
    assert_eq!(world.rows(&t).await, [1, 2, 3, 4]);

    // An append under a name that is gone fails; a name that is taken cannot be given.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut second, &world.objects, &t, 5).await.unwrap();
    first.rename(&t, &u).await.unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());
    world.create_table("t").await;
    let error = world.begin().await.rename(&t, &u).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DuplicateTable);

    // Names change places.
    let mut txn = world.begin().await;
    let x = name("x");
    txn.rename(&t, &x).await.unwrap();
    txn.rename(&u, &t).await.unwrap();
    txn.rename(&x, &u).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(world.rows(&t).await, [1, 2, 3, 4]);
    assert!(world.rows(&u).await.is_empty());
    assert!(
        world
            .catalog
            .dead_objects(i64::MAX, true)
            .await
            .unwrap()
            .objects
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_of_tables_is_never_seen_half_done() {
    let world = Arc::new(World::new().await);
    let table = world.create_table("t").await;
    let [new, old] = [name("t__new"), name("t__old")];
    let first = world
        .catalog
        .snapshot()
        .await
        .unwrap()
        .table(&table)
        .await
        .unwrap()
        .unwrap();
    let first_directory = format!("{}/", first.location());
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (world, table, done) = (world.clone(), table.clone(), done.clone());
        let others = [new.clone(), old.clone()];
        tokio::spawn(async move {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                let snapshot = world.catalog.snapshot().await.unwrap();
                let seen = snapshot.table(&table).await.unwrap().expect("old or new, never none");
                assert!(seen.files().await.unwrap().len() <= 1);
                assert!(others.iter().all(|name| snapshot.relation(name).is_none()));
                reads += 1;
            }
            reads
        })
    };
    for round in 1..=20 {
        let mut txn = world.begin().await;
        txn.create_table(definition("t__new")).await.unwrap();
        append(&mut txn, &world.objects, &new, round).await.unwrap();
        txn.rename(&table, &old).await.unwrap();
        txn.rename(&new, &table).await.unwrap();
        txn.drop_table(&old).await.unwrap();
        txn.commit().await.unwrap();
        assert_eq!(world.rows(&table).await, [round]);
    }
    done.store(true, Ordering::SeqCst);
    assert!(reader.await.unwrap() > 0);
    // The directories of the tables that were swapped out die, that of the last one lives.
    let dead = world.catalog.dead_objects(i64::MAX, true).await.unwrap().objects;
    assert!(dead.iter().any(|object| object.path == first_directory));
    assert_eq!(dead.iter().filter(|object| object.path.ends_with('/')).count(), 20);
}

#[tokio::test]
async fn a_renamed_schema_takes_everything_along() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 1).await.unwrap();
    txn.rename_schema("d", "public", "other").await.unwrap();
    txn.commit().await.unwrap();
    let snapshot = world.catalog.snapshot().await.unwrap();
    assert_eq!(snapshot.schemas("d"), ["other"]);
    assert_eq!(world.rows(&crate::name::TableName::new("d", "other", "t")).await, [1]);
}

/// Makes the stored metadata of a table as old as a server would whose clock is ahead.
async fn written_ahead(world: &World, location: &str, ahead_ms: i64) {
    let bytes = world.objects.get(location).await.unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let later = |time: &mut serde_json::Value| *time = (time.as_i64().unwrap() + ahead_ms).into();
    later(&mut json["last-updated-ms"]);
    for list in ["snapshots", "snapshot-log", "metadata-log"] {
        for entry in json[list].as_array_mut().into_iter().flatten() {
            later(&mut entry["timestamp-ms"]);
        }
    }
    let bytes = serde_json::to_vec(&json).unwrap();
    world.objects.put(location, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_behind_keeps_no_table_from_being_changed() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    for rows in [1, 2, 3] {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, &t, rows).await.unwrap();
        txn.commit().await.unwrap();
    }
    let snapshot = world.catalog.snapshot().await.unwrap();
    let table = snapshot.table(&t).await.unwrap().unwrap();
    let ids: Vec<i64> = table.snapshots().unwrap().iter().map(|snapshot| snapshot.id).collect();
    let ahead_ms = 10 * 60 * 1000;
    written_ahead(&world, table.metadata_location(), ahead_ms).await;
    let second = world.second().await;
    let tag = SnapshotRef {
        name: "tag".to_owned(),
        snapshot_id: ids[0],
        retention: RefRetention::Tag { max_ref_age_ms: None },
    };
    for change in [
        comment("later"),
        add("new"),
        TableChange::SetRef(tag),
        TableChange::RollBack { snapshot_id: ids[1] },
        TableChange::ExpireSnapshots(BTreeSet::from([ids[2]])),
    ] {
        let mut txn = second.begin(second.snapshot().await.unwrap()).await.unwrap();
        txn.alter_table(&t, std::slice::from_ref(&change), false).await.unwrap();
        txn.commit()
            .await
            .unwrap_or_else(|error| panic!("{change:?}: {error:?}"));
    }
    let mut txn = second.begin(second.snapshot().await.unwrap()).await.unwrap();
    append(&mut txn, &world.objects, &t, 4).await.unwrap();
    txn.commit().await.unwrap();

    let table = second.snapshot().await.unwrap().table(&t).await.unwrap().unwrap();
    let history = table.history().unwrap();
    assert!(history.is_sorted_by_key(|entry| entry.made_current_ms), "{history:?}");
    let now_ms = chrono::Utc::now().timestamp_millis();
    assert!(
        history.last().unwrap().made_current_ms < now_ms + ahead_ms + 1000,
        "{history:?}"
    );
    let mut kept: Vec<i64> = table.snapshots().unwrap().iter().map(|snapshot| snapshot.id).collect();
    kept.truncate(2);
    assert_eq!(kept, ids[..2]);
    assert_eq!(table.refs().unwrap().len(), 2);
    assert_eq!(table.row_count(), Some(1 + 2 + 4));
}
