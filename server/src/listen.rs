//! The listener: accepts connections, counts them, and drains them at the end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use staffa::{Error, ErrorKind, Result, Warehouse};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::AuthMode;
use crate::auth::rules::Rules;
use crate::auth::scram::Doubles;
use crate::auth::throttle::Throttle;
use crate::connection::{self, Shared};
use crate::pgwire::backends::Backends;
use crate::shutdown::{STOPPING, Shutdown};
use crate::tls::Tls;
use crate::traces::Traces;

/// Connections that may be between accept and the end of their login. More wait in the kernel's queue: a crowd that
/// never logs in holds this many sockets, and each for no longer than the login timeout.
const ARRIVING_MAX: usize = 100;

/// Connections that may wait in the kernel's queue.
const BACKLOG: u32 = 1024;

/// How long to wait after the system refused to give a socket (no file descriptors, no memory).
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How a server listens and whom it lets in.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    pub auth: AuthMode,
    /// Who may log in from where, in the place of `auth`.
    pub rules: Option<Arc<Rules>>,
    /// Without it, clients that ask for encryption are told there is none.
    pub tls: Option<Arc<Tls>>,
    /// Refuse clients that do not encrypt.
    pub tls_required: bool,
    /// Logged-in clients at a time; the next one is told `sorry, too many clients already`.
    pub max_connections: usize,
    /// From accept to the end of the login.
    pub login_timeout: Duration,
    /// Idle sessions outside a transaction end after this, unless `idle_session_timeout` says otherwise.
    pub idle_timeout: Option<Duration>,
    /// How long running statements may go on when the server is told to stop.
    pub shutdown_grace: Duration,
    /// Who is told of connections and statements.
    pub traces: Option<Arc<Traces>>,
}

/// A server that listens already; [`run`](Server::run) serves.
pub struct Server {
    listeners: Vec<TcpListener>,
    /// Where they listen, with real ports; never empty.
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Takes the addresses, so that clients can connect from here on; they are served by [`Server::run`].
///
/// # Errors
/// An address cannot be taken; `trust` on an address that others can reach; TLS required but not configured.
pub async fn bind(warehouse: Warehouse, options: ServerOptions) -> Result<Server> {
    check(&options)?;
    let mut listeners = Vec::with_capacity(options.listen.len());
    let mut addresses = Vec::with_capacity(options.listen.len());
    for address in &options.listen {
        let (listener, address) = take_address(*address, "--listen")?;
        addresses.push(address);
        listeners.push(listener);
    }
    let stop = CancellationToken::new();
    let shared = Shared {
        warehouse,
        backends: Arc::new(Backends::default()),
        logins: Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS))),
        doubles: Arc::new(Doubles::new()),
        throttle: Throttle::default(),
        shutdown: Shutdown::new(stop.clone()),
        options,
    };
    Ok(Server {
        listeners,
        addresses,
        shared: Arc::new(shared),
        stop,
    })
}

/// Takes an address, and says which it is: port 0 becomes a real one. `flag` is for hints.
pub(crate) fn take_address(address: SocketAddr, flag: &str) -> Result<(TcpListener, SocketAddr)> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => format!("Is another server running on that port? Choose one with {flag}."),
            io::ErrorKind::PermissionDenied => {
                format!("Ports below 1024 need privileges. Choose another with {flag}.")
            }
            _ => format!("Choose an address of this machine with {flag}."),
        };
        Error::new(ErrorKind::IoError, format!("could not listen on {address}: {error}")).with_hint(hint)
    };
    let listener = listen(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Takes an address. Keep-alive is inherited by the accepted sockets: a client whose machine is gone is noticed some day.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn check(options: &ServerOptions) -> Result<()> {
    let invalid = |text: String| Err(Error::new(ErrorKind::InvalidParameterValue, text));
    if options.listen.is_empty() {
        return invalid("no address to listen on".to_owned());
    }
    if options.rules.is_none() {
        check_trust(options.auth, &options.listen)?;
    }
    if options.tls_required && options.tls.is_none() {
        return invalid("TLS is required, but there is no certificate".to_owned());
    }
    Ok(())
}

/// Nobody is asked who it is only where nobody else can come.
pub(crate) fn check_trust(auth: AuthMode, addresses: &[SocketAddr]) -> Result<()> {
    let open = addresses.iter().find(|address| !address.ip().is_loopback());
    match (auth, open) {
        (AuthMode::Trust, Some(address)) => {
            let text = format!("authentication \"trust\" is refused on {address}: others can reach that address");
            let error = Error::new(ErrorKind::InvalidParameterValue, text);
            Err(error.with_hint("Listen on 127.0.0.1 or [::1], or use scram."))
        }
        _ => Ok(()),
    }
}

impl Server {
    /// The first address that is listened on, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses that are listened on, with their real ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `shutdown` is cancelled, then drains: nobody new; idle clients leave at once, running statements
    /// get `shutdown_grace` and are stopped then.
    pub async fn run(self, shutdown: CancellationToken) {
        let Server {
            listeners,
            addresses: _,
            shared,
            stop,
        } = self;
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        let arriving = Arc::new(Semaphore::new(ARRIVING_MAX));
        for listener in listeners {
            accepting.spawn(accept(
                listener,
                Arc::clone(&shared),
                connections.clone(),
                Arc::clone(&arriving),
            ));
        }
        accepting.close();
        shutdown.cancelled().await;

        stop.cancel();
        accepting.wait().await;
        connections.close();
        tracing::info!(connections = connections.len(), "shutting down");
        if tokio::time::timeout(shared.options.shutdown_grace, connections.wait())
            .await
            .is_ok()
        {
            return;
        }
        tracing::info!(connections = connections.len(), "stopping statements that still run");
        shared.backends.terminate_all();
        if tokio::time::timeout(STOPPING, connections.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(connections = connections.len(), "dropping connections that do not end");
        shared.shutdown.abandon();
        connections.wait().await;
    }
}

/// Takes connections until the shutdown.
async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: TaskTracker, arriving: Arc<Semaphore>) {
    loop {
        let next = async {
            let permit = Arc::clone(&arriving)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = shared.shutdown.requested() => return,
            next = next => next,
        };
        match accepted {
            Ok((socket, peer)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(serve_until_abandoned(socket, peer, shared, permit));
            }
            Err(error) => {
                // A client that hung up again, or the system is short of something: neither ends the server.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_until_abandoned(
    socket: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    permit: tokio::sync::OwnedSemaphorePermit,
) {
    let shutdown = shared.shutdown.clone();
    tokio::select! {
        () = connection::serve(socket, peer, shared, permit) => {}
        () = shutdown.abandoned() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen: &str, auth: AuthMode, tls_required: bool) -> ServerOptions {
        ServerOptions {
            listen: vec![listen.parse().expect("address")],
            auth,
            rules: None,
            tls: None,
            tls_required,
            max_connections: 1,
            login_timeout: Duration::from_secs(1),
            idle_timeout: None,
            shutdown_grace: Duration::from_secs(1),
            traces: None,
        }
    }

    #[test]
    fn trust_is_for_loopback_only_and_required_tls_needs_a_certificate() {
        assert!(check(&options("127.0.0.1:0", AuthMode::Trust, false)).is_ok());
        assert!(check(&options("[::1]:0", AuthMode::Trust, false)).is_ok());
        assert!(check(&options("0.0.0.0:0", AuthMode::Scram, false)).is_ok());
        assert!(check(&options("0.0.0.0:0", AuthMode::Trust, false)).is_err());
        assert!(check(&options("[::]:0", AuthMode::Trust, false)).is_err());
        assert!(check(&options("127.0.0.1:0", AuthMode::Scram, true)).is_err());
    }
}
