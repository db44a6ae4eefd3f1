//! `CREATE`, `ALTER`, `DROP POLICY` and `ALTER TABLE … ROW LEVEL SECURITY`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};
use staffa_catalog::{Policy, PolicyCommand, PolicyCondition, RelationKind, Security, Table};
use uuid::Uuid;

use super::{AccessEdit, Work, mask};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{PolicyAst, RoleName, RowSecurity};
use crate::policy::check_condition;
use crate::resolve::{self, fold, shown};
use crate::statement::Plan;
use crate::statement::query::Scope;
use crate::walk;

pub(super) async fn plan(scope: &Scope<'_>, mut work: Work<'_>, asked: &PolicyAst) -> Result<Plan> {
    match asked {
        PolicyAst::Create {
            name,
            table,
            permissive,
            command,
            roles,
            using,
            check,
        } => {
            let table = owned_table(scope, table).await?;
            let mut security = security_of(&work, &table);
            let name = fold(name);
            if security.policies.contains_key(&name) {
                let message = format!("policy \"{name}\" for table \"{}\" already exists", table.name().name);
                return Err(Error::new(ErrorKind::DuplicateObject, message));
            }
            let policy = Policy {
                permissive: *permissive,
                command: *command,
                roles: role_ids(&mut work, roles)?,
                using: condition(scope, &table, using.as_ref()).await?,
                check: condition(scope, &table, check.as_ref()).await?,
                comment: None,
            };
            security.policies.insert(name, policy);
            set(&mut work, &table, security);
        }
        PolicyAst::Alter {
            name,
            table,
            roles,
            using,
            check,
        } => {
            let table = owned_table(scope, table).await?;
            let mut security = security_of(&work, &table);
            let using = condition(scope, &table, using.as_ref()).await?;
            let check = condition(scope, &table, check.as_ref()).await?;
            let roles = match roles {
                Some(roles) => Some(role_ids(&mut work, roles)?),
                None => None,
            };
            let policy = named(&mut security, name, &table)?;
            let wrong = |message: &str| Err(Error::new(ErrorKind::SyntaxError, message));
            match policy.command {
                PolicyCommand::Select | PolicyCommand::Delete if check.is_some() => {
                    return wrong("only USING expression allowed for SELECT, DELETE");
                }
                PolicyCommand::Insert if using.is_some() => {
                    return wrong("only WITH CHECK expression allowed for INSERT");
                }
                _ => {}
            }
            policy.using = using.or(policy.using.take());
            policy.check = check.or(policy.check.take());
            policy.roles = roles.unwrap_or(std::mem::take(&mut policy.roles));
            set(&mut work, &table, security);
        }
        PolicyAst::Rename { name, table, to } => {
            let table = owned_table(scope, table).await?;
            let mut security = security_of(&work, &table);
            let to = fold(to);
            if security.policies.contains_key(&to) {
                let message = format!("policy \"{to}\" for table \"{}\" already exists", table.name().name);
                return Err(Error::new(ErrorKind::DuplicateObject, message));
            }
            let policy = named(&mut security, name, &table)?.clone();
            security.policies.remove(&fold(name));
            security.policies.insert(to, policy);
            set(&mut work, &table, security);
        }
        PolicyAst::Drop { name, table, if_exists } => {
            if *if_exists && resolve::existing(scope.context, table)?.is_none() {
                let notice = format!("relation \"{}\" does not exist, skipping", shown(table));
                return Ok(Plan::Skipped { notice });
            }
            let table = owned_table(scope, table).await.map_err(not_owner_of_relation)?;
            let mut security = security_of(&work, &table);
            if *if_exists && !security.policies.contains_key(&fold(name)) {
                let notice = format!(
                    "policy \"{}\" for relation \"{}\" does not exist, skipping",
                    fold(name),
                    table.name().name
                );
                return Ok(Plan::Skipped { notice });
            }
            named(&mut security, name, &table)?;
            security.policies.remove(&fold(name));
            set(&mut work, &table, security);
        }
        PolicyAst::Comment { name, table, text } => {
            let table = owned_table(scope, table).await?;
            let mut security = security_of(&work, &table);
            named(&mut security, name, &table)?.comment.clone_from(text);
            set(&mut work, &table, security);
        }
        PolicyAst::Switch {
            table,
            if_exists,
            switches,
        } => {
            match resolve::existing(scope.context, table)? {
                None if *if_exists => {
                    let notice = format!("relation \"{}\" does not exist, skipping", shown(table));
                    return Ok(Plan::Skipped { notice });
                }
                Some((full, RelationKind::View)) => {
                    let action = match switches.first() {
                        Some(RowSecurity::Enabled(false)) => "DISABLE ROW SECURITY",
                        Some(RowSecurity::Forced(true)) => "FORCE ROW SECURITY",
                        Some(RowSecurity::Forced(false)) => "NO FORCE ROW SECURITY",
                        _ => "ENABLE ROW SECURITY",
                    };
                    let message = format!(
                        "ALTER action {action} cannot be performed on relation \"{}\"",
                        full.name
                    );
                    return Err(Error::new(ErrorKind::WrongObjectType, message)
                        .with_detail("This operation is not supported for views."));
                }
                _ => {}
            }
            let table = owned_table(scope, table).await?;
            let mut security = security_of(&work, &table);
            for switch in switches {
                match switch {
                    RowSecurity::Enabled(enabled) => security.enabled = *enabled,
                    RowSecurity::Forced(forced) => security.forced = *forced,
                }
            }
            set(&mut work, &table, security);
        }
        PolicyAst::CreateMask {
            name,
            if_not_exists,
            columns,
            expression,
        } => {
            if let Some(skipped) = mask::create(scope, &mut work, name, *if_not_exists, columns, expression)? {
                return Ok(skipped);
            }
        }
        PolicyAst::AlterMask { name, expression } => mask::alter(scope, &mut work, name, expression).await?,
        PolicyAst::DropMask { name } => mask::drop(&mut work, name).await?,
        PolicyAst::AttachMask {
            name,
            table,
            column,
            inputs,
            role,
            priority,
        } => {
            let asked = mask::Attached {
                column,
                inputs,
                role,
                priority: *priority,
            };
            mask::attach(scope, &mut work, name, table, asked).await?;
        }
        PolicyAst::DetachMask {
            name,
            table,
            column,
            role,
        } => mask::detach(scope, &mut work, name, table, column, role).await?,
    }
    Ok(Plan::Access(work.plan))
}

/// The table of this name.
pub(super) async fn table_named(scope: &Scope<'_>, name: &ObjectName) -> Result<Arc<Table>> {
    let table = resolve::table(scope.context, name).await?;
    match table.materialized() {
        None => Ok(table),
        Some(_) => {
            let message = format!("\"{}\" is not a table", table.name().name);
            Err(Error::new(ErrorKind::WrongObjectType, message))
        }
    }
}

/// PostgreSQL's words where a policy is dropped.
fn not_owner_of_relation(error: Error) -> Error {
    match error.message().strip_prefix("must be owner of table ") {
        Some(table) => Error::new(error.kind(), format!("must be owner of relation {table}")),
        None => error,
    }
}

/// The table, which must be the role's. Whom masks bind cannot read around them by a condition of its own.
async fn owned_table(scope: &Scope<'_>, name: &ObjectName) -> Result<Arc<Table>> {
    let table = table_named(scope, name).await?;
    scope.context.check_owner(table.name(), false).await?;
    scope.context.check_unmasked(&table)?;
    Ok(table)
}

pub(super) fn security_of(work: &Work<'_>, table: &Table) -> Security {
    work.access.security(table.uuid()).cloned().unwrap_or_default()
}

pub(super) fn set(work: &mut Work<'_>, table: &Table, security: Security) {
    work.plan.edits.push(AccessEdit::Security(table.uuid(), security));
}

fn named<'a>(security: &'a mut Security, name: &Ident, table: &Table) -> Result<&'a mut Policy> {
    let name = fold(name);
    security.policies.get_mut(&name).ok_or_else(|| {
        let message = format!("policy \"{name}\" for table \"{}\" does not exist", table.name().name);
        Error::new(ErrorKind::UndefinedObject, message)
    })
}

/// None: everybody.
fn role_ids(work: &mut Work<'_>, roles: &[RoleName]) -> Result<Vec<Uuid>> {
    if roles.contains(&RoleName::Public) {
        if roles.len() > 1 {
            work.warn("22023", "ignoring specified roles other than PUBLIC".to_owned());
        }
        return Ok(Vec::new());
    }
    let mut ids = Vec::with_capacity(roles.len());
    for role in roles {
        let id = work.role(role)?.id;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

async fn condition(scope: &Scope<'_>, table: &Table, asked: Option<&Expr>) -> Result<Option<PolicyCondition>> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let relation = table.name().name.clone();
    let mentioned = names_in(asked);
    let whole = mentioned.contains(&relation);
    let columns = table.schema().columns.iter();
    let columns = columns.filter(|column| whole || mentioned.contains(&column.name));
    let condition = PolicyCondition {
        text: asked.to_string(),
        columns: columns.map(|column| (column.name.clone(), column.field_id)).collect(),
        relation,
        search_path: scope.context.search_path.clone(),
    };
    check_condition(scope, table, &condition).await?;
    Ok(Some(condition))
}

/// All names of values in an expression and its subqueries; of `t.a` it is `a`, of `t.*` and `t` itself the relation.
fn names_in(expression: &Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _ = walk::expressions(expression, |inner| {
        match inner {
            Expr::Identifier(ident) => {
                names.insert(fold(ident));
            }
            Expr::CompoundIdentifier(parts) => names.extend(parts.iter().skip(1).map(fold)),
            Expr::QualifiedWildcard(name, _) => names.extend(resolve::parts(name).into_iter().flatten()),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    names
}
