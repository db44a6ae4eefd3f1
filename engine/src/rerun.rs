//! A statement that is a transaction of its own and lost against another one is run again, as if it had come later: its
//! client sees no serialization failure.
//!
//! Only when nothing was sent to the client that could turn out different: the statement was the only one, gave no rows,
//! and changes as many rows as before.

use std::time::Duration;

use datafusion::scalar::ScalarValue;
use rand::Rng;
use staffa_planner::{Error, ErrorKind, ParsedStatement, Result, SqlType, StatementClass};
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

/// A statement with what it was run with, and its tag.
pub(crate) struct Repeatable {
    statement: ParsedStatement,
    declared: Vec<Option<SqlType>>,
    parameters: Vec<ScalarValue>,
    tag: CommandTag,
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
            tag: CommandTag::plain(""),
        })
    }

    /// Notes how it ended.
    pub(crate) fn end(&mut self, repeatable: Option<Repeatable>, outcome: &Result<Outcome>) {
        if let (Some(mut repeatable), Ok(Outcome::Done(tag))) = (repeatable, outcome) {
            repeatable.tag = tag.clone();
            *self = Ran::One(Box::new(repeatable));
        }
    }
}

impl Session {
    /// Commits the implicit transaction, running its statement again when that is what it takes.
    pub(crate) async fn commit_implicit(&mut self) -> Result<()> {
        let ran = std::mem::take(&mut self.transactions.ran);
        let mut lost = match self.commit_open().await {
            Err(error) if error.kind() == ErrorKind::SerializationFailure => error,
            result => return result,
        };
        let Ran::One(repeatable) = ran else {
            return Err(lost);
        };
        let give_up_at = Instant::now() + TIME_MAX;
        for number in 0_u32.. {
            if Instant::now() > give_up_at {
                break;
            }
            let pause_ms = rand::rng().random_range(1..=PAUSE_MAX_MS.min(4 << number.min(8)));
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            self.begin_implicit();
            let tag = match self.repeat(&repeatable).await {
                Ok(tag) => tag,
                Err(error) => {
                    self.fail().await;
                    return Err(error);
                }
            };
            if tag != repeatable.tag {
                self.fail().await;
                break;
            }
            self.transactions.ran = Ran::Nothing;
            match self.commit_open().await {
                Err(error) if error.kind() == ErrorKind::SerializationFailure => lost = error,
                result => return result,
            }
        }
        Err(lost)
    }

    async fn repeat(&mut self, repeatable: &Repeatable) -> Result<CommandTag> {
        let prepared = self.prepare(repeatable.statement.clone(), &repeatable.declared).await?;
        match self.run(&prepared, repeatable.parameters.clone()).await? {
            Outcome::Done(tag) => Ok(tag),
            _ => Err(Error::internal("a statement gave rows when it was run again")),
        }
    }
}
