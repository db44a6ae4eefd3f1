//! Puffin files: blobs one after the other, and a footer that says what each is (Iceberg's Puffin spec: magic, blobs, magic, footer
//! payload, its length, flags, magic).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Begins and ends files and their footers.
pub(crate) const MAGIC: &[u8; 4] = b"PFA1";

/// What a footer says of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PuffinBlob {
    /// What is in it.
    pub kind: String,
    /// The columns it is about, by field id.
    pub fields: Vec<i32>,
    /// The snapshot it was made from, and that one's sequence number; -1 where whoever takes it up knows it.
    pub snapshot_id: i64,
    /// See `snapshot_id`.
    pub sequence_number: i64,
    /// More of it.
    pub properties: BTreeMap<String, String>,
}

/// A file.
#[derive(Debug)]
pub(crate) struct Puffin {
    pub(crate) bytes: Bytes,
    pub(crate) footer_bytes: u64,
    /// Where each blob begins, and its length.
    pub(crate) places: Vec<(usize, usize)>,
}

/// The file of these blobs.
///
/// Errors: `Internal` beyond 4 GiB.
pub(crate) fn encode(blobs: &[(PuffinBlob, Vec<u8>)]) -> Result<Puffin> {
    let mut bytes = MAGIC.to_vec();
    let (mut described, mut places) = (Vec::new(), Vec::new());
    for (blob, content) in blobs {
        described.push(json!({
            "type": blob.kind,
            "fields": blob.fields,
            "snapshot-id": blob.snapshot_id,
            "sequence-number": blob.sequence_number,
            "offset": bytes.len(),
            "length": content.len(),
            "properties": blob.properties,
        }));
        places.push((bytes.len(), content.len()));
        bytes.extend(content);
    }
    let created_by = concat!("staffa ", env!("CARGO_PKG_VERSION"));
    let payload = json!({"blobs": described, "properties": {"created-by": created_by}}).to_string();
    let length =
        u32::try_from(payload.len()).map_err(|_| Error::internal("the footer of a Puffin file beyond 4 GiB"))?;
    let footer = bytes.len();
    bytes.extend(MAGIC);
    bytes.extend(payload.as_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(MAGIC);
    Ok(Puffin {
        footer_bytes: (bytes.len() - footer) as u64,
        bytes: bytes.into(),
        places,
    })
}

/// The blobs of a file, those that are not compressed.
///
/// Errors: `CorruptFile` when it is none, `Unsupported` when its footer is compressed.
pub(crate) fn decode(file: &[u8]) -> Result<Vec<(PuffinBlob, &[u8])>> {
    let wrong = || Error::corrupt("a file of statistics is no Puffin file");
    let rest = file.strip_suffix(MAGIC).and_then(|rest| rest.split_last_chunk::<4>());
    let (rest, flags) = rest.ok_or_else(wrong)?;
    if flags[0] & 1 != 0 {
        return Err(Error::unsupported("a Puffin file with a compressed footer"));
    }
    let (rest, length) = rest.split_last_chunk::<4>().ok_or_else(wrong)?;
    let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize);
    let footer: Value = start
        .and_then(|start| serde_json::from_slice(rest.get(start..)?).ok())
        .ok_or_else(wrong)?;
    let mut blobs = Vec::new();
    for described in footer["blobs"].as_array().ok_or_else(wrong)? {
        if !described["compression-codec"].is_null() {
            continue;
        }
        let place = |key: &str| described[key].as_u64().and_then(|place| usize::try_from(place).ok());
        let content = place("offset").zip(place("length"));
        let content = content.and_then(|(offset, length)| file.get(offset..)?.get(..length));
        let fields = described["fields"].as_array().into_iter().flatten();
        let properties = described["properties"].as_object().into_iter().flatten();
        let blob = PuffinBlob {
            kind: described["type"].as_str().unwrap_or_default().to_owned(),
            fields: fields.filter_map(|id| i32::try_from(id.as_i64()?).ok()).collect(),
            snapshot_id: described["snapshot-id"].as_i64().unwrap_or(-1),
            sequence_number: described["sequence-number"].as_i64().unwrap_or(-1),
            properties: properties
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
        };
        blobs.push((blob, content.ok_or_else(wrong)?));
    }
    Ok(blobs)
}
