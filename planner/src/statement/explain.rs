//! `EXPLAIN`: plans what it explains.

use staffa_catalog::SqlType;

use crate::error::{Error, Result};
use crate::explain::ExplainOptions;
use crate::parse::ExplainAst;
use crate::plan::of_ast;
use crate::statement::query::Scope;
use crate::statement::{ExplainTarget, Plan};

pub(crate) async fn explain(scope: &Scope<'_>, asked: &ExplainAst, declared: &[Option<SqlType>]) -> Result<Plan> {
    let options = ExplainOptions {
        analyze: asked.analyze,
        verbose: asked.verbose,
        costs: asked.costs,
        timing: asked.timing,
        summary: asked.summary.unwrap_or(asked.analyze),
        format: asked.format,
    };
    let target = match of_ast(scope, &asked.statement, declared).await? {
        Plan::Query(query) => ExplainTarget::Query(Box::new(query)),
        Plan::Insert(insert) => ExplainTarget::Insert(Box::new(insert)),
        Plan::Change(change) => ExplainTarget::Change(Box::new(change)),
        Plan::CreateTableAs { definition, source, .. } => ExplainTarget::CreateTableAs {
            definition: Box::new(definition),
            source: Box::new(source),
        },
        _ => return Err(Error::unsupported("EXPLAIN of this statement is not supported")),
    };
    Ok(Plan::Explain { target, options })
}
