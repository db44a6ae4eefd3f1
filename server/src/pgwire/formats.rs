//! Formats of values as Bind asks for them.

use staffa::{ErrorKind, Format};

use super::report::Report;

/// One format a column (or parameter) from the codes of a Bind message: none means text, one is for all.
pub(crate) fn formats(codes: &[i16], count: usize, mismatch: impl FnOnce() -> String) -> Result<Vec<Format>, Report> {
    let format = |code: &i16| match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(Report::error(
            ErrorKind::InvalidParameterValue,
            format!("unsupported format code: {other}"),
        )),
    };
    match codes {
        [] => Ok(vec![Format::Text; count]),
        [code] => Ok(vec![format(code)?; count]),
        codes if codes.len() == count => codes.iter().map(format).collect(),
        _ => Err(Report::protocol(mismatch())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_codes_are_none_one_or_one_each() {
        let binary = |codes: &[i16], count| {
            formats(codes, count, || "mismatch".to_owned())
                .map(|formats| {
                    formats
                        .iter()
                        .map(|format| matches!(format, Format::Binary))
                        .collect::<Vec<_>>()
                })
                .map_err(|report| (report.code, report.message))
        };
        assert_eq!(binary(&[], 2), Ok(vec![false, false]));
        assert_eq!(binary(&[1], 2), Ok(vec![true, true]));
        assert_eq!(binary(&[1], 0), Ok(vec![]));
        assert_eq!(binary(&[0, 1], 2), Ok(vec![false, true]));
        assert_eq!(binary(&[0, 1], 3), Err(("08P01", "mismatch".to_owned())));
        assert_eq!(binary(&[2], 1), Err(("22023", "unsupported format code: 2".to_owned())));
    }
}
