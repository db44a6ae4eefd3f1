//! Values of settings: checked, and put in the form SHOW prints.

use std::ops::RangeInclusive;

use staffa_planner::value::{ByteaOutput, DateOrder, FormatSettings};
use staffa_planner::{Error, ErrorKind, Result};

use super::{Kind, Settings};

pub(super) fn normalise(name: &str, kind: Kind, value: &str) -> Result<String> {
    match kind {
        Kind::Text => Ok(value.to_owned()),
        Kind::Boolean => {
            let on = boolean(value)
                .ok_or_else(|| invalid_message(format!("parameter \"{name}\" requires a Boolean value")))?;
            Ok(if on { "on" } else { "off" }.to_owned())
        }
        Kind::Integer(least, greatest) => {
            let number: f64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            let number = rounded(number).ok_or_else(|| invalid(name, value))?;
            within(name, value, number, least..=greatest, "")?;
            Ok(number.to_string())
        }
        Kind::Real(least, greatest) => {
            let number: f64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            if !(least..=greatest).contains(&number) {
                return Err(invalid_message(format!(
                    "{} is outside the valid range for parameter \"{name}\" ({} .. {})",
                    general(number),
                    general(least),
                    general(greatest)
                )));
            }
            Ok(general(number))
        }
        Kind::Kilobytes(least, greatest) => memory(name, value, 1, least, greatest),
        Kind::Pages(least, greatest) => memory(name, value, 8, least, greatest),
        Kind::Milliseconds => {
            let number = milliseconds(value).map_err(|hint| match hint {
                Some(hint) => invalid(name, value).with_hint(hint),
                None => invalid(name, value),
            })?;
            within(name, value, number, 0..=i32::MAX.into(), " ms")?;
            Ok(show_milliseconds(number.unsigned_abs()))
        }
        Kind::Choice(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
            Some(word) => Ok((*word).to_owned()),
            None => Err(not_among(name, value, words)),
        },
        Kind::Only([word @ ("on" | "off")]) => match boolean(value) {
            Some(on) if on == (*word == "on") => Ok((*word).to_owned()),
            Some(_) => Err(not_here(name, value, &[word])),
            None => Err(invalid_message(format!(
                "parameter \"{name}\" requires a Boolean value"
            ))),
        },
        Kind::Only(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
            Some(word) => Ok((*word).to_owned()),
            None if name == "IntervalStyle"
                && !INTERVAL_STYLES.iter().any(|style| style.eq_ignore_ascii_case(value)) =>
            {
                Err(not_among("intervalstyle", value, INTERVAL_STYLES))
            }
            // The locales of the system, of which there are none.
            None if name.starts_with("lc_") => Err(invalid(name, value)),
            None => Err(not_here(name, value, words)),
        },
        // `refuse_read_only` has been asked before.
        Kind::ReadOnly => Err(invalid(name, value)),
        Kind::TimeZone => time_zone(name, value),
        Kind::DateStyle => date_style(name, value),
        Kind::SearchPath => match split_identifiers(value) {
            Some(_) => Ok(value.to_owned()),
            None => Err(invalid(name, value).with_detail("List syntax is invalid.")),
        },
        // As PostgreSQL reads such names: by their letters and digits alone.
        Kind::Encoding => match value
            .to_ascii_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "")
            .as_str()
        {
            "utf8" | "unicode" => Ok("UTF8".to_owned()),
            _ => Err(invalid(name, value)),
        },
    }
}

/// What PostgreSQL can set `IntervalStyle` to.
const INTERVAL_STYLES: &[&str] = &["postgres", "postgres_verbose", "sql_standard", "iso_8601"];
/// Other names of values, which are not shown.
const HIDDEN: &[&str] = &["debug", "info"];

fn not_among(name: &str, value: &str, words: &[&str]) -> Error {
    let shown: Vec<&str> = words.iter().copied().filter(|word| !HIDDEN.contains(word)).collect();
    invalid(name, value).with_hint(format!("Available values: {}.", shown.join(", ")))
}

/// A value PostgreSQL has and Staffa has not.
fn not_here(name: &str, value: &str, words: &[&str]) -> Error {
    Error::unsupported(format!("parameter \"{name}\" cannot be set to \"{value}\""))
        .with_hint(format!("Available values: {}.", words.join(", ")))
}

fn within(name: &str, value: &str, number: i64, range: RangeInclusive<i64>, unit: &str) -> Result<()> {
    if range.contains(&number) {
        return Ok(());
    }
    if i32::try_from(number).is_err() {
        return Err(invalid(name, value).with_hint("Value exceeds integer range."));
    }
    let (least, greatest) = range.into_inner();
    Err(invalid_message(format!(
        "{number}{unit} is outside the valid range for parameter \"{name}\" ({least} .. {greatest})"
    )))
}

/// To the nearest whole number; `None` of one that no setting can be.
fn rounded(number: f64) -> Option<i64> {
    let number = number.round_ties_even();
    (number.abs() < 1e15).then_some(number as i64)
}

/// As C's `%g` prints it: six digits.
fn general(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        let places = usize::try_from(5 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.places$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

fn memory(name: &str, value: &str, unit: i64, least: i64, greatest: i64) -> Result<String> {
    let number = kilobytes(value, unit).map_err(|hint| match hint {
        Some(hint) => invalid(name, value).with_hint(hint),
        None => invalid(name, value),
    })?;
    let shown = if unit == 1 { " kB" } else { " 8kB" };
    within(name, value, number, least..=greatest, shown)?;
    let number = number * unit;
    let shown = [(1 << 20, "GB"), (1 << 10, "MB")]
        .into_iter()
        .find(|(size, _)| number != 0 && number % size == 0);
    Ok(match shown {
        Some((size, unit)) => format!("{}{unit}", number / size),
        None if number <= 0 => number.to_string(),
        None => format!("{number}kB"),
    })
}

/// How many times `unit` kilobytes `64`, `64kB` or `1.5 GB` are; the error is a hint to add.
pub(super) fn kilobytes(value: &str, unit: i64) -> Result<i64, Option<&'static str>> {
    let value = value.trim();
    let end = value
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(value.len());
    let (number, suffix) = value.split_at(end);
    let number: f64 = number.parse().map_err(|_| None)?;
    let unit = unit as f64;
    let number = match suffix.trim() {
        "" => number,
        "B" => number / 1024.0 / unit,
        "kB" => number / unit,
        "MB" => number * 1024.0 / unit,
        "GB" => number * 1_048_576.0 / unit,
        "TB" => number * 1_073_741_824.0 / unit,
        _ => {
            return Err(Some(
                "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
            ));
        }
    };
    rounded(number).ok_or(None)
}

/// How PostgreSQL reads a Boolean: any unambiguous prefix.
fn boolean(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let prefix_of = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    if value == "1" || prefix_of("true", 1) || prefix_of("yes", 1) || prefix_of("on", 2) {
        Some(true)
    } else if value == "0" || prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) {
        Some(false)
    } else {
        None
    }
}

/// Milliseconds of `1500`, `1.5s`, `2 min`; the error is a hint to add.
pub(super) fn milliseconds(value: &str) -> Result<i64, Option<&'static str>> {
    let value = value.trim();
    let digits = value
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let number: f64 = number.parse().map_err(|_| None)?;
    let factor = match unit.trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1e3,
        "min" => 60e3,
        "h" => 3_600e3,
        "d" => 86_400e3,
        _ => {
            return Err(Some(
                "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
            ));
        }
    };
    rounded(number * factor).ok_or(None)
}

/// The largest unit that says it exactly, as SHOW does.
fn show_milliseconds(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    if milliseconds == 0 {
        return "0".to_owned();
    }
    match UNITS.iter().find(|(size, _)| milliseconds.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", milliseconds / size),
        None => format!("{milliseconds}ms"),
    }
}

/// A zone of the tz database, in its own spelling, or a fixed offset in hours east of UTC as `SET TIME ZONE 2` gives.
fn time_zone(name: &str, value: &str) -> Result<String> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("local") || value.eq_ignore_ascii_case("default") {
        return Ok("UTC".to_owned());
    }
    if let Some(zone) = chrono_tz::TZ_VARIANTS
        .iter()
        .find(|zone| zone.name().eq_ignore_ascii_case(value))
    {
        return Ok(zone.name().to_owned());
    }
    fixed_offset(value).ok_or_else(|| invalid(name, value))
}

/// `+02:00`, `-05:30`, `2`, `-5.5`: as `+HH:MM`.
fn fixed_offset(value: &str) -> Option<String> {
    let minutes = if let Some((hours, minutes)) = value.split_once(':') {
        let sign = if hours.starts_with('-') { -1 } else { 1 };
        let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok()?;
        let minutes: i32 = minutes.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
        sign * (hours.checked_mul(60)? + minutes)
    } else {
        let hours: f64 = value.parse().ok().filter(|hours: &f64| hours.is_finite())?;
        (hours * 60.0).round() as i32
    };
    // As PostgreSQL: no more than 15:59 from UTC; chrono takes less than a day.
    (minutes.abs() < 16 * 60).then(|| {
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    })
}

fn date_style(name: &str, value: &str) -> Result<String> {
    let mut order = "MDY";
    for word in value.split(',').map(str::trim) {
        match word.to_ascii_lowercase().as_str() {
            "iso" => {}
            "mdy" | "us" | "noneuro" | "noneuropean" => order = "MDY",
            "dmy" | "euro" | "european" => order = "DMY",
            "ymd" => order = "YMD",
            "default" => order = "MDY",
            "sql" | "postgres" | "german" => {
                return Err(
                    Error::unsupported(format!("parameter \"{name}\" cannot be set to \"{value}\"")).with_hint(
                        "Dates are printed in ISO style; the order MDY, DMY or YMD can be chosen for input.",
                    ),
                );
            }
            _ => {
                let detail = format!("Unrecognized key word: \"{word}\".");
                return Err(invalid(name, value).with_detail(detail));
            }
        }
    }
    Ok(format!("ISO, {order}"))
}

/// Identifiers of a comma-separated list, folded as PostgreSQL folds; `None` when it is not such a list.
pub(super) fn split_identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) = quoted_identifier(quoted)?;
            names.push(name);
            rest = after;
        } else {
            let end = rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            names.push(rest[..end].to_lowercase());
            rest = &rest[end..];
        }
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => return rest.is_empty().then_some(names),
        }
    }
}

/// The name after an opening quote, and what follows the closing one.
fn quoted_identifier(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let quote = rest.find('"')?;
        name.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, rest)),
        }
    }
}

pub(super) fn format_settings(settings: &Settings) -> Result<FormatSettings> {
    let order = match settings.get("datestyle") {
        Some(style) if style.ends_with("DMY") => DateOrder::Dmy,
        Some(style) if style.ends_with("YMD") => DateOrder::Ymd,
        _ => DateOrder::Mdy,
    };
    let output = match settings.get("bytea_output") {
        Some("escape") => ByteaOutput::Escape,
        _ => ByteaOutput::Hex,
    };
    let digits = settings
        .get("extra_float_digits")
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(1);
    FormatSettings::new(settings.time_zone(), order, output, digits)
}

fn invalid(name: &str, value: &str) -> Error {
    invalid_message(format!("invalid value for parameter \"{name}\": \"{value}\""))
}

fn invalid_message(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_the_largest_exact_unit() {
        // As PostgreSQL 15 shows them.
        for (given, shown) in [
            ("1500", "1500ms"),
            ("60000", "1min"),
            ("1.5s", "1500ms"),
            ("2 h", "2h"),
            ("0", "0"),
        ] {
            assert_eq!(
                normalise("statement_timeout", Kind::Milliseconds, given).expect("valid"),
                shown
            );
        }
    }

    #[test]
    fn zones_keep_the_tz_database_spelling() {
        assert_eq!(time_zone("TimeZone", "europe/berlin").expect("known"), "Europe/Berlin");
        assert_eq!(time_zone("TimeZone", "-5.5").expect("offset"), "-05:30");
        assert!(time_zone("TimeZone", "Mars/Olympus").is_err());
    }
}
