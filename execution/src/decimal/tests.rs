//! Narrow arithmetic beside arrow's: the same numbers, nulls and failures.

use std::sync::Arc;

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::{BinaryExpr, col, lit};
use proptest::prelude::*;

use super::{Narrow, narrowed};

const SCALES: [i8; 3] = [0, 2, 5];

fn schema() -> SchemaRef {
    let field = |(place, scale): (usize, &i8)| Field::new(format!("c{place}"), DataType::Decimal128(38, *scale), true);
    Arc::new(Schema::new(SCALES.iter().enumerate().map(field).collect::<Vec<_>>()))
}

fn numbers() -> impl Strategy<Value = Option<i128>> {
    prop_oneof![
        6 => (-1_000_000_i128..1_000_000).prop_map(Some),
        1 => Just(None),
        // About where 64 bits end, for one number or a product.
        1 => prop_oneof![Just(i128::from(i64::MAX)), Just(i128::from(i64::MIN)), Just(3_037_000_500), Just(-3_037_000_500)].prop_map(Some),
        1 => any::<i64>().prop_map(|number| Some(i128::from(number))),
    ]
}

fn batches() -> impl Strategy<Value = RecordBatch> {
    let small = prop::collection::vec(
        [
            (-100_000_i128..100_000).prop_map(Some),
            (0_i128..100).prop_map(Some),
            (0_i128..9).prop_map(Some),
        ],
        1..20,
    );
    let any = prop::collection::vec([numbers(), numbers(), numbers()], 1..20);
    prop_oneof![small.boxed(), any.boxed()].prop_map(|rows| {
        let columns = SCALES.iter().enumerate().map(|(place, scale)| {
            let column: Decimal128Array = rows.iter().map(|row| row[place]).collect();
            Arc::new(column.with_precision_and_scale(38, *scale).unwrap()) as _
        });
        RecordBatch::try_new(schema(), columns.collect()).unwrap()
    })
}

fn expressions() -> impl Strategy<Value = PhysicalExprRef> {
    let column = (0..SCALES.len()).prop_map(|place| col(&format!("c{place}"), &schema()).unwrap());
    let literal = ((-200_i128..200), prop::sample::select(&SCALES[..2]));
    let literal =
        literal.prop_map(|(value, scale)| lit(ScalarValue::Decimal128(Some(value), 38, scale)) as PhysicalExprRef);
    prop_oneof![4 => column.boxed(), 1 => literal.boxed()].prop_recursive(3, 8, 2, |inner| {
        let operator = prop::sample::select(vec![Operator::Plus, Operator::Minus, Operator::Multiply]);
        (inner.clone(), operator, inner)
            .prop_map(|(left, operator, right)| Arc::new(BinaryExpr::new(left, operator, right)) as PhysicalExprRef)
    })
}

proptest! {
    #[test]
    fn computes_as_arrow_does(batch in batches(), expression in expressions()) {
        let narrow = narrowed(&expression, &batch.schema()).unwrap();
        let evaluate = |expression: &PhysicalExprRef| {
            let value = expression.evaluate(&batch)?;
            value.into_array(batch.num_rows())
        };
        match (evaluate(&expression), evaluate(&narrow)) {
            (Ok(wide), Ok(narrow)) => prop_assert_eq!(&wide, &narrow),
            (Err(_), Err(_)) => {}
            (wide, narrow) => prop_assert!(false, "{:?} beside {:?}", wide, narrow),
        }
    }
}

#[test]
fn computes_prices_in_64_bits() {
    let schema = schema();
    let column = |name: &str| col(name, &schema).unwrap();
    let one = lit(ScalarValue::Decimal128(Some(1), 1, 0)) as PhysicalExprRef;
    let rest = Arc::new(BinaryExpr::new(one, Operator::Minus, column("c1"))) as PhysicalExprRef;
    let price = Arc::new(BinaryExpr::new(column("c0"), Operator::Multiply, rest)) as PhysicalExprRef;
    let narrow = Narrow::of(&price, &schema).unwrap().unwrap();
    let decimals = |values: Vec<Option<i128>>, scale| {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(38, scale)
                .unwrap(),
        ) as _
    };
    let columns = vec![
        decimals(vec![Some(1_000), Some(-7), None], 0),
        decimals(vec![Some(5), Some(10), Some(0)], 2),
        decimals(vec![None, None, None], 5),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let value = narrow.evaluate_narrow(&batch).unwrap().expect("small numbers fit");
    let value = value.into_array(3).unwrap();
    let found: Vec<Option<i128>> = value.as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(found, [Some(95_000), Some(-630), None]);
}
