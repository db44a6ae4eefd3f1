//! A path as text (`jsonpath_out`): every name quoted, blanks and brackets in their places.

use std::fmt::{self, Display, Formatter, Write};

use super::{Accessor, Comparison, Expression, Method, Operation, Path};
use crate::value::json::write_string;

impl Display for Path {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.strict {
            out.write_str("strict ")?;
        }
        expression(&self.root, true, out)
    }
}

fn quoted(text: &str, out: &mut Formatter<'_>) -> fmt::Result {
    let mut string = String::new();
    write_string(text, &mut string);
    out.write_str(&string)
}

/// How tight an expression holds together; what holds less is put in brackets.
fn priority(expression: &Expression) -> u8 {
    match expression {
        Expression::Or(..) => 0,
        Expression::And(..) => 1,
        Expression::Compare(..) | Expression::StartsWith(..) => 2,
        Expression::Arithmetic(Operation::Add | Operation::Subtract, ..) => 3,
        Expression::Arithmetic(..) => 4,
        Expression::Sign(..) => 5,
        // Steps hang on what they start from.
        Expression::Steps(start, _) => priority(start),
        _ => 6,
    }
}

fn expression(value: &Expression, bracketed: bool, out: &mut Formatter<'_>) -> fmt::Result {
    match value {
        Expression::Root => out.write_char('$'),
        Expression::Current => out.write_char('@'),
        Expression::Variable(name) => {
            out.write_char('$')?;
            quoted(name, out)
        }
        Expression::Last => out.write_str("last"),
        Expression::Null => out.write_str("null"),
        Expression::Boolean(value) => write!(out, "{value}"),
        Expression::Number(digits) => out.write_str(digits),
        Expression::Text(text) => quoted(text, out),
        Expression::Steps(start, steps) => {
            match start.as_ref() {
                Expression::Number(digits) => write!(out, "({digits})")?,
                start => expression(start, bracketed, out)?,
            }
            steps.iter().try_for_each(|step| accessor(step, out))
        }
        Expression::Sign(negative, inner) => {
            let sign = if *negative { "-" } else { "+" };
            enclosed(bracketed, out, |out| {
                out.write_str(sign)?;
                expression(inner, priority(inner) <= priority(value), out)
            })
        }
        Expression::Arithmetic(operation, left, right) => {
            binary(value, left, operation.symbol(), right, bracketed, out)
        }
        Expression::Compare(comparison, left, right) => {
            let symbol = match comparison {
                Comparison::Equal => "==",
                Comparison::NotEqual => "!=",
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
            };
            binary(value, left, symbol, right, bracketed, out)
        }
        Expression::And(left, right) => binary(value, left, "&&", right, bracketed, out),
        Expression::Or(left, right) => binary(value, left, "||", right, bracketed, out),
        Expression::StartsWith(left, right) => binary(value, left, "starts with", right, bracketed, out),
        Expression::Not(inner) => around("!(", inner, ")", out),
        Expression::IsUnknown(inner) => around("(", inner, ") is unknown", out),
        Expression::Exists(inner) => around("exists (", inner, ")", out),
    }
}

fn around(before: &str, inner: &Expression, after: &str, out: &mut Formatter<'_>) -> fmt::Result {
    out.write_str(before)?;
    expression(inner, false, out)?;
    out.write_str(after)
}

fn enclosed(
    bracketed: bool,
    out: &mut Formatter<'_>,
    inner: impl FnOnce(&mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if !bracketed {
        return inner(out);
    }
    out.write_char('(')?;
    inner(out)?;
    out.write_char(')')
}

fn binary(
    whole: &Expression,
    left: &Expression,
    symbol: &str,
    right: &Expression,
    bracketed: bool,
    out: &mut Formatter<'_>,
) -> fmt::Result {
    enclosed(bracketed, out, |out| {
        expression(left, priority(left) <= priority(whole), out)?;
        write!(out, " {symbol} ")?;
        expression(right, priority(right) <= priority(whole), out)
    })
}

fn accessor(step: &Accessor, out: &mut Formatter<'_>) -> fmt::Result {
    match step {
        Accessor::Key(key) => {
            out.write_char('.')?;
            quoted(key, out)
        }
        Accessor::AnyKey => out.write_str(".*"),
        Accessor::AnyElement => out.write_str("[*]"),
        Accessor::Elements(ranges) => {
            out.write_char('[')?;
            for (at, (from, to)) in ranges.iter().enumerate() {
                if at > 0 {
                    out.write_char(',')?;
                }
                expression(from, false, out)?;
                if let Some(to) = to {
                    out.write_str(" to ")?;
                    expression(to, false, out)?;
                }
            }
            out.write_char(']')
        }
        Accessor::Anywhere(0, u32::MAX) => out.write_str(".**"),
        Accessor::Anywhere(from, to) if from == to => write!(out, ".**{{{}}}", level(*from)),
        Accessor::Anywhere(from, to) => write!(out, ".**{{{} to {}}}", level(*from), level(*to)),
        Accessor::Filter(condition) => around("?(", condition, ")", out),
        Accessor::Method(method) => out.write_str(match method {
            Method::Type => ".type()",
            Method::Size => ".size()",
            Method::Abs => ".abs()",
            Method::Floor => ".floor()",
            Method::Ceiling => ".ceiling()",
            Method::Double => ".double()",
            Method::KeyValue => ".keyvalue()",
        }),
    }
}

fn level(level: u32) -> String {
    match level {
        u32::MAX => "last".to_string(),
        level => level.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    /// As `select '…'::jsonpath` of PostgreSQL 15 prints.
    #[test]
    fn paths_of_postgres() {
        for (given, expected) in PATHS {
            let path = Path::read(given).unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!(path.to_string(), *expected, "{given}");
        }
    }

    const PATHS: &[(&str, &str)] = &[
        ("$", "$"),
        ("strict $.a", r#"strict $."a""#),
        (r#"lax $ . "b c" [ * ] . *"#, r#"$."b c"[*].*"#),
        ("$.a[1, 2 to last]", r#"$."a"[1,2 to last]"#),
        ("$.**{2}.b", r#"$.**{2}."b""#),
        ("$.**{1 to last}", "$.**{1 to last}"),
        ("$.**", "$.**"),
        ("$.**{last}", "$.**{last}"),
        (
            r#"$.a ? (@.b > 1 && @.c == "x" || !(@ < 2))"#,
            r#"$."a"?(@."b" > 1 && @."c" == "x" || !(@ < 2))"#,
        ),
        ("$.a + 1", r#"($."a" + 1)"#),
        ("($.a + 1) * 2", r#"(($."a" + 1) * 2)"#),
        ("$.a + 1 * 2", r#"($."a" + 1 * 2)"#),
        ("-$.a", r#"(-$."a")"#),
        ("-($.a + 1)", r#"(-($."a" + 1))"#),
        (
            "$.a ? (exists (@.b) && (@.c > 1) is unknown)",
            r#"$."a"?(exists (@."b") && (@."c" > 1) is unknown)"#,
        ),
        ("(1).type()", "(1).type()"),
        ("$x.y", r#"$"x"."y""#),
        (r#"$.a starts with "b""#, r#"($."a" starts with "b")"#),
        ("$.a.size() > 2", r#"($."a".size() > 2)"#),
        ("$.a ? (@ starts with $v)", r#"$."a"?(@ starts with $"v")"#),
        ("($.a == 1) is unknown", r#"($."a" == 1) is unknown"#),
        ("$[last - 1]", "$[last - 1]"),
        (
            "$ ? (@ == null || @ == true).double()",
            "$?(@ == null || @ == true).double()",
        ),
        ("($.a + 2).abs()", r#"($."a" + 2).abs()"#),
        ("$.a / 3 % 2", r#"(($."a" / 3) % 2)"#),
        ("1.50", "1.50"),
        (r#""a\"b""#, r#""a\"b""#),
        ("$.a - $.b - $.c", r#"(($."a" - $."b") - $."c")"#),
        ("$.a - ($.b - $.c)", r#"($."a" - ($."b" - $."c"))"#),
        (r#"$."$a""#, r#"$."$a""#),
        ("+$.a[0].floor()", r#"(+$."a"[0].floor())"#),
        ("- - 1", "1"),
    ];
}
