//! The numbers of sequences: taken from the catalog database in stretches, and given from memory.
//!
//! What is left of a stretch when the server stops is never given: numbers have gaps, none comes twice.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use staffa_catalog::{Catalog, Sequence, SequenceState, Uuid};
use staffa_planner::{Error, Result, Sequences as Source};
use tokio::runtime::Handle;

/// Numbers taken at once, at least.
const STRETCH: i64 = 32;

/// All sequences of a warehouse.
#[derive(Debug)]
pub(crate) struct Sequences {
    catalog: Catalog,
    /// Where the catalog's database is asked: the runtime the warehouse was opened on.
    runtime: Handle,
    /// By counter. The lock is held while the database is asked, so that one of many waiters asks.
    stretches: Mutex<HashMap<Uuid, Stretch>>,
}

/// Steps that are this server's, and not given yet.
#[derive(Clone, Debug)]
struct Stretch {
    origin: Option<i64>,
    steps: Range<i64>,
}

impl Sequences {
    pub(crate) fn new(catalog: Catalog, runtime: Handle) -> Self {
        Self {
            catalog,
            runtime,
            stretches: Mutex::default(),
        }
    }

    /// The runtime the warehouse was opened on.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Asks the catalog and waits. Only for threads that run operators or plan: never on the runtime that is asked.
    fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = staffa_catalog::Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, answer) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = sender.send(question.await);
        });
        match answer.recv() {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::internal("the warehouse is being closed")),
        }
    }

    fn take(&self, sequence: &Sequence, count: i64) -> Result<SequenceState> {
        let mut stretches = self.stretches.lock();
        let known = stretches.get(&sequence.counter);
        let left = known.map_or(0, |stretch| stretch.steps.end - stretch.steps.start);
        if left < count {
            let wanted = count.max(sequence.cache).max(STRETCH);
            let (catalog, asked) = (self.catalog.clone(), sequence.clone());
            let state = self.ask(async move { catalog.take_numbers(&asked, wanted).await })?;
            // The rest of the old stretch goes on into a new one that follows it.
            let goes_on = |stretch: &&Stretch| {
                stretch.origin == state.origin && stretch.steps.end == state.taken && !stretch.steps.is_empty()
            };
            let start = known.filter(goes_on).map_or(state.taken, |stretch| stretch.steps.start);
            let stretch = Stretch {
                origin: state.origin,
                steps: start..state.taken + wanted,
            };
            stretches.insert(sequence.counter, stretch);
        }
        let stretch = stretches
            .get_mut(&sequence.counter)
            .ok_or_else(|| Error::internal("a stretch of numbers is gone"))?;
        let taken = stretch.steps.start;
        stretch.steps.start += count;
        Ok(SequenceState {
            origin: stretch.origin,
            taken,
        })
    }

    /// How far a sequence is: what this server holds of it is not given, if nobody took some since.
    pub(crate) async fn state(&self, sequence: &Sequence) -> staffa_catalog::Result<SequenceState> {
        let state = self.catalog.sequence_state(sequence).await?;
        Ok(self.without_held(sequence, state))
    }

    fn without_held(&self, sequence: &Sequence, state: SequenceState) -> SequenceState {
        match self.stretches.lock().get(&sequence.counter) {
            Some(held) if held.origin == state.origin && held.steps.end == state.taken => SequenceState {
                origin: state.origin,
                taken: held.steps.start,
            },
            _ => state,
        }
    }

    fn set(&self, sequence: &Sequence, number: i64, is_called: bool) -> Result<()> {
        let mut stretches = self.stretches.lock();
        let (catalog, asked) = (self.catalog.clone(), sequence.clone());
        self.ask(async move { catalog.set_sequence(&asked, number, is_called).await })?;
        stretches.remove(&sequence.counter);
        Ok(())
    }
}

/// The sequences of one session, which remembers the numbers it got.
pub(crate) struct SessionSequences {
    all: Arc<Sequences>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    numbers: HashMap<Uuid, i64>,
    last: Option<Uuid>,
}

impl SessionSequences {
    pub(crate) fn new(all: Arc<Sequences>) -> Self {
        Self {
            all,
            seen: Mutex::default(),
        }
    }

    /// `DISCARD SEQUENCES`
    pub(crate) fn forget(&self) {
        *self.seen.lock() = Seen::default();
    }
}

impl fmt::Debug for SessionSequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSequences")
            .field("all", &self.all)
            .finish_non_exhaustive()
    }
}

impl Source for SessionSequences {
    fn take(&self, sequence: &Sequence, count: i64) -> Result<SequenceState> {
        self.all.take(sequence, count)
    }

    fn state(&self, sequence: &Sequence) -> Result<SequenceState> {
        let (catalog, asked) = (self.all.catalog.clone(), sequence.clone());
        let state = self.all.ask(async move { catalog.sequence_state(&asked).await })?;
        Ok(self.all.without_held(sequence, state))
    }

    fn set(&self, sequence: &Sequence, number: i64, is_called: bool) -> Result<()> {
        self.all.set(sequence, number, is_called)
    }

    fn note(&self, sequence: Uuid, number: i64, used: bool) {
        let mut seen = self.seen.lock();
        seen.numbers.insert(sequence, number);
        if used {
            seen.last = Some(sequence);
        }
    }

    fn current(&self, sequence: Uuid) -> Option<i64> {
        self.seen.lock().numbers.get(&sequence).copied()
    }

    fn last(&self) -> Option<i64> {
        let seen = self.seen.lock();
        seen.numbers.get(&seen.last?).copied()
    }
}
