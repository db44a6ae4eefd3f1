//! Tokens with their places in the text, and the split of a message at its semicolons.

use std::ops::Range;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace, Word,
};

use super::DIALECT;
use crate::error::{Error, ErrorKind, Result};
use crate::type_planner::SECOND_DIGITS_MAX;

/// PostgreSQL's limit.
const NAME_BYTES_MAX: usize = 63;

/// The significant tokens of a text: no white space, no comments.
pub(super) struct Lexed<'a> {
    pub text: &'a str,
    pub tokens: Vec<TokenWithSpan>,
    /// Per token: its bytes in the text, and the characters before it.
    pub places: Vec<Place>,
    /// What is told of names that were cut.
    pub cut: Vec<String>,
    /// What is told of times with more digits than there are.
    pub rounded: Vec<String>,
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
            if let Some(place) = joined_operator(tokens.last_mut(), places.last_mut(), &token.token, start) {
                place.bytes.end = end;
                continue;
            }
            if on_new_line && let Some(place) = continued(tokens.last_mut(), places.last_mut(), &token.token) {
                place.bytes.end = end;
                continue;
            }
            if token.token != Token::EOF {
                let token = match token.token {
                    Token::DoubleEq => TokenWithSpan::new(Token::CustomBinaryOperator("==".into()), token.span),
                    Token::Mul if is_behind_row(&tokens) => TokenWithSpan::new(all_fields(), token.span),
                    _ => token,
                };
                tokens.push(token);
                places.push(Place {
                    bytes: start..end,
                    characters_before,
                });
            }
        }
        let cut = tokens.iter_mut().filter_map(cut_name).collect();
        let lexed = Self {
            text,
            tokens,
            places,
            cut,
            rounded: Vec::new(),
        };
        let lexed = Self {
            rounded: lexed.too_exact_times(),
            ..lexed
        };
        lexed.check_parameters()?;
        lexed.check_modifiers()?;
        lexed.check_numbers()?;
        Ok(lexed)
    }

    /// The parameters, each with its position.
    pub(super) fn parameters(&self) -> Vec<(String, usize)> {
        let tokens = self.tokens.iter().zip(&self.places);
        let named = tokens.filter_map(|(token, place)| match &token.token {
            Token::Placeholder(name) => Some((name.clone(), place.characters_before + 1)),
            _ => None,
        });
        named.collect()
    }

    /// A dollar alone is nothing: `${x}` of a template.
    fn check_parameters(&self) -> Result<()> {
        let is_bare = |token: &TokenWithSpan| matches!(&token.token, Token::Placeholder(name) if name == "$");
        let Some(at) = self.tokens.iter().position(is_bare) else {
            return Ok(());
        };
        let position = self.places.get(at).map_or(1, |place| place.characters_before + 1);
        Err(syntax_error_near("$", position))
    }

    /// `numeric(5, 2)` has no third number.
    fn check_modifiers(&self) -> Result<()> {
        let is_numeric = |token: &Token| match token {
            Token::Word(word) => matches!(word.keyword, Keyword::NUMERIC | Keyword::DECIMAL | Keyword::DEC),
            _ => false,
        };
        let is_number = |token: &Token| matches!(token, Token::Number(..));
        let has_third = |tokens: &[TokenWithSpan]| match tokens {
            [name, open, first, comma, second, behind] => {
                is_numeric(&name.token)
                    && open.token == Token::LParen
                    && [first, second].iter().all(|number| is_number(&number.token))
                    && [comma, behind].iter().all(|comma| comma.token == Token::Comma)
            }
            _ => false,
        };
        let Some(at) = self.tokens.windows(6).position(has_third) else {
            return Ok(());
        };
        let position = self.places.get(at).map_or(1, |place| place.characters_before + 1);
        let error = Error::new(ErrorKind::InvalidParameterValue, "invalid NUMERIC type modifier");
        Err(error.with_position(position))
    }

    /// `time(9)` has six digits behind the point, as all times have at most.
    fn too_exact_times(&self) -> Vec<String> {
        let keyword = |at: usize| match self.tokens.get(at).map(|token| &token.token) {
            Some(Token::Word(word)) => Some(word.keyword),
            _ => None,
        };
        let told = |(at, tokens): (usize, &[TokenWithSpan])| {
            let [_, open, digits, close] = tokens else { return None };
            let (Token::LParen, Token::Number(digits, _), Token::RParen) = (&open.token, &digits.token, &close.token)
            else {
                return None;
            };
            let is_zoned = keyword(at + 4) == Some(Keyword::WITH) && keyword(at + 5) == Some(Keyword::TIME);
            let zone = |is_zoned| if is_zoned { " WITH TIME ZONE" } else { "" };
            let (name, zone) = match keyword(at)? {
                Keyword::TIME => ("TIME", zone(is_zoned)),
                Keyword::TIMESTAMP => ("TIMESTAMP", zone(is_zoned)),
                Keyword::TIMESTAMPTZ => ("TIMESTAMP", zone(true)),
                Keyword::INTERVAL | Keyword::SECOND => ("INTERVAL", ""),
                _ => return None,
            };
            (digits.parse::<i32>().ok()? > i32::from(SECOND_DIGITS_MAX))
                .then(|| format!("{name}({digits}){zone} precision reduced to maximum allowed, {SECOND_DIGITS_MAX}"))
        };
        self.tokens.windows(4).enumerate().filter_map(told).collect()
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

/// Cuts a name that is too long at the end of a character, as PostgreSQL does; returns what is told of it.
fn cut_name(token: &mut TokenWithSpan) -> Option<String> {
    let Token::Word(word) = &mut token.token else {
        return None;
    };
    if word.value.len() <= NAME_BYTES_MAX {
        return None;
    }
    let whole = match word.quote_style {
        Some(_) => word.value.clone(),
        None => word.value.to_lowercase(),
    };
    word.value.truncate(word.value.floor_char_boundary(NAME_BYTES_MAX));
    let kept = &whole[..whole.floor_char_boundary(NAME_BYTES_MAX)];
    Some(format!("identifier \"{whole}\" will be truncated to \"{kept}\""))
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

/// The `*` of `(…).*` as the name of a field: sqlparser takes a star behind names only.
pub(crate) const ALL_FIELDS: &str = "\u{1}*";

fn all_fields() -> Token {
    Token::Word(Word {
        value: ALL_FIELDS.to_string(),
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    })
}

/// Whether what comes next is behind `(…).`
fn is_behind_row(before: &[TokenWithSpan]) -> bool {
    matches!(before, [.., bracket, point] if bracket.token == Token::RParen && point.token == Token::Period)
}

/// `=<` and `=!` are one operator, which there is not: adds to the one before and returns its place.
fn joined_operator<'a>(
    before: Option<&mut TokenWithSpan>,
    place: Option<&'a mut Place>,
    next: &Token,
    start: usize,
) -> Option<&'a mut Place> {
    let (before, place) = (before?, place?);
    let name = match (&before.token, next) {
        (Token::Eq, Token::Lt) => "=<",
        (Token::Eq, Token::ExclamationMark) => "=!",
        _ => return None,
    };
    if place.bytes.end != start {
        return None;
    }
    before.token = Token::CustomBinaryOperator(name.into());
    Some(place)
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

/// Where the token begins that follows the one at a position.
pub(crate) fn position_of_next(text: &str, position: usize) -> Option<usize> {
    let lexed = Lexed::new(text).ok()?;
    let mut places = lexed.places.iter().map(|place| place.characters_before + 1);
    places.find(|next| *next > position)
}

/// Where the token begins that stands before the one at a position.
pub(crate) fn position_of_previous(text: &str, position: usize) -> Option<usize> {
    let lexed = Lexed::new(text).ok()?;
    let places = lexed.places.iter().map(|place| place.characters_before + 1);
    places.take_while(|other| *other < position).last()
}

/// `syntax error at or near "x"`
pub(super) fn syntax_error_near(token: &str, position: usize) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{token}\"")).with_position(position)
}

fn tokenizer_error(text: &str, error: &TokenizerError) -> Error {
    if let Some(error) = Literals::new(text).first_mistake() {
        return error;
    }
    let position = position_of(text, error.location).unwrap_or(1);
    let rest = text.chars().skip(position - 1);
    let token: String = rest.take_while(|c| !c.is_whitespace()).collect();
    syntax_error_near(&token, position)
}

/// Looks for the literal, quoted name or comment that is broken: sqlparser tells where it gave up, PostgreSQL where it begins.
struct Literals {
    text: Vec<char>,
    at: usize,
}

impl Literals {
    fn new(text: &str) -> Self {
        Self {
            text: text.chars().collect(),
            at: 0,
        }
    }

    fn first_mistake(&mut self) -> Option<Error> {
        while let Some(&c) = self.text.get(self.at) {
            let start = self.at;
            let next = self.text.get(start + 1).copied();
            let unterminated = match (c, next) {
                ('-', Some('-')) => {
                    self.skip_until(|c| c == '\n');
                    None
                }
                ('/', Some('*')) => (!self.skip_comment()).then_some("unterminated /* comment"),
                ('"', _) => (!self.skip_quoted('"', false)).then_some("unterminated quoted identifier"),
                ('\'', _) => (!self.skip_quoted('\'', false)).then_some("unterminated quoted string"),
                ('e' | 'E', Some('\'')) => {
                    self.at += 1;
                    (!self.skip_quoted('\'', true)).then_some("unterminated quoted string")
                }
                ('u' | 'U', Some('&')) if self.text.get(start + 2) == Some(&'\'') => {
                    self.at += 2;
                    let is_closed = self.skip_quoted('\'', false);
                    if is_closed && let Some(escape) = self.bad_escape(start + 3) {
                        return Some(escape);
                    }
                    (!is_closed).then_some("unterminated quoted string")
                }
                ('$', _) => (!self.skip_dollars()).then_some("unterminated dollar-quoted string"),
                _ if c.is_alphabetic() || c == '_' => {
                    self.skip_until(|c| !c.is_alphanumeric() && c != '_' && c != '$');
                    None
                }
                _ => {
                    self.at += 1;
                    None
                }
            };
            if let Some(what) = unterminated {
                let rest: String = self.text[start..].iter().collect();
                let message = format!("{what} at or near \"{}\"", rest.trim_end());
                return Some(Error::new(ErrorKind::SyntaxError, message).with_position(start + 1));
            }
        }
        None
    }

    fn skip_until(&mut self, is_end: impl Fn(char) -> bool) {
        while self.text.get(self.at).is_some_and(|c| !is_end(*c)) {
            self.at += 1;
        }
    }

    /// Skips what is quoted, from the quote on; two quotes are one. Whether it ends.
    fn skip_quoted(&mut self, quote: char, has_escapes: bool) -> bool {
        self.at += 1;
        while let Some(&c) = self.text.get(self.at) {
            self.at += 1;
            if c == quote {
                if self.text.get(self.at) != Some(&quote) {
                    return true;
                }
                self.at += 1;
            } else if c == '\\' && has_escapes {
                self.at += 1;
            }
        }
        false
    }

    /// Skips a comment and those in it.
    fn skip_comment(&mut self) -> bool {
        let mut depth = 0_usize;
        loop {
            match (self.text.get(self.at), self.text.get(self.at + 1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return false,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return true;
            }
        }
    }

    /// Skips `$tag$ … $tag$`; a dollar that begins none is skipped alone.
    fn skip_dollars(&mut self) -> bool {
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_');
        let Some(length) = length.filter(|at| rest[*at] == '$' && !rest[0].is_ascii_digit()) else {
            self.at += 1;
            return true;
        };
        let tag: Vec<char> = self.text[self.at..self.at + length + 2].to_vec();
        let inside = self.at + tag.len();
        let end = self.text[inside..].windows(tag.len()).position(|part| part == tag);
        self.at = end.map_or(self.text.len(), |end| inside + end + tag.len());
        end.is_some()
    }

    /// What is wrong in a literal `U&'…'` whose text begins here.
    fn bad_escape(&self, start: usize) -> Option<Error> {
        let mut at = start;
        while at + 1 < self.at {
            if self.text[at] != '\\' {
                at += 1;
                continue;
            }
            let (skip, digits) = match self.text[at + 1] {
                '\\' => (2, 0),
                '+' => (2, 6),
                _ => (1, 4),
            };
            // A quote ends it.
            let escape = self.text[..self.at - 1].get(at + skip..at + skip + digits);
            if !escape.is_some_and(|escape| escape.iter().all(char::is_ascii_hexdigit)) {
                let error = Error::new(ErrorKind::SyntaxError, "invalid Unicode escape")
                    .with_hint("Unicode escapes must be \\XXXX or \\+XXXXXX.");
                return Some(error.with_position(at + 1));
            }
            at += skip + digits;
        }
        None
    }
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
