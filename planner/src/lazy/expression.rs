//! The expression that computes as ever, and carefully when that fails.
//!
//! It stands at the top of a chain (`a AND b AND (c OR d)`), with nothing of its kind inside: so an expression is computed at most
//! three times, however deep it is nested.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;

use super::cost::cost;

/// In which order the members of a chain may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// As they are written.
    Written,
    /// Those that cost less first, as PostgreSQL does with the conditions of WHERE, ON and HAVING.
    Cheapest,
}

/// A chain of AND or of OR.
pub(super) struct Chain<'a> {
    pub(super) op: Operator,
    pub(super) members: Vec<&'a Arc<dyn PhysicalExpr>>,
}

impl<'a> Chain<'a> {
    pub(super) fn of(expr: &'a Arc<dyn PhysicalExpr>) -> Option<Self> {
        let op = *expr.downcast_ref::<BinaryExpr>()?.op();
        if !matches!(op, Operator::And | Operator::Or) {
            return None;
        }
        let (mut members, mut open) = (Vec::new(), vec![expr]);
        while let Some(next) = open.pop() {
            match next.downcast_ref::<BinaryExpr>() {
                Some(binary) if *binary.op() == op => open.extend([binary.right(), binary.left()]),
                _ => members.push(next),
            }
        }
        Some(Self { op, members })
    }
}

/// A chain, computed for all rows at once unless that fails.
#[derive(Debug)]
pub(super) struct LazyExpr {
    inner: Arc<dyn PhysicalExpr>,
    order: Order,
}

impl LazyExpr {
    pub(super) fn new(inner: Arc<dyn PhysicalExpr>, order: Order) -> Self {
        Self { inner, order }
    }

    /// Member by member. What really fails, fails again, with the error of the member that comes first.
    fn carefully(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let chain = Chain::of(&self.inner)
            .ok_or_else(|| DataFusionError::Internal("a lazy expression of something else".to_owned()))?;
        let mut sorted = chain.members.clone();
        if self.order == Order::Cheapest && chain.op == Operator::And {
            sorted.sort_by_key(|member| cost(member));
        }
        let is_as_written = sorted
            .iter()
            .zip(&chain.members)
            .all(|(one, other)| Arc::ptr_eq(one, other));
        let members = sorted.into_iter().map(careful).collect::<Result<Vec<_>>>()?;
        let computed = in_order(chain.op, &members, batch);
        if is_as_written || computed.is_ok() {
            return computed;
        }
        // What DataFusion has made of them may cost more than what PostgreSQL would have to compute.
        let members = chain.members.into_iter().map(careful).collect::<Result<Vec<_>>>()?;
        in_order(chain.op, &members, batch)
    }
}

/// The expression with its chains computed member by member.
fn careful(expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    Arc::clone(expr)
        .transform_down(|expr| {
            let Some(Chain { op, members }) = Chain::of(&expr) else {
                return Ok(Transformed::no(expr));
            };
            let members = members.into_iter().map(careful).collect::<Result<Vec<_>>>()?;
            let careful: Arc<dyn PhysicalExpr> = Arc::new(CarefulExpr { op, members });
            Ok(Transformed::new(careful, true, TreeNodeRecursion::Jump))
        })
        .data()
}

/// Each member is computed only for the rows that those before it leave open.
fn in_order(op: Operator, members: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<ColumnarValue> {
    let rows = batch.num_rows();
    let decides = op == Operator::Or;
    let mut known = BooleanArray::new(BooleanBuffer::collect_bool(rows, |_| !decides), None);
    for member in members {
        let open = BooleanBuffer::collect_bool(rows, |row| known.is_null(row) || known.value(row) != decides);
        let open = BooleanArray::new(open, None);
        if !open.has_true() {
            break;
        }
        let value: ArrayRef = member.evaluate_selection(batch, &open)?.into_array(rows)?;
        let value = as_boolean_array(&value)?;
        known = match decides {
            true => or_kleene(&known, value)?,
            false => and_kleene(&known, value)?,
        };
    }
    Ok(ColumnarValue::Array(Arc::new(known)))
}

impl PhysicalExpr for LazyExpr {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.inner.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.inner.evaluate(batch).or_else(|_| self.carefully(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.inner.children()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = Arc::clone(&self.inner).with_new_children(children)?;
        Ok(Arc::new(Self::new(inner, self.order)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for LazyExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl PartialEq for LazyExpr {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && self.order == other.order
    }
}

impl Eq for LazyExpr {}

impl Hash for LazyExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.order.hash(state);
    }
}

/// A chain inside of one that is computed carefully: never for all rows at once.
#[derive(Debug)]
struct CarefulExpr {
    op: Operator,
    members: Vec<Arc<dyn PhysicalExpr>>,
}

impl PhysicalExpr for CarefulExpr {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        for member in &self.members {
            if member.nullable(input_schema)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        in_order(self.op, &self.members, batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.members.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, members: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { op: self.op, members }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, member) in self.members.iter().enumerate() {
            if index > 0 {
                write!(f, " {} ", self.op)?;
            }
            member.fmt_sql(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for CarefulExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, member) in self.members.iter().enumerate() {
            match index {
                0 => write!(f, "{member}")?,
                _ => write!(f, " {} {member}", self.op)?,
            }
        }
        Ok(())
    }
}

impl PartialEq for CarefulExpr {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.members == other.members
    }
}

impl Eq for CarefulExpr {}

impl Hash for CarefulExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.op.hash(state);
        self.members.hash(state);
    }
}
