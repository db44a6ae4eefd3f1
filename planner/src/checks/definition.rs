//! What stands in CREATE TABLE: defaults, generated columns, constraints.

use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, Expr, GeneratedAs, Ident, IndexColumn, TableConstraint,
};
use staffa_catalog::ColumnDefinition;

use super::clauses::first_column;
use super::place::Places;
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

/// Whence a column gets its value: what it is called beside another one, and what is said where it is there twice.
const SOURCES: [(&str, &str); 3] = [
    ("default", "multiple default values specified"),
    ("identity", "multiple identity specifications"),
    ("generation expression", "multiple generation clauses specified"),
];

/// Finds options of a column that do not go together; `serial` stands for a default behind all others, which has no place.
pub(crate) fn column_options(table: &str, given: &ColumnDef, is_serial: bool, text: &str) -> Result<()> {
    let (mut nullable, mut source) = (None, None);
    // Those that the options begin with, to find the last one.
    let mut words = Vec::new();
    let mut conflicts = |asked: usize| {
        source.replace(asked).map(|before: usize| match before == asked {
            true => SOURCES[asked].1.to_owned(),
            false => {
                let (first, second) = (SOURCES[asked.min(before)].0, SOURCES[asked.max(before)].0);
                format!("both {first} and {second} specified")
            }
        })
    };
    let fail = |what: String| {
        let message = format!("{what} for column \"{}\" of table \"{table}\"", fold(&given.name));
        Error::new(ErrorKind::SyntaxError, message)
    };
    for option in &given.options {
        let (word, conflict) = match &option.option {
            ColumnOption::Null | ColumnOption::NotNull => {
                let takes_null = matches!(option.option, ColumnOption::Null);
                let differs = nullable.replace(takes_null).is_some_and(|before| before != takes_null);
                let conflict = differs.then(|| "conflicting NULL/NOT NULL declarations".to_owned());
                (if takes_null { "null" } else { "not" }, conflict)
            }
            ColumnOption::Default(_) => ("default", conflicts(0)),
            ColumnOption::Generated {
                generated_as: GeneratedAs::ExpStored,
                ..
            } => ("generated", conflicts(2)),
            ColumnOption::Generated { .. } => ("generated", conflicts(1)),
            _ => continue,
        };
        words.push(word);
        if let Some(what) = conflict {
            return Err(Places::new(text).following(fail(what), &given.name, &words));
        }
        if word == "not" {
            words.push("null");
        }
    }
    match is_serial.then(|| conflicts(0)).flatten() {
        Some(what) => Err(fail(what)),
        None => Ok(()),
    }
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
        for option in &given.options {
            match &option.option {
                ColumnOption::Default(value) => self.default_value(column, value)?,
                ColumnOption::Generated {
                    generated_as: GeneratedAs::ExpStored,
                    generation_expr: Some(value),
                    ..
                } => {
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
