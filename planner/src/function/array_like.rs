//! Texts that are arrays because of what they stand beside: `x = any ('{1,2}')`, `coalesce(array, '{}')`. No one calls these by
//! name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use crate::error::{Error, Result, undefined_function};
use crate::types::{arrow_field, data_type, sql_type, sql_type_of};
use crate::value::{ColumnDecoder, Format, FormatSettings};

/// With a value of the type its elements have, and the text. An array in place of the text is the result.
pub(crate) const ARRAY_LIKE: &str = "staffa_array_like";
/// With another value, and a text, which is read as an array where the value is one.
pub(crate) const TEXT_LIKE: &str = "staffa_text_like";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayLike {
    signature: Signature,
    of_elements: bool,
}

impl ArrayLike {
    /// With a value of the elements' type, or with another array.
    pub(super) fn new(of_elements: bool) -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            of_elements,
        }
    }

    /// The type of the result beside a value of this type.
    fn wanted(&self, like: SqlType) -> SqlType {
        match (self.of_elements, like) {
            (true, element) => array_of(element),
            (false, SqlType::Array(element)) => array_of(*element),
            (false, _) => SqlType::Text,
        }
    }
}

fn array_of(element: SqlType) -> SqlType {
    let element = match element {
        SqlType::Unknown | SqlType::Char(_) | SqlType::Varchar(_) => SqlType::Text,
        other => other,
    };
    SqlType::Array(Box::new(element))
}

impl ScalarUDFImpl for ArrayLike {
    fn name(&self) -> &str {
        if self.of_elements { ARRAY_LIKE } else { TEXT_LIKE }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let [like, array] = given else {
            return Err(undefined_function("any").into());
        };
        let array = match array {
            DataType::List(_) => array.clone(),
            _ => DataType::Utf8View,
        };
        Ok(vec![like.clone(), array])
    }

    fn return_type(&self, given: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match given {
            [_, list @ DataType::List(_)] => list.clone(),
            [like, _] => data_type(&self.wanted(sql_type_of(like)), "UTC"),
            _ => return Err(undefined_function("any").into()),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let [like, array] = args.arg_fields else {
            return Err(undefined_function("any").into());
        };
        let ty = match array.data_type() {
            DataType::List(_) => sql_type(array),
            _ => self.wanted(sql_type(like)),
        };
        let field = arrow_field(self.name(), &ty, true, "UTC");
        Ok(Arc::new(match array.data_type() {
            list @ DataType::List(_) => field.with_data_type(list.clone()),
            _ => field,
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let Some(given) = args.args.get(1) else {
            return Err(Error::internal("an array of nothing").into());
        };
        if matches!(given.data_type(), DataType::List(_)) {
            return Ok(given.clone());
        }
        let ty = self.wanted(sql_type(&args.arg_fields[0]));
        if ty == SqlType::Text {
            return Ok(given.clone());
        }
        let is_constant = matches!(given, ColumnarValue::Scalar(_));
        let texts = given.to_array(if is_constant { 1 } else { args.number_rows })?;
        let lists = read(&texts, &ty)?;
        let lists = match lists.data_type() == args.return_type() {
            true => lists,
            false => arrow::compute::cast(&lists, args.return_type())?,
        };
        Ok(match lists.as_list_opt::<i32>() {
            Some(list) if is_constant => ColumnarValue::Scalar(ScalarValue::List(Arc::new(list.clone()))),
            _ => ColumnarValue::Array(lists),
        })
    }
}

fn read(texts: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let texts = texts
        .as_string_view_opt()
        .ok_or_else(|| Error::internal("the text of an array is a text"))?;
    let mut decoder = ColumnDecoder::new(ty, Format::Text, &FormatSettings::default(), texts.len());
    for text in texts {
        decoder.append(text.map(str::as_bytes))?;
    }
    decoder.finish()
}
