//! The handle on one open catalog.

use std::sync::{Arc, Weak};
use std::time::Duration;

use uuid::Uuid;

use crate::database::{Database, SqliteDatabase};
use crate::error::{Error, ErrorKind, Result};
use crate::garbage::{self, DeadObject};
use crate::loader::Loader;
use crate::objects::Objects;
use crate::shared::Shared;
use crate::snapshot::CatalogSnapshot;
use crate::txn::Transaction;

/// How often a server says it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// A shared handle on one catalog; clones are the same catalog.
#[derive(Clone, Debug)]
pub struct Catalog {
    shared: Arc<Shared>,
}

impl Catalog {
    /// Opens the catalog in a database, making it when new. Several processes may have one open.
    ///
    /// `database` is `sqlite:PATH`; `warehouse` the directory new tables live in, for example `file:///data/warehouse`
    /// or `s3://bucket/warehouse`; `objects` must be durable when a put returns.
    ///
    /// Fails with `NewerFormat` when a newer Staffa made the database, `Unsupported` for another kind of database, `Io`
    /// when it cannot be opened.
    pub async fn open(database: &str, warehouse: &str, objects: Arc<dyn Objects>) -> Result<Catalog> {
        let Some(path) = database.strip_prefix("sqlite:") else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("catalog database \"{database}\" is not supported"),
            )
            .with_hint("Write sqlite:PATH."));
        };
        if !warehouse.contains("://") {
            return Err(Error::invalid(format!("warehouse \"{warehouse}\" is not a location"))
                .with_hint("Write it as a URL, for example file:///data/warehouse."));
        }
        // `sqlite:///data/catalog.db` and `sqlite:/data/catalog.db` are the same absolute path.
        let path = match path.strip_prefix("//") {
            Some(rest) => rest,
            None => path,
        };
        let database = SqliteDatabase::open(path, Uuid::new_v4()).await?;
        Ok(Self::with_database(Arc::new(database), warehouse, objects))
    }

    /// Over any database; what tests use to put a double between.
    pub(crate) fn with_database(database: Arc<dyn Database>, warehouse: &str, objects: Arc<dyn Objects>) -> Catalog {
        let shared = Arc::new(Shared::new(database, Arc::new(Loader::new(objects)), warehouse));
        tokio::spawn(keep_alive(Arc::downgrade(&shared)));
        Catalog { shared }
    }

    /// The newest state, also of what other programs wrote. Cheap, and the same value, when nothing changed.
    pub async fn snapshot(&self) -> Result<Arc<CatalogSnapshot>> {
        self.shared.head().await
    }

    /// Begins a transaction that sees `base`. Nothing is written until it writes.
    pub async fn begin(&self, base: Arc<CatalogSnapshot>) -> Result<Transaction> {
        if base.is_of_transaction() {
            return Err(Error::internal("a transaction cannot begin inside another"));
        }
        Ok(Transaction::new(self.shared.clone(), base))
    }

    /// Cleans up after transactions of servers that are gone: looks up what became of each, aborts it if it was open,
    /// deletes its objects. Gives how many there were. To be called at start, and now and then.
    pub async fn recover(&self) -> Result<usize> {
        let leftovers = self.shared.database.leftovers().await?;
        for leftover in &leftovers {
            let deleted = self.shared.give_up(leftover.txn_id, &leftover.table_locations).await?;
            tracing::info!(txn_id = %leftover.txn_id, objects = deleted.len(), "cleaned up after a dead transaction");
        }
        Ok(leftovers.len())
    }

    /// The SCRAM verifier of a role; `None` when there is no such role.
    pub async fn secret(&self, role: &str) -> Result<Option<String>> {
        self.shared.database.secret(role).await
    }

    /// Stores the SCRAM verifier of a role, making the role when new. Durable when this returns. Never give it a
    /// password.
    pub async fn set_secret(&self, role: &str, verifier: &str) -> Result<()> {
        self.shared.database.set_secret(role, verifier).await
    }

    /// All roles, sorted.
    pub async fn roles(&self) -> Result<Vec<String>> {
        self.shared.database.roles().await
    }

    /// Objects that nothing can need any more at `now_ms` (milliseconds since 1970 UTC). After deleting them, call
    /// [`Catalog::forget`].
    pub async fn dead_objects(&self, now_ms: i64) -> Result<Vec<DeadObject>> {
        garbage::dead_objects(&self.shared, now_ms).await
    }

    /// Takes paths that were deleted off the list of dead objects.
    pub async fn forget(&self, paths: &[String]) -> Result<()> {
        self.shared.database.forget_garbage(paths).await
    }
}

/// Runs until the catalog is closed.
async fn keep_alive(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Err(error) = shared.heartbeat().await {
            tracing::warn!(%error, "cannot write the heartbeat");
        }
    }
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod tests;
