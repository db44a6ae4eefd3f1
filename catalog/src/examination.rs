//! A catalog as who examines it sees it: read, never changed, and not held against deletion by others.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::database::{self, Inspection};
use crate::error::Result;
use crate::garbage::counter_in_garbage;
use crate::journal::Pointers;
use crate::loader::Loader;
use crate::objects::Objects;
use crate::snapshot::CatalogSnapshot;

/// What a catalog database says about itself.
#[derive(Debug)]
pub struct Examination {
    inspection: Inspection,
}

impl Examination {
    /// Looks at the database a URL names; see [`Catalog::open`](crate::Catalog::open).
    ///
    /// Fails with `MissingObject` when there is no catalog, `NewerFormat` when a newer Staffa made it, `Corrupt` or `Io` when it
    /// cannot be read.
    pub async fn of(url: &str) -> Result<Examination> {
        Ok(Examination {
            inspection: database::inspect(url).await?,
        })
    }

    /// What the database finds wrong with its own file.
    pub fn damage(&self) -> &[String] {
        &self.inspection.damage
    }

    /// The version of its tables, if it is older than this program's: the next start migrates it. Nothing else is known of it.
    pub fn older_version(&self) -> Option<(i64, i64)> {
        let (version, known) = (self.inspection.version, self.inspection.known);
        (version < known).then_some((version, known))
    }

    /// All tables and views.
    pub fn snapshot(&mut self, objects: Arc<dyn Objects>) -> Result<Option<CatalogSnapshot>> {
        let Some(content) = &mut self.inspection.content else {
            return Ok(None);
        };
        let pointers = Pointers::default().advanced(std::mem::take(&mut content.pointers))?;
        Ok(Some(CatalogSnapshot::committed(
            pointers,
            Arc::new(Loader::new(objects)),
        )))
    }

    /// The warehouse of a catalog that several servers share.
    pub fn warehouse(&self) -> Option<&str> {
        self.inspection.content.as_ref()?.warehouse.as_deref()
    }

    /// Objects that wait to be deleted, and directories, with a slash at their ends.
    pub fn garbage(&self) -> HashSet<&str> {
        let content = self.inspection.content.iter();
        let paths = content.flat_map(|content| content.garbage.iter().map(String::as_str));
        paths.filter(|path| counter_in_garbage(path).is_none()).collect()
    }

    /// Transactions that are under way or not cleaned up after: when they began, in milliseconds since 1970 UTC, and the
    /// directories of tables they write below.
    pub fn open_transactions(&self) -> &[(i64, String)] {
        self.inspection.content.as_ref().map_or(&[], |content| &content.open)
    }

    /// Servers that are noted, and when they said last that they live.
    pub fn servers(&self) -> &[(Uuid, Option<i64>)] {
        self.inspection.content.as_ref().map_or(&[], |content| &content.servers)
    }
}
