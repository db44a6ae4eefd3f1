//! `x::varchar(n)` cuts, `x::char(n)` cuts and pads (PostgreSQL 15, 8.3: explicit casts truncate without an error).

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use crate::error::Error;
use crate::types::arrow_field;

/// The casts' function: a text and a constant length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limited {
    pad: bool,
    signature: Signature,
}

impl Limited {
    pub(super) fn varchar() -> Self {
        Self { pad: false, signature: signature() }
    }

    pub(super) fn char() -> Self {
        Self { pad: true, signature: signature() }
    }

    fn apply(&self, text: &str, length: usize) -> String {
        let mut cut: String = text.chars().take(length).collect();
        if self.pad {
            cut.extend(std::iter::repeat_n(' ', length - cut.chars().count()));
        }
        cut
    }
}

fn signature() -> Signature {
    Signature::exact(vec![DataType::Utf8View, DataType::Int64], Volatility::Immutable)
}

fn length_of(value: Option<&ScalarValue>) -> DataFusionResult<u32> {
    match value {
        Some(ScalarValue::Int64(Some(length))) => {
            u32::try_from(*length).map_err(|_| Error::internal("a length is checked when it is parsed").into())
        }
        _ => Err(Error::internal("the length of a cast is a constant").into()),
    }
}

impl ScalarUDFImpl for Limited {
    fn name(&self) -> &str {
        if self.pad { "staffa_char" } else { "staffa_varchar" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let length = length_of(args.scalar_arguments.get(1).copied().flatten())?;
        let ty = if self.pad { SqlType::Char(length) } else { SqlType::Varchar(Some(length)) };
        Ok(Arc::new(arrow_field(self.name(), &ty, true, "UTC")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let length = match args.args.get(1) {
            Some(ColumnarValue::Scalar(value)) => length_of(Some(value))? as usize,
            _ => return Err(Error::internal("the length of a cast is a constant").into()),
        };
        match args.args.into_iter().next() {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8View(text))) => {
                let limited = text.map(|text| self.apply(&text, length));
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(limited)))
            }
            Some(ColumnarValue::Array(texts)) => {
                let texts = texts.as_string_view();
                let mut builder = StringViewBuilder::with_capacity(texts.len());
                for text in texts {
                    match text {
                        Some(text) => builder.append_value(self.apply(text, length)),
                        None => builder.append_null(),
                    }
                }
                Ok(ColumnarValue::Array(Arc::new(builder.finish())))
            }
            _ => Err(Error::internal("a cast to characters takes a text").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_pads_by_characters() {
        assert_eq!(Limited::varchar().apply("äöüß", 2), "äö");
        assert_eq!(Limited::varchar().apply("a", 3), "a");
        assert_eq!(Limited::char().apply("ä", 3), "ä  ");
        assert_eq!(Limited::char().apply("abcd", 3), "abc");
    }
}
