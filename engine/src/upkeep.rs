//! Background upkeep of the tables: objects that no snapshot needs any more are deleted when their time has come.

use std::time::Duration;

use staffa_catalog::Catalog;
use staffa_storage::Stores;
use tokio::task::JoinHandle;

/// How often the queue of dead objects is looked at.
const PERIOD: Duration = Duration::from_secs(60);

/// The background task; it ends with the warehouse.
pub(crate) struct Upkeep {
    task: JoinHandle<()>,
}

impl Upkeep {
    pub(crate) fn start(catalog: Catalog, stores: Stores) -> Self {
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            loop {
                ticks.tick().await;
                if let Err(error) = delete_dead(&catalog, &stores).await {
                    tracing::warn!(%error, "could not delete dead objects; will try again");
                }
            }
        });
        Self { task }
    }

    pub(crate) async fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Deletes what the catalog says is dead, then takes it off the queue: a crash in between deletes it again, harmlessly.
async fn delete_dead(catalog: &Catalog, stores: &Stores) -> staffa_planner::Result<()> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let dead = catalog.dead_objects(now_ms).await?;
    let mut gone = Vec::with_capacity(dead.len());
    for object in dead {
        let paths = if object.is_directory() {
            stores.list(&object.path).await?
        } else {
            vec![object.path.clone()]
        };
        for path in paths.iter().filter(|path| !object.except.contains(*path)) {
            match stores.delete(path).await {
                Err(error) if error.kind() != staffa_storage::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        if object.is_all() {
            gone.push(object.path);
        }
    }
    if !gone.is_empty() {
        tracing::debug!(objects = gone.len(), "deleted dead objects");
        catalog.forget(&gone).await?;
    }
    Ok(())
}
