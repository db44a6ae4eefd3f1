//! Memory that operators share.
//!
//! Those that can spill have equal shares, as in DataFusion's `FairSpillPool`, but of three quarters: one sort alone would take all of it
//! there before it spills, and the next hash join, which cannot spill, would have none. Merging what a sort spilled is such an operator, too.

use std::fmt;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct QueryPool {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many can spill.
    spilling: usize,
    /// Bytes of those.
    spillable: usize,
    /// Bytes of the others.
    unspillable: usize,
}

impl QueryPool {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
        }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory of {} bytes", self.bytes_max)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "queries"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spilling += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spilling -= 1;
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut state = self.state.lock();
        match reservation.consumer().can_spill() {
            true => state.spillable += additional,
            false => state.unspillable += additional,
        }
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut state = self.state.lock();
        match reservation.consumer().can_spill() {
            true => state.spillable -= shrink,
            false => state.unspillable -= shrink,
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut state = self.state.lock();
        let left = self.bytes_max.saturating_sub(state.unspillable);
        let (held, wanted, available) = match reservation.consumer().can_spill() {
            true => {
                let share = left.min(self.bytes_max / 4 * 3) / state.spilling.max(1);
                let wanted = reservation.size().saturating_add(additional);
                (&mut state.spillable, wanted, share)
            }
            false => {
                let available = left.saturating_sub(state.spillable);
                (&mut state.unspillable, additional, available)
            }
        };
        if wanted > available {
            let name = reservation.consumer().name();
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{additional} bytes for {name}, which has {} and may have {available}",
                reservation.size()
            )));
        }
        *held += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state.lock();
        state.spillable + state.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_can_spill_leaves_room_for_what_cannot() {
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(400));
        let consumer = |name: &str, can_spill| MemoryConsumer::new(name).with_can_spill(can_spill).register(&pool);
        let (sort, join) = (consumer("sort", true), consumer("join", false));
        sort.try_grow(300).unwrap();
        sort.try_grow(1).unwrap_err();
        join.try_grow(100).unwrap();
        join.try_grow(1).unwrap_err();
        assert_eq!(pool.reserved(), 400);

        // Another that can spill has its share at once, the first no more than its own from now on.
        let other = consumer("other", true);
        other.try_grow(150).unwrap();
        other.try_grow(1).unwrap_err();
        sort.shrink(200);
        sort.try_grow(50).unwrap();
        sort.try_grow(1).unwrap_err();
        drop(other);
        sort.try_grow(150).unwrap();

        // What cannot spill takes from what can.
        sort.free();
        join.try_grow(200).unwrap();
        sort.try_grow(100).unwrap();
        sort.try_grow(1).unwrap_err();
        drop((sort, join));
        assert_eq!(pool.reserved(), 0);
    }
}
