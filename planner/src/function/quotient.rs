//! Quotients of numerics with PostgreSQL's digits, and what is computed from sums with them: `avg`, `variance`, `stddev`.
//!
//! PostgreSQL rounds a quotient to at least 16 significant digits, counted in groups of four, and to no fewer digits than
//! its operands have (`select_div_scale` in `numeric.c`). The values here are rounded at that place, so that they are
//! PostgreSQL's. They are kept with one scale for the whole column, which is enough for quotients down to 0.00000001; smaller
//! ones have fewer digits. Where 38 digits cannot hold them they are `Decimal256`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Builder, Decimal256Builder, Int64Array};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Int64Type, i256,
};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::math::numeric_overflow;
use super::native::Columns;
use crate::error::{Error, ErrorKind, Result};

pub(crate) const NUMERIC_DIVIDE: &str = "staffa_divide";
pub(crate) const NUMERIC_VARIANCE: &str = "staffa_variance";
pub(crate) const NUMERIC_DEVIATION: &str = "staffa_deviation";

/// Digits after the point that quotients have at least: PostgreSQL's of those above 0.00000001.
const PLACES: u8 = 24;
/// Those of averages, which are seldom smaller than 0.0001 without being 0.
const PLACES_OF_AVERAGES: u8 = 20;
/// Those of quotients that need 256 bits anyway.
const PLACES_WIDE: u8 = 28;

/// `dividend / divisor` of two numerics.
pub(crate) fn numeric_quotient(dividend: Expr, divisor: Expr) -> Expr {
    call(Quotient::Plain, vec![dividend, divisor])
}

/// `sum / count` of a sum of numerics that have so many digits before the point.
pub(crate) fn numeric_average(sum: Expr, count: Expr, whole: u8) -> Expr {
    call(Quotient::Average { whole }, vec![sum, count])
}

/// The variance, or its root, of `count` (bigint) numerics with these sums of themselves and of their squares.
pub(crate) fn numeric_variance(count: Expr, sum: Expr, squares: Expr, sample: bool, root: bool) -> Expr {
    call(Quotient::Variance { sample, root }, vec![count, sum, squares])
}

fn call(quotient: Quotient, args: Vec<Expr>) -> Expr {
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let func = Arc::new(ScalarUDF::from(Divide { quotient, signature }));
    Expr::ScalarFunction(ScalarFunction { func, args })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Quotient {
    Plain,
    Average { whole: u8 },
    Variance { sample: bool, root: bool },
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Divide {
    quotient: Quotient,
    signature: Signature,
}

impl ScalarUDFImpl for Divide {
    fn name(&self) -> &str {
        match self.quotient {
            Quotient::Plain | Quotient::Average { .. } => NUMERIC_DIVIDE,
            Quotient::Variance { root: false, .. } => NUMERIC_VARIANCE,
            Quotient::Variance { root: true, .. } => NUMERIC_DEVIATION,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        let wrong = || Error::internal("a quotient has numeric operands");
        let parts = |at: usize| types.get(at).and_then(parts_of).ok_or_else(wrong);
        Ok(match self.quotient {
            Quotient::Plain => {
                let ((precision, scale), (_, divisor_scale)) = (parts(0)?, parts(1)?);
                let whole = precision.saturating_sub(scale).saturating_add(divisor_scale);
                quotient_type(whole, scale.max(divisor_scale), PLACES)
            }
            Quotient::Average { whole } => quotient_type(whole, parts(0)?.1, PLACES_OF_AVERAGES),
            Quotient::Variance { .. } => {
                let (precision, scale) = parts(2)?;
                quotient_type(precision - scale, scale, PLACES_WIDE)
            }
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Columns::evaluate(&args, |columns| match self.quotient {
            Quotient::Plain | Quotient::Average { .. } => quotients(columns),
            Quotient::Variance { sample, root } => variances(columns, sample, root),
        })
    }
}

/// Precision and scale.
fn parts_of(ty: &DataType) -> Option<(u8, u8)> {
    match ty {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some(match u8::try_from(*scale) {
                Ok(scale) => (*precision, scale),
                // Zeros before the point.
                Err(_) => (precision.saturating_add(scale.unsigned_abs()), 0),
            })
        }
        _ => None,
    }
}

/// The type of quotients with so many digits before the point and at least `scale` behind it.
fn quotient_type(whole: u8, scale: u8, places: u8) -> DataType {
    let narrow = places.max(scale);
    if whole + narrow <= DECIMAL128_MAX_PRECISION {
        return DataType::Decimal128(whole + narrow, narrow as i8);
    }
    let wide = PLACES_WIDE
        .max(scale)
        .min(DECIMAL256_MAX_PRECISION.saturating_sub(whole))
        .max(16);
    DataType::Decimal256((whole + wide).min(DECIMAL256_MAX_PRECISION), wide as i8)
}

/// One operand's column.
struct Operand<'a> {
    values: Values<'a>,
    scale: i32,
}

enum Values<'a> {
    Narrow(&'a arrow::array::Decimal128Array),
    Wide(&'a arrow::array::Decimal256Array),
}

impl<'a> Operand<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self> {
        let (values, scale) = match array.data_type() {
            DataType::Decimal128(_, scale) => (Values::Narrow(array.as_primitive::<Decimal128Type>()), *scale),
            DataType::Decimal256(_, scale) => (Values::Wide(array.as_primitive::<Decimal256Type>()), *scale),
            _ => return Err(super::native::wrong_type(array)),
        };
        Ok(Self {
            values,
            scale: i32::from(scale),
        })
    }

    fn narrow(&self, row: usize) -> Option<i128> {
        match self.values {
            Values::Narrow(values) => Some(values.value(row)),
            Values::Wide(_) => None,
        }
    }

    fn wide(&self, row: usize) -> i256 {
        match self.values {
            Values::Narrow(values) => i256::from_i128(values.value(row)),
            Values::Wide(values) => values.value(row),
        }
    }
}

/// Where results go: rows of the result's type.
enum Builder {
    Narrow(Decimal128Builder, u32),
    Wide(Decimal256Builder, u32),
}

impl Builder {
    fn new(ty: &DataType, rows: usize) -> Result<(Self, i32)> {
        Ok(match ty {
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::with_capacity(rows).with_data_type(ty.clone());
                (Self::Narrow(builder, u32::from(*precision)), i32::from(*scale))
            }
            DataType::Decimal256(precision, scale) => {
                let builder = Decimal256Builder::with_capacity(rows).with_data_type(ty.clone());
                (Self::Wide(builder, u32::from(*precision)), i32::from(*scale))
            }
            other => return Err(Error::internal(format!("a quotient of type {other}"))),
        })
    }

    fn null(&mut self) {
        match self {
            Self::Narrow(builder, _) => builder.append_null(),
            Self::Wide(builder, _) => builder.append_null(),
        }
    }

    fn narrow(&mut self, value: i128) -> Result<()> {
        match self {
            Self::Narrow(builder, precision) => {
                if value.unsigned_abs() >= 10_u128.pow(*precision) {
                    return Err(numeric_overflow());
                }
                builder.append_value(value);
            }
            Self::Wide(builder, _) => builder.append_value(i256::from_i128(value)),
        }
        Ok(())
    }

    fn wide(&mut self, value: i256) -> Result<()> {
        match self {
            Self::Narrow(..) => {
                let value = value.to_i128().ok_or_else(numeric_overflow)?;
                self.narrow(value)
            }
            Self::Wide(builder, precision) => {
                if value.wrapping_abs() >= ten_to(*precision).ok_or_else(numeric_overflow)? {
                    return Err(numeric_overflow());
                }
                builder.append_value(value);
                Ok(())
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Narrow(mut builder, _) => Arc::new(builder.finish()),
            Self::Wide(mut builder, _) => Arc::new(builder.finish()),
        }
    }
}

fn quotients(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (dividend, divisor) = (Operand::of(&columns.arrays[0])?, Operand::of(&columns.arrays[1])?);
    let (mut builder, scale) = Builder::new(columns.result, columns.rows)?;
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.null();
            continue;
        }
        let (left, right) = (columns.at(0, row), columns.at(1, row));
        if let (Some(left), Some(right)) = (dividend.narrow(left), divisor.narrow(right)) {
            if right == 0 {
                return Err(division_by_zero());
            }
            if let Some(quotient) = narrow_quotient(left, dividend.scale, right, divisor.scale, scale) {
                builder.narrow(quotient)?;
                continue;
            }
        }
        let (left, right) = (dividend.wide(left), divisor.wide(right));
        if right == i256::ZERO {
            return Err(division_by_zero());
        }
        builder.wide(wide_quotient(left, dividend.scale, right, divisor.scale, scale)?)?;
    }
    Ok(builder.finish())
}

fn division_by_zero() -> Error {
    Error::new(ErrorKind::DivisionByZero, "division by zero")
}

/// The quotient with `scale` digits behind the point, of which only PostgreSQL's are other than zero. `None`: a number on the
/// way needs more than 128 bits.
fn narrow_quotient(left: i128, left_scale: i32, right: i128, right_scale: i32, scale: i32) -> Option<i128> {
    let negative = (left < 0) != (right < 0);
    let (left, right) = (left.unsigned_abs(), right.unsigned_abs());
    let places = i32::max(
        places_by_groups(leading(left, left_scale), leading(right, right_scale)),
        i32::max(own_places(left, left_scale), own_places(right, right_scale)),
    )
    .min(scale);
    let shift = places + right_scale - left_scale;
    let power = 10_u128.checked_pow(shift.unsigned_abs())?;
    let (left, right) = match shift >= 0 {
        true => (left.checked_mul(power)?, right),
        false => (left, right.checked_mul(power)?),
    };
    let (quotient, rest) = (left / right, left % right);
    // Half away from zero.
    let quotient = quotient + u128::from(rest >= right - rest);
    let quotient = quotient.checked_mul(10_u128.checked_pow((scale - places).unsigned_abs())?)?;
    let quotient = i128::try_from(quotient).ok()?;
    Some(if negative { -quotient } else { quotient })
}

fn wide_quotient(left: i256, left_scale: i32, right: i256, right_scale: i32, scale: i32) -> Result<i256> {
    let negative = left.is_negative() != right.is_negative();
    let (left, right) = (left.wrapping_abs(), right.wrapping_abs());
    let places = i32::max(
        places_by_groups(leading_wide(left, left_scale), leading_wide(right, right_scale)),
        i32::max(
            own_places_wide(left, left_scale, LONG_SCALE),
            own_places_wide(right, right_scale, LONG_SCALE),
        ),
    )
    .min(scale);
    let quotient = rounded_quotient(left, right, places + right_scale - left_scale)?;
    let power = ten_to((scale - places).unsigned_abs()).ok_or_else(numeric_overflow)?;
    let quotient = quotient.checked_mul(power).ok_or_else(numeric_overflow)?;
    Ok(if negative { quotient.wrapping_neg() } else { quotient })
}

/// `left * 10^shift / right` of numbers that are not negative, rounded half away from zero.
fn rounded_quotient(left: i256, right: i256, shift: i32) -> Result<i256> {
    let power = ten_to(shift.unsigned_abs());
    let whole = match shift >= 0 {
        true => power.and_then(|power| Some((left.checked_mul(power)?, right))),
        false => power.and_then(|power| Some((left, right.checked_mul(power)?))),
    };
    let (quotient, rest, divisor) = match whole {
        Some((left, right)) => (left.wrapping_div(right), left.wrapping_rem(right), right),
        // Digit by digit: only the quotient has to fit.
        None if shift >= 0 => {
            let ten = i256::from_i128(10);
            let (mut quotient, mut rest) = (left.wrapping_div(right), left.wrapping_rem(right));
            for _ in 0..shift {
                rest = rest.checked_mul(ten).ok_or_else(numeric_overflow)?;
                quotient = quotient
                    .checked_mul(ten)
                    .and_then(|quotient| quotient.checked_add(rest.wrapping_div(right)))
                    .ok_or_else(numeric_overflow)?;
                rest = rest.wrapping_rem(right);
            }
            (quotient, rest, right)
        }
        // The divisor is larger than any dividend.
        None => (i256::ZERO, i256::ZERO, i256::ONE),
    };
    let up = rest >= divisor.wrapping_sub(rest);
    Ok(if up { quotient.wrapping_add(i256::ONE) } else { quotient })
}

/// Where a number begins in PostgreSQL's groups of four digits: the place of the first group that is not 0 (0 stands
/// directly before the point), and that group.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lead {
    group: i32,
    first: u32,
}

impl Lead {
    const ZERO: Self = Self { group: 0, first: 0 };

    /// Of a number whose first digit has this decimal place. `first` gets the place of the group's last digit.
    fn at(place: i32, first: impl FnOnce(i32) -> u32) -> Self {
        let group = place.div_euclid(4);
        Self {
            group,
            first: first(4 * group),
        }
    }
}

fn leading(value: u128, scale: i32) -> Lead {
    let Some(digits) = value.checked_ilog10() else {
        return Lead::ZERO;
    };
    Lead::at(digits as i32 - scale, |place| {
        let unit = place + scale;
        let power = 10_u128.pow(unit.unsigned_abs());
        // A group has four digits.
        (if unit >= 0 { value / power } else { value * power }) as u32
    })
}

fn leading_wide(value: i256, scale: i32) -> Lead {
    if let Some(value) = value.to_i128() {
        return leading(value.unsigned_abs(), scale);
    }
    // More digits than 128 bits hold: those before the last group of it do not change the lead.
    let power = ten_to(40).unwrap_or(i256::ONE);
    let high = value.wrapping_div(power).to_i128().unwrap_or(i128::MAX).unsigned_abs();
    if high >= 10_000 {
        return leading(high, scale - 40);
    }
    let power = ten_to(32).unwrap_or(i256::ONE);
    let high = value.wrapping_div(power).to_i128().unwrap_or(i128::MAX).unsigned_abs();
    leading(high, scale - 32)
}

/// `select_div_scale`
fn places_by_groups(left: Lead, right: Lead) -> i32 {
    let group = left.group - right.group - i32::from(left.first <= right.first);
    (16 - 4 * group).max(0)
}

/// Scale from which zeros at a value's end are the column's, not its own: so long ones are seldom declared.
const LONG_SCALE: i32 = 10;

/// The digits behind the point a value has of itself.
fn own_places(value: u128, scale: i32) -> i32 {
    if scale < LONG_SCALE {
        return scale;
    }
    let (mut value, mut scale) = (value, scale);
    while scale > 0 && value.is_multiple_of(10) {
        value /= 10;
        scale -= 1;
    }
    scale
}

fn own_places_wide(value: i256, scale: i32, long: i32) -> i32 {
    if scale < long {
        return scale;
    }
    let ten = i256::from_i128(10);
    let (mut value, mut scale) = (value, scale);
    while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
        value = value.wrapping_div(ten);
        scale -= 1;
    }
    scale
}

fn ten_to(exponent: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(exponent)
}

fn variances(columns: &Columns<'_>, sample: bool, root: bool) -> Result<ArrayRef> {
    let counts: &Int64Array = columns.arrays[0].as_primitive::<Int64Type>();
    let (sums, squares) = (Operand::of(&columns.arrays[1])?, Operand::of(&columns.arrays[2])?);
    let (mut builder, scale) = Builder::new(columns.result, columns.rows)?;
    for row in 0..columns.rows {
        let count = match columns.is_null(0, row) {
            true => 0,
            false => counts.value(columns.at(0, row)),
        };
        if columns.any_null(row) || count <= i64::from(sample) {
            builder.null();
            continue;
        }
        let (sum, squares_sum) = (sums.wide(columns.at(1, row)), squares.wide(columns.at(2, row)));
        let numbers = Moments {
            count: i256::from_i128(i128::from(count)),
            sum,
            squares: squares_sum,
            scale: squares.scale,
        };
        builder.wide(numbers.variance(sample, root, scale)?)?;
    }
    Ok(builder.finish())
}

/// What `numeric_stddev_internal` computes from. The sum has half the scale.
struct Moments {
    count: i256,
    sum: i256,
    squares: i256,
    scale: i32,
}

impl Moments {
    fn variance(&self, sample: bool, root: bool, scale: i32) -> Result<i256> {
        let product = |left: i256, right: i256| left.checked_mul(right).ok_or_else(numeric_overflow);
        let spread = product(self.count, self.squares)?.wrapping_sub(product(self.sum, self.sum)?);
        if spread <= i256::ZERO {
            return Ok(i256::ZERO);
        }
        let fewer = if sample {
            self.count.wrapping_sub(i256::ONE)
        } else {
            self.count
        };
        let pairs = product(self.count, fewer)?;
        let places = places_by_groups(leading_wide(spread, self.scale), leading_wide(pairs, 0))
            // Squares have twice the digits.
            .max(own_places_wide(spread, self.scale, 2 * LONG_SCALE))
            .min(scale);
        let mut places = places;
        let result = loop {
            let variance = rounded_quotient(spread, pairs, places - self.scale)?;
            if !root {
                break variance;
            }
            // As many digits as the square of the root has in 256 bits.
            let power = ten_to(places.unsigned_abs());
            match power.and_then(|power| variance.checked_mul(power)) {
                Some(square) => break rounded_root(square),
                None if places > 0 => places -= 1,
                None => return Err(numeric_overflow()),
            }
        };
        let power = ten_to((scale - places).unsigned_abs()).ok_or_else(numeric_overflow)?;
        product(result, power)
    }
}

/// The whole number nearest to the root, by Newton's method from above.
fn rounded_root(square: i256) -> i256 {
    if square <= i256::ZERO {
        return i256::ZERO;
    }
    let two = i256::from_i128(2);
    let bits = 256 - square.leading_zeros();
    let mut root = i256::ONE << (bits.div_ceil(2) as u8);
    loop {
        let next = root.wrapping_add(square.wrapping_div(root)).wrapping_div(two);
        if next >= root {
            break;
        }
        root = next;
    }
    // `root` is the largest whose square is not more: the next one is nearer when more than half a step is left.
    match square.wrapping_sub(root.wrapping_mul(root)) > root {
        true => root.wrapping_add(i256::ONE),
        false => root,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotient and scale of what PostgreSQL 15 shows, with zeros cut off at the end.
    fn quotient(left: i128, left_scale: i32, right: i128, right_scale: i32) -> (i128, i128) {
        let narrow = narrow_quotient(left, left_scale, right, right_scale, 24).expect("fits");
        let wide = wide_quotient(
            i256::from_i128(left),
            left_scale,
            i256::from_i128(right),
            right_scale,
            24,
        )
        .expect("fits")
        .to_i128()
        .expect("fits");
        (narrow, wide)
    }

    #[test]
    fn digits_of_postgres() {
        let both = |value| (value, value);
        // 1.0 / 3: twenty digits; 10 / 4.0: sixteen; 1000000 / 7: twelve; 1 / 30000: twenty-four
        assert_eq!(quotient(10, 1, 3, 0), both(333_333_333_333_333_333_330_000));
        assert_eq!(quotient(10, 0, 40, 1), both(2_500_000_000_000_000_000_000_000));
        assert_eq!(
            quotient(1_000_000, 0, 7, 0),
            both(142_857_142_857_142_857 * 10_i128.pow(12))
        );
        assert_eq!(quotient(1, 0, 30_000, 0), both(33_333_333_333_333_333_333));
        assert_eq!(quotient(-2, 0, 3, 0), both(-666_666_666_666_666_666_670_000));
    }

    #[test]
    fn roots_are_rounded() {
        let root = |square: i128| rounded_root(i256::from_i128(square)).to_i128();
        assert_eq!(
            [root(0), root(1), root(2), root(3), root(6), root(7)],
            [0, 1, 1, 2, 2, 3].map(Some)
        );
        assert_eq!(root(10_i128.pow(38)), Some(10_i128.pow(19)));
    }

    #[test]
    fn leads() {
        assert_eq!(leading(12_345, 0), Lead { group: 1, first: 1 });
        assert_eq!(leading(12_345, 4), Lead { group: 0, first: 1 });
        assert_eq!(leading(5, 1), Lead { group: -1, first: 5000 });
        assert_eq!(leading(5, 5), Lead { group: -2, first: 5000 });
        let wide = i256::from_i128(123_456).wrapping_mul(ten_to(60).expect("fits"));
        assert_eq!(leading_wide(wide, 60), Lead { group: 1, first: 12 });
        assert_eq!(leading_wide(wide, 64), Lead { group: 0, first: 12 });
    }
}
