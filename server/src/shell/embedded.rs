//! The shell on a data directory of its own process.

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use staffa::{
    Canceller, ColumnEncoder, CopyIn, Format, Outcome, OutputColumn, ParsedStatement, RowStream, Session,
    SessionOptions, SqlType, TransactionStatus, Warehouse,
};

use super::cells::{Cells, Column, ColumnKind};
use super::copy::CopySource;
use super::error::{Result, ShellError};
use super::print::Printer;

/// A warehouse and one session on it.
pub(crate) struct Embedded {
    warehouse: Warehouse,
    session: Session,
    /// Where a warehouse without a directory lives; gone at the end.
    _scratch: Option<Scratch>,
}

impl Embedded {
    pub(crate) async fn open(
        config: staffa::Config,
        user: Option<String>,
        database: Option<String>,
        scratch: Option<Scratch>,
    ) -> staffa::Result<Self> {
        let warehouse = Warehouse::open(config).await?;
        // The person at this prompt has the process's own rights: reading local files adds none.
        let mut options = SessionOptions {
            allow_files: true,
            ..SessionOptions::default()
        };
        options.user = user.unwrap_or(options.user);
        options.database = database.unwrap_or(options.database);
        options
            .settings
            .push(("application_name".to_owned(), "staffa sql".to_owned()));
        let session = warehouse.session(options).await?;
        Ok(Self {
            warehouse,
            session,
            _scratch: scratch,
        })
    }

    pub(crate) fn database(&self) -> &str {
        self.session.database()
    }

    pub(crate) fn user(&self) -> &str {
        self.session.user()
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        self.session.status()
    }

    pub(crate) fn canceller(&self) -> Canceller {
        self.session.canceller()
    }

    pub(crate) async fn execute(
        &mut self,
        sql: &str,
        source: &mut CopySource<'_>,
        printer: &mut Printer<'_>,
    ) -> Result<()> {
        let result = self.run(sql, source, printer).await;
        if result.is_err() {
            self.session.fail().await;
        }
        for notice in self.session.take_notices() {
            let text = format!("{}:  {}", notice.severity, notice.message);
            super::tell(&text, notice.detail.as_deref(), notice.hint.as_deref());
        }
        result
    }

    async fn run(&mut self, sql: &str, source: &mut CopySource<'_>, printer: &mut Printer<'_>) -> Result<()> {
        for statement in self.session.parse(sql)? {
            self.session.begin_implicit();
            let tag = self.run_one(statement, source, printer).await?;
            self.session.end_implicit().await?;
            self.session.note_waiting();
            match tag {
                Some(tag) => printer.tag(&tag)?,
                None => printer.end()?,
            }
        }
        Ok(())
    }

    /// `None` where the rows say it all.
    async fn run_one(
        &mut self,
        statement: ParsedStatement,
        source: &mut CopySource<'_>,
        printer: &mut Printer<'_>,
    ) -> Result<Option<String>> {
        let prepared = self.session.prepare(statement, &[]).await?;
        if !prepared.parameters().is_empty() {
            return Err(ShellError::message(
                "there is no parameter $1: the shell has no values to put in",
            ));
        }
        match self.session.run(&prepared, Vec::new()).await? {
            Outcome::Rows(rows) => self.print(rows, printer).await.map(|()| None),
            Outcome::Done(tag) => Ok(Some(tag.to_string())),
            Outcome::CopyIn(copy) => self.copy_in(copy, source).await.map(Some),
            Outcome::CopyOut(mut copy) => {
                while let Some(bytes) = copy.next().await {
                    printer.raw(&bytes?)?;
                }
                // The data may go to a file; a tag among it would spoil it.
                printer.flush()?;
                Ok(Some(String::new()))
            }
        }
    }

    async fn print(&mut self, mut rows: RowStream, printer: &mut Printer<'_>) -> Result<()> {
        let settings = rows.format(&self.session.format_settings()?);
        let schema = rows.schema();
        let encoders = rows
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| ColumnEncoder::new(field, &column.ty, Format::Text, &settings))
            .collect::<staffa::Result<Vec<_>>>()?;
        printer.begin(rows.columns().iter().map(column).collect())?;
        let mut cells = Cells::default();
        let mut value = BytesMut::new();
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let columns = encoders
                .iter()
                .zip(batch.columns())
                .map(|(encoder, array)| encoder.column(array))
                .collect::<staffa::Result<Vec<_>>>()?;
            for row in 0..batch.num_rows() {
                cells.clear();
                for column in &columns {
                    value.clear();
                    let present = column.write(row, &mut value)?;
                    cells.push(present.then(|| String::from_utf8_lossy(&value)).as_deref());
                }
                printer.row(&cells)?;
            }
        }
        Ok(())
    }

    async fn copy_in(&mut self, mut copy: CopyIn, source: &mut CopySource<'_>) -> Result<String> {
        loop {
            match source.next().await {
                Ok(Some(bytes)) => copy.push(bytes).await?,
                Ok(None) => return Ok(copy.finish(&mut self.session).await?.to_string()),
                Err(reason) => return Err(copy.abort(&mut self.session, &reason).await.into()),
            }
        }
    }

    /// Names and types of the columns a query gives.
    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Vec<(String, String)>> {
        let Some(statement) = self.session.parse(sql)?.pop() else {
            return Ok(Vec::new());
        };
        self.session.begin_implicit();
        let prepared = self.session.prepare(statement, &[]).await;
        match prepared {
            Ok(prepared) => {
                self.session.end_implicit().await?;
                let columns = self.session.columns_of(&prepared);
                let columns = columns.as_deref().unwrap_or_default();
                Ok(columns
                    .iter()
                    .map(|column| (column.name.clone(), column.ty.to_string()))
                    .collect())
            }
            Err(error) => {
                self.session.fail().await;
                Err(error.into())
            }
        }
    }

    pub(crate) async fn close(self) {
        self.session.close().await;
        self.warehouse.close().await;
    }
}

fn column(column: &OutputColumn) -> Column {
    let kind = match column.ty {
        SqlType::SmallInt
        | SqlType::Integer
        | SqlType::BigInt
        | SqlType::Real
        | SqlType::Double
        | SqlType::Numeric { .. } => ColumnKind::Number,
        SqlType::Boolean => ColumnKind::Boolean,
        SqlType::Json | SqlType::Jsonb => ColumnKind::Json,
        _ => ColumnKind::Other,
    };
    Column {
        name: column.name.clone(),
        kind,
    }
}

/// A directory that lasts as long as this value.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("staffa-sql-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in the system's directory for such things: left behind it does no harm.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
