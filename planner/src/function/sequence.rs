//! The numbers of sequences: `nextval`, `currval`, `lastval`, `setval`, and the next number of a column as an expression.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{
    AccessKey, CatalogSnapshot, Identity, ObjectKind, Privileges, Sequence, SequenceState, SequenceType, SqlType,
    TableName, Uuid,
};

use crate::authorize::denied;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::statement::sequence::named;

/// What the function is called in the text of a default.
pub(super) const NEXT_NUMBER: &str = "staffa_next_number";

/// Who gives numbers, for one session. Given ones are never given again. All of them may wait: they are called where
/// operators run or statements are planned, on threads that may be waited on.
pub trait Sequences: Send + Sync + fmt::Debug {
    /// `count` steps that are the caller's from now on, from `taken` of the result on. They are of the sequence as it is now,
    /// which comes with them: another transaction may have altered it.
    fn take(&self, sequence: &Sequence, count: i64) -> Result<(Sequence, SequenceState)>;

    /// How far a sequence is.
    fn state(&self, sequence: &Sequence) -> Result<SequenceState>;

    /// Sets the number a sequence goes on from; it is given next unless it is called.
    fn set(&self, sequence: &Sequence, number: i64, is_called: bool) -> Result<()>;

    /// Notes a number the session got. With `used`, by `nextval`: it is the session's last.
    fn note(&self, sequence: Uuid, number: i64, used: bool);

    /// The number of a sequence the session got last.
    fn current(&self, sequence: Uuid) -> Option<i64>;

    /// The number the session got last of any sequence.
    fn last(&self) -> Option<i64>;
}

/// The sequences of a statement, and how it finds them by name.
#[derive(Clone, Default)]
pub(super) struct SequenceSource {
    source: Option<Arc<dyn Sequences>>,
    /// Weak: a prepared plan must not keep a state of the catalog for ever. While a plan runs, its session holds it.
    snapshot: Weak<CatalogSnapshot>,
    database: String,
    path: Vec<String>,
    user: String,
    is_read_only: bool,
}

impl fmt::Debug for SequenceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SequenceSource")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl PartialEq for SequenceSource {
    fn eq(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) && Weak::ptr_eq(&self.snapshot, &other.snapshot),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Eq for SequenceSource {}

impl Hash for SequenceSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.is_some().hash(state);
    }
}

impl SequenceSource {
    pub(super) fn of(context: &PlanContext) -> Self {
        Self {
            source: context.sequences.clone(),
            snapshot: Arc::downgrade(&context.snapshot),
            database: context.database.clone(),
            path: context.lookup_path(),
            user: context.user.clone(),
            is_read_only: context
                .settings
                .get("transaction_read_only")
                .is_some_and(|value| value == "on"),
        }
    }

    fn sequences(&self) -> Result<&dyn Sequences> {
        match &self.source {
            Some(source) => Ok(source.as_ref()),
            None => Err(Error::internal("there are no sequences here")),
        }
    }

    /// The sequence of this name, for one of these privileges.
    fn find(&self, text: &str, privileges: &[Privileges]) -> Result<Known> {
        let gone = || Error::internal("the state of the catalog a statement sees is gone");
        let snapshot = self.snapshot.upgrade().ok_or_else(gone)?;
        let name = named(&snapshot, &self.database, &self.path, text)?;
        let sequence = snapshot.sequence(&name)?.ok_or_else(gone)?;
        let access = snapshot.access();
        let authority = access.authority(&self.user, &self.database);
        let rights = access.rights(&AccessKey::Relation(sequence.id));
        let may = |privilege| authority.may(&rights, ObjectKind::Sequence, privilege);
        if !privileges.iter().copied().any(may) {
            return Err(denied("sequence", &name.name));
        }
        Ok(Known {
            name: name.name,
            sequence,
        })
    }

    fn check_writable(&self, function: &str) -> Result<()> {
        match self.is_read_only {
            false => Ok(()),
            true => {
                let message = format!("cannot execute {function}() in a read-only transaction");
                Err(Error::new(ErrorKind::ReadOnlyTransaction, message))
            }
        }
    }

    /// `nextval(text)` for every row: one question for all rows of a sequence.
    pub(super) fn next_values(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.check_writable("nextval")?;
        let texts = texts(args)?;
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for text in texts.iter().flatten() {
            *counts.entry(text.as_str()).or_default() += 1;
        }
        let mut given = HashMap::new();
        for (text, count) in counts {
            let numbers = self.numbers(&self.find(text, &[Privileges::USAGE, Privileges::UPDATE])?, count)?;
            given.insert(text, numbers.into_iter());
        }
        let next = |text: &Option<String>| given.get_mut(text.as_deref()?)?.next();
        let numbers: Int64Array = texts.iter().map(next).collect();
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    }

    /// The numbers of a column's rows; the sequence is in the argument.
    pub(super) fn column_values(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let Some(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(text)))) = args.args.first() else {
            return Err(Error::internal("numbers of no sequence").into());
        };
        let wrong = |_| Error::internal("a sequence that is none");
        let (name, sequence) = serde_json::from_str(text).map_err(wrong)?;
        let known = Known { name, sequence };
        let numbers = self.numbers(&known, args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(numbers))))
    }

    fn numbers(&self, known: &Known, count: usize) -> Result<Vec<i64>> {
        let count = i64::try_from(count).map_err(|_| Error::internal("too many numbers"))?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let (sequence, state) = self.sequences()?.take(&known.sequence, count)?;
        let steps = state.taken..state.taken + count;
        let numbers: Vec<i64> = steps.map_while(|step| sequence.number(state.origin, step)).collect();
        if let Some(last) = numbers.last() {
            self.sequences()?.note(sequence.id, *last, true);
        }
        if numbers.len() as i64 == count {
            return Ok(numbers);
        }
        let (which, end) = match sequence.increment > 0 {
            true => ("maximum", sequence.max),
            false => ("minimum", sequence.min),
        };
        let message = format!("nextval: reached {which} value of sequence \"{}\" ({end})", known.name);
        Err(Error::new(ErrorKind::SequenceLimitExceeded, message))
    }

    pub(super) fn current_values(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let current = |text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let known = self.find(text, &[Privileges::USAGE, Privileges::SELECT])?;
            match self.sequences()?.current(known.sequence.id) {
                Some(number) => Ok(Some(number)),
                None => {
                    let message = format!(
                        "currval of sequence \"{}\" is not yet defined in this session",
                        known.name
                    );
                    Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message))
                }
            }
        };
        let numbers = texts(args)?.iter().map(current).collect::<Result<Int64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    }

    pub(super) fn last_value(&self) -> DataFusionResult<ColumnarValue> {
        match self.sequences()?.last() {
            Some(number) => Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(number)))),
            None => {
                let message = "lastval is not yet defined in this session";
                Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message).into())
            }
        }
    }

    pub(super) fn set_values(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.check_writable("setval")?;
        let texts = texts(args)?;
        let column = |index: usize| match args.args.get(index) {
            Some(value) => value.to_array(args.number_rows).map(Some),
            None => Ok(None),
        };
        let (Some(numbers), flags) = (column(1)?, column(2)?) else {
            return Err(Error::internal("setval() of no number").into());
        };
        let numbers = numbers.as_primitive::<Int64Type>();
        let set = |(row, text): (usize, &Option<String>)| {
            let flag = |flags: &ArrayRef| flags.is_valid(row).then(|| flags.as_boolean().value(row));
            let is_called = flags.as_ref().map_or(Some(true), flag);
            let (Some(text), Some(is_called), true) = (text, is_called, numbers.is_valid(row)) else {
                return Ok(None);
            };
            self.set(text, numbers.value(row), is_called).map(Some)
        };
        let set = texts.iter().enumerate().map(set).collect::<Result<Int64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(set)))
    }

    fn set(&self, text: &str, number: i64, is_called: bool) -> Result<i64> {
        let Known { name, sequence } = self.find(text, &[Privileges::UPDATE])?;
        if !(sequence.min..=sequence.max).contains(&number) {
            let message = format!(
                "setval: value {number} is out of bounds for sequence \"{name}\" ({}..{})",
                sequence.min, sequence.max
            );
            return Err(Error::new(ErrorKind::NumericOutOfRange, message));
        }
        self.sequences()?.set(&sequence, number, is_called)?;
        if is_called {
            self.sequences()?.note(sequence.id, number, false);
        }
        Ok(number)
    }
}

/// A sequence and what messages call it.
struct Known {
    name: String,
    sequence: Sequence,
}

/// The first argument of every row.
fn texts(args: &ScalarFunctionArgs) -> DataFusionResult<Vec<Option<String>>> {
    let Some(first) = args.args.first() else {
        return Err(Error::internal("a sequence is expected").into());
    };
    let texts = first.to_array(args.number_rows)?;
    let texts = texts.as_string_view();
    Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
}

/// The text of an expression that gives the next number of a column.
pub(crate) fn next_number(snapshot: &CatalogSnapshot, identity: &Identity, ty: &SqlType) -> Result<String> {
    let known = match snapshot.sequence_with_id(identity.id)? {
        Some((TableName { name, .. }, sequence)) => (name, sequence),
        // The table was made before sequences of columns had names.
        None => {
            let ty = SequenceType::of(ty).unwrap_or(SequenceType::BigInt);
            let sequence = Sequence::of_column(identity, ty, Uuid::nil(), 0);
            (identity.id.to_string(), sequence)
        }
    };
    let known = serde_json::to_string(&known).map_err(|error| Error::internal(error.to_string()))?;
    Ok(format!("{NEXT_NUMBER}('{}')", known.replace('\'', "''")))
}
