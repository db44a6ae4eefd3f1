//! Files left out by partition and by bounds.

use staffa_catalog::{ColumnStatistics, DataFile, Value};

use super::fixture::Fixture;

fn file(number: u32, partition: Vec<Option<Value>>, columns: Vec<ColumnStatistics>) -> DataFile {
    DataFile {
        location: format!("file:///nowhere/{number}.parquet"),
        size_bytes: 1000,
        row_count: 10,
        spec_id: 0,
        partition,
        columns,
        sort_order_id: None,
        split_offsets: Vec::new(),
    }
}

fn bounds(field_id: i32, lower: Value, upper: Value) -> ColumnStatistics {
    ColumnStatistics {
        field_id,
        size_bytes: 100,
        value_count: 10,
        null_count: 0,
        nan_count: None,
        lower: Some(lower),
        upper: Some(upper),
        bounds_exact: true,
    }
}

/// Planning alone is tested here, so the files need not exist; only their places must be allowed.
async fn with_files(create: &str, files: Vec<DataFile>) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.change(create).await;
    let root = fixture.directory.path().canonicalize().expect("the directory exists");
    let files = files
        .into_iter()
        .map(|mut file| {
            file.location = file.location.replace("/nowhere", &root.display().to_string());
            file
        })
        .collect();
    fixture.append("t", files).await;
    fixture
}

#[tokio::test]
async fn months_prune_dates() {
    // Months 648 to 659 are those of 2024.
    let files = (0..12)
        .map(|month| file(month, vec![Some(Value::Int(648 + month as i32))], Vec::new()))
        .collect();
    let fixture = with_files("create table t (d date, n int) partition by (month(d))", files).await;
    for (filter, read) in [
        ("d = '2024-03-15'", 1),
        ("d >= '2024-11-30'", 2),
        ("d >= date '2024-02-01' and d < date '2024-04-01'", 2),
        ("d < '2024-01-01'", 0),
        ("d in ('2024-01-01', '2024-12-31')", 2),
        ("d is null", 0),
        ("n = 5", 12),
        ("d between '2024-05-05' and '2024-05-06' or d = '2024-01-01'", 2),
    ] {
        let report = fixture.report(&format!("select n from t where {filter}")).await;
        assert_eq!((report.files_read, report.files_total), (read, 12), "{filter}");
        assert_eq!(report.pruned_by_partition, 12 - read, "{filter}");
        assert_eq!(report.bytes_read, 1000 * read as u64);
    }
}

#[tokio::test]
async fn buckets_prune_equality_only() {
    // The Iceberg specification gives hash(34) = 2017239379 for int and long: bucket 3 of 16.
    let files = (0..16)
        .map(|bucket| file(bucket, vec![Some(Value::Int(bucket as i32))], Vec::new()))
        .collect();
    let fixture = with_files("create table t (id bigint) partition by (bucket(16, id))", files).await;
    let report = fixture.report("select id from t where id = 34").await;
    assert_eq!(report.files_read, 1);
    assert_eq!(fixture.report("select id from t where id > 34").await.files_read, 16);
    assert!(fixture.report("select id from t where id in (34, 35)").await.files_read <= 2);
}

#[tokio::test]
async fn bounds_prune_after_partitions() {
    let files = vec![
        file(
            0,
            vec![Some(Value::String("a".into()))],
            vec![bounds(2, Value::Int(0), Value::Int(9))],
        ),
        file(
            1,
            vec![Some(Value::String("a".into()))],
            vec![bounds(2, Value::Int(10), Value::Int(19))],
        ),
        file(
            2,
            vec![Some(Value::String("b".into()))],
            vec![bounds(2, Value::Int(0), Value::Int(9))],
        ),
        file(3, vec![None], vec![bounds(2, Value::Int(0), Value::Int(9))]),
    ];
    let fixture = with_files("create table t (k text, n int) partition by (k)", files).await;
    let report = fixture.report("select * from t where k = 'a' and n < 5").await;
    assert_eq!(
        (
            report.files_read,
            report.pruned_by_partition,
            report.pruned_by_statistics
        ),
        (1, 2, 1)
    );
    assert_eq!(fixture.report("select * from t where k is null").await.files_read, 1);
    assert_eq!(
        fixture.report("select * from t where k is not null").await.files_read,
        3
    );
    assert_eq!(fixture.report("select * from t where n = 15").await.files_read, 1);
}

#[tokio::test]
async fn floats_that_may_hold_nan_are_kept_above_their_bound() {
    let mut with_nan = bounds(1, Value::Double(0.0), Value::Double(1.0));
    with_nan.nan_count = Some(1);
    let mut without = bounds(1, Value::Double(0.0), Value::Double(1.0));
    without.nan_count = Some(0);
    let files = vec![file(0, vec![], vec![with_nan]), file(1, vec![], vec![without])];
    let fixture = with_files("create table t (x double precision)", files).await;
    assert_eq!(fixture.report("select x from t where x > 5").await.files_read, 1);
    assert_eq!(fixture.report("select x from t where x < -1").await.files_read, 0);
}

#[tokio::test]
async fn counts_come_from_the_catalog() {
    let files = vec![
        file(0, vec![], vec![bounds(1, Value::Int(3), Value::Int(9))]),
        file(1, vec![], vec![bounds(1, Value::Int(1), Value::Int(4))]),
    ];
    let fixture = with_files("create table t (n int not null)", files).await;
    // The files do not exist: an answer means they were not opened.
    assert_eq!(fixture.rows("select count(*), min(n), max(n) from t").await, ["20|1|9"]);
}
