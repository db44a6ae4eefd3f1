//! Looks at a warehouse, running or not, and says what is wrong with it. Changes nothing unless it is told to repair, and then only
//! what upkeep and the next start would do as well.
//!
//! Nothing is held against deletion meanwhile. Where something is missing of a table that has changed since, the table is looked
//! at again.

mod place;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use futures::stream::{self, StreamExt};
use serde::Serialize;
use staffa_catalog::{CatalogSnapshot, Examination, Inventory, InventoryItem, ObjectRole, RelationKind, TableName};
use staffa_planner::{Error, Result};
use staffa_storage::{ErrorKind as StorageErrorKind, Stores, check_parquet, decode_deletion_vector};

use crate::config::Config;
use crate::objects::StoreObjects;
use crate::upkeep::{self, ORPHAN_AGE_MIN};
use crate::warehouse::{Warehouse, catalog_url, open_stores, own_warehouse};

/// Objects that are looked at, or files that are read, at a time.
const LOOKS_MAX: usize = 16;
const READS_MAX: usize = 2;
/// How often a table that goes on changing is looked at again.
const ATTEMPTS_MAX: usize = 5;
/// Transactions are over sooner, as a rule.
const OPEN_MAX: Duration = Duration::days(1);
/// How far the clock may be behind the newest version of a table.
const CLOCK_SLACK: Duration = Duration::seconds(60);
/// So many are named of what may be very many.
const NAMED_MAX: usize = 5;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Nothing is broken, and something should be done.
    Warning,
    /// Something is broken: statements fail, or rows are gone.
    Error,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing, for programs: `missing-file`, `wrong-size`, …
    pub code: &'static str,
    /// The table, file or place it is about.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl Finding {
    fn new(
        severity: Severity,
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        advice: &'static str,
    ) -> Self {
        Self {
            severity,
            code,
            subject: subject.into(),
            message: message.into(),
            advice,
        }
    }
}

/// How to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoctorOptions {
    /// Read every page of every file, too.
    pub deep: bool,
    /// Clear away what nothing needs.
    pub repair: bool,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DoctorReport {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Tables and views.
    pub relations: u64,
    /// Objects they need.
    pub objects: u64,
    /// Bytes of those whose size is known.
    pub bytes: u64,
    /// Rows that were read of data and delete files.
    pub rows_read: u64,
    /// Whether leftovers were cleared away before.
    pub repaired: bool,
}

impl DoctorReport {
    /// Whether nothing is broken.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }
}

/// Looks at a warehouse.
///
/// # Errors
/// Only what keeps it from clearing away; what it cannot read is a finding.
pub async fn doctor(config: &Config, options: DoctorOptions) -> Result<DoctorReport> {
    let mut report = DoctorReport::default();
    if options.repair {
        repair(config).await?;
        report.repaired = true;
    }
    report.findings = place::look(config);
    if place::is_usable(&report.findings) {
        look(config, options, &mut report).await;
    }
    report
        .findings
        .sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(report)
}

async fn repair(config: &Config) -> Result<()> {
    // Clears away dead transactions.
    let warehouse = Warehouse::open(Config {
        maintenance: None,
        ..config.clone()
    })
    .await?;
    let result = upkeep::clear_away(&warehouse).await;
    warehouse.close().await;
    place::remove_leftovers(&config.data_dir);
    result
}

async fn look(config: &Config, options: DoctorOptions, report: &mut DoctorReport) {
    let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let url = catalog_url(config, &data_dir);
    let mut examination = match examine(&url).await {
        Ok(examination) => examination,
        Err(finding) => return report.findings.push(finding),
    };
    for damage in examination.damage() {
        report.findings.push(Finding::new(
            Severity::Error,
            "catalog-damaged",
            "catalog",
            damage.clone(),
            "restore a backup, or salvage the file with sqlite3 .recover",
        ));
    }
    if let Some((version, known)) = examination.older_version() {
        return report.findings.push(Finding::new(
            Severity::Warning,
            "older-catalog",
            "catalog",
            format!("it has version {version}, and this program makes version {known} of it"),
            "the next start migrates it and keeps a copy; look again then",
        ));
    }
    let warehouse = match examination.warehouse() {
        Some(shared) => shared.to_owned(),
        None => own_warehouse(config, &data_dir),
    };
    let opened = open_stores(config, &data_dir, &warehouse);
    let stores = match opened {
        Ok(stores) => stores,
        Err(error) => return report.findings.push(unusable(&warehouse, &error)),
    };
    let objects = Arc::new(StoreObjects(stores.clone()));
    match examination.snapshot(objects) {
        Ok(Some(snapshot)) => {
            let visit = Visit { url, stores, options };
            visit.tables(&snapshot, &warehouse, &examination, report).await;
        }
        Ok(None) => {}
        Err(error) => report.findings.push(catalog_finding(&error.into())),
    }
    transactions(&examination, report);
}

async fn examine(url: &str) -> Result<Examination, Finding> {
    Examination::of(url)
        .await
        .map_err(|error| catalog_finding(&error.into()))
}

fn catalog_finding(error: &Error) -> Finding {
    Finding::new(
        Severity::Error,
        "catalog-unusable",
        "catalog",
        whole(error),
        "check the settings of the catalog; if it is gone or damaged, restore a backup",
    )
}

fn unusable(place: &str, error: &Error) -> Finding {
    Finding::new(
        Severity::Error,
        "warehouse-unusable",
        place,
        whole(error),
        "check where the tables are and who may read it",
    )
}

fn whole(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.message()),
        None => error.message().to_owned(),
    }
}

fn transactions(examination: &Examination, report: &mut DoctorReport) {
    let old = Utc::now() - OPEN_MAX;
    let open = examination.open_transactions().iter();
    let places: HashSet<&str> = open
        .filter(|(begun, _)| DateTime::from_timestamp_millis(*begun).is_none_or(|begun| begun < old))
        .map(|(_, location)| location.as_str())
        .collect();
    for place in places {
        report.findings.push(Finding::new(
            Severity::Warning,
            "old-transaction",
            place,
            "a transaction that writes here began over a day ago and is neither committed nor cleaned up after",
            "end its session; of a server that is gone, the next start or --repair clears it away",
        ));
    }
}

/// What a look at the tables needs.
struct Visit {
    url: String,
    stores: Stores,
    options: DoctorOptions,
}

/// What is known of objects that several tables have.
type Seen = HashMap<String, Option<Finding>>;

impl Visit {
    async fn tables(
        &self,
        snapshot: &CatalogSnapshot,
        warehouse: &str,
        examination: &Examination,
        report: &mut DoctorReport,
    ) {
        let (mut all, mut seen) = (BTreeMap::new(), Seen::new());
        let mut newest_ms = i64::MIN;
        let mut older_metadata = HashSet::new();
        for (name, kind, _) in snapshot.stored_relations() {
            report.relations += 1;
            let (inventory, findings) = self.table_until_still(snapshot, &name, &mut seen, report).await;
            report.findings.extend(findings);
            all.extend(inventory);
            if kind == RelationKind::Table
                && let Ok(Some(table)) = snapshot.glimpsed_table(&name).await
            {
                newest_ms = newest_ms.max(table.made_ms());
                older_metadata.extend(table.older_metadata());
            }
        }
        report.objects = all.len() as u64;
        report.bytes = all.values().filter_map(|item| item.size_bytes).sum();
        if newest_ms > (Utc::now() + CLOCK_SLACK).timestamp_millis() {
            report.findings.push(Finding::new(
                Severity::Warning,
                "clock-behind",
                "clock",
                format!(
                    "a table was changed at {}, which has not come yet",
                    DateTime::from_timestamp_millis(newest_ms)
                        .unwrap_or_default()
                        .to_rfc3339()
                ),
                "set the clock; time travel and the expiry of snapshots go by it",
            ));
        }
        let is_needed = |location: &str| all.contains_key(location) || older_metadata.contains(location);
        match self.orphans(warehouse, examination, is_needed).await {
            Ok(finding) => report.findings.extend(finding),
            Err(error) => report.findings.push(unusable(warehouse, &error)),
        }
    }

    /// Looks at a table again as long as something is wrong with it and it changes.
    async fn table_until_still(
        &self,
        snapshot: &CatalogSnapshot,
        name: &TableName,
        seen: &mut Seen,
        report: &mut DoctorReport,
    ) -> (Inventory, Vec<Finding>) {
        let mut looked_at = snapshot.metadata_location(name).map(str::to_owned);
        let (mut inventory, mut findings) = self.table(snapshot, name, seen, report).await;
        for _ in 1..ATTEMPTS_MAX {
            if findings.is_empty() {
                break;
            }
            let objects = Arc::new(StoreObjects(self.stores.clone()));
            let now = Examination::of(&self.url)
                .await
                .and_then(|mut now| now.snapshot(objects));
            let Ok(Some(now)) = now else { break };
            let location = now.metadata_location(name).map(str::to_owned);
            if location == looked_at {
                break;
            }
            looked_at = location;
            // What is gone may have been taken out since.
            seen.retain(|_, finding| finding.is_none());
            (inventory, findings) = self.table(&now, name, seen, report).await;
        }
        (inventory, findings)
    }

    async fn table(
        &self,
        snapshot: &CatalogSnapshot,
        name: &TableName,
        seen: &mut Seen,
        report: &mut DoctorReport,
    ) -> (Inventory, Vec<Finding>) {
        let shown = format!("{}.{}.{}", name.database, name.schema, name.name);
        let mut findings = Vec::new();
        let mut unreadable = HashSet::new();
        let inventory = {
            let mut failed = |location: &str, error: staffa_catalog::Error| {
                unreadable.insert(location.to_owned());
                let message = whole(&error.into());
                let message = format!("the metadata of {shown} cannot be read: {message}");
                findings.push(Finding::new(
                    Severity::Error,
                    "metadata-damaged",
                    location,
                    message,
                    RESTORE,
                ));
                Ok(())
            };
            match snapshot.inventory(name, &mut failed).await {
                Ok(inventory) => inventory,
                Err(error) => {
                    findings.push(catalog_finding(&error.into()));
                    Inventory::new()
                }
            }
        };
        let new = inventory.iter();
        let new = new.filter(|(location, _)| !seen.contains_key(*location) && !unreadable.contains(*location));
        let looks = new.map(|(location, item)| async move {
            let (finding, rows) = self.object(location, item).await;
            (location.clone(), finding, rows)
        });
        let at_once = if self.options.deep { READS_MAX } else { LOOKS_MAX };
        let looks = stream::iter(looks.collect::<Vec<_>>()).buffered(at_once);
        for (location, finding, rows) in looks.collect::<Vec<_>>().await {
            report.rows_read += rows;
            seen.insert(location, finding);
        }
        let known = inventory.keys().filter_map(|location| seen.get(location)?.clone());
        findings.extend(known.map(|mut finding| {
            finding.message = format!("{}, of {shown}", finding.message);
            finding
        }));
        (inventory, findings)
    }

    /// What is wrong with one object, and how many rows were read of it.
    async fn object(&self, location: &str, item: &InventoryItem) -> (Option<Finding>, u64) {
        let (what, severity) = match item.role {
            ObjectRole::Metadata => ("a metadata file", Severity::Error),
            ObjectRole::List => ("a manifest list", Severity::Error),
            ObjectRole::Manifest => ("a manifest", Severity::Error),
            ObjectRole::Data => ("a data file", Severity::Error),
            ObjectRole::Positions | ObjectRole::Vectors => ("a delete file", Severity::Error),
            // Queries go without them.
            ObjectRole::Statistics => ("a file of statistics", Severity::Warning),
        };
        let finding = |code, message: String| Some(Finding::new(severity, code, location, message, RESTORE));
        match self.stores.size(location).await {
            Err(error) if error.kind() == StorageErrorKind::NotFound => {
                return (finding("missing-file", format!("{what} is missing")), 0);
            }
            Err(error) => return (finding("unreadable-file", format!("{what} cannot be read: {error}")), 0),
            Ok(size) => {
                if let Some(expected) = item.size_bytes.filter(|expected| *expected != size) {
                    let message = format!("{what} has {size} bytes instead of {expected}");
                    return (finding("wrong-size", message), 0);
                }
            }
        }
        if !self.options.deep {
            return (None, 0);
        }
        let read = match item.role {
            ObjectRole::Data | ObjectRole::Positions => check_parquet(&self.stores, location).await,
            ObjectRole::Vectors => self.vectors(location, &item.vectors).await,
            // Read already, or not ours to read.
            ObjectRole::Metadata | ObjectRole::List | ObjectRole::Manifest => Ok(0),
            ObjectRole::Statistics => self.stores.digest(location).await.map(|_| 0),
        };
        match (read, item.row_count) {
            (Err(error), _) => (finding("damaged-file", format!("{what} is damaged: {error}")), 0),
            (Ok(rows), Some(expected)) if rows != expected => {
                let message = format!("{what} has {rows} rows instead of {expected}");
                (finding("wrong-rows", message), rows)
            }
            (Ok(rows), _) => (None, rows),
        }
    }

    async fn vectors(&self, location: &str, vectors: &[(u64, u64)]) -> staffa_storage::Result<u64> {
        let bytes = self.stores.get(location).await?;
        for (offset, length) in vectors {
            decode_deletion_vector(&bytes, *offset, *length)?;
        }
        Ok(0)
    }

    /// What lies in the warehouse, is old, and nothing leads to.
    async fn orphans(
        &self,
        warehouse: &str,
        examination: &Examination,
        is_needed: impl Fn(&str) -> bool,
    ) -> Result<Option<Finding>> {
        let oldest = Utc::now() - ORPHAN_AGE_MIN;
        let open = examination.open_transactions().iter().map(|(begun, _)| *begun).min();
        let open = open.and_then(DateTime::from_timestamp_millis);
        let before = open.map_or(oldest, |open| oldest.min(open - Duration::hours(1)));
        let garbage = examination.garbage();
        let waits = |location: &str| {
            let directories = location.match_indices('/').map(|(end, _)| &location[..=end]);
            garbage.contains(location) || directories.into_iter().any(|directory| garbage.contains(directory))
        };
        let mut old = self.stores.list_older(warehouse, before).await?;
        old.retain(|location| !is_needed(location) && !waits(location));
        let named: Vec<&str> = old.iter().take(NAMED_MAX).map(String::as_str).collect();
        Ok((!old.is_empty()).then(|| {
            Finding::new(
                Severity::Warning,
                "orphans",
                warehouse,
                format!(
                    "{} old files belong to nothing, such as {}",
                    old.len(),
                    named.join(", ")
                ),
                "--repair or VACUUM deletes those in the tables' own directories",
            )
        }))
    }
}

const RESTORE: &str = "restore a backup of it; the rows of other files can still be read into a new table";
