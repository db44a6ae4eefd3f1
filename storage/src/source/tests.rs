use std::sync::atomic::AtomicU64;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimeUnit};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{collect, execute_stream_partitioned};
use datafusion::prelude::SessionContext;

use super::*;
use crate::error::ErrorKind;
use crate::object::StoreOptions;
use crate::writer::{FileWriter, WriteOptions, WriteSpec, WrittenFile};

struct Fixture {
    _dir: tempfile::TempDir,
    base: String,
    scan: ParquetScan,
    schema: SchemaRef,
}

fn field(name: &str, data_type: DataType, id: i32) -> Field {
    let metadata = [(crate::FIELD_ID_KEY.to_owned(), id.to_string())].into();
    Field::new(name, data_type, true).with_metadata(metadata)
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap().to_str().unwrap().to_owned();
    let stores = Stores::new(StoreOptions {
        local_roots: vec![base.clone().into()],
        ..Default::default()
    })
    .unwrap();
    let schema = Arc::new(Schema::new(vec![
        field("id", DataType::Int64, 1),
        field("text", DataType::Utf8View, 2),
        field("x", DataType::Float64, 3),
        field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), 4),
    ]));
    Fixture {
        _dir: dir,
        base,
        scan: ParquetScan::new(stores),
        schema,
    }
}

impl Fixture {
    /// `rows` rows from `start` on; `x` is the id, but NaN where it is divisible by 1000; time is in microseconds.
    async fn write(&self, start: i64, rows: i64) -> WrittenFile {
        let ids = start..start + rows;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(StringViewArray::from_iter_values(
                ids.clone().map(|i| format!("text {i}")),
            )),
            Arc::new(Float64Array::from_iter_values(
                ids.clone().map(|i| if i % 1000 == 0 { f64::NAN } else { i as f64 }),
            )),
            Arc::new(TimestampMicrosecondArray::from_iter_values(ids).with_timezone("UTC")),
        ];
        let spec = WriteSpec {
            schema: Arc::clone(&self.schema),
            partition: Vec::new(),
            sort: vec![(0, false, false)],
            data_prefix: format!("{}/f{start}-", self.base),
            options: WriteOptions {
                row_group_rows: 10_000,
                ..Default::default()
            },
        };
        let mut writer = FileWriter::new(
            self.scan.stores().clone(),
            Arc::new(spec),
            Arc::new(AtomicU64::new(0)),
            None,
        )
        .unwrap();
        writer
            .write(RecordBatch::try_new(Arc::clone(&self.schema), columns).unwrap())
            .await
            .unwrap();
        writer.finish().await.unwrap().remove(0)
    }

    fn request(&self, files: &[WrittenFile]) -> ScanRequest {
        ScanRequest {
            table_schema: Arc::clone(&self.schema),
            files: files.iter().map(|file| self.scan_file(file)).collect(),
            projection: None,
            predicate: None,
            limit: None,
            address: None,
            target_partitions: 2,
            output_ordering: Vec::new(),
            options: ScanOptions::default(),
            sample: None,
        }
    }

    fn scan_file(&self, file: &WrittenFile) -> ScanFile {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.column_statistics[0].min_value = Precision::Exact(file.columns[0].lower.clone().unwrap());
        statistics.column_statistics[0].max_value = Precision::Exact(file.columns[0].upper.clone().unwrap());
        statistics.column_statistics[0].null_count = Precision::Exact(0);
        ScanFile {
            location: file.location.clone(),
            size_bytes: file.size_bytes,
            row_count: file.row_count,
            statistics: Some(Arc::new(statistics)),
            constants: HashMap::new(),
            deleted: None,
            number: 0,
        }
    }
}

async fn run(plan: &Arc<dyn ExecutionPlan>) -> RecordBatch {
    let batches = collect(Arc::clone(plan), SessionContext::new().task_ctx())
        .await
        .unwrap();
    concat_batches(&plan.schema(), &batches).unwrap()
}

fn compare(column: &str, index: usize, op: Operator, value: ScalarValue) -> Option<Arc<dyn PhysicalExpr>> {
    Some(Arc::new(BinaryExpr::new(
        Arc::new(Column::new(column, index)),
        op,
        lit(value),
    )))
}

fn metric(plan: &Arc<dyn ExecutionPlan>, name: &str) -> usize {
    plan.metrics()
        .unwrap()
        .sum_by_name(name)
        .map_or(0, |value| value.as_usize())
}

#[tokio::test]
async fn reads_what_was_written_and_prunes_row_groups() {
    let f = fixture();
    let files = [f.write(1, 25_000).await, f.write(100_001, 5_000).await];
    let plan = f.scan.plan(f.request(&files)).unwrap();
    let rows = run(&plan).await;
    assert_eq!(rows.num_rows(), 30_000);
    assert_eq!(rows.schema(), without_field_ids(&f.schema));
    let statistics = StatisticsContext::new()
        .compute(plan.as_ref(), &StatisticsArgs::new())
        .unwrap();
    assert_eq!(statistics.num_rows, Precision::Exact(30_000));
    assert_eq!(
        statistics.column_statistics[0].max_value,
        Precision::Exact(105_000i64.into())
    );

    for (predicate, rows) in [
        // One row group of three, and the other file not at all.
        (compare("id", 0, Operator::Lt, 5i64.into()), 10_000),
        (
            compare(
                "text",
                1,
                Operator::Eq,
                ScalarValue::Utf8View(Some("text 20500".into())),
            ),
            15_000,
        ),
    ] {
        let mut request = f.request(&files);
        request.predicate = predicate;
        let plan = f.scan.plan(request).unwrap();
        let read = run(&plan).await.num_rows();
        assert!(read > 0 && read <= rows, "{read} of {rows}");
    }
    let counters = f.scan.counters();
    assert_eq!(counters.footer_misses, 2);
    assert!(counters.footer_hits >= 2);
}

#[tokio::test]
async fn rows_that_are_deleted_or_of_another_task_are_not_pruned_by_a_filter() {
    let f = fixture();
    let files = [f.write(1, 25_000).await];
    let mut request = f.request(&files);
    request.files[0].deleted = Some(Arc::new((5..25).collect()));
    let plan = f.scan.plan(request.clone()).unwrap();
    assert_eq!(run(&plan).await.num_rows(), 24_980);
    assert_eq!(metric(&plan, "pushdown_rows_pruned"), 0);

    request.predicate = compare("id", 0, Operator::Gt, 100i64.into());
    request.options.pushdown_filters = true;
    let plan = f.scan.plan(request).unwrap();
    assert_eq!(run(&plan).await.num_rows(), 24_900);
    assert_eq!(metric(&plan, "pushdown_rows_pruned"), 80);
}

#[tokio::test]
async fn pushed_filters_give_exactly_the_rows() {
    let f = fixture();
    let files = [f.write(1, 25_000).await];
    let mut request = f.request(&files);
    request.predicate = compare("id", 0, Operator::Eq, 7i64.into());
    request.options = ScanOptions {
        pushdown_filters: true,
        reorder_filters: true,
    };
    request.projection = Some(vec![1]);
    let rows = run(&f.scan.plan(request).unwrap()).await;
    assert_eq!((rows.num_rows(), rows.num_columns()), (1, 1));
    assert_eq!(rows.column(0).as_string_view().value(0), "text 7");
}

#[tokio::test]
async fn pruning_never_loses_a_nan() {
    let f = fixture();
    let files = [f.write(1, 25_000).await];
    // Above every number in the file: under SQL's order only the NaNs are, in every row group.
    for op in [Operator::Gt, Operator::GtEq] {
        let mut request = f.request(&files);
        request.predicate = compare("x", 2, op, 1e9f64.into());
        request.options.pushdown_filters = true;
        let rows = run(&f.scan.plan(request).unwrap()).await;
        assert_eq!(rows.num_rows(), 25);
        assert!(
            rows.column(2)
                .as_primitive::<Float64Type>()
                .iter()
                .all(|x| x.unwrap().is_nan())
        );
    }
    let mut request = f.request(&files);
    request.predicate = compare("x", 2, Operator::Eq, f64::NAN.into());
    request.options.pushdown_filters = true;
    assert_eq!(run(&f.scan.plan(request).unwrap()).await.num_rows(), 25);
    // Below is still pruned.
    let mut request = f.request(&files);
    request.predicate = compare("x", 2, Operator::Lt, 1.0f64.into());
    assert_eq!(run(&f.scan.plan(request).unwrap()).await.num_rows(), 0);
}

#[tokio::test]
async fn a_session_zone_and_a_widened_column_still_prune() {
    let f = fixture();
    let files = [f.write(1, 25_000).await];
    let zone: Arc<str> = "Europe/Oslo".into();
    let mut fields: Vec<Field> = f.schema.fields().iter().map(|f| Field::clone(f)).collect();
    fields[3] = field(
        "moved",
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone.clone())),
        4,
    );
    fields.swap(0, 3);
    let mut request = f.request(&files);
    request.files[0].statistics = None;
    request.table_schema = Arc::new(Schema::new(fields));
    request.predicate = compare(
        "moved",
        0,
        Operator::Lt,
        ScalarValue::TimestampMicrosecond(Some(10), Some(zone)),
    );
    let plan = f.scan.plan(request.clone()).unwrap();
    let rows = run(&plan).await;
    assert_eq!(rows.num_rows(), 10_000, "row groups pruned through the zone's cast");
    assert_eq!(rows.schema(), without_field_ids(&request.table_schema));
    assert_eq!(rows.column(3).as_primitive::<Int64Type>().value(0), 1);
    assert!(metric(&plan, "bytes_scanned") < files[0].size_bytes as usize / 2);
}

#[tokio::test]
async fn constants_stand_in_for_columns_a_file_lacks() {
    let f = fixture();
    let files = [f.write(1, 10).await];
    let mut request = f.request(&files);
    let mut fields: Vec<Field> = f.schema.fields().iter().map(|f| Field::clone(f)).collect();
    fields.push(field("region", DataType::Utf8View, 9));
    fields.push(field("added", DataType::Int64, 10));
    request.table_schema = Arc::new(Schema::new(fields));
    request.files[0].statistics = None;
    request.files[0].constants = HashMap::from([(9, ScalarValue::from("north"))]);
    request.projection = Some(vec![4, 5, 0]);
    let rows = run(&f.scan.plan(request.clone()).unwrap()).await;
    assert!(rows.column(0).as_string_view().iter().all(|v| v == Some("north")));
    assert_eq!(rows.column(1).null_count(), 10);
    assert_eq!(rows.column(2).as_primitive::<Int64Type>().value(9), 10);
    request.predicate = compare("region", 4, Operator::Eq, ScalarValue::Utf8View(Some("south".into())));
    assert_eq!(run(&f.scan.plan(request).unwrap()).await.num_rows(), 0);
}

#[tokio::test]
async fn order_is_kept_when_files_do_not_overlap() {
    let f = fixture();
    let files = [f.write(300, 100).await, f.write(1, 100).await, f.write(600, 100).await];
    let by_id = || LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(Column::new("id", 0)))]).unwrap();
    let mut request = f.request(&files);
    request.target_partitions = 1;
    request.output_ordering = vec![by_id()];
    let plan = f.scan.plan(request.clone()).unwrap();
    assert!(plan.properties().output_ordering().is_some());
    let ids = run(&plan).await;
    assert!(ids.column(0).as_primitive::<Int64Type>().values().is_sorted());
    // Two that overlap cannot follow one another.
    request.files.push(f.scan_file(&f.write(350, 10).await));
    let plan = f.scan.plan(request).unwrap();
    assert!(plan.properties().output_ordering().is_none());
}

#[tokio::test]
async fn files_are_shared_out_and_no_files_are_no_rows() {
    let f = fixture();
    let files = [
        f.write(1, 9_000).await,
        f.write(10_001, 100).await,
        f.write(20_001, 100).await,
    ];
    let plan = f.scan.plan(f.request(&files)).unwrap();
    let streams = execute_stream_partitioned(Arc::clone(&plan), SessionContext::new().task_ctx()).unwrap();
    assert_eq!(streams.len(), 2);
    let empty = f.scan.plan(f.request(&[])).unwrap();
    assert_eq!(run(&empty).await.num_rows(), 0);
    assert_eq!(
        StatisticsContext::new()
            .compute(empty.as_ref(), &StatisticsArgs::new())
            .unwrap()
            .num_rows,
        Precision::Exact(0)
    );
}

#[tokio::test]
async fn bad_files_are_named() {
    let f = fixture();
    let mut file = f.write(1, 10_000).await;
    let fails = async |file: &WrittenFile| {
        // A scan of its own: the first one's footer must not help.
        let scan = ParquetScan::new(f.scan.stores().clone());
        let plan = scan.plan(f.request(std::slice::from_ref(file))).unwrap();
        let error = collect(plan, SessionContext::new().task_ctx()).await.unwrap_err();
        Error::from(error)
    };
    let whole = std::fs::read(&file.location).unwrap();
    std::fs::write(&file.location, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(
        fails(&file).await.kind(),
        ErrorKind::CorruptFile | ErrorKind::Io
    ));
    file.size_bytes = (whole.len() / 2) as u64;
    let error = fails(&file).await;
    assert_eq!(
        (error.kind(), error.path()),
        (ErrorKind::CorruptFile, Some(file.location.as_str()))
    );
    std::fs::write(&file.location, b"PAR1").unwrap();
    file.size_bytes = 4;
    assert_eq!(fails(&file).await.kind(), ErrorKind::CorruptFile);
    file.size_bytes = whole.len() as u64;
    std::fs::remove_file(&file.location).unwrap();
    let error = fails(&file).await;
    assert_eq!(
        (error.kind(), error.path()),
        (ErrorKind::NotFound, Some(file.location.as_str()))
    );
    file.location = "/etc/passwd".into();
    assert_eq!(
        f.scan.plan(f.request(&[file])).unwrap_err().kind(),
        ErrorKind::Forbidden
    );
}

#[tokio::test]
async fn a_users_own_file_is_read_anew_when_it_changes() {
    let f = fixture();
    let first = f.write(1, 10).await;
    let second = f.write(100, 30).await;
    let name = format!("{}/own.parquet", f.base);
    for (file, rows, lowest) in [(&first, 10, 1i64), (&second, 30, 100)] {
        std::fs::copy(&file.location, &name).unwrap();
        let own = f.scan.describe(&name).await.unwrap();
        assert_eq!(
            (own.row_count, own.schema.field(1).data_type()),
            (rows, &DataType::Utf8View)
        );
        assert_eq!(
            own.statistics.column_statistics[0].min_value,
            Precision::Exact(lowest.into())
        );
        // The widened maximum of a float column must not answer max(x).
        let highest = &own.statistics.column_statistics[2].max_value;
        assert!(!matches!(highest, Precision::Exact(_)), "{highest:?}");
        let plan = f
            .scan
            .plan_file(&own, Some(vec![0]), None, None, 2, ScanOptions::default())
            .unwrap();
        let read = run(&plan).await;
        assert_eq!(read.num_rows() as u64, rows);
        assert_eq!(read.column(0).as_primitive::<Int64Type>().value(0), lowest);
    }
    let outside = crate::parquet_schema(f.scan.stores(), "/etc/passwd").await.unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn small_unsigned_numbers_of_a_users_file_are_bigint() {
    let f = fixture();
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::UInt32, false)]));
    let numbers = arrow::array::UInt32Array::from(vec![7, u32::MAX]);
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(numbers)]).unwrap();
    let name = format!("{}/unsigned.parquet", f.base);
    let file = std::fs::File::create(&name).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema, None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let own = f.scan.describe(&name).await.unwrap();
    assert_eq!(own.schema.field(0).data_type(), &DataType::Int64);
    let highest = &own.statistics.column_statistics[0].max_value;
    assert_eq!(highest, &Precision::Exact(i64::from(u32::MAX).into()));
    let plan = f
        .scan
        .plan_file(&own, None, None, None, 2, ScanOptions::default())
        .unwrap();
    let read = run(&plan).await;
    assert_eq!(
        read.column(0).as_primitive::<Int64Type>().values().to_vec(),
        [7, i64::from(u32::MAX)]
    );
}

#[tokio::test]
async fn deleted_rows_are_skipped_whatever_else_is_pruned() {
    let f = fixture();
    let files = [f.write(0, 25_000).await, f.write(100_000, 5_000).await];
    for (deleted, pushdown) in [(1, false), (7, false), (7, true), (25_000, true), (2, true)] {
        let is_deleted = |position: u64| position.is_multiple_of(deleted) || (9_990..10_010).contains(&position);
        for (op, bound) in [
            (None, 0),
            (Some(Operator::Gt), 12_345),
            (Some(Operator::Lt), 9_995),
            (Some(Operator::GtEq), 104_000),
        ] {
            let mut request = f.request(&files);
            for (number, file) in request.files.iter_mut().enumerate() {
                let rows: RoaringTreemap = (0..file.row_count).filter(|row| is_deleted(*row)).collect();
                file.deleted = Some(Arc::new(rows));
                file.number = number as i32 + 5;
            }
            request.address = Some(RowAddress {
                file: "f".to_owned(),
                position: "p".to_owned(),
            });
            request.options.pushdown_filters = pushdown;
            request.projection = Some(vec![5, 0, 4]);
            request.predicate = op.and_then(|op| compare("id", 0, op, ScalarValue::Int64(Some(bound))));
            let plan = f.scan.plan(request).unwrap();
            let passes = |id: i64| match op {
                None => true,
                Some(Operator::Gt) => id > bound,
                Some(Operator::Lt) => id < bound,
                _ => id >= bound,
            };
            let mut expected: Vec<(i32, i64, i64)> = Vec::new();
            for (number, start, rows) in [(5, 0, 25_000), (6, 100_000, 5_000)] {
                let live = (0..rows).filter(|position| !is_deleted(*position as u64) && passes(start + position));
                expected.extend(live.map(|position| (number, position, start + position)));
            }
            let known = StatisticsContext::new()
                .compute(plan.as_ref(), &StatisticsArgs::new())
                .unwrap();
            if op.is_none() {
                assert_eq!(known.num_rows, Precision::Exact(expected.len()));
            }
            let rows = run(&plan).await;
            let positions = rows.column(0).as_primitive::<Int64Type>();
            let ids = rows.column(1).as_primitive::<Int64Type>();
            let numbers = rows.column(2).as_primitive::<arrow::datatypes::Int32Type>();
            let mut given: Vec<(i32, i64, i64)> = (0..rows.num_rows())
                .map(|row| (numbers.value(row), positions.value(row), ids.value(row)))
                .filter(|(_, _, id)| passes(*id))
                .collect();
            given.sort();
            assert!(
                given == expected,
                "{deleted} {op:?} {pushdown}: {} for {}",
                given.len(),
                expected.len()
            );
        }
    }
}

#[tokio::test]
async fn equality_deletes_become_positions() {
    let f = fixture();
    let file = f.write(0, 3_000).await;
    // Rows 10, 500 and 2,999 are there, the other is not; x is NaN in row 1,000.
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![10, 500, 70_000, 2_999, 1_000])),
        Arc::new(Float64Array::from(vec![10.0, 500.0, 1.0, 2_999.0, f64::NAN])),
    ];
    let schema = Arc::new(Schema::new(vec![f.schema.field(0).clone(), f.schema.field(2).clone()]));
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), None).unwrap();
    writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    let bytes = writer.into_inner().unwrap();
    let location = format!("{}/deletes.parquet", f.base);
    let size_bytes = bytes.len() as u64;
    f.scan.stores().put(&location, bytes.into()).await.unwrap();
    let delete = |field_ids: Vec<i32>| crate::RowDeletes::Equality {
        location: location.clone(),
        size_bytes,
        row_count: 5,
        field_ids,
    };
    let file = f.scan_file(&file);
    let rows = f
        .scan
        .deleted_rows(&f.schema, &file, &[delete(vec![1, 3])])
        .await
        .unwrap();
    assert_eq!(rows.iter().collect::<Vec<_>>(), [10, 500, 1_000, 2_999]);
}
