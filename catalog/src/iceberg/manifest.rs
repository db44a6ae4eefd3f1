//! Manifests and manifest lists: the files of a snapshot and what their columns hold.
//!
//! Spec sections "Manifests", "Manifest Lists" and, for bounds, "Binary single-value serialization".

use std::collections::HashMap;
use std::sync::Arc;

use ::iceberg::io::FileIO;
use ::iceberg::spec::{
    DataContentType, DataFile as IcebergDataFile, DataFileBuilder, DataFileFormat, Datum, Literal, Manifest,
    ManifestContentType, ManifestEntry, ManifestFile as IcebergManifestFile, ManifestList, ManifestListWriter,
    ManifestStatus, ManifestWriter, ManifestWriterBuilder, PartitionSpecRef, Schema, Struct, StructType, Transform,
    Type,
};
use bytes::Bytes;

use super::metadata::Metadata;
use super::value::{datum, is_a_number, may_be_truncated, truncate_lower, truncate_upper, value};
use super::{corrupt, decode, encode_failed};
use crate::error::{Error, ErrorKind, Result};
use crate::file::{ColumnStatistics, DataFile, DeleteContent, DeleteFile, LiveFile, ManifestInfo, RemovedFiles};
use crate::value::Value;

/// An object that is ready to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) location: String,
    pub(crate) bytes: Bytes,
}

/// One manifest as a manifest list names it.
#[derive(Clone, Debug)]
pub(crate) struct ManifestFile(IcebergManifestFile);

impl ManifestFile {
    pub(crate) fn location(&self) -> &str {
        &self.0.manifest_path
    }

    pub(crate) fn length_bytes(&self) -> u64 {
        self.0.manifest_length.try_into().unwrap_or(0)
    }

    pub(crate) fn spec_id(&self) -> i32 {
        self.0.partition_spec_id
    }

    /// Whether the manifest lists data files, not row-level deletes.
    pub(crate) fn is_data(&self) -> bool {
        self.0.content == ManifestContentType::Data
    }

    pub(crate) fn info(&self) -> ManifestInfo {
        let ManifestFile(file) = self;
        ManifestInfo {
            location: file.manifest_path.clone(),
            size_bytes: self.length_bytes(),
            spec_id: file.partition_spec_id,
            lists_deletes: !self.is_data(),
            sequence_number: file.sequence_number,
            snapshot_id: file.added_snapshot_id,
            added: (file.added_files_count.map(u64::from), file.added_rows_count),
            existing: (file.existing_files_count.map(u64::from), file.existing_rows_count),
            deleted: (file.deleted_files_count.map(u64::from), file.deleted_rows_count),
        }
    }

    /// Whether any of its entries can be alive.
    pub(crate) fn has_live_files(&self) -> bool {
        self.0.has_added_files() || self.0.has_existing_files()
    }
}

/// The live files of one manifest.
#[derive(Debug, Default)]
pub(crate) struct ManifestContent {
    /// Data files; which of their rows are deleted is not known here.
    pub(crate) data: Vec<Arc<LiveFile>>,
    pub(crate) deletes: Vec<Arc<DeleteFile>>,
}

impl ManifestContent {
    /// Bytes this value really holds.
    pub(crate) fn heap_bytes(&self) -> usize {
        let data = self
            .data
            .iter()
            .map(|file| size_of::<LiveFile>() + file.data.heap_bytes());
        data.chain(self.deletes.iter().map(|file| file.heap_bytes())).sum()
    }
}

/// Encodes the manifest that adds `files`, all of one partition spec, to the table.
pub(crate) async fn write_manifest(
    metadata: &Metadata,
    spec_id: i32,
    snapshot_id: i64,
    files: &[Arc<DataFile>],
    location: String,
) -> Result<(ManifestFile, Encoded)> {
    let spec = spec(metadata, spec_id)?;
    let schema = metadata.inner.current_schema();
    let partition_type = spec
        .partition_type(schema)
        .map_err(|error| encode_failed("a manifest", error))?;
    let mut memory = MemoryManifest::new(metadata, &spec, snapshot_id, true)?;
    for file in files {
        let file = to_iceberg(file, schema, &partition_type)?;
        // The sequence number is inherited from the manifest list, so a retry can use the manifest again.
        memory
            .writer
            .add_file(file, -1)
            .map_err(|error| encode_failed("a manifest", error))?;
    }
    memory.finish(location).await
}

/// Encodes the manifest that adds delete files, all of one partition spec and each about one data file.
pub(crate) async fn write_delete_manifest(
    metadata: &Metadata,
    spec_id: i32,
    snapshot_id: i64,
    files: &[DeleteFile],
    location: String,
) -> Result<(ManifestFile, Encoded)> {
    let spec = spec(metadata, spec_id)?;
    let schema = metadata.inner.current_schema();
    let partition_type = spec
        .partition_type(schema)
        .map_err(|error| encode_failed("a manifest", error))?;
    let mut memory = MemoryManifest::new(metadata, &spec, snapshot_id, false)?;
    for file in files {
        let file = deletes_to_iceberg(file, &partition_type)?;
        memory
            .writer
            .add_file(file, -1)
            .map_err(|error| encode_failed("a manifest", error))?;
    }
    memory.finish(location).await
}

/// Encodes one manifest with the live entries of several of the same partition spec and content; the `removed` ones
/// are marked as deleted by the new snapshot.
pub(crate) async fn merge_manifest(
    metadata: &Metadata,
    spec_id: i32,
    snapshot_id: i64,
    parts: &[(ManifestFile, Bytes)],
    removed: &RemovedFiles,
    location: String,
) -> Result<(ManifestFile, Encoded)> {
    let is_data = parts.iter().all(|(part, _)| part.is_data());
    let mut memory = MemoryManifest::new(metadata, &*spec(metadata, spec_id)?, snapshot_id, is_data)?;
    for (part, bytes) in parts {
        // Rows of deletes have no ids.
        let mut next_row_id = part.0.first_row_id.filter(|_| is_data);
        for entry in parse(part, bytes)? {
            if entry.is_alive() {
                let file = with_row_id(&entry.data_file, &mut next_row_id, part)?;
                let vector_of = vector_of(&file);
                let is_removed = removed.contains(file.file_path(), vector_of.as_deref());
                memory.keep(part, &entry, file, is_removed)?;
            }
        }
    }
    memory.finish(location).await
}

/// Of a deletion vector the data file it is about.
fn vector_of(file: &IcebergDataFile) -> Option<String> {
    match file.file_format() {
        DataFileFormat::Puffin => file.referenced_data_file(),
        _ => None,
    }
}

/// The data file as another manifest may name it: a row id that it inherits from its own one is written out (spec section
/// "First Row ID Inheritance").
fn with_row_id(
    file: &IcebergDataFile,
    next_row_id: &mut Option<u64>,
    manifest: &ManifestFile,
) -> Result<IcebergDataFile> {
    let (None, Some(first)) = (file.first_row_id(), *next_row_id) else {
        return Ok(file.clone());
    };
    let overflow = || corrupt(manifest.location(), "row ids beyond 2^63");
    *next_row_id = Some(first.checked_add(file.record_count()).ok_or_else(overflow)?);
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(Some(i64::try_from(first).map_err(|_| overflow())?))
        .partition_spec_id(manifest.spec_id());
    if let Some(id) = file.sort_order_id() {
        builder.sort_order_id(id);
    }
    builder
        .build()
        .map_err(|error| Error::internal("cannot encode a data file").with_detail(error.to_string()))
}

/// A sequence number an entry leaves out is that of its manifest, for entries that were added by it and for all entries
/// of version 1 (spec section "Sequence Number Inheritance").
fn inherited(entry: &ManifestEntry, own: Option<i64>, manifest: &ManifestFile) -> Option<i64> {
    let inherits = entry.status == ManifestStatus::Added || manifest.0.sequence_number == 0;
    own.or(inherits.then_some(manifest.0.sequence_number))
}

/// A manifest list that is ready to be stored.
pub(crate) struct WrittenList {
    pub(crate) object: Encoded,
    /// The manifests as a reader of the list finds them, with their sequence numbers.
    pub(crate) manifests: Vec<ManifestFile>,
    /// Format version 3: the first row id it gives out, and how many.
    pub(crate) row_ids: Option<(u64, u64)>,
}

/// Encodes the manifest list of a new snapshot on top of `metadata`.
pub(crate) async fn write_list(
    metadata: &Metadata,
    snapshot_id: i64,
    manifests: &[ManifestFile],
    location: String,
) -> Result<WrittenList> {
    let failed = |error| encode_failed("a manifest list", error);
    let memory = FileIO::new_with_memory();
    let output = memory.new_output(MEMORY_PATH).map_err(failed)?;
    let output = output.writer().await.map_err(failed)?;
    let (parent, number) = (metadata.inner.current_snapshot_id(), metadata.next_sequence_number());
    let first_row_id = metadata.has_row_ids().then(|| metadata.inner.next_row_id());
    let mut writer = match first_row_id {
        Some(_) => ManifestListWriter::v3(output, snapshot_id, parent, number, first_row_id),
        None => ManifestListWriter::v2(output, snapshot_id, parent, number),
    };
    writer
        .add_manifests(manifests.iter().map(|manifest| manifest.0.clone()))
        .map_err(failed)?;
    let row_ids = first_row_id
        .zip(writer.next_row_id())
        .map(|(first, next)| (first, next.saturating_sub(first)));
    writer.close().await.map_err(failed)?;
    let bytes = read_back(&memory).await?;
    Ok(WrittenList {
        manifests: read_list(metadata, &location, &bytes)?,
        object: Encoded { location, bytes },
        row_ids,
    })
}

/// Reads the manifest list of the table's current snapshot.
pub(crate) fn read_list(metadata: &Metadata, location: &str, bytes: &[u8]) -> Result<Vec<ManifestFile>> {
    decode(location, || {
        let version = metadata.inner.format_version();
        let list = ManifestList::parse_with_version(bytes, version).map_err(|error| corrupt(location, error))?;
        Ok(list.consume_entries().into_iter().map(ManifestFile).collect())
    })
}

/// Reads the live files of a manifest.
pub(crate) fn read_manifest(manifest: &ManifestFile, bytes: &[u8]) -> Result<ManifestContent> {
    let location = manifest.location();
    decode(location, || {
        let parsed = Manifest::parse_avro(bytes).map_err(|error| corrupt(location, error))?;
        let (entries, header) = parsed.into_parts();
        let spec = header.partition_spec();
        let partition_type = spec
            .partition_type(header.schema())
            .map_err(|error| corrupt(location, error))?;
        let days: Vec<bool> = spec
            .fields()
            .iter()
            .map(|field| field.transform == Transform::Day)
            .collect();
        let mut content = ManifestContent::default();
        for entry in entries.iter().filter(|entry| entry.is_alive()) {
            let number = inherited(entry, entry.sequence_number, manifest)
                .ok_or_else(|| corrupt(location, "an entry has no sequence number"))?;
            let partition = partition(entry, &partition_type, &days, location)?;
            if manifest.is_data() {
                let file = from_iceberg(entry, manifest.spec_id(), partition, location)?;
                content.data.push(Arc::new(LiveFile::whole(Arc::new(file), number)));
            } else {
                let file = deletes_from_iceberg(entry, manifest.spec_id(), partition, number, location)?;
                content.deletes.push(Arc::new(file));
            }
        }
        Ok(content)
    })
}

fn parse(manifest: &ManifestFile, bytes: &[u8]) -> Result<Vec<Arc<ManifestEntry>>> {
    let location = manifest.location();
    decode(location, || {
        let parsed = Manifest::parse_avro(bytes).map_err(|error| corrupt(location, error))?;
        Ok(parsed.into_parts().0)
    })
}

fn spec(metadata: &Metadata, spec_id: i32) -> Result<PartitionSpecRef> {
    metadata
        .inner
        .partition_spec_by_id(spec_id)
        .cloned()
        .ok_or_else(|| Error::internal(format!("the table has no partition spec {spec_id}")))
}

const MEMORY_PATH: &str = "memory:///object";

/// The crate's manifest writer over a file in memory.
struct MemoryManifest {
    memory: FileIO,
    writer: ManifestWriter,
}

impl MemoryManifest {
    fn new(
        metadata: &Metadata,
        spec: &::iceberg::spec::PartitionSpec,
        snapshot_id: i64,
        is_data: bool,
    ) -> Result<Self> {
        let memory = FileIO::new_with_memory();
        let output = memory
            .new_output(MEMORY_PATH)
            .map_err(|error| encode_failed("a manifest", error))?;
        let schema = metadata.inner.current_schema().clone();
        let builder = ManifestWriterBuilder::new(output, Some(snapshot_id), schema, spec.clone());
        Ok(MemoryManifest {
            memory,
            writer: match (metadata.has_row_ids(), is_data) {
                (false, true) => builder.build_v2_data(),
                (false, false) => builder.build_v2_deletes(),
                (true, true) => builder.build_v3_data(),
                (true, false) => builder.build_v3_deletes(),
            },
        })
    }

    /// Takes over a live entry of an older manifest: it stays as it is, or is deleted by the new snapshot.
    fn keep(
        &mut self,
        part: &ManifestFile,
        entry: &ManifestEntry,
        file: IcebergDataFile,
        is_removed: bool,
    ) -> Result<()> {
        let missing = || corrupt(part.location(), "an entry has no sequence number or snapshot");
        let number = inherited(entry, entry.sequence_number, part).ok_or_else(missing)?;
        let file_number = inherited(entry, entry.file_sequence_number, part).ok_or_else(missing)?;
        let added_by = entry.snapshot_id.unwrap_or(part.0.added_snapshot_id);
        let kept = match is_removed {
            true => self.writer.add_delete_file(file, number, Some(file_number)),
            false => self.writer.add_existing_file(file, added_by, number, Some(file_number)),
        };
        kept.map_err(|error| encode_failed("a manifest", error))
    }

    async fn finish(self, location: String) -> Result<(ManifestFile, Encoded)> {
        let failed = |error| encode_failed("a manifest", error);
        let mut manifest = self.writer.write_manifest_file().await.map_err(failed)?;
        manifest.manifest_path = location.clone();
        let bytes = read_back(&self.memory).await?;
        Ok((ManifestFile(manifest), Encoded { location, bytes }))
    }
}

async fn read_back(memory: &FileIO) -> Result<Bytes> {
    let failed = |error| encode_failed("an object", error);
    memory
        .new_input(MEMORY_PATH)
        .map_err(failed)?
        .read()
        .await
        .map_err(failed)
}

fn partition_struct(location: &str, values: &[Option<Value>], partition_type: &StructType) -> Result<Struct> {
    let fields = partition_type.fields();
    if fields.len() != values.len() {
        return Err(Error::internal(format!(
            "file \"{location}\" has {} partition values, its spec {}",
            values.len(),
            fields.len()
        )));
    }
    let mut partition = Vec::with_capacity(fields.len());
    for (field, value) in fields.iter().zip(values) {
        let literal = match (value, field.field_type.as_primitive_type()) {
            (None, _) => None,
            (Some(value), Some(ty)) => Some(Literal::Primitive(datum(value, ty)?.literal().clone())),
            (Some(_), None) => return Err(Error::internal(format!("partition field \"{}\" is nested", field.name))),
        };
        partition.push(literal);
    }
    Ok(Struct::from_iter(partition))
}

/// Field ids of the two columns of a file of position deletes.
const DELETED_FILE_ID: i32 = 2_147_483_546;
const DELETED_POSITION_ID: i32 = 2_147_483_545;

/// A file of deletes about one data file.
fn deletes_to_iceberg(file: &DeleteFile, partition_type: &StructType) -> Result<IcebergDataFile> {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .file_path(file.location.clone())
        .partition(partition_struct(&file.location, &file.partition, partition_type)?)
        .record_count(file.row_count)
        .file_size_in_bytes(file.size_bytes)
        .referenced_data_file(file.data_file().map(str::to_owned))
        .partition_spec_id(file.spec_id);
    match &file.content {
        DeleteContent::Positions {
            data_file: Some(data_file),
        } => {
            // Some readers find the data file only by the bounds of the path, so these are never cut.
            let path = HashMap::from([(DELETED_FILE_ID, Datum::string(data_file))]);
            let counts = |count: u64| HashMap::from([(DELETED_FILE_ID, count), (DELETED_POSITION_ID, count)]);
            builder
                .file_format(DataFileFormat::Parquet)
                .value_counts(counts(file.row_count))
                .null_value_counts(counts(0))
                .lower_bounds(path.clone())
                .upper_bounds(path);
        }
        DeleteContent::Vector { offset, length, .. } => {
            let number = |number: u64| i64::try_from(number).map_err(|_| Error::internal("a Puffin file beyond 2^63"));
            builder
                .file_format(DataFileFormat::Puffin)
                .content_offset(Some(number(*offset)?))
                .content_size_in_bytes(Some(number(*length)?));
        }
        _ => return Err(Error::internal("only deletes of one data file are written")),
    }
    builder
        .build()
        .map_err(|error| Error::internal("cannot encode a delete file").with_detail(error.to_string()))
}

fn to_iceberg(file: &DataFile, schema: &Schema, partition_type: &StructType) -> Result<IcebergDataFile> {
    let partition = partition_struct(&file.location, &file.partition, partition_type)?;
    let mut sizes = HashMap::new();
    let mut values = HashMap::new();
    let mut nulls = HashMap::new();
    let mut nans = HashMap::new();
    let mut lower = HashMap::new();
    let mut upper = HashMap::new();
    for column in &file.columns {
        let id = column.field_id;
        let ty = schema
            .field_by_id(id)
            .and_then(|field| field.field_type.as_primitive_type())
            .ok_or_else(|| {
                Error::internal(format!(
                    "file \"{}\" has statistics of field {id}, which is no leaf",
                    file.location
                ))
            })?;
        sizes.insert(id, column.size_bytes);
        values.insert(id, column.value_count);
        nulls.insert(id, column.null_count);
        if let Some(count) = column.nan_count {
            nans.insert(id, count);
        }
        if let Some(bound) = column.lower.as_ref().map(truncate_lower).filter(is_a_number) {
            lower.insert(id, datum(&bound, ty)?);
        }
        if let Some(bound) = column.upper.as_ref().and_then(truncate_upper).filter(is_a_number) {
            upper.insert(id, datum(&bound, ty)?);
        }
    }

    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(file.location.clone())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .record_count(file.row_count)
        .file_size_in_bytes(file.size_bytes)
        .column_sizes(sizes)
        .value_counts(values)
        .null_value_counts(nulls)
        .nan_value_counts(nans)
        .lower_bounds(lower)
        .upper_bounds(upper)
        .split_offsets((!file.split_offsets.is_empty()).then(|| file.split_offsets.clone()))
        .partition_spec_id(file.spec_id);
    if let Some(id) = file.sort_order_id {
        builder.sort_order_id(id);
    }
    builder
        .build()
        .map_err(|error| Error::internal("cannot encode a data file").with_detail(error.to_string()))
}

fn from_iceberg(
    entry: &ManifestEntry,
    spec_id: i32,
    partition: Vec<Option<Value>>,
    manifest: &str,
) -> Result<DataFile> {
    let file = entry.data_file();
    if file.content_type() != DataContentType::Data {
        return Err(corrupt(manifest, "a manifest of data files lists a delete file"));
    }
    if file.file_format() != DataFileFormat::Parquet {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "data file \"{}\" is not a Parquet file, which is not supported",
                file.file_path()
            ),
        ));
    }
    Ok(DataFile {
        location: file.file_path().to_owned(),
        size_bytes: file.file_size_in_bytes(),
        row_count: file.record_count(),
        spec_id,
        partition,
        columns: column_statistics(file),
        sort_order_id: file.sort_order_id(),
        split_offsets: file.split_offsets().unwrap_or_default().to_vec(),
    })
}

fn deletes_from_iceberg(
    entry: &ManifestEntry,
    spec_id: i32,
    partition: Vec<Option<Value>>,
    sequence_number: i64,
    manifest: &str,
) -> Result<DeleteFile> {
    let file = entry.data_file();
    let content = match (file.content_type(), file.file_format()) {
        (DataContentType::Data, _) => {
            return Err(corrupt(manifest, "a manifest of delete files lists a data file"));
        }
        (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
            let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
            let place = (number(file.content_offset()), number(file.content_size_in_bytes()));
            let (Some(data_file), (Some(offset), Some(length))) = (file.referenced_data_file(), place) else {
                return Err(corrupt(
                    manifest,
                    "a deletion vector without its place or its data file",
                ));
            };
            DeleteContent::Vector {
                data_file,
                offset,
                length,
            }
        }
        (DataContentType::PositionDeletes, DataFileFormat::Parquet) => DeleteContent::Positions {
            data_file: file.referenced_data_file().or_else(|| only_path(file)),
        },
        (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => DeleteContent::Equality {
            field_ids: match file.equality_ids() {
                Some(ids) if !ids.is_empty() => ids,
                _ => return Err(corrupt(manifest, "an equality delete file without columns")),
            },
        },
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "delete file \"{}\" is not a Parquet file, which is not supported",
                    file.file_path()
                ),
            ));
        }
    };
    Ok(DeleteFile {
        location: file.file_path().to_owned(),
        size_bytes: file.file_size_in_bytes(),
        row_count: file.record_count(),
        spec_id,
        partition,
        sequence_number,
        content,
    })
}

/// The path all position deletes of a file have, if its bounds say there is only one.
fn only_path(file: &IcebergDataFile) -> Option<String> {
    let (lower, upper) = (
        file.lower_bounds().get(&DELETED_FILE_ID)?,
        file.upper_bounds().get(&DELETED_FILE_ID)?,
    );
    match (
        value(lower.data_type(), lower.literal()),
        value(upper.data_type(), upper.literal()),
    ) {
        (Some(Value::String(lower)), Some(Value::String(upper))) if lower == upper => Some(lower),
        _ => None,
    }
}

fn partition(
    entry: &ManifestEntry,
    partition_type: &StructType,
    days: &[bool],
    manifest: &str,
) -> Result<Vec<Option<Value>>> {
    let file = entry.data_file();
    if file.partition().fields().len() != partition_type.fields().len() {
        return Err(corrupt(manifest, "a partition tuple does not fit its spec"));
    }
    let mut partition = Vec::with_capacity(days.len());
    for ((field, literal), day) in partition_type.fields().iter().zip(file.partition().iter()).zip(days) {
        let value = match literal {
            None => None,
            Some(literal) => {
                let literal = literal.as_primitive_literal();
                let value = match (&*field.field_type, literal) {
                    (Type::Primitive(ty), Some(literal)) => value(ty, &literal),
                    _ => None,
                };
                Some(value.ok_or_else(|| corrupt(manifest, "a partition value does not fit its type"))?)
            }
        };
        // The result of `day` is an int that Iceberg prints as a date.
        partition.push(match value {
            Some(Value::Date(days)) if *day => Some(Value::Int(days)),
            other => other,
        });
    }
    Ok(partition)
}

/// The statistics of the columns whose values and nulls were counted; without both counts nothing safe can be said.
fn column_statistics(file: &IcebergDataFile) -> Vec<ColumnStatistics> {
    let mut columns = Vec::with_capacity(file.value_counts().len());
    for (&field_id, &value_count) in file.value_counts() {
        let Some(&null_count) = file.null_value_counts().get(&field_id) else {
            continue;
        };
        let bound =
            |bounds: &HashMap<i32, Datum>| bounds.get(&field_id).and_then(|d| value(d.data_type(), d.literal()));
        let (lower, upper) = (bound(file.lower_bounds()), bound(file.upper_bounds()));
        let bounds_exact =
            !lower.as_ref().is_some_and(may_be_truncated) && !upper.as_ref().is_some_and(may_be_truncated);
        columns.push(ColumnStatistics {
            field_id,
            size_bytes: file.column_sizes().get(&field_id).copied().unwrap_or(0),
            value_count,
            null_count,
            nan_count: file.nan_value_counts().get(&field_id).copied(),
            lower,
            upper,
            bounds_exact,
        });
    }
    columns.sort_by_key(|column| column.field_id);
    columns
}
