//! Functions and operators of `json` and `jsonb`: one form for all of them, one list by family.
//!
//! Which of the two types an argument has is in its field (`types.rs`), so results are given fields, not bare Arrow types. A
//! string literal has no type yet: it is read as the type that is wanted, once. That a column of `text` is none of them is
//! checked where the plan is analysed (`rules/json.rs`), where expressions that lose the type on their way have it back.

mod build;
mod call;
mod change;
mod get;
mod label;
mod path;
mod print;
mod read;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use staffa_catalog::SqlType;

use self::call::Call;
use crate::error::{Error, Result, undefined_function};
use crate::types::{arrow_field, sql_type};

pub(crate) use self::get::{extract, got};
pub(crate) use self::label::{as_type, order_key, order_text, scalar_of};

/// All functions of this family.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    all().map(Form::udf)
}

fn all() -> impl Iterator<Item = &'static Form> {
    [
        get::FUNCTIONS,
        read::FUNCTIONS,
        change::FUNCTIONS,
        build::FUNCTIONS,
        path::FUNCTIONS,
        label::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// The names PostgreSQL has for functions of this family.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|form| form.name).filter(|name| !name.starts_with("staffa_"))
}

/// Whether a function by this name takes JSON; and which type a parameter at this place has.
pub(crate) fn parameter_type(name: &str, place: usize) -> Option<SqlType> {
    let form = all().find(|form| form.name == name || form.name.strip_prefix("staffa_") == Some(name))?;
    match form.parameter(place)? {
        Param::Json => Some(SqlType::Json),
        Param::Jsonb => Some(SqlType::Jsonb),
        _ => None,
    }
}

/// The call of one of these functions, by name.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let form = all()
        .find(|form| form.name == name)
        .ok_or_else(|| Error::internal(format!("no function {name}")))?;
    Ok(form.call(args))
}

pub(crate) fn is_json_function(function: &ScalarFunction) -> bool {
    function.func.inner().downcast_ref::<JsonFunction>().is_some()
}

/// Whether the types of the arguments are noted in the call. Then they are those of the statement: when a plan is analysed again,
/// before it runs, coercion has made texts of literals.
pub(crate) fn is_noted(function: &ScalarFunction) -> bool {
    let json = function.func.inner().downcast_ref::<JsonFunction>();
    json.is_some_and(|json| !json.given.is_empty())
}

/// Whether a call gives JSON of its first argument's type, which is not noted yet.
pub(crate) fn gives_same(function: &ScalarFunction) -> bool {
    let json = function.func.inner().downcast_ref::<JsonFunction>();
    json.is_some_and(|json| json.given.is_empty() && matches!(json.form.gives, Gives::Same))
}

/// The call with the types of its arguments noted; `None` when there are none, or it is none of these functions.
pub(crate) fn noted(function: &ScalarFunction, types: Vec<SqlType>) -> Option<ScalarFunction> {
    let json = function.func.inner().downcast_ref::<JsonFunction>()?;
    (!types.is_empty()).then(|| ScalarFunction {
        func: Arc::new(json.form.udf_of(types)),
        args: function.args.clone(),
    })
}

/// Calls the analysis makes itself: they take texts, too.
const MADE: &[&str] = &[
    "staffa_json_to_jsonb",
    "staffa_jsonb_order",
    "staffa_jsonb_order_text",
    "staffa_jsonb_scalar",
    "staffa_read_json",
    "staffa_read_jsonb",
];

/// What a call gets wrong about the types of its arguments: `function json_typeof(jsonb) does not exist`. `literal`: has no type yet.
pub(crate) fn mistyped(function: &ScalarFunction, types: &[(SqlType, bool)]) -> Option<Error> {
    let form = function.func.inner().downcast_ref::<JsonFunction>()?.form;
    if MADE.contains(&form.name) {
        return None;
    }
    let fits = types.iter().enumerate().all(|(place, (ty, literal))| {
        let untyped = *literal || ty == &SqlType::Unknown;
        match form.parameter(place) {
            Some(Param::Json) => untyped || ty == &SqlType::Json,
            Some(Param::Jsonb) => untyped || ty == &SqlType::Jsonb,
            Some(Param::Either) => untyped || matches!(ty, SqlType::Json | SqlType::Jsonb),
            Some(Param::Text | Param::Path) => !matches!(ty, SqlType::Json | SqlType::Jsonb),
            _ => true,
        }
    });
    if fits {
        return None;
    }
    let shown = types.iter().map(|(ty, literal)| match literal {
        true => "unknown".to_string(),
        false => ty.to_string(),
    });
    let shown: Vec<String> = shown.collect();
    let name = form.name.strip_prefix("staffa_").unwrap_or(form.name);
    let name = match name {
        "json_each_key" => "json_each",
        "jsonb_each_key" => "jsonb_each",
        "json_record" => "json_to_record",
        "jsonb_record" => "jsonb_to_record",
        name => name,
    };
    Some(undefined_function(&format!("{name}({})", shown.join(", "))))
}

/// What an argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Json,
    Jsonb,
    /// `json` or `jsonb`
    Either,
    Text,
    /// A text that is a jsonpath.
    Path,
    Integer,
    Boolean,
    Texts,
    /// A text or an integer.
    Step,
    Any,
}

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    Json,
    Jsonb,
    Text,
    Integer,
    Boolean,
    /// The type of the first argument.
    Same,
    /// Its rows as an array, to be unnested. The elements are labelled when they are rows.
    Rows,
    Bytes,
}

/// What a function is.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub name: &'static str,
    pub params: &'static [Param],
    /// How many of them there must be.
    pub required: usize,
    /// Whether the last one may come again and again.
    pub repeats: bool,
    pub gives: Gives,
    pub compute: fn(&Call<'_>) -> Result<ArrayRef>,
}

impl Form {
    pub(super) const fn new(
        name: &'static str,
        params: &'static [Param],
        gives: Gives,
        compute: fn(&Call<'_>) -> Result<ArrayRef>,
    ) -> Self {
        Self {
            name,
            params,
            required: params.len(),
            repeats: false,
            gives,
            compute,
        }
    }

    /// So many of the parameters must be there.
    pub(super) const fn requires(mut self, required: usize) -> Self {
        self.required = required;
        self
    }

    pub(super) const fn repeating(mut self, required: usize) -> Self {
        self.required = required;
        self.repeats = true;
        self
    }

    fn parameter(&self, place: usize) -> Option<Param> {
        match self.params.get(place) {
            Some(param) => Some(*param),
            None if self.repeats => self.params.last().copied(),
            None => None,
        }
    }

    fn udf(&'static self) -> ScalarUDF {
        self.udf_of(Vec::new())
    }

    fn udf_of(&'static self, given: Vec<SqlType>) -> ScalarUDF {
        ScalarUDF::from(JsonFunction {
            form: self,
            signature: Signature::user_defined(Volatility::Immutable),
            given,
        })
    }

    pub(super) fn call(&'static self, args: Vec<Expr>) -> Expr {
        Expr::ScalarFunction(ScalarFunction {
            func: Arc::new(self.udf()),
            args,
        })
    }

    fn wanted(&self, place: usize, given: &DataType) -> Option<DataType> {
        let text = matches!(
            given,
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null
        );
        Some(match self.parameter(place)? {
            Param::Json | Param::Jsonb | Param::Either | Param::Text | Param::Path if text => DataType::Utf8View,
            Param::Integer if given.is_integer() || given == &DataType::Null => DataType::Int32,
            Param::Boolean if matches!(given, DataType::Boolean | DataType::Null) => DataType::Boolean,
            Param::Boolean if text => DataType::Boolean,
            Param::Texts if text || matches!(given, DataType::List(_)) => texts_type(),
            Param::Step if text => DataType::Utf8View,
            Param::Step if given.is_integer() => DataType::Int32,
            Param::Any => match given {
                DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
                other => other.clone(),
            },
            _ => return None,
        })
    }
}

/// `text[]`
fn texts_type() -> DataType {
    DataType::List(Arc::new(Field::new(
        crate::types::ELEMENT_NAME,
        DataType::Utf8View,
        true,
    )))
}

pub(super) struct JsonFunction {
    form: &'static Form,
    signature: Signature,
    /// The types of the arguments, once the plan has been analysed: batches of rows do not always say which texts are JSON.
    given: Vec<SqlType>,
}

impl fmt::Debug for JsonFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.form.name)
    }
}

// A name means one function: nothing but its arguments distinguishes two of them.
impl PartialEq for JsonFunction {
    fn eq(&self, other: &Self) -> bool {
        self.form.name == other.form.name && self.given == other.given
    }
}

impl Eq for JsonFunction {}

impl Hash for JsonFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.form.name.hash(state);
        self.given.hash(state);
    }
}

impl JsonFunction {
    fn undefined(&self, types: &[DataType]) -> Error {
        let name = self.form.name.strip_prefix("staffa_").unwrap_or(self.form.name);
        super::native::no_such_call(name, types)
    }
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        self.form.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let form = self.form;
        let fits = types.len() >= form.required && (form.repeats || types.len() <= form.params.len());
        let wanted: Option<Vec<DataType>> = types
            .iter()
            .enumerate()
            .map(|(place, given)| form.wanted(place, given))
            .collect();
        match wanted {
            Some(wanted) if fits => Ok(wanted),
            _ => Err(self.undefined(types).into()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.form.gives {
            Gives::Integer => DataType::Int32,
            Gives::Boolean => DataType::Boolean,
            Gives::Rows => texts_type(),
            Gives::Bytes => DataType::BinaryView,
            _ => DataType::Utf8View,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let ty = match self.form.gives {
            Gives::Json => SqlType::Json,
            Gives::Jsonb => SqlType::Jsonb,
            Gives::Text => SqlType::Text,
            Gives::Integer => SqlType::Integer,
            Gives::Boolean => SqlType::Boolean,
            Gives::Bytes => SqlType::Bytea,
            Gives::Rows => SqlType::Array(Box::new(SqlType::Text)),
            Gives::Same => {
                let known = self.given.first().cloned();
                match known.or_else(|| args.arg_fields.first().map(|field| sql_type(field))) {
                    Some(SqlType::Json) => SqlType::Json,
                    _ => SqlType::Jsonb,
                }
            }
        };
        Ok(Arc::new(arrow_field(self.form.name, &ty, true, "UTC")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(Call::evaluate(self.form, &self.given, &args)?)
    }
}
