//! The runtimes that plan and execute queries, apart from the one that serves the network.
//!
//! There is one for each: an operator that does not wait for a second delays other queries' operators, never their planning.
//!
//! Operators are CPU-bound and yield seldom; on a runtime of their own they cannot delay a login, a cancel request or a
//! health check. Its threads have large stacks, since planning recurses with the depth of the statement.

use std::sync::Arc;

use staffa_planner::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Stack of a worker thread. Planning a statement at the depth limit of the parser needs about 6 MiB in a debug build.
const THREAD_STACK_BYTES: usize = 32 << 20;

/// A handle to the runtime; the last one dropped shuts it down without waiting.
#[derive(Clone, Debug)]
pub(crate) struct CpuRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Dropping a runtime inside another runtime's task would panic; this form does not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl CpuRuntime {
    pub(crate) fn start(name: &'static str, threads: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(
                    ErrorKind::InternalError,
                    format!("could not start worker threads: {error}"),
                )
            })?;
        Ok(Self {
            inner: Arc::new(Inner {
                handle: runtime.handle().clone(),
                runtime: Some(runtime),
            }),
        })
    }

    /// Runs a future here and waits for it. Dropping the wait aborts the future; its panic becomes an error.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.spawn(work).await
    }

    /// Starts a future here, aborted when the task's handle is dropped.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Task<T> {
        Task {
            handle: self.inner.handle.spawn(work),
        }
    }
}

/// A future running on the CPU runtime.
#[derive(Debug)]
pub(crate) struct Task<T> {
    handle: JoinHandle<Result<T>>,
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<T>> {
        std::pin::Pin::new(&mut self.handle)
            .poll(cx)
            .map(|joined| match joined {
                Ok(result) => result,
                Err(error) if error.is_panic() => {
                    // The panic hook has logged message and backtrace; the client learns only that it was ours.
                    Err(Error::internal(
                        "the statement failed because of an internal error; the server's log has more",
                    ))
                }
                Err(_) => Err(Error::new(ErrorKind::AdminShutdown, "the warehouse is shutting down")),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_work_alone() {
        let cpu = CpuRuntime::start("staffa-test", 1).expect("a thread");
        let other = cpu.spawn(async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            Ok(7)
        });
        let failed = cpu.run::<()>(async { panic!("a defect") });
        let error = failed.await.expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::InternalError);
        assert!(!error.message().contains("a defect"), "{error}");
        assert_eq!(other.await.expect("not touched"), 7);
        assert_eq!(cpu.run(async { Ok(8) }).await.expect("the thread goes on"), 8);
    }
}
