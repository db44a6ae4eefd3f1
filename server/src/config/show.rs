//! `staffa config show`: every setting, its value and where it came from.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::options::Kind;
use super::{Config, OPTIONS, RawConfig, units};

/// Prints a table; values that were worked out (a share of memory, an address of a name) show what they came to.
pub(crate) fn show(raw: &RawConfig, config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<[String; 3]> = OPTIONS
        .iter()
        .map(|spec| match raw.value(spec.key) {
            Some(value) if spec.secret => [spec.key.to_owned(), "***".to_owned(), value.origin.to_string()],
            Some(value) if spec.kind == Kind::Url => [
                spec.key.to_owned(),
                staffa::shown_catalog(&value.text),
                value.origin.to_string(),
            ],
            Some(value) => {
                let mut text = value.text.clone();
                if let Some(resolved) = worked_out(spec.key, config)
                    && resolved != text
                {
                    text.push_str(&format!(" = {resolved}"));
                }
                [spec.key.to_owned(), text, value.origin.to_string()]
            }
            None => [spec.key.to_owned(), "-".to_owned(), "not set".to_owned()],
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    match raw.file() {
        Some(path) => writeln!(out, "configuration file: {}", path.display())?,
        None => writeln!(out, "configuration file: none")?,
    }
    for [key, text, origin] in &rows {
        writeln!(out, "{key:first$}  {text:second$}  {origin}")?;
    }
    Ok(())
}

fn worked_out(key: &str, config: &Config) -> Option<String> {
    match key {
        "memory_limit" => Some(units::show_size(config.memory_limit_bytes)),
        "listen" => Some(joined(&config.listen)),
        "health" if !config.health.is_empty() => Some(joined(&config.health)),
        "rest" if !config.rest.is_empty() => Some(joined(&config.rest)),
        _ => None,
    }
}

fn joined(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}
