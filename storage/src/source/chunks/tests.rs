//! The path through the cache against Parquet's own, on random tables, deletes and filters.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, DynamicFilterPhysicalExpr, IsNullExpr, LikeExpr, NotExpr, in_list, lit,
};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, collect, collect_partitioned};
use datafusion::prelude::SessionContext;
use roaring::RoaringTreemap;

use super::*;
use crate::object::{StoreOptions, Stores};
use crate::source::{ParquetScan, RowAddress, ScanFile, ScanOptions, ScanRequest};
use crate::writer::{FileWriter, WriteOptions, WriteSpec, WrittenFile};

/// A small generator: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn column<T>(&mut self, rows: usize, nulls: bool, mut value: impl FnMut(&mut Self) -> T) -> Vec<Option<T>> {
        (0..rows)
            .map(|_| (!(nulls && self.one_in(7))).then(|| value(self)))
            .collect()
    }
}

fn field(name: &str, data_type: DataType, id: i32) -> Field {
    let metadata = [(crate::FIELD_ID_KEY.to_owned(), id.to_string())].into();
    Field::new(name, data_type, true).with_metadata(metadata)
}

fn list_type() -> DataType {
    DataType::List(Arc::new(field("element", DataType::Int32, 20)))
}

/// As it was when the files were written.
fn written_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64, 1),
        field("few", DataType::Int32, 2),
        field("many", DataType::Int64, 3),
        field("price", DataType::Decimal128(12, 2), 4),
        field("huge", DataType::Decimal128(38, 0), 5),
        field("day", DataType::Date32, 6),
        field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), 7),
        field("kind", DataType::Utf8View, 8),
        field("words", DataType::Utf8View, 9),
        field("x", DataType::Float64, 10),
        field("flag", DataType::Boolean, 11),
        field("list", list_type(), 12),
    ]))
}

/// As it is now: a column widened, one renamed, one added, one in another zone, and in another order.
fn table_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64, 1),
        field("sort", DataType::Utf8View, 8),
        field("few", DataType::Int64, 2),
        field("many", DataType::Int64, 3),
        field("price", DataType::Decimal128(15, 2), 4),
        field("huge", DataType::Decimal128(38, 0), 5),
        field("day", DataType::Date32, 6),
        field(
            "at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Oslo".into())),
            7,
        ),
        field("words", DataType::Utf8View, 9),
        field("x", DataType::Float64, 10),
        field("flag", DataType::Boolean, 11),
        field("list", list_type(), 12),
        field("added", DataType::Int64, 13),
    ]))
}

fn random_batch(random: &mut Random, first: i64, rows: usize) -> RecordBatch {
    let nulls = random.one_in(2);
    let kinds = 1 + random.below(40);
    let width = random.below(60);
    let span = 1 + random.below(1 << width);
    let base = random.next() as i64 / 4;
    let is_huge = random.one_in(2);
    let ids: Vec<i64> = (0..rows as i64).map(|row| first + row).collect();
    let lists = random.column(rows, nulls, |random| {
        let length = random.below(4) as usize;
        (0..length).map(|_| Some(random.below(9) as i32)).collect::<Vec<_>>()
    });
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let (_, offsets, values, list_nulls) = lists.into_parts();
    let DataType::List(element) = list_type() else {
        unreachable!("it is a list");
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.clone())),
        Arc::new(Int32Array::from(random.column(rows, nulls, |r| r.below(5) as i32 - 2))),
        Arc::new(Int64Array::from(
            random.column(rows, nulls, |r| base.wrapping_add(r.below(span) as i64)),
        )),
        Arc::new(
            Decimal128Array::from(random.column(rows, nulls, |r| i128::from(r.below(100_000)) - 500))
                .with_data_type(DataType::Decimal128(12, 2)),
        ),
        Arc::new(
            Decimal128Array::from(random.column(rows, nulls, |r| {
                let value = i128::from(r.next()) - (1 << 63);
                if is_huge && r.one_in(5000) {
                    value * (1 << 50)
                } else {
                    value
                }
            }))
            .with_data_type(DataType::Decimal128(38, 0)),
        ),
        // Clustered, so that blocks and row groups differ.
        Arc::new(Date32Array::from(
            ids.iter()
                .map(|id| (id / 500) as i32 + random.below(9) as i32)
                .collect::<Vec<_>>(),
        )),
        Arc::new(
            TimestampMicrosecondArray::from(random.column(rows, nulls, |r| r.below(1 << 50) as i64))
                .with_timezone("UTC"),
        ),
        Arc::new(StringViewArray::from_iter(
            random.column(rows, nulls, |r| format!("kind number {}", r.below(kinds))),
        )),
        Arc::new(StringViewArray::from_iter(random.column(rows, nulls, |r| {
            format!("{} words {}", r.next(), "and ".repeat(r.below(5) as usize))
        }))),
        Arc::new(Float64Array::from(random.column(rows, nulls, |r| match r.below(50) {
            0 => f64::NAN,
            other => other as f64 / 4.0,
        }))),
        Arc::new(BooleanArray::from(random.column(rows, nulls, |r| r.one_in(3)))),
        Arc::new(ListArray::new(element, offsets, values, list_nulls)),
    ];
    RecordBatch::try_new(written_schema(), columns).unwrap()
}

fn column(schema: &Schema, name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, schema.index_of(name).unwrap()))
}

fn binary(left: Arc<dyn PhysicalExpr>, op: Operator, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, op, right))
}

/// A condition on one or two columns.
fn random_condition(random: &mut Random, schema: &Schema, depth: usize) -> Arc<dyn PhysicalExpr> {
    use Operator as O;
    if depth > 0 && random.one_in(4) {
        let op = if random.one_in(3) { O::And } else { O::Or };
        let left = random_condition(random, schema, depth - 1);
        let right = random_condition(random, schema, depth - 1);
        return binary(left, op, right);
    }
    if random.one_in(10) {
        return Arc::new(NotExpr::new(random_condition(random, schema, 0)));
    }
    let ops = [O::Eq, O::NotEq, O::Lt, O::LtEq, O::Gt, O::GtEq, O::IsDistinctFrom];
    let op = ops[random.below(ops.len() as u64) as usize];
    let number = |random: &mut Random| random.below(6) as i64 - 3;
    let text = |random: &mut Random| ScalarValue::Utf8View(Some(format!("kind number {}", random.below(40))));
    let compare = |name: &str, value: ScalarValue| binary(column(schema, name), op, lit(value));
    match random.below(14) {
        0 => compare("few", number(random).into()),
        1 => compare("id", (random.below(40_000) as i64).into()),
        2 => compare(
            "price",
            ScalarValue::Decimal128(Some(i128::from(random.below(110_000)) - 900), 15, 2),
        ),
        3 => compare(
            "huge",
            ScalarValue::Decimal128(Some(i128::from(random.next()) << random.below(60)), 38, 0),
        ),
        4 => compare("day", ScalarValue::Date32(Some(random.below(90) as i32))),
        5 => compare(
            "at",
            ScalarValue::TimestampMicrosecond(Some(random.below(1 << 50) as i64), Some("Europe/Oslo".into())),
        ),
        6 => compare("sort", text(random)),
        7 => compare("x", ScalarValue::Float64(Some(random.below(50) as f64 / 4.0))),
        8 => {
            let names = [
                "few", "many", "price", "huge", "at", "sort", "words", "x", "flag", "list", "added",
            ];
            let name = names[random.below(names.len() as u64) as usize];
            Arc::new(IsNullExpr::new(column(schema, name)))
        }
        9 => {
            let pattern = ["%1%", "kind%", "%and and%", "%number 3"][random.below(4) as usize];
            let name = if random.one_in(2) { "sort" } else { "words" };
            let pattern = lit(ScalarValue::Utf8View(Some(pattern.into())));
            Arc::new(LikeExpr::new(random.one_in(2), false, column(schema, name), pattern))
        }
        10 => {
            let values = (0..1 + random.below(4)).map(|_| lit(text(random))).collect();
            in_list(column(schema, "sort"), values, &random.one_in(2), schema).unwrap()
        }
        11 => binary(column(schema, "few"), op, column(schema, "id")),
        12 => compare("added", 3i64.into()),
        _ => column(schema, "flag"),
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    base: String,
    cached: ParquetScan,
    plain: ParquetScan,
}

fn fixture(chunk_cache_bytes: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap().to_str().unwrap().to_owned();
    let stores = |chunk_cache_bytes| {
        Stores::new(StoreOptions {
            local_roots: vec![base.clone().into()],
            chunk_cache_bytes,
            ..Default::default()
        })
        .unwrap()
    };
    Fixture {
        cached: ParquetScan::new(stores(chunk_cache_bytes)),
        plain: ParquetScan::new(stores(0)),
        _dir: dir,
        base,
    }
}

impl Fixture {
    async fn write(&self, batch: RecordBatch, row_group_rows: usize) -> WrittenFile {
        let spec = WriteSpec {
            schema: written_schema(),
            partition: Vec::new(),
            sort: Vec::new(),
            data_prefix: format!(
                "{}/f-{}-",
                self.base,
                batch.column(0).to_data().buffers()[0].as_ptr() as usize
            ),
            options: WriteOptions {
                row_group_rows,
                ..Default::default()
            },
        };
        let stores = self.plain.stores().clone();
        let mut writer = FileWriter::new(stores, Arc::new(spec), Arc::new(AtomicU64::new(0)), None).unwrap();
        writer.write(batch).await.unwrap();
        writer.finish().await.unwrap().remove(0)
    }
}

async fn rows_of(scan: &ParquetScan, request: &ScanRequest, tasks: usize) -> RecordBatch {
    let plan: Arc<dyn ExecutionPlan> = scan.plan(request.clone()).unwrap();
    let mut config = ConfigOptions::new();
    config.optimizer.repartition_file_min_size = 1;
    let shared_out = plan.repartitioned(tasks, &config).unwrap();
    let plan = shared_out.unwrap_or(plan);
    let batches = collect_partitioned(Arc::clone(&plan), SessionContext::new().task_ctx())
        .await
        .unwrap()
        .concat();
    let rows = concat_batches(&plan.schema(), &batches).unwrap();
    match rows.column_by_name("id").filter(|_| tasks > 1) {
        // Whichever task is free takes the next part of a file.
        Some(ids) => take_record_batch(&rows, &sort_to_indices(ids, None, None).unwrap()).unwrap(),
        None => rows,
    }
}

async fn compare_both(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Some have room for everything, some for little.
    let f = fixture(if random.one_in(3) { 200 << 10 } else { 64 << 20 });
    let mut files = Vec::new();
    for number in 0..2 {
        let rows = 1 + random.below(20_000) as usize;
        let batch = random_batch(&mut random, number * 20_000, rows);
        let row_group_rows = [3_000, 9_000, 30_000][random.below(3) as usize];
        let file = f.write(batch, row_group_rows).await;
        let mut deleted = RoaringTreemap::new();
        if random.one_in(2) {
            for _ in 0..random.below(2_000) {
                let start = random.below(rows as u64 + 10);
                deleted.insert_range(start..start + random.below(20));
            }
        }
        files.push(ScanFile {
            location: file.location,
            size_bytes: file.size_bytes,
            row_count: file.row_count,
            statistics: None,
            constants: HashMap::new(),
            deleted: (!deleted.is_empty()).then(|| Arc::new(deleted)),
            number: 0,
        });
    }
    let schema = table_schema();
    for _ in 0..12 {
        let conditions = random.below(4);
        let predicate = (0..conditions)
            .map(|_| random_condition(&mut random, &schema, 2))
            .reduce(|a, b| binary(a, Operator::And, b));
        let mut projection: Vec<usize> = (0..schema.fields().len()).filter(|_| random.one_in(2)).collect();
        if random.one_in(2) {
            projection.reverse();
        }
        let tasks = 1 + random.below(4) as usize;
        if tasks > 1 && !projection.contains(&0) {
            projection.push(0);
        }
        let request = ScanRequest {
            table_schema: Arc::clone(&schema),
            files: files.clone(),
            projection: Some(projection),
            predicate,
            limit: None,
            address: None,
            // One after the other, so that their rows come in one order.
            target_partitions: 1,
            output_ordering: Vec::new(),
            options: ScanOptions {
                pushdown_filters: true,
                reorder_filters: false,
            },
            sample: None,
        };
        let expected = rows_of(&f.plain, &request, tasks).await;
        for state in ["cold", "hot"] {
            let found = rows_of(&f.cached, &request, tasks).await;
            assert_eq!(
                found.num_rows(),
                expected.num_rows(),
                "{state}, seed {seed}: {:?}",
                request.predicate
            );
            assert!(found == expected, "{state}, seed {seed}: {:?}", request.predicate);
        }
    }
}

#[tokio::test]
async fn gives_what_parquets_reader_gives() {
    for seed in 1..=12 {
        compare_both(seed).await;
    }
}

#[tokio::test]
async fn decodes_once_and_gives_memory_back() {
    let f = fixture(64 << 20);
    let mut random = Random(7);
    let file = f.write(random_batch(&mut random, 0, 20_000), 10_000).await;
    let request = ScanRequest {
        table_schema: written_schema(),
        files: vec![ScanFile {
            location: file.location,
            size_bytes: file.size_bytes,
            row_count: file.row_count,
            statistics: None,
            constants: HashMap::new(),
            deleted: None,
            number: 0,
        }],
        projection: Some(vec![0, 8]),
        predicate: None,
        limit: None,
        address: None,
        target_partitions: 2,
        output_ordering: Vec::new(),
        options: ScanOptions::default(),
        sample: None,
    };
    // Two columns of two row groups, whoever comes first.
    let (a, b) = tokio::join!(rows_of(&f.cached, &request, 1), rows_of(&f.cached, &request, 1));
    assert_eq!((a.num_rows(), b.num_rows()), (20_000, 20_000));
    rows_of(&f.cached, &request, 1).await;
    let counters = f.cached.chunk_counters();
    assert_eq!(counters.hits + counters.misses, 12);
    assert!(counters.hits >= 4, "{counters:?}");
    assert!(counters.bytes > 100_000, "{counters:?}");

    let queries = Arc::new(datafusion::execution::memory_pool::GreedyMemoryPool::new(8 << 20));
    let memory = f.cached.share_memory(queries, 8 << 20);
    let reservation = datafusion::execution::memory_pool::MemoryConsumer::new("a query").register(&memory);
    reservation.try_grow(8 << 20).unwrap();
    let after = f.cached.chunk_counters();
    assert_eq!(after.bytes, 0, "{after:?}");
    assert_eq!(after.yielded_bytes, counters.bytes);
    // There is no room: it is decoded, and not kept.
    assert_eq!(rows_of(&f.cached, &request, 1).await.num_rows(), 20_000);
    assert_eq!(f.cached.chunk_counters().bytes, 0);
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let f = fixture(64 << 20);
    let file = f.write(random_batch(&mut Random(3), 0, 5_000), 30_000).await;
    let mut content = std::fs::read(&file.location).unwrap();
    let half = content.len() / 2;
    content[4..half].iter_mut().for_each(|byte| *byte ^= 0xa5);
    std::fs::write(&file.location, content).unwrap();
    let request = ScanRequest {
        table_schema: written_schema(),
        files: vec![ScanFile {
            location: file.location.clone(),
            size_bytes: file.size_bytes,
            row_count: file.row_count,
            statistics: None,
            constants: HashMap::new(),
            deleted: None,
            number: 0,
        }],
        projection: Some(vec![0, 1, 2]),
        predicate: None,
        limit: None,
        address: None,
        target_partitions: 1,
        output_ordering: Vec::new(),
        options: ScanOptions::default(),
        sample: None,
    };
    let plan = f.cached.plan(request).unwrap();
    let error = Error::from(collect(plan, SessionContext::new().task_ctx()).await.unwrap_err());
    assert_eq!(
        (error.kind(), error.path()),
        (crate::ErrorKind::CorruptFile, Some(file.location.as_str()))
    );
}

/// With the addresses of rows, Parquet's own reader reads all: it panics at some page headers, which must end in an error.
#[tokio::test]
async fn a_damaged_page_header_is_an_error() {
    let f = fixture(64 << 20);
    let file = f.write(random_batch(&mut Random(3), 0, 500), 30_000).await;
    let content = std::fs::read(&file.location).unwrap();
    let mut refused = 0;
    for place in 4..60 {
        for wrong in [0xff, 0x7f, 0x26] {
            let mut damaged = content.clone();
            damaged[place] = wrong;
            let location = format!("{}/damaged-{place}-{wrong}.parquet", f.base);
            std::fs::write(&location, damaged).unwrap();
            let request = ScanRequest {
                table_schema: written_schema(),
                files: vec![ScanFile {
                    location: location.clone(),
                    size_bytes: file.size_bytes,
                    row_count: file.row_count,
                    statistics: None,
                    constants: HashMap::new(),
                    deleted: None,
                    number: 0,
                }],
                projection: Some(vec![0]),
                predicate: None,
                limit: None,
                address: Some(RowAddress {
                    file: "file".to_owned(),
                    position: "position".to_owned(),
                }),
                target_partitions: 1,
                output_ordering: Vec::new(),
                options: ScanOptions::default(),
                sample: None,
            };
            let plan = f.cached.plan(request).unwrap();
            // A panic would end the test.
            let read = collect(plan, SessionContext::new().task_ctx()).await;
            refused += usize::from(read.is_err());
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn follows_a_filter_that_changes() {
    let f = fixture(64 << 20);
    let mut random = Random(11);
    let file = f.write(random_batch(&mut random, 0, 20_000), 30_000).await;
    let schema = written_schema();
    let id = column(&schema, "id");
    let filter = Arc::new(DynamicFilterPhysicalExpr::new(vec![Arc::clone(&id)], lit(true)));
    let mut request = ScanRequest {
        table_schema: Arc::clone(&schema),
        files: vec![ScanFile {
            location: file.location,
            size_bytes: file.size_bytes,
            row_count: file.row_count,
            statistics: None,
            constants: HashMap::new(),
            deleted: None,
            number: 0,
        }],
        projection: Some(vec![0, 7]),
        predicate: Some(Arc::clone(&filter) as _),
        limit: None,
        address: None,
        target_partitions: 1,
        output_ordering: Vec::new(),
        options: ScanOptions::default(),
        sample: None,
    };
    assert_eq!(rows_of(&f.cached, &request, 1).await.num_rows(), 20_000);
    filter
        .update(binary(Arc::clone(&id), Operator::Lt, lit(100i64)))
        .unwrap();
    request.predicate = Some(filter as _);
    assert_eq!(rows_of(&f.cached, &request, 1).await.num_rows(), 100);
}

/// What is computed of a text, of rows as they come and of a chunk's dictionary.
#[tokio::test]
async fn computes_of_texts_what_it_would_of_rows() {
    let coded = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8View));
    for (seed, nulls) in [(5, false), (6, true)] {
        let mut random = Random(seed);
        let rows = 30_000;
        let mut batch = random_batch(&mut random, 0, rows);
        // Two with many texts of which each is there ten times, and one that is no number.
        let text = |row: usize, base: usize| format!("{}", (row * 7919) % 3_000 + base);
        let texts = |base| {
            (0..rows).map(move |row| match row % 13 {
                3 if nulls => None,
                5 => Some("none".to_owned()),
                _ => Some(text(row, base)),
            })
        };
        let mut columns = batch.columns().to_vec();
        columns[7] = Arc::new(StringViewArray::from_iter(texts(0)));
        columns[8] = Arc::new(StringViewArray::from_iter(texts(1_000_000_000_000)));
        batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let f = fixture(64 << 20);
        let file = f.write(batch, 30_000).await;
        let schema = written_schema();
        let text = |name: &str| ScalarValue::Utf8View(Some(name.to_owned()));
        let other = binary(column(&schema, "kind"), Operator::NotEq, lit(text("none")));
        let request = |predicate| ScanRequest {
            table_schema: written_schema(),
            files: vec![ScanFile {
                location: file.location.clone(),
                size_bytes: file.size_bytes,
                row_count: file.row_count,
                statistics: None,
                constants: HashMap::new(),
                deleted: None,
                number: 0,
            }],
            projection: None,
            predicate,
            limit: None,
            address: None,
            target_partitions: 1,
            output_ordering: Vec::new(),
            options: ScanOptions {
                pushdown_filters: true,
                reorder_filters: false,
            },
            sample: None,
        };
        let longer = |name: &str| binary(column(&schema, name), Operator::StringConcat, lit(text(" and more")));
        let cast = |expr, data_type: &DataType| Arc::new(CastExpr::new(expr, data_type.clone(), None)) as _;
        let like = LikeExpr::new(false, false, column(&schema, "words"), lit(text("%7%")));
        let exprs: Vec<Arc<dyn PhysicalExpr>> = vec![
            column(&schema, "id"),
            longer("kind"),
            cast(longer("words"), &coded),
            Arc::new(like),
            column(&schema, "words"),
            // It fails for a text that no row has which is asked for.
            cast(column(&schema, "kind"), &DataType::Int64),
        ];
        let given =
            async |scan: &ParquetScan, predicate: Option<Arc<dyn PhysicalExpr>>, exprs: &[Arc<dyn PhysicalExpr>]| {
                let plan = scan.plan(request(predicate)).unwrap();
                let exprs = exprs.iter().enumerate();
                let exprs = exprs.map(|(number, expr)| ProjectionExpr::new(Arc::clone(expr), format!("e{number}")));
                let projection = ProjectionExec::try_new(exprs.collect::<Vec<_>>(), Arc::clone(&plan)).unwrap();
                let plan = plan.try_swapping_with_projection(&projection).unwrap().unwrap();
                assert!(plan.is::<DataSourceExec>(), "the scan should compute it");
                let batches = collect(Arc::clone(&plan), SessionContext::new().task_ctx()).await?;
                let rows = concat_batches(&plan.schema(), &batches)?;
                let columns = rows.columns().iter();
                let columns = columns.map(|array| match array.data_type() {
                    DataType::Dictionary(..) => arrow::compute::cast(array, &DataType::Utf8View).unwrap(),
                    _ => Arc::clone(array),
                });
                DfResult::<Vec<ArrayRef>>::Ok(columns.collect())
            };
        for exprs in [&exprs[..], &exprs[..3], &exprs[2..3]] {
            let expected = given(&f.plain, Some(Arc::clone(&other)), exprs).await.unwrap();
            for _ in ["cold", "hot"] {
                let found = given(&f.cached, Some(Arc::clone(&other)), exprs).await.unwrap();
                assert_eq!(found, expected);
            }
        }
        given(&f.cached, None, &exprs).await.unwrap_err();
        let found = given(&f.cached, None, &exprs[..5]).await.unwrap();
        assert_eq!(found, given(&f.plain, None, &exprs[..5]).await.unwrap());
    }
}
