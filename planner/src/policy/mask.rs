//! Masks of columns: what a role is shown in the place of a value.

use arrow::datatypes::DataType;
use datafusion::common::Column as LogicalColumn;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast;
use staffa_catalog::{AttachedMask, Authority, Column, MaskingPolicy, Security, SqlType, Table};

use super::Guard;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::stored::{self, Role};
use crate::type_planner::sql_type_of_ast;
use crate::types::arrow_field;

/// The masks of a table's columns that are for a role: of each column the one of the highest priority.
pub(super) fn of_role(authority: &Authority, security: &Security, table: &Table) -> Vec<(usize, AttachedMask)> {
    let columns = table.schema().columns.iter().enumerate();
    columns
        .filter_map(|(index, column)| {
            let binds = |mask: &&AttachedMask| {
                mask.column == column.field_id && mask.role.is_none_or(|role| authority.has_privileges_of(role))
            };
            let masks = security.masks.iter().filter(binds);
            let mask = masks.max_by_key(|mask| mask.priority)?;
            Some((index, mask.clone()))
        })
        .collect()
}

/// The columns that a masking policy takes.
pub(crate) fn inputs(mask: &MaskingPolicy) -> Result<Vec<(String, SqlType)>> {
    let input = |(name, ty): &(String, String)| Ok((name.clone(), type_named(ty)?));
    mask.columns.iter().map(input).collect()
}

fn type_named(text: &str) -> Result<SqlType> {
    let mut cast = stored::syntax(&format!("null::{text}"))?;
    while let ast::Expr::Nested(inner) = cast {
        cast = *inner;
    }
    match cast {
        ast::Expr::Cast { data_type, .. } => sql_type_of_ast(&data_type),
        _ => Err(Error::internal("a type that is none")),
    }
}

/// The value of a masking policy over its own columns.
pub(crate) fn expression(context: &PlanContext, mask: &MaskingPolicy) -> Result<Expr> {
    let mut context = context.clone();
    context.search_path.clone_from(&mask.search_path);
    stored::plan(&context, Role::Mask, &mask.expression, "\u{1}mask", &inputs(mask)?)
}

impl Guard {
    /// Whether a column is masked.
    pub(crate) fn is_masked(&self, index: usize) -> bool {
        self.masks.iter().any(|(masked, _)| *masked == index)
    }

    pub(crate) fn masked_names(&self, table: &Table) -> Vec<String> {
        let columns = &table.schema().columns;
        self.masks
            .iter()
            .map(|(index, _)| columns[*index].name.clone())
            .collect()
    }

    /// The columns of rows of the table, which come first in `rows`, as the role is shown them; others stay.
    pub(crate) fn shown_columns(&self, context: &PlanContext, table: &Table, rows: &LogicalPlan) -> Result<Vec<Expr>> {
        let given = rows.schema().columns();
        let shown = given.iter().enumerate().map(|(index, column)| {
            let masked = self.masked(context, table, index, |position| given[position].clone())?;
            Ok(masked.unwrap_or_else(|| Expr::Column(column.clone())))
        });
        shown.collect()
    }

    /// A column as the role is shown it, in the column's type; `None`: as it is. `at` gives columns of the table.
    pub(crate) fn masked(
        &self,
        context: &PlanContext,
        table: &Table,
        index: usize,
        at: impl Fn(usize) -> LogicalColumn,
    ) -> Result<Option<Expr>> {
        let Some((_, attached)) = self.masks.iter().find(|(masked, _)| *masked == index) else {
            return Ok(None);
        };
        let database = &table.name().database;
        let policy = context.snapshot.access().mask(database, &attached.policy);
        let policy = policy.ok_or_else(|| {
            let message = format!("masking policy \"{}\" does not exist", attached.policy);
            Error::new(ErrorKind::UndefinedObject, message)
        })?;
        let mut values = Vec::with_capacity(attached.inputs.len());
        for ((name, ty), id) in inputs(policy)?.into_iter().zip(&attached.inputs) {
            let mut columns = table.schema().columns.iter();
            let position = columns.position(|column| column.field_id == *id);
            let position = position.ok_or_else(|| {
                let message = format!("masking policy \"{}\" reads a column that is gone", attached.policy);
                Error::new(ErrorKind::UndefinedColumn, message)
            })?;
            let field = arrow_field(&name, &ty, true, &context.time_zone);
            let value = Cast::new_from_field(Box::new(Expr::Column(at(position))), field.into());
            values.push((name, Expr::Cast(value)));
        }
        let shown = expression(context, policy)?.transform(|expression| {
            let value = match &expression {
                Expr::Column(column) => values.iter().find(|(name, _)| *name == column.name),
                _ => None,
            };
            Ok(match value {
                Some((_, value)) => Transformed::yes(value.clone()),
                None => Transformed::no(expression),
            })
        });
        let shown = shown.data()?;
        let column: &Column = &table.schema().columns[index];
        let field = arrow_field(&column.name, &column.ty, true, &context.time_zone);
        let cast = Cast::new_from_field(Box::new(shown), field.into());
        Ok(Some(Expr::Cast(cast).alias(&column.name)))
    }
}

/// Whether what a masking policy gives can stand in a column: of its type, or of one that is read as it.
pub(crate) fn check_fits(context: &PlanContext, mask: &MaskingPolicy, column: &Column) -> Result<()> {
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::ExprSchemable;
    let fields: Vec<_> = inputs(mask)?
        .iter()
        .map(|(name, ty)| arrow_field(name, ty, true, &context.time_zone))
        .collect();
    let schema = DFSchema::try_from(arrow::datatypes::Schema::new(fields))?;
    let expression = expression(context, mask)?;
    let (_, given) = expression.to_field(&schema)?;
    let untyped = matches!(expression, Expr::Literal(..)) || given.data_type() == &DataType::Null;
    crate::statement::dml::check_assignable(&column.name, &column.ty, &given, untyped)
}
