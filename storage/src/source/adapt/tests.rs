use arrow::array::{Int16Array, Int32Array, Int64Array, StringArray};
use datafusion::common::assert_batches_eq;

use super::*;

fn field(name: &str, data_type: DataType, id: i32) -> Field {
    let metadata = [(crate::FIELD_ID_KEY.to_owned(), id.to_string())].into();
    Field::new(name, data_type, true).with_metadata(metadata)
}

fn adapt(file: &RecordBatch, table: &Schema) -> DfResult<RecordBatch> {
    let table = Arc::new(table.clone());
    let adapter = FieldIdAdapterFactory::new(Arc::clone(&table)).create(Arc::clone(&table), file.schema())?;
    let column = |(index, field): (usize, &FieldRef)| {
        let expr = adapter.rewrite(Arc::new(Column::new(field.name(), index)))?;
        expr.evaluate(file)?.into_array(file.num_rows())
    };
    let columns = table
        .fields()
        .iter()
        .enumerate()
        .map(column)
        .collect::<DfResult<Vec<_>>>()?;
    Ok(RecordBatch::try_new(crate::without_field_ids(&table), columns)?)
}

#[test]
fn matches_by_id_whatever_the_names_and_the_order() {
    let file = RecordBatch::try_new(
        Arc::new(Schema::new(vec![
            field("a", DataType::Int32, 1),
            field("b", DataType::Utf8, 2),
        ])),
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None])),
            Arc::new(StringArray::from(vec!["x", "y"])),
        ],
    )
    .unwrap();
    // `b` was renamed to `a`, `a` to `old` and widened, `new` was added, and a dropped `b` was added again.
    let table = Schema::new(vec![
        field("a", DataType::Utf8View, 2),
        field("new", DataType::Int64, 3),
        field("old", DataType::Int64, 1),
        field("b", DataType::Utf8, 4),
    ]);
    assert_batches_eq!(
        [
            "+---+-----+-----+---+",
            "| a | new | old | b |",
            "+---+-----+-----+---+",
            "| x |     | 1   |   |",
            "| y |     |     |   |",
            "+---+-----+-----+---+"
        ],
        &[adapt(&file, &table).unwrap()]
    );
}

#[test]
fn matches_by_name_when_the_file_has_no_ids() {
    let file = RecordBatch::try_new(
        Arc::new(Schema::new(vec![
            Field::new("b", DataType::Int32, true),
            Field::new("a", DataType::Int32, true),
        ])),
        vec![Arc::new(Int32Array::from(vec![1])), Arc::new(Int32Array::from(vec![2]))],
    )
    .unwrap();
    let table = Schema::new(vec![field("a", DataType::Int16, 1), field("b", DataType::Int64, 2)]);
    let read = adapt(&file, &table).unwrap();
    assert_eq!(read.column(0).as_ref(), &Int16Array::from(vec![2]));
    assert_eq!(read.column(1).as_ref(), &Int64Array::from(vec![1]));
}

#[test]
fn structs_and_lists_match_by_id_at_every_level() {
    let inner: Fields = vec![field("x", DataType::Int32, 3), field("y", DataType::Utf8, 4)].into();
    let element = Arc::new(field("item", DataType::Struct(inner.clone()), 2));
    let structs = StructArray::new(
        inner,
        vec![
            Arc::new(Int32Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec!["a", "b", "c"])),
        ],
        None,
    );
    let list = ListArray::new(
        Arc::clone(&element),
        arrow::buffer::OffsetBuffer::new(vec![0, 2, 2, 3].into()),
        Arc::new(structs),
        Some(arrow::buffer::NullBuffer::from(vec![true, false, true])),
    );
    let file = RecordBatch::try_new(
        Arc::new(Schema::new(vec![field("l", DataType::List(element), 1)])),
        vec![Arc::new(list)],
    )
    .unwrap();
    let inner: Fields = vec![
        field("x", DataType::Utf8View, 4),
        field("added", DataType::Int32, 5),
        field("y", DataType::Int64, 3),
    ]
    .into();
    let element = Arc::new(field("element", DataType::Struct(inner), 2));
    let table = Schema::new(vec![field("renamed", DataType::List(element), 1)]);
    let read = adapt(&file, &table).unwrap();
    let rows = read.column(0).as_list::<i32>();
    assert_eq!(
        rows.iter().map(|row| row.map(|row| row.len())).collect::<Vec<_>>(),
        [Some(2), None, Some(1)]
    );
    assert_batches_eq!(
        [
            "+---+-------+---+",
            "| x | added | y |",
            "+---+-------+---+",
            "| a |       | 1 |",
            "| b |       | 2 |",
            "| c |       | 3 |",
            "+---+-------+---+"
        ],
        &[RecordBatch::from(rows.values().as_struct())]
    );
}

#[test]
fn types_that_do_not_fit_are_errors_that_name_the_column() {
    let file = RecordBatch::try_new(
        Arc::new(Schema::new(vec![field("a", DataType::Int32, 1)])),
        vec![Arc::new(Int32Array::from(vec![70_000]))],
    )
    .unwrap();
    for wanted in [
        DataType::Utf8View,
        DataType::Float64,
        DataType::Date32,
        DataType::Boolean,
    ] {
        let error = adapt(&file, &Schema::new(vec![field("wanted", wanted, 1)])).unwrap_err();
        let error = Error::find_in(&error).unwrap();
        assert_eq!(error.kind(), crate::ErrorKind::CorruptFile);
        assert!(error.message().contains("\"wanted\""), "{error}");
    }
    // A smallint column whose file holds more than a smallint.
    assert!(adapt(&file, &Schema::new(vec![field("a", DataType::Int16, 1)])).is_err());
    let required = field("r", DataType::Int32, 9).with_nullable(false);
    assert!(adapt(&file, &Schema::new(vec![required])).is_err());
}

#[test]
fn special_types_are_converted() {
    use arrow::array::{BinaryArray, TimestampMicrosecondArray};
    use arrow::datatypes::TimeUnit::Microsecond;
    let utc = DataType::Timestamp(Microsecond, Some("UTC".into()));
    let file = RecordBatch::try_new(
        Arc::new(Schema::new(vec![
            field("i", DataType::Utf8, 1),
            field("u", DataType::Binary, 2),
            field("t", utc, 3),
            field("d", DataType::Decimal128(9, 2), 4),
        ])),
        vec![
            Arc::new(StringArray::from(vec!["P1M"])),
            Arc::new(BinaryArray::from(vec![&[7u8; 16][..]])),
            Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")),
            Arc::new(
                arrow::array::Decimal128Array::from(vec![-150])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ],
    )
    .unwrap();
    let table = Schema::new(vec![
        field("i", DataType::Interval(IntervalUnit::MonthDayNano), 1),
        field("u", DataType::FixedSizeBinary(16), 2),
        field("t", DataType::Timestamp(Microsecond, Some("Asia/Kolkata".into())), 3),
        field("d", DataType::Decimal128(38, 2), 4),
    ]);
    let read = adapt(&file, &table).unwrap();
    assert_eq!(read.column(1).as_fixed_size_binary().value(0), [7; 16]);
    let times = read
        .column(2)
        .as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(times.value(0), 0);
    assert_eq!(
        read.column(3)
            .as_primitive::<arrow::datatypes::Decimal128Type>()
            .value(0),
        -150
    );
    let interval = read
        .column(0)
        .as_primitive::<arrow::datatypes::IntervalMonthDayNanoType>()
        .value(0);
    assert_eq!(interval.months, 1);
}
