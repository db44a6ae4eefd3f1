//! From the table's columns to the columns of one file, by Iceberg field id.
//!
//! 1. A column is found by its id; in a file without ids, by its name.
//! 2. A column the file does not have reads as null (identity partition values were put in as constants before).
//! 3. Types the table has widened since, or stores in another type, are converted: DataFusion's own cast for simple
//!    columns, because pruning and filters understand it, and [`Adapted`] for the rest.
//! 4. Structs and lists are matched by id at every level.

use std::fmt::{Display, Formatter};
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use crate::convert::convert_leaf;
use crate::error::{Error, Result};
use crate::field_ids::{field_id, plain_element, plain_field, plain_type};

/// Makes an adapter per file.
#[derive(Debug)]
pub(super) struct FieldIdAdapterFactory {
    /// The table's columns with field ids.
    stored: SchemaRef,
}

impl FieldIdAdapterFactory {
    pub(super) fn new(stored: SchemaRef) -> Self {
        Self { stored }
    }
}

impl PhysicalExprAdapterFactory for FieldIdAdapterFactory {
    fn create(&self, scanned: SchemaRef, file: SchemaRef) -> DfResult<Arc<dyn PhysicalExprAdapter>> {
        let stored = Arc::clone(&self.stored);
        Ok(Arc::new(FieldIdAdapter { stored, scanned, file }))
    }
}

#[derive(Debug)]
struct FieldIdAdapter {
    stored: SchemaRef,
    /// The same without field ids, and columns that no file has, such as a row's address.
    scanned: SchemaRef,
    file: SchemaRef,
}

impl PhysicalExprAdapter for FieldIdAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let rewritten = expr.transform(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(self.column(column)?)),
            None => Ok(Transformed::no(expr)),
        });
        rewritten.data()
    }
}

impl FieldIdAdapter {
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let unknown = |_| Error::internal(format!("column \"{}\" is not in the table", column.name()));
        let wanted = match self.stored.fields().find(column.name()) {
            Some((_, stored)) => stored,
            None => &self.scanned.fields()[self.scanned.index_of(column.name()).map_err(unknown)?],
        };
        let Some(index) = find(wanted, self.file.fields()) else {
            if !wanted.is_nullable() {
                return Err(Error::corrupt(format!(
                    "required column \"{}\" is missing",
                    wanted.name()
                )));
            }
            let null = ScalarValue::try_new_null(&plain_type(wanted.data_type()))?;
            return Ok(Arc::new(Literal::new(null)));
        };
        let stored = self.file.field(index);
        let source: Arc<dyn PhysicalExpr> = Arc::new(Column::new(stored.name(), index));
        let plan = plan(stored.data_type(), wanted.data_type()).map_err(|e| in_column(wanted, &e))?;
        Ok(match plan {
            Plan::Keep => source,
            Plan::Leaf(to) if is_plain_cast(stored.data_type(), &to) => {
                let options = CastOptions {
                    safe: false,
                    ..CastOptions::default()
                };
                Arc::new(CastExpr::new(source, to, Some(options)))
            }
            plan => Arc::new(Adapted {
                source,
                to: plain_type(wanted.data_type()),
                plan: Arc::new(plan),
            }),
        })
    }
}

fn in_column(field: &Field, error: &Error) -> Error {
    Error::new(
        error.kind(),
        format!("column \"{}\": {}", field.name(), error.message()),
    )
}

/// The index of the wanted field among the file's.
fn find(wanted: &Field, fields: &Fields) -> Option<usize> {
    let by_id = fields.iter().any(|field| field_id(field).is_some());
    match field_id(wanted) {
        Some(id) if by_id => fields.iter().position(|field| field_id(field) == Some(id)),
        _ => fields.iter().position(|field| field.name() == wanted.name()),
    }
}

/// How a column of a file becomes a column of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Plan {
    Keep,
    /// To this type.
    Leaf(DataType),
    /// The table's fields, without ids, each with its index in the file's struct, or none.
    Struct(Fields, Vec<Option<(usize, Plan)>>),
    /// The table's element, without ids.
    List(FieldRef, Box<Plan>),
}

fn plan(stored: &DataType, wanted: &DataType) -> Result<Plan> {
    match (stored, wanted) {
        (DataType::Struct(stored), DataType::Struct(fields)) => {
            let child = |field: &FieldRef| match find(field, stored) {
                Some(index) => {
                    let plan = plan(stored[index].data_type(), field.data_type()).map_err(|e| in_column(field, &e))?;
                    Ok(Some((index, plan)))
                }
                None if field.is_nullable() => Ok(None),
                None => Err(Error::corrupt(format!(
                    "required field \"{}\" is missing",
                    field.name()
                ))),
            };
            Ok(Plan::Struct(
                fields.iter().map(plain_field).collect(),
                fields.iter().map(child).collect::<Result<_>>()?,
            ))
        }
        (DataType::List(stored), DataType::List(element)) => {
            let inner = plan(stored.data_type(), element.data_type())?;
            Ok(Plan::List(plain_element(element), Box::new(inner)))
        }
        (stored, wanted) if stored == wanted => Ok(Plan::Keep),
        (stored, wanted) if is_readable_as(stored, wanted) => Ok(Plan::Leaf(wanted.clone())),
        (stored, wanted) => Err(Error::corrupt(format!(
            "the file has type {stored}, which cannot be read as {wanted}"
        ))),
    }
}

/// Whether every value the file may rightly hold has a place in the table's type.
fn is_readable_as(stored: &DataType, wanted: &DataType) -> bool {
    use DataType as T;
    match (stored, wanted) {
        // Iceberg's promotions. Smaller integers are ours (smallint is stored as int) and foreign annotations'.
        (stored, wanted) if stored.is_integer() && wanted.is_integer() => true,
        (T::Float16 | T::Float32, T::Float64) | (T::Float16, T::Float32) => true,
        (
            T::Decimal32(stored, from) | T::Decimal64(stored, from) | T::Decimal128(stored, from),
            T::Decimal128(wanted, to),
        ) => from == to && stored <= wanted,
        // The same instants under another zone's name, or coarser or finer units.
        (T::Timestamp(_, Some(_)), T::Timestamp(_, Some(_))) | (T::Timestamp(_, None), T::Timestamp(_, None)) => true,
        (T::Time32(_) | T::Time64(_), T::Time64(_)) => true,
        (stored, wanted) if is_text(stored) => {
            is_text(wanted) || matches!(wanted, T::Interval(IntervalUnit::MonthDayNano))
        }
        // Texts written without the annotation; the cast checks that they are UTF-8.
        (stored, wanted) if is_binary(stored) => is_binary(wanted) || is_text(wanted),
        _ => false,
    }
}

/// Whether DataFusion's cast does the same as ours and is understood by pruning.
fn is_plain_cast(stored: &DataType, wanted: &DataType) -> bool {
    !matches!(wanted, DataType::Interval(_))
        && !matches!(stored, DataType::FixedSizeBinary(_))
        && !matches!(wanted, DataType::FixedSizeBinary(_))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_)
    )
}

/// A column of the file in the table's type.
#[derive(Debug, Clone)]
struct Adapted {
    source: Arc<dyn PhysicalExpr>,
    to: DataType,
    plan: Arc<Plan>,
}

impl PartialEq for Adapted {
    fn eq(&self, other: &Self) -> bool {
        self.source.eq(&other.source) && self.to == other.to && self.plan == other.plan
    }
}

impl Eq for Adapted {}

impl Hash for Adapted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.to.hash(state);
        self.plan.hash(state);
    }
}

impl Display for Adapted {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "adapt({})", self.source)
    }
}

impl PhysicalExpr for Adapted {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(self.to.clone())
    }

    fn nullable(&self, file: &Schema) -> DfResult<bool> {
        self.source.nullable(file)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let column = self.source.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(apply(&self.plan, &column)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.source]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let source = children
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("an adapted column needs its source"))?;
        Ok(Arc::new(Self {
            source,
            to: self.to.clone(),
            plan: Arc::clone(&self.plan),
        }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.source.fmt_sql(f)
    }
}

fn apply(plan: &Plan, column: &ArrayRef) -> Result<ArrayRef> {
    match plan {
        Plan::Keep => Ok(Arc::clone(column)),
        Plan::Leaf(to) => convert_leaf(column, to),
        Plan::Struct(fields, children) => {
            let stored = column.as_struct();
            let child = |(field, child): (&FieldRef, &Option<(usize, Plan)>)| match child {
                Some((index, plan)) => apply(plan, stored.column(*index)),
                None => Ok(new_null_array(field.data_type(), stored.len())),
            };
            let columns = fields.iter().zip(children).map(child).collect::<Result<Vec<_>>>()?;
            let nulls = stored.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                nulls,
                stored.len(),
            )?))
        }
        Plan::List(element, plan) => {
            let stored = column.as_list::<i32>();
            let values = apply(plan, stored.values())?;
            let (offsets, nulls) = (stored.offsets().clone(), stored.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(element),
                offsets,
                values,
                nulls,
            )?))
        }
    }
}

#[cfg(test)]
mod tests;
