//! What `json` and `jsonb` values are made of, and what is done with them. Texts in, texts out: Arrow and DataFusion stay outside.
//!
//! A value is its text, as it stands in Parquet: `json` as it was written, `jsonb` in PostgreSQL's normal form
//! (`value/json.rs`). Both were checked when they were stored.
//!
//! ```text
//! scan.rs       finds parts of a text without building anything: `->`, `->>`, `#>`, elements, members
//! node.rs       a value as a tree, and back to text in normal form
//! number.rs     decimal numbers of any length, as text
//! order.rs      the order of jsonb values, as bytes that compare the same way
//! change.rs     what makes a new value of one: `||`, `-`, `#-`, jsonb_set, …
//! literal.rs    the text of an array
//! contains.rs   `@>`
//! path.rs       jsonpath: path/parse.rs reads it, path/run.rs follows it
//! ```

pub(crate) mod change;
pub(crate) mod contains;
pub(crate) mod literal;
pub(crate) mod node;
pub(crate) mod number;
pub(crate) mod order;
pub(crate) mod path;
pub(crate) mod scan;

pub(crate) use self::node::Node;

use crate::error::{Error, ErrorKind};

/// Text that is not JSON where JSON was stored: another program wrote it.
fn damaged() -> Error {
    Error::new(
        ErrorKind::InvalidTextRepresentation,
        "invalid input syntax for type json",
    )
}
