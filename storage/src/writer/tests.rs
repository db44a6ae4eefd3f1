use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Field, Fields, Int32Type, Int64Type, IntervalMonthDayNano, IntervalUnit, Schema, TimeUnit,
};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::scalar::ScalarValue;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{LogicalType, Repetition};
use parquet::file::metadata::PageIndexPolicy;

use super::{FileWriter, WriteOptions, WriteSpec, WrittenFile};
use crate::error::{ErrorKind, Result};
use crate::object::{StoreOptions, Stores};
use crate::transform::Transform;

pub(crate) fn with_id(field: Field, id: i32) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(crate::FIELD_ID_KEY.to_owned(), id.to_string());
    field.with_metadata(metadata)
}

fn uuid_field(name: &str) -> Field {
    let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
    Field::new(name, DataType::FixedSizeBinary(16), true).with_metadata(metadata)
}

struct Fixture {
    dir: tempfile::TempDir,
    stores: Stores,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        local_roots: vec![dir.path().to_owned()],
        ..Default::default()
    };
    Fixture {
        stores: Stores::new(options).unwrap(),
        dir,
    }
}

impl Fixture {
    fn spec(&self, schema: Schema) -> WriteSpec {
        WriteSpec {
            schema: Arc::new(schema),
            partition: Vec::new(),
            sort: Vec::new(),
            data_prefix: format!(
                "file://{}/t/data/ab12/txn-",
                self.dir.path().canonicalize().unwrap().display()
            ),
            options: WriteOptions::default(),
        }
    }

    fn writer(&self, spec: WriteSpec) -> FileWriter {
        FileWriter::new(self.stores.clone(), Arc::new(spec), Arc::new(AtomicU64::new(0)), None).unwrap()
    }

    async fn write(&self, spec: WriteSpec, batches: Vec<RecordBatch>) -> Result<Vec<WrittenFile>> {
        let mut writer = self.writer(spec);
        for batch in batches {
            writer.write(batch).await?;
        }
        writer.finish().await
    }

    fn count(&self) -> usize {
        let list = std::fs::read_dir(self.dir.path().join("t/data/ab12"));
        list.map_or(0, |entries| entries.count())
    }
}

fn open(file: &WrittenFile) -> ParquetRecordBatchReaderBuilder<std::fs::File> {
    let opened = std::fs::File::open(file.location.trim_start_matches("file://")).unwrap();
    assert_eq!(opened.metadata().unwrap().len(), file.size_bytes);
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(&opened, options).unwrap();
    ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata)
}

fn read(file: &WrittenFile) -> RecordBatch {
    let reader = open(file).build().unwrap();
    let schema = reader.schema();
    let batches: Vec<_> = reader.map(|b| b.unwrap()).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// Three rows of every type: a value, an extreme value, null.
fn all_types() -> RecordBatch {
    let tz: Arc<str> = Arc::from("Europe/Oslo");
    let us = TimeUnit::Microsecond;
    let long = "ü".repeat(400);
    let s_fields: Fields = vec![
        with_id(Field::new("a", DataType::Int16, true), 21),
        with_id(Field::new("b", DataType::Utf8View, true), 22),
    ]
    .into();
    let element = Arc::new(with_id(Field::new("item", DataType::Int16, true), 24));
    let uuids =
        FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([9u8; 16]), Some([1u8; 16]), None].into_iter(), 16)
            .unwrap();
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("bool", DataType::Boolean, true),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ),
        (
            Field::new("small", DataType::Int16, true),
            Arc::new(Int16Array::from(vec![Some(7), Some(i16::MIN), None])),
        ),
        (
            Field::new("int", DataType::Int32, true),
            Arc::new(Int32Array::from(vec![Some(7), Some(i32::MIN), None])),
        ),
        (
            Field::new("long", DataType::Int64, true),
            Arc::new(Int64Array::from(vec![Some(7), Some(i64::MAX), None])),
        ),
        (
            Field::new("real", DataType::Float32, true),
            Arc::new(Float32Array::from(vec![Some(1.5), Some(f32::NAN), None])),
        ),
        (
            Field::new("double", DataType::Float64, true),
            Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NEG_INFINITY), None])),
        ),
        (
            Field::new("dec9", DataType::Decimal128(9, 2), true),
            Arc::new(
                Decimal128Array::from(vec![Some(-1), Some(-999_999_999), None])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ),
        (
            Field::new("dec18", DataType::Decimal128(18, 0), true),
            Arc::new(
                Decimal128Array::from(vec![Some(1), Some(-2), None])
                    .with_precision_and_scale(18, 0)
                    .unwrap(),
            ),
        ),
        (
            Field::new("dec38", DataType::Decimal128(38, 10), true),
            Arc::new(
                Decimal128Array::from(vec![Some(10i128.pow(37)), Some(-(10i128.pow(37))), None])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        (
            Field::new("text", DataType::Utf8View, true),
            Arc::new(StringViewArray::from(vec![Some("z"), Some(long.as_str()), None])),
        ),
        (
            Field::new("bytes", DataType::BinaryView, true),
            Arc::new(BinaryViewArray::from(vec![Some(&[0xffu8][..]), Some(&[][..]), None])),
        ),
        (
            Field::new("date", DataType::Date32, true),
            Arc::new(Date32Array::from(vec![Some(-1), Some(1), None])),
        ),
        (
            Field::new("time", DataType::Time64(us), true),
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), Some(86_399_999_999), None])),
        ),
        (
            Field::new("ts", DataType::Timestamp(us, None), true),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(1), None])),
        ),
        (
            Field::new("tstz", DataType::Timestamp(us, Some(tz.clone())), true),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(1), None]).with_timezone(tz)),
        ),
        (
            Field::new("interval", DataType::Interval(IntervalUnit::MonthDayNano), true),
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                Some(IntervalMonthDayNano::new(1, 2, 3_000)),
                None,
                None,
            ])),
        ),
        (uuid_field("uuid"), Arc::new(uuids)),
        (
            Field::new("none", DataType::Int32, true),
            Arc::new(Int32Array::from(vec![None, None, None])),
        ),
        (
            Field::new("struct", DataType::Struct(s_fields.clone()), true),
            Arc::new(StructArray::new(
                s_fields,
                vec![
                    Arc::new(Int16Array::from(vec![Some(5), None, None])),
                    Arc::new(StringViewArray::from(vec![Some("x"), Some("y"), None])),
                ],
                Some(NullBuffer::from(vec![true, true, false])),
            )),
        ),
        (
            Field::new("list", DataType::List(element.clone()), true),
            Arc::new(ListArray::new(
                element,
                OffsetBuffer::new(vec![0, 2, 2, 2].into()),
                Arc::new(Int16Array::from(vec![Some(1), None])),
                Some(NullBuffer::from(vec![true, true, false])),
            )),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(i, (f, _))| with_id(f.clone(), i as i32 + 1))
        .collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, c)| c).collect(),
    )
    .unwrap()
}

#[tokio::test]
async fn every_type_comes_back_and_has_its_bounds() {
    let f = fixture();
    let batch = all_types();
    let files = f
        .write(f.spec(batch.schema().as_ref().clone()), vec![batch.clone()])
        .await
        .unwrap();
    let file = &files[0];
    assert_eq!((files.len(), file.row_count, file.sorted), (1, 3, false));
    assert!(file.location.ends_with("/t/data/ab12/txn-0.parquet") && file.location.starts_with("file:///"));
    assert_eq!(file.split_offsets, [4]);

    // Read by the plain crate: ids at every level, Iceberg's types.
    let builder = open(file);
    let footer = builder.metadata().file_metadata();
    assert!(footer.key_value_metadata().is_none());
    let root = footer.schema_descr().root_schema();
    let named = |name: &str| root.get_fields().iter().find(|f| f.name() == name).unwrap();
    assert_eq!(
        named("uuid").get_basic_info().logical_type_ref(),
        Some(&LogicalType::Uuid)
    );
    assert_eq!(named("small").get_basic_info().logical_type_ref(), None);
    let adjusted = |name: &str| match named(name).get_basic_info().logical_type_ref() {
        Some(LogicalType::Timestamp(ts)) => ts.is_adjusted_to_u_t_c,
        other => panic!("{other:?}"),
    };
    assert_eq!((adjusted("ts"), adjusted("tstz")), (false, true));
    let list = &named("list").get_fields()[0];
    assert_eq!(
        (list.name(), list.get_basic_info().repetition()),
        ("list", Repetition::REPEATED)
    );
    let element = &list.get_fields()[0];
    assert_eq!((element.name(), element.get_basic_info().id()), ("element", 24));
    assert_eq!(named("struct").get_fields()[1].get_basic_info().id(), 22);
    assert_eq!(named("list").get_basic_info().id(), 20);
    assert!(builder.metadata().column_index().is_some() && builder.metadata().offset_index().is_some());

    let back = read(file);
    for (index, field) in batch.schema().fields().iter().enumerate() {
        let (given, stored) = (batch.column(index), back.column(index));
        match field.name().as_str() {
            "interval" => assert_eq!(stored.as_string::<i32>().value(0), "P1M2DT0.000003S"),
            "struct" => assert_eq!(stored.as_struct().column(0).as_primitive::<Int32Type>().value(0), 5),
            "list" => {
                let values = stored.as_list::<i32>().value(0);
                assert_eq!(
                    values.as_primitive::<Int32Type>(),
                    &Int32Array::from(vec![Some(1), None])
                );
            }
            _ => {
                let as_given = arrow::compute::cast(stored, given.data_type()).unwrap();
                assert_eq!(&as_given, given, "{}", field.name());
            }
        }
        assert_eq!(stored.null_count(), given.null_count(), "{}", field.name());
    }

    let bounds: HashMap<i32, _> = file.columns.iter().map(|c| (c.field_id, c)).collect();
    let of = |name: &str| {
        let index = batch.schema().index_of(name).unwrap() as i32;
        let b = bounds[&(index + 1)];
        (b.lower.clone(), b.upper.clone())
    };
    let d = |v: i128, p, s| Some(ScalarValue::Decimal128(Some(v), p, s));
    assert_eq!(of("bool"), (Some(false.into()), Some(true.into())));
    assert_eq!(of("small"), (Some(i32::from(i16::MIN).into()), Some(7i32.into())));
    assert_eq!(of("int"), (Some(i32::MIN.into()), Some(7i32.into())));
    assert_eq!(of("long"), (Some(7i64.into()), Some(i64::MAX.into())));
    assert_eq!(of("real"), (Some(1.5f32.into()), Some(1.5f32.into())));
    assert_eq!(of("double").0, Some(f64::NEG_INFINITY.into()));
    assert_eq!(of("dec9"), (d(-999_999_999, 9, 2), d(-1, 9, 2)));
    assert_eq!(of("dec18"), (d(-2, 18, 0), d(1, 18, 0)));
    assert_eq!(of("dec38"), (d(-(10i128.pow(37)), 38, 10), d(10i128.pow(37), 38, 10)));
    assert_eq!(
        of("bytes"),
        (
            Some(ScalarValue::Binary(Some(vec![]))),
            Some(ScalarValue::Binary(Some(vec![0xff])))
        )
    );
    assert_eq!(
        of("date"),
        (Some(ScalarValue::Date32(Some(-1))), Some(ScalarValue::Date32(Some(1))))
    );
    assert_eq!(of("time").1, Some(ScalarValue::Time64Microsecond(Some(86_399_999_999))));
    assert_eq!(of("ts").0, Some(ScalarValue::TimestampMicrosecond(Some(-1), None)));
    assert_eq!(
        of("tstz").1,
        Some(ScalarValue::TimestampMicrosecond(Some(1), Some("Europe/Oslo".into())))
    );
    assert_eq!(of("uuid").0, Some(ScalarValue::FixedSizeBinary(16, Some(vec![1; 16]))));
    assert_eq!(of("none"), (None, None));
    // The long text's bounds are cut at a character and still bound; all others are values of the column.
    let text = bounds[&10];
    assert!(!text.bounds_exact);
    let upper = text.upper.as_ref().unwrap().to_string();
    assert!(
        upper.as_str() > "ü".repeat(400).as_str() && upper.len() <= 256,
        "{upper}"
    );
    assert_eq!(text.lower, Some(ScalarValue::from("z")));
    assert!(
        file.columns
            .iter()
            .all(|c| c.bounds_exact || c.field_id == 10 || c.lower.is_none())
    );
    // Inside structs there are bounds, inside lists there are none.
    assert_eq!(
        (bounds[&21].lower.clone(), bounds[&21].null_count),
        (Some(5i32.into()), 2)
    );
    assert_eq!(bounds[&22].upper, Some(ScalarValue::from("y")));
    assert!(!bounds.contains_key(&24) && !bounds.contains_key(&20) && !bounds.contains_key(&19));
    for column in &file.columns {
        assert_eq!(column.value_count, 3);
        assert!(column.size_bytes > 0);
    }
    assert_eq!(
        (bounds[&5].nan_count, bounds[&6].nan_count, bounds[&3].nan_count),
        (Some(1), Some(0), None)
    );
    assert_eq!((bounds[&5].null_count, bounds[&18].null_count), (1, 3));
}

#[tokio::test]
async fn only_nans_have_no_bounds_and_a_nan_in_one_row_group_hides_nothing() {
    let f = fixture();
    let schema = Schema::new(vec![with_id(Field::new("x", DataType::Float64, true), 1)]);
    let batch = |v: Vec<Option<f64>>| {
        RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(Float64Array::from(v))]).unwrap()
    };
    let mut spec = f.spec(schema.clone());
    spec.options.row_group_rows = 2;
    let nan = Some(f64::NAN);
    let files = f
        .write(spec, vec![batch(vec![nan, nan, Some(3.0), None, nan, Some(-1.0)])])
        .await
        .unwrap();
    let column = &files[0].columns[0];
    assert_eq!(
        (column.lower.clone(), column.upper.clone()),
        (Some((-1.0f64).into()), Some(3.0f64.into()))
    );
    assert_eq!(
        (column.nan_count, column.null_count, files[0].split_offsets.len()),
        (Some(3), 1, 3)
    );
    let files = f
        .write(f.spec(schema.clone()), vec![batch(vec![nan, None])])
        .await
        .unwrap();
    assert_eq!(
        (files[0].columns[0].lower.clone(), files[0].columns[0].nan_count),
        (None, Some(1))
    );
    assert!(!files[0].columns[0].bounds_exact);
    // The second statement of a transaction starts its numbers again and finds the first one's file.
    assert!(files[0].location.ends_with("txn-1.parquet"));
}

/// Rows with a text, a number and a time, from a fixed generator.
fn events(rows: usize, seed: u64) -> RecordBatch {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut ids = Vec::new();
    let mut names = Vec::new();
    let mut times = Vec::new();
    for _ in 0..rows {
        ids.push(next() as i64);
        names.push((!next().is_multiple_of(7)).then(|| format!("n{}", next() % 3)));
        times.push((!next().is_multiple_of(11)).then(|| (next() % 300) as i64 * 86_400_000_000 - 86_400_000_000 * 40));
    }
    let fields = vec![
        with_id(Field::new("id", DataType::Int64, false), 1),
        with_id(Field::new("name", DataType::Utf8View, true), 2),
        with_id(
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            3,
        ),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids)),
        Arc::new(StringViewArray::from_iter(names)),
        Arc::new(TimestampMicrosecondArray::from(times)),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[tokio::test]
async fn rows_go_to_the_partition_a_row_by_row_model_says() {
    let f = fixture();
    let batches: Vec<_> = (0..5).map(|seed| events(1_000, seed)).collect();
    let mut spec = f.spec(batches[0].schema().as_ref().clone());
    let partition = vec![
        (2, Transform::Month),
        (1, Transform::Identity),
        (0, Transform::Bucket(2)),
    ];
    spec.partition = partition.clone();
    let files = f.write(spec, batches.clone()).await.unwrap();

    let mut model: HashMap<Vec<ScalarValue>, Vec<i64>> = HashMap::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let value = |(column, t): &(usize, Transform)| {
                let one = t.apply(&batch.column(*column).slice(row, 1)).unwrap();
                ScalarValue::try_from_array(&one, 0).unwrap()
            };
            let id = batch.column(0).as_primitive::<Int64Type>().value(row);
            model.entry(partition.iter().map(value).collect()).or_default().push(id);
        }
    }
    assert_eq!(files.len(), model.len());
    for file in &files {
        let rows = read(file);
        // In the order they came in.
        assert_eq!(
            rows.column(0).as_primitive::<Int64Type>().values().to_vec(),
            model[&file.partition],
            "{:?}",
            file.partition
        );
        assert_eq!(file.row_count as usize, rows.num_rows());
    }
    assert_eq!(f.count(), files.len());
    let types: Vec<_> = files[0].partition.iter().map(ScalarValue::data_type).collect();
    assert_eq!(types, [DataType::Int32, DataType::Utf8View, DataType::Int32]);
}

#[tokio::test]
async fn little_memory_still_writes_every_row_and_hands_its_memory_back() {
    let f = fixture();
    let batches: Vec<_> = (0..20).map(|seed| events(2_000, seed)).collect();
    let mut spec = f.spec(batches[0].schema().as_ref().clone());
    spec.partition = vec![(2, Transform::Day)];
    spec.options.buffer_bytes_max = 1 << 20;
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(2 << 20));
    let mut writer = FileWriter::new(
        f.stores.clone(),
        Arc::new(spec),
        Arc::default(),
        Some(Arc::clone(&pool)),
    )
    .unwrap();
    for batch in batches {
        writer.write(batch).await.unwrap();
        assert!(pool.reserved() <= 1 << 20, "{}", pool.reserved());
    }
    let files = writer.finish().await.unwrap();
    assert_eq!(files.iter().map(|f| f.row_count).sum::<u64>(), 40_000);
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn files_are_cut_at_their_target_size_and_large_ones_go_up_in_parts() {
    let f = fixture();
    let schema = Schema::new(vec![with_id(Field::new("x", DataType::Int64, false), 1)]);
    // Noise does not compress: 8 bytes a row.
    let batch = |seed: u64| {
        let noise = events(100_000, seed).column(0).as_primitive::<Int64Type>().clone();
        let mixed: Int64Array = noise.unary(|v| v.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64));
        RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(mixed)]).unwrap()
    };
    let mut spec = f.spec(schema.clone());
    spec.options.target_file_bytes = 10 << 20;
    spec.options.row_group_rows = 200_000;
    let files = f.write(spec, (0..16).map(batch).collect()).await.unwrap();
    assert_eq!(files.len(), 2);
    let sizes: Vec<u64> = files.iter().map(|f| f.size_bytes >> 20).collect();
    assert!((10..=11).contains(&sizes[0]), "{sizes:?}");
    assert_eq!(files.iter().map(|f| read(f).num_rows()).sum::<usize>(), 1_600_000);
    for file in &files {
        let groups = open(file).metadata().num_row_groups();
        assert_eq!(
            (file.split_offsets.len(), groups),
            (groups, (file.row_count as usize).div_ceil(200_000))
        );
    }
}

#[tokio::test]
async fn order_is_declared_only_where_it_holds() {
    let f = fixture();
    let schema = Schema::new(vec![with_id(Field::new("x", DataType::Int64, true), 1)]);
    let batch = |v: Vec<Option<i64>>| {
        RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(Int64Array::from(v))]).unwrap()
    };
    let mut spec = f.spec(schema.clone());
    spec.sort = vec![(0, true, false)];
    let sorting = |file: &WrittenFile| open(file).metadata().row_group(0).sorting_columns().cloned();

    let files = f
        .write(
            spec.clone(),
            vec![batch(vec![Some(3), Some(3)]), batch(vec![Some(1), None])],
        )
        .await
        .unwrap();
    assert_eq!((files.len(), files[0].sorted), (1, true));
    let declared = sorting(&files[0]).unwrap();
    assert_eq!(
        (declared[0].column_idx, declared[0].descending, declared[0].nulls_first),
        (0, true, false)
    );

    let late = vec![batch(vec![Some(3)]), batch(vec![Some(4)]), batch(vec![Some(1)])];
    let files = f.write(spec.clone(), late).await.unwrap();
    assert_eq!(
        files.iter().map(|f| (f.row_count, f.sorted)).collect::<Vec<_>>(),
        [(1, true), (2, false)]
    );
    assert_eq!(sorting(&files[1]), None);

    let files = f.write(spec, vec![batch(vec![None, Some(4)])]).await.unwrap();
    assert_eq!((files.len(), files[0].sorted), (1, false));
}

#[tokio::test]
async fn abort_and_failure_leave_no_file() {
    let f = fixture();
    let mut spec = f.spec(events(1, 0).schema().as_ref().clone());
    spec.options.target_file_bytes = 1;
    let mut writer = f.writer(spec.clone());
    for seed in 0..3 {
        writer.write(events(100, seed)).await.unwrap();
    }
    assert_eq!(writer.written_so_far().len(), 3);
    writer.abort().await;
    assert_eq!(f.count(), 0);

    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(0));
    spec.options.target_file_bytes = 1 << 30;
    let mut writer = FileWriter::new(f.stores.clone(), Arc::new(spec), Arc::default(), Some(pool)).unwrap();
    // Without any memory from the pool a writer lives on its small allowance.
    writer.write(events(100, 1)).await.unwrap();
    writer.write(events(100, 2)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().len(), 1);
}

#[test]
fn refuses_what_iceberg_cannot_store() {
    let f = fixture();
    let refused = |field: Field| {
        let spec = f.spec(Schema::new(vec![with_id(field, 1)]));
        let error = FileWriter::new(f.stores.clone(), Arc::new(spec), Arc::default(), None)
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("\"x\""), "{error}");
    };
    refused(Field::new("x", DataType::UInt64, true));
    refused(Field::new("x", DataType::Null, true));
    refused(Field::new("x", DataType::Timestamp(TimeUnit::Nanosecond, None), true));
    refused(Field::new("x", DataType::Decimal256(50, 2), true));
    let spec = f.spec(Schema::new(vec![Field::new("x", DataType::Int32, true)]));
    let error = FileWriter::new(f.stores.clone(), Arc::new(spec), Arc::default(), None)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let mut spec = f.spec(Schema::new(vec![with_id(Field::new("x", DataType::Int32, true), 1)]));
    spec.data_prefix = "/etc/staffa-".into();
    let error = FileWriter::new(f.stores.clone(), Arc::new(spec), Arc::default(), None)
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}
