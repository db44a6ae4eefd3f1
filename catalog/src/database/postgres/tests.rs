//! PostgreSQL itself: everything the catalog's tests ask of SQLite, and what only several servers meet.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use std::sync::atomic::AtomicBool;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use super::*;
use crate::catalog::Catalog;
use crate::objects::Objects;
use crate::testing::{POSTGRES, RecordingObjects, append, definition, name, schema_of_its_own};
use crate::txn::Transaction;

/// A PostgreSQL server in a directory of its own, on a socket there; stopped when dropped.
pub(crate) struct Postgres {
    directory: TempDir,
    binaries: PathBuf,
}

impl Postgres {
    pub(crate) fn start() -> Postgres {
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL's server: run scripts/setup");
        let mut binaries: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
        binaries.sort();
        let server = Postgres {
            directory: TempDir::new().unwrap(),
            binaries: binaries.pop().expect("PostgreSQL's server: run scripts/setup"),
        };
        if is_root() {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(server.path())
                .status()
                .unwrap();
            assert!(owned.success());
        }
        let data = server.path().join("data");
        server.run(
            "initdb",
            &[
                "-D",
                text(&data),
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-sync",
            ],
        );
        server.ctl("start");
        server
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        let host = text(self.path()).replace('/', "%2F");
        format!("postgres://postgres@{host}/postgres")
    }

    pub(crate) fn ctl(&self, action: &str) {
        let (data, log) = (self.path().join("data"), self.path().join("log"));
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c max_connections=300 -c deadlock_timeout=100ms",
            self.path().display()
        );
        let arguments = [
            "-D",
            text(&data),
            "-o",
            &options,
            "-l",
            text(&log),
            "-m",
            "immediate",
            "-w",
            action,
        ];
        let arguments: Vec<&str> = match action {
            "start" => arguments
                .into_iter()
                .filter(|word| !["-m", "immediate"].contains(word))
                .collect(),
            _ => arguments.into(),
        };
        self.run("pg_ctl", &arguments);
    }

    /// PostgreSQL refuses to run as root: root runs it as the package's own user.
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.binaries.join(program);
        let mut command = match is_root() {
            true => Command::new("runuser"),
            false => Command::new(&program),
        };
        if is_root() {
            command.args(["-u", "postgres", "--", text(&program)]);
        }
        let status = command
            .args(arguments)
            .current_dir(self.path())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{} {arguments:?}", program.display());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.ctl("stop");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// The tests of this crate again, in a process of their own, with their catalogs in PostgreSQL.
#[test]
fn all_tests_pass_on_postgres() {
    if crate::testing::postgres().is_some() {
        return;
    }
    let server = Postgres::start();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--skip",
            "database::",
            "--skip",
            "catalog::judge",
            "--skip",
            "catalog::crash::child",
            "--skip",
            "catalog::faults::child",
        ])
        .env(POSTGRES, server.url())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "on PostgreSQL:\n{shown}");
    assert!(!shown.contains("running 0 tests"));
}

async fn open(url: &str, objects: &Arc<RecordingObjects>) -> Catalog {
    Catalog::open(url, "memory://warehouse", objects.clone()).await.unwrap()
}

async fn begin(catalog: &Catalog) -> Transaction {
    catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap()
}

/// Database `d` with table `t`.
async fn make_table(catalog: &Catalog) {
    let mut txn = begin(catalog).await;
    txn.create_database("d").await.unwrap();
    txn.create_table(definition("t")).await.unwrap();
    txn.commit().await.unwrap();
}

async fn rows(catalog: &Catalog) -> Vec<u64> {
    let table = catalog
        .snapshot()
        .await
        .unwrap()
        .table(&name("t"))
        .await
        .unwrap()
        .unwrap();
    let mut rows: Vec<u64> = table.files().await.unwrap().iter().map(|file| file.row_count).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn servers_that_start_at_once_make_one_catalog() {
    let server = Postgres::start();
    let url = schema_of_its_own(&server.url()).await;
    let objects = Arc::default();
    let catalogs = futures::future::join_all((0..8).map(|_| open(&url, &objects))).await;
    let mut txn = begin(&catalogs[0]).await;
    txn.create_database("d").await.unwrap();
    let csn = txn.commit().await.unwrap();
    for catalog in &catalogs {
        let snapshot = catalog.snapshot().await.unwrap();
        assert_eq!((snapshot.csn(), snapshot.databases()), (csn, vec!["d".to_owned()]));
    }
    // Whoever is first decides where the tables go.
    let database = crate::catalog::CatalogDatabase::open(&url).await.unwrap();
    assert_eq!(
        database.shared_warehouse(None, "file:///a/").await.unwrap(),
        "file:///a"
    );
    assert_eq!(
        database.shared_warehouse(Some("file:///a"), "file:///b").await.unwrap(),
        "file:///a"
    );
    let refused = database
        .shared_warehouse(Some("file:///b"), "file:///b")
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidDefinition);
}

#[tokio::test]
async fn a_restart_of_the_database_is_survived() {
    let server = Postgres::start();
    let url = schema_of_its_own(&server.url()).await;
    let objects = Arc::default();
    let catalog = open(&url, &objects).await;
    make_table(&catalog).await;
    // Restarted while nobody looked: nobody notices.
    server.ctl("restart");
    let mut txn = begin(&catalog).await;
    append(&mut txn, &objects, &name("t"), 1).await.unwrap();
    txn.commit().await.unwrap();
    // Stopped with a transaction open.
    let mut txn = begin(&catalog).await;
    append(&mut txn, &objects, &name("t"), 2).await.unwrap();
    server.ctl("stop");
    let error = catalog.snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.message(), "cannot connect to the catalog database");
    server.ctl("start");
    txn.commit().await.unwrap();
    assert_eq!(rows(&catalog).await, [1, 2]);
}

/// Passes bytes on to PostgreSQL. Once armed, it lets the next COMMIT happen (or the next BEGIN), swallows the answer, and
/// hangs up with words of its own.
async fn cutting_proxy(
    socket: PathBuf,
    cut_at: Arc<Mutex<&'static [u8]>>,
    armed: Arc<AtomicBool>,
    last_words: &'static [u8],
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&socket).await.unwrap();
            let (cut_at, armed) = (cut_at.clone(), armed.clone());
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut buffer = vec![0; 64 << 10];
                while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                    let answer = &buffer[..length];
                    let cut_at = *cut_at.lock();
                    let is_answer = answer.windows(cut_at.len()).any(|window| window == cut_at);
                    if is_answer && armed.swap(false, Ordering::Relaxed) {
                        let _ = to_client.write_all(last_words).await;
                        break;
                    }
                    if to_client.write_all(answer).await.is_err() {
                        break;
                    }
                }
                up.abort();
            });
        }
    });
    port
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_looked_up() {
    let server = Postgres::start();
    let schema = schema_of_its_own(&server.url()).await;
    let (armed, cut_at) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(&b"COMMIT\0"[..])));
    let port = cutting_proxy(server.path().join(".s.PGSQL.5432"), cut_at.clone(), armed.clone(), b"").await;
    let parameters = schema.split_once('?').unwrap().1;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?{parameters}");
    let objects: Arc<RecordingObjects> = Arc::default();
    let catalog = open(&url, &objects).await;
    make_table(&catalog).await;

    // Armed when the metadata file is stored: what follows is the swap.
    let arm = |answer: &'static [u8]| {
        *cut_at.lock() = answer;
        let armed = armed.clone();
        objects.before_put(move |location| {
            if location.ends_with(".metadata.json") {
                armed.store(true, Ordering::Relaxed);
            }
            None
        });
    };
    arm(b"COMMIT\0");
    let mut txn = begin(&catalog).await;
    append(&mut txn, &objects, &name("t"), 1).await.unwrap();
    txn.commit().await.unwrap();
    assert!(!armed.load(Ordering::Relaxed), "the answer was lost");
    objects.no_hook();
    assert_eq!(rows(&catalog).await, [1]);

    arm(b"BEGIN\0");
    let mut txn = begin(&catalog).await;
    let file = append(&mut txn, &objects, &name("t"), 2).await.unwrap();
    let error = txn.commit().await.unwrap_err();
    assert!(!armed.load(Ordering::Relaxed), "the answer was lost");
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    objects.no_hook();
    assert!(
        objects.get(&file).await.is_err(),
        "it is known that nothing was committed"
    );
    assert_eq!(rows(&catalog).await, [1]);
}

/// PostgreSQL may write a COMMIT down and fail before it answers: what it says then is no refusal.
#[tokio::test]
async fn a_panic_at_a_commit_is_no_refusal() {
    const PANIC: &[u8] = b"E\0\0\0\x2bSPANIC\0VPANIC\0C58030\0Mcould not fsync\0\0";
    let server = Postgres::start();
    let schema = schema_of_its_own(&server.url()).await;
    let (armed, cut_at) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(&b"COMMIT\0"[..])));
    let socket = server.path().join(".s.PGSQL.5432");
    let port = cutting_proxy(socket, cut_at, armed.clone(), PANIC).await;
    let parameters = schema.split_once('?').unwrap().1;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?{parameters}");
    let objects: Arc<RecordingObjects> = Arc::default();
    let catalog = open(&url, &objects).await;
    make_table(&catalog).await;
    let mut txn = begin(&catalog).await;
    append(&mut txn, &objects, &name("t"), 1).await.unwrap();
    let arm = armed.clone();
    objects.before_put(move |location| {
        if location.ends_with(".metadata.json") {
            arm.store(true, Ordering::Relaxed);
        }
        None
    });
    txn.commit().await.unwrap();
    assert!(!armed.load(Ordering::Relaxed), "the answer was replaced");
    objects.no_hook();
    // The objects of the commit are there, also for who has none of them in a cache.
    assert_eq!(rows(&open(&schema, &objects).await).await, [1]);
}

#[tokio::test]
async fn connections_are_bounded_whatever_they_are_needed_for() {
    let server = Postgres::start();
    let url = schema_of_its_own(&server.url()).await;
    let backend = PostgresBackend::open(&url, Uuid::new_v4()).await.unwrap();
    for need in [Need::Durable, Need::Read, Need::Note] {
        let mut lent = Vec::new();
        for number in 1..=CONNECTIONS_MAX {
            lent.push(backend.pool.take(need).await.unwrap());
            let idle = backend.pool.idle.lock().len();
            assert!(idle + number <= CONNECTIONS_MAX, "{idle} idle, {number} in use");
        }
    }
    assert_eq!(backend.pool.idle.lock().len(), CONNECTIONS_MAX);
}

/// Several servers append to two tables and drop and make a third: nothing is lost, and the journal has every number.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_of_several_servers_are_all_there() {
    const SERVERS: u64 = 4;
    const COMMITS: u64 = 10;
    let server = Postgres::start();
    let url = schema_of_its_own(&server.url()).await;
    let objects: Arc<RecordingObjects> = Arc::default();
    let first = open(&url, &objects).await;
    make_table(&first).await;
    let writer = |number: u64| {
        let (url, objects) = (url.clone(), objects.clone());
        async move {
            let catalog = open(&url, &objects).await;
            for commit in 0..COMMITS {
                let mut txn = begin(&catalog).await;
                let rows = number * 1000 + commit + 1;
                append(&mut txn, &objects, &name("t"), rows).await.unwrap();
                let own = name(&format!("own{number}"));
                match txn.snapshot().table(&own).await.unwrap() {
                    Some(_) => txn.drop_table(&own).await.unwrap(),
                    None => drop(txn.create_table(definition(&own.name)).await.unwrap()),
                }
                let csn = txn.commit().await.unwrap();
                // Seen by whoever asks next.
                assert!(catalog.snapshot().await.unwrap().csn() >= csn);
            }
        }
    };
    let writers: Vec<_> = (0..SERVERS).map(|number| tokio::spawn(writer(number))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut expected: Vec<u64> = (0..SERVERS)
        .flat_map(|number| (0..COMMITS).map(move |commit| number * 1000 + commit + 1))
        .collect();
    expected.sort();
    assert_eq!(rows(&first).await, expected);
    assert_eq!(first.snapshot().await.unwrap().csn(), 1 + SERVERS * COMMITS);
}
