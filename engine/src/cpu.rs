//! The runtimes that plan and execute queries, apart from the one that serves the network.
//!
//! There is one for planning and two for operators: an operator that does not wait for a second delays other queries' operators, never their
//! planning; and those of short queries have threads of their own, to which the kernel gives the processors first. Whether a query is
//! short is an estimate. One that works longer goes on among the long ones.
//!
//! Operators are CPU-bound and yield seldom; on a runtime of their own they cannot delay a login, a cancel request or a
//! health check. Its threads have large stacks, since planning recurses with the depth of the statement.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use staffa_planner::{Error, ErrorKind, Result, Room, Supervision, stop_tasks_with_their_statements, supervised};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Stack of a worker thread. Planning a statement at the depth limit of the parser needs about 6 MiB in a debug build.
const THREAD_STACK_BYTES: usize = 32 << 20;

/// What a short query may work.
const SHORT_WORK_MAX: Duration = Duration::from_millis(20);

/// How much the threads of long queries stand back (`nice`): next to one of a short query they get a tenth of a processor.
const LONG_NICE: i32 = 10;

/// A handle to the runtime; the last one dropped shuts it down without waiting.
#[derive(Clone, Debug)]
pub(crate) struct CpuRuntime {
    inner: Arc<Inner>,
    /// For what functions make.
    room: Arc<dyn Room>,
    lingering: Lingering,
}

/// Work that nobody waits for, and that has not ended yet: it has not come to a place where it would.
#[derive(Clone, Debug, Default)]
struct Lingering(Arc<Mutex<Vec<Weak<AtomicBool>>>>);

impl Lingering {
    fn add(&self, abandoned: &Arc<AtomicBool>) {
        let mut works = self.0.lock();
        forget_ended(&mut works);
        works.push(Arc::downgrade(abandoned));
    }

    fn is_any(&self) -> bool {
        let mut works = self.0.lock();
        forget_ended(&mut works);
        !works.is_empty()
    }
}

/// Each task of a statement has the flag, and drops it when it ends.
fn forget_ended(works: &mut Vec<Weak<AtomicBool>>) {
    works.retain(|abandoned| abandoned.strong_count() > 0);
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
    pub(crate) fn start(name: &'static str, threads: usize, room: Arc<dyn Room>) -> Result<Self> {
        Self::start_with(name, threads, room, || {})
    }

    fn start_with(name: &'static str, threads: usize, room: Arc<dyn Room>, on_thread: fn()) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .thread_stack_size(THREAD_STACK_BYTES)
            .on_thread_start(on_thread)
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
            room,
            lingering: Lingering::default(),
        })
    }

    /// Runs a future here and waits for it. Dropping the wait aborts the future; its panic becomes an error.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.spawn(work).await
    }

    /// Whether something works here that nobody waits for any more.
    pub(crate) fn lingers(&self) -> bool {
        self.lingering.is_any()
    }

    /// Starts a future here, aborted when the task's handle is dropped.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Task<T> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let supervision = Supervision {
            abandoned: Arc::clone(&abandoned),
            room: Arc::clone(&self.room),
        };
        let work = supervised(supervision, work);
        Task {
            handle: self.inner.handle.spawn(work),
            abandoned,
            lingering: self.lingering.clone(),
        }
    }
}

/// Where operators run.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    short: CpuRuntime,
    long: CpuRuntime,
}

impl Lanes {
    pub(crate) fn start(threads: usize, room: &Arc<dyn Room>) -> Result<Self> {
        stop_tasks_with_their_statements();
        Ok(Self {
            short: CpuRuntime::start("staffa-short", threads, Arc::clone(room))?,
            long: CpuRuntime::start_with("staffa-cpu", threads, Arc::clone(room), stand_back)?,
        })
    }

    /// For work that is surely short, or for other work.
    pub(crate) fn of(&self, is_short: bool) -> &CpuRuntime {
        match is_short {
            true => &self.short,
            false => &self.long,
        }
    }

    /// Whether something works that nobody waits for any more.
    pub(crate) fn linger(&self) -> bool {
        self.short.lingers() || self.long.lingers()
    }

    /// For what is not known to be short.
    pub(crate) fn long(&self) -> &CpuRuntime {
        &self.long
    }

    /// Starts what should be short. When it has worked long it goes on among what is.
    pub(crate) fn spawn_short<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Task<T> {
        let long = self.long.clone();
        let work: Work<T> = Box::pin(work);
        self.short.spawn(async move {
            let begun = Short {
                work: Some(work),
                worked: Duration::ZERO,
            };
            match begun.await {
                Worked::Ended(result) => result,
                Worked::Long(rest) => long.spawn(rest).await,
            }
        })
    }
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Work until it ends, or has taken its time. Waiting costs nothing.
struct Short<T> {
    work: Option<Work<T>>,
    worked: Duration,
}

enum Worked<T> {
    Ended(Result<T>),
    Long(Work<T>),
}

impl<T> Future for Short<T> {
    type Output = Worked<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Worked<T>> {
        let Some(mut work) = self.work.take() else {
            return Poll::Pending;
        };
        let begun = Instant::now();
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(Worked::Ended(result));
        }
        self.worked += begun.elapsed();
        if self.worked > SHORT_WORK_MAX {
            return Poll::Ready(Worked::Long(work));
        }
        self.work = Some(work);
        Poll::Pending
    }
}

/// The calling thread gets less of the processors than others. Where that cannot be, lanes are equal.
fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        // A thread has its own priority on Linux, and 0 is the one that calls.
        #[expect(unsafe_code, reason = "the call takes numbers, and no memory of ours")]
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LONG_NICE) };
        if result != 0 {
            tracing::debug!("threads of long queries keep their priority");
        }
    }
}

/// A future running on the CPU runtime.
#[derive(Debug)]
pub(crate) struct Task<T> {
    handle: JoinHandle<Result<T>>,
    /// For planning, which never waits, and for tasks of operators, which would go before: aborting alone would not stop them.
    abandoned: Arc<AtomicBool>,
    lingering: Lingering,
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        // What one that has ended began may be what others of the statement wait for: both ends of an exchange are tasks.
        if !self.handle.is_finished() {
            self.abandoned.store(true, Ordering::Relaxed);
            self.lingering.add(&self.abandoned);
            self.handle.abort();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        Pin::new(&mut self.handle).poll(cx).map(|joined| match joined {
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
    use datafusion::common::runtime::SpawnedTask;

    use super::*;
    use crate::memory::meter::Meter;

    fn any_room() -> Arc<dyn Room> {
        Arc::new(Meter::new(u64::MAX))
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_work_alone() {
        let cpu = CpuRuntime::start("staffa-test", 1, any_room()).expect("a thread");
        let other = cpu.spawn(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(7)
        });
        let failed = cpu.run::<()>(async { panic!("a defect") });
        let error = failed.await.expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::InternalError);
        assert!(!error.message().contains("a defect"), "{error}");
        assert_eq!(other.await.expect("not touched"), 7);
        assert_eq!(cpu.run(async { Ok(8) }).await.expect("the thread goes on"), 8);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_known_until_it_ends() {
        let cpu = CpuRuntime::start("staffa-test", 1, any_room()).expect("a thread");
        let (begun, begin) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let task = cpu.spawn(async move {
            begun.send(()).expect("somebody waits");
            ended.recv().expect("told");
            Ok(())
        });
        begin.recv().expect("it begins");
        assert!(!cpu.lingers());
        drop(task);
        assert!(cpu.lingers());
        end.send(()).expect("it waits");
        while cpu.lingers() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_task_that_has_ended_leaves_others_what_it_began() {
        let lanes = Lanes::start(1, &any_room()).expect("two threads");
        let (begin, begun) = tokio::sync::oneshot::channel::<()>();
        let part = lanes.long().run(async {
            Ok(SpawnedTask::spawn(async {
                begun.await.expect("told");
                7
            }))
        });
        let part = part.await.expect("it ends");
        begin.send(()).expect("it waits");
        let ended = tokio::time::timeout(Duration::from_secs(10), part).await;
        assert_eq!(ended.expect("it works on").expect("it ends"), 7);
    }

    #[tokio::test]
    async fn what_works_long_goes_on_among_the_long() {
        let lanes = Lanes::start(1, &any_room()).expect("two threads");
        let thread = || std::thread::current().name().map(str::to_owned);
        let work = async move {
            let first = thread();
            let begun = Instant::now();
            while begun.elapsed() < SHORT_WORK_MAX * 2 {
                std::hint::black_box(0);
            }
            tokio::task::yield_now().await;
            Ok((first, thread()))
        };
        let names = lanes.spawn_short(work).await.expect("it ends");
        assert_eq!(names, (Some("staffa-short".to_owned()), Some("staffa-cpu".to_owned())));
        let waited = lanes.spawn_short(async move {
            tokio::time::sleep(SHORT_WORK_MAX * 2).await;
            Ok(thread())
        });
        assert_eq!(waited.await.expect("it ends"), Some("staffa-short".to_owned()));
    }
}
