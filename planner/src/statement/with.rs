//! What stands in `WITH` and must run once, before the main statement: INSERT, UPDATE and DELETE. What each returns is a
//! relation.
//!
//! ```text
//! with d as (delete from a where … returning *), s as (select * from d where …) insert into b select * from s
//!
//! part   delete from a where … returning *
//! main   with d as (select * from "\u{1}with0"), s as (…) insert into b select * from s
//! ```
//!
//! So is a query of the list that is read more than once and gives other rows each time: `with r as (select random())`. Before a
//! query that reads it, and nothing else, it is a part of that query's plan instead (`shared.rs`).
//!
//! All of them are planned before the first runs, and a plan reads the tables as they were when it was made: so all see the
//! same state, and of each other only what is returned.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Cte, Expr, Ident, ObjectName, ObjectNamePart, Query, SetExpr, Statement, TableFactor, Visitor, With,
};
use staffa_catalog::{SqlType, Table};

use crate::error::{Error, ErrorKind, Result};
use crate::generic::Generic;
use crate::parse::{Ast, MergeAction, overriding_of, position_of};
use crate::plan::of_ast;
use crate::resolve::fold;
use crate::rewrite::{MARKER, parameter_index, strip_marker};
use crate::statement::change::{body, template};
use crate::statement::query::{self, Overriding, Scope};
use crate::statement::{ChangeKind, ChangePlan, InsertPlan, Plan, QueryPlan};
use crate::stored::has_volatile;
use crate::walk::Visit;

/// What the relations of returned rows are called, before their number.
const RETURNED: &str = "\u{1}with";

/// A statement with others in its `WITH`.
#[derive(Clone, Debug)]
pub struct WithPlan {
    /// In the order they are to run in.
    pub parts: Vec<WithPart>,
    /// Reads the rows the parts return.
    pub main: Box<Plan>,
    pub(super) parameters: Vec<SqlType>,
}

/// One of `WITH`: INSERT, UPDATE, DELETE, or a query.
#[derive(Clone, Debug)]
pub struct WithPart {
    pub plan: Plan,
    /// The rows it returns, as others read them; `None`: it returns none.
    returned: Option<Returned>,
}

/// The relation of what a part returns.
#[derive(Clone, Debug)]
struct Returned {
    name: String,
    schema: SchemaRef,
}

/// The rows of a part that has run.
#[derive(Clone, Debug)]
pub struct ReturnedRows {
    name: String,
    table: Arc<MemTable>,
}

impl WithPart {
    /// The rows it returned as a relation for those that come after it.
    pub fn rows(&self, batches: Vec<RecordBatch>) -> Result<Option<ReturnedRows>> {
        let Some(Returned { name, schema }) = &self.returned else {
            return Ok(None);
        };
        let fitted = |batch: RecordBatch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => cast(column, field.data_type()),
            });
            RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
        };
        let batches = batches.into_iter().map(fitted).collect::<Result<_, _>>()?;
        let table = MemTable::try_new(Arc::clone(schema), vec![batches])?;
        Ok(Some(ReturnedRows {
            name: name.clone(),
            table: Arc::new(table),
        }))
    }
}

/// A plan of a part or the main statement with the rows that were returned before it.
pub fn with_returned(plan: &Plan, returned: &[ReturnedRows]) -> Result<Plan> {
    let mut plan = plan.clone();
    for query in queries(&mut plan) {
        let logical = query.logical.clone().transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(mut scan) => match returned.iter().find(|rows| rows.name == scan.table_name.table())
            {
                Some(rows) => {
                    scan.source = provider_as_source(Arc::clone(&rows.table) as _);
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                None => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            },
            other => Ok(Transformed::no(other)),
        })?;
        query.logical = logical.data;
        // Another run has other rows.
        query.generic = Generic::default();
    }
    Ok(plan)
}

fn queries(plan: &mut Plan) -> Vec<&mut QueryPlan> {
    match plan {
        Plan::Query(query) => vec![query],
        Plan::Insert(InsertPlan { source, returning, .. }) | Plan::Change(ChangePlan { source, returning, .. }) => {
            let returning = returning.as_mut().map(|returning| &mut returning.query);
            std::iter::once(source).chain(returning).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether one of a query's list changes rows.
pub(crate) fn in_query(query: &Query) -> bool {
    query.with.as_ref().is_some_and(has_changes)
}

fn has_changes(with: &With) -> bool {
    with.cte_tables.iter().any(|cte| is_change(&cte.query))
}

fn is_change(query: &Query) -> bool {
    use SetExpr::{Delete, Insert, Merge, Update};
    matches!(query.body.as_ref(), Insert(_) | Update(_) | Delete(_) | Merge(_))
}

/// Refuses a query of another statement with such a list.
pub(crate) fn refuse(query: &Query, statement: &str) -> Result<()> {
    match in_query(query) {
        false => Ok(()),
        true => {
            let message = format!("a data-modifying statement in WITH is not supported in {statement}");
            Err(Error::unsupported(message))
        }
    }
}

/// Plans `main`, which stands behind `with`; a query has no list of its own. `None`: nothing in the list must run before it.
pub(crate) async fn plan(
    scope: &Scope<'_>,
    with: &With,
    main: &Ast,
    declared: &[Option<SqlType>],
) -> Result<Option<Plan>> {
    // What a query reads twice is computed once as a part of its plan.
    if matches!(main, Ast::Query(_)) && !has_changes(with) {
        return Ok(None);
    }
    let kept = kept(scope, with, main);
    if kept.is_empty() {
        return Ok(None);
    }
    check_names(scope, with, main)?;
    let (mut plan, mut types) = planned(scope, with, main, &kept, declared).await?;
    if !types.is_empty() {
        // Every part must know the types that only a later one tells.
        let known: Vec<_> = types.iter().cloned().map(Some).collect();
        (plan, types) = planned(scope, with, main, &kept, &known).await?;
    }
    let parts = plan.parts.iter_mut().map(|part| &mut part.plan);
    for query in parts.chain([plan.main.as_mut()]).flat_map(queries) {
        query.parameters.clone_from(&types);
    }
    plan.parameters = types;
    check_targets(&plan)?;
    Ok(Some(Plan::With(plan)))
}

/// The plan, and the types of all parameters as far as the parts up to each tell.
async fn planned(
    scope: &Scope<'_>,
    with: &With,
    main: &Ast,
    kept: &BTreeSet<usize>,
    declared: &[Option<SqlType>],
) -> Result<(WithPlan, Vec<SqlType>)> {
    let mut types = declared.to_vec();
    let mut parts = Vec::new();
    let mut readable = Vec::with_capacity(with.cte_tables.len());
    let mut inner = scope.copied();
    for (index, cte) in with.cte_tables.iter().enumerate() {
        if !kept.contains(&index) {
            readable.push(cte.clone());
            continue;
        }
        let plan = match is_change(&cte.query) {
            true => {
                let list = before(with, &readable, cte.query.with.as_ref());
                let part = Scope {
                    with: (!list.cte_tables.is_empty()).then_some(&list),
                    ..inner.copied()
                };
                of_ast(&part, &statement_of(cte, scope.text)?, &types).await?
            }
            false => {
                let mut all = reading(cte, cte.alias.name.clone())?.query;
                readable.push(cte.clone());
                all.with = Some(before(with, &readable, None));
                readable.pop();
                Plan::Query(query::plan(&inner, &all, &types).await?)
            }
        };
        note_types(&mut types, plan.parameters(), |index| {
            names_parameter(&cte.query, index)
        });
        let returned = returned_by(&plan, parts.len())?;
        if let Some(returned) = &returned {
            let source = provider_as_source(Arc::new(EmptyTable::new(Arc::clone(&returned.schema))));
            inner.returned.push((returned.name.clone(), source));
            readable.push(reading(cte, Ident::with_quote('"', &returned.name))?);
        }
        parts.push(WithPart { plan, returned });
    }
    let list = before(with, &readable, None);
    let main = match main {
        Ast::Query(query) => {
            let mut query = query.clone();
            query.with = (!list.cte_tables.is_empty()).then_some(list);
            of_ast(&inner, &Ast::Query(query), &types).await?
        }
        statement => {
            let inner = Scope {
                with: (!list.cte_tables.is_empty()).then_some(&list),
                ..inner.copied()
            };
            of_ast(&inner, statement, &types).await?
        }
    };
    note_types(&mut types, main.parameters(), |_| true);
    let types = types.into_iter().map(|ty| ty.unwrap_or(SqlType::Text)).collect();
    let plan = WithPlan {
        parts,
        main: Box::new(main),
        parameters: Vec::new(),
    };
    Ok((plan, types))
}

/// What can be read behind a list: a name of its own hides one before it.
fn before(with: &With, readable: &[Cte], own: Option<&With>) -> With {
    let own = own.iter().flat_map(|own| own.cte_tables.iter());
    let own: Vec<Cte> = own.cloned().collect();
    let is_hidden = |cte: &&Cte| own.iter().any(|inner| fold(&inner.alias.name) == fold(&cte.alias.name));
    let outer = readable.iter().filter(|cte| !is_hidden(cte)).cloned();
    With {
        with_token: with.with_token.clone(),
        recursive: with.recursive,
        cte_tables: outer.chain(own.iter().cloned()).collect(),
    }
}

fn statement_of(cte: &Cte, text: &str) -> Result<Ast> {
    if in_query(&cte.query) {
        return Err(located(not_at_top_level(), &cte.alias.name, text));
    }
    match cte.query.body.as_ref() {
        SetExpr::Insert(Statement::Insert(insert)) => {
            let mut insert = insert.clone();
            Ok(match overriding_of(&mut insert) {
                Overriding::None => Ast::Insert(Box::new(insert)),
                overriding => Ast::Overriding(Box::new(insert), overriding),
            })
        }
        SetExpr::Update(Statement::Update(update)) => Ok(Ast::Update(Box::new(update.clone()))),
        SetExpr::Delete(Statement::Delete(delete)) => Ok(Ast::Delete(Box::new(delete.clone()))),
        _ => {
            let error = Error::unsupported("MERGE not supported in WITH query");
            Err(located(error, &cte.alias.name, text))
        }
    }
}

pub(crate) fn not_at_top_level() -> Error {
    Error::unsupported("WITH clause containing a data-modifying statement must be at the top level")
}

fn located(error: Error, name: &Ident, text: &str) -> Error {
    match position_of(text, name.span.start) {
        Some(position) => error.with_position(position),
        None => error,
    }
}

/// `name AS (SELECT * FROM other)`
fn reading(cte: &Cte, other: Ident) -> Result<Cte> {
    let mut query = template()?;
    let select = body(&mut query)?;
    select.projection = vec![datafusion::sql::sqlparser::ast::SelectItem::Wildcard(Default::default())];
    if let Some(TableFactor::Table { name, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
        *name = ObjectName(vec![ObjectNamePart::Identifier(other)]);
    }
    Ok(Cte {
        query: Box::new(query),
        ..cte.clone()
    })
}

fn returned_by(plan: &Plan, number: usize) -> Result<Option<Returned>> {
    let query = match plan {
        Plan::Query(query) => query,
        Plan::Insert(InsertPlan { returning, .. }) | Plan::Change(ChangePlan { returning, .. }) => match returning {
            Some(returning) => &returning.query,
            None => return Ok(None),
        },
        _ => return Err(Error::internal("a statement in WITH that is none")),
    };
    let given = query.logical.schema().fields();
    let shown = |field: &Arc<Field>| strip_marker(field.name()).to_string();
    let named = given.iter().enumerate().map(|(index, field)| {
        // `t.a, u.a` are two columns of one name: nobody can ask for one of them by it.
        let is_one = given.iter().filter(|other| shown(other) == shown(field)).count() == 1;
        let name = match is_one {
            true => shown(field),
            false => format!("{}{MARKER}{index}", shown(field)),
        };
        field.as_ref().clone().with_name(name).with_nullable(true)
    });
    let fields: Vec<Field> = named.collect();
    Ok(Some(Returned {
        name: format!("{RETURNED}{number}"),
        schema: Arc::new(Schema::new(fields)),
    }))
}

/// Fills gaps with the types a part found for the parameters it names.
fn note_types(types: &mut Vec<Option<SqlType>>, found: &[SqlType], is_named: impl Fn(usize) -> bool) {
    types.resize(types.len().max(found.len()), None);
    for (index, (known, found)) in types.iter_mut().zip(found).enumerate() {
        if matches!(known, None | Some(SqlType::Unknown)) && is_named(index) {
            *known = Some(found.clone());
        }
    }
}

fn names_parameter(query: &Query, index: usize) -> bool {
    struct Find(usize);
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match parameter_index(expression) == Some(self.0) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Find(index)).is_break()
}

/// What stands behind a list names only what is there: a part without RETURNING, and itself, is not.
fn check_names(scope: &Scope<'_>, with: &With, main: &Ast) -> Result<()> {
    for (index, cte) in with.cte_tables.iter().enumerate() {
        let own = fold(&cte.alias.name);
        let is_own = |name: &Ident| fold(name) == own;
        if !is_change(&cte.query) {
            continue;
        }
        if with.recursive && read_by_cte(cte).iter().any(is_own) {
            let message = format!("recursive query \"{own}\" must not contain data-modifying statements");
            let error = Error::new(ErrorKind::InvalidRecursion, message);
            return Err(located(error, &cte.alias.name, scope.text));
        }
        if returns(&cte.query) {
            continue;
        }
        let later = with.cte_tables[index + 1..].iter().flat_map(read_by_cte);
        if let Some(name) = later.chain(read_by(main)).find(is_own) {
            let error = Error::unsupported(format!("WITH query \"{own}\" does not have a RETURNING clause"));
            return Err(located(error, &name, scope.text));
        }
    }
    Ok(())
}

fn returns(query: &Query) -> bool {
    match query.body.as_ref() {
        SetExpr::Insert(Statement::Insert(insert)) => insert.returning.is_some(),
        SetExpr::Update(Statement::Update(update)) => update.returning.is_some(),
        SetExpr::Delete(Statement::Delete(delete)) => delete.returning.is_some(),
        // MERGE is refused by its own name.
        _ => true,
    }
}

/// Which of the list must run by themselves: those that change rows, and queries that would give each of their readers other
/// rows.
fn kept(scope: &Scope<'_>, with: &With, main: &Ast) -> BTreeSet<usize> {
    let mut kept = BTreeSet::new();
    let mut volatile: BTreeSet<String> = BTreeSet::new();
    for (index, cte) in with.cte_tables.iter().enumerate() {
        if is_change(&cte.query) {
            kept.insert(index);
            continue;
        }
        let reads_volatile = || read_by_cte(cte).iter().any(|name| volatile.contains(&fold(name)));
        if !has_volatile(scope.context, cte.query.as_ref()) && !reads_volatile() {
            continue;
        }
        let own = fold(&cte.alias.name);
        let later = with.cte_tables[index + 1..].iter().flat_map(read_by_cte);
        if later.chain(read_by(main)).filter(|name| fold(name) == own).count() > 1 {
            kept.insert(index);
        } else {
            volatile.insert(own);
        }
    }
    kept
}

/// The names a query of the list reads from: the target of a statement is none of them.
fn read_by_cte(cte: &Cte) -> Vec<Ident> {
    let mut names = names_in(&cte.query.with);
    names.extend(match cte.query.body.as_ref() {
        SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
            without_target(statement)
        }
        SetExpr::Merge(_) => Vec::new(),
        _ => names_in(cte.query.as_ref()),
    });
    names
}

fn read_by(main: &Ast) -> Vec<Ident> {
    match main {
        Ast::Query(query) => names_in(query.as_ref()),
        Ast::Insert(insert) | Ast::Overriding(insert, _) => without_target(insert.as_ref()),
        Ast::Update(update) => without_target(update.as_ref()),
        Ast::Delete(delete) => without_target(delete.as_ref()),
        Ast::Merge(merge) => {
            let mut names = names_in(&merge.source);
            names.extend(names_in(&merge.on));
            names.extend(names_in(&merge.returning));
            for clause in &merge.clauses {
                names.extend(names_in(&clause.condition));
                names.extend(match &clause.action {
                    MergeAction::Update(assignments) => names_in(assignments),
                    MergeAction::Insert { values, .. } => names_in(values),
                    MergeAction::Nothing | MergeAction::Delete => Vec::new(),
                });
            }
            names
        }
        _ => Vec::new(),
    }
}

/// The target of INSERT, UPDATE and DELETE is the first relation they name.
fn without_target(statement: &impl Visit) -> Vec<Ident> {
    let mut places = Names::default();
    let _ = statement.visit(&mut places);
    places.0.into_iter().skip(1).flatten().collect()
}

/// Names without a schema in places of relations.
fn names_in(tree: &impl Visit) -> Vec<Ident> {
    let mut places = Names::default();
    let _ = tree.visit(&mut places);
    places.0.into_iter().flatten().collect()
}

#[derive(Default)]
struct Names(Vec<Option<Ident>>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.0.push(match relation.0.as_slice() {
            [part] => part.as_ident().cloned(),
            _ => None,
        });
        ControlFlow::Continue(())
    }
}

/// Two changes of one table could be about the same row, and what comes of that is anybody's guess: only new rows may come
/// beside one change.
fn check_targets(plan: &WithPlan) -> Result<()> {
    let parts = plan.parts.iter().map(|part| &part.plan);
    let targets: Vec<(&Arc<Table>, Writes)> = parts.chain([plan.main.as_ref()]).filter_map(target).collect();
    for (index, (table, writes)) in targets.iter().enumerate() {
        let mut others = targets[..index]
            .iter()
            .filter(|(other, _)| other.uuid() == table.uuid());
        let collides = |(_, other): &(_, Writes)| match (*other, *writes) {
            (Writes::Alone, _) | (_, Writes::Alone) => true,
            (other, writes) => other == Writes::Changes && writes == Writes::Changes,
        };
        if others.any(collides) {
            let message = format!(
                "changing table \"{}\" twice in one statement is not supported",
                table.name().name
            );
            return Err(Error::unsupported(message)
                .with_hint("Beside an UPDATE, DELETE or MERGE of a table there can only be plain INSERTs into it."));
        }
    }
    Ok(())
}

/// What a statement does to a table's rows.
#[derive(Clone, Copy, PartialEq)]
enum Writes {
    Adds,
    Changes,
    /// Adds rows of keys that must not be there, or takes out whatever is in a partition when it comes to it.
    Alone,
}

fn target(plan: &Plan) -> Option<(&Arc<Table>, Writes)> {
    match plan {
        Plan::Insert(insert) if insert.overwrite => Some((&insert.table, Writes::Alone)),
        Plan::Insert(insert) => Some((&insert.table, Writes::Adds)),
        Plan::Change(change) if change.kind == ChangeKind::Upsert => Some((&change.table, Writes::Alone)),
        Plan::Change(change) => Some((&change.table, Writes::Changes)),
        _ => None,
    }
}
