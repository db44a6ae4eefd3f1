//! DataFusion's settings as Staffa uses them, each with its reason. A user cannot change them.

use datafusion::common::config::ConfigOptions;
use datafusion::prelude::SessionConfig;

/// Rows per batch: DataFusion's default, which fits a few columns into a core's cache.
const BATCH_ROWS: usize = 8192;

/// The largest build side of a join that one thread hashes for all.
const COLLECTED_BUILD_BYTES_MAX: usize = 256 << 20;
const COLLECTED_BUILD_ROWS_MAX: usize = 8_000_000;

/// Whether only superusers set a setting of users, given in lower case: the limits, which nobody is to lift for themselves.
pub fn is_for_superusers(name: &str) -> bool {
    name == "temp_file_limit" || name == "staffa.queue_timeout" || name.starts_with("staffa.max_")
}

/// The configuration every session starts from. `threads` is how wide one query may run.
pub fn session_config(threads: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads.max(1))
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    apply(config.options_mut());
    config
}

fn apply(options: &mut ConfigOptions) {
    let parser = &mut options.sql_parser;
    parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    // `1.5` is numeric in PostgreSQL; as a float, sums of money would drift.
    parser.parse_float_as_decimal = true;
    // Positions in error messages come from the spans.
    parser.collect_spans = true;
    // The Arrow type of text everywhere: views avoid copying long strings through operators.
    parser.map_string_types_to_utf8view = true;
    parser.default_null_ordering = "nulls_max".to_string();
    // `select a from (select a, b from t order by b) s limit 10` gives the first ten in PostgreSQL, and numbers of sequences go by that order.
    // Where nobody looks at it, operators are not sorted for it.
    parser.enable_subquery_sort_elimination = false;

    let execution = &mut options.execution;
    // Exact row counts and bounds come from the catalog; footers are not read for planning.
    execution.collect_statistics = false;
    // `x IS TRUE` is never null to a plan, and its operator does not know.
    execution.skip_physical_aggregate_schema_check = true;
    // Filters prune row groups and pages; rows are filtered on decoded batches. Inside the decoder they cost TPC-H 16 % of
    // its time (benches/README.md): worth it only for a selective filter beside many wide columns.
    execution.parquet.pushdown_filters = false;
    execution.parquet.pruning = true;
    execution.parquet.enable_page_index = true;
    execution.parquet.schema_force_view_types = true;
    // A build side that fits is collected whole: the probe side is then neither hashed nor copied, and its dynamic filter
    // is one range instead of one for each partition.
    let optimizer = &mut options.optimizer;
    optimizer.hash_join_single_partition_threshold = COLLECTED_BUILD_BYTES_MAX;
    optimizer.hash_join_single_partition_threshold_rows = COLLECTED_BUILD_ROWS_MAX;
    // Names of plan fields are ours to choose, and cost memory in wide plans.
    options.explain.physical_plan_only = true;
    options.explain.show_statistics = false;
}
