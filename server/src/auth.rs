//! Who is it? Turns credentials into a role.

use std::net::SocketAddr;
use std::sync::Arc;

use staffa::{ErrorKind, Warehouse};

use self::rules::{Caller, Method};
use crate::listen::ServerOptions;
use crate::pgwire::link::Link;
use crate::pgwire::report::{Failure, Report, Step};
use crate::pgwire::startup::StartupMessage;

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

/// Whether there is such a role.
pub(crate) async fn is_role(warehouse: &Warehouse, user: &str) -> staffa::Result<bool> {
    Ok(warehouse.roles().await?.iter().any(|role| role == user))
}

/// How a client proves that it is who it says: by the rules, if there are some.
pub(crate) async fn mode_of(
    link: &Link,
    peer: SocketAddr,
    warehouse: &Warehouse,
    options: &ServerOptions,
    message: &StartupMessage,
) -> Step<AuthMode> {
    let Some(rules) = &options.rules else {
        return Ok(options.auth);
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
    match rules.method(&caller) {
        Ok(Method::Trust) => Ok(AuthMode::Trust),
        Ok(Method::Scram | Method::Reject) => Ok(AuthMode::Scram),
        Err(text) => Err(Report::fatal(ErrorKind::InvalidAuthorization, text).into()),
    }
}

/// Lets a client prove that it is `user`; any error is FATAL.
pub(crate) async fn authenticate(
    link: &mut Link,
    warehouse: &Warehouse,
    mode: AuthMode,
    doubles: &Arc<scram::Doubles>,
    user: &str,
) -> Step<()> {
    match mode {
        AuthMode::Scram => {
            let verifier = warehouse.verifier(user).await?;
            scram::authenticate(link, user, verifier.as_deref(), doubles).await
        }
        AuthMode::Trust if is_role(warehouse, user).await? => Ok(()),
        AuthMode::Trust => {
            let text = format!("role \"{user}\" does not exist");
            Err(Failure::from(Report::fatal(ErrorKind::InvalidAuthorization, text)))
        }
    }
}
