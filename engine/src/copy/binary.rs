//! The binary format: a signature, flags, then for each row a count of fields and each field with its length
//! (PostgreSQL 15 manual, COPY, "Binary Format").

use staffa_planner::{Error, Result};

use super::context::bad_format;

pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags from this bit on must be understood.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// Rows carry OIDs; PostgreSQL has not written them since version 12.
const FLAG_OIDS: u32 = 1 << 16;
/// Count of fields that ends the data.
pub(super) const TRAILER: i16 = -1;

/// What stands next in the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A row; it ends at this position.
    Row(usize),
    /// The trailer.
    End(usize),
    NeedMore,
}

/// Length of the header, once it is all there.
pub(super) fn header_length(buffer: &[u8]) -> Result<Option<usize>> {
    let known = buffer.len().min(SIGNATURE.len());
    if buffer[..known] != SIGNATURE[..known] {
        return Err(bad_format("COPY file signature not recognized"));
    }
    let (Some(flags), Some(extension)) = (int(buffer, 11), int(buffer, 15)) else {
        return Ok(None);
    };
    let flags = flags as u32;
    if flags & FLAG_OIDS != 0 {
        return Err(bad_format("invalid COPY file header (WITH OIDS)"));
    }
    if flags & CRITICAL_FLAGS != 0 {
        return Err(bad_format("unrecognized critical flags in COPY file header"));
    }
    let extension = usize::try_from(extension).map_err(|_| bad_format("invalid COPY file header (missing length)"))?;
    Ok((buffer.len() - 19 >= extension).then_some(19 + extension))
}

/// Finds the end of the row at `start` and puts where its fields are into `fields`; `None` is NULL.
pub(super) fn row(
    buffer: &[u8],
    start: usize,
    columns: usize,
    fields: &mut Vec<Option<(usize, usize)>>,
) -> Result<Item> {
    fields.clear();
    let Some(count) = buffer.get(start..).and_then(<[u8]>::first_chunk::<2>) else {
        return Ok(Item::NeedMore);
    };
    let count = i16::from_be_bytes(*count);
    if count == TRAILER {
        return Ok(Item::End(start + 2));
    }
    if usize::try_from(count) != Ok(columns) {
        return Err(bad_format(format!("row field count is {count}, expected {columns}")));
    }
    let mut at = start + 2;
    for _ in 0..columns {
        let Some(length) = int(buffer, at) else {
            return Ok(Item::NeedMore);
        };
        at += 4;
        if length == -1 {
            fields.push(None);
            continue;
        }
        let length = usize::try_from(length).map_err(|_| bad_format("invalid field size"))?;
        if buffer.len() - at < length {
            return Ok(Item::NeedMore);
        }
        fields.push(Some((at, at + length)));
        at += length;
    }
    Ok(Item::Row(at))
}

pub(super) fn data_after_end() -> Error {
    bad_format("received copy data after EOF marker")
}

pub(super) fn unexpected_end() -> Error {
    bad_format("unexpected EOF in COPY data")
}

fn int(buffer: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*buffer.get(at..)?.first_chunk::<4>()?))
}
