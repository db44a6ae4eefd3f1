//! Functions of texts that have a variant for `bytea` under the same name.
//!
//! DataFusion's own take bytes for texts, or refuse them. One of these is asked first: calls with bytes are its variant's,
//! all others DataFusion's (or ours), which the optimiser puts in its place.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::bytes::{VARIANTS, is_bytes};
use super::native::{Shape, no_such_call};

/// The functions that take the place of DataFusion's in this state, and of those of ours that do.
pub(super) fn functions(state: &SessionState, ours: &[Arc<ScalarUDF>]) -> Vec<ScalarUDF> {
    let of = |variant: &Shape| {
        let ours = ours.iter().find(|function| function.name() == variant.name);
        let texts = ours.or_else(|| state.scalar_functions().get(variant.name))?;
        Some(ScalarUDF::from(ByType::new(Arc::clone(texts), *variant)))
    };
    VARIANTS.iter().filter_map(of).collect()
}

#[derive(Debug)]
struct ByType {
    texts: Arc<ScalarUDF>,
    bytes: Arc<ScalarUDF>,
    signature: Signature,
}

impl ByType {
    fn new(texts: Arc<ScalarUDF>, variant: Shape) -> Self {
        Self {
            texts,
            bytes: Arc::new(variant.udf()),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn of(&self, first: Option<&DataType>, arguments: usize) -> &Arc<ScalarUDF> {
        // Only bytes have a length in an encoding: a literal before one is bytes.
        let in_encoding = self.name() == "character_length" && arguments == 2;
        match first {
            Some(ty) if in_encoding || is_bytes(ty) => &self.bytes,
            _ => &self.texts,
        }
    }
}

// A name means one function.
impl PartialEq for ByType {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for ByType {}

impl Hash for ByType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for ByType {
    fn name(&self) -> &str {
        self.texts.name()
    }

    fn aliases(&self) -> &[String] {
        self.texts.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let function = self.of(types.first(), types.len());
        if types.iter().skip(1).any(is_bytes) && !Arc::ptr_eq(function, &self.bytes) {
            return Err(no_such_call(self.name(), types).into());
        }
        // Of large texts lengths and places would be of 64 bits.
        let plain = |ty: &DataType| match ty {
            DataType::LargeUtf8 => DataType::Utf8View,
            other => other.clone(),
        };
        let field = |ty: &DataType| Arc::new(Field::new("argument", plain(ty), true));
        let fields: Vec<FieldRef> = types.iter().map(field).collect();
        let coerced = fields_with_udf(&fields, function.as_ref())?;
        Ok(coerced.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.of(types.first(), types.len()).return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let function = self.of(
            args.arg_fields.first().map(|field| field.data_type()),
            args.arg_fields.len(),
        );
        function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let first = args.args.first().map(ColumnarValue::data_type);
        self.of(first.as_ref(), args.args.len()).invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let first = args.first().map(|first| info.get_data_type(first)).transpose()?;
        let func = Arc::clone(self.of(first.as_ref(), args.len()));
        Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction {
            func,
            args,
        })))
    }
}
