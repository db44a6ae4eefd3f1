//! Upkeep by several servers of one catalog in PostgreSQL at the same time: files become few, what forgotten snapshots had is
//! really gone from where tables are, and nothing that a reader, a clone or the table itself needs ever is.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::maintenance::run;
use crate::postgres::Postgres;
use crate::support::Server;
use crate::wire::Wire;

/// What servers need for [`two_servers_keep_one_table_up`].
pub const FLAGS: [&str; 2] = ["--auth=trust", "--maintenance-interval=1s"];
/// Single rows, of each of two writers; each has changed one row in ten, too.
const INSERTS: u64 = 60;
/// Dead objects are looked at once a minute, and servers say every half what they may look at.
const PATIENCE: Duration = Duration::from_secs(240);

fn column(wire: &mut Wire, sql: &str) -> BTreeSet<String> {
    wire.simple(sql).text().into_iter().flatten().flatten().collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<(), String>) {
    let give_up_at = Instant::now() + PATIENCE;
    while let Err(state) = is_so() {
        assert!(Instant::now() < give_up_at, "{what}: {state}");
        sleep(Duration::from_millis(500));
    }
}

/// `stored` gives the locations of all objects of the warehouse.
pub fn two_servers_keep_one_table_up(
    servers: &mut [Server; 2],
    postgres: &Postgres,
    mut stored: impl FnMut() -> BTreeSet<String>,
) {
    let [mut a, mut b] = servers.each_ref().map(Server::connect);
    run(
        &mut a,
        "create table t (id bigint, n int) with (\"history.expire.max-snapshot-age-ms\" = 1, \
         \"history.expire.min-snapshots-to-keep\" = 1)",
    );
    run(&mut a, "insert into t values (-1, 0), (-2, 0)");
    // Its files are those of `t`, and outlive them there.
    run(&mut a, "create table c clone t");
    let files = |wire: &mut Wire, table: &str| column(wire, &format!("select file_path from staffa.files('{table}')"));
    let first = files(&mut a, "c");
    run(&mut b, "begin");
    let state = "select count(*) || '|' || sum(id) || '|' || sum(n) from t";
    let seen = run(&mut b, state);

    scope(|threads| {
        for (number, server) in (0_u64..).zip(servers.iter()) {
            let mut wire = server.connect();
            threads.spawn(move || {
                for row in 0..INSERTS {
                    let id = number * INSERTS + row;
                    run(&mut wire, &format!("insert into t values ({id}, 0)"));
                    if row % 10 == 9 {
                        run(&mut wire, &format!("update t set n = n + 1 where id = {id}"));
                    }
                }
            });
        }
    });
    let count = 2 * INSERTS;
    let expected = format!("{}|{}|{}", count + 2, (0..count).sum::<u64>() - 3, count / 10);
    assert_eq!(run(&mut a, state), expected);

    wait_until("small files are merged, and old snapshots forgotten", || {
        let files: u64 = run(&mut a, "select count(*) from staffa.files('t')").parse().unwrap();
        let snapshots: u64 = run(&mut a, "select count(*) from staffa.snapshots('t')")
            .parse()
            .unwrap();
        // So few are not merged any more: no commit comes after the VACUUM.
        match files < 8 && snapshots < 60 {
            true => Ok(()),
            false => Err(format!("{files} files, {snapshots} snapshots")),
        }
    });
    // Whatever waits for other programs' readers need not wait here.
    let due = "update staffa_gc set not_before_ms = 0 where path in \
               (select path from staffa_gc where path not like '%/' order by path for update)";
    postgres.sql(due);
    run(&mut a, "vacuum t");
    assert_eq!(run(&mut b, state), seen, "a transaction reads what it began with");
    run(&mut b, "commit");
    assert_eq!(run(&mut b, state), expected);

    let mut left = BTreeSet::new();
    wait_until("what nothing needs is gone", || {
        postgres.sql(due);
        let data = |path: &&String| path.ends_with(".parquet") || path.ends_with(".puffin");
        left = stored();
        let needed: BTreeSet<String> = files(&mut a, "t").union(&first).cloned().collect();
        let there: BTreeSet<String> = left.iter().filter(data).cloned().collect();
        let lists = left.iter().filter(|path| path.contains("/snap-")).count();
        // The list of the clone's one snapshot is there as well.
        let snapshots: usize = run(&mut a, "select count(*) from staffa.snapshots('t')")
            .parse()
            .unwrap();
        match there == needed && lists == snapshots + 1 {
            true => Ok(()),
            false => Err(format!(
                "needed and gone: {:?}; left: {:?}; {lists} lists of {snapshots} snapshots",
                needed.difference(&there).collect::<Vec<_>>(),
                there.difference(&needed).count()
            )),
        }
    });
    // All of it can be read, by whoever comes.
    for server in servers.iter_mut() {
        let mut wire = server.connect();
        assert_eq!(run(&mut wire, state), expected);
        assert_eq!(run(&mut wire, "select count(*) || '|' || sum(id) from c"), "2|-3");
        assert_eq!(
            run(&mut wire, "select count(*) from staffa.table_changes('c', null)"),
            "2"
        );
        let failed = "select string_agg(result, '; ') from staffa.maintenance where result like 'failed%'";
        assert_eq!(wire.simple(failed).text(), vec![vec![None]]);
        server.assert_well();
    }
    let did = |wire: &mut Wire, operation: &str| -> u64 {
        let sql = format!(
            "select count(*) from staffa.maintenance \
             where operation = '{operation}' and origin = 'background' and result = 'done'"
        );
        run(wire, &sql).parse().unwrap()
    };
    for operation in ["compact", "expire snapshots", "delete garbage"] {
        assert!(did(&mut a, operation) + did(&mut b, operation) > 0, "{operation}");
    }
}

fn files_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, found),
            false => drop(found.insert(format!("file://{}", path.display()))),
        }
    }
}

#[test]
fn upkeep_of_two_servers_leaves_what_is_needed() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let serve = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Server::start_on(&folder, &FLAGS, &[("STAFFA_CATALOG", &postgres.url())])
    };
    let mut servers = [serve("a"), serve("b")];
    let warehouse = folder.path().join("a/data/warehouse").canonicalize().unwrap();
    two_servers_keep_one_table_up(&mut servers, &postgres, || {
        let mut found = BTreeSet::new();
        files_below(&warehouse, &mut found);
        found
    });
}
