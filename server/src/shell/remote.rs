//! The shell on a server, over the Postgres protocol.

use futures::{SinkExt, StreamExt};
use staffa::TransactionStatus;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, CancelToken, Client, SimpleQueryMessage, Statement};

use super::cells::{Cells, Column, ColumnKind};
use super::copy::CopySource;
use super::error::{Result, ShellError, SqlError, remote};
use super::lexer::words;
use super::print::Printer;
use super::tls::{Connector, TlsMode};

/// Where and as whom to connect.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) tls: TlsMode,
}

/// A connection.
pub(crate) struct Remote {
    client: Client,
    target: Target,
    connector: Connector,
    reader: JoinHandle<()>,
    /// The protocol crate keeps the server's word to itself, so this follows the statements.
    status: TransactionStatus,
}

impl Remote {
    /// # Errors
    /// `Err(None)` asks for a password; anything else is the reason in full.
    pub(crate) async fn connect(
        target: &Target,
        connector: Connector,
        password: Option<&str>,
    ) -> std::result::Result<Self, Option<SqlError>> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&target.host)
            .port(target.port)
            .user(&target.user)
            .dbname(&target.database)
            .application_name("staffa sql")
            .connect_timeout(std::time::Duration::from_secs(15))
            .ssl_mode(match target.tls {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Prefer => SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
            });
        if let Some(password) = password {
            config.password(password);
        }
        let (client, mut connection) = match config.connect(connector.clone()).await {
            Ok(connected) => connected,
            // The crate has no kind for this, only words.
            Err(error) => {
                let error = remote(&error);
                let asks = password.is_none() && error.message.contains("password missing");
                return Err((!asks).then_some(error));
            }
        };
        let reader = tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    let text = format!("{}:  {}", notice.severity(), notice.message());
                    super::tell(&text, notice.detail(), notice.hint());
                }
            }
        });
        Ok(Self {
            client,
            target: target.clone(),
            connector,
            reader,
            status: TransactionStatus::Idle,
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        self.status
    }

    pub(crate) fn canceller(&self) -> RemoteCanceller {
        RemoteCanceller {
            token: self.client.cancel_token(),
            connector: self.connector.clone(),
        }
    }

    pub(crate) async fn execute(
        &mut self,
        sql: &str,
        source: &mut CopySource<'_>,
        printer: &mut Printer<'_>,
    ) -> Result<()> {
        let result = self.run(sql, source, printer).await;
        self.follow(sql, result.is_ok());
        result
    }

    async fn run(&mut self, sql: &str, source: &mut CopySource<'_>, printer: &mut Printer<'_>) -> Result<()> {
        match copy_direction(sql) {
            Some(CopyDirection::In) => return self.copy_in(sql, source, printer).await,
            Some(CopyDirection::Out) => {
                let mut data = Box::pin(self.client.copy_out(sql).await?);
                while let Some(bytes) = data.next().await {
                    printer.raw(&bytes?)?;
                }
                return Ok(printer.flush()?);
            }
            None => {}
        }
        // The simple protocol gives texts but no types; preparing first gives types, and errors with their position.
        let statement = self.client.prepare(sql).await?;
        if !statement.params().is_empty() {
            return Err(ShellError::message(
                "there is no parameter $1: the shell has no values to put in",
            ));
        }
        let kinds: Vec<ColumnKind> = statement.columns().iter().map(|column| kind(column.type_())).collect();
        let mut messages = Box::pin(self.client.simple_query_raw(sql).await?);
        let mut cells = Cells::default();
        let mut with_rows = false;
        while let Some(message) = messages.next().await {
            match message? {
                SimpleQueryMessage::RowDescription(columns) => {
                    with_rows = true;
                    let kind = |index| kinds.get(index).copied().unwrap_or(ColumnKind::Other);
                    let column = |(index, name): (usize, &str)| Column {
                        name: name.to_owned(),
                        kind: kind(index),
                    };
                    printer.begin(
                        columns
                            .iter()
                            .map(|column| column.name())
                            .enumerate()
                            .map(column)
                            .collect(),
                    )?;
                }
                SimpleQueryMessage::Row(row) => {
                    cells.clear();
                    for index in 0..row.len() {
                        cells.push(row.try_get(index)?);
                    }
                    printer.row(&cells)?;
                }
                SimpleQueryMessage::CommandComplete(_) if with_rows => printer.end()?,
                SimpleQueryMessage::CommandComplete(rows) => printer.tag(&tag(sql, rows))?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn copy_in(&mut self, sql: &str, source: &mut CopySource<'_>, printer: &mut Printer<'_>) -> Result<()> {
        let mut sink = Box::pin(self.client.copy_in::<_, bytes::Bytes>(sql).await?);
        loop {
            match source.next().await {
                Ok(Some(bytes)) => sink.send(bytes).await?,
                Ok(None) => break,
                // Dropping the sink sends CopyFail, and the server forgets what came before.
                Err(reason) => return Err(ShellError::message(format!("COPY from stdin failed: {reason}"))),
            }
        }
        let rows = sink.as_mut().finish().await?;
        Ok(printer.tag(&format!("COPY {rows}"))?)
    }

    /// Names and types of the columns a query gives.
    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Vec<(String, String)>> {
        let statement: Statement = self.client.prepare(sql).await?;
        let shown = |column: &tokio_postgres::Column| {
            let ty = staffa::sql_type_of_oid(column.type_().oid(), column.type_modifier())
                .map_or_else(|| column.type_().name().to_owned(), |ty| ty.to_string());
            (column.name().to_owned(), ty)
        };
        Ok(statement.columns().iter().map(shown).collect())
    }

    /// Follows BEGIN, COMMIT and errors as the server does.
    fn follow(&mut self, sql: &str, worked: bool) {
        let first = words(sql).next().unwrap_or_default();
        self.status = match (self.status, worked, first.as_str()) {
            (TransactionStatus::Idle, true, "BEGIN" | "START") => TransactionStatus::InTransaction,
            (_, true, "COMMIT" | "ROLLBACK" | "END" | "ABORT") => TransactionStatus::Idle,
            (TransactionStatus::InTransaction, false, "COMMIT" | "END") => TransactionStatus::Idle,
            (TransactionStatus::InTransaction, false, _) => TransactionStatus::Failed,
            (status, ..) => status,
        };
    }

    pub(crate) async fn close(self) {
        drop(self.client);
        // The connection's task ends once it has said goodbye; a server that does not read must not keep us.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), self.reader).await;
    }
}

/// Asks the server, on a connection of its own, to stop the running statement.
#[derive(Clone)]
pub(crate) struct RemoteCanceller {
    token: CancelToken,
    connector: Connector,
}

impl RemoteCanceller {
    pub(crate) async fn cancel(&self) -> std::result::Result<(), String> {
        self.token
            .cancel_query(self.connector.clone())
            .await
            .map_err(|error| remote(&error).message)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyDirection {
    In,
    Out,
}

/// COPY with data on our side of the connection.
fn copy_direction(sql: &str) -> Option<CopyDirection> {
    let words: Vec<String> = words(sql).collect();
    if words.first().is_none_or(|word| word != "COPY") {
        return None;
    }
    words
        .windows(2)
        .find_map(|pair| match (pair[0].as_str(), pair[1].as_str()) {
            ("FROM", "STDIN") => Some(CopyDirection::In),
            ("TO", "STDOUT") => Some(CopyDirection::Out),
            _ => None,
        })
}

/// The words of a command that is done. The protocol crate gives the count alone, so the rest is the statement's own.
fn tag(sql: &str, rows: u64) -> String {
    let temporary = |word: &String| matches!(word.as_str(), "TEMP" | "TEMPORARY" | "UNLOGGED");
    let words: Vec<String> = words(sql).filter(|word| !temporary(word)).take(4).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["INSERT", ..] => format!("INSERT 0 {rows}"),
        [verb @ ("UPDATE" | "DELETE" | "MERGE" | "COPY" | "SELECT"), ..] => format!("{verb} {rows}"),
        ["CREATE", "TABLE", ..] if rows > 0 => format!("SELECT {rows}"),
        ["CREATE", "OR", "REPLACE", what, ..] => format!("CREATE {what}"),
        [verb @ ("CREATE" | "DROP" | "ALTER" | "START" | "DISCARD"), what, ..] => format!("{verb} {what}"),
        ["END", ..] => "COMMIT".to_owned(),
        ["ABORT", ..] => "ROLLBACK".to_owned(),
        [verb, ..] => (*verb).to_owned(),
        [] => String::new(),
    }
}

fn kind(ty: &Type) -> ColumnKind {
    match *ty {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC | Type::OID => {
            ColumnKind::Number
        }
        Type::BOOL => ColumnKind::Boolean,
        Type::JSON | Type::JSONB => ColumnKind::Json,
        _ => ColumnKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_is_found_outside_quotes_and_parentheses() {
        assert_eq!(
            copy_direction("copy t (a, b) from stdin with (format csv)"),
            Some(CopyDirection::In)
        );
        assert_eq!(
            copy_direction("-- x\nCOPY (select 'from stdin' from stdin) TO STDOUT"),
            Some(CopyDirection::Out)
        );
        assert_eq!(copy_direction("copy t from '/x'"), None);
        assert_eq!(copy_direction("select 1 from stdin"), None);
    }

    #[test]
    fn tags_as_the_server_would_say() {
        for (sql, rows, expected) in [
            ("insert into t values (1)", 1, "INSERT 0 1"),
            ("create temp table t (a int)", 0, "CREATE TABLE"),
            ("create table t as select 1", 5, "SELECT 5"),
            ("create or replace view v as select 1", 0, "CREATE VIEW"),
            ("end", 0, "COMMIT"),
            ("set x = 1", 0, "SET"),
            ("-- nothing", 0, ""),
        ] {
            assert_eq!(tag(sql, rows), expected, "{sql}");
        }
    }
}
