//! Rows of a running query, read batch by batch with backpressure.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt};
use staffa_catalog::CatalogSnapshot;
use staffa_planner::value::FormatSettings;
use staffa_planner::{CatalogView, Error, KeptRows, Lease, Operators, OutputColumn, QueryPlan, Result, name_files};
use tokio::sync::mpsc;

use crate::cancel::{Canceller, StatementGuard};
use crate::cpu::{Lanes, Task};
use crate::outcome::CommandTag;
use crate::portal::{Pattern, PortalRows};
use crate::register::{End, Running, Sent};
use crate::results::{Answer, Collecting};

/// Batches that may wait between the operators and a slow reader.
const BATCHES_WAITING_MAX: usize = 2;

/// The rows of a query. Each [`next`](RowStream::next) gives a batch; dropping the stream stops the query.
pub struct RowStream {
    columns: Arc<[OutputColumn]>,
    schema: SchemaRef,
    words: &'static str,
    source: Source,
    guard: StatementGuard,
    canceller: Canceller,
    /// The state the rows come from: none of its files is deleted while they are read.
    _pin: Option<Arc<CatalogSnapshot>>,
    /// Accounts for rows in memory that are read.
    _kept: Vec<MemoryReservation>,
    /// Gives the operators back for the next run when this one is of no interest any more.
    _lease: Option<Lease>,
    /// The names of objects, where columns show them.
    catalog: Option<Arc<CatalogView>>,
    /// Rows of a cursor that was declared BINARY.
    binary: bool,
    /// The statement whose result it is.
    counted: Option<Counted>,
    /// With what others gave of the same rows.
    sent: Arc<Sent>,
}

/// A statement whose result is read.
struct Counted(Arc<Running>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.end_if_left(End::Finished(None));
    }
}

/// Rows that are all there, and more than once to be read.
#[derive(Clone, Debug)]
pub(crate) struct ReturnedBatches {
    pub(crate) batches: Arc<[RecordBatch]>,
    /// Whether the statement says in which order they come.
    pub(crate) ordered: bool,
}

/// The rows of RETURNING.
struct Returned {
    rows: ReturnedBatches,
    next: usize,
    /// Accounts for the rows.
    memory: Vec<MemoryReservation>,
}

/// Operators, and where they run.
struct Planned {
    lanes: Lanes,
    is_short: bool,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// Where the rows are wanted once more.
    collecting: Option<Collecting>,
}

impl Planned {
    fn start(self) -> Source {
        let Planned {
            lanes,
            is_short,
            plan,
            context,
            mut collecting,
        } = self;
        let (sender, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let work = async move {
            let mut stream: SendableRecordBatchStream = execute_stream(Arc::clone(&plan), context)?;
            while let Some(batch) = stream.next().await {
                // A receiver that is gone has dropped this task too; nothing is left to tell anybody.
                let batch = batch.map_err(|error| name_files(error.into(), &plan));
                collecting = match &batch {
                    Ok(batch) => collecting.and_then(|collecting| collecting.add(batch)),
                    Err(_) => None,
                };
                if let (Some(collecting), 0) = (&mut collecting, sender.capacity()) {
                    collecting.is_held_up();
                }
                if sender.send(batch).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(collecting) = collecting {
                collecting.keep(plan.schema());
            }
            Ok(())
        };
        let task = match is_short {
            true => lanes.spawn_short(work),
            false => lanes.long().spawn(work),
        };
        Source::Running { batches, task }
    }
}

enum Source {
    /// Not started.
    Planned(Box<Planned>),
    Running {
        batches: mpsc::Receiver<Result<RecordBatch>>,
        task: Task<()>,
    },
    Ready(std::vec::IntoIter<RecordBatch>),
    Returned(Returned),
    Answered {
        answer: Answer,
        next: usize,
    },
    Portal(PortalRows),
    Ended,
}

impl fmt::Debug for RowStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl RowStream {
    /// Operators to run on the lane that is theirs. They start when its first batch is asked for, or by [`started`](Self::started).
    pub(crate) fn planned(
        lanes: &Lanes,
        operators: Operators,
        context: Arc<TaskContext>,
        columns: Vec<OutputColumn>,
        guard: StatementGuard,
        canceller: Canceller,
        pin: Arc<CatalogSnapshot>,
    ) -> Self {
        let schema = operators.plan.schema();
        let source = Source::Planned(Box::new(Planned {
            lanes: lanes.clone(),
            is_short: operators.is_short,
            plan: operators.plan,
            context,
            collecting: None,
        }));
        Self {
            columns: columns.into(),
            schema,
            words: "SELECT",
            source,
            guard,
            canceller,
            _pin: Some(pin),
            _kept: Vec::new(),
            _lease: operators.lease,
            catalog: None,
            binary: false,
            counted: None,
            sent: Arc::default(),
        }
    }

    /// With its rows kept as an answer when they have all come.
    pub(crate) fn collected(mut self, collecting: Collecting) -> Self {
        if let Source::Planned(planned) = &mut self.source {
            planned.collecting = Some(collecting);
        }
        self
    }

    /// The rows of a query that was asked before.
    pub(crate) fn answered(query: &QueryPlan, answer: Answer, guard: StatementGuard, canceller: Canceller) -> Self {
        Self {
            columns: query.columns.as_slice().into(),
            schema: Arc::clone(&answer.schema),
            words: "SELECT",
            source: Source::Answered { answer, next: 0 },
            guard,
            canceller,
            _pin: None,
            _kept: Vec::new(),
            _lease: None,
            catalog: None,
            binary: false,
            counted: None,
            sent: Arc::default(),
        }
    }

    /// Starts now, so that rows are there when they are asked for.
    pub(crate) fn started(mut self) -> Self {
        self.start();
        self
    }

    fn start(&mut self) {
        self.source = match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Planned(planned) => planned.start(),
            other => other,
        };
    }

    /// Rows of a portal.
    pub(crate) fn of_portal(
        pattern: &Pattern,
        words: &'static str,
        rows: PortalRows,
        guard: StatementGuard,
        canceller: Canceller,
    ) -> Self {
        Self {
            columns: Arc::clone(&pattern.columns),
            schema: Arc::clone(&pattern.schema),
            words,
            source: Source::Portal(rows),
            guard,
            canceller,
            _pin: None,
            _kept: Vec::new(),
            _lease: None,
            catalog: pattern.catalog.clone(),
            binary: pattern.binary,
            counted: None,
            sent: Arc::clone(&pattern.sent),
        }
    }

    /// What other streams of the same rows are made of.
    pub(crate) fn pattern(&self, binary: bool) -> Pattern {
        Pattern {
            columns: Arc::clone(&self.columns),
            schema: Arc::clone(&self.schema),
            words: self.words,
            binary,
            catalog: self.catalog.clone(),
            sent: Arc::default(),
        }
    }

    /// Goes on in another statement: within its time, and until that one is stopped.
    pub(crate) fn continue_in(&mut self, guard: &StatementGuard) {
        self.guard = guard.clone();
    }

    /// Whether a simple query sends its values in their binary form: FETCH from a cursor that was declared so.
    pub fn is_binary(&self) -> bool {
        self.binary
    }

    /// Rows that are there already: SHOW, EXPLAIN.
    pub(crate) fn ready(
        words: &'static str,
        columns: Vec<OutputColumn>,
        batch: RecordBatch,
        guard: StatementGuard,
        canceller: Canceller,
    ) -> Self {
        let schema = batch.schema();
        let source = Source::Ready(vec![batch].into_iter());
        Self {
            columns: columns.into(),
            schema,
            words,
            source,
            guard,
            canceller,
            _pin: None,
            _kept: Vec::new(),
            _lease: None,
            catalog: None,
            binary: false,
            counted: None,
            sent: Arc::default(),
        }
    }

    /// What RETURNING gives of a statement that is done.
    pub(crate) fn returned(
        words: &'static str,
        columns: Vec<OutputColumn>,
        schema: SchemaRef,
        batches: Arc<[RecordBatch]>,
        memory: Vec<MemoryReservation>,
        guard: StatementGuard,
        canceller: Canceller,
    ) -> Self {
        let source = Source::Returned(Returned {
            rows: ReturnedBatches {
                batches,
                ordered: false,
            },
            next: 0,
            memory,
        });
        Self {
            columns: columns.into(),
            schema,
            words,
            source,
            guard,
            canceller,
            _pin: None,
            _kept: Vec::new(),
            _lease: None,
            catalog: None,
            binary: false,
            counted: None,
            sent: Arc::default(),
        }
    }

    /// Reads all rows of a query now: they are told as those of RETURNING are. `ordered`: in an order that it asks for.
    pub(crate) async fn read_all(mut self, memory: &Arc<dyn MemoryPool>, ordered: bool) -> Result<Self> {
        let memory = MemoryConsumer::new("WITH").register(memory);
        let mut kept = KeptRows::default();
        while let Some(batch) = self.next().await {
            kept.add(batch?, &memory)?;
        }
        self.source = Source::Returned(Returned {
            rows: ReturnedBatches {
                batches: Arc::from(kept.finish()?),
                ordered,
            },
            next: 0,
            memory: vec![memory],
        });
        Ok(self)
    }

    /// Keeps what accounts for the memory of rows that this reads as long as itself.
    pub(crate) fn keeping(mut self, memory: Vec<MemoryReservation>) -> Self {
        self._kept = memory;
        self
    }

    /// What [`read_all`](Self::read_all) has read, and what accounts for it.
    pub(crate) fn into_returned(self) -> (Vec<RecordBatch>, Vec<MemoryReservation>) {
        match self.source {
            Source::Returned(returned) => (returned.rows.batches.to_vec(), returned.memory),
            _ => (Vec::new(), Vec::new()),
        }
    }

    /// All rows, if they are those of RETURNING: the statement behind them is done.
    pub(crate) fn all_returned(&self) -> Option<ReturnedBatches> {
        match &self.source {
            Source::Returned(returned) => Some(returned.rows.clone()),
            _ => None,
        }
    }

    /// As the result of this statement.
    pub(crate) fn counted(mut self, running: Option<Arc<Running>>) -> Self {
        self.counted = running.map(Counted);
        self
    }

    /// Whether it is the result of a statement, whose rows are still to come.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// With the names of objects.
    pub(crate) fn with_catalog(mut self, catalog: Option<Arc<CatalogView>>) -> Self {
        self.catalog = catalog;
        self
    }

    /// How its values are printed: as the session does, with the names of objects as they were when it began.
    pub fn format(&self, settings: &FormatSettings) -> FormatSettings {
        match &self.catalog {
            Some(catalog) => settings.clone().with_catalog(Some(Arc::clone(catalog))),
            None => settings.clone(),
        }
    }

    /// The columns as a Postgres user sees them: names (maybe duplicate) and SQL types.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// The Arrow schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch, which may be empty; `None` at the end. After an error the stream has ended.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.start();
        let item = match &mut self.source {
            Source::Ended | Source::Planned(_) => None,
            Source::Portal(rows) => rows.next().await,
            Source::Ready(batches) => batches.next().map(Ok),
            Source::Returned(returned) => {
                let batch = returned.rows.batches.get(returned.next).cloned();
                returned.next += 1;
                batch.map(Ok)
            }
            Source::Answered { answer, next } => {
                let batch = answer.batches.get(*next).cloned();
                *next += 1;
                batch.map(Ok)
            }
            Source::Running { batches, task } => {
                self.canceller.activate(&self.guard);
                tokio::select! {
                    biased;
                    error = self.guard.stopped() => Some(Err(error)),
                    item = batches.recv() => match item {
                        Some(item) => Some(item),
                        // The channel closes before the task's result is known: an early end is an error or a panic.
                        None => task.await.err().map(Err),
                    },
                }
            }
        };
        let item = match (item, &self.counted) {
            (Some(Ok(batch)), Some(Counted(running))) => Some(running.sends(&batch, &self.sent).map(|()| batch)),
            (item, _) => item,
        };
        if !matches!(item, Some(Ok(_))) {
            self.source = Source::Ended;
        }
        if let Some(Err(error)) = &item {
            self.fail(error);
        }
        item
    }

    /// For one who takes long with a batch: an error when the query was stopped meanwhile. What RETURNING gives is of a statement that is
    /// done, and stops no more.
    pub fn check(&self) -> Result<()> {
        match self.source {
            Source::Running { .. } | Source::Portal(_) | Source::Answered { .. } => {
                self.guard.check().inspect_err(|error| self.fail(error))
            }
            _ => Ok(()),
        }
    }

    fn fail(&self, error: &Error) {
        if let Some(Counted(running)) = &self.counted {
            running.end_if_left(End::Failed(None, error.message()));
        }
    }

    /// The tag to send after `rows` rows were read.
    pub fn tag(&self, rows: u64) -> CommandTag {
        match self.words {
            words @ ("SELECT" | "INSERT 0" | "UPDATE" | "DELETE" | "MERGE" | "FETCH") => {
                CommandTag::counted(words, rows)
            }
            words => CommandTag::plain(words),
        }
    }

    /// Reads everything; for results known to be small.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut all = Vec::new();
        while let Some(batch) = self.next().await {
            all.push(batch?);
        }
        Ok(all)
    }

    /// The same rows as a [`Stream`], for combinators.
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch>> + Send {
        futures::stream::unfold(self, |mut rows| async move {
            let item = rows.next().await?;
            Some((item, rows))
        })
    }
}
