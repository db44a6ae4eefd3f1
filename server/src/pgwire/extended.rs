//! The extended protocol: Parse, Bind, Describe, Execute, Close. Everything up to Sync is one implicit transaction.

use std::sync::Arc;
use std::time::Instant;

use staffa::{
    CommandTag, Error, ErrorKind, Format, Outcome, OutputColumn, Prepared, ScalarValue, SqlType, TransactionStatus,
    decode_scalar, sql_type_of_oid,
};

use super::conversation::Conversation;
use super::formats::formats;
use super::message::{Bind, Execute, Parse, Target};
use super::reply;
use super::report::{Report, Step};
use super::rows::{RowSet, Sent};

/// Type OID of a literal whose type is open, which some drivers declare instead of 0.
const UNKNOWN_OID: u32 = 705;

impl Conversation {
    pub(crate) async fn parse(&mut self, parse: Parse) -> Step<()> {
        let Parse { name, sql, types } = parse;
        let mut statements = self.session.parse(&sql)?;
        if statements.len() > 1 {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(Report::error(ErrorKind::SyntaxError, text).into());
        }
        let declared = types.into_iter().map(declared_type).collect::<Result<Vec<_>, _>>()?;
        if name.is_empty() {
            self.empty_statements.remove(&name);
            self.session.close_statement(&name);
        }
        match statements.pop() {
            Some(statement) => {
                self.session.begin_implicit();
                let started = Instant::now();
                let offset = statement.offset;
                let prepared = self
                    .session
                    .prepare(statement, &declared)
                    .await
                    .map_err(|error| error.shifted(offset))?;
                // Planning can be the slow part; Execute has a line of its own.
                self.log_end(&prepared.statement().text, started, Some(0));
                self.check_unused(&name)?;
                self.session.store_statement(name, prepared)?;
            }
            None => {
                self.check_unused(&name)?;
                self.empty_statements.insert(name);
            }
        }
        self.write_notices();
        reply::parse_complete(self.writer.buffer());
        Ok(self.writer.flush_if_full().await?)
    }

    /// Names are taken last: in a failed transaction no statement gets so far.
    fn check_unused(&self, name: &str) -> Step<()> {
        if name.is_empty() || !self.statement_exists(name) {
            return Ok(());
        }
        let text = format!("prepared statement \"{name}\" already exists");
        Err(Report::error(ErrorKind::DuplicatePreparedStatement, text).into())
    }

    pub(crate) async fn bind(&mut self, bind: Bind) -> Step<()> {
        let statement = self.named_statement(&bind.statement)?;
        let types = statement.as_ref().map_or(&[][..], |prepared| prepared.parameters());
        let columns = self.columns_of(statement.as_deref()).map_or(0, |columns| columns.len());
        let supplied = bind.parameters.len();
        let parameter_formats = formats(&bind.parameter_formats, supplied, || {
            let given = bind.parameter_formats.len();
            format!("bind message has {given} parameter formats but {supplied} parameters")
        })?;
        if supplied != types.len() {
            let text = format!(
                "bind message supplies {supplied} parameters, but prepared statement \"{}\" requires {}",
                bind.statement,
                types.len()
            );
            return Err(Report::protocol(text).into());
        }
        if statement.is_some() {
            self.refuse_if_failed(statement.as_deref())?;
        }
        let settings = self.session.format_settings()?;
        let parameters = bind
            .parameters
            .iter()
            .zip(types)
            .zip(parameter_formats)
            .map(|((value, ty), format)| decode_scalar(value.as_deref(), ty, format, &settings))
            .collect::<Result<Vec<ScalarValue>, Error>>()?;
        let formats = formats(&bind.result_formats, columns, || {
            let given = bind.result_formats.len();
            format!("bind message has {given} result formats but query has {columns} columns")
        })?;
        self.session.bind(bind.portal, statement, parameters, formats).await?;
        reply::bind_complete(self.writer.buffer());
        Ok(self.writer.flush_if_full().await?)
    }

    pub(crate) async fn describe(&mut self, target: &Target) -> Step<()> {
        match target {
            Target::Statement(name) => {
                let statement = self.named_statement(name)?;
                let types = statement.as_ref().map_or(&[][..], |prepared| prepared.parameters());
                let columns = self.columns_of(statement.as_deref());
                self.refuse_rows_if_failed(statement.as_deref(), columns.as_deref())?;
                reply::parameter_description(self.writer.buffer(), types)?;
                // The formats are not known before Bind.
                let formats = vec![Format::Text; columns.as_ref().map_or(0, |columns| columns.len())];
                self.describe_rows(columns.as_deref(), &formats)?;
            }
            Target::Portal(name) => {
                let portal = self.session.portal(name)?;
                self.refuse_rows_if_failed(portal.statement().map(Arc::as_ref), portal.columns())?;
                match portal.columns() {
                    Some(columns) => reply::row_description(self.writer.buffer(), columns, portal.formats())?,
                    None => reply::no_data(self.writer.buffer()),
                }
            }
        }
        Ok(self.writer.flush_if_full().await?)
    }

    pub(crate) async fn execute(&mut self, execute: Execute) -> Step<()> {
        let Execute { portal: name, rows_max } = execute;
        let portal = self.session.portal(&name)?;
        let statement = portal.statement().cloned();
        let formats = portal.formats().to_vec();
        if !portal.is_empty() {
            self.refuse_if_failed(statement.as_deref())?;
        }
        let started = Instant::now();
        let end = self.execute_portal(&name, &formats, rows_max).await;
        let rows = match &end {
            Ok(End::Complete(tag)) => Some(tag.rows().unwrap_or(0)),
            Ok(_) => Some(0),
            Err(_) => None,
        };
        let sql = statement
            .as_ref()
            .map_or("", |statement| statement.statement().text.as_str());
        self.log_end(sql, started, rows);
        match end? {
            End::Complete(tag) => {
                self.session.note_done(tag.rows().unwrap_or(0));
                self.command_complete(&tag);
            }
            End::Suspended => {
                self.write_notices();
                reply::portal_suspended(self.writer.buffer());
            }
            End::Empty => reply::empty_query(self.writer.buffer()),
        }
        Ok(self.writer.flush_if_full().await?)
    }

    /// Runs a portal, or goes on with it.
    async fn execute_portal(&mut self, name: &str, formats: &[Format], rows_max: Option<u64>) -> Step<End> {
        match self.session.run_portal(name, rows_max).await? {
            None => Ok(End::Empty),
            Some(Outcome::Rows(stream)) => {
                let mut rows = RowSet::new(stream, formats, &self.session.format_settings()?)?;
                Ok(match rows.send(&mut self.writer, rows_max).await? {
                    Sent::All(count) => End::Complete(rows.tag(count)),
                    Sent::Limit => End::Suspended,
                })
            }
            Some(outcome) => Ok(End::Complete(self.finish_outcome(outcome).await?)),
        }
    }

    pub(crate) async fn close(&mut self, target: &Target) -> Step<()> {
        match target {
            Target::Statement(name) => {
                self.session.close_statement(name);
                self.empty_statements.remove(name);
            }
            Target::Portal(name) => {
                self.session.close_portal(name);
            }
        }
        reply::close_complete(self.writer.buffer());
        Ok(self.writer.flush_if_full().await?)
    }

    fn statement_exists(&self, name: &str) -> bool {
        self.empty_statements.contains(name) || self.session.statement(name).is_some()
    }

    /// `Ok(None)` is an empty statement.
    fn named_statement(&self, name: &str) -> Result<Option<Arc<Prepared>>, Report> {
        if self.empty_statements.contains(name) {
            return Ok(None);
        }
        let undefined = || {
            let text = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Report::error(ErrorKind::UndefinedPreparedStatement, text)
        };
        self.session.statement(name).map(Some).ok_or_else(undefined)
    }

    fn columns_of(&self, statement: Option<&Prepared>) -> Option<Arc<[OutputColumn]>> {
        self.session.columns_of(statement?)
    }

    fn describe_rows(&mut self, columns: Option<&[OutputColumn]>, formats: &[Format]) -> Result<(), Report> {
        match columns {
            Some(columns) => reply::row_description(self.writer.buffer(), columns, formats),
            None => {
                reply::no_data(self.writer.buffer());
                Ok(())
            }
        }
    }

    /// In a failed block only its end may be bound and run; `None` is a cursor.
    fn refuse_if_failed(&self, statement: Option<&Prepared>) -> Result<(), Report> {
        let ends = statement.is_some_and(|prepared| matches!(prepared.statement().tag(), "COMMIT" | "ROLLBACK"));
        if self.session.status() == TransactionStatus::Failed && !ends {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Report::error(ErrorKind::InFailedTransaction, text));
        }
        Ok(())
    }

    fn refuse_rows_if_failed(
        &self,
        statement: Option<&Prepared>,
        columns: Option<&[OutputColumn]>,
    ) -> Result<(), Report> {
        columns.map_or(Ok(()), |_| self.refuse_if_failed(statement))
    }
}

/// How Execute ends.
enum End {
    Complete(CommandTag),
    /// At the client's limit.
    Suspended,
    /// There is nothing to run.
    Empty,
}

/// `None`: the parameter's type is left to us.
fn declared_type(oid: u32) -> Result<Option<SqlType>, Report> {
    match oid {
        0 | UNKNOWN_OID => Ok(None),
        oid => sql_type_of_oid(oid, -1).map(Some).ok_or_else(|| {
            Report::error(
                ErrorKind::UndefinedObject,
                format!("type with OID {oid} does not exist"),
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_types_are_none_and_unknown_ones_an_error() {
        assert!(matches!(declared_type(0), Ok(None)));
        assert!(matches!(declared_type(705), Ok(None)));
        assert!(matches!(declared_type(23), Ok(Some(SqlType::Integer))));
        assert_eq!(
            declared_type(4_000_000_000).map_err(|report| report.code).map(|_| ()),
            Err("42704")
        );
    }
}
