//! Every step of a commit × {error, lost answer, database and store gone, kill -9}: what was acknowledged is there, what
//! failed is not, nothing is there by half, and the next start clears away what is left.
//!
//! Steps are found by counting: a fault is planned for each in turn until the workload ends without meeting it. Every fifth
//! step, from a random one on, is tried; all of them with `STAFFA_FAULTS=all` (`make faults`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;
use uuid::Uuid;

use super::Catalog;
use crate::database;
use crate::database::faults::{Fault, Faults, FaultyObjects};
use crate::error::ErrorKind;
use crate::file::DataFile;
use crate::objects::Objects;
use crate::testing::{LocalObjects, definition, name, postgres, schema_of_its_own, silence};

const DIRECTORY: &str = "STAFFA_FAULTS_DIRECTORY";
const DATABASE: &str = "STAFFA_FAULTS_DATABASE";
const STEP: &str = "STAFFA_FAULTS_STEP";
const ROUND: &str = "STAFFA_FAULTS_ROUND";

/// A data directory and a catalog database, used by one server after the other.
struct Place {
    directory: PathBuf,
    database: String,
}

impl Place {
    fn warehouse(&self) -> String {
        format!("file://{}/warehouse", self.directory.display())
    }

    async fn open(&self) -> Catalog {
        Catalog::open(&self.database, &self.warehouse(), Arc::new(LocalObjects))
            .await
            .unwrap()
    }

    async fn open_faulty(&self, faults: &Arc<Faults>) -> Catalog {
        let database = database::open_faulty(&self.database, Uuid::new_v4(), faults.clone())
            .await
            .unwrap();
        let objects = FaultyObjects {
            inner: Arc::new(LocalObjects),
            faults: faults.clone(),
        };
        Catalog::with_database(database, &self.warehouse(), Arc::new(objects))
    }

    /// A place with tables `a` and `b` in it.
    async fn make(directory: &Path) -> Place {
        let place = Place {
            directory: directory.to_owned(),
            database: match postgres() {
                None => format!("sqlite:{}/catalog.db", directory.display()),
                Some(url) => schema_of_its_own(&url).await,
            },
        };
        let catalog = place.open().await;
        let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
        txn.create_database("d").await.unwrap();
        txn.create_table(definition("a")).await.unwrap();
        txn.create_table(definition("b")).await.unwrap();
        txn.commit().await.unwrap();
        place
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Committed,
    Failed,
    Unknown,
}

fn said(result: crate::error::Result<u64>) -> Said {
    match result {
        Ok(_) => Said::Committed,
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => Said::Unknown,
        Err(_) => Said::Failed,
    }
}

/// Two transactions: one that appends to `a`, as groups are made of; and one that appends to `a` and `b` and makes a
/// table. The files of a round have row counts of its own.
async fn workload(catalog: &Catalog, round: u64) -> [Said; 2] {
    let append = said(transaction(catalog, &["a"], 2 * round, None).await);
    let made = format!("made{round}");
    [
        append,
        said(transaction(catalog, &["a", "b"], 2 * round + 1, Some(&made)).await),
    ]
}

async fn transaction(catalog: &Catalog, tables: &[&str], rows: u64, make: Option<&str>) -> crate::error::Result<u64> {
    let mut txn = catalog.begin(catalog.snapshot().await?).await?;
    for table in tables {
        let target = txn.begin_write(&name(table)).await?;
        let location = format!("{}{rows}.parquet", target.data_prefix);
        // The writer's part, which has tests of its own.
        LocalObjects.put(&location, Bytes::from_static(b"PAR1")).await?;
        let file = DataFile {
            location,
            size_bytes: 4,
            row_count: rows,
            spec_id: 0,
            partition: Vec::new(),
            columns: Vec::new(),
            sort_order_id: None,
            split_offsets: Vec::new(),
        };
        txn.append(&name(table), vec![file])?;
    }
    if let Some(make) = make {
        txn.create_table(definition(make)).await?;
    }
    txn.commit().await
}

/// A new server on the place: what it sees agrees with what was said, and nothing is left over.
async fn check(place: &Place, round: u64, outcome: [Option<Said>; 2], context: &str) {
    let catalog = place.open().await;
    silence(&place.database).await;
    catalog.recover().await.unwrap();
    let snapshot = catalog.snapshot().await.unwrap();
    let mut seen = Vec::new();
    let mut locations = BTreeSet::new();
    for table in ["a", "b"] {
        let table = snapshot.table(&name(table)).await.unwrap().unwrap();
        let files = table.files().await.unwrap();
        let mut rows: Vec<u64> = files.iter().map(|file| file.row_count).collect();
        rows.sort();
        let count = rows.len();
        rows.dedup();
        assert_eq!(rows.len(), count, "{context}: a file is there twice");
        seen.push(rows);
        locations.extend(files.iter().map(|file| file.location.clone()));
    }
    let there = [seen[0].contains(&(2 * round)), seen[0].contains(&(2 * round + 1))];
    assert_eq!(
        seen[1].contains(&(2 * round + 1)),
        there[1],
        "{context}: both tables, or none"
    );
    let made = snapshot.table(&name(&format!("made{round}"))).await.unwrap();
    assert_eq!(made.is_some(), there[1], "{context}: the table too, or none");
    for (there, said) in there.into_iter().zip(outcome) {
        match said {
            Some(Said::Committed) => assert!(there, "{context}: acknowledged and lost"),
            Some(Said::Failed) => assert!(!there, "{context}: it failed and is there"),
            Some(Said::Unknown) | None => {}
        }
    }
    let mut stored = BTreeSet::new();
    files_below(&place.directory.join("warehouse"), &mut stored);
    let data: BTreeSet<String> = stored
        .iter()
        .filter(|file| file.ends_with(".parquet"))
        .cloned()
        .collect();
    assert_eq!(data, locations, "{context}: data files are left over");
    // What the pointers do not lead to is garbage that is known.
    let lists = stored.iter().filter(|file| file.contains("/snap-")).count();
    let commits = seen[0].len() + seen[1].len();
    assert_eq!(lists, commits, "{context}: manifest lists are left over, or missing");
    assert_eq!(catalog.recover().await.unwrap(), 0, "{context}: recovery is not done");
}

fn files_below(directory: &Path, found: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, found),
            false => drop(found.insert(format!("file://{}", path.display()))),
        }
    }
}

/// The steps to try: endless, as nobody knows yet how many there are.
fn steps() -> impl Iterator<Item = usize> {
    match std::env::var_os("STAFFA_FAULTS").is_some_and(|value| value == "all") {
        true => (0..).step_by(1),
        false => (rand::rng().random_range(0..5)..).step_by(5),
    }
}

/// Until a round meets no fault any more. Gives how many steps there were.
async fn walk(fault: Fault) -> usize {
    let directory = tempfile::TempDir::new().unwrap();
    let place = Place::make(directory.path()).await;
    let faults = Arc::new(Faults::default());
    for step in steps() {
        let round = step as u64 + 1;
        let catalog = place.open_faulty(&faults).await;
        faults.plan(step, fault);
        let outcome = workload(&catalog, round).await;
        let has_failed = faults.end();
        drop(catalog);
        settle_down().await;
        check(
            &place,
            round,
            outcome.map(Some),
            &format!("{fault:?} at step {step}, {outcome:?}"),
        )
        .await;
        if !has_failed {
            assert_eq!(outcome, [Said::Committed; 2]);
            return step;
        }
    }
    0
}

/// PostgreSQL lets go of the lock of the dead when it notices that the connection has ended; locks of files go at once,
/// but what the dropped catalog has spawned may need a moment.
async fn settle_down() {
    let ms = if postgres().is_some() { 150 } else { 20 };
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
}

#[tokio::test]
async fn an_error_at_any_step() {
    assert!(walk(Fault::Error).await > 20);
}

#[tokio::test]
async fn a_lost_answer_at_any_step() {
    assert!(walk(Fault::LostReply).await > 20);
}

#[tokio::test]
async fn everything_gone_from_any_step_on() {
    assert!(walk(Fault::Down).await > 20);
}

/// The server that is killed at a step, and tells what it has done until then.
#[tokio::test]
#[ignore = "run by a_kill_at_any_step"]
async fn child() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(directory), Some(database)) = (variable(DIRECTORY), variable(DATABASE)) else {
        return;
    };
    let place = Place {
        directory: directory.into(),
        database,
    };
    let [step, round] = [STEP, ROUND].map(|name| variable(name).unwrap().parse::<u64>().unwrap());
    let faults = Arc::new(Faults::default());
    let catalog = place.open_faulty(&faults).await;
    faults.plan(step as usize, Fault::Kill);
    transaction(&catalog, &["a"], 2 * round, None).await.unwrap();
    println!("said 0");
    let made = format!("made{round}");
    transaction(&catalog, &["a", "b"], 2 * round + 1, Some(&made))
        .await
        .unwrap();
    println!("said 1");
}

#[tokio::test]
async fn a_kill_at_any_step() {
    let directory = tempfile::TempDir::new().unwrap();
    let place = Place::make(directory.path()).await;
    for step in steps() {
        let round = step as u64 + 1;
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "catalog::faults::child", "--ignored", "--nocapture"])
            .env(DIRECTORY, &place.directory)
            .env(DATABASE, &place.database)
            .env(STEP, step.to_string())
            .env(ROUND, round.to_string())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let said = ["said 0", "said 1"].map(|line| text.contains(line).then_some(Said::Committed));
        settle_down().await;
        check(&place, round, said, &format!("killed at step {step}, {said:?}")).await;
        if output.status.success() {
            assert_eq!(said, [Some(Said::Committed); 2]);
            assert!(step > 20);
            return;
        }
    }
}
