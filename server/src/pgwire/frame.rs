//! Frames of a logged-in client: type, length, body. A task of its own reads them ahead of their use, so that a client
//! that hangs up or says goodbye is noticed while its query runs.
//!
//! The buffer grows with the bytes that arrive, never with the length a client announces, and what is read ahead is
//! bounded in bytes. COPY data is handed on in pieces: the boundaries of CopyData mean nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use staffa::Canceller;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::report::Report;

/// Longest message of the kinds that carry only names and numbers (PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`).
const SMALL_BYTES_MAX: usize = 10_000;

/// Longest statement or set of parameters. PostgreSQL takes 1 GiB; one client must not be able to hold that here.
const LARGE_BYTES_MAX: usize = 256 << 20;

/// Longest CopyData, which is never held as a whole (PostgreSQL's `PQ_LARGE_MESSAGE_LIMIT`).
const COPY_BYTES_MAX: usize = 0x3fff_fffe;

/// CopyData is handed on in pieces of this size.
const COPY_PIECE_BYTES: usize = 64 << 10;

/// Bytes of frames that may wait while a statement runs.
const WINDOW_BYTES: usize = 1 << 20;

/// Frames that may wait: small ones cost more than their bytes.
const WINDOW_FRAMES: usize = 256;

/// How much room a read gets at least: so much a client holds that says nothing.
const READ_BYTES_MIN: usize = 2 << 10;

/// The same after a read that filled its room.
const READ_BYTES_MAX: usize = 16 << 10;

/// When a session whose client is gone is told to stop for the second time.
const STOP_AGAIN: Duration = Duration::from_millis(50);

/// Type byte and length field.
const HEADER_BYTES: usize = 5;

/// One message, still encoded; or why the rest of the stream cannot be read.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Frame),
    Broken(Report),
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
    /// Its share of the read-ahead window; given back when the frame is dropped.
    pub(crate) window: OwnedSemaphorePermit,
}

/// The longest body length field a message of this type may have; `None` for a type clients do not send.
fn length_limit(tag: u8) -> Option<usize> {
    match tag {
        b'Q' | b'P' | b'B' | b'F' => Some(LARGE_BYTES_MAX),
        b'd' => Some(COPY_BYTES_MAX),
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => Some(SMALL_BYTES_MAX),
        _ => None,
    }
}

/// Reads frames until the client ends the connection, then stops whatever its session still runs. The channel closes at
/// the end.
pub(crate) async fn read_frames(
    socket: impl AsyncRead + Unpin,
    buffer: BytesMut,
    frames: mpsc::Sender<Incoming>,
    canceller: Canceller,
) {
    let window = Arc::new(Semaphore::new(WINDOW_BYTES));
    let mut reader = Reader {
        socket,
        buffer,
        room: READ_BYTES_MIN,
        frames,
        window,
    };
    match reader.run().await {
        Ok(()) => {}
        Err(End::Closed(error)) => tracing::debug!(%error, "client connection lost"),
        Err(End::Broken(report)) => {
            // The client may still read: the statement that runs is not stopped, and the report follows its answer.
            if reader.frames.send(Incoming::Broken(report)).await.is_ok() {
                reader.drain().await;
            }
            return;
        }
        Err(End::Finished) => return,
    }
    drop(reader);
    canceller.terminate();
    // A statement that was just starting may have missed it.
    tokio::time::sleep(STOP_AGAIN).await;
    canceller.terminate();
}

/// A channel for [`read_frames`].
pub(crate) fn frame_channel() -> (mpsc::Sender<Incoming>, mpsc::Receiver<Incoming>) {
    mpsc::channel(WINDOW_FRAMES)
}

/// Why reading stopped without the client having said goodbye.
enum End {
    Broken(Report),
    Closed(io::Error),
    /// The session is over: nobody takes frames any more.
    Finished,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Closed(error)
    }
}

impl From<Report> for End {
    fn from(report: Report) -> Self {
        End::Broken(report)
    }
}

struct Reader<R> {
    socket: R,
    buffer: BytesMut,
    /// For the next read.
    room: usize,
    frames: mpsc::Sender<Incoming>,
    window: Arc<Semaphore>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Until Terminate or the end of the stream.
    async fn run(&mut self) -> Result<(), End> {
        while self.fill(HEADER_BYTES).await? {
            let tag = self.buffer[0];
            let length = body_length(tag, [self.buffer[1], self.buffer[2], self.buffer[3], self.buffer[4]])?;
            self.buffer.advance(HEADER_BYTES);
            match tag {
                b'X' => return Ok(()),
                b'd' => self.copy_data(length).await?,
                _ => {
                    if !self.fill(length).await? {
                        return Err(unexpected_end().into());
                    }
                    self.hand_on(tag, length).await?;
                }
            }
        }
        Ok(())
    }

    async fn copy_data(&mut self, length: usize) -> Result<(), End> {
        let mut rest = length;
        while rest > 0 {
            let piece = rest.min(COPY_PIECE_BYTES);
            if !self.fill(piece).await? {
                return Err(unexpected_end().into());
            }
            self.hand_on(b'd', piece).await?;
            rest -= piece;
        }
        Ok(())
    }

    async fn hand_on(&mut self, tag: u8, length: usize) -> Result<(), End> {
        let share = u32::try_from(length.min(WINDOW_BYTES)).expect("the window is below 4 GiB");
        let window = Arc::clone(&self.window)
            .acquire_many_owned(share)
            .await
            .expect("the window's semaphore is never closed");
        let body = self.buffer.split_to(length).freeze();
        let frame = Incoming::Frame(Frame { tag, body, window });
        self.frames.send(frame).await.map_err(|_| End::Finished)
    }

    /// Reads and forgets: a socket that is closed with unread input resets the connection, and what the client was told
    /// could be lost on its way.
    async fn drain(&mut self) {
        self.buffer = BytesMut::with_capacity(READ_BYTES_MAX);
        while matches!(self.socket.read_buf(&mut self.buffer).await, Ok(1..)) {
            self.buffer.clear();
        }
    }

    /// Reads until `length` bytes are there. False at an end of the stream before the first of them.
    async fn fill(&mut self, length: usize) -> Result<bool, End> {
        while self.buffer.len() < length {
            self.buffer.reserve(self.room);
            let read = self.socket.read_buf(&mut self.buffer).await?;
            self.room = match read >= self.room {
                true => READ_BYTES_MAX,
                false => READ_BYTES_MIN,
            };
            if read == 0 {
                return if self.buffer.is_empty() {
                    Ok(false)
                } else {
                    Err(unexpected_end().into())
                };
            }
        }
        Ok(true)
    }
}

/// Bytes after the header, from the length field, which counts itself.
fn body_length(tag: u8, field: [u8; 4]) -> Result<usize, Report> {
    let Some(limit) = length_limit(tag) else {
        return Err(Report::protocol_fatal(format!("invalid frontend message type {tag}")));
    };
    let length = usize::try_from(i32::from_be_bytes(field)).unwrap_or(0);
    if length < 4 {
        return Err(Report::protocol_fatal("invalid message length"));
    }
    if length > limit {
        let detail = format!(
            "a message of type \"{}\" may have {limit} bytes, this one has {length}",
            char::from(tag)
        );
        return Err(Report::protocol_fatal("invalid message length").detail(detail));
    }
    Ok(length - 4)
}

fn unexpected_end() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the client closed the connection inside a message",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> Vec<Incoming> {
        let (sender, mut receiver) = frame_channel();
        let reading = read_frames(bytes, BytesMut::new(), sender, Canceller::default());
        let collecting = async {
            let mut all = Vec::new();
            while let Some(incoming) = receiver.recv().await {
                all.push(incoming);
            }
            all
        };
        tokio::join!(reading, collecting).1
    }

    fn frames(incoming: &[Incoming]) -> Vec<(u8, &[u8])> {
        incoming
            .iter()
            .filter_map(|incoming| match incoming {
                Incoming::Frame(frame) => Some((frame.tag, frame.body.as_ref())),
                Incoming::Broken(_) => None,
            })
            .collect()
    }

    #[tokio::test]
    async fn frames_come_out_in_order_with_their_bodies() {
        let all = read_all(b"Q\0\0\0\x0dselect 1\0S\0\0\0\x04").await;
        assert_eq!(frames(&all), [(b'Q', &b"select 1\0"[..]), (b'S', &b""[..])]);
    }

    #[tokio::test]
    async fn nothing_is_read_after_goodbye_or_garbage() {
        let all = read_all(b"S\0\0\0\x04X\0\0\0\x04S\0\0\0\x04").await;
        assert_eq!(frames(&all), [(b'S', &b""[..])]);
        let all = read_all(b"S\0\0\0\x04z\0\0\0\x04S\0\0\0\x04").await;
        assert_eq!((all.len(), frames(&all).len()), (2, 1));
        assert!(matches!(&all[1], Incoming::Broken(report) if report.is_fatal()));
    }

    #[tokio::test]
    async fn a_message_that_breaks_off_is_not_handed_on() {
        assert!(read_all(b"Q\0\0\0\x0dselect").await.is_empty());
        assert!(read_all(b"Q\0\0").await.is_empty());
    }

    #[tokio::test]
    async fn a_long_copy_data_comes_in_pieces() {
        let length = COPY_PIECE_BYTES + 10;
        let mut bytes = vec![b'd'];
        bytes.extend(u32::try_from(length + 4).expect("small").to_be_bytes());
        bytes.resize(bytes.len() + length, b'x');
        let all = read_all(&bytes).await;
        assert_eq!(
            frames(&all).iter().map(|(_, body)| body.len()).collect::<Vec<_>>(),
            [COPY_PIECE_BYTES, 10]
        );
    }

    #[test]
    fn lengths_are_checked_before_anything_is_read() {
        let message = |tag: u8, length: i32| {
            body_length(tag, length.to_be_bytes()).map_err(|report| (report.is_fatal(), report.code, report.message))
        };
        let invalid = Err((true, "08P01", "invalid message length".to_owned()));
        assert_eq!(message(b'Q', 4), Ok(0));
        for (tag, length) in [
            (b'Q', 3),
            (b'Q', -1),
            (b'Q', i32::MAX),
            (b'S', 10_001),
            (b'd', 0),
            (b'E', i32::MIN),
        ] {
            assert_eq!(message(tag, length), invalid, "{} {length}", char::from(tag));
        }
        let unknown = Err((true, "08P01", "invalid frontend message type 122".to_owned()));
        assert_eq!(message(b'z', 4), unknown);
    }
}
