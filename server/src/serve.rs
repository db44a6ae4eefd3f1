//! `staffa serve`: opens the warehouse, listens, and ends well.

mod lock;
mod password;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use staffa::{S3Options, Warehouse};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::auth::AuthMode;
use crate::auth::rules::Rules;
use crate::cli::Failure;
use crate::config::{Config, S3};
use crate::health;
use crate::listen::{ServerOptions, bind};
use crate::rest::{self, RestOptions};
use crate::tls::Tls;
use crate::traces::Traces;

use lock::DirectoryLock;

/// Runs a server until it is told to stop.
///
/// # Errors
/// Anything that keeps it from starting.
pub(crate) fn run(config: Config) -> Result<(), Failure> {
    crate::log::start(config.log_format, &config.log_level, config.slow_query);
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let node = Node::open(config).await?;
        node.serve(|places| greet(places, &[])).await
    });
    // Whatever still runs was given its time.
    runtime.shutdown_background();
    result
}

/// Stack of a thread for sockets. A statement that writes is polled here, through all of its layers: over 2 MiB in a debug
/// build.
const IO_STACK_BYTES: usize = 8 << 20;

/// Sockets and files have threads of their own: queries run on the engine's, and cannot starve them.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 8))
        .thread_name("staffa-io")
        .thread_stack_size(IO_STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start threads: {error}")))
}

/// Where a server listens, with real ports.
pub(crate) struct Places {
    postgres: Vec<SocketAddr>,
    /// URLs of the REST catalog.
    rest: Vec<String>,
    /// URLs of health and metrics.
    health: Vec<String>,
}

/// A data directory that this process serves.
pub(crate) struct Node {
    pub(crate) warehouse: Warehouse,
    config: Config,
    /// Read first of all: a bad certificate leaves nothing behind.
    tls: Option<Arc<Tls>>,
    /// Held as long as the server runs.
    _lock: DirectoryLock,
}

impl Node {
    /// Checks the directory, takes its lock and opens the warehouse.
    pub(crate) async fn open(config: Config) -> Result<Self, Failure> {
        let tls = config
            .tls
            .as_ref()
            .map(|files| Tls::load(files.clone()).map(Arc::new))
            .transpose()?;
        make_directory(&config.data)?;
        let lock = DirectoryLock::take(&config.data)?;
        let warehouse = Warehouse::open(engine_config(&config)?).await.map_err(|error| {
            let failure = Failure::from(error);
            failure.before(&format!("cannot open the warehouse in {}", config.data.display()))
        })?;
        Ok(Self {
            warehouse,
            config,
            tls,
            _lock: lock,
        })
    }

    /// Listens until SIGINT or SIGTERM; `ready` is told where.
    pub(crate) async fn serve(self, ready: impl FnOnce(&Places)) -> Result<(), Failure> {
        let Self {
            warehouse,
            config,
            tls,
            _lock,
        } = self;
        let encrypted = tls.is_some();
        let certificate = tls.clone();
        let rules = match &config.hba_file {
            Some(path) => {
                let verifies_clients = tls.as_ref().is_some_and(|tls| tls.verifies_clients());
                Some(Arc::new(Rules::open(path, verifies_clients).map_err(Failure::new)?))
            }
            None => None,
        };
        if let Some(rules) = &rules {
            let rules = Arc::clone(rules);
            warehouse.show_login_rules(move || rules.rows());
        }
        let rest_options = RestOptions {
            listen: config.rest.clone(),
            // Rules decide in its place, and none of them lets anybody in here without a token.
            auth: rules.as_ref().map_or(config.auth, |_| AuthMode::Scram),
            rules: rules.clone(),
            tls: tls.clone(),
            max_connections: config.max_connections,
            shutdown_grace: config.shutdown_grace,
        };
        let traces = config
            .traces
            .as_ref()
            .map(|collector| Traces::start(collector, &warehouse))
            .transpose()?;
        let options = ServerOptions {
            traces: traces.clone(),
            listen: config.listen.clone(),
            rules: rules.clone(),
            auth: config.auth,
            tls,
            tls_required: config.tls_required,
            max_connections: config.max_connections,
            login_timeout: config.login_timeout,
            idle_timeout: config.idle_timeout,
            shutdown_grace: config.shutdown_grace,
        };
        // The address first: a password that is told only once must not be told by a server that then fails to start.
        let server = bind(warehouse.clone(), options).await?;
        let rest = rest::bind(warehouse.clone(), rest_options)?;
        let health = health::bind(warehouse.clone(), &config.health)?;
        password::settle(&warehouse, &config).await?;
        let stop = CancellationToken::new();
        let places = Places {
            postgres: server.local_addrs().to_vec(),
            rest: rest.urls(),
            health: health.urls(),
        };
        health.start(stop.clone())?;
        let renewal = certificate
            .map(|tls| Ok::<_, Failure>(tokio::spawn(watch_certificate(tls)?)))
            .transpose()?;
        let watcher = tokio::spawn(watch_signals(stop.clone())?);
        let listed: Vec<String> = places.postgres.iter().map(ToString::to_string).collect();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            data = %config.data.display(),
            listen = listed.join(","),
            rest = places.rest.join(","),
            health = places.health.join(","),
            tls = encrypted,
            "ready"
        );
        if !encrypted && !config.only_loopback() {
            tracing::warn!("clients from other machines connect without encryption: set tls_cert and tls_key");
        }
        ready(&places);
        tokio::join!(server.run(stop.clone()), rest.run(stop));
        if let Some(traces) = traces {
            traces.finish().await;
        }
        warehouse.close().await;
        watcher.abort();
        if let Some(renewal) = renewal {
            renewal.abort();
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// The engine's part of the settings.
pub(crate) fn engine_config(config: &Config) -> Result<staffa::Config, Failure> {
    let mut engine = staffa::Config::new(&config.data);
    engine.memory_limit_bytes = config.memory_limit_bytes;
    engine.memory_ceiling_bytes = config.memory_ceiling_bytes;
    engine.running_max = config.max_running;
    engine.settings.clone_from(&config.settings);
    engine.column_cache_bytes = config.column_cache_bytes;
    engine.spill_dir.clone_from(&config.spill_dir);
    engine.spill_limit_bytes = config.spill_limit_bytes;
    engine.threads = config.threads;
    engine.target_file_bytes = config.target_file_bytes;
    engine.catalog = config.catalog.clone().map(staffa::Secret::new);
    engine.maintenance.clone_from(&config.maintenance);
    engine.audit.clone_from(&config.audit);
    engine.password_min_length = config.password_min_length;
    engine.warehouse = config.warehouse.as_deref().map(location).transpose()?;
    // A shared catalog may name a place on S3 where this server's settings do not.
    let on_s3 = engine
        .warehouse
        .as_deref()
        .is_some_and(|location| location.starts_with("s3://"));
    if on_s3 || config.s3.region.is_some() || config.s3.endpoint.is_some() {
        engine.s3 = Some(s3_options(&config.s3)?);
    }
    Ok(engine)
}

/// A location as the engine wants it: a directory becomes a `file://` URL.
pub(crate) fn location(text: &str) -> Result<String, Failure> {
    if ["file:///", "s3://", "gs://", "az://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return Ok(text.to_owned());
    }
    if text.contains("://") {
        return Err(Failure::new(format!(
            "cannot keep files in {text:?}: it must be a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or \
             az://CONTAINER/PREFIX"
        )));
    }
    let absolute = std::path::absolute(text)
        .map_err(|error| Failure::new(format!("cannot use the warehouse directory {text:?}: {error}")))?;
    Ok(format!("file://{}", absolute.display()))
}

fn s3_options(s3: &S3) -> Result<S3Options, Failure> {
    let region = match (&s3.region, &s3.endpoint) {
        (Some(region), _) => region.clone(),
        // Other services take any region, but requests must name one.
        (None, Some(_)) => "us-east-1".to_owned(),
        (None, None) => return Err(Failure::new("a warehouse on S3 needs s3.region")),
    };
    if s3.access_key.is_some() != s3.secret_key.is_some() {
        return Err(Failure::new(
            "s3.access_key and s3.secret_key belong together: only one is set",
        ));
    }
    let secret = |text: &Option<String>| staffa::Secret::new(text.clone().unwrap_or_default());
    Ok(S3Options {
        region,
        endpoint: s3.endpoint.clone(),
        access_key: secret(&s3.access_key),
        secret_key: secret(&s3.secret_key),
        session_token: s3.session_token.clone().map(staffa::Secret::new),
        allow_http: s3.allow_http,
    })
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    let failed = |what: &str, error: &std::io::Error| {
        Failure::new(format!("cannot {what} the data directory {}: {error}", path.display()))
            .with_hint("choose one with --data")
    };
    std::fs::create_dir_all(path).map_err(|error| failed("make", &error))?;
    let probe: PathBuf = path.join(format!(".staffa-probe-{}", uuid::Uuid::now_v7()));
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| failed("write to", &error))
}

/// Cancels `stop` at the first signal and ends the process at the second. Signals count from this call on.
fn watch_signals(stop: CancellationToken) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("cannot watch for signals: {error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        for count in 0.. {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if count > 0 {
                tracing::warn!(signal = name, "stopping at once");
                // Safe at any moment: a commit is one swap in the catalog.
                std::process::exit(130);
            }
            tracing::info!(signal = name, "stopping; a second signal stops at once");
            stop.cancel();
        }
    })
}

/// How often the files of the certificate are looked at.
const CERTIFICATE_PERIOD: Duration = Duration::from_secs(60);

/// Takes a new certificate at SIGHUP, and when its files have changed. Sessions that are open keep theirs.
fn watch_certificate(tls: Arc<Tls>) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|error| Failure::new(format!("cannot watch for signals: {error}")))?;
    Ok(async move {
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(CERTIFICATE_PERIOD) => false,
            };
            match tls.renew(asked) {
                Ok(false) => {}
                Ok(true) => tracing::info!("new connections get the new certificate"),
                // The one before is still good, or as good as before.
                Err(error) => tracing::error!("the new certificate is not used: {}", error.message()),
            }
        }
    })
}

/// Tells a person how to connect.
pub(crate) fn greet(places: &Places, more: &[String]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let listed: Vec<String> = places.postgres.iter().map(ToString::to_string).collect();
    // Nobody may be reading; the server runs all the same.
    let _ = writeln!(
        out,
        "staffa {} is ready on {}",
        env!("CARGO_PKG_VERSION"),
        listed.join(", ")
    );
    if let Some(address) = places.postgres.first() {
        let _ = writeln!(out, "\n  {}", psql_line(*address));
    }
    for url in &places.rest {
        let _ = writeln!(out, "  Iceberg REST catalog: {url}");
    }
    for url in &places.health {
        let _ = writeln!(out, "  Health and metrics: {url}");
    }
    for line in more {
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
}

/// The command that connects to an address.
fn psql_line(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        ip if ip.is_ipv4() => "127.0.0.1".to_owned(),
        _ => "::1".to_owned(),
    };
    format!(
        "psql \"host={host} port={} user={} dbname={}\"",
        address.port(),
        staffa::DEFAULT_ROLE,
        staffa::DEFAULT_DATABASE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_psql_line_names_an_address_one_can_connect_to() {
        let line = |text: &str| psql_line(text.parse().expect("an address"));
        assert_eq!(
            line("127.0.0.1:5433"),
            "psql \"host=127.0.0.1 port=5433 user=admin dbname=staffa\""
        );
        assert_eq!(
            line("0.0.0.0:1"),
            "psql \"host=127.0.0.1 port=1 user=admin dbname=staffa\""
        );
        assert_eq!(line("[::]:1"), "psql \"host=::1 port=1 user=admin dbname=staffa\"");
    }

    #[test]
    fn locations_of_tables() {
        assert_eq!(location("s3://b/p").as_deref(), Ok("s3://b/p"));
        assert_eq!(location("gs://b/p").as_deref(), Ok("gs://b/p"));
        assert_eq!(location("/srv/w").as_deref(), Ok("file:///srv/w"));
        assert!(location("w").expect("relative").starts_with("file:///"));
        assert!(location("ftp://x").is_err());
    }

    #[test]
    fn s3_needs_a_region_or_an_endpoint_and_whole_credentials() {
        let mut s3 = S3::default();
        assert!(s3_options(&s3).is_err());
        s3.endpoint = Some("http://127.0.0.1:9000".to_owned());
        let options = s3_options(&s3).expect("valid");
        assert_eq!(options.region, "us-east-1");
        s3.access_key = Some("a".to_owned());
        assert!(s3_options(&s3).is_err());
    }
}
