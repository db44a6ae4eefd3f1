//! What fuzzers feed: bytes of others on their way in. Not for programs.

use staffa_planner::value::FormatSettings;
use staffa_planner::{CopyFormat, CopyHeader, CopyOptions, SqlType};

use crate::copy::CopyReader;

/// Reads data of COPY in all formats, in pieces that end anywhere.
pub fn copy(data: &[u8]) {
    let columns = [
        ("a", SqlType::Integer),
        ("b", SqlType::Text),
        ("c", SqlType::numeric(20, 4)),
        ("d", SqlType::Timestamp),
        ("e", SqlType::Array(Box::new(SqlType::Integer))),
        ("f", SqlType::Jsonb),
    ];
    let columns = columns.map(|(name, ty)| (name.to_owned(), ty));
    let settings = FormatSettings::default();
    for format in [CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary] {
        for header in [CopyHeader::None, CopyHeader::Match] {
            for piece_bytes in [7, usize::MAX] {
                let options = CopyOptions {
                    header,
                    ..CopyOptions::new(format)
                };
                let Ok(mut reader) = CopyReader::new("t", &columns, &options, &settings) else {
                    continue;
                };
                if data.chunks(piece_bytes).all(|piece| reader.push(piece).is_ok()) {
                    let _ = reader.finish();
                }
            }
        }
    }
}
