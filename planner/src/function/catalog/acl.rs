//! Lists of grants (`aclitem[]`) taken apart, and the text of one grant.
//!
//! A grant is `grantee=letters/grantor`: each letter is a privilege, a `*` behind it the right to hand it on.

use staffa_catalog::quote_identifier;

use super::answers::{oid, text};
use super::{Answer, Asked};
use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::CatalogView;

/// In the order in which `aclexplode` gives them.
const PRIVILEGES: &[(char, &str)] = &[
    ('a', "INSERT"),
    ('r', "SELECT"),
    ('w', "UPDATE"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('T', "TEMPORARY"),
    ('c', "CONNECT"),
    ('s', "SET"),
    ('A', "ALTER SYSTEM"),
];

/// One privilege of a list of grants.
struct Grant {
    grantor: u32,
    grantee: u32,
    privilege: &'static str,
    is_grantable: bool,
}

pub(super) fn grantors(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let grants = grants(asked, given)?.into_iter();
    Ok(Answer::Oids(grants.map(|grant| grant.grantor).collect()))
}

/// Everybody is 0.
pub(super) fn grantees(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let grants = grants(asked, given)?.into_iter();
    Ok(Answer::Oids(grants.map(|grant| grant.grantee).collect()))
}

pub(super) fn privileges(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let grants = grants(asked, given)?.into_iter();
    Ok(Answer::Texts(grants.map(|grant| grant.privilege.to_owned()).collect()))
}

/// As texts, which are cast.
pub(super) fn grantables(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let grants = grants(asked, given)?.into_iter();
    Ok(Answer::Texts(
        grants.map(|grant| grant.is_grantable.to_string()).collect(),
    ))
}

fn grants(asked: &Asked<'_>, given: &[Answer]) -> Result<Vec<Grant>> {
    let Some(Answer::Texts(items)) = given.first() else {
        return Ok(Vec::new());
    };
    let mut grants = Vec::new();
    for item in items {
        let (grantee, rest) = name(item)?;
        let rest = rest.strip_prefix('=').ok_or_else(|| malformed(item))?;
        let (letters, rest) = rest.split_once('/').ok_or_else(|| malformed(item))?;
        let (grantor, _) = name(rest)?;
        let (grantee, grantor) = (number(asked.catalog, &grantee), number(asked.catalog, &grantor));
        for (letter, privilege) in PRIVILEGES {
            if let Some((_, behind)) = letters.split_once(*letter) {
                grants.push(Grant {
                    grantor,
                    grantee,
                    privilege,
                    is_grantable: behind.starts_with('*'),
                });
            }
        }
    }
    Ok(grants)
}

/// A role's name at the beginning, which may stand in quotes, and the rest.
fn name(text: &str) -> Result<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['=', '/']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return Ok((name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once('"').ok_or_else(|| malformed(text))?;
        name.push_str(part);
        match behind.strip_prefix('"') {
            Some(further) => {
                name.push('"');
                rest = further;
            }
            None => return Ok((name, behind)),
        }
    }
}

fn number(catalog: &CatalogView, role: &str) -> u32 {
    catalog.roles.named(role).map_or(0, |role| role.oid)
}

fn malformed(item: &str) -> Error {
    let message = format!("invalid input syntax for type aclitem: \"{item}\"");
    Error::new(ErrorKind::InvalidTextRepresentation, message)
}

/// `makeaclitem(grantee, grantor, privilege, is_grantable)`
pub(super) fn made(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let role = |number: u32| match asked.catalog.roles.with_oid(number) {
        Some(role) => quote_identifier(&role.name),
        None => number.to_string(),
    };
    let named = text(given, 2);
    let name = match named.trim().to_uppercase() {
        name if name == "TEMP" => "TEMPORARY".to_owned(),
        name => name,
    };
    let Some((letter, _)) = PRIVILEGES.iter().find(|(_, known)| *known == name) else {
        let message = format!("unrecognized privilege type: \"{named}\"");
        return Err(Error::new(ErrorKind::InvalidParameterValue, message));
    };
    let star = match given.get(3) {
        Some(Answer::Bool(true)) => "*",
        _ => "",
    };
    let grantee = match oid(given, 0) {
        0 => String::new(),
        number => role(number),
    };
    let grantor = role(oid(given, 1));
    Ok(Answer::Text(format!("{grantee}={letter}{star}/{grantor}")))
}
