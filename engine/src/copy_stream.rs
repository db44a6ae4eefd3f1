//! The two sides of COPY as a caller sees them: data pushed in, data read out.

use std::fmt;

use bytes::{Bytes, BytesMut};
use staffa_planner::value::Format;
use staffa_planner::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use crate::cancel::StatementGuard;
use crate::command::insert::Writing;
use crate::copy::CopyWriter;
use crate::outcome::CommandTag;
use crate::session::Session;
use crate::stream::RowStream;

/// Bytes of COPY data, and their end. Without the end the data is incomplete, and nothing of it is kept.
#[derive(Debug)]
pub(crate) enum Chunk {
    Data(Bytes),
    End,
    /// There is no more, for this reason, which is told back with the line where the data ended.
    Failed(Error, oneshot::Sender<Error>),
}

/// `COPY … FROM STDIN` under way. Push data, then [`finish`](Self::finish) or [`abort`](Self::abort); dropping it aborts
/// the write, and the session's transaction must then be failed.
pub struct CopyIn {
    pub(crate) columns: usize,
    pub(crate) format: Format,
    pub(crate) chunks: mpsc::Sender<Chunk>,
    pub(crate) writing: Writing,
    pub(crate) guard: StatementGuard,
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyIn")
            .field("columns", &self.columns)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl CopyIn {
    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the data is text (or CSV) or binary.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Resolves when the statement must stop (cancelled, timed out), with the error to report: for a caller that waits for
    /// data which may never come. [`abort`](Self::abort) then.
    pub async fn stopped(&self) -> Error {
        self.guard.stopped().await
    }

    /// Hands in the next bytes, cut anywhere. Waits while the writer is behind.
    pub async fn push(&mut self, bytes: Bytes) -> Result<()> {
        self.send(Chunk::Data(bytes)).await
    }

    /// The data is complete: waits until it is durable and part of the transaction.
    ///
    /// Outside a block the caller ends the implicit transaction then, which makes the rows visible.
    pub async fn finish(mut self, session: &mut Session) -> Result<CommandTag> {
        self.send(Chunk::End).await?;
        let rows = self.writing.finish(session, &self.guard).await?;
        Ok(CommandTag::counted("COPY", rows))
    }

    /// The data ends in this error: nothing of it is kept. Gives the error to report, which is the first one of the data.
    pub async fn fail(mut self, session: &mut Session, error: Error) -> Error {
        let (place, placed) = oneshot::channel();
        let told = match self.send(Chunk::Failed(error, place)).await {
            Ok(()) => {
                let Self { writing, guard, .. } = &mut self;
                // What is wrong with the rows before comes first.
                let ended = async {
                    writing.ended().await?;
                    placed.await.map_or(Ok(()), Err)
                };
                guard.run(ended).await.err()
            }
            Err(error) => Some(error),
        };
        drop(self);
        session.fail().await;
        told.unwrap_or_else(|| Error::internal("a COPY that failed without an error"))
    }

    /// Nobody waits for the outcome any more: nothing of the data is kept. Gives the error to report.
    pub async fn abort(self, session: &mut Session, reason: &str) -> Error {
        drop(self);
        session.fail().await;
        Error::new(ErrorKind::QueryCanceled, format!("COPY from stdin failed: {reason}"))
    }

    async fn send(&mut self, chunk: Chunk) -> Result<()> {
        let sent = async {
            tokio::select! {
                biased;
                sent = self.chunks.send(chunk) => match sent {
                    Ok(()) => Ok(()),
                    // The reader of the channel is gone: the write has failed and says why.
                    Err(_) => Err(self.writing.failed().await),
                },
            }
        };
        self.guard.run(sent).await
    }
}

/// `COPY … TO STDOUT` under way.
#[derive(Debug)]
pub struct CopyOut {
    rows: RowStream,
    /// Boxed: the writer would make every outcome of a statement large.
    writer: Box<CopyWriter>,
    format: Format,
    state: CopyOutState,
    count: u64,
    /// Where in the last chunk its rows end.
    ends: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyOutState {
    Header,
    Rows,
    Ended,
}

impl CopyOut {
    pub(crate) fn new(rows: RowStream, writer: CopyWriter, format: Format) -> Self {
        Self {
            rows,
            writer: Box::new(writer),
            format,
            state: CopyOutState::Header,
            count: 0,
            ends: Vec::new(),
        }
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.rows.columns().len()
    }

    /// Whether the data is text (or CSV) or binary.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where the rows of the last chunk end: bytes from its start, ascending. Empty for a header and a trailer.
    pub fn row_ends(&self) -> &[usize] {
        &self.ends
    }

    /// The next bytes: whole rows, or the header, or the trailer. `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        let mut out = BytesMut::new();
        self.ends.clear();
        if self.state == CopyOutState::Header {
            self.state = CopyOutState::Rows;
            self.writer.header(&mut out);
        }
        while self.state == CopyOutState::Rows && out.is_empty() {
            match self.rows.next().await {
                Some(Ok(batch)) => {
                    self.count += batch.num_rows() as u64;
                    if let Err(error) = self.writer.write_rows(&batch, &mut out, &mut self.ends) {
                        self.state = CopyOutState::Ended;
                        return Some(Err(error));
                    }
                }
                Some(Err(error)) => {
                    self.state = CopyOutState::Ended;
                    return Some(Err(error));
                }
                None => {
                    self.state = CopyOutState::Ended;
                    self.writer.trailer(&mut out);
                }
            }
        }
        (!out.is_empty()).then(|| Ok(out.freeze()))
    }

    /// For one who takes long with what [`next`](Self::next) gave: an error when the statement was stopped meanwhile.
    pub fn check(&self) -> Result<()> {
        self.rows.check()
    }

    /// The tag to send after the end.
    pub fn tag(&self) -> CommandTag {
        CommandTag::counted("COPY", self.count)
    }
}
