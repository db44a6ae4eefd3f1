//! COPY in both protocols: CopyData one way until somebody ends it (PostgreSQL 15, section 55.2.6).

use bytes::Bytes;
use staffa::{CommandTag, CopyIn, CopyOut, ErrorKind, Format};

use super::conversation::Conversation;
use super::frame::Incoming;
use super::message::Message;
use super::reply::{self, CopyDirection, column_count};
use super::report::{Failure, Step};

impl Conversation {
    /// `COPY … FROM STDIN`. After an error the client may go on sending; the main loop ignores it.
    pub(crate) async fn copy_in(&mut self, mut copy: CopyIn) -> Step<CommandTag> {
        let columns = column_count(copy.columns())?;
        reply::copy_response(self.writer.buffer(), CopyDirection::In, columns, copy.format());
        self.writer.flush().await?;
        loop {
            let incoming = tokio::select! {
                biased;
                incoming = self.frames.recv() => incoming,
                // A client that sends nothing must still be cancelled, or timed out.
                error = copy.stopped() => {
                    copy.abort(&mut self.session, error.message()).await;
                    return Err(error.into());
                }
            };
            let frame = match incoming {
                Some(Incoming::Frame(frame)) => frame,
                Some(Incoming::Broken(report)) => {
                    copy.abort(&mut self.session, "the connection is broken").await;
                    return Err(report.into());
                }
                None => {
                    copy.abort(&mut self.session, "the client is gone").await;
                    let text = "the client closed the connection during COPY from stdin";
                    return Err(Failure::Gone(std::io::Error::new(
                        std::io::ErrorKind::UnexpectedEof,
                        text,
                    )));
                }
            };
            match frame.tag {
                b'd' => copy.push(frame.body).await?,
                b'c' => return Ok(copy.finish(&mut self.session).await?),
                b'f' => {
                    let reason = match Message::decode(frame.tag, frame.body)? {
                        Message::CopyFail(reason) => reason,
                        other => return Err(staffa::Error::internal(format!("not a CopyFail: {other:?}")).into()),
                    };
                    let text = format!("COPY from stdin failed: {reason}");
                    let error = staffa::Error::new(ErrorKind::QueryCanceled, text);
                    return Err(copy.fail(&mut self.session, error).await.into());
                }
                // Clients send them after CopyDone without waiting for the outcome.
                b'H' | b'S' => {}
                tag => {
                    let text = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                    let error = staffa::Error::new(ErrorKind::ProtocolViolation, text);
                    return Err(copy.fail(&mut self.session, error).await.into());
                }
            }
        }
    }

    /// `COPY … TO STDOUT`: one message a row, as clients expect of PostgreSQL, although the protocol promises nothing. The
    /// header of the binary format comes with the first row, that of the others alone.
    pub(crate) async fn copy_out(&mut self, mut copy: CopyOut) -> Step<CommandTag> {
        let columns = column_count(copy.columns())?;
        reply::copy_response(self.writer.buffer(), CopyDirection::Out, columns, copy.format());
        let mut header = match copy.format() {
            Format::Binary => copy.next().await.transpose()?.unwrap_or_default(),
            Format::Text => Bytes::new(),
        };
        while let Some(data) = copy.next().await {
            let data = data?;
            let mut start = 0;
            // What follows the last row is the trailer; a text header has no rows at all.
            for &end in copy.row_ends().iter().chain(std::iter::once(&data.len())) {
                if start < end {
                    reply::copy_data(self.writer.buffer(), &[&header, &data[start..end]]);
                    header = Bytes::new();
                    if self.writer.is_full() {
                        self.writer.flush().await?;
                        // As with rows, a slow client may be long with this.
                        copy.check()?;
                    }
                }
                start = end;
            }
        }
        reply::copy_done(self.writer.buffer());
        Ok(copy.tag())
    }
}
