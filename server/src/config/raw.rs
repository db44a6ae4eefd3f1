//! Texts of settings before they are checked, each with where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use crate::cli::Failure;

use super::options::{Kind, OPTIONS, find};
use super::{beside, file};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(String),
    File(PathBuf, usize),
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A text and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawValue {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// What was said, by key; a key that nobody set and that has no default is absent.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    values: BTreeMap<&'static str, RawValue>,
    /// The file that was read, if one was.
    file: Option<PathBuf>,
}

/// Looked for in the current directory when neither `--config` nor `STAFFA_CONFIG` names a file.
const DEFAULT_FILE: &str = "staffa.toml";

impl RawConfig {
    /// Lays flags over environment over file over defaults. `defaults` are those of one command.
    ///
    /// # Errors
    /// A file that is named but cannot be read, or has a key nobody knows.
    pub(crate) fn gather(
        flags: &Flags,
        environment: &dyn Fn(&str) -> Option<String>,
        defaults: &[(&'static str, &str)],
    ) -> Result<Self, Failure> {
        let mut config = Self::default();
        for spec in OPTIONS {
            let own = defaults.iter().find(|(key, _)| *key == spec.key).map(|(_, text)| *text);
            if let Some(text) = own.or(spec.default) {
                config.set(spec.key, text.to_owned(), Origin::Default);
            }
        }
        config.read_file(flags, environment)?;
        for spec in OPTIONS {
            // Variables of other tools count less than the file, ours count more.
            let ours = spec.env();
            if !matches!(
                config.values.get(spec.key),
                Some(RawValue {
                    origin: Origin::File(..),
                    ..
                })
            ) && let Some((name, text)) = spec
                .also_env
                .iter()
                .find_map(|name| environment(name).map(|text| (*name, text)))
                && !text.is_empty()
            {
                config.set(spec.key, text, Origin::Environment(name.to_owned()));
            }
            if let Some(text) = environment(&ours) {
                config.set(spec.key, text, Origin::Environment(ours));
            }
            if let Some(text) = flags.values.get(spec.key) {
                config.set(spec.key, text.clone(), Origin::Flag(spec.flag()));
            }
        }
        Ok(config)
    }

    fn read_file(&mut self, flags: &Flags, environment: &dyn Fn(&str) -> Option<String>) -> Result<(), Failure> {
        let named = flags
            .config
            .clone()
            .or_else(|| environment("STAFFA_CONFIG").map(PathBuf::from));
        let path = match named {
            Some(path) => path,
            None if Path::new(DEFAULT_FILE).is_file() => PathBuf::from(DEFAULT_FILE),
            None => return Ok(()),
        };
        let content = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(format!(
                "cannot read the configuration file {}: {error}",
                path.display()
            ))
        })?;
        for entry in file::read(&path, &content)? {
            let text = match entry.spec.kind {
                Kind::Path => beside(&path, &entry.text).to_string_lossy().into_owned(),
                Kind::Text | Kind::Url | Kind::Switch => entry.text,
            };
            self.set(entry.spec.key, text, Origin::File(path.clone(), entry.line));
        }
        self.file = Some(path);
        Ok(())
    }

    fn set(&mut self, key: &'static str, text: String, origin: Origin) {
        self.values.insert(key, RawValue { text, origin });
    }

    pub(crate) fn value(&self, key: &str) -> Option<&RawValue> {
        debug_assert!(find(key).is_some(), "no such setting: {key}");
        self.values.get(key)
    }

    /// True where nobody said anything about it.
    pub(crate) fn is_default(&self, key: &str) -> bool {
        self.value(key).is_none_or(|value| value.origin == Origin::Default)
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).map(|value| value.text.as_str())
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    /// The checked value of a setting that always has a text.
    pub(super) fn parse<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        match self.parse_optional(key, parse)? {
            Some(value) => Ok(value),
            None => Err(Failure::new(format!("setting {key} has no value"))),
        }
    }

    pub(super) fn parse_optional<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some(RawValue { text, origin }) = self.value(key) else {
            return Ok(None);
        };
        let secret = find(key).is_some_and(|spec| spec.secret);
        parse(text).map(Some).map_err(|reason| {
            let is_url = find(key).is_some_and(|spec| spec.kind == Kind::Url);
            let shown = match secret || is_url {
                true => "***".to_owned(),
                false => format!("{text:?}"),
            };
            Failure::new(format!("bad value {shown} for {key} (from {origin}): {reason}"))
        })
    }
}

/// What the command line said about settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) values: BTreeMap<&'static str, String>,
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        for spec in OPTIONS.iter().filter(|spec| !spec.secret) {
            if let Some(text) = matches.get_one::<String>(spec.key) {
                self.values.insert(spec.key, text.clone());
            }
        }
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Configuration file [env: STAFFA_CONFIG] [default: ./staffa.toml where it exists]");
        OPTIONS
            .iter()
            .filter(|spec| !spec.secret)
            .fold(command.arg(config), |command, spec| {
                let mut help = format!("{} [env: {}]", spec.help, spec.env());
                if let Some(default) = spec.default {
                    help.push_str(&format!(" [default: {default}]"));
                }
                let mut arg = Arg::new(spec.key)
                    .long(spec.flag())
                    .value_name(spec.value_name)
                    .help(help);
                if spec.kind == Kind::Switch {
                    arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
                }
                command.arg(arg)
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
