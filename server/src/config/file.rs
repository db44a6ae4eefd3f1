//! `staffa.toml`: its keys are those of the list of settings, `s3.region` being `region` in the table `[s3]`.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::cli::Failure;

use super::options::{OPTIONS, OptionSpec, find};

/// One line of the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) spec: &'static OptionSpec,
    pub(super) text: String,
    pub(super) line: usize,
}

/// Reads the whole file; `path` is for messages only.
pub(super) fn read(path: &Path, content: &str) -> Result<Vec<Entry>, Failure> {
    let table = DeTable::parse(content).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(content, span.start));
        Failure::new(format!(
            "{}:{line}: {}",
            path.display(),
            error.message().replace('\n', "; ")
        ))
    })?;
    let mut entries = Vec::new();
    collect(path, content, "", table.get_ref(), &mut entries)?;
    // The map has no order of its own; errors should name the first line that is wrong.
    entries.sort_by_key(|entry| entry.as_ref().map_or_else(|(line, _)| *line, |entry| entry.line));
    entries
        .into_iter()
        .map(|entry| entry.map_err(|(_, failure)| failure))
        .collect()
}

type Found = Result<Entry, (usize, Failure)>;

fn collect(
    path: &Path,
    content: &str,
    prefix: &str,
    table: &DeTable<'_>,
    entries: &mut Vec<Found>,
) -> Result<(), Failure> {
    for (key, value) in table.iter() {
        let line = line_of(content, key.span().start);
        let name = format!("{prefix}{}", key.get_ref());
        let is_section = OPTIONS.iter().any(|spec| spec.key.starts_with(&format!("{name}.")));
        if let DeValue::Table(inner) = value.get_ref()
            && is_section
        {
            collect(path, content, &format!("{name}."), inner, entries)?;
            continue;
        }
        let fail = |message: String| (line, Failure::new(format!("{}:{line}: {message}", path.display())));
        let Some(spec) = find(&name) else {
            let mut message = format!("unknown key {name:?}");
            if let Some(near) = nearest(&name) {
                message.push_str(&format!(", did you mean {near:?}?"));
            }
            entries.push(Err(fail(message)));
            continue;
        };
        entries.push(match text_of(value.get_ref()) {
            Some(text) => Ok(Entry { spec, text, line }),
            None => Err(fail(format!(
                "{name} must be a text, a number or true/false, not {}",
                value.get_ref().type_str()
            ))),
        });
    }
    Ok(())
}

fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect();
            Some(texts?.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_of(content: &str, byte: usize) -> usize {
    content.as_bytes().iter().take(byte).filter(|b| **b == b'\n').count() + 1
}

/// A known key that differs by a typing mistake or two.
fn nearest(name: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .map(|spec| (distance(name, spec.key), spec.key))
        .filter(|(distance, key)| *distance <= 2.max(key.len() / 4))
        .min()
        .map(|(_, key)| key)
}

/// Levenshtein's: insertions, deletions and replacements from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
