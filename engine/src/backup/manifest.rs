//! The list of what a backup is made of: lines of JSON, the first about the backup, one for each object, and the last with the
//! checksum of all before it. A manifest that was cut or changed is none.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use staffa_catalog::ObjectRole;
use staffa_planner::{Error, ErrorKind, Result};
use staffa_storage::ObjectDigest;

use super::BackupInfo;

/// The version of this format. A higher one is refused.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) header: Header,
    pub(super) objects: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    pub(super) id: String,
    pub(super) csn: u64,
    pub(super) warehouse: String,
    made_by: String,
    relations: u64,
    catalog_bytes: u64,
    catalog_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Relative to the warehouse.
    pub(super) path: String,
    pub(super) role: ObjectRole,
    pub(super) size_bytes: u64,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Ending {
    objects: u64,
    bytes: u64,
    sha256: String,
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Version {
    format: u32,
    made_by: String,
}

impl Header {
    pub(super) fn new(id: String, csn: u64, warehouse: String, relations: u64, catalog: &ObjectDigest) -> Self {
        Self {
            format: FORMAT,
            id,
            csn,
            warehouse,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            relations,
            catalog_bytes: catalog.size_bytes,
            catalog_sha256: catalog.sha256.clone(),
        }
    }

    pub(super) fn catalog(&self) -> ObjectDigest {
        ObjectDigest {
            size_bytes: self.catalog_bytes,
            sha256: self.catalog_sha256.clone(),
        }
    }
}

impl Entry {
    pub(super) fn new(path: String, role: ObjectRole, digest: &ObjectDigest) -> Self {
        Self {
            path,
            role,
            size_bytes: digest.size_bytes,
            sha256: digest.sha256.clone(),
        }
    }

    pub(super) fn digest(&self) -> ObjectDigest {
        ObjectDigest {
            size_bytes: self.size_bytes,
            sha256: self.sha256.clone(),
        }
    }
}

impl Manifest {
    pub(super) fn print(&self) -> Result<Bytes> {
        let mut text = line(&self.header)?;
        for entry in &self.objects {
            text.push_str(&line(entry)?);
        }
        let ending = Ending {
            objects: self.objects.len() as u64,
            bytes: self.bytes(),
            sha256: ObjectDigest::of(text.as_bytes()).sha256,
        };
        text.push_str(&line(&ending)?);
        Ok(Bytes::from(text))
    }

    pub(super) fn parse(location: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: &str| {
            Error::new(
                ErrorKind::DataCorrupted,
                format!("the manifest of a backup is damaged: \"{location}\""),
            )
            .with_detail(detail.to_owned())
        };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("It is no text."))?;
        let first = text.lines().next().unwrap_or_default();
        if let Ok(version) = serde_json::from_str::<Version>(first)
            && version.format > FORMAT
        {
            return Err(Error::new(
                ErrorKind::FeatureNotSupported,
                format!("the backup was made by a newer version of Staffa: \"{location}\""),
            )
            .with_hint(format!("Use Staffa {} or newer.", version.made_by)));
        }
        let (before, last) = text
            .strip_suffix('\n')
            .and_then(|text| text.rsplit_once('\n'))
            .ok_or_else(|| damaged("It is not complete."))?;
        let before = &text[..=before.len()];
        let ending: Ending = serde_json::from_str(last).map_err(|_| damaged("It is not complete."))?;
        if ObjectDigest::of(before.as_bytes()).sha256 != ending.sha256 {
            return Err(damaged("It does not fit its checksum."));
        }
        let mut lines = before.lines();
        let unreadable = |error: serde_json::Error| damaged(&error.to_string());
        let header = serde_json::from_str(lines.next().unwrap_or_default()).map_err(unreadable)?;
        let objects = lines.map(serde_json::from_str).collect::<Result<Vec<Entry>, _>>();
        let manifest = Self {
            header,
            objects: objects.map_err(unreadable)?,
        };
        // A path leads nowhere else, whoever wrote it.
        let leads_out = |entry: &&Entry| entry.path.split('/').any(|part| matches!(part, "" | "." | ".."));
        match manifest.objects.iter().find(leads_out) {
            Some(entry) => Err(damaged(&format!("\"{}\" is no path of an object.", entry.path))),
            None => Ok(manifest),
        }
    }

    pub(super) fn info(&self) -> BackupInfo {
        let header = &self.header;
        BackupInfo {
            id: header.id.clone(),
            csn: header.csn,
            warehouse: header.warehouse.clone(),
            made_by: header.made_by.clone(),
            relations: header.relations,
            objects: self.objects.len() as u64,
            bytes: self.bytes(),
        }
    }

    fn bytes(&self) -> u64 {
        self.objects.iter().map(|entry| entry.size_bytes).sum()
    }
}

fn line(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|error| Error::internal(format!("cannot write a manifest ({error})")))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let digest = ObjectDigest::of(b"abc");
        Manifest {
            header: Header::new("1".to_owned(), 7, "file:///w".to_owned(), 1, &digest),
            objects: vec![Entry::new("s/t/data/x".to_owned(), ObjectRole::Data, &digest)],
        }
    }

    #[test]
    fn a_manifest_that_was_changed_or_cut_is_none() {
        let manifest = manifest();
        let bytes = manifest.print().unwrap();
        assert_eq!(Manifest::parse("m", &bytes).unwrap(), manifest);
        for end in 0..bytes.len() {
            assert!(Manifest::parse("m", &bytes[..end]).is_err(), "{end}");
        }
        let last = bytes.len() - 1;
        for place in 0..last {
            let mut changed = bytes.to_vec();
            changed[place] ^= 1;
            let parsed = Manifest::parse("m", &changed);
            // Only what the last line says twice may differ and be read.
            assert!(parsed.map_or(true, |parsed| parsed == manifest), "{place}");
        }
    }

    #[test]
    fn paths_that_lead_out_and_newer_formats_are_refused() {
        let mut out = manifest();
        out.objects[0].path = "s/../../etc/passwd".to_owned();
        assert!(Manifest::parse("m", &out.print().unwrap()).is_err());
        let mut newer = manifest();
        newer.header.format = FORMAT + 1;
        let error = Manifest::parse("m", &newer.print().unwrap()).unwrap_err();
        assert!(error.message().contains("newer version"), "{error}");
    }
}
