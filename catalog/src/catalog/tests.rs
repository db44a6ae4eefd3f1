//! Databases, schemas, definitions, other programs' writes, and random transactions against a model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Catalog;
use crate::error::ErrorKind;
use crate::file::{ColumnStatistics, DataFile};
use crate::name::TableName;
use crate::objects::MemoryObjects;
use crate::schema::{TableDefinition, Transform};
use crate::testing::{World, append, column, definition, name};
use crate::types::SqlType;
use crate::value::Value;

#[tokio::test]
async fn databases_and_schemas_come_and_go() {
    let world = World::new().await;
    let mut txn = world.begin().await;
    assert_eq!(
        txn.create_database("d").await.unwrap_err().message(),
        "database \"d\" already exists"
    );
    txn.create_database("e").await.unwrap();
    txn.create_schema("e", "s").await.unwrap();
    assert_eq!(
        txn.create_schema("e", "s").await.unwrap_err().message(),
        "schema \"s\" already exists"
    );
    assert_eq!(
        txn.create_schema("x", "s").await.unwrap_err().kind(),
        ErrorKind::UndefinedDatabase
    );
    assert_eq!(txn.snapshot().schemas("e"), ["public", "s"]);
    assert_eq!(world.catalog.snapshot().await.unwrap().databases(), ["d"]);
    let csn = txn.commit().await.unwrap();
    let pinned = world.catalog.snapshot().await.unwrap();
    assert_eq!(pinned.csn(), csn);
    assert_eq!(pinned.databases(), ["d", "e"]);
    assert_eq!(pinned.schemas("e"), ["public", "s"]);

    let mut txn = world.begin().await;
    let mut inside = definition("t");
    inside.name = TableName::new("e", "s", "t");
    txn.create_table(inside).await.unwrap();
    let error = txn.drop_schema("e", "s", false).await.unwrap_err();
    assert_eq!(
        error.message(),
        "cannot drop schema s because other objects depend on it"
    );
    assert_eq!(
        txn.drop_database("e", false).await.unwrap_err().kind(),
        ErrorKind::DependentObjects
    );
    txn.commit().await.unwrap();

    let mut txn = world.begin().await;
    txn.drop_database("e", true).await.unwrap();
    assert!(!txn.snapshot().has_database("e"));
    txn.commit().await.unwrap();
    assert_eq!(world.catalog.snapshot().await.unwrap().databases(), ["d"]);
    // The table's directory dies in a week, not earlier, and not while a state that had it is in use.
    let now_ms = chrono::Utc::now().timestamp_millis();
    assert!(
        world
            .catalog
            .dead_objects(now_ms + 8 * 86_400_000, true)
            .await
            .unwrap()
            .objects
            .is_empty()
    );
    drop(pinned);
    assert!(
        world
            .catalog
            .dead_objects(now_ms + 6 * 86_400_000, true)
            .await
            .unwrap()
            .objects
            .is_empty()
    );
    let dead = world
        .catalog
        .dead_objects(now_ms + 8 * 86_400_000, true)
        .await
        .unwrap()
        .objects;
    assert_eq!(dead.len(), 1);
    assert!(dead[0].is_directory() && dead[0].path.starts_with("memory://warehouse/e/s/t-"));
}

#[tokio::test]
async fn create_and_drop_in_one_transaction_leave_nothing() {
    let world = World::new().await;
    let before = world.objects.put_locations.lock().len();
    let mut txn = world.begin().await;
    txn.create_schema("d", "s").await.unwrap();
    txn.create_table(definition("t")).await.unwrap();
    txn.drop_table(&name("t")).await.unwrap();
    txn.drop_schema("d", "s", false).await.unwrap();
    assert!(txn.is_read_only());
    assert_eq!(
        txn.commit().await.unwrap(),
        world.catalog.snapshot().await.unwrap().csn()
    );
    assert_eq!(world.objects.put_locations.lock().len(), before);
}

fn every_type() -> Vec<SqlType> {
    let point = SqlType::Struct(vec![
        ("x".into(), SqlType::SmallInt),
        ("y".into(), SqlType::Array(Box::new(SqlType::Json))),
    ]);
    vec![
        SqlType::Boolean,
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::BigInt,
        SqlType::Real,
        SqlType::Double,
        SqlType::numeric(38, 10),
        SqlType::Text,
        SqlType::Varchar(None),
        SqlType::Varchar(Some(10)),
        SqlType::Char(3),
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
        SqlType::TimestampTz,
        SqlType::Interval,
        SqlType::Uuid,
        SqlType::Json,
        SqlType::Jsonb,
        SqlType::Array(Box::new(SqlType::Varchar(Some(2)))),
        SqlType::Array(Box::new(point.clone())),
        point,
    ]
}

#[tokio::test]
async fn every_type_and_layout_comes_back_from_the_stored_metadata() {
    let world = World::new().await;
    let types = every_type();
    let mut definition = TableDefinition {
        columns: types
            .iter()
            .enumerate()
            .map(|(i, ty)| column(&format!("c{i}"), ty.clone()))
            .collect(),
        partition_by: vec![
            ("c2".into(), Transform::Identity),
            ("c3".into(), Transform::Bucket(16)),
            ("c7".into(), Transform::Truncate(4)),
            ("c12".into(), Transform::Year),
            ("c13".into(), Transform::Identity),
            ("c14".into(), Transform::Day),
            ("c15".into(), Transform::Hour),
        ],
        sorted_by: vec![("c3".into(), true, true), ("c7".into(), false, false)],
        comment: Some("all".into()),
        properties: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        ..definition("t")
    };
    definition.columns[2].nullable = false;
    definition.columns[2].comment = Some("number".into());
    let mut txn = world.begin().await;
    txn.create_table(definition).await.unwrap();
    txn.commit().await.unwrap();
    let table = world
        .second()
        .await
        .snapshot()
        .await
        .unwrap()
        .table(&name("t"))
        .await
        .unwrap()
        .unwrap();
    let stored: Vec<SqlType> = table.schema().columns.iter().map(|column| column.ty.clone()).collect();
    assert_eq!(stored, types);
    let mut ids = BTreeSet::new();
    fn collect(children: &[crate::schema::FieldIds], ids: &mut BTreeSet<i32>) {
        for child in children {
            assert!(ids.insert(child.id));
            collect(&child.children, ids);
        }
    }
    for column in &table.schema().columns {
        assert!(ids.insert(column.field_id));
        collect(&column.children, &mut ids);
    }
    // 23 columns; 1 element, 1 element + 2 fields + 1 element, 2 fields + 1 element.
    assert_eq!(ids.len(), 23 + 1 + 4 + 3);
    let number = table.schema().column("c2").unwrap();
    assert!(!number.nullable);
    assert_eq!(number.comment.as_deref(), Some("number"));
    let fields: Vec<(&str, Transform)> = table
        .default_spec()
        .fields
        .iter()
        .map(|field| (field.name.as_str(), field.transform))
        .collect();
    assert_eq!(
        fields,
        [
            ("c2", Transform::Identity),
            ("c3_bucket", Transform::Bucket(16)),
            ("c7_trunc", Transform::Truncate(4)),
            ("c12_year", Transform::Year),
            ("c13", Transform::Identity),
            ("c14_day", Transform::Day),
            ("c15_hour", Transform::Hour),
        ]
    );
    let (order, keys) = table.sort_order();
    assert_eq!(
        (order, keys.len(), keys[0].descending, keys[0].nulls_first),
        (1, 2, true, true)
    );
    assert_eq!(table.comment(), Some("all"));
    assert_eq!(table.properties().get("k").map(String::as_str), Some("v"));
}

#[tokio::test]
async fn wrong_definitions_are_refused() {
    let world = World::new().await;
    let mut txn = world.begin().await;
    let with = |columns| TableDefinition {
        columns,
        ..definition("t")
    };
    let cases = [
        (
            with(vec![column("a", SqlType::Text), column("a", SqlType::Text)]),
            ErrorKind::DuplicateColumn,
        ),
        (
            with(vec![column("a", SqlType::numeric(39, 0))]),
            ErrorKind::InvalidDefinition,
        ),
        (
            with(vec![column("a", SqlType::numeric(5, 6))]),
            ErrorKind::InvalidDefinition,
        ),
        (with(vec![column("a", SqlType::Unknown)]), ErrorKind::InvalidDefinition),
        (with(vec![column("", SqlType::Text)]), ErrorKind::InvalidDefinition),
        (
            TableDefinition {
                partition_by: vec![("no".into(), Transform::Day)],
                ..definition("t")
            },
            ErrorKind::UndefinedColumn,
        ),
        (
            TableDefinition {
                partition_by: vec![("id".into(), Transform::Day)],
                ..definition("t")
            },
            ErrorKind::InvalidDefinition,
        ),
        (
            TableDefinition {
                partition_by: vec![("id".into(), Transform::Bucket(0))],
                ..definition("t")
            },
            ErrorKind::InvalidDefinition,
        ),
        (
            TableDefinition {
                partition_by: vec![("id".into(), Transform::Identity); 2],
                ..definition("t")
            },
            ErrorKind::InvalidDefinition,
        ),
        (
            TableDefinition {
                partition_by: vec![("id".into(), Transform::Day), ("id".into(), Transform::Month)],
                ..with(vec![column("id", SqlType::Date)])
            },
            ErrorKind::InvalidDefinition,
        ),
        (
            TableDefinition {
                partition_by: vec![("id".into(), Transform::Identity)],
                ..with(vec![column("id", SqlType::Uuid)])
            },
            ErrorKind::Unsupported,
        ),
        (
            TableDefinition {
                sorted_by: vec![("no".into(), false, false)],
                ..definition("t")
            },
            ErrorKind::UndefinedColumn,
        ),
        (
            TableDefinition {
                location: Some("/plain/path".into()),
                ..definition("t")
            },
            ErrorKind::InvalidDefinition,
        ),
        (
            TableDefinition {
                name: TableName::new("d", "no", "t"),
                ..definition("t")
            },
            ErrorKind::UndefinedSchema,
        ),
        (
            TableDefinition {
                name: TableName::new("no", "s", "t"),
                ..definition("t")
            },
            ErrorKind::UndefinedDatabase,
        ),
    ];
    for (case, kind) in cases {
        let error = txn.create_table(case.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{case:?}: {error}");
    }
    assert!(txn.is_read_only());
}

#[tokio::test]
async fn partitions_and_bounds_come_back_from_the_manifest() {
    let world = World::new().await;
    let columns = vec![
        column("b", SqlType::Boolean),
        column("n", SqlType::numeric(20, 2)),
        column("s", SqlType::Text),
        column("d", SqlType::Date),
        column("ts", SqlType::TimestampTz),
        column("u", SqlType::Uuid),
        column("f", SqlType::Double),
        column("i", SqlType::BigInt),
        column("y", SqlType::Bytea),
        column("t", SqlType::Time),
        column("r", SqlType::Real),
        column("z", SqlType::Timestamp),
    ];
    let definition = TableDefinition {
        columns,
        partition_by: vec![
            ("s".into(), Transform::Identity),
            ("ts".into(), Transform::Day),
            ("n".into(), Transform::Identity),
            ("d".into(), Transform::Identity),
            ("u".into(), Transform::Bucket(4)),
            ("b".into(), Transform::Identity),
            ("i".into(), Transform::Truncate(10)),
            ("y".into(), Transform::Identity),
            ("t".into(), Transform::Identity),
            ("r".into(), Transform::Identity),
            ("f".into(), Transform::Identity),
            ("z".into(), Transform::Identity),
            ("n".into(), Transform::Truncate(100)),
        ],
        ..definition("t")
    };
    let mut txn = world.begin().await;
    let table = txn.create_table(definition).await.unwrap();
    let id = |name: &str| table.schema().column(name).unwrap().field_id;
    let decimal = |unscaled| Value::Decimal {
        unscaled,
        precision: 20,
        scale: 2,
    };
    let statistics = |name: &str, lower: Value, upper: Value| ColumnStatistics {
        field_id: id(name),
        size_bytes: 10,
        value_count: 5,
        null_count: 1,
        nan_count: (name == "f").then_some(2),
        lower: Some(lower),
        upper: Some(upper),
        bounds_exact: true,
    };
    let file = DataFile {
        location: "memory://warehouse/x.parquet".into(),
        size_bytes: 100,
        row_count: 5,
        spec_id: 0,
        partition: vec![
            Some(Value::String("ü".into())),
            Some(Value::Int(-1)),
            Some(decimal(-12_345)),
            Some(Value::Date(20_000)),
            Some(Value::Int(3)),
            None,
            Some(Value::Long(i64::MIN)),
            Some(Value::Binary(vec![0, 255])),
            Some(Value::Time(86_399_999_999)),
            Some(Value::Float(-0.5)),
            Some(Value::Double(1e300)),
            Some(Value::Timestamp(-1)),
            Some(decimal(128)),
        ],
        columns: vec![
            statistics("b", Value::Boolean(false), Value::Boolean(true)),
            statistics("n", decimal(-99_999_999_999_999_999_999), decimal(1)),
            statistics("s", Value::String("a".repeat(20)), Value::String("b".repeat(20))),
            statistics("d", Value::Date(-1), Value::Date(1)),
            statistics("ts", Value::TimestampTz(-5), Value::TimestampTz(i64::MAX)),
            statistics("u", Value::Uuid([0; 16]), Value::Uuid([0xff; 16])),
            statistics("f", Value::Double(f64::NAN), Value::Double(f64::INFINITY)),
        ],
        sort_order_id: Some(0),
        split_offsets: vec![4, 50],
    };
    txn.begin_write(&name("t")).await.unwrap();
    txn.append(&name("t"), vec![file.clone()]).unwrap();
    txn.commit().await.unwrap();

    let stored = world
        .second()
        .await
        .snapshot()
        .await
        .unwrap()
        .table(&name("t"))
        .await
        .unwrap()
        .unwrap();
    let files = stored.files().await.unwrap();
    let mut expected = file;
    expected.columns[2].lower = Some(Value::String("a".repeat(16)));
    expected.columns[2].upper = Some(Value::String(format!("{}c", "b".repeat(15))));
    expected.columns[2].bounds_exact = false;
    expected.columns[6].lower = None;
    assert_eq!(*files[0].data, expected);
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    txn.begin_write(&table).await.unwrap();
    let file = DataFile {
        location: "memory://x".into(),
        size_bytes: 1,
        row_count: 1,
        spec_id: 0,
        partition: vec![],
        columns: vec![],
        sort_order_id: None,
        split_offsets: vec![],
    };
    for wrong in [
        DataFile {
            spec_id: 9,
            ..file.clone()
        },
        DataFile {
            partition: vec![None],
            ..file.clone()
        },
        DataFile {
            columns: vec![ColumnStatistics {
                field_id: 77,
                size_bytes: 0,
                value_count: 0,
                null_count: 0,
                nan_count: None,
                lower: None,
                upper: None,
                bounds_exact: true,
            }],
            ..file.clone()
        },
    ] {
        assert_eq!(txn.append(&table, vec![wrong]).unwrap_err().kind(), ErrorKind::Internal);
    }
    assert!(txn.is_read_only());
    assert_eq!(txn.rollback().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn writes_of_other_programs_are_seen_in_order() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let before = world.catalog.snapshot().await.unwrap();
    // As pyiceberg renames and makes a namespace.
    world
        .foreign_sql(
            "update iceberg_tables set table_name='renamed' where table_name='t';
             insert into iceberg_namespace_properties values('f','their.space','exists','true')",
        )
        .await
        .unwrap();
    let after = world.catalog.snapshot().await.unwrap();
    assert_eq!(after.csn(), before.csn() + 1);
    assert_eq!(after.relation(&table), None);
    let renamed = after.table(&name("renamed")).await.unwrap().unwrap();
    assert_eq!(renamed.uuid(), before.table(&table).await.unwrap().unwrap().uuid());
    assert_eq!(after.databases(), ["d", "f"]);
    assert_eq!(after.schemas("f"), ["their.space"]);
    // Nothing changed: the same value, though another program wrote to the file.
    world.foreign_sql("create table unrelated(x integer)").await.unwrap();
    assert!(Arc::ptr_eq(&after, &world.catalog.snapshot().await.unwrap()));
}

#[tokio::test]
async fn numbers_of_objects_stay_and_differ() {
    let world = World::new().await;
    let names = |range: std::ops::Range<u32>| range.map(|number| format!("relation/{number}")).collect::<Vec<_>>();
    let first = world.catalog.object_numbers(&names(0..3)).await.unwrap();
    assert!(first.iter().all(|number| *number > 16_384));
    // Another server, which has read nothing yet, at the same time as this one.
    let other = world.second().await;
    let (all, same) = (names(0..50), names(0..50));
    let (here, there) = tokio::join!(world.catalog.object_numbers(&all), other.object_numbers(&same));
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!(here, there);
    assert_eq!(here[..3], first[..]);
    assert_eq!(here.iter().collect::<BTreeSet<_>>().len(), 50);

    // More than one statement names, some of them twice.
    let many = [names(0..300), names(290..310)].concat();
    let (here, there) = tokio::join!(world.catalog.object_numbers(&many), other.object_numbers(&many));
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!(here, there);
    assert_eq!(here.iter().collect::<BTreeSet<_>>().len(), 310);
    assert_eq!(here[290..300], here[300..310]);
}

#[tokio::test]
async fn numbers_that_pass_are_noted_nowhere_until_they_last() {
    let world = World::new().await;
    let names = |range: std::ops::Range<u32>| range.map(|number| format!("relation/{number}")).collect::<Vec<_>>();
    let rows = "select count(*) from staffa_object";
    let passing = world.catalog.passing_numbers(&names(0..300)).await.unwrap();
    assert_eq!(passing.iter().collect::<BTreeSet<_>>().len(), 300);
    assert_eq!(world.catalog.passing_numbers(&names(0..300)).await.unwrap(), passing);
    assert_eq!(world.foreign_number(rows).await, 0);
    let lasting = world.catalog.object_numbers(&names(5..400)).await.unwrap();
    assert_eq!(lasting[..295], passing[5..]);
    assert_eq!(lasting.iter().chain(&passing).collect::<BTreeSet<_>>().len(), 400);
    assert_eq!(world.foreign_number(rows).await, 395);
    let other = world.second().await;
    assert_eq!(other.passing_numbers(&names(5..400)).await.unwrap(), lasting);
}

#[tokio::test]
async fn numbers_go_with_the_files_of_their_object() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let snapshot = world.catalog.snapshot().await.unwrap();
    let table = snapshot.table(&table).await.unwrap().unwrap();
    let other = uuid::Uuid::new_v4();
    let names = [table.uuid(), other].map(|id| [format!("relation/{id}"), format!("relation/{id}/row")]);
    world.catalog.object_numbers(&names.concat()).await.unwrap();
    let before = world.catalog.object_numbers(&names[1]).await.unwrap();
    world.catalog.forget(&[format!("{}/", table.location())]).await.unwrap();
    assert_eq!(world.foreign_number("select count(*) from staffa_object").await, 2);
    assert_eq!(world.second().await.object_numbers(&names[1]).await.unwrap(), before);
}

#[tokio::test]
async fn what_cannot_be_opened_is_said() {
    let objects = Arc::new(MemoryObjects::new());
    let open = async |database: &str, warehouse: &str| Catalog::open(database, warehouse, objects.clone()).await;
    let kind = |result: crate::error::Result<Catalog>| result.unwrap_err().kind();
    assert_eq!(
        kind(open("sqlite::memory:", "memory://w").await),
        ErrorKind::Unsupported
    );
    assert_eq!(kind(open("sqlite:", "memory://w").await), ErrorKind::Unsupported);
    let error = open("mysql://u:secret@h/d", "memory://w").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!format!("{error:?}").contains("secret"));
    let error = open("postgres://u:secret@127.0.0.1:1/d?connect_timeout=3", "memory://w")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidDefinition);
    assert!(!format!("{error:?}").contains("secret"));
    assert_eq!(
        kind(open("sqlite:/no/such/directory/x.db", "memory://w").await),
        ErrorKind::Io
    );
    assert_eq!(kind(open("sqlite:x.db", "/plain").await), ErrorKind::InvalidDefinition);
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("text.db");
    std::fs::write(
        &path,
        "this is no database, it is a text that is long enough to be read as a header of one ".repeat(9),
    )
    .unwrap();
    assert_eq!(
        kind(open(&format!("sqlite:{}", path.display()), "memory://w").await),
        ErrorKind::Corrupt
    );

    let world = World::new().await;
    let newer = match crate::testing::postgres() {
        None => "PRAGMA user_version=99",
        Some(_) => "update staffa_format set version=99",
    };
    world.foreign_sql(newer).await.unwrap();
    assert_eq!(kind(open(&world.database, "memory://w").await), ErrorKind::NewerFormat);
}

#[tokio::test]
async fn damaged_metadata_is_an_error() {
    use crate::objects::Objects;
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 3).await.unwrap();
    txn.commit().await.unwrap();
    for object in world.objects.all().await {
        let whole = world.objects.get(&object).await.unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            world.objects.put(&object, whole.slice(..cut)).await.unwrap();
            let snapshot = world.second().await.snapshot().await.unwrap();
            if let Ok(Some(table)) = snapshot.table(&table).await {
                // A data file is not read here; everything else must not be taken for whole.
                let files = table.files().await;
                assert!(files.is_err() || files.unwrap().len() == 1, "{object} cut at {cut}");
            }
        }
        world.objects.put(&object, whole).await.unwrap();
    }
}

/// Two transactions at a time do random things; what the catalog then says is what a plain map says.
#[tokio::test]
async fn random_transactions_agree_with_a_model() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::new().await;
        // Row counts of files by table; a table's identity changes when it is made again.
        let mut model: BTreeMap<String, (u64, Vec<u64>)> = BTreeMap::new();
        let mut identity = 0;
        let mut rows = 0;
        for _ in 0..25 {
            let mut pair = Vec::new();
            for _ in 0..2 {
                let mut txn = world.begin().await;
                let base = model.clone();
                let mut own = base.clone();
                let mut touched: BTreeSet<String> = BTreeSet::new();
                for _ in 0..random.random_range(1..=4) {
                    let table = ["a", "b", "c"][random.random_range(0..3)];
                    let exists = own.contains_key(table);
                    match random.random_range(0..4) {
                        0 => {
                            let made = txn.create_table(definition(table)).await;
                            assert_eq!(made.is_ok(), !exists);
                            if !exists {
                                identity += 1;
                                own.insert(table.into(), (identity, Vec::new()));
                                touched.insert(table.into());
                            }
                        }
                        1 => {
                            assert_eq!(txn.drop_table(&name(table)).await.is_ok(), exists);
                            if exists {
                                own.remove(table);
                                touched.insert(table.into());
                            }
                        }
                        _ => {
                            rows += 1;
                            let done = append(&mut txn, &world.objects, &name(table), rows).await;
                            assert_eq!(done.is_ok(), exists);
                            if let Some((_, files)) = own.get_mut(table) {
                                files.push(rows);
                                touched.insert(table.into());
                            }
                        }
                    }
                }
                // A transaction sees its own changes.
                for table in ["a", "b", "c"] {
                    let seen = txn.snapshot().table(&name(table)).await.unwrap();
                    let files = match seen {
                        Some(table) => Some(table.files().await.unwrap().iter().map(|file| file.row_count).collect()),
                        None => None,
                    };
                    let files = files.map(|mut files: Vec<u64>| {
                        files.sort();
                        files
                    });
                    let mut expected = own.get(table).map(|(_, files)| files.clone());
                    if let Some(files) = &mut expected {
                        files.sort()
                    }
                    assert_eq!(files, expected, "seed {seed}");
                }
                pair.push((txn, base, own, touched));
            }
            for (txn, base, own, touched) in pair {
                let possible = touched.iter().all(|table| {
                    let [was, is] = [&base, &model].map(|state| state.get(table).map(|(identity, _)| *identity));
                    was == is
                });
                // A table that was made and dropped again inside the transaction does not count.
                let nothing = |table: &String| !base.contains_key(table) && !own.contains_key(table);
                let possible = possible
                    || touched.iter().filter(|table| !nothing(table)).all(|table| {
                        let [was, is] = [&base, &model].map(|state| state.get(table).map(|(identity, _)| *identity));
                        was == is
                    });
                let committed = txn.commit().await;
                assert_eq!(committed.is_ok(), possible, "seed {seed}: {committed:?}");
                if !possible {
                    continue;
                }
                for table in touched {
                    match own.get(&table) {
                        None => {
                            if base.contains_key(&table) {
                                model.remove(&table);
                            }
                        }
                        Some((identity, files)) => {
                            let before = base.get(&table).filter(|(was, _)| was == identity);
                            let known = before.map_or(0, |(_, files)| files.len());
                            let slot = model.entry(table).or_insert((*identity, Vec::new()));
                            if slot.0 != *identity {
                                *slot = (*identity, Vec::new());
                            }
                            slot.1.extend(&files[known..]);
                        }
                    }
                }
            }
            let snapshot = world.catalog.snapshot().await.unwrap();
            let names: Vec<String> = snapshot
                .relations("d", "public")
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(names, model.keys().cloned().collect::<Vec<_>>(), "seed {seed}");
            for (table, (_, files)) in &model {
                let mut files = files.clone();
                files.sort();
                assert_eq!(world.rows(&name(table)).await, files, "seed {seed}");
            }
        }
    }
}
