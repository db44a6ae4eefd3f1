//! Accumulators that keep what they are given, and weigh it in full: DataFusion's count of texts only the views, 16 bytes each, and
//! not what these show. Without it, `array_agg` of long texts would hold memory that nobody knows of.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;

/// Whether values of a type have parts that are not weighed.
pub(super) fn has_texts(ty: &DataType) -> bool {
    match ty {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::List(element) => has_texts(element.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_texts(field.data_type())),
        _ => false,
    }
}

/// Bytes of the texts in it that its views show.
fn text_bytes(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used(),
        DataType::List(_) => text_bytes(array.as_list::<i32>().values()),
        DataType::Struct(_) => array
            .as_struct()
            .columns()
            .iter()
            .map(|column| text_bytes(column))
            .sum(),
        _ => 0,
    }
}

/// Of all rows.
#[derive(Debug)]
pub(super) struct Weighed {
    inner: Box<dyn Accumulator>,
    text_bytes: usize,
}

impl Weighed {
    pub(super) fn new(inner: Box<dyn Accumulator>) -> Self {
        Self { inner, text_bytes: 0 }
    }
}

impl Accumulator for Weighed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.text_bytes += values.first().map_or(0, |values| text_bytes(values));
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size() + self.text_bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.text_bytes += states.first().map_or(0, |states| text_bytes(states));
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let bytes = values.first().map_or(0, |values| text_bytes(values));
        self.text_bytes = self.text_bytes.saturating_sub(bytes);
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

/// Of the rows of each group.
pub(super) struct WeighedGroups {
    inner: Box<dyn GroupsAccumulator>,
    text_bytes: usize,
}

impl WeighedGroups {
    pub(super) fn new(inner: Box<dyn GroupsAccumulator>) -> Self {
        Self { inner, text_bytes: 0 }
    }

    /// Some groups go: how much of the texts was theirs is known when all do.
    fn emits(&mut self, emit_to: &EmitTo) {
        if matches!(emit_to, EmitTo::All) {
            self.text_bytes = 0;
        }
    }
}

impl GroupsAccumulator for WeighedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.text_bytes += values.first().map_or(0, |values| text_bytes(values));
        self.inner
            .update_batch(values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emits(&emit_to);
        self.inner.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.emits(&emit_to);
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.text_bytes += values.first().map_or(0, |values| text_bytes(values));
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size() + self.text_bytes
    }
}
