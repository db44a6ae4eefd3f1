//! A line on the terminal while a statement takes its time: a spinner, how long, rows so far.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use parking_lot::Mutex;

/// Quick statements show nothing.
const SHOWN_AFTER: Duration = Duration::from_millis(700);

/// How often [`Progress::tick`] should be called.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The progress line of one statement; never there when stderr is no terminal.
pub(crate) struct Progress {
    started: Instant,
    rows: AtomicU64,
    state: Mutex<State>,
}

enum State {
    Waiting,
    Shown(ProgressBar),
    /// Rows appear on the same terminal: a line that redraws itself would tear them.
    Hidden,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let state = if std::io::stderr().is_terminal() {
            State::Waiting
        } else {
            State::Hidden
        };
        Self {
            started: Instant::now(),
            rows: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// One that never shows.
    pub(crate) fn hidden() -> Self {
        Self {
            started: Instant::now(),
            rows: AtomicU64::new(0),
            state: Mutex::new(State::Hidden),
        }
    }

    pub(crate) fn set_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// Draws the line anew, once there is reason to.
    pub(crate) fn tick(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Waiting) && self.started.elapsed() >= SHOWN_AFTER {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            *state = State::Shown(bar);
        }
        if let State::Shown(bar) = &*state {
            let seconds = self.started.elapsed().as_secs_f64();
            let rows = match self.rows.load(Ordering::Relaxed) {
                0 => String::new(),
                rows => format!(", {} rows", HumanCount(rows)),
            };
            bar.set_message(format!("{seconds:.1} s{rows} (Ctrl-C cancels)"));
            bar.tick();
        }
    }

    /// Takes the line away for good. Where rows go to a file it stays until the end.
    pub(crate) fn hide(&self) {
        if std::io::stdout().is_terminal() {
            self.finish();
        }
    }

    pub(crate) fn finish(&self) {
        if let State::Shown(bar) = std::mem::replace(&mut *self.state.lock(), State::Hidden) {
            bar.finish_and_clear();
        }
    }
}
