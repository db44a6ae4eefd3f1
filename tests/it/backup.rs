//! Backups while others write, warehouses made of them elsewhere, kills on the way, what doctor finds, and catalogs of older
//! versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::judges::ENGINES;
use crate::postgres::Postgres;
use crate::support::{Server, package, program, python};
use crate::wire::Wire;

/// Every way of writing and deleting rows, whose files name other files in different ways.
const TABLES: [&str; 18] = [
    "create table left_side (id int, balance bigint)",
    "create table right_side (id int, balance bigint)",
    "insert into left_side select i, 1000 from generate_series(1, 8) as g(i)",
    "insert into right_side select i, 1000 from generate_series(1, 8) as g(i)",
    "create table changed (id int not null, grp int, name text) partition by (truncate(10, grp)) sorted by (id)",
    "insert into changed select i, i % 40, 'n' || i from generate_series(1, 2000) as g(i)",
    "delete from changed where id % 7 = 0",
    "update changed set name = name || '!' where id % 11 = 0",
    "create table vectors (id int, grp int, name text) partition by (grp) with (format_version = 3)",
    "insert into vectors select i, i % 3, 'v' || i from generate_series(1, 3000) as g(i)",
    "delete from vectors where id % 10 = 0",
    "create table odd (file_path text, manifest_path text) partition by (file_path)",
    "insert into odd values ('a', 'file:///x'), ('b', 'y')",
    "create table gone as select 1 as i",
    "drop table gone",
    "create view seen as select id, name from changed where id < 100",
    "create sequence numbers",
    "create role reader; grant select on changed to reader",
];

/// What is compared before and after, of tables that nobody writes to.
pub(crate) const CHECKSUM: &str = "select (select md5(string_agg(id || name || grp, ',' order by id)) || count(*) from changed) || ';' ||
    (select md5(string_agg(id || name || grp, ',' order by id)) || count(*) from vectors) || ';' ||
    (select count(*) || ',' || max(name) from seen) || ';' || (select string_agg(file_path || manifest_path, ',' order by file_path) from odd)";

fn done(wire: &mut Wire, sql: &str) {
    let reply = wire.simple(sql);
    assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
}

pub(crate) fn fill(wire: &mut Wire) {
    for sql in TABLES {
        done(wire, sql);
    }
    done(wire, "select nextval('numbers'), nextval('numbers')");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Exit status 0 or not, and what was printed.
fn run(arguments: &[&str]) -> (bool, String) {
    let output = program().args(arguments).stdin(Stdio::null()).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}

fn good(arguments: &[&str]) -> String {
    let (success, printed) = run(arguments);
    assert!(success, "{arguments:?}: {printed}");
    printed
}

fn bad(arguments: &[&str]) -> String {
    let (success, printed) = run(arguments);
    assert!(!success, "{arguments:?}: {printed}");
    printed
}

pub(crate) fn value(data: &Path, sql: &str) -> String {
    let printed = good(&["sql", "--data", text(data), "-t", "--format", "csv", "-c", sql]);
    printed.trim().trim_matches('"').to_owned()
}

/// A warehouse with all of that, and a backup of it.
struct Backed {
    folder: TempDir,
}

impl Backed {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Server::start_on(folder.path(), &["--auth", "trust", "--maintenance=false"], &[]);
        fill(&mut server.connect());
        server.terminate(Duration::from_secs(30)).unwrap();
        let backed = Self { folder };
        good(&["backup", "--data", text(&backed.data()), text(&backed.place())]);
        backed
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("place")
    }

    fn restored(&self, name: &str) -> PathBuf {
        let data = self.folder.path().join(name);
        good(&["restore", text(&self.place()), "--data", text(&data)]);
        data
    }
}

/// The files below a directory whose paths have all of these parts.
fn files(directory: &Path, parts: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, parts));
        } else if parts.iter().all(|part| text(&path).contains(part)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_backup_under_load_is_of_one_moment_and_restores_elsewhere() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start_on(folder.path(), &["--auth", "trust"], &[]);
    fill(&mut server.connect());
    let before = server.connect().simple(CHECKSUM).value();
    let (data, place) = (server.data().to_owned(), folder.path().join("place"));
    let stop = AtomicBool::new(false);
    scope(|scope| {
        for writer in 0..2 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                let mut wire = server.connect();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = (round * 2 + writer) % 8 + 1;
                    // One of two that change the same row loses; the sum stays in any case.
                    wire.simple("begin");
                    wire.simple(&format!("update left_side set balance = balance - 7 where id = {id}"));
                    wire.simple(&format!("update right_side set balance = balance + 7 where id = {id}"));
                    wire.simple("commit");
                    if round % 5 == 0 {
                        wire.simple("vacuum left_side");
                    }
                }
            });
        }
        for _ in 0..3 {
            good(&["backup", "--data", text(&data), text(&place)]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let listed = good(&["backup", "--list", text(&place)]);
    let ids: Vec<&str> = listed
        .lines()
        .map(|line| line.split([' ', ':']).nth(1).unwrap())
        .collect();
    assert_eq!(ids.len(), 3, "{listed}");
    assert!(good(&["backup", "--verify", text(&place)]).contains("every checksum is right"));
    server.assert_well();
    server.terminate(Duration::from_secs(30)).unwrap();
    // Nothing of the old place may be needed.
    fs::rename(&data, folder.path().join("moved")).unwrap();

    for (number, id) in ids.iter().enumerate() {
        let home = folder.path().join(format!("home-{number}"));
        let restored = home.join("data");
        good(&["restore", text(&place), "--backup", id, "--data", text(&restored)]);
        let sum = "select (select sum(balance) from left_side) + (select sum(balance) from right_side)";
        assert_eq!(value(&restored, sum), "16000");
    }
    let home = folder.path().join("home-2");
    let mut server = Server::start_on(&home, &["--auth", "trust", "--maintenance=false"], &[]);
    let mut wire = server.connect();
    assert_eq!(wire.simple(CHECKSUM).value(), before);
    // Numbers that the server had taken are left out, none comes again.
    assert_eq!(wire.simple("select nextval('numbers') > 2").value(), "t");
    assert_eq!(
        wire.simple("select has_table_privilege('reader', 'changed', 'select')")
            .value(),
        "t"
    );
    let url = server.url("staffa");
    let data = text(server.data()).to_owned();
    let read = python(
        "judges/read_tables.py",
        &["--data", &data, "--url", &url, "--engines", ENGINES],
    );
    assert!(read.contains("pyiceberg read 5, duckdb read 5"), "{read}");
    // It goes on like any other, also where delete files are merged with those that were moved.
    done(
        &mut wire,
        "delete from changed where id % 5 = 0; delete from vectors where id % 5 = 1",
    );
    done(&mut wire, "optimize table changed");
    done(&mut wire, "optimize table vectors");
    assert_eq!(
        wire.simple("select count(*) from changed where id % 7 = 0 or id % 5 = 0")
            .value(),
        "0"
    );
    done(&mut wire, "create table gone as select 2 as i");
    server.assert_well();
    server.terminate(Duration::from_secs(30)).unwrap();
    let report = good(&["doctor", "--data", &data, "--deep"]);
    assert!(report.contains("0 errors, 0 warnings"), "{report}");
}

#[test]
fn what_a_backup_has_is_not_copied_again() {
    let backed = Backed::new();
    let (data, place) = (backed.data(), backed.place());
    let again = good(&["backup", "--data", text(&data), text(&place)]);
    assert!(again.contains("\n0 objects with 0 bytes were copied"), "{again}");
    value(&data, "insert into left_side values (9, 1000)");
    let more = good(&["backup", "--data", text(&data), text(&place)]);
    // Data, manifest, list and metadata.
    assert!(more.contains("\n4 objects with "), "{more}");
    value(&data, "truncate changed");
    let pruned = good(&["backup", "--data", text(&data), text(&place), "--keep", "2"]);
    assert_eq!(pruned.matches("deleted backup").count(), 2, "{pruned}");
    assert_eq!(good(&["backup", "--list", text(&place)]).lines().count(), 2);
    assert!(good(&["backup", "--verify", text(&place)]).contains("every checksum is right"));
    // The place is this warehouse's.
    let other = backed.folder.path().join("other");
    value(&other, "create table t (i int)");
    assert!(bad(&["backup", "--data", text(&other), text(&place)]).contains("backups of another warehouse"));
    // And no place is inside.
    let inside = data.join("backups");
    assert!(bad(&["backup", "--data", text(&data), text(&inside)]).contains("is no place for a backup"));
    assert!(bad(&["backup", "--data", "/no/such", text(&place)]).contains("there is no catalog"));
    assert!(bad(&["backup", "--list", "/no/such/place"]).contains("there is no directory"));
    assert!(bad(&["restore", text(&place), "--data", text(&data)]).contains("it is not empty"));
    let place = text(&place);
    assert!(bad(&["restore", place, "--backup", "x", "--data", "/tmp/x"]).contains("no complete backup \"x\""));
}

#[test]
fn a_damaged_backup_is_refused() {
    let backed = Backed::new();
    let objects = backed.place().join("objects");
    let data_file = files(&objects, &["changed-", "/data/"]).remove(0);
    let list = files(&objects, &["changed-", "/metadata/snap-"]).remove(0);
    let catalog = files(&backed.place().join("backups"), &["catalog.db"]).remove(0);
    for (number, path) in [data_file, list, catalog].iter().enumerate() {
        let good_bytes = fs::read(path).unwrap();
        let mut changed = good_bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0x10;
        for bytes in [Some(&changed[..]), Some(&good_bytes[..middle]), None] {
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let verified = bad(&["backup", "--verify", text(&backed.place())]);
            assert!(
                verified.contains("1 of ") && verified.contains(text(path)),
                "{verified}"
            );
            let target = backed.folder.path().join(format!("t{number}"));
            bad(&["restore", text(&backed.place()), "--data", text(&target)]);
            let opened = bad(&["sql", "--data", text(&target), "-c", "select 1"]);
            assert!(opened.contains("is no warehouse yet"), "{opened}");
            let doctor = bad(&["doctor", "--data", text(&target)]);
            assert!(doctor.contains("restore was interrupted"), "{doctor}");
            fs::remove_dir_all(&target).unwrap();
            fs::write(path, &good_bytes).unwrap();
        }
    }
    let manifest = files(&backed.place().join("backups"), &["/manifest"]).remove(0);
    let bytes = fs::read(&manifest).unwrap();
    fs::write(&manifest, &bytes[..bytes.len() - 40]).unwrap();
    for arguments in [["backup", "--verify"], ["backup", "--list"]] {
        let printed = bad(&[arguments[0], arguments[1], text(&backed.place())]);
        assert!(printed.contains("the manifest of a backup is damaged"), "{printed}");
    }
}

/// Runs a command and kills it after some time; whether it was still running.
fn kill_after(arguments: &[&str], time: Duration) -> bool {
    let mut child = Command::new(program().get_program())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(time);
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

#[test]
fn a_killed_backup_is_none() {
    let backed = Backed::new();
    let (data, place) = (backed.data(), backed.folder.path().join("other-place"));
    let mut complete = 0;
    for step in 0..8 {
        let arguments = ["backup", "--data", text(&data), text(&place)];
        kill_after(&arguments, Duration::from_millis(60 + step * 60));
        if !place.is_dir() {
            continue;
        }
        let listed = good(&["backup", "--list", text(&place)]).lines().count();
        assert!(listed >= complete);
        complete = listed;
        if complete > 0 {
            good(&["backup", "--verify", text(&place)]);
        }
    }
    good(&["backup", "--data", text(&data), text(&place)]);
    good(&["backup", "--verify", text(&place)]);
    let target = backed.folder.path().join("target");
    good(&["restore", text(&place), "--data", text(&target)]);
    assert_eq!(value(&target, CHECKSUM), value(&data, CHECKSUM));
}

#[test]
fn a_killed_restore_does_not_open() {
    let backed = Backed::new();
    let expected = value(&backed.data(), CHECKSUM);
    let mut refused = 0;
    for step in 0..10 {
        let target = backed.folder.path().join(format!("t{step}"));
        let place = backed.place();
        let arguments = ["restore", text(&place), "--data", text(&target)];
        kill_after(&arguments, Duration::from_millis(40 + step * 40));
        let (opens, printed) = run(&["sql", "--data", text(&target), "-t", "--format", "csv", "-c", CHECKSUM]);
        match opens {
            true => assert_eq!(printed.trim().trim_matches('"'), expected),
            // Nothing was there yet, or something is and says so.
            false if printed.contains("does not exist") => {}
            false => {
                assert!(printed.contains("is no warehouse yet"), "{printed}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "no kill came in time");
}

/// What doctor says of a warehouse: whether it is sound, and the codes of what it found.
fn findings(data: &Path, flags: &[&str]) -> (bool, String) {
    let (sound, printed) = run(&[&["doctor", "--data", text(data), "--json"], flags].concat());
    (sound, printed)
}

#[test]
fn doctor_finds_what_was_damaged() {
    let backed = Backed::new();
    let old = SystemTime::now() - Duration::from_secs(5 * 86_400);
    let age = |path: &Path| {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap()
    };
    let first = |data: &Path, parts: &[&str]| files(&data.join("warehouse"), parts).remove(0);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        // The head of the first page.
        for byte in bytes.iter_mut().skip(4).take(16) {
            *byte ^= 0x55;
        }
        fs::write(path, bytes).unwrap();
    };
    let remove = |path: PathBuf| fs::remove_file(path).unwrap();
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 9]).unwrap();
    };
    let damages: [(&str, &dyn Fn(&Path)); 14] = [
        ("missing-file", &|data| {
            remove(first(data, &["changed-", "/data/", ".parquet"]))
        }),
        ("missing-file", &|data| remove(first(data, &["vectors-", ".puffin"]))),
        ("wrong-size", &|data| {
            cut(&first(data, &["changed-", "/data/", ".parquet"]))
        }),
        ("wrong-size", &|data| cut(&first(data, &["vectors-", ".puffin"]))),
        ("damaged-file", &|data| {
            flip(&first(data, &["left_side-", "/data/", ".parquet"]))
        }),
        ("damaged-file", &|data| flip(&first(data, &["vectors-", ".puffin"]))),
        ("metadata-damaged", &|data| {
            flip(&first(data, &["changed-", "/metadata/snap-"]))
        }),
        ("metadata-damaged", &|data| {
            remove(first(data, &["changed-", "/metadata/snap-"]))
        }),
        ("metadata-damaged", &|data| {
            for manifest in files(&data.join("warehouse"), &["odd-", "/metadata/", ".avro"]) {
                flip(&manifest);
            }
        }),
        ("metadata-damaged", &|data| {
            for metadata in files(&data.join("warehouse"), &["seen-", ".json"]) {
                remove(metadata);
            }
        }),
        ("catalog-unusable", &|data| remove(data.join("catalog.db"))),
        ("catalog-unusable", &|data| {
            fs::write(data.join("catalog.db"), "no database").unwrap()
        }),
        ("catalog-unusable", &|data| alter(data, "pragma user_version = 99")),
        ("unfinished-restore", &|data| {
            fs::write(data.join("restore.unfinished"), "").unwrap()
        }),
    ];
    for (number, (code, damage)) in damages.iter().enumerate() {
        let data = backed.restored(&format!("damaged-{number}"));
        if number == 0 {
            let (sound, printed) = findings(&data, &["--deep"]);
            assert!(sound && !printed.contains("\"severity\": \"warning\""), "{printed}");
        }
        damage(&data);
        let (sound, printed) = findings(&data, &["--deep"]);
        assert!(
            !sound && printed.contains(&format!("\"code\": \"{code}\"")),
            "{number}: {printed}"
        );
        fs::remove_dir_all(&data).unwrap();
    }

    // What is no damage is a warning or a note, and can be cleared away.
    let data = backed.restored("untidy");
    let directory = first(&data, &["changed-", "/data/", ".parquet"]);
    let stray = directory.with_file_name("stray.parquet");
    fs::write(&stray, "stray").unwrap();
    let leftover = data.join(".staffa-backup-1.db");
    fs::write(&leftover, "").unwrap();
    age(&stray);
    age(&leftover);
    let (sound, printed) = findings(&data, &[]);
    assert!(
        sound && printed.contains("\"orphans\"") && printed.contains("\"leftover\""),
        "{printed}"
    );
    assert!(stray.exists() && leftover.exists());
    let (sound, printed) = findings(&data, &["--repair"]);
    assert!(
        sound && !printed.contains("\"orphans\"") && !printed.contains("\"leftover\""),
        "{printed}"
    );
    assert!(!stray.exists() && !leftover.exists());
    assert_eq!(value(&data, CHECKSUM), value(&backed.data(), CHECKSUM));
}

fn alter(data: &Path, sql: &str) {
    python("judges/alter_catalog.py", &["--data", text(data), "--sql", sql]);
}

#[test]
fn doctor_of_a_running_server_finds_nothing_and_changes_nothing() {
    let mut server = Server::start();
    fill(&mut server.connect());
    let data = server.data().to_owned();
    let stop = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| {
            let mut wire = server.connect();
            while !stop.load(Ordering::Relaxed) {
                done(
                    &mut wire,
                    "insert into left_side values (9, 0); delete from left_side where id = 9",
                );
                done(&mut wire, "vacuum left_side");
            }
        });
        for _ in 0..3 {
            let report = good(&["doctor", "--data", text(&data), "--deep"]);
            assert!(report.contains("0 errors, 0 warnings"), "{report}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    server.assert_well();
}

#[test]
fn catalogs_of_older_versions_are_migrated_and_newer_ones_refused() {
    let folder = TempDir::new().unwrap();
    for version in 1..=9 {
        let data = folder.path().join(version.to_string());
        value(
            &data,
            "create table t as select i, 'r' || i as r from generate_series(1, 10) as g(i)",
        );
        value(
            &data,
            "create schema s; create view s.v as select sum(i) as total from t",
        );
        let schema = package().join(format!("golden/catalog-{version}.sql"));
        python(
            "judges/older_catalog.py",
            &["--data", text(&data), "--schema", text(&schema)],
        );
        let report = good(&["doctor", "--data", text(&data)]);
        assert!(report.contains(&format!("it has version {version}")), "{report}");
        assert_eq!(value(&data, "select total from s.v"), "55");
        value(&data, "insert into t values (11, 'x')");
        assert_eq!(value(&data, "select total from s.v"), "66");
        if version < 9 {
            assert_eq!(
                value(&data, "select rolsuper from pg_roles where rolname = 'reader'"),
                "t"
            );
        }
        assert!(data.join(format!("catalog.db.version-{version}")).exists());
        let report = good(&["doctor", "--data", text(&data)]);
        assert!(report.contains("0 errors, 0 warnings"), "{report}");
    }
    let data = folder.path().join("8");
    alter(
        &data,
        "pragma user_version = 99; update staffa_setting set value = '7.1.0' where name = 'made_by'",
    );
    let refused = bad(&["sql", "--data", text(&data), "-c", "select 1"]);
    assert!(
        refused.contains("newer version of Staffa") && refused.contains("7.1.0 or newer"),
        "{refused}"
    );
}

#[test]
fn a_catalog_in_postgresql_is_backed_up_and_restored_both_ways() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let catalog = [("STAFFA_CATALOG", postgres.url())];
    let environment: Vec<(&str, &str)> = catalog.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server = Server::start_on(folder.path(), &["--auth", "trust"], &environment);
    fill(&mut server.connect());
    let before = server.connect().simple(CHECKSUM).value();
    let (data, place) = (server.data().to_owned(), folder.path().join("place"));
    let with = |url: &str, arguments: &[&str]| {
        let output = program().args(arguments).args(["--catalog", url]).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    };
    let (success, printed) = with(&postgres.url(), &["backup", "--data", text(&data), text(&place)]);
    assert!(success, "{printed}");
    let (success, printed) = with(&postgres.url(), &["doctor", "--data", text(&data)]);
    assert!(success && printed.contains("0 errors, 0 warnings"), "{printed}");
    server.terminate(Duration::from_secs(30)).unwrap();
    fs::rename(&data, folder.path().join("moved")).unwrap();

    let in_sqlite = folder.path().join("sqlite");
    good(&["restore", text(&place), "--data", text(&in_sqlite)]);
    assert_eq!(value(&in_sqlite, CHECKSUM), before);

    // The database is not empty.
    let in_postgres = folder.path().join("home/data");
    let restore = ["restore", text(&place), "--data", text(&in_postgres)];
    assert!(with(&postgres.url(), &restore).1.contains("not empty"));
    fs::remove_dir_all(&in_postgres).unwrap();
    postgres.query("create database second");
    let second = format!("{}second", postgres.url().strip_suffix("postgres").unwrap());
    let (success, printed) = with(&second, &restore);
    assert!(success, "{printed}");
    let mut server = Server::start_on(
        &folder.path().join("home"),
        &["--auth", "trust"],
        &[("STAFFA_CATALOG", &second)],
    );
    let mut wire = server.connect();
    assert_eq!(wire.simple(CHECKSUM).value(), before);
    done(&mut wire, "insert into left_side values (9, 0); drop table odd");
    // Numbers that the server had taken are left out, none comes again.
    assert_eq!(wire.simple("select nextval('numbers') > 2").value(), "t");
    server.assert_well();
}
