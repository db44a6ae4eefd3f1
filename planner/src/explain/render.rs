//! The tree as PostgreSQL prints it: indented lines, or JSON, XML and YAML of the same shape.
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
    let all = Value::Array(vec![Value::Object(properties(tree, options, times))]);
    serde_json::to_string_pretty(&all).map_err(|error| Error::internal(format!("a plan as JSON: {error}")))
}

pub(super) fn xml(tree: &Node, options: &ExplainOptions, times: &ExplainTimes) -> String {
    let mut out = String::from("<explain xmlns=\"http://www.postgresql.org/2009/explain\">\n  <Query>\n");
    xml_elements(&properties(tree, options, times), 2, &mut out);
    out.push_str("  </Query>\n</explain>");
    out
}

/// Properties as elements: names with hyphens, the plans below one in `<Plans>`. What is not known is left out.
fn xml_elements(properties: &Map<String, Value>, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, value) in properties {
        let tag = name.replace(' ', "-");
        match value {
            Value::Null => {}
            Value::Object(inner) => {
                out.push_str(&format!("{indent}<{tag}>\n"));
                xml_elements(inner, depth + 1, out);
                out.push_str(&format!("{indent}</{tag}>\n"));
            }
            Value::Array(plans) => {
                out.push_str(&format!("{indent}<{tag}>\n"));
                for plan in plans.iter().filter_map(Value::as_object) {
                    out.push_str(&format!("{indent}  <Plan>\n"));
                    xml_elements(plan, depth + 2, out);
                    out.push_str(&format!("{indent}  </Plan>\n"));
                }
                out.push_str(&format!("{indent}</{tag}>\n"));
            }
            Value::String(text) => out.push_str(&format!("{indent}<{tag}>{}</{tag}>\n", xml_text(text))),
            other => out.push_str(&format!("{indent}<{tag}>{other}</{tag}>\n")),
        }
    }
}

/// Characters that XML 1.0 does not have (section 2.2) are shown as question marks.
fn xml_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\r' => escaped.push_str("&#x0d;"),
            '\t' | '\n' => escaped.push(character),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}

pub(super) fn yaml(tree: &Node, options: &ExplainOptions, times: &ExplainTimes) -> String {
    let mut out = String::new();
    yaml_item(&properties(tree, options, times), 0, &mut out);
    out.truncate(out.trim_end().len());
    out
}

/// An item of a list: its first property stands behind the hyphen.
fn yaml_item(properties: &Map<String, Value>, depth: usize, out: &mut String) {
    out.push_str(&"  ".repeat(depth));
    out.push_str("- ");
    let first = out.len();
    yaml_properties(properties, depth + 1, out);
    out.replace_range(first..first + 2 * (depth + 1), "");
}

/// Texts are quoted as in JSON, which YAML contains (YAML 1.2, section 1.3).
fn yaml_properties(properties: &Map<String, Value>, depth: usize, out: &mut String) {
    for (name, value) in properties {
        out.push_str(&format!("{}{name}: ", "  ".repeat(depth)));
        match value {
            Value::Object(inner) => {
                out.push('\n');
                yaml_properties(inner, depth + 1, out);
            }
            Value::Array(plans) => {
                out.push('\n');
                for plan in plans.iter().filter_map(Value::as_object) {
                    yaml_item(plan, depth + 1, out);
                }
            }
            other => out.push_str(&format!("{other}\n")),
        }
    }
}

fn properties(tree: &Node, options: &ExplainOptions, times: &ExplainTimes) -> Map<String, Value> {
    let mut top = Map::new();
    top.insert("Plan".to_string(), node_json(tree, options));
    if options.summary {
        top.insert("Planning Time".to_string(), json!(times.planning.as_secs_f64() * 1e3));
        if let Some(execution) = times.execution {
            top.insert("Execution Time".to_string(), json!(execution.as_secs_f64() * 1e3));
        }
    }
    top
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
