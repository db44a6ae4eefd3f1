//! What runs the shell's statements: an embedded warehouse or a server. The rest of the shell does not care which.

use staffa::{Canceller, TransactionStatus};

use super::copy::CopySource;
use super::embedded::Embedded;
use super::error::Result;
use super::print::Printer;
use super::remote::{Remote, RemoteCanceller};

pub(crate) enum Backend {
    Embedded(Box<Embedded>),
    Remote(Box<Remote>),
}

impl Backend {
    /// Runs one statement to its end.
    pub(crate) async fn execute(
        &mut self,
        sql: &str,
        source: &mut CopySource<'_>,
        printer: &mut Printer<'_>,
    ) -> Result<()> {
        match self {
            Self::Embedded(embedded) => embedded.execute(sql, source, printer).await,
            Self::Remote(remote) => remote.execute(sql, source, printer).await,
        }
    }

    /// Names and types of the columns a query gives.
    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Vec<(String, String)>> {
        match self {
            Self::Embedded(embedded) => embedded.describe(sql).await,
            Self::Remote(remote) => remote.describe(sql).await,
        }
    }

    pub(crate) fn stopper(&self) -> Stopper {
        match self {
            Self::Embedded(embedded) => Stopper::Embedded(embedded.canceller()),
            Self::Remote(remote) => Stopper::Remote(remote.canceller()),
        }
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        match self {
            Self::Embedded(embedded) => embedded.status(),
            Self::Remote(remote) => remote.status(),
        }
    }

    pub(crate) fn database(&self) -> &str {
        match self {
            Self::Embedded(embedded) => embedded.database(),
            Self::Remote(remote) => &remote.target().database,
        }
    }

    /// One sentence for `\conninfo`.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Embedded(embedded) => {
                format!(
                    "database \"{}\" as \"{}\", in this process",
                    embedded.database(),
                    embedded.user()
                )
            }
            Self::Remote(remote) => {
                let target = remote.target();
                format!(
                    "database \"{}\" as \"{}\" on {} port {}",
                    target.database, target.user, target.host, target.port
                )
            }
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Embedded(embedded) => embedded.close().await,
            Self::Remote(remote) => remote.close().await,
        }
    }
}

/// Stops the running statement from beside it.
pub(crate) enum Stopper {
    Embedded(Canceller),
    Remote(RemoteCanceller),
}

impl Stopper {
    pub(crate) fn stop(&self) {
        match self {
            Self::Embedded(canceller) => canceller.cancel(),
            Self::Remote(canceller) => {
                let canceller = canceller.clone();
                tokio::spawn(async move {
                    if let Err(reason) = canceller.cancel().await {
                        super::tell(&format!("could not send the cancel request: {reason}"), None, None);
                    }
                });
            }
        }
    }
}
