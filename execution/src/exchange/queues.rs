//! What lies between producers and consumers of an exchange.
//!
//! A producer waits while every consumer has something: if it waited for its own, two that wait for each other's rows would do so for ever. What a slow consumer has is therefore
//! not bounded; what memory has no room for is in temporary files.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::spill::spill_pool::{SpillPoolSink, spsc_channel};
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

/// What a producer does.
pub(super) type Work = Box<dyn FnOnce(Producer) -> BoxFuture<'static, Result<()>> + Send>;

/// Queues for so many consumers. The producers begin when the first consumer asks, and end when the last one is gone.
pub(super) fn queues(
    works: Vec<Work>,
    consumers: usize,
    manager: &SpillManager,
    context: &TaskContext,
) -> Vec<Consumer> {
    let file_bytes = context
        .session_config()
        .options()
        .execution
        .max_spill_file_size_bytes
        .get();
    let manager = Arc::new(manager.clone());
    let queues = Arc::new(Queues(Mutex::new(Inner {
        lanes: (0..consumers).map(|_| Lane::default()).collect(),
        producers: works.len(),
        blocked: Vec::new(),
    })));
    // Of each producer its ends to all consumers.
    let mut ends: Vec<Vec<SendEnd>> = works.iter().map(|_| Vec::with_capacity(consumers)).collect();
    let producers = Arc::new(Mutex::new(Producers::Waiting(Vec::new())));
    let consumer = |lane| {
        let memory = MemoryConsumer::new(format!("Exchange to [{lane}]"))
            .with_can_spill(true)
            .register(context.memory_pool());
        let memory = Arc::new(memory);
        let spilled = ends.iter_mut().map(|ends| {
            let (spill, spilled) = spsc_channel(file_bytes, Arc::clone(&manager));
            ends.push(SendEnd {
                memory: Arc::clone(&memory),
                spill,
            });
            spilled
        });
        Consumer {
            spilled: spilled.collect(),
            producers: Arc::clone(&producers),
            queues: Arc::clone(&queues),
            lane,
            memory: Arc::clone(&memory),
        }
    };
    let consumers = (0..consumers).map(consumer).collect();
    let waiting = works.into_iter().zip(ends).enumerate().map(|(number, (work, ends))| {
        let queues = Arc::clone(&queues);
        (work, Producer { number, queues, ends })
    });
    *producers.lock() = Producers::Waiting(waiting.collect());
    consumers
}

struct Queues(Mutex<Inner>);

struct Inner {
    lanes: Vec<Lane>,
    /// Those that have not ended.
    producers: usize,
    /// Producers that wait for a consumer that has nothing.
    blocked: Vec<Waker>,
}

/// What a consumer has.
#[derive(Default)]
struct Lane {
    entries: VecDeque<Entry>,
    waiting: Option<Waker>,
    /// The consumer is gone.
    is_closed: bool,
}

enum Entry {
    /// A batch, and the memory that is counted for it.
    Memory(RecordBatch, usize),
    /// The next one of a producer's files.
    Spilled {
        producer: usize,
    },
    Failed(DataFusionError),
}

impl Lane {
    fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

impl Inner {
    fn wake_producers(&mut self) {
        self.blocked.drain(..).for_each(Waker::wake);
    }
}

impl Queues {
    /// Waits until some consumer has nothing.
    fn poll_ready(&self, lane: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock();
        let is_waited_for = |lane: &Lane| !lane.is_closed && lane.entries.is_empty();
        if inner.lanes[lane].is_closed || inner.lanes.iter().any(is_waited_for) {
            return Poll::Ready(());
        }
        if !inner.blocked.iter().any(|waker| waker.will_wake(context.waker())) {
            inner.blocked.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// False: the consumer is gone.
    fn push(&self, lane: usize, entry: Entry) -> bool {
        let lane = &mut self.0.lock().lanes[lane];
        if !lane.is_closed {
            lane.push(entry);
        }
        !lane.is_closed
    }

    fn poll_entry(&self, lane: usize, context: &mut Context<'_>) -> Poll<Option<Entry>> {
        let mut inner = self.0.lock();
        let is_over = inner.producers == 0;
        let own = &mut inner.lanes[lane];
        let entry = own.entries.pop_front();
        if entry.is_none() && !is_over {
            own.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        if own.entries.is_empty() {
            inner.wake_producers();
        }
        Poll::Ready(entry)
    }

    /// A producer has ended.
    fn end(&self, result: Result<()>) {
        let mut inner = self.0.lock();
        inner.producers -= 1;
        if let Err(error) = result {
            let error = Arc::new(error);
            for lane in inner.lanes.iter_mut().filter(|lane| !lane.is_closed) {
                lane.push(Entry::Failed(DataFusionError::from(&error)));
            }
        }
        if inner.producers == 0 {
            inner.lanes.iter_mut().for_each(Lane::wake);
        }
    }

    fn close(&self, lane: usize) {
        let mut inner = self.0.lock();
        inner.lanes[lane].is_closed = true;
        let entries = std::mem::take(&mut inner.lanes[lane].entries);
        inner.wake_producers();
        drop(inner);
        drop(entries);
    }
}

/// One end: gives rows to all consumers.
pub(super) struct Producer {
    number: usize,
    queues: Arc<Queues>,
    /// Of each consumer.
    ends: Vec<SendEnd>,
}

/// Where a producer's rows for a consumer go. Files are the two's own: a reader of files that several write waits for the first of them, although rows are in another.
struct SendEnd {
    memory: Arc<MemoryReservation>,
    spill: SpillPoolSink,
}

impl Producer {
    /// Whether there is a consumer.
    pub(super) fn is_wanted(&self) -> bool {
        self.queues.0.lock().lanes.iter().any(|lane| !lane.is_closed)
    }

    /// Gives a consumer rows, when one of them has none. Rows for one that is gone are dropped.
    pub(super) async fn send(&self, lane: usize, batch: RecordBatch) -> Result<()> {
        poll_fn(|context| self.queues.poll_ready(lane, context)).await;
        let SendEnd { memory, spill } = &self.ends[lane];
        let bytes = batch.get_array_memory_size();
        match memory.try_grow(bytes) {
            Ok(()) => {
                if !self.queues.push(lane, Entry::Memory(batch, bytes)) {
                    memory.shrink(bytes);
                }
            }
            Err(_) => {
                spill.push_batch(&batch)?;
                let producer = self.number;
                self.queues.push(lane, Entry::Spilled { producer });
            }
        }
        Ok(())
    }
}

/// The other end: has a consumer's rows.
pub(super) struct Consumer {
    producers: Arc<Mutex<Producers>>,
    queues: Arc<Queues>,
    lane: usize,
    memory: Arc<MemoryReservation>,
    /// By each producer.
    spilled: Vec<SendableRecordBatchStream>,
}

enum Producers {
    Waiting(Vec<(Work, Producer)>),
    /// They end with the last consumer.
    Working {
        _tasks: Vec<SpawnedTask<()>>,
    },
}

impl Consumer {
    pub(super) async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.start_producers();
        match poll_fn(|context| self.queues.poll_entry(self.lane, context)).await? {
            Entry::Memory(batch, bytes) => {
                self.memory.shrink(bytes);
                Some(Ok(batch))
            }
            Entry::Spilled { producer } => {
                let batch = self.spilled[producer].next().await;
                Some(batch.unwrap_or_else(|| internal_err!("a temporary file of an exchange ends before its rows do")))
            }
            Entry::Failed(error) => Some(Err(error)),
        }
    }

    fn start_producers(&self) {
        let mut producers = self.producers.lock();
        if let Producers::Waiting(waiting) = &mut *producers {
            let tasks = waiting.drain(..).map(|(work, producer)| {
                let queues = Arc::clone(&producer.queues);
                // One task waits for the other, whose panics it hands on.
                SpawnedTask::spawn(async move {
                    let ended = SpawnedTask::spawn(work(producer)).join().await;
                    queues.end(ended.unwrap_or_else(|error| Err(DataFusionError::ExecutionJoin(Box::new(error)))));
                })
            });
            let _tasks = tasks.collect();
            *producers = Producers::Working { _tasks };
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.queues.close(self.lane);
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}
