//! `staffa backup`, `staffa restore` and `staffa doctor`: what they print.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use staffa::{BackupInfo, DoctorOptions, DoctorReport, FindingSeverity};

use crate::cli::{BackupArguments, DoctorArguments, Failure, RestoreArguments};
use crate::config::Config;
use crate::serve::{engine_config, location, runtime};

/// Backs up, lists or verifies.
///
/// # Errors
/// What keeps it from that.
pub(crate) fn back_up(config: Config, arguments: &BackupArguments) -> Result<ExitCode, Failure> {
    let (engine, place) = prepare(&config, Some(&arguments.place))?;
    if arguments.list || arguments.verify {
        check_place(&place)?;
    }
    run(async {
        if arguments.list {
            let backups = staffa::backups(&engine, &place).await?;
            let lines: String = backups.iter().map(|backup| described(backup) + "\n").collect();
            say(&lines);
            return Ok(ExitCode::SUCCESS);
        }
        if arguments.verify {
            let (backup, problems) = staffa::verify_backup(&engine, &place, arguments.backup.as_deref()).await?;
            say(&(described(&backup) + "\n"));
            for problem in &problems {
                say(&format!("damaged: {problem}\n"));
            }
            say(&match problems.len() {
                0 => "every checksum is right\n".to_owned(),
                count => format!("{count} of {} objects are damaged\n", backup.objects + 1),
            });
            return Ok(ExitCode::from(u8::from(!problems.is_empty())));
        }
        let done = staffa::backup(&engine, &place).await?;
        say(&format!(
            "{}\n{} objects with {} were copied; the others were there\n",
            described(&done.info),
            done.copied_objects,
            bytes(done.copied_bytes)
        ));
        if let Some(keep) = arguments.keep {
            for old in staffa::prune_backups(&engine, &place, keep.into()).await? {
                say(&format!("deleted {}\n", described(&old)));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Makes a warehouse of a backup.
///
/// # Errors
/// What keeps it from that.
pub(crate) fn restore(config: Config, arguments: &RestoreArguments) -> Result<ExitCode, Failure> {
    let (engine, place) = prepare(&config, Some(&arguments.place))?;
    check_place(&place)?;
    run(async {
        let backup = staffa::restore(&engine, &place, arguments.backup.as_deref()).await?;
        say(&format!(
            "{}\nrestored into {}\n",
            described(&backup),
            config.data.display()
        ));
        Ok(ExitCode::SUCCESS)
    })
}

/// Looks for what is wrong.
///
/// # Errors
/// What keeps it from clearing away.
pub(crate) fn doctor(config: Config, arguments: &DoctorArguments) -> Result<ExitCode, Failure> {
    let (engine, _) = prepare(&config, None)?;
    let options = DoctorOptions {
        deep: arguments.deep,
        repair: arguments.repair,
    };
    run(async {
        let report = staffa::doctor(&engine, options).await?;
        say(&match arguments.json {
            true => json(&report)?,
            false => text(&report),
        });
        Ok(ExitCode::from(u8::from(!report.is_sound())))
    })
}

/// The engine's settings, and the place of backups as it wants it.
fn prepare(config: &Config, place: Option<&str>) -> Result<(staffa::Config, String), Failure> {
    crate::log::start(config.log_format, "warn", config.slow_query);
    let place = place.map(location).transpose()?.unwrap_or_default();
    let mut engine = engine_config(config)?;
    if place.starts_with("s3://") && engine.s3.is_none() {
        return Err(Failure::new("a place on S3 needs s3.region"));
    }
    // Nothing runs in the background.
    engine.maintenance = None;
    Ok((engine, place))
}

/// A directory with backups that is misspelt is not made.
fn check_place(place: &str) -> Result<(), Failure> {
    match place.strip_prefix("file://") {
        Some(path) if !std::path::Path::new(path).is_dir() => {
            Err(Failure::new(format!("there is no directory {path}")))
        }
        _ => Ok(()),
    }
}

fn run(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Where nobody listens nothing can be told.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn described(backup: &BackupInfo) -> String {
    format!(
        "backup {}: {} tables and views as of commit {}, {} objects, {}, of {}",
        backup.id,
        backup.relations,
        backup.csn,
        backup.objects,
        bytes(backup.bytes),
        backup.warehouse
    )
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = count as f64;
    let mut unit = "bytes";
    for larger in UNITS {
        if shown < 1024.0 {
            break;
        }
        shown /= 1024.0;
        unit = larger;
    }
    match unit {
        "bytes" => format!("{count} bytes"),
        unit => format!("{shown:.1} {unit}"),
    }
}

fn json(report: &DoctorReport) -> Result<String, Failure> {
    let mut json = serde_json::to_value(report).map_err(|error| Failure::new(error.to_string()))?;
    json["sound"] = report.is_sound().into();
    Ok(format!("{json:#}\n"))
}

fn text(report: &DoctorReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let severity = match finding.severity {
            FindingSeverity::Error => "error",
            FindingSeverity::Warning => "warning",
            FindingSeverity::Note => "note",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{severity}: {}: {}", finding.subject, finding.message);
        let _ = writeln!(text, "    {}", finding.advice);
    }
    let _ = writeln!(
        text,
        "{} tables and views with {} objects, {}, were looked at{}",
        report.relations,
        report.objects,
        bytes(report.bytes),
        match report.rows_read {
            0 => String::new(),
            rows => format!("; {rows} rows were read"),
        }
    );
    let count = |severity| report.findings.iter().filter(|it| it.severity == severity).count();
    let _ = writeln!(
        text,
        "{} errors, {} warnings, {} notes",
        count(FindingSeverity::Error),
        count(FindingSeverity::Warning),
        count(FindingSeverity::Note)
    );
    text
}
