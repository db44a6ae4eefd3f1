//! Row policies and masks where rows are changed: which of those that are there a statement finds, and which may come.
//!
//! ```text
//! UPDATE, DELETE     the target without the rows that policies hide; new rows are checked
//! MERGE              the same by the policies of SELECT; a row it would change or delete must be one that UPDATE or DELETE shows
//! ON CONFLICT        all rows are found; one that would be updated must be shown by the policies of UPDATE and SELECT
//! ```
//!
//! A masked column is two of the target's: what the statement reads, and what is stored, which stays in the row.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use datafusion::prelude::lit;
use datafusion::sql::sqlparser::ast::{self, SelectItem};
use staffa_catalog::{ColumnDefault, PolicyCommand, Table};

use crate::error::{Error, Result};
use crate::generic::Generic;
use crate::policy::{self, Guard, RowPolicy};
use crate::row_changes::action;
use crate::statement::change::Target;
use crate::statement::query::Scope;
use crate::statement::{ChangeKind, QueryPlan};
use crate::stored::with_generated;
use crate::table_provider::{SecuredTable, StaffaTable};

/// The policy that a row which is there breaks when it is changed; and when it is deleted.
const NO_UPDATE: &str = "\u{1}no update";
const NO_DELETE: &str = "\u{1}no delete";
/// The policy that a new row breaks.
const BROKEN: &str = "\u{1}broken";

/// What a masked column of the target is called as it is stored.
pub(super) fn stored_name(index: usize) -> String {
    format!("\u{1}stored{index}")
}

/// INSERT: every row must agree with the policies; with `reads` those of SELECT must show it.
pub(super) async fn inserted(
    scope: &Scope<'_>,
    table: &Table,
    guard: Option<&Guard>,
    source: QueryPlan,
    reads: bool,
) -> Result<QueryPlan> {
    let Some(guard) = guard.filter(|guard| guard.rows) else {
        return Ok(source);
    };
    let context = scope.context;
    let mut demands = vec![guard.check(context, PolicyCommand::Insert)];
    demands.extend(reads.then(|| guard.using(context, PolicyCommand::Select)));
    let rows = with_generated(context, table, source.logical.clone())?;
    let rows = policy::with_broken(scope, table, rows, 0, &demands, BROKEN).await?;
    let refused = RowPolicy::of_new(&table.name().name);
    let logical = refusing(table, rows, 0, vec![(refused, bare(BROKEN))], &[BROKEN])?;
    replaced(scope, source, logical)
}

fn replaced(scope: &Scope<'_>, source: QueryPlan, logical: LogicalPlan) -> Result<QueryPlan> {
    Ok(QueryPlan {
        logical: crate::rules::analyse(scope.context, logical)?,
        generic: Generic::default(),
        ..source
    })
}

fn bare(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The rows without the columns that were for this, and an error where one of these says that a policy is broken.
fn refusing(
    table: &Table,
    rows: LogicalPlan,
    lead: usize,
    refusals: Vec<(RowPolicy, Expr)>,
    without: &[&str],
) -> Result<LogicalPlan> {
    if table.schema().columns.is_empty() {
        return Err(Error::unsupported(
            "rows of a table without columns cannot be checked by row policies",
        ));
    }
    let columns = rows.schema().columns().into_iter();
    let columns = columns.filter(|column| !without.contains(&column.name.as_str()));
    let values = columns.enumerate().map(|(index, column)| {
        let (relation, name) = (column.relation.clone(), column.name.clone());
        let mut value = Expr::Column(column);
        if index == lead {
            for (refused, broken) in &refusals {
                value = ScalarUDF::from(refused.clone()).call(vec![value, broken.clone()]);
            }
            value = value.alias_qualified(relation, name);
        }
        value
    });
    let values: Vec<Expr> = values.collect();
    Ok(LogicalPlanBuilder::from(rows).project(values)?.build()?)
}

impl Target {
    /// Leaves out what the role is not shown. `reads`: the statement says something of the target's columns.
    pub(super) async fn secure(&mut self, scope: &Scope<'_>, kind: ChangeKind, reads: bool) -> Result<()> {
        let Some(guard) = &self.guard else {
            return Ok(());
        };
        let (context, table) = (scope.context, Arc::clone(&self.table));
        let opened = StaffaTable::open_addressed(context, Arc::clone(&table)).await?;
        let mut rows = policy::rows_of(Arc::new(opened))?;
        if guard.rows {
            let of = |command| guard.using(context, command);
            let select = reads.then(|| of(PolicyCommand::Select));
            match kind {
                ChangeKind::Update | ChangeKind::Delete => {
                    let command = match kind {
                        ChangeKind::Delete => PolicyCommand::Delete,
                        _ => PolicyCommand::Update,
                    };
                    let demands: Vec<_> = [of(command)].into_iter().chain(select).collect();
                    rows = policy::visible(scope, &table, rows, &demands).await?;
                }
                ChangeKind::Merge => {
                    rows = policy::visible(scope, &table, rows, &[of(PolicyCommand::Select)]).await?;
                    let update = [of(PolicyCommand::Update)];
                    rows = policy::with_broken(scope, &table, rows, 0, &update, NO_UPDATE).await?;
                    let delete = [of(PolicyCommand::Delete)];
                    rows = policy::with_broken(scope, &table, rows, 0, &delete, NO_DELETE).await?;
                }
                ChangeKind::Upsert => {
                    let demands = [of(PolicyCommand::Update), of(PolicyCommand::Select)];
                    rows = policy::with_broken(scope, &table, rows, 0, &demands, NO_UPDATE).await?;
                }
            }
        }
        let given = rows.schema().columns();
        let mut shown = guard.shown_columns(context, &table, &rows)?;
        let stored = guard.masks.iter().map(|(index, _)| *index);
        shown.extend(stored.map(|index| Expr::Column(given[index].clone()).alias(stored_name(index))));
        let rows = LogicalPlanBuilder::from(rows).project(shown)?.build()?;
        let masked = guard.masked_names(&table);
        self.provider = Arc::new(SecuredTable::new(context, &table, rows, masked, None));
        Ok(())
    }

    /// What the query of MERGE or ON CONFLICT takes from the target for [`checked`](Self::checked).
    pub(super) fn broken(&self, kind: ChangeKind) -> Vec<SelectItem> {
        let names: &[&str] = match (kind, self.guard.as_ref().is_some_and(|guard| guard.rows)) {
            (_, false) | (ChangeKind::Update | ChangeKind::Delete, _) => &[],
            (ChangeKind::Merge, _) => &[NO_UPDATE, NO_DELETE],
            (ChangeKind::Upsert, _) => &[NO_UPDATE],
        };
        names
            .iter()
            .map(|name| SelectItem::UnnamedExpr(self.column(name)))
            .collect()
    }

    /// Whether a row that ON CONFLICT finds is one that the role may not update; `None`: it may update all.
    pub(super) fn refuses_update(&self) -> Option<ast::Expr> {
        let binds = self.guard.as_ref().is_some_and(|guard| guard.rows);
        binds.then(|| ast::Expr::IsNotNull(Box::new(self.column(NO_UPDATE))))
    }

    /// The statement's rows, which fail where a policy is broken. Those of MERGE and ON CONFLICT have the columns of
    /// [`broken`](Self::broken) at their end, which go.
    pub(super) async fn checked(
        &self,
        scope: &Scope<'_>,
        source: QueryPlan,
        kind: ChangeKind,
        reads: bool,
    ) -> Result<QueryPlan> {
        let Some(guard) = self.guard.as_ref().filter(|guard| guard.rows) else {
            return Ok(source);
        };
        let (context, table) = (scope.context, self.table.as_ref());
        let is_generated =
            |column: &staffa_catalog::Column| matches!(column.default, Some(ColumnDefault::Generated(_)));
        if table.schema().columns.iter().any(is_generated) {
            let message = "changing rows of a table with generated columns is not supported with row-level security";
            return Err(Error::unsupported(message));
        }
        let relation = &table.name().name;
        let lead = kind.leading_columns();
        let select = || guard.using(context, PolicyCommand::Select);
        let mut update = vec![guard.check(context, PolicyCommand::Update)];
        update.extend(reads.then(select));
        let rows = policy::with_broken(scope, table, source.logical.clone(), lead, &update, BROKEN).await?;
        let (rows, refusals, without): (_, _, &[&str]) = match kind {
            ChangeKind::Delete => return Ok(source),
            ChangeKind::Update => (rows, vec![(RowPolicy::of_new(relation), bare(BROKEN))], &[BROKEN]),
            ChangeKind::Upsert => {
                let refusals = vec![
                    (RowPolicy::of_conflict(relation), when(&rows, action::UPDATE, NO_UPDATE)),
                    (RowPolicy::of_new(relation), when(&rows, action::UPDATE, BROKEN)),
                ];
                (rows, refusals, &[NO_UPDATE, BROKEN])
            }
            ChangeKind::Merge => {
                const NO_INSERT: &str = "\u{1}no insert";
                let insert = [guard.check(context, PolicyCommand::Insert)];
                let rows = policy::with_broken(scope, table, rows, lead, &insert, NO_INSERT).await?;
                let refusals = vec![
                    (RowPolicy::of_target(relation), when(&rows, action::UPDATE, NO_UPDATE)),
                    (RowPolicy::of_target(relation), when(&rows, action::DELETE, NO_DELETE)),
                    (RowPolicy::of_new(relation), when(&rows, action::UPDATE, BROKEN)),
                    (RowPolicy::of_new(relation), when(&rows, action::INSERT, NO_INSERT)),
                ];
                (rows, refusals, &[NO_UPDATE, NO_DELETE, BROKEN, NO_INSERT])
            }
        };
        let logical = refusing(table, rows, lead, refusals, without)?;
        replaced(scope, source, logical)
    }
}

/// A column, in the rows with which this is done.
fn when(rows: &LogicalPlan, done: i8, name: &str) -> Expr {
    let action = Expr::Column(rows.schema().columns()[2].clone());
    let whens = vec![(Box::new(lit(done)), Box::new(bare(name)))];
    Expr::Case(Case::new(Some(Box::new(action)), whens, None))
}
