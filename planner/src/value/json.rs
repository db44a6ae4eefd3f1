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
        let start = self.at;
        let bytes = self.text.as_bytes();
        let end = bytes[start..]
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .map_or(bytes.len(), |length| start + length);
        let token = &self.text[start..end];
        if !is_json_number(token.as_bytes()) {
            return Err(self.invalid_token(token));
        }
        self.at = end;
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
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest
                .bytes()
                .position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20)
            else {
                return Err(self.invalid_token(&format!("\"{rest}")));
            };
            if keep {
                text.push_str(&rest[..stop]);
            }
            self.at += stop + 1;
            match rest.as_bytes()[stop] {
                b'"' => return Ok(text),
                b'\\' => {
                    let character = self.escape(keep)?;
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
    fn escape(&mut self, keep: bool) -> Result<char> {
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
                    return char::from_u32(first).ok_or_else(|| self.bad_surrogate());
                }
                let low = self.text.as_bytes().get(self.at..self.at + 2) == Some(b"\\u");
                if first >= 0xdc00 || !low {
                    return Err(self.bad_surrogate());
                }
                self.at += 2;
                let second = self.four_digits()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(self.bad_surrogate());
                }
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                char::from_u32(code).ok_or_else(|| self.bad_surrogate())?
            }
            _ => {
                self.at -= 1;
                return Err(self.error("Escape sequence is invalid.".to_string()));
            }
        })
    }

    fn four_digits(&mut self) -> Result<u32> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at..self.at + 4)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        value.ok_or_else(|| self.error("\"\\u\" must be followed by four hexadecimal digits.".to_string()))
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

    fn bad_surrogate(&self) -> Error {
        self.error("Unicode high surrogate must not follow a high surrogate.".to_string())
    }

    fn ended(&self) -> Error {
        self.error("The input string ended unexpectedly.".to_string())
    }

    fn unexpected(&mut self, wanted: &str) -> Error {
        if self.peek().is_none() {
            return self.ended();
        }
        let token: String = self
            .text
            .get(self.at..)
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        let token = match token.is_empty() {
            true => self.text.get(self.at..).unwrap_or_default().chars().take(1).collect(),
            false => token,
        };
        let is_word = token.starts_with(|c: char| !c.is_ascii_digit() && !"{}[],:\"-".contains(c));
        let detail = match is_word && !matches!(token.as_str(), "true" | "false" | "null") {
            true => format!("Token \"{token}\" is invalid."),
            false => format!("Expected {wanted}, but found \"{token}\"."),
        };
        self.at += token.len();
        self.error(detail)
    }

    fn invalid_token(&self, token: &str) -> Error {
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

fn is_json_number(token: &[u8]) -> bool {
    let token = token.strip_prefix(b"-").unwrap_or(token);
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(token);
    if whole == 0 || (whole > 1 && token[0] == b'0') {
        return false;
    }
    let mut rest = &token[whole..];
    if let [b'.', fraction @ ..] = rest {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent
            .strip_prefix(b"+")
            .or(exponent.strip_prefix(b"-"))
            .unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}
