//! `coalesce` as PostgreSQL has it.
//!
//! * Its literals may be arrays: `coalesce(array, '{}')`.
//! * DataFusion's becomes `case when a is not null then a else b end`, which holds `a` twice: numbers of sequences would be taken
//!   twice, and calls inside each other would double with every level. Such calls stay what they are, and choose among values.

use std::sync::Arc;

use arrow::array::Array;
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::functions::core::coalesce::CoalesceFunc;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, ErrorKind, Result};
use crate::types::sql_type;

/// Parts of arguments that are held twice so that the others are computed only where they are needed.
const COPIED_PARTS_MAX: usize = 64;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Coalesce {
    inner: CoalesceFunc,
    aliases: Vec<String>,
}

impl Coalesce {
    pub(super) fn new() -> Self {
        Self {
            inner: CoalesceFunc::new(),
            // DataFusion's, which would be held twice as well.
            aliases: vec!["nvl".to_owned(), "ifnull".to_owned()],
        }
    }
}

/// The call with its texts read as arrays; `None` where there is no array.
pub(crate) fn with_array_literals(call: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
    if call.func.inner().downcast_ref::<Coalesce>().is_none() {
        return Ok(None);
    }
    let fields = call.args.iter().map(|arg| arg.to_field(schema).map(|(_, field)| field));
    // What has no type is refused elsewhere.
    let Ok(fields) = fields.collect::<DataFusionResult<Vec<FieldRef>>>() else {
        return Ok(None);
    };
    let array = fields
        .iter()
        .find(|field| matches!(field.data_type(), DataType::List(_)));
    let (Some(array), true) = (array, fields.iter().any(|field| is_text(field.data_type()))) else {
        return Ok(None);
    };
    let args = call.args.iter().zip(&fields).map(|(arg, field)| match arg {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Utf8View(_), _) | Expr::Placeholder(_)
            if is_text(field.data_type()) =>
        {
            let cast = Cast::new_from_field(Box::new(arg.clone()), Arc::clone(array));
            Ok(Expr::Cast(cast))
        }
        _ if is_text(field.data_type()) => {
            let types = (sql_type(array), sql_type(field));
            let message = format!("COALESCE types {} and {} cannot be matched", types.0, types.1);
            Err(Error::new(ErrorKind::DatatypeMismatch, message))
        }
        other => Ok(other.clone()),
    });
    Ok(Some(Expr::ScalarFunction(ScalarFunction {
        func: Arc::clone(&call.func),
        args: args.collect::<Result<_>>()?,
    })))
}

/// Whether arguments may stand in a plan twice.
fn may_be_copied(args: &[Expr]) -> DataFusionResult<bool> {
    let mut parts = 0;
    for arg in args {
        arg.apply(|_| {
            parts += 1;
            Ok(match parts > COPIED_PARTS_MAX {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })?;
    }
    Ok(parts <= COPIED_PARTS_MAX && !args.iter().any(Expr::is_volatile))
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let array = given.iter().find(|ty| matches!(ty, DataType::List(_)));
        match array {
            // Which texts are literals is known when the plan is analysed.
            Some(array) if given.iter().any(is_text) => Ok(vec![array.clone(); given.len()]),
            _ => self.inner.coerce_types(given),
        }
    }

    fn return_type(&self, given: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(given)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        match args.split_last() {
            Some((_, others)) if !may_be_copied(others)? => Ok(ExprSimplifyResult::Original(args)),
            _ => self.inner.simplify(args, info),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let mut given = args.args.iter();
        let Some(first) = given.next() else {
            return Err(Error::internal("coalesce of nothing").into());
        };
        let mut chosen = first.to_array(rows)?;
        for other in given {
            if chosen.null_count() == 0 {
                break;
            }
            chosen = zip(&is_not_null(&chosen)?, &chosen, &other.to_array(rows)?)?;
        }
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&chosen, 0)?),
            false => ColumnarValue::Array(chosen),
        })
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }
}
