//! Servers in a folder of their own, and the Python tools beside them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::wire::Wire;

/// Debug builds on two busy cores start slowly.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running server; dropping it kills the process.
pub struct Server {
    child: Child,
    address: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    /// Removed with the server, unless the data belongs to somebody else.
    _folder: Option<TempDir>,
}

impl Server {
    /// A server on an empty folder; everybody on this machine may log in.
    pub fn start() -> Self {
        // Tests count files and snapshots; `maintenance.rs` switches upkeep on.
        Self::start_with(&["--auth", "trust", "--maintenance=false"], &[])
    }

    /// The same with flags and environment of the caller's choice.
    pub fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Self::start_on(folder.path(), flags, environment);
        server._folder = Some(folder);
        server
    }

    /// A server on `folder/data`, which outlives it.
    pub fn start_on(folder: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::try_start(folder, &serve(folder, flags), environment)
            .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Runs a command line that ends in a listening server; gives its output when it ends instead.
    pub fn try_start(folder: &Path, arguments: &[String], environment: &[(&str, &str)]) -> Result<Self, String> {
        Self::try_start_program(env!("CARGO_BIN_EXE_staffa-under-test"), folder, arguments, environment)
    }

    /// The same for a program that becomes the server: a shell with limits, strace.
    pub fn try_start_program(
        program: &str,
        folder: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let log = folder.join("server.log");
        let output = fs::File::options().create(true).append(true).open(&log).unwrap();
        let read_from = fs::metadata(&log).unwrap().len() as usize;
        let mut child = clean(Command::new(program))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&fs::read(&log).unwrap()[read_from..]).into_owned();
            if let Some(address) = listening_address(&text) {
                return Ok(Self {
                    child,
                    address,
                    data: folder.join("data"),
                    log,
                    _folder: None,
                });
            }
            if child.try_wait().unwrap().is_some() {
                return Err(String::from_utf8_lossy(&fs::read(&log).unwrap()[read_from..]).into_owned());
            }
            if begun.elapsed() > START_LIMIT {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err(format!("not listening after {START_LIMIT:?}:\n{text}"));
            }
            sleep(Duration::from_millis(20));
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The URL of the REST catalog of a server that was started with `--rest`.
    pub fn rest(&self) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(url) = lines.find_map(|line| line.trim().strip_prefix("Iceberg REST catalog: ")) {
                return url.to_owned();
            }
            assert!(begun.elapsed() < START_LIMIT, "the server has no REST catalog:\n{log}");
            sleep(Duration::from_millis(20));
        }
    }

    /// The address of the health pages of a server that was started with `--health`.
    pub fn health(&self) -> String {
        let log = self.log();
        let line = log
            .lines()
            .find_map(|line| line.trim().strip_prefix("Health and metrics: http://"));
        line.unwrap_or_else(|| panic!("the server has no health pages:\n{log}"))
            .to_owned()
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// `postgresql://…` for Python and JDBC.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://admin@{}/{database}", self.address)
    }

    /// A connection of the small client, as `admin` to `staffa`.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address, "admin", "staffa").unwrap()
    }

    /// Where tokio-postgres connects, as `admin` to `staffa`.
    pub fn configuration(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.address.port())
            .user("admin")
            .dbname("staffa");
        config
    }

    /// The server is alive, answers, and no task of it panicked.
    pub fn assert_well(&mut self) {
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "the server is gone:\n{}",
            self.log()
        );
        let reply = self.connect().simple("select 1");
        assert_eq!(reply.text(), vec![vec![Some("1".to_owned())]], "{:?}", reply.error);
        let log = self.log();
        assert!(!log.contains("panicked at"), "a task of the server panicked:\n{log}");
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, as systemd sends it, and how the server ended.
    pub fn terminate(&mut self, limit: Duration) -> Option<ExitStatus> {
        signal(self.pid(), "TERM");
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            sleep(Duration::from_millis(10));
        }
        None
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already dead after `kill` or `terminate`: nothing to do about it here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` on `folder/data` and a free port.
pub fn serve(folder: &Path, flags: &[&str]) -> Vec<String> {
    let data = folder.join("data");
    let mut arguments: Vec<String> = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"]
        .map(str::to_owned)
        .into();
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    arguments
}

/// The program, without settings the caller's shell may carry.
pub fn program() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_staffa-under-test")))
}

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STAFFA_") || name.starts_with("PG")) {
        command.env_remove(name);
    }
    command
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// The first address with a real port in the server's output.
fn listening_address(text: &str) -> Option<SocketAddr> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    words
        .filter_map(|word| word.trim_end_matches(['.', ':']).parse::<SocketAddr>().ok())
        .find(|address| address.port() != 0)
}

/// The folder of this package, in which its tests run.
pub fn package() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| std::env::current_dir().unwrap());
    &FOLDER
}

/// Runs a Python program of this package and returns what it printed; fails when it does.
pub fn python(script: &str, arguments: &[&str]) -> String {
    let output = python_command(script).args(arguments).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{script} {}:\n{text}", arguments.join(" "));
    text
}

/// Python with the packages `scripts/setup` installed, about to run a program of this package.
pub fn python_command(script: &str) -> Command {
    let interpreter = std::env::var_os("STAFFA_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"));
        cache.join("staffa/venv/bin/python")
    });
    assert!(
        interpreter.exists(),
        "{} is missing: run scripts/setup",
        interpreter.display()
    );
    let mut command = Command::new(interpreter);
    command.arg(package().join(script)).stdin(Stdio::null());
    command
}
