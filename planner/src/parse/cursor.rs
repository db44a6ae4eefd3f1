//! Reading tokens one by one, with PostgreSQL's words for what was not expected.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{DataType, Ident, ObjectName, ObjectNamePart, Query, With};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::DIALECT;
use super::grammar::{first_wrong, is_reserved};
use super::limits::PARSER_DEPTH_MAX;
use super::tokens::{Lexed, position_of, syntax_error_near};
use super::{fetch, frames, locks, overriding, sequence_options, version};
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Cursor<'a> {
    lexed: &'a Lexed<'a>,
    at: usize,
    /// One past the last token this cursor may read.
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(lexed: &'a Lexed<'a>) -> Self {
        Self {
            lexed,
            at: 0,
            end: lexed.tokens.len(),
        }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        let index = self.at + ahead;
        (index < self.end).then(|| &self.lexed.tokens[index].token)
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        if token.is_some() {
            self.at += 1;
        }
        token
    }

    pub(super) fn is_end(&self) -> bool {
        self.at >= self.end
    }

    pub(super) fn expect_end(&self) -> Result<()> {
        if self.is_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Whether the next token is this word, unquoted.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub(super) fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_words(&self, words: &[&str]) -> bool {
        self.are_words_at(0, words)
    }

    fn are_words_at(&self, ahead: usize, words: &[&str]) -> bool {
        let mut words = words.iter().enumerate();
        words.all(|(index, word)| self.is_word_at(ahead + index, word))
    }

    /// How far away a word stands outside of parentheses, and not as a name, if none of the others comes before it.
    pub(super) fn ahead_of(&self, word: &str, before: &[&str]) -> Option<usize> {
        let mut depth = 0usize;
        for ahead in 0..self.end - self.at {
            match self.peek_at(ahead) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                _ if ahead > 0 && self.is_name_at(ahead) => {}
                _ if self.is_word_at(ahead, word) => return Some(ahead),
                _ if before.iter().any(|other| self.is_word_at(ahead, other)) => return None,
                _ => {}
            }
        }
        None
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.take_words(&[word])
    }

    /// Takes all the words or none.
    pub(super) fn take_words(&mut self, words: &[&str]) -> bool {
        let found = self.is_words(words);
        if found {
            self.at += words.len();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// An unquoted word in lower case.
    pub(super) fn word(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                self.at += 1;
                Ok(word.value.to_ascii_lowercase())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A name: a word that the grammar does not keep to itself.
    pub(super) fn identifier(&mut self) -> Result<Ident> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() && is_reserved(&word.value.to_ascii_lowercase()) => {
                Err(self.unexpected())
            }
            _ => self.label(),
        }
    }

    /// A name where any word may stand: behind a point, of an option.
    pub(super) fn label(&mut self) -> Result<Ident> {
        match self.peek() {
            Some(Token::Word(word)) => {
                if word.value.is_empty() {
                    let message = "zero-length delimited identifier at or near \"\"\"\"";
                    return Err(Error::new(ErrorKind::SyntaxError, message).with_position(self.position()));
                }
                let ident = word.clone().into_ident(self.lexed.tokens[self.at].span);
                self.at += 1;
                Ok(ident)
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn object_name(&mut self) -> Result<ObjectName> {
        let mut parts = vec![ObjectNamePart::Identifier(self.identifier()?)];
        while self.take_token(&Token::Period) {
            parts.push(ObjectNamePart::Identifier(self.label()?));
        }
        Ok(ObjectName(parts))
    }

    pub(super) fn object_names(&mut self) -> Result<Vec<ObjectName>> {
        let mut names = vec![self.object_name()?];
        while self.take_token(&Token::Comma) {
            names.push(self.object_name()?);
        }
        Ok(names)
    }

    /// Names in parentheses.
    pub(super) fn identifiers_in_parentheses(&mut self) -> Result<Vec<Ident>> {
        self.expect_token(&Token::LParen)?;
        let mut names = vec![self.identifier()?];
        while self.take_token(&Token::Comma) {
            names.push(self.identifier()?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// A string literal of any of PostgreSQL's forms.
    pub(super) fn string(&mut self) -> Result<String> {
        let value = match self.peek() {
            Some(
                Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text),
            ) => text.clone(),
            Some(Token::DollarQuotedString(text)) => text.value.clone(),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(value)
    }

    /// Tokens up to the end of the statement, parsed by sqlparser, which must use all of them.
    pub(super) fn rest<T>(&mut self, read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
        let value = self.delegate(self.at, self.end, read)?;
        self.at = self.end;
        Ok(value)
    }

    /// The same without some tokens, so far away from the next one.
    pub(super) fn rest_without<T>(
        &mut self,
        ahead: Range<usize>,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let mut tokens = self.lexed.tokens[self.at..self.end].to_vec();
        tokens.drain(ahead);
        let value = self.delegate_tokens(tokens, self.end, read)?;
        self.at = self.end;
        Ok(value)
    }

    /// Tokens up to the next such word outside parentheses and CASE, or to the end, parsed by sqlparser.
    pub(super) fn until<T>(
        &mut self,
        word: &str,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        self.until_any(&[word], read)
    }

    /// The same for several words.
    pub(super) fn until_any<T>(
        &mut self,
        words: &[&str],
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let end = words.iter().map(|word| self.index_of(word)).min().unwrap_or(self.end);
        let value = self.delegate(self.at, end, read)?;
        self.at = end;
        Ok(value)
    }

    fn index_of(&self, word: &str) -> usize {
        let mut depth = 0usize;
        for ahead in 0..self.end - self.at {
            match self.peek_at(ahead) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth = depth.saturating_sub(1),
                _ if self.is_word_at(ahead, "case") => depth += 1,
                _ if self.is_word_at(ahead, "end") => depth = depth.saturating_sub(1),
                _ if depth == 0 && self.is_word_at(ahead, word) => return self.at + ahead,
                _ => {}
            }
        }
        self.end
    }

    /// `WITH …` up to one of these words, which begins the statement behind the list; `None` when there is none.
    pub(super) fn with_before(&mut self, words: &[&str]) -> Result<Option<With>> {
        let mut depth = 0usize;
        let mut end = None;
        for ahead in 0..self.end - self.at {
            match self.peek_at(ahead) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth = depth.saturating_sub(1),
                // Only the end of a query in parentheses can stand before it: not a name, a comma or AS.
                _ if depth == 0
                    && ahead > 0
                    && self.peek_at(ahead - 1) == Some(&Token::RParen)
                    && words.iter().any(|word| self.is_word_at(ahead, word)) =>
                {
                    end = Some(self.at + ahead);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else {
            return Ok(None);
        };
        let with = self.delegate(self.at, end, |parser| {
            let token = parser.get_current_token().clone();
            parser.expect_keyword_is(Keyword::WITH)?;
            Ok(With {
                with_token: token.into(),
                recursive: parser.parse_keyword(Keyword::RECURSIVE),
                cte_tables: parser.parse_comma_separated(|parser| parser.parse_cte())?,
            })
        })?;
        self.at = end;
        Ok(Some(with))
    }

    /// Whether what stands there can only be a name.
    fn is_name_at(&self, ahead: usize) -> bool {
        let before = ahead.saturating_sub(1);
        self.is_word_at(before, "into") || self.is_word_at(before, "as") || self.peek_at(before) == Some(&Token::Period)
    }

    /// Whether these words stand next to each other anywhere before the end.
    pub(super) fn has_words(&self, words: &[&str]) -> bool {
        let ahead = 0..self.end - self.at;
        ahead.into_iter().any(|start| self.are_words_at(start, words))
    }

    /// The tokens inside the parentheses that open here, the parentheses included, parsed by sqlparser.
    pub(super) fn parentheses<T>(&mut self, read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
        let end = self.closing()?;
        let value = self.delegate(self.at, end, read)?;
        self.at = end;
        Ok(value)
    }

    /// The same without the parentheses.
    pub(super) fn inside_parentheses<T>(
        &mut self,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let end = self.closing()?;
        let value = self.delegate(self.at + 1, end - 1, read)?;
        self.at = end;
        Ok(value)
    }

    /// The types of a function's arguments, `(int, a text)`; their modes and names are left out.
    pub(super) fn types_in_parentheses(&mut self) -> Result<Vec<DataType>> {
        if self.peek_at(1) == Some(&Token::RParen) {
            self.next();
            self.next();
            return Ok(Vec::new());
        }
        self.inside_parentheses(|parser| {
            parser.parse_comma_separated(|parser| {
                let mut last = parser.parse_data_type()?;
                while !matches!(parser.peek_token().token, Token::Comma | Token::EOF) {
                    last = parser.parse_data_type()?;
                }
                Ok(last)
            })
        })
    }

    /// Tokens up to a comma outside of parentheses, or to the end, parsed by sqlparser, which must use all of them.
    pub(super) fn until_comma<T>(&mut self, read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
        let mut depth = 0usize;
        let mut end = self.at;
        while end < self.end {
            match self.lexed.tokens[end].token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                Token::Comma if depth == 0 => break,
                _ => {}
            }
            end += 1;
        }
        let value = self.delegate(self.at, end, read)?;
        self.at = end;
        Ok(value)
    }

    /// A query up to the end of the statement, together with its text.
    pub(super) fn query(&mut self) -> Result<(Box<Query>, String)> {
        let start = self.at;
        let query = self.rest(|parser| parser.parse_query())?;
        Ok((query, self.text_between(start, self.end).to_string()))
    }

    /// `TABLE t …` as `SELECT * FROM t …`, which is what it means.
    pub(super) fn table_query(&mut self) -> Result<Box<Query>> {
        let span = self.lexed.tokens[self.at].span;
        let select = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
        let tokens = select
            .into_iter()
            .map(|token| TokenWithSpan::new(token, span))
            .chain(self.lexed.tokens[self.at + 1..self.end].iter().cloned())
            .collect();
        let query = self.delegate_tokens(tokens, self.end, |parser| parser.parse_query())?;
        self.at = self.end;
        Ok(query)
    }

    /// The text from the next token to the end, and the characters before it.
    pub(super) fn remaining_text(&self) -> (&'a str, usize) {
        if self.is_end() {
            return ("", 0);
        }
        (
            self.text_between(self.at, self.end),
            self.lexed.places[self.at].characters_before,
        )
    }

    pub(super) fn skip_to_end(&mut self) {
        self.at = self.end;
    }

    /// Leaves the last `count` tokens out of what may be read; the caller has looked at them.
    pub(super) fn shorten(&mut self, count: usize) {
        self.end = self.end.saturating_sub(count).max(self.at);
    }

    /// The last tokens before the end, latest last; for clauses that trail a query.
    pub(super) fn ends_with_words(&self, words: &[&str]) -> bool {
        let Some(start) = self.end.checked_sub(words.len()).filter(|start| *start >= self.at) else {
            return false;
        };
        let mut probe = Cursor {
            lexed: self.lexed,
            at: start,
            end: self.end,
        };
        probe.take_words(words)
    }

    /// Where the next token stands: characters from 1.
    pub(super) fn position(&self) -> usize {
        match self.lexed.places.get(self.at) {
            Some(place) if self.at < self.end => place.characters_before + 1,
            _ => self.lexed.text.chars().count() + 1,
        }
    }

    /// The syntax error of the next token.
    pub(super) fn unexpected(&self) -> Error {
        self.unexpected_at(self.at)
    }

    pub(super) fn unexpected_ahead(&self, ahead: usize) -> Error {
        self.unexpected_at(self.at + ahead)
    }

    fn unexpected_at(&self, index: usize) -> Error {
        if index >= self.lexed.tokens.len() {
            let end = self.lexed.text.chars().count() + 1;
            return Error::new(ErrorKind::SyntaxError, "syntax error at end of input").with_position(end);
        }
        let place = &self.lexed.places[index];
        syntax_error_near(&self.lexed.text[place.bytes.clone()], place.characters_before + 1)
    }

    fn text_between(&self, start: usize, end: usize) -> &'a str {
        let (Some(first), Some(last)) = (self.lexed.places.get(start), self.lexed.places.get(end.wrapping_sub(1)))
        else {
            return "";
        };
        &self.lexed.text[first.bytes.start..last.bytes.end]
    }

    /// The index after the parenthesis that closes the one here.
    fn closing(&self) -> Result<usize> {
        if self.peek() != Some(&Token::LParen) {
            return Err(self.unexpected());
        }
        let mut depth = 0usize;
        for index in self.at..self.end {
            match self.lexed.tokens[index].token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(index + 1);
            }
        }
        Err(self.unexpected_at(self.end))
    }

    fn delegate<T>(
        &self,
        start: usize,
        end: usize,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        self.delegate_tokens(self.lexed.tokens[start..end].to_vec(), end, read)
    }

    fn delegate_tokens<T>(
        &self,
        tokens: Vec<TokenWithSpan>,
        end: usize,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let wrong = first_wrong(&tokens).map(|at| match tokens.get(at) {
            Some(token) => self.index_at(token.span.start, end),
            None => end,
        });
        let mut parser = Parser::new(&DIALECT)
            .with_recursion_limit(PARSER_DEPTH_MAX)
            .with_tokens_with_locations(overriding::noted(sequence_options::in_order(fetch::as_limit(
                version::made_plain(frames::literal_bounds(locks::known(tokens))),
            ))));
        let outcome = read(&mut parser);
        let stopped = match &outcome {
            Err(ParserError::RecursionLimitExceeded) => {
                return Err(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded")
                    .with_hint("The statement nests expressions or subqueries too deeply."));
            }
            Err(ParserError::ParserError(message) | ParserError::TokenizerError(message)) => {
                Some(self.named_in(message, &parser, end))
            }
            Ok(_) if parser.peek_token_ref().token != Token::EOF => {
                Some(self.index_at(parser.peek_token_ref().span.start, end))
            }
            Ok(_) => None,
        };
        let stopped = stopped.map(|at| self.furthest(at, end));
        // sqlparser stops before a pair of words, of which only the second is wrong.
        let stopped = stopped.filter(|at| !(self.begins_pair(*at) && wrong == Some(at + 1)));
        match (outcome, stopped.into_iter().chain(wrong).min()) {
            (Ok(value), None) => Ok(value),
            (_, Some(at)) => Err(self.refused_at(at)),
            (Err(_), None) => Err(self.unexpected_at(end)),
        }
    }

    /// The token a message of sqlparser is about.
    fn named_in(&self, message: &str, parser: &Parser<'_>, end: usize) -> usize {
        match location_in(message) {
            Some(location) => self.index_at(location, end),
            None if message.contains("found: EOF") => end,
            None => self.index_at(parser.peek_token_ref().span.start, end),
        }
    }

    fn begins_pair(&self, at: usize) -> bool {
        matches!(self.lexed.tokens.get(at).map(|token| &token.token), Some(Token::Word(word))
            if matches!(word.keyword, Keyword::ORDER | Keyword::GROUP | Keyword::ALL))
    }

    /// Refuses names that the grammar keeps to itself.
    pub(super) fn check_name(&self, ident: &Ident) -> Result<()> {
        if ident.quote_style.is_some() || !is_reserved(&ident.value.to_ascii_lowercase()) {
            return Ok(());
        }
        Err(self.unexpected_at(self.index_at(ident.span.start, self.end)))
    }

    /// Where a subquery cannot be read on: sqlparser says that it cannot be what else stands in parentheses.
    fn furthest(&self, stopped: usize, end: usize) -> usize {
        let is_select =
            |at: usize| matches!(&self.lexed.tokens[at].token, Token::Word(word) if word.keyword == Keyword::SELECT);
        let begins = stopped.checked_sub(1).filter(|at| {
            stopped < end && *at > 0 && is_select(*at) && self.lexed.tokens[at - 1].token == Token::LParen
        });
        let Some(start) = begins else {
            return stopped;
        };
        let tokens = self.lexed.tokens[start..end].to_vec();
        let mut parser = Parser::new(&DIALECT)
            .with_recursion_limit(PARSER_DEPTH_MAX)
            .with_tokens_with_locations(tokens);
        let next = match parser.parse_query() {
            Ok(_) if parser.peek_token_ref().token == Token::RParen => return stopped,
            Err(ParserError::ParserError(message)) => self.named_in(&message, &parser, end),
            _ => self.index_at(parser.peek_token_ref().span.start, end),
        };
        match next > stopped {
            true => self.furthest(next, end),
            false => stopped,
        }
    }

    /// The syntax error of a token sqlparser stopped at.
    fn refused_at(&self, at: usize) -> Error {
        let word = |ahead: usize| match at.checked_sub(ahead).and_then(|at| self.lexed.tokens.get(at)) {
            Some(token) => token.token.to_string().to_lowercase(),
            None => String::new(),
        };
        // The habit of another database, which PostgreSQL knows.
        if word(0) == "," && word(2) == "limit" {
            let position = self.lexed.places[at - 2].characters_before + 1;
            return Error::new(ErrorKind::SyntaxError, "LIMIT #,# syntax is not supported")
                .with_hint("Use separate LIMIT and OFFSET clauses.")
                .with_position(position);
        }
        self.unexpected_at(at)
    }

    /// The token at a place of the text; `end` when the place is unknown, as it is at the end.
    fn index_at(&self, location: Location, end: usize) -> usize {
        match position_of(self.lexed.text, location) {
            Some(position) => self
                .lexed
                .places
                .partition_point(|place| place.characters_before + 1 < position),
            None => end,
        }
    }
}

/// The `at Line: 1, Column: 8` that ends sqlparser's messages.
fn location_in(message: &str) -> Option<Location> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.parse().ok()?, column.trim().parse().ok()?))
}
