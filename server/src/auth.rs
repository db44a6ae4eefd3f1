//! Who is it? Turns credentials into a role.

use std::net::SocketAddr;
use std::sync::Arc;

use staffa::{ErrorKind, Warehouse};

use self::certificate::Certificate;
use self::rules::{Caller, Demand, Method, Proof};
use crate::listen::ServerOptions;
use crate::pgwire::link::Link;
use crate::pgwire::report::{Failure, Report, Step};
use crate::pgwire::startup::StartupMessage;

pub(crate) mod certificate;
pub mod rules;
pub(crate) mod scram;
pub(crate) mod throttle;

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// By a password, which never crosses the wire (SCRAM-SHA-256).
    Scram,
    /// Not at all: whoever reaches the port is who it says. For loopback addresses only.
    Trust,
}

/// Bytes of a name, as in SQL.
const NAME_BYTES_MAX: usize = 63;

/// As much of a client's name for a role or a database as names have. The rest is neither remembered nor written anywhere: whoever may
/// send it has proved nothing yet.
pub(crate) fn cut_name(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    name
}

/// Whether there is such a role.
pub(crate) async fn is_role(warehouse: &Warehouse, user: &str) -> staffa::Result<bool> {
    Ok(warehouse.roles().await?.iter().any(|role| role == user))
}

/// How a client proves that it is who it says: by the rules, if there are some.
pub(crate) async fn proof_of(
    link: &Link,
    peer: SocketAddr,
    warehouse: &Warehouse,
    options: &ServerOptions,
    message: &StartupMessage,
) -> Step<Proof> {
    let Some(rules) = &options.rules else {
        return Ok(Proof {
            method: match options.auth {
                AuthMode::Scram => Method::Scram,
                AuthMode::Trust => Method::Trust,
            },
            certificate: Demand::None,
        });
    };
    let groups = warehouse.groups_of(&message.user).await?;
    let caller = Caller {
        peer: peer.ip(),
        local: link.local_address().map(|local| local.ip()),
        encrypted: link.is_encrypted(),
        database: &message.database,
        user: &message.user,
        groups: &groups,
    };
    rules.proof(&caller).map_err(refused)
}

/// Lets a client prove that it is `user`; any error is FATAL.
pub(crate) async fn authenticate(
    link: &mut Link,
    warehouse: &Warehouse,
    proof: Proof,
    doubles: &Arc<scram::Doubles>,
    user: &str,
) -> Step<()> {
    let certificate = link.client_certificate();
    if proof.certificate >= Demand::Verified && certificate.is_none() {
        return Err(refused(NO_CERTIFICATE));
    }
    if proof.method == Method::Scram {
        let verifier = warehouse.verifier(user).await?;
        scram::authenticate(link, user, verifier.as_deref(), doubles).await?;
    }
    if proof.certificate == Demand::OfUser && !is_made_out_to(certificate.as_ref(), user) {
        let name = certificate.and_then(|certificate| certificate.common_name);
        tracing::info!(user = %user.escape_debug(), ?name, "a client's certificate is another's");
        return Err(match proof.method {
            Method::Scram => scram::wrong_password(user).into(),
            Method::Trust => refused(format!("\"trust\" authentication failed for user \"{user}\"")),
            Method::Certificate => refused(wrong_certificate(user)),
        });
    }
    match proof.method {
        Method::Scram => Ok(()),
        Method::Trust | Method::Certificate if is_role(warehouse, user).await? => Ok(()),
        Method::Trust | Method::Certificate => Err(refused(format!("role \"{user}\" does not exist"))),
    }
}

/// Of a client that must have a certificate.
pub(crate) const NO_CERTIFICATE: &str = "connection requires a valid client certificate";

pub(crate) fn wrong_certificate(user: &str) -> String {
    format!("certificate authentication failed for user \"{user}\"")
}

/// Whether a certificate's common name is the user's, letter for letter.
pub(crate) fn is_made_out_to(certificate: Option<&Certificate>, user: &str) -> bool {
    certificate.is_some_and(|certificate| certificate.common_name.as_deref() == Some(user))
}

fn refused(text: impl Into<String>) -> Failure {
    Report::fatal(ErrorKind::InvalidAuthorization, text).into()
}
