//! Arithmetic of decimals in 64 bits, for as long as the numbers are small enough.
//!
//! Decimals are kept in 128 bits, and arrow multiplies and adds them so, one checked operation after the other, each with an
//! array of its own. Prices and quantities need far less. A tree of `+`, `-` and `*` is computed here as a whole: the widest number of each
//! column of the batch is looked up, which bounds every step of the tree, and if all fit into 64 bits no step has to be
//! checked. If one does not, arrow computes the batch.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Decimal128Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef};

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
struct Narrow {
    root: Node,
    leaves: Vec<PhysicalExprRef>,
    /// Arrow's way.
    wide: PhysicalExprRef,
    precision: u8,
    scale: i8,
}

#[derive(Debug, Clone)]
enum Node {
    /// One of the leaves.
    Leaf(usize),
    Constant(i64, PhysicalExprRef),
    Binary(Box<Binary>),
}

#[derive(Debug, Clone)]
struct Binary {
    operator: Operator,
    left: Node,
    right: Node,
    /// What brings the sides to one scale.
    left_factor: i64,
    right_factor: i64,
}

impl Narrow {
    fn of(expression: &PhysicalExprRef, schema: &Schema) -> Result<Option<Self>> {
        if !expression.is::<BinaryExpr>() {
            return Ok(None);
        }
        let mut leaves = Vec::new();
        let root = match Node::of(expression, schema, &mut leaves)? {
            Some((root @ Node::Binary(_), _)) => root,
            _ => return Ok(None),
        };
        match expression.data_type(schema)? {
            DataType::Decimal128(precision, scale) if !leaves.is_empty() => Ok(Some(Self {
                root,
                leaves,
                wide: Arc::clone(expression),
                precision,
                scale,
            })),
            _ => Ok(None),
        }
    }

    /// In 64 bits; none if the numbers do not fit, or a side is null for all rows.
    fn evaluate_narrow(&self, batch: &RecordBatch) -> Result<Option<ColumnarValue>> {
        let mut leaves = Vec::with_capacity(self.leaves.len());
        let mut nulls: Option<NullBuffer> = None;
        for leaf in &self.leaves {
            let value = match leaf.evaluate(batch)? {
                ColumnarValue::Array(array) => {
                    let Some(array) = array.as_primitive_opt::<Decimal128Type>() else {
                        return Ok(None);
                    };
                    nulls = NullBuffer::union(nulls.as_ref(), array.nulls());
                    Value::of_rows(array.values())
                }
                ColumnarValue::Scalar(ScalarValue::Decimal128(Some(value), ..)) => Value::of_constant(value),
                ColumnarValue::Scalar(_) => None,
            };
            let Some(value) = value else {
                return Ok(None);
            };
            leaves.push(value);
        }
        let rows = batch.num_rows();
        let Some(Value { numbers, .. }) = self.root.evaluate(&leaves, rows) else {
            return Ok(None);
        };
        let numbers: Vec<i128> = match numbers {
            Numbers::Constant(number) => vec![i128::from(number); rows],
            Numbers::Rows(numbers) => numbers.iter().map(|number| i128::from(*number)).collect(),
        };
        let array = Decimal128Array::try_new(numbers.into(), nulls)?;
        let array = array.with_precision_and_scale(self.precision, self.scale)?;
        Ok(Some(ColumnarValue::Array(Arc::new(array))))
    }
}

impl Node {
    /// The node of an expression, and its scale; none for one that is not a decimal.
    fn of(
        expression: &PhysicalExprRef,
        schema: &Schema,
        leaves: &mut Vec<PhysicalExprRef>,
    ) -> Result<Option<(Self, i8)>> {
        let DataType::Decimal128(_, scale) = expression.data_type(schema)? else {
            return Ok(None);
        };
        if let Some(literal) = expression.downcast_ref::<Literal>()
            && let ScalarValue::Decimal128(Some(value), ..) = literal.value()
            && let Ok(value) = i64::try_from(*value)
        {
            return Ok(Some((Self::Constant(value, Arc::clone(expression)), scale)));
        }
        if let Some(binary) = expression.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
        {
            let left = Self::of(binary.left(), schema, leaves)?;
            let right = Self::of(binary.right(), schema, leaves)?;
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
            let binary = Binary {
                operator: *binary.op(),
                left,
                right,
                left_factor,
                right_factor,
            };
            return Ok(Some((Self::Binary(Box::new(binary)), scale)));
        }
        leaves.push(Arc::clone(expression));
        Ok(Some((Self::Leaf(leaves.len() - 1), scale)))
    }

    fn evaluate(&self, leaves: &[Value], rows: usize) -> Option<Value> {
        match self {
            Self::Leaf(leaf) => leaves.get(*leaf).cloned(),
            Self::Constant(value, _) => Value::of_constant(i128::from(*value)),
            Self::Binary(binary) => binary.evaluate(leaves, rows),
        }
    }

    /// The expression over other leaves.
    fn expression(&self, leaves: &[PhysicalExprRef]) -> Result<PhysicalExprRef> {
        Ok(match self {
            Self::Leaf(leaf) => match leaves.get(*leaf) {
                Some(leaf) => Arc::clone(leaf),
                None => return internal_err!("arithmetic of decimals lost an operand"),
            },
            Self::Constant(_, expression) => Arc::clone(expression),
            Self::Binary(binary) => {
                let (left, right) = (binary.left.expression(leaves)?, binary.right.expression(leaves)?);
                Arc::new(BinaryExpr::new(left, binary.operator, right))
            }
        })
    }
}

impl Binary {
    fn evaluate(&self, leaves: &[Value], rows: usize) -> Option<Value> {
        let left = self.left.evaluate(leaves, rows)?;
        let right = self.right.evaluate(leaves, rows)?;
        let (left_bound, right_bound) = (
            left.bound.checked_mul(self.left_factor)?,
            right.bound.checked_mul(self.right_factor)?,
        );
        let bound = match self.operator {
            Operator::Multiply => left_bound.checked_mul(right_bound)?,
            _ => left_bound.checked_add(right_bound)?,
        };
        let (left_factor, right_factor) = (self.left_factor, self.right_factor);
        let (left, right) = (&left.numbers, &right.numbers);
        // The bounds say that none of it overflows.
        let numbers = match self.operator {
            Operator::Multiply => both(left, right, rows, |a, b| a.wrapping_mul(b)),
            _ if left_factor == 1 && right_factor == 1 => match self.operator {
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
        Some(Value { numbers, bound })
    }
}

fn both(left: &Numbers, right: &Numbers, rows: usize, compute: impl Fn(i64, i64) -> i64) -> Numbers {
    match (left, right) {
        (Numbers::Rows(left), Numbers::Rows(right)) => {
            Numbers::Rows(left.iter().zip(right.iter()).map(|(a, b)| compute(*a, *b)).collect())
        }
        (Numbers::Rows(left), Numbers::Constant(right)) => {
            Numbers::Rows(left.iter().map(|a| compute(*a, *right)).collect())
        }
        (Numbers::Constant(left), Numbers::Rows(right)) => {
            Numbers::Rows(right.iter().map(|b| compute(*left, *b)).collect())
        }
        (Numbers::Constant(left), Numbers::Constant(right)) => Numbers::Rows(vec![compute(*left, *right); rows].into()),
    }
}

/// What a node is for the rows of a batch.
#[derive(Clone)]
struct Value {
    numbers: Numbers,
    /// No number is further from zero.
    bound: i64,
}

#[derive(Clone)]
enum Numbers {
    Constant(i64),
    Rows(Arc<[i64]>),
}

impl Value {
    fn of_constant(value: i128) -> Option<Self> {
        let value = i64::try_from(value).ok()?;
        Some(Self {
            numbers: Numbers::Constant(value),
            bound: value.checked_abs()?,
        })
    }

    fn of_rows(values: &[i128]) -> Option<Self> {
        // Bits that differ from the sign, of all numbers: the widest has the highest.
        let (mut wide, mut bits) = (0_u64, 0_u64);
        let numbers = values
            .iter()
            .map(|value| {
                let (low, high) = (*value as i64, (*value >> 64) as i64);
                let sign = low >> 63;
                wide |= (high ^ sign) as u64;
                bits |= (low ^ sign) as u64;
                low
            })
            .collect();
        if wide != 0 {
            return None;
        }
        // Of a negative number they show one less than its distance from zero: the next power of two is enough for both.
        let bound = 1_u64.checked_shl(u64::BITS - bits.leading_zeros())?;
        Some(Self {
            numbers: Numbers::Rows(numbers),
            bound: i64::try_from(bound).ok()?,
        })
    }
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
        self.leaves.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, leaves: Vec<PhysicalExprRef>) -> Result<PhysicalExprRef> {
        Ok(Arc::new(Self {
            wide: self.root.expression(&leaves)?,
            root: self.root.clone(),
            leaves,
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
