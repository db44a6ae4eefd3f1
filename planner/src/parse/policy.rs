//! Row policies (PostgreSQL's `CREATE POLICY`) and masks of columns (Redshift's `CREATE MASKING POLICY`).

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName};
use datafusion::sql::sqlparser::tokenizer::Token;
use staffa_catalog::PolicyCommand;

use super::access::{AccessAst, RoleName, access, role, roles};
use super::ast::Ast;
use super::cursor::Cursor;
use crate::error::{Error, ErrorKind, Result};

/// A statement about row policies or masks.
#[derive(Clone, Debug)]
pub(crate) enum PolicyAst {
    Create {
        name: Ident,
        table: ObjectName,
        permissive: bool,
        command: PolicyCommand,
        /// None: PUBLIC.
        roles: Vec<RoleName>,
        using: Option<Expr>,
        check: Option<Expr>,
    },
    Alter {
        name: Ident,
        table: ObjectName,
        /// What the statement does not say stays.
        roles: Option<Vec<RoleName>>,
        using: Option<Expr>,
        check: Option<Expr>,
    },
    Rename {
        name: Ident,
        table: ObjectName,
        to: Ident,
    },
    Drop {
        name: Ident,
        table: ObjectName,
        if_exists: bool,
    },
    Comment {
        name: Ident,
        table: ObjectName,
        text: Option<String>,
    },
    /// `ALTER TABLE … ENABLE | DISABLE | FORCE | NO FORCE ROW LEVEL SECURITY`
    Switch {
        table: ObjectName,
        if_exists: bool,
        switches: Vec<RowSecurity>,
    },
    CreateMask {
        name: Ident,
        if_not_exists: bool,
        columns: Vec<(Ident, DataType)>,
        expression: Expr,
    },
    AlterMask {
        name: Ident,
        expression: Expr,
    },
    DropMask {
        name: Ident,
    },
    AttachMask {
        name: Ident,
        table: ObjectName,
        column: Ident,
        /// None: the masked column itself.
        inputs: Vec<Ident>,
        role: RoleName,
        priority: i32,
    },
    DetachMask {
        name: Ident,
        table: ObjectName,
        column: Ident,
        role: RoleName,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowSecurity {
    Enabled(bool),
    Forced(bool),
}

impl PolicyAst {
    pub(super) fn tag(&self) -> &'static str {
        match self {
            PolicyAst::Create { .. } => "CREATE POLICY",
            PolicyAst::Alter { .. } | PolicyAst::Rename { .. } => "ALTER POLICY",
            PolicyAst::Drop { .. } => "DROP POLICY",
            PolicyAst::Comment { .. } => "COMMENT",
            PolicyAst::Switch { .. } => "ALTER TABLE",
            PolicyAst::CreateMask { .. } => "CREATE MASKING POLICY",
            PolicyAst::AlterMask { .. } => "ALTER MASKING POLICY",
            PolicyAst::DropMask { .. } => "DROP MASKING POLICY",
            PolicyAst::AttachMask { .. } => "ATTACH MASKING POLICY",
            PolicyAst::DetachMask { .. } => "DETACH MASKING POLICY",
        }
    }
}

fn policy(ast: PolicyAst) -> Result<Ast> {
    access(AccessAst::Policy(ast))
}

/// `name ON table`
fn name_on_table(cursor: &mut Cursor<'_>) -> Result<(Ident, ObjectName)> {
    let name = cursor.identifier()?;
    cursor.expect_word("on")?;
    Ok((name, cursor.object_name()?))
}

/// After CREATE POLICY.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let (name, table) = name_on_table(cursor)?;
    let permissive = match cursor.take_word("as") {
        true => {
            let position = cursor.position();
            match cursor.word()?.as_str() {
                "permissive" => true,
                "restrictive" => false,
                other => {
                    let message = format!("unrecognized row security option \"{other}\"");
                    return Err(Error::new(ErrorKind::SyntaxError, message)
                        .with_hint("Only PERMISSIVE or RESTRICTIVE policies are supported currently.")
                        .with_position(position));
                }
            }
        }
        false => true,
    };
    let command = match cursor.take_word("for") {
        true => command(cursor)?,
        false => PolicyCommand::All,
    };
    let (roles, using, check) = (to_roles(cursor)?, using(cursor)?, with_check(cursor)?);
    let wrong = |message: &str| Err(Error::new(ErrorKind::SyntaxError, message));
    match command {
        PolicyCommand::Select | PolicyCommand::Delete if check.is_some() => {
            return wrong("WITH CHECK cannot be applied to SELECT or DELETE");
        }
        PolicyCommand::Insert if using.is_some() => return wrong("only WITH CHECK expression allowed for INSERT"),
        _ => {}
    }
    policy(PolicyAst::Create {
        name,
        table,
        permissive,
        command,
        roles: roles.unwrap_or_default(),
        using,
        check,
    })
}

fn command(cursor: &mut Cursor<'_>) -> Result<PolicyCommand> {
    let commands = [
        ("all", PolicyCommand::All),
        ("select", PolicyCommand::Select),
        ("insert", PolicyCommand::Insert),
        ("update", PolicyCommand::Update),
        ("delete", PolicyCommand::Delete),
    ];
    let found = commands.into_iter().find(|(word, _)| cursor.take_word(word));
    found.map(|(_, command)| command).ok_or_else(|| cursor.unexpected())
}

fn to_roles(cursor: &mut Cursor<'_>) -> Result<Option<Vec<RoleName>>> {
    match cursor.take_word("to") {
        true => roles(cursor).map(Some),
        false => Ok(None),
    }
}

fn using(cursor: &mut Cursor<'_>) -> Result<Option<Expr>> {
    match cursor.take_word("using") {
        true => condition(cursor).map(Some),
        false => Ok(None),
    }
}

fn with_check(cursor: &mut Cursor<'_>) -> Result<Option<Expr>> {
    match cursor.take_words(&["with", "check"]) {
        true => condition(cursor).map(Some),
        false => Ok(None),
    }
}

fn condition(cursor: &mut Cursor<'_>) -> Result<Expr> {
    if cursor.peek() != Some(&Token::LParen) {
        return Err(cursor.unexpected());
    }
    cursor.inside_parentheses(|parser| parser.parse_expr())
}

/// After ALTER POLICY.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let (name, table) = name_on_table(cursor)?;
    if cursor.take_words(&["rename", "to"]) {
        let to = cursor.identifier()?;
        return policy(PolicyAst::Rename { name, table, to });
    }
    policy(PolicyAst::Alter {
        name,
        table,
        roles: to_roles(cursor)?,
        using: using(cursor)?,
        check: with_check(cursor)?,
    })
}

/// After DROP POLICY.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let if_exists = cursor.take_words(&["if", "exists"]);
    let (name, table) = name_on_table(cursor)?;
    if !cursor.take_word("cascade") {
        let _ = cursor.take_word("restrict");
    }
    policy(PolicyAst::Drop { name, table, if_exists })
}

/// After COMMENT ON POLICY.
pub(super) fn comment(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let (name, table) = name_on_table(cursor)?;
    cursor.expect_word("is")?;
    let text = match cursor.take_word("null") {
        true => None,
        false => Some(cursor.string()?).filter(|text| !text.is_empty()),
    };
    policy(PolicyAst::Comment { name, table, text })
}

/// `ENABLE | DISABLE | FORCE | NO FORCE ROW LEVEL SECURITY, …` after ALTER TABLE and its name; `None`: something else, or more.
pub(super) fn switches(cursor: &mut Cursor<'_>, table: &ObjectName, if_exists: bool) -> Result<Option<Ast>> {
    const WORDS: [(&[&str], RowSecurity); 4] = [
        (&["enable", "row", "level", "security"], RowSecurity::Enabled(true)),
        (&["disable", "row", "level", "security"], RowSecurity::Enabled(false)),
        (&["force", "row", "level", "security"], RowSecurity::Forced(true)),
        (&["no", "force", "row", "level", "security"], RowSecurity::Forced(false)),
    ];
    let mut switches = Vec::new();
    while let Some((_, switch)) = WORDS.iter().find(|(words, _)| cursor.take_words(words)) {
        switches.push(*switch);
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    if switches.is_empty() {
        return Ok(None);
    }
    if !cursor.is_end() {
        let message = "ROW LEVEL SECURITY beside other changes of a table is not supported";
        return Err(Error::unsupported(message).with_hint("Use an ALTER TABLE of its own."));
    }
    let (table, if_exists) = (table.clone(), if_exists);
    policy(PolicyAst::Switch {
        table,
        if_exists,
        switches,
    })
    .map(Some)
}

/// After CREATE MASKING POLICY.
pub(super) fn create_mask(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    let name = cursor.identifier()?;
    cursor.expect_word("with")?;
    let columns = cursor.inside_parentheses(|parser| {
        parser.parse_comma_separated(|parser| Ok((parser.parse_identifier()?, parser.parse_data_type()?)))
    })?;
    cursor.expect_word("using")?;
    let expression = condition(cursor)?;
    policy(PolicyAst::CreateMask {
        name,
        if_not_exists,
        columns,
        expression,
    })
}

/// After ALTER MASKING POLICY.
pub(super) fn alter_mask(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    cursor.expect_word("using")?;
    let expression = condition(cursor)?;
    policy(PolicyAst::AlterMask { name, expression })
}

/// After DROP MASKING POLICY.
pub(super) fn drop_mask(cursor: &mut Cursor<'_>) -> Result<Ast> {
    let name = cursor.identifier()?;
    policy(PolicyAst::DropMask { name })
}

/// After ATTACH.
pub(super) fn attach_mask(cursor: &mut Cursor<'_>) -> Result<Ast> {
    cursor.expect_word("masking")?;
    cursor.expect_word("policy")?;
    let (name, table) = name_on_table(cursor)?;
    let column = one_column(cursor)?;
    let inputs = match cursor.take_word("using") {
        true => cursor.identifiers_in_parentheses()?,
        false => Vec::new(),
    };
    cursor.expect_word("to")?;
    let role = masked_role(cursor)?;
    let priority = match cursor.take_word("priority") {
        true => {
            let digits = match cursor.next() {
                Some(Token::Number(digits, false)) => digits.parse().ok(),
                _ => None,
            };
            digits.ok_or_else(|| Error::new(ErrorKind::SyntaxError, "PRIORITY must be a whole number"))?
        }
        false => 0,
    };
    policy(PolicyAst::AttachMask {
        name,
        table,
        column,
        inputs,
        role,
        priority,
    })
}

/// After DETACH.
pub(super) fn detach_mask(cursor: &mut Cursor<'_>) -> Result<Ast> {
    cursor.expect_word("masking")?;
    cursor.expect_word("policy")?;
    let (name, table) = name_on_table(cursor)?;
    let column = one_column(cursor)?;
    cursor.expect_word("from")?;
    let role = masked_role(cursor)?;
    policy(PolicyAst::DetachMask {
        name,
        table,
        column,
        role,
    })
}

fn one_column(cursor: &mut Cursor<'_>) -> Result<Ident> {
    match <[Ident; 1]>::try_from(cursor.identifiers_in_parentheses()?) {
        Ok([column]) => Ok(column),
        Err(_) => Err(
            Error::unsupported("a masking policy on several columns is not supported")
                .with_hint("Attach it to each of them; USING names the columns that it takes."),
        ),
    }
}

/// Users and roles are one: `ROLE name` is `name`.
fn masked_role(cursor: &mut Cursor<'_>) -> Result<RoleName> {
    if cursor.is_word("role") && matches!(cursor.peek_at(1), Some(Token::Word(_))) && !cursor.is_word_at(1, "priority")
    {
        cursor.next();
    }
    role(cursor)
}
