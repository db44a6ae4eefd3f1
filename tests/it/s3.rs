//! Tables on S3: moto behind a proxy (`tests/s3/store.py`) that knows one access key and fails when told to.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::backup::{CHECKSUM, fill, text, value};
use crate::postgres::Postgres;
use crate::shared_upkeep;
use crate::support::{Server, program, python, python_command};
use crate::wire::{ErrorFields, Wire, frame, query};

const KEY: &str = "AKIDOFTHETEST";
const SECRET: &str = "a-secret-that-nobody-may-see";

/// The store; dropping it ends it.
struct Store {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    endpoint: String,
}

impl Store {
    fn start() -> Self {
        let mut child = python_command("s3/store.py")
            .args(["--key", KEY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let endpoint = line
            .strip_prefix("ready ")
            .unwrap_or_else(|| panic!("the store did not start (scripts/setup installs moto): {line:?}"));
        Self {
            child,
            commands,
            endpoint: endpoint.trim().to_owned(),
            answers,
        }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Names of the objects that end like this.
    fn objects(&mut self, suffix: &str) -> Vec<String> {
        let keys = self.ask("keys");
        keys.split_whitespace()
            .filter(|key| key.ends_with(suffix))
            .map(str::to_owned)
            .collect()
    }

    /// Requests so far, and how many of them were made to fail.
    fn requests(&mut self) -> (u64, u64) {
        let stats = self.ask("stats");
        let number = |name: &str| {
            let word = stats.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.and_then(|word| word.strip_prefix('=')).unwrap().parse().unwrap()
        };
        (number("requests"), number("failed"))
    }

    /// A server with its catalog in `folder` and its tables here.
    fn serve(&self, folder: &Path, bucket: &str, key: &str) -> Server {
        self.serve_with(folder, bucket, key, &[], &[])
    }

    fn serve_with(
        &self,
        folder: &Path,
        bucket: &str,
        key: &str,
        more_flags: &[&str],
        more_environment: &[(&str, &str)],
    ) -> Server {
        let warehouse = format!("s3://{bucket}/some/prefix");
        self.serve_at(folder, &warehouse, key, more_flags, more_environment)
    }

    fn serve_at(
        &self,
        folder: &Path,
        warehouse: &str,
        key: &str,
        more_flags: &[&str],
        more_environment: &[(&str, &str)],
    ) -> Server {
        let flags = [
            "--auth",
            "trust",
            "--warehouse",
            warehouse,
            "--s3-endpoint",
            &self.endpoint,
            "--s3-allow-http",
            "--rest",
            "127.0.0.1:0",
        ];
        let environment = [("STAFFA_S3_ACCESS_KEY", key), ("STAFFA_S3_SECRET_KEY", SECRET)];
        Server::start_on(
            folder,
            &[&flags[..], more_flags].concat(),
            &[&environment[..], more_environment].concat(),
        )
    }

    /// Exit status 0 or not, and what the program printed.
    fn run(&self, key: &str, arguments: &[&str]) -> (bool, String) {
        let output = program()
            .args(arguments)
            .args(["--s3-endpoint", &self.endpoint, "--s3-allow-http"])
            .envs([("STAFFA_S3_ACCESS_KEY", key), ("STAFFA_S3_SECRET_KEY", SECRET)])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!printed.contains(SECRET), "the secret key is shown: {printed}");
        (output.status.success(), printed)
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (success, printed) = self.run(KEY, arguments);
        assert!(success, "{arguments:?}: {printed}");
        printed
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn done(wire: &mut Wire, sql: &str) {
    let reply = wire.simple(sql);
    assert!(reply.error.is_none(), "{sql}: {}", reply.error.unwrap());
}

fn lines(wire: &mut Wire, sql: &str) -> String {
    let rows = wire.simple(sql).text();
    rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
}

/// COPY FROM STDIN with these rows; its error, if any.
fn copy_in(wire: &mut Wire, sql: &str, data: &str) -> Option<ErrorFields> {
    wire.send(&[query(sql), frame(b'd', data.as_bytes()), frame(b'c', b"")].concat());
    crate::wire::reply(wire.until_ready()).error
}

#[test]
fn other_engines_write_to_tables_on_s3() {
    let store = Store::start();
    let folder = TempDir::new().unwrap();
    let mut server = store.serve(folder.path(), "lake", KEY);
    let (rest, url) = (server.rest(), server.url("staffa"));
    let places = ["--rest", &rest, "--url", &url, "--endpoint", &store.endpoint];
    let text = python(
        "judges/rest_s3.py",
        &[&places[..], &["--key", KEY, "--secret", SECRET]].concat(),
    );
    assert!(text.contains(" 0 differ"), "{text}");
    server.assert_well();
}

#[test]
fn tables_live_on_s3() {
    let mut store = Store::start();
    let folder = TempDir::new().unwrap();
    let mut server = store.serve(folder.path(), "lake", KEY);
    let mut wire = server.connect();
    done(
        &mut wire,
        "create table t (id bigint, d date, s text) partition by (month(d))",
    );
    done(
        &mut wire,
        "insert into t select i, date '2024-01-01' + i::int, 'row ' || i from generate_series(0, 364) as g(i)",
    );
    let rows: String = (0..100)
        .map(|i| format!("{}\t2022-05-05\tcopied\n", 1000 + i))
        .collect();
    assert!(copy_in(&mut wire, "copy t from stdin", &rows).is_none());
    let files = store.objects(".parquet");
    assert_eq!(files.len(), 13, "{files:?}");
    assert!(files.iter().all(|file| file.starts_with("some/prefix/")), "{files:?}");
    let expected = "465|171380";
    let sums = "select count(*)::text || '|' || sum(id)::text from t";
    let check = |wire: &mut Wire| assert_eq!(wire.simple(sums).value(), expected);
    check(&mut wire);

    // What was fetched once is not fetched again; one month is one file.
    let month = "select sum(id), max(s) from t where d >= '2024-03-01' and d < '2024-04-01'";
    let first = lines(&mut wire, month);
    let before = store.requests().0;
    assert_eq!(lines(&mut wire, month), first);
    assert_eq!(store.requests().0, before);
    // EXPLAIN may fetch more: it takes a sample of rows to estimate by, and does not wait for it to its end.
    let explained = lines(&mut wire, &format!("explain analyze {month}"));
    assert!(explained.contains("Files: 1 of 13"), "{explained}");
    assert!(explained.contains("Columns from Cache: "), "{explained}");

    wire.send(&query(
        "copy (select id, s from t where d = '2022-05-05' order by id) to stdout",
    ));
    let copied: Vec<u8> = wire
        .until_ready()
        .into_iter()
        .filter(|m| m.tag == b'd')
        .flat_map(|m| m.body)
        .collect();
    assert!(copied.starts_with(b"1000\tcopied\n1001\tcopied\n"), "{copied:?}");
    done(&mut wire, "create table u as select * from t where id < 10");
    done(&mut wire, "begin");
    done(&mut wire, "insert into u select * from t where id >= 1000");
    done(&mut wire, "rollback");
    assert_eq!(wire.simple("select count(*) from u").value(), "10");
    assert_eq!(store.objects(".parquet").len(), 14, "a rolled back file stays");
    drop(wire);

    server.terminate(Duration::from_secs(30)).expect("the server ends");
    let mut server = store.serve(folder.path(), "lake", KEY);
    check(&mut server.connect());
    server.assert_well();
    assert!(!server.log().contains(SECRET), "the secret key is in the log");
}

#[test]
fn warehouses_on_s3_are_backed_up_to_s3() {
    let mut store = Store::start();
    let folder = TempDir::new().unwrap();
    let mut server = store.serve_with(folder.path(), "lake", KEY, &["--maintenance=false"], &[]);
    let mut wire = server.connect();
    fill(&mut wire);
    let before = wire.simple(CHECKSUM).value();
    let data = server.data().to_owned();
    let (place, again) = ("s3://lake/backups/daily", "s3://lake/again");
    let backup = [
        "backup",
        "--data",
        text(&data),
        "--warehouse",
        "s3://lake/some/prefix",
        place,
    ];

    let refused = store.run("AKIDOFSOMEBODY", &backup);
    assert!(!refused.0 && refused.1.contains("denied access"), "{}", refused.1);
    // One answer in twenty is lost, or an error: it is asked again.
    store.ask("faults 0.05");
    store.good(&backup);
    done(&mut wire, "insert into left_side values (9, 0)");
    let second = store.good(&[&backup[..], &["--keep", "1"]].concat());
    assert_eq!(second.matches("deleted backup").count(), 1, "{second}");
    store.ask("faults 0");
    assert_eq!(store.good(&["backup", "--list", place]).lines().count(), 1);
    assert!(
        store
            .good(&["backup", "--verify", place])
            .contains("every checksum is right")
    );
    server.terminate(Duration::from_secs(30)).unwrap();

    let local = folder.path().join("local");
    store.good(&["restore", place, "--data", text(&local)]);
    assert_eq!(value(&local, CHECKSUM), before);
    let home = folder.path().join("home");
    let restored = home.join("data");
    let restore = ["restore", place, "--data", text(&restored), "--warehouse", again];
    store.good(&restore);
    assert!(store.run(KEY, &restore).1.contains("not empty"));
    let mut server = store.serve_at(&home, again, KEY, &[], &[]);
    let mut wire = server.connect();
    assert_eq!(wire.simple(CHECKSUM).value(), before);
    assert_eq!(wire.simple("select count(*) from left_side").value(), "9");
    let files = "select distinct left(file_path, 11) from staffa.files('changed')";
    assert_eq!(wire.simple(files).value(), again.get(..11).unwrap());
    server.assert_well();
}

#[test]
fn a_wrong_key_and_a_missing_bucket_say_so() {
    let store = Store::start();
    for (bucket, key, said) in [
        ("lake", "AKIDOFSOMEBODY", "the object store denied access"),
        ("nowhere", KEY, "the bucket does not exist"),
    ] {
        let folder = TempDir::new().unwrap();
        let mut server = store.serve(folder.path(), bucket, key);
        let mut wire = server.connect();
        let error = wire.simple("create table t (a int)").error.expect(said);
        assert_eq!(error.code, "58030", "{error}");
        let text = format!("{} {}", error.message, error.detail.unwrap_or_default());
        assert!(
            text.contains(said) && text.contains(&format!("s3://{bucket}/")),
            "{text}"
        );
        assert_eq!(wire.simple("select * from t").code(), "42P01");
        server.assert_well();
        assert!(
            !text.contains(SECRET) && !server.log().contains(SECRET),
            "the secret key is shown"
        );
    }
}

/// Each statement succeeds by retries or fails as a whole; what it said stays true.
#[test]
fn requests_that_fail_lose_and_double_nothing() {
    let mut store = Store::start();
    let folder = TempDir::new().unwrap();
    let mut server = store.serve(folder.path(), "lake", KEY);
    let mut wire = server.connect();
    done(&mut wire, "create table t (id bigint, part int) partition by (part)");
    store.ask("faults 0.05");
    let mut expected = Vec::new();
    let mut failures = Vec::new();
    let mut note = |ids: std::ops::Range<i64>, error: Option<ErrorFields>| match error {
        None => expected.extend(ids),
        Some(error) => {
            assert_eq!(error.code, "58030", "{error}");
            failures.push(error);
        }
    };
    for round in 0..15 {
        let from = round * 100;
        let rows = format!(
            "insert into t select i, i % 3 from generate_series({from}, {}) as g(i)",
            from + 9
        );
        note(from..from + 10, wire.simple(&rows).error);
        let data: String = (from + 10..from + 15).map(|id| format!("{id}\t7\n")).collect();
        note(from + 10..from + 15, copy_in(&mut wire, "copy t from stdin", &data));
        let reply = wire.simple("select count(*), count(distinct id) from t where part >= 0");
        match &reply.error {
            Some(error) => assert_eq!(error.code, "58030", "{error}"),
            None => {
                let row = &reply.text()[0];
                assert_eq!(row[0], row[1], "rows are doubled");
            }
        }
    }
    store.ask("faults 0");
    let (requests, failed) = store.requests();
    assert!(failed >= 5, "{failed} of {requests} requests failed");
    println!("{failed} of {requests} requests failed, {} statements", failures.len());
    let ids = "select id from t order by id";
    let all: Vec<String> = expected.iter().map(i64::to_string).collect();
    assert_eq!(lines(&mut wire, ids), all.join("\n"));
    drop(wire);
    server.terminate(Duration::from_secs(30)).expect("the server ends");
    let mut server = store.serve(folder.path(), "lake", KEY);
    assert_eq!(lines(&mut server.connect(), ids), all.join("\n"));
    server.assert_well();
}

/// Two servers, their catalog in PostgreSQL, merge and delete in one bucket.
#[test]
fn upkeep_deletes_from_the_bucket_what_nothing_needs() {
    let mut store = Store::start();
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let serve = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let url = postgres.url();
        let catalog = [("STAFFA_CATALOG", url.as_str())];
        store.serve_with(&folder, "lake", KEY, &shared_upkeep::FLAGS[1..], &catalog)
    };
    let mut servers = [serve("a"), serve("b")];
    shared_upkeep::two_servers_keep_one_table_up(&mut servers, &postgres, || {
        let keys = store.objects("").into_iter();
        keys.map(|key| format!("s3://lake/{key}")).collect()
    });
}
