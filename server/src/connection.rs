//! One connection from accept to the start of its conversation: what does the client want, who is it, is there room.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use staffa::{Encryption, ErrorKind, SessionOptions};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::auth::scram::Doubles;
use crate::auth::throttle::Throttle;
use crate::auth::{authenticate, proof_of};
use crate::listen::ServerOptions;
use crate::pgwire::backends::{Backends, LONG_KEY_BYTES, Registration, SHORT_KEY_BYTES};
use crate::pgwire::conversation::Conversation;
use crate::pgwire::frame::{frame_channel, read_frames};
use crate::pgwire::link::Link;
use crate::pgwire::reply;
use crate::pgwire::report::{Failure, Report, Step};
use crate::pgwire::sqlstate::sqlstate;
use crate::pgwire::startup::{StartupMessage, Wish, negotiate, reply_negotiation};
use crate::pgwire::writer::Writer;
use crate::shutdown::{FAREWELL, Shutdown};

/// Bytes of a connection that the system takes before any was sent (tcp(7)'s `TCP_NOTSENT_LOWAT`).
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 256 << 10;

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) warehouse: staffa::Warehouse,
    pub(crate) options: ServerOptions,
    pub(crate) backends: Arc<Backends>,
    /// One permit a logged-in client.
    pub(crate) logins: Arc<Semaphore>,
    pub(crate) doubles: Arc<Doubles>,
    pub(crate) throttle: Throttle,
    pub(crate) shutdown: Shutdown,
}

/// A client that may talk now.
struct Admitted {
    session: staffa::Session,
    registration: Registration,
    permit: OwnedSemaphorePermit,
}

/// Serves one client until its end. `arriving` is given back as soon as the client is logged in.
pub(crate) async fn serve(socket: TcpStream, peer: SocketAddr, shared: Arc<Shared>, arriving: OwnedSemaphorePermit) {
    // Answers are written in one piece each; waiting for more only delays them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "could not set TCP_NODELAY");
    }
    bound_unsent(&socket, peer);
    let mut link = Link::new(socket);
    let login = async {
        tokio::select! {
            admitted = admit(&mut link, peer, &shared) => admitted,
            () = tokio::time::sleep(shared.options.login_timeout) => {
                Err(Report::fatal(ErrorKind::QueryCanceled, "canceling authentication due to timeout").into())
            }
            () = shared.shutdown.requested() => {
                Err(Report::fatal(ErrorKind::CannotConnectNow, "the database system is shutting down").into())
            }
        }
    };
    match login.await {
        Ok(Some(admitted)) => {
            drop(arriving);
            converse(link, peer, admitted, &shared).await;
        }
        Ok(None) => {}
        Err(Failure::Gone(error)) => tracing::debug!(%peer, %error, "client left before it was logged in"),
        Err(Failure::Report(report)) => {
            // Whatever went wrong: a client that is not logged in does not stay (an ERROR would let it go on).
            let report = report.into_fatal();
            tracing::info!(%peer, code = report.code, "connection refused: {}", report.message);
            tell_and_close(&mut link, &report).await;
        }
    }
}

/// Lets the system hold little that the client has no room for: what stands in line there is memory that nobody else counts, and the
/// error of a statement that was cancelled comes after it. What is on its way through the network is not bounded by this.
#[cfg(target_os = "linux")]
fn bound_unsent(socket: &TcpStream, peer: SocketAddr) {
    if let Err(error) = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        tracing::debug!(%peer, %error, "could not set TCP_NOTSENT_LOWAT");
    }
}

#[cfg(not(target_os = "linux"))]
fn bound_unsent(_: &TcpStream, _: SocketAddr) {}

/// Everything before ReadyForQuery. `None` when the client wants no session.
async fn admit(link: &mut Link, peer: SocketAddr, shared: &Shared) -> Step<Option<Admitted>> {
    let message = match negotiate(link, shared.options.tls.as_deref()).await? {
        Wish::Login(message) => message,
        Wish::Cancel { process, key } => {
            shared.backends.cancel(process, &key);
            return Ok(None);
        }
        Wish::Nothing => return Ok(None),
    };
    if shared.options.tls_required && !link.is_encrypted() {
        let text = format!("connection of user \"{}\" is not encrypted", message.user);
        return Err(Report::fatal(ErrorKind::InvalidAuthorization, text)
            .hint("This server takes encrypted connections only: connect with sslmode=require.")
            .into());
    }
    if shared.shutdown.is_requested() {
        return Err(Report::fatal(ErrorKind::CannotConnectNow, "the database system is shutting down").into());
    }
    let mut out = BytesMut::new();
    reply_negotiation(&mut out, &message);
    if !out.is_empty() {
        link.send(&mut out).await?;
    }
    let audit = |refused: Option<&str>| {
        shared
            .warehouse
            .audit_login(&message.user, &message.database, peer, refused);
    };
    let Some(wait) = shared.throttle.wait(&message.user, Some(peer.ip())) else {
        let text = format!("too many failed logins of user \"{}\"", message.user);
        audit(Some(&text));
        return Err(Report::fatal(ErrorKind::InvalidAuthorization, text)
            .hint("Try again in some seconds.")
            .into());
    };
    tokio::time::sleep(wait).await;
    let proved = async {
        let proof = proof_of(link, peer, &shared.warehouse, &shared.options, &message).await?;
        authenticate(link, &shared.warehouse, proof, &shared.doubles, &message.user).await
    };
    match proved.await {
        Ok(()) => shared.throttle.succeeded(&message.user, Some(peer.ip())),
        Err(failure) => {
            if is_wrong_password(&failure) {
                shared.throttle.failed(&message.user, Some(peer.ip()));
            }
            if let Failure::Report(report) = &failure {
                audit(Some(&report.message));
            }
            return Err(failure);
        }
    }
    // Not before: whoever has proved nothing takes no place of those who can.
    let permit = Arc::clone(&shared.logins)
        .try_acquire_owned()
        .map_err(|_| Report::fatal(ErrorKind::TooManyConnections, "sorry, too many clients already"))?;
    // Before the session is opened: clients tell a refused login from an unknown database by it.
    reply::authentication_ok(&mut out);
    link.send(&mut out).await?;
    let key_bytes = if message.long_key {
        LONG_KEY_BYTES
    } else {
        SHORT_KEY_BYTES
    };
    let opened = shared
        .warehouse
        .session(session_options(&message, peer, link.encryption()))
        .await;
    audit(opened.as_ref().err().map(|error| error.message()));
    let session = opened?;
    let registration = shared
        .backends
        .register(session.backend_pid(), key_bytes, session.canceller())?;
    tracing::debug!(user = session.user(), database = session.database(), "client logged in");
    Ok(Some(Admitted {
        session,
        registration,
        permit,
    }))
}

/// Who hangs up to ask for a password has not guessed.
fn is_wrong_password(failure: &Failure) -> bool {
    matches!(failure, Failure::Report(report) if report.code == sqlstate(ErrorKind::InvalidPassword))
}

fn session_options(message: &StartupMessage, client: SocketAddr, encryption: Option<Encryption>) -> SessionOptions {
    SessionOptions {
        database: message.database.clone(),
        user: message.user.clone(),
        settings: message.settings.clone(),
        // Files of the server are not a client's to read.
        allow_files: false,
        client: Some(client),
        encryption,
        login: true,
    }
}

async fn converse(link: Link, peer: SocketAddr, admitted: Admitted, shared: &Shared) {
    let Admitted {
        mut session,
        registration,
        permit,
    } = admitted;
    let traces = shared.options.traces.as_ref();
    let traced = traces.map(|traces| traces.connection(&session, peer));
    let (read, write, input) = link.split();
    let mut writer = Writer::new(write);
    for (name, value) in session.take_changed_parameters() {
        reply::parameter_status(writer.buffer(), name, &value);
    }
    reply::backend_key_data(writer.buffer(), registration.process(), registration.key().bytes());

    let (sender, frames) = frame_channel();
    let reader = AbortOnDropHandle::new(tokio::spawn(read_frames(read, input, sender, session.canceller())));
    Conversation::new(
        session,
        frames,
        writer,
        shared.shutdown.clone(),
        shared.options.idle_timeout,
    )
    .run()
    .await;
    drop(reader);
    drop(traced);
    drop(registration);
    drop(permit);
}

async fn tell_and_close(link: &mut Link, report: &Report) {
    let mut out = BytesMut::new();
    reply::report(&mut out, report);
    let farewell = async {
        link.send(&mut out).await?;
        link.close().await?;
        // What the client still sends is read for a moment: closing with unread input would reset the connection, and
        // the report could be lost on its way.
        link.drain().await
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
