//! The PostgreSQL protocol, version 3: bytes, messages and what they mean, one concern a file.
//!
//! Client messages are decoded by [`message`] and not by the pgwire crate: its decoders panic on short bodies and replace
//! invalid UTF-8. Server messages are written by [`reply`] straight into the output buffer, without a struct between.
//! What we take from the crate is SCRAM (see `auth::scram`).

pub(crate) mod backends;
pub(crate) mod conversation;
pub(crate) mod copy;
pub(crate) mod extended;
pub(crate) mod formats;
pub(crate) mod frame;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod reply;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod simple;
pub(crate) mod sqlstate;
pub(crate) mod startup;
pub(crate) mod writer;
