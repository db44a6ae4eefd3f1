//! Portals: a statement with its parameters, about to run, running or done.

use std::collections::HashMap;
use std::sync::Arc;

use staffa::{CommandTag, ErrorKind, Format, Prepared, ScalarValue};

use super::report::Report;
use super::rows::RowSet;

/// Named portals one session may have: each can hold a running query.
const PORTALS_MAX: usize = 1_000;

/// What Bind makes and Execute runs.
pub(crate) struct Portal {
    /// `None`: the empty statement.
    pub(crate) statement: Option<Arc<Prepared>>,
    /// The statement whose rows it gives: for an EXECUTE another one, if it was there at Bind.
    pub(crate) source: Option<Arc<Prepared>>,
    /// One a column of the result.
    pub(crate) formats: Vec<Format>,
    pub(crate) state: State,
}

/// How far a portal is.
pub(crate) enum State {
    New(Vec<ScalarValue>),
    /// A query: running, suspended or at its end. At the end, Execute gives no more rows.
    Rows(RowSet),
    /// Anything else runs once.
    Done,
}

/// The portals of one session by name; the empty name is the unnamed portal.
#[derive(Default)]
pub(crate) struct Portals {
    by_name: HashMap<String, Portal>,
}

impl Portals {
    /// Adds a portal. The unnamed one takes the place of the one before; a named one must be new.
    pub(crate) fn add(&mut self, name: String, portal: Portal) -> Result<(), Report> {
        if !name.is_empty() && self.by_name.contains_key(&name) {
            return Err(Report::error(
                ErrorKind::DuplicateCursor,
                format!("cursor \"{name}\" already exists"),
            ));
        }
        if self.by_name.len() >= PORTALS_MAX {
            let text = format!("too many portals: a session may have {PORTALS_MAX}");
            return Err(Report::error(ErrorKind::ConfigurationLimitExceeded, text)
                .hint("Close portals that are no longer needed, or end the transaction."));
        }
        self.by_name.insert(name, portal);
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Portal, Report> {
        self.by_name.get(name).ok_or_else(|| undefined(name))
    }

    /// Takes a portal out, to run it; [`put_back`](Self::put_back) when it stays.
    pub(crate) fn take(&mut self, name: &str) -> Result<Portal, Report> {
        self.by_name.remove(name).ok_or_else(|| undefined(name))
    }

    pub(crate) fn put_back(&mut self, name: String, portal: Portal) {
        self.by_name.insert(name, portal);
    }

    /// Ends a portal and the query behind it; one that is not there is fine.
    pub(crate) fn close(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    pub(crate) fn close_all(&mut self) {
        self.by_name.clear();
    }
}

fn undefined(name: &str) -> Report {
    Report::error(ErrorKind::UndefinedCursor, format!("portal \"{name}\" does not exist"))
}

/// Whether a statement that ended with this tag ends all portals: they belong to the transaction.
pub(crate) fn ends_portals(tag: &CommandTag) -> bool {
    matches!(
        tag.to_string().as_str(),
        "COMMIT" | "ROLLBACK" | "DISCARD ALL" | "CLOSE CURSOR ALL"
    )
}

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

    fn portal() -> Portal {
        Portal {
            statement: None,
            source: None,
            formats: Vec::new(),
            state: State::Done,
        }
    }

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

    #[test]
    fn only_the_unnamed_portal_may_be_replaced() {
        let mut portals = Portals::default();
        portals.add(String::new(), portal()).expect("new");
        portals.add(String::new(), portal()).expect("replaced");
        portals.add("c".to_owned(), portal()).expect("new");
        let error = |result: Result<(), Report>| result.map_err(|report| (report.code, report.message));
        let duplicate = Err(("42P03", "cursor \"c\" already exists".to_owned()));
        assert_eq!(error(portals.add("c".to_owned(), portal())), duplicate);
        portals.close("c");
        let missing = Err(("34000", "portal \"c\" does not exist".to_owned()));
        assert_eq!(error(portals.get("c").map(|_| ())), missing);
    }

    #[test]
    fn portals_end_with_the_transaction() {
        assert!(ends_portals(&CommandTag::plain("COMMIT")));
        assert!(!ends_portals(&CommandTag::plain("BEGIN")));
        assert!(!ends_portals(&CommandTag::counted("COMMIT", 1)));
    }
}
