//! Statements planned against a real catalog in a temporary directory, and queries run over real files.

mod catalogs;
mod fixture;
mod functions_page;
mod keys;
mod plans;
mod pruning;
mod refusals;
mod tpch;
