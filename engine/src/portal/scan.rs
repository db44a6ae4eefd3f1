//! The rows of an open portal, and where among them it stands.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::runtime_env::RuntimeEnv;
use staffa_planner::{Error, ErrorKind, Movement, Result};

use super::store::Store;
use crate::cancel::StatementGuard;
use crate::cpu::CpuRuntime;
use crate::stream::RowStream;

/// Row by row forward, or back too.
///
/// It stands before the first row, on a row, or after the last one, as PostgreSQL counts it: after a FETCH of just all rows
/// that are left it is on the last row, and only the next one finds the end.
pub(crate) struct Scan {
    /// Where rows come from, until all have come.
    stream: Option<RowStream>,
    /// The part of a batch that was not asked for yet, of rows that nobody keeps.
    rest: Option<RecordBatch>,
    /// Rows that are kept. Without it they pass once.
    store: Option<Store>,
    /// Whether it may go back.
    scroll: bool,
    /// The row it is on, counted from 1; 0 before the first; after the last one how many there are.
    row: u64,
    at_end: bool,
    /// An error ended it: it gives nothing any more.
    failed: bool,
    /// What is left of the last way, when its reader has not come to the end.
    unread: Option<Way>,
    /// Counts ways: only the reader of the latest may go on.
    reader: u64,
}

/// Rows to be read from where a scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    backward: bool,
    /// `None`: all there are.
    left: Option<u64>,
}

impl Way {
    pub(crate) fn forward(left: Option<u64>) -> Self {
        Self { backward: false, left }
    }

    fn backward(left: Option<u64>) -> Self {
        Self { backward: true, left }
    }

    fn of(movement: i64) -> Self {
        Self {
            backward: movement < 0,
            left: Some(movement.unsigned_abs()),
        }
    }

    fn is_over(self) -> bool {
        self.left == Some(0)
    }

    /// At most this many rows of a batch.
    fn max(self) -> usize {
        self.left
            .map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn passed(&mut self, rows: u64) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(rows);
        }
    }
}

impl Scan {
    /// Rows that are read forward only.
    pub(super) fn passing(stream: RowStream) -> Self {
        Self::of(stream, None)
    }

    /// Rows that are kept.
    pub(super) fn kept(stream: RowStream, cpu: CpuRuntime, runtime: &Arc<RuntimeEnv>) -> Self {
        let store = Store::new(stream.schema(), cpu, runtime, 0);
        Self::of(stream, Some(store))
    }

    fn of(stream: RowStream, store: Option<Store>) -> Self {
        Self {
            stream: Some(stream),
            rest: None,
            scroll: store.is_some(),
            store,
            row: 0,
            at_end: false,
            failed: false,
            unread: None,
            reader: 0,
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// A new reader comes, in a statement of its own: what the one before has left is passed over. Gives its number.
    pub(super) async fn begin(&mut self, guard: Option<&StatementGuard>) -> Result<u64> {
        if let (Some(stream), Some(guard)) = (&mut self.stream, guard) {
            stream.continue_in(guard);
        }
        self.reader += 1;
        if let Some(way) = self.unread.take() {
            self.pass(way).await?;
        }
        Ok(self.reader)
    }

    /// Goes to where FETCH wants to read from; gives the rows to read.
    pub(super) async fn approach(&mut self, movement: Movement) -> Result<Way> {
        // Also when nobody waits for the end of it.
        self.failed = true;
        let result = self.go(movement).await;
        self.failed = result.is_err();
        result
    }

    /// MOVE: gives how many rows FETCH would have given.
    pub(super) async fn travel(&mut self, movement: Movement) -> Result<u64> {
        let on_row = self.is_on_row();
        self.failed = true;
        let result = async {
            match without_sign(movement) {
                Movement::Forward(Some(0)) | Movement::Backward(Some(0)) | Movement::Relative(0) => {
                    return Ok(u64::from(on_row));
                }
                Movement::Backward(None) => {
                    let passed = if self.at_end {
                        self.row
                    } else {
                        self.row.saturating_sub(1)
                    };
                    self.rewind()?;
                    return Ok(passed);
                }
                _ => {}
            }
            let way = self.go(movement).await?;
            self.pass(way).await
        }
        .await;
        self.failed = result.is_err();
        result
    }

    async fn go(&mut self, movement: Movement) -> Result<Way> {
        Ok(match without_sign(movement) {
            Movement::Absolute(0) => {
                self.rewind()?;
                Way::forward(Some(0))
            }
            Movement::Absolute(number) if number > 0 => {
                self.go_before(number.unsigned_abs()).await?;
                Way::forward(Some(1))
            }
            Movement::Absolute(number) => {
                self.pass(Way::forward(None)).await?;
                self.pass(Way::backward(Some(number.unsigned_abs() - 1))).await?;
                Way::backward(Some(1))
            }
            Movement::Relative(number) if number != 0 => {
                // One of the rows is the one to give.
                self.pass(Way::of(number - number.signum())).await?;
                Way::of(number.signum())
            }
            // The row it is on, once more.
            Movement::Forward(Some(0)) | Movement::Backward(Some(0)) | Movement::Relative(_) if self.is_on_row() => {
                self.pass(Way::backward(Some(1))).await?;
                Way::forward(Some(1))
            }
            Movement::Forward(count) => Way::forward(count.map(i64::unsigned_abs)),
            Movement::Backward(count) => Way::backward(count.map(i64::unsigned_abs)),
            Movement::Relative(_) => Way::forward(Some(0)),
        })
    }

    /// To just before a row. From the first one when that is nearer, as PostgreSQL does it: it decides what is an error where
    /// nobody may go back.
    async fn go_before(&mut self, number: u64) -> Result<()> {
        if number - 1 <= self.row / 2 {
            self.rewind()?;
            self.pass(Way::forward(Some(number - 1))).await?;
            return Ok(());
        }
        let row = self.row + u64::from(self.at_end);
        if number <= row {
            self.pass(Way::backward(Some(row - number + 1))).await?;
        } else {
            self.pass(Way::forward(Some(number - row - 1))).await?;
        }
        Ok(())
    }

    fn is_on_row(&self) -> bool {
        self.row > 0 && !self.at_end
    }

    fn rewind(&mut self) -> Result<()> {
        if self.row == 0 && !self.at_end {
            return Ok(());
        }
        self.check_scroll()?;
        (self.row, self.at_end) = (0, false);
        Ok(())
    }

    fn check_scroll(&self) -> Result<()> {
        if self.scroll {
            return Ok(());
        }
        let message = "cursor can only scan forward";
        Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message)
            .with_hint("Declare it with SCROLL option to enable backward scan."))
    }

    /// Passes over rows; gives how many.
    async fn pass(&mut self, mut way: Way) -> Result<u64> {
        let mut passed = 0;
        if way.backward && !way.is_over() {
            self.check_scroll()?;
            let there = if self.at_end {
                self.row
            } else {
                self.row.saturating_sub(1)
            };
            passed = way.left.map_or(there, |left| left.min(there));
            if self.row > 0 {
                let is_at_start = way.left.is_none_or(|left| left > there);
                self.row = if is_at_start { 0 } else { there - passed + 1 };
                self.at_end = false;
            }
            return Ok(passed);
        }
        while let Some(rows) = self.next(&mut way).await? {
            passed += rows.num_rows() as u64;
        }
        Ok(passed)
    }

    /// The next rows of a reader's way; `None` at its end.
    pub(crate) async fn read(&mut self, reader: u64, way: &mut Way) -> Result<Option<RecordBatch>> {
        if reader != self.reader || self.failed {
            let message = "the rows cannot be read any more: the cursor was moved";
            return Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message));
        }
        self.failed = true;
        let result = self.next(way).await;
        self.failed = result.is_err();
        self.unread = match &result {
            Ok(Some(_)) => Some(*way),
            _ => None,
        };
        result
    }

    async fn next(&mut self, way: &mut Way) -> Result<Option<RecordBatch>> {
        if way.backward {
            self.check_scroll()?;
            if way.is_over() {
                Ok(None)
            } else {
                self.previous_rows(way).await
            }
        } else if self.at_end || way.is_over() {
            Ok(None)
        } else {
            self.next_rows(way).await
        }
    }

    async fn next_rows(&mut self, way: &mut Way) -> Result<Option<RecordBatch>> {
        let rows = match &mut self.store {
            Some(store) => {
                if self.row == store.end()
                    && let Some(rows) = next_batch(&mut self.stream).await?
                {
                    store.push(rows).await?;
                }
                match self.row < store.end() {
                    true => Some(store.after(self.row, way.max()).await?),
                    false => None,
                }
            }
            None => {
                let rows = match self.rest.take() {
                    Some(rows) => Some(rows),
                    None => next_batch(&mut self.stream).await?,
                };
                rows.map(|rows| {
                    let count = rows.num_rows().min(way.max());
                    if count < rows.num_rows() {
                        self.rest = Some(rows.slice(count, rows.num_rows() - count));
                    }
                    rows.slice(0, count)
                })
            }
        };
        match &rows {
            Some(rows) => {
                self.row += rows.num_rows() as u64;
                way.passed(rows.num_rows() as u64);
                if let (Some(store), false) = (&mut self.store, self.scroll) {
                    store.forget_before(self.row);
                }
            }
            None => self.at_end = true,
        }
        Ok(rows)
    }

    async fn previous_rows(&mut self, way: &mut Way) -> Result<Option<RecordBatch>> {
        let last = if self.at_end {
            self.row
        } else {
            self.row.saturating_sub(1)
        };
        let Some(store) = &mut self.store else {
            return Err(Error::internal("rows that are not kept are read forward"));
        };
        if last == 0 {
            (self.row, self.at_end) = (0, self.at_end && self.row == 0);
            return Ok(None);
        }
        let rows = store.before(last - 1, way.max()).await?;
        let count = rows.num_rows() as u64;
        (self.row, self.at_end) = (last + 1 - count, false);
        way.passed(count);
        Ok(Some(rows))
    }

    /// Reads all rows that are still to come: its transaction ends.
    pub(super) async fn hold(
        &mut self,
        guard: &StatementGuard,
        cpu: &CpuRuntime,
        runtime: &Arc<RuntimeEnv>,
    ) -> Result<()> {
        self.begin(Some(guard)).await?;
        let Some(schema) = self.stream.as_ref().map(RowStream::schema) else {
            return Ok(());
        };
        let row = self.row;
        let store = self
            .store
            .get_or_insert_with(|| Store::new(schema, cpu.clone(), runtime, row));
        if let Some(rest) = self.rest.take() {
            store.push(rest).await?;
        }
        while let Some(rows) = next_batch(&mut self.stream).await? {
            store.push(rows).await?;
        }
        Ok(())
    }
}

/// FORWARD and BACKWARD with a count of zero or more.
fn without_sign(movement: Movement) -> Movement {
    match movement {
        Movement::Forward(Some(count)) if count < 0 => Movement::Backward(Some(-count)),
        Movement::Backward(Some(count)) if count < 0 => Movement::Forward(Some(-count)),
        other => other,
    }
}

/// The next batch that has rows. A stream that has ended is let go, with the state of the tables it reads.
async fn next_batch(stream: &mut Option<RowStream>) -> Result<Option<RecordBatch>> {
    while let Some(rows) = stream {
        match rows.next().await {
            Some(Ok(rows)) if rows.num_rows() == 0 => {}
            Some(rows) => return rows.map(Some),
            None => *stream = None,
        }
    }
    Ok(None)
}
