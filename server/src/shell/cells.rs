//! Texts of one row, and what is known about its columns.

use std::ops::Range;

/// How a column's values are treated beyond being text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// Printed to the right; bare in JSON.
    Number,
    /// `t` and `f`; `true` and `false` in JSON.
    Boolean,
    /// Goes into JSON as it is.
    Json,
    Other,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
}

/// One row; the buffer is used again for the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    text: String,
    cells: Vec<Option<Range<usize>>>,
}

impl Cells {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
    }

    pub(crate) fn push(&mut self, value: Option<&str>) {
        let cell = value.map(|value| {
            let start = self.text.len();
            self.text.push_str(value);
            start..self.text.len()
        });
        self.cells.push(cell);
    }

    /// `None` is NULL.
    pub(crate) fn get(&self, column: usize) -> Option<&str> {
        self.cells.get(column).cloned().flatten().map(|range| &self.text[range])
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.cells.len() * size_of::<Option<Range<usize>>>()
    }
}

/// Columns a text takes in a terminal: 2 for East Asian wide characters and emoji, 0 for marks that combine.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x00..=0x2FF => 1,
        0x300..=0x36F | 0x200B..=0x200F | 0x20D0..=0x20FF | 0xFE00..=0xFE0F | 0xFEFF => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}
