//! The audit log: who did what, when, from where, and whether it was allowed. A line of JSON for each event, in files of the
//! server, the newest `audit.jsonl`; `staffa.audit` shows what they say.
//!
//! Texts are those that others may see: without passwords.

mod relation;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use staffa_planner::{Error, ErrorKind, ParsedStatement, Result, StatementClass};

pub(crate) use self::relation::AuditTable;
use crate::outcome::Outcome;
use crate::session::Session;

/// The name of the file that is written; older ones have a number behind it, the newest 1.
const FILE: &str = "audit.jsonl";

/// What of a text is kept.
const TEXT_CHARACTERS_MAX: usize = 8192;

/// What is written.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// Where the files are; made when missing.
    pub directory: PathBuf,
    pub classes: AuditClasses,
    /// The size at which a file is closed and the next begun.
    pub file_bytes: u64,
    /// How many closed files are kept.
    pub files_kept: usize,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditClasses {
    /// Logins, and those that were refused.
    pub login: bool,
    /// CREATE, ALTER, DROP and their like.
    pub ddl: bool,
    /// Roles, grants, policies, SET ROLE.
    pub role: bool,
    /// Whatever was refused for want of a privilege.
    pub denied: bool,
    /// Queries and changes of superusers.
    pub privileged: bool,
    pub read: bool,
    pub write: bool,
}

impl AuditClasses {
    /// Of a list of names between commas; `all` and `none` are lists.
    ///
    /// # Errors
    /// The name that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut classes = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "login" => classes.login = true,
                "ddl" => classes.ddl = true,
                "role" => classes.role = true,
                "denied" => classes.denied = true,
                "privileged" => classes.privileged = true,
                "read" => classes.read = true,
                "write" => classes.write = true,
                "none" => classes = Self::default(),
                "all" => {
                    classes = Self {
                        login: true,
                        ddl: true,
                        role: true,
                        denied: true,
                        privileged: true,
                        read: true,
                        write: true,
                    };
                }
                other => return Err(format!("\"{other}\" is no kind of audited event")),
            }
        }
        Ok(classes)
    }
}

/// The log of one warehouse.
#[derive(Debug)]
pub(crate) struct Audit {
    config: AuditConfig,
    file: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl Audit {
    /// Opens the file and goes on behind what it has.
    pub(crate) fn open(config: AuditConfig) -> Result<Arc<Self>> {
        let failed = |error: io::Error| {
            let message = format!("cannot write the audit log in {}: {error}", config.directory.display());
            Error::new(ErrorKind::IoError, message)
        };
        std::fs::create_dir_all(&config.directory).map_err(failed)?;
        let file = Mutex::new(open(&config.directory).map_err(failed)?);
        Ok(Arc::new(Self { config, file }))
    }

    pub(crate) fn classes(&self) -> AuditClasses {
        self.config.classes
    }

    /// Writes an event. That it cannot is told in the server's log: who is at work is not stopped by a full disk.
    fn write(&self, event: &Map<String, Value>) {
        let mut line = Value::Object(event.clone()).to_string();
        line.push('\n');
        let mut open = self.file.lock();
        let written = self
            .turned(&mut open)
            .and_then(|()| open.file.write_all(line.as_bytes()));
        match written {
            Ok(()) => open.bytes += line.len() as u64,
            Err(error) => tracing::error!(%error, "an event could not be written to the audit log"),
        }
    }

    /// Begins the next file when this one is full.
    fn turned(&self, current: &mut Open) -> io::Result<()> {
        if current.bytes < self.config.file_bytes {
            return Ok(());
        }
        let directory = &self.config.directory;
        for number in (1..self.config.files_kept.max(1)).rev() {
            match std::fs::rename(numbered(directory, number), numbered(directory, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(directory.join(FILE), numbered(directory, 1))?;
        *current = open(directory)?;
        Ok(())
    }

    /// The files that are there, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let directory = &self.config.directory;
        let closed = (1..=self.config.files_kept.max(1)).rev();
        let closed = closed.map(|number| numbered(directory, number));
        closed
            .chain([directory.join(FILE)])
            .filter(|path| path.exists())
            .collect()
    }
}

fn numbered(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{FILE}.{number}"))
}

/// Nobody else of the machine reads it.
fn open(directory: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(directory.join(FILE))?;
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes })
}

/// An event before it is written.
pub(crate) struct Event(Map<String, Value>);

impl Event {
    pub(crate) fn new(event: &str, user: &str, database: &str, client: Option<std::net::SocketAddr>) -> Self {
        let Value::Object(map) = json!({
            "time": Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            "event": event,
            "user": user,
            "database": database,
            "client": client.map(|client| client.to_string()),
        }) else {
            return Self(Map::new());
        };
        Self(map)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn write(self, audit: &Audit) {
        audit.write(&self.0);
    }
}

impl Session {
    /// Notes what became of a statement, where it is of a kind that is written.
    pub(crate) fn audit(&self, statement: &ParsedStatement, outcome: Result<&Outcome, &Error>) {
        let Some(audit) = self.warehouse.audit() else {
            return;
        };
        let classes = audit.classes();
        let denied = outcome.is_err_and(|error| error.kind() == ErrorKind::InsufficientPrivilege);
        let privileged = classes.privileged && self.settings.get("is_superuser") == Some("on");
        let (event, wanted) = match statement.class() {
            _ if denied => ("denied", classes.denied),
            _ if statement.is_about_roles() => ("role", classes.role),
            StatementClass::Ddl => ("ddl", classes.ddl),
            StatementClass::Write => ("write", classes.write || privileged),
            StatementClass::Query => ("read", classes.read || privileged),
            StatementClass::Utility | StatementClass::Transaction(_) => return,
        };
        if !wanted {
            return;
        }
        let text: String = statement.public_text().chars().take(TEXT_CHARACTERS_MAX).collect();
        let event = Event::new(event, self.user(), self.database(), self.client())
            .with("role", self.current_user())
            .with("session", self.backend_pid())
            .with("application", self.settings.get("application_name").unwrap_or_default())
            .with("command", statement.command())
            .with("statement", text);
        match outcome {
            Ok(_) => event.with("ok", true),
            Err(error) => event.with("ok", false).with("error", error.message()),
        }
        .write(audit);
    }
}
