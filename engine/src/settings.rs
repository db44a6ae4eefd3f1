//! Session settings: one registry with type, default and who may change it; SET, SET LOCAL, RESET and ROLLBACK over it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use staffa_planner::value::FormatSettings;
use staffa_planner::{Error, ErrorKind, Result, SettingRow, is_for_superusers, postgres_setting_context};

use crate::limits::Limits;

mod check;
mod limits;
mod tuning;

/// One setting as users know it.
pub(crate) struct Definition {
    /// Spelled as SHOW ALL spells it; matched without regard to case.
    pub(crate) name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Sent as ParameterStatus at login and on change.
    report: bool,
    /// One line for SHOW ALL.
    pub(crate) description: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Boolean,
    /// Whole number between bounds.
    Integer(i64, i64),
    Real(f64, f64),
    /// Memory, between bounds in 1,024 bytes.
    Kilobytes(i64, i64),
    /// Memory, between bounds in 8,192 bytes.
    Pages(i64, i64),
    /// Milliseconds, with units `us`, `ms`, `s`, `min`, `h`, `d`.
    Milliseconds,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Only this value: what the server is. Asking for another one is an error that says so.
    Only(&'static [&'static str]),
    /// Told to clients, not settable.
    ReadOnly,
    TimeZone,
    DateStyle,
    SearchPath,
    Encoding,
}

/// Memory of a session's settings that nobody defined (`SET app.user = …`).
const CUSTOM_BYTES_MAX: usize = 8 << 20;

const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];

/// Version told to clients: drivers choose their queries by it.
pub(crate) const SERVER_VERSION: &str = "15.18";

#[rustfmt::skip]
const DEFINITIONS: &[Definition] = &[
    define("application_name", "", Kind::Text, true, "The application name to be reported in statistics and logs."),
    define("array_nulls", "on", Kind::Only(&["on"]), false, "Enables input of NULL elements in arrays."),
    define("backslash_quote", "safe_encoding", Kind::Only(&["safe_encoding"]), false, "Whether \"\\'\" is allowed in string literals."),
    define("bytea_output", "hex", Kind::Choice(&["escape", "hex"]), false, "The output format for bytea."),
    define("client_encoding", "UTF8", Kind::Encoding, true, "The client's character set encoding."),
    define("client_min_messages", "notice", Kind::Choice(&["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "info", "warning", "error"]), false, "The message levels that are sent to the client."),
    define("DateStyle", "ISO, MDY", Kind::DateStyle, true, "The display format for date and time values."),
    define("default_table_access_method", "heap", Kind::Only(&["heap"]), false, "The default table access method for new tables."),
    define("default_tablespace", "", Kind::Only(&[""]), false, "The default tablespace to create tables and indexes in."),
    define("default_transaction_deferrable", "off", Kind::Boolean, false, "The default deferrable status of new transactions."),
    define("default_transaction_isolation", "repeatable read", Kind::Choice(ISOLATION), false, "The isolation level of each new transaction."),
    define("default_transaction_read_only", "off", Kind::Boolean, true, "The read-only status of new transactions."),
    define("escape_string_warning", "on", Kind::Boolean, false, "Warns about backslash escapes in ordinary string literals."),
    define("extra_float_digits", "1", Kind::Integer(-15, 3), false, "The number of digits displayed for floating-point values."),
    define("idle_in_transaction_session_timeout", "0", Kind::Milliseconds, false, "The maximum allowed idle time between queries, when in a transaction."),
    define("idle_session_timeout", "0", Kind::Milliseconds, false, "The maximum allowed idle time between queries, when not in a transaction."),
    define("in_hot_standby", "off", Kind::ReadOnly, true, "Whether hot standby is active."),
    define("integer_datetimes", "on", Kind::ReadOnly, true, "Datetimes are integer based."),
    define("IntervalStyle", "postgres", Kind::Only(&["postgres"]), true, "The display format for interval values."),
    define("is_superuser", "on", Kind::ReadOnly, true, "Whether the current user is a superuser."),
    define("lc_collate", "C", Kind::ReadOnly, false, "The collation order locale."),
    define("lc_ctype", "C", Kind::ReadOnly, false, "The character classification and case conversion locale."),
    define("lc_messages", "C", Kind::Only(&["C", "POSIX", ""]), false, "The language in which messages are displayed."),
    define("lc_monetary", "C", Kind::Only(&["C", "POSIX", ""]), false, "The locale for formatting monetary amounts."),
    define("lc_numeric", "C", Kind::Only(&["C", "POSIX", ""]), false, "The locale for formatting numbers."),
    define("lc_time", "C", Kind::Only(&["C", "POSIX", ""]), false, "The locale for formatting date and time values."),
    define("lock_timeout", "0", Kind::Milliseconds, false, "The maximum allowed duration of any wait for a lock."),
    define("max_identifier_length", "63", Kind::ReadOnly, false, "The maximum identifier length."),
    define("max_index_keys", "32", Kind::ReadOnly, false, "The maximum number of index keys."),
    define("quote_all_identifiers", "off", Kind::Only(&["off"]), false, "When generating SQL fragments, quotes all identifiers."),
    define("role", "none", Kind::ReadOnly, false, "The current role."),
    define("search_path", "\"$user\", public", Kind::SearchPath, false, "The schema search order for names that are not schema-qualified."),
    define("server_encoding", "UTF8", Kind::ReadOnly, true, "The server (database) character set encoding."),
    define("server_version", SERVER_VERSION, Kind::ReadOnly, true, "The server version."),
    define("server_version_num", "150018", Kind::ReadOnly, false, "The server version as an integer."),
    define("session_authorization", "", Kind::ReadOnly, true, "The current session's user name."),
    define("staffa.result_cache", "on", Kind::Boolean, false, "Answers queries that were answered before, while their tables have not changed."),
    define("standard_conforming_strings", "on", Kind::Only(&["on"]), true, "Causes '...' strings to treat backslashes literally."),
    define("statement_timeout", "0", Kind::Milliseconds, false, "The maximum allowed duration of any statement."),
    define("temp_tablespaces", "", Kind::Only(&[""]), false, "The tablespaces to use for temporary tables and sort files."),
    define("TimeZone", "UTC", Kind::TimeZone, true, "The time zone for displaying and interpreting time stamps."),
    define("transaction_deferrable", "off", Kind::Boolean, false, "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures."),
    define("transaction_isolation", "repeatable read", Kind::Choice(ISOLATION), false, "The current transaction's isolation level."),
    define("transaction_read_only", "off", Kind::Boolean, false, "The current transaction's read-only status."),
    define("transform_null_equals", "off", Kind::Only(&["off"]), false, "Treats \"expr=NULL\" as \"expr IS NULL\"."),
];

const fn define(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    report: bool,
    description: &'static str,
) -> Definition {
    Definition {
        name,
        default,
        kind,
        report,
        description,
    }
}

/// The settings of one session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What RESET goes back to: the definition's default, or what the client asked for at login.
    defaults: Arc<BTreeMap<String, String>>,
    session: BTreeMap<String, String>,
    /// SET LOCAL: gone at the end of the transaction.
    local: BTreeMap<String, String>,
    worked_out: WorkedOut,
}

/// What follows from the settings as they are, once somebody has asked.
#[derive(Clone, Debug, Default)]
struct WorkedOut {
    /// All of them together.
    merged: OnceLock<Arc<BTreeMap<String, String>>>,
    limits: OnceLock<Arc<Limits>>,
}

impl Settings {
    pub(crate) fn new(user: &str, is_superuser: bool) -> Self {
        let defaults: BTreeMap<String, String> = definitions()
            .map(|definition| (key(definition.name), definition.default.to_owned()))
            .collect();
        let settings = Self {
            defaults: Arc::new(defaults),
            session: BTreeMap::new(),
            local: BTreeMap::new(),
            worked_out: WorkedOut::default(),
        };
        settings.for_user(user, is_superuser)
    }

    /// The same settings for a session of this role.
    pub(crate) fn for_user(&self, user: &str, is_superuser: bool) -> Self {
        let mut settings = self.clone();
        settings.worked_out = WorkedOut::default();
        let defaults = Arc::make_mut(&mut settings.defaults);
        defaults.insert("session_authorization".to_owned(), user.to_owned());
        let is_superuser = if is_superuser { "on" } else { "off" };
        defaults.insert("is_superuser".to_owned(), is_superuser.to_owned());
        settings
    }

    /// A value asked for at login: it becomes what RESET goes back to.
    pub(crate) fn set_default(&mut self, name: &str, value: &str) -> Result<()> {
        let value = checked(name, value)?;
        self.worked_out = WorkedOut::default();
        Arc::make_mut(&mut self.defaults).insert(key(name), value);
        Ok(())
    }

    /// The value as SHOW prints it; `None` for a name nobody defined.
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = key(name);
        [&self.local, &self.session, &*self.defaults]
            .iter()
            .find_map(|values| values.get(&name))
            .map(String::as_str)
    }

    /// Like [`get`](Self::get), with PostgreSQL's error for an unknown name.
    pub(crate) fn show(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| unknown(name))
    }

    /// Refuses what only superusers may set, unless the session is one's.
    pub(crate) fn check_may_set(&self, name: &str) -> Result<()> {
        if !is_for_superusers(&key(name)) || self.get("is_superuser") == Some("on") {
            return Ok(());
        }
        let message = format!("permission denied to set parameter \"{name}\"");
        Err(Error::new(ErrorKind::InsufficientPrivilege, message))
    }

    /// SET (`local`: SET LOCAL); `None` is DEFAULT.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        self.check_may_set(name)?;
        let name = key(name);
        let value = match value {
            Some(value) => checked(&name, value)?,
            None => self.default_of(&name)?,
        };
        if definition(&name).is_none() {
            self.check_room_for(&name, &value)?;
        }
        self.worked_out = WorkedOut::default();
        if local {
            self.local.insert(name, value);
        } else {
            self.local.remove(&name);
            self.session.insert(name, value);
        }
        Ok(())
    }

    /// Names that nobody defined take memory which no limit of statements sees.
    fn check_room_for(&self, name: &str, value: &str) -> Result<()> {
        let others = self.session.iter().chain(&self.local);
        let others = others.filter(|(other, _)| *other != name && definition(other).is_none());
        let bytes = others.map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes + name.len() + value.len() <= CUSTOM_BYTES_MAX {
            return Ok(());
        }
        let message = format!(
            "too much in custom settings: a session may have {} MiB of them",
            CUSTOM_BYTES_MAX >> 20
        );
        Err(Error::new(ErrorKind::ConfigurationLimitExceeded, message))
    }

    /// Who the session is: `session_authorization`, `role` and `is_superuser`, which only statements of their own set.
    pub(crate) fn set_identity(&mut self, name: &str, value: &str, local: bool) {
        self.worked_out = WorkedOut::default();
        if local {
            self.local.insert(name.to_owned(), value.to_owned());
        } else {
            self.local.remove(name);
            self.session.insert(name.to_owned(), value.to_owned());
        }
    }

    /// The session is who logged in again.
    pub(crate) fn reset_identity(&mut self) {
        self.worked_out = WorkedOut::default();
        for values in [&mut self.local, &mut self.session] {
            values.retain(|name, _| !is_identity(name));
        }
    }

    /// RESET name.
    pub(crate) fn reset(&mut self, name: &str) -> Result<()> {
        self.check_may_set(name)?;
        let name = key(name);
        if let Some(definition) = definition(&name) {
            refuse_read_only(definition)?;
        } else if self.get(&name).is_none() {
            return Err(unknown(&name));
        }
        self.worked_out = WorkedOut::default();
        self.local.remove(&name);
        self.session.remove(&name);
        // A name that was given once stays known.
        if definition(&name).is_none() {
            self.session.insert(name, String::new());
        }
        Ok(())
    }

    /// RESET ALL: but who the session is stays.
    pub(crate) fn reset_all(&mut self) {
        self.worked_out = WorkedOut::default();
        for values in [&mut self.local, &mut self.session] {
            values.retain(|name, _| is_identity(name));
        }
    }

    /// The end of a transaction: SET LOCAL is over. Tells whether a value that plans may depend on went with it.
    pub(crate) fn end_transaction(&mut self) -> bool {
        let depended_on = self.local.keys().any(|name| !name.starts_with("transaction_"));
        if !self.local.is_empty() {
            self.worked_out = WorkedOut::default();
            self.local.clear();
        }
        depended_on
    }

    /// All settings in SHOW ALL's order: name as spelled, value, description.
    pub(crate) fn all(&self) -> Vec<(String, String, &'static str)> {
        let mut rows: Vec<_> = definitions()
            .map(|definition| {
                let value = self.get(definition.name).unwrap_or(definition.default);
                (definition.name.to_owned(), value.to_owned(), definition.description)
            })
            .collect();
        let custom = self
            .session
            .iter()
            .chain(&self.local)
            .filter(|(name, _)| definition(name).is_none());
        rows.extend(custom.map(|(name, value)| (name.clone(), value.clone(), "")));
        rows.sort_by_key(|(name, ..)| name.to_lowercase());
        rows.dedup_by(|a, b| a.0 == b.0);
        rows
    }

    /// The rows of `pg_settings`.
    pub(crate) fn rows(&self) -> Vec<SettingRow> {
        let row = |(name, value, description): (String, String, &'static str)| {
            let definition = definition(&key(&name));
            let kind = definition.map_or(Kind::Text, |definition| definition.kind);
            let (word, unit) = match kind {
                Kind::Boolean => ("bool", None),
                Kind::Integer(..) => ("integer", None),
                Kind::Milliseconds => ("integer", Some("ms")),
                Kind::Kilobytes(..) => ("integer", Some("kB")),
                Kind::Pages(..) => ("integer", Some("8kB")),
                Kind::Real(..) => ("real", None),
                Kind::Only(["on"] | ["off"]) => ("bool", None),
                Kind::Choice(_) | Kind::Only(_) => ("enum", None),
                _ => ("string", None),
            };
            let default = self.defaults.get(&key(&name)).cloned().unwrap_or_default();
            // Here times are numbers, without the unit SHOW prints.
            let plain = |value: String| match kind {
                Kind::Milliseconds => {
                    check::milliseconds(&value).map_or(value, |milliseconds| milliseconds.to_string())
                }
                Kind::Kilobytes(..) => check::kilobytes(&value, 1).map_or(value, |number| number.to_string()),
                Kind::Pages(..) => check::kilobytes(&value, 8).map_or(value, |number| number.to_string()),
                _ => value,
            };
            SettingRow {
                value: plain(value),
                default: plain(default),
                description: description.to_owned(),
                kind: word,
                unit,
                can_change: !matches!(kind, Kind::ReadOnly),
                for_superusers: is_for_superusers(&key(&name)),
                name,
            }
        };
        self.all().into_iter().map(row).collect()
    }

    /// All values by lower-case name, for `current_setting`.
    pub(crate) fn to_map(&self) -> Arc<BTreeMap<String, String>> {
        let merge = || {
            let mut map = (*self.defaults).clone();
            map.extend(self.session.clone());
            map.extend(self.local.clone());
            Arc::new(map)
        };
        Arc::clone(self.worked_out.merged.get_or_init(merge))
    }

    /// Names and values to report to the client, spelled as PostgreSQL spells them.
    pub(crate) fn reported(&self) -> Vec<(&'static str, String)> {
        definitions()
            .filter(|definition| definition.report)
            .map(|definition| {
                (
                    definition.name,
                    self.get(definition.name).unwrap_or_default().to_owned(),
                )
            })
            .collect()
    }

    /// The schemas to look names up in, in order, `"$user"` replaced.
    pub(crate) fn search_path(&self, user: &str) -> Vec<String> {
        let text = self.get("search_path").unwrap_or_default();
        check::split_identifiers(text)
            .unwrap_or_default()
            .into_iter()
            .map(|name| if name == "$user" { user.to_owned() } else { name })
            .collect()
    }

    pub(crate) fn time_zone(&self) -> &str {
        self.get("timezone").unwrap_or("UTC")
    }

    pub(crate) fn read_only(&self) -> bool {
        self.get("transaction_read_only") == Some("on") || self.get("default_transaction_read_only") == Some("on")
    }

    /// A timeout in force, `None` when off. `name` is a setting in milliseconds.
    pub fn timeout(&self, name: &str) -> Option<Duration> {
        let milliseconds = check::milliseconds(self.get(name)?).ok()?.unsigned_abs();
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// What statements may use.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(self.worked_out.limits.get_or_init(|| Arc::new(Limits::of(self))))
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Bytes of a setting of memory or disk, unless it is negative.
    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        let kilobytes = check::kilobytes(self.get(name)?, 1).ok()?;
        u64::try_from(kilobytes).ok()?.checked_mul(1 << 10)
    }

    /// How values are printed and read in this session.
    pub fn format(&self) -> Result<FormatSettings> {
        check::format_settings(self)
    }

    fn default_of(&self, name: &str) -> Result<String> {
        if let Some(definition) = definition(name) {
            refuse_read_only(definition)?;
        }
        match self.defaults.get(name) {
            Some(default) => Ok(default.clone()),
            None => checked(name, ""),
        }
    }
}

/// Whether a setting says who the session is.
fn is_identity(name: &str) -> bool {
    matches!(name, "role" | "session_authorization" | "is_superuser")
}

/// Checks a value and puts it in the form SHOW prints. Dotted names nobody defined are free-form, as in PostgreSQL.
pub(crate) fn checked(name: &str, value: &str) -> Result<String> {
    match definition(&key(name)) {
        Some(definition) => {
            refuse_read_only(definition)?;
            check::normalise(definition.name, definition.kind, value)
        }
        None if name.contains('.') && !name.to_lowercase().starts_with("staffa.") => {
            check_custom_name(name)?;
            Ok(value.to_owned())
        }
        None => Err(unchangeable(name)),
    }
}

fn check_custom_name(name: &str) -> Result<()> {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let is_identifier =
        |part: &str| part.starts_with(is_start) && part.chars().all(|c| is_start(c) || c.is_ascii_digit() || c == '$');
    if name.split('.').all(is_identifier) {
        return Ok(());
    }
    let message = format!("invalid configuration parameter name \"{name}\"");
    let detail = "Custom parameter names must be two or more simple identifiers separated by dots.";
    Err(Error::new(ErrorKind::InvalidName, message).with_detail(detail))
}

fn refuse_read_only(definition: &Definition) -> Result<()> {
    match definition.kind {
        Kind::ReadOnly => Err(Error::new(
            ErrorKind::CannotChangeRuntimeParameter,
            format!("parameter \"{}\" cannot be changed", definition.name),
        )),
        _ => Ok(()),
    }
}

fn definitions() -> impl Iterator<Item = &'static Definition> {
    DEFINITIONS.iter().chain(limits::DEFINITIONS).chain(tuning::DEFINITIONS)
}

fn definition(name: &str) -> Option<&'static Definition> {
    definitions().find(|definition| definition.name.eq_ignore_ascii_case(name))
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

/// A parameter of PostgreSQL that no statement changes there either, or one that is not known.
fn unchangeable(name: &str) -> Error {
    let what = match postgres_setting_context(&name.to_lowercase()) {
        Some("postmaster") => "cannot be changed without restarting the server",
        Some("sighup") => "cannot be changed now",
        Some("internal") => "cannot be changed",
        _ => return unknown(name),
    };
    let message = format!("parameter \"{}\" {what}", name.to_lowercase());
    Error::new(ErrorKind::CannotChangeRuntimeParameter, message)
}

fn unknown(name: &str) -> Error {
    Error::new(
        ErrorKind::UndefinedObject,
        format!("unrecognized configuration parameter \"{name}\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_local_ends_with_the_transaction_and_reset_goes_back_to_login() {
        let mut settings = Settings::new("admin", true);
        settings.set_default("application_name", "psql").expect("known");
        settings.set("application_name", Some("a"), false).expect("known");
        settings.set("application_name", Some("b"), true).expect("known");
        assert_eq!(settings.get("Application_Name"), Some("b"));
        settings.end_transaction();
        assert_eq!(settings.get("application_name"), Some("a"));
        settings.reset("application_name").expect("known");
        assert_eq!(settings.get("application_name"), Some("psql"));
    }

    #[test]
    fn unknown_and_fixed_settings_are_refused() {
        let mut settings = Settings::new("admin", true);
        let kind = |result: Result<()>| result.map_err(|error| error.kind());
        assert_eq!(
            kind(settings.set("nope", Some("1"), false)),
            Err(ErrorKind::UndefinedObject)
        );
        assert_eq!(
            kind(settings.set("staffa.nope", Some("1"), false)),
            Err(ErrorKind::UndefinedObject)
        );
        assert_eq!(
            kind(settings.set("server_version", Some("1"), false)),
            Err(ErrorKind::CannotChangeRuntimeParameter)
        );
        assert_eq!(
            kind(settings.set("statement_timeout", Some("soon"), false)),
            Err(ErrorKind::InvalidParameterValue)
        );
        assert_eq!(
            kind(settings.set("intervalstyle", Some("iso_8601"), false)),
            Err(ErrorKind::FeatureNotSupported)
        );
        assert!(settings.set("my.own", Some("1"), false).is_ok());
        assert_eq!(settings.get("my.own"), Some("1"));
    }

    #[test]
    fn search_path_is_split_as_identifiers() {
        let mut settings = Settings::new("admin", true);
        assert_eq!(settings.search_path("admin"), ["admin", "public"]);
        settings
            .set("search_path", Some("Sales, \"Odd, Name\", public"), false)
            .expect("valid");
        assert_eq!(settings.search_path("admin"), ["sales", "Odd, Name", "public"]);
    }
}
