//! Functions that answer from the system catalogs: names and definitions of objects, who may do what, sizes, comments.
//!
//! Each is a row of `FUNCTIONS`: what it takes, what it yields, and how one row is answered. They see the catalog through the
//! session's facts, which hold it when a statement asks for it (`rewrite::asks_catalog`); some need no catalog.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, StringViewBuilder, UInt32Builder,
};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Int16Type, Int32Type, Int64Type, UInt32Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{SqlType, SystemType, is_temporary_schema};

use super::session::SessionFacts;
use crate::error::{Error, ErrorKind, Result, undefined_function};
use crate::pg_catalog::CatalogView;
use crate::types::{arrow_field, data_type, sql_type_of};

mod acl;
mod answers;
mod privileges;
mod sizes;

use answers::FUNCTIONS;

/// A value given to a function, or its answer.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Null,
    Bool(bool),
    Int(i32),
    Big(i64),
    /// Its digits, and how many of them are behind the point.
    Numeric(i128, u32),
    Oid(u32),
    Text(String),
    Texts(Vec<String>),
    Oids(Vec<u32>),
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Oid,
    Int,
    Big,
    Numeric,
    Bool,
    Text,
    /// An object's number, or its name as SQL writes it.
    Object(SystemType),
    /// A role's number, or its very name.
    Role,
    /// The same; `public` is everybody.
    Grantee,
    /// A schema's number, or its very name.
    Schema,
    /// A list of grants.
    Grants,
    /// Anything at all, which is not looked at.
    Any,
}

/// What a function yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yields {
    Bool,
    Int,
    Big,
    Text,
    Texts,
    System(SystemType),
    Array(SystemType),
}

/// One function; some names have several.
struct Function {
    name: &'static str,
    takes: &'static [Takes],
    yields: Yields,
    /// Whether it is asked about NULLs, too.
    called_on_null: bool,
    answer: How,
}

/// How one row is answered.
enum How {
    /// From the catalog.
    Catalog(fn(&Asked<'_>, &[Answer]) -> Result<Answer>),
    /// From what is given alone.
    Values(fn(&[Answer]) -> Result<Answer>),
}

impl Function {
    fn needs_catalog(&self) -> bool {
        let named = |takes: &Takes| matches!(takes, Takes::Object(_) | Takes::Role | Takes::Grantee | Takes::Schema);
        matches!(self.answer, How::Catalog(_)) || self.takes.iter().any(named)
    }
}

/// What a function answers from.
struct Asked<'a> {
    catalog: &'a CatalogView,
}

impl Takes {
    /// The type a value of the given type is converted to; `None` when it is not taken.
    fn converted(self, given: &DataType) -> Option<DataType> {
        let is_text = matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let is_integer = given.is_integer();
        let is_null = given == &DataType::Null;
        match self {
            Takes::Oid if is_integer || is_null => Some(DataType::UInt32),
            // A bare literal of a number.
            Takes::Oid if is_text => Some(DataType::Utf8View),
            Takes::Int if matches!(given, DataType::Int8 | DataType::Int16 | DataType::Int32) || is_null => {
                Some(DataType::Int32)
            }
            Takes::Big if is_integer || is_null => Some(DataType::Int64),
            Takes::Numeric if matches!(given, DataType::Decimal128(..)) => Some(given.clone()),
            Takes::Bool if matches!(given, DataType::Boolean) || is_null => Some(DataType::Boolean),
            // A literal or a parameter nobody gave a type.
            Takes::Int | Takes::Bool if is_text => Some(DataType::Utf8View),
            Takes::Text if is_text || is_null => Some(DataType::Utf8View),
            Takes::Object(_) | Takes::Role | Takes::Grantee | Takes::Schema if is_text => Some(DataType::Utf8View),
            Takes::Object(_) | Takes::Role | Takes::Grantee | Takes::Schema if is_integer || is_null => {
                Some(DataType::UInt32)
            }
            Takes::Grants if matches!(given, DataType::List(_)) || is_null => {
                Some(DataType::new_list(DataType::Utf8View, true))
            }
            Takes::Any => Some(given.clone()),
            _ => None,
        }
    }
}

impl Yields {
    fn sql_type(self) -> SqlType {
        match self {
            Yields::Bool => SqlType::Boolean,
            Yields::Int => SqlType::Integer,
            Yields::Big => SqlType::BigInt,
            Yields::Text => SqlType::Text,
            Yields::Texts => SqlType::Array(Box::new(SqlType::Text)),
            Yields::System(ty) => SqlType::System(ty),
            Yields::Array(ty) => SqlType::Array(Box::new(SqlType::System(ty))),
        }
    }
}

/// Whether a function of this name answers from the catalog, or looks names up in it.
pub(crate) fn is_catalog_function(name: &str) -> bool {
    let mut named = FUNCTIONS.iter().filter(|function| function.name == name);
    named.any(Function::needs_catalog)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// A function of this name as plans hold it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CatalogFunction {
    name: &'static str,
    facts: Arc<SessionFacts>,
    signature: Signature,
}

impl CatalogFunction {
    pub(super) fn named(name: &str, facts: &Arc<SessionFacts>) -> Option<Self> {
        let known = FUNCTIONS.iter().find(|function| function.name == name)?;
        Some(Self {
            name: known.name,
            facts: Arc::clone(facts),
            signature: Signature::user_defined(Volatility::Stable),
        })
    }

    pub(super) fn with_facts(&self, facts: &Arc<SessionFacts>) -> Self {
        Self {
            facts: Arc::clone(facts),
            ..self.clone()
        }
    }

    pub(super) fn needs_catalog(&self) -> bool {
        is_catalog_function(self.name)
    }

    /// The variant that takes these types, and what they are converted to.
    fn variant(&self, given: &[DataType]) -> Result<(&'static Function, Vec<DataType>)> {
        let variants = FUNCTIONS.iter().filter(|function| function.name == self.name);
        for function in variants.filter(|function| function.takes.len() == given.len()) {
            let converted = function
                .takes
                .iter()
                .zip(given)
                .map(|(takes, given)| takes.converted(given));
            if let Some(converted) = converted.collect::<Option<Vec<DataType>>>() {
                return Ok((function, converted));
            }
        }
        let types: Vec<String> = given.iter().map(|ty| sql_type_of(ty).to_string()).collect();
        Err(undefined_function(&format!("{}({})", self.name, types.join(", "))))
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(self.variant(given)?.1)
    }

    fn return_type(&self, given: &[DataType]) -> DataFusionResult<DataType> {
        Ok(data_type(&self.variant(given)?.0.yields.sql_type(), "UTC"))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let given: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let yields = self.variant(&given)?.0.yields;
        Ok(Arc::new(arrow_field(self.name, &yields.sql_type(), true, "UTC")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let given: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let (function, _) = self.variant(&given)?;
        let catalog = self.facts.catalog();
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let arrays = args
            .args
            .iter()
            .map(|arg| arg.to_array(rows))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let mut answers = Vec::with_capacity(rows);
        let mut values = Vec::with_capacity(arrays.len());
        for row in 0..rows {
            values.clear();
            for (array, takes) in arrays.iter().zip(function.takes) {
                values.push(value(array, *takes, row, catalog)?);
            }
            answers.push(match (&function.answer, catalog) {
                _ if values.contains(&Answer::Null) && !function.called_on_null => Answer::Null,
                (How::Values(answer), _) => answer(&values)?,
                (How::Catalog(answer), Some(catalog)) => answer(&Asked { catalog }, &values)?,
                (How::Catalog(_), None) => return Err(not_loaded(self.name).into()),
            });
        }
        let result = column(answers, function.yields);
        Ok(match is_constant {
            true => match result.as_list_opt::<i32>() {
                Some(list) => ColumnarValue::Scalar(ScalarValue::List(Arc::new(list.clone()))),
                None => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            },
            false => ColumnarValue::Array(result),
        })
    }
}

fn not_loaded(name: &str) -> Error {
    Error::internal(format!("{name} was called without the catalog"))
}

fn value(array: &ArrayRef, takes: Takes, row: usize, catalog: Option<&CatalogView>) -> Result<Answer> {
    let catalog = || catalog.ok_or_else(|| not_loaded("a function that takes names"));
    if takes == Takes::Any {
        return Ok(Answer::Bool(true));
    }
    if array.data_type() == &DataType::Null || array.is_null(row) {
        return Ok(Answer::Null);
    }
    Ok(match array.data_type() {
        DataType::Utf8View => {
            let text = array.as_string_view().value(row);
            match takes {
                Takes::Object(ty) => Answer::Oid(match text.parse() {
                    Ok(number) => number,
                    Err(_) => catalog()?.number(ty, text)?,
                }),
                Takes::Role => Answer::Oid(catalog()?.role_named(text)?),
                Takes::Grantee if text == "public" => Answer::Oid(0),
                Takes::Grantee => Answer::Oid(catalog()?.role_named(text)?),
                Takes::Schema => Answer::Oid(catalog()?.schema_named(text)?),
                Takes::Oid => Answer::Oid(text.parse().map_err(|_| {
                    let message = format!("invalid input syntax for type oid: \"{text}\"");
                    Error::new(ErrorKind::InvalidTextRepresentation, message)
                })?),
                Takes::Int => Answer::Int(text.trim().parse().map_err(|_| {
                    let message = format!("invalid input syntax for type integer: \"{text}\"");
                    Error::new(ErrorKind::InvalidTextRepresentation, message)
                })?),
                Takes::Bool => Answer::Bool(match text.trim().to_lowercase().as_str() {
                    "t" | "true" | "on" | "yes" | "y" | "1" => true,
                    "f" | "false" | "off" | "no" | "n" | "0" => false,
                    _ => {
                        let message = format!("invalid input syntax for type boolean: \"{text}\"");
                        return Err(Error::new(ErrorKind::InvalidTextRepresentation, message));
                    }
                }),
                _ => Answer::Text(text.to_owned()),
            }
        }
        DataType::UInt32 => Answer::Oid(array.as_primitive::<UInt32Type>().value(row)),
        DataType::Int16 => Answer::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Answer::Int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Answer::Big(array.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let digits = array.as_primitive::<Decimal128Type>().value(row);
            match u32::try_from(*scale) {
                Ok(behind) => Answer::Numeric(digits, behind),
                Err(_) => Answer::Numeric(
                    digits.saturating_mul(10_i128.saturating_pow(scale.unsigned_abs().into())),
                    0,
                ),
            }
        }
        DataType::Boolean => Answer::Bool(array.as_boolean().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items = arrow::compute::cast(&items, &DataType::Utf8View)?;
            let items = items.as_string_view().iter().flatten();
            Answer::Texts(items.map(str::to_owned).collect())
        }
        other => return Err(Error::internal(format!("an argument of type {other}"))),
    })
}

fn column(answers: Vec<Answer>, yields: Yields) -> ArrayRef {
    let element = |ty: &SqlType| match data_type(ty, "UTC") {
        DataType::List(element) => element,
        other => Arc::new(arrow::datatypes::Field::new("element", other, true)),
    };
    match yields {
        Yields::Bool => {
            let mut column = BooleanBuilder::with_capacity(answers.len());
            answers.into_iter().for_each(|answer| match answer {
                Answer::Bool(flag) => column.append_value(flag),
                _ => column.append_null(),
            });
            Arc::new(column.finish())
        }
        Yields::Int => {
            let mut column = Int32Builder::with_capacity(answers.len());
            answers.into_iter().for_each(|answer| match answer {
                Answer::Int(number) => column.append_value(number),
                _ => column.append_null(),
            });
            Arc::new(column.finish())
        }
        Yields::Big => {
            let mut column = Int64Builder::with_capacity(answers.len());
            answers.into_iter().for_each(|answer| match answer {
                Answer::Big(number) => column.append_value(number),
                _ => column.append_null(),
            });
            Arc::new(column.finish())
        }
        Yields::Array(ty) if ty.storage() == staffa_catalog::SystemStorage::Number => {
            let mut column = ListBuilder::new(UInt32Builder::new()).with_field(element(&yields.sql_type()));
            answers.into_iter().for_each(|answer| match answer {
                Answer::Oids(oids) => column.append_value(oids.into_iter().map(Some)),
                _ => column.append_null(),
            });
            Arc::new(column.finish())
        }
        Yields::Array(_) | Yields::Texts => {
            let mut column = ListBuilder::new(StringViewBuilder::new()).with_field(element(&yields.sql_type()));
            answers.into_iter().for_each(|answer| match answer {
                Answer::Texts(texts) => column.append_value(texts.into_iter().map(Some)),
                _ => column.append_null(),
            });
            Arc::new(column.finish())
        }
        Yields::System(ty) if ty.storage() == staffa_catalog::SystemStorage::Number => {
            let mut column = UInt32Builder::with_capacity(answers.len());
            answers.into_iter().for_each(|answer| match answer {
                Answer::Oid(oid) => column.append_value(oid),
                _ => column.append_null(),
            });
            Arc::new(column.finish())
        }
        Yields::Text | Yields::System(_) => {
            let mut column = StringViewBuilder::with_capacity(answers.len());
            answers.into_iter().for_each(|answer| match answer {
                Answer::Text(text) => column.append_value(text),
                _ => column.append_null(),
            });
            Arc::new(column.finish())
        }
    }
}

impl From<Option<String>> for Answer {
    fn from(text: Option<String>) -> Self {
        text.map_or(Answer::Null, Answer::Text)
    }
}

impl From<Option<bool>> for Answer {
    fn from(flag: Option<bool>) -> Self {
        flag.map_or(Answer::Null, Answer::Bool)
    }
}

/// Whether a schema of temporary tables is another session's.
fn is_of_another(catalog: &CatalogView, schema: u32) -> bool {
    let image = &catalog.image;
    let name = image.schema(schema);
    name.is_some_and(|name| is_temporary_schema(&name) && image.temporary_schema.as_ref() != Some(&name))
}
