//! `x > all (q)` and the other comparisons of a value with all or any rows of a query.
//!
//! | before | after, where `m` is the greatest (least) value of `q`, `n` its rows, `k` those that are not null |
//! |---|---|
//! | `x = any (q)`, `x <> all (q)` | `x in (q)`, `x not in (q)` |
//! | `x < any (q)` | true if `x < m`; unknown if there are rows and `x` is null or `n > k`; else false |
//! | `x > all (q)` | true if `n = 0`; false if `not x > m`; unknown if `x` is null or `n > k`; else true |

use std::sync::Arc;

use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit, when};

use super::scope::subquery;
use super::{VALUE, unsupported};
use crate::function::decided;

pub(super) fn plain(comparison: SetComparison) -> DataFusionResult<Expr> {
    let SetComparison {
        expr,
        subquery,
        op,
        quantifier,
    } = comparison;
    let listed = match (op, &quantifier) {
        (Operator::Eq, SetQuantifier::Any) => Some(false),
        (Operator::NotEq, SetQuantifier::All) => Some(true),
        _ => None,
    };
    if let Some(negated) = listed {
        return Ok(Expr::InSubquery(InSubquery::new(expr, subquery, negated)));
    }
    let rows = Rows {
        query: Arc::unwrap_or_clone(subquery.subquery),
    };
    let value = *expr;
    let with = |extreme: Expr| binary_expr(value.clone(), op, extreme);
    // Which value of the query decides.
    let decisive = match (op, &quantifier) {
        (Operator::Lt | Operator::LtEq, SetQuantifier::Any) => with(rows.greatest()?),
        (Operator::Gt | Operator::GtEq, SetQuantifier::Any) => with(rows.least()?),
        (Operator::Lt | Operator::LtEq, SetQuantifier::All) => with(rows.least()?),
        (Operator::Gt | Operator::GtEq, SetQuantifier::All) => with(rows.greatest()?),
        (Operator::NotEq, SetQuantifier::Any) => with(rows.least()?).or(with(rows.greatest()?)),
        (Operator::Eq, SetQuantifier::All) => with(rows.least()?).and(with(rows.greatest()?)),
        _ => return Err(unsupported()),
    };
    let any = rows.any()?;
    let unknown = any.clone().and(value.is_null().or(rows.has_null()?));
    Ok(match quantifier {
        SetQuantifier::Any => decided(decisive, unknown),
        // All rows compare so unless one does not.
        SetQuantifier::All => !decided(any.and(!decisive), unknown),
    })
}

/// The rows compared with: one column.
struct Rows {
    query: LogicalPlan,
}

impl Rows {
    fn value(&self) -> Expr {
        Expr::Column(Column::from(self.query.schema().qualified_field(0)))
    }

    fn least(&self) -> DataFusionResult<Expr> {
        self.aggregate(min(self.value()), |least| least)
    }

    fn greatest(&self) -> DataFusionResult<Expr> {
        self.aggregate(max(self.value()), |greatest| greatest)
    }

    fn any(&self) -> DataFusionResult<Expr> {
        self.aggregate(count(lit(1_i64)), |rows| rows.gt(lit(0_i64)))
    }

    fn has_null(&self) -> DataFusionResult<Expr> {
        let nulls = when(self.value().is_null(), lit(1_i64)).end()?;
        self.aggregate(count(nulls), |nulls| nulls.gt(lit(0_i64)))
    }

    fn aggregate(&self, aggregate: Expr, of: impl Fn(Expr) -> Expr) -> DataFusionResult<Expr> {
        let plan = LogicalPlanBuilder::from(self.query.clone())
            .aggregate(Vec::<Expr>::new(), [aggregate.alias(VALUE)])?
            .project([of(Expr::Column(Column::from_name(VALUE))).alias(VALUE)])?
            .build()?;
        Ok(Expr::ScalarSubquery(subquery(plan)))
    }
}
