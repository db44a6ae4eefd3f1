//! `string_agg` of texts and of bytes, with a delimiter of each row's own.
//!
//! DataFusion's takes only texts and one delimiter, written as a literal; calls of that form become its when the plan is
//! simplified. This one gathers pairs of value and delimiter as `array_agg` would, so that DISTINCT and ORDER BY are the same.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray, new_empty_array};
use arrow::compute::{cast, filter, is_not_null};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result as DataFusionResult;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::datetime::is_text;
use super::native::no_such_call;
use crate::error::Error;

static STRING_AGG: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::from(StringAgg { signature }))
});

pub(super) fn string_agg() -> Arc<AggregateUDF> {
    Arc::clone(&STRING_AGG)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct StringAgg {
    signature: Signature,
}

fn is_bytes(ty: &DataType) -> bool {
    matches!(ty, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// The elements that are gathered.
fn pair(of_values: &DataType) -> DataType {
    let field = |name| Field::new(name, of_values.clone(), true);
    DataType::Struct(Fields::from(vec![field("value"), field("delimiter")]))
}

fn pair_field(fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
    match fields.first() {
        Some(value) => Ok(Arc::new(Field::new("pair", pair(value.data_type()), true))),
        None => Err(Error::internal("string_agg() of nothing").into()),
    }
}

impl AggregateUDFImpl for StringAgg {
    fn name(&self) -> &str {
        "string_agg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match types {
            [DataType::Null, delimiter] if is_text(delimiter) => Ok(vec![DataType::Utf8View; 2]),
            // The value stays as it is, so that it is the same as what rows are ordered by.
            [value, delimiter] if is_text(delimiter) && (is_text(value) || is_bytes(value)) => {
                Ok(vec![value.clone(); 2])
            }
            [value, delimiter] if is_bytes(value) && is_bytes(delimiter) => Ok(vec![value.clone(); 2]),
            _ => Err(no_such_call(self.name(), types).into()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match types.first().is_some_and(is_bytes) {
            true => DataType::BinaryView,
            // As DataFusion's.
            false => DataType::LargeUtf8,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let input_fields = [pair_field(args.input_fields)?];
        array_agg_udaf().state_fields(StateFieldsArgs {
            input_fields: &input_fields,
            ..args
        })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let expr_fields = [pair_field(args.expr_fields)?];
        let list = DataType::new_list(expr_fields[0].data_type().clone(), true);
        let result = args.return_field.data_type().clone();
        let pairs = array_agg_udaf().accumulator(AccumulatorArgs {
            return_field: Arc::new(Field::new("pairs", list, true)),
            expr_fields: &expr_fields,
            exprs: args.exprs.get(..1).unwrap_or_default(),
            ..args
        })?;
        Ok(Box::new(Joined { pairs, result }))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|mut call: AggregateFunction, _| {
            if let [
                _,
                Expr::Literal(ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)), _),
            ] = call.params.args.as_slice()
            {
                call.func = string_agg_udaf();
            }
            Ok(Expr::AggregateFunction(call))
        }))
    }
}

#[derive(Debug)]
struct Joined {
    pairs: Box<dyn Accumulator>,
    result: DataType,
}

impl Accumulator for Joined {
    /// Value, delimiter, and what rows are ordered by.
    fn update_batch(&mut self, columns: &[ArrayRef]) -> DataFusionResult<()> {
        let [values, delimiters, order @ ..] = columns else {
            return Err(Error::internal("string_agg() has two arguments").into());
        };
        let given: BooleanArray = is_not_null(values)?;
        let kept = |array: &ArrayRef| match values.null_count() {
            0 => Ok(Arc::clone(array)),
            _ => filter(array, &given),
        };
        let DataType::Struct(fields) = pair(values.data_type()) else {
            return Err(Error::internal("a pair has two parts").into());
        };
        let pairs = StructArray::try_new(fields, vec![kept(values)?, kept(delimiters)?], None)?;
        let mut gathered: Vec<ArrayRef> = vec![Arc::new(pairs)];
        for key in order {
            gathered.push(kept(key)?);
        }
        self.pairs.update_batch(&gathered)
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let gathered = match self.pairs.evaluate()? {
            ScalarValue::List(list) if !list.is_empty() && list.is_valid(0) => list.value(0),
            _ => return ScalarValue::try_new_null(&self.result),
        };
        let parts = gathered.as_struct();
        let bytes = |part: usize| match parts.columns().get(part) {
            Some(part) => cast(part, &DataType::BinaryView),
            None => Ok(new_empty_array(&DataType::BinaryView)),
        };
        let (values, delimiters) = (bytes(0)?, bytes(1)?);
        let (values, delimiters) = (values.as_binary_view(), delimiters.as_binary_view());
        let mut joined = Vec::new();
        for (row, (value, delimiter)) in values.iter().zip(delimiters).enumerate() {
            // The first one's delimiter stands before nothing.
            if row > 0 {
                joined.extend_from_slice(delimiter.unwrap_or_default());
            }
            joined.extend_from_slice(value.unwrap_or_default());
        }
        match (values.is_empty(), is_bytes(&self.result)) {
            (true, _) => ScalarValue::try_new_null(&self.result),
            (false, true) => Ok(ScalarValue::BinaryView(Some(joined))),
            (false, false) => {
                let text = String::from_utf8(joined).map_err(|_| Error::internal("a text is UTF-8"))?;
                Ok(ScalarValue::LargeUtf8(Some(text)))
            }
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.pairs.size()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.pairs.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.pairs.merge_batch(states)
    }
}
