//! `array_agg`, whose array tells what its elements are: of `name` it is `name[]`. Arrays it makes one of are all of one length.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::scalar::ScalarValue;

use super::weighed::{Weighed, WeighedGroups, has_texts};
use crate::error::{Error, ErrorKind, Result};
use crate::types::with_element_type;

static ARRAY_AGG: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let inner = array_agg_udaf();
    Arc::new(AggregateUDF::from(ArrayAgg { inner }))
});

pub(crate) fn array_agg() -> Arc<AggregateUDF> {
    Arc::clone(&ARRAY_AGG)
}

/// DataFusion's, which does all but say so.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayAgg {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for ArrayAgg {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> DataFusionResult<FieldRef> {
        let list = self.inner.return_field(fields)?;
        Ok(match fields.first() {
            Some(element) => Arc::new(with_element_type(list.as_ref().clone(), element)),
            None => list,
        })
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let (of_arrays, of_texts) = (is_of_arrays(&args), is_of_texts(&args));
        let mut inner = self.inner.accumulator(args)?;
        if of_texts {
            inner = Box::new(Weighed::new(inner));
        }
        Ok(if of_arrays { Box::new(Alike { inner }) } else { inner })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !is_of_arrays(&args) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        let of_texts = is_of_texts(&args);
        let inner = self.inner.create_groups_accumulator(args)?;
        Ok(if of_texts {
            Box::new(WeighedGroups::new(inner))
        } else {
            inner
        })
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial_ordering: bool,
    ) -> DataFusionResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = self
            .inner
            .as_ref()
            .clone()
            .with_beneficial_ordering(beneficial_ordering)?;
        Ok(inner.map(|inner| Arc::new(ArrayAgg { inner: Arc::new(inner) }) as Arc<dyn AggregateUDFImpl>))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(inner) => ReversedUDAF::Reversed(Arc::new(AggregateUDF::from(ArrayAgg { inner }))),
            other => other,
        }
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

fn is_of_arrays(args: &AccumulatorArgs<'_>) -> bool {
    let first = args.expr_fields.first();
    first.is_some_and(|field| matches!(field.data_type(), DataType::List(_)))
}

fn is_of_texts(args: &AccumulatorArgs<'_>) -> bool {
    let first = args.expr_fields.first();
    first.is_some_and(|field| has_texts(field.data_type()))
}

/// Of arrays that have to be alike.
#[derive(Debug)]
struct Alike {
    inner: Box<dyn Accumulator>,
}

/// `accumArrayResultArr`
fn check(arrays: &dyn Array) -> Result<()> {
    let arrays = arrays.as_list::<i32>();
    let mut first = None;
    for row in 0..arrays.len() {
        if arrays.is_null(row) {
            return Err(Error::new(
                ErrorKind::NullValueNotAllowed,
                "cannot accumulate null arrays",
            ));
        }
        let message = match (arrays.value_length(row), *first.get_or_insert(arrays.value_length(row))) {
            (0, 0) => "cannot accumulate empty arrays",
            (length, first) if length != first => "cannot accumulate arrays of different dimensionality",
            _ => continue,
        };
        return Err(Error::new(ErrorKind::ArraySubscriptError, message));
    }
    Ok(())
}

impl Accumulator for Alike {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let gathered = self.inner.evaluate()?;
        if let ScalarValue::List(list) = &gathered
            && list.is_valid(0)
        {
            check(&list.value(0))?;
        }
        Ok(gathered)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
