//! `EXPLAIN`: the operators as a tree, in one column named `QUERY PLAN`.
//!
//! Per operator: what it does, how many rows it is thought to yield, and with ANALYZE how many it did and how long it took.
//! Per scan: how many files and bytes of the table are read and how many were left out, and why.

mod node;
mod render;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_plan::ExecutionPlan;
use staffa_catalog::SqlType;

use self::node::{Estimates, Node};
use crate::error::Result;
use crate::scan_report::ScanReports;
use crate::statement::{ExplainTarget, OutputColumn};
use crate::types::arrow_field;

/// Shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainFormat {
    Text,
    Json,
    Xml,
    Yaml,
}

impl ExplainFormat {
    /// PostgreSQL's type of XML is not here: its text is.
    fn column_type(self) -> SqlType {
        match self {
            Self::Json => SqlType::Json,
            Self::Text | Self::Xml | Self::Yaml => SqlType::Text,
        }
    }
}

/// What the statement asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainOptions {
    /// The plan was run: show what it did.
    pub analyze: bool,
    /// Show expressions in full.
    pub verbose: bool,
    /// Show estimates.
    pub costs: bool,
    /// Show times of operators (with `analyze`).
    pub timing: bool,
    /// Show the times of planning and execution.
    pub summary: bool,
    pub format: ExplainFormat,
}

/// How long it took.
#[derive(Clone, Copy, Debug)]
pub struct ExplainTimes {
    pub planning: Duration,
    /// With ANALYZE.
    pub execution: Option<Duration>,
}

/// The columns of the answer.
pub fn explain_columns(format: ExplainFormat) -> Vec<OutputColumn> {
    vec![OutputColumn {
        name: "QUERY PLAN".to_string(),
        ty: format.column_type(),
        origin: None,
    }]
}

/// The schema of the answer.
fn explain_schema(format: ExplainFormat) -> SchemaRef {
    Arc::new(Schema::new(vec![arrow_field(
        "QUERY PLAN",
        &format.column_type(),
        false,
        "UTC",
    )]))
}

/// Describes a plan: a row per line of text, or one row of JSON, XML or YAML. With ANALYZE the plan must have run to its end.
pub fn explain(
    target: &ExplainTarget,
    plan: &Arc<dyn ExecutionPlan>,
    reports: &ScanReports,
    options: &ExplainOptions,
    times: &ExplainTimes,
) -> Result<RecordBatch> {
    let mut estimates = Estimates::default();
    let mut tree = Node::of(plan, &mut reports.all(), &mut estimates, options);
    match target {
        ExplainTarget::Query(_) => {}
        ExplainTarget::Insert(insert) => tree = Node::above("Insert", &insert.table.name().to_string(), tree),
        ExplainTarget::Change(change) => {
            tree = Node::above(change.kind.name(), &change.table.name().to_string(), tree);
        }
        ExplainTarget::CreateTableAs { definition, .. } => {
            tree = Node::above("Create Table", &definition.name.to_string(), tree);
        }
    }
    let lines = match options.format {
        ExplainFormat::Text => render::text(&tree, options, times),
        ExplainFormat::Json => vec![render::json(&tree, options, times)?],
        ExplainFormat::Xml => vec![render::xml(&tree, options, times)],
        ExplainFormat::Yaml => vec![render::yaml(&tree, options, times)],
    };
    let column: ArrayRef = Arc::new(
        lines
            .iter()
            .map(|line| Some(line.as_str()))
            .collect::<StringViewArray>(),
    );
    Ok(RecordBatch::try_new(explain_schema(options.format), vec![column])?)
}
