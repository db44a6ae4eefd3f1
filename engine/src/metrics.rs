//! What a warehouse counts, for programs that watch it.

use crate::memory::meter::resident_bytes;
use crate::register::Totals;
use crate::warehouse::Warehouse;

/// A warehouse at one moment. Bytes, and counts since it was opened.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Sessions that are open.
    pub sessions: usize,
    /// Statements that read or write tables and run now.
    pub running: usize,
    /// Statements that wait to run.
    pub queued: usize,
    /// Statements that have ended.
    pub statements: Totals,
    /// Memory that operators hold.
    pub memory_held_bytes: u64,
    /// Memory that operators and caches of columns may hold.
    pub memory_limit_bytes: u64,
    /// Memory of the process that no file backs, where the system tells it.
    pub memory_resident_bytes: Option<u64>,
    /// See [`Config::memory_ceiling_bytes`](crate::Config::memory_ceiling_bytes).
    pub memory_ceiling_bytes: u64,
    /// Bytes of temporary files now.
    pub spill_bytes: u64,
    pub caches: Vec<CacheMetrics>,
}

/// One cache.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    pub name: &'static str,
    /// `None`: it is not counted.
    pub bytes: Option<u64>,
    pub hits: u64,
    pub misses: u64,
}

impl Warehouse {
    /// What it counts, now.
    pub fn metrics(&self) -> Metrics {
        let (running, queued) = self.queue().lengths();
        let runtime = self.base().runtime_env();
        let (columns, others) = (self.scan().chunk_counters(), self.scan().counters());
        let results = self.results().counters();
        let cache = |name, bytes, hits, misses| CacheMetrics {
            name,
            bytes,
            hits,
            misses,
        };
        Metrics {
            sessions: self.activity().count(),
            running,
            queued,
            statements: self.register().totals(),
            memory_held_bytes: runtime.memory_pool.reserved() as u64,
            memory_limit_bytes: self.memory_limit_bytes(),
            memory_resident_bytes: resident_bytes(),
            memory_ceiling_bytes: self.memory_ceiling_bytes(),
            spill_bytes: runtime.disk_manager.used_disk_space(),
            caches: vec![
                cache("results", Some(results.bytes), results.hits, results.misses),
                cache("columns", Some(columns.bytes), columns.hits, columns.misses),
                cache(
                    "remote_files",
                    Some(others.range_bytes),
                    others.range_hits,
                    others.range_misses,
                ),
                cache("footers", None, others.footer_hits, others.footer_misses),
            ],
        }
    }

    /// Asks the catalog database for the state of the catalog, as a statement does.
    ///
    /// # Errors
    /// It does not answer: no statement could run.
    pub async fn check(&self) -> crate::Result<()> {
        self.catalog().snapshot().await?;
        Ok(())
    }
}
