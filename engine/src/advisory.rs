//! Advisory locks: names that sessions of one server agree on, exclusive or shared, each held as often as it was taken.
//!
//! Who comes first is served first: nobody passes one that waits for the same lock in another way. A wait that would close a
//! circle is refused.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use staffa_planner::{AdvisoryKey, AdvisoryLock, Error, ErrorKind, Result};
use tokio::sync::Notify;

/// What one session may hold: each look-up passes all that are held.
const HELD_MAX: usize = 10_000;

/// The locks of one server.
#[derive(Debug, Default)]
pub(crate) struct AdvisoryLocks {
    /// Held for a look-up or a change, never across an await.
    state: Mutex<State>,
    /// Told when a lock is given back, or a wait given up.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<Held>,
    /// In the order of their coming.
    waiting: Vec<Waiting>,
    next_ticket: u64,
}

/// A lock belongs to the database of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    database: Arc<str>,
    key: AdvisoryKey,
}

#[derive(Debug)]
struct Held {
    name: Name,
    owner: i32,
    shared: bool,
    /// `Some`: until the end of the transaction, or of what followed as many savepoints.
    level: Option<usize>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    name: Name,
    owner: i32,
    shared: bool,
}

impl State {
    /// Who keeps a session from having a lock: holders, and those that have waited longer than `ticket`.
    fn in_the_way(&self, name: &Name, owner: i32, shared: bool, ticket: u64) -> HashSet<i32> {
        let conflicts = |other: &Name, other_owner: i32, other_shared: bool| {
            other == name && other_owner != owner && !(shared && other_shared)
        };
        let held = self
            .held
            .iter()
            .filter(|held| conflicts(&held.name, held.owner, held.shared));
        let owns_it = self.held.iter().any(|held| held.owner == owner && held.name == *name);
        let before = self.waiting.iter().filter(|waiting| {
            // One that has the lock already would wait for those that wait for it.
            !owns_it && waiting.ticket < ticket && conflicts(&waiting.name, waiting.owner, waiting.shared)
        });
        held.map(|held| held.owner)
            .chain(before.map(|waiting| waiting.owner))
            .collect()
    }

    fn take(&mut self, lock: Held) -> Result<()> {
        let held = self.held.iter().filter(|held| held.owner == lock.owner).count();
        if held >= HELD_MAX {
            let hint = format!("A session may hold {HELD_MAX} advisory locks.");
            return Err(Error::new(ErrorKind::OutOfMemory, "out of shared memory").with_hint(hint));
        }
        self.held.push(lock);
        Ok(())
    }

    /// Whether whoever is in the way of a waiter waits for it, in the end.
    fn closes_a_circle(&self, ticket: u64) -> bool {
        let Some(first) = self.waiting.iter().find(|waiting| waiting.ticket == ticket) else {
            return false;
        };
        let mut seen = HashSet::new();
        let mut next: Vec<i32> = self.blockers(first).into_iter().collect();
        while let Some(owner) = next.pop() {
            if owner == first.owner {
                return true;
            }
            if seen.insert(owner) {
                let theirs = self.waiting.iter().filter(|waiting| waiting.owner == owner);
                next.extend(theirs.flat_map(|waiting| self.blockers(waiting)));
            }
        }
        false
    }

    fn blockers(&self, waiting: &Waiting) -> HashSet<i32> {
        self.in_the_way(&waiting.name, waiting.owner, waiting.shared, waiting.ticket)
    }
}

/// One session's side of them. What it holds goes with it.
#[derive(Debug)]
pub(crate) struct LockOwner {
    locks: Arc<AdvisoryLocks>,
    database: Arc<str>,
    owner: i32,
}

/// A place among those that wait, given up when it is dropped.
struct Place<'a> {
    owner: &'a LockOwner,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let locks = &self.owner.locks;
        locks
            .state
            .lock()
            .waiting
            .retain(|waiting| waiting.ticket != self.ticket);
        locks.changed.notify_waiters();
    }
}

impl LockOwner {
    pub(crate) fn new(locks: Arc<AdvisoryLocks>, database: &str, owner: i32) -> Self {
        Self {
            locks,
            database: Arc::from(database),
            owner,
        }
    }

    /// Takes a lock when nobody is in the way. `level` is how many savepoints there are.
    pub(crate) fn try_lock(&self, lock: AdvisoryLock, level: usize) -> Result<bool> {
        let mut state = self.locks.state.lock();
        let name = self.name(lock.key);
        let free = state.in_the_way(&name, self.owner, lock.shared, u64::MAX).is_empty();
        if free {
            state.take(self.held(name, lock, level))?;
        }
        Ok(free)
    }

    /// Waits for a lock, at most so long.
    pub(crate) async fn lock(&self, lock: AdvisoryLock, level: usize, patience: Option<Duration>) -> Result<()> {
        let wait = self.wait(lock, level);
        match patience {
            None => wait.await,
            Some(patience) => tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| {
                let message = "canceling statement due to lock timeout";
                Err(Error::new(ErrorKind::LockNotAvailable, message))
            }),
        }
    }

    async fn wait(&self, lock: AdvisoryLock, level: usize) -> Result<()> {
        if self.try_lock(lock, level)? {
            return Ok(());
        }
        let name = self.name(lock.key);
        let place = {
            let mut state = self.locks.state.lock();
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.push(Waiting {
                ticket,
                name: name.clone(),
                owner: self.owner,
                shared: lock.shared,
            });
            Place { owner: self, ticket }
        };
        loop {
            // Before the look, so that no change after it is missed.
            let changed = self.locks.changed.notified();
            {
                let mut state = self.locks.state.lock();
                if state
                    .in_the_way(&name, self.owner, lock.shared, place.ticket)
                    .is_empty()
                {
                    return state.take(self.held(name, lock, level));
                }
                if state.closes_a_circle(place.ticket) {
                    let message = "deadlock detected";
                    return Err(Error::new(ErrorKind::DeadlockDetected, message)
                        .with_detail("Sessions wait for each other's advisory locks."));
                }
            }
            changed.await;
        }
    }

    /// Gives a lock of the session back once; false when it has none.
    pub(crate) fn unlock(&self, key: AdvisoryKey, shared: bool) -> bool {
        let name = self.name(key);
        let mine = |held: &Held| {
            held.owner == self.owner && held.level.is_none() && held.shared == shared && held.name == name
        };
        let mut state = self.locks.state.lock();
        let found = state.held.iter().position(mine);
        if let Some(index) = found {
            state.held.swap_remove(index);
        }
        drop(state);
        self.locks.changed.notify_waiters();
        found.is_some()
    }

    /// Gives all locks of the session back; those of its transaction stay.
    pub(crate) fn unlock_all(&self) {
        self.release(|held| held.level.is_none());
    }

    /// The transaction is over, or what followed this many savepoints is undone.
    pub(crate) fn end_level(&self, level: usize) {
        self.release(|held| held.level.is_some_and(|made| made >= level));
    }

    /// There are only so many savepoints now.
    pub(crate) fn release_to(&self, level: usize) {
        let mut state = self.locks.state.lock();
        let mine = state.held.iter_mut().filter(|held| held.owner == self.owner);
        for made in mine.filter_map(|held| held.level.as_mut()) {
            *made = level.min(*made);
        }
    }

    fn release(&self, which: impl Fn(&Held) -> bool) {
        let mut state = self.locks.state.lock();
        let before = state.held.len();
        state.held.retain(|held| held.owner != self.owner || !which(held));
        let released = state.held.len() < before;
        drop(state);
        if released {
            self.locks.changed.notify_waiters();
        }
    }

    fn held(&self, name: Name, lock: AdvisoryLock, level: usize) -> Held {
        Held {
            name,
            owner: self.owner,
            shared: lock.shared,
            level: lock.transaction.then_some(level),
        }
    }

    fn name(&self, key: AdvisoryKey) -> Name {
        Name {
            database: Arc::clone(&self.database),
            key,
        }
    }
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        self.release(|_| true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(key: i64, shared: bool, transaction: bool) -> AdvisoryLock {
        AdvisoryLock {
            key: AdvisoryKey::One(key),
            shared,
            transaction,
        }
    }

    #[test]
    fn shared_locks_go_together_and_exclusive_ones_with_nobody() {
        let locks = Arc::new(AdvisoryLocks::default());
        let [a, b] = [1, 2].map(|owner| LockOwner::new(Arc::clone(&locks), "d", owner));
        assert!(a.try_lock(lock(1, true, false), 0).expect("room"));
        assert!(b.try_lock(lock(1, true, false), 0).expect("room"));
        assert!(!b.try_lock(lock(1, false, false), 0).expect("room"));
        assert!(a.unlock(AdvisoryKey::One(1), true));
        assert!(!a.unlock(AdvisoryKey::One(1), true));
        assert!(b.try_lock(lock(1, false, true), 2).expect("room"));
        b.end_level(3);
        assert!(!a.try_lock(lock(1, true, false), 0).expect("room"));
        b.end_level(2);
        assert!(a.try_lock(lock(1, true, false), 0).expect("room"));
        let other = LockOwner::new(Arc::clone(&locks), "e", 3);
        assert!(other.try_lock(lock(1, false, false), 0).expect("room"));
    }

    #[tokio::test]
    async fn waiting_in_a_circle_is_refused() {
        let locks = Arc::new(AdvisoryLocks::default());
        let [a, b] = [1, 2].map(|owner| Arc::new(LockOwner::new(Arc::clone(&locks), "d", owner)));
        assert!(a.try_lock(lock(1, false, false), 0).expect("room"));
        assert!(b.try_lock(lock(2, false, false), 0).expect("room"));
        let waiting = tokio::spawn({
            let a = Arc::clone(&a);
            async move { a.lock(lock(2, false, false), 0, None).await }
        });
        while locks.state.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let refused = b.lock(lock(1, false, false), 0, None).await;
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::DeadlockDetected));
        b.unlock_all();
        assert!(waiting.await.is_ok_and(|locked| locked.is_ok()));
        let late = b.lock(lock(2, true, false), 0, Some(Duration::from_millis(5))).await;
        assert_eq!(late.map_err(|error| error.kind()), Err(ErrorKind::LockNotAvailable));
        assert!(locks.state.lock().waiting.is_empty());
    }
}
