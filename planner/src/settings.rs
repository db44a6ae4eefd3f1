//! DataFusion's settings as Staffa uses them, each with its reason. A user cannot change them.

use datafusion::common::config::ConfigOptions;
use datafusion::prelude::SessionConfig;

/// Rows per batch: DataFusion's default, which fits a few columns into a core's cache.
const BATCH_ROWS: usize = 8192;

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

    let execution = &mut options.execution;
    // Exact row counts and bounds come from the catalog; footers are not read for planning.
    execution.collect_statistics = false;
    // Filters run inside the Parquet decoder, so columns not needed for rejected rows stay undecoded.
    execution.parquet.pushdown_filters = true;
    execution.parquet.reorder_filters = true;
    execution.parquet.pruning = true;
    execution.parquet.enable_page_index = true;
    execution.parquet.schema_force_view_types = true;
    // Names of plan fields are ours to choose, and cost memory in wide plans.
    options.explain.physical_plan_only = true;
    options.explain.show_statistics = false;
}
