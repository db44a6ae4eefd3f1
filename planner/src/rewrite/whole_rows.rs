//! Tables that stand for their rows.
//!
//! | before | after |
//! |---|---|
//! | `select t from t` | `select named_struct('a', t.a, 'b', t.b) as t from t` |
//! | `row_to_json(t)`, `json_agg(t.*)` | `staffa_row('a', t.a, …)`, `json_agg(staffa_row(…))` |
//! | `t is null`, `t = u`, `row(t.*)` | `(t.a, t.b) is null`, `(t.a, t.b) = (u.a, u.b)`, `row(t.a, t.b)` |
//! | `(t).a` | `t.a` |
//! | `select t from u left join t on …` | `select case when t."·" then … end as t from u left join (select *, true as "·" from t) t on …` |
//!
//! Must not fire where a column has the table's name: PostgreSQL takes the column then, of whichever query around it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, ExcludeSelectItem, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, JoinOperator, ObjectName, ObjectNamePart, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Value, Visitor, VisitorMut,
    WildcardAdditionalOptions,
};

use super::call;
use super::joins::{Joins, Scope, query_of, select_all};
use super::names::{MARKER, output_name};
use crate::resolve::{fold, parts, shown};
use crate::walk::{Visit, VisitMut};

/// What a row becomes as an argument of a function of JSON.
pub(super) const ROW: &str = "staffa_row";
const ROW_PRETTY: &str = "staffa_row_pretty";

/// Functions that take a row among their arguments.
const TAKING: &[&str] = &[
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_agg",
    "jsonb_agg",
    "json_build_array",
    "jsonb_build_array",
    "json_build_object",
    "jsonb_build_object",
    "json_object_agg",
    "jsonb_object_agg",
];

/// Whether a name may be that of a table in FROM and stand for its rows.
pub(super) fn any(query: &Query) -> bool {
    #[derive(Default)]
    struct Find {
        tables: HashSet<String>,
        names: HashSet<String>,
    }
    impl Visitor for Find {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.tables.extend(name_of(factor));
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Identifier(ident) => {
                    self.names.insert(fold(ident));
                }
                Expr::Function(function) => {
                    self.names
                        .extend(arguments(function).filter_map(|argument| match argument {
                            FunctionArgExpr::QualifiedWildcard(name) => only_part(name).map(fold),
                            _ => None,
                        }))
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut find = Find::default();
    let _ = Visit::visit(query, &mut find);
    !find.tables.is_disjoint(&find.names)
}

/// Puts what they stand for in their places.
pub(super) fn put(query: &mut Query, joins: &Joins<'_>) {
    let mut rows = WholeRows {
        joins,
        scopes: vec![Scope::default()],
        levels: Vec::new(),
        parked: Vec::new(),
    };
    let _ = VisitMut::visit(query, &mut rows);
}

/// Whether the expression is a row for a function of JSON.
pub(super) fn is_row(expression: &Expr) -> bool {
    match expression {
        Expr::Function(function) => shown(&function.name) == ROW,
        Expr::Case { conditions, .. } => matches!(conditions.as_slice(), [only] if is_row(&only.result)),
        _ => false,
    }
}

/// The name a table of FROM goes by.
pub(super) fn name_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } => match alias {
            Some(alias) => Some(fold(&alias.name)),
            None => name.0.last()?.as_ident().map(fold),
        },
        TableFactor::Derived { alias, .. } => Some(fold(&alias.as_ref()?.name)),
        _ => None,
    }
}

fn arguments(function: &Function) -> impl Iterator<Item = &FunctionArgExpr> {
    let arguments = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    arguments.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(argument) => Some(argument),
        _ => None,
    })
}

fn only_part(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident),
        _ => None,
    }
}

/// A table of a FROM.
struct Table {
    columns: Vec<String>,
    /// Whether an outer join may have no row of it.
    nullable: bool,
    /// Whether it must tell if there is a row.
    asked: bool,
}

/// What the names of one FROM mean.
#[derive(Default)]
struct Level {
    tables: HashMap<String, Table>,
    columns: HashSet<String>,
    /// Whether there may be more columns.
    incomplete: bool,
}

impl Level {
    fn of(joins: &Joins<'_>, scope: &Scope, from: &[TableWithJoins]) -> Self {
        let mut level = Level::default();
        for tables in from {
            level.add_joined(joins, scope, tables, false);
        }
        level
    }

    fn add_joined(&mut self, joins: &Joins<'_>, scope: &Scope, tables: &TableWithJoins, nullable: bool) {
        let mut names = self.add(joins, scope, &tables.relation, nullable);
        for join in &tables.joins {
            let (left, right) = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                JoinOperator::FullOuter(_) => (true, true),
                _ => (false, false),
            };
            if left {
                for name in &names {
                    if let Some(table) = self.tables.get_mut(name) {
                        table.nullable = true;
                    }
                }
            }
            names.extend(self.add(joins, scope, &join.relation, nullable || right));
        }
    }

    fn add(&mut self, joins: &Joins<'_>, scope: &Scope, factor: &TableFactor, nullable: bool) -> Vec<String> {
        if let TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } = factor
        {
            let before: HashSet<String> = self.tables.keys().cloned().collect();
            self.add_joined(joins, scope, table_with_joins, nullable);
            return self
                .tables
                .keys()
                .filter(|name| !before.contains(*name))
                .cloned()
                .collect();
        }
        let name = name_of(factor);
        match (joins.names_of_factor(factor, scope), name) {
            (Some(columns), Some(name)) => {
                self.columns.extend(columns.iter().cloned());
                let table = Table {
                    columns,
                    nullable,
                    asked: false,
                };
                self.tables.insert(name.clone(), table);
                vec![name]
            }
            (Some(columns), None) => {
                self.columns.extend(columns);
                Vec::new()
            }
            (None, _) => {
                // The value of a function goes by its alias.
                if let Some(alias) = alias_of(factor) {
                    self.columns.insert(fold(&alias.name));
                    self.columns
                        .extend(alias.columns.iter().map(|column| fold(&column.name)));
                }
                self.incomplete = true;
                Vec::new()
            }
        }
    }
}

fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

struct WholeRows<'a, 'b> {
    joins: &'a Joins<'b>,
    scopes: Vec<Scope>,
    /// One for each query around, one for each SELECT; that of a query is its SELECT's, after it.
    levels: Vec<Level>,
    /// Those that a subquery of FROM does not see.
    parked: Vec<Vec<Level>>,
}

impl VisitorMut for WholeRows<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let scope = self.joins.scope_within(query, self.scopes.last());
        self.scopes.push(scope);
        self.levels.push(Level::default());
        by_position(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let (Some(level), SetExpr::Select(select)) = (self.levels.pop(), query.body.as_mut()) {
            tell(select, &level);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let level = match self.scopes.last() {
            Some(scope) => Level::of(self.joins, scope, &select.from),
            None => Level::default(),
        };
        self.levels.push(level);
        for item in &mut select.projection {
            self.item(item);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let Some(level) = self.levels.pop() {
            tell(select, &level);
            // ORDER BY comes next.
            if let Some(around) = self.levels.last_mut() {
                *around = level;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            let seen = self.levels.len().saturating_sub(2);
            self.parked.push(self.levels.split_off(seen));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.levels.extend(self.parked.pop().unwrap_or_default());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let given_whole = matches!(&*expression, Expr::BinaryOp { left, right, .. }
            if matches!(**left, Expr::Identifier(_)) || matches!(**right, Expr::Identifier(_)));
        match expression {
            Expr::Identifier(ident) => {
                if let Some(row) = self.row(ident, Form::Struct) {
                    *expression = row;
                }
            }
            Expr::Function(function) => {
                if let Some(row) = self.function(function) {
                    *expression = row;
                }
            }
            Expr::CompoundFieldAccess { .. } => {
                self.field(expression);
                hide_fields(expression);
            }
            Expr::IsNull(operand) | Expr::IsNotNull(operand) => self.compared(operand),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.compared(left);
                self.compared(right);
            }
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                self.compared(left);
                self.compared(right);
                // Values of composite types are equal where both have a null; the rows of `(a, b) = (c, d)` are not.
                if let (Expr::Tuple(_), Expr::Tuple(_)) = (&**left, &**right)
                    && matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq)
                    && given_whole
                {
                    let equal = op == &BinaryOperator::Eq;
                    let (left, right) = (left.clone(), right.clone());
                    *expression = match equal {
                        true => Expr::IsNotDistinctFrom(left, right),
                        false => Expr::IsDistinctFrom(left, right),
                    };
                }
            }
            Expr::InList { expr, list, .. } => {
                self.compared(expr);
                list.iter_mut().for_each(|item| self.compared(item));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        show_fields(expression);
        ControlFlow::Continue(())
    }
}

/// `t.a[1]` and `(x).t` name no table's rows: takes the names of columns and fields out of the way of a visitor to whom names
/// standing alone mean something. Until [`show_fields`].
pub(super) fn hide_fields(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else {
        return;
    };
    if let (Expr::Identifier(table), [AccessExpr::Dot(Expr::Identifier(column)), _, ..]) =
        (&**root, access_chain.as_slice())
    {
        **root = Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
        access_chain.remove(0);
    }
    for access in access_chain {
        if let AccessExpr::Dot(field) = access
            && let Expr::Identifier(name) = field
        {
            *field = Expr::CompoundIdentifier(vec![name.clone()]);
        }
    }
}

pub(super) fn show_fields(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { access_chain, .. } = expression else {
        return;
    };
    for access in access_chain {
        if let AccessExpr::Dot(field) = access
            && let Expr::CompoundIdentifier(parts) = field
            && let [name] = parts.as_slice()
        {
            *field = Expr::Identifier(name.clone());
        }
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// What a row is written as.
#[derive(Clone, Copy)]
enum Form {
    /// For functions of JSON: names may come twice.
    Json(&'static str),
    /// A value.
    Struct,
    /// An operand of a comparison.
    Tuple,
}

impl WholeRows<'_, '_> {
    /// The level that has the table, when the name is no column's.
    fn table(&self, name: &str, guess: bool) -> Option<usize> {
        let hidden = |level: &Level| level.columns.contains(name) || (level.incomplete && !guess);
        if self.levels.iter().any(hidden) {
            return None;
        }
        self.levels.iter().rposition(|level| level.tables.contains_key(name))
    }

    fn row(&mut self, ident: &Ident, form: Form) -> Option<Expr> {
        let name = fold(ident);
        let level = self.table(&name, matches!(form, Form::Json(_)))?;
        let table = self.levels[level].tables.get_mut(&name)?;
        let value =
            |column: &String| Expr::CompoundIdentifier(vec![ident.clone(), Ident::with_quote('"', column.clone())]);
        let function = match form {
            Form::Tuple => return Some(Expr::Tuple(table.columns.iter().map(value).collect())),
            Form::Struct => "named_struct",
            Form::Json(function) => function,
        };
        let pairs = table.columns.iter().flat_map(|column| {
            let name = Expr::Value(Value::SingleQuotedString(column.clone()).into());
            [name, value(column)]
        });
        let row = call(function, pairs.collect());
        if !table.nullable {
            return Some(row);
        }
        table.asked = true;
        let there = Expr::CompoundIdentifier(vec![ident.clone(), presence(&name)]);
        Some(Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen {
                condition: there,
                result: row,
            }],
            else_result: None,
        })
    }

    fn item(&mut self, item: &mut SelectItem) {
        let SelectItem::UnnamedExpr(expression) = &*item else {
            return;
        };
        let renamed = match expression {
            Expr::Identifier(ident) => self.table(&fold(ident), false).is_some(),
            Expr::Function(function) => shown(&function.name) == "row_to_json",
            _ => false,
        };
        if renamed {
            let alias = Ident::with_quote('"', output_name(expression));
            let expr = expression.clone();
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }

    /// Rows among the arguments; the row that takes the place of the whole call.
    fn function(&mut self, function: &mut Function) -> Option<Expr> {
        let name = shown(&function.name);
        let FunctionArguments::List(list) = &mut function.args else {
            return None;
        };
        if name == "row_to_json" {
            return self.printed(&list.args);
        }
        if name == "row" {
            let given = std::mem::take(&mut list.args);
            list.args = given.into_iter().flat_map(|argument| self.spread(argument)).collect();
            return None;
        }
        let form = match TAKING.contains(&name.as_str()) {
            true => Form::Json(ROW),
            false => Form::Struct,
        };
        for argument in &mut list.args {
            let ident = match &*argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) => Some(ident),
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => only_part(name),
                _ => None,
            };
            if let Some(row) = ident.cloned().and_then(|ident| self.row(&ident, form)) {
                *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(row));
            }
        }
        None
    }

    /// `row(t.*)` has the columns of `t`.
    fn spread(&mut self, argument: FunctionArg) -> Vec<FunctionArg> {
        if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = &argument
            && let Some(ident) = only_part(name)
            && let Some(Expr::Tuple(columns)) = self.row(ident, Form::Tuple)
        {
            let columns = columns.into_iter().map(FunctionArgExpr::Expr);
            return columns.map(FunctionArg::Unnamed).collect();
        }
        vec![argument]
    }

    /// `row_to_json(t)`, `row_to_json(t, true)`
    fn printed(&mut self, arguments: &[FunctionArg]) -> Option<Expr> {
        let (row, pretty) = match arguments {
            [FunctionArg::Unnamed(row)] => (row, false),
            [
                FunctionArg::Unnamed(row),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))),
            ] => match &value.value {
                Value::Boolean(pretty) => (row, *pretty),
                _ => return None,
            },
            _ => return None,
        };
        let ident = match row {
            FunctionArgExpr::Expr(Expr::Identifier(ident)) => ident,
            FunctionArgExpr::QualifiedWildcard(name) => only_part(name)?,
            _ => return None,
        };
        self.row(ident, Form::Json(if pretty { ROW_PRETTY } else { ROW }))
    }

    /// `(t).a`
    fn field(&self, expression: &mut Expr) {
        let Expr::CompoundFieldAccess { root, access_chain } = expression else {
            return;
        };
        let (Expr::Nested(inner), Some(AccessExpr::Dot(Expr::Identifier(field)))) = (&**root, access_chain.first())
        else {
            return;
        };
        if let Expr::Identifier(ident) = inner.as_ref()
            && self.table(&fold(ident), false).is_some()
        {
            let column = Expr::CompoundIdentifier(vec![ident.clone(), field.clone()]);
            access_chain.remove(0);
            match access_chain.is_empty() {
                true => *expression = column,
                false => **root = Expr::Nested(Box::new(column)),
            }
        }
    }

    fn compared(&mut self, operand: &mut Expr) {
        let mut bare = &*operand;
        while let Expr::Nested(inner) = bare {
            bare = inner;
        }
        if let Expr::Identifier(ident) = bare {
            let ident = ident.clone();
            if let Some(row) = self.row(&ident, Form::Tuple) {
                *operand = row;
            }
        }
    }
}

/// ORDER BY knows the names of the output first: those that tables have, too, are put by their position.
fn by_position(query: &mut Query) {
    let (Some(order_by), SetExpr::Select(select)) = (&mut query.order_by, query.body.as_ref()) else {
        return;
    };
    let OrderByKind::Expressions(keys) = &mut order_by.kind else {
        return;
    };
    let factors = select.from.iter().flat_map(factors);
    let tables: HashSet<String> = factors.filter_map(name_of).collect();
    for key in keys {
        let Expr::Identifier(ident) = &key.expr else { continue };
        let name = fold(ident);
        if !tables.contains(&name) {
            continue;
        }
        let named = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expression) => output_name(expression) == name,
            SelectItem::ExprWithAlias { alias, .. } => fold(alias) == name,
            _ => false,
        };
        let starred = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        if let Some(position) = select.projection.iter().position(named)
            && !select.projection.iter().take(position).any(starred)
        {
            key.expr = Expr::Value(Value::Number((position + 1).to_string(), false).into());
        }
    }
}

pub(super) fn factors(tables: &TableWithJoins) -> impl Iterator<Item = &TableFactor> {
    std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation))
}

/// The column that is true where there is a row.
fn presence(table: &str) -> Ident {
    Ident::with_quote('"', format!("{MARKER}there{table}"))
}

/// Tables that must tell whether there is a row of them get a column for it, which `*` does not show.
fn tell(select: &mut Select, level: &Level) {
    let asked: HashSet<&String> = level
        .tables
        .iter()
        .filter(|(_, table)| table.asked)
        .map(|(name, _)| name)
        .collect();
    if asked.is_empty() {
        return;
    }
    let told: Vec<String> = select
        .from
        .iter_mut()
        .flat_map(|tables| tell_joined(tables, &asked))
        .collect();
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(options) => told.iter().for_each(|table| exclude(options, table)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let name = parts(name).ok().and_then(|mut parts| parts.pop());
                if let Some(table) = told.iter().find(|table| Some(*table) == name.as_ref()) {
                    exclude(options, table);
                }
            }
            _ => {}
        }
    }
}

fn tell_joined(tables: &mut TableWithJoins, asked: &HashSet<&String>) -> Vec<String> {
    let joined = tables.joins.iter_mut().map(|join| &mut join.relation);
    let mut told = Vec::new();
    for factor in std::iter::once(&mut tables.relation).chain(joined) {
        if let TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } = factor
        {
            told.extend(tell_joined(table_with_joins, asked));
        } else if let Some(name) = name_of(factor).filter(|name| asked.contains(name))
            && !tells(factor, &name)
        {
            telling(factor, &name);
            told.push(name);
        }
    }
    told
}

/// Whether the table has the column already.
fn tells(factor: &TableFactor, name: &str) -> bool {
    let TableFactor::Derived { subquery, .. } = factor else {
        return false;
    };
    let SetExpr::Select(select) = subquery.body.as_ref() else {
        return false;
    };
    let presence = presence(name);
    let mut items = select.projection.iter();
    items.any(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if *alias == presence))
}

fn telling(factor: &mut TableFactor, name: &str) {
    let alias = match &*factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            alias.name.clone()
        }
        _ => Ident::with_quote('"', name),
    };
    let lateral = matches!(factor, TableFactor::Derived { lateral: true, .. });
    let mut select = select_all(TableWithJoins {
        relation: factor.clone(),
        joins: Vec::new(),
    });
    select.projection.push(SelectItem::ExprWithAlias {
        expr: Expr::Value(Value::Boolean(true).into()),
        alias: presence(name),
    });
    *factor = TableFactor::Derived {
        lateral,
        subquery: Box::new(query_of(select)),
        alias: Some(TableAlias {
            explicit: true,
            name: alias,
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    };
}

fn exclude(options: &mut WildcardAdditionalOptions, table: &str) {
    let column = ObjectName::from(vec![presence(table)]);
    let mut columns = match options.opt_exclude.take() {
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
        None => Vec::new(),
    };
    columns.push(column);
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(columns));
}
