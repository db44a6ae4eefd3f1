//! DEFAULT, GENERATED, CHECK and keys: from syntax to what the catalog keeps, checked as PostgreSQL checks them.
//!
//! CHECK and NOT NULL are enforced. PRIMARY KEY, UNIQUE and FOREIGN KEY are kept and told, not enforced, as in Redshift and
//! Snowflake; the NOT NULL of a primary key is.

use datafusion::common::DFSchema;
use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::sqlparser::ast::{
    self, ColumnDef, ColumnOption, ForeignKeyConstraint, GeneratedAs, GeneratedExpressionMode, Ident, IndexColumn,
    NullsDistinctOption, ObjectName, ReferentialAction, TableConstraint,
};
use staffa_catalog::{
    ColumnDefault, ColumnDefinition, Constraint, ConstraintKind, IdentityKind, RelationKind, SqlType, TableName,
};

use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::{self, fold, sequence};
use crate::statement::identity;
use crate::stored::{self, Role};
use crate::type_planner::sql_type_of_ast;

/// PostgreSQL's limit on the length of names it makes.
const NAME_BYTES_MAX: usize = 63;

/// A column as it is defined, and the constraints that stand beside it, as constraints of the table.
pub(super) fn column(context: &PlanContext, defined: &ColumnDef) -> Result<(ColumnDefinition, Vec<TableConstraint>)> {
    let serial = identity::serial(&defined.data_type);
    let mut column = ColumnDefinition {
        name: fold(&defined.name),
        ty: match &serial {
            Some(ty) => ty.clone(),
            None => sql_type_of_ast(&defined.data_type)?,
        },
        nullable: serial.is_none(),
        comment: None,
        default: None,
    };
    if let Some(ty) = &serial {
        let sequence = identity::of_column(IdentityKind::Serial, ty, &[])?;
        column.default = Some(ColumnDefault::Identity(sequence));
    }
    let ty = column.ty.clone();
    let mut constraints = Vec::new();
    for option in &defined.options {
        let name = option.name.clone();
        let this = || vec![IndexColumn::from(defined.name.clone())];
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Comment(text) => column.comment = Some(text.clone()),
            ColumnOption::Default(expression) => {
                let text = sequence::stored_text(context, expression)?;
                column.default = Some(ColumnDefault::Expression(text));
            }
            ColumnOption::Generated {
                generated_as: GeneratedAs::ExpStored,
                generation_expr: Some(expression),
                generation_expr_mode: Some(GeneratedExpressionMode::Stored),
                sequence_options: None,
                ..
            } => column.default = Some(ColumnDefault::Generated(expression.to_string())),
            ColumnOption::Generated {
                generated_as: generated_as @ (GeneratedAs::Always | GeneratedAs::ByDefault),
                sequence_options,
                generation_expr: None,
                ..
            } => {
                let kind = match generated_as {
                    GeneratedAs::Always => IdentityKind::Always,
                    _ => IdentityKind::ByDefault,
                };
                let options = sequence_options.as_deref().unwrap_or_default();
                let sequence = identity::of_column(kind, &ty, options)?;
                column.default = Some(ColumnDefault::Identity(sequence));
                column.nullable = false;
            }
            ColumnOption::Generated { .. } => {
                return Err(
                    Error::unsupported("GENERATED columns other than STORED expressions are not supported")
                        .with_hint("Write GENERATED ALWAYS AS (expression) STORED."),
                );
            }
            ColumnOption::Collation(collation) => {
                return Err(Error::unsupported(format!(
                    "COLLATE {collation} in CREATE TABLE is not supported"
                )));
            }
            ColumnOption::PrimaryKey(key) => {
                let mut key = key.clone();
                (key.name, key.columns) = (key.name.or(name), this());
                constraints.push(TableConstraint::PrimaryKey(key));
            }
            ColumnOption::Unique(key) => {
                let mut key = key.clone();
                (key.name, key.columns) = (key.name.or(name), this());
                constraints.push(TableConstraint::Unique(key));
            }
            ColumnOption::ForeignKey(key) => {
                let mut key = key.clone();
                (key.name, key.columns) = (key.name.or(name), vec![defined.name.clone()]);
                constraints.push(TableConstraint::ForeignKey(key));
            }
            ColumnOption::Check(check) => {
                let mut check = check.clone();
                check.name = check.name.or(name);
                constraints.push(TableConstraint::Check(check));
            }
            other => return Err(Error::unsupported(format!("{other} is not supported in CREATE TABLE"))),
        }
    }
    Ok((column, constraints))
}

/// Adds constraints to those a table has; the columns of a primary key become NOT NULL.
pub(super) fn add(
    context: &PlanContext,
    table: &TableName,
    columns: &mut [ColumnDefinition],
    constraints: &mut Vec<Constraint>,
    given: &[TableConstraint],
) -> Result<()> {
    let before = constraints.len();
    for constraint in given {
        let (name, kind) = one(context, table, columns, constraints, constraint)?;
        if let Some(taken) = constraints.iter().position(|other| other.name == name) {
            // Two conditions of one statement are told apart from what the table has.
            let is_check = |kind: &ConstraintKind| matches!(kind, ConstraintKind::Check { .. });
            let message = match taken >= before && is_check(&kind) && is_check(&constraints[taken].kind) {
                true => format!("check constraint \"{name}\" already exists"),
                false => format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
            };
            return Err(Error::new(ErrorKind::DuplicateObject, message));
        }
        if let ConstraintKind::PrimaryKey { columns: key } = &kind {
            for column in columns.iter_mut().filter(|column| key.contains(&column.name)) {
                column.nullable = false;
            }
        }
        constraints.push(Constraint {
            name,
            comment: None,
            kind,
        });
    }
    Ok(())
}

fn one(
    context: &PlanContext,
    table: &TableName,
    columns: &[ColumnDefinition],
    existing: &[Constraint],
    given: &TableConstraint,
) -> Result<(String, ConstraintKind)> {
    let plain = |present: bool, what: &str| match present {
        true => Err(Error::unsupported(format!("{what} of a constraint is not supported"))),
        false => Ok(()),
    };
    let (name, label, about, kind) = match given {
        TableConstraint::Check(check) => {
            plain(check.enforced.is_some(), "ENFORCED")?;
            let all: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            let named = stored::columns_named(&check.expr, &all);
            check_condition(context, table, columns, &check.expr.to_string())?;
            let mut condition = &*check.expr;
            while let ast::Expr::Nested(inner) = condition {
                condition = inner;
            }
            let expression = stored::text_of(condition, Some(&table.name), &all);
            let about = if named.len() == 1 { named.clone() } else { Vec::new() };
            let kind = ConstraintKind::Check {
                expression,
                columns: named,
            };
            (&check.name, "check", about, kind)
        }
        TableConstraint::PrimaryKey(key) => {
            plain(key.characteristics.is_some(), "DEFERRABLE")?;
            plain(
                key.index_type.is_some() || !key.index_options.is_empty(),
                "an index option",
            )?;
            if existing
                .iter()
                .any(|c| matches!(c.kind, ConstraintKind::PrimaryKey { .. }))
            {
                let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name);
                return Err(Error::new(ErrorKind::InvalidTableDefinition, message));
            }
            let columns = key_columns(&key.columns, columns)?;
            (&key.name, "pkey", Vec::new(), ConstraintKind::PrimaryKey { columns })
        }
        TableConstraint::Unique(key) => {
            plain(key.characteristics.is_some(), "DEFERRABLE")?;
            plain(
                key.index_type.is_some() || !key.index_options.is_empty(),
                "an index option",
            )?;
            plain(
                !matches!(
                    key.nulls_distinct,
                    NullsDistinctOption::None | NullsDistinctOption::Distinct
                ),
                "NULLS NOT DISTINCT",
            )?;
            let columns = key_columns(&key.columns, columns)?;
            (&key.name, "key", columns.clone(), ConstraintKind::Unique { columns })
        }
        TableConstraint::ForeignKey(key) => {
            plain(key.characteristics.is_some(), "DEFERRABLE")?;
            let kind = foreign_key(context, table, columns, existing, key)?;
            let about = key.columns.iter().map(fold).collect();
            (&key.name, "fkey", about, kind)
        }
        other => {
            return Err(Error::unsupported(format!("{other} is not supported in CREATE TABLE")));
        }
    };
    let taken = |name: &str| existing.iter().any(|constraint| constraint.name == name);
    let name = match name {
        None => chosen_name(&table.name, &about, label, taken),
        Some(name) => fold(name),
    };
    Ok((name, kind))
}

/// `table_column_label`, with a number after it when that is taken; the longer part is cut when it gets too long.
pub(super) fn chosen_name(table: &str, columns: &[String], label: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut pass = 0;
    loop {
        let number = if pass == 0 { String::new() } else { pass.to_string() };
        let room = NAME_BYTES_MAX.saturating_sub(label.len() + number.len() + 1 + usize::from(!columns.is_empty()));
        let (mut first, mut second) = (table.to_owned(), columns.join("_"));
        while first.len() + second.len() > room {
            let longer = if first.len() > second.len() {
                &mut first
            } else {
                &mut second
            };
            longer.pop();
        }
        let middle = if columns.is_empty() {
            String::new()
        } else {
            format!("_{second}")
        };
        let name = format!("{first}{middle}_{label}{number}");
        if !taken(&name) {
            return name;
        }
        pass += 1;
    }
}

/// The name of a column's sequence.
pub fn sequence_name(table: &str, column: &str, taken: impl Fn(&str) -> bool) -> String {
    chosen_name(table, &[column.to_owned()], "seq", taken)
}

fn key_columns(key: &[IndexColumn], columns: &[ColumnDefinition]) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::with_capacity(key.len());
    for part in key {
        let ast::Expr::Identifier(ident) = &part.column.expr else {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                format!("syntax error at or near \"{part}\""),
            ));
        };
        let name = fold(ident);
        check_key_column(&name, columns)?;
        if names.contains(&name) {
            let message = format!("column \"{name}\" appears twice in a key");
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
        names.push(name);
    }
    Ok(names)
}

fn check_key_column(name: &str, columns: &[ColumnDefinition]) -> Result<()> {
    if columns.iter().any(|column| column.name == name) {
        return Ok(());
    }
    let message = format!("column \"{name}\" named in key does not exist");
    Err(Error::new(ErrorKind::UndefinedColumn, message))
}

fn foreign_key(
    context: &PlanContext,
    table: &TableName,
    columns: &[ColumnDefinition],
    existing: &[Constraint],
    key: &ForeignKeyConstraint,
) -> Result<ConstraintKind> {
    let acts = |action: &Option<ReferentialAction>| {
        !matches!(
            action,
            None | Some(ReferentialAction::NoAction | ReferentialAction::Restrict)
        )
    };
    if acts(&key.on_delete) || acts(&key.on_update) {
        return Err(Error::unsupported("actions of foreign keys are not supported")
            .with_detail("Foreign keys are declared, not enforced, so nothing would happen to the referencing rows."));
    }
    let own: Vec<String> = key.columns.iter().map(fold).collect();
    check_columns(&own, |name| columns.iter().any(|column| column.name == name))?;
    let target = referenced_table(context, table, &key.foreign_table)?;
    let mut referenced: Vec<String> = key.referred_columns.iter().map(fold).collect();
    if referenced.is_empty() && target == *table {
        let own_key = existing.iter().find_map(|constraint| match &constraint.kind {
            ConstraintKind::PrimaryKey { columns } => Some(columns.clone()),
            _ => None,
        });
        referenced = own_key.ok_or_else(|| {
            let message = format!("there is no primary key for referenced table \"{}\"", target.name);
            Error::new(ErrorKind::UndefinedObject, message)
        })?;
    }
    if target == *table {
        check_columns(&referenced, |name| columns.iter().any(|column| column.name == name))?;
    }
    if !referenced.is_empty() && referenced.len() != own.len() {
        let message = "number of referencing and referenced columns for foreign key disagree";
        return Err(Error::new(ErrorKind::InvalidForeignKey, message));
    }
    Ok(ConstraintKind::ForeignKey {
        columns: own,
        table: (target.database, target.schema, target.name),
        referenced,
        restricts_update: matches!(key.on_update, Some(ReferentialAction::Restrict)),
        restricts_delete: matches!(key.on_delete, Some(ReferentialAction::Restrict)),
    })
}

/// The columns that a foreign key names are there.
fn check_columns(names: &[String], is_there: impl Fn(&str) -> bool) -> Result<()> {
    match names.iter().find(|name| !is_there(name)) {
        Some(name) => {
            let message = format!("column \"{name}\" referenced in foreign key constraint does not exist");
            Err(Error::new(ErrorKind::UndefinedColumn, message))
        }
        None => Ok(()),
    }
}

/// The columns of other tables that foreign keys name are there.
pub(super) async fn check_referenced(context: &PlanContext, constraints: &[TableConstraint]) -> Result<()> {
    for constraint in constraints {
        let TableConstraint::ForeignKey(key) = constraint else {
            continue;
        };
        let names: Vec<String> = key.referred_columns.iter().map(fold).collect();
        if let Some((full, RelationKind::Table)) = resolve::existing(context, &key.foreign_table)?
            && let Some(table) = context.snapshot.table(&full).await?
        {
            check_columns(&names, |name| table.schema().column(name).is_some())?;
        }
    }
    Ok(())
}

fn referenced_table(context: &PlanContext, table: &TableName, name: &ObjectName) -> Result<TableName> {
    // The table itself may not be there yet.
    let own = [&table.database, &table.schema, &table.name].map(String::as_str);
    let named = resolve::parts(name)?;
    if named.len() <= own.len() && own[own.len() - named.len()..].iter().eq(&named) {
        return Ok(table.clone());
    }
    match resolve::existing(context, name)? {
        Some((full, _)) => Ok(full),
        None => Err(resolve::missing(context, name)),
    }
}

/// A condition that can be planned and is one.
fn check_condition(context: &PlanContext, table: &TableName, columns: &[ColumnDefinition], text: &str) -> Result<()> {
    let columns = typed(columns);
    let condition = stored::plan(context, Role::Check, text, &table.name, &columns)?;
    let schema = row_schema(context, &columns)?;
    let (_, field) = condition.to_field(&schema)?;
    let ty = crate::types::sql_type(&field);
    match ty {
        SqlType::Boolean | SqlType::Unknown => Ok(()),
        other => {
            let message = format!("argument of CHECK must be type boolean, not type {other}");
            Err(Error::new(ErrorKind::DatatypeMismatch, message))
        }
    }
}

/// Plans every default and generated value once, so that what is wrong is said now. Generated ones are kept without the
/// table's name.
pub(super) fn check_values(context: &PlanContext, table: &TableName, columns: &mut [ColumnDefinition]) -> Result<()> {
    for column in columns.iter() {
        match &column.default {
            None | Some(ColumnDefault::Identity(_)) => {}
            Some(ColumnDefault::Expression(text)) => {
                stored::default_value(context, &column.name, &column.ty, text)?;
            }
            Some(ColumnDefault::Generated(text)) => check_generated(context, table, columns, column, text)?,
        }
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    for column in columns {
        if let Some(ColumnDefault::Generated(text)) = &mut column.default {
            *text = stored::text_of(&stored::syntax(text)?, Some(&table.name), &names);
        }
    }
    Ok(())
}

fn check_generated(
    context: &PlanContext,
    table: &TableName,
    columns: &[ColumnDefinition],
    column: &ColumnDefinition,
    text: &str,
) -> Result<()> {
    let generated: Vec<String> = columns
        .iter()
        .filter(|column| matches!(column.default, Some(ColumnDefault::Generated(_))))
        .map(|column| column.name.clone())
        .collect();
    if let Some(other) = stored::columns_named(&stored::syntax(text)?, &generated).first() {
        let message = format!("cannot use generated column \"{other}\" in column generation expression");
        return Err(Error::new(ErrorKind::InvalidObjectDefinition, message)
            .with_detail("A generated column cannot reference another generated column."));
    }
    let columns = typed(columns);
    let value = stored::plan(context, Role::Generated, text, &table.name, &columns)?;
    if value.is_volatile() || stored::depends_on_session(&value) {
        return Err(Error::new(
            ErrorKind::InvalidObjectDefinition,
            "generation expression is not immutable",
        ));
    }
    let schema = row_schema(context, &columns)?;
    stored::assigned(context, Role::Generated, &column.name, &column.ty, value, &schema).map(|_| ())
}

fn typed(columns: &[ColumnDefinition]) -> Vec<(String, SqlType)> {
    columns
        .iter()
        .map(|column| (column.name.clone(), column.ty.clone()))
        .collect()
}

pub(super) fn row_schema(context: &PlanContext, columns: &[(String, SqlType)]) -> Result<DFSchema> {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, ty)| crate::types::arrow_field(name, ty, true, &context.time_zone))
        .collect();
    Ok(DFSchema::try_from(arrow::datatypes::Schema::new(fields))?)
}

/// The constraints after one was dropped, and whether it was there.
pub(super) fn without(constraints: &[Constraint], name: &Ident) -> Option<Vec<Constraint>> {
    let name = fold(name);
    let kept: Vec<Constraint> = constraints.iter().filter(|c| c.name != name).cloned().collect();
    (kept.len() < constraints.len()).then_some(kept)
}

/// The constraints without those about a column that goes.
pub(super) fn without_column(constraints: &[Constraint], column: &str) -> Vec<Constraint> {
    let about = |constraint: &&Constraint| !constraint.columns().iter().any(|name| name == column);
    constraints.iter().filter(about).cloned().collect()
}

/// The constraints with a column under its new name.
pub(super) fn with_column_renamed(constraints: &[Constraint], from: &str, to: &str) -> Result<Vec<Constraint>> {
    let renamed = |columns: &mut Vec<String>| {
        for column in columns.iter_mut().filter(|column| *column == from) {
            to.clone_into(column);
        }
    };
    let mut constraints = constraints.to_vec();
    for constraint in &mut constraints {
        match &mut constraint.kind {
            ConstraintKind::Check { expression, columns } => {
                if columns.iter().any(|column| column == from) {
                    *expression = stored::with_column_renamed(expression, from, to)?;
                }
                renamed(columns);
            }
            ConstraintKind::PrimaryKey { columns }
            | ConstraintKind::Unique { columns }
            | ConstraintKind::ForeignKey { columns, .. } => renamed(columns),
        }
    }
    Ok(constraints)
}
