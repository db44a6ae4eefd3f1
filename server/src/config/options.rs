//! The one list of settings: flags, environment, file keys, `--help` and `config show` all come from it.

use std::sync::LazyLock;

/// How the text of a setting is used before it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// In a file, relative to that file.
    Path,
    /// May hold a password, which is never shown.
    Url,
    /// The flag may stand alone and then means `true`.
    Switch,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct OptionSpec {
    /// The key in the file; a dot means a TOML table. The flag is `--` with dashes, the variable `STAFFA_` in capitals.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) value_name: &'static str,
    pub(crate) default: Option<&'static str>,
    /// Variables of other tools that mean the same, looked at after ours.
    pub(crate) also_env: &'static [&'static str],
    /// Never shown, and no flag: other users see a process's arguments.
    pub(crate) secret: bool,
    pub(crate) help: &'static str,
}

impl OptionSpec {
    pub(crate) fn flag(&self) -> &'static str {
        /// Made once, because the parser of flags keeps names for ever.
        static FLAGS: LazyLock<Vec<String>> =
            LazyLock::new(|| OPTIONS.iter().map(|spec| spec.key.replace(['_', '.'], "-")).collect());
        let index = OPTIONS
            .iter()
            .position(|spec| spec.key == self.key)
            .expect("every setting is in the list");
        &FLAGS[index]
    }

    pub(crate) fn env(&self) -> String {
        format!("STAFFA_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }
}

const fn option(
    key: &'static str,
    kind: Kind,
    value_name: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        key,
        kind,
        value_name,
        default,
        also_env: &[],
        secret: false,
        help,
    }
}

const fn s3(key: &'static str, also_env: &'static [&'static str], secret: bool, help: &'static str) -> OptionSpec {
    OptionSpec {
        key,
        kind: Kind::Text,
        value_name: "TEXT",
        default: None,
        also_env,
        secret,
        help,
    }
}

/// Every setting, in the order `config show` prints them.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    option(
        "data",
        Kind::Path,
        "DIR",
        Some("./staffa_data"),
        "Directory of the catalog and, unless a warehouse is set, of the tables",
    ),
    OptionSpec {
        key: "catalog",
        kind: Kind::Url,
        value_name: "URL",
        default: None,
        also_env: &[],
        secret: false,
        help: "Catalog database: postgres://USER:PASSWORD@HOST/DATABASE, which several servers may share, or sqlite:PATH \
               [default: inside the data directory]",
    },
    option(
        "warehouse",
        Kind::Text,
        "URL",
        None,
        "Where new tables' files go: a directory, s3://BUCKET/PREFIX, or gs:// and az:// in a build with them \
         [default: inside the data directory]",
    ),
    option(
        "listen",
        Kind::Text,
        "HOST:PORT",
        Some("127.0.0.1:5432"),
        "Addresses to listen on, separated by commas",
    ),
    option(
        "rest",
        Kind::Text,
        "HOST:PORT",
        None,
        "Addresses of the Iceberg REST catalog for other engines, separated by commas [default: off]",
    ),
    option(
        "health",
        Kind::Text,
        "HOST:PORT",
        None,
        "Addresses of /livez, /readyz and /metrics (Prometheus), separated by commas; they ask nobody who it is [default: off]",
    ),
    option(
        "traces",
        Kind::Url,
        "URL",
        None,
        "Collector of OpenTelemetry traces (OTLP over HTTP) of connections and statements, e.g. http://127.0.0.1:4318 [default: off]",
    ),
    option(
        "auth",
        Kind::Text,
        "scram|trust",
        Some("scram"),
        "How clients prove who they are; trust only where every address is loopback",
    ),
    option(
        "hba_file",
        Kind::Path,
        "FILE",
        None,
        "Rules of who may log in from where and how, in the format of pg_hba.conf; read again when it changes, and used in the \
         place of auth",
    ),
    option(
        "password_min_length",
        Kind::Text,
        "COUNT",
        Some("0"),
        "Length that new passwords must have; if it is not 0, they must have letters and others, and not the role's name in them",
    ),
    option(
        "audit",
        Kind::Text,
        "LIST",
        Some("login,ddl,role,denied"),
        "What is written to the audit log: login, ddl, role, denied, privileged, read, write; all or none",
    ),
    option(
        "audit_dir",
        Kind::Path,
        "DIR",
        None,
        "Directory of the audit log [default: audit inside the data directory]",
    ),
    option(
        "audit_file_size",
        Kind::Text,
        "SIZE",
        Some("64MiB"),
        "Size at which a file of the audit log is closed",
    ),
    option(
        "audit_files",
        Kind::Text,
        "COUNT",
        Some("16"),
        "Closed files of the audit log that are kept",
    ),
    OptionSpec {
        key: "admin_password",
        kind: Kind::Text,
        value_name: "TEXT",
        default: None,
        also_env: &[],
        secret: true,
        help: "Password of the role admin [default: random, printed once at the first start]",
    },
    option(
        "tls_cert",
        Kind::Path,
        "FILE",
        None,
        "Certificate chain, PEM; a bad one refuses to start",
    ),
    option(
        "tls_key",
        Kind::Path,
        "FILE",
        None,
        "Private key of the certificate, PEM",
    ),
    option(
        "tls_client_ca",
        Kind::Path,
        "FILE",
        None,
        "Authorities that sign clients' certificates, PEM: clients are asked for one, and rules of logins (hba_file) may demand it",
    ),
    option(
        "tls_client_crl",
        Kind::Path,
        "FILE",
        None,
        "Lists of clients' certificates that were revoked, PEM: one of each authority",
    ),
    option(
        "tls_required",
        Kind::Switch,
        "BOOL",
        Some("false"),
        "Refuse clients that do not use TLS",
    ),
    option(
        "max_connections",
        Kind::Text,
        "COUNT",
        Some("100"),
        "Clients at the same time",
    ),
    option(
        "login_timeout",
        Kind::Text,
        "TIME",
        Some("10s"),
        "Time a client has to log in",
    ),
    option(
        "idle_timeout",
        Kind::Text,
        "TIME",
        Some("off"),
        "Close sessions that were idle this long",
    ),
    option(
        "shutdown_grace",
        Kind::Text,
        "TIME",
        Some("10s"),
        "Time running statements get when the server stops",
    ),
    option(
        "memory_limit",
        Kind::Text,
        "SIZE",
        Some("70%"),
        "Memory for queries and caches: a size, or a share of the machine's (or its cgroup's) memory",
    ),
    option(
        "memory_ceiling",
        Kind::Text,
        "SIZE",
        None,
        "Memory of the whole process before its largest statement is ended [default: a quarter (512MiB at least) above memory_limit, \
         at most 90% of the machine's]",
    ),
    option(
        "max_running",
        Kind::Text,
        "COUNT",
        None,
        "Statements that read or write tables at the same time; others wait in a queue [default: no limit]",
    ),
    option(
        "settings",
        Kind::Text,
        "NAME=VALUE;...",
        None,
        "What sessions begin with, e.g. staffa.max_memory=2GB;statement_timeout=5min (SHOW ALL lists them)",
    ),
    option(
        "column_cache",
        Kind::Text,
        "SIZE",
        None,
        "Memory of that limit for decoded columns, while no query needs it; 0 keeps none [default: half of it]",
    ),
    option(
        "spill_dir",
        Kind::Path,
        "DIR",
        None,
        "Where queries spill that do not fit memory [default: inside the data directory]",
    ),
    option(
        "spill_limit",
        Kind::Text,
        "SIZE",
        Some("64GiB"),
        "Disk that all spilling queries may use together",
    ),
    option(
        "threads",
        Kind::Text,
        "COUNT",
        None,
        "Threads that run queries [default: one for each core]",
    ),
    option(
        "maintenance",
        Kind::Switch,
        "BOOL",
        Some("true"),
        "Whether small files are merged and old snapshots forgotten in the background",
    ),
    option(
        "maintenance_interval",
        Kind::Text,
        "TIME",
        Some("30s"),
        "Time between two looks at all tables; many commits make the next one come earlier",
    ),
    option(
        "maintenance_io",
        Kind::Text,
        "SIZE",
        Some("64MiB"),
        "Bytes that background maintenance may read and write in a second",
    ),
    option(
        "maintenance_threads",
        Kind::Text,
        "N",
        Some("1"),
        "Threads that background maintenance may keep busy",
    ),
    option(
        "maintenance_snapshots",
        Kind::Text,
        "N",
        Some("1000"),
        "Snapshots that a branch of a table keeps at most, whatever their age",
    ),
    option(
        "target_file_size",
        Kind::Text,
        "SIZE",
        Some("256MiB"),
        "Size of the Parquet files that writes aim for",
    ),
    s3(
        "s3.region",
        &["AWS_REGION", "AWS_DEFAULT_REGION"],
        false,
        "Region of the S3 bucket",
    ),
    s3(
        "s3.endpoint",
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        false,
        "Another S3 service than AWS, e.g. https://minio.example.org",
    ),
    s3("s3.access_key", &["AWS_ACCESS_KEY_ID"], true, "Access key id for S3"),
    s3(
        "s3.secret_key",
        &["AWS_SECRET_ACCESS_KEY"],
        true,
        "Secret access key for S3",
    ),
    s3(
        "s3.session_token",
        &["AWS_SESSION_TOKEN"],
        true,
        "Session token of temporary S3 credentials",
    ),
    option(
        "s3.allow_http",
        Kind::Switch,
        "BOOL",
        Some("false"),
        "Allow an S3 endpoint without TLS",
    ),
    option(
        "log_format",
        Kind::Text,
        "text|json",
        Some("text"),
        "How log lines look (they go to stderr)",
    ),
    option(
        "log_level",
        Kind::Text,
        "LEVEL",
        Some("info"),
        "error, warn, info, debug, trace, or a filter like info,staffa=debug",
    ),
    option(
        "slow_query",
        Kind::Text,
        "TIME",
        Some("5s"),
        "Log statements that take longer; off for none",
    ),
];

/// The setting with this key.
pub(crate) fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|spec| spec.key == key)
}
