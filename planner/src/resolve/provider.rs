//! What DataFusion's planner asks while it turns a syntax tree into a plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::Relations;
use super::independent::Independent;
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, undefined_function};
use crate::function::{SessionFacts, session_function, session_function_names};
use crate::operators::PostgresOperators;
use crate::rewrite::numbered_anew;
use crate::type_planner::PostgresTypes;

/// Loaded relations, the session's functions, and our types.
pub(crate) struct Provider<'a> {
    state: &'a SessionState,
    relations: Relations,
    types: Arc<PostgresTypes>,
    facts: Arc<SessionFacts>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: [Arc<dyn RelationPlanner>; 1],
}

impl<'a> Provider<'a> {
    pub(crate) fn new(context: &'a PlanContext, relations: Relations) -> Self {
        // PostgreSQL's operators come first: what they leave alone is DataFusion's.
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(PostgresOperators::new(&context.time_zone))];
        planners.extend(context.session.expr_planners().iter().cloned());
        Self {
            planners,
            relation_planners: [Arc::<Independent>::default()],
            state: &context.session,
            relations,
            types: Arc::new(PostgresTypes::new(&context.time_zone)),
            facts: Arc::new(SessionFacts::of(context)),
        }
    }
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        match self.relations.sources.get(&name) {
            Some(source) => match source.get_logical_plan() {
                Some(view) => Ok(match numbered_anew(&view)? {
                    Some(anew) => provider_as_source(Arc::new(ViewTable::new(anew, None))),
                    None => Arc::clone(source),
                }),
                None => Ok(Arc::clone(source)),
            },
            None => {
                let shown = match (name.catalog(), name.schema()) {
                    (Some(catalog), Some(schema)) => format!("{catalog}.{schema}.{}", name.table()),
                    (None, Some(schema)) => format!("{schema}.{}", name.table()),
                    _ => name.table().to_string(),
                };
                let message = format!("relation \"{shown}\" does not exist");
                Err(Error::new(ErrorKind::UndefinedTable, message).into())
            }
        }
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DataFusionResult<Arc<dyn TableSource>> {
        let name = name.to_lowercase();
        let Some(function) = self.state.table_functions().get(&name) else {
            return Err(undefined_function(&name).into());
        };
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.types) as Arc<dyn TypePlanner>)
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        session_function(name, &self.facts).or_else(|| self.state.scalar_functions().get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        let own = session_function_names().map(str::to_string);
        // Names of ours that no one calls are not suggested.
        self.state
            .scalar_functions()
            .keys()
            .filter(|name| !name.starts_with("staffa_"))
            .cloned()
            .chain(own)
            .collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
