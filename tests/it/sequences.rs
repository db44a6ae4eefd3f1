//! Numbers of sequences among many clients of several servers, and temporary tables whose sessions or servers are gone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::Postgres;
use crate::support::Server;
use crate::wire::Wire;

const CLIENTS: usize = 4;
const TEMPORARY_SCHEMAS: &str =
    "select count(distinct namespace) from iceberg_namespace_properties where namespace like 'pg\\_temp\\_%'";

fn serve(folder: &Path, postgres: &Postgres) -> Server {
    std::fs::create_dir_all(folder).unwrap();
    Server::start_on(folder, &["--auth", "trust"], &[("STAFFA_CATALOG", &postgres.url())])
}

fn done(wire: &mut Wire, sql: &str) {
    let reply = wire.simple(sql);
    assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
}

/// All numbers a client gets, one by one and many at once.
fn numbers(wire: &mut Wire) -> Vec<i64> {
    let mut numbers = Vec::new();
    for _ in 0..20 {
        numbers.push(wire.simple("select nextval('s')").value().parse().unwrap());
    }
    let many =
        wire.simple("select string_agg(n::text, ' ') from (select nextval('s') as n from generate_series(1, 200)) q");
    numbers.extend(many.value().split(' ').map(|number| number.parse::<i64>().unwrap()));
    // A rolled back number is given all the same.
    done(wire, "begin");
    numbers.push(wire.simple("select nextval('s')").value().parse().unwrap());
    done(wire, "rollback");
    numbers
}

#[test]
fn every_number_is_given_once() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let mut servers = vec![
        serve(&folder.path().join("a"), &postgres),
        serve(&folder.path().join("b"), &postgres),
    ];
    done(
        &mut servers[0].connect(),
        "create sequence s; create table t (id serial, v int)",
    );
    let seen = Mutex::new(Vec::new());
    let round = |servers: &[Server]| {
        scope(|scope| {
            for client in 0..CLIENTS {
                let (mut wire, seen) = (servers[client % servers.len()].connect(), &seen);
                scope.spawn(move || {
                    let numbers = numbers(&mut wire);
                    seen.lock().unwrap().extend(numbers);
                    done(&mut wire, "insert into t (v) select g from generate_series(1, 100) g");
                });
            }
        });
    };
    round(&servers);
    // What a killed server held is lost, and not given again.
    servers.remove(0).kill();
    servers.push(serve(&folder.path().join("a"), &postgres));
    round(&servers);
    let seen = seen.into_inner().unwrap();
    let distinct: BTreeSet<&i64> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    assert_eq!(seen.len(), 2 * CLIENTS * 221);
    let rows = servers[0]
        .connect()
        .simple("select count(*) || ' ' || count(distinct id) from t")
        .value()
        .to_owned();
    assert_eq!(rows, format!("{0} {0}", 2 * CLIENTS * 100));
    servers.iter_mut().for_each(Server::assert_well);
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn temporary_tables_go_with_their_session_and_their_server() {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let (home, mut server) = (folder.path().join("a"), serve(&folder.path().join("a"), &postgres));
    let mut first = server.connect();
    done(
        &mut first,
        "create temp table t as select 1 as a; create temp sequence s",
    );
    let mut second = server.connect();
    done(&mut second, "create temp table t (a int)");
    done(
        &mut second,
        "begin; create temp table u (a int); insert into u values (1)",
    );
    assert_eq!(postgres.query(TEMPORARY_SCHEMAS), "2");
    assert_eq!(second.simple("select count(*) from t").value(), "0");
    drop(first);
    wait_for("the tables of a session that is gone", || {
        postgres.query(TEMPORARY_SCHEMAS) == "1"
    });
    drop(second);
    wait_for("the tables of a session that is gone", || {
        postgres.query(TEMPORARY_SCHEMAS) == "0"
    });
    assert_eq!(postgres.query("select count(*) from iceberg_tables"), "0");

    done(&mut server.connect(), "select 1");
    let mut third = server.connect();
    done(&mut third, "create temp table t as select 1 as a");
    server.kill();
    assert_eq!(postgres.query(TEMPORARY_SCHEMAS), "1");
    server = serve(&home, &postgres);
    let mut wire = server.connect();
    assert_eq!(wire.simple("select * from t").code(), "42P01");
    wait_for("the tables of a server that is gone", || {
        postgres.query(TEMPORARY_SCHEMAS) == "0"
    });
    server.assert_well();
}
