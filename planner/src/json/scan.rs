//! Finds parts of a JSON text without building anything.
//!
//! The text was checked when it was stored, so parts are skipped by their brackets and quotes alone. Text that another program has
//! written may be anything: what is found then may be nonsense, but nothing here panics or reads beyond the text.

use std::borrow::Cow;

use super::damaged;
use crate::error::Result;
use crate::value::json::unescaped;

/// One step down into a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step<'a> {
    /// The member of an object.
    Key(&'a str),
    /// The element of an array; negative numbers count from the end.
    Index(i64),
    /// The same of `jsonb`, to which a scalar is an array of one.
    Place(i64),
    /// Either: what `#>` is given is a key to an object and a number to an array.
    Name(&'a str),
}

/// The kinds `json_typeof` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

/// What the text is, by its first character.
pub(crate) fn kind(text: &str) -> Result<Kind> {
    Ok(match Scanner::new(text).peek() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        Some(b'-' | b'0'..=b'9') => Kind::Number,
        _ => return Err(damaged()),
    })
}

/// Follows a path; `None` where it leads nowhere.
pub(crate) fn walk<'a>(text: &'a str, path: &[Step<'_>]) -> Result<Option<&'a str>> {
    let mut value = text.trim_matches([' ', '\t', '\n', '\r']);
    for step in path {
        match child(value, *step)? {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// The text of one member or element.
pub(crate) fn child<'a>(text: &'a str, step: Step<'_>) -> Result<Option<&'a str>> {
    let first = Scanner::new(text).peek();
    match (first, step) {
        (Some(b'{'), Step::Key(key) | Step::Name(key)) => member(text, key),
        (Some(b'['), Step::Index(index) | Step::Place(index)) => element(text, index),
        (Some(b'['), Step::Name(name)) => match array_index(name) {
            Some(index) => element(text, index),
            None => Ok(None),
        },
        (Some(first), Step::Place(0 | -1)) if first != b'{' => Ok(Some(text)),
        _ => Ok(None),
    }
}

/// A number as PostgreSQL reads it in a path: `strtol`, all of the text.
pub(crate) fn array_index(name: &str) -> Option<i64> {
    let digits = name.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    digits.parse::<i32>().ok().map(i64::from)
}

fn member<'a>(text: &'a str, wanted: &str) -> Result<Option<&'a str>> {
    let mut found = None;
    for member in members(text)? {
        let (key, value) = member?;
        if key.is(wanted)? {
            // Of equal keys, which only json keeps, the last one counts.
            found = Some(value);
        }
    }
    Ok(found)
}

fn element(text: &str, index: i64) -> Result<Option<&str>> {
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let length = count(text)? as i64;
            match usize::try_from(length + index) {
                Ok(index) => index,
                Err(_) => return Ok(None),
            }
        }
    };
    elements(text)?.nth(index).transpose()
}

/// Elements of an array.
pub(crate) fn count(text: &str) -> Result<usize> {
    let mut count = 0;
    for element in elements(text)? {
        element?;
        count += 1;
    }
    Ok(count)
}

/// The elements of an array, each as its text.
pub(crate) fn elements(text: &str) -> Result<Elements<'_>> {
    let mut scanner = Scanner::new(text);
    scanner.expect(b'[')?;
    Ok(Elements {
        scanner,
        state: State::Start,
    })
}

/// The members of an object: key and text of the value.
pub(crate) fn members(text: &str) -> Result<Members<'_>> {
    let mut scanner = Scanner::new(text);
    scanner.expect(b'{')?;
    Ok(Members {
        scanner,
        state: State::Start,
    })
}

/// The text of a value as `->>` gives it: a string without quotes and escapes, `None` for null.
pub(crate) fn as_text(value: &str) -> Result<Option<Cow<'_, str>>> {
    match value.as_bytes().first() {
        Some(b'"') => {
            let mut scanner = Scanner::new(value);
            Ok(Some(scanner.string()?.text()?))
        }
        Some(b'n') => Ok(None),
        _ => Ok(Some(Cow::Borrowed(value))),
    }
}

/// A string as it stands in the text, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// With its quotes.
    quoted: &'a str,
    escaped: bool,
}

impl<'a> Raw<'a> {
    fn inside(&self) -> &'a str {
        self.quoted
            .get(1..self.quoted.len().saturating_sub(1))
            .unwrap_or_default()
    }

    /// The string it stands for.
    pub(crate) fn text(&self) -> Result<Cow<'a, str>> {
        Ok(match self.escaped {
            false => Cow::Borrowed(self.inside()),
            true => Cow::Owned(unescaped(self.quoted)?),
        })
    }

    fn is(&self, wanted: &str) -> Result<bool> {
        match self.escaped {
            false => Ok(self.inside() == wanted),
            // An escape is never shorter than what it stands for.
            true if self.inside().len() < wanted.len() => Ok(false),
            true => Ok(unescaped(self.quoted)? == wanted),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Start,
    Within,
    End,
}

pub(crate) struct Elements<'a> {
    scanner: Scanner<'a>,
    state: State,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.scanner.part(&mut self.state, b']') {
            Ok(true) => Some(self.scanner.value()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

pub(crate) struct Members<'a> {
    scanner: Scanner<'a>,
    state: State,
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Raw<'a>, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.scanner.part(&mut self.state, b'}') {
            Ok(true) => Some(self.scanner.member()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not blank, without taking it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                other => return Some(*other),
            }
        }
        None
    }

    pub(super) fn expect(&mut self, wanted: u8) -> Result<()> {
        if self.peek() != Some(wanted) {
            return Err(damaged());
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another element or member follows; what stands before it is taken.
    fn part(&mut self, state: &mut State, close: u8) -> Result<bool> {
        let before = std::mem::replace(state, State::End);
        if before == State::End {
            return Ok(false);
        }
        match self.peek() {
            Some(byte) if byte == close => return Ok(false),
            Some(b',') if before == State::Within => self.at += 1,
            Some(_) if before == State::Start => {}
            _ => return Err(damaged()),
        }
        *state = State::Within;
        Ok(true)
    }

    fn member(&mut self) -> Result<(Raw<'a>, &'a str)> {
        self.peek();
        let key = self.string()?;
        self.expect(b':')?;
        Ok((key, self.value()?))
    }

    /// Takes one value of any kind.
    pub(super) fn value(&mut self) -> Result<&'a str> {
        let first = self.peek().ok_or_else(damaged)?;
        let start = self.at;
        match first {
            b'"' => return Ok(self.string()?.quoted),
            b'{' | b'[' => self.skip_nested()?,
            _ => self.skip_plain(),
        }
        if self.at == start {
            return Err(damaged());
        }
        self.text.get(start..self.at).ok_or_else(damaged)
    }

    /// Takes a string; the scanner stands at its first quote.
    pub(super) fn string(&mut self) -> Result<Raw<'a>> {
        let start = self.at;
        if self.text.as_bytes().get(start) != Some(&b'"') {
            return Err(damaged());
        }
        let escaped = self.skip_string()?;
        let quoted = self.text.get(start..self.at).ok_or_else(damaged)?;
        Ok(Raw { quoted, escaped })
    }

    /// Moves behind the string that begins here, and says whether it has escapes.
    fn skip_string(&mut self) -> Result<bool> {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut at = self.at + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => at += 1,
                None => return Err(damaged()),
            }
        }
        self.at = at + 1;
        Ok(escaped)
    }

    fn skip_nested(&mut self) -> Result<()> {
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        Err(damaged())
    }

    /// A number or a word ends where punctuation or a blank begins.
    fn skip_plain(&mut self) {
        let bytes = &self.text.as_bytes()[self.at..];
        let end = |byte: &u8| {
            matches!(
                byte,
                b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b':' | b'{' | b'[' | b'"'
            )
        };
        self.at += bytes.iter().position(end).unwrap_or(bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, path: &[Step<'_>]) -> Option<String> {
        walk(text, path).expect("a walk").map(str::to_string)
    }

    #[test]
    fn paths_through_a_text() {
        let text = r#"{"a": [1, {"b": "x\"y"}, null], "c\n": {"": 2}, "a,": "}"}"#;
        use Step::{Index, Key, Name};
        for (path, expected) in [
            (&[Key("a"), Index(0)][..], Some("1")),
            (&[Key("a"), Index(-1)], Some("null")),
            (&[Key("a"), Index(-4)], None),
            (&[Key("a"), Index(3)], None),
            (&[Key("a"), Key("0")], None),
            (&[Key("a"), Name("1"), Name("b")], Some(r#""x\"y""#)),
            (&[Key("c\n"), Key("")], Some("2")),
            (&[Key("a,")], Some("\"}\"")),
            (&[Index(0)], None),
            (&[], Some(text)),
        ] {
            assert_eq!(found(text, path).as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn texts_of_values() {
        let text = |value| as_text(value).expect("a value").map(Cow::into_owned);
        assert_eq!(text(r#""a\u00e9\n""#).as_deref(), Some("aé\n"));
        assert_eq!(text("null"), None);
        assert_eq!(text("[1, 2]").as_deref(), Some("[1, 2]"));
    }

    /// Whatever stands in a file: an answer or an error.
    #[test]
    fn nonsense_is_survived() {
        for text in [
            "", "{", "[", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\\", "[1", "[1,", "[,]", "]", "{]}", "\"\\",
            "{\"ä\\",
        ] {
            for step in [Step::Key("a"), Step::Index(0), Step::Index(-1), Step::Name("1")] {
                let _ = child(text, step);
            }
            let _ = (kind(text), as_text(text), count(text));
            if let Ok(members) = members(text) {
                let _ = members.collect::<Vec<_>>();
            }
        }
    }
}
