//! Stopping what a session runs, from another task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use staffa_planner::{Error, ErrorKind, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Stops the statement its session is running. Cheap to clone; harmless when nothing runs.
#[derive(Clone, Debug, Default)]
pub struct Canceller {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The statement that runs, or the last one of what the client asked for; `None` while it asks for nothing.
    current: Mutex<Option<StatementGuard>>,
    /// A statement that is run again: those that start meanwhile are parts of it.
    held: Mutex<Option<StatementGuard>>,
    /// Set once, by [`Canceller::terminate`]: every later statement fails too.
    terminated: CancellationToken,
}

impl Canceller {
    /// Ends the running statement with `canceling statement due to user request`.
    pub fn cancel(&self) {
        if let Some(guard) = &*self.shared.current.lock() {
            guard.stop(Cause::User);
        }
    }

    /// Ends the running statement, and all later ones, as an administrator's shutdown does.
    pub fn terminate(&self) {
        self.shared.terminated.cancel();
        if let Some(guard) = &*self.shared.current.lock() {
            guard.stop(Cause::Shutdown);
        }
    }

    /// Ends the running statement because the server runs out of memory.
    pub(crate) fn give_up_memory(&self) {
        if let Some(guard) = &*self.shared.current.lock() {
            guard.stop(Cause::Memory);
        }
    }

    /// Resolves when [`terminate`](Self::terminate) was called.
    pub async fn terminated(&self) {
        self.shared.terminated.cancelled().await;
    }

    pub(crate) fn start_statement(&self, deadline: Option<Instant>) -> Result<StatementGuard> {
        if self.shared.terminated.is_cancelled() {
            return Err(Cause::Shutdown.error());
        }
        let held = self.shared.held.lock().clone();
        let guard = held.unwrap_or_else(|| StatementGuard {
            token: CancellationToken::new(),
            cause: Arc::new(AtomicU8::new(0)),
            noticed: Arc::default(),
            deadline,
        });
        if let Some(missed) = self.current().and_then(|last| last.missed()) {
            guard.stop(missed);
        }
        self.activate(&guard);
        // Asked again: `terminate` may have looked for a running statement just before this one was there.
        if self.shared.terminated.is_cancelled() {
            return Err(Cause::Shutdown.error());
        }
        Ok(guard)
    }

    /// The client has its answer, and asks for nothing: cancelling hits nobody.
    pub(crate) fn rest(&self) {
        *self.shared.current.lock() = None;
    }

    /// The statement that runs, or the last one that did.
    pub(crate) fn current(&self) -> Option<StatementGuard> {
        self.shared.current.lock().clone()
    }

    /// Until what is given is dropped, statements that start have the deadline of this one, and are stopped with it.
    pub(crate) fn hold(&self, guard: Option<&StatementGuard>) -> Held {
        *self.shared.held.lock() = guard.cloned();
        Held(self.clone())
    }

    /// Makes this statement the one that [`Canceller::cancel`] hits: a suspended portal that is read again.
    pub(crate) fn activate(&self, guard: &StatementGuard) {
        *self.shared.current.lock() = Some(guard.clone());
    }
}

/// See [`Canceller::hold`].
pub(crate) struct Held(Canceller);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.shared.held.lock() = None;
    }
}

/// One running statement's end: its token, its deadline, and why it was stopped.
#[derive(Clone, Debug)]
pub(crate) struct StatementGuard {
    token: CancellationToken,
    cause: Arc<AtomicU8>,
    /// Somebody has the error.
    noticed: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Cause {
    User = 1,
    Shutdown = 2,
    Memory = 3,
}

impl Cause {
    fn error(self) -> Error {
        match self {
            Cause::User => Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request"),
            Cause::Shutdown => Error::new(
                ErrorKind::AdminShutdown,
                "terminating connection due to administrator command",
            ),
            Cause::Memory => Error::new(ErrorKind::OutOfMemory, "out of memory")
                .with_detail("The server ran out of memory, and this statement held most of it.")
                .with_hint("Use a smaller query, or run fewer at a time."),
        }
    }
}

fn timed_out() -> Error {
    Error::new(ErrorKind::QueryCanceled, "canceling statement due to statement timeout")
}

impl StatementGuard {
    fn stop(&self, cause: Cause) {
        self.cause.store(cause as u8, Ordering::SeqCst);
        self.token.cancel();
    }

    /// The stop that came when no part of the statement looked: after it was planned, before it ran.
    fn missed(&self) -> Option<Cause> {
        match self.token.is_cancelled() && !self.noticed.load(Ordering::SeqCst) {
            true => Some(self.stopped_by()),
            false => None,
        }
    }

    fn stopped_by(&self) -> Cause {
        match self.cause.load(Ordering::SeqCst) {
            2 => Cause::Shutdown,
            3 => Cause::Memory,
            _ => Cause::User,
        }
    }

    /// Resolves with the error to report when the statement must stop; never resolves otherwise.
    pub(crate) async fn stopped(&self) -> Error {
        let timeout = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => self.stop_noticed(),
            () = timeout => timed_out(),
        }
    }

    /// The error to report if the statement must stop now.
    pub(crate) fn check(&self) -> Result<()> {
        if self.token.is_cancelled() {
            return Err(self.stop_noticed());
        }
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => Err(timed_out()),
            _ => Ok(()),
        }
    }

    fn stop_noticed(&self) -> Error {
        self.noticed.store(true, Ordering::SeqCst);
        self.stopped_by().error()
    }

    /// Runs `work` until it ends or the statement is stopped, whichever is first.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.stopped() => Err(error),
            result = work => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(guard: &StatementGuard) -> Result<()> {
        guard.run(async { Ok(()) }).await
    }

    #[tokio::test]
    async fn a_stop_between_two_parts_of_a_statement_is_not_lost() {
        let canceller = Canceller::default();
        let planning = canceller.start_statement(None).expect("a statement");
        outcome(&planning).await.expect("nobody stopped it yet");
        canceller.cancel();
        let running = canceller.start_statement(None).expect("a statement");
        let error = outcome(&running).await.expect_err("stopped before it ran");
        assert_eq!(error.kind(), ErrorKind::QueryCanceled);
        // Once is enough.
        let next = canceller.start_statement(None).expect("a statement");
        outcome(&next).await.expect("another statement");
    }

    #[tokio::test]
    async fn who_asks_for_nothing_is_not_stopped() {
        let canceller = Canceller::default();
        outcome(&canceller.start_statement(None).expect("a statement"))
            .await
            .expect("it runs");
        canceller.rest();
        canceller.cancel();
        let next = canceller.start_statement(None).expect("a statement");
        outcome(&next).await.expect("the cancel was for nobody");
    }
}
