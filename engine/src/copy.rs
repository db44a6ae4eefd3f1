//! The data formats of COPY: text, CSV and binary, to and from record batches.
//!
//! ```text
//! reader.rs   bytes as they arrive -> records     text.rs, csv.rs, binary.rs   where records and fields end
//! rows.rs     records -> batches                  writer.rs                    batches -> bytes
//! ```
//!
//! Values themselves are read and written by the planner's codec (`staffa_planner::value`), so COPY and the wire agree.

mod binary;
mod context;
mod csv;
mod lines;
mod reader;
mod rows;
#[cfg(test)]
mod tests;
mod text;
mod writer;

pub(crate) use reader::CopyReader;
pub(crate) use writer::CopyWriter;
