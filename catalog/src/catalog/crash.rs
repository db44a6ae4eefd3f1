//! A server killed at any moment: what it acknowledged is there, nothing half done is seen, nothing is left over.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;

use super::Catalog;
use crate::file::DataFile;
use crate::objects::Objects;
use crate::testing::{LocalObjects, definition, name, postgres, schema_of_its_own, silence};

const DIRECTORY: &str = "STAFFA_CRASH_DIRECTORY";
const DATABASE: &str = "STAFFA_CRASH_DATABASE";
const ROUNDS: u64 = 8;

async fn open(database: &str, directory: &Path) -> Catalog {
    let warehouse = format!("file://{}/warehouse", directory.display());
    Catalog::open(database, &warehouse, Arc::new(LocalObjects))
        .await
        .unwrap()
}

/// The server that is killed: commits one file to both of two tables at a time, and says so.
#[tokio::test]
#[ignore = "run by a_killed_server_loses_nothing"]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let catalog = open(&std::env::var(DATABASE).unwrap(), &directory).await;
    for number in 0.. {
        let rows = u64::from(std::process::id()) * 1_000_000 + number;
        let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
        for table in ["a", "b"] {
            let target = txn.begin_write(&name(table)).await.unwrap();
            let location = format!("{}{rows}.parquet", target.data_prefix);
            LocalObjects.put(&location, Bytes::from_static(b"PAR1")).await.unwrap();
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
            txn.append(&name(table), vec![file]).unwrap();
        }
        txn.commit().await.unwrap();
        println!("committed {rows}");
    }
}

#[tokio::test]
async fn a_killed_server_loses_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let database = match postgres() {
        None => format!("sqlite:{}/catalog.db", directory.path().display()),
        Some(url) => schema_of_its_own(&url).await,
    };
    let catalog = open(&database, directory.path()).await;
    let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
    txn.create_database("d").await.unwrap();
    txn.create_table(definition("a")).await.unwrap();
    txn.create_table(definition("b")).await.unwrap();
    txn.commit().await.unwrap();

    let mut acknowledged = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "catalog::crash::child", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(DATABASE, &database)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (says, heard) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let numbers = lines.filter_map(|line| line.strip_prefix("committed ").and_then(|n| n.parse().ok()));
            let said = numbers.inspect(|_| _ = says.send(()));
            said.collect::<Vec<u64>>()
        });
        // On a slow machine, too, the kill comes in the middle of work; but sometimes before the first is done.
        if rand::rng().random_range(0..4) > 0 {
            heard.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        let pause = Duration::from_millis(rand::rng().random_range(0..500));
        tokio::time::sleep(pause).await;
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(reader.join().unwrap());

        if postgres().is_some() {
            // PostgreSQL lets go of the lock of the dead when it notices that the connection has ended.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        // A restart need not wait: the lock of the dead is free.
        let catalog = open(&database, directory.path()).await;
        silence(&database).await;
        catalog.recover().await.unwrap();
        let snapshot = catalog.snapshot().await.unwrap();
        let mut seen = Vec::new();
        let mut locations = BTreeSet::new();
        for table in ["a", "b"] {
            let table = snapshot.table(&name(table)).await.unwrap().unwrap();
            let files = table.files().await.unwrap();
            seen.push(files.iter().map(|file| file.row_count).collect::<BTreeSet<u64>>());
            locations.extend(files.iter().map(|file| file.location.clone()));
        }
        assert_eq!(seen[0], seen[1], "both tables, or none");
        assert!(acknowledged.is_subset(&seen[0]));
        // At most the last commit of each round was done but not yet said.
        assert!(seen[0].len() <= acknowledged.len() + ROUNDS as usize);
        let mut stored = BTreeSet::new();
        data_files(&directory.path().join("warehouse"), &mut stored);
        assert_eq!(stored, locations, "no data file is left over");
        assert_eq!(catalog.recover().await.unwrap(), 0);
    }
    assert!(!acknowledged.is_empty());
}

fn data_files(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            data_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.insert(format!("file://{}", path.display()));
        }
    }
}
