//! The meter of memory: what the process really holds, whatever operators say they do.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use staffa_planner::Room;

static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Tells how the allocator of this process gives memory back to the system that nobody uses. Allocators keep such memory for a while, so
/// that an idle server seems to hold what its last query did, and the next query is thought too large. The first one told counts.
pub fn give_memory_back_by(give_back: fn()) {
    GIVE_BACK.get_or_init(|| give_back);
}

pub(super) fn give_back() {
    if let Some(give_back) = GIVE_BACK.get() {
        give_back();
    }
}

/// One statement may have so much whatever the process holds: a short one shall not fail for what others do.
const SMALL: u64 = 16 << 20;

/// What may be held, and what was when somebody last looked.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes_max: u64,
    held: AtomicU64,
    /// What functions are about to make.
    promised: AtomicU64,
}

impl Meter {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            held: AtomicU64::new(0),
            promised: AtomicU64::new(0),
        }
    }

    /// Bytes above which a statement must end.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes above which operators get no more, and spill if they can; so that it does not come to the worst.
    pub(super) fn bytes_wanted(&self) -> u64 {
        self.bytes_max / 16 * 15
    }

    /// Looks. `None`: the system does not tell.
    pub(super) fn look(&self) -> Option<u64> {
        let held = resident_bytes()?;
        self.held.store(held, Ordering::Relaxed);
        Some(held)
    }

    /// Whether a statement that holds so much may have so much more.
    pub(super) fn has_room(&self, held: u64, more: u64) -> bool {
        held.saturating_add(more) <= SMALL
            || self.held.load(Ordering::Relaxed).saturating_add(more) <= self.bytes_wanted()
    }
}

impl Room for Meter {
    /// The free memory of the allocator is given back when there would be too little.
    fn promise(&self, bytes: u64) -> bool {
        let promised = self.promised.fetch_add(bytes, Ordering::Relaxed);
        let fits = || {
            let held = self.look().unwrap_or_default();
            held.saturating_add(promised).saturating_add(bytes) <= self.bytes_wanted()
        };
        let fits = fits() || {
            give_back();
            fits()
        };
        if !fits {
            self.release(bytes);
        }
        fits
    }

    fn release(&self, bytes: u64) {
        self.promised.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Memory of the process that no file backs, as Linux tells it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_the_process_holds() {
        let before = resident_bytes().expect("Linux");
        let held = vec![1_u8; 64 << 20];
        let after = resident_bytes().expect("Linux");
        assert!(after > before + (32 << 20), "{before} {after} {}", held.len());
    }

    #[test]
    fn what_is_promised_is_counted() {
        let held = resident_bytes().expect("Linux");
        let meter = Meter::new((held + (2 << 30)) / 15 * 16);
        assert!(meter.promise(1 << 30));
        assert!(!meter.promise(3 << 29));
        meter.release(1 << 30);
        assert!(meter.promise(3 << 29));
    }

    #[test]
    fn what_the_process_holds_is_refused_to_all_but_small_statements() {
        let meter = Meter::new(1 << 30);
        assert!(meter.has_room(0, 512 << 20));
        assert!(!meter.has_room(0, 1 << 30));
        meter.held.store(1 << 30, Ordering::Relaxed);
        assert!(meter.has_room(8 << 20, 8 << 20));
        assert!(!meter.has_room(8 << 20, (8 << 20) + 1));
    }
}
