//! What each format looks like; aligned output is compared with what psql 15 prints for the same values.

use super::*;
use crate::shell::cells::ColumnKind;

type Row<'a> = &'a [Option<&'a str>];

fn printed(style: Style, columns: &[(&str, ColumnKind)], rows: &[Row<'_>]) -> String {
    let mut out = Vec::new();
    let progress = Progress::hidden();
    let mut printer = Printer::new(&mut out, &style, &progress);
    let columns = columns
        .iter()
        .map(|(name, kind)| Column {
            name: (*name).to_owned(),
            kind: *kind,
        })
        .collect();
    printer.begin(columns).expect("writes");
    let mut cells = Cells::default();
    for row in rows {
        cells.clear();
        for value in *row {
            cells.push(*value);
        }
        printer.row(&cells).expect("writes");
    }
    printer.end().expect("writes");
    String::from_utf8(out).expect("text")
}

fn style(format: OutputFormat) -> Style {
    Style {
        format,
        ..Style::default()
    }
}

const COLUMNS: &[(&str, ColumnKind)] = &[("id", ColumnKind::Number), ("long name", ColumnKind::Other)];

#[test]
fn aligned_as_psql() {
    // psql: select 1 as id, 'a' as "long name" union all select 100, null order by 1;
    let rows: &[Row<'_>] = &[&[Some("1"), Some("a")], &[Some("100"), None]];
    let expected = " id  | long name \n-----+-----------\n   1 | a\n 100 | \n(2 rows)\n\n";
    assert_eq!(printed(style(OutputFormat::Aligned), COLUMNS, rows), expected);
    let expected = " id | long name \n----+-----------\n(0 rows)\n\n";
    assert_eq!(printed(style(OutputFormat::Aligned), COLUMNS, &[]), expected);
}

#[test]
fn aligned_goes_on_in_the_next_line_and_shows_control_characters() {
    // psql: select 1 as id, E'a\nbc' as x, 2 as y;
    let columns = &[
        ("id", ColumnKind::Number),
        ("x", ColumnKind::Other),
        ("y", ColumnKind::Number),
    ];
    let rows: &[Row<'_>] = &[&[Some("1"), Some("a\nbc"), Some("2")]];
    let expected = " id | x  | y \n----+----+---\n  1 | a +| 2\n    | bc | \n(1 row)\n\n";
    assert_eq!(printed(style(OutputFormat::Aligned), columns, rows), expected);
    let rows: &[Row<'_>] = &[&[Some("1"), Some("\u{1b}[2J"), Some("日本")]];
    let text = printed(style(OutputFormat::Aligned), columns, rows);
    assert!(
        text.contains(" | \\x1B[2J | 日本\n") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(
        text.starts_with(" id |    x    |  y   \n----+---------+------\n"),
        "{text}"
    );
}

#[test]
fn expanded_as_psql() {
    // psql -x: select 1 as id, 'a' as "long name";
    let style = Style {
        expanded: true,
        null: "∅".to_owned(),
        ..Style::default()
    };
    let rows: &[Row<'_>] = &[&[Some("1"), Some("a")], &[None, Some("b\nc")]];
    let text = printed(style, COLUMNS, rows);
    let expected =
        "-[ RECORD 1 ]\nid        | 1\nlong name | a\n-[ RECORD 2 ]\nid        | ∅\nlong name | b+\n          | c\n\n";
    assert_eq!(text, expected);
}

#[test]
fn formats_for_programs() {
    let columns = &[
        ("n", ColumnKind::Number),
        ("b", ColumnKind::Boolean),
        ("j", ColumnKind::Json),
        ("s", ColumnKind::Other),
        ("s", ColumnKind::Other),
    ];
    let rows: &[Row<'_>] = &[
        &[Some("1.50"), Some("t"), Some("{\"k\": 1}"), Some("a\"b,\n"), Some("")],
        &[Some("NaN"), None, None, Some("x"), None],
    ];
    assert_eq!(
        printed(style(OutputFormat::Csv), columns, rows),
        "n,b,j,s,s\n1.50,t,\"{\"\"k\"\": 1}\",\"a\"\"b,\n\",\"\"\nNaN,,,x,\n"
    );
    assert_eq!(
        printed(style(OutputFormat::Json), columns, rows),
        "[{\"n\":1.50,\"b\":true,\"j\":{\"k\": 1},\"s\":\"a\\\"b,\\n\",\"s_2\":\"\"},\n \
         {\"n\":\"NaN\",\"b\":null,\"j\":null,\"s\":\"x\",\"s_2\":null}]\n"
    );
    assert_eq!(printed(style(OutputFormat::Json), columns, &[]), "[]\n");
    assert_eq!(
        printed(style(OutputFormat::Jsonl), &columns[..1], rows),
        "{\"n\":1.50}\n{\"n\":\"NaN\"}\n"
    );
    assert_eq!(
        printed(style(OutputFormat::Unaligned), &columns[..2], rows),
        "n|b\n1.50|t\nNaN|\n(2 rows)\n"
    );
    assert_eq!(
        printed(style(OutputFormat::Markdown), &columns[..2], rows),
        "| n | b |\n| ---: | --- |\n| 1.50 | t |\n| NaN |  |\n"
    );
}

#[test]
fn many_rows_do_not_wait_for_the_last() {
    let mut out = Vec::new();
    let (style, progress) = (
        Style {
            tuples_only: true,
            ..Style::default()
        },
        Progress::hidden(),
    );
    let mut printer = Printer::new(&mut out, &style, &progress);
    printer
        .begin(vec![Column {
            name: "x".to_owned(),
            kind: ColumnKind::Other,
        }])
        .expect("writes");
    let mut cells = Cells::default();
    cells.push(Some("a"));
    for _ in 0..ROWS_HELD_MAX + 5 {
        printer.row(&cells).expect("writes");
    }
    assert!(printer.held.is_empty());
    cells.clear();
    cells.push(Some("longer than before"));
    printer.row(&cells).expect("writes");
    printer.end().expect("writes");
    let lines: Vec<&str> = std::str::from_utf8(&out).expect("text").lines().collect();
    assert_eq!(lines.len(), ROWS_HELD_MAX + 7);
    assert_eq!(lines[ROWS_HELD_MAX + 5], " longer than before");
}
