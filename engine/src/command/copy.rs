//! COPY FROM STDIN, COPY TO STDOUT, and `Session::append`: streams of rows into and out of tables.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use staffa_catalog::Table;
use staffa_planner::{CopyOptions, Error, Plan, Result, SqlType, copy_place_field, refuses_rows, types, with_defaults};
use tokio::sync::mpsc;

use crate::cancel::StatementGuard;
use crate::command::insert::{Writing, mismatch};
use crate::copy::{CopyReader, CopyWriter};
use crate::copy_stream::{Chunk, CopyIn, CopyOut};
use crate::session::Session;
use crate::stream::RowStream;

/// Messages of COPY data that may wait for the parser.
const CHUNKS_WAITING_MAX: usize = 8;

pub(crate) async fn copy_in(
    session: &mut Session,
    table: &Arc<Table>,
    columns: &[usize],
    options: &CopyOptions,
    guard: StatementGuard,
) -> Result<CopyIn> {
    let target = table_schema(table, session)
        .project(columns)
        .map_err(|error| Error::internal(error.to_string()))?;
    let incoming: Vec<(String, SqlType)> = columns
        .iter()
        .map(|&index| {
            let column = &table.schema().columns[index];
            (column.name.clone(), column.ty.clone())
        })
        .collect();
    let mut reader = CopyReader::new(&table.name().name, &incoming, options, &session.format_settings()?)?;
    let mut fields: Vec<FieldRef> = target.fields().iter().cloned().collect();
    if refuses_rows(table) {
        reader = reader.with_places();
        fields.push(copy_place_field());
    }
    let target = Arc::new(Schema::new(fields));
    let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let count = columns.len();
    let schema = Arc::clone(&target);
    let batches = parsed(reader, receiver).map(move |batch| typed(&batch?, &schema));
    let rows = one_time_scan(target, batches)?;
    let snapshot = session.transactions_snapshot().await?;
    let context = session.context(snapshot);
    let rows = with_defaults(&context, table, columns, rows)?;
    let writing = Writing::start(session, table.name(), rows, &guard).await?;
    Ok(CopyIn {
        columns: count,
        format: options.format.wire(),
        chunks,
        writing,
        guard,
    })
}

pub(crate) fn copy_out(session: &Session, rows: RowStream, options: &CopyOptions) -> Result<CopyOut> {
    let settings = rows.format(&session.format_settings()?);
    let columns: Vec<(String, SqlType)> = rows
        .columns()
        .iter()
        .map(|column| (column.name.clone(), column.ty.clone()))
        .collect();
    let writer = CopyWriter::new(&rows.schema(), &columns, options, &settings)?;
    Ok(CopyOut::new(rows, writer, options.format.wire()))
}

impl Session {
    /// Appends record batches to a table: the way in for programs that have Arrow data.
    ///
    /// `table` is a name as in SQL. A batch's columns are matched by position and cast to the table's types. Outside a
    /// block this is its own transaction: all rows become visible at once, or none. Gives the number of rows.
    ///
    /// # Errors
    /// No such table; another number of columns; a value that does not fit its column or is null where it must not be.
    pub async fn append(
        &mut self,
        table: &str,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Result<u64> {
        self.begin_implicit();
        match self.append_rows(table, batches).await {
            Ok(rows) => self.end_implicit().await.map(|()| rows),
            Err(error) => {
                self.fail().await;
                Err(error)
            }
        }
    }

    async fn append_rows(
        &mut self,
        table: &str,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Result<u64> {
        // COPY resolves a table's name by the same rules, and checks that it can be written.
        let mut statements = self.parse(&format!("COPY {table} FROM STDIN"))?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return Err(mismatch(format!("not the name of a table: {table}")));
        };
        let prepared = self.prepare(statement, &[]).await?;
        let guard = self.start_statement()?;
        let Plan::CopyIn { table, columns, .. } = &*self.plan_of(&prepared, &[]).await? else {
            return Err(mismatch("not the name of a table"));
        };
        let schema = table_schema(table, self).project(columns);
        let schema = Arc::new(schema.map_err(|error| Error::internal(error.to_string()))?);
        let target = Arc::clone(&schema);
        let rows = one_time_scan(schema, batches.map(move |batch| typed(&batch?, &target)))?;
        let snapshot = self.transactions_snapshot().await?;
        let context = self.context(snapshot);
        let rows = with_defaults(&context, table, columns, rows)?;
        let writing = Writing::start(self, table.name(), rows, &guard).await?;
        writing.finish(self, &guard).await
    }
}

/// The table's columns, all nullable: what may not be null is checked with a proper message when it is written.
fn table_schema(table: &Table, session: &Session) -> SchemaRef {
    let schema = types::table_arrow_schema(table.schema(), session.settings.time_zone());
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Bytes to batches. Ends with an error when the bytes end without their end mark.
fn parsed(reader: CopyReader, chunks: mpsc::Receiver<Chunk>) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let state = Some((reader, chunks));
    futures::stream::unfold(state, |state| async move {
        let (mut reader, mut chunks) = state?;
        match chunks.recv().await {
            Some(Chunk::Data(bytes)) => match reader.push(&bytes) {
                Ok(batches) => Some((batches.into_iter().map(Ok).collect(), Some((reader, chunks)))),
                Err(error) => Some((vec![Err(error)], None)),
            },
            Some(Chunk::End) => Some((reader.finish().transpose().into_iter().collect(), None)),
            Some(Chunk::Failed(error, place)) => {
                let (rows, error) = reader.fail(error);
                // An error of this stream would overtake those of its rows, which are checked beside it.
                let _ = place.send(error);
                Some((rows.transpose().into_iter().collect(), None))
            }
            None => Some((vec![Err(Error::internal("the COPY was given up"))], None)),
        }
    })
    .flat_map(futures::stream::iter)
}

/// A batch's columns cast to the types of the table's.
fn typed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let message = format!(
            "{} columns were given for {}",
            batch.num_columns(),
            schema.fields().len()
        );
        return Err(mismatch(message));
    }
    let arrays = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| -> Result<ArrayRef> {
            if array.data_type() == field.data_type() {
                return Ok(Arc::clone(array));
            }
            cast(array, field.data_type()).map_err(|error| mismatch(format!("column \"{}\": {error}", field.name())))
        });
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| Error::internal(error.to_string()))
}

/// A scan of rows that come from outside and can be read once.
fn one_time_scan(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> Result<LogicalPlan> {
    let rows = rows.map(|batch| batch.map_err(|error| DataFusionError::External(Box::new(error))));
    let rows: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
    let once = OneTime {
        schema: Arc::clone(&schema),
        rows: Mutex::new(Some(rows)),
    };
    let table = StreamingTable::try_new(schema, vec![Arc::new(once)])?;
    Ok(LogicalPlanBuilder::scan("incoming", provider_as_source(Arc::new(table)), None)?.build()?)
}

struct OneTime {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for OneTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTime").finish_non_exhaustive()
    }
}

impl PartitionStream for OneTime {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.rows.lock().take().unwrap_or_else(|| {
            let again = DataFusionError::Internal("rows from outside were read a second time".to_owned());
            Box::pin(RecordBatchStreamAdapter::new(
                Arc::clone(&self.schema),
                futures::stream::once(async move { Err(again) }),
            ))
        })
    }
}
