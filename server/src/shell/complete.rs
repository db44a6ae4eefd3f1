//! Help while typing: completion of keywords and names, and the decision whether Enter ends a statement.

use std::collections::{BTreeMap, BTreeSet};

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::lexer::{Token, first_statement, is_blank, tokens};
use super::meta::COMMANDS;

/// Words that statements are made of.
const KEYWORDS: &[&str] = &[
    "ALL",
    "ANALYZE",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COALESCE",
    "COMMENT",
    "COMMIT",
    "COPY",
    "COUNT",
    "CREATE",
    "CROSS",
    "CURRENT_DATE",
    "CURRENT_TIMESTAMP",
    "DATABASE",
    "DATE",
    "DESC",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FIRST",
    "FROM",
    "FULL",
    "GROUP",
    "GROUPING SETS",
    "HAVING",
    "IF",
    "IN",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LAST",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS",
    "NUMERIC",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "RECURSIVE",
    "REPLACE",
    "RESET",
    "RIGHT",
    "ROLLBACK",
    "ROLLUP",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "SORTED",
    "STDIN",
    "STDOUT",
    "SUM",
    "TABLE",
    "TEXT",
    "THEN",
    "TIMESTAMP",
    "TO",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Relations with their columns, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    relations: BTreeMap<String, Vec<String>>,
    /// Seen in statements that worked and in their results.
    seen: BTreeSet<String>,
}

/// Names learned from statements; beyond this, no more.
const SEEN_MAX: usize = 5_000;

impl Names {
    pub(crate) fn set_relations(&mut self, relations: BTreeMap<String, Vec<String>>) {
        self.relations = relations;
    }

    /// Takes the names of a statement that worked.
    pub(crate) fn learn<'a>(&mut self, sql: &'a str, columns: impl Iterator<Item = &'a str>) {
        let words = tokens(sql).filter_map(|token| match token {
            Token::Word(word) if !word.starts_with('$') => Some(word),
            _ => None,
        });
        for word in words.chain(columns) {
            let known = KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word));
            if word.len() > 2 && !known && self.seen.len() < SEEN_MAX {
                self.seen.insert(word.to_owned());
            }
        }
    }

    /// Words that begin like the one before `position`, and where that one begins.
    fn complete(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = &line[..position];
        if before.starts_with('\\') && !before.contains(' ') {
            return (
                0,
                COMMANDS
                    .iter()
                    .filter(|(name, ..)| name.starts_with(before))
                    .map(|(name, ..)| (*name).to_owned())
                    .collect(),
            );
        }
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let word = &before[start..];
        if let Some((relation, part)) = word.rsplit_once('.')
            && let Some(columns) = self.relations.get(relation)
        {
            let found = columns.iter().filter(|column| begins(column, part)).cloned().collect();
            return (start + relation.len() + 1, found);
        }
        if word.is_empty() {
            return (start, Vec::new());
        }
        let lower = word.chars().all(|c| !c.is_uppercase());
        let keywords = KEYWORDS.iter().filter(|keyword| begins(keyword, word)).map(|keyword| {
            if lower {
                keyword.to_lowercase()
            } else {
                (*keyword).to_owned()
            }
        });
        let names = self
            .relations
            .iter()
            .flat_map(|(relation, columns)| std::iter::once(relation).chain(columns));
        let names = names.chain(&self.seen).filter(|name| begins(name, word)).cloned();
        // Commands take names too, keywords only in statements.
        let found: BTreeSet<String> = if line.starts_with('\\') {
            names.collect()
        } else {
            names.chain(keywords).collect()
        };
        (start, found.into_iter().collect())
    }
}

fn begins(name: &str, part: &str) -> bool {
    name.get(..part.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(part))
}

/// What rustyline asks while a line is typed.
#[derive(Default)]
pub(crate) struct Assistant {
    names: Names,
    /// COPY data: a line is a line.
    plain: bool,
}

impl Assistant {
    pub(crate) fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    pub(super) fn set_plain(&mut self, plain: bool) {
        self.plain = plain;
    }
}

/// True where Enter should run what was typed: a command, nothing at all, or statements that all end.
fn is_complete(text: &str) -> bool {
    if text.trim_start().starts_with('\\') {
        return true;
    }
    let mut rest = text;
    while let Ok((_, after)) = first_statement(rest) {
        rest = after;
    }
    // A command at the end of a line runs what is before it: select 1 \gx
    is_blank(rest) || super::meta::trailing(rest).is_some()
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(if self.plain {
            (position, Vec::new())
        } else {
            self.names.complete(line, position)
        })
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        if self.plain || is_complete(context.input()) {
            return Ok(ValidationResult::Valid(None));
        }
        Ok(ValidationResult::Incomplete)
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> (usize, Vec<String>) {
        let mut names = Names::default();
        names.set_relations(BTreeMap::from([
            (
                "orders".to_owned(),
                vec!["o_orderkey".to_owned(), "o_orderdate".to_owned()],
            ),
            ("lineitem".to_owned(), vec!["l_orderkey".to_owned()]),
        ]));
        names.learn("select xyz_1 from somewhere", std::iter::once("revenue"));
        names.complete(line, line.len())
    }

    #[test]
    fn keywords_take_the_case_of_what_was_typed() {
        assert_eq!(complete("sele"), (0, vec!["select".to_owned()]));
        assert_eq!(complete("select 1 FRO"), (9, vec!["FROM".to_owned()]));
    }

    #[test]
    fn names_are_relations_columns_and_what_was_seen() {
        assert_eq!(
            complete("select * from ord"),
            (14, vec!["order".to_owned(), "orders".to_owned()])
        );
        assert_eq!(complete("select o_orderd"), (7, vec!["o_orderdate".to_owned()]));
        assert_eq!(complete("select orders.o_orderk"), (14, vec!["o_orderkey".to_owned()]));
        assert_eq!(complete("select (xyz"), (8, vec!["xyz_1".to_owned()]));
        assert_eq!(complete("select rev"), (7, vec!["revenue".to_owned()]));
        assert_eq!(complete("select é"), (7, Vec::<String>::new()));
    }

    #[test]
    fn commands_and_their_names() {
        assert_eq!(complete("\\tim"), (0, vec!["\\timing".to_owned()]));
        assert_eq!(complete("\\d linei"), (3, vec!["lineitem".to_owned()]));
    }

    #[test]
    fn enter_ends_whole_statements_only() {
        for text in [
            "",
            "  ",
            "\\d x",
            "select 1;",
            "select 1; -- x",
            "a; b;",
            "select 1 \\gx",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in ["select 1", "select 1; select", "select ';", "select (1;"] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
