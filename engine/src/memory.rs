//! The memory and the temporary files of one statement: counted, limited, and taken from those of the whole server.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SpillFile;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SpillWriter, TempFileFactory};
use futures::Stream;
use staffa_planner::{Error, ErrorKind};

pub(crate) mod machine;
pub(crate) mod meter;
pub(crate) mod pool;
pub(crate) mod spill_place;
pub(crate) mod watchdog;

use self::meter::Meter;
use self::pool::QueryPool;
use crate::limits::Limits;

/// What one statement has of the server's memory.
pub(crate) struct StatementMemory {
    shared: Arc<dyn MemoryPool>,
    /// The statement's own share, where it is limited: divided among its operators as the server's is.
    own: Option<(u64, QueryPool)>,
    meter: Arc<Meter>,
    held: AtomicUsize,
    most: AtomicUsize,
}

impl StatementMemory {
    fn new(shared: Arc<dyn MemoryPool>, bytes_max: Option<u64>, meter: Arc<Meter>) -> Self {
        let pool = |bytes: u64| (bytes, QueryPool::new(usize::try_from(bytes).unwrap_or(usize::MAX)));
        Self {
            shared,
            own: bytes_max.map(pool),
            meter,
            held: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    /// Bytes it holds now.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed) as u64
    }

    /// Bytes it held at most.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed) as u64
    }

    fn note_grown(&self, bytes: usize) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most.fetch_max(held, Ordering::Relaxed);
    }
}

impl fmt::Debug for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementMemory")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.shared, f)
    }
}

impl MemoryPool for StatementMemory {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shared.register(consumer);
        if let Some((_, own)) = &self.own {
            own.register(consumer);
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
        if let Some((_, own)) = &self.own {
            own.unregister(consumer);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.shared.grow(reservation, additional);
        if let Some((_, own)) = &self.own {
            own.grow(reservation, additional);
        }
        self.note_grown(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shared.shrink(reservation, shrink);
        if let Some((_, own)) = &self.own {
            own.shrink(reservation, shrink);
        }
        self.held.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        // Operators that can spill do so at these errors, and know them by their variant.
        if !self.meter.has_room(self.held(), additional as u64) {
            let message = "the process holds nearly all memory that it may".to_owned();
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        if let Some((bytes_max, own)) = &self.own {
            own.try_grow(reservation, additional).map_err(|_| {
                DataFusionError::ResourcesExhausted(format!("staffa.max_memory: {bytes_max} bytes for a statement"))
            })?;
        }
        let grown = self.shared.try_grow(reservation, additional);
        match (&grown, &self.own) {
            (Ok(()), _) => self.note_grown(additional),
            (Err(_), Some((_, own))) => own.shrink(reservation, additional),
            (Err(_), None) => {}
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        match &self.own {
            Some((_, own)) => own.memory_limit(),
            None => self.shared.memory_limit(),
        }
    }
}

/// The temporary files of one statement. They are the server's, in its directory and within its limit.
#[derive(Debug)]
pub(crate) struct TemporaryFiles {
    shared: Arc<DiskManager>,
    bytes_max: Option<u64>,
    held: AtomicU64,
    /// All that was ever written.
    written: AtomicU64,
}

impl TemporaryFiles {
    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) -> io::Result<()> {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match self.bytes_max {
            Some(most) if held > most => {
                let message = format!("temporary file size exceeds temp_file_limit ({}kB)", most >> 10);
                Err(io::Error::other(Error::new(
                    ErrorKind::ConfigurationLimitExceeded,
                    message,
                )))
            }
            _ => Ok(()),
        }
    }
}

struct Factory(Arc<TemporaryFiles>);

impl TempFileFactory for Factory {
    fn create_temp_file(&self, description: &str) -> DataFusionResult<Arc<dyn SpillFile>> {
        Ok(Arc::new(CountedFile {
            file: self.0.shared.create_tmp_file(description)?,
            bytes: Arc::default(),
            files: Arc::clone(&self.0),
        }))
    }
}

/// A temporary file, of which the bytes are known that were written to it.
struct CountedFile {
    file: Arc<dyn SpillFile>,
    bytes: Arc<AtomicU64>,
    files: Arc<TemporaryFiles>,
}

impl SpillFile for CountedFile {
    fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read_stream(&self) -> DataFusionResult<Pin<Box<dyn Stream<Item = DataFusionResult<Bytes>> + Send>>> {
        self.file.read_stream()
    }

    fn open_writer(&self) -> DataFusionResult<Box<dyn SpillWriter>> {
        Ok(Box::new(CountedWriter {
            writer: self.file.open_writer()?,
            bytes: Arc::clone(&self.bytes),
            files: Arc::clone(&self.files),
        }))
    }
}

impl Drop for CountedFile {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.files.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

struct CountedWriter {
    writer: Box<dyn SpillWriter>,
    bytes: Arc<AtomicU64>,
    files: Arc<TemporaryFiles>,
}

impl Write for CountedWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(buffer)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        self.files.add(written as u64)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl SpillWriter for CountedWriter {
    fn finish(&mut self) -> DataFusionResult<()> {
        self.writer.finish()
    }
}

/// What the operators of one statement run with: the server's, counted and within the statement's limits.
pub(crate) fn of_statement(
    server: &RuntimeEnv,
    limits: &Limits,
    meter: &Arc<Meter>,
) -> DataFusionResult<(Arc<RuntimeEnv>, Arc<StatementMemory>, Arc<TemporaryFiles>)> {
    let memory = Arc::new(StatementMemory::new(
        Arc::clone(&server.memory_pool),
        limits.memory_bytes,
        Arc::clone(meter),
    ));
    let files = Arc::new(TemporaryFiles {
        shared: Arc::clone(&server.disk_manager),
        bytes_max: limits.temporary_bytes,
        held: AtomicU64::new(0),
        written: AtomicU64::new(0),
    });
    let disk = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(Factory(Arc::clone(&files))));
    let runtime = RuntimeEnv {
        memory_pool: Arc::clone(&memory) as _,
        disk_manager: Arc::new(disk.build()?),
        ..server.clone()
    };
    Ok((Arc::new(runtime), memory, files))
}
