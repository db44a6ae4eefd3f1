//! What the work of a statement is told from outside: that nobody waits for it any more, and whether there is memory for what it is about to make.
//!
//! Functions wait never, and the memory pool knows nothing of them: `replace` of ten megabytes may give ten gigabytes. What will be
//! long is asked for before it is made, while planning as well, where constants are computed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The memory that the process may still take.
pub trait Room: fmt::Debug + Send + Sync {
    /// Promises so many bytes, if there are so many.
    fn promise(&self, bytes: u64) -> bool;

    /// They are not needed any more, or are there and seen.
    fn release(&self, bytes: u64);
}

/// What the work of a statement is told from outside.
#[derive(Clone, Debug)]
pub struct Supervision {
    /// Set when nobody waits for it any more.
    pub abandoned: Arc<AtomicBool>,
    pub room: Arc<dyn Room>,
}

tokio::task_local! {
    pub(crate) static SUPERVISION: Supervision;
}

/// Runs planning or operators.
pub async fn supervised<T>(supervision: Supervision, work: impl Future<Output = T>) -> T {
    SUPERVISION.scope(supervision, work).await
}

/// What a function gives without asking, in bytes: a batch of texts that are not long.
const UNASKED_BYTES: u64 = 8 << 20;

/// Memory for what a function makes, until that is done.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    bytes: u64,
    room: Option<Arc<dyn Room>>,
}

impl Asked {
    /// For so many bytes in all. Fails when there are not so many, or when nobody waits for the result.
    pub(crate) fn for_bytes(bytes: u64) -> Result<Self> {
        let mut asked = Self::default();
        asked.grow_to(bytes)?;
        Ok(asked)
    }

    /// So many bytes in all from now on. What grows little by little asks seldom.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        if more <= UNASKED_BYTES {
            return Ok(());
        }
        check()?;
        let Ok(room) = SUPERVISION.try_with(|supervision| Arc::clone(&supervision.room)) else {
            return Ok(());
        };
        if !room.promise(more) {
            return Err(Error::new(ErrorKind::OutOfMemory, "out of memory")
                .with_detail(format!(
                    "A function would give {bytes} bytes, for which the server has no memory."
                ))
                .with_hint("Use a smaller query, or raise the memory limit of the server."));
        }
        self.bytes = bytes;
        self.room = Some(room);
        Ok(())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.release(self.bytes);
        }
    }
}

/// Fails when nobody waits for what this task makes.
pub(crate) fn check() -> Result<()> {
    match SUPERVISION.try_with(|supervision| supervision.abandoned.load(Ordering::Relaxed)) {
        // Nobody will read it.
        Ok(true) => Err(Error::new(
            ErrorKind::QueryCanceled,
            "canceling statement due to user request",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[derive(Debug)]
    struct Bytes(AtomicU64);

    impl Room for Bytes {
        fn promise(&self, bytes: u64) -> bool {
            let take = |free: u64| free.checked_sub(bytes);
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        }

        fn release(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn with(abandoned: &Arc<AtomicBool>) -> Supervision {
        Supervision {
            abandoned: Arc::clone(abandoned),
            room: Arc::new(Bytes(AtomicU64::new(u64::MAX))),
        }
    }

    #[tokio::test]
    async fn what_there_is_no_memory_for_is_refused_before_it_is_made() {
        let free = Arc::new(Bytes(AtomicU64::new(100 << 20)));
        let supervision = Supervision {
            abandoned: Arc::default(),
            room: Arc::clone(&free) as _,
        };
        supervised(supervision, async {
            let mut first = Asked::for_bytes(60 << 20).expect("there is so much");
            let second = Asked::for_bytes(60 << 20).err().expect("no more than 40 MiB are left");
            assert_eq!(second.kind(), ErrorKind::OutOfMemory);
            assert!(Asked::for_bytes(UNASKED_BYTES).is_ok(), "so little is always there");
            first.grow_to(90 << 20).expect("30 MiB more");
            assert_eq!(free.0.load(Ordering::Relaxed), 10 << 20);
            drop(first);
            assert_eq!(free.0.load(Ordering::Relaxed), 100 << 20);
        })
        .await;
        assert!(Asked::for_bytes(1 << 40).is_ok(), "outside of a statement");
    }

    #[tokio::test]
    async fn only_what_is_abandoned_ends() {
        assert!(check().is_ok(), "outside of a statement");
        let abandoned = Arc::new(AtomicBool::new(false));
        let work = async {
            assert!(check().is_ok());
            abandoned.store(true, Ordering::Relaxed);
            check()
        };
        let ended = supervised(with(&abandoned), work).await;
        assert_eq!(ended.expect_err("abandoned").kind(), ErrorKind::QueryCanceled);
        assert!(check().is_ok(), "the next statement");
    }
}
