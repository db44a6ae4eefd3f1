//! What a warehouse needs to know to open.

use std::path::PathBuf;
use std::time::Duration;

use staffa_storage::{S3Options, Secret};

use crate::audit::AuditConfig;
use crate::memory::machine::machine_memory_bytes;

/// Where a warehouse lives and what it may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the catalog database, and of the tables unless [`warehouse`](Self::warehouse) says otherwise. Made when missing.
    pub data_dir: PathBuf,
    /// The catalog database: `postgres://USER:PASSWORD@HOST/DATABASE`, which any number of warehouses may share, or
    /// `sqlite:PATH`; `None` is `catalog.db` below `data_dir`.
    pub catalog: Option<Secret>,
    /// Location of new tables: `file:///…`, `s3://bucket/prefix`, and `gs://…` or `az://…` in builds with that feature; `None` is `warehouse/` below `data_dir`, or where the
    /// other users of a shared catalog keep them.
    pub warehouse: Option<String>,
    /// Memory that queries and caches of columns may hold together, in bytes. Beyond it queries spill to disk or fail with `out of
    /// memory`; caches shrink before.
    pub memory_limit_bytes: u64,
    /// Folder for what does not fit; `None` is `spill/` below `data_dir`.
    pub spill_dir: Option<PathBuf>,
    /// Disk that spilled data may take together, in bytes.
    pub spill_limit_bytes: u64,
    /// Memory that the process may hold in all before its largest statement is ended; `None` is the limit of queries and a quarter more
    /// (512 MiB at least), but no more than 90 % of what the process may use.
    pub memory_ceiling_bytes: Option<u64>,
    /// Statements that read or write tables and run at a time; others wait. `None`: as many as want to.
    pub running_max: Option<usize>,
    /// Settings that all sessions begin with, by name: limits, time zone, …
    pub settings: Vec<(String, String)>,
    /// Threads that plan and execute; `None` is one per core.
    pub threads: Option<usize>,
    /// Size at which a data file is closed and the next begun, in bytes.
    pub target_file_bytes: u64,
    /// Bytes of remote files kept in memory. Local files are left to the kernel's page cache.
    pub range_cache_bytes: u64,
    /// Bytes of decoded columns kept in memory, of the memory that queries may hold and leave; `None` is half of it, 0 keeps none.
    pub column_cache_bytes: Option<u64>,
    /// Access to S3, when tables live there.
    pub s3: Option<S3Options>,
    /// How long the passwords must be that statements set, beside other rules; 0: as they like.
    pub password_min_length: usize,
    /// The audit log; `None`: there is none.
    pub audit: Option<AuditConfig>,
    /// Background upkeep of the tables; `None`: only by VACUUM and OPTIMIZE.
    pub maintenance: Option<Maintenance>,
    /// Folders outside the warehouse from which `FROM 'file.parquet'` may read, in sessions that allow it.
    pub allowed_paths: Vec<PathBuf>,
}

/// What background upkeep may use, and how often it looks.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// Time between two rounds; many commits make the next one come earlier.
    pub interval: Duration,
    /// Bytes it may read and write in a second, together.
    pub io_bytes_per_second: u64,
    /// Threads it may keep busy.
    pub threads: usize,
    /// Snapshots that a branch keeps at most, however young they are: each is in every later metadata file.
    pub snapshots_max: usize,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            io_bytes_per_second: 64 << 20,
            threads: 1,
            snapshots_max: 1000,
        }
    }
}

impl Config {
    /// The defaults, for data in this folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            catalog: None,
            warehouse: None,
            memory_limit_bytes: default_memory_limit(),
            spill_dir: None,
            spill_limit_bytes: 100 << 30,
            memory_ceiling_bytes: None,
            running_max: None,
            settings: Vec::new(),
            threads: None,
            target_file_bytes: 256 << 20,
            range_cache_bytes: 256 << 20,
            column_cache_bytes: None,
            s3: None,
            password_min_length: 0,
            audit: None,
            maintenance: None,
            allowed_paths: Vec::new(),
        }
    }
}

/// Seven tenths of what this process may use: the machine's memory or its control group's limit, whichever is less.
pub fn default_memory_limit() -> u64 {
    machine_memory_bytes() / 10 * 7
}

impl Config {
    /// See [`memory_ceiling_bytes`](Self::memory_ceiling_bytes).
    pub(crate) fn memory_ceiling(&self) -> u64 {
        const LEAST_ROOM: u64 = 512 << 20;
        /// Of the machine's memory, in percent. Two cores take a gigabyte in less than half a second, and the system counts files
        /// and page tables beside what the process holds.
        const SHARE_MAX: u64 = 90;
        self.memory_ceiling_bytes.unwrap_or_else(|| {
            let limit = self.memory_limit_bytes;
            let wanted = limit.saturating_add((limit / 4).max(LEAST_ROOM));
            wanted.min(machine_memory_bytes() / 100 * SHARE_MAX)
        })
    }
}
