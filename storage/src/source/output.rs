//! What a scan gives: its projection, computed of the columns that were read.
//!
//! What is computed of one text alone is computed once for each text of a chunk's dictionary, where rows are many more than texts:
//!
//! ```text
//! regexp_replace(url, …) of a million rows  ->  of a hundred thousand texts, and the rows' codes
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat, max, min, take};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Schema, SchemaRef, UInt32Type};
use datafusion::common::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::utils::collect_columns;

use super::condition::over_columns;
use crate::chunk::{BLOCK_ROWS, compact_type};

/// Values are computed of a dictionary once so many rows were given for each of its texts: of few rows they are computed one by one.
const ROWS_SHARE: usize = 8;

/// More than this of a dictionary is not kept.
const VALUES_BYTES_MAX: usize = 64 << 20;

/// A column of what a scan gives.
#[derive(Clone)]
pub(super) struct Output {
    /// Over the columns that are read.
    expr: Arc<dyn PhysicalExpr>,
    /// As codes of a dictionary.
    is_coded: bool,
    /// The only column it is computed of, if that is a text.
    of_text: Option<usize>,
    /// The column of 32 bits whose numbers it gives in 16: Iceberg has no `smallint`.
    of_number: Option<usize>,
}

impl Output {
    /// `expr` is over the columns of `schema`.
    pub(super) fn new(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Self {
        let coded = expr.downcast_ref::<CastExpr>().filter(|cast| {
            let inner = cast.expr();
            let of = inner.data_type(schema).ok();
            let is_text = of.as_ref() == Some(&DataType::Utf8View);
            is_text && !inner.is::<Column>() && compact_type(&DataType::Utf8View).as_ref() == Some(cast.cast_type())
        });
        let is_coded = coded.is_some();
        let expr = coded.map_or_else(|| Arc::clone(expr), |cast| Arc::clone(cast.expr()));
        let is_text = |column: &Column| {
            let field = schema.fields().get(column.index());
            field.is_some_and(|field| *field.data_type() == DataType::Utf8View)
        };
        let columns: Vec<Column> = collect_columns(&expr).into_iter().collect();
        let of_text = match columns.as_slice() {
            [column] if is_text(column) && !expr.is::<Column>() && !is_volatile(&expr) => Some(column.index()),
            _ => None,
        };
        let number = expr
            .downcast_ref::<CastExpr>()
            .filter(|cast| cast.cast_type() == &DataType::Int16);
        let number = number
            .and_then(|cast| cast.expr().downcast_ref::<Column>())
            .map(Column::index);
        let is_wide = |column: &usize| {
            schema
                .fields()
                .get(*column)
                .is_some_and(|field| *field.data_type() == DataType::Int32)
        };
        let of_number = number.filter(is_wide);
        Self {
            expr,
            is_coded,
            of_text,
            of_number,
        }
    }

    /// The text whose codes it is better computed of.
    pub(super) fn of_text(&self) -> Option<usize> {
        self.of_text
    }
}

fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is_volatile_node() || expr.children().into_iter().any(is_volatile)
}

/// The values of an output for a dictionary.
#[derive(Clone, Default)]
pub(super) enum OfTexts {
    #[default]
    Unknown,
    Known(ArrayRef),
    /// They are too large, or cannot be computed: there may be texts that no row has any more.
    Failed,
}

/// Columns as they were read, texts maybe as codes where they themselves are wanted, too.
pub(super) struct ReadColumns<'a> {
    schema: &'a SchemaRef,
    columns: Vec<ArrayRef>,
    /// In the types of the schema, once they were wanted so.
    plain: Vec<Option<ArrayRef>>,
    rows: usize,
}

impl<'a> ReadColumns<'a> {
    pub(super) fn new(schema: &'a SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Self {
        Self {
            schema,
            plain: vec![None; columns.len()],
            columns,
            rows,
        }
    }

    /// What the scan gives of these rows, after `rows_before` of the row group.
    pub(super) fn give(
        mut self,
        outputs: &[Output],
        of_texts: &mut [OfTexts],
        rows_before: usize,
    ) -> DfResult<Vec<ArrayRef>> {
        let mut given = Vec::with_capacity(outputs.len());
        let mut batch = None;
        for (output, of_texts) in outputs.iter().zip(of_texts) {
            if let Some(array) = self.by_codes(output, of_texts, rows_before)? {
                given.push(array);
                continue;
            }
            if let Some(column) = output.expr.downcast_ref::<Column>() {
                given.push(self.plain(column.index())?);
                continue;
            }
            if let Some(column) = output.of_number
                && let Some(small) = small_numbers(&self.plain(column)?)
            {
                given.push(small);
                continue;
            }
            let batch = match &batch {
                Some(batch) => batch,
                None => batch.insert(self.batch()?),
            };
            let array = output.expr.evaluate(batch)?.into_array(self.rows)?;
            given.push(match output.is_coded {
                true => each_its_own(array)?,
                false => array,
            });
        }
        Ok(given)
    }

    /// By what is computed of the dictionary's texts. Nulls have none there: rows with them are computed one by one.
    fn by_codes(&self, output: &Output, of_texts: &mut OfTexts, rows_before: usize) -> DfResult<Option<ArrayRef>> {
        let coded = output.of_text.and_then(|column| self.columns.get(column));
        let coded = coded.and_then(|coded| coded.as_dictionary_opt::<UInt32Type>());
        let Some(coded) = coded.filter(|coded| coded.null_count() == 0) else {
            return Ok(None);
        };
        let texts = coded.values();
        if matches!(of_texts, OfTexts::Unknown) && rows_before * ROWS_SHARE >= texts.len() {
            let values = self.of_texts(output, texts).ok().flatten();
            *of_texts = values.map_or(OfTexts::Failed, OfTexts::Known);
        }
        let OfTexts::Known(values) = &*of_texts else {
            return Ok(None);
        };
        if !output.is_coded {
            return Ok(Some(take(values, coded.keys(), None)?));
        }
        let codes = coded.keys().values();
        let nulls = values.nulls().map(|nulls| {
            let valid = codes.iter().map(|code| nulls.is_valid(*code as usize));
            NullBuffer::from_iter(valid)
        });
        let codes = UInt32Array::new(codes.clone(), nulls);
        Ok(Some(Arc::new(DictionaryArray::try_new(codes, Arc::clone(values))?)))
    }

    /// None where they are too large to be kept.
    fn of_texts(&self, output: &Output, texts: &ArrayRef) -> DfResult<Option<ArrayRef>> {
        let column = output.of_text.unwrap_or(0);
        let expr = over_columns(&output.expr, &[column])?;
        let schema = Arc::new(self.schema.project(&[column])?);
        let (mut parts, mut bytes) = (Vec::new(), 0);
        for start in (0..texts.len()).step_by(BLOCK_ROWS) {
            let part = texts.slice(start, BLOCK_ROWS.min(texts.len() - start));
            let rows = part.len();
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![part])?;
            let values = expr.evaluate(&batch)?.into_array(rows)?;
            bytes += values.to_data().get_slice_memory_size()?;
            if bytes > VALUES_BYTES_MAX {
                return Ok(None);
            }
            parts.push(values);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(Some(concat(&parts)?))
    }

    fn plain(&mut self, column: usize) -> DfResult<ArrayRef> {
        if let Some(plain) = &self.plain[column] {
            return Ok(Arc::clone(plain));
        }
        let (array, data_type) = (&self.columns[column], self.schema.field(column).data_type());
        let plain = match array.as_dictionary_opt::<UInt32Type>() {
            Some(coded) if array.data_type() != data_type => take(coded.values(), coded.keys(), None)?,
            _ => Arc::clone(array),
        };
        self.plain[column] = Some(Arc::clone(&plain));
        Ok(plain)
    }

    fn batch(&mut self) -> DfResult<RecordBatch> {
        let columns = (0..self.columns.len()).map(|column| self.plain(column));
        let columns = columns.collect::<DfResult<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(self.schema),
            columns,
            &options,
        )?)
    }
}

/// Numbers of 32 bits in 16, if all fit: Arrow's cast asks each by itself, which is most of what a sum of such a column costs.
fn small_numbers(numbers: &ArrayRef) -> Option<ArrayRef> {
    let numbers = numbers.as_primitive_opt::<Int32Type>()?;
    let fits = |bound: Option<i32>| bound.is_none_or(|bound| i16::try_from(bound).is_ok());
    let all_fit = fits(min(numbers)) && fits(max(numbers));
    all_fit.then(|| Arc::new(numbers.unary::<_, Int16Type>(|number| number as i16)) as _)
}

/// Nobody knows which texts are alike.
fn each_its_own(texts: ArrayRef) -> DfResult<ArrayRef> {
    let codes = UInt32Array::new((0..texts.len() as u32).collect(), texts.nulls().cloned());
    Ok(Arc::new(DictionaryArray::try_new(codes, texts)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::compute::cast;

    use super::*;

    #[test]
    fn numbers_that_fit_are_those_of_the_cast() {
        let of = |numbers: Vec<Option<i32>>| Arc::new(Int32Array::from(numbers)) as ArrayRef;
        let ends = of(vec![Some(-32768), None, Some(32767), Some(-1)]);
        let fitting = [of(vec![]), of(vec![None]), ends];
        for numbers in fitting {
            let small = small_numbers(&numbers).expect("they fit");
            assert_eq!(&small, &cast(&numbers, &DataType::Int16).expect("a cast"));
        }
        for beyond in [-32769, 32768] {
            assert!(small_numbers(&of(vec![Some(1), Some(beyond)])).is_none(), "{beyond}");
        }
    }
}
