//! A connection that writes, and stays usable after any error.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, Transaction};

use super::failed;
use crate::error::Result;

/// A connection and what it was made with.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// For single statements; those of a transaction go through [`Writer::begin`].
    pub(super) connection: SqliteConnection,
}

impl Writer {
    pub(super) async fn connect(options: SqliteConnectOptions) -> sqlx::Result<Writer> {
        let connection = options.connect().await?;
        Ok(Writer { options, connection })
    }

    /// Begins a transaction that may write; dropping it rolls back.
    ///
    /// Where the disk is full or broken, SQLite rolls back by itself, and the ROLLBACK that sqlx sends then is an error:
    /// sqlx believes the connection in that transaction for ever and begins no other on it. It is replaced.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>> {
        if self.connection.is_in_transaction() {
            // Most often the last rollback is only still under way: this waits for it. Its own error says no more.
            let _ = self.connection.ping().await;
            if self.connection.is_in_transaction() {
                tracing::warn!("a connection to the catalog database is lost in a transaction and is replaced");
                self.connection = self.options.connect().await.map_err(failed)?;
            }
        }
        self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }
}
