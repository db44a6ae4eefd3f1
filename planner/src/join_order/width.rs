//! How wide the rows of joins are: of the columns of some inputs only those go on that are still read above.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::physical_expr::utils::collect_columns;

use super::graph::{Condition, JoinGraph};
use super::set::Set;

/// What a value of varying length is thought to take.
const TEXT_BYTES: usize = 32;

/// Of a value.
pub(super) fn bytes_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 1,
        data_type => data_type.primitive_width().unwrap_or(TEXT_BYTES),
    }
}

pub(super) struct Widths {
    columns: Vec<Column>,
    known: HashMap<(Set, Set), f64>,
}

struct Column {
    leaf: Set,
    /// In eight bytes.
    words: f64,
    /// It comes out of all joins.
    is_output: bool,
    /// What conditions that read it read besides.
    readers: Vec<Set>,
}

impl Widths {
    pub(super) fn new(graph: &JoinGraph) -> Self {
        let fields = graph.fields.iter().enumerate();
        let mut columns: Vec<Column> = fields
            .map(|(column, field)| Column {
                leaf: graph.leaf_of(column),
                words: bytes_of(field.data_type()) as f64 / size_of::<u64>() as f64,
                is_output: graph.output.contains(&column),
                readers: Vec::new(),
            })
            .collect();
        // What another condition implies is not read for its own sake.
        for condition in graph.operators.iter().flat_map(|operator| &operator.conditions) {
            let leaves = graph.leaves_of(condition);
            match condition {
                Condition::Equal(one, other) => {
                    columns[*one].readers.push(leaves);
                    columns[*other].readers.push(leaves);
                }
                Condition::Filter(filter) => {
                    for column in collect_columns(filter) {
                        columns[column.index()].readers.push(leaves);
                    }
                }
            }
        }
        let known = HashMap::new();
        Self { columns, known }
    }

    /// Of the columns of these leaves that are read above the joins of all of a set, in eight bytes.
    pub(super) fn of(&mut self, leaves: Set, joined: Set) -> f64 {
        *self.known.entry((leaves, joined)).or_insert_with(|| {
            let is_read = |column: &&Column| {
                column.leaf.is_within(leaves)
                    && (column.is_output || column.readers.iter().any(|read| !read.is_within(joined)))
            };
            self.columns.iter().filter(is_read).map(|column| column.words).sum()
        })
    }
}
