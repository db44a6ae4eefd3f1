//! The command line: what can be said, and how refusals look.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{AUTO_AUTH, Config, RawConfig, RawFlags, show};
use crate::{backup, demo, serve, shell};

/// Why the program ends early: one line, and maybe what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    /// What the shell calls a stop by Ctrl-C; 1 for everything else.
    code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: 1,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says first what could not be done.
    pub(crate) fn before(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The user said stop: 128 + SIGINT, as shells count.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_numbers(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// The system's words for an error, without the number that Rust adds to them: ` (os error 13)`.
fn without_numbers(message: &str) -> String {
    const MARK: &str = " (os error ";
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(MARK) {
        let after = &rest[start + MARK.len()..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let closed = digits > 0 && after[digits..].starts_with(')');
        text.push_str(&rest[..if closed { start } else { start + MARK.len() }]);
        rest = if closed { &after[digits + 1..] } else { after };
    }
    text.push_str(rest);
    text
}

impl From<staffa::Error> for Failure {
    fn from(error: staffa::Error) -> Self {
        let mut message = error.message().to_owned();
        if let Some(detail) = error.detail() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self {
            message: message.replace('\n', "; "),
            hint: error.hint().map(str::to_owned),
            code: 1,
        }
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "staffa",
    version,
    about = "A SQL data warehouse: Iceberg tables, the Postgres protocol, one binary",
    propagate_version = true,
    after_help = "\
Examples:
  staffa demo                               a server with TPC-H data to try
  staffa serve --data /srv/warehouse        a server of your own
  staffa sql --data /srv/warehouse          a shell without a server
  staffa sql --host db1 --user admin        a shell on a server
  staffa backup --data DIR /mnt/backups     a copy of a warehouse, also while it is served
  staffa restore /mnt/backups --data DIR    a warehouse of it
  staffa doctor --data DIR                  what is wrong with a warehouse
  staffa config show                        every setting and where it came from"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a data directory over the Postgres protocol
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(RawFlags),
    /// Make TPC-H data, once, and serve it
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArguments),
    /// A SQL shell, on a data directory or on a server
    #[command(after_help = SQL_EXAMPLES)]
    Sql(SqlArguments),
    /// Back up a warehouse, which may be served and written to meanwhile; list and verify backups
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupArguments),
    /// Make a warehouse of a backup, in an empty directory
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArguments),
    /// Look for what is wrong with a warehouse; exits with 1 when something is broken
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArguments),
    /// Look at settings
    Config(ConfigArguments),
}

const SERVE_EXAMPLES: &str = "\
Settings come from flags, then STAFFA_* environment, then the file, then defaults.
Secrets have no flags: STAFFA_ADMIN_PASSWORD, STAFFA_S3_ACCESS_KEY, STAFFA_S3_SECRET_KEY, or the file.
Sizes: 512MiB, 4GiB (1024s), 4GB (1000s). Times: 500ms, 30s, 5min, 1h, off.

Examples:
  staffa serve --data /srv/warehouse
  staffa serve --data /srv/warehouse --listen 0.0.0.0:5432 --tls-cert cert.pem --tls-key key.pem --tls-required
  staffa serve --config /etc/staffa.toml --memory-limit 4GiB
  STAFFA_ADMIN_PASSWORD=secret staffa serve --warehouse s3://bucket/warehouse --s3-region eu-north-1

The file:
  data = \"/srv/warehouse\"
  listen = [\"127.0.0.1:5432\", \"[::1]:5432\"]
  memory_limit = \"60%\"
  [s3]
  region = \"eu-north-1\"";

const DEMO_EXAMPLES: &str = "\
Examples:
  staffa demo                                100 MB of TPC-H in ./staffa-demo, served on 127.0.0.1:5432
  staffa demo --scale 1 --data /tmp/tpch     a gigabyte, elsewhere
  staffa demo --listen 127.0.0.1:15432       where 5432 is taken

Tables that are there already are kept. On loopback no password is asked for.";

const SQL_EXAMPLES: &str = "\
Without --host the shell opens a data directory itself; no server is needed.
Over the network the password comes from STAFFA_PASSWORD or PGPASSWORD, or is asked for.

Examples:
  staffa sql --data ./staffa-demo
  staffa sql --data ./staffa-demo -c 'select count(*) from lineitem'
  staffa sql --data ./staffa-demo -c \"select * from 'events.parquet' limit 10\"
  staffa sql --host localhost --port 5432 --user admin -f report.sql --format csv > report.csv";

const BACKUP_EXAMPLES: &str = "\
A backup is all tables as of one commit. A place holds any number of backups of one warehouse: what an earlier one
has is not copied again. Settings of the warehouse come as for staffa serve; S3 is reached with the same s3.* settings.

Examples:
  staffa backup --data /srv/warehouse /mnt/backups
  staffa backup --config /etc/staffa.toml s3://bucket/backups --keep 14
  staffa backup --list /mnt/backups
  staffa backup --verify /mnt/backups        reads the newest whole and compares checksums";

const RESTORE_EXAMPLES: &str = "\
Every byte is compared with its checksum, and the tables' metadata gets the locations that hold in the new place.
With --warehouse the files go there, with --catalog the catalog goes into an empty PostgreSQL database.

Examples:
  staffa restore /mnt/backups --data /srv/restored
  staffa restore /mnt/backups --backup 20260102T030405.678Z-90 --data /srv/restored";

const DOCTOR_EXAMPLES: &str = "\
Reads the catalog and all metadata, looks for every file; with --deep also decodes every page of every file.
Changes nothing, unless --repair is said: that clears away what nothing needs.

Examples:
  staffa doctor --data /srv/warehouse
  staffa doctor --data /srv/warehouse --deep --json";

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArguments {
    /// Where backups are: a directory, s3://BUCKET/PREFIX, …
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    /// List the backups that are there, the oldest first
    #[arg(long, conflicts_with = "verify")]
    pub(crate) list: bool,
    /// Read a backup whole and compare it with its checksums
    #[arg(long)]
    pub(crate) verify: bool,
    /// When the backup is made, delete all older ones but so many, itself counted
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["list", "verify"], value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) keep: Option<u16>,
    /// Which one to verify [default: the newest]
    #[arg(long, value_name = "ID", requires = "verify")]
    pub(crate) backup: Option<String>,
    #[command(flatten)]
    pub(crate) settings: RawFlags,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArguments {
    /// Where backups are: a directory, s3://BUCKET/PREFIX, …
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    /// Which one to restore [default: the newest]
    #[arg(long, value_name = "ID")]
    pub(crate) backup: Option<String>,
    #[command(flatten)]
    pub(crate) settings: RawFlags,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArguments {
    /// Decode every page of every file, too
    #[arg(long)]
    pub(crate) deep: bool,
    /// Clear away first what nothing needs: files of dead transactions, orphans, leftovers
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: RawFlags,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// TPC-H scale factor: 1 is about a gigabyte as text
    #[arg(long, default_value_t = 0.1, value_parser = parse_scale, value_name = "FACTOR")]
    pub(crate) scale: f64,
    /// Load the tables and end, without serving
    #[arg(long)]
    pub(crate) load_only: bool,
    #[command(flatten)]
    pub(crate) settings: RawFlags,
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // Less and some tables are empty; more does not fit the generators' 32-bit supplier keys comfortably.
        Ok(scale) if (0.001..=10_000.0).contains(&scale) => Ok(scale),
        _ => Err("expected a number from 0.001 to 10000".to_owned()),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct SqlArguments {
    /// Data directory to open [env: STAFFA_DATA] [default: ./staffa_data]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["host", "port"])]
    pub(crate) data: Option<PathBuf>,
    /// Server to connect to [default with --port: PGHOST or localhost]
    #[arg(long, short = 'h', value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Port of the server [env: PGPORT] [default: 5432]
    #[arg(long, short = 'p', value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Role [env: PGUSER over the network] [default: admin]
    #[arg(long, short = 'U', value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Database [env: PGDATABASE over the network] [default: staffa]
    #[arg(long, short = 'd', value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// TLS: disable, prefer, require (no check of the certificate), verify-full (needs --tls-ca)
    #[arg(long, value_name = "MODE", default_value = "prefer")]
    pub(crate) tls: shell::TlsMode,
    /// Certificates that --tls verify-full trusts, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Run these statements or this \command and end (may be given several times)
    #[arg(short = 'c', long = "command", value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) commands: Vec<String>,
    /// Run the statements of this file and end; - is the standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "commands")]
    pub(crate) file: Option<PathBuf>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: shell::OutputFormat,
    /// Rows only: no header, no footer
    #[arg(long, short = 't')]
    pub(crate) tuples_only: bool,
    /// Text shown for NULL in aligned and unaligned output
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) null: String,
    /// Print how long each statement took
    #[arg(long)]
    pub(crate) timing: bool,
    /// Memory for an opened data directory, e.g. 2GiB [env: STAFFA_MEMORY_LIMIT] [default: 70%]
    #[arg(long, value_name = "SIZE", conflicts_with = "host")]
    pub(crate) memory_limit: Option<String>,
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, clap::Args)]
struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print each setting, its value and where it came from; secrets as ***
    #[command(
        after_help = "Examples:\n  staffa config show\n  STAFFA_THREADS=4 staffa config show --config /etc/staffa.toml"
    )]
    Show(RawFlags),
}

/// Runs the command line and prints what went wrong, if anything did.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come this way, too. Where nobody listens nothing can be told.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => dispatch(arguments.command),
        Err(error) => Err(Failure::new(error.to_string())),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "staffa: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn command() -> clap::Command {
    // `-h` is the host in the shell, as in psql, so the short flag of help is off there.
    Arguments::command()
        .mut_subcommand("sql", |sql| sql.disable_help_flag(true))
        .mut_subcommand("demo", |demo| {
            demo.mut_arg("data", |arg| {
                arg.help("Directory of the demo's data [env: STAFFA_DATA] [default: ./staffa-demo]")
            })
            .mut_arg("auth", |arg| {
                arg.help("How clients prove who they are [env: STAFFA_AUTH] [default: trust on loopback, else scram]")
            })
        })
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    match command {
        Command::Serve(flags) => serve::run(settings(&flags, &environment)?).map(|()| ExitCode::SUCCESS),
        Command::Demo(arguments) => {
            let defaults = [("data", "./staffa-demo"), ("auth", AUTO_AUTH)];
            let raw = RawConfig::gather(&arguments.settings, &environment, &defaults)?;
            demo::run(Config::resolve(&raw)?, arguments.scale, arguments.load_only).map(|()| ExitCode::SUCCESS)
        }
        Command::Sql(arguments) => shell::run(arguments, &environment),
        Command::Backup(arguments) => {
            let config = settings(&arguments.settings, &environment)?;
            backup::back_up(config, &arguments)
        }
        Command::Restore(arguments) => {
            let config = settings(&arguments.settings, &environment)?;
            backup::restore(config, &arguments)
        }
        Command::Doctor(arguments) => {
            let config = settings(&arguments.settings, &environment)?;
            backup::doctor(config, &arguments)
        }
        Command::Config(ConfigArguments {
            command: ConfigCommand::Show(flags),
        }) => {
            let raw = RawConfig::gather(&flags, &environment, &[])?;
            let config = Config::resolve(&raw)?;
            // A reader that went away (`| head`) is no failure.
            let _ = show(&raw, &config, &mut std::io::stdout().lock());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn settings(flags: &RawFlags, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Failure> {
    Config::resolve(&RawConfig::gather(flags, environment, &[])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_reach_the_settings() {
        let matches = command()
            .try_get_matches_from([
                "staffa",
                "serve",
                "--data",
                "d",
                "--s3-allow-http",
                "--tls-required=false",
            ])
            .expect("valid");
        let Command::Serve(flags) = Arguments::from_arg_matches(&matches).expect("valid").command else {
            panic!("serve")
        };
        assert_eq!(flags.values.get("data").map(String::as_str), Some("d"));
        assert_eq!(flags.values.get("s3.allow_http").map(String::as_str), Some("true"));
        assert_eq!(flags.values.get("tls_required").map(String::as_str), Some("false"));
        assert!(
            command()
                .try_get_matches_from(["staffa", "serve", "--s3-secret-key", "x"])
                .is_err()
        );
    }

    #[test]
    fn h_is_the_host_in_the_shell() {
        let matches = command()
            .try_get_matches_from(["staffa", "sql", "-h", "db1", "-p", "1"])
            .expect("valid");
        let Command::Sql(sql) = Arguments::from_arg_matches(&matches).expect("valid").command else {
            panic!("sql")
        };
        assert_eq!((sql.host.as_deref(), sql.port), (Some("db1"), Some(1)));
        let help = command()
            .try_get_matches_from(["staffa", "sql", "--help"])
            .expect_err("help");
        assert!(help.to_string().contains("-h, --host <HOST>"), "{help}");
    }

    #[test]
    fn failures_have_one_line_without_numbers_of_the_system() {
        let text = Failure::new("cannot a: No such file (os error 2): b (os error x)")
            .with_hint("c")
            .to_string();
        assert_eq!(text, "cannot a: No such file: b (os error x) (hint: c)");
    }

    #[test]
    fn scales_are_checked() {
        assert_eq!(parse_scale("0.1"), Ok(0.1));
        for text in ["0", "-1", "nan", "inf", "x", "1e9"] {
            assert!(parse_scale(text).is_err(), "{text}");
        }
    }
}
