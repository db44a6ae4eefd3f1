//! Operators for an order of joins.
//!
//! Columns are known by their places in the graph. Each join gives those that are read above it, and the last one what came out before,
//! under the same names.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExecBuilder, NestedLoopJoinExecBuilder, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;

use super::graph::{Classes, Condition, Edge, JoinGraph, Kind, with_columns};
use super::search::{Search, edges_between};
use super::set::Set;
use super::width::bytes_of;
use crate::estimate::Estimate;

/// The joins in the order that was found; `schema` is what came out before. `None` if something else would come out.
pub(super) fn rebuilt(
    graph: &JoinGraph,
    search: &mut Search<'_>,
    leaves: &[Arc<Estimate>],
    schema: &SchemaRef,
    config: &ConfigOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut builder = Builder {
        graph,
        search,
        leaves,
        config,
        settled: HashMap::new(),
    };
    builder.settle(graph.all())?;
    let mut read = vec![false; graph.fields.len()];
    for column in &graph.output {
        read[*column] = true;
    }
    let built = builder.build(graph.all(), &read)?;
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let plan = projected(&built, &graph.output, Some(names.collect()))?;
    let is_same = plan.schema().fields().len() == schema.fields().len()
        && plan.schema().fields().iter().zip(schema.fields()).all(|(new, old)| {
            new.name() == old.name() && new.data_type() == old.data_type() && new.is_nullable() == old.is_nullable()
        });
    Ok(is_same.then_some(plan))
}

/// How a hash join of such a build side runs: one table for all tasks, unless it is very large.
pub(super) fn partition_mode(build: &Schema, rows: f64, config: &ConfigOptions) -> PartitionMode {
    let optimizer = &config.optimizer;
    let width: usize = build.fields().iter().map(|field| bytes_of(field.data_type())).sum();
    let fits = rows < optimizer.hash_join_single_partition_threshold_rows as f64
        && rows * (width as f64) < optimizer.hash_join_single_partition_threshold as f64;
    match fits || config.execution.target_partitions == 1 || !optimizer.repartition_joins {
        true => PartitionMode::CollectLeft,
        false => PartitionMode::Partitioned,
    }
}

struct Builder<'a, 'b> {
    graph: &'a JoinGraph,
    search: &'a mut Search<'b>,
    leaves: &'a [Arc<Estimate>],
    config: &'a ConfigOptions,
    /// What the join of each set has to ask.
    settled: HashMap<Set, Settled<'a>>,
}

/// What a join asks.
struct Settled<'a> {
    /// The edge of a join that is no inner one.
    outer: Option<&'a Edge>,
    conditions: Vec<&'a Condition>,
}

/// An operator, and what its columns are in the graph.
struct Built {
    plan: Arc<dyn ExecutionPlan>,
    columns: Vec<usize>,
    rows: f64,
}

impl<'a> Builder<'a, '_> {
    /// Decides what the joins of a set ask; gives the columns that are equal in all their rows. Of inner joins those conditions are left
    /// out that follow from others.
    fn settle(&mut self, set: Set) -> Result<Vec<(usize, usize)>> {
        let Some((build, probe)) = self.sides(set)? else {
            return Ok(Vec::new());
        };
        let (of_build, of_probe) = (self.settle(build)?, self.settle(probe)?);
        let edges = edges_between(self.graph, build, probe).ok_or_else(|| broken("a join without a condition"))?;
        if let Some(edge) = edges.iter().copied().find(|edge| edge.kind != Kind::Inner) {
            let settled = Settled {
                outer: Some(edge),
                conditions: edge.conditions.iter().collect(),
            };
            self.settled.insert(set, settled);
            // Of the other side there may be nulls.
            return Ok(if edge.left.is_within(build) { of_build } else { of_probe });
        }
        let mut equal: Vec<(usize, usize)> = of_build.into_iter().chain(of_probe).collect();
        let mut classes = Classes::new(self.graph.fields.len());
        for (one, other) in &equal {
            classes.unite(*one, *other);
        }
        let (optional, said): (Vec<&Edge>, Vec<&Edge>) = edges.into_iter().partition(|edge| edge.is_optional);
        let mut conditions = Vec::new();
        for condition in said.into_iter().chain(optional).flat_map(|edge| &edge.conditions) {
            if let Condition::Equal(one, other) = condition {
                if !classes.unite(*one, *other) {
                    continue;
                }
                equal.push((*one, *other));
            }
            conditions.push(condition);
        }
        self.settled.insert(
            set,
            Settled {
                outer: None,
                conditions,
            },
        );
        Ok(equal)
    }

    fn sides(&self, set: Set) -> Result<Option<(Set, Set)>> {
        let joined = self.search.joined(set).ok_or_else(|| broken("a set without a join"))?;
        Ok(joined.sides)
    }

    fn build(&mut self, set: Set, read: &[bool]) -> Result<Built> {
        let Some((build, probe)) = self.sides(set)? else {
            let leaf = set.members().next().ok_or_else(|| broken("an empty set"))?;
            let columns = self.graph.origins.iter().enumerate();
            let columns = columns.filter(|(_, (owner, _))| *owner == leaf);
            return Ok(Built {
                plan: Arc::clone(&self.graph.leaves[leaf]),
                columns: columns.map(|(column, _)| column).collect(),
                rows: self.leaves[leaf].rows,
            });
        };
        let settled = self
            .settled
            .remove(&set)
            .ok_or_else(|| broken("a join that asks nothing"))?;
        let mut below = read.to_vec();
        for condition in &settled.conditions {
            match condition {
                Condition::Equal(one, other) => (below[*one], below[*other]) = (true, true),
                Condition::Filter(filter) => {
                    for column in collect_columns(filter) {
                        below[column.index()] = true;
                    }
                }
            }
        }
        let (left, right) = (self.build(build, &below)?, self.build(probe, &below)?);
        let keeps_left = settled.outer.is_some_and(|edge| edge.left.is_within(build));
        let rows = self.search.rows_of(set);
        let joined = self.join(left, right, &settled, keeps_left, rows)?;
        let wanted: Vec<usize> = joined.columns.iter().copied().filter(|column| read[*column]).collect();
        if wanted.len() == joined.columns.len() {
            return Ok(joined);
        }
        Ok(Built {
            plan: projected(&joined, &wanted, None)?,
            columns: wanted,
            ..joined
        })
    }

    /// The join of two sides, the first of which is built; `keeps_left`: of what is no inner join the rows of that one stay.
    fn join(&self, left: Built, right: Built, settled: &Settled<'_>, keeps_left: bool, rows: f64) -> Result<Built> {
        let join_type = match settled.outer.map_or(Kind::Inner, |edge| edge.kind) {
            Kind::Inner => JoinType::Inner,
            Kind::Left => JoinType::Left,
            Kind::Semi => JoinType::LeftSemi,
            Kind::Anti => JoinType::LeftAnti,
        };
        let join_type = if keeps_left { join_type } else { join_type.swap() };
        let (mut keys, mut filters) = (Vec::new(), Vec::new());
        for condition in &settled.conditions {
            match condition {
                Condition::Equal(one, other) => {
                    let is_left = left.columns.contains(one) && right.columns.contains(other);
                    let (one, other) = if is_left { (*one, *other) } else { (*other, *one) };
                    keys.push((left.column(one)?, right.column(other)?));
                }
                Condition::Filter(filter) => filters.push(Arc::clone(filter)),
            }
        }
        let filter = conjunction_opt(filters)
            .map(|filter| join_filter(&filter, &left, &right))
            .transpose()?;
        let columns = match join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns.clone(),
            JoinType::RightSemi | JoinType::RightAnti => right.columns.clone(),
            _ => left.columns.iter().chain(&right.columns).copied().collect(),
        };
        let plan: Arc<dyn ExecutionPlan> = if !keys.is_empty() {
            let mode = partition_mode(&left.plan.schema(), left.rows, self.config);
            HashJoinExecBuilder::new(left.plan, right.plan, keys, join_type)
                .with_filter(filter)
                .with_partition_mode(mode)
                .with_null_equality(NullEquality::NullEqualsNothing)
                .build_exec()?
        } else if filter.is_none() && join_type == JoinType::Inner {
            Arc::new(CrossJoinExec::new(left.plan, right.plan))
        } else {
            let join = NestedLoopJoinExecBuilder::new(left.plan, right.plan, join_type).with_filter(filter);
            Arc::new(join.build()?)
        };
        Ok(Built { plan, columns, rows })
    }
}

impl Built {
    /// The place of a column of the graph among its own.
    fn place(&self, column: usize) -> Result<usize> {
        let place = self.columns.iter().position(|own| *own == column);
        place.ok_or_else(|| broken("a column that is not there"))
    }

    fn column(&self, column: usize) -> Result<Arc<dyn PhysicalExpr>> {
        let place = self.place(column)?;
        Ok(Arc::new(Column::new(self.plan.schema().field(place).name(), place)))
    }
}

/// Some columns of an operator, in this order.
fn projected(built: &Built, columns: &[usize], names: Option<Vec<&str>>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = built.plan.schema();
    let is_whole = *columns == *built.columns;
    let is_named = names.as_ref().is_none_or(|names| {
        schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .eq(names.iter().copied())
    });
    if is_whole && is_named {
        return Ok(Arc::clone(&built.plan));
    }
    let outputs = columns.iter().enumerate().map(|(place, column)| {
        let own = built.place(*column)?;
        let name = schema.field(own).name();
        let alias = names.as_ref().map_or(name.as_str(), |names| names[place]);
        Ok(ProjectionExpr::new(Arc::new(Column::new(name, own)), alias.to_owned()))
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(outputs, Arc::clone(&built.plan))?))
}

fn join_filter(filter: &Arc<dyn PhysicalExpr>, left: &Built, right: &Built) -> Result<JoinFilter> {
    let mut read: Vec<usize> = collect_columns(filter).iter().map(Column::index).collect();
    read.sort_unstable();
    read.dedup();
    let mut fields = Vec::new();
    let mut places = Vec::new();
    for column in &read {
        let (side, index, schema) = match left.columns.contains(column) {
            true => (JoinSide::Left, left.place(*column)?, left.plan.schema()),
            false => (JoinSide::Right, right.place(*column)?, right.plan.schema()),
        };
        fields.push(Arc::clone(&schema.fields()[index]));
        places.push(ColumnIndex { index, side });
    }
    let filter = with_columns(filter, |column| read.binary_search(&column).unwrap_or(0));
    Ok(JoinFilter::new(filter, places, Arc::new(Schema::new(fields))))
}

fn broken(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("the order of joins has {what}"))
}
