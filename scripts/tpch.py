"""TPC-H for our scripts: the data, the queries, DuckDB's answers, and when two answers are the same.

Two answers are the same when they have the same number of rows and columns, and in every place
  * both are NULL, or
  * both are whole numbers, dates or text, and equal (char padding aside), or
  * one has a fraction: |a - b| <= 1e-9 * max(|a|, |b|) + 1e-6. DuckDB's avg and its division give binary doubles,
    ours give decimals, cut after the sixth place where the column has two; sums of decimals are exact on both sides and pass with room to spare.
Rows are compared in order: every query orders its rows completely.
"""
import datetime
import decimal
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLES = "region nation supplier customer part partsupp orders lineitem".split()
RELATIVE, ABSOLUTE = 1e-9, 1e-6


def queries(scale):
    """{"q01": SQL, ...}; the fraction in Q11 follows from the scale factor, as the specification says."""
    fraction = f"{0.0001 / scale:.12f}".rstrip("0")
    files = sorted((ROOT / "tests/tpch/queries").glob("q*.sql"))
    return {f.stem: f.read_text().strip().replace("{q11_fraction}", fraction) for f in files}


def generate(scale, place, format="parquet"):
    """One file a table below `place`, made once."""
    place = Path(place)
    if not (place / "done").exists():
        place.mkdir(parents=True, exist_ok=True)
        program = Path(sys.executable).parent / "tpchgen-cli"
        options = ["--compression=zstd(1)"] if format == "parquet" else []
        subprocess.run([program, format, "-s", str(scale), *options, f"--output-dir={place}"], check=True)
        (place / "done").touch()
    return place


def duckdb_connection(place, threads=None):
    """DuckDB with a view a table over the Parquet files in `place`."""
    import duckdb
    connection = duckdb.connect()
    if threads:
        connection.execute(f"set threads={threads}")
    for table in TABLES:
        connection.execute(f"create view {table} as select * from read_parquet('{place}/{table}.parquet')")
    return connection


def cell(value):
    """A value as text, as our answer files have it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value).rstrip(" ")


def same_cell(a, b):
    if a == b:
        return True
    if "." not in a + b and "e" not in (a + b).lower():
        return False
    try:
        x, y = float(a), float(b)
    except ValueError:
        return False
    return abs(x - y) <= RELATIVE * max(abs(x), abs(y)) + ABSOLUTE


def difference(wanted, got):
    """Where two answers (rows of cells) differ, or None."""
    if len(wanted) != len(got):
        return f"{len(got)} rows, {len(wanted)} expected"
    for number, (w, g) in enumerate(zip(wanted, got), 1):
        if len(w) != len(g):
            return f"row {number}: {len(g)} columns, {len(w)} expected"
        for column, (x, y) in enumerate(zip(w, g), 1):
            if not same_cell(x, y):
                return f"row {number}, column {column}: {y}, {x} expected"
    return None


def cache(name):
    """A folder for generated data that outlives a checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "staffa" / name
