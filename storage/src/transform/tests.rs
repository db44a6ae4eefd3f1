use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array,
    Int32Array, Int64Array, StringArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type};
use chrono::{Datelike, NaiveDate, TimeDelta};

use super::{Transform, shortest_twos_complement};
use crate::error::ErrorKind;

fn bucket_of(column: ArrayRef) -> i32 {
    // With 2^31 - 1 buckets the bucket of a hash below it is the hash without its sign bit.
    let result = Transform::Bucket(i32::MAX as u32).apply(&column).unwrap();
    result.as_primitive::<Int32Type>().value(0)
}

fn of_hash(hash: i32) -> i32 {
    (hash & i32::MAX) % i32::MAX
}

/// Iceberg spec, appendix B, "32-bit Hash Requirements".
#[test]
fn buckets_follow_the_hash_values_of_the_spec() {
    let micros = |text: &str| {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
            .unwrap()
            .and_utc()
            .timestamp_micros()
    };
    let uuid = uuid::Uuid::parse_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap();
    let cases: Vec<(&str, ArrayRef, i32)> = vec![
        ("int", Arc::new(Int32Array::from(vec![34])), 2_017_239_379),
        ("long", Arc::new(Int64Array::from(vec![34])), 2_017_239_379),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![1420])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
            -500_754_589,
        ),
        ("date", Arc::new(Date32Array::from(vec![17_486])), -653_330_422),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![81_068_000_000])),
            -662_762_989,
        ),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(vec![micros("2017-11-16 22:31:08")])),
            -2_047_944_441,
        ),
        (
            "timestamp with fraction",
            Arc::new(TimestampMicrosecondArray::from(vec![micros(
                "2017-11-16 22:31:08.000001",
            )])),
            -1_207_196_810,
        ),
        (
            "timestamptz",
            Arc::new(
                TimestampMicrosecondArray::from(vec![micros("2017-11-16 22:31:08")])
                    .with_timezone("America/Los_Angeles"),
            ),
            -2_047_944_441,
        ),
        ("string", Arc::new(StringArray::from(vec!["iceberg"])), 1_210_000_089),
        (
            "string view",
            Arc::new(StringViewArray::from(vec!["iceberg"])),
            1_210_000_089,
        ),
        (
            "uuid",
            Arc::new(FixedSizeBinaryArray::try_from_iter([uuid.as_bytes()].into_iter()).unwrap()),
            1_488_055_340,
        ),
        (
            "fixed",
            Arc::new(FixedSizeBinaryArray::try_from_iter([[0u8, 1, 2, 3]].iter()).unwrap()),
            -188_683_207,
        ),
        (
            "binary",
            Arc::new(BinaryArray::from(vec![&[0u8, 1, 2, 3][..]])),
            -188_683_207,
        ),
    ];
    for (name, column, hash) in cases {
        assert_eq!(bucket_of(column), of_hash(hash), "{name}");
    }
}

#[test]
fn decimals_hash_their_shortest_bytes() {
    for (value, expected) in [
        (0i128, &[0u8][..]),
        (127, &[0x7f]),
        (128, &[0x00, 0x80]),
        (-1, &[0xff]),
        (-128, &[0x80]),
        (-129, &[0xff, 0x7f]),
        (1420, &[0x05, 0x8c]),
    ] {
        assert_eq!(shortest_twos_complement(&value.to_be_bytes()), expected, "{value}");
    }
    assert_eq!(shortest_twos_complement(&i128::MIN.to_be_bytes()).len(), 16);
}

/// The examples of the spec's "Truncate Transform Details".
#[test]
fn truncates_as_the_spec_shows() {
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![
        Some(1),
        Some(-1),
        None,
        Some(10),
        Some(-10),
        Some(-11),
    ]));
    let cut = Transform::Truncate(10).apply(&ints).unwrap();
    let expected = Int32Array::from(vec![Some(0), Some(-10), None, Some(10), Some(-10), Some(-20)]);
    assert_eq!(cut.as_primitive::<Int32Type>(), &expected);

    let longs: ArrayRef = Arc::new(Int64Array::from(vec![1, -1]));
    assert_eq!(
        Transform::Truncate(10)
            .apply(&longs)
            .unwrap()
            .as_primitive::<Int64Type>()
            .values(),
        &[0, -10]
    );

    let decimals = Decimal128Array::from(vec![1065])
        .with_precision_and_scale(9, 2)
        .unwrap();
    let cut = Transform::Truncate(50)
        .apply(&(Arc::new(decimals) as ArrayRef))
        .unwrap();
    assert_eq!(cut.data_type(), &DataType::Decimal128(9, 2));
    assert_eq!(cut.as_primitive::<Decimal128Type>().value(0), 1050);

    let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["iceberg", "ab", "", "åäöx"]));
    let cut = Transform::Truncate(3).apply(&texts).unwrap();
    assert_eq!(
        cut.as_string_view().iter().flatten().collect::<Vec<_>>(),
        ["ice", "ab", "", "åäö"]
    );

    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[1u8, 2, 3, 4, 5][..]]));
    assert_eq!(
        Transform::Truncate(3)
            .apply(&bytes)
            .unwrap()
            .as_binary::<i32>()
            .value(0),
        [1, 2, 3]
    );
}

#[test]
fn dates_before_1970_count_down() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![0, -1, 364, 365, 17_486]));
    let of = |t: Transform| t.apply(&days).unwrap().as_primitive::<Int32Type>().values().to_vec();
    assert_eq!(of(Transform::Year), [0, -1, 0, 1, 47]);
    assert_eq!(of(Transform::Month), [0, -1, 11, 12, 574]);
    assert_eq!(of(Transform::Day), [0, -1, 364, 365, 17_486]);
    // The spec's examples: 2017-12-01 10:00 is hour 420034, and the moment before 1970 lies in hour and day -1.
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![
        Some(420_034 * 3_600_000_000),
        Some(-1),
        None,
    ]));
    let of = |t: Transform| t.apply(&micros).unwrap();
    assert_eq!(
        of(Transform::Hour).as_primitive::<Int32Type>().values()[..2],
        [420_034, -1]
    );
    assert_eq!(
        of(Transform::Day).as_primitive::<Int32Type>().values()[..2],
        [17_501, -1]
    );
    assert_eq!(
        of(Transform::Month).as_primitive::<Int32Type>().values()[..2],
        [575, -1]
    );
    assert_eq!(of(Transform::Year).as_primitive::<Int32Type>().values()[..2], [47, -1]);
    assert!(of(Transform::Hour).is_null(2) && of(Transform::Year).is_null(2));
}

#[test]
fn months_agree_with_chrono_over_a_thousand_years() {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    for days in (-200_000..200_000).step_by(7) {
        let date = epoch + TimeDelta::days(days);
        let expected = (date.year() - 1970) * 12 + date.month0() as i32;
        assert_eq!(super::months_since_1970(days), expected, "{date}");
    }
}

#[test]
fn refuses_what_iceberg_does_not_define() {
    let refused = |t: Transform, ty: DataType| {
        assert_eq!(
            t.result_type(&ty).unwrap_err().kind(),
            ErrorKind::Unsupported,
            "{t:?} of {ty}"
        );
    };
    refused(Transform::Bucket(4), DataType::Float64);
    refused(Transform::Bucket(4), DataType::Boolean);
    refused(Transform::Bucket(0), DataType::Int32);
    refused(Transform::Truncate(4), DataType::Date32);
    refused(Transform::Hour, DataType::Date32);
    refused(Transform::Day, DataType::Utf8);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    assert!(Transform::Identity.apply(&floats).is_ok());
    assert_eq!(Transform::Void.apply(&floats).unwrap().null_count(), 1);
}
