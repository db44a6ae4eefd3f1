//! `staffa sql`: a shell for people and for scripts, on a data directory or on a server.

mod backend;
mod cells;
mod complete;
mod copy;
mod embedded;
mod error;
pub(crate) mod lexer;
mod meta;
mod password;
mod print;
mod progress;
mod remote;
mod session;
mod source;
mod tls;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::runtime::Runtime;

use crate::cli::{Failure, SqlArguments};
use crate::config::{Config, RawConfig, RawFlags};
use crate::serve;

use backend::Backend;
use complete::Assistant;
use embedded::{Embedded, Scratch};
use remote::{Remote, Target};
use session::Shell;
use source::{Prompt, Source};
use tls::Connector;

pub use print::OutputFormat;
pub use tls::TlsMode;

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Runs the shell to its end.
///
/// # Errors
/// The data directory or the server cannot be opened. What statements report is printed, and makes the exit code 1
/// where they come from `-c`, `-f` or a pipe.
pub(crate) fn run(arguments: SqlArguments, environment: Environment<'_>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("staffa-io")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start threads: {error}")))?;
    // Read before anything is opened: a wrong name should not cost a start.
    let script = script(&arguments)?;
    let (backend, home) = open(&runtime, &arguments, environment)?;
    let worked = match script {
        Some(scripts) => {
            let mut shell = Shell::new(&runtime, backend, &arguments)?;
            let worked = shell.run_scripts(scripts, !arguments.commands.is_empty());
            shell.close();
            worked
        }
        None => {
            let history = history_file(environment, home.as_deref());
            // The line editor first: it takes Ctrl-C's signal for itself, and the shell's own watch must come on top.
            let prompt = Prompt::new(history, Assistant::default())
                .map_err(|error| Failure::new(format!("cannot use the terminal: {error}")))?;
            let mut shell = Shell::new(&runtime, backend, &arguments)?;
            shell.converse(prompt);
            shell.close();
            true
        }
    };
    // A thread may still wait for the standard input; nothing of it matters now.
    runtime.shutdown_background();
    Ok(if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What to run without a prompt; `None` where a person types.
fn script(arguments: &SqlArguments) -> Result<Option<Vec<Source>>, Failure> {
    if !arguments.commands.is_empty() {
        return Ok(Some(arguments.commands.iter().cloned().map(Source::text).collect()));
    }
    match &arguments.file {
        Some(path) if path.as_os_str() == "-" => Ok(Some(vec![Source::standard_input()])),
        Some(path) => {
            let source =
                Source::file(path).map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
            Ok(Some(vec![source]))
        }
        None if std::io::stdin().is_terminal() => Ok(None),
        None => Ok(Some(vec![Source::standard_input()])),
    }
}

/// Opens what statements run on, and gives the data directory where there is one to keep.
fn open(
    runtime: &Runtime,
    arguments: &SqlArguments,
    environment: Environment<'_>,
) -> Result<(Backend, Option<PathBuf>), Failure> {
    if arguments.host.is_some() || arguments.port.is_some() {
        return connect(runtime, arguments, environment).map(|backend| (backend, None));
    }
    if arguments.tls_ca.is_some() {
        return Err(Failure::new("--tls-ca is for connections: it needs --host"));
    }
    let mut flags = RawFlags::default();
    if let Some(path) = &arguments.data {
        flags.values.insert("data", path.to_string_lossy().into_owned());
    }
    if let Some(limit) = &arguments.memory_limit {
        flags.values.insert("memory_limit", limit.clone());
    }
    let raw = RawConfig::gather(&flags, environment, &[("log_level", "warn")])?;
    let mut config = Config::resolve(&raw)?;
    crate::log::start(config.log_format, &config.log_level, None);
    // A question to a file should not leave a warehouse behind where none was.
    let scratch = if raw.is_default("data") && raw.is_default("catalog") && !config.data.exists() {
        let scratch =
            Scratch::new().map_err(|error| Failure::new(format!("cannot make a temporary directory: {error}")))?;
        config.data = scratch.path().to_owned();
        if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            tell(
                "Tables made here are gone when you leave. To keep them, use --data DIR.",
                None,
                None,
            );
        }
        Some(scratch)
    } else {
        None
    };
    let home = scratch.is_none().then(|| config.data.clone());
    let mut engine = serve::engine_config(&config)?;
    engine.allowed_paths.push(PathBuf::from("/"));
    let embedded = runtime.block_on(Embedded::open(
        engine,
        arguments.user.clone(),
        arguments.database.clone(),
        scratch,
    ))?;
    Ok((Backend::Embedded(Box::new(embedded)), home))
}

fn connect(runtime: &Runtime, arguments: &SqlArguments, environment: Environment<'_>) -> Result<Backend, Failure> {
    let port = match (arguments.port, environment("PGPORT")) {
        (Some(port), _) => port,
        (None, Some(text)) => text
            .parse()
            .map_err(|_| Failure::new(format!("bad value {text:?} in PGPORT: expected a port")))?,
        (None, None) => 5432,
    };
    let or = |given: &Option<String>, variable: &str, default: &str| {
        given
            .clone()
            .or_else(|| environment(variable))
            .unwrap_or_else(|| default.to_owned())
    };
    let target = Target {
        host: or(&arguments.host, "PGHOST", "localhost"),
        port,
        user: or(&arguments.user, "PGUSER", staffa::DEFAULT_ROLE),
        database: or(&arguments.database, "PGDATABASE", staffa::DEFAULT_DATABASE),
        tls: arguments.tls,
    };
    let connector = Connector::new(arguments.tls, arguments.tls_ca.as_deref()).map_err(Failure::new)?;
    let mut password = environment("STAFFA_PASSWORD").or_else(|| environment("PGPASSWORD"));
    loop {
        match runtime.block_on(Remote::connect(&target, connector.clone(), password.as_deref())) {
            Ok(remote) => return Ok(Backend::Remote(Box::new(remote))),
            Err(None) => password = Some(password::ask(&target.user)?),
            Err(Some(error)) => {
                let place = format!("cannot connect to {} port {}", target.host, target.port);
                let failure = Failure::new(format!("{place}: {}", error.message));
                return Err(match error.hint {
                    Some(hint) => failure.with_hint(hint),
                    None => failure,
                });
            }
        }
    }
}

/// In the data directory where there is one, else at home.
fn history_file(environment: Environment<'_>, data: Option<&Path>) -> Option<PathBuf> {
    const NAME: &str = ".staffa_history";
    data.map(|directory| directory.join(NAME))
        .or_else(|| environment("HOME").map(|home| Path::new(&home).join(NAME)))
}

/// A message beside the output, for the person.
fn tell(text: &str, detail: Option<&str>, hint: Option<&str>) {
    let mut out = std::io::stderr().lock();
    // Where nobody listens nothing can be told.
    let _ = writeln!(out, "{text}");
    for (label, text) in [("DETAIL", detail), ("HINT", hint)] {
        if let Some(text) = text {
            let _ = writeln!(out, "{label}:  {text}");
        }
    }
}
