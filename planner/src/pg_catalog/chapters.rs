//! The functions PostgreSQL 15's manual describes, by its sections: what a call of one that is not here is told, and what
//! docs/functions.md lists.

/// A section of the manual a line: number, title and names of functions, tab-separated; names by blanks, in alphabetical order.
const CHAPTERS: &str = include_str!("data/chapters.tsv");

/// Number, title and names of each section.
pub(crate) fn chapters() -> impl Iterator<Item = [&'static str; 3]> {
    CHAPTERS
        .lines()
        .filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok())
}

/// Whether PostgreSQL has a function of this name.
pub(crate) fn is_function_of_postgres(name: &str) -> bool {
    chapters().any(|[_, _, names]| names.split(' ').any(|known| known == name))
}
