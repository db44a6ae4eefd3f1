//! Limits of statements, which only superusers set: see `limits.rs` of this crate.

use super::{Definition, Kind, define};

/// Kilobytes of the largest limit, which is as good as none.
const MOST_KB: i64 = 1 << 40;

#[rustfmt::skip]
pub(super) const DEFINITIONS: &[Definition] = &[
    define("staffa.max_bytes_scanned", "0", Kind::Kilobytes(0, MOST_KB), false, "Kilobytes of files that one statement may read; 0 is no limit."),
    define("staffa.max_memory", "0", Kind::Kilobytes(0, MOST_KB), false, "Kilobytes of memory that one statement may hold; 0 is no limit."),
    define("staffa.max_queued", "100", Kind::Integer(0, 1_000_000), false, "Statements of the role that may wait to run."),
    define("staffa.max_result_bytes", "0", Kind::Kilobytes(0, MOST_KB), false, "Kilobytes of values that one query may give; 0 is no limit."),
    define("staffa.max_result_rows", "0", Kind::Integer(0, i64::MAX >> 10), false, "Rows that one query may give; 0 is no limit."),
    define("staffa.max_rows_scanned", "0", Kind::Integer(0, i64::MAX >> 10), false, "Rows of files that one statement may read; 0 is no limit."),
    define("staffa.max_running", "0", Kind::Integer(0, 1_000_000), false, "Statements of the role that run at a time; others wait; 0 is no limit."),
    define("staffa.max_statement_time", "0", Kind::Milliseconds, false, "The most that statement_timeout can be; 0 is no limit."),
    define("staffa.queue_timeout", "0", Kind::Milliseconds, false, "The maximum allowed duration of any wait to run; 0 is no limit."),
    define("temp_file_limit", "-1", Kind::Kilobytes(-1, i32::MAX as i64), false, "Limits the total size of all temporary files used by each process."),
];
