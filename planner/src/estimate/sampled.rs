//! The rows of a table's sample that pass conditions.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::compute::{and, prep_null_mask_filter};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use staffa_storage::SampledTable;

use super::ColumnEstimate;
use super::condition::UNKNOWN_SHARE;
use super::known::{Known, known, share_of_all};

#[derive(Clone, Debug)]
pub(super) struct Sampled {
    table: SampledTable,
    /// What an operator's columns are among the sample's; `None`: nothing was projected yet.
    columns: Option<Vec<Option<usize>>>,
    /// The rows that pass; `None`: all.
    passing: Option<BooleanArray>,
    /// What was asked, over the sample's columns.
    conditions: Vec<Condition>,
    /// For conditions that could not be asked.
    guessed: f64,
}

#[derive(Clone, Debug)]
struct Condition {
    expr: Arc<dyn PhysicalExpr>,
    /// The share of rows that pass it alone.
    share: f64,
    /// The only column it is about.
    column: Option<usize>,
    /// What statistics of all rows say of it.
    known: Option<Known>,
}

impl Sampled {
    pub(super) fn new(table: SampledTable) -> Self {
        Self {
            table,
            columns: None,
            passing: None,
            conditions: Vec::new(),
            guessed: 1.0,
        }
    }

    /// The same under an operator that hands on these columns.
    pub(super) fn seen_as(&self, places: &[Option<usize>]) -> Self {
        let columns = places.iter().map(|place| self.place((*place)?)).collect();
        Self {
            columns: Some(columns),
            ..self.clone()
        }
    }

    fn place(&self, column: usize) -> Option<usize> {
        match &self.columns {
            Some(columns) => columns.get(column).copied().flatten(),
            None => self.table.sample.place(column),
        }
    }

    /// Leaves the rows for which the condition is true. One that was asked before changes nothing.
    pub(super) fn restrict(&mut self, predicate: &Arc<dyn PhysicalExpr>) {
        for part in split_conjunction(predicate) {
            // What a join or a sort will say is not known yet, or of this run alone.
            if part.is::<DynamicFilterPhysicalExpr>() {
                continue;
            }
            let asked = match self.over_sample(part) {
                Ok(asked) if !is_volatile(&asked) => asked,
                _ => {
                    self.guessed *= UNKNOWN_SHARE;
                    continue;
                }
            };
            if self.conditions.iter().any(|known| known.expr.eq(&asked)) {
                continue;
            }
            // A condition that fails on some row may pass or fail where the statement asks it.
            match self.passing(&asked) {
                Ok(passing) => self.add(asked, passing),
                Err(_) => self.guessed *= UNKNOWN_SHARE,
            }
        }
    }

    fn over_sample(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = Arc::clone(expr);
        expr.transform(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else {
                return Ok(Transformed::no(expr));
            };
            match self.place(column.index()) {
                Some(place) => Ok(Transformed::yes(Arc::new(Column::new(column.name(), place)) as _)),
                None => Err(DataFusionError::Internal(
                    "the sample does not have the column".to_owned(),
                )),
            }
        })
        .data()
    }

    fn passing(&self, condition: &Arc<dyn PhysicalExpr>) -> Result<BooleanArray> {
        let rows = self.table.sample.rows();
        let answers = condition.evaluate(rows)?.into_array(rows.num_rows())?;
        let answers = answers.as_any().downcast_ref::<BooleanArray>();
        let answers = answers.ok_or_else(|| DataFusionError::Internal("a condition is not a truth".to_owned()))?;
        Ok(match answers.null_count() {
            0 => answers.clone(),
            _ => prep_null_mask_filter(answers),
        })
    }

    fn add(&mut self, expr: Arc<dyn PhysicalExpr>, passing: BooleanArray) {
        let sampled = self.table.sample.row_count().max(1) as f64;
        let hits = passing.true_count() as f64;
        let columns = collect_columns(&expr);
        let column = match columns.len() {
            1 => columns.iter().next().map(Column::index),
            _ => None,
        };
        let known = known(&expr, |place| self.table.summary_at(place));
        let share = match (known, hits > 0.0, column.filter(|_| is_equality(&expr))) {
            (Some(known), _, _) => known.share(),
            (None, true, _) => hits / sampled,
            // A value that is not in the sample may be one of many.
            (None, false, Some(column)) => 1.0 / self.table.distinct_count(column).max(2.0 * sampled),
            (None, false, None) => 0.5 / sampled,
        };
        self.conditions.push(Condition {
            expr,
            share,
            column,
            known,
        });
        self.passing = Some(match self.passing.take() {
            // Of equal lengths, so that it cannot fail.
            Some(before) => and(&before, &passing).unwrap_or(before),
            None => passing,
        });
    }

    /// How many rows of the table pass all conditions.
    pub(super) fn rows(&self) -> f64 {
        let total = self.table.rows as f64;
        let sampled = self.table.sample.row_count() as f64;
        let Some(passing) = &self.passing else {
            return total * self.guessed;
        };
        let hits = passing.true_count() as f64;
        let share = match self.known_share() {
            // Nothing is missing in it.
            _ if sampled >= total => hits / sampled.max(1.0),
            // All rows of one column say more than some of its rows. But what came since may all be what is asked for.
            Some((share, true)) => share.max((hits / sampled).min(share + self.changed_share())),
            _ if hits > 0.0 => hits / sampled,
            Some((share, false)) => share,
            None => {
                let each = self.conditions.iter().map(|condition| condition.share);
                each.product::<f64>().min(0.5 / sampled)
            }
        };
        total * share * self.guessed
    }

    /// The share of rows that pass all conditions, where statistics know of each, and whether they are all about one column. What
    /// is said of several columns is taken to have nothing to do with each other.
    fn known_share(&self) -> Option<(f64, bool)> {
        let mut columns: Vec<Option<usize>> = self.conditions.iter().map(|condition| condition.column).collect();
        columns.sort_unstable();
        columns.dedup();
        let is_known = |condition: &Condition| condition.known.is_some() && condition.column.is_some();
        let all = self.conditions.iter().all(is_known) && !columns.is_empty();
        let share = columns.iter().flatten().map(|column| self.share_of_column(*column));
        all.then(|| (share.product(), columns.len() == 1))
    }

    /// The share of rows that statistics may not be about.
    fn changed_share(&self) -> f64 {
        let columns = self.conditions.iter().filter_map(|condition| condition.column);
        let then = columns
            .filter_map(|column| self.table.summary_at(column))
            .map(|it| it.rows());
        let now = self.table.rows;
        let changed = then.map(|then| then.abs_diff(now)).max().unwrap_or_default();
        (changed as f64 / now.max(1) as f64).min(1.0)
    }

    /// The share of rows that the conditions on one column alone leave.
    fn share_of_column(&self, column: usize) -> f64 {
        let own = || {
            self.conditions
                .iter()
                .filter(|condition| condition.column == Some(column))
        };
        let others = own().filter(|condition| condition.known.is_none());
        let others: f64 = others.map(|condition| condition.share).product();
        share_of_all(own().filter_map(|condition| condition.known)) * others
    }

    /// Columns with the values that conditions on them leave; `places` are theirs among what `seen_as` was told last.
    pub(super) fn columns(&self, columns: Vec<ColumnEstimate>, places: &[Option<usize>]) -> Vec<ColumnEstimate> {
        let left = |(column, place): (ColumnEstimate, &Option<usize>)| {
            let Some(place) = place.and_then(|place| self.place(place)) else {
                return column;
            };
            let values = self.table.distinct_count(place) * self.share_of_column(place);
            ColumnEstimate {
                values: values.min(column.values).max(1.0),
                ..column
            }
        };
        columns.into_iter().zip(places).map(left).collect()
    }
}

fn is_equality(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
        *binary.op() == Operator::Eq && (binary.left().is::<Literal>() || binary.right().is::<Literal>())
    })
}
