//! An expression over an element, computed for each element of an array: casts of arrays are those of their elements.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::create_physical_expr;
use datafusion::scalar::ScalarValue;

use super::text_cast::TextCasts;
use crate::error::Error;

/// The array of what `computed` yields for each element of `array`, an array of type `list`. `given` is the only column that
/// `computed` is over: the element.
pub(crate) fn of_each(array: Expr, given: Field, computed: Expr, list: FieldRef) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    Expr::ScalarFunction(ScalarFunction {
        func: Arc::new(ScalarUDF::from(OfEach {
            given,
            computed,
            list,
            signature,
        })),
        args: vec![array],
    })
}

/// Printed truth values as `array_to_string` prints them: by their letters. Others as they are.
pub(super) fn letters(printed: Expr) -> Expr {
    if let Expr::ScalarFunction(call) = &printed
        && let Some(each) = call.func.inner().downcast_ref::<OfEach>()
        && let [array] = call.args.as_slice()
    {
        let computed = TextCasts::letter(each.computed.clone());
        return of_each(array.clone(), each.given.clone(), computed, Arc::clone(&each.list));
    }
    printed
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfEach {
    given: Field,
    computed: Expr,
    list: FieldRef,
    signature: Signature,
}

impl OfEach {
    fn converted(&self, lists: &ListArray) -> DataFusionResult<ArrayRef> {
        let DataType::List(element) = self.list.data_type() else {
            return Err(Error::internal(format!("arrays of type {}", self.list.data_type())).into());
        };
        let (elements, offsets) = visible(lists)?;
        let schema = Arc::new(Schema::new(vec![self.given.clone()]));
        let columns = DFSchema::try_from(Arc::clone(&schema))?;
        let computed = create_physical_expr(
            &self.computed,
            &columns,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )?;
        let rows = elements.len();
        let batch = RecordBatch::try_new(schema, vec![elements])?;
        let values = computed.evaluate(&batch)?.into_array(rows)?;
        let list = ListArray::try_new(Arc::clone(element), offsets, values, lists.nulls().cloned())?;
        Ok(Arc::new(list))
    }
}

/// The elements of arrays that are not NULL, and where each array's are: what lies elsewhere must not be computed.
fn visible(lists: &ListArray) -> DataFusionResult<(ArrayRef, OffsetBuffer<i32>)> {
    let length = |row: usize| match lists.is_valid(row) {
        true => lists.value_length(row) as usize,
        false => 0,
    };
    let offsets = OffsetBuffer::from_lengths((0..lists.len()).map(length));
    let shown = |row: usize| {
        let start = lists.value_offsets()[row] as u64;
        start..start + length(row) as u64
    };
    let places: UInt64Array = (0..lists.len()).flat_map(shown).collect();
    Ok((take(lists.values(), &places, None)?, offsets))
}

impl ScalarUDFImpl for OfEach {
    fn name(&self) -> &str {
        "staffa_each"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.list.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.first().is_none_or(|field| field.is_nullable());
        let field = self.list.as_ref().clone();
        Ok(Arc::new(field.with_name(self.name()).with_nullable(nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let Some(argument) = args.args.into_iter().next() else {
            return Err(Error::internal("a cast of nothing").into());
        };
        let scalar = matches!(argument, ColumnarValue::Scalar(_));
        let array = argument.into_array(if scalar { 1 } else { args.number_rows })?;
        let lists = array
            .as_list_opt::<i32>()
            .ok_or_else(|| Error::internal(format!("elements of {}", array.data_type())))?;
        let result = self.converted(lists)?;
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}
