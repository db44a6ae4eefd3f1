//! From SQL text to a plan: what a statement asks for, names resolved against one pinned catalog snapshot.
//!
//! ```text
//! parse(text)            -> [ParsedStatement]     statements, split, with positions        (parse.rs)
//! plan(context, parsed)  -> Plan                  names and types resolved, or a command   (plan.rs, statement/*.rs)
//! bind(query, values)    -> LogicalPlan           parameters put in                        (bind.rs)
//! physical(context, ..)  -> ExecutionPlan         optimised, files pruned                  (physical.rs)
//! physical_query(..)     -> Operators             the same, for a query that runs again    (generic.rs, template.rs)
//! ```
//!
//! This is the one place where a table's file list (catalog) meets a reader of files (storage): `table_provider.rs`. It
//! opens no socket, commits nothing and keeps no session: the caller hands everything in as a `PlanContext`.

mod authorize;
mod bind;
mod build_side;
mod checks;
mod context;
mod copy_options;
mod damage;
mod error;
mod estimate;
mod explain;
mod function;
mod gather;
mod generic;
mod growing;
mod guard;
mod identity;
mod interrupt;
mod join_order;
mod json;
mod kept;
mod late;
mod lazy;
mod literal;
mod metered;
mod narrow;
mod operator;
mod operators;
mod optimizer;
mod parse;
mod pg_catalog;
mod physical;
mod plan;
mod plan_size;
mod policy;
mod reads;
mod resolve;
mod rewrite;
mod row_by_row;
mod row_changes;
mod row_locks;
mod rules;
mod scan_report;
mod scram;
mod settings;
mod shared;
mod short;
mod shown;
mod statement;
mod stored;
mod supervision;
mod table_provider;
mod template;
mod type_planner;
pub mod types;
pub mod value;
mod walk;
mod write;
mod yielding;

#[cfg(test)]
mod tests;

pub use bind::bind;
pub use context::{Momentary, PlanContext, SystemTables, base_session_state, operators_state};
pub use copy_options::{CopyFormat, CopyHeader, CopyOptions, ForceColumns};
pub use damage::name_files;
pub use error::{Error, ErrorKind, Result};
pub use explain::{ExplainFormat, ExplainOptions, ExplainTimes, explain, explain_columns};
pub use function::{AdvisoryKey, AdvisoryLock, Sequences, SessionActions};
pub use gather::GatheredRows;
pub use generic::{Generic, Lease, Operators, kept_query, mentions_moment, physical_query};
pub use identity::QueryIdentity;
pub use interrupt::stop_tasks_with_their_statements;
pub use kept::KeptRows;
pub use literal::{scalar_of_value, value_of_scalar};
pub use parse::{ParsedStatement, StatementClass, TransactionClass, parse};
pub use pg_catalog::{
    CatalogView, ClientCertificate, CursorRow, Encryption, Image, ImageFacts, LoginRuleRow, ObjectNumbers, Parts,
    Roles, SessionRow, SessionRows, SettingRow, StatementRow, postgres_setting_context,
};
pub use physical::physical;
pub use plan::plan;
pub use policy::{ColumnPolicies, column_policies};
pub use reads::ReadLog;
pub use row_changes::RowChanges;
pub use scan_report::{ScanLimits, ScanReport, ScanReports};
pub use scram::scram_verifier;
pub use settings::{is_for_superusers, session_config};
pub use short::is_short;
pub use staffa_catalog::{SqlType, TableName};
pub use statement::alter::{AlterAction, AlterStep, ColumnStep, Rewrite, RowCheck, rewritten_rows};
pub use statement::constraint::sequence_name;
pub use statement::ddl::{ON_COMMIT, ON_COMMIT_DELETE, ON_COMMIT_DROP};
pub use statement::dependents::{Dependents, Dropped, Renamed, column_readers, dependents, described, following};
pub use statement::dml::with_defaults;
pub use statement::index::{IndexChange, IndexStep};
pub use statement::prepare::argument;
pub use statement::returning::Returning;
pub use statement::sequence::{AlteredSequence, SequenceChange};
pub use statement::upkeep::{SummaryPlan, analyze, compaction_plan, summarised_columns, summary_plan};
pub use statement::with::{ReturnedRows, WithPart, WithPlan, with_returned};
pub use statement::{
    AccessEdit, AccessPlan, ChangeKind, ChangePlan, ColumnOrigin, ConflictKeys, CursorOptions, DiscardTarget,
    ExplainTarget, InsertPlan, IsolationLevel, Movement, OutputColumn, Plan, QueryPlan, SavepointAction,
    TransactionModes,
};
pub use supervision::{Room, Supervision, supervised};
pub use table_provider::{live_row_count, sample_to_keep, table_summary};
pub use write::{
    ChangeOperators, RowRules, change_plan, check_row_rules, copy_place_field, data_file, refuses_rows, rewrite_plan,
    rewrite_share, target_file_bytes, write_plan, write_spec,
};
