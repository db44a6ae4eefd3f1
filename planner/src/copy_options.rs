//! The options of COPY, checked and with their defaults filled in.

use crate::value::Format;

/// Shape of COPY data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

impl CopyFormat {
    /// What the wire protocol calls it: text and CSV are text.
    pub fn wire(self) -> Format {
        match self {
            CopyFormat::Text | CopyFormat::Csv => Format::Text,
            CopyFormat::Binary => Format::Binary,
        }
    }
}

/// Whether the first line names the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CopyHeader {
    #[default]
    None,
    /// Written; on input skipped.
    Line,
    /// On input the names must be the columns'.
    Match,
}

/// Which columns a `FORCE_…` option names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForceColumns {
    #[default]
    None,
    /// `*`
    All,
    Named(Vec<String>),
}

impl ForceColumns {
    /// Whether the column of this name is meant.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            ForceColumns::None => false,
            ForceColumns::All => true,
            ForceColumns::Named(names) => names.iter().any(|listed| listed == name),
        }
    }
}

/// The options of one COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    /// Tab for text, comma for CSV.
    pub delimiter: u8,
    /// The text that stands for NULL: `\N` for text, nothing for CSV.
    pub null: String,
    pub header: CopyHeader,
    /// CSV: around fields.
    pub quote: u8,
    /// CSV: before a quote inside a quoted field.
    pub escape: u8,
    /// CSV output: always quoted.
    pub force_quote: ForceColumns,
    /// CSV input: the NULL text is NULL even when quoted.
    pub force_null: ForceColumns,
    /// CSV input: the NULL text is a value even when not quoted.
    pub force_not_null: ForceColumns,
}

impl CopyOptions {
    /// PostgreSQL's defaults for a format.
    pub fn new(format: CopyFormat) -> Self {
        let csv = format == CopyFormat::Csv;
        Self {
            format,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_string() },
            header: CopyHeader::None,
            quote: b'"',
            escape: b'"',
            force_quote: ForceColumns::None,
            force_null: ForceColumns::None,
            force_not_null: ForceColumns::None,
        }
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new(CopyFormat::Text)
    }
}
