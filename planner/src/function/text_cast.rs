//! Casts from and to text by the codec of the wire, so that a value has one spelling at every door.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use bytes::BytesMut;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use super::each;
use crate::context::PlanContext;
use crate::error::{Error, Result};
use crate::generic::mentions_moment;
use crate::types::{arrow_field, data_type, with_element_type};
use crate::value::{ByteaOutput, ColumnDecoder, ColumnEncoder, DateOrder, Format, FormatSettings, decode_scalar};

pub(crate) const FROM_TEXT: &str = "staffa_from_text";
pub(crate) const TO_TEXT: &str = "staffa_to_text";

/// The session's way of reading and printing values.
#[derive(Clone, Debug)]
pub(crate) struct TextCasts {
    settings: Arc<FormatSettings>,
    time_zone: Arc<str>,
    /// What all casts hang on.
    key: Arc<str>,
    /// What those hang on, too, that are of a moment.
    moment: Arc<str>,
}

impl TextCasts {
    pub(crate) fn of(context: &PlanContext) -> Result<Self> {
        let setting = |name: &str| {
            context
                .settings
                .get(name)
                .map(|value| value.to_lowercase())
                .unwrap_or_default()
        };
        let order = match setting("datestyle") {
            style if style.contains("dmy") => DateOrder::Dmy,
            style if style.contains("ymd") => DateOrder::Ymd,
            _ => DateOrder::Mdy,
        };
        let bytea = if setting("bytea_output") == "escape" {
            ByteaOutput::Escape
        } else {
            ByteaOutput::Hex
        };
        let digits = setting("extra_float_digits").parse().unwrap_or(1);
        let settings = FormatSettings::new(&context.time_zone, order, bytea, digits)?
            .with_now(context.transaction_time.timestamp_micros())
            .with_catalog(context.catalog_view());
        let catalog = settings
            .catalog
            .as_ref()
            .map(|catalog| (Arc::as_ptr(&catalog.image), Arc::as_ptr(&catalog.roles), &catalog.path));
        let key = format!("{} {order:?} {bytea:?} {digits}", context.time_zone);
        let moment = format!("{} {catalog:?}", settings.now);
        Ok(Self {
            settings: Arc::new(settings),
            time_zone: context.time_zone.as_str().into(),
            key: key.into(),
            moment: moment.into(),
        })
    }

    /// Whether the text is a value of this type.
    pub(crate) fn check(&self, text: &str, ty: &SqlType) -> Result<()> {
        self.value(text, ty).map(|_| ())
    }

    /// The value of this type that a text is.
    pub(crate) fn value(&self, text: &str, ty: &SqlType) -> Result<ScalarValue> {
        decode_scalar(Some(text.as_bytes()), ty, Format::Text, &self.settings)
    }

    /// The text read as a value of this type.
    pub(crate) fn read(&self, expression: Expr, ty: SqlType) -> Expr {
        self.call(expression, Direction::From(ty))
    }

    /// A value of this type printed.
    pub(crate) fn print(&self, expression: Expr, ty: SqlType) -> Expr {
        self.call(expression, Direction::To(ty))
    }

    /// The same value as another type: another kind of object number, a numeric shown with other digits.
    pub(crate) fn renamed(&self, expression: Expr, ty: SqlType) -> Expr {
        self.call(expression, Direction::As(ty))
    }

    /// A printed truth value as `concat` prints it: by its letter, as the wire does. So are those of an array; others as they are.
    pub(crate) fn letter(printed: Expr) -> Expr {
        if let Expr::ScalarFunction(call) = &printed
            && let Some(cast) = call.func.inner().downcast_ref::<TextCast>()
            && cast.direction == Direction::To(SqlType::Boolean)
            && let [value] = call.args.as_slice()
        {
            return cast.casts.call(value.clone(), Direction::Letter);
        }
        each::letters(printed)
    }

    /// A cast that was planned at another moment, as of this one. What a literal says was read when its statement was prepared.
    pub(crate) fn renewed(&self, call: &ScalarFunction) -> Option<ScalarUDF> {
        let cast = call.func.inner().downcast_ref::<TextCast>()?;
        let is_old = cast.is_of_moment && cast.casts.moment != self.moment;
        let is_literal = matches!(call.args[..], [Expr::Literal(..)]);
        (is_old && !is_literal).then(|| {
            ScalarUDF::from(TextCast {
                casts: self.clone(),
                ..cast.clone()
            })
        })
    }

    fn call(&self, expression: Expr, direction: Direction) -> Expr {
        let signature = Signature::any(1, Volatility::Immutable);
        let func = Arc::new(ScalarUDF::from(TextCast {
            is_of_moment: direction.is_of_moment(&expression),
            direction,
            casts: self.clone(),
            signature,
        }));
        Expr::ScalarFunction(ScalarFunction {
            func,
            args: vec![expression],
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Direction {
    From(SqlType),
    /// Values stay as they are.
    As(SqlType),
    To(SqlType),
    /// `t` or `f`
    Letter,
}

#[derive(Clone, Debug)]
struct TextCast {
    direction: Direction,
    /// Whether the result may be another one in the next transaction.
    is_of_moment: bool,
    casts: TextCasts,
    signature: Signature,
}

impl Direction {
    /// Whether a value's text is another one in the next transaction: `today` is another day tomorrow, names of objects change.
    fn is_of_moment(&self, expression: &Expr) -> bool {
        match self {
            Self::From(ty) => some_part(ty, &is_system) || some_part(ty, &is_of_time) && !is_fixed(expression),
            Self::To(ty) => some_part(ty, &is_system),
            Self::As(_) | Self::Letter => false,
        }
    }
}

fn is_system(ty: &SqlType) -> bool {
    matches!(ty, SqlType::System(_))
}

fn is_of_time(ty: &SqlType) -> bool {
    use SqlType::{Date, Time, Timestamp, TimestampTz};
    matches!(ty, Date | Time | Timestamp | TimestampTz)
}

/// Whether it is a text that is read as the same date or time for ever.
fn is_fixed(expression: &Expr) -> bool {
    let Expr::Literal(value, _) = expression else {
        return false;
    };
    value.try_as_str().flatten().is_none_or(|text| !mentions_moment(text))
}

/// Whether a type is such a one, or made of one.
fn some_part(ty: &SqlType, is_it: &impl Fn(&SqlType) -> bool) -> bool {
    match ty.plain() {
        SqlType::Array(element) => some_part(element, is_it),
        SqlType::Struct(fields) => fields.iter().any(|(_, ty)| some_part(ty, is_it)),
        other => is_it(other),
    }
}

/// Whether it is a cast from or to the names of what is in the catalog.
pub(super) fn names_objects(function: &dyn ScalarUDFImpl) -> bool {
    function
        .downcast_ref::<TextCast>()
        .is_some_and(|cast| match &cast.direction {
            Direction::From(ty) | Direction::To(ty) => some_part(ty, &is_system),
            Direction::As(_) | Direction::Letter => false,
        })
}

/// Whether it is a cast whose result may be another one in the next transaction.
pub(super) fn is_of_moment(function: &dyn ScalarUDFImpl) -> bool {
    function
        .downcast_ref::<TextCast>()
        .is_some_and(|cast| cast.is_of_moment)
}

// Two casts are the same when they read the same text as the same value: the keys say all that matters of the settings.
impl PartialEq for TextCast {
    fn eq(&self, other: &Self) -> bool {
        self.direction == other.direction
            && self.casts.key == other.casts.key
            && self.is_of_moment == other.is_of_moment
            && (!self.is_of_moment || self.casts.moment == other.casts.moment)
    }
}

impl Eq for TextCast {}

impl std::hash::Hash for TextCast {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.direction.hash(state);
        self.casts.key.hash(state);
    }
}

impl TextCast {
    fn parsed(&self, texts: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
        let mut decoder = ColumnDecoder::new(ty, Format::Text, &self.casts.settings, texts.len());
        for row in 0..texts.len() {
            let text = if texts.is_null(row) {
                None
            } else {
                Some(text_at(texts, row)?.as_bytes())
            };
            decoder.append(text)?;
        }
        let values = decoder.finish()?;
        let wanted = data_type(ty, &self.casts.time_zone);
        // Only the zone's label can differ: the instant is the same.
        if values.data_type() == &wanted {
            Ok(values)
        } else if values.data_type().equals_datatype(&wanted) {
            // An array's element field says that it is a uuid; the values are the same.
            let relabelled = values.to_data().into_builder().data_type(wanted).build()?;
            Ok(arrow::array::make_array(relabelled))
        } else {
            Ok(arrow::compute::cast(&values, &wanted)?)
        }
    }

    fn printed(&self, values: &ArrayRef, ty: &SqlType, field: &FieldRef) -> Result<ArrayRef> {
        // The wire says `t`, a cast says `true`.
        if let Some(values) = values.as_boolean_opt() {
            let (yes, no) = match self.direction {
                Direction::Letter => ("t", "f"),
                _ => ("true", "false"),
            };
            let words = values
                .iter()
                .map(|value| value.map(|value| if value { yes } else { no }));
            return Ok(Arc::new(words.collect::<StringViewArray>()));
        }
        let encoder = ColumnEncoder::new(field, ty, Format::Text, &self.casts.settings)?;
        let column = encoder.column(values)?;
        let mut builder = StringViewBuilder::with_capacity(values.len());
        let mut text = BytesMut::new();
        for row in 0..values.len() {
            text.clear();
            if column.write(row, &mut text)? {
                let printed = std::str::from_utf8(&text).map_err(|_| Error::internal("a text form is UTF-8"))?;
                builder.append_value(printed);
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }
}

fn text_at(texts: &ArrayRef, row: usize) -> Result<&str> {
    match texts.data_type() {
        DataType::Utf8View => Ok(texts.as_string_view().value(row)),
        DataType::Utf8 => Ok(texts.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Ok(texts.as_string::<i64>().value(row)),
        other => Err(Error::internal(format!("a text of type {other}"))),
    }
}

impl ScalarUDFImpl for TextCast {
    fn name(&self) -> &str {
        match self.direction {
            Direction::From(_) => FROM_TEXT,
            Direction::As(_) => "staffa_as",
            Direction::To(_) => TO_TEXT,
            Direction::Letter => "staffa_letter",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match &self.direction {
            Direction::From(ty) | Direction::As(ty) => data_type(ty, &self.casts.time_zone),
            Direction::To(_) | Direction::Letter => DataType::Utf8View,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.first().is_none_or(|field| field.is_nullable());
        // The values of an array stay as they are, and so does the field of its elements.
        if let (Direction::As(SqlType::Array(element)), Some(given)) = (&self.direction, args.arg_fields.first()) {
            let list = Field::new(self.name(), given.data_type().clone(), nullable);
            let element = arrow_field("", element, true, &self.casts.time_zone);
            return Ok(Arc::new(with_element_type(list, &element)));
        }
        let ty = match &self.direction {
            Direction::From(ty) | Direction::As(ty) => ty,
            Direction::To(_) | Direction::Letter => &SqlType::Text,
        };
        Ok(Arc::new(arrow_field(self.name(), ty, nullable, &self.casts.time_zone)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let (Some(argument), Some(field)) = (args.args.into_iter().next(), args.arg_fields.first()) else {
            return Err(Error::internal("a cast of nothing").into());
        };
        if matches!(self.direction, Direction::As(_)) {
            return Ok(argument);
        }
        let scalar = matches!(argument, ColumnarValue::Scalar(_));
        let array = argument.into_array(if scalar { 1 } else { args.number_rows })?;
        let result = match &self.direction {
            Direction::From(ty) => self.parsed(&array, ty)?,
            Direction::As(ty) | Direction::To(ty) => self.printed(&array, ty, field)?,
            Direction::Letter => self.printed(&array, &SqlType::Boolean, field)?,
        };
        if scalar {
            return Ok(ColumnarValue::Scalar(match result.as_list_opt::<i32>() {
                // Taken apart and put together again, its element field would not say any more that it is a uuid.
                Some(list) => ScalarValue::List(Arc::new(list.clone())),
                None => ScalarValue::try_from_array(&result, 0)?,
            }));
        }
        Ok(ColumnarValue::Array(result))
    }
}
