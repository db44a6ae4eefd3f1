//! What the integration tests and the fuzzers of `../fuzz` share.

pub mod fuzz;
