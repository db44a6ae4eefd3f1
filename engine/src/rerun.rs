//! A statement that is a transaction of its own and lost against another one is run again, as if it had come later: its
//! client sees no serialization failure.
//!
//! Only when nothing was sent to the client that could turn out different: the statement was the only one, and either the
//! client has heard nothing yet, or it gives the same rows and changes as many.

use std::time::Duration;

use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::scalar::ScalarValue;
use rand::Rng;
use staffa_planner::{ErrorKind, ParsedStatement, Result, SqlType, StatementClass};
use tokio::time::Instant;

use crate::outcome::{CommandTag, Outcome};
use crate::session::{Prepared, Session};
use crate::stream::ReturnedBatches;

/// How long a statement goes on trying.
const TIME_MAX: Duration = Duration::from_secs(60);
const PAUSE_MAX_MS: u64 = 200;

/// What the implicit transaction has run so far.
#[derive(Default)]
pub(crate) enum Ran {
    #[default]
    Nothing,
    /// One statement, which can be run again.
    One(Box<Repeatable>),
    /// Anything else.
    More,
}

/// A statement with what it was run with, and what it answered.
pub(crate) struct Repeatable {
    statement: ParsedStatement,
    declared: Vec<Option<SqlType>>,
    parameters: Vec<ScalarValue>,
    answer: Answer,
}

/// What a client hears of a statement.
enum Answer {
    Tag(CommandTag),
    Returned(ReturnedBatches),
}

impl Answer {
    /// `None` when there is more to come.
    fn of(outcome: &Outcome) -> Option<Answer> {
        match outcome {
            Outcome::Done(tag) => Some(Answer::Tag(tag.clone())),
            Outcome::Rows(rows) => rows.all_returned().map(Answer::Returned),
            Outcome::CopyIn(_) | Outcome::CopyOut(_) => None,
        }
    }

    /// Whether a client that was told the one knows the other. Where the statement asks for no order, several threads give its
    /// rows in any, cut into batches as it comes.
    fn is_same(&self, other: &Answer) -> bool {
        match (self, other) {
            (Answer::Tag(one), Answer::Tag(other)) => one == other,
            (Answer::Returned(one), Answer::Returned(other)) => {
                one.ordered == other.ordered
                    && matches!((compared(one), compared(other)), (Ok(one), Ok(other)) if one == other)
            }
            _ => false,
        }
    }
}

/// The rows in the order they are compared in.
fn compared(returned: &ReturnedBatches) -> Result<Vec<OwnedRow>, ArrowError> {
    let filled = || returned.batches.iter().filter(|batch| batch.num_rows() > 0);
    let Some(first) = filled().next() else {
        return Ok(Vec::new());
    };
    let fields = first.schema_ref().fields().iter();
    let fields = fields.map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let mut all = Vec::new();
    for batch in filled() {
        let rows = converter.convert_columns(batch.columns())?;
        all.extend(rows.iter().map(|row| row.owned()));
    }
    if !returned.ordered {
        all.sort();
    }
    Ok(all)
}

impl Ran {
    /// Notes that a statement starts; gives it back if it is one to be run again.
    pub(crate) fn start(&mut self, prepared: &Prepared, parameters: &[ScalarValue]) -> Option<Repeatable> {
        let first = matches!(self, Ran::Nothing);
        *self = Ran::More;
        let writes = prepared.statement().class() == StatementClass::Write;
        (first && writes).then(|| Repeatable {
            statement: prepared.statement().clone(),
            declared: prepared.declared().to_vec(),
            parameters: parameters.to_vec(),
            answer: Answer::Tag(CommandTag::plain("")),
        })
    }

    /// Notes how it ended.
    pub(crate) fn end(&mut self, repeatable: Option<Repeatable>, outcome: &Result<Outcome>) {
        if let (Some(mut repeatable), Some(answer)) = (repeatable, outcome.as_ref().ok().and_then(Answer::of)) {
            repeatable.answer = answer;
            *self = Ran::One(Box::new(repeatable));
        }
    }
}

impl Session {
    /// Commits the implicit transaction, running its statement again when that is what it takes. Gives what the statement
    /// answered when it was run again; with `told`, it must answer what it did the first time.
    pub(crate) async fn commit_implicit(&mut self, told: bool) -> Result<Option<Outcome>> {
        let ran = std::mem::take(&mut self.transactions.ran);
        let mut lost = match self.commit_open().await {
            Err(error) if error.kind() == ErrorKind::SerializationFailure => error,
            result => return result.map(|()| None),
        };
        let Ran::One(repeatable) = ran else {
            return Err(lost);
        };
        // The same statement goes on: within its time, and until somebody stops it.
        let guard = self.canceller().current();
        let _again = self.canceller().hold(guard.as_ref());
        let give_up_at = Instant::now() + TIME_MAX;
        for number in 0_u32.. {
            if Instant::now() > give_up_at {
                break;
            }
            let pause_ms = rand::rng().random_range(1..=PAUSE_MAX_MS.min(4 << number.min(8)));
            let pause = tokio::time::sleep(Duration::from_millis(pause_ms));
            match &guard {
                Some(guard) => {
                    guard
                        .run(async {
                            let _: () = pause.await;
                            Ok(())
                        })
                        .await?
                }
                None => pause.await,
            }
            self.begin_implicit();
            let outcome = match Box::pin(self.repeat(&repeatable)).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.fail().await;
                    return Err(error);
                }
            };
            let is_known = |answer: Answer| answer.is_same(&repeatable.answer);
            if told && !Answer::of(&outcome).is_some_and(is_known) {
                self.fail().await;
                break;
            }
            self.transactions.ran = Ran::Nothing;
            match self.commit_open().await {
                Err(error) if error.kind() == ErrorKind::SerializationFailure => lost = error,
                result => return result.map(|()| Some(outcome)),
            }
        }
        Err(lost)
    }

    async fn repeat(&mut self, repeatable: &Repeatable) -> Result<Outcome> {
        let prepared = self.prepare(repeatable.statement.clone(), &repeatable.declared).await?;
        self.run(&prepared, repeatable.parameters.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};

    use super::*;

    type Rows = [(i64, Option<&'static str>)];

    fn answer(batches: &[&Rows], ordered: bool) -> Answer {
        let batch = |rows: &&Rows| {
            let numbers: ArrayRef = Arc::new(rows.iter().map(|(number, _)| *number).collect::<Int64Array>());
            let texts: ArrayRef = Arc::new(rows.iter().map(|(_, text)| *text).collect::<StringViewArray>());
            RecordBatch::try_from_iter_with_nullable([("number", numbers, true), ("text", texts, true)])
        };
        let batches: Result<Vec<RecordBatch>, ArrowError> = batches.iter().map(batch).collect();
        let batches = Arc::from(batches.expect("columns of one length"));
        Answer::Returned(ReturnedBatches { batches, ordered })
    }

    #[test]
    fn the_same_rows_may_come_otherwise() {
        let told = answer(
            &[&[(1, Some("a")), (2, None)], &[(3, Some("c")), (1, Some("a"))]],
            false,
        );
        let cut: &[&Rows] = &[&[(1, Some("a"))], &[], &[(2, None), (3, Some("c")), (1, Some("a"))]];
        assert!(answer(cut, false).is_same(&told));
        let mixed: &[&Rows] = &[&[(3, Some("c")), (1, Some("a")), (1, Some("a")), (2, None)]];
        assert!(answer(mixed, false).is_same(&told));
    }

    #[test]
    fn an_order_that_was_asked_for_is_part_of_the_answer() {
        let told = answer(&[&[(1, Some("a")), (2, None)]], true);
        assert!(answer(&[&[(1, Some("a"))], &[(2, None)]], true).is_same(&told));
        assert!(!answer(&[&[(2, None), (1, Some("a"))]], true).is_same(&told));
    }

    #[test]
    fn other_rows_are_not_the_same() {
        let told = answer(&[&[(1, Some("a")), (2, None), (2, None)]], false);
        let others: [&[&Rows]; 4] = [
            &[&[(1, Some("a")), (2, None)]],
            &[&[(1, Some("a")), (1, Some("a")), (2, None)]],
            &[&[(1, Some("a")), (2, Some("")), (2, None)]],
            &[],
        ];
        for other in others {
            assert!(!answer(other, false).is_same(&told), "{other:?}");
        }
        assert!(!Answer::Tag(CommandTag::counted("INSERT 0", 3)).is_same(&told));
    }
}
