//! Several servers on one catalog in PostgreSQL: each sees the others' commits at its next statement, a killed one loses
//! nothing, and a restart of PostgreSQL is survived.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::Postgres;
use crate::slt;
use crate::support::{Server, program};
use crate::wire::Wire;

/// A server with a data folder of its own; the first decides where the tables go.
fn serve(folder: &Path, postgres: &Postgres) -> Server {
    std::fs::create_dir_all(folder).unwrap();
    Server::start_on(folder, &["--auth", "trust"], &[("STAFFA_CATALOG", &postgres.url())])
}

fn done(wire: &mut Wire, sql: &str) {
    let reply = wire.simple(sql);
    assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
}

#[test]
fn servers_see_each_other() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let mut servers = [
        serve(&folder.path().join("a"), &postgres),
        serve(&folder.path().join("b"), &postgres),
    ];
    let [mut a, mut b] = servers.each_ref().map(Server::connect);

    done(&mut a, "create table t (i int); insert into t values (1), (2)");
    assert_eq!(b.simple("select sum(i) from t").value(), "3");
    done(&mut b, "alter table t add column x text; insert into t values (3, 'b')");
    assert_eq!(a.simple("select string_agg(x, '') || sum(i) from t").value(), "b6");
    done(
        &mut a,
        "create schema s; create view s.v as select i from t where i > 1",
    );
    assert_eq!(b.simple("select count(*) from s.v").value(), "2");
    assert_eq!(b.simple("create schema s").code(), "42P06");
    done(
        &mut b,
        "drop view s.v; drop schema s; create table other as select 1 as one",
    );
    assert_eq!(a.simple("select * from s.v").code(), "42P01");

    // A transaction goes on seeing its snapshot, and loses a race it cannot win.
    done(&mut a, "begin; select * from t");
    done(&mut b, "delete from t where i = 1");
    assert_eq!(a.simple("select count(*) from t").value(), "3");
    done(&mut a, "delete from t where i = 1");
    assert_eq!(a.simple("commit").code(), "40001");
    assert_eq!(a.simple("select count(*) from t").value(), "2");
    // Appends are no race; a statement of its own runs again by itself.
    done(&mut a, "begin; insert into t values (10)");
    done(&mut b, "insert into t values (20); update t set x = 'c' where i = 2");
    done(&mut a, "commit; update t set x = 'd' where i = 3");
    assert_eq!(
        b.simple("select string_agg(x || i, ',' order by i) from t where x is not null")
            .value(),
        "c2,d3"
    );
    assert_eq!(b.simple("select sum(i) from t").value(), "35");
    // Dropped under a transaction that writes.
    done(&mut a, "begin; insert into t values (30)");
    done(&mut b, "drop table t");
    assert_eq!(a.simple("commit").code(), "40001");
    assert_eq!(a.simple("select * from t").code(), "42P01");
    servers.iter_mut().for_each(Server::assert_well);
}

/// Rows of one load: all of them are there or none.
const ROWS: u64 = 20;

#[derive(Default)]
struct Ledger {
    tried: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
}

/// Loads until told to stop or the server is gone.
fn load(address: SocketAddr, first: u64, ledger: &Mutex<Ledger>, stop: &AtomicBool) {
    let Ok(mut wire) = Wire::connect(address, "admin", "staffa") else {
        return;
    };
    for number in first.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        ledger.lock().unwrap().tried.insert(number);
        let sql = format!("insert into load select {number}, i from generate_series(1, {ROWS}) as g(i)");
        wire.send_lossy(&crate::wire::query(&sql));
        let messages = wire.until_ready();
        if messages.last().is_none_or(|message| message.tag != b'Z') {
            return;
        }
        match crate::wire::reply(messages).error {
            None => ledger.lock().unwrap().acknowledged.insert(number),
            Some(error) => panic!("load {number}: {error}"),
        };
    }
}

#[test]
fn a_killed_server_loses_nothing_and_stops_nobody() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let mut survivor = serve(&folder.path().join("a"), &postgres);
    done(&mut survivor.connect(), "create table load (number bigint, i int)");
    let ledger = Mutex::new(Ledger::default());
    for round in 1..=4 {
        let victim = serve(&folder.path().join("b"), &postgres);
        let stop = AtomicBool::new(false);
        scope(|threads| {
            for (worker, address) in [survivor.address(), victim.address(), victim.address()]
                .into_iter()
                .enumerate()
            {
                let (ledger, stop) = (&ledger, &stop);
                let first = (round * 10 + worker as u64) * 1_000_000;
                threads.spawn(move || load(address, first, ledger, stop));
            }
            let begun = Instant::now();
            let before = ledger.lock().unwrap().acknowledged.len();
            while ledger.lock().unwrap().acknowledged.len() < before + 5 && begun.elapsed() < Duration::from_secs(60) {
                sleep(Duration::from_millis(5));
            }
            sleep(Duration::from_millis(37 * round));
            victim.kill();
            let before = ledger.lock().unwrap().acknowledged.len();
            while ledger.lock().unwrap().acknowledged.len() < before + 2 && begun.elapsed() < Duration::from_secs(60) {
                sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let reply = survivor
            .connect()
            .simple("select number, count(*) from load group by number");
        let ledger = ledger.lock().unwrap();
        let mut seen = BTreeSet::new();
        for row in reply.text() {
            let [number, count] = [0, 1].map(|column| row[column].as_ref().unwrap().parse::<u64>().unwrap());
            assert_eq!(count, ROWS, "a part of load {number} is visible");
            assert!(ledger.tried.contains(&number));
            seen.insert(number);
        }
        let lost: Vec<_> = ledger.acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }
    // A restart clears away what the last one left: every data file belongs to the table.
    sleep(Duration::from_millis(500));
    // PostgreSQL might have been restarted and so forgotten who lives: a server counts as dead when it was silent, too.
    postgres.sql("update staffa_server set heartbeat_ms = heartbeat_ms - 100000");
    let restarted = serve(&folder.path().join("b"), &postgres);
    let loads = restarted
        .connect()
        .simple("select count(distinct number) from load")
        .value();
    let files = data_files(&folder.path().join("a/data/warehouse"));
    assert_eq!(files.to_string(), loads, "{}", restarted.log());
    survivor.assert_well();
}

fn data_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => data_files(&path),
        false => usize::from(path.extension().is_some_and(|extension| extension == "parquet")),
    };
    entries.map(count).sum()
}

#[test]
fn a_restart_of_postgres_is_survived() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let mut server = serve(folder.path(), &postgres);
    let mut wire = server.connect();
    done(&mut wire, "create table t (i int); insert into t values (1)");
    postgres.stop();
    // Waited for a while, then an error of the statement; the session goes on.
    let reply = wire.simple("select * from t");
    assert_eq!(reply.code(), "58030", "{:?}", reply.error);
    let error = reply.error.unwrap();
    assert!(
        error.message.contains("cannot connect to the catalog database"),
        "{error}"
    );
    postgres.resume();
    done(&mut wire, "insert into t values (2)");
    // Stopped and started while nobody looked: nobody notices.
    postgres.stop();
    postgres.resume();
    done(&mut wire, "insert into t values (3)");
    assert_eq!(wire.simple("select sum(i) from t").value(), "6");
    server.assert_well();
}

#[test]
fn servers_of_one_catalog_keep_their_tables_in_one_place() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let first = serve(&folder.path().join("a"), &postgres);
    done(&mut first.connect(), "create table t as select 42 as i");
    let elsewhere = folder.path().join("elsewhere");
    let url = postgres.url().replace("postgres@", "postgres:hush-hush@");
    let arguments = crate::support::serve(&folder.path().join("b"), &["--warehouse", elsewhere.to_str().unwrap()]);
    std::fs::create_dir_all(folder.path().join("b")).unwrap();
    let log = Server::try_start(&folder.path().join("b"), &arguments, &[("STAFFA_CATALOG", &url)])
        .err()
        .expect("refused");
    assert!(log.contains("the catalog belongs to another warehouse"), "{log}");
    assert!(!log.contains("hush-hush"), "{log}");
    // The shell uses the catalog too, and passwords are not shown.
    let output = program()
        .args(["sql", "--data", folder.path().join("c").to_str().unwrap()])
        .env("STAFFA_CATALOG", &url)
        .args(["-c", "select i from t"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("42"), "{output:?}");
    let output = program()
        .args(["config", "show"])
        .env("STAFFA_CATALOG", &url)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("postgres://postgres@") && !shown.contains("hush-hush"),
        "{shown}"
    );
}

/// What the catalog has a part in, as SQL text.
#[test]
fn sql_tests_pass_on_postgres() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let server = serve(folder.path(), &postgres);
    slt::over_the_wire(&server, "simple", false, &|name| {
        name.starts_with("ddl/") || name.starts_with("dml/")
    });
}
