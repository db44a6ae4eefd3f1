//! The simple protocol: a text of statements, run one after the other in one implicit transaction.

use std::time::Instant;

use staffa::{CommandTag, Error, ErrorKind, Format, Outcome, Prepared};

use super::conversation::Conversation;
use super::reply;
use super::report::{Failure, Step};
use super::rows::{RowSet, Sent};
use crate::log::{StatementEnd, statement_ended};

impl Conversation {
    pub(crate) async fn query(&mut self, sql: &str) -> Step<()> {
        // As PostgreSQL does: a simple query takes the place of the unnamed statement and portal.
        self.session.close_statement("");
        self.empty_statements.remove("");
        self.session.close_portal("");

        let statements = self.session.parse(sql)?;
        if statements.is_empty() {
            reply::empty_query(self.writer.buffer());
        }
        let several = statements.len() > 1;
        let mut statements = statements.into_iter().peekable();
        while let Some(statement) = statements.next() {
            let started = Instant::now();
            if several {
                self.session.begin_implicit_block();
            } else {
                self.session.begin_implicit();
            }
            let offset = statement.offset;
            let prepared = self
                .session
                .prepare(statement, &[])
                .await
                .map_err(|error| error.shifted(offset))?;
            let tag = self.simple_statement(&prepared, statements.peek().is_none()).await;
            // The last statement is done when its transaction is: an error of the commit comes instead of its tag.
            let tag = match tag {
                Ok(tag) if statements.peek().is_none() => {
                    self.session.end_implicit().await.map(|()| tag).map_err(Failure::from)
                }
                tag => tag,
            };
            let rows = tag.as_ref().map(|tag| tag.rows().unwrap_or(0)).ok();
            self.log_end(&prepared.statement().text, started, rows);
            let tag = tag?;
            self.session.note_done(tag.rows().unwrap_or(0));
            self.command_complete(&tag);
            // A long list of statements is answered as it goes on.
            self.writer.flush_if_full().await?;
        }
        self.ready().await
    }

    async fn simple_statement(&mut self, prepared: &Prepared, is_last: bool) -> Step<CommandTag> {
        let offset = prepared.statement().offset;
        if !prepared.parameters().is_empty() {
            let (name, position) = prepared.statement().first_parameter().unwrap_or(("$1".to_string(), 1));
            let error = Error::new(ErrorKind::UndefinedParameter, format!("there is no parameter {name}"));
            return Err(error.with_position(position).shifted(offset).into());
        }
        let outcome = self.session.run(prepared, Vec::new()).await;
        let mut outcome = outcome.map_err(|error| error.shifted(offset))?;
        if is_last {
            outcome = self.session.end_untold(outcome).await?;
        }
        match outcome {
            Outcome::Rows(stream) => {
                let format = if stream.is_binary() {
                    Format::Binary
                } else {
                    Format::Text
                };
                let formats = vec![format; stream.columns().len()];
                let mut rows = RowSet::new(stream, &formats, &self.session.format_settings()?)?;
                reply::row_description(self.writer.buffer(), rows.columns(), &formats)?;
                match rows.send(&mut self.writer, None).await? {
                    Sent::All(count) => Ok(rows.tag(count)),
                    Sent::Limit => unreachable!("there is no limit"),
                }
            }
            outcome => self.finish_outcome(outcome).await,
        }
    }

    /// The log's line when it was slow. `rows` is `None` for a statement that failed.
    pub(crate) fn log_end(&self, sql: &str, started: Instant, rows: Option<u64>) {
        let end = if rows.is_some() {
            StatementEnd::Finished
        } else {
            StatementEnd::Failed
        };
        let (user, database) = (self.session.user(), self.session.database());
        statement_ended(user, database, sql, started.elapsed(), rows.unwrap_or(0), end);
    }

    /// What both protocols do alike: everything but rows.
    pub(crate) async fn finish_outcome(&mut self, outcome: Outcome) -> Step<CommandTag> {
        match outcome {
            Outcome::Done(tag) => Ok(tag),
            Outcome::CopyIn(copy) => self.copy_in(copy).await,
            Outcome::CopyOut(copy) => self.copy_out(copy).await,
            Outcome::Rows(_) => Err(Error::internal("rows where a command was expected").into()),
        }
    }

    /// CommandComplete, after the notices of the statement.
    pub(crate) fn command_complete(&mut self, tag: &CommandTag) {
        self.write_notices();
        reply::command_complete(self.writer.buffer(), &tag.to_string());
    }
}
