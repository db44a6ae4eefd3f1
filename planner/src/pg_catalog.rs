//! `pg_catalog` and `information_schema`: what PostgreSQL's clients ask about, from the catalog as it is.
//!
//! ```text
//! facts.rs      what PostgreSQL 15 knows of itself, dumped into data/ by scripts/pg_facts.py
//! image.rs      the objects of a database in one state of the catalog, with numbers that stay
//! relations.rs  the image as rows of pg_catalog        information.rs   the same for information_schema
//! provider.rs   the rows as tables of a query
//! view.rs       the image as one session sees it: names by its search path, texts of definitions
//! ```
//!
//! An image is made once for each state of the catalog and shared by all statements that ask. The numbers of PostgreSQL's own
//! objects are PostgreSQL's; others begin at 16385, are kept in the catalog database and stay with the object.

pub(crate) mod facts;
mod image;
mod information;
pub(crate) mod provider;
mod relations;
mod rows;
mod view;

pub(crate) use self::image::{FIRST_ROLE, Kind};
pub use self::image::{Image, ImageFacts, ObjectNumbers};
pub use self::provider::{CursorRow, SessionRow, SessionRows, SettingRow, StatementRow};
pub use self::view::CatalogView;
pub(crate) use self::view::{function, split_name};
