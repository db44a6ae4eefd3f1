//! `*` in the query of a view: the columns it stands for when the view is made, as PostgreSQL keeps them. A column that a
//! table gets later is no column of the view.
//!
//! | before | after |
//! |---|---|
//! | `select * from a join b using (id)` | `select a.id, a.x, b.y from a join b using (id)` |
//!
//! Must not fire below the query's own SELECT: what stands there is named by what is around it.

use std::collections::BTreeMap;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{
    GroupByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, WildcardAdditionalOptions,
};
use staffa_catalog::quote_identifier;

use crate::error::Result;
use crate::parse::{Ast, offset_of, parse_one};
use crate::resolve::fold;
use crate::rewrite::{MARKER, strip_marker};
use crate::statement::query::{self, Scope};

/// The text with its columns spelled out; `None` when there is no `*`.
pub(crate) async fn spelled_out(scope: &Scope<'_>, text: &str) -> Result<Option<String>> {
    let Ast::Query(query) = parse_one(text, 0)?.ast else {
        return Ok(None);
    };
    let mut edits = BTreeMap::new();
    for select in selects(&query.body) {
        if !select.projection.iter().any(|item| star(item).is_some()) {
            continue;
        }
        let columns = columns(scope, &query, select).await?;
        for item in &select.projection {
            let Some((options, table)) = star(item) else { continue };
            let Some(end) = offset_of(text, options.wildcard_token.0.span.end) else {
                return Ok(None);
            };
            let wanted = columns.iter().filter(|(relation, _)| {
                let own = relation.as_ref().map(TableReference::table);
                table.is_none() || table.as_deref() == own
            });
            let names: Vec<String> = wanted
                .map(|(relation, name)| match relation {
                    Some(relation) => format!("{}.{}", shown(relation, &columns), quote_identifier(name)),
                    None => quote_identifier(name).to_string(),
                })
                .collect();
            let start = match item {
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => name
                    .0
                    .first()
                    .and_then(|part| offset_of(text, part.as_ident()?.span.start)),
                _ => end.checked_sub(1),
            };
            match start {
                Some(start) if !names.is_empty() => edits.insert(start, (end, names.join(", "))),
                _ => return Ok(None),
            };
        }
    }
    let spelled = (!edits.is_empty()).then(|| edited(text, edits));
    Ok(spelled)
}

/// Puts other texts in places of a text: where each begins, where it ends, and what comes there.
pub(super) fn edited(text: &str, edits: BTreeMap<usize, (usize, String)>) -> String {
    let mut edited = String::with_capacity(text.len());
    let mut done = 0;
    for (start, (end, new)) in edits {
        edited.push_str(&text[done..start]);
        edited.push_str(&new);
        done = end;
    }
    edited.push_str(&text[done..]);
    edited
}

/// The SELECTs whose columns are the query's.
fn selects(body: &SetExpr) -> Vec<&Select> {
    match body {
        SetExpr::Select(select) => vec![select],
        SetExpr::SetOperation { left, right, .. } => {
            let mut both = selects(left);
            both.extend(selects(right));
            both
        }
        _ => Vec::new(),
    }
}

/// A plain `*` or `t.*`, and the name of `t`.
fn star(item: &SelectItem) -> Option<(&WildcardAdditionalOptions, Option<String>)> {
    let (options, table) = match item {
        SelectItem::Wildcard(options) => (options, None),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
            (options, Some(fold(name.0.last()?.as_ident()?)))
        }
        _ => return None,
    };
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none();
    plain.then_some((options, table))
}

/// A relation by its name, with its schema where another one has the same name.
fn shown(relation: &TableReference, columns: &Columns) -> String {
    let others = columns.iter().filter_map(|(other, _)| other.as_ref());
    let is_only = others
        .filter(|other| other.table() == relation.table())
        .all(|other| other == relation);
    match relation.schema() {
        Some(schema) if !is_only => format!("{}.{}", quote_identifier(schema), quote_identifier(relation.table())),
        _ => quote_identifier(relation.table()).to_string(),
    }
}

/// Columns and the relations they are of.
type Columns = Vec<(Option<TableReference>, String)>;

/// Everything a SELECT reads from.
async fn columns(scope: &Scope<'_>, query: &Query, select: &Select) -> Result<Columns> {
    let mut select = select.clone();
    select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    select.distinct = None;
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    let query = Query {
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        ..query.clone()
    };
    let plan = query::plan(scope, &query, &[]).await?.logical;
    let columns = plan.schema().iter().map(|(relation, field)| {
        let named = relation.filter(|relation| !relation.table().starts_with(MARKER));
        (named.cloned(), strip_marker(field.name()).to_owned())
    });
    Ok(columns.collect())
}
