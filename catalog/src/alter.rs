//! Changes of a table's definition, and which of them old files can be read under.
//!
//! Columns are named by field id here: who asks has looked the name up in the version the transaction sees. Files are
//! not rewritten here: who replaces a column, or adds one that old rows shall have a value of, writes the rows anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::SnapshotRef;
use crate::index::Index;
use crate::rule::{ColumnDefault, Constraint};
use crate::schema::{ColumnDefinition, Transform};
use crate::statistics::TableStatistics;
use crate::types::SqlType;

/// One action of ALTER TABLE, or a COMMENT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// A new last column, or a new last field of the struct `parent`. Old rows have NULL there, so it must be nullable
    /// unless there are none, or they are written anew in the same transaction.
    AddColumn {
        /// The struct, or a list of structs; `None`: the table itself.
        parent: Option<i32>,
        /// The column.
        column: ColumnDefinition,
    },
    /// Its data stays in old files, unread. Its field id is never used again.
    DropColumn {
        /// The column, or a field of a struct.
        field_id: i32,
    },
    /// A new name for the same data.
    RenameColumn {
        /// The column, or a field of a struct.
        field_id: i32,
        /// The new name.
        name: String,
    },
    /// A wider type (see [`is_widening`]).
    SetType {
        /// The column, or a field of a struct.
        field_id: i32,
        /// The new type.
        ty: SqlType,
    },
    /// Another type that values in files cannot be read as: a top-level column with another field id takes the old one's
    /// place, name, default and comment. The rows must be written anew in the same transaction.
    ReplaceColumn {
        /// The column that goes.
        field_id: i32,
        /// The type of the new one.
        ty: SqlType,
    },
    /// `SET NOT NULL`, `DROP NOT NULL` of a top-level column. Who sets it has looked at the rows: see
    /// [`Transaction::alter_table`](crate::Transaction::alter_table).
    SetNullable {
        /// The column.
        field_id: i32,
        /// Whether NULL is allowed from now on.
        nullable: bool,
    },
    /// `COMMENT ON`; `None` removes the comment.
    SetComment {
        /// The top-level column; `None`: the table itself.
        field_id: Option<i32>,
        /// The comment.
        comment: Option<String>,
    },
    /// `SET DEFAULT`, `DROP DEFAULT` of a top-level column. For rows written from now on.
    SetDefault {
        /// The column.
        field_id: i32,
        /// The new default.
        default: Option<ColumnDefault>,
    },
    /// All CHECK constraints and keys the table has from now on.
    SetConstraints(Vec<Constraint>),
    /// All indexes the table has from now on.
    SetIndexes(Vec<Index>),
    /// Whether a materialized view has its query's rows.
    SetPopulated(bool),
    /// Table properties set, and others removed. The catalog's own (`staffa.…`) are refused.
    SetProperties {
        /// New values.
        set: BTreeMap<String, String>,
        /// Properties that go; one that is not there is fine.
        removed: BTreeSet<String>,
    },
    /// How files are partitioned from now on: column and transform of each field. Old files stay as they are.
    SetPartitioning(Vec<(String, Transform)>),
    /// How files are sorted from now on: column, descending, nulls first.
    SetSortOrder(Vec<(String, bool, bool)>),
    /// The rows of an older snapshot become the table's rows again. The columns stay.
    RollBack {
        /// The snapshot.
        snapshot_id: i64,
    },
    /// A branch or tag: a new one, or an existing one that names something else from now on.
    SetRef(SnapshotRef),
    /// A branch or tag that goes.
    DropRef {
        /// Its name.
        name: String,
    },
    /// Snapshots that go. None may be the current one, or have a name.
    ExpireSnapshots(BTreeSet<i64>),
    /// A file of statistics, in the place of the one its snapshot had.
    SetStatistics(TableStatistics),
}

impl TableChange {
    /// Whether it takes ids or names that another transaction's change of the definition may have taken too.
    pub(crate) fn is_structural(&self) -> bool {
        match self {
            TableChange::AddColumn { .. }
            | TableChange::DropColumn { .. }
            | TableChange::RenameColumn { .. }
            | TableChange::SetType { .. }
            | TableChange::ReplaceColumn { .. }
            | TableChange::SetNullable { .. }
            | TableChange::SetDefault { .. }
            | TableChange::SetConstraints(_)
            | TableChange::SetIndexes(_)
            | TableChange::SetPartitioning(_)
            | TableChange::SetSortOrder(_) => true,
            TableChange::SetComment { .. } | TableChange::SetPopulated(_) | TableChange::SetProperties { .. } => false,
            // What they need to be as it was is checked by `check_history`.
            TableChange::RollBack { .. }
            | TableChange::SetRef(_)
            | TableChange::DropRef { .. }
            | TableChange::ExpireSnapshots(_)
            | TableChange::SetStatistics(_) => false,
        }
    }
}

/// Whether every value of `from`, as it is stored in files, is read right as `to`: Iceberg's type promotions, and changes
/// of lengths that only we know of.
pub fn is_widening(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    match (from, to) {
        (from, to) if from == to => true,
        (T::SmallInt, T::Integer | T::BigInt) | (T::Integer, T::BigInt) | (T::Real, T::Double) => true,
        (
            T::Numeric { precision, scale, .. },
            T::Numeric {
                precision: wider,
                scale: same,
                ..
            },
        ) => precision <= wider && scale == same,
        (T::Varchar(_) | T::Char(_) | T::Text, T::Text | T::Varchar(None)) => true,
        (T::Varchar(Some(length)) | T::Char(length), T::Varchar(Some(longer))) => length <= longer,
        // Stored without the blanks at its end, which is also what a text column keeps of it.
        (T::Char(length), T::Char(longer)) => length <= longer,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_never_loses_a_value() {
        use SqlType as T;
        let numeric = T::numeric;
        for (from, to, wanted) in [
            (T::SmallInt, T::Integer, true),
            (T::Integer, T::BigInt, true),
            (T::BigInt, T::Integer, false),
            (T::Integer, T::Double, false),
            (T::Real, T::Double, true),
            (numeric(10, 2), numeric(12, 2), true),
            (numeric(10, 2), numeric(12, 3), false),
            (numeric(10, 2), numeric(9, 2), false),
            (T::Varchar(Some(3)), T::Varchar(Some(5)), true),
            (T::Varchar(Some(5)), T::Varchar(Some(3)), false),
            (T::Varchar(None), T::Varchar(Some(3)), false),
            (T::Varchar(Some(3)), T::Text, true),
            (T::Char(3), T::Varchar(Some(3)), true),
            (T::Text, T::Char(3), false),
            (T::Date, T::Timestamp, false),
        ] {
            assert_eq!(is_widening(&from, &to), wanted, "{from} to {to}");
        }
    }
}
