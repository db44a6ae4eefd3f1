//! The output side of a connection: one buffer, sent when full or when the protocol says so.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The buffer is sent when it holds this much: a slow reader holds the query back instead of growing the buffer.
const FULL_BYTES: usize = 64 << 10;

/// What an idle connection's buffer starts with.
const START_BYTES: usize = 4 << 10;

/// A buffer that grew beyond this for one long value is not kept.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// The write half of a client's socket.
pub(crate) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Collects messages and sends them.
pub(crate) struct Writer {
    socket: WriteHalf,
    buffer: BytesMut,
}

impl Writer {
    pub(crate) fn new(socket: WriteHalf) -> Self {
        Self {
            socket,
            buffer: BytesMut::with_capacity(START_BYTES),
        }
    }

    /// Where messages are written (see `reply`).
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether it is time for [`flush`](Self::flush).
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL_BYTES
    }

    /// Sends everything when there is much of it. Call it after each message of an unbounded series.
    pub(crate) async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Sends everything. Waits for the client to take it.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.socket.write_all(&self.buffer).await?;
            self.buffer.clear();
            if self.buffer.capacity() > KEPT_BYTES_MAX {
                self.buffer = BytesMut::with_capacity(START_BYTES);
            }
        }
        self.socket.flush().await
    }

    /// Sends everything and closes this direction; TLS says goodbye.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.socket.shutdown().await
    }
}
