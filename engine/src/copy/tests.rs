//! What PostgreSQL 15 makes of COPY data, from `tests/postgres15.tsv`, whole and byte by byte; binary; broken binary.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use bytes::BytesMut;
use staffa_planner::value::FormatSettings;
use staffa_planner::{CopyFormat, CopyHeader, CopyOptions, Error, ErrorKind, ForceColumns, Result, SqlType};

use super::{CopyReader, CopyWriter};

const CORPUS: &str = include_str!("tests/postgres15.tsv");

/// The table of the corpus: `t (a int, b text, c text)`.
fn columns() -> Vec<(String, SqlType)> {
    vec![
        ("a".into(), SqlType::Integer),
        ("b".into(), SqlType::Text),
        ("c".into(), SqlType::Text),
    ]
}

/// Bytes of a corpus field: Latin-1 characters with escapes.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        bytes.push(match character {
            '\\' => match characters.next() {
                Some('n') => b'\n',
                Some('t') => b'\t',
                Some('r') => b'\r',
                _ => b'\\',
            },
            other => u8::try_from(u32::from(other)).expect("Latin-1"),
        });
    }
    bytes
}

/// Options as the corpus writes them: `csv delimiter ";" header match force_null (b)`.
fn options(text: &str) -> CopyOptions {
    let mut words = text.split(' ');
    let format = match words.next() {
        Some("csv") => CopyFormat::Csv,
        _ => CopyFormat::Text,
    };
    let mut options = CopyOptions::new(format);
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        if word == "header" {
            let matched = words.next_if_eq(&"match").is_some();
            options.header = if matched { CopyHeader::Match } else { CopyHeader::Line };
            continue;
        }
        let value = words.next().expect("a value");
        let inner = value.trim_matches('"');
        let columns = || match value {
            "*" => ForceColumns::All,
            _ => ForceColumns::Named(vec![value.trim_matches(['(', ')']).to_string()]),
        };
        match word {
            "null" => options.null = inner.to_string(),
            "delimiter" => options.delimiter = inner.as_bytes()[0],
            "quote" => {
                options.quote = inner.as_bytes()[0];
                options.escape = options.quote;
            }
            "escape" => options.escape = inner.as_bytes()[0],
            "force_null" => options.force_null = columns(),
            "force_not_null" => options.force_not_null = columns(),
            "force_quote" => options.force_quote = columns(),
            other => panic!("option {other}"),
        }
    }
    options
}

/// Reads data handed over in pieces of this size.
fn read(columns: &[(String, SqlType)], options: &CopyOptions, data: &[u8], piece: usize) -> Result<RecordBatch> {
    let mut reader = CopyReader::new("t", columns, options, &FormatSettings::default())?;
    let mut batches = Vec::new();
    for piece in data.chunks(piece) {
        batches.extend(reader.push(piece)?);
    }
    batches.extend(reader.finish()?);
    // As the reader would have made it, when there are no rows.
    let field = |(name, ty): &(String, SqlType)| staffa_planner::types::arrow_field(name, ty, true, "UTC");
    let empty = || Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let schema = batches.first().map_or_else(empty, RecordBatch::schema);
    Ok(concat_batches(&schema, &batches).expect("batches of one schema"))
}

fn write(columns: &[(String, SqlType)], options: &CopyOptions, batch: &RecordBatch) -> Vec<u8> {
    let settings = FormatSettings::default();
    let writer = CopyWriter::new(&batch.schema(), columns, options, &settings).expect("a writer");
    let mut out = BytesMut::new();
    writer.header(&mut out);
    writer.write(batch, &mut out).expect("rows");
    writer.trailer(&mut out);
    out.to_vec()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn data_is_read_and_written_as_by_postgres() {
    let mut wrong = Vec::new();
    for line in CORPUS.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let options = options(fields[0]);
        let data = bytes(fields[1]);
        for piece in [data.len().max(1), 1, 3] {
            match (fields[2], read(&columns(), &options, &data, piece)) {
                ("ok", Ok(batch)) => {
                    let rows = write(&columns(), &CopyOptions::default(), &batch);
                    let same = write(&columns(), &options, &batch);
                    if rows != bytes(fields[3]) || same != bytes(fields[4]) {
                        wrong.push(format!("{line} by {piece}: {:?} and {:?}", shown(&rows), shown(&same)));
                    }
                }
                ("error", Err(error)) => {
                    let (message, hint, context) = (bytes(fields[3]), bytes(fields[4]), bytes(fields[5]));
                    let ours = (
                        error.message(),
                        error.hint().unwrap_or_default(),
                        error.context().unwrap_or_default(),
                    );
                    if ours != (&*shown(&message), &*shown(&hint), &*shown(&context)) && !bad_utf8(&error) {
                        wrong.push(format!("{line} by {piece}: {error}"));
                    }
                }
                (_, other) => wrong.push(format!("{line} by {piece}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// PostgreSQL checks a line before it is taken apart; ours names the column, too.
fn bad_utf8(error: &Error) -> bool {
    error.kind() == ErrorKind::CharacterNotInRepertoire
}

#[test]
fn batches_have_8192_rows_and_pieces_may_be_cut_anywhere() {
    let columns = [
        ("n".to_string(), SqlType::BigInt),
        ("s".to_string(), SqlType::Varchar(Some(20))),
    ];
    let mut data = String::from("n,s\n");
    for row in 0..20_000 {
        data.push_str(&format!("{row},\"größe, {row}\"\n"));
    }
    let options = CopyOptions {
        header: CopyHeader::Match,
        ..CopyOptions::new(CopyFormat::Csv)
    };
    let mut reader = CopyReader::new("t", &columns, &options, &FormatSettings::default()).expect("a reader");
    let mut sizes = Vec::new();
    for piece in data.as_bytes().chunks(1000) {
        sizes.extend(reader.push(piece).expect("rows").iter().map(RecordBatch::num_rows));
    }
    sizes.extend(reader.finish().expect("rows").iter().map(RecordBatch::num_rows));
    assert_eq!(sizes, [8192, 8192, 3616]);
}

/// `COPY (SELECT 1::int, NULL::text, 'ab'::text) TO STDOUT (FORMAT binary)` of PostgreSQL 15.
const BINARY: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\
    \0\x03\0\0\0\x04\0\0\0\x01\xff\xff\xff\xff\0\0\0\x02ab\xff\xff";

#[test]
fn binary_is_read_and_written() {
    let options = CopyOptions::new(CopyFormat::Binary);
    for piece in [1, 2, 7, BINARY.len()] {
        let batch = read(&columns(), &options, BINARY, piece).expect("rows");
        assert_eq!(write(&columns(), &CopyOptions::default(), &batch), b"1\t\\N\tab\n");
        assert_eq!(write(&columns(), &options, &batch), BINARY);
    }
    // The trailer may be missing.
    let batch = read(&columns(), &options, &BINARY[..BINARY.len() - 2], 5).expect("rows");
    assert_eq!(batch.num_rows(), 1);
}

#[test]
fn broken_binary_is_refused() {
    let options = CopyOptions::new(CopyFormat::Binary);
    let with = |at: usize, byte: u8| {
        let mut data = BINARY.to_vec();
        data[at] = byte;
        data
    };
    let longer = [BINARY, b"x"].concat();
    let cases: [(&[u8], &str); 7] = [
        (&with(0, b'Q'), "COPY file signature not recognized"),
        (b"", "COPY file signature not recognized"),
        (&with(12, 1), "invalid COPY file header (WITH OIDS)"),
        (&with(11, 0x80), "unrecognized critical flags in COPY file header"),
        (&with(20, 2), "row field count is 2, expected 3"),
        (&BINARY[..30], "unexpected EOF in COPY data"),
        (&longer, "received copy data after EOF marker"),
    ];
    for (data, message) in cases {
        for piece in [1, data.len().max(1)] {
            let error = read(&columns(), &options, data, piece).expect_err(message);
            assert_eq!(error.message(), message);
        }
    }
    let error = read(&columns(), &options, &with(24, 3), 100).expect_err("three bytes are no integer");
    assert!(
        error
            .context()
            .is_some_and(|context| context.starts_with("COPY t, line 1")),
        "{error}"
    );
}

#[test]
fn the_error_of_the_first_row_is_told() {
    // In row 3 the second column is wrong, in row 4 the first, in row 5 the count of fields.
    let columns = [("a".to_string(), SqlType::Integer), ("b".to_string(), SqlType::Integer)];
    let options = CopyOptions::new(CopyFormat::Csv);
    let data = b"1,1\n2,2\n3,x\ny,4\n5\n";
    for piece in [1, 5, data.len()] {
        let error = read(&columns, &options, data, piece).expect_err("x");
        assert_eq!(error.context(), Some("COPY t, line 3, column b: \"x\""));
    }
    let error = read(&columns, &options, b"1,1\nz\n", 100).expect_err("z");
    assert_eq!(error.message(), "invalid input syntax for type integer: \"z\"");
}
