//! Who runs and who waits.
//!
//! A statement that reads or writes tables takes a place; its session gives it back when the statement is done. There are so many
//! places on the server, and so many for each role. Who finds none waits, in a queue that is bounded for each role. A place that is
//! free goes to the role that has the fewest, of those that have as many to the one that was served longest ago, and of its statements to
//! the first: so one role's hundred statements delay another's by one, not by a hundred. A session holds one place at most, so none waits for itself.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use staffa_planner::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

/// The places of a server.
#[derive(Debug)]
pub(crate) struct Queue {
    /// `None`: as many as want to.
    places: Option<usize>,
    /// Held for a look-up or a change only, never while a place is handed over.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    taken_by: HashMap<String, usize>,
    /// When each role got its last place, counted in places; of roles that got one since nobody waited or ran.
    served: HashMap<String, u64>,
    places_given: u64,
    /// Those that came first are first.
    waiting: Vec<Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    role: String,
    places_of_role: Option<usize>,
    sender: oneshot::Sender<Place>,
}

/// The right to run, given back by dropping it.
#[derive(Debug)]
pub(crate) struct Place {
    queue: Arc<Queue>,
    role: String,
}

/// What asking for a place gives.
#[derive(Debug)]
pub(crate) enum Asked {
    Runs(Place),
    Waits(Waiting),
}

/// A statement in the queue, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    queue: Arc<Queue>,
    number: u64,
    place: oneshot::Receiver<Place>,
}

impl State {
    fn has_place(&self, places: Option<usize>, role: &str, places_of_role: Option<usize>) -> bool {
        places.is_none_or(|places| self.taken < places)
            && places_of_role.is_none_or(|places| self.taken_of(role) < places)
    }

    fn taken_of(&self, role: &str) -> usize {
        self.taken_by.get(role).copied().unwrap_or_default()
    }

    fn take(&mut self, role: &str) {
        self.taken += 1;
        *self.taken_by.entry(role.to_owned()).or_default() += 1;
        self.places_given += 1;
        self.served.insert(role.to_owned(), self.places_given);
    }

    fn give_back(&mut self, role: &str) {
        self.taken -= 1;
        if let Some(taken) = self.taken_by.get_mut(role) {
            *taken -= 1;
            if *taken == 0 {
                self.taken_by.remove(role);
            }
        }
        if self.taken == 0 && self.waiting.is_empty() {
            self.served.clear();
        }
    }

    /// Whose turn it is, if somebody may run now.
    fn next_turn(&mut self, places: Option<usize>) -> Option<Waiter> {
        let may_run = |waiter: &&(usize, &Waiter)| self.has_place(places, &waiter.1.role, waiter.1.places_of_role);
        let all = self.waiting.iter().enumerate();
        let all: Vec<(usize, &Waiter)> = all.collect();
        let (index, _) = all.iter().filter(may_run).min_by_key(|(_, waiter)| {
            let served = self.served.get(&waiter.role).copied().unwrap_or_default();
            (self.taken_of(&waiter.role), served, waiter.number)
        })?;
        let waiter = self.waiting.remove(*index);
        self.take(&waiter.role);
        Some(waiter)
    }
}

impl Queue {
    pub(crate) fn new(places: Option<usize>) -> Self {
        Self {
            places,
            state: Mutex::default(),
        }
    }

    /// Asks for a place for a statement of a role.
    ///
    /// # Errors
    /// Too many statements of the role wait already.
    pub(crate) fn ask(
        self: &Arc<Self>,
        role: &str,
        places_of_role: Option<usize>,
        waiting_max: usize,
    ) -> Result<Asked> {
        let mut state = self.state.lock();
        // Whoever waits may be waiting for its role's places only: it is passed by others then.
        if state.has_place(self.places, role, places_of_role) {
            state.take(role);
            return Ok(Asked::Runs(self.place(role.to_owned())));
        }
        let waiting = state.waiting.iter().filter(|waiter| waiter.role == role).count();
        if waiting >= waiting_max {
            let message = format!("too many statements of role \"{role}\" wait to run");
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, message)
                .with_detail(format!("{waiting} wait; the limit is staffa.max_queued."))
                .with_hint("Try again later."));
        }
        let (sender, place) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.waiting.push(Waiter {
            number,
            role: role.to_owned(),
            places_of_role,
            sender,
        });
        Ok(Asked::Waits(Waiting {
            queue: Arc::clone(self),
            number,
            place,
        }))
    }

    fn place(self: &Arc<Self>, role: String) -> Place {
        Place {
            queue: Arc::clone(self),
            role,
        }
    }

    /// Hands out what is free.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some(waiter) = self.state.lock().next_turn(self.places) else {
                return;
            };
            // Whoever has stopped waiting gives the place back at once, here: dropping it hands it out again.
            drop(waiter.sender.send(self.place(waiter.role)));
        }
    }

    /// How many statements have a place, and how many wait.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.taken, state.waiting.len())
    }
}

impl Waiting {
    /// Resolves with the place.
    pub(crate) async fn place(&mut self) -> Result<Place> {
        let gone = |_| Error::internal("the queue of statements is gone");
        (&mut self.place).await.map_err(gone)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue
            .state
            .lock()
            .waiting
            .retain(|waiter| waiter.number != self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.state.lock().give_back(&self.role);
        self.queue.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(asked: Result<Asked>) -> Place {
        match asked {
            Ok(Asked::Runs(place)) => place,
            other => panic!("it should run: {other:?}"),
        }
    }

    fn waits(asked: Result<Asked>) -> Waiting {
        match asked {
            Ok(Asked::Waits(waiting)) => waiting,
            other => panic!("it should wait: {other:?}"),
        }
    }

    fn has_come(waiting: &mut Waiting) -> Option<Place> {
        waiting.place.try_recv().ok()
    }

    #[test]
    fn the_role_that_has_least_is_next() {
        let queue = Arc::new(Queue::new(Some(2)));
        let ask = |role| queue.ask(role, None, 10);
        let (first, second) = (runs(ask("ann")), runs(ask("ann")));
        let mut third = waits(ask("ann"));
        let mut other = waits(ask("bob"));
        drop(first);
        let place = has_come(&mut other).expect("bob has none");
        assert!(has_come(&mut third).is_none());
        drop(second);
        assert!(has_come(&mut third).is_some());
        drop(place);
        assert_eq!(queue.lengths(), (0, 0));
    }

    #[test]
    fn roles_take_turns() {
        let queue = Arc::new(Queue::new(Some(1)));
        let ask = |role| queue.ask(role, None, 10);
        let running = runs(ask("ann"));
        let mut waiting: Vec<(&str, Waiting)> = Vec::new();
        for role in ["ann", "ann", "bob", "eve", "bob"] {
            waiting.push((role, waits(ask(role))));
        }
        let (mut running, mut order) = (Some(running), Vec::new());
        while !waiting.is_empty() {
            drop(running.take());
            let next = waiting.iter_mut().position(|(_, waiting)| {
                running = has_come(waiting);
                running.is_some()
            });
            order.push(waiting.remove(next.expect("somebody's turn")).0);
        }
        assert_eq!(order, ["bob", "eve", "ann", "bob", "ann"]);
    }

    #[test]
    fn a_role_has_its_own_places_and_its_queue_an_end() {
        let queue = Arc::new(Queue::new(None));
        let ask = |role| queue.ask(role, Some(1), 1);
        let first = runs(ask("ann"));
        let mut second = waits(ask("ann"));
        let refused = ask("ann").expect_err("the queue is full");
        assert_eq!(refused.kind(), ErrorKind::ConfigurationLimitExceeded);
        let _other = runs(ask("bob"));
        drop(first);
        assert!(has_come(&mut second).is_some());
    }

    #[test]
    fn whoever_stops_waiting_leaves_nothing_behind() {
        let queue = Arc::new(Queue::new(Some(1)));
        let first = runs(queue.ask("ann", None, 10));
        let gone = waits(queue.ask("ann", None, 10));
        let late = waits(queue.ask("ann", None, 10));
        drop(gone);
        assert_eq!(queue.lengths(), (1, 1));
        // The place has been handed over, and nobody takes it.
        drop(first);
        drop(late);
        assert_eq!(queue.lengths(), (0, 0));
        drop(runs(queue.ask("ann", None, 10)));
    }
}
