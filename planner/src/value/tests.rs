//! What PostgreSQL 15 reads and prints, from `tests/postgres15.tsv`; round trips of any value; and no panic on any bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, DurationMicrosecondArray, Int32Array, ListArray, StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use bytes::BytesMut;
use datafusion::scalar::ScalarValue;
use proptest::prelude::*;
use staffa_catalog::SqlType;

use super::{ByteaOutput, ColumnDecoder, ColumnEncoder, DateOrder, Format, FormatSettings, decode_scalar};
use crate::error::{ErrorKind, Result};
use crate::types::arrow_field;

const CORPUS: &str = include_str!("tests/postgres15.tsv");

/// Inputs where we differ from PostgreSQL on purpose, with the reason.
const DIFFERENT: &[(&str, &str)] = &[
    // Timestamps are microseconds since 1970, not 2000: they end 30 years earlier.
    ("timestamp", "294276-12-31 23:59:59"),
    // PostgreSQL stops reading a float where it overflows.
    ("double precision", "1e400x"),
    // Where an array begins is not kept: always at 1.
    ("integer[]", "[2:3]={5,6}"),
];

fn berlin() -> FormatSettings {
    FormatSettings::new("Europe/Berlin", DateOrder::Mdy, ByteaOutput::Hex, 1).expect("a zone")
}

fn named(name: &str) -> SqlType {
    if let Some(element) = name.strip_suffix("[]") {
        return SqlType::Array(Box::new(named(element)));
    }
    let (base, modifiers) = name.split_once('(').unwrap_or((name, ""));
    let modifiers: Vec<u32> = modifiers
        .trim_end_matches(')')
        .split(',')
        .filter_map(|modifier| modifier.parse().ok())
        .collect();
    match base {
        "boolean" => SqlType::Boolean,
        "smallint" => SqlType::SmallInt,
        "integer" => SqlType::Integer,
        "bigint" => SqlType::BigInt,
        "real" => SqlType::Real,
        "double precision" => SqlType::Double,
        "numeric" => SqlType::numeric(modifiers[0] as u8, modifiers[1] as i8),
        "text" => SqlType::Text,
        "varchar" => SqlType::Varchar(modifiers.first().copied()),
        "char" => SqlType::Char(modifiers[0]),
        "bytea" => SqlType::Bytea,
        "uuid" => SqlType::Uuid,
        "date" => SqlType::Date,
        "time" => SqlType::Time,
        "timestamp" => SqlType::Timestamp,
        "timestamptz" => SqlType::TimestampTz,
        "interval" => SqlType::Interval,
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        other => panic!("type {other}"),
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\\\", "\u{1}")
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace('\u{1}', "\\")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(bytes: &[u8], ty: &SqlType, format: Format, settings: &FormatSettings) -> Result<ArrayRef> {
    let mut decoder = ColumnDecoder::new(ty, format, settings, 1);
    decoder.append(Some(bytes))?;
    decoder.finish()
}

fn encode(array: &ArrayRef, ty: &SqlType, format: Format, settings: &FormatSettings) -> Vec<Option<Vec<u8>>> {
    let field = Field::new("x", array.data_type().clone(), true);
    let encoder = ColumnEncoder::new(&field, ty, format, settings).expect("an encoder");
    let column = encoder.column(array).expect("a column");
    (0..array.len())
        .map(|row| {
            let mut out = BytesMut::new();
            column.write(row, &mut out).expect("a value").then(|| out.to_vec())
        })
        .collect()
}

fn encode_one(array: &ArrayRef, ty: &SqlType, format: Format, settings: &FormatSettings) -> Vec<u8> {
    encode(array, ty, format, settings).remove(0).expect("not null")
}

fn sqlstate(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidTextRepresentation => "22P02",
        ErrorKind::UntranslatableCharacter => "22P05",
        ErrorKind::NumericOutOfRange => "22003",
        ErrorKind::InvalidDatetimeFormat => "22007",
        ErrorKind::DatetimeOverflow => "22008",
        ErrorKind::IntervalFieldOverflow => "22015",
        ErrorKind::InvalidTimeZoneDisplacement => "22009",
        ErrorKind::InvalidParameterValue => "22023",
        ErrorKind::StringTooLong => "22001",
        ErrorKind::FeatureNotSupported => "0A000",
        _ => "other",
    }
}

#[test]
fn values_are_read_and_printed_as_by_postgres() {
    let settings = berlin();
    let mut wrong = Vec::new();
    for line in CORPUS.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (name, input) = (columns[0], unescape(columns[1]));
        if DIFFERENT.contains(&(name, input.as_str())) {
            continue;
        }
        let ty = named(name);
        let read = decode(input.as_bytes(), &ty, Format::Text, &settings);
        match (columns[2], read) {
            ("ok", Ok(array)) => {
                let (text, binary) = (unescape(columns[3]), columns[4]);
                let ours = encode_one(&array, &ty, Format::Text, &settings);
                if ours != text.as_bytes() {
                    wrong.push(format!(
                        "{name} {input:?}: {:?}, not {text:?}",
                        String::from_utf8_lossy(&ours)
                    ));
                }
                let ours = encode_one(&array, &ty, Format::Binary, &settings);
                if hex(&ours) != binary {
                    wrong.push(format!("{name} {input:?}: binary {}, not {binary}", hex(&ours)));
                    continue;
                }
                match decode(&ours, &ty, Format::Binary, &settings) {
                    Ok(back) if encode_one(&back, &ty, Format::Text, &settings) == text.as_bytes() => {}
                    other => wrong.push(format!("{name} {input:?}: binary reads back as {other:?}")),
                }
            }
            ("ok", Err(error)) => wrong.push(format!("{name} {input:?}: {error}")),
            (_, Ok(array)) => {
                let text = encode_one(&array, &ty, Format::Text, &settings);
                wrong.push(format!(
                    "{name} {input:?}: {:?}, not {}",
                    String::from_utf8_lossy(&text),
                    columns[4]
                ));
            }
            (_, Err(error)) => {
                let (state, message) = (sqlstate(error.kind()), unescape(columns[4]));
                // JSON's details are worded by ours.
                let detail = name.starts_with("json") || error.detail().unwrap_or_default() == unescape(columns[5]);
                let hint = error.hint().unwrap_or_default() == unescape(columns[6]);
                if columns[3] != state || error.message() != message || !detail || !hint {
                    wrong.push(format!("{name} {input:?}: {state} {error}, not {columns:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn arrays_and_composites_print_and_read_nested() {
    // Texts from PostgreSQL 15: select row(1, null, 'a b', '', 'x"y\z', array['p q', null]), and an array of such rows.
    let settings = berlin();
    let record = SqlType::Struct(vec![
        ("a".into(), SqlType::Integer),
        ("b".into(), SqlType::Text),
        ("c".into(), SqlType::Text),
        ("d".into(), SqlType::Text),
        ("e".into(), SqlType::Text),
        ("f".into(), SqlType::Array(Box::new(SqlType::Text))),
    ]);
    let text = r#"(1,,"a b","","x""y\\z","{""p q"",NULL}")"#;
    let array = decode(text.as_bytes(), &record, Format::Text, &settings).expect("a record");
    assert_eq!(encode_one(&array, &record, Format::Text, &settings), text.as_bytes());
    let binary = encode_one(&array, &record, Format::Binary, &settings);
    let back = decode(&binary, &record, Format::Binary, &settings).expect("a record");
    assert_eq!(&back, &array);

    let list = SqlType::Array(Box::new(record));
    let text = r#"{"(1,,\"a b\",\"\",\"x\"\"y\\\\z\",\"{\"\"p q\"\",NULL}\")",NULL}"#;
    let array = decode(text.as_bytes(), &list, Format::Text, &settings).expect("an array");
    assert_eq!(
        String::from_utf8_lossy(&encode_one(&array, &list, Format::Text, &settings)),
        text
    );
    for malformed in ["(1,2)", "1", "(1,,,,,,)", "(1,,,,,)x", "(1,,,,,"] {
        let ty = list_element(&list);
        assert!(
            decode(malformed.as_bytes(), ty, Format::Text, &settings).is_err(),
            "{malformed}"
        );
    }
}

fn list_element(list: &SqlType) -> &SqlType {
    match list {
        SqlType::Array(element) => element,
        other => other,
    }
}

#[test]
fn ragged_arrays_have_a_text_but_no_binary_form() {
    let settings = berlin();
    let ty = named("integer[][]");
    let array = decode(b"{{1},{2,3},{}}", &ty, Format::Text, &settings).expect("an array");
    assert_eq!(encode_one(&array, &ty, Format::Text, &settings), b"{{1},{2,3},{}}");
    let encoder = ColumnEncoder::new(
        &arrow_field("x", &ty, true, "Europe/Berlin"),
        &ty,
        Format::Binary,
        &settings,
    )
    .expect("one");
    let error = encoder
        .column(&array)
        .expect("a column")
        .write(0, &mut BytesMut::new())
        .expect_err("ragged");
    assert_eq!(error.kind(), ErrorKind::FeatureNotSupported);
}

#[test]
fn types_beyond_ours_print_as_the_sql_type_they_map_to() {
    let settings = berlin();
    let big: ArrayRef = Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]));
    let ty = SqlType::numeric(20, 0);
    assert_eq!(
        encode(&big, &ty, Format::Text, &settings),
        [Some(b"18446744073709551615".to_vec()), None]
    );

    let words: ArrayRef = Arc::new(
        [Some("a"), None, Some("a")]
            .into_iter()
            .collect::<DictionaryArray<Int32Type>>(),
    );
    let expected = [Some(b"a".to_vec()), None, Some(b"a".to_vec())];
    assert_eq!(encode(&words, &SqlType::Text, Format::Text, &settings), expected);

    // PostgreSQL: select timestamp '2024-01-03 01:00' - timestamp '2024-01-01' is 2 days 01:00:00.
    let span: ArrayRef = Arc::new(DurationMicrosecondArray::from(vec![176_400_000_000]));
    assert_eq!(
        encode_one(&span, &SqlType::Interval, Format::Text, &settings),
        b"2 days 01:00:00"
    );

    let wide: ArrayRef = Arc::new(Int32Array::from(vec![70_000]));
    let encoder = ColumnEncoder::new(
        &Field::new("x", DataType::Int32, true),
        &SqlType::SmallInt,
        Format::Binary,
        &settings,
    )
    .expect("an encoder");
    let error = encoder.column(&wide).expect_err("70000 is no smallint");
    assert_eq!(error.message(), "value out of range for type smallint");

    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![
        Some(1),
        None,
    ])]));
    let expected = b"{1,NULL}".to_vec();
    assert_eq!(
        encode_one(&lists, &named("integer[]"), Format::Text, &settings),
        expected
    );
    let plain: ArrayRef = Arc::new(StringArray::from(vec!["{1}"]));
    assert_eq!(
        encode_one(&plain, &SqlType::Jsonb, Format::Binary, &settings),
        b"\x01{1}"
    );
}

#[test]
fn a_parameter_is_never_rounded() {
    let settings = berlin();
    let money = SqlType::numeric(15, 2);
    let read = |text: &[u8]| decode_scalar(Some(text), &money, Format::Text, &settings).expect("a number");
    assert_eq!(read(b"1.5"), ScalarValue::Decimal128(Some(150), 15, 2));
    assert_eq!(read(b"1.500000"), ScalarValue::Decimal128(Some(150), 15, 2));
    assert_eq!(read(b"1.555"), ScalarValue::Decimal128(Some(1555), 38, 3));
    assert_eq!(
        read(b"99999999999999"),
        ScalarValue::Decimal128(Some(99_999_999_999_999), 38, 0)
    );
    let long = decode_scalar(Some(b"toolong"), &SqlType::Varchar(Some(3)), Format::Text, &settings).expect("text");
    assert_eq!(long, ScalarValue::Utf8View(Some("toolong".into())));
    let null = decode_scalar(None, &SqlType::TimestampTz, Format::Binary, &settings).expect("null");
    assert!(null.is_null());
}

#[test]
fn settings_choose_among_forms() {
    // All from PostgreSQL 15 with the same settings.
    let dmy = FormatSettings {
        date_order: DateOrder::Dmy,
        ..FormatSettings::default()
    };
    let ymd = FormatSettings {
        date_order: DateOrder::Ymd,
        ..FormatSettings::default()
    };
    let date = |text: &str, settings: &FormatSettings| {
        let array = decode(text.as_bytes(), &SqlType::Date, Format::Text, settings).expect("a date");
        String::from_utf8(encode_one(&array, &SqlType::Date, Format::Text, settings)).expect("text")
    };
    assert_eq!(date("1/8/1999", &dmy), "1999-08-01");
    assert_eq!(date("99-01-08", &ymd), "1999-01-08");
    assert_eq!(date("1999-01-08", &dmy), "1999-01-08");

    let escape = FormatSettings {
        bytea_output: ByteaOutput::Escape,
        ..FormatSettings::default()
    };
    let bytes = decode(b"\\x61005cff", &SqlType::Bytea, Format::Text, &escape).expect("bytes");
    assert_eq!(
        encode_one(&bytes, &SqlType::Bytea, Format::Text, &escape),
        b"a\\000\\\\\\377"
    );

    let few = FormatSettings {
        extra_float_digits: 0,
        ..FormatSettings::default()
    };
    for (given, shown) in [
        ("0.1", "0.1"),
        ("0.30000000000000004", "0.3"),
        ("1e15", "1e+15"),
        ("100000000000000", "100000000000000"),
        ("1e-5", "1e-05"),
    ] {
        let value = decode(given.as_bytes(), &SqlType::Double, Format::Text, &few).expect("a float");
        assert_eq!(
            encode_one(&value, &SqlType::Double, Format::Text, &few),
            shown.as_bytes()
        );
    }
    assert!(FormatSettings::new("Mars/Olympus", DateOrder::Mdy, ByteaOutput::Hex, 1).is_err());
    let india = FormatSettings::new("+05:30", DateOrder::Mdy, ByteaOutput::Hex, 1).expect("an offset");
    let moment = decode(b"2024-01-01 00:00:00", &SqlType::TimestampTz, Format::Text, &india).expect("a moment");
    assert_eq!(
        encode_one(&moment, &SqlType::TimestampTz, Format::Text, &india),
        b"2024-01-01 00:00:00+05:30"
    );
}

#[test]
fn broken_text_is_refused_with_the_bytes_that_are_broken() {
    let settings = berlin();
    for (bytes, message) in [
        (&b"a\xff"[..], "invalid byte sequence for encoding \"UTF8\": 0xff"),
        (b"\xc3(", "invalid byte sequence for encoding \"UTF8\": 0xc3 0x28"),
        (b"\xe2\x82", "invalid byte sequence for encoding \"UTF8\": 0xe2 0x82"),
        (b"a\0b", "invalid byte sequence for encoding \"UTF8\": 0x00"),
    ] {
        let error = decode(bytes, &SqlType::Text, Format::Text, &settings).expect_err("not text");
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::CharacterNotInRepertoire, message)
        );
    }
}

#[test]
fn infinities_of_dates_and_times_survive() {
    let settings = berlin();
    for ty in [SqlType::Date, SqlType::Timestamp, SqlType::TimestampTz] {
        for text in ["infinity", "-infinity"] {
            let array = decode(text.as_bytes(), &ty, Format::Text, &settings).expect("infinity");
            let binary = encode_one(&array, &ty, Format::Binary, &settings);
            let back = decode(&binary, &ty, Format::Binary, &settings).expect("infinity");
            assert_eq!(encode_one(&back, &ty, Format::Text, &settings), text.as_bytes());
        }
    }
}

#[test]
fn deep_json_is_refused_without_harm() {
    let settings = berlin();
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for ty in [SqlType::Json, SqlType::Jsonb] {
        assert!(decode(nested(1000).as_bytes(), &ty, Format::Text, &settings).is_ok());
        let error = decode(nested(100_000).as_bytes(), &ty, Format::Text, &settings).expect_err("too deep");
        assert_eq!(error.kind(), ErrorKind::StatementTooComplex);
    }
}

/// Every type once.
fn all_types() -> Vec<SqlType> {
    let names = "boolean,smallint,integer,bigint,real,double precision,text,bytea,uuid,date,time,timestamp,timestamptz,\
        interval,json,jsonb,integer[],text[],integer[][]";
    let mut types: Vec<SqlType> = names.split(',').map(named).collect();
    types.extend([
        SqlType::numeric(15, 2),
        SqlType::numeric(38, 38),
        SqlType::Varchar(Some(3)),
        SqlType::Char(3),
        SqlType::Unknown,
        SqlType::Struct(vec![("a".into(), SqlType::Integer), ("b".into(), named("text[]"))]),
    ]);
    types
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let settings = berlin();
        for ty in all_types() {
            for format in [Format::Text, Format::Binary] {
                if let Ok(array) = decode(&bytes, &ty, format, &settings) {
                    encode_one(&array, &ty, Format::Text, &settings);
                }
                let _ = decode_scalar(Some(&bytes), &ty, format, &settings);
            }
        }
    }

    #[test]
    fn any_text_of_dates_is_a_value_or_an_error(text in "[-0-9 :./+TZPJaepmnBCDyd,]{0,24}") {
        let settings = berlin();
        for ty in all_types() {
            if let Ok(array) = decode(text.as_bytes(), &ty, Format::Text, &settings) {
                // What was read prints as a text that reads as the same.
                let printed = encode_one(&array, &ty, Format::Text, &settings);
                let again = decode(&printed, &ty, Format::Text, &settings);
                prop_assert_eq!(&again.expect("printed"), &array, "{:?} {}", ty, text);
            }
        }
    }

    #[test]
    fn any_number_survives_text_and_binary(unscaled in -10_i128.pow(38) + 1..10_i128.pow(38), scale in 0_i8..=38) {
        let ty = SqlType::numeric(38, scale);
        survives(ScalarValue::Decimal128(Some(unscaled), 38, scale), &ty);
    }

    #[test]
    fn any_scalar_survives_text_and_binary(
        long in any::<i64>(),
        double in any::<f64>(),
        real in any::<f32>(),
        day in -2_440_588_i32..2_145_042_905,
        micros in -210_866_803_200_000_000_i64..i64::MAX,
        modern in -2_208_988_800_000_000_i64..4_000_000_000_000_000,
        text in "\\PC*",
    ) {
        survives(ScalarValue::Int64(Some(long)), &SqlType::BigInt);
        survives(ScalarValue::Int32(Some(long as i32)), &SqlType::Integer);
        survives(ScalarValue::Int16(Some(long as i16)), &SqlType::SmallInt);
        survives(ScalarValue::Float64(Some(double)), &SqlType::Double);
        survives(ScalarValue::Float32(Some(real)), &SqlType::Real);
        survives(ScalarValue::Date32(Some(day)), &SqlType::Date);
        survives(ScalarValue::TimestampMicrosecond(Some(micros), None), &SqlType::Timestamp);
        survives(ScalarValue::TimestampMicrosecond(Some(modern), Some("Europe/Berlin".into())), &SqlType::TimestampTz);
        survives(ScalarValue::Utf8View(Some(text)), &SqlType::Text);
    }

    #[test]
    fn any_array_of_texts_survives(texts in prop::collection::vec(prop::option::of("[a-z{}\", \\\\]{0,6}"), 0..6)) {
        let settings = berlin();
        let ty = named("text[]");
        let mut text = String::from("{");
        for (at, element) in texts.iter().enumerate() {
            text.push_str(if at > 0 { "," } else { "" });
            match element {
                Some(element) => text.push_str(&format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\""))),
                None => text.push_str("NULL"),
            }
        }
        text.push('}');
        let array = decode(text.as_bytes(), &ty, Format::Text, &settings).expect("an array");
        for format in [Format::Text, Format::Binary] {
            let bytes = encode_one(&array, &ty, format, &settings);
            prop_assert_eq!(&decode(&bytes, &ty, format, &settings).expect("printed"), &array);
        }
    }
}

fn survives(value: ScalarValue, ty: &SqlType) {
    let settings = berlin();
    let array = value.to_array().expect("an array");
    for format in [Format::Text, Format::Binary] {
        let bytes = encode_one(&array, ty, format, &settings);
        let back = decode(&bytes, ty, format, &settings).expect("what was printed");
        assert_eq!(&back, &array, "{format:?} {}", String::from_utf8_lossy(&bytes));
    }
}
