//! DROP, TRUNCATE, REFRESH and COMMENT.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::access;
use super::ast::{Ast, Commented, DropAbsentAst, DropKind};
use super::cursor::Cursor;
use super::statement::unsupported;
use super::{index, policy};
use crate::error::Result;

pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let kind = if cursor.take_word("table") {
        DropKind::Table
    } else if cursor.take_word("view") {
        DropKind::View
    } else if cursor.take_words(&["materialized", "view"]) {
        DropKind::MaterializedView
    } else if cursor.take_word("sequence") {
        DropKind::Sequence
    } else if cursor.take_word("schema") {
        DropKind::Schema
    } else if cursor.take_word("index") {
        return index::drop(cursor);
    } else if cursor.take_word("database") {
        let if_exists = cursor.take_words(&["if", "exists"]);
        let name = cursor.identifier()?;
        if !cursor.is_end() {
            return Ok(unsupported(cursor, "options of DROP DATABASE", "DROP DATABASE"));
        }
        return Ok(Ast::DropDatabase { name, if_exists });
    } else if cursor.take_word("role") || cursor.take_word("user") || cursor.take_word("group") {
        return access::drop_roles(cursor);
    } else if cursor.take_word("policy") {
        return policy::drop(cursor);
    } else if cursor.take_words(&["masking", "policy"]) {
        return policy::drop_mask(cursor);
    } else if cursor.take_word("owned") {
        return access::drop_owned(cursor);
    } else {
        return drop_absent(cursor);
    };
    let if_exists = cursor.take_words(&["if", "exists"]);
    let names = cursor.object_names()?;
    let cascade = cursor.take_word("cascade");
    if !cascade {
        let _ = cursor.take_word("restrict");
    }
    Ok(Ast::Drop {
        kind,
        names,
        if_exists,
        cascade,
    })
}

/// Kinds of objects there are none of.
fn drop_absent(cursor: &mut Cursor<'_>) -> Result<Ast> {
    const KINDS: &[(&[&str], &str, &str)] = &[
        (&["function"], "function", "DROP FUNCTION"),
        (&["procedure"], "procedure", "DROP PROCEDURE"),
        (&["aggregate"], "aggregate", "DROP AGGREGATE"),
        (&["routine"], "routine", "DROP ROUTINE"),
        (&["trigger"], "trigger", "DROP TRIGGER"),
        (&["rule"], "rule", "DROP RULE"),
        (&["type"], "type", "DROP TYPE"),
        (&["domain"], "type", "DROP DOMAIN"),
        (&["extension"], "extension", "DROP EXTENSION"),
        (&["collation"], "collation", "DROP COLLATION"),
        (&["statistics"], "statistics object", "DROP STATISTICS"),
        (&["tablespace"], "tablespace", "DROP TABLESPACE"),
        (&["publication"], "publication", "DROP PUBLICATION"),
        (&["subscription"], "subscription", "DROP SUBSCRIPTION"),
        (&["foreign", "table"], "foreign table", "DROP FOREIGN TABLE"),
        (&["server"], "server", "DROP SERVER"),
        (&["language"], "language", "DROP LANGUAGE"),
    ];
    for (word, tag) in [("operator", "DROP OPERATOR"), ("cast", "DROP CAST")] {
        if cursor.is_word(word) {
            return Ok(unsupported(cursor, tag, tag));
        }
    }
    let Some((_, noun, tag)) = KINDS.iter().find(|(words, ..)| cursor.take_words(words)) else {
        return Err(cursor.unexpected());
    };
    let if_exists = cursor.take_words(&["if", "exists"]);
    let name = cursor.object_name()?;
    let takes_arguments = matches!(*noun, "function" | "procedure" | "aggregate" | "routine");
    let arguments = match cursor.peek() {
        Some(Token::LParen) if takes_arguments => Some(cursor.types_in_parentheses()?),
        _ => None,
    };
    let table = match *noun {
        "trigger" | "rule" => {
            cursor.expect_word("on")?;
            Some(cursor.object_name()?)
        }
        _ => None,
    };
    if cursor.peek() == Some(&Token::Comma) {
        return Ok(unsupported(cursor, format!("{tag} of several"), tag));
    }
    if !cursor.take_word("cascade") {
        let _ = cursor.take_word("restrict");
    }
    Ok(Ast::DropAbsent(Box::new(DropAbsentAst {
        tag,
        noun,
        if_exists,
        name,
        arguments,
        table,
    })))
}

pub(super) fn truncate(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let _ = cursor.take_word("table");
    let mut names = Vec::new();
    loop {
        let _ = cursor.take_word("only");
        names.push(cursor.object_name()?);
        let _ = cursor.take_token(&Token::Mul);
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    let restart = cursor.take_words(&["restart", "identity"]);
    if !restart {
        let _ = cursor.take_words(&["continue", "identity"]);
    }
    let cascade = cursor.take_word("cascade");
    if !cascade {
        let _ = cursor.take_word("restrict");
    }
    Ok(Ast::Truncate {
        names,
        restart,
        cascade,
    })
}

pub(super) fn refresh(cursor: &mut Cursor<'_>) -> Result<Ast> {
    cursor.expect_word("materialized")?;
    cursor.expect_word("view")?;
    let concurrently = cursor.take_word("concurrently");
    let name = cursor.object_name()?;
    let with_data = !cursor.take_words(&["with", "no", "data"]);
    if with_data {
        let _ = cursor.take_words(&["with", "data"]);
    }
    Ok(Ast::Refresh {
        name,
        concurrently,
        with_data,
    })
}

/// What PostgreSQL has comments of besides.
const COMMENTED_ELSEWHERE: &[&str] = &[
    "access",
    "aggregate",
    "cast",
    "collation",
    "conversion",
    "database",
    "domain",
    "extension",
    "event",
    "foreign",
    "function",
    "large",
    "operator",
    "procedural",
    "language",
    "procedure",
    "publication",
    "routine",
    "rule",
    "schema",
    "sequence",
    "server",
    "statistics",
    "subscription",
    "tablespace",
    "text",
    "transform",
    "trigger",
    "type",
];

pub(super) fn comment(cursor: &mut Cursor<'_>) -> Result<Ast> {
    cursor.expect_word("on")?;
    let wrong = cursor.unexpected();
    let on = match cursor.word()?.as_str() {
        "table" | "view" => Commented::Relation,
        "materialized" => {
            cursor.expect_word("view")?;
            Commented::Relation
        }
        "column" => Commented::Column,
        "index" => Commented::Index,
        "constraint" => return comment_constraint(cursor),
        "role" => return access::comment(cursor),
        "policy" => return policy::comment(cursor),
        other if COMMENTED_ELSEWHERE.contains(&other) => {
            let what = format!("COMMENT ON {}", other.to_uppercase());
            return Ok(unsupported(cursor, what, "COMMENT"));
        }
        _ => return Err(wrong),
    };
    let object = cursor.object_name()?;
    cursor.expect_word("is")?;
    let text = if cursor.take_word("null") {
        None
    } else {
        Some(cursor.string()?)
    };
    Ok(Ast::Comment { object, on, text })
}

fn comment_constraint(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    cursor.expect_word("on")?;
    if cursor.is_word("domain") {
        return Ok(unsupported(cursor, "COMMENT ON CONSTRAINT … ON DOMAIN", "COMMENT"));
    }
    let table = cursor.object_name()?;
    cursor.expect_word("is")?;
    let text = if cursor.take_word("null") {
        None
    } else {
        Some(cursor.string()?)
    };
    Ok(Ast::CommentConstraint { name, table, text })
}
