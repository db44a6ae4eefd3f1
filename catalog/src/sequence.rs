//! Sequences: what `CREATE SEQUENCE` says, kept as the pointer of its name; how far one is, kept outside of every
//! transaction.
//!
//! ```text
//! iceberg_tables    name -> staffa-sequence:{"id":…,"counter":…,"increment":1,…}    moved by commits, as tables are
//! staffa_sequence   counter -> steps taken, origin                                  moved at once, for good
//! ```
//!
//! A restart, and every change that gives the steps of a counter other numbers, begins another counter: it takes effect with
//! its transaction. Where the new one goes on from the old one, the commit ends that: nobody takes from it after, and what
//! was taken between the statement and the commit is left out ([`CounterEnd`]). The row of a counter that has ended says
//! `-1 - taken`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::rule::{Identity, IdentityKind};
use crate::types::SqlType;

/// Before the definition where a table has the location of its metadata.
const SCHEME: &str = "staffa-sequence:";

/// A sequence with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sequence {
    /// The sequence's for ever. That of a column has the id of the column's [`Identity`].
    pub id: Uuid,
    /// Names its counter.
    pub counter: Uuid,
    /// The type its limits come from.
    pub ty: SequenceType,
    /// `START WITH`: where RESTART begins.
    pub start: i64,
    /// From one number to the next; not 0.
    pub increment: i64,
    /// The least number.
    pub min: i64,
    /// The greatest number.
    pub max: i64,
    /// How many numbers a server takes at once, if it takes more than its own choice.
    pub cache: i64,
    /// Whether it starts again at the other end when it is at its end.
    pub cycle: bool,
    /// The number the counter begins at.
    pub origin: i64,
    /// Whether that was given before the counter began.
    pub is_called: bool,
    /// The column it goes with.
    pub owner: Option<SequenceOwner>,
}

/// `OWNED BY`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SequenceOwner {
    /// The table's UUID.
    pub table: Uuid,
    /// The column's field id.
    pub column: i32,
    /// Whether it is the sequence of an identity column, which cannot be without it.
    pub is_identity: bool,
}

/// The integer types a sequence can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SequenceType {
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
}

/// How far a counter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceState {
    /// The number it begins at, when `setval` said another than the definition.
    pub origin: Option<i64>,
    /// Steps that are given, or held by a server.
    pub taken: i64,
}

/// A counter that ends with a commit, because another one goes on from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CounterEnd {
    /// The sequence as it was with it.
    pub(crate) before: Sequence,
    /// How far it was when the next one was begun.
    pub(crate) state: SequenceState,
    /// The one that goes on from it.
    pub(crate) next: Uuid,
    /// Whether it must still be there: another counter came between the two.
    pub(crate) is_exact: bool,
}

impl SequenceType {
    /// The type, if it is one of the three.
    pub fn of(ty: &SqlType) -> Option<SequenceType> {
        match ty {
            SqlType::SmallInt => Some(SequenceType::SmallInt),
            SqlType::Integer => Some(SequenceType::Integer),
            SqlType::BigInt => Some(SequenceType::BigInt),
            _ => None,
        }
    }

    /// As SQL names it.
    pub fn sql_type(self) -> SqlType {
        match self {
            SequenceType::SmallInt => SqlType::SmallInt,
            SequenceType::Integer => SqlType::Integer,
            SequenceType::BigInt => SqlType::BigInt,
        }
    }

    /// The least and the greatest number.
    pub fn limits(self) -> (i64, i64) {
        match self {
            SequenceType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
            SequenceType::Integer => (i64::from(i32::MIN), i64::from(i32::MAX)),
            SequenceType::BigInt => (i64::MIN, i64::MAX),
        }
    }
}

impl Sequence {
    /// The sequence of a column.
    pub fn of_column(identity: &Identity, ty: SequenceType, table: Uuid, column: i32) -> Sequence {
        Sequence {
            id: identity.id,
            counter: identity.id,
            ty,
            start: identity.start,
            increment: identity.increment,
            min: identity.min,
            max: identity.max,
            cache: identity.cache,
            cycle: identity.cycle,
            origin: identity.start,
            is_called: false,
            owner: Some(SequenceOwner {
                table,
                column,
                is_identity: identity.kind != IdentityKind::Serial,
            }),
        }
    }

    /// Whether it has a name, or will have one with its transaction. Those of columns of old tables have none, and no table
    /// here.
    pub(crate) fn is_named(&self) -> bool {
        self.owner.is_none_or(|owner| !owner.table.is_nil())
    }

    /// The first step that is free when nobody has taken any.
    pub fn first_step(&self) -> i64 {
        i64::from(self.is_called)
    }

    /// The number of a step, `None` when the sequence has ended before.
    pub fn number(&self, origin: Option<i64>, step: i64) -> Option<i64> {
        let identity = Identity {
            id: self.id,
            kind: IdentityKind::Serial,
            start: origin.unwrap_or(self.origin),
            increment: self.increment,
            min: self.min,
            max: self.max,
            cycle: self.cycle,
            cache: self.cache,
        };
        identity.number(step)
    }

    /// The number given last, or to be given first: then with `false`.
    pub fn last_value(&self, state: SequenceState) -> (i64, bool) {
        let origin = state.origin.unwrap_or(self.origin);
        if state.taken == 0 {
            return (origin, false);
        }
        match self.number(state.origin, state.taken - 1) {
            Some(number) => (number, true),
            // It has ended: the last step that was one.
            None => {
                let end = if self.increment > 0 { self.max } else { self.min };
                let steps = (i128::from(end) - i128::from(origin)) / i128::from(self.increment);
                let number = i128::from(origin) + steps * i128::from(self.increment);
                (i64::try_from(number).unwrap_or(end), true)
            }
        }
    }

    /// Whether its counter, which is as far as `state`, can be that of `altered`: both have the same numbers for all steps
    /// from here on, and the next step's is the one that follows the last.
    pub fn counts_as(&self, altered: &Sequence, state: SequenceState) -> bool {
        let limits = |sequence: &Sequence| (sequence.min, sequence.max, sequence.cycle);
        self.increment == altered.increment
            && (limits(self) == limits(altered) || self.is_in_first_round(state) && altered.is_in_first_round(state))
    }

    /// Whether it has not come to its end yet: the limits have no part in its numbers so far.
    fn is_in_first_round(&self, state: SequenceState) -> bool {
        let origin = i128::from(state.origin.unwrap_or(self.origin));
        let steps = i128::from((state.taken - 1).max(0));
        let last = origin + steps * i128::from(self.increment);
        (i128::from(self.min)..=i128::from(self.max)).contains(&last)
    }

    /// The same sequence with another's counter.
    pub fn with_counter_of(&self, other: &Sequence) -> Sequence {
        Sequence {
            counter: other.counter,
            origin: other.origin,
            is_called: other.is_called,
            ..self.clone()
        }
    }

    /// The same sequence going on from a number, with a counter of its own.
    pub fn going_on_from(&self, origin: i64, is_called: bool) -> Sequence {
        Sequence {
            counter: Uuid::new_v4(),
            origin,
            is_called,
            ..self.clone()
        }
    }

    pub(crate) fn parse(pointer: &str) -> Result<Sequence> {
        let text = pointer.strip_prefix(SCHEME).unwrap_or_default();
        serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the definition of a sequence cannot be read")
                .with_detail(format!("\"{pointer}\""))
                .with_source(error)
        })
    }

    /// The counter that the pointer of a name stands for, if it is that of a sequence.
    pub(crate) fn counter_in(pointer: &str) -> Option<&str> {
        let (_, counter) = pointer.strip_prefix(SCHEME)?.split_once("\"counter\":\"")?;
        counter.split_once('"').map(|(counter, _)| counter)
    }

    pub(crate) fn print(&self) -> Result<String> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::internal("cannot encode the definition of a sequence").with_source(error))?;
        Ok(format!("{SCHEME}{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(origin: i64, increment: i64, min: i64, max: i64) -> Sequence {
        Sequence {
            id: Uuid::nil(),
            counter: Uuid::nil(),
            ty: SequenceType::BigInt,
            start: origin,
            increment,
            min,
            max,
            cache: 1,
            cycle: false,
            origin,
            is_called: false,
            owner: None,
        }
    }

    #[test]
    fn a_pointer_holds_all_of_a_sequence_and_fits_its_column() {
        let mut all = sequence(i64::MIN, i64::MIN, i64::MIN, i64::MIN);
        all.owner = Some(SequenceOwner {
            table: Uuid::new_v4(),
            column: i32::MIN,
            is_identity: true,
        });
        let pointer = all.print().unwrap();
        assert!(pointer.len() < 1000, "{} bytes", pointer.len());
        assert_eq!(Sequence::parse(&pointer).unwrap(), all);
        assert_eq!(Sequence::counter_in(&pointer), Some(all.counter.to_string().as_str()));
        assert_eq!(Sequence::counter_in("file:///a/\"counter\":\"b\""), None);
        assert!(Sequence::parse("file:///somewhere").is_err());
    }

    #[test]
    fn the_last_value_stays_at_the_end() {
        let state = |taken| SequenceState { origin: None, taken };
        let up = sequence(1, 2, 1, 6);
        assert_eq!(up.last_value(state(0)), (1, false));
        assert_eq!(up.last_value(state(1)), (1, true));
        assert_eq!(up.last_value(state(3)), (5, true));
        assert_eq!(up.last_value(state(40)), (5, true));
        let down = sequence(-1, -3, -8, -1);
        assert_eq!(down.last_value(state(40)), (-7, true));
        let moved = SequenceState {
            origin: Some(4),
            taken: 1,
        };
        assert_eq!(up.last_value(moved), (4, true));
        assert_eq!(up.number(moved.origin, 1), Some(6));
    }

    #[test]
    fn a_counter_stays_as_long_as_its_numbers_do() {
        let state = |taken| SequenceState { origin: None, taken };
        let before = sequence(1, 2, 1, 9);
        let with = |change: &dyn Fn(&mut Sequence)| {
            let mut altered = before.clone();
            change(&mut altered);
            altered
        };
        let (cached, longer) = (with(&|it| it.cache = 99), with(&|it| it.max = 20));
        let (round, faster) = (with(&|it| it.cycle = true), with(&|it| it.increment = 3));
        for taken in 0..=5 {
            assert!(before.counts_as(&longer, state(taken)) && before.counts_as(&round, state(taken)));
            assert!(round.counts_as(&before, state(taken)));
        }
        // A call that failed took a step.
        assert!(!before.counts_as(&longer, state(6)) && !before.counts_as(&round, state(6)));
        assert!(!round.counts_as(&before, state(6)));
        assert!(before.counts_as(&cached, state(60)));
        assert!(!before.counts_as(&faster, state(1)));
    }
}
