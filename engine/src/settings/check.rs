//! Values of settings: checked, and put in the form SHOW prints.

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
            let number: i64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            if number < least || number > greatest {
                return Err(invalid_message(format!(
                    "{number} is outside the valid range for parameter \"{name}\" ({least} .. {greatest})"
                )));
            }
            Ok(number.to_string())
        }
        Kind::Milliseconds => {
            let number = milliseconds(value).map_err(|hint| match hint {
                Some(hint) => invalid(name, value).with_hint(hint),
                None => invalid(name, value),
            })?;
            Ok(show_milliseconds(number))
        }
        Kind::Choice(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
            Some(word) => Ok((*word).to_owned()),
            None => Err(invalid(name, value).with_hint(format!("Available values: {}.", words.join(", ")))),
        },
        Kind::Only(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
            Some(word) => Ok((*word).to_owned()),
            None => Err(
                Error::unsupported(format!("parameter \"{name}\" cannot be set to \"{value}\""))
                    .with_hint(format!("Available values: {}.", words.join(", "))),
            ),
        },
        // `refuse_read_only` has been asked before.
        Kind::ReadOnly => Err(invalid(name, value)),
        Kind::TimeZone => time_zone(name, value),
        Kind::DateStyle => date_style(name, value),
        Kind::SearchPath => match split_identifiers(value) {
            Some(_) => Ok(value.to_owned()),
            None => Err(invalid(name, value).with_detail("List syntax is invalid.")),
        },
        Kind::Encoding => match value.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
            "utf8" | "unicode" => Ok("UTF8".to_owned()),
            _ => Err(invalid(name, value).with_hint("Staffa speaks UTF8 only.")),
        },
    }
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
pub(super) fn milliseconds(value: &str) -> Result<u64, Option<&'static str>> {
    let value = value.trim();
    let digits = value
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
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
    let milliseconds = (number * factor).round();
    if milliseconds > f64::from(i32::MAX) {
        return Err(None);
    }
    Ok(milliseconds as u64)
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
    fixed_offset(value).ok_or_else(|| {
        invalid(name, value).with_hint("Use a name of the tz database such as \"Europe/Berlin\", or \"UTC\".")
    })
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
            _ => return Err(invalid(name, value).with_detail("Unrecognized key word.")),
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
