//! Grouping by keys that are whole numbers, decimals of up to 64 bits, truth values or texts.
//!
//! What it does otherwise than DataFusion's: the columns of a key are one number ([`Groups`]), found in a table that has
//! the keys themselves in its slots. Sums and counts are added up in 64 bits (`totals.rs`), of columns as a scan has them (`compact.rs`). What else is
//! done with the rows of a group is DataFusion's: its accumulators.
//!
//! It is quick where it fits, and hands over to DataFusion's operator where it does not: when memory is refused (that one can spill), or
//! when nearly each row is a group of its own. What it has by then goes first: as partial results, which is what
//! both kinds of operators it stands for may give or take.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, aggregate_expressions};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, replace_children_if_necessary};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use crate::compact::{Compact, compacted, widened};
use crate::decimal::Program;
use crate::groups::Groups;
use crate::stock::{as_stock, shown_as_stock, with_new_children};
use crate::totals::Totals;

/// So many rows are grouped before it is asked whether it pays.
const ROWS_TRIED: usize = 100_000;

/// A partial grouping that leaves more than so many hundredths of its rows is not worth its table.
const GROUPS_HUNDREDTHS_MAX: usize = 80;

/// Groups are numbered in 32 bits.
const GROUPS_MAX: usize = 1 << 31;

/// The operator.
pub struct Aggregate {
    /// What it takes the place of.
    stock: AggregateExec,
    /// The stock's, or one that gives columns of it in compact types.
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<PhysicalExprRef>,
    metrics: ExecutionPlanMetricsSet,
}

impl Aggregate {
    /// In place of one of DataFusion's, if this operator can do what it does.
    pub fn instead_of(stock: &AggregateExec) -> Option<Self> {
        let is_known = match stock.mode() {
            AggregateMode::Partial | AggregateMode::Final | AggregateMode::FinalPartitioned => true,
            // What these have of a group cannot be handed over.
            _ => false,
        };
        let groups = stock.group_expr();
        let is_plain = groups.is_single()
            && stock.limit_options().is_none()
            && stock.dynamic_expressions_produced().is_empty()
            && *stock.input_order_mode() == InputOrderMode::Linear;
        // Those that ask for an order of the rows take more of a row than their arguments.
        let mut functions = stock.aggr_expr().iter();
        let are_plain =
            functions.all(|function| function.order_bys().is_empty() && function.groups_accumulator_supported());
        if !(is_known && is_plain && are_plain) {
            return None;
        }
        let aggregate = Self {
            stock: copied(stock),
            input: Arc::clone(stock.input()),
            keys: groups.input_exprs(),
            metrics: ExecutionPlanMetricsSet::new(),
        };
        aggregate.groups().is_some().then_some(aggregate)
    }

    /// The same over columns as a scan has them, where that is less.
    ///
    /// # Errors
    /// Of DataFusion, about expressions that do not fit their input.
    pub fn made_compact(self) -> Result<Self> {
        Ok(match compacted(&self.stock)? {
            Some(Compact { stock, input }) => Self {
                keys: stock.group_expr().input_exprs(),
                stock,
                input,
                metrics: self.metrics,
            },
            None => self,
        })
    }

    /// Where its rows come from.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// What it takes the place of, over columns of other types perhaps.
    pub fn stock(&self) -> &AggregateExec {
        &self.stock
    }

    fn groups(&self) -> Option<Groups> {
        let schema = self.stock.input().schema();
        let column = |key: &PhysicalExprRef| Some((key.data_type(&schema).ok()?, key.nullable(&schema).ok()?));
        Groups::new(&self.keys.iter().map(column).collect::<Option<Vec<_>>>()?)
    }
}

/// The same operator with nothing run yet.
fn copied(stock: &AggregateExec) -> AggregateExec {
    stock.with_new_aggr_exprs(stock.aggr_expr().to_vec())
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregate")
            .field("stock", &self.stock)
            .finish_non_exhaustive()
    }
}

shown_as_stock!(Aggregate);

impl ExecutionPlan for Aggregate {
    as_stock!(
        name,
        properties,
        input_requirements,
        maintains_input_order,
        apply_expressions,
        statistics
    );
    with_new_children!();

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.input.schema() != self.stock.input().schema()
            && children.len() == 1
            && let Some(input) = children.pop_if(|input| input.schema() == self.input.schema())
        {
            return Ok(Arc::new(Self {
                stock: copied(&self.stock),
                input,
                keys: self.keys.clone(),
                metrics: ExecutionPlanMetricsSet::new(),
            }));
        }
        let replaced = Arc::new(copied(&self.stock)).replace_children(children, options)?;
        match replaced.downcast_ref().and_then(Self::instead_of) {
            Some(aggregate) => Ok(Arc::new(aggregate)),
            None => Ok(replaced),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let Some(groups) = self.groups() else {
            return internal_err!("an aggregate has other keys than it was made for");
        };
        let stock = copied(&self.stock);
        let mode = *stock.mode();
        let input_schema = stock.input().schema();
        let arguments = aggregate_expressions(stock.aggr_expr(), &mode, stock.group_expr().num_group_exprs())?;
        let mut program = Program::default();
        let mut functions = Vec::with_capacity(arguments.len());
        for ((function, arguments), filter) in stock.aggr_expr().iter().zip(arguments).zip(stock.filter_expr()) {
            let is_partial = mode == AggregateMode::Partial;
            // The others were asked before.
            let filter = filter.clone().filter(|_| is_partial);
            let totals = match &filter {
                None => Totals::of(function, &arguments, is_partial, &input_schema, &mut program)?,
                Some(_) => None,
            };
            functions.push(Function {
                totals,
                accumulator: function.create_groups_accumulator()?,
                arguments,
                filter,
            });
        }
        let grouping = Grouping {
            functions,
            program,
            keys: self.keys.clone(),
            mode,
            groups,
            rows: 0,
            memory: MemoryConsumer::new("Aggregate").register(context.memory_pool()),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            stock: Arc::new(stock),
            context,
        };
        let rows = stream::once(grouping.run(input)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition's work.
struct Grouping {
    stock: Arc<AggregateExec>,
    mode: AggregateMode,
    keys: Vec<PhysicalExprRef>,
    functions: Vec<Function>,
    /// What totals add up.
    program: Program,
    groups: Groups,
    rows: usize,
    memory: MemoryReservation,
    metrics: BaselineMetrics,
    context: Arc<TaskContext>,
}

/// What is computed of each group.
struct Function {
    /// Where 64 bits are enough.
    totals: Option<Totals>,
    accumulator: Box<dyn GroupsAccumulator>,
    /// What of a row, or of a partial result, it takes.
    arguments: Vec<PhysicalExprRef>,
    filter: Option<PhysicalExprRef>,
}

impl Function {
    fn bytes(&self) -> usize {
        self.accumulator.size() + self.totals.as_ref().map_or(0, Totals::bytes)
    }

    fn accumulate(&mut self, batch: &RecordBatch, of_rows: &[usize], groups: usize, is_partial: bool) -> Result<()> {
        let values = evaluated(&self.arguments, batch)?;
        if !is_partial {
            return self.accumulator.merge_batch(&values, of_rows, groups);
        }
        let filter = match &self.filter {
            Some(filter) => Some(filter.evaluate(batch)?.into_array(batch.num_rows())?),
            None => None,
        };
        let filter: Option<&BooleanArray> = filter.as_ref().and_then(|filter| filter.as_boolean_opt());
        self.accumulator.update_batch(&values, of_rows, filter, groups)
    }

    /// The partial results or the last ones of all groups.
    fn take(&mut self, groups: usize, partial: bool, fields: &[FieldRef]) -> Result<Vec<ArrayRef>> {
        if let (Some(totals), [field]) = (&mut self.totals, fields)
            && let Some(array) = totals.take(groups, field.data_type(), self.accumulator.as_mut())?
        {
            return Ok(vec![array]);
        }
        match partial {
            true => self.accumulator.state(EmitTo::All),
            false => Ok(vec![self.accumulator.evaluate(EmitTo::All)?]),
        }
    }
}

impl Grouping {
    async fn run(mut self, mut input: SendableRecordBatchStream) -> Result<SendableRecordBatchStream> {
        let mut of_rows = Vec::new();
        while let Some(batch) = input.next().await.transpose()? {
            let timer = self.metrics.elapsed_compute().clone();
            let _timer = timer.timer();
            if batch.num_rows() == 0 {
                continue;
            }
            let keys = evaluated(&self.keys, &batch)?;
            // A table that must grow asks before.
            let mut room = |bytes| self.memory.try_grow(bytes).is_ok();
            let fits = self.groups.len() + batch.num_rows() < GROUPS_MAX;
            if !fits || !self.groups.add(&keys, &mut of_rows, &mut room)? {
                return self.hand_over(Some(batch), input);
            }
            self.accumulate(&batch, &of_rows)?;
            self.rows += batch.num_rows();
            if self.memory.try_resize(self.bytes()).is_err() || self.is_useless() {
                return self.hand_over(None, input);
            }
        }
        drop(input);
        let is_partial = self.mode == AggregateMode::Partial;
        let schema = self.stock.schema();
        let result = self.take(is_partial, &schema)?;
        self.given(schema, result)
    }

    fn bytes(&self) -> usize {
        self.groups.bytes() + self.functions.iter().map(Function::bytes).sum::<usize>()
    }

    /// Whether the rows could as well be handed on.
    fn is_useless(&self) -> bool {
        self.mode == AggregateMode::Partial
            && self.rows >= ROWS_TRIED
            && self.groups.len() * 100 > self.rows * GROUPS_HUNDREDTHS_MAX
    }

    fn accumulate(&mut self, batch: &RecordBatch, of_rows: &[usize]) -> Result<()> {
        let groups = self.groups.len();
        let mut values = self.program.over(batch);
        let mut wide = None;
        for function in &mut self.functions {
            if let Some(totals) = &mut function.totals
                && totals.add(&mut values, of_rows, groups, function.accumulator.as_mut())?
            {
                continue;
            }
            let wide = match &mut wide {
                Some(wide) => wide,
                none => none.insert(widened(batch, &self.stock.input().schema())?),
            };
            function.accumulate(wide, of_rows, groups, self.mode == AggregateMode::Partial)?;
        }
        Ok(())
    }

    /// All groups, with partial results or with the last ones.
    fn take(&mut self, partial: bool, schema: &SchemaRef) -> Result<RecordBatch> {
        let timer = self.metrics.elapsed_compute().clone();
        let _timer = timer.timer();
        let groups = self.groups.len();
        let mut columns = self.groups.take()?;
        for (function, of_stock) in self.functions.iter_mut().zip(self.stock.aggr_expr()) {
            let count = match partial {
                true => of_stock.state_fields()?.len(),
                false => 1,
            };
            let fields = schema.fields().iter().skip(columns.len()).take(count);
            columns.extend(function.take(groups, partial, &fields.cloned().collect::<Vec<_>>())?);
        }
        let batch = RecordBatch::try_new(Arc::clone(schema), columns)?;
        Ok(batch)
    }

    /// A result in batches of the usual size.
    fn given(self, schema: SchemaRef, result: RecordBatch) -> Result<SendableRecordBatchStream> {
        let size = self.context.session_config().batch_size();
        self.metrics.record_output(result.num_rows());
        let batches = stream::iter((0..result.num_rows()).step_by(size).map(move |start| {
            // The memory is counted until the last of it is given.
            let _counted = &self.memory;
            let rows = result.slice(start, size.min(result.num_rows() - start));
            // Whoever keeps some of the rows, or weighs them, has to do with their texts alone.
            let columns = rows.columns().iter().map(|column| match column.as_string_view_opt() {
                Some(texts) => Arc::new(texts.gc()) as _,
                None => Arc::clone(column),
            });
            Ok(RecordBatch::try_new(rows.schema(), columns.collect())?)
        }));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    /// The rest is DataFusion's, and what is here goes before it.
    fn hand_over(
        mut self,
        batch: Option<RecordBatch>,
        input: SendableRecordBatchStream,
    ) -> Result<SendableRecordBatchStream> {
        let (stock, context) = (Arc::clone(&self.stock), Arc::clone(&self.context));
        let (input_schema, schema) = (stock.input().schema(), stock.schema());
        let wide = Arc::clone(&input_schema);
        let rest = stream::iter(batch.map(Ok)).chain(input);
        let rest = rest.map(move |batch| widened(&batch?, &wide));
        let rest = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&input_schema), rest));
        match self.mode {
            AggregateMode::Partial => {
                let result = self.take(true, &schema)?;
                let own = self.given(Arc::clone(&schema), result)?;
                let rest = rest_of(&stock, rest, context)?;
                Ok(Box::pin(RecordBatchStreamAdapter::new(schema, own.chain(rest))))
            }
            _ => {
                let result = self.take(true, &input_schema)?;
                let own = self.given(Arc::clone(&input_schema), result)?;
                let all = Box::pin(RecordBatchStreamAdapter::new(input_schema, own.chain(rest)));
                rest_of(&stock, all, context)
            }
        }
    }
}

fn evaluated(expressions: &[PhysicalExprRef], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let values = expressions.iter();
    values
        .map(|expression| expression.evaluate(batch)?.into_array(batch.num_rows()))
        .collect()
}

/// What DataFusion's operator makes of these rows.
fn rest_of(
    stock: &Arc<AggregateExec>,
    rows: SendableRecordBatchStream,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let rows = Arc::new(Rows::of(rows));
    let stock = replace_children_if_necessary(Arc::clone(stock) as _, vec![rows])?;
    stock.execute(0, context)
}

/// A stream as the input of an operator, once.
struct Rows {
    rows: Mutex<Option<SendableRecordBatchStream>>,
    properties: Arc<PlanProperties>,
}

impl Rows {
    fn of(rows: SendableRecordBatchStream) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(rows.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            rows: Mutex::new(Some(rows)),
            properties: Arc::new(properties),
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

impl DisplayAs for Rows {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

impl ExecutionPlan for Rows {
    fn name(&self) -> &str {
        "Rows"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match self.rows.lock().take() {
            Some(rows) => Ok(rows),
            None => internal_err!("the rows of an aggregate were asked for twice"),
        }
    }
}

#[cfg(test)]
mod tests;
