//! Statements about older states of tables: `ROLLBACK TABLE`, branches and tags, `CREATE TABLE … CLONE`, `UNDROP TABLE`.
//!
//! ```text
//! ROLLBACK TABLE t TO SNAPSHOT x | TO VERSION x | TO TIMESTAMP x
//! ALTER TABLE t CREATE [OR REPLACE] | REPLACE  BRANCH | TAG  [IF NOT EXISTS] name
//!     [AS OF VERSION x | AS OF TIMESTAMP x] [RETAIN n DAYS] [WITH SNAPSHOT RETENTION n SNAPSHOTS n DAYS]
//! ALTER TABLE t DROP BRANCH | TAG [IF EXISTS] name
//! CREATE TABLE [IF NOT EXISTS] t CLONE u [AT (…)]
//! UNDROP TABLE t
//! ```
//!
//! The forms of branches and tags are those of Iceberg's SQL extensions of Spark.

use datafusion::sql::sqlparser::ast::{ObjectName, TableFactor, TableVersion};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Ast, HistoryAst, RefAst};
use super::cursor::Cursor;
use crate::error::{Error, ErrorKind, Result};

/// After the words ROLLBACK TABLE.
pub(super) fn roll_back(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let table = cursor.object_name()?;
    cursor.expect_word("to")?;
    let to = match cursor.word()?.as_str() {
        "snapshot" | "version" => TableVersion::VersionAsOf(cursor.rest(|parser| parser.parse_expr())?),
        "timestamp" => TableVersion::TimestampAsOf(cursor.rest(|parser| parser.parse_expr())?),
        _ => {
            let hint = "Write ROLLBACK TABLE t TO SNAPSHOT id or TO TIMESTAMP time.";
            return Err(
                Error::new(ErrorKind::SyntaxError, "ROLLBACK TABLE needs a snapshot or a time").with_hint(hint),
            );
        }
    };
    Ok(Ast::History(Box::new(HistoryAst::RollBack { table, to })))
}

/// After the words UNDROP TABLE.
pub(super) fn undrop(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.object_name()?;
    Ok(Ast::History(Box::new(HistoryAst::Undrop { name })))
}

/// After the word CLONE.
pub(super) fn clone(cursor: &mut Cursor<'_>, name: ObjectName, if_not_exists: bool) -> Result<Ast> {
    let position = cursor.position();
    match cursor.rest(|parser| parser.parse_table_factor())? {
        TableFactor::Table {
            name: source,
            alias: None,
            args: None,
            version,
            sample: None,
            ..
        } => Ok(Ast::History(Box::new(HistoryAst::Clone {
            name,
            if_not_exists,
            source,
            at: version,
        }))),
        _ => Err(Error::new(ErrorKind::SyntaxError, "CLONE takes the name of a table").with_position(position)),
    }
}

/// An action of ALTER TABLE, which then is the only one; `None`: another action.
pub(super) fn alter_ref(cursor: &mut Cursor<'_>, table: &ObjectName, if_exists: bool) -> Result<Option<Ast>> {
    let made = |change| {
        Ok(Some(Ast::History(Box::new(HistoryAst::Ref {
            table: table.clone(),
            if_exists,
            change,
        }))))
    };
    for (branch, kind) in [(true, "branch"), (false, "tag")] {
        for (words, creates, replaces) in [
            (&["create", kind][..], true, false),
            (&["create", "or", "replace", kind], true, true),
            (&["replace", kind], false, true),
        ] {
            // A column may be called `tag`.
            if cursor.take_words(words) {
                return made(set(cursor, branch, creates, replaces)?);
            }
        }
        let names_column = cursor.is_words(&["drop", kind])
            && !matches!(cursor.peek_at(2), Some(Token::Word(_) | Token::SingleQuotedString(_)));
        if !names_column
            && !cursor.is_words(&["drop", kind, "cascade"])
            && !cursor.is_words(&["drop", kind, "restrict"])
            && cursor.take_words(&["drop", kind])
        {
            let if_exists = cursor.take_words(&["if", "exists"]);
            let name = ref_name(cursor)?;
            return made(RefAst::Drop {
                branch,
                name,
                if_exists,
            });
        }
    }
    Ok(None)
}

fn set(cursor: &mut Cursor<'_>, branch: bool, creates: bool, replaces: bool) -> Result<RefAst> {
    let if_not_exists = creates && !replaces && cursor.take_words(&["if", "not", "exists"]);
    let name = ref_name(cursor)?;
    let mut at = None;
    if cursor.take_words(&["as", "of"]) {
        let is_time = match cursor.word()?.as_str() {
            "version" | "snapshot" => false,
            "timestamp" => true,
            _ => return Err(cursor.unexpected()),
        };
        let value = cursor.until_any(&["retain", "with"], |parser| parser.parse_expr())?;
        at = Some(match is_time {
            true => TableVersion::TimestampAsOf(value),
            false => TableVersion::VersionAsOf(value),
        });
    }
    let max_ref_age_ms = match cursor.take_word("retain") {
        true => Some(age(cursor)?),
        false => None,
    };
    let (mut max_snapshot_age_ms, mut min_snapshots_to_keep) = (None, None);
    if branch && cursor.take_words(&["with", "snapshot", "retention"]) {
        if matches!(cursor.peek(), Some(Token::Number(..))) && cursor.is_word_at(1, "snapshots") {
            min_snapshots_to_keep = Some(i32::try_from(number(cursor)?).map_err(|_| cursor.unexpected())?);
            cursor.expect_word("snapshots")?;
        }
        if min_snapshots_to_keep.is_none() || !cursor.is_end() {
            max_snapshot_age_ms = Some(age(cursor)?);
        }
    }
    Ok(RefAst::Set {
        branch,
        name,
        creates,
        replaces,
        if_not_exists,
        at,
        max_ref_age_ms,
        max_snapshot_age_ms,
        min_snapshots_to_keep,
    })
}

/// A name, or a string: names of other engines may have any character.
fn ref_name(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.peek() {
        Some(Token::SingleQuotedString(_)) => cursor.string(),
        _ => Ok(crate::resolve::fold(&cursor.identifier()?)),
    }
}

/// `7 DAYS`, in milliseconds.
fn age(cursor: &mut Cursor<'_>) -> Result<i64> {
    let count = number(cursor)?;
    let unit: i64 = match cursor.word()?.as_str() {
        "day" | "days" => 86_400_000,
        "hour" | "hours" => 3_600_000,
        "minute" | "minutes" => 60_000,
        _ => return Err(cursor.unexpected()),
    };
    match count.checked_mul(unit).filter(|age| *age > 0) {
        Some(age) => Ok(age),
        None => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            "an age must be greater than zero and less than 292 million years",
        )),
    }
}

fn number(cursor: &mut Cursor<'_>) -> Result<i64> {
    match cursor.peek() {
        Some(Token::Number(digits, false)) => {
            let number = digits.parse().map_err(|_| cursor.unexpected())?;
            cursor.next();
            Ok(number)
        }
        _ => Err(cursor.unexpected()),
    }
}
