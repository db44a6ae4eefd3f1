//! SQL text to syntax trees: one `ParsedStatement` per statement of a message.
//!
//! Queries, INSERT and column lists go through sqlparser with its PostgreSQL dialect. Every other statement has few
//! forms and exact ones, so it is read here from the tokens (`parse/statement.rs` tells which it is): what is not
//! known is an error, never skipped. What is known but not supported parses, and is refused when it is planned.

mod access;
mod alter;
mod ast;
mod copy;
mod create;
mod cursor;
mod declare;
mod dialect;
mod explain;
mod fetch;
mod frames;
mod grammar;
mod history;
mod index;
mod limits;
mod lock;
mod locks;
mod merge;
mod objects;
mod overriding;
mod policy;
mod prepare;
mod sequence;
mod sequence_options;
mod settings;
mod statement;
mod tokens;
mod transaction;
mod upkeep;
mod version;

use std::collections::BTreeSet;

use staffa_catalog::SqlType;

pub(crate) use self::access::{
    AccessAst, FunctionNamed, GrantAst, GrantObjects, Owned, Password, RoleName, RoleOption, SettingChange,
};
pub(crate) use self::ast::{
    AlterAst, AlterSequenceAst, AlterTableAst, Altered, AnalyzedTable, Ast, Commented, CopyOptionAst, CopySource,
    CreateIndexAst, CreateSequenceAst, CreateTableAst, CreateViewAst, DeclareAst, DropAbsentAst, DropKind, ExplainAst,
    HistoryAst, LikeAst, MergeAction, MergeAst, MergeClause, MergeRows, NewName, OnCommit, PartitionTerm, RefAst,
    ReindexAst, SequenceOption, SortTerm, UpkeepAst,
};
use self::cursor::Cursor;
use self::dialect::Postgres;
pub(crate) use self::fetch::WITH_TIES;
pub(crate) use self::grammar::is_reserved;
pub(crate) use self::overriding::taken as overriding_of;
pub(crate) use self::policy::{PolicyAst, RowSecurity};
use self::tokens::Lexed;
pub(crate) use self::tokens::{
    ALL_FIELDS, offset_of, position_of, position_of_next, position_of_previous, positions_of_words,
};
use crate::error::{Error, ErrorKind, Result};
use crate::rewrite::PARAMETERS_MAX;
use crate::statement::SavepointAction;
use crate::statement::with::in_query;

/// The dialect of every query text.
pub(crate) static DIALECT: Postgres = Postgres;

/// One statement of a message, not yet resolved.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    /// The statement's own text, without the semicolon.
    pub text: String,
    /// What stands between it and the next one: comments that programs add.
    pub after: String,
    /// Characters before it in the message. Positions of errors from planning count from the start of `text`:
    /// `Error::shifted(offset)` makes them count from the start of the message.
    pub offset: usize,
    pub(crate) ast: Ast,
    locks_rows: bool,
    cut: Vec<String>,
    rounded: Vec<String>,
    /// The parameters in the text, each with its position.
    parameters: Vec<(String, usize)>,
}

/// What a statement is allowed to touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementClass {
    /// Reads only.
    Query,
    /// Writes rows.
    Write,
    /// Changes the catalog.
    Ddl,
    /// Begins or ends a transaction, or sets its modes.
    Transaction(TransactionClass),
    /// Settings, prepared statements, and what has no effect on data.
    Utility,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionClass {
    Begin,
    Commit,
    Rollback,
    /// `ROLLBACK TO`: allowed in a failed transaction.
    RollbackTo,
    /// `SAVEPOINT`, `RELEASE`
    Savepoint,
    Modes,
}

/// Splits a message into its statements and parses each. An empty message gives an empty list.
///
/// Errors: syntax errors in PostgreSQL's words with their position in the message; text too long or too deeply
/// nested (`ProgramLimitExceeded`, `StatementTooComplex`).
pub fn parse(sql: &str) -> Result<Vec<ParsedStatement>> {
    limits::check_length(sql)?;
    parse_lexed(&Lexed::new(sql).map_err(|error| before(sql, error))?)
}

fn parse_lexed(lexed: &Lexed<'_>) -> Result<Vec<ParsedStatement>> {
    let mut statements = Vec::new();
    let mut parts = lexed.split().into_iter().peekable();
    while let Some(part) = parts.next() {
        let text = &lexed.text[part.bytes.clone()];
        let statement = parse_written(text, part.characters_before);
        let mut statement = statement.map_err(|error| error.shifted(part.characters_before))?;
        let end = parts.peek().map_or(lexed.text.len(), |next| next.bytes.start);
        statement.after = lexed.text[part.bytes.end..end].trim().to_owned();
        statements.push(statement);
    }
    Ok(statements)
}

/// A literal or comment has no end: the mistake may be one that stands before it (`'O'Brien'`).
fn before(sql: &str, error: Error) -> Error {
    let Some(characters) = error.position().map(|position| position - 1) else {
        return error;
    };
    let read: String = sql.chars().take(characters).collect();
    match Lexed::new(&read).map(|lexed| parse_lexed(&lexed)) {
        Ok(Err(earlier))
            if earlier
                .position()
                .is_some_and(|position| position <= read.trim_end().chars().count()) =>
        {
            earlier
        }
        _ => error,
    }
}

/// Parses a statement as somebody wrote it: PostgreSQL's grammar must take it.
fn parse_written(text: &str, offset: usize) -> Result<ParsedStatement> {
    let statement = parse_one(text, offset)?;
    grammar::check(&statement)?;
    Ok(statement)
}

/// Parses the text of exactly one statement; positions of errors count from its start.
pub(crate) fn parse_one(text: &str, offset: usize) -> Result<ParsedStatement> {
    let lexed = Lexed::new(text)?;
    let depth = limits::check_tokens(&lexed)?;
    let ast = limits::on_large_stack(depth, || {
        let mut cursor = Cursor::new(&lexed);
        let ast = statement::statement(&mut cursor)?;
        cursor.expect_end()?;
        Ok(ast)
    })?;
    Ok(ParsedStatement {
        text: text.to_string(),
        after: String::new(),
        offset,
        ast,
        locks_rows: locks::any(&lexed.tokens),
        parameters: lexed.parameters(),
        cut: lexed.cut,
        rounded: lexed.rounded,
    })
}

impl ParsedStatement {
    pub fn class(&self) -> StatementClass {
        class_of(&self.ast)
    }

    /// The command tag, or its first words when the tag carries a row count (`SELECT`, `INSERT 0`, `COPY`).
    pub fn tag(&self) -> &'static str {
        tag_of(&self.ast)
    }

    /// Whether it reads rows `FOR UPDATE` or `FOR SHARE`.
    pub fn locks_rows(&self) -> bool {
        self.locks_rows
    }

    /// What is told of names in it that were cut, because they are too long.
    pub fn cut_names(&self) -> &[String] {
        &self.cut
    }

    /// What is warned of types of times in it that ask for more digits than there are.
    pub fn rounded_types(&self) -> &[String] {
        &self.rounded
    }

    /// Whether it is nothing outside of a transaction block, whatever else is wrong with it.
    pub fn needs_block(&self) -> bool {
        matches!(self.ast, Ast::Lock { .. })
    }

    /// The first parameter in the text, and its position.
    pub fn first_parameter(&self) -> Option<(String, usize)> {
        self.parameters.first().cloned()
    }

    /// Every parameter up to the last one has a type: it is named in the text, or declared.
    pub(crate) fn check_parameters(&self, declared: &[Option<SqlType>]) -> Result<()> {
        // Those of the statement in it, which is judged when it is prepared.
        if matches!(self.ast, Ast::Prepare { .. }) {
            return Ok(());
        }
        let number = |name: &str| name.strip_prefix('$')?.parse::<usize>().ok();
        let named: BTreeSet<usize> = self.parameters.iter().filter_map(|(name, _)| number(name)).collect();
        let last = named.last().copied().unwrap_or_default();
        // No parameter has such a number: that is another mistake.
        if last > PARAMETERS_MAX {
            return Ok(());
        }
        let is_known = |number: &usize| named.contains(number) || matches!(declared.get(number - 1), Some(Some(_)));
        match (1..=last).find(|number| !is_known(number)) {
            None => Ok(()),
            Some(number) => {
                let message = format!("could not determine data type of parameter ${number}");
                Err(Error::new(ErrorKind::IndeterminateDatatype, message))
            }
        }
    }

    /// The error at the parameter that it is about.
    pub(crate) fn at_parameter(&self, error: Error) -> Error {
        let named = self
            .parameters
            .iter()
            .find(|(name, _)| error.message().ends_with(name.as_str()));
        match named.filter(|_| error.kind() == ErrorKind::UndefinedParameter) {
            Some((_, position)) => error.with_position(*position),
            None => error,
        }
    }

    /// Its text for people other than its client: without a password.
    pub fn public_text(&self) -> &str {
        match &self.ast {
            Ast::Access(asked) if asked.has_password() => self.tag(),
            // Nobody has looked for passwords in it: code of other languages, connections of subscriptions.
            Ast::Unsupported { .. } => self.tag(),
            _ => &self.text,
        }
    }

    /// Whether it is about roles, grants and policies.
    pub fn is_about_roles(&self) -> bool {
        matches!(self.ast, Ast::Access(_))
    }

    /// What errors call it: mostly its tag.
    pub fn command(&self) -> &'static str {
        command_of(&self.ast).unwrap_or_else(|| self.tag())
    }
}

fn tag_of(ast: &Ast) -> &'static str {
    match ast {
        Ast::With(_, statement) => tag_of(statement),
        Ast::Query(_) => "SELECT",
        Ast::Insert(_) | Ast::Overriding(..) => "INSERT 0",
        Ast::Update(_) => "UPDATE",
        Ast::Delete(_) => "DELETE",
        Ast::Merge(_) => "MERGE",
        Ast::CreateTable(create) if create.query.is_some() => "SELECT",
        Ast::CreateTable(_) => "CREATE TABLE",
        Ast::CreateView(_) => "CREATE VIEW",
        Ast::CreateSequence(_) => "CREATE SEQUENCE",
        Ast::AlterSequence(_) => "ALTER SEQUENCE",
        Ast::CreateIndex(_) => "CREATE INDEX",
        Ast::DropIndexes { .. } => "DROP INDEX",
        Ast::Reindex { .. } => "REINDEX",
        Ast::CreateSchema { .. } => "CREATE SCHEMA",
        Ast::CreateDatabase { .. } => "CREATE DATABASE",
        Ast::Drop {
            kind: DropKind::Table, ..
        } => "DROP TABLE",
        Ast::Drop {
            kind: DropKind::View, ..
        } => "DROP VIEW",
        Ast::Drop {
            kind: DropKind::MaterializedView,
            ..
        } => "DROP MATERIALIZED VIEW",
        Ast::Refresh { .. } => "REFRESH MATERIALIZED VIEW",
        Ast::Drop {
            kind: DropKind::Sequence,
            ..
        } => "DROP SEQUENCE",
        Ast::Drop {
            kind: DropKind::Schema, ..
        } => "DROP SCHEMA",
        Ast::DropDatabase { .. } => "DROP DATABASE",
        Ast::DropAbsent(asked) => asked.tag,
        Ast::Truncate { .. } => "TRUNCATE TABLE",
        Ast::Lock { .. } => "LOCK TABLE",
        Ast::Upkeep(UpkeepAst::Vacuum { .. }) => "VACUUM",
        Ast::Upkeep(UpkeepAst::Analyze { .. }) => "ANALYZE",
        Ast::Upkeep(UpkeepAst::Optimize { .. }) => "OPTIMIZE",
        Ast::History(history) => match **history {
            HistoryAst::RollBack { .. } => "ROLLBACK TABLE",
            HistoryAst::Ref { .. } => "ALTER TABLE",
            HistoryAst::Clone { .. } => "CREATE TABLE",
            HistoryAst::Undrop { .. } => "UNDROP TABLE",
        },
        Ast::Access(asked) => asked.tag(),
        Ast::AlterTable(alter) => tag_of_alter(alter.what),
        Ast::RenameRelation { what, .. } => tag_of_alter(*what),
        Ast::RenameViewColumn { .. } => "ALTER VIEW",
        Ast::RenameSchema { .. } => "ALTER SCHEMA",
        Ast::Comment { .. } | Ast::CommentConstraint { .. } => "COMMENT",
        Ast::Copy { .. } => "COPY",
        Ast::Set { .. } | Ast::SetTransaction { .. } => "SET",
        Ast::Show { .. } => "SHOW",
        Ast::Reset { .. } => "RESET",
        Ast::Discard(target) => match target {
            crate::statement::DiscardTarget::All => "DISCARD ALL",
            crate::statement::DiscardTarget::Plans => "DISCARD PLANS",
            crate::statement::DiscardTarget::Temporary => "DISCARD TEMP",
            crate::statement::DiscardTarget::Sequences => "DISCARD SEQUENCES",
        },
        Ast::Begin { tag, .. } => tag,
        Ast::Commit { .. } => "COMMIT",
        Ast::Rollback { .. } => "ROLLBACK",
        Ast::Savepoint { action, .. } => match action {
            SavepointAction::Begin => "SAVEPOINT",
            SavepointAction::Release => "RELEASE",
            SavepointAction::RollBack => "ROLLBACK",
        },
        Ast::Prepare { .. } => "PREPARE",
        Ast::Execute { .. } => "EXECUTE",
        Ast::Deallocate { name: None } => "DEALLOCATE ALL",
        Ast::Deallocate { .. } => "DEALLOCATE",
        Ast::Declare(_) => "DECLARE CURSOR",
        Ast::Fetch { moves: true, .. } => "MOVE",
        Ast::Fetch { .. } => "FETCH",
        Ast::CloseCursor { name: None } => "CLOSE CURSOR ALL",
        Ast::CloseCursor { .. } => "CLOSE CURSOR",
        Ast::Explain(_) => "EXPLAIN",
        Ast::Undone { tag, .. } | Ast::Nothing { tag } | Ast::Unsupported { tag, .. } => tag,
    }
}

fn tag_of_alter(what: Altered) -> &'static str {
    match what {
        Altered::Table => "ALTER TABLE",
        Altered::View => "ALTER VIEW",
        Altered::MaterializedView => "ALTER MATERIALIZED VIEW",
        Altered::Sequence => "ALTER SEQUENCE",
        Altered::Index => "ALTER INDEX",
    }
}

/// `None`: as the tag.
fn command_of(ast: &Ast) -> Option<&'static str> {
    match ast {
        Ast::Insert(_) | Ast::Overriding(..) => Some("INSERT"),
        Ast::With(_, statement) => command_of(statement),
        Ast::CreateTable(create) if create.materialized.is_some() => Some("CREATE MATERIALIZED VIEW"),
        Ast::CreateTable(create) if create.query.is_some() => Some("CREATE TABLE AS"),
        Ast::Copy { from: true, .. } => Some("COPY FROM"),
        Ast::Explain(explain) if explain.analyze => command_of(&explain.statement),
        _ => None,
    }
}

fn class_of(ast: &Ast) -> StatementClass {
    match ast {
        Ast::Query(query) if in_query(query) => StatementClass::Write,
        Ast::Query(_) | Ast::Declare(_) | Ast::Lock { .. } => StatementClass::Query,
        Ast::With(_, statement) => class_of(statement),
        Ast::Insert(_)
        | Ast::Overriding(..)
        | Ast::Update(_)
        | Ast::Delete(_)
        | Ast::Merge(_)
        | Ast::Refresh { .. }
        | Ast::Truncate { .. } => StatementClass::Write,
        Ast::Copy { from: true, .. } => StatementClass::Write,
        Ast::Copy { .. } => StatementClass::Query,
        Ast::Access(asked) if asked.is_of_session() => StatementClass::Utility,
        Ast::Access(_)
        | Ast::CreateTable(_)
        | Ast::CreateView(_)
        | Ast::CreateSequence(_)
        | Ast::AlterSequence(_)
        | Ast::CreateIndex(_)
        | Ast::DropIndexes { .. }
        | Ast::CreateSchema { .. }
        | Ast::CreateDatabase { .. }
        | Ast::Drop { .. }
        | Ast::DropDatabase { .. }
        | Ast::DropAbsent(_)
        | Ast::AlterTable(_)
        | Ast::History(_)
        | Ast::RenameRelation { .. }
        | Ast::RenameViewColumn { .. }
        | Ast::RenameSchema { .. }
        | Ast::Comment { .. }
        | Ast::CommentConstraint { .. } => StatementClass::Ddl,
        Ast::Explain(explain) if explain.analyze => class_of(&explain.statement),
        Ast::Explain(_) => StatementClass::Query,
        Ast::Begin { .. } => StatementClass::Transaction(TransactionClass::Begin),
        Ast::Commit { .. } => StatementClass::Transaction(TransactionClass::Commit),
        Ast::Rollback { .. } => StatementClass::Transaction(TransactionClass::Rollback),
        Ast::Savepoint {
            action: SavepointAction::RollBack,
            ..
        } => StatementClass::Transaction(TransactionClass::RollbackTo),
        Ast::Savepoint { .. } => StatementClass::Transaction(TransactionClass::Savepoint),
        Ast::SetTransaction { .. } => StatementClass::Transaction(TransactionClass::Modes),
        Ast::Set { .. }
        | Ast::Show { .. }
        | Ast::Reset { .. }
        | Ast::Discard(_)
        | Ast::Prepare { .. }
        | Ast::Execute { .. }
        | Ast::Deallocate { .. }
        | Ast::Fetch { .. }
        | Ast::CloseCursor { .. }
        | Ast::Upkeep(_)
        | Ast::Reindex { .. }
        | Ast::Undone { .. }
        | Ast::Nothing { .. }
        | Ast::Unsupported { .. } => StatementClass::Utility,
    }
}

#[cfg(test)]
mod tests;
