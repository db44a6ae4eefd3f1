use super::*;

fn rows(positions: impl IntoIterator<Item = u64>) -> RoaringTreemap {
    positions.into_iter().collect()
}

#[test]
fn live_rows_are_what_is_left() {
    let select = RowSelector::select;
    let skip = RowSelector::skip;
    for (deleted, count, expected) in [
        (rows([]), 3, vec![select(3)]),
        (rows([0]), 3, vec![skip(1), select(2)]),
        (
            rows([1, 2, 4]),
            6,
            vec![select(1), skip(2), select(1), skip(1), select(1)],
        ),
        (rows([0, 1, 2]), 3, vec![skip(3)]),
        // Rows that are not there.
        (rows([2, 3, 9]), 3, vec![select(2), skip(1)]),
        (rows([7]), 0, vec![]),
    ] {
        assert_eq!(live_rows(&deleted, count), RowSelection::from(expected), "{deleted:?}");
    }
}

#[test]
fn position_deletes_survive_the_round_trip() {
    let deleted = rows((0..200_000).filter(|position| position % 3 == 0).chain([1 << 40]));
    let bytes = encode_position_deletes("file:///t/a.parquet", &deleted).unwrap();
    assert_eq!(
        decode_position_deletes(bytes.clone(), "file:///t/a.parquet").unwrap(),
        deleted
    );
    assert!(
        decode_position_deletes(bytes, "file:///t/b.parquet")
            .unwrap()
            .is_empty()
    );
    let error = decode_position_deletes(Bytes::from_static(b"nothing"), "x").unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::CorruptFile);
}

#[test]
fn a_vector_is_checked_before_it_is_believed() {
    // CRC-32 of "123456789", the standard's own check value.
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    let deleted = rows([1, 5, 70_000, 1 << 33]);
    let mut body = vec![0xd1, 0xd3, 0x39, 0x64];
    deleted.serialize_into(&mut body).unwrap();
    let mut blob = (body.len() as u32).to_be_bytes().to_vec();
    blob.extend(&body);
    blob.extend(crc32(&body).to_be_bytes());
    assert_eq!(vector(&blob).unwrap(), deleted);
    for end in 0..blob.len() {
        assert!(vector(&blob[..end]).is_err(), "{end}");
    }
    for byte in 0..blob.len() {
        let mut broken = blob.clone();
        broken[byte] ^= 1;
        assert!(vector(&broken).is_err(), "{byte}");
    }
}

#[test]
fn vectors_survive_the_round_trip_in_a_puffin_file() {
    for positions in [rows([]), rows([0]), rows(5..90_000), rows([1, 1 << 33, (1 << 40) + 7])] {
        let puffin = encode_deletion_vector("file:///a/b.parquet", &positions).unwrap();
        let (bytes, length) = (puffin.bytes, puffin.length);
        assert_eq!(
            decode_deletion_vector(&bytes, puffin.offset, length).unwrap(),
            positions
        );
        assert!(decode_deletion_vector(&bytes, puffin.offset + 1, length).is_err());
        assert!(decode_deletion_vector(&bytes, u64::MAX, 1).is_err());

        // The footer tells the place of the vector, and that it is about this file.
        let size = u32::from_le_bytes(bytes[bytes.len() - 12..bytes.len() - 8].try_into().unwrap()) as usize;
        let payload = &bytes[bytes.len() - 12 - size..bytes.len() - 12];
        let footer: serde_json::Value = serde_json::from_slice(payload).unwrap();
        let blob = &footer["blobs"][0];
        assert_eq!(blob["offset"], puffin.offset);
        assert_eq!(blob["length"], length);
        assert_eq!(blob["properties"]["referenced-data-file"], "file:///a/b.parquet");
        assert_eq!(blob["properties"]["cardinality"], positions.len().to_string());
        assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PFA1"[..], &b"PFA1"[..]));
    }
}
