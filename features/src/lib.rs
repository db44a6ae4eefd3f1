//! Nothing: this crate exists for the features it asks for, see its `Cargo.toml`.
