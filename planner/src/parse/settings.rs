//! SET, RESET, SHOW and DISCARD.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::access;
use super::access::AccessAst;
use super::ast::Ast;
use super::cursor::Cursor;
use super::statement::unsupported;
use super::transaction::some_transaction_modes;
use crate::error::{Error, ErrorKind, Result};
use crate::statement::DiscardTarget;

pub(super) fn set(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if cursor.take_word("transaction") {
        if cursor.is_word("snapshot") {
            return Ok(unsupported(cursor, "SET TRANSACTION SNAPSHOT", "SET"));
        }
        return Ok(Ast::SetTransaction {
            modes: some_transaction_modes(cursor)?,
            session: false,
        });
    }
    if cursor.take_words(&["session", "characteristics", "as", "transaction"]) {
        return Ok(Ast::SetTransaction {
            modes: some_transaction_modes(cursor)?,
            session: true,
        });
    }
    if cursor.is_word("constraints") {
        return Ok(unsupported(cursor, "SET CONSTRAINTS", "SET CONSTRAINTS"));
    }
    let local = cursor.take_word("local");
    if cursor.is_word("session") && !matches!(cursor.peek_at(1), Some(Token::Eq)) {
        cursor.take_word("session");
        if cursor.take_word("authorization") {
            return access::set_authorization(cursor, local);
        }
    }
    let set = |name: &str, value: Option<String>| {
        Ok(Ast::Set {
            name: name.to_string(),
            value,
            local,
        })
    };
    if cursor.take_words(&["time", "zone"]) {
        if cursor.take_word("default") || cursor.take_word("local") {
            return set("timezone", None);
        }
        if cursor.is_word("interval") {
            return Ok(unsupported(cursor, "SET TIME ZONE INTERVAL", "SET"));
        }
        let value = simple_value(cursor)?;
        return set("timezone", Some(value));
    }
    if cursor.take_word("names") {
        let value = if cursor.is_end() || cursor.take_word("default") {
            None
        } else {
            Some(cursor.string()?)
        };
        return set("client_encoding", value);
    }
    if cursor.take_word("role") {
        let _ = cursor.take_word("to") || cursor.take_token(&Token::Eq);
        return access::set_role(cursor, local);
    }
    if cursor.take_word("schema") {
        let value = cursor.string()?;
        return set("search_path", Some(staffa_catalog::quote_identifier(&value)));
    }
    if cursor.is_word("session_authorization") {
        cursor.next();
        let _ = cursor.take_word("to") || cursor.take_token(&Token::Eq);
        return access::set_authorization(cursor, local);
    }
    let (name, value) = setting(cursor)?;
    Ok(Ast::Set { name, value, local })
}

pub(super) fn reset(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if cursor.take_word("role") {
        return Ok(Ast::Access(Box::new(AccessAst::ResetRole)));
    }
    Ok(match setting_or_all(cursor)? {
        Some(name) if name == "session_authorization" => Ast::Access(Box::new(AccessAst::ResetAuthorization)),
        name => Ast::Reset { name },
    })
}

/// `name = value`, `name TO value`; `None` is DEFAULT.
pub(super) fn setting(cursor: &mut Cursor<'_>) -> Result<(String, Option<String>)> {
    let name = setting_name(cursor)?;
    if !cursor.take_word("to") {
        cursor.expect_token(&Token::Eq)?;
    }
    if cursor.take_word("default") {
        return Ok((name, None));
    }
    let list = matches!(name.as_str(), "search_path" | "datestyle");
    let mut values = Vec::new();
    loop {
        let value = match name.as_str() {
            // Kept as identifiers: a quoted name must not be folded when the path is read again.
            "search_path" => match cursor.peek() {
                Some(Token::Word(_)) => staffa_catalog::quote_identifier(&folded(cursor.identifier()?)),
                _ => {
                    let text = cursor.string()?;
                    staffa_catalog::quote_identifier(&text)
                }
            },
            _ => simple_value(cursor)?,
        };
        values.push(value);
        if !cursor.take_token(&Token::Comma) {
            break;
        }
        if !list {
            let message = format!("SET {name} takes only one argument");
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
    }
    Ok((name, Some(values.join(", "))))
}

/// A setting's name in lower case; dotted names are custom settings.
pub(super) fn setting_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut name = cursor.identifier()?.value.to_lowercase();
    while cursor.take_token(&Token::Period) {
        name = format!("{name}.{}", cursor.identifier()?.value.to_lowercase());
    }
    Ok(name)
}

fn setting_or_all(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if cursor.take_word("all") {
        return Ok(None);
    }
    if cursor.take_words(&["time", "zone"]) {
        return Ok(Some("timezone".to_string()));
    }
    if cursor.take_words(&["transaction", "isolation", "level"]) {
        return Ok(Some("transaction_isolation".to_string()));
    }
    if cursor.take_words(&["session", "authorization"]) {
        return Ok(Some("session_authorization".to_string()));
    }
    Ok(Some(setting_name(cursor)?))
}

pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Ast> {
    Ok(Ast::Show {
        name: setting_or_all(cursor)?,
    })
}

pub(super) fn discard(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let target = if cursor.take_word("all") {
        DiscardTarget::All
    } else if cursor.take_word("plans") {
        DiscardTarget::Plans
    } else if cursor.take_word("temp") || cursor.take_word("temporary") {
        DiscardTarget::Temporary
    } else if cursor.take_word("sequences") {
        DiscardTarget::Sequences
    } else {
        return Err(cursor.unexpected());
    };
    Ok(Ast::Discard(target))
}

/// A string, number or word as text.
pub(super) fn simple_value(cursor: &mut Cursor<'_>) -> Result<String> {
    let sign = if cursor.take_token(&Token::Minus) {
        "-"
    } else {
        let _ = cursor.take_token(&Token::Plus);
        ""
    };
    match cursor.peek() {
        Some(Token::Number(digits, false)) => {
            cursor.next();
            Ok(format!("{sign}{digits}"))
        }
        _ if !sign.is_empty() => Err(cursor.unexpected()),
        Some(Token::Word(_)) => Ok(folded(cursor.label()?)),
        _ => cursor.string(),
    }
}

/// An identifier as PostgreSQL reads it: lower case unless quoted.
pub(super) fn folded(ident: Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value
    } else {
        ident.value.to_lowercase()
    }
}
