//! Dates, times and timestamps as text, DateStyle ISO.

use bytes::BytesMut;

use super::{
    DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY,
    Zone, civil_from_days,
};
use crate::value::number::{write_two, write_unsigned};

/// Writes a date: days since 1970-01-01.
pub(in crate::value) fn write_date(days: i32, out: &mut BytesMut) {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        DATE_NEG_INFINITY => out.extend_from_slice(b"-infinity"),
        days => {
            let before_christ = write_day(i64::from(days), out);
            write_era(before_christ, out);
        }
    }
}

/// Writes a time of day in microseconds.
pub(in crate::value) fn write_time(micros: i64, out: &mut BytesMut) {
    write_clock(micros.unsigned_abs(), out);
}

/// Writes a timestamp: microseconds since 1970-01-01.
pub(in crate::value) fn write_timestamp(micros: i64, out: &mut BytesMut) {
    if write_infinity(micros, out) {
        return;
    }
    let before_christ = write_moment(
        micros.div_euclid(MICROS_PER_DAY),
        micros.rem_euclid(MICROS_PER_DAY),
        out,
    );
    write_era(before_christ, out);
}

/// Writes a moment as the zone's clock shows it, with the offset.
pub(in crate::value) fn write_timestamptz(micros: i64, zone: &Zone, out: &mut BytesMut) {
    if write_infinity(micros, out) {
        return;
    }
    let offset = zone.offset_at(micros);
    // Day and time apart, so that the first and last moments do not overflow.
    let time = micros.rem_euclid(MICROS_PER_DAY) + i64::from(offset) * MICROS_PER_SECOND;
    let day = micros.div_euclid(MICROS_PER_DAY) + time.div_euclid(MICROS_PER_DAY);
    let before_christ = write_moment(day, time.rem_euclid(MICROS_PER_DAY), out);
    write_offset(offset, out);
    write_era(before_christ, out);
}

/// Writes `hh:mm:ss` and what there is of a fraction; hours may be many.
pub(in crate::value) fn write_clock(micros: u64, out: &mut BytesMut) {
    let seconds = micros / 1_000_000;
    let (hours, seconds) = (seconds / 3600, (seconds % 3600) as u32);
    if hours < 100 {
        write_two(hours as u32, out);
    } else {
        write_unsigned(hours, out);
    }
    out.extend_from_slice(b":");
    write_two(seconds / 60, out);
    out.extend_from_slice(b":");
    write_two(seconds % 60, out);
    let fraction = (micros % 1_000_000) as u32;
    if fraction != 0 {
        out.extend_from_slice(b".");
        let start = out.len();
        write_two(fraction / 10_000, out);
        write_two(fraction / 100 % 100, out);
        write_two(fraction % 100, out);
        let kept = out[start..]
            .iter()
            .rposition(|&digit| digit != b'0')
            .map_or(0, |at| at + 1);
        out.truncate(start + kept);
    }
}

fn write_infinity(micros: i64, out: &mut BytesMut) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.extend_from_slice(b"infinity"),
        TIMESTAMP_NEG_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

fn write_moment(day: i64, time: i64, out: &mut BytesMut) -> bool {
    let before_christ = write_day(day, out);
    out.extend_from_slice(b" ");
    write_clock(time.unsigned_abs(), out);
    before_christ
}

/// Writes `yyyy-mm-dd`; true when ` BC` has to follow at the end.
fn write_day(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil_from_days(days);
    let shown = if year > 0 { year } else { 1 - year }.unsigned_abs();
    if shown < 10_000 {
        write_two((shown / 100) as u32, out);
        write_two((shown % 100) as u32, out);
    } else {
        write_unsigned(shown, out);
    }
    out.extend_from_slice(b"-");
    write_two(month, out);
    out.extend_from_slice(b"-");
    write_two(day, out);
    year <= 0
}

fn write_era(before_christ: bool, out: &mut BytesMut) {
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// Writes `+hh`, with minutes and seconds where they are not zero.
fn write_offset(offset: i32, out: &mut BytesMut) {
    out.extend_from_slice(if offset < 0 { b"-" } else { b"+" });
    let seconds = offset.unsigned_abs();
    write_two(seconds / 3600, out);
    if !seconds.is_multiple_of(3600) {
        out.extend_from_slice(b":");
        write_two(seconds / 60 % 60, out);
        if !seconds.is_multiple_of(60) {
            out.extend_from_slice(b":");
            write_two(seconds % 60, out);
        }
    }
}
