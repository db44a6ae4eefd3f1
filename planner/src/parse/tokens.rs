//! Tokens with their places in the text, and the split of a message at its semicolons.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace};

use super::DIALECT;
use crate::error::{Error, ErrorKind, Result};

/// The significant tokens of a text: no white space, no comments.
pub(super) struct Lexed<'a> {
    pub text: &'a str,
    pub tokens: Vec<TokenWithSpan>,
    /// Per token: its bytes in the text, and the characters before it.
    pub places: Vec<Place>,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub bytes: Range<usize>,
    pub characters_before: usize,
}

impl<'a> Lexed<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self> {
        if let Some(at) = text.chars().position(|c| c == '\0') {
            let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
            return Err(Error::new(ErrorKind::CharacterNotInRepertoire, message).with_position(at + 1));
        }
        let all = Tokenizer::new(&DIALECT, text)
            .tokenize_with_location()
            .map_err(|error| tokenizer_error(text, &error))?;
        let mut walk = Walk::new(text);
        let mut tokens = Vec::with_capacity(all.len());
        let mut places = Vec::with_capacity(all.len());
        let mut line_ended = false;
        for token in all {
            let (start, characters_before) = walk.advance(token.span.start);
            let (end, _) = walk.advance(token.span.end);
            if let Token::Whitespace(space) = &token.token {
                let ends_line = matches!(space, Whitespace::Newline | Whitespace::SingleLineComment { .. });
                line_ended |= ends_line;
                continue;
            }
            let on_new_line = std::mem::take(&mut line_ended);
            if on_new_line && let Some(place) = continued(tokens.last_mut(), places.last_mut(), &token.token) {
                place.bytes.end = end;
                continue;
            }
            if token.token != Token::EOF {
                tokens.push(token);
                places.push(Place {
                    bytes: start..end,
                    characters_before,
                });
            }
        }
        let lexed = Self { text, tokens, places };
        lexed.check_numbers()?;
        Ok(lexed)
    }

    /// A number ends where something else begins: `123abc` is no number with an alias.
    fn check_numbers(&self) -> Result<()> {
        for (at, token) in self.tokens.iter().enumerate() {
            let (Token::Number(..) | Token::HexStringLiteral(_)) = token.token else {
                continue;
            };
            let Some(place) = self.places.get(at) else { continue };
            let digits = self.text.get(place.bytes.clone()).unwrap_or_default();
            if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                continue;
            }
            let rest = self.text.get(place.bytes.end..).unwrap_or_default();
            let junk = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            if junk > 0 && !rest.starts_with(|c: char| c.is_ascii_digit()) || digits.contains(['_', 'x', 'X']) {
                let near = &self.text[place.bytes.start..place.bytes.end + junk];
                let message = format!("trailing junk after numeric literal at or near \"{near}\"");
                return Err(Error::new(ErrorKind::SyntaxError, message).with_position(place.characters_before + 1));
            }
        }
        Ok(())
    }

    /// The stretches between semicolons that hold at least one token.
    pub(super) fn split(&self) -> Vec<Place> {
        let mut parts = Vec::new();
        let mut current: Option<Place> = None;
        for (token, place) in self.tokens.iter().zip(&self.places) {
            if token.token == Token::SemiColon {
                parts.extend(current.take());
            } else if let Some(part) = &mut current {
                part.bytes.end = place.bytes.end;
            } else {
                current = Some(place.clone());
            }
        }
        parts.extend(current);
        parts
    }
}

/// `'a'`, a line end and `'b'` are one literal: adds to the one before and returns its place.
fn continued<'a>(
    before: Option<&mut TokenWithSpan>,
    place: Option<&'a mut Place>,
    next: &Token,
) -> Option<&'a mut Place> {
    match (&mut before?.token, next) {
        (Token::SingleQuotedString(text), Token::SingleQuotedString(more)) => {
            text.push_str(more);
            place
        }
        _ => None,
    }
}

/// Characters from the start of the text to a place sqlparser names, counted from 1; `None` when it names none.
pub(crate) fn position_of(text: &str, location: Location) -> Option<usize> {
    if location.line == 0 {
        return None;
    }
    let (_, characters) = Walk::new(text).advance(location);
    Some(characters + 1)
}

/// Bytes from the start of the text to a place sqlparser names; `None` when it names none.
pub(crate) fn offset_of(text: &str, location: Location) -> Option<usize> {
    (location.line > 0).then(|| Walk::new(text).advance(location).0)
}

/// Where these words or operators (in lower case) stand in the text, in characters counted from 1.
pub(crate) fn positions_of_words(text: &str, words: &[&str]) -> Vec<usize> {
    let Ok(lexed) = Lexed::new(text) else { return Vec::new() };
    let places = lexed.places.iter().filter(|place| {
        let word = text.get(place.bytes.clone()).unwrap_or_default();
        words.iter().any(|wanted| word.eq_ignore_ascii_case(wanted))
    });
    places.map(|place| place.characters_before + 1).collect()
}

/// `syntax error at or near "x"`
pub(super) fn syntax_error_near(token: &str, position: usize) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{token}\"")).with_position(position)
}

fn tokenizer_error(text: &str, error: &TokenizerError) -> Error {
    let position = position_of(text, error.location).unwrap_or(1);
    let rest: String = text.chars().skip(position - 1).collect();
    let what = if error.message.contains("comment") {
        "unterminated /* comment"
    } else if error.message.contains("double") || error.message.contains("close delimiter") {
        "unterminated quoted identifier"
    } else if error.message.contains("dollar") || error.message.contains('$') {
        "unterminated dollar-quoted string"
    } else if error.message.contains("quoted") || error.message.contains("literal") || error.message.contains("string")
    {
        "unterminated quoted string"
    } else {
        let token: String = rest.chars().take_while(|c| !c.is_whitespace()).collect();
        return syntax_error_near(&token, position);
    };
    let near = format!("{what} at or near \"{}\"", rest.trim_end());
    Error::new(ErrorKind::SyntaxError, near).with_position(position)
}

/// Walks a text once, turning lines and columns (both from 1, in characters) into offsets.
struct Walk<'a> {
    rest: std::str::Chars<'a>,
    length: usize,
    line: u64,
    column: u64,
    characters: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars(),
            length: text.len(),
            line: 1,
            column: 1,
            characters: 0,
        }
    }

    /// Goes forward to a place; returns bytes and characters before it.
    fn advance(&mut self, to: Location) -> (usize, usize) {
        while (self.line, self.column) < (to.line, to.column) {
            let Some(c) = self.rest.next() else { break };
            self.characters += 1;
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        (self.length - self.rest.as_str().len(), self.characters)
    }
}
