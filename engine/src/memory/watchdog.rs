//! Looks at the meter, in a thread of its own that no query can keep from running.
//!
//! Operators ask for memory before they take it, most of them for most of it; what nobody asks for is seen here. When the process holds
//! nearly what it may, the caches shrink, free memory goes back to the system, and operators get no more (`meter.rs`). When it
//! holds more, the statement that holds most ends with 53200; the next one follows if that does not help in time.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use staffa_planner::{Error, ErrorKind, Result};

use crate::memory::meter::{Meter, give_back};
use crate::register::Running;
use crate::warehouse::Inner;

/// How often it looks ...
const PERIOD: Duration = Duration::from_millis(50);

/// ... and when half of what may be held is: two cores take 20 MB in this time.
const PERIOD_NEAR: Duration = Duration::from_millis(10);

/// How often all free memory goes back to the system while half of what may be held is. The allocator takes new memory before that which was
/// freed within the last seconds: sorts one after the other, of which each holds little, would bring the process to the limit.
const PERIOD_OF_FREE: Duration = Duration::from_millis(100);

/// How long a statement may take to give its memory back before the next one must end ...
const PATIENCE: Duration = Duration::from_millis(200);

/// ... which is one that says it holds nothing: the memory of the last one may be on its way.
const PATIENCE_WITHOUT_BYTES: Duration = Duration::from_secs(1);

/// A statement this young holds next to nothing, and is not to blame.
const AGE_MIN: Duration = Duration::from_millis(100);

/// Starts the thread, which ends with the warehouse. Where the system does not tell what a process holds, there is none.
pub(crate) fn start(warehouse: Weak<Inner>, meter: Arc<Meter>) -> Result<()> {
    if meter.look().is_none() {
        return Ok(());
    }
    let started = std::thread::Builder::new()
        .name("staffa-memory".to_owned())
        .spawn(move || watch(&warehouse, &meter));
    match started {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(
            ErrorKind::InternalError,
            format!("could not start a thread: {error}"),
        )),
    }
}

fn watch(warehouse: &Weak<Inner>, meter: &Meter) {
    let mut ended_last: Option<(u64, Instant)> = None;
    let mut gave_back = Instant::now();
    let mut period = PERIOD;
    loop {
        std::thread::sleep(period);
        let Some(warehouse) = warehouse.upgrade() else {
            return;
        };
        let Some(mut held) = meter.look() else {
            continue;
        };
        let is_much = held > meter.bytes_wanted();
        if is_much {
            warehouse.release_caches(held - meter.bytes_wanted());
        }
        let is_near = held > meter.bytes_wanted() / 2;
        let period_of_free = if is_much { PERIOD } else { PERIOD_OF_FREE };
        if is_near && gave_back.elapsed() >= period_of_free {
            give_back();
            gave_back = Instant::now();
            held = meter.look().unwrap_or(held);
        }
        period = if is_near { PERIOD_NEAR } else { PERIOD };
        let Some(over) = held.checked_sub(meter.bytes_max()) else {
            continue;
        };
        let running = warehouse.register().running();
        let largest = largest(&running, ended_last.map(|(number, _)| number));
        if let Some((number, at)) = ended_last {
            let still_runs = running.iter().any(|statement| statement.number() == number);
            let holds_nothing = largest.is_some_and(|largest| largest.memory_held() < BYTES_MIN);
            if still_runs && at.elapsed() < PATIENCE || holds_nothing && at.elapsed() < PATIENCE_WITHOUT_BYTES {
                continue;
            }
        }
        // What ended and works on has the memory, and not who has come since.
        let is_to_blame = |statement: &&Arc<Running>| statement.memory_held() >= BYTES_MIN || !warehouse.lingers();
        if let Some(largest) = largest.filter(is_to_blame) {
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
