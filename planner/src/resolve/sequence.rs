//! A sequence as a relation, and what the text of a statement says about sequences.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, VisitorMut,
};
use staffa_catalog::{Sequence, SequenceState, SqlType, TableName};

use crate::context::PlanContext;
use crate::error::{Error, Result};
use crate::resolve::shown;
use crate::statement::sequence::{named, stored_name};
use crate::types::arrow_field;
use crate::walk::VisitMut;

/// `SELECT * FROM sequence`: its one row.
pub(super) fn rows(context: &PlanContext, sequence: &Sequence) -> Result<Arc<dyn TableProvider>> {
    // The next run must see how far it is then.
    context.momentary.set();
    let state = match &context.sequences {
        Some(sequences) => sequences.state(sequence)?,
        None => SequenceState::default(),
    };
    let (last, is_called) = sequence.last_value(state);
    let columns = [
        ("last_value", SqlType::BigInt),
        ("log_cnt", SqlType::BigInt),
        ("is_called", SqlType::Boolean),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, ty)| arrow_field(*name, ty, false, &context.time_zone))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int64Array::from(vec![last])),
            Arc::new(Int64Array::from(vec![0])),
            Arc::new(BooleanArray::from(vec![is_called])),
        ],
    )?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

/// A call of `nextval`, `currval` or `setval` whose sequence stands there as a string: it must be there now. A cast to
/// `regclass` is what the string is anyway.
pub(crate) fn check_call(context: &PlanContext, function: &mut Function) -> Result<()> {
    if !matches!(shown(&function.name).as_str(), "nextval" | "currval" | "setval") {
        return Ok(());
    }
    match first_text(function) {
        Some(text) => existing(context, text).map(|_| ()),
        None => Ok(()),
    }
}

pub(crate) fn existing(context: &PlanContext, text: &str) -> Result<TableName> {
    named(&context.snapshot, &context.database, &context.lookup_path(), text)
}

/// A string without casts around it that leave it what it is.
pub(crate) fn literal(mut argument: &Expr) -> &Expr {
    while let Expr::Cast { expr, data_type, .. } = argument
        && matches!(data_type, DataType::Regclass | DataType::Text)
    {
        argument = expr;
    }
    argument
}

/// The first argument if it is a string, without a cast around it.
fn first_text(function: &mut Function) -> Option<&mut String> {
    let FunctionArguments::List(list) = &mut function.args else {
        return None;
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first_mut() else {
        return None;
    };
    while let Expr::Cast { expr, data_type, .. } = first
        && matches!(data_type, DataType::Regclass | DataType::Text)
    {
        *first = std::mem::replace(expr.as_mut(), Expr::Value(Value::Null.into()));
    }
    string(first)
}

fn string(expression: &mut Expr) -> Option<&mut String> {
    match expression {
        Expr::Value(value) => match &mut value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The text of a default, with sequences named so that it means the same under every search path.
pub(crate) fn stored_text(context: &PlanContext, expression: &Expr) -> Result<String> {
    struct Name<'a>(&'a PlanContext);
    impl VisitorMut for Name<'_> {
        type Break = Error;
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
            if let Expr::Function(function) = expression
                && matches!(shown(&function.name).as_str(), "nextval" | "pg_catalog.nextval")
                && let Some(text) = first_text(function)
            {
                match existing(self.0, text) {
                    // Without the quotes, which the tree puts around it.
                    Ok(name) => *text = stored_name(&name).trim_matches('\'').replace("''", "'"),
                    Err(error) => return ControlFlow::Break(error),
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut expression = expression.clone();
    match expression.visit(&mut Name(context)) {
        ControlFlow::Continue(()) => Ok(expression.to_string()),
        ControlFlow::Break(error) => Err(error),
    }
}
