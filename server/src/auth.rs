//! Who is it? Turns credentials into a role.

use std::sync::Arc;

use staffa::{ErrorKind, Warehouse};

use crate::pgwire::link::Link;
use crate::pgwire::report::{Failure, Report, Step};

pub(crate) mod scram;

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
