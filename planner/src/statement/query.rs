//! A query: names resolved, types settled, parameters found.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, SelectItem, SetExpr, Statement, Visitor, With};
use staffa_catalog::{SqlType, Table, TableName, Uuid};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::function::{padded, quantified};
use crate::generic::Generic;
use crate::parse::position_of;
use crate::resolve::{Provider, Relations, fold, function, load, populate, version};
use crate::rewrite::{self, PARAMETERS_MAX, strip_marker};
use crate::row_locks;
use crate::statement::{OutputColumn, QueryPlan, origin};
use crate::type_planner::BARE_NUMERIC;
use crate::types::{arrow_field, sql_type};
use crate::walk::Visit;
use crate::{checks, plan_size, rules, shown, supervision};

/// Whose value an identity column gets when one is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overriding {
    #[default]
    None,
    /// `OVERRIDING SYSTEM VALUE`: the given one, also where only the sequence may give one.
    System,
    /// `OVERRIDING USER VALUE`: the sequence's.
    User,
}

/// What planning one text needs besides the text's tree.
pub(crate) struct Scope<'a> {
    pub context: &'a PlanContext,
    /// The text the tree was read from, for positions.
    pub text: &'a str,
    /// The views being expanded, outermost first.
    pub views: Vec<TableName>,
    /// The tables whose row policies are being planned, outermost first.
    pub policies: Vec<Uuid>,
    /// Whether the statement's rows are read `FOR UPDATE` or `FOR SHARE`.
    pub locks_rows: bool,
    /// What [`TARGET`](crate::statement::change::TARGET) names.
    pub target: Option<Arc<dyn TableSource>>,
    /// What [`PROPOSED`](crate::statement::upsert::PROPOSED) names.
    pub proposed: Option<Arc<dyn TableSource>>,
    /// What statements in `WITH` return, by the names of [`with`](crate::statement::with).
    pub returned: Vec<(String, Arc<dyn TableSource>)>,
    /// `WITH` before INSERT, UPDATE, DELETE or MERGE.
    pub with: Option<&'a With>,
    /// `OVERRIDING … VALUE`
    pub overriding: Overriding,
    /// The table that the rows are stored in: each value of VALUES in its column.
    pub stored_in: Option<&'a Table>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(context: &'a PlanContext, text: &'a str) -> Self {
        Self {
            context,
            text,
            views: Vec::new(),
            policies: Vec::new(),
            locks_rows: false,
            target: None,
            proposed: None,
            returned: Vec::new(),
            with: None,
            overriding: Overriding::None,
            stored_in: None,
        }
    }

    /// The same once more, to be changed.
    pub(crate) fn copied(&self) -> Self {
        Self {
            context: self.context,
            text: self.text,
            views: self.views.clone(),
            policies: self.policies.clone(),
            locks_rows: self.locks_rows,
            target: self.target.clone(),
            proposed: self.proposed.clone(),
            returned: self.returned.clone(),
            with: self.with,
            overriding: self.overriding,
            stored_in: self.stored_in,
        }
    }

    /// Puts the statement's WITH before one of its queries.
    pub(crate) fn put_with(&self, query: &mut Query) {
        let Some(with) = self.with else {
            return;
        };
        if query.with.is_some() {
            let inner = Query {
                with: None,
                body: query.body.clone(),
                order_by: None,
                limit_clause: None,
                fetch: None,
                locks: Vec::new(),
                for_clause: None,
                settings: None,
                format_clause: None,
                pipe_operators: Vec::new(),
            };
            let inner = std::mem::replace(query, inner);
            *query.body = SetExpr::Query(Box::new(inner));
        }
        query.with = Some(with.clone());
    }
}

/// Plans a query. `declared` are types the client or the statement around gives to parameters.
pub(crate) async fn plan(scope: &Scope<'_>, query: &Query, declared: &[Option<SqlType>]) -> Result<QueryPlan> {
    if scope.locks_rows {
        row_locks::check(scope.context, query).await?;
    }
    let mut query = query.clone();
    populate::name_columns(scope, &mut query).await?;
    let mut typed = query.clone();
    let asked = version::take(&mut typed)?;
    function::take(&mut typed)?;
    let found = match rewrite::query(scope.context, &mut typed, false) {
        Ok(found) => found,
        Err(error) => return Err(first_mistake(scope, &query, error).await),
    };
    let mut types = merged(declared, found);
    types = merged(&types, version::parameters(&asked));
    let given = types.clone();
    let mut plan = logical(scope, query.clone(), &types, &given).await?;
    if let Some(inferred) = infer(&plan, &types)? {
        types = inferred;
        plan = logical(scope, query.clone(), &types, &given).await?;
    }
    let types = types.into_iter().map(|ty| ty.unwrap_or(SqlType::Text)).collect();
    let mut query = finish(scope, &query, plan, types)?;
    origin::find(scope.context, &mut query).await;
    Ok(query)
}

/// Rewriting stops at what it cannot read, and knows no places: what PostgreSQL would have found before.
async fn first_mistake(scope: &Scope<'_>, query: &Query, error: Error) -> Error {
    match load(scope, query).await {
        Ok(relations) => checks::query(scope.context, &relations, query, scope.stored_in, &[], scope.text)
            .err()
            .unwrap_or(error),
        Err(_) => error,
    }
}

/// The same query with `char(n)` columns filled with blanks, as a client sees them.
pub(crate) fn shown(query: QueryPlan) -> Result<QueryPlan> {
    let fixed = |column: &OutputColumn| matches!(column.ty, SqlType::Char(length) if length > 1);
    if !query.columns.iter().any(fixed) {
        return Ok(query);
    }
    let given: Vec<_> = query.logical.schema().iter().map(Column::from).collect();
    let projected: Vec<Expr> = given
        .into_iter()
        .zip(&query.columns)
        .map(|(column, shown)| match shown.ty {
            SqlType::Char(length) if length > 1 => {
                let (relation, name) = (column.relation.clone(), column.name.clone());
                padded(Expr::Column(column), length).alias_qualified(relation, name)
            }
            _ => Expr::Column(column),
        })
        .collect();
    let logical = LogicalPlanBuilder::from(query.logical).project(projected)?.build()?;
    Ok(QueryPlan {
        logical,
        generic: Generic::default(),
        ..query
    })
}

/// Analyses a plan and describes what it yields.
fn finish(scope: &Scope<'_>, query: &Query, plan: LogicalPlan, parameters: Vec<SqlType>) -> Result<QueryPlan> {
    let told = |error| located(Error::from_planning(error, scope.text), query, scope.text);
    let analysed = rules::analyse(scope.context, plan).map_err(told)?;
    grouped::check_outer_columns(&analysed, query, scope.text)?;
    let columns = output_columns(&analysed);
    Ok(QueryPlan {
        logical: analysed,
        parameters,
        columns,
        generic: Generic::default(),
    })
}

/// The plan before analysis. `given` are those types of parameters that were not inferred.
pub(crate) async fn logical(
    scope: &Scope<'_>,
    query: Query,
    parameters: &[Option<SqlType>],
    given: &[Option<SqlType>],
) -> Result<LogicalPlan> {
    supervision::check()?;
    plan_size::check_names(&query)?;
    let mut query = query;
    rewrite::all_fields::of_tables(&mut query);
    let asked = version::take(&mut query)?;
    let functions = function::take(&mut query)?;
    populate::name_columns(scope, &mut query).await?;
    let (mut first, versions) = rewritten(scope, &query, false)?;
    // Only now are names of sequences without a cast to `regclass`.
    if rewrite::asks_catalog(scope.context, &first) {
        scope.context.load_catalog().await?;
    }
    let loaded = load(scope, &first).await;
    let mut relations = loaded.map_err(|error| with_hidden(error, &query))?;
    version::load(scope, &asked, &versions, &mut relations).await?;
    function::load(scope, functions, &mut relations).await?;
    let readings = checks::query(scope.context, &relations, &query, scope.stored_in, given, scope.text)?;
    if rewrite::joins::any(&query) {
        rewrite::joins::query(&mut query, &|name| relations.columns(name))?;
        first = rewritten(scope, &query, false)?.0;
    }
    readings.apply(&mut first);
    let provider = Provider::new(scope.context, relations);
    let outcome = match to_plan(scope.context, &provider, first, parameters) {
        Err(error) if is_name_collision(&error) => {
            let (mut second, _) = rewritten(scope, &query, true)?;
            readings.apply(&mut second);
            to_plan(scope.context, &provider, second, parameters).map_err(|_| error)
        }
        outcome => outcome,
    };
    let plan = outcome.map_err(|error| {
        let error = located(Error::from_planning(error, scope.text), &query, scope.text);
        with_hidden(error, &query)
    })?;
    plan_size::check(&plan)?;
    Ok(plan)
}

/// A relation that is missing may be a name of WITH that comes later.
fn with_hidden(error: Error, query: &Query) -> Error {
    struct Find<'a>(&'a str);
    impl Visitor for Find<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let mut names = query.with.iter().flat_map(|with| &with.cte_tables);
            match names.any(|cte| fold(&cte.alias.name) == self.0) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    let name = error.message().split('"').nth(1).unwrap_or_default().to_owned();
    if error.kind() != ErrorKind::UndefinedTable || query.visit(&mut Find(&name)).is_continue() {
        return error;
    }
    error
        .with_detail(format!(
            "There is a WITH item named \"{name}\", but it cannot be referenced from this part of the query."
        ))
        .with_hint("Use WITH RECURSIVE, or re-order the WITH items to remove forward references.")
}

/// A copy made ready for DataFusion, and the older states of tables it reads. `unique`: every output column gets a name of its own.
fn rewritten(scope: &Scope<'_>, query: &Query, unique: bool) -> Result<(Query, Vec<(usize, ObjectName)>)> {
    let mut query = query.clone();
    rewrite::query(scope.context, &mut query, unique)?;
    let versions = version::name(&mut query);
    Ok((query, versions))
}

/// A query over given relations only, analysed.
pub(crate) fn over(scope: &Scope<'_>, query: &Query, relations: Relations) -> Result<LogicalPlan> {
    let mut query = query.clone();
    rewrite::query(scope.context, &mut query, false)?;
    let provider = Provider::new(scope.context, relations);
    let failed = |error| Error::from_planning(error, scope.text);
    let plan = to_plan(scope.context, &provider, query, &[]).map_err(failed)?;
    rules::analyse(scope.context, plan).map_err(failed)
}

fn to_plan(
    context: &PlanContext,
    provider: &Provider<'_>,
    query: Query,
    parameters: &[Option<SqlType>],
) -> Result<LogicalPlan, DataFusionError> {
    let options = ParserOptions::from(&context.session.config_options().sql_parser);
    let fields: Vec<Option<FieldRef>> = parameters
        .iter()
        .enumerate()
        .map(|(index, ty)| {
            let ty = ty.as_ref()?;
            Some(Arc::new(arrow_field(
                format!("${}", index + 1),
                ty,
                true,
                &context.time_zone,
            )))
        })
        .collect();
    let mut planner = PlannerContext::new().with_prepare_param_data_types(fields);
    SqlToRel::new_with_options(provider, options)
        .sql_statement_to_plan_with_context(Statement::Query(Box::new(query)), &mut planner)
}

fn is_name_collision(error: &DataFusionError) -> bool {
    use datafusion::common::SchemaError;
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) => matches!(
            inner.as_ref(),
            SchemaError::DuplicateUnqualifiedField { .. }
                | SchemaError::DuplicateQualifiedField { .. }
                // `coalesce(l.id, r.id) as id, l.id`
                | SchemaError::AmbiguousReference { .. }
        ),
        DataFusionError::Plan(message) => message.contains("require unique expression names"),
        _ => false,
    }
}

/// Puts a position to an error that names a function or column but not its place.
fn located(error: Error, query: &Query, text: &str) -> Error {
    if error.position().is_some() {
        return error;
    }
    if error.message().starts_with("arguments to GROUPING") {
        return grouped::at_argument(error, query, text);
    }
    let wanted = match error.kind() {
        ErrorKind::UndefinedFunction => error
            .message()
            .strip_prefix("function ")
            .and_then(|rest| rest.split(' ').next()),
        ErrorKind::UndefinedColumn | ErrorKind::GroupingError | ErrorKind::AmbiguousColumn => {
            error.message().split('"').nth(1)
        }
        ErrorKind::UndefinedTable => error.message().split('"').nth(1),
        _ => None,
    };
    let wanted = wanted.map(|name| name.rsplit('.').next().unwrap_or(name).to_string());
    let found = wanted.and_then(|name| place::find(query, &name, text));
    match found.or_else(|| star(query, text).filter(|_| error.kind() == ErrorKind::GroupingError)) {
        Some(position) => error.with_position(position),
        None => error,
    }
}

/// Where `*` stands in the select list.
fn star(query: &Query, text: &str) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    select.projection.iter().find_map(|item| match item {
        SelectItem::Wildcard(options) => position_of(text, options.wildcard_token.0.span.start),
        _ => None,
    })
}

mod grouped {
    //! Mistakes around GROUP BY whose places only the query tells.

    use std::ops::ControlFlow;

    use datafusion::common::Column;
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    use datafusion::logical_expr::{Aggregate, Expr as Logical, LogicalPlan};
    use datafusion::sql::sqlparser::ast::{
        Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, Visit, Visitor,
    };

    use super::place;
    use crate::checks;
    use crate::error::{Error, ErrorKind, Result};
    use crate::rewrite::strip_marker;

    /// The error at the first argument of `GROUPING(…)`.
    pub(super) fn at_argument(error: Error, query: &Query, text: &str) -> Error {
        struct Find;
        impl Visitor for Find {
            type Break = Expr;
            fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Expr> {
                match expression {
                    Expr::Function(Function {
                        name,
                        args: FunctionArguments::List(list),
                        ..
                    }) if name.to_string().eq_ignore_ascii_case("grouping") => match list.args.first() {
                        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) => {
                            ControlFlow::Break(argument.clone())
                        }
                        _ => ControlFlow::Continue(()),
                    },
                    _ => ControlFlow::Continue(()),
                }
            }
        }
        match query.visit(&mut Find) {
            ControlFlow::Break(argument) => checks::at(error, Some(&argument), text),
            ControlFlow::Continue(()) => error,
        }
    }

    /// Subqueries above groups name of a query around only what the groups have.
    pub(super) fn check_outer_columns(plan: &LogicalPlan, query: &Query, text: &str) -> Result<()> {
        plan.apply(|node| {
            let groups = match node {
                LogicalPlan::Projection(projection) => groups_below(&projection.input),
                LogicalPlan::Filter(filter) => groups_below(&filter.input),
                _ => None,
            };
            let Some(groups) = groups else {
                return Ok(TreeNodeRecursion::Continue);
            };
            for expression in node.expressions() {
                expression.apply(|inner| match missing_outer_column(inner, groups) {
                    Some(column) => Err(ungrouped(&column, query, text).into()),
                    None => Ok(TreeNodeRecursion::Continue),
                })?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    /// The aggregation whose groups a node reads.
    fn groups_below(input: &LogicalPlan) -> Option<&Aggregate> {
        match input {
            LogicalPlan::Aggregate(groups) => Some(groups),
            LogicalPlan::Filter(filter) => groups_below(&filter.input),
            _ => None,
        }
    }

    /// The column of the grouped rows that a subquery names, and that the groups do not have.
    fn missing_outer_column(expression: &Logical, groups: &Aggregate) -> Option<Column> {
        let subquery = match expression {
            Logical::ScalarSubquery(subquery) => subquery,
            Logical::Exists(exists) => &exists.subquery,
            Logical::InSubquery(within) => &within.subquery,
            _ => return None,
        };
        let is_lost = |column: &Column| !groups.schema.has_column(column) && groups.input.schema().has_column(column);
        let mut missing = subquery.outer_ref_columns.iter().filter_map(|outer| match outer {
            Logical::OuterReferenceColumn(_, column) if is_lost(column) => Some(column.clone()),
            _ => None,
        });
        missing.next()
    }

    fn ungrouped(column: &Column, query: &Query, text: &str) -> Error {
        struct Find<'a> {
            column: &'a str,
            text: &'a str,
        }
        impl Visitor for Find<'_> {
            type Break = usize;
            fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<usize> {
                let mut inner = Subqueries(Vec::new());
                let _ = select.projection.visit(&mut inner);
                let _ = select.having.visit(&mut inner);
                let mut found = inner
                    .0
                    .iter()
                    .filter_map(|query| place::find(query, self.column, self.text));
                found.next().map_or(ControlFlow::Continue(()), ControlFlow::Break)
            }
        }
        let name = strip_marker(&column.name);
        let shown = match &column.relation {
            Some(relation) => format!("{}.{name}", relation.table()),
            None => name.to_string(),
        };
        let message = format!("subquery uses ungrouped column \"{shown}\" from outer query");
        let error = Error::new(ErrorKind::GroupingError, message);
        match query.visit(&mut Find { column: name, text }) {
            ControlFlow::Break(position) => error.with_position(position),
            ControlFlow::Continue(()) => error,
        }
    }

    /// The subqueries of a select list.
    struct Subqueries(Vec<Query>);

    impl Visitor for Subqueries {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.0.push(query.clone());
            ControlFlow::Continue(())
        }
    }
}

mod place {
    //! Where a name first stands in a query.

    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, Visitor};

    use crate::parse::position_of;
    use crate::resolve::fold;
    use crate::walk::Visit;

    pub(super) fn find(query: &Query, name: &str, text: &str) -> Option<usize> {
        struct Find<'a> {
            name: &'a str,
            text: &'a str,
        }
        impl Find<'_> {
            fn check(&self, ident: &Ident, start: &Ident) -> ControlFlow<usize> {
                if fold(ident) == self.name
                    && let Some(position) = position_of(self.text, start.span.start)
                {
                    return ControlFlow::Break(position);
                }
                ControlFlow::Continue(())
            }
        }
        impl Visitor for Find<'_> {
            type Break = usize;
            fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<usize> {
                match expression {
                    Expr::Identifier(ident) => self.check(ident, ident),
                    Expr::CompoundIdentifier(parts) => match (parts.first(), parts.last()) {
                        (Some(first), Some(last)) => {
                            self.check(last, first)?;
                            self.check(first, first)
                        }
                        _ => ControlFlow::Continue(()),
                    },
                    Expr::Function(function) => {
                        let first = function.name.0.first().and_then(|part| part.as_ident());
                        let last = function.name.0.last().and_then(|part| part.as_ident());
                        match (first, last) {
                            (Some(first), Some(last)) => self.check(last, first),
                            _ => ControlFlow::Continue(()),
                        }
                    }
                    _ => ControlFlow::Continue(()),
                }
            }
        }
        match query.visit(&mut Find { name, text }) {
            ControlFlow::Break(position) => Some(position),
            ControlFlow::Continue(()) => None,
        }
    }
}

/// The first list, with the gaps filled from the second.
fn merged(declared: &[Option<SqlType>], found: Vec<Option<SqlType>>) -> Vec<Option<SqlType>> {
    let mut types = declared.to_vec();
    types.resize(types.len().max(found.len()), None);
    for (ty, found) in types.iter_mut().zip(found) {
        if matches!(ty, None | Some(SqlType::Unknown)) {
            *ty = found;
        }
    }
    types
}

/// Types for all parameters of a plan; `None` when all were known before.
fn infer(plan: &LogicalPlan, known: &[Option<SqlType>]) -> Result<Option<Vec<Option<SqlType>>>> {
    let fields = plan.get_parameter_fields()?;
    let beside_arrays = match fields.values().any(Option::is_none) {
        true => quantified::parameter_types(plan)?,
        false => Vec::new(),
    };
    let mut types = known.to_vec();
    let mut changed = false;
    for (name, field) in fields {
        let Some(index) = name
            .strip_prefix('$')
            .and_then(|n| n.parse::<usize>().ok())
            .and_then(|n| n.checked_sub(1))
        else {
            return Err(Error::new(
                ErrorKind::UndefinedParameter,
                format!("there is no parameter {name}"),
            ));
        };
        if index >= PARAMETERS_MAX {
            return Err(Error::new(
                ErrorKind::UndefinedParameter,
                format!("there is no parameter {name}"),
            ));
        }
        if types.len() <= index {
            types.resize(index + 1, None);
        }
        if matches!(types[index], None | Some(SqlType::Unknown)) {
            let beside_array = beside_arrays.iter().find(|(known, _)| *known == name);
            types[index] = Some(match (field, beside_array) {
                (Some(field), _) => parameter_type(&sql_type(&field)),
                (None, Some((_, ty))) => ty.clone(),
                (None, None) => SqlType::Text,
            });
            changed = true;
        }
    }
    Ok(changed.then_some(types))
}

/// The type a parameter gets when it is compared with a column of this type. Modifiers are not taken over: a value that
/// does not fit `numeric(15,2)` or `varchar(3)` must compare as different, not be rounded or refused.
fn parameter_type(column: &SqlType) -> SqlType {
    match column {
        SqlType::Numeric { .. } => BARE_NUMERIC,
        SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Unknown => SqlType::Text,
        other => other.plain().clone(),
    }
}

fn output_columns(plan: &LogicalPlan) -> Vec<OutputColumn> {
    let casts = casts_to_text(plan);
    let types = shown::column_types(plan).into_iter().enumerate();
    types
        .map(|(index, ty)| OutputColumn {
            name: shown_name(plan.schema(), index).to_string(),
            ty: casts.get(&index).cloned().unwrap_or(ty),
            origin: None,
        })
        .collect()
}

/// DataFusion numbers the columns of one name that a subquery in FROM has: the second `a` is `a:1`.
fn shown_name(schema: &DFSchema, index: usize) -> &str {
    let name = strip_marker(schema.field(index).name());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = name.rsplit_once(':').filter(|(_, number)| is_number(number));
    let mut before = schema.fields().iter().take(index);
    match numbered {
        Some((name, _)) if before.any(|field| strip_marker(field.name()) == name) => name,
        _ => name,
    }
}

/// The columns that are casts to `text` and `text[]`, whose fields say what was cast: DataFusion keeps that.
fn casts_to_text(plan: &LogicalPlan) -> HashMap<usize, SqlType> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let below = LazyCell::new(|| casts_to_text(&projection.input));
            let text = |(index, expression): (usize, &Expr)| match unaliased(expression) {
                Expr::Column(column) => {
                    let place = projection.input.schema().maybe_index_of_column(column)?;
                    Some((index, below.get(&place)?.clone()))
                }
                Expr::Cast(cast) => match sql_type(&cast.field) {
                    SqlType::Text if cast.field.data_type() == &DataType::Utf8View => Some((index, SqlType::Text)),
                    SqlType::Array(element) if *element == SqlType::Text => Some((index, SqlType::Array(element))),
                    _ => None,
                },
                _ => None,
            };
            projection.expr.iter().enumerate().filter_map(text).collect()
        }
        LogicalPlan::Sort(sort) => casts_to_text(&sort.input),
        LogicalPlan::Limit(limit) => casts_to_text(&limit.input),
        LogicalPlan::Filter(filter) => casts_to_text(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => casts_to_text(&alias.input),
        LogicalPlan::Distinct(Distinct::All(input)) => casts_to_text(input),
        // The first side decides.
        LogicalPlan::Union(union) => union
            .inputs
            .first()
            .map(|first| casts_to_text(first))
            .unwrap_or_default(),
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            let mut casts = casts_to_text(&join.left);
            if left + join.right.schema().fields().len() == join.schema.fields().len() {
                let right = casts_to_text(&join.right).into_iter();
                casts.extend(right.map(|(index, ty)| (left + index, ty)));
            }
            casts
        }
        _ => HashMap::new(),
    }
}

pub(super) fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
