//! Which statement it is, and the statements that are read from the tokens alone.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::access::AccessAst;
use super::ast::{Ast, Commented, CopyOptionAst, CopySource, DropAbsentAst, DropKind, ExplainAst};
use super::cursor::Cursor;
use super::merge::merge;
use super::{access, alter, create, declare, history, index, lock, parse_written, policy, upkeep};
use crate::error::{Error, ErrorKind, Result};
use crate::explain::ExplainFormat;
use crate::statement::query::Overriding;
use crate::statement::{DiscardTarget, IsolationLevel, SavepointAction, TransactionModes};

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

fn drop(cursor: &mut Cursor<'_>) -> Result<Ast> {
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

fn truncate(cursor: &mut Cursor<'_>) -> Result<Ast> {
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

fn refresh(cursor: &mut Cursor<'_>) -> Result<Ast> {
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

fn comment(cursor: &mut Cursor<'_>) -> Result<Ast> {
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

fn copy(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let start = cursor.position();
    let binary = cursor.take_word("binary");
    let source = if cursor.peek() == Some(&Token::LParen) {
        CopySource::Query(cursor.inside_parentheses(|parser| parser.parse_query())?)
    } else {
        let name = cursor.object_name()?;
        let columns = if cursor.peek() == Some(&Token::LParen) {
            cursor.identifiers_in_parentheses()?
        } else {
            Vec::new()
        };
        CopySource::Table { name, columns }
    };
    let from = matches!(source, CopySource::Table { .. }) && cursor.take_word("from");
    if !from {
        cursor.expect_word("to")?;
    }
    let stdio = cursor.take_word("stdin") || cursor.take_word("stdout");
    if !stdio {
        // A file or a program: refused alike, once the statement is known to be well formed.
        cursor.take_word("program");
        cursor.string()?;
    }
    let mut options = Vec::new();
    if binary {
        options.push(CopyOptionAst {
            name: "format".to_string(),
            values: vec!["binary".to_string()],
            position: start,
        });
    }
    let with = cursor.take_word("with");
    if cursor.take_token(&Token::LParen) {
        loop {
            let position = cursor.position();
            let (name, values) = copy_option(cursor)?;
            options.push(CopyOptionAst { name, values, position });
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        let before = options.len();
        let mut position = cursor.position();
        while let Some((name, values)) = old_copy_option(cursor)? {
            options.push(CopyOptionAst { name, values, position });
            position = cursor.position();
        }
        if with && options.len() == before {
            return Err(cursor.unexpected());
        }
    }
    if cursor.is_word("where") && !from {
        let message = "WHERE clause not allowed with COPY TO";
        return Err(Error::new(ErrorKind::SyntaxError, message).with_position(cursor.position()));
    }
    if cursor.is_word("where") {
        return Ok(unsupported(cursor, "COPY FROM … WHERE", "COPY"));
    }
    Ok(Ast::Copy {
        from,
        source,
        options,
        stdio,
    })
}

/// `NAME [value | (list) | *]` in the parentheses of WITH.
fn copy_option(cursor: &mut Cursor<'_>) -> Result<(String, Vec<String>)> {
    let name = cursor.word()?;
    let mut values = Vec::new();
    if cursor.peek() == Some(&Token::LParen) {
        values = cursor.identifiers_in_parentheses()?.into_iter().map(folded).collect();
    } else if cursor.take_token(&Token::Mul) {
        values.push("*".to_string());
    } else if !matches!(cursor.peek(), Some(Token::Comma | Token::RParen)) {
        values.push(simple_value(cursor)?);
    }
    Ok((name, values))
}

/// The forms from before PostgreSQL 9: `CSV HEADER DELIMITER ',' NULL AS ''`, `FORCE QUOTE a, b`.
fn old_copy_option(cursor: &mut Cursor<'_>) -> Result<Option<(String, Vec<String>)>> {
    let simple = |name: &str, value: &str| Ok(Some((name.to_string(), vec![value.to_string()])));
    for format in ["csv", "binary"] {
        if cursor.take_word(format) {
            return simple("format", format);
        }
    }
    for flag in ["header", "freeze"] {
        if cursor.take_word(flag) {
            return simple(flag, "true");
        }
    }
    for name in ["delimiter", "null", "quote", "escape", "encoding"] {
        if cursor.take_word(name) {
            let _ = cursor.take_word("as");
            return Ok(Some((name.to_string(), vec![cursor.string()?])));
        }
    }
    for (words, name) in [
        (&["force", "quote"][..], "force_quote"),
        (&["force", "not", "null"], "force_not_null"),
        (&["force", "null"], "force_null"),
    ] {
        if cursor.take_words(words) {
            if cursor.take_token(&Token::Mul) {
                return simple(name, "*");
            }
            let mut columns = vec![folded(cursor.identifier()?)];
            while cursor.take_token(&Token::Comma) {
                columns.push(folded(cursor.identifier()?));
            }
            return Ok(Some((name.to_string(), columns)));
        }
    }
    Ok(None)
}

/// An identifier as PostgreSQL reads it: lower case unless quoted.
fn folded(ident: datafusion::sql::sqlparser::ast::Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value
    } else {
        ident.value.to_lowercase()
    }
}

/// A string, number or word as text.
fn simple_value(cursor: &mut Cursor<'_>) -> Result<String> {
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

fn set(cursor: &mut Cursor<'_>) -> Result<Ast> {
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

fn reset(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if cursor.take_word("role") {
        return Ok(Ast::Access(Box::new(AccessAst::SetRole {
            role: None,
            local: false,
        })));
    }
    match setting_or_all(cursor)? {
        Some(name) if name == "session_authorization" => Ok(Ast::Access(Box::new(AccessAst::SetAuthorization {
            role: None,
            local: false,
        }))),
        name => Ok(Ast::Reset { name }),
    }
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

fn show(cursor: &mut Cursor<'_>) -> Result<Ast> {
    Ok(Ast::Show {
        name: setting_or_all(cursor)?,
    })
}

fn discard(cursor: &mut Cursor<'_>) -> Result<Ast> {
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

fn some_transaction_modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes> {
    if cursor.is_end() {
        return Err(cursor.unexpected());
    }
    transaction_modes(cursor)
}

/// `ISOLATION LEVEL …`, `READ ONLY | WRITE`, `[NOT] DEFERRABLE`, with or without commas.
fn transaction_modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes> {
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
fn end_of_transaction(cursor: &mut Cursor<'_>) -> Result<bool> {
    let _ = cursor.take_word("work") || cursor.take_word("transaction");
    Ok(chain(cursor))
}

fn chain(cursor: &mut Cursor<'_>) -> bool {
    !cursor.take_words(&["and", "no", "chain"]) && cursor.take_words(&["and", "chain"])
}

fn rollback(cursor: &mut Cursor<'_>) -> Result<Ast> {
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

fn savepoint(cursor: &mut Cursor<'_>, action: SavepointAction) -> Result<Ast> {
    let name = cursor.identifier()?;
    Ok(Ast::Savepoint { action, name })
}

fn prepare(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    let types = if cursor.peek() == Some(&Token::LParen) {
        cursor.inside_parentheses(|parser| parser.parse_comma_separated(|parser| parser.parse_data_type()))?
    } else {
        Vec::new()
    };
    cursor.expect_word("as")?;
    let (text, characters) = cursor.remaining_text();
    if text.is_empty() {
        return Err(cursor.unexpected());
    }
    let statement = parse_written(text, characters).map_err(|error| error.shifted(characters))?;
    if !matches!(
        statement.ast,
        Ast::Query(_)
            | Ast::Insert(_)
            | Ast::Update(_)
            | Ast::Delete(_)
            | Ast::Merge(_)
            | Ast::With(..)
            | Ast::Overriding(..)
            | Ast::Unsupported { .. }
    ) {
        return Err(cursor.unexpected());
    }
    cursor.skip_to_end();
    Ok(Ast::Prepare {
        name,
        types,
        statement: Box::new(statement),
    })
}

fn execute(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    let arguments = if cursor.peek() == Some(&Token::LParen) {
        cursor.inside_parentheses(|parser| parser.parse_comma_separated(|parser| parser.parse_expr()))?
    } else {
        Vec::new()
    };
    Ok(Ast::Execute { name, arguments })
}

fn explain(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let mut explain = ExplainAst {
        statement: Ast::Nothing { tag: "EXPLAIN" },
        analyze: false,
        verbose: false,
        costs: true,
        timing: true,
        summary: None,
        format: ExplainFormat::Text,
    };
    // `EXPLAIN (SELECT 1)` explains a query in parentheses.
    let query_follows =
        cursor.is_word_at(1, "select") || cursor.is_word_at(1, "with") || cursor.is_word_at(1, "values");
    if cursor.peek() == Some(&Token::LParen) && !query_follows && cursor.peek_at(1) != Some(&Token::LParen) {
        cursor.take_token(&Token::LParen);
        loop {
            explain_option(cursor, &mut explain)?;
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        explain.analyze = cursor.take_word("analyze") || cursor.take_word("analyse");
        explain.verbose = cursor.take_word("verbose");
    }
    explain.statement = statement(cursor)?;
    match &explain.statement {
        Ast::Query(_) | Ast::Insert(_) | Ast::Update(_) | Ast::Delete(_) | Ast::Merge(_) | Ast::With(..) => {}
        Ast::Unsupported { .. } => {}
        Ast::CreateTable(create) if create.query.is_some() => {}
        Ast::Execute { .. } => return Ok(unsupported(cursor, "EXPLAIN EXECUTE", "EXPLAIN")),
        _ => {
            let message = "EXPLAIN is for SELECT, INSERT, UPDATE, DELETE, MERGE and CREATE TABLE AS statements";
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    }
    Ok(Ast::Explain(Box::new(explain)))
}

fn explain_option(cursor: &mut Cursor<'_>, explain: &mut ExplainAst) -> Result<()> {
    let start = cursor.position();
    let name = cursor.word()?;
    let value = match cursor.peek() {
        Some(Token::Comma | Token::RParen) => None,
        _ => Some(simple_value(cursor)?.to_lowercase()),
    };
    let flag = || match value.as_deref() {
        None | Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        Some(_) => {
            let message = format!("{name} requires a Boolean value");
            Err(Error::new(ErrorKind::SyntaxError, message))
        }
    };
    match name.as_str() {
        "analyze" | "analyse" => explain.analyze = flag()?,
        "verbose" => explain.verbose = flag()?,
        "costs" => explain.costs = flag()?,
        "timing" => explain.timing = flag()?,
        "summary" => explain.summary = Some(flag()?),
        // Plans here carry neither: PostgreSQL's shared buffers, settings and write-ahead log do not exist.
        "buffers" | "settings" | "wal" => {
            if flag()? {
                return Err(Error::unsupported(format!(
                    "EXPLAIN option {} is not supported",
                    name.to_uppercase()
                )));
            }
        }
        "format" => {
            explain.format = match value.as_deref() {
                Some("text") => ExplainFormat::Text,
                Some("json") => ExplainFormat::Json,
                Some("xml" | "yaml") => {
                    return Err(Error::unsupported(
                        "EXPLAIN formats other than TEXT and JSON are not supported",
                    ));
                }
                other => {
                    let message = format!(
                        "unrecognized value for EXPLAIN option \"format\": \"{}\"",
                        other.unwrap_or_default()
                    );
                    return Err(Error::new(ErrorKind::InvalidParameterValue, message).with_position(start));
                }
            }
        }
        _ => {
            let message = format!("unrecognized EXPLAIN option \"{name}\"");
            return Err(Error::new(ErrorKind::SyntaxError, message).with_position(start));
        }
    }
    Ok(())
}
