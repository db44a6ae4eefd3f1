//! What users and machines get wrong: each gives an error a person understands, and the server goes on.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Server, program, serve};
use crate::wire::{PROTOCOL_3_0, Wire, error_fields, frame, query, startup, text};

const PASSWORD: (&str, &str) = ("STAFFA_ADMIN_PASSWORD", "correct horse");

/// Logging in by password, as drivers do (SCRAM-SHA-256).
#[tokio::test]
async fn passwords() {
    let mut refused = Vec::new();
    let server = Server::start_with(&["--auth", "scram"], &[PASSWORD]);
    let login = |user: &str, password: &str| {
        let mut config = server.configuration();
        config.user(user).password(password);
        async move { config.connect(tokio_postgres::NoTls).await }
    };
    let (client, connection) = login("admin", "correct horse").await.unwrap();
    tokio::spawn(connection);
    assert_eq!(
        client.query_one("select 1::int", &[]).await.unwrap().get::<_, i32>(0),
        1
    );
    for (user, password) in [
        ("admin", "wrong"),
        ("admin", ""),
        ("nobody", "correct horse"),
        ("admin ", "correct horse"),
    ] {
        let error = login(user, password)
            .await
            .err()
            .unwrap_or_else(|| panic!("{user:?} {password:?} got in"));
        let error = error.as_db_error().unwrap_or_else(|| panic!("{user:?}: {error}"));
        assert_eq!(error.severity(), "FATAL");
        assert_eq!(error.code().code(), "28P01");
        assert_eq!(
            error.message(),
            format!("password authentication failed for user \"{user}\"")
        );
        refused.push(error.detail().map(str::to_owned));
    }
    assert!(
        refused.windows(2).all(|pair| pair[0] == pair[1]),
        "an unknown user looks different: {refused:?}"
    );
    assert!(!server.log().contains("correct horse"), "the password is in the log");
}

/// Nothing but the login is executed before it succeeded.
#[test]
fn no_query_before_login() {
    let server = Server::start_with(&["--auth", "scram"], &[PASSWORD]);
    let hello = startup(PROTOCOL_3_0, &[("user", "admin"), ("database", "staffa")]);
    let sasl = |body: &[u8]| frame(b'p', body);
    let long = vec![b'x'; 70_000];
    for (name, after) in [
        ("a query instead of a password", query("create table hacked (a int)")),
        ("an empty password message", sasl(b"")),
        ("garbage instead of SASL", sasl(b"\xff\xff\xff\xff\xff")),
        (
            "an unknown mechanism",
            sasl(&[&text("PLAIN")[..], &4i32.to_be_bytes(), b"abcd"].concat()),
        ),
        (
            "a length that lies",
            sasl(&[&text("SCRAM-SHA-256")[..], &i32::MAX.to_be_bytes(), b"n,,"].concat()),
        ),
        ("an authentication message of 70000 bytes", sasl(&long)),
    ] {
        let mut wire = Wire::open(server.address());
        wire.send(&hello);
        assert_eq!(wire.message().unwrap().tag, b'R', "{name}");
        wire.send_lossy(&[after, query("create table hacked (a int)")].concat());
        let message = wire
            .message()
            .unwrap_or_else(|| panic!("{name}: closed without a word"));
        let error = error_fields(&message.body);
        assert_eq!((message.tag, error.severity.as_str()), (b'E', "FATAL"), "{name}");
        assert!(wire.closes(), "{name}");
    }
    let hacked = fs::read_to_string(server.data().join("x")).is_ok() || server.log().contains("hacked");
    assert!(!hacked);
}

#[test]
fn trust_only_on_loopback() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let arguments = [
        "serve",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "0.0.0.0:0",
        "--auth",
        "trust",
    ];
    let log = Server::try_start(folder.path(), &arguments.map(str::to_owned), &[])
        .err()
        .expect("it must not start");
    assert!(log.contains("trust") && log.contains("loopback"), "{log}");
}

#[test]
fn what_cannot_start_says_why() {
    let folder = TempDir::new().unwrap();
    let refusal = |arguments: &[&str]| {
        let output = program().args(arguments).output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.status.success(), "{arguments:?} succeeded: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
        text
    };
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let file = file.to_str().unwrap();
    assert!(refusal(&["serve", "--data", file, "--listen", "127.0.0.1:0"]).contains(file));
    assert!(refusal(&["serve", "--data", "/proc/nope/data", "--listen", "127.0.0.1:0"]).contains("/proc/nope"));
    let missing = folder.path().join("missing.toml");
    let missing = missing.to_str().unwrap();
    assert!(refusal(&["serve", "--config", missing]).contains(missing));
    let config = folder.path().join("bad.toml");
    fs::write(&config, "listen = [\"127.0.0.1:0\"]\nno_such_key = 1\n").unwrap();
    assert!(refusal(&["serve", "--config", config.to_str().unwrap()]).contains("no_such_key"));
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    assert!(refusal(&["serve", "--data", data, "--listen", "nowhere"]).contains("nowhere"));
    assert!(refusal(&["serve", "--data", data, "--memory-limit", "lots"]).contains("lots"));
    let text = refusal(&[
        "serve",
        "--data",
        data,
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        missing,
        "--tls-key",
        missing,
    ]);
    assert!(text.contains(missing), "{text}");
    let text = refusal(&[
        "sql",
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--user",
        "admin",
        "-c",
        "select 1",
    ]);
    assert!(text.contains("127.0.0.1"), "{text}");
    refusal(&["no-such-command"]);
}

/// One server a data folder, and a port somebody else has.
#[test]
fn a_port_that_is_taken() {
    let server = Server::start();
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let address = server.address().to_string();
    let arguments = [
        "serve",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        &address,
        "--auth",
        "trust",
    ];
    let output = program().args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains(&address), "{text}");
}

#[test]
fn an_unreadable_data_file() {
    let mut server = Server::start();
    let mut wire = server.connect();
    let files = |table: &str| {
        parquet_files(server.data())
            .into_iter()
            .filter(|f| f.contains(table))
            .collect::<Vec<_>>()
    };
    let before = files("");
    wire.simple("create table good as select i from generate_series(1, 1000) as g(i)");
    let good = files("");
    wire.simple("create table bad as select i, 'text ' || i::text as t from generate_series(1, 1000) as g(i)");
    let bad: Vec<String> = files("").into_iter().filter(|file| !good.contains(file)).collect();
    assert!(before.is_empty() && !bad.is_empty());
    drop(wire);
    let folder = restart_place(&mut server);
    // The footer is gone; then the pages are garbage; then the file is missing.
    let content = fs::read(&bad[0]).unwrap();
    let garbage: Vec<u8> = content
        .iter()
        .enumerate()
        .map(|(i, b)| if i > 4 && i < content.len() / 2 { b ^ 0xa5 } else { *b })
        .collect();
    for (name, damage) in [
        ("cut", Some(&content[..content.len() / 3])),
        ("empty", Some(&b""[..])),
        ("garbage", Some(&garbage[..])),
        ("gone", None),
    ] {
        match damage {
            Some(bytes) => fs::write(&bad[0], bytes).unwrap(),
            None => fs::remove_file(&bad[0]).unwrap(),
        }
        let mut server = Server::start_on(&folder, &["--auth", "trust"], &[]);
        let mut wire = server.connect();
        let error = wire
            .simple("select count(t), sum(i), max(t) from bad")
            .error
            .unwrap_or_else(|| panic!("{name}: no error"));
        assert!(["XX001", "58030"].contains(&error.code.as_str()), "{name}: {error}");
        let said = format!("{} {}", error.message, error.detail.unwrap_or_default());
        let file = Path::new(&bad[0]).file_name().unwrap().to_str().unwrap();
        assert!(
            said.contains(file) && said.contains(".parquet"),
            "{name}: which file? {said}"
        );
        assert_eq!(wire.simple("select sum(i) from good").value(), "500500", "{name}");
        server.assert_well();
    }
}

/// Ends the server and moves its folder out, so that it can be started again.
fn restart_place(server: &mut Server) -> std::path::PathBuf {
    server
        .terminate(std::time::Duration::from_secs(30))
        .expect("the server ends");
    server.data().parent().unwrap().to_path_buf()
}

/// A disk that is full: here a limit on the size of files, which fails writes the same way.
#[test]
fn a_full_disk() {
    let folder = TempDir::new().unwrap();
    let arguments = serve(folder.path(), &["--auth", "trust"]).join(" ");
    // SIGXFSZ is ignored, so that a write past the limit fails with EFBIG; 2000 blocks of 512 bytes are a megabyte.
    let script = folder.path().join("limited.sh");
    fs::write(
        &script,
        format!(
            "trap '' XFSZ\nulimit -f 2000\nexec {} {arguments}\n",
            env!("CARGO_BIN_EXE_staffa-under-test")
        ),
    )
    .unwrap();
    let mut server = Server::try_start_program("bash", folder.path(), &[script.to_str().unwrap().to_owned()], &[])
        .unwrap_or_else(|log| panic!("{log}"));
    let mut wire = server.connect();
    assert_eq!(wire.simple("create table t (i bigint, t text)").code(), "");
    assert_eq!(wire.simple("insert into t values (1, 'x')").code(), "");
    let big = "select i, md5(i::text) || md5((i + 1)::text) from generate_series(1, 200000) as g(i)";
    let error = wire
        .simple(&format!("insert into t {big}"))
        .error
        .expect("a file over a megabyte");
    assert!(["53100", "58030"].contains(&error.code.as_str()), "{error}");
    assert_eq!(wire.simple("select count(*) from t").value(), "1");
    let error = wire
        .simple(&format!("create table u as {big}"))
        .error
        .expect("a file over a megabyte");
    assert!(["53100", "58030"].contains(&error.code.as_str()), "{error}");
    assert_eq!(wire.simple("select * from u").code(), "42P01");
    assert_eq!(wire.simple("insert into t values (2, 'y')").code(), "");
    assert_eq!(wire.simple("select count(*) from t").value(), "2");
    assert_eq!(parquet_files(server.data()).len(), 2, "what failed left files behind");
    server.assert_well();
}

/// The data files below a folder.
fn parquet_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}
