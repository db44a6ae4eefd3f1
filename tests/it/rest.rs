//! Other engines write to our tables through the REST catalog, and read them; and the catalog's answers, one by one.

use crate::support::{Server, python};

fn start(flags: &[&str], environment: &[(&str, &str)]) -> Server {
    let all: Vec<&str> = ["--rest", "127.0.0.1:0"].iter().chain(flags).copied().collect();
    Server::start_with(&all, environment)
}

#[test]
fn pyiceberg_and_duckdb_read_and_write() {
    let mut server = start(&["--auth", "trust", "--maintenance=false"], &[]);
    let (rest, url) = (server.rest(), server.url("staffa"));
    let text = python("judges/rest_engines.py", &["--rest", &rest, "--url", &url]);
    println!("{text}");
    assert!(text.contains(" 0 differ"), "{text}");
    // What they left is read through the catalog database, too.
    let data = server.data().to_str().unwrap().to_owned();
    python("judges/read_states.py", &["--data", &data, "--url", &url]);
    server.assert_well();
}

#[test]
fn nothing_is_lost_among_writers_of_three_engines() {
    let seconds = std::env::var("STAFFA_REST_SECONDS").unwrap_or_else(|_| "15".to_owned());
    let mut server = start(&["--auth", "trust", "--maintenance-interval", "1s"], &[]);
    let (rest, url) = (server.rest(), server.url("staffa"));
    let text = python(
        "judges/rest_writers.py",
        &["--rest", &rest, "--url", &url, "--seconds", &seconds],
    );
    println!("{text}");
    assert!(text.contains(" 0 wrong"), "{text}");
    server.assert_well();
}

#[test]
fn answers_are_the_protocols() {
    let password = "a secret of nobody's";
    let server = start(&["--maintenance=false"], &[("STAFFA_ADMIN_PASSWORD", password)]);
    let rest = server.rest();
    let url = format!(
        "host=127.0.0.1 port={} user=admin dbname=staffa password='{}'",
        server.address().port(),
        password.replace('\'', "\\'")
    );
    let text = python(
        "judges/rest_protocol.py",
        &["--rest", &rest, "--url", &url, "--password", password],
    );
    println!("{text}");
    assert!(text.contains(" 0 differ"), "{text}");
    let log = server.log();
    assert!(!log.contains("panicked at"), "a task of the server panicked:\n{log}");
    assert!(!log.contains(password), "the password is in the log:\n{log}");
}

#[test]
fn others_are_not_let_in_without_a_password() {
    let folder = tempfile::TempDir::new().unwrap();
    let flags = ["--auth", "trust", "--rest", "0.0.0.0:0"];
    let arguments = crate::support::serve(folder.path(), &flags);
    let log = Server::try_start(folder.path(), &arguments, &[]).err().unwrap();
    assert!(log.contains("rest has 0.0.0.0:0"), "{log}");
}
