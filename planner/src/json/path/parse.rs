//! The text of a path to what it means (`src/backend/utils/adt/jsonpath_gram.y`).

use super::arithmetic::negated;
use super::{Accessor, Comparison, Expression, Method, Operation, Path, is_predicate};
use crate::error::{Error, ErrorKind, Result};
use crate::value::json::unescaped;
use crate::value::numeric::write_plain;

/// How deep parentheses, subscripts, filters and signs may be nested.
const DEPTH_MAX: usize = 100;
/// How many operators and steps there may be: chains of them are trees as deep.
const OPERATORS_MAX: usize = 3000;

pub(super) fn parse(text: &str) -> Result<Path> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        operators: 0,
        subscripts: 0,
        filters: 0,
    };
    if parser.peek().is_none() {
        let message = format!("invalid input syntax for type jsonpath: \"{text}\"");
        return Err(Error::new(ErrorKind::InvalidTextRepresentation, message));
    }
    let strict = parser.word("strict");
    if !strict {
        parser.word("lax");
    }
    let root = parser.either()?;
    match parser.peek() {
        None => Ok(Path { strict, root }),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    operators: usize,
    /// Subscripts and filters around the place: `last` and `@` mean something there only.
    subscripts: usize,
    filters: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = self.rest();
            if let Some(comment) = rest.strip_prefix("/*") {
                let length = comment.find("*/").map_or(comment.len(), |end| end + 2);
                self.at += 2 + length;
                continue;
            }
            let first = rest.chars().next()?;
            if !matches!(first, ' ' | '\t' | '\n' | '\r' | '\u{c}') {
                return Some(first);
            }
            self.at += 1;
        }
    }

    fn take(&mut self, symbol: &str) -> bool {
        self.peek();
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        match self.take(symbol) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    /// Takes a keyword; lower case only, as in PostgreSQL.
    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let rest = self.rest();
        let found = rest.starts_with(word) && !rest[word.len()..].starts_with(is_name);
        if found {
            self.at += word.len();
        }
        found
    }

    fn unexpected(&mut self) -> Error {
        let message = match self.peek() {
            None => "syntax error at end of jsonpath input".to_string(),
            Some(first) => {
                let rest = self.rest();
                let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
                let token = if name.is_empty() { first.to_string() } else { name };
                format!("syntax error at or near \"{token}\" of jsonpath input")
            }
        };
        Error::new(ErrorKind::SyntaxError, message)
    }

    fn unsupported(what: &str) -> Error {
        Error::unsupported(format!("jsonpath {what} is not supported"))
    }

    fn too_complex() -> Error {
        Error::new(ErrorKind::StatementTooComplex, "jsonpath is nested too deeply")
    }

    fn go_deeper(&mut self) -> Result<()> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(Self::too_complex()),
            false => Ok(()),
        }
    }

    fn count_operator(&mut self) -> Result<()> {
        self.operators += 1;
        match self.operators > OPERATORS_MAX {
            true => Err(Self::too_complex()),
            false => Ok(()),
        }
    }

    /// `a || b`
    fn either(&mut self) -> Result<Expression> {
        self.go_deeper()?;
        let mut left = self.both()?;
        while self.take("||") {
            self.count_operator()?;
            let right = self.both()?;
            left = Expression::Or(self.predicate(left)?, self.predicate(right)?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn both(&mut self) -> Result<Expression> {
        let mut left = self.negation()?;
        while self.take("&&") {
            self.count_operator()?;
            let right = self.negation()?;
            left = Expression::And(self.predicate(left)?, self.predicate(right)?);
        }
        Ok(left)
    }

    fn predicate(&mut self, expression: Expression) -> Result<Box<Expression>> {
        match is_predicate(&expression) {
            true => Ok(Box::new(expression)),
            false => Err(self.unexpected()),
        }
    }

    fn value(&mut self, expression: Expression) -> Result<Box<Expression>> {
        match is_predicate(&expression) {
            false => Ok(Box::new(expression)),
            true => Err(self.unexpected()),
        }
    }

    fn negation(&mut self) -> Result<Expression> {
        self.peek();
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            self.peek();
            let inner = match self.rest().starts_with('(') {
                true => self.parenthesised()?,
                false => self.comparison()?,
            };
            return Ok(Expression::Not(self.predicate(inner)?));
        }
        self.comparison()
    }

    /// `(predicate)`, the only thing `!` goes before besides `exists`.
    fn parenthesised(&mut self) -> Result<Expression> {
        self.expect("(")?;
        let inner = self.either()?;
        self.expect(")")?;
        Ok(inner)
    }

    fn comparison(&mut self) -> Result<Expression> {
        let left = self.sum()?;
        const SYMBOLS: &[(&str, Comparison)] = &[
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (symbol, comparison) in SYMBOLS {
            if self.take(symbol) {
                let left = self.value(left)?;
                let right = self.sum()?;
                return Ok(Expression::Compare(*comparison, left, self.value(right)?));
            }
        }
        if self.word("starts") {
            if !self.word("with") {
                return Err(self.unexpected());
            }
            let prefix = self.atom()?;
            return match prefix {
                Expression::Text(_) | Expression::Variable(_) => {
                    Ok(Expression::StartsWith(self.value(left)?, Box::new(prefix)))
                }
                _ => Err(self.unexpected()),
            };
        }
        if self.word("like_regex") {
            return Err(Self::unsupported("like_regex"));
        }
        if self.word("is") {
            return match self.word("unknown") {
                true => Ok(Expression::IsUnknown(self.predicate(left)?)),
                false => Err(self.unexpected()),
            };
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expression> {
        let mut left = self.product()?;
        loop {
            let operation = match self.peek() {
                Some('+') => Operation::Add,
                Some('-') => Operation::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            self.count_operator()?;
            let right = self.product()?;
            left = Expression::Arithmetic(operation, self.value(left)?, self.value(right)?);
        }
    }

    fn product(&mut self) -> Result<Expression> {
        let mut left = self.signed()?;
        loop {
            let operation = match self.peek() {
                Some('*') if !self.rest().starts_with("**") => Operation::Multiply,
                Some('/') => Operation::Divide,
                Some('%') => Operation::Modulo,
                _ => return Ok(left),
            };
            self.at += 1;
            self.count_operator()?;
            let right = self.signed()?;
            left = Expression::Arithmetic(operation, self.value(left)?, self.value(right)?);
        }
    }

    fn signed(&mut self) -> Result<Expression> {
        let negative = match self.peek() {
            Some('-') => true,
            Some('+') => false,
            _ => return self.postfix(),
        };
        self.at += 1;
        self.go_deeper()?;
        let inner = self.signed()?;
        self.depth -= 1;
        Ok(match inner {
            Expression::Number(digits) if negative => Expression::Number(negated(&digits)),
            Expression::Number(digits) => Expression::Number(digits),
            inner => Expression::Sign(negative, self.value(inner)?),
        })
    }

    fn postfix(&mut self) -> Result<Expression> {
        let start = self.atom()?;
        let mut steps = Vec::new();
        while let Some(step) = self.accessor()? {
            self.count_operator()?;
            steps.push(step);
        }
        // Of the conditions only one in parentheses and `exists(…)` get here, whose value may have steps behind it.
        Ok(match steps.is_empty() {
            true => start,
            false => Expression::Steps(Box::new(start), steps),
        })
    }

    fn atom(&mut self) -> Result<Expression> {
        let first = self.peek().ok_or_else(|| self.unexpected())?;
        match first {
            '(' => return self.parenthesised(),
            '$' => {
                self.at += 1;
                let rest = self.rest();
                if rest.starts_with('"') {
                    return Ok(Expression::Variable(self.quoted()?));
                }
                let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
                self.at += name.len();
                return Ok(match name.is_empty() {
                    true => Expression::Root,
                    false => Expression::Variable(name),
                });
            }
            '@' => {
                if self.filters == 0 {
                    return Err(Error::new(
                        ErrorKind::SyntaxError,
                        "@ is not allowed in root expressions",
                    ));
                }
                self.at += 1;
                return Ok(Expression::Current);
            }
            '"' => return Ok(Expression::Text(self.quoted()?)),
            '0'..='9' | '.' => return self.number(),
            _ => {}
        }
        if self.word("exists") {
            self.expect("(")?;
            let inner = self.either()?;
            self.expect(")")?;
            return Ok(Expression::Exists(self.value(inner)?));
        }
        for (word, value) in [
            ("null", Expression::Null),
            ("true", Expression::Boolean(true)),
            ("false", Expression::Boolean(false)),
        ] {
            if self.word(word) {
                return Ok(value);
            }
        }
        if self.word("last") {
            if self.subscripts == 0 {
                let message = "LAST is allowed only in array subscripts";
                return Err(Error::new(ErrorKind::SyntaxError, message));
            }
            return Ok(Expression::Last);
        }
        Err(self.unexpected())
    }

    fn number(&mut self) -> Result<Expression> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut length = digits(0);
        // `1.` and `.5` are numbers, `1..` and `1.type()` are not.
        if bytes.get(length) == Some(&b'.') && !bytes.get(length + 1).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            length += 1;
            length += digits(length);
        }
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            let exponent = digits((length + 1 + sign).min(bytes.len()));
            if exponent > 0 {
                length += 1 + sign + exponent;
            }
        }
        let token = &self.rest()[..length];
        if !token.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected());
        }
        let mut out = String::new();
        write_plain(token, &mut out)?;
        self.at += length;
        if self.rest().starts_with(is_name) {
            let message = format!(
                "trailing junk after numeric literal at or near \"{token}{}\" of jsonpath input",
                {
                    let rest = self.rest();
                    rest.chars().next().unwrap_or(' ')
                }
            );
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
        Ok(Expression::Number(out))
    }

    /// A string in double quotes.
    fn quoted(&mut self) -> Result<String> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut end = 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => {
                    let message = "unterminated quoted string at end of jsonpath input";
                    return Err(Error::new(ErrorKind::SyntaxError, message));
                }
            }
        }
        self.at += end + 1;
        let text = rest.get(..=end).unwrap_or_default();
        unescaped(text).map_err(|_| {
            let message = format!("syntax error at or near \"{text}\" of jsonpath input");
            Error::new(ErrorKind::SyntaxError, message)
        })
    }

    fn accessor(&mut self) -> Result<Option<Accessor>> {
        if self.take("?") {
            self.expect("(")?;
            self.filters += 1;
            let condition = self.either()?;
            self.filters -= 1;
            self.expect(")")?;
            return Ok(Some(Accessor::Filter(self.predicate(condition)?)));
        }
        if self.take("[") {
            return self.subscript().map(Some);
        }
        if !self.take(".") {
            return Ok(None);
        }
        if self.take("**") {
            return self.anywhere().map(Some);
        }
        if self.take("*") {
            return Ok(Some(Accessor::AnyKey));
        }
        if self.peek() == Some('"') {
            return Ok(Some(Accessor::Key(self.quoted()?)));
        }
        let name: String = self.rest().chars().take_while(|c| is_name(*c)).collect();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unexpected());
        }
        self.at += name.len();
        let before = self.at;
        if !self.take("(") {
            self.at = before;
            return Ok(Some(Accessor::Key(name)));
        }
        let method = match name.as_str() {
            "type" => Method::Type,
            "size" => Method::Size,
            "abs" => Method::Abs,
            "floor" => Method::Floor,
            "ceiling" => Method::Ceiling,
            "double" => Method::Double,
            "keyvalue" => Method::KeyValue,
            "datetime" => return Err(Self::unsupported("item method .datetime()")),
            _ => {
                self.at = before;
                return Err(self.unexpected());
            }
        };
        self.expect(")")?;
        Ok(Some(Accessor::Method(method)))
    }

    fn subscript(&mut self) -> Result<Accessor> {
        if self.take("*") {
            self.expect("]")?;
            return Ok(Accessor::AnyElement);
        }
        self.go_deeper()?;
        self.subscripts += 1;
        let mut ranges = Vec::new();
        loop {
            self.count_operator()?;
            let from = self.sum()?;
            let from = *self.value(from)?;
            let to = match self.word("to") {
                true => {
                    let to = self.sum()?;
                    Some(*self.value(to)?)
                }
                false => None,
            };
            ranges.push((from, to));
            if !self.take(",") {
                break;
            }
        }
        self.expect("]")?;
        self.subscripts -= 1;
        self.depth -= 1;
        Ok(Accessor::Elements(ranges))
    }

    /// `.**`, `.**{2}`, `.**{1 to last}`
    fn anywhere(&mut self) -> Result<Accessor> {
        if !self.take("{") {
            return Ok(Accessor::Anywhere(0, u32::MAX));
        }
        let from = self.level()?;
        let to = match self.word("to") {
            true => self.level()?,
            false => from,
        };
        self.expect("}")?;
        Ok(Accessor::Anywhere(from, to))
    }

    fn level(&mut self) -> Result<u32> {
        if self.word("last") {
            return Ok(u32::MAX);
        }
        self.peek();
        let digits: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
        let level = digits.parse().map_err(|_| self.unexpected())?;
        self.at += digits.len();
        Ok(level)
    }
}

/// What a name without quotes may have in it.
fn is_name(c: char) -> bool {
    !matches!(
        c,
        '?' | '%'
            | '$'
            | '.'
            | '['
            | ']'
            | '{'
            | '}'
            | '('
            | ')'
            | '|'
            | '&'
            | '!'
            | '='
            | '<'
            | '>'
            | '@'
            | '#'
            | ','
            | '*'
            | ':'
            | '-'
            | '+'
            | '/'
            | '"'
            | '\\'
            | ' '
            | '\t'
            | '\n'
            | '\r'
            | '\u{c}'
    )
}
