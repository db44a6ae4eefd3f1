//! The check of one CHECK constraint, as a function DataFusion can run in a projection.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, ErrorKind, Result};
use crate::write::{at_place, row_of, shown_row};

/// `staffa_constraint(value, condition, columns …)` is the value, or an error where the condition is false. The place of the
/// row in the data of a COPY comes before its columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ConstraintCheck {
    relation: String,
    constraint: String,
    has_place: bool,
    signature: Signature,
}

impl ConstraintCheck {
    pub(super) fn new(relation: &str, constraint: &str, has_place: bool) -> Self {
        Self {
            relation: relation.to_owned(),
            constraint: constraint.to_owned(),
            has_place,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    /// As in PostgreSQL, a condition that is null is not broken.
    fn check(
        &self,
        condition: &dyn Array,
        place: Option<&ColumnarValue>,
        row: impl Fn(usize) -> Option<String>,
    ) -> Result<()> {
        if condition.data_type() == &DataType::Null {
            return Ok(());
        }
        let Some(holds) = condition.as_boolean_opt() else {
            return Err(Error::internal("a CHECK constraint that is no condition"));
        };
        let Some(broken) = (0..holds.len()).find(|index| holds.is_valid(*index) && !holds.value(*index)) else {
            return Ok(());
        };
        let message = format!(
            "new row for relation \"{}\" violates check constraint \"{}\"",
            self.relation, self.constraint
        );
        let error = Error::new(ErrorKind::CheckViolation, message);
        let error = at_place(error, &self.relation, place, Some(broken));
        Err(match row(broken) {
            Some(row) => error.with_detail(format!("Failing row contains ({row}).")),
            None => error,
        })
    }
}

impl ScalarUDFImpl for ConstraintCheck {
    fn name(&self) -> &str {
        "staffa_constraint"
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
        let rows = args.number_rows;
        let mut arguments = args.args.into_iter().peekable();
        let (Some(value), Some(condition)) = (arguments.next(), arguments.next()) else {
            return Err(nothing().into());
        };
        let (value, condition) = (value.into_array(rows)?, condition.into_array(rows)?);
        let place = arguments.next_if(|_| self.has_place);
        let columns = arguments.map(|argument| argument.into_array(rows));
        let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
        self.check(condition.as_ref(), place.as_ref(), |row| {
            let batch = row_of(columns.clone()).ok().filter(|batch| batch.num_columns() > 0)?;
            Some(shown_row(&batch, row))
        })?;
        Ok(ColumnarValue::Array(value))
    }
}

fn nothing() -> Error {
    Error::internal("a check of nothing")
}
