//! From a URL to what a connection is made with.

use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::database::sql::Need;
use crate::error::{Error, Result};

/// What the driver knows after the question mark. It ignores the rest, and we do not.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// No statement of the catalog takes long. What does waits for somebody who is gone.
const SESSION: [(&str, &str); 6] = [
    ("statement_timeout", "60s"),
    ("lock_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "60s"),
    // A connection whose other end is gone keeps a dead server's locks: half a minute of that is enough.
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`; what is left out comes from `PGHOST` and its like, the
/// password also from `~/.pgpass`.
pub(super) fn connect_options(url: &str) -> Result<PgConnectOptions> {
    let wrong = |detail: String| {
        Error::invalid("the catalog's URL cannot be used")
            .with_detail(detail)
            .with_hint("Write it as postgres://USER@HOST/DATABASE.")
    };
    for parameter in parameters(url) {
        let is_known = PARAMETERS.contains(&parameter) || parameter.starts_with("options[");
        if !is_known {
            return Err(wrong(format!("The parameter \"{parameter}\" is not known.")));
        }
    }
    let options = PgConnectOptions::from_str(url).map_err(|error| wrong(error.to_string()))?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("staffa"),
    };
    Ok(options.options(SESSION).disable_statement_logging())
}

/// Commits that matter are durable whatever the database's default is.
pub(super) fn for_need(options: &PgConnectOptions, need: Need) -> PgConnectOptions {
    let synchronous = match need {
        Need::Durable => "on",
        Need::Read | Need::Note => "off",
    };
    options.clone().options([("synchronous_commit", synchronous)])
}

fn parameters(url: &str) -> impl Iterator<Item = &str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
}

/// The URL for people: without password and parameters.
pub(in crate::database) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    match rest.rsplit_once('@') {
        None => format!("{scheme}://{rest}"),
        Some((login, place)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, expected) in [
            ("postgres://u:secret@h:1/d?password=secret", "postgres://u@h:1/d"),
            ("postgresql://h/d", "postgresql://h/d"),
            ("postgres://u:se@cret@h/d", "postgres://u@h/d"),
            ("postgres:///d?host=/tmp", "postgres:///d"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn parameters_nobody_knows_are_refused() {
        assert!(connect_options("postgres://u@h/d?sslmode=require&host=/tmp").is_ok());
        for url in [
            "postgres://u@h/d?target_session_attrs=read-write",
            "postgres://u@h/d?sslmode=perhaps",
            "postgres://u@h:port/d",
        ] {
            let error = connect_options(url).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::InvalidDefinition, "{url}");
        }
    }
}
