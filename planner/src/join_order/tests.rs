//! Random joins in random orders: whatever is thought of the inputs, the rows are the same.

use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const TABLES: usize = 7;

/// A side of a join as SQL: its text, and the tables whose columns can be named.
struct Side {
    text: String,
    visible: Vec<usize>,
}

/// Tables with two columns of few values, some of them null.
fn session(random: &mut StdRng) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(2);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_physical_optimizer_rules(Vec::new())
        .build();
    let context = SessionContext::new_with_state(state);
    for table in 0..TABLES {
        let rows = random.random_range(1..6);
        let mut values = || -> Int32Array {
            let value = |_| Some(random.random_range(0..4)).filter(|value| *value > 0);
            (0..rows).map(value).collect()
        };
        let names = ["a", "b"].map(|name| Field::new(name, DataType::Int32, true));
        let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(values()), Arc::new(values())];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(names.to_vec())), columns).expect("a batch");
        context
            .register_batch(format!("t{table}").as_str(), batch)
            .expect("a table");
    }
    context
}

/// Joins of these tables, in a random tree.
fn joins(random: &mut StdRng, tables: &[usize]) -> Side {
    if let [table] = tables {
        return Side {
            text: format!("t{table}"),
            visible: vec![*table],
        };
    }
    let (left, right) = tables.split_at(random.random_range(1..tables.len()));
    let (left, right) = (joins(random, left), joins(random, right));
    let kinds = [
        "join",
        "join",
        "join",
        "left join",
        "right join",
        "left semi join",
        "left anti join",
    ];
    let kind = kinds[random.random_range(0..kinds.len())];
    let mut conditions = Vec::new();
    for _ in 0..random.random_range(1..3) {
        let mut column = |side: &Side| {
            let table = side.visible[random.random_range(0..side.visible.len())];
            format!("t{table}.{}", ["a", "b"][random.random_range(0..2)])
        };
        let (one, other) = (column(&left), column(&right));
        let operator = ["=", "=", "=", "=", "<", "<>"][random.random_range(0..6)];
        conditions.push(format!("{one} {operator} {other}"));
    }
    let text = format!("({} {kind} {} on {})", left.text, right.text, conditions.join(" and "));
    let visible = match kind {
        "left semi join" | "left anti join" => left.visible,
        _ => left.visible.into_iter().chain(right.visible).collect(),
    };
    Side { text, visible }
}

async fn rows(state: &SessionState, plan: Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut plan = plan;
    // DataFusion's own rule chooses sides, which changes no order.
    for rule in PhysicalOptimizer::new().rules {
        plan = rule.optimize(plan, state.config_options()).expect("a plan");
    }
    let batches = collect(plan, state.task_ctx()).await.expect("rows");
    let text = arrow::util::pretty::pretty_format_batches(&batches)
        .expect("a text")
        .to_string();
    // Neither lines nor names: only numbers.
    let is_row = |line: &&str| line.starts_with('|') && !line.contains(char::is_alphabetic);
    let mut rows: Vec<String> = text.lines().filter(is_row).map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

/// The plan with its joins in the order that is best if the inputs are of random sizes.
fn reordered(
    random: &mut StdRng,
    plan: &Arc<dyn ExecutionPlan>,
    config: &ConfigOptions,
) -> Option<Arc<dyn ExecutionPlan>> {
    if !is_join(plan.as_ref()) {
        let children = plan.children().into_iter().map(|child| {
            let changed = reordered(random, child, config);
            changed.unwrap_or_else(|| Arc::clone(child))
        });
        let children = children.collect();
        return replace_children_if_necessary(Arc::clone(plan), children).ok();
    }
    let graph = JoinGraph::of(plan);
    let leaves: Vec<Arc<Estimate>> = graph
        .leaves
        .iter()
        .map(|leaf| {
            Arc::new(Estimate::unknown(
                10_f64.powi(random.random_range(0..6)),
                &leaf.schema(),
            ))
        })
        .collect();
    let mut search = Search::new(&graph, &leaves);
    search.written().expect("the written order is one of them");
    match random.random_bool(0.3) {
        true => {
            search.only_leaves();
            search.greedy();
            search.joined(graph.all())?;
        }
        false => {
            search.best().expect("an order");
        }
    }
    rebuilt(&graph, &mut search, &leaves, &plan.schema(), config).expect("operators")
}

#[tokio::test]
async fn every_order_gives_the_same_rows() {
    let mut changed = 0;
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let context = session(&mut random);
        let tables: Vec<usize> = (0..random.random_range(3..=TABLES)).collect();
        let sides = joins(&mut random, &tables);
        let columns: Vec<String> = sides
            .visible
            .iter()
            .map(|table| format!("t{table}.a as a{table}, t{table}.b as b{table}"))
            .collect();
        let sql = format!("select {} from {}", columns.join(", "), sides.text);
        let logical = context.sql(&sql).await.expect(&sql).into_optimized_plan().expect(&sql);
        let state = context.state();
        // Operators run once: each run has its own.
        let planner = Arc::clone(state.query_planner());
        let plan = planner.create_physical_plan(&logical, &state).await.expect(&sql);
        let expected = rows(&state, Arc::clone(&plan)).await;
        for _ in 0..3 {
            let plan = planner.create_physical_plan(&logical, &state).await.expect(&sql);
            let Some(other) = reordered(&mut random, &plan, state.config_options()) else {
                panic!("seed {seed}: {sql} has no operators");
            };
            changed += usize::from(shape(&other) != shape(&plan));
            let other_shape = shape(&other);
            let found = rows(&state, other).await;
            assert_eq!(found, expected, "seed {seed}: {sql}\n{other_shape}");
        }
    }
    assert!(changed > 600, "only {changed} plans were others");
}

fn shape(plan: &Arc<dyn ExecutionPlan>) -> String {
    datafusion::physical_plan::displayable(plan.as_ref())
        .indent(false)
        .to_string()
}

#[test]
fn subsets_of_a_set() {
    let set = set::Set::one(1).or(set::Set::one(3)).or(set::Set::one(63));
    assert_eq!(set.subsets().count(), 7);
    assert!(set.subsets().all(|subset| subset.is_within(set)));
    assert_eq!(set::Set::default().subsets().count(), 0);
}
