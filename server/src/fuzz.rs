//! What fuzzers feed: bytes of others on their way in. Not for programs.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use staffa::Canceller;

use crate::auth::scram::initial_response;
use crate::pgwire::frame::{Incoming, frame_channel, read_frames};
use crate::pgwire::message::Message;
use crate::pgwire::startup;

/// Reads a client's introduction, and its answer to a password request.
pub fn introduction(packet: &[u8]) {
    if let Some((code, body)) = packet.split_first_chunk() {
        let _ = startup::startup_message(u32::from_be_bytes(*code), body);
        let _ = startup::cancel_request(Bytes::copy_from_slice(body));
    }
    let _ = initial_response(Bytes::copy_from_slice(packet));
}

/// Reads the messages of a client that is logged in. Waits for nothing but them.
pub async fn messages(stream: &[u8]) {
    let (sender, mut receiver) = frame_channel();
    let decode = async {
        while let Some(incoming) = receiver.recv().await {
            match incoming {
                Incoming::Frame(frame) => drop(Message::decode(frame.tag, frame.body)),
                Incoming::Broken(_) => break,
            }
        }
    };
    let read = read_frames(stream, BytesMut::new(), sender, Canceller::default());
    // Reading ends with a pause, in which nothing comes any more.
    if let Either::Right(((), decode)) = select(pin!(decode), pin!(read)).await {
        decode.await;
    }
}
