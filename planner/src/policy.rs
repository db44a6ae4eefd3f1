//! Row policies and masks: what of a table a role is shown, and which rows it may make.
//!
//! ```text
//! read of t    what there is -> rows that policies show -> columns masked      behind a barrier: table_provider/secured.rs
//! change of t  the same for the rows that are there; each new row with the name of the policy that it breaks, if any
//! ```
//!
//! A condition is planned over the table under the names that table and columns had when it was written: renames do not
//! change what it means. Who is bound, by which policies and with which words is as in PostgreSQL 15 (`rowsecurity.c`).

mod check;
pub(crate) mod mask;

use std::sync::Arc;

use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::lit;
use datafusion::sql::sqlparser::ast::{self, Ident, SelectItem, TableWithJoins};
use staffa_catalog::{
    AccessKey, AttachedMask, CatalogSnapshot, Policy, PolicyCommand, PolicyCondition, Security, Table,
};

pub(crate) use self::check::RowPolicy;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::rewrite::MARKER;
use crate::rules::numbers::computed_by;
use crate::statement::change::{body, target_relation, template};
use crate::statement::query::{self, Scope};
use crate::stored;
use crate::table_provider::{SecuredTable, StaffaTable};

/// What of a table's rows and columns a role is not shown.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    security: Security,
    /// Whether row policies bind it.
    pub(crate) rows: bool,
    /// Masks, by the column's position in the table.
    pub(crate) masks: Vec<(usize, AttachedMask)>,
}

/// Conditions of policies for one command: a row needs one of the first, and all of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    permissive: Vec<PolicyCondition>,
    restrictive: Vec<(String, PolicyCondition)>,
}

impl PlanContext {
    /// `None`: the role is shown everything, as far as it may read.
    pub(crate) fn guard(&self, table: &Table) -> Result<Option<Guard>> {
        if self.authority.is_superuser() {
            return Ok(None);
        }
        let Some(security) = self.snapshot.access().security(table.uuid()) else {
            return Ok(None);
        };
        let rights = self.snapshot.access().rights(&AccessKey::Relation(table.uuid()));
        let owns = self.authority.owns(&rights);
        let rows = security.enabled && !self.authority.bypasses_policies() && (!owns || security.forced);
        if rows && self.settings.get("row_security").is_some_and(|set| set == "off") {
            let message = format!(
                "query would be affected by row-level security policy for table \"{}\"",
                table.name().name
            );
            let error = Error::new(ErrorKind::InsufficientPrivilege, message);
            return Err(match owns {
                true => error.with_hint(
                    "To disable the policy for the table's owner, use ALTER TABLE NO FORCE ROW LEVEL SECURITY.",
                ),
                false => error,
            });
        }
        let masks = mask::of_role(&self.authority, security, table);
        Ok((rows || !masks.is_empty()).then(|| Guard {
            security: security.clone(),
            rows,
            masks,
        }))
    }

    /// What tells more of a table than policies and masks show is for those whom they do not bind.
    pub(crate) fn check_unguarded(&self, table: &Table) -> Result<()> {
        match self.guard(table)? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::InsufficientPrivilege,
                format!("permission denied for table {}", table.name().name),
            )
            .with_detail("The table has row policies or masks that are for you.")),
        }
    }

    /// Whether a message may show a row of the table as it is.
    pub(crate) fn may_show_rows(&self, table: &Table) -> bool {
        let shown = self.check_table(table, staffa_catalog::Privileges::SELECT).is_ok();
        shown && matches!(self.guard(table), Ok(None))
    }
}

impl Guard {
    /// The policies that show or hide rows which are there.
    pub(crate) fn using(&self, context: &PlanContext, command: PolicyCommand) -> Demand {
        self.demand(context, command, |policy| policy.using.as_ref())
    }

    /// The policies that new rows must agree with.
    pub(crate) fn check(&self, context: &PlanContext, command: PolicyCommand) -> Demand {
        self.demand(context, command, |policy| {
            policy.check.as_ref().or(policy.using.as_ref())
        })
    }

    fn demand(
        &self,
        context: &PlanContext,
        command: PolicyCommand,
        condition: impl Fn(&Policy) -> Option<&PolicyCondition>,
    ) -> Demand {
        let mut demand = Demand::default();
        for (name, policy) in &self.security.policies {
            let is_for = policy.command == PolicyCommand::All || policy.command == command;
            let mut roles = policy.roles.iter();
            let binds = policy.roles.is_empty() || roles.any(|role| context.authority.has_privileges_of(*role));
            let Some(condition) = condition(policy).filter(|_| is_for && binds) else {
                continue;
            };
            match policy.permissive {
                true => demand.permissive.push(condition.clone()),
                false => demand.restrictive.push((name.clone(), condition.clone())),
            }
        }
        demand
    }
}

/// A table as the role is shown it.
pub(crate) async fn secured(scope: &Scope<'_>, opened: StaffaTable) -> Result<Arc<dyn TableProvider>> {
    let context = scope.context;
    let Some(guard) = context.guard(opened.table())? else {
        return Ok(Arc::new(opened));
    };
    let table = Arc::clone(opened.table());
    let (opened, readable) = opened.unrestricted();
    let mut rows = rows_of(Arc::new(opened))?;
    if guard.rows {
        // Who locks rows must be one who may change them.
        let locks = scope.locks_rows.then_some(PolicyCommand::Update);
        let commands = [PolicyCommand::Select].into_iter().chain(locks);
        let demands: Vec<Demand> = commands.map(|command| guard.using(context, command)).collect();
        rows = visible(scope, &table, rows, &demands).await?;
    }
    let shown = guard.shown_columns(context, &table, &rows)?;
    let rows = LogicalPlanBuilder::from(rows).project(shown)?.build()?;
    let masked = guard.masked_names(&table);
    Ok(Arc::new(SecuredTable::new(context, &table, rows, masked, readable)))
}

/// The rows of a table, before anything is hidden.
pub(crate) fn rows_of(table: Arc<StaffaTable>) -> Result<LogicalPlan> {
    Ok(LogicalPlanBuilder::scan("\u{1}rows", provider_as_source(table), None)?.build()?)
}

/// What the columns of a plan that computes conditions are called while it does.
fn kept(index: usize) -> String {
    format!("\u{1}kept{index}")
}

fn quoted(name: impl Into<String>) -> Ident {
    Ident::with_quote('"', name)
}

/// The rows that all demands show.
pub(crate) async fn visible(
    scope: &Scope<'_>,
    table: &Table,
    rows: LogicalPlan,
    demands: &[Demand],
) -> Result<LogicalPlan> {
    let given = rows.schema().columns();
    let (mut plan, mut count, mut conditions) = (rows, 0, Vec::new());
    for demand in demands {
        let (next, one_of, all_of) = with_conditions(scope, table, plan, 0, demand, &mut count).await?;
        plan = next;
        conditions.push(disjunction(one_of).unwrap_or_else(|| lit(false)));
        conditions.extend(all_of.into_iter().map(|(_, condition)| condition));
    }
    let mut plan = LogicalPlanBuilder::from(plan);
    if let Some(condition) = conjunction(conditions) {
        plan = plan.filter(condition)?;
    }
    Ok(plan.project(given.into_iter().map(Expr::Column))?.build()?)
}

/// The rows with one more column: the restrictive policy that a row breaks, an empty name if no policy lets it pass, and NULL
/// if all is well. The table's columns begin at `lead`.
pub(crate) async fn with_broken(
    scope: &Scope<'_>,
    table: &Table,
    rows: LogicalPlan,
    lead: usize,
    demands: &[Demand],
    name: &str,
) -> Result<LogicalPlan> {
    let given = rows.schema().columns();
    let (mut plan, mut count, mut whens) = (rows, 0, Vec::new());
    let mut add = |condition: Expr, name: &str| whens.push((Box::new(condition.is_not_true()), Box::new(lit(name))));
    for demand in demands {
        let (next, one_of, all_of) = with_conditions(scope, table, plan, lead, demand, &mut count).await?;
        plan = next;
        add(disjunction(one_of).unwrap_or_else(|| lit(false)), "");
        for (policy, condition) in all_of {
            add(condition, &policy);
        }
    }
    let broken = Expr::Case(Case::new(None, whens, None)).alias(name);
    let all = given.into_iter().map(Expr::Column).chain([broken]);
    Ok(LogicalPlanBuilder::from(plan).project(all)?.build()?)
}

/// The rows with the conditions of a demand as columns: those of which one must hold, and those that must all.
async fn with_conditions(
    scope: &Scope<'_>,
    table: &Table,
    rows: LogicalPlan,
    lead: usize,
    demand: &Demand,
    count: &mut usize,
) -> Result<(LogicalPlan, Vec<Expr>, Vec<(String, Expr)>)> {
    let (mut plan, mut one_of, mut all_of) = (rows, Vec::new(), Vec::new());
    let permissive = demand.permissive.iter().map(|condition| (None, condition));
    let restrictive = demand
        .restrictive
        .iter()
        .map(|(name, condition)| (Some(name), condition));
    for (name, condition) in permissive.chain(restrictive) {
        let column = format!("\u{1}holds{count}");
        *count += 1;
        plan = with_condition(scope, table, plan, lead, condition, &column).await?;
        let holds = Expr::Column(datafusion::common::Column::new_unqualified(column));
        match name {
            None => one_of.push(holds),
            Some(name) => all_of.push((name.clone(), holds)),
        }
    }
    Ok((plan, one_of, all_of))
}

/// The rows with one more column: the value of a condition.
pub(crate) async fn with_condition(
    scope: &Scope<'_>,
    table: &Table,
    rows: LogicalPlan,
    lead: usize,
    condition: &PolicyCondition,
    name: &str,
) -> Result<LogicalPlan> {
    if scope.policies.contains(&table.uuid()) {
        let message = format!(
            "infinite recursion detected in policy for relation \"{}\"",
            table.name().name
        );
        return Err(Error::new(ErrorKind::InvalidObjectDefinition, message));
    }
    let given = rows.schema().columns();
    let count = given.len();
    let known = given.iter().enumerate();
    let mut exposed: Vec<Expr> = known
        .map(|(index, column)| Expr::Column(column.clone()).alias(kept(index)))
        .collect();
    for (called, id) in &condition.columns {
        let mut columns = table.schema().columns.iter();
        let found = columns.position(|column| column.field_id == *id);
        let found = found.and_then(|index| given.get(lead + index));
        let column = found.ok_or_else(|| {
            let message = format!(
                "a policy reads column \"{called}\", which table \"{}\" has not",
                table.name()
            );
            Error::new(ErrorKind::UndefinedColumn, message)
        })?;
        exposed.push(Expr::Column(column.clone()).alias(called));
    }
    let rows = LogicalPlanBuilder::from(rows).project(exposed)?.build()?;
    let mut select = template()?;
    let parts = body(&mut select)?;
    parts.projection = (0..count)
        .map(|index| SelectItem::UnnamedExpr(ast::Expr::Identifier(quoted(kept(index)))))
        .chain([SelectItem::ExprWithAlias {
            expr: stored::syntax(&condition.text)?,
            alias: quoted(name),
        }])
        .collect();
    parts.from = vec![TableWithJoins {
        relation: target_relation(&quoted(&condition.relation))?,
        joins: Vec::new(),
    }];
    let mut context = scope.context.clone();
    context.search_path.clone_from(&condition.search_path);
    context.database.clone_from(&table.name().database);
    let mut policies = scope.policies.clone();
    policies.push(table.uuid());
    let inner = Scope {
        target: Some(provider_as_source(Arc::new(ViewTable::new(rows, None)))),
        views: scope.views.clone(),
        policies,
        ..Scope::new(&context, &condition.text)
    };
    let planned = Box::pin(query::logical(&inner, select, &[], &[])).await.map_err(told)?;
    let columns = planned.schema().columns();
    let named = columns.into_iter().enumerate().map(|(index, column)| {
        let column = Expr::Column(column);
        match given.get(index) {
            Some(before) => column.alias_qualified(before.relation.clone(), &before.name),
            None => column.alias(name),
        }
    });
    Ok(LogicalPlanBuilder::from(planned)
        .project(named.collect::<Vec<_>>())?
        .build()?)
}

/// A place would point into the policy's text, which the user has not sent.
fn told(error: Error) -> Error {
    let told = Error::new(error.kind(), error.message());
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

/// The row policies of a table that read a column, and the masking policies that do or mask it.
#[derive(Debug, Default)]
pub struct ColumnPolicies {
    pub policies: Vec<String>,
    pub masks: Vec<String>,
}

/// What hangs on a column of a table by its name.
pub fn column_policies(snapshot: &CatalogSnapshot, table: &Table, column: &str) -> ColumnPolicies {
    let mut columns = table.schema().columns.iter();
    let found = columns.find(|known| known.name == column).map(|known| known.field_id);
    let (Some(id), Some(security)) = (found, snapshot.access().security(table.uuid())) else {
        return ColumnPolicies::default();
    };
    let reads = |condition: &Option<PolicyCondition>| {
        let mut columns = condition.iter().flat_map(|condition| &condition.columns);
        columns.any(|(_, column)| *column == id)
    };
    let policies = security.policies.iter();
    let policies = policies.filter(|(_, policy)| reads(&policy.using) || reads(&policy.check));
    let masks = security.masks.iter();
    let masks = masks.filter(|mask| mask.column == id || mask.inputs.contains(&id));
    ColumnPolicies {
        policies: policies.map(|(name, _)| name.clone()).collect(),
        masks: masks.map(|mask| mask.policy.clone()).collect(),
    }
}

/// Whether a new condition is one, as PostgreSQL says it.
pub(crate) async fn check_condition(scope: &Scope<'_>, table: &Table, condition: &PolicyCondition) -> Result<()> {
    use arrow::datatypes::DataType;
    const NAME: &str = "\u{1}holds";
    let schema = crate::types::table_arrow_schema(table.schema(), &scope.context.time_zone);
    let source = provider_as_source(Arc::new(datafusion::datasource::empty::EmptyTable::new(schema)));
    let rows = LogicalPlanBuilder::scan("\u{1}rows", source, None)?.build()?;
    let not_allowed = |kind, what: &str| {
        let message = format!("{what} functions are not allowed in policy expressions");
        Err(Error::new(kind, message))
    };
    let plan = match with_condition(scope, table, rows, 0, condition, NAME).await {
        // The columns beside an aggregate have no group.
        Err(error)
            if error.kind() == ErrorKind::GroupingError
                && error.message().contains(kept(0).trim_start_matches(MARKER)) =>
        {
            return not_allowed(ErrorKind::GroupingError, "aggregate");
        }
        planned => planned?,
    };
    if let LogicalPlan::Projection(outer) = &plan
        && let LogicalPlan::Projection(inner) = outer.input.as_ref()
    {
        match computed_by(inner.input.as_ref()) {
            LogicalPlan::Aggregate(_) => return not_allowed(ErrorKind::GroupingError, "aggregate"),
            LogicalPlan::Window(_) => return not_allowed(ErrorKind::WindowingError, "window"),
            LogicalPlan::Unnest(_) => return not_allowed(ErrorKind::FeatureNotSupported, "set-returning"),
            _ => {}
        }
    }
    let plan = crate::rules::analyse(scope.context, plan)?;
    let field = plan.schema().field_with_unqualified_name(NAME)?;
    match field.data_type() {
        DataType::Boolean | DataType::Null => Ok(()),
        _ => {
            let ty = crate::types::sql_type(field);
            let message = format!("argument of POLICY must be type boolean, not type {ty}");
            Err(Error::new(ErrorKind::DatatypeMismatch, message))
        }
    }
}
