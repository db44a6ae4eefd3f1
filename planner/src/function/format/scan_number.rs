//! Numbers read by a pattern such as `99G999D9S`: `to_number`.
//!
//! The walk over pattern and text is that of `NUM_processor` and `NUM_numpart_from_char` in PostgreSQL's formatting.c.

use super::number::{Item, NumberFormat, SignPlace};
use crate::error::{Error, ErrorKind, Result};

/// The number a text says: its digits, and how many of them stand behind the point.
#[derive(Debug, PartialEq)]
pub(super) struct Number {
    pub(super) text: String,
    /// By how many powers of ten `V` makes it smaller.
    pub(super) shift: u32,
}

pub(super) fn read(format: &NumberFormat, text: &str) -> Result<Number> {
    if format.roman.is_some() {
        return Err(Error::unsupported("\"RN\" not supported for input"));
    }
    if format.scientific {
        return Err(Error::unsupported("\"EEEE\" not supported for input"));
    }
    let mut scan = Scan {
        format,
        rest: text,
        sign: None,
        digits: String::new(),
        before: 0,
        behind: 0,
        point: false,
    };
    scan.run();
    let digits = scan.digits.strip_suffix('.').unwrap_or(&scan.digits);
    if !digits.contains(|character: char| character.is_ascii_digit()) {
        let message = format!(
            "invalid input syntax for type numeric: \"{}{digits}\"",
            scan.sign.unwrap_or(' ')
        );
        return Err(Error::new(ErrorKind::InvalidTextRepresentation, message));
    }
    let sign = scan.sign.filter(|&sign| sign == '-').map_or("", |_| "-");
    Ok(Number {
        text: format!("{sign}{digits}"),
        shift: format.shift.unwrap_or(0),
    })
}

struct Scan<'a> {
    format: &'a NumberFormat,
    rest: &'a str,
    sign: Option<char>,
    digits: String,
    before: usize,
    behind: usize,
    point: bool,
}

impl Scan<'_> {
    fn run(&mut self) {
        let format = self.format;
        for item in &format.items {
            if self.rest.is_empty() {
                return;
            }
            let read = match item {
                Item::Nine | Item::Zero => {
                    self.part(true);
                    true
                }
                Item::Point => {
                    self.part(false);
                    true
                }
                Item::Comma if self.digits.is_empty() && self.format.fill => false,
                Item::Comma => self.rest.starts_with(','),
                Item::Currency => {
                    self.skip(1);
                    false
                }
                Item::Ordinal(_) if self.sign == Some('-') || self.format.decimal => false,
                Item::Ordinal(_) => {
                    self.skip(2);
                    false
                }
                Item::Minus => self.sign_of("-"),
                Item::Plus => self.sign_of("+"),
                Item::Sign => self.sign_of("-+"),
                Item::Text(text) => {
                    // A character of the text for each of the pattern, whether they are the same or not.
                    text.chars().for_each(|_| self.step());
                    false
                }
                Item::Silent => false,
            };
            if read {
                self.step();
            }
        }
    }

    fn next(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn step(&mut self) {
        let length = self.next().map_or(0, char::len_utf8);
        self.rest = &self.rest[length..];
    }

    /// Passes over characters that are no part of a number.
    fn skip(&mut self, most: usize) {
        for _ in 0..most {
            match self.next() {
                Some(next) if !"0123456789.,+-".contains(next) => self.step(),
                _ => return,
            }
        }
    }

    /// A sign where the pattern has one; the caller passes over it.
    fn sign_of(&mut self, signs: &str) -> bool {
        match self.next() {
            Some(next) if signs.contains(next) => {
                self.sign = Some(next);
                true
            }
            _ => {
                self.skip(1);
                false
            }
        }
    }

    /// A digit or the point, with the sign before or behind it. The caller passes over the last character read.
    fn part(&mut self, digit: bool) {
        if self.rest.starts_with(' ') {
            self.step();
        }
        let anchored = self.format.sign_place != SignPlace::None;
        if self.sign.is_none() && digit && self.before + self.behind == 0 {
            match self.next() {
                Some(sign @ ('-' | '+')) if !anchored || self.format.sign_place == SignPlace::Before => {
                    self.sign = Some(sign);
                    self.step();
                }
                Some('<') if self.format.bracket => {
                    self.sign = Some('-');
                    self.step();
                }
                _ => {}
            }
        }
        let mut read = false;
        match self.next() {
            Some(next) if next.is_ascii_digit() => {
                if self.point && self.behind == self.format.post {
                    return;
                }
                self.digits.push(next);
                *if self.point { &mut self.behind } else { &mut self.before } += 1;
                read = true;
            }
            Some('.') if self.format.decimal && !self.point => {
                self.digits.push('.');
                self.point = true;
                read = true;
            }
            _ => {}
        }
        if self.sign.is_some() || self.before + self.behind == 0 {
            return;
        }
        if anchored {
            let mut ahead = self.rest.chars();
            ahead.next();
            if read && let Some(sign @ ('-' | '+')) = ahead.next() {
                self.step();
                self.sign = Some(sign);
            }
        } else if !read
            && (self.format.plus || self.format.minus)
            && let Some(sign @ ('-' | '+')) = self.next()
        {
            self.sign = Some(sign);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, pattern, wanted) in [
            ("12,454.8-", "99G999D9S", "-12454.8"),
            ("-34,338,492.654,878", "99G999G999D999G999", "-34338492.654878"),
            ("0.00001-", "9.999999S", "-0.00001"),
            ("5.01-", "FM9.999999S", "-5.01"),
            ("5.01-", "FM9.999999MI", "-5.01"),
            ("5 4 4 4 4 8 . 7 8", "9 9 9 9 9 9 . 9 9", "544448.78"),
            (".01", "FM9.99", ".01"),
            (".0", "99999999.99999999", ".0"),
            ("$1,234.56", "L99,999.99", "1234.56"),
            ("<15>", "99PR", "-15"),
            ("12", "99", "12"),
            ("1234.56", "L99,999.99", "1234.56"),
            ("42nd", "99th", "42"),
            ("123456", "99999V99", "123456"),
        ] {
            let format = NumberFormat::parse(pattern).expect("a pattern");
            assert_eq!(read(&format, text).expect("a number").text, wanted, "{text} {pattern}");
        }
    }
}
