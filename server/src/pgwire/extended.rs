//! The extended protocol: Parse, Bind, Describe, Execute, Close. Everything up to Sync is one implicit transaction.

use std::sync::Arc;
use std::time::Instant;

use staffa::{
    CommandTag, Error, ErrorKind, Format, Outcome, OutputColumn, Prepared, ScalarValue, SqlType, TransactionStatus,
    decode_scalar, sql_type_of_oid,
};

use super::conversation::Conversation;
use super::message::{Bind, Execute, Parse, Target};
use super::portal::{Portal, State, formats};
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
        if !name.is_empty() && self.statement_exists(&name) {
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(Report::error(ErrorKind::DuplicatePreparedStatement, text).into());
        }
        let declared = types.into_iter().map(declared_type).collect::<Result<Vec<_>, _>>()?;
        self.empty_statements.remove(&name);
        self.session.close_statement(&name);
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
                self.session.store_statement(name, prepared)?;
            }
            None => {
                self.empty_statements.insert(name);
            }
        }
        self.write_notices();
        reply::parse_complete(self.writer.buffer());
        Ok(self.writer.flush_if_full().await?)
    }

    pub(crate) async fn bind(&mut self, bind: Bind) -> Step<()> {
        let statement = self.named_statement(&bind.statement)?;
        let types = statement.as_ref().map_or(&[][..], |prepared| prepared.parameters());
        let source = self.source_of(statement.as_ref());
        let columns = columns_of(source.as_deref()).map_or(0, <[_]>::len);
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
        self.refuse_if_failed(statement.as_deref())?;
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
        self.portals.add(
            bind.portal,
            Portal {
                statement,
                source,
                formats,
                state: State::New(parameters),
            },
        )?;
        reply::bind_complete(self.writer.buffer());
        Ok(self.writer.flush_if_full().await?)
    }

    pub(crate) async fn describe(&mut self, target: &Target) -> Step<()> {
        match target {
            Target::Statement(name) => {
                let statement = self.named_statement(name)?;
                let types = statement.as_ref().map_or(&[][..], |prepared| prepared.parameters());
                let source = self.source_of(statement.as_ref());
                let count = columns_of(source.as_deref()).map_or(0, <[_]>::len);
                self.refuse_rows_if_failed(source.as_deref())?;
                reply::parameter_description(self.writer.buffer(), types)?;
                // The formats are not known before Bind.
                self.describe_rows(source.as_deref(), &vec![Format::Text; count])?;
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name)?;
                let (source, formats) = (portal.source.clone(), portal.formats.clone());
                self.refuse_rows_if_failed(source.as_deref())?;
                self.describe_rows(source.as_deref(), &formats)?;
            }
        }
        Ok(self.writer.flush_if_full().await?)
    }

    pub(crate) async fn execute(&mut self, execute: Execute) -> Step<()> {
        let Execute { portal: name, rows_max } = execute;
        let mut portal = self.portals.take(&name)?;
        match portal.statement.clone() {
            Some(prepared) => {
                self.refuse_if_failed(Some(&prepared))?;
                let started = Instant::now();
                let end = self.execute_portal(&name, &mut portal, &prepared, rows_max).await;
                let rows = end
                    .as_ref()
                    .map(|end| end.as_ref().and_then(CommandTag::rows).unwrap_or(0))
                    .ok();
                self.log_end(&prepared.statement().text, started, rows);
                // First back, then closed with the others when the transaction is over.
                self.portals.put_back(name, portal);
                match end? {
                    Some(tag) => self.command_complete(&tag),
                    None => {
                        self.write_notices();
                        reply::portal_suspended(self.writer.buffer());
                    }
                }
            }
            None => {
                reply::empty_query(self.writer.buffer());
                self.portals.put_back(name, portal);
            }
        }
        Ok(self.writer.flush_if_full().await?)
    }

    /// Runs a portal, or goes on with it. `None`: the limit is reached.
    async fn execute_portal(
        &mut self,
        name: &str,
        portal: &mut Portal,
        prepared: &Prepared,
        rows_max: Option<u64>,
    ) -> Step<Option<CommandTag>> {
        if let State::New(parameters) = &mut portal.state {
            let parameters = std::mem::take(parameters);
            portal.state = State::Done;
            self.session.begin_implicit();
            let offset = prepared.statement().offset;
            let outcome = self
                .session
                .run(prepared, parameters)
                .await
                .map_err(|error| error.shifted(offset))?;
            portal.state = match outcome {
                Outcome::Rows(stream) => {
                    // What an EXECUTE names may have become another statement since Bind.
                    let columns = Some(stream.columns());
                    if !portal.source.as_ref().is_some_and(|source| source.gives(columns)) {
                        return Err(Error::unsupported("cached plan must not change result type").into());
                    }
                    State::Rows(RowSet::new(stream, &portal.formats, &self.session.format_settings()?)?)
                }
                outcome => return self.finish_outcome(outcome).await.map(Some),
            };
        }
        let State::Rows(rows) = &mut portal.state else {
            let text = format!("portal \"{name}\" cannot be run");
            return Err(Report::error(ErrorKind::ObjectNotInPrerequisiteState, text).into());
        };
        Ok(match rows.send(&mut self.writer, rows_max).await? {
            Sent::All(count) => Some(rows.tag(count)),
            Sent::Limit => None,
        })
    }

    pub(crate) async fn close(&mut self, target: &Target) -> Step<()> {
        match target {
            Target::Statement(name) => {
                self.session.close_statement(name);
                self.empty_statements.remove(name);
            }
            Target::Portal(name) => self.portals.close(name),
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

    fn source_of(&self, statement: Option<&Arc<Prepared>>) -> Option<Arc<Prepared>> {
        statement.and_then(|prepared| self.session.source_of(prepared))
    }

    fn describe_rows(&mut self, source: Option<&Prepared>, formats: &[Format]) -> Result<(), Report> {
        match columns_of(source) {
            Some(columns) => reply::row_description(self.writer.buffer(), columns, formats),
            None => {
                reply::no_data(self.writer.buffer());
                Ok(())
            }
        }
    }

    /// In a failed block only its end may be bound and run.
    fn refuse_if_failed(&self, statement: Option<&Prepared>) -> Result<(), Report> {
        let ends = statement.is_some_and(|prepared| matches!(prepared.statement().tag(), "COMMIT" | "ROLLBACK"));
        if self.session.status() == TransactionStatus::Failed && statement.is_some() && !ends {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Report::error(ErrorKind::InFailedTransaction, text));
        }
        Ok(())
    }

    fn refuse_rows_if_failed(&self, source: Option<&Prepared>) -> Result<(), Report> {
        self.refuse_if_failed(source.filter(|prepared| prepared.columns().is_some()))
    }
}

fn columns_of(source: Option<&Prepared>) -> Option<&[OutputColumn]> {
    source.and_then(Prepared::columns)
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
