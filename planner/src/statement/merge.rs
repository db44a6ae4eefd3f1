//! `MERGE`: a join of the source and the target whose rows say which clause is theirs, if any.
//!
//! ```text
//! select t.file, t.position,
//!        case when t.position is not null and … then 0 when t.position is null and … then 1 end as clause,
//!        t.a, t.b,                                 -- the target's row
//!        case clause when 0 then e0 end, …         -- the values of the clauses, computed for their rows alone
//! from s left join t on …
//! ```
//!
//! Above it each column becomes `case clause when 0 then cast(e0 as type of a) when 1 then … end`.

use std::ops::ControlFlow;

use datafusion::logical_expr::{Case, Expr as Logical};
use datafusion::prelude::lit;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    ObjectNamePart, Query, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableFactor, TableWithJoins, Value,
    VisitorMut,
};
use staffa_catalog::{Privileges, SqlType};

use crate::authorize::Mentioned;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{MergeAction, MergeAst, MergeClause, MergeRows};
use crate::resolve::{fold, shown};
use crate::row_changes::action;
use crate::statement::change::{
    Giving, Target, assignments, body, cast_to_column, computed, declared_by_targets, given_value, not_postgres,
    null_of_column, projected_plan, refuse_computed, target_column, template,
};
use crate::statement::dml::literal_columns;
use crate::statement::query::Scope;
use crate::statement::returning::other_name;
use crate::statement::{ChangeKind, ChangePlan};
use crate::stored::{self, body_of, has_volatile};
use crate::walk::VisitMut;

/// What is done to the target must be allowed, and what is read of it.
/// Gives whether anything is read of it.
fn check(scope: &Scope<'_>, target: &Target, merge: &MergeAst, clauses: &[Clause]) -> Result<bool> {
    let (context, table) = (scope.context, &target.table);
    let mut read = Mentioned::default().add(&merge.on).add_list(merge.returning.as_deref());
    for (clause, asked) in clauses.iter().zip(&merge.clauses) {
        let columns = clause.values.iter().map(|(index, _)| *index);
        match clause.action {
            action::INSERT => context.check_columns(table, columns, Privileges::INSERT)?,
            action::UPDATE => context.check_columns(table, columns, Privileges::UPDATE)?,
            action::DELETE => context.check_table(table, Privileges::DELETE)?,
            _ => {}
        }
        read = read.add(&asked.condition);
        read = clause.values.iter().fold(read, |read, (_, value)| read.add(value));
    }
    context.check_mentioned(table, &target.alias, &read)?;
    Ok(read.reads(table, &target.alias))
}

/// A column of the source that is there when the source has a row.
const THERE: &str = "\u{1}there";

pub(crate) async fn merge(scope: &Scope<'_>, merge: &MergeAst, declared: &[Option<SqlType>]) -> Result<ChangePlan> {
    check_reachable(&merge.clauses)?;
    let mut target = Target::open(scope, &merge.target, "merge into").await?;
    let asked = with_one_side(&merge.clauses, &target, &source_alias(&merge.source)?);
    let mut clauses = Vec::with_capacity(asked.len());
    for clause in &asked {
        clauses.push(Clause::new(scope, &target, clause)?);
    }
    let reads = check(scope, &target, merge, &clauses)?;
    target.secure(scope, ChangeKind::Merge, reads).await?;
    let assigned: Vec<(usize, Expr)> = clauses.iter().flat_map(|clause| clause.values.clone()).collect();
    let declared = declared_by_targets(&target.table, &assigned, declared);

    let by_source = merge
        .clauses
        .iter()
        .any(|clause| clause.rows == MergeRows::NotMatchedBySource);
    let (source, there) = source(&merge.source, by_source)?;
    let which = clause_of(&asked, target.position(), there);
    let list = match &merge.returning {
        Some(items) => Some(returned_items(items, &target, &merge.source)?),
        None => None,
    };
    let list = list.as_deref();
    let from = match list {
        Some(_) => vec![alone(merge.source.clone()), alone(action_relation()?)],
        None => Vec::new(),
    };
    let others = target.others_returned(scope, list, &from, &declared).await?;
    // Asked again beside each value, chance would answer otherwise: then values are computed for all rows.
    let guards = !has_volatile(scope.context, &which);
    let mut items = target.address();
    items.push(computed(0, which.clone()));
    items.extend(target.columns());
    let first = items.len();
    let mut number = 0;
    for (index, clause) in clauses.iter().enumerate() {
        for (_, value) in &clause.values {
            number += 1;
            let value = match guards {
                true => guarded(&which, index, value.clone()),
                false => value.clone(),
            };
            items.push(computed(number, value));
        }
    }
    let first_other = items.len();
    // What was done is known above: NULL holds its place.
    items.extend(others.iter().map(|other| match is_action(other) {
        true => null_in_place_of(other),
        false => other.clone(),
    }));
    items.extend(target.broken(ChangeKind::Merge));
    let mut select = template()?;
    let relation = TableWithJoins {
        relation: source,
        joins: vec![Join {
            relation: target.relation()?,
            global: false,
            join_operator: join(&merge.clauses, merge.on.clone()),
        }],
    };
    let query = body(&mut select)?;
    query.projection = items;
    query.from = vec![relation];
    stored::load_catalog(scope.context, &target.table).await?;
    let mut source = target.plan(scope, select, "MERGE", &declared).await?;
    refuse_computed(&source.logical, "MERGE")?;

    let given = source.logical.schema().columns();
    let literal = literal_columns(&source.logical);
    let clause = || Box::new(Logical::Column(given[2].clone()));
    let columns = &target.table.schema().columns;
    let mut projected: Vec<Logical> = given[..2].iter().cloned().map(Logical::Column).collect();
    let mut of_actions = Vec::new();
    let mut of_columns: Vec<Vec<(Box<Logical>, Box<Logical>)>> = vec![Vec::new(); columns.len()];
    let mut next = first;
    for (index, known) in clauses.iter().enumerate() {
        let when = || Box::new(lit(index as i32));
        of_actions.push((when(), Box::new(lit(known.action))));
        let from = next;
        next += known.values.len();
        // Of a row that goes RETURNING gives what it was.
        let goes = known.action == action::DELETE && list.is_some();
        if !goes && !matches!(known.action, action::INSERT | action::UPDATE) {
            continue;
        }
        for (column, whens) in of_columns.iter_mut().enumerate() {
            let value = match known.values.iter().position(|(target, _)| *target == column) {
                Some(number) => {
                    let untyped = literal.get(from + number).copied().unwrap_or(false);
                    let at = from + number;
                    cast_to_column(scope.context, &target.table, column, &source.logical, at, untyped)?
                }
                None if known.action != action::INSERT => Logical::Column(given[3 + column].clone()),
                None => stored::missing_value(scope.context, &columns[column])?,
            };
            whens.push((when(), Box::new(value)));
        }
    }
    let nothing = Some(Box::new(lit(action::NOTHING)));
    projected.push(Logical::Case(Case::new(Some(clause()), of_actions, nothing)).alias("\u{1}action"));
    for (index, whens) in of_columns.into_iter().enumerate() {
        let null = null_of_column(scope.context, &target.table, index)?;
        let value = match whens.is_empty() {
            true => null,
            false => Logical::Case(Case::new(Some(clause()), whens, Some(Box::new(null)))),
        };
        projected.push(value.alias(&columns[index].name));
    }
    for (number, other) in others.iter().enumerate() {
        let value = match is_action(other) {
            true => {
                let named = clauses
                    .iter()
                    .enumerate()
                    .map(|(index, known)| (Box::new(lit(index as i32)), Box::new(lit(action_name(known.action)))));
                Logical::Case(Case::new(Some(clause()), named.collect(), None))
            }
            false => Logical::Column(given[first_other + number].clone()),
        };
        projected.push(value.alias(other_name(number)));
    }
    let broken = &given[first_other + others.len()..];
    projected.extend(broken.iter().cloned().map(Logical::Column));
    let returning = target.returning(scope, list, &from, &mut source).await?;
    let rows = projected_plan(scope.context, source, projected)?;
    Ok(ChangePlan {
        kind: ChangeKind::Merge,
        everything: false,
        keys: None,
        returning,
        source: target.checked(scope, rows, ChangeKind::Merge, reads).await?,
        table: target.table,
        files: target.files,
    })
}

/// The relation whose one column is what was done with a row, for `merge_action()`.
const ACTION_RELATION: &str = "\u{1}merge";
const ACTION_COLUMN: &str = "\u{1}action";

fn action_name(done: i8) -> &'static str {
    match done {
        action::INSERT => "INSERT",
        action::UPDATE => "UPDATE",
        _ => "DELETE",
    }
}

fn alone(relation: TableFactor) -> TableWithJoins {
    TableWithJoins {
        relation,
        joins: Vec::new(),
    }
}

fn action_relation() -> Result<TableFactor> {
    let text = format!("select 1 from (select ''::text as \"{ACTION_COLUMN}\") as \"{ACTION_RELATION}\"");
    let mut query = body_of(&text)?;
    Ok(body(&mut query)?.from.remove(0).relation)
}

fn is_action(other: &SelectItem) -> bool {
    matches!(other, SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(parts), .. }
        if parts.first().is_some_and(|part| part.value == ACTION_RELATION))
}

fn null_in_place_of(other: &SelectItem) -> SelectItem {
    match other {
        SelectItem::ExprWithAlias { alias, .. } => SelectItem::ExprWithAlias {
            expr: Expr::Value(Value::Null.into()),
            alias: alias.clone(),
        },
        other => other.clone(),
    }
}

/// The list of RETURNING: `*` is the source's columns and the target's, `merge_action()` a column.
fn returned_items(items: &[SelectItem], target: &Target, source: &TableFactor) -> Result<Vec<SelectItem>> {
    struct Action;
    impl VisitorMut for Action {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if is_action_call(expression) {
                let parts = [ACTION_RELATION, ACTION_COLUMN].map(|name| Ident::with_quote('"', name));
                *expression = Expr::CompoundIdentifier(parts.into());
            }
            ControlFlow::Continue(())
        }
    }
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        match item {
            SelectItem::Wildcard(options) => {
                for alias in [source_alias(source)?, target.alias.clone()] {
                    let name = ObjectName(vec![ObjectNamePart::Identifier(alias)]);
                    let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                    all.push(SelectItem::QualifiedWildcard(kind, options.clone()));
                }
            }
            SelectItem::UnnamedExpr(call) if is_action_call(call) => all.push(SelectItem::ExprWithAlias {
                expr: call.clone(),
                alias: Ident::new("merge_action"),
            }),
            other => all.push(other.clone()),
        }
    }
    for item in &mut all {
        let _ = VisitMut::visit(item, &mut Action);
    }
    Ok(all)
}

fn is_action_call(expression: &Expr) -> bool {
    let Expr::Function(function) = expression else {
        return false;
    };
    let is_empty =
        matches!(&function.args, FunctionArguments::List(list) if list.args.is_empty() && list.clauses.is_empty());
    is_empty && function.over.is_none() && function.filter.is_none() && shown(&function.name) == "merge_action"
}

/// A clause with its values by target column.
struct Clause {
    action: i8,
    values: Vec<(usize, Expr)>,
}

impl Clause {
    fn new(scope: &Scope<'_>, target: &Target, clause: &MergeClause) -> Result<Clause> {
        let (action, values) = match &clause.action {
            MergeAction::Nothing => (action::NOTHING, Vec::new()),
            MergeAction::Delete => (action::DELETE, Vec::new()),
            MergeAction::Update(given) => (action::UPDATE, assignments(scope, &target.table, given)?),
            MergeAction::Insert {
                columns,
                overriding,
                values,
            } => {
                let mut targets = Vec::new();
                for name in columns {
                    let index = target_column(scope, &target.table, name)?;
                    if targets.contains(&index) {
                        let message = format!("column \"{name}\" specified more than once");
                        return Err(Error::new(ErrorKind::DuplicateColumn, message));
                    }
                    targets.push(index);
                }
                if columns.is_empty() {
                    targets = (0..target.table.schema().columns.len()).collect();
                }
                let values = values.clone().unwrap_or_default();
                let wrong = |what: &str| Err(Error::new(ErrorKind::SyntaxError, format!("INSERT has more {what}")));
                if values.len() > targets.len() {
                    return wrong("expressions than target columns");
                }
                if values.len() < targets.len() && !columns.is_empty() {
                    return wrong("target columns than expressions");
                }
                let columns = &target.table.schema().columns;
                let given = targets.into_iter().zip(values);
                let given = given.map(|(index, value)| {
                    Ok((
                        index,
                        given_value(scope.context, value, &columns[index], Giving::Insert(*overriding))?,
                    ))
                });
                (action::INSERT, given.collect::<Result<_>>()?)
            }
        };
        Ok(Clause { action, values })
    }
}

fn check_reachable(clauses: &[MergeClause]) -> Result<()> {
    for (index, clause) in clauses.iter().enumerate() {
        let mut before = clauses[..index].iter();
        if before.any(|before| before.rows == clause.rows && before.condition.is_none()) {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    }
    Ok(())
}

/// A clause for rows that one side has not sees the other's columns only: a bare name that both have is that one's.
fn with_one_side(clauses: &[MergeClause], target: &Target, source: &Ident) -> Vec<MergeClause> {
    let columns = &target.table.schema().columns;
    let mut clauses = clauses.to_vec();
    for clause in &mut clauses {
        let side = match clause.rows {
            MergeRows::Matched => continue,
            MergeRows::NotMatchedByTarget => source,
            MergeRows::NotMatchedBySource => &target.alias,
        };
        let mut names = Bare {
            side,
            is_shared: |name: &str| columns.iter().any(|column| column.name == name),
            depth: 0,
        };
        let values: Vec<&mut Expr> = match &mut clause.action {
            MergeAction::Insert { values, .. } => values.iter_mut().flatten().collect(),
            MergeAction::Update(assignments) => assignments.iter_mut().map(|given| &mut given.value).collect(),
            MergeAction::Nothing | MergeAction::Delete => Vec::new(),
        };
        for value in values.into_iter().chain(&mut clause.condition) {
            let _ = VisitMut::visit(value, &mut names);
        }
    }
    clauses
}

/// Names the side before the columns that need it; those of subqueries may be their own.
struct Bare<'a, F> {
    side: &'a Ident,
    is_shared: F,
    depth: usize,
}

impl<F: Fn(&str) -> bool> VisitorMut for Bare<'_, F> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expression
            && self.depth == 0
            && (self.is_shared)(&fold(name))
        {
            *expression = Expr::CompoundIdentifier(vec![self.side.clone(), name.clone()]);
        }
        ControlFlow::Continue(())
    }
}

/// The source as a relation; with `marked`, also what is true where it has a row.
fn source(given: &TableFactor, marked: bool) -> Result<(TableFactor, Option<Expr>)> {
    match given {
        TableFactor::Table { args: None, .. } | TableFactor::Derived { lateral: false, .. } => {}
        _ => return Err(Error::unsupported("this kind of source of MERGE is not supported")),
    }
    if !marked {
        return Ok((given.clone(), None));
    }
    let alias = source_alias(given)?;
    let mut query = template()?;
    let select = body(&mut query)?;
    let all = SelectItem::Wildcard(Default::default());
    let there = SelectItem::ExprWithAlias {
        expr: Expr::Value(Value::Boolean(true).into()),
        alias: Ident::with_quote('"', THERE),
    };
    select.projection = vec![all, there];
    select.from = vec![TableWithJoins {
        relation: given.clone(),
        joins: Vec::new(),
    }];
    let marked = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(TableAlias {
            explicit: true,
            name: alias.clone(),
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    };
    let there = Expr::CompoundIdentifier(vec![alias, Ident::with_quote('"', THERE)]);
    Ok((marked, Some(there)))
}

fn source_alias(given: &TableFactor) -> Result<Ident> {
    match given {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Ok(alias.name.clone())
        }
        TableFactor::Table { name, .. } => match name.0.last().and_then(|part| part.as_ident()) {
            Some(last) => Ok(last.clone()),
            None => Err(not_postgres()),
        },
        _ => Err(Error::new(
            ErrorKind::SyntaxError,
            "subquery in FROM must have an alias",
        )),
    }
}

/// Only the rows that a clause can want.
fn join(clauses: &[MergeClause], on: Expr) -> JoinOperator {
    let wants = |rows: MergeRows| clauses.iter().any(|clause| clause.rows == rows);
    let on = JoinConstraint::On(on);
    match (
        wants(MergeRows::NotMatchedByTarget),
        wants(MergeRows::NotMatchedBySource),
    ) {
        (false, false) => JoinOperator::Inner(on),
        (true, false) => JoinOperator::LeftOuter(on),
        (false, true) => JoinOperator::RightOuter(on),
        (true, true) => JoinOperator::FullOuter(on),
    }
}

/// The number of the first clause that wants the row; NULL when none does.
fn clause_of(clauses: &[MergeClause], position: Expr, there: Option<Expr>) -> Expr {
    let is_there = |side: Expr| Expr::IsNotNull(Box::new(side));
    let is_not = |side: Expr| Expr::IsNull(Box::new(side));
    let and = |left: Expr, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    };
    let conditions = clauses.iter().enumerate().map(|(index, clause)| {
        let rows = match (clause.rows, there.clone()) {
            (MergeRows::Matched, Some(there)) => and(is_there(position.clone()), is_there(there)),
            (MergeRows::Matched, None) => is_there(position.clone()),
            (MergeRows::NotMatchedByTarget, _) => is_not(position.clone()),
            (MergeRows::NotMatchedBySource, there) => is_not(there.unwrap_or_else(|| position.clone())),
        };
        CaseWhen {
            condition: match &clause.condition {
                Some(condition) => and(rows, Expr::Nested(Box::new(condition.clone()))),
                None => rows,
            },
            result: number(index),
        }
    });
    case(None, conditions.collect())
}

/// A value that is computed for the rows of its clause alone: `1 / b` must not fail for others. A literal cannot fail, and
/// must stay one to have no type yet.
pub(super) fn guarded(which: &Expr, clause: usize, value: Expr) -> Expr {
    if matches!(value, Expr::Value(_)) {
        return value;
    }
    case(
        Some(which.clone()),
        vec![CaseWhen {
            condition: number(clause),
            result: value,
        }],
    )
}

pub(super) fn number(number: usize) -> Expr {
    Expr::Cast {
        kind: datafusion::sql::sqlparser::ast::CastKind::DoubleColon,
        expr: Box::new(Expr::Value(Value::Number(number.to_string(), false).into())),
        data_type: datafusion::sql::sqlparser::ast::DataType::Int(None),
        array: false,
        format: None,
    }
}

pub(super) fn case(operand: Option<Expr>, conditions: Vec<CaseWhen>) -> Expr {
    let token = || datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty();
    Expr::Case {
        case_token: token(),
        end_token: token(),
        operand: operand.map(Box::new),
        conditions,
        else_result: None,
    }
}
