//! Server messages, written straight into the output buffer (PostgreSQL 15, section 55.7).

use bytes::{BufMut, BytesMut};
use staffa::{ErrorKind, Format, OutputColumn, SqlType, TransactionStatus, type_length, type_modifier, type_oid};

use super::report::{Report, Severity};
use super::sqlstate::TOO_MANY_COLUMNS;

/// Columns that one row may have: the count on the wire is an Int16.
pub(crate) const COLUMNS_MAX: usize = i16::MAX as usize;

/// Writes one message: type byte, length, then what `body` writes.
fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    body(out);
    fill_length(out, start);
}

/// Puts the length of everything since `start` (itself included) into the four bytes at `start`.
pub(crate) fn fill_length(out: &mut BytesMut, start: usize) {
    let length = u32::try_from(out.len() - start).expect("messages are checked to stay under 2 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A zero-terminated string; a zero byte inside would end it early, so it becomes a blank.
fn text(out: &mut BytesMut, text: &str) {
    let start = out.len();
    out.put_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    out.put_u8(0);
}

pub(crate) fn report(out: &mut BytesMut, report: &Report) {
    let tag = match report.severity {
        Severity::Info | Severity::Notice | Severity::Warning => b'N',
        Severity::Error | Severity::Fatal => b'E',
    };
    let position = report.position.map(|position| position.to_string());
    let fields = [
        (b'S', Some(report.severity.word())),
        (b'V', Some(report.severity.word())),
        (b'C', Some(report.code)),
        (b'M', Some(report.message.as_str())),
        (b'D', report.detail.as_deref()),
        (b'H', report.hint.as_deref()),
        (b'P', position.as_deref()),
        (b'W', report.context.as_deref()),
        (b'R', report.routine),
    ];
    message(out, tag, |out| {
        for (field, value) in fields {
            if let Some(value) = value {
                out.put_u8(field);
                text(out, value);
            }
        }
        out.put_u8(0);
    });
}

pub(crate) fn authentication_ok(out: &mut BytesMut) {
    message(out, b'R', |out| out.put_u32(0));
}

/// Asks for SASL with one of these mechanisms.
pub(crate) fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    message(out, b'R', |out| {
        out.put_u32(10);
        for mechanism in mechanisms {
            text(out, mechanism);
        }
        out.put_u8(0);
    });
}

pub(crate) fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(11);
        out.put_slice(data);
    });
}

pub(crate) fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(12);
        out.put_slice(data);
    });
}

/// `version` is the whole number (major in the upper 16 bits), as PostgreSQL 18 sends it.
pub(crate) fn negotiate_protocol_version(out: &mut BytesMut, version: u32, unsupported_options: &[String]) {
    message(out, b'v', |out| {
        out.put_u32(version);
        out.put_u32(u32::try_from(unsupported_options.len()).expect("a startup packet has at most 10,000 bytes"));
        for option in unsupported_options {
            text(out, option);
        }
    });
}

pub(crate) fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        text(out, name);
        text(out, value);
    });
}

pub(crate) fn backend_key_data(out: &mut BytesMut, process: i32, key: &[u8]) {
    message(out, b'K', |out| {
        out.put_i32(process);
        out.put_slice(key);
    });
}

pub(crate) fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    message(out, b'Z', |out| {
        out.put_u8(match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        });
    });
}

pub(crate) fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| text(out, tag));
}

pub(crate) fn empty_query(out: &mut BytesMut) {
    message(out, b'I', |_| {});
}

pub(crate) fn parse_complete(out: &mut BytesMut) {
    message(out, b'1', |_| {});
}

pub(crate) fn bind_complete(out: &mut BytesMut) {
    message(out, b'2', |_| {});
}

pub(crate) fn close_complete(out: &mut BytesMut) {
    message(out, b'3', |_| {});
}

pub(crate) fn no_data(out: &mut BytesMut) {
    message(out, b'n', |_| {});
}

pub(crate) fn portal_suspended(out: &mut BytesMut) {
    message(out, b's', |_| {});
}

pub(crate) fn parameter_description(out: &mut BytesMut, types: &[SqlType]) -> Result<(), Report> {
    let count = u16::try_from(types.len()).map_err(|_| {
        Report::error(
            ErrorKind::ProgramLimitExceeded,
            "a statement cannot have more than 65535 parameters",
        )
    })?;
    message(out, b't', |out| {
        out.put_u16(count);
        for ty in types {
            out.put_u32(type_oid(ty));
        }
    });
    Ok(())
}

/// `formats` has one entry a column.
pub(crate) fn row_description(out: &mut BytesMut, columns: &[OutputColumn], formats: &[Format]) -> Result<(), Report> {
    let count = column_count(columns.len())?;
    message(out, b'T', |out| {
        out.put_i16(count);
        for (column, format) in columns.iter().zip(formats) {
            text(out, &column.name);
            out.put_u32(column.origin.map_or(0, |origin| origin.relation));
            out.put_i16(column.origin.map_or(0, |origin| origin.column));
            out.put_u32(type_oid(&column.ty));
            out.put_i16(type_length(&column.ty));
            out.put_i32(type_modifier(&column.ty));
            out.put_i16(format_code(*format));
        }
    });
    Ok(())
}

/// What a result of that many columns is counted as; an error when it does not fit.
pub(crate) fn column_count(columns: usize) -> Result<i16, Report> {
    i16::try_from(columns).map_err(|_| {
        let text = format!("a result cannot have more than {COLUMNS_MAX} columns");
        Report::with_code(Severity::Error, TOO_MANY_COLUMNS, text)
    })
}

/// Which side of a COPY a response starts.
#[derive(Clone, Copy)]
pub(crate) enum CopyDirection {
    In,
    Out,
}

pub(crate) fn copy_response(out: &mut BytesMut, direction: CopyDirection, columns: i16, format: Format) {
    let tag = match direction {
        CopyDirection::In => b'G',
        CopyDirection::Out => b'H',
    };
    message(out, tag, |out| {
        // The overall format is one byte, those of the columns two each.
        out.put_u8(u8::from(matches!(format, Format::Binary)));
        out.put_i16(columns);
        for _ in 0..columns {
            out.put_i16(format_code(format));
        }
    });
}

/// CopyData with these pieces, one behind the other.
pub(crate) fn copy_data(out: &mut BytesMut, pieces: &[&[u8]]) {
    message(out, b'd', |out| pieces.iter().for_each(|piece| out.put_slice(piece)));
}

pub(crate) fn copy_done(out: &mut BytesMut) {
    message(out, b'c', |_| {});
}

pub(crate) fn format_code(format: Format) -> i16 {
    match format {
        Format::Text => 0,
        Format::Binary => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_response_has_the_fields_libpq_prints() {
        let mut out = BytesMut::new();
        let error = Report {
            position: Some(8),
            ..Report::error(ErrorKind::UndefinedColumn, "column \"x\" does not exist").hint("look at \\d")
        };
        report(&mut out, &error);
        let body: &[u8] = b"SERROR\0VERROR\0C42703\0Mcolumn \"x\" does not exist\0Hlook at \\d\0P8\0\0";
        assert_eq!(out[0], b'E');
        assert_eq!(
            u32::from_be_bytes([out[1], out[2], out[3], out[4]]) as usize,
            body.len() + 4
        );
        assert_eq!(&out[5..], body);
    }

    #[test]
    fn a_zero_byte_inside_text_does_not_end_it() {
        let mut out = BytesMut::new();
        command_complete(&mut out, "A\0B");
        assert_eq!(&out[..], b"C\0\0\0\x08A B\0");
    }

    #[test]
    fn copy_response_repeats_the_format_for_each_column() {
        let mut out = BytesMut::new();
        copy_response(&mut out, CopyDirection::In, 2, Format::Binary);
        assert_eq!(&out[..], b"G\0\0\0\x0b\x01\0\x02\0\x01\0\x01");
    }

    #[test]
    fn ready_for_query_tells_the_transaction() {
        for (status, byte) in [
            (TransactionStatus::Idle, b'I'),
            (TransactionStatus::InTransaction, b'T'),
            (TransactionStatus::Failed, b'E'),
        ] {
            let mut out = BytesMut::new();
            ready_for_query(&mut out, status);
            assert_eq!(&out[..], [b'Z', 0, 0, 0, 5, byte]);
        }
    }
}
