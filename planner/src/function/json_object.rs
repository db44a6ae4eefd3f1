//! `json_build_object(key, value, …)`

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef};
use bytes::BytesMut;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use staffa_catalog::{SqlType, SystemStorage};

use crate::error::{Error, ErrorKind, Result};
use crate::types::{arrow_field, sql_type};
use crate::value::{ColumnEncoder, Format, FormatSettings};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct BuildObject {
    signature: Signature,
}

impl BuildObject {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Stable),
        }
    }
}

/// How a value of a type stands in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Boolean,
    /// As its text is.
    Plain,
    Quoted,
    /// A date and a time with a `T` between them.
    Moment,
}

fn form(ty: &SqlType) -> Result<Form> {
    Ok(match ty {
        SqlType::Boolean => Form::Boolean,
        SqlType::SmallInt
        | SqlType::Integer
        | SqlType::BigInt
        | SqlType::Real
        | SqlType::Double
        | SqlType::Numeric { .. }
        | SqlType::Json
        | SqlType::Jsonb => Form::Plain,
        SqlType::Timestamp | SqlType::TimestampTz => Form::Moment,
        SqlType::Array(_) | SqlType::Struct(_) => {
            return Err(Error::unsupported(
                "json_build_object() of arrays and composites is not supported",
            ));
        }
        SqlType::System(ty) if matches!(ty.storage(), SystemStorage::SmallInts | SystemStorage::Oids) => {
            return Err(Error::unsupported(
                "json_build_object() of arrays and composites is not supported",
            ));
        }
        _ => Form::Quoted,
    })
}

impl ScalarUDFImpl for BuildObject {
    fn name(&self) -> &str {
        "json_build_object"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _given: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(arrow_field(self.name(), &SqlType::Json, false, "UTC")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        if !args.args.len().is_multiple_of(2) {
            let error = Error::new(
                ErrorKind::InvalidParameterValue,
                "argument list must have even number of elements",
            );
            return Err(error
                .with_hint("The arguments of json_build_object() must consist of alternating keys and values.")
                .into());
        }
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows));
        let arrays = arrays.collect::<DataFusionResult<Vec<ArrayRef>>>()?;
        let settings = FormatSettings::default();
        let mut columns = Vec::with_capacity(arrays.len());
        let mut encoders = Vec::with_capacity(arrays.len());
        for field in &args.arg_fields {
            let ty = sql_type(field);
            encoders.push((ColumnEncoder::new(field, &ty, Format::Text, &settings)?, form(&ty)?));
        }
        for ((encoder, form), array) in encoders.iter().zip(&arrays) {
            columns.push((encoder.column(array)?, *form));
        }
        let mut objects = StringViewBuilder::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let mut object = String::from("{");
            for (at, (column, form)) in columns.iter().enumerate() {
                let mut bytes = BytesMut::new();
                let is_key = at % 2 == 0;
                let given = column.write(row, &mut bytes)?;
                let text = String::from_utf8_lossy(&bytes);
                if is_key {
                    if !given {
                        let message = format!("argument {} cannot be null", at + 1);
                        let error = Error::new(ErrorKind::InvalidParameterValue, message);
                        return Err(error.with_hint("Object keys should be text.").into());
                    }
                    object.push_str(if at == 0 { "" } else { ", " });
                    quote(&text, &mut object);
                    object.push_str(" : ");
                } else if given {
                    write(&text, *form, &mut object);
                } else {
                    object.push_str("null");
                }
            }
            object.push('}');
            objects.append_value(object);
        }
        Ok(ColumnarValue::Array(Arc::new(objects.finish())))
    }
}

fn write(text: &str, form: Form, object: &mut String) {
    match form {
        Form::Boolean => object.push_str(if text == "t" { "true" } else { "false" }),
        // Numbers that JSON has not are texts.
        Form::Plain if !matches!(text, "NaN" | "Infinity" | "-Infinity") => object.push_str(text),
        Form::Moment => quote(&text.replacen(' ', "T", 1), object),
        Form::Plain | Form::Quoted => quote(text, object),
    }
}

fn quote(text: &str, object: &mut String) {
    object.push('"');
    for character in text.chars() {
        match character {
            '"' => object.push_str("\\\""),
            '\\' => object.push_str("\\\\"),
            '\n' => object.push_str("\\n"),
            '\r' => object.push_str("\\r"),
            '\t' => object.push_str("\\t"),
            '\u{8}' => object.push_str("\\b"),
            '\u{c}' => object.push_str("\\f"),
            control if control < ' ' => object.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => object.push(other),
        }
    }
    object.push('"');
}
