//! `DECLARE`. FETCH, MOVE and CLOSE name cursors of the session, which only the session knows.

use staffa_catalog::SqlType;

use crate::error::{Error, Result};
use crate::parse::{Ast, DeclareAst};
use crate::resolve::fold;
use crate::statement::Plan;
use crate::statement::query::Scope;
use crate::statement::with;

pub(crate) async fn declare(scope: &Scope<'_>, asked: &DeclareAst, declared: &[Option<SqlType>]) -> Result<Plan> {
    if with::in_query(&asked.query) {
        return Err(Error::unsupported(
            "DECLARE CURSOR must not contain data-modifying statements in WITH",
        ));
    }
    let query = Ast::Query(asked.query.clone());
    Ok(Plan::Declare {
        name: fold(&asked.name),
        options: asked.options,
        source: Box::new(crate::plan::of_ast(scope, &query, declared).await?),
    })
}
