//! An acknowledged commit survives kill -9, a half-done one is never seen; and what is acknowledged was synced before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::support::{Server, python, serve};
use crate::wire::{Wire, frame, query, reply};

/// Rows of one load: all of them are there or none.
const ROWS: u64 = 100;
const WORKERS: u64 = 5;
/// The worker that gives all rows of two tables a new version, again and again; the others add rows.
const CHANGER: u64 = 4;
const DEFAULT_KILLS: u64 = 10;
/// A round in which nothing is acknowledged for so long is a failure of its own.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// A load that was tried: worker and number of the load.
type Load = (u64, u64);

/// What the workers know about their loads.
#[derive(Default)]
struct Ledger {
    tried: BTreeSet<Load>,
    acknowledged: BTreeSet<Load>,
}

#[test]
fn kill_nine_loses_nothing_acknowledged() {
    let kills = std::env::var("STAFFA_KILLS").map_or(DEFAULT_KILLS, |count| count.parse().unwrap());
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("{kills} kills, seed {random}");
    let folder = TempDir::new().unwrap();
    // Upkeep runs all the time: it is killed, too.
    let flags = ["--auth", "trust", "--log-level", "warn", "--maintenance-interval=200ms"];
    let mut server = Server::start_on(folder.path(), &flags, &[]);
    let mut wire = server.connect();
    for sql in [
        "create table load (worker int, number int, i int, filler text) partition by (bucket(2, i))",
        "create table pair (worker int, number int, i int)",
        "create table marked (i int, version int) with (\"write.delete.rewrite-share\" = 1)",
        "create table vectors (i int, version int) with (format_version = 3, \"write.delete.rewrite-share\" = 1)",
        "insert into marked select i, 0 from generate_series(1, 100) as g(i)",
        "insert into vectors select i, 0 from generate_series(1, 100) as g(i)",
    ] {
        assert_eq!(wire.simple(sql).code(), "", "{sql}");
    }
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    for round in 1..=kills {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (address, ledger, stop) = (server.address(), ledger.clone(), stop.clone());
                spawn(move || work(address, worker, round, &ledger, &stop))
            })
            .collect();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // On a slow machine, too, the kill comes in the middle of work: some of it is done, the next is under way.
        let before = ledger.lock().unwrap().acknowledged.len();
        let begun = Instant::now();
        while ledger.lock().unwrap().acknowledged.len() < before + 3 && begun.elapsed() < ROUND_LIMIT {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis((random >> 33) % 700));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        let begun = Instant::now();
        server = Server::start_on(folder.path(), &flags, &[]);
        let started = begun.elapsed();
        let seen = verify(&server, &ledger.lock().unwrap(), round);
        println!(
            "round {round}: {seen} loads; started in {started:?}, verified in {:?}",
            begun.elapsed() - started
        );
    }
    let done = ledger.lock().unwrap().acknowledged.len();
    println!(
        "{done} loads acknowledged, {} tried",
        ledger.lock().unwrap().tried.len()
    );
    assert!(done as u64 >= 2 * kills, "the workers did next to nothing");
    let text = python(
        "judges/read_tables.py",
        &[
            "--data",
            server.data().to_str().unwrap(),
            "--url",
            &server.url("staffa"),
        ],
    );
    println!("{text}");
    server.assert_well();
}

/// Loads until the server is gone.
fn work(address: SocketAddr, worker: u64, round: u64, ledger: &Mutex<Ledger>, stop: &AtomicBool) {
    let Ok(mut wire) = Wire::connect(address, "admin", "staffa") else {
        return;
    };
    for step in 0.. {
        let number = round * 10_000 + step;
        let load = (worker, number);
        ledger.lock().unwrap().tried.insert(load);
        let rows = format!(
            "select {worker} as w, {number} as n, i, repeat('x', i) as f from generate_series(1, {ROWS}) as g(i)"
        );
        let answer = match worker {
            0 => try_simple(&mut wire, &format!("insert into load {rows}")),
            1 => try_copy(&mut wire, worker, number),
            2 => try_simple(&mut wire, &format!("create table ctas_{number} as {rows}")),
            CHANGER => try_simple(&mut wire, &new_version(number)),
            _ => try_simple(
                &mut wire,
                &format!(
                    "begin; insert into load {rows}; insert into pair select {worker}, {number}, i \
                     from generate_series(1, {ROWS}) as g(i); commit"
                ),
            ),
        };
        match answer {
            // The connection broke: nobody knows, and both outcomes are right.
            None => return,
            Some(Ok(())) => {
                ledger.lock().unwrap().acknowledged.insert(load);
            }
            // Two writers met on one table: refused is refused, and nothing of it may be there.
            Some(Err(code)) => {
                assert!(["40001", "57P01"].contains(&code.as_str()), "worker {worker}: {code}");
                ledger.lock().unwrap().tried.remove(&load);
                if try_simple(&mut wire, "rollback").is_none() {
                    return;
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// One transaction that gives every row of two tables this version, in one of three ways.
fn new_version(number: u64) -> String {
    let source = format!("(select i, {number} as version from generate_series(1, {ROWS}) as g(i)) as new");
    let one = |table: &str| match number % 3 {
        0 => format!(
            "update {table} set version = {number} where i % 2 = 0; update {table} set version = {number} where i % 2 = 1"
        ),
        1 => format!(
            "delete from {table} where i % 3 = 0; merge into {table} using {source} on {table}.i = new.i \
             when matched then update set version = new.version when not matched then insert values (new.i, new.version)"
        ),
        _ => format!("insert into {table} select * from {source}; delete from {table} where version < {number}"),
    };
    format!("begin; {}; {}; commit", one("marked"), one("vectors"))
}

/// `None` when the connection broke before ReadyForQuery.
pub fn try_simple(wire: &mut Wire, sql: &str) -> Option<Result<(), String>> {
    wire.send_lossy(&query(sql));
    finished(wire)
}

fn try_copy(wire: &mut Wire, worker: u64, number: u64) -> Option<Result<(), String>> {
    wire.send_lossy(&query("copy load from stdin"));
    if wire.message()?.tag != b'G' {
        return finished(wire);
    }
    for i in 1..=ROWS {
        wire.send_lossy(&frame(b'd', format!("{worker}\t{number}\t{i}\tcopied\n").as_bytes()));
    }
    wire.send_lossy(&frame(b'c', b""));
    finished(wire)
}

fn finished(wire: &mut Wire) -> Option<Result<(), String>> {
    let messages = wire.until_ready();
    messages.last().filter(|message| message.tag == b'Z')?;
    Some(match reply(messages).error {
        Some(error) => Err(error.code),
        None => Ok(()),
    })
}

/// Gives the number of loads that are there.
fn verify(server: &Server, ledger: &Ledger, round: u64) -> usize {
    let mut wire = server.connect();
    let mut seen = counts(&mut wire, "load");
    let pairs = counts(&mut wire, "pair");
    // Both tables of a transaction or neither.
    for (load, count) in seen.iter().filter(|((worker, _), _)| *worker == 3) {
        assert_eq!(
            pairs.get(load),
            Some(count),
            "round {round}: {load:?} is in one table of two"
        );
    }
    assert_eq!(
        pairs.len(),
        seen.keys().filter(|(worker, _)| *worker == 3).count(),
        "round {round}"
    );
    // The tables made in this round; they go after they were counted, so that there are never thousands.
    for (worker, number) in ledger
        .tried
        .iter()
        .filter(|(worker, number)| *worker == 2 && number / 10_000 == round)
    {
        let reply = wire.simple(&format!("select count(*) from ctas_{number}"));
        if reply.code() != "42P01" {
            seen.insert((*worker, *number), reply.value().parse().unwrap());
        }
    }
    verify_version(&mut wire, ledger, round);
    for (load, count) in &seen {
        assert_eq!(*count, ROWS, "round {round}: a part of load {load:?} is visible");
        assert!(
            ledger.tried.contains(load),
            "round {round}: {load:?} was refused, and is there"
        );
    }
    let asked = |load: &&Load| load.0 != CHANGER && (load.0 != 2 || load.1 / 10_000 == round);
    let gone = |load: &&Load| asked(load) && !seen.contains_key(load);
    let lost: Vec<&Load> = ledger.acknowledged.iter().filter(gone).collect();
    assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
    let tables: Vec<u64> = seen
        .keys()
        .filter(|(worker, _)| *worker == 2)
        .map(|(_, number)| *number)
        .collect();
    for number in tables.iter().skip(1) {
        assert_eq!(wire.simple(&format!("drop table ctas_{number}")).code(), "");
    }
    seen.len()
}

/// All rows of both tables have one version: the last that was acknowledged, or one that was tried after it.
fn verify_version(wire: &mut Wire, ledger: &Ledger, round: u64) {
    let state = |wire: &mut Wire, table: &str| {
        let counted = format!("select count(*), count(distinct i), min(version), max(version) from {table}");
        wire.simple(&counted).text().remove(0)
    };
    let row = state(wire, "marked");
    assert_eq!(row, state(wire, "vectors"), "round {round}: one table of two");
    let rows = Some(ROWS.to_string());
    assert!(
        row[0] == rows && row[1] == rows && row[2] == row[3],
        "round {round}: half a change: {row:?}"
    );
    let version: u64 = row[2].as_ref().unwrap().parse().unwrap();
    let last = ledger.acknowledged.iter().rev().find(|load| load.0 == CHANGER);
    let last = last.map_or(0, |load| load.1);
    assert!(
        version >= last,
        "round {round}: version {last} was acknowledged, {version} is there"
    );
    assert!(
        version == 0 || ledger.tried.contains(&(CHANGER, version)),
        "round {round}: version {version} was refused, and is there"
    );
}

fn counts(wire: &mut Wire, table: &str) -> BTreeMap<Load, u64> {
    let reply = wire.simple(&format!(
        "select worker, number, count(*) from {table} group by worker, number"
    ));
    assert!(reply.error.is_none(), "{:?}", reply.error);
    let number = |value: &Option<String>| value.as_ref().unwrap().parse::<u64>().unwrap();
    reply
        .text()
        .iter()
        .map(|row| ((number(&row[0]), number(&row[1])), number(&row[2])))
        .collect()
}

/// Data, manifests and metadata are synced, then the folders that name them, then the catalog, then the client hears.
#[test]
fn fsyncs_come_in_order() {
    let folder = TempDir::new().unwrap();
    let trace = folder.path().join("trace");
    let calls = "trace=openat,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64";
    let mut arguments: Vec<String> = [
        "-D",
        "-f",
        "-y",
        "-s",
        "256",
        "-e",
        calls,
        "-o",
        trace.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .into();
    arguments.push(env!("CARGO_BIN_EXE_staffa-under-test").to_owned());
    arguments.extend(serve(folder.path(), &["--auth", "trust"]));
    let server =
        Server::try_start_program("strace", folder.path(), &arguments, &[]).unwrap_or_else(|log| panic!("{log}"));
    let mut wire = server.connect();
    for sql in [
        "create table t (d date, i int) partition by (month(d))",
        "insert into t select date '2024-01-01' + i, i from generate_series(1, 100) as g(i)",
        "create table u as select i from generate_series(1, 10) as g(i)",
        "begin; insert into t values ('2030-01-01', 1); insert into u values (11); commit",
    ] {
        assert_eq!(wire.simple(sql).code(), "", "{sql}");
    }
    sleep(Duration::from_millis(300));
    let events = read_trace(&fs::read_to_string(&trace).unwrap());
    let files = warehouse_files(server.data());
    assert!(files.iter().any(|file| file.ends_with(".parquet")) && files.iter().any(|file| file.ends_with(".avro")));
    for file in &files {
        check_order(file, &events).unwrap_or_else(|problem| panic!("{file}: {problem}"));
    }
    // Every acknowledgement comes after a sync of the catalog that comes after its predecessor's.
    let mut synced = false;
    let mut acknowledged = 0;
    for event in &events {
        match event {
            Event::Synced(path) if is_catalog(path) => synced = true,
            Event::Acknowledged => {
                assert!(
                    synced,
                    "acknowledgement {} without a sync of the catalog",
                    acknowledged + 1
                );
                (synced, acknowledged) = (false, acknowledged + 1);
            }
            _ => {}
        }
    }
    assert_eq!(acknowledged, 4);
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// A file appeared under this name: created, renamed or linked.
    Named(String),
    /// Bytes of a file with this name are now under the other.
    Renamed(String, String),
    Synced(String),
    /// The server told a client that a statement is done.
    Acknowledged,
}

fn is_catalog(path: &str) -> bool {
    path.ends_with("-wal") || path.ends_with(".db") || path.ends_with(".sqlite")
}

/// The file was synced, then the folder it stands in, then the catalog, before the next acknowledgement.
fn check_order(file: &str, events: &[Event]) -> Result<(), String> {
    let named = events
        .iter()
        .rposition(|event| {
            matches!(event, Event::Named(path) if path == file) || matches!(event, Event::Renamed(_, to) if to == file)
        })
        .ok_or("nobody made it")?;
    let before = match &events[named] {
        Event::Renamed(from, _) => from.as_str(),
        _ => file,
    };
    let synced = events
        .iter()
        .position(|event| matches!(event, Event::Synced(path) if path == file || path == before))
        .ok_or("it was never synced")?;
    let folder = Path::new(file).parent().unwrap().to_str().unwrap();
    let folder_synced = events[named..]
        .iter()
        .position(|event| matches!(event, Event::Synced(path) if path == folder))
        .map(|position| position + named)
        .ok_or("its folder was not synced after it got its name")?;
    let done = folder_synced.max(synced);
    let acknowledged = events[named..]
        .iter()
        .position(|event| *event == Event::Acknowledged)
        .map(|p| p + named);
    let acknowledged = acknowledged.ok_or("nothing was acknowledged after it")?;
    let catalog = events[..acknowledged]
        .iter()
        .rposition(|event| matches!(event, Event::Synced(path) if is_catalog(path)))
        .ok_or("the catalog was not synced before the acknowledgement")?;
    if done < catalog {
        Ok(())
    } else {
        Err(format!("synced at event {done}, after the catalog at {catalog}"))
    }
}

/// strace's lines as events, in the order the calls ended.
fn read_trace(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun.to_owned());
            continue;
        }
        let call = match call.split_once(" resumed>") {
            Some((_, end)) if call.starts_with("<... ") => unfinished.remove(pid).unwrap_or_default() + end,
            _ => call.to_owned(),
        };
        if !call.contains(" = -1 ") {
            events.extend(event(&call));
        }
    }
    events
}

fn event(call: &str) -> Option<Event> {
    let (name, rest) = call.split_once('(')?;
    // With -y a descriptor is `12</path>`, also the one openat gives back.
    let path = |text: &str| Some(text.split_once('<')?.1.split('>').next()?.to_owned());
    let quoted: Vec<String> = rest.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    match name {
        "openat" if rest.contains("O_CREAT") => path(rest.rsplit(" = ").next()?).map(Event::Named),
        "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
            Some(Event::Renamed(quoted.first()?.clone(), quoted.get(1)?.clone()))
        }
        "fsync" | "fdatasync" => path(rest).map(Event::Synced),
        "write" | "writev" | "sendto" | "sendmsg" if rest.contains("<TCP:") || rest.contains("<socket:") => {
            let done = ["CREATE TABLE", "SELECT 10", "INSERT 0 100", "COMMIT"]
                .iter()
                .any(|tag| rest.contains(&format!("{tag}\\0")));
            done.then_some(Event::Acknowledged)
        }
        _ => None,
    }
}

/// Data, manifests and metadata below the folder.
fn warehouse_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|e| e == "parquet" || e == "avro" || e == "json")
            {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found
}
