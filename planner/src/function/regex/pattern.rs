//! PostgreSQL's regular expressions (`src/backend/regex`, "advanced" ones) written as the crate `regex` writes them.
//!
//! | PostgreSQL | here | |
//! |---|---|---|
//! | `.` | `(?s:.)` | matches line ends, unless told otherwise |
//! | `\m`, `\M`, `\y`, `\Y`, `\Z` | `\b{start}`, `\b{end}`, `\b`, `\B`, `\z` | |
//! | `a{`, `}`, `]` | `a\{`, `\}`, `\]` | braces without a number are characters |
//! | `[a[:alpha:]&&]` | `[a\p{Alphabetic}\&\&]` | `regex` has sets of sets |
//! | `(?i)x` at the start, `***=x` | options, a literal | |
//!
//! Refused: look-ahead, look-behind and references to groups, which `regex` has not.

use std::iter::Peekable;
use std::str::Chars;

use crate::error::{Error, ErrorKind, Result};

/// Bytes of a pattern. Making a program of more takes seconds, in which nothing can stop it.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// What the letters of a flags argument, or of `(?…)` at the start of a pattern, ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub global: bool,
    pub ignore_case: bool,
    /// `.` and `[^…]` do not match line ends.
    lines_apart: bool,
    /// `^` and `$` match at line ends.
    anchors_at_lines: bool,
    expanded: bool,
    literal: bool,
}

impl Options {
    pub(super) fn of(letters: &str) -> Result<Self> {
        let mut options = Self::default();
        for letter in letters.chars() {
            match letter {
                'g' => options.global = true,
                other => options.set(other)?,
            }
        }
        Ok(options)
    }

    fn set(&mut self, letter: char) -> Result<()> {
        match letter {
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'm' | 'n' => (self.lines_apart, self.anchors_at_lines) = (true, true),
            'p' => (self.lines_apart, self.anchors_at_lines) = (true, false),
            'w' => (self.lines_apart, self.anchors_at_lines) = (false, true),
            's' => (self.lines_apart, self.anchors_at_lines) = (false, false),
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'b' | 'e' => {
                return Err(Error::unsupported(format!(
                    "the regular expression option \"{letter}\" is not supported"
                )));
            }
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Error::new(ErrorKind::InvalidParameterValue, message));
            }
        }
        Ok(())
    }
}

/// The pattern as `regex` reads it.
pub(super) fn translated(pattern: &str, mut options: Options) -> Result<String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(invalid("regular expression is too complex"));
    }
    let mut rest = pattern;
    if let Some(literal) = pattern.strip_prefix("***=") {
        options.literal = true;
        rest = literal;
    } else if let Some(advanced) = pattern.strip_prefix("***:") {
        rest = advanced;
    }
    if !options.literal
        && let Some((letters, after)) = rest.strip_prefix("(?").and_then(|rest| rest.split_once(')'))
        && !letters.is_empty()
        && letters.chars().all(|letter| letter.is_ascii_alphabetic())
    {
        for letter in letters.chars() {
            options.set(letter).map_err(|_| invalid("invalid embedded option"))?;
        }
        rest = after;
    }
    let mut translation = Translation {
        rest: rest.chars().peekable(),
        out: String::with_capacity(pattern.len() + 8),
        options,
    };
    if options.ignore_case {
        translation.out.push_str("(?i)");
    }
    match options.literal {
        true => rest.chars().for_each(|character| translation.character(character)),
        false => translation.run()?,
    }
    Ok(translation.out)
}

pub(super) fn invalid(reason: &str) -> Error {
    Error::new(
        ErrorKind::InvalidRegularExpression,
        format!("invalid regular expression: {reason}"),
    )
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("{what} in a regular expression is not supported"))
}

const META: &str = "\\.+*?()|[]{}^$#&-~";

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    options: Options,
}

impl Translation<'_> {
    fn run(&mut self) -> Result<()> {
        let mut quantified = false;
        while let Some(character) = self.rest.next() {
            let quantifies = match character {
                '*' | '+' | '?' => true,
                '{' => self.rest.peek().is_some_and(char::is_ascii_digit),
                _ => false,
            };
            if quantifies && quantified {
                return Err(invalid("quantifier operand invalid"));
            }
            quantified = quantifies;
            match character {
                _ if quantifies => self.quantifier(character)?,
                '\\' => self.escape()?,
                '[' => self.bracket()?,
                '(' => self.group()?,
                '.' => self.out.push_str(match self.options.lines_apart {
                    true => "[^\\n]",
                    false => "(?s:.)",
                }),
                '^' | '$' if self.options.anchors_at_lines => {
                    self.out.push_str("(?m:");
                    self.out.push(character);
                    self.out.push(')');
                }
                '^' | '$' | '|' | ')' => self.out.push(character),
                ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' if self.options.expanded => {}
                '#' if self.options.expanded => {
                    self.rest.by_ref().find(|&character| character == '\n');
                }
                other => self.character(other),
            }
        }
        Ok(())
    }

    /// A character that stands for itself.
    fn character(&mut self, character: char) {
        if META.contains(character) {
            self.out.push('\\');
        }
        self.out.push(character);
    }

    fn quantifier(&mut self, first: char) -> Result<()> {
        self.out.push(first);
        if first == '{' {
            let bound: String = std::iter::from_fn(|| self.rest.next_if(|&next| next != '}')).collect();
            let number = |text: &str| text.parse::<u16>().ok().filter(|&number| number <= 255);
            let (low, high) = bound.split_once(',').unwrap_or((&bound, &bound));
            let valid = match (number(low), number(high)) {
                (Some(low), Some(high)) => low <= high,
                (Some(_), None) => high.is_empty(),
                _ => false,
            };
            if self.rest.next() != Some('}') || !valid {
                return Err(invalid("invalid repetition count(s)"));
            }
            self.out.push_str(&bound);
            self.out.push('}');
        }
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        Ok(())
    }

    /// What follows `(`.
    fn group(&mut self) -> Result<()> {
        if self.rest.next_if_eq(&'?').is_none() {
            self.out.push('(');
            return Ok(());
        }
        match self.rest.next() {
            Some(':') => self.out.push_str("(?:"),
            Some('#') => {
                self.rest.by_ref().find(|&character| character == ')');
            }
            Some('=' | '!') => return Err(refused("look-ahead")),
            Some('<') => return Err(refused("look-behind")),
            _ => return Err(invalid("quantifier operand invalid")),
        }
        Ok(())
    }

    /// What follows a backslash outside of brackets.
    fn escape(&mut self) -> Result<()> {
        let Some(letter) = self.rest.next() else {
            return Err(invalid("invalid escape \\ sequence"));
        };
        let written = match letter {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => SPACE,
            'S' => "[^\\s--\\u{85}\\u{a0}\\u{2007}\\u{202f}]",
            'w' => "\\w",
            'W' => "\\W",
            'A' => "\\A",
            'Z' => "\\z",
            'm' => "\\b{start}",
            'M' => "\\b{end}",
            'y' => "\\b",
            'Y' => "\\B",
            '1'..='9' => return Err(refused("a reference to a group")),
            other => {
                let character = self.escaped(other)?;
                self.character(character);
                return Ok(());
            }
        };
        self.out.push_str(written);
        Ok(())
    }

    /// The character an escape stands for, inside brackets and outside.
    fn escaped(&mut self, letter: char) -> Result<char> {
        let wrong = || invalid("invalid escape \\ sequence");
        Ok(match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'c' => {
                let control = self.rest.next().ok_or_else(wrong)?;
                char::from_u32(u32::from(control) & 0x1f).ok_or_else(wrong)?
            }
            'u' => self.number(16, 4, 4)?,
            'U' => self.number(16, 8, 8)?,
            'x' => self.number(16, 1, 255)?,
            '0' => self.number(8, 0, 2)?,
            other if other.is_alphanumeric() => return Err(wrong()),
            other => other,
        })
    }

    fn number(&mut self, radix: u32, least: usize, most: usize) -> Result<char> {
        let mut value = 0_u32;
        let mut count = 0;
        while count < most
            && let Some(digit) = self.rest.peek().and_then(|next| next.to_digit(radix))
        {
            self.rest.next();
            value = value.saturating_mul(radix).saturating_add(digit);
            count += 1;
        }
        match char::from_u32(value) {
            Some(character) if count >= least => Ok(character),
            _ => Err(invalid("invalid escape \\ sequence")),
        }
    }

    /// What follows `[`.
    fn bracket(&mut self) -> Result<()> {
        for (word, boundary) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            let mut ahead = self.rest.clone();
            if word.chars().all(|character| ahead.next() == Some(character)) {
                self.rest = ahead;
                self.out.push_str(boundary);
                return Ok(());
            }
        }
        let unclosed = || invalid("brackets [] not balanced");
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
            if self.options.lines_apart {
                self.out.push_str("\\n");
            }
        }
        let mut first = true;
        loop {
            match self.rest.next().ok_or_else(unclosed)? {
                ']' if !first => break,
                '[' if self.rest.peek() == Some(&':') => self.class()?,
                // A hyphen that is not first or last makes a range of what is around it.
                '-' if !first && self.rest.peek() != Some(&']') => self.out.push('-'),
                '\\' => {
                    let letter = self.rest.next().ok_or_else(unclosed)?;
                    match letter {
                        'd' => self.out.push_str("0-9"),
                        's' => self.out.push_str(SPACE),
                        'w' => self.out.push_str("\\w"),
                        'D' | 'S' | 'W' => return Err(invalid("invalid escape \\ sequence")),
                        other => {
                            let character = self.escaped(other)?;
                            self.character(character);
                        }
                    }
                }
                '[' => {
                    let character = self.collating()?;
                    self.character(character);
                }
                other => self.character(other),
            }
            first = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// `[.x.]` and `[=x=]`, or a bracket that stands for itself.
    fn collating(&mut self) -> Result<char> {
        let Some(&mark @ ('.' | '=')) = self.rest.peek() else {
            return Ok('[');
        };
        self.rest.next();
        let character = self.rest.next();
        match (character, self.rest.next(), self.rest.next()) {
            (Some(character), Some(end), Some(']')) if end == mark => Ok(character),
            _ => Err(invalid("invalid collating element")),
        }
    }

    /// `[:alpha:]` inside of brackets.
    fn class(&mut self) -> Result<()> {
        self.rest.next();
        let name: String = std::iter::from_fn(|| self.rest.next_if(|&next| next != ':')).collect();
        if (self.rest.next(), self.rest.next()) != (Some(':'), Some(']')) {
            return Err(invalid("invalid character class"));
        }
        self.out.push_str(match name.as_str() {
            "alnum" => "\\p{Alphabetic}\\p{N}",
            "alpha" => "\\p{Alphabetic}",
            "lower" => "\\p{Lowercase}",
            "upper" => "\\p{Uppercase}",
            "space" => SPACE,
            "word" => "\\w",
            "digit" => "0-9",
            "blank" => "\\t ",
            "cntrl" => "\\p{Cc}",
            "graph" => "[^\\s\\p{C}]",
            "print" => "[^\\p{C}\\p{Zl}\\p{Zp}]",
            "punct" => "\\p{P}\\p{S}",
            "xdigit" => "[:xdigit:]",
            _ => return Err(invalid("invalid character class")),
        });
        Ok(())
    }
}

/// Blanks: not those at which no line is broken.
const SPACE: &str = "[\\s--\\u{85}\\u{a0}\\u{2007}\\u{202f}]";

/// `x SIMILAR TO pattern` as a pattern of `~` (`similar_escape_internal`). With two `"` after the escape character, what is
/// between them is a group.
pub(super) fn of_similar(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::from("^(?:");
    let (mut after_escape, mut in_class, mut separators) = (false, false, 0);
    // What stands before a group matches as little as it can.
    let groups = escape.is_some_and(|escape| pattern.contains(&format!("{escape}\"")));
    for character in pattern.chars() {
        let lazy = groups && separators == 0;
        if after_escape {
            after_escape = false;
            if character == '"' && !in_class {
                match separators {
                    0 => out.push_str(")("),
                    1 => out.push_str(")(?:"),
                    _ => {
                        let message =
                            "SQL regular expression may not contain more than two escape-double-quote separators";
                        return Err(Error::new(ErrorKind::InvalidUseOfEscapeCharacter, message));
                    }
                }
                separators += 1;
            } else {
                out.extend(['\\', character]);
            }
            continue;
        }
        match character {
            _ if Some(character) == escape => after_escape = true,
            _ if in_class => {
                if character == '\\' {
                    out.push('\\');
                }
                out.push(character);
                in_class = character != ']';
            }
            '[' => {
                out.push('[');
                in_class = true;
            }
            '%' => out.push_str(if lazy { ".*?" } else { ".*" }),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '*' | '+' | '?' | '}' if lazy => out.extend([character, '?']),
            '\\' | '.' | '^' | '$' => out.extend(['\\', character]),
            other => out.push(other),
        }
    }
    out.push_str(")$");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, flags, wanted) in [
            ("^abc$", "", "^abc$"),
            ("a.c", "", "a(?s:.)c"),
            ("a.c", "n", "a[^\\n]c"),
            ("^a", "w", "(?m:^)a"),
            ("\\mab\\M", "", "\\b{start}ab\\b{end}"),
            ("[[:<:]]ab[[:>:]]", "", "\\b{start}ab\\b{end}"),
            ("a{b}", "", "a\\{b\\}"),
            ("a{2,}?", "", "a{2,}?"),
            ("[]a&&-]", "", "[\\]a\\&\\&\\-]"),
            ("[^a-z[:digit:]]", "n", "[^\\na-z0-9]"),
            ("(?i)A", "", "(?i)A"),
            ("***=a.b", "", "a\\.b"),
            ("a b #c\nd", "x", "abd"),
            ("\\u0041\\x42\\t", "", "AB\t"),
            ("(?:a)(b)", "", "(?:a)(b)"),
        ] {
            let options = Options::of(flags).expect("flags");
            assert_eq!(translated(pattern, options).expect("a pattern"), wanted, "{pattern}");
        }
        for pattern in ["a**", "(?=a)", "(a)\\1", "[a", "\\", "a{300}", "[[:no:]]", "\\q"] {
            assert!(translated(pattern, Options::default()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn similar() {
        let of = |pattern| of_similar(pattern, Some('\\')).expect("a pattern");
        assert_eq!(of("a%_(b|c)."), "^(?:a.*.(?:b|c)\\.)$");
        assert_eq!(of("\\%[%]"), "^(?:\\%[%])$");
        assert_eq!(of("%\\\"o_b\\\"%"), "^(?:.*?)(o.b)(?:.*)$");
    }
}
