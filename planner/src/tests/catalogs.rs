//! Images of the system catalogs: what is read for them, and what becomes of failures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use roaring::RoaringTreemap;
use staffa_catalog::{
    Catalog, CatalogSnapshot, ColumnDefinition, DeleteContent, Error as CatalogError, ErrorKind, MemoryObjects,
    Objects, SqlType, TableDefinition, TableName, Transaction,
};

use crate::error::Result;
use crate::{Image, ImageFacts, ObjectNumbers, Parts};

/// Objects in memory that count what is read, and fail when they are told to.
#[derive(Debug, Default)]
struct Counted {
    inner: MemoryObjects,
    reads: AtomicUsize,
    is_down: AtomicBool,
}

#[async_trait]
impl Objects for Counted {
    async fn get(&self, location: &str) -> Result<Bytes, CatalogError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match self.is_down.load(Ordering::Relaxed) {
            true => Err(CatalogError::new(ErrorKind::Io, "the store does not answer")),
            false => self.inner.get(location).await,
        }
    }

    async fn put(&self, location: &str, bytes: Bytes) -> Result<(), CatalogError> {
        self.inner.put(location, bytes).await
    }

    async fn delete(&self, location: &str) -> Result<(), CatalogError> {
        self.inner.delete(location).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, CatalogError> {
        self.inner.list(prefix).await
    }

    fn encode_deletes(
        &self,
        data_file: &str,
        rows: &RoaringTreemap,
        vector: bool,
    ) -> Result<(Bytes, DeleteContent), CatalogError> {
        self.inner.encode_deletes(data_file, rows, vector)
    }

    async fn decode_deletes(
        &self,
        bytes: Bytes,
        content: &DeleteContent,
        data_file: &str,
    ) -> Result<RoaringTreemap, CatalogError> {
        self.inner.decode_deletes(bytes, content, data_file).await
    }
}

struct Numbers<'a>(&'a Catalog);

#[async_trait]
impl ObjectNumbers for Numbers<'_> {
    async fn numbers(&self, objects: &[String], last: bool) -> Result<Vec<u32>> {
        Ok(match last {
            true => self.0.object_numbers(objects).await?,
            false => self.0.passing_numbers(objects).await?,
        })
    }
}

/// Two servers on one catalog: what the first one writes the second one has to read.
struct World {
    first: Catalog,
    second: Catalog,
    objects: Arc<Counted>,
    parts: Parts,
    _directory: tempfile::TempDir,
}

const DATABASE: &str = "d";

impl World {
    async fn with_tables(count: usize) -> World {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = format!("sqlite:{}", directory.path().join("catalog.db").display());
        let objects = Arc::new(Counted::default());
        let open = || Catalog::open(&database, "memory://w", Arc::clone(&objects) as Arc<dyn Objects>);
        let world = World {
            first: open().await.expect("a catalog"),
            second: open().await.expect("the same catalog"),
            objects: Arc::clone(&objects),
            parts: Parts::default(),
            _directory: directory,
        };
        let mut transaction = world.begin().await;
        transaction.create_database(DATABASE).await.expect("a database");
        for number in 0..count {
            let definition = definition(&format!("t{number}"));
            transaction.create_table(definition).await.expect("a table");
        }
        transaction.commit().await.expect("a commit");
        world
    }

    async fn begin(&self) -> Transaction {
        let snapshot = self.first.snapshot().await.expect("a snapshot");
        self.first.begin(snapshot).await.expect("a transaction")
    }

    /// As the second server sees it now.
    async fn image(&self) -> Result<Image> {
        let snapshot = self.second.snapshot().await.expect("a snapshot");
        self.image_of(&snapshot, &self.second, &self.parts).await
    }

    async fn image_of(&self, snapshot: &CatalogSnapshot, catalog: &Catalog, parts: &Parts) -> Result<Image> {
        let facts = ImageFacts {
            snapshot,
            database: DATABASE,
            temporary_schema: None,
        };
        Image::of(facts, parts, &Numbers(catalog)).await
    }

    fn reads(&self) -> usize {
        self.objects.reads.swap(0, Ordering::Relaxed)
    }
}

fn name(table: &str) -> TableName {
    TableName::new(DATABASE, "public", table)
}

fn definition(table: &str) -> TableDefinition {
    TableDefinition {
        name: name(table),
        columns: vec![ColumnDefinition {
            name: "a".to_owned(),
            ty: SqlType::Integer,
            nullable: true,
            comment: None,
            default: None,
        }],
        partition_by: Vec::new(),
        sorted_by: Vec::new(),
        constraints: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        properties: BTreeMap::new(),
        materialized: None,
        location: None,
    }
}

fn number(image: &Image, table: &str) -> u32 {
    image.relation_named("public", table).map_or(0, |relation| relation.oid)
}

#[tokio::test]
async fn a_commit_costs_what_it_changed() {
    let world = World::with_tables(20).await;
    world.reads();
    let before = world.image().await.expect("an image");
    assert_eq!(world.reads(), 20);
    assert!(number(&before, "t3") > 16_384);
    // The same state, and a table under another name.
    let same = world.image().await.expect("an image");
    assert_eq!(number(&same, "t3"), number(&before, "t3"));
    let mut transaction = world.begin().await;
    transaction.rename(&name("t3"), &name("other")).await.expect("a name");
    transaction.create_table(definition("new")).await.expect("a table");
    transaction.drop_table(&name("t4")).await.expect("no table");
    transaction.commit().await.expect("a commit");
    world.reads();
    let after = world.image().await.expect("an image");
    assert_eq!(world.reads(), 1);
    assert_eq!(number(&after, "other"), number(&before, "t3"));
    assert_eq!((number(&after, "t3"), number(&after, "t4")), (0, 0));
    assert!(number(&after, "new") > 16_384);
    // What no image shows is forgotten.
    drop((before, same));
    assert_eq!(world.parts.len(), 20);
    drop(after);
    assert!(world.parts.is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_now_is_not_damage() {
    let world = World::with_tables(3).await;
    world.objects.is_down.store(true, Ordering::Relaxed);
    let error = world.image().await.expect_err("no image");
    assert!(error.to_string().contains("the store does not answer"), "{error}");
    world.objects.is_down.store(false, Ordering::Relaxed);
    let image = world.image().await.expect("an image");
    assert_eq!(image.unreadable().count(), 0);
    let found = number(&image, "t1");
    // A file that is gone is another thing: the others are shown.
    let snapshot = world.second.snapshot().await.expect("a snapshot");
    let location = snapshot.metadata_location(&name("t0")).expect("a location").to_owned();
    world.objects.delete(&location).await.expect("deleted");
    let other = world
        .image_of(&snapshot, &world.second, &Parts::default())
        .await
        .expect("an image");
    assert_eq!(other.unreadable().count(), 1);
    assert_eq!(number(&other, "t1"), found);
    assert!(
        other
            .relation_named("public", "t0")
            .is_some_and(|table| table.columns.is_empty())
    );
}

#[tokio::test]
async fn a_table_keeps_the_number_it_had_before_it_was_committed() {
    let world = World::with_tables(1).await;
    let mut transaction = world.begin().await;
    transaction.create_table(definition("mine")).await.expect("a table");
    let own = world
        .image_of(&transaction.snapshot(), &world.first, &world.parts)
        .await
        .expect("an image");
    let found = number(&own, "mine");
    assert!(found > 16_384);
    transaction.commit().await.expect("a commit");
    let snapshot = world.first.snapshot().await.expect("a snapshot");
    let here = world
        .image_of(&snapshot, &world.first, &world.parts)
        .await
        .expect("an image");
    assert_eq!(number(&here, "mine"), found);
    // And so do other servers call it.
    let there = world
        .image_of(&snapshot, &world.second, &Parts::default())
        .await
        .expect("an image");
    assert_eq!(number(&there, "mine"), found);
}

#[tokio::test]
async fn schemas_keep_their_numbers_under_other_names() {
    let world = World::with_tables(0).await;
    let mut transaction = world.begin().await;
    for schema in ["stage", "prod"] {
        transaction.create_schema(DATABASE, schema).await.expect("a schema");
    }
    transaction.commit().await.expect("a commit");
    let before = world.image().await.expect("an image");
    for (from, to) in [("prod", "old"), ("stage", "prod")] {
        let mut transaction = world.begin().await;
        transaction.rename_schema(DATABASE, from, to).await.expect("a name");
        transaction.commit().await.expect("a commit");
    }
    let after = world.image().await.expect("an image");
    assert_eq!(after.schema_oid("prod"), before.schema_oid("stage"));
    assert_eq!(after.schema_oid("old"), before.schema_oid("prod"));
    // One that is made again is another one.
    let mut transaction = world.begin().await;
    transaction
        .drop_schema(DATABASE, "old", false)
        .await
        .expect("no schema");
    transaction.commit().await.expect("a commit");
    let mut transaction = world.begin().await;
    transaction.create_schema(DATABASE, "old").await.expect("a schema");
    transaction.commit().await.expect("a commit");
    let again = world.image().await.expect("an image");
    assert!(again.schema_oid("old").is_some() && again.schema_oid("old") != after.schema_oid("old"));
}
