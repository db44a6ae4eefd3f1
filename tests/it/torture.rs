//! Tortures (`tests/torture/`) in their quick sizes, where these are quick and sure.

use crate::support::python;

const PROGRAM: &str = env!("CARGO_BIN_EXE_staffa-under-test");

#[test]
fn passwords_and_keys_come_out_nowhere() {
    println!(
        "{}",
        python("torture/run", &["--program", PROGRAM, "--quick", "secrets"])
    );
}
