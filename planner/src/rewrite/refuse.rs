//! What sqlparser accepts and DataFusion would skip without a word is refused here, by name.
//!
//! The list was made by reading which fields of the syntax tree `datafusion-sql` 55.2 never looks at; read it again when
//! DataFusion is upgraded.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, Expr, Function, FunctionArguments, GroupByExpr, Join, JoinOperator, LimitClause, LockClause, OrderBy,
    OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor, Value, Visitor,
};

use super::series::can_count;
use super::{json, order_all};
use crate::checks;
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::version::is_taken;
use crate::statement::with::not_at_top_level;
use crate::walk::{self, Visit};

pub(super) fn query(query: &Query) -> Result<()> {
    match query.visit(&mut Refuse) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

pub(super) fn expression(expression: &Expr) -> Result<()> {
    match expression.visit(&mut Refuse) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Refuse;

impl Visitor for Refuse {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        flow(check_query(query))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        flow(check_factor(factor))
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Error> {
        flow(check_expression(expression))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// The first clause of the list that is there is an error.
fn refuse(clauses: &[(bool, &str)]) -> Result<()> {
    match clauses.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(Error::unsupported(format!("{what} is not supported"))),
        None => Ok(()),
    }
}

fn check_query(query: &Query) -> Result<()> {
    query.locks.iter().try_for_each(|lock| check_lock(lock, &query.body))?;
    refuse(&[
        (query.for_clause.is_some(), "FOR XML and FOR JSON"),
        (query.settings.is_some(), "SETTINGS"),
        (query.format_clause.is_some(), "FORMAT"),
        (!query.pipe_operators.is_empty(), "the pipe operator |>"),
    ])?;
    if let Some(with) = &query.with {
        for cte in &with.cte_tables {
            refuse(&[(cte.from.is_some(), "FROM in a common table expression")])?;
            check_alias(&cte.alias)?;
            check_body(&cte.query.body)?;
        }
    }
    if let Some(order_by) = &query.order_by {
        check_order(order_by, &query.body)?;
    }
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit_by, .. }) => refuse(&[(!limit_by.is_empty(), "LIMIT BY")])?,
        Some(LimitClause::OffsetCommaLimit { .. }) => refuse(&[(true, "LIMIT #,#")])?,
        None => {}
    }
    check_body(&query.body)
}

/// Locks are of rows of tables, which must still be there in the result.
fn check_lock(lock: &LockClause, body: &SetExpr) -> Result<()> {
    let what = format!("FOR {}", lock.lock_type);
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Values(_) => return Err(Error::unsupported(format!("{what} cannot be applied to VALUES"))),
        _ => {
            return Err(Error::unsupported(format!(
                "{what} is not allowed with UNION/INTERSECT/EXCEPT"
            )));
        }
    };
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
    };
    for (present, clause) in [
        (select.distinct.is_some(), "DISTINCT clause"),
        (grouped, "GROUP BY clause"),
        (select.having.is_some(), "HAVING clause"),
    ] {
        if present {
            return Err(Error::unsupported(format!("{what} is not allowed with {clause}")));
        }
    }
    let is_call = |part: &SelectItem, is_wanted: fn(&Function, &str) -> bool| checks::has_call(part, is_wanted);
    let calls: [(fn(&Function, &str) -> bool, &str); 3] = [
        (
            |function, name| function.over.is_none() && checks::is_aggregate(name),
            "aggregate functions",
        ),
        (|function, _| function.over.is_some(), "window functions"),
        (
            |_, name| checks::returns_set(name),
            "set-returning functions in the target list",
        ),
    ];
    for (is_wanted, clause) in calls {
        if select.projection.iter().any(|item| is_call(item, is_wanted)) {
            return Err(Error::unsupported(format!("{what} is not allowed with {clause}")));
        }
    }
    let Some(of) = &lock.of else { return Ok(()) };
    let of = crate::resolve::shown(of);
    let joined = select
        .from
        .iter()
        .flat_map(|from| from.joins.iter().map(|join| &join.relation));
    let mut factors = select.from.iter().map(|from| &from.relation).chain(joined);
    let is_found = factors.any(|factor| match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => crate::resolve::fold(&alias.name) == of,
        TableFactor::Table { name, .. } => name
            .0
            .last()
            .and_then(|part| part.as_ident())
            .is_some_and(|name| crate::resolve::fold(name) == of),
        // Its tables cannot be told here.
        TableFactor::NestedJoin { .. } => true,
        _ => false,
    });
    if is_found {
        return Ok(());
    }
    let message = format!("relation \"{of}\" in {what} clause not found in FROM clause");
    Err(Error::new(ErrorKind::UndefinedTable, message))
}

fn check_order(order_by: &OrderBy, body: &SetExpr) -> Result<()> {
    refuse(&[(order_by.interpolate.is_some(), "INTERPOLATE")])?;
    match &order_by.kind {
        // DataFusion would order a set operation by nothing.
        OrderByKind::All(_) => {
            let known = matches!(body, SetExpr::Select(_)) || order_all::width(body).is_some();
            refuse(&[(!known, "ORDER BY ALL after * in a set operation")])
        }
        OrderByKind::Expressions(keys) => refuse(&[(keys.iter().any(|key| key.with_fill.is_some()), "WITH FILL")]),
    }
}

fn check_body(body: &SetExpr) -> Result<()> {
    let mut next = body;
    loop {
        match next {
            SetExpr::Select(select) => return check_select(select),
            SetExpr::SetOperation { left, right, .. } => {
                check_body(right)?;
                next = left;
            }
            SetExpr::Query(_) | SetExpr::Values(_) => return Ok(()),
            SetExpr::Table(_) => return Ok(()),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return Err(not_at_top_level());
            }
        }
    }
}

fn check_select(select: &Select) -> Result<()> {
    if select.into.is_some() {
        return Err(Error::new(
            ErrorKind::SyntaxError,
            "SELECT ... INTO is not allowed here",
        ));
    }
    refuse(&[
        (select.select_modifiers.is_some(), "a modifier after SELECT"),
        (select.top.is_some(), "TOP"),
        (select.exclude.is_some(), "EXCLUDE"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.value_table_mode.is_some(), "SELECT AS VALUE"),
        (!matches!(select.flavor, SelectFlavor::Standard), "FROM before SELECT"),
        (select.projection.is_empty(), "SELECT without columns"),
    ])?;
    match &select.group_by {
        GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => {
            refuse(&[(!modifiers.is_empty(), "WITH ROLLUP, WITH CUBE and WITH TOTALS")])?;
        }
    }
    if matches!(select.group_by, GroupByExpr::All(_)) {
        let is_window = |expression: &Expr| matches!(expression, Expr::Function(function) if function.over.is_some());
        let found = walk::expressions(&select.projection, |expression| match is_window(expression) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        refuse(&[(found.is_break(), "GROUP BY ALL with window functions")])?;
    }
    for item in &select.projection {
        match item {
            SelectItem::ExprWithAliases { .. } => refuse(&[(true, "several aliases for one expression")])?,
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => refuse(&[
                (options.opt_ilike.is_some(), "* ILIKE"),
                (options.opt_rename.is_some(), "* RENAME"),
                (options.opt_alias.is_some(), "an alias for *"),
                (options.opt_except.is_some(), "* EXCEPT"),
            ])?,
            _ => {}
        }
    }
    for table in &select.from {
        for join in &table.joins {
            check_join(join)?;
        }
    }
    Ok(())
}

fn check_join(join: &Join) -> Result<()> {
    refuse(&[(join.global, "GLOBAL JOIN")])?;
    match &join.join_operator {
        JoinOperator::Join(_)
        | JoinOperator::Inner(_)
        | JoinOperator::Left(_)
        | JoinOperator::LeftOuter(_)
        | JoinOperator::Right(_)
        | JoinOperator::RightOuter(_)
        | JoinOperator::FullOuter(_)
        | JoinOperator::CrossJoin(_) => Ok(()),
        _ => refuse(&[(true, "this kind of join")]),
    }
}

fn check_factor(factor: &TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table {
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
            ..
        } => {
            refuse(&[
                (!with_hints.is_empty() || !index_hints.is_empty(), "a table hint"),
                (
                    version.as_ref().is_some_and(|version| !is_taken(version)),
                    "a version of a table",
                ),
                (
                    *with_ordinality && !can_count(factor) && !json::is_function(factor),
                    "WITH ORDINALITY",
                ),
                (!partitions.is_empty(), "PARTITION in FROM"),
                (json_path.is_some(), "a JSON path in FROM"),
                (sample.is_some(), "TABLESAMPLE"),
                (args.as_ref().is_some_and(|args| args.settings.is_some()), "SETTINGS"),
            ])?;
            match json::is_record(factor) {
                true => Ok(()),
                false => alias.as_ref().map_or(Ok(()), check_alias),
            }
        }
        TableFactor::Derived { alias, sample, .. } => {
            refuse(&[(sample.is_some(), "TABLESAMPLE")])?;
            alias.as_ref().map_or(Ok(()), check_alias)
        }
        TableFactor::NestedJoin {
            alias,
            table_with_joins,
        } => {
            for join in &table_with_joins.joins {
                check_join(join)?;
            }
            alias.as_ref().map_or(Ok(()), check_alias)
        }
        TableFactor::UNNEST { alias, with_offset, .. } => {
            refuse(&[(*with_offset, "WITH OFFSET")])?;
            alias.as_ref().map_or(Ok(()), check_alias)
        }
        TableFactor::Function {
            alias, with_ordinality, ..
        } => {
            let counts = can_count(factor) || json::is_function(factor);
            refuse(&[(*with_ordinality && !counts, "WITH ORDINALITY")])?;
            match json::is_record(factor) {
                true => Ok(()),
                false => alias.as_ref().map_or(Ok(()), check_alias),
            }
        }
        TableFactor::TableFunction { .. } => refuse(&[(true, "TABLE (…) in FROM")]),
        TableFactor::JsonTable { .. } => refuse(&[(true, "JSON_TABLE")]),
        TableFactor::XmlTable { .. } => refuse(&[(true, "XMLTABLE")]),
        TableFactor::Pivot { .. } => refuse(&[(true, "PIVOT")]),
        TableFactor::Unpivot { .. } => refuse(&[(true, "UNPIVOT")]),
        TableFactor::MatchRecognize { .. } => refuse(&[(true, "MATCH_RECOGNIZE")]),
        TableFactor::OpenJsonTable { .. } => refuse(&[(true, "OPENJSON")]),
        TableFactor::SemanticView { .. } => refuse(&[(true, "SEMANTIC_VIEW")]),
    }
}

fn check_alias(alias: &TableAlias) -> Result<()> {
    refuse(&[
        (
            alias.columns.iter().any(|column| column.data_type.is_some()),
            "a column definition list in FROM",
        ),
        (alias.at.is_some(), "AT in an alias"),
    ])
}

fn check_expression(expression: &Expr) -> Result<()> {
    match expression {
        Expr::Function(function) => check_function(function),
        Expr::Cast {
            kind, array, format, ..
        } => refuse(&[
            (matches!(kind, CastKind::SafeCast), "SAFE_CAST"),
            (*array, "CAST … AS … ARRAY"),
            (format.is_some(), "CAST … FORMAT"),
        ]),
        Expr::Like { any, .. } | Expr::ILike { any, .. } => refuse(&[(*any, "LIKE ANY")]),
        Expr::Value(value) => refuse(&[(
            matches!(
                value.value,
                Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_)
            ),
            "a literal of bits",
        )]),
        Expr::RLike { .. } => refuse(&[(true, "RLIKE")]),
        Expr::Convert { .. } => refuse(&[(true, "CONVERT")]),
        Expr::Collate { collation, .. } => {
            let name = crate::resolve::shown(collation);
            let plain = name.strip_prefix("pg_catalog.").unwrap_or(&name);
            // Text compares by its bytes, which is what these collations mean.
            if matches!(plain, "default" | "C" | "POSIX" | "ucs_basic" | "c") {
                return Ok(());
            }
            refuse(&[(true, "COLLATE other than \"C\" and \"default\"")])
        }
        Expr::Trim { trim_characters, .. } => refuse(&[(trim_characters.is_some(), "TRIM with a list")]),
        Expr::TypedString(typed) => refuse(&[(typed.uses_odbc_syntax, "ODBC literal syntax")]),
        Expr::Prior(_) => refuse(&[(true, "PRIOR")]),
        Expr::OuterJoin(_) => refuse(&[(true, "(+) for outer joins")]),
        Expr::MatchAgainst { .. } => refuse(&[(true, "MATCH … AGAINST")]),
        Expr::Lambda(_) => refuse(&[(true, "a lambda expression")]),
        Expr::Dictionary(_) | Expr::Map(_) => refuse(&[(true, "a map literal")]),
        _ => Ok(()),
    }
}

fn check_function(function: &Function) -> Result<()> {
    refuse(&[
        (function.uses_odbc_syntax, "ODBC function syntax"),
        (
            !matches!(function.parameters, FunctionArguments::None),
            "a second list of arguments",
        ),
    ])
}
