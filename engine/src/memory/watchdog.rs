//! The meter of memory: what the process really holds, whatever operators say they do.
//!
//! Operators ask for memory before they take it, most of them for most of it; what nobody asks for is seen here, by a thread of its own
//! that no query can keep from running. When the process holds more than it may, the caches are emptied, and then the statement
//! that holds most ends with 53200; the next one follows if that does not help in time.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use staffa_planner::{Error, ErrorKind, Result};

use crate::register::Running;
use crate::warehouse::Inner;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(50);

/// How long a statement may take to give its memory back before the next one must end.
const PATIENCE: Duration = Duration::from_millis(200);

/// A statement this young holds next to nothing, and is not to blame.
const AGE_MIN: Duration = Duration::from_millis(100);

/// Starts the thread, which ends with the warehouse. Where the system does not tell what a process holds, there is none.
pub(crate) fn start(warehouse: Weak<Inner>, bytes_max: u64) -> Result<()> {
    if resident_bytes().is_none() {
        return Ok(());
    }
    let started = std::thread::Builder::new()
        .name("staffa-memory".to_owned())
        .spawn(move || watch(&warehouse, bytes_max));
    match started {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(
            ErrorKind::InternalError,
            format!("could not start a thread: {error}"),
        )),
    }
}

fn watch(warehouse: &Weak<Inner>, bytes_max: u64) {
    let mut ended_last: Option<(u64, Instant)> = None;
    loop {
        std::thread::sleep(PERIOD);
        let Some(warehouse) = warehouse.upgrade() else {
            return;
        };
        let Some(over) = resident_bytes().and_then(|held| held.checked_sub(bytes_max)) else {
            ended_last = None;
            continue;
        };
        warehouse.release_caches(over);
        let running = warehouse.register().running();
        if let Some((number, at)) = ended_last
            && at.elapsed() < PATIENCE
            && running.iter().any(|statement| statement.number() == number)
        {
            continue;
        }
        if let Some(largest) = largest(&running, ended_last.map(|(number, _)| number)) {
            tracing::warn!(
                over_bytes = over,
                user = largest.user(),
                statement = largest.number(),
                held_bytes = largest.memory_held(),
                "the process holds more memory than it may: ending the largest statement"
            );
            largest.give_up_memory();
            ended_last = Some((largest.number(), Instant::now()));
        }
    }
}

/// One that says it holds less than this ...
const BYTES_MIN: u64 = 1 << 20;

/// ... may hold what nobody asked for, if it has had so much time; a short one has only come at a bad moment.
const AGE_WITHOUT_BYTES_MIN: Duration = Duration::from_secs(2);

/// The statement that holds most; among those that say they hold nothing, the oldest.
fn largest(running: &[Arc<Running>], except: Option<u64>) -> Option<&Arc<Running>> {
    let may_be_to_blame = |statement: &&Arc<Running>| {
        let age_min = match statement.memory_held() >= BYTES_MIN {
            true => AGE_MIN,
            false => AGE_WITHOUT_BYTES_MIN,
        };
        Some(statement.number()) != except && !statement.is_queued() && statement.age() >= age_min
    };
    let candidates = running.iter().filter(may_be_to_blame);
    candidates.max_by_key(|statement| (statement.memory_held(), statement.age()))
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
}
