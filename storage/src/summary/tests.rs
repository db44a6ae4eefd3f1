use arrow::array::{Int32Array, StringViewArray};
use arrow::datatypes::{Field, Schema};
use datafusion::execution::memory_pool::UnboundedMemoryPool;

use super::*;

fn schema() -> SchemaRef {
    let with_id = |field: Field, id: i32| field.with_metadata([(FIELD_ID_KEY.to_owned(), id.to_string())].into());
    Arc::new(Schema::new(vec![
        with_id(Field::new("number", DataType::Int32, true), 1),
        with_id(Field::new("text", DataType::Utf8View, true), 7),
    ]))
}

fn batch(rows: impl Iterator<Item = (Option<i32>, &'static str)>) -> RecordBatch {
    let (numbers, texts): (Vec<_>, Vec<_>) = rows.unzip();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(numbers)),
        Arc::new(StringViewArray::from(texts)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn summary(batches: &[RecordBatch], before: Option<&TableSummary>) -> TableSummary {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let part = |batch: &RecordBatch| {
        let mut builder = SummaryBuilder::new(schema(), rows as u64, &pool);
        builder.add(batch).unwrap();
        builder
    };
    SummaryBuilder::finish(batches.iter().map(part).collect(), before)
        .unwrap()
        .unwrap()
}

/// A hundred thousand rows: a fifth are nulls, a fifth seven, the others different.
fn rows(range: std::ops::Range<i32>) -> RecordBatch {
    batch(range.map(|row| match row % 5 {
        0 => (None, "null"),
        1 => (Some(7), "seven"),
        _ => (Some(row * 2), "other"),
    }))
}

fn near(value: Option<f64>, wanted: f64, error: f64) {
    let value = value.unwrap();
    assert!((value - wanted).abs() <= error, "{value}, not {wanted}");
}

#[test]
fn shares_of_values_and_ranges() {
    let summary = summary(&[rows(0..60_000), rows(60_000..100_000)], None);
    let number = summary.column(1).unwrap();
    assert_eq!(
        (number.rows(), number.null_share(), number.width()),
        (100_000, 0.2, 4.0)
    );
    near(Some(number.distinct() / 60_001.0), 1.0, 0.05);
    near(number.equal_share(&ScalarValue::Int32(Some(7))), 0.2, 0.01);
    near(number.equal_share(&ScalarValue::Int64(Some(4444))), 1e-5, 1e-6);
    near(number.share_up_to(&ScalarValue::Int32(Some(100_000)), false), 0.5, 0.01);
    near(number.share_up_to(&ScalarValue::Int32(Some(-1)), true), 0.0, 0.0);
    near(number.share_up_to(&ScalarValue::Int32(Some(7)), true), 0.2, 0.01);
    assert_eq!(number.equal_share(&ScalarValue::from("seven")), None);
    let text = summary.column(7).unwrap();
    assert_eq!((text.distinct(), text.bounds().len()), (3.0, 0));
    near(text.equal_share(&ScalarValue::from("other")), 0.6, 0.01);
    // Sorted as they come, but for the sevens.
    assert!(number.correlation().unwrap() > 0.5);
}

#[test]
fn files_keep_summaries() {
    let made = summary(&[rows(0..20_000)], None);
    let file = made.encode(5, 6).unwrap();
    let kinds: Vec<&str> = file.blobs.iter().map(|blob| blob.kind.as_str()).collect();
    assert_eq!(kinds, [SKETCH_BLOB, SKETCH_BLOB]);
    let kinds: Vec<String> = puffin::decode(&file.bytes)
        .unwrap()
        .into_iter()
        .map(|(blob, _)| blob.kind)
        .collect();
    assert_eq!(kinds, [SKETCH_BLOB, SKETCH_BLOB, DISTRIBUTIONS_BLOB]);
    assert_eq!(file.blobs[1].properties[DISTINCT], "3");
    let read = TableSummary::decode(&file.bytes, &schema()).unwrap().unwrap();
    assert_eq!(read.encode(5, 6).unwrap().bytes, file.bytes);
    // Of a column that became wider the hashes are others.
    let wide = Field::new("number", DataType::Int64, true).with_metadata(schema().field(0).metadata().clone());
    let read = TableSummary::decode(&file.bytes, &Arc::new(Schema::new(vec![wide])))
        .unwrap()
        .unwrap();
    assert!(read.column(1).is_none());
    for length in 0..file.bytes.len() {
        assert!(TableSummary::decode(&file.bytes[..length], &schema()).is_err());
    }
}

#[test]
fn more_rows_are_put_to_those_before() {
    let before = summary(&[rows(0..60_000)], None);
    let grown = summary(&[rows(60_000..100_000)], Some(&before));
    let whole = summary(&[rows(0..100_000)], None);
    let (grown, whole) = (grown.column(1).unwrap(), whole.column(1).unwrap());
    assert_eq!((grown.rows(), grown.null_share()), (whole.rows(), whole.null_share()));
    near(Some(grown.distinct() / whole.distinct()), 1.0, 0.05);
    for value in [7, 50_000, 100_000, 150_000, 190_000] {
        let value = ScalarValue::Int32(Some(value));
        near(
            grown.share_up_to(&value, true),
            whole.share_up_to(&value, true).unwrap(),
            0.02,
        );
    }
    near(grown.equal_share(&ScalarValue::Int32(Some(7))), 0.2, 0.01);
}
