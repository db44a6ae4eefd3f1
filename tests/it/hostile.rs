//! Random hostile input in bulk: sessions that break the protocol, files that are damaged, queries that must agree with themselves.
//!
//! A few of each here; `make torture` and `make oracles` run the large numbers. The programs say how one failure is run again.

use crate::support::python;

const PROGRAM: &str = env!("CARGO_BIN_EXE_staffa-under-test");

/// Another number each time would find more, and fail where nothing changed.
const SEED: &str = "1";

fn run(script: &str, count: &str) {
    println!(
        "{}",
        python(script, &["--program", PROGRAM, "--seed", SEED, "--count", count])
    );
}

#[test]
fn malformed_sessions_leave_nothing_behind() {
    run("hostile/sessions.py", "3000");
}

#[test]
fn damaged_files_are_answered_or_named() {
    run("hostile/files.py", "500");
}

#[test]
fn answers_agree_with_themselves() {
    run("../scripts/fuzz_oracles.py", "200");
}
