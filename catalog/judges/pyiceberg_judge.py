"""Another implementation of Iceberg judges what the catalog writes, and writes what the catalog must read.

Run by the ignored test `catalog::judge::pyiceberg_agrees`:
    STAFFA_JUDGE_PYTHON=/path/to/python cargo test -p staffa-catalog --lib -- --ignored pyiceberg
with a Python that has pyiceberg[sql-sqlite,pyarrow,pyiceberg-core]==0.12.0.
"""
import datetime as dt
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog

step, directory = sys.argv[1:]


def field(name, ty, field_id):
    return pa.field(name, ty, metadata={"PARQUET:field_id": str(field_id)})


DAY = dt.datetime(2024, 2, 29, tzinfo=dt.timezone.utc)


def rows(first, count):
    return {
        "id": list(range(first, first + count)),
        "at": [DAY + dt.timedelta(minutes=i) for i in range(count)],
        "price": [Decimal(i) / 4 for i in range(count)],
        "word": [None if i % 5 == 0 else f"word {i}" for i in range(count)],
    }


# The field ids the catalog gives: columns in their order.
SCHEMA = pa.schema([
    field("id", pa.int64(), 1),
    field("at", pa.timestamp("us", tz="UTC"), 2),
    field("price", pa.decimal128(12, 2), 3),
    field("word", pa.string(), 4),
])


def catalog():
    return SqlCatalog("staffa", uri=f"sqlite:///{directory}/catalog.db")


if step == "write":
    path = sys.argv[2] + "/first.parquet"
    pq.write_table(pa.table(rows(1, 100), schema=SCHEMA), path)
elif step == "read":
    cat = catalog()
    assert ("public",) in cat.list_namespaces(), cat.list_namespaces()
    assert cat.list_tables("public") == [("public", "events")], cat.list_tables("public")
    table = cat.load_table("public.events")
    assert table.properties["comment"] == "what happened"
    assert [f.doc for f in table.schema().fields] == ["the key", None, None, None]
    assert str(table.spec().fields[0].transform) == "day", table.spec()
    assert table.sort_order().fields[0].source_id == 1
    data = table.scan().to_arrow()
    assert data.num_rows == 100 and sum(data["id"].to_pylist()) == 5050, data.num_rows
    # Bounds and partitions prune.
    assert table.scan(row_filter="id > 1000").to_arrow().num_rows == 0
    assert len(list(table.scan(row_filter="id > 1000").plan_files())) == 0
    assert len(list(table.scan(row_filter="at < '2024-02-29T00:00:00+00:00'").plan_files())) == 0
    assert table.scan(row_filter="at >= '2024-02-29T00:00:00+00:00' and id <= 10").to_arrow().num_rows == 10
    assert table.scan(row_filter="price = 1.25").to_arrow().num_rows == 1
    assert table.scan(row_filter="word is null").to_arrow().num_rows == 20
    # Both directions: pyiceberg appends, makes a table, and renames one.
    plain = pa.schema([pa.field(f.name, f.type, nullable=f.name != "id") for f in SCHEMA])
    table.append(pa.table(rows(1001, 10), schema=plain))
    assert table.refresh().scan().to_arrow().num_rows == 110
    cat.create_namespace("theirs")
    lists = pa.schema([pa.field("a", pa.int32()), pa.field("b", pa.list_(pa.string()))])
    other = cat.create_table("theirs.plain", schema=lists, location=f"file://{directory}/theirs")
    other.append(pa.table({"a": pa.array([1, 2], pa.int32()), "b": [["x"], None]}))
    cat.rename_table("theirs.plain", "theirs.renamed")
elif step == "again":
    cat = catalog()
    table = cat.load_table("public.events")
    assert table.scan().to_arrow().num_rows == 210, table.scan().to_arrow().num_rows
    assert len(table.history()) == 3
    print(sorted(f["record_count"] for f in table.inspect.files().to_pylist()))
    assert ("public", "many") in cat.list_tables("public")
    many = cat.load_table("public.many")
    assert len(many.inspect.files()) == 103
print(step, "ok")
