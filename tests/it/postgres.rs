//! A PostgreSQL server for catalogs, on a socket in a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Stopped and removed when dropped.
pub struct Postgres {
    folder: TempDir,
    binaries: PathBuf,
}

impl Postgres {
    pub fn start() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql").expect("no PostgreSQL server: run scripts/setup");
        let mut binaries: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
        binaries.sort();
        let server = Self {
            folder: TempDir::new().unwrap(),
            binaries: binaries.pop().expect("no PostgreSQL server: run scripts/setup"),
        };
        if is_root() {
            let folder = server.folder.path();
            assert!(
                Command::new("chown")
                    .arg("postgres")
                    .arg(folder)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let data = server.data();
        server.run(
            "initdb",
            &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"],
        );
        server.resume();
        server
    }

    /// What `--catalog` takes.
    pub fn url(&self) -> String {
        let host = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://postgres@{host}/postgres")
    }

    /// One value, or rows as lines.
    pub fn query(&self, sql: &str) -> String {
        let host = self.folder.path().to_str().unwrap();
        let output = Command::new(self.binaries.join("psql"))
            .args(["-X", "-A", "-t", "-h", host, "-U", "postgres", "-c", sql, "postgres"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a statement beside the servers.
    pub fn sql(&self, sql: &str) {
        let folder = self.folder.path().to_str().unwrap();
        self.run("psql", &["-h", folder, "-U", "postgres", "-q", "-c", sql]);
    }

    /// As after a crash: connections break, nothing is flushed by hand.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    pub fn resume(&self) {
        let folder = self.folder.path().to_str().unwrap();
        let options = format!("-c listen_addresses= -c unix_socket_directories={folder} -c max_connections=200");
        let log = format!("{folder}/log");
        self.run(
            "pg_ctl",
            &["-D", &self.data(), "-o", &options, "-l", &log, "-w", "start"],
        );
    }

    fn data(&self) -> String {
        format!("{}/data", self.folder.path().display())
    }

    /// PostgreSQL refuses to run as root: root runs it as the package's own user.
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.binaries.join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(&program);
                command
            }
            false => Command::new(&program),
        };
        let status = command
            .args(arguments)
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .status();
        // Nothing to stop after a test that failed while it was stopped.
        let is_fine = status.unwrap().success() || std::thread::panicking();
        assert!(is_fine, "{} {arguments:?}", program.display());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}
