//! `+ - * / %` and unary minus that refuse what does not fit, as PostgreSQL does, where Arrow would wrap around or yield
//! infinity. Rule `rules/arithmetic.rs` puts them in place of DataFusion's operators.
//!
//! Whole columns go through Arrow's checked kernels; floats through its plain ones, and the result is looked over.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, PrimitiveArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, ErrorKind};

/// `left op right` for two operands of one of these types.
///
/// # Errors
/// Another operator than those five.
pub(crate) fn checked(op: Operator, left: Expr, right: Expr) -> DataFusionResult<Expr> {
    let op = match op {
        Operator::Plus => Op::Add,
        Operator::Minus => Op::Subtract,
        Operator::Multiply => Op::Multiply,
        Operator::Divide => Op::Divide,
        Operator::Modulo => Op::Modulo,
        other => return Err(Error::internal(format!("{other} is not arithmetic")).into()),
    };
    Ok(match has_links(&left, LINKS_MAX) {
        true => lengthened(left, op, right),
        false => call(vec![op], vec![left, right]),
    })
}

/// Operators that stand one below the other. Everything planning does goes through all levels at every level, so longer chains are
/// one operator with many operands. In shorter ones the parts that two of them share are computed once.
const LINKS_MAX: usize = 16;

/// Whether it is a chain of so many operators, or one that is long already.
fn has_links(expression: &Expr, links: usize) -> bool {
    match chained(expression) {
        Some((operator, _)) if operator.ops.len() > 1 => true,
        Some((_, operands)) => links <= 1 || operands.first().is_some_and(|first| has_links(first, links - 1)),
        None => false,
    }
}

/// An operator between operands of ours.
fn chained(expression: &Expr) -> Option<(&Arithmetic, &[Expr])> {
    match expression {
        Expr::ScalarFunction(call) => {
            let operator = call.func.inner().downcast_ref::<Arithmetic>()?;
            (operator.ops != [Op::Negate]).then_some((operator, call.args.as_slice()))
        }
        _ => None,
    }
}

/// A chain as one operator, and one more link of it.
fn lengthened(chain: Expr, op: Op, right: Expr) -> Expr {
    let (mut ops, mut operands) = (vec![op], vec![right]);
    let mut first = chain;
    while let Some((operator, _)) = chained(&first) {
        ops.extend(operator.ops.iter().rev());
        let Expr::ScalarFunction(call) = &mut first else { break };
        operands.extend(call.args.drain(1..).rev());
        let Some(left) = call.args.pop() else { break };
        first = left;
    }
    operands.push(first);
    ops.reverse();
    operands.reverse();
    call(ops, operands)
}

/// `-operand`
pub(crate) fn negated(operand: Expr) -> Expr {
    call(vec![Op::Negate], vec![operand])
}

/// `x` and `k` of `x + k`, `k + x` and `x - k` of whole numbers.
pub(crate) fn plus_constant(expression: &Expr) -> Option<(&Expr, i64)> {
    let Expr::ScalarFunction(function) = expression else {
        return None;
    };
    let ops = function.func.inner().downcast_ref::<Arithmetic>()?.ops.as_slice();
    let number = |operand: &Expr| match operand {
        Expr::Literal(ScalarValue::Int16(Some(number)), _) => Some(i64::from(*number)),
        Expr::Literal(ScalarValue::Int32(Some(number)), _) => Some(i64::from(*number)),
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => Some(*number),
        _ => None,
    };
    match (ops, function.args.as_slice()) {
        ([Op::Add], [left, right]) => match (number(left), number(right)) {
            (_, Some(number)) => Some((left, number)),
            (Some(number), _) => Some((right, number)),
            _ => None,
        },
        ([Op::Subtract], [left, right]) => Some((left, number(right)?.checked_neg()?)),
        _ => None,
    }
}

/// The types whose arithmetic needs a check.
pub(crate) fn is_checked(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64
    )
}

fn call(ops: Vec<Op>, args: Vec<Expr>) -> Expr {
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let func = Arc::new(ScalarUDF::from(Arithmetic { ops, signature }));
    Expr::ScalarFunction(ScalarFunction { func, args })
}

/// The type of an expression: of an operator of ours that of its first operand, and so on to the end of a chain. DataFusion would write the
/// name of every link.
pub(crate) fn type_of_first(expression: &Expr, schema: &DFSchema) -> DataFusionResult<DataType> {
    let mut first = expression;
    while let Expr::ScalarFunction(function) = first
        && function.func.inner().downcast_ref::<Arithmetic>().is_some()
        && let Some(operand) = function.args.first()
    {
        first = operand;
    }
    first.get_type(schema)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
}

/// Operators of a chain that are in the name of the last one.
const NAMED_LEVELS: usize = 16;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    /// Those between the operands, from left to right; or the one before the only operand.
    ops: Vec<Op>,
    signature: Signature,
}

impl Arithmetic {
    /// The operator between its operands. Chains are long: every level writing its own text would copy the ones below, and planning asks
    /// for the name of every level again and again. So what is far below is named by its hash.
    fn write_name(&self, args: &[Expr], levels_left: usize, out: &mut String) {
        let negates = self.ops == [Op::Negate];
        if negates {
            out.push_str("(- ");
        }
        for (at, operand) in args.iter().enumerate() {
            let op = at.checked_sub(1).and_then(|before| self.ops.get(before));
            out.push_str(op.map_or("", |op| op.sign()));
            match operand {
                Expr::ScalarFunction(function) => match function.func.inner().downcast_ref::<Arithmetic>() {
                    Some(_) if levels_left == 0 => {
                        let mut hasher = DefaultHasher::new();
                        operand.hash(&mut hasher);
                        out.push_str(&format!("{:x}", hasher.finish()));
                    }
                    Some(inner) if at == 0 => inner.write_name(&function.args, levels_left - 1, out),
                    // `a - (b - c)` is not `a - b - c`.
                    Some(inner) => {
                        out.push('(');
                        inner.write_name(&function.args, levels_left - 1, out);
                        out.push(')');
                    }
                    None => out.push_str(&operand.schema_name().to_string()),
                },
                other => out.push_str(&other.schema_name().to_string()),
            }
        }
        if negates {
            out.push(')');
        }
    }
}

impl Op {
    fn sign(self) -> &'static str {
        match self {
            Op::Add => " + ",
            Op::Subtract => " - ",
            Op::Multiply => " * ",
            Op::Divide => " / ",
            Op::Modulo => " % ",
            Op::Negate => "- ",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Op::Add => "add",
            Op::Subtract => "subtract",
            Op::Multiply => "multiply",
            Op::Divide => "divide",
            Op::Modulo => "modulo",
            Op::Negate => "negate",
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.ops.last().map_or("add", |op| op.name())
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let mut name = String::new();
        self.write_name(args, NAMED_LEVELS, &mut name);
        Ok(name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        match types.first() {
            Some(first) => Ok(first.clone()),
            None => Err(Error::internal("an operator has operands").into()),
        }
    }

    /// Beside a NULL nothing is computed, so that nothing fails.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        if !args
            .iter()
            .any(|arg| matches!(arg, Expr::Literal(value, _) if value.is_null()))
        {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let types = args
            .iter()
            .map(|arg| info.get_data_type(arg))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let null = ScalarValue::try_new_null(&self.return_type(&types)?)?;
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(null, None)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let ty = args.return_field.data_type().clone();
        let outcome = match (self.ops.as_slice(), args.args.as_slice()) {
            ([Op::Negate], [ColumnarValue::Scalar(value)]) => value.arithmetic_negate().map(ColumnarValue::Scalar),
            ([Op::Negate], [ColumnarValue::Array(array)]) => {
                numeric::neg(array).map(ColumnarValue::Array).map_err(Into::into)
            }
            (ops, [first, second, rest @ ..]) if ops.len() == rest.len() + 1 => {
                let compute =
                    |op: Op, left: &_, right: &_| apply(left, right, |left, right| kernel(op, &ty, left, right));
                let mut rest = ops[1..].iter().zip(rest);
                compute(ops[0], first, second)
                    .and_then(|both| rest.try_fold(both, |left, (op, right)| compute(*op, &left, right)))
            }
            _ => return Err(Error::internal("as many operators as stand between the operands").into()),
        };
        outcome.map_err(|error| match error.find_root() {
            datafusion::common::DataFusionError::ArrowError(inner, _)
                if matches!(inner.as_ref(), ArrowError::ArithmeticOverflow(_)) =>
            {
                out_of_range(&ty).into()
            }
            _ => error,
        })
    }
}

fn kernel(op: Op, ty: &DataType, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let float = matches!(ty, DataType::Float32 | DataType::Float64);
    if float && matches!(op, Op::Divide | Op::Modulo) && has_zero(left, right) {
        return Err(ArrowError::DivideByZero);
    }
    let result = match op {
        Op::Add => numeric::add(left, right),
        Op::Subtract => numeric::sub(left, right),
        Op::Multiply => numeric::mul(left, right),
        Op::Divide => numeric::div(left, right),
        Op::Modulo => match numeric::rem(left, right) {
            // The smallest number % -1 is 0; only its quotient does not fit.
            Err(ArrowError::ArithmeticOverflow(_)) => remainder(ty, left, right),
            other => other,
        },
        Op::Negate => Err(ArrowError::ComputeError("unary minus has one operand".to_string())),
    }?;
    match ty {
        DataType::Float32 => check_floats::<Float32Type>(op, left, right, &result)?,
        DataType::Float64 => check_floats::<Float64Type>(op, left, right, &result)?,
        _ => {}
    }
    Ok(result)
}

/// Row by row, for columns with a pair whose quotient does not fit.
fn remainder(ty: &DataType, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    fn rows<T: ArrowPrimitiveType>(
        left: &dyn Datum,
        right: &dyn Datum,
        rest: impl Fn(T::Native, T::Native) -> T::Native,
    ) -> ArrayRef {
        let pairs = Pairs::<T>::of(left, right);
        let result: PrimitiveArray<T> = (0..pairs.len)
            .map(|row| pairs.at(row).map(|(left, right)| rest(left, right)))
            .collect();
        Arc::new(result)
    }
    match ty {
        DataType::Int16 => Ok(rows::<Int16Type>(left, right, i16::wrapping_rem)),
        DataType::Int32 => Ok(rows::<Int32Type>(left, right, i32::wrapping_rem)),
        DataType::Int64 => Ok(rows::<Int64Type>(left, right, i64::wrapping_rem)),
        other => Err(ArrowError::ComputeError(format!("remainder of {other}"))),
    }
}

/// Two operands row by row; an operand of one value stands for every row.
struct Pairs<'a, T: ArrowPrimitiveType> {
    left: &'a PrimitiveArray<T>,
    right: &'a PrimitiveArray<T>,
    left_scalar: bool,
    right_scalar: bool,
    len: usize,
}

impl<'a, T: ArrowPrimitiveType> Pairs<'a, T> {
    fn of(left: &'a dyn Datum, right: &'a dyn Datum) -> Self {
        let ((left, left_scalar), (right, right_scalar)) = (left.get(), right.get());
        Self {
            left: left.as_primitive(),
            right: right.as_primitive(),
            left_scalar,
            right_scalar,
            len: if left_scalar { right.len() } else { left.len() },
        }
    }

    fn at(&self, row: usize) -> Option<(T::Native, T::Native)> {
        let left = if self.left_scalar { 0 } else { row };
        let right = if self.right_scalar { 0 } else { row };
        (self.left.is_valid(left) && self.right.is_valid(right))
            .then(|| (self.left.value(left), self.right.value(right)))
    }
}

/// Whether a float is divided by zero in a row where neither side is NULL. (NaN / 0 is NaN.)
fn has_zero(left: &dyn Datum, right: &dyn Datum) -> bool {
    fn found<T: ArrowPrimitiveType>(left: &dyn Datum, right: &dyn Datum) -> bool
    where
        T::Native: Into<f64> + PartialEq + Default,
    {
        let zero = T::Native::default();
        // The common case first, without a branch per row.
        let divisors = right.get().0.as_primitive::<T>();
        if !divisors
            .values()
            .iter()
            .fold(false, |any, value| any | (*value == zero))
        {
            return false;
        }
        let pairs = Pairs::<T>::of(left, right);
        (0..pairs.len).any(|row| {
            pairs
                .at(row)
                .is_some_and(|(left, right)| right == zero && !left.into().is_nan())
        })
    }
    match right.get().0.data_type() {
        DataType::Float32 => found::<Float32Type>(left, right),
        _ => found::<Float64Type>(left, right),
    }
}

/// An infinity that comes of finite numbers is an overflow, a zero that comes of others than zero an underflow.
fn check_floats<T: ArrowPrimitiveType>(
    op: Op,
    left: &dyn Datum,
    right: &dyn Datum,
    result: &ArrayRef,
) -> Result<(), ArrowError>
where
    T::Native: Into<f64> + Copy,
{
    let values = result.as_primitive::<T>();
    let scales = matches!(op, Op::Multiply | Op::Divide);
    let suspect = values.values().iter().fold(false, |any, value| {
        let value: f64 = (*value).into();
        any | value.is_infinite() | (scales & (value == 0.0))
    });
    if !suspect {
        return Ok(());
    }
    let pairs = Pairs::<T>::of(left, right);
    for row in 0..values.len() {
        let Some((left, right)) = pairs.at(row) else { continue };
        let (left, right, value): (f64, f64, f64) = (left.into(), right.into(), values.value(row).into());
        if value.is_infinite() && left.is_finite() && right.is_finite() {
            return Err(external("value out of range: overflow"));
        }
        let from_zero = left == 0.0 || op == Op::Multiply && right == 0.0 || right.is_infinite();
        if scales && value == 0.0 && !from_zero {
            return Err(external("value out of range: underflow"));
        }
    }
    Ok(())
}

fn external(message: &str) -> ArrowError {
    ArrowError::ExternalError(Box::new(Error::new(ErrorKind::NumericOutOfRange, message)))
}

/// `integer out of range`
pub(super) fn out_of_range(ty: &DataType) -> Error {
    let name = match ty {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        _ => "value",
    };
    Error::new(ErrorKind::NumericOutOfRange, format!("{name} out of range"))
}
