//! From a parsed statement to what it asks for: one line per kind of statement.

use staffa_catalog::SqlType;

use crate::authorize;
use crate::context::PlanContext;
use crate::error::{Error, Result};
use crate::parse::{Ast, DropKind, ParsedStatement};
use crate::statement::query::Scope;
use crate::statement::{
    Plan, absent, access, alter, change, copy, cursor, ddl, dml, explain, history, index, lock, materialized, merge,
    prepare, query, sequence, set, transaction, truncate, upkeep, with,
};

/// Resolves a statement against the context's snapshot.
///
/// `declared` are the types a client gave to parameters, `None` where it gave none. Positions of errors count characters
/// from the start of the statement's own text.
pub async fn plan(context: &PlanContext, statement: &ParsedStatement, declared: &[Option<SqlType>]) -> Result<Plan> {
    statement.check_parameters(declared)?;
    let scope = Scope {
        locks_rows: statement.locks_rows(),
        ..Scope::new(context, &statement.text)
    };
    let plan = of_ast(&scope, &statement.ast, declared).await;
    let plan = plan.map_err(|error| statement.at_parameter(error))?;
    authorize::check(context, &plan).await?;
    Ok(plan)
}

/// Boxed, because EXPLAIN holds a statement.
pub(crate) fn of_ast<'a>(
    scope: &'a Scope<'a>,
    ast: &'a Ast,
    declared: &'a [Option<SqlType>],
) -> std::pin::Pin<Box<dyn Future<Output = Result<Plan>> + Send + 'a>> {
    Box::pin(async move {
        let context = scope.context;
        match ast {
            Ast::Query(body) => {
                if let Some(list) = &body.with {
                    let mut main = body.clone();
                    main.with = None;
                    if let Some(plan) = with::plan(scope, list, &Ast::Query(main), declared).await? {
                        return Ok(plan);
                    }
                }
                Ok(Plan::Query(query::shown(query::plan(scope, body, declared).await?)?))
            }
            Ast::Insert(insert) => dml::insert(scope, insert, declared).await,
            Ast::Update(update) => Ok(Plan::Change(change::update(scope, update, declared).await?)),
            Ast::Delete(delete) => Ok(Plan::Change(change::delete(scope, delete, declared).await?)),
            Ast::Merge(merge) => Ok(Plan::Change(merge::merge(scope, merge, declared).await?)),
            Ast::Overriding(insert, overriding) => {
                let scope = Scope {
                    overriding: *overriding,
                    ..scope.copied()
                };
                dml::insert(&scope, insert, declared).await
            }
            Ast::With(list, statement) => {
                if let Some(plan) = with::plan(scope, list, statement, declared).await? {
                    return Ok(plan);
                }
                let scope = Scope {
                    with: Some(list),
                    ..scope.copied()
                };
                of_ast(&scope, statement, declared).await
            }
            Ast::CreateTable(create) => ddl::create_table(scope, create, declared).await,
            Ast::CreateView(create) => ddl::create_view(scope, create).await,
            Ast::CreateSequence(asked) => sequence::create(scope, asked).await,
            Ast::AlterSequence(asked) => sequence::alter(scope, asked).await,
            Ast::Drop {
                kind: DropKind::Sequence,
                names,
                if_exists,
                cascade,
            } => sequence::drop(scope, names, *if_exists, *cascade).await,
            Ast::CreateIndex(asked) => index::create(scope, asked),
            Ast::DropIndexes {
                names,
                concurrently,
                if_exists,
                cascade,
            } => index::drop(scope, names, *concurrently, *if_exists, *cascade).await,
            Ast::Reindex { what, concurrently } => index::reindex(scope, what, *concurrently).await,
            Ast::CreateSchema {
                name,
                owner,
                if_not_exists,
            } => ddl::create_schema(context, name.as_ref(), owner.as_ref(), *if_not_exists),
            Ast::CreateDatabase {
                name,
                template,
                encoding,
            } => ddl::create_database(context, name, template.as_deref(), encoding.as_deref()),
            Ast::Drop {
                kind,
                names,
                if_exists,
                cascade,
            } => ddl::drop(scope, *kind, names, *if_exists, *cascade).await,
            Ast::DropAbsent(asked) => absent::drop(scope, asked),
            Ast::CommentConstraint { name, table, text } => alter::comment_constraint(scope, name, table, text.clone()),
            Ast::Refresh {
                name,
                concurrently,
                with_data,
            } => materialized::refresh(scope, name, *concurrently, *with_data).await,
            Ast::Truncate {
                names,
                restart,
                cascade,
            } => truncate::truncate(scope, names, *restart, *cascade).await,
            Ast::Lock { names, mode } => lock::lock(scope, names, *mode).await,
            Ast::Upkeep(asked) => upkeep::plan(scope, asked).await,
            Ast::History(asked) => history::plan(scope, asked).await,
            Ast::Access(asked) => access::plan(scope, asked).await,
            Ast::AlterTable(asked) => alter::alter_table(scope, asked).await,
            Ast::RenameRelation {
                what,
                name,
                if_exists,
                to,
            } => alter::rename_relation(scope, *what, name, *if_exists, to).await,
            Ast::RenameViewColumn {
                view,
                if_exists,
                from,
                to,
            } => alter::rename_view_column(scope, view, *if_exists, from, to).await,
            Ast::RenameSchema { name, to } => alter::rename_schema(context, name, to),
            Ast::DropDatabase { name, if_exists } => ddl::drop_database(context, name, *if_exists),
            Ast::Comment { object, on, text } => ddl::comment(scope, object, *on, text.clone()).await,
            Ast::Copy {
                from,
                source,
                options,
                stdio,
            } => copy::copy(scope, *from, source, options, *stdio).await,
            Ast::Set { name, value, local } => set::set(name, value.as_deref(), *local),
            Ast::Show { name } => Ok(Plan::Show { name: name.clone() }),
            Ast::Reset { name } => set::reset(name.as_deref()),
            Ast::Discard(target) => Ok(Plan::Discard(*target)),
            Ast::Begin { modes, .. } => Ok(Plan::Begin(*modes)),
            Ast::Commit { chain } => transaction::commit(*chain),
            Ast::Rollback { chain } => transaction::rollback(*chain),
            Ast::Savepoint { action, name } => Ok(Plan::Savepoint {
                action: *action,
                name: crate::resolve::fold(name),
            }),
            Ast::SetTransaction { modes, session } => Ok(Plan::SetTransaction {
                modes: *modes,
                session: *session,
            }),
            Ast::Prepare { name, types, statement } => prepare::prepare(scope, name, types, statement),
            Ast::Execute { name, arguments } => prepare::execute(scope, name, arguments).await,
            Ast::Deallocate { name } => Ok(Plan::Deallocate {
                name: name.as_ref().map(crate::resolve::fold),
            }),
            Ast::Declare(asked) => cursor::declare(scope, asked, declared).await,
            Ast::Fetch { name, movement, moves } => Ok(Plan::Fetch {
                name: crate::resolve::fold(name),
                movement: *movement,
                moves: *moves,
            }),
            Ast::CloseCursor { name } => Ok(Plan::CloseCursor {
                name: name.as_ref().map(crate::resolve::fold),
            }),
            Ast::Explain(asked) => explain::explain(scope, asked, declared).await,
            Ast::Undone { warning, .. } => Ok(Plan::Undone { warning }),
            Ast::Nothing { tag } => Ok(Plan::Nothing { tag }),
            Ast::Unsupported { what, hint, .. } => {
                let error = Error::unsupported(format!("{what} is not supported"));
                Err(match hint {
                    Some(hint) => error.with_hint(*hint),
                    None => error,
                })
            }
        }
    })
}
