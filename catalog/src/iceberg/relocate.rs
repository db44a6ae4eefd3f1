//! Metadata, manifest lists and manifests of a table that lies in another place now.
//!
//! Nothing but locations changes, and the sizes of files that hold locations themselves. Manifests are therefore not read and
//! written anew: their Avro is walked along its own schema and everything else is copied as it is, whoever wrote it.

use std::collections::HashMap;

use apache_avro::{Codec, DeflateSettings};
use serde_json::{Value, json};

use super::corrupt;
use crate::error::{Error, Result};
use crate::relocation::Relocation;

/// Sizes of files that became others, by their new locations.
pub type NewSizes = HashMap<String, u64>;

/// Properties of tables that name directories.
const DIRECTORIES: [&str; 4] = [
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
];

/// The metadata file of a table or view. Older metadata files are forgotten: they are not taken along.
pub fn relocate_metadata(location: &str, bytes: &[u8], relocation: &Relocation) -> Result<Vec<u8>> {
    let mut metadata: Value = serde_json::from_slice(bytes).map_err(|error| corrupt(location, error))?;
    let set = |value: &mut Value| {
        if let Some(text) = value.as_str() {
            *value = json!(relocation.location(text));
        }
    };
    if let Some(value) = metadata.get_mut("location") {
        set(value);
    }
    let mut each = |list: &str, key: &str| {
        let items = metadata.get_mut(list).and_then(Value::as_array_mut);
        for value in items.into_iter().flatten().filter_map(|item| item.get_mut(key)) {
            match value {
                // Format version 1 may name the manifests themselves.
                Value::Array(values) => values.iter_mut().for_each(set),
                value => set(value),
            }
        }
    };
    each("snapshots", "manifest-list");
    each("snapshots", "manifests");
    each("statistics", "statistics-path");
    each("partition-statistics", "statistics-path");
    if let Some(log) = metadata.get_mut("metadata-log") {
        *log = json!([]);
    }
    for directory in DIRECTORIES {
        if let Some(value) = metadata.get_mut("properties").and_then(|all| all.get_mut(directory)) {
            set(value);
        }
    }
    serde_json::to_vec(&metadata).map_err(|error| Error::internal("cannot encode table metadata").with_source(error))
}

/// A manifest list or a manifest.
pub fn relocate_manifest(location: &str, bytes: &[u8], relocation: &Relocation, sizes: &NewSizes) -> Result<Vec<u8>> {
    let failed = |detail: &str| corrupt(location, detail);
    rewrite(bytes, relocation, sizes).map_err(|Malformed(detail)| failed(detail))
}

/// What is wrong with an Avro file.
struct Malformed(&'static str);

type Walked<T> = std::result::Result<T, Malformed>;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_LENGTH: usize = 16;
/// Schemas of manifests are no deeper than 7.
const DEPTH_MAX: usize = 32;

fn rewrite(bytes: &[u8], relocation: &Relocation, sizes: &NewSizes) -> Walked<Vec<u8>> {
    let mut input = Input(bytes);
    if input.take(MAGIC.len())? != MAGIC {
        return Err(Malformed("it is no Avro file"));
    }
    let mut header = Vec::new();
    input.blocks(|input| {
        let key = input.bytes()?.to_vec();
        header.push((key, input.bytes()?.to_vec()));
        Ok(())
    })?;
    let sync = input.take(SYNC_LENGTH)?;
    let entry = |name: &str| header.iter().find(|(key, _)| key == name.as_bytes());
    let schema = entry("avro.schema").ok_or(Malformed("its schema is missing"))?;
    let schema: Value = serde_json::from_slice(&schema.1).map_err(|_| Malformed("its schema cannot be read"))?;
    let codec = match entry("avro.codec").map(|(_, codec)| codec.as_slice()) {
        None | Some(b"null") => Codec::Null,
        Some(b"deflate") => Codec::Deflate(DeflateSettings::default()),
        Some(_) => return Err(Malformed("it is compressed in a way that is not supported")),
    };
    let mut types = HashMap::new();
    name_types(&schema, &mut types);

    let mut output = MAGIC.to_vec();
    // Written without compression.
    header.retain(|(key, _)| key != b"avro.codec");
    header.push((b"avro.codec".to_vec(), b"null".to_vec()));
    put_long(&mut output, header.len() as i64);
    for (key, value) in &header {
        put_bytes(&mut output, key);
        put_bytes(&mut output, value);
    }
    put_long(&mut output, 0);
    output.extend(sync);
    while !input.0.is_empty() {
        let (count, length) = (input.long()?, input.length()?);
        let mut block = input.take(length)?.to_vec();
        if input.take(SYNC_LENGTH)? != sync {
            return Err(Malformed("a block of it is damaged"));
        }
        codec
            .decompress(&mut block)
            .map_err(|_| Malformed("a block of it cannot be decompressed"))?;
        // No row of a manifest takes no byte.
        if usize::try_from(count).map_or(true, |count| count > block.len()) {
            return Err(Malformed("a block of it is shorter than its rows"));
        }
        let mut walk = Walk {
            input: Input(&block),
            output: Vec::with_capacity(block.len()),
            types: &types,
            relocation,
            sizes,
            size: None,
            bounded: 0,
        };
        for _ in 0..count {
            walk.value(&schema, Place::default(), 0)?;
        }
        if !walk.input.0.is_empty() {
            return Err(Malformed("a block of it is longer than its rows"));
        }
        put_long(&mut output, count);
        put_bytes(&mut output, &walk.output);
        output.extend(sync);
    }
    Ok(output)
}

/// Field id of the column with the paths of a file of position deletes.
const DELETED_FILE_ID: i64 = 2_147_483_546;

/// Where in a row a value is.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    field: &'a str,
    /// In the partition: its fields have names of users.
    is_partition: bool,
    /// Among bounds; whether upper ones.
    bounds: Option<bool>,
}

struct Walk<'a> {
    input: Input<'a>,
    output: Vec<u8>,
    types: &'a HashMap<String, &'a Value>,
    relocation: &'a Relocation,
    sizes: &'a NewSizes,
    /// The new size of the file whose location was just passed.
    size: Option<u64>,
    /// The field whose bound comes next.
    bounded: i64,
}

impl<'a> Walk<'a> {
    fn value(&mut self, schema: &'a Value, place: Place<'a>, depth: usize) -> Walked<()> {
        if depth > DEPTH_MAX {
            return Err(Malformed("its schema is too deep"));
        }
        match schema {
            Value::Array(variants) => {
                let variant = self.input.long()?;
                put_long(&mut self.output, variant);
                let schema = usize::try_from(variant).ok().and_then(|variant| variants.get(variant));
                self.value(
                    schema.ok_or(Malformed("a union has no such variant"))?,
                    place,
                    depth + 1,
                )
            }
            Value::String(name) => self.named(name, schema, place, depth),
            Value::Object(fields) => match fields.get("type") {
                Some(Value::String(name)) => self.named(name, schema, place, depth),
                Some(inner) => self.value(inner, place, depth + 1),
                None => Err(Malformed("its schema has no type")),
            },
            _ => Err(Malformed("its schema cannot be read")),
        }
    }

    fn named(&mut self, name: &str, schema: &'a Value, place: Place<'a>, depth: usize) -> Walked<()> {
        let part = |key: &str| schema.get(key).ok_or(Malformed("its schema is not complete"));
        match name {
            "null" => {}
            "boolean" => self.copy(1)?,
            "float" => self.copy(4)?,
            "double" => self.copy(8)?,
            "int" | "long" => self.number(place)?,
            "enum" => {
                let symbol = self.input.long()?;
                put_long(&mut self.output, symbol);
            }
            "fixed" => {
                let size = part("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                self.copy(size.ok_or(Malformed("its schema has a wrong size"))?)?;
            }
            "bytes" | "string" => self.text(place)?,
            "array" => self.items(part("items")?, false, place, depth)?,
            "map" => self.items(part("values")?, true, place, depth)?,
            "record" => {
                let fields = part("fields")?.as_array();
                for field in fields.ok_or(Malformed("its schema has no fields"))? {
                    let name = field["name"].as_str().ok_or(Malformed("a field has no name"))?;
                    let inner = Place {
                        field: name,
                        is_partition: place.is_partition || name == "partition",
                        bounds: match name {
                            "lower_bounds" => Some(false),
                            "upper_bounds" => Some(true),
                            _ => place.bounds,
                        },
                    };
                    self.value(&field["type"], inner, depth + 1)?;
                }
            }
            other => {
                let known = self.types.get(other).copied();
                self.value(known.ok_or(Malformed("a type has no definition"))?, place, depth + 1)?;
            }
        }
        Ok(())
    }

    fn number(&mut self, place: Place<'a>) -> Walked<()> {
        let mut number = self.input.long()?;
        match place.field {
            _ if place.is_partition => {}
            "key" if place.bounds.is_some() => self.bounded = number,
            "manifest_length" | "file_size_in_bytes" => {
                if let Some(size) = self.size.take() {
                    number = i64::try_from(size).map_err(|_| Malformed("a file is too large"))?;
                }
            }
            _ => {}
        }
        put_long(&mut self.output, number);
        Ok(())
    }

    fn text(&mut self, place: Place<'a>) -> Walked<()> {
        let bytes = self.input.bytes()?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed("a location is no text"));
        let moved = match (place.field, place.bounds) {
            _ if place.is_partition => None,
            ("manifest_path" | "file_path", _) => {
                let location = self.relocation.location(text(bytes)?);
                self.size = self.sizes.get(&location).copied();
                Some(location)
            }
            ("referenced_data_file", _) => Some(self.relocation.location(text(bytes)?)),
            ("value", Some(is_upper)) if self.bounded == DELETED_FILE_ID => {
                Some(self.relocation.bound(text(bytes)?, is_upper))
            }
            _ => None,
        };
        put_bytes(&mut self.output, moved.as_deref().map_or(bytes, str::as_bytes));
        Ok(())
    }

    fn items(&mut self, schema: &'a Value, has_keys: bool, place: Place<'a>, depth: usize) -> Walked<()> {
        while let Some(count) = self.input.block()? {
            put_long(&mut self.output, count as i64);
            for _ in 0..count {
                if has_keys {
                    let key = self.input.bytes()?;
                    put_bytes(&mut self.output, key);
                }
                self.value(schema, place, depth + 1)?;
            }
        }
        put_long(&mut self.output, 0);
        Ok(())
    }

    fn copy(&mut self, length: usize) -> Walked<()> {
        let bytes = self.input.take(length)?;
        self.output.extend(bytes);
        Ok(())
    }
}

/// Finds the types that have names.
fn name_types<'a>(schema: &'a Value, types: &mut HashMap<String, &'a Value>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| name_types(item, types)),
        Value::Object(fields) => {
            let is_named = matches!(schema["type"].as_str(), Some("record" | "fixed" | "enum"));
            if let Some(name) = schema["name"].as_str().filter(|_| is_named) {
                types.insert(name.to_owned(), schema);
                if let Some(space) = schema["namespace"].as_str() {
                    types.insert(format!("{space}.{name}"), schema);
                }
            }
            for key in ["type", "items", "values", "fields"] {
                if let Some(inner) = fields.get(key) {
                    name_types(inner, types);
                }
            }
        }
        _ => {}
    }
}

/// What is left of Avro's bytes.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Walked<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Seven bits a byte, the sign in the lowest.
    fn long(&mut self) -> Walked<i64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        Err(Malformed("a number is too long"))
    }

    fn length(&mut self) -> Walked<usize> {
        usize::try_from(self.long()?).map_err(|_| Malformed("a length is negative"))
    }

    fn bytes(&mut self) -> Walked<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// How many items the next block has; `None`: there are no more.
    fn block(&mut self) -> Walked<Option<usize>> {
        let count = self.long()?;
        if count < 0 {
            // The block's length, for who wants to skip it.
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        // No item of a manifest takes no byte.
        match count <= self.0.len() {
            true => Ok((count > 0).then_some(count)),
            false => Err(Malformed("a list is longer than the file")),
        }
    }

    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Walked<()>) -> Walked<()> {
        while let Some(count) = self.block()? {
            for _ in 0..count {
                item(self)?;
            }
        }
        Ok(())
    }
}

fn put_long(output: &mut Vec<u8>, number: i64) {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    while rest >= 0x80 {
        output.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    output.push(rest as u8);
}

fn put_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    put_long(output, bytes.len() as i64);
    output.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "entry", "fields": [
        {"name": "file_path", "type": "string"},
        {"name": "partition", "type": {"type": "record", "name": "p", "fields": [{"name": "file_path", "type": ["null", "string"]}]}},
        {"name": "file_size_in_bytes", "type": "long"},
        {"name": "lower_bounds", "type": ["null", {"type": "array", "logicalType": "map", "items": {"type": "record", "name": "b",
            "fields": [{"name": "key", "type": "int"}, {"name": "value", "type": "bytes"}]}}]},
        {"name": "referenced_data_file", "type": ["null", "string"]}]}"#;
    const SYNC: [u8; SYNC_LENGTH] = [7; SYNC_LENGTH];

    /// One row in a file, as Avro.
    fn file(codec: &str, path: &str, size: i64, bound: &str, referenced: &str) -> Vec<u8> {
        let mut row = Vec::new();
        put_bytes(&mut row, path.as_bytes());
        put_long(&mut row, 1);
        put_bytes(&mut row, b"file:///old/in the partition");
        put_long(&mut row, size);
        put_long(&mut row, 1);
        put_long(&mut row, 2);
        for (key, value) in [(1, "file:///old/x"), (DELETED_FILE_ID, bound)] {
            put_long(&mut row, key);
            put_bytes(&mut row, value.as_bytes());
        }
        put_long(&mut row, 0);
        put_long(&mut row, 1);
        put_bytes(&mut row, referenced.as_bytes());
        if codec == "deflate" {
            Codec::Deflate(DeflateSettings::default()).compress(&mut row).unwrap();
        }
        let mut file = MAGIC.to_vec();
        put_long(&mut file, 2);
        for (key, value) in [("avro.schema", SCHEMA), ("avro.codec", codec)] {
            put_bytes(&mut file, key.as_bytes());
            put_bytes(&mut file, value.as_bytes());
        }
        put_long(&mut file, 0);
        file.extend(SYNC);
        put_long(&mut file, 1);
        put_bytes(&mut file, &row);
        file.extend(SYNC);
        file
    }

    #[test]
    fn locations_sizes_and_bounds_change_and_nothing_else() {
        let relocation = Relocation::new("file:///old", "file:///somewhere/new");
        let sizes = NewSizes::from([("file:///somewhere/new/a".to_owned(), 1 << 40)]);
        let (new, moved) = ("file:///somewhere/new/a", "file:///somewhere/new/d");
        let expected = file("null", new, 1 << 40, moved, moved);
        for codec in ["null", "deflate"] {
            let before = file(codec, "file:///old/a", 5, "file:///old/d", "file:///old/d");
            let after = relocate_manifest("m", &before, &relocation, &sizes).unwrap();
            assert_eq!(after, expected);
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let relocation = Relocation::new("file:///old", "file:///new");
        let good = file("null", "file:///old/a", 5, "file:///old/d", "file:///old/d");
        let rewrite = |bytes: &[u8]| relocate_manifest("m", bytes, &relocation, &NewSizes::new());
        assert!(rewrite(&good).is_ok());
        let ends = good.len() - 150..good.len();
        // Where the one block begins the header ends: a file without rows, and whole.
        assert!(ends.filter(|end| rewrite(&good[..*end]).is_ok()).count() <= 1);
        for place in 0..good.len() {
            for bit in 0..8 {
                let mut changed = good.clone();
                changed[place] ^= 1 << bit;
                // Whatever comes of it, it comes to an end.
                let _ = rewrite(&changed);
            }
        }
    }
}
