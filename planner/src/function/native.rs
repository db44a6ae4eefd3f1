//! The form most of our scalar functions have: a name, how its arguments resolve, and how columns are computed.
//!
//! Arguments arrive in the types [`Shape::resolve`] asked for; every function looks at its NULLs itself.

use std::fmt;
use std::hash::{Hash, Hasher};

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result, undefined_function};
use crate::supervision::Asked;
use crate::types::sql_type_of;

/// The types the arguments are converted to, and the type of the result.
pub(super) type Resolved = Option<(Vec<DataType>, DataType)>;

/// What a function is.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub name: &'static str,
    /// From the types of the arguments given; `None` when no variant takes them.
    pub resolve: fn(&[DataType]) -> Resolved,
    pub compute: fn(&Columns<'_>) -> Result<ArrayRef>,
    pub volatility: Volatility,
}

impl Shape {
    pub(super) const fn new(
        name: &'static str,
        resolve: fn(&[DataType]) -> Resolved,
        compute: fn(&Columns<'_>) -> Result<ArrayRef>,
    ) -> Self {
        Self {
            name,
            resolve,
            compute,
            volatility: Volatility::Immutable,
        }
    }

    pub(super) fn udf(self) -> ScalarUDF {
        let signature = Signature::user_defined(self.volatility);
        ScalarUDF::from(Native { shape: self, signature })
    }

    /// A call of it; the arguments have the types it resolves to already, or are converted when the plan is analysed.
    pub(super) fn call(self, args: Vec<Expr>) -> Expr {
        Expr::ScalarFunction(ScalarFunction {
            func: std::sync::Arc::new(self.udf()),
            args,
        })
    }
}

/// The arguments of one call: columns of equal length, constants with one row.
pub(super) struct Columns<'a> {
    pub arrays: &'a [ArrayRef],
    constant: &'a [bool],
    pub rows: usize,
    pub result: &'a DataType,
}

impl Columns<'_> {
    /// Computes a call: once where all arguments are constants, else for every row.
    pub(super) fn evaluate(
        args: &ScalarFunctionArgs,
        compute: impl FnOnce(&Columns<'_>) -> Result<ArrayRef>,
    ) -> DataFusionResult<ColumnarValue> {
        if !args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            return Self::of_every_row(args, compute);
        }
        let result = Self::computed(args, 1, compute)?;
        Ok(ColumnarValue::Scalar(match result.as_list_opt::<i32>() {
            // Taken apart and put together again, its element field would not say any more what it said.
            Some(list) => ScalarValue::List(std::sync::Arc::new(list.clone())),
            None => ScalarValue::try_from_array(&result, 0)?,
        }))
    }

    fn of_every_row(
        args: &ScalarFunctionArgs,
        compute: impl FnOnce(&Columns<'_>) -> Result<ArrayRef>,
    ) -> DataFusionResult<ColumnarValue> {
        Ok(ColumnarValue::Array(Self::computed(args, args.number_rows, compute)?))
    }

    fn computed(
        args: &ScalarFunctionArgs,
        rows: usize,
        compute: impl FnOnce(&Columns<'_>) -> Result<ArrayRef>,
    ) -> DataFusionResult<ArrayRef> {
        let mut constant = Vec::with_capacity(args.args.len());
        let mut arrays = Vec::with_capacity(args.args.len());
        for arg in &args.args {
            constant.push(matches!(arg, ColumnarValue::Scalar(_)));
            arrays.push(match arg {
                ColumnarValue::Array(array) => std::sync::Arc::clone(array),
                ColumnarValue::Scalar(value) => value.to_array_of_size(1)?,
            });
        }
        Ok(compute(&Columns {
            arrays: &arrays,
            constant: &constant,
            rows,
            result: args.return_field.data_type(),
        })?)
    }

    /// The row of argument `index` that belongs to `row`.
    pub(super) fn at(&self, index: usize, row: usize) -> usize {
        if self.constant[index] { 0 } else { row }
    }

    pub(super) fn len(&self) -> usize {
        self.arrays.len()
    }

    pub(super) fn is_null(&self, index: usize, row: usize) -> bool {
        // An array of type Null has no bits to say so.
        let array = &self.arrays[index];
        array.data_type() == &DataType::Null || array.is_null(self.at(index, row))
    }

    /// Whether any argument of the row is NULL.
    pub(super) fn any_null(&self, row: usize) -> bool {
        (0..self.arrays.len()).any(|index| self.is_null(index, row))
    }

    pub(super) fn texts(&self, index: usize) -> Result<&StringViewArray> {
        self.arrays[index]
            .as_string_view_opt()
            .ok_or_else(|| wrong_type(&self.arrays[index]))
    }

    /// The text of a row; the caller has looked for NULLs.
    pub(super) fn text(&self, index: usize, row: usize) -> Result<&str> {
        Ok(self.texts(index)?.value(self.at(index, row)))
    }

    pub(super) fn int(&self, index: usize, row: usize) -> Result<i64> {
        use arrow::datatypes::{Int16Type, Int32Type, Int64Type};
        let (array, row) = (&self.arrays[index], self.at(index, row));
        Ok(match array.data_type() {
            DataType::Int16 => i64::from(array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => i64::from(array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row),
            _ => return Err(wrong_type(array)),
        })
    }
}

/// Arguments have the types that were asked for: anything else is a mistake of ours.
pub(super) fn wrong_type(array: &ArrayRef) -> Error {
    Error::internal(format!("a function got an argument of type {}", array.data_type()))
}

/// Of a constant that is not counted.
const SHORT_BYTES: usize = 256;

/// Bytes of what is given for all rows, if the result has a length of its own: it is about as long.
pub(super) fn bytes_given(args: &ScalarFunctionArgs) -> u64 {
    let ty = args.return_field.data_type();
    if ty.primitive_width().is_some() || matches!(ty, DataType::Boolean | DataType::Null) {
        return 0;
    }
    let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_constant { 1 } else { args.number_rows as u64 };
    let bytes = args.args.iter().map(|arg| match arg {
        ColumnarValue::Scalar(value) if value.size() <= SHORT_BYTES => 0,
        ColumnarValue::Scalar(value) => (value.size() as u64).saturating_mul(rows),
        ColumnarValue::Array(values) => match values.data_type() {
            DataType::Utf8View => values.as_string_view().lengths().map(u64::from).sum(),
            DataType::BinaryView => values.as_binary_view().lengths().map(u64::from).sum(),
            // Of a slice the part that is used.
            _ => values.to_data().get_slice_memory_size().unwrap_or_default() as u64,
        },
    });
    bytes.fold(0, u64::saturating_add)
}

struct Native {
    shape: Shape,
    signature: Signature,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shape.name)
    }
}

// A name means one function: nothing else distinguishes two of them.
impl PartialEq for Native {
    fn eq(&self, other: &Self) -> bool {
        self.shape.name == other.shape.name
    }
}

impl Eq for Native {}

impl Hash for Native {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shape.name.hash(state);
    }
}

impl Native {
    fn resolved(&self, types: &[DataType]) -> DataFusionResult<(Vec<DataType>, DataType)> {
        (self.shape.resolve)(types).ok_or_else(|| no_such_call(self.shape.name, types).into())
    }
}

/// `function f(text, integer) does not exist`
pub(super) fn no_such_call(name: &str, types: &[DataType]) -> Error {
    let types: Vec<String> = types.iter().map(|ty| sql_type_of(ty).to_string()).collect();
    undefined_function(&format!("{name}({})", types.join(", ")))
}

impl ScalarUDFImpl for Native {
    fn name(&self) -> &str {
        self.shape.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(self.resolved(types)?.0)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.resolved(types)?.1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let _asked = Asked::for_bytes(bytes_given(&args))?;
        let compute = self.shape.compute;
        if self.shape.volatility == Volatility::Volatile {
            // Such a function answers anew for every row.
            return Columns::of_every_row(&args, compute);
        }
        Columns::evaluate(&args, compute)
    }
}
