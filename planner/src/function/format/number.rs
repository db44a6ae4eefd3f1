//! Numbers written by a pattern such as `FM9,999.00`.
//!
//! The walk over the pattern is that of `NUM_processor` in PostgreSQL's formatting.c, with its names for the flags.

use super::pattern::Case;
use super::print::ordinal_ending;
use crate::error::{Error, ErrorKind, Result};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Nine,
    Zero,
    Point,
    Comma,
    /// `L`: the currency sign, a blank in the locale C.
    Currency,
    Minus,
    Plus,
    Sign,
    Ordinal(Case),
    Text(String),
    /// Works through the flags alone.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SignPlace {
    None,
    Before,
    After,
}

#[derive(Clone, Debug)]
pub(super) struct NumberFormat {
    pub(super) items: Vec<Item>,
    /// Digits before and after the point.
    pre: usize,
    pub(super) post: usize,
    zero_start: Option<usize>,
    zero_end: usize,
    pub(super) decimal: bool,
    pub(super) fill: bool,
    pub(super) sign_place: SignPlace,
    digits_before_sign: usize,
    pub(super) bracket: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) roman: Option<Case>,
    pub(super) shift: Option<u32>,
    pub(super) scientific: bool,
}

const KEYWORDS: &[&str] = &[
    "EEEE", "FM", "MI", "PL", "PR", "RN", "SG", "SP", "TH", "B", "C", "D", "G", "L", "S", "V", "9", "0", ".", ",",
];

impl NumberFormat {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut format = Self {
            items: Vec::new(),
            pre: 0,
            post: 0,
            zero_start: None,
            zero_end: 0,
            decimal: false,
            fill: false,
            sign_place: SignPlace::None,
            digits_before_sign: 0,
            bracket: false,
            minus: false,
            plus: false,
            roman: None,
            shift: None,
            scientific: false,
        };
        let mut rest = text;
        while !rest.is_empty() {
            let word = KEYWORDS.iter().find(|word| {
                rest.get(..word.len())
                    .is_some_and(|start| start == **word || start == word.to_ascii_lowercase())
            });
            if let Some(word) = word {
                let lower = rest.starts_with(|c: char| c.is_ascii_lowercase());
                rest = &rest[word.len()..];
                let item = format.keyword(word, if lower { Case::Lower } else { Case::Upper })?;
                format.items.push(item);
            } else if let Some(quoted) = rest.strip_prefix('"') {
                let end = quoted.find('"').unwrap_or(quoted.len());
                format.items.push(Item::Text(quoted[..end].to_string()));
                rest = quoted.get(end + 1..).unwrap_or("");
            } else {
                let from = rest
                    .strip_prefix('\\')
                    .filter(|after| after.starts_with('"'))
                    .unwrap_or(rest);
                let length = from.chars().next().map_or(0, char::len_utf8);
                format.items.push(Item::Text(from[..length].to_string()));
                rest = &from[length..];
            }
        }
        Ok(format)
    }

    fn keyword(&mut self, word: &str, case: Case) -> Result<Item> {
        let refused = |message: &str| Err(Error::new(ErrorKind::SyntaxError, message));
        if self.scientific {
            return refused("\"EEEE\" must be the last pattern used");
        }
        let other_sign = self.plus || self.minus || self.bracket;
        Ok(match word {
            "9" | "0" if self.bracket => return refused(&format!("\"{word}\" must be ahead of \"PR\"")),
            "9" => {
                match &mut self.shift {
                    Some(shift) => *shift += 1,
                    None if self.decimal => self.post += 1,
                    None => self.pre += 1,
                }
                Item::Nine
            }
            "0" => {
                if self.zero_start.is_none() && !self.decimal {
                    self.zero_start = Some(self.pre);
                }
                if self.decimal {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
                self.zero_end = self.pre + self.post;
                Item::Zero
            }
            "." | "D" => {
                if self.decimal {
                    return refused("multiple decimal points");
                }
                if self.shift.is_some() {
                    return refused("cannot use \"V\" and decimal point together");
                }
                self.decimal = true;
                Item::Point
            }
            "," | "G" => Item::Comma,
            "L" => Item::Currency,
            "FM" => {
                self.fill = true;
                Item::Silent
            }
            "S" => {
                if self.sign_place != SignPlace::None {
                    return refused("cannot use \"S\" twice");
                }
                if other_sign {
                    return refused("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
                }
                if self.decimal {
                    self.sign_place = SignPlace::After;
                } else {
                    self.sign_place = SignPlace::Before;
                    self.digits_before_sign = self.pre;
                }
                Item::Silent
            }
            "MI" | "PL" | "SG" if self.sign_place != SignPlace::None => {
                return refused(&format!("cannot use \"S\" and \"{word}\" together"));
            }
            "MI" => {
                self.minus = true;
                Item::Minus
            }
            "PL" => {
                self.plus = true;
                Item::Plus
            }
            "SG" => {
                self.minus = true;
                self.plus = true;
                Item::Sign
            }
            "PR" => {
                if self.sign_place != SignPlace::None || self.plus || self.minus {
                    return refused("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together");
                }
                self.bracket = true;
                Item::Silent
            }
            "RN" => {
                self.roman = Some(case);
                Item::Silent
            }
            "V" => {
                if self.decimal {
                    return refused("cannot use \"V\" and decimal point together");
                }
                self.shift = Some(0);
                Item::Silent
            }
            "EEEE" => {
                if self.fill
                    || other_sign
                    || self.sign_place != SignPlace::None
                    || self.roman.is_some()
                    || self.shift.is_some()
                {
                    return Err(
                        Error::new(ErrorKind::SyntaxError, "\"EEEE\" is incompatible with other formats")
                            .with_detail("\"EEEE\" may only be used together with digit and decimal point patterns."),
                    );
                }
                self.scientific = true;
                Item::Silent
            }
            "TH" => Item::Ordinal(case),
            // `B`, `C` and `SP` do nothing in PostgreSQL either.
            _ => Item::Silent,
        })
    }

    /// A number of `unscaled * 10^-scale`.
    pub(super) fn write_decimal(&self, unscaled: i128, scale: i8, out: &mut String) -> Result<()> {
        if let Some(case) = self.roman {
            return self.write_roman(rounded(unscaled, scale.into(), 0), case, out);
        }
        if self.scientific {
            let value = unscaled.to_string().parse::<f64>().unwrap_or(f64::NAN) / 10_f64.powi(scale.into());
            self.write_scientific(value, out);
            return Ok(());
        }
        let shift = i32::try_from(self.shift.unwrap_or(0)).unwrap_or(0);
        let post = i32::try_from(self.post).unwrap_or(0);
        // Rounded to the digits that are shown.
        let shown = rounded(unscaled, i32::from(scale) - shift, post);
        let digits = shown.unsigned_abs().to_string();
        let digits = format!("{digits:0>width$}", width = self.post + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.post);
        self.write_digits(shown < 0, whole, fraction, out);
        Ok(())
    }

    /// A float, of which `digits` are significant.
    pub(super) fn write_float(&self, value: f64, digits: usize, out: &mut String) -> Result<()> {
        if let Some(case) = self.roman {
            return self.write_roman(value.round_ties_even() as i128, case, out);
        }
        if self.scientific {
            self.write_scientific(value, out);
            return Ok(());
        }
        if !value.is_finite() {
            let word = if value.is_nan() { "NaN" } else { "Infinity" };
            self.write_digits(value < 0.0, word, "", out);
            return Ok(());
        }
        let value = value * 10_f64.powi(i32::try_from(self.shift.unwrap_or(0)).unwrap_or(0));
        let whole_digits = format!("{:.0}", value.abs()).len();
        let post = self.post.min(digits.saturating_sub(whole_digits));
        let text = format!("{:.post$}", value.abs());
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let fraction = format!("{fraction:0<width$}", width = self.post);
        let zero = whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0');
        self.write_digits(value < 0.0 && !zero, whole, &fraction, out);
        Ok(())
    }

    fn write_scientific(&self, value: f64, out: &mut String) {
        if !value.is_finite() {
            out.extend(std::iter::once(' ').chain(std::iter::repeat_n('#', self.pre + self.post + 1)));
            return;
        }
        let text = format!("{value:.post$e}", post = self.post);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        let blank = if value < 0.0 { "" } else { " " };
        out.push_str(&format!("{blank}{mantissa}e{sign}{:02}", exponent.abs()));
    }

    fn write_roman(&self, value: i128, case: Case, out: &mut String) -> Result<()> {
        let text = match u16::try_from(value) {
            Ok(value @ 1..=3999) => roman(value),
            _ => "#".repeat(15),
        };
        let text = if case == Case::Lower {
            text.to_ascii_lowercase()
        } else {
            text
        };
        out.push_str(&if self.fill { text } else { format!("{text:>15}") });
        Ok(())
    }

    fn write_digits(&self, negative: bool, whole: &str, fraction: &str, out: &mut String) {
        let pre = self.pre + usize::try_from(self.shift.unwrap_or(0)).unwrap_or(0);
        let (number, spaces) = if whole.len() > pre {
            // What does not fit is shown as hashes.
            let mut hashes = "#".repeat(pre);
            if self.decimal || self.post > 0 {
                hashes.push('.');
                hashes.push_str(&"#".repeat(self.post));
            }
            (hashes, 0)
        } else if self.post > 0 {
            (format!("{whole}.{fraction}"), pre - whole.len())
        } else {
            (whole.to_string(), pre - whole.len())
        };
        Walk::new(self, negative, number.into_bytes(), spaces, pre).write(out);
    }
}

/// The unscaled value at another scale, halves away from zero.
fn rounded(unscaled: i128, from: i32, to: i32) -> i128 {
    match u32::try_from(from - to) {
        Ok(dropped) => match 10_i128.checked_pow(dropped) {
            Some(unit) => {
                let (whole, rest) = (unscaled / unit, unscaled % unit);
                let up = unit > 1 && rest.unsigned_abs() * 2 >= unit.unsigned_abs();
                whole + if up { unscaled.signum() } else { 0 }
            }
            None => 0,
        },
        Err(_) => 10_i128
            .checked_pow((to - from).unsigned_abs())
            .and_then(|factor| unscaled.checked_mul(factor))
            .unwrap_or(i128::MAX),
    }
}

fn roman(mut value: u16) -> String {
    const SIGNS: [(u16, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (worth, sign) in SIGNS {
        while value >= worth {
            text.push_str(sign);
            value -= worth;
        }
    }
    text
}

/// The walk over the items with the digits of one number.
struct Walk<'a> {
    format: &'a NumberFormat,
    negative: bool,
    number: Vec<u8>,
    at: usize,
    /// Places of the pattern before the number's first digit.
    spaces: usize,
    sign_place: SignPlace,
    bracket: bool,
    sign_written: bool,
    /// With FM: the last digit that is not a trailing zero.
    last_relevant: Option<usize>,
    count: usize,
    current: usize,
    inside: bool,
}

impl<'a> Walk<'a> {
    fn new(format: &'a NumberFormat, negative: bool, number: Vec<u8>, spaces: usize, pre: usize) -> Self {
        let own_sign = format.plus || format.minus;
        let signed = format.sign_place != SignPlace::None;
        let sign_written = if own_sign {
            !format.plus || format.minus
        } else {
            !negative && format.fill && !signed
        };
        let sign_written = if own_sign && format.plus && !format.minus {
            false
        } else {
            sign_written
        };
        let sign_place = match format.sign_place {
            SignPlace::Before if !own_sign && format.pre == format.digits_before_sign => SignPlace::After,
            place => place,
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let last_relevant = point.filter(|_| format.fill && format.decimal).map(|point| {
            let digit = (point + 1..number.len())
                .rev()
                .find(|at| number[*at] != b'0')
                .unwrap_or(point);
            if format.zero_end > spaces {
                // Digits that a `0` asks for stay.
                digit.max((format.zero_end - spaces).min(number.len().saturating_sub(1)))
            } else {
                digit
            }
        });
        let mut count = (format.post + pre).saturating_sub(1);
        if !sign_written && spaces == 0 {
            count += 1;
        }
        Self {
            format,
            negative,
            number,
            at: 0,
            spaces,
            sign_place,
            bracket: format.bracket && (negative || !format.fill),
            sign_written,
            last_relevant,
            count,
            current: 0,
            inside: false,
        }
    }

    fn write(mut self, out: &mut String) {
        for item in &self.format.items {
            match item {
                Item::Nine | Item::Zero | Item::Point => self.place(item, out),
                Item::Comma if self.inside => out.push(','),
                Item::Comma | Item::Currency if self.format.fill && item == &Item::Comma => {}
                Item::Comma | Item::Currency => out.push(' '),
                Item::Minus if self.negative => out.push('-'),
                Item::Plus if !self.negative => out.push('+'),
                Item::Minus | Item::Plus if self.format.fill => {}
                Item::Minus | Item::Plus => out.push(' '),
                Item::Sign => out.push(if self.negative { '-' } else { '+' }),
                Item::Ordinal(case) => {
                    if !self.negative && !self.format.decimal && self.number.first() != Some(&b'#') {
                        out.push_str(ordinal_ending(&String::from_utf8_lossy(&self.number), *case));
                    }
                }
                Item::Text(text) => out.push_str(text),
                Item::Silent => {}
            }
        }
    }

    /// `0.1` by `9.9` shows a blank for its zero.
    fn is_hidden_zero(&self) -> bool {
        self.format.zero_start.is_none() && self.at == 0 && self.number.first() == Some(&b'0') && self.format.post != 0
    }

    fn ends_at_point(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.number[last] == b'.')
    }

    fn place(&mut self, item: &Item, out: &mut String) {
        self.inside = false;
        self.write_sign_before(out);
        let zeros_from = self.format.zero_start;
        if self.current < self.spaces && zeros_from.is_none_or(|start| start > self.current) {
            if !self.format.fill {
                out.push(' ');
            }
        } else if self.current < self.spaces {
            out.push('0');
            self.inside = true;
        } else {
            self.write_digit(item, out);
        }
        self.write_sign_after(out);
        self.current += 1;
    }

    fn write_sign_before(&mut self, out: &mut String) {
        let reached = self.current >= self.spaces || self.format.zero_start == Some(self.current);
        if self.sign_written || !reached || self.is_hidden_zero() && !self.ends_at_point() {
            return;
        }
        match self.sign_place {
            SignPlace::Before => out.push(if self.negative { '-' } else { '+' }),
            SignPlace::After => return,
            SignPlace::None if self.bracket => out.push(if self.negative { '<' } else { ' ' }),
            SignPlace::None if self.negative => out.push('-'),
            SignPlace::None if !self.format.fill => out.push(' '),
            SignPlace::None => {}
        }
        self.sign_written = true;
    }

    fn write_digit(&mut self, item: &Item, out: &mut String) {
        match self.number.get(self.at) {
            Some(b'.') => out.push('.'),
            None => {}
            Some(_) if self.last_relevant.is_some_and(|last| self.at > last) && item != &Item::Zero => {}
            Some(_) if self.is_hidden_zero() => {
                if !self.format.fill {
                    out.push(' ');
                } else if self.ends_at_point() {
                    out.push('0');
                }
            }
            Some(digit) => {
                out.push(char::from(*digit));
                self.inside = true;
            }
        }
        if self.at < self.number.len() {
            self.at += 1;
        }
    }

    fn write_sign_after(&mut self, out: &mut String) {
        let end = if self.last_relevant == Some(self.at) {
            self.current
        } else {
            self.count + usize::from(self.spaces > 0) + usize::from(self.format.decimal)
        };
        if self.current + 1 != end {
            return;
        }
        if self.sign_written && self.bracket {
            out.push(if self.negative { '>' } else { ' ' });
        } else if self.sign_place == SignPlace::After {
            out.push(if self.negative { '-' } else { '+' });
        }
    }
}
