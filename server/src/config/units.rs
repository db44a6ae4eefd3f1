//! Sizes and times as people write them.

use std::time::Duration;

/// `4GiB`, `512 MB`, `65536`: KiB, MiB, GiB, TiB count in 1024s, kB, MB, GB, TB in 1000s, a bare number is bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a size like 512MiB or 4GiB";
    let (number, unit) = split(text).ok_or(EXPECTED)?;
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(EXPECTED.to_owned()),
    };
    let bytes = number * factor;
    if bytes > i64::MAX as f64 {
        return Err("the size is too large".to_owned());
    }
    Ok(bytes as u64)
}

/// `30s`, `500ms`, `5min`, `1h`, `2d`; a bare number is seconds; `off` is `None`.
pub(crate) fn duration(text: &str) -> Result<Option<Duration>, String> {
    const EXPECTED: &str = "expected a time like 30s, 500ms, 5min or off";
    if matches!(text.trim().to_ascii_lowercase().as_str(), "off" | "none" | "never") {
        return Ok(None);
    }
    let (number, unit) = split(text).ok_or(EXPECTED)?;
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "" | "s" | "sec" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return Err(EXPECTED.to_owned()),
    };
    // A hundred years: timers add this to the clock and must not overflow it.
    if seconds > 100.0 * 366.0 * 86_400.0 {
        return Err("the time is too long".to_owned());
    }
    Ok(Some(Duration::from_secs_f64(seconds)))
}

/// A number that is not negative, and the word after it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))
        .unwrap_or(text.len());
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim()))
}

/// The largest unit of 1024s that leaves a short number.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() == 0.0 {
        format!("{value:.0}{}", UNITS[unit])
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}
