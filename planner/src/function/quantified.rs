//! `x = any (array)`, `x > all (array)`: one call that holds each operand once, however they nest. No one calls these by name.
//!
//! | plan | after |
//! |---|---|
//! | `staffa_any_eq(x, '{1,2}')`, also `$1` | the text is an array of what `x` is (`rules/literals.rs`) |
//! | `staffa_any_eq('1', a)` | the text is what the elements of `a` are |
//! | `staffa_any_eq(x, {1,2})`, `staffa_all_ne(x, {1,2})` | `x in (1, 2)`, `x not in (1, 2)`, which scans can use |
//!
//! What remains is computed for each row as PostgreSQL does: unknown where an element that is NULL could decide.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DataFusionResult, exec_datafusion_err};
use datafusion::logical_expr::binary::comparison_coercion;
use datafusion::logical_expr::expr::{InList, Placeholder, ScalarFunction};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply_cmp;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;
use staffa_catalog::{SqlType, SystemType};

use crate::error::{Error, ErrorKind, Result, undefined_function};
use crate::type_planner::BARE_NUMERIC;
use crate::types::{arrow_field, element_type, sql_type};

/// The names, their operators, and whether they are about all elements.
const NAMES: &[(&str, Operator, bool)] = &[
    ("staffa_any_eq", Operator::Eq, false),
    ("staffa_any_ne", Operator::NotEq, false),
    ("staffa_any_lt", Operator::Lt, false),
    ("staffa_any_le", Operator::LtEq, false),
    ("staffa_any_gt", Operator::Gt, false),
    ("staffa_any_ge", Operator::GtEq, false),
    ("staffa_all_eq", Operator::Eq, true),
    ("staffa_all_ne", Operator::NotEq, true),
    ("staffa_all_lt", Operator::Lt, true),
    ("staffa_all_le", Operator::LtEq, true),
    ("staffa_all_gt", Operator::Gt, true),
    ("staffa_all_ge", Operator::GtEq, true),
];

/// The function that stands for `operator ANY`, or ALL.
pub(crate) fn quantified(operator: &BinaryOperator, of_all: bool) -> Option<&'static str> {
    let operator = match operator {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    };
    let found = NAMES
        .iter()
        .find(|(_, known, all)| *known == operator && *all == of_all);
    found.map(|(name, ..)| *name)
}

pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    NAMES.iter().map(|(name, operator, of_all)| {
        ScalarUDF::from(Quantified {
            name,
            operator: *operator,
            of_all: *of_all,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantified {
    name: &'static str,
    operator: Operator,
    of_all: bool,
    signature: Signature,
}

/// A call whose literals have the types of what they stand beside; `None` where there is nothing to do.
pub(crate) fn with_typed_literals(call: &ScalarFunction, schema: &DFSchema, zone: &str) -> Result<Option<Expr>> {
    let Some(function) = call.func.inner().downcast_ref::<Quantified>() else {
        return Ok(None);
    };
    let [value, array] = call.args.as_slice() else {
        return Ok(None);
    };
    // What has no type is refused elsewhere.
    let (Ok((_, value_field)), Ok((_, array_field))) = (value.to_field(schema), array.to_field(schema)) else {
        return Ok(None);
    };
    let cast = |expression: &Expr, ty: &SqlType| {
        let field = Arc::new(arrow_field("", ty, true, zone));
        Expr::Cast(Cast::new_from_field(Box::new(expression.clone()), field))
    };
    let with = |value: Expr, array: Expr| {
        Expr::ScalarFunction(ScalarFunction {
            func: Arc::clone(&call.func),
            args: vec![value, array],
        })
    };
    if is_text(array_field.data_type()) && is_untyped(array) {
        let element = comparable(sql_type(&value_field));
        return Ok(Some(with(
            value.clone(),
            cast(array, &SqlType::Array(Box::new(element))),
        )));
    }
    let DataType::List(element) = array_field.data_type() else {
        return match array_field.data_type() {
            DataType::Null => Ok(None),
            _ => Err(Error::new(
                ErrorKind::WrongObjectType,
                "op ANY/ALL (array) requires array on right side",
            )),
        };
    };
    let is_null = value_field.data_type() == &DataType::Null || element.data_type() == &DataType::Null;
    if is_null || is_text(value_field.data_type()) == is_text(element.data_type()) {
        return Ok(None);
    }
    if is_untyped(value) {
        return Ok(Some(with(
            cast(value, &comparable(element_type(element))),
            array.clone(),
        )));
    }
    let message = format!(
        "operator does not exist: {} {} {}",
        sql_type(&value_field),
        function.operator,
        element_type(element)
    );
    Err(Error::new(ErrorKind::UndefinedFunction, message)
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts."))
}

/// The types of parameters that stand beside an array or for one: `x = any ($1)`, `$1 = any (array)`.
pub(crate) fn parameter_types(plan: &LogicalPlan) -> Result<Vec<(String, SqlType)>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = node {
            schema.merge(&scan.projected_schema);
        }
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::ScalarFunction(call) = inner
                    && call.func.inner().downcast_ref::<Quantified>().is_some()
                    && let [value, array] = call.args.as_slice()
                {
                    found.extend(parameter_type(value, array, &schema));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn parameter_type(value: &Expr, array: &Expr, schema: &DFSchema) -> Option<(String, SqlType)> {
    let field = |expression: &Expr| expression.to_field(schema).ok().map(|(_, field)| field);
    match (value, array) {
        (Expr::Placeholder(Placeholder { id, field: None }), array) => match field(array)?.data_type() {
            DataType::List(element) => Some((id.clone(), comparable(element_type(element)))),
            _ => None,
        },
        (value, Expr::Placeholder(Placeholder { id, field: None })) => {
            let element = comparable(sql_type(field(value)?.as_ref()));
            Some((id.clone(), SqlType::Array(Box::new(element))))
        }
        _ => None,
    }
}

/// The type of values to compare with those of another: without modifiers, which would cut or round them.
fn comparable(ty: SqlType) -> SqlType {
    match ty {
        SqlType::Unknown | SqlType::Char(_) | SqlType::Varchar(_) => SqlType::Text,
        SqlType::Numeric { .. } => BARE_NUMERIC,
        // PostgreSQL compares their numbers.
        SqlType::System(ty) if ty.is_reg() => SqlType::System(SystemType::Oid),
        other => other,
    }
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A float and another number: both are compared as `double precision`.
fn is_beside_float(left: &DataType, right: &DataType) -> bool {
    left != right && left.is_numeric() && right.is_numeric() && (left.is_floating() || right.is_floating())
}

/// A literal nobody gave a type, or a parameter.
fn is_untyped(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Utf8View(_), _) | Expr::Placeholder(_)
    )
}

impl ScalarUDFImpl for Quantified {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let [value, array] = given else {
            return Err(undefined_function(self.name).into());
        };
        let list = |element: &DataType| DataType::List(Arc::new(Field::new("element", element.clone(), true)));
        Ok(match array {
            DataType::Null => vec![value.clone(), list(value)],
            DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
                // Literals are typed later, and what is of another kind is refused then.
                if is_text(value) != is_text(element.data_type()) && !value.is_null() && !element.data_type().is_null()
                {
                    return Ok(given.to_vec());
                }
                let common = match is_beside_float(value, element.data_type()) {
                    true => Some(DataType::Float64),
                    false => comparison_coercion(value, element.data_type()),
                };
                let common = common.ok_or_else(|| undefined_function(self.name))?;
                let element = element.as_ref().clone().with_data_type(common.clone());
                vec![common, DataType::List(Arc::new(element))]
            }
            _ => given.to_vec(),
        })
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let negated = match (self.operator, self.of_all) {
            (Operator::Eq, false) => false,
            (Operator::NotEq, true) => true,
            _ => return Ok(ExprSimplifyResult::Original(args)),
        };
        let [value, Expr::Literal(ScalarValue::List(list), _)] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let simplified = match list.is_null(0) {
            true => Expr::Literal(ScalarValue::Boolean(None), None),
            false => {
                let elements = list.value(0);
                let literals = (0..elements.len())
                    .map(|at| Ok(Expr::Literal(ScalarValue::try_from_array(&elements, at)?, None)))
                    .collect::<DataFusionResult<Vec<_>>>()?;
                Expr::InList(InList::new(Box::new(value.clone()), literals, negated))
            }
        };
        Ok(ExprSimplifyResult::Simplified(simplified))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let [value, lists] = args.args.as_slice() else {
            return Err(Error::internal("an array compared with nothing").into());
        };
        let lists = lists.to_array(rows)?;
        let lists = lists
            .as_list_opt::<i32>()
            .ok_or_else(|| exec_datafusion_err!("an array of type {}", lists.data_type()))?;
        let found = self.decided(value, lists, rows)?;
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?),
            false => ColumnarValue::Array(Arc::new(found)),
        })
    }
}

impl Quantified {
    /// All elements are compared at once, then each row looks at its own.
    fn decided(&self, value: &ColumnarValue, lists: &ListArray, rows: usize) -> DataFusionResult<BooleanArray> {
        let offsets = lists.value_offsets();
        let (first, last) = (start(offsets, 0), start(offsets, rows));
        let elements = lists.values().slice(first, last - first);
        let value = match value {
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
            ColumnarValue::Array(values) => ColumnarValue::Array(repeated(values, offsets, rows)?),
        };
        let compared = apply_cmp(self.operator, &value, &ColumnarValue::Array(elements))?;
        let compared = compared.into_array(last - first)?;
        let compared = compared.as_boolean();
        let row = |row: usize| {
            if lists.is_null(row) {
                return None;
            }
            let mut result = Some(self.of_all);
            for at in start(offsets, row) - first..start(offsets, row + 1) - first {
                if compared.is_null(at) {
                    result = None;
                } else if compared.value(at) != self.of_all {
                    return Some(!self.of_all);
                }
            }
            result
        };
        Ok((0..rows).map(row).collect())
    }
}

/// Where the elements of a row begin.
fn start(offsets: &[i32], row: usize) -> usize {
    offsets
        .get(row)
        .and_then(|offset| usize::try_from(*offset).ok())
        .unwrap_or_default()
}

/// The value of each row as often as its array has elements.
fn repeated(values: &ArrayRef, offsets: &[i32], rows: usize) -> DataFusionResult<ArrayRef> {
    let mut places = Vec::with_capacity(start(offsets, rows) - start(offsets, 0));
    for (row, number) in (0..rows).zip(0_u32..) {
        places.extend((start(offsets, row)..start(offsets, row + 1)).map(|_| number));
    }
    Ok(take(values, &UInt32Array::from(places), None)?)
}
