//! `x::varchar(n)` and `x::char(n)` cut (PostgreSQL 15, 8.3: explicit casts truncate without an error), and `char(n)` gets
//! its blanks back where it is shown.
//!
//! Inside, a `char(n)` value has no trailing blanks: PostgreSQL ignores them when it compares, counts and converts, so
//! the value without them is right everywhere but on the way out.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use crate::error::Error;
use crate::types::arrow_field;

/// A `char(n)` expression as it is shown: filled with blanks.
pub(crate) fn padded(expression: Expr, length: u32) -> Expr {
    let func = Arc::new(ScalarUDF::from(Limited::new(Kind::Pad)));
    let length = Expr::Literal(ScalarValue::Int64(Some(i64::from(length))), None);
    Expr::ScalarFunction(ScalarFunction {
        func,
        args: vec![expression, length],
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Varchar,
    Char,
    Pad,
}

/// A text and a constant length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limited {
    kind: Kind,
    signature: Signature,
}

impl Limited {
    pub(super) fn varchar() -> Self {
        Self::new(Kind::Varchar)
    }

    pub(super) fn char() -> Self {
        Self::new(Kind::Char)
    }

    fn new(kind: Kind) -> Self {
        let types = vec![DataType::Utf8View, DataType::Int64];
        Self {
            kind,
            signature: Signature::exact(types, Volatility::Immutable),
        }
    }

    fn append(&self, text: &str, length: usize, scratch: &mut String) {
        let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        let cut = &text[..end];
        scratch.push_str(if self.kind == Kind::Char {
            cut.trim_end_matches(' ')
        } else {
            cut
        });
        if self.kind == Kind::Pad {
            let missing = length.saturating_sub(cut.chars().count());
            scratch.extend(std::iter::repeat_n(' ', missing));
        }
    }

    #[cfg(test)]
    fn apply(&self, text: &str, length: usize) -> String {
        let mut scratch = String::new();
        self.append(text, length, &mut scratch);
        scratch
    }
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
        match self.kind {
            Kind::Varchar => "staffa_varchar",
            Kind::Char => "staffa_char",
            Kind::Pad => "staffa_pad",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let length = length_of(args.scalar_arguments.get(1).copied().flatten())?;
        let ty = if self.kind == Kind::Varchar {
            SqlType::Varchar(Some(length))
        } else {
            SqlType::Char(length)
        };
        let nullable = args.arg_fields.first().is_none_or(|field| field.is_nullable());
        Ok(Arc::new(arrow_field(self.name(), &ty, nullable, "UTC")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let length = match args.args.get(1) {
            Some(ColumnarValue::Scalar(value)) => length_of(Some(value))? as usize,
            _ => return Err(Error::internal("the length of a cast is a constant").into()),
        };
        let mut scratch = String::new();
        match args.args.into_iter().next() {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8View(text))) => {
                let limited = text.map(|text| {
                    self.append(&text, length, &mut scratch);
                    scratch
                });
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(limited)))
            }
            Some(ColumnarValue::Array(texts)) => {
                let texts = texts.as_string_view();
                let mut builder = StringViewBuilder::with_capacity(texts.len());
                for text in texts {
                    match text {
                        Some(text) => {
                            scratch.clear();
                            self.append(text, length, &mut scratch);
                            builder.append_value(&scratch);
                        }
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
        assert_eq!(Limited::char().apply("ä  x", 3), "ä");
        assert_eq!(Limited::char().apply("abcd", 3), "abc");
        assert_eq!(Limited::new(Kind::Pad).apply("ä", 3), "ä  ");
    }
}
