//! Other engines write to our tables through the REST catalog, and read them; and the catalog's answers, one by one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

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
        &[
            "--rest",
            &rest,
            "--url",
            &url,
            "--password",
            password,
            "--data",
            server.data().to_str().unwrap(),
        ],
    );
    println!("{text}");
    assert!(text.contains(" 0 differ"), "{text}");
    let log = server.log();
    assert!(!log.contains("panicked at"), "a task of the server panicked:\n{log}");
    assert!(!log.contains(password), "the password is in the log:\n{log}");
}

/// The answer to one request, head and body.
pub fn ask(rest: &str, request: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(rest.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    let text = format!("{request}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_token_is_good_after_a_restart_until_the_password_changes() {
    let folder = tempfile::TempDir::new().unwrap();
    let start = |password: &str| {
        let flags = ["--rest", "127.0.0.1:0", "--maintenance=false"];
        Server::start_on(folder.path(), &flags, &[("STAFFA_ADMIN_PASSWORD", password)])
    };
    let form = "grant_type=client_credentials&client_id=admin&client_secret=one";
    let head = "POST /v1/oauth/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded";
    let first = start("one");
    let answer = ask(&first.rest(), head, form);
    let token = answer.split("\"access_token\":\"").nth(1).expect(&answer);
    let token = token.split('"').next().unwrap().to_owned();
    let config = |server: &Server| {
        let request = format!("GET /v1/config HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}");
        let answer = ask(&server.rest(), &request, "");
        answer.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(config(&first), "HTTP/1.1 200 OK");
    first.kill();
    std::fs::remove_file(folder.path().join("server.log")).unwrap();
    let second = start("one");
    assert_eq!(config(&second), "HTTP/1.1 200 OK");
    second.kill();
    std::fs::remove_file(folder.path().join("server.log")).unwrap();
    let third = start("two");
    assert_eq!(config(&third), "HTTP/1.1 401 Unauthorized");
}

#[test]
fn web_pages_are_not_let_in_where_nobody_needs_a_password() {
    let server = start(&["--auth", "trust", "--maintenance=false"], &[]);
    let rest = server.rest();
    let create = "POST /v1/staffa/namespaces HTTP/1.1";
    let body = r#"{"namespace": ["n"]}"#;
    for (headers, wanted) in [
        ("Host: evil.example\r\nContent-Type: application/json", "403 Forbidden"),
        (
            "Host: localhost\r\nOrigin: http://evil.example\r\nContent-Type: application/json",
            "403 Forbidden",
        ),
        (
            "Host: localhost\r\nContent-Type: text/plain",
            "415 Unsupported Media Type",
        ),
        ("Host: localhost", "415 Unsupported Media Type"),
        (
            "Host: localhost:8181\r\nContent-Type: application/json; charset=utf-8",
            "200 OK",
        ),
    ] {
        let answer = ask(&rest, &format!("{create}\r\n{headers}"), body);
        let status = answer.lines().next().unwrap_or_default();
        assert_eq!(status, format!("HTTP/1.1 {wanted}"), "{headers}: {answer}");
    }
    let read = "GET /v1/staffa/namespaces HTTP/1.1\r\nHost: evil.example:80";
    let answer = ask(&rest, read, "");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[test]
fn clients_that_ask_for_nothing_do_not_keep_the_server() {
    let mut server = start(
        &["--auth", "trust", "--maintenance=false", "--shutdown-grace", "60s"],
        &[],
    );
    let address = server.rest().strip_prefix("http://").unwrap().to_owned();
    let silent = TcpStream::connect(&address).unwrap();
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.write_all(b"GET /v1/config HTTP/1.1\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let status = server.terminate(Duration::from_secs(20));
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    drop((silent, slow));
}

#[test]
fn others_are_not_let_in_without_a_password() {
    let folder = tempfile::TempDir::new().unwrap();
    let flags = ["--auth", "trust", "--rest", "0.0.0.0:0"];
    let arguments = crate::support::serve(folder.path(), &flags);
    let log = Server::try_start(folder.path(), &arguments, &[]).err().unwrap();
    assert!(log.contains("rest has 0.0.0.0:0"), "{log}");
}
