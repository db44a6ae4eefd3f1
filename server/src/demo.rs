//! `staffa demo`: TPC-H data in Iceberg tables, made once, then served.

mod load;
mod tables;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Failure;
use crate::config::Config;
use crate::serve::{Node, greet, runtime};

/// Makes what is missing, and serves until told to stop.
///
/// # Errors
/// The directory holds data of another scale; loading fails; the server cannot start.
pub(crate) fn run(config: Config, scale: f64, load_only: bool) -> Result<(), Failure> {
    // Progress and greeting are for a person; the log speaks up only when something is wrong, unless it was asked to.
    crate::log::start(config.log_format, &config.log_level, config.slow_query);
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let node = Node::open(config).await?;
        let mut interrupt = signal(SignalKind::interrupt())
            .map_err(|error| Failure::new(format!("cannot watch for Ctrl-C: {error}")))?;
        let stop = async {
            interrupt.recv().await;
        };
        load::load(&node.warehouse, scale, stop).await?;
        if load_only {
            node.warehouse.close().await;
            return Ok(());
        }
        node.serve(|places| greet(places, &queries())).await
    });
    runtime.shutdown_background();
    result
}

/// Three queries that show something, as lines to print.
fn queries() -> Vec<String> {
    let mut lines = vec![String::new(), "Try:".to_owned()];
    for query in QUERIES {
        lines.push(String::new());
        lines.extend(query.lines().map(|line| format!("  {line}")));
    }
    lines.extend([String::new(), "Ctrl-C stops the server; the data stays.".to_owned()]);
    lines
}

const QUERIES: [&str; 3] = [
    "-- what was shipped, month by month (only the files of 1995 are read: try EXPLAIN ANALYZE)
SELECT date_trunc('month', l_shipdate)::date AS month, count(*) AS lines,
       sum(l_extendedprice * (1 - l_discount))::numeric(18,2) AS revenue
FROM lineitem WHERE l_shipdate BETWEEN '1995-01-01' AND '1995-12-31'
GROUP BY 1 ORDER BY 1;",
    "-- the ten best customers, with their nation
SELECT c_name, n_name, sum(o_totalprice) AS total
FROM customer JOIN orders ON o_custkey = c_custkey JOIN nation ON n_nationkey = c_nationkey
GROUP BY c_name, n_name ORDER BY total DESC LIMIT 10;",
    "-- the largest order of each year
SELECT year, o_orderkey, o_totalprice
FROM (SELECT extract(year FROM o_orderdate)::int AS year, o_orderkey, o_totalprice,
             row_number() OVER (PARTITION BY extract(year FROM o_orderdate) ORDER BY o_totalprice DESC) AS place
      FROM orders) ranked
WHERE place = 1 ORDER BY year;",
];
