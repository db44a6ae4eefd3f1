"""Reads every table of a warehouse with other engines and compares with what the server says.

    python read_tables.py --data DIR --url postgresql://admin@HOST:PORT/staffa [--engines pyiceberg,duckdb,polars,chdb]

Compared are the number of rows and, a column, the number of values, the least and the greatest of them (as text for
lists and bytes). Exit status 1 when an engine cannot read a table or sees something else. What an engine is known not to
do is in `ABLE` below, and is not asked of it.
"""
import argparse
import datetime
import decimal
import functools
import math
import os
import sqlite3
import sys
import uuid
import warnings

warnings.simplefilter("ignore")
import psycopg
from pyiceberg.catalog.sql import SqlCatalog

from engines import duckdb_connection


def tables_of(database):
    sql = "select table_namespace, table_name from iceberg_tables where catalog_name = ? and coalesce(iceberg_type, 'TABLE') = 'TABLE'"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return sorted(connection.execute(sql, ("staffa",)).fetchall())


def plain(value):
    """A value in a form all engines share; NaN aside, which has no order of its own."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    if isinstance(value, decimal.Decimal):
        return value.normalize()
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, str):
        return value.rstrip(" ")  # char(n) is stored without its padding
    return str(value) if hasattr(value, "hex") and hasattr(value, "urn") else value


def summary(values):
    """(values, least, greatest); order is Python's, the same for every engine."""
    present = [plain(v) for v in values if v is not None]
    kept = sorted((v for v in present if v is not None), key=lambda v: (str(v) if isinstance(v, (list, dict, bytes)) else v))
    return (len(present), repr(kept[0]), repr(kept[-1])) if kept else (len(present), None, None)


def by_pyiceberg(table):
    arrow = table.scan().to_arrow()
    return {name: summary(uuid_aware(arrow[name])) for name in arrow.column_names}


def uuid_aware(column):
    """pyiceberg gives uuids as 16 bytes or as Python's UUID, by version."""
    is_uuid = "uuid" in str(column.type) or str(column.type) == "fixed_size_binary[16]"
    return as_uuids(column) if is_uuid else column.to_pylist()


def as_uuids(column):
    return [uuid.UUID(bytes=v) if isinstance(v, bytes) else v for v in column.to_pylist()]


@functools.cache
def utc_duckdb():
    connection = duckdb_connection()
    connection.execute("set timezone to 'UTC'")
    return connection


def by_duckdb(table):
    result = utc_duckdb().execute(f"select * from iceberg_scan('{table.metadata_location}')")
    names, rows = [c[0] for c in result.description], result.fetchall()
    return {name: summary([row[i] for row in rows]) for i, name in enumerate(names)}


def by_polars(table):
    """Polars' own reader; of pyiceberg it takes the list of files."""
    import polars
    rows = polars.scan_iceberg(table, reader_override="native").collect().to_arrow()
    uuids = {field.name for field in table.schema().fields if str(field.field_type) == "uuid"}
    return {name: summary(as_uuids(rows[name]) if name in uuids else rows[name].to_pylist()) for name in rows.column_names}


def by_chdb(table):
    """ClickHouse, which is given the table's folder and takes the metadata file with the highest number there."""
    import chdb
    folder = table.location().removeprefix("file://")
    os.chdir(folder)  # it opens files below its working directory only
    binary = {field.name for field in table.schema().fields if str(field.field_type) == "binary"}
    quote = lambda name: '"' + name.replace('"', '""') + '"'
    names = [field.name for field in table.schema().fields]
    columns = [f"hex({quote(n)}) as {quote(n)}" if n in binary else quote(n) for n in names]
    rows = chdb.query(f"select {', '.join(columns)} from icebergLocal('{folder}')", "ArrowTable")
    values = {name: uuid_aware(rows[name]) for name in rows.column_names}
    unhex = lambda value: None if value is None else bytes.fromhex(value)
    return {name: summary([unhex(v) for v in of] if name in binary else of) for name, of in values.items()}


def is_list(field):
    return str(field.field_type).startswith("list")


# What an engine reads, a table at a time; the columns it has no NULL for; and those it has no type for.
ABLE = {
    "pyiceberg": lambda table: True,
    "duckdb": lambda table: True,
    # "multiple deletion vectors" where one replaced another.
    "polars": lambda table: table.metadata.format_version < 3,
    # "Position deletes are supported only for parquet"
    "chdb": lambda table: table.metadata.format_version < 3,
}
WITHOUT_NULL = {"chdb": is_list}
WITHOUT_TYPE = {"chdb": lambda field: str(field.field_type) == "time"}  # whole seconds, as a number


def by_server(connection, namespace, name, without_null=()):
    quote = lambda n: '"' + n.replace('"', '""') + '"'
    with connection.cursor() as cursor:
        cursor.execute(f"select * from {quote(namespace)}.{quote(name)}")
        names, rows = [c.name for c in cursor.description], cursor.fetchall()
    filled = lambda n, value: [] if value is None and n in without_null else value
    return {n: summary([filled(n, row[i]) for row in rows]) for i, n in enumerate(names)}


def text_json(connection):
    """json and jsonb as the text they are stored as."""
    from psycopg.types.string import TextLoader
    for kind in ("json", "jsonb"):
        connection.adapters.register_loader(kind, TextLoader)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--engines", default="pyiceberg", help="separated by commas")
    a = p.parse_args()
    catalog = SqlCatalog("staffa", uri=f"sqlite:///{a.data}/catalog.db", init_catalog_tables="false")
    server = psycopg.connect(a.url, autocommit=True)
    server.execute("set timezone to 'UTC'")
    text_json(server)
    readers = {"pyiceberg": by_pyiceberg, "duckdb": by_duckdb, "polars": by_polars, "chdb": by_chdb}
    bad, found, read = 0, tables_of(f"{a.data}/catalog.db"), dict.fromkeys(a.engines.split(","), 0)
    for namespace, name in found:
        table = catalog.load_table((namespace, name))
        for engine in (engine for engine in read if ABLE[engine](table)):
            chosen = lambda rules: {f.name for f in table.schema().fields if engine in rules and rules[engine](f)}
            wanted = by_server(server, namespace, name, chosen(WITHOUT_NULL))
            wanted = {column: summary for column, summary in wanted.items() if column not in chosen(WITHOUT_TYPE)}
            try:
                got = readers[engine](table)
            except Exception as error:
                bad += 1
                print(f"FAIL {engine} {namespace}.{name}: {type(error).__name__}: {str(error)[:300]}")
                continue
            wrong = {c: (got.get(c), wanted[c]) for c in wanted if got.get(c) != wanted[c]}
            bad += bool(wrong)
            read[engine] += 1
            for column, (g, w) in wrong.items():
                print(f"FAIL {engine} {namespace}.{name}.{column}: {g}, the server says {w}")
    print(", ".join(f"{engine} read {count}" for engine, count in read.items()))
    print(f"{len(found)} tables read, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
