//! Limits of roles and servers, the queue, who may see and stop whom, health and metrics, guesses at passwords.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::{Server, signal};
use crate::wire::{PROTOCOL_3_0, Wire, query, reply};

/// Runs for minutes unless somebody stops it, and waits in the queue as a statement that reads tables does.
const LONG: &str = "select count(*) from generate_series(1, 10000000000) as g(i) where i % 7 = 9";

/// What a debug build on a busy machine may take to stop something.
const STOP_LIMIT: Duration = Duration::from_secs(10);

fn start(flags: &[&str]) -> Server {
    let flags: Vec<&str> = ["--auth", "trust", "--maintenance=false"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    Server::start_with(&flags, &[])
}

fn login(server: &Server, user: &str) -> Wire {
    Wire::connect(server.address(), user, "staffa").expect("a login")
}

fn run(wire: &mut Wire, sql: &str) {
    let reply = wire.simple(sql);
    assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
}

/// Waits until a query gives this.
fn until(wire: &mut Wire, sql: &str, wanted: &str) {
    let begun = Instant::now();
    loop {
        let reply = wire.simple(sql);
        assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
        let value = reply.value();
        if value == wanted {
            return;
        }
        assert!(begun.elapsed() < STOP_LIMIT, "{sql}: {value}, not {wanted}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn statements_wait_for_their_turn_and_can_be_stopped_meanwhile() {
    let mut server = start(&["--max-running", "1"]);
    let mut admin = server.connect();
    run(&mut admin, "create table t as select 1 as a");
    run(&mut admin, "create user ann");
    run(&mut admin, "create user bob");
    run(&mut admin, "grant select on t to ann, bob");
    let count = |state: &str| {
        format!("select count(*) from staffa.queries where state = '{state}' and query not like '%staffa.queries%'")
    };
    let mut first = login(&server, "ann");
    first.send(&query(LONG));
    until(&mut admin, &count("running"), "1");
    // Another of the same role, then one of another: the second is served first.
    let (mut ann, mut bob) = (login(&server, "ann"), login(&server, "bob"));
    ann.send(&query("select a, 'ann' from t"));
    until(&mut admin, &count("queued"), "1");
    bob.send(&query("select a, 'bob' from t"));
    until(&mut admin, &count("queued"), "2");
    until(
        &mut admin,
        "select count(*) from pg_stat_activity where wait_event = 'StatementQueue' and state = 'active'",
        "2",
    );
    // What looks at the server never waits.
    assert_eq!(bob_sees(&server), "bob");
    // A wait is ended by a timeout, a cancel, a lost client.
    let mut other = login(&server, "bob");
    run(&mut other, "set statement_timeout = '200ms'");
    assert_eq!(other.simple("select a from t").code(), "57014");
    run(&mut other, "reset statement_timeout");
    other.send(&query("select a from t"));
    until(&mut admin, &count("queued"), "3");
    let pid = other.key.clone().expect("a key").0;
    assert_eq!(admin.simple(&format!("select pg_cancel_backend({pid})")).value(), "t");
    assert_eq!(reply(other.until_ready()).code(), "57014");
    other.send(&query("select a from t"));
    until(&mut admin, &count("queued"), "3");
    drop(other);
    until(&mut admin, &count("queued"), "2");
    let pid = first.key.clone().expect("a key").0;
    assert_eq!(admin.simple(&format!("select pg_cancel_backend({pid})")).value(), "t");
    assert_eq!(reply(first.until_ready()).code(), "57014");
    assert_eq!(reply(bob.until_ready()).text()[0][1].as_deref(), Some("bob"));
    assert_eq!(reply(ann.until_ready()).text()[0][1].as_deref(), Some("ann"));
    let order = "select string_agg(user_name, ' ' order by ended_at) from staffa.queries where query like 'select a, %' and state = 'finished'";
    assert_eq!(admin.simple(order).value(), "bob ann");
    assert_eq!(
        admin
            .simple("select bool_and(queued_ms > 0) from staffa.queries where query like 'select a, %'")
            .value(),
        "t"
    );
    server.assert_well();
}

/// Whose statements bob sees.
fn bob_sees(server: &Server) -> String {
    let mut wire = login(server, "bob");
    wire.simple("select string_agg(distinct user_name, ' ') from staffa.queries")
        .value()
}

#[test]
fn a_role_has_limits_that_it_cannot_lift() {
    let mut server = start(&["--settings", "staffa.max_result_rows=100; staffa.max_queued = 0"]);
    let mut admin = server.connect();
    run(&mut admin, "create user ann");
    run(&mut admin, "alter role ann set staffa.max_running = 1");
    run(&mut admin, "alter role ann set staffa.max_result_rows = 5");
    assert_eq!(admin.simple("select * from generate_series(1, 101)").code(), "53400");
    run(&mut admin, "select * from generate_series(1, 100)");
    let (mut one, mut other) = (login(&server, "ann"), login(&server, "ann"));
    assert_eq!(one.simple("select * from generate_series(1, 6)").code(), "53400");
    for sql in [
        "set staffa.max_running = 0",
        "reset staffa.max_running",
        "select set_config('staffa.max_running', '0', false)",
        "alter role ann set staffa.max_running = 0",
        "alter role ann reset staffa.max_running",
    ] {
        assert_eq!(one.simple(sql).code(), "42501", "{sql}");
    }
    run(&mut one, "reset all");
    assert_eq!(one.simple("show staffa.max_running").value(), "1");
    one.send(&query(LONG));
    until(
        &mut admin,
        "select count(*) from staffa.queries where state = 'running' and user_name = 'ann'",
        "1",
    );
    assert_eq!(
        other.simple("select count(*) from generate_series(1, 10)").code(),
        "53400"
    );
    // What a client asks for at its login is its own wish.
    let refused = Wire::login(
        server.address(),
        PROTOCOL_3_0,
        &[("user", "ann"), ("database", "staffa"), ("staffa.max_running", "0")],
    );
    assert_eq!(refused.err().map(|error| error.code).as_deref(), Some("42501"));
    drop(one);
    until(
        &mut admin,
        "select count(*) from staffa.queries where state = 'running' and user_name = 'ann'",
        "0",
    );
    run(&mut other, "select count(*) from generate_series(1, 10)");
    server.assert_well();
}

#[test]
fn who_may_stop_and_see_whom() {
    let mut server = start(&[]);
    let mut admin = server.connect();
    for sql in [
        "create user ann",
        "create user bob",
        "create user eve",
        "grant ann to bob",
    ] {
        run(&mut admin, sql);
    }
    let (mut ann, mut bob, mut eve) = (login(&server, "ann"), login(&server, "bob"), login(&server, "eve"));
    let pid_of = |wire: &Wire| wire.key.clone().expect("a key").0;
    ann.send(&query(LONG));
    let seen = "select count(*) from staffa.queries where state = 'running' and user_name = 'ann'";
    until(&mut bob, seen, "1");
    assert_eq!(eve.simple(seen).value(), "0");
    let shown = format!("select query from pg_stat_activity where pid = {}", pid_of(&ann));
    assert_eq!(eve.simple(&shown).value(), "<insufficient privilege>");
    assert_eq!(bob.simple(&shown).value(), LONG);
    let cancel = format!("select pg_cancel_backend({})", pid_of(&ann));
    assert_eq!(eve.simple(&cancel).code(), "42501");
    assert_eq!(bob.simple(&cancel).value(), "t");
    assert_eq!(reply(ann.until_ready()).code(), "57014");
    run(&mut admin, "grant pg_signal_backend, pg_monitor to eve");
    ann.send(&query(LONG));
    until(&mut eve, seen, "1");
    assert_eq!(eve.simple(&shown).value(), LONG);
    assert_eq!(eve.simple(&cancel).value(), "t");
    assert_eq!(reply(ann.until_ready()).code(), "57014");
    let end = format!("select pg_terminate_backend({})", pid_of(&admin));
    assert_eq!(eve.simple(&end).code(), "42501");
    assert_eq!(bob.simple(&end).code(), "42501");
    server.assert_well();
}

#[test]
fn the_largest_statement_ends_before_memory_does() {
    let mut server = start(&["--memory-limit", "64GiB", "--memory-ceiling", "700MB"]);
    let heavy = [
        "select max(s) from (select sum(i) over (order by i desc rows between unbounded preceding and unbounded following) as s \
         from generate_series(1, 2000000000) as g(i)) x",
        "select count(*) from (select array_agg(i) as a from generate_series(1, 2000000000) as g(i)) x where cardinality(a) > 3",
        "select count(*) from (select i % 1000000007 as k, count(*) from generate_series(1, 2000000000) as g(i) group by 1) x",
        "select i from generate_series(1, 2000000000) as g(i) order by i % 1000003, i desc offset 1999999999",
    ];
    let server_ref = &server;
    scope(|threads| {
        let running: Vec<_> = heavy
            .iter()
            .map(|sql| threads.spawn(move || (sql, server_ref.connect().simple(sql).code().to_owned())))
            .collect();
        let mut small = server_ref.connect();
        let (mut longest, mut most) = (Duration::ZERO, 0);
        while running.iter().any(|thread| !thread.is_finished()) {
            let begun = Instant::now();
            run(&mut small, "select count(*) from staffa.queries");
            longest = longest.max(begun.elapsed());
            most = most.max(server_ref.resident());
            sleep(Duration::from_millis(50));
        }
        for thread in running {
            let (sql, code) = thread.join().expect("the thread ends");
            assert_eq!(code, "53200", "{sql}");
        }
        assert!(longest < Duration::from_secs(5), "a small query took {longest:?}");
        assert!(most < 2 << 30, "{} MiB", most >> 20);
    });
    server.assert_well();
}

/// Small queries have threads of their own, and joins without keys give theirs back.
#[test]
fn a_small_query_does_not_stand_behind_long_ones() {
    let mut server = start(&[]);
    let mut small = server.connect();
    run(
        &mut small,
        "create table t as select i as a from generate_series(1, 1000) as s (i)",
    );
    let long = "select count(*) from generate_series(1::bigint, 1000000) as a (i), generate_series(1, 1000000) as b (j) where i * j % 7 = 9";
    let mut busy: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
    for wire in &mut busy {
        wire.send(&query(long));
    }
    sleep(Duration::from_secs(3));
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(small.simple("select count(*), sum(a) from t where a > 10").code(), "");
        times.push(begun.elapsed());
    }
    times.sort();
    assert!(times[18] < Duration::from_secs(2), "{times:?}");
    for wire in busy {
        let pid = wire.key.clone().expect("a key").0;
        let begun = Instant::now();
        run(&mut small, &format!("select pg_terminate_backend({pid})"));
        assert!(begun.elapsed() < STOP_LIMIT, "{:?}", begun.elapsed());
    }
    server.assert_well();
}

#[test]
fn health_and_metrics() {
    let mut server = start(&["--health", "127.0.0.1:0"]);
    let address = server.health();
    let ask = |path: &str| http(&address, path);
    let begun = Instant::now();
    while !ask("/readyz").starts_with("HTTP/1.1 200") {
        assert!(begun.elapsed() < STOP_LIMIT, "{}", ask("/readyz"));
        sleep(Duration::from_millis(50));
    }
    assert!(ask("/livez").starts_with("HTTP/1.1 200"));
    assert!(ask("/nothing").starts_with("HTTP/1.1 404"));
    run(&mut server.connect(), "select 1");
    assert_eq!(server.connect().simple("select 1 / 0").code(), "22012");
    let text = ask("/metrics");
    for wanted in [
        "\nstaffa_ready 1\n",
        "\nstaffa_statements_total{outcome=\"finished\"} 1\n",
        "\nstaffa_statements_total{outcome=\"failed\"} 1\n",
        "\nstaffa_cache_hits_total{cache=\"columns\"} 0\n",
        "\n# TYPE staffa_memory_held_bytes gauge\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
    // While the processors are busy, too.
    let mut busy: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
    for wire in &mut busy {
        wire.send(&query(LONG));
    }
    sleep(Duration::from_millis(500));
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        assert!(ask("/livez").starts_with("HTTP/1.1 200"));
        times.push(begun.elapsed());
    }
    times.sort();
    assert!(times[25] < Duration::from_millis(250), "{times:?}");
    drop(busy);
    // A server that stops is not ready, and lives.
    let mut slow = server.connect();
    slow.send(&query("select pg_sleep(3)"));
    sleep(Duration::from_millis(300));
    signal(server.pid(), "TERM");
    let begun = Instant::now();
    while !ask("/readyz").contains("stopping") {
        assert!(begun.elapsed() < STOP_LIMIT, "{}", ask("/readyz"));
        sleep(Duration::from_millis(20));
    }
    assert!(ask("/livez").starts_with("HTTP/1.1 200"));
    assert!(server.terminate(Duration::from_secs(60)).is_some());
}

fn http(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("the health address");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

#[tokio::test]
async fn guesses_at_passwords_become_slow() {
    let server = Server::start_with(&["--auth", "scram"], &[("STAFFA_ADMIN_PASSWORD", "correct horse")]);
    for user in ["admin", "nobody"] {
        let mut codes = Vec::new();
        let begun = Instant::now();
        for _ in 0..6 {
            let mut config = server.configuration();
            config.user(user).password("wrong");
            let error = config
                .connect(tokio_postgres::NoTls)
                .await
                .err()
                .expect("a wrong password");
            codes.push(error.as_db_error().expect("of the server").code().code().to_owned());
        }
        assert_eq!(codes, ["28P01"; 6], "{user}");
        let took = begun.elapsed();
        assert!(
            took > Duration::from_millis(2500),
            "six guesses for {user} took {took:?}"
        );
        // Many at a time wait for each other, and the last are sent away.
        let guess = || {
            let mut config = server.configuration();
            config.user(user).password("wrong");
            tokio::spawn(async move {
                let error = config
                    .connect(tokio_postgres::NoTls)
                    .await
                    .err()
                    .expect("a wrong password");
                error.as_db_error().expect("of the server").code().code().to_owned()
            })
        };
        let guesses: Vec<_> = (0..6).map(|_| guess()).collect();
        let mut codes = Vec::new();
        for guess in guesses {
            codes.push(guess.await.expect("it ends"));
        }
        assert!(codes.iter().any(|code| code == "28000"), "{user}: {codes:?}");
    }
}
