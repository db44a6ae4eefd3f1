//! Decimal numbers of any length, as text: sign, digits, point.

use std::cmp::Ordering;

/// A number taken apart; zeros that say nothing are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digits<'a> {
    pub negative: bool,
    /// Before the point, without leading zeros.
    pub whole: &'a str,
    /// After it, without trailing zeros.
    pub fraction: &'a str,
}

impl<'a> Digits<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        Self {
            negative: negative && !(whole.is_empty() && fraction.is_empty()),
            whole,
            fraction,
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    /// Where the first digit that counts stands: 1 for 1 to 9, 0 for 0.1 to 0.9, -1 for 0.01, …
    fn exponent(&self) -> i32 {
        let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
        match self.whole.is_empty() {
            false => length(self.whole),
            true => -length(&self.fraction[..self.fraction.len() - self.fraction.trim_start_matches('0').len()]),
        }
    }

    /// Bytes that compare as numbers do, none of which is the beginning of another.
    pub(crate) fn write_ordered(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            out.push(1);
            return;
        }
        let flip = |byte: u8| if self.negative { !byte } else { byte };
        out.push(if self.negative { 0 } else { 2 });
        // With the sign bit turned, i32 compares as bytes.
        let exponent = (self.exponent() as u32) ^ 0x8000_0000;
        out.extend(exponent.to_be_bytes().map(flip));
        let leading = match self.whole.is_empty() {
            true => self.fraction.trim_start_matches('0'),
            false => self.fraction,
        };
        let digits = self.whole.bytes().chain(leading.bytes());
        let mut digits: Vec<u8> = digits.collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        out.extend(digits.into_iter().map(flip));
        out.push(flip(0));
    }
}

pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Digits::of(a), Digits::of(b));
    let length = a.whole.len().cmp(&b.whole.len());
    let size = length.then_with(|| (a.whole, a.fraction).cmp(&(b.whole, b.fraction)));
    match (a.negative, b.negative) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (true, true) => size.reverse(),
        (false, false) => size,
    }
}

/// The number as an integer, rounded half away from zero; `None` when it is too large.
pub(crate) fn rounded(text: &str) -> Option<i64> {
    let digits = Digits::of(text);
    let whole: i128 = match digits.whole {
        "" => 0,
        whole => whole.parse().ok()?,
    };
    let up = digits.fraction.as_bytes().first().is_some_and(|digit| *digit >= b'5');
    let value = whole.checked_add(i128::from(up))?;
    i64::try_from(if digits.negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let ascending = [
            "-100.5",
            "-100",
            "-99",
            "-1.5",
            "-1",
            "-0.5",
            "-0.01",
            "0",
            "0.001",
            "0.0011",
            "0.01",
            "0.1",
            "0.9",
            "1",
            "1.05",
            "1.5",
            "9",
            "10",
            "99.999",
            "100",
            "1000000000000000000000000000000000000000000",
        ];
        for (at, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&other), "{a} {b}");
            }
        }
        for (a, b) in [
            ("1", "1.0"),
            ("0", "0.00"),
            ("10", "10.0"),
            ("0.10", "0.1"),
            ("100", "100.000"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn rounding() {
        for (text, expected) in [
            ("2.5", Some(3)),
            ("-2.5", Some(-3)),
            ("0.49", Some(0)),
            ("99999999999999999999", None),
            ("170141183460469231731687303715884105727.5", None),
        ] {
            assert_eq!(rounded(text), expected);
        }
    }
}
