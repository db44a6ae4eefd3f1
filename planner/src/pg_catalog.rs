//! `pg_catalog` and `information_schema`: what PostgreSQL's clients ask about, from the catalog as it is.
//!
//! ```text
//! facts.rs      what PostgreSQL 15 knows of itself, dumped into data/ by scripts/pg_facts.py
//! chapters.rs   the functions of its manual, by section
//! part.rs       one relation in one version, with numbers that stay    index.rs   its indexes
//! image.rs      the objects of a database in one state of the catalog: parts under the names they have now
//! relations.rs  the image as rows of pg_catalog        information.rs   the same for information_schema
//! provider.rs   the rows as tables of a query
//! statistics.rs  what ANALYZE found out about columns
//! view.rs       the image as one session sees it: names by its search path, texts of definitions
//! policies.rs  row policies
//! names.rs      what texts call objects and types
//! access_method.rs  kinds of indexes and their classes of operators
//! ```
//!
//! An image is made once for each state of the catalog and shared by all statements that ask; its parts are made once for each
//! metadata file, so that a commit costs what it changed. The numbers of PostgreSQL's own objects are PostgreSQL's; others begin
//! at 16385, are kept in the catalog database and stay with the object. Those of temporary and uncommitted objects pass with them.

pub(crate) mod access_method;
mod chapters;
mod deparse;
pub(crate) mod facts;
mod image;
mod index;
mod information;
mod names;
mod part;
pub(crate) mod policies;
pub(crate) mod provider;
mod relations;
pub(crate) mod roles;
mod rows;
pub(crate) mod statistics;
mod view;

#[cfg(test)]
pub(crate) use self::chapters::chapters;
pub(crate) use self::chapters::is_function_of_postgres;
pub(crate) use self::image::{FIRST_ROLE, Relation};
pub use self::image::{Image, ImageFacts, ObjectNumbers};
pub use self::part::Parts;
pub(crate) use self::part::{Kind, is_lasting};
pub use self::provider::{
    ClientCertificate, CursorRow, Encryption, LoginRuleRow, SessionRow, SessionRows, SettingRow, StatementRow,
};
pub use self::roles::Roles;
pub use self::view::CatalogView;
pub(crate) use self::view::{Function, argument_names, function, functions_named};

/// When PostgreSQL lets a parameter be changed, if it has one of this name (in lower case): `pg_settings.context`.
pub fn postgres_setting_context(name: &str) -> Option<&'static str> {
    let rows = facts::DumpedRows::of("pg_settings")?;
    let row = (0..rows.len()).find(|row| rows.text(*row, "name") == name)?;
    Some(rows.text(row, "context"))
}

/// Whether only superusers may look at a system relation.
pub(crate) fn is_hidden(relation: &str) -> bool {
    relations::HIDDEN.contains(&relation)
}
