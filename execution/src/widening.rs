//! Casts of whole numbers to wider ones. Arrow's ask of each value whether it fits, although all do; a sum without groups spends most of
//! its time there.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, FieldRef, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type,
    UInt32Type,
};
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;

/// The operator with such casts in the arguments of its functions; none where it has none.
pub(crate) fn widening(stock: &AggregateExec) -> Result<Option<AggregateExec>> {
    // What it tells scans as it runs is shared with them, and the copy would not be.
    if !stock.dynamic_expressions_produced().is_empty() {
        return Ok(None);
    }
    let schema = stock.input().schema();
    let (mut functions, mut is_other) = (Vec::new(), false);
    for function in stock.aggr_expr() {
        let arguments = function.expressions().into_iter();
        let arguments = arguments.map(|argument| argument.transform_up(|expr| with_widened(expr, &schema)));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let is_changed = arguments.iter().any(|argument| argument.transformed);
        let arguments = arguments.into_iter().map(|argument| argument.data).collect();
        let orders = function.order_bys().iter().map(|order| Arc::clone(&order.expr));
        let changed = is_changed.then(|| function.with_new_expressions(arguments, orders.collect()));
        is_other |= changed.as_ref().is_some_and(Option::is_some);
        functions.push(match changed.flatten() {
            Some(changed) => Arc::new(changed),
            None => Arc::clone(function),
        });
    }
    Ok(is_other.then(|| stock.with_new_aggr_exprs(functions)))
}

fn with_widened(expr: PhysicalExprRef, schema: &Schema) -> Result<Transformed<PhysicalExprRef>> {
    let Some(cast) = expr.downcast_ref::<CastExpr>() else {
        return Ok(Transformed::no(expr));
    };
    let from = cast.expr().data_type(schema)?;
    Ok(match cast.cast_type() == &DataType::Int64 && is_narrower(&from) {
        true => Transformed::yes(Arc::new(Widened(Arc::clone(cast.expr())))),
        false => Transformed::no(expr),
    })
}

fn is_narrower(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 | T::UInt32
    )
}

/// Whole numbers as those of 64 bits.
#[derive(Debug, Eq)]
struct Widened(PhysicalExprRef);

impl PartialEq for Widened {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Hash for Widened {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Widened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAST({} AS Int64)", self.0)
    }
}

impl PhysicalExpr for Widened {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        let field = self.0.return_field(schema)?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(DataType::Int64)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(match self.0.evaluate(batch)? {
            ColumnarValue::Array(array) => ColumnarValue::Array(widened(&array)?),
            ColumnarValue::Scalar(scalar) => ColumnarValue::Scalar(scalar.cast_to(&DataType::Int64)?),
        })
    }

    fn children(&self) -> Vec<&PhysicalExprRef> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<PhysicalExprRef>) -> Result<PhysicalExprRef> {
        match (children.pop(), children.is_empty()) {
            (Some(child), true) => Ok(Arc::new(Self(child))),
            _ => internal_err!("a cast has one argument"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CAST(")?;
        self.0.fmt_sql(f)?;
        f.write_str(" AS Int64)")
    }
}

fn widened(array: &ArrayRef) -> Result<ArrayRef> {
    fn of<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> ArrayRef {
        Arc::new(array.as_primitive::<T>().unary::<_, Int64Type>(Into::into))
    }
    Ok(match array.data_type() {
        DataType::Int8 => of::<Int8Type>(array),
        DataType::Int16 => of::<Int16Type>(array),
        DataType::Int32 => of::<Int32Type>(array),
        DataType::UInt8 => of::<UInt8Type>(array),
        DataType::UInt16 => of::<UInt16Type>(array),
        DataType::UInt32 => of::<UInt32Type>(array),
        other => return internal_err!("{other} is no narrower whole number"),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int16Array, UInt32Array};
    use arrow::compute::cast;

    use super::*;

    #[test]
    fn numbers_are_those_of_the_cast() {
        let arrays: [ArrayRef; 2] = [
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(-1), Some(i16::MAX)])),
            Arc::new(UInt32Array::from(vec![Some(0), None, Some(u32::MAX)])),
        ];
        for array in arrays {
            let wide = widened(&array).expect("numbers");
            assert_eq!(&wide, &cast(&array, &DataType::Int64).expect("numbers"));
        }
    }
}
