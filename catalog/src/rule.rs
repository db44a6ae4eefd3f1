//! What a table says about its rows beyond types: values that are filled in, conditions that must hold, keys.
//!
//! Iceberg's version 2 knows none of it, so it is kept in table properties. Expressions are SQL text; this crate does not
//! read them, the planner does, at every write. Another engine that writes to the table does not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::iceberg::corrupt;

/// JSON, field id to [`ColumnDefault`].
pub(crate) const DEFAULTS_KEY: &str = "staffa.column-defaults";
/// JSON, a list of [`Constraint`].
pub(crate) const CONSTRAINTS_KEY: &str = "staffa.constraints";

/// The value a column gets when a statement gives none. SQL text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnDefault {
    /// `DEFAULT expression`
    Expression(String),
    /// `GENERATED ALWAYS AS (expression) STORED`: of other columns of the row, and never given.
    Generated(String),
}

/// A constraint of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Unique in its table.
    pub name: String,
    /// What it says.
    pub kind: ConstraintKind,
}

/// What a constraint says. Columns are named: the planner renames them here when they are renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintKind {
    /// A condition in SQL that no row may make false. Enforced.
    Check {
        /// The condition.
        expression: String,
        /// The columns it names.
        columns: Vec<String>,
    },
    /// Declared, not enforced; its columns are NOT NULL, which is.
    PrimaryKey {
        /// The key.
        columns: Vec<String>,
    },
    /// Declared, not enforced.
    Unique {
        /// The key.
        columns: Vec<String>,
    },
    /// Declared, not enforced.
    ForeignKey {
        /// The referencing columns.
        columns: Vec<String>,
        /// Database, schema and name of the other table when the key was declared.
        table: (String, String, String),
        /// The other table's columns.
        referenced: Vec<String>,
    },
}

impl Constraint {
    /// The columns it is about.
    pub fn columns(&self) -> &[String] {
        match &self.kind {
            ConstraintKind::Check { columns, .. }
            | ConstraintKind::PrimaryKey { columns }
            | ConstraintKind::Unique { columns }
            | ConstraintKind::ForeignKey { columns, .. } => columns,
        }
    }
}

pub(crate) fn parse_defaults(location: &str, text: Option<&String>) -> Result<BTreeMap<i32, ColumnDefault>> {
    text.map_or(Ok(BTreeMap::new()), |text| parse(location, DEFAULTS_KEY, text))
}

pub(crate) fn parse_constraints(location: &str, text: Option<&String>) -> Result<Vec<Constraint>> {
    text.map_or(Ok(Vec::new()), |text| parse(location, CONSTRAINTS_KEY, text))
}

fn parse<T: for<'a> Deserialize<'a>>(location: &str, key: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(location, format!("property \"{key}\": {error}")))
}

/// `None` when there is nothing to say.
pub(crate) fn print_defaults(defaults: &BTreeMap<i32, ColumnDefault>) -> Result<Option<String>> {
    print(defaults, defaults.is_empty())
}

/// `None` when there is nothing to say.
pub(crate) fn print_constraints(constraints: &[Constraint]) -> Result<Option<String>> {
    print(&constraints, constraints.is_empty())
}

fn print(value: &impl Serialize, is_empty: bool) -> Result<Option<String>> {
    if is_empty {
        return Ok(None);
    }
    let text = serde_json::to_string(value);
    text.map(Some)
        .map_err(|error| Error::internal("cannot encode the rules of a table").with_source(error))
}
