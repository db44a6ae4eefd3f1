//! Answers of queries, for whoever asks the same of the same tables.
//!
//! An answer is found by what the query computes and of which versions of which tables (`staffa_planner::QueryIdentity`), its parameters, whose
//! rights and which settings: a commit to one of its tables gives it another name. So none is ever stale, and none is ever dropped for being
//! it. A statement is planned as ever before its answer is looked up, with the state and the rights of now.
//!
//! Who asks what another one is just computing waits for that answer, as long as no client's slowness holds it up.
//!
//! Small answers only, in a small share of the memory of queries: they go when a query needs it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::scalar::ScalarValue;
use moka::sync::Cache;
use parking_lot::Mutex;
use staffa_planner::QueryIdentity;
use tokio::sync::watch;
use uuid::Uuid;

/// Larger answers are not kept.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The share of the queries' memory, and the most it is.
const MEMORY_SHARE: u64 = 32;
const BYTES_MAX: u64 = 512 << 20;

/// An answer from older versions of tables is not asked for again, and goes.
const IDLE: Duration = Duration::from_secs(600);

/// What an entry holds beside its rows: key, plan and list of tables, about.
const ENTRY_BYTES: usize = 4 << 10;

/// What an answer is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResultKey {
    pub(crate) query: Arc<QueryIdentity>,
    pub(crate) values: Vec<ScalarValue>,
    pub(crate) user: String,
    pub(crate) role: Option<Uuid>,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
}

impl Hash for ResultKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.query.hash(state);
        self.values.hash(state);
    }
}

/// See the module.
pub(crate) struct Results {
    kept: Cache<ResultKey, Answer>,
    /// Queries that are computed now. Locked for a look-up or a change only.
    flights: Mutex<HashMap<ResultKey, watch::Receiver<()>>>,
    memory: Arc<dyn MemoryPool>,
    bytes_max: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    yielded_bytes: AtomicU64,
}

/// All rows of a query, accounted for as long as somebody has them.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Arc<[RecordBatch]>,
    bytes: u32,
    _memory: Arc<MemoryReservation>,
}

/// What asking for an answer gives.
pub(crate) enum Asked {
    Found(Answer),
    /// Somebody computes it: ask again when this one changes.
    Comes(watch::Receiver<()>),
    /// Nobody does. Others wait for what this one computes.
    Unknown(Collecting),
}

/// The rows of a query that runs, for its answer.
pub(crate) struct Collecting {
    results: Arc<Results>,
    key: ResultKey,
    batches: Vec<RecordBatch>,
    memory: MemoryReservation,
    /// While others wait for it.
    flight: Option<Flight>,
}

/// Wakes those that wait when it is dropped.
struct Flight {
    results: Arc<Results>,
    key: ResultKey,
    _sender: watch::Sender<()>,
}

/// What `staffa.cache` shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResultCounters {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) yielded_bytes: u64,
}

impl Results {
    /// In a share of this memory, of which there is so much.
    pub(crate) fn new(memory: Arc<dyn MemoryPool>, memory_bytes: u64) -> Arc<Self> {
        let bytes_max = (memory_bytes / MEMORY_SHARE).min(BYTES_MAX);
        let kept = Cache::builder()
            .weigher(|_: &ResultKey, answer: &Answer| answer.bytes)
            .max_capacity(bytes_max)
            .time_to_idle(IDLE)
            .build();
        Arc::new(Self {
            kept,
            flights: Mutex::default(),
            memory,
            bytes_max,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            yielded_bytes: AtomicU64::new(0),
        })
    }

    pub(crate) fn ask(self: &Arc<Self>, key: &ResultKey) -> Asked {
        if let Some(answer) = self.find(key) {
            return Asked::Found(answer);
        }
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(key) {
            return Asked::Comes(flight.clone());
        }
        // It may have come since.
        if let Some(answer) = self.find(key) {
            return Asked::Found(answer);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = watch::channel(());
        flights.insert(key.clone(), receiver);
        Asked::Unknown(Collecting {
            results: Arc::clone(self),
            key: key.clone(),
            batches: Vec::new(),
            memory: MemoryConsumer::new("results").register(&self.memory),
            flight: Some(Flight {
                results: Arc::clone(self),
                key: key.clone(),
                _sender: sender,
            }),
        })
    }

    fn find(&self, key: &ResultKey) -> Option<Answer> {
        let found = self.kept.get(key);
        self.hits.fetch_add(u64::from(found.is_some()), Ordering::Relaxed);
        found
    }

    /// Forgets all answers. Says whether there were any.
    pub(crate) fn release(&self) -> bool {
        self.kept.run_pending_tasks();
        let bytes = self.kept.weighted_size();
        self.kept.invalidate_all();
        self.kept.run_pending_tasks();
        self.yielded_bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes > 0
    }

    pub(crate) fn counters(&self) -> ResultCounters {
        self.kept.run_pending_tasks();
        ResultCounters {
            entries: self.kept.entry_count(),
            bytes: self.kept.weighted_size(),
            bytes_max: self.bytes_max,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            yielded_bytes: self.yielded_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Collecting {
    /// The next rows. `None`: they are too many to be kept, and nobody waits for them any more.
    pub(crate) fn add(mut self, batch: &RecordBatch) -> Option<Self> {
        let bytes = batch.get_array_memory_size();
        let fits = self.memory.size() + bytes <= ANSWER_BYTES_MAX && self.memory.try_grow(bytes).is_ok();
        fits.then(|| {
            self.batches.push(batch.clone());
            self
        })
    }

    /// Its client takes its time: nobody else waits for that.
    pub(crate) fn is_held_up(&mut self) {
        self.flight = None;
    }

    /// These were all rows.
    pub(crate) fn keep(self, schema: SchemaRef) {
        let Self {
            results,
            key,
            batches,
            memory,
            flight,
        } = self;
        if memory.try_grow(ENTRY_BYTES).is_ok() {
            let answer = Answer {
                schema,
                batches: Arc::from(batches),
                bytes: u32::try_from(memory.size()).unwrap_or(u32::MAX),
                _memory: Arc::new(memory),
            };
            results.kept.insert(key, answer);
        }
        // Whoever waits finds it.
        drop(flight);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.results.flights.lock().remove(&self.key);
    }
}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").finish_non_exhaustive()
    }
}

/// The memory of queries, of which answers hold a share until it is needed.
#[derive(Debug)]
pub(crate) struct MemoryWithResults {
    results: Arc<Results>,
}

impl MemoryWithResults {
    pub(crate) fn new(results: &Arc<Results>) -> Self {
        Self {
            results: Arc::clone(results),
        }
    }

    fn pool(&self) -> &Arc<dyn MemoryPool> {
        &self.results.memory
    }
}

impl fmt::Display for MemoryWithResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.pool(), f)
    }
}

impl MemoryPool for MemoryWithResults {
    fn name(&self) -> &str {
        self.pool().name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool().register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool().unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool().grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool().shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        match self.pool().try_grow(reservation, additional) {
            Err(_) if self.results.release() => self.pool().try_grow(reservation, additional),
            grown => grown,
        }
    }

    fn reserved(&self) -> usize {
        self.pool().reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool().memory_limit()
    }
}
