//! The end of a server, in steps: nobody new, the idle leave, the busy get a grace, then they are stopped.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long a client may take to read its last message.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// How long stopped statements may take to end before their connections are dropped.
pub(crate) const STOPPING: Duration = Duration::from_secs(5);

/// What connections know of the server's end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    requested: CancellationToken,
    abandoned: CancellationToken,
}

impl Shutdown {
    /// `requested` is cancelled by whoever wants the server to end.
    pub(crate) fn new(requested: CancellationToken) -> Self {
        Self {
            requested,
            abandoned: CancellationToken::new(),
        }
    }

    /// Resolves when the server is to end: finish what runs, then leave.
    pub(crate) async fn requested(&self) {
        self.requested.cancelled().await;
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Resolves when nobody waits for this connection any longer.
    pub(crate) async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.cancel();
    }
}
