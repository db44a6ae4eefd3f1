//! Indexes: what `CREATE INDEX` says, kept with the table and shown to who asks. Nothing is built and nothing is read by them.
//!
//! ```text
//! table metadata    staffa.indexes   [{"id":…,"name":…,"keys":[…]}]                       the definitions
//! iceberg_tables    name -> staffa-index:{"table":…,"relation":…}    the names, which tables, views and sequences cannot have
//! ```
//!
//! Expressions are SQL text; this crate does not read them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::types::SqlType;

/// JSON, a list of [`Index`]. A property of the table.
pub(crate) const INDEXES_KEY: &str = "staffa.indexes";
/// Before the owner where a table has the location of its metadata.
const SCHEME: &str = "staffa-index:";

/// An index of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its own, whatever it is called.
    pub id: Uuid,
    /// In the schema of its table.
    pub name: String,
    /// `USING`: `btree`, `hash` …
    pub method: String,
    /// `UNIQUE`: declared, not enforced.
    pub is_unique: bool,
    /// `NULLS NOT DISTINCT`
    pub nulls_are_equal: bool,
    /// What it is on.
    pub keys: Vec<IndexKey>,
    /// `INCLUDE`: columns.
    pub included: Vec<String>,
    /// `WITH`: names and values.
    pub parameters: Vec<(String, String)>,
    /// `WHERE`
    pub predicate: Option<IndexExpression>,
    /// `COMMENT ON INDEX`
    pub comment: Option<String>,
}

/// One key of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexKey {
    /// What it is of.
    pub term: IndexTerm,
    /// `COLLATE`, where it is not the column's own.
    pub collation: Option<String>,
    /// The class of operators, where it is not the type's own.
    pub operator_class: Option<String>,
    /// `DESC`
    pub descending: bool,
    /// `NULLS FIRST`
    pub nulls_first: bool,
}

/// What a key of an index is of. Columns are named: the planner renames them here when they are renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexTerm {
    /// A column.
    Column(String),
    /// An expression.
    Expression {
        /// The expression.
        expression: IndexExpression,
        /// What the column of the index is called.
        name: String,
        /// Its type.
        ty: SqlType,
    },
}

/// SQL text over the columns of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexExpression {
    /// The text.
    pub text: String,
    /// The columns it names.
    pub columns: Vec<String>,
}

impl Index {
    /// The columns it is about.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        let keys = self.keys.iter().flat_map(|key| match &key.term {
            IndexTerm::Column(column) => std::slice::from_ref(column),
            IndexTerm::Expression { expression, .. } => &expression.columns,
        });
        let predicate = self.predicate.iter().flat_map(|predicate| &predicate.columns);
        keys.chain(&self.included).chain(predicate)
    }

    /// The columns of which no two rows have the same values, as a UNIQUE constraint would declare it; `None` for one that is
    /// not unique, takes NULLs for equal, or is for some rows or expressions only.
    pub fn unique_columns(&self) -> Option<Vec<String>> {
        if !self.is_unique || self.nulls_are_equal || self.predicate.is_some() {
            return None;
        }
        let columns = self.keys.iter().map(|key| match &key.term {
            IndexTerm::Column(column) => Some(column.clone()),
            IndexTerm::Expression { .. } => None,
        });
        columns.collect()
    }
}

/// What the name of an index stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexOwner {
    /// The table's UUID.
    pub(crate) table: Uuid,
    /// What the table was called when the index got its name: where it is looked for first.
    pub(crate) relation: String,
}

impl IndexOwner {
    pub(crate) fn parse(pointer: &str) -> Result<IndexOwner> {
        let text = pointer.strip_prefix(SCHEME).unwrap_or_default();
        serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the table of an index cannot be read")
                .with_detail(format!("\"{pointer}\""))
                .with_source(error)
        })
    }

    pub(crate) fn print(&self) -> Result<String> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::internal("cannot encode the table of an index").with_source(error))?;
        Ok(format!("{SCHEME}{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_of_a_name_fits_its_column() {
        let owner = IndexOwner {
            table: Uuid::new_v4(),
            relation: "\"".repeat(255),
        };
        let pointer = owner.print().unwrap();
        assert!(pointer.len() < 1000, "{} bytes", pointer.len());
        assert_eq!(IndexOwner::parse(&pointer).unwrap(), owner);
        assert!(IndexOwner::parse("file:///somewhere").is_err());
    }

    #[test]
    fn only_whole_unique_indexes_are_keys() {
        let plain = Index {
            id: Uuid::nil(),
            name: "i".to_owned(),
            method: "btree".to_owned(),
            is_unique: true,
            nulls_are_equal: false,
            keys: vec![IndexKey {
                term: IndexTerm::Column("a".to_owned()),
                collation: None,
                operator_class: None,
                descending: false,
                nulls_first: false,
            }],
            included: vec!["b".to_owned()],
            parameters: Vec::new(),
            predicate: None,
            comment: None,
        };
        assert_eq!(plain.unique_columns(), Some(vec!["a".to_owned()]));
        assert_eq!(plain.columns().collect::<Vec<_>>(), ["a", "b"]);
        let expression = || IndexExpression {
            text: "c > 0".to_owned(),
            columns: vec!["c".to_owned()],
        };
        let partial = Index {
            predicate: Some(expression()),
            ..plain.clone()
        };
        assert_eq!(partial.unique_columns(), None);
        assert_eq!(partial.columns().collect::<Vec<_>>(), ["a", "b", "c"]);
        let mut computed = plain.clone();
        computed.keys[0].term = IndexTerm::Expression {
            expression: expression(),
            name: "expr".to_owned(),
            ty: SqlType::Boolean,
        };
        assert_eq!(computed.unique_columns(), None);
    }
}
