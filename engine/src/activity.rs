//! Who is connected to a server, and what each session does now: `pg_stat_activity`, `pg_cancel_backend()`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use staffa_planner::{Encryption, Error, ErrorKind, Result, SessionRow};

use crate::cancel::Canceller;
use crate::outcome::TransactionStatus;
use crate::register::query_id;

/// How much of a statement is shown, as in PostgreSQL.
const QUERY_BYTES_MAX: usize = 1024;

/// What an idle session waits for.
const CLIENT: Wait = ("Client", "ClientRead");

/// What a session waits for, by type and name, as `pg_stat_activity` tells it.
pub(crate) type Wait = (&'static str, &'static str);

/// All sessions of a server.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Held for a look-up or a change only.
    sessions: Mutex<BTreeMap<i32, Entry>>,
}

#[derive(Debug)]
struct Entry {
    canceller: Canceller,
    row: SessionRow,
}

/// A session in the list of those that are connected, until this is dropped.
#[derive(Debug)]
pub(crate) struct Connected {
    activity: Arc<Activity>,
    number: i32,
}

impl Activity {
    /// Takes a session in, unless its role has `limit` sessions already.
    pub(crate) fn connected(
        self: &Arc<Self>,
        number: i32,
        user: &str,
        database: &str,
        client: Option<SocketAddr>,
        encryption: Option<Encryption>,
        canceller: Canceller,
        limit: Option<usize>,
    ) -> Result<Connected> {
        let now = Utc::now().timestamp_micros();
        let row = SessionRow {
            pid: number,
            user: user.to_owned(),
            database: database.to_owned(),
            application_name: String::new(),
            client_address: client.map(|client| client.ip().to_string()),
            client_port: client.map(|client| client.port().into()),
            encryption,
            backend_start: now,
            xact_start: None,
            query_start: None,
            state_change: now,
            state: "idle",
            wait: Some(CLIENT),
            query_id: None,
            query: String::new(),
        };
        let mut sessions = self.sessions.lock();
        // Under the same lock: two that come at the same moment do not both take the last place.
        let others = || sessions.values().filter(|entry| entry.row.user == user).count();
        if limit.is_some_and(|limit| others() >= limit) {
            let message = format!("too many connections for role \"{user}\"");
            return Err(Error::new(ErrorKind::TooManyConnections, message));
        }
        sessions.insert(number, Entry { canceller, row });
        Ok(Connected {
            activity: Arc::clone(self),
            number,
        })
    }

    pub(crate) fn rows(&self) -> Vec<SessionRow> {
        self.sessions.lock().values().map(|entry| entry.row.clone()).collect()
    }

    /// What a session waits for from now on, while its statement runs.
    pub(crate) fn waits_for(&self, number: i32, wait: Option<Wait>) {
        if let Some(Entry { row, .. }) = self.sessions.lock().get_mut(&number) {
            row.wait = wait;
        }
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// The role that a session logged in as.
    pub(crate) fn user_of(&self, number: i32) -> Option<String> {
        self.sessions.lock().get(&number).map(|entry| entry.row.user.clone())
    }

    /// Stops what a session runs, or ends it; false when there is no session of that number.
    pub(crate) fn signal(&self, number: i32, end: bool) -> bool {
        let canceller = self.sessions.lock().get(&number).map(|entry| entry.canceller.clone());
        match &canceller {
            Some(canceller) if end => canceller.terminate(),
            Some(canceller) => canceller.cancel(),
            None => {}
        }
        canceller.is_some()
    }
}

impl Connected {
    /// A statement starts.
    pub(crate) fn runs(&self, sql: &str, transaction: Option<DateTime<Utc>>) {
        let mut sessions = self.activity.sessions.lock();
        if let Some(Entry { row, .. }) = sessions.get_mut(&self.number) {
            let now = Utc::now().timestamp_micros();
            row.query.clear();
            row.query.push_str(&sql[..sql.floor_char_boundary(QUERY_BYTES_MAX)]);
            row.query_start = Some(now);
            row.state_change = now;
            row.xact_start = Some(transaction.map_or(now, |started| started.timestamp_micros()));
            row.state = "active";
            row.wait = None;
            row.query_id = Some(query_id(sql));
        }
    }

    /// What its statement waits for.
    pub(crate) fn waits_for(&self, wait: Option<Wait>) {
        self.activity.waits_for(self.number, wait);
    }

    /// Nothing runs any more, and the client may say what comes next.
    pub(crate) fn waits(&self, status: TransactionStatus, application_name: &str) {
        let mut sessions = self.activity.sessions.lock();
        if let Some(Entry { row, .. }) = sessions.get_mut(&self.number) {
            row.state_change = Utc::now().timestamp_micros();
            row.wait = Some(CLIENT);
            row.state = match status {
                TransactionStatus::Idle => "idle",
                TransactionStatus::InTransaction => "idle in transaction",
                TransactionStatus::Failed => "idle in transaction (aborted)",
            };
            if status != TransactionStatus::InTransaction {
                row.xact_start = None;
            }
            if row.application_name != application_name {
                application_name.clone_into(&mut row.application_name);
            }
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.activity.sessions.lock().remove(&self.number);
    }
}
