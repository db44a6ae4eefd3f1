//! What the server is told by flags, environment and file, in two types: [`RawConfig`], texts with their origins,
//! and [`Config`], values that were checked. Only the second may touch the world.
//!
//! Precedence: flags, then `STAFFA_*` environment, then the file, then defaults.

mod file;
mod options;
mod raw;
mod show;
pub(crate) mod units;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::auth::AuthMode;
use crate::cli::Failure;
use crate::tls::TlsFiles;

use options::OPTIONS;
pub(crate) use raw::Flags as RawFlags;
pub use raw::RawConfig;
pub(crate) use raw::{Origin, RawValue};
pub(crate) use show::show;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Object store settings; what is absent is taken from the store's own defaults.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3 {
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub session_token: Option<String>,
    pub allow_http: bool,
}

/// The settings of one process, checked and complete.
#[derive(Clone)]
pub struct Config {
    pub data: PathBuf,
    pub listen: Vec<SocketAddr>,
    /// Where other engines find the Iceberg REST catalog; empty: nowhere.
    pub rest: Vec<SocketAddr>,
    /// Where health and metrics are told; empty: nowhere.
    pub health: Vec<SocketAddr>,
    /// Where OpenTelemetry traces go; `None`: there are none.
    pub traces: Option<url::Url>,
    pub auth: AuthMode,
    /// Rules of logins, in the place of `auth`.
    pub hba_file: Option<PathBuf>,
    /// How long new passwords must be; 0: as they like.
    pub password_min_length: usize,
    /// `None`: nothing is audited.
    pub audit: Option<staffa::AuditConfig>,
    pub tls: Option<TlsFiles>,
    /// Clients without TLS are refused.
    pub tls_required: bool,
    pub max_connections: usize,
    pub login_timeout: Duration,
    /// `None`: a silent client may stay for ever.
    pub idle_timeout: Option<Duration>,
    /// What running statements get after the order to stop.
    pub shutdown_grace: Duration,
    pub memory_limit_bytes: u64,
    /// `None`: worked out from the limit.
    pub memory_ceiling_bytes: Option<u64>,
    /// Statements at a time; `None`: as many as want to.
    pub max_running: Option<usize>,
    /// Settings that sessions begin with.
    pub settings: Vec<(String, String)>,
    /// `None`: half of the memory limit.
    pub column_cache_bytes: Option<u64>,
    /// `None`: a directory inside `data`.
    pub spill_dir: Option<PathBuf>,
    pub spill_limit_bytes: u64,
    /// `None`: one for each core.
    pub threads: Option<usize>,
    /// The catalog database; `None`: a file inside `data`.
    pub catalog: Option<String>,
    /// Where new tables' files go; `None`: a directory inside `data`.
    pub warehouse: Option<String>,
    pub target_file_bytes: u64,
    /// Background upkeep; `None`: switched off.
    pub maintenance: Option<staffa::Maintenance>,
    pub s3: S3,
    pub log_format: LogFormat,
    pub log_level: String,
    /// Statements longer than this are logged; `None`: none are.
    pub slow_query: Option<Duration>,
    pub admin_password: Option<String>,
}

/// The demo's default for `auth`: trust while nobody else can reach it. Nobody can say it aloud.
pub(crate) const AUTO_AUTH: &str = "auto";

impl Config {
    /// Checks every value; the first wrong one is named with the place it came from.
    ///
    /// # Errors
    /// A value that cannot be read, or values that contradict each other.
    pub fn resolve(raw: &RawConfig) -> Result<Self, Failure> {
        let listen = raw.parse("listen", parse_listen)?;
        let rest = raw.parse_optional("rest", parse_rest)?.unwrap_or_default();
        let auth = match raw.value("auth") {
            Some(RawValue {
                text,
                origin: Origin::Default,
            }) if text == AUTO_AUTH => {
                if all_loopback(&listen) && all_loopback(&rest) {
                    AuthMode::Trust
                } else {
                    AuthMode::Scram
                }
            }
            _ => raw.parse("auth", parse_auth)?,
        };
        if auth == AuthMode::Trust
            && let Some((setting, open)) = open_address(&listen, &rest)
        {
            return Err(Failure::new(format!(
                "auth = trust lets anybody in, so it is only for loopback addresses, but {setting} has {open}"
            ))
            .with_hint("use --auth scram, or listen on 127.0.0.1"));
        }
        let tls = match (raw.path("tls_cert"), raw.path("tls_key")) {
            (Some(cert), Some(key)) => Some(TlsFiles {
                cert,
                key,
                client_ca: raw.path("tls_client_ca"),
                client_crl: raw.path("tls_client_crl"),
            }),
            (None, None) => None,
            (Some(_), None) => return Err(Failure::new("tls_cert is set but tls_key is not: TLS needs both")),
            (None, Some(_)) => return Err(Failure::new("tls_key is set but tls_cert is not: TLS needs both")),
        };
        for (setting, needed) in [("tls_client_ca", "tls_cert"), ("tls_client_crl", "tls_client_ca")] {
            if raw.path(setting).is_some() && raw.path(needed).is_none() {
                return Err(Failure::new(format!("{setting} is set but {needed} is not")));
            }
        }
        let tls_required = raw.parse("tls_required", parse_bool)?;
        if tls_required && tls.is_none() {
            return Err(Failure::new(
                "tls_required is on, but there is no certificate: set tls_cert and tls_key",
            ));
        }
        Ok(Self {
            data: raw
                .path("data")
                .ok_or_else(|| Failure::new("no data directory is set"))?,
            listen,
            rest,
            health: raw.parse_optional("health", parse_rest)?.unwrap_or_default(),
            traces: raw.parse_optional("traces", parse_collector)?.flatten(),
            auth,
            hba_file: raw.path("hba_file"),
            password_min_length: raw.parse("password_min_length", |text| parse_count(text, 0, 1000))?,
            audit: parse_audit(raw)?,
            tls,
            tls_required,
            max_connections: raw.parse("max_connections", |text| parse_count(text, 1, 100_000))?,
            login_timeout: raw.parse("login_timeout", |text| {
                units::duration(text)?
                    .filter(|time| !time.is_zero())
                    .ok_or_else(|| "must be longer than 0".to_owned())
            })?,
            idle_timeout: raw.parse("idle_timeout", |text| {
                Ok(units::duration(text)?.filter(|time| !time.is_zero()))
            })?,
            shutdown_grace: raw.parse("shutdown_grace", |text| Ok(units::duration(text)?.unwrap_or_default()))?,
            memory_limit_bytes: raw.parse("memory_limit", parse_memory)?,
            memory_ceiling_bytes: raw.parse_optional("memory_ceiling", parse_memory)?,
            max_running: raw.parse_optional("max_running", |text| parse_count(text, 1, 100_000))?,
            settings: raw.parse_optional("settings", parse_settings)?.unwrap_or_default(),
            column_cache_bytes: raw.parse_optional("column_cache", units::size)?,
            spill_dir: raw.path("spill_dir"),
            spill_limit_bytes: raw.parse("spill_limit", units::size)?,
            threads: raw.parse_optional("threads", |text| parse_count(text, 1, 1024))?,
            catalog: raw.parse_optional("catalog", parse_catalog)?,
            warehouse: raw.text("warehouse").map(str::to_owned),
            target_file_bytes: raw.parse("target_file_size", parse_file_size)?,
            maintenance: parse_maintenance(raw)?,
            s3: S3 {
                region: raw.text("s3.region").map(str::to_owned),
                endpoint: raw.text("s3.endpoint").map(str::to_owned),
                access_key: raw.text("s3.access_key").map(str::to_owned),
                secret_key: raw.text("s3.secret_key").map(str::to_owned),
                session_token: raw.text("s3.session_token").map(str::to_owned),
                allow_http: raw.parse("s3.allow_http", parse_bool)?,
            },
            log_format: raw.parse("log_format", parse_log_format)?,
            log_level: raw.parse("log_level", parse_log_level)?,
            slow_query: raw.parse("slow_query", |text| {
                Ok(units::duration(text)?.filter(|time| !time.is_zero()))
            })?,
            admin_password: raw.parse_optional("admin_password", parse_password)?,
        })
    }

    /// True where nothing outside this machine can connect.
    pub fn only_loopback(&self) -> bool {
        all_loopback(&self.listen) && all_loopback(&self.rest)
    }
}

fn all_loopback(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().is_loopback())
}

/// The first address that others can reach, and the setting that has it.
fn open_address<'a>(listen: &'a [SocketAddr], rest: &'a [SocketAddr]) -> Option<(&'static str, &'a SocketAddr)> {
    let of = |setting, addresses: &'a [SocketAddr]| {
        let open = addresses.iter().find(|address| !address.ip().is_loopback());
        open.map(|address| (setting, address))
    };
    of("listen", listen).or_else(|| of("rest", rest))
}

fn parse_rest(text: &str) -> Result<Vec<SocketAddr>, String> {
    match text {
        "" | "off" => Ok(Vec::new()),
        _ => parse_listen(text),
    }
}

fn parse_collector(text: &str) -> Result<Option<url::Url>, String> {
    if matches!(text, "" | "off") {
        return Ok(None);
    }
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(url)),
        _ => Err("expected a URL like http://127.0.0.1:4318".to_owned()),
    }
}

/// `HOST:PORT[,HOST:PORT...]`; a name may stand for several addresses.
fn parse_listen(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let resolved = part.to_socket_addrs().map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => "expected HOST:PORT, e.g. 127.0.0.1:5432 or [::1]:5432".to_owned(),
            _ => format!("cannot look up {part:?}: {error}"),
        })?;
        for address in resolved {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    if addresses.is_empty() {
        return Err("expected at least one HOST:PORT".to_owned());
    }
    Ok(addresses)
}

fn parse_auth(text: &str) -> Result<AuthMode, String> {
    match text {
        "scram" => Ok(AuthMode::Scram),
        "trust" => Ok(AuthMode::Trust),
        _ => Err("expected scram or trust".to_owned()),
    }
}

fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

fn parse_log_level(text: &str) -> Result<String, String> {
    match crate::log::check_level(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(detail) => Err(format!(
            "expected error, warn, info, debug, trace or a filter like info,staffa=debug ({detail})"
        )),
    }
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

fn parse_catalog(text: &str) -> Result<String, String> {
    let kinds = ["postgres://", "postgresql://", "sqlite:"];
    match kinds.iter().any(|kind| text.starts_with(kind)) {
        true => Ok(text.to_owned()),
        false => Err("expected postgres://USER:PASSWORD@HOST/DATABASE or sqlite:PATH".to_owned()),
    }
}

fn parse_count(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.replace('_', "").parse::<usize>() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        _ => Err(format!("expected a whole number from {least} to {most}")),
    }
}

fn parse_audit(raw: &RawConfig) -> Result<Option<staffa::AuditConfig>, Failure> {
    let classes = raw.parse("audit", staffa::AuditClasses::parse)?;
    if classes == staffa::AuditClasses::default() {
        return Ok(None);
    }
    let directory = raw.path("audit_dir").or_else(|| Some(raw.path("data")?.join("audit")));
    Ok(Some(staffa::AuditConfig {
        directory: directory.ok_or_else(|| Failure::new("no data directory is set"))?,
        classes,
        file_bytes: raw.parse("audit_file_size", |text| match units::size(text)? {
            bytes if bytes >= 4096 => Ok(bytes),
            _ => Err("must be at least 4KiB".to_owned()),
        })?,
        files_kept: raw.parse("audit_files", |text| parse_count(text, 1, 10_000))?,
    }))
}

fn parse_maintenance(raw: &RawConfig) -> Result<Option<staffa::Maintenance>, Failure> {
    let maintenance = staffa::Maintenance {
        interval: raw.parse("maintenance_interval", |text| {
            units::duration(text)?
                .filter(|time| !time.is_zero())
                .ok_or_else(|| "must be longer than 0".to_owned())
        })?,
        io_bytes_per_second: raw.parse("maintenance_io", |text| match units::size(text)? {
            0 => Err("must be more than 0".to_owned()),
            bytes => Ok(bytes),
        })?,
        threads: raw.parse("maintenance_threads", |text| parse_count(text, 1, 1024))?,
        snapshots_max: raw.parse("maintenance_snapshots", |text| parse_count(text, 20, 1_000_000))?,
    };
    let is_on = raw.parse("maintenance", parse_bool)?;
    Ok(is_on.then_some(maintenance))
}

/// `NAME=VALUE;NAME=VALUE`; what the names mean is the engine's to know.
fn parse_settings(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(format!("expected NAME=VALUE;NAME=VALUE, not {part:?}")),
        })
        .collect()
}

/// Less than this and no query of any use would run.
const LEAST_MEMORY_BYTES: u64 = 64 << 20;

/// A size, or a share of what the machine (or its cgroup) has.
fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = match text.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent
                .trim()
                .parse()
                .map_err(|_| "expected a size like 4GiB or a share like 70%")?;
            if !(percent > 0.0 && percent <= 100.0) {
                return Err("a share must be above 0% and at most 100%".to_owned());
            }
            (staffa::machine_memory_bytes() as f64 * percent / 100.0) as u64
        }
        None => units::size(text).map_err(|_| "expected a size like 4GiB or a share like 70%".to_owned())?,
    };
    if bytes < LEAST_MEMORY_BYTES {
        return Err(format!("{} is too little: at least 64MiB", units::show_size(bytes)));
    }
    Ok(bytes)
}

fn parse_file_size(text: &str) -> Result<u64, String> {
    match units::size(text)? {
        bytes if (1 << 20..=16 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("expected a size from 1MiB to 16GiB".to_owned()),
    }
}

fn parse_password(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("the password is empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Makes a relative path of a configuration file relative to that file.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or_else(|| Path::new("")).join(path)
}

#[cfg(test)]
mod tests;
