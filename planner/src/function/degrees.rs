//! Trigonometry, which refuses infinite angles; in degrees exact where degrees are: `sind(30)` is 0.5 (PostgreSQL 15's `float.c`).
//!
//! Each function is scaled by its own value at an angle whose result is known, so rounding of π does not show there.

use std::f64::consts::PI;

use super::math::{binary, one_number, two_floats, unary};
use super::native::Shape;
use crate::error::{Error, ErrorKind, Result};

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("sin", one_number, |columns| unary(columns, |x| finite(x).map(f64::sin))),
    Shape::new("cos", one_number, |columns| unary(columns, |x| finite(x).map(f64::cos))),
    Shape::new("tan", one_number, |columns| unary(columns, |x| finite(x).map(f64::tan))),
    Shape::new("cot", one_number, |columns| {
        unary(columns, |x| finite(x).map(|x| 1.0 / x.tan()))
    }),
    Shape::new("sind", one_number, |columns| unary(columns, |x| finite(x).map(sine))),
    Shape::new("cosd", one_number, |columns| unary(columns, |x| finite(x).map(cosine))),
    Shape::new("tand", one_number, |columns| unary(columns, |x| finite(x).map(tangent))),
    Shape::new("cotd", one_number, |columns| {
        unary(columns, |x| finite(x).map(cotangent))
    }),
    Shape::new("asind", one_number, |columns| {
        unary(columns, |x| within_one(x).map(arc_sine))
    }),
    Shape::new("acosd", one_number, |columns| {
        unary(columns, |x| within_one(x).map(arc_cosine))
    }),
    Shape::new("atand", one_number, |columns| {
        unary(columns, |x| Ok(x.atan() / 1_f64.atan() * 45.0))
    }),
    Shape::new("atan2d", two_floats, |columns| {
        binary(columns, |y, x| Ok(y.atan2(x) / 1_f64.atan() * 45.0))
    }),
];

const RADIANS: f64 = PI / 180.0;

fn out_of_range() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "input is out of range")
}

fn finite(x: f64) -> Result<f64> {
    if x.is_infinite() { Err(out_of_range()) } else { Ok(x) }
}

fn within_one(x: f64) -> Result<f64> {
    if x.abs() > 1.0 { Err(out_of_range()) } else { Ok(x) }
}

/// Of an angle from 0 to 90.
fn sine_of_quadrant(x: f64) -> f64 {
    if x <= 30.0 {
        small_sine(x)
    } else {
        large_cosine(90.0 - x)
    }
}

/// Of an angle from 0 to 90.
fn cosine_of_quadrant(x: f64) -> f64 {
    if x <= 60.0 {
        large_cosine(x)
    } else {
        small_sine(90.0 - x)
    }
}

/// Of an angle from 0 to 30.
fn small_sine(x: f64) -> f64 {
    (x * RADIANS).sin() / (30.0 * RADIANS).sin() / 2.0
}

/// Of an angle from 0 to 60.
fn large_cosine(x: f64) -> f64 {
    let missing = |x: f64| 1.0 - (x * RADIANS).cos();
    1.0 - missing(x) / missing(60.0) / 2.0
}

fn sine(x: f64) -> f64 {
    let (mut x, mut sign) = (x % 360.0, 1.0);
    if x < 0.0 {
        (x, sign) = (-x, -sign);
    }
    if x > 180.0 {
        (x, sign) = (360.0 - x, -sign);
    }
    if x > 90.0 {
        x = 180.0 - x;
    }
    sign * sine_of_quadrant(x)
}

fn cosine(x: f64) -> f64 {
    let (mut x, mut sign) = ((x % 360.0).abs(), 1.0);
    if x > 180.0 {
        x = 360.0 - x;
    }
    if x > 90.0 {
        (x, sign) = (180.0 - x, -sign);
    }
    sign * cosine_of_quadrant(x)
}

/// The angle within the first quadrant, and the sign its tangent has.
fn folded(x: f64) -> (f64, f64) {
    let (mut x, mut sign) = (x % 360.0, 1.0);
    if x < 0.0 {
        (x, sign) = (-x, -sign);
    }
    if x > 180.0 {
        (x, sign) = (360.0 - x, -sign);
    }
    if x > 90.0 {
        (x, sign) = (180.0 - x, -sign);
    }
    (x, sign)
}

fn tangent(x: f64) -> f64 {
    let of = |x: f64| sine_of_quadrant(x) / cosine_of_quadrant(x);
    let (x, sign) = folded(x);
    // No negative zero.
    sign * (of(x) / of(45.0)) + 0.0
}

fn cotangent(x: f64) -> f64 {
    let of = |x: f64| cosine_of_quadrant(x) / sine_of_quadrant(x);
    let (x, sign) = folded(x);
    sign * (of(x) / of(45.0)) + 0.0
}

fn arc_sine(x: f64) -> f64 {
    let of = |x: f64| match x <= 0.5 {
        true => x.asin() / 0.5_f64.asin() * 30.0,
        false => 90.0 - x.acos() / 0.5_f64.acos() * 60.0,
    };
    if x < 0.0 { -of(-x) } else { of(x) }
}

fn arc_cosine(x: f64) -> f64 {
    let of = |x: f64| match x <= 0.5 {
        true => 90.0 - x.asin() / 0.5_f64.asin() * 30.0,
        false => x.acos() / 0.5_f64.acos() * 60.0,
    };
    if x < 0.0 { 180.0 - of(-x) } else { of(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_angles() {
        for (angle, sin, cos) in [
            (0.0, 0.0, 1.0),
            (30.0, 0.5, 0.866_025_403_784_438_7),
            (90.0, 1.0, 0.0),
            (-450.0, -1.0, 0.0),
        ] {
            assert_eq!((sine(angle), cosine(angle)), (sin, cos), "{angle}");
        }
        assert_eq!((tangent(45.0), tangent(135.0), cotangent(-45.0)), (1.0, -1.0, -1.0));
        assert_eq!((arc_sine(0.5), arc_cosine(0.5), arc_cosine(-1.0)), (30.0, 60.0, 180.0));
    }
}
