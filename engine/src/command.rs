//! Statements that do something, one kind a file.

pub(crate) mod alter;
pub(crate) mod change;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod describe;
pub(crate) mod drop;
pub(crate) mod insert;
pub(crate) mod refresh;
pub(crate) mod returning;
pub(crate) mod sequence;
pub(crate) mod truncate;
pub(crate) mod with;
