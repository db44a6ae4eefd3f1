//! Drivers and tools beside a real PostgreSQL: what they ever saw alike on both servers they must see alike.

use crate::support::python;

const PROGRAM: &str = env!("CARGO_BIN_EXE_staffa-under-test");

#[test]
fn quick_statements() {
    println!(
        "{}",
        python("clients/run", &["--program", PROGRAM, "--quick", "statements"])
    );
}

#[test]
fn quick_drivers() {
    println!(
        "{}",
        python("clients/run", &["--program", PROGRAM, "--quick", "drivers"])
    );
}

#[test]
fn tls() {
    println!("{}", python("clients/tls.py", &[PROGRAM]));
}

#[test]
fn client_certificates() {
    println!("{}", python("clients/client_certificates.py", &[PROGRAM]));
}
