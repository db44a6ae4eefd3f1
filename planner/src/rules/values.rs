//! Subqueries in VALUES, which DataFusion evaluates before it runs any.
//!
//! Before: `values (1), ((select max(a) from t))`. After: `select case row when 1 then (select max(a) from t) else column1 end
//! from (values (1, 0), (null, 1)) as v(column1, row)`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::logical_plan::{Projection, Values};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::lit;
use datafusion::scalar::ScalarValue;

use super::numbers;
use crate::rewrite::MARKER;

pub(super) fn compute_subqueries(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Values(values) if values.values.iter().flatten().any(has_subquery) => {
            computed(values).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn has_subquery(expression: &Expr) -> bool {
    let is_subquery = |inner: &Expr| {
        Ok(matches!(
            inner,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    };
    expression.exists(is_subquery).unwrap_or(false)
}

fn computed(values: Values) -> DataFusionResult<LogicalPlan> {
    let number = Column::from_name(format!("{MARKER}row"));
    let mut rows = values.values;
    let mut fields = Vec::with_capacity(values.schema.fields().len() + 1);
    let mut columns = Vec::with_capacity(values.schema.fields().len());
    for (index, (qualifier, field)) in values.schema.iter().enumerate() {
        let column = Expr::Column(Column::from((qualifier, field)));
        let mut computed = Vec::new();
        for (row, number) in rows.iter_mut().zip(0_i64..) {
            if has_subquery(&row[index]) {
                let null = Expr::Literal(ScalarValue::try_from(field.data_type())?, None);
                computed.push((
                    Box::new(lit(number)),
                    Box::new(numbers::own_digits(std::mem::replace(&mut row[index], null))?),
                ));
            }
        }
        if computed.is_empty() {
            fields.push((qualifier.cloned(), Arc::clone(field)));
            columns.push(column);
            continue;
        }
        fields.push((qualifier.cloned(), Arc::new(Field::clone(field).with_nullable(true))));
        let of = Some(Box::new(Expr::Column(number.clone())));
        let case = Expr::Case(Case::new(of, computed, Some(Box::new(column))));
        columns.push(case.alias_qualified(qualifier.cloned(), field.name()));
    }
    fields.push((None, Arc::new(Field::new(&number.name, DataType::Int64, false))));
    for (row, number) in rows.iter_mut().zip(0_i64..) {
        row.push(lit(number));
    }
    let schema = DFSchema::new_with_metadata(fields, values.schema.metadata().clone())?;
    let values = LogicalPlan::Values(Values {
        schema: Arc::new(schema),
        values: rows,
    });
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(values))?))
}
