//! The durability rules of `commit.rs`, one by one, and the life of tables under concurrent transactions.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use uuid::Uuid;

use crate::alter::TableChange;
use crate::catalog::Catalog;
use crate::database::{Database, Dropped, GarbageRow, Leftover, PointerState, Share, Swap, SwapOutcome, TxnOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TableName;
use crate::objects::Objects;
use crate::schema::ViewDefinition;
use crate::sequence::SequenceState;
use crate::snapshot::RelationKind;
use crate::testing::{World, append, definition, foreign_text, injected, name};
use crate::txn::Transaction;

#[tokio::test]
async fn rule_1_every_object_is_stored_before_the_pointer_moves() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 7).await.unwrap();
    let before = world
        .catalog
        .snapshot()
        .await
        .unwrap()
        .pointers()
        .get(&table)
        .unwrap()
        .location
        .clone();
    let path = world.database.clone();
    let seen = Arc::new(AtomicUsize::new(0));
    let (count, old) = (seen.clone(), before.clone());
    // At each put of the commit the pointer is still the old one.
    world.objects.before_put(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let (path, old) = (path.clone(), old.clone());
        let location = std::thread::spawn(move || pointer_now(&path)).join().unwrap();
        assert_eq!(location, old);
        None
    });
    txn.commit().await.unwrap();
    world.objects.no_hook();
    // Manifest, list, metadata.
    assert_eq!(seen.load(Ordering::Relaxed), 3);
    let stored = world.objects.put_locations.lock().clone();
    let after = world
        .catalog
        .snapshot()
        .await
        .unwrap()
        .pointers()
        .get(&table)
        .unwrap()
        .location
        .clone();
    assert_ne!(before, after);
    assert!(stored.contains(&after));
    assert_eq!(world.rows(&table).await, [7]);
}

fn pointer_now(database: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(foreign_text(database, "select metadata_location from iceberg_tables"))
}

#[tokio::test]
async fn rules_2_and_5_a_failure_at_any_put_leaves_nothing() {
    for failing in 0..5 {
        let world = World::new().await;
        let [a, b] = [world.create_table("a").await, world.create_table("b").await];
        let before: BTreeSet<String> = world.objects.all().await.into_iter().collect();
        let csn = world.catalog.snapshot().await.unwrap().csn();
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, &a, 1).await.unwrap();
        append(&mut txn, &world.objects, &b, 2).await.unwrap();
        txn.create_table(definition("c")).await.unwrap();
        let number = AtomicUsize::new(0);
        world
            .objects
            .before_put(move |_| (number.fetch_add(1, Ordering::Relaxed) == failing).then(injected));
        let error = txn.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        world.objects.no_hook();
        let after: BTreeSet<String> = world.objects.all().await.into_iter().collect();
        assert_eq!(after, before, "put {failing}");
        let snapshot = world.catalog.snapshot().await.unwrap();
        assert_eq!(snapshot.csn(), csn);
        assert_eq!(snapshot.relation(&name("c")), None);
        assert_eq!(world.rows(&a).await, [0; 0]);
        assert_eq!(world.foreign_number("select count(*) from staffa_txn_table").await, 0);
    }
}

#[tokio::test]
async fn rule_2_one_number_for_all_tables_of_a_transaction() {
    let world = World::new().await;
    let [a, b] = [world.create_table("a").await, world.create_table("b").await];
    let base = world.catalog.snapshot().await.unwrap();
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &a, 1).await.unwrap();
    append(&mut txn, &world.objects, &b, 2).await.unwrap();
    append(&mut txn, &world.objects, &b, 3).await.unwrap();
    let own = txn.snapshot().table(&b).await.unwrap().unwrap();
    assert_eq!(own.files().await.unwrap().len(), 2);
    assert_eq!(own.row_count(), Some(5));
    let csn = txn.commit().await.unwrap();
    assert_eq!(csn, base.csn() + 1);
    assert_eq!(
        world
            .foreign_number("select count(*) from staffa_version where csn=(select csn from staffa_head)")
            .await,
        2
    );
    // The old state stays what it was.
    assert_eq!(base.table(&b).await.unwrap().unwrap().files().await.unwrap().len(), 0);
    assert_eq!(world.rows(&b).await, [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_3_appends_of_many_tasks_and_two_servers_are_all_kept() {
    let world = Arc::new(World::new().await);
    let table = world.create_table("t").await;
    let second = world.second().await;
    let mut tasks = Vec::new();
    for task in 0..8_u64 {
        let (world, table) = (world.clone(), table.clone());
        let catalog = if task % 2 == 0 {
            world.catalog.clone()
        } else {
            second.clone()
        };
        tasks.push(tokio::spawn(async move {
            for round in 0..5 {
                let mut txn = catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();
                append(&mut txn, &world.objects, &table, 1 + task * 5 + round)
                    .await
                    .unwrap();
                txn.commit().await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.rows(&table).await, (1..=40).collect::<Vec<_>>());
    let fresh = world.second().await;
    let table = fresh.snapshot().await.unwrap().table(&table).await.unwrap().unwrap();
    assert_eq!(table.files().await.unwrap().len(), 40);
    // What the losers of the races stored is gone: a metadata file a commit, and the first metadata. Appends that waited
    // for each other share a commit.
    let commits = fresh.snapshot().await.unwrap().csn() - 2;
    assert!(commits <= 40);
    let stored = world.objects.all().await;
    let metadata = stored.iter().filter(|path| path.ends_with(".metadata.json")).count();
    assert_eq!(metadata as u64, 1 + commits);
}

#[tokio::test]
async fn small_manifests_are_merged_when_there_are_many() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    for rows in 1..=103 {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, &table, rows).await.unwrap();
        txn.commit().await.unwrap();
    }
    assert_eq!(world.rows(&table).await, (1..=103).collect::<Vec<_>>());
    let fresh = world
        .second()
        .await
        .snapshot()
        .await
        .unwrap()
        .table(&table)
        .await
        .unwrap()
        .unwrap();
    let manifests = fresh
        .version()
        .manifests(&crate::loader::Loader::new(world.objects.clone()))
        .await
        .unwrap();
    // 101 were merged into one by the commit that added its own; one more came after.
    assert_eq!(manifests.len(), 3);
    assert_eq!(fresh.files().await.unwrap().len(), 103);
    // 20 old metadata files are remembered, the others are garbage.
    assert_eq!(world.foreign_number("select count(*) from staffa_gc").await, 103 - 20);
    let now_ms = chrono::Utc::now().timestamp_millis();
    assert!(
        world
            .catalog
            .dead_objects(now_ms, true)
            .await
            .unwrap()
            .objects
            .is_empty()
    );
    let dead = world
        .catalog
        .dead_objects(now_ms + 25 * 3600 * 1000, true)
        .await
        .unwrap()
        .objects;
    assert!(dead.iter().all(|object| !object.is_directory()));
    assert!(!dead.is_empty());
    world
        .catalog
        .forget(&dead.into_iter().map(|object| object.path).collect::<Vec<_>>())
        .await
        .unwrap();
}

/// Manifests of which no two fit together stay as they are, however many there are.
#[tokio::test]
async fn manifests_that_are_full_are_not_written_again() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let append_one = async |rows: u64| {
        let mut txn = world.begin().await;
        append(&mut txn, &world.objects, &table, rows).await.unwrap();
        txn.commit().await.unwrap();
        let snapshot = world.catalog.snapshot().await.unwrap();
        let table = snapshot.table(&table).await.unwrap().unwrap();
        table.manifests().await.unwrap()
    };
    let one = append_one(1).await;
    let mut txn = world.begin().await;
    let properties = [
        ("commit.manifest.target-size-bytes", one[0].size_bytes * 3 / 2),
        ("commit.manifest.min-count-to-merge", 3),
    ];
    let change = TableChange::SetProperties {
        set: properties
            .map(|(key, value)| (key.to_owned(), value.to_string()))
            .into(),
        removed: BTreeSet::new(),
    };
    txn.alter_table(&table, &[change], false).await.unwrap();
    txn.commit().await.unwrap();
    for rows in 2..=8 {
        let before = world.objects.put_locations.lock().len();
        let manifests = append_one(rows).await;
        assert_eq!(manifests.len() as u64, rows);
        // A data file, its manifest, the list, the metadata.
        assert_eq!(world.objects.put_locations.lock().len(), before + 4, "commit {rows}");
    }
}

/// Runs everything on the database, but loses the answer of a swap, after or before doing it.
#[derive(Debug)]
struct LostAnswer {
    inner: Arc<dyn Database>,
    /// 0: none; 1: commits, then fails; 2: fails without committing; 3: as 1, and the outcome cannot be looked up.
    mode: AtomicUsize,
}

#[async_trait]
impl Database for LostAnswer {
    async fn change_token(&self) -> Result<i64> {
        self.inner.change_token().await
    }
    async fn pointers(&self, since: Option<u64>) -> Result<PointerState> {
        self.inner.pointers(since).await
    }
    fn may_lose_notes(&self) -> bool {
        self.inner.may_lose_notes()
    }
    async fn register(&self, txn_id: Uuid, base_csn: u64, table_locations: &[String], again: bool) -> Result<()> {
        self.inner.register(txn_id, base_csn, table_locations, again).await
    }
    async fn swap(&self, swap: &Swap) -> Result<SwapOutcome> {
        match self.mode.load(Ordering::Relaxed) {
            0 => self.inner.swap(swap).await,
            2 => Err(lost()),
            _ => {
                self.inner.swap(swap).await?;
                Err(lost())
            }
        }
    }
    async fn outcome(&self, txn_id: Uuid) -> Result<TxnOutcome> {
        match self.mode.load(Ordering::Relaxed) {
            3 => Err(Error::new(ErrorKind::Io, "still no connection")),
            _ => self.inner.outcome(txn_id).await,
        }
    }
    async fn abort(&self, txn_id: Uuid) -> Result<TxnOutcome> {
        self.inner.abort(txn_id).await
    }
    async fn cleaned(&self, txn_id: Uuid) -> Result<()> {
        self.inner.cleaned(txn_id).await
    }
    async fn oldest_started_ms(&self) -> Result<Option<i64>> {
        self.inner.oldest_started_ms().await
    }

    async fn shares(&self) -> Result<Vec<Share>> {
        self.inner.shares().await
    }

    async fn last_metadata(&self, table_location: &str) -> Result<Option<String>> {
        self.inner.last_metadata(table_location).await
    }

    async fn dropped(&self, name: &TableName, not_before_ms: i64) -> Result<Option<Dropped>> {
        self.inner.dropped(name, not_before_ms).await
    }

    async fn heartbeat(&self, oldest_csn: u64) -> Result<bool> {
        self.inner.heartbeat(oldest_csn).await
    }
    async fn leftovers(&self, first_look: bool) -> Result<Vec<Leftover>> {
        self.inner.leftovers(first_look).await
    }
    async fn garbage(&self, now_ms: i64, tried_before_ms: i64) -> Result<Vec<GarbageRow>> {
        self.inner.garbage(now_ms, tried_before_ms).await
    }
    async fn garbage_below(&self, prefix: &str) -> Result<HashSet<String>> {
        self.inner.garbage_below(prefix).await
    }
    async fn try_garbage(&self, paths: &[String], now_ms: i64) -> Result<Vec<String>> {
        self.inner.try_garbage(paths, now_ms).await
    }
    async fn oldest_base_csn(&self) -> Result<Option<u64>> {
        self.inner.oldest_base_csn().await
    }
    async fn forget_garbage(&self, paths: &[String]) -> Result<()> {
        self.inner.forget_garbage(paths).await
    }
    async fn dropped_sequences(&self, table_location: &str, table: Uuid) -> Result<Vec<(TableName, String)>> {
        self.inner.dropped_sequences(table_location, table).await
    }
    async fn note_garbage(&self, path: &str, not_before_ms: i64) -> Result<()> {
        self.inner.note_garbage(path, not_before_ms).await
    }
    async fn forget_versions(&self, after_csn: u64, before_csn: u64) -> Result<Option<u64>> {
        self.inner.forget_versions(after_csn, before_csn).await
    }
    async fn take_numbers(
        &self,
        counter: Uuid,
        first: i64,
        count: i64,
        is_named: bool,
    ) -> Result<Option<SequenceState>> {
        self.inner.take_numbers(counter, first, count, is_named).await
    }
    async fn give_back(&self, counter: Uuid, unused: SequenceState, end: i64) -> Result<()> {
        self.inner.give_back(counter, unused, end).await
    }
    async fn forget_counters(&self, paths: &[String]) -> Result<()> {
        self.inner.forget_counters(paths).await
    }
    async fn counter(&self, counter: Uuid) -> Result<Option<SequenceState>> {
        self.inner.counter(counter).await
    }
    async fn set_counter(&self, counter: Uuid, state: SequenceState, is_named: bool) -> Result<bool> {
        self.inner.set_counter(counter, state, is_named).await
    }
    async fn object_numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        self.inner.object_numbers(objects).await
    }

    async fn passing_numbers(&self, objects: &[String]) -> Result<Vec<u32>> {
        self.inner.passing_numbers(objects).await
    }
    fn server_id(&self) -> Uuid {
        self.inner.server_id()
    }
    async fn servers(&self) -> Result<Vec<Uuid>> {
        self.inner.servers().await
    }
    async fn schema_properties(&self, database: &str, schema: &str) -> Result<BTreeMap<String, String>> {
        self.inner.schema_properties(database, schema).await
    }
    async fn setting(&self, name: &str) -> Result<Option<String>> {
        self.inner.setting(name).await
    }
    async fn export(&self, path: &std::path::Path) -> Result<PointerState> {
        self.inner.export(path).await
    }
    async fn first_setting(&self, name: &str, value: &str) -> Result<()> {
        self.inner.first_setting(name, value).await
    }
}

fn lost() -> Error {
    Error::outcome_unknown(Error::new(ErrorKind::Io, "connection lost"))
}

#[tokio::test]
async fn rule_4_an_unknown_outcome_is_looked_up() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let inner = crate::database::open(&world.database, Uuid::new_v4()).await.unwrap();
    let database = Arc::new(LostAnswer {
        inner,
        mode: AtomicUsize::new(0),
    });
    let catalog = Catalog::with_database(database.clone(), "memory://warehouse", world.objects.clone());
    let begin = async || catalog.begin(catalog.snapshot().await.unwrap()).await.unwrap();

    let mut txn = begin().await;
    append(&mut txn, &world.objects, &table, 1).await.unwrap();
    database.mode.store(1, Ordering::Relaxed);
    let csn = txn.commit().await.unwrap();
    assert_eq!(catalog.snapshot().await.unwrap().csn(), csn);
    assert_eq!(world.rows(&table).await, [1]);

    let mut txn = begin().await;
    let lost = append(&mut txn, &world.objects, &table, 2).await.unwrap();
    database.mode.store(2, Ordering::Relaxed);
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Io);
    assert!(world.objects.get(&lost).await.is_err());
    assert_eq!(world.rows(&table).await, [1]);

    // Those of a group have one fate, and each looks it up.
    for (mode, is_committed) in [(2, false), (1, true)] {
        database.mode.store(0, Ordering::Relaxed);
        let group_table = world.create_table(&format!("group{mode}")).await;
        let mut txns = Vec::new();
        for rows in 1..=9 {
            let mut txn = begin().await;
            append(&mut txn, &world.objects, &group_table, rows).await.unwrap();
            txns.push(txn);
        }
        database.mode.store(mode, Ordering::Relaxed);
        let outcomes = futures::future::join_all(txns.into_iter().map(Transaction::commit)).await;
        assert!(
            outcomes.iter().all(|outcome| outcome.is_ok() == is_committed),
            "{outcomes:?}"
        );
        let expected: Vec<u64> = if is_committed { (1..=9).collect() } else { Vec::new() };
        assert_eq!(world.rows(&group_table).await, expected);
    }

    let mut txn = begin().await;
    let kept = append(&mut txn, &world.objects, &table, 3).await.unwrap();
    database.mode.store(3, Ordering::Relaxed);
    let error = txn.commit().await.unwrap_err();
    assert_eq!(error.message(), "the outcome of the commit is unknown");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(world.objects.get(&kept).await.is_ok());
    assert_eq!(world.rows(&table).await, [1, 3]);
}

#[tokio::test]
async fn rule_5_what_a_dead_server_leaves_is_found() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let dead = world.second().await;
    let mut txn = dead.begin(dead.snapshot().await.unwrap()).await.unwrap();
    let file = append(&mut txn, &world.objects, &table, 1).await.unwrap();
    // While its server lives, a transaction is left alone.
    assert_eq!(world.catalog.recover().await.unwrap(), 0);
    assert!(world.objects.get(&file).await.is_ok());
    // The server is gone: no destructor of the transaction runs, its lock is let go.
    let id = txn.id();
    std::mem::forget(txn);
    world
        .foreign_sql("update staffa_txn set server_id='gone' where state=0")
        .await
        .unwrap();
    assert_eq!(world.catalog.recover().await.unwrap(), 1);
    assert!(world.objects.get(&file).await.is_err());
    assert_eq!(world.catalog.recover().await.unwrap(), 0);
    let number = world
        .foreign_number("select count(*) from staffa_txn where state=2")
        .await;
    assert_eq!(number, 1, "{id}");
}

#[tokio::test]
async fn a_transaction_thought_dead_cannot_commit() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 1).await.unwrap();
    world
        .foreign_sql("update staffa_txn set server_id='gone' where state=0")
        .await
        .unwrap();
    assert_eq!(world.catalog.recover().await.unwrap(), 1);
    assert_eq!(txn.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.rows(&table).await, [0; 0]);
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    let file = append(&mut txn, &world.objects, &table, 1).await.unwrap();
    drop(txn);
    for _ in 0..200 {
        if world.objects.get(&file).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the file is still there");
}

#[tokio::test]
async fn files_of_a_failed_statement_are_garbage_of_the_commit() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let mut txn = world.begin().await;
    append(&mut txn, &world.objects, &table, 1).await.unwrap();
    let savepoint = txn.savepoint();
    let stray = append(&mut txn, &world.objects, &table, 2).await.unwrap();
    txn.restore(savepoint);
    txn.commit().await.unwrap();
    assert_eq!(world.rows(&table).await, [1]);
    let dead = world
        .catalog
        .dead_objects(chrono::Utc::now().timestamp_millis(), true)
        .await
        .unwrap()
        .objects;
    assert_eq!(dead.into_iter().map(|object| object.path).collect::<Vec<_>>(), [stray]);
}

#[tokio::test]
async fn conflicts_are_told_apart() {
    let world = World::new().await;
    let table = world.create_table("t").await;

    // Both create.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    first.create_table(definition("new")).await.unwrap();
    second.create_table(definition("new")).await.unwrap();
    first.commit().await.unwrap();
    let error = second.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DuplicateTable);
    assert_eq!(error.message(), "relation \"new\" already exists");

    // One appends, the other has dropped.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut second, &world.objects, &table, 1).await.unwrap();
    first.drop_table(&table).await.unwrap();
    first.commit().await.unwrap();
    let error = second.commit().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");

    // One appends, the other has dropped and made it again.
    let table = world.create_table("t").await;
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut second, &world.objects, &table, 1).await.unwrap();
    first.drop_table(&table).await.unwrap();
    first.create_table(definition("t")).await.unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());
    assert_eq!(world.rows(&table).await, [0; 0]);

    // A drop does not mind appends.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    second.drop_table(&table).await.unwrap();
    append(&mut first, &world.objects, &table, 1).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(world.catalog.snapshot().await.unwrap().relation(&table), None);

    // A schema that is not empty any more.
    let mut setup = world.begin().await;
    setup.create_schema("d", "s").await.unwrap();
    setup.commit().await.unwrap();
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    second.drop_schema("d", "s", false).await.unwrap();
    let mut inside = definition("t");
    inside.name.schema = "s".to_owned();
    first.create_table(inside.clone()).await.unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());
    // And the other way round.
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    first.drop_schema("d", "s", true).await.unwrap();
    inside.name.name = "u".to_owned();
    second.create_table(inside).await.unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn comments_and_appends_of_two_transactions_come_together() {
    let world = World::new().await;
    let table = world.create_table("t").await;
    let [mut first, mut second] = [world.begin().await, world.begin().await];
    append(&mut first, &world.objects, &table, 1).await.unwrap();
    second
        .set_comment(&table, Some("id"), Some("the key".to_owned()))
        .await
        .unwrap();
    second
        .set_comment(&table, None, Some("a table".to_owned()))
        .await
        .unwrap();
    let error = second.set_comment(&table, Some("nope"), None).await.unwrap_err();
    assert_eq!(error.message(), "column \"nope\" of relation \"t\" does not exist");
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    let fresh = world
        .second()
        .await
        .snapshot()
        .await
        .unwrap()
        .table(&table)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fresh.comment(), Some("a table"));
    assert_eq!(fresh.schema().column("id").unwrap().comment.as_deref(), Some("the key"));
    assert_eq!(fresh.files().await.unwrap().len(), 1);
}

#[tokio::test]
async fn views_are_made_replaced_and_dropped() {
    let world = World::new().await;
    world.create_table("t").await;
    let view = |sql: &str| ViewDefinition {
        name: name("v"),
        sql: sql.to_owned(),
        columns: vec![("a".to_owned(), crate::types::SqlType::Integer)],
        search_path: vec!["public".to_owned()],
        comment: None,
        reads: Vec::new(),
        column_comments: Default::default(),
    };
    let mut txn = world.begin().await;
    txn.create_view(view("select 1"), false).await.unwrap();
    assert_eq!(txn.snapshot().view(&name("v")).await.unwrap().unwrap().sql, "select 1");
    txn.commit().await.unwrap();
    let mut txn = world.begin().await;
    let error = txn.create_view(view("select 2"), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DuplicateTable);
    txn.create_view(view("select 2"), true).await.unwrap();
    txn.set_comment(&name("v"), None, Some("two".to_owned())).await.unwrap();
    txn.commit().await.unwrap();
    let snapshot = world.second().await.snapshot().await.unwrap();
    assert_eq!(snapshot.relation(&name("v")), Some(RelationKind::View));
    let stored = snapshot.view(&name("v")).await.unwrap().unwrap();
    assert_eq!(
        (stored.sql.as_str(), stored.comment.as_deref()),
        ("select 2", Some("two"))
    );
    assert!(snapshot.table(&name("v")).await.unwrap().is_none());
    let mut txn = world.begin().await;
    assert_eq!(
        txn.drop_table(&name("v")).await.unwrap_err().message(),
        "\"v\" is not a table"
    );
    assert_eq!(
        txn.drop_view(&name("t")).await.unwrap_err().kind(),
        ErrorKind::WrongObjectType
    );
    assert_eq!(
        txn.begin_write(&name("v")).await.unwrap_err().kind(),
        ErrorKind::WrongObjectType
    );
    txn.drop_view(&name("v")).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(world.catalog.snapshot().await.unwrap().relation(&name("v")), None);
}
