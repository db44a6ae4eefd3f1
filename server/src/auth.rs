//! Who is it? Turns credentials into a role.

use std::sync::Arc;

use staffa::{DEFAULT_ROLE, ErrorKind, Warehouse};

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
        // The first role exists from the first start, but the catalog knows it only once it has a password.
        AuthMode::Trust if user == DEFAULT_ROLE || warehouse.roles().await?.iter().any(|role| role == user) => Ok(()),
        AuthMode::Trust => {
            let text = format!("role \"{user}\" does not exist");
            Err(Failure::from(Report::fatal(ErrorKind::InvalidAuthorization, text)))
        }
    }
}
