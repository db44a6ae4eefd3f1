//! `JOIN … USING (c)` and NATURAL JOIN as joins ON a condition, with `c` what PostgreSQL makes it.
//!
//! Before: `select c, * from l full join r using (c)`. After: `select coalesce(l.c, r.c) as c, coalesce(l.c, r.c) as c, l.a, r.b
//! from l full join r on l.c = r.c`.
//!
//! DataFusion takes the left side's `c` for every kind of join, puts it in the place it has there, and does not find it in a chain of
//! such joins. `l.c` and `r.c` stay what they are. Must not fire where the columns of a side are not known (a file, a table
//! function): inner and left joins of these are left to DataFusion, others are refused.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderBy,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableVersion, TableWithJoins, Value, VisitorMut, WildcardAdditionalOptions, With,
};

use super::names::{MARKER, output_name};
use super::whole_rows;
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::version::relation_of;
use crate::resolve::{fold, parts};
use crate::table_provider::{ADDRESS_FILE, ADDRESS_POSITION};
use crate::walk::VisitMut;

/// The columns of a table or view, if there is one of the name.
pub(crate) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// Rewrites every such join of a query. Expects the query as it was parsed, before columns are named.
pub(crate) fn query(query: &mut Query, relations: ColumnsOf<'_>) -> Result<()> {
    let mut joins = Joins {
        relations,
        scopes: Vec::new(),
    };
    if whole_rows::any(query) {
        whole_rows::put(query, &joins);
    }
    match query.visit(&mut joins) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn found(yes: bool) -> ControlFlow<()> {
    match yes {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Whether the query has a join this is about, an alias that names columns, or columns of `*` that are replaced.
pub(crate) fn any(query: &Query) -> bool {
    use datafusion::sql::sqlparser::ast::Visitor;

    use crate::walk::Visit;
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            found(select.from.iter().any(merges) || select.projection.iter().any(replaces))
        }
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            found(alias_of(factor).is_some_and(|alias| !alias.columns.is_empty()))
        }
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let mut ctes = query.with.iter().flat_map(|with| &with.cte_tables);
            found(ctes.any(|cte| !cte.alias.columns.is_empty()))
        }
    }
    query.visit(&mut Find).is_break() || whole_rows::any(query)
}

fn replaces(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)
        if options.opt_replace.is_some())
}

fn merges(tables: &TableWithJoins) -> bool {
    let nested = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => merges(table_with_joins),
        _ => false,
    };
    let merging = |operator: &JoinOperator| {
        matches!(
            constraint(operator),
            Some(JoinConstraint::Using(_) | JoinConstraint::Natural)
        )
    };
    nested(&tables.relation)
        || tables
            .joins
            .iter()
            .any(|join| merging(&join.join_operator) || nested(&join.relation))
}

/// Output columns of the CTEs in scope; `None` where they are not known.
pub(super) type Scope = HashMap<String, Option<Vec<String>>>;

pub(super) struct Joins<'a> {
    relations: ColumnsOf<'a>,
    scopes: Vec<Scope>,
}

impl VisitorMut for Joins<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Some(with) = &mut query.with
            && let Err(error) = self.complete_ctes(with)
        {
            return ControlFlow::Break(error);
        }
        let scope = self.scope_within(query, self.scopes.last());
        self.scopes.push(scope);
        let mut order_by = query.order_by.take();
        let outcome = self.body(&mut query.body, order_by.as_mut());
        query.order_by = order_by;
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    /// `from t as x (a)` renames the first column; the others keep their names.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let columns = match &*factor {
            TableFactor::Table {
                name,
                args: None,
                version,
                ..
            } => self.columns_of_name(name, version.as_ref(), self.scope()),
            TableFactor::Derived { subquery, .. } => self.columns_of_query(subquery, self.scope()),
            _ => None,
        };
        let alias = match factor {
            TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias,
            _ => return ControlFlow::Continue(()),
        };
        if let (Some(columns), Some(alias)) = (columns, alias)
            && let Err(error) = complete(alias, columns, "table")
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }
}

fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, args: None, .. } | TableFactor::Derived { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

/// Gives names to the columns an alias leaves out.
fn complete(alias: &mut TableAlias, columns: Vec<String>, what: &str) -> Result<()> {
    let (given, there) = (alias.columns.len(), columns.len());
    if given == 0 {
        return Ok(());
    }
    if given > there {
        let name = fold(&alias.name);
        let message = format!("{what} \"{name}\" has {there} columns available but {given} columns specified");
        return Err(Error::new(ErrorKind::InvalidColumnReference, message));
    }
    for (index, name) in columns.into_iter().enumerate().skip(given) {
        let taken = alias.columns.iter().any(|column| fold(&column.name) == name);
        let name = if taken { format!("{name}{MARKER}{index}") } else { name };
        alias.columns.push(TableAliasColumnDef {
            name: Ident::with_quote('"', name),
            data_type: None,
        });
    }
    Ok(())
}

/// A column that can be named without its table.
#[derive(Clone)]
struct Visible {
    name: String,
    value: Expr,
    merged: bool,
}

impl Joins<'_> {
    fn scope(&self) -> &Scope {
        self.scopes.last().expect("inside of a query")
    }

    fn complete_ctes(&self, with: &mut With) -> Result<()> {
        let mut scope = self.scopes.last().cloned().unwrap_or_default();
        for cte in &mut with.cte_tables {
            let columns = self.columns_of_query(&cte.query, &scope);
            if let Some(columns) = columns.clone() {
                complete(&mut cte.alias, columns, "WITH query")?;
            }
            scope.insert(fold(&cte.alias.name), renamed(columns, Some(&cte.alias)));
        }
        Ok(())
    }

    fn columns_of_name(&self, name: &ObjectName, version: Option<&TableVersion>, scope: &Scope) -> Option<Vec<String>> {
        if let Some(older) = version.and_then(relation_of) {
            return (self.relations)(&older);
        }
        let folded = parts(name).ok()?;
        match folded.as_slice() {
            [name] if scope.contains_key(name) => scope[name].clone(),
            _ => (self.relations)(name),
        }
    }

    fn body(&self, body: &mut SetExpr, order_by: Option<&mut OrderBy>) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select, order_by),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, None)?;
                self.body(right, None)
            }
            _ => Ok(()),
        }
    }

    fn select(&self, select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
        self.check_replaced(select)?;
        if !select.from.iter().any(merges) {
            return Ok(());
        }
        let mut visible = Some(Vec::new());
        for tables in &mut select.from {
            let columns = self.join(tables)?;
            visible = visible.zip(columns).map(|(mut all, more)| {
                all.extend(more);
                all
            });
        }
        let Some(visible) = visible else {
            return Ok(());
        };
        expand(&mut select.projection, &visible);
        let outputs: HashSet<String> = select.projection.iter().filter_map(output).collect();
        let merged: HashMap<String, Expr> = visible
            .iter()
            .filter(|column| column.merged && visible.iter().filter(|other| other.name == column.name).count() == 1)
            .map(|column| (column.name.clone(), column.value.clone()))
            .collect();
        let mut replace = Replace {
            joins: self,
            merged: &merged,
            hidden: Vec::new(),
            scopes: vec![self.scope().clone()],
        };
        replace.select(select);
        if let Some(OrderBy {
            kind: OrderByKind::Expressions(keys),
            ..
        }) = order_by
        {
            for key in keys {
                // A bare name is first a column of the output.
                if !matches!(&key.expr, Expr::Identifier(ident) if outputs.contains(&fold(ident))) {
                    let _ = key.expr.visit(&mut replace);
                }
            }
        }
        Ok(())
    }

    /// What a query's own WITH adds to the queries in scope.
    pub(super) fn scope_within(&self, query: &Query, around: Option<&Scope>) -> Scope {
        let mut scope = around.cloned().unwrap_or_default();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = self.columns_of_query(&cte.query, &scope);
            scope.insert(fold(&cte.alias.name), renamed(columns, Some(&cte.alias)));
        }
        scope
    }

    /// Refuses `* REPLACE (… AS column)` of a column that is not there, as far as the columns are known.
    fn check_replaced(&self, select: &Select) -> Result<()> {
        for item in &select.projection {
            let (table, options) = match item {
                SelectItem::Wildcard(options) => (None, options),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    (parts(name)?.pop(), options)
                }
                _ => continue,
            };
            let Some(replace) = &options.opt_replace else { continue };
            let factors = select.from.iter().flat_map(whole_rows::factors);
            let named = factors.filter(|factor| table.is_none() || whole_rows::name_of(factor) == table);
            let columns: Option<Vec<_>> = named
                .map(|factor| self.columns_of_factor(factor, self.scope()))
                .collect();
            let Some(columns) = columns else { continue };
            let names: HashSet<String> = columns.into_iter().flatten().map(|column| column.name).collect();
            for item in &replace.items {
                let name = fold(&item.column_name);
                if !names.contains(&name) || excludes(options, &name) {
                    let message = format!("column \"{name}\" does not exist");
                    return Err(Error::new(ErrorKind::UndefinedColumn, message));
                }
            }
        }
        Ok(())
    }

    /// The columns of the rows of a table of FROM, if they are known and have names of their own.
    pub(super) fn names_of_factor(&self, factor: &TableFactor, scope: &Scope) -> Option<Vec<String>> {
        let columns = self.columns_of_factor(factor, scope)?.into_iter();
        // The address of a row is no part of it.
        let names = columns.map(|column| column.name);
        let names: Vec<String> = names
            .filter(|name| name != ADDRESS_FILE && name != ADDRESS_POSITION)
            .collect();
        // Of columns that share a name none can be named.
        let distinct: HashSet<&String> = names.iter().collect();
        (distinct.len() == names.len()).then_some(names)
    }

    /// Rewrites the joins of one item of FROM; its columns, if all are known.
    fn join(&self, tables: &mut TableWithJoins) -> Result<Option<Vec<Visible>>> {
        let mut left = self.factor(&mut tables.relation)?;
        for join in &mut tables.joins {
            let right = self.factor(&mut join.relation)?;
            let kind = Kind::of(&join.join_operator);
            let Some(constraint) = constraint_mut(&mut join.join_operator) else {
                left = together(left, right);
                continue;
            };
            if !matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural) {
                left = together(left, right);
                continue;
            }
            let (Some(left_columns), Some(right_columns)) = (left, right) else {
                if matches!(kind, Kind::Right | Kind::Full) {
                    return Err(Error::unsupported(
                        "RIGHT and FULL JOIN with USING are not supported for this kind of table",
                    )
                    .with_hint("Join ON a condition."));
                }
                left = None;
                continue;
            };
            let names = match &*constraint {
                JoinConstraint::Using(names) => names
                    .iter()
                    .map(|name| Ok(parts(name)?.join(".")))
                    .collect::<Result<_>>()?,
                _ => common(&left_columns, &right_columns),
            };
            let merged = merge(kind, &names, &left_columns, &right_columns)?;
            *constraint = JoinConstraint::On(merged.condition);
            let others = |columns: Vec<Visible>| columns.into_iter().filter(|column| !names.contains(&column.name));
            let mut columns = merged.columns;
            columns.extend(others(left_columns));
            columns.extend(others(right_columns));
            left = Some(columns);
        }
        Ok(left)
    }

    fn factor(&self, factor: &mut TableFactor) -> Result<Option<Vec<Visible>>> {
        let TableFactor::NestedJoin {
            table_with_joins,
            alias,
        } = factor
        else {
            return Ok(self.columns_of_factor(factor, self.scope()));
        };
        let columns = self.join(table_with_joins)?;
        let (Some(columns), Some(alias)) = (&columns, alias.as_ref()) else {
            return Ok(columns);
        };
        // `(l join r using (c)) as x` has the columns that `select *` would show.
        let mut select = select_all(table_with_joins.as_ref().clone());
        expand(&mut select.projection, columns);
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let visible = renamed(Some(names), Some(alias)).map(|names| qualified(names, &alias.name));
        *factor = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(query_of(select)),
            alias: Some(alias.clone()),
            sample: None,
        };
        Ok(visible)
    }

    fn columns_of_factor(&self, factor: &TableFactor, scope: &Scope) -> Option<Vec<Visible>> {
        let (names, alias) = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                version,
                ..
            } => {
                let known = self.columns_of_name(name, version.as_ref(), scope);
                let own = name.0.last()?.as_ident()?;
                return renamed(known, alias.as_ref())
                    .map(|names| qualified(names, alias.as_ref().map_or(own, |alias| &alias.name)));
            }
            TableFactor::Derived { subquery, alias, .. } => (self.columns_of_query(subquery, scope), alias.as_ref()?),
            TableFactor::UNNEST { alias, array_exprs, .. } if array_exprs.len() == 1 => {
                let alias = alias.as_ref()?;
                (Some(vec![fold(&alias.name)]), alias)
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                let columns = self.columns_of_tables(table_with_joins, scope)?;
                return match alias {
                    None => Some(columns),
                    Some(alias) => {
                        let names = columns.into_iter().map(|column| column.name).collect();
                        renamed(Some(names), Some(alias)).map(|names| qualified(names, &alias.name))
                    }
                };
            }
            _ => return None,
        };
        renamed(names, Some(alias)).map(|names| qualified(names, &alias.name))
    }

    fn columns_of_tables(&self, tables: &TableWithJoins, scope: &Scope) -> Option<Vec<Visible>> {
        let mut columns = self.columns_of_factor(&tables.relation, scope)?;
        for join in &tables.joins {
            let right = self.columns_of_factor(&join.relation, scope)?;
            let names: Vec<String> = match constraint(&join.join_operator) {
                Some(JoinConstraint::Using(names)) => names
                    .iter()
                    .map(|name| Some(parts(name).ok()?.join(".")))
                    .collect::<Option<_>>()?,
                Some(JoinConstraint::Natural) => common(&columns, &right),
                _ => Vec::new(),
            };
            let merged = names
                .iter()
                .filter_map(|name| columns.iter().find(|column| column.name == *name));
            let mut all: Vec<Visible> = merged.cloned().collect();
            all.extend(
                columns
                    .into_iter()
                    .chain(right)
                    .filter(|column| !names.contains(&column.name)),
            );
            columns = all;
        }
        Some(columns)
    }

    fn columns_of_query(&self, query: &Query, scope: &Scope) -> Option<Vec<String>> {
        let mut scope = scope.clone();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = self.columns_of_query(&cte.query, &scope);
            scope.insert(fold(&cte.alias.name), renamed(columns, Some(&cte.alias)));
        }
        self.columns_of_body(&query.body, &scope)
    }

    fn columns_of_body(&self, body: &SetExpr, scope: &Scope) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => {
                let mut names = Vec::new();
                for item in &select.projection {
                    match item {
                        SelectItem::Wildcard(options) => {
                            for tables in &select.from {
                                let columns = self.columns_of_tables(tables, scope)?;
                                let columns = columns.into_iter().filter(|column| !excludes(options, &column.name));
                                names.extend(columns.map(|column| column.name));
                            }
                        }
                        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                            let table = parts(name).ok()?.pop()?;
                            let mut factors = select.from.iter().flat_map(whole_rows::factors);
                            let factor = factors.find(|factor| whole_rows::name_of(factor).as_ref() == Some(&table))?;
                            let columns = self.columns_of_factor(factor, scope)?.into_iter();
                            let columns = columns.filter(|column| !excludes(options, &column.name));
                            names.extend(columns.map(|column| column.name));
                        }
                        SelectItem::QualifiedWildcard(..) => return None,
                        item => names.push(output(item)?),
                    }
                }
                Some(names)
            }
            SetExpr::SetOperation { left, .. } => self.columns_of_body(left, scope),
            SetExpr::Query(query) => self.columns_of_query(query, scope),
            SetExpr::Values(values) => {
                let width = values.rows.first()?.len();
                Some((1..=width).map(|number| format!("column{number}")).collect())
            }
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Left,
    Right,
    Full,
}

impl Kind {
    fn of(operator: &JoinOperator) -> Self {
        match operator {
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Self::Right,
            JoinOperator::FullOuter(_) => Self::Full,
            // Of an inner join either side will do.
            _ => Self::Left,
        }
    }
}

struct Merged {
    condition: Expr,
    columns: Vec<Visible>,
}

fn merge(kind: Kind, names: &[String], left: &[Visible], right: &[Visible]) -> Result<Merged> {
    let mut condition: Option<Expr> = None;
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let (left, right) = (only(name, left, "left")?, only(name, right, "right")?);
        let equal = Expr::BinaryOp {
            left: Box::new(left.value.clone()),
            op: BinaryOperator::Eq,
            right: Box::new(right.value.clone()),
        };
        condition = Some(match condition.take() {
            None => equal,
            Some(before) => Expr::BinaryOp {
                left: Box::new(before),
                op: BinaryOperator::And,
                right: Box::new(equal),
            },
        });
        let value = match kind {
            Kind::Left => left.value.clone(),
            Kind::Right => right.value.clone(),
            Kind::Full => super::call("coalesce", vec![left.value.clone(), right.value.clone()]),
        };
        columns.push(Visible {
            name: name.clone(),
            value,
            merged: true,
        });
    }
    Ok(Merged {
        condition: condition.unwrap_or_else(|| Expr::Value(Value::Boolean(true).into())),
        columns,
    })
}

fn only<'a>(name: &str, columns: &'a [Visible], side: &str) -> Result<&'a Visible> {
    let mut found = columns.iter().filter(|column| column.name == name);
    let Some(column) = found.next() else {
        let message = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
        return Err(Error::new(ErrorKind::UndefinedColumn, message));
    };
    if found.next().is_some() {
        let message = format!("common column name \"{name}\" appears more than once in {side} table");
        return Err(Error::new(ErrorKind::AmbiguousColumn, message));
    }
    Ok(column)
}

fn common(left: &[Visible], right: &[Visible]) -> Vec<String> {
    let shared = left
        .iter()
        .filter(|column| right.iter().any(|other| other.name == column.name));
    shared.map(|column| column.name.clone()).collect()
}

fn together(left: Option<Vec<Visible>>, right: Option<Vec<Visible>>) -> Option<Vec<Visible>> {
    left.zip(right).map(|(mut left, right)| {
        left.extend(right);
        left
    })
}

/// The columns with the names an alias gives to the first of them.
fn renamed(columns: Option<Vec<String>>, alias: Option<&TableAlias>) -> Option<Vec<String>> {
    let mut columns = columns?;
    for (column, given) in columns.iter_mut().zip(alias.iter().flat_map(|alias| &alias.columns)) {
        *column = fold(&given.name);
    }
    Some(columns)
}

fn qualified(names: Vec<String>, table: &Ident) -> Vec<Visible> {
    let of = |name: &String| Expr::CompoundIdentifier(vec![table.clone(), Ident::with_quote('"', name.clone())]);
    names
        .into_iter()
        .map(|name| Visible {
            value: of(&name),
            name,
            merged: false,
        })
        .collect()
}

/// Whether `* EXCLUDE (…)` names the column.
fn excludes(options: &WildcardAdditionalOptions, column: &str) -> bool {
    let named = |name: &ObjectName| parts(name).is_ok_and(|parts| parts.last().is_some_and(|name| name == column));
    match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => named(name),
        Some(ExcludeSelectItem::Multiple(names)) => names.iter().any(named),
        None => false,
    }
}

/// What `* REPLACE (… AS column)` puts in its place.
fn replacement<'a>(options: &'a WildcardAdditionalOptions, column: &str) -> Option<&'a Expr> {
    let items = options.opt_replace.iter().flat_map(|replace| &replace.items);
    let mut named = items.filter(|item| fold(&item.column_name) == column);
    named.next().map(|item| &item.expr)
}

/// `*` as the columns it stands for: merged ones first.
fn expand(projection: &mut Vec<SelectItem>, visible: &[Visible]) {
    let items = std::mem::take(projection);
    for item in items {
        match item {
            SelectItem::Wildcard(options) => {
                let shown = visible.iter().filter(|column| !excludes(&options, &column.name));
                projection.extend(shown.map(
                    |column| match replacement(&options, &column.name).unwrap_or(&column.value) {
                        value @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(value.clone()),
                        value => SelectItem::ExprWithAlias {
                            expr: value.clone(),
                            alias: Ident::with_quote('"', column.name.clone()),
                        },
                    },
                ));
            }
            other => projection.push(other),
        }
    }
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expression) => Some(output_name(expression)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn constraint_mut(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

pub(super) fn select_all(tables: TableWithJoins) -> Select {
    let parsed = datafusion::sql::sqlparser::parser::Parser::new(&crate::parse::DIALECT)
        .try_with_sql("select *")
        .and_then(|mut parser| parser.parse_select());
    let mut select = parsed.expect("`select *` parses");
    select.from = vec![tables];
    select
}

pub(super) fn query_of(select: Select) -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// Puts the value of a merged column where its bare name stands.
struct Replace<'a, 'b> {
    joins: &'a Joins<'b>,
    merged: &'a HashMap<String, Expr>,
    /// Columns of the queries inside, which come first; `None` where they are not known.
    hidden: Vec<Option<HashSet<String>>>,
    scopes: Vec<Scope>,
}

impl Replace<'_, '_> {
    fn select(&mut self, select: &mut Select) {
        for item in &mut select.projection {
            let name = output(item);
            let _ = item.visit(self);
            // It is called as it was written.
            if let (SelectItem::UnnamedExpr(expression), Some(name)) = (&*item, name)
                && output_name(expression) != name
            {
                let alias = Ident::with_quote('"', name);
                let expr = expression.clone();
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        let _ = select.from.visit(self);
        let _ = select.selection.visit(self);
        let _ = select.distinct.visit(self);
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            let _ = expressions.visit(self);
        }
        let _ = select.having.visit(self);
        let _ = select.qualify.visit(self);
        let _ = select.named_window.visit(self);
    }
}

impl VisitorMut for Replace<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let scope = self.joins.scope_within(query, self.scopes.last());
        let own = match query.body.as_ref() {
            SetExpr::Select(select) => select.from.iter().try_fold(HashSet::new(), |mut names, tables| {
                let columns = self.joins.columns_of_tables(tables, &scope)?;
                names.extend(columns.into_iter().map(|column| column.name));
                Some(names)
            }),
            _ => None,
        };
        self.scopes.push(scope);
        self.hidden.push(own);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.scopes.pop();
        self.hidden.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expression {
            let name = fold(ident);
            let hidden = |names: &Option<HashSet<String>>| names.as_ref().is_none_or(|names| names.contains(&name));
            if let Some(value) = self.merged.get(&name)
                && !self.hidden.iter().any(hidden)
            {
                *expression = value.clone();
            }
        }
        ControlFlow::Continue(())
    }
}
