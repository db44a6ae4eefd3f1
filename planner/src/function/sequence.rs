//! The next number of a column's sequence, as an expression.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use staffa_catalog::{Identity, IdentityKind};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// What the function is called in the text of a default.
pub(super) const NEXT_NUMBER: &str = "staffa_next_number";

/// Who gives numbers. Given ones are never given again.
pub trait Sequences: Send + Sync + fmt::Debug {
    /// The first of `count` steps of a sequence that are the caller's from now on. May wait: it is called where operators
    /// run, on threads that may be waited on.
    fn take(&self, sequence: Uuid, count: i64) -> Result<i64>;
}

/// The sequences of a statement, if it has any to ask.
#[derive(Clone, Debug, Default)]
pub(super) struct SequenceSource(pub(super) Option<Arc<dyn Sequences>>);

impl PartialEq for SequenceSource {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Eq for SequenceSource {}

impl Hash for SequenceSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.is_some().hash(state);
    }
}

/// The text of an expression that gives the next number.
pub(crate) fn next_number(identity: &Identity) -> String {
    let Identity {
        id,
        kind: _,
        start,
        increment,
        min,
        max,
        cycle,
    } = identity;
    format!("{NEXT_NUMBER}('{id} {start} {increment} {min} {max} {cycle}')")
}

fn parse(text: &str) -> Option<Identity> {
    let mut words = text.split(' ');
    let number = |word: Option<&str>| word?.parse::<i64>().ok();
    let id = words.next()?.parse().ok()?;
    Some(Identity {
        id,
        kind: IdentityKind::Serial,
        start: number(words.next())?,
        increment: number(words.next()).filter(|increment| *increment != 0)?,
        min: number(words.next())?,
        max: number(words.next())?,
        cycle: words.next()?.parse().ok()?,
    })
}

/// The next `count` numbers of a sequence.
pub(super) fn take(source: &SequenceSource, text: &str, count: usize) -> Result<Vec<i64>> {
    let identity = parse(text).ok_or_else(|| Error::internal("a sequence that is none"))?;
    let Some(source) = &source.0 else {
        return Err(Error::internal("there are no sequences here"));
    };
    let count = i64::try_from(count).map_err(|_| Error::internal("too many numbers"))?;
    let first = source.take(identity.id, count)?;
    let number = |step: i64| {
        identity.number(step).ok_or_else(|| {
            let (which, end) = match identity.increment > 0 {
                true => ("maximum", identity.max),
                false => ("minimum", identity.min),
            };
            let message = format!("nextval: reached {which} value of sequence ({end})");
            Error::new(ErrorKind::SequenceLimitExceeded, message)
        })
    };
    (first..first + count).map(number).collect()
}
