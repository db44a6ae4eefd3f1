//! A file system without space: in each phase of a write it gives 53100, and nothing is half there.
//!
//! The server runs in a mount namespace of its own, in which its data folder is a small tmpfs. The test reaches into it
//! through `/proc/PID/root`; it is gone with the server.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Server, serve};
use crate::wire::{Wire, frame, query, reply};

const SIZE: &str = "12m";

/// How this user makes a mount namespace: as root simply so, else as root of a user namespace.
fn unshare() -> Option<Vec<String>> {
    [&["--mount"][..], &["--user", "--map-root-user", "--mount"]]
        .into_iter()
        .map(|flags| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>())
        .find(|flags| {
            let try_it = "mount -t tmpfs tmpfs /tmp";
            let output = Command::new("unshare").args(flags).args(["sh", "-c", try_it]).output();
            output.is_ok_and(|output| output.status.success())
        })
}

/// Takes all space of a folder's file system.
struct Filler(PathBuf);

impl Filler {
    fn new(folder: &std::path::Path) -> Self {
        let path = folder.join("filler");
        let mut file = File::create(&path).unwrap();
        // Down to single bytes, so that not the smallest file fits.
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        Self(path)
    }

    fn free(self) {
        fs::remove_file(self.0).unwrap();
    }
}

fn files(folder: &std::path::Path, extension: &str) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found += files(&path, extension),
            false => found += usize::from(path.extension().is_some_and(|e| e == extension)),
        }
    }
    found
}

fn count(wire: &mut Wire) -> String {
    wire.simple("select count(*)::text || '|' || coalesce(sum(i), 0)::text from t")
        .value()
}

#[test]
fn a_disk_that_is_full() {
    let Some(mut arguments) = unshare() else {
        println!("skipped: this user may make no mount namespace (unshare --mount)");
        return;
    };
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let script = format!("mount -t tmpfs -o size={SIZE} tmpfs \"$1\" && shift && exec \"$@\"");
    let program = env!("CARGO_BIN_EXE_staffa-under-test");
    arguments.extend(["sh", "-c", &script, "sh", data.to_str().unwrap(), program].map(str::to_owned));
    arguments.extend(serve(folder.path(), &["--auth", "trust"]));
    let mut server =
        Server::try_start_program("unshare", folder.path(), &arguments, &[]).unwrap_or_else(|log| panic!("{log}"));
    let inside = PathBuf::from(format!("/proc/{}/root{}", server.pid(), data.display()));
    assert_ne!(
        inside.metadata().unwrap().dev(),
        folder.path().metadata().unwrap().dev()
    );
    let mut wire = server.connect();
    assert_eq!(wire.simple("create table t (i bigint, s text)").code(), "");
    assert_eq!(wire.simple("insert into t values (1, 'x')").code(), "");

    let big = "select i, md5(i::text) || md5((-i)::text) from generate_series(1, 600000) as g(i)";
    let copied: Vec<u8> = (0..1_000)
        .flat_map(|i| format!("{i}\t{:032x}\n", i * 7_919_u128).into_bytes())
        .collect();
    let copy = |wire: &mut Wire| {
        wire.send(&[query("copy t from stdin"), frame(b'd', &copied), frame(b'c', b"")].concat());
        reply(wire.until_ready())
    };

    // Space runs out while data is written.
    for _ in 0..2 {
        let error = wire.simple(&format!("insert into t {big}")).error.expect("no space");
        assert_eq!(error.code, "53100", "{error}");
        assert_eq!(count(&mut wire), "1|1");
    }
    // Space runs out before anything is written.
    let filler = Filler::new(&inside);
    for sql in [
        "insert into t values (2, 'y')",
        "create table u as select 1 as a",
        "create table v (a int)",
    ] {
        let error = wire.simple(sql).error.unwrap_or_else(|| panic!("{sql}: no error"));
        assert_eq!(error.code, "53100", "{sql}: {error}");
    }
    let error = copy(&mut wire).error.expect("no space");
    assert_eq!(error.code, "53100", "{error}");
    assert_eq!(count(&mut wire), "1|1");
    filler.free();
    // Space runs out between the data and the commit.
    assert_eq!(wire.simple("begin").code(), "");
    assert_eq!(wire.simple("insert into t values (4, 'z')").code(), "");
    let filler = Filler::new(&inside);
    let error = wire.simple("commit").error.expect("no space");
    assert_eq!(error.code, "53100", "{error}");
    assert_eq!(wire.status, b'I');
    assert_eq!(count(&mut wire), "1|1");
    filler.free();

    // With space again everything goes on, and what failed has left nothing.
    assert_eq!(wire.simple("insert into t values (8, 'after')").code(), "");
    assert_eq!(count(&mut wire), "2|9");
    assert_eq!(wire.simple("select * from u").code(), "42P01");
    assert_eq!(wire.simple("create table v (a int)").code(), "");
    // Two with rows; that of the failed commit is found again at the next start, because noting its removal needs space.
    let left = files(&inside.join("warehouse"), "parquet");
    assert!((2..=3).contains(&left), "what failed left files behind: {left}");
    server.assert_well();
}
