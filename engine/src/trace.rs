//! What a statement did when, for whoever traces it: told once, when it has ended. Nothing is noted where nobody asked.

use std::fmt;
use std::time::SystemTime;

use parking_lot::Mutex;

/// A statement that has ended.
#[derive(Clone, Debug)]
pub struct StatementTrace {
    /// The session's number, as in `pg_stat_activity`.
    pub pid: i32,
    /// The role that logged in.
    pub user: String,
    pub database: String,
    /// Its text for people other than its client: without passwords, at most 4 KiB of it.
    pub text: String,
    pub started: SystemTime,
    pub ended: SystemTime,
    pub stages: Vec<StageTrace>,
    pub rows: u64,
    pub files_read: u64,
    pub bytes_read: u64,
    pub spilled_bytes: u64,
    pub memory_bytes_max: u64,
    /// SQLSTATE, where the statement failed and somebody gave it one.
    pub error_code: Option<&'static str>,
    pub error: Option<String>,
    /// What it is a part of, by a comment in its text.
    pub parent: Option<TraceParent>,
}

/// A part of a statement's time.
#[derive(Clone, Debug)]
pub struct StageTrace {
    pub stage: Stage,
    pub started: SystemTime,
    pub ended: SystemTime,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Parse,
    Plan,
    /// Waits for a place.
    Queue,
    Execute,
    Commit,
}

impl Stage {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Parse => "parse",
            Stage::Plan => "plan",
            Stage::Queue => "queue",
            Stage::Execute => "execute",
            Stage::Commit => "commit",
        }
    }
}

/// The client's own span, as W3C Trace Context writes it and sqlcommenter puts it into a comment:
/// `/*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 of them.
    pub span_id: String,
    /// Whether the client keeps the trace.
    pub sampled: bool,
}

impl TraceParent {
    /// The first one in a text.
    pub(crate) fn find(text: &str) -> Option<Self> {
        const NAME: &str = "traceparent='";
        let (_, value) = text.split_once(NAME)?;
        Self::parse(value.split_once('\'')?.0)
    }

    fn parse(value: &str) -> Option<Self> {
        let parts: Vec<&str> = value.split('-').collect();
        let [version, trace_id, span_id, flags, rest @ ..] = parts.as_slice() else {
            return None;
        };
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |text: &str, digits: usize| is_hex(text, digits) && text.bytes().any(|byte| byte != b'0');
        // A later version may say more behind what is known; version ff is none, and 00 says no more.
        let known = is_hex(version, 2) && *version != "ff" && (*version != "00" || rest.is_empty());
        if !known || !is_id(trace_id, 32) || !is_id(span_id, 16) || !is_hex(flags, 2) {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self {
            trace_id: (*trace_id).to_owned(),
            span_id: (*span_id).to_owned(),
            sampled: flags & 1 == 1,
        })
    }
}

/// Whoever is told.
pub(crate) struct Observer(pub(crate) Box<dyn Fn(StatementTrace) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// What is noted of a statement that has not ended.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) parent: Option<TraceParent>,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    stages: Vec<StageTrace>,
    /// Since when it executes.
    executing: Option<SystemTime>,
}

impl Noted {
    /// `parsed`: when its text was, if that is known.
    pub(crate) fn new(parent: Option<TraceParent>, parsed: Option<(SystemTime, SystemTime)>) -> Self {
        let parse = parsed.map(|(started, ended)| StageTrace {
            stage: Stage::Parse,
            started,
            ended,
        });
        Self {
            parent,
            times: Mutex::new(Times {
                stages: parse.into_iter().collect(),
                executing: None,
            }),
        }
    }

    /// A stage is over that began then. What is planned or waits does not execute meanwhile.
    pub(crate) fn stage(&self, stage: Stage, started: SystemTime) {
        let ended = SystemTime::now();
        let mut times = self.times.lock();
        if let Some(since) = times.executing.take() {
            match stage {
                // Commands plan what they run first.
                Stage::Plan | Stage::Queue => times.executing = Some(ended),
                _ => times.push_execution(since, started),
            }
        }
        times.stages.push(StageTrace { stage, started, ended });
    }

    /// It executes from now on.
    pub(crate) fn executes(&self) {
        self.times.lock().executing = Some(SystemTime::now());
    }

    /// The stages of a statement that ends now.
    pub(crate) fn take(&self, ended: SystemTime) -> Vec<StageTrace> {
        let mut times = self.times.lock();
        if let Some(since) = times.executing.take() {
            times.push_execution(since, ended);
        }
        std::mem::take(&mut times.stages)
    }
}

impl Times {
    fn push_execution(&mut self, started: SystemTime, ended: SystemTime) {
        self.stages.push(StageTrace {
            stage: Stage::Execute,
            started,
            ended,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_span_is_in_a_comment() {
        let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let find = |value: &str| TraceParent::find(&format!("select 1 /*action='a',traceparent='{value}',x='y'*/"));
        let found = find(&format!("00-{ids}-01")).expect("a parent");
        assert_eq!(found.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(found.span_id, "b7ad6b7169203331");
        assert!(found.sampled);
        assert!(!find(&format!("00-{ids}-00")).expect("a parent").sampled);
        assert!(find(&format!("01-{ids}-01-more")).is_some());
        for wrong in [
            "",
            "00",
            &format!("ff-{ids}-01"),
            &format!("00-{ids}-01-more"),
            &format!("00-{ids}-1"),
            &format!("00-{ids}"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(find(wrong), None, "{wrong}");
        }
        assert_eq!(TraceParent::find("select 'traceparent='"), None);
    }

    #[test]
    fn execution_is_what_lies_between() {
        let noted = Noted::new(None, None);
        let start = SystemTime::now();
        noted.stage(Stage::Plan, start);
        noted.executes();
        noted.stage(Stage::Plan, SystemTime::now());
        noted.stage(Stage::Commit, SystemTime::now());
        let stages = noted.take(SystemTime::now());
        let names: Vec<&str> = stages.iter().map(|stage| stage.stage.name()).collect();
        assert_eq!(names, ["plan", "plan", "execute", "commit"]);
        assert!(
            stages
                .iter()
                .all(|stage| stage.started <= stage.ended && start <= stage.started)
        );
    }
}
