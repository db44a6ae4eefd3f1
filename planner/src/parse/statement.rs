//! Which statement it is, by its first word; and those that sqlparser reads.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::copy::copy;
use super::cursor::Cursor;
use super::explain::explain;
use super::merge::merge;
use super::objects::{comment, drop, refresh, truncate};
use super::prepare::{execute, prepare};
use super::settings::{discard, reset, set, show};
use super::transaction::{end_of_transaction, rollback, savepoint, transaction_modes};
use super::{access, alter, create, declare, history, index, lock, policy, upkeep};
use crate::error::Result;
use crate::statement::SavepointAction;
use crate::statement::query::Overriding;

pub(super) fn statement(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let word = match cursor.peek() {
        Some(Token::LParen) => return query(cursor),
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        _ => return Err(cursor.unexpected()),
    };
    if matches!(word.as_str(), "select" | "values" | "with" | "table" | "from") {
        if word == "from" {
            return Err(cursor.unexpected());
        }
        if word == "with"
            && let Some(with) = cursor.with_before(&["insert", "update", "delete", "merge"])?
        {
            return Ok(Ast::With(Box::new(with), Box::new(statement(cursor)?)));
        }
        return query(cursor);
    }
    match word.as_str() {
        "insert" => return insert(cursor),
        "update" => return update(cursor),
        "delete" => return delete(cursor),
        "merge" => return merge(cursor),
        _ => {}
    }
    if let Some((tag, what)) = refused(&word, cursor) {
        return Ok(unsupported(cursor, what, tag));
    }
    if !KNOWN.contains(&word.as_str()) {
        return Err(cursor.unexpected());
    }
    cursor.next();
    match word.as_str() {
        "create" => create::create(cursor),
        "alter" => alter::alter(cursor),
        "drop" => drop(cursor),
        "truncate" => truncate(cursor),
        "lock" => lock::lock(cursor),
        "grant" => access::grant(cursor),
        "revoke" => access::revoke(cursor),
        "reassign" => {
            cursor.expect_word("owned")?;
            access::reassign(cursor)
        }
        "attach" => policy::attach_mask(cursor),
        "detach" => policy::detach_mask(cursor),
        "comment" => comment(cursor),
        "refresh" => refresh(cursor),
        "copy" => copy(cursor),
        "set" => set(cursor),
        "show" => show(cursor),
        "reset" => reset(cursor),
        "discard" => discard(cursor),
        "begin" => {
            let _ = cursor.take_word("work") || cursor.take_word("transaction");
            Ok(Ast::Begin {
                modes: transaction_modes(cursor)?,
                tag: "BEGIN",
            })
        }
        "start" => {
            cursor.expect_word("transaction")?;
            Ok(Ast::Begin {
                modes: transaction_modes(cursor)?,
                tag: "START TRANSACTION",
            })
        }
        "commit" | "end" => {
            if cursor.is_word("prepared") {
                return Ok(unsupported(cursor, "COMMIT PREPARED", "COMMIT PREPARED"));
            }
            Ok(Ast::Commit {
                chain: end_of_transaction(cursor)?,
            })
        }
        "rollback" => rollback(cursor),
        "abort" => Ok(Ast::Rollback {
            chain: end_of_transaction(cursor)?,
        }),
        "savepoint" => savepoint(cursor, SavepointAction::Begin),
        "release" => {
            let _ = cursor.take_word("savepoint");
            savepoint(cursor, SavepointAction::Release)
        }
        "prepare" => prepare(cursor),
        "execute" => execute(cursor),
        "deallocate" => {
            let _ = cursor.take_word("prepare");
            let name = if cursor.take_word("all") {
                None
            } else {
                Some(cursor.identifier()?)
            };
            Ok(Ast::Deallocate { name })
        }
        "explain" => explain(cursor),
        "declare" => declare::declare(cursor),
        "fetch" => declare::fetch(cursor, false),
        "move" => declare::fetch(cursor, true),
        "close" => declare::close(cursor),
        "vacuum" => upkeep::vacuum(cursor),
        "analyze" | "analyse" => upkeep::analyze(cursor),
        "optimize" => upkeep::optimize(cursor),
        "reindex" => index::reindex(cursor),
        "undrop" => {
            cursor.expect_word("table")?;
            history::undrop(cursor)
        }
        "listen" => {
            cursor.identifier()?;
            Ok(Ast::Undone {
                tag: "LISTEN",
                warning: "notifications are not supported: none will come",
            })
        }
        "notify" => {
            cursor.identifier()?;
            if cursor.take_token(&Token::Comma) {
                cursor.string()?;
            }
            Ok(Ast::Undone {
                tag: "NOTIFY",
                warning: "notifications are not supported: nobody will hear of it",
            })
        }
        "unlisten" => {
            if !cursor.take_token(&Token::Mul) {
                cursor.identifier()?;
            }
            Ok(Ast::Nothing { tag: "UNLISTEN" })
        }
        _ => Err(cursor.unexpected()),
    }
}

const KNOWN: &[&str] = &[
    "truncate",
    "lock",
    "alter",
    "create",
    "drop",
    "attach",
    "detach",
    "grant",
    "revoke",
    "reassign",
    "comment",
    "refresh",
    "copy",
    "set",
    "show",
    "reset",
    "discard",
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "savepoint",
    "release",
    "abort",
    "prepare",
    "execute",
    "deallocate",
    "explain",
    "declare",
    "fetch",
    "move",
    "close",
    "vacuum",
    "analyze",
    "analyse",
    "optimize",
    "reindex",
    "undrop",
    "listen",
    "notify",
    "unlisten",
];

/// Statements PostgreSQL has and Staffa has not: tag and name.
fn refused(word: &str, cursor: &Cursor<'_>) -> Option<(&'static str, &'static str)> {
    Some(match word {
        "call" => ("CALL", "CALL"),
        "do" => ("DO", "DO"),
        "cluster" => ("CLUSTER", "CLUSTER"),
        "checkpoint" => ("CHECKPOINT", "CHECKPOINT"),
        "load" => ("LOAD", "LOAD"),
        "security" => ("SECURITY LABEL", "SECURITY LABEL"),
        "import" => ("IMPORT FOREIGN SCHEMA", "IMPORT FOREIGN SCHEMA"),
        "prepare" if cursor.is_word_at(1, "transaction") => ("PREPARE TRANSACTION", "PREPARE TRANSACTION"),
        _ => return None,
    })
}

pub(super) fn unsupported(cursor: &mut Cursor<'_>, what: impl Into<String>, tag: &'static str) -> Ast {
    cursor.skip_to_end();
    Ast::Unsupported {
        what: what.into(),
        tag,
        hint: None,
    }
}

pub(super) fn unsupported_with_hint(
    cursor: &mut Cursor<'_>,
    what: impl Into<String>,
    tag: &'static str,
    hint: &'static str,
) -> Ast {
    cursor.skip_to_end();
    Ast::Unsupported {
        what: what.into(),
        tag,
        hint: Some(hint),
    }
}

fn query(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if cursor.is_word("table") {
        return Ok(Ast::Query(cursor.table_query()?));
    }
    let mut query = cursor.query()?.0;
    Ok(create::select_into(&mut query).unwrap_or(Ast::Query(query)))
}

fn insert(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if cursor.is_word_at(1, "overwrite") && cursor.has_words(&["partition"]) {
        let hint = "The partitions that the rows belong to are overwritten.";
        return Ok(unsupported_with_hint(
            cursor,
            "PARTITION in INSERT OVERWRITE",
            "INSERT 0",
            hint,
        ));
    }
    if let Some(ahead) = cursor.ahead_of("overriding", &["select", "values", "with", "default", "table", "on"]) {
        let overriding = match cursor.is_word_at(ahead + 1, "user") {
            true => Overriding::User,
            false if cursor.is_word_at(ahead + 1, "system") => Overriding::System,
            false => return Err(cursor.unexpected_ahead(ahead + 1)),
        };
        if !cursor.is_word_at(ahead + 2, "value") {
            return Err(cursor.unexpected_ahead(ahead + 2));
        }
        if cursor.is_word_at(ahead + 3, "default") {
            return Err(cursor.unexpected_ahead(ahead + 3));
        }
        return match cursor.rest_without(ahead..ahead + 3, |parser| parser.parse_statement())? {
            Statement::Insert(insert) => Ok(Ast::Overriding(Box::new(insert), overriding)),
            _ => Err(cursor.unexpected()),
        };
    }
    match cursor.rest(|parser| parser.parse_statement())? {
        Statement::Insert(insert) => Ok(Ast::Insert(Box::new(insert))),
        _ => Err(cursor.unexpected()),
    }
}

/// `WHERE CURRENT OF` needs a cursor, which sqlparser knows as little as we do.
fn names_a_cursor(cursor: &Cursor<'_>) -> bool {
    cursor.has_words(&["where", "current", "of"])
}

fn update(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if names_a_cursor(cursor) {
        return Ok(unsupported(cursor, "WHERE CURRENT OF", "UPDATE"));
    }
    match cursor.rest(|parser| parser.parse_statement())? {
        Statement::Update(update) => Ok(Ast::Update(Box::new(update))),
        _ => Err(cursor.unexpected()),
    }
}

fn delete(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if names_a_cursor(cursor) {
        return Ok(unsupported(cursor, "WHERE CURRENT OF", "DELETE"));
    }
    match cursor.rest(|parser| parser.parse_statement())? {
        Statement::Delete(delete) => Ok(Ast::Delete(Box::new(delete))),
        _ => Err(cursor.unexpected()),
    }
}
