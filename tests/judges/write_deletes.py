"""Deletes rows of two of Staffa's tables as other engines do, which pyiceberg itself does not: through its metadata classes.

    python write_deletes.py --data DIR

`by_position` gets one file of position deletes for several data files of a partition: the first row of each data file of
2024-01-01. `by_value` gets an equality delete file for the partition of 2024-01-02: ids 4 and 5, and the NULL id.
"""
import argparse
import datetime
import os
import random
import time

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry, ManifestEntryStatus,
                                ManifestWriterV2, write_manifest_list)
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, SetSnapshotRefUpdate

PATH_ID, POSITION_ID = 2147483546, 2147483545


class DeleteManifestWriter(ManifestWriterV2):
    def content(self):
        return ManifestContent.DELETES

    @property
    def _meta(self):
        return {**super()._meta, "content": "deletes"}


def column(name, kind, field_id, nullable=False):
    return pa.field(name, kind, nullable, {b"PARQUET:field_id": str(field_id).encode()})


def commit(table, content, rows, partition, equality_ids):
    folder = table.location().removeprefix("file://")
    name = f"{folder}/data/foreign-{random.randrange(1 << 32)}.parquet"
    pq.write_table(rows, name)
    file = DataFile.from_args(
        content=content, file_path=f"file://{name}", file_format=FileFormat.PARQUET, partition=partition,
        record_count=rows.num_rows, file_size_in_bytes=os.path.getsize(name), column_sizes={}, value_counts={},
        null_value_counts={}, nan_value_counts={}, lower_bounds={}, upper_bounds={}, equality_ids=equality_ids)
    parent, io = table.current_snapshot(), table.io
    snapshot_id = random.randrange(1, 1 << 62)
    sequence = table.metadata.next_sequence_number()
    manifest = io.new_output(f"file://{folder}/metadata/foreign-{snapshot_id}-m0.avro")
    with DeleteManifestWriter(table.spec(), table.schema(), manifest, snapshot_id, "null") as writer:
        writer.add_entry(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, data_file=file))
    added = writer.to_manifest_file()
    listed = f"file://{folder}/metadata/snap-{snapshot_id}-foreign.avro"
    with write_manifest_list(2, io.new_output(listed), snapshot_id, parent.snapshot_id, sequence, "null") as writer:
        writer.add_manifests(parent.manifests(io) + [added])
    snapshot = Snapshot(snapshot_id=snapshot_id, parent_snapshot_id=parent.snapshot_id, sequence_number=sequence,
                        timestamp_ms=int(time.time() * 1000), manifest_list=listed, schema_id=table.schema().schema_id,
                        summary=Summary(operation=Operation.DELETE))
    table._do_commit(updates=(AddSnapshotUpdate(snapshot=snapshot),
                              SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=snapshot_id)),
                     requirements=(AssertRefSnapshotId(ref="main", snapshot_id=parent.snapshot_id),))


def files_of(table, day):
    number = (day - datetime.date(1970, 1, 1)).days
    tasks = [task.file for task in table.scan().plan_files()]
    return [file for file in tasks if file.partition[0] in (number, day)]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True)
    a = p.parse_args()
    catalog = SqlCatalog("staffa", uri=f"sqlite:///{a.data}/catalog.db", init_catalog_tables="false")

    table = catalog.load_table(("public", "by_position"))
    files = files_of(table, datetime.date(2024, 1, 1))
    assert len(files) > 1, files
    schema = pa.schema([column("file_path", pa.string(), PATH_ID), column("pos", pa.int64(), POSITION_ID)])
    rows = pa.table({"file_path": sorted(file.file_path for file in files), "pos": [0] * len(files)}, schema=schema)
    commit(table, DataFileContent.POSITION_DELETES, rows, files[0].partition, None)

    table = catalog.load_table(("public", "by_value"))
    field = table.schema().find_field("id").field_id
    rows = pa.table({"id": [4, 5, None]}, schema=pa.schema([column("id", pa.int32(), field, True)]))
    files = files_of(table, datetime.date(2024, 1, 2))
    commit(table, DataFileContent.EQUALITY_DELETES, rows, files[0].partition, [field])
    print("done")


if __name__ == "__main__":
    main()
