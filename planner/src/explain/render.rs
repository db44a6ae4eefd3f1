//! The tree as PostgreSQL prints it: indented lines, or JSON of the same shape.
//!
//! Costs count rows that pass through operators; there is no other unit behind them.

use serde_json::{Map, Value, json};

use super::node::Node;
use super::{ExplainOptions, ExplainTimes};
use crate::error::{Error, Result};

pub(super) fn text(tree: &Node, options: &ExplainOptions, times: &ExplainTimes) -> Vec<String> {
    let mut lines = Vec::new();
    node_lines(tree, options, 0, &mut lines);
    if options.summary {
        lines.push(format!("Planning Time: {}", milliseconds(times.planning)));
        if let Some(execution) = times.execution {
            lines.push(format!("Execution Time: {}", milliseconds(execution)));
        }
    }
    lines
}

fn node_lines(node: &Node, options: &ExplainOptions, depth: usize, lines: &mut Vec<String>) {
    let (arrow, indent) = match depth {
        0 => (String::new(), "  ".to_string()),
        _ => (format!("{}->  ", " ".repeat(6 * depth - 4)), " ".repeat(6 * depth + 2)),
    };
    let mut line = format!("{arrow}{}", node.name);
    if let Some(relation) = &node.relation {
        line.push_str(&format!(" on {relation}"));
    }
    if options.costs {
        let rows = node.estimated_rows;
        let width = node
            .estimated_bytes
            .and_then(|bytes| bytes.checked_div(rows))
            .unwrap_or(0);
        line.push_str(&format!("  (cost=0.00..{}.00 rows={rows} width={width})", node.cost()));
    }
    if options.analyze {
        let rows = node
            .actual_rows
            .map_or_else(|| "unknown".to_string(), |rows| rows.to_string());
        match node.actual_nanoseconds.filter(|_| options.timing) {
            Some(time) => line.push_str(&format!(" (actual time={:.3} ms rows={rows})", time as f64 / 1e6)),
            None => line.push_str(&format!(" (actual rows={rows})")),
        }
    }
    lines.push(line);
    if let Some(detail) = &node.detail {
        lines.push(format!("{indent}{detail}"));
    }
    if let Some(scan) = &node.scan {
        lines.push(format!(
            "{indent}Files: {} of {}, Bytes: {} of {}",
            scan.files_read, scan.files_total, scan.bytes_read, scan.bytes_total
        ));
        if scan.pruned_by_partition + scan.pruned_by_statistics > 0 {
            lines.push(format!(
                "{indent}Files Pruned: {} by partition, {} by statistics",
                scan.pruned_by_partition, scan.pruned_by_statistics
            ));
        }
    }
    for (name, value) in &node.counters {
        lines.push(format!("{indent}{name}: {value}"));
    }
    for child in &node.children {
        node_lines(child, options, depth + 1, lines);
    }
}

pub(super) fn json(tree: &Node, options: &ExplainOptions, times: &ExplainTimes) -> Result<String> {
    let mut top = Map::new();
    top.insert("Plan".to_string(), node_json(tree, options));
    if options.summary {
        top.insert("Planning Time".to_string(), json!(times.planning.as_secs_f64() * 1e3));
        if let Some(execution) = times.execution {
            top.insert("Execution Time".to_string(), json!(execution.as_secs_f64() * 1e3));
        }
    }
    serde_json::to_string_pretty(&Value::Array(vec![Value::Object(top)]))
        .map_err(|error| Error::internal(format!("a plan as JSON: {error}")))
}

fn node_json(node: &Node, options: &ExplainOptions) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_string(), value);
    put("Node Type", json!(node.name));
    if let Some(relation) = &node.relation {
        put("Relation Name", json!(relation));
    }
    if options.costs {
        put("Startup Cost", json!(0.0));
        put("Total Cost", json!(node.cost()));
        put("Plan Rows", json!(node.estimated_rows));
        put("Plan Rows Exact", json!(node.exact));
    }
    if options.analyze {
        put("Actual Rows", json!(node.actual_rows));
        if options.timing {
            put(
                "Actual Total Time",
                json!(node.actual_nanoseconds.map(|time| time as f64 / 1e6)),
            );
        }
    }
    if let Some(detail) = &node.detail {
        put("Output", json!(detail));
    }
    if let Some(scan) = &node.scan {
        put("Files Read", json!(scan.files_read));
        put("Files Total", json!(scan.files_total));
        put("Bytes Read", json!(scan.bytes_read));
        put("Bytes Total", json!(scan.bytes_total));
        put("Files Pruned by Partition", json!(scan.pruned_by_partition));
        put("Files Pruned by Statistics", json!(scan.pruned_by_statistics));
    }
    for (name, value) in &node.counters {
        put(name, json!(value));
    }
    if !node.children.is_empty() {
        put(
            "Plans",
            Value::Array(node.children.iter().map(|child| node_json(child, options)).collect()),
        );
    }
    Value::Object(object)
}

fn milliseconds(time: std::time::Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
