//! What a condition says of one column alone, where it says more of several: `a < 3 or (a = 3 and b < 5)`, as a sort by `a` and `b`
//! tells a scan of its last row so far, lets no row pass whose `a` is above 3.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNullExpr, Literal};

/// The values of a column with which a row may pass.
struct Bounds {
    column: Column,
    values: Values,
    null_passes: bool,
}

enum Values {
    None,
    /// Both inclusive.
    Between(Option<ScalarValue>, Option<ScalarValue>),
}

/// Conditions on one column which are true wherever `condition` is; none where it is that of one itself.
pub(super) fn implied(condition: &Arc<dyn PhysicalExpr>) -> Vec<Arc<dyn PhysicalExpr>> {
    let is_of_several = condition
        .downcast_ref::<BinaryExpr>()
        .is_some_and(|binary| *binary.op() == Operator::Or)
        && comparison_or_null(condition).is_none();
    let bounds = is_of_several.then(|| bounds(condition)).flatten();
    let Some(Bounds {
        column,
        values: Values::Between(least, greatest),
        null_passes,
    }) = bounds
    else {
        return Vec::new();
    };
    let bound = |operator, value: ScalarValue| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(column.clone());
        let literal = Arc::new(Literal::new(value));
        let bound: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(Arc::clone(&column), operator, literal));
        match null_passes {
            true => Arc::new(BinaryExpr::new(Arc::new(IsNullExpr::new(column)), Operator::Or, bound)),
            false => bound,
        }
    };
    let least = least.map(|value| bound(Operator::GtEq, value));
    let greatest = greatest.map(|value| bound(Operator::LtEq, value));
    least.into_iter().chain(greatest).collect()
}

/// `column < literal` and its like, either way round.
pub(super) fn comparison(expr: &Arc<dyn PhysicalExpr>) -> Option<(&Column, Operator, &ScalarValue)> {
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    if let (Some(column), Some(literal)) = (left.downcast_ref(), right.downcast_ref::<Literal>()) {
        return Some((column, *binary.op(), literal.value()));
    }
    let (literal, column) = (left.downcast_ref::<Literal>()?, right.downcast_ref()?);
    Some((column, binary.op().swap()?, literal.value()))
}

/// The comparison in `column is null or column < literal` and its like.
pub(super) fn comparison_or_null(expr: &Arc<dyn PhysicalExpr>) -> Option<(&Column, Operator, &ScalarValue)> {
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let null = binary
        .left()
        .downcast_ref::<IsNullExpr>()?
        .arg()
        .downcast_ref::<Column>()?;
    let comparison = comparison(binary.right())?;
    (*binary.op() == Operator::Or && null == comparison.0).then_some(comparison)
}

fn bounds(expr: &Arc<dyn PhysicalExpr>) -> Option<Bounds> {
    if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
        return Some(Bounds {
            column: null.arg().downcast_ref::<Column>()?.clone(),
            values: Values::None,
            null_passes: true,
        });
    }
    if let Some((column, operator, value)) = comparison(expr) {
        let value = (!value.is_null()).then(|| value.clone())?;
        let values = match operator {
            Operator::Lt | Operator::LtEq => Values::Between(None, Some(value)),
            Operator::Gt | Operator::GtEq => Values::Between(Some(value), None),
            Operator::Eq => Values::Between(Some(value.clone()), Some(value)),
            _ => return None,
        };
        return Some(Bounds {
            column: column.clone(),
            values,
            null_passes: false,
        });
    }
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (bounds(binary.left()), bounds(binary.right()));
    match binary.op() {
        Operator::And => left.or(right),
        Operator::Or => either(left?, right?),
        _ => None,
    }
}

fn either(left: Bounds, right: Bounds) -> Option<Bounds> {
    if left.column != right.column {
        return None;
    }
    let values = match (left.values, right.values) {
        (Values::None, values) | (values, Values::None) => values,
        (Values::Between(least, greatest), Values::Between(other_least, other_greatest)) => Values::Between(
            outer(least, other_least, Ordering::Less)?,
            outer(greatest, other_greatest, Ordering::Greater)?,
        ),
    };
    Some(Bounds {
        column: left.column,
        values,
        null_passes: left.null_passes || right.null_passes,
    })
}

/// The bound that is further out; none is further than any. `None`: they do not compare.
fn outer(one: Option<ScalarValue>, other: Option<ScalarValue>, out: Ordering) -> Option<Option<ScalarValue>> {
    Some(match (one, other) {
        (Some(one), Some(other)) => match one.partial_cmp(&other)? == out {
            true => Some(one),
            false => Some(other),
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Int32Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{binary, is_null, lit};

    use super::*;

    fn schema() -> Schema {
        let field = |name| Field::new(name, DataType::Int32, true);
        Schema::new(vec![field("a"), field("b")])
    }

    fn compare(column: usize, operator: Operator, value: i32) -> Arc<dyn PhysicalExpr> {
        let schema = schema();
        let name = schema.field(column).name();
        binary(Arc::new(Column::new(name, column)), operator, lit(value), &schema).expect("a comparison")
    }

    fn null(column: usize) -> Arc<dyn PhysicalExpr> {
        is_null(Arc::new(Column::new(schema().field(column).name(), column))).expect("a condition")
    }

    fn join(left: Arc<dyn PhysicalExpr>, operator: Operator, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(left, operator, right))
    }

    fn shown(condition: &Arc<dyn PhysicalExpr>) -> Vec<String> {
        implied(condition).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_sort_by_two_columns_says() {
        use Operator::{And, Eq, Gt, Lt, Or};
        let next = |operator| join(compare(0, Eq, 3), And, compare(1, operator, 5));
        let ascending = join(compare(0, Lt, 3), Or, next(Lt));
        assert_eq!(shown(&ascending), ["a@0 <= 3"]);
        let descending = join(join(null(0), Or, compare(0, Gt, 3)), Or, next(Gt));
        assert_eq!(shown(&descending), ["a@0 IS NULL OR a@0 >= 3"]);
        // One column's own says it already, and of two there is nothing to say.
        assert_eq!(shown(&join(null(0), Or, compare(0, Gt, 3))), [""; 0]);
        assert_eq!(shown(&join(compare(0, Lt, 3), Or, compare(1, Lt, 3))), [""; 0]);
        assert_eq!(shown(&join(null(0), Or, null(0))), [""; 0]);
    }

    /// Wherever a condition is true, so is what it implies: all conditions of some depth, on all rows of a few values.
    #[test]
    fn no_row_is_lost() {
        let values = [None, Some(1), Some(2), Some(3)];
        let pairs = || values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b)));
        let rows = RecordBatch::try_new(
            Arc::new(schema()),
            vec![
                Arc::new(Int32Array::from_iter(pairs().map(|(a, _)| a))),
                Arc::new(Int32Array::from_iter(pairs().map(|(_, b)| b))),
            ],
        );
        let rows = rows.expect("rows");
        let answers = |condition: &Arc<dyn PhysicalExpr>| {
            let answers = condition.evaluate(&rows).expect("answers");
            answers
                .into_array(rows.num_rows())
                .expect("an array")
                .as_boolean()
                .clone()
        };
        use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
        let operators = [Eq, NotEq, Lt, LtEq, Gt, GtEq];
        let mut simple: Vec<_> = operators.iter().map(|operator| compare(0, *operator, 2)).collect();
        simple.extend([null(0), null(1), compare(0, Lt, 3), compare(1, Gt, 1)]);
        let mut joined = simple.clone();
        for (left, right) in simple
            .iter()
            .flat_map(|left| simple.iter().map(move |right| (left, right)))
        {
            joined.extend([And, Or].map(|operator| join(Arc::clone(left), operator, Arc::clone(right))));
        }
        let mut asked = 0;
        for (left, right) in joined
            .iter()
            .flat_map(|left| joined.iter().map(move |right| (left, right)))
        {
            let condition = join(Arc::clone(left), Or, Arc::clone(right));
            for implied in implied(&condition) {
                let (given, weaker) = (answers(&condition), answers(&implied));
                let is_lost = |row: usize| {
                    given.is_valid(row) && given.value(row) && !(weaker.is_valid(row) && weaker.value(row))
                };
                assert!(!(0..rows.num_rows()).any(is_lost), "{condition} and {implied}");
                asked += 1;
            }
        }
        assert!(asked > 1000, "{asked}");
    }
}
