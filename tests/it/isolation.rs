//! Random transactions on eight tables by sixteen writers, and whether what they saw and did is snapshot isolation.
//!
//! Every row has a counter `n` that each update increments, and `v`, the update's own tag: so the history of a row is known
//! from what the transactions tell. Seven tables have such rows, the eighth gets a line per transaction. Checked is:
//!
//! * each counter value was committed by exactly one transaction, none is missing, and the end state is the last: no update
//!   is lost, the first who commits wins;
//! * nobody saw what was never committed;
//! * there is an order of beginnings and commits that explains all: a transaction reads exactly what was committed when it
//!   began, in all tables, and begins after every commit that was acknowledged before. Such an order exists if the graph
//!   of what must come before what has no cycle.
//!
//! When all of them are SERIALIZABLE, there must also be an order of whole transactions that explains what they saw.
//!
//! `STAFFA_HISTORY_SECONDS` makes it longer (`make history`).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread::scope;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::Postgres;
use crate::support::Server;
use crate::wire::{Reply, Wire};

const WRITERS: u64 = 16;
const TABLES: u64 = 7;
const ROWS: u64 = 3;
const DEFAULT_SECONDS: u64 = 8;

/// Table and key.
type Row = (u64, u64);

/// What a transaction saw or made of a row: its counter and tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    n: u64,
    v: u64,
}

/// One transaction, as its client knows it.
#[derive(Debug)]
struct Transaction {
    tag: u64,
    begun: Instant,
    ended: Instant,
    committed: bool,
    reads: Vec<(Row, Version)>,
    writes: BTreeMap<Row, u64>,
}

const SNAPSHOT: &str = "repeatable read";
const SERIALIZABLE: &str = "serializable";

#[test]
fn on_sqlite() {
    one_server(SNAPSHOT);
}

#[test]
fn serializable_on_sqlite() {
    one_server(SERIALIZABLE);
}

/// Two servers: their clients see each other's commits.
#[test]
fn on_postgres() {
    two_servers(SNAPSHOT);
}

#[test]
fn serializable_on_postgres() {
    two_servers(SERIALIZABLE);
}

fn one_server(level: &str) {
    let mut server = Server::start();
    make_tables(&server);
    check(&run(&[server.address()], level), &server, level);
    server.assert_well();
}

fn two_servers(level: &str) {
    let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
    let serve = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Server::start_on(&folder, &["--auth", "trust"], &[("STAFFA_CATALOG", &postgres.url())])
    };
    let mut servers = [serve("a"), serve("b")];
    make_tables(&servers[0]);
    let addresses = servers.each_ref().map(Server::address);
    check(&run(&addresses, level), &servers[0], level);
    servers.iter_mut().for_each(Server::assert_well);
}

fn make_tables(server: &Server) {
    let mut wire = server.connect();
    for table in 0..TABLES {
        let sql = format!(
            "create table t{table} (k int, n bigint, v bigint);
             insert into t{table} select k, 0, 0 from generate_series(1, {ROWS}) as g(k)"
        );
        assert_eq!(wire.simple(&sql).code(), "");
    }
    assert_eq!(wire.simple("create table log (tag bigint, writes int)").code(), "");
}

/// All transactions of all writers.
fn run(servers: &[SocketAddr], level: &str) -> Vec<Transaction> {
    let seconds = std::env::var("STAFFA_HISTORY_SECONDS").map_or(DEFAULT_SECONDS, |text| text.parse().unwrap());
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("{seconds} s, seed {seed}");
    let until = Instant::now() + Duration::from_secs(seconds);
    let history = Mutex::new(Vec::new());
    scope(|threads| {
        for writer in 0..WRITERS {
            let (history, address) = (&history, servers[writer as usize % servers.len()]);
            threads.spawn(move || {
                let mut wire = Wire::connect(address, "admin", "staffa").unwrap();
                run_sql(&mut wire, &format!("set default_transaction_isolation = '{level}'")).unwrap();
                let mut random = Random(seed ^ (writer + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                for number in 1.. {
                    if Instant::now() > until {
                        return;
                    }
                    let tag = writer * 1_000_000 + number;
                    let transaction = transaction(&mut wire, &mut random, tag);
                    history.lock().unwrap().push(transaction);
                }
            });
        }
    });
    history.into_inner().unwrap()
}

/// xorshift: good enough to mix, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn transaction(wire: &mut Wire, random: &mut Random, tag: u64) -> Transaction {
    let mut transaction = Transaction {
        tag,
        begun: Instant::now(),
        ended: Instant::now(),
        committed: false,
        reads: Vec::new(),
        writes: BTreeMap::new(),
    };
    let done = match random.below(4) {
        0 => read_only(wire, random, &mut transaction),
        1 => one_statement(wire, random, &mut transaction),
        _ => read_and_write(wire, random, &mut transaction),
    };
    transaction.ended = Instant::now();
    match done {
        Ok(()) => transaction.committed = true,
        Err(code) => {
            assert_eq!(code, "40001", "transaction {tag}");
            assert_eq!(wire.simple("rollback").code(), "");
        }
    }
    transaction
}

fn read_only(wire: &mut Wire, random: &mut Random, transaction: &mut Transaction) -> Result<(), String> {
    if random.below(2) == 0 {
        // All tables in one statement.
        let parts: Vec<String> = (0..TABLES).map(|t| format!("select {t}, k, n, v from t{t}")).collect();
        transaction.reads = versions(&run_sql(wire, &parts.join(" union all "))?);
        return Ok(());
    }
    run_sql(wire, "begin read only")?;
    for _ in 0..3 {
        transaction.reads.extend(read(wire, random.below(TABLES))?);
    }
    run_sql(wire, "commit").map(|_| ())
}

/// A statement of its own runs again after a conflict, by itself.
fn one_statement(wire: &mut Wire, random: &mut Random, transaction: &mut Transaction) -> Result<(), String> {
    let (table, key, tag) = (random.below(TABLES), random.below(ROWS) + 1, transaction.tag);
    let sql = format!("update t{table} set n = n + 1, v = {tag} where k = {key} returning {table}, k, n, v");
    for (row, version) in versions(&run_sql(wire, &sql)?) {
        transaction.writes.insert(row, version.n);
    }
    Ok(())
}

fn read_and_write(wire: &mut Wire, random: &mut Random, transaction: &mut Transaction) -> Result<(), String> {
    let tag = transaction.tag;
    run_sql(wire, "begin")?;
    for _ in 0..random.below(3) {
        transaction.reads.extend(read(wire, random.below(TABLES))?);
    }
    for _ in 0..=random.below(2) {
        let (table, key) = (random.below(TABLES), random.below(ROWS) + 1);
        if transaction.writes.contains_key(&(table, key)) {
            continue;
        }
        run_sql(
            wire,
            &format!("update t{table} set n = n + 1, v = {tag} where k = {key}"),
        )?;
        // Own writes are seen; what is beside them is read from the snapshot.
        for (row, version) in read(wire, table)? {
            match (version.v == tag, row == (table, key)) {
                (true, _) => drop(transaction.writes.insert(row, version.n)),
                (false, own) => {
                    assert!(!own, "transaction {tag} does not see its own update");
                    transaction.reads.push((row, version));
                }
            }
        }
    }
    let writes = transaction.writes.len();
    run_sql(wire, &format!("insert into log values ({tag}, {writes})"))?;
    run_sql(wire, "commit").map(|_| ())
}

fn read(wire: &mut Wire, table: u64) -> Result<Vec<(Row, Version)>, String> {
    run_sql(wire, &format!("select {table}, k, n, v from t{table}")).map(|reply| versions(&reply))
}

fn run_sql(wire: &mut Wire, sql: &str) -> Result<Reply, String> {
    let reply = wire.simple(sql);
    match &reply.error {
        None => Ok(reply),
        Some(error) if error.code == "40001" => Err(error.code.clone()),
        Some(error) => panic!("{sql}: {error}"),
    }
}

fn versions(reply: &Reply) -> Vec<(Row, Version)> {
    let number = |value: &Option<String>| value.as_ref().unwrap().parse::<u64>().unwrap();
    let rows = reply.text();
    let version = |row: &Vec<Option<String>>| {
        let [table, key, n, v] = [0, 1, 2, 3].map(|column| number(&row[column]));
        ((table, key), Version { n, v })
    };
    rows.iter().map(version).collect()
}

fn check(history: &[Transaction], server: &Server, level: &str) {
    let committed: Vec<&Transaction> = history.iter().filter(|transaction| transaction.committed).collect();
    let refused = history.len() - committed.len();
    println!("{} committed, {refused} refused", committed.len());
    assert!(committed.len() >= 8, "next to nothing was done");

    // Who made which version of a row. Version 0 was there before.
    let mut makers: HashMap<(Row, u64), usize> = HashMap::new();
    for (index, transaction) in committed.iter().enumerate() {
        for (row, n) in &transaction.writes {
            if let Some(other) = makers.insert((*row, *n), index) {
                panic!(
                    "lost update: {transaction:?} and {:?} both made {row:?} {n}",
                    committed[other]
                );
            }
        }
    }
    for transaction in history {
        for (row, version) in &transaction.reads {
            let maker = makers.get(&(*row, version.n)).map_or(0, |maker| committed[*maker].tag);
            assert_eq!(
                maker, version.v,
                "{transaction:?} saw {row:?} {version:?}, which nobody committed"
            );
        }
    }
    check_end_state(&committed, &makers, server);
    check_order(history, &committed, &makers);
    if level == SERIALIZABLE {
        let cycle: Vec<_> = nodes_on_cycles(&serial_order(&committed, &makers))
            .into_iter()
            .filter_map(|node| committed.get(node))
            .collect();
        assert!(
            cycle.is_empty(),
            "no order of whole transactions explains this: {cycle:#?}"
        );
    }
}

/// Which transactions must come before which, and behind them moments of time: who saw or replaced what another made comes
/// after it, who saw what another replaced before it, and who began when another had ended after it.
fn serial_order(committed: &[&Transaction], makers: &HashMap<(Row, u64), usize>) -> Vec<Vec<usize>> {
    let mut moments: Vec<(Instant, usize, bool)> = Vec::new();
    for (index, transaction) in committed.iter().enumerate() {
        moments.push((transaction.begun, index, false));
        moments.push((transaction.ended, index, true));
    }
    moments.sort();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); committed.len() + moments.len()];
    for (position, (_, index, is_end)) in moments.iter().enumerate() {
        let moment = committed.len() + position;
        match is_end {
            true => after[*index].push(moment),
            false => after[moment].push(*index),
        }
        if position + 1 < moments.len() {
            after[moment].push(moment + 1);
        }
    }
    for (index, transaction) in committed.iter().enumerate() {
        let based = transaction.writes.iter().map(|(row, n)| (*row, n - 1));
        let reads = transaction.reads.iter().map(|(row, version)| (*row, version.n));
        for (row, n) in reads.chain(based) {
            let others = |maker: &&usize| **maker != index;
            if let Some(maker) = makers.get(&(row, n)).filter(others) {
                after[*maker].push(index);
            }
            if let Some(next) = makers.get(&(row, n + 1)).filter(others) {
                after[index].push(*next);
            }
        }
    }
    after
}

fn check_end_state(committed: &[&Transaction], makers: &HashMap<(Row, u64), usize>, server: &Server) {
    let mut wire = server.connect();
    let mut updates = 0;
    for table in 0..TABLES {
        for (row, version) in read(&mut wire, table).unwrap() {
            for n in 1..=version.n {
                assert!(makers.contains_key(&(row, n)), "nobody made {row:?} {n}");
            }
            updates += version.n;
        }
    }
    assert_eq!(updates as usize, makers.len(), "updates are gone");
    let reply = wire.simple("select tag, writes from log order by tag");
    let logged: Vec<(u64, usize)> = reply
        .text()
        .iter()
        .map(|row| [0, 1].map(|column| row[column].as_ref().unwrap().parse::<u64>().unwrap()))
        .map(|[tag, writes]| (tag, writes as usize))
        .collect();
    let by_tag: BTreeMap<u64, usize> = committed
        .iter()
        .map(|transaction| (transaction.tag, transaction.writes.len()))
        .collect();
    assert!(
        logged.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "a line is there twice"
    );
    for (tag, writes) in logged {
        assert_eq!(by_tag.get(&tag), Some(&writes), "the log has a line of {tag}");
    }
}

/// What must come before what: beginnings are even nodes, commits odd ones, and behind them moments of time.
fn check_order(history: &[Transaction], committed: &[&Transaction], makers: &HashMap<(Row, u64), usize>) {
    // Refused transactions read too; they have a beginning, and their commit never comes.
    let refused = history.iter().filter(|transaction| !transaction.committed);
    let all: Vec<&Transaction> = committed.iter().copied().chain(refused).collect();
    let (begin, commit) = (|index: usize| 2 * index, |index: usize| 2 * index + 1);
    let mut moments: Vec<(Instant, usize, bool)> = Vec::new();
    for (index, transaction) in all.iter().enumerate() {
        moments.push((transaction.begun, index, false));
        if transaction.committed {
            moments.push((transaction.ended, index, true));
        }
    }
    moments.sort();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); 2 * all.len() + moments.len()];
    for (position, (_, index, is_end)) in moments.iter().enumerate() {
        let moment = 2 * all.len() + position;
        match is_end {
            true => after[commit(*index)].push(moment),
            false => after[moment].push(begin(*index)),
        }
        if position + 1 < moments.len() {
            after[moment].push(moment + 1);
        }
    }
    for (index, transaction) in all.iter().enumerate() {
        after[begin(index)].push(commit(index));
        // Whoever makes a version has seen the one before.
        let based = transaction.writes.iter().map(|(row, n)| (*row, n - 1));
        let seen = transaction
            .reads
            .iter()
            .map(|(row, version)| (*row, version.n))
            .chain(based);
        for (row, n) in seen {
            if let Some(maker) = makers.get(&(row, n)) {
                after[commit(*maker)].push(begin(index));
            }
            if let Some(next) = makers.get(&(row, n + 1)).filter(|next| **next != index) {
                after[begin(index)].push(commit(*next));
            }
        }
    }
    let cycle = nodes_on_cycles(&after);
    let shown: Vec<_> = cycle
        .iter()
        .filter(|node| **node < 2 * all.len())
        .map(|node| all[node / 2])
        .collect();
    assert!(cycle.is_empty(), "no order of these explains what they saw: {shown:#?}");
}

/// What is left when everything that nothing must precede, or follow, is taken away.
fn nodes_on_cycles(after: &[Vec<usize>]) -> Vec<usize> {
    let mut before = vec![0; after.len()];
    after.iter().flatten().for_each(|node| before[*node] += 1);
    let mut free: Vec<usize> = (0..after.len()).filter(|node| before[*node] == 0).collect();
    let mut left: Vec<bool> = vec![true; after.len()];
    while let Some(node) = free.pop() {
        left[node] = false;
        for next in &after[node] {
            before[*next] -= 1;
            if before[*next] == 0 {
                free.push(*next);
            }
        }
    }
    // Those that only come after a cycle say nothing about it.
    loop {
        let leads_nowhere = |node: &usize| left[*node] && !after[*node].iter().any(|next| left[*next]);
        let ends: Vec<usize> = (0..after.len()).filter(leads_nowhere).collect();
        if ends.is_empty() {
            return (0..after.len()).filter(|node| left[*node]).collect();
        }
        ends.into_iter().for_each(|node| left[node] = false);
    }
}

/// The checker finds what it is there to find.
mod checker {
    use std::collections::{BTreeMap, HashMap};
    use std::time::{Duration, Instant};

    use super::{Transaction, Version, nodes_on_cycles, serial_order};

    /// Two transactions at the same time, each of which read a row that the other replaced.
    #[test]
    fn write_skew_has_no_serial_order() {
        let begun = Instant::now();
        let transaction = |tag: u64, reads: u64, writes: u64| Transaction {
            tag,
            begun,
            ended: begun + Duration::from_secs(1),
            committed: true,
            reads: vec![((0, reads), Version { n: 0, v: 0 })],
            writes: BTreeMap::from([((0, writes), 1)]),
        };
        let (one, two) = (transaction(1, 7, 8), transaction(2, 8, 7));
        let makers = HashMap::from([(((0, 8), 1), 0), (((0, 7), 1), 1)]);
        let cycle = nodes_on_cycles(&serial_order(&[&one, &two], &makers));
        assert!(cycle.contains(&0) && cycle.contains(&1));
        // Had the second seen what the first made, it would have come after it.
        let late = Transaction {
            reads: vec![((0, 8), Version { n: 1, v: 1 })],
            ..transaction(2, 8, 7)
        };
        assert!(nodes_on_cycles(&serial_order(&[&one, &late], &makers)).is_empty());
    }

    #[test]
    fn cycles_are_found_and_chains_are_not() {
        assert!(nodes_on_cycles(&[vec![1], vec![2], vec![]]).is_empty());
        assert_eq!(nodes_on_cycles(&[vec![1], vec![2], vec![1, 3], vec![]]), [1, 2]);
    }
}
