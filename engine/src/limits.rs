//! What one statement may use.
//!
//! The limits are settings: the server's configuration gives them to every session, `ALTER ROLE … SET` to those of one role, and only
//! superusers set them (`staffa_planner::is_for_superusers`), so that nobody lifts their own. What happens at which limit is in docs/limits.md.

use std::time::Duration;

use crate::settings::Settings;

/// The limits of one statement. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Statements of the role that run at a time; others wait.
    pub(crate) running: Option<u64>,
    /// Statements of the role that wait at a time; others are refused.
    pub(crate) queued: u64,
    /// How long a statement waits.
    pub(crate) queue_time: Option<Duration>,
    /// How long a statement takes, with its wait.
    pub(crate) time: Option<Duration>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) rows_scanned: Option<u64>,
    pub(crate) bytes_scanned: Option<u64>,
    /// Bytes of temporary files at a time.
    pub(crate) temporary_bytes: Option<u64>,
    pub(crate) result_rows: Option<u64>,
    pub(crate) result_bytes: Option<u64>,
}

impl Limits {
    pub(crate) fn of(settings: &Settings) -> Self {
        let above_zero = |name: &str| settings.number(name).filter(|number| *number > 0);
        let bytes = |name: &str| settings.bytes(name).filter(|bytes| *bytes > 0);
        let time = match (
            settings.timeout("statement_timeout"),
            settings.timeout("staffa.max_statement_time"),
        ) {
            (Some(own), Some(most)) => Some(own.min(most)),
            (own, most) => own.or(most),
        };
        Self {
            running: above_zero("staffa.max_running"),
            queued: settings.number("staffa.max_queued").unwrap_or_default(),
            queue_time: settings.timeout("staffa.queue_timeout"),
            time,
            memory_bytes: bytes("staffa.max_memory"),
            rows_scanned: above_zero("staffa.max_rows_scanned"),
            bytes_scanned: bytes("staffa.max_bytes_scanned"),
            // 0 is a limit here, as in PostgreSQL.
            temporary_bytes: settings.bytes("temp_file_limit"),
            result_rows: above_zero("staffa.max_result_rows"),
            result_bytes: bytes("staffa.max_result_bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_limited_until_it_is_set() {
        let mut settings = Settings::new("admin", true);
        let unlimited = Limits {
            queued: 100,
            ..Limits::default()
        };
        assert_eq!(Limits::of(&settings), unlimited);
        for (name, value) in [
            ("staffa.max_memory", "1GB"),
            ("temp_file_limit", "0"),
            ("staffa.max_statement_time", "1min"),
            ("statement_timeout", "2min"),
            ("staffa.max_result_rows", "10"),
        ] {
            settings.set(name, Some(value), false).expect("a superuser may");
        }
        let limits = Limits {
            time: Some(Duration::from_secs(60)),
            memory_bytes: Some(1 << 30),
            temporary_bytes: Some(0),
            result_rows: Some(10),
            ..unlimited
        };
        assert_eq!(Limits::of(&settings), limits);
    }
}
