//! The subscripts of an array: `generate_subscripts`, and `_pg_expandarray` of `information_schema`. Arrays, to be unnested.
//!
//! Arrays count from 1, `int2vector` and `oidvector` from 0. No one calls these by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int32Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use staffa_catalog::SqlType;

use crate::error::{Error, undefined_function};
use crate::types::{ELEMENT_NAME, sql_type};

/// With the array, the dimension, and where it counts from if not from where the array does.
pub(crate) const SUBSCRIPTS: &str = "staffa_subscripts";
pub(crate) const EXPANDED: &str = "staffa_expanded";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Subscripts {
    signature: Signature,
    /// With the elements.
    expanded: bool,
}

impl Subscripts {
    pub(super) fn new(expanded: bool) -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            expanded,
        }
    }

    fn list(&self, given: &DataType) -> DataFusionResult<DataType> {
        let DataType::List(element) = given else {
            return Err(undefined_function("generate_subscripts").into());
        };
        let inner = if self.expanded {
            DataType::Struct(pair(element.data_type()))
        } else {
            DataType::Int32
        };
        Ok(DataType::List(Arc::new(Field::new(ELEMENT_NAME, inner, true))))
    }
}

/// The fields `_pg_expandarray` gives.
fn pair(element: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("x", element.clone(), true),
        Field::new("n", DataType::Int32, true),
    ])
}

impl ScalarUDFImpl for Subscripts {
    fn name(&self) -> &str {
        if self.expanded { EXPANDED } else { SUBSCRIPTS }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let (Some(array), 1..=3) = (given.first(), given.len()) else {
            return Err(undefined_function("generate_subscripts").into());
        };
        self.list(array)?;
        let mut types = vec![array.clone()];
        types.resize(given.len(), DataType::Int32);
        Ok(types)
    }

    fn return_type(&self, given: &[DataType]) -> DataFusionResult<DataType> {
        match given.first() {
            Some(array) => self.list(array),
            None => Err(undefined_function("generate_subscripts").into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let is_vector = args
            .arg_fields
            .first()
            .is_some_and(|field| matches!(sql_type(field), SqlType::System(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let lists = arrays[0]
            .as_list_opt::<i32>()
            .ok_or_else(|| Error::internal("subscripts of what is no array"))?;
        let first = i32::from(self.expanded || arrays.len() > 2 || !is_vector);
        let dimension = arrays.get(1).map(|dimension| dimension.as_primitive::<Int32Type>());
        // An array here has one dimension, or the caller asks for its outermost.
        let counted = |row: usize| {
            let asked = dimension.is_none_or(|dimension| dimension.is_valid(row) && dimension.value(row) == 1);
            lists.is_valid(row) && asked
        };
        let mut lengths = Vec::with_capacity(lists.len());
        let mut numbers = Vec::new();
        for row in 0..lists.len() {
            let length = if counted(row) { lists.value_length(row) } else { 0 };
            lengths.push(usize::try_from(length).unwrap_or_default());
            numbers.extend((0..length).map(|at| at + first));
        }
        let DataType::List(field) = args.return_type() else {
            return Err(Error::internal("subscripts are an array").into());
        };
        let values = self.values(lists, numbers, field)?;
        let nulls: NullBuffer = (0..lists.len()).map(|row| lists.is_valid(row)).collect();
        let lists = ListArray::try_new(
            Arc::clone(field),
            OffsetBuffer::from_lengths(lengths),
            values,
            Some(nulls),
        )?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

impl Subscripts {
    fn values(&self, lists: &ListArray, numbers: Vec<i32>, field: &FieldRef) -> DataFusionResult<ArrayRef> {
        let numbers: ArrayRef = Arc::new(Int32Array::from(numbers));
        let DataType::Struct(fields) = field.data_type() else {
            return Ok(numbers);
        };
        let mut places: Vec<u32> = Vec::with_capacity(numbers.len());
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            let offsets = lists.value_offsets();
            places.extend((offsets[row]..offsets[row + 1]).filter_map(|at| u32::try_from(at).ok()));
        }
        let elements = arrow::compute::take(lists.values(), &arrow::array::UInt32Array::from(places), None)?;
        let elements = arrow::compute::cast(&elements, fields[0].data_type())?;
        Ok(Arc::new(StructArray::try_new(
            fields.clone(),
            vec![elements, numbers],
            None,
        )?))
    }
}
