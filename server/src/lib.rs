//! The server: sockets, the Postgres protocol, login, configuration, the command line. It holds no query logic: whatever a
//! statement does is the engine's, so that an embedded user and a psql user get the same.
//!
//! ```text
//! main -> cli      what was said          config       what it means
//!         serve    open, listen, end      demo         TPC-H to try
//!         shell    staffa sql             log          lines for operators
//!
//! listen -> connection -> pgwire          one client: messages in, statements run, rows out
//!                         auth, tls       who it is, and that nobody listens
//! health                                  machines that watch: health and metrics
//! traces                                  OpenTelemetry
//! rest                                    other engines: the warehouse as an Iceberg REST catalog
//! ```

mod auth;
mod backup;
mod cli;
mod config;
mod connection;
mod demo;
#[doc(hidden)]
pub mod fuzz;
mod health;
mod listen;
mod log;
mod pgwire;
mod rest;
mod serve;
mod shell;
mod shutdown;
mod tls;
mod traces;

use std::process::ExitCode;

pub use auth::AuthMode;
pub use config::{Config, LogFormat, RawConfig};
pub use listen::{Server, ServerOptions, bind};
pub use staffa::scram_verifier;
pub use tls::{Tls, TlsFiles, tls_config};

/// Runs the command line of this process. 0 is good; 1 is a refusal or a failed statement, with one clear line on stderr.
pub fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
