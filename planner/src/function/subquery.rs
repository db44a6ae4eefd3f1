//! Functions that stand for parts of subqueries; no one calls them by name.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::cast::{as_boolean_array, as_int64_array};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use staffa_catalog::SqlType;

use crate::error::{Error, ErrorKind};
use crate::types::{TYPE_KEY, arrow_field, with_element_type};

/// What `array(select …)` is called between the syntax tree and the plan.
pub(crate) const ARRAY_OF_ROWS: &str = "staffa_array";

pub(crate) fn is_array_of_rows(function: &ScalarFunction) -> bool {
    function.func.name() == ARRAY_OF_ROWS
}

/// The value of a subquery of so many rows.
///
/// Errors when evaluated: more than one row (21000).
pub(crate) fn single_row(value: Expr, rows: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction {
        func: Arc::new(ScalarUDF::from(SingleRow {
            // Volatile, that it is evaluated even where its value is not used, and for every row.
            signature: Signature::any(2, Volatility::Volatile),
        })),
        args: vec![value, rows],
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    signature: Signature,
}

impl ScalarUDFImpl for SingleRow {
    fn name(&self) -> &str {
        "staffa_single_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let field = args.arg_fields[0].as_ref().clone();
        Ok(Arc::new(field.with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.args[1].to_array(args.number_rows)?;
        let rows = as_int64_array(&rows)?;
        if rows.iter().flatten().any(|rows| rows > 1) {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(Error::new(ErrorKind::CardinalityViolation, message).into());
        }
        Ok(args.args[0].clone())
    }
}

/// True where the first condition is; else unknown where the second one is; else false.
///
/// Not a CASE, which the optimiser would turn into ANDs and ORs that grow without end under further ones.
pub(crate) fn decided(yes: Expr, unknown: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction {
        func: Arc::new(ScalarUDF::from(Decided {
            signature: Signature::any(2, Volatility::Immutable),
        })),
        args: vec![yes, unknown],
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Decided {
    signature: Signature,
}

impl ScalarUDFImpl for Decided {
    fn name(&self) -> &str {
        "staffa_decided"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (yes, unknown) = (as_boolean_array(&arrays[0])?, as_boolean_array(&arrays[1])?);
        let decided: BooleanArray = yes
            .iter()
            .zip(unknown.iter())
            .map(|(yes, unknown)| match (yes, unknown) {
                (Some(true), _) => Some(true),
                (_, Some(true)) => None,
                _ => Some(false),
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(decided)))
    }
}

/// Holds the place of `array(select …)` until its rows are aggregated (`rules/subqueries.rs`).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayOfRows {
    signature: Signature,
}

impl ArrayOfRows {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Volatile),
        }
    }
}

impl ScalarUDFImpl for ArrayOfRows {
    fn name(&self) -> &str {
        ARRAY_OF_ROWS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::new_list(types[0].clone(), true))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(Error::unsupported("ARRAY(SELECT …) is not supported here").into())
    }
}

pub(crate) const PLAIN: &str = "staffa_plain";

/// The value as one of another type that holds its values in the same way.
pub(crate) fn typed(value: Expr, ty: SqlType) -> Expr {
    Expr::ScalarFunction(ScalarFunction {
        func: Arc::new(ScalarUDF::from(Typed::new("staffa_typed", ty))),
        args: vec![value],
    })
}

pub(crate) fn is_typed(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(function) if function.func.inner().downcast_ref::<Typed>().is_some())
}

/// What a cast to `text` is called where it must not tell what was cast, between the syntax tree and the plan.
pub(crate) const AS_TEXT: &str = "staffa_text_only";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Typed {
    name: &'static str,
    ty: SqlType,
    signature: Signature,
}

impl Typed {
    fn new(name: &'static str, ty: SqlType) -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self { name, ty, signature }
    }

    pub(super) fn as_text() -> Self {
        Self::new(AS_TEXT, SqlType::Text)
    }
}

impl ScalarUDFImpl for Typed {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let given = args.arg_fields[0].as_ref();
        let field = Field::new(self.name(), given.data_type().clone(), given.is_nullable());
        // The type of an array stands in its own field.
        Ok(Arc::new(match &self.ty {
            SqlType::Array(element) => with_element_type(field, &arrow_field("", element, true, "UTC")),
            ty => {
                let metadata = arrow_field("", ty, true, "UTC").metadata().clone();
                field.with_metadata(metadata)
            }
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}

/// What gives a name of its own to an expression with a subquery, between the syntax tree and the plan: its second argument
/// does.
pub(crate) const NUMBERED: &str = "staffa_numbered";

/// A subquery, and the aggregates in it that belong to the query around it (`rewrite/owned_aggregates.rs`).
pub(crate) const AGGREGATED: &str = "staffa_aggregated";

/// What [`AGGREGATED`] was called with.
pub(crate) fn aggregated(expression: &Expr) -> Option<&[Expr]> {
    match expression {
        Expr::ScalarFunction(function) if function.func.name() == AGGREGATED => Some(&function.args),
        _ => None,
    }
}

pub(crate) fn is_numbered(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(function) if function.func.name() == NUMBERED)
}

/// The expression that [`NUMBERED`] was put around.
pub(crate) fn without_number(expression: Expr) -> Expr {
    match expression {
        Expr::ScalarFunction(mut function) if function.func.name() == NUMBERED && !function.args.is_empty() => {
            function.args.swap_remove(0)
        }
        other => other,
    }
}

/// The value, of whose origin nothing is known.
pub(crate) fn plain(value: Expr) -> Expr {
    Same::plain().of(value)
}

/// The value, which may be null for all that is said of it.
pub(crate) fn nullable(value: Expr) -> Expr {
    let nullable = Same {
        name: "staffa_nullable",
        becomes_nullable: true,
        // Volatile, that a constant stays wrapped.
        signature: Signature::any(1, Volatility::Volatile),
    };
    nullable.of(value)
}

/// Whether it is volatile for the optimiser's sake alone: its value is the same each time.
pub(crate) fn stands_for_subquery(expression: &Expr) -> bool {
    let Expr::ScalarFunction(function) = expression else {
        return false;
    };
    let function = function.func.inner();
    function.downcast_ref::<SingleRow>().is_some()
        || function.downcast_ref::<Same>().is_some()
        || function.downcast_ref::<ArrayOfRows>().is_some()
}

/// Its first argument, of which less is said.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Same {
    name: &'static str,
    becomes_nullable: bool,
    signature: Signature,
}

impl Same {
    pub(super) fn plain() -> Self {
        Self {
            name: PLAIN,
            becomes_nullable: false,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    pub(super) fn numbered() -> Self {
        Self {
            name: NUMBERED,
            becomes_nullable: false,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }

    pub(super) fn aggregated() -> Self {
        Self {
            name: AGGREGATED,
            becomes_nullable: false,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    fn of(self, value: Expr) -> Expr {
        Expr::ScalarFunction(ScalarFunction {
            func: Arc::new(ScalarUDF::from(self)),
            args: vec![value],
        })
    }
}

impl ScalarUDFImpl for Same {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let field = args.arg_fields[0].as_ref().clone().with_name(self.name);
        if self.becomes_nullable {
            return Ok(Arc::new(field.with_nullable(true)));
        }
        let mut metadata = field.metadata().clone();
        // Of a numeric its expression tells (`shown.rs`); a `varchar` is a text.
        let is_varchar = metadata.get(TYPE_KEY).is_some_and(|ty| ty.starts_with("varchar"));
        if field.data_type().is_decimal() || is_varchar {
            metadata.remove(TYPE_KEY);
        }
        Ok(Arc::new(field.with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
