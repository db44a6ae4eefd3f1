//! `INSERT … ON CONFLICT`: the rows to insert, each beside the row of the table that has its key.
//!
//! ```text
//! insert into t … on conflict (k) do update set a = e where c
//!
//! select t.file, t.position,
//!        case when t.position is null then 0 when c then 1 end as which,
//!        excluded.order, excluded.k, excluded.a, t.k, t.a,
//!        case which when 1 then e end
//! from (rows to insert, as they would be stored, in their order) as excluded left join t on excluded.k = t.k
//! ```
//!
//! Above it each column becomes `case which when 0 then excluded.a when 1 then cast(e as type of a) end`. The operator that
//! runs it (`row_changes.rs`) takes the rows in their order and sees to it that a key is inserted once.
//!
//! DO NOTHING joins once for each key, and has rows to insert only.

use datafusion::catalog::view::ViewTable;
use datafusion::datasource::provider_as_source;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Case, Expr as Logical, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::lit;
use datafusion::sql::sqlparser::ast::{
    Assignment, BinaryOperator, CaseWhen, ConflictTarget, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    ObjectNamePart, OnConflict, OnConflictAction, SelectItem, TableAlias, TableFactor, TableWithJoins,
};
use staffa_catalog::{Privileges, SqlType, Table};

use crate::authorize::Mentioned;
use crate::checks;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::{fold, shown};
use crate::row_changes::action;
use crate::statement::change::{
    Target, assignments, body, cast_to_column, computed, declared_by_targets, projected_plan, refuse_computed,
    target_relation, template,
};
use crate::statement::dml::literal_columns;
use crate::statement::merge::{case, guarded, number};
use crate::statement::query::Scope;
use crate::statement::{ChangeKind, ChangePlan, ConflictKeys, QueryPlan};
use crate::stored::has_volatile;
use crate::table_provider::ADDRESS_POSITION;
use crate::write::stored_rows;

/// The name the rows to insert are read under.
pub(crate) const PROPOSED: &str = "\u{1}proposed";
/// What the statement calls them.
const EXCLUDED: &str = "excluded";
/// Their number, in their order.
const ORDER: &str = "\u{1}order";

const INSERTS: usize = 0;
const UPDATES: usize = 1;
/// The row that is there is one that the role may not update: as an update it is an error.
const REFUSED: usize = 2;

/// The keys a conflict can be about, as positions of columns. None: nothing can conflict.
pub(super) fn arbiters(table: &Table, conflict: &OnConflict, text: &str) -> Result<Vec<Vec<usize>>> {
    let relation = &table.name().name;
    let index_of = |name: &String| table.schema().columns.iter().position(|column| column.name == *name);
    let positions = |columns: &[String]| columns.iter().map(index_of).collect::<Option<Vec<_>>>();
    let keys = table.declared_keys();
    let mut keys = keys.filter_map(|(name, columns)| Some((name, positions(&columns)?)));
    match &conflict.conflict_target {
        None if matches!(conflict.action, OnConflictAction::DoNothing) => Ok(keys.map(|(_, key)| key).collect()),
        None => {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            let error =
                Error::new(ErrorKind::SyntaxError, message).with_hint("For example, ON CONFLICT (column_name).");
            Err(checks::before_word(error, "conflict", text))
        }
        Some(ConflictTarget::Columns(named)) => {
            let mut wanted = Vec::with_capacity(named.len());
            for ident in named {
                let name = fold(ident);
                let index = index_of(&name).ok_or_else(|| {
                    let error = Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"));
                    checks::at_list(error, ident, text)
                })?;
                wanted.push(index);
            }
            wanted.sort_unstable();
            wanted.dedup();
            let is_wanted = |key: &Vec<usize>| {
                let mut key = key.clone();
                key.sort_unstable();
                key == wanted
            };
            match keys.map(|(_, key)| key).find(is_wanted) {
                Some(key) => Ok(vec![key]),
                None => Err(Error::new(
                    ErrorKind::InvalidColumnReference,
                    "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                )),
            }
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let name = shown(name);
            // An index alone is no constraint.
            let exists = table.constraints().iter().any(|constraint| constraint.name == name);
            if let Some((_, key)) = keys.find(|(known, _)| exists && *known == name) {
                return Ok(vec![key]);
            }
            Err(match exists {
                true => Error::new(
                    ErrorKind::WrongObjectType,
                    "constraint in ON CONFLICT clause has no associated index",
                ),
                false => Error::new(
                    ErrorKind::UndefinedObject,
                    format!("constraint \"{name}\" for table \"{relation}\" does not exist"),
                ),
            })
        }
    }
}

/// `source` are the rows to insert; `keys` are not empty.
pub(super) async fn upsert(
    scope: &Scope<'_>,
    mut target: Target,
    source: QueryPlan,
    keys: Vec<Vec<usize>>,
    conflict: &OnConflict,
    list: Option<&[SelectItem]>,
) -> Result<ChangePlan> {
    check(scope, &target, &keys, conflict)?;
    target.secure(scope, ChangeKind::Upsert, true).await?;
    let declared: Vec<_> = source.parameters.into_iter().map(Some).collect();
    let proposed = in_order(scope.context, &target.table, source.logical)?;
    let scope = &Scope {
        proposed: Some(provider_as_source(std::sync::Arc::new(ViewTable::new(proposed, None)))),
        ..scope.copied()
    };
    let mut planned = match &conflict.action {
        OnConflictAction::DoNothing => nothing(scope, &target, &keys, &declared).await?,
        OnConflictAction::DoUpdate(update) => {
            let selection = update.selection.as_ref();
            updates(scope, &target, &keys, &update.assignments, selection, &declared).await?
        }
    };
    Ok(ChangePlan {
        kind: ChangeKind::Upsert,
        everything: false,
        keys: Some(ConflictKeys {
            columns: keys,
            updates: matches!(conflict.action, OnConflictAction::DoUpdate(_)),
        }),
        returning: target.returning(scope, list, &[], &mut planned).await?,
        source: planned,
        table: target.table,
        files: target.files,
    })
}

/// What is found of a row that is there is read; what of it is set, is updated.
fn check(scope: &Scope<'_>, target: &Target, keys: &[Vec<usize>], conflict: &OnConflict) -> Result<()> {
    let (context, table) = (scope.context, &target.table);
    context.check_columns(table, keys.iter().flatten().copied(), Privileges::SELECT)?;
    let OnConflictAction::DoUpdate(update) = &conflict.action else {
        return Ok(());
    };
    let assigned = assignments(scope, table, &update.assignments)?;
    context.check_columns(table, assigned.iter().map(|(index, _)| *index), Privileges::UPDATE)?;
    let read = assigned
        .iter()
        .fold(Mentioned::default(), |read, (_, value)| read.add(value));
    context.check_mentioned(table, &target.alias, &read.add(&update.selection))
}

/// The rows as they would be stored, numbered.
fn in_order(context: &PlanContext, table: &Table, rows: LogicalPlan) -> Result<LogicalPlan> {
    let rows = stored_rows(context, table, rows)?;
    let numbered = LogicalPlanBuilder::from(rows).window(vec![row_number()])?.build()?;
    let mut columns = numbered.schema().columns();
    let order = columns.pop().ok_or_else(|| Error::internal("rows without numbers"))?;
    let row = columns.into_iter().zip(&table.schema().columns);
    let row = row.map(|(column, known)| Logical::Column(column).alias(&known.name));
    let all: Vec<Logical> = row.chain([Logical::Column(order).alias(ORDER)]).collect();
    Ok(LogicalPlanBuilder::from(numbered).project(all)?.build()?)
}

/// Whether each row is to be inserted: no row of the table has one of its keys.
async fn nothing(
    scope: &Scope<'_>,
    target: &Target,
    keys: &[Vec<usize>],
    declared: &[Option<SqlType>],
) -> Result<QueryPlan> {
    let aliases: Vec<Ident> = (0..keys.len())
        .map(|number| quoted(&format!("\u{1}{number}")))
        .collect();
    let free = aliases
        .iter()
        .map(|alias| Expr::IsNull(Box::new(column(alias, ADDRESS_POSITION))))
        .reduce(|left, right| both(left, BinaryOperator::And, right))
        .ok_or_else(|| Error::internal("a conflict without a key"))?;
    let which = case(None, vec![when(free, INSERTS)]);
    let first = &aliases[0];
    let mut items = target.address_of(first);
    items.push(computed(0, which));
    items.extend(proposed_columns(&target.table));
    let joins = aliases.iter().zip(keys);
    let joins = joins
        .map(|(alias, key)| join(target, alias, key))
        .collect::<Result<_>>()?;
    let source = planned(scope, target, items, joins, declared).await?;
    let given = source.logical.schema().columns();
    let which = &given[2];
    let mut projected: Vec<Logical> = given[..2].iter().cloned().map(Logical::Column).collect();
    let inserts = vec![(boxed(INSERTS), Box::new(lit(action::INSERT)))];
    projected.push(choice(which, inserts, lit(action::NOTHING)).alias("\u{1}action"));
    projected.extend(given[3..].iter().cloned().map(Logical::Column));
    projected_plan(scope.context, source, projected)
}

/// What becomes of each row: it is inserted, or its values are those of the updated row, or nothing is done.
async fn updates(
    scope: &Scope<'_>,
    target: &Target,
    keys: &[Vec<usize>],
    given: &[Assignment],
    selection: Option<&Expr>,
    declared: &[Option<SqlType>],
) -> Result<QueryPlan> {
    let table = &target.table;
    let assigned = assignments(scope, table, given)?;
    let declared = declared_by_targets(table, &assigned, declared);
    let position = target.position();
    let wanted = match selection {
        Some(condition) => Expr::Nested(Box::new(condition.clone())),
        None => Expr::IsNotNull(Box::new(position.clone())),
    };
    let mut whens = vec![when(Expr::IsNull(Box::new(position)), INSERTS)];
    // Before anything of the statement looks at a row that is hidden.
    whens.extend(target.refuses_update().map(|hidden| when(hidden, REFUSED)));
    whens.push(when(wanted, UPDATES));
    let which = case(None, whens);
    let mut items = target.address();
    items.push(computed(0, which.clone()));
    items.extend(proposed_columns(table));
    let first_own = items.len();
    items.extend(target.columns());
    let first_value = items.len();
    let guards = !has_volatile(scope.context, &which);
    for (number, (_, value)) in assigned.iter().enumerate() {
        let value = match guards {
            true => guarded(&which, UPDATES, value.clone()),
            false => value.clone(),
        };
        items.push(computed(1 + number, value));
    }
    let first_broken = items.len();
    items.extend(target.broken(ChangeKind::Upsert));
    let key = keys
        .first()
        .ok_or_else(|| Error::internal("a conflict without a key"))?;
    let joins = vec![join(target, &target.alias, key)?];
    let source = planned(scope, target, items, joins, &declared).await?;
    refuse_computed(&source.logical, "UPDATE")?;

    let given = source.logical.schema().columns();
    let literal = literal_columns(&source.logical);
    let which = &given[2];
    let mut projected: Vec<Logical> = given[..2].iter().cloned().map(Logical::Column).collect();
    let actions = vec![
        (boxed(INSERTS), Box::new(lit(action::INSERT))),
        (boxed(UPDATES), Box::new(lit(action::UPDATE))),
        (boxed(REFUSED), Box::new(lit(action::UPDATE))),
    ];
    projected.push(choice(which, actions, lit(action::NOTHING)).alias("\u{1}action"));
    projected.push(Logical::Column(given[3].clone()));
    for (index, known) in table.schema().columns.iter().enumerate() {
        let updated = match assigned.iter().position(|(target, _)| *target == index) {
            None => Logical::Column(given[first_own + index].clone()),
            Some(number) => {
                let at = first_value + number;
                let untyped = literal.get(at).copied().unwrap_or(false);
                cast_to_column(scope.context, table, index, &source.logical, at, untyped)?
            }
        };
        let inserted = Logical::Column(given[4 + index].clone());
        let whens = vec![(boxed(UPDATES), Box::new(updated))];
        projected.push(choice(which, whens, inserted).alias(&known.name));
    }
    projected.extend(given[first_broken..].iter().cloned().map(Logical::Column));
    let rows = projected_plan(scope.context, source, projected)?;
    target.checked(scope, rows, ChangeKind::Upsert, true).await
}

/// The number of each row, and the row.
fn proposed_columns(table: &Table) -> impl Iterator<Item = SelectItem> {
    let names = table.schema().columns.iter().map(|column| column.name.as_str());
    std::iter::once(ORDER)
        .chain(names)
        .map(|name| SelectItem::UnnamedExpr(column(&Ident::new(EXCLUDED), name)))
}

/// `LEFT JOIN target AS alias ON excluded.key = alias.key`
fn join(target: &Target, alias: &Ident, key: &[usize]) -> Result<Join> {
    let excluded = Ident::new(EXCLUDED);
    let on = key
        .iter()
        .map(|index| {
            let name = &target.table.schema().columns[*index].name;
            let stored = target.stored_name(*index, name);
            both(column(&excluded, name), BinaryOperator::Eq, column(alias, &stored))
        })
        .reduce(|left, right| both(left, BinaryOperator::And, right))
        .ok_or_else(|| Error::internal("a key without a column"))?;
    Ok(Join {
        relation: target_relation(alias)?,
        global: false,
        join_operator: JoinOperator::LeftOuter(JoinConstraint::On(on)),
    })
}

/// `SELECT items FROM proposed AS excluded joins`
async fn planned(
    scope: &Scope<'_>,
    target: &Target,
    items: Vec<SelectItem>,
    joins: Vec<Join>,
    declared: &[Option<SqlType>],
) -> Result<QueryPlan> {
    let mut select = template()?;
    let query = body(&mut select)?;
    let mut relation = query.from.remove(0).relation;
    if let TableFactor::Table { name, alias, .. } = &mut relation {
        *name = ObjectName(vec![ObjectNamePart::Identifier(quoted(PROPOSED))]);
        *alias = Some(TableAlias {
            explicit: true,
            name: Ident::new(EXCLUDED),
            columns: Vec::new(),
            at: None,
        });
    }
    query.projection = items;
    query.from = vec![TableWithJoins { relation, joins }];
    target.plan(scope, select, "UPDATE", declared).await
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn column(relation: &Ident, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![relation.clone(), quoted(name)])
}

fn both(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

fn when(condition: Expr, which: usize) -> CaseWhen {
    CaseWhen {
        condition,
        result: number(which),
    }
}

fn boxed(which: usize) -> Box<Logical> {
    Box::new(lit(i32::try_from(which).unwrap_or_default()))
}

fn choice(which: &datafusion::common::Column, whens: Vec<(Box<Logical>, Box<Logical>)>, otherwise: Logical) -> Logical {
    let which = Box::new(Logical::Column(which.clone()));
    Logical::Case(Case::new(Some(which), whens, Some(Box::new(otherwise))))
}
