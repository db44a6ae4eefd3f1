//! Precedence, origins, and the words of refusals.

use std::collections::HashMap;
use std::time::Duration;

use super::raw::Flags;
use super::{Config, OPTIONS, RawConfig, units};
use crate::auth::AuthMode;
use crate::cli::Failure;

#[derive(Default)]
struct Case {
    flags: Vec<(&'static str, &'static str)>,
    environment: HashMap<&'static str, &'static str>,
    file: Option<&'static str>,
    defaults: Vec<(&'static str, &'static str)>,
}

impl Case {
    fn gather(&self) -> Result<RawConfig, Failure> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut flags = Flags::default();
        for (key, text) in &self.flags {
            flags.values.insert(key, (*text).to_owned());
        }
        let path = directory.path().join("staffa.toml");
        // Always a file of our own, so that one in the current directory cannot matter.
        std::fs::write(&path, self.file.unwrap_or("")).expect("file");
        flags.config = Some(path);
        RawConfig::gather(
            &flags,
            &|name| self.environment.get(name).map(|text| (*text).to_owned()),
            &self.defaults,
        )
    }

    fn resolve(&self) -> Result<Config, Failure> {
        Config::resolve(&self.gather()?)
    }

    fn refusal(&self) -> String {
        match self.resolve() {
            Ok(_) => panic!("should be refused"),
            Err(failure) => failure.to_string(),
        }
    }
}

fn file(content: &'static str) -> Case {
    Case {
        file: Some(content),
        ..Case::default()
    }
}

fn flag(key: &'static str, text: &'static str) -> Case {
    Case {
        flags: vec![(key, text)],
        ..Case::default()
    }
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let mut case = Case {
        flags: vec![("max_connections", "4")],
        environment: HashMap::from([("STAFFA_MAX_CONNECTIONS", "3"), ("STAFFA_LOGIN_TIMEOUT", "3s")]),
        file: Some("max_connections = 2\nlogin_timeout = \"2s\"\nidle_timeout = 2\n"),
        defaults: vec![],
    };
    let config = case.resolve().expect("valid");
    assert_eq!(config.max_connections, 4);
    assert_eq!(config.login_timeout, Duration::from_secs(3));
    assert_eq!(config.idle_timeout, Some(Duration::from_secs(2)));
    assert_eq!(config.shutdown_grace, Duration::from_secs(10));

    case.flags.clear();
    assert_eq!(case.resolve().expect("valid").max_connections, 3);
    case.environment.clear();
    assert_eq!(case.resolve().expect("valid").max_connections, 2);
    case.file = None;
    assert_eq!(case.resolve().expect("valid").max_connections, 100);
}

#[test]
fn other_tools_variables_count_less_than_the_file() {
    let mut case = file("[s3]\nregion = \"eu-north-1\"\n");
    case.environment = HashMap::from([("AWS_REGION", "us-east-1"), ("AWS_SECRET_ACCESS_KEY", "k")]);
    let config = case.resolve().expect("valid");
    assert_eq!(config.s3.region.as_deref(), Some("eu-north-1"));
    assert_eq!(config.s3.secret_key.as_deref(), Some("k"));
    case.file = None;
    assert_eq!(case.resolve().expect("valid").s3.region.as_deref(), Some("us-east-1"));
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    let text = file("data = \"x\"\n\nlisen = \"127.0.0.1:1\"\n").refusal();
    assert!(
        text.contains("staffa.toml:3: unknown key \"lisen\", did you mean \"listen\"?"),
        "{text}"
    );
    let text = file("[s3]\nregoin = \"x\"\n").refusal();
    assert!(
        text.contains(":2: unknown key \"s3.regoin\", did you mean \"s3.region\"?"),
        "{text}"
    );
    let text = file("[nonsense]\nx = 1\n").refusal();
    assert!(text.contains(":1: unknown key \"nonsense\""), "{text}");
    let text = file("data = [1\n").refusal();
    assert!(text.contains("staffa.toml:"), "{text}");
    let text = file("max_connections = 1979-05-27\n").refusal();
    assert!(
        text.contains(":1: max_connections must be a text, a number or true/false, not datetime"),
        "{text}"
    );
}

#[test]
fn a_bad_value_is_named_with_its_origin() {
    assert_eq!(
        flag("max_connections", "0").refusal(),
        "bad value \"0\" for max_connections (from flag --max-connections): expected a whole number from 1 to 100000"
    );
    let mut case = Case::default();
    case.environment.insert("STAFFA_LOGIN_TIMEOUT", "soon");
    assert!(
        case.refusal()
            .contains("for login_timeout (from environment STAFFA_LOGIN_TIMEOUT): expected a time")
    );
    let text = file("\nmemory_limit = \"4 apples\"").refusal();
    assert!(
        text.contains("staffa.toml:2): expected a size like 4GiB or a share like 70%"),
        "{text}"
    );
    assert!(
        flag("memory_limit", "1MiB")
            .refusal()
            .contains("1MiB is too little: at least 64MiB")
    );
    assert!(flag("memory_limit", "0%").refusal().contains("above 0%"));
    assert!(flag("listen", "5432").refusal().contains("expected HOST:PORT"));
    assert!(
        flag("log_level", "loud=quiet")
            .refusal()
            .contains("expected error, warn")
    );
    assert!(flag("auth", "auto").refusal().contains("expected scram or trust"));
}

#[test]
fn secrets_are_not_repeated() {
    let mut case = Case::default();
    case.environment.insert("STAFFA_ADMIN_PASSWORD", "hunter2");
    case.environment.insert("STAFFA_S3_SECRET_KEY", "hunter3");
    let raw = case.gather().expect("gathers");
    let config = Config::resolve(&raw).expect("valid");
    assert_eq!(config.admin_password.as_deref(), Some("hunter2"));
    let mut out = Vec::new();
    super::show(&raw, &config, &mut out).expect("writes");
    let shown = String::from_utf8(out).expect("text");
    assert!(!shown.contains("hunter"), "{shown}");
    let line = shown
        .lines()
        .find(|line| line.starts_with("admin_password"))
        .expect("a line");
    assert!(
        line.contains("***") && line.ends_with("environment STAFFA_ADMIN_PASSWORD"),
        "{line}"
    );
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("threads") && line.ends_with("not set")),
        "{shown}"
    );
}

#[test]
fn trust_is_for_loopback_only() {
    let mut case = flag("auth", "trust");
    case.flags.push(("listen", "127.0.0.1:5432,[::1]:5432"));
    assert_eq!(case.resolve().expect("valid").auth, AuthMode::Trust);
    case.flags[1].1 = "127.0.0.1:5432,0.0.0.0:5433";
    assert!(
        case.refusal()
            .contains("only for loopback addresses, but listen has 0.0.0.0:5433")
    );
}

#[test]
fn the_rest_catalog_is_off_unless_it_has_an_address() {
    let mut case = flag("auth", "trust");
    assert!(case.resolve().expect("valid").rest.is_empty());
    case.environment.insert("STAFFA_REST", "127.0.0.1:8181");
    let config = case.resolve().expect("valid");
    assert_eq!(config.rest, ["127.0.0.1:8181".parse().expect("an address")]);
    case.flags.push(("rest", "0.0.0.0:8181"));
    let refusal = case.refusal();
    assert!(
        refusal.contains("only for loopback addresses, but rest has 0.0.0.0:8181"),
        "{refusal}"
    );
    case.flags[1].1 = "off";
    assert!(case.resolve().expect("valid").rest.is_empty());
}

#[test]
fn the_demo_trusts_loopback_and_nothing_else() {
    let mut case = Case {
        defaults: vec![("auth", super::AUTO_AUTH), ("data", "./demo")],
        ..Case::default()
    };
    let config = case.resolve().expect("valid");
    assert_eq!((config.auth, config.data.to_str()), (AuthMode::Trust, Some("./demo")));
    case.flags.push(("listen", "0.0.0.0:5432"));
    assert_eq!(case.resolve().expect("valid").auth, AuthMode::Scram);
}

#[test]
fn tls_needs_both_files() {
    assert!(
        flag("tls_cert", "c.pem")
            .refusal()
            .contains("tls_cert is set but tls_key is not")
    );
    assert!(
        flag("tls_required", "true")
            .refusal()
            .contains("there is no certificate")
    );
    for (setting, needed) in [("tls_client_ca", "tls_cert"), ("tls_client_crl", "tls_client_ca")] {
        let refusal = flag(setting, "a.pem").refusal();
        assert!(
            refusal.contains(&format!("{setting} is set but {needed} is not")),
            "{refusal}"
        );
    }
}

#[test]
fn paths_of_a_file_are_relative_to_it() {
    let case = file("data = \"d\"\nspill_dir = \"/tmp/s\"");
    let raw = case.gather().expect("gathers");
    let config = Config::resolve(&raw).expect("valid");
    assert_eq!(config.data, raw.file().expect("a file").with_file_name("d"));
    assert_eq!(config.spill_dir.as_deref(), Some(std::path::Path::new("/tmp/s")));
    assert!(matches!(
        RawConfig::gather(
            &Flags { config: Some("/does/not/exist.toml".into()), ..Flags::default() }, &|_| None, &[]
        ),
        Err(failure) if failure.to_string().starts_with("cannot read the configuration file /does/not/exist.toml")
    ));
}

#[test]
fn sizes_and_times() {
    for (text, bytes) in [
        ("4GiB", 4 << 30),
        ("1.5 MiB", 3 << 19),
        ("10kB", 10_000),
        ("65_536", 65_536),
        ("2t", 2 << 40),
    ] {
        assert_eq!(units::size(text), Ok(bytes), "{text}");
    }
    for text in ["", "GiB", "-1", "4 GiB 2", "1e3", "99999999TiB", "1..2"] {
        assert!(units::size(text).is_err(), "{text}");
    }
    for (text, milliseconds) in [
        ("30s", 30_000),
        ("500ms", 500),
        ("5min", 300_000),
        ("2", 2_000),
        ("1.5 h", 5_400_000),
    ] {
        assert_eq!(
            units::duration(text),
            Ok(Some(Duration::from_millis(milliseconds))),
            "{text}"
        );
    }
    assert_eq!(units::duration("off"), Ok(None));
    for text in ["", "s", "-1s", "1 fortnight", "99999999d"] {
        assert!(units::duration(text).is_err(), "{text}");
    }
    assert_eq!(units::show_size(3 << 29), "1.5GiB");
    assert_eq!(units::show_size(100), "100B");
}

#[test]
fn no_two_settings_share_a_flag_or_variable() {
    for (index, spec) in OPTIONS.iter().enumerate() {
        for other in &OPTIONS[index + 1..] {
            assert_ne!(spec.flag(), other.flag());
            assert_ne!(spec.env(), other.env());
        }
    }
}
