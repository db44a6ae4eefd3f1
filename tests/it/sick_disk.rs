//! A disk that fails: fsync and writes give EIO or ENOSPC, now and then or always. The client is told, what was acknowledged
//! is there, what was refused is not, also after kill -9; and with the disk well again everything goes on.
//!
//! strace puts the errors into system calls of the running server (`inject=`), and lets go of it again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Server, python, signal};
use crate::wire::Wire;

const FLAGS: [&str; 3] = ["--auth", "trust", "--maintenance=false"];
/// Changes that are tried with each fault.
const CHANGES: u64 = 10;

/// System calls that fail, with which error, and which of a thread's: see `when` in strace(1).
const FAULTS: [(&str, Where, &str); 8] = [
    ("fsync,fdatasync", Where::Anywhere, "error=EIO:when=1+1"),
    ("fsync,fdatasync", Where::Anywhere, "error=EIO:when=2+3"),
    ("fsync,fdatasync", Where::Anywhere, "error=ENOSPC:when=3+4"),
    // Data goes out by pwrite64, and whatever else is written: not what wakes threads up, that is `write`.
    ("pwrite64", Where::Anywhere, "error=EIO:when=1+2"),
    ("pwrite64", Where::Anywhere, "error=ENOSPC:when=1+1"),
    (
        "rename,renameat,renameat2,link,linkat",
        Where::Anywhere,
        "error=EIO:when=1+3",
    ),
    ("fsync,fdatasync", Where::Catalog, "error=EIO:when=2+4"),
    ("write,pwrite64,pwritev", Where::Catalog, "error=EIO:when=4+9"),
];

#[derive(Clone, Copy, Debug)]
enum Where {
    Anywhere,
    /// The catalog database and its log.
    Catalog,
}

/// What the client knows.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    next: u64,
}

#[test]
fn a_disk_that_fails() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start_on(folder.path(), &FLAGS, &[]);
    let mut wire = server.connect();
    for table in ["t", "u"] {
        assert_eq!(wire.simple(&format!("create table {table} (n bigint)")).code(), "");
    }
    let mut ledger = Ledger::default();
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let Some(strace) = attach(&server, fault) else {
            println!("skipped: strace cannot attach to a process");
            return;
        };
        let refused = ledger.refused.len();
        for _ in 0..CHANGES {
            change(&mut wire, &mut ledger);
        }
        // Reading needs no disk that can write.
        assert_eq!(wire.simple("select count(*) >= 0 from t").value(), "t", "{fault:?}");
        detach(strace);
        println!("{fault:?}: {} of {CHANGES} refused", ledger.refused.len() - refused);
        assert!(ledger.refused.len() > refused, "{fault:?}: nothing failed");
        check(&mut wire, &ledger);
        let known = ledger.refused.len();
        change(&mut wire, &mut ledger);
        change(&mut wire, &mut ledger);
        assert_eq!(ledger.refused.len(), known, "{fault:?}: the disk is well again");
        server.assert_well();
        if number % 3 == 2 {
            server.kill();
            server = Server::start_on(folder.path(), &FLAGS, &[]);
            wire = server.connect();
            check(&mut wire, &ledger);
        }
    }
    server.kill();
    let mut server = Server::start_on(folder.path(), &FLAGS, &[]);
    let mut wire = server.connect();
    check(&mut wire, &ledger);
    let live = "select (select count(*) from staffa.files('t')) + (select count(*) from staffa.files('u'))";
    let live: usize = wire.simple(live).value().parse().unwrap();
    assert_eq!(
        parquet_files(&server.data().join("warehouse")),
        live,
        "files are left over"
    );
    let data = server.data().to_str().unwrap().to_owned();
    println!(
        "{}",
        python(
            "judges/read_tables.py",
            &["--data", &data, "--url", &server.url("staffa")]
        )
    );
    server.assert_well();
}

/// One number into one table, or into both in one transaction.
fn change(wire: &mut Wire, ledger: &mut Ledger) {
    let n = ledger.next;
    ledger.next += 1;
    let sql = match n % 2 {
        0 => format!("insert into t values ({n})"),
        _ => format!("begin; insert into t values ({n}); insert into u values ({n}); commit"),
    };
    let reply = wire.simple(&sql);
    match &reply.error {
        None => _ = ledger.acknowledged.insert(n),
        // Not known: both are right.
        Some(error) if error.code == "08007" => println!("{n}: {error}"),
        Some(error) => {
            assert!(["58030", "53100"].contains(&error.code.as_str()), "{sql}: {error}");
            ledger.refused.insert(n);
        }
    }
    if wire.status != b'I' {
        assert_eq!(wire.simple("rollback").code(), "");
    }
}

fn check(wire: &mut Wire, ledger: &Ledger) {
    let mut numbers = |table: &str| -> Vec<u64> {
        let reply = wire.simple(&format!("select n from {table} order by n"));
        assert!(reply.error.is_none(), "{}", reply.error.unwrap());
        let rows = reply.text().into_iter();
        rows.map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect()
    };
    let (t, u) = (numbers("t"), numbers("u"));
    let seen: BTreeSet<u64> = t.iter().copied().collect();
    assert_eq!(seen.len(), t.len(), "a row is there twice");
    let lost: Vec<&u64> = ledger.acknowledged.difference(&seen).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let there: Vec<&u64> = ledger.refused.intersection(&seen).collect();
    assert!(there.is_empty(), "refused, and there: {there:?}");
    let both: Vec<u64> = t.into_iter().filter(|n| n % 2 == 1).collect();
    assert_eq!(both, u, "both tables of a transaction, or none");
}

/// strace on the server, when it may do that. The errors begin when this returns.
fn attach(server: &Server, (calls, place, inject): (&str, Where, &str)) -> Option<Child> {
    let mut command = Command::new("strace");
    command.args(["-f", "-q", "-p", &server.pid().to_string(), "-o", "/dev/null"]);
    command.args([
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={calls}:{inject}"),
    ]);
    if let Where::Catalog = place {
        for name in ["catalog.db", "catalog.db-wal"] {
            command.arg("-P").arg(server.data().join(name));
        }
    }
    let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let is_traced = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        line.is_some_and(|pid| pid.trim() != "0")
    };
    for _ in 0..500 {
        if strace.try_wait().unwrap().is_some() {
            let said = BufReader::new(strace.stderr.take().unwrap())
                .lines()
                .map_while(Result::ok);
            println!("{}", said.collect::<Vec<_>>().join("\n"));
            return None;
        }
        if is_traced() {
            // The other threads come right after the first.
            sleep(Duration::from_millis(300));
            return Some(strace);
        }
        sleep(Duration::from_millis(10));
    }
    panic!("strace does not attach");
}

/// The server goes on without it.
fn detach(mut strace: Child) {
    signal(strace.id(), "INT");
    strace.wait().unwrap();
}

fn parquet_files(folder: &Path) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found += parquet_files(&path),
            false => found += usize::from(path.extension().is_some_and(|extension| extension == "parquet")),
        }
    }
    found
}
