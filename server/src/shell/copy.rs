//! Where the data of COPY FROM STDIN comes from: the lines after it in a script or at the prompt, until `\.`, or the
//! standard input.

use std::io::Read;

use bytes::Bytes;

use super::source::Source;

/// Bytes asked of the standard input at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// COPY data, piece by piece.
pub(crate) enum CopySource<'a> {
    /// Lines of the same text the statement came from.
    Lines(&'a mut Source),
    /// All of the standard input: `staffa sql -c 'copy t from stdin' < file`.
    StandardInput,
}

impl CopySource<'_> {
    /// The next bytes; `None` at the end; an error is a reason to give up the COPY.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Self::Lines(source) => match source.copy_line()? {
                // The end of the text ends the data too, as in psql.
                None => Ok(None),
                Some(line) if line.trim_end_matches('\r') == "\\." => Ok(None),
                Some(line) => {
                    let mut bytes = line.into_bytes();
                    bytes.push(b'\n');
                    Ok(Some(bytes.into()))
                }
            },
            Self::StandardInput => {
                // On a thread of its own, so that Ctrl-C is heard while nothing comes.
                let read = tokio::task::spawn_blocking(|| {
                    let mut bytes = vec![0; CHUNK_BYTES];
                    let count = std::io::stdin().read(&mut bytes)?;
                    bytes.truncate(count);
                    std::io::Result::Ok(bytes)
                });
                let bytes = read
                    .await
                    .map_err(|error| error.to_string())?
                    .map_err(|error| error.to_string())?;
                Ok((!bytes.is_empty()).then(|| bytes.into()))
            }
        }
    }
}
