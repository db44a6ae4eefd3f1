//! `ALTER TABLE`, `ALTER VIEW`, `ALTER SCHEMA`; `ALTER SEQUENCE` is in `sequence.rs`.
//!
//! PostgreSQL's forms, and for what it has not: `SET PARTITIONED BY (…)` and `SET SORTED BY (…)` with the terms of CREATE
//! TABLE, table properties as `SET (name = value)` and `RESET (name)`, and points in column names for fields of structs.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::access::Owned;
use super::ast::{AlterAst, AlterTableAst, Altered, Ast, NewName};
use super::create::{list, list_or_empty, partition_term, property, property_name, sort_term};
use super::cursor::Cursor;
use super::statement::{unsupported, unsupported_with_hint};
use super::{access, history, index, policy, sequence};
use crate::error::Result;

/// After the word ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Ast> {
    if cursor.take_word("table") {
        return table(cursor, Altered::Table);
    }
    if cursor.take_words(&["materialized", "view"]) {
        return table(cursor, Altered::MaterializedView);
    }
    if cursor.take_word("view") {
        return view(cursor);
    }
    if cursor.take_word("sequence") {
        return sequence::alter(cursor);
    }
    if cursor.take_word("index") {
        return index::alter(cursor);
    }
    if cursor.take_word("schema") {
        let name = cursor.object_name()?;
        if cursor.take_words(&["rename", "to"]) {
            let to = cursor.identifier()?;
            return Ok(Ast::RenameSchema { name, to });
        }
        if cursor.take_words(&["owner", "to"]) {
            return access::owner(cursor, Owned::Schema(name), false);
        }
        return Ok(unsupported(cursor, "this ALTER SCHEMA", "ALTER SCHEMA"));
    }
    if cursor.take_words(&["default", "privileges"]) {
        return access::defaults(cursor);
    }
    for word in ["role", "user", "group"] {
        if cursor.take_word(word) {
            return access::alter_role(cursor, word == "group");
        }
    }
    if cursor.take_word("database") {
        return match access::alter_database(cursor)? {
            Some(asked) => Ok(asked),
            None => Ok(unsupported(cursor, "ALTER DATABASE", "ALTER DATABASE")),
        };
    }
    if cursor.take_word("policy") {
        return policy::alter(cursor);
    }
    if cursor.take_words(&["masking", "policy"]) {
        return policy::alter_mask(cursor);
    }
    for (words, tag) in [
        (&["foreign", "table"][..], "ALTER FOREIGN TABLE"),
        (&["event", "trigger"], "ALTER EVENT TRIGGER"),
        (&["function"], "ALTER FUNCTION"),
        (&["procedure"], "ALTER PROCEDURE"),
        (&["routine"], "ALTER ROUTINE"),
        (&["aggregate"], "ALTER AGGREGATE"),
        (&["type"], "ALTER TYPE"),
        (&["domain"], "ALTER DOMAIN"),
        (&["trigger"], "ALTER TRIGGER"),
        (&["rule"], "ALTER RULE"),
        (&["extension"], "ALTER EXTENSION"),
        (&["system"], "ALTER SYSTEM"),
        (&["operator"], "ALTER OPERATOR"),
        (&["collation"], "ALTER COLLATION"),
        (&["statistics"], "ALTER STATISTICS"),
        (&["tablespace"], "ALTER TABLESPACE"),
        (&["publication"], "ALTER PUBLICATION"),
        (&["subscription"], "ALTER SUBSCRIPTION"),
        (&["server"], "ALTER SERVER"),
        (&["language"], "ALTER LANGUAGE"),
    ] {
        if cursor.is_words(words) {
            return Ok(unsupported(cursor, tag, tag));
        }
    }
    Err(cursor.unexpected())
}

fn view(cursor: &mut Cursor<'_>) -> Result<Ast> {
    const TAG: &str = "ALTER VIEW";
    let if_exists = cursor.take_words(&["if", "exists"]);
    let name = cursor.object_name()?;
    if cursor.take_words(&["owner", "to"]) {
        return access::owner(cursor, Owned::Relation(name, Altered::View), if_exists);
    }
    if cursor.is_word("rename") && !cursor.is_word_at(1, "to") {
        let _ = cursor.take_word("rename");
        let _ = cursor.take_word("column");
        let from = cursor.identifier()?;
        cursor.expect_word("to")?;
        let to = cursor.identifier()?;
        return Ok(Ast::RenameViewColumn {
            view: name,
            if_exists,
            from,
            to,
        });
    }
    match new_name(cursor)? {
        Some(to) => Ok(Ast::RenameRelation {
            what: Altered::View,
            name,
            if_exists,
            to,
        }),
        None => Ok(unsupported_with_hint(
            cursor,
            "this ALTER VIEW",
            TAG,
            "Define the view again with CREATE OR REPLACE VIEW.",
        )),
    }
}

/// `ALTER TABLE`, and `ALTER MATERIALIZED VIEW` with those of its forms that say something about one.
fn table(cursor: &mut Cursor<'_>, what: Altered) -> Result<Ast> {
    let tag = match what {
        Altered::MaterializedView => "ALTER MATERIALIZED VIEW",
        _ => "ALTER TABLE",
    };
    if cursor.is_words(&["all", "in", "tablespace"]) {
        return Ok(unsupported(cursor, format!("{tag} ALL IN TABLESPACE"), tag));
    }
    let if_exists = cursor.take_words(&["if", "exists"]);
    let _ = cursor.take_word("only");
    let name = cursor.object_name()?;
    let _ = cursor.take_token(&Token::Mul);
    if cursor.take_words(&["owner", "to"]) {
        return access::owner(cursor, Owned::Relation(name, what), if_exists);
    }
    if let Some(to) = new_name(cursor)? {
        return Ok(Ast::RenameRelation {
            what,
            name,
            if_exists,
            to,
        });
    }
    if let Some(switches) = policy::switches(cursor, &name, if_exists)? {
        return Ok(switches);
    }
    if let Some(change) = history::alter_ref(cursor, &name, if_exists)? {
        return Ok(change);
    }
    let mut actions = Vec::new();
    loop {
        match action(cursor)? {
            Some(action) => actions.push(action),
            None => return Ok(unsupported(cursor, refused(cursor, tag), tag)),
        }
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    Ok(Ast::AlterTable(Box::new(AlterTableAst {
        what,
        name,
        if_exists,
        actions,
    })))
}

/// `RENAME TO name`, `SET SCHEMA name`
pub(super) fn new_name(cursor: &mut Cursor<'_>) -> Result<Option<NewName>> {
    if cursor.take_words(&["rename", "to"]) {
        return Ok(Some(NewName::Name(cursor.identifier()?)));
    }
    if cursor.take_words(&["set", "schema"]) {
        return Ok(Some(NewName::Schema(cursor.identifier()?)));
    }
    Ok(None)
}

/// The words of an action that is not supported, for its message.
fn refused(cursor: &Cursor<'_>, tag: &str) -> String {
    let words = (0..2).map_while(|ahead| match cursor.peek_at(ahead) {
        Some(Token::Word(word)) if word.keyword != Keyword::NoKeyword => Some(word.value.to_uppercase()),
        _ => None,
    });
    format!("{tag} … {}", words.collect::<Vec<_>>().join(" "))
}

/// `None`: PostgreSQL has it and Staffa has not; the cursor is at its first word.
fn action(cursor: &mut Cursor<'_>) -> Result<Option<AlterAst>> {
    if cursor.is_word("add") {
        return add(cursor);
    }
    if cursor.is_word("drop") {
        return drop(cursor);
    }
    if cursor.is_words(&["rename", "constraint"]) {
        return Ok(None);
    }
    if cursor.take_word("rename") {
        let _ = cursor.take_word("column");
        let path = path(cursor)?;
        cursor.expect_word("to")?;
        let name = cursor.identifier()?;
        return Ok(Some(AlterAst::RenameColumn { path, name }));
    }
    if cursor.is_words(&["alter", "constraint"]) {
        return Ok(None);
    }
    if cursor.take_word("alter") {
        let _ = cursor.take_word("column");
        return alter_column(cursor);
    }
    if cursor.take_words(&["set", "partitioned", "by"]) || cursor.take_words(&["set", "partition", "by"]) {
        return Ok(Some(AlterAst::SetPartitioning(list_or_empty(cursor, partition_term)?)));
    }
    if cursor.take_words(&["set", "sorted", "by"]) {
        return Ok(Some(AlterAst::SetSorting(list_or_empty(cursor, sort_term)?)));
    }
    if cursor.take_words(&["set", "logged"]) {
        return Ok(Some(AlterAst::SetLogged(true)));
    }
    if cursor.take_words(&["set", "unlogged"]) {
        return Ok(Some(AlterAst::SetLogged(false)));
    }
    if cursor.is_word("set") && cursor.peek_at(1) == Some(&Token::LParen) {
        cursor.take_word("set");
        return Ok(Some(AlterAst::SetProperties(list(cursor, property)?)));
    }
    if cursor.is_word("reset") && cursor.peek_at(1) == Some(&Token::LParen) {
        cursor.take_word("reset");
        return Ok(Some(AlterAst::ResetProperties(list(cursor, property_name)?)));
    }
    for word in [
        "set", "reset", "owner", "enable", "disable", "force", "no", "inherit", "cluster", "attach", "detach", "of",
        "not", "validate", "replica",
    ] {
        if cursor.is_word(word) {
            return Ok(None);
        }
    }
    Err(cursor.unexpected())
}

fn add(cursor: &mut Cursor<'_>) -> Result<Option<AlterAst>> {
    cursor.expect_word("add")?;
    let column = cursor.take_word("column");
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    if !column && !if_not_exists {
        for word in ["constraint", "primary", "unique", "foreign", "check", "exclude"] {
            if cursor.is_word(word) {
                let constraint = cursor.until_comma(|parser| parser.parse_optional_table_constraint())?;
                return match constraint {
                    Some(constraint) => Ok(Some(AlterAst::AddConstraint(Box::new(constraint)))),
                    None => Err(cursor.unexpected()),
                };
            }
        }
    }
    let mut parent = Vec::new();
    while cursor.peek_at(1) == Some(&Token::Period) {
        parent.push(cursor.identifier()?);
        cursor.expect_token(&Token::Period)?;
    }
    let column = cursor.until_comma(|parser| parser.parse_column_def())?;
    Ok(Some(AlterAst::AddColumn {
        parent,
        column: Box::new(column),
        if_not_exists,
    }))
}

fn drop(cursor: &mut Cursor<'_>) -> Result<Option<AlterAst>> {
    cursor.expect_word("drop")?;
    let constraint = cursor.take_word("constraint");
    if !constraint {
        let _ = cursor.take_word("column");
    }
    let if_exists = cursor.take_words(&["if", "exists"]);
    let path = match constraint {
        true => vec![cursor.identifier()?],
        false => path(cursor)?,
    };
    let cascade = cursor.take_word("cascade");
    let _ = !cascade && cursor.take_word("restrict");
    // Nothing depends on a constraint: both words mean the same.
    Ok(Some(match (constraint, path.as_slice()) {
        (true, [name]) => AlterAst::DropConstraint {
            name: name.clone(),
            if_exists,
        },
        _ => AlterAst::DropColumn {
            path,
            if_exists,
            cascade,
        },
    }))
}

fn alter_column(cursor: &mut Cursor<'_>) -> Result<Option<AlterAst>> {
    let path = path(cursor)?;
    if cursor.take_words(&["set", "data", "type"]) || cursor.take_word("type") {
        let (ty, collates, using) = cursor.until_comma(|parser| {
            let ty = parser.parse_data_type()?;
            let collates = parser.parse_keyword(Keyword::COLLATE);
            if collates {
                parser.parse_object_name(false)?;
            }
            let using = parser.parse_keyword(Keyword::USING).then(|| parser.parse_expr());
            Ok((ty, collates, using.transpose()?))
        })?;
        return Ok(Some(AlterAst::SetType {
            path,
            ty,
            collates,
            using,
        }));
    }
    if cursor.take_words(&["set", "default"]) {
        let default = Some(cursor.until_comma(|parser| parser.parse_expr())?);
        return Ok(Some(AlterAst::SetDefault { path, default }));
    }
    if cursor.take_words(&["drop", "default"]) {
        return Ok(Some(AlterAst::SetDefault { path, default: None }));
    }
    let not_null = cursor.take_words(&["set", "not", "null"]);
    if not_null || cursor.take_words(&["drop", "not", "null"]) {
        return Ok(Some(AlterAst::SetNotNull { path, not_null }));
    }
    const ACTIONS: &[(&str, &[&str])] = &[
        (
            "set",
            &[
                "statistics",
                "storage",
                "compression",
                "generated",
                "sequence",
                "increment",
            ],
        ),
        (
            "set",
            &["minvalue", "maxvalue", "no", "start", "restart", "cycle", "cache"],
        ),
        ("drop", &["identity", "expression"]),
        ("add", &["generated"]),
    ];
    let is_option = |word: &str| cursor.is_word(word) && cursor.peek_at(1) == Some(&Token::LParen);
    let is_action = |(first, others): &(&str, &[&str])| {
        cursor.is_word(first) && others.iter().any(|second| cursor.is_word_at(1, second))
    };
    if is_option("set") || is_option("reset") || cursor.is_word("restart") || ACTIONS.iter().any(is_action) {
        return Ok(None);
    }
    let begins = ["set", "reset", "drop", "add"].iter().any(|word| cursor.is_word(word));
    Err(cursor.unexpected_ahead(usize::from(begins)))
}

/// `column`, `column.field`
fn path(cursor: &mut Cursor<'_>) -> Result<Vec<Ident>> {
    let mut path = vec![cursor.identifier()?];
    while cursor.take_token(&Token::Period) {
        path.push(cursor.identifier()?);
    }
    Ok(path)
}
