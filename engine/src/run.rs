//! The whole path of a statement: check, plan, then rows or a command.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::Schema;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use staffa_planner::{
    DiscardTarget, Error, ErrorKind, ParsedStatement, Plan, QueryPlan, Result, SavepointAction, SqlType,
    StatementClass, TableName, argument, kept_query, physical_query,
};

use crate::access;
use crate::cancel::StatementGuard;
use crate::command::{alter, change, copy, create, describe, drop, insert, refresh, sequence, truncate, with};
use crate::outcome::{CommandTag, Notice, Outcome};
use crate::results::{Asked, ResultKey};
use crate::session::{Prepared, Session};
use crate::stream::RowStream;
use crate::trace::Stage;
use crate::upkeep;

impl Session {
    /// Runs a prepared statement. After an error of it, or of the rows it gave, call [`fail`](Self::fail).
    pub async fn run(&mut self, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        self.transactions.check_allowed(prepared.statement().class())?;
        self.take_over_settings();
        self.note_begin(prepared.statement(), false)?;
        self.run_noted(prepared, parameters).await
    }

    /// The same for a statement that others see already.
    async fn run_noted(&mut self, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        let class = prepared.statement().class();
        self.transactions.check_allowed(class)?;
        let guard = self.start_statement()?;
        self.check_writable(prepared, class)?;
        self.renew_snapshot(prepared.statement()).await?;
        self.transactions.locks_rows = prepared.statement().locks_rows();
        let planning = SystemTime::now();
        let plan = guard.run(self.plan_of(prepared, &parameters)).await;
        self.note_stage(Stage::Plan, planning);
        let plan = plan.inspect_err(|error| self.audit(prepared.statement(), Err(error)))?;
        if let Plan::Execute {
            name,
            arguments,
            places,
        } = &*plan
        {
            let inner = self.statement(name).ok_or_else(|| undefined_statement(name))?;
            check_argument_count(name, inner.parameters().len(), arguments.len())?;
            // The parser takes no EXECUTE inside PREPARE, so this recursion is one deep.
            let arguments = self.arguments(&inner, arguments, places).await?;
            return Box::pin(self.run_noted(&inner, arguments)).await;
        }
        if let Plan::Fetch { name, .. } = &*plan
            && let Some((inner, values)) = self.take_unstarted(name)
        {
            // Of Bind, and not run yet: here, where it is as deep as an EXECUTE.
            let outcome = Box::pin(self.run_noted(&inner, values)).await;
            self.started(name, &inner, outcome)?;
        }
        if class == StatementClass::Ddl {
            self.own_what_is_made().await?;
        }
        if is_work(&plan)? {
            self.wait_for_place(&guard).await?;
        }
        if let Some(running) = &self.running {
            running.note_execution();
        }
        let repeatable = self.transactions.ran.start(prepared, &parameters);
        let outcome = self.dispatch(&plan, parameters, prepared.statement(), guard).await;
        self.transactions.ran.end(repeatable, &outcome);
        self.audit(prepared.statement(), outcome.as_ref());
        outcome
    }

    /// The work of a statement, on the heap: what this function needs for all kinds of them is off the stack when it is done.
    fn dispatch<'a>(
        &'a mut self,
        plan: &'a Plan,
        parameters: Vec<ScalarValue>,
        statement: &'a ParsedStatement,
        guard: StatementGuard,
    ) -> BoxFuture<'a, Result<Outcome>> {
        let tag = statement.tag();
        let done = |words: &str| Ok(Outcome::Done(CommandTag::plain(words)));
        match plan {
            Plan::Query(query) => async move {
                let rows = self.start_query(query, &parameters, guard).await?;
                Ok(Outcome::Rows(rows.counted(self.running.clone())))
            }
            .boxed(),
            Plan::Explain { target, options } => async move {
                describe::explain(self, target, options, &parameters, guard)
                    .await
                    .map(Outcome::Rows)
            }
            .boxed(),
            Plan::Insert(insert) => async move { insert::insert(self, insert, &parameters, guard).await }.boxed(),
            Plan::Change(asked) => async move { change::change(self, asked, &parameters, tag, guard).await }.boxed(),
            Plan::With(asked) => async move { with::with(self, asked, &parameters, tag, guard).await }.boxed(),
            Plan::CreateTableAs {
                definition,
                source,
                if_not_exists,
                with_data,
                notice,
            } => async move {
                self.remark(notice.as_ref());
                create::create_table_as(
                    self,
                    definition,
                    source,
                    *if_not_exists,
                    *with_data,
                    &parameters,
                    &guard,
                )
                .await
                .map(Outcome::Done)
            }
            .boxed(),
            Plan::CreateTable {
                definition,
                if_not_exists,
                notice,
            } => async move {
                self.remark(notice.as_ref());
                create::create_table(self, definition, *if_not_exists).await?;
                done(tag)
            }
            .boxed(),
            Plan::Access(asked) => async move {
                access::change(self, asked).await?;
                done(tag)
            }
            .boxed(),
            Plan::SetIdentity {
                session,
                role,
                superuser,
                local,
            } => async move {
                self.set_identity(*session, role.as_deref(), *superuser, *local);
                done(tag)
            }
            .boxed(),
            Plan::CreateView { .. } => async move {
                create::create_view(self, plan).await?;
                done(tag)
            }
            .boxed(),
            Plan::CreateSchema {
                database,
                schema,
                owner,
                if_not_exists,
            } => async move {
                create::create_schema(self, database, schema, *owner, *if_not_exists).await?;
                done(tag)
            }
            .boxed(),
            Plan::CreateDatabase { name, if_not_exists } => async move {
                self.check_outside_block("CREATE DATABASE")?;
                create::create_database(self, name, *if_not_exists).await?;
                done(tag)
            }
            .boxed(),
            Plan::Refresh {
                table,
                source,
                was_populated,
            } => async move {
                refresh::refresh(self, table, source.as_ref(), *was_populated, &guard).await?;
                done(tag)
            }
            .boxed(),
            Plan::DropTables {
                names,
                missing,
                cascade,
            } => async move {
                drop::drop_tables(self, names, missing, *cascade).await?;
                done(tag)
            }
            .boxed(),
            Plan::DropViews {
                names,
                missing,
                cascade,
            } => async move {
                drop::drop_views(self, names, missing, *cascade).await?;
                done(tag)
            }
            .boxed(),
            Plan::DropSchemas {
                schemas,
                if_exists,
                cascade,
            } => async move {
                drop::drop_schemas(self, schemas, *if_exists, *cascade).await?;
                done(tag)
            }
            .boxed(),
            Plan::DropDatabase { name, if_exists } => async move {
                drop::drop_database(self, name, *if_exists).await?;
                done(tag)
            }
            .boxed(),
            Plan::Truncate {
                tables,
                restart,
                notices,
            } => async move {
                truncate::truncate(self, tables, *restart, notices).await?;
                done(tag)
            }
            .boxed(),
            Plan::Lock { tables } => async move {
                self.lock_tables(tables).await?;
                done(tag)
            }
            .boxed(),
            Plan::AlterTable { table, actions } => async move {
                alter::alter_table(self, table, actions, &guard).await?;
                done(tag)
            }
            .boxed(),
            Plan::AlterIndexes {
                changes,
                missing,
                alone,
            } => async move {
                if let Some(statement) = alone {
                    self.check_outside_block(statement)?;
                }
                alter::alter_indexes(self, changes, missing).await?;
                done(tag)
            }
            .boxed(),
            Plan::ChangeHistory { table, change } => async move {
                let transaction = self.transaction().await?;
                transaction
                    .alter_table(table, std::slice::from_ref(change), false)
                    .await?;
                done(tag)
            }
            .boxed(),
            Plan::CloneTable {
                name,
                if_not_exists,
                source,
                version,
                of_present,
            } => async move {
                if *of_present && let Some(read) = self.transactions_snapshot().await?.table(source).await? {
                    self.note_all_read(&read);
                }
                create::clone_table(self, name, *if_not_exists, source, version.as_ref()).await?;
                done(tag)
            }
            .boxed(),
            Plan::Vacuum {
                tables,
                skipped,
                full,
                analyze,
            } => async move {
                self.check_outside_block("VACUUM")?;
                for table in skipped {
                    self.warn_of_skipped(table, "vacuum");
                }
                guard.run(upkeep::vacuum(&self.warehouse, tables, *full)).await?;
                if *analyze {
                    self.analyze(tables, false, &guard).await?;
                }
                done(tag)
            }
            .boxed(),
            Plan::Analyze { tables, verbose } => async move {
                self.analyze(tables, *verbose, &guard).await?;
                done(tag)
            }
            .boxed(),
            Plan::Optimize { table, only } => async move {
                self.check_outside_block("OPTIMIZE")?;
                guard
                    .run(upkeep::optimize(&self.warehouse, table, only.as_ref()))
                    .await?;
                done(tag)
            }
            .boxed(),
            Plan::UndropTable { name } => async move {
                self.transaction().await?.undrop_table(name).await?;
                done(tag)
            }
            .boxed(),
            Plan::CreateSequence {
                name,
                sequence,
                if_not_exists,
            } => async move {
                sequence::create(self, name, sequence, *if_not_exists).await?;
                done(tag)
            }
            .boxed(),
            Plan::AlterSequence { name, change } => async move {
                sequence::alter(self, name, change).await?;
                done(tag)
            }
            .boxed(),
            Plan::DropSequences {
                names,
                missing,
                defaults,
            } => async move {
                sequence::drop(self, names, missing, defaults).await?;
                done(tag)
            }
            .boxed(),
            Plan::RenameRelation { from, to, defaults } => async move {
                alter::rename_relation(self, from, to, defaults).await?;
                done(tag)
            }
            .boxed(),
            Plan::RenameViewColumn { view, from, to } => async move {
                alter::rename_view_column(self, view, from, to).await?;
                done(tag)
            }
            .boxed(),
            Plan::RenameSchema { database, from, to } => async move {
                alter::rename_schema(self, database, from, to).await?;
                done(tag)
            }
            .boxed(),
            Plan::Skipped { notice } => async move {
                self.notices.push(Notice::remark("00000", notice.clone()));
                done(tag)
            }
            .boxed(),
            Plan::Comment { table, column, text } => async move {
                self.transaction()
                    .await?
                    .set_comment(table, column.as_deref(), text.clone())
                    .await?;
                done(tag)
            }
            .boxed(),
            Plan::CopyIn {
                table,
                columns,
                options,
            } => async move {
                copy::copy_in(self, table, columns, options, guard)
                    .await
                    .map(Outcome::CopyIn)
            }
            .boxed(),
            Plan::CopyOut { query, options } => async move {
                let rows = self.start_query(query, &parameters, guard).await?;
                let rows = rows.counted(self.running.clone());
                copy::copy_out(self, rows, options).map(Outcome::CopyOut)
            }
            .boxed(),
            Plan::Set { name, value, local } => async move {
                self.set(name, value.as_deref(), *local)?;
                done(tag)
            }
            .boxed(),
            Plan::Show { name } => async move { self.show(name.as_deref(), plan, guard).map(Outcome::Rows) }.boxed(),
            Plan::Reset { name } => async move {
                self.settings_epoch += 1;
                match name {
                    Some(name) => self.settings.reset(name)?,
                    None => self.settings.reset_all(),
                }
                done(tag)
            }
            .boxed(),
            Plan::Discard(target) => async move {
                self.discard(*target).await?;
                done(tag)
            }
            .boxed(),
            Plan::Begin(modes) => async move { self.begin_block(tag, *modes).map(Outcome::Done) }.boxed(),
            Plan::Commit { chain } => async move { self.commit_block(*chain).await.map(Outcome::Done) }.boxed(),
            Plan::Rollback { chain } => async move { self.roll_back_block(*chain).await.map(Outcome::Done) }.boxed(),
            Plan::Savepoint { action, name } => async move {
                match action {
                    SavepointAction::Begin => self.savepoint(name)?,
                    SavepointAction::Release => self.release_savepoint(name)?,
                    SavepointAction::RollBack => self.roll_back_to_savepoint(name)?,
                }
                done(tag)
            }
            .boxed(),
            Plan::SetTransaction { modes, session } => async move {
                if *session {
                    self.set_characteristics(*modes)
                } else {
                    self.set_transaction(*modes)
                }?;
                done(tag)
            }
            .boxed(),
            Plan::Prepare {
                name,
                types,
                statement: prepared,
            } => async move {
                let declared: Vec<Option<SqlType>> = types.iter().cloned().map(Some).collect();
                let shifted = |error: Error| error.shifted(prepared.offset);
                let prepared = self.prepare((**prepared).clone(), &declared).await.map_err(shifted)?;
                self.store(name.clone(), prepared, Some(statement.text.clone()))?;
                done(tag)
            }
            .boxed(),
            Plan::Execute { name, .. } => async move { Err(undefined_statement(name)) }.boxed(),
            Plan::Deallocate { name: Some(name) } => async move {
                if !self.close_statement(name) {
                    return Err(undefined_statement(name));
                }
                done(tag)
            }
            .boxed(),
            Plan::Deallocate { name: None } => async move {
                self.close_all_statements();
                done(tag)
            }
            .boxed(),
            Plan::Declare { name, options, source } => async move {
                if !options.hold {
                    self.require_block("DECLARE CURSOR")?;
                }
                self.check_new_cursor(name)?;
                let rows = match &**source {
                    Plan::Query(query) => self.plan_query(query, &parameters, guard).await?,
                    other => match self.dispatch(other, parameters, statement, guard).await? {
                        Outcome::Rows(rows) => rows,
                        _ => return Err(Error::internal("the query of a cursor gives no rows")),
                    },
                };
                self.declare(name, statement.text.clone(), *options, rows)?;
                done(tag)
            }
            .boxed(),
            Plan::Fetch {
                name,
                movement,
                moves: false,
            } => async move {
                let rows = self.fetch(name, *movement, guard).await?;
                Ok(Outcome::Rows(rows.counted(self.running.clone())))
            }
            .boxed(),
            Plan::Fetch { name, movement, .. } => async move {
                let rows = self.move_cursor(name, *movement, guard).await?;
                Ok(Outcome::Done(CommandTag::counted(tag, rows)))
            }
            .boxed(),
            Plan::CloseCursor { name } => async move {
                match name {
                    Some(name) => self.close_cursor(name)?,
                    None => self.portals.clear(),
                }
                done(tag)
            }
            .boxed(),
            Plan::Undone { warning } => async move {
                self.notices.push(Notice::warning("0A000", *warning));
                done(tag)
            }
            .boxed(),
            Plan::Nothing { tag } => async move { done(tag) }.boxed(),
        }
    }

    /// The arguments of `EXECUTE` in the types of the parameters.
    async fn arguments(
        &mut self,
        prepared: &Prepared,
        given: &[ScalarValue],
        places: &[Option<usize>],
    ) -> Result<Vec<ScalarValue>> {
        if given.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = self.transactions_snapshot().await?;
        let context = self.context(snapshot);
        let typed = given.iter().zip(prepared.parameters()).zip(places);
        let settled = typed.zip(1..).map(|(((value, ty), place), number)| {
            let located = |error: Error| match place {
                Some(position) => error.with_position(*position),
                None => error,
            };
            argument(&context, number, value.clone(), ty).map_err(located)
        });
        settled.collect()
    }

    /// Optimises a query and starts it on the CPU runtime.
    pub(crate) async fn start_query(
        &mut self,
        query: &QueryPlan,
        parameters: &[ScalarValue],
        guard: StatementGuard,
    ) -> Result<RowStream> {
        let Some(key) = self.result_key(query, parameters).await? else {
            return Ok(self.plan_query(query, parameters, guard).await?.started());
        };
        let mut asked = self.warehouse.results().ask(&key);
        if let Asked::Comes(mut flight) = asked {
            // It ends when the other one does, however that is.
            guard.run(async { Ok(flight.changed().await.is_ok()) }).await?;
            asked = self.warehouse.results().ask(&key);
        }
        Ok(match asked {
            Asked::Found(answer) => RowStream::answered(query, answer, guard, self.canceller()),
            Asked::Comes(_) => self.plan_query(query, parameters, guard).await?.started(),
            Asked::Unknown(collecting) => {
                let rows = self.plan_query(query, parameters, guard).await?;
                rows.collected(collecting).started()
            }
        })
    }

    /// What the answer of a query is found by; `None` where it must be computed: it is of this session, moment or transaction.
    async fn result_key(&mut self, query: &QueryPlan, parameters: &[ScalarValue]) -> Result<Option<ResultKey>> {
        let is_own = self.settings.get("staffa.result_cache") != Some("on")
            || self.transactions.has_changes()
            || self.has_temporary()
            || self.reads().is_some()
            || query.columns.iter().any(|column| is_named(&column.ty));
        if is_own {
            return Ok(None);
        }
        let snapshot = self.transactions_snapshot().await?;
        let role = snapshot.access().role(self.current_user()).map(|role| role.id);
        Ok(query.identity()?.map(|query| ResultKey {
            query,
            values: parameters.to_vec(),
            user: self.current_user().to_owned(),
            role,
            settings: self.settings.to_map(),
        }))
    }

    /// Optimises a query. It starts when somebody asks for its rows.
    async fn plan_query(
        &mut self,
        query: &QueryPlan,
        parameters: &[ScalarValue],
        guard: StatementGuard,
    ) -> Result<RowStream> {
        let snapshot = self.transactions_snapshot().await?;
        let context = self.context(snapshot);
        let pin = Arc::clone(&context.snapshot);
        let task_context = context.task_context();
        let named = query.columns.iter().any(|column| is_named(&column.ty));
        let kept = match named {
            true => None,
            false => kept_query(&context, query, parameters)?,
        };
        let planning = SystemTime::now();
        let (operators, catalog) = match kept {
            Some(operators) => (operators, None),
            None => {
                let (planned, values) = (query.clone(), parameters.to_vec());
                let work = async move {
                    if named {
                        context.load_catalog().await?;
                    }
                    let operators = physical_query(&context, &planned, &values).await?;
                    Ok((operators, context.catalog_view()))
                };
                guard.run(self.warehouse.planning().run(work)).await?
            }
        };
        self.note_stage(Stage::Plan, planning);
        self.note_plan(&operators.plan);
        let canceller = self.canceller();
        let stream = RowStream::planned(
            self.warehouse.lanes(),
            operators,
            task_context,
            query.columns.clone(),
            guard,
            canceller,
            pin,
        );
        Ok(stream.with_catalog(catalog))
    }

    /// These operators are the running statement's.
    pub(crate) fn note_plan(&self, plan: &Arc<dyn ExecutionPlan>) {
        if let Some(running) = &self.running {
            running.note_plan(plan);
        }
    }

    /// The state of the open transaction, opened now if there is none.
    pub(crate) async fn transactions_snapshot(&mut self) -> Result<Arc<staffa_catalog::CatalogSnapshot>> {
        Ok(self.transaction().await?.snapshot())
    }

    fn warn_of_skipped(&mut self, table: &TableName, verb: &str) {
        let message = format!(
            "skipping \"{}\" --- only table or database owner can {verb} it",
            table.name
        );
        self.notices.push(Notice::warning("01000", message));
    }

    /// The sample of the rows that this transaction sees, and statistics of those that are committed.
    async fn analyze(&mut self, tables: &[TableName], verbose: bool, guard: &StatementGuard) -> Result<()> {
        let snapshot = self.transactions_snapshot().await?;
        let context = self.context(snapshot);
        let skipped = guard.run(staffa_planner::analyze(&context, tables)).await?;
        for table in tables {
            if skipped.contains(table) {
                self.warn_of_skipped(table, "analyze");
                continue;
            }
            if verbose {
                let message = format!("analyzing \"{}.{}\"", table.schema, table.name);
                self.notices.push(Notice::info("00000", message));
            }
            let reading = upkeep::Reading::by_hand(&self.warehouse);
            let work = upkeep::analyze(&self.warehouse, table, &reading, upkeep::Origin::Statement);
            if let Some(made) = guard.run(work).await?.filter(|_| verbose) {
                let message = format!(
                    "\"{}\": scanned {} rows in {} files; {} rows in sample",
                    table.name, made.summary.rows, made.files, made.summary.picked
                );
                self.notices.push(Notice::info("00000", message));
            }
        }
        Ok(())
    }

    /// Tells the client what a statement found to say.
    fn remark(&mut self, notice: Option<&String>) {
        self.notices
            .extend(notice.map(|text| Notice::remark("00000", text.as_str())));
    }

    /// These statements are transactions of their own.
    fn check_outside_block(&self, statement: &str) -> Result<()> {
        if !self.is_in_block() {
            return Ok(());
        }
        let message = format!("{statement} cannot run inside a transaction block");
        Err(Error::new(ErrorKind::ActiveTransaction, message))
    }

    fn check_writable(&self, prepared: &Prepared, class: StatementClass) -> Result<()> {
        let writes = matches!(class, StatementClass::Write | StatementClass::Ddl);
        let statement = prepared.statement();
        if (writes || statement.locks_rows()) && self.settings.read_only() {
            let command = match writes {
                true => statement.command(),
                false => "SELECT FOR UPDATE",
            };
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(Error::new(ErrorKind::ReadOnlyTransaction, message));
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        self.settings_epoch += 1;
        if local && !self.is_in_block() {
            let message = "SET LOCAL can only be used in transaction blocks";
            self.notices.push(Notice::warning("25P01", message));
            return Ok(());
        }
        if name.eq_ignore_ascii_case("transaction_isolation") {
            return self.set_isolation(value);
        }
        self.settings.set(name, value, local)
    }

    fn show(&self, name: Option<&str>, plan: &Plan, guard: StatementGuard) -> Result<RowStream> {
        let columns = plan.columns().unwrap_or_default();
        let rows: Vec<Vec<String>> = match name {
            Some(name) => vec![vec![self.settings.show(name)?.to_owned()]],
            None => self
                .settings
                .all()
                .into_iter()
                .map(|(name, value, description)| vec![name, value, description.to_owned()])
                .collect(),
        };
        let arrays: Vec<ArrayRef> = (0..columns.len())
            .map(|column| Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| &row[column]))) as ArrayRef)
            .collect();
        let fields: Vec<_> = columns
            .iter()
            .map(|column| staffa_planner::types::arrow_field(&column.name, &column.ty, true, "UTC"))
            .collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(RowStream::ready("SHOW", columns, batch, guard, self.canceller()))
    }

    async fn discard(&mut self, target: DiscardTarget) -> Result<()> {
        match target {
            DiscardTarget::All => {
                self.check_outside_block("DISCARD ALL")?;
                self.settings.reset_identity();
                self.settings.reset_all();
                self.settings_epoch += 1;
                self.close_all_statements();
                self.portals.clear();
                self.actions.locks.unlock_all();
                self.sequences.forget();
                self.discard_temporary().await?;
            }
            // A new epoch makes every plan again.
            DiscardTarget::Plans => self.settings_epoch += 1,
            DiscardTarget::Sequences => self.sequences.forget(),
            DiscardTarget::Temporary => self.discard_temporary().await?,
        }
        Ok(())
    }
}

/// Whether a statement needs a place among those that run: it reads or writes tables, or makes rows. What only looks at the server or
/// changes definitions never waits, so that whoever is to clear a jam can.
fn is_work(plan: &Plan) -> Result<bool> {
    Ok(match plan {
        Plan::Query(query) => query.is_work()?,
        Plan::CopyOut { query, .. } => query.is_work()?,
        Plan::Declare { source, .. } => is_work(source)?,
        Plan::Explain { options, .. } => options.analyze,
        Plan::Insert(_)
        | Plan::Change(_)
        | Plan::With(_)
        | Plan::CreateTableAs { .. }
        | Plan::Refresh { .. }
        | Plan::AlterTable { .. }
        | Plan::CopyIn { .. }
        | Plan::Fetch { .. }
        | Plan::Vacuum { .. }
        | Plan::Optimize { .. } => true,
        _ => false,
    })
}

/// Whether values of a type are shown by the names of objects.
fn is_named(ty: &SqlType) -> bool {
    match ty {
        SqlType::System(ty) => ty.is_reg(),
        SqlType::Array(element) => is_named(element),
        SqlType::Struct(fields) => fields.iter().any(|(_, ty)| is_named(ty)),
        _ => false,
    }
}

fn check_argument_count(name: &str, expected: usize, given: usize) -> Result<()> {
    if given == expected {
        return Ok(());
    }
    let message = format!("wrong number of parameters for prepared statement \"{name}\"");
    let detail = format!("Expected {expected} parameters but got {given}.");
    Err(Error::new(ErrorKind::SyntaxError, message).with_detail(detail))
}

fn undefined_statement(name: &str) -> Error {
    Error::new(
        ErrorKind::UndefinedPreparedStatement,
        format!("prepared statement \"{name}\" does not exist"),
    )
}
