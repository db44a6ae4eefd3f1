//! Background upkeep: many small commits leave few files, writers never notice, a kill in the middle loses nothing, and other
//! engines read what is left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::durability::try_simple;
use crate::judges::ENGINES;
use crate::support::{Server, python};
use crate::wire::Wire;

const FLAGS: [&str; 3] = ["--auth", "trust", "--maintenance-interval=1s"];
const WRITERS: u64 = 4;
const INSERTS: u64 = 500;
/// Updates, and deletes, of each writer.
const CHANGES: u64 = INSERTS / 50;

/// The first value of a statement that must not fail; empty when it has no rows.
pub fn run(wire: &mut Wire, sql: &str) -> String {
    let reply = wire.simple(sql);
    assert!(reply.error.is_none(), "{sql}: {}", reply.error.unwrap());
    match reply.rows.is_empty() {
        true => String::new(),
        false => reply.value(),
    }
}

/// The least of a few times a query takes.
fn time(wire: &mut Wire, sql: &str) -> Duration {
    let once = |wire: &mut Wire| {
        let begun = Instant::now();
        run(wire, sql);
        begun.elapsed()
    };
    (0..5).map(|_| once(wire)).min().unwrap()
}

#[test]
fn small_commits_leave_few_files_and_no_writer_notices() {
    let mut server = Server::start_with(&FLAGS, &[]);
    let mut wire = server.connect();
    run(&mut wire, "create table t (id bigint, n bigint, a text)");
    run(&mut wire, "insert into t values (-1, 0, 'counter')");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mut wire = server.connect();
            scope.spawn(move || {
                for number in 0..INSERTS {
                    let id = writer * INSERTS + number;
                    run(&mut wire, &format!("insert into t values ({id}, 0, 'row {id}')"));
                    if number % 50 == 0 {
                        run(&mut wire, "update t set n = n + 1 where id = -1");
                        run(&mut wire, &format!("delete from t where id = {id}"));
                    }
                }
            });
        }
    });
    let rows = WRITERS * (INSERTS - CHANGES) + 1;
    let state = "select count(*) || '|' || count(distinct id) || '|' || max(n) from t";
    assert_eq!(run(&mut wire, state), format!("{rows}|{rows}|{}", WRITERS * CHANGES));

    let count_files = "select count(*) from staffa.files('t')";
    let give_up_at = Instant::now() + Duration::from_secs(120);
    loop {
        let files: u64 = run(&mut wire, count_files).parse().unwrap();
        if files < 16 {
            break;
        }
        assert!(Instant::now() < give_up_at, "{files} files are left:\n{}", server.log());
        sleep(Duration::from_millis(500));
    }
    assert_eq!(run(&mut wire, state), format!("{rows}|{rows}|{}", WRITERS * CHANGES));
    let done = "select count(*) > 0 and max(files_before) > 8 from staffa.maintenance \
                where table_name = 't' and operation = 'compact' and origin = 'background' and result = 'done'";
    assert_eq!(run(&mut wire, done), "t");
    let failed = "select string_agg(result, '; ') from staffa.maintenance where result like 'failed%'";
    assert_eq!(wire.simple(failed).text(), vec![vec![None]]);

    run(&mut wire, "create table fresh as select * from t");
    let scan = "select sum(id), max(a), count(*) from";
    let (old, fresh) = (
        time(&mut wire, &format!("{scan} t")),
        time(&mut wire, &format!("{scan} fresh")),
    );
    println!(
        "{rows} rows after {} commits: {old:?}, freshly written {fresh:?}",
        WRITERS * (INSERTS + 2 * CHANGES)
    );
    assert!(
        old < fresh * 5 + Duration::from_millis(50),
        "{old:?}, freshly written {fresh:?}"
    );

    // What a clone, a tag and a rollback lead to outlives what the table itself forgets.
    run(&mut wire, "create table c clone fresh");
    run(&mut wire, "alter table fresh create tag whole");
    run(&mut wire, "delete from fresh where id % 2 = 0");
    run(&mut wire, "alter table fresh create branch half");
    run(&mut wire, "rollback table fresh to version 'whole'");
    run(&mut wire, "insert into c values (-5, 0, 'own')");
    run(&mut wire, "optimize c");
    let data = server.data().to_str().unwrap().to_owned();
    let url = server.url("staffa");
    let text = python(
        "judges/read_tables.py",
        &["--data", &data, "--url", &url, "--engines", ENGINES],
    );
    assert!(text.contains("3 tables"), "{text}");
    for table in ["fresh", "c"] {
        run(&mut wire, &format!("vacuum full {table}"));
    }
    run(&mut wire, "drop table t");
    println!("{}", python("judges/read_states.py", &["--data", &data, "--url", &url]));
    server.assert_well();
}

/// Files that gave way to an open transaction are found again, although the table has not changed since; others do not wait
/// for them, and nothing is written in vain meanwhile.
#[test]
fn compaction_comes_back_when_a_transaction_has_ended() {
    let mut server = Server::start_with(&FLAGS, &[]);
    let (mut wire, mut changer) = (server.connect(), server.connect());
    // Of one commit: all of them come of age at once, however slow the machine is.
    run(&mut wire, "begin");
    for table in ["t", "u"] {
        run(&mut wire, &format!("create table {table} (id bigint)"));
        for id in 0..=10 {
            run(&mut wire, &format!("insert into {table} values ({id})"));
        }
    }
    run(&mut wire, "commit");
    run(&mut changer, "begin");
    run(&mut changer, "delete from t");
    run(&mut changer, "delete from u where id = 0");
    run(&mut changer, "update u set id = -1 where id > 10");
    let count_files = "select count(*) from staffa.files('t')";
    let wait_for = |wire: &mut Wire, query: &str, count: &str, server: &Server| {
        let give_up_at = Instant::now() + Duration::from_secs(60);
        while run(wire, query) != count {
            assert!(Instant::now() < give_up_at, "{}", server.log());
            sleep(Duration::from_millis(300));
        }
    };
    // Files of less than five seconds are left alone.
    wait_for(&mut wire, "select count(*) from staffa.files('u')", "2", &server);
    // The other table has had its turn, too.
    sleep(Duration::from_secs(3));
    assert_eq!(run(&mut wire, count_files), "11");
    run(&mut changer, "rollback");
    wait_for(&mut wire, count_files, "1", &server);
    let in_vain = "select count(*) from staffa.maintenance where result <> 'done'";
    assert_eq!(run(&mut wire, in_vain), "0");
    assert_eq!(run(&mut wire, "select count(*) || '|' || sum(id) from t"), "11|55");
    server.assert_well();
}

/// Statistics come by themselves, and of a table that only grew what came is read alone.
#[test]
fn statistics_follow_the_rows() {
    let mut server = Server::start_with(&FLAGS, &[]);
    let mut wire = server.connect();
    let wait_for = |wire: &mut Wire, distinct: &str| {
        let query = "select coalesce(max(n_distinct), 0) from pg_stats where tablename = 't' and attname = 'kind'";
        let give_up_at = Instant::now() + Duration::from_secs(120);
        while run(wire, query) != distinct {
            assert!(Instant::now() < give_up_at, "{}", server.log());
            sleep(Duration::from_millis(300));
        }
    };
    run(&mut wire, "create table t (id bigint, kind text)");
    run(
        &mut wire,
        "insert into t select g, 'k' || g % 50 from generate_series(1, 20000) g",
    );
    wait_for(&mut wire, "50");
    run(
        &mut wire,
        "insert into t select g, 'n' || g % 50 from generate_series(20001, 30000) g",
    );
    wait_for(&mut wire, "100");
    let read = "select array_agg(bytes_before order by started_at) from staffa.maintenance where operation = 'analyze'";
    let less = format!("select read[2] < read[1] from ({read}) as done(read)");
    assert_eq!(run(&mut wire, &less), "t", "{}", run(&mut wire, read));
    let bounds =
        "select (histogram_bounds::text::bigint[])[51] between 14500 and 15500 from pg_stats where attname = 'id'";
    assert_eq!(run(&mut wire, bounds), "t");
    run(&mut wire, "update t set kind = 'same'");
    wait_for(&mut wire, "1");
    server.assert_well();
}

#[test]
fn a_kill_during_compaction_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let acknowledged = AtomicU64::new(0);
    let tried = AtomicU64::new(0);
    let flags = ["--auth", "trust", "--maintenance-interval=100ms"];
    for round in 0..4 {
        let mut server = Server::start_on(folder.path(), &flags, &[]);
        let mut wire = server.connect();
        if round == 0 {
            run(&mut wire, "create table t (id bigint)");
        }
        check(&mut wire, &acknowledged, &tried);
        thread::scope(|scope| {
            let (mut inserts, mut optimizer) = (server.connect(), server.connect());
            let (acknowledged, tried) = (&acknowledged, &tried);
            scope.spawn(move || {
                loop {
                    let id = tried.fetch_add(1, Ordering::Relaxed);
                    match try_simple(&mut inserts, &format!("insert into t values ({id})")) {
                        Some(Ok(())) => _ = acknowledged.fetch_add(1, Ordering::Relaxed),
                        Some(Err(error)) => panic!("{error}"),
                        None => return,
                    }
                }
            });
            scope.spawn(move || {
                while let Some(done) = try_simple(&mut optimizer, "optimize t") {
                    assert_eq!(done, Ok(()));
                }
            });
            sleep(Duration::from_millis(1500 + 370 * round));
            server.assert_well();
            server.kill();
        });
    }
    let mut server = Server::start_on(folder.path(), &flags, &[]);
    let mut wire = server.connect();
    check(&mut wire, &acknowledged, &tried);
    let data = server.data().to_str().unwrap().to_owned();
    let text = python(
        "judges/read_tables.py",
        &["--data", &data, "--url", &server.url("staffa"), "--engines", ENGINES],
    );
    assert!(text.contains("1 tables"), "{text}");
    server.assert_well();
}

/// Every row once; none that was acknowledged is missing, and none is there that nobody sent.
fn check(wire: &mut Wire, acknowledged: &AtomicU64, tried: &AtomicU64) {
    let count: u64 = run(wire, "select count(*) from t").parse().unwrap();
    assert_eq!(run(wire, "select count(distinct id) from t"), count.to_string());
    let (least, most) = (acknowledged.load(Ordering::Relaxed), tried.load(Ordering::Relaxed));
    assert!(
        (least..=most).contains(&count),
        "{count} rows, {least} acknowledged, {most} sent"
    );
    // Those whose answer was lost are there for good.
    acknowledged.store(count, Ordering::Relaxed);
}

/// A server that has just started reads no data file to estimate what statistics keep a sample of, nor where no plan hangs on estimates.
#[test]
fn what_statistics_keep_is_not_read_again_to_plan() {
    const TABLES: [&str; 3] = [
        "create table a as select g as k, g % 7 as n, 'text ' || g as t from generate_series(1, 20000) g",
        "create table b as select g * 2 as k, g % 5 as n from generate_series(1, 16000) g",
        "analyze",
    ];
    const JOIN: &str = "explain select count(*) from a join b using (k) where a.n = 3 and b.n < 2 and t like '%1%'";
    let folder = TempDir::new().unwrap();
    let flags = ["--auth", "trust", "--maintenance=false"];
    let footers = |wire: &mut Wire| run(wire, "select misses from staffa.cache where name = 'footers'");
    let server = Server::start_on(folder.path(), &flags, &[]);
    let mut wire = server.connect();
    for sql in TABLES {
        run(&mut wire, sql);
    }
    let before = wire.simple(JOIN).text();
    server.kill();

    let server = Server::start_on(folder.path(), &flags, &[]);
    let mut wire = server.connect();
    assert_eq!(wire.simple(JOIN).text(), before, "the same sample, the same estimates");
    assert_eq!(footers(&mut wire), "0");
    // Half as many rows again: that sample is of another table.
    run(&mut wire, "insert into b select -g, 1 from generate_series(1, 8000) g");
    let read = footers(&mut wire);
    run(&mut wire, JOIN);
    // Planning does not wait for a sample to its end.
    let end = Instant::now() + Duration::from_secs(60);
    while footers(&mut wire) == read {
        assert!(Instant::now() < end, "no sample is taken");
        sleep(Duration::from_millis(20));
    }
    server.kill();

    let server = Server::start_on(folder.path(), &flags, &[]);
    let mut wire = server.connect();
    run(&mut wire, "set staffa.result_cache = off");
    assert_eq!(run(&mut wire, "select count(*) from b where k < 0 and n = 1"), "8000");
    assert_eq!(
        footers(&mut wire),
        "1",
        "of the one file that has such rows: nobody wants estimates"
    );
}
