//! The modes and ends of transactions.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use super::history;
use super::statement::unsupported;
use crate::error::Result;
use crate::statement::{IsolationLevel, SavepointAction, TransactionModes};

pub(super) fn some_transaction_modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes> {
    if cursor.is_end() {
        return Err(cursor.unexpected());
    }
    transaction_modes(cursor)
}

/// `ISOLATION LEVEL …`, `READ ONLY | WRITE`, `[NOT] DEFERRABLE`, with or without commas.
pub(super) fn transaction_modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes> {
    let mut modes = TransactionModes::default();
    while !cursor.is_end() {
        if cursor.take_word("isolation") {
            cursor.expect_word("level")?;
            modes.isolation = Some(if cursor.take_words(&["read", "uncommitted"]) {
                IsolationLevel::ReadUncommitted
            } else if cursor.take_words(&["read", "committed"]) {
                IsolationLevel::ReadCommitted
            } else if cursor.take_words(&["repeatable", "read"]) {
                IsolationLevel::RepeatableRead
            } else if cursor.take_word("serializable") {
                IsolationLevel::Serializable
            } else {
                return Err(cursor.unexpected());
            });
        } else if cursor.take_words(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if cursor.take_words(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if !(cursor.take_words(&["not", "deferrable"]) || cursor.take_word("deferrable")) {
            // Every transaction reads one snapshot and never waits for it: deferrable holds by itself.
            return Err(cursor.unexpected());
        }
        if cursor.take_token(&Token::Comma) && cursor.is_end() {
            return Err(cursor.unexpected());
        }
    }
    Ok(modes)
}

/// `[WORK | TRANSACTION] [AND [NO] CHAIN]`
pub(super) fn end_of_transaction(cursor: &mut Cursor<'_>) -> Result<bool> {
    let _ = cursor.take_word("work") || cursor.take_word("transaction");
    Ok(chain(cursor))
}

fn chain(cursor: &mut Cursor<'_>) -> bool {
    !cursor.take_words(&["and", "no", "chain"]) && cursor.take_words(&["and", "chain"])
}

pub(super) fn rollback(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if cursor.is_word("prepared") {
        return Ok(unsupported(cursor, "ROLLBACK PREPARED", "ROLLBACK PREPARED"));
    }
    if cursor.take_word("table") {
        return history::roll_back(cursor);
    }
    let _ = cursor.take_word("work") || cursor.take_word("transaction");
    if cursor.take_word("to") {
        let _ = cursor.take_word("savepoint");
        return savepoint(cursor, SavepointAction::RollBack);
    }
    Ok(Ast::Rollback { chain: chain(cursor) })
}

pub(super) fn savepoint(cursor: &mut Cursor<'_>, action: SavepointAction) -> Result<Ast> {
    let name = cursor.identifier()?;
    Ok(Ast::Savepoint { action, name })
}
