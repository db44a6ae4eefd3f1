//! Functions whose results are far larger than what they are given: `repeat('x', 1000000)` of a batch is gigabytes, which no operator has
//! asked for. Operators that call them get their rows in pieces, so that what is computed of a piece is some megabytes, or one row.
//!
//! How long a result will be is told by the arguments before it is computed: a `repeat` is as long as its text, so many times.
//! Everything else is about as long as all it is given. A long literal is there for each row; and what `string_agg` joins is copied,
//! though rows may share one text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::scalar::ScalarValue;

/// Bytes that may be computed of a piece of several rows.
const PIECE_BYTES: u64 = 8 << 20;

/// Of a whole batch nobody minds results that are so many times as long ...
const ORDINARY_TIMES: u64 = 16;

/// ... or so long.
const ORDINARY_LENGTH: u64 = 1_000;

/// Of a number, a date.
const FIXED_BYTES: u64 = 32;

/// What an operator computes that grows.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    roots: Arc<[Arc<dyn PhysicalExpr>]>,
}

impl Growth {
    /// Of an operator with one input; `None` when nothing it computes grows.
    pub(crate) fn of(plan: &dyn ExecutionPlan) -> Result<Option<Self>> {
        if plan.children().len() != 1 || merges(plan) {
            return Ok(None);
        }
        let mut roots = joined(plan);
        plan.apply_expressions(&mut |expression| {
            if grows(expression) {
                roots.push(Arc::clone(expression));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok((!roots.is_empty()).then(|| Self { roots: roots.into() }))
    }

    /// The batch in pieces.
    pub(crate) fn pieces(&self, batch: &RecordBatch) -> Vec<RecordBatch> {
        let mut work = Work {
            batch,
            bytes: vec![0; batch.num_rows()],
        };
        for root in self.roots.iter() {
            work.add(root);
        }
        let (mut pieces, mut start, mut held) = (Vec::new(), 0, 0_u64);
        for (row, bytes) in work.bytes.iter().enumerate() {
            held = held.saturating_add(*bytes);
            if held > PIECE_BYTES && row > start {
                pieces.push(batch.slice(start, row - start));
                (start, held) = (row, *bytes);
            }
        }
        pieces.push(batch.slice(start, batch.num_rows() - start));
        pieces
    }
}

/// Whether some call in it may give far more than it is given.
pub(crate) fn grows(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let mut found = false;
    // The walk itself cannot fail.
    let _ = expression.apply(|inner| {
        found |= call_of(inner).is_some_and(|call| !call.is_ordinary()) || is_long_literal(inner);
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    found
}

/// Whether it is an aggregation that computes no arguments, but puts together what others gathered.
fn merges(plan: &dyn ExecutionPlan) -> bool {
    let aggregation = plan.downcast_ref::<AggregateExec>();
    aggregation.is_some_and(|aggregation| aggregation.mode().input_mode() == AggregateInputMode::Partial)
}

/// The texts that an aggregation joins.
fn joined(plan: &dyn ExecutionPlan) -> Vec<Arc<dyn PhysicalExpr>> {
    let Some(aggregation) = plan.downcast_ref::<AggregateExec>() else {
        return Vec::new();
    };
    let joins = aggregation
        .aggr_expr()
        .iter()
        .filter(|call| call.fun().name() == "string_agg");
    joins.flat_map(|call| call.expressions()).collect()
}

fn is_long_literal(expression: &Arc<dyn PhysicalExpr>) -> bool {
    literal(expression).is_some_and(|value| value.size() as u64 > ORDINARY_LENGTH)
}

/// A call that may grow.
enum Call<'a> {
    /// A text so many times.
    Times(&'a Arc<dyn PhysicalExpr>, &'a Arc<dyn PhysicalExpr>),
    /// A text of so many characters.
    Length(&'a Arc<dyn PhysicalExpr>),
    /// A text in which another one comes in, maybe for each byte of it.
    Replaced(&'a Arc<dyn PhysicalExpr>, &'a Arc<dyn PhysicalExpr>),
    /// A value as often as these numbers multiplied.
    Filled(&'a Arc<dyn PhysicalExpr>, &'a Arc<dyn PhysicalExpr>),
    /// Values as a text with widths says.
    Formatted(&'a Arc<dyn PhysicalExpr>),
}

fn call_of(expression: &Arc<dyn PhysicalExpr>) -> Option<Call<'_>> {
    let call = expression.downcast_ref::<ScalarFunctionExpr>()?;
    match (call.fun().name(), call.args()) {
        ("repeat", [text, times, ..]) => Some(Call::Times(text, times)),
        ("lpad" | "rpad", [_, length, ..]) => Some(Call::Length(length)),
        ("replace" | "regexp_replace", [text, _, new, ..]) => Some(Call::Replaced(text, new)),
        ("array_fill", [value, lengths, ..]) => Some(Call::Filled(value, lengths)),
        ("format", [format, ..]) => Some(Call::Formatted(format)),
        _ => None,
    }
}

impl Call<'_> {
    /// Whether a whole batch may be computed at once.
    fn is_ordinary(&self) -> bool {
        match self {
            Self::Times(_, times) => whole_literal(times).is_some_and(|times| times <= ORDINARY_TIMES),
            Self::Length(length) => whole_literal(length).is_some_and(|length| length <= ORDINARY_LENGTH),
            Self::Replaced(_, new) => literal_text(new).is_some_and(|new| (new.len() as u64) < ORDINARY_TIMES),
            Self::Filled(..) => false,
            Self::Formatted(format) => {
                literal_text(format).is_some_and(|format| widths(format).is_some_and(|width| width <= ORDINARY_LENGTH))
            }
        }
    }
}

fn literal(expression: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expression.downcast_ref::<Literal>().map(Literal::value)
}

fn literal_text(expression: &Arc<dyn PhysicalExpr>) -> Option<&str> {
    literal(expression)?.try_as_str().flatten()
}

fn whole_literal(expression: &Arc<dyn PhysicalExpr>) -> Option<u64> {
    match literal(expression)?.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(value) => Some(value.map_or(0, |value| value.max(0).unsigned_abs())),
        _ => None,
    }
}

/// All numbers in a format; `None` where a width is an argument.
fn widths(format: &str) -> Option<u64> {
    let numbers = format.split(|c: char| !c.is_ascii_digit());
    let width = |digits: &str| match digits {
        "" => 0,
        digits => digits.parse().unwrap_or(u64::MAX),
    };
    (!format.contains('*')).then(|| numbers.map(width).fold(0, u64::saturating_add))
}

/// The bytes that are computed for each row of a batch.
struct Work<'a> {
    batch: &'a RecordBatch,
    bytes: Vec<u64>,
}

impl Work<'_> {
    /// What an expression that grows gives for each row, which is work, as are its parts.
    fn add(&mut self, expression: &Arc<dyn PhysicalExpr>) -> Vec<u64> {
        let parts = |work: &mut Self| {
            let mut sum = vec![0_u64; work.bytes.len()];
            for child in expression.children() {
                let bytes = match grows(child) {
                    true => work.add(child),
                    false => work.plain(child),
                };
                add_all(&mut sum, &bytes);
            }
            sum
        };
        let given = parts(self);
        let result = match call_of(expression) {
            None if expression.is::<Column>() => self.plain(expression),
            Some(Call::Times(text, times)) => {
                let (text, times) = (self.of(text, &given), self.numbers(times));
                combined(&text, &times, u64::saturating_mul)
            }
            Some(Call::Length(length)) => combined(&given, &self.numbers(length), |given, length| {
                // A character has up to four bytes.
                given.saturating_add(length.saturating_mul(4))
            }),
            Some(Call::Replaced(text, new)) => {
                let (text, new) = (self.of(text, &given), self.of(new, &given));
                combined(&text, &new, |text, new| text.saturating_mul(new.saturating_add(1)))
            }
            Some(Call::Filled(value, lengths)) => {
                let (value, lengths) = (self.of(value, &given), self.products(lengths));
                combined(&value, &lengths, u64::saturating_mul)
            }
            Some(Call::Formatted(format)) => {
                let widths = self.widths(format);
                combined(&given, &widths, u64::saturating_add)
            }
            None if is_long_literal(expression) => self.plain(expression),
            None if is_long(expression, self.batch) => given,
            None => vec![FIXED_BYTES; given.len()],
        };
        add_all(&mut self.bytes, &result);
        result
    }

    /// How long an argument is; where it grows, it is no longer than all arguments are.
    fn of(&self, argument: &Arc<dyn PhysicalExpr>, given: &[u64]) -> Vec<u64> {
        match grows(argument) {
            true => given.to_vec(),
            false => self.plain(argument),
        }
    }

    /// What does not grow is as long as the columns and the literals in it.
    fn plain(&self, expression: &Arc<dyn PhysicalExpr>) -> Vec<u64> {
        let mut sum = vec![0_u64; self.bytes.len()];
        let _ = expression.apply(|inner| {
            if let Some(column) = inner.downcast_ref::<Column>()
                && let Some(values) = self.batch.columns().get(column.index())
            {
                add_all(&mut sum, &lengths(values));
            } else if let Some(value) = literal(inner) {
                let text = value.try_as_str().flatten();
                let bytes = text.map_or(value.size(), str::len) as u64;
                sum.iter_mut().for_each(|sum| *sum = sum.saturating_add(bytes));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        sum
    }

    /// The values of an argument; what cannot be known before the call is computed for one row at a time.
    fn values(&self, argument: &Arc<dyn PhysicalExpr>, ty: Option<&DataType>) -> Option<ArrayRef> {
        if grows(argument) || is_volatile(argument) {
            return None;
        }
        let values = argument.evaluate(self.batch).ok()?.into_array(self.bytes.len()).ok()?;
        match ty {
            Some(ty) => cast(&values, ty).ok(),
            None => Some(values),
        }
    }

    fn numbers(&self, argument: &Arc<dyn PhysicalExpr>) -> Vec<u64> {
        match self.values(argument, Some(&DataType::Int64)) {
            Some(values) => {
                let values = values.as_primitive::<Int64Type>().iter();
                values
                    .map(|value| value.map_or(0, |value| value.max(0).unsigned_abs()))
                    .collect()
            }
            None => self.unknown(),
        }
    }

    fn products(&self, argument: &Arc<dyn PhysicalExpr>) -> Vec<u64> {
        let Some(values) = self.values(argument, None) else {
            return self.unknown();
        };
        let Some(lists) = values.as_list_opt::<i32>() else {
            return self.unknown();
        };
        let product = |list: Option<ArrayRef>| {
            let numbers = cast(&list?, &DataType::UInt64).ok()?;
            Some(
                numbers
                    .as_primitive::<UInt64Type>()
                    .iter()
                    .flatten()
                    .fold(1, u64::saturating_mul),
            )
        };
        lists.iter().map(|list| product(list).unwrap_or(u64::MAX)).collect()
    }

    fn widths(&self, format: &Arc<dyn PhysicalExpr>) -> Vec<u64> {
        let Some(values) = self.values(format, Some(&DataType::Utf8View)) else {
            return self.unknown();
        };
        let texts = values.as_string_view().iter();
        texts
            .map(|text| text.map_or(0, |text| widths(text).unwrap_or(u64::MAX)))
            .collect()
    }

    fn unknown(&self) -> Vec<u64> {
        vec![u64::MAX; self.bytes.len()]
    }
}

/// Whether the values of an expression have no length of their own.
fn is_long(expression: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> bool {
    expression
        .data_type(batch.schema_ref())
        .map_or(true, |ty| ty.primitive_width().is_none() && ty != DataType::Boolean)
}

fn add_all(sum: &mut [u64], more: &[u64]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

fn combined(left: &[u64], right: &[u64], with: impl Fn(u64, u64) -> u64) -> Vec<u64> {
    left.iter()
        .zip(right)
        .map(|(left, right)| with(*left, *right))
        .collect()
}

/// Bytes of each row of a column, roughly.
fn lengths(values: &ArrayRef) -> Vec<u64> {
    let rows = values.len();
    match values.data_type() {
        DataType::Utf8View => values.as_string_view().lengths().map(u64::from).collect(),
        DataType::BinaryView => values.as_binary_view().lengths().map(u64::from).collect(),
        ty if ty.primitive_width().is_some() => vec![FIXED_BYTES; rows],
        DataType::Boolean | DataType::Null => vec![FIXED_BYTES; rows],
        // Lists and the like: all are taken for as long as they are on average, and more.
        _ => vec![FIXED_BYTES + 2 * (values.get_array_memory_size() / rows.max(1)) as u64; rows],
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};
    use datafusion::common::config::ConfigOptions;
    use datafusion::logical_expr::{Volatility, create_udf};
    use datafusion::physical_expr::expressions::{col, lit};

    use super::*;

    fn repeat(
        text: Arc<dyn PhysicalExpr>,
        times: Arc<dyn PhysicalExpr>,
        schema: &Schema,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let types = vec![DataType::Utf8View, DataType::Int64];
        let computed = |_: &[_]| unreachable!("only its length is asked for");
        let function = create_udf(
            "repeat",
            types,
            DataType::Utf8View,
            Volatility::Immutable,
            Arc::new(computed),
        );
        let options = Arc::new(ConfigOptions::default());
        Ok(Arc::new(ScalarFunctionExpr::try_new(
            Arc::new(function),
            vec![text, times],
            schema,
            options,
        )?))
    }

    /// Rows of each piece for `repeat(t, times)` of four rows: 1, 2, 3 and 4 mebibytes times `n`, which is 1, 1, 2, null.
    fn pieces(made: impl Fn(&Schema) -> Result<Arc<dyn PhysicalExpr>>) -> Result<Vec<usize>> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("t", DataType::Utf8View, true),
            Field::new("n", DataType::Int64, true),
        ]));
        let texts: StringViewArray = (1..=4).map(|length| Some("x".repeat(length << 20))).collect();
        let numbers: Int64Array = [Some(1), Some(1), Some(2), None].into_iter().collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(texts), Arc::new(numbers)])?;
        let growth = Growth {
            roots: vec![made(&schema)?].into(),
        };
        Ok(growth.pieces(&batch).iter().map(RecordBatch::num_rows).collect())
    }

    #[test]
    fn pieces_are_as_large_as_their_results_may_be() -> Result<()> {
        let of_column = |schema: &Schema| repeat(col("t", schema)?, col("n", schema)?, schema);
        assert_eq!(pieces(of_column)?, [2, 2]);
        let of_all = |schema: &Schema| repeat(col("t", schema)?, lit(20_i64), schema);
        assert_eq!(pieces(of_all)?, [1, 1, 1, 1]);
        let of_one = |schema: &Schema| repeat(lit("xyz"), col("n", schema)?, schema);
        assert_eq!(pieces(of_one)?, [4]);
        // The inner one is work, too: 2, 4 and 12 mebibytes.
        let nested = |schema: &Schema| repeat(of_column(schema)?, col("n", schema)?, schema);
        assert_eq!(pieces(nested)?, [2, 1, 1]);
        Ok(())
    }

    #[test]
    fn what_is_short_for_sure_is_ordinary() -> Result<()> {
        let schema = Schema::new(vec![Field::new("t", DataType::Utf8View, true)]);
        for (times, grown) in [(16, false), (17, true), (-1, false)] {
            assert_eq!(
                grows(&repeat(col("t", &schema)?, lit(times), &schema)?),
                grown,
                "{times}"
            );
        }
        assert_eq!(widths("%10s and %-3s"), Some(13));
        assert_eq!(widths("%*s"), None);
        assert_eq!(widths("%99999999999999999999s"), Some(u64::MAX));
        Ok(())
    }
}
