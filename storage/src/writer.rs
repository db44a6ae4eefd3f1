//! A stream of batches -> Parquet files of a target size, one set of files per partition, durable and with bounds.
//!
//! Rows are split by partition (`writer/route.rs`), converted to the types Iceberg stores (`writer/schema.rs`), encoded on
//! the caller's task and uploaded in parts while encoding goes on (`writer/file.rs`). Memory is bounded over all open files
//! of a writer: beyond the bound the largest open row group is flushed, or its file closed when flushing would gain little.

mod bounds;
mod file;
mod order;
mod route;
mod schema;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::scalar::ScalarValue;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::object::Stores;
use crate::transform::Transform;
use file::OpenFile;
use route::{PartitionKey, Router};
use schema::FileSchema;

/// An open row group smaller than this is not worth flushing alone: the file is closed instead.
const FLUSH_BYTES_MIN: usize = 4 << 20;

/// Memory a writer may hold even when the pool refuses it, so that a full pool does not end in a file per batch.
const UNCOUNTED_BYTES_MAX: usize = 4 << 20;

/// Files whose last bytes may be on their way at the same time.
const UPLOADS_MAX: usize = 8;

/// Batches are encoded in pieces of at most this many rows, so that the bound on memory is looked at often enough.
const PIECE_ROWS_MAX: usize = 65_536;

/// How files are cut and encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// A file is closed when its encoded size reaches this, in bytes.
    pub target_file_bytes: u64,
    /// Most rows of a row group.
    pub row_group_rows: usize,
    /// Level of zstd, 1 to 22.
    pub compression_level: i32,
    /// Most bytes all open files of one writer may hold in memory.
    pub buffer_bytes_max: u64,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            target_file_bytes: 256 << 20,
            row_group_rows: 1 << 20,
            compression_level: 1,
            buffer_bytes_max: 256 << 20,
        }
    }
}

/// What to write.
#[derive(Debug, Clone)]
pub struct WriteSpec {
    /// Schema of the batches. Every field, at every level, carries its Iceberg field id in [`crate::FIELD_ID_KEY`].
    pub schema: SchemaRef,
    /// Partition fields in the order of the partition spec: index of a top-level column and its transform.
    pub partition: Vec<(usize, Transform)>,
    /// The order the rows of each partition arrive in: index of a top-level column, descending, nulls first. Checked:
    /// files whose rows do not follow it are written all the same, with [`WrittenFile::sorted`] false.
    pub sort: Vec<(usize, bool, bool)>,
    /// File `n` is `{data_prefix}{n}.parquet`.
    pub data_prefix: String,
    /// How files are cut and encoded.
    pub options: WriteOptions,
}

/// A file that was written and is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenFile {
    /// Where it is, in the form of [`WriteSpec::data_prefix`].
    pub location: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its rows.
    pub row_count: u64,
    /// Its partition values after the transforms, one per field of [`WriteSpec::partition`], null allowed: `Int32` for
    /// bucket, year, month, day and hour, else the type of the column.
    pub partition: Vec<ScalarValue>,
    /// One entry per primitive column at top level or inside structs, the first 100 of them.
    pub columns: Vec<ColumnBounds>,
    /// Where its row groups begin, ascending.
    pub split_offsets: Vec<i64>,
    /// True if [`WriteSpec::sort`] is not empty and the rows follow it.
    pub sorted: bool,
}

/// What is known of one primitive column of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnBounds {
    /// Iceberg field id.
    pub field_id: i32,
    /// Its encoded, compressed size in bytes.
    pub size_bytes: u64,
    /// Values, nulls and NaNs included.
    pub value_count: u64,
    /// Nulls, its own and those of the structs around it.
    pub null_count: u64,
    /// NaNs; `None` for types that have none.
    pub nan_count: Option<u64>,
    /// No value except NaN is below; `None` when there is no value or the type has no bounds. In the type Iceberg stores:
    /// a smallint column has `Int32` bounds; texts are `Utf8`, binaries `Binary`.
    pub lower: Option<ScalarValue>,
    /// No value except NaN is above.
    pub upper: Option<ScalarValue>,
    /// Both bounds are values of the column, not merely limits: false when a long text was cut.
    pub bounds_exact: bool,
}

/// Writes batches to files. One writer per task; writers of one statement share the file counter.
///
/// Dropped without [`finish`](Self::finish) or [`abort`](Self::abort), it leaves the files that were complete by then:
/// whoever owns `data_prefix` lists and removes them.
pub struct FileWriter {
    stores: Stores,
    spec: Arc<WriteSpec>,
    file_schema: Arc<FileSchema>,
    counter: Arc<AtomicU64>,
    router: Router,
    open: HashMap<PartitionKey, OpenFile>,
    /// Sum of [`OpenFile::counted_bytes`] of the open files.
    held_bytes: usize,
    /// Partitions whose rows turned out not to arrive in order.
    unsorted: std::collections::HashSet<PartitionKey>,
    closing: JoinSet<Result<WrittenFile>>,
    done: Vec<WrittenFile>,
    locations: Vec<String>,
    reservation: Option<MemoryReservation>,
}

impl FileWriter {
    /// A writer that has written nothing yet.
    ///
    /// `counter` numbers the files of all writers with the same prefix; `pool` is asked for the memory of open files.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a column type or transform that Iceberg cannot store; [`ErrorKind::Internal`] for a
    /// schema without field ids or indexes outside it; [`ErrorKind::Forbidden`] for a prefix outside the allow-list.
    pub fn new(
        stores: Stores,
        spec: Arc<WriteSpec>,
        counter: Arc<AtomicU64>,
        pool: Option<Arc<dyn MemoryPool>>,
    ) -> Result<Self> {
        stores.resolve(&format!("{}0.parquet", spec.data_prefix))?;
        let columns = spec.schema.fields().len();
        let used = spec
            .partition
            .iter()
            .map(|(index, _)| index)
            .chain(spec.sort.iter().map(|(index, ..)| index));
        if used.into_iter().any(|index| *index >= columns) {
            return Err(Error::internal("a partition or sort column is not in the schema"));
        }
        let file_schema = Arc::new(FileSchema::new(&spec)?);
        let router = Router::new(&spec)?;
        let reservation = pool.map(|pool| MemoryConsumer::new("ParquetWriter").register(&pool));
        Ok(Self {
            stores,
            spec,
            file_schema,
            counter,
            router,
            open: HashMap::new(),
            held_bytes: 0,
            unsorted: Default::default(),
            closing: JoinSet::new(),
            done: Vec::new(),
            locations: Vec::new(),
            reservation,
        })
    }

    /// Adds rows. Returns when they are encoded; bytes may still be on their way.
    ///
    /// # Errors
    /// Of encoding, of an earlier upload, of a memory limit. After an error only [`abort`](Self::abort) is of use.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = PIECE_ROWS_MAX.min(batch.num_rows() - start);
            for (key, values, rows) in self.router.route(&batch.slice(start, rows))? {
                self.write_rows(key, values, rows).await?;
            }
            start += rows;
        }
        Ok(())
    }

    /// Closes all files and waits until they are durable.
    ///
    /// # Errors
    /// As [`write`](Self::write). After an error the files that were written are removed.
    pub async fn finish(mut self) -> Result<Vec<WrittenFile>> {
        match self.close_all().await {
            Ok(()) => Ok(std::mem::take(&mut self.done)),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    /// Removes what was written. Failures are logged: the files belong to no table and are found by their prefix later.
    pub async fn abort(mut self) {
        self.open.clear();
        // What a store has begun to write cannot be stopped half-way: it would appear after it was removed.
        while self.closing.join_next().await.is_some() {}
        for location in &self.locations {
            match self.stores.delete(location).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%error, location, "could not remove an unfinished file");
                }
                _ => {}
            }
        }
    }

    /// Where this writer has put or may put bytes so far, for cleaning up after a crash of its task.
    pub fn written_so_far(&self) -> &[String] {
        &self.locations
    }

    async fn write_rows(&mut self, key: PartitionKey, values: Vec<ScalarValue>, rows: RecordBatch) -> Result<()> {
        let rows = self.file_schema.convert(rows)?;
        let follows = match self.open.get_mut(&key) {
            Some(file) => file.order_continues(&rows)?,
            None => self.file_schema.order().is_sorted(&rows)?,
        };
        if !follows && self.unsorted.insert(key.clone()) && self.open.contains_key(&key) {
            // What came so far is sorted and says so in its footer: the disorder begins a new file.
            self.close(&key).await?;
        }
        if !self.open.contains_key(&key) {
            let sorted = !self.spec.sort.is_empty() && !self.unsorted.contains(&key);
            let location = self.next_location().await?;
            let file = OpenFile::create(&self.stores, location, &self.file_schema, &self.spec, values, sorted)?;
            self.open.insert(key.clone(), file);
        }
        let file = self.open.get_mut(&key).expect("the file was just opened");
        file.write(&rows).await?;
        self.held_bytes = self.held_bytes - file.counted_bytes() + file.count_bytes();
        if file.encoded_bytes() >= self.spec.options.target_file_bytes {
            self.close(&key).await?;
        }
        self.bound_memory().await
    }

    /// The next number whose file does not exist: an earlier statement of the same transaction may have used some.
    async fn next_location(&mut self) -> Result<String> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let location = format!("{}{number}.parquet", self.spec.data_prefix);
            match self.stores.head(&location).await {
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.locations.push(location.clone());
                    return Ok(location);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn close(&mut self, key: &PartitionKey) -> Result<()> {
        let Some(file) = self.open.remove(key) else {
            return Ok(());
        };
        self.held_bytes -= file.counted_bytes();
        while self.closing.len() >= UPLOADS_MAX {
            self.collect_one().await?;
        }
        let finish = file.finish()?;
        self.closing.spawn(finish);
        Ok(())
    }

    async fn close_all(&mut self) -> Result<()> {
        let keys: Vec<PartitionKey> = self.open.keys().cloned().collect();
        for key in &keys {
            self.close(key).await?;
        }
        while !self.closing.is_empty() {
            self.collect_one().await?;
        }
        self.done.sort_by(|a, b| {
            a.location
                .len()
                .cmp(&b.location.len())
                .then_with(|| a.location.cmp(&b.location))
        });
        Ok(())
    }

    async fn collect_one(&mut self) -> Result<()> {
        match self.closing.join_next().await {
            Some(Ok(file)) => self.done.push(file?),
            Some(Err(error)) => return Err(Error::internal(format!("an upload was stopped ({error})"))),
            None => {}
        }
        Ok(())
    }

    /// Keeps what open files hold below the option's bound and inside the pool.
    async fn bound_memory(&mut self) -> Result<()> {
        loop {
            let refused = match &self.reservation {
                Some(reservation) => reservation.try_resize(self.held_bytes).is_err(),
                None => false,
            };
            let too_much = self.held_bytes as u64 > self.spec.options.buffer_bytes_max;
            if !too_much && (!refused || self.held_bytes <= UNCOUNTED_BYTES_MAX) {
                return Ok(());
            }
            let largest = self.open.iter_mut().max_by_key(|(_, file)| file.counted_bytes());
            let Some((key, file)) = largest else { return Ok(()) };
            if file.row_group_bytes() >= FLUSH_BYTES_MIN {
                file.flush().await?;
                self.held_bytes = self.held_bytes - file.counted_bytes() + file.count_bytes();
            } else {
                let key = key.clone();
                self.close(&key).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests;
