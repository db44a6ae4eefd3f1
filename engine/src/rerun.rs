//! A statement that is a transaction of its own and lost against another one is run again, as if it had come later: its
//! client sees no serialization failure.
//!
//! Only when nothing was sent to the client that could turn out different: the statement was the only one, and either the
//! client has heard nothing yet, or it gives the same rows and changes as many.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::scalar::ScalarValue;
use rand::Rng;
use staffa_planner::{ErrorKind, ParsedStatement, Result, SqlType, StatementClass};
use tokio::time::Instant;

use crate::outcome::{CommandTag, Outcome};
use crate::session::{Prepared, Session};

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
#[derive(PartialEq)]
enum Answer {
    Tag(CommandTag),
    Returned(Arc<[RecordBatch]>),
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
                Some(guard) => guard.run(async { Ok(pause.await) }).await?,
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
            if told && Answer::of(&outcome).as_ref() != Some(&repeatable.answer) {
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
