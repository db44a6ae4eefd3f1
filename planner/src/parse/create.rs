//! `CREATE …`: tables with their layout clauses, views, schemas, databases.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, SelectInto, SetExpr};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Ast, CreateTableAst, CreateViewAst, LikeAst, OnCommit, PartitionTerm, SortTerm, ViewColumn};
use super::cursor::Cursor;
use super::statement::{unsupported, unsupported_with_hint};
use super::{access, history, index, policy, sequence};
use crate::error::{Error, ErrorKind, Result};
use crate::resolve::fold;

/// After the word CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let replace = cursor.take_words(&["or", "replace"]);
    let temporary = temporary(cursor);
    if cursor.take_word("view") {
        return view(cursor, replace, temporary);
    }
    if !replace {
        if !temporary && cursor.take_words(&["unlogged", "table"]) {
            return table(cursor, false, true);
        }
        if cursor.take_word("table") {
            return table(cursor, temporary, false);
        }
        if cursor.take_word("sequence") {
            return sequence::create(cursor, temporary);
        }
        if !temporary && cursor.take_words(&["materialized", "view"]) {
            return materialized_view(cursor);
        }
    }
    if temporary {
        return match cursor.is_words(&["recursive", "view"]) {
            true => Ok(unsupported(cursor, "CREATE RECURSIVE VIEW", "CREATE VIEW")),
            false => Err(cursor.unexpected()),
        };
    }
    if !replace {
        let unique = cursor.take_words(&["unique", "index"]);
        if unique || cursor.take_word("index") {
            return index::create(cursor, unique);
        }
        if cursor.take_word("schema") {
            return schema(cursor);
        }
        if cursor.take_word("database") {
            return database(cursor);
        }
        if cursor.take_word("policy") {
            return policy::create(cursor);
        }
        if cursor.take_words(&["masking", "policy"]) {
            return policy::create_mask(cursor);
        }
        for word in ["role", "user", "group"] {
            if cursor.take_word(word) {
                return access::create_role(cursor, word == "user");
            }
        }
    }
    let known: &[(&[&str], &'static str)] = &[
        (&["unlogged"], "CREATE SEQUENCE"),
        (&["external", "table"], "CREATE TABLE"),
        (&["foreign"], "CREATE FOREIGN TABLE"),
        (&["recursive", "view"], "CREATE VIEW"),
        (&["function"], "CREATE FUNCTION"),
        (&["procedure"], "CREATE PROCEDURE"),
        (&["aggregate"], "CREATE AGGREGATE"),
        (&["trigger"], "CREATE TRIGGER"),
        (&["constraint"], "CREATE TRIGGER"),
        (&["event"], "CREATE EVENT TRIGGER"),
        (&["rule"], "CREATE RULE"),
        (&["type"], "CREATE TYPE"),
        (&["domain"], "CREATE DOMAIN"),
        (&["extension"], "CREATE EXTENSION"),
        (&["operator"], "CREATE OPERATOR"),
        (&["cast"], "CREATE CAST"),
        (&["collation"], "CREATE COLLATION"),
        (&["statistics"], "CREATE STATISTICS"),
        (&["tablespace"], "CREATE TABLESPACE"),
        (&["publication"], "CREATE PUBLICATION"),
        (&["subscription"], "CREATE SUBSCRIPTION"),
        (&["server"], "CREATE SERVER"),
        (&["language"], "CREATE LANGUAGE"),
        (&["access"], "CREATE ACCESS METHOD"),
    ];
    for (words, tag) in known {
        if cursor.is_words(words) {
            let what = format!("CREATE {}", words.join(" ").to_uppercase());
            return Ok(match words {
                ["type"] => unsupported_with_hint(cursor, what, tag, INSTEAD_OF_TYPE),
                ["domain"] => unsupported_with_hint(cursor, what, tag, INSTEAD_OF_DOMAIN),
                _ => unsupported(cursor, what, tag),
            });
        }
    }
    Err(cursor.unexpected())
}

const INSTEAD_OF_TYPE: &str = "For an enum, declare a column of type text with CHECK (column IN ('a', 'b')); for a composite type, one column for each field.";
const INSTEAD_OF_DOMAIN: &str = "Declare its type, NOT NULL and CHECK with the columns.";

/// `[LOCAL | GLOBAL] TEMPORARY`: the first words mean nothing, as in PostgreSQL.
fn temporary(cursor: &mut Cursor<'_>) -> bool {
    ["temporary", "temp"].into_iter().any(|word| {
        cursor.take_word(word) || cursor.take_words(&["local", word]) || cursor.take_words(&["global", word])
    })
}

fn if_not_exists(cursor: &mut Cursor<'_>) -> bool {
    cursor.take_words(&["if", "not", "exists"])
}

fn schema(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let if_not_exists = if_not_exists(cursor);
    let name = match cursor.is_word("authorization") {
        true => None,
        false => Some(cursor.object_name()?),
    };
    let owner = match cursor.take_word("authorization") {
        true => Some(access::role(cursor)?),
        false => None,
    };
    if cursor.is_word("create") || cursor.is_word("grant") {
        return Ok(unsupported(cursor, "elements in CREATE SCHEMA", "CREATE SCHEMA"));
    }
    Ok(Ast::CreateSchema {
        name,
        owner,
        if_not_exists,
    })
}

fn database(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    let (mut template, mut encoding) = (None, None);
    cursor.take_word("with");
    while !cursor.is_end() {
        let option = if cursor.is_word("template") {
            &mut template
        } else if cursor.is_word("encoding") {
            &mut encoding
        } else {
            return Ok(unsupported(cursor, "options of CREATE DATABASE", "CREATE DATABASE"));
        };
        if option.is_some() {
            let message = "conflicting or redundant options";
            return Err(Error::new(ErrorKind::SyntaxError, message).with_position(cursor.position()));
        }
        cursor.word()?;
        cursor.take_token(&Token::Eq);
        *option = Some(match cursor.take_word("default") {
            true => None,
            false => Some(cursor.string().or_else(|_| cursor.label().map(|name| fold(&name)))?),
        });
    }
    Ok(Ast::CreateDatabase {
        name,
        template: template.flatten(),
        encoding: encoding.flatten(),
    })
}

fn view(cursor: &mut Cursor<'_>, replace: bool, temporary: bool) -> Result<Ast> {
    if cursor.is_words(&["if", "not", "exists"]) {
        return Err(cursor.unexpected());
    }
    let name = cursor.object_name()?;
    let mut columns = Vec::new();
    if cursor.peek() == Some(&Token::LParen) {
        columns = cursor
            .identifiers_in_parentheses()?
            .into_iter()
            .map(|name| ViewColumn { name })
            .collect();
    }
    let mut comment = None;
    loop {
        if cursor.is_word("with") {
            return Ok(unsupported(cursor, "options of CREATE VIEW", "CREATE VIEW"));
        } else if comment.is_none() && cursor.take_word("comment") {
            comment = Some(cursor.string()?);
        } else {
            break;
        }
    }
    cursor.expect_word("as")?;
    for words in [
        &["with", "check", "option"][..],
        &["cascaded", "check", "option"],
        &["local", "check", "option"],
    ] {
        if cursor.ends_with_words(words) {
            return Ok(unsupported(cursor, "WITH CHECK OPTION", "CREATE VIEW"));
        }
    }
    let (query, sql) = cursor.query()?;
    Ok(Ast::CreateView(Box::new(CreateViewAst {
        name,
        temporary,
        replace,
        columns,
        comment,
        query,
        sql,
    })))
}

/// A table that keeps its query.
fn materialized_view(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let mut create = named(cursor, false)?;
    create.materialized = Some(String::new());
    if cursor.peek() == Some(&Token::LParen) {
        create.column_names = cursor.identifiers_in_parentheses()?;
    }
    match table_clauses(cursor, create)? {
        Ast::CreateTable(create) if create.query.is_none() || create.on_commit.is_some() => Err(cursor.unexpected()),
        created => Ok(created),
    }
}

/// `[IF NOT EXISTS] name`
fn named(cursor: &mut Cursor<'_>, temporary: bool) -> Result<CreateTableAst> {
    let if_not_exists = if_not_exists(cursor);
    let name = cursor.object_name()?;
    Ok(CreateTableAst {
        if_not_exists,
        ..empty(name, temporary)
    })
}

fn empty(name: ObjectName, temporary: bool) -> CreateTableAst {
    CreateTableAst {
        if_not_exists: false,
        name,
        temporary,
        unlogged: false,
        on_commit: None,
        columns: Vec::new(),
        column_names: Vec::new(),
        constraints: Vec::new(),
        like: None,
        partition_by: Vec::new(),
        sorted_by: Vec::new(),
        comment: None,
        properties: Vec::new(),
        query: None,
        with_data: true,
        materialized: None,
    }
}

/// `SELECT … INTO t …`: CREATE TABLE AS by another name. `None`: a query without INTO.
pub(super) fn select_into(query: &mut Box<Query>) -> Option<Ast> {
    fn into_of(body: &mut SetExpr) -> Option<SelectInto> {
        match body {
            SetExpr::Select(select) => select.into.take(),
            SetExpr::SetOperation { left, .. } => into_of(left),
            _ => None,
        }
    }
    let into = into_of(&mut query.body)?;
    Some(Ast::CreateTable(Box::new(CreateTableAst {
        unlogged: into.unlogged,
        query: Some(query.clone()),
        ..empty(into.name, into.temporary)
    })))
}

fn table(cursor: &mut Cursor<'_>, temporary: bool, unlogged: bool) -> Result<Ast> {
    const TAG: &str = "CREATE TABLE";
    let mut create = named(cursor, temporary)?;
    create.unlogged = unlogged;
    if cursor.take_word("clone") {
        if temporary {
            return Ok(unsupported(cursor, "CLONE of a temporary table", TAG));
        }
        return history::clone(cursor, create.name, create.if_not_exists);
    }
    if cursor.is_words(&["partition", "of"]) || cursor.is_word("of") {
        return Ok(unsupported(cursor, "CREATE TABLE … OF", TAG));
    }
    if cursor.peek() == Some(&Token::LParen) {
        if cursor.is_word_at(1, "like") {
            cursor.expect_token(&Token::LParen)?;
            create.like = Some(like(cursor)?);
            if cursor.peek() == Some(&Token::Comma) {
                return Ok(unsupported(cursor, "LIKE together with columns or another LIKE", TAG));
            }
            cursor.expect_token(&Token::RParen)?;
            return table_clauses(cursor, create);
        }
        let bare_names = matches!(cursor.peek_at(1), Some(Token::Word(_)))
            && matches!(cursor.peek_at(2), Some(Token::Comma | Token::RParen));
        if bare_names {
            create.column_names = cursor.identifiers_in_parentheses()?;
        } else if cursor.peek_at(1) == Some(&Token::RParen) {
            cursor.take_token(&Token::LParen);
            cursor.take_token(&Token::RParen);
        } else {
            (create.columns, create.constraints) = cursor.parentheses(|parser| parser.parse_columns())?;
            for column in &create.columns {
                cursor.check_name(&column.name)?;
            }
        }
        return table_clauses(cursor, create);
    }
    match table_clauses(cursor, create)? {
        // Neither columns nor a query.
        Ast::CreateTable(create) if create.query.is_none() => Err(cursor.unexpected()),
        other => Ok(other),
    }
}

/// `LIKE table [INCLUDING | EXCLUDING what] …`
fn like(cursor: &mut Cursor<'_>) -> Result<LikeAst> {
    const KINDS: &[&str] = &[
        "all",
        "comments",
        "compression",
        "constraints",
        "defaults",
        "generated",
        "identity",
        "indexes",
        "statistics",
        "storage",
    ];
    cursor.expect_word("like")?;
    let name = cursor.object_name()?;
    let mut options = Vec::new();
    loop {
        let including = cursor.take_word("including");
        if !including && !cursor.take_word("excluding") {
            return Ok(LikeAst { name, options });
        }
        match KINDS.iter().find(|kind| cursor.take_word(kind)) {
            Some(kind) => options.push((including, *kind)),
            None => return Err(cursor.unexpected()),
        }
    }
}

/// What follows the columns.
fn table_clauses(cursor: &mut Cursor<'_>, mut create: CreateTableAst) -> Result<Ast> {
    const TAG: &str = "CREATE TABLE";
    loop {
        if cursor.take_words(&["partition", "by"]) || cursor.take_words(&["partitioned", "by"]) {
            if cursor.is_word("range") || cursor.is_word("list") || cursor.is_word("hash") {
                return Ok(unsupported_with_hint(
                    cursor,
                    "PARTITION BY RANGE, LIST and HASH",
                    TAG,
                    "Partition by columns and transforms of columns, for example PARTITION BY (month(ts), bucket(16, id)).",
                ));
            }
            once(cursor, create.partition_by.is_empty(), "PARTITION BY")?;
            create.partition_by = list(cursor, partition_term)?;
        } else if cursor.take_words(&["sorted", "by"]) {
            once(cursor, create.sorted_by.is_empty(), "SORTED BY")?;
            create.sorted_by = list(cursor, sort_term)?;
        } else if cursor.take_word("comment") {
            once(cursor, create.comment.is_none(), "COMMENT")?;
            create.comment = Some(cursor.string()?);
        } else if cursor.is_word("with") && cursor.peek_at(1) == Some(&Token::LParen) {
            cursor.take_word("with");
            create.properties.extend(list(cursor, property)?);
        } else if cursor.take_words(&["on", "commit"]) {
            once(cursor, create.on_commit.is_none(), "ON COMMIT")?;
            create.on_commit = Some(on_commit(cursor)?);
        } else if cursor.is_words(&["without", "oids"]) {
            cursor.take_words(&["without", "oids"]);
        } else {
            break;
        }
    }
    for (words, what) in [
        (&["inherits"][..], "INHERITS"),
        (&["tablespace"], "TABLESPACE"),
        (&["using"], "USING"),
    ] {
        if cursor.is_words(words) {
            return Ok(unsupported(cursor, format!("{what} in CREATE TABLE"), TAG));
        }
    }
    if create.like.is_none() && cursor.take_word("as") {
        if cursor.is_word("execute") {
            return Ok(unsupported(cursor, "CREATE TABLE AS EXECUTE", TAG));
        }
        if cursor.ends_with_words(&["with", "no", "data"]) {
            create.with_data = false;
            cursor.shorten(3);
        } else if cursor.ends_with_words(&["with", "data"]) {
            cursor.shorten(2);
        }
        let (query, text) = cursor.query()?;
        create.query = Some(query);
        create.materialized = create.materialized.map(|_| text);
        // Behind what was taken off.
        cursor.skip_to_end();
    } else if !create.column_names.is_empty() {
        // Names without types are only for CREATE TABLE AS.
        return Err(cursor.unexpected());
    }
    Ok(Ast::CreateTable(Box::new(create)))
}

fn on_commit(cursor: &mut Cursor<'_>) -> Result<OnCommit> {
    if cursor.take_words(&["preserve", "rows"]) {
        return Ok(OnCommit::PreserveRows);
    }
    if cursor.take_words(&["delete", "rows"]) {
        return Ok(OnCommit::DeleteRows);
    }
    match cursor.take_word("drop") {
        true => Ok(OnCommit::Drop),
        false => Err(cursor.unexpected()),
    }
}

fn once(cursor: &Cursor<'_>, first: bool, clause: &str) -> Result<()> {
    if first {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::SyntaxError, format!("{clause} specified more than once"))
            .with_position(cursor.position()),
    )
}

/// `(item, …)` or `()`
pub(super) fn list_or_empty<T>(cursor: &mut Cursor<'_>, item: fn(&mut Cursor<'_>) -> Result<T>) -> Result<Vec<T>> {
    if cursor.peek_at(1) == Some(&Token::RParen) && cursor.take_token(&Token::LParen) {
        cursor.expect_token(&Token::RParen)?;
        return Ok(Vec::new());
    }
    list(cursor, item)
}

pub(super) fn list<T>(cursor: &mut Cursor<'_>, item: fn(&mut Cursor<'_>) -> Result<T>) -> Result<Vec<T>> {
    cursor.expect_token(&Token::LParen)?;
    let mut items = vec![item(cursor)?];
    while cursor.take_token(&Token::Comma) {
        items.push(item(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(items)
}

/// `column`, `month(column)`, `bucket(16, column)`; the number may also come last, as Spark writes it.
pub(super) fn partition_term(cursor: &mut Cursor<'_>) -> Result<PartitionTerm> {
    let name = cursor.identifier()?;
    if !cursor.take_token(&Token::LParen) {
        return Ok(PartitionTerm {
            transform: None,
            number: None,
            column: name,
        });
    }
    let mut number = None;
    if matches!(cursor.peek(), Some(Token::Number(..))) {
        number = Some(unsigned(cursor)?);
        cursor.expect_token(&Token::Comma)?;
    }
    let column = cursor.identifier()?;
    if number.is_none() && cursor.take_token(&Token::Comma) {
        number = Some(unsigned(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(PartitionTerm {
        transform: Some(name.value.to_ascii_lowercase()),
        number,
        column,
    })
}

fn unsigned(cursor: &mut Cursor<'_>) -> Result<u32> {
    match cursor.peek() {
        Some(Token::Number(digits, false)) => match digits.parse() {
            Ok(number) => {
                cursor.next();
                Ok(number)
            }
            Err(_) => Err(cursor.unexpected()),
        },
        _ => Err(cursor.unexpected()),
    }
}

pub(super) fn sort_term(cursor: &mut Cursor<'_>) -> Result<SortTerm> {
    let column: Ident = cursor.identifier()?;
    let descending = !cursor.take_word("asc") && cursor.take_word("desc");
    let nulls_first = if cursor.take_words(&["nulls", "first"]) {
        Some(true)
    } else if cursor.take_words(&["nulls", "last"]) {
        Some(false)
    } else {
        None
    };
    Ok(SortTerm {
        column,
        descending,
        nulls_first,
    })
}

/// The name of a table property, dotted or quoted. Iceberg's keep their capitals, PostgreSQL's are folded.
pub(super) fn property_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut parts = vec![cursor.label()?];
    while cursor.take_token(&Token::Period) {
        parts.push(cursor.label()?);
    }
    let folded: Vec<String> = parts.iter().map(fold).collect();
    if folded.len() == 1 || folded.first().is_some_and(|first| first == "toast") {
        return Ok(folded.join("."));
    }
    let given: Vec<String> = parts.into_iter().map(|part| part.value).collect();
    Ok(given.join("."))
}

/// `name = value` of a WITH list; a name alone is switched on.
pub(super) fn property(cursor: &mut Cursor<'_>) -> Result<(String, String)> {
    let name = property_name(cursor)?;
    if matches!(cursor.peek(), Some(Token::Comma | Token::RParen)) {
        return Ok((name, "true".to_owned()));
    }
    cursor.expect_token(&Token::Eq)?;
    let sign = match cursor.take_token(&Token::Minus) {
        true => "-",
        false => "",
    };
    if !sign.is_empty() || cursor.take_token(&Token::Plus) {
        return match cursor.peek() {
            Some(Token::Number(digits, false)) => {
                let value = format!("{sign}{digits}");
                cursor.next();
                Ok((name, value))
            }
            _ => Err(cursor.unexpected()),
        };
    }
    let value = match cursor.peek() {
        Some(Token::Number(digits, false)) => {
            cursor.next();
            digits.clone()
        }
        Some(Token::Word(word)) => {
            cursor.next();
            word.value.clone()
        }
        _ => cursor.string()?,
    };
    Ok((name, value))
}
