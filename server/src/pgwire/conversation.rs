//! A logged-in client: take a message, act, reply, until somebody ends it (PostgreSQL 15, sections 55.2.2 to 55.2.10).

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use staffa::{Session, TransactionStatus};
use tokio::sync::mpsc;

use super::frame::{Frame, Incoming};
use super::message::Message;
use super::reply;
use super::report::{Failure, Report, Severity, Step};
use super::sqlstate::{IDLE_IN_TRANSACTION_SESSION_TIMEOUT, IDLE_SESSION_TIMEOUT};
use super::writer::Writer;
use crate::shutdown::{FAREWELL, Shutdown};

/// One client and its session. What each message does is in `simple`, `extended` and `copy`.
pub(crate) struct Conversation {
    pub(crate) session: Session,
    /// Filled by the reader task; closed when the client is gone.
    pub(crate) frames: mpsc::Receiver<Incoming>,
    pub(crate) writer: Writer,
    /// Names of prepared statements that are empty: the engine has no such statements.
    pub(crate) empty_statements: HashSet<String>,
    /// After an error in the extended protocol: everything is discarded until Sync.
    discarding: bool,
    shutdown: Shutdown,
    /// How long a client may be idle when its session sets no timeout of its own.
    idle_timeout: Option<Duration>,
}

impl Conversation {
    pub(crate) fn new(
        session: Session,
        frames: mpsc::Receiver<Incoming>,
        writer: Writer,
        shutdown: Shutdown,
        idle_timeout: Option<Duration>,
    ) -> Self {
        Self {
            session,
            frames,
            writer,
            empty_statements: HashSet::new(),
            discarding: false,
            shutdown,
            idle_timeout,
        }
    }

    /// Serves the client until the end, and closes its session.
    pub(crate) async fn run(mut self) {
        match self.serve().await {
            Ok(()) => tracing::debug!("client disconnected"),
            Err(Failure::Gone(error)) => tracing::debug!(%error, "client connection lost"),
            Err(Failure::Report(report)) => {
                // A statement that was stopped because its client left ends like one that an administrator stopped.
                if self.frames.is_closed() && !self.shutdown.is_requested() {
                    tracing::debug!("client left while its statement ran");
                } else {
                    tracing::info!(code = report.code, "connection ended: {}", report.message);
                }
                self.session.note_failed(Some(report.code), &report.message);
                reply::report(self.writer.buffer(), &report);
            }
        }
        // The client may not read any more, and what is open is rolled back whether it does or not.
        let told = tokio::time::timeout(FAREWELL, self.writer.close()).await;
        self.session.close().await;
        if matches!(told, Ok(Ok(()))) {
            // Until the client closes its direction, or until its last message is read: see `Reader::drain`.
            let mut frames = self.frames;
            let rest = async { while frames.recv().await.is_some() {} };
            let _ = tokio::time::timeout(FAREWELL, rest).await;
        }
    }

    async fn serve(&mut self) -> Step<()> {
        self.ready().await?;
        while let Some(incoming) = self.next().await? {
            let frame = match incoming {
                Incoming::Frame(frame) => frame,
                Incoming::Broken(report) => return Err(report.into()),
            };
            if self.discarding && frame.tag != b'S' {
                continue;
            }
            let tag = frame.tag;
            // A panic is a defect of ours; it ends this connection and no other.
            let handled = AssertUnwindSafe(self.handle(frame)).catch_unwind().await;
            match handled.unwrap_or_else(|panic| Err(panic_report(&*panic).into())) {
                Ok(()) => {}
                Err(Failure::Report(report)) if !report.is_fatal() => self.fail(tag, &report).await?,
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// The next message; `None` when the client is gone. FATAL when the server stops or the client idles too long.
    async fn next(&mut self) -> Step<Option<Incoming>> {
        let (limit, over) = match self.session.status() {
            TransactionStatus::Idle => {
                let limit = self
                    .session
                    .settings()
                    .timeout("idle_session_timeout")
                    .or(self.idle_timeout);
                (
                    limit,
                    (
                        IDLE_SESSION_TIMEOUT,
                        "terminating connection due to idle-session timeout",
                    ),
                )
            }
            TransactionStatus::InTransaction | TransactionStatus::Failed => {
                let limit = self.session.settings().timeout("idle_in_transaction_session_timeout");
                let text = "terminating connection due to idle-in-transaction timeout";
                (limit, (IDLE_IN_TRANSACTION_SESSION_TIMEOUT, text))
            }
        };
        let idle = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let terminated = self.session.canceller();
        tokio::select! {
            biased;
            // What the client has sent already is still done: it may be the end of a pipeline.
            incoming = self.frames.recv() => Ok(incoming),
            () = self.shutdown.requested() => Err(Report::shutdown().into()),
            // By pg_terminate_backend().
            () = terminated.terminated() => Err(Report::shutdown().into()),
            () = idle => Err(Report::with_code(Severity::Fatal, over.0, over.1).into()),
        }
    }

    async fn handle(&mut self, frame: Frame) -> Step<()> {
        let Frame { tag, body, window } = frame;
        // Left over from a COPY that failed: the client could not know that nobody listens any more.
        if matches!(tag, b'd' | b'c' | b'f') {
            return Ok(());
        }
        let message = Message::decode(tag, body)?;
        drop(window);
        match message {
            Message::Query(sql) => self.query(&sql).await,
            Message::Parse(parse) => self.parse(parse).await,
            Message::Bind(bind) => self.bind(bind).await,
            Message::Describe(target) => self.describe(&target).await,
            Message::Close(target) => self.close(&target).await,
            Message::Execute(execute) => self.execute(execute).await,
            Message::Flush => Ok(self.writer.flush().await?),
            Message::Sync => self.sync().await,
            Message::FunctionCall => Err(
                staffa::Error::unsupported("the function call protocol is not supported")
                    .with_hint("Use SELECT.")
                    .into(),
            ),
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
        }
    }

    /// Tells the client about an error in a message of this type and makes the transaction what it is after one.
    async fn fail(&mut self, tag: u8, report: &Report) -> Step<()> {
        self.session.note_failed(Some(report.code), &report.message);
        self.session.fail().await;
        self.write_notices();
        reply::report(self.writer.buffer(), report);
        if Message::is_extended(tag) {
            self.discarding = true;
            // At once, although the client asked for nothing yet: it may wait for the answer of a Flush.
            Ok(self.writer.flush().await?)
        } else {
            self.ready().await
        }
    }

    async fn sync(&mut self) -> Step<()> {
        self.discarding = false;
        let started = Instant::now();
        let done = self.session.end_implicit().await;
        // The statements have their lines already; what they wrote is committed here.
        self.log_end("COMMIT", started, done.is_ok().then_some(0));
        done?;
        self.ready().await
    }

    /// ReadyForQuery, after what changed since the last one; everything is sent.
    pub(crate) async fn ready(&mut self) -> Step<()> {
        let status = self.session.status();
        self.write_notices();
        for (name, value) in self.session.take_changed_parameters() {
            reply::parameter_status(self.writer.buffer(), name, &value);
        }
        self.session.note_waiting();
        reply::ready_for_query(self.writer.buffer(), status);
        Ok(self.writer.flush().await?)
    }

    pub(crate) fn write_notices(&mut self) {
        for notice in self.session.take_notices() {
            reply::report(self.writer.buffer(), &Report::from(notice));
        }
    }
}

fn panic_report(panic: &(dyn std::any::Any + Send)) -> Report {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("no text"), "a connection's task panicked");
    Report::fatal(staffa::ErrorKind::InternalError, "internal error")
        .hint("This is a defect of the server; its log says more.")
}
