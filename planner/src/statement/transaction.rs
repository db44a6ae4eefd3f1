//! `COMMIT`, `ROLLBACK`.

use crate::error::Result;
use crate::statement::Plan;

pub(crate) fn commit(chain: bool) -> Result<Plan> {
    Ok(Plan::Commit { chain })
}

pub(crate) fn rollback(chain: bool) -> Result<Plan> {
    Ok(Plan::Rollback { chain })
}
