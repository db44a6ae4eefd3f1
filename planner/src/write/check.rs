//! The check of one column, as a function DataFusion can run in a projection and COPY can run on a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use bytes::BytesMut;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use staffa_catalog::{Column, SqlType};

use crate::error::{Error, ErrorKind, Result};
use crate::function::rounded;
use crate::types::sql_type;
use crate::value::{ColumnEncoder, Format, FormatSettings};

/// Failing rows are shown up to this many characters a value.
const SHOWN_CHARACTERS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ColumnCheck {
    relation: Arc<str>,
    column: String,
    ty: SqlType,
    nullable: bool,
    /// Whether the place of the row in the data of a COPY comes before the row.
    has_place: bool,
    signature: Signature,
}

impl ColumnCheck {
    pub(crate) fn new(relation: &Arc<str>, column: &Column) -> Self {
        Self {
            relation: Arc::clone(relation),
            column: column.name.clone(),
            ty: column.ty.clone(),
            nullable: column.nullable,
            has_place: false,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    /// The check for NULL alone.
    pub(crate) fn of_nulls(relation: &Arc<str>, column: &Column) -> Self {
        Self {
            ty: SqlType::Text,
            ..Self::new(relation, column)
        }
    }

    /// All but the check for NULL.
    pub(crate) fn taking_nulls(self) -> Self {
        Self { nullable: true, ..self }
    }

    pub(crate) fn with_place(self, has_place: bool) -> Self {
        Self { has_place, ..self }
    }

    /// A check that lets everything pass.
    pub(super) fn nothing(relation: &Arc<str>, column: &Column) -> Self {
        Self::of_nulls(relation, column).taking_nulls()
    }

    /// Whether any value of the column's Arrow type could be wrong.
    pub(crate) fn is_needed(&self) -> bool {
        !self.nullable
            || matches!(
                self.ty,
                SqlType::Varchar(Some(_)) | SqlType::Char(_) | SqlType::Rounded(..)
            )
    }

    /// The column as it is stored; `batch` is the whole row set, for the detail of the error.
    pub(super) fn apply(&self, column: &ArrayRef, batch: Option<&RecordBatch>) -> Result<ArrayRef> {
        if !self.nullable && column.null_count() > 0 {
            return Err(self.null_violation(column, batch));
        }
        match &self.ty {
            SqlType::Varchar(Some(length)) => limited(column, *length, false, "character varying"),
            SqlType::Char(length) => limited(column, *length, true, "character"),
            SqlType::Rounded(plain, rounding) => rounded(column, plain, *rounding),
            _ => Ok(Arc::clone(column)),
        }
    }

    fn null_violation(&self, column: &ArrayRef, batch: Option<&RecordBatch>) -> Error {
        let message = format!(
            "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
            self.column, self.relation
        );
        let error = Error::new(ErrorKind::NotNullViolation, message);
        let row = (0..column.len()).find(|row| column.is_null(*row));
        match (row, batch) {
            (Some(row), Some(batch)) if batch.num_columns() > 0 => {
                error.with_detail(format!("Failing row contains ({}).", shown(batch, row)))
            }
            _ => error,
        }
    }
}

/// Texts of at most `length` characters. As PostgreSQL, blanks beyond the length are cut, anything else is an error; with
/// `trim` trailing blanks do not count at all (`char(n)`: see `function/text.rs`).
fn limited(column: &ArrayRef, length: u32, trim: bool, name: &str) -> Result<ArrayRef> {
    let length = length as usize;
    let Some(texts) = column.as_string_view_opt() else {
        return Err(Error::internal(format!("a text column of type {}", column.data_type())));
    };
    let fits = |text: &str| {
        if text.len() > length && text.chars().count() > length {
            return false;
        }
        !trim || !text.ends_with(' ')
    };
    if texts.iter().flatten().all(fits) {
        return Ok(Arc::clone(column));
    }
    let mut builder = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        match text {
            None => builder.append_null(),
            Some(text) => match adjusted(text, length, trim) {
                Some(text) => builder.append_value(text),
                None => {
                    let message = format!("value too long for type {name}({length})");
                    return Err(Error::new(ErrorKind::StringTooLong, message));
                }
            },
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn adjusted(text: &str, length: usize, trim: bool) -> Option<&str> {
    let cut = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
    let (kept, rest) = text.split_at(cut);
    if !rest.chars().all(|c| c == ' ') {
        return None;
    }
    Some(if trim { kept.trim_end_matches(' ') } else { kept })
}

/// The error of a row that a COPY gave, with the place of the row.
pub(crate) fn at_place(error: Error, relation: &str, places: Option<&ColumnarValue>, row: Option<usize>) -> Error {
    let (Some(ColumnarValue::Array(places)), Some(row)) = (places, row) else {
        return error;
    };
    match places.as_string_view_opt() {
        Some(places) => error.with_context(format!("COPY {relation}, line {}", places.value(row))),
        None => error,
    }
}

/// Columns as rows without names.
pub(crate) fn row_of(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = columns
        .iter()
        .map(|column| Field::new("", column.data_type().clone(), true));
    let fields: Vec<_> = fields.collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A row as the detail of an error shows it.
pub(crate) fn shown(batch: &RecordBatch, row: usize) -> String {
    let settings = FormatSettings::default();
    let value = |(field, column): (&FieldRef, &ArrayRef)| -> Result<String> {
        let encoder = ColumnEncoder::new(field, &sql_type(field), Format::Text, &settings)?;
        let mut text = BytesMut::new();
        if !encoder.column(column)?.write(row, &mut text)? {
            return Ok("null".to_string());
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
            Some((at, _)) => format!("{}...", &text[..at]),
            None => text,
        })
    };
    let schema = batch.schema();
    let values = schema.fields().iter().zip(batch.columns());
    let values: Vec<String> = values
        .map(|pair| value(pair).unwrap_or_else(|_| "?".to_string()))
        .collect();
    values.join(", ")
}

impl ScalarUDFImpl for ColumnCheck {
    fn name(&self) -> &str {
        "staffa_check"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        types
            .first()
            .cloned()
            .ok_or_else(|| Error::internal("a check of nothing").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        match args.arg_fields.first() {
            Some(field) => Ok(Arc::clone(field)),
            None => Err(Error::internal("a check of nothing").into()),
        }
    }

    /// The column, and behind it those of the whole row; between them the place, if it is there.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let mut arguments = args.args.into_iter().peekable();
        let Some(argument) = arguments.next() else {
            return Err(Error::internal("a check of nothing").into());
        };
        let column = argument.into_array(rows)?;
        let checked = self.apply(&column, None).map_err(|error| {
            if error.kind() != ErrorKind::NotNullViolation {
                return error;
            }
            let place = arguments.next_if(|_| self.has_place);
            let row = arguments
                .map(|value| value.into_array(rows))
                .collect::<Result<Vec<_>, _>>();
            let row = row.ok().and_then(|columns| row_of(columns).ok());
            let error = row.map_or(error, |row| self.null_violation(&column, Some(&row)));
            let first = (0..column.len()).find(|row| column.is_null(*row));
            at_place(error, &self.relation, place.as_ref(), first)
        });
        Ok(ColumnarValue::Array(checked?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    fn check(ty: SqlType, nullable: bool) -> ColumnCheck {
        let column = Column {
            field_id: 1,
            name: "c".into(),
            ty,
            nullable,
            comment: None,
            default: None,
            children: Vec::new(),
        };
        ColumnCheck::new(&"t".into(), &column)
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<StringViewArray>())
    }

    #[test]
    fn lengths_count_characters_and_forgive_blanks() {
        let varchar = check(SqlType::Varchar(Some(3)), true);
        let given = texts(&[Some("äöü"), None, Some("ab   ")]);
        let stored = varchar.apply(&given, None).expect("fits");
        assert_eq!(stored.as_ref(), texts(&[Some("äöü"), None, Some("ab ")]).as_ref());
        let error = varchar.apply(&texts(&[Some("abcd")]), None).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::StringTooLong);
        assert_eq!(error.message(), "value too long for type character varying(3)");
        let stored = check(SqlType::Char(3), true)
            .apply(&texts(&[Some("a  "), Some("äöü  ")]), None)
            .expect("fits");
        assert_eq!(stored.as_ref(), texts(&[Some("a"), Some("äöü")]).as_ref());
    }

    #[test]
    fn nulls_name_column_and_relation() {
        let error = check(SqlType::Text, false)
            .apply(&texts(&[Some("a"), None]), None)
            .expect_err("a null");
        assert_eq!(error.kind(), ErrorKind::NotNullViolation);
        assert_eq!(
            error.message(),
            "null value in column \"c\" of relation \"t\" violates not-null constraint"
        );
    }
}
