//! `pg_get_keywords()`

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringViewArray};
use arrow::datatypes::Schema;
use datafusion::catalog::{MemTable, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::Result as DataFusionResult;
use staffa_catalog::{SqlType, SystemType};

use crate::error::undefined_function;
use crate::pg_catalog::facts;
use crate::types::arrow_field;

#[derive(Debug)]
pub(super) struct Keywords;

impl TableFunctionImpl for Keywords {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> DataFusionResult<Arc<dyn TableProvider>> {
        if !args.exprs().is_empty() {
            return Err(undefined_function("pg_get_keywords").into());
        }
        let words: Vec<[&'static str; 5]> = facts::keywords().collect();
        let text =
            |at: usize| -> ArrayRef { Arc::new(words.iter().map(|word| Some(word[at])).collect::<StringViewArray>()) };
        let bare: BooleanArray = words.iter().map(|word| Some(word[2] == "t")).collect();
        let columns = [
            ("word", SqlType::Text),
            ("catcode", SqlType::System(SystemType::Char)),
            ("barelabel", SqlType::Boolean),
            ("catdesc", SqlType::Text),
            ("baredesc", SqlType::Text),
        ];
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, ty)| arrow_field(*name, ty, true, "UTC"))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays = vec![text(0), text(1), Arc::new(bare), text(3), text(4)];
        let rows = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
    }
}
