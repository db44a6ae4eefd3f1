//! `json` is checked and kept as written; `jsonb` is brought to PostgreSQL's normal form.
//!
//! Normal form: members ordered by length of the key, then by its bytes, the last of equal keys kept; `": "` and `", "`
//! between parts; numbers without exponent.

use crate::error::{Error, ErrorKind, Result};
use crate::value::numeric;

/// Deepest nesting read, so that no text exhausts the stack.
const DEPTH_MAX: usize = 1000;

/// Characters of the text that an error shows.
const CONTEXT_MAX: usize = 50;

/// Checks that text is JSON (RFC 8259).
pub(crate) fn check(text: &str) -> Result<()> {
    Reader::new(text).document(&mut Sink::Nothing)
}

/// The normal form of `jsonb`.
pub(crate) fn normalise(text: &str) -> Result<String> {
    let mut out = Sink::Text(String::with_capacity(text.len()));
    Reader::new(text).document(&mut out)?;
    match out {
        Sink::Text(out) => Ok(out),
        Sink::Nothing => Err(Error::internal("jsonb was checked but not written")),
    }
}

/// The string that a quoted one with escapes stands for.
pub(crate) fn unescaped(quoted: &str) -> Result<String> {
    Reader::new(quoted).string(true)
}

/// Writes text as a JSON string.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if (control as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Where the normal form goes; nowhere when only checking.
enum Sink {
    Nothing,
    Text(String),
}

impl Sink {
    fn push(&mut self, text: &str) {
        if let Sink::Text(out) = self {
            out.push_str(text);
        }
    }

    /// An empty sink of the same kind.
    fn like(&self) -> Sink {
        match self {
            Sink::Nothing => Sink::Nothing,
            Sink::Text(_) => Sink::Text(String::new()),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn document(&mut self, out: &mut Sink) -> Result<()> {
        self.value(out)?;
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("end of input")),
        }
    }

    fn value(&mut self, out: &mut Sink) -> Result<()> {
        match self.peek() {
            Some(b'{') => self.nested(out, Self::object),
            Some(b'[') => self.nested(out, Self::array),
            Some(b'"') => {
                let keep = matches!(out, Sink::Text(_));
                let text = self.string(keep)?;
                if let Sink::Text(out) = out {
                    write_string(&text, out);
                }
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            Some(_) => self.word(out),
            None => Err(self.ended()),
        }
    }

    fn nested(&mut self, out: &mut Sink, read: fn(&mut Self, &mut Sink) -> Result<()>) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::StatementTooComplex, "JSON is nested too deeply")
                .with_detail(format!("The limit is {DEPTH_MAX} levels.")));
        }
        self.at += 1;
        read(self, out)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, out: &mut Sink) -> Result<()> {
        let mut members: Vec<(String, Sink)> = Vec::new();
        if self.take(b'}') {
            out.push("{}");
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("string"));
            }
            let key = self.string(matches!(out, Sink::Text(_)))?;
            if !self.take(b':') {
                return Err(self.unexpected("\":\""));
            }
            let mut value = out.like();
            self.value(&mut value)?;
            if matches!(value, Sink::Text(_)) {
                members.push((key, value));
            }
            if self.take(b'}') {
                break;
            }
            if !self.take(b',') {
                return Err(self.unexpected("\",\" or \"}\""));
            }
        }
        let Sink::Text(out) = out else { return Ok(()) };
        // Stable, so the last of equal keys is the one that was written last.
        members.sort_by(|a, b| a.0.len().cmp(&b.0.len()).then_with(|| a.0.cmp(&b.0)));
        out.push('{');
        let mut first = true;
        for (at, (key, value)) in members.iter().enumerate() {
            if members.get(at + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            if !first {
                out.push_str(", ");
            }
            first = false;
            write_string(key, out);
            out.push_str(": ");
            if let Sink::Text(value) = value {
                out.push_str(value);
            }
        }
        out.push('}');
        Ok(())
    }

    fn array(&mut self, out: &mut Sink) -> Result<()> {
        out.push("[");
        if self.take(b']') {
            out.push("]");
            return Ok(());
        }
        loop {
            self.value(out)?;
            if self.take(b']') {
                out.push("]");
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.unexpected("\",\" or \"]\""));
            }
            out.push(", ");
        }
    }

    fn number(&mut self, out: &mut Sink) -> Result<()> {
        let rest = &self.text[self.at..];
        let (length, valid) = number_length(rest.as_bytes());
        let token = &rest[..length];
        if !valid {
            return Err(self.invalid_token(token));
        }
        self.at += length;
        if let Sink::Text(out) = out {
            numeric::write_plain(token, out)?;
        }
        Ok(())
    }

    fn word(&mut self, out: &mut Sink) -> Result<()> {
        for word in ["true", "false", "null"] {
            let rest = &self.text.as_bytes()[self.at..];
            let whole = rest.starts_with(word.as_bytes())
                && !rest
                    .get(word.len())
                    .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            if whole {
                self.at += word.len();
                out.push(word);
                return Ok(());
            }
        }
        Err(self.unexpected("JSON value"))
    }

    /// A string with its escapes resolved; empty when it is only checked.
    fn string(&mut self, keep: bool) -> Result<String> {
        let mut text = String::new();
        let start = self.at;
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest
                .bytes()
                .position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20)
            else {
                self.at = start;
                return Err(self.invalid_token(&self.text[start..]));
            };
            if keep {
                text.push_str(&rest[..stop]);
            }
            self.at += stop + 1;
            match rest.as_bytes()[stop] {
                b'"' => return Ok(text),
                b'\\' => {
                    let character = self.escape(start, keep)?;
                    if keep {
                        if character == '\0' {
                            return Err(Error::new(
                                ErrorKind::UntranslatableCharacter,
                                "unsupported Unicode escape sequence",
                            )
                            .with_detail("\\u0000 cannot be converted to text."));
                        }
                        text.push(character);
                    }
                }
                control => return Err(self.error(format!("Character with value 0x{control:02x} must be escaped."))),
            }
        }
    }

    /// The character an escape stands for. Surrogates are looked at only when it is kept, as in PostgreSQL.
    /// `start` is where the string began.
    fn escape(&mut self, start: usize, keep: bool) -> Result<char> {
        let letter = self.text.as_bytes().get(self.at).copied();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.four_digits()?;
                if !keep {
                    return Ok(' ');
                }
                if !(0xd800..0xe000).contains(&first) {
                    return char::from_u32(first).ok_or_else(|| self.lone_surrogate());
                }
                if first >= 0xdc00 {
                    return Err(self.lone_surrogate());
                }
                if self.text.as_bytes().get(self.at..self.at + 2) != Some(b"\\u") {
                    // What stands in its place is shown with what was read.
                    self.at += 1;
                    return Err(self.lone_surrogate());
                }
                self.at += 2;
                let second = self.four_digits()?;
                if (0xd800..0xdc00).contains(&second) {
                    let detail = "Unicode high surrogate must not follow a high surrogate.";
                    return Err(self.error(detail.to_string()));
                }
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(self.lone_surrogate());
                }
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                char::from_u32(code).ok_or_else(|| self.lone_surrogate())?
            }
            Some(_) => {
                let letter = self.text.get(self.at - 1..).and_then(|rest| rest.chars().next());
                let letter = letter.map(String::from).unwrap_or_default();
                return Err(self.error(format!("Escape sequence \"\\{letter}\" is invalid.")));
            }
            None => {
                self.at -= 1;
                return Err(self.invalid_token(&self.text[start..]));
            }
        })
    }

    fn four_digits(&mut self) -> Result<u32> {
        let rest = &self.text[self.at..];
        let count = rest.bytes().take(4).take_while(u8::is_ascii_hexdigit).count();
        self.at += count;
        match u32::from_str_radix(&rest[..count], 16) {
            Ok(value) if count == 4 => Ok(value),
            _ => {
                // What stands in the place of a digit is shown with what was read.
                self.at += 1;
                Err(self.error("\"\\u\" must be followed by four hexadecimal digits.".to_string()))
            }
        }
    }

    /// The next byte that is not blank, without taking it.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn lone_surrogate(&self) -> Error {
        self.error("Unicode low surrogate must follow a high surrogate.".to_string())
    }

    fn ended(&self) -> Error {
        self.error("The input string ended unexpectedly.".to_string())
    }

    fn unexpected(&mut self, wanted: &str) -> Error {
        if self.peek().is_none() {
            return self.ended();
        }
        let token = self.token();
        let whole = match token.as_bytes() {
            [b'"', .., b'"'] | [b'{' | b'}' | b'[' | b']' | b',' | b':'] => true,
            [b'"', ..] => false,
            [b'-' | b'0'..=b'9', ..] => number_length(token.as_bytes()).1,
            _ => matches!(token, "true" | "false" | "null"),
        };
        if !whole {
            return self.invalid_token(token);
        }
        self.at += token.len();
        self.error(format!("Expected {wanted}, but found \"{token}\"."))
    }

    /// What stands here as one word for messages: a string, a number, a word, or one character.
    fn token(&self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let bytes = rest.as_bytes();
        let length = match bytes.first() {
            Some(b'"') => {
                let mut escaped = false;
                let end = bytes[1..].iter().position(|byte| {
                    let ends = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    ends
                });
                end.map_or(rest.len(), |end| end + 2)
            }
            Some(b'-' | b'0'..=b'9') => number_length(bytes).0,
            Some(_) => match bytes.iter().take_while(|byte| is_word(byte)).count() {
                0 => rest.chars().next().map_or(0, char::len_utf8),
                count => count,
            },
            None => 0,
        };
        &rest[..length]
    }

    fn invalid_token(&mut self, token: &str) -> Error {
        self.at += token.len();
        self.error(format!("Token \"{token}\" is invalid."))
    }

    fn error(&self, detail: String) -> Error {
        // PostgreSQL names json here for jsonb, too.
        Error::new(
            ErrorKind::InvalidTextRepresentation,
            "invalid input syntax for type json",
        )
        .with_detail(detail)
        .with_context(self.context())
    }

    /// The line up to where reading has come, at most fifty characters of it.
    fn context(&self) -> String {
        let end = (self.at..=self.text.len()).find(|at| self.text.is_char_boundary(*at));
        let end = end.unwrap_or(self.text.len());
        let read = &self.text[..end];
        let line_start = read.rfind('\n').map_or(0, |at| at + 1);
        let line = &read[line_start..];
        let characters = line.chars().count();
        let shown: String = line.chars().skip(characters.saturating_sub(CONTEXT_MAX)).collect();
        // Three points instead of three letters would say less.
        let (before, shown) = match characters.saturating_sub(CONTEXT_MAX) {
            0..=3 => ("", line.to_string()),
            _ => ("...", shown),
        };
        let is_end = matches!(self.text.as_bytes().get(end), None | Some(b'\n' | b'\r'));
        let after = if is_end { "" } else { "..." };
        let number = read.matches('\n').count() + 1;
        format!("JSON data, line {number}: {before}{shown}{after}")
    }
}

/// How much of the text is a number, and whether it is a whole one. Other words' letters right behind it spoil it.
fn number_length(text: &[u8]) -> (usize, bool) {
    let digits = |at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = match text.get(at) {
        Some(b'0') => 1,
        _ => digits(at),
    };
    let mut valid = whole > 0;
    at += whole;
    if valid && text.get(at) == Some(&b'.') {
        let count = digits(at + 1);
        valid = count > 0;
        at += 1 + count;
    }
    if valid && matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let count = digits(at);
        valid = count > 0;
        at += count;
    }
    let behind = text[at..].iter().take_while(|byte| is_word(byte)).count();
    (at + behind, valid && behind == 0)
}

fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii()
}
