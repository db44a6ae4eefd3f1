//! Drivers beside a real PostgreSQL: the same program runs against both servers and must see the same.

use crate::support::{Server, python};

#[test]
fn psycopg_types_text_and_binary() {
    compare("psycopg_types.py");
}

#[test]
fn psycopg_behaviour() {
    compare("psycopg_behaviour.py");
}

#[test]
fn jdbc_types_and_calls() {
    compare("JdbcTypes.java");
}

#[test]
fn psql_describes_the_same() {
    compare("psql_describe.py");
}

#[test]
fn session_messages() {
    compare("session_messages.py");
}

#[test]
fn copy_messages() {
    compare("copy_messages.py");
}

#[test]
fn tls() {
    let text = python("clients/tls.py", &[env!("CARGO_BIN_EXE_staffa-under-test")]);
    println!("{text}");
}

fn compare(program: &str) {
    let mut server = Server::start();
    let text = python("clients/compare.py", &["--server", &server.url("staffa"), program]);
    println!("{text}");
    server.assert_well();
}
