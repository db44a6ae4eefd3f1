//! Functions of regular expressions, and what puts PostgreSQL's patterns into the form operators read.
//!
//! The first of several alternatives that matches is taken, where PostgreSQL takes the longest.

mod head;
mod pattern;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int32Builder, ListBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use regex::{CaptureLocations, Regex};

use self::head::Head;
use self::pattern::{Options, of_similar, translated};
use super::datetime::{TEXT, is_integer, is_text};
use super::native::{Columns, Resolved, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::supervision::Asked;
use crate::types::ELEMENT_NAME;

/// A pattern as the operator `~` reads it.
pub(crate) const PATTERN: &str = "staffa_pattern";
/// `substring(x from pattern)`
pub(crate) const SUBSTRING: &str = "staffa_substring";
/// All matches in one array, to be unnested.
pub(crate) const MATCHES: &str = "staffa_matches";

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new(PATTERN, |types| typed(types, "t", 1, TEXT), pattern),
    Shape::new("similar_to_escape", |types| typed(types, "tt", 1, TEXT), similar),
    Shape::new(SUBSTRING, |types| typed(types, "tt", 2, TEXT), substring),
    Shape::new("regexp_like", |types| typed(types, "ttt", 2, DataType::Boolean), like),
    Shape::new("regexp_count", |types| typed(types, "ttit", 2, DataType::Int32), count),
    Shape::new(
        "regexp_instr",
        |types| typed(types, "ttiiiti", 2, DataType::Int32),
        position,
    ),
    Shape::new("regexp_substr", |types| typed(types, "ttiiti", 2, TEXT), part),
    Shape::new(
        "regexp_match",
        |types| typed(types, "ttt", 2, texts_type()),
        first_match,
    ),
    Shape::new(MATCHES, |types| typed(types, "ttt", 2, list_of(texts_type())), matches),
    Shape::new(
        "regexp_split_to_array",
        |types| typed(types, "ttt", 2, texts_type()),
        split,
    ),
    Shape::new("regexp_replace", replace_types, replace),
];

/// Arguments by their kinds, `t` for a text and `i` for an integer; those behind the first `least` may be left out.
fn typed(types: &[DataType], kinds: &str, least: usize, result: DataType) -> Resolved {
    if types.len() < least || types.len() > kinds.len() {
        return None;
    }
    let kinds = kinds.chars().zip(types);
    let arguments = kinds.map(|(kind, ty)| match kind {
        't' => is_text(ty).then_some(TEXT),
        _ => is_integer(ty).then_some(DataType::Int32),
    });
    Some((arguments.collect::<Option<_>>()?, result))
}

fn replace_types(types: &[DataType]) -> Resolved {
    typed(types, "tttt", 3, TEXT).or_else(|| typed(types, "tttiit", 4, TEXT))
}

fn element(ty: DataType) -> FieldRef {
    Arc::new(Field::new(ELEMENT_NAME, ty, true))
}

fn list_of(ty: DataType) -> DataType {
    DataType::List(element(ty))
}

fn texts_type() -> DataType {
    list_of(TEXT)
}

/// The programs of patterns: one that stays the same is made once.
#[derive(Default)]
struct Programs<'a> {
    last: Option<(&'a str, &'a str, Arc<Program>)>,
}

struct Program {
    regex: Regex,
    global: bool,
    /// Does the same where all is replaced by the first group.
    head: Option<Head>,
}

impl<'a> Programs<'a> {
    fn of(&mut self, pattern: &'a str, flags: &'a str) -> Result<Arc<Program>> {
        // Constants are in one place for all rows.
        let same = |known: &str, text: &str| std::ptr::eq(known, text) || known == text;
        if let Some((known, known_flags, program)) = &self.last
            && same(known, pattern)
            && same(known_flags, flags)
        {
            return Ok(Arc::clone(program));
        }
        let program = Arc::new(Program::new(pattern, flags)?);
        self.last = Some((pattern, flags, Arc::clone(&program)));
        Ok(program)
    }

    /// For a function that looks at one match only, or at all.
    fn without_global(&mut self, pattern: &'a str, flags: &'a str, function: &str) -> Result<Arc<Program>> {
        let program = self.of(pattern, flags)?;
        if program.global {
            let message = format!("{function}() does not support the \"global\" option");
            let error = Error::new(ErrorKind::InvalidParameterValue, message);
            return Err(match function {
                "regexp_match" => error.with_hint("Use the regexp_matches function instead."),
                _ => error,
            });
        }
        Ok(program)
    }
}

impl Program {
    fn new(pattern: &str, flags: &str) -> Result<Self> {
        let options = Options::of(flags)?;
        let regex = compiled(&translated(pattern, options)?)?;
        let head = match flags.is_empty() {
            true => Head::new(pattern)?,
            false => None,
        };
        Ok(Self {
            regex,
            global: options.global,
            head,
        })
    }
}

fn compiled(translated: &str) -> Result<Regex> {
    Regex::new(translated).map_err(|error| {
        let text = error.to_string();
        let has = |part: &str| text.contains(part);
        pattern::invalid(if has("unclosed group") || has("unopened group") {
            "parentheses () not balanced"
        } else if has("repetition operator missing expression") {
            "quantifier operand invalid"
        } else if has("unclosed character class") {
            "brackets [] not balanced"
        } else if has("invalid character class range") {
            "invalid character range"
        } else if has("size limit") {
            "regular expression is too complex"
        } else {
            "invalid regexp"
        })
    })
}

/// Matches from a byte on, each as PostgreSQL looks for the next one: after the one before, or a character further when that
/// was empty.
fn each_match(
    regex: &Regex,
    text: &str,
    start: usize,
    mut found: impl FnMut(&CaptureLocations, (usize, usize)) -> ControlFlow<()>,
) {
    let mut places = regex.capture_locations();
    let mut at = start;
    while at <= text.len() {
        if regex.captures_read_at(&mut places, text, at).is_none() {
            return;
        }
        let Some((begin, end)) = places.get(0) else { return };
        if found(&places, (begin, end)).is_break() {
            return;
        }
        at = if begin == end { after(text, end) } else { end };
    }
}

/// The byte behind the character that begins here; behind the end, one more.
fn after(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

/// The byte of a place counted in characters from 1; `None` behind the text's end.
fn byte_of(text: &str, start: i64) -> Result<Option<usize>> {
    let Ok(skipped) = usize::try_from(start - 1) else {
        return Err(out_of_bounds("start", start));
    };
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    Ok(places.nth(skipped))
}

fn out_of_bounds(parameter: &str, value: i64) -> Error {
    let message = format!("invalid value for parameter \"{parameter}\": {value}");
    Error::new(ErrorKind::InvalidParameterValue, message)
}

/// An argument that can be left out.
fn optional<'a>(columns: &'a Columns<'_>, index: usize, row: usize) -> Result<&'a str> {
    if index < columns.len() {
        columns.text(index, row)
    } else {
        Ok("")
    }
}

fn optional_number(columns: &Columns<'_>, index: usize, row: usize, default: i64) -> Result<i64> {
    if index < columns.len() {
        columns.int(index, row)
    } else {
        Ok(default)
    }
}

/// A text for every row without NULLs.
fn texts(
    columns: &Columns<'_>,
    mut compute: impl FnMut(usize, &mut StringViewBuilder) -> Result<()>,
) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        match columns.any_null(row) {
            true => builder.append_null(),
            false => compute(row, &mut builder)?,
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn integers(columns: &Columns<'_>, mut compute: impl FnMut(usize) -> Result<usize>) -> Result<ArrayRef> {
    let mut builder = Int32Builder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        match columns.any_null(row) {
            true => builder.append_null(),
            false => builder.append_value(i32::try_from(compute(row)?).unwrap_or(i32::MAX)),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn pattern(columns: &Columns<'_>) -> Result<ArrayRef> {
    texts(columns, |row, out| {
        let translated = translated(columns.text(0, row)?, Options::default())?;
        compiled(&translated)?;
        out.append_value(translated);
        Ok(())
    })
}

fn similar(columns: &Columns<'_>) -> Result<ArrayRef> {
    texts(columns, |row, out| {
        let escape = match columns.len() {
            1 => Some('\\'),
            _ => {
                let mut characters = columns.text(1, row)?.chars();
                let escape = characters.next();
                if characters.next().is_some() {
                    let error = Error::new(ErrorKind::InvalidEscapeSequence, "invalid escape string");
                    return Err(error.with_hint("Escape string must be empty or one character."));
                }
                escape
            }
        };
        out.append_value(of_similar(columns.text(0, row)?, escape)?);
        Ok(())
    })
}

/// The first group, or all of a pattern without groups.
fn substring(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    texts(columns, |row, out| {
        let text = columns.text(0, row)?;
        let program = programs.of(columns.text(1, row)?, "")?;
        let regex = &program.regex;
        let group = usize::from(regex.captures_len() > 1);
        let found = regex.captures(text).and_then(|groups| groups.get(group));
        out.append_option(found.map(|found| found.as_str()));
        Ok(())
    })
}

fn like(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    let mut builder = BooleanBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let program = programs.without_global(columns.text(1, row)?, optional(columns, 2, row)?, "regexp_like")?;
        builder.append_value(program.regex.is_match(columns.text(0, row)?));
    }
    Ok(Arc::new(builder.finish()))
}

/// `regexp_count(text, pattern, start, flags)`
fn count(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    integers(columns, |row| {
        let text = columns.text(0, row)?;
        let start = byte_of(text, optional_number(columns, 2, row, 1)?)?;
        let program = programs.without_global(columns.text(1, row)?, optional(columns, 3, row)?, "regexp_count")?;
        let mut matches = 0;
        if let Some(start) = start {
            each_match(&program.regex, text, start, |_, _| {
                matches += 1;
                ControlFlow::Continue(())
            });
        }
        Ok(matches)
    })
}

/// Where the n-th match, or a group of it, is.
fn nth(regex: &Regex, text: &str, start: i64, number: i64, group: i64) -> Result<Option<(usize, usize)>> {
    let start = byte_of(text, start)?;
    if number <= 0 {
        return Err(out_of_bounds("n", number));
    }
    let Ok(group) = usize::try_from(group) else {
        return Err(out_of_bounds("subexpr", group));
    };
    let Some(start) = start else { return Ok(None) };
    let (mut seen, mut place) = (0, None);
    each_match(regex, text, start, |places, _| {
        seen += 1;
        if seen < number {
            return ControlFlow::Continue(());
        }
        place = places.get(group);
        ControlFlow::Break(())
    });
    Ok(place)
}

/// `regexp_instr(text, pattern, start, n, endoption, flags, subexpr)`
fn position(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    integers(columns, |row| {
        let text = columns.text(0, row)?;
        let number = |index, default| optional_number(columns, index, row, default);
        let behind = match number(4, 0)? {
            0 => false,
            1 => true,
            other => return Err(out_of_bounds("endoption", other)),
        };
        let program = programs.without_global(columns.text(1, row)?, optional(columns, 5, row)?, "regexp_instr")?;
        let place = nth(&program.regex, text, number(2, 1)?, number(3, 1)?, number(6, 0)?)?;
        Ok(place.map_or(0, |(begin, end)| {
            let at = if behind { end } else { begin };
            text[..at].chars().count() + 1
        }))
    })
}

/// `regexp_substr(text, pattern, start, n, flags, subexpr)`
fn part(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    texts(columns, |row, out| {
        let text = columns.text(0, row)?;
        let number = |index, default| optional_number(columns, index, row, default);
        let program = programs.without_global(columns.text(1, row)?, optional(columns, 4, row)?, "regexp_substr")?;
        let place = nth(&program.regex, text, number(2, 1)?, number(3, 1)?, number(5, 0)?)?;
        out.append_option(place.map(|(begin, end)| &text[begin..end]));
        Ok(())
    })
}

/// The groups of a match, or all of a pattern without groups.
fn append_groups(places: &CaptureLocations, text: &str, out: &mut ListBuilder<StringViewBuilder>) {
    let groups = match places.len() {
        1 => 0..1,
        several => 1..several,
    };
    for group in groups {
        let found = places.get(group).map(|(begin, end)| &text[begin..end]);
        out.values().append_option(found);
    }
    out.append(true);
}

fn lists() -> ListBuilder<StringViewBuilder> {
    ListBuilder::new(StringViewBuilder::new()).with_field(element(TEXT))
}

fn first_match(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    let mut builder = lists();
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let program = programs.without_global(columns.text(1, row)?, optional(columns, 2, row)?, "regexp_match")?;
        let text = columns.text(0, row)?;
        let mut found = false;
        each_match(&program.regex, text, 0, |places, _| {
            found = true;
            append_groups(places, text, &mut builder);
            ControlFlow::Break(())
        });
        if !found {
            builder.append_null();
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn matches(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    let mut builder = ListBuilder::new(lists()).with_field(element(texts_type()));
    for row in 0..columns.rows {
        // No row at all comes of a NULL.
        if columns.any_null(row) {
            builder.append(true);
            continue;
        }
        let program = programs.of(columns.text(1, row)?, optional(columns, 2, row)?)?;
        let text = columns.text(0, row)?;
        each_match(&program.regex, text, 0, |places, _| {
            append_groups(places, text, builder.values());
            match program.global {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// What stands between the matches. Empty ones at the start, the end and behind another one do not split.
fn split(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    let mut builder = lists();
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let flags = optional(columns, 2, row)?;
        let program = programs.without_global(columns.text(1, row)?, flags, "regexp_split_to_array")?;
        let text = columns.text(0, row)?;
        let mut from = 0;
        each_match(&program.regex, text, 0, |_, (begin, end)| {
            if begin < text.len() && end > from {
                builder.values().append_value(&text[from..begin]);
                from = end;
            }
            ControlFlow::Continue(())
        });
        builder.values().append_value(&text[from..]);
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// Of a replaced text: itself, as it grows, and in the column.
const COPIES: u64 = 3;

/// `regexp_replace(text, pattern, replacement, flags)` and `regexp_replace(text, pattern, replacement, start, n, flags)`
fn replace(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut programs = Programs::default();
    let mut replaced = String::new();
    let numbered = columns.len() > 3 && columns.arrays[3].data_type() != &TEXT;
    texts(columns, |row, out| {
        let text = columns.text(0, row)?;
        let replacement = columns.text(2, row)?;
        let program = programs.of(
            columns.text(1, row)?,
            optional(columns, if numbered { 5 } else { 3 }, row)?,
        )?;
        let (start, number) = match numbered {
            false => (Some(0), i64::from(!program.global)),
            true => {
                let start = byte_of(text, columns.int(3, row)?)?;
                let number = optional_number(columns, 4, row, i64::from(!program.global))?;
                if number < 0 {
                    return Err(out_of_bounds("n", number));
                }
                (start, number)
            }
        };
        let Some(start) = start else {
            out.append_value(text);
            return Ok(());
        };
        if let (Some(head), "\\1", 0, 1) = (&program.head, replacement, start, number) {
            out.append_value(head.first_group(text).map_or(text, |group| &text[group]));
            return Ok(());
        }
        replaced.clear();
        let (mut copied, mut seen) = (0, 0);
        let (mut asked, mut refused) = (Asked::default(), None);
        each_match(&program.regex, text, start, |places, (begin, end)| {
            seen += 1;
            if number > 0 && seen < number {
                return ControlFlow::Continue(());
            }
            replaced.push_str(&text[copied..begin]);
            append_replacement(replacement, places, text, &mut replaced);
            copied = end;
            if let Err(error) = asked.grow_to(COPIES * replaced.len() as u64) {
                refused = Some(error);
                return ControlFlow::Break(());
            }
            match number {
                0 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        if let Some(error) = refused {
            return Err(error);
        }
        match copied == 0 && replaced.is_empty() {
            true => out.append_value(text),
            false => {
                replaced.push_str(&text[copied..]);
                out.append_value(&replaced);
            }
        }
        Ok(())
    })
}

/// The replacement with `\1` to `\9`, `\&` and `\\` filled in.
fn append_replacement(replacement: &str, places: &CaptureLocations, text: &str, out: &mut String) {
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let group = match rest.chars().next() {
            Some(digit @ '1'..='9') => digit.to_digit(10),
            Some('&') => Some(0),
            Some('\\') => {
                out.push('\\');
                rest = &rest[1..];
                continue;
            }
            // Any other backslash is a character.
            _ => {
                out.push('\\');
                continue;
            }
        };
        rest = &rest[1..];
        if let Some((begin, end)) = group.and_then(|group| places.get(group as usize)) {
            out.push_str(&text[begin..end]);
        }
    }
    out.push_str(rest);
}
