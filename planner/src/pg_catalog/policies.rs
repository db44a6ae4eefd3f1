//! Row policies as PostgreSQL shows them: `pg_policy`, `pg_policies`.

use arrow::array::RecordBatch;
use staffa_catalog::{Policy, PolicyCondition, Security};

use super::deparse;
use super::facts::SystemRelation;
use super::image::Relation;
use super::rows::{Cell, Rows};
use super::view::CatalogView;
use crate::error::Result;
use crate::stored::with_column_renamed;

/// What is said of a table's rows; of most nothing.
pub(crate) fn security_of<'a>(view: &'a CatalogView, relation: &Relation) -> Option<&'a Security> {
    view.roles.access.security(relation.uuid?)
}

fn all(view: &CatalogView) -> impl Iterator<Item = (&Relation, &String, &Policy)> {
    let known = view.roles.access.all_security();
    let of_here = known.filter_map(|(table, security)| Some((view.image.with_uuid(table)?, security)));
    of_here.flat_map(|(relation, security)| {
        let policies = security.policies.iter();
        policies.map(move |(name, policy)| (relation, name, policy))
    })
}

pub(super) fn rows(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "oid",
            "polname",
            "polrelid",
            "polcmd",
            "polpermissive",
            "polroles",
            "polqual",
            "polwithcheck",
        ],
    )?;
    for (number, (table, name, policy)) in (1_u32..).zip(all(view)) {
        let roles = policy.roles.iter().filter_map(|role| view.roles.with_id(*role));
        // 0 is everybody.
        let roles = match policy.roles.is_empty() {
            true => vec![0],
            false => roles.map(|role| role.oid).collect(),
        };
        rows.push([
            number.into(),
            name.into(),
            table.oid.into(),
            policy.command.letter().to_string().into(),
            policy.permissive.into(),
            Cell::Oids(roles),
            shown(view, table, policy.using.as_ref()).into(),
            shown(view, table, policy.check.as_ref()).into(),
        ]);
    }
    rows.finish()
}

pub(super) fn shown_rows(view: &CatalogView, relation: &'static SystemRelation) -> Result<RecordBatch> {
    let mut rows = Rows::of(
        relation,
        [
            "schemaname",
            "tablename",
            "policyname",
            "permissive",
            "roles",
            "cmd",
            "qual",
            "with_check",
        ],
    )?;
    for (table, name, policy) in all(view) {
        let roles = policy.roles.iter().filter_map(|role| view.roles.with_id(*role));
        let roles = match policy.roles.is_empty() {
            true => vec!["public".to_owned()],
            false => roles.map(|role| role.name.clone()).collect(),
        };
        rows.push([
            (&table.schema.name).into(),
            (&table.name).into(),
            name.into(),
            if policy.permissive { "PERMISSIVE" } else { "RESTRICTIVE" }.into(),
            Cell::Texts(roles),
            policy.command.name().into(),
            shown(view, table, policy.using.as_ref()).into(),
            shown(view, table, policy.check.as_ref()).into(),
        ]);
    }
    rows.finish()
}

/// A condition by the names that the table's columns have now.
fn shown(view: &CatalogView, table: &Relation, condition: Option<&PolicyCondition>) -> Option<String> {
    let condition = condition?;
    let mut text = condition.text.clone();
    for (called, id) in &condition.columns {
        let number = table.column_numbers.get(id);
        let column = number.and_then(|number| table.columns.iter().find(|column| column.number == *number));
        if let Some(column) = column.filter(|column| column.name != *called) {
            text = with_column_renamed(&text, called, &column.name).unwrap_or(text);
        }
    }
    deparse::over_row(view, table, &text, false).or_else(|| Some(format!("({text})")))
}
