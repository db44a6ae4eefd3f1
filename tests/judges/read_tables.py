"""Reads every table of a warehouse with pyiceberg (and DuckDB) and compares with what the server says.

    python read_tables.py --data DIR --url postgresql://admin@HOST:PORT/staffa [--duckdb]

Compared are the number of rows and, a column, the number of values, the least and the greatest of them (as text for
lists and bytes). Exit status 1 when an engine cannot read a table or sees something else.
"""
import argparse
import datetime
import decimal
import math
import os
import sqlite3
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")
import psycopg
from pyiceberg.catalog.sql import SqlCatalog


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
    import uuid
    values = column.to_pylist()
    is_uuid = "uuid" in str(column.type) or str(column.type) == "fixed_size_binary[16]"
    return [uuid.UUID(bytes=v) if is_uuid and isinstance(v, bytes) else v for v in values]


def duckdb_connection():
    """DuckDB with the iceberg extension from the extension wheels: nothing is downloaded."""
    import duckdb
    from duckdb_extensions import import_extension
    folder = os.path.join(tempfile.gettempdir(), f"staffa-duckdb-extensions-{os.getuid()}")
    connection = duckdb.connect(config={"extension_directory": folder})
    for extension in ("avro", "httpfs", "iceberg"):
        import_extension(extension, con=connection)
    connection.execute("load iceberg")
    connection.execute("set timezone to 'UTC'")
    return connection


def by_duckdb(connection, table):
    result = connection.execute(f"select * from iceberg_scan('{table.metadata_location}')")
    names, rows = [c[0] for c in result.description], result.fetchall()
    return {name: summary([row[i] for row in rows]) for i, name in enumerate(names)}


def by_server(connection, namespace, name):
    quote = lambda n: '"' + n.replace('"', '""') + '"'
    with connection.cursor() as cursor:
        cursor.execute(f"select * from {quote(namespace)}.{quote(name)}")
        names, rows = [c.name for c in cursor.description], cursor.fetchall()
    return {n: summary([row[i] for row in rows]) for i, n in enumerate(names)}


def text_json(connection):
    """json and jsonb as the text they are stored as."""
    from psycopg.types.string import TextLoader
    for kind in ("json", "jsonb"):
        connection.adapters.register_loader(kind, TextLoader)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--duckdb", action="store_true")
    a = p.parse_args()
    catalog = SqlCatalog("staffa", uri=f"sqlite:///{a.data}/catalog.db", init_catalog_tables="false")
    server = psycopg.connect(a.url, autocommit=True)
    server.execute("set timezone to 'UTC'")
    text_json(server)
    duck = duckdb_connection() if a.duckdb else None
    bad, found = 0, tables_of(f"{a.data}/catalog.db")
    for namespace, name in found:
        table = catalog.load_table((namespace, name))
        wanted = by_server(server, namespace, name)
        engines = {"pyiceberg": lambda: by_pyiceberg(table)}
        if duck:
            engines["duckdb"] = lambda: by_duckdb(duck, table)
        for engine, read in engines.items():
            try:
                got = read()
            except Exception as error:
                bad += 1
                print(f"FAIL {engine} {namespace}.{name}: {type(error).__name__}: {str(error)[:300]}")
                continue
            wrong = {c: (got.get(c), wanted[c]) for c in wanted if got.get(c) != wanted[c]}
            bad += bool(wrong)
            for column, (g, w) in wrong.items():
                print(f"FAIL {engine} {namespace}.{name}.{column}: {g}, the server says {w}")
    print(f"{len(found)} tables read, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
