//! Functions that do something to a session: settings, other sessions, advisory locks.
//!
//! What they do is the engine's: see [`SessionActions`]. Those that may have to wait hold no thread meanwhile.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringViewArray};
use arrow::datatypes::{DataType, FieldRef, Float64Type, Int32Type, Int64Type};
use async_trait::async_trait;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use staffa_catalog::{SqlType, SystemType};

use super::session::SessionFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::types::arrow_field;

/// What functions can do to the session that calls them, and to others of its server.
#[async_trait]
pub trait SessionActions: Send + Sync + fmt::Debug {
    /// `set_config()`; gives the value as SHOW does. `None` is DEFAULT.
    fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<String>;

    /// Stops what a session runs, or ends it; false when there is no session of that number.
    fn signal(&self, backend: i32, end: bool) -> Result<bool>;

    /// Waits for an advisory lock.
    async fn lock(&self, lock: AdvisoryLock) -> Result<()>;

    /// Takes an advisory lock if nobody is in the way.
    fn try_lock(&self, lock: AdvisoryLock) -> Result<bool>;

    /// Gives a lock of the session back; false, and a warning, when it has none.
    fn unlock(&self, key: AdvisoryKey, shared: bool) -> bool;

    /// Gives all locks of the session back.
    fn unlock_all(&self);

    /// `setseed()`: the numbers that follow are those of this seed, from -1 to 1.
    fn seed(&self, seed: f64);

    /// So many more numbers of `random()`, from 0 to below 1.
    fn random(&self, count: usize) -> Vec<f64>;
}

/// What an advisory lock is called: one number or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdvisoryKey {
    One(i64),
    Two(i32, i32),
}

/// An advisory lock that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvisoryLock {
    pub key: AdvisoryKey,
    pub shared: bool,
    /// Until the end of the transaction, not of the session.
    pub transaction: bool,
}

/// The session's actions; equal when they are of one session.
#[derive(Clone, Default)]
pub(super) struct Actions(pub(super) Option<Arc<dyn SessionActions>>);

impl Actions {
    pub(super) fn get(&self) -> Result<&Arc<dyn SessionActions>> {
        self.0
            .as_ref()
            .ok_or_else(|| Error::internal("there is no session here"))
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Actions").field(&self.0.is_some()).finish()
    }
}

impl PartialEq for Actions {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Eq for Actions {}

impl Hash for Actions {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.is_some().hash(state);
    }
}

/// `set_config(name, value, is_local)`
pub(super) fn set_config(actions: &Actions, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let actions = actions.get()?;
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let [names, values, locals] = arrays.as_slice() else {
        return Err(Error::internal("set_config() takes three arguments").into());
    };
    let (names, values, locals) = (names.as_string_view(), values.as_string_view(), locals.as_boolean());
    let rows = (0..names.len()).map(|row| {
        if names.is_null(row) {
            return Err(Error::new(
                ErrorKind::NullValueNotAllowed,
                "SET requires parameter name",
            ));
        }
        let value = (!values.is_null(row)).then(|| values.value(row));
        actions.set(names.value(row), value, !locals.is_null(row) && locals.value(row))
    });
    let set = rows.map(|row| row.map(Some)).collect::<Result<StringViewArray>>()?;
    Ok(ColumnarValue::Array(Arc::new(set)))
}

/// `pg_cancel_backend(pid)`, `pg_terminate_backend(pid [, timeout])`
pub(super) fn signal(actions: &Actions, args: &ScalarFunctionArgs, end: bool) -> DataFusionResult<ColumnarValue> {
    let actions = actions.get()?;
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let numbers = arrays
        .first()
        .ok_or_else(|| Error::internal("a backend has a number"))?;
    let told: BooleanArray = match numbers.data_type() {
        DataType::Int32 => {
            let numbers = numbers.as_primitive::<Int32Type>();
            numbers
                .iter()
                .map(|number| number.map(|number| actions.signal(number, end)).transpose())
                .collect::<Result<_>>()?
        }
        _ => {
            let numbers = numbers.as_primitive::<Int64Type>();
            let known = |number: i64| match i32::try_from(number) {
                Ok(number) => actions.signal(number, end),
                Err(_) => Ok(false),
            };
            numbers
                .iter()
                .map(|number| number.map(known).transpose())
                .collect::<Result<_>>()?
        }
    };
    Ok(ColumnarValue::Array(Arc::new(told)))
}

/// `pg_try_advisory_lock` and its like.
pub(super) fn try_lock(
    actions: &Actions,
    args: &ScalarFunctionArgs,
    shared: bool,
    transaction: bool,
) -> DataFusionResult<ColumnarValue> {
    let actions = actions.get()?;
    let lock = |key| AdvisoryLock {
        key,
        shared,
        transaction,
    };
    let taken = keys(args)?
        .into_iter()
        .map(|key| key.map(|key| actions.try_lock(lock(key))).transpose());
    let taken = taken.collect::<Result<Vec<Option<bool>>>>()?;
    Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(taken))))
}

/// `pg_advisory_unlock`, `pg_advisory_unlock_shared`
pub(super) fn unlock(actions: &Actions, args: &ScalarFunctionArgs, shared: bool) -> DataFusionResult<ColumnarValue> {
    let actions = actions.get()?;
    let given = keys(args)?.into_iter().map(|key| Some(actions.unlock(key?, shared)));
    Ok(ColumnarValue::Array(Arc::new(given.collect::<BooleanArray>())))
}

/// `random()`; what is computed for no session has numbers of nobody.
pub(super) fn random(actions: &Actions, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let count = args.number_rows;
    let numbers = match &actions.0 {
        Some(actions) => actions.random(count),
        None => (0..count).map(|_| rand::random()).collect(),
    };
    Ok(ColumnarValue::Array(Arc::new(Float64Array::from(numbers))))
}

/// `setseed(seed)`
pub(super) fn set_seed(actions: &Actions, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let seeds = args
        .args
        .first()
        .ok_or_else(|| Error::internal("setseed() takes one argument"))?
        .to_array(args.number_rows)?;
    for seed in seeds.as_primitive::<Float64Type>().iter().flatten() {
        if !(-1.0..=1.0).contains(&seed) {
            let message = format!("setseed parameter {seed} is out of allowed range [-1,1]");
            return Err(Error::new(ErrorKind::InvalidParameterValue, message).into());
        }
        actions.get()?.seed(seed);
    }
    nothing(args.number_rows, |row| seeds.is_null(row))
}

/// `pg_advisory_unlock_all()`
pub(super) fn unlock_all(actions: &Actions, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    actions.get()?.unlock_all();
    nothing(args.number_rows, |_| false)
}

/// Keys by their number of arguments.
pub(super) fn key_signature() -> Signature {
    Signature::one_of(
        vec![
            TypeSignature::Exact(vec![DataType::Int64]),
            TypeSignature::Exact(vec![DataType::Int64, DataType::Int64]),
        ],
        Volatility::Volatile,
    )
}

/// The key of each row; `None` where a part of it is NULL.
fn keys(args: &ScalarFunctionArgs) -> Result<Vec<Option<AdvisoryKey>>> {
    let arrays = args
        .args
        .iter()
        .map(|arg| arg.to_array(args.number_rows))
        .collect::<DataFusionResult<Vec<ArrayRef>>>()?;
    match arrays.as_slice() {
        [one] => {
            let one = one.as_primitive::<Int64Type>();
            Ok(one.iter().map(|key| key.map(AdvisoryKey::One)).collect())
        }
        [first, second] => {
            let (first, second) = (first.as_primitive::<Int64Type>(), second.as_primitive::<Int64Type>());
            let narrow = |part: i64| {
                i32::try_from(part).map_err(|_| Error::new(ErrorKind::NumericOutOfRange, "integer out of range"))
            };
            let pairs = first.iter().zip(second).map(|pair| match pair {
                (Some(first), Some(second)) => Ok(Some(AdvisoryKey::Two(narrow(first)?, narrow(second)?))),
                _ => Ok(None),
            });
            pairs.collect()
        }
        _ => Err(Error::internal("a lock has a key of one or two parts")),
    }
}

/// PostgreSQL's `void`, which prints as nothing.
fn nothing(rows: usize, is_null: impl Fn(usize) -> bool) -> DataFusionResult<ColumnarValue> {
    let nothing: StringViewArray = (0..rows).map(|row| (!is_null(row)).then_some("")).collect();
    Ok(ColumnarValue::Array(Arc::new(nothing)))
}

/// Functions that wait for a lock: name, shared, of the transaction.
const WAITING: &[(&str, bool, bool)] = &[
    ("pg_advisory_lock", false, false),
    ("pg_advisory_lock_shared", true, false),
    ("pg_advisory_xact_lock", false, true),
    ("pg_advisory_xact_lock_shared", true, true),
];

/// The field of a function that gives PostgreSQL's `void`, which prints as nothing.
pub(super) fn void(function: &str) -> FieldRef {
    Arc::new(arrow_field(function, &SqlType::System(SystemType::Void), true, "UTC"))
}

pub(super) fn waiting_names() -> impl Iterator<Item = &'static str> {
    WAITING.iter().map(|(name, ..)| *name)
}

/// The function of this name that waits for a lock, if there is one.
pub(super) fn waiting(name: &str, facts: &SessionFacts) -> Option<ScalarUDF> {
    let (name, shared, transaction) = *WAITING.iter().find(|(known, ..)| *known == name)?;
    let lock = Lock {
        name,
        shared,
        transaction,
        actions: facts.actions().clone(),
        signature: key_signature(),
    };
    Some(AsyncScalarUDF::new(Arc::new(lock)).into_scalar_udf())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lock {
    name: &'static str,
    shared: bool,
    transaction: bool,
    actions: Actions,
    signature: Signature,
}

impl ScalarUDFImpl for Lock {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(void(self.name()))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(Error::unsupported(format!("{}() in this place is not supported", self.name)).into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Lock {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let keys = keys(&args)?;
        let actions = self.actions.get()?;
        for key in keys.iter().flatten() {
            let lock = AdvisoryLock {
                key: *key,
                shared: self.shared,
                transaction: self.transaction,
            };
            actions.lock(lock).await?;
        }
        nothing(args.number_rows, |row| keys[row].is_none())
    }
}
