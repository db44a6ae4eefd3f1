//! The statements of a server: those that run or wait, and the last ones that ended. `staffa.queries` shows them, the meter of memory
//! ends them, metrics count them.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{Array, ArrayData, RecordBatch};
use chrono::{DateTime, Utc};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;
use parking_lot::Mutex;
use staffa_planner::{Error, ErrorKind, Result, ScanLimits, ScanReports};

use crate::cancel::Canceller;
use crate::limits::Limits;
use crate::memory::meter::Meter;
use crate::memory::{StatementMemory, TemporaryFiles, of_statement};
use crate::trace::{Noted, Observer, Stage, StatementTrace};

/// How much of a statement is kept and shown, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Statements that have ended, of which the register knows.
const ENDED_MAX: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Register {
    meter: Arc<Meter>,
    last: AtomicU64,
    /// Held for a look-up or a change only.
    running: Mutex<BTreeMap<u64, Arc<Running>>>,
    /// The latest at the end.
    ended: Mutex<VecDeque<Arc<Record>>>,
    totals: Mutex<Totals>,
    /// Who is told of each statement that ends.
    observer: OnceLock<Observer>,
}

/// All statements that have ended, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub finished: u64,
    pub failed: u64,
    /// Of those that failed: cancelled or timed out.
    pub cancelled: u64,
    pub seconds: f64,
    pub queued_seconds: f64,
    pub rows: u64,
    pub files_read: u64,
    pub bytes_read: u64,
    pub spilled_bytes: u64,
}

/// Whose statement it is.
#[derive(Clone, Debug)]
pub(crate) struct Whose {
    pub(crate) pid: i32,
    /// The role that logged in.
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) canceller: Canceller,
}

/// What a client got of one result: all of a query's, or by every FETCH from a cursor.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// A statement that has not ended.
#[derive(Debug)]
pub(crate) struct Running {
    register: Arc<Register>,
    number: u64,
    whose: Whose,
    text: String,
    query_id: i64,
    started: DateTime<Utc>,
    begun: Instant,
    pub(crate) limits: Arc<Limits>,
    /// What its operators run with.
    pub(crate) runtime: Arc<RuntimeEnv>,
    memory: Arc<StatementMemory>,
    files: Arc<TemporaryFiles>,
    /// What its scans are to read.
    pub(crate) reports: Arc<ScanReports>,
    progress: Mutex<Progress>,
    /// Its session has left its end to whoever reads its rows.
    left: AtomicBool,
    /// What its client got, or what it changed.
    rows: AtomicU64,
    /// Where somebody traces statements.
    noted: Option<Noted>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Since when it waits for a place.
    queued: Option<Instant>,
    waited: Duration,
    /// It was planned, and nobody has asked to run it yet.
    only_planned: bool,
    /// How long that took.
    planned: Duration,
    /// Its operators, which count what they do.
    plans: Vec<Arc<dyn ExecutionPlan>>,
}

/// How a statement ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    /// With so many rows; `None`: those that went through its stream.
    Finished(Option<u64>),
    /// With this SQLSTATE, where somebody gave it one, and message.
    Failed(Option<&'static str>, &'a str),
}

/// A row of `staffa.queries`.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) pid: i32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) query_id: i64,
    pub(crate) text: String,
    pub(crate) state: &'static str,
    pub(crate) started: i64,
    pub(crate) ended: Option<i64>,
    pub(crate) queued: Duration,
    /// Without the wait.
    pub(crate) ran: Duration,
    pub(crate) rows: u64,
    pub(crate) files_read: u64,
    pub(crate) work: Work,
    pub(crate) spilled_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) error_code: Option<&'static str>,
    pub(crate) error: Option<String>,
}

/// What scans have counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) bytes_read: u64,
    pub(crate) chunks_cached: u64,
    pub(crate) chunks_decoded: u64,
}

impl Work {
    fn add(&mut self, plan: &dyn ExecutionPlan) {
        for metric in plan.metrics().iter().flat_map(|metrics| metrics.iter()) {
            let MetricValue::Count { name, count } = metric.value() else {
                continue;
            };
            let into = match &**name {
                "bytes_scanned" => &mut self.bytes_read,
                "chunks_from_cache" => &mut self.chunks_cached,
                "chunks_decoded" => &mut self.chunks_decoded,
                _ => continue,
            };
            *into += count.value() as u64;
        }
        for child in plan.children() {
            self.add(child.as_ref());
        }
    }
}

/// What `pg_stat_activity.query_id` shows: alike for statements of the same text.
pub(crate) fn query_id(text: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish().cast_signed()
}

impl Register {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self {
            meter,
            last: AtomicU64::new(0),
            running: Mutex::default(),
            ended: Mutex::default(),
            totals: Mutex::default(),
            observer: OnceLock::new(),
        }
    }

    /// A statement begins; it is listed until [`Running::end`].
    pub(crate) fn begin(
        self: &Arc<Self>,
        whose: Whose,
        text: &str,
        limits: Arc<Limits>,
        server: &RuntimeEnv,
        only_planned: bool,
        noted: Option<Noted>,
    ) -> Result<Arc<Running>> {
        let (runtime, memory, files) = of_statement(server, &limits, &self.meter)?;
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let running = Arc::new(Running {
            register: Arc::clone(self),
            number,
            whose,
            text: text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned(),
            query_id: query_id(text),
            started: Utc::now(),
            begun: Instant::now(),
            reports: Arc::new(ScanReports::limited(ScanLimits {
                rows: limits.rows_scanned,
                bytes: limits.bytes_scanned,
            })),
            limits,
            runtime,
            memory,
            files,
            progress: Mutex::new(Progress {
                only_planned,
                ..Progress::default()
            }),
            left: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            noted,
        });
        self.running.lock().insert(number, Arc::clone(&running));
        Ok(running)
    }

    /// All that run or wait, and the last that ended: the latest first.
    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        let running: Vec<Arc<Running>> = self.running.lock().values().rev().cloned().collect();
        let mut records: Vec<Arc<Record>> = running.iter().map(|running| Arc::new(running.record(None))).collect();
        records.extend(self.ended.lock().iter().rev().cloned());
        records
    }

    /// All that have not ended.
    pub(crate) fn running(&self) -> Vec<Arc<Running>> {
        self.running.lock().values().cloned().collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        *self.totals.lock()
    }

    /// Says who is told of statements; once.
    pub(crate) fn observe(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// Whether anybody is told.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.get().is_some()
    }

    pub(crate) fn tell(&self, statement: StatementTrace) {
        if let Some(Observer(observer)) = self.observer.get() {
            observer(statement);
        }
    }
}

impl Running {
    /// Takes on the run of what was only planned; false where it is another statement.
    pub(crate) fn goes_on(&self, text: &str) -> bool {
        let mut progress = self.progress.lock();
        let same = progress.only_planned && self.query_id == query_id(text);
        progress.only_planned &= !same;
        same
    }

    /// It is planned, which took so long.
    pub(crate) fn planned_in(&self, time: Duration) {
        self.progress.lock().planned = time;
    }

    /// How long it took to plan.
    pub(crate) fn planned(&self) -> Duration {
        self.progress.lock().planned
    }

    /// It waits for a place from now on.
    pub(crate) fn waits(&self) {
        self.progress.lock().queued = Some(Instant::now());
    }

    /// It waits no more.
    pub(crate) fn runs(&self) {
        let mut progress = self.progress.lock();
        if let Some(since) = progress.queued.take() {
            let waited = since.elapsed();
            progress.waited += waited;
            self.note_stage(Stage::Queue, SystemTime::now() - waited);
        }
    }

    /// A part of it is over that began then.
    pub(crate) fn note_stage(&self, stage: Stage, started: SystemTime) {
        if let Some(noted) = &self.noted {
            noted.stage(stage, started);
        }
    }

    /// It executes from now on.
    pub(crate) fn note_execution(&self) {
        if let Some(noted) = &self.noted {
            noted.executes();
        }
    }

    /// These are operators of it.
    pub(crate) fn note_plan(&self, plan: &Arc<dyn ExecutionPlan>) {
        self.progress.lock().plans.push(Arc::clone(plan));
    }

    /// Its client gets these rows, of a result of which it got so many before.
    ///
    /// # Errors
    /// They are more than it may get.
    pub(crate) fn sends(&self, batch: &RecordBatch, sent: &Sent) -> Result<()> {
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        let rows = sent.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed) + batch.num_rows() as u64;
        if let Some(most) = self.limits.result_rows.filter(|most| rows > *most) {
            return Err(result_too_large(format!("{most} rows"), "staffa.max_result_rows"));
        }
        if let Some(most) = self.limits.result_bytes {
            let bytes = value_bytes(batch);
            if sent.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > most {
                return Err(result_too_large(format!("{most} bytes"), "staffa.max_result_bytes"));
            }
        }
        Ok(())
    }

    /// Bytes of memory it holds now.
    pub(crate) fn memory_held(&self) -> u64 {
        self.memory.held()
    }

    /// How long it has been there.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether it does nothing but wait.
    pub(crate) fn is_queued(&self) -> bool {
        self.progress.lock().queued.is_some()
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn user(&self) -> &str {
        &self.whose.user
    }

    /// Ends it, because memory runs out.
    pub(crate) fn give_up_memory(&self) {
        self.whose.canceller.give_up_memory();
    }

    /// Whoever reads its rows ends it.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Its rows are read.
    pub(crate) fn end_if_left(&self, end: End<'_>) {
        if self.left.load(Ordering::Relaxed) {
            self.end(end);
        }
    }

    /// It is done. Only the first end counts; of what was planned alone nothing is kept unless it failed.
    pub(crate) fn end(&self, end: End<'_>) {
        if self.register.running.lock().remove(&self.number).is_none() {
            return;
        }
        let (failed, cancelled) = match end {
            End::Finished(_) if self.progress.lock().only_planned => return,
            End::Finished(rows) => {
                if let Some(rows) = rows {
                    self.rows.store(rows, Ordering::Relaxed);
                }
                (false, false)
            }
            End::Failed(code, _) => (true, code == Some("57014")),
        };
        let record = self.record(Some(end));
        // Operators hold memory.
        self.progress.lock().plans.clear();
        if let Some(noted) = &self.noted {
            self.register.tell(record.trace(self.started.into(), noted));
        }
        let mut totals = self.register.totals.lock();
        totals.finished += u64::from(!failed);
        totals.failed += u64::from(failed);
        totals.cancelled += u64::from(cancelled);
        totals.seconds += record.ran.as_secs_f64();
        totals.queued_seconds += record.queued.as_secs_f64();
        totals.rows += record.rows;
        totals.files_read += record.files_read;
        totals.bytes_read += record.work.bytes_read;
        totals.spilled_bytes += record.spilled_bytes;
        drop(totals);
        let mut ended = self.register.ended.lock();
        if ended.len() >= ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back(Arc::new(record));
    }

    fn record(&self, end: Option<End<'_>>) -> Record {
        let progress = self.progress.lock();
        let queued = progress.waited + progress.queued.map_or(Duration::ZERO, |since| since.elapsed());
        let mut work = Work::default();
        for plan in &progress.plans {
            work.add(plan.as_ref());
        }
        let state = match end {
            Some(End::Finished(_)) => "finished",
            Some(End::Failed(..)) => "failed",
            None if progress.queued.is_some() => "queued",
            None if progress.only_planned => "planning",
            None => "running",
        };
        let (error_code, error) = match end {
            Some(End::Failed(code, message)) => (code, Some(message.to_owned())),
            _ => (None, None),
        };
        Record {
            number: self.number,
            pid: self.whose.pid,
            user: self.whose.user.clone(),
            database: self.whose.database.clone(),
            query_id: self.query_id,
            text: self.text.clone(),
            state,
            started: self.started.timestamp_micros(),
            ended: end.map(|_| Utc::now().timestamp_micros()),
            queued,
            ran: self.begun.elapsed().saturating_sub(queued),
            rows: self.rows.load(Ordering::Relaxed),
            files_read: self.reports.files_read(),
            work,
            spilled_bytes: self.files.written(),
            memory_bytes: self.memory.held(),
            memory_bytes_max: self.memory.most(),
            error_code,
            error,
        }
    }
}

impl Record {
    /// What whoever traces is told of a statement that ends now.
    fn trace(&self, started: SystemTime, noted: &Noted) -> StatementTrace {
        let ended = SystemTime::now();
        StatementTrace {
            pid: self.pid,
            user: self.user.clone(),
            database: self.database.clone(),
            text: self.text.clone(),
            started,
            ended,
            stages: noted.take(ended),
            rows: self.rows,
            files_read: self.files_read,
            bytes_read: self.work.bytes_read,
            spilled_bytes: self.spilled_bytes,
            memory_bytes_max: self.memory_bytes_max,
            error_code: self.error_code,
            error: self.error.clone(),
            parent: noted.parent.clone(),
        }
    }
}

fn result_too_large(most: String, setting: &str) -> Error {
    Error::new(ErrorKind::ConfigurationLimitExceeded, "the result is too large")
        .with_detail(format!("It has more than {most}; the limit is {setting}."))
        .with_hint("Ask for less, or aggregate.")
}

/// Bytes of the values of a batch, of which other batches may share the buffers.
fn value_bytes(batch: &RecordBatch) -> u64 {
    let bytes = |column: &dyn Array| -> usize {
        let views = |data: &ArrayData| data.len() * size_of::<u128>();
        if let Some(texts) = column.as_any().downcast_ref::<arrow::array::StringViewArray>() {
            return views(&texts.to_data()) + texts.total_buffer_bytes_used();
        }
        let data = column.to_data();
        data.get_slice_memory_size()
            .unwrap_or_else(|_| data.get_array_memory_size())
    };
    batch.columns().iter().map(|column| bytes(column.as_ref()) as u64).sum()
}
