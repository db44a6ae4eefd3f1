//! What a pattern `^…(…)….*$` finds first in a text: `regexp_replace(x, pattern, '\1')` asks for no more, as what it ends with matches all
//! that is left.
//!
//! Most such patterns take addresses apart, and are texts and runs of characters in which no run can give back what the next
//! part needs. These are followed byte by byte; others are regular expressions.

use std::ops::Range;

use regex::Regex;

use super::compiled;
use super::pattern::{Options, translated};
use crate::error::Result;

pub(super) enum Head {
    Parts(Vec<Part>),
    Regex(Regex),
}

pub(super) enum Part {
    Text {
        bytes: Vec<u8>,
        optional: bool,
    },
    /// As many of these bytes as follow. What stands after it begins with another one.
    Run {
        bytes: Box<[bool; 256]>,
        least: usize,
    },
    GroupBegins,
    GroupEnds,
}

/// Each may double the ways through a text.
const OPTIONAL_MAX: usize = 4;

impl Head {
    /// `None` for a pattern of another form.
    pub(super) fn new(pattern: &str) -> Result<Option<Self>> {
        let head = pattern.strip_suffix(".*$");
        let Some(head) = head.filter(|head| head.starts_with('^') && !head.contains('|') && !head.ends_with('\\'))
        else {
            return Ok(None);
        };
        Ok(Some(match parts(&head[1..]) {
            Some(parts) => Self::Parts(parts),
            None => Self::Regex(compiled(&translated(head, Options::default())?)?),
        }))
    }

    /// Where the first group is, which is empty for one that took no part; `None` if the pattern does not match.
    pub(super) fn first_group(&self, text: &str) -> Option<Range<usize>> {
        match self {
            Self::Parts(parts) => {
                let mut group = 0..0;
                follow(parts, text.as_bytes(), 0, &mut group).then_some(group)
            }
            Self::Regex(regex) => {
                let mut places = regex.capture_locations();
                regex.captures_read(&mut places, text)?;
                Some(places.get(1).map_or(0..0, |(begin, end)| begin..end))
            }
        }
    }
}

fn follow(parts: &[Part], text: &[u8], mut at: usize, group: &mut Range<usize>) -> bool {
    for (place, part) in parts.iter().enumerate() {
        match part {
            Part::GroupBegins => group.start = at,
            Part::GroupEnds => group.end = at,
            Part::Text { bytes, optional } => match (text[at..].starts_with(bytes), optional) {
                (true, false) => at += bytes.len(),
                (false, false) => return false,
                (true, true) => {
                    let before = group.clone();
                    if follow(&parts[place + 1..], text, at + bytes.len(), group) {
                        return true;
                    }
                    *group = before;
                }
                (false, true) => {}
            },
            Part::Run { bytes, least } => {
                let rest = text[at..].iter();
                let length = rest.take_while(|byte| bytes[usize::from(**byte)]).count();
                if length < *least {
                    return false;
                }
                at += length;
            }
        }
    }
    true
}

/// The parts of a pattern of that kind, with at most one group.
fn parts(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = pattern.chars().peekable();
    let mut groups = 0;
    while let Some(character) = rest.next() {
        let part = match character {
            '(' if rest.next_if_eq(&'?').is_some() => {
                rest.next_if_eq(&':')?;
                let mut bytes = String::new();
                loop {
                    match rest.next()? {
                        ')' => break,
                        '\\' => bytes.push(rest.next().filter(|next| !next.is_alphanumeric())?),
                        other => bytes.push(itself(other)?),
                    }
                }
                text(bytes)
            }
            '(' => {
                groups += 1;
                parts.push(Part::GroupBegins);
                continue;
            }
            ')' => {
                parts.push(Part::GroupEnds);
                match rest.peek() {
                    Some('*' | '+' | '?' | '{') => return None,
                    _ => continue,
                }
            }
            '[' => Part::Run {
                bytes: Box::new(bracket(&mut rest)?),
                least: 1,
            },
            '.' => Part::Run {
                bytes: Box::new([true; 256]),
                least: 1,
            },
            '\\' => text(rest.next().filter(|next| !next.is_alphanumeric())?.into()),
            other => text(itself(other)?.into()),
        };
        let quantifier = rest.next_if(|next| matches!(next, '*' | '+' | '?' | '{'));
        parts.push(match (part, quantifier) {
            (Part::Text { bytes, .. }, None | Some('?')) => Part::Text {
                bytes,
                optional: quantifier.is_some(),
            },
            (Part::Run { bytes, .. }, Some('+')) => Part::Run { bytes, least: 1 },
            (Part::Run { bytes, .. }, Some('*')) => Part::Run { bytes, least: 0 },
            _ => return None,
        });
        if quantifier.is_some() && matches!(rest.peek(), Some('*' | '+' | '?' | '{')) {
            return None;
        }
    }
    let is_followed = (0..parts.len()).all(|place| runs_out(&parts[place..]));
    let optional = parts
        .iter()
        .filter(|part| matches!(part, Part::Text { optional: true, .. }));
    let is_closed = parts.iter().filter(|part| matches!(part, Part::GroupEnds)).count() == groups;
    (groups <= 1 && is_closed && is_followed && optional.count() <= OPTIONAL_MAX).then_some(parts)
}

/// Whether the first of these parts, if it is a run, takes nothing that what follows needs.
fn runs_out(parts: &[Part]) -> bool {
    let Some((Part::Run { bytes: run, .. }, rest)) = parts.split_first() else {
        return true;
    };
    let mut rest = rest.iter();
    match rest.find(|part| matches!(part, Part::Text { .. } | Part::Run { .. })) {
        None => true,
        Some(Part::Text { bytes, optional: false }) => bytes.first().is_some_and(|byte| !run[usize::from(*byte)]),
        Some(_) => false,
    }
}

fn text(text: String) -> Part {
    Part::Text {
        bytes: text.into_bytes(),
        optional: false,
    }
}

/// A character that stands for itself.
fn itself(character: char) -> Option<char> {
    (!"^$.*+?()[]{}|\\".contains(character)).then_some(character)
}

/// What follows `[`: characters and ranges of ASCII, or all but these.
fn bracket(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<[bool; 256]> {
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut named = [false; 256];
    let mut is_empty = true;
    loop {
        let first = match rest.next()? {
            ']' if !is_empty => break,
            ']' | '[' | '\\' | '-' => return None,
            other => other,
        };
        is_empty = false;
        let last = match rest.next_if_eq(&'-') {
            Some(_) => rest.next().filter(|last| !matches!(last, ']' | '[' | '\\'))?,
            None => first,
        };
        if !first.is_ascii() || !last.is_ascii() || last < first {
            return None;
        }
        named[first as usize..=last as usize].fill(true);
    }
    // The bytes of other characters are none of them.
    Some(named.map(|named| named != is_negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_regular_expressions_find() {
        let patterns = [
            ("^https?://(?:www\\.)?([^/]+)/", true),
            ("^([a-z]+):", true),
            ("^a?a?(b*)c", false),
            ("^a?a?(b)", true),
            ("^([^/]*)", true),
            ("^x([^/]+)é", false),
            ("^(?:ab)?(a?)b", true),
            ("^(.*)", true),
            ("^(.*)/", false),
            ("^([^/]+)+/", false),
            ("^(a)(b)", false),
            ("^\\d(a)", false),
        ];
        let texts = [
            "http://www.example.org/a/b",
            "https://example.org/",
            "http://www./",
            "http://",
            "ab:c",
            "aab",
            "ab",
            "b",
            "aaac",
            "xñé/",
            "",
            "abab/é",
        ];
        for (pattern, is_simple) in patterns {
            let head = Head::new(&format!("{pattern}.*$")).unwrap().unwrap();
            assert_eq!(matches!(head, Head::Parts(_)), is_simple, "{pattern}");
            let regex = Head::Regex(compiled(&translated(pattern, Options::default()).unwrap()).unwrap());
            for text in texts {
                let found = |head: &Head| head.first_group(text).map(|group| text[group].to_owned());
                assert_eq!(found(&head), found(&regex), "{pattern} in {text}");
            }
        }
    }
}
