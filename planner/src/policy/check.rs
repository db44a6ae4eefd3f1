//! The refusal of a row that breaks a policy, as a function DataFusion can run in a projection.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, ErrorKind, Result};

/// `staffa_row_policy(value, broken)` is the value, or an error where a policy is broken: `broken` is its name, or empty.
///
/// It is volatile so that nothing computes it ahead, for rows that never come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowPolicy {
    relation: String,
    /// `new row`, `target row`
    row: &'static str,
    /// Whether it is about rows that are there.
    using: bool,
    signature: Signature,
}

impl RowPolicy {
    fn new(relation: &str, row: &'static str, using: bool) -> Self {
        Self {
            relation: relation.to_owned(),
            row,
            using,
            signature: Signature::variadic_any(Volatility::Volatile),
        }
    }

    /// For rows that come.
    pub(crate) fn of_new(relation: &str) -> Self {
        Self::new(relation, "new row", false)
    }

    /// For rows that INSERT … ON CONFLICT finds there.
    pub(crate) fn of_conflict(relation: &str) -> Self {
        Self::new(relation, "new row", true)
    }

    /// For rows that MERGE finds there.
    pub(crate) fn of_target(relation: &str) -> Self {
        Self::new(relation, "target row", true)
    }

    fn check(&self, broken: &dyn Array) -> Result<()> {
        let name = match broken.data_type() {
            DataType::Null => return Ok(()),
            DataType::Utf8View => broken.as_string_view().iter().flatten().next(),
            DataType::Utf8 => broken.as_string::<i32>().iter().flatten().next(),
            _ => return Err(nothing()),
        };
        let Some(name) = name else {
            return Ok(());
        };
        let policy = match name {
            "" => String::new(),
            name => format!(" \"{name}\""),
        };
        let using = if self.using { " (USING expression)" } else { "" };
        let message = format!(
            "{} violates row-level security policy{policy}{using} for table \"{}\"",
            self.row, self.relation
        );
        Err(Error::new(ErrorKind::InsufficientPrivilege, message))
    }
}

impl ScalarUDFImpl for RowPolicy {
    fn name(&self) -> &str {
        "staffa_row_policy"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        types.first().cloned().ok_or_else(|| nothing().into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        args.arg_fields.first().cloned().ok_or_else(|| nothing().into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let [value, broken] = args.args.as_slice() else {
            return Err(nothing().into());
        };
        self.check(broken.to_array(args.number_rows)?.as_ref())?;
        Ok(value.clone())
    }
}

fn nothing() -> Error {
    Error::internal("a row policy of nothing")
}
