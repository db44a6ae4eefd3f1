//! `SET`, `RESET`. Which settings exist and what values they take is the session's business.

use crate::error::{Error, ErrorKind, Result};
use crate::statement::Plan;

pub(crate) fn set(name: &str, value: Option<&str>, local: bool) -> Result<Plan> {
    check(name)?;
    Ok(Plan::Set {
        name: name.to_string(),
        value: value.map(str::to_string),
        local,
    })
}

pub(crate) fn reset(name: Option<&str>) -> Result<Plan> {
    if let Some(name) = name {
        check(name)?;
    }
    Ok(Plan::Reset {
        name: name.map(str::to_string),
    })
}

/// DataFusion's own settings lift memory limits and move files: they are nobody's to set.
fn check(name: &str) -> Result<()> {
    if name.starts_with("datafusion.") {
        let message = format!("unrecognized configuration parameter \"{name}\"");
        return Err(Error::new(ErrorKind::UndefinedObject, message));
    }
    Ok(())
}
