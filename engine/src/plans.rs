//! Plans of queries, shared by all sessions: dashboards, and drivers that prepare nothing, send the same texts again and again.
//!
//! A plan is found by its text and by everything else it was made from: the state of the catalog, whose rights, which settings.
//! So none is ever stale. What hangs on a moment or a session is not kept (`PlanContext::momentary`, `QueryPlan::is_of_session`), nor are
//! plans of a transaction that has changed something or a session that has temporary tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use staffa_catalog::SqlType;
use staffa_planner::{Plan, Result};
use uuid::Uuid;

/// How many are kept. Each holds the list of files of its tables, which it shares with the catalog's memory.
const PLANS_MAX: u64 = 512;

/// Longer texts come from programs that make them, and seldom twice.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// A plan of an older state of the catalog is not asked for again, and goes.
const IDLE: Duration = Duration::from_secs(300);

/// What a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    pub(crate) text: String,
    /// The types of parameters that the client declared.
    pub(crate) declared: Vec<Option<SqlType>>,
    /// The state of the catalog.
    pub(crate) csn: u64,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) role: Option<Uuid>,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
}

#[derive(Debug)]
pub(crate) struct Plans {
    kept: Cache<PlanKey, Arc<Plan>>,
}

impl Plans {
    pub(crate) fn new() -> Self {
        let kept = Cache::builder().max_capacity(PLANS_MAX).time_to_idle(IDLE).build();
        Self { kept }
    }

    pub(crate) fn get(&self, key: &PlanKey) -> Option<Arc<Plan>> {
        self.kept.get(key)
    }

    /// Only queries are kept, as what changes something is planned with what it changes; and none that calls functions of a
    /// session, which would not end before its plan.
    pub(crate) fn keep(&self, key: PlanKey, plan: &Arc<Plan>) -> Result<()> {
        if let Plan::Query(query) = &**plan
            && key.text.len() <= TEXT_BYTES_MAX
            && !query.is_of_session()?
        {
            self.kept.insert(key, Arc::clone(plan));
        }
        Ok(())
    }
}
