//! What rows are sorted by: columns of the input, and computed ones beside them.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExprRef, PhysicalSortExpr};

use super::value::{Kind, kind};

/// What rows are sorted by.
#[derive(Debug)]
pub(crate) struct SortKeys {
    pub(crate) columns: Arc<[KeyColumn]>,
    computed: Vec<Computed>,
    /// The input's columns, and the computed ones.
    pub(crate) schema: SchemaRef,
}

#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    pub(super) index: usize,
    pub(super) kind: Kind,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

#[derive(Debug)]
enum Computed {
    Value(PhysicalExprRef),
    /// As bytes that compare as the values do.
    Encoded(PhysicalExprRef, RowConverter),
}

impl SortKeys {
    pub(crate) fn new(ordering: &LexOrdering, schema: &Schema) -> Result<Self> {
        let (mut columns, mut computed) = (Vec::new(), Vec::new());
        let mut fields = schema.fields().to_vec();
        for PhysicalSortExpr { expr, options } in ordering {
            let data_type = expr.data_type(schema)?;
            let place = fields.len();
            let mut with_field = |data_type| fields.push(Arc::new(Field::new("", data_type, true)));
            let (index, kind) = match (kind(&data_type), expr.downcast_ref::<Column>()) {
                (Some(kind), Some(column)) => (column.index(), Some(kind)),
                (Some(kind), None) => {
                    with_field(data_type);
                    computed.push(Computed::Value(Arc::clone(expr)));
                    (place, Some(kind))
                }
                (None, _) => {
                    with_field(DataType::BinaryView);
                    let field = SortField::new_with_options(data_type, *options);
                    computed.push(Computed::Encoded(Arc::clone(expr), RowConverter::new(vec![field])?));
                    (place, None)
                }
            };
            columns.push(KeyColumn {
                index,
                kind: kind.unwrap_or(Kind::Bytes),
                // Encoded values have their direction, and their nulls, in them.
                descending: kind.is_some() && options.descending,
                nulls_first: options.nulls_first,
            });
        }
        Ok(Self {
            columns: columns.into(),
            computed,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The batch's columns, and the computed ones.
    pub(crate) fn with_computed(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.computed.is_empty() {
            return Ok(batch);
        }
        let mut columns = batch.columns().to_vec();
        for computed in &self.computed {
            let values = |expr: &PhysicalExprRef| expr.evaluate(&batch)?.into_array(batch.num_rows());
            columns.push(match computed {
                Computed::Value(expr) => values(expr)?,
                Computed::Encoded(expr, converter) => {
                    let rows = converter.convert_columns(&[values(expr)?])?;
                    cast(&rows.try_into_binary()?, &DataType::BinaryView)?
                }
            });
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Whether keys of these types always have room in 64 bits.
    pub(crate) fn are_narrow(&self) -> bool {
        let bits = self.columns.iter().map(|column| match column.kind {
            Kind::Number => {
                1 + 8 * self
                    .schema
                    .field(column.index)
                    .data_type()
                    .primitive_width()
                    .unwrap_or(1)
            }
            Kind::Bytes => 128,
        });
        bits.sum::<usize>() <= 64
    }
}
