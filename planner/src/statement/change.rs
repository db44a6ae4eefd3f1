//! `DELETE` and `UPDATE`: a query that gives, for each row that changes, its address and what becomes of it.
//!
//! ```text
//! delete from t using u where …         select t.file, t.position from t, u where …
//! update t set b = e from u where …     select t.file, t.position, t.a, cast(e as type of b) as b from t, u where …
//! ```
//!
//! The target is read under a name no text can hold, so that the same table in a subquery is read as always.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::logical_expr::{Cast, Expr as Logical, LogicalPlan, LogicalPlanBuilder};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Update, UpdateTableFromKind, VisitorMut,
};
use staffa_catalog::{Column, ColumnDefault, IdentityKind, LiveFile, Privileges, SqlType, Table};

use crate::authorize::Mentioned;
use crate::checks;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::generic::Generic;
use crate::parse::{Ast, parse_one};
use crate::policy::Guard;
use crate::resolve::{self, Relations, fold};
use crate::rewrite::parameter_index;
use crate::rules::numbers::computed_by;
use crate::statement::dml::{self, check_assignable, literal_columns};
use crate::statement::guarded::stored_name;
use crate::statement::query::{self, Overriding, Scope};
use crate::statement::returning::{self, Returning, other_name};
use crate::statement::{ChangeKind, ChangePlan, QueryPlan, materialized};
use crate::table_provider::{ADDRESS_FILE, ADDRESS_POSITION, StaffaTable};
use crate::types::arrow_field;
use crate::walk::VisitMut;

/// The name the target of a statement is read under.
pub(crate) const TARGET: &str = "\u{1}target";

pub(crate) async fn delete(scope: &Scope<'_>, delete: &Delete, declared: &[Option<SqlType>]) -> Result<ChangePlan> {
    let from = match &delete.from {
        FromTable::WithFromKeyword(from) if delete.tables.is_empty() => from,
        _ => return Err(not_postgres()),
    };
    if !delete.order_by.is_empty() || delete.limit.is_some() || delete.output.is_some() {
        return Err(not_postgres());
    }
    let mut target = Target::open(scope, one_table(from)?, "delete from").await?;
    let using = delete.using.clone().unwrap_or_default();
    let list = delete.returning.as_deref();
    scope.context.check_table(&target.table, Privileges::DELETE)?;
    let read = Mentioned::default().add(&using).add(&delete.selection).add_list(list);
    scope.context.check_mentioned(&target.table, &target.alias, &read)?;
    let reads = read.reads(&target.table, &target.alias);
    target.secure(scope, ChangeKind::Delete, reads).await?;
    let others = target.others_returned(scope, list, &using, declared).await?;
    let mut items = target.address();
    if list.is_some() {
        items.extend(target.columns());
    }
    items.extend(others);
    let mut select = target.query(items, using.clone())?;
    body(&mut select)?.selection.clone_from(&delete.selection);
    let mut source = target.plan(scope, select, "DELETE", declared).await?;
    refuse_computed(&source.logical, "DELETE")?;
    Ok(ChangePlan {
        kind: ChangeKind::Delete,
        keys: None,
        everything: delete.using.is_none()
            && delete.selection.is_none()
            && list.is_none()
            && target.guard.as_ref().is_none_or(|guard| !guard.rows),
        returning: target.returning(scope, list, &using, &mut source).await?,
        table: target.table,
        files: target.files,
        source,
    })
}

pub(crate) async fn update(scope: &Scope<'_>, update: &Update, declared: &[Option<SqlType>]) -> Result<ChangePlan> {
    if !update.order_by.is_empty() || update.limit.is_some() || update.output.is_some() || update.or.is_some() {
        return Err(not_postgres());
    }
    let from = match &update.from {
        None => Vec::new(),
        Some(UpdateTableFromKind::AfterSet(from)) => from.clone(),
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(not_postgres()),
    };
    let mut target = Target::open(scope, one_table(std::slice::from_ref(&update.table))?, "update").await?;
    let assigned = assignments(scope, &target.table, &update.assignments)?;
    let changed = assigned.iter().map(|(index, _)| *index);
    scope
        .context
        .check_columns(&target.table, changed, Privileges::UPDATE)?;
    let values = assigned
        .iter()
        .fold(Mentioned::default(), |read, (_, value)| read.add(value));
    let read = values
        .add(&from)
        .add(&update.selection)
        .add_list(update.returning.as_deref());
    scope.context.check_mentioned(&target.table, &target.alias, &read)?;
    let reads = read.reads(&target.table, &target.alias);
    target.secure(scope, ChangeKind::Update, reads).await?;
    let declared = declared_by_targets(&target.table, &assigned, declared);
    let mut items = target.address();
    items.extend(target.columns());
    let first = items.len();
    items.extend(
        assigned
            .iter()
            .enumerate()
            .map(|(number, (_, value))| computed(number, value.clone())),
    );
    let list = update.returning.as_deref();
    let others = target.others_returned(scope, list, &from, &declared).await?;
    let first_other = items.len();
    items.extend(others);
    let mut select = target.query(items, from.clone())?;
    body(&mut select)?.selection.clone_from(&update.selection);
    let mut source = target.plan(scope, select, "UPDATE", &declared).await?;
    refuse_computed(&source.logical, "UPDATE")?;

    let given = source.logical.schema().columns();
    let literal = literal_columns(&source.logical);
    let mut projected: Vec<Logical> = given[..2].iter().cloned().map(Logical::Column).collect();
    for (index, column) in target.table.schema().columns.iter().enumerate() {
        let value = match assigned.iter().position(|(target, _)| *target == index) {
            None => Logical::Column(given[2 + index].clone()),
            Some(number) => {
                let untyped = literal.get(first + number).copied().unwrap_or(false);
                cast_to_column(
                    scope.context,
                    &target.table,
                    index,
                    &source.logical,
                    first + number,
                    untyped,
                )
                .map_err(|error| checks::at(error, assigned.get(number).map(|(_, value)| value), scope.text))?
            }
        };
        projected.push(value.alias(&column.name));
    }
    let others = given[first_other..].iter().enumerate();
    projected.extend(others.map(|(number, other)| Logical::Column(other.clone()).alias(other_name(number))));
    Ok(ChangePlan {
        kind: ChangeKind::Update,
        everything: false,
        keys: None,
        returning: target.returning(scope, list, &from, &mut source).await?,
        source: target
            .checked(
                scope,
                projected_plan(scope.context, source, projected)?,
                ChangeKind::Update,
                reads,
            )
            .await?,
        table: target.table,
        files: target.files,
    })
}

/// What a statement changes.
pub(super) struct Target {
    pub(super) table: Arc<Table>,
    pub(super) files: Arc<Vec<Arc<LiveFile>>>,
    pub(super) provider: Arc<dyn TableProvider>,
    /// What of it the role is not shown.
    pub(super) guard: Option<Guard>,
    /// What the statement calls it.
    pub(super) alias: Ident,
    /// Its name as written, when it has parts and no alias: columns may be written with all of them.
    qualified: Option<Vec<String>>,
}

impl Target {
    pub(super) async fn open(scope: &Scope<'_>, factor: &TableFactor, verb: &str) -> Result<Target> {
        let TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
        } = factor
        else {
            return Err(not_postgres());
        };
        if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
            return Err(not_postgres());
        }
        let table = resolve::changed_table(scope, name, verb).await?;
        materialized::check_changeable(&table, verb)?;
        let (alias, qualified) = match alias {
            Some(TableAlias {
                name: alias, columns, ..
            }) if columns.is_empty() => (alias.clone(), None),
            Some(_) => return Err(not_postgres()),
            None => match name.0.last().and_then(ObjectNamePart::as_ident) {
                Some(last) if name.0.len() > 1 => (last.clone(), Some(resolve::parts(name)?)),
                Some(last) => (last.clone(), None),
                None => return Err(not_postgres()),
            },
        };
        Target::of(scope, table, alias, qualified).await
    }

    /// A table that the statement calls `alias`, and in full `qualified` if that may stand before its columns too.
    pub(super) async fn of(
        scope: &Scope<'_>,
        table: Arc<Table>,
        alias: Ident,
        qualified: Option<Vec<String>>,
    ) -> Result<Target> {
        let provider = Arc::new(StaffaTable::open_addressed(scope.context, Arc::clone(&table)).await?);
        Ok(Target {
            files: Arc::clone(provider.files()),
            guard: scope.context.guard(&table)?,
            table,
            provider,
            alias,
            qualified,
        })
    }

    pub(super) fn column(&self, name: &str) -> Expr {
        Expr::CompoundIdentifier(vec![self.alias.clone(), Ident::with_quote('"', name)])
    }

    /// The two columns that say where a row lies.
    pub(super) fn address(&self) -> Vec<SelectItem> {
        self.address_of(&self.alias)
    }

    /// The same of the target under another name.
    pub(super) fn address_of(&self, alias: &Ident) -> Vec<SelectItem> {
        let column = |name| Expr::CompoundIdentifier(vec![alias.clone(), Ident::with_quote('"', name)]);
        [ADDRESS_FILE, ADDRESS_POSITION]
            .map(|name| SelectItem::UnnamedExpr(column(name)))
            .into()
    }

    pub(super) fn position(&self) -> Expr {
        self.column(ADDRESS_POSITION)
    }

    /// What the statement's query calls a column as it is stored, which is another one where it is masked.
    pub(super) fn stored_name(&self, index: usize, name: &str) -> String {
        match &self.guard {
            Some(guard) if guard.is_masked(index) => stored_name(index),
            _ => name.to_owned(),
        }
    }

    /// The table's own columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = SelectItem> {
        let columns = &self.table.schema().columns;
        columns
            .iter()
            .enumerate()
            .map(|(index, column)| SelectItem::UnnamedExpr(self.column(&self.stored_name(index, &column.name))))
    }

    /// The target as a relation of FROM.
    pub(super) fn relation(&self) -> Result<TableFactor> {
        target_relation(&self.alias)
    }

    fn list<'a>(&'a self, items: &'a [SelectItem], from: &[TableWithJoins]) -> Result<returning::List<'a>> {
        let own = TableWithJoins {
            relation: self.relation()?,
            joins: Vec::new(),
        };
        Ok(returning::List {
            items,
            table: &self.table,
            alias: &self.alias,
            from: std::iter::once(own).chain(from.iter().cloned()).collect(),
            qualified: self.qualified.as_deref(),
            guard: self.guard.as_ref(),
        })
    }

    /// The columns of other relations that a RETURNING list names, to be computed with the rows.
    pub(super) async fn others_returned(
        &self,
        scope: &Scope<'_>,
        list: Option<&[SelectItem]>,
        from: &[TableWithJoins],
        declared: &[Option<SqlType>],
    ) -> Result<Vec<SelectItem>> {
        let Some(items) = list.filter(|_| !from.is_empty()) else {
            return Ok(Vec::new());
        };
        let planned = returning::plan(scope, self.list(items, from)?, declared).await?;
        let named = planned.others().into_iter().enumerate();
        let item = |(number, other)| SelectItem::ExprWithAlias {
            expr: other,
            alias: Ident::with_quote('"', other_name(number)),
        };
        Ok(named.map(item).collect())
    }

    /// The finished RETURNING list; its parameters and those of the source become the same.
    pub(super) async fn returning(
        &self,
        scope: &Scope<'_>,
        list: Option<&[SelectItem]>,
        from: &[TableWithJoins],
        source: &mut QueryPlan,
    ) -> Result<Option<Returning>> {
        match list {
            None => Ok(None),
            Some(items) => returning::finish(scope, self.list(items, from)?, source)
                .await
                .map(Some),
        }
    }

    /// `SELECT items FROM target, from…`
    fn query(&self, items: Vec<SelectItem>, from: Vec<TableWithJoins>) -> Result<Query> {
        let mut query = template()?;
        let relation = self.relation()?;
        let select = body(&mut query)?;
        select.projection = items;
        select.from = vec![TableWithJoins {
            relation,
            joins: Vec::new(),
        }];
        select.from.extend(from);
        Ok(query)
    }

    pub(super) async fn plan(
        &self,
        scope: &Scope<'_>,
        mut query: Query,
        statement: &str,
        declared: &[Option<SqlType>],
    ) -> Result<QueryPlan> {
        if let Some(qualified) = &self.qualified {
            unqualify(&mut query, qualified, &self.alias);
        }
        scope.put_with(&mut query);
        let scope = Scope {
            target: Some(provider_as_source(Arc::clone(&self.provider))),
            ..scope.copied()
        };
        query::plan(&scope, &query, declared).await.map_err(|error| {
            // The address is the first column that an aggregate beside it leaves without a group.
            let address = format!("\"{}.{ADDRESS_FILE}\"", fold(&self.alias));
            match error.kind() {
                ErrorKind::GroupingError if error.message().contains(&address) => aggregates(statement),
                _ => error,
            }
        })
    }
}

/// The target under a name of FROM.
pub(crate) fn target_relation(called: &Ident) -> Result<TableFactor> {
    let mut query = template()?;
    let mut factor = body(&mut query)?.from.remove(0).relation;
    if let TableFactor::Table { name, alias, .. } = &mut factor {
        *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', TARGET))]);
        *alias = Some(TableAlias {
            explicit: true,
            name: called.clone(),
            columns: Vec::new(),
            at: None,
        });
    }
    Ok(factor)
}

/// Makes `s.t.a` of the target `s.t` to `t.a`.
pub(super) fn unqualify(query: &mut Query, qualified: &[String], alias: &Ident) {
    let _ = VisitMut::visit(query, &mut Unqualify(qualified, alias));
}

struct Unqualify<'a>(&'a [String], &'a Ident);

impl VisitorMut for Unqualify<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expression
            && parts.len() == self.0.len() + 1
            && parts.iter().map(fold).zip(self.0).all(|(part, name)| part == *name)
        {
            let mut alias = self.1.clone();
            alias.span = parts[0].span;
            parts.splice(..self.0.len(), [alias]);
        }
        ControlFlow::Continue(())
    }
}

/// A column of a value that the statement computes.
pub(super) fn computed(number: usize, value: Expr) -> SelectItem {
    SelectItem::ExprWithAlias {
        expr: value,
        alias: Ident::with_quote('"', format!("\u{1}{number}")),
    }
}

/// Targets by position in the table, each with its value: `(a, b) = (1, 2)` taken apart.
pub(super) fn assignments(scope: &Scope<'_>, table: &Table, given: &[Assignment]) -> Result<Vec<(usize, Expr)>> {
    let mut all: Vec<(usize, Expr)> = Vec::new();
    let relations = Relations::default();
    let mut checked = checks::Assignments::new(scope.context, &relations, scope.text, "UPDATE")?;
    let mut add = |name: &ObjectName, value: Expr| {
        let index = target_column(scope, table, name)?;
        if all.iter().any(|(known, _)| *known == index) {
            let column = &table.schema().columns[index].name;
            let message = format!("multiple assignments to same column \"{column}\"");
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
        checked.check(&value, &table.schema().columns[index])?;
        all.push((
            index,
            given_value(scope.context, value, &table.schema().columns[index], Giving::Update)?,
        ));
        Ok(())
    };
    for assignment in given {
        match &assignment.target {
            AssignmentTarget::ColumnName(name) => add(name, assignment.value.clone())?,
            AssignmentTarget::Tuple(names) => {
                let values = row_values(&assignment.value, names.len())
                    .map_err(|error| checks::at(error, Some(&assignment.value), scope.text))?;
                for (name, value) in names.iter().zip(values) {
                    add(name, value)?;
                }
            }
        }
    }
    Ok(all)
}

pub(super) fn target_column(scope: &Scope<'_>, table: &Table, name: &ObjectName) -> Result<usize> {
    let parts = resolve::parts(name)?;
    let column = parts.first().map(String::as_str).unwrap_or_default();
    let found = table.schema().columns.iter().position(|known| known.name == column);
    let located = |error: Error| match resolve::name_position(name, scope.text) {
        Some(position) => error.with_position(position),
        None => error,
    };
    match (found, parts.len()) {
        (Some(index), 1) => Ok(index),
        (Some(_), _) => Err(Error::unsupported("assigning to a part of a column is not supported")),
        (None, _) => {
            let message = format!(
                "column \"{column}\" of relation \"{}\" does not exist",
                table.name().name
            );
            Err(located(Error::new(ErrorKind::UndefinedColumn, message)))
        }
    }
}

/// The values of a row: of `(1, 2)`, `ROW(1, 2)`, or of a subquery, which then is asked once for each column.
fn row_values(value: &Expr, count: usize) -> Result<Vec<Expr>> {
    let values = match value {
        Expr::Tuple(values) => values.clone(),
        Expr::Nested(inner) if count == 1 => vec![(**inner).clone()],
        Expr::Function(function) if resolve::shown(&function.name) == "row" => row_arguments(function)?,
        Expr::Subquery(query) => columns_of_subquery(query, count)?,
        _ => {
            let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
            return Err(Error::unsupported(message));
        }
    };
    match values.len() == count {
        true => Ok(values),
        false => Err(other_count()),
    }
}

fn other_count() -> Error {
    let message = "number of columns does not match number of values";
    Error::new(ErrorKind::SyntaxError, message)
}

/// The values in `ROW(…)`.
fn row_arguments(row: &Function) -> Result<Vec<Expr>> {
    let arguments = match &row.args {
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => &list.args,
        _ => return Err(Error::new(ErrorKind::SyntaxError, "ROW(…) takes values only")),
    };
    let value = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Ok(value.clone()),
        _ => Err(Error::unsupported("* and named values in ROW(…) are not supported")),
    };
    arguments.iter().map(value).collect()
}

/// The columns of a subquery's row, each asked for by a query of its own. The subquery is wrapped where it cannot be cut
/// into its columns.
fn columns_of_subquery(query: &Query, count: usize) -> Result<Vec<Expr>> {
    let whole = query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    let select = match query.body.as_ref() {
        SetExpr::Select(select) if select.projection.iter().all(is_one) => Some(select),
        _ => None,
    };
    if select.is_some_and(|select| select.projection.len() != count) {
        return Err(other_count());
    }
    // ORDER BY and GROUP BY may mean an item by its number or its name.
    let plain = select.filter(|select| whole && select.distinct.is_none() && is_ungrouped(select));
    if let Some(items) = plain.map(|select| &select.projection) {
        let of_one = |item: &SelectItem| {
            let mut query = query.clone();
            body(&mut query)?.projection = vec![item.clone()];
            Ok(Expr::Subquery(Box::new(query)))
        };
        return items.iter().map(of_one).collect();
    }
    let name = |number: usize| Ident::with_quote('"', format!("\u{1}{number}"));
    let column = |number| TableAliasColumnDef {
        name: name(number),
        data_type: None,
    };
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::with_quote('"', "\u{1}row"),
            columns: (0..count).map(column).collect(),
            at: None,
        }),
        sample: None,
    };
    let of_one = |number: usize| {
        let mut query = template()?;
        let select = body(&mut query)?;
        select.projection = vec![SelectItem::UnnamedExpr(Expr::Identifier(name(number)))];
        select.from = vec![TableWithJoins {
            relation: relation.clone(),
            joins: Vec::new(),
        }];
        Ok(Expr::Subquery(Box::new(query)))
    };
    (0..count).map(of_one).collect()
}

fn is_ungrouped(select: &Select) -> bool {
    matches!(&select.group_by, GroupByExpr::Expressions(keys, modifiers) if keys.is_empty() && modifiers.is_empty())
}

/// Where a value for a column stands; the words of errors are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Giving {
    Insert(Overriding),
    Update,
}

/// A value for a column: `DEFAULT` is what the column has for it. A generated column takes nothing else.
pub(super) fn given_value(context: &PlanContext, value: Expr, column: &Column, giving: Giving) -> Result<Expr> {
    if dml::is_default(&value) {
        return dml::default_syntax(context, column);
    }
    match giving {
        Giving::Insert(Overriding::User) if dml::is_identity(column) => return dml::default_syntax(context, column),
        Giving::Insert(overriding) => dml::check_may_be_given(column, overriding)?,
        Giving::Update => {
            let detail = match &column.default {
                Some(ColumnDefault::Generated(_)) => "is a generated column.",
                Some(ColumnDefault::Identity(identity)) if identity.kind == IdentityKind::Always => {
                    "is an identity column defined as GENERATED ALWAYS."
                }
                _ => return Ok(value),
            };
            let message = format!("column \"{}\" can only be updated to DEFAULT", column.name);
            return Err(Error::new(ErrorKind::GeneratedAlways, message)
                .with_detail(format!("Column \"{}\" {detail}", column.name)));
        }
    }
    Ok(value)
}

/// A `$n` that stands alone gets its column's type.
pub(super) fn declared_by_targets(
    table: &Table,
    assigned: &[(usize, Expr)],
    declared: &[Option<SqlType>],
) -> Vec<Option<SqlType>> {
    let mut types = declared.to_vec();
    for (target, value) in assigned {
        let Some(index) = parameter_index(value).filter(|index| *index < crate::rewrite::PARAMETERS_MAX) else {
            continue;
        };
        if types.len() <= index {
            types.resize(index + 1, None);
        }
        if matches!(types[index], None | Some(SqlType::Unknown)) {
            types[index] = Some(match &table.schema().columns[*target].ty {
                SqlType::Varchar(_) | SqlType::Char(_) => SqlType::Text,
                other => other.plain().clone(),
            });
        }
    }
    types
}

/// A value of the source as one of a column of the table.
pub(super) fn cast_to_column(
    context: &PlanContext,
    table: &Table,
    index: usize,
    source: &LogicalPlan,
    from: usize,
    untyped: bool,
) -> Result<Logical> {
    let column = &table.schema().columns[index];
    check_assignable(&column.name, &column.ty, source.schema().field(from), untyped)?;
    let field = Arc::new(arrow_field(&column.name, &column.ty, true, &context.time_zone));
    let value = Logical::Column(source.schema().columns()[from].clone());
    Ok(Logical::Cast(Cast::new_from_field(Box::new(value), field)))
}

/// NULL in a column's type.
pub(super) fn null_of_column(context: &PlanContext, table: &Table, index: usize) -> Result<Logical> {
    let column = &table.schema().columns[index];
    let field = arrow_field(&column.name, &column.ty, true, &context.time_zone);
    Ok(Logical::Literal(ScalarValue::try_new_null(field.data_type())?, None))
}

pub(super) fn projected_plan(context: &PlanContext, source: QueryPlan, projected: Vec<Logical>) -> Result<QueryPlan> {
    let plan = LogicalPlanBuilder::from(source.logical).project(projected)?.build()?;
    Ok(QueryPlan {
        logical: crate::rules::analyse(context, plan)?,
        parameters: source.parameters,
        columns: Vec::new(),
        generic: Generic::default(),
    })
}

fn aggregates(statement: &str) -> Error {
    let message = format!("aggregate functions are not allowed in {statement}");
    Error::new(ErrorKind::GroupingError, message)
}

/// What a value of the statement may not contain, told by what the query became.
pub(super) fn refuse_computed(plan: &LogicalPlan, statement: &str) -> Result<()> {
    let LogicalPlan::Projection(projection) = plan else {
        return Ok(());
    };
    let refused = |kind: ErrorKind, what: &str| Err(Error::new(kind, format!("{what} are not allowed in {statement}")));
    match computed_by(projection.input.as_ref()) {
        LogicalPlan::Aggregate(_) => Err(aggregates(statement)),
        LogicalPlan::Window(_) => refused(ErrorKind::WindowingError, "window functions"),
        LogicalPlan::Unnest(_) => refused(ErrorKind::FeatureNotSupported, "set-returning functions"),
        _ => Ok(()),
    }
}

/// A query with one table in FROM, to be filled in.
pub(crate) fn template() -> Result<Query> {
    match parse_one("select 1 from x", 0)?.ast {
        Ast::Query(query) => Ok(*query),
        _ => Err(Error::internal("a query was parsed as something else")),
    }
}

pub(crate) fn body(query: &mut Query) -> Result<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        _ => Err(Error::internal("not a SELECT")),
    }
}

fn one_table(from: &[TableWithJoins]) -> Result<&TableFactor> {
    match from {
        [one] if one.joins.is_empty() => Ok(&one.relation),
        _ => Err(not_postgres()),
    }
}

/// Forms of other databases that sqlparser takes.
pub(super) fn not_postgres() -> Error {
    Error::new(ErrorKind::SyntaxError, "the target of the statement must be one table")
}
