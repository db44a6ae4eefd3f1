//! Log lines, as text or JSON, to stderr; and the line about a slow statement.

pub(crate) mod redact;

use std::panic;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

pub(crate) use redact::redact;

/// Longer statements are cut in the log.
const STATEMENT_CHARACTERS_MAX: usize = 2_000;

/// Libraries that talk more than their news is worth; a filter of the user's comes after these and wins.
const QUIET_LIBRARIES: &str = "sqlx=warn,datafusion=warn,object_store=warn,hyper=warn,reqwest=warn,rustls=warn";

/// From when on a statement is slow; unset or `None`: never.
static SLOW_AFTER: OnceLock<Option<Duration>> = OnceLock::new();

/// True where the text is a level or a filter of levels.
pub(crate) fn check_level(level: &str) -> Result<(), String> {
    EnvFilter::builder()
        .parse(level)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Starts logging for the whole process. A second call changes nothing that shows.
pub(crate) fn start(format: LogFormat, level: &str, slow_query: Option<Duration>) {
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET_LIBRARIES},{level}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // An error means that somebody started it before, which is as good.
    let _ = match format {
        LogFormat::Text => {
            let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(color).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    let _ = SLOW_AFTER.set(slow_query);
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match staffa::is_decoding() {
        true => tracing::debug!(%panic, "a decoder stopped at damaged bytes"),
        false => report(panic),
    }));
}

/// How a statement ended, for the slow statements' line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementEnd {
    Finished,
    Failed,
}

/// Called once a statement has ended and its rows are sent; writes a line where it took longer than `slow_query`.
/// Literals and comments of the text are left out: they may hold people's data or passwords.
pub fn statement_ended(user: &str, database: &str, sql: &str, took: Duration, rows: u64, end: StatementEnd) {
    if !SLOW_AFTER
        .get()
        .is_some_and(|limit| limit.is_some_and(|limit| took >= limit))
    {
        return;
    }
    let mut statement = redact(sql);
    if let Some((end, _)) = statement.char_indices().nth(STATEMENT_CHARACTERS_MAX) {
        statement.truncate(end);
        statement.push_str(" ...");
    }
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let failed = end == StatementEnd::Failed;
    tracing::warn!(target: "staffa::slow_query", user, database, milliseconds, rows, failed, statement, "slow statement");
}
