//! Arithmetic of decimals in 64 bits, for as long as the numbers are small enough.
//!
//! Decimals are kept in 128 bits, and arrow multiplies and adds them so, one checked operation after the other, each with an
//! array of its own. Prices and quantities need far less. A tree of `+`, `-` and `*` is computed here as a whole: the widest number of each
//! column of the batch is looked up, which bounds every step of the tree, and if all fit into 64 bits no step has to be
//! checked. If one does not, arrow computes the batch.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal64Type, Decimal128Type, FieldRef, Int16Type, Int32Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef};
use datafusion::physical_expr_common::physical_expr::is_volatile;

/// The expression, with its trees of decimal arithmetic computed in 64 bits where they can be.
///
/// # Errors
/// Of DataFusion, about types that do not fit `schema`, the expression's input.
pub fn narrowed(expression: &PhysicalExprRef, schema: &Schema) -> Result<PhysicalExprRef> {
    let narrow = |expression: PhysicalExprRef| {
        Ok(match Narrow::of(&expression, schema)? {
            // What is below are its leaves, which have such trees of their own only inside of functions.
            Some(narrow) => Transformed::new(Arc::new(narrow) as _, true, TreeNodeRecursion::Jump),
            None => Transformed::no(expression),
        })
    };
    Arc::clone(expression).transform_down(narrow).data()
}

/// A tree of `+`, `-` and `*` over decimals.
#[derive(Debug)]
pub(crate) struct Narrow {
    program: Program,
    root: usize,
    /// Arrow's way.
    wide: PhysicalExprRef,
    precision: u8,
    scale: i8,
}

/// Trees of arithmetic, in the order they are computed. What several of them have in common is there once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// What is computed by others.
    Leaf(PhysicalExprRef),
    Constant(i64, PhysicalExprRef),
    Binary {
        operator: Operator,
        left: usize,
        right: usize,
        /// What brings the sides to one scale.
        left_factor: i64,
        right_factor: i64,
    },
}

impl Narrow {
    fn of(expression: &PhysicalExprRef, schema: &Schema) -> Result<Option<Self>> {
        if !expression.is::<BinaryExpr>() {
            return Ok(None);
        }
        let mut program = Program::default();
        let Some(root) = program.add(expression, schema)? else {
            return Ok(None);
        };
        match expression.data_type(schema)? {
            DataType::Decimal128(precision, scale) if program.leaves().next().is_some() => Ok(Some(Self {
                program,
                root,
                wide: Arc::clone(expression),
                precision,
                scale,
            })),
            _ => Ok(None),
        }
    }

    /// What it is computed from.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &PhysicalExprRef> {
        self.program.leaves()
    }

    /// In 64 bits; none if the numbers do not fit, or a side is null for all rows.
    fn evaluate_narrow(&self, batch: &RecordBatch) -> Result<Option<ColumnarValue>> {
        let Some(value) = self.program.over(batch).of(self.root)? else {
            return Ok(None);
        };
        let numbers: Vec<i128> = match value.numbers {
            Numbers::Constant(number) => vec![i128::from(number); batch.num_rows()],
            Numbers::Rows(numbers) => numbers.iter().map(|number| i128::from(*number)).collect(),
        };
        let array = Decimal128Array::try_new(numbers.into(), value.nulls)?;
        let array = array.with_precision_and_scale(self.precision, self.scale)?;
        Ok(Some(ColumnarValue::Array(Arc::new(array))))
    }
}

impl Program {
    /// The step that computes a tree of arithmetic; none for one whose operands are not all decimals.
    pub(crate) fn add(&mut self, expression: &PhysicalExprRef, schema: &Schema) -> Result<Option<usize>> {
        let before = self.steps.len();
        let added = self.add_tree(expression, schema)?;
        if added.is_none() {
            self.steps.truncate(before);
        }
        Ok(added.map(|(step, _)| step))
    }

    /// The step that reads numbers somebody else computes.
    pub(crate) fn add_leaf(&mut self, expression: &PhysicalExprRef) -> usize {
        let leaf = Step::Leaf(Arc::clone(expression));
        if is_volatile(expression) {
            // Each has a value of its own.
            self.steps.push(leaf);
            return self.steps.len() - 1;
        }
        self.step(leaf)
    }

    pub(crate) fn leaves(&self) -> impl Iterator<Item = &PhysicalExprRef> {
        self.steps.iter().filter_map(|step| match step {
            Step::Leaf(leaf) => Some(leaf),
            _ => None,
        })
    }

    /// For the rows of a batch.
    pub(crate) fn over<'a>(&'a self, batch: &'a RecordBatch) -> Values<'a> {
        Values {
            program: self,
            batch,
            known: vec![None; self.steps.len()],
        }
    }

    fn step(&mut self, step: Step) -> usize {
        let known = self.steps.iter().position(|known| *known == step);
        known.unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        })
    }

    /// The step of an expression, and its scale; none for one that is not a decimal.
    fn add_tree(&mut self, expression: &PhysicalExprRef, schema: &Schema) -> Result<Option<(usize, i8)>> {
        if let Some(narrow) = expression.downcast_ref::<Narrow>() {
            return self.add_tree(&narrow.wide, schema);
        }
        let DataType::Decimal128(_, scale) = expression.data_type(schema)? else {
            return Ok(None);
        };
        if let Some(literal) = expression.downcast_ref::<Literal>()
            && let ScalarValue::Decimal128(Some(value), ..) = literal.value()
            && let Ok(value) = i64::try_from(*value)
        {
            return Ok(Some((self.step(Step::Constant(value, Arc::clone(expression))), scale)));
        }
        if let Some(binary) = expression.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
        {
            let left = self.add_tree(binary.left(), schema)?;
            let right = self.add_tree(binary.right(), schema)?;
            let (Some((left, left_scale)), Some((right, right_scale))) = (left, right) else {
                return Ok(None);
            };
            let factor = |side: i8| match binary.op() {
                Operator::Multiply => Some(1),
                _ => 10_i64.checked_pow(u32::try_from(scale.checked_sub(side)?).ok()?),
            };
            let (Some(left_factor), Some(right_factor)) = (factor(left_scale), factor(right_scale)) else {
                return Ok(None);
            };
            let step = self.step(Step::Binary {
                operator: *binary.op(),
                left,
                right,
                left_factor,
                right_factor,
            });
            return Ok(Some((step, scale)));
        }
        Ok(Some((self.add_leaf(expression), scale)))
    }

    /// What a step computes.
    fn expression(&self, step: usize) -> Result<PhysicalExprRef> {
        Ok(match self.steps.get(step) {
            Some(Step::Leaf(expression) | Step::Constant(_, expression)) => Arc::clone(expression),
            Some(Step::Binary {
                operator, left, right, ..
            }) => {
                let (left, right) = (self.expression(*left)?, self.expression(*right)?);
                Arc::new(BinaryExpr::new(left, *operator, right))
            }
            None => return internal_err!("arithmetic of decimals lost a step"),
        })
    }
}

/// What a program's steps are for the rows of a batch: each is computed when it is asked for, once.
pub(crate) struct Values<'a> {
    program: &'a Program,
    pub(crate) batch: &'a RecordBatch,
    known: Vec<Option<Option<Value>>>,
}

impl Values<'_> {
    /// In 64 bits; none if the numbers do not fit.
    pub(crate) fn of(&mut self, step: usize) -> Result<Option<Value>> {
        if let Some(Some(known)) = self.known.get(step) {
            return Ok(known.clone());
        }
        let value = match self.program.steps.get(step) {
            Some(Step::Leaf(leaf)) => match leaf.evaluate(self.batch)? {
                ColumnarValue::Array(array) => Value::of_array(&array),
                ColumnarValue::Scalar(ScalarValue::Decimal128(Some(value), ..)) => Value::of_constant(value),
                ColumnarValue::Scalar(_) => None,
            },
            Some(Step::Constant(value, _)) => Value::of_constant(i128::from(*value)),
            Some(Step::Binary {
                operator,
                left,
                right,
                left_factor,
                right_factor,
            }) => match (self.of(*left)?, self.of(*right)?) {
                (Some(left), Some(right)) => {
                    let factors = (*left_factor, *right_factor);
                    Value::computed(*operator, &left, &right, factors, self.batch.num_rows())
                }
                _ => None,
            },
            None => return internal_err!("arithmetic of decimals lost a step"),
        };
        if let Some(known) = self.known.get_mut(step) {
            *known = Some(value.clone());
        }
        Ok(value)
    }
}

fn both(left: &Numbers, right: &Numbers, rows: usize, compute: impl Fn(i64, i64) -> i64) -> Numbers {
    let computed: Vec<i64> = match (left, right) {
        (Numbers::Rows(left), Numbers::Rows(right)) => {
            left.iter().zip(right.iter()).map(|(a, b)| compute(*a, *b)).collect()
        }
        (Numbers::Rows(left), Numbers::Constant(right)) => left.iter().map(|a| compute(*a, *right)).collect(),
        (Numbers::Constant(left), Numbers::Rows(right)) => right.iter().map(|b| compute(*left, *b)).collect(),
        (Numbers::Constant(left), Numbers::Constant(right)) => vec![compute(*left, *right); rows],
    };
    Numbers::Rows(computed.into())
}

/// Numbers of the rows of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) numbers: Numbers,
    /// No number is further from zero.
    pub(crate) bound: i64,
    pub(crate) nulls: Option<NullBuffer>,
}

#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    Constant(i64),
    Rows(ScalarBuffer<i64>),
}

impl Value {
    fn of_constant(value: i128) -> Option<Self> {
        let value = i64::try_from(value).ok()?;
        Some(Self {
            numbers: Numbers::Constant(value),
            bound: value.checked_abs()?,
            nulls: None,
        })
    }

    /// Of decimals and whole numbers.
    fn of_array(array: &ArrayRef) -> Option<Self> {
        fn widened<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> (ScalarBuffer<i64>, i64) {
            let numbers = array.as_primitive::<T>().values().iter();
            let numbers: Vec<i64> = numbers.map(|number| (*number).into()).collect();
            (numbers.into(), 1 << (size_of::<T::Native>() * 8 - 1))
        }
        let (numbers, bound) = match array.data_type() {
            DataType::Decimal128(..) => narrow_rows(array.as_primitive::<Decimal128Type>().values())?,
            DataType::Decimal64(..) => bounded(array.as_primitive::<Decimal64Type>().values())?,
            DataType::Int64 => bounded(array.as_primitive::<Int64Type>().values())?,
            DataType::Int32 => widened::<Int32Type>(array),
            DataType::Int16 => widened::<Int16Type>(array),
            _ => return None,
        };
        Some(Self {
            numbers: Numbers::Rows(numbers),
            bound,
            nulls: array.nulls().filter(|nulls| nulls.null_count() > 0).cloned(),
        })
    }

    fn computed(operator: Operator, left: &Self, right: &Self, factors: (i64, i64), rows: usize) -> Option<Self> {
        let (left_factor, right_factor) = factors;
        let (left_bound, right_bound) = (
            left.bound.checked_mul(left_factor)?,
            right.bound.checked_mul(right_factor)?,
        );
        let bound = match operator {
            Operator::Multiply => left_bound.checked_mul(right_bound)?,
            _ => left_bound.checked_add(right_bound)?,
        };
        let nulls = NullBuffer::union(left.nulls.as_ref(), right.nulls.as_ref());
        let (left, right) = (&left.numbers, &right.numbers);
        // The bounds say that none of it overflows.
        let numbers = match operator {
            Operator::Multiply => both(left, right, rows, |a, b| a.wrapping_mul(b)),
            _ if factors == (1, 1) => match operator {
                Operator::Plus => both(left, right, rows, |a, b| a.wrapping_add(b)),
                _ => both(left, right, rows, |a, b| a.wrapping_sub(b)),
            },
            Operator::Plus => both(left, right, rows, |a, b| {
                a.wrapping_mul(left_factor).wrapping_add(b.wrapping_mul(right_factor))
            }),
            _ => both(left, right, rows, |a, b| {
                a.wrapping_mul(left_factor).wrapping_sub(b.wrapping_mul(right_factor))
            }),
        };
        Some(Self { numbers, bound, nulls })
    }
}

/// Numbers of 128 bits in 64, with their bound.
fn narrow_rows(values: &[i128]) -> Option<(ScalarBuffer<i64>, i64)> {
    // Bits that differ from the sign, of all numbers: the widest has the highest.
    let (mut wide, mut bits) = (0_u64, 0_u64);
    let numbers: Vec<i64> = values
        .iter()
        .map(|value| {
            let (low, high) = (*value as i64, (*value >> 64) as i64);
            let sign = low >> 63;
            wide |= (high ^ sign) as u64;
            bits |= (low ^ sign) as u64;
            low
        })
        .collect();
    match wide {
        0 => Some((numbers.into(), bound_of(bits)?)),
        _ => None,
    }
}

fn bounded(numbers: &ScalarBuffer<i64>) -> Option<(ScalarBuffer<i64>, i64)> {
    let bits = numbers
        .iter()
        .fold(0, |bits, number| bits | (number ^ (number >> 63)) as u64);
    Some((numbers.clone(), bound_of(bits)?))
}

/// Of a negative number its bits show one less than its distance from zero: the next power of two is enough for both.
fn bound_of(bits: u64) -> Option<i64> {
    let bound = 1_u64.checked_shl(u64::BITS - bits.leading_zeros())?;
    i64::try_from(bound).ok()
}

impl PartialEq for Narrow {
    fn eq(&self, other: &Self) -> bool {
        self.wide.as_ref() == other.wide.as_ref()
    }
}

impl Eq for Narrow {}

impl Hash for Narrow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wide.hash(state);
    }
}

impl fmt::Display for Narrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wide.fmt(f)
    }
}

impl PhysicalExpr for Narrow {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Decimal128(self.precision, self.scale))
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.wide.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.wide.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self.evaluate_narrow(batch)? {
            Some(value) => Ok(value),
            None => self.wide.evaluate(batch),
        }
    }

    fn children(&self) -> Vec<&PhysicalExprRef> {
        self.leaves().collect()
    }

    fn with_new_children(self: Arc<Self>, leaves: Vec<PhysicalExprRef>) -> Result<PhysicalExprRef> {
        let mut program = self.program.clone();
        let steps = program.steps.iter_mut();
        for (step, leaf) in steps.filter(|step| matches!(step, Step::Leaf(_))).zip(leaves) {
            *step = Step::Leaf(leaf);
        }
        Ok(Arc::new(Self {
            wide: program.expression(self.root)?,
            program,
            root: self.root,
            precision: self.precision,
            scale: self.scale,
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wide.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests;
