//! Functions that answer from facts of the session: who, where, when, which settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, StringViewArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use chrono::Utc;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{SqlType, SystemType};

use super::actions::{self, Actions};
use super::sequence::{NEXT_NUMBER, SequenceSource};
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind};
use crate::pg_catalog::CatalogView;
use crate::types::{arrow_field, data_type};

/// Clients read the version from it; 15 is the PostgreSQL whose answers are given.
const VERSION: &str = concat!("PostgreSQL 15.18 (Staffa ", env!("CARGO_PKG_VERSION"), ")");

/// What the functions answer from. Times are microseconds since 1970-01-01 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionFacts {
    user: String,
    session_user: String,
    database: String,
    current_schema: Option<String>,
    schemas: Vec<String>,
    schemas_with_implicit: Vec<String>,
    backend_pid: i32,
    settings: Arc<BTreeMap<String, String>>,
    time_zone: String,
    transaction_time: i64,
    statement_time: i64,
    sequences: SequenceSource,
    actions: Actions,
    catalog: Option<Arc<CatalogView>>,
}

impl SessionFacts {
    pub(crate) fn of(context: &PlanContext) -> Self {
        let with_implicit: Vec<String> = context
            .lookup_path()
            .into_iter()
            .filter(|schema| schema == "pg_catalog" || context.snapshot.has_schema(&context.database, schema))
            .collect();
        let listed = |schema: &String| schema != "pg_catalog" || context.search_path.contains(schema);
        Self {
            user: context.user.clone(),
            session_user: context.session_user.clone(),
            database: context.database.clone(),
            current_schema: context.current_schema(),
            schemas: with_implicit.iter().filter(|schema| listed(schema)).cloned().collect(),
            schemas_with_implicit: with_implicit,
            backend_pid: context.backend_pid,
            settings: Arc::clone(&context.settings),
            time_zone: context.time_zone.clone(),
            transaction_time: context.transaction_time.timestamp_micros(),
            statement_time: context.statement_time.timestamp_micros(),
            sequences: SequenceSource::of(context),
            actions: Actions(context.actions.clone()),
            catalog: context.catalog_view(),
        }
    }

    /// The system catalogs, when the statement asks for them.
    pub(super) fn catalog(&self) -> Option<&CatalogView> {
        self.catalog.as_deref()
    }

    pub(super) fn actions(&self) -> &Actions {
        &self.actions
    }

    pub(super) fn time_zone(&self) -> &str {
        &self.time_zone
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Version,
    CurrentUser,
    SessionUser,
    CurrentDatabase,
    CurrentSchema,
    CurrentSchemas,
    CurrentSetting,
    BackendPid,
    TransactionTime,
    StatementTime,
    ClockTime,
    IsInRecovery,
    NextNumber,
    NextValue,
    CurrentValue,
    LastValue,
    SetValue,
    SetConfig,
    Signal { end: bool },
    TryLock { shared: bool, transaction: bool },
    Unlock { shared: bool },
    UnlockAll,
    Random,
    SetSeed,
}

impl Kind {
    fn volatility(self) -> Volatility {
        match matches!(self, Kind::ClockTime | Kind::Random) || self.is_of_sequences() || self.acts() {
            true => Volatility::Volatile,
            false => Volatility::Stable,
        }
    }

    /// Whether it does something to a session.
    fn acts(self) -> bool {
        matches!(
            self,
            Kind::SetConfig
                | Kind::Signal { .. }
                | Kind::TryLock { .. }
                | Kind::Unlock { .. }
                | Kind::UnlockAll
                | Kind::SetSeed
        )
    }

    /// Whether it asks or moves sequences: then it is asked for every row.
    fn is_of_sequences(self) -> bool {
        matches!(
            self,
            Kind::NextNumber | Kind::NextValue | Kind::CurrentValue | Kind::LastValue | Kind::SetValue
        )
    }
}

/// Every name, and what it answers.
const NAMES: &[(&str, Kind)] = &[
    ("version", Kind::Version),
    ("current_user", Kind::CurrentUser),
    ("current_role", Kind::CurrentUser),
    ("user", Kind::CurrentUser),
    ("session_user", Kind::SessionUser),
    ("current_database", Kind::CurrentDatabase),
    ("current_catalog", Kind::CurrentDatabase),
    ("current_schema", Kind::CurrentSchema),
    ("current_schemas", Kind::CurrentSchemas),
    ("current_setting", Kind::CurrentSetting),
    ("pg_backend_pid", Kind::BackendPid),
    ("now", Kind::TransactionTime),
    ("current_timestamp", Kind::TransactionTime),
    ("transaction_timestamp", Kind::TransactionTime),
    ("statement_timestamp", Kind::StatementTime),
    ("clock_timestamp", Kind::ClockTime),
    ("pg_is_in_recovery", Kind::IsInRecovery),
    (NEXT_NUMBER, Kind::NextNumber),
    ("nextval", Kind::NextValue),
    ("currval", Kind::CurrentValue),
    ("lastval", Kind::LastValue),
    ("setval", Kind::SetValue),
    ("set_config", Kind::SetConfig),
    ("pg_cancel_backend", Kind::Signal { end: false }),
    ("pg_terminate_backend", Kind::Signal { end: true }),
    (
        "pg_try_advisory_lock",
        Kind::TryLock {
            shared: false,
            transaction: false,
        },
    ),
    (
        "pg_try_advisory_lock_shared",
        Kind::TryLock {
            shared: true,
            transaction: false,
        },
    ),
    (
        "pg_try_advisory_xact_lock",
        Kind::TryLock {
            shared: false,
            transaction: true,
        },
    ),
    (
        "pg_try_advisory_xact_lock_shared",
        Kind::TryLock {
            shared: true,
            transaction: true,
        },
    ),
    ("pg_advisory_unlock", Kind::Unlock { shared: false }),
    ("pg_advisory_unlock_shared", Kind::Unlock { shared: true }),
    ("pg_advisory_unlock_all", Kind::UnlockAll),
    ("random", Kind::Random),
    ("setseed", Kind::SetSeed),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// Whether it is one that answers otherwise each time it is asked.
pub(crate) fn is_volatile(name: &str) -> bool {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.is_some_and(|(_, kind)| kind.volatility() == Volatility::Volatile)
        || actions::waiting_names().any(|known| known == name)
}

/// What calls do with sequences.
#[derive(Debug, Default)]
pub(crate) struct SequenceCalls {
    takes: bool,
    asks: bool,
}

impl SequenceCalls {
    pub(crate) fn add(&mut self, name: &str) {
        let kind = NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        self.takes |= matches!(kind, Some(Kind::NextNumber | Kind::NextValue | Kind::SetValue));
        self.asks |= matches!(kind, Some(Kind::CurrentValue | Kind::LastValue | Kind::SetValue));
    }

    pub(crate) fn takes(&self) -> bool {
        self.takes
    }

    /// Whether what one gives hangs on what another did for the same row: `select nextval('s'), currval('s')`.
    pub(crate) fn hang_together(&self) -> bool {
        self.takes && self.asks
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionFunction {
    name: &'static str,
    kind: Kind,
    facts: Arc<SessionFacts>,
    signature: Signature,
}

impl SessionFunction {
    pub(super) fn named(name: &str, facts: &Arc<SessionFacts>) -> Option<Self> {
        let (name, kind) = NAMES.iter().find(|(known, _)| *known == name)?;
        let volatility = kind.volatility();
        let signature = match kind {
            Kind::CurrentSchemas => Signature::exact(vec![DataType::Boolean], volatility),
            Kind::CurrentSetting => Signature::one_of(
                vec![
                    TypeSignature::Exact(vec![DataType::Utf8View]),
                    TypeSignature::Exact(vec![DataType::Utf8View, DataType::Boolean]),
                ],
                volatility,
            ),
            Kind::NextNumber | Kind::NextValue | Kind::CurrentValue => {
                Signature::exact(vec![DataType::Utf8View], volatility)
            }
            Kind::SetValue => Signature::one_of(
                vec![
                    TypeSignature::Exact(vec![DataType::Utf8View, DataType::Int64]),
                    TypeSignature::Exact(vec![DataType::Utf8View, DataType::Int64, DataType::Boolean]),
                ],
                volatility,
            ),
            Kind::SetConfig => Signature::exact(
                vec![DataType::Utf8View, DataType::Utf8View, DataType::Boolean],
                volatility,
            ),
            Kind::Signal { end } => {
                let mut shapes = vec![
                    TypeSignature::Exact(vec![DataType::Int32]),
                    TypeSignature::Exact(vec![DataType::Int64]),
                ];
                if *end {
                    shapes.push(TypeSignature::Exact(vec![DataType::Int64, DataType::Int64]));
                }
                Signature::one_of(shapes, volatility)
            }
            Kind::TryLock { .. } | Kind::Unlock { .. } => actions::key_signature(),
            Kind::SetSeed => Signature::exact(vec![DataType::Float64], volatility),
            _ => Signature::nullary(volatility),
        };
        Some(Self {
            name,
            kind: *kind,
            facts: Arc::clone(facts),
            signature,
        })
    }

    pub(super) fn with_facts(&self, facts: &Arc<SessionFacts>) -> Self {
        Self {
            facts: Arc::clone(facts),
            ..self.clone()
        }
    }

    fn sql_type(&self) -> SqlType {
        match self.kind {
            Kind::BackendPid => SqlType::Integer,
            _ if self.kind.is_of_sequences() => SqlType::BigInt,
            Kind::IsInRecovery | Kind::Signal { .. } | Kind::TryLock { .. } | Kind::Unlock { .. } => SqlType::Boolean,
            Kind::TransactionTime | Kind::StatementTime | Kind::ClockTime => SqlType::TimestampTz,
            Kind::CurrentSchemas => SqlType::Array(Box::new(SqlType::System(SystemType::Name))),
            Kind::Version | Kind::CurrentSetting | Kind::SetConfig => SqlType::Text,
            Kind::Random => SqlType::Double,
            Kind::UnlockAll | Kind::SetSeed => SqlType::System(SystemType::Void),
            _ => SqlType::System(SystemType::Name),
        }
    }

    fn instant(&self, microseconds: i64) -> ScalarValue {
        ScalarValue::TimestampMicrosecond(Some(microseconds), Some(self.facts.time_zone.as_str().into()))
    }

    fn answer(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let facts = &self.facts;
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_string()));
        Ok(ColumnarValue::Scalar(match self.kind {
            Kind::Version => text(VERSION),
            Kind::CurrentUser => text(&facts.user),
            Kind::SessionUser => text(&facts.session_user),
            Kind::CurrentDatabase => text(&facts.database),
            Kind::CurrentSchema => ScalarValue::Utf8View(facts.current_schema.clone()),
            Kind::CurrentSchemas => return self.schemas(args),
            Kind::CurrentSetting => return self.setting(args),
            Kind::BackendPid => ScalarValue::Int32(Some(facts.backend_pid)),
            Kind::TransactionTime => self.instant(facts.transaction_time),
            Kind::StatementTime => self.instant(facts.statement_time),
            Kind::ClockTime => self.instant(Utc::now().timestamp_micros()),
            Kind::IsInRecovery => ScalarValue::Boolean(Some(false)),
            Kind::NextNumber => return facts.sequences.column_values(args),
            Kind::NextValue => return facts.sequences.next_values(args),
            Kind::CurrentValue => return facts.sequences.current_values(args),
            Kind::LastValue => return facts.sequences.last_value(),
            Kind::SetValue => return facts.sequences.set_values(args),
            Kind::SetConfig => return actions::set_config(&facts.actions, args),
            Kind::Signal { end } => return actions::signal(&facts.actions, args, end),
            Kind::TryLock { shared, transaction } => {
                return actions::try_lock(&facts.actions, args, shared, transaction);
            }
            Kind::Unlock { shared } => return actions::unlock(&facts.actions, args, shared),
            Kind::UnlockAll => return actions::unlock_all(&facts.actions, args),
            Kind::Random => return actions::random(&facts.actions, args),
            Kind::SetSeed => return actions::set_seed(&facts.actions, args),
        }))
    }

    fn schemas(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let implicit = match args.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(implicit)))) => *implicit,
            Some(ColumnarValue::Scalar(ScalarValue::Boolean(None))) => {
                return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(args.return_type())?));
            }
            _ => return Err(Error::unsupported("current_schemas() with a column is not supported").into()),
        };
        let schemas = if implicit {
            &self.facts.schemas_with_implicit
        } else {
            &self.facts.schemas
        };
        let values: StringViewArray = schemas.iter().map(|schema| Some(schema.as_str())).collect();
        let DataType::List(element) = args.return_type() else {
            return Err(Error::internal("current_schemas() yields an array").into());
        };
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        let list = ListArray::try_new(Arc::clone(element), offsets, Arc::new(values), None)?;
        Ok(ColumnarValue::Scalar(ScalarValue::List(Arc::new(list))))
    }

    fn setting(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let missing_ok = match args.args.get(1) {
            None => false,
            Some(ColumnarValue::Scalar(ScalarValue::Boolean(flag))) => *flag == Some(true),
            Some(_) => {
                return Err(Error::unsupported("current_setting() takes a constant as its second argument").into());
            }
        };
        let look_up = |name: &str| match self.facts.settings.get(&name.to_lowercase()) {
            Some(value) => Ok(Some(value.clone())),
            None if missing_ok => Ok(None),
            None => {
                let message = format!("unrecognized configuration parameter \"{name}\"");
                Err(Error::new(ErrorKind::UndefinedObject, message))
            }
        };
        match args.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8View(name))) => {
                let value = name.as_deref().map_or(Ok(None), look_up)?;
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(value)))
            }
            Some(ColumnarValue::Array(names)) => {
                let names = names.as_string_view();
                let values = names
                    .iter()
                    .map(|name| name.map_or(Ok(None), look_up))
                    .collect::<Result<StringViewArray, Error>>()?;
                Ok(ColumnarValue::Array(Arc::new(values)))
            }
            _ => Err(Error::internal("current_setting() takes a text").into()),
        }
    }
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(data_type(&self.sql_type(), &self.facts.time_zone))
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = matches!(
            self.kind,
            Kind::CurrentSchema
                | Kind::CurrentSchemas
                | Kind::CurrentSetting
                | Kind::NextValue
                | Kind::CurrentValue
                | Kind::SetValue
                | Kind::Signal { .. }
                | Kind::TryLock { .. }
                | Kind::Unlock { .. }
                | Kind::SetSeed
        );
        Ok(Arc::new(arrow_field(
            self.name,
            &self.sql_type(),
            nullable,
            &self.facts.time_zone,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.answer(&args)
    }
}
