//! What of the journal of pointers, `staffa_version`, may be forgotten.
//!
//! Whoever follows the journal asks for names that changed and looks their pointers up, so the newest row of a name is
//! enough. Older rows say what a dropped table was, by which it can come back, and what a clone was made with: those stay as
//! long as their directories are on the garbage list or shared, or their sequences' counters on the list. The row after
//! one of these tells when it was dropped.

use std::collections::HashSet;

use super::statements::{Argument, Row};
use super::{Connection, signed, unsigned};
use crate::error::Result;
use crate::garbage::counter_in_garbage;
use crate::sequence::Sequence;

/// So many rows are looked at together.
const ROWS_MAX: i64 = 1000;

/// A row that is not the newest of its name, with what its name was before and after.
pub(super) struct Version {
    csn: i64,
    name: [String; 3],
    location: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl Version {
    fn of(row: &Row) -> Result<Version> {
        Ok(Version {
            csn: row.number(0)?,
            name: [row.text(1)?, row.text(2)?, row.text(3)?],
            location: row.optional_text(4)?,
            before: row.optional_text(5)?,
            after: row.optional_text(6)?,
        })
    }
}

/// What tables and sequences that may come back are found by.
struct Needed {
    directories: HashSet<String>,
    counters: HashSet<String>,
}

impl Needed {
    async fn read(txn: &mut dyn Connection) -> Result<Needed> {
        let mut needed = Needed {
            directories: HashSet::new(),
            counters: HashSet::new(),
        };
        let shares = txn.rows("select table_location from staffa_share", &[]).await?;
        for row in &shares {
            needed.directories.insert(row.text(0)?);
        }
        let sql = "select path from staffa_gc where path like '%/' or path like 'staffa-counter:%'";
        for row in &txn.rows(sql, &[]).await? {
            let path = row.text(0)?;
            match (path.strip_suffix('/'), counter_in_garbage(&path)) {
                (Some(directory), _) => needed.directories.insert(directory.to_owned()),
                (None, Some(counter)) => needed.counters.insert(counter.to_owned()),
                (None, None) => false,
            };
        }
        Ok(needed)
    }

    /// Whether something may be found by a row: the last of its table, and every one of a sequence.
    fn has(&self, location: Option<&str>, after: Option<&str>) -> bool {
        let Some(location) = location else {
            return false;
        };
        if let Some(counter) = Sequence::counter_in(location) {
            return self.counters.contains(counter);
        }
        let directory = directory(location);
        self.directories.contains(directory) && after.map(self::directory) != Some(directory)
    }
}

/// The table's directory.
fn directory(location: &str) -> &str {
    location
        .rsplit_once("/metadata/")
        .map_or(location, |(directory, _)| directory)
}

/// What nothing needs of rows after one commit and before another, among as many as are looked at together; after which
/// commit to go on, if there may be more.
pub(super) async fn find(
    txn: &mut dyn Connection,
    after_csn: u64,
    before_csn: u64,
) -> Result<(Vec<Version>, Option<u64>)> {
    let rows = txn
        .rows(
            "select r.csn, r.catalog_name, r.table_namespace, r.table_name, r.metadata_location,
               (select p.metadata_location from staffa_version p
                where p.catalog_name=r.catalog_name and p.table_namespace=r.table_namespace
                  and p.table_name=r.table_name and p.csn<r.csn order by p.csn desc limit 1),
               (select n.metadata_location from staffa_version n
                where n.catalog_name=r.catalog_name and n.table_namespace=r.table_namespace
                  and n.table_name=r.table_name and n.csn>r.csn order by n.csn limit 1)
             from staffa_version r
             where r.csn>$1 and r.csn<$2 and exists (select 1 from staffa_version n
               where n.catalog_name=r.catalog_name and n.table_namespace=r.table_namespace
                 and n.table_name=r.table_name and n.csn>r.csn)
             order by r.csn limit $3",
            &[signed(after_csn)?.into(), signed(before_csn)?.into(), ROWS_MAX.into()],
        )
        .await?;
    let needed = match rows.is_empty() {
        true => return Ok((Vec::new(), None)),
        false => Needed::read(txn).await?,
    };
    let mut last_csn = signed(after_csn)?;
    let mut found = Vec::new();
    for version in rows.iter().map(Version::of) {
        let version = version?;
        last_csn = version.csn;
        let location = version.location.as_deref();
        let is_needed =
            needed.has(location, version.after.as_deref()) || needed.has(version.before.as_deref(), location);
        if !is_needed {
            found.push(version);
        }
    }
    // Of the last commit some rows may be left: they are for the next time around.
    let is_all = i64::try_from(rows.len()).is_ok_and(|count| count < ROWS_MAX);
    let next = match is_all {
        true => None,
        false => Some(unsigned(last_csn)?),
    };
    Ok((found, next))
}

/// Whatever was committed since, they stay what nothing needs: a table that is dropped now is found by the newest row of its
/// name.
pub(super) async fn forget(txn: &mut dyn Connection, versions: &[Version]) -> Result<()> {
    for version in versions {
        let [database, schema, name] = version.name.each_ref().map(|part| Argument::from(part.as_str()));
        txn.execute(
            "delete from staffa_version
             where catalog_name=$1 and table_namespace=$2 and table_name=$3 and csn=$4",
            &[database, schema, name, version.csn.into()],
        )
        .await?;
    }
    Ok(())
}
