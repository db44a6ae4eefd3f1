//! What fuzzers feed: bytes of others on their way in. Not for programs.

use crate::deletes::crc32;
use crate::{decode_deletion_vector, decode_position_deletes};

/// Reads a file of position deletes; and the same bytes as the set of rows in a deletion vector, whose length and checksum are right.
pub fn deletes(data: &[u8]) {
    let _ = decode_position_deletes(data.to_vec().into(), "file:///fuzz");
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    let blob = [&length[..], data, &crc32(data).to_be_bytes()].concat();
    let _ = decode_deletion_vector(&blob, 0, blob.len() as u64);
}
