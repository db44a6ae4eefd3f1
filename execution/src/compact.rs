//! What a partial grouping reads of a scan, as compact as the scan has it.
//!
//! ```text
//! before  Aggregate(sum(net), sum(net * (1 + tax)), sum(price), flag; Scan(price * (1 - discount) as net, price, discount, tax, flag))
//! after   Aggregate(sum(price * (1 - discount)), …;                   Scan(price::decimal64, discount::decimal64, …, flag::dictionary))
//! ```
//!
//! Sums are computed in 64 bits (`totals.rs`) and texts of keys are numbered (`groups.rs`): decimals of 128 bits and views of texts would be made
//! for nothing. A scan knows these casts, and reads the columns so. And what it would compute in 64 bits for sums alone is computed with them, where
//! it is used as it is.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL64_MAX_PRECISION, DataType, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::decimal::{Narrow, Program};
use crate::totals::Totals;

/// A partial grouping, and a scan that gives its input's columns in other types.
pub(crate) struct Compact {
    pub(crate) stock: AggregateExec,
    pub(crate) input: Arc<dyn ExecutionPlan>,
}

/// None where there is nothing to win.
pub(crate) fn compacted(stock: &AggregateExec) -> Result<Option<Compact>> {
    let with_keys = computed_keys(stock)?;
    let stock = with_keys.as_ref().unwrap_or(stock);
    let Some(source) = scanned(stock) else {
        return Ok(None);
    };
    let outputs = outputs_of(source);
    let schema = stock.input().schema();

    // What each function adds up, over columns that the scan need not compute.
    let mut program = Program::default();
    let (mut functions, mut plain) = (Vec::new(), Vec::new());
    for (function, filter) in stock.aggr_expr().iter().zip(stock.filter_expr()) {
        let arguments = function.expressions();
        let whole = arguments.iter().map(|argument| inlined(argument, &outputs));
        let whole = whole.collect::<Result<Vec<_>>>()?;
        let totals = match filter {
            None => Totals::of(function, &whole, true, &schema, &mut program)?,
            Some(_) => None,
        };
        let rewritten = totals
            .as_ref()
            .and_then(|_| function.with_new_expressions(whole, Vec::new()));
        match (totals, rewritten) {
            (Some(totals), Some(rewritten)) => {
                plain.extend(totals.counted_values().cloned());
                functions.push(Arc::new(rewritten));
            }
            _ => {
                plain.extend(arguments);
                plain.extend(filter.clone());
                functions.push(Arc::clone(function));
            }
        }
    }
    // Columns that are added up, and those that are keys; other expressions take them as they are.
    let (numbers, others): (Vec<_>, Vec<_>) = program.leaves().cloned().partition(|leaf| leaf.is::<Column>());
    let keys = stock.group_expr().input_exprs();
    let (texts, computed): (Vec<_>, Vec<_>) = keys.iter().cloned().partition(|key| key.is::<Column>());
    plain.extend(others);
    plain.extend(computed);
    let is_among = |exprs: &[PhysicalExprRef], index: usize| {
        let mut columns = exprs.iter().flat_map(collect_columns);
        columns.any(|column| column.index() == index)
    };
    let (mut kept, mut wide, mut compact) = (Vec::new(), Vec::new(), Vec::new());
    for (index, field) in schema.fields().iter().enumerate() {
        let (is_number, is_key, is_plain) = (
            is_among(&numbers, index),
            is_among(&texts, index),
            is_among(&plain, index),
        );
        if !(is_number || is_key || is_plain) {
            continue;
        }
        let data_type = match field.data_type() {
            DataType::Decimal128(precision, scale) if *precision <= DECIMAL64_MAX_PRECISION && !is_key => {
                Some(DataType::Decimal64(*precision, *scale))
            }
            text @ DataType::Utf8View if !is_number => {
                Some(DataType::Dictionary(Box::new(DataType::UInt32), Box::new(text.clone())))
            }
            _ => None,
        };
        let is_column = outputs
            .get(index)
            .is_some_and(|output| output.is::<Column>() || is_of_text(output, source.table_schema().table_schema()));
        let column = Arc::new(Column::new(field.name(), index)) as PhysicalExprRef;
        let narrow = match data_type.filter(|_| is_column && !is_plain) {
            Some(data_type) => Arc::new(CastExpr::new(Arc::clone(&column), data_type, None)) as _,
            None => Arc::clone(&column),
        };
        kept.push(index);
        wide.push(ProjectionExpr::new(column, field.name().clone()));
        compact.push(ProjectionExpr::new(narrow, field.name().clone()));
    }
    let is_same = |column: &ProjectionExpr| column.expr.is::<Column>();
    if kept.is_empty() || compact.iter().all(is_same) && kept.len() == schema.fields().len() {
        return Ok(None);
    }

    let scan = |columns| ProjectionExec::try_new(columns, Arc::clone(stock.input()));
    let Some(input) = stock.input().try_swapping_with_projection(&scan(compact)?)? else {
        return Ok(None);
    };
    let keys = stock.group_expr().expr().iter();
    let keys = keys.map(|(key, name)| Ok((over(key, &kept)?, name.clone())));
    let mut remaining = Vec::with_capacity(functions.len());
    for function in functions {
        let arguments = function.expressions();
        let arguments = arguments.iter().map(|argument| over(argument, &kept));
        let arguments = arguments.collect::<Result<_>>()?;
        match function.with_new_expressions(arguments, Vec::new()) {
            Some(function) => remaining.push(Arc::new(function)),
            None => return Ok(None),
        }
    }
    let filters = stock.filter_expr().iter();
    let filters = filters.map(|filter| filter.as_ref().map(|filter| over(filter, &kept)).transpose());
    let wide: Arc<dyn ExecutionPlan> = Arc::new(scan(wide)?);
    let wide_schema = wide.schema();
    let rewritten = AggregateExec::try_new(
        AggregateMode::Partial,
        PhysicalGroupBy::new_single(keys.collect::<Result<_>>()?),
        remaining,
        filters.collect::<Result<_>>()?,
        wide,
        wide_schema,
    )?;
    let is_alike = rewritten.schema() == stock.schema();
    Ok(is_alike.then_some(Compact {
        stock: rewritten,
        input,
    }))
}

/// The scan of files that is the input of a partial grouping.
fn scanned(stock: &AggregateExec) -> Option<&Arc<dyn FileSource>> {
    if *stock.mode() != AggregateMode::Partial {
        return None;
    }
    let scan = stock.input().downcast_ref::<DataSourceExec>()?;
    let source = scan.data_source().downcast_ref::<FileScanConfig>()?.file_source();
    source.projection().is_some().then_some(source)
}

/// What a scan gives, over its table's columns.
fn outputs_of(source: &Arc<dyn FileSource>) -> Vec<PhysicalExprRef> {
    source
        .projection()
        .into_iter()
        .flat_map(|exprs| exprs.expr_iter())
        .collect()
}

/// The same with keys that are texts computed of one text as columns of its scan, which computes them once for each text that it knows
/// by a code.
fn computed_keys(stock: &AggregateExec) -> Result<Option<AggregateExec>> {
    let Some(source) = scanned(stock) else {
        return Ok(None);
    };
    let (outputs, schema) = (outputs_of(source), stock.input().schema());
    let is_column = |key: &PhysicalExprRef| {
        let columns = collect_columns(key);
        let mut outputs = columns.iter().filter_map(|column| outputs.get(column.index()));
        outputs.all(|output| output.is::<Column>())
    };
    let mut given: Vec<ProjectionExpr> = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let column = Arc::new(Column::new(field.name(), index));
        given.push(ProjectionExpr::new(column, field.name().clone()));
    }
    let mut keys = Vec::new();
    for (key, name) in stock.group_expr().expr() {
        let is_text = key.data_type(&schema)? == DataType::Utf8View;
        keys.push(match is_text && is_of_text(key, &schema) && is_column(key) {
            true => {
                given.push(ProjectionExpr::new(Arc::clone(key), name.clone()));
                (Arc::new(Column::new(name, given.len() - 1)) as _, name.clone())
            }
            false => (Arc::clone(key), name.clone()),
        });
    }
    if given.len() == schema.fields().len() {
        return Ok(None);
    }
    let input = ProjectionExec::try_new(given, Arc::clone(stock.input()))?;
    let Some(input) = stock.input().try_swapping_with_projection(&input)? else {
        return Ok(None);
    };
    let schema = input.schema();
    let rewritten = AggregateExec::try_new(
        AggregateMode::Partial,
        PhysicalGroupBy::new_single(keys),
        stock.aggr_expr().to_vec(),
        stock.filter_expr().to_vec(),
        input,
        schema,
    )?;
    Ok((rewritten.schema() == stock.schema()).then_some(rewritten))
}

/// Whether it is computed of a text alone, always alike.
fn is_of_text(expression: &PhysicalExprRef, schema: &Schema) -> bool {
    fn is_volatile(expression: &PhysicalExprRef) -> bool {
        expression.is_volatile_node() || expression.children().into_iter().any(is_volatile)
    }
    let mut columns = collect_columns(expression).into_iter();
    let (Some(column), None) = (columns.next(), columns.next()) else {
        return false;
    };
    let is_text = schema
        .fields()
        .get(column.index())
        .is_some_and(|field| *field.data_type() == DataType::Utf8View);
    is_text && !expression.is::<Column>() && !is_volatile(expression)
}

/// An expression over a scan's columns, with the arithmetic of decimals in it that the scan would compute of columns it gives anyway.
fn inlined(expression: &PhysicalExprRef, outputs: &[PhysicalExprRef]) -> Result<PhysicalExprRef> {
    let given = |leaf: &PhysicalExprRef| {
        let column = leaf.downcast_ref::<Column>()?;
        let place = outputs.iter().position(|output| output == leaf)?;
        Some(Arc::new(Column::new(column.name(), place)) as PhysicalExprRef)
    };
    let inline = |expression: PhysicalExprRef| {
        let output = expression.downcast_ref::<Column>();
        let output = output.and_then(|column| outputs.get(column.index()));
        let Some(narrow) = output.filter(|output| output.is::<Narrow>()) else {
            return Ok(Transformed::no(expression));
        };
        let leaves: Option<Vec<PhysicalExprRef>> = narrow.children().into_iter().map(given).collect();
        match leaves {
            Some(leaves) => Ok(Transformed::yes(Arc::clone(narrow).with_new_children(leaves)?)),
            None => Ok(Transformed::no(expression)),
        }
    };
    Arc::clone(expression).transform_up(inline).data()
}

/// An expression over some of the columns.
fn over(expression: &PhysicalExprRef, kept: &[usize]) -> Result<PhysicalExprRef> {
    let place = |expression: PhysicalExprRef| {
        let column = expression.downcast_ref::<Column>();
        let place = column.and_then(|column| Some((column, kept.iter().position(|index| *index == column.index())?)));
        Ok(match place {
            Some((column, place)) => Transformed::yes(Arc::new(Column::new(column.name(), place)) as _),
            None => Transformed::no(expression),
        })
    };
    Arc::clone(expression).transform_up(place).data()
}

/// The batch with the columns as others than ours read them.
pub(crate) fn widened(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => Ok(cast(column, field.data_type())?),
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}
