//! Decoders of other crates at work on files that anybody may have written.
//!
//! They are not proved free of panics on damaged bytes. One ends in an error that says so of the file, and is not reported as the
//! program's own: [`is_decoding`] tells whoever reports panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arrow::record_batch::RecordBatch;
use datafusion::common::Result as DfResult;
use futures::stream::{self, BoxStream};
use futures::{Future, FutureExt, StreamExt};

use crate::error::{Error, Result};

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread decodes a file just now: a panic is about the file then, and will be an error that names it.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Runs a decoder.
///
/// # Errors
/// [`crate::ErrorKind::CorruptFile`] when it panics. What it worked on must not be used any more.
pub(crate) fn decoding<T>(decoder: impl FnOnce() -> T) -> Result<T> {
    let around = DECODING.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decoder));
    DECODING.set(around);
    decoded.map_err(|_| Error::corrupt("the file has something in it that its decoder did not expect"))
}

/// The same for one that waits for bytes.
pub(crate) async fn decoding_future<T>(decoder: impl Future<Output = T>) -> Result<T> {
    let mut decoder = pin!(decoder);
    std::future::poll_fn(|context| match decoding(|| decoder.poll_unpin(context)) {
        Ok(poll) => poll.map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// The same for one that gives batches of the file `location`.
pub(crate) fn decoding_stream(
    batches: BoxStream<'static, DfResult<RecordBatch>>,
    location: Arc<str>,
) -> BoxStream<'static, DfResult<RecordBatch>> {
    let mut batches = Some(batches);
    stream::poll_fn(move |context| {
        let Some(decoder) = &mut batches else {
            return Poll::Ready(None);
        };
        decoding(|| decoder.poll_next_unpin(context)).unwrap_or_else(|error| {
            batches = None;
            Poll::Ready(Some(Err(error.at(location.as_ref()).into())))
        })
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn a_panic_is_a_damaged_file() {
        assert!(decoding(is_decoding).expect("it answers"));
        assert!(!is_decoding());
        let error = decoding::<()>(|| panic!("a length")).expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::CorruptFile);
        assert!(!is_decoding());
        let error: Result<()> = decoding_future(async { panic!("a length") }).await;
        assert_eq!(error.expect_err("it panicked").kind(), ErrorKind::CorruptFile);
        let broken = stream::poll_fn(|_| panic!("a length")).boxed();
        let batches: Vec<_> = decoding_stream(broken, "file:///x".into()).collect().await;
        let [Err(error)] = &batches[..] else {
            panic!("{batches:?}");
        };
        let error = Error::find_in(error).expect("one of ours");
        assert_eq!(
            (error.kind(), error.path()),
            (ErrorKind::CorruptFile, Some("file:///x"))
        );
    }
}
