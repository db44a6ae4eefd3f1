//! Makes the demo's tables, one transaction each: a table is there with all its rows, or not at all. So a load that was
//! interrupted goes on with the first table that is missing, and a complete one is known by its number of rows.

use std::time::{Duration, Instant};

use arrow::array::{Array, Int64Array, RecordBatch};
use futures::Stream;
use futures::stream::unfold;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use staffa::{ErrorKind, Session, SessionOptions, Warehouse};
use tokio::sync::mpsc;

use crate::cli::Failure;

use super::tables::{DemoTable, TABLES};

/// Batches that may wait between the generator and the writer.
const BATCHES_WAITING_MAX: usize = 8;

/// Loads what is missing; `stop` ends the load early.
pub(super) async fn load(warehouse: &Warehouse, scale: f64, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let mut session = warehouse.session(SessionOptions::default()).await?;
    let result = tokio::select! {
        result = load_all(&mut session, scale) => result,
        () = stop => Err(Failure::interrupted("stopped; complete tables stay, the next start goes on from there")),
    };
    // Rolls back what was under way, and deletes its files.
    session.close().await;
    result
}

async fn load_all(session: &mut Session, scale: f64) -> Result<(), Failure> {
    // All checks first: data of another scale should be told before anything is added to it.
    let mut missing = Vec::new();
    for table in TABLES {
        let expected = (table.rows)(scale);
        match row_count(session, table.name).await? {
            None => missing.push((table, expected)),
            Some(found) if found == expected => {}
            Some(found) => return Err(other_scale(table, found, expected, scale)),
        }
    }
    if missing.is_empty() {
        say(&format!("TPC-H at scale {scale} is there already."));
        return Ok(());
    }
    say(&format!("Making TPC-H at scale {scale}:"));
    let started = Instant::now();
    for (table, expected) in missing {
        let bar = Progress::new(table.name, expected);
        match load_table(session, table, scale, &bar).await {
            Ok(rows) if rows == expected => bar.finish(rows),
            Ok(rows) => {
                return Err(Failure::new(format!(
                    "table {} got {rows} rows instead of {expected}",
                    table.name
                )));
            }
            Err(error) => {
                session.fail().await;
                // Ends the failed block, so that the session is as it was.
                let _ = session.execute("ROLLBACK", &[]).await;
                return Err(Failure::from(error).before(&format!("cannot load {}", table.name)));
            }
        }
    }
    say(&format!("Done in {:.1} s.", started.elapsed().as_secs_f64()));
    Ok(())
}

async fn load_table(session: &mut Session, table: &DemoTable, scale: f64, bar: &Progress) -> staffa::Result<u64> {
    session.execute("BEGIN", &[]).await?;
    session.execute(&table.create(), &[]).await?;
    for comment in table.comments() {
        session.execute(&comment, &[]).await?;
    }
    let batches = generate(table.batches, scale, bar.clone());
    let rows = session.append(table.name, batches).await?;
    session.execute("COMMIT", &[]).await?;
    if table.is_partitioned() {
        // Rows came in no order of the partitions: many small files, until upkeep has put them together.
        session.execute(&format!("OPTIMIZE TABLE {}", table.name), &[]).await?;
    }
    Ok(rows)
}

/// Runs a generator on a thread of its own: it computes and never waits, which a runtime's threads should not do.
fn generate(
    batches: fn(f64) -> Box<dyn Iterator<Item = RecordBatch> + Send>,
    scale: f64,
    bar: Progress,
) -> impl Stream<Item = staffa::Result<RecordBatch>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        for batch in batches(scale) {
            bar.add(batch.num_rows() as u64);
            // Nobody takes them any more: the load was stopped, or failed and says so itself.
            if sender.blocking_send(batch).is_err() {
                return;
            }
        }
    });
    unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|batch| (Ok(batch), receiver))
    })
}

/// `None` where there is no such table.
async fn row_count(session: &mut Session, table: &str) -> Result<Option<u64>, Failure> {
    let rows = match session.query(&format!("SELECT count(*) FROM {table}"), &[]).await {
        Ok(rows) => rows,
        Err(error) if error.kind() == ErrorKind::UndefinedTable => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let batches = rows.collect().await?;
    let count = batches
        .iter()
        .find(|batch| batch.num_rows() == 1)
        .and_then(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>())
        .filter(|counts| counts.len() == 1)
        .map(|counts| counts.value(0));
    match count.map(u64::try_from) {
        Some(Ok(count)) => Ok(Some(count)),
        _ => Err(Failure::new(format!("counting the rows of {table} gave no number"))),
    }
}

fn other_scale(table: &DemoTable, found: u64, expected: u64, scale: f64) -> Failure {
    let name = table.name;
    let failure = Failure::new(format!(
        "table {name} has {found} rows, but {expected} at scale {scale}"
    ));
    let guess = found as f64 / (table.rows)(1.0) as f64;
    // Orders and others grow exactly with the scale; small tables and lineitem do not.
    let guess = (guess * 1e6).round() / 1e6;
    if (0.001..=10_000.0).contains(&guess) && (table.rows)(guess) == found {
        return failure.with_hint(format!(
            "the data is of scale {guess}: use --scale {guess}, or another --data"
        ));
    }
    failure.with_hint("it was changed, or is not TPC-H: use another --data, or drop the table")
}

fn say(text: &str) {
    use std::io::Write;
    // Nobody may be reading; the load goes on.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A bar on a terminal; elsewhere a line for each table when it is complete.
#[derive(Clone)]
struct Progress {
    bar: ProgressBar,
    table: &'static str,
    started: Instant,
}

impl Progress {
    fn new(table: &'static str, rows: u64) -> Self {
        // Draws nothing when stderr is no terminal.
        let bar = ProgressBar::new(rows);
        if let Ok(style) =
            ProgressStyle::with_template("  {msg:10} [{bar:32}] {human_pos} of {human_len} rows, {per_sec}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(table);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            table,
            started: Instant::now(),
        }
    }

    fn add(&self, rows: u64) {
        self.bar.inc(rows);
    }

    fn finish(&self, rows: u64) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        say(&format!(
            "  {:10} {:>12} rows  {seconds:.1} s",
            self.table,
            HumanCount(rows).to_string()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_scale_is_named() {
        let orders = TABLES
            .iter()
            .find(|table| table.name == "orders")
            .expect("is one of them");
        let failure = other_scale(orders, 15_000, 150_000, 0.1).to_string();
        assert!(
            failure.contains("the data is of scale 0.01: use --scale 0.01"),
            "{failure}"
        );
        let failure = other_scale(orders, 7, 150_000, 0.1).to_string();
        assert!(failure.contains("it was changed"), "{failure}");
    }
}
