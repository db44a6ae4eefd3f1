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
use staffa_planner::{Error, ErrorKind, Result, Sequences as Source};
use tokio::runtime::Handle;

/// Numbers taken at once, at least.
const STRETCH: i64 = 32;
/// At most so many at once for a `CACHE`: what a server holds when it stops is lost.
const CACHE_MAX: i64 = 1 << 20;
/// Of how many counters stretches are kept.
const COUNTERS_MAX: usize = 10_000;
/// How often a sequence is looked up again that others alter at the same time.
const LOOKUPS_MAX: usize = 10;

/// All sequences of a warehouse.
#[derive(Debug)]
pub(crate) struct Sequences {
    catalog: Catalog,
    /// Where the catalog's database is asked: the runtime the warehouse was opened on.
    runtime: Handle,
    /// What this server holds of each counter. Never locked for long, as that of each counter.
    counters: Mutex<HashMap<Uuid, Arc<Counter>>>,
}

#[derive(Debug, Default)]
struct Counter {
    /// Held while the database is asked, so that one of many waiters asks: only on threads that may be waited on.
    asking: Mutex<()>,
    held: Mutex<Option<Stretch>>,
}

/// Steps that are this server's, and not given yet.
#[derive(Clone, Debug)]
struct Stretch {
    origin: Option<i64>,
    steps: Range<i64>,
}

impl Stretch {
    fn state(&self) -> SequenceState {
        SequenceState {
            origin: self.origin,
            taken: self.steps.start,
        }
    }
}

impl Counter {
    /// Steps of the stretch, if it has as many.
    fn give(&self, count: i64) -> Option<SequenceState> {
        let mut held = self.held.lock();
        let stretch = held.as_mut()?;
        if stretch.steps.end - stretch.steps.start < count {
            return None;
        }
        let given = stretch.state();
        stretch.steps.start += count;
        Some(given)
    }

    /// Steps of a stretch that was just taken, from `state` on. The rest of the old one goes on into it if they are neighbours.
    fn give_of(&self, state: SequenceState, wanted: i64, count: i64) -> SequenceState {
        let mut held = self.held.lock();
        let goes_on =
            |old: &&Stretch| old.origin == state.origin && old.steps.end == state.taken && !old.steps.is_empty();
        let given = held.as_ref().filter(goes_on).map_or(state, Stretch::state);
        *held = Some(Stretch {
            origin: state.origin,
            steps: given.taken + count..state.taken + wanted,
        });
        given
    }
}

impl Sequences {
    pub(crate) fn new(catalog: Catalog, runtime: Handle) -> Self {
        Self {
            catalog,
            runtime,
            counters: Mutex::default(),
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

    fn counter(&self, id: Uuid) -> Arc<Counter> {
        let mut counters = self.counters.lock();
        if counters.len() >= COUNTERS_MAX && !counters.contains_key(&id) {
            // The rest of stretches that nobody is using now is not given: a gap. Dropped sequences go so, too.
            counters.retain(|_, counter| Arc::strong_count(counter) > 1);
        }
        Arc::clone(counters.entry(id).or_default())
    }

    fn take(&self, sequence: &Sequence, count: i64) -> Result<(Sequence, SequenceState)> {
        self.with_newest(sequence, |sequence| self.take_of(sequence, count))
    }

    /// `None` when the counter has ended.
    fn take_of(&self, sequence: &Sequence, count: i64) -> Result<Option<SequenceState>> {
        let counter = self.counter(sequence.counter);
        if let Some(given) = counter.give(count) {
            return Ok(Some(given));
        }
        let _asking = counter.asking.lock();
        // Whoever asked before may have left enough.
        if let Some(given) = counter.give(count) {
            return Ok(Some(given));
        }
        let wanted = count.max(sequence.cache.min(CACHE_MAX)).max(STRETCH);
        let (catalog, asked) = (self.catalog.clone(), sequence.clone());
        let state = self.ask(async move { catalog.take_numbers(&asked, wanted).await })?;
        Ok(state.map(|state| counter.give_of(state, wanted, count)))
    }

    fn set(&self, sequence: &Sequence, number: i64, is_called: bool) -> Result<()> {
        let set = |sequence: &Sequence| {
            let counter = self.counter(sequence.counter);
            let _asking = counter.asking.lock();
            let (catalog, asked) = (self.catalog.clone(), sequence.clone());
            let is_set = self.ask(async move { catalog.set_sequence(&asked, number, is_called).await })?;
            *counter.held.lock() = None;
            Ok(is_set.then_some(()))
        };
        self.with_newest(sequence, set).map(drop)
    }

    /// Does something with a sequence's counter. Where that has ended, as another transaction altered the sequence, with the
    /// one that goes on from it: numbers are outside of every transaction.
    fn with_newest<T>(
        &self,
        sequence: &Sequence,
        work: impl Fn(&Sequence) -> Result<Option<T>>,
    ) -> Result<(Sequence, T)> {
        let mut sequence = sequence.clone();
        for _ in 0..LOOKUPS_MAX {
            if let Some(done) = work(&sequence)? {
                return Ok((sequence, done));
            }
            let (catalog, id) = (self.catalog.clone(), sequence.id);
            let newest = self.ask(async move { catalog.snapshot().await?.sequence_with_id(id) })?;
            let Some((_, newest)) = newest else { break };
            sequence = newest;
        }
        let message = "could not serialize access due to concurrent update";
        Err(Error::new(ErrorKind::SerializationFailure, message)
            .with_detail("Another transaction altered or dropped the sequence."))
    }

    /// How far a sequence is: what this server holds of it is not given, if nobody took some since.
    pub(crate) async fn state(&self, sequence: &Sequence) -> staffa_catalog::Result<SequenceState> {
        let state = self.catalog.sequence_state(sequence).await?;
        Ok(self.without_held(sequence, state))
    }

    /// How far a sequence is, after what this server holds of it was given back.
    pub(crate) async fn settled_state(&self, sequence: &Sequence) -> staffa_catalog::Result<SequenceState> {
        let known = self.counters.lock().get(&sequence.counter).cloned();
        let held = known.and_then(|counter| counter.held.lock().take());
        if let Some(held) = held.filter(|held| !held.steps.is_empty()) {
            self.catalog.give_back(sequence, held.state(), held.steps.end).await?;
        }
        self.catalog.sequence_state(sequence).await
    }

    fn without_held(&self, sequence: &Sequence, state: SequenceState) -> SequenceState {
        let known = self.counters.lock().get(&sequence.counter).cloned();
        let held = known.and_then(|counter| counter.held.lock().clone());
        match held {
            Some(held) if held.origin == state.origin && held.steps.end == state.taken => held.state(),
            _ => state,
        }
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
    fn take(&self, sequence: &Sequence, count: i64) -> Result<(Sequence, SequenceState)> {
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
