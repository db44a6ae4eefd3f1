//! What a swap puts on the garbage list: the commit's number goes with each path, but nobody waits while the paths are
//! listed.
//!
//! From where a swap takes its number to its end all other commits of all servers wait. Many paths are therefore listed
//! before, under a batch: `-batch` stands where the number belongs, and one row of `staffa_gc_commit` says which it is.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rand::Rng;

use super::Connection;
use super::statements::Argument;
use crate::database::Swap;
use crate::error::{Error, ErrorKind, Result};

/// So many paths are worth a batch.
const BATCH_MIN: usize = 8;
/// How many paths one statement lists, as long as there are as many.
const MANY: usize = 256;
const SOME: usize = 16;

static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert(MANY));
static INSERT_SOME: LazyLock<String> = LazyLock::new(|| insert(SOME));
static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert(1));

/// The paths of a swap, sorted: whoever locks several rows of the list does it in the order of their bytes.
pub(super) struct Listing<'a> {
    paths: BTreeMap<&'a str, i64>,
    batch: Option<Batch>,
}

struct Batch {
    id: i64,
    /// The newest commit whose garbage was seen when that of owners was released.
    seen_csn: i64,
}

impl<'a> Listing<'a> {
    /// Lists what is much.
    pub(super) async fn begin(txn: &mut dyn Connection, swap: &'a Swap) -> Result<Listing<'a>> {
        let paths = swap.garbage.iter().map(|dead| (dead.path.as_str(), dead.not_before_ms));
        let mut listing = Listing {
            paths: paths.collect(),
            batch: None,
        };
        if listing.paths.len() < BATCH_MIN && swap.released.is_empty() {
            return Ok(listing);
        }
        let id = rand::rng().random_range(1..=i64::MAX);
        let seen_csn = head(txn).await?;
        for owner in &swap.released {
            txn.execute(
                "update staffa_gc set after_csn=$2 where substr(path, 1, length($1))=$1",
                &[below(owner).as_str().into(), (-id).into()],
            )
            .await?;
        }
        insert_all(txn, &listing.paths, -id).await?;
        listing.batch = Some(Batch { id, seen_csn });
        Ok(listing)
    }

    /// Says which number it is, and lists what is little.
    pub(super) async fn end(self, txn: &mut dyn Connection, swap: &Swap, csn: i64) -> Result<()> {
        let Some(batch) = self.batch else {
            return insert_all(txn, &self.paths, csn).await;
        };
        txn.execute(
            "insert into staffa_gc_commit(batch, csn) values ($1, $2)",
            &[batch.id.into(), csn.into()],
        )
        .await?;
        // What became garbage since the look before; nothing can any more.
        for owner in &swap.released {
            for newer in [
                "update staffa_gc set after_csn=$2 where after_csn>$3 and substr(path, 1, length($1))=$1",
                "update staffa_gc set after_csn=$2
                 where after_csn in (select -batch from staffa_gc_commit where csn>$3)
                   and substr(path, 1, length($1))=$1",
            ] {
                let below = below(owner);
                let arguments: [Argument<'_>; 3] = [below.as_str().into(), (-batch.id).into(), batch.seen_csn.into()];
                txn.execute(newer, &arguments).await?;
            }
        }
        Ok(())
    }
}

/// Puts something on the list that a transaction has just made and may not commit.
pub(super) async fn note(txn: &mut dyn Connection, path: &str, not_before_ms: i64) -> Result<()> {
    // Whoever made it looks at an older state than any that is to come. Another entry says more.
    txn.execute(
        "insert into staffa_gc(path, after_csn, not_before_ms) select $1, csn+1, $2 from staffa_head where true
         on conflict(path) do nothing",
        &[path.into(), not_before_ms.into()],
    )
    .await?;
    Ok(())
}

/// Forgets the numbers of batches of which nothing is left on the list.
pub(super) async fn forget_batches(txn: &mut dyn Connection) -> Result<()> {
    txn.execute(
        "delete from staffa_gc_commit where not exists (
           select 1 from staffa_gc g where g.after_csn=-staffa_gc_commit.batch)",
        &[],
    )
    .await?;
    Ok(())
}

async fn insert_all(txn: &mut dyn Connection, paths: &BTreeMap<&str, i64>, after_csn: i64) -> Result<()> {
    let all: Vec<(&str, i64)> = paths
        .iter()
        .map(|(path, not_before_ms)| (*path, *not_before_ms))
        .collect();
    let mut left = all.as_slice();
    while !left.is_empty() {
        let (sql, count): (&'static str, usize) = match left.len() {
            MANY.. => (INSERT_MANY.as_str(), MANY),
            SOME.. => (INSERT_SOME.as_str(), SOME),
            _ => (INSERT_ONE.as_str(), 1),
        };
        let (now, later) = left.split_at(count);
        let pairs = now
            .iter()
            .flat_map(|(path, not_before_ms)| [Argument::from(*path), (*not_before_ms).into()]);
        let arguments: Vec<Argument<'_>> = std::iter::once(after_csn.into()).chain(pairs).collect();
        txn.execute(sql, &arguments).await?;
        left = later;
    }
    Ok(())
}

fn insert(count: usize) -> String {
    let row = |number: usize| format!("(${}, $1, ${})", 2 * number + 2, 2 * number + 3);
    let rows: Vec<String> = (0..count).map(row).collect();
    format!(
        "insert into staffa_gc(path, after_csn, not_before_ms) values {} on conflict(path)
         do update set after_csn=excluded.after_csn, not_before_ms=excluded.not_before_ms",
        rows.join(", ")
    )
}

fn below(location: &str) -> String {
    format!("{location}/")
}

async fn head(txn: &mut dyn Connection) -> Result<i64> {
    let rows = txn.rows("select csn from staffa_head", &[]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the catalog database has no head"))?;
    row.number(0)
}
