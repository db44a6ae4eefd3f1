//! What stands in CREATE TABLE: defaults, generated columns, constraints.

use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, Expr, GeneratedAs, Ident, IndexColumn, TableConstraint,
};
use staffa_catalog::ColumnDefinition;

use super::clauses::first_column;
use super::scope::{Level, Relation};
use super::{Checker, Type};
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::{Relations, fold};
use crate::value::type_oid;

/// Finds the first mistake; `columns` are those that `given` became.
pub(crate) fn definition(
    context: &PlanContext,
    table: &str,
    columns: &[ColumnDefinition],
    given: &[ColumnDef],
    constraints: &[TableConstraint],
    text: &str,
) -> Result<()> {
    let relations = Relations::default();
    let mut definition = Definition {
        checker: Checker::new(context, &relations, text)?,
        table,
        columns,
        keys: 0,
    };
    for (column, given) in columns.iter().zip(given) {
        definition.column(column, given)?;
    }
    constraints
        .iter()
        .try_for_each(|constraint| definition.constraint(constraint))
}

struct Definition<'a> {
    checker: Checker<'a>,
    table: &'a str,
    columns: &'a [ColumnDefinition],
    /// Primary keys so far.
    keys: usize,
}

impl Definition<'_> {
    fn column(&mut self, column: &ColumnDefinition, given: &ColumnDef) -> Result<()> {
        let (mut nullable, mut nulls) = (None, Vec::new());
        let (mut default, mut generated) = (false, false);
        for option in &given.options {
            let wrong = |this: &Self, what: &str, words: &[&str]| {
                let message = format!("{what} for column \"{}\" of table \"{}\"", column.name, this.table);
                let error = Error::new(ErrorKind::SyntaxError, message);
                Err(this.checker.places.following(error, &given.name, words))
            };
            match &option.option {
                ColumnOption::Null | ColumnOption::NotNull => {
                    let takes_null = matches!(option.option, ColumnOption::Null);
                    if nullable.is_some_and(|before| before != takes_null) {
                        nulls.push(if takes_null { "null" } else { "not" });
                        return wrong(self, "conflicting NULL/NOT NULL declarations", &nulls);
                    }
                    nullable = Some(takes_null);
                    nulls.push("null");
                }
                ColumnOption::Default(value) => {
                    if generated {
                        let what = "both default and generation expression specified";
                        return wrong(self, what, &["default"]);
                    }
                    if default {
                        return wrong(self, "multiple default values specified", &["default", "default"]);
                    }
                    default = true;
                    self.default_value(column, value)?;
                }
                ColumnOption::Generated {
                    generated_as: GeneratedAs::ExpStored,
                    generation_expr: Some(value),
                    ..
                } => {
                    if default {
                        let what = "both default and generation expression specified";
                        return wrong(self, what, &["generated"]);
                    }
                    generated = true;
                    self.over_row("column generation expressions", |checker| {
                        checker.expression(value).map(|_| ())
                    })?;
                }
                ColumnOption::Check(check) => self.check(&check.expr)?,
                ColumnOption::PrimaryKey(_) => self.primary_key(&given.name, &["primary"])?,
                _ => {}
            }
        }
        Ok(())
    }

    fn constraint(&mut self, constraint: &TableConstraint) -> Result<()> {
        match constraint {
            TableConstraint::Check(check) => self.check(&check.expr),
            TableConstraint::PrimaryKey(key) => {
                self.key(&key.columns, key.name.as_ref(), "primary")?;
                self.keys += 1;
                Ok(())
            }
            TableConstraint::Unique(key) => self.key(&key.columns, key.name.as_ref(), "unique"),
            _ => Ok(()),
        }
    }

    fn default_value(&mut self, column: &ColumnDefinition, value: &Expr) -> Result<()> {
        if let Some(ident) = first_column(value) {
            let error = Error::unsupported("cannot use column reference in DEFAULT expression");
            return Err(self.checker.places.at(error, &ident));
        }
        self.checker.levels.push(Level::default());
        self.checker.clause = Some("DEFAULT expressions");
        let checked = self
            .checker
            .assigned(value, &column.name, &column.ty, "default expression");
        self.checker.clause = None;
        self.checker.levels.pop();
        checked
    }

    fn check(&mut self, condition: &Expr) -> Result<()> {
        self.over_row("check constraints", |checker| checker.condition(condition, "CHECK"))
    }

    fn over_row(&mut self, clause: &'static str, look: impl FnOnce(&mut Checker<'_>) -> Result<()>) -> Result<()> {
        let column = |column: &ColumnDefinition| (Some(column.name.clone()), Type::Some(type_oid(&column.ty)));
        let mut level = Level::default();
        level.add(Relation {
            alias: self.table.to_owned(),
            table: Some(self.table.to_owned()),
            columns: Some(self.columns.iter().map(column).collect()),
        });
        self.checker.levels.push(level);
        self.checker.clause = Some(clause);
        let looked = look(&mut self.checker);
        self.checker.clause = None;
        self.checker.levels.pop();
        looked
    }

    fn key(&self, columns: &[IndexColumn], name: Option<&Ident>, word: &str) -> Result<()> {
        let missing = columns.iter().find_map(|part| match &part.column.expr {
            Expr::Identifier(ident) if self.columns.iter().all(|column| column.name != fold(ident)) => Some(ident),
            _ => None,
        });
        let Some(ident) = missing else { return Ok(()) };
        let message = format!("column \"{}\" named in key does not exist", fold(ident));
        let word = if name.is_some() { "constraint" } else { word };
        let error = Error::new(ErrorKind::UndefinedColumn, message);
        let place = Expr::Identifier(ident.clone());
        Err(self.checker.places.before(error, &place, &[word]))
    }

    fn primary_key(&mut self, column: &Ident, words: &[&str]) -> Result<()> {
        self.keys += 1;
        if self.keys == 1 {
            return Ok(());
        }
        let message = format!("multiple primary keys for table \"{}\" are not allowed", self.table);
        let error = Error::new(ErrorKind::InvalidTableDefinition, message);
        Err(self.checker.places.following(error, column, words))
    }
}
