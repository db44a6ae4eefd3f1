//! pyiceberg reads what the catalog writes, and the catalog what pyiceberg writes, on one catalog database.
//!
//! Needs a Python with pyiceberg, so it runs on request only: see `judges/pyiceberg_judge.py`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;

use super::Catalog;
use crate::file::{ColumnStatistics, DataFile};
use crate::name::TableName;
use crate::objects::Objects;
use crate::schema::{ColumnDefinition, TableDefinition, Transform};
use crate::testing::{LocalObjects, column};
use crate::types::SqlType;
use crate::value::Value;

fn judge(step: &str, directory: &Path) {
    let python = std::env::var("STAFFA_JUDGE_PYTHON").unwrap_or("python3".to_owned());
    // Tests run in the folder of their package.
    let script = "judges/pyiceberg_judge.py";
    let output = Command::new(python)
        .args([script, step])
        .arg(directory)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{step}:\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    println!("{}", text(&output.stdout));
}

async fn add_file(catalog: &Catalog, name: &TableName, source: &Path) {
    let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
    let target = txn.begin_write(name).await.unwrap();
    let location = format!("{}0.parquet", target.data_prefix);
    let bytes = std::fs::read(source).unwrap();
    let size_bytes = bytes.len() as u64;
    LocalObjects.put(&location, Bytes::from(bytes)).await.unwrap();
    // 2024-02-29 00:00 UTC
    let day = 19_782;
    let start = i64::from(day) * 86_400_000_000;
    let decimal = |unscaled| Value::Decimal {
        unscaled,
        precision: 12,
        scale: 2,
    };
    let bounds = [
        (Value::Long(1), Value::Long(100), 0),
        (
            Value::TimestampTz(start),
            Value::TimestampTz(start + 99 * 60_000_000),
            0,
        ),
        (decimal(0), decimal(2475), 0),
        (Value::String("word 1".into()), Value::String("word 99".into()), 20),
    ];
    let columns = bounds
        .into_iter()
        .zip(1..)
        .map(|((lower, upper, null_count), field_id)| ColumnStatistics {
            field_id,
            size_bytes: 100,
            value_count: 100,
            null_count,
            nan_count: None,
            lower: Some(lower),
            upper: Some(upper),
            bounds_exact: true,
        });
    let file = DataFile {
        location,
        size_bytes,
        row_count: 100,
        spec_id: target.table.default_spec().spec_id,
        partition: target
            .table
            .default_spec()
            .fields
            .iter()
            .map(|_| Some(Value::Int(day)))
            .collect(),
        columns: columns.collect(),
        sort_order_id: Some(target.table.sort_order().0),
        split_offsets: vec![4],
    };
    txn.append(name, vec![file]).unwrap();
    txn.commit().await.unwrap();
}

#[tokio::test]
#[ignore = "needs a Python with pyiceberg"]
async fn pyiceberg_agrees() {
    let directory = tempfile::TempDir::new().unwrap();
    let root = directory.path();
    judge("write", root);
    let database = format!("sqlite:{}/catalog.db", root.display());
    let warehouse = format!("file://{}/warehouse", root.display());
    let catalog = Catalog::open(&database, &warehouse, Arc::new(LocalObjects))
        .await
        .unwrap();
    let name = TableName::new("staffa", "public", "events");
    let definition = TableDefinition {
        name: name.clone(),
        columns: vec![
            ColumnDefinition {
                comment: Some("the key".into()),
                nullable: false,
                ..column("id", SqlType::BigInt)
            },
            column("at", SqlType::TimestampTz),
            column("price", SqlType::numeric(12, 2)),
            column("word", SqlType::Varchar(Some(20))),
        ],
        partition_by: vec![("at".into(), Transform::Day)],
        sorted_by: vec![("id".into(), false, false)],
        constraints: Vec::new(),
        indexes: Vec::new(),
        comment: Some("what happened".into()),
        properties: Default::default(),
        materialized: None,
        location: None,
    };
    let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
    txn.create_database("staffa").await.unwrap();
    txn.create_table(definition.clone()).await.unwrap();
    txn.commit().await.unwrap();
    add_file(&catalog, &name, &root.join("first.parquet")).await;
    judge("read", root);

    // What pyiceberg did is there, in the same process.
    let snapshot = catalog.snapshot().await.unwrap();
    let table = snapshot.table(&name).await.unwrap().unwrap();
    let files = table.files().await.unwrap();
    let mut counts: Vec<u64> = files.iter().map(|file| file.row_count).collect();
    counts.sort();
    assert_eq!(counts, [10, 100]);
    assert_eq!(table.row_count(), Some(110));
    assert!(files.iter().all(|file| file.partition == [Some(Value::Int(19_782))]));
    assert_eq!(table.schema().column("word").unwrap().ty, SqlType::Varchar(Some(20)));
    let theirs = TableName::new("staffa", "theirs", "renamed");
    let other = snapshot.table(&theirs).await.unwrap().unwrap();
    assert_eq!(other.schema().columns[1].ty, SqlType::Array(Box::new(SqlType::Text)));
    assert_eq!(other.row_count(), Some(2));
    assert_eq!(other.files().await.unwrap().len(), 1);
    assert_eq!(snapshot.schemas("staffa"), ["public", "theirs"]);

    // And on top of it, we go on; merged manifests too.
    add_file(&catalog, &name, &root.join("first.parquet")).await;
    let many = TableDefinition {
        name: TableName::new("staffa", "public", "many"),
        ..definition
    };
    let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
    txn.create_table(many.clone()).await.unwrap();
    txn.commit().await.unwrap();
    for _ in 0..103 {
        add_file(&catalog, &many.name, &root.join("first.parquet")).await;
    }
    judge("again", root);
}
