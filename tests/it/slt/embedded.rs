//! The third door: the engine in this process, without a server.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::BytesMut;
use sqllogictest::{DB, DBOutput};
use staffa::{
    ColumnEncoder, Config, Format, FormatSettings, Outcome, OutputColumn, Session, SessionOptions, Warehouse, type_oid,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Failure, Letter, Output, letter, line, run_files};

#[test]
fn embedded_engine() {
    let folder = TempDir::new().unwrap();
    let runtime = Arc::new(Runtime::new().unwrap());
    let warehouse = runtime.block_on(Warehouse::open(Config::new(folder.path()))).unwrap();
    let session = |database: &str| {
        let options = SessionOptions {
            database: database.to_owned(),
            allow_files: false,
            ..SessionOptions::default()
        };
        runtime.block_on(warehouse.session(options)).unwrap()
    };
    let make = |database: &str| EmbeddedDoor {
        runtime: runtime.clone(),
        session: session(database),
    };
    let create = |database: &str| {
        runtime
            .block_on(session("staffa").execute(&format!("create database {database}"), &[]))
            .unwrap();
    };
    let wanted = std::env::var("STAFFA_SLT").unwrap_or_default();
    run_files("embedded", &|name| name.contains(&wanted), create, make);
    runtime.block_on(warehouse.close());
}

struct EmbeddedDoor {
    runtime: Arc<Runtime>,
    session: Session,
}

impl DB for EmbeddedDoor {
    type Error = Failure;
    type ColumnType = Letter;

    fn run(&mut self, sql: &str) -> Output {
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            match embedded_output(&mut self.session, sql).await {
                Ok(output) => Ok(output),
                Err(error) => {
                    self.session.note_failed(None, error.message());
                    self.session.fail().await;
                    Err(Failure(error.message().to_owned()))
                }
            }
        })
    }
}

async fn embedded_output(session: &mut Session, sql: &str) -> staffa::Result<DBOutput<Letter>> {
    let Some(statement) = session.parse(sql)?.pop() else {
        return Ok(DBOutput::StatementComplete(0));
    };
    session.begin_implicit();
    let prepared = session.prepare(statement, &[]).await?;
    let output = match session.run(&prepared, Vec::new()).await? {
        Outcome::Rows(mut stream) => {
            let columns = stream.columns().to_vec();
            let settings = stream.format(&session.format_settings()?);
            let mut rows = Vec::new();
            while let Some(batch) = stream.next().await {
                rows.extend(encode(&batch?, &columns, &settings)?);
            }
            DBOutput::Rows {
                types: columns.iter().map(|column| letter(type_oid(&column.ty))).collect(),
                rows,
            }
        }
        Outcome::Done(tag) => {
            session.note_done(tag.rows().unwrap_or(0));
            DBOutput::StatementComplete(tag.rows().unwrap_or(0))
        }
        _ => DBOutput::StatementComplete(0),
    };
    session.end_implicit().await?;
    Ok(output)
}

/// The text a client would see.
fn encode(
    batch: &RecordBatch,
    columns: &[OutputColumn],
    settings: &FormatSettings,
) -> staffa::Result<Vec<Vec<String>>> {
    let mut rows = vec![Vec::new(); batch.num_rows()];
    for (index, column) in columns.iter().enumerate() {
        let encoder = ColumnEncoder::new(batch.schema().field(index), &column.ty, Format::Text, settings)?;
        let values = encoder.column(batch.column(index))?;
        for (number, row) in rows.iter_mut().enumerate() {
            let mut bytes = BytesMut::new();
            row.push(values.write(number, &mut bytes)?.then(|| bytes.to_vec()));
        }
    }
    Ok(rows.iter().map(|row| line(row)).collect())
}
